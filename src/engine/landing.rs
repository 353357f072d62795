//! What became of a flight: the result of every frame becomes the ending of its step.

use super::commit::{Judged, LOCK_LOST, Planned};
use super::settle::Ending;
use super::step::Ready;
use super::walk::{Halt, Walker, Work};
use super::confirm::Fall;
use crate::event::{Obstacle, Outcome};
use crate::module::{Answer, Change, Effect, Question, Verdict};
use crate::remote::wire::{Done, End};
use crate::remote::{FrameResult, Outcome as Came};

/// A step whose answer changes this often under us is fought over.
const CONFLICT_LIMIT: u8 = 5;

impl Walker {
    /// Tells how everything in a flight ended, in order, up to the first failure.
    pub(super) fn settle_flight(&mut self, planned: Vec<Planned>, changes: Vec<Option<Box<Change>>>, results: Option<Vec<FrameResult>>) -> Result<(), Halt> {
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
                let said = Answer { status: 0, stdout: result.stdout.bytes(), remark: result.stderr.bytes() };
                self.end_step(&ready, Ending::new(Outcome::Unknown).message(message).with_answer(&said), Some(&result));
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
                if let Some(fall) = self.falls.remove(&ready.seq) {
                    self.watched.remove(&ready.seq);
                    self.end_step(&ready, fallen(ending, fall), Some(&result));
                    return Settled::Halt(Halt::Failed);
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
    pub(super) fn forget_answers(&mut self, but: usize) {
        for work in self.todo.iter_mut().skip(but) {
            if let Work::Ready(ready) = work
                && matches!(ready.question, Question::Ask(_))
            {
                ready.answer = None;
            }
        }
    }

    fn ending_of(&self, ready: &Ready, change: &Change, result: &FrameResult, done: &Done) -> Ending {
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
            End::Unconverged if change.hides_answer => Ending::failed("it was applied, but the host is not as it should be; what it answers is hidden".into()),
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
        if done.end == End::Changed && matches!(ready.question, Question::Ask(_)) {
            // Its result tells of the host as it is now.
            let after = Answer { stdout: done.answer.clone(), ..Answer::default() };
            if let Ok(Verdict::InPlace(report)) = ready.act.compare(&ready.around, &after) {
                ending.report.data.extend(report.data);
            }
        }
        let left_something = matches!(done.end, End::Failed | End::Unconverged) && !change.apply.by_user && super::record::has_left_something(ready, done);
        // A host that was started again has nothing to go back to.
        if done.end == End::Changed && change.reboot.is_none() || left_something {
            ending.record = Some(Box::new(super::record::of(ready, change, done, &result.stdout.bytes(), self.confirm_limit(ready))));
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

/// How a step ended that nobody could confirm. Nothing forgives that.
fn fallen(ending: Ending, fall: Fall) -> Ending {
    let (outcome, said) = match fall {
        Fall::TakenBack(said) | Fall::Left(said) => (Outcome::Failed, said),
        Fall::Unknown(said) => (Outcome::Unknown, said),
    };
    let failed = ending.outcome == Outcome::Failed && !ending.message.is_empty();
    let message = if failed { format!("{}; {said}", ending.message) } else { said };
    Ending { outcome, message, record: None, is_fatal: true, ..ending }
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
