//! The answer of `file_look`: what is at a path of a host.

use anyhow::{Result, bail};

use crate::module::Answer;
use crate::shell::{Pattern, escaped, unescaped};

/// What is at a path. Numbers of accounts stay text, because they are only compared and sent back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    pub kind: Kind,
    pub mode: u32,
    pub uid: String,
    pub gid: String,
    /// Name of the owner as the answer has it: `\` doubled, a space as `\s`.
    pub owner: String,
    pub group: String,
    /// How many names the file has.
    pub links: u64,
    pub size_bytes: u64,
    /// `-` when it was not asked for.
    pub sha256: String,
    /// Where a link leads.
    pub target: Vec<u8>,
    /// Where a chain of links ends that was followed.
    pub at: Option<Vec<u8>>,
    pub shown: Shown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Absent,
    File,
    Folder,
    Link,
    Fifo,
    Socket,
    Block,
    Char,
}

impl Kind {
    /// As it is called in verdicts and messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::File => "file",
            Self::Folder => "directory",
            Self::Link => "link",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::Block => "block device",
            Self::Char => "character device",
        }
    }

    /// As an answer begins.
    pub fn answer_word(self) -> &'static str {
        match self {
            Self::Folder => "dir",
            Self::Block => "block",
            Self::Char => "char",
            kind => kind.word(),
        }
    }

    fn from_answer(word: &str) -> Option<Self> {
        Some(match word {
            "absent" => Self::Absent,
            "file" => Self::File,
            "dir" => Self::Folder,
            "link" => Self::Link,
            "fifo" => Self::Fifo,
            "socket" => Self::Socket,
            "block" => Self::Block,
            "char" => Self::Char,
            _ => return None,
        })
    }
}

/// The content of a file, as far as the answer has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Not asked for, not different, or too large.
    Nothing,
    Bytes(Vec<u8>),
    /// It has a NUL in it.
    Binary,
}

impl Look {
    /// What a good answer says.
    ///
    /// # Errors
    /// The sentence of a probe that could not answer; or an answer that is none.
    pub fn read(answer: &Answer) -> Result<Self> {
        let bytes = answer.bytes()?;
        let (first, rest) = line(bytes);
        let Some(mut look) = Self::first_line(first) else {
            bail!("the host gave an answer that cannot be read: {}", String::from_utf8_lossy(first));
        };
        look.read_rest(rest);
        Ok(look)
    }

    fn first_line(first: &[u8]) -> Option<Self> {
        let mut fields = first.splitn(7, |&byte| byte == b' ');
        let mut field = || fields.next().map(|field| String::from_utf8_lossy(field).into_owned());
        let kind = Kind::from_answer(&field()?)?;
        let mut look = Self::absent();
        if kind == Kind::Absent {
            return Some(look);
        }
        look.kind = kind;
        look.mode = u32::from_str_radix(&field()?, 8).ok()?;
        (look.uid, look.gid, look.owner, look.group) = (field()?, field()?, field()?, field()?);
        let last = fields.next().unwrap_or_default();
        match kind {
            Kind::Link => look.target = unescaped(last),
            Kind::File => {
                let text = String::from_utf8_lossy(last);
                let mut fields = text.split(' ');
                look.links = fields.next()?.parse().ok()?;
                look.size_bytes = fields.next()?.parse().ok()?;
                look.sha256 = fields.next()?.into();
            }
            _ => {}
        }
        Some(look)
    }

    fn read_rest(&mut self, mut rest: &[u8]) {
        while !rest.is_empty() {
            let (first, after) = line(rest);
            match first {
                b"content" => {
                    self.shown = Shown::Bytes(after.to_vec());
                    return;
                }
                b"content hex" => {
                    self.shown = Shown::Bytes(from_hex(line(after).0));
                    return;
                }
                b"content binary" => self.shown = Shown::Binary,
                _ => {
                    if let Some(path) = first.strip_prefix(b"at ") {
                        self.at = Some(unescaped(path));
                    }
                }
            }
            rest = after;
        }
    }

    /// Nothing is there.
    pub fn absent() -> Self {
        Self {
            kind: Kind::Absent,
            mode: 0,
            uid: String::new(),
            gid: String::new(),
            owner: String::new(),
            group: String::new(),
            links: 0,
            size_bytes: 0,
            sha256: "-".to_owned(),
            target: Vec::new(),
            at: None,
            shown: Shown::Nothing,
        }
    }

    pub fn is(&self, kind: Kind) -> bool {
        self.kind == kind
    }

