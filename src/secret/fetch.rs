//! Fetches secrets from commands, the environment and files of this machine, each distinct source once.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use zeroize::{Zeroize as _, Zeroizing};

use super::{Secret, hide, without_hidden};
use crate::diag::{Span, Way, plainly};

/// The longest secret that is fetched, in bytes.
const LIMIT_BYTES: usize = 64 << 10;
/// The longest that a command may take: somebody may have to type a passphrase.
const PATIENCE: Duration = Duration::from_secs(60);
/// When a command has ended, something that it has left behind may still hold its output.
const GRACE: Duration = Duration::from_millis(500);
/// Commands that run at the same time.
const AT_ONCE: usize = 8;
/// How much of a command's stderr is kept, in bytes, and how much of its last line is shown, in letters.
const COMPLAINT_BYTES: usize = 4096;
const COMPLAINT_LETTERS: usize = 300;

/// What is fetched, and from where; no hole is left in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    pub way: Way,
    pub words: Vec<String>,
    /// The folder of the file that names it.
    pub folder: PathBuf,
}

/// What came of asking for a secret.
#[derive(Debug)]
pub enum Fetched {
    Value(Secret),
    /// It has not been fetched yet, or never will be here.
    NotYet,
    Failed(String),
}

#[derive(Default)]
struct Store {
    known: HashMap<Wanted, Result<Secret, String>>,
    /// What was asked for and is not known, with the place that names it.
    wanted: IndexMap<Wanted, Span>,
}

static STORE: Mutex<Option<Store>> = Mutex::new(None);

/// At once, when it is asked for; noted, to be fetched with others; not at all.
const AT_ONCE_MANNER: u8 = 0;
const NOTED: u8 = 1;
const NEVER: u8 = 2;
static MANNER: AtomicU8 = AtomicU8::new(AT_ONCE_MANNER);

/// From now on nothing is fetched: whoever only validates or explains needs no value.
pub fn never_fetch() {
    MANNER.store(NEVER, Ordering::SeqCst);
}

/// As long as this lives, what is asked for is only noted, for [`fetch_wanted`].
pub struct Gathering(u8);

impl Gathering {
    pub fn begin() -> Self {
        let before = MANNER.load(Ordering::SeqCst);
        if before == AT_ONCE_MANNER {
            MANNER.store(NOTED, Ordering::SeqCst);
        }
        Self(before)
    }
}

impl Drop for Gathering {
    fn drop(&mut self) {
        MANNER.store(self.0, Ordering::SeqCst);
    }
}

/// Does this without noting what it asks for, since nobody will need it.
pub fn without_noting<T>(work: impl FnOnce() -> T) -> T {
    let before = MANNER.swap(NEVER, Ordering::SeqCst);
    let result = work();
    MANNER.store(before, Ordering::SeqCst);
    result
}

fn store() -> MutexGuard<'static, Option<Store>> {
    STORE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The secret, if it is known or may be fetched now.
pub fn fetched(wanted: &Wanted, place: &Span) -> Fetched {
    let manner = MANNER.load(Ordering::SeqCst);
    {
        let mut store = store();
        let store = store.get_or_insert_default();
        match store.known.get(wanted) {
            Some(Ok(secret)) => return Fetched::Value(secret.clone()),
            // It is told at the place that names it.
            Some(Err(_)) if manner != AT_ONCE_MANNER => return Fetched::NotYet,
            Some(Err(why)) => return Fetched::Failed(why.clone()),
            None if manner == NEVER => return Fetched::NotYet,
            None if manner == NOTED => {
                store.wanted.entry(wanted.clone()).or_insert_with(|| place.clone());
                return Fetched::NotYet;
            }
            None => {}
        }
    }
    match remembered(wanted) {
        Ok(secret) => Fetched::Value(secret),
        Err(why) => Fetched::Failed(why),
    }
}

/// Fetches everything that has been noted, a few at once: whether there was anything, and what failed, with the place that names it.
pub fn fetch_wanted() -> (bool, Vec<(Span, String)>) {
    let wanted = std::mem::take(&mut store().get_or_insert_default().wanted);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(wanted.len()) {
            scope.spawn(|| {
                while let Some((one, _)) = wanted.get_index(next.fetch_add(1, Ordering::Relaxed)) {
                    let _outcome = remembered(one);
                }
            });
        }
    });
    let store = store();
    let known = store.as_ref().map(|store| &store.known);
    let why = |one: &Wanted| known.and_then(|known| known.get(one)).and_then(|result| result.as_ref().err()).cloned();
    let failures = wanted.iter().filter_map(|(one, place)| Some((place.clone(), why(one)?))).collect();
    (!wanted.is_empty(), failures)
}

/// Fetches, hides what came, and remembers it.
fn remembered(wanted: &Wanted) -> Result<Secret, String> {
    let result = fetch(wanted, PATIENCE);
    if let Ok(secret) = &result {
        hide(secret.expose());
    }
    // What a program complains about may be the secret of another source.
    let result = result.map_err(|why| without_hidden(&why).into_owned());
    store().get_or_insert_default().known.entry(wanted.clone()).or_insert(result).clone()
}

