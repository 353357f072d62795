//! The practice fleet: an SSH server in this process, whose hosts are folders.
//!
//! Each host listens on a loopback port of its own and has a temporary home folder. A command that is run on it is run
//! by the real `/bin/sh` as the present user, in that folder; the machine itself stays as it was. The same fleet
//! carries `examples/practice.rs` and the tests.

#![allow(dead_code, reason = "each program that includes this file uses a part of it")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use russh::keys::{Algorithm, PrivateKey, PublicKey, key::safe_rng};
use russh::server::{Auth, Msg, Session};
use russh::{Channel, ChannelId};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// How the fleet misbehaves.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Added to every byte's way, in each direction.
    pub delay: Duration,
    /// No login is accepted.
    pub refuse_login: bool,
    /// No login is accepted while a file `no-login` is in the host's home, or `closed` stands in `conf` and `armed` is there; and no
    /// connection while a file `down` is.
    pub obeys_files: bool,
    /// The login shell prints this before anything else.
    pub noise: String,
    /// What comes on stdout is held back this long, so that stderr is always ahead of it.
    pub late_stdout: Duration,
    /// The same for stderr, so that stdout is always ahead of it.
    pub late_stderr: Duration,
    /// The login shell in place of `/bin/sh`.
    pub shell: Option<String>,
    /// Sessions that a connection may have at once; `None` for as many as it likes.
    pub most_sessions: Option<usize>,
    /// So many connections are closed before the server speaks SSH, with these words.
    pub turned_away: usize,
    pub turned_away_with: String,
    /// The password that lets everybody in, too.
    pub password: Option<String>,
    /// It is not taken as a password, but asked for with these words, one round after the other.
    pub prompts: Vec<String>,
    /// Keys alone are not enough: a password must follow.
    pub both: bool,
    /// An authority in whose name certificates let users in.
    pub authority: Option<PublicKey>,
    /// No connection is made to another host.
    pub no_forwarding: bool,
}

/// Bytes that nobody can compress.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[4]
        })
        .collect()
}

/// What a program said until it ended, and the most memory that it ever had, in MiB. The system counts that for all children of this process
/// together, and other tests have children in it too.
pub fn watched(command: &mut std::process::Command) -> (std::process::Output, u64) {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
    let status = format!("/proc/{}/status", child.id());
    let waiting = std::thread::spawn(move || child.wait_with_output().expect("the program ends"));
    let mut most_kib = 0;
    while !waiting.is_finished() {
        let status = std::fs::read_to_string(&status).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        most_kib = most_kib.max(line.trim().trim_end_matches(" kB").parse().unwrap_or(0));
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(most_kib > 0, "{status} was never seen");
    (waiting.join().expect("the program ends"), most_kib >> 10)
}

/// One host of the fleet.
#[derive(Clone)]
pub struct Host {
    pub name: String,
    pub port: u16,
    pub home: PathBuf,
    counts: Arc<Counts>,
    cut: Arc<AtomicBool>,
    /// How often it has been cut; a connection from before a cut stays dead.
    cuts: Arc<AtomicUsize>,
    /// After so many more messages, in either direction, every connection is closed; 0 for never.
    left: Arc<AtomicUsize>,
    closed: Arc<tokio::sync::Notify>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    /// Requests to be let in with nothing, which ask what else would do.
    nones: AtomicUsize,
    commands: AtomicUsize,
    /// How often the direction of traffic has turned towards the server.
    turns: AtomicUsize,
    /// Bytes on the wire towards the server, and bytes that its shells print: how many frames carry these is a matter of chance.
    bytes_up: AtomicUsize,
    bytes_down: AtomicUsize,
    tunnels: AtomicUsize,
    /// Passwords and answers that were given.
    passwords: AtomicUsize,
    /// Keys that were offered.
    keys: AtomicUsize,
}

impl Host {
    /// Connections made to other hosts through this one.
    pub fn tunnels(&self) -> usize {
        self.counts.tunnels.load(Ordering::SeqCst)
    }

    pub fn passwords(&self) -> usize {
        self.counts.passwords.load(Ordering::SeqCst)
    }

    pub fn keys(&self) -> usize {
        self.counts.keys.load(Ordering::SeqCst)
    }

    pub fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// Requests to be let in, with a key or with nothing.
    pub fn requests(&self) -> usize {
        self.counts.keys.load(Ordering::SeqCst) + self.counts.nones.load(Ordering::SeqCst)
    }

    /// Commands started on it so far.
    pub fn commands(&self) -> usize {
        self.counts.commands.load(Ordering::SeqCst)
    }

    /// Round trips so far, as a wire between both would count them.
    pub fn turns(&self) -> usize {
        self.counts.turns.load(Ordering::SeqCst)
    }

    /// Bytes so far: on the wire towards the server, and those that its shells have printed.
    pub fn bytes(&self) -> (usize, usize) {
        (self.counts.bytes_up.load(Ordering::SeqCst), self.counts.bytes_down.load(Ordering::SeqCst))
    }

    /// From now on nothing passes in either direction, and nobody is told. New connections can be made after `mend`.
    pub fn cut(&self) {
        self.cuts.fetch_add(1, Ordering::SeqCst);
        self.cut.store(true, Ordering::SeqCst);
    }

    /// Closes every connection in place of the message of this number from now on, of those to and from its shells.
    pub fn close_at(&self, message: usize) {
        self.left.store(message, Ordering::SeqCst);
    }

    /// How many messages there are to go until then; 0 when it has happened.
    pub fn messages_left(&self) -> usize {
        self.left.load(Ordering::SeqCst)
    }

    /// Whether a message may pass.
    fn passes(&self) -> bool {
        let before = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(1))).unwrap_or(0);
        if before == 1 {
            self.closed.notify_waiters();
        }
        before != 1
    }

    pub fn mend(&self) {
        self.cut.store(false, Ordering::SeqCst);
    }
}

