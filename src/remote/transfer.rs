//! How an upload and a download begin: a script on a channel of its own, as the login user or as another one.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::{ControlFlow, Range};
use std::time::Duration;

use tokio::sync::mpsc;

use super::opening::{Become, Signs, as_user};
use super::pipe::{Event, Input};
use super::shell::random_word;
use super::{HostFailure, Link};
use crate::diag::Held;

/// Without a byte from the host for this long, it is taken for lost.
pub(super) const STALL_LIMIT: Duration = Duration::from_secs(60);

const CHUNK_BYTES: usize = 256 << 10;

/// A script that takes bytes into a new file: how it begins, up to where nothing is there and `$f` is its path.
macro_rules! taking {
    ($rest:literal) => {
        concat!(r#"printf %s "$1" >&2;shift;umask 077;f=$(printf %bx "$1");f=${f%x};case ${f##*/} in .mutate.upload.*);;*)exit 9;;esac;rm -f "$f";set -C;"#, $rest)
    };
}
pub(super) use taking;

/// Starts a script that is told a path, coded for `printf %b`, and another word. Its first argument is what it has to print
/// on stderr when it begins, and those two follow.
///
/// # Errors
/// When no channel can be had, or the user cannot be become.
pub(super) async fn start(link: &Link, user: Option<&Become>, script: &str, path: &[u8], word: &str) -> Result<(Input, mpsc::Receiver<Event>), HostFailure> {
    let arguments = format!("{} {word}", coded(path));
    let Some(user) = user else { return link.start(&format!("exec sh -c '{script}' sh '' {arguments}")).await };
    let (command, signs) = as_user(user, script, &arguments, &random_word());
    let (mut input, mut events) = link.start(&command).await?;
    match become_first(user, &signs, &mut input, &mut events).await {
        Ok(()) => Ok((input, events)),
        Err(failure) => {
            input.close().await;
            Err(failure)
        }
    }
}

/// A path as one word of a command line, coded for `printf %b`.
pub(super) fn coded(path: &[u8]) -> String {
    let mut word = String::from("'");
    for &byte in path {
        let _infallible = write!(word, "\\0{byte:03o}");
    }
    word.push('\'');
    word
}

/// Writes some of what is held; waits while the host takes no more.
///
/// # Errors
/// When it cannot be read any more, or the host takes nothing more.
pub(super) async fn write(input: &mut Input, held: &Held, range: Range<usize>) -> Result<(), HostFailure> {
    for start in range.clone().step_by(CHUNK_BYTES) {
        let chunk = start..range.end.min(start + CHUNK_BYTES);
        if let Some(bytes) = held.at_once(chunk.clone()) {
            input.write(&bytes).await?;
            continue;
        }
        // A disk may take its time, and other hosts shall not wait for it.
        let held = held.clone();
        let read = tokio::task::spawn_blocking(move || held.piece(chunk).map(Cow::into_owned)).await;
        let bytes = read.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(|error| HostFailure::Upload(format!("the file cannot be read here: {error}")))?;
        input.write(&bytes).await?;
    }
    Ok(())
}

/// Hears the other side out.
pub(super) async fn hear(events: &mut mpsc::Receiver<Event>, stdout: &mut Vec<u8>, stderr: &mut Vec<u8>) {
    while let Some(event) = events.recv().await {
        if said(event, stdout, stderr).is_break() {
            break;
        }
    }
}

/// Keeps the beginning of what the other side says; breaks when it has nothing more to say.
pub(super) fn said(event: Event, stdout: &mut Vec<u8>, stderr: &mut Vec<u8>) -> ControlFlow<()> {
    match event {
        Event::Stdout(more) if stdout.len() < 4096 => stdout.extend(more),
        // A banner may be long; what matters stands at its end.
        Event::Stderr(more) if stderr.len() < 64 << 10 => stderr.extend(more),
        Event::Closed(_) => return ControlFlow::Break(()),
        _ => {}
    }
    ControlFlow::Continue(())
}

/// Waits until the script is there, and gives the password if that is asked for, once. Nothing else may reach the
/// command before.
async fn become_first(user: &Become, signs: &Signs, input: &mut Input, events: &mut mpsc::Receiver<Event>) -> Result<(), HostFailure> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let (which, name) = (user.method.name(), &user.user);
    let answered = async {
        let mut asked = false;
        while let Some(event) = events.recv().await {
            if said(event, &mut stdout, &mut stderr).is_break() {
                break;
            }
            let said = String::from_utf8_lossy(&stderr);
            if said.contains(signs.ready.as_str()) {
                return Ok(());
            }
            // busybox asks on stdout.
            let prompts = signs.prompts(&said) + signs.prompts(&String::from_utf8_lossy(&stdout));
            if prompts > 1 {
                break;
            }
            if prompts == 1 && !asked {
                asked = true;
                let Some(password) = &user.password else { break };
                let mut line = password.expose().as_bytes().to_vec();
                line.push(b'\n');
                input.write(&line).await?;
                zeroize::Zeroize::zeroize(&mut line);
            }
        }
        Err(HostFailure::Become(format!("{which} to `{name}` did not let an upload through")))
    };
    tokio::time::timeout(STALL_LIMIT, answered).await.unwrap_or_else(|_| Err(HostFailure::Become(format!("{which} to `{name}` did not answer"))))
}
