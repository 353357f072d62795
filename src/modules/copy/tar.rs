//! A tar archive of plain files, as every `tar` reads it (ustar, with the GNU way for long names).

const BLOCK: usize = 512;

/// An archive that grows.
#[derive(Default)]
pub struct Archive(Vec<u8>);

impl Archive {
    /// Adds a file. The name is relative.
    pub fn add(&mut self, name: &[u8], content: &[u8]) {
        if name.len() > 100 {
            let long = [name, b"\0"].concat();
            self.entry(b"././@LongLink", b'L', &long);
        }
        self.entry(&name[..name.len().min(100)], b'0', content);
    }

    /// The bytes of the whole archive.
    pub fn finished(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }

    fn entry(&mut self, name: &[u8], kind: u8, content: &[u8]) {
        let mut header = [0_u8; BLOCK];
        header[..name.len()].copy_from_slice(name);
        header[100..108].copy_from_slice(b"0000600\0");
        header[108..116].copy_from_slice(b"0000000\0");
        header[116..124].copy_from_slice(b"0000000\0");
        header[124..136].copy_from_slice(&size(content.len()));
        header[136..148].copy_from_slice(b"00000000000\0");
        header[148..156].copy_from_slice(b"        ");
        header[156] = kind;
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
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
    use super::{Archive, BLOCK};

    #[test]
    fn an_archive_is_made_of_blocks() {
        let mut archive = Archive::default();
        archive.add(b"0/a", b"hello\n");
        archive.add(&[b'x'; 150], b"");
        let bytes = archive.finished();
        // Header and content; header and content of the long name; header; two empty blocks.
        assert_eq!(bytes.len(), (2 + 2 + 1 + 2) * BLOCK);
        assert_eq!(&bytes[..4], b"0/a\0");
        assert_eq!(&bytes[124..136], b"00000000006\0");
        assert_eq!(&bytes[BLOCK..BLOCK + 6], b"hello\n");
        assert_eq!(&bytes[2 * BLOCK..2 * BLOCK + 13], b"././@LongLink");
    }

    #[test]
    fn the_sum_of_a_header_is_right() {
        let mut archive = Archive::default();
        archive.add(b"a", b"");
        let bytes = archive.finished();
        let header = &bytes[..BLOCK];
        let sum: u32 = (0..BLOCK).map(|at| u32::from(if (148..156).contains(&at) { b' ' } else { header[at] })).sum();
        assert_eq!(&header[148..156], format!("{sum:06o}\0 ").as_bytes());
    }
}
