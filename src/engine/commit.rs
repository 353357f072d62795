//! From answers to verdicts, and from verdicts to a commit flight.

use std::time::Duration;

use super::handlers::handler_id;
use super::joined::{After, Foreseen, parted, riders};
use super::settle::Ending;
use super::step::{self, Ready, UserKey};
use super::consent::Allowed;
use super::walk::{Decided, Halt, Walker, Work, stopping};
use super::confirm::{Fall, Watched};
use crate::event::{Intent, Obstacle, Outcome};
use crate::module::{Answer, Change, Effect, Question, Report, Verdict};
use crate::remote::wire::{End, Lock};
use crate::remote::{Frame, FrameResult, Guarded, HostFailure, Library, Outcome as Came, Verb};
use crate::shell::{Pattern, Script};
use crate::template::Filled;

/// Without a sign of life for this long, the holder of a lock is taken for dead.
const LEASE: Duration = Duration::from_secs(90);
/// The status with which the host refuses a change because the lock is no longer ours; see `C` in `core.sh`.
pub(super) const LOCK_LOST: i32 = 8;
/// Before a lock that this very run holds through another name of the machine is asked for again.
const OWN_LOCK_PAUSE: Duration = Duration::from_millis(200);
/// The same for one that another run holds.
const OTHERS_LOCK_PAUSE: Duration = Duration::from_secs(1);

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
pub(super) enum Planned {
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
            // What it has done is not known, unless it only asks.
            Came::Unknown(failure) if ready.counts() => {
                ready.lost = Some(failure.to_string());
                Answer { status: 0, stdout: result.stdout.bytes(), remark: result.stderr.bytes() }
            }
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
        let mut is_watched = false;
        // In check mode: a change ahead in this pass is only planned.
        let mut would_change = false;
        // Of edits of one file, what each finds follows from the one before it.
        let mut foreseen = Foreseen::default();
        let mut after = After::new();
        let mut at = 0;
        while at < self.todo.len() {
            if let Some(Work::Ready(ready)) = self.todo.get_mut(at)
                && !frames.is_empty()
                && let Some(before) = foreseen.foretell(ready)
            {
                after.insert(ready.seq, before);
            }
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
                    // Whoever is asked sees how the one before it has ended.
                    if self.shared.input.consent.is_some() && !frames.is_empty() {
                        break;
                    }
                    match self.allowed(at, &change).await? {
                        Allowed::Yes => {}
                        Allowed::No(ending) => {
                            planned.push(ending);
                            at += 1;
                            continue;
                        }
                        Allowed::Quit if planned.is_empty() => {
                            stopping(self.stop.clone()).await;
                            return Err(Halt::Stopped);
                        }
                        Allowed::Quit => break,
                    }
                    let Work::Ready(ready) = &self.todo[at] else { break };
                    let uploads = change.apply.upload.clone().filter(|upload| ready.uploaded.as_ref() != Some(&upload.path));
                    let (wanted, seq) = (ready.user.clone(), ready.seq);
                    let (frame, watched) = match self.change_frame(ready, &change) {
                        Ok(made) => made,
                        Err(message) => {
                            if frames.is_empty() {
                                planned.push(Planned::Here(Box::new(Ending::failed(message))));
                            }
                            break;
                        }
                    };
                    // What may lock everybody out is confirmed before anything else goes on.
                    if is_watched && watched.is_none() {
                        break;
                    }
                    is_watched |= watched.is_some();
                    frames.push(frame);
                    let ends_flight = !ready.bound.task.failed_when.is_empty() || ready.bound.task.until.is_some() || change.reboot.is_some();
                    user = Some(wanted.clone());
                    foreseen.note(ready, &change);
                    if let Some(watched) = watched {
                        self.watched.insert(seq, watched);
                    }
                    if let Some(upload) = uploads {
                        self.announce_upload(&wanted, &upload.path).await?;
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
                Judged::Download(change) => {
                    // What is changed before it may change the file.
                    if !frames.is_empty() {
                        break;
                    }
                    let (user, limit, folder) = (ready.user.clone(), ready.limit, ready.bound.task.folder.clone());
                    let is_check = self.is_check(ready);
                    let ending = self.bring(&user, &change, &folder, is_check, limit).await?;
                    let fails = ending.outcome == Outcome::Failed;
                    planned.push(Planned::Here(Box::new(ending)));
                    if fails {
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
                let seqs: Vec<u32> = frames.iter().map(|frame| frame.seq).collect();
                let flight = self.join(frames, &mut changes, &after);
                self.remember_intents(&seqs, &changes).await?;
                let riders = riders(&flight);
                let results = parted(self.fly_heard(user, flight).await?, &riders);
                if is_watched {
                    self.confirm(user, &results).await;
                }
                let last = results.last().filter(|last| matches!(&last.outcome, Came::Ended(done) if done.end == End::Ran || done.end == End::Changed));
                if let (Some(last), Some(reboot)) = (last, changes.last().and_then(Option::as_ref).and_then(|change| change.reboot.as_ref()))
                    && let Err(message) = self.wait_for_boot(user, reboot).await
                {
                    self.falls.insert(last.seq, Fall::Left(message));
                }
                Some(results)
            }
            _ => None,
        };
        let settled = self.settle_flight(planned, changes, results);
        self.forget_foretold();
        if !self.falls.is_empty() {
            self.tell_falls().await;
        }
        if std::mem::take(&mut self.is_back) {
            // The shell that remembered the answers is gone.
            self.forget_answers(0);
        }
        settled
    }

    /// Takes the lock where it is not held yet, and sends the changes.
    pub(super) async fn fly_locked(&mut self, user: &UserKey, mut frames: Vec<Frame>) -> Result<Vec<FrameResult>, Halt> {
        self.shell(user, &[]).await?;
        let ahead: Vec<Frame> = self.uploads.iter().filter(|(of, _)| of == user).map(|(_, path)| leftover(path)).collect();
        let first = ahead.len() + 1;
        let begun = std::time::Instant::now();
        frames.splice(0..0, std::iter::once(self.lock_frame(false)).chain(ahead));
        let (lock, mut results) = loop {
            let mut results = self.fly(user, &frames).await?;
            let lock = results.drain(..first).next();
            let Some(lock) = lock else { return Err(self.not_begun(user)) };
            // Two names of one machine in the same run take turns.
            let (is_held, is_our_own) = match &lock.outcome {
                Came::Lock { state: Lock::Held, text } => (true, holder(text) == self.shared.run.as_bytes()),
                _ => (false, false),
            };
            let may_wait = is_our_own || is_held && begun.elapsed() < self.shared.input.options.wait_lock;
            if !may_wait {
                break (lock, results);
            }
            self.rest(if is_our_own { OWN_LOCK_PAUSE } else { OTHERS_LOCK_PAUSE }).await?;
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
        let on_behalf = self.for_host.as_ref().map(|host| format!(" on behalf of {host}")).unwrap_or_default();
        let owner = format!("{} `mutate {}`\nfor {}{on_behalf}", input.who, input.options.command, self.name);
        let verb = Verb::Lock { run: self.shared.run.clone(), lease: LEASE, owner, again };
        Frame { seq: 0, verb, libraries: Vec::new(), limit: Duration::from_secs(30) }
    }

    /// The controller knows of a change before the host hears of it. Where that cannot be, nothing is changed.
    async fn remember_intents(&mut self, seqs: &[u32], changes: &[Option<Box<Change>>]) -> Result<(), Halt> {
        let Some(memory) = self.shared.input.memory.clone() else { return Ok(()) };
        let change = |seq: u32| seqs.iter().zip(changes).find(|(of, _)| **of == seq).and_then(|(_, change)| change.as_ref());
        let intents: Vec<Intent> = self
            .todo
            .iter()
            .filter_map(|work| match work {
                Work::Ready(ready) => {
                    let intent = super::record::intent(&self.name, ready, change(ready.seq)?, &self.shared.input.sources, self.confirm_limit(ready));
                    Some(Intent { for_host: self.for_host.clone(), ..intent })
                }
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
        let options = &self.shared.input.options;
        // What looks for a plan, or for drift, acts in no case.
        options.pins || ready.check_mode.unwrap_or(options.check)
    }

    /// Why a path is left as it is, where somebody holds it.
    fn held(&self, ready: &Ready) -> Option<&str> {
        let holds = &self.shared.input.options.holds;
        if holds.is_empty() {
            return None;
        }
        let path = super::record::path(ready)?;
        let glob = |pattern: &String, text: &str| crate::shell::glob(pattern.as_bytes(), text.as_bytes());
        // Whatever works on a folder may work on all that is in it.
        let below = format!("{}/", path.trim_end_matches('/'));
        let is_held = |held: &String| glob(held, path.trim_end_matches('/')) || held.starts_with(&below);
        holds.iter().find(|(host, held, _)| glob(host, &self.name) && is_held(held)).map(|(.., why)| why.as_str())
    }

    pub(super) fn judge(&self, ready: &Ready, changes_before: bool) -> Judged {
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
        if let Some(reason) = &ready.lost {
            let message = format!("nobody knows how it ended: {reason}");
            let said = ready.answer.clone().unwrap_or_default();
            return Judged::Here(Box::new(Ending { is_fatal: true, ..Ending::new(Outcome::Unknown).message(message).with_answer(&said) }));
        }
        let none = Answer::default();
        let answer = match (&ready.question, &ready.answer) {
            (Question::None, _) => &none,
            (_, Some(answer)) => answer,
            (_, None) => return Judged::AskAgain,
        };
        let is_check = self.is_check(ready);
        let acts = !self.shared.input.options.check && !self.shared.input.options.pins;
        if is_check && acts && (changes_before || ready.epoch != self.epoch) && !matches!(ready.question, Question::None) {
            // A task that only looks, in a run that acts: what it looks at may have changed.
            return Judged::AskAgain;
        }
        let mut around = ready.around.clone();
        // A gate judges what is, whatever was only planned.
        let planned = is_check && ready.bound.task.soak.is_none() && (changes_before || self.planned_changes > 0);
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
                if self.shared.input.options.pins && matches!(ready.question, Question::Ask(_)) && !ready.no_log && !ready.act.has_secret() {
                    ending.pin = Some(Box::new(super::record::pin_in_place(ready)));
                }
                if let Question::Run(_) = ready.question {
                    ending = ending.with_answer(answer);
                }
                Judged::InPlace(Box::new(ending))
            }
            Ok(Verdict::Differs(change)) if self.held(ready).is_some() => {
                let held = self.held(ready).unwrap_or_default().to_owned();
                Judged::InPlace(Box::new(Ending::new(Outcome::Skipped).change(&Change { report: Report::default(), ..*change }).message(held)))
            }
            Ok(Verdict::Differs(change)) if change.download.is_some() => Judged::Download(change),
            // It only waits, and that is what is asked.
            Ok(Verdict::Differs(change)) if ready.bound.task.soak.is_some() && change.effect == Effect::Nothing => Judged::Change(change),
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
                if self.shared.input.options.pins && outcome == Outcome::Changed && !ready.no_log && !ready.act.has_secret() {
                    match super::record::pin(ready, &change, self.confirm_limit(ready)) {
                        Ok(pin) => ending.pin = Some(Box::new(pin)),
                        Err(error) => ending = Ending::failed(format!("what is to be sent cannot be read: {error}")),
                    }
                }
                Judged::Here(Box::new(ending))
            }
            Ok(Verdict::Differs(change)) => Judged::Change(change),
        }
    }

    /// The frame that makes a change, and what the host would take back by itself.
    fn change_frame(&self, ready: &Ready, change: &Change) -> Result<(Frame, Option<Watched>), String> {
        if self.would_reboot_itself(change.reboot.as_ref()) {
            return Err("this would start the controller itself again, and end this run".into());
        }
        let probe = match &ready.question {
            Question::Ask(script) => script.clone(),
            _ => Script::default(),
        };
        let apply = if change.sees_environment() { step::with_environment(&ready.environment, &change.apply.script) } else { change.apply.script.clone() };
        let (watch, watched) = self.watch(ready, change, &apply)?.unzip();
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
            label: crate::secret::without_hidden(&label).replace('\n', " "),
            // What is hidden stands in no ledger.
            path: super::record::path(ready).filter(|path| if ready.tainted { !crate::secret::holds_hidden(path.as_bytes()) } else { !crate::secret::surely_holds_hidden(path.as_bytes()) }),
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
            riders: Vec::new(),
            watch,
        };
        let mut libraries = libraries(ready);
        libraries.extend(watched.is_some().then_some(&super::confirm::LIBRARY));
        Ok((Frame { seq: ready.seq, verb: Verb::Commit(Box::new(guarded)), libraries, limit: ready.limit }, watched))
    }

    pub(super) fn place_of(&self, ready: &Ready) -> String {
        let span = &ready.bound.task.span;
        let sources = &self.shared.input.sources;
        format!("{}:{}", sources.get(span.source).name, sources.line(span))
    }


}

pub(super) enum Judged {
    /// Decided without the host.
    Here(Box<Ending>),
    InPlace(Box<Ending>),
    Change(Box<Change>),
    /// A file comes here, and nothing changes on the host.
    Download(Box<Change>),
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

/// Has the host remove a file that was sent ahead, once the lock is given back.
fn leftover(path: &[u8]) -> Frame {
    let verb = Verb::Later(crate::sh!("rm -f -- {}", path));
    Frame { seq: 0, verb, libraries: Vec::new(), limit: Duration::from_secs(30) }
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
    format!("the host is locked by {owner} (run {run}, for {seconds} s); wait for it to end, or free it with `mutate unlock HOST --run {run}` if it never will")
}

impl Decided {
    pub(super) fn report(&self) -> Report {
        Report::message(self.message.clone())
    }
}
