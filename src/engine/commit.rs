//! From answers to verdicts, and from verdicts to a commit flight.

use std::time::Duration;

use super::handlers::handler_id;
use super::settle::Ending;
use super::step::{self, Ready, UserKey};
use super::walk::{Decided, Halt, Walker, Work};
use crate::event::{Intent, Obstacle, Outcome};
use crate::module::{Answer, Change, Effect, Question, Report, Verdict};
use crate::remote::wire::{End, Lock};
use crate::remote::{Frame, FrameResult, Guarded, HostFailure, Library, Outcome as Came, Verb};
use crate::shell::{Pattern, Script};
use crate::template::Filled;

/// Without a sign of life for this long, the holder of a lock is taken for dead.
const LEASE: Duration = Duration::from_secs(90);
/// The status with which the host refuses a change because the lock is no longer ours; see `C` in `core.sh`.
const LOCK_LOST: i32 = 8;
/// Before a lock that this very run holds through another name of the machine is asked for again.
const OWN_LOCK_PAUSE: Duration = Duration::from_millis(200);
/// A step whose answer changes this often under us is fought over.
const CONFLICT_LIMIT: u8 = 5;

/// The frame that asks a step's question, unless there is nothing to ask.
pub(super) fn question_frame(ready: &Ready) -> Option<Frame> {
    let verb = match &ready.question {
        Question::None => return None,
        Question::Ask(script) => Verb::Probe(script.clone()),
        Question::Run(script) => Verb::Run(script.clone()),
    };
    Some(Frame { seq: ready.seq, verb, libraries: ready.libraries.probe.clone(), limit: ready.limit })
}

/// What goes into a flight, or happens in its order.
enum Planned {
    Frame,
    /// Decided here; it is told when everything before it has ended.
    Here(Box<Ending>),
}

impl Walker {
    /// Takes the answer of a probe or a question.
    pub(super) fn take_answer(&mut self, at: usize, result: FrameResult) -> Result<(), Halt> {
        let epoch = self.epoch;
        let Some(Work::Ready(ready)) = self.todo.get_mut(at) else { return Ok(()) };
        if let Some(shell) = self.shells.get(&ready.user) {
            ready.around.home.clone_from(&shell.home);
        }
        ready.epoch = epoch;
        ready.timed_out = result.timed_out;
        if let Question::Run(_) = ready.question {
            ready.asked = result.time;
        }
        ready.answer = Some(match result.outcome {
            Came::Answered { status, stdout } => Answer { status, stdout, remark: result.stderr.bytes() },
            Came::Ended(done) => Answer {
                status: if result.timed_out { 124 } else { done.status },
                stdout: result.stdout.bytes(),
                remark: result.stderr.bytes(),
            },
            Came::Unknown(failure) => return Err(Halt::Host(failure)),
            Came::NotBegun | Came::Sent | Came::Lock { .. } => {
                let user = ready.user.clone();
                return Err(self.not_begun(&user));
            }
        });
        Ok(())
    }

