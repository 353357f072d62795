//! Text to checked playbook. Never talks to a host, and knows modules only through the registry it is given.

mod check;
mod keywords;
mod load;
mod read;
mod splice;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::diag::{Key, Node, Span};
use crate::module::Registration;
use crate::template::Layer;

pub use check::{Collectors, collectors};
pub use load::{from_text, load, registry_of};
pub use splice::{Splice, spliced};

/// The keys of a task that are no module.
pub fn task_keys() -> &'static [&'static str] {
    keywords::TASK
}

/// The keys of a play.
pub fn play_keys() -> &'static [&'static str] {
    keywords::PLAY
}

/// A file of plays, with everything that it includes.
#[derive(Debug)]
pub struct Playbook {
    /// As the user named it.
    pub path: String,
    pub plays: Vec<Play>,
}

/// Tasks for a set of hosts.
#[derive(Debug)]
pub struct Play {
    pub name: String,
    pub span: Span,
    /// Host pattern; may be a template over `-e` and play variables.
    pub hosts: Node,
    pub tasks: Vec<Arc<Task>>,
    pub handlers: Vec<Arc<Task>>,
    /// Play variables and variable files, the strongest first.
    pub variables: Vec<Arc<Layer>>,
    pub defaults: Defaults,
    /// Sizes of the batches, as they were written: counts and percents.
    pub serial: Vec<Limit>,
    pub max_fail: Option<Limit>,
    pub on_failure: OnFailure,
    /// What must be true of every host of a batch before the next one begins.
    pub health: Vec<Arc<Task>>,
    /// What it says of hosts as one whole: `serial`, `max_fail`, `on_failure`.
    pub of_all: Vec<Key>,
}

/// What becomes of a play when too many of its hosts have failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Nothing more begins.
    #[default]
    Stop,
    /// And what the play has changed is undone.
    Rollback,
    /// All hosts have their turn, whatever became of others.
    Continue,
}

impl Play {
    /// Whether so many failed hosts of so many are too many. Among them may be some that were found unhealthy.
    pub fn is_too_many(&self, failed: usize, unhealthy: usize, hosts: usize) -> bool {
        match (self.max_fail, self.on_failure) {
            (_, OnFailure::Continue) => false,
            (Some(limit), _) => failed > limit.of(hosts),
            // Whoever wants everything back, and names no number, means every failure.
            (None, OnFailure::Rollback) => failed > 0,
            // A gate is there to be heeded.
            (None, OnFailure::Stop) => unhealthy > 0,
        }
    }

    /// Whether a handler has this name or listens to it.
    pub fn is_handled(&self, name: &str) -> bool {
        self.handlers.iter().any(|handler| handler.name.text() == Some(name) || handler.listen.iter().any(|topic| topic == name))
    }
}

/// A number of hosts, or a share of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Count(u32),
    Percent(u32),
}

impl Limit {
    /// How many of so many hosts; a percentage is rounded down, so that a limit never lets more through.
    pub fn of(self, hosts: usize) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) => hosts * percent as usize / 100,
        }
    }
}

/// What a play, block, include or role says for the tasks in it, unless they say otherwise.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    pub become_it: Option<bool>,
    pub become_user: Option<Node>,
    pub environment: Vec<Node>,
    pub ignore_errors: Option<Node>,
    pub timeout: Option<Duration>,
    pub no_log: Option<bool>,
    pub check_mode: Option<bool>,
    /// The host on which it is done instead.
    pub delegate_to: Option<Node>,
}

/// One thing asked for, or a block of them.
#[derive(Debug)]
pub struct Task {
    /// A template; the module's name when there is none.
    pub name: Node,
    /// Where the task begins.
    pub span: Span,
    /// Key under which a handler is notified, besides its name.
    pub listen: Vec<String>,
    /// Conditions that must all hold: its own and those of everything around it.
    pub when: Vec<Node>,
    pub repeat: Option<Loop>,
    pub register: Option<String>,
    pub until: Option<Node>,
    /// All hosts of the batch wait here for each other: number of this place in the play, from 1.
    pub barrier: Option<usize>,
    /// One host does it for all of the play.
    pub run_once: bool,
    /// So many hosts at a time.
    pub throttle: Option<u32>,
    /// The words for these three, where they stand.
    pub of_all: Vec<Key>,
    /// It asks whether the host is healthy, which it must be for so long.
    pub soak: Option<Duration>,
    /// How long its change waits for a new login; 0 for not at all, where it would by itself.
    pub confirm: Option<Duration>,
    pub retries: u32,
    pub delay: Duration,
    pub notify: Vec<Node>,
    pub tags: Vec<String>,
    pub changed_when: Vec<Node>,
    pub failed_when: Vec<Node>,
    /// Variables of the task and of everything around it, the strongest first.
    pub variables: Vec<Arc<Layer>>,
    /// Variables that a role gives as defaults, weaker than the inventory.
    pub role_defaults: Vec<Arc<Layer>>,
    pub defaults: Defaults,
    /// Folder to which paths on the controller are relative.
    pub folder: PathBuf,
    /// Folders of a role in which its files and templates are looked for.
    pub role: Option<PathBuf>,
    pub body: Body,
}

#[derive(Debug)]
pub struct Loop {
    /// A list, or an expression that gives one.
    pub items: Node,
    /// Name of the variable that holds the item.
    pub variable: String,
    pub index_variable: Option<String>,
    /// A template shown in place of the item.
    pub label: Option<Node>,
}

#[derive(Debug)]
pub enum Body {
    Module { module: &'static Registration, arguments: Node },
    Block { tasks: Vec<Arc<Task>>, rescue: Vec<Arc<Task>>, always: Vec<Arc<Task>> },
    /// Runs the handlers that have been notified so far.
    FlushHandlers,
    /// Ends the play for this host; handlers that have been notified stay pending.
    EndPlay,
    /// Logs in anew for what follows, such as after the user came into another group.
    ResetConnection,
    /// Facts are asked for again where they are used.
    ClearFacts,
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}
