//! What became of steps that nobody heard of: the host's own ledger tells.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::Input;
use super::ledger::{Fate, Ledger, by_answer, note};
use super::prepare::HostPlan;
use super::rollback::libraries;
use super::schedule::{shared, side_by_side};
use super::step::UserKey;
use super::walk::{Halt, Walker};
use crate::event::{Bytes, Event, Outcome, Record, Seen};
use crate::remote::wire::End;
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
    /// Nobody will ever know more.
    pub is_final: bool,
}

/// What the ledgers say.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub steps: Vec<Finding>,
    /// Changes that hosts have taken back by themselves: host, run, and number in the ledger.
    pub taken_back: Vec<(String, String, u32)>,
}

/// Asks hosts for the ends of steps. A host that cannot be reached leaves its steps as they are; why is told beside them.
pub async fn resolve(
    input: Input,
    hosts: Vec<(String, HostPlan, Vec<OpenStep>)>,
    events: mpsc::UnboundedSender<Event>,
    stop: watch::Receiver<Stop>,
) -> (Found, Vec<(String, String)>) {
    let shared = shared(input, "resolve".into(), events, stop);
    let work = |mut walker: Walker, steps: Vec<OpenStep>| async move {
        let found = ask(&mut walker, &steps).await;
        (walker.end().await.host, found)
    };
    let (mut findings, mut failures) = (Found::default(), Vec::new());
    for (name, found) in side_by_side(&shared, hosts, work).await {
        match found {
            Ok(found) => {
                findings.steps.extend(found.steps);
                findings.taken_back.extend(found.taken_back);
            }
            Err(Halt::Host(failure)) => failures.push((name, failure.to_string())),
            Err(_) => failures.push((name, "interrupted".into())),
        }
    }
    (findings, failures)
}

