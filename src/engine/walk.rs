//! One host, walked flight after flight until its tasks are done.
//!
//! The tasks that lie ahead stand in a queue. As far as nothing unknown is in the way, they are made ready; their
//! questions travel in one probe flight, their changes in one commit flight, and what has ended leaves the queue at
//! its front. What depends on a result that is not there yet waits: that is a knot.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use minijinja::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::impact::Condition;
use super::meet::{Meeting, Parting, is_meeting};
use super::prepare::{HostPlan, unbound};
use super::rollback::Reversal;
use super::scope::facts_layer;
use super::step::{self, Bound, Ready, Series, UserKey};
use super::confirm::{Fall, Watched};
use super::Shared;
use crate::diag::Node;
use crate::event::{Event, HostEnd, Obstacle, Outcome, Totals, Undone};
use crate::playbook::{Play, Task};
use crate::remote::{HostFailure, Link, Shell, Stop};
use crate::template::Layer;

/// How often a host hears that its lock is still held.
pub(super) const BEAT: Duration = Duration::from_secs(15);

/// What lies ahead on a host.
pub(super) enum Work {
    /// Not looked at yet.
    Task(Bound),
    Ready(Box<Ready>),
    /// Decided without the host.
    Decided(Decided),
    /// The end of a block that has a `rescue` or an `always`.
    Leave(Block),
    /// The end of a loop whose results are registered together.
    LoopEnd { task: Arc<Task>, series: Arc<Series> },
    /// Ready, and done on another host.
    Delegated { ready: Box<Ready>, to: String, plan: Box<HostPlan> },
    /// The end of a task before which hosts have met.
    Parting(Parting),
}

pub(super) struct Decided {
    pub bound: Bound,
    pub name: String,
    pub outcome: Outcome,
    pub message: String,
}

/// A block that is being worked on.
pub(super) struct Block {
    pub task: Arc<Task>,
    pub bindings: Vec<Arc<Layer>>,
    pub phase: Phase,
    pub is_handler: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Body,
    Rescue,
    Always { failed: bool },
}

/// A host that is being worked on.
pub(super) struct Walker {
    pub shared: Arc<Shared>,
    pub plan: HostPlan,
    pub name: String,
    pub play: Arc<PlayAt>,
    pub todo: VecDeque<Work>,
    pub link: Option<Link>,
    pub shells: BTreeMap<UserKey, Shell>,
    /// The server allows no second session beside the first.
    pub one_session: bool,
    /// Temporary files that were sent ahead, until the change has moved them to their place.
    pub uploads: Vec<(UserKey, Vec<u8>)>,
    pub stop: watch::Receiver<Stop>,
    /// Registered results and set facts.
    pub results: Arc<Layer>,
    /// `facts` as templates see it.
    pub facts_layer: Arc<Layer>,
    pub facts: serde_json::Map<String, serde_json::Value>,
    /// Collectors that a text has asked for in passing.
    pub wanted_facts: BTreeSet<String>,
    /// Groups that this run has made and that the host is in.
    pub groups: BTreeSet<String>,
    /// Results of the items of a loop so far.
    pub series: HashMap<usize, Vec<Value>>,
    /// How many changes have been made on this host.
    pub epoch: u64,
    pub planned_changes: u64,
    pub next_seq: u32,
    /// Handlers that are to run, in the order of the play, with the shells whose ledger knows of them.
    pub notified: BTreeMap<usize, Vec<UserKey>>,
    /// Notices whose place in the ledger depended on `changed_when`.
    pub late_notices: Vec<(UserKey, usize)>,
    /// How long to wait before the front is tried again.
    pub pause: Option<Duration>,
    pub totals: Totals,
    pub outcome: Option<Outcome>,
    pub message: String,
    pub obstacle: Option<Obstacle>,
    /// What this play has changed here, where it may have to be undone.
    pub made: Vec<Reversal>,
    pub undone: Option<Undone>,
    /// Handlers that an earlier run has left pending.
    pub inherited: BTreeSet<usize>,
    /// Changes that the host would take back, by their numbers.
    pub watched: BTreeMap<u32, Watched>,
    /// What became of them, where nobody has confirmed them.
    pub falls: BTreeMap<u32, Fall>,
    /// Handlers that such changes have notified, and how long they wait for a new login.
    pub handler_limits: BTreeMap<usize, Duration>,
    /// How long the handler that is running waits for a new login.
    pub handler_limit: Option<Duration>,
    pub started: bool,
    pub finished: bool,
    pub skipping_to_start: bool,
    /// Contact was lost and has been found again since the last flight.
    pub is_back: bool,
    /// Its place among the hosts that are worked on at the same time, and where it got that.
    pub slot: Option<OwnedSemaphorePermit>,
    pub slots: Option<Arc<Semaphore>>,
    /// The host that this one works for, when tasks are delegated to it.
    pub for_host: Option<String>,
    /// Hosts to which tasks were delegated.
    pub lent: BTreeMap<String, Box<Walker>>,
    /// A failure here is caught by a `rescue` of the host that it works for.
    pub is_rescued_outside: bool,
    /// How the host was doing before its part of the play, where a gate follows.
    pub before: Option<Condition>,
}

