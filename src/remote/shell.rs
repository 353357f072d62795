//! The one shell that stays open on a host, per user.

use std::collections::{BTreeSet, VecDeque};
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::frame::{Frame, Library, Verb, definition};
use super::opening::{Become, BecomeMethod, Opening, Prompt, Signs, opening_text};
use super::pipe::{Event, Exit, Input};
use super::wire::{Kept, Remark, Reply, Stderr, Stdout, Tokens};
use super::{HostFailure, Link};
use crate::shell::Script;

/// How long a shell may take to say hello, sudo included.
const HELLO_LIMIT: Duration = Duration::from_secs(15);
/// What is looked at for a prompt on stdout.
const PROMPT_LIMIT_BYTES: usize = 4 << 10;
/// Frames and libraries that travel with the opening, before they are encoded.
const FIRST_LIMIT_BYTES: usize = 60 << 10;

/// What the reading side tells the flight.
#[derive(Debug)]
pub(super) enum Incoming {
    Reply(Reply),
    /// All of a frame's stdout so far, sent with its end.
    Output(Kept),
    Remark(Remark),
    /// The shell is gone; `stderr` is what it said last.
    Closed { exit: Option<Exit>, stderr: Kept },
    Failed(HostFailure),
}

/// A handler that an earlier run has notified and that has not run since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    pub id: String,
    pub text: String,
}

/// Hears what commands print, as they print it.
pub trait Listener: Send {
    /// Takes a piece of stdout or stderr. The host waits until it has been taken.
    fn hear(&mut self, is_stderr: bool, bytes: Vec<u8>) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// An open shell.
pub struct Shell {
    pub(super) input: Input,
    pub(super) incoming: mpsc::Receiver<Incoming>,
    pub(super) defined: BTreeSet<&'static str>,
    /// Numeric id of the user it runs as.
    pub uid: u32,
    /// That user's home folder.
    pub home: String,
    /// Handlers that are still pending from earlier runs.
    pub pending: Vec<Pending>,
    /// Nothing can be sent any more.
    pub(super) gone: bool,
    /// Why that is so.
    pub(super) failure: Option<HostFailure>,
    pub(super) locked: bool,
    /// The lock was held, so its release must have reached the host before we go.
    releasing: bool,
    /// Frames that went along with the opening, whose replies are still to come.
    pub(super) ahead: Vec<Frame>,
    /// What came of those before the greeting was complete: stderr does not wait for stdout.
    pub(super) early: VecDeque<Incoming>,
    /// It runs the one frame that went ahead, and ends with it.
    pub(super) is_for_one: bool,
}

/// What a shell begins with.
struct Plan {
    defined: BTreeSet<&'static str>,
    ahead: Vec<Frame>,
    is_for_one: bool,
}

impl Shell {
    /// Opens a shell as the login user or as another one.
    ///
    /// `first` are frames to send along with the opening, which saves a round trip. They must be probes without
    /// secrets: the list of processes shows them. They are answered by the next [`flight`](Shell::flight) that begins
    /// with the same frames.
    ///
    /// # Errors
    /// When no shell opens there, each case with its own advice.
    pub async fn open(link: &Link, user: Option<&Become>, first: &[Frame]) -> Result<Self, HostFailure> {
        Self::open_heard(link, user, first, None).await
    }

