//! The ledger on real files and on a disk that can be full.

mod renewals;

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::{Database, StorageBackend};

use super::*;
use crate::budget::desk::Ask;
use crate::budget::laws::{plan, quantity};
use crate::budget::{Budget, Charge, Permit};
use file::Trouble;

fn options(path: &std::path::Path) -> Options {
    Options { path: path.to_owned(), on_empty: OnEmpty::Trust }
}

fn open(path: &std::path::Path) -> Arc<Ledger> {
    Ledger::open(options(path), Clock::system()).unwrap()
}

/// One limit of `requests` an hour, four consumers; admits as soon as the ledger is there.
async fn budget(ledger: &Arc<Ledger>, requests: u32) -> Arc<Budget> {
    ledger.loaded().await.unwrap();
    let budget = Budget::durable(
        plan(&[(requests, 3_600_000)], 4),
        ledger.clock,
        ledger.link("vendor".parse().unwrap(), Duration::from_secs(1)),
    );
    budget.recall();
    budget
}

async fn permit(budget: &Arc<Budget>, seat: usize) -> Permit {
    let bid = budget.bid([0].into_iter().collect());
    let deadline = budget.clock().now() + Duration::from_secs(5);
    let _entry = bid.enter(Ask { seat, deadline, urgency: 3 }).unwrap();
    bid.granted().await.unwrap()
}

async fn send(budget: &Arc<Budget>, seat: usize) -> Charge {
    let mut permit = permit(budget, seat).await;
    permit.booked().await.unwrap();
    permit.sent()
}

fn used(budget: &Arc<Budget>) -> u32 {
    budget.snapshot().account[0].used
}

/// As kill -9 would, but for what redb holds in memory, which it never does.
async fn restart(ledger: Arc<Ledger>, budget: Arc<Budget>, path: &std::path::Path) -> Arc<Ledger> {
    drop(budget);
    ledger.close().await;
    open(path)
}

#[tokio::test]
async fn what_left_comes_back_and_what_did_not_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let ledger = open(&path);
    let first = budget(&ledger, 10).await;
    send(&first, 0).await.settled();
    send(&first, 1).await.lost();
    send(&first, 1).await.never_left();
    let mut refunded = permit(&first, 2).await;
    refunded.booked().await.unwrap();
    drop(refunded);
    let in_flight = send(&first, 3).await;
    ledger.remember("pace/vendor", b"even");
    assert_eq!(used(&first), 3);
    ledger.close().await;
    drop(in_flight);
    let ledger = restart(ledger, first, &path).await;
    let second = budget(&ledger, 10).await;
    let by_consumer: Vec<_> = second.snapshot().consumers.iter().map(|c| c.limits[0].used).collect();
    assert_eq!((used(&second), by_consumer), (3, vec![1, 1, 0, 1]));
    assert_eq!(ledger.remembered("pace/vendor").as_deref(), Some(&b"even"[..]));
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&path.join("ledger.redb"))), (0o700, 0o600));
}

#[tokio::test]
async fn a_settlement_is_on_disk_without_being_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let first = budget(&ledger, 10).await;
    send(&first, 0).await.settled();
    // Longer than FLUSH and a transaction: a real moment, since the disk is real.
    first.clock().sleep_until(first.clock().now() + Duration::from_millis(500)).await;
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(folder.path().join("ledger.redb"), copy.path().join("ledger.redb")).unwrap();
    let (database, content) = {
        let database = Folder(copy.path().to_owned()).open().unwrap();
        let content = file::read(&database).unwrap();
        (database, content)
    };
    drop(database);
    assert_eq!(content.charges.iter().map(|(_, _, r)| r.state).collect::<Vec<_>>(), [State::Settled]);
}