/// A play and where it stands.
pub(super) struct PlayAt {
    pub playbook: usize,
    pub play: usize,
    pub meeting: Arc<Meeting>,
}

impl PlayAt {
    pub fn of<'a>(&self, shared: &'a Shared) -> &'a Play {
        &shared.input.playbooks[self.playbook].plays[self.play]
    }
}

/// Why a walk ended before its end.
pub(super) enum Halt {
    /// A task failed, and nothing caught it.
    Failed,
    Host(HostFailure),
    Stopped,
    /// The playbook says so.
    EndPlay,
}

impl Walker {
    pub fn new(shared: Arc<Shared>, plan: HostPlan, name: String) -> Self {
        let stop = shared.stop.clone();
        let skipping = shared.input.options.start_at_task.is_some();
        Self {
            shared,
            plan,
            name,
            play: Arc::new(PlayAt { playbook: 0, play: 0, meeting: Arc::default() }),
            todo: VecDeque::new(),
            link: None,
            shells: BTreeMap::new(),
            one_session: false,
            uploads: Vec::new(),
            stop,
            results: Arc::default(),
            facts_layer: Arc::new(facts_layer(&serde_json::Map::new())),
            facts: serde_json::Map::new(),
            wanted_facts: BTreeSet::new(),
            groups: BTreeSet::new(),
            series: HashMap::new(),
            epoch: 0,
            planned_changes: 0,
            next_seq: 1,
            notified: BTreeMap::new(),
            late_notices: Vec::new(),
            pause: None,
            totals: Totals::new(),
            outcome: None,
            message: String::new(),
            obstacle: None,
            made: Vec::new(),
            undone: None,
            inherited: BTreeSet::new(),
            watched: BTreeMap::new(),
            falls: BTreeMap::new(),
            handler_limits: BTreeMap::new(),
            handler_limit: None,
            started: false,
            finished: false,
            skipping_to_start: skipping,
            is_back: false,
            slot: None,
            slots: None,
            for_host: None,
            lent: BTreeMap::new(),
            is_rescued_outside: false,
            before: None,
        }
    }

    /// Whether later plays are to work on this host.
    pub fn goes_on(&self) -> bool {
        !self.finished
    }

    /// Whether it is asked for its health once its batch is done.
    pub fn has_gate(&self) -> bool {
        !self.shared.input.options.check && !self.shared.input.playbooks.is_empty() && !self.play.of(&self.shared).health.is_empty() && !self.has_failed()
    }

