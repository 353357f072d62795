//! How a step ended: its outcome by the playbook's own rules, its registered result, and the event that tells of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use minijinja::Value;

use super::rollback::Reversal;
use super::step::{self, Bound, Ready};
use super::walk::{Decided, Halt, Walker, Work};
use crate::diag::Node;
use crate::event::{Event, Outcome, Pin, Place, Record, Step};
use crate::module::{Answer, Change, Report};
use crate::playbook::{Body, OnFailure, Task};
use crate::remote::FrameResult;
use crate::template::{Entry, Filled, Layer};

/// What is known of the end of a step, before the playbook has its say.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub outcome: Outcome,
    pub message: String,
    pub diff: String,
    pub status: i32,
    pub report: Report,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub shows_output: bool,
    /// It was applied on the host, whatever came of it.
    pub ran: bool,
    pub from: String,
    pub to: String,
    /// How it can be undone.
    pub record: Option<Box<Record>>,
    pub pin: Option<Box<Pin>>,
    /// Its `stderr` is already what is to be shown.
    pub has_own_words: bool,
    /// It concerns the whole host, so no `ignore_errors` and no `rescue` can forgive it.
    pub is_fatal: bool,
}

impl Ending {
    pub fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            message: String::new(),
            diff: String::new(),
            status: 0,
            report: Report::default(),
            stdout: Vec::new(),
            stderr: Vec::new(),
            shows_output: false,
            ran: false,
            from: String::new(),
            to: String::new(),
            is_fatal: false,
            record: None,
            pin: None,
            has_own_words: false,
        }
    }

    /// A failure of the host's lock or state, and not of the task.
    pub fn fatal(message: String) -> Self {
        Self { is_fatal: true, ..Self::failed(message) }
    }

    pub fn failed(message: String) -> Self {
        Self { status: 1, ..Self::new(Outcome::Failed) }.message(message)
    }

    pub fn skipped(decided: &Decided) -> Self {
        Self::new(decided.outcome).report(decided.report())
    }

    pub fn message(mut self, text: String) -> Self {
        self.message = text;
        self
    }

    pub fn report(mut self, report: Report) -> Self {
        if self.message.is_empty() {
            self.message.clone_from(&report.message);
        }
        self.report = report;
        self
    }

    pub fn change(mut self, change: &Change) -> Self {
        self.diff.clone_from(&change.diff);
        self.from.clone_from(&change.from);
        self.to.clone_from(&change.to);
        if self.diff.is_empty() && !(change.from.is_empty() && change.to.is_empty()) && self.message.is_empty() {
            self.message = format!("{} -> {}", change.from, change.to);
        }
        self.report(change.report.clone())
    }

    /// With what a question of the user's said.
    pub fn with_answer(mut self, answer: &Answer) -> Self {
        self.status = answer.status;
        self.stdout.clone_from(&answer.stdout);
        self.stderr.clone_from(&answer.remark);
        self.shows_output = true;
        self
    }
}

impl Walker {
    /// Ends the step at the front, by the rules of its task. Whether it failed so that the block must be left.
    pub(super) fn settle(&mut self, mut ready: Box<Ready>, mut ending: Ending, result: Option<&FrameResult>) -> bool {
        if let Some(result) = result
            && ending.shows_output
        {
            ending.stdout = result.stdout.bytes();
            if !ending.has_own_words {
                ending.stderr = result.stderr.bytes();
            }
        }
        let task = ready.bound.task.clone();
        let ran = !matches!(ending.outcome, Outcome::Skipped | Outcome::Pending | Outcome::Unknown | Outcome::Cancelled);
        if ran && let Err(message) = self.playbook_rules(&ready, &mut ending) {
            ending.outcome = Outcome::Failed;
            ending.message = message;
        }
        // Nobody knows whether it is well, which is not to be well.
        if task.soak.is_some() && ending.outcome == Outcome::Pending {
            ending.outcome = Outcome::Failed;
        }
        let ran = ran || task.soak.is_some() && ending.outcome == Outcome::Failed;
        if ran && let Some(soak) = task.soak
            && self.is_asked_again(&mut ready, &mut ending, soak)
        {
            ready.answer = None;
            ready.seq = self.seq();
            self.todo.push_front(Work::Ready(ready));
            self.pause = Some(task.delay);
            return false;
        }
        if ran && let Some(until) = &task.until
            && let Some(again) = self.is_to_be_repeated(&ready, &ending, until)
        {
            match again {
                Err(message) => {
                    ending.outcome = Outcome::Failed;
                    ending.message = message;
                }
                Ok(()) => {
                    ready.attempts += 1;
                    ready.answer = None;
                    ready.seq = self.seq();
                    let delay = task.delay;
                    self.todo.push_front(Work::Ready(ready));
                    self.pause = Some(delay);
                    return false;
                }
            }
        }
        let planned = self.is_check(&ready) && ending.outcome == Outcome::Changed;
        if planned {
            self.planned_changes += 1;
        }
        // What a task that only talks would have done notifies nobody in a run that acts.
        if ending.outcome == Outcome::Changed && (!planned || self.shared.input.options.check) {
            self.notify(&ready, planned);
        }
        let failed = ending.outcome == Outcome::Failed;
        let goes_on = ready.ignore_errors;
        self.end_step(&ready, ending, result);
        failed && !goes_on
    }