    /// The same, and somebody hears what commands print as they print it.
    ///
    /// # Errors
    /// As [`Shell::open`].
    pub async fn open_heard(link: &Link, user: Option<&Become>, first: &[Frame], listener: Option<Box<dyn Listener>>) -> Result<Self, HostFailure> {
        let tokens = Tokens { public: random_word(), secret: random_word() };
        let mut libraries: Vec<&'static Library> = Vec::new();
        let mut frames = Vec::new();
        let mut ahead = Vec::new();
        let mut room = if user.is_none() { FIRST_LIMIT_BYTES } else { 0 };
        let mut rest = first;
        while let Some(frame) = rest.first() {
            // Those that are worked off together travel together.
            let count = if let Verb::Together { count, .. } = frame.verb { count + 1 } else { 1 };
            let Some((some, after)) = rest.split_at_checked(count) else { break };
            rest = after;
            let mut new: Vec<&'static Library> = Vec::new();
            let mut lines = Vec::new();
            for frame in some {
                let is_new = |library: &&'static Library| libraries.iter().chain(&new).all(|known| known.name != library.name);
                let more: Vec<&'static Library> = frame.libraries.iter().copied().filter(is_new).collect();
                new.extend(more);
                lines.extend_from_slice(&frame.line());
                lines.push(b'\n');
            }
            let size = lines.len() + new.iter().map(|library| library.text.len()).sum::<usize>();
            if size > room {
                break;
            }
            room -= size;
            libraries.extend(new);
            frames.extend_from_slice(&lines);
            ahead.extend_from_slice(some);
        }
        let text = opening_text(&tokens.public, &libraries, &frames);
        let mut opening = Opening::new(&text, user, &random_word(), link.command_limit_bytes());
        let mut rest = opening.first_line.take().unwrap_or_default();
        rest.extend_from_slice(tokens.secret.as_bytes());
        rest.push(b'\n');
        opening.first_line = Some(rest);
        let defined = libraries.iter().map(|library| library.name).collect();
        Self::start(link, user, opening, tokens, Plan { defined, ahead, is_for_one: false }, listener).await
    }

    /// Opens a shell for one command of the login user's, and nothing else. It ends with the command, which is answered by the next
    /// [`flight`](Shell::flight) that begins with this frame. For any other frame, a long command, or a server that may not tell how it ends, it is a shell as usual.
    ///
    /// # Errors
    /// As [`Shell::open`].
    pub async fn open_for_one(link: &Link, frame: &Frame, listener: Option<Box<dyn Listener>>) -> Result<Self, HostFailure> {
        let lines = frame.once().filter(|_| link.tells_exits());
        let Some(lines) = lines else { return Self::open_heard(link, None, &[], listener).await };
        let tokens = Tokens { public: random_word(), secret: random_word() };
        let opening = Opening::once(&tokens.public, lines);
        let plan = Plan { defined: BTreeSet::new(), ahead: vec![frame.clone()], is_for_one: true };
        Self::start(link, None, opening, tokens, plan, listener).await
    }

    /// Starts what `opening` says, and waits until it is there.
    async fn start(link: &Link, user: Option<&Become>, opening: Opening, tokens: Tokens, plan: Plan, listener: Option<Box<dyn Listener>>) -> Result<Self, HostFailure> {
        let waits = opening.signs.as_ref().is_some_and(|signs| !matches!(signs.prompt, Prompt::Never));
        let rest = opening.first_line.unwrap_or_default();
        // Where nothing ever asks for a password, nothing can fall into wrong hands.
        let (mut at_once, once_asked) = if waits { (Vec::new(), Some(rest)) } else { (rest, None) };
        let (mut input, events) = match link.start_with(&opening.command, &mut at_once).await {
            Err(failure) if plan.is_for_one && link.is_in_doubt() => return Ok(Self::with(Input::None, plan).lost(failure)),
            started => started?,
        };
        let (sender, mut incoming) = mpsc::channel(4096);
        let (noticed, mut notices) = mpsc::channel(8);
        let (saying, said) = watch::channel(String::new());
        tokio::spawn(read(events, tokens, opening.signs.clone(), sender, (noticed, saying), listener));
        if !at_once.is_empty() {
            let written = tokio::time::timeout(HELLO_LIMIT, input.write(&at_once)).await;
            if let Err(failure) = written.unwrap_or_else(|_| Err(silent(user, ""))) {
                input.close().await;
                return Err(failure);
            }
        }
        let mut shell = Self::with(input, plan);
        let hello = shell.greet(&mut incoming, &mut notices, user, once_asked);
        let failure = match tokio::time::timeout(HELLO_LIMIT, hello).await {
            Ok(Ok(())) => {
                shell.incoming = incoming;
                return Ok(shell);
            }
            Ok(Err(failure)) => failure,
            Err(_) if shell.is_for_one => return Ok(shell.lost(silent(user, &said.borrow()))),
            Err(_) => silent(user, &said.borrow()),
        };
        shell.input.close().await;
        Err(failure)
    }

