//! A plan that was saved, applied exactly: on each host everything is still as it was found, or nothing is done there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::Input;
use super::confirm::confirmed_together;
use super::landing::in_own_words;
use super::prepare::HostPlan;
use super::rollback::{TRIES, libraries, script};
use super::schedule::{shared, side_by_side, summed, tell, tell_start};
use super::step::UserKey;
use super::walk::{Halt, Walker};
use crate::event::{Bytes, Deed, Event, HostEnd, Obstacle, Outcome, Pin, Place, Quality, Record, RunEnd, Seen, Step, Way, exit_code};
use crate::module::{Content, Upload};
use crate::remote::wire::{Done, End};
use crate::remote::{Frame, FrameResult, Guarded, HostFailure, Outcome as Came, Stop, Verb};

/// A step of a saved plan.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct PlannedStep {
    #[serde(flatten)]
    pub place: Place,
    pub handler: bool,
    pub message: String,
    pub diff: String,
    pub pin: Pin,
}

/// Applies saved steps on their hosts. Gives how every host ended, and the exit code.
pub async fn apply_planned(
    input: Input,
    hosts: Vec<(String, HostPlan, Vec<PlannedStep>)>,
    run: String,
    events: mpsc::UnboundedSender<Event>,
    stop: watch::Receiver<Stop>,
) -> (Vec<HostEnd>, u8) {
    let begun = Instant::now();
    let shared = shared(input, run, events, stop.clone());
    let names: Vec<String> = hosts.iter().map(|(name, ..)| name.clone()).collect();
    tell_start(&shared, &names);
    tell(&shared, Event::Batch { hosts: names.clone() });
    let work = |walker, steps: Vec<PlannedStep>| async move {
        let mut applying = Applying { walker };
        applying.run(&steps).await;
        applying.walker.end().await
    };
    let mut ends = side_by_side(&shared, hosts, work).await;
    ends.sort_by_key(|end| names.iter().position(|name| *name == end.host));
    let exit = exit_code(&ends, *stop.borrow() != Stop::No);
    tell(&shared, Event::RunEnd(RunEnd { totals: summed(&ends), exit, time: begun.elapsed() }));
    (ends, exit)
}

struct Applying {
    walker: Walker,
}

impl Applying {
    async fn run(&mut self, steps: &[PlannedStep]) {
        self.walker.started = true;
        let name = self.walker.name.clone();
        self.walker.tell(Event::HostStart { host: name });
        let ended = match self.is_stale(steps).await {
            Ok(false) => self.apply(steps).await,
            Ok(true) => Ok(()),
            Err(halt) => Err(halt),
        };
        match ended {
            Ok(()) | Err(Halt::EndPlay) => {}
            // Where no step tells of it, the host itself counts as one.
            Err(Halt::Failed) => {
                self.walker.totals.entry(Outcome::Failed).or_insert(1);
                self.walker.worsen(Outcome::Failed);
            }
            Err(Halt::Stopped) => self.walker.interrupted("interrupted"),
            Err(Halt::Host(failure)) => self.walker.host_failure(&failure),
        }
    }

    /// Asks every question of the plan once more: whether any answer is not the one that was reviewed.
    async fn is_stale(&mut self, steps: &[PlannedStep]) -> Result<bool, Halt> {
        let mut stale = false;
        let mut users: Vec<UserKey> = Vec::new();
        for step in steps {
            if !users.contains(&step.pin.record.user) {
                users.push(step.pin.record.user.clone());
            }
        }
        for user in users {
            let asked: Vec<(&PlannedStep, &Seen)> = steps
                .iter()
                .filter(|step| step.pin.record.user == user)
                .filter_map(|step| Some((step, step.pin.record.before.as_ref()?)))
                .collect();
            let mut frames = Vec::new();
            for (step, _) in &asked {
                let record = &step.pin.record;
                let limit = Duration::from_secs(record.limit_seconds.max(60));
                frames.push(Frame { seq: self.walker.seq(), verb: Verb::Probe(script(&record.probe)), libraries: libraries(&self.walker.shared, record), limit });
            }
            self.walker.shell(&user, &[]).await?;
            let results = self.walker.fly(&user, &frames).await?;
            for ((step, before), result) in asked.into_iter().zip(results) {
                match result.outcome {
                    Came::Answered { status, ref stdout } if status == before.status && *stdout == before.stdout.0 => {}
                    Came::Answered { ref stdout, .. } => {
                        stale = true;
                        let mut event = event(&self.walker, step, 0, Outcome::Failed, "the host is no longer as it was when the plan was made; nothing was changed here".into());
                        event.diff = crate::module::diff::unified("what the host answers", Some(&before.stdout.0), Some(stdout));
                        self.walker.tell_step(event);
                    }
                    Came::Unknown(failure) => return Err(Halt::Host(failure)),
                    _ => return Err(self.walker.not_begun(&user)),
                }
            }
        }
        if stale {
            self.walker.obstacle = Some(Obstacle::Stale);
            self.walker.message = "the plan is stale for this host; make a new one".into();
        }
        Ok(stale)
    }

