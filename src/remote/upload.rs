//! Bytes for a temporary file on a host, over a channel of their own.

use std::fmt::Write as _;
use std::ops::Range;

use super::opening::Become;
use super::parts::{self, upload_in_parts};
use super::pipe::Event;
use super::transfer::{STALL_LIMIT, coded, hear, start, taking, write};
use super::{HostFailure, Link};
use crate::diag::Held;

/// The list of what is there and what is sent travels in a command line.
const PLAN_BYTES: usize = 16 << 10;
/// A line of `sha256sum`.
const HASH_LINE_BYTES: usize = 80;

/// Writes bytes to a path that does not exist yet, for its owner alone. The caller moves the file to its place. When
/// `stop` ends first, nothing more is sent, and the host removes what it has. A host that is far away gets the `packed` ones.
///
/// # Errors
/// When the host does not take the bytes: no room, no such folder, no contact; [`HostFailure::Interrupted`] after `stop`.
pub async fn upload(link: &Link, user: Option<&Become>, path: &[u8], held: &Held, packed: Option<&Held>, stop: impl Future<Output = ()>) -> Result<(), HostFailure> {
    // Path and length are arguments: a profile that reads stdin may eat some of the bytes, but never make a path of
    // them. What did not arrive whole is removed again.
    const RECEIVE: &str = taking!(r#"{ $3 >"$f"&&[ "$(wc -c <"$f")" -eq "$2" ]&&printf done;}||{ rm -f "$f";exit 1;}"#);
    let words = |reader: &str| format!("{} '{reader}'", held.size());
    let mut stop = std::pin::pin!(stop);
    // Where its gzip cannot take them, the bytes go as they are.
    if let Some(packed) = packed {
        match send(link, user, (RECEIVE, path, &words("gzip -dc")), packed, std::slice::from_ref(&(0..packed.size())), &mut stop).await {
            Err(HostFailure::Upload(_)) => {}
            sent => return sent,
        }
    }
    // Where it does not work in parts, they go one after the other.
    if held.size() >= parts::LEAST_BYTES && link.is_wide().await {
        match upload_in_parts(link, user, path, held, &mut stop).await {
            Err(HostFailure::Upload(_) | HostFailure::Channel(_)) => {}
            sent => return sent,
        }
    }
    send(link, user, (RECEIVE, path, &words("cat")), held, std::slice::from_ref(&(0..held.size())), &mut stop).await
}

/// What is known of content that is to be compared with a file on the host.
pub struct Compared<'a> {
    pub held: &'a Held,
    /// Of all of it, in hexadecimal.
    pub sha256: &'a str,
    pub block_bytes: usize,
    /// Of each block, the last of which may be shorter.
    pub blocks: &'a [String],
}

