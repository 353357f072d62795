//! What is done with a whole file: look at it, edit it, encrypt it for others.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use zeroize::Zeroizing;

use super::document::{MARK, opened_document, rekeyed_document, sealed_document, sealed_values};
use super::edit::Editor;
use super::replace::replace;
use super::{Header, Identities, Recipients, Standing, decrypt, encrypt, encrypt_binary, is_encrypted_file};

/// The longest file that is read, in bytes.
const LIMIT_BYTES: u64 = 1 << 30;

/// What came of editing a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Edited {
    /// The text is the same, and the file was not touched.
    Unchanged,
    /// The file was written.
    Written,
}

/// What came of encrypting a file for others.
#[derive(Debug, PartialEq, Eq)]
pub enum Rekeyed {
    /// It is for exactly these recipients already, and was not touched.
    Unchanged,
    /// The whole file was encrypted anew.
    File,
    /// These values of it were.
    Values(Vec<String>),
}

/// What was encrypted: a whole file, or a TOML file with all its values in the open.
///
/// # Errors
/// Why it cannot be decrypted.
pub fn view_file(path: &Path, identities: &Identities) -> Result<Zeroizing<Vec<u8>>> {
    let bytes = content(path)?;
    if is_encrypted_file(&bytes) {
        return decrypt(&bytes, identities).with_context(|| path.display().to_string());
    }
    let text = document(path, &bytes)?;
    let opened = opened_document(text, identities, "").with_context(|| path.display().to_string())?;
    Ok(Zeroizing::new(opened.text.as_bytes().to_vec()))
}

/// Opens an encrypted file, or a TOML file with secrets marked by [`MARK`], in the editor, and stores what changed. A file
/// that is not there yet is made: of TOML if it ends with `.toml`, encrypted as a whole otherwise.
///
/// # Errors
/// Why it cannot be decrypted, edited or stored; the file is as it was.
pub fn edit_file(path: &Path, recipients: &Recipients, identities: &Identities, editor: &Editor) -> Result<Edited> {
    let old = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        _ => Some(content(path)?),
    };
    let is_whole = old.as_ref().map_or(path.extension().is_none_or(|kind| kind != "toml"), |bytes| is_encrypted_file(bytes));
    if is_whole { edit_whole(path, old.as_deref(), recipients, identities, editor) } else { edit_document(path, old.as_deref(), recipients, identities, editor) }
}

fn edit_whole(path: &Path, old: Option<&[u8]>, recipients: &Recipients, identities: &Identities, editor: &Editor) -> Result<Edited> {
    let plain = match old {
        Some(bytes) => decrypt(bytes, identities).with_context(|| path.display().to_string())?,
        None => Zeroizing::default(),
    };
    let name = file_name(path);
    let stored = editor.edited(name.strip_suffix(".age").unwrap_or(&name), &plain, |new| replace(path, old, &as_before(old, new, recipients)))?;
    Ok(stored.map_or(Edited::Unchanged, |()| Edited::Written))
}

fn edit_document(path: &Path, old: Option<&[u8]>, recipients: &Recipients, identities: &Identities, editor: &Editor) -> Result<Edited> {
    let before = document(path, old.unwrap_or_default())?;
    let opened = opened_document(before, identities, MARK).with_context(|| path.display().to_string())?;
    let edited = editor.edited(&file_name(path), opened.text.as_bytes(), |new| {
        let text = std::str::from_utf8(new).map_err(|_| anyhow!("it is no text in UTF-8"))?;
        let sealed = sealed_document(text, Some(&opened), recipients)?;
        // Only the way in which secrets are quoted may have changed.
        if sealed.text == before {
            return Ok(Edited::Unchanged);
        }
        replace(path, old, sealed.text.as_bytes())?;
        Ok(Edited::Written)
    })?;
    Ok(edited.unwrap_or(Edited::Unchanged))
}