    /// Whether the host counts against the limit of failures.
    pub fn has_failed(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Failed | Outcome::Unreachable | Outcome::Unknown))
    }

    /// Runs one play on this host, handlers included.
    pub async fn run_play(&mut self, play: Arc<PlayAt>) {
        if !self.started {
            self.started = true;
            self.tell(Event::HostStart { host: self.name.clone() });
        }
        self.play = play;
        // Handlers that an earlier play left pending are its own business; this one may have some from earlier runs.
        self.notified.clear();
        self.inherited.clear();
        self.handler_limits.clear();
        self.made.clear();
        self.lent.values_mut().for_each(|lent| lent.made.clear());
        let waiting: Vec<(UserKey, Vec<crate::remote::Pending>)> = self.shells.iter().map(|(user, shell)| (user.clone(), shell.pending.clone())).collect();
        for (user, pending) in waiting {
            self.remember_pending(&user, &pending);
        }
        let tasks: Vec<Arc<Task>> = self.play.of(&self.shared).tasks.clone();
        self.todo = tasks.into_iter().map(|task| Work::Task(unbound(task, false))).collect();
        let ended = match self.begin_gate().await {
            Ok(()) => self.walk().await,
            Err(halt) => Err(halt),
        };
        let ended = match ended {
            Ok(()) => self.run_handlers().await,
            Err(halt) => Err(halt),
        };
        match &ended {
            Err(Halt::Host(_)) if self.outcome != Some(Outcome::Unknown) => self.give_turns_up(),
            // Whoever ends a play by the playbook's own word has done what it was to do.
            Err(Halt::EndPlay) => self.end_turns(),
            _ => {}
        }
        if matches!(ended, Err(Halt::Failed)) {
            // What the next run is to make up for is written down.
            let _noted = self.note_late().await;
        }
        self.todo.clear();
        if !self.may_roll_back() && !self.has_gate() {
            self.give_back().await;
        }
        // Whoever waits for other hosts now must not keep this one locked.
        self.release().await;
        self.ended(ended);
    }

    /// Asks whether the host is healthy now that its part of the play is done.
    pub async fn run_health(&mut self) {
        let health = self.play.of(&self.shared).health.clone();
        self.skipping_to_start = false;
        self.todo = health.into_iter().map(|task| Work::Task(unbound(task, false))).collect();
        let ended = match self.judge_impact().await {
            Ok(()) => self.walk().await,
            Err(halt) => Err(halt),
        };
        if matches!(ended, Err(Halt::Host(_))) && self.outcome != Some(Outcome::Unknown) {
            self.give_turns_up();
        }
        self.todo.clear();
        self.release().await;
        self.ended(ended);
    }

    /// Takes note of how the host is doing, where a gate is to follow.
    async fn begin_gate(&mut self) -> Result<(), Halt> {
        self.before = if self.has_gate() { Some(self.condition().await?) } else { None };
        Ok(())
    }

    /// Takes note of why a walk has ended.
    fn ended(&mut self, ended: Result<(), Halt>) {
        match ended {
            Ok(()) | Err(Halt::EndPlay) => {}
            Err(Halt::Failed) => self.finished = true,
            Err(Halt::Stopped) => {
                self.finished = true;
                self.interrupted("interrupted");
            }
            Err(Halt::Host(failure)) => {
                self.finished = true;
                self.host_failure(&failure);
            }
        }
    }

    pub(super) fn host_failure(&mut self, failure: &HostFailure) {
        if self.outcome == Some(Outcome::Unknown) {
            if self.message.is_empty() {
                self.message = failure.to_string();
            }
            return;
        }
        if matches!(failure, HostFailure::Interrupted) {
            self.interrupted("interrupted");
            return;
        }
        self.message = failure.to_string();
        *self.totals.entry(Outcome::Unreachable).or_default() += 1;
        self.worsen(Outcome::Unreachable);
    }

    /// It cannot be worked on as the playbook wants.
    pub fn unfit(&mut self, why: String) {
        self.finished = true;
        self.message = why;
        *self.totals.entry(Outcome::Failed).or_default() += 1;
        self.worsen(Outcome::Failed);
    }

    /// Nothing was begun here, since too many others have failed.
    pub fn left_out(&mut self) {
        self.finished = true;
        self.outcome = Some(Outcome::Skipped);
        self.totals.insert(Outcome::Skipped, 1);
        self.message = "not started: too many hosts had failed before".into();
    }

    /// Not all was done here, because the user wants the run to end.
    pub fn interrupted(&mut self, message: &str) {
        // Where no step tells of it, the host itself counts as one.
        self.totals.entry(Outcome::Cancelled).or_insert(1);
        self.worsen(Outcome::Cancelled);
        if self.message.is_empty() {
            self.message = message.into();
        }
    }

    /// Takes leave of the host and reports how it went.
    pub async fn end(mut self) -> HostEnd {
        self.give_back().await;
        self.release().await;
        for shell in std::mem::take(&mut self.shells).into_values() {
            shell.close().await;
        }
        if let Some(link) = self.link.take() {
            link.close().await;
        }
        let handlers = if self.notified.is_empty() { &[][..] } else { &self.play.of(&self.shared).handlers };
        let pending_handlers = self
            .notified
            .keys()
            .filter_map(|&at| handlers.get(at))
            .map(|handler| handler.name.text().unwrap_or_default().to_owned())
            .collect();
        let end = HostEnd {
            host: self.name.clone(),
            outcome: self.outcome.unwrap_or(Outcome::Ok),
            message: std::mem::take(&mut self.message),
            totals: std::mem::take(&mut self.totals),
            obstacle: self.obstacle,
            undone: self.undone,
            pending_handlers,
        };
        self.tell(Event::HostEnd(Box::new(end.clone())));
        end
    }

    pub fn tell(&self, mut event: Event) {
        if let Some(host) = &self.for_host {
            match &mut event {
                Event::Step(step) => step.delegated_to = Some(std::mem::replace(&mut step.host, host.clone())),
                Event::Output(piece) => piece.host.clone_from(host),
                Event::HostStart { .. } | Event::HostEnd(_) => return,
                _ => {}
            }
        }
        // Nobody listens any more only when the program is ending.
        let _heard = self.shared.events.send(event.without_hidden());
    }

    pub fn worsen(&mut self, outcome: Outcome) {
        self.outcome = Some(self.outcome.map_or(outcome, |before| before.max(outcome)));
    }

    /// Works off the queue.
    pub async fn walk(&mut self) -> Result<(), Halt> {
        loop {
            // Whoever has done everything was not interrupted.
            if self.todo.is_empty() {
                return Ok(());
            }
            self.stopped()?;
            if let Some(pause) = self.pause.take() {
                self.rest(pause).await?;
            }
            if let Some(Work::Task(bound)) = self.todo.front()
                && !bound.has_met
                && is_meeting(&bound.task)
            {
                self.meet().await?;
                continue;
            }
            self.make_ready();
            // The first of a block.
            if matches!(self.todo.front(), Some(Work::Task(bound)) if !bound.has_met && is_meeting(&bound.task)) {
                continue;
            }
            match self.todo.front() {
                None => return Ok(()),
                Some(Work::Leave(_)) => {
                    if let Some(Work::Leave(block)) = self.todo.pop_front() {
                        self.leave(block)?;
                    }
                    continue;
                }
                Some(Work::Delegated { .. }) => {
                    self.delegate().await?;
                    continue;
                }
                Some(Work::Parting(_)) => {
                    if let Some(Work::Parting(parting)) = self.todo.pop_front() {
                        self.part(parting);
                    }
                    continue;
                }
                Some(Work::LoopEnd { .. }) => {
                    if let Some(Work::LoopEnd { task, series }) = self.todo.pop_front() {
                        self.end_loop(&task, &series);
                    }
                    continue;
                }
                Some(Work::Decided(_)) => {
                    if let Some(Work::Decided(decided)) = self.todo.pop_front() {
                        self.settle_decided(decided)?;
                    }
                    continue;
                }
                Some(Work::Task(_)) => {
                    // It could not be made ready for lack of facts.
                    self.flow_control().await?;
                    continue;
                }
                Some(Work::Ready(_)) => {}
            }
            self.ask().await?;
            self.commit().await?;
        }
    }

    /// Waits, and lets the host know meanwhile that somebody still holds its lock.
    pub(super) async fn rest(&mut self, pause: Duration) -> Result<(), Halt> {
        let end = tokio::time::Instant::now() + pause;
        let mut beat = tokio::time::interval(BEAT);
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(end) => return Ok(()),
                () = stopping(self.stop.clone()) => return Err(Halt::Stopped),
                _ = beat.tick() => self.beat().await,
            }
        }
    }

    /// Lets the host know that its lock is still held.
    pub(super) async fn beat(&mut self) {
        for shell in self.shells.values_mut() {
            shell.beat().await;
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        *self.stop.borrow() != Stop::No
    }

    fn stopped(&mut self) -> Result<(), Halt> {
        if *self.stop.borrow_and_update() == Stop::No { Ok(()) } else { Err(Halt::Stopped) }
    }

    pub fn seq(&mut self) -> u32 {
        self.next_seq += 1;
        self.next_seq
    }

    /// `file:line` of a part of a playbook.
    pub fn place(&self, node: &Node) -> String {
        let sources = &self.shared.input.sources;
        format!("{}:{}", sources.get(node.span.source).name, sources.line(&node.span))
    }

    /// The variables that a task sees, where `unsettled` names are known later.
    pub fn scope(&self, bound: &Bound, unsettled: Vec<String>) -> Arc<crate::template::Scope> {
        let mut results = vec![self.facts_layer.clone()];
        if !unsettled.is_empty() {
            results.push(Arc::new(step::later_layer(unsettled)));
        }
        results.push(self.results.clone());
        let play = self.play.of(&self.shared);
        self.plan.view.task_scope(&self.shared.input, play, &bound.task, &bound.bindings, &results)
    }
}

/// Ends when the user wants to stop.
pub(super) async fn stopping(mut stop: watch::Receiver<Stop>) {
    if stop.wait_for(|wanted| *wanted != Stop::No).await.is_err() {
        std::future::pending::<()>().await;
    }
}

