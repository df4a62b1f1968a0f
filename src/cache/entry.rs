//! One stored answer. It never changes; a refresh makes another that shares its
//! body.
//!
//! Nothing in it points into the buffers it was read from: a few bytes of header
//! must not keep a read buffer of half a megabyte alive.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue, VARY};

use super::answer::names_coding;
use super::coding;
use super::freshness::Freshness;
use super::key::Key;
use super::second::Name;
use super::vary::Vary;
use crate::clock::Moment;

/// A stored answer.
pub struct Entry {
    pub(super) key: Key,
    pub(super) status: StatusCode,
    pub(super) fields: Fields,
    pub(super) body: Body,
    pub(super) vary: Vary,
    pub(super) freshness: Freshness,
    pub(super) mark: Mark,
}

/// A number that whoever gives an answer away wants to find beside it the next time,
/// instead of working it out again. It means nothing to the cache.
#[derive(Default)]
pub(super) struct Mark(AtomicU32);

/// Header fields in one block of memory.
#[derive(Clone)]
pub(super) struct Fields {
    list: Arc<[(HeaderName, HeaderValue)]>,
    value_bytes: usize,
    /// Whether a 200 with these may be given in other codings: every hit asks.
    pub(super) is_codable: bool,
    /// Whether they say that they vary by the coding that is asked for.
    pub(super) vary_by_coding: bool,
}

/// A whole body, in few pieces. Cloning copies a pointer.
#[derive(Clone)]
pub struct Body {
    id: BodyId,
    blocks: Arc<[Bytes]>,
    len: u64,
}

/// Tells bodies apart for as long as this process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct BodyId(u64);

static NEXT_BODY: AtomicU64 = AtomicU64::new(0);

/// Pieces smaller than this are put together when a body is complete.
const BLOCK_BYTES: usize = 64 * 1024;

/// Values that nearly every answer has: no counting of who holds them.
const COMMON: [&str; 3] = ["1.1 weir", "application/json", "application/json; charset=utf-8"];

/// `Age`, `Content-Length`, `Vary`, `Cache-Status`, price, id, two of limits.
const ADDED_FIELDS: usize = 8;

/// What the store around an entry holds for it: its node, its places in the table and
/// the index, and what the allocator rounds up. Measured in `store`'s tests.
const ENTRY_OVERHEAD_BYTES: usize = 256;

impl Entry {
    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What it is kept under.
    #[must_use]
    pub fn key(&self) -> &Key {
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
            + self.key.weight()
            + self.vary.weight()
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
        (self.key.hash(), self.vary.digest())
    }

    /// When it came from the vendor, or was last validated there.
    #[must_use]
    pub fn received(&self) -> Moment {
        self.freshness.received.at
    }

    pub(super) fn field(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.fields.first(name)
    }
}

impl fmt::Debug for Entry {
    /// Without field values and body: they are the vendor's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({:?} {} {} bytes {:?})", self.key, self.status, self.body.len, self.freshness)
    }
}

impl Fields {
    /// Copies the fields out of wherever they are.
    pub(super) fn copied(fields: &[(&HeaderName, &HeaderValue)]) -> Self {
        let value_bytes = fields.iter().map(|(_, value)| value.len()).sum();
        let mut block = BytesMut::with_capacity(value_bytes);
        for (_, value) in fields {
            block.extend_from_slice(value.as_bytes());
        }
        let mut rest = block.freeze();
        let list = fields.iter().map(|&(name, value)| {
            let bytes = rest.split_to(value.len());
            let known = COMMON.iter().find(|common| common.as_bytes() == bytes && !value.is_sensitive());
            if let Some(common) = known {
                return (name.clone(), HeaderValue::from_static(common));
            }
            let mut copy =
                HeaderValue::from_maybe_shared(bytes).expect("the bytes were a header value before");
            copy.set_sensitive(value.is_sensitive());
            (name.clone(), copy)
        });
        let is_codable = coding::is_codable(StatusCode::OK, fields.iter().copied());
        let vary_by_coding = fields.iter().any(|(name, value)| **name == VARY && names_coding(value));
        Self { list: list.collect(), value_bytes, is_codable, vary_by_coding }
    }

