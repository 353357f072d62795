//! Changes that could lock everybody out go back by themselves, unless a new login confirms them in time.
//!
//! The host keeps the way back of such a change, and a process there waits (`watch.sh`). When the flight has ended, a
//! login on a connection of its own confirms it. Where that cannot be, the host takes back what it has kept, and its
//! ledger tells of it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::ledger::Ledger;
use super::rollback::is_late;
use super::step::{Ready, UserKey};
use super::walk::{Halt, Walker};
use crate::event::{Outcome, Place, Quality, Record, Step, Undone, Way};
use crate::module::{Change, Touches, Undo};
use crate::remote::wire::End;
use crate::remote::{Frame, FrameResult, HostFailure, Library, Link, Method, Outcome as Came, Shell, Stop, Verb, Watch};
use crate::shell::Script;

pub static LIBRARY: Library = Library { name: "watch", text: include_str!("watch.sh") };

/// How long a change waits for a new login where the task says nothing.
const USUAL: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(1);
/// How long the host may need to take everything back, once its time has come, at the least.
const TAKING_BACK: Duration = Duration::from_secs(20);

/// Folders and files that decide who can log in, and over which network. A folder ends with `/`.
const PATHS: &[&str] = &[
    "/etc/ssh/", "/etc/dropbear/", "/etc/default/dropbear", "/etc/sudoers", "/etc/sudoers.d/", "/etc/pam.conf", "/etc/pam.d/",
    "/etc/security/", "/etc/selinux/", "/etc/nsswitch.conf", "/etc/hosts.allow", "/etc/hosts.deny", "/etc/nftables.conf", "/etc/nftables/",
    "/etc/nftables.d/", "/etc/iptables/", "/etc/sysconfig/iptables", "/etc/sysconfig/ip6tables", "/etc/sysconfig/nftables.conf",
    "/etc/ufw/", "/etc/firewalld/", "/etc/network/", "/etc/netplan/", "/etc/systemd/network/", "/etc/NetworkManager/",
    "/etc/sysconfig/network", "/etc/sysconfig/network/", "/etc/sysconfig/network-scripts/", "/etc/netctl/", "/etc/conf.d/net",
];
/// Of them, what is only for logins to elsewhere.
const HARMLESS: &[&str] = &["/etc/ssh/ssh_config", "/etc/ssh/ssh_config.d/", "/etc/ssh/ssh_known_hosts", "/etc/security/limits.conf", "/etc/security/limits.d/"];
const SERVICES: &[&str] = &[
    "ssh", "sshd", "dropbear", "networking", "network", "NetworkManager", "systemd-networkd", "wicked", "wickedd", "netctl", "connman",
    "nftables", "iptables", "ip6tables", "netfilter-persistent", "ufw", "firewalld", "shorewall", "ferm",
];

/// Programs that restart a service.
const MANAGERS: &[&str] = &["systemctl", "service", "rc-service", "invoke-rc.d", "sv"];

/// A change that the host would take back.
pub(super) struct Watched {
    place: Place,
    pub limit: Duration,
}

/// What has become of a change that nobody has confirmed.
#[derive(Clone, Debug)]
pub(super) enum Fall {
    TakenBack(String),
    /// Something of it is still there.
    Left(String),
    Unknown(String),
}

impl Walker {
    /// How long a change of this step waits for a new login.
    pub(super) fn confirm_limit(&self, ready: &Ready) -> Option<Duration> {
        let asked = ready.bound.task.confirm;
        let limit = asked.or(self.handler_limit.filter(|_| ready.bound.is_handler)).or_else(|| usual(&ready.act.touches(&ready.around)));
        limit.filter(|limit| !limit.is_zero() && self.plan.target.method == Method::Ssh)
    }

    /// How the host takes the undoing of a change back, or one of a saved plan. With `again` it is not taken back but done
    /// once more, when everything else is back.
    pub(super) fn watch_again(&mut self, seq: u32, record: &Record, place: &Place, back: &Way, exact: bool, again: bool) -> Option<Watch> {
        let limit = Duration::from_secs(record.confirm_seconds.filter(|_| self.plan.target.method == Method::Ssh)?);
        if back.quality == Quality::Impossible {
            return None;
        }
        self.watched.insert(seq, Watched { place: place.clone(), limit });
        let late = again || is_late(&place.module, &back.script.0);
        Some(Watch { limit, undo: Script::raw(back.script.0.clone()), takes_record: back.takes_record, by_user: back.by_user, late, exact: exact && back.quality == Quality::Exact })
    }

