//! The file: one redb database with a table of heads and one of pieces of bodies.

use std::any::Any;
use std::borrow::Cow;
use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;

use bytes::Bytes;
use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use rustix::fs::OFlags;

use super::catalogue::{CHUNK_BYTES, Id};
use crate::cache::entry::{Body, EntryArc};
use crate::cache::record::{self, Reading};
use crate::clock::{BootId, UnixTime};

/// By number: what it takes in the file (8 bytes), then the record's head.
const HEADS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("heads");
/// By number and place: pieces of the body.
const PIECES: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("pieces");
const ABOUT: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("about");
const SCHEMA: &str = "schema";
/// The file's name in its folder.
const NAME: &str = "cache.redb";
/// Layout of the tables; heads have a version of their own.
const SCHEMA_VERSION: u8 = 1;
/// The boot in which it was last written, and the wall's time then.
const LAST: &str = "last";
/// What was noted with [`Batch::mark`] last.
const MARK: &str = "mark";

/// redb's own cache, in bytes: what is read is copied into the first level.
const CACHE_BYTES: usize = 2 * 1_024 * 1_024;

/// How the database is reached: a file, or what a test puts in its place.
pub(super) trait Place: Send {
    /// Opens it, or makes it.
    fn open(&self) -> Result<Database, Trouble>;
    /// Takes it out of the way, whoever has it open. Fine if there is none.
    fn remove(&self) -> io::Result<()>;
}

/// `cache.redb` in a folder.
pub(super) struct Folder(pub(super) PathBuf);

/// Why the file cannot be used now.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// Another process has it.
    #[error("another process has it open")]
    Locked,
    /// Anything else: it is only a cache.
    #[error("{0}")]
    Failed(String),
}

/// The open file.
pub(super) struct File(Database);

/// What one transaction changes.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) deletes: Vec<Id>,
    pub(super) writes: Vec<Written>,
    pub(super) mark: Option<Vec<u8>>,
}

/// One answer to be written.
pub(super) struct Written {
    pub(super) id: Id,
    pub(super) bytes: u64,
    pub(super) edition: u64,
    pub(super) entry: EntryArc,
}

/// One head that was in the file.
pub(super) struct Found {
    pub(super) id: Id,
    pub(super) bytes: u64,
    /// None if it cannot be read.
    pub(super) listed: Option<record::Listed>,
}

impl Place for Folder {
    fn open(&self) -> Result<Database, Trouble> {
        let path = self.0.join(NAME);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(no_follow);
        let file = options.open(&path)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        let opened = file.metadata()?;
        let database = careful(|| {
            let mut builder = Database::builder();
            builder.set_cache_size(CACHE_BYTES);
            Ok(builder.create_with_backend(FileBackend::new(file)?)?)
        })?;
        // It may have been unlinked between our open and our lock.
        match std::fs::metadata(&path) {
            Ok(there) if (there.dev(), there.ino()) == (opened.dev(), opened.ino()) => Ok(database),
            _ => Err(Trouble::Locked),
        }
    }

    fn remove(&self) -> io::Result<()> {
        match std::fs::remove_file(self.0.join(NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            // So that a power cut does not undo it.
            Ok(()) => std::fs::File::open(&self.0)?.sync_all(),
        }
    }
}

impl File {
    /// Opens the file and makes it ready to be used now; says how it begins.
    pub(super) fn open(place: &dyn Place, now: &Reading) -> Result<(Self, Begin), Trouble> {
        let file = Self(place.open()?);
        let begin = careful(|| file.begin(now))?;
        Ok((file, begin))
    }

    fn begin(&self, now: &Reading) -> Result<Begin, redb::Error> {
        let write = self.0.begin_write()?;
        let (known, last) = {
            let about = write.open_table(ABOUT)?;
            let known = about.get(SCHEMA)?.map(|version| version.value().to_vec());
            (known, about.get(LAST)?.and_then(|last| Last::read(last.value())))
        };
        let begin = match &known {
            None => Begin::New,
            Some(known) if *known != [SCHEMA_VERSION] => Begin::OtherSchema,
            Some(_) if last.is_none_or(|last| last.is_ahead_of(now)) => Begin::ClockSetBack,
            Some(_) => Begin::Kept,
        };
        if begin != Begin::Kept {
            write.delete_table(HEADS)?;
            write.delete_table(PIECES)?;
            write.open_table(ABOUT)?.remove(MARK)?;
        }
        write.open_table(HEADS)?;
        write.open_table(PIECES)?;
        write.open_table(ABOUT)?.insert(SCHEMA, &[SCHEMA_VERSION][..])?;
        stamp(&write, now)?;
        write.commit()?;
        Ok(begin)
    }

    /// All heads.
    pub(super) fn heads(&self) -> Result<Vec<Found>, Trouble> {
        careful(|| {
            let heads = self.0.begin_read()?.open_table(HEADS)?;
            let mut found = Vec::new();
            for row in heads.iter()? {
                let (id, value) = row?;
                let parts = value.value().split_first_chunk();
                let bytes = parts.map_or(0, |(bytes, _)| u64::from_be_bytes(*bytes));
                let listed = parts.and_then(|(_, head)| record::Listed::read(head).ok());
                found.push(Found { id: id.value(), bytes, listed });
            }
            Ok(found)
        })
    }