    /// In place of a shell for one command that may have begun or not: the next [`flight`](Shell::flight) says so.
    pub fn in_doubt(frame: &Frame, failure: HostFailure) -> Self {
        Self::with(Input::None, Plan { defined: BTreeSet::new(), ahead: vec![frame.clone()], is_for_one: true }).lost(failure)
    }

    fn lost(mut self, failure: HostFailure) -> Self {
        self.early.push_back(Incoming::Failed(failure));
        self
    }

    fn with(input: Input, plan: Plan) -> Self {
        Self {
            input,
            incoming: mpsc::channel(1).1,
            defined: plan.defined,
            uid: 0,
            home: String::new(),
            pending: Vec::new(),
            gone: false,
            failure: None,
            locked: false,
            releasing: false,
            ahead: plan.ahead,
            early: VecDeque::new(),
            is_for_one: plan.is_for_one,
        }
    }

    async fn greet(
        &mut self,
        incoming: &mut mpsc::Receiver<Incoming>,
        notices: &mut mpsc::Receiver<Notice>,
        user: Option<&Become>,
        mut rest: Option<Vec<u8>>,
    ) -> Result<(), HostFailure> {
        let mut asked = false;
        loop {
            let event = tokio::select! {
                event = incoming.recv() => event,
                Some(notice) = notices.recv(), if rest.is_some() => {
                    match (notice, user.and_then(|user| user.password.as_ref())) {
                        (Notice::Ready, _) => {
                            if let Some(text) = rest.take() {
                                self.input.write(&text).await?;
                            }
                        }
                        (Notice::Prompt, Some(password)) if !asked => {
                            asked = true;
                            let mut line = password.expose().as_bytes().to_vec();
                            line.push(b'\n');
                            self.input.write(&line).await?;
                            zeroize::Zeroize::zeroize(&mut line);
                        }
                        (Notice::Prompt, Some(_)) => return Err(HostFailure::Become(wrong_password(user))),
                        (Notice::Prompt, None) => return Err(HostFailure::Become(wants_password(user))),
                    }
                    continue;
                }
            };
            match event {
                Some(Incoming::Reply(Reply::Hello { uid, home })) => {
                    self.uid = uid;
                    self.home = String::from_utf8_lossy(&home).into_owned();
                }
                Some(Incoming::Reply(Reply::Handlers(text))) => {
                    self.pending = pending(&text);
                    return Ok(());
                }
                Some(Incoming::Reply(Reply::Refused { stdin: true })) => return Err(read_by_others()),
                Some(Incoming::Reply(Reply::Refused { stdin: false })) => {
                    return Err(HostFailure::Shell("its `sh` does not read words as POSIX says, so mutate will not use it; make `sh` a POSIX shell such as dash, bash or busybox ash".into()));
                }
                // It may have begun all the same, and nobody was told.
                Some(lost @ (Incoming::Closed { exit: None, .. } | Incoming::Failed(_))) if self.is_for_one => {
                    self.early.push_back(lost);
                    return Ok(());
                }
                Some(Incoming::Closed { exit, stderr }) => return Err(not_opened(user, exit.map(Exit::status), &stderr.bytes())),
                Some(Incoming::Failed(failure)) => return Err(failure),
                Some(begun @ Incoming::Reply(Reply::Begun { .. })) if self.is_for_one => {
                    self.early.push_back(begun);
                    return Ok(());
                }
                Some(other) => self.early.push_back(other),
                None => return Err(HostFailure::Lost("the shell ended before it said hello".into())),
            }
        }
    }

    /// Whether frames can still be sent.
    pub fn is_open(&self) -> bool {
        !self.gone
    }