    /// How the host takes this change back by itself; `None` when nobody is locked out by it.
    ///
    /// # Errors
    /// Why it cannot be taken back, where the task asks for that.
    pub(super) fn watch(&self, ready: &Ready, change: &Change, apply: &Script) -> Result<Option<(Watch, Watched)>, String> {
        let (asked, touched) = (ready.bound.task.confirm, ready.act.touches(&ready.around));
        let Some(limit) = self.confirm_limit(ready) else { return Ok(None) };
        let (undo, takes_record, exact) = match &change.undo {
            Undo::Run(script) => (script.clone(), false, true),
            Undo::Restore(script) => (script.clone(), true, true),
            Undo::BestEffort(script, _) => (script.clone(), false, false),
            Undo::RestoreMost(script, _) => (script.clone(), true, false),
            // What a handler of the user's own does, or a restart, is done again once the files are back.
            Undo::Impossible(_) if ready.module.runs_user_text && (ready.bound.is_handler || usual(&touched).is_some()) => (apply.clone(), false, false),
            Undo::Impossible(why) if asked.is_some() => return Err(format!("its `confirm` has nothing to go back to: {why}")),
            Undo::Impossible(_) => return Ok(None),
        };
        let again = matches!(change.undo, Undo::Impossible(_));
        let late = again || is_late(ready.module.name, undo.as_bytes());
        let exact = exact && change.expect.is_some() && ready.answer.as_ref().is_some_and(|before| before.status == 0);
        let place = Place { task: ready.name.clone(), ..self.place_at(ready) };
        Ok(Some((Watch { limit, undo, takes_record, by_user: change.apply.by_user, late, exact }, Watched { place, limit })))
    }

    fn place_at(&self, ready: &Ready) -> Place {
        let sources = &self.shared.input.sources;
        let span = &ready.bound.task.span;
        Place {
            play: self.play.of(&self.shared).name.clone(),
            task: String::new(),
            module: ready.module.name.to_owned(),
            file: sources.get(span.source).name.clone(),
            line: sources.line(span),
            item: if ready.no_log { None } else { super::settle::shown_item(&ready.bound) },
        }
    }

    /// Confirms what a flight has changed by a new login. Where that cannot be, or where such a change has failed, the host
    /// takes back everything that it has kept for this, and what became of each change is noted.
    pub(super) async fn confirm(&mut self, user: &UserKey, results: &[FrameResult]) {
        let is_made = |result: &&FrameResult| matches!(&result.outcome, Came::Ended(done) if matches!(done.end, End::Changed | End::Ran | End::Failed | End::Unconverged));
        let made: Vec<&FrameResult> = results.iter().filter(is_made).filter(|result| self.watched.contains_key(&result.seq)).collect();
        let Some(limit) = made.iter().filter_map(|result| self.watched.get(&result.seq)).map(|watched| watched.limit).max() else { return };
        let has_failed = made.iter().any(|result| matches!(&result.outcome, Came::Ended(done) if matches!(done.end, End::Failed | End::Unconverged)));
        let end = Instant::now() + limit;
        let why = if has_failed {
            String::new()
        } else {
            match self.new_login(user, end).await {
                None => return,
                Some(failure) => format!("no new login within {} s{failure}", limit.as_secs()),
            }
        };
        let numbers: Vec<u32> = made.iter().map(|result| result.seq).collect();
        let last = end + self.shared.input.options.resolve_limit.max(TAKING_BACK);
        match self.hear_what_fell(user, has_failed, last).await {
            Some(Fallen::Confirmed) => {}
            Some(Fallen::Back(ledger)) => self.note_falls(&Ledger::read(&ledger), &why),
            None => {
                let message = format!("it was done, but there was {why}; whether the host has taken it back is not known, `mutate resolve` asks it");
                self.falls.extend(numbers.into_iter().map(|seq| (seq, Fall::Unknown(message.clone()))));
            }
        }
    }

    /// Logs in anew, until that confirms what waits or the time is over; then why it could not be.
    async fn new_login(&mut self, user: &UserKey, end: Instant) -> Option<String> {
        let mut said = String::new();
        loop {
            match timeout_at(end, self.confirm_anew(user)).await {
                Ok(Ok(true)) => return None,
                Ok(Ok(false)) | Err(_) => return Some(said),
                Ok(Err(failure)) => {
                    said = format!(": {failure}");
                    if is_final(&failure) {
                        return Some(said);
                    }
                }
            }
            for shell in self.shells.values_mut() {
                shell.beat().await;
            }
            if Instant::now() + PAUSE >= end {
                return Some(said);
            }
            sleep(PAUSE).await;
        }
    }

    /// One login on a connection of its own, all the way to a shell. Whether it came in time.
    async fn confirm_anew(&mut self, user: &UserKey) -> Result<bool, HostFailure> {
        let script = crate::sh!("watch_confirm {}", self.shared.run);
        let frame = probe(self.seq(), script);
        Ok(self.ask_anew(user, frame).await? == b"confirmed\n")
    }

