//! What lies ahead on a host: tasks unrolled from blocks and loops, and made ready as far as nothing unknown is in the way.

use std::sync::Arc;

use minijinja::Value;

use super::meet::is_meeting;
use super::prepare::is_chosen;
use super::step::{self, Bound, Ground, Readiness, Ready, Series, UserKey};
use super::walk::{Block, Decided, Halt, Phase, Walker, Work};
use crate::diag::Node;
use crate::event::Outcome;
use crate::module::Question;
use crate::playbook::{Body, Task};
use crate::shell::HOME_MARK;
use crate::template::{Entry, Filled, Layer};

/// How many tasks are made ready at once; more would only take memory.
const AHEAD_LIMIT: usize = 500;

impl Walker {
    /// Makes ready as many tasks as nothing unknown stands before.
    pub(super) fn make_ready(&mut self) {
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
                Work::Leave(_) | Work::Parting(_) | Work::Delegated { .. } => return,
                Work::Task(bound) if !bound.has_met && is_meeting(&bound.task) => return,
                Work::Task(_) => {
                    if !self.expand(at, &unsettled) {
                        return;
                    }
                }
            }
        }
    }

    /// Replaces the task at `at` by what it stands for. `false` when it has to wait.
    pub(super) fn expand(&mut self, at: usize, unsettled: &[String]) -> bool {
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

    pub(super) fn inner(&self, task: &Arc<Task>, bindings: &[Arc<Layer>], is_handler: bool) -> Bound {
        Bound { task: task.clone(), bindings: bindings.to_vec(), item: None, label: None, series: None, is_handler, has_met: false }
    }

    pub(super) fn passes_filters(&mut self, bound: &Bound) -> bool {
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

    pub(super) fn unroll(&mut self, at: usize, bound: &Bound, items: Vec<Value>) {
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

    pub(super) fn make_one_ready(&mut self, at: usize, bound: &Bound, scope: Arc<crate::template::Scope>) -> bool {
        let play = self.play.of(&self.shared);
        if at > 0 && bound.task.defaults.delegate_to.is_some() {
            // What comes before may make the host known.
            return false;
        }
        let delegated = match self.delegated(bound, &scope) {
            Ok(delegated) => delegated,
            Err(Readiness::Later(later)) => {
                self.want_facts(&later);
                return false;
            }
            Err(readiness) => {
                if let Readiness::Failed { name, message } = readiness {
                    self.todo[at] = Work::Decided(Decided { bound: bound.clone(), name, outcome: Outcome::Failed, message });
                }
                return true;
            }
        };
        let plan = delegated.as_ref().map_or(&self.plan, |(_, plan)| plan);
        let is_own = delegated.is_none();
        // Before a shell has told its home folder, the host fills it in itself.
        let home = |user: &UserKey| Some(self.shells.get(user).filter(|_| is_own).map_or_else(|| HOME_MARK.to_owned(), |shell| shell.home.clone()));
        let ground = Ground {
            files: &self.shared.files,
            home: &home,
            become_default: Some(self.shared.input.options.login.become_it || plan.settings.become_it.unwrap_or(false)),
            login_user: Some(&plan.target.user),
            become_user: self.shared.input.options.login.become_user.as_deref().or(plan.settings.become_user.as_deref()),
            default_limit: self.shared.input.options.step_limit.unwrap_or(std::time::Duration::from_secs(600)),
        };
        let place = |node: &Node| self.place(node);
        match step::ready(bound, scope, &play.defaults, &ground, &place) {
            Readiness::Ready(mut ready) => {
                // A question of the user's own and a repeated task stand alone at the front.
                let alone = matches!(ready.question, Question::Run(_)) || ready.bound.task.until.is_some() || ready.bound.task.soak.is_some();
                if alone && at > 0 {
                    return false;
                }
                if self.is_done(&ready) {
                    let message = format!("done before, in the run {}", self.shared.input.options.done.run);
                    self.todo[at] = Work::Decided(Decided { bound: bound.clone(), name: ready.name, outcome: Outcome::Skipped, message });
                    return true;
                }
                if let Some(name) = ready.notify.iter().find(|name| !play.is_handled(name)) {
                    let message = format!("there is no handler `{name}` to notify ({})", self.place_of(&ready));
                    self.todo[at] = Work::Decided(Decided { bound: bound.clone(), name: ready.name, outcome: Outcome::Failed, message });
                    return true;
                }
                if let Some((to, plan)) = delegated {
                    if self.is_done(&ready) {
                        let message = format!("done before, in the run {}", self.shared.input.options.done.run);
                        self.todo[at] = Work::Decided(Decided { bound: bound.clone(), name: ready.name, outcome: Outcome::Skipped, message });
                        return true;
                    }
                    // Facts are those of the host that it is for.
                    let open: Vec<_> = ready.open_conditions.iter().filter_map(|condition| step::holds(&ready.scope, condition).ok()).collect();
                    let mut is_open = false;
                    for held in open {
                        if let Filled::Later(later) = held {
                            self.want_facts(&later);
                            is_open = true;
                        }
                    }
                    if !is_open {
                        self.todo[at] = Work::Delegated { ready, to, plan: Box::new(plan) };
                    }
                    return !is_open;
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

    /// On which other host a task is to be done, with the way there.
    fn delegated(&self, bound: &Bound, scope: &Arc<crate::template::Scope>) -> Result<Option<(String, super::HostPlan)>, Readiness> {
        let Some(node) = &bound.task.defaults.delegate_to else { return Ok(None) };
        let failed = |message: String| Readiness::Failed { name: step::shown_name(scope, &bound.task), message: format!("{message} ({})", self.place(node)) };
        if !matches!(step::all_hold(scope, &bound.task.when), Ok(Filled::Now(true) | Filled::Later(_))) {
            return Ok(None);
        }
        let name = match scope.fill(node.text().unwrap_or_default()) {
            Ok(Filled::Now(value)) => value.to_string(),
            Ok(Filled::Later(later)) => return Err(Readiness::Later(later)),
            Err(trouble) => return Err(failed(trouble.message)),
        };
        if name == self.name {
            return Ok(None);
        }
        let plan = super::delegate::plan(&self.shared, &name, &node.span).map_err(failed)?;
        Ok(Some((name, plan)))
    }

    /// Whether the run that this one continues has made the step. What registers a result is made again, since others
    /// need the result; it is in place, or meant to run every time.
    fn is_done(&self, ready: &Ready) -> bool {
        let done = &self.shared.input.options.done;
        if done.steps.is_empty() || ready.bound.task.register.is_some() {
            return false;
        }
        let span = &ready.bound.task.span;
        let sources = &self.shared.input.sources;
        let item = super::settle::shown_item(&ready.bound).map(|item| item.to_string());
        let (file, line) = (sources.get(span.source).name.clone(), sources.line(span));
        if ready.bound.task.run_once {
            // Whoever has done it has done it for all.
            return done.steps.iter().any(|(_, of, at, its)| *of == file && *at == line && *its == item);
        }
        done.steps.contains(&(self.name.clone(), file, line, item))
    }

    pub(super) fn want_facts(&mut self, later: &crate::template::Later) {
        let collectors = later.names.iter().filter_map(|name| name.strip_prefix("facts."));
        self.wanted_facts.extend(collectors.map(|name| name.split('.').next().unwrap_or(name).to_owned()));
    }

    pub(super) fn end_loop(&mut self, task: &Arc<Task>, series: &Arc<Series>) {
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
    pub(super) fn leave(&mut self, block: Block) -> Result<(), Halt> {
        match block.phase {
            Phase::Body | Phase::Rescue => self.begin_always(block, false),
            Phase::Always { failed: false } => {}
            Phase::Always { failed: true } => return self.unwind(),
        }
        Ok(())
    }

    pub(super) fn begin_always(&mut self, block: Block, failed: bool) {
        let Body::Block { always, .. } = &block.task.body else { return };
        let inner: Vec<Work> = always.iter().map(|task| Work::Task(self.inner(task, &block.bindings, block.is_handler))).collect();
        self.todo.push_front(Work::Leave(Block { phase: Phase::Always { failed }, ..block }));
        for work in inner.into_iter().rev() {
            self.todo.push_front(work);
        }
    }

    /// After a failure: goes to the nearest `rescue` or `always`.
    pub(super) fn unwind(&mut self) -> Result<(), Halt> {
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
    pub(super) fn is_rescued(&self) -> bool {
        self.is_rescued_outside || self.todo.iter().any(|work| match work {
            Work::Leave(block) => {
                block.phase == Phase::Body && matches!(&block.task.body, Body::Block { rescue, .. } if !rescue.is_empty())
            }
            _ => false,
        })
    }
}

/// A block without `rescue` and `always` is nothing but its tasks.
fn has_ends(task: &Task) -> bool {
    matches!(&task.body, Body::Block { rescue, always, .. } if !rescue.is_empty() || !always.is_empty())
}

/// Whether what follows cannot be judged before this step has ended.
fn is_knot(ready: &Ready) -> bool {
    let task = &ready.bound.task;
    task.until.is_some() || task.soak.is_some() || !task.failed_when.is_empty() || matches!(ready.question, Question::Run(_))
}