#[tokio::test]
async fn a_successor_waits_and_takes_up_what_its_predecessor_did() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let first = budget(&ledger, 1).await;
    let successor = open(folder.path());
    assert_eq!(successor.begun().await, Ok(Begun::Waits));
    let link = successor.link("vendor".parse().unwrap(), Duration::ZERO);
    let second = Budget::durable(plan(&[(1, 3_600_000)], 4), successor.clock, link);
    let refused = |patience| {
        let bid = second.bid([0].into_iter().collect());
        let ask = Ask { seat: 0, deadline: second.clock().now() + patience, urgency: 3 };
        bid.enter(ask).map(|_| ()).map_err(|denied| match denied {
            crate::budget::Denied::Refused(refusal) => refusal.reason,
            crate::budget::Denied::Closed | crate::budget::Denied::Gone => unreachable!(),
        })
    };
    assert_eq!(refused(Duration::ZERO), Err(crate::budget::Reason::Loading));
    assert_eq!(refused(Duration::from_secs(60)), Ok(()), "it waits, and is not refused");
    assert!(second.try_now([0].into_iter().collect(), 0).is_none());
    send(&first, 0).await.settled();
    ledger.close().await;
    successor.loaded().await.unwrap();
    second.recall();
    assert_eq!(used(&second), 1);
    assert_eq!(refused(Duration::from_secs(60)), Err(crate::budget::Reason::Limit));
}

#[tokio::test]
async fn a_torn_file_is_set_aside_and_all_counts_as_spent() {
    for cut in [1, 100, 4_096, 8_200, 50_000, 500_000] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.redb");
        let ledger = open(folder.path());
        let first = budget(&ledger, 10).await;
        send(&first, 0).await.settled();
        ledger.close().await;
        drop(first);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..cut.min(whole.len() - 1)]).unwrap();
        let ledger = open(folder.path());
        let second = budget(&ledger, 10).await;
        assert_eq!(used(&second), 10, "cut at {cut} of {}", whole.len());
        assert!(folder.path().join("ledger.redb.broken-1").exists());
        // And another restart does not forget that.
        let ledger = restart(ledger, second, folder.path()).await;
        assert_eq!(used(&budget(&ledger, 10).await), 10);
    }
}

#[tokio::test]
async fn garbage_in_the_pages_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.redb");
    let ledger = open(folder.path());
    let first = budget(&ledger, 10).await;
    send(&first, 0).await.settled();
    ledger.close().await;
    drop(first);
    let mut bytes = std::fs::read(&path).unwrap();
    let name = bytes.windows(9).position(|window| window == b"consumer0").unwrap();
    bytes[name] ^= 0x55;
    std::fs::write(&path, &bytes).unwrap();
    let ledger = open(folder.path());
    assert_eq!(used(&budget(&ledger, 10).await), 10);
}

#[tokio::test]
async fn a_new_ledger_is_trusted_or_not() {
    for (on_empty, expected) in [(OnEmpty::Trust, 0), (OnEmpty::Cautious, 10)] {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { on_empty, ..options(folder.path()) };
        let ledger = Ledger::open(options.clone(), Clock::system()).unwrap();
        let first = budget(&ledger, 10).await;
        assert_eq!(used(&first), expected, "{on_empty:?}");
        ledger.close().await;
        drop(first);
        let ledger = Ledger::open(options, Clock::system()).unwrap();
        assert_eq!(used(&budget(&ledger, 10).await), expected, "{on_empty:?}, again");
    }
}

#[tokio::test]
async fn another_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    ledger.loaded().await.unwrap();
    ledger.close().await;
    let database = Folder(folder.path().to_owned()).open().unwrap();
    let write = database.begin_write().unwrap();
    let about = redb::TableDefinition::<&str, u64>::new("about");
    write.open_table(about).unwrap().insert("schema", 3).unwrap();
    write.commit().unwrap();
    drop(database);
    let error = open(folder.path()).begun().await.unwrap_err();
    assert!(error.to_string().contains("schema 3, and this weir knows 2 only"), "{error}");
}

/// A disk in memory that may be full, and survives the database.
#[derive(Clone, Debug, Default)]
struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
    is_full: Arc<AtomicBool>,
}

