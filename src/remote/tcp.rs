//! The TCP connection below SSH: tuned for short questions, and with an ear for what comes before SSH begins.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::{HostFailure, Target};

/// What is kept of the first bytes; a version line and a refusal are both shorter than 255 bytes (RFC 4253 §4.2).
const OVERTURE_BYTES: usize = 512;

/// A connection that acknowledges at once.
///
/// A server's Nagle waits for our acknowledgement before it sends its next small packet, and Linux delays that by
/// 40 ms. Each read leaves the prompt mode again, so each read re-arms it.
pub struct Stream {
    tcp: TcpStream,
    overture: Overture,
}

/// The first bytes that the server sent: before a login it says there why it will have none.
#[derive(Clone, Default)]
pub struct Overture(Arc<Mutex<Vec<u8>>>);

impl Overture {
    fn hear(&self, bytes: &[u8]) {
        let mut heard = self.0.lock().expect("nothing panics while it holds this lock");
        let room = OVERTURE_BYTES - heard.len();
        heard.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// What a server said that never came to speak SSH: its last line, or nothing at all. `None` once it did.
    pub fn refusal(&self) -> Option<String> {
        let heard = self.0.lock().expect("nothing panics while it holds this lock");
        let text = String::from_utf8_lossy(&heard);
        if text.lines().any(|line| line.starts_with("SSH-")) {
            return None;
        }
        Some(text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned())
    }
}

impl Stream {
    /// Connects to the first address of the target that answers.
    ///
    /// # Errors
    /// [`HostFailure::Name`], [`HostFailure::Connect`] or [`HostFailure::ConnectTimeout`].
    pub async fn open(target: &Target) -> Result<Self, HostFailure> {
        let (address, port) = (target.address.as_str(), target.port);
        let connect = async {
            let found = tokio::net::lookup_host((address, port))
                .await
                .map_err(|error| HostFailure::Name { name: address.into(), reason: error.to_string() })?;
            let mut reason = "the name has no address".to_owned();
            for socket in found {
                match TcpStream::connect(socket).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => reason = advice(&error),
                }
            }
            Err(HostFailure::Connect { address: address.into(), port, reason })
        };
        let tcp = tokio::time::timeout(target.connect_timeout, connect).await.unwrap_or_else(|_| {
            Err(HostFailure::ConnectTimeout { address: address.into(), port, limit: target.connect_timeout })
        })?;
        // Frames are small and each is waited for; our own Nagle would add 40 ms to every exchange, too.
        let _best_effort = tcp.set_nodelay(true);
        let stream = Self { tcp, overture: Overture::default() };
        stream.acknowledge_at_once();
        Ok(stream)
    }

    /// Stays readable after the stream has gone to russh.
    pub fn overture(&self) -> Overture {
        self.overture.clone()
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn acknowledge_at_once(&self) {
        // It only saves time.
        let _best_effort = socket2::SockRef::from(&self.tcp).set_tcp_quickack(true);
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn acknowledge_at_once(&self) {}
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
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.tcp).poll_read(context, buffer);
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
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
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
