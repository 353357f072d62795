//! Messages about text the user wrote: what is wrong, where, and what to do.
//!
//! A [`Diagnostic`] holds a source id and a byte range; the text is only looked at when it is drawn.
//! [`Node`] is a TOML text as a tree that remembers where each part stands, and [`decode`] turns such a tree
//! into Rust types, reporting every problem it meets. Only [`read_text`], [`read_bytes`] and [`Held`] touch the disk.

mod decode;
mod draw;
mod file;
mod held;
mod node;
mod origin;
mod remedy;
mod suggest;

use std::ops::Range;
use std::sync::Arc;

pub use decode::{decode, decode_with};
pub use draw::draw;
pub use file::{plainly, read_as_if, read_bytes, read_source, read_text};
pub use held::{Held, Spool};
pub use node::{Entry, Key, Kind, Node, parse};
pub use origin::{Origin, Way};
pub use remedy::{Remedy, Was, quoted};
pub use suggest::{nearest, sure};

/// Names one source text in a [`Sources`] collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SourceId(u32);

/// A place in a source text: which text, and the bytes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub source: SourceId,
    pub bytes: Range<usize>,
}

/// One source text with the name it is shown under.
#[derive(Clone, Debug)]
pub struct Source {
    /// The path as the user would write it, or `command line`.
    pub name: String,
    pub text: Arc<str>,
}

/// All texts of one run that messages may point into.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    all: Vec<Source>,
}

impl Sources {
    /// Remembers a text, and gives the id by which spans refer to it.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> SourceId {
        let id = u32::try_from(self.all.len()).expect("fewer than 2^32 files are read");
        self.all.push(Source { name: name.into(), text: text.into() });
        SourceId(id)
    }

    /// All of them, in the order in which they were read.
    pub fn all(&self) -> &[Source] {
        &self.all
    }

    pub fn get(&self, id: SourceId) -> &Source {
        &self.all[id.0 as usize]
    }

    /// Column (from 1, in characters) at which the span begins.
    pub fn column(&self, span: &Span) -> usize {
        let text = &self.get(span.source).text;
        let before = text.get(..span.bytes.start.min(text.len())).unwrap_or_default();
        1 + before.rsplit('\n').next().unwrap_or_default().chars().count()
    }

    /// Line number (from 1) on which the span begins.
    pub fn line(&self, span: &Span) -> usize {
        let text = &self.get(span.source).text;
        let end = span.bytes.start.min(text.len());
        1 + text.as_bytes()[..end].iter().filter(|&&byte| byte == b'\n').count()
    }
}

/// How bad it is: an error ends the command with status 1 before any host is contacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    Warning,
}

/// One message about text the user wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub level: Level,
    /// Short stable name of the kind of problem, such as `unknown-key`.
    pub code: &'static str,
    /// Lower case start, no full stop, the user's own words in backticks.
    pub message: String,
    pub span: Option<Span>,
    /// What stands under the carets.
    pub label: String,
    pub help: Option<String>,
    /// What mends it without doubt.
    pub remedy: Option<Remedy>,
}

impl Diagnostic {
    pub fn error(code: &'static str, span: &Span, message: impl Into<String>) -> Self {
        Self {
            level: Level::Error,
            code,
            message: message.into(),
            span: Some(span.clone()),
            label: String::new(),
            help: None,
            remedy: None,
        }
    }

    /// An error about the input as a whole: a file that cannot be read, a pattern that fits no host.
    pub fn general(code: &'static str, message: impl Into<String>) -> Self {
        Self { level: Level::Error, code, message: message.into(), span: None, label: String::new(), help: None, remedy: None }
    }

    pub fn warning(code: &'static str, span: &Span, message: impl Into<String>) -> Self {
        Self { level: Level::Warning, ..Self::error(code, span, message) }
    }

    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says what mends it without doubt: this text, where there stands what was thought of.
    #[must_use]
    pub fn remedy(mut self, was: Was, text: impl Into<String>) -> Self {
        self.remedy = self.span.clone().map(|span| Remedy { span, was, text: text.into() });
        self
    }

    /// Says what mends it where a word of a text was surely meant otherwise: the word, and what was meant.
    #[must_use]
    pub fn remedied(self, meant: Option<(String, String)>) -> Self {
        match meant {
            Some((word, meant)) => self.remedy(Was::Word(word), meant),
            None => self,
        }
    }

    /// As [`suggest`](Self::suggest), where the word is a name that can be put right. What is surely meant becomes the remedy.
    #[must_use]
    pub fn suggest_name<'a>(self, word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Self {
        let candidates: Vec<&str> = candidates.into_iter().collect();
        let one = self.suggest(word, candidates.iter().copied());
        match sure(word, candidates) {
            Some(meant) => one.remedy(Was::Name(word.to_owned()), meant),
            None => one,
        }
    }

    /// Adds `did you mean …` when one of the candidates is near enough to the word.
    #[must_use]
    pub fn suggest<'a>(mut self, word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Self {
        if let Some(near) = nearest(word, candidates) {
            self.help = Some(format!("did you mean `{near}`?"));
        }
        self
    }
}

/// Whether any of them is an error, so that nothing may be contacted.
pub fn any_error(all: &[Diagnostic]) -> bool {
    all.iter().any(|one| one.level == Level::Error)
}
