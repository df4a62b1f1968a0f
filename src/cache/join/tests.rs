mod races;
mod slow;

use std::sync::atomic::AtomicUsize;

use futures_util::FutureExt;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use proptest::prelude::*;

use super::*;
use crate::cache::key::{Key, Scope};
use crate::target::Target;

type Ours = Flights<AtomicUsize, &'static str>;
type OurLead = Lead<AtomicUsize, &'static str>;
type OurListener = Listener<AtomicUsize, &'static str>;

const KEEP: Fate = keep(1 << 20);
const PASS: Fate = Fate { keep_bytes: None, followers: true, open_until: None, lasting: true };
const T0: Moment = Moment::from_nanos(1_000);

const fn keep(bytes: u64) -> Fate {
    Fate { keep_bytes: Some(bytes), followers: true, open_until: Some(Moment::NEVER), lasting: false }
}

fn key(path: &str) -> FlightKey {
    let scope = Scope { upstream: "u".parse().unwrap(), key: None };
    let target = Target::parse(path, None).unwrap();
    Key::new(&scope, &Method::GET, &target, &HeaderMap::new(), None).flight(&HeaderMap::new())
}

fn flights() -> Ours {
    Flights::new(FlightLimits::default())
}

fn join(flights: &Ours) -> Joined<AtomicUsize, &'static str, ()> {
    flights.join(&key("/a"), T0, || None, AtomicUsize::default)
}

fn lead(flights: &Ours) -> (OurLead, OurListener) {
    match join(flights) {
        Joined::Leader(lead, listener) => (lead, listener),
        other => panic!("{other:?}"),
    }
}

fn follow(flights: &Ours) -> OurListener {
    match join(flights) {
        Joined::Follower(listener) => listener,
        other => panic!("{other:?}"),
    }
}

fn ok() -> Head {
    Head { status: StatusCode::OK, headers: HeaderMap::new() }
}

async fn whole(mut listener: OurListener) -> Result<Bytes, FlightError<&'static str>> {
    listener.landing().await?;
    Ok(listener.collect().await?.to_bytes())
}

/// The next piece, if there is one now.
fn next(listener: &mut OurListener) -> Option<Option<Result<Bytes, FlightError<&'static str>>>> {
    let frame = listener.frame().now_or_never()?;
    Some(frame.map(|frame| frame.map(|frame| frame.into_data().unwrap())))
}

fn piece(byte: u8, len: usize) -> Bytes {
    Bytes::from(vec![byte; len])
}

fn push(lead: &mut OurLead, bytes: Bytes) -> Option<Pushed> {
    lead.push(bytes).now_or_never()
}

#[test]
fn a_slow_reader_slows_only_itself() {
    let flights = flights();
    let (mut lead, mut fast) = lead(&flights);
    let mut slow = follow(&flights);
    lead.head(ok(), KEEP, T0);
    for byte in 0..100 {
        assert_eq!(push(&mut lead, piece(byte, 5_000)), Some(Pushed::Kept), "never waits");
        assert_eq!(next(&mut fast), Some(Some(Ok(piece(byte, 5_000)))));
    }
    assert_eq!(next(&mut fast), None);
    let late = follow(&flights);
    lead.finish();
    assert_eq!(next(&mut fast), Some(None));
    for byte in 0..100 {
        assert_eq!(next(&mut slow), Some(Some(Ok(piece(byte, 5_000)))));
    }
    assert!(http_body::Body::is_end_stream(&slow));
    assert_eq!(whole(late).now_or_never().unwrap().unwrap().len(), 500_000);
}

#[test]
fn kept_pieces_pin_no_read_buffer() {
    let flights = flights();
    let (mut lead, _listener) = lead(&flights);
    lead.head(ok(), KEEP, T0);
    let read_buffer = piece(1, 100_000);
    let stored = lead.body(&[read_buffer.slice(..10)]).unwrap();
    assert_eq!(stored.len(), 10);
    assert!(read_buffer.is_unique(), "not even a body of one piece that is still to be handed on");
    push(&mut lead, read_buffer.slice(..10));
    assert!(read_buffer.is_unique());
    assert_eq!(flights.kept_bytes(), 10 + 64);
}

