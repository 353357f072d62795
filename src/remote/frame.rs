//! What can be asked of an open shell, and how it is written on its stdin: one line per frame.

use std::time::Duration;

use crate::shell::{Pattern, Script, escaped};

/// A byte takes a host some 2 µs, and the shell that stays open some 5 ms.
const ONCE_LIMIT_BYTES: usize = 1 << 10;

/// Shell functions that scripts of several modules use. Sent to a shell once, before the first frame that needs them.
#[derive(Debug)]
pub struct Library {
    /// Prefix of its functions and name of its file.
    pub name: &'static str,
    pub text: &'static str,
}

/// One request. Frames of a flight are worked off in order; see `core.sh` for what the target does with each.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Number by which the reply is known. The same step keeps its number over all its frames.
    pub seq: u32,
    pub verb: Verb,
    /// Libraries that its scripts use, in the order in which they build on each other.
    pub libraries: Vec<&'static Library>,
    /// How long the target may take over this frame alone.
    pub limit: Duration,
}

#[derive(Debug, Clone)]
pub enum Verb {
    /// Asks, and remembers the answer for the compare-and-swap.
    Probe(Script),
    /// Whether the answer is still the one from before.
    Still(Script),
    /// Runs a question that the user wrote.
    Run(Script),
    /// One guarded change.
    Commit(Box<Guarded>),
    /// Takes the lock of the host for a run; `again`: also from an earlier shell of the same owner.
    Lock { run: String, lease: Duration, owner: String, again: bool },
    /// These handlers are no longer pending.
    Clear(Vec<String>),
    /// What the probe of this frame's number answered in an earlier run.
    Recall { status: i32, stdout: Vec<u8> },
    /// What is run when the lock is given back, or by the next run, should this one be cut off.
    Later(Script),
    /// This handler is pending from now on.
    Notify { id: String, text: String },
    /// So many frames that follow, all questions or all changes, are worked off together by this function of a library.
    Together { count: usize, function: &'static str },
    /// What the question of this number has answered holds for the question of this frame's number, too.
    Like(u32),
}

/// Everything that the target needs to make one change without asking back.
#[derive(Debug, Clone)]
pub struct Guarded {
    /// What the ledger calls this step.
    pub label: String,
    /// The path that it is about, for the ledger.
    pub path: Option<String>,
    /// Asked again before the change; nothing happens unless the answer is the same. Empty: not asked.
    pub probe: Script,
    /// Makes the backup, and prints the record from which the former state can come back.
    pub keep: Script,
    pub apply: Script,
    /// In a process group of its own, which a time limit can kill.
    pub group: bool,
    /// The user's own text, with the user's umask and locale; else ours, with our libraries.
    pub by_user: bool,
    pub good: Vec<i32>,
    /// What the probe must answer afterwards, after a status of 0.
    pub expect: Option<Pattern>,
    pub counts: bool,
    pub go_on_after_failure: bool,
    /// Handlers that become pending when something has changed: id and text.
    pub notify: Vec<(String, String)>,
    /// Steps whose change is part of this one.
    pub riders: Vec<Rider>,
    /// It goes back by itself unless it is confirmed in time; needs the library of `watch_arm`.
    pub watch: Option<Watch>,
}

/// A step whose change is made by the one of another step.
#[derive(Debug, Clone)]
pub struct Rider {
    pub seq: u32,
    pub label: String,
    pub path: Option<String>,
}

/// How the target takes a change back when nobody confirms it.
#[derive(Debug, Clone)]
pub struct Watch {
    pub limit: Duration,
    pub undo: Script,
    /// The record of the backup becomes the last word of the script.
    pub takes_record: bool,
    pub by_user: bool,
    /// After everything else, and whatever the host answers: a service is restarted.
    pub late: bool,
    /// The host must answer as before once it has been taken back.
    pub exact: bool,
}

impl Frame {
    /// The line without its newline, as `core.sh` reads it.
    pub fn line(&self) -> Vec<u8> {
        let seq = self.seq.to_string();
        let mut line = Line::default();
        match &self.verb {
            Verb::Probe(script) => line.word(b"P").word(seq.as_bytes()).word(script.as_bytes()),
            Verb::Still(script) => line.word(b"S").word(seq.as_bytes()).word(script.as_bytes()),
            Verb::Run(script) => line.word(b"R").word(seq.as_bytes()).word(b"user").word(script.as_bytes()),
            Verb::Commit(step) => step.write(&seq, &self.libraries, self.limit, &mut line),
            Verb::Lock { run, lease, owner, again } => {
                let lease = lease.as_secs().to_string();
                line.word(b"L").word(run.as_bytes()).word(lease.as_bytes()).word(owner.as_bytes());
                if *again { line.word(b"again") } else { &mut line }
            }
            Verb::Clear(ids) => {
                line.word(b"X");
                ids.iter().fold(&mut line, |line, id| line.word(id.as_bytes()))
            }
            Verb::Recall { status, stdout } => line.word(b"core_recall").word(seq.as_bytes()).word(status.to_string().as_bytes()).word(stdout),
            Verb::Later(script) => line.word(b"core_later").word(script.as_bytes()),
            Verb::Together { count, function } => line.word(b"T").word(count.to_string().as_bytes()).word(function.as_bytes()),
            Verb::Like(other) => line.word(b"core_like").word(seq.as_bytes()).word(other.to_string().as_bytes()),
            Verb::Notify { id, text } => line.word(b"core_notify").word(id.as_bytes()).word(text.as_bytes()),
        };
        line.0
    }

