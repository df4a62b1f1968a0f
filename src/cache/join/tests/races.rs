//! The races told above `Flights::join`, run on four threads.

use tokio::sync::{Barrier, Notify};

use super::*;

/// Lets the other tasks run until so many listen.
async fn until_listeners(lead: &OurLead, count: usize) {
    while lead.listeners() != count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_joiners_share_one_fetch() {
    let flights = flights();
    let fetches = Arc::new(AtomicUsize::new(0));
    let barrier = Arc::new(Barrier::new(1_000));
    let caller = |flights: Ours, fetches: Arc<AtomicUsize>, barrier: Arc<Barrier>| async move {
        barrier.wait().await;
        let listener = match join(&flights) {
            Joined::Leader(mut lead, listener) => {
                fetches.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    until_listeners(&lead, 1_000).await;
                    lead.head(ok(), KEEP, T0);
                    for byte in 0..50 {
                        assert_eq!(lead.push(piece(byte, 100)).await, Pushed::Kept);
                        tokio::task::yield_now().await;
                    }
                    assert_eq!(lead.body(&[]).unwrap().len(), 5_000);
                    lead.finish();
                });
                listener
            }
            Joined::Follower(listener) => listener,
            Joined::Found(()) => panic!("nothing is stored"),
        };
        listener.shared().fetch_add(1, Ordering::SeqCst);
        whole(listener).await
    };
    let callers: Vec<_> =
        (0..1_000).map(|_| tokio::spawn(caller(flights.clone(), fetches.clone(), barrier.clone()))).collect();
    let expected: Vec<u8> = (0..50).flat_map(|byte| [byte; 100]).collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap(), expected);
    }
    assert_eq!(fetches.load(Ordering::SeqCst), 1);
    assert!(flights.is_empty());
    // The fetch's task may still be on its way out.
    while flights.kept_bytes() != 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn landing_and_joining_never_fetch_twice() {
    // The first race, 100 times, 16 callers each.
    for _ in 0..100 {
        let flights = flights();
        let stored = Arc::new(Mutex::new(None::<Bytes>));
        let fetches = Arc::new(AtomicUsize::new(0));
        let callers: Vec<_> = (0..16)
            .map(|_| {
                let (flights, stored, fetches) = (flights.clone(), stored.clone(), fetches.clone());
                tokio::spawn(async move {
                    let look = || stored.lock().clone();
                    if look().is_some() {
                        return;
                    }
                    let joined = flights.join(&key("/a"), T0, look, AtomicUsize::default);
                    let listener = match joined {
                        Joined::Found(_) => return,
                        Joined::Follower(listener) => listener,
                        Joined::Leader(mut lead, listener) => {
                            fetches.fetch_add(1, Ordering::SeqCst);
                            let stored = stored.clone();
                            tokio::spawn(async move {
                                lead.head(ok(), KEEP, T0);
                                lead.push(piece(1, 10)).await;
                                *stored.lock() = Some(lead.body(&[]).unwrap().blocks().concat().into());
                                lead.finish();
                            });
                            listener
                        }
                    };
                    assert_eq!(whole(listener).await.unwrap(), piece(1, 10));
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
        assert!(flights.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nine_hundred_leave_and_the_rest_are_served() {
    let flights = flights();
    let (mut lead, first) = lead(&flights);
    let callers: Vec<_> = (1..1_000).map(|_| tokio::spawn(whole(follow(&flights)))).collect();
    let first = tokio::spawn(whole(first));
    lead.head(ok(), KEEP, T0);
    lead.push(piece(1, 10)).await;
    // The leader's caller is among those who go.
    first.abort();
    for caller in &callers[..899] {
        caller.abort();
    }
    until_listeners(&lead, 100).await;
    lead.push(piece(2, 10)).await;
    assert_eq!(lead.body(&[]).unwrap().len(), 20);
    lead.finish();
    for (number, caller) in callers.into_iter().enumerate() {
        match caller.await {
            Ok(body) => assert_eq!(body.unwrap(), [piece(1, 10), piece(2, 10)].concat()),
            Err(gone) => assert!(gone.is_cancelled() && number < 899),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_aborted_fetch_is_told_and_leaves_nothing_behind() {
    for stage in 0..3 {
        let flights = flights();
        let (mut lead, listener) = lead(&flights);
        let follower = follow(&flights);
        let reached = Arc::new(Notify::new());
        let fetch = tokio::spawn({
            let reached = reached.clone();
            async move {
                if stage > 0 {
                    lead.head(ok(), KEEP, T0);
                }
                if stage > 1 {
                    lead.push(piece(1, 10)).await;
                }
                reached.notify_one();
                std::future::pending::<()>().await;
                lead.finish();
            }
        });
        reached.notified().await;
        assert_eq!(flights.len(), 1);
        fetch.abort();
        assert!(fetch.await.unwrap_err().is_cancelled());
        assert_eq!(whole(listener).await, Err(FlightError::Abandoned), "stage {stage}");
        assert_eq!(whole(follower).await, Err(FlightError::Abandoned), "stage {stage}");
        assert!(flights.is_empty());
        assert_eq!(flights.kept_bytes(), 0);
        let _ = self::lead(&flights);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_last_leaves_while_one_joins() {
    // The second race.
    let (mut gave_up, mut served) = (0, 0);
    for _ in 0..300 {
        let flights = flights();
        let (mut lead, listener) = lead(&flights);
        let go = Arc::new(Notify::new());
        let fetch = tokio::spawn({
            let go = go.clone();
            async move {
                tokio::select! {
                    biased;
                    () = lead.deserted() => false,
                    () = go.notified() => {
                        lead.head(ok(), KEEP, T0);
                        lead.finish();
                        true
                    }
                }
            }
        });
        let leaver = tokio::spawn(async move { drop(listener) });
        let joiner = tokio::spawn({
            let (flights, go) = (flights.clone(), go.clone());
            async move {
                match join(&flights) {
                    Joined::Follower(listener) => {
                        go.notify_one();
                        whole(listener).await.expect("whoever is on board is served");
                        true
                    }
                    _ => false,
                }
            }
        });
        leaver.await.unwrap();
        let joined = joiner.await.unwrap();
        assert_eq!(fetch.await.unwrap(), joined);
        assert!(flights.is_empty());
        if joined { served += 1 } else { gave_up += 1 }
    }
    assert_eq!(gave_up + served, 300);
}
