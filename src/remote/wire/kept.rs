//! Output of any length in bounded memory: its beginning and its end.

use std::collections::VecDeque;

/// How much is kept at each end, in bytes.
pub const KEPT_BYTES: usize = 64 << 10;

/// The first and the last 64 KiB of a stream, and how long it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    /// Length of the whole stream.
    pub total_bytes: u64,
}

impl Kept {
    pub fn push(&mut self, bytes: &[u8]) {
        self.total_bytes += bytes.len() as u64;
        let room = KEPT_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..room]);
        let rest = &bytes[room..];
        let rest = &rest[rest.len().saturating_sub(KEPT_BYTES)..];
        let surplus = (self.tail.len() + rest.len()).saturating_sub(KEPT_BYTES);
        self.tail.drain(..surplus);
        self.tail.extend(rest);
    }

    /// Everything, or both ends with a line between them that says how much is missing.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head.clone();
        let missing = self.total_bytes - (self.head.len() + self.tail.len()) as u64;
        if missing == 0 {
            bytes.extend(&self.tail);
            return bytes;
        }
        // A part of something hidden is not found by itself.
        let torn = crate::secret::longest_hidden().saturating_sub(1);
        bytes.truncate(bytes.len().saturating_sub(torn));
        let skipped = torn.min(self.tail.len());
        let missing = self.total_bytes - (bytes.len() + self.tail.len() - skipped) as u64;
        bytes.extend_from_slice(format!("\n[… {missing} bytes left out …]\n").as_bytes());
        bytes.extend(self.tail.iter().skip(skipped));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_output_is_whole() {
        let mut kept = Kept::default();
        kept.push(b"ab");
        kept.push(b"c");
        assert_eq!(kept.bytes(), b"abc");
    }

    #[test]
    fn long_output_keeps_both_ends() {
        let mut kept = Kept::default();
        for _ in 0..1000 {
            kept.push(&[b'x'; 1000]);
        }
        kept.push(b"the end");
        let text = String::from_utf8(kept.bytes()).expect("ASCII");
        assert!(text.len() < 2 * KEPT_BYTES + 100);
        assert!(text.contains("[… 868935 bytes left out …]"), "{}", &text[KEPT_BYTES..KEPT_BYTES + 60]);
        assert!(text.ends_with("xthe end"));
    }
}
