//! The vendor's token of one client: when it is used, renewed, dropped, and when
//! nobody may ask for another.
//!
//! A pure core; `sign_in` is the shell around it. One sign-in is under way at a time:
//! whoever is told [`Step::SignIn`] or [`Step::UseAndRenew`] begins it, the others
//! use what there is, or wait.
//!
//! * Renewal begins in the last quarter of a token's life, by whoever asks then.
//! * A token that the vendor refuses is dropped, but the second in a row not before a
//!   second, the third not before two: what is refused then is passed on, and a
//!   vendor who refuses everything is not stormed.
//! * A sign-in that fails holds the next one up, longer each time. A token that is
//!   still good serves on meanwhile.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Moment;
use crate::secret::Secret;

/// A token of the vendor's.
#[derive(Debug)]
pub(super) struct Token {
    /// What is sent.
    pub(super) access: Secret,
    /// Which one of this client's it is.
    pub(super) serial: u64,
    renew_at: Moment,
    ends_at: Moment,
}

/// Why there is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignInFault {
    /// The vendor refuses id and secret.
    Refused,
    /// It cannot be reached, fails, or is too slow.
    Unavailable,
    /// It answered with no token that can be sent.
    Malformed,
    /// It answered 429.
    Limited,
    /// The budget did not let the sign-in leave.
    Budget,
}

/// What to do for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Send the current one.
    Use,
    /// The same, and begin a sign-in beside it.
    UseAndRenew,
    /// Begin a sign-in and wait for its end.
    SignIn,
    /// Wait for the end of the one under way.
    Wait,
    /// Give up: the last one failed, and the next may not begin yet.
    Failed(SignInFault),
}

/// What is known of one client's token.
#[derive(Debug, Default)]
pub(super) struct Held {
    token: Option<Arc<Token>>,
    serial: u64,
    under_way: bool,
    /// Sign-ins that failed since the last good one, the kind of the last, and until
    /// when there is no other.
    failures: u32,
    failed: Option<(SignInFault, Moment)>,
    /// Tokens that the vendor refused in a row, and until when none is dropped.
    refusals: u32,
    refused: Option<Arc<Token>>,
    refuse_after: Option<Moment>,
}

/// The pause after the first failure, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// Refused credentials do not get better by themselves.
const REFUSED_PAUSE: Duration = Duration::from_secs(10);
/// Refusals further apart than this are not in a row.
const ROW: Duration = Duration::from_secs(300);

impl Held {
    /// What to do for a request at `now`.
    pub(super) fn ask(&mut self, now: Moment) -> Step {
        let good = self.token.as_ref().filter(|token| now < token.ends_at);
        let pause = self.failed.filter(|(_, until)| now < *until);
        match (good, self.under_way) {
            (Some(token), false) if now >= token.renew_at && pause.is_none() => {
                self.under_way = true;
                Step::UseAndRenew
            }
            (Some(_), _) => Step::Use,
            (None, true) => Step::Wait,
            (None, false) => match pause {
                Some((fault, _)) => Step::Failed(fault),
                None => {
                    self.under_way = true;
                    Step::SignIn
                }
            },
        }
    }

    /// The token to send now, whatever its age: the vendor's clock decides.
    pub(super) fn current(&self) -> Option<Arc<Token>> {
        self.token.clone()
    }

    /// Whether it is the one that is held, or the last that was refused.
    pub(super) fn knows(&self, access: &Secret) -> bool {
        [&self.token, &self.refused].into_iter().flatten().any(|token| token.access.is_same(access))
    }

    /// A sign-in that was sent at `sent` brought a token; `jitter` from 0 to 1 spreads
    /// the renewals of many weirs.
    pub(super) fn granted(&mut self, access: Secret, sent: Moment, lifetime: Duration, jitter: f64) {
        self.serial += 1;
        self.under_way = false;
        (self.failures, self.failed) = (0, None);
        // Not sent in its last moments: on its way it would grow too old.
        let margin = (lifetime / 20).min(Duration::from_secs(5));
        self.token = Some(Arc::new(Token {
            access,
            serial: self.serial,
            renew_at: sent + lifetime.mul_f64(0.75 + jitter.clamp(0.0, 1.0) / 10.0),
            ends_at: sent + (lifetime - margin),
        }));
    }

    /// A sign-in failed; `pause` is how long the vendor asked for.
    pub(super) fn failed(&mut self, fault: SignInFault, pause: Option<Duration>, now: Moment) {
        self.under_way = false;
        let doubled = |first: Duration| first.saturating_mul(1 << self.failures.min(16)).min(MAX_PAUSE);
        let own = match fault {
            SignInFault::Refused => doubled(REFUSED_PAUSE),
            // That is the matter of whoever began it; the next may have more luck.
            SignInFault::Budget => Duration::ZERO,
            SignInFault::Unavailable | SignInFault::Malformed | SignInFault::Limited => doubled(FIRST_PAUSE),
        };
        if fault != SignInFault::Budget {
            self.failures = self.failures.saturating_add(1);
        }
        self.failed = Some((fault, now + own.max(pause.unwrap_or_default())));
    }

