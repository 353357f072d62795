//! Contact was lost amid changes: log in again, and let the host's own ledger tell what became of them.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::ledger::{Fate, Ledger, by_answer, note};
use super::step::{Ready, UserKey};
use super::walk::{Halt, Walker, Work};
use crate::event::{Bytes, Seen};
use crate::remote::wire::{Done, End, Lock};
use crate::remote::{Frame, FrameResult, HostFailure, Outcome as Came, Verb};
use crate::shell::{Pattern, Script};

/// Between two tries to reach the host, at first and at most.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

impl Walker {
    /// As [`Walker::fly_locked`]. When contact is lost, the host is asked again for as long as the options say; what it
    /// then does not know of stays unknown.
    pub(super) async fn fly_heard(&mut self, user: &UserKey, frames: Vec<Frame>) -> Result<Vec<FrameResult>, Halt> {
        let sent: Vec<Sent> = frames.iter().filter_map(|frame| self.sent(frame, &frames)).collect();
        let mut results = self.fly_locked(user, frames).await?;
        let limit = self.shared.input.options.resolve_limit;
        if !limit.is_zero()
            && results.iter().any(is_lost)
            && let Some((ledger, end)) = self.hear_again(user, &results, Instant::now() + limit).await
            && let Ok(Ok(answers)) = timeout_at(end, self.answers_now(user, &results, &Ledger::read(&ledger), &sent)).await
        {
            let notes = self.fill_in(&mut results, &Ledger::read(&ledger), answers, &sent);
            let frames: Vec<Frame> = notes.into_iter().map(|script| Frame { seq: self.seq(), verb: Verb::Probe(script), libraries: Vec::new(), limit: Duration::from_secs(30) }).collect();
            self.fly(user, &frames).await?;
            self.is_back = true;
        }
        Ok(results)
    }

