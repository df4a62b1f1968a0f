//! Limits that come while there is something for them to count.

use super::super::file::Batch;
use super::super::inbox::{Inbox, Work};
use super::super::renewal::Renewal;
use super::*;

/// The first limit, and the second, which looks back further.
fn plans() -> [Plan; 2] {
    [plan(&[(10, 3_600_000)], 4), plan(&[(10, 3_600_000), (20, 7_200_000)], 4)]
}

fn used_of(budget: &Arc<Budget>) -> Vec<u32> {
    budget.snapshot().account.iter().map(|limit| limit.used).collect()
}

fn start(disk: &Disk) -> Arc<Ledger> {
    let place = Box::new(disk.clone()) as Box<dyn Place>;
    Ledger::start(place, options("unused".as_ref()), Clock::system(), BootId([1; 16])).unwrap()
}

async fn durable(ledger: &Arc<Ledger>, plan: Plan) -> Arc<Budget> {
    ledger.loaded().await.unwrap();
    let budget = Budget::durable(plan, ledger.clock, ledger.link("vendor".parse().unwrap(), Duration::ZERO));
    budget.recall();
    budget
}

#[tokio::test]
async fn what_was_begun_before_a_reload_counts_on_its_limits_after_any_restart() {
    let folder = tempfile::tempdir().unwrap();
    let [short, long] = plans();
    let ledger = open(folder.path());
    let first = durable(&ledger, short).await;
    send(&first, 0).await.settled();
    let [under_way, lost] = [send(&first, 1).await, send(&first, 2).await];
    let mut booked_late = permit(&first, 3).await;
    let second = first.replanned(long.clone(), Duration::ZERO);
    // Of another kind than all that the file has seen.
    booked_late.booked().await.unwrap();
    booked_late.sent().settled();
    under_way.settled();
    let mut only_first = permit(&second, 0).await;
    only_first.booked().await.unwrap();
    only_first.sent().settled();
    let third = second.replanned(long.clone(), Duration::ZERO);
    assert_eq!(used_of(&third), [5, 4]);
    ledger.close().await;
    drop((first, second, lost));
    let (ledger, fourth) = again(ledger, third, long.clone()).await;
    assert_eq!(used_of(&fourth), [5, 4], "what comes after the reload counts by its own limits");
    let (ledger, fifth) = again(ledger, fourth, long.clone()).await;
    assert_eq!(used_of(&fifth), [5, 4]);
    ledger.close().await;
    drop(fifth);
    let content = file::read(&Folder(folder.path().to_owned()).open().unwrap()).unwrap();
    let looks_back = keep(&long, [1].into_iter().collect());
    let on_second = |record: &&Record| record.limits.iter().any(|limit| *limit == long.limits[1].name);
    let records = content.charges.iter().map(|(_, _, record)| record).filter(on_second);
    let kept: Vec<_> = records.map(|record| (record.requests, record.keep)).collect();
    assert_eq!(kept.iter().map(|(requests, _)| requests).sum::<u32>(), 4);
    assert!(kept.iter().all(|(_, keep)| *keep == looks_back), "{kept:?}");
}

#[tokio::test]
async fn a_limit_of_which_a_crash_left_nothing_on_disk_is_new_at_the_next_start() {
    let disk = Disk::default();
    let start = || start(&disk);
    let [short, long] = plans();
    let ledger = start();
    let first = durable(&ledger, short).await;
    send(&first, 0).await.settled();
    ledger.close().await;
    drop(first);
    let ledger = start();
    ledger.loaded().await.unwrap();
    disk.is_full.store(true, Ordering::Relaxed);
    let second = durable(&ledger, long.clone()).await;
    assert_eq!(used_of(&second), [1, 1]);
    ledger.close().await;
    drop(second);
    disk.is_full.store(false, Ordering::Relaxed);
    let ledger = start();
    let third = durable(&ledger, long.clone()).await;
    assert_eq!(used_of(&third), [1, 1]);
    send(&third, 1).await.settled();
    ledger.close().await;
    drop(third);
    assert_eq!(used_of(&durable(&start(), long).await), [2, 1], "the second by its own path");
}

