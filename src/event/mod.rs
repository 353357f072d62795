//! What can happen in a run, as plain data. Whoever shows or remembers a run gets these and nothing else.

mod record;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::secret;

pub use record::{Bytes, Deed, Intent, Memory, Pin, Quality, Record, Seen, Way};

/// How a step ended, from the best to the worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    Skipped,
    Ok,
    /// Was changed; in check mode, would be.
    Changed,
    /// Cannot be judged before an earlier change has been made.
    Pending,
    /// Not begun, since the run was interrupted.
    Cancelled,
    Unreachable,
    Failed,
    /// Contact was lost after it had begun.
    #[default]
    Unknown,
}

impl Outcome {
    /// Every outcome, in the order of the recap.
    pub const ALL: [Self; 8] = [
        Self::Ok,
        Self::Changed,
        Self::Failed,
        Self::Skipped,
        Self::Unreachable,
        Self::Cancelled,
        Self::Pending,
        Self::Unknown,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Changed => "changed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Unreachable => "unreachable",
            Self::Cancelled => "cancelled",
            Self::Pending => "pending",
            Self::Unknown => "unknown",
        }
    }
}

/// From this number on a host knows steps that were done there for other hosts, so many numbers for each of these.
pub const LENT: u32 = 100_000;

/// How many steps ended in which way.
pub type Totals = BTreeMap<Outcome, usize>;

/// One thing that has happened.
#[derive(Clone, Debug)]
pub enum Event {
    RunStart(RunStart),
    /// These hosts of a play are worked on from now on.
    Batch { hosts: Vec<String> },
    HostStart { host: String },
    /// A piece of what a command prints, as it comes.
    Output(Box<Piece>),
    Step(Box<Step>),
    HostEnd(Box<HostEnd>),
    RunEnd(RunEnd),
}

impl Event {
    /// What happened, without anything that is hidden.
    #[must_use]
    pub fn without_hidden(mut self) -> Self {
        if !secret::is_any_hidden() {
            return self;
        }
        let text = |text: &mut String| {
            if let std::borrow::Cow::Owned(masked) = secret::without_hidden(text) {
                *text = masked;
            }
        };
        match &mut self {
            Self::Step(step) => {
                [&mut step.task, &mut step.message, &mut step.diff].into_iter().for_each(text);
                for bytes in [&mut step.stdout, &mut step.stderr] {
                    if let std::borrow::Cow::Owned(masked) = secret::bytes_without_hidden(bytes) {
                        *bytes = masked;
                    }
                }
                step.item.iter_mut().for_each(secret::json_without_hidden);
                let mut data = serde_json::Value::Object(std::mem::take(&mut step.data));
                secret::json_without_hidden(&mut data);
                if let serde_json::Value::Object(data) = data {
                    step.data = data;
                }
                if let Some(record) = &mut step.record {
                    record.forget_hidden(step.tainted);
                }
                if let Some(pin) = &mut step.pin {
                    pin.forget_hidden(step.tainted);
                }
            }
            Self::HostEnd(end) => text(&mut end.message),
            Self::Output(piece) => {
                if let std::borrow::Cow::Owned(masked) = secret::bytes_without_hidden(&piece.bytes) {
                    piece.bytes = masked;
                }
            }
            Self::RunStart(_) | Self::Batch { .. } | Self::HostStart { .. } | Self::RunEnd(_) => {}
        }
        self
    }
}

/// A piece of what a command prints; it ends anywhere.
#[derive(Clone, Debug)]
pub struct Piece {
    pub host: String,
    pub is_stderr: bool,
    pub bytes: Vec<u8>,
    /// Room in memory that is given back once the piece has been shown.
    pub room: Room,
}

/// Held by what waits to be shown, so that a flood of output waits on the host and not in memory.
#[derive(Clone)]
pub struct Room(pub std::sync::Arc<dyn std::any::Any + Send + Sync>);

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Room")
    }
}

#[derive(Clone, Debug)]
pub struct RunStart {
    pub run: String,
    /// The subcommand, such as `apply`.
    pub command: String,
    pub hosts: Vec<String>,
    /// Nothing is changed; `changed` means "would change".
    pub check: bool,
}

