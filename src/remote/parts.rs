//! A large file over several channels at once: a server takes so many bytes of one channel before it waits for the client, which
//! far away is less than the network carries.

use tokio::sync::mpsc;

use super::opening::Become;
use super::pipe::{Event, Input};
use super::transfer::{STALL_LIMIT, hear, said, start, taking, write};
use super::{HostFailure, Link};
use crate::diag::Held;

/// OpenSSH takes 2 MiB of a channel per round trip, and 10 channels of a connection.
const PARTS: usize = 4;
/// Two more round trips are worth it from here on.
pub(super) const LEAST_BYTES: usize = 16 << 20;
/// The unit in which `dd` is told where a part begins.
const UNIT_BYTES: usize = 64 << 10;

/// Makes the file, says which process has it open, takes the first part, and in the end sees whether all has come.
const FIRST: &str = taking!(r#"[ -d /proc/$$/fd ]||exit 9;exec 3>"$f"||exit 1;echo $$;{ cat >&3&&[ "$(wc -c <"$f")" -eq "$2" ]&&printf done;}||{ rm -f "$f";exit 1;}"#);
/// Takes another part. The file is the one that the first process has open, whatever has become of its name.
const MORE: &str = r#"printf %s "$1" >&2;shift;dd of="/proc/$2/fd/3" bs=65536 seek="$3" conv=notrunc 2>/dev/null&&printf done"#;

type Stream = (Input, mpsc::Receiver<Event>);

/// As [`upload`](super::upload), in parts.
///
/// # Errors
/// [`HostFailure::Upload`] and [`HostFailure::Channel`] when it does not work this way; the rest as `upload`.
pub(super) async fn upload_in_parts(link: &Link, user: Option<&Become>, path: &[u8], held: &Held, stop: impl Future<Output = ()>) -> Result<(), HostFailure> {
    let length = held.size().div_ceil(PARTS).next_multiple_of(UNIT_BYTES);
    let mut streams = Vec::with_capacity(PARTS);
    let sending = async {
        open(link, user, path, held.size(), length, &mut streams).await?;
        send(&mut streams, held, length).await
    };
    let sent = tokio::select! {
        sent = sending => sent,
        () = stop => Err(HostFailure::Interrupted),
    };
    for (input, _) in &mut streams {
        input.close().await;
    }
    sent
}

/// Starts what takes the parts; whatever has been started is in `streams`.
async fn open(link: &Link, user: Option<&Become>, path: &[u8], bytes: usize, length: usize, streams: &mut Vec<Stream>) -> Result<(), HostFailure> {
    streams.push(start(link, user, FIRST, path, &bytes.to_string()).await?);
    let process = process(&mut streams[0].1).await?;
    let words = [1, 2, 3].map(|number| format!("{process} {}", number * length / UNIT_BYTES));
    let (one, two, three) = tokio::join!(start(link, user, MORE, path, &words[0]), start(link, user, MORE, path, &words[1]), start(link, user, MORE, path, &words[2]));
    let mut failed = None;
    for started in [one, two, three] {
        match started {
            Ok(stream) => streams.push(stream),
            Err(failure) => failed = Some(failure),
        }
    }
    failed.map_or(Ok(()), Err)
}

async fn send(streams: &mut [Stream], held: &Held, length: usize) -> Result<(), HostFailure> {
    let [first, one, two, three] = streams else { return Err(HostFailure::Upload("a part is missing".into())) };
    let part = |number: usize| held.size().min(number * length)..held.size().min((number + 1) * length);
    let more = async |(input, events): &mut Stream, number: usize| {
        write(input, held, part(number)).await?;
        input.finish().await;
        done(events).await
    };
    // The first one looks at the length when its input ends, so that comes last.
    tokio::try_join!(write(&mut first.0, held, part(0)), more(one, 1), more(two, 2), more(three, 3))?;
    first.0.finish().await;
    done(&mut first.1).await
}

/// The number of the process that has the file open.
async fn process(events: &mut mpsc::Receiver<Event>) -> Result<String, HostFailure> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let process = async {
        while let Some(event) = events.recv().await {
            if said(event, &mut stdout, &mut stderr).is_break() {
                break;
            }
            // What a profile prints may stand before it.
            let text = String::from_utf8_lossy(&stdout);
            if let Some(number) = text.strip_suffix('\n').and_then(|text| text.lines().last()).filter(|line| !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit())) {
                return Ok(number.to_owned());
            }
        }
        Err(HostFailure::Upload("the file could not be made".into()))
    };
    tokio::time::timeout(STALL_LIMIT, process).await.unwrap_or_else(|_| Err(HostFailure::Lost("the host did not begin an upload".into())))
}

/// Waits until the host says that it has taken all.
async fn done(events: &mut mpsc::Receiver<Event>) -> Result<(), HostFailure> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let ended = hear(events, &mut stdout, &mut stderr);
    tokio::time::timeout(STALL_LIMIT, ended).await.map_err(|_| HostFailure::Lost("the host did not finish an upload".into()))?;
    if stdout.ends_with(b"done") { Ok(()) } else { Err(HostFailure::Upload("the content did not arrive whole".into())) }
}
