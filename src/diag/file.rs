//! Reads a text that a user wrote: only plain files, of a bounded size, in UTF-8.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use super::node::LIMIT_BYTES;

/// What files are taken to hold in place of what they do, by their real paths.
static AS_IF: RwLock<BTreeMap<PathBuf, Vec<u8>>> = RwLock::new(BTreeMap::new());

/// From now on these files are read as if they held this, and all others as they are: whoever mends files looks at the whole before anything
/// is written. By real paths.
pub fn read_as_if(files: BTreeMap<PathBuf, Vec<u8>>) {
    *AS_IF.write().unwrap_or_else(PoisonError::into_inner) = files;
}

fn as_if(path: &Path) -> Option<Vec<u8>> {
    let files = AS_IF.read().unwrap_or_else(PoisonError::into_inner);
    if files.is_empty() {
        return None;
    }
    files.get(&path.canonicalize().ok()?).cloned()
}

/// The text of a file.
///
/// # Errors
/// Why it cannot be used, without the name of the file.
pub fn read_text(path: &Path) -> Result<String, String> {
    let bytes = read_bytes(path, LIMIT_BYTES as u64)?;
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err("it is UTF-16; save it as UTF-8".into());
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").map(<[u8]>::to_vec).unwrap_or(bytes);
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count();
        format!("it is not UTF-8 (line {line})")
    })
}

/// Stands where a text is not what it should be, so that [`parse`](super::parse) can point there. No text has it: it is
/// none of Unicode's characters.
pub(super) const BROKEN: char = '\u{ffff}';

/// The text of a file that will be parsed. What is no UTF-8 in it becomes a mark that the parser points to.
///
/// # Errors
/// Why it cannot be used, without the name of the file.
pub fn read_source(path: &Path) -> Result<String, String> {
    let bytes = read_bytes(path, LIMIT_BYTES as u64)?;
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Ok(format!("{BROKEN}UTF-16"));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push(BROKEN);
        }
    }
    Ok(text)
}

/// The bytes of a plain file that is not longer than the limit.
///
/// # Errors
/// Why it cannot be used, without the name of the file.
pub fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let length = plain_bytes(path)?;
    if let Some(bytes) = as_if(path) {
        return Ok(bytes);
    }
    // A buffer that grows while it is read into takes twice the memory.
    let mut bytes = Vec::with_capacity(usize::try_from(length.min(limit)).unwrap_or_default() + 1);
    File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).map_err(plainly)?;
    if bytes.len() as u64 > limit { Err(too_long(limit)) } else { Ok(bytes) }
}

/// How long a plain file is.
pub(super) fn plain_bytes(path: &Path) -> Result<u64, String> {
    // Asked before it is opened: a named pipe would wait for ever.
    let kind = std::fs::metadata(path).map_err(plainly)?;
    if kind.is_dir() {
        return Err("it is a folder".into());
    }
    if !kind.is_file() {
        return Err("it is not a plain file".into());
    }
    Ok(kind.len())
}

pub(super) fn too_long(limit: u64) -> String {
    format!("it is larger than {} MiB", limit >> 20)
}

/// Why a file cannot be used, in plain words and without its name.
pub fn plainly(error: std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}
