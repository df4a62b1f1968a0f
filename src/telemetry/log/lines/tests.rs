//! With real threads, and where it is the point real time: a reader who is too slow.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};

use proptest::prelude::*;

use super::*;

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(30);

/// Takes what its whims allow: so many bytes at a time, none being an error; then all.
struct Whimsical {
    whims: VecDeque<usize>,
    kept: Arc<Mutex<Vec<u8>>>,
}

impl Write for Whimsical {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = match self.whims.pop_front() {
            Some(0) => return Err(io::ErrorKind::WouldBlock.into()),
            Some(1) => return Err(io::ErrorKind::Interrupted.into()),
            Some(most) => most.min(bytes.len()),
            None => bytes.len(),
        };
        self.kept.lock().extend_from_slice(&bytes[..most]);
        Ok(most)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hands on what is written, and is stuck until somebody takes it.
struct Stuck(Receiver<()>, Sender<Vec<u8>>);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Once whoever holds the other end is gone, nothing is stuck any more.
        let _ = self.0.recv();
        self.1.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn stuck(tell: impl Fn(u64) + Send + 'static) -> (Lines, Sender<()>, Receiver<Vec<u8>>) {
    let ((go, wait), (give, take)) = (channel(), channel());
    (Lines::start(Stuck(wait, give), tell).unwrap(), go, take)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn lines_come_out_whole_and_in_order_whatever_writes_do(
        lengths in prop::collection::vec(prop::collection::vec(0..300_usize, 1..200), 1..4),
        // Each error costs a real pause.
        mut whims in prop::collection::vec(1..5_000_usize, 0..100),
        fails in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
    ) {
        fails.iter().for_each(|at| whims.insert(at.index(whims.len() + 1), 0));
        let kept = Arc::default();
        let out = Whimsical { whims: whims.into(), kept: Arc::clone(&kept) };
        let lines = Lines::start(out, |_| unreachable!("there is room")).unwrap();
        std::thread::scope(|scope| {
            for (thread, lengths) in lengths.iter().enumerate() {
                let lines = &lines;
                scope.spawn(move || for (at, length) in lengths.iter().enumerate() {
                    let haste = if length % 50 == 0 { Haste::AtOnce } else { Haste::Gather };
                    lines.push(format!("{thread} {at} {}\n", "x".repeat(*length)).as_bytes(), haste);
                });
            }
        });
        lines.flush(LONG);
        let text = String::from_utf8(kept.lock().clone()).unwrap();
        for (thread, lengths) in lengths.iter().enumerate() {
            let begins = format!("{thread} ");
            let ours: Vec<_> = text.lines().filter(|line| line.starts_with(&begins)).collect();
            let wanted = lengths.iter().enumerate().map(|(at, n)| format!("{thread} {at} {}", "x".repeat(*n)));
            prop_assert_eq!(ours, wanted.collect::<Vec<_>>());
        }
        prop_assert_eq!(text.lines().count(), lengths.iter().map(Vec::len).sum::<usize>());
    }
}

#[test]
fn nobody_waits_for_a_reader_and_what_is_lost_is_told() {
    let told = Arc::new(AtomicU64::new(0));
    let tell = Arc::clone(&told);
    let (lines, go, read) = stuck(move |lost| {
        tell.fetch_add(lost, Ordering::Relaxed);
    });
    let all = 3 * MAX_WAITING_BYTES / 1_024;
    for at in 0..all {
        lines.push(format!("{at:01023}\n").as_bytes(), Haste::Gather);
        assert!(lines.0.state.lock().waiting.len() <= MAX_WAITING_BYTES);
    }
    let lost = lines.lost();
    assert!(lost >= count(all / 3), "two thirds may be held at the most: {lost} of {all}");
    lines.flush(Duration::from_millis(50));
    assert!(lines.0.state.lock().out == 0, "it is stuck");
    drop(go);
    lines.flush(LONG);
    let text = String::from_utf8(read.try_iter().flatten().collect()).unwrap();
    let kept: Vec<usize> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(count(kept.len()) + lost, count(all));
    assert!(kept.is_sorted_by(|a, b| a < b));
    assert_eq!(told.load(Ordering::Relaxed), lost);
    // There is room again.
    lines.push(b"again\n", Haste::AtOnce);
    assert_eq!(read.recv_timeout(LONG).unwrap(), b"again\n");
    assert_eq!(lines.lost(), lost);
}

#[test]
fn a_line_alone_comes_soon_and_many_come_together() {
    let (lines, go, read) = stuck(|_| {});
    drop(go);
    lines.push(b"alone\n", Haste::Gather);
    assert_eq!(read.recv_timeout(LONG).unwrap(), b"alone\n");
    (0..200).for_each(|_| lines.push(b"one of many\n", Haste::Gather));
    lines.flush(LONG);
    assert!(read.try_iter().count() < 100, "a write for each");
}

#[test]
fn a_hasty_line_takes_along_what_came_before_it() {
    let (lines, go, read) = stuck(|_| {});
    lines.push(b"first\n", Haste::AtOnce);
    lines.push(b"second\n", Haste::Gather);
    lines.push(b"third\n", Haste::AtOnce);
    drop(go);
    lines.flush(LONG);
    assert_eq!(read.try_iter().flatten().collect::<Vec<_>>(), b"first\nsecond\nthird\n");
}
