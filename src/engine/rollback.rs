//! The way back: the changes of a run undone in reverse order, each only where nobody has changed it since.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::confirm::confirmed_together;
use super::landing::in_own_words;
use super::prepare::HostPlan;
use super::schedule::{shared, side_by_side, summed, tell, tell_start};
use super::step::UserKey;
use super::walk::{Halt, Walker};
use super::{Input, Shared};
use crate::event::{Bytes, Event, HostEnd, Intent, Obstacle, Outcome, Place, Quality, Record, RunEnd, Seen, Step, Undone};
use crate::remote::wire::{Done, End};
use crate::remote::{Frame, FrameResult, Guarded, Library, Outcome as Came, Stop, Verb};
use crate::shell::{Pattern, Script, push_quoted};

/// How often a flight of which nothing was done is sent again after contact was lost.
pub(super) const TRIES: usize = 3;

/// A change that is to be undone.
#[derive(Clone, Debug)]
pub struct Reversal {
    /// Number by which the caller knows it.
    pub number: i64,
    pub place: Place,
    pub record: Record,
    /// It is a change of the very run that undoes it, which knows it by this number.
    pub is_own: bool,
    /// Its place among all changes of the run, where it is one of this run.
    pub order: u64,
}

impl Reversal {
    /// A service is restarted, or unit files are read again: only of use once the files are back.
    fn is_late(&self) -> bool {
        is_late(&self.place.module, &self.record.undo.script.0)
    }
}

/// Whether a way back only makes services take up what the other ways bring.
pub(super) fn is_late(module: &str, undo: &[u8]) -> bool {
    let text = String::from_utf8_lossy(undo);
    let mut words = text.split([' ', '\'']);
    module == "service" && words.any(|word| ["restart", "reload", "daemon-reload", "service_reread"].contains(&word))
}

/// Changes in the order in which they are undone: the last one first, but restarts at the end.
pub fn in_order(mut steps: Vec<Reversal>) -> Vec<Reversal> {
    steps.reverse();
    steps.sort_by_key(Reversal::is_late);
    steps
}

/// Undoes changes on their hosts. Gives how every host ended, the exit code, and the numbers of what was undone.
///
/// With `force`, what somebody has changed since is undone as well.
pub async fn roll_back(
    input: Input,
    hosts: Vec<(String, HostPlan, Vec<Reversal>)>,
    run: String,
    force: bool,
    events: mpsc::UnboundedSender<Event>,
    stop: watch::Receiver<Stop>,
) -> (Vec<HostEnd>, u8, Vec<i64>) {
    let begun = Instant::now();
    let shared = shared(input, run, events, stop.clone());
    let names: Vec<String> = hosts.iter().map(|(name, ..)| name.clone()).collect();
    tell_start(&shared, &names);
    tell(&shared, Event::Batch { hosts: names.clone() });
    let work = |walker, steps: Vec<Reversal>| async move {
        let mut undoing = Undoing::new(walker, force);
        undoing.walker.started = true;
        undoing.walker.tell(Event::HostStart { host: undoing.walker.name.clone() });
        undoing.run(&steps).await;
        (undoing.walker.end().await, undoing.undone, undoing.incomplete)
    };
    let (mut ends, mut undone, mut incomplete) = (Vec::new(), Vec::new(), false);
    for (end, numbers, left) in side_by_side(&shared, hosts, work).await {
        incomplete |= left || end.obstacle.is_none() && !matches!(end.outcome, Outcome::Ok | Outcome::Changed | Outcome::Skipped);
        ends.push(end);
        undone.extend(numbers);
    }
    ends.sort_by_key(|end| names.iter().position(|name| *name == end.host));
    let exit = match () {
        () if *stop.borrow() != Stop::No => 130,
        () if incomplete && shared.input.options.check => 4,
        () if incomplete => 7,
        () if ends.iter().any(|end| end.obstacle == Some(Obstacle::Locked)) => 8,
        () => 0,
    };
    tell(&shared, Event::RunEnd(RunEnd { totals: summed(&ends), exit, time: begun.elapsed() }));
    (ends, exit, undone)
}

impl Walker {
    /// The journal knows of changes before the host hears of them. Where that cannot be, nothing is done.
    pub(super) async fn intend(&mut self, intents: Vec<Intent>, done: &str) -> Result<(), Halt> {
        let Some(memory) = self.shared.input.memory.clone() else { return Ok(()) };
        let Err(error) = memory.intend(intents).await else { return Ok(()) };
        self.message = format!("nothing was {done}, since the journal could not take it down: {error:#}");
        self.worsen(Outcome::Failed);
        Err(Halt::Failed)
    }