/// A running fleet. It ends when this is dropped.
pub struct Fleet {
    pub folder: tempfile::TempDir,
    pub hosts: Vec<Host>,
    pub inventory: PathBuf,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Fleet {
    /// Starts hosts with these names.
    pub fn start(names: &[&str], faults: &Faults) -> Self {
        let folder = tempfile::Builder::new().prefix("practice-fleet-").tempdir().expect("a temporary folder");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let client_key = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).expect("a key");
        let key_file = folder.path().join("id_ed25519");
        write_private(&key_file, client_key.to_openssh(russh::keys::ssh_key::LineEnding::LF).expect("a key file").as_bytes());
        let mut inventory = format!("user = \"practice\"\nkey = \"{}\"\n\n[hosts]\n", key_file.display());
        let mut hosts = Vec::new();
        for name in names {
            let home = folder.path().join(name);
            std::fs::create_dir(&home).expect("a home folder");
            let host_key = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).expect("a host key");
            let public = host_key.public_key().to_openssh().expect("a public key");
            let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).expect("a port");
            let port = listener.local_addr().expect("an address").port();
            let host = Host { name: (*name).into(), port, home, counts: Arc::default(), cut: Arc::default(), cuts: Arc::default(), left: Arc::default(), closed: Arc::default() };
            inventory.push_str(&format!("{name} = {{ address = \"127.0.0.1\", port = {port}, host_key = \"{}\" }}\n", public.trim()));
            runtime.spawn(serve(listener, host.clone(), host_key, client_key.public_key().clone(), faults.clone()));
            hosts.push(host);
        }
        let path = folder.path().join("inventory.toml");
        std::fs::write(&path, inventory).expect("writing the inventory");
        Self { folder, hosts, inventory: path, runtime: Some(runtime) }
    }

    pub fn host(&self, name: &str) -> &Host {
        self.hosts.iter().find(|host| host.name == name).expect("a host of the fleet")
    }

    /// Writes a file into the fleet's own folder, such as a playbook, and gives its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join("files").join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("making a folder");
        std::fs::write(&path, text).expect("writing a file");
        path
    }
}

fn write_private(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, bytes).expect("writing a key");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("protecting a key");
}

