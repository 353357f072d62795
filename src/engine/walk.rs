//! One host, walked flight after flight until its tasks are done.
//!
//! The tasks that lie ahead stand in a queue. As far as nothing unknown is in the way, they are made ready; their
//! questions travel in one probe flight, their changes in one commit flight, and what has ended leaves the queue at
//! its front. What depends on a result that is not there yet waits: that is a knot.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use indexmap::IndexMap;
use minijinja::Value;
use tokio::sync::watch;

use super::prepare::{HostPlan, is_chosen, unbound};
use super::scope::facts_layer;
use super::step::{self, Bound, Ground, Readiness, Ready, Series, UserKey};
use super::{Shared, facts};
use crate::diag::Node;
use crate::event::{Event, HostEnd, Obstacle, Outcome, Totals};
use crate::module::Question;
use crate::playbook::{Body, Play, Task};
use crate::shell::HOME_MARK;
use crate::remote::{Frame, FrameResult, HostFailure, Link, Shell, Stop, Verb};
use crate::template::{Entry, Filled, Layer};

/// How many tasks are made ready at once; more would only take memory.
const AHEAD_LIMIT: usize = 500;

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
}

pub(super) struct Decided {
    pub bound: Bound,
    pub name: String,
    pub outcome: Outcome,
    pub message: String,
}

/// A block that is being worked on.
pub(super) struct Block {
    task: Arc<Task>,
    bindings: Vec<Arc<Layer>>,
    phase: Phase,
    is_handler: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
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
    link: Option<Link>,
    pub shells: HashMap<UserKey, Shell>,
    pub stop: watch::Receiver<Stop>,
    /// Registered results and set facts.
    pub results: Arc<Layer>,
    /// `facts` as templates see it.
    facts_layer: Arc<Layer>,
    facts: serde_json::Map<String, serde_json::Value>,
    /// Collectors that a text has asked for in passing.
    wanted_facts: std::collections::BTreeSet<String>,
    /// Results of the items of a loop so far.
    pub series: HashMap<usize, Vec<Value>>,
    /// How many changes have been made on this host.
    pub epoch: u64,
    pub planned_changes: u64,
    next_seq: u32,
    /// Handlers that are to run, in the order of the play, with the shells whose ledger knows of them.
    pub notified: BTreeMap<usize, Vec<UserKey>>,
    /// Notices whose place in the ledger depended on `changed_when`.
    pub late_notices: Vec<(UserKey, usize)>,
    /// How long to wait before the front is tried again.
    pub pause: Option<std::time::Duration>,
    pub totals: Totals,
    pub outcome: Option<Outcome>,
    pub message: String,
    pub obstacle: Option<Obstacle>,
    started: bool,
    finished: bool,
    skipping_to_start: bool,
}