    /// Whether a question about health has to be asked again. What would have to be changed is not well.
    fn is_asked_again(&self, ready: &mut Ready, ending: &mut Ending, soak: Duration) -> bool {
        if ending.outcome == Outcome::Changed {
            ending.outcome = Outcome::Failed;
            if ending.message.is_empty() {
                ending.message = format!("it is {}, and should be {}", ending.from, ending.to);
            }
        }
        if ending.outcome != Outcome::Failed {
            let since = *ready.well_since.get_or_insert_with(Instant::now);
            return since.elapsed() < soak;
        }
        let was_well = ready.well_since.take().is_some();
        ready.attempts += 1;
        if ready.attempts <= ready.bound.task.retries {
            return true;
        }
        let again = if was_well { "not well any more" } else { "not well" };
        ending.message = format!("{again} after {} tries: {}", ready.attempts, ending.message);
        false
    }

    /// `failed_when` and `changed_when` have the last word.
    fn playbook_rules(&self, ready: &Ready, ending: &mut Ending) -> Result<(), String> {
        let task = &ready.bound.task;
        if task.failed_when.is_empty() && task.changed_when.is_empty() {
            return Ok(());
        }
        if self.is_check(ready) && ending.outcome == Outcome::Changed {
            // Nothing has run, so there is no result to judge by. What needs none can be said all the same.
            if self.is_never_changed(ready) {
                ending.outcome = Outcome::Ok;
            }
            return Ok(());
        }
        let scope = self.result_scope(&ready.bound, &result_value(ending, ready));
        let judge = |conditions: &[Node]| match step::all_hold(&scope, conditions) {
            Ok(Filled::Now(holds)) => Ok(holds),
            Ok(Filled::Later(later)) => Err(format!("it depends on `{}`, which is not known", later.names.into_iter().collect::<Vec<_>>().join("`, `"))),
            Err((node, trouble)) => Err(format!("{} ({})", trouble.message, self.place(&node))),
        };
        if !task.failed_when.is_empty() {
            let failed = judge(&task.failed_when)?;
            match (failed, ending.outcome) {
                (true, Outcome::Failed) | (false, Outcome::Ok | Outcome::Changed) => {}
                (true, _) => {
                    ending.outcome = Outcome::Failed;
                    ending.message = "its `failed_when` holds".into();
                }
                // The playbook says that this end is fine. What never ran has changed nothing.
                (false, _) => {
                    ending.outcome = if ending.ran { Outcome::Changed } else { Outcome::Ok };
                    ending.message.clear();
                }
            }
        }
        if !task.changed_when.is_empty() && matches!(ending.outcome, Outcome::Ok | Outcome::Changed) {
            ending.outcome = if judge(&task.changed_when)? { Outcome::Changed } else { Outcome::Ok };
        }
        Ok(())
    }

    /// Whether `changed_when` says no, whatever the result will be.
    fn is_never_changed(&self, ready: &Ready) -> bool {
        let task = &ready.bound.task;
        let unsettled = std::iter::once("result".to_owned()).chain(task.register.clone()).collect();
        matches!(step::all_hold(&self.scope(&ready.bound, unsettled), &task.changed_when), Ok(Filled::Now(false)))
    }

    /// `None` when it need not be repeated; an error when it may not be.
    fn is_to_be_repeated(&self, ready: &Ready, ending: &Ending, until: &Node) -> Option<Result<(), String>> {
        if self.is_check(ready) && ending.outcome == Outcome::Changed {
            return None;
        }
        let scope = self.result_scope(&ready.bound, &result_value(ending, ready));
        match step::holds(&scope, until) {
            Ok(Filled::Now(true)) => None,
            Ok(Filled::Now(false)) if ready.attempts < ready.bound.task.retries => Some(Ok(())),
            Ok(Filled::Now(false)) => {
                Some(Err(format!("its `until` did not hold after {} tries", ready.attempts + 1)))
            }
            Ok(Filled::Later(_)) => Some(Err("its `until` depends on something that is not known".into())),
            Err(trouble) => Some(Err(format!("{} ({})", trouble.message, self.place(until)))),
        }
    }