/// One task on one host has ended.
#[derive(Clone, Debug, Default)]
pub struct Step {
    pub host: String,
    /// Number by which the host knows it; 0 when it never heard of it.
    pub seq: u32,
    pub play: String,
    pub task: String,
    pub module: String,
    pub file: String,
    pub line: usize,
    /// The item of a loop.
    pub item: Option<serde_json::Value>,
    pub outcome: Outcome,
    /// It failed, and the playbook says to go on: `ignore_errors`, or a `rescue` follows.
    pub forgiven: bool,
    pub is_handler: bool,
    /// What it was asked for holds something hidden.
    pub tainted: bool,
    /// The host on which it was done for `host`, where that is another one.
    pub delegated_to: Option<String>,
    /// It asked whether the host is healthy.
    pub is_health: bool,
    /// Nothing was done: it says what would be.
    pub planned: bool,
    pub message: String,
    pub diff: String,
    /// Exit status of what was run; 0 when nothing was.
    pub status: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// What the module tells besides, such as `stat` or the value that `debug` shows.
    pub data: serde_json::Map<String, serde_json::Value>,
    /// This step undoes the one of this number in the same run.
    pub undoes: Option<u32>,
    /// How the change can be undone; `None` when nothing was changed.
    pub record: Option<Box<Record>>,
    /// In a check: everything that making the step later needs.
    pub pin: Option<Box<Pin>>,
    pub time: Duration,
}

/// Which task a step is of, and where that stands, as an earlier run or a plan remembers it.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Place {
    pub play: String,
    pub task: String,
    pub module: String,
    pub file: String,
    pub line: usize,
    /// The item of a loop.
    pub item: Option<serde_json::Value>,
}

impl Place {
    /// A step there, of which nothing else is known yet.
    pub fn step(&self, host: &str) -> Step {
        let Self { play, task, module, file, line, item } = self.clone();
        Step { host: host.to_owned(), play, task, module, file, line, item, ..Step::default() }
    }

    /// The intent to make a step there.
    pub fn intent(&self, host: &str, draft: Record) -> Intent {
        let Self { task, module, file, line, item, .. } = self.clone();
        Intent { host: host.to_owned(), for_host: None, seq: draft.seq, task, module, file, line, item, draft }
    }
}

impl From<&Step> for Place {
    fn from(step: &Step) -> Self {
        let Step { play, task, module, file, line, item, .. } = step.clone();
        Self { play, task, module, file, line, item }
    }
}

/// Why a host did not get to its end, where the exit code depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Another run holds the lock.
    Locked,
    /// A plan is no longer what was reviewed.
    Stale,
}

/// How far the changes of a host were undone within the run that made them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Undone {
    Completely,
    /// Something is left of them.
    InPart,
}

impl Undone {
    pub fn name(self) -> &'static str {
        match self {
            Self::Completely => "completely",
            Self::InPart => "in part",
        }
    }
}

#[derive(Clone, Debug)]
pub struct HostEnd {
    pub host: String,
    pub outcome: Outcome,
    pub message: String,
    pub totals: Totals,
    pub obstacle: Option<Obstacle>,
    /// What was changed here was undone again within the run.
    pub undone: Option<Undone>,
    /// Names of handlers that were notified and have not run.
    pub pending_handlers: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct RunEnd {
    pub totals: Totals,
    pub exit: u8,
    pub time: Duration,
}

/// The exit code of a run: the worst of its hosts wins.
pub fn exit_code(hosts: &[HostEnd], interrupted: bool) -> u8 {
    let any = |outcome: Outcome| hosts.iter().any(|host| host.outcome == outcome && host.obstacle.is_none());
    let undone = |undone: Undone| hosts.iter().any(|host| host.undone == Some(undone));
    let blocked = |obstacle: Obstacle| hosts.iter().any(|host| host.obstacle == Some(obstacle));
    if interrupted {
        130
    } else if any(Outcome::Unknown) || undone(Undone::InPart) {
        7
    } else if undone(Undone::Completely) {
        6
    } else if any(Outcome::Failed) || any(Outcome::Cancelled) {
        // Without an interrupt nothing is cancelled; if it were, that would be no success.
        4
    } else if any(Outcome::Unreachable) {
        5
    } else if blocked(Obstacle::Locked) {
        8
    } else if blocked(Obstacle::Stale) {
        9
    } else {
        0
    }
}
