//! One stored answer. It never changes; a refresh makes another that shares its
//! body.
//!
//! Nothing in it points into the buffers it was read from: a few bytes of header
//! must not keep a read buffer of half a megabyte alive.

mod body;
mod date;
mod known;
mod lines;

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::freshness::Freshness;
use super::key::{self, Text};
use super::second::Name;
use super::vary::Vary;
use crate::clock::Moment;

pub use self::body::Body;
pub(super) use self::body::BodyId;
pub(super) use self::lines::Fields;

/// A stored answer.
pub struct Entry {
    pub(super) key: Text,
    pub(super) status: StatusCode,
    pub(super) fields: Fields,
    pub(super) body: Body,
    pub(super) vary: Vary,
    pub(super) freshness: Freshness,
    pub(super) mark: Mark,
}

/// An entry in the hands of several. Nobody holds it weakly, so it does without the count of
/// those who do.
pub type EntryArc = triomphe::Arc<Entry>;

/// A number that whoever gives an answer away wants to find beside it the next time,
/// instead of working it out again. It means nothing to the cache.
#[derive(Default)]
pub(super) struct Mark(AtomicU32);

/// What the stores around an entry hold for it: moka's node, its queue and hash-table
/// places, our index, and a twentieth for what the allocator cannot use. Measured in
/// `store`'s tests.
const ENTRY_OVERHEAD_BYTES: usize = 416;

impl Entry {
    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What it is kept under.
    #[must_use]
    pub fn key(&self) -> &Text {
        &self.key
    }

    /// Its age and lifetime.
    #[must_use]
    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// Its body.
    #[must_use]
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Its stored fields as a map.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        self.fields.to_map()
    }

    /// What it really weighs in memory, in bytes, the places of the stores around
    /// it included.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        size_of::<Self>()
            + ENTRY_OVERHEAD_BYTES
            + allocated(self.key.weight())
            + allocated(self.vary.weight())
            + self.fields.weight()
            + self.body.weight()
    }

    /// The number that was found for it before, or `find` finds now; not kept if it is none.
    pub fn mark(&self, find: impl FnOnce() -> Option<u16>) -> Option<u16> {
        // Zero is none yet.
        if let Some(known) = self.mark.0.load(Ordering::Relaxed).checked_sub(1) {
            return u16::try_from(known).ok();
        }
        let found = find()?;
        self.mark.0.store(u32::from(found) + 1, Ordering::Relaxed);
        Some(found)
    }

    pub(super) fn name(&self) -> Name {
        (key::beginning(&self.key.hash()), self.vary.digest())
    }

    /// When it came from the vendor, or was last validated there.
    #[must_use]
    pub fn received(&self) -> Moment {
        self.freshness.received.at
    }

    pub(super) fn field(&self, name: &HeaderName) -> Option<Cow<'_, HeaderValue>> {
        self.fields.first(name)
    }
}

/// What a block that is shared has beside its bytes, in bytes.
const SHARED_BYTES: usize = 32;

/// What a block of so many bytes takes, as mimalloc's sizes are: four of them up to twice as
/// much. Of a large block the pages at its end are not touched.
fn allocated(bytes: usize) -> usize {
    let step = if bytes > 32 * 1_024 { 4_096 } else { bytes.next_power_of_two() / 8 };
    bytes.next_multiple_of(step.max(16))
}

// With the count of who shares it a block of 160 bytes: a few more would take 192.
const _: () = assert!(size_of::<Entry>() <= 152);

impl fmt::Debug for Entry {
    /// Without field values and body: they are the vendor's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({:?} {} {} bytes {:?})", self.key, self.status, self.body.len(), self.freshness)
    }
}
