//! SSH through russh, with the guards that russh leaves to us.
//!
//! Every wait has a bound of its own, since a cancelled connect would leak and russh's inactivity limit does not
//! cover the banner. Channels that the server opens are refused. The host key is compared again after a re-key.

mod algorithms;
mod guard;
mod keys;
mod known_hosts;
mod login;
mod stream;
mod trail;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use russh::Channel;
use russh::client::{self, Handle, Msg};

use super::{HostFailure, Reach, Route, Target};
use guard::Guard;
use stream::{Leash, Stream};

pub use algorithms::{Algorithms, Alive};
pub use keys::Keyring;
pub use known_hosts::{KnownHosts, add as add_host_keys, fingerprint, learn as learn_host_key, line as host_key_line};
pub use login::{Agent, Identity, agent_has, usual_keys};
pub use trail::{Stage, Trail};

const LOGIN_LIMIT: Duration = Duration::from_secs(30);
const CHANNEL_LIMIT: Duration = Duration::from_secs(30);

/// A login on one host.
pub struct Session {
    handle: Handle<Guard>,
    /// How the server calls itself.
    server: Arc<OnceLock<Vec<u8>>>,
    /// Why it ended the connection.
    farewell: Arc<OnceLock<String>>,
    /// The shortest round trip so far, in microseconds.
    nearest: AtomicU64,
    /// It has refused a channel.
    has_refused: AtomicBool,
    _leash: Leash,
}

impl Session {
    /// Connects, checks the host key, and logs in.
    ///
    /// # Errors
    /// What went wrong, each with its own advice.
    pub async fn open(target: &Target, reach: &Reach, trail: &Trail) -> Result<Self, HostFailure> {
        let (stream, leash) = Stream::open(target, reach, trail).await?;
        let overture = stream.overture();
        let login = async {
            let guard = Guard::new(target, reach.known(&target.host_key.files)?, trail.clone())?;
            let (server, farewell) = (guard.server.clone(), guard.farewell.clone());
            let config = Arc::new(algorithms::config(target, &guard.algorithms(), guard.trusts_certificates())?);
            let mut handle = match client::connect_stream(config, stream, guard).await {
                Ok(handle) => handle,
                Err(error) => return Err(error.about(target, &overture).await),
            };
            let logged_in = login::log_in(&mut handle, target, &reach.keyring, trail).await;
            logged_in.map_err(|failure| failure.with_farewell(farewell.get()))?;
            Ok(Self { handle, server, farewell, nearest: AtomicU64::new(u64::MAX), has_refused: AtomicBool::new(false), _leash: leash })
        };
        let opened = tokio::time::timeout(LOGIN_LIMIT, login)
            .await
            .unwrap_or_else(|_| {
                let (address, limit) = (target.address.clone(), LOGIN_LIMIT);
                let has_shown_key = trail.steps().iter().any(|(stage, _)| *stage == Stage::HostKey);
                Err(if has_shown_key { HostFailure::LoginSlow { address, limit } } else { HostFailure::LoginTimeout { address, limit } })
            });
        if overture.refusal().is_none() {
            trail.pass(Stage::Banner, overture.version().unwrap_or_default());
        }
        opened
    }

    /// Starts a command on a new channel.
    ///
    /// # Errors
    /// [`HostFailure::Channel`] when the server does not allow one, [`HostFailure::Lost`] when it has gone.
    pub async fn start(&self, command: &str) -> Result<Channel<Msg>, HostFailure> {
        let open = async {
            let asked = Instant::now();
            let channel = self.handle.channel_open_session().await.map_err(|error| match error {
                russh::Error::ChannelOpenFailure(reason) => {
                    self.has_refused.store(true, Ordering::Relaxed);
                    HostFailure::Channel(format!("{reason:?}"))
                }
                other => self.lost(&other),
            })?;
            self.nearest.fetch_min(asked.elapsed().as_micros().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
            // No answer is waited for: what the command prints, or the end of the channel, is the answer.
            channel.exec(false, command).await.map_err(|error| self.lost(&error))?;
            Ok(channel)
        };
        tokio::time::timeout(CHANNEL_LIMIT, open)
            .await
            .unwrap_or(Err(HostFailure::Channel(format!("no answer within {} s", CHANNEL_LIMIT.as_secs()))))
    }

    /// How long an answer of the server takes at the least; a loaded controller takes it for longer.
    pub fn distance(&self) -> Duration {
        Duration::from_micros(self.nearest.load(Ordering::Relaxed))
    }

    /// Whether the server has refused a channel so far.
    pub fn has_refused(&self) -> bool {
        self.has_refused.load(Ordering::Relaxed)
    }

    /// Asks the server for a connection to another host.
    ///
    /// # Errors
    /// [`HostFailure::Tunnel`] when it has none, [`HostFailure::Lost`] when it has gone.
    pub async fn tunnel(&self, address: &str, port: u16) -> Result<Channel<Msg>, HostFailure> {
        let opened = self.handle.channel_open_direct_tcpip(address, u32::from(port), "127.0.0.1", 0).await;
        opened.map_err(|error| match error {
            russh::Error::ChannelOpenFailure(reason) => HostFailure::tunnel(address, port, reason),
            other => self.lost(&other),
        })
    }

    fn lost(&self, error: &russh::Error) -> HostFailure {
        HostFailure::Lost(self.farewell.get().map_or_else(|| error.to_string(), |said| format!("the server said `{}`", said.escape_debug())))
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Dropbear takes commands of 9,000 bytes at most; of others than OpenSSH nothing is known.
    pub fn takes_long_commands(&self) -> bool {
        self.is_one_of(&["OpenSSH", "russh"])
    }

    /// SSH does not demand that a server tells the status of a command, or the signal that ended it.
    pub fn tells_exits(&self) -> bool {
        self.is_one_of(&["OpenSSH", "dropbear", "russh"])
    }

    fn is_one_of(&self, names: &[&str]) -> bool {
        let name = self.server.get().and_then(|name| name.strip_prefix(b"SSH-2.0-"));
        name.is_some_and(|name| names.iter().any(|one| name.starts_with(one.as_bytes())))
    }

    /// Takes leave of the server.
    pub async fn close(&self) {
        let farewell = self.handle.disconnect(russh::Disconnect::ByApplication, "", "");
        let _gone = tokio::time::timeout(Duration::from_secs(1), farewell).await;
    }
}

/// The host key that a server shows, whoever it may be; nothing else is asked of it.
///
/// # Errors
/// Why it cannot be reached.
pub async fn host_key_of(target: &Target, reach: &Reach) -> Result<russh::keys::PublicKey, HostFailure> {
    guard::Looker::look(target, reach, LOGIN_LIMIT).await
}
