//! One slow reader of several.

use std::time::Duration;

use super::*;
use crate::clock::{Clock, UnixTime};

fn timed(clock: Clock) -> Ours {
    let patience = Duration::from_secs(1);
    Flights::timed(FlightLimits { window_bytes: 100, patience, ..FlightLimits::default() }, clock)
}

/// Reads all there is now; the bytes.
fn drain(listener: &mut OurListener) -> usize {
    std::iter::from_fn(|| next(listener)).map_while(|piece| piece?.ok()).map(|piece| piece.len()).sum()
}

#[tokio::test(start_paused = true)]
async fn others_wait_for_a_slow_reader_for_a_second_in_all() {
    let clock = Clock::virtual_at(UnixTime::from_secs(0));
    let flights = timed(clock);
    let (mut lead, mut fast) = lead(&flights);
    let (mut middling, mut slow) = (follow(&flights), follow(&flights));
    lead.head(ok(), PASS, T0);
    let began = clock.now();
    let mut read = [0, 0, 0];
    for number in 0..50 {
        let mut push = Box::pin(lead.push(piece(number, 60)));
        // All three read as fast as they can, the slow one a piece in 0.3 s.
        loop {
            read[0] += drain(&mut fast);
            read[1] += drain(&mut middling);
            tokio::select! {
                biased;
                pushed = &mut push => {
                    assert_eq!(pushed, Pushed::Passed);
                    break;
                }
                () = clock.sleep_until(clock.now() + Duration::from_millis(300)) => {
                    read[2] += next(&mut slow).flatten().and_then(Result::ok).map_or(0, |piece| piece.len());
                }
            }
        }
    }
    read[0] += drain(&mut fast);
    read[1] += drain(&mut middling);
    assert_eq!(read[..2], [3_000, 3_000]);
    let (held_back, patience) = (clock.now().since(began), Duration::from_secs(1));
    assert!(held_back >= patience && held_back < patience * 2, "{held_back:?}");
    assert!(read[2] < 600);
    assert!(matches!(next(&mut slow), Some(Some(Err(FlightError::TooSlow)))));
    assert_eq!(lead.listeners(), 2);
    drop(slow);
    lead.finish();
    assert_eq!(next(&mut fast), Some(None));
}

#[tokio::test(start_paused = true)]
async fn a_lone_slow_reader_gets_all_of_it() {
    let clock = Clock::virtual_at(UnixTime::from_secs(0));
    let flights = timed(clock);
    let (mut lead, mut alone) = lead(&flights);
    lead.head(ok(), PASS, T0);
    let reading = async {
        let mut read = 0;
        while read < 3_000 {
            clock.sleep_until(clock.now() + Duration::from_secs(10)).await;
            read += next(&mut alone).unwrap().unwrap().unwrap().len();
        }
    };
    let writing = async {
        for number in 0..50 {
            assert_eq!(lead.push(piece(number, 60)).await, Pushed::Passed);
        }
    };
    tokio::join!(reading, writing);
}
