//! Vendors that count, in their own ways, and say whether they would refuse.

use std::collections::VecDeque;

/// One limit as a vendor might enforce it; times in nanoseconds.
#[derive(Clone, Debug)]
pub(in crate::budget) enum Vendor {
    /// At most `n` arrivals in any half-open stretch of `w`.
    Sliding { n: u32, w: u64, log: VecDeque<u64> },
    /// At most `n` arrivals between edges that lie `w` apart, the first at `w - phase`.
    Fixed { n: u32, w: u64, phase: u64, window: u64, count: u32 },
    /// The same, but each window is reset up to `late` after its edge.
    Late { n: u32, w: u64, phase: u64, late: u64, window: u64, count: u32 },
    /// Each arrival takes one token of `n`; `n` drip in evenly per `w`. Tokens are counted in 1/w.
    Bucket { n: u32, w: u64, tokens: u128, last: u64 },
    /// Estimates: the window before by the part of it that is still within `w`, and this one.
    Weighted { n: u32, w: u64, phase: u64, window: u64, before: u32, count: u32 },
}

impl Vendor {
    pub(in crate::budget) fn sliding(n: u32, w: u64) -> Self {
        Self::Sliding { n, w, log: VecDeque::new() }
    }

    pub(in crate::budget) fn fixed(n: u32, w: u64, phase: u64) -> Self {
        Self::Fixed { n, w, phase, window: 0, count: 0 }
    }

    pub(in crate::budget) fn late(n: u32, w: u64, phase: u64, late: u64) -> Self {
        Self::Late { n, w, phase, late, window: 0, count: 0 }
    }

    pub(in crate::budget) fn bucket(n: u32, w: u64) -> Self {
        Self::Bucket { n, w, tokens: u128::from(n) * u128::from(w), last: 0 }
    }

    pub(in crate::budget) fn weighted(n: u32, w: u64, phase: u64) -> Self {
        Self::Weighted { n, w, phase, window: 0, before: 0, count: 0 }
    }

    /// The same for a vendor that does not count what it refuses.
    pub(in crate::budget) fn admits_or_forgets(&mut self, at: u64) -> bool {
        let before = self.clone();
        let admitted = self.admits(at);
        if !admitted {
            *self = before;
        }
        admitted
    }

    /// One request arrives at `at`: whether it is within the limit. Counts it in any case.
    pub(in crate::budget) fn admits(&mut self, at: u64) -> bool {
        match self {
            Self::Sliding { n, w, log } => {
                while log.front().is_some_and(|t| t + *w <= at) {
                    log.pop_front();
                }
                log.push_back(at);
                log.len() <= *n as usize
            }
            Self::Fixed { n, w, phase, window, count } => {
                let here = (at + *phase) / *w;
                if here != *window {
                    (*window, *count) = (here, 0);
                }
                *count += 1;
                *count <= *n
            }
            Self::Late { n, w, phase, late, window, count } => {
                let edge = (at + *phase) / *w;
                // Any number that differs from edge to edge.
                let delay = (edge.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20) % (*late + 1);
                let here = if (at + *phase) % *w < delay { edge.saturating_sub(1) } else { edge };
                if here != *window {
                    (*window, *count) = (here, 0);
                }
                *count += 1;
                *count <= *n
            }
            Self::Bucket { n, w, tokens, last } => {
                let full = u128::from(*n) * u128::from(*w);
                *tokens = full.min(*tokens + u128::from(*n) * u128::from(at - *last));
                *last = at;
                let enough = *tokens >= u128::from(*w);
                *tokens = tokens.saturating_sub(u128::from(*w));
                enough
            }
            Self::Weighted { n, w, phase, window, before, count } => {
                let here = (at + *phase) / *w;
                if here != *window {
                    *before = if here == *window + 1 { *count } else { 0 };
                    (*window, *count) = (here, 0);
                }
                *count += 1;
                let left = *w - (at + *phase) % *w;
                let estimate = u128::from(*before) * u128::from(left) + u128::from(*count) * u128::from(*w);
                estimate <= u128::from(*n) * u128::from(*w)
            }
        }
    }
}
