//! The contract between a module and the engine.
//!
//! A module is two pure functions. `probe` gives a question in POSIX sh; `compare` turns the answer into a verdict: in
//! place, or a change with its diff, what to apply, what to expect afterwards and how to undo it. Neither waits for
//! anything, neither touches the network. Check mode, diff, drift, verification and rollback follow from that.

mod answer;
mod args;
mod change;
mod content;
pub mod diff;
mod registry;
#[cfg(test)]
pub mod testing;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::remote::Library;
use crate::shell::Script;

pub use answer::Answer;
pub use args::{Lasting, Mode, OneOrMany, Path, Presence};
pub use change::{Action, Again, Change, Download, Effect, Reboot, Undo, Upload};
pub use content::Content;
pub use registry::{Reader, Registration, Registry, described, has_later, refusal, registration};

/// A question that a module asks before anything is changed.
#[derive(Clone, Debug)]
pub enum Question {
    /// There is nothing to ask: the module works without the host.
    None,
    /// Our own sh, without side effects; its stdout and status are the answer.
    Ask(Script),
    /// A command that the user wrote and calls a question. It runs in a process group, in check mode too.
    Run(Script),
}

/// What a module decides from an answer.
#[derive(Debug)]
pub enum Verdict {
    InPlace(Report),
    Differs(Box<Change>),
}

impl Verdict {
    /// Nothing to do and nothing to say.
    pub fn in_place() -> Self {
        Self::InPlace(Report::default())
    }

    pub fn differs(change: Change) -> Self {
        Self::Differs(Box::new(change))
    }
}

/// What a step tells besides its outcome.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Shown to the user; may be empty.
    pub message: String,
    /// Fields of the registered result, such as `stat`.
    pub data: serde_json::Map<String, serde_json::Value>,
    /// Variables that later tasks of this host see.
    pub variables: serde_json::Map<String, serde_json::Value>,
    /// Groups of this run that the host is in from now on.
    pub groups: Vec<String>,
    /// A host that later plays can name.
    pub host: Option<Box<NewHost>>,
    /// The task decided that it has nothing to do here: `creates` exists, `onlyif` says no.
    pub skipped: bool,
}

/// A host that is made known during a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewHost {
    pub name: String,
    pub groups: Vec<String>,
    /// Connection settings, by the names that an inventory gives them.
    pub settings: serde_json::Map<String, serde_json::Value>,
    pub variables: serde_json::Map<String, serde_json::Value>,
}

impl Report {
    pub fn message(text: impl Into<String>) -> Self {
        Self { message: text.into(), ..Self::default() }
    }

    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<serde_json::Value>) -> Self {
        self.data.insert(key.to_owned(), value.into());
        self
    }
}

/// A file on the controller that a module needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// As the user wrote it, relative to the file that names it.
    pub path: String,
    pub kind: WantedKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantedKind {
    /// The bytes of a file, or of a whole folder.
    Copy,
    /// A template, rendered with the variables of the step.
    Template,
}

/// What was found on the controller for a [`Wanted`].
#[derive(Clone, Debug)]
pub enum Local {
    File { content: Arc<Content>, mode: u32 },
    Folder(Arc<Vec<LocalEntry>>),
}

/// One entry of a folder on the controller.
#[derive(Debug)]
pub struct LocalEntry {
    /// Relative to the folder; may be any bytes.
    pub path: Vec<u8>,
    pub mode: u32,
    pub kind: LocalKind,
}

#[derive(Clone, Debug)]
pub enum LocalKind {
    Folder,
    File(Arc<Content>),
    Link(Vec<u8>),
}

/// What a module may look at besides its arguments.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// What was found for each path of [`Module::wants`], under the path as the user wrote it.
    pub files: BTreeMap<String, Local>,
    /// Home folder of the user that the step runs as, for paths that begin with `~/`.
    pub home: String,
    /// Earlier changes of this run are only planned, so what depends on them cannot be judged yet.
    pub after_planned_changes: bool,
}

impl Surroundings {
    /// A path on the host with `~/` replaced.
    pub fn absolute(&self, path: &Path) -> String {
        path.under(&self.home)
    }

    /// The content of a file on the controller.
    ///
    /// # Errors
    /// When it is a folder. The engine has made sure that it exists.
    pub fn content(&self, path: &str) -> Result<&Arc<Content>> {
        match self.files.get(path) {
            Some(Local::File { content, .. }) => Ok(content),
            Some(Local::Folder(_)) => anyhow::bail!("`{path}` is a folder, not a file"),
            None => anyhow::bail!("`{path}` was not found beside the playbook"),
        }
    }
}

