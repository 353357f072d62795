//! Frames sent without waiting in between, and what became of each.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::frame::{Frame, Library, Verb};
use super::pipe::Exit;
use super::shell::{Incoming, Shell, read_by_others};
use super::wire::{Done, End, Kept, Lock, Reply};
use super::HostFailure;

/// Bytes on their way that the target has not answered. More than fits into a pipe (64 KiB) would delay a kill
/// behind them.
const WINDOW_BYTES: usize = 48 << 10;
/// A byte takes a host's two shells some 4 µs, and two processes some 5 ms.
const BULK_BYTES: usize = 4 << 10;
/// Between asking a task to end, ending it, and giving up on the shell.
const KILL_GRACE: Duration = Duration::from_secs(5);
/// Renews the lock's lease well before it ends, and finds out whether somebody has killed the shell.
const BEAT: Duration = Duration::from_secs(5);

/// What the user wants to go on happening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    No,
    /// Finish what has begun, start nothing more.
    Gently,
    /// End at once.
    Now,
}

/// What became of a frame.
#[derive(Debug, Clone)]
pub enum Outcome {
    Answered { status: i32, stdout: Vec<u8> },
    Ended(Done),
    Lock { state: Lock, text: Vec<u8> },
    /// Needs no answer.
    Sent,
    /// Certainly not begun.
    NotBegun,
    /// It was sent, and contact was lost before its end was heard of.
    Unknown(HostFailure),
}

/// A frame's outcome, output and time.
#[derive(Debug, Clone)]
pub struct Result {
    pub seq: u32,
    pub outcome: Outcome,
    pub stdout: Kept,
    pub stderr: Kept,
    pub time: Duration,
    /// The frame's own limit ran out, and what it had started was killed.
    pub timed_out: bool,
    /// Not heard from the shell that did it: the host's ledger told of it afterwards.
    pub by_ledger: bool,
}

struct Waiting {
    at: usize,
    bytes: usize,
    reply: Option<Outcome>,
    remark: bool,
}

impl Shell {
    /// Sends frames and waits for what becomes of each. Always gives one result per frame, in order.
    ///
    /// When contact is lost, the frames that had been sent are `Unknown`, and the shell is no longer open.
    pub async fn flight(&mut self, frames: &[Frame], stop: &mut watch::Receiver<Stop>) -> Vec<Result> {
        let mut results: Vec<Result> = frames
            .iter()
            .map(|frame| Result {
                seq: frame.seq,
                outcome: Outcome::NotBegun,
                stdout: Kept::default(),
                stderr: Kept::default(),
                time: Duration::ZERO,
                timed_out: false,
                by_ledger: false,
            })
            .collect();
        let mut flight = Flight {
            frames,
            results: &mut results,
            waiting: VecDeque::new(),
            next: 0,
            bytes: 0,
            begun: None,
            group: None,
            cut: None,
            head_since: Instant::now(),
            killed: 0,
            stopping: Stop::No,
            closed_cleanly: false,
        };
        if let Err(failure) = flight.run(self, stop).await {
            let clean = flight.closed_cleanly;
            let begun = flight.begun;
            let asked = flight.head_since.elapsed();
            for (place, waiting) in flight.waiting.into_iter().enumerate() {
                let frame = &frames[waiting.at];
                if place == 0 {
                    results[waiting.at].time = asked;
                }
                // Only what it said on stderr may be missing.
                if let Some(reply) = waiting.reply {
                    results[waiting.at].outcome = reply;
                    continue;
                }
                results[waiting.at].outcome = if clean && begun != Some(frame.seq) {
                    Outcome::NotBegun
                } else {
                    Outcome::Unknown(failure.clone())
                };
            }
            self.gone = true;
            self.failure = Some(failure);
            self.input.close().await;
        }
        results
    }
}

