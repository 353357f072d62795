//! What russh asks of us during a session: is this the right key? And what a server has no business asking.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use russh::client::{self, ChannelOpenHandle, Msg};
use russh::keys::{Algorithm, PublicKey, PublicKeyOrCertificate};
use russh::{Channel, Disconnect};

use super::known_hosts::{self, KnownHosts};
use super::stream::{Overture, Stream};
use super::{HostFailure, Reach, Stage, Target, Trail, algorithms};

/// More banners than this before a login, or longer ones, are no greeting.
const MOST_BANNERS: usize = 32;
const BANNER_BYTES: usize = 64 << 10;

/// Looks after one session.
pub struct Guard {
    name: String,
    /// Under which name and port the key is on file; no port stands for an alias.
    known_as: (String, Option<u16>),
    pinned: Vec<PublicKey>,
    known: Arc<KnownHosts>,
    accept_new: Option<PathBuf>,
    shown: Option<PublicKey>,
    banners: (usize, usize),
    trail: Trail,
    /// How the server calls itself.
    pub server: Arc<OnceLock<Vec<u8>>>,
    /// Why the server ended the connection, in its own words.
    pub farewell: Arc<OnceLock<String>>,
    /// It has ended the connection in order. Of one that goes through others nobody knows who ended it.
    pub has_hung_up: Arc<AtomicBool>,
    is_direct: bool,
}

/// russh's own errors, and our verdict on the host key on its way through russh.
#[derive(Debug)]
pub enum Trouble {
    Ssh(russh::Error),
    Host(HostFailure),
}

impl From<russh::Error> for Trouble {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

impl Trouble {
    /// What it means for whoever wanted to reach the target.
    pub async fn about(self, target: &Target, overture: &Overture) -> HostFailure {
        overture.heard_out().await;
        let address = target.address.clone();
        match self {
            Self::Host(failure) => failure,
            Self::Ssh(russh::Error::NoCommonAlgo { kind, theirs, .. }) => {
                let theirs: String = theirs.join(", ").chars().take(300).collect();
                HostFailure::Algorithms { address, what: format!("{}: it has {}", format!("{kind:?}").to_lowercase(), theirs.escape_debug()) }
            }
            Self::Ssh(error) => match (overture.refusal(), overture.complaint(), &target.route) {
                (Some(said), complaint, super::Route::Command(command)) if said.is_empty() => {
                    let reason = complaint.unwrap_or_else(|| "it ended before the server had said anything".into());
                    HostFailure::Proxy { command: target.shown_command(command), reason }
                }
                // What sshd does to those it has no room for: it closes at once, or says so first.
                (Some(said), ..) if said.is_empty() || is_throttle(&said) => HostFailure::Throttled { address, port: target.port, said },
                (Some(said), ..) => HostFailure::Handshake { address, reason: format!("it says `{}`", said.escape_debug()) },
                (None, ..) if matches!(error, russh::Error::Disconnect | russh::Error::HUP | russh::Error::IO(_)) => {
                    HostFailure::Handshake { address, reason: "it closed the connection during the handshake".into() }
                }
                (None, ..) => HostFailure::Handshake { address, reason: error.to_string() },
            },
        }
    }
}

/// The words of OpenSSH for "too many at once" and for the penalty of an address (`PerSourcePenalties`).
fn is_throttle(said: &str) -> bool {
    said.contains("Exceeded MaxStartups") || said.contains("Not allowed at this time")
}

impl Guard {
    /// A guard for a session with the target.
    ///
    /// # Errors
    /// When a pinned key is none.
    pub fn new(target: &Target, known: Arc<KnownHosts>, trail: Trail) -> Result<Self, HostFailure> {
        let pinned: Result<Vec<_>, _> = target.host_key.pinned.iter().map(|text| PublicKey::from_openssh(text)).collect();
        let pinned = pinned.map_err(|error| {
            HostFailure::KnownHosts(format!("`host_key` of {} is no public key: {error}", target.name))
        })?;
        let known_as = match &target.host_key.alias {
            Some(alias) => (alias.clone(), None),
            None => (target.address.clone(), Some(target.port)),
        };
        Ok(Self {
            name: target.name.clone(),
            known_as,
            pinned,
            known,
            accept_new: target.host_key.accept_new.clone(),
            shown: None,
            banners: (0, 0),
            trail,
            server: Arc::default(),
            farewell: Arc::default(),
            has_hung_up: Arc::default(),
            is_direct: matches!(target.route, super::super::Route::Direct),
        })
    }

    /// The kinds of keys that are on file for the host.
    pub fn algorithms(&self) -> Vec<Algorithm> {
        if self.pinned.is_empty() {
            self.known.keys(&self.known_as.0, self.known_as.1).map(PublicKey::algorithm).collect()
        } else {
            self.pinned.iter().map(PublicKey::algorithm).collect()
        }
    }

    /// Whether some authority on file may vouch for the host.
    pub fn trusts_certificates(&self) -> bool {
        self.pinned.is_empty() && self.known.has_authority(&self.known_as.0, self.known_as.1)
    }

