//! Every way in which a host cannot be reached or does not answer, each with its own advice.

use std::time::Duration;

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
    #[error("the server at {address} does not speak SSH as expected: {reason}")]
    Handshake { address: String, reason: String },
    #[error("the server at {address} port {port} closes new connections before it speaks SSH{}; it may be throttling logins (MaxStartups, PerSourcePenalties) or refusing this address", said_in_brackets(.said))]
    Throttled { address: String, port: u16, said: String },
    #[error("no algorithm in common with the server at {address} ({what}); for an old server set `legacy_ssh = true` for this host in the inventory")]
    Algorithms { address: String, what: String },
    #[error(
        "the host key of {name} is not known ({algorithm} {fingerprint}); compare it with the host's own, then add it to known_hosts (`ssh-keyscan`), pin it as `host_key` in the inventory, or run with `--accept-new-host-keys`"
    )]
    HostKeyUnknown { name: String, algorithm: String, fingerprint: String },
    #[error(
        "THE HOST KEY OF {name} HAS CHANGED: it shows {algorithm} {fingerprint}, but {place} says otherwise; nothing was sent to it. If the host was reinstalled, remove the old line; if not, somebody may be listening in"
    )]
    HostKeyChanged { name: String, algorithm: String, fingerprint: String, place: String },
    #[error("the host key of {name} is marked @revoked in {place}; nothing was sent to it")]
    HostKeyRevoked { name: String, place: String },
    #[error("known_hosts cannot be used: {0}")]
    KnownHosts(String),
    #[error("login as `{user}` was refused by {address}; tried {tried}; name another key with `--key` or `key = …`, or another user with `-u`")]
    Login { address: String, user: String, tried: String },
    #[error("{0}")]
    Key(String),
    #[error("the server refuses a session on this connection: {0}; look at MaxSessions in its sshd_config")]
    Channel(String),
    #[error("{0}")]
    Upload(String),
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
        matches!(self, Self::Throttled { .. })
    }
}

fn said_in_brackets(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(" (`{}`)", said.escape_debug()) }
}