/// Lines, after one that says how long they are where that is worth two processes on the host: a shell reads a pipe byte by byte.
fn in_bulk(lines: Vec<u8>) -> Vec<u8> {
    if lines.len() < BULK_BYTES {
        return lines;
    }
    [format!("B {}\n", lines.len()).as_bytes(), &lines].concat()
}

/// Writes to the supervisor. One that has just ended with its only command hears nothing more, and how that ended is on its way.
async fn tell(shell: &mut Shell, text: &[u8]) -> std::result::Result<(), HostFailure> {
    let written = shell.input.write(text).await;
    if shell.is_for_one { Ok(()) } else { written }
}

struct Flight<'a> {
    frames: &'a [Frame],
    results: &'a mut Vec<Result>,
    waiting: VecDeque<Waiting>,
    next: usize,
    bytes: usize,
    begun: Option<u32>,
    group: Option<u32>,
    /// The group that was ended because the run is to end.
    cut: Option<u32>,
    head_since: Instant,
    /// How often the task at the head has been killed.
    killed: u8,
    stopping: Stop,
    closed_cleanly: bool,
}

impl Flight<'_> {
    async fn run(&mut self, shell: &mut Shell, stop: &mut watch::Receiver<Stop>) -> std::result::Result<(), HostFailure> {
        self.take_what_went_ahead(shell);
        if self.next < self.frames.len() {
            if shell.gone {
                return Err(HostFailure::Lost("the shell on the host has ended".into()));
            }
            // What failed in an earlier flight does not stop this one. Libraries go first, while the worker is idle and
            // takes them at once, so that they do not count against the window.
            let libraries: Vec<&'static Library> = self.frames[self.next..].iter().flat_map(|frame| frame.libraries.iter().copied()).collect();
            let mut text = shell.definitions(&libraries);
            text.extend_from_slice(b"f=\n");
            shell.input.write(&in_bulk(text)).await?;
        }
        self.head_since = Instant::now();
        let mut listening = true;
        let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + BEAT, BEAT);
        loop {
            let wanted = *stop.borrow_and_update();
            self.stop(wanted, shell).await?;
            let mut text = Vec::new();
            while self.stopping == Stop::No && self.next < self.frames.len() && self.has_room() {
                self.send(&mut text);
            }
            if !text.is_empty() {
                shell.input.write(&in_bulk(text)).await?;
            }
            if self.waiting.is_empty() {
                return Ok(());
            }
            self.cut_short(shell).await?;
            if let Some(early) = shell.early.pop_front() {
                self.take(Some(early), shell)?;
                continue;
            }
            let deadline = self.deadline();
            tokio::select! {
                biased;
                incoming = shell.incoming.recv() => self.take(incoming, shell)?,
                changed = stop.changed(), if listening => listening = changed.is_ok(),
                () = tokio::time::sleep_until(deadline.into()) => self.out_of_time(shell).await?,
                _ = beat.tick() => shell.beat().await,
            }
        }
    }

    /// Probes that travelled with the opening of the shell are only waited for.
    fn take_what_went_ahead(&mut self, shell: &mut Shell) {
        let ahead = std::mem::take(&mut shell.ahead);
        for (at, sent) in ahead.iter().enumerate() {
            if self.frames.get(at).is_some_and(|frame| frame.seq == sent.seq) {
                if !sent.is_answered() {
                    self.results[at].outcome = Outcome::Sent;
                    self.next = at + 1;
                    continue;
                }
                self.waiting.push_back(Waiting { at, bytes: 0, reply: None, remark: false });
                self.next = at + 1;
            }
        }
    }

    fn has_room(&self) -> bool {
        self.waiting.is_empty() || self.bytes < WINDOW_BYTES
    }

    /// The next frame is on its way with this text.
    fn send(&mut self, text: &mut Vec<u8>) {
        let frame = &self.frames[self.next];
        let line = frame.line();
        if frame.is_answered() {
            if self.waiting.is_empty() {
                self.head_since = Instant::now();
            }
            self.waiting.push_back(Waiting { at: self.next, bytes: line.len() + 1, reply: None, remark: false });
            self.bytes += line.len() + 1;
        } else {
            self.results[self.next].outcome = Outcome::Sent;
        }
        self.next += 1;
        text.extend_from_slice(&line);
        text.push(b'\n');
    }

    fn deadline(&self) -> Instant {
        let Some(head) = self.waiting.front() else { return Instant::now() + BEAT };
        let limit = self.frames[head.at].limit;
        self.head_since + limit + KILL_GRACE * u32::from(self.killed)
    }

    async fn out_of_time(&mut self, shell: &mut Shell) -> std::result::Result<(), HostFailure> {
        let Some(head) = self.waiting.front() else { return Ok(()) };
        let at = head.at;
        let limit = self.frames[at].limit.as_secs();
        self.results[at].timed_out = true;
        let signal = match (self.group, self.killed) {
            (Some(group), 0) => format!("K TERM {group}\n"),
            (Some(group), 1) => format!("K KILL {group}\n"),
            _ => return Err(HostFailure::Lost(format!("no answer within {limit} s"))),
        };
        self.killed += 1;
        tell(shell, signal.as_bytes()).await
    }

    async fn stop(&mut self, wanted: Stop, shell: &mut Shell) -> std::result::Result<(), HostFailure> {
        if wanted <= self.stopping {
            return Ok(());
        }
        self.stopping = wanted;
        match (wanted, self.group) {
            (Stop::Now, group) => {
                if let Some(group) = group {
                    let _best_effort = shell.input.write(format!("K KILL {group}\n").as_bytes()).await;
                }
                Err(HostFailure::Interrupted)
            }
            _ => tell(shell, b"Z\n").await,
        }
    }

    /// What only asks or waits is not waited for once the run is to end.
    async fn cut_short(&mut self, shell: &mut Shell) -> std::result::Result<(), HostFailure> {
        let (Stop::Gently, Some(group), Some(head)) = (self.stopping, self.group, self.waiting.front()) else { return Ok(()) };
        let changes_nothing = match &self.frames[head.at].verb {
            Verb::Commit(step) => !step.counts,
            _ => true,
        };
        if !changes_nothing || self.cut == Some(group) {
            return Ok(());
        }
        self.cut = Some(group);
        tell(shell, format!("K TERM {group}\n").as_bytes()).await
    }

    fn take(&mut self, incoming: Option<Incoming>, shell: &mut Shell) -> std::result::Result<(), HostFailure> {
        match incoming {
            Some(Incoming::Reply(reply)) => self.reply(reply, shell)?,
            Some(Incoming::Output(output)) => {
                // The frame at the head may only be waiting for the end of its stderr.
                if let Some(waiting) = self.waiting.iter().find(|one| one.reply.is_none()) {
                    self.results[waiting.at].stdout = output;
                }
            }
            Some(Incoming::Remark(remark)) => {
                if let Some(waiting) = self.waiting.iter_mut().find(|one| !one.remark && self.frames[one.at].seq == remark.seq) {
                    waiting.remark = true;
                    self.results[waiting.at].stderr = remark.text;
                }
            }
            Some(Incoming::Closed { exit: Some(exit), stderr }) if shell.is_for_one && self.head().is_some_and(|frame| self.begun == Some(frame.seq)) => {
                self.ended_with_the_shell(exit, stderr);
                shell.gone = true;
            }
            Some(Incoming::Closed { exit, stderr }) => {
                self.closed_cleanly |= matches!(exit, Some(Exit::Status(_)));
                if let Some(cut_off) = self.waiting.iter().find(|one| one.reply.is_none() && self.begun == Some(self.frames[one.at].seq)) {
                    self.results[cut_off.at].stderr = stderr.clone();
                }
                let stderr = stderr.bytes();
                let said = String::from_utf8_lossy(&stderr);
                let said = said.lines().last().map(str::trim).filter(|said| !said.is_empty()).map(|said| format!(": {said}")).unwrap_or_default();
                let reason = match exit {
                    Some(Exit::Status(status)) => format!("the shell on the host ended with status {status}{said}"),
                    Some(Exit::Signal(signal)) => format!("the shell on the host was ended by signal {signal}{said}"),
                    None => "the host gave no sign of life, or closed the connection".into(),
                };
                return Err(HostFailure::Lost(reason));
            }
            Some(Incoming::Failed(failure)) => return Err(failure),
            None => return Err(HostFailure::Lost("the connection was closed".into())),
        }
        self.settle();
        Ok(())
    }

    fn head(&self) -> Option<&Frame> {
        self.waiting.front().map(|one| &self.frames[one.at])
    }

    /// The shell was there for the frame at the head alone, and its end is the end of that.
    fn ended_with_the_shell(&mut self, exit: Exit, stderr: Kept) {
        let Some(head) = self.waiting.front_mut() else { return };
        let status = i32::try_from(exit.status()).unwrap_or(i32::MAX);
        self.results[head.at].stderr = stderr;
        head.remark = true;
        head.reply = Some(Outcome::Ended(Done { seq: self.frames[head.at].seq, end: End::Ran, status, answer: Vec::new(), kept: Vec::new() }));
    }

    fn reply(&mut self, reply: Reply, shell: &mut Shell) -> std::result::Result<(), HostFailure> {
        let outcome = match reply {
            Reply::Begun { seq, group } => {
                self.begun = Some(seq);
                self.group = group;
                return Ok(());
            }
            Reply::Group { group, .. } => {
                self.group = Some(group);
                return Ok(());
            }
            Reply::Bye if self.stopping == Stop::No => {
                self.closed_cleanly = true;
                return Err(HostFailure::Lost("the shell on the host was ended by somebody there".into()));
            }
            Reply::Bye => {
                self.closed_cleanly = true;
                return Err(HostFailure::Interrupted);
            }
            Reply::Answer { seq, status, stdout } => {
                self.group = None;
                (Some(seq), Outcome::Answered { status, stdout })
            }
            Reply::Done(done) => {
                self.group = None;
                (Some(done.seq), Outcome::Ended(done))
            }
            Reply::Lock { state, text } => {
                shell.locked = state == Lock::Ours;
                (None, Outcome::Lock { state, text })
            }
            Reply::Refused { .. } => return Err(read_by_others()),
            Reply::Hello { .. } | Reply::Handlers(_) | Reply::Output(_) => return Ok(()),
        };
        let (seq, outcome) = outcome;
        // Replies come in the order of the frames; anything else is not the shell that we started.
        let next = self.waiting.iter_mut().find(|one| one.reply.is_none());
        let Some(waiting) = next.filter(|one| seq.is_none_or(|seq| self.frames[one.at].seq == seq)) else {
            return Err(super::wire::Damage::Reply.into());
        };
        waiting.remark |= matches!(self.frames[waiting.at].verb, Verb::Lock { .. });
        waiting.reply = Some(outcome);
        Ok(())
    }

    fn settle(&mut self) {
        while let Some(head) = self.waiting.front_mut() {
            if !head.remark {
                return;
            }
            let Some(outcome) = head.reply.take() else { return };
            let result = &mut self.results[head.at];
            result.outcome = outcome;
            result.time = self.head_since.elapsed();
            self.bytes -= head.bytes;
            self.head_since = Instant::now();
            self.killed = 0;
            if self.begun == Some(self.frames[head.at].seq) {
                self.begun = None;
            }
            self.waiting.pop_front();
        }
    }
}

impl Result {
    /// Whether the target says that this frame did what it should.
    pub fn is_good(&self) -> bool {
        match &self.outcome {
            Outcome::Answered { .. } | Outcome::Sent => true,
            Outcome::Ended(done) => matches!(done.end, End::Changed | End::Ran | End::Same),
            Outcome::Lock { state, .. } => *state == Lock::Ours,
            Outcome::NotBegun | Outcome::Unknown(_) => false,
        }
    }
}
