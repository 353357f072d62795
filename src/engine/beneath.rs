//! Files written below one folder of this machine, whatever a name or a link in there says.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use sha2::{Digest as _, Sha256};

/// A file that is being written: it has its name only once it is whole.
pub struct Draft {
    folder: OwnedFd,
    temporary: String,
    name: String,
    file: Option<File>,
    hash: Sha256,
    pub bytes: u64,
}

/// The parts of a path on a host, as a path below a folder here.
///
/// # Errors
/// What in it could lead elsewhere.
pub fn local_parts(path: &str) -> Result<PathBuf, String> {
    let rest = path.strip_prefix("~/").or_else(|| path.strip_prefix('/')).ok_or_else(|| format!("`{path}` is no path on a host; write it from `/` or `~/`"))?;
    let mut parts = PathBuf::new();
    for part in rest.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            return Err(format!("`{path}`: a path with `..` could lead anywhere"));
        }
        if part.len() > 255 || part.contains('\0') {
            return Err(format!("`{path}`: a part of it cannot be the name of a file"));
        }
        parts.push(part);
    }
    if parts.as_os_str().is_empty() {
        return Err(format!("`{path}` names no file"));
    }
    Ok(parts)
}

/// The hash of everything that is left in a file.
///
/// # Errors
/// When it cannot be read.
pub fn hashed(file: &mut File) -> io::Result<Sha256> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash),
            length => hash.update(&buffer[..length]),
        }
    }
}

/// A hash in hexadecimal.
pub fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Draft {
    /// Begins a file below `root`, whose folders are made. No link is followed on the way.
    ///
    /// # Errors
    /// When a part of the way is no folder, or cannot be made.
    pub fn begin(root: &Path, parts: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(root)?;
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut folder = open(root, flags | OFlag::O_RDONLY, Mode::empty())?;
        let mut names: Vec<String> = parts.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        let name = names.pop().ok_or_else(|| io::Error::other("it has no name"))?;
        for part in names {
            match mkdirat(&folder, part.as_str(), Mode::S_IRWXU | Mode::S_IRGRP | Mode::S_IXGRP | Mode::S_IROTH | Mode::S_IXOTH) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(error) => return Err(error.into()),
            }
            folder = openat(&folder, part.as_str(), flags | OFlag::O_NOFOLLOW | OFlag::O_RDONLY, Mode::empty()).map_err(|error| match error {
                Errno::ELOOP | Errno::ENOTDIR => io::Error::other(format!("`{part}` in `{}` is no folder, and links are not followed", root.display())),
                other => other.into(),
            })?;
        }
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random).expect("the system has a source of randomness");
        let temporary = format!(".mutate.fetch.{:016x}", u64::from_le_bytes(random));
        let file = openat(&folder, temporary.as_str(), OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::S_IRUSR | Mode::S_IWUSR)?;
        Ok(Self { folder, temporary, name, file: Some(file.into()), hash: Sha256::new(), bytes: 0 })
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// Why they cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(bytes))
    }

    /// SHA-256 of what has been written, in hexadecimal.
    pub fn sha256(&self) -> String {
        hex(self.hash.clone())
    }

    /// Gives the file its name. `false` when one of the same content was there already.
    ///
    /// # Errors
    /// When it cannot be made durable, or what has the name is no plain file.
    pub fn finish(mut self) -> io::Result<bool> {
        let new = self.sha256();
        let before = openat(self.folder.as_fd(), self.name.as_str(), OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK, Mode::empty());
        match before {
            Ok(before) => {
                let mut before = File::from(before);
                if !before.metadata()?.is_file() {
                    return Err(io::Error::other("what has its name here is no plain file"));
                }
                if hex(hashed(&mut before)?) == new {
                    return Ok(false);
                }
            }
            Err(Errno::ENOENT) => {}
            Err(Errno::ELOOP) => return Err(io::Error::other("what has its name here is a link, which is not followed")),
            Err(error) => return Err(error.into()),
        }
        if let Some(file) = self.file.take() {
            file.sync_all()?;
        }
        renameat(self.folder.as_fd(), self.temporary.as_str(), self.folder.as_fd(), self.name.as_str())?;
        self.temporary.clear();
        Ok(true)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.temporary.is_empty() {
            // What is not whole must not stay.
            let _gone = unlinkat(self.folder.as_fd(), self.temporary.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_host_stays_below_the_folder() {
        assert_eq!(local_parts("/etc//./hosts").expect("parts"), Path::new("etc/hosts"));
        assert_eq!(local_parts("~/a b").expect("parts"), Path::new("a b"));
        for path in ["/", "relative", "/a/../../b", "~", "~/.."] {
            assert!(local_parts(path).is_err(), "{path}");
        }
        assert!(local_parts(&format!("/{}", "x".repeat(5000))).is_err());
    }

    #[test]
    fn a_file_is_whole_or_not_there_and_no_link_leads_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("out");
        let outside = folder.path().join("outside");
        std::fs::create_dir(&outside).expect("a folder");
        let put = |text: &[u8]| {
            let mut draft = Draft::begin(&root, Path::new("web1/etc/hosts"))?;
            draft.write(text)?;
            draft.finish()
        };
        assert!(put(b"one").expect("written") && !put(b"one").expect("the same") && put(b"two").expect("written"));
        drop(Draft::begin(&root, Path::new("web1/etc/other")).expect("begun"));
        let left: Vec<_> = std::fs::read_dir(root.join("web1/etc")).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, ["hosts"]);
        std::os::unix::fs::symlink(&outside, root.join("web2")).expect("a link");
        assert!(Draft::begin(&root, Path::new("web2/hosts")).is_err());
        std::fs::remove_file(root.join("web1/etc/hosts")).expect("removed");
        std::os::unix::fs::symlink(outside.join("secret"), root.join("web1/etc/hosts")).expect("a link");
        assert!(put(b"three").is_err() && std::fs::read_dir(&outside).expect("a folder").next().is_none());
    }
}
