//! Archives as lists of entries: bytes in, entries out. Nothing is unpacked on the controller.

use std::collections::{BTreeSet, HashSet};
use std::io::{Cursor, Read};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};

use crate::module::{Content, LocalEntry, LocalKind};

/// The most that all files of an archive may have together, in bytes: an archive of a few KiB may say that it holds terabytes.
const LIMIT_BYTES: u64 = 1 << 30;
const LIMIT_ENTRIES: usize = 100_000;

/// The entries of an archive. Its kind is told by its first bytes; `name` is for messages.
///
/// # Errors
/// It is no archive that is known, is damaged, or has an entry that leads out of its folder.
pub fn entries(name: &str, bytes: &[u8]) -> Result<Vec<LocalEntry>> {
    let found = match bytes {
        [0x1f, 0x8b, ..] => of_tar(flate2::read::MultiGzDecoder::new(bytes)),
        [b'P', b'K', 3 | 5, ..] => of_zip(bytes),
        [0xfd, b'7', b'z', ..] | [b'B', b'Z', b'h', ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            bail!("`{name}` is packed with xz, bzip2 or zstd, which are not read; pack it as .tar.gz or .zip")
        }
        _ if bytes.get(257..262) == Some(b"ustar") => of_tar(bytes),
        _ => bail!("`{name}` is no archive; .tar, .tar.gz and .zip are read"),
    };
    found.with_context(|| format!("the archive `{name}`"))
}

/// What has been read so far.
#[derive(Default)]
struct Found {
    entries: Vec<LocalEntry>,
    paths: HashSet<Vec<u8>>,
    bytes: u64,
}

impl Found {
    fn add(&mut self, path: &[u8], mode: u32, kind: LocalKind) -> Result<()> {
        let Some(path) = plain(path)? else { return Ok(()) };
        if self.entries.len() >= LIMIT_ENTRIES {
            bail!("it has more than {LIMIT_ENTRIES} entries");
        }
        // As with tar, what comes later wins.
        if !self.paths.insert(path.clone()) {
            self.entries.retain(|entry| entry.path != path);
        }
        self.entries.push(LocalEntry { path, mode, kind });
        Ok(())
    }

    fn file(&mut self, path: &[u8], mode: u32, size: u64, content: impl Read) -> Result<()> {
        let left = LIMIT_BYTES - self.bytes;
        if size > left {
            bail!("its files have more than 1 GiB together");
        }
        let mut bytes = Vec::new();
        content.take(left + 1).read_to_end(&mut bytes).context("it is damaged")?;
        self.bytes += bytes.len() as u64;
        if self.bytes > LIMIT_BYTES {
            bail!("its files have more than 1 GiB together");
        }
        self.add(path, mode, LocalKind::File(Arc::new(Content::new(bytes))))
    }

    fn link(&mut self, path: &[u8], target: &[u8]) -> Result<()> {
        self.add(path, 0o777, LocalKind::Link(target.to_vec()))
    }
}

/// A name without `./` and slashes at its end; none for the folder itself.
fn plain(path: &[u8]) -> Result<Option<Vec<u8>>> {
    if path.starts_with(b"/") || path.split(|&byte| byte == b'/').any(|part| part == b"..") || path.contains(&0) {
        bail!("the entry `{}` leads out of the folder", path.escape_ascii());
    }
    let parts: Vec<&[u8]> = path.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    Ok((!parts.is_empty()).then(|| parts.join(&b'/')))
}

fn of_tar(bytes: impl Read) -> Result<Vec<LocalEntry>> {
    let mut found = Found::default();
    let mut archive = tar::Archive::new(bytes);
    for entry in archive.entries().context("it is damaged")? {
        let mut entry = entry.context("it is damaged")?;
        let path = entry.path_bytes().into_owned();
        let mode = entry.header().mode().unwrap_or(0o644);
        match entry.header().entry_type() {
            kind if kind.is_dir() => found.add(&path, mode, LocalKind::Folder)?,
            kind if kind.is_file() || kind.is_contiguous() => {
                let size = entry.size();
                found.file(&path, mode, size, &mut entry)?;
            }
            kind if kind.is_symlink() => {
                let target = entry.link_name_bytes().context("a link leads nowhere")?.into_owned();
                found.link(&path, &target)?;
            }
            kind if kind.is_hard_link() => {
                let target = entry.link_name_bytes().context("a link leads nowhere")?.into_owned();
                let target = plain(&target)?.unwrap_or_default();
                let same = found.entries.iter().find(|one| one.path == target).map(|one| (one.mode, one.kind.clone()));
                let Some((mode, kind @ LocalKind::File(_))) = same else { bail!("the entry `{}` is another name of something that is not there", path.escape_ascii()) };
                found.add(&path, mode, kind)?;
            }
            kind if kind.is_pax_global_extensions() => {}
            _ => bail!("the entry `{}` is a device or a pipe, which is not unpacked", path.escape_ascii()),
        }
    }
    Ok(found.entries)
}