#[test]
fn past_its_bound_a_body_flows_through_a_window() {
    let limits = FlightLimits { window_bytes: 100, ..FlightLimits::default() };
    let flights = Flights::new(limits);
    let (mut lead, mut fast) = lead(&flights);
    let mut slow = follow(&flights);
    lead.head(ok(), keep(150), T0);
    assert_eq!(push(&mut lead, piece(0, 100)), Some(Pushed::Kept));
    assert_eq!(next(&mut fast), Some(Some(Ok(piece(0, 100)))));
    // The bound is passed: nobody joins any more, and the slowest sets the pace.
    assert_eq!(push(&mut lead, piece(1, 100)), None, "waits for the slow one");
    assert!(flights.is_empty());
    assert!(lead.body(&[]).is_none());
    assert_eq!(next(&mut slow), Some(Some(Ok(piece(0, 100)))));
    assert_eq!(push(&mut lead, piece(2, 60)), Some(Pushed::Passed));
    assert_eq!(push(&mut lead, piece(3, 60)), Some(Pushed::Passed));
    assert_eq!(push(&mut lead, piece(4, 60)), None);
    for byte in [2, 3] {
        assert_eq!(next(&mut fast), Some(Some(Ok(piece(byte, 60)))));
    }
    assert_eq!(next(&mut fast), None);
    assert_eq!(push(&mut lead, piece(4, 60)), None, "the slow one has 120 bytes to read");
    drop(slow);
    assert_eq!(push(&mut lead, piece(5, 60)), Some(Pushed::Passed), "who leaves holds up nobody");
    assert_eq!(next(&mut fast), Some(Some(Ok(piece(5, 60)))));
    drop(fast);
    assert_eq!(push(&mut lead, piece(6, 60)), Some(Pushed::Nobody));
}

#[tokio::test]
async fn a_waiting_push_is_woken() {
    let flights = Flights::new(FlightLimits { window_bytes: 10, ..FlightLimits::default() });
    for leave in [false, true] {
        let (mut lead, mut listener) = flights.alone(&key("/a"), AtomicUsize::default());
        lead.head(ok(), PASS, T0);
        assert_eq!(push(&mut lead, piece(0, 10)), Some(Pushed::Passed));
        let pushing = tokio::spawn(async move { lead.push(piece(1, 10)).await });
        tokio::task::yield_now().await;
        assert!(!pushing.is_finished());
        if leave {
            drop(listener);
            assert_eq!(pushing.await.unwrap(), Pushed::Nobody);
        } else {
            assert_eq!(next(&mut listener), Some(Some(Ok(piece(0, 10)))));
            assert_eq!(pushing.await.unwrap(), Pushed::Passed);
        }
    }
}

#[test]
fn all_flights_together_are_bounded() {
    let flights = Flights::new(FlightLimits { max_kept_bytes: 1_000, ..FlightLimits::default() });
    let (mut one, _listener) = lead(&flights);
    one.head(ok(), KEEP, T0);
    assert_eq!(push(&mut one, piece(0, 800)), Some(Pushed::Kept));
    let (mut two, _second) = flights.alone(&key("/b"), AtomicUsize::default());
    two.head(ok(), KEEP, T0);
    assert_eq!(push(&mut two, piece(0, 300)), Some(Pushed::Passed));
    assert_eq!(flights.kept_bytes(), 864);
    drop(one);
    drop(_listener);
    assert_eq!(flights.kept_bytes(), 0);
    let (mut tiny, _third) = lead(&flights);
    tiny.head(ok(), keep(10), T0);
    let kept = (0..30).filter(|_| push(&mut tiny, piece(0, 1)) == Some(Pushed::Kept)).count();
    assert_eq!(kept, 10);
}

