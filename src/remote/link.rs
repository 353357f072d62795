//! One login per host, from which shells and uploads get their channels.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;

use super::pipe::{self, Event, Input};
use super::{HostFailure, KnownHosts, ssh};

/// Where a host is and how to log in there.
#[derive(Clone, Debug)]
pub struct Target {
    /// Name in the inventory.
    pub name: String,
    pub method: Method,
    /// Host name or address to connect to.
    pub address: String,
    pub port: u16,
    pub user: String,
    /// Key files to log in with. When empty, the agent's keys and the usual files are tried.
    pub keys: Vec<PathBuf>,
    /// Public keys that the host must show, in place of `known_hosts`.
    pub pinned: Vec<String>,
    /// Old algorithms are offered too.
    pub legacy: bool,
    pub connect_timeout: Duration,
    /// A file to which keys that are not known yet are added without asking.
    pub accept_new: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Ssh,
    /// This machine, without any network.
    Local,
}

/// A login.
pub enum Link {
    Ssh(ssh::Session),
    Local,
}

impl Link {
    /// Connects and logs in.
    ///
    /// # Errors
    /// Any [`HostFailure`] that says why this host is unreachable.
    pub async fn open(target: &Target, known_hosts: &KnownHosts) -> Result<Self, HostFailure> {
        match target.method {
            Method::Ssh => ssh::Session::open(target, known_hosts).await.map(Self::Ssh),
            Method::Local => Ok(Self::Local),
        }
    }

    /// Starts a command on a channel of its own.
    pub(super) async fn start(&self, command: &str) -> Result<(Input, mpsc::Receiver<Event>), HostFailure> {
        match self {
            Self::Ssh(session) => Ok(pipe::of_channel(session.start(command).await?)),
            Self::Local => pipe::of_child(command).map_err(|error| HostFailure::Shell(format!("{error:#}"))),
        }
    }

    /// How long a command may be: Linux allows 128 KiB for one argument, and some servers much less.
    pub(super) fn command_limit_bytes(&self) -> usize {
        match self {
            Self::Ssh(session) if !session.takes_long_commands() => 8 << 10,
            Self::Ssh(_) | Self::Local => 100 << 10,
        }
    }

    /// Takes leave of the server.
    pub async fn close(&self) {
        if let Self::Ssh(session) = self {
            session.close().await;
        }
    }
}