    /// As [`Walker::fly_heard`], and gives the results of the changes alone.
    pub(super) async fn fly_changes(&mut self, user: &UserKey, frames: Vec<Frame>) -> Result<Vec<FrameResult>, Halt> {
        let changes: Vec<bool> = frames.iter().map(|frame| matches!(frame.verb, Verb::Commit(_))).collect();
        let results = self.fly_heard(user, frames).await?;
        self.is_back = false;
        Ok(results.into_iter().zip(changes).filter(|(_, is_change)| *is_change).map(|(result, _)| result).collect())
    }
}

/// One host on its way back.
struct Undoing {
    walker: Walker,
    force: bool,
    undone: Vec<i64>,
    /// Under which numbers the host knows the undoing of each.
    seqs: Vec<(u32, i64)>,
    /// Something could not be undone.
    incomplete: bool,
}

/// Undoes what the present play has changed on hosts, and for them on others, since the play has failed: the last change first.
pub(super) async fn take_back(walkers: Vec<Walker>) -> Vec<Walker> {
    // It holds whole walkers while it waits.
    Box::pin(taken_all_back(walkers)).await
}

async fn taken_all_back(walkers: Vec<Walker>) -> Vec<Walker> {
    let mut steps: Vec<(usize, Option<String>, Reversal)> = Vec::new();
    let mut walkers: Vec<(Option<Walker>, bool)> = walkers.into_iter().map(|walker| (Some(walker), false)).collect();
    for (at, (walker, _)) in walkers.iter_mut().enumerate() {
        let Some(walker) = walker else { continue };
        steps.extend(std::mem::take(&mut walker.made).into_iter().map(|step| (at, None, step)));
        for (host, lent) in &mut walker.lent {
            steps.extend(std::mem::take(&mut lent.made).into_iter().map(|step| (at, Some(host.clone()), step)));
        }
    }
    steps.sort_by_key(|(_, _, step)| (step.is_late(), std::cmp::Reverse(step.order)));
    let mut rest = steps.as_slice();
    while let Some((at, host, _)) = rest.first() {
        let count = rest.iter().take_while(|(other, on, _)| other == at && on == host).count();
        let part: Vec<Reversal> = rest[..count].iter().map(|(_, _, step)| step.clone()).collect();
        rest = &rest[count..];
        let (walker, incomplete) = &mut walkers[*at];
        let Some(mut own) = walker.take() else { continue };
        match host {
            None => {
                let mut undoing = Undoing::new(own, false);
                Box::pin(undoing.run(&part)).await;
                *incomplete |= undoing.incomplete;
                own = undoing.walker;
            }
            Some(host) => match own.lent.remove(host) {
                None => *incomplete = true,
                Some(lent) => {
                    let mut undoing = Undoing::new(*lent, false);
                    Box::pin(undoing.run(&part)).await;
                    *incomplete |= undoing.incomplete;
                    let mut lent = undoing.walker;
                    // Another host may have something to undo there.
                    lent.release().await;
                    for (outcome, count) in std::mem::take(&mut lent.totals) {
                        *own.totals.entry(outcome).or_default() += count;
                    }
                    own.lent.insert(host.clone(), Box::new(lent));
                }
            },
        }
        *walker = Some(own);
    }
    let mut all = Vec::new();
    for (walker, incomplete) in walkers {
        if let Some(walker) = walker {
            all.push(taken_back(walker, incomplete).await);
        }
    }
    all
}

/// Says that what the play has changed is undone.
async fn taken_back(mut walker: Walker, incomplete: bool) -> Walker {
    if !incomplete {
        walker.forget_handlers().await;
    }
    walker.release().await;
    let (undone, message) = if incomplete {
        (Undone::InPart, "rolled back in part, since the play has failed: something is left of its changes")
    } else {
        (Undone::Completely, "rolled back, since the play has failed: its changes here are undone")
    };
    walker.undone = walker.undone.max(Some(undone));
    walker.message = if walker.message.is_empty() { message.into() } else { format!("{}\n{message}", walker.message) };
    // Where no step tells of a failure, the host itself counts as one.
    walker.totals.entry(Outcome::Failed).or_insert(1);
    walker.worsen(Outcome::Failed);
    walker
}

impl Undoing {
    fn new(walker: Walker, force: bool) -> Self {
        Self { walker, force, undone: Vec::new(), seqs: Vec::new(), incomplete: false }
    }

