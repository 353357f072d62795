//! A tar archive of plain files, as every `tar` reads it (ustar, with the GNU way for long names).

use std::sync::{Arc, Mutex, PoisonError};

use crate::diag::Held;
use crate::module::Content;

const BLOCK: usize = 512;
/// So many archives are kept for the next host; most hosts get the same one.
const HIGHEST_KEPT: usize = 2;

/// An archive, and a name that tells which files are in it.
type Named = (Arc<str>, Arc<Content>);

static MADE: Mutex<Vec<Named>> = Mutex::new(Vec::new());

/// The archive of these files, each with a relative name: one for all hosts that get the same. The files are only read when it is sent.
pub fn archive<'a>(files: impl Iterator<Item = (&'a [u8], &'a Content)> + Clone) -> Named {
    let mut list = Vec::new();
    for (name, content) in files.clone() {
        list.extend([name, b"\0", content.sha256().as_bytes()].into_iter().flatten());
    }
    let list = Content::new(list);
    let name = list.sha256();
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = made.iter().find(|(known, _)| **known == *name) {
        return known.clone();
    }
    let mut archive = Archive::default();
    for (name, content) in files {
        archive.add(name, content.held());
    }
    let archive: Named = (name.into(), Arc::new(archive.finished().into()));
    made.truncate(HIGHEST_KEPT - 1);
    made.insert(0, archive.clone());
    archive
}

/// An archive that grows.
#[derive(Default)]
struct Archive {
    parts: Vec<Held>,
    /// What comes before the next content.
    next: Vec<u8>,
}

impl Archive {
    /// Adds a file. The name is relative.
    fn add(&mut self, name: &[u8], content: &Held) {
        if name.len() > 100 {
            let long = [name, b"\0"].concat();
            self.entry(b"././@LongLink", b'L', &long.into());
        }
        self.entry(&name[..name.len().min(100)], b'0', content);
    }

    /// The whole archive.
    fn finished(mut self) -> Held {
        self.next.extend([0; 2 * BLOCK]);
        self.parts.push(self.next.into());
        Held::chain(self.parts)
    }

    fn entry(&mut self, name: &[u8], kind: u8, content: &Held) {
        let mut header = [0_u8; BLOCK];
        header[..name.len()].copy_from_slice(name);
        header[100..108].copy_from_slice(b"0000600\0");
        header[108..116].copy_from_slice(b"0000000\0");
        header[116..124].copy_from_slice(b"0000000\0");
        header[124..136].copy_from_slice(&size(content.size()));
        header[136..148].copy_from_slice(b"00000000000\0");
        header[148..156].copy_from_slice(b"        ");
        header[156] = kind;
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.next.extend(header);
        self.parts.push(std::mem::take(&mut self.next).into());
        self.parts.push(content.clone());
        self.next.resize(content.size().next_multiple_of(BLOCK) - content.size(), 0);
    }
}

/// A size as eleven octal digits; above 8 GiB in binary, as GNU has it.
fn size(bytes: usize) -> [u8; 12] {
    let mut field = [0_u8; 12];
    if bytes < 1 << 33 {
        field.copy_from_slice(format!("{bytes:011o}\0").as_bytes());
    } else {
        field[0] = 0x80;
        field[4..].copy_from_slice(&(bytes as u64).to_be_bytes());
    }
    field
}

#[cfg(test)]
mod tests {
    use super::{Archive, BLOCK, archive};
    use crate::module::Content;

    fn made(files: &[(&[u8], &str)]) -> Vec<u8> {
        let mut archive = Archive::default();
        for (name, content) in files {
            archive.add(name, &content.as_bytes().to_vec().into());
        }
        archive.finished().all().expect("the archive").into_owned()
    }

    #[test]
    fn hosts_that_get_the_same_share_an_archive() {
        let (one, other) = (Content::new(b"shared one".to_vec()), Content::new(b"shared other".to_vec()));
        let of = |files: &[(&'static [u8], &Content)]| archive(files.iter().copied());
        let first = of(&[(b"a", &one), (b"b", &other)]);
        assert!(std::sync::Arc::ptr_eq(&first.1, &of(&[(b"a", &Content::new(b"shared one".to_vec())), (b"b", &other)]).1));
        assert!(first.0 != of(&[(b"a", &other), (b"b", &one)]).0 && first.0 != of(&[(b"a", &one)]).0);
        assert_eq!(*first.1, Content::new(made(&[(b"a", "shared one"), (b"b", "shared other")])));
    }


    #[test]
    fn an_archive_is_made_of_blocks() {
        let bytes = made(&[(b"0/a", "hello\n"), (&[b'x'; 150], "")]);
        // Header and content; header and content of the long name; header; two empty blocks.
        assert_eq!(bytes.len(), (2 + 2 + 1 + 2) * BLOCK);
        assert_eq!(&bytes[..4], b"0/a\0");
        assert_eq!(&bytes[124..136], b"00000000006\0");
        assert_eq!(&bytes[BLOCK..BLOCK + 6], b"hello\n");
        assert_eq!(&bytes[2 * BLOCK..2 * BLOCK + 13], b"././@LongLink");
    }

    #[test]
    fn the_sum_of_a_header_is_right() {
        let bytes = made(&[(b"a", "")]);
        let header = &bytes[..BLOCK];
        let sum: u32 = (0..BLOCK).map(|at| u32::from(if (148..156).contains(&at) { b' ' } else { header[at] })).sum();
        assert_eq!(&header[148..156], format!("{sum:06o}\0 ").as_bytes());
    }
}
