//! POSIX sh text and its quoting.
//!
//! [`sh!`](crate::sh) is the only way to put data into a script: every value becomes one single-quoted word, and a
//! raw fragment must itself be a [`Script`]. Own code rather than a crate: quoting must work on bytes, in every
//! shell, and the known crates either leave some bytes unquoted or take only UTF-8 (RUSTSEC-2024-0006).

mod glob;
mod line;
mod pattern;
mod words;

use std::fmt;

pub use glob::glob;
pub use line::{escaped, unescaped};
pub use pattern::Pattern;
pub use words::split_words;

/// A piece of POSIX sh text. It may hold any byte but NUL.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Script(Vec<u8>);

impl Script {
    /// Text written in this program, or by the user to be run as it is.
    pub fn raw(text: impl Into<Vec<u8>>) -> Self {
        Self(text.into())
    }

    /// A call of a function or program: every word quoted where it needs to be.
    pub fn call<W: AsRef<[u8]>>(words: impl IntoIterator<Item = W>) -> Self {
        let mut text = Vec::new();
        for word in words {
            if !text.is_empty() {
                text.push(b' ');
            }
            push_quoted(&mut text, word.as_ref());
        }
        Self(text)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Both scripts, one after the other, whatever the first one's status.
    #[must_use]
    pub fn then(mut self, next: &Script) -> Self {
        if !self.0.is_empty() && !next.0.is_empty() {
            self.0.push(b'\n');
        }
        self.0.extend_from_slice(&next.0);
        self
    }

    /// The words of a script that is one plain call, quotes taken away; `"$HOME"` stays as it is. `None`: it is more than that.
    pub fn words(&self) -> Option<Vec<Vec<u8>>> {
        let mut words = Vec::new();
        let mut word: Option<Vec<u8>> = None;
        let mut rest = self.0.as_slice();
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match byte {
                b' ' => words.extend(word.take()),
                b'\'' => {
                    let end = rest.iter().position(|&byte| byte == b'\'')?;
                    word.get_or_insert_default().extend_from_slice(&rest[..end]);
                    rest = &rest[end + 1..];
                }
                b'\\' => {
                    rest = rest.strip_prefix(b"'")?;
                    word.get_or_insert_default().push(b'\'');
                }
                b'"' => {
                    rest = rest.strip_prefix(br#"$HOME""#)?;
                    word.get_or_insert_default().extend_from_slice(b"$HOME");
                }
                _ if byte.is_ascii_alphanumeric() || b"_-./:?".contains(&byte) => word.get_or_insert_default().push(byte),
                _ => return None,
            }
        }
        words.extend(word);
        Some(words)
    }

    /// Whether it is one plain call of this function.
    pub fn is_call_of(&self, name: &str) -> bool {
        self.words().is_some_and(|words| words.first().is_some_and(|first| first == name.as_bytes()))
    }

    fn append(&mut self, text: &[u8]) {
        self.0.extend_from_slice(text);
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Script({:?})", String::from_utf8_lossy(&self.0))
    }
}

/// What `sh!` accepts for a hole: data becomes a quoted word, a [`Script`] stays as it is.
pub trait Hole {
    fn fill(&self, script: &mut Script);
}

impl Hole for Script {
    fn fill(&self, script: &mut Script) {
        script.append(&self.0);
    }
}

impl Hole for str {
    fn fill(&self, script: &mut Script) {
        push_quoted(&mut script.0, self.as_bytes());
    }
}

impl Hole for String {
    fn fill(&self, script: &mut Script) {
        self.as_str().fill(script);
    }
}

impl Hole for [u8] {
    fn fill(&self, script: &mut Script) {
        push_quoted(&mut script.0, self);
    }
}

impl Hole for Vec<u8> {
    fn fill(&self, script: &mut Script) {
        self.as_slice().fill(script);
    }
}

impl Hole for u32 {
    fn fill(&self, script: &mut Script) {
        script.append(self.to_string().as_bytes());
    }
}

impl Hole for u64 {
    fn fill(&self, script: &mut Script) {
        script.append(self.to_string().as_bytes());
    }
}

impl Hole for usize {
    fn fill(&self, script: &mut Script) {
        script.append(self.to_string().as_bytes());
    }
}

impl Hole for i32 {
    fn fill(&self, script: &mut Script) {
        script.append(self.to_string().as_bytes());
    }
}

impl<T: Hole + ?Sized> Hole for &T {
    fn fill(&self, script: &mut Script) {
        (**self).fill(script);
    }
}

/// The text of a script with its holes filled. Use [`sh!`](crate::sh), which checks the template when it is compiled.
pub fn fill(template: &str, holes: &[&dyn Hole]) -> Script {
    // `sh!` is no `format!`: two braces are two braces of the shell.
    debug_assert!(!template.contains("{{"), "{template}");
    let mut script = Script::default();
    let mut holes = holes.iter();
    let mut parts = template.split("{}");
    script.append(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        holes.next().expect("sh! has counted the holes").fill(&mut script);
        script.append(part.as_bytes());
    }
    script
}

/// How many `{}` a template has. `{` or `}` alone is ordinary shell text.
pub const fn count_holes(template: &str) -> usize {
    let bytes = template.as_bytes();
    let mut count = 0;
    let mut at = 0;
    while at + 1 < bytes.len() {
        if bytes[at] == b'{' && bytes[at + 1] == b'}' {
            count += 1;
            at += 1;
        }
        at += 1;
    }
    count
}

/// Whether a template has something like `{name}`, which would be sent to the host as it stands.
///
/// `${name}` is the shell's own and is fine.
pub const fn has_named_hole(template: &str) -> bool {
    let bytes = template.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'{' && (at == 0 || bytes[at - 1] != b'$') {
            let mut end = at + 1;
            while end < bytes.len() && (bytes[end].is_ascii_alphanumeric() || bytes[end] == b'_') {
                end += 1;
            }
            if end > at + 1 && end < bytes.len() && bytes[end] == b'}' {
                return true;
            }
        }
        at += 1;
    }
    false
}

