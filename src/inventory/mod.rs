//! Who the hosts are: files, groups, variables, and the patterns that choose among them. Knows nothing of tasks.

mod load;
mod names;
mod pattern;
mod read;
mod shard;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use crate::diag::{Node, Span};
use crate::secret::Secret;
use crate::template::Layer;

pub use load::load;
pub use names::{expanded, folded};
pub use pattern::{Mismatch, Pattern};
pub use shard::Shard;

/// The most hosts that one inventory may have.
pub const HOST_LIMIT: usize = 100_000;

/// All hosts and groups, in the order in which they were written.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    pub hosts: IndexMap<String, Host>,
    pub groups: IndexMap<String, Group>,
    /// What holds for every host.
    pub all: Arc<Level>,
}

/// Settings and variables of one level: all, a group, or a host.
#[derive(Debug, Default)]
pub struct Level {
    /// Connection settings as they were written.
    pub settings: Vec<(String, Node)>,
    pub variables: Arc<Layer>,
}

#[derive(Clone, Debug)]
pub struct Host {
    pub name: String,
    pub span: Option<Span>,
    pub level: Arc<Level>,
    /// Names of the groups it is in, directly or through others; the strongest first.
    pub groups: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Group {
    pub level: Arc<Level>,
    /// Hosts that are in it, directly or through others, in the order of the inventory.
    pub hosts: Vec<String>,
    pub children: Vec<String>,
}

/// Connection settings of a host, after all levels.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub address: Option<String>,
    pub port: Option<u16>,
    pub user: Option<String>,
    pub key: Vec<String>,
    pub jump: Vec<String>,
    pub connection: Connection,
    pub become_it: Option<bool>,
    pub become_user: Option<String>,
    pub become_method: Option<Method>,
    pub host_key: Vec<String>,
    pub legacy_ssh: bool,
    pub connect_timeout: Option<Duration>,
    pub password: Option<Secret>,
    pub password_file: Option<PathBuf>,
    pub become_password: Option<Secret>,
    pub become_password_file: Option<PathBuf>,
    /// How long, of how many runs, and how much the host keeps: ledgers and backups.
    pub keep_days: Option<u32>,
    pub keep_runs: Option<u32>,
    pub keep_mb: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Connection {
    #[default]
    Ssh,
    Local,
}

/// The program that changes the user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    #[default]
    Sudo,
    Su,
    Doas,
}

/// A host as `ssh` names it: `user@host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    pub user: Option<String>,
    pub host: String,
    pub port: Option<u16>,
}

impl Destination {
    /// Reads `[user@]host[:port]`, also with `ssh://` before it and with brackets around an IPv6 address.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("ssh://").unwrap_or(text);
        let (user, rest) = text.rsplit_once('@').map_or((None, text), |(user, rest)| (Some(user), rest));
        let (host, port) = match rest.strip_prefix('[') {
            Some(bracketed) => {
                let (host, after) = bracketed.split_once(']')?;
                (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
            }
            // More than one colon is an IPv6 address without a port.
            None if rest.matches(':').count() == 1 => rest.split_once(':').map(|(host, port)| (host, Some(port)))?,
            None => (rest, None),
        };
        let port = match port {
            Some(port) => Some(port.parse().ok().filter(|port| *port > 0)?),
            None => None,
        };
        let good = is_address(host) && user.is_none_or(is_user);
        good.then(|| Self { user: user.map(str::to_owned), host: host.to_owned(), port })
    }
}

impl Inventory {
    /// The levels of a host: its own, its groups' from child to parent, and that of all; the strongest first.
    pub fn levels(&self, name: &str) -> Vec<Arc<Level>> {
        let Some(host) = self.hosts.get(name) else { return vec![self.all.clone()] };
        let groups = host.groups.iter().filter_map(|group| self.groups.get(group)).map(|group| group.level.clone());
        std::iter::once(host.level.clone()).chain(groups).chain([self.all.clone()]).collect()
    }

    /// The variables of a host, in layers, the strongest first.
    pub fn layers(&self, name: &str) -> Vec<Arc<Layer>> {
        self.levels(name).iter().map(|level| level.variables.clone()).filter(|layer| !layer.entries.is_empty()).collect()
    }
}

pub use read::{RESERVED, check_templates, check_variables, is_address, is_user, is_variable_name, settings};
