//! SSH through russh, with the guards that russh leaves to us.
//!
//! Every wait has a bound of its own, since a cancelled connect would leak and russh's inactivity limit does not
//! cover the banner. Channels that the server opens are refused. The host key is compared again after a re-key.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use russh::client::{self, AuthResult, ChannelOpenHandle, Handle, Msg};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{Channel, cipher, compression, kex, mac};

use super::tcp::{Overture, Stream};
use super::{HostFailure, KnownHosts, Target, known_hosts};

const LOGIN_LIMIT: Duration = Duration::from_secs(30);
const CHANNEL_LIMIT: Duration = Duration::from_secs(30);
/// sshd counts every key offered; more than this and it hangs up, or starts to throttle us.
const MOST_TRIES: usize = 3;

/// A login on one host.
pub struct Session {
    handle: Handle<Guard>,
    /// How the server calls itself.
    server: Arc<OnceLock<Vec<u8>>>,
}

impl Session {
    /// Connects, checks the host key, and logs in.
    ///
    /// # Errors
    /// What went wrong, each with its own advice.
    pub async fn open(target: &Target, known: &KnownHosts) -> Result<Self, HostFailure> {
        let stream = Stream::open(target).await?;
        let overture = stream.overture();
        let login = async {
            let guard = Guard::new(target, known)?;
            let server = guard.server.clone();
            let config = Arc::new(config(target, &guard));
            let mut handle =
                client::connect_stream(config, stream, guard).await.map_err(|error| error.about(target, &overture))?;
            log_in(&mut handle, target).await?;
            Ok(Self { handle, server })
        };
        tokio::time::timeout(LOGIN_LIMIT, login)
            .await
            .unwrap_or(Err(HostFailure::LoginTimeout { address: target.address.clone(), limit: LOGIN_LIMIT }))
    }

    /// Starts a command on a new channel.
    ///
    /// # Errors
    /// [`HostFailure::Channel`] when the server does not allow one, [`HostFailure::Lost`] when it has gone.
    pub async fn start(&self, command: &str) -> Result<Channel<Msg>, HostFailure> {
        let open = async {
            let channel = self.handle.channel_open_session().await.map_err(|error| match error {
                russh::Error::ChannelOpenFailure(reason) => HostFailure::Channel(format!("{reason:?}")),
                other => HostFailure::Lost(other.to_string()),
            })?;
            // No answer is waited for: what the command prints, or the end of the channel, is the answer.
            channel.exec(false, command).await.map_err(|error| HostFailure::Lost(error.to_string()))?;
            Ok(channel)
        };
        tokio::time::timeout(CHANNEL_LIMIT, open)
            .await
            .unwrap_or(Err(HostFailure::Channel(format!("no answer within {} s", CHANNEL_LIMIT.as_secs()))))
    }

    /// Dropbear takes commands of 9,000 bytes at most; of others than OpenSSH nothing is known.
    pub fn takes_long_commands(&self) -> bool {
        self.server.get().is_some_and(|name| name.starts_with(b"SSH-2.0-OpenSSH") || name.starts_with(b"SSH-2.0-russh"))
    }

    /// Takes leave of the server.
    pub async fn close(&self) {
        let farewell = self.handle.disconnect(russh::Disconnect::ByApplication, "", "");
        let _gone = tokio::time::timeout(Duration::from_secs(1), farewell).await;
    }
}