    /// The two lines that `once.sh` reads, where this frame is a command that it can run: short, since it reads byte by byte.
    pub(super) fn once(&self) -> Option<Vec<u8>> {
        let Verb::Run(script) = &self.verb else { return None };
        let mut line = Line(b"-\nset -- \"$2\"".to_vec());
        line.word(self.seq.to_string().as_bytes()).word(br#"a'b "$c" \ `d` *"#).word(script.as_bytes());
        line.0.push(b'\n');
        (line.0.len() <= ONCE_LIMIT_BYTES && self.libraries.is_empty()).then_some(line.0)
    }

    /// Whether the target answers this frame at all.
    pub fn is_answered(&self) -> bool {
        !matches!(self.verb, Verb::Clear(_) | Verb::Notify { .. } | Verb::Recall { .. } | Verb::Later(_)) && !self.is_about_others()
    }

    /// Whether it only says how other frames are to be taken.
    pub fn is_about_others(&self) -> bool {
        matches!(self.verb, Verb::Together { .. } | Verb::Like(_))
    }
}

impl Guarded {
    /// Whether it is a change of ours that nothing but its own end decides about: quick, counted, and not watched over.
    pub fn is_plain(&self) -> bool {
        !self.group && !self.by_user && self.counts && !self.go_on_after_failure && self.watch.is_none()
    }

    /// What follows `begin SEQ` in the ledger.
    fn entry(&self, seq: &str) -> Vec<u8> {
        let mut entry = entry(seq, &self.label, self.path.as_deref());
        for rider in &self.riders {
            let seq = rider.seq.to_string();
            entry.extend_from_slice(format!("\nbegin {seq} ").as_bytes());
            entry.extend_from_slice(&self::entry(&seq, &rider.label, rider.path.as_deref()));
        }
        entry
    }