async fn serve(listener: TcpListener, host: Host, host_key: PrivateKey, allowed: PublicKey, faults: Faults) {
    let config = Arc::new(russh::server::Config {
        // By this name mutate knows that it takes a login in one piece, as OpenSSH does and russh as published does not.
        server_id: russh::SshId::Standard("SSH-2.0-russh_practice".into()),
        keys: vec![host_key],
        auth_rejection_time: Duration::from_millis(10),
        auth_rejection_time_initial: Some(Duration::ZERO),
        methods: russh::MethodSet::server_supported(),
        inactivity_timeout: None,
        nodelay: true,
        ..russh::server::Config::default()
    });
    while let Ok((stream, _)) = listener.accept().await {
        if faults.obeys_files && host.home.join("down").exists() {
            continue;
        }
        let earlier = host.counts.connections.fetch_add(1, Ordering::SeqCst);
        let _nodelay = stream.set_nodelay(true);
        if earlier < faults.turned_away {
            let words = faults.turned_away_with.clone();
            tokio::spawn(async move {
                let mut stream = stream;
                let _told = stream.write_all(words.as_bytes()).await;
            });
            continue;
        }
        let handler = Login { host: host.clone(), allowed: allowed.clone(), faults: faults.clone(), inputs: HashMap::new(), sessions: Arc::default(), round: 0, has_key: false };
        let (near, far) = tokio::io::duplex(1 << 20);
        tokio::spawn(wire(stream, far, host.clone(), faults.delay));
        let config = config.clone();
        tokio::spawn(async move {
            if let Ok(session) = russh::server::run_stream(config, near, handler).await {
                let _ended = session.await;
            }
        });
    }
}

/// Carries bytes between a client and the server, late and counted.
async fn wire(stream: TcpStream, server: tokio::io::DuplexStream, host: Host, delay: Duration) {
    let (client_read, client_write) = stream.into_split();
    let (server_read, server_write) = tokio::io::split(server);
    let towards_server = Arc::new(AtomicBool::new(false));
    let closed = host.closed.clone();
    let up = carry(client_read, server_write, host.clone(), delay, towards_server.clone(), true);
    let down = carry(server_read, client_write, host, delay, towards_server, false);
    // When one direction ends, so does the other.
    tokio::select! { () = up => {}, () = down => {}, () = closed.notified() => {} }
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin + Send + 'static,
    host: Host,
    delay: Duration,
    towards_server: Arc<AtomicBool>,
    is_up: bool,
) {
    let (sender, mut late) = mpsc::unbounded_channel::<(tokio::time::Instant, Vec<u8>)>();
    let (begun, cutting) = (host.cuts.load(Ordering::SeqCst), host.clone());
    let is_cut = move || cutting.cut.load(Ordering::SeqCst) || cutting.cuts.load(Ordering::SeqCst) != begun;
    let is_cut_late = is_cut.clone();
    let writer = tokio::spawn(async move {
        while let Some((due, bytes)) = late.recv().await {
            tokio::time::sleep_until(due).await;
            if is_cut_late() {
                std::future::pending::<()>().await;
            }
            if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
                return;
            }
        }
        let _ended = to.shutdown().await;
    });
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length) = from.read(&mut buffer).await {
        if length == 0 {
            break;
        }
        if is_cut() {
            std::future::pending::<()>().await;
        }
        if is_up {
            host.counts.bytes_up.fetch_add(length, Ordering::SeqCst);
        }
        if towards_server.swap(is_up, Ordering::SeqCst) != is_up && is_up {
            host.counts.turns.fetch_add(1, Ordering::SeqCst);
        }
        let due = tokio::time::Instant::now() + delay;
        if sender.send((due, buffer[..length].to_vec())).is_err() {
            break;
        }
    }
    drop(sender);
    let _written = writer.await;
}

/// One login and its channels.
struct Login {
    host: Host,
    allowed: PublicKey,
    faults: Faults,
    inputs: HashMap<ChannelId, mpsc::UnboundedSender<Vec<u8>>>,
    /// Sessions open on this connection.
    sessions: Arc<AtomicUsize>,
    /// Prompts that have been answered.
    round: usize,
    /// A key was accepted, and a password must follow.
    has_key: bool,
}

