//! The file: one redb database for all upstreams of this process.

use std::any::Any;
use std::collections::HashMap;
use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, Table, TableDefinition,
};

use super::record::Record;
use super::renewal::Renewal;

/// By upstream and charge.
const CHARGES: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("charges");
type Charges<'a> = Table<'a, (&'static str, u64), &'static [u8]>;
/// What else survives a restart, by name.
const NOTES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("notes");
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
const SCHEMA: &str = "schema";
pub(super) const SCHEMA_VERSION: u64 = 2;
/// Every record was of one request; those are written the same now.
const SCHEMA_OF_ONE: u64 = 1;

/// redb's own cache, in bytes: the file is small and written far more than read.
const CACHE_BYTES: usize = 4 * 1024 * 1024;
/// Broken files set aside before their folder is considered hopeless.
const MAX_BROKEN: u32 = 1_000;

/// How the database is reached: a file, or what a test puts in its place.
pub(super) trait Place: Send {
    /// Opens it, or makes it.
    fn open(&self) -> Result<Database, Trouble>;
    /// Puts a broken one where it is not in the way; tells where.
    fn set_aside(&self) -> io::Result<PathBuf>;
}

/// `ledger.redb` in a folder.
pub(super) struct Folder(pub(super) PathBuf);

/// Why the file cannot be used now.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Another process has it.
    Locked,
    /// It is no ledger, or torn.
    Broken(String),
    /// Written by another version of weir.
    Schema(u64),
    /// The system says no.
    Io(io::Error),
}

/// All that was in it.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) charges: Vec<(String, u64, Record)>,
    pub(super) notes: HashMap<String, Vec<u8>>,
}

/// What one transaction changes, in this order.
#[derive(Debug, Default)]
pub(super) struct Batch<'a> {
    /// Charges that nobody needs any more.
    pub(super) old: Vec<(&'a str, u64)>,
    pub(super) renewals: &'a [Renewal],
    /// With `None`: forgotten.
    pub(super) charges: Vec<(&'a str, u64, Option<&'a Record>)>,
    pub(super) notes: Vec<(&'a str, &'a [u8])>,
}

impl Place for Folder {
    fn open(&self) -> Result<Database, Trouble> {
        let path = self.0.join("ledger.redb");
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        if !path.try_exists()? {
            self.make(&path)?;
        }
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        careful(|| Ok(builder().create_with_backend(FileBackend::new(file)?)?))
    }

    fn set_aside(&self) -> io::Result<PathBuf> {
        for number in 1..=MAX_BROKEN {
            let aside = self.0.join(format!("ledger.redb.broken-{number}"));
            if !aside.try_exists()? {
                std::fs::rename(self.0.join("ledger.redb"), &aside)?;
                return Ok(aside);
            }
        }
        Err(io::Error::other("there are too many broken ledgers in the folder"))
    }
}

impl Folder {
    /// Makes a whole ledger under another name first, so that a process killed
    /// meanwhile leaves nothing behind that looks like a torn one.
    fn make(&self, path: &Path) -> Result<(), Trouble> {
        let draft = self.0.join(format!("ledger.redb.new-{}", std::process::id()));
        match std::fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&draft)?;
        let made = careful(|| {
            let database = builder().create_with_backend(FileBackend::new(file)?)?;
            read(&database).map(|_| ())
        });
        // A link and not a rename: who comes second must not replace the first one's ledger.
        let linked = made.and_then(|()| match std::fs::hard_link(&draft, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error.into()),
            _ => Ok(()),
        });
        std::fs::remove_file(&draft)?;
        linked
    }
}

/// redb with every page verified as it is opened, so that a torn file is noticed.
pub(super) fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