    async fn run(&mut self, steps: &[Reversal]) {
        let mut rest = steps;
        let mut tries = TRIES;
        let ended = loop {
            let Some(first) = rest.first() else { break Ok(()) };
            if first.record.undo.quality == Quality::Impossible {
                self.cannot(first, &first.record.undo.why.clone());
                rest = &rest[1..];
                continue;
            }
            // One flight as far as the same user has something to undo.
            let alike = rest.iter().take_while(|step| step.record.user == first.record.user && step.record.undo.quality != Quality::Impossible);
            let count = confirmed_together(alike.map(|step| step.record.confirm_seconds.is_some()));
            let done = if self.walker.shared.input.options.check { self.look(&rest[..count]).await } else { self.undo(&rest[..count]).await };
            match done {
                // Contact was lost before anything was done; what has come back is worth another try.
                Ok(0) if tries > 0 => tries -= 1,
                Ok(0) => {
                    self.walker.message = "contact was lost again and again".into();
                    break Err(Halt::Failed);
                }
                Ok(done) => rest = &rest[done..],
                Err(halt) => break Err(halt),
            }
        };
        match ended {
            Ok(()) | Err(Halt::EndPlay) => {}
            // The lock, the journal, or the host's state folder was in the way.
            Err(Halt::Failed) => {
                self.incomplete |= self.walker.obstacle.is_none() || steps.iter().any(|step| step.is_own);
                self.walker.totals.entry(Outcome::Failed).or_insert(1);
                self.walker.worsen(Outcome::Failed);
            }
            Err(Halt::Stopped) => {
                self.incomplete = true;
                self.walker.interrupted("interrupted");
            }
            Err(Halt::Host(failure)) => {
                self.incomplete = true;
                self.walker.host_failure(&failure);
            }
        }
    }

    /// Sends the undoing of some steps, and gives how many of them have been dealt with.
    async fn undo(&mut self, steps: &[Reversal]) -> Result<usize, Halt> {
        let user: UserKey = steps[0].record.user.clone();
        let mut frames = Vec::new();
        let mut numbers = Vec::new();
        for step in steps {
            let seq = self.walker.seq();
            numbers.push(seq);
            let libraries = libraries(&self.walker.shared, &step.record);
            let limit = Duration::from_secs(step.record.limit_seconds.max(60));
            let is_asked = step.record.after.is_some() && !step.is_late();
            if let Some(after) = step.record.after.as_ref().filter(|_| is_asked && !self.force) {
                let verb = Verb::Recall { status: after.status, stdout: after.stdout.0.clone() };
                frames.push(Frame { seq, verb, libraries: Vec::new(), limit });
            } else if is_asked {
                frames.push(Frame { seq, verb: Verb::Probe(script(&step.record.probe)), libraries: libraries.clone(), limit });
            }
            let mut change = reversed(step);
            // What could lock somebody out does so on its way back as well.
            change.watch = self.walker.watch_again(seq, &step.record, &step.place, &step.record.redo, step.record.after.is_some(), false);
            let mut libraries = libraries;
            libraries.extend(change.watch.is_some().then_some(&super::confirm::LIBRARY));
            frames.push(Frame { seq, verb: Verb::Commit(Box::new(change)), libraries, limit });
        }
        self.remember(steps, &numbers).await?;
        let results = self.walker.fly_changes(&user, frames).await?;
        self.walker.confirm(&user, &results).await;
        for (at, (step, result)) in steps.iter().zip(results).enumerate() {
            let seq = numbers[at];
            match &result.outcome {
                Came::Ended(done) if done.end == End::Skipped => return Ok(at),
                Came::Ended(_) if self.walker.falls.contains_key(&seq) => {
                    self.incomplete = true;
                    let (outcome, message) = self.walker.fall(seq);
                    self.tell(step, seq, outcome, message, None, &result);
                }
                Came::Ended(done) => self.ended(step, seq, &result, done),
                Came::Unknown(failure) => {
                    self.incomplete = true;
                    let message = format!("it had been sent when contact was lost ({failure}); whether it was undone is not known");
                    self.tell(step, seq, Outcome::Unknown, message, None, &result);
                    return Err(Halt::Host(failure.clone()));
                }
                _ => return Err(self.walker.not_begun(&user)),
            }
        }
        // Of what was undone before, the host may have taken something back since.
        for seq in self.walker.tell_falls().await {
            self.incomplete = true;
            let number = self.seqs.iter().find(|(of, _)| *of == seq).map(|(_, number)| *number);
            self.undone.retain(|one| Some(*one) != number);
        }
        Ok(steps.len())
    }