impl Login {
    fn methods(&self) -> russh::MethodSet {
        let mut methods = vec![russh::MethodKind::PublicKey];
        if self.faults.password.is_some() {
            methods.push(if self.faults.prompts.is_empty() { russh::MethodKind::Password } else { russh::MethodKind::KeyboardInteractive });
        }
        russh::MethodSet::from(methods.as_slice())
    }

    fn refusal(&self) -> Auth {
        Auth::Reject { proceed_with_methods: Some(self.methods()), partial_success: false }
    }

    fn judge(&mut self, answer: &str) -> Auth {
        self.host.counts.passwords.fetch_add(1, Ordering::SeqCst);
        let good = self.faults.password.as_deref() == Some(answer) && (!self.faults.both || self.has_key);
        if good { Auth::Accept } else { self.refusal() }
    }
}

impl russh::server::Handler for Login {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, _: &str, key: russh::server::VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        let home = &self.host.home;
        let closed = || home.join("armed").exists() && std::fs::read_to_string(home.join("conf")).is_ok_and(|conf| conf.contains("closed"));
        let refused = self.faults.refuse_login || self.faults.obeys_files && (home.join("no-login").exists() || closed());
        self.host.counts.keys.fetch_add(1, Ordering::SeqCst);
        let good = !refused && self.faults.authority.is_none() && key.public_key.key_data() == self.allowed.key_data();
        if good && self.faults.both {
            self.has_key = true;
            return Ok(Auth::Reject { proceed_with_methods: Some(self.methods()), partial_success: true });
        }
        Ok(if good { Auth::Accept } else { self.refusal() })
    }

    async fn auth_openssh_certificate(&mut self, _: &str, certificate: &russh::keys::Certificate) -> Result<Auth, russh::Error> {
        let good = self.faults.authority.as_ref().is_some_and(|authority| authority.key_data() == certificate.signature_key());
        Ok(if good { Auth::Accept } else { self.refusal() })
    }

    async fn auth_none(&mut self, _: &str) -> Result<Auth, russh::Error> {
        self.host.counts.nones.fetch_add(1, Ordering::SeqCst);
        Ok(self.refusal())
    }

    async fn auth_password(&mut self, _: &str, password: &str) -> Result<Auth, russh::Error> {
        if self.faults.password.is_none() || !self.faults.prompts.is_empty() {
            return Ok(self.refusal());
        }
        Ok(self.judge(password))
    }

    async fn auth_keyboard_interactive<'a>(&'a mut self, _: &str, _: &str, response: Option<russh::server::Response<'a>>) -> Result<Auth, russh::Error> {
        if self.faults.prompts.is_empty() {
            return Ok(self.refusal());
        }
        if let Some(response) = response {
            self.round += 1;
            let answer = response.into_iter().next().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
            if self.round >= self.faults.prompts.len() {
                return Ok(self.judge(&answer));
            }
        }
        let prompt = self.faults.prompts[self.round].clone();
        Ok(Auth::Partial { name: "".into(), instructions: "".into(), prompts: vec![(prompt.into(), false)].into() })
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        address: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: russh::server::ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        if self.faults.no_forwarding {
            reply.reject(russh::ChannelOpenFailure::AdministrativelyProhibited).await;
            return Ok(());
        }
        let Ok(mut stream) = TcpStream::connect((address, u16::try_from(port).unwrap_or(0))).await else {
            reply.reject(russh::ChannelOpenFailure::ConnectFailed).await;
            return Ok(());
        };
        self.host.counts.tunnels.fetch_add(1, Ordering::SeqCst);
        reply.accept().await;
        tokio::spawn(async move {
            let mut channel = channel.into_stream();
            let _ended = tokio::io::copy_bidirectional(&mut channel, &mut stream).await;
        });
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: russh::server::ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        if self.faults.most_sessions.is_some_and(|most| self.sessions.load(Ordering::SeqCst) >= most) {
            reply.reject(russh::ChannelOpenFailure::AdministrativelyProhibited).await;
            return Ok(());
        }
        self.sessions.fetch_add(1, Ordering::SeqCst);
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(&mut self, channel: ChannelId, command: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        self.host.counts.commands.fetch_add(1, Ordering::SeqCst);
        let command = String::from_utf8_lossy(command).into_owned();
        let (input, output) = mpsc::unbounded_channel();
        self.inputs.insert(channel, input);
        session.channel_success(channel)?;
        let running = run(command, self.host.clone(), self.faults.clone(), channel, session.handle(), output);
        let sessions = self.sessions.clone();
        tokio::spawn(async move {
            running.await;
            sessions.fetch_sub(1, Ordering::SeqCst);
        });
        Ok(())
    }

    async fn data(&mut self, channel: ChannelId, data: &[u8], _: &mut Session) -> Result<(), russh::Error> {
        if !self.host.passes() {
            return Ok(());
        }
        if let Some(input) = self.inputs.get(&channel) {
            // A command that has ended reads no more.
            let _taken = input.send(data.to_vec());
        }
        Ok(())
    }

    async fn channel_eof(&mut self, channel: ChannelId, _: &mut Session) -> Result<(), russh::Error> {
        self.inputs.remove(&channel);
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _: &mut Session) -> Result<(), russh::Error> {
        self.inputs.remove(&channel);
        Ok(())
    }
}