fn of_zip(bytes: &[u8]) -> Result<Vec<LocalEntry>> {
    let mut found = Found::default();
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).context("it is damaged")?;
    for number in 0..archive.len() {
        let entry = archive.by_index(number).context("an entry cannot be read")?;
        let path = entry.name_raw().to_vec();
        let mode = entry.unix_mode().unwrap_or(0o644);
        if entry.is_dir() {
            found.add(&path, mode, LocalKind::Folder)?;
        } else if entry.is_symlink() {
            let mut target = Vec::new();
            entry.take(4096).read_to_end(&mut target).context("it is damaged")?;
            found.link(&path, &target)?;
        } else {
            let size = entry.size();
            found.file(&path, mode, size, entry)?;
        }
    }
    Ok(found.entries)
}

/// Links stay within the folder, and nothing lies behind one. To be asked once the names are final.
///
/// # Errors
/// Which entry leads out.
pub fn check_links(entries: &[LocalEntry]) -> Result<()> {
    let links: HashSet<&[u8]> = entries.iter().filter(|entry| matches!(entry.kind, LocalKind::Link(_))).map(|entry| entry.path.as_slice()).collect();
    for entry in entries {
        let folders = entry.path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &entry.path[..at]);
        let mut depth = 0;
        for folder in folders {
            depth += 1;
            if links.contains(folder) {
                bail!("the entry `{}` lies behind the link `{}`, which may lead anywhere", entry.path.escape_ascii(), folder.escape_ascii());
            }
        }
        let LocalKind::Link(target) = &entry.kind else { continue };
        let parts: Vec<&[u8]> = target.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
        let ups = parts.iter().take_while(|part| **part == b"..").count();
        // What goes up behind a name goes up from wherever that name leads.
        if target.starts_with(b"/") || ups > depth || parts[ups..].contains(&&b".."[..]) {
            bail!("the link `{}` leads out of the folder, to `{}`", entry.path.escape_ascii(), target.escape_ascii());
        }
    }
    Ok(())
}

/// The entries, with the folders between that the archive does not name.
pub fn with_folders(mut entries: Vec<LocalEntry>) -> Vec<LocalEntry> {
    let known: BTreeSet<Vec<u8>> = entries.iter().map(|entry| entry.path.clone()).collect();
    let mut missing = BTreeSet::new();
    for entry in &entries {
        for (at, _) in entry.path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            if !known.contains(&entry.path[..at]) {
                missing.insert(entry.path[..at].to_vec());
            }
        }
    }
    entries.extend(missing.into_iter().map(|path| LocalEntry { path, mode: 0o755, kind: LocalKind::Folder }));
    entries
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn tar(files: &[(&str, &str, u32)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, text, mode) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(*mode);
            // The crate refuses to write names that lead out.
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            builder.append(&header, text.as_bytes()).expect("an entry");
        }
        builder.into_inner().expect("an archive")
    }

    pub fn zip(files: &[(&str, &str)]) -> Vec<u8> {
        use std::io::Write as _;
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (path, text) in files {
            writer.start_file(*path, zip::write::SimpleFileOptions::default()).expect("an entry");
            writer.write_all(text.as_bytes()).expect("its bytes");
        }
        writer.finish().expect("an archive").into_inner()
    }

    fn listed(bytes: &[u8]) -> String {
        match entries("a", bytes) {
            Ok(entries) => entries.iter().map(|entry| entry.path.escape_ascii().to_string()).collect::<Vec<_>>().join(" "),
            Err(error) => format!("error: {error:#}"),
        }
    }

    #[test]
    fn every_kind_is_told_by_its_first_bytes() {
        use std::io::Write as _;
        let plain = tar(&[("./a", "x", 0o644), ("b/c", "y", 0o755)]);
        assert_eq!(listed(&plain), "a b/c");
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&plain).expect("bytes");
        assert_eq!(listed(&packed.finish().expect("packed")), "a b/c");
        assert_eq!(listed(&zip(&[("a", "x"), ("b/c", "y")])), "a b/c");
        assert!(listed(b"\xfd7zXZ\0").contains("pack it as .tar.gz or .zip"));
        assert!(listed(b"hello").contains("is no archive"));
        assert!(listed(&plain[..700]).starts_with("error: the archive `a`"), "{}", listed(&plain[..700]));
    }

    #[test]
    fn nothing_leads_out_of_the_folder() {
        for path in ["../a", "/etc/passwd", "a/../../b", ".."] {
            assert!(listed(&tar(&[(path, "x", 0o644)])).contains("leads out of the folder"), "{path}");
        }
        let link = |path: &str, target: &str| LocalEntry { path: path.into(), mode: 0o777, kind: LocalKind::Link(target.into()) };
        for (path, target, is_good) in [("a", "b", true), ("d/a", "../b", true), ("d/a", "../../b", false), ("a", "/etc", false), ("a", "..", false), ("a", "x/x/../..", false), ("a", ".", true)] {
            assert_eq!(check_links(&[link(path, target)]).is_ok(), is_good, "{path} -> {target}");
        }
        assert!(check_links(&[link("y", "."), link("y/pwn", "z")]).is_err(), "nothing lies behind a link");
    }

    #[test]
    fn folders_between_are_made() {
        let entries = with_folders(vec![LocalEntry { path: b"a/b/c".to_vec(), mode: 0o644, kind: LocalKind::File(Arc::new(Content::new(Vec::new()))) }]);
        let paths: Vec<String> = entries.iter().map(|entry| entry.path.escape_ascii().to_string()).collect();
        assert_eq!(paths, ["a/b/c", "a", "a/b"]);
    }
}