    /// What a question is answered by one login on a connection of its own, all the way to a shell.
    pub(super) async fn ask_anew(&mut self, user: &UserKey, question: Frame) -> Result<Vec<u8>, HostFailure> {
        let shared = self.shared.clone();
        let _permit = shared.handshakes.permit(&self.plan.target).await;
        let link = Link::open(&self.plan.target, &shared.input.reach).await?;
        let other = user.as_ref().map(|name| self.plan.become_as(name, &shared.input.options));
        let mut shell = Shell::open(&link, other.as_ref(), &[]).await?;
        // A run that is to end does not leave this undecided.
        let (_held, mut stop) = watch::channel(Stop::No);
        let results = shell.flight(&[question], &mut stop).await;
        shell.close().await;
        link.close().await;
        match results.into_iter().next().map(|result| result.outcome) {
            Some(Came::Answered { stdout, .. }) => Ok(stdout),
            Some(Came::Unknown(failure)) => Err(failure),
            _ => Err(HostFailure::Lost("the new session ended at once".into())),
        }
    }

    /// Waits until the host has taken everything back, which it does at once when asked to.
    async fn hear_what_fell(&mut self, user: &UserKey, at_once: bool, last: Instant) -> Option<Fallen> {
        let mut word = if at_once { "watch_now" } else { "watch_state" };
        loop {
            match timeout_at(last, self.ask_watch(user, word)).await {
                Ok(Ok(answer)) => {
                    let line = answer.iter().position(|&byte| byte == b'\n').unwrap_or(answer.len());
                    match &answer[..line] {
                        b"over" => return Some(Fallen::Back(answer)),
                        b"confirmed" => return Some(Fallen::Confirmed),
                        b"none" => return None,
                        _ => word = "watch_state",
                    }
                }
                Ok(Err(Halt::Stopped)) | Err(_) => return None,
                Ok(Err(_)) => {}
            }
            if Instant::now() + PAUSE >= last || self.is_stopping() {
                return None;
            }
            sleep(PAUSE / 2).await;
        }
    }

    /// What the host says of it, over the session that is open, or a new one; and behind that, its ledger.
    async fn ask_watch(&mut self, user: &UserKey, word: &str) -> Result<Vec<u8>, Halt> {
        if !self.shells.get(user).is_some_and(Shell::is_open) {
            self.shells.clear();
            self.link = None;
        }
        self.shell(user, &[]).await?;
        let run = self.shared.run.clone();
        let script = crate::sh!("{} {}; cat \"$st/runs/\"{}/ledger", Script::raw(word), run, run);
        let frame = probe(self.seq(), script);
        match self.fly(user, &[frame]).await?.into_iter().next().map(|result| result.outcome) {
            Some(Came::Answered { stdout, .. }) => Ok(stdout),
            Some(Came::Unknown(failure)) => Err(Halt::Host(failure)),
            _ => Err(self.not_begun(user)),
        }
    }

    /// Notes what became of every change that the host had kept a way back for.
    fn note_falls(&mut self, ledger: &Ledger, why: &str) {
        let behind = if why.is_empty() { String::new() } else { format!(": {why}") };
        let mut undone = Undone::Completely;
        for (seq, status) in ledger.undone() {
            let fall = match status {
                0 => Fall::TakenBack(format!("rolled back{behind}")),
                4 => Fall::Left(format!("not rolled back, since somebody has changed it meanwhile{behind}")),
                6 => Fall::Left(format!("rolled back, but the host does not answer as it did before{behind}")),
                _ => Fall::Left(format!("it could not be rolled back; why stands in runs/{}/watch/ of the host's state folder{behind}", self.shared.run)),
            };
            if matches!(fall, Fall::Left(_)) {
                undone = Undone::InPart;
            }
            self.falls.insert(seq, fall);
        }
        self.undone = self.undone.max(Some(undone));
        self.message = format!("rolled back {}{behind}", undone.name());
        self.made.retain(|made| u32::try_from(made.number).is_ok_and(|seq| !self.falls.contains_key(&seq)));
    }

    /// What became of the step of this number, which was not confirmed.
    pub(super) fn fall(&mut self, seq: u32) -> (Outcome, String) {
        self.watched.remove(&seq);
        match self.falls.remove(&seq) {
            Some(Fall::TakenBack(said) | Fall::Left(said)) => (Outcome::Failed, said),
            Some(Fall::Unknown(said)) => (Outcome::Unknown, said),
            None => (Outcome::Unknown, String::new()),
        }
    }

