//! Reads files on the controller that tasks copy or render. The only place of this room that touches the disk.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::diag::read_bytes;
use crate::module::{Content, Local, LocalEntry, LocalKind, Wanted, WantedKind};
use crate::playbook::Task;

/// The longest file that is copied, in bytes.
const COPY_LIMIT: u64 = 16 << 30;
/// The longest template, in bytes.
const TEMPLATE_LIMIT: u64 = 8 << 20;

/// From so many bytes on, a hash takes longer than a thread that works it out ahead.
const AHEAD_BYTES: usize = 4 << 20;

/// Files that have been read, each once for all hosts.
#[derive(Default)]
pub struct Files {
    local: Mutex<HashMap<PathBuf, Local>>,
    templates: Mutex<HashMap<PathBuf, Arc<str>>>,
}

impl Files {
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
        let local = if path.is_dir() { Local::Folder(Arc::new(folder(path)?)) } else { file(path)? };
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

fn file(path: &Path) -> Result<Local, String> {
    let failed = |reason: String| format!("`{}` cannot be read: {reason}", path.display());
    let bytes = read_bytes(path, COPY_LIMIT).map_err(failed)?;
    let mode = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.permissions().mode() & 0o7777;
    let content = Arc::new(Content::new(bytes));
    if content.bytes.len() >= AHEAD_BYTES {
        // Meanwhile the first hosts are connected to.
        let content = content.clone();
        std::thread::spawn(move || _ = content.sha256());
    }
    Ok(Local::File { content, mode })
}

fn folder(root: &Path) -> Result<Vec<LocalEntry>, String> {
    let mut entries = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(relative) = open.pop() {
        let here = root.join(&relative);
        let failed = |error: std::io::Error| format!("`{}` cannot be read: {error}", here.display());
        for entry in std::fs::read_dir(&here).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = relative.join(entry.file_name());
            let kind = entry.file_type().map_err(failed)?;
            let mode = entry.metadata().map_err(failed)?.permissions().mode() & 0o7777;
            let kind = if kind.is_symlink() {
                LocalKind::Link(std::fs::read_link(entry.path()).map_err(failed)?.as_os_str().as_bytes().to_vec())
            } else if kind.is_dir() {
                open.push(path.clone());
                LocalKind::Folder
            } else {
                let bytes = read_bytes(&entry.path(), COPY_LIMIT).map_err(|reason| format!("`{}` cannot be read: {reason}", entry.path().display()))?;
                LocalKind::File(Arc::new(Content::new(bytes)))
            };
            entries.push(LocalEntry { path: path.as_os_str().as_bytes().to_vec(), mode, kind });
        }
    }
    entries.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(entries)
}