    fn write<'a>(&self, seq: &str, libraries: &[&Library], limit: Duration, line: &'a mut Line) -> &'a mut Line {
        let mut flags = String::new();
        for (set, flag) in [
            (self.group, 'g'),
            (self.go_on_after_failure, 'i'),
            (self.expect.is_some(), 'v'),
            (!self.counts, 'n'),
        ] {
            if set {
                flags.push(flag);
            }
        }
        let good: Vec<String> = self.good.iter().map(ToString::to_string).collect();
        let mut kind = if self.by_user { "user".to_owned() } else { "own".to_owned() };
        for library in libraries {
            kind.push(' ');
            kind.push_str(library.name);
        }
        let pattern = self.expect.as_ref().map_or_else(|| b"*".to_vec(), Pattern::sh);
        let notify = self.notify.iter().fold(Script::default(), |script, (id, text)| {
            script.then(&crate::sh!("core_notify {} {}", id, text))
        });
        let (keep, notify) = match &self.watch {
            None => (self.keep.clone(), notify),
            Some(watch) => (watch.arm(seq, self, libraries, limit), notify.then(&crate::sh!("watch_left {}", Script::raw(seq)))),
        };
        line.word(b"C")
            .word(seq.as_bytes())
            .word(flags.as_bytes())
            .word(good.join(" ").as_bytes())
            .word(&self.entry(seq))
            .word(kind.as_bytes())
            .word(self.probe.as_bytes())
            .word(keep.as_bytes())
            .word(self.apply.as_bytes())
            .word(&pattern)
            .word(notify.as_bytes())
            .word(self.riders.iter().map(|rider| rider.seq.to_string()).collect::<Vec<_>>().join(" ").as_bytes())
    }
}

fn entry(seq: &str, label: &str, path: Option<&str>) -> Vec<u8> {
    let mut entry = label.as_bytes().to_vec();
    if let Some(path) = path {
        entry.extend_from_slice(format!("\npath {seq} ").as_bytes());
        entry.extend_from_slice(&escaped(path.as_bytes()));
    }
    entry
}

impl Watch {
    /// Makes the backup, and then sees to it that the change goes back.
    fn arm(&self, seq: &str, step: &Guarded, libraries: &[&Library], limit: Duration) -> Script {
        let names = libraries.iter().map(|library| library.name).collect::<Vec<_>>().join(" ");
        let undo = if self.takes_record { crate::sh!("{} \"$_w_kept\"", self.undo) } else { self.undo.clone() };
        // Only of our own changes that are verified is it known what the host answers afterwards.
        let blind = self.late || step.by_user || self.by_user || step.expect.is_none();
        let (probe, verified) = if blind { (Script::default(), "") } else { (step.probe.clone(), if self.exact { "verified" } else { "" }) };
        let whose = if self.by_user { "user" } else { "own" };
        let way = crate::sh!("watch_try {} {} {} {}", probe.as_bytes(), verified, whose, undo.as_bytes());
        let name = if self.late { format!("{seq}.late") } else { seq.to_owned() };
        let kept = if step.keep.is_empty() { Script::raw("k=") } else { crate::sh!("k=$(eval {})", step.keep.as_bytes()) };
        let patience = if step.group { limit.as_secs() } else { 0 };
        let arm = crate::sh!("watch_arm {} {} {} {} {} \"$k\" {}", Script::raw(seq), self.limit.as_secs(), names, name, way.as_bytes(), patience);
        crate::sh!("{} && {} && printf '%s' \"$k\"", kept, arm)
    }
}

/// The frame that defines a library in a shell.
pub fn definition(library: &Library) -> Vec<u8> {
    let mut line = Line::default();
    let text = super::opening::without_comments(library.text);
    line.word(b"D").word(library.name.as_bytes()).word(text.as_bytes());
    line.0
}

/// Words of one line: quoted, with `"$n"` for a newline.
#[derive(Default)]
struct Line(Vec<u8>);

impl Line {
    fn word(&mut self, word: &[u8]) -> &mut Self {
        if !self.0.is_empty() {
            self.0.push(b' ');
        }
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./:".contains(byte);
        if !word.is_empty() && word.iter().all(plain) {
            self.0.extend_from_slice(word);
            return self;
        }
        self.0.push(b'\'');
        for &byte in word {
            match byte {
                b'\'' => self.0.extend_from_slice(br"'\''"),
                b'\n' => self.0.extend_from_slice(br#"'"$n"'"#),
                _ => self.0.push(byte),
            }
        }
        self.0.push(b'\'');
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_one_line_whatever_it_holds() {
        let script = Script::raw("echo 'a'\necho b");
        let frame = Frame { seq: 7, verb: Verb::Probe(script), libraries: Vec::new(), limit: Duration::ZERO };
        assert_eq!(String::from_utf8_lossy(&frame.line()), r#"P 7 'echo '\''a'\'''"$n"'echo b'"#);
    }
}
