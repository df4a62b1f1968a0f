//! What can go wrong at a vendor or on the way to it.

use std::time::Duration;

use super::chance::Draws;

/// How often what goes wrong, each as a probability between 0 and 1. They
/// exclude each other: their sum should not exceed 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// Counted, then answered 500 in the envelope or 502, 503, 504 as HTML.
    pub server_error: f64,
    /// Counted, then the connection (HTTP/2: the stream) ends without a head.
    pub reset: f64,
    /// Counted, then never answered.
    pub silent: f64,
    /// Counted and answered, but the body ends half way.
    pub cut_short: f64,
    /// The CDN answers 429 as HTML and the vendor never sees (or counts) it.
    pub cdn_429: f64,
    /// The CDN answers 403 as HTML and the vendor never sees (or counts) it.
    pub cdn_403: f64,
    /// The CDN answers 504 and hands the request to the vendor, which counts
    /// it, [`Faults::buffered_for`] later.
    pub buffered: f64,
    /// See [`Faults::buffered`].
    pub buffered_for: Duration,
}

/// What goes wrong with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// See [`Faults::server_error`].
    ServerError,
    /// See [`Faults::reset`].
    Reset,
    /// See [`Faults::silent`].
    Silent,
    /// See [`Faults::cut_short`].
    CutShort,
    /// See [`Faults::cdn_429`].
    Cdn429,
    /// See [`Faults::cdn_403`].
    Cdn403,
    /// See [`Faults::buffered`].
    Buffered,
}

impl Fault {
    /// One word for the journal.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServerError => "server_error",
            Self::Reset => "reset",
            Self::Silent => "silent",
            Self::CutShort => "cut_short",
            Self::Cdn429 => "cdn_429",
            Self::Cdn403 => "cdn_403",
            Self::Buffered => "buffered",
        }
    }
}

impl Faults {
    /// The fault that `draws` falls on.
    pub(crate) fn pick(&self, draws: &Draws) -> Option<Fault> {
        let mut upto = 0.0;
        let table = [
            (self.server_error, Fault::ServerError),
            (self.reset, Fault::Reset),
            (self.silent, Fault::Silent),
            (self.cut_short, Fault::CutShort),
            (self.cdn_429, Fault::Cdn429),
            (self.cdn_403, Fault::Cdn403),
            (self.buffered, Fault::Buffered),
        ];
        table.into_iter().find_map(|(probability, fault)| {
            upto += probability;
            (draws.fault.0 < upto).then_some(fault)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::chance::Chance;

    #[test]
    fn faults_come_about_as_often_as_asked() {
        let faults = Faults { server_error: 0.1, reset: 0.2, ..Faults::default() };
        let mut chance = Chance::new(3);
        let picked: Vec<_> = (0..10_000).map(|_| faults.pick(&chance.draw())).collect();
        let share = |of| picked.iter().filter(|fault| **fault == of).count();
        assert!((900..1_100).contains(&share(Some(Fault::ServerError))));
        assert!((1_850..2_150).contains(&share(Some(Fault::Reset))));
        assert_eq!(share(None) + share(Some(Fault::ServerError)) + share(Some(Fault::Reset)), 10_000);
    }
}
