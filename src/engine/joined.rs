//! Several edits of one file in one flight.
//!
//! What an edit leaves is known to the byte, so the next one of the same file is judged by that before anything is sent. Where
//! nothing stands between them, the file is written once: the first step makes the change, the others ride along. Each is told
//! of, with its own diff; the first one's backup is the way back of all.

use std::collections::HashMap;
use std::time::Duration;

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
        if !script.is_call_of("file_look") {
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
    pub(super) fn join(&mut self, frames: Vec<Frame>, changes: &mut [Option<Box<Change>>], after: &After) -> Vec<Frame> {
        let mut flight: Vec<Frame> = Vec::with_capacity(frames.len());
        // The change that the next one may ride with: its place among the changes, and that before the next frame.
        let mut leader: Option<(usize, u32)> = None;
        let mut leads: HashMap<u32, u32> = HashMap::new();
        for (at, frame) in frames.into_iter().enumerate() {
            let seq = frame.seq;
            let before = after.get(&seq).copied();
            let joins = self.joins(&frame, changes[at].as_deref());
            match leader.filter(|&(_, last)| joins && before == Some(last)) {
                Some((first, _)) => {
                    if let Some(leading) = flight.last_mut() {
                        leads.insert(seq, leading.seq);
                        self.ride(leading, frame, changes, first, at);
                    }
                    leader = Some((first, seq));
                }
                None => {
                    if let Some(before) = before {
                        let before = leads.get(&before).copied().unwrap_or(before);
                        flight.push(Frame { seq, verb: Verb::Like(before), libraries: Vec::new(), limit: frame.limit });
                    }
                    flight.push(frame);
                    leader = joins.then_some((at, seq));
                }
            }
        }
        flight
    }

    /// Whether a change may be part of another one of the same file.
    fn joins(&self, frame: &Frame, change: Option<&Change>) -> bool {
        let Verb::Commit(step) = &frame.verb else { return false };
        if !step.is_plain() || change.is_none_or(|change| change.leaves.is_none()) {
            return false;
        }
        let is_plain = |ready: &Ready| {
            let task = &ready.bound.task;
            task.changed_when.is_empty() && task.failed_when.is_empty() && task.until.is_none()
        };
        self.todo.iter().any(|work| matches!(work, Work::Ready(ready) if ready.seq == frame.seq && is_plain(ready)))
    }

    /// Makes the change of a step part of the one that leads.
    fn ride(&mut self, leading: &mut Frame, frame: Frame, changes: &mut [Option<Box<Change>>], first: usize, at: usize) {
        let (Verb::Commit(leader), Verb::Commit(step)) = (&mut leading.verb, frame.verb) else { return };
        leading.limit = leading.limit.max(frame.limit);
        leader.apply = step.apply;
        leader.expect = step.expect;
        for one in step.notify {
            if !leader.notify.contains(&one) {
                leader.notify.push(one);
            }
        }
        leader.riders.push(Rider { seq: frame.seq, label: step.label, path: step.path });
        let Some(rider) = &mut changes[at] else { return };
        let (leaves, expect) = (rider.leaves.clone().unwrap_or_default(), rider.expect.clone());
        // By itself it does nothing, there and back.
        let nothing = sh!(":");
        rider.apply.script = nothing.clone();
        rider.keep = Script::default();
        rider.undo = Undo::Run(nothing);
        rider.again = None;
        if let Some(change) = &mut changes[first] {
            change.expect = expect;
        }
        // All that ride along find what the last of them leaves.
        for work in &mut self.todo {
            if let Work::Ready(ready) = work
                && leader.riders.iter().any(|rider| rider.seq == ready.seq)
            {
                ready.answer = Some(Answer { stdout: leaves.clone(), ..Answer::default() });
            }
        }
    }
}

/// Which steps ride along with which, by their numbers.
pub(super) fn riders(flight: &[Frame]) -> HashMap<u32, Vec<u32>> {
    let of = |frame: &Frame| match &frame.verb {
        Verb::Commit(step) if !step.riders.is_empty() => Some((frame.seq, step.riders.iter().map(|rider| rider.seq).collect())),
        _ => None,
    };
    flight.iter().filter_map(of).collect()
}

/// One result for each of the frames that were planned: those that rode along have ended as the one that they rode with.
pub(super) fn parted(results: Vec<FrameResult>, riders: &HashMap<u32, Vec<u32>>) -> Vec<FrameResult> {
    let mut all = Vec::with_capacity(results.len());
    for result in results {
        let outcome = |seq: u32| match &result.outcome {
            Came::Ended(done) => {
                let end = if done.end == End::Changed { End::Changed } else { End::Skipped };
                Came::Ended(Done { seq, end, status: 0, answer: done.answer.clone(), kept: Vec::new() })
            }
            other => other.clone(),
        };
        let rode = |&seq: &u32| FrameResult {
            seq,
            outcome: outcome(seq),
            stdout: Kept::default(),
            stderr: Kept::default(),
            time: Duration::ZERO,
            timed_out: false,
            by_ledger: result.by_ledger,
        };
        let others: Vec<FrameResult> = riders.get(&result.seq).into_iter().flatten().map(rode).collect();
        all.push(result);
        all.extend(others);
    }
    all
}
