//! The two directions of a running shell, whatever carries them.

use std::os::unix::process::ExitStatusExt as _;
use std::sync::Arc;

use anyhow::Context as _;
use russh::ChannelMsg;
use russh::client::Msg;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin};
use tokio::sync::mpsc;

use super::HostFailure;

/// What comes from the other side.
#[derive(Debug)]
pub enum Event {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    /// Nothing more will come: how the command has ended, where that was told.
    Closed(Option<Exit>),
}

/// How a command has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Status(u32),
    /// By the signal of this number.
    Signal(u32),
}

impl Exit {
    /// As a shell says it: 128 and the number, for a signal.
    pub fn status(self) -> u32 {
        match self {
            Self::Status(status) => status,
            Self::Signal(signal) => 128 + signal,
        }
    }

    fn of(ended: std::process::ExitStatus) -> Option<Self> {
        let (status, signal) = (ended.code().map(u32::try_from), ended.signal().map(u32::try_from));
        status.and_then(Result::ok).map(Self::Status).or(signal.and_then(Result::ok).map(Self::Signal))
    }
}

/// What goes to the other side.
pub enum Input {
    Ssh(Arc<russh::ChannelWriteHalf<Msg>>),
    /// `None` once nothing more is to be written, and the number of the process group.
    Local(Option<ChildStdin>, u32),
    /// Nothing can be sent, and nothing was opened.
    None,
}

/// A host that takes no byte for so long is taken for lost. A task may well read nothing for a while, but what it is sent
/// fits into the window of the channel.
const STALL_LIMIT: std::time::Duration = std::time::Duration::from_secs(60);
/// How long taking leave of a channel may last.
const CLOSE_LIMIT: std::time::Duration = std::time::Duration::from_secs(2);
/// After an exit status and so much silence, the server is asked whether that was all.
const SILENCE: std::time::Duration = std::time::Duration::from_millis(300);
/// How long its answer may take, with all that stands before it.
const ANSWER_LIMIT: std::time::Duration = std::time::Duration::from_secs(10);

/// Events wait in a short queue, so that a flood of output is held back by the transport and not in memory.
const QUEUE: usize = 16;

impl Input {
    /// Writes all bytes; waits while the other side takes no more.
    ///
    /// # Errors
    /// [`HostFailure::Lost`] when the other side has gone.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), HostFailure> {
        let written = tokio::time::timeout(STALL_LIMIT, self.write_all(bytes)).await;
        written.unwrap_or_else(|_| Err(HostFailure::Lost(format!("the host took nothing for {} s", STALL_LIMIT.as_secs()))))
    }

    async fn write_all(&mut self, bytes: &[u8]) -> Result<(), HostFailure> {
        let lost = |reason: String| HostFailure::Lost(reason);
        match self {
            Self::Ssh(channel) => {
                channel.data_bytes(bytes.to_vec()).await.map_err(|error| lost(error.to_string()))
            }
            Self::Local(Some(stdin), _) => {
                stdin.write_all(bytes).await.map_err(|error| lost(error.to_string()))?;
                stdin.flush().await.map_err(|error| lost(error.to_string()))
            }
            Self::Local(None, _) | Self::None => Err(lost("its input is closed".into())),
        }
    }

    /// Says that nothing more will be written.
    pub async fn finish(&mut self) {
        match self {
            Self::Ssh(channel) => {
                // A channel that is closed already needs no end.
                let _ended = tokio::time::timeout(CLOSE_LIMIT, channel.eof()).await;
            }
            // Only dropping it closes the pipe.
            Self::Local(stdin, _) => drop(stdin.take()),
            Self::None => {}
        }
    }

    /// Gives the channel back to the server; dropping it would not.
    pub async fn close(&mut self) {
        match self {
            Self::Ssh(channel) => {
                let _ended = tokio::time::timeout(CLOSE_LIMIT, channel.close()).await;
            }
            Self::Local(stdin, pid) => {
                drop(stdin.take());
                let group = nix::unistd::Pid::from_raw(-i32::try_from(*pid).unwrap_or(i32::MAX));
                let _gone = nix::sys::signal::kill(group, nix::sys::signal::Signal::SIGKILL);
            }
            Self::None => {}
        }
    }
}

/// What a task has left behind may hold a channel open for ever, so the end of its command counts. But the last output may lag behind that, on a
/// bad network for long: a question that any server has to answer tells silence from delay, since its answer comes after the output.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Unasked,
    Asked,
    Answered,
}

