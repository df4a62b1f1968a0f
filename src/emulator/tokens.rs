//! Tokens that a vendor issues for a key, and that end.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::UnixTime;

use super::chance::mix;

/// Tokens remembered; the oldest are forgotten, and unknown from then on.
const TOKENS: usize = 10_000;

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Access,
    Refresh,
}

/// How often a vendor was asked to sign somebody in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignIns {
    /// Tokens given out.
    pub granted: u64,
    /// Requests for one that were refused.
    pub refused: u64,
}

/// All tokens that are remembered.
#[derive(Debug)]
pub(crate) struct Tokens {
    seed: u64,
    lifetime: Duration,
    issued: VecDeque<Token>,
    pub(crate) signed_in: SignIns,
}

struct Token {
    text: String,
    kind: Kind,
    /// The number of its key; none where any key will do.
    key: Option<usize>,
    until: UnixTime,
}

impl Tokens {
    pub(crate) fn new(seed: u64, lifetime: Duration) -> Self {
        Self { seed, lifetime, issued: VecDeque::new(), signed_in: SignIns::default() }
    }

    /// How long those live that are issued now.
    pub(crate) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    pub(crate) fn issue(&mut self, kind: Kind, key: Option<usize>, now: UnixTime) -> String {
        let number = mix(self.seed, self.signed_in.granted << 1 | u64::from(kind == Kind::Refresh));
        let text = format!("vt-{number:016x}{:016x}+/", mix(number, 1));
        if self.issued.len() >= TOKENS {
            self.issued.pop_front();
        }
        let lifetime = match kind {
            Kind::Access => self.lifetime,
            Kind::Refresh => self.lifetime * 2,
        };
        self.issued.push_back(Token { text: text.clone(), kind, key, until: now + lifetime });
        text
    }

    /// The key that `text` was issued for, and whether it is still good.
    pub(crate) fn find(&self, kind: Kind, text: &str, now: UnixTime) -> Option<(Option<usize>, bool)> {
        let token = self.issued.iter().find(|token| token.kind == kind && token.text == text)?;
        Some((token.key, now < token.until))
    }

    /// All that were issued are unknown from now on; how many there were.
    pub(crate) fn revoke_all(&mut self) -> usize {
        let count = self.issued.len();
        self.issued.clear();
        count
    }

    /// Likewise those of one key.
    pub(crate) fn revoke_of(&mut self, key: usize) {
        self.issued.retain(|token| token.key != Some(key));
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("key", &self.key).field("until", &self.until).finish_non_exhaustive()
    }
}