/// What a task is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touches {
    Nothing,
    /// Absolute path on the host.
    Path(String),
    /// Name of a service.
    Service(String),
    /// Text of a command.
    Command(String),
}

/// A kind of task. The type holds the arguments of one task, read from the playbook.
pub trait Module: DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// The key in a playbook.
    const NAME: &'static str;
    /// The argument that a bare text stands for, as in `command = "uptime"`.
    const MAIN: Option<&'static str> = None;
    /// Shell functions that `probe` may use.
    const PROBE_LIBRARIES: &'static [&'static Library] = &[];
    /// Shell functions that backup, apply and undo may use, besides those of `probe`.
    const APPLY_LIBRARIES: &'static [&'static Library] = &[];
    /// Arguments that are expressions; they arrive as their value.
    const EXPRESSIONS: &'static [&'static str] = &[];
    /// The arguments are any table at all, such as the variables of `set_fact`.
    const FREE_FORM: bool = false;
    /// Its question and its change are the user's own text, which sees the task's `environment`.
    const RUNS_USER_TEXT: bool = false;

    /// Problems that types cannot express, such as two arguments that exclude each other.
    ///
    /// # Errors
    /// What is wrong, in the words of the user. What follows ` | ` is shown as the help line.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Files on the controller that the task needs.
    fn wants(&self) -> Vec<Wanted> {
        Vec::new()
    }

    /// Longest time the task may need by its own arguments, in seconds.
    fn patience_seconds(&self) -> Option<u64> {
        None
    }

    /// What it is about, where changing that may lock somebody out.
    fn touches(&self, _: &Surroundings) -> Touches {
        Touches::Nothing
    }

    /// Whether the question itself holds something that a list of processes may not show.
    fn has_secret(&self) -> bool {
        false
    }

    /// The shell functions that this very task uses: every byte of them travels to every host.
    fn libraries(&self, _: &Surroundings) -> Libraries {
        Libraries { probe: Self::PROBE_LIBRARIES.to_vec(), apply: Self::APPLY_LIBRARIES.to_vec() }
    }

    /// The question to the host.
    fn probe(&self, around: &Surroundings) -> Question;

    /// What is to be done, given the answer.
    ///
    /// # Errors
    /// Why the task cannot be done on this host.
    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict>;

    /// The way back, where what the change has printed tells it better than the answer from before.
    fn undo_after(&self, _before: &Answer, _printed: &[u8]) -> Option<Undo> {
        None
    }
}

/// The shell functions of a task, in the order in which they build on each other.
#[derive(Clone, Debug, Default)]
pub struct Libraries {
    pub probe: Vec<&'static Library>,
    /// Besides those of the probe.
    pub apply: Vec<&'static Library>,
}

/// A [`Module`] whose type is forgotten.
pub trait Act: Send + Sync {
    fn probe(&self, around: &Surroundings) -> Question;
    /// # Errors
    /// Why the task cannot be done on this host.
    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict>;
    fn undo_after(&self, before: &Answer, printed: &[u8]) -> Option<Undo>;
    fn wants(&self) -> Vec<Wanted>;
    fn patience_seconds(&self) -> Option<u64>;
    fn touches(&self, around: &Surroundings) -> Touches;
    fn has_secret(&self) -> bool;
    /// Texts that may stand in nothing that is shown, such as what a tool says when it fails.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }
    /// The part of the question that holds no secret, which is all that is kept of it. `None`: nothing is.
    fn open_question(&self, _: &Surroundings) -> Option<Script> {
        None
    }
    /// What of an answer belongs to [`open_question`](Self::open_question).
    fn open_answer(&self, _: &Surroundings, _: &[u8]) -> Vec<u8> {
        Vec::new()
    }
    fn libraries(&self, around: &Surroundings) -> Libraries;
}

impl<M: Module> Act for M {
    fn probe(&self, around: &Surroundings) -> Question {
        Module::probe(self, around)
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        Module::compare(self, around, answer)
    }

    fn undo_after(&self, before: &Answer, printed: &[u8]) -> Option<Undo> {
        Module::undo_after(self, before, printed)
    }

    fn wants(&self) -> Vec<Wanted> {
        Module::wants(self)
    }

    fn patience_seconds(&self) -> Option<u64> {
        Module::patience_seconds(self)
    }

    fn touches(&self, around: &Surroundings) -> Touches {
        Module::touches(self, around)
    }

    fn has_secret(&self) -> bool {
        Module::has_secret(self)
    }

    fn libraries(&self, around: &Surroundings) -> Libraries {
        Module::libraries(self, around)
    }
}