#[test]
fn an_uncacheable_head_serves_those_on_board_and_no_one_else() {
    let flights = flights();
    let (mut lead, first) = lead(&flights);
    let second = follow(&flights);
    lead.head(ok(), PASS, T0);
    assert!(flights.is_empty());
    push(&mut lead, piece(1, 5));
    lead.finish();
    assert_eq!(whole(first).now_or_never().unwrap().unwrap(), piece(1, 5));
    assert_eq!(whole(second).now_or_never().unwrap().unwrap(), piece(1, 5));
    // Remembered: the next fly alone, each for itself.
    let at = |after: u64| {
        let now = T0 + Duration::from_secs(after);
        flights.join(&key("/a"), now, || None::<()>, AtomicUsize::default)
    };
    let both = (at(1), at(1));
    assert!(matches!(both, (Joined::Leader(..), Joined::Leader(..))), "{both:?}");
    assert!(flights.is_empty());
    // After a while it is tried again; an answer that is kept ends it at once.
    let Joined::Leader(mut lead, _listener) = at(120) else { panic!() };
    assert_eq!(flights.len(), 1);
    lead.head(ok(), KEEP, T0 + Duration::from_secs(120));
    assert!(matches!(at(1), Joined::Follower(_)));
}

#[test]
fn a_passing_error_does_not_scatter_the_next_callers() {
    let flights = flights();
    let (mut lead, _listener) = self::lead(&flights);
    lead.head(ok(), Fate { lasting: false, ..PASS }, T0);
    assert!(flights.is_empty());
    let _next = self::lead(&flights);
    let _joins = follow(&flights);
}

#[test]
fn an_answer_gone_stale_in_the_air_is_not_joined() {
    let flights = flights();
    let at = |secs: u64| {
        let now = T0 + Duration::from_secs(secs);
        flights.join(&key("/a"), now, || None::<()>, AtomicUsize::default)
    };
    let (mut old, _first) = self::lead(&flights);
    assert!(matches!(at(90), Joined::Follower(_)), "any time before the head");
    old.head(ok(), Fate { open_until: Some(T0 + Duration::from_secs(60)), ..KEEP }, T0);
    assert!(matches!(at(59), Joined::Follower(_)));
    let Joined::Leader(_new, second) = at(60) else { panic!() };
    assert!(second.leads());
    old.finish();
    assert_eq!(flights.len(), 1, "the successor is still there");
}

#[test]
fn an_answer_kept_for_one_is_kept_and_not_joined() {
    let flights = flights();
    let (mut lead, _listener) = self::lead(&flights);
    lead.head(ok(), Fate { followers: false, open_until: None, ..KEEP }, T0);
    assert!(flights.is_empty());
    assert_eq!(push(&mut lead, piece(1, 5)), Some(Pushed::Kept));
    assert_eq!(lead.body(&[]).unwrap().len(), 5);
}

#[test]
fn what_followers_may_not_see_they_are_told_to_fetch() {
    let flights = flights();
    let (mut lead, first) = lead(&flights);
    let second = follow(&flights);
    lead.head(ok(), Fate { followers: false, ..PASS }, T0);
    assert_eq!(whole(second).now_or_never().unwrap(), Err(FlightError::GoAlone));
    push(&mut lead, piece(1, 5));
    lead.finish();
    assert!(first.leads());
    assert_eq!(whole(first).now_or_never().unwrap().unwrap(), piece(1, 5));
}

#[test]
fn failures_are_shared() {
    let flights = flights();
    let (one, first) = lead(&flights);
    let second = follow(&flights);
    one.fail("no route");
    for listener in [first, second] {
        assert_eq!(whole(listener).now_or_never().unwrap(), Err(FlightError::Failed("no route")));
    }
    let (mut lead, mut listener) = lead(&flights);
    lead.head(ok(), KEEP, T0);
    push(&mut lead, piece(1, 5));
    lead.fail("reset");
    assert!(listener.landing().now_or_never().unwrap().is_ok());
    assert_eq!(next(&mut listener), Some(Some(Ok(piece(1, 5)))));
    assert_eq!(next(&mut listener), Some(Some(Err(FlightError::Failed("reset")))), "truncated, and said so");
    assert_eq!(next(&mut listener), Some(None));
    assert!(flights.is_empty());
}