    /// Decides as far as the answers reach, and makes the changes: one round trip.
    pub(super) async fn commit(&mut self) -> Result<(), Halt> {
        let mut planned: Vec<Planned> = Vec::new();
        let mut frames: Vec<Frame> = Vec::new();
        let mut changes: Vec<Option<Box<Change>>> = Vec::new();
        let mut user: Option<UserKey> = None;
        // In check mode: a change ahead in this pass is only planned.
        let mut would_change = false;
        let mut at = 0;
        while at < self.todo.len() {
            let ready = match &self.todo[at] {
                Work::Ready(ready) => ready,
                Work::Decided(decided) if decided.outcome == Outcome::Skipped => {
                    planned.push(Planned::Here(Box::new(Ending::skipped(decided))));
                    at += 1;
                    continue;
                }
                _ => break,
            };
            let judged = self.judge(ready, !frames.is_empty() || would_change);
            let in_order = !frames.is_empty() || planned.iter().any(|one| matches!(one, Planned::Here(..)));
            match judged {
                Judged::Here(ending) => {
                    let fails = ending.outcome == Outcome::Failed;
                    would_change |= ending.outcome == Outcome::Changed;
                    if fails && !frames.is_empty() {
                        break;
                    }
                    planned.push(Planned::Here(ending));
                    if fails {
                        break;
                    }
                }
                Judged::InPlace(ending) => {
                    let fresh = ready.epoch == self.epoch && frames.is_empty() || matches!(ready.question, Question::None | Question::Run(_));
                    if fresh || self.is_check(ready) {
                        planned.push(Planned::Here(ending));
                    } else {
                        // Something before it has changed: whether it is still in place is asked again in the same flight.
                        if user.as_ref().is_some_and(|user| *user != ready.user) {
                            break;
                        }
                        let Some(frame) = still_frame(ready) else { break };
                        user = Some(ready.user.clone());
                        frames.push(frame);
                        changes.push(None);
                        planned.push(Planned::Frame);
                    }
                }
                Judged::Change(change) => {
                    if user.as_ref().is_some_and(|user| *user != ready.user) {
                        break;
                    }
                    if change.apply.upload.is_some() && in_order && !frames.is_empty() {
                        break;
                    }
                    let uploads = change.apply.upload.clone().filter(|upload| ready.uploaded.as_ref() != Some(&upload.path));
                    let wanted = ready.user.clone();
                    frames.push(self.change_frame(ready, &change));
                    let ends_flight = !ready.bound.task.failed_when.is_empty() || ready.bound.task.until.is_some();
                    user = Some(wanted.clone());
                    if let Some(upload) = uploads {
                        self.lock(&wanted).await?;
                        let limit = limit_of(&self.todo[at]);
                        match self.upload(&wanted, &upload, limit).await {
                            Ok(false) => {}
                            Ok(true) => {
                                // The shell that has answered is gone, so the question comes again before the change.
                                frames.pop();
                                user = None;
                                if let Some(Work::Ready(ready)) = self.todo.get_mut(at) {
                                    ready.uploaded = Some(upload.path);
                                }
                                break;
                            }
                            Err(HostFailure::Interrupted) => return Err(Halt::Stopped),
                            Err(failure @ (HostFailure::Lost(_) | HostFailure::Damage(_))) => return Err(Halt::Host(failure)),
                            Err(failure) => {
                                frames.pop();
                                planned.push(Planned::Here(Box::new(Ending::failed(failure.to_string()))));
                                break;
                            }
                        }
                    }
                    changes.push(Some(change));
                    planned.push(Planned::Frame);
                    if ends_flight {
                        break;
                    }
                }
                Judged::AskAgain => {
                    if frames.is_empty() {
                        if let Some(Work::Ready(ready)) = self.todo.get_mut(at) {
                            ready.answer = None;
                        }
                        if planned.is_empty() {
                            return Ok(());
                        }
                    }
                    break;
                }
            }
            at += 1;
        }
        let results = match &user {
            Some(user) if !frames.is_empty() => {
                self.remember_intents(&frames, &changes).await?;
                Some(self.fly_heard(user, frames).await?)
            }
            _ => None,
        };
        let settled = self.settle_flight(planned, changes, results);
        if std::mem::take(&mut self.is_back) {
            // The shell that remembered the answers is gone.
            self.forget_answers(0);
        }
        settled
    }

    /// Takes the lock where it is not held yet, before bytes are sent ahead of a change.
    async fn lock(&mut self, user: &UserKey) -> Result<(), Halt> {
        self.fly_locked(user, Vec::new()).await.map(|_| ())
    }

    /// Takes the lock where it is not held yet, and sends the changes.
    pub(super) async fn fly_locked(&mut self, user: &UserKey, mut frames: Vec<Frame>) -> Result<Vec<FrameResult>, Halt> {
        self.shell(user, &[]).await?;
        frames.insert(0, self.lock_frame(false));
        let (lock, mut results) = loop {
            let mut results = self.fly(user, &frames).await?;
            let lock = results.remove(0);
            // Two names of one machine in the same run take turns.
            let is_our_own = matches!(&lock.outcome, Came::Lock { state: Lock::Held, text } if holder(text) == self.shared.run.as_bytes());
            if !is_our_own {
                break (lock, results);
            }
            self.rest(OWN_LOCK_PAUSE).await?;
        };
        match lock.outcome {
            Came::Lock { state: Lock::Ours, .. } => Ok(results),
            Came::Lock { state, text } => {
                let text = String::from_utf8_lossy(&text).into_owned();
                let message = match state {
                    Lock::Held => {
                        self.obstacle = Some(Obstacle::Locked);
                        held(&text)
                    }
                    Lock::Lost => {
                        self.obstacle = Some(Obstacle::Locked);
                        text
                    }
                    _ => text,
                };
                for result in &mut results {
                    result.outcome = Came::NotBegun;
                }
                self.fail_front(message)?;
                Err(Halt::Failed)
            }
            // The changes were sent behind it, and may have been made.
            Came::Unknown(_) if results.iter().any(|result| matches!(result.outcome, Came::Unknown(_))) => Ok(results),
            Came::Unknown(failure) => Err(Halt::Host(failure)),
            _ => Err(self.not_begun(user)),
        }
    }