async fn ask(walker: &mut Walker, steps: &[OpenStep]) -> Result<Found, Halt> {
    let mut found = Found::default();
    // Each user has a ledger of its own.
    let mut groups: BTreeMap<(UserKey, &str), Vec<&OpenStep>> = BTreeMap::new();
    for step in steps {
        let user = step.draft.as_ref().and_then(|draft| draft.user.clone());
        groups.entry((user, step.run.as_str())).or_default().push(step);
    }
    for ((user, run), steps) in groups {
        walker.shell(&user, &[]).await?;
        // A run is named by letters and digits.
        let ledger = Script::raw(format!(
            "cat \"$st/runs/{run}/ledger\" 2>/dev/null
            if read -r p b <\"$st/runs/{run}/watch/pid\" && core_born \"$p\" && [ \"$_born\" = \"$b\" ]; then echo waiting; fi 2>/dev/null
            if read -r p b _ _ r _ <\"$st/lock/owner\" && [ \"$r\" = {run} ] && core_born \"$p\" && [ \"$_born\" = \"$b\" ]; then echo working; fi 2>/dev/null"
        ));
        let answer = probe(walker, &user, ledger, Vec::new()).await?.stdout.0;
        let ledger = Ledger::read(&answer);
        // The shell of that run finishes what it has begun, and may have more lines to read.
        let says = |word: &[u8]| answer.split(|&byte| byte == b'\n').rev().take(3).any(|line| line == word);
        let is_waiting = says(b"waiting");
        let undone = ledger.undone();
        found.taken_back.extend(undone.iter().filter(|(_, status)| **status == 0).map(|(seq, _)| (walker.name.clone(), run.to_owned(), *seq)));
        let is_working = says(b"working") && steps.iter().any(|step| ledger.fate(step.seq) == Fate::Open);
        for step in steps {
            let mut fate = ledger.fate(step.seq);
            let mut now = None;
            if let (Fate::Open, false, Some(draft)) = (fate, is_working, &step.draft)
                && let (Some(before), false) = (&draft.before, draft.probe.0.is_empty())
            {
                // Its shell was killed in it. What it has done the host itself can tell.
                let seen = probe(walker, &user, Script::raw(draft.probe.0.clone()), libraries(&walker.shared, draft)).await?;
                let end = by_answer(before, draft.expect.as_ref(), &seen, draft.undo.by_user);
                fate = Fate::Ended(end.unwrap_or(End::Failed), 0);
                probe(walker, &user, note(run, step.seq, end.unwrap_or(End::Unconverged)), Vec::new()).await?;
                now = Some(seen);
            }
            let (outcome, message) = match fate {
                _ if !is_waiting && undone.get(&step.seq) == Some(&0) => (Outcome::Failed, "by the host's ledger it was done, and taken back since nobody confirmed it"),
                Fate::Ended(..) if is_waiting => (Outcome::Unknown, "the host waits for somebody to confirm it by a new login, and takes it back otherwise; ask again later"),
                Fate::Open | Fate::NeverBegun if is_working => (Outcome::Unknown, "the host is still at work on it; ask again later"),
                _ => verdict(fate),
            };
            let mut record = None;
            let is_command = step.draft.as_ref().is_some_and(|draft| draft.undo.by_user);
            let message = match (now.is_some(), outcome) {
                (false, _) => message,
                (true, Outcome::Changed) => "its shell was killed in it; by what the host answers it was done",
                (true, Outcome::Failed) if is_command => "its shell was killed in it, and by its own test it is not done; what it did before nobody knows",
                (true, Outcome::Failed) => "its shell was killed in it, and by what the host answers it is done in part",
                (true, _) => "its shell was killed in it; by what the host answers nothing was changed",
            };
            // What has been left half done can be undone, too.
            if let (Outcome::Changed | Outcome::Failed, Some(draft)) = (outcome, &step.draft)
                && (outcome == Outcome::Changed || now.is_some() && !is_command)
            {
                let mut whole = Record { kept: Bytes(ledger.kept(step.seq).to_vec()), expect: None, ..draft.clone() };
                if !draft.probe.0.is_empty() {
                    whole.after = match now {
                        Some(now) => Some(now),
                        None => Some(probe(walker, &user, Script::raw(draft.probe.0.clone()), libraries(&walker.shared, draft)).await?),
                    };
                }
                record = Some(whole);
            }
            let is_final = outcome != Outcome::Unknown || fate == Fate::Open && !is_working;
            found.steps.push(Finding { number: step.number, host: walker.name.clone(), outcome, message: message.to_owned(), record, is_final });
        }
    }
    Ok(found)
}

async fn probe(walker: &mut Walker, user: &UserKey, script: Script, libraries: Vec<&'static Library>) -> Result<Seen, Halt> {
    let frame = Frame { seq: walker.seq(), verb: Verb::Probe(script), libraries, limit: Duration::from_secs(60) };
    match walker.fly(user, &[frame]).await?.into_iter().next().map(|result: FrameResult| result.outcome) {
        Some(Came::Answered { status, stdout }) => Ok(Seen { status, stdout: Bytes(stdout) }),
        Some(Came::Unknown(failure)) => Err(Halt::Host(failure)),
        _ => Err(walker.not_begun(user)),
    }
}

fn verdict(fate: Fate) -> (Outcome, &'static str) {
    match fate {
        Fate::NeverBegun => (Outcome::Cancelled, "by the host's ledger it was never begun"),
        Fate::Ended(End::Changed, _) => (Outcome::Changed, "by the host's ledger it was done"),
        Fate::Ended(End::Ran, _) => (Outcome::Ok, "by the host's ledger it was done"),
        Fate::Ended(End::Failed | End::Unconverged | End::Unkept, _) => (Outcome::Failed, "by the host's ledger it failed"),
        Fate::Ended(_, _) => (Outcome::Cancelled, "by the host's ledger it was not done"),
        Fate::Open => (Outcome::Unknown, "by the host's ledger it was begun and never ended; look at the host"),
    }
}