    async fn apply(&mut self, steps: &[PlannedStep]) -> Result<(), Halt> {
        let mut rest = steps;
        let mut tries = TRIES;
        while let Some(first) = rest.first() {
            let Some(deed) = &first.pin.deed else {
                let event = event(&self.walker, first, 0, Outcome::Ok, String::new());
                self.walker.tell_step(event);
                rest = &rest[1..];
                continue;
            };
            let user = first.pin.record.user.clone();
            if let Some((path, content)) = &deed.upload {
                self.walker.announce_upload(&user, &path.0).await?;
                let upload = Upload { path: path.0.clone(), content: Arc::new(Content::new(content.0.clone())), old: None };
                let limit = Duration::from_secs(first.pin.record.limit_seconds);
                match self.walker.upload(&user, &upload, limit).await {
                    Ok(_) => {}
                    Err(HostFailure::Interrupted) => return Err(Halt::Stopped),
                    Err(failure @ (HostFailure::Lost(_) | HostFailure::Damage(_))) => return Err(Halt::Host(failure)),
                    Err(failure) => {
                        let event = event(&self.walker, first, 0, Outcome::Failed, failure.to_string());
                        self.walker.tell_step(event);
                        return Err(Halt::Failed);
                    }
                }
            }
            // One flight as far as the same user has something to do that needs no bytes of its own.
            let more = rest[1..].iter().take_while(|step| step.pin.record.user == user && step.pin.deed.as_ref().is_some_and(|deed| deed.upload.is_none()));
            let count = confirmed_together(std::iter::once(first).chain(more).map(|step| step.pin.record.confirm_seconds.is_some()));
            let now = &rest[..count];
            match self.fly(&user, now).await? {
                // Contact was lost before anything was done; what has come back is worth another try.
                0 if tries > 0 => tries -= 1,
                0 => {
                    self.walker.message = "contact was lost again and again".into();
                    return Err(Halt::Failed);
                }
                done => rest = &rest[done..],
            }
        }
        Ok(())
    }

    /// Gives how many of the steps were done.
    async fn fly(&mut self, user: &UserKey, steps: &[PlannedStep]) -> Result<usize, Halt> {
        let (mut frames, mut intents, mut numbers, mut fell) = (Vec::new(), Vec::new(), Vec::new(), false);
        for step in steps {
            let Some(deed) = &step.pin.deed else { continue };
            let record = &step.pin.record;
            let seq = self.walker.seq();
            let limit = Duration::from_secs(record.limit_seconds.max(1));
            if let Some(before) = &record.before {
                frames.push(Frame { seq, verb: Verb::Recall { status: before.status, stdout: before.stdout.0.clone() }, libraries: Vec::new(), limit });
            }
            let mut change = guarded(step, deed);
            // What a handler of the user's own does is done again.
            let again = step.handler && deed.by_user && record.undo.quality == Quality::Impossible;
            let back = if again { Way { quality: Quality::BestEffort, script: deed.apply.clone(), by_user: true, ..record.undo.clone() } } else { record.undo.clone() };
            change.watch = self.walker.watch_again(seq, record, &step.place, &back, deed.expect.is_some(), again);
            let mut libraries = libraries(&self.walker.shared, record);
            libraries.extend(change.watch.is_some().then_some(&super::confirm::LIBRARY));
            frames.push(Frame { seq, verb: Verb::Commit(Box::new(change)), libraries, limit });
            numbers.push(seq);
            intents.push(step.place.intent(&self.walker.name, Record { seq, expect: deed.expect.clone(), ..record.clone() }));
        }
        self.walker.intend(intents, "changed").await?;
        let results = self.walker.fly_changes(user, frames).await?;
        self.walker.confirm(user, &results).await;
        for (at, ((step, seq), result)) in steps.iter().zip(numbers).zip(results).enumerate() {
            match &result.outcome {
                Came::Ended(done) if done.end == End::Skipped => return Ok(at),
                Came::Ended(_) if self.walker.falls.contains_key(&seq) => {
                    let (outcome, message) = self.walker.fall(seq);
                    let event = event(&self.walker, step, seq, outcome, message);
                    self.walker.tell_step(event);
                    fell = true;
                }
                Came::Ended(done) => self.ended(step, seq, &result, done)?,
                Came::Unknown(failure) => {
                    let message = format!("it had been sent when contact was lost ({failure}); whether it was done is not known");
                    let event = event(&self.walker, step, seq, Outcome::Unknown, message);
                    self.walker.tell_step(event);
                    return Err(Halt::Host(failure.clone()));
                }
                _ => return Err(self.walker.not_begun(user)),
            }
        }
        self.walker.tell_falls().await;
        if fell { Err(Halt::Failed) } else { Ok(steps.len()) }
    }