/// Encrypts a file, or the values in it, for exactly these recipients, where that is not so yet.
///
/// # Errors
/// Why it cannot be decrypted or stored; the file is as it was.
pub fn rekey_file(path: &Path, recipients: &Recipients, identities: &Identities) -> Result<Rekeyed> {
    let old = content(path)?;
    let shown = || path.display().to_string();
    if !is_encrypted_file(&old) {
        let (text, values) = rekeyed_document(document(path, &old)?, identities, recipients).with_context(shown)?;
        if values.is_empty() {
            return Ok(Rekeyed::Unchanged);
        }
        replace(path, Some(&old), text.as_bytes())?;
        return Ok(Rekeyed::Values(values));
    }
    if Header::of(&old).with_context(shown)?.is_for(recipients) == Standing::Current {
        return Ok(Rekeyed::Unchanged);
    }
    let plain = decrypt(&old, identities).with_context(shown)?;
    replace(path, Some(&old), &as_before(Some(&old), &plain, recipients))?;
    Ok(Rekeyed::File)
}

/// Encrypts a plain file into another one, and says whether that was needed: a target with the same content for the same
/// recipients stays as it is, if one of the identities opens it. The plain file stays.
///
/// # Errors
/// When one cannot be read or written.
pub fn encrypt_file(source: &Path, target: &Path, recipients: &Recipients, identities: &Identities) -> Result<bool> {
    let plain = Zeroizing::new(content(source)?);
    if is_encrypted_file(&plain) {
        bail!("`{}` is encrypted already", source.display());
    }
    let old = match std::fs::symlink_metadata(target) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        _ => Some(content(target)?),
    };
    if let Some(old) = &old {
        let is_current = Header::of(old).is_ok_and(|header| header.is_for(recipients) == Standing::Current);
        if is_current && decrypt(old, identities).is_ok_and(|same| *same == *plain) {
            return Ok(false);
        }
    }
    replace(target, old.as_deref(), &as_before(old.as_deref(), &plain, recipients))?;
    Ok(true)
}

/// How a file stands to the recipients, without any private key: one entry for a whole file, with no key, or one for each
/// encrypted value.
///
/// # Errors
/// When it is neither, or damaged.
pub fn standing(path: &Path, recipients: &Recipients) -> Result<Vec<(String, Standing)>> {
    let bytes = content(path)?;
    let shown = || path.display().to_string();
    if is_encrypted_file(&bytes) {
        return Ok(vec![(String::new(), Header::of(&bytes).with_context(shown)?.is_for(recipients))]);
    }
    let spots = sealed_values(document(path, &bytes)?).with_context(shown)?;
    spots.into_iter().map(|spot| Ok((spot.header().with_context(shown)?.is_for(recipients), spot.path))).map(|one| one.map(|(standing, path)| (path, standing))).collect()
}

/// A text encrypted in the form that the file had: binary if it was, armored otherwise.
fn as_before(old: Option<&[u8]>, plain: &[u8], recipients: &Recipients) -> Vec<u8> {
    if old.is_some_and(|bytes| bytes.starts_with(b"age-encryption.org/")) { encrypt_binary(plain, recipients) } else { encrypt(plain, recipients).into_bytes() }
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| "secret".into(), |name| name.to_string_lossy().into_owned())
}

fn content(path: &Path) -> Result<Vec<u8>> {
    read(path, LIMIT_BYTES).map_err(|why| anyhow!("`{}`: {why}", path.display()))
}

fn document<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str> {
    if path.extension().is_none_or(|kind| kind != "toml") {
        // Says what else it is.
        Header::of(bytes).with_context(|| path.display().to_string())?;
    }
    std::str::from_utf8(bytes).map_err(|_| anyhow!("`{}`: it is no text in UTF-8", path.display()))
}

/// The bytes of a file, or of a pipe such as the shell's `<(…)`, up to a limit.
///
/// # Errors
/// Why it cannot be read, without its name.
pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let about = std::fs::metadata(path).map_err(crate::diag::plainly)?;
    if about.is_dir() {
        return Err("it is a folder".into());
    }
    // A vector that grows would leave parts of a key behind in memory.
    let mut bytes = Vec::with_capacity(usize::try_from(about.len().min(limit)).unwrap_or(0) + 4096);
    File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).map_err(crate::diag::plainly)?;
    if bytes.len() as u64 > limit {
        return Err(format!("it is larger than {} MiB", limit >> 20));
    }
    Ok(bytes)
}