    /// The definitions that these libraries still need in this shell, as lines.
    pub(super) fn definitions(&mut self, libraries: &[&'static Library]) -> Vec<u8> {
        let mut text = Vec::new();
        for library in libraries {
            if self.defined.insert(library.name) {
                text.extend_from_slice(&definition(library));
                text.push(b'\n');
            }
        }
        text
    }

    /// Renews the lease of the lock, so that nobody takes this controller for dead.
    pub async fn beat(&mut self) {
        if !self.gone && self.input.write(b"H\n").await.is_err() {
            self.gone = true;
        }
    }

    /// Why nothing can be sent any more, if that is so.
    pub fn failure(&self) -> Option<&HostFailure> {
        self.failure.as_ref()
    }

    /// Releases the lock, if it is held, once a last script has run, which is one line and says nothing.
    pub async fn unlock(&mut self, library: &'static Library, last: &Script) {
        self.releasing |= self.locked;
        if self.locked && !self.gone {
            let mut text = self.definitions(&[library]);
            text.extend_from_slice(last.as_bytes());
            text.extend_from_slice(b"\ncore_release\n");
            self.gone = self.input.write(&text).await.is_err();
        }
        self.locked = false;
    }

    /// Ends the shell, and with it the lock; waits for that only where there was one, since it costs a round trip.
    pub async fn close(mut self) {
        if self.gone && self.is_for_one {
            return;
        }
        if !self.gone && self.input.write(b"Q\n").await.is_ok() && (self.locked || self.releasing) {
            let ended = async {
                while let Some(event) = self.incoming.recv().await {
                    // A daemon that a task left behind may keep the channel open.
                    if matches!(event, Incoming::Reply(Reply::Bye) | Incoming::Closed { .. } | Incoming::Failed(_)) {
                        break;
                    }
                }
            };
            let _in_time = tokio::time::timeout(Duration::from_secs(5), ended).await;
        }
        self.input.close().await;
    }
}

fn pending(text: &[u8]) -> Vec<Pending> {
    String::from_utf8_lossy(text)
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(id, text)| Pending { id: id.to_owned(), text: text.to_owned() })
        .collect()
}

/// 128 random bits in hexadecimal.
pub(super) fn random_word() -> String {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).expect("the system has a source of randomness");
    bytes.iter().fold(String::with_capacity(32), |mut word, byte| {
        use std::fmt::Write as _;
        let _infallible = write!(word, "{byte:02x}");
        word
    })
}

/// What another user's command has shown on stderr.
#[derive(Clone, Copy, Debug)]
enum Notice {
    Prompt,
    Ready,
}

/// `said` is what it has said last, and may be a question that only a person can answer.
fn silent(user: Option<&Become>, said: &str) -> HostFailure {
    match user {
        Some(user) => {
            let why = if said.is_empty() {
                "it may wait for a slow name or directory service".to_owned()
            } else {
                format!("it said `{said}`, and mutate answers no question but the one for the password")
            };
            HostFailure::Become(format!("{} to `{}` did not answer within {} s; {why}", user.method.name(), user.user, HELLO_LIMIT.as_secs()))
        }
        None => HostFailure::Shell(format!(
            "the login shell did not start `sh` within {} s; a profile on the host may wait for input",
            HELLO_LIMIT.as_secs()
        )),
    }
}

/// The program and the user, as in `sudo to `root``.
fn becoming(user: Option<&Become>) -> String {
    user.map_or_else(String::new, |user| format!("{} to `{}`", user.method.name(), user.user))
}

pub(super) fn read_by_others() -> HostFailure {
    HostFailure::Shell("a profile of the login shell reads stdin, which is meant for mutate; guard it so that only an interactive shell does that".into())
}

fn wrong_password(user: Option<&Become>) -> String {
    format!("{} did not accept the password; it was tried once and not again", becoming(user))
}

fn wants_password(user: Option<&Become>) -> String {
    let instead = match user.map(|user| user.method) {
        Some(BecomeMethod::Sudo) => ", or allow NOPASSWD in sudoers",
        Some(BecomeMethod::Su) => " (it is that user's own)",
        _ => "",
    };
    format!("{} wants a password; give it with `-K` or `--become-password-file`{instead}", becoming(user))
}