async fn run(
    command: String,
    host: Host,
    faults: Faults,
    channel: ChannelId,
    handle: russh::server::Handle,
    mut input: mpsc::UnboundedReceiver<Vec<u8>>,
) {
    let home = host.home.clone();
    let shell = faults.shell.clone().unwrap_or_else(|| "/bin/sh".into());
    let child = tokio::process::Command::new(&shell)
        .arg("-c")
        .arg(&command)
        .env_clear()
        .env("HOME", &home)
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("USER", "practice")
        .env("SHELL", &shell)
        // Keeps the state of a fleet that runs as root out of the machine's own.
        .env("XDG_STATE_HOME", home.join(".local/state"))
        .current_dir(&home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn();
    let Ok(mut child) = child else {
        let _told = handle.exit_status_request(channel, 127).await;
        let _closed = handle.close(channel).await;
        return;
    };
    if !faults.noise.is_empty() {
        let _sent = handle.data(channel, faults.noise.clone().into_bytes()).await;
    }
    let mut stdin = child.stdin.take();
    let feeding = tokio::spawn(async move {
        while let Some(bytes) = input.recv().await {
            let Some(pipe) = stdin.as_mut() else { return };
            if pipe.write_all(&bytes).await.is_err() || pipe.flush().await.is_err() {
                return;
            }
        }
    });
    let stdout = tokio::spawn(forward(child.stdout.take(), channel, handle.clone(), None, faults.late_stdout, host.clone()));
    let stderr = tokio::spawn(forward(child.stderr.take(), channel, handle.clone(), Some(1), faults.late_stderr, host));
    let exit = child.wait().await.expect("a child that is ours");
    // What a daemon that was left behind still holds open must not hold the channel.
    let _drained = tokio::time::timeout(Duration::from_millis(300), async { tokio::join!(stdout, stderr) }).await;
    feeding.abort();
    let _told = match (exit.code(), std::os::unix::process::ExitStatusExt::signal(&exit)) {
        (Some(status), _) => handle.exit_status_request(channel, u32::try_from(status).expect("0 to 255")).await,
        (None, Some(9)) => handle.exit_signal_request(channel, russh::Sig::KILL, false, String::new(), String::new()).await,
        (None, _) => handle.exit_signal_request(channel, russh::Sig::TERM, false, String::new(), String::new()).await,
    };
    let _ended = handle.eof(channel).await;
    let _closed = handle.close(channel).await;
}

async fn forward(from: Option<impl AsyncRead + Unpin>, channel: ChannelId, handle: russh::server::Handle, extended: Option<u32>, late: Duration, host: Host) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; 32 << 10];
    while let Ok(length) = from.read(&mut buffer).await {
        if length == 0 {
            return;
        }
        host.counts.bytes_down.fetch_add(length, Ordering::SeqCst);
        let bytes = buffer[..length].to_vec();
        tokio::time::sleep(late).await;
        if !host.passes() {
            return;
        }
        let sent = match extended {
            None => handle.data(channel, bytes).await.is_ok(),
            Some(kind) => handle.extended_data(channel, kind, bytes).await.is_ok(),
        };
        if !sent {
            return;
        }
    }
}