/// Reads all of it; prepares a new one.
pub(super) fn read(database: &Database) -> Result<Content, Trouble> {
    careful(|| {
        let write = database.begin_write()?;
        {
            let mut about = write.open_table(ABOUT)?;
            let found = about.get(SCHEMA)?.map(|version| version.value());
            match found {
                None | Some(SCHEMA_OF_ONE) => drop(about.insert(SCHEMA, SCHEMA_VERSION)?),
                Some(SCHEMA_VERSION) => {}
                Some(other) => return Err(Trouble::Schema(other)),
            }
            write.open_table(CHARGES)?;
            write.open_table(NOTES)?;
        }
        write.commit()?;
        let mut content = Content::default();
        let read = database.begin_read()?;
        for row in read.open_table(CHARGES)?.iter()? {
            let (key, value) = row?;
            let (upstream, id) = key.value();
            content.charges.push((upstream.to_owned(), id, decode((upstream, id), value.value())?));
        }
        for row in read.open_table(NOTES)?.iter()? {
            let (key, value) = row?;
            content.notes.insert(key.value().to_owned(), value.value().to_vec());
        }
        Ok(content)
    })
}

/// What has been renewed, by charge: whose they are, and what they are now.
pub(super) type Renewed = HashMap<u64, (String, Record)>;

/// All of it, or nothing. When it returns, it is on the disk. Gives what has been renewed.
pub(super) fn write(database: &Database, batch: &Batch<'_>) -> Result<Renewed, Trouble> {
    careful(|| {
        let write = database.begin_write()?;
        let mut renewed = Renewed::new();
        {
            let mut charges = write.open_table(CHARGES)?;
            for &key in &batch.old {
                charges.remove(key)?;
            }
            for renewal in batch.renewals {
                renewed.extend(renew(&mut charges, renewal)?);
            }
            for &(upstream, id, record) in &batch.charges {
                match record {
                    Some(record) => drop(charges.insert((upstream, id), record.encode().as_slice())?),
                    None => drop(charges.remove((upstream, id))?),
                }
            }
            let mut notes = write.open_table(NOTES)?;
            for &(name, bytes) in &batch.notes {
                notes.insert(name, bytes)?;
            }
        }
        write.commit()?;
        Ok(renewed)
    })
}

fn renew(charges: &mut Charges<'_>, renewal: &Renewal) -> Result<Renewed, Trouble> {
    let upstream = renewal.upstream.as_str();
    let mut renewed = Renewed::new();
    for row in charges.range((upstream, 0)..=(upstream, u64::MAX))? {
        let (key, value) = row?;
        let mut record = decode(key.value(), value.value())?;
        if renewal.renew(&mut record) {
            renewed.insert(key.value().1, (upstream.to_owned(), record));
        }
    }
    for (id, (_, record)) in &renewed {
        charges.insert((upstream, *id), record.encode().as_slice())?;
    }
    Ok(renewed)
}

fn decode((upstream, id): (&str, u64), bytes: &[u8]) -> Result<Record, Trouble> {
    Record::decode(bytes).map_err(|_| Trouble::Broken(format!("charge {id} of {upstream} cannot be read")))
}

/// redb may panic over pages that nobody but a broken disk could have written.
fn careful<T>(work: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    std::panic::catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(Trouble::Broken(said(&*panic))))
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it is inconsistent".to_owned())
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::Broken(error.to_string()),
            _ => Self::Io(error),
        }
    }
}

impl From<redb::Error> for Trouble {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::DatabaseAlreadyOpen => Self::Locked,
            redb::Error::Io(error) => error.into(),
            redb::Error::Corrupted(what) => Self::Broken(what),
            redb::Error::UpgradeRequired(version) => Self::Broken(format!("redb's format {version}")),
            redb::Error::TableTypeMismatch { .. } => Self::Broken(error.to_string()),
            other => Self::Io(io::Error::other(other)),
        }
    }
}

macro_rules! troubles {
    ($($error:ty),*) => {$(
        impl From<$error> for Trouble {
            fn from(error: $error) -> Self {
                redb::Error::from(error).into()
            }
        }
    )*};
}
troubles!(DatabaseError, StorageError, redb::TransactionError, redb::TableError, redb::CommitError);

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Locked => f.write_str("another process has it open"),
            Self::Broken(why) => write!(f, "it is broken: {why}"),
            Self::Schema(found) => {
                write!(f, "it has schema {found}, and this weir knows {SCHEMA_VERSION} only")
            }
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}
