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
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use russh::Channel;
use russh::client::{self, Ahead, Handle, Msg};
use tokio::sync::OwnedSemaphorePermit;

use super::{HostFailure, Reach, Route, Target};
use guard::Guard;
use login::{First, Haste};
use stream::{Leash, Stream};

pub use algorithms::{Algorithms, Alive};
pub use keys::Keyring;
pub use known_hosts::{KnownHosts, add as add_host_keys, fingerprint, learn as learn_host_key, line as host_key_line};
pub use login::{Agent, Identity, agent_has, usual_keys};
pub use trail::{Stage, Trail};

const LOGIN_LIMIT: Duration = Duration::from_secs(30);
const CHANNEL_LIMIT: Duration = Duration::from_secs(30);
/// So many bytes of input may go along with a login: every server takes packets of 32 KiB.
const ALONG_BYTES: usize = 24 << 10;

/// A connection to one host whose key is right. The login goes along with the first thing that is wanted of it.
pub struct Session {
    /// Until then.
    waiting: tokio::sync::Mutex<Option<Box<Waiting>>>,
    /// From then on.
    handle: OnceLock<Handle<Guard>>,
    /// How the server calls itself.
    server: Arc<OnceLock<Vec<u8>>>,
    /// Why it ended the connection.
    farewell: Arc<OnceLock<String>>,
    /// How long the way to it took to be made.
    made_in: Duration,
    /// The shortest answer so far, in microseconds.
    nearest: AtomicU64,
    /// It has been asked for nothing but its answer.
    is_measured: AtomicBool,
    /// It has refused a channel.
    has_refused: AtomicBool,
    /// How far the first command has come.
    first: Mutex<First>,
    /// The server itself has ended the connection, in order.
    has_hung_up: Arc<AtomicBool>,
    _leash: Leash,
}

/// What the login needs.
struct Waiting {
    handle: Handle<Guard>,
    target: Target,
    keyring: Arc<Keyring>,
    trail: Trail,
    turn: Option<OwnedSemaphorePermit>,
}

impl Session {
    /// Connects and checks the host key.
    ///
    /// # Errors
    /// What went wrong, each with its own advice.
    pub async fn open(target: &Target, reach: &Reach, trail: &Trail) -> Result<Self, HostFailure> {
        let (stream, leash) = Stream::open(target, reach, trail).await?;
        let (overture, made_in) = (stream.overture(), stream.made_in());
        let greeting = async {
            let guard = Guard::new(target, reach.known(&target.host_key.files)?, trail.clone())?;
            let (server, farewell, has_hung_up) = (guard.server.clone(), guard.farewell.clone(), guard.has_hung_up.clone());
            let config = Arc::new(algorithms::config(target, &guard.algorithms(), guard.trusts_certificates())?);
            let handle = match client::connect_stream(config, stream, guard).await {
                Ok(handle) => handle,
                Err(error) => return Err(error.about(target, &overture).await),
            };
            let waiting = Box::new(Waiting { handle, target: target.clone(), keyring: reach.keyring.clone(), trail: trail.clone(), turn: None });
            Ok(Self {
                waiting: tokio::sync::Mutex::new(Some(waiting)),
                handle: OnceLock::new(),
                server,
                farewell,
                made_in,
                nearest: AtomicU64::new(u64::MAX),
                is_measured: AtomicBool::new(false),
                has_refused: AtomicBool::new(false),
                first: Mutex::new(First::Here),
                has_hung_up,
                _leash: leash,
            })
        };
        let opened = tokio::time::timeout(LOGIN_LIMIT, greeting)
            .await
            .unwrap_or_else(|_| Err(HostFailure::LoginTimeout { address: target.address.clone(), limit: LOGIN_LIMIT }));
        if overture.refusal().is_none() {
            trail.pass(Stage::Banner, overture.version().unwrap_or_default());
        }
        opened
    }

    /// What is to be kept until the login has ended.
    pub fn hold(&mut self, turn: Option<OwnedSemaphorePermit>) {
        if let Some(waiting) = self.waiting.get_mut() {
            waiting.turn = turn;
        }
    }

    /// Logs in, unless that has been done. Where the first command went along, its channel comes back.
    async fn logged_in(&self, first: Option<(&str, &[u8])>) -> Result<(&Handle<Guard>, Option<Channel<Msg>>), HostFailure> {
        let mut waiting = self.waiting.lock().await;
        let Some(mut login) = waiting.take() else {
            let over = || HostFailure::Lost("the login on this connection did not end well".into());
            return Ok((self.handle.get().ok_or_else(over)?, None));
        };
        let asked = Instant::now();
        let haste = self.first_channel(&login.target).map(|channel| Haste {
            ahead: first.map(|(command, input)| Ahead { channel, command: command.into(), input: input.to_vec() }),
            first: &self.first,
        });
        // Whatever may start a command would have to have room for it.
        let logging_in = Box::pin(login::log_in(&mut login.handle, &login.target, &login.keyring, &login.trail, haste));
        let address = || login.target.address.clone();
        let opening = tokio::time::timeout(LOGIN_LIMIT, logging_in)
            .await
            .unwrap_or_else(|_| Err(HostFailure::LoginSlow { address: address(), limit: LOGIN_LIMIT }))
            .map_err(|failure| failure.with_farewell(self.farewell.get()))?;
        self.has_answered(asked);
        let handle = self.handle.get_or_init(|| login.handle);
        drop(waiting);
        let Some(opening) = opening else { return Ok((handle, None)) };
        let channel = answered(async {
            let opened = handle.opened(opening).await;
            match &opened {
                Ok(_) => self.has_come(First::Begun),
                Err(russh::Error::ChannelOpenFailure(_)) => self.has_come(First::Here),
                Err(_) => {}
            }
            opened.map_err(|error| self.no_channel(error))
        });
        Ok((handle, Some(channel.await?)))
    }

