//! What happened, remembered: every run with its changes, in a database of this machine or one that several share.
//!
//! [`Journal`] takes down a run while it happens, on a thread of its own; [`Archive`] answers questions about runs that
//! are over. Nothing here talks to a host, and nothing here decides what is done.

mod archive;
mod keeper;
mod lite;
mod place;
mod postgres;
mod schema;
mod store;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use archive::{Archive, Filter};
pub use keeper::{Journal, Opening};
pub use place::{Place, Surroundings, has_password, without_password};

/// A run as it is remembered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub id: String,
    pub command: String,
    /// When it began and ended, in RFC 3339; an end that is missing means that it was killed or is still under way.
    pub started: String,
    pub ended: Option<String>,
    /// User, host and process: `ann@laptop pid 4711`.
    pub who: String,
    pub reason: String,
    /// The words of the command line after the name of the program.
    pub arguments: Vec<String>,
    /// The files that it was made from, with their SHA-256.
    pub files: Vec<(String, String)>,
    /// The run that this one undid.
    pub undoes: Option<String>,
    pub exit: Option<u8>,
    pub seconds: f64,
    /// How many steps ended in which way, by the names of the outcomes.
    pub totals: serde_json::Map<String, serde_json::Value>,
    /// Its parts so far, and how many there are to be; none where it was made in one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<Part>,
    #[serde(skip)]
    pub of_shards: u32,
}

/// A part of a run, made by one process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// `2/4`.
    pub shard: String,
    pub who: String,
    pub started: String,
    pub ended: Option<String>,
    pub exit: Option<u8>,
    pub seconds: f64,
}

/// A host of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Host {
    pub host: String,
    pub outcome: String,
    pub message: String,
    pub totals: serde_json::Map<String, serde_json::Value>,
}

/// A step of a run that changed something, failed, or was begun and never heard of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// Number in the journal, by which steps are told apart.
    #[serde(skip)]
    pub number: i64,
    pub run: String,
    pub host: String,
    #[serde(skip)]
    pub seq: u32,
    pub time: String,
    pub play: String,
    pub task: String,
    pub module: String,
    pub file: String,
    pub line: usize,
    pub item: Option<serde_json::Value>,
    /// `intended` when nobody knows how it ended.
    pub outcome: String,
    pub message: String,
    pub diff: String,
    pub status: i32,
    pub seconds: f64,
    pub handler: bool,
    pub ignored: bool,
    /// The host that it was done for, where that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_host: Option<String>,
    /// Who made it differ, as a check has found out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<serde_json::Value>,
    /// How it can be undone; of a step whose end is not known, as far as that was known before.
    #[serde(skip)]
    pub record: Option<crate::event::Record>,
    /// The run that has undone it.
    pub undone_by: Option<String>,
}

impl Step {
    /// Where its task stands.
    pub fn place(&self) -> crate::event::Place {
        let Self { play, task, module, file, line, item, .. } = self.clone();
        crate::event::Place { play, task, module, file, line, item }
    }

    /// Nobody knows how it ended.
    pub fn is_open(&self) -> bool {
        ["intended", "unknown"].contains(&self.outcome.as_str())
    }

    /// It changed something that has not been undone.
    pub fn can_be_undone(&self) -> bool {
        self.record.is_some() && self.undone_by.is_none() && !self.is_open()
    }
}

/// How a step ended, when that became known later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settled {
    pub outcome: String,
    pub message: String,
    pub record: Option<crate::event::Record>,
    pub time: String,
}

/// Where the journal is: `$XDG_STATE_HOME/mutate/journal.db`, or below `~/.local/state`.
pub fn path(state_home: Option<PathBuf>, home: &Path) -> PathBuf {
    state_home.filter(|path| path.is_absolute()).unwrap_or_else(|| home.join(".local/state")).join("mutate/journal.db")
}
