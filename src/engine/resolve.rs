//! What became of steps that nobody heard of: the host's own ledger tells.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::Input;
use super::prepare::HostPlan;
use super::schedule::shared;
use super::step::UserKey;
use super::walk::{Halt, Walker};
use crate::event::{Bytes, Event, Outcome, Record, Seen};
use crate::remote::{Frame, FrameResult, Library, Outcome as Came, Stop, Verb};
use crate::shell::Script;

/// A step whose end is not known.
#[derive(Clone, Debug)]
pub struct OpenStep {
    /// Number by which the caller knows it.
    pub number: i64,
    pub run: String,
    pub seq: u32,
    pub draft: Option<Record>,
}

/// How a step ended, by the host's ledger.
#[derive(Clone, Debug)]
pub struct Finding {
    pub number: i64,
    pub host: String,
    pub outcome: Outcome,
    pub message: String,
    pub record: Option<Record>,
}

/// Asks hosts for the ends of steps. A host that cannot be reached leaves its steps as they are; why is told beside them.
pub async fn resolve(
    input: Input,
    hosts: Vec<(String, HostPlan, Vec<OpenStep>)>,
    events: mpsc::UnboundedSender<Event>,
    stop: watch::Receiver<Stop>,
) -> (Vec<Finding>, Vec<(String, String)>) {
    let shared = shared(input, "resolve".into(), events, stop);
    let forks = Arc::new(Semaphore::new(shared.input.options.forks.max(1)));
    let mut running = JoinSet::new();
    for (name, plan, steps) in hosts {
        let (shared, forks) = (shared.clone(), forks.clone());
        running.spawn(async move {
            let _permit = forks.acquire_owned().await;
            let mut walker = Walker::new(shared, plan, name.clone());
            let found = ask(&mut walker, &steps).await;
            let _end = walker.end().await;
            (name, found)
        });
    }
    let (mut findings, mut failures) = (Vec::new(), Vec::new());
    while let Some(joined) = running.join_next().await {
        match joined {
            Ok((_, Ok(found))) => findings.extend(found),
            Ok((name, Err(Halt::Host(failure)))) => failures.push((name, failure.to_string())),
            Ok((name, Err(_))) => failures.push((name, "interrupted".into())),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    (findings, failures)
}

async fn ask(walker: &mut Walker, steps: &[OpenStep]) -> Result<Vec<Finding>, Halt> {
    let mut found = Vec::new();
    // Each user has a ledger of its own.
    let mut groups: BTreeMap<(UserKey, &str), Vec<&OpenStep>> = BTreeMap::new();
    for step in steps {
        let user = step.draft.as_ref().and_then(|draft| draft.user.clone());
        groups.entry((user, step.run.as_str())).or_default().push(step);
    }
    for ((user, run), steps) in groups {
        walker.shell(&user, &[]).await?;
        // A run is named by letters and digits.
        let ledger = Script::raw(format!("cat \"$st/runs/{run}/ledger\" 2>/dev/null; :"));
        let answer = probe(walker, &user, ledger, Vec::new()).await?;
        let ledger = Ledger::read(&answer);
        for step in steps {
            let (outcome, message) = ledger.end_of(step.seq);
            let mut record = None;
            if let (Outcome::Changed, Some(draft)) = (outcome, &step.draft) {
                let mut whole = Record { kept: Bytes(ledger.kept(step.seq).to_vec()), ..draft.clone() };
                if !draft.probe.0.is_empty() {
                    let libraries = draft.libraries.iter().filter_map(|name| walker.shared.input.registry.library(name)).collect();
                    let now = probe(walker, &user, Script::raw(draft.probe.0.clone()), libraries).await?;
                    whole.after = Some(Seen { status: 0, stdout: Bytes(now) });
                }
                record = Some(whole);
            }
            found.push(Finding { number: step.number, host: walker.name.clone(), outcome, message: message.to_owned(), record });
        }
    }
    Ok(found)
}

async fn probe(walker: &mut Walker, user: &UserKey, script: Script, libraries: Vec<&'static Library>) -> Result<Vec<u8>, Halt> {
    let frame = Frame { seq: walker.seq(), verb: Verb::Probe(script), libraries, limit: Duration::from_secs(60) };
    match walker.fly(user, &[frame]).await?.into_iter().next().map(|result: FrameResult| result.outcome) {
        Some(Came::Answered { stdout, .. }) => Ok(stdout),
        Some(Came::Unknown(failure)) => Err(Halt::Host(failure)),
        _ => Err(walker.not_begun(user)),
    }
}

/// A run's ledger on a host: `begin SEQ LABEL`, `kept SEQ RECORD`, `done SEQ OUTCOME STATUS`.
struct Ledger<'a> {
    lines: Vec<(&'a str, u32, &'a str)>,
}

impl<'a> Ledger<'a> {
    fn read(bytes: &'a [u8]) -> Self {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let line = |line: &'a str| {
            let (word, rest) = line.split_once(' ')?;
            let (seq, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            Some((word, seq.parse().ok()?, rest))
        };
        Self { lines: text.lines().filter_map(line).collect() }
    }

    /// The last of these that the ledger says of a step.
    fn last(&self, word: &str, seq: u32) -> Option<&'a str> {
        self.lines.iter().rev().find(|line| line.0 == word && line.1 == seq).map(|line| line.2)
    }

    fn kept(&self, seq: u32) -> &'a [u8] {
        self.last("kept", seq).unwrap_or_default().as_bytes()
    }

    fn end_of(&self, seq: u32) -> (Outcome, &'static str) {
        // What was judged anew was begun again, and then the end of the first time says nothing.
        let begun = self.lines.iter().rposition(|line| line.0 == "begin" && line.1 == seq);
        let after = begun.map_or(&[][..], |at| &self.lines[at..]);
        let done = after.iter().find(|line| line.0 == "done" && line.1 == seq).map(|line| line.2.split(' ').next().unwrap_or_default());
        match (begun, done) {
            (None, _) => (Outcome::Cancelled, "by the host's ledger it was never begun"),
            (Some(_), Some("changed")) => (Outcome::Changed, "by the host's ledger it was done"),
            (Some(_), Some("ran")) => (Outcome::Ok, "by the host's ledger it was done"),
            (Some(_), Some("failed" | "unconverged" | "unkept")) => (Outcome::Failed, "by the host's ledger it failed"),
            (Some(_), Some(_)) => (Outcome::Cancelled, "by the host's ledger it was not done"),
            (Some(_), None) => (Outcome::Unknown, "by the host's ledger it was begun and never ended; look at the host"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_tells_how_steps_ended() {
        let ledger = Ledger::read(b"run X ann\nbegin 2 file a.toml:1 x\nkept 2 file 0644 abc\ndone 2 changed 0\nbegin 3 x\ndone 3 conflict\nbegin 4 y\nbegin 3 x\ndone 3 failed 1\nbegin 6 z\ndone 6 conflict\nbegin 6 z\n");
        let ends = [2, 3, 4, 5, 6].map(|seq| ledger.end_of(seq).0);
        assert_eq!(ends, [Outcome::Changed, Outcome::Failed, Outcome::Unknown, Outcome::Cancelled, Outcome::Unknown]);
        assert_eq!(ledger.kept(2), b"file 0644 abc");
    }
}