fn fetch(wanted: &Wanted, patience: Duration) -> Result<Secret, String> {
    let first = wanted.words.first().map(String::as_str).unwrap_or_default();
    match wanted.way {
        Way::Environment => match std::env::var_os(first) {
            None => Err(format!("the environment has no variable `{first}`")),
            Some(value) => secret_of(Zeroizing::new(value.into_encoded_bytes()), &format!("the variable `{first}`"), false),
        },
        Way::File => {
            let path = at(&wanted.folder, first);
            let bytes = of_file(&path).map_err(|why| format!("`{}`: {why}", path.display()))?;
            secret_of(bytes, &format!("`{}`", path.display()), true)
        }
        Way::Command => {
            let bytes = printed(wanted, patience)?;
            secret_of(bytes, &format!("what `{first}` prints"), true)
        }
    }
}

/// A path as a file names it.
fn at(folder: &Path, path: &str) -> PathBuf {
    match path.strip_prefix("~/") {
        Some(rest) => std::env::home_dir().unwrap_or_else(|| PathBuf::from("/")).join(rest),
        None => folder.join(path),
    }
}

fn secret_of(mut bytes: Zeroizing<Vec<u8>>, what: &str, cut: bool) -> Result<Secret, String> {
    if bytes.len() > LIMIT_BYTES {
        return Err(format!("{what} is longer than {} KiB", LIMIT_BYTES >> 10));
    }
    if cut && bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    if bytes.is_empty() {
        return Err(format!("{what} is empty"));
    }
    if bytes.contains(&0) {
        return Err(format!("{what} holds a NUL byte, which cannot be passed to a host"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| format!("{what} is no text in UTF-8"))?;
    Ok(Secret::new(text))
}

fn of_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let about = std::fs::metadata(path).map_err(plainly)?;
    if about.is_dir() {
        return Err("it is a folder".into());
    }
    // A pipe may never end.
    if !about.is_file() {
        return Err("it is no regular file".into());
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(LIMIT_BYTES + 2));
    let file = std::fs::File::open(path).map_err(plainly)?;
    file.take(LIMIT_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(plainly)?;
    Ok(bytes)
}

/// What a command prints. It has no stdin, the environment of this process, and its terminal, where a passphrase may be asked for.
fn printed(wanted: &Wanted, patience: Duration) -> Result<Zeroizing<Vec<u8>>, String> {
    let (program, arguments) = wanted.words.split_first().ok_or("it names no program")?;
    let folder = std::path::absolute(&wanted.folder).map_err(|error| error.to_string())?;
    // A bare name is looked up in `PATH`.
    let path = if program.contains('/') { at(&folder, program) } else { PathBuf::from(program) };
    let mut command = Command::new(path);
    command.args(arguments).current_dir(&folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("there is no program `{program}`"),
        std::io::ErrorKind::PermissionDenied => format!("`{program}` may not be executed"),
        _ => format!("`{program}` could not be started: {error}"),
    })?;
    let said = Kept::of(child.stdout.take(), LIMIT_BYTES + 2, false);
    let complained = Kept::of(child.stderr.take(), COMPLAINT_BYTES, true);
    let deadline = Instant::now() + patience;
    let mut pause = Duration::from_millis(1);
    let (status, trouble): (Option<ExitStatus>, _) = loop {
        if said.length() > LIMIT_BYTES + 1 {
            break (None, Some(format!("`{program}` prints more than {} KiB", LIMIT_BYTES >> 10)));
        }
        match child.try_wait() {
            Ok(Some(status)) => break (Some(status), None),
            Ok(None) => {}
            Err(error) => break (None, Some(format!("`{program}`: {error}"))),
        }
        if Instant::now() > deadline {
            break (None, Some(format!("`{program}` took longer than {} s, and was stopped", patience.as_secs())));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    };
    if status.is_none() {
        // Either may fail when it has just ended.
        let _ignored = child.kill();
        let _ignored = child.wait();
    }
    let until = Instant::now() + GRACE;
    while !(said.has_ended() && complained.has_ended()) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
    let complaint = last_line(&complained.taken());
    let with_complaint = |what: String| if complaint.is_empty() { what } else { format!("{what}: {complaint}") };
    if let Some(trouble) = trouble {
        return Err(with_complaint(trouble));
    }
    if let Some(status) = status.filter(|status| !status.success()) {
        return Err(with_complaint(format!("`{program}` ended with {}", ending(status))));
    }
    let bytes = said.taken();
    if bytes.is_empty() {
        return Err(with_complaint(format!("`{program}` printed nothing")));
    }
    Ok(bytes)
}

fn ending(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// The last line that says anything, fit to be shown.
fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    line.chars().take(COMPLAINT_LETTERS).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// What comes out of a pipe, read by a thread that nobody has to wait for.
struct Kept {
    shared: Arc<Mutex<(Zeroizing<Vec<u8>>, bool)>>,
}

impl Kept {
    /// Keeps so many bytes: the last ones, or the first ones, and then reads no more.
    fn of(pipe: Option<impl Read + Send + 'static>, limit: usize, is_tail: bool) -> Self {
        let shared = Arc::new(Mutex::new((Zeroizing::new(Vec::with_capacity(limit * 2 + 8192)), pipe.is_none())));
        if let Some(mut pipe) = pipe {
            let shared = shared.clone();
            std::thread::spawn(move || {
                let mut chunk = [0; 8192];
                loop {
                    let read = pipe.read(&mut chunk);
                    let mut kept = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    match read {
                        Ok(length) if length > 0 => {
                            kept.0.extend_from_slice(&chunk[..length]);
                            if is_tail && kept.0.len() > limit {
                                let surplus = kept.0.len() - limit;
                                kept.0.drain(..surplus);
                            }
                        }
                        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                        _ => kept.1 = true,
                    }
                    if !is_tail && kept.0.len() >= limit {
                        kept.1 = true;
                    }
                    if kept.1 {
                        break;
                    }
                }
                chunk.zeroize();
            });
        }
        Self { shared }
    }

    fn length(&self) -> usize {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).0.len()
    }

    fn has_ended(&self) -> bool {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    fn taken(&self) -> Zeroizing<Vec<u8>> {
        std::mem::take(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(way: Way, words: &[&str]) -> String {
        let wanted = Wanted { way, words: words.iter().map(|word| (*word).to_owned()).collect(), folder: PathBuf::from("/") };
        match fetch(&wanted, Duration::from_secs(10)) {
            Ok(secret) => secret.expose().to_owned(),
            Err(why) => format!("error: {why}"),
        }
    }

    #[test]
    fn a_command_is_asked_without_a_shell() {
        let sh = |script: &str| check(Way::Command, &["sh", "-c", script]);
        assert_eq!(check(Way::Command, &["printf", "%s\\n\\n", "a $HOME; b"]), "a $HOME; b\n");
        assert_eq!(sh("printf 'one\\r\\ntwo\\r\\n'"), "one\r\ntwo");
        assert_eq!(sh("pwd; cat"), "/");
        assert_eq!(sh("echo hidden; echo first >&2; echo 'not there' >&2; echo >&2; exit 3"), "error: `sh` ended with status 3: not there");
        assert_eq!(sh("kill -9 $$"), "error: `sh` ended with signal 9");
        assert_eq!(sh("echo why >&2"), "error: `sh` printed nothing: why");
        assert_eq!(sh("echo"), "error: what `sh` prints is empty");
        assert_eq!(sh("printf '\\377x'"), "error: what `sh` prints is no text in UTF-8");
        assert_eq!(sh("printf 'a\\000b'"), "error: what `sh` prints holds a NUL byte, which cannot be passed to a host");
        assert_eq!(check(Way::Command, &["no-such-program"]), "error: there is no program `no-such-program`");
        assert_eq!(check(Way::Command, &["./no-such-program"]), "error: there is no program `./no-such-program`");
    }

    #[test]
    fn what_is_endless_is_stopped() {
        let begun = Instant::now();
        assert_eq!(check(Way::Command, &["cat", "/dev/zero"]), "error: `cat` prints more than 64 KiB");
        assert_eq!(check(Way::Command, &["head", "-c", "65536", "/dev/zero"]).len(), "error: what `head` prints holds a NUL byte, which cannot be passed to a host".len());
        // What it leaves behind holds nobody.
        assert_eq!(check(Way::Command, &["sh", "-c", "sleep 30 & echo here"]), "here");
        let wanted = Wanted { way: Way::Command, words: vec!["sleep".into(), "30".into()], folder: PathBuf::from("/") };
        assert_eq!(fetch(&wanted, Duration::from_millis(50)).expect_err("it is stopped"), "`sleep` took longer than 0 s, and was stopped");
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn files_and_the_environment() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        std::fs::write(&path, "two\nlines\n\n").expect("a file");
        let path = path.display().to_string();
        assert_eq!(check(Way::File, &[&path]), "two\nlines\n");
        assert_eq!(check(Way::File, &["/none/such"]), "error: `/none/such`: there is no such file");
        assert_eq!(check(Way::File, &["/"]), "error: `/`: it is a folder");
        assert_eq!(check(Way::File, &["/dev/zero"]), "error: `/dev/zero`: it is no regular file");
        assert_eq!(check(Way::Environment, &["MUTATE_NO_SUCH_VARIABLE"]), "error: the environment has no variable `MUTATE_NO_SUCH_VARIABLE`");
        assert_eq!(check(Way::Environment, &["PATH"]), std::env::var("PATH").expect("a path"));
    }
}