/// Why a shell did not open, from what the other side said before it closed the channel.
fn not_opened(user: Option<&Become>, status: Option<u32>, stderr: &[u8]) -> HostFailure {
    let said = String::from_utf8_lossy(stderr);
    let said = said.trim();
    if let Some(user) = user {
        let (name, way, which) = (&user.user, becoming(Some(user)), user.method.name());
        let any = |words: &[&str]| words.iter().any(|word| said.contains(word));
        let reason = if any(&["account has expired", "password has expired", "expired; contact"]) || said.contains("Account or password is expired") {
            format!("{way}: the password or the account has expired: {}", first_line(said, status))
        } else if which == "doas" && any(&["a tty is required", "Authentication required", "Authorization required", "Authentication failed", "/dev/tty"]) {
            format!("{way} wants a password, which it reads from a terminal alone; allow `nopass` for this login in doas.conf")
        } else if any(&["a password is required"]) || said.contains("a terminal is required") && user.password.is_none() {
            wants_password(Some(user))
        } else if any(&["incorrect password", "no password was provided", "Sorry, try again", "Authentication failure", "incorrect authentication", "Authentication token manipulation"]) || which == "su" && said.contains("incorrect") {
            wrong_password(Some(user))
        } else if any(&["not in the sudoers", "not allowed", "may not run sudo", "Operation not permitted", "Permission denied"]) {
            let where_ = if which == "sudo" { "sudoers" } else if which == "doas" { "doas.conf" } else { "the group that may use su (see pam_wheel)" };
            format!("{which} does not allow this login to become `{name}`; add it to {where_} on the host")
        } else if any(&["must have a tty", "have a tty to run sudo"]) {
            format!("{way} demands a terminal (`requiretty`), which mutate never has; remove `requiretty` for this login in sudoers")
        } else if any(&["unknown user", "user does not exist", "does not exist", "Unknown id", "no passwd entry", "unknown login"]) {
            format!("the host has no user `{name}` to become")
        } else if status == Some(127) || any(&[": not found", "command not found", "Unknown command", "No such file or directory"]) {
            format!("the host has no {which} to become `{name}` with; log in as that user, install {which}, or choose another `become_method`")
        } else if any(&["This account is currently not available"]) {
            format!("the account `{name}` may not run a shell: {}", first_line(said, status))
        } else {
            format!("{way} failed: {}", first_line(said, status))
        };
        return HostFailure::Become(reason);
    }
    if said.contains("Password change required") || said.contains("password has expired") {
        return HostFailure::Shell(format!("the password of the account has expired, so the host runs nothing for it: {}; log in by hand and change it", first_line(said, status)));
    }
    if said.contains("not available") {
        return HostFailure::Shell(format!("the account may not log in: {}", first_line(said, status)));
    }
    match status {
        Some(127) => HostFailure::Shell(format!("the host has no usable `sh`: {}", first_line(said, status))),
        _ => HostFailure::Shell(format!(
            "the login shell ended without starting `sh`: {}; the account may have no shell (nologin, false) or a forced command",
            first_line(said, status)
        )),
    }
}

/// The last line that says something, without signs that a terminal would obey.
fn last_line(said: &str) -> String {
    let line = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    line.chars().filter(|letter| !letter.is_control()).take(200).collect()
}

fn first_line(said: &str, status: Option<u32>) -> String {
    match said.lines().map(str::trim).rfind(|line| !line.is_empty()) {
        Some(line) => line.chars().take(300).collect(),
        None => match status {
            Some(status) => format!("it ended with status {status} and said nothing"),
            None => "it was closed and said nothing".into(),
        },
    }
}

