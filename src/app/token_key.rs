//! The key that signs the tokens weir issues: the configured one, or one of weir's
//! own that outlives a restart.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::Context;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::secret::Secret;

const FILE: &str = "token.key";
const KEY_BYTES: usize = 32;

/// The key; none if no upstream's consumers exchange tokens.
///
/// # Errors
/// There is none yet and it cannot be made, or the file holds something else.
pub(super) fn of(config: &Config) -> anyhow::Result<Option<Secret>> {
    let wanted = config.upstreams.iter().any(|upstream| upstream.dialect.oauth().is_some());
    match &config.server.token_key {
        Some(key) => Ok(Some(key.clone())),
        None if !wanted => Ok(None),
        None => kept_in(&config.store.path).map(Some),
    }
}

fn kept_in(folder: &Path) -> anyhow::Result<Secret> {
    let file = folder.join(FILE);
    DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(|| {
        format!("{} cannot be made, and no server.token_key is configured", folder.display())
    })?;
    if !file.exists() {
        make(folder, &file).with_context(|| {
            format!("{} cannot be made; configure server.token_key instead", file.display())
        })?;
    }
    let key = read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    anyhow::ensure!(
        key.expose().len() == 2 * KEY_BYTES && key.expose().bytes().all(|b| b.is_ascii_hexdigit()),
        "{} is not a key that weir made; remove it (all issued tokens end with it)",
        file.display()
    );
    Ok(key)
}

/// Whole or not at all: written beside its place, then linked there. Of two processes
/// that begin at once the first one's stays.
fn make(folder: &Path, file: &Path) -> io::Result<()> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    getrandom::fill(&mut *bytes).map_err(io::Error::other)?;
    let text = Zeroizing::new(data_encoding::HEXLOWER.encode(&*bytes));
    let draft = folder.join(format!("{FILE}.{}", std::process::id()));
    // What another run with this number left behind may be half of a key.
    let _ = std::fs::remove_file(&draft);
    let mut open = OpenOptions::new();
    let written = open.write(true).create_new(true).mode(0o600).open(&draft).and_then(|mut to| {
        to.write_all(text.as_bytes())?;
        to.sync_all()
    });
    let linked = written.and_then(|()| match std::fs::hard_link(&draft, file) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    std::fs::remove_file(&draft)?;
    linked?;
    File::open(folder)?.sync_all()
}

fn read(file: &Path) -> io::Result<Secret> {
    let mut text = Zeroizing::new(String::new());
    File::open(file)?.take(1_024).read_to_string(&mut text)?;
    Ok(Secret::new(text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn one_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let first = kept_in(&data).unwrap();
        assert_eq!(kept_in(&data).unwrap().expose(), first.expose());
        let mode = std::fs::metadata(data.join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(&data).unwrap().count(), 1, "nothing else is left");
        // Another process is a moment faster.
        make(&data, &data.join(FILE)).unwrap();
        assert_eq!(kept_in(&data).unwrap().expose(), first.expose());
        std::fs::write(data.join(FILE), "half").unwrap();
        let error = kept_in(&data).unwrap_err().to_string();
        assert!(error.ends_with("is not a key that weir made; remove it (all issued tokens end with it)"));
        assert!(!error.contains("half"), "{error}");
    }
}
