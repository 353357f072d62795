//! Puts a new content in place of a file's old one, all at once.

use std::fs::{File, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// Stores a content. It is written to a file beside, reaches the disk, and takes the name in one step, so that the old
/// content or the new one is there whenever the power fails. Mode and owner stay; a link stays a link.
///
/// `old` is what the file held when it was read, nothing for a new file; when it holds something else now, another program
/// wrote it meanwhile.
///
/// # Errors
/// When it changed meanwhile, cannot be written, or its owner cannot be kept. The old file is as it was.
pub fn replace(path: &Path, old: Option<&[u8]>, new: &[u8]) -> Result<()> {
    let shown = path.display();
    // A link is followed, so that it stays one.
    let target = if old.is_some() { path.canonicalize().with_context(|| format!("reading {shown}"))? } else { path.to_owned() };
    let unchanged = || match (old, std::fs::read(&target)) {
        (Some(old), Ok(now)) if now == old => Ok(()),
        (None, Err(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        (_, Err(error)) => Err(error).with_context(|| format!("reading {shown}")),
        (None, Ok(_)) => bail!("`{shown}` was made by another program meanwhile, and is left alone"),
        (Some(_), Ok(_)) => bail!("`{shown}` was changed by another program meanwhile, and is left alone"),
    };
    unchanged()?;
    let beside = Beside::new(&target)?;
    let about = old.map(|_| std::fs::metadata(&target)).transpose().with_context(|| format!("reading {shown}"))?;
    write(&beside.0, about.as_ref(), new).with_context(|| format!("writing {shown}"))?;
    unchanged()?;
    std::fs::rename(&beside.0, &target).with_context(|| format!("writing {shown}"))?;
    if let Some(folder) = target.parent() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        // Some file systems cannot do this for folders; the content itself is on the disk.
        drop(File::open(folder).and_then(|folder| folder.sync_all()));
    }
    Ok(())
}

fn write(path: &Path, about: Option<&std::fs::Metadata>, new: &[u8]) -> Result<()> {
    // What is encrypted is no secret, so a new file is as any other.
    let mode = if about.is_some() { 0o600 } else { 0o644 };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(new)?;
    if let Some(about) = about {
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (about.uid(), about.gid()) {
            std::os::unix::fs::fchown(&file, Some(about.uid()), Some(about.gid())).context("its owner cannot be kept")?;
        }
        file.set_permissions(Permissions::from_mode(about.mode() & 0o7777))?;
    }
    file.sync_all()?;
    Ok(())
}

/// The file that will take the name; removed if it did not come to that.
struct Beside(PathBuf);

impl Beside {
    fn new(target: &Path) -> Result<Self> {
        let Some(name) = target.file_name() else { bail!("`{}` is no name of a file", target.display()) };
        let mut new = std::ffi::OsString::from(".");
        new.push(name);
        new.push(format!(".{:016x}.new", super::scratch::random()?));
        Ok(Self(target.with_file_name(new)))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::testing::{folder, write};

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder).expect("a folder").flatten().map(|one| one.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn mode_owner_and_links_stay() {
        let folder = folder();
        let (path, link) = (folder.path().join("file"), folder.path().join("link"));
        write(&path, "old");
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("a mode");
        let is_root = nix::unistd::Uid::effective().is_root();
        if is_root {
            std::os::unix::fs::chown(&path, Some(12), Some(34)).expect("an owner");
        }
        std::os::unix::fs::symlink("file", &link).expect("a link");
        replace(&link, Some(b"old"), b"new").expect("written");
        let about = std::fs::metadata(&path).expect("a file");
        assert_eq!((std::fs::read(&path).expect("a file").as_slice(), about.mode() & 0o7777), (&b"new"[..], 0o640));
        assert!(!is_root || (about.uid(), about.gid()) == (12, 34));
        assert!(std::fs::symlink_metadata(&link).expect("a link").is_symlink());
        assert_eq!(names(folder.path()), ["file", "link"]);
    }

    #[test]
    fn what_changed_meanwhile_is_left_alone() {
        let folder = folder();
        let path = folder.path().join("file");
        write(&path, "theirs");
        let error = replace(&path, Some(b"old"), b"new").expect_err("a reason").to_string();
        assert!(error.contains("changed by another program"), "{error}");
        let error = replace(&path, None, b"new").expect_err("a reason").to_string();
        assert!(error.contains("made by another program"), "{error}");
        assert_eq!((std::fs::read(&path).expect("a file").as_slice(), names(folder.path())), (&b"theirs"[..], vec!["file".to_owned()]));
        replace(&folder.path().join("more"), None, b"new").expect("written");
        assert!(replace(&folder.path().join("none/more"), None, b"new").is_err());
    }

    #[test]
    fn a_full_disk_leaves_the_old_file() {
        let folder = folder();
        let path = folder.path().join("file");
        write(&path, "old");
        // More than the limit of this process's files is as a full disk; the signal is the program's own business.
        let status = std::process::Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f 1; \"$@\"", "sh"])
            .arg(std::env::current_exe().expect("this program"))
            .args(["--exact", "vault::replace::tests::child_that_writes_much", "--ignored", "--nocapture"])
            .env("VAULT_TEST_FILE", &path)
            .output()
            .expect("a child");
        assert!(String::from_utf8_lossy(&status.stdout).contains("refused: writing"), "{status:?}");
        assert_eq!((std::fs::read(&path).expect("a file").as_slice(), names(folder.path())), (&b"old"[..], vec!["file".to_owned()]));
    }

    #[test]
    #[ignore = "run by the test above"]
    fn child_that_writes_much() {
        let Some(path) = std::env::var_os("VAULT_TEST_FILE") else { return };
        let error = replace(Path::new(&path), Some(b"old"), &vec![7; 1 << 20]).expect_err("a reason");
        std::io::stdout().write_all(format!("refused: {error:#}\n").as_bytes()).expect("written");
    }

    #[test]
    fn a_kill_leaves_the_old_content_or_the_new_one() {
        let folder = folder();
        let path = folder.path().join("file");
        let whole = |letter: u8| vec![letter; 300_000];
        std::fs::write(&path, whole(b'a')).expect("a file");
        for round in 0..30_u64 {
            let mut child = std::process::Command::new(std::env::current_exe().expect("this program"))
                .args(["--exact", "vault::replace::tests::child_that_never_ends", "--ignored"])
                .env("VAULT_TEST_FILE", &path)
                .stdout(std::process::Stdio::null())
                .spawn()
                .expect("a child");
            std::thread::sleep(std::time::Duration::from_millis(15 + round * 3));
            child.kill().expect("killed");
            child.wait().expect("ended");
            let now = std::fs::read(&path).expect("a file");
            assert!(now == whole(b'a') || now == whole(b'b'), "{} bytes", now.len());
        }
    }

    #[test]
    #[ignore = "run by the test above"]
    fn child_that_never_ends() {
        let Some(path) = std::env::var_os("VAULT_TEST_FILE") else { return };
        loop {
            let now = std::fs::read(&path).expect("a file");
            let new = vec![if now.first() == Some(&b'a') { b'b' } else { b'a' }; 300_000];
            replace(Path::new(&path), Some(&now), &new).expect("written");
        }
    }
}
