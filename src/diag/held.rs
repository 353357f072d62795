//! Bytes of this machine that are read more than once: in memory, or in a file that stays open and is read piece by piece.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::file::{plain_bytes, plainly, read_bytes, too_long};

/// From so many bytes on, a file is not taken into memory.
const OPEN_BYTES: u64 = 8 << 20;
/// So many files stay open at the most; each takes one of the descriptors that connections need, too.
const HIGHEST_OPEN: usize = 256;
/// As much is read at once of what is gone through as a whole.
const PIECE_BYTES: usize = 1 << 20;

static OPEN: AtomicUsize = AtomicUsize::new(0);

/// A file that is counted while it is open.
#[derive(Debug)]
struct Open(File);

impl Open {
    fn new(file: File) -> Self {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Self(file)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes that do not change; a file that does all the same gives an error, or others than those that were hashed.
#[derive(Clone, Debug)]
pub struct Held(Place);

#[derive(Clone, Debug)]
enum Place {
    Memory(Arc<Vec<u8>>),
    /// With its length in bytes when it was opened.
    File(Arc<Open>, usize),
    /// One after the other, each with where it begins; and the length of all.
    Chain(Arc<[(usize, Held)]>, usize),
}

impl From<Vec<u8>> for Held {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Place::Memory(bytes.into()))
    }
}

impl Held {
    /// The bytes of a plain file that is not longer than the limit. A long one stays open: whatever takes its place later, these are still
    /// the old bytes.
    ///
    /// # Errors
    /// As [`read_bytes`].
    pub fn open(path: &Path, limit: u64) -> Result<Self, String> {
        if plain_bytes(path)? >= OPEN_BYTES && OPEN.load(Ordering::Relaxed) < HIGHEST_OPEN {
            let held = File::open(path).and_then(Self::of).map_err(plainly)?;
            // It may just have become shorter.
            match held.size() as u64 {
                length if length > limit => return Err(too_long(limit)),
                length if length >= OPEN_BYTES => return Ok(held),
                _ => {}
            }
        }
        read_bytes(path, limit).map(Self::from)
    }

    fn of(file: File) -> io::Result<Self> {
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        Ok(Self(Place::File(Arc::new(Open::new(file)), length)))
    }

    /// What is held elsewhere, one after the other.
    pub fn chain(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut length = 0;
        let place = |part: Self| {
            let start = length;
            length += part.size();
            (start, part)
        };
        let parts: Vec<_> = parts.into_iter().filter(|part| part.size() > 0).map(place).collect();
        Self(Place::Chain(parts.into(), length))
    }

    /// How many bytes there are.
    pub fn size(&self) -> usize {
        match &self.0 {
            Place::Memory(bytes) => bytes.len(),
            Place::File(_, length) | Place::Chain(_, length) => *length,
        }
    }

    /// Those that are in memory, as short ones are.
    pub fn memory(&self) -> Option<&[u8]> {
        match &self.0 {
            Place::Memory(bytes) => Some(bytes),
            Place::File(..) | Place::Chain(..) => None,
        }
    }

    /// Some of the bytes.
    ///
    /// # Errors
    /// When they cannot be read any more.
    pub fn piece(&self, range: Range<usize>) -> io::Result<Cow<'_, [u8]>> {
        match &self.0 {
            Place::Memory(bytes) => bytes.get(range).map(Cow::Borrowed).ok_or_else(|| io::ErrorKind::UnexpectedEof.into()),
            Place::File(file, _) => {
                let mut piece = vec![0; range.len()];
                file.0.read_exact_at(&mut piece, range.start as u64).map_err(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "it has become shorter since this run began"),
                    _ => error,
                })?;
                Ok(Cow::Owned(piece))
            }
            Place::Chain(parts, length) => {
                if range.end > *length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let mut piece = Vec::with_capacity(range.len());
                for (part, range) in within(parts, range) {
                    piece.extend_from_slice(&part.piece(range)?);
                }
                Ok(Cow::Owned(piece))
            }
        }
    }

    /// Some of the bytes, if they can be had without waiting for a disk.
    pub fn at_once(&self, range: Range<usize>) -> Option<Cow<'_, [u8]>> {
        match &self.0 {
            Place::Memory(bytes) => bytes.get(range).map(Cow::Borrowed),
            Place::File(file, _) => cached(&file.0, range).map(Cow::Owned),
            Place::Chain(parts, _) => {
                let mut piece = Vec::with_capacity(range.len());
                for (part, range) in within(parts, range) {
                    piece.extend_from_slice(&part.at_once(range)?);
                }
                Some(Cow::Owned(piece))
            }
        }
    }

    /// All of them, a piece at a time.
    pub fn pieces(&self) -> impl Iterator<Item = io::Result<Cow<'_, [u8]>>> {
        (0..self.size()).step_by(PIECE_BYTES).map(|start| self.piece(start..self.size().min(start + PIECE_BYTES)))
    }

    /// All of them at once.
    ///
    /// # Errors
    /// When they cannot be read any more.
    pub fn all(&self) -> io::Result<Cow<'_, [u8]>> {
        self.piece(0..self.size())
    }
}