    /// A sign-in was given up before it was sent.
    pub(super) fn abandoned(&mut self) {
        self.under_way = false;
    }

    /// The vendor refused the token with this serial. Says whether another try with
    /// another token makes sense.
    pub(super) fn refuse(&mut self, serial: u64, now: Moment) -> bool {
        let is_current = self.token.as_ref().is_some_and(|token| token.serial == serial);
        if !is_current {
            // It was dropped, or replaced, since it was sent.
            return true;
        }
        if self.refuse_after.is_some_and(|after| now < after) {
            return false;
        }
        if self.refuse_after.is_none_or(|after| now.since(after) > ROW) {
            self.refusals = 0;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.refusals.min(16)).min(MAX_PAUSE);
        self.refusals = self.refusals.saturating_add(1);
        self.refuse_after = Some(now + pause);
        self.refused = self.token.take();
        true
    }
}

impl SignInFault {
    /// One word for log, metric and header.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "sign_in_refused",
            Self::Unavailable => "sign_in_unavailable",
            Self::Malformed => "sign_in_malformed",
            Self::Limited => "sign_in_limited",
            Self::Budget => "sign_in_not_admitted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    fn grant(held: &mut Held, millis: u64, lifetime: Duration) {
        held.granted(Secret::new("t".into()), at(millis), lifetime, 0.5);
    }

    /// What is to be done at `millis`, and with which token.
    fn ask(held: &mut Held, millis: u64) -> String {
        match held.ask(at(millis)) {
            Step::Use => format!("use {}", held.serial),
            Step::UseAndRenew => format!("renew {}", held.serial),
            Step::SignIn => "sign in".into(),
            Step::Wait => "wait".into(),
            Step::Failed(fault) => fault.as_str().into(),
        }
    }

    const HUNDRED: Duration = Duration::from_secs(100);

    #[test]
    fn one_signs_in_for_all_and_one_renews() {
        let mut held = Held::default();
        assert_eq!(ask(&mut held, 0), "sign in");
        assert!((0..100).all(|_| ask(&mut held, 1) == "wait"));
        grant(&mut held, 0, HUNDRED);
        assert_eq!(ask(&mut held, 79_000), "use 1");
        assert_eq!(ask(&mut held, 80_000), "renew 1");
        assert!((0..100).all(|_| ask(&mut held, 80_001) == "use 1"));
        assert_eq!(ask(&mut held, 95_000), "wait", "it ends before its renewal has");
        grant(&mut held, 80_000, HUNDRED);
        assert_eq!(ask(&mut held, 95_000), "use 2");
        assert_eq!(ask(&mut held, 176_000), "sign in", "nobody asked while it could be renewed");
    }

    #[test]
    fn failures_hold_the_next_one_up_longer_each_time() {
        let mut held = Held::default();
        let mut now = 0;
        for pause in [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
            assert_eq!(ask(&mut held, now), "sign in");
            held.failed(SignInFault::Unavailable, None, at(now));
            assert_eq!(ask(&mut held, now + pause - 1), "sign_in_unavailable");
            now += pause;
        }
        assert_eq!(ask(&mut held, now), "sign in");
        held.failed(SignInFault::Limited, Some(HUNDRED), at(now));
        assert_eq!(ask(&mut held, now + 99_999), "sign_in_limited");
        let mut held = Held::default();
        let _ = held.ask(at(0));
        held.failed(SignInFault::Budget, None, at(0));
        assert_eq!(ask(&mut held, 0), "sign in", "another caller may have more luck");
        held.abandoned();
        assert_eq!(ask(&mut held, 0), "sign in");
        grant(&mut held, 0, HUNDRED);
        let _ = held.ask(at(80_000));
        held.failed(SignInFault::Refused, None, at(80_000));
        assert_eq!(ask(&mut held, 89_999), "use 1", "what is still good serves on");
        assert_eq!(ask(&mut held, 90_000), "renew 1");
    }

    #[test]
    fn a_refused_token_causes_one_sign_in_and_no_storm() {
        let mut held = Held::default();
        let _ = held.ask(at(0));
        grant(&mut held, 0, HUNDRED);
        assert!((0..100).all(|_| held.refuse(1, at(500))), "all that were under way may try again");
        assert_eq!(ask(&mut held, 500), "sign in");
        grant(&mut held, 510, HUNDRED);
        assert!(held.refuse(1, at(520)), "sent before, refused after");
        assert_eq!(ask(&mut held, 520), "use 2");
        // A vendor who refuses everything: each refusal is passed on for longer.
        let mut sign_ins = 0;
        for second in 1..600 {
            if held.refuse(held.serial, at(second * 1_000 + 500)) {
                assert_eq!(ask(&mut held, second * 1_000 + 500), "sign in");
                grant(&mut held, second * 1_000 + 500, Duration::from_secs(3_600));
                sign_ins += 1;
            }
        }
        assert!((8..=16).contains(&sign_ins), "{sign_ins}");
    }
}
