use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::backends::FileBackend;
use redb::{Database, StorageBackend};
use tempfile::TempDir;

use super::*;

/// A disk that can be full.
#[derive(Debug)]
struct Fillable {
    file: FileBackend,
    full: Arc<AtomicBool>,
}

struct FillablePlace {
    folder: TempDir,
    full: Arc<AtomicBool>,
}

impl Place for FillablePlace {
    fn open(&self) -> Result<Database, file::Trouble> {
        let path = self.folder.path().join("cache.redb");
        let mut options = std::fs::OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        let failed = |error: redb::DatabaseError| file::Trouble::Failed(error.to_string());
        let file = FileBackend::new(file).map_err(failed)?;
        Database::builder()
            .create_with_backend(Fillable { file, full: Arc::clone(&self.full) })
            .map_err(failed)
    }

    fn remove(&self) -> io::Result<()> {
        std::fs::remove_file(self.folder.path().join("cache.redb"))
    }
}

impl StorageBackend for Fillable {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }
    /// Full: nothing new fits, what is there can be written over.
    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.full.load(Ordering::Relaxed) && len > self.file.len()? {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_keeps_what_is_there_and_still_purges() {
    let (folder, full) = (tempfile::tempdir().unwrap(), Arc::new(AtomicBool::new(false)));
    let disk = on(FillablePlace { folder, full: Arc::clone(&full) });
    settled(&disk).await;
    for number in 0..20 {
        disk.keep(&entry(&format!("/{number}"), number, 10_000));
    }
    disk.purge(&path("/19"));
    disk.confirmed().await.unwrap();
    full.store(true, Ordering::Relaxed);
    disk.keep(&entry("/huge", 77, 14 << 20));
    disk.purge(&path("/1"));
    disk.confirmed().await.unwrap();
    let tally = disk.tally();
    assert_eq!((tally.entries, tally.dropped), (18, 1), "{tally:?}");
    assert_eq!((found(&disk, "/0").await, found(&disk, "/1").await), (Some(0), None));
    // Left alone for a moment; what is to be kept meanwhile is dropped.
    disk.keep(&entry("/0", 78, 10_000));
    assert_eq!(found(&disk, "/0").await, None, "not even its predecessor is found");
    assert_eq!(disk.tally().dropped, 2);
}

#[test]
fn a_clock_set_back_over_a_boot_leaves_no_age_to_tell() {
    use super::file::Begin;
    use crate::clock::{Present, UnixTime};

    let place = FillablePlace { folder: tempfile::tempdir().unwrap(), full: Arc::default() };
    let at = |boot, wall| Reading {
        present: Present { now: clock().now(), since_boot: 1, boot: BootId([boot; 16]) },
        wall: UnixTime::from_secs(wall),
    };
    for (boot, wall, begins) in [
        (1, 1_000, Begin::New),
        // Within a boot the wall does not matter.
        (1, 900, Begin::Kept),
        (2, 1_000, Begin::Kept),
        (3, 999, Begin::ClockSetBack),
        (4, 1_000, Begin::Kept),
    ] {
        let (_, begin) = File::open(&place, &at(boot, wall)).unwrap();
        assert_eq!(begin, begins, "boot {boot}, {wall}");
    }
}
