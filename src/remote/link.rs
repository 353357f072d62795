//! One login per host, from which shells and uploads get their channels.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::pipe::{self, Event, Input};
use super::ssh::{self, Algorithms, Alive, Identity, Trail};
use super::{HostFailure, Reach};

/// Nearer than this a network carries more than the 100 MB that `gzip` unpacks in a second.
const FAR: Duration = Duration::from_millis(10);

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
    pub route: Route,
    pub identity: Identity,
    pub host_key: HostKey,
    /// Old algorithms are offered too.
    pub legacy: bool,
    pub algorithms: Algorithms,
    pub connect_timeout: Duration,
    pub alive: Alive,
}

/// How to get to a host.
#[derive(Clone, Debug, Default)]
pub enum Route {
    #[default]
    Direct,
    /// Through the connection of another host.
    Through(Arc<Target>),
    /// A command whose stdin and stdout are the connection, its tokens filled.
    Command(String),
}

/// Which keys the host may show.
#[derive(Clone, Debug, Default)]
pub struct HostKey {
    /// Public keys, in place of `known_hosts`.
    pub pinned: Vec<String>,
    /// Files in the form of `known_hosts`.
    pub files: Vec<PathBuf>,
    /// The name that stands there in place of address and port.
    pub alias: Option<String>,
    /// The user's own file among them, to which new keys may be added.
    pub own_file: Option<PathBuf>,
    /// A file to which keys that are not known yet are added without asking.
    pub accept_new: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Ssh,
    /// This machine, without any network.
    Local,
}

impl Target {
    /// What tells this login apart from others, as a jump host.
    pub fn way(&self) -> String {
        let before = match &self.route {
            Route::Direct => String::new(),
            Route::Through(jump) => format!("{} > ", jump.way()),
            Route::Command(command) => format!("`{command}` > "),
        };
        format!("{before}{}@{}:{}", self.user, self.address, self.port)
    }

    /// A proxy command as messages show it: it may hold a password.
    pub fn shown_command(&self, command: &str) -> String {
        command.split_whitespace().next().map_or_else(String::new, |program| format!("{program} …"))
    }
}

/// A login.
pub enum Link {
    Ssh(Box<ssh::Session>),
    Local,
}

impl Link {
    /// Connects and checks the host key. The login goes along with the first shell, upload or download.
    ///
    /// # Errors
    /// Any [`HostFailure`] that says why this host is unreachable.
    pub async fn open(target: &Target, reach: &Reach) -> Result<Self, HostFailure> {
        Self::open_heard(target, reach, &Trail::default()).await
    }

    /// The same, and `trail` tells how far it came.
    ///
    /// # Errors
    /// As [`Link::open`].
    pub async fn open_heard(target: &Target, reach: &Reach, trail: &Trail) -> Result<Self, HostFailure> {
        match target.method {
            Method::Ssh => ssh::Session::open(target, reach, trail).await.map(|session| Self::Ssh(Box::new(session))),
            Method::Local => Ok(Self::Local),
        }
    }

    /// Keeps this until the login has ended, as one of those that a server may have at the same time.
    pub fn hold(&mut self, turn: Option<OwnedSemaphorePermit>) {
        if let Self::Ssh(session) = self {
            session.hold(turn);
        }
    }

    /// Starts a command on a channel of its own, and logs in for that, unless that has been done.
    ///
    /// What of `input` went along with it is taken away; the rest is to be written.
    pub(super) async fn start_with(&self, command: &str, input: &mut Vec<u8>) -> Result<(Input, mpsc::Receiver<Event>), HostFailure> {
        match self {
            Self::Ssh(session) => Ok(pipe::of_channel(session.start(command, input).await?)),
            Self::Local => pipe::of_child(command).map_err(|error| HostFailure::Shell(format!("{error:#}"))),
        }
    }

    /// The same, without any input so far.
    pub(super) async fn start(&self, command: &str) -> Result<(Input, mpsc::Receiver<Event>), HostFailure> {
        self.start_with(command, &mut Vec::new()).await
    }

    /// Whether the first command is on its way.
    pub fn has_sent(&self) -> bool {
        match self {
            Self::Ssh(session) => session.has_sent(),
            Self::Local => true,
        }
    }

    /// Whether the first command may have begun although starting it has failed.
    pub(super) fn is_in_doubt(&self) -> bool {
        match self {
            Self::Ssh(session) => session.is_in_doubt(),
            Self::Local => false,
        }
    }

    /// How long a command may be: Linux allows 128 KiB for one argument, and some servers much less.
    pub(super) fn command_limit_bytes(&self) -> usize {
        match self {
            Self::Ssh(session) if !session.takes_long_commands() => 8 << 10,
            Self::Ssh(_) | Self::Local => 100 << 10,
        }
    }

    /// Whether it surely tells how a command ends.
    pub(super) fn tells_exits(&self) -> bool {
        match self {
            Self::Ssh(session) => session.tells_exits(),
            Self::Local => true,
        }
    }

    /// Whether what is sent takes long enough on its way that a host makes more of it sooner when it comes packed.
    pub async fn is_far(&self) -> bool {
        match self {
            Self::Ssh(session) => session.is_as_far_as(FAR).await,
            Self::Local => false,
        }
    }

    /// Whether several channels at once may carry more than one: the host is far, and has not refused any yet.
    pub(super) async fn is_wide(&self) -> bool {
        match self {
            Self::Ssh(session) => self.is_far().await && !session.has_refused(),
            Self::Local => false,
        }
    }

    /// Takes leave of the server.
    pub async fn close(&self) {
        if let Self::Ssh(session) = self {
            session.close().await;
        }
    }
}
