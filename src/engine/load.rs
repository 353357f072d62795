//! Reads files on the controller that tasks copy or render. The only place of this room that touches the disk.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt as _;
use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use crate::diag::{Held, read_bytes};
use crate::module::{Content, Local, LocalEntry, LocalKind, Wanted, WantedKind};
use crate::playbook::Task;

/// The longest file that is copied, in bytes.
const COPY_LIMIT: u64 = 16 << 30;
/// The longest template, in bytes.
const TEMPLATE_LIMIT: u64 = 8 << 20;

/// From so many bytes on, a hash takes longer than a thread that works it out ahead.
const AHEAD_BYTES: usize = 4 << 20;
/// So many bytes are hashed ahead at the most: a second of a slow disk or two.
const HIGHEST_AHEAD_BYTES: usize = 256 << 20;
/// Within so long after a change, another one may leave all the times of a file as they are.
const TICK: Duration = Duration::from_millis(100);

/// Contents that have been read, by path: what a check has read is not read anew by the run, unless the file has changed in between.
#[derive(Default)]
pub struct Contents(Mutex<HashMap<PathBuf, (Stamp, Arc<Content>)>>);

/// What tells that a file is the same as before: device, inode, size, and both times to the nanosecond.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp(u64, u64, u64, (i64, i64), (i64, i64));

impl Stamp {
    /// None where the file has changed a moment ago.
    fn of(found: &Metadata) -> Option<Self> {
        let changed = SystemTime::UNIX_EPOCH + Duration::new(found.ctime().try_into().ok()?, found.ctime_nsec().try_into().ok()?);
        let is_settled = SystemTime::now().duration_since(changed).is_ok_and(|age| age > TICK);
        is_settled.then(|| Self(found.dev(), found.ino(), found.size(), (found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec())))
    }
}

impl Contents {
    /// The content of a file with this metadata.
    fn get(&self, path: &Path, found: &Metadata) -> Result<Arc<Content>, String> {
        let stamp = Stamp::of(found);
        if let Some((known, content)) = lock(&self.0).get(path)
            && stamp == Some(*known)
        {
            return Ok(content.clone());
        }
        let content = Arc::new(Content::from(Held::open(path, COPY_LIMIT)?));
        if content.size() >= AHEAD_BYTES {
            hash_ahead(&content);
        }
        if let Some(stamp) = stamp {
            lock(&self.0).insert(path.to_owned(), (stamp, content.clone()));
        }
        Ok(content)
    }
}

/// Has a content hashed while the first hosts are connected to, one after the other; so much of them that nobody waits long for one later.
fn hash_ahead(content: &Arc<Content>) {
    static AHEAD: AtomicUsize = AtomicUsize::new(0);
    static TURN: Mutex<()> = Mutex::new(());
    let size = content.size();
    if AHEAD.fetch_add(size, Ordering::Relaxed) + size > HIGHEST_AHEAD_BYTES {
        AHEAD.fetch_sub(size, Ordering::Relaxed);
        content.sha256();
        return;
    }
    let content = content.clone();
    std::thread::spawn(move || {
        let _turn = lock(&TURN);
        content.sha256();
        AHEAD.fetch_sub(size, Ordering::Relaxed);
    });
}

/// Files that have been read, each once for all hosts.
#[derive(Default)]
pub struct Files {
    contents: Arc<Contents>,
    local: Mutex<HashMap<PathBuf, Local>>,
    templates: Mutex<HashMap<PathBuf, Arc<str>>>,
}

impl Files {
    pub fn new(contents: Arc<Contents>) -> Self {
        Self { contents, ..Self::default() }
    }

    /// Finds a file that a task names: relative to the file that names it, or in the folders of its role.
    ///
    /// # Errors
    /// Where it was looked for.
    pub fn find(task: &Task, wanted: &Wanted) -> Result<PathBuf, String> {
        let path = Path::new(&wanted.path);
        let kind = match wanted.kind {
            WantedKind::Copy => "files",
            WantedKind::Template => "templates",
        };
        let mut places = vec![task.folder.join(path)];
        if let Some(role) = &task.role {
            places.insert(0, role.join(kind).join(path));
            places.push(role.join(path));
        }
        places.push(task.folder.join(kind).join(path));
        match places.iter().find(|place| place.exists()) {
            Some(place) => Ok(place.clone()),
            None => {
                let shown: Vec<String> = places.iter().map(|place| format!("`{}`", place.display())).collect();
                Err(format!("there is no file `{}`; looked for {}", wanted.path, shown.join(", ")))
            }
        }
    }