/// As [`upload`], but of what the file `old` holds already in the same place, nothing is sent. `false`: the host cannot compare them, or
/// too little is the same, or it does not come out right there; then the whole is to be sent.
///
/// # Errors
/// As [`upload`].
pub async fn upload_over(link: &Link, user: Option<&Become>, path: &[u8], content: Compared<'_>, old: &[u8], mut stop: impl Future<Output = ()> + Unpin) -> Result<bool, HostFailure> {
    // As above; then what is there and what is sent, in turns. Whatever has no `head` that takes exactly so many bytes gives another hash.
    const ASSEMBLE: &str = taking!(r#"l=$2;s=$3;b=$4;o=$(printf %bx "$5");o=${o%x};shift 5;{ while [ $# -gt 0 ];do case $1 in o)dd if="$o" bs="$b" skip="$2" count="$3" 2>/dev/null||break;shift 3;;*)head -c "$2"||break;shift 2;;esac;done >"$f"&&[ "$(wc -c <"$f")" -eq "$l" ]&&[ "$(sha256sum <"$f")" = "$s  -" ]&&printf done;}||{ rm -f "$f";exit 1;}"#);
    let there = tokio::select! {
        there = blocks(link, user, old, &content) => there,
        () = &mut stop => return Err(HostFailure::Interrupted),
    };
    let Some((plan, parts)) = plan(&content, &there) else { return Ok(false) };
    let word = format!("{} {} {} {}{plan}", content.held.size(), content.sha256, content.block_bytes, coded(old));
    match send(link, user, (ASSEMBLE, path, &word), content.held, &parts, &mut stop).await {
        Err(HostFailure::Upload(_)) => Ok(false),
        sent => sent.map(|()| true),
    }
}

/// The SHA-256 of each block of a file on the host; none where it has no tool for that.
async fn blocks(link: &Link, user: Option<&Become>, path: &[u8], content: &Compared<'_>) -> Vec<String> {
    // Only GNU has the filter.
    const HASH: &str = r#"printf %s "$1" >&2;shift;f=$(printf %bx "$1");f=${f%x};[ -f "$f" ]&&exec split -a 6 -b "$2" --filter=sha256sum "$f" 2>/dev/null"#;
    let Ok((mut input, mut events)) = start(link, user, HASH, path, &content.block_bytes.to_string()).await else { return Vec::new() };
    let limit = (content.blocks.len() + 2) * HASH_LINE_BYTES;
    let mut text = Vec::new();
    loop {
        match tokio::time::timeout(STALL_LIMIT, events.recv()).await {
            Ok(Some(Event::Stdout(more))) if text.len() <= limit => text.extend(more),
            Ok(Some(Event::Stderr(_))) => {}
            _ => break,
        }
    }
    input.close().await;
    let text = String::from_utf8_lossy(&text);
    text.lines().map_while(|line| line.strip_suffix("  -")).map(str::to_owned).collect()
}

/// What is taken of the old file, in words for the script, and what is sent. `None`: it is not worth it.
fn plan(content: &Compared, there: &[String]) -> Option<(String, Vec<Range<usize>>)> {
    let (mut words, mut parts, mut sent) = (String::new(), Vec::new(), 0);
    let same: Vec<bool> = content.blocks.iter().enumerate().map(|(at, block)| there.get(at) == Some(block)).collect();
    let mut end = 0;
    for run in same.chunk_by(|one, next| one == next) {
        let start = end;
        end += run.len();
        if run[0] {
            let _infallible = write!(words, " o {start} {}", run.len());
        } else {
            let part = start * content.block_bytes..content.held.size().min(end * content.block_bytes);
            let _infallible = write!(words, " n {}", part.len());
            sent += part.len();
            parts.push(part);
        }
    }
    (sent * 2 < content.held.size() && words.len() < PLAN_BYTES).then_some((words, parts))
}

/// Starts a script on the host with a path and more words, and sends it the parts.
async fn send(link: &Link, user: Option<&Become>, script: (&str, &[u8], &str), held: &Held, parts: &[Range<usize>], stop: impl Future<Output = ()>) -> Result<(), HostFailure> {
    let (script, path, word) = script;
    let (mut input, mut events) = start(link, user, script, path, word).await?;
    let sending = async {
        let mut written = Ok(());
        for part in parts {
            written = write(&mut input, held, part.clone()).await;
            if written.is_err() {
                break;
            }
        }
        // The host removes what has not come whole.
        input.finish().await;
        written
    };
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let receiving = hear(&mut events, &mut stdout, &mut stderr);
    // Once all is sent, the host has a while to write it down.
    let sent = tokio::select! {
        sent = both(sending, receiving) => sent.unwrap_or_else(|| Err(HostFailure::Lost("the host did not finish an upload".into()))),
        () = stop => Err(HostFailure::Interrupted),
    };
    input.close().await;
    // What could not be read here is no word of the host's.
    if let Err(HostFailure::Interrupted | HostFailure::Upload(_)) = sent {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_sent() {
        let names = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        let planned = |mine: &str, there: &str| {
            let blocks = names(mine);
            let text = "0123456789";
            let held = Held::from(text.as_bytes().to_vec());
            let content = Compared { held: &held, sha256: "", block_bytes: 2, blocks: &blocks };
            plan(&content, &names(there)).map(|(words, parts)| (words, parts.into_iter().map(|part| &text[part]).collect::<String>()))
        };
        assert_eq!(planned("abcde", "abcde"), Some((" o 0 5".into(), String::new())));
        assert_eq!(planned("abcde", "axcdy"), Some((" o 0 1 n 2 o 2 2 n 2".into(), "2389".into())));
        assert_eq!(planned("abcde", "abc"), Some((" o 0 3 n 4".into(), "6789".into())), "it has grown");
        assert_eq!(planned("abcde", "abcdeff"), Some((" o 0 5".into(), String::new())), "it was longer");
        assert_eq!(planned("abcde", "xxxde"), None, "most of it is sent anyway");
        assert_eq!(planned("abcde", ""), None);
    }
}
