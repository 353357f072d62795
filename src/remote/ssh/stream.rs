//! What carries SSH to a host: a TCP connection, a channel through a jump host, or a command. With an ear for what comes
//! before SSH begins, and a leash that ends it with its session.

use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use russh::ChannelStream;
use russh::client::Msg;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{HostFailure, Reach, Route, Session, Stage, Target, Trail};
use crate::shell::split_words;

/// What is kept of the first bytes; a version line and a refusal are both shorter than 255 bytes (RFC 4253 §4.2).
const OVERTURE_BYTES: usize = 512;
/// As long as three signs of life are missed.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNHEARD_LIMIT: std::time::Duration = std::time::Duration::from_secs(60);
/// Bytes of a host behind a jump host that may wait for somebody to read them, and for how long when there are more.
const WAITING_BYTES: usize = 16 << 20;
const UNREAD_LIMIT: std::time::Duration = std::time::Duration::from_secs(30);
const PIECE_BYTES: usize = 32 << 10;
/// How long what a proxy command says last may take to come.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// What is kept of what a proxy command complains about.
const COMPLAINT_BYTES: usize = 4096;

/// A connection on its way to russh.
pub struct Stream {
    carrier: Carrier,
    overture: Overture,
    /// How long the last part of the way took to be made; nothing where that is not known.
    made_in: Duration,
    /// Ends the connection when the other end of it is dropped: russh's own task would wait for ever.
    leash: oneshot::Receiver<()>,
    is_over: bool,
}

enum Carrier {
    Tcp(TcpStream),
    /// The jump host stays connected for as long as anybody goes through it.
    Jump { channel: DuplexStream, _session: Arc<Session> },
    Command(Box<Piped>),
}

/// A command whose stdin and stdout are the connection.
struct Piped {
    input: ChildStdin,
    output: ChildStdout,
    _child: Group,
}

/// A command with all that it has started, which ends with the connection.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0.id().and_then(|pid| i32::try_from(pid).ok()) {
            let _gone = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
        }
    }
}