    /// The frame that takes the lock for this run and this host.
    pub(super) fn lock_frame(&self, again: bool) -> Frame {
        let input = &self.shared.input;
        let owner = format!("{} `mutate {}`\nfor {}", input.who, input.options.command, self.name);
        let verb = Verb::Lock { run: self.shared.run.clone(), lease: LEASE, owner, again };
        Frame { seq: 0, verb, libraries: Vec::new(), limit: Duration::from_secs(30) }
    }

    /// The controller knows of a change before the host hears of it. Where that cannot be, nothing is changed.
    async fn remember_intents(&mut self, frames: &[Frame], changes: &[Option<Box<Change>>]) -> Result<(), Halt> {
        let Some(memory) = self.shared.input.memory.clone() else { return Ok(()) };
        let change = |seq: u32| frames.iter().zip(changes).find(|(frame, _)| frame.seq == seq).and_then(|(_, change)| change.as_ref());
        let intents: Vec<Intent> = self
            .todo
            .iter()
            .filter_map(|work| match work {
                Work::Ready(ready) => Some(super::record::intent(&self.name, ready, change(ready.seq)?, &self.shared.input.sources)),
                _ => None,
            })
            .collect();
        if intents.is_empty() {
            return Ok(());
        }
        match memory.intend(intents).await {
            Ok(()) => Ok(()),
            Err(error) => {
                self.fail_front(format!("nothing was changed, since the journal could not take it down: {error:#}"))?;
                Err(Halt::Failed)
            }
        }
    }