    async fn remember(&mut self, steps: &[Reversal], numbers: &[u32]) -> Result<(), Halt> {
        let intent = |(step, &seq): (&Reversal, &u32)| {
            let draft = Record {
                seq,
                before: step.record.after.clone(),
                after: None,
                expect: expected(step),
                undo: step.record.redo.clone(),
                redo: step.record.undo.clone(),
                kept: Bytes::default(),
                ..step.record.clone()
            };
            step.place.intent(&self.walker.name, draft)
        };
        let intents = steps.iter().zip(numbers).map(intent).collect();
        self.walker.intend(intents, "undone").await.inspect_err(|_| self.incomplete = true)
    }

    fn ended(&mut self, step: &Reversal, seq: u32, result: &FrameResult, done: &Done) {
        match done.end {
            End::Changed | End::Ran => {
                self.undone.push(step.number);
                self.seqs.push((seq, step.number));
                let record = Record {
                    seq,
                    before: step.record.after.clone(),
                    after: (is_verified(&step.record) && !step.is_late()).then(|| Seen { status: 0, stdout: Bytes(done.answer.clone()) }),
                    undo: step.record.redo.clone(),
                    redo: step.record.undo.clone(),
                    kept: Bytes(done.kept.clone()),
                    ..step.record.clone()
                };
                self.tell(step, seq, Outcome::Changed, undone(step), Some(Box::new(record)), result);
            }
            End::Conflict => {
                self.incomplete = true;
                let message = "not undone, since somebody has changed it afterwards; --force undoes it all the same".to_owned();
                let mut event = event(&self.walker, step, seq, Outcome::Failed, message);
                (event.time, event.diff) = (result.time, edit(step, &done.answer));
                self.walker.tell_step(event);
            }
            _ => {
                self.incomplete = true;
                let (sentence, _) = in_own_words(&result.stderr.bytes());
                let message = match done.end {
                    End::Refused => String::from_utf8_lossy(&done.answer).trim().to_owned(),
                    End::Unconverged => "it was undone, but the host does not answer as it did before".to_owned(),
                    _ if sentence.is_empty() => format!("undoing it ended with status {}", done.status),
                    _ => format!("not undone: {sentence}"),
                };
                self.tell(step, seq, Outcome::Failed, message, None, result);
            }
        }
    }

    fn cannot(&mut self, step: &Reversal, why: &str) {
        self.incomplete = true;
        let event = event(&self.walker, step, 0, Outcome::Failed, format!("cannot be undone: {why}"));
        self.walker.tell_step(event);
    }

    /// What would be undone, and what somebody has changed since. Nothing is written on the host.
    async fn look(&mut self, steps: &[Reversal]) -> Result<usize, Halt> {
        let user: UserKey = steps[0].record.user.clone();
        let mut frames: Vec<Frame> = Vec::new();
        // Of several changes of one thing, the last one must be as it was left; the others follow from it.
        let mut asked: Vec<(String, usize)> = Vec::new();
        let mut questions: Vec<Option<usize>> = Vec::new();
        for step in steps {
            let subject = step.record.subject();
            if step.record.after.is_none() || step.is_late() || asked.iter().any(|(known, _)| *known == subject) {
                questions.push(None);
                continue;
            }
            asked.push((subject, frames.len()));
            questions.push(Some(frames.len()));
            let limit = Duration::from_secs(step.record.limit_seconds.max(60));
            let seq = self.walker.seq();
            frames.push(Frame { seq, verb: Verb::Probe(script(&step.record.probe)), libraries: libraries(&self.walker.shared, &step.record), limit });
        }
        self.walker.shell(&user, &[]).await?;
        let results = self.walker.fly(&user, &frames).await?;
        for (step, question) in steps.iter().zip(questions) {
            let answer = question.and_then(|at| results.get(at));
            let (mut outcome, mut message, mut diff) = (Outcome::Changed, undone(step), String::new());
            match (answer.map(|answer| &answer.outcome), &step.record.after) {
                (Some(Came::Answered { status, stdout }), Some(after)) if !self.force && (*status != after.status || *stdout != after.stdout.0) => {
                    self.incomplete = true;
                    (outcome, diff) = (Outcome::Failed, edit(step, stdout));
                    message = "would not be undone, since somebody has changed it afterwards".into();
                }
                (Some(Came::Unknown(failure)), _) => return Err(Halt::Host(failure.clone())),
                _ => {}
            }
            let mut event = event(&self.walker, step, 0, outcome, message);
            event.planned = true;
            event.diff = diff;
            self.walker.tell_step(event);
        }
        Ok(steps.len())
    }