/// A play and where it stands.
pub(super) struct PlayAt {
    pub playbook: usize,
    pub play: usize,
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
            play: Arc::new(PlayAt { playbook: 0, play: 0 }),
            todo: VecDeque::new(),
            link: None,
            shells: HashMap::new(),
            stop,
            results: Arc::default(),
            facts_layer: Arc::new(facts_layer(&serde_json::Map::new())),
            facts: serde_json::Map::new(),
            wanted_facts: std::collections::BTreeSet::new(),
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
            started: false,
            finished: false,
            skipping_to_start: skipping,
        }
    }

    /// Whether later plays are to work on this host.
    pub fn goes_on(&self) -> bool {
        !self.finished
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
        let waiting: Vec<(UserKey, Vec<crate::remote::Pending>)> = self.shells.iter().map(|(user, shell)| (user.clone(), shell.pending.clone())).collect();
        for (user, pending) in waiting {
            self.remember_pending(&user, &pending);
        }
        let tasks: Vec<Arc<Task>> = self.play.of(&self.shared).tasks.clone();
        self.todo = tasks.into_iter().map(|task| Work::Task(unbound(task, false))).collect();
        let ended = match self.walk().await {
            Ok(()) => self.run_handlers().await,
            Err(halt) => Err(halt),
        };
        self.todo.clear();
        // Whoever waits for other hosts now must not keep this one locked.
        for shell in self.shells.values_mut() {
            shell.unlock().await;
        }
        match ended {
            Ok(()) | Err(Halt::EndPlay) => {}
            Err(Halt::Failed) => self.finished = true,
            Err(Halt::Stopped) => {
                self.finished = true;
                self.worsen(Outcome::Cancelled);
                if self.message.is_empty() {
                    self.message = "interrupted".into();
                }
            }
            Err(Halt::Host(failure)) => {
                self.finished = true;
                self.host_failure(&failure);
            }
        }
    }

    fn host_failure(&mut self, failure: &HostFailure) {
        if self.outcome == Some(Outcome::Unknown) {
            if self.message.is_empty() {
                self.message = failure.to_string();
            }
            return;
        }
        if matches!(failure, HostFailure::Interrupted) {
            self.worsen(Outcome::Cancelled);
            self.message = "interrupted".into();
            return;
        }
        self.message = failure.to_string();
        *self.totals.entry(Outcome::Unreachable).or_default() += 1;
        self.worsen(Outcome::Unreachable);
    }

    /// Takes leave of the host and reports how it went.
    pub async fn end(mut self) -> HostEnd {
        for (_, shell) in self.shells.drain() {
            shell.close().await;
        }
        if let Some(link) = self.link.take() {
            link.close().await;
        }
        let play = self.play.of(&self.shared);
        let pending_handlers = self
            .notified
            .keys()
            .filter_map(|&at| play.handlers.get(at))
            .map(|handler| handler.name.text().unwrap_or_default().to_owned())
            .collect();
        let end = HostEnd {
            host: self.name.clone(),
            outcome: self.outcome.unwrap_or(Outcome::Ok),
            message: std::mem::take(&mut self.message),
            totals: std::mem::take(&mut self.totals),
            obstacle: self.obstacle,
            pending_handlers,
        };
        self.tell(Event::HostEnd(Box::new(end.clone())));
        end
    }

    pub fn tell(&self, event: Event) {
        // Nobody listens any more only when the program is ending.
        let _heard = self.shared.events.send(event);
    }

    pub fn worsen(&mut self, outcome: Outcome) {
        self.outcome = Some(self.outcome.map_or(outcome, |before| before.max(outcome)));
    }

    /// Works off the queue.
    pub async fn walk(&mut self) -> Result<(), Halt> {
        loop {
            self.stopped()?;
            if let Some(pause) = self.pause.take() {
                self.rest(pause).await?;
            }
            self.make_ready();
            match self.todo.front() {
                None => return Ok(()),
                Some(Work::Leave(_)) => {
                    if let Some(Work::Leave(block)) = self.todo.pop_front() {
                        self.leave(block)?;
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
    async fn rest(&mut self, pause: std::time::Duration) -> Result<(), Halt> {
        let end = tokio::time::Instant::now() + pause;
        let mut beat = tokio::time::interval(std::time::Duration::from_secs(15));
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(end) => return Ok(()),
                () = stopping(self.stop.clone()) => return Err(Halt::Stopped),
                _ = beat.tick() => {
                    for shell in self.shells.values_mut() {
                        shell.beat().await;
                    }
                }
            }
        }
    }

    fn stopped(&mut self) -> Result<(), Halt> {
        if *self.stop.borrow_and_update() == Stop::No { Ok(()) } else { Err(Halt::Stopped) }
    }

    /// A task at the front that is none of a module's, or that waits for facts.
    async fn flow_control(&mut self) -> Result<(), Halt> {
        let Some(Work::Task(bound)) = self.todo.front() else { return Ok(()) };
        let task = bound.task.clone();
        match &task.body {
            Body::FlushHandlers => {
                self.todo.pop_front();
                if self.applies(&task).await? {
                    let rest = std::mem::take(&mut self.todo);
                    let ran = Box::pin(self.run_handlers()).await;
                    self.todo = rest;
                    ran?;
                }
                Ok(())
            }
            Body::EndPlay => {
                self.todo.pop_front();
                if self.applies(&task).await? { Err(Halt::EndPlay) } else { Ok(()) }
            }
            _ => self.gather_for_front().await,
        }
    }

    /// Whether the conditions of a task that is no step hold; facts that they need are gathered first.
    async fn applies(&mut self, task: &Arc<Task>) -> Result<bool, Halt> {
        for _ in 0..2 {
            let bound = unbound(task.clone(), false);
            match step::all_hold(&self.scope(&bound, Vec::new()), &task.when) {
                Ok(Filled::Now(holds)) => return Ok(holds),
                Ok(Filled::Later(later)) => {
                    self.want_facts(&later);
                    self.gather().await?;
                }
                Err((node, trouble)) => {
                    let name = step::shown_name(&self.scope(&bound, Vec::new()), task);
                    let message = format!("{} ({})", trouble.message, self.place(&node));
                    self.settle_decided(Decided { bound, name, outcome: Outcome::Failed, message })?;
                    return Ok(false);
                }
            }
        }
        Ok(false)
    }

    async fn gather_for_front(&mut self) -> Result<(), Halt> {
        let Some(Work::Task(bound)) = self.todo.front() else { return Ok(()) };
        let bound = bound.clone();
        if self.collectors().is_empty() {
            // Nothing more can become known, so what it asks for is not there.
            let name = step::shown_name(&self.scope(&bound, Vec::new()), &bound.task);
            let message = "it depends on the result of a task that has not run".to_owned();
            self.todo.pop_front();
            let outcome = if self.shared.input.options.check { Outcome::Pending } else { Outcome::Failed };
            return self.settle_decided(Decided { bound, name, outcome, message });
        }
        self.gather().await
    }

    /// Asks for the facts that are wanted and not there.
    async fn gather(&mut self) -> Result<(), Halt> {
        let wanted = self.collectors();
        if wanted.is_empty() {
            return Ok(());
        }
        let frame = self.facts_frame(&wanted);
        self.shell(&None, std::slice::from_ref(&frame)).await?;
        let results = self.fly(&None, vec![frame]).await?;
        self.take_facts(&wanted, results.into_iter().next())
    }

    fn facts_frame(&mut self, wanted: &[String]) -> Frame {
        Frame {
            seq: self.seq(),
            verb: Verb::Probe(facts::question(wanted)),
            libraries: vec![&facts::LIBRARY],
            limit: std::time::Duration::from_secs(60),
        }
    }

    fn take_facts(&mut self, wanted: &[String], result: Option<FrameResult>) -> Result<(), Halt> {
        let answer = match result.map(|result| result.outcome) {
            Some(crate::remote::Outcome::Answered { stdout, .. }) => stdout,
            Some(crate::remote::Outcome::Unknown(failure)) => return Err(Halt::Host(failure)),
            _ => return Err(Halt::Stopped),
        };
        self.facts.extend(facts::read(wanted, &answer));
        self.facts_layer = Arc::new(facts_layer(&self.facts));
        Ok(())
    }

    /// Collectors that this play names and that have not been asked yet.
    fn collectors(&self) -> Vec<String> {
        let named = &self.shared.named_facts[self.play.playbook][self.play.play];
        let all = named.contains("*") || self.wanted_facts.contains("*");
        facts::COLLECTORS
            .iter()
            .filter(|name| all || named.contains(**name) || self.wanted_facts.contains(**name))
            .filter(|name| !self.facts.contains_key(**name))
            .map(|name| (*name).to_owned())
            .collect()
    }

    /// Makes ready as many tasks as nothing unknown stands before.
    fn make_ready(&mut self) {
        let mut at = 0;
        let mut unsettled: Vec<String> = Vec::new();
        while at < self.todo.len() && at < AHEAD_LIMIT {
            match &self.todo[at] {
                Work::Ready(ready) => {
                    unsettled.extend(step::names_made_by(&ready.bound.task));
                    if is_knot(ready) {
                        return;
                    }
                    at += 1;
                }
                Work::Decided(decided) => {
                    unsettled.extend(step::names_made_by(&decided.bound.task));
                    if decided.outcome == Outcome::Failed {
                        return;
                    }
                    at += 1;
                }
                Work::LoopEnd { task, .. } => {
                    unsettled.extend(step::names_made_by(task));
                    at += 1;
                }
                Work::Leave(_) => return,
                Work::Task(_) => {
                    if !self.expand(at, &unsettled) {
                        return;
                    }
                }
            }
        }
    }

    /// Replaces the task at `at` by what it stands for. `false` when it has to wait.
    fn expand(&mut self, at: usize, unsettled: &[String]) -> bool {
        let Work::Task(bound) = &self.todo[at] else { return false };
        let bound = bound.clone();
        let task = bound.task.clone();
        if bound.item.is_none() && !self.passes_filters(&bound) {
            self.todo.remove(at);
            return true;
        }
        let scope = self.scope(&bound, unsettled.to_vec());
        if let (Some(repeat), None) = (&task.repeat, &bound.series) {
            if let Ok(Filled::Now(false)) = step::all_hold(&scope, &task.when) {
                let name = step::shown_name(&scope, &task);
                self.todo[at] = Work::Decided(Decided { bound, name, outcome: Outcome::Skipped, message: String::new() });
                return true;
            }
            return match step::items(&scope, &repeat.items) {
                Ok(Filled::Later(later)) => {
                    self.want_facts(&later);
                    false
                }
                Ok(Filled::Now(items)) => {
                    self.unroll(at, &bound, items);
                    true
                }
                Err((node, trouble)) => {
                    let name = step::shown_name(&scope, &task);
                    let message = format!("{} ({})", trouble.message, self.place(&node));
                    self.todo[at] = Work::Decided(Decided { bound, name, outcome: Outcome::Failed, message });
                    true
                }
            };
        }
        match &task.body {
            Body::Block { tasks, .. } => {
                let inner: Vec<Work> = tasks.iter().map(|inner| Work::Task(self.inner(inner, &bound.bindings, bound.is_handler))).collect();
                self.todo.remove(at);
                if has_ends(&task) {
                    let block = Block { task, bindings: bound.bindings, phase: Phase::Body, is_handler: bound.is_handler };
                    self.todo.insert(at, Work::Leave(block));
                }
                for work in inner.into_iter().rev() {
                    self.todo.insert(at, work);
                }
                true
            }
            Body::Module { .. } => self.make_one_ready(at, &bound, scope),
            _ => false,
        }
    }

    fn inner(&self, task: &Arc<Task>, bindings: &[Arc<Layer>], is_handler: bool) -> Bound {
        Bound { task: task.clone(), bindings: bindings.to_vec(), item: None, label: None, series: None, is_handler }
    }

    fn passes_filters(&mut self, bound: &Bound) -> bool {
        let options = &self.shared.input.options;
        if matches!(bound.task.body, Body::Block { .. }) || bound.is_handler {
            return true;
        }
        if self.skipping_to_start {
            if options.start_at_task.as_deref() != bound.task.name.text() {
                return false;
            }
            self.skipping_to_start = false;
        }
        is_chosen(options, &bound.task)
    }

    fn unroll(&mut self, at: usize, bound: &Bound, items: Vec<Value>) {
        let task = bound.task.clone();
        let Some(repeat) = &task.repeat else { return };
        let series = Arc::new(Series::default());
        self.todo.remove(at);
        let is_block = matches!(task.body, Body::Block { .. });
        if task.register.is_some() && !is_block {
            self.todo.insert(at, Work::LoopEnd { task: task.clone(), series: series.clone() });
        }
        let count = items.len();
        for (index, item) in items.into_iter().enumerate().rev() {
            let mut layer = Layer::default().with(&repeat.variable, item.clone());
            if let Some(name) = &repeat.index_variable {
                layer = layer.with(name, index);
            }
            let mut bindings = bound.bindings.clone();
            bindings.insert(0, Arc::new(layer));
            let mut one = Bound { bindings, item: Some(item), series: Some(series.clone()), ..bound.clone() };
            if let Some(label) = repeat.label.as_ref().and_then(Node::text)
                && let Ok(Filled::Now(label)) = self.scope(&one, Vec::new()).fill(label)
            {
                one.label = Some(label.to_string());
            }
            self.todo.insert(at, Work::Task(one));
        }
        if count == 0 {
            let name = task.name.text().unwrap_or_default().to_owned();
            let message = "the loop has no items".to_owned();
            self.todo.insert(at, Work::Decided(Decided { bound: bound.clone(), name, outcome: Outcome::Skipped, message }));
        }
    }

    fn make_one_ready(&mut self, at: usize, bound: &Bound, scope: Arc<crate::template::Scope>) -> bool {
        let play = self.play.of(&self.shared);
        // Before a shell has told its home folder, the host fills it in itself.
        let home = |user: &UserKey| Some(self.shells.get(user).map_or_else(|| HOME_MARK.to_owned(), |shell| shell.home.clone()));
        let ground = Ground {
            files: &self.shared.files,
            home: &home,
            become_default: Some(self.shared.input.options.login.become_it || self.plan.settings.become_it.unwrap_or(false)),
            become_user: self.shared.input.options.login.become_user.as_deref().or(self.plan.settings.become_user.as_deref()),
            default_limit: self.shared.input.options.step_limit.unwrap_or(std::time::Duration::from_secs(600)),
        };
        let place = |node: &Node| self.place(node);
        match step::ready(bound, scope, &play.defaults, &ground, &place) {
            Readiness::Ready(mut ready) => {
                // A question of the user's own and a repeated task stand alone at the front.
                let alone = matches!(ready.question, Question::Run(_)) || ready.bound.task.until.is_some();
                if alone && at > 0 {
                    return false;
                }
                for condition in &ready.open_conditions {
                    if let Ok(Filled::Later(later)) = step::holds(&ready.scope, condition) {
                        self.want_facts(&later);
                    }
                }
                ready.seq = self.seq();
                self.todo[at] = Work::Ready(ready);
                true
            }
            Readiness::Skipped { name } => {
                self.todo[at] = Work::Decided(Decided { bound: bound.clone(), name, outcome: Outcome::Skipped, message: String::new() });
                true
            }
            Readiness::Failed { name, message } => {
                self.todo[at] = Work::Decided(Decided { bound: bound.clone(), name, outcome: Outcome::Failed, message });
                true
            }
            Readiness::Later(later) => {
                self.want_facts(&later);
                false
            }
        }
    }

    fn want_facts(&mut self, later: &crate::template::Later) {
        let collectors = later.names.iter().filter_map(|name| name.strip_prefix("facts."));
        self.wanted_facts.extend(collectors.map(|name| name.split('.').next().unwrap_or(name).to_owned()));
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

    fn end_loop(&mut self, task: &Arc<Task>, series: &Arc<Series>) {
        let results = self.series.remove(&(Arc::as_ptr(series) as usize)).unwrap_or_default();
        let any = |key: &str| results.iter().any(|result| result.get_attr(key).is_ok_and(|value| value.is_true()));
        let all_skipped = !results.is_empty() && results.iter().all(|result| result.get_attr("skipped").is_ok_and(|value| value.is_true()));
        let combined = Value::from_pairs([
            ("changed", Value::from(any("changed"))),
            ("failed", Value::from(any("failed"))),
            ("skipped", Value::from(all_skipped)),
            ("results", Value::from(results)),
        ]);
        if let Some(name) = &task.register {
            Arc::make_mut(&mut self.results).entries.insert(name.clone(), Entry::Value(combined));
        }
    }

    /// The end of a block without a failure.
    fn leave(&mut self, block: Block) -> Result<(), Halt> {
        match block.phase {
            Phase::Body | Phase::Rescue => self.begin_always(block, false),
            Phase::Always { failed: false } => {}
            Phase::Always { failed: true } => return self.unwind(),
        }
        Ok(())
    }

    fn begin_always(&mut self, block: Block, failed: bool) {
        let Body::Block { always, .. } = &block.task.body else { return };
        let inner: Vec<Work> = always.iter().map(|task| Work::Task(self.inner(task, &block.bindings, block.is_handler))).collect();
        self.todo.push_front(Work::Leave(Block { phase: Phase::Always { failed }, ..block }));
        for work in inner.into_iter().rev() {
            self.todo.push_front(work);
        }
    }

    /// After a failure: goes to the nearest `rescue` or `always`.
    pub fn unwind(&mut self) -> Result<(), Halt> {
        while let Some(work) = self.todo.pop_front() {
            let Work::Leave(block) = work else { continue };
            let Body::Block { rescue, .. } = &block.task.body else { continue };
            match block.phase {
                Phase::Body if !rescue.is_empty() => {
                    let inner: Vec<Work> = rescue.iter().map(|task| Work::Task(self.inner(task, &block.bindings, block.is_handler))).collect();
                    self.todo.push_front(Work::Leave(Block { phase: Phase::Rescue, ..block }));
                    for work in inner.into_iter().rev() {
                        self.todo.push_front(work);
                    }
                    return Ok(());
                }
                Phase::Body | Phase::Rescue => {
                    self.begin_always(block, true);
                    return Ok(());
                }
                Phase::Always { .. } => {}
            }
        }
        Err(Halt::Failed)
    }

    /// Whether a failure now would be caught by a `rescue`.
    pub fn is_rescued(&self) -> bool {
        self.todo.iter().any(|work| match work {
            Work::Leave(block) => {
                block.phase == Phase::Body && matches!(&block.task.body, Body::Block { rescue, .. } if !rescue.is_empty())
            }
            _ => false,
        })
    }

    /// Opens the shell of a user, with probes that may travel along.
    pub async fn shell(&mut self, user: &UserKey, first: &[Frame]) -> Result<(), Halt> {
        if self.shells.get(user).is_some_and(Shell::is_open) {
            return Ok(());
        }
        if self.link.is_none() {
            let _permit = match self.plan.target.method {
                crate::remote::Method::Ssh => Some(self.shared.handshakes.permit(&self.plan.target).await),
                crate::remote::Method::Local => None,
            };
            let open = Link::open(&self.plan.target, &self.shared.input.known_hosts);
            let link = tokio::select! {
                link = open => link.map_err(Halt::Host)?,
                () = stopping(self.stop.clone()) => return Err(Halt::Stopped),
            };
            self.link = Some(link);
        }
        let Some(link) = &self.link else { return Ok(()) };
        let other = user.as_ref().map(|name| self.plan.become_as(name, &self.shared.input.options));
        let open = Shell::open(link, other.as_ref(), first);
        let shell = tokio::select! {
            shell = open => shell.map_err(Halt::Host)?,
            () = stopping(self.stop.clone()) => return Err(Halt::Stopped),
        };
        self.remember_pending(user, &shell.pending);
        self.shells.insert(user.clone(), shell);
        Ok(())
    }

    /// Sends frames to the shell of a user, which is open.
    pub async fn fly(&mut self, user: &UserKey, frames: Vec<Frame>) -> Result<Vec<FrameResult>, Halt> {
        let Some(shell) = self.shells.get_mut(user) else { return Err(Halt::Stopped) };
        Ok(shell.flight(&frames, &mut self.stop).await)
    }

    /// Opens a second channel for bytes.
    pub async fn upload(&mut self, user: &UserKey, upload: &crate::module::Upload) -> Result<(), HostFailure> {
        let Some(link) = &self.link else { return Err(HostFailure::Lost("not connected".into())) };
        let other = user.as_ref().map(|name| self.plan.become_as(name, &self.shared.input.options));
        crate::remote::upload(link, other.as_ref(), &upload.path, &upload.content.bytes).await
    }

    /// Asks every question that has no good answer yet: one round trip, to all users' shells at once.
    async fn ask(&mut self) -> Result<(), Halt> {
        let users = self.users_to_ask();
        let collectors = self.collectors();
        for (order, user) in users.iter().enumerate() {
            let with_facts = if order == 0 { collectors.clone() } else { Vec::new() };
            self.ask_as(user, &with_facts).await?;
        }
        Ok(())
    }

    fn users_to_ask(&self) -> Vec<UserKey> {
        let mut users: IndexMap<UserKey, ()> = IndexMap::new();
        for work in &self.todo {
            match work {
                Work::Ready(ready) if ready.answer.is_none() && !matches!(ready.question, Question::None) => {
                    users.insert(ready.user.clone(), ());
                }
                Work::Ready(_) | Work::Decided(_) | Work::LoopEnd { .. } => {}
                Work::Task(_) | Work::Leave(_) => break,
            }
        }
        users.into_keys().collect()
    }

    async fn ask_as(&mut self, user: &UserKey, collectors: &[String]) -> Result<(), Halt> {
        let facts_seq = self.seq();
        let mut frames = Vec::new();
        let mut steps = Vec::new();
        if !collectors.is_empty() {
            let mut frame = self.facts_frame(collectors);
            frame.seq = facts_seq;
            frames.push(frame);
        }
        for (at, work) in self.todo.iter().enumerate() {
            match work {
                Work::Ready(ready) if ready.answer.is_none() && ready.user == *user => {
                    if let Some(frame) = super::commit::question_frame(ready) {
                        frames.push(frame);
                        steps.push(at);
                    }
                }
                Work::Ready(_) | Work::Decided(_) | Work::LoopEnd { .. } => {}
                Work::Task(_) | Work::Leave(_) => break,
            }
        }
        if frames.is_empty() {
            return Ok(());
        }
        let harmless = |frame: &&Frame| matches!(frame.verb, Verb::Probe(_));
        let first: Vec<Frame> = if steps.iter().any(|&at| matches!(&self.todo[at], Work::Ready(ready) if ready.no_log || ready.act.has_secret())) {
            Vec::new()
        } else {
            frames.iter().take_while(harmless).cloned().collect()
        };
        self.shell(user, &first).await?;
        let results = self.fly(user, frames).await?;
        let mut results = results.into_iter();
        if !collectors.is_empty() {
            self.take_facts(collectors, results.next())?;
        }
        for (at, result) in steps.into_iter().zip(results) {
            self.take_answer(at, result)?;
        }
        Ok(())
    }
}

/// Ends when the user wants to stop.
async fn stopping(mut stop: watch::Receiver<Stop>) {
    if stop.wait_for(|wanted| *wanted != Stop::No).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// A block without `rescue` and `always` is nothing but its tasks.
fn has_ends(task: &Task) -> bool {
    matches!(&task.body, Body::Block { rescue, always, .. } if !rescue.is_empty() || !always.is_empty())
}

/// Whether what follows cannot be judged before this step has ended.
fn is_knot(ready: &Ready) -> bool {
    let task = &ready.bound.task;
    task.until.is_some() || !task.failed_when.is_empty() || matches!(ready.question, Question::Run(_))
}
