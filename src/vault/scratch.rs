//! A folder for a text that must not stay: seen by its owner only, in memory where that can be had, and overwritten at the end.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use zeroize::Zeroizing;

/// The longest text that may be edited, in bytes.
const LIMIT_BYTES: u64 = 64 << 20;

/// A private folder with one file. All in it is overwritten and removed when this is dropped, in a panic as well.
pub(super) struct Scratch {
    folder: PathBuf,
    pub file: PathBuf,
}

impl Scratch {
    /// Makes the folder in the first place that takes it.
    ///
    /// # Errors
    /// When none does.
    pub fn new(places: &[PathBuf], name: &str, text: &[u8]) -> Result<Self> {
        let mut why = String::new();
        for place in places {
            let folder = place.join(format!("mutate-{:016x}", random()?));
            match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => {
                    let scratch = Self { file: folder.join(name), folder };
                    match scratch.fill(text) {
                        Ok(()) => return Ok(scratch),
                        Err(error) => why = format!("{}: {error}", place.display()),
                    }
                }
                Err(error) => why = format!("{}: {error}", place.display()),
            }
        }
        bail!("no folder takes the text while it is edited; {why}")
    }

    fn fill(&self, text: &[u8]) -> std::io::Result<()> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.file)?.write_all(text)
    }

    /// What is in the file now.
    ///
    /// # Errors
    /// When it is gone, or too long.
    pub fn text(&self) -> Result<Zeroizing<Vec<u8>>> {
        let bytes = super::files::read(&self.file, LIMIT_BYTES).map_err(|why| anyhow::anyhow!("the text after the editor: {why}"))?;
        Ok(Zeroizing::new(bytes))
    }

    /// Whether the folder is in memory, as far as this can be told.
    pub fn is_in_memory(&self) -> bool {
        #[cfg(target_os = "linux")]
        return nix::sys::statfs::statfs(&self.folder).is_ok_and(|about| about.filesystem_type() == nix::sys::statfs::TMPFS_MAGIC);
        #[cfg(not(target_os = "linux"))]
        false
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        shred(&self.folder);
    }
}

/// Overwrites and removes all in a folder: editors leave copies beside the file.
fn shred(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => shred(&path),
            Ok(kind) if kind.is_file() => {
                // What cannot be overwritten can still be removed.
                drop(overwrite(&path));
                drop(std::fs::remove_file(&path));
            }
            _ => drop(std::fs::remove_file(&path)),
        }
    }
    drop(std::fs::remove_dir(folder));
}

fn overwrite(path: &Path) -> std::io::Result<()> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut file: File = OpenOptions::new().write(true).open(path)?;
    let mut left = file.metadata()?.len();
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(ZEROS.len()).min(ZEROS.len());
        file.write_all(&ZEROS[..part])?;
        left -= part as u64;
    }
    file.sync_all()
}

/// A number that nobody can foresee, for names.
pub(super) fn random() -> Result<u64> {
    getrandom::u64().context("asking the system for a random number")
}