    fn result_scope(&self, bound: &Bound, result: &Value) -> Arc<crate::template::Scope> {
        let mut layer = Layer::default().with("result", result.clone());
        if let Some(name) = &bound.task.register {
            layer = layer.with(name, result.clone());
        }
        let mut bound = bound.clone();
        bound.bindings.insert(0, Arc::new(layer));
        self.scope(&bound, Vec::new())
    }

    /// Tells of the end of a step and remembers its result.
    pub(super) fn end_step(&mut self, ready: &Ready, mut ending: Ending, result: Option<&FrameResult>) {
        for secret in ready.act.secrets() {
            ending.message = ending.message.replace(&secret, crate::secret::MASK);
            for text in [&mut ending.stdout, &mut ending.stderr] {
                *text = String::from_utf8_lossy(text).replace(&secret, crate::secret::MASK).into_bytes();
            }
        }
        let forgiven = ending.outcome == Outcome::Failed && !ending.is_fatal && (ready.ignore_errors || self.is_rescued());
        let planned = self.is_check(ready) && ending.outcome == Outcome::Changed;
        if planned && ready.module.runs_user_text || ending.outcome == Outcome::Pending {
            // It has not run, or not as it will, so there is no result to judge anything by.
            self.remember_later(&ready.bound);
        } else {
            self.remember(&ready.bound, result_value(&ending, ready));
        }
        self.groups.extend(ending.report.groups.iter().cloned());
        if let Some(host) = ending.report.host.take() {
            self.shared.new_hosts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(*host);
        }
        for (name, value) in &ending.report.variables {
            Arc::make_mut(&mut self.results).entries.insert(name.clone(), Entry::Value(crate::template::from_json(value)));
        }
        if let Some(found) = &self.shared.input.options.found {
            found.note(super::managed::Managed::of(self, ready, &ending));
        }
        let time = result.map_or(ready.asked, |result| result.time);
        let hide = ready.no_log;
        let event = Step {
            host: self.name.clone(),
            seq: ready.seq,
            play: self.play.of(&self.shared).name.clone(),
            task: ready.name.clone(),
            module: ready.module.name.to_owned(),
            file: self.shared.input.sources.get(ready.bound.task.span.source).name.clone(),
            line: self.shared.input.sources.line(&ready.bound.task.span),
            item: if hide { None } else { shown_item(&ready.bound) },
            delegated_to: None,
            tainted: ready.tainted,
            outcome: ending.outcome,
            forgiven,
            is_handler: ready.bound.is_handler,
            is_health: ready.bound.task.soak.is_some(),
            planned,
            message: if hide && !ending.message.is_empty() { step::HIDDEN.into() } else { ending.message },
            diff: if hide { String::new() } else { ending.diff },
            status: ending.status,
            stdout: if hide { Vec::new() } else { ending.stdout },
            stderr: if hide { Vec::new() } else { ending.stderr },
            data: if hide { serde_json::Map::new() } else { ending.report.data },
            // What the playbook does not call a change leaves nothing to undo.
            record: ending.record.filter(|_| matches!(ending.outcome, Outcome::Changed | Outcome::Failed)),
            pin: ending.pin,
            undoes: None,
            time,
        };
        self.tell_step(event);
    }

    /// Counts a step that has ended, and tells of it.
    pub(super) fn tell_step(&mut self, step: Step) {
        if let Some(record) = &step.record
            && self.may_roll_back()
        {
            let place = Place { task: format!("undo: {}", step.task), ..Place::from(&step) };
            let order = self.shared.next_order.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            self.made.push(Reversal { number: step.seq.into(), place, record: (**record).clone(), is_own: true, order });
        }
        let counted = if step.forgiven { Outcome::Ok } else { step.outcome };
        *self.totals.entry(counted).or_default() += 1;
        self.worsen(counted);
        self.tell(Event::Step(Box::new(step)));
    }

    /// Whether what this play changes is undone when it fails.
    pub(super) fn may_roll_back(&self) -> bool {
        let playbooks = &self.shared.input.playbooks;
        !self.shared.input.options.check && !playbooks.is_empty() && self.play.of(&self.shared).on_failure == OnFailure::Rollback
    }

