//! Seeded randomness: the same seed gives the same world, and the n-th request
//! the same delays and faults.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::options::Latency;

/// Draws what happens to each request, in the order of arrival.
#[derive(Debug)]
pub(crate) struct Chance(ChaCha8Rng);

/// Everything that is random about one request. All of it is drawn at once, so
/// that which options are on does not shift what later requests draw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draws {
    inbound: u64,
    outbound: u64,
    /// Where between arrival and head the request is counted.
    pub(crate) moment: Unit,
    /// Which fault, if any.
    pub(crate) fault: Unit,
    /// Which variety of that fault.
    pub(crate) variety: u64,
    /// The bytes of the trace id.
    pub(crate) trace: u128,
}

/// A number of at least 0 and below 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Unit(pub(crate) f64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(crate) fn draw(&mut self) -> Draws {
        let rng = &mut self.0;
        Draws {
            inbound: rng.next_u64(),
            outbound: rng.next_u64(),
            moment: unit(rng.next_u64()),
            fault: unit(rng.next_u64()),
            variety: rng.next_u64(),
            trace: u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64()),
        }
    }
}

impl Draws {
    /// From the network's edge to the vendor's counter.
    pub(crate) fn inbound(&self, latency: Latency) -> Duration {
        between(latency, self.inbound)
    }

    /// From the vendor's counter to the network's edge.
    pub(crate) fn outbound(&self, latency: Latency) -> Duration {
        between(latency, self.outbound)
    }
}

/// A well-spread number that depends on both arguments alone (splitmix64).
pub(crate) fn mix(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[allow(clippy::cast_precision_loss, reason = "53 random bits fit an f64 exactly")]
fn unit(bits: u64) -> Unit {
    Unit((bits >> 11) as f64 / (1_u64 << 53) as f64)
}

fn between(latency: Latency, bits: u64) -> Duration {
    latency.least + latency.most.saturating_sub(latency.least).mul_f64(unit(bits).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_stay_in_their_range_and_repeat_with_the_seed() {
        let latency = Latency { least: Duration::from_millis(5), most: Duration::from_millis(120) };
        let (mut one, mut two) = (Chance::new(42), Chance::new(42));
        for _ in 0..1_000 {
            let (a, b) = (one.draw(), two.draw());
            assert_eq!(a.inbound(latency), b.inbound(latency));
            assert!(a.outbound(latency) >= latency.least && a.outbound(latency) <= latency.most);
            assert!(a.fault.0 < 1.0);
        }
    }
}