impl Disk {
    fn room(&self) -> io::Result<()> {
        if self.is_full.load(Ordering::Relaxed) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        let bytes = self.bytes.lock();
        let from = bytes.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(from);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.room()?;
        self.bytes.lock().resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.room()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.room()?;
        let at = usize::try_from(offset).unwrap();
        self.bytes.lock()[at..at + data.len()].copy_from_slice(data);
        Ok(())
    }
}

impl Place for Disk {
    fn open(&self) -> Result<Database, Trouble> {
        Ok(file::builder().create_with_backend(self.clone())?)
    }

    fn set_aside(&self) -> io::Result<PathBuf> {
        panic!("a full disk breaks nothing")
    }
}

#[tokio::test]
async fn on_a_full_disk_nothing_leaves_until_there_is_room() {
    let disk = Disk::default();
    let place = || Box::new(disk.clone()) as Box<dyn Place>;
    let boot = BootId([1; 16]);
    let start = || Ledger::start(place(), options("unused".as_ref()), Clock::system(), boot).unwrap();
    let ledger = start();
    let first = budget(&ledger, 10).await;
    let early = send(&first, 0).await;
    disk.is_full.store(true, Ordering::Relaxed);
    let mut stuck = permit(&first, 1).await;
    assert_eq!(stuck.booked().await, Err(LedgerDown));
    drop(stuck);
    let mut next = permit(&first, 1).await;
    assert_eq!(next.booked().await, Err(LedgerDown), "at once, while it is down");
    drop(next);
    early.settled();
    assert_eq!(used(&first), 1, "refunded");
    disk.is_full.store(false, Ordering::Relaxed);
    let by = first.clock().now() + Duration::from_secs(10);
    loop {
        let mut again = permit(&first, 2).await;
        if again.booked().await.is_ok() {
            again.sent().settled();
            break;
        }
        drop(again);
        assert!(first.clock().now() < by, "it does not recover");
        // A real moment: the writer rests between its tries.
        first.clock().sleep_until(first.clock().now() + Duration::from_millis(20)).await;
    }
    ledger.close().await;
    drop(first);
    let ledger = start();
    let second = budget(&ledger, 10).await;
    let by_consumer: Vec<_> = second.snapshot().consumers.iter().map(|c| c.limits[0].used).collect();
    assert_eq!(by_consumer, [1, 0, 1, 0], "what could not be booked is not there");
}

#[tokio::test]
async fn names_that_are_gone_count_at_the_account_and_new_limits_count_all() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let first = budget(&ledger, 10).await;
    for seat in [0, 1, 3] {
        send(&first, seat).await.settled();
    }
    ledger.close().await;
    drop(first);
    let ledger = open(folder.path());
    ledger.loaded().await.unwrap();
    let mut plan = plan(&[(10, 3_600_000), (20, 7_200_000)], 2);
    plan.divisions[1].name = "renamed".parse().unwrap();
    let link = ledger.link("vendor".parse().unwrap(), Duration::ZERO);
    let second = Budget::durable(plan, ledger.clock, link);
    second.recall();
    let snapshot = second.snapshot();
    assert_eq!([snapshot.account[0].used, snapshot.account[1].used], [3, 3]);
    let of = |nodes: &[crate::budget::NodeState]| nodes.iter().map(|n| n.limits[1].used).collect::<Vec<_>>();
    assert_eq!((of(&snapshot.consumers), of(&snapshot.divisions)), (vec![1, 1], vec![1, 1]));
}

async fn again(ledger: Arc<Ledger>, old: Arc<Budget>, plan: Plan) -> (Arc<Ledger>, Arc<Budget>) {
    let path = ledger.options.path.clone();
    let ledger = restart(ledger, old, &path).await;
    ledger.loaded().await.unwrap();
    let budget = Budget::durable(plan, ledger.clock, ledger.link("vendor".parse().unwrap(), Duration::ZERO));
    budget.recall();
    (ledger, budget)
}

