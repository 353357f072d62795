//! Bytes for a temporary file on a host, over a channel of their own.

use super::opening::Become;
use super::transfer::{STALL_LIMIT, said, start};
use super::{HostFailure, Link};

const CHUNK_BYTES: usize = 256 << 10;

/// Writes bytes to a path that does not exist yet, for its owner alone. The caller moves the file to its place. When
/// `stop` ends first, nothing more is sent, and the host removes what it has.
///
/// # Errors
/// When the host does not take the bytes: no room, no such folder, no contact; [`HostFailure::Interrupted`] after `stop`.
pub async fn upload(link: &Link, user: Option<&Become>, path: &[u8], bytes: &[u8], stop: impl Future<Output = ()>) -> Result<(), HostFailure> {
    // Path and length are arguments: a profile that reads stdin may eat some of the bytes, but never make a path of
    // them. What did not arrive whole is removed again.
    const RECEIVE: &str = r#"printf %s "$1" >&2;shift;umask 077;f=$(printf %bx "$1");f=${f%x};case ${f##*/} in .mutate.upload.*);;*)exit 9;;esac;rm -f "$f";set -C;{ cat >"$f"&&[ "$(wc -c <"$f")" -eq "$2" ]&&printf done;}||{ rm -f "$f";exit 1;}"#;
    let (mut input, mut events) = start(link, user, RECEIVE, path, &bytes.len().to_string()).await?;
    let sending = async {
        for chunk in bytes.chunks(CHUNK_BYTES) {
            input.write(chunk).await?;
        }
        input.finish().await;
        Ok(())
    };
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let receiving = async {
        while let Some(event) = events.recv().await {
            if said(event, &mut stdout, &mut stderr).is_break() {
                break;
            }
        }
    };
    // Once all is sent, the host has a while to write it down.
    let sent = tokio::select! {
        sent = both(sending, receiving) => sent.unwrap_or_else(|| Err(HostFailure::Lost("the host did not finish an upload".into()))),
        () = stop => Err(HostFailure::Interrupted),
    };
    input.close().await;
    if let Err(HostFailure::Interrupted) = sent {
        return sent;
    }
    if stdout.ends_with(b"done") {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&stderr);
    match (said.lines().map(str::trim).rfind(|line| !line.is_empty()), sent) {
        (Some(line), _) => Err(HostFailure::Upload(not_taken(path, line))),
        (None, Err(failure)) => Err(failure),
        (None, Ok(())) => Err(HostFailure::Upload("the content did not arrive whole; a login profile on the host may read what is meant for others".into())),
    }
}

/// Why the host took no content, from what its shell said.
fn not_taken(path: &[u8], said: &str) -> String {
    let path = String::from_utf8_lossy(path);
    let folder = path.rsplit_once('/').map_or("/", |(folder, _)| if folder.is_empty() { "/" } else { folder });
    if said.contains("No space left") || said.contains("Disk quota") {
        format!("there is no room for the new content in {folder}: {said}")
    } else if said.contains("Permission denied") {
        format!("this user may not write to {folder}; become may help")
    } else if said.contains("Read-only file system") {
        format!("{folder} is on a file system that is read-only")
    } else if said.contains("Directory nonexistent") || said.contains("No such file or directory") || said.contains("nonexistent directory") {
        format!("the folder {folder} does not exist")
    } else {
        format!("the host did not take the content: {said}")
    }
}

/// Drives both directions; after the sending the receiving may last [`STALL_LIMIT`] longer.
async fn both(
    sending: impl Future<Output = Result<(), HostFailure>>,
    receiving: impl Future<Output = ()>,
) -> Option<Result<(), HostFailure>> {
    let (mut sending, mut receiving) = (std::pin::pin!(sending), std::pin::pin!(receiving));
    tokio::select! {
        sent = &mut sending => tokio::time::timeout(STALL_LIMIT, receiving).await.ok().map(|()| sent),
        () = &mut receiving => Some(Err(HostFailure::Lost("the host ended an upload early".into()))),
    }
}