    fn has_come(&self, first: First) {
        *self.first.lock().expect("nothing panics while it holds this lock") = first;
    }

    /// Logs in, unless that has been done.
    ///
    /// # Errors
    /// Why there is no login.
    pub async fn log_in(&self) -> Result<(), HostFailure> {
        self.logged_in(None).await.map(|_| ())
    }

    /// The number that the server gives to its first channel, where the login may go out in one piece with a first command: OpenSSH takes that, of
    /// others nothing is known.
    fn first_channel(&self, target: &Target) -> Option<u32> {
        let known = [("OpenSSH", 0), ("russh_practice", 2)];
        known.into_iter().find(|(name, _)| !target.legacy && self.is_one_of(&[name])).map(|(_, number)| number)
    }

    /// Starts a command on a new channel. What of `input` went along with it is taken away.
    ///
    /// # Errors
    /// Why there is no login, [`HostFailure::Channel`] when the server does not allow a channel, [`HostFailure::Lost`] when it has gone.
    pub async fn start(&self, command: &str, input: &mut Vec<u8>) -> Result<Channel<Msg>, HostFailure> {
        let along = if input.len() <= ALONG_BYTES { input.len() } else { 0 };
        let (handle, opened) = self.logged_in(Some((command, &input[..along]))).await?;
        if let Some(channel) = opened {
            input.drain(..along);
            return Ok(channel);
        }
        let open = async {
            let asked = Instant::now();
            let channel = handle.channel_open_session().await.map_err(|error| self.no_channel(error))?;
            self.has_answered(asked);
            // No answer is waited for: what the command prints, or the end of the channel, is the answer.
            channel.exec(false, command).await.map_err(|error| self.lost(&error))?;
            self.has_come(First::Begun);
            Ok(channel)
        };
        answered(open).await
    }

    fn no_channel(&self, error: russh::Error) -> HostFailure {
        match error {
            russh::Error::ChannelOpenFailure(reason) => {
                self.has_refused.store(true, Ordering::Relaxed);
                HostFailure::Channel(format!("{reason:?}"))
            }
            other => self.lost(&other),
        }
    }

    fn has_answered(&self, asked: Instant) {
        self.nearest.fetch_min(asked.elapsed().as_micros().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Whether an answer of the server takes as long as this at the least; a loaded controller takes it for longer.
    ///
    /// A login takes longer than an answer, and what made the way may be nearer than the server: where the two do not agree, the server is asked.
    pub async fn is_as_far_as(&self, limit: Duration) -> bool {
        let nearest = || Duration::from_micros(self.nearest.load(Ordering::Relaxed));
        if nearest() >= limit
            && self.made_in < limit
            && let Some(handle) = self.handle.get()
            && !self.is_measured.swap(true, Ordering::Relaxed)
        {
            let asked = Instant::now();
            if let Ok(Ok(())) = tokio::time::timeout(CHANNEL_LIMIT, handle.send_ping()).await {
                self.has_answered(asked);
            }
        }
        nearest() >= limit
    }

    /// Whether the first command may have begun although starting it has failed.
    ///
    /// Before a login is answered, a server that takes leave, or ends the connection in order, has begun nothing.
    pub fn is_in_doubt(&self) -> bool {
        match self.how_far() {
            First::Here | First::Begun => false,
            First::Sent => self.farewell.get().is_none() && !self.has_hung_up.load(Ordering::Relaxed),
            First::LoggedIn => true,
        }
    }

    /// Whether the first command is on its way.
    pub fn has_sent(&self) -> bool {
        self.how_far() != First::Here
    }

    fn how_far(&self) -> First {
        *self.first.lock().expect("nothing panics while it holds this lock")
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
        let (handle, _) = self.logged_in(None).await?;
        let opened = handle.channel_open_direct_tcpip(address, u32::from(port), "127.0.0.1", 0).await;
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
        self.handle.get().is_some_and(Handle::is_closed)
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
        let Some(handle) = self.handle.get() else { return };
        let farewell = handle.disconnect(russh::Disconnect::ByApplication, "", "");
        let _gone = tokio::time::timeout(Duration::from_secs(1), farewell).await;
    }
}

/// A channel, unless the server takes too long for it.
async fn answered(channel: impl Future<Output = Result<Channel<Msg>, HostFailure>>) -> Result<Channel<Msg>, HostFailure> {
    let late = || HostFailure::Channel(format!("no answer within {} s", CHANNEL_LIMIT.as_secs()));
    tokio::time::timeout(CHANNEL_LIMIT, channel).await.unwrap_or_else(|_| Err(late()))
}

/// The host key that a server shows, whoever it may be; nothing else is asked of it.
///
/// # Errors
/// Why it cannot be reached.
pub async fn host_key_of(target: &Target, reach: &Reach) -> Result<russh::keys::PublicKey, HostFailure> {
    guard::Looker::look(target, reach, LOGIN_LIMIT).await
}