#[tokio::test]
async fn what_others_used_and_what_the_vendor_broke_is_not_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = plan(&[(10, 3_600_000), (20, 7_200_000)], 4);
    plan.counted_within = Some(Duration::from_millis(300));
    let all: LimitSet = (0..2).collect();
    let ledger = open(folder.path());
    ledger.loaded().await.unwrap();
    let link = ledger.link("vendor".parse().unwrap(), Duration::ZERO);
    let first = Budget::durable(plan.clone(), ledger.clock, link);
    first.recall();
    first.raise(1, 6);
    first.raise(1, 7);
    let closed = first.refused_by_vendor(all, first.now(), None).unwrap();
    assert!(closed.withdrawn && closed.limit.as_str() == "limit0", "{closed:?}");
    let shown = |budget: &Arc<Budget>| {
        let snapshot = budget.snapshot();
        let used: Vec<_> = snapshot.account.iter().map(|limit| limit.used).collect();
        let others: Vec<_> = snapshot.vendor.iter().map(|view| view.others).collect();
        (used, others, snapshot.counted_within)
    };
    let before = shown(&first);
    assert_eq!(before, (vec![10, 7], vec![10, 7], None));
    let (ledger, second) = again(ledger, first, plan.clone()).await;
    assert_eq!(shown(&second), before);
    // And not after another restart either; a longer promise is a new one.
    plan.counted_within = Some(Duration::from_millis(900));
    let (_ledger, third) = again(ledger, second, plan).await;
    assert_eq!(shown(&third), (vec![10, 7], vec![10, 7], Some(Duration::from_millis(900))));
}

#[tokio::test]
async fn a_limit_that_looks_further_back_than_the_ledger_is_thought_spent() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    ledger.loaded().await.unwrap();
    let link = ledger.link("vendor".parse().unwrap(), Duration::ZERO);
    let first = Budget::durable(plan(&[(5, 60_000), (9, 3_600_000)], 4), ledger.clock, link);
    first.recall();
    let state = |budget: &Arc<Budget>| {
        let snapshot = budget.snapshot();
        snapshot.account.iter().map(|limit| (limit.used, limit.next_release)).collect::<Vec<_>>()
    };
    // The other one remembers an hour, so up to that nothing is unknown.
    let (ledger, second) = again(ledger, first, plan(&[(5, 1_800_000), (9, 3_600_000)], 4)).await;
    assert_eq!(state(&second), [(0, None), (0, None)]);
    let (ledger, third) = again(ledger, second, plan(&[(5, 1_800_000), (9, 7_200_000)], 4)).await;
    let spent = state(&third);
    assert_eq!((spent[0], spent[1].0), ((0, None), 9));
    let left = spent[1].1.unwrap();
    assert!(left > Duration::from_secs(3_500) && left <= Duration::from_secs(3_600), "{left:?}");
    // Another restart does not know more.
    let (_ledger, fourth) = again(ledger, third, plan(&[(5, 1_800_000), (9, 7_200_000)], 4)).await;
    assert_eq!(state(&fourth)[1].0, 9);
}

/// Whoever has little loses little to a crash, and books nothing ahead that would be more.
#[test]
fn what_is_booked_ahead_is_a_hundredth_of_the_least_that_it_counts_against() {
    let mut plan = plan(&[(100_000, 1_000), (5_000, 60_000), (20, 60_000)], 1);
    let ahead = |plan: &Plan, set: &[usize]| {
        let set = set.iter().copied().collect();
        let grant = Grant { seat: 0, set, at: Clock::system().now(), waited: Duration::ZERO, ticket: 1 };
        most_ahead(plan, grant)
    };
    assert_eq!([&[0][..], &[0, 1], &[0, 2], &[]].map(|set| ahead(&plan, set)), [1_000, 50, 0, 0]);
    plan.divisions[0].caps = vec![quantity(0, 900), quantity(1, 100)];
    plan.consumers[0].caps = vec![quantity(0, 400)];
    assert_eq!([&[0][..], &[0, 1]].map(|set| ahead(&plan, set)), [4, 1]);
}