    fn tell(&mut self, step: &Reversal, seq: u32, outcome: Outcome, message: String, record: Option<Box<Record>>, result: &FrameResult) {
        let mut event = event(&self.walker, step, seq, outcome, message);
        event.time = result.time;
        // A run that has undone something itself has nothing there that could be undone.
        event.record = record.filter(|_| !step.is_own);
        if outcome == Outcome::Failed {
            event.stderr = in_own_words(&result.stderr.bytes()).1;
        }
        self.walker.tell_step(event);
    }
}

fn event(walker: &Walker, step: &Reversal, seq: u32, outcome: Outcome, message: String) -> Step {
    let undoes = step.is_own.then(|| u32::try_from(step.number).unwrap_or(0));
    Step { seq, outcome, message, undoes, ..step.place.step(&walker.name) }
}

fn undone(step: &Reversal) -> String {
    match step.record.undo.quality {
        Quality::Exact => String::new(),
        quality => format!("{}: {}", quality.words(), step.record.undo.why),
    }
}

/// What somebody has done since: between the answer that the change left and the one that is given now.
fn edit(step: &Reversal, now: &[u8]) -> String {
    let left = step.record.after.as_ref().map(|seen| seen.stdout.0.as_slice());
    crate::module::diff::unified("what the host answers", left, Some(now))
}

pub(super) fn script(bytes: &Bytes) -> Script {
    Script::raw(bytes.0.clone())
}

/// The change that undoes another one.
fn reversed(step: &Reversal) -> Guarded {
    let record = &step.record;
    let mut apply = record.undo.script.0.clone();
    if record.undo.takes_record {
        apply.push(b' ');
        push_quoted(&mut apply, record.kept.0.trim_ascii_end());
    }
    // A restart asks for nothing but that there still is such a service: it may have gone with its package.
    let asks = record.after.is_some() && !step.is_late();
    if step.is_late() {
        let plain = crate::sh!("if ( {} ) >/dev/null 2>&1; then {}; fi", script(&record.probe), Script::raw(apply));
        apply = plain.as_bytes().to_vec();
    }
    Guarded {
        label: format!("{} {}:{} {}", step.place.module, step.place.file, step.place.line, step.place.task).replace('\n', " "),
        path: record.path.clone(),
        probe: if asks { script(&record.probe) } else { Script::default() },
        keep: script(&record.redo.keep),
        apply: Script::raw(apply),
        group: record.group,
        by_user: record.undo.by_user,
        good: vec![0],
        expect: expected(step),
        counts: true,
        go_on_after_failure: false,
        notify: Vec::new(),
        riders: Vec::new(),
        watch: None,
    }
}

/// What the host must answer once a change has been undone.
fn expected(step: &Reversal) -> Option<Pattern> {
    let record = &step.record;
    record.before.as_ref().filter(|_| !step.is_late() && is_verified(record)).map(|before| Pattern::exactly(before.stdout.0.clone()))
}

/// Whether the host must answer as it did before the change, once that has been undone.
fn is_verified(record: &Record) -> bool {
    record.after.is_some() && record.undo.quality == Quality::Exact && record.before.as_ref().is_some_and(|before| before.status == 0)
}

pub(super) fn libraries(shared: &Shared, record: &Record) -> Vec<&'static Library> {
    record.libraries.iter().filter_map(|name| shared.input.registry.library(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Way;

    fn step(number: i64, module: &str, undo: &str) -> Reversal {
        let way = Way { quality: Quality::Exact, keep: Bytes::default(), script: Bytes(undo.as_bytes().to_vec()), takes_record: false, by_user: false, why: String::new() };
        let record = Record {
            seq: 1,
            user: None,
            libraries: Vec::new(),
            probe: Bytes::default(),
            before: None,
            after: None,
            expect: None,
            undo: way.clone(),
            redo: way,
            kept: Bytes::default(),
            path: None,
            confirm_seconds: None,
            group: false,
            limit_seconds: 1,
        };
        Reversal { number, place: Place { module: module.into(), ..Place::default() }, record, is_own: false, order: 0 }
    }

    #[test]
    fn the_last_change_is_undone_first_and_restarts_come_at_the_end() {
        let steps = vec![step(1, "file", "a"), step(2, "service", "service_apply 'x' 'stop'"), step(3, "file", "b"), step(4, "service", "service_apply 'x' 'restart'")];
        let order: Vec<i64> = in_order(steps).iter().map(|step| step.number).collect();
        assert_eq!(order, [3, 2, 1, 4]);
    }
}
