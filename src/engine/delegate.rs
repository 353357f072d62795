//! A task that is done on another host than the one that it is for: that host is worked on by a walker of its own, with the variables of the
//! first, and what it tells is told of the first.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::made_groups::with_hosts;
use super::prepare::{HostPlan, plans_for};
use super::step::Ready;
use super::walk::{Halt, Walker, Work};
use super::{Input, Shared};
use crate::diag::Span;
use crate::event::Outcome;
use crate::module::NewHost;
use crate::remote::HostFailure;

/// The name of this machine, for which no inventory is needed.
pub(super) const HERE: &str = "localhost";

/// Plans for hosts that tasks were delegated to.
pub(super) type Plans = BTreeMap<String, HostPlan>;

/// How to reach a host that a task is delegated to.
pub(super) fn plan(shared: &Shared, name: &str, place: &Span) -> Result<HostPlan, String> {
    let mut plans = shared.delegates.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(known) = plans.get(name) {
        return Ok(known.clone());
    }
    let plan = new_plan(shared, name, place)?;
    plans.insert(name.to_owned(), plan.clone());
    Ok(plan)
}

fn new_plan(shared: &Shared, name: &str, place: &Span) -> Result<HostPlan, String> {
    let new = shared.new_hosts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    let input: Input = with_hosts(&shared.input, &new, place);
    if name != HERE && !input.inventory.hosts.contains_key(name) {
        return Err(format!("the inventory has no host `{name}` to delegate to"));
    }
    let mut problems = Vec::new();
    let plan = plans_for(&input, &[name.to_owned()], &shared.run, &mut problems).remove(name);
    match (problems.into_iter().next(), plan) {
        (None, Some(plan)) => Ok(plan),
        (problem, _) => Err(problem.map_or_else(|| format!("{name} cannot be reached"), |problem| problem.message)),
    }
}

/// With a host for this machine, unless the inventory has one of that name.
pub(super) fn with_this_machine(input: &Input) -> Input {
    let settings = serde_json::Map::from_iter([("connection".to_owned(), "local".into())]);
    let here = NewHost { name: HERE.to_owned(), settings, ..NewHost::default() };
    let place = Span { source: crate::diag::SourceId::default(), bytes: 0..0 };
    with_hosts(input, &[here], &place)
}