    /// Tells of changes that were told of as done before, and that the host has taken back since.
    /// Gives their numbers.
    pub(super) async fn tell_falls(&mut self) -> Vec<u32> {
        let mut told = Vec::new();
        let falls = std::mem::take(&mut self.falls);
        for (seq, fall) in falls {
            let Some(watched) = self.watched.remove(&seq) else { continue };
            let place = Place { task: format!("undo: {}", watched.place.task), ..watched.place };
            let (outcome, message) = match fall {
                Fall::TakenBack(message) => (Outcome::Changed, message),
                Fall::Left(message) => (Outcome::Failed, message),
                Fall::Unknown(message) => (Outcome::Unknown, message),
            };
            let step = Step { outcome, message, undoes: Some(seq), ..place.step(&self.name) };
            self.tell_step(step);
            told.push(seq);
        }
        // What they would have made good is undone.
        if self.undone == Some(Undone::Completely) {
            for at in std::mem::take(&mut self.handler_limits).into_keys() {
                if let Some(shells) = self.notified.remove(&at) {
                    self.clear(at, &shells).await;
                }
            }
        }
        told
    }
}

enum Fallen {
    Confirmed,
    /// All that was kept has been taken back; the answer holds the ledger.
    Back(Vec<u8>),
}

/// How many steps fly together, of those that follow each other: behind some that wait for a new login, the flight ends.
pub(super) fn confirmed_together(are_watched: impl Iterator<Item = bool>) -> usize {
    let mut seen = false;
    are_watched
        .take_while(|is_watched| {
            let goes_on = *is_watched || !seen;
            seen |= *is_watched;
            goes_on
        })
        .count()
}

fn probe(seq: u32, script: Script) -> Frame {
    Frame { seq, verb: Verb::Probe(script), libraries: vec![&LIBRARY], limit: Duration::from_secs(30) }
}

/// Whether another try would only be refused again.
fn is_final(failure: &HostFailure) -> bool {
    matches!(
        failure,
        HostFailure::Login { .. } | HostFailure::Become(_) | HostFailure::Key(_) | HostFailure::HostKeyUnknown { .. } | HostFailure::HostKeyChanged { .. } | HostFailure::HostKeyRevoked { .. }
    )
}

/// How long a change of this thing waits for a new login.
fn usual(touched: &Touches) -> Option<Duration> {
    let is_dangerous = match touched {
        Touches::Nothing => false,
        Touches::Path(path) => path.ends_with("/.ssh/authorized_keys") || is_among(PATHS, path) && !is_among(HARMLESS, path),
        Touches::Service(name) => is_service(name),
        Touches::Command(text) => {
            let words = || text.split(|letter: char| letter.is_whitespace() || ";&|()'\"".contains(letter));
            let manages = |word: &str| MANAGERS.contains(&word.rsplit('/').next().unwrap_or(word)) || word.starts_with("/etc/init.d/") || word.starts_with("/etc/rc.d/");
            words().any(manages) && words().any(|word| is_service(word.rsplit('/').next().unwrap_or(word)))
        }
    };
    is_dangerous.then_some(USUAL)
}

fn is_service(name: &str) -> bool {
    SERVICES.contains(&name.trim_end_matches(".service").trim_end_matches(".socket"))
}

fn is_among(list: &[&str], path: &str) -> bool {
    let path = path.trim_end_matches('/');
    list.iter().any(|one| match one.strip_suffix('/') {
        Some(folder) => path == folder || path.starts_with(one),
        None => path == *one,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_lock_everybody_out_is_known() {
        let path = |path: &str| usual(&Touches::Path(path.into())).is_some();
        for dangerous in ["/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d/x.conf", "/etc/ssh/", "/etc/sudoers", "/etc/sudoers.d/web", "/etc/pam.d/sshd", "/etc/nftables.conf", "/root/.ssh/authorized_keys"] {
            assert!(path(dangerous), "{dangerous}");
        }
        for harmless in ["/etc/ssh/ssh_config", "/etc/sudo.conf", "/etc", "/etc/sshd", "/etc/hosts", "/home/ann/.ssh/config"] {
            assert!(!path(harmless), "{harmless}");
        }
        let service = |name: &str| usual(&Touches::Service(name.into())).is_some();
        let command = |text: &str| usual(&Touches::Command(text.into())).is_some();
        assert!(command("systemctl restart ssh") && command("/usr/sbin/service sshd reload; true") && command("/etc/init.d/networking restart"));
        assert!(!command("systemctl restart nginx") && !command("echo ssh") && !command("ssh host service-list"));
        assert!(service("ssh") && service("sshd.service") && service("ssh.socket") && !service("nginx"));
    }
}