/// Whoever holds it holds the connection.
pub struct Leash(#[allow(dead_code, reason = "it acts by being dropped")] oneshot::Sender<()>);

/// The first bytes that the server sent: before a login it says there why it will have none.
#[derive(Clone, Default)]
pub struct Overture {
    heard: Arc<Mutex<Vec<u8>>>,
    /// What a proxy command said on stderr, and who listens to it.
    complaint: Arc<Mutex<Vec<u8>>>,
    listener: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Overture {
    fn hear(&self, bytes: &[u8]) {
        let mut heard = self.heard.lock().expect("nothing panics while it holds this lock");
        let room = OVERTURE_BYTES - heard.len();
        heard.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// What a server said that never came to speak SSH: its first line, or nothing at all. `None` once it did.
    pub fn refusal(&self) -> Option<String> {
        let heard = self.heard.lock().expect("nothing panics while it holds this lock");
        let text = String::from_utf8_lossy(&heard);
        if text.lines().any(|line| line.starts_with("SSH-")) {
            return None;
        }
        // The first line says what it is, be it a refusal or another protocol.
        Some(text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned())
    }

    /// How the server calls itself.
    pub fn version(&self) -> Option<String> {
        let heard = self.heard.lock().expect("nothing panics while it holds this lock");
        String::from_utf8_lossy(&heard).lines().find(|line| line.starts_with("SSH-")).map(|line| line.trim().to_owned())
    }

    /// Waits until a proxy command that is over has been heard out.
    pub async fn heard_out(&self) {
        let listener = self.listener.lock().expect("nothing panics while it holds this lock").take();
        if let Some(listener) = listener {
            // A process that it has started may hold its stderr for ever.
            let _heard = tokio::time::timeout(LAST_WORDS, listener).await;
        }
    }

    /// The last line of what a proxy command complained about.
    pub fn complaint(&self) -> Option<String> {
        let complaint = self.complaint.lock().expect("nothing panics while it holds this lock");
        String::from_utf8_lossy(&complaint).lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned)
    }
}

impl Stream {
    /// Makes the way to the target.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn open(target: &Target, reach: &Reach, trail: &Trail) -> Result<(Self, Leash), HostFailure> {
        let overture = Overture::default();
        let (carrier, made_in) = match &target.route {
            Route::Direct => tcp(target, trail).await?,
            Route::Through(jump) => through(jump, target, reach, trail).await?,
            Route::Command(command) => (by_command(command, target, &overture, trail)?, Duration::ZERO),
        };
        let (held, leash) = oneshot::channel();
        let stream = Self { carrier, overture, made_in, leash, is_over: false };
        stream.acknowledge_at_once();
        Ok((stream, Leash(held)))
    }

    /// How long the last part of the way took to be made: a round trip, or nothing where that is not known.
    pub fn made_in(&self) -> Duration {
        self.made_in
    }

    /// Stays readable after the stream has gone to russh.
    pub fn overture(&self) -> Overture {
        self.overture.clone()
    }

    /// A server's Nagle waits for our acknowledgement before it sends its next small packet, and Linux delays that by
    /// 40 ms. Each read leaves the prompt mode again, so each read re-arms it.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn acknowledge_at_once(&self) {
        if let Carrier::Tcp(tcp) = &self.carrier {
            // It only saves time.
            let _best_effort = socket2::SockRef::from(tcp).set_tcp_quickack(true);
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn acknowledge_at_once(&self) {}

    fn is_let_go(&mut self, context: &mut Context<'_>) -> bool {
        self.is_over = self.is_over || Pin::new(&mut self.leash).poll(context).is_ready();
        self.is_over
    }
}

/// Connects to the first address of the target that answers.
async fn tcp(target: &Target, trail: &Trail) -> Result<(Carrier, Duration), HostFailure> {
    let (address, port) = (target.address.as_str(), target.port);
    let connect = async {
        let found = tokio::net::lookup_host((address, port))
            .await
            .map_err(|error| HostFailure::Name { name: address.into(), reason: error.to_string() })?;
        let mut reason = "the name has no address".to_owned();
        for socket in found {
            trail.pass(Stage::Name, socket.ip().to_string());
            let asked = Instant::now();
            match TcpStream::connect(socket).await {
                Ok(stream) => {
                    let made_in = asked.elapsed();
                    trail.pass(Stage::Route, "direct");
                    trail.pass(Stage::Port, format!("{port} is open"));
                    return Ok((stream, made_in));
                }
                Err(error) => {
                    if error.kind() == io::ErrorKind::ConnectionRefused {
                        trail.pass(Stage::Route, "direct");
                    }
                    reason = advice(&error);
                }
            }
        }
        Err(HostFailure::Connect { address: address.into(), port, reason })
    };
    let (tcp, made_in) = tokio::time::timeout(target.connect_timeout, connect).await.unwrap_or_else(|_| {
        Err(HostFailure::ConnectTimeout { address: address.into(), port, limit: target.connect_timeout })
    })?;
    // Frames are small and each is waited for; our own Nagle would add 40 ms to every exchange, too.
    let _best_effort = tcp.set_nodelay(true);
    // What has been sent and is acknowledged by nobody for so long went to nobody.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _best_effort = socket2::SockRef::from(&tcp).set_tcp_user_timeout(Some(UNHEARD_LIMIT));
    Ok((Carrier::Tcp(tcp), made_in))
}

/// Asks a jump host for a connection to the target. The jump host resolves the name.
async fn through(jump: &Arc<Target>, target: &Target, reach: &Reach, trail: &Trail) -> Result<(Carrier, Duration), HostFailure> {
    let about = |cause: HostFailure| HostFailure::Jump { via: jump.name.clone(), cause: Box::new(cause) };
    let session = Box::pin(reach.jump(jump)).await.map_err(about)?;
    trail.pass(Stage::Route, format!("through {}", jump.name));
    let (address, port) = (target.address.clone(), target.port);
    let asked = Instant::now();
    let open = tokio::time::timeout(target.connect_timeout, session.tunnel(&address, port));
    let channel = open.await.unwrap_or(Err(HostFailure::ConnectTimeout { address, port, limit: target.connect_timeout })).map_err(about)?;
    let made_in = asked.elapsed();
    trail.pass(Stage::Port, format!("{port} is open"));
    let (channel_here, far) = tokio::io::duplex(PIECE_BYTES);
    tokio::spawn(pump(channel.into_stream(), far));
    Ok((Carrier::Jump { channel: channel_here, _session: session }, made_in))
}

/// Carries bytes between a jump host's channel and the session that runs through it, and always takes what comes.
///
/// A channel that nobody reads would stall the jump host's connection, and with it every host behind it. So what comes is
/// taken into memory, up to a limit; a host beyond it that nobody listens to for a while loses its connection.
async fn pump(channel: ChannelStream<Msg>, far: DuplexStream) {
    let (mut from_channel, mut to_channel) = tokio::io::split(channel);
    let (mut from_session, mut to_session) = tokio::io::split(far);
    let room = Arc::new(Semaphore::new(WAITING_BYTES));
    let (sender, mut waiting) = mpsc::unbounded_channel();
    let taking = async {
        let mut buffer = vec![0; PIECE_BYTES];
        while let Ok(length) = from_channel.read(&mut buffer).await {
            let size = u32::try_from(length).unwrap_or(u32::MAX);
            let Ok(Ok(held)) = tokio::time::timeout(UNREAD_LIMIT, room.clone().acquire_many_owned(size)).await else { return };
            if length == 0 || sender.send((buffer[..length].to_vec(), held)).is_err() {
                break;
            }
        }
        // What has come is still to be heard.
        let _all = tokio::time::timeout(UNREAD_LIMIT, room.acquire_many(u32::try_from(WAITING_BYTES).unwrap_or(u32::MAX))).await;
    };
    let giving = async {
        while let Some((bytes, held)) = waiting.recv().await {
            if to_session.write_all(&bytes).await.is_err() {
                return;
            }
            drop(held);
        }
    };
    let sending = tokio::io::copy(&mut from_session, &mut to_channel);
    tokio::select! {
        () = taking => {}
        () = giving => {}
        _ = sending => {}
    }
    let _ended = to_channel.shutdown().await;
}

/// Starts a proxy command. A shell reads it only where the user wrote something for a shell.
fn by_command(command: &str, target: &Target, overture: &Overture, trail: &Trail) -> Result<Carrier, HostFailure> {
    let failed = |reason: String| HostFailure::Proxy { command: target.shown_command(command), reason };
    let for_a_shell = command.contains(['|', '&', ';', '<', '>', '(', ')', '$', '`', '*', '?', '[', '~', '{', '\n']);
    let words = if for_a_shell {
        vec!["sh".to_owned(), "-c".to_owned(), format!("exec {command}")]
    } else {
        split_words(command).map_err(|reason| failed(reason.to_owned()))?
    };
    let words = match words.split_first() {
        Some((exec, rest)) if exec == "exec" && !rest.is_empty() => rest,
        _ => &words,
    };
    let Some((program, arguments)) = words.split_first() else { return Err(failed("it is empty".into())) };
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C is for us alone: what has begun is finished over this very connection.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let (Some(input), Some(output), Some(mut errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
        return Err(failed("it has no stdin and stdout".into()));
    };
    let complaint = overture.complaint.clone();
    let listener = tokio::spawn(async move {
        let mut buffer = [0; 1024];
        while let Ok(length) = errors.read(&mut buffer).await {
            if length == 0 {
                return;
            }
            let mut kept = complaint.lock().expect("nothing panics while it holds this lock");
            kept.extend_from_slice(&buffer[..length]);
            let surplus = kept.len().saturating_sub(COMPLAINT_BYTES);
            kept.drain(..surplus);
        }
    });
    *overture.listener.lock().expect("nothing panics while it holds this lock") = Some(listener);
    trail.pass(Stage::Route, format!("by `{}`", target.shown_command(command)));
    Ok(Carrier::Command(Box::new(Piped { input, output, _child: Group(child) })))
}

fn advice(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused; is an SSH server running there, on this port?".into(),
        io::ErrorKind::HostUnreachable => "no route to the host; is it up, and is its address right?".into(),
        io::ErrorKind::NetworkUnreachable => "the network is unreachable; is this machine online?".into(),
        _ => error.to_string(),
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_let_go(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buffer.filled().len();
        let read = match &mut self.carrier {
            Carrier::Tcp(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Carrier::Jump { channel, .. } => Pin::new(channel).poll_read(context, buffer),
            Carrier::Command(piped) => Pin::new(&mut piped.output).poll_read(context, buffer),
        };
        let new = &buffer.filled()[before..];
        if matches!(read, Poll::Ready(Ok(()))) && !new.is_empty() {
            self.overture.hear(new);
            self.acknowledge_at_once();
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_let_go(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        match &mut self.carrier {
            Carrier::Tcp(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Carrier::Jump { channel, .. } => Pin::new(channel).poll_write(context, bytes),
            Carrier::Command(piped) => Pin::new(&mut piped.input).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_let_go(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        match &mut self.carrier {
            Carrier::Tcp(tcp) => Pin::new(tcp).poll_flush(context),
            Carrier::Jump { channel, .. } => Pin::new(channel).poll_flush(context),
            Carrier::Command(piped) => Pin::new(&mut piped.input).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.carrier {
            Carrier::Tcp(tcp) => Pin::new(tcp).poll_shutdown(context),
            Carrier::Jump { channel, .. } => Pin::new(channel).poll_shutdown(context),
            Carrier::Command(piped) => Pin::new(&mut piped.input).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_speaks_ssh_has_refused_nothing() {
        let overture = Overture::default();
        assert_eq!(overture.refusal().as_deref(), Some(""));
        overture.hear(b"Exceeded Max");
        overture.hear(b"Startups\r\n");
        assert_eq!(overture.refusal().as_deref(), Some("Exceeded MaxStartups"));
        overture.hear(b"SSH-2.0-x\r\n");
        assert_eq!(overture.refusal(), None);
    }

    #[test]
    fn only_the_beginning_is_kept() {
        let overture = Overture::default();
        (0..100).for_each(|_| overture.hear(&[b'x'; 100]));
        assert_eq!(overture.refusal().map(|said| said.len()), Some(OVERTURE_BYTES));
    }
}
