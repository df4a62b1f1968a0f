//! A stored body.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};

use super::{SHARED_BYTES, allocated};

/// A whole body, in few pieces. Cloning copies a pointer.
#[derive(Clone)]
pub struct Body {
    id: BodyId,
    blocks: Blocks,
}

#[derive(Clone)]
enum Blocks {
    One(Bytes),
    Several(Arc<[Bytes]>),
}

/// Tells bodies apart for as long as this process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::cache) struct BodyId(u64);

static NEXT_BODY: AtomicU64 = AtomicU64::new(0);

/// Pieces smaller than this are put together when a body is complete.
const BLOCK_BYTES: usize = 64 * 1024;

impl Body {
    /// A body from its pieces, which must not pin foreign buffers (see
    /// [`crate::cache::join`], which copies). Small ones are put together.
    #[must_use]
    pub fn of(pieces: impl Into<Vec<Bytes>>) -> Self {
        let mut pieces = pieces.into();
        pieces.retain(|piece| !piece.is_empty());
        let (mut blocks, mut small, is_only) = (Vec::new(), BytesMut::new(), pieces.len() == 1);
        for piece in pieces {
            let alone = is_only || piece.len() >= BLOCK_BYTES;
            if !small.is_empty() && (alone || small.len() + piece.len() > BLOCK_BYTES) {
                blocks.push(exact(&mut small));
            }
            if alone {
                blocks.push(piece);
            } else {
                small.extend_from_slice(&piece);
            }
        }
        if !small.is_empty() {
            blocks.push(exact(&mut small));
        }
        let blocks = match blocks.len() {
            0 | 1 => Blocks::One(blocks.pop().unwrap_or_default()),
            _ => Blocks::Several(blocks.into()),
        };
        Self { id: BodyId(NEXT_BODY.fetch_add(1, Ordering::Relaxed)), blocks }
    }

    pub(in crate::cache) fn id(&self) -> BodyId {
        self.id
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.blocks().iter().map(|block| block.len() as u64).sum()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its pieces, in order.
    #[must_use]
    pub fn blocks(&self) -> &[Bytes] {
        match &self.blocks {
            Blocks::One(block) => std::slice::from_ref(block),
            Blocks::Several(blocks) => blocks,
        }
    }

    /// Bytes on the heap.
    pub(in crate::cache) fn weight(&self) -> usize {
        let list = match &self.blocks {
            Blocks::One(_) => 0,
            Blocks::Several(blocks) => size_of_val(&**blocks),
        };
        list + self.blocks().iter().map(|block| allocated(block.len()) + SHARED_BYTES).sum::<usize>()
    }
}

impl fmt::Debug for Body {
    /// Without its bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.len())
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
        let body = Body::of(pieces.as_slice());
        assert_eq!(body.blocks().concat(), pieces.concat());
        assert_eq!(body.len(), pieces.concat().len() as u64);
        assert!(body.blocks().len() <= 4, "{}", body.blocks().len());
        let large = Bytes::from(vec![7; BLOCK_BYTES]);
        let body = Body::of(&[Bytes::from_static(b"a"), large.clone(), Bytes::from_static(b"b")]);
        assert_eq!(body.blocks()[1].as_ptr(), large.as_ptr(), "large pieces are not copied again");
        assert!(Body::of(&[]).is_empty());
    }
}