/// Algorithms, written out so that an update of russh changes nothing unnoticed. AES-GCM first: it costs half of
/// chacha20 on both ends.
fn config(target: &Target, guard: &Guard) -> client::Config {
    let mut kex = vec![
        kex::MLKEM768X25519_SHA256,
        kex::CURVE25519,
        kex::CURVE25519_PRE_RFC_8731,
        kex::ECDH_SHA2_NISTP256,
        kex::ECDH_SHA2_NISTP384,
        kex::ECDH_SHA2_NISTP521,
        kex::DH_GEX_SHA256,
        kex::DH_G16_SHA512,
        kex::DH_G14_SHA256,
    ];
    // curve25519 is three times cheaper than the hybrid for the server too, but only the hybrid keeps today's
    // traffic closed to tomorrow's machines; so the hybrid leads.
    let mut key = vec![
        Algorithm::Ed25519,
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
        Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
        Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
    ];
    let mut cipher = vec![
        cipher::AES_256_GCM,
        cipher::AES_128_GCM,
        cipher::CHACHA20_POLY1305,
        cipher::AES_256_CTR,
        cipher::AES_192_CTR,
        cipher::AES_128_CTR,
    ];
    let mut mac = vec![mac::HMAC_SHA512_ETM, mac::HMAC_SHA256_ETM, mac::HMAC_SHA512, mac::HMAC_SHA256];
    if target.legacy {
        kex.extend([kex::DH_G14_SHA1, kex::DH_GEX_SHA1, kex::DH_G1_SHA1]);
        key.push(Algorithm::Rsa { hash: None });
        cipher.extend([cipher::AES_256_CBC, cipher::AES_192_CBC, cipher::AES_128_CBC]);
        mac.extend([mac::HMAC_SHA1_ETM, mac::HMAC_SHA1]);
    }
    kex.extend([
        kex::EXTENSION_SUPPORT_AS_CLIENT,
        kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
    ]);
    // A host is asked for a kind of key that is on file, else it might show another one and look changed.
    let on_file = guard.algorithms();
    key.sort_by_key(|algorithm| !on_file.iter().any(|known| kind(known) == kind(algorithm)));
    client::Config {
        client_id: russh::SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-mutate_", env!("CARGO_PKG_VERSION")))),
        window_size: 2 << 20,
        maximum_packet_size: 32 << 10,
        channel_buffer_size: 16,
        preferred: russh::Preferred {
            kex: kex.into(),
            key: key.into(),
            cipher: cipher.into(),
            mac: mac.into(),
            compression: Cow::Borrowed(&[compression::NONE]),
            ..russh::Preferred::DEFAULT
        },
        inactivity_timeout: None,
        keepalive_interval: Some(Duration::from_secs(15)),
        keepalive_max: 3,
        nodelay: true,
        ..client::Config::default()
    }
}

/// The three RSA signatures belong to one kind of key.
fn kind(algorithm: &Algorithm) -> Algorithm {
    match algorithm {
        Algorithm::Rsa { .. } => Algorithm::Rsa { hash: None },
        other => other.clone(),
    }
}

async fn log_in(handle: &mut Handle<Guard>, target: &Target) -> Result<(), HostFailure> {
    let mut tried = Vec::new();
    let lost = |error: russh::Error| HostFailure::Handshake { address: target.address.clone(), reason: error.to_string() };
    let explicit = !target.keys.is_empty();
    let candidates = if explicit { target.keys.clone() } else { usual_keys() };
    let mut encrypted = Vec::new();
    let mut rsa_hash = None;
    let mut agent_tried = false;
    if !explicit {
        agent_tried = true;
        if with_agent(handle, target, None, &mut tried).await? {
            return Ok(());
        }
    }
    for path in candidates {
        if tried.len() >= MOST_TRIES {
            break;
        }
        let key = match read_key(&path).await {
            Ok(key) => key,
            Err(KeyProblem::Encrypted) => {
                encrypted.push(path);
                continue;
            }
            Err(KeyProblem::Other(reason)) => {
                if explicit {
                    return Err(HostFailure::Key(format!("the key {} cannot be used: {reason}", path.display())));
                }
                continue;
            }
        };
        if key.algorithm().is_rsa() && rsa_hash.is_none() {
            rsa_hash = handle.best_supported_rsa_hash().await.map_err(lost)?;
        }
        let hash = match rsa_hash {
            Some(best) => best,
            None => Some(HashAlg::Sha256),
        };
        tried.push(format!("key {}", path.display()));
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
        if handle.authenticate_publickey(&target.user, key).await.map_err(lost)?.success() {
            return Ok(());
        }
    }
    // A key that is locked on disk may be open in the agent.
    if !agent_tried && !encrypted.is_empty() && with_agent(handle, target, Some(&encrypted), &mut tried).await? {
        return Ok(());
    }
    if let (Some(path), true) = (encrypted.first(), tried.is_empty()) {
        let path = path.display();
        return Err(HostFailure::Key(format!("the key {path} has a passphrase; open it for this session with `ssh-add {path}`")));
    }
    let tried = if tried.is_empty() { "nothing, since there is no key and no agent".into() } else { tried.join(", ") };
    Err(HostFailure::Login { address: target.address.clone(), user: target.user.clone(), tried })
}