    /// What was noted last.
    pub(super) fn mark(&self) -> Result<Option<Vec<u8>>, Trouble> {
        careful(|| {
            let about = self.0.begin_read()?.open_table(ABOUT)?;
            Ok(about.get(MARK)?.map(|mark| mark.value().to_vec()))
        })
    }

    /// The head and the body of one record, if it is there.
    pub(super) fn read(&self, id: Id) -> Result<Option<(Vec<u8>, Bytes)>, Trouble> {
        careful(|| {
            let read = self.0.begin_read()?;
            let heads = read.open_table(HEADS)?;
            let Some(value) = heads.get(id)? else { return Ok(None) };
            let head = value.value().get(8..).unwrap_or_default().to_vec();
            let mut body = Vec::new();
            for row in read.open_table(PIECES)?.range((id, 0)..=(id, u32::MAX))? {
                body.extend_from_slice(row?.1.value());
            }
            Ok(Some((head, Bytes::from(body.into_boxed_slice()))))
        })
    }

    /// All of it, or nothing. When it returns, it is on the disk.
    pub(super) fn write(&self, batch: &Batch, now: &Reading) -> Result<(), Trouble> {
        careful(|| {
            let mut write = self.0.begin_write()?;
            // After a kill -9 the file is ready at once, not only when all of it was read.
            write.set_quick_repair(true);
            {
                let mut heads = write.open_table(HEADS)?;
                let mut pieces = write.open_table(PIECES)?;
                for &id in &batch.deletes {
                    heads.remove(id)?;
                    pieces.retain_in((id, 0)..=(id, u32::MAX), |_, _| false)?;
                }
                for Written { id, bytes, edition, entry } in &batch.writes {
                    let mut value = bytes.to_be_bytes().to_vec();
                    value.extend_from_slice(&record::head_of(entry, *edition, now));
                    heads.insert(id, value.as_slice())?;
                    for (place, piece) in (0..).zip(pieces_of(entry.body())) {
                        pieces.insert((*id, place), &piece[..])?;
                    }
                }
            }
            if let Some(mark) = &batch.mark {
                write.open_table(ABOUT)?.insert(MARK, mark.as_slice())?;
            }
            stamp(&write, now)?;
            write.commit()?;
            Ok(())
        })
    }
}

/// What was found when the file was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// Nothing.
    New,
    /// What was kept before.
    Kept,
    /// What another version of weir kept; it was dropped.
    OtherSchema,
    /// The machine was booted and its wall clock is earlier than before: no age can
    /// be told, so all was dropped.
    ClockSetBack,
}

/// When the file was last written.
struct Last {
    boot: BootId,
    wall: UnixTime,
}

impl Last {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (boot, wall) = bytes.split_first_chunk()?;
        Some(Self {
            boot: BootId(*boot),
            wall: UnixTime::from_nanos(u64::from_be_bytes(wall.try_into().ok()?)),
        })
    }

    fn is_ahead_of(&self, now: &Reading) -> bool {
        self.boot != now.present.boot && now.wall < self.wall
    }
}

fn stamp(write: &WriteTransaction, now: &Reading) -> Result<(), redb::Error> {
    let last = [&now.present.boot.0[..], &now.wall.as_nanos().to_be_bytes()].concat();
    write.open_table(ABOUT)?.insert(LAST, last.as_slice())?;
    Ok(())
}

/// The body in pieces of one size, copied only where one lies in several blocks.
fn pieces_of(body: &Body) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let mut blocks =
        body.blocks().iter().map(|block| &block[..]).filter(|block| !block.is_empty()).peekable();
    let mut rest: &[u8] = &[];
    std::iter::from_fn(move || {
        if rest.is_empty() {
            rest = blocks.next()?;
        }
        let mut piece = Cow::Borrowed(take(&mut rest, CHUNK_BYTES));
        while piece.len() < CHUNK_BYTES && blocks.peek().is_some() {
            rest = blocks.next().unwrap_or_default();
            let more = take(&mut rest, CHUNK_BYTES - piece.len());
            piece.to_mut().extend_from_slice(more);
        }
        Some(piece)
    })
}

/// Takes so many bytes from the front, or all there are.
fn take<'a>(from: &mut &'a [u8], bytes: usize) -> &'a [u8] {
    let (taken, rest) = from.split_at(bytes.min(from.len()));
    *from = rest;
    taken
}

/// redb may panic over pages that nobody but a broken disk could have written.
fn careful<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Trouble> {
    match std::panic::catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => Ok(done?),
        Err(panic) => Err(Trouble::Failed(said(&*panic))),
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it is inconsistent".to_owned())
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<redb::Error> for Trouble {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::DatabaseAlreadyOpen => Self::Locked,
            other => Self::Failed(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// The pieces are the body, each but the last as long as the others.
        #[test]
        fn pieces_are_the_body(blocks in proptest::collection::vec(0..200_000_usize, 0..5)) {
            let blocks: Vec<_> = (1..).zip(&blocks).map(|(byte, len)| Bytes::from(vec![byte; *len])).collect();
            let body = Body::of(blocks.clone());
            let pieces: Vec<_> = pieces_of(&body).collect();
            prop_assert_eq!(pieces.concat(), blocks.concat());
            let short = pieces.iter().position(|piece| piece.len() != CHUNK_BYTES);
            prop_assert!(short.is_none_or(|short| short == pieces.len() - 1 && !pieces[short].is_empty()));
        }
    }
}