    /// Ends a task that was decided without the host.
    pub(super) fn settle_decided(&mut self, decided: Decided) -> Result<(), Halt> {
        let Decided { bound, name, outcome, message } = decided;
        let play = &self.play.of(&self.shared).defaults;
        let ignore = bound.task.defaults.ignore_errors.as_ref().or(play.ignore_errors.as_ref());
        let goes_on = ignore.is_some_and(|node| matches!(step::holds(&self.scope(&bound, Vec::new()), node), Ok(Filled::Now(true))));
        let forgiven = outcome == Outcome::Failed && (goes_on || self.is_rescued());
        let hide = bound.task.defaults.no_log.or(play.no_log).unwrap_or(false);
        let skipped = outcome == Outcome::Skipped;
        let mut fields = vec![
            ("changed", Value::from(false)),
            ("failed", Value::from(outcome == Outcome::Failed)),
            ("skipped", Value::from(skipped)),
            ("message", Value::from(message.as_str())),
        ];
        if bound.task.repeat.is_some() && bound.item.is_none() {
            fields.push(("results", Value::from(Vec::<Value>::new())));
        }
        let value = Value::from_pairs(fields);
        self.remember(&bound, value);
        let event = Step {
            host: self.name.clone(),
            play: self.play.of(&self.shared).name.clone(),
            task: name,
            module: module_name(&bound.task).to_owned(),
            file: self.shared.input.sources.get(bound.task.span.source).name.clone(),
            line: self.shared.input.sources.line(&bound.task.span),
            item: if hide { None } else { shown_item(&bound) },
            outcome,
            forgiven,
            is_handler: bound.is_handler,
            is_health: bound.task.soak.is_some(),
            message: if hide && !message.is_empty() { step::HIDDEN.into() } else { message },
            ..Step::default()
        };
        self.tell_step(event);
        if outcome == Outcome::Failed && !goes_on { self.unwind() } else { Ok(()) }
    }

    /// What a task registers can only be known in a run.
    fn remember_later(&mut self, bound: &Bound) {
        if let Some(name) = &bound.task.register {
            Arc::make_mut(&mut self.results).entries.insert(name.clone(), Entry::Later);
        }
    }

    fn remember(&mut self, bound: &Bound, value: Value) {
        let Some(name) = &bound.task.register else { return };
        match (&bound.series, &bound.item) {
            (Some(series), Some(item)) => {
                let with_item = Value::from_pairs([("item", item.clone())]);
                let value = merged(&value, &with_item);
                self.series.entry(Arc::as_ptr(series) as usize).or_default().push(value);
            }
            _ => {
                Arc::make_mut(&mut self.results).entries.insert(name.clone(), Entry::Value(value));
            }
        }
    }
}

fn merged(left: &Value, right: &Value) -> Value {
    let mut pairs = Vec::new();
    for table in [left, right] {
        let keys = table.try_iter().map(Iterator::collect::<Vec<_>>).unwrap_or_default();
        pairs.extend(keys.into_iter().map(|key| (key.to_string(), table.get_item(&key).unwrap_or_default())));
    }
    Value::from_pairs(pairs)
}

fn module_name(task: &Task) -> &'static str {
    match &task.body {
        Body::Module { module, .. } => module.name,
        Body::Block { .. } => "block",
        _ => "meta",
    }
}

pub(super) fn shown_item(bound: &Bound) -> Option<serde_json::Value> {
    match (&bound.label, &bound.item) {
        (Some(label), _) => Some(serde_json::Value::from(label.as_str())),
        (None, Some(item)) => serde_json::to_value(item).ok(),
        (None, None) => None,
    }
}

/// What a task registers: the fields that Ansible users know.
fn result_value(ending: &Ending, ready: &Ready) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\n').to_owned();
    let (stdout, stderr) = (text(&ending.stdout), text(&ending.stderr));
    let mut pairs = vec![
        ("changed".to_owned(), Value::from(ending.outcome == Outcome::Changed)),
        ("failed".to_owned(), Value::from(ending.outcome == Outcome::Failed)),
        ("skipped".to_owned(), Value::from(ending.outcome == Outcome::Skipped)),
        ("outcome".to_owned(), Value::from(ending.outcome.name())),
        ("message".to_owned(), Value::from(ending.message.as_str())),
        ("msg".to_owned(), Value::from(ending.message.as_str())),
        ("status".to_owned(), Value::from(ending.status)),
        ("rc".to_owned(), Value::from(ending.status)),
        ("attempts".to_owned(), Value::from(ready.attempts + 1)),
        ("stdout_lines".to_owned(), stdout.lines().collect::<Value>()),
        ("stderr_lines".to_owned(), stderr.lines().collect::<Value>()),
        ("stdout".to_owned(), Value::from(stdout)),
        ("stderr".to_owned(), Value::from(stderr)),
    ];
    pairs.extend(ending.report.data.iter().map(|(name, value)| (name.clone(), crate::template::from_json(value))));
    Value::from_pairs(pairs)
}