/// Makes a [`Script`](crate::shell::Script): each `{}` takes a value, which is quoted as one word.
///
/// ```
/// use mutate::sh;
/// assert_eq!(sh!("rm -- {}", "it's").to_string(), r"rm -- 'it'\''s'");
/// ```
///
/// A named hole does not compile:
///
/// ```compile_fail
/// use mutate::sh;
/// let name = "x";
/// sh!("rm -- {name}");
/// ```
///
/// Nor does a missing value:
///
/// ```compile_fail
/// use mutate::sh;
/// sh!("mv -- {} {}", "a");
/// ```
#[macro_export]
macro_rules! sh {
    ($template:literal $(, $hole:expr)* $(,)?) => {{
        const {
            assert!(!$crate::shell::has_named_hole($template), "a hole has no name: only two braces");
            assert!(
                $crate::shell::count_holes($template) == <[&str]>::len(&[$(stringify!($hole)),*]),
                "as many values as holes"
            );
        };
        $crate::shell::fill($template, &[$(&$hole as &dyn $crate::shell::Hole),*])
    }};
}

/// Stands at the beginning of a path for the home folder of whoever runs the script, while that is not known here.
pub const HOME_MARK: &str = "\u{1}home of the remote user\u{1}";

/// Appends one word so that every POSIX shell reads exactly these bytes back.
///
/// Words of harmless bytes stay as they are, which saves bytes on the wire and keeps scripts readable.
pub fn push_quoted(text: &mut Vec<u8>, word: &[u8]) {
    debug_assert!(!word.contains(&0), "NUL is refused where arguments are read");
    let word = match word.strip_prefix(HOME_MARK.as_bytes()) {
        Some(rest) => {
            text.extend_from_slice(br#""$HOME""#);
            rest
        }
        None => word,
    };
    text.push(b'\'');
    for &byte in word {
        match byte {
            b'\'' => text.extend_from_slice(br"'\''"),
            0 => {}
            _ => text.push(byte),
        }
    }
    text.push(b'\'');
}

/// One word, quoted.
pub fn quoted(word: &str) -> String {
    let mut text = Vec::with_capacity(word.len() + 2);
    push_quoted(&mut text, word.as_bytes());
    String::from_utf8(text).expect("quoting adds only ASCII to UTF-8")
}

/// Bytes as the argument of `printf %b`: any byte can be carried, even NUL, newline and backslash.
pub fn printf_argument(content: &[u8]) -> String {
    let mut text = String::with_capacity(content.len() + content.len() / 16);
    for &byte in content {
        match byte {
            b'\\' => text.push_str(r"\\"),
            b'\n' => text.push_str(r"\n"),
            0x20..=0x7e => text.push(byte as char),
            _ => {
                text.push_str(r"\0");
                text.push((b'0' + (byte >> 6)) as char);
                text.push((b'0' + (byte >> 3 & 7)) as char);
                text.push((b'0' + (byte & 7)) as char);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_one_word() {
        assert_eq!(sh!("test -f {} || exit {}", "a b'c", 3_u32).to_string(), r"test -f 'a b'\''c' || exit 3");
        assert_eq!(sh!("x=${y}; {}", Script::raw("true")).to_string(), "x=${y}; true");
    }

    #[test]
    fn one_plain_call_has_words() {
        let words = |script: Script| script.words().map(|words| words.into_iter().map(|word| String::from_utf8(word).expect("text")).collect::<Vec<_>>());
        let call = sh!("file_look {} nofollow ? {}", format!("{HOME_MARK}/it's"), 0_u32);
        assert_eq!(words(call), Some(vec!["file_look".into(), "$HOME/it's".into(), "nofollow".into(), "?".into(), "0".into()]));
        assert_eq!(words(sh!("a {}", "; b\n")), Some(vec!["a".into(), "; b\n".into()]));
        for more in ["a; b", "a\nb", "a && b", "a $b", "a `b`", "a >b", "(a)", "a \"b\""] {
            assert_eq!(words(Script::raw(more)), None, "{more}");
        }
    }

    #[test]
    fn a_named_hole_is_seen() {
        assert!(has_named_hole("rm {path}"));
        assert!(!has_named_hole("rm ${path} {} { echo; }"));
    }

    #[test]
    fn any_byte_can_travel_as_a_printf_argument() {
        assert_eq!(printf_argument(b"a\\b\n\0\xff\t'"), r"a\\b\n\0000\0377\0011'");
    }
}
