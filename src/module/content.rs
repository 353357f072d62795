//! What is sent to hosts: the bytes of a file on the controller, with all that is worked out of them once for all hosts.

use std::borrow::Cow;
use std::io::{self, Write as _};
use std::sync::{Mutex, OnceLock, PoisonError};

use sha2::{Digest as _, Sha256};

use crate::diag::{Held, Spool};
use crate::secret;

/// Less than this is sent as it is.
const LEAST_PACKED_BYTES: usize = 64 << 10;
/// As much of a file shows whether it is worth packing.
const SAMPLE_BYTES: usize = 1 << 20;

/// What is compared of a large file, at the least; a file has at most [`HIGHEST_BLOCKS`] of them.
const BLOCK_BYTES: usize = 4 << 20;
const HIGHEST_BLOCKS: usize = 1024;

/// As much of a long file is searched at once for what is hidden.
const HIDDEN_PIECE_BYTES: usize = 1 << 20;

/// No content has it: what stands for the hash of a file that cannot be read any more, so that no host is ever found to hold it.
const NO_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The bytes of a file on the controller, shared by all hosts that get the same ones. Long ones are not in memory.
#[derive(Debug)]
pub struct Content {
    held: Held,
    sha256: OnceLock<String>,
    blocks: OnceLock<Vec<String>>,
    packed: OnceLock<Option<Held>>,
    /// Whether it holds anything hidden, of so much that is.
    hidden: Mutex<Option<(usize, bool)>>,
}

impl From<Held> for Content {
    fn from(held: Held) -> Self {
        Self { held, sha256: OnceLock::new(), blocks: OnceLock::new(), packed: OnceLock::new(), hidden: Mutex::default() }
    }
}

impl Content {
    pub fn new(bytes: Vec<u8>) -> Self {
        Held::from(bytes).into()
    }

    /// How many bytes there are.
    pub fn size(&self) -> usize {
        self.held.size()
    }

    /// The bytes, in memory or in a file.
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// The bytes, if there are at most so many, which has to be less than a long file has.
    pub fn short(&self, limit: usize) -> Option<&[u8]> {
        self.held.memory().filter(|bytes| bytes.len() <= limit)
    }

    /// All bytes at once, which takes the memory for them while they are looked at.
    ///
    /// # Errors
    /// When the file cannot be read any more, or has changed since it was hashed.
    pub fn all(&self) -> io::Result<Cow<'_, [u8]>> {
        let all = self.held.all()?;
        if self.held.memory().is_none() && hexadecimal(Sha256::digest(&all)) != self.sha256() {
            return Err(io::Error::other("it has changed since this run began"));
        }
        Ok(all)
    }

    /// Whether it holds anything that is hidden; of what cannot be read any more it is taken to. A long one is searched once for all hosts.
    pub fn holds_hidden(&self) -> bool {
        if let Some(bytes) = self.held.memory() {
            return secret::holds_hidden(bytes);
        }
        let count = secret::count_hidden();
        let mut known = self.hidden.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, holds)) = *known
            && (of == count || holds)
        {
            return holds;
        }
        // Pieces overlap by what could lie across two of them, with a line break after each character.
        let more = HIDDEN_PIECE_BYTES + 3 * secret::longest_hidden();
        let piece = |start: usize| self.held.piece(start..self.size().min(start + more));
        let holds = (0..self.size()).step_by(HIDDEN_PIECE_BYTES).any(|start| piece(start).map_or(true, |bytes| secret::holds_hidden(&bytes)));
        *known = Some((count, holds));
        holds
    }

    /// SHA-256 in hexadecimal, worked out once, at some 1 GB/s; who asks meanwhile waits. Of a file that cannot be read any more it is
    /// one that nothing has.
    pub fn sha256(&self) -> &str {
        self.sha256.get_or_init(|| hash(&self.held).unwrap_or_else(|_| NO_HASH.to_owned()))
    }

    /// How long the blocks are in which it is compared with what is on a host.
    pub fn block_bytes(&self) -> usize {
        (self.size() / HIGHEST_BLOCKS).next_power_of_two().max(BLOCK_BYTES)
    }

    /// The SHA-256 of each block, the last of which may be shorter. Worked out once; takes as long as reading it all. None of a file that
    /// cannot be read any more.
    pub fn blocks(&self) -> &[String] {
        let of_blocks = || (0..self.size()).step_by(self.block_bytes()).map(|start| self.block(start)).collect::<io::Result<_>>();
        self.blocks.get_or_init(|| of_blocks().unwrap_or_default())
    }

    fn block(&self, start: usize) -> io::Result<String> {
        let bytes = self.held.piece(start..self.size().min(start + self.block_bytes()))?;
        Ok(hexadecimal(Sha256::digest(bytes)))
    }

    /// The bytes as `gzip` unpacks them; none where that is not clearly shorter. Worked out once, at some 100 MB/s.
    pub fn packed(&self) -> Option<&Held> {
        let pack = || {
            let sample = self.size().min(SAMPLE_BYTES);
            let first = gzip(std::iter::once(self.held.piece(0..sample)), sample).ok()??;
            if sample == self.size() { Some(first) } else { gzip(self.held.pieces(), self.size()).ok()? }
        };
        self.packed.get_or_init(|| (self.size() >= LEAST_PACKED_BYTES).then(pack).flatten()).as_ref()
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        match (self.held.memory(), other.held.memory()) {
            (Some(one), Some(other)) => one == other,
            _ => self.size() == other.size() && self.sha256() == other.sha256() && self.sha256() != NO_HASH,
        }
    }
}

impl Eq for Content {}

/// Pieces of this length together packed, if that takes at least a quarter away.
fn gzip<'a>(pieces: impl Iterator<Item = io::Result<Cow<'a, [u8]>>>, length: usize) -> io::Result<Option<Held>> {
    let mut packer = flate2::write::GzEncoder::new(Spool::default(), flate2::Compression::fast());
    for piece in pieces {
        packer.write_all(&piece?)?;
    }
    let packed = packer.finish()?.finished()?;
    Ok((packed.size() < length / 4 * 3).then_some(packed))
}

fn hash(held: &Held) -> io::Result<String> {
    let mut hash = Sha256::new();
    for piece in held.pieces() {
        hash.update(piece?);
    }
    Ok(hexadecimal(hash.finalize()))
}

fn hexadecimal(hash: impl AsRef<[u8]>) -> String {
    use std::fmt::Write as _;
    hash.as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
