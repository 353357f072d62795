//! What a module wants to be done to a host.

use std::sync::Arc;
use std::time::Duration;

use super::{Content, Report};
use crate::shell::{Pattern, Script};

/// A change: what it does, what must be true afterwards, and the way back.
#[derive(Debug, Clone)]
pub struct Change {
    /// Before and after in a few words, such as `1.0` and `1.1`.
    pub from: String,
    pub to: String,
    /// Unified diff of what changes; empty when `from` and `to` say it all.
    pub diff: String,
    /// Makes the backup and prints the record that [`Undo::Restore`] needs. Empty: nothing to keep.
    pub keep: Script,
    pub apply: Action,
    /// What the probe must answer afterwards; `None` when nothing can be said.
    pub expect: Option<Pattern>,
    pub undo: Undo,
    /// What the probe answers afterwards, where that is known to the byte and nothing but the content of a file changes.
    pub leaves: Option<Vec<u8>>,
    /// How the state that this change makes can itself be kept and brought back, once it has been undone. `None`: by
    /// making the change again.
    pub again: Option<Again>,
    pub report: Report,
    pub effect: Effect,
    /// It starts the host again, and is done when that is back.
    pub reboot: Option<Reboot>,
    /// It is no change of the host: a file comes from there.
    pub download: Option<Download>,
    /// What the probe answers holds something that nobody may see.
    pub hides_answer: bool,
}

/// A file that comes to the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// Absolute path on the host.
    pub path: Vec<u8>,
    /// Of its content, in hexadecimal.
    pub sha256: String,
    /// As the user wrote it, relative to the file that names it.
    pub dest: String,
    /// `dest` is the file itself, or its folder; else the folder below which each host has its own.
    pub flat: bool,
}

/// What to wait for after a host was told to start again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reboot {
    /// What tells the boot that ends, from `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
    /// Longest time until it is back.
    pub limit: Duration,
    /// How long to wait after that.
    pub after: Duration,
    /// Shell command that must succeed before it counts as back.
    pub test: Option<String>,
}

/// A pre-image of what a change has made: taken before the change is undone, and put back when that is undone.
#[derive(Debug, Clone, PartialEq)]
pub struct Again {
    /// Prints the record that `back` needs.
    pub keep: Script,
    /// The record becomes its last word.
    pub back: Script,
}

impl Change {
    /// A change that is applied by our own quick sh, is verified, and is undone by `undo`.
    pub fn new(from: impl Into<String>, to: impl Into<String>, apply: Script, expect: Pattern, undo: Undo) -> Self {
        Self {
            from: from.into(),
            to: to.into(),
            diff: String::new(),
            keep: Script::default(),
            apply: Action { script: apply, ..Action::default() },
            expect: Some(expect),
            undo,
            leaves: None,
            again: None,
            report: Report::default(),
            effect: Effect::Change,
            reboot: None,
            download: None,
            hides_answer: false,
        }
    }

    /// Whether it and its undo see the task's `environment`: what a user wrote, and every tool that may reach out, such as
    /// a package manager behind a proxy.
    pub fn sees_environment(&self) -> bool {
        self.apply.by_user || self.apply.group
    }
}

/// What is run on the host.
#[derive(Debug, Clone)]
pub struct Action {
    pub script: Script,
    /// It may hang or run long, so it gets a process group that a time limit can kill.
    pub group: bool,
    /// It is the user's own text and runs with the user's umask and locale.
    pub by_user: bool,
    /// Statuses that mean success.
    pub good: Vec<i32>,
    /// Bytes that have to be on the host first.
    pub upload: Option<Upload>,
}

impl Default for Action {
    fn default() -> Self {
        Self { script: Script::default(), group: false, by_user: false, good: vec![0], upload: None }
    }
}

/// Bytes for a temporary file on the host, sent over a channel of their own before the step begins.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Absolute path of the temporary file.
    pub path: Vec<u8>,
    pub content: Arc<Content>,
    /// A file there that may hold most of it already.
    pub old: Option<Vec<u8>>,
}

/// How a change counts once it has been made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It is a change.
    Change,
    /// It is a change only when the probe answers differently afterwards.
    ChangeIfAnswerDiffers,
    /// It changes nothing, such as waiting for a port.
    Nothing,
}

/// The way back from a change.
#[derive(Debug, Clone, PartialEq)]
pub enum Undo {
    /// Exactly as before, by this script. It runs as `apply` did: in a process group or not.
    Run(Script),
    /// Exactly as before, from the record that `keep` printed; the record becomes the last word of this call.
    Restore(Script),
    /// Most of it; the text says what is missing.
    BestEffort(Script, String),
    /// Most of it, from the record, as [`Undo::Restore`]; the text says what is missing.
    RestoreMost(Script, String),
    /// There is no way back; the text says why.
    Impossible(String),
}
