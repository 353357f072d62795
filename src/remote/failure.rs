//! Every way in which a host cannot be reached or does not answer, each with its own advice.

use std::time::Duration;

use super::ssh::Stage;
use super::wire;

/// Why a host cannot be worked on. The engine chooses by it: give up on the host, settle an outcome, wait.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HostFailure {
    #[error("the name `{name}` cannot be resolved: {reason}; check `address` in the inventory, or DNS")]
    Name { name: String, reason: String },
    #[error("no connection to {address} port {port}: {reason}")]
    Connect { address: String, port: u16, reason: String },
    #[error("{address} port {port} did not answer within {} s; is the host up, and is the port open in its firewall?", .limit.as_secs())]
    ConnectTimeout { address: String, port: u16, limit: Duration },
    #[error("no SSH login within {} s; the server at {address} accepts connections but does not finish the handshake", .limit.as_secs())]
    LoginTimeout { address: String, limit: Duration },
    #[error("no login within {} s; the server at {address} has shown its key, and then the login did not end: an agent may wait for somebody, the server's accounts may be slow, or it wants the password to be changed", .limit.as_secs())]
    LoginSlow { address: String, limit: Duration },
    #[error("the server at {address} does not speak SSH as expected: {reason}")]
    Handshake { address: String, reason: String },
    #[error("the server at {address} port {port} closes new connections before it speaks SSH{}; it may be throttling logins (MaxStartups, PerSourcePenalties) or refusing this address", said_in_brackets(.said))]
    Throttled { address: String, port: u16, said: String },
    #[error("no algorithm in common with the server at {address} ({what}); for an old server set `legacy_ssh = true` for this host in the inventory")]
    Algorithms { address: String, what: String },
    #[error(
        "the host key of {name} is not known ({algorithm} {fingerprint}); compare it with the host's own, then add it to known_hosts (`mutate hostkeys`), pin it as `host_key` in the inventory, or run with `--accept-new-host-keys`"
    )]
    HostKeyUnknown { name: String, algorithm: String, fingerprint: String },
    #[error(
        "THE HOST KEY OF {name} HAS CHANGED: it shows {algorithm} {fingerprint}, but {place} says otherwise; nothing was sent to it. If the host was reinstalled, remove the old line; if not, somebody may be listening in"
    )]
    HostKeyChanged { name: String, algorithm: String, fingerprint: String, place: String },
    #[error("the host key of {name} is marked @revoked in {place}; nothing was sent to it")]
    HostKeyRevoked { name: String, place: String },
    #[error("the host certificate of {name} is not good: {reason}; nothing was sent to it")]
    HostCertificate { name: String, reason: String },
    #[error("known_hosts cannot be used: {0}")]
    KnownHosts(String),
    #[error("login as `{user}` was refused by {address}; tried {tried}; {advice}")]
    Login { address: String, user: String, tried: String, advice: String },
    #[error("the password of `{user}` at {address} has expired; log in by hand and change it (`ssh {user}@{address}`)")]
    PasswordExpired { address: String, user: String },
    #[error("{address} asks `{user}` for something that mutate does not understand (`{}`), so nothing was answered; use a key for this login", .prompt.escape_debug())]
    Prompt { address: String, user: String, prompt: String },
    #[error("jump host {via}: {cause}")]
    Jump { via: String, cause: Box<HostFailure> },
    #[error("it has no connection to {address} port {port}: {reason}")]
    Tunnel { address: String, port: u16, reason: String },
    #[error("the proxy command `{command}` failed: {reason}")]
    Proxy { command: String, reason: String },
    #[error("{0}")]
    Key(String),
    #[error("the server refuses a session on this connection: {0}; look at MaxSessions in its sshd_config")]
    Channel(String),
    #[error("{0}")]
    Upload(String),
    #[error("{0}")]
    Download(String),
    #[error("{0}")]
    Shell(String),
    #[error("{0}")]
    Become(String),
    #[error("contact was lost: {0}")]
    Lost(String),
    #[error("the host sent something that mutate cannot trust: {0}")]
    Damage(#[from] wire::Damage),
    #[error("interrupted")]
    Interrupted,
}

impl HostFailure {
    /// Whether the same attempt may well succeed a little later. A login that was refused is no such thing.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Throttled { .. } => true,
            // What a jump host says of itself has been waited for already.
            _ => false,
        }
    }

    /// Whether somebody said no: to ask again would not help, and may lock the account.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Login { .. } | Self::Key(_) | Self::Prompt { .. } | Self::PasswordExpired { .. } | Self::HostKeyUnknown { .. } | Self::HostKeyChanged { .. } | Self::HostKeyRevoked { .. } | Self::HostCertificate { .. }
        )
    }

    /// Why a jump host made no connection, from the code of RFC 4254 §5.1.
    pub fn tunnel(address: &str, port: u16, reason: russh::ChannelOpenFailure) -> Self {
        let reason = match reason {
            russh::ChannelOpenFailure::AdministrativelyProhibited => "it does not forward; look at AllowTcpForwarding and PermitOpen in its sshd_config".to_owned(),
            russh::ChannelOpenFailure::ConnectFailed => "it cannot reach it; is the host up, and its name or address right as the jump host sees it?".to_owned(),
            other => format!("{other:?}"),
        };
        Self::Tunnel { address: address.to_owned(), port, reason }
    }

    /// The same failure under the name that the inventory gives the host.
    #[must_use]
    pub fn of_host(mut self, host: &str) -> Self {
        match &mut self {
            Self::HostKeyUnknown { name, .. } | Self::HostKeyChanged { name, .. } | Self::HostKeyRevoked { name, .. } | Self::HostCertificate { name, .. } => host.clone_into(name),
            _ => {}
        }
        self
    }

    /// The same failure with what the server said when it hung up.
    #[must_use]
    pub fn with_farewell(self, said: Option<&String>) -> Self {
        match (self, said) {
            (Self::Login { address, user, tried, advice }, Some(said)) => {
                Self::Login { address, user, tried, advice: format!("the server said `{}`; {advice}", said.escape_debug()) }
            }
            (Self::Handshake { address, .. }, Some(said)) => Self::Handshake { address, reason: format!("it says `{}`", said.escape_debug()) },
            (failure, _) => failure,
        }
    }

    /// The step on the way to a host at which it stands.
    pub fn stage(&self) -> Stage {
        match self {
            Self::Name { .. } => Stage::Name,
            Self::Jump { .. } | Self::Tunnel { .. } | Self::Proxy { .. } => Stage::Route,
            Self::Connect { reason, .. } if reason.contains("no route") || reason.contains("unreachable") => Stage::Route,
            Self::Connect { .. } | Self::ConnectTimeout { .. } => Stage::Port,
            Self::LoginTimeout { .. } | Self::Handshake { .. } | Self::Throttled { .. } => Stage::Banner,
            Self::Algorithms { .. } => Stage::KeyExchange,
            Self::HostKeyUnknown { .. } | Self::HostKeyChanged { .. } | Self::HostKeyRevoked { .. } | Self::HostCertificate { .. } | Self::KnownHosts(_) => Stage::HostKey,
            Self::Login { .. } | Self::LoginSlow { .. } | Self::PasswordExpired { .. } | Self::Prompt { .. } | Self::Key(_) => Stage::Login,
            Self::Channel(_) | Self::Upload(_) | Self::Download(_) | Self::Shell(_) | Self::Lost(_) | Self::Damage(_) | Self::Interrupted => Stage::Shell,
            Self::Become(_) => Stage::Become,
        }
    }
}

fn said_in_brackets(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(" (`{}`)", said.escape_debug()) }
}
