//! `usage.redb`: its own file, readable by this user alone.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::{Day, Key, Minute};
use crate::telemetry::Outcome;
use crate::telemetry::tally::Cell;

/// By day (big-endian) and names.
const DAYS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("days");
/// By upstream and minute.
const MINUTES: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("minutes");
/// redb's own cache, in bytes.
const CACHE_BYTES: usize = 4 * 1024 * 1024;
/// Broken files set aside before their folder is considered hopeless.
const MAX_BROKEN: u32 = 100;

/// An open file.
pub(super) struct File(Database);

/// Why there is none.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Another process has it.
    Locked,
    /// It is no usage file, or torn.
    Broken(String),
    /// The system says no.
    Io(io::Error),
}

impl File {
    /// Opens it, or makes it.
    pub(super) fn open(folder: &Path) -> Result<Self, Trouble> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(Trouble::Io)?;
        let path = folder.join("usage.redb");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).map_err(Trouble::Io)?;
        careful(|| {
            let mut builder = Database::builder();
            builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
            let database = builder.create_with_backend(FileBackend::new(file)?)?;
            let write = database.begin_write()?;
            write.open_table(DAYS)?;
            write.open_table(MINUTES)?;
            write.commit()?;
            Ok(Self(database))
        })
    }

    /// Puts a broken one where it is not in the way.
    pub(super) fn set_aside(folder: &Path) -> io::Result<()> {
        for number in 1..=MAX_BROKEN {
            let aside = folder.join(format!("usage.redb.broken-{number}"));
            if !aside.try_exists()? {
                return std::fs::rename(folder.join("usage.redb"), aside);
            }
        }
        Err(io::Error::other("there are too many broken usage files in the folder"))
    }

    /// Adds to what is there, in one transaction.
    pub(super) fn add<'a>(
        &self,
        rows: impl Iterator<Item = (&'a Key, &'a Cell)>,
        minutes: &[(String, Minute)],
    ) -> Result<(), Trouble> {
        careful(|| {
            let write = self.0.begin_write()?;
            {
                let mut table = write.open_table(DAYS)?;
                for (key, cell) in rows {
                    let key = encode_key(key);
                    let mut sum = *cell;
                    if let Some(known) = table.get(key.as_slice())?.and_then(|row| decode_cell(row.value())) {
                        sum.add(&known);
                    }
                    table.insert(key.as_slice(), encode_cell(&sum).as_slice())?;
                }
                let mut table = write.open_table(MINUTES)?;
                for (upstream, minute) in minutes {
                    let text =
                        serde_json::to_vec(minute).map_err(|e| redb::Error::Corrupted(e.to_string()))?;
                    table.insert((upstream.as_str(), minute.at), text.as_slice())?;
                }
            }
            write.commit()?;
            Ok(())
        })
    }

    /// Rows from the first of these days to the last.
    pub(super) fn rows(&self, since: Day, until: Day) -> Result<Vec<(Key, Cell)>, Trouble> {
        careful(|| {
            let read = self.0.begin_read()?;
            let (from, to) = (since.0.to_be_bytes(), until.0.saturating_add(1).to_be_bytes());
            let table = read.open_table(DAYS)?;
            let mut rows = Vec::new();
            for row in table.range(from.as_slice()..to.as_slice())? {
                let (key, cell) = row?;
                // A row of a later version is not ours to count.
                if let (Some(key), Some(cell)) = (decode_key(key.value()), decode_cell(cell.value())) {
                    rows.push((key, cell));
                }
            }
            Ok(rows)
        })
    }

    /// All minutes from this one on, by upstream.
    pub(super) fn minutes(&self, since: u64) -> Result<Vec<(String, Minute)>, Trouble> {
        careful(|| {
            let read = self.0.begin_read()?;
            let mut minutes = Vec::new();
            for row in read.open_table(MINUTES)?.iter()? {
                let (key, text) = row?;
                let (upstream, at) = key.value();
                if let (true, Ok(minute)) = (at >= since, serde_json::from_slice(text.value())) {
                    minutes.push((upstream.to_owned(), minute));
                }
            }
            Ok(minutes)
        })
    }

    /// Forgets days before `day` and minutes before `minute`.
    pub(super) fn forget(&self, day: Day, minute: u64) -> Result<(), Trouble> {
        careful(|| {
            let write = self.0.begin_write()?;
            {
                let (first, end) = (0_u32.to_be_bytes(), day.0.to_be_bytes());
                write.open_table(DAYS)?.retain_in(first.as_slice()..end.as_slice(), |_, _| false)?;
                write.open_table(MINUTES)?.retain(|(_, at), _| at >= minute)?;
            }
            write.commit()?;
            Ok(())
        })
    }
}

/// redb panics on some torn files instead of saying so.
fn careful<T>(attempt: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Trouble> {
    match std::panic::catch_unwind(AssertUnwindSafe(attempt)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(redb::Error::DatabaseAlreadyOpen)) => Err(Trouble::Locked),
        Ok(Err(redb::Error::Io(error))) if error.kind() != io::ErrorKind::InvalidData => {
            Err(Trouble::Io(error))
        }
        Ok(Err(error)) => Err(Trouble::Broken(error.to_string())),
        Err(_) => Err(Trouble::Broken("it is torn".into())),
    }
}

fn encode_key(key: &Key) -> Vec<u8> {
    let mut bytes = key.day.0.to_be_bytes().to_vec();
    // Names hold no NUL: they are words, and routes printable.
    bytes.extend_from_slice([&*key.upstream, &key.division, &key.consumer, &key.route].join("\0").as_bytes());
    bytes
}

fn decode_key(bytes: &[u8]) -> Option<Key> {
    let (day, names) = bytes.split_first_chunk()?;
    let mut names = std::str::from_utf8(names).ok()?.splitn(4, '\0').map(Arc::from);
    let mut name = || names.next();
    let (upstream, division, consumer, route) = (name()?, name()?, name()?, name()?);
    Some(Key { day: Day(u32::from_be_bytes(*day)), upstream, division, consumer, route })
}

/// How many outcomes there were, then all numbers; so outcomes can be added later.
fn encode_cell(cell: &Cell) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(cell.outcomes.len()).unwrap_or(u8::MAX)];
    for number in cell.outcomes.iter().chain([&cell.price, &cell.waits, &cell.waited_ms]) {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes
}

fn decode_cell(bytes: &[u8]) -> Option<Cell> {
    let (outcomes, numbers) = bytes.split_first()?;
    let mut numbers = numbers.chunks_exact(8).map(|chunk| {
        let bytes: [u8; 8] = chunk.try_into().unwrap_or_default();
        i64::from_be_bytes(bytes)
    });
    let mut cell = Cell::default();
    if usize::from(*outcomes) > Outcome::ALL.len() {
        return None;
    }
    for outcome in 0..usize::from(*outcomes) {
        cell.outcomes[outcome] = numbers.next()?;
    }
    (cell.price, cell.waits, cell.waited_ms) = (numbers.next()?, numbers.next()?, numbers.next()?);
    Some(cell)
}