/// Splits an SSH channel on which a command has been started.
pub fn of_channel(channel: russh::Channel<Msg>) -> (Input, mpsc::Receiver<Event>) {
    let (mut reader, writer) = channel.split();
    let writer = Arc::new(writer);
    let (sender, receiver) = mpsc::channel(QUEUE);
    let asking = Arc::clone(&writer);
    tokio::spawn(async move {
        let mut exit = None;
        let mut last = Last::Unasked;
        loop {
            let message = match (exit, last) {
                (None, _) => reader.wait().await,
                (Some(_), Last::Asked) => tokio::time::timeout(ANSWER_LIMIT, reader.wait()).await.unwrap_or(None),
                (Some(_), _) => match tokio::time::timeout(SILENCE, reader.wait()).await {
                    Ok(message) => message,
                    Err(_) if last == Last::Unasked && asking.set_env(true, "MUTATE", "").await.is_ok() => {
                        last = Last::Asked;
                        continue;
                    }
                    Err(_) => break,
                },
            };
            let Some(message) = message else { break };
            let event = match message {
                ChannelMsg::Success | ChannelMsg::Failure if last == Last::Asked => {
                    last = Last::Answered;
                    continue;
                }
                ChannelMsg::Data { data } => Event::Stdout(data.to_vec()),
                ChannelMsg::ExtendedData { data, .. } => Event::Stderr(data.to_vec()),
                // The status often comes before the last data, so it ends nothing.
                ChannelMsg::ExitStatus { exit_status } => {
                    exit = Some(Exit::Status(exit_status));
                    continue;
                }
                ChannelMsg::ExitSignal { signal_name, .. } => {
                    exit = Some(Exit::Signal(number_of(&signal_name)));
                    continue;
                }
                ChannelMsg::Failure => {
                    exit = Some(Exit::Status(255));
                    break;
                }
                ChannelMsg::Close => break,
                _ => continue,
            };
            if sender.send(event).await.is_err() {
                return;
            }
        }
        // The receiver may have gone first, and then nobody asks.
        let _heard = sender.send(Event::Closed(exit)).await;
    });
    (Input::Ssh(writer), receiver)
}

/// The number of a signal here, which is the host's for all that SSH has a name for; those that it has none for are told as 127.
fn number_of(signal: &russh::Sig) -> u32 {
    let name = match signal {
        russh::Sig::Custom(name) => name.clone(),
        known => format!("{known:?}"),
    };
    let known: Option<nix::sys::signal::Signal> = format!("SIG{name}").parse().ok();
    known.and_then(|signal| u32::try_from(signal as i32).ok()).unwrap_or(127)
}

/// Starts `sh -c` on this machine, in a process group of its own.
///
/// # Errors
/// When there is no `sh`, or no process can be made.
pub fn of_child(command: &str) -> anyhow::Result<(Input, mpsc::Receiver<Event>)> {
    let mut child = tokio::process::Command::new("sh")
        .args(["-c", command])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .process_group(0)
        .spawn()
        .context("starting `sh` on this machine")?;
    let pid = child.id().context("the shell ended at once")?;
    let stdin = child.stdin.take().context("the shell has no stdin")?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(drain(child, sender));
    Ok((Input::Local(Some(stdin), pid), receiver))
}

async fn drain(mut child: Child, sender: mpsc::Sender<Event>) {
    let (Some(mut stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else { return };
    let (mut out, mut err) = (vec![0; 32 << 10], vec![0; 32 << 10]);
    let (mut out_open, mut err_open) = (true, true);
    // A daemon that a task left behind may hold the pipes for ever: the shell's own end counts.
    let mut exit = None;
    let mut grace = std::pin::pin!(None::<tokio::time::Sleep>);
    while out_open || err_open {
        let event = tokio::select! {
            read = stdout.read(&mut out), if out_open => match read {
                Ok(length) if length > 0 => Event::Stdout(out[..length].to_vec()),
                _ => { out_open = false; continue }
            },
            read = stderr.read(&mut err), if err_open => match read {
                Ok(length) if length > 0 => Event::Stderr(err[..length].to_vec()),
                _ => { err_open = false; continue }
            },
            ended = child.wait(), if exit.is_none() => {
                exit = Some(ended.ok().and_then(Exit::of));
                grace.set(Some(tokio::time::sleep(std::time::Duration::from_millis(200))));
                continue;
            }
            () = async { match grace.as_mut().as_pin_mut() { Some(sleep) => sleep.await, None => std::future::pending().await } } => break,
        };
        if sender.send(event).await.is_err() {
            break;
        }
    }
    let exit = match exit {
        Some(exit) => exit,
        None => child.wait().await.ok().and_then(Exit::of),
    };
    let _heard = sender.send(Event::Closed(exit)).await;
}