#[tokio::test]
async fn a_limit_that_comes_while_the_disk_is_full_counts_all_once_there_is_room() {
    let disk = Disk::default();
    let start = || start(&disk);
    let [short, long] = plans();
    let ledger = start();
    let first = durable(&ledger, short).await;
    send(&first, 0).await.settled();
    let under_way = send(&first, 1).await;
    disk.is_full.store(true, Ordering::Relaxed);
    under_way.settled();
    let mut stuck = permit(&first, 2).await;
    assert_eq!(stuck.booked().await, Err(LedgerDown));
    drop(stuck);
    let second = first.replanned(long.clone(), Duration::ZERO);
    disk.is_full.store(false, Ordering::Relaxed);
    ledger.until(|status| *status == Status::Ready).await;
    ledger.close().await;
    drop((first, second));
    assert_eq!(used_of(&durable(&start(), long).await), [2, 2]);
}

#[test]
fn what_failed_while_a_plan_came_is_tried_again_as_the_plan_has_it() {
    let (clock, boot) = (Clock::system(), BootId([1; 16]));
    let upstream: UpstreamName = "vendor".parse().unwrap();
    let [short, long] = plans();
    let inbox = Inbox::new(clock, boot);
    inbox.tell(Status::Ready);
    let set: LimitSet = [0].into_iter().collect();
    let grant = Grant { seat: 0, set, at: clock.now(), waited: Duration::ZERO, ticket: 1 };
    let record = || form_of(&short, grant, &clock.present(boot));
    let form = || Form { upstream: upstream.clone(), record: record(), most_ahead: 0 };
    let kind = Kind { link: 1, seat: 0, set };
    let (lot, _told) = inbox.book(kind, form, Horizon { longest: Duration::ZERO, vendor: None }).unwrap();
    let end = (Stamp::of(clock.now(), None, &clock.present(boot)), Duration::ZERO);
    inbox.settle((lot, kind), form, end);
    inbox.renew(Renewal::new(&upstream, &short, LimitSet::default()), 1, None);
    let written = || match inbox.next() {
        Work::Write(changes) => changes,
        Work::Close => unreachable!(),
    };
    let failed = written();
    inbox.renew(Renewal::between(&upstream, &short, &long), 2, None);
    inbox.give_back(failed);
    let again = written();
    let [ended] = &*again.charges.values().filter_map(|(_, record)| record.as_ref()).collect::<Vec<_>>()
    else {
        panic!("{again:?}")
    };
    assert_eq!(ended.limits, [long.limits[0].name.clone(), long.limits[1].name.clone()]);
    let mut old = Record { limits: vec![], ..Record::clone(ended) };
    let names: Vec<usize> = again
        .renewals
        .iter()
        .map(|renewal| {
            renewal.renew(&mut old);
            old.limits.len()
        })
        .collect();
    assert_eq!(names, [0, 1], "the older one first");
}

#[test]
fn of_what_is_renewed_twice_in_one_transaction_the_last_is_kept() {
    let (clock, boot, disk) = (Clock::system(), BootId([1; 16]), Disk::default());
    let [short, long] = plans();
    let longer = plan(&[(10, 3_600_000), (20, 9_000_000)], 4);
    let upstream: UpstreamName = "vendor".parse().unwrap();
    let grant =
        Grant { seat: 0, set: [0].into_iter().collect(), at: clock.now(), waited: Duration::ZERO, ticket: 1 };
    let record = form_of(&short, grant, &clock.present(boot));
    let database = disk.open().unwrap();
    file::read(&database).unwrap();
    let charges = vec![("vendor", 7, Some(&record))];
    file::write(&database, &Batch { charges, ..Batch::default() }).unwrap();
    let renewals = [&long, &longer].map(|plan| Renewal::between(&upstream, &short, plan));
    let renewed = file::write(&database, &Batch { renewals: &renewals, ..Batch::default() }).unwrap();
    let looks_back = keep(&longer, [1].into_iter().collect());
    assert_eq!(renewed.values().map(|(_, record)| record.keep).collect::<Vec<_>>(), [looks_back]);
    assert_eq!(file::read(&database).unwrap().charges[0].2, renewed[&7].1);
}
