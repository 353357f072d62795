//! Bytes for a temporary file on a host, over a channel of their own.

use std::io::Write as _;
use std::time::Duration;

use super::opening::Become;
use super::pipe::Event;
use super::{HostFailure, Link};
use crate::shell::quoted;

/// Without a byte taken by the host for this long, it is taken for lost.
const STALL_LIMIT: Duration = Duration::from_secs(60);
const CHUNK_BYTES: usize = 256 << 10;

/// Writes bytes to a path that does not exist yet, for its owner alone. The caller moves the file to its place.
///
/// # Errors
/// When the host does not take the bytes: no room, no such folder, no contact.
pub async fn upload(link: &Link, user: Option<&Become>, path: &[u8], bytes: &[u8]) -> Result<(), HostFailure> {
    // The path stands on the first line, octal where it is not plain, so that the command line stays constant.
    const RECEIVE: &str = r#"umask 077;IFS= read -r p;f=$(printf %bx "$p");f=${f%x};set -C;if read -r z&&[ "$z" = z ];then gzip -dc >"$f";else cat >"$f";fi&&printf done"#;
    let name = |user: &Become| quoted(&user.user);
    let command = match user {
        None => format!("exec sh -c '{RECEIVE}' sh"),
        Some(user) if user.password.is_none() => format!("exec sudo -n -H -u {} -- sh -c '{RECEIVE}' sh", name(user)),
        Some(user) => format!("exec sudo -S -p '' -H -u {} -- sh -c '{RECEIVE}' sh", name(user)),
    };
    let (mut input, mut events) = link.start(&command).await?;
    let mut head = Vec::new();
    if let Some(password) = user.and_then(|user| user.password.as_ref()) {
        head.extend_from_slice(password.expose().as_bytes());
        head.push(b'\n');
    }
    for &byte in path {
        let _infallible = write!(head, "\\0{byte:03o}");
    }
    head.extend_from_slice(b"\n-\n");
    let sending = async {
        input.write(&head).await?;
        for chunk in bytes.chunks(CHUNK_BYTES) {
            let taken = tokio::time::timeout(STALL_LIMIT, input.write(chunk)).await;
            taken.unwrap_or_else(|_| Err(HostFailure::Lost("the host took no more bytes".into())))?;
        }
        input.finish().await;
        Ok(())
    };
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let receiving = async {
        while let Some(event) = events.recv().await {
            match event {
                Event::Stdout(more) if stdout.len() < 4096 => stdout.extend(more),
                Event::Stderr(more) if stderr.len() < 4096 => stderr.extend(more),
                Event::Closed(_) => break,
                _ => {}
            }
        }
    };
    let (sent, ()) = tokio::join!(sending, receiving);
    input.close().await;
    if stdout.ends_with(b"done") {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&stderr);
    match (said.lines().map(str::trim).rfind(|line| !line.is_empty()), sent) {
        (Some(line), _) => Err(HostFailure::Channel(format!("the host did not take the file: {line}"))),
        (None, Err(failure)) => Err(failure),
        (None, Ok(())) => Err(HostFailure::Lost("the connection was closed during an upload".into())),
    }
}