    fn ended(&mut self, step: &PlannedStep, seq: u32, result: &FrameResult, done: &Done) -> Result<(), Halt> {
        let deed = step.pin.deed.as_ref();
        let (outcome, message) = match done.end {
            End::Changed => (Outcome::Changed, step.message.clone()),
            End::Ran | End::Same => (Outcome::Ok, String::new()),
            End::Skipped => (Outcome::Cancelled, String::new()),
            End::Conflict => {
                self.walker.obstacle = Some(Obstacle::Stale);
                (Outcome::Failed, "not as it was when the plan was made: an earlier step of the plan has changed this, or somebody else; make a new plan for the rest".into())
            }
            End::Refused => (Outcome::Failed, String::from_utf8_lossy(&done.answer).trim().to_owned()),
            End::Unconverged => (Outcome::Failed, "it was applied, but the host is not as the plan says".into()),
            End::Failed | End::Unkept => {
                let (sentence, _) = in_own_words(&result.stderr.bytes());
                (Outcome::Failed, if sentence.is_empty() { format!("it ended with status {}", done.status) } else { sentence })
            }
        };
        let mut event = event(&self.walker, step, seq, outcome, message);
        (event.time, event.status) = (result.time, done.status);
        event.diff.clone_from(&step.diff);
        event.forgiven = outcome == Outcome::Failed && deed.is_some_and(|deed| deed.go_on_after_failure);
        if deed.is_some_and(|deed| deed.by_user) || outcome == Outcome::Failed {
            (event.stdout, event.stderr) = (result.stdout.bytes(), result.stderr.bytes());
        }
        if done.end == End::Changed {
            let verified = deed.is_some_and(|deed| deed.expect.is_some()) && step.pin.record.before.is_some();
            event.record = Some(Box::new(Record {
                seq,
                expect: None,
                after: verified.then(|| Seen { status: 0, stdout: Bytes(done.answer.clone()) }),
                kept: Bytes(done.kept.clone()),
                ..step.pin.record.clone()
            }));
            self.walker.uploads.clear();
        }
        let failed = outcome == Outcome::Failed && !event.forgiven;
        self.walker.tell_step(event);
        if failed { Err(Halt::Failed) } else { Ok(()) }
    }
}

fn guarded(step: &PlannedStep, deed: &Deed) -> Guarded {
    let record = &step.pin.record;
    Guarded {
        label: format!("{} {}:{} {}", step.place.module, step.place.file, step.place.line, step.place.task).replace('\n', " "),
        path: record.path.clone(),
        probe: script(&record.probe),
        keep: script(&record.undo.keep),
        apply: script(&deed.apply),
        group: record.group,
        by_user: deed.by_user,
        good: deed.good.clone(),
        expect: deed.expect.clone(),
        counts: true,
        go_on_after_failure: deed.go_on_after_failure,
        notify: Vec::new(),
        riders: Vec::new(),
        watch: None,
    }
}

fn event(walker: &Walker, step: &PlannedStep, seq: u32, outcome: Outcome, message: String) -> Step {
    Step { seq, outcome, message, is_handler: step.handler, ..step.place.step(&walker.name) }
}
