//! What has been paid for once is not paid for again.
//!
//! A request's way through here, in order:
//! 1. [`Key`] names what is asked for, within one [`Scope`] (law 10).
//! 2. [`Cache::lookup`] says fresh, stale or missing, by RFC 9111 and the rules; on
//!    a miss [`Cache::bring_up`] looks into the second level.
//! 3. [`Flights::join`] makes one fetch of many callers' requests.
//! 4. [`Cache::ticket`], taken before the send, voids a fill that a purge overtook.
//! 5. [`Policy::admit`] judges the answer's head, [`Entry::refresh`] a 304.
//! 6. [`Cache::insert`] keeps it; [`Hit::answer`] gives it to each caller in the
//!    form that caller asked for (304, 206, HEAD).
//! 7. A write drops what [`Policy::outdated`] says, as a purge does ([`Cache::purge`]
//!    and [`Flights::shut`]).
//!
//! Invariants: decisions are pure and take [`Now`]; no entry is reached by a
//! key of another scope; an entry never changes once it is stored; no secret is
//! kept (selecting headers only as a hash, `Set-Cookie` not at all); every store
//! is bounded in bytes.
//!
//! Of `http-cache-semantics` 3.0 nothing is used: it matches directive names by
//! case, splits quoted strings at commas, keeps only the first line of a
//! repeated field, drops `Date`, does not add what a 304 brings anew, knows no
//! `must-understand` and reads the clock itself. All of these are required here.
//!
//! Bodies are stored as they came, or as the dialect's edits left them; other codings
//! are made when somebody asks for one ([`Forms`]), and [`Hit::answer`] gives them.

pub mod answer;
pub mod coding;
mod directives;
pub mod disk;
mod edition;
pub mod entry;
mod fields;
mod forms;
pub mod freshness;
pub mod invalidate;
pub mod join;
pub mod key;
pub mod policy;
mod record;
pub mod reuse;
pub mod second;
pub mod shared;
pub mod store;
pub mod validate;
mod vary;

#[cfg(test)]
mod tests;

use http::{HeaderMap, Method, StatusCode};

use crate::clock::{Moment, UnixTime};
use crate::config::ClientCacheControl;

pub use answer::{Answer, AnswerBody, Shape};
pub use coding::Coding;
pub use directives::RequestDirectives;
pub use disk::{Disk, DiskOptions};
pub use edition::Editions;
pub use entry::{Entry, EntryArc};
pub use forms::Forms;
pub use freshness::Freshness;
pub use join::{FlightError, FlightLimits, Flights, Joined, Landing, Lead, Listener, Pushed};
pub use key::{FlightKey, Key, Scope, Selector};
pub use policy::{Fate, NotStored, Policy, Sharing, Storable};
pub use reuse::{Forward, Hit, Lookup, Occasion, Stale};
pub use second::{Level, SecondLevel, SecondTally, Unconfirmed};
pub use shared::{Claim, MAX_SHARED_BYTES, Note, Outcome, Shared, SharedOptions, SharedTally, Turn};
pub use store::{Cache, CacheLimits, Stored, Ticket};

/// One reading of both clocks: ages are measured on the monotone one, dates in
/// headers compared with the wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotone.
    pub at: Moment,
    /// The wall.
    pub wall: UnixTime,
}

/// When a fetch went out and when its head came in (RFC 9111, section 4.2.3:
/// `request_time` and `response_time`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Right before the first byte was sent.
    pub sent: Moment,
    /// When the response head was complete.
    pub received: Now,
}

/// The head of a vendor's answer.
#[derive(Clone, Debug)]
pub struct Head {
    /// Its final status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
}

/// What a caller asks, as far as the cache must know.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// GET, HEAD, or what a rule allows beside them.
    pub method: &'a Method,
    /// The caller's own fields: conditions and ranges are read from these.
    pub caller: &'a HeaderMap,
    /// The end-to-end fields that would be sent to the vendor, without weir's own
    /// key: `Vary` selects by these, and in a shared cache `Authorization` counts.
    pub sent: &'a HeaderMap,
    /// The caller's `Cache-Control`, read once.
    pub directives: RequestDirectives,
}

impl<'a> Asked<'a> {
    /// Reads the directives too, unless this caller's do not count.
    #[must_use]
    pub fn new(
        method: &'a Method,
        caller: &'a HeaderMap,
        sent: &'a HeaderMap,
        counts: ClientCacheControl,
    ) -> Self {
        let directives = match counts {
            ClientCacheControl::Honour => RequestDirectives::of(caller),
            ClientCacheControl::Ignore => RequestDirectives::default(),
        };
        Self { method, caller, sent, directives }
    }
}