#[test]
fn a_shut_flight_serves_its_own_and_spares_its_successor() {
    let flights = flights();
    let (mut old, listener) = lead(&flights);
    assert_eq!(flights.shut(&Selector::Path("u".parse().unwrap(), "/b".into())), 0);
    assert_eq!(flights.shut(&Selector::Path("u".parse().unwrap(), "/A/".into())), 1);
    let (new, _second) = lead(&flights);
    old.head(ok(), KEEP, T0);
    old.finish();
    assert!(whole(listener).now_or_never().unwrap().is_ok());
    assert_eq!(flights.len(), 1, "the successor is still there");
    drop(new);
    assert!(flights.is_empty());
}

#[test]
fn beyond_the_bound_flights_are_not_shared() {
    let flights = Flights::new(FlightLimits { max_flights: 1, ..FlightLimits::default() });
    let _one = lead(&flights);
    let two = || flights.join(&key("/b"), T0, || None::<()>, AtomicUsize::default);
    assert!(matches!((two(), two()), (Joined::Leader(..), Joined::Leader(..))));
    assert_eq!(flights.len(), 1);
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Push(u8, usize),
    Read(usize),
    Leave(usize),
    Join,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (any::<u8>(), 1..90_usize).prop_map(|(byte, len)| Act::Push(byte, len)),
        6 => (0..6_usize).prop_map(Act::Read),
        1 => (0..6_usize).prop_map(Act::Leave),
        1 => Just(Act::Join),
    ];
    proptest::collection::vec(act, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever the order of pushing, reading, joining and leaving: each listener
    /// reads the body from its start, without gap or repetition, and past the
    /// bound no more than the window and one piece is unread.
    #[test]
    fn every_listener_reads_the_same_body(acts in acts(), max_bytes in 0..900_u64) {
        let flights = Flights::new(FlightLimits { window_bytes: 200, ..FlightLimits::default() });
        let (mut lead, first) = lead(&flights);
        lead.head(ok(), keep(max_bytes), T0);
        let mut listeners = vec![(first, Vec::new())];
        let mut body = Vec::new();
        for act in acts {
            match act {
                Act::Push(byte, len) => {
                    if matches!(push(&mut lead, piece(byte, len)), Some(Pushed::Kept | Pushed::Passed)) {
                        body.extend_from_slice(&piece(byte, len));
                    }
                }
                Act::Read(which) => {
                    if let Some((listener, read)) = listeners.get_mut(which)
                        && let Some(Some(bytes)) = next(listener)
                    {
                        read.extend_from_slice(&bytes.unwrap());
                        prop_assert!(body.starts_with(read));
                    }
                }
                Act::Leave(which) if which < listeners.len() => drop(listeners.swap_remove(which)),
                Act::Leave(_) => {}
                Act::Join => match join(&flights) {
                    Joined::Follower(listener) => listeners.push((listener, Vec::new())),
                    Joined::Leader(..) => prop_assert!(body.len() as u64 > max_bytes || lead.body(&[]).is_none()),
                    Joined::Found(()) => unreachable!(),
                },
            }
            let slowest = listeners.iter().map(|(_, read)| read.len()).min();
            if lead.body(&[]).is_none() && body.len() as u64 > max_bytes + 300 {
                prop_assert!(body.len() - slowest.unwrap_or(body.len()) <= 300 + 900);
            }
            prop_assert_eq!(lead.listeners(), listeners.len());
        }
        lead.finish();
        for (mut listener, mut read) in listeners {
            while let Some(Some(bytes)) = next(&mut listener) {
                read.extend_from_slice(&bytes.unwrap());
            }
            prop_assert_eq!(&read, &body);
        }
    }
}
