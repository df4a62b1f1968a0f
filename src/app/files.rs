//! Whether one of the files that a configuration was read from has changed.
//!
//! Looked at once a second by what the system says of them, links followed (a
//! ConfigMap's files are changed by swapping a link); read only when that differs,
//! so that a file that was merely touched is no change.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

/// What the system says of a file; none if it is not there.
type Look = Option<(u64, u64, i64, i64, u64)>;
/// What is in it; none if it cannot be read.
type Print = Option<[u8; 32]>;

/// The files, and how they were.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    files: Vec<PathBuf>,
    /// When they were read.
    read: Vec<(Look, Print)>,
    /// At the last look.
    last: Vec<Look>,
}

impl Watch {
    /// Watches `files` from now on.
    pub(super) async fn follow(&mut self, files: Vec<PathBuf>) {
        if self.files != files {
            self.files = files;
            self.remember().await;
        }
    }

    /// They are as they are: what is to be read now.
    pub(super) async fn remember(&mut self) {
        let files = self.files.clone();
        let read = move || files.iter().map(|file| (look(file), print(file))).collect::<Vec<_>>();
        self.read = tokio::task::spawn_blocking(read).await.unwrap_or_default();
        self.last = self.read.iter().map(|(look, _)| *look).collect();
    }

    /// Whether they have changed since they were read, and have come to rest.
    pub(super) async fn has_changed(&mut self) -> bool {
        let files = self.files.clone();
        let looks = move || files.iter().map(look).collect::<Vec<_>>();
        // No thread to look with: another second.
        let Ok(looks) = tokio::task::spawn_blocking(looks).await else { return false };
        let at_rest = looks == self.last;
        self.last.clone_from(&looks);
        if !at_rest || self.read.iter().map(|(look, _)| *look).eq(looks.iter().copied()) {
            return false;
        }
        let before = self.read.iter().map(|(_, print)| *print).collect::<Vec<_>>();
        self.remember().await;
        !before.into_iter().eq(self.read.iter().map(|(_, print)| *print))
    }
}

fn look(file: &PathBuf) -> Look {
    let about = fs::metadata(file).ok()?;
    Some((about.dev(), about.ino(), about.mtime(), about.mtime_nsec(), about.size()))
}

fn print(file: &PathBuf) -> Print {
    fs::read(file).ok().map(|text| Sha256::digest(text).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_is_seen_once_it_has_come_to_rest() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a"), folder.path().join("link"));
        fs::write(&file, "one").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let mut watch = Watch::default();
        watch.follow(vec![link.clone()]).await;
        assert!(!watch.has_changed().await);
        // As Kubernetes does: another file behind the same name.
        let other = folder.path().join("b");
        fs::write(&other, "two").unwrap();
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&other, &link).unwrap();
        assert!(!watch.has_changed().await, "it may still be changing");
        assert!(watch.has_changed().await);
        assert!(!watch.has_changed().await);
        // Written again with the same in it.
        fs::remove_file(&other).unwrap();
        fs::write(&other, "two").unwrap();
        assert!(!watch.has_changed().await);
        assert!(!watch.has_changed().await);
        fs::remove_file(&other).unwrap();
        assert!(!watch.has_changed().await);
        assert!(watch.has_changed().await, "it is gone");
    }
}