    /// The run's ledger, when everything in it is final, and until when there is time for more.
    async fn hear_again(&mut self, user: &UserKey, results: &[FrameResult], end: Instant) -> Option<(Vec<u8>, Instant)> {
        let mut pause = PAUSE;
        loop {
            match timeout_at(end, self.read_ledger(user)).await {
                Ok(Ok((ledger, is_working))) => {
                    let read = Ledger::read(&ledger);
                    if !is_working || !results.iter().any(|result| is_lost(result) && read.fate(result.seq) == Fate::Open) {
                        return Some((ledger, end));
                    }
                }
                Ok(Err(Halt::Stopped)) | Err(_) => return None,
                Ok(Err(_)) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
            timeout_at(end, self.rest(pause)).await.ok()?.ok()?;
        }
    }

    /// Logs in where that has to be, takes the lock over from the shell that was lost, so that it begins nothing more,
    /// and reads the ledger. Also whether that shell is still at a step.
    async fn read_ledger(&mut self, user: &UserKey) -> Result<(Vec<u8>, bool), Halt> {
        if !self.shells.get(user).is_some_and(crate::remote::Shell::is_open) {
            self.shells.clear();
            self.link = None;
        }
        self.shell(user, &[]).await?;
        // A run is named by letters and digits.
        let run = &self.shared.run;
        let script = format!("cat \"$st/runs/{run}/ledger\" 2>/dev/null; if [ \"$core_before\" ] && core_born \"$core_before\"; then echo working; fi");
        let ledger = Frame { seq: self.seq(), verb: Verb::Probe(Script::raw(script)), libraries: Vec::new(), limit: Duration::from_secs(30) };
        let mut results = self.fly(user, &[self.lock_frame(true), ledger]).await?;
        if let Some(Came::Lock { state: Lock::Broken | Lock::Lost, text }) = results.first().map(|result| &result.outcome) {
            return Err(Halt::Host(HostFailure::Lost(String::from_utf8_lossy(text).into_owned())));
        }
        match results.pop().map(|result| result.outcome) {
            Some(Came::Answered { stdout, .. }) => {
                let is_working = stdout.ends_with(b"working\n");
                Ok((stdout, is_working))
            }
            Some(Came::Unknown(failure)) => Err(Halt::Host(failure)),
            _ => Err(self.not_begun(user)),
        }
    }

    /// What the probes of changes that were made answer now, with the numbers of their steps.
    async fn answers_now(&mut self, user: &UserKey, results: &[FrameResult], ledger: &Ledger<'_>, sent: &[Sent]) -> Result<Vec<(u32, Seen)>, Halt> {
        let frames: Vec<Frame> = results
            .iter()
            .filter(|result| is_lost(result) && matches!(ledger.fate(result.seq), Fate::Open | Fate::Ended(End::Changed | End::Unconverged | End::Failed, _)))
            .filter_map(|result| sent.iter().find(|sent| sent.seq == result.seq)?.question.clone())
            .collect();
        let answered = self.fly(user, &frames).await?;
        let mut answers = Vec::new();
        for result in answered {
            match result.outcome {
                Came::Answered { status, stdout } => answers.push((result.seq, Seen { status, stdout: Bytes(stdout) })),
                Came::Unknown(failure) => return Err(Halt::Host(failure)),
                _ => return Err(self.not_begun(user)),
            }
        }
        Ok(answers)
    }

    /// Gives what the ledger does not know yet of steps whose ends are known by the host's answers.
    fn fill_in(&self, results: &mut [FrameResult], ledger: &Ledger, answers: Vec<(u32, Seen)>, sent: &[Sent]) -> Vec<Script> {
        let mut notes = Vec::new();
        let mut went_on = false;
        for result in results.iter_mut().rev() {
            let seq = result.seq;
            let fate = ledger.fate(seq);
            // The ledger tells of changes. Behind a look at what is in place the host goes on only when it still is.
            let is_same = went_on && fate == Fate::NeverBegun;
            went_on |= fate != Fate::NeverBegun;
            let sent = sent.iter().find(|sent| sent.seq == seq);
            let now = answers.iter().find(|(of, _)| *of == seq).map(|(_, seen)| seen.clone());
            let (end, status) = match (&result.outcome, fate) {
                (Came::NotBegun, _) => (End::Skipped, 0),
                _ if !is_lost(result) => continue,
                // Its shell was killed in it. What it has done the host itself can tell.
                (_, Fate::Open) => match sent.and_then(|sent| by_answer(sent.before.as_ref()?, sent.expect.as_ref(), now.as_ref()?, sent.by_user)) {
                    Some(end) if sent.is_some_and(|sent| !sent.needs_output) => {
                        notes.push(note(&self.shared.run, seq, end));
                        // What rode along has ended as this one has.
                        let riders = sent.iter().flat_map(|sent| &sent.riders);
                        notes.extend(riders.map(|&rider| note(&self.shared.run, rider, if end == End::Changed { end } else { End::Skipped })));
                        (end, 0)
                    }
                    _ => continue,
                },
                _ if is_same => (End::Same, 0),
                // What was not done is judged anew.
                (_, Fate::NeverBegun | Fate::Ended(End::Conflict | End::Refused | End::Skipped | End::Same, _)) => (End::Skipped, 0),
                // Its output is lost, and the playbook makes something of it.
                _ if sent.is_none_or(|sent| sent.needs_output) => continue,
                (_, Fate::Ended(end, status)) => (end, status),
            };
            let answer = now.map(|seen| seen.stdout.0).unwrap_or_default();
            result.outcome = Came::Ended(Done { seq, end, status, answer, kept: ledger.kept(seq).to_vec() });
            result.by_ledger = true;
        }
        notes
    }

    fn sent(&self, frame: &Frame, all: &[Frame]) -> Option<Sent> {
        let Verb::Commit(step) = &frame.verb else { return None };
        let recalled = all.iter().find_map(|other| match &other.verb {
            Verb::Recall { status, stdout } if other.seq == frame.seq => Some(Seen { status: *status, stdout: Bytes(stdout.clone()) }),
            _ => None,
        });
        let ready = self.ready(frame.seq);
        let answered = || ready?.answer.as_ref().map(|answer| Seen { status: answer.status, stdout: Bytes(answer.stdout.clone()) });
        Some(Sent {
            seq: frame.seq,
            question: (!step.probe.is_empty()).then(|| Frame { verb: Verb::Probe(step.probe.clone()), ..frame.clone() }),
            before: recalled.or_else(answered),
            expect: step.expect.clone(),
            by_user: step.by_user,
            riders: step.riders.iter().map(|rider| rider.seq).collect(),
            needs_output: ready.is_some_and(needs_output),
        })
    }

    fn ready(&self, seq: u32) -> Option<&Ready> {
        self.todo.iter().find_map(|work| match work {
            Work::Ready(ready) if ready.seq == seq => Some(&**ready),
            _ => None,
        })
    }
}

/// A change that was sent, and what is needed to find out about it.
struct Sent {
    seq: u32,
    question: Option<Frame>,
    /// What the host had answered before.
    before: Option<Seen>,
    expect: Option<Pattern>,
    by_user: bool,
    riders: Vec<u32>,
    /// The playbook makes something of what it prints.
    needs_output: bool,
}

fn is_lost(result: &FrameResult) -> bool {
    matches!(&result.outcome, Came::Unknown(failure) if !matches!(failure, HostFailure::Interrupted))
}

fn needs_output(ready: &Ready) -> bool {
    let task = &ready.bound.task;
    ready.module.runs_user_text && (task.register.is_some() || task.until.is_some() || !task.failed_when.is_empty() || !task.changed_when.is_empty())
}