    /// Whether this name or number, as a user writes it, is the owner.
    pub fn is_owned_by(&self, name: &str) -> bool {
        name == self.uid || escaped_name(name) == self.owner
    }

    /// As [`is_owned_by`](Self::is_owned_by), for the group.
    pub fn is_of_group(&self, name: &str) -> bool {
        name == self.gid || escaped_name(name) == self.group
    }

    /// The path that is worked on: where a followed link ends, or the path itself.
    pub fn place<'a>(&'a self, path: &'a str) -> &'a [u8] {
        self.at.as_deref().unwrap_or(path.as_bytes())
    }

    /// The line that says where a followed link ends, in a pattern for the next answer.
    pub fn and_place(&self, pattern: Pattern) -> Pattern {
        match &self.at {
            Some(path) => pattern.and([b"at ", escaped(path).as_slice(), b"\n"].concat()),
            None => pattern,
        }
    }
}

/// The topmost folder above the path that is missing, as the remark of a probe tells.
pub fn missing_parent(answer: &Answer) -> Option<Vec<u8>> {
    let mut lines = answer.remark.split(|&byte| byte == b'\n');
    lines.find_map(|line| line.strip_prefix(b"parent missing ")).map(unescaped)
}

/// An account's name as one field of an answer.
pub fn escaped_name(name: &str) -> String {
    name.replace('\\', "\\\\").replace(' ', "\\s")
}

fn line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|&byte| byte == b'\n') {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &[]),
    }
}

fn from_hex(digits: &[u8]) -> Vec<u8> {
    let value = |digit: u8| char::from(digit).to_digit(16).unwrap_or_default();
    digits.chunks_exact(2).filter_map(|pair| u8::try_from(value(pair[0]) * 16 + value(pair[1])).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(stdout: &str) -> Look {
        Look::read(&Answer { stdout: stdout.into(), ..Answer::default() }).expect(stdout)
    }

    #[test]
    fn a_file_is_read_with_its_content() {
        let file = look("file 0640 0 33 root www-data 1 6 abc\nat /srv/a\\nb\ncontent\nhello\n");
        assert_eq!((file.kind, file.mode, file.links, file.size_bytes), (Kind::File, 0o640, 1, 6));
        assert_eq!((file.uid.as_str(), file.group.as_str(), file.sha256.as_str()), ("0", "www-data", "abc"));
        assert_eq!(file.at.as_deref(), Some(b"/srv/a\nb".as_slice()));
        assert_eq!(file.shown, Shown::Bytes(b"hello\n".to_vec()));
    }

    #[test]
    fn content_may_look_like_a_line_of_the_answer() {
        let file = look("file 0640 0 0 root root 1 6 abc\ncontent\nat /x\ncontent\n");
        assert_eq!((file.at, file.shown), (None, Shown::Bytes(b"at /x\ncontent\n".to_vec())));
    }

    #[test]
    fn content_with_a_nul_comes_in_hexadecimal() {
        assert_eq!(look("file 0600 0 0 root root 1 3 a\ncontent hex\n610a00\n").shown, Shown::Bytes(b"a\n\0".to_vec()));
        assert_eq!(look("file 0600 0 0 root root 1 3 a\ncontent binary\n").shown, Shown::Binary);
    }

    #[test]
    fn a_link_leads_anywhere() {
        assert_eq!(look("link 0777 0 0 root root it's a\\n\\\\b \n").target, b"it's a\n\\b ");
    }

    #[test]
    fn a_name_with_a_space_is_one_field() {
        let file = look("dir 0755 1 2 DOM\\\\jo\\sdoe users\n");
        assert!(file.is_owned_by("DOM\\jo doe") && file.is_owned_by("1") && !file.is_owned_by("jo"));
        assert!(file.is_of_group("users") && file.is_of_group("2"));
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for stdout in ["", "file\n", "file 0644 0 0 root root 1\n", "file 9 0 0 root root 1 1 -\n", "door 0644\n"] {
            assert!(Look::read(&Answer { stdout: stdout.into(), ..Answer::default() }).is_err(), "{stdout}");
        }
    }

    #[test]
    fn a_missing_folder_is_in_the_remark() {
        let answer = Answer { remark: b"x\nparent missing /srv/a\\\\b\n".to_vec(), ..Answer::default() };
        assert_eq!(missing_parent(&answer).as_deref(), Some(b"/srv/a\\b".as_slice()));
        assert_eq!(missing_parent(&Answer::default()), None);
    }
}