    fn verdict(&mut self, shown: &PublicKeyOrCertificate) -> Result<(), HostFailure> {
        let (key, certificate) = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => (key.clone(), None),
            PublicKeyOrCertificate::Certificate(certificate) => (PublicKey::from(certificate.public_key().clone()), Some(certificate)),
        };
        if let Some(first) = &self.shown {
            if first.key_data() == key.key_data() {
                return Ok(());
            }
            return Err(known_hosts::changed(&self.name, &key, "its own first key of this connection"));
        }
        if self.pinned.is_empty() {
            let (name, port) = (self.known_as.0.as_str(), self.known_as.1);
            match self.known.check(name, port, &key, certificate) {
                Err(HostFailure::HostKeyUnknown { .. }) if self.accept_new.is_some() => self.learn(&key)?,
                verdict => verdict.map_err(|failure| failure.of_host(&self.name))?,
            }
        } else if !self.pinned.iter().any(|pinned| pinned.key_data() == key.key_data()) {
            return Err(known_hosts::changed(&self.name, &key, "`host_key` in the inventory"));
        }
        let by = if certificate.is_some() { " by certificate" } else { "" };
        self.trail.pass(Stage::HostKey, format!("{} {}{by}", key.algorithm(), known_hosts::fingerprint(&key)));
        self.shown = Some(key);
        Ok(())
    }

    fn learn(&self, key: &PublicKey) -> Result<(), HostFailure> {
        let Some(path) = &self.accept_new else { return Ok(()) };
        known_hosts::learn(path, &self.known_as.0, self.known_as.1, key).map_err(|failure| failure.of_host(&self.name))
    }
}

impl client::Handler for Guard {
    type Error = Trouble;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Trouble> {
        self.trail.pass(Stage::KeyExchange, "the algorithms fit");
        self.verdict(shown).map(|()| true).map_err(Trouble::Host)
    }

    async fn kex_done(&mut self, _: Option<&[u8]>, _: &russh::Names, session: &mut client::Session) -> Result<(), Trouble> {
        // A later key exchange tells nothing new.
        let name = self.server.get_or_init(|| session.remote_sshid().to_vec());
        self.trail.pass(Stage::Banner, String::from_utf8_lossy(name).trim().to_owned());
        Ok(())
    }

    async fn auth_banner(&mut self, banner: &str, _: &mut client::Session) -> Result<(), Trouble> {
        self.banners = (self.banners.0 + 1, self.banners.1 + banner.len());
        if self.banners.0 > MOST_BANNERS || self.banners.1 > BANNER_BYTES {
            let reason = "it greets without end".to_owned();
            return Err(Trouble::Host(HostFailure::Handshake { address: self.known_as.0.clone(), reason }));
        }
        Ok(())
    }

    async fn disconnected(&mut self, reason: client::DisconnectReason<Trouble>) -> Result<(), Trouble> {
        match reason {
            client::DisconnectReason::ReceivedDisconnect(info) => {
                let said: String = info.message.chars().take(300).collect();
                if !said.is_empty() && !matches!(info.reason_code, Disconnect::ByApplication) {
                    self.farewell.get_or_init(|| said);
                }
                Ok(())
            }
            client::DisconnectReason::Error(error) => {
                match &error {
                    Trouble::Host(failure) => {
                        self.farewell.get_or_init(|| failure.to_string());
                    }
                    Trouble::Ssh(russh::Error::IO(error)) if self.is_direct && error.kind() == std::io::ErrorKind::UnexpectedEof => self.has_hung_up.store(true, Ordering::Relaxed),
                    Trouble::Ssh(_) => {}
                }
                Err(error)
            }
        }
    }

    // A server has no business opening channels to us: agent, X11 and forwarded ports are all refused by dropping
    // the handle.

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Trouble> {
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Trouble> {
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Trouble> {
        Ok(())
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Trouble> {
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Trouble> {
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Trouble> {
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Trouble> {
        Ok(())
    }
}

/// Takes down the key that a server shows, and goes no further.
pub struct Looker {
    shown: Arc<OnceLock<PublicKey>>,
}

impl Looker {
    /// The key that a server shows.
    ///
    /// # Errors
    /// Why it shows none.
    pub async fn look(target: &Target, reach: &Reach, limit: Duration) -> Result<PublicKey, HostFailure> {
        let (stream, _leash) = Stream::open(target, reach, &Trail::default()).await?;
        let overture = stream.overture();
        let shown: Arc<OnceLock<PublicKey>> = Arc::default();
        // The kinds that are on file come first, so that the table tells what has changed.
        let known = Guard::new(target, reach.known(&target.host_key.files)?, Trail::default())?;
        let config = Arc::new(algorithms::config(target, &known.algorithms(), false)?);
        let looked = tokio::time::timeout(limit, client::connect_stream(config, stream, Self { shown: shown.clone() })).await;
        if let Some(key) = shown.get() {
            return Ok(key.clone());
        }
        Err(match looked {
            Ok(Err(trouble)) => trouble.about(target, &overture).await,
            Ok(Ok(_)) => HostFailure::Handshake { address: target.address.clone(), reason: "it shows no key".into() },
            Err(_) => HostFailure::LoginTimeout { address: target.address.clone(), limit },
        })
    }
}

impl client::Handler for Looker {
    type Error = Trouble;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Trouble> {
        if let PublicKeyOrCertificate::PublicKey { key, .. } = shown {
            self.shown.get_or_init(|| key.clone());
        }
        Ok(false)
    }
}
