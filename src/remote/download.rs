//! Bytes of a file on a host, over a channel of their own.

use super::opening::Become;
use super::pipe::{Event, Exit};
use super::shell::random_word;
use super::transfer::{STALL_LIMIT, start};
use super::{HostFailure, Link};

/// What a login may print before the file begins.
const NOISE_BYTES: usize = 64 << 10;

/// Reads a file. Its bytes go to `take` as they come; only when this ends well were they all.
///
/// # Errors
/// [`HostFailure::Download`] when the host does not give the file, or `take` refuses; others when contact is lost.
pub async fn download(
    link: &Link,
    user: Option<&Become>,
    path: &[u8],
    mut take: impl FnMut(&[u8]) -> std::io::Result<()>,
    stop: impl Future<Output = ()>,
) -> Result<(), HostFailure> {
    // The word on stdout tells the file from what a profile may print before it.
    const SEND: &str = r#"printf %s "$1" >&2;f=$(printf %bx "$2");f=${f%x};case $f in "~/"*)f=$HOME/${f#??};;esac;if [ -d "$f" ];then echo "it is a folder" >&2;exit 3;fi;if [ -e "$f" ]&&[ ! -f "$f" ];then echo "it is no plain file" >&2;exit 3;fi;exec <"$f"||exit 3;printf "%s\n" "$3"&&exec cat"#;
    let word = random_word();
    let mut stop = std::pin::pin!(stop);
    let (mut input, mut events) = tokio::select! {
        started = start(link, user, SEND, path, &word) => started?,
        () = &mut stop => return Err(HostFailure::Interrupted),
    };
    input.finish().await;
    let mark = format!("{word}\n");
    let receiving = async {
        let (mut head, mut stderr): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
        let mut begun = false;
        loop {
            let event = tokio::time::timeout(STALL_LIMIT, events.recv()).await.map_err(|_| HostFailure::Lost("the host sent no more bytes".into()))?;
            let refused = |error: std::io::Error| HostFailure::Download(format!("it cannot be written here: {error}"));
            match event {
                Some(Event::Stdout(bytes)) if begun => take(&bytes).map_err(refused)?,
                Some(Event::Stdout(bytes)) => {
                    head.extend_from_slice(&bytes);
                    if let Some(at) = head.windows(mark.len()).position(|window| window == mark.as_bytes()) {
                        begun = true;
                        take(&head[at + mark.len()..]).map_err(refused)?;
                        head = Vec::new();
                    } else if head.len() > NOISE_BYTES {
                        return Err(HostFailure::Download("the login prints without end".into()));
                    }
                }
                Some(Event::Stderr(bytes)) if stderr.len() < 4096 => stderr.extend_from_slice(&bytes),
                Some(Event::Stderr(_)) => {}
                Some(Event::Closed(Some(Exit::Status(0)))) if begun => return Ok(()),
                Some(Event::Closed(Some(Exit::Status(_)))) => {
                    let said = String::from_utf8_lossy(&stderr);
                    let said = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("the host gave no reason");
                    return Err(HostFailure::Download(not_given(said)));
                }
                Some(Event::Closed(None | Some(Exit::Signal(_)))) | None => return Err(HostFailure::Lost("the connection was closed while the file came".into())),
            }
        }
    };
    let received = tokio::select! {
        received = receiving => received,
        () = stop => Err(HostFailure::Interrupted),
    };
    input.close().await;
    received
}

fn not_given(said: &str) -> String {
    for (words, meaning) in [
        ("No such file", "there is no such file on the host"),
        ("nonexistent", "there is no such file on the host"),
        ("Permission denied", "this user may not read it; become may help"),
        ("is a folder", "it is a folder; name the files in it, or pack it with `mutate run`"),
        ("no plain file", "it is no plain file"),
    ] {
        if said.contains(words) {
            return meaning.to_owned();
        }
    }
    format!("the host did not give it: {said}")
}