    pub(super) fn first(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.iter().find(|(is, _)| *is == name).map(|(_, value)| value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> + Clone {
        self.list.iter().map(|(name, value)| (name, value))
    }

    pub(super) fn to_map(&self) -> HeaderMap {
        // As many more as every answer adds: a map that grows is built twice.
        let mut map = HeaderMap::with_capacity(self.list.len() + ADDED_FIELDS);
        for (name, value) in self.iter() {
            map.append(name, value.clone());
        }
        map
    }

    fn weight(&self) -> usize {
        let names: usize = self.iter().map(|(name, _)| name.as_str().len()).sum();
        self.list.len() * size_of::<(HeaderName, HeaderValue)>() + names + self.value_bytes
    }
}

impl Body {
    /// A body from its pieces, which must not pin foreign buffers (see
    /// [`super::join`], which copies). Small ones are put together.
    #[must_use]
    pub fn of(pieces: &[Bytes]) -> Self {
        let mut blocks: Vec<Bytes> = Vec::new();
        let mut small = BytesMut::new();
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            let alone = pieces.len() == 1 || piece.len() >= BLOCK_BYTES;
            if !small.is_empty() && (alone || small.len() + piece.len() > BLOCK_BYTES) {
                blocks.push(exact(&mut small));
            }
            if alone {
                blocks.push(piece.clone());
            } else {
                small.extend_from_slice(piece);
            }
        }
        if !small.is_empty() {
            blocks.push(exact(&mut small));
        }
        let len = blocks.iter().map(|block| block.len() as u64).sum();
        Self { id: BodyId(NEXT_BODY.fetch_add(1, Ordering::Relaxed)), blocks: blocks.into(), len }
    }

    pub(super) fn id(&self) -> BodyId {
        self.id
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Its pieces, in order.
    #[must_use]
    pub fn blocks(&self) -> &[Bytes] {
        &self.blocks
    }

    pub(super) fn weight(&self) -> usize {
        // A shared block has a counter and a vector's header beside its bytes.
        self.blocks.iter().map(|block| block.len() + size_of::<Bytes>() + 32).sum()
    }
}

impl fmt::Debug for Body {
    /// Without its bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.len)
    }
}

/// Without the spare room that growing left.
fn exact(small: &mut BytesMut) -> Bytes {
    let block = Bytes::copy_from_slice(small);
    small.clear();
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_keep_their_bytes_in_few_blocks() {
        let pieces: Vec<Bytes> =
            (0..3_000_usize).map(|i| Bytes::from(vec![i.to_le_bytes()[0]; i % 97])).collect();
        let body = Body::of(&pieces);
        assert_eq!(body.blocks().concat(), pieces.concat());
        assert_eq!(body.len(), pieces.concat().len() as u64);
        assert!(body.blocks().len() <= 4, "{}", body.blocks().len());
        let large = Bytes::from(vec![7; BLOCK_BYTES]);
        let body = Body::of(&[Bytes::from_static(b"a"), large.clone(), Bytes::from_static(b"b")]);
        assert_eq!(body.blocks()[1].as_ptr(), large.as_ptr(), "large pieces are not copied again");
        assert!(Body::of(&[]).is_empty());
    }

    #[test]
    fn fields_share_one_block_of_their_own() {
        let read_buffer = Bytes::from(vec![b'x'; 100_000]);
        let value = HeaderValue::from_maybe_shared(read_buffer.slice(10..20)).unwrap();
        let names = [HeaderName::from_static("a"), HeaderName::from_static("b")];
        let fields = Fields::copied(&[(&names[0], &value), (&names[1], &value)]);
        drop(value);
        assert!(read_buffer.is_unique(), "nothing points into the read buffer");
        assert_eq!(fields.to_map().len(), 2);
        assert_eq!(fields.first(&names[1]).unwrap(), "xxxxxxxxxx");
    }
}
