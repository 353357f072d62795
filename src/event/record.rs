//! What is remembered of a change, so that it can be told of and undone later.

use base64::Engine as _;
use crate::secret::{holds_hidden, surely_holds_hidden};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A step that is about to be made.
#[derive(Clone, Debug)]
pub struct Intent {
    pub host: String,
    /// The host that it is done for, where that is another one.
    pub for_host: Option<String>,
    /// Number by which the host's ledger knows it.
    pub seq: u32,
    pub task: String,
    pub module: String,
    pub file: String,
    pub line: usize,
    pub item: Option<serde_json::Value>,
    /// What is known beforehand of how to undo it: not yet what the backup says, nor the answer afterwards.
    pub draft: Record,
}

/// Everything that undoing a change needs, besides the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Number by which the host's ledger knows it.
    pub seq: u32,
    /// The user it was made as, when that was not the login user.
    pub user: Option<String>,
    /// Names of the shell libraries that its scripts use.
    pub libraries: Vec<String>,
    /// The question; empty when there was none.
    pub probe: Bytes,
    /// Its answers before and after the change; none where nothing was asked.
    pub before: Option<Seen>,
    pub after: Option<Seen>,
    /// What the host must answer afterwards; only of a change whose end is not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<crate::shell::Pattern>,
    pub undo: Way,
    /// How the change is made again, once it has been undone.
    pub redo: Way,
    /// What the backup printed; `undo` may need it.
    pub kept: Bytes,
    /// Where on the host it is, if it is a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How long it waits for a new login that confirms it, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_seconds: Option<u64>,
    /// In a process group of its own, which a time limit can kill.
    pub group: bool,
    pub limit_seconds: u64,
}

impl Way {
    /// A way that holds something hidden is not kept.
    fn forget_hidden(&mut self, holds: fn(&[u8]) -> bool) {
        if holds(&self.script.0) || holds(&self.keep.0) || holds(self.why.as_bytes()) {
            *self = Self { quality: Quality::Impossible, keep: Bytes::default(), script: Bytes::default(), takes_record: false, by_user: false, why: "it holds a secret, which is not kept; apply the playbook again".into() };
        }
    }
}

impl Pin {
    /// What holds something hidden is not kept; then nothing can be made of it later.
    pub fn forget_hidden(&mut self, tainted: bool) {
        self.record.forget_hidden(tainted);
        let holds = if tainted { holds_hidden } else { surely_holds_hidden };
        let is_hit = |deed: &Deed| {
            let expected = deed.expect.as_ref().is_some_and(|pattern| holds(pattern.to_string().as_bytes()));
            holds(&deed.apply.0) || expected || deed.upload.as_ref().is_some_and(|(path, content)| holds(&content.0) || holds(&path.0))
        };
        if self.deed.as_ref().is_some_and(is_hit) {
            self.deed = None;
        }
    }
}

impl Record {
    /// What holds something hidden is not kept: a question is left out together with its answers, a way becomes none. Of a step that has
    /// nothing to do with secrets only what is there by no chance counts.
    pub fn forget_hidden(&mut self, tainted: bool) {
        let holds = if tainted { holds_hidden } else { surely_holds_hidden };
        let said = [&self.before, &self.after].into_iter().flatten().any(|seen| holds(&seen.stdout.0));
        if said || holds(&self.probe.0) {
            (self.probe, self.before, self.after, self.expect) = (Bytes::default(), None, None, None);
            if self.undo.quality == Quality::Exact {
                self.undo.quality = Quality::BestEffort;
                self.undo.why = "whether somebody has edited it since cannot be told, since what the host answered held a secret".into();
            }
        }
        if self.expect.as_ref().is_some_and(|pattern| holds(&pattern.sh()) || holds(pattern.to_string().as_bytes())) {
            self.expect = None;
        }
        if self.path.as_ref().is_some_and(|path| holds(path.as_bytes())) {
            self.path = None;
        }
        self.undo.forget_hidden(holds);
        self.redo.forget_hidden(holds);
        if holds(&self.kept.0) {
            self.kept = Bytes::default();
        }
    }

    /// What a change is about: the path of a file, else the whole question.
    pub fn subject(&self) -> String {
        if let Some(path) = &self.path {
            return path.clone();
        }
        // The ways between two states of a file name it first.
        let undo = String::from_utf8_lossy(&self.undo.script.0).into_owned();
        let path = undo.strip_prefix("file_").and_then(|call| call.split_once(" '")).and_then(|(_, rest)| rest.split_once('\''));
        path.map_or_else(|| String::from_utf8_lossy(&self.probe.0).into_owned(), |(path, _)| path.to_owned())
    }
}

/// A step as it was planned, with the answer that the verdict was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pin {
    /// The question, its answer, and the ways back and forth. Of a step that is in place, only the question and its answer
    /// count.
    pub record: Record,
    /// What is to be done; `None` when it is in place.
    pub deed: Option<Deed>,
}

/// A change that has been decided on and not been made yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deed {
    pub apply: Bytes,
    pub by_user: bool,
    /// Statuses that mean success.
    pub good: Vec<i32>,
    /// What the host must answer afterwards.
    pub expect: Option<crate::shell::Pattern>,
    /// Bytes that have to be on the host first: where, and what.
    pub upload: Option<(Bytes, Bytes)>,
    pub go_on_after_failure: bool,
}

/// An answer of a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    pub status: i32,
    pub stdout: Bytes,
}

/// A way from one state to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Way {
    pub quality: Quality,
    /// Keeps the state that it leaves, for the way back; empty when that way needs nothing.
    pub keep: Bytes,
    pub script: Bytes,
    /// The record of the backup becomes the last word of the script.
    pub takes_record: bool,
    /// The user's own text, with the user's umask and locale.
    pub by_user: bool,
    /// What will be missing, or why there is no way.
    pub why: String,
}

/// How well a way leads back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    Exact,
    BestEffort,
    Impossible,
}

impl Quality {
    pub fn words(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::BestEffort => "best effort",
            Self::Impossible => "impossible",
        }
    }
}

/// Bytes that are mostly text: as text in JSON where they are, else in base64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

const ENCODED: &str = "base64:";

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) if !text.starts_with(ENCODED) => serializer.serialize_str(text),
            _ => serializer.serialize_str(&format!("{ENCODED}{}", base64::engine::general_purpose::STANDARD.encode(&self.0))),
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.strip_prefix(ENCODED) {
            Some(encoded) => base64::engine::general_purpose::STANDARD.decode(encoded).map(Self).map_err(serde::de::Error::custom),
            None => Ok(Self(text.into_bytes())),
        }
    }
}

/// Whoever must know of a change before it is made.
pub trait Memory: Send + Sync {
    /// Remembers durably. Nothing may be changed on the host before this has ended well.
    fn intend(&self, intents: Vec<Intent>) -> std::pin::Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + '_>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_come_back() {
        for bytes in [b"plain".to_vec(), b"a\xff\0b".to_vec(), b"base64:x".to_vec(), Vec::new()] {
            let json = serde_json::to_string(&Bytes(bytes.clone())).expect("JSON");
            assert_eq!(serde_json::from_str::<Bytes>(&json).expect("bytes").0, bytes, "{json}");
        }
    }
}
