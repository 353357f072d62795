//! Decides and does: which hosts, in which order, and on each of them flight after flight until its tasks are done.
//!
//! [`prepare`] checks everything for all hosts without contacting any; [`execute`] then walks every host on its own.
//! What happens is told as events. Shell text and SSH are other rooms' business.

mod adopt;
mod again;
mod beneath;
mod blame;
mod commit;
mod confirm;
mod consent;
mod delegate;
mod evidence;
mod facts;
mod fetch;
mod handlers;
mod impact;
mod joined;
mod landing;
mod ledger;
mod load;
mod look;
mod made_groups;
mod managed;
mod meet;
mod planned;
mod prepare;
mod queue;
mod reboot;
mod record;
mod resolve;
mod rollback;
mod schedule;
mod scope;
mod settle;
mod shard;
mod step;
mod talk;
mod target;
mod tidy;
mod together;
mod unmanaged;
mod walk;


use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::diag::Sources;
use crate::event::{Event, Memory};
use crate::inventory::{Inventory, Method, Settings, Shard};
use crate::module::Registry;
use crate::playbook::Playbook;
use crate::remote::{Reach, Stop};
use crate::secret::Secret;
use crate::ssh_config::SshConfig;
use crate::template::Layer;

pub use adopt::{Adopted, Edit, Rest, adopted, no_patch};
pub use blame::{Told, blame};
pub use consent::{Consent, Wish, Word};
pub use evidence::{Evidence, Told as Testimony, evidence};
pub use facts::COLLECTORS;
pub use fetch::{Fetch, fetch};
pub use managed::{Findings, Managed, ORIGINAL_BYTES, There, original, sharers};
pub use look::{Looked, ShownKey, Standing, look, ways, why};
pub use prepare::{HostPlan, Prepared, pattern_hosts, plans_for, prepare};
pub use planned::{PlannedStep, apply_planned};
pub use resolve::{Finding, Found, OpenStep, resolve};
pub use rollback::{Reversal, in_order, roll_back};
pub use schedule::execute;
pub use scope::host_scope;
pub use unmanaged::{Foreign, Unmanaged, unmanaged};

/// What the command line says about a run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The subcommand, for the record.
    pub command: String,
    pub check: bool,
    pub limit: Vec<String>,
    pub exclude: Vec<String>,
    pub tags: Vec<String>,
    pub skip_tags: Vec<String>,
    pub start_at_task: Option<String>,
    pub forks: usize,
    pub login: Login,
    pub step_limit: Option<Duration>,
    /// How long a host is asked again whose contact was lost amid changes.
    pub resolve_limit: Duration,
    /// How long to wait for a host that another run works on.
    pub wait_lock: Duration,
    /// Paths that are left as they are: patterns of host and path, and what to say of them.
    pub holds: Vec<(String, String, String)>,
    /// A check ends with 2 when something would change.
    pub detailed_exit: bool,
    /// A check tells everything that making its steps later needs.
    pub pins: bool,
    /// Where a check leaves what its steps look after.
    pub found: Option<Findings>,
    /// What commands print is told as it comes.
    pub live: bool,
    /// Once too many hosts have failed, no other one is begun, not even of the same batch.
    pub stops_amid: bool,
    /// Steps that an earlier run has made, which this one continues.
    pub done: Done,
    /// The name that the run was given, where it is not to be a new one.
    pub run_id: Option<String>,
    /// The part of the hosts that this process works on; nothing, where it is all of them.
    pub shard: Option<Shard>,
    /// A play begins on the hosts of a part whatever those of others are at.
    pub plays_overlap: bool,
}

/// Steps that an earlier run has made: host, file and line of the task, and its item.
#[derive(Clone, Debug, Default)]
pub struct Done {
    pub run: String,
    pub steps: std::collections::HashSet<(String, String, usize, Option<String>)>,
}

/// How to log in, where the command line says so.
#[derive(Clone, Debug, Default)]
pub struct Login {
    pub user: Option<String>,
    pub key: Option<PathBuf>,
    pub port: Option<u16>,
    pub become_it: bool,
    pub become_user: Option<String>,
    pub become_method: Option<Method>,
    pub become_password: Option<Secret>,
    /// The password to log in with.
    pub password: Option<Secret>,
    /// Name of the user on this machine, who is the login user unless something else is said.
    pub local_user: String,
    pub home: PathBuf,
    pub connect_timeout: Option<Duration>,
    pub accept_new_host_keys: bool,
}

impl Login {
    /// The port to connect to.
    pub fn port_of(&self, settings: &Settings) -> u16 {
        self.port.or(settings.port).unwrap_or(22)
    }

    /// The user to log in as.
    pub fn user_of<'a>(&'a self, settings: &'a Settings) -> &'a str {
        self.user.as_deref().or(settings.user.as_deref()).unwrap_or(&self.local_user)
    }
}

/// Everything that a run is made from.
#[derive(Clone)]
pub struct Input {
    pub playbooks: Arc<Vec<Playbook>>,
    pub inventory: Arc<Inventory>,
    pub registry: Registry,
    pub sources: Sources,
    /// Variables of `-e`.
    pub extra: Arc<Layer>,
    pub options: Options,
    /// What OpenSSH's configuration says about hosts.
    pub ssh_config: Arc<SshConfig>,
    /// Keys and connections that all hosts share.
    pub reach: Arc<Reach>,
    /// Files of this machine that have been read.
    pub contents: Arc<load::Contents>,
    /// Who must know of every change before it is made; nobody, where nothing is changed.
    pub memory: Option<Arc<dyn Memory>>,
    /// Who is asked before each change; nobody, unless the user says so.
    pub consent: Option<Arc<dyn Consent>>,
    /// Who runs this, for the lock and the ledger: `ann@laptop`.
    pub who: String,
}

/// What all hosts of a run share.
pub(crate) struct Shared {
    pub input: Input,
    pub run: String,
    pub events: mpsc::UnboundedSender<Event>,
    pub stop: watch::Receiver<Stop>,
    pub files: load::Files,
    pub handshakes: schedule::Handshakes,
    /// Bytes of output that may wait to be shown.
    pub room: Arc<tokio::sync::Semaphore>,
    /// Collectors of facts that each play of each playbook names.
    pub named_facts: Vec<Vec<std::collections::BTreeSet<String>>>,
    /// Hosts that tasks have made known, in the order in which they came.
    pub new_hosts: std::sync::Mutex<Vec<crate::module::NewHost>>,
    /// Hosts that tasks were delegated to.
    pub delegates: std::sync::Mutex<delegate::Plans>,
    /// Which numbers the next walker takes that works for another host.
    pub next_lent: std::sync::atomic::AtomicU32,
    /// Number of the next change, over all hosts.
    pub next_order: std::sync::atomic::AtomicU64,
}