    /// The text of a template.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn template(&self, path: &Path) -> Result<Arc<str>, String> {
        if let Some(text) = lock(&self.templates).get(path) {
            return Ok(text.clone());
        }
        let bytes = read_bytes(path, TEMPLATE_LIMIT).map_err(|reason| format!("`{}` cannot be read: {reason}", path.display()))?;
        if bytes.contains(&0) {
            return Err(format!("`{}` holds a NUL byte, so it is no template; `copy` takes any bytes", path.display()));
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| format!("`{}` is no text in UTF-8, so it cannot be a template; use `copy`", path.display()))?;
        let text: Arc<str> = text.into();
        lock(&self.templates).insert(path.to_owned(), text.clone());
        Ok(text)
    }

    /// The bytes of a file or a folder.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn copy(&self, path: &Path) -> Result<Local, String> {
        if let Some(local) = lock(&self.local).get(path) {
            return Ok(local.clone());
        }
        let local = if path.is_dir() { Local::Folder(Arc::new(folder(path, &self.contents)?)) } else { file(path, &self.contents)? };
        lock(&self.local).insert(path.to_owned(), local.clone());
        Ok(local)
    }
}

/// The bytes of a file of this machine.
///
/// # Errors
/// Why it cannot be read.
pub fn as_it_is(path: &Path) -> Result<Vec<u8>, String> {
    read_bytes(path, COPY_LIMIT).map_err(|reason| format!("`{}` cannot be read: {reason}", path.display()))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this lock")
}

fn file(path: &Path, contents: &Contents) -> Result<Local, String> {
    let failed = |reason: String| format!("`{}` cannot be read: {reason}", path.display());
    let found = std::fs::metadata(path).map_err(|error| failed(crate::diag::plainly(error)))?;
    let content = contents.get(path, &found).map_err(failed)?;
    Ok(Local::File { content, mode: found.permissions().mode() & 0o7777 })
}

fn folder(root: &Path, contents: &Contents) -> Result<Vec<LocalEntry>, String> {
    let mut entries = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(relative) = open.pop() {
        let here = root.join(&relative);
        let failed = |error: std::io::Error| format!("`{}` cannot be read: {error}", here.display());
        for entry in std::fs::read_dir(&here).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = relative.join(entry.file_name());
            let kind = entry.file_type().map_err(failed)?;
            let found = entry.metadata().map_err(failed)?;
            let mode = found.permissions().mode() & 0o7777;
            let kind = if kind.is_symlink() {
                LocalKind::Link(std::fs::read_link(entry.path()).map_err(failed)?.as_os_str().as_bytes().to_vec())
            } else if kind.is_dir() {
                open.push(path.clone());
                LocalKind::Folder
            } else {
                let content = contents.get(&entry.path(), &found).map_err(|reason| format!("`{}` cannot be read: {reason}", entry.path().display()))?;
                LocalKind::File(content)
            };
            entries.push(LocalEntry { path: path.as_os_str().as_bytes().to_vec(), mode, kind });
        }
    }
    entries.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_check_has_read_is_read_again_only_after_a_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let contents = Arc::<Contents>::default();
        let read = || match Files::new(contents.clone()).copy(&path).expect("a file") {
            Local::File { content, .. } => content,
            Local::Folder(_) => panic!("a folder"),
        };
        let write = |text: &str| std::fs::write(&path, text).expect("a file");
        write("one");
        let fresh = read();
        assert!(!Arc::ptr_eq(&fresh, &read()), "a moment after a change nobody can tell");
        std::thread::sleep(2 * TICK);
        let settled = read();
        assert!(Arc::ptr_eq(&settled, &read()));
        let times = std::fs::metadata(&path).expect("a file").modified().expect("a time");
        write("two");
        std::fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(times)).expect("a time");
        assert_eq!(read().all().expect("bytes")[..], b"two"[..], "of the same length and with the old time");
        std::thread::sleep(2 * TICK);
        assert_eq!(read().all().expect("bytes")[..], b"two"[..]);
        std::fs::rename(&path, folder.path().join("gone")).expect("renamed");
        write("six");
        assert_eq!(read().all().expect("bytes")[..], b"six"[..]);
    }
}
