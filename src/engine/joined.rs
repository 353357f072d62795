//! Several edits of one file in one flight.
//!
//! What an edit leaves is known to the byte, so the next one of the same file is judged by that before anything is sent. Where
//! nothing stands between them, the file is written once: the first step makes the change, the others ride along. Each is told
//! of, with its own diff; the first one's backup is the way back of all.

use std::collections::HashMap;

use super::step::Ready;
use super::walk::{Walker, Work};
use crate::module::{Answer, Change, Question, Undo};
use crate::remote::wire::{Done, End, Kept};
use crate::remote::{Frame, FrameResult, Outcome as Came, Rider, Verb};
use crate::sh;
use crate::shell::Script;

/// What the changes of a flight, once they are made, let the same questions answer: the number of the step, and the answer.
#[derive(Default)]
pub(super) struct Foreseen(HashMap<Script, (u32, Vec<u8>)>);

impl Foreseen {
    /// Takes note of a change that goes into the flight.
    pub fn note(&mut self, ready: &Ready, change: &Change) {
        let Question::Ask(script) = &ready.question else { return };
        // An answer that has more in it is not known as a whole.
        if script.words().is_none_or(|words| words.first().is_none_or(|name| name != b"file_look")) {
            return;
        }
        match &change.leaves {
            Some(answer) => self.0.insert(script.clone(), (ready.seq, answer.clone())),
            None => self.0.remove(script),
        };
    }

    /// Gives a step the answer that it is going to have, with the number of the step that makes it so.
    pub fn foretell(&self, ready: &mut Ready) -> Option<u32> {
        let Question::Ask(script) = &ready.question else { return None };
        let (seq, answer) = self.0.get(script)?;
        ready.answer = Some(Answer { stdout: answer.clone(), ..Answer::default() });
        ready.is_foretold = true;
        Some(*seq)
    }
}

/// What follows what: for a frame, the number of the step before it that is about the same question.
pub(super) type After = HashMap<u32, u32>;

impl Walker {
    /// Answers that were only foreseen are asked for, where their steps are still to come.
    pub(super) fn forget_foretold(&mut self) {
        for work in &mut self.todo {
            if let Work::Ready(ready) = work
                && std::mem::take(&mut ready.is_foretold)
            {
                ready.answer = None;
            }
        }
    }

    /// Lets edits of one file that stand side by side be one change, and says of the others whose answer they take over. Of the
    /// frames, those that ride along are left out.
    pub(super) fn join(&mut self, frames: &[Frame], changes: &mut [Option<Box<Change>>], after: &After) -> Vec<Frame> {
        let mut flight: Vec<Frame> = Vec::with_capacity(frames.len());
        let mut leader: Option<(usize, usize)> = None;
        let mut leads: HashMap<u32, u32> = HashMap::new();
        for (at, frame) in frames.iter().enumerate() {
            let rides = after.get(&frame.seq).is_some_and(|before| at > 0 && frames[at - 1].seq == *before) && self.joins(frame, changes[at].as_deref());
            match leader.filter(|_| rides) {
                Some((first, place)) => {
                    leads.insert(frame.seq, frames[first].seq);
                    self.ride(first, place, at, frame, changes, &mut flight);
                }
                None => {
                    if let Some(&before) = after.get(&frame.seq) {
                        let before = leads.get(&before).copied().unwrap_or(before);
                        flight.push(Frame { verb: Verb::Like(before), libraries: Vec::new(), ..frame.clone() });
                    }
                    leader = self.joins(frame, changes[at].as_deref()).then_some((at, flight.len()));
                    flight.push(frame.clone());
                }
            }
        }
        flight
    }

    /// Whether a change may be part of another one of the same file.
    fn joins(&self, frame: &Frame, change: Option<&Change>) -> bool {
        let Verb::Commit(step) = &frame.verb else { return false };
        let is_plain = !step.group && !step.by_user && step.counts && !step.go_on_after_failure && step.watch.is_none();
        let task_is_plain = self.todo.iter().any(|work| {
            matches!(work, Work::Ready(ready) if ready.seq == frame.seq && {
                let task = &ready.bound.task;
                task.changed_when.is_empty() && task.failed_when.is_empty() && task.until.is_none()
            })
        });
        is_plain && task_is_plain && change.is_some_and(|change| change.leaves.is_some() && change.apply.upload.is_none())
    }

    fn ride(&mut self, first: usize, place: usize, at: usize, frame: &Frame, changes: &mut [Option<Box<Change>>], flight: &mut [Frame]) {
        let Verb::Commit(step) = &frame.verb else { return };
        let Some(mut rider) = changes[at].take() else { return };
        let leaves = rider.leaves.clone().unwrap_or_default();
        if let Verb::Commit(leading) = &mut flight[place].verb {
            leading.apply = step.apply.clone();
            leading.expect.clone_from(&step.expect);
            let new: Vec<_> = step.notify.iter().filter(|one| !leading.notify.contains(one)).cloned().collect();
            leading.notify.extend(new);
            leading.riders.push(Rider { seq: frame.seq, label: step.label.clone(), path: step.path.clone() });
        }
        flight[place].limit = flight[place].limit.max(frame.limit);
        if let Some(leading) = &mut changes[first] {
            leading.expect.clone_from(&rider.expect);
        }
        // By itself it does nothing, there and back.
        let nothing = sh!(":");
        rider.apply.script = nothing.clone();
        rider.keep = Script::default();
        rider.undo = Undo::Run(nothing);
        rider.again = None;
        changes[at] = Some(rider);
        // All that ride along find what the last of them leaves.
        let seqs: Vec<u32> = match &flight[place].verb {
            Verb::Commit(leading) => leading.riders.iter().map(|rider| rider.seq).collect(),
            _ => Vec::new(),
        };
        for work in &mut self.todo {
            if let Work::Ready(ready) = work
                && seqs.contains(&ready.seq)
            {
                ready.answer = Some(Answer { stdout: leaves.clone(), ..Answer::default() });
            }
        }
    }
}

/// One result for each of the frames that were planned: those that rode along have ended as the one that they rode with.
pub(super) fn parted(flight: &[Frame], results: Vec<FrameResult>) -> Vec<FrameResult> {
    let mut all = Vec::with_capacity(results.len());
    let own = flight.iter().filter(|frame| !frame.is_about_others());
    for (frame, result) in own.zip(results) {
        let riders: &[Rider] = match &frame.verb {
            Verb::Commit(step) => &step.riders,
            _ => &[],
        };
        let outcome = |seq: u32| match &result.outcome {
            Came::Ended(done) => {
                let end = if done.end == End::Changed { End::Changed } else { End::Skipped };
                Came::Ended(Done { seq, end, status: 0, answer: done.answer.clone(), kept: Vec::new() })
            }
            other => other.clone(),
        };
        let others: Vec<FrameResult> = riders
            .iter()
            .map(|rider| FrameResult {
                seq: rider.seq,
                outcome: outcome(rider.seq),
                stdout: Kept::default(),
                stderr: Kept::default(),
                time: std::time::Duration::ZERO,
                timed_out: false,
                by_ledger: result.by_ledger,
            })
            .collect();
        all.push(result);
        all.extend(others);
    }
    all
}