/// Tries the agent's keys, or of these only the ones whose `.pub` file lies beside the given paths.
async fn with_agent(
    handle: &mut Handle<Guard>,
    target: &Target,
    only: Option<&[PathBuf]>,
    tried: &mut Vec<String>,
) -> Result<bool, HostFailure> {
    let Ok(mut agent) = AgentClient::connect_env().await else { return Ok(false) };
    let Ok(identities) = agent.request_identities().await else { return Ok(false) };
    let wanted: Option<Vec<PublicKey>> = only.map(|paths| {
        let public = |path: &PathBuf| {
            let mut name = path.clone().into_os_string();
            name.push(".pub");
            russh::keys::load_public_key(Path::new(&name)).ok()
        };
        paths.iter().filter_map(public).collect()
    });
    for identity in identities {
        let AgentIdentity::PublicKey { key, comment } = identity else { continue };
        let fits = wanted.as_ref().is_none_or(|wanted| wanted.iter().any(|one| one.key_data() == key.key_data()));
        if !fits {
            continue;
        }
        if tried.len() >= MOST_TRIES {
            break;
        }
        let hash = if key.algorithm().is_rsa() { handle.best_supported_rsa_hash().await.ok().flatten().unwrap_or(Some(HashAlg::Sha256)) } else { None };
        tried.push(format!("agent key {comment}"));
        let answer = handle.authenticate_publickey_with(&target.user, key, hash, &mut agent).await;
        if matches!(answer, Ok(AuthResult::Success)) {
            return Ok(true);
        }
    }
    Ok(false)
}

enum KeyProblem {
    Encrypted,
    Other(String),
}

/// Reads a key file. Decoding may take a while, so it has a thread of its own.
async fn read_key(path: &Path) -> Result<russh::keys::PrivateKey, KeyProblem> {
    let path = path.to_owned();
    let read = move || {
        russh::keys::load_secret_key(&path, None).map_err(|error| match error {
            russh::keys::Error::KeyIsEncrypted => KeyProblem::Encrypted,
            other => KeyProblem::Other(other.to_string()),
        })
    };
    tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| Err(KeyProblem::Other(error.to_string())))
}

/// The files that `ssh` tries when none is named.
fn usual_keys() -> Vec<PathBuf> {
    let Some(home) = std::env::home_dir() else { return Vec::new() };
    ["id_ed25519", "id_ecdsa", "id_rsa"]
        .map(|name| home.join(".ssh").join(name))
        .into_iter()
        .filter(|path| path.exists())
        .collect()
}

/// What russh asks of us during a session.
struct Guard {
    name: String,
    address: String,
    port: u16,
    pinned: Vec<PublicKey>,
    known: KnownHosts,
    accept_new: Option<PathBuf>,
    shown: Option<PublicKey>,
    server: Arc<OnceLock<Vec<u8>>>,
}

/// russh's own errors, and our verdict on the host key on its way through russh.
#[derive(Debug)]
enum Trouble {
    Ssh(russh::Error),
    Host(HostFailure),
}