/// Reads a shell for as long as it lives, so that no channel is ever left full.
async fn read(
    mut events: mpsc::Receiver<Event>,
    tokens: Tokens,
    signs: Option<Signs>,
    sender: mpsc::Sender<Incoming>,
    (noticed, saying): (mpsc::Sender<Notice>, watch::Sender<String>),
    mut listener: Option<Box<dyn Listener>>,
) {
    let mut stdout = Stdout::new(tokens.clone());
    let mut stderr = Stderr::new(tokens, listener.is_some());
    let mut output = Kept::default();
    let mut prompts_seen = 0;
    // busybox asks on stdout.
    let mut asked_on_stdout = Vec::new();
    let mut is_ready = false;
    let mut greeted = false;
    let (mut replies, mut remarks) = (Vec::new(), Vec::new());
    while let Some(event) = events.recv().await {
        let fed = match event {
            Event::Stdout(bytes) => {
                if signs.is_some() && !is_ready && asked_on_stdout.len() < PROMPT_LIMIT_BYTES {
                    asked_on_stdout.extend_from_slice(&bytes);
                }
                stdout.feed(&bytes, &mut replies)
            }
            Event::Stderr(bytes) => stderr.feed(&bytes, &mut remarks),
            Event::Closed(exit) => {
                // What a step has said before its end, or before it was cut off.
                let rest = stdout.rest();
                output.push(&rest);
                stderr.end();
                if let Some(listener) = &mut listener {
                    for (is_stderr, last) in [(false, rest), (true, stderr.take_fresh())] {
                        if !last.is_empty() {
                            listener.hear(is_stderr, last).await;
                        }
                    }
                }
                if output.total_bytes > 0 && sender.send(Incoming::Output(output)).await.is_err() {
                    return;
                }
                let mut stderr = stderr.loose();
                if let Some(signs) = &signs {
                    let said = String::from_utf8_lossy(&stderr.bytes()).replace(&signs.ready, "");
                    stderr = Kept::default();
                    stderr.push(said.as_bytes());
                }
                // Whoever has gone away does not want to know.
                let _heard = sender.send(Incoming::Closed { exit, stderr }).await;
                return;
            }
        };
        if let Err(damage) = fed {
            let _heard = sender.send(Incoming::Failed(damage.into())).await;
            return;
        }
        if let (Some(signs), false) = (&signs, greeted || is_ready) {
            let said = String::from_utf8_lossy(&stderr.loose().bytes()).into_owned();
            // What stands before the command is there may be a question; what stands behind is the command's own.
            let (before, ready) = said.split_once(signs.ready.as_str()).map_or((said.as_str(), false), |(before, _)| (before, true));
            while prompts_seen < signs.prompts(before) + signs.prompts(&String::from_utf8_lossy(&asked_on_stdout)) {
                prompts_seen += 1;
                let _heard = noticed.try_send(Notice::Prompt);
            }
            saying.send_replace(last_line(before));
            if ready {
                is_ready = true;
                let _heard = noticed.try_send(Notice::Ready);
            }
        }
        if let Some(listener) = &mut listener {
            let fresh = stderr.take_fresh();
            if !fresh.is_empty() {
                listener.hear(true, fresh).await;
            }
        }
        for reply in replies.drain(..) {
            let message = match reply {
                Reply::Output(bytes) => {
                    output.push(&bytes);
                    if let Some(listener) = &mut listener {
                        listener.hear(false, bytes).await;
                    }
                    continue;
                }
                Reply::Done(done) => {
                    let output = std::mem::take(&mut output);
                    if sender.send(Incoming::Output(output)).await.is_err() {
                        return;
                    }
                    Reply::Done(done)
                }
                Reply::Hello { .. } => {
                    greeted = true;
                    stderr.listen();
                    reply
                }
                other => other,
            };
            if sender.send(Incoming::Reply(message)).await.is_err() {
                return;
            }
        }
        for remark in remarks.drain(..) {
            if sender.send(Incoming::Remark(remark)).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::BecomeMethod;

    #[test]
    fn each_way_sudo_says_no_has_its_own_message() {
        let user = Become { user: "root".into(), method: BecomeMethod::Sudo, password: None };
        let check = |said: &str| not_opened(Some(&user), Some(1), said.as_bytes()).to_string();
        assert!(check("sudo: a password is required\n").contains("wants a password"));
        assert!(check("sudo: sorry, you must have a tty to run sudo").contains("requiretty"));
        assert!(check("nosudo is not in the sudoers file.").contains("does not allow"));
        assert!(check("sudo: unknown user nobody2").contains("has no user"));
        assert!(check("bash: line 1: exec: sudo: not found").contains("has no sudo"));
    }
}