impl Walker {
    /// Does the step at the front on another host.
    pub(super) async fn delegate(&mut self) -> Result<(), Halt> {
        let Some(Work::Delegated { mut ready, to, plan }) = self.todo.pop_front() else { return Ok(()) };
        // Facts are those of this host; the other one is not asked for any.
        let task = &ready.bound.task;
        if task.failed_when.iter().chain(&task.changed_when).chain(&task.until).any(|node| node.text().is_some_and(|text| text.contains("facts"))) {
            self.gather().await?;
        }
        // Whoever waits for another host keeps none locked.
        self.release().await;
        let mut lent = match self.lent.remove(&to) {
            Some(lent) => lent,
            None => match self.lent_number() {
                Some(number) => Box::new(self.other(&to, *plan, number)),
                None => return self.fail_ready(*ready, "too many hosts of this run delegate to others; run it on fewer of them, or in fewer parts".into()),
            },
        };
        let notices = self.handlers_for(&ready);
        ready.notify.clear();
        ready.seq = lent.seq();
        lent.play = self.play.clone();
        lent.results = self.results.clone();
        (lent.facts, lent.facts_layer) = (self.facts.clone(), self.facts_layer.clone());
        lent.series = std::mem::take(&mut self.series);
        lent.is_rescued_outside = self.is_rescued();
        lent.outcome = None;
        lent.message.clear();
        lent.todo = [Work::Ready(ready)].into();
        let epoch = lent.epoch;
        let ended = Box::pin(lent.walk()).await;
        let undone: Vec<Work> = lent.todo.drain(..).collect();
        lent.release().await;
        self.results = lent.results.clone();
        self.series = std::mem::take(&mut lent.series);
        let totals = std::mem::take(&mut lent.totals);
        let is_check = self.shared.input.options.check;
        let has_changed = totals.contains_key(&Outcome::Changed) && (is_check || lent.epoch > epoch);
        for (outcome, count) in totals {
            *self.totals.entry(outcome).or_default() += count;
        }
        if let Some(outcome) = lent.outcome {
            self.worsen(outcome);
        }
        if has_changed {
            let user = self.plan.usual_user(&self.shared.input.options);
            for at in notices {
                let shells = self.notified.entry(at).or_default();
                if !is_check {
                    if !shells.contains(&user) {
                        shells.push(user.clone());
                    }
                    self.late_notices.push((user.clone(), at));
                }
            }
        }
        self.groups.append(&mut lent.groups);
        self.obstacle = self.obstacle.or(lent.obstacle.take());
        let (was_lost, message) = (lent.outcome == Some(Outcome::Unknown), std::mem::take(&mut lent.message));
        self.lent.insert(to.clone(), lent);
        match ended {
            Ok(()) => Ok(()),
            Err(Halt::Host(failure)) if was_lost || matches!(failure, HostFailure::Interrupted) => {
                self.message = if message.is_empty() { format!("{to}: {failure}") } else { message };
                Err(if was_lost { Halt::Failed } else { Halt::Stopped })
            }
            // Nothing was begun there, so this is a failure like others.
            Err(Halt::Host(failure)) => {
                // What it has changed so far may have to be undone, over another connection.
                if let Some(lent) = self.lent.get_mut(&to) {
                    lent.shells.clear();
                    lent.link = None;
                }
                self.fail_undone(undone, format!("{to}, to which it is delegated, cannot be reached: {failure}"))
            }
            Err(Halt::Failed) if undone.iter().any(|work| matches!(work, Work::Ready(_))) => self.fail_undone(undone, format!("{to}, to which it is delegated: {message}")),
            Err(Halt::Failed) => self.unwind(),
            Err(halt) => Err(halt),
        }
    }

    fn fail_undone(&mut self, undone: Vec<Work>, message: String) -> Result<(), Halt> {
        let Some(ready) = undone.into_iter().find_map(|work| if let Work::Ready(ready) = work { Some(ready) } else { None }) else {
            self.message = message;
            self.worsen(Outcome::Failed);
            return Err(Halt::Failed);
        };
        self.fail_ready(*ready, message)
    }

    fn fail_ready(&mut self, ready: Ready, message: String) -> Result<(), Halt> {
        let (bound, name) = (ready.bound, ready.name);
        self.settle_decided(super::walk::Decided { bound, name, outcome: Outcome::Failed, message })
    }

    /// A walker for another host on behalf of this one.
    fn other(&self, name: &str, plan: HostPlan, number: u32) -> Self {
        let plan = HostPlan { view: self.plan.view.clone(), ..plan };
        let mut other = Self::new(self.shared.clone(), plan, name.to_owned());
        other.for_host = Some(self.name.clone());
        other.started = true;
        other.next_seq = number;
        other
    }

    /// From which number on a host knows what is done there for this one: parts of a run take turns.
    fn lent_number(&self) -> Option<u32> {
        let step = self.shared.input.options.part().of;
        let taken = self.shared.next_lent.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |next| next.checked_add(step)).ok()?;
        taken.checked_mul(crate::event::LENT)
    }

    /// Whether the play has changed something here, or for this host elsewhere.
    pub(super) fn has_made(&self) -> bool {
        !self.made.is_empty() || self.has_lent_made()
    }

    /// Whether the play has changed something for this host elsewhere.
    pub(super) fn has_lent_made(&self) -> bool {
        self.lent.values().any(|lent| !lent.made.is_empty())
    }

    /// Takes leave of the hosts that this one has worked on besides itself.
    pub(super) async fn give_back(&mut self) {
        for (_, mut lent) in std::mem::take(&mut self.lent) {
            // A host that does not answer any more is no reason to wait.
            let _ended = tokio::time::timeout(Duration::from_secs(10), lent.hang_up()).await;
        }
    }
}