    /// The first step that has not been told about fails for a reason that concerns the whole host.
    fn fail_front(&mut self, message: String) -> Result<(), Halt> {
        self.message.clone_from(&message);
        while let Some(work) = self.todo.pop_front() {
            match work {
                Work::Ready(ready) => {
                    self.end_step(&ready, Ending::fatal(message), None);
                    break;
                }
                Work::Decided(decided) => self.settle_decided(decided)?,
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn is_check(&self, ready: &Ready) -> bool {
        ready.check_mode.unwrap_or(self.shared.input.options.check)
    }

    fn judge(&self, ready: &Ready, changes_before: bool) -> Judged {
        if !ready.open_conditions.is_empty() {
            let scope = self.scope(&ready.bound, Vec::new());
            match step::all_hold(&scope, &ready.open_conditions) {
                Ok(Filled::Now(true)) => {}
                Ok(Filled::Now(false)) => return Judged::Here(Box::new(Ending::new(Outcome::Skipped))),
                Ok(Filled::Later(_)) => return Judged::Here(Box::new(Ending::failed("its condition depends on a fact that this host does not tell".into()))),
                Err((node, trouble)) => {
                    let message = format!("{} ({})", trouble.message, self.place(&node));
                    return Judged::Here(Box::new(Ending::failed(message)));
                }
            }
        }
        let none = Answer::default();
        let answer = match (&ready.question, &ready.answer) {
            (Question::None, _) => &none,
            (_, Some(answer)) => answer,
            (_, None) => return Judged::AskAgain,
        };
        let is_check = self.is_check(ready);
        let mut around = ready.around.clone();
        let planned = is_check && (changes_before || self.planned_changes > 0);
        around.after_planned_changes = planned || changes_before;
        if ready.timed_out {
            let by_user = matches!(ready.question, Question::Run(_));
            let what = if by_user { "" } else { "its question had " };
            let ending = Ending::failed(format!("{what}no end within {} s; it was killed", ready.limit.as_secs()));
            return Judged::Here(Box::new(if by_user { ending.with_answer(answer) } else { ending }));
        }
        match ready.act.compare(&around, answer) {
            Err(error) => {
                let message = format!("{error:#}");
                if planned {
                    let ending = Ending::new(Outcome::Pending).message(format!("cannot be judged before the changes ahead of it are made: {message}"));
                    return Judged::Here(Box::new(ending));
                }
                // What has just been changed, or is about to be, may be what was missing.
                if changes_before || (!is_check && ready.epoch != self.epoch && !matches!(ready.question, Question::None)) {
                    return Judged::AskAgain;
                }
                let ending = Ending::failed(message);
                // What our own questions say is already in the message.
                let by_user = matches!(ready.question, Question::Run(_));
                Judged::Here(Box::new(if by_user { ending.with_answer(answer) } else { ending }))
            }
            Ok(Verdict::InPlace(report)) => {
                let outcome = if report.skipped { Outcome::Skipped } else { Outcome::Ok };
                let mut ending = Ending::new(outcome).report(report);
                if self.shared.input.options.pins && matches!(ready.question, Question::Ask(_)) && !ready.no_log {
                    ending.pin = Some(Box::new(super::record::pin(ready, None)));
                }
                if let Question::Run(_) = ready.question {
                    ending = ending.with_answer(answer);
                }
                Judged::InPlace(Box::new(ending))
            }
            Ok(Verdict::Differs(change)) if is_check => {
                let (outcome, message) = match change.effect {
                    Effect::Change => (Outcome::Changed, ""),
                    // What a command does to its files nobody can say; that it runs is known.
                    Effect::ChangeIfAnswerDiffers if change.apply.by_user => (Outcome::Changed, ""),
                    Effect::ChangeIfAnswerDiffers => (Outcome::Pending, "cannot be judged before it has looked for news"),
                    Effect::Nothing => (Outcome::Pending, "waits in a run that acts"),
                };
                let mut ending = Ending::new(outcome).change(&change);
                if !message.is_empty() {
                    ending.message = message.into();
                }
                if self.shared.input.options.pins && outcome == Outcome::Changed && !ready.no_log {
                    ending.pin = Some(Box::new(super::record::pin(ready, Some(&change))));
                }
                Judged::Here(Box::new(ending))
            }
            Ok(Verdict::Differs(change)) => Judged::Change(change),
        }
    }

    fn change_frame(&self, ready: &Ready, change: &Change) -> Frame {
        let probe = match &ready.question {
            Question::Ask(script) => script.clone(),
            _ => Script::default(),
        };
        let apply = if change.apply.by_user { step::with_environment(&ready.environment, &change.apply.script) } else { change.apply.script.clone() };
        let keeps_quiet = ready.no_log;
        let label = if keeps_quiet { format!("{} {}", ready.module.name, self.place_of(ready)) } else { format!("{} {} {}", ready.module.name, self.place_of(ready), ready.name) };
        let notify = if ready.bound.task.changed_when.is_empty() {
            self.handlers_for(ready).into_iter().map(|at| handler_id(&self.shared, &self.play, at)).collect()
        } else {
            Vec::new()
        };
        let expect = match change.effect {
            // Asked again only to see whether anything is different.
            Effect::ChangeIfAnswerDiffers => Some(Pattern::anything()),
            _ => change.expect.clone(),
        };
        let guarded = Guarded {
            label: label.replace('\n', " "),
            probe,
            keep: change.keep.clone(),
            apply,
            group: change.apply.group,
            by_user: change.apply.by_user,
            good: change.apply.good.clone(),
            expect,
            counts: change.effect != Effect::Nothing,
            go_on_after_failure: ready.ignore_errors && ready.bound.task.failed_when.is_empty(),
            notify,
        };
        Frame { seq: ready.seq, verb: Verb::Commit(Box::new(guarded)), libraries: libraries(ready), limit: ready.limit }
    }

    pub(super) fn place_of(&self, ready: &Ready) -> String {
        let span = &ready.bound.task.span;
        let sources = &self.shared.input.sources;
        format!("{}:{}", sources.get(span.source).name, sources.line(span))
    }

    /// Tells how everything in a flight ended, in order, up to the first failure.
    fn settle_flight(&mut self, planned: Vec<Planned>, changes: Vec<Option<Box<Change>>>, results: Option<Vec<FrameResult>>) -> Result<(), Halt> {
        let mut results = results.into_iter().flatten();
        let mut changes = changes.into_iter();
        let mut failed = false;
        for one in planned {
            match one {
                Planned::Here(ending) => match self.todo.pop_front() {
                    Some(Work::Ready(ready)) => failed |= self.settle(ready, *ending, None),
                    Some(Work::Decided(decided)) => self.settle_decided(decided)?,
                    Some(other) => self.todo.push_front(other),
                    None => break,
                },
                Planned::Frame => {
                    let (Some(result), Some(change)) = (results.next(), changes.next()) else { break };
                    match self.settle_frame(result, change) {
                        Settled::GoOn => {}
                        // The target went on: what it did after that is told as well.
                        Settled::Failed => failed = true,
                        Settled::Stopped { failed: also } => {
                            failed |= also;
                            break;
                        }
                        Settled::Halt(halt) => {
                            self.settle_unheard(results.zip(changes));
                            return Err(halt);
                        }
                    }
                }
            }
        }
        if failed { self.unwind() } else { Ok(()) }
    }

    /// After contact was lost: every step that had been sent along is told of, too.
    fn settle_unheard(&mut self, rest: impl Iterator<Item = (FrameResult, Option<Box<Change>>)>) {
        for (result, change) in rest {
            while let Some(work) = self.todo.pop_front() {
                let Work::Ready(ready) = work else { continue };
                if matches!(&result.outcome, Came::Ended(done) if done.end != End::Skipped) {
                    // The host's ledger knows.
                    self.todo.push_front(Work::Ready(ready));
                    let _the_host_has_ended = self.settle_frame(result, change);
                    break;
                }
                let ending = match result.outcome {
                    Came::Unknown(_) => Ending::new(Outcome::Unknown).message("it had been sent when contact was lost; whether it was done is not known".into()),
                    _ => Ending::new(Outcome::Cancelled).message("not begun".into()),
                };
                self.end_step(&ready, ending, None);
                break;
            }
        }
    }

    /// Tells how the step at the front ended.
    fn settle_frame(&mut self, result: FrameResult, change: Option<Box<Change>>) -> Settled {
        const STOPPED: Settled = Settled::Stopped { failed: false };
        let Some(Work::Ready(mut ready)) = self.todo.pop_front() else { return STOPPED };
        let done = match &result.outcome {
            Came::Ended(done) => done.clone(),
            Came::Unknown(failure) => {
                let failure = failure.clone();
                // Sent, and perhaps done: nobody can say before the host has been asked.
                let message = format!("it had been sent when contact was lost ({failure}); whether it was done is not known");
                self.end_step(&ready, Ending::new(Outcome::Unknown).message(message), None);
                return Settled::Halt(Halt::Host(failure));
            }
            Came::NotBegun => {
                let halt = self.not_begun(&ready.user);
                self.end_step(&ready, Ending::new(Outcome::Cancelled).message("not begun".into()), None);
                return Settled::Halt(halt);
            }
            _ => return STOPPED,
        };
        let answer = |epoch: u64, ready: &mut Ready| {
            ready.epoch = epoch;
            ready.answer = Some(Answer { status: done.status, stdout: done.answer.clone(), remark: result.stderr.bytes() });
        };
        self.uploads.retain(|(_, path)| {
            let moved = matches!(done.end, End::Changed | End::Ran | End::Unconverged);
            !moved || change.as_ref().and_then(|change| change.apply.upload.as_ref()).is_none_or(|upload| upload.path != *path)
        });
        match done.end {
            _ if result.timed_out && !matches!(done.end, End::Failed | End::Changed | End::Ran) => {
                let ending = Ending::failed(format!("its question had no end within {} s; it was killed", ready.limit.as_secs()));
                Settled::Stopped { failed: self.settle(ready, ending, None) }
            }
            End::Refused => {
                if done.status == LOCK_LOST {
                    self.obstacle = Some(Obstacle::Locked);
                }
                let message = String::from_utf8_lossy(&done.answer).trim().to_owned();
                self.message.clone_from(&message);
                self.end_step(&ready, Ending::fatal(message), Some(&result));
                Settled::Halt(Halt::Failed)
            }
            End::Skipped => {
                self.todo.push_front(Work::Ready(ready));
                STOPPED
            }
            End::Conflict => {
                ready.conflicts += 1;
                if ready.conflicts > CONFLICT_LIMIT {
                    let ending = Ending::failed("the host keeps changing under this task; somebody else works on the same thing".into());
                    return Settled::Stopped { failed: self.settle(ready, ending, None) };
                }
                answer(self.epoch, &mut ready);
                self.todo.push_front(Work::Ready(ready));
                // Everything behind a conflict.
                self.forget_answers(1);
                STOPPED
            }
            End::Same => {
                let ending = match self.judge(&ready, false) {
                    Judged::InPlace(ending) => *ending,
                    _ => Ending::new(Outcome::Ok),
                };
                if self.settle(ready, ending, None) { Settled::Failed } else { Settled::GoOn }
            }
            _ => {
                let mut ending = match change {
                    Some(change) => self.ending_of(&ready, &change, &result, &done),
                    None => Ending::new(Outcome::Ok),
                };
                if result.by_ledger {
                    let known = "contact was lost meanwhile; how it ended is known from the host's ledger";
                    ending.message = if ending.message.is_empty() { known.into() } else { format!("{}; {known}", ending.message) };
                }
                if matches!(done.end, End::Changed | End::Failed | End::Unconverged | End::Ran) {
                    self.epoch += 1;
                }
                // The target decides by the same rule whether it goes on; what it did then must not be done again.
                let goes_on = ready.ignore_errors && ready.bound.task.failed_when.is_empty();
                let stopped = !matches!(done.end, End::Changed | End::Ran) && !goes_on;
                let failed = self.settle(ready, ending, Some(&result));
                match (stopped, failed) {
                    (true, failed) => Settled::Stopped { failed },
                    (false, true) => Settled::Failed,
                    (false, false) => Settled::GoOn,
                }
            }
        }
    }

    /// What is still to be done, but for so many at the front, is asked again in one flight.
    fn forget_answers(&mut self, but: usize) {
        for work in self.todo.iter_mut().skip(but) {
            if let Work::Ready(ready) = work
                && matches!(ready.question, Question::Ask(_))
            {
                ready.answer = None;
            }
        }
    }

    fn ending_of(&self, ready: &Ready, change: &Change, result: &FrameResult, done: &crate::remote::wire::Done) -> Ending {
        let said = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
        let mut ending = match done.end {
            End::Changed => {
                let before = ready.answer.as_ref().map(|answer| answer.stdout.as_slice()).unwrap_or_default();
                let same = change.effect == Effect::ChangeIfAnswerDiffers && done.answer == before;
                Ending::new(if same { Outcome::Ok } else { Outcome::Changed })
            }
            End::Ran => Ending::new(Outcome::Ok),
            End::Failed if change.effect == Effect::Nothing && !result.timed_out && self.is_stopping() => Ending::new(Outcome::Cancelled).message("interrupted".into()),
            End::Failed if result.timed_out => Ending::failed(format!("no end within {} s; it was killed", ready.limit.as_secs())),
            End::Failed if change.apply.by_user => Ending::failed(ended_with(done.status, &change.apply.good)),
            End::Failed => {
                let (sentence, rest) = in_own_words(&result.stderr.bytes());
                Ending { stderr: rest, has_own_words: true, ..Ending::failed(if sentence.is_empty() { ended_with(done.status, &[]) } else { sentence }) }
            }
            End::Unconverged => {
                let found = said(done.answer.clone());
                let wanted = change.expect.as_ref().map(|pattern| pattern.to_string().trim().to_owned()).unwrap_or_default();
                let (wanted, found) = differing(&wanted, &found);
                Ending::failed(format!("it was applied, but the host is not as it should be: expected `{wanted}`, found `{found}`"))
            }
            End::Unkept => {
                let (sentence, rest) = in_own_words(&result.stderr.bytes());
                let message = format!("nothing was changed, since the former state could not be backed up: {sentence}");
                Ending { stderr: rest, has_own_words: true, ..Ending::failed(message) }
            }
            End::Refused | End::Conflict | End::Same | End::Skipped => Ending::new(Outcome::Ok),
        };
        ending = ending.change(change);
        let left_something = matches!(done.end, End::Failed | End::Unconverged) && !change.apply.by_user && super::record::has_left_something(ready, done);
        if done.end == End::Changed || left_something {
            ending.record = Some(Box::new(super::record::of(ready, change, done, &result.stdout.bytes())));
        }
        ending.status = done.status;
        ending.ran = matches!(done.end, End::Changed | End::Ran | End::Failed | End::Unconverged);
        ending.shows_output = change.apply.by_user || ending.outcome == Outcome::Failed;
        ending
    }
}

/// What is to be done after a frame of a flight has been told of.
enum Settled {
    GoOn,
    /// The step failed by the playbook's rules, but the target went on.
    Failed,
    /// The rest of the flight did not happen.
    Stopped { failed: bool },
    Halt(Halt),
}

enum Judged {
    /// Decided without the host.
    Here(Box<Ending>),
    InPlace(Box<Ending>),
    Change(Box<Change>),
    /// The answer is missing, or too old to be trusted.
    AskAgain,
}

fn still_frame(ready: &Ready) -> Option<Frame> {
    let Question::Ask(script) = &ready.question else { return None };
    Some(Frame { seq: ready.seq, verb: Verb::Still(script.clone()), libraries: ready.libraries.probe.clone(), limit: ready.limit })
}

/// The libraries of a change: those of the probe, then those of apply.
fn libraries(ready: &Ready) -> Vec<&'static Library> {
    ready.libraries.probe.iter().chain(&ready.libraries.apply).copied().collect()
}

/// Why a user's command failed, as far as its status tells.
fn ended_with(status: i32, good: &[i32]) -> String {
    let wanted: Vec<String> = good.iter().filter(|&&status| status != 0).map(ToString::to_string).collect();
    match status {
        126 => "it ended with status 126: the program may not be executed".into(),
        127 => "it ended with status 127: there is no such program on this host".into(),
        _ if !wanted.is_empty() => format!("it ended with status {status}, which is not among those that `expect` names ({})", wanted.join(", ")),
        _ => format!("it ended with status {status}"),
    }
}

/// The sentence that our own shell functions said (`core_say`), and what was said besides; without one, the last line
/// and everything.
pub(super) fn in_own_words(stderr: &[u8]) -> (String, Vec<u8>) {
    const MARK: &[u8] = b"mutate: ";
    let text = |line: &[u8]| String::from_utf8_lossy(line).trim().to_owned();
    let lines = || stderr.split_inclusive(|&byte| byte == b'\n');
    match lines().filter_map(|line| line.strip_prefix(MARK)).next_back() {
        Some(sentence) => (text(sentence), lines().filter(|line| !line.starts_with(MARK)).collect::<Vec<_>>().concat()),
        None => (text(lines().rfind(|line| !line.trim_ascii().is_empty()).unwrap_or_default()), stderr.to_vec()),
    }
}

/// Of two answers, line by line, what is not the same; `…` stands for anything.
fn differing(wanted: &str, found: &str) -> (String, String) {
    let fits = |wanted: &str, found: &str| match wanted.split_once('…') {
        Some((before, after)) => found.starts_with(before) && found.ends_with(after),
        None => wanted == found,
    };
    if wanted.lines().count() != found.lines().count() {
        return (wanted.to_owned(), found.to_owned());
    }
    let different = || wanted.lines().zip(found.lines()).filter(|(wanted, found)| !fits(wanted, found));
    let join = |lines: Vec<&str>| lines.join(", ");
    (join(different().map(|(wanted, _)| wanted).collect()), join(different().map(|(_, found)| found).collect()))
}

/// How long the bytes of a step may take: as long as the step itself.
fn limit_of(work: &Work) -> Duration {
    match work {
        Work::Ready(ready) => ready.limit,
        _ => Duration::MAX,
    }
}

/// The run in `SECONDS RUN OWNER`.
fn holder(text: &[u8]) -> &[u8] {
    text.split(|&byte| byte == b' ').nth(1).unwrap_or_default()
}

/// `SECONDS RUN OWNER` as a sentence.
fn held(text: &str) -> String {
    let mut words = text.splitn(3, ' ');
    let seconds = words.next().unwrap_or("?");
    let run = words.next().unwrap_or("?");
    let owner = words.next().unwrap_or("somebody").trim();
    format!("the host is locked by {owner} (run {run}, for {seconds} s); wait for it to end")
}

impl Decided {
    pub(super) fn report(&self) -> Report {
        Report::message(self.message.clone())
    }
}