/// The parts of a chain that some of its bytes lie in, each with which of its own.
fn within(parts: &[(usize, Held)], range: Range<usize>) -> impl Iterator<Item = (&Held, Range<usize>)> {
    let first = parts.partition_point(|(start, part)| start + part.size() <= range.start);
    let some = parts[first..].iter().take_while(move |(start, _)| *start < range.end);
    some.map(move |(start, part)| (part, range.start.saturating_sub(*start)..part.size().min(range.end - start)))
}

/// Bytes to be held that come one after the other: in memory, and once they are many, in a file without a name.
#[derive(Default)]
pub struct Spool {
    memory: Vec<u8>,
    file: Option<File>,
}

impl Spool {
    /// What has been written.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn finished(mut self) -> io::Result<Held> {
        let Some(mut file) = self.file.take() else { return Ok(self.memory.into()) };
        file.write_all(&self.memory)?;
        Held::of(file)
    }
}

impl io::Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.memory.extend_from_slice(bytes);
        if self.memory.len() as u64 >= OPEN_BYTES {
            if self.file.is_none() {
                self.file = Some(unnamed()?);
            }
            if let Some(file) = &mut self.file {
                file.write_all(&self.memory)?;
            }
            self.memory.clear();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What of a file lies in the system's memory, if that is all that is asked for.
#[cfg(target_os = "linux")]
fn cached(file: &File, range: Range<usize>) -> Option<Vec<u8>> {
    let mut piece = vec![0; range.len()];
    let read = rustix::io::preadv2(file, &mut [io::IoSliceMut::new(&mut piece)], range.start as u64, rustix::io::ReadWriteFlags::NOWAIT);
    read.is_ok_and(|length| length == piece.len()).then_some(piece)
}

#[cfg(not(target_os = "linux"))]
fn cached(_file: &File, _range: Range<usize>) -> Option<Vec<u8>> {
    None
}

/// A file that nobody else can see, on a disk: `/tmp` may be memory.
fn unnamed() -> io::Result<File> {
    tempfile::tempfile_in("/var/tmp").or_else(|_| tempfile::tempfile())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_not_in_memory_and_stays_what_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("long");
        let bytes: Vec<u8> = (0..OPEN_BYTES + 5).map(|at| (at % 251) as u8).collect();
        std::fs::write(&path, &bytes).expect("a file");
        let held = Held::open(&path, u64::MAX).expect("it opens");
        assert!(held.memory().is_none());
        std::fs::write(folder.path().join("next"), "other").expect("a file");
        std::fs::rename(folder.path().join("next"), &path).expect("it is replaced");
        assert_eq!((held.size(), held.piece(250..253).expect("some").into_owned()), (bytes.len(), vec![250, 0, 1]));
        let pieces = held.pieces().collect::<io::Result<Vec<_>>>().expect("all");
        assert!(pieces.concat() == bytes && held.all().expect("all")[..] == bytes[..]);
        assert_eq!(Held::open(&path, 5).expect("it opens").memory(), Some(&b"other"[..]));
        assert!(Held::open(&path, 4).expect_err("it is too long").contains("larger than"));
        assert!(Held::open(folder.path(), 4).expect_err("no file").contains("it is a folder"));
    }

    #[test]
    fn what_became_shorter_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("long");
        File::create(&path).and_then(|file| file.set_len(OPEN_BYTES)).expect("a file");
        let held = Held::open(&path, u64::MAX).expect("it opens");
        File::create(&path).expect("it is cut off");
        assert!(held.all().expect_err("it is shorter").to_string().contains("has become shorter"));
    }

    #[test]
    fn a_chain_is_read_like_the_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("long");
        let long: Vec<u8> = (0..OPEN_BYTES + 5).map(|at| (at % 251) as u8).collect();
        std::fs::write(&path, &long).expect("a file");
        let chain = Held::chain([b"ab".to_vec().into(), Vec::new().into(), Held::open(&path, u64::MAX).expect("it opens"), b"c".to_vec().into()]);
        let whole = [b"ab".as_slice(), &long, b"c"].concat();
        assert_eq!((chain.size(), chain.memory()), (whole.len(), None));
        for range in [0..0, 0..1, 1..3, 2..9, 0..whole.len(), whole.len() - 3..whole.len(), 1 << 20..3 << 20, whole.len()..whole.len()] {
            assert!(chain.piece(range.clone()).expect("some")[..] == whole[range.clone()], "{range:?}");
            assert!(chain.at_once(range.clone()).is_none_or(|some| some[..] == whole[range.clone()]), "{range:?}");
        }
        assert!(chain.piece(whole.len() - 1..whole.len() + 1).is_err());
        assert_eq!(Held::chain([]).size(), 0);
    }

    #[test]
    fn what_is_written_comes_back_from_memory_or_a_file() {
        for (count, is_long) in [(3, false), (30, true)] {
            let mut spool = Spool::default();
            let mut whole = Vec::new();
            for number in 0..count {
                let part = vec![number; 300_000];
                spool.write_all(&part).expect("it is written");
                whole.extend(part);
            }
            let held = spool.finished().expect("it is there");
            assert_eq!((held.memory().is_none(), held.size()), (is_long, whole.len()));
            assert!(held.all().expect("all")[..] == whole[..]);
        }
    }
}