impl From<russh::Error> for Trouble {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

impl Trouble {
    fn about(self, target: &Target, overture: &Overture) -> HostFailure {
        let address = target.address.clone();
        match self {
            Self::Host(failure) => failure,
            Self::Ssh(russh::Error::NoCommonAlgo { kind, .. }) => {
                HostFailure::Algorithms { address, what: format!("{kind:?}").to_lowercase() }
            }
            Self::Ssh(error) => match overture.refusal() {
                // What sshd does to those it has no room for: it closes at once, or says so first.
                Some(said) if said.is_empty() || is_throttle(&said) => HostFailure::Throttled { address, port: target.port, said },
                Some(said) => HostFailure::Handshake { address, reason: format!("it says `{}`", said.escape_debug()) },
                None if matches!(error, russh::Error::Disconnect | russh::Error::HUP | russh::Error::IO(_)) => {
                    HostFailure::Handshake { address, reason: "it closed the connection during the handshake".into() }
                }
                None => HostFailure::Handshake { address, reason: error.to_string() },
            },
        }
    }
}

/// The words of OpenSSH for "too many at once" and for the penalty of an address (`PerSourcePenalties`).
fn is_throttle(said: &str) -> bool {
    said.contains("Exceeded MaxStartups") || said.contains("Not allowed at this time")
}

impl Guard {
    fn new(target: &Target, known: &KnownHosts) -> Result<Self, HostFailure> {
        let pinned: Result<Vec<_>, _> = target.pinned.iter().map(|text| PublicKey::from_openssh(text)).collect();
        let pinned = pinned.map_err(|error| {
            HostFailure::KnownHosts(format!("`host_key` of {} is no public key: {error}", target.name))
        })?;
        Ok(Self {
            name: target.name.clone(),
            address: target.address.clone(),
            port: target.port,
            pinned,
            known: known.clone(),
            accept_new: target.accept_new.clone(),
            shown: None,
            server: Arc::default(),
        })
    }

    fn algorithms(&self) -> Vec<Algorithm> {
        if self.pinned.is_empty() {
            self.known.keys(&self.address, self.port).map(PublicKey::algorithm).collect()
        } else {
            self.pinned.iter().map(PublicKey::algorithm).collect()
        }
    }

    fn verdict(&mut self, key: &PublicKey) -> Result<(), HostFailure> {
        if let Some(first) = &self.shown {
            if first.key_data() == key.key_data() {
                return Ok(());
            }
            return Err(known_hosts::changed(&self.name, key, "its own first key of this connection"));
        }
        if self.pinned.is_empty() {
            match self.known.check(&self.address, self.port, key) {
                Err(HostFailure::HostKeyUnknown { .. }) if self.accept_new.is_some() => self.learn(key)?,
                verdict => verdict?,
            }
        } else if !self.pinned.iter().any(|pinned| pinned.key_data() == key.key_data()) {
            return Err(known_hosts::changed(&self.name, key, "`host_key` in the inventory"));
        }
        self.shown = Some(key.clone());
        Ok(())
    }

    fn learn(&self, key: &PublicKey) -> Result<(), HostFailure> {
        use std::io::Write as _;
        let (Some(path), Some(line)) = (&self.accept_new, known_hosts::line(&self.address, self.port, key)) else {
            return Ok(());
        };
        let add = || -> std::io::Result<()> {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path)?;
            file.lock()?;
            file.write_all(line.as_bytes())?;
            file.sync_all()
        };
        add().map_err(|error| HostFailure::KnownHosts(format!("{}: {error}", path.display())))
    }
}

impl client::Handler for Guard {
    type Error = Trouble;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Trouble> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = shown else {
            return Ok(false);
        };
        self.verdict(key).map(|()| true).map_err(Trouble::Host)
    }

    async fn kex_done(&mut self, _: Option<&[u8]>, _: &russh::Names, session: &mut client::Session) -> Result<(), Trouble> {
        // A later key exchange tells nothing new.
        self.server.get_or_init(|| session.remote_sshid().to_vec());
        Ok(())
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
