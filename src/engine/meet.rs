//! Where the hosts of a play meet: barriers, tasks that run once for all of them, and tasks for so many at a time.
//!
//! Whoever waits here holds no lock on its host and takes no place from another one.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::step;
use super::walk::{Decided, Halt, Walker, Work, stopping};
use crate::event::Outcome;
use crate::playbook::{Body, Task};
use crate::template::Layer;

/// What the hosts of one play know of each other.
#[derive(Default)]
pub(super) struct Meeting {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    /// The last barrier that each host of the batch has come to; who has ended is not among them.
    reached: HashMap<String, usize>,
    /// Tasks that run once.
    once: HashMap<Key, Once>,
    throttles: HashMap<usize, Arc<Semaphore>>,
}

/// A task, by where it stands in memory, with the items of the loops around it.
type Key = (usize, String);

enum Once {
    Running,
    /// What it registered.
    Done(Arc<Layer>),
    /// On this host.
    Failed(String),
}

/// A host's turn at a task that runs once. Dropped before its end, the task has failed.
pub(super) struct Turn {
    meeting: Arc<Meeting>,
    key: Key,
    host: String,
    /// How many steps the host had ended before.
    steps: usize,
    /// Another host has it.
    is_given_up: AtomicBool,
    /// What the others need to know.
    names: Vec<String>,
}

/// What ends with a task.
pub(super) enum Parting {
    Throttle { _permit: OwnedSemaphorePermit },
    Once(Turn),
}

/// Whether hosts meet before this task.
pub(super) fn is_meeting(task: &Task) -> bool {
    task.barrier.is_some() || task.run_once || task.throttle.is_some()
}

impl Meeting {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.send_replace(());
    }

    /// These tasks are for the next batch again.
    pub fn forget(&self, tasks: &[Arc<Task>]) {
        self.change(|state| state.once.retain(|(place, _), _| tasks.iter().all(|task| Arc::as_ptr(task) as usize != *place)));
    }

    /// These hosts work side by side from now on.
    pub fn begin(&self, hosts: &[String]) {
        self.change(|state| state.reached = hosts.iter().map(|host| (host.clone(), 0)).collect());
    }

    /// Nobody need wait for this host any more.
    pub fn leave(&self, host: &str) {
        self.change(|state| {
            state.reached.remove(host);
        });
    }

    /// Waits until something is so.
    async fn until<T>(&self, mut look: impl FnMut(&mut State) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if let Some(found) = look(&mut self.state()) {
                return found;
            }
            if changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until no host of the batch is before this barrier.
    async fn all_at(&self, barrier: usize) {
        self.until(|state| state.reached.values().all(|reached| *reached >= barrier).then_some(())).await;
    }

    /// Takes a task that runs once, or waits for what became of it.
    async fn turn(self: Arc<Self>, key: Key, host: String, steps: usize, names: Vec<String>) -> Result<Turn, Result<Arc<Layer>, String>> {
        let found = self
            .until(|state| match state.once.get(&key) {
                None => {
                    state.once.insert(key.clone(), Once::Running);
                    Some(None)
                }
                Some(Once::Running) => None,
                Some(Once::Done(results)) => Some(Some(Ok(results.clone()))),
                Some(Once::Failed(host)) => Some(Some(Err(host.clone()))),
            })
            .await;
        match found {
            None => Ok(Turn { meeting: self, key, host, steps, is_given_up: AtomicBool::new(false), names }),
            Some(known) => Err(known),
        }
    }
}

impl Turn {
    /// Nothing was begun; another host may do it.
    pub fn give_up(&self) {
        self.is_given_up.store(true, Ordering::SeqCst);
        self.meeting.change(|state| drop(state.once.remove(&self.key)));
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.is_given_up.load(Ordering::SeqCst) {
            return;
        }
        let host = self.host.clone();
        self.meeting.change(|state| {
            if let Some(once @ Once::Running) = state.once.get_mut(&self.key) {
                *once = Once::Failed(host);
            }
        });
    }
}

impl Walker {
    /// Meets the others before the task at the front.
    pub(super) async fn meet(&mut self) -> Result<(), Halt> {
        let Some(Work::Task(bound)) = self.todo.front() else { return Ok(()) };
        let (task, bound) = (bound.task.clone(), bound.clone());
        let place = Arc::as_ptr(&task) as usize;
        let items: Vec<String> = bound.bindings.iter().flat_map(|layer| layer.entries.values()).map(|entry| format!("{entry:?}")).collect();
        let key = (place, items.join("\u{1f}"));
        let meeting = self.play.meeting.clone();
        if let Some(barrier) = task.barrier {
            let name = self.name.clone();
            meeting.change(|state| {
                if let Some(reached) = state.reached.get_mut(&name) {
                    *reached = barrier.max(*reached);
                }
            });
            let all = meeting.clone();
            self.wait_for(async move { all.all_at(barrier).await }).await?;
        }
        let mut partings = Vec::new();
        if task.run_once {
            let mut names = Vec::new();
            names_of(&task, &mut names);
            match self.wait_for(meeting.clone().turn(key, self.name.clone(), self.totals.values().sum(), names)).await? {
                Ok(turn) => partings.push(Parting::Once(turn)),
                Err(Ok(results)) => {
                    self.todo.pop_front();
                    Arc::make_mut(&mut self.results).entries.extend(results.entries.clone());
                    return Ok(());
                }
                Err(Err(host)) => {
                    self.todo.pop_front();
                    let name = step::shown_name(&self.scope(&bound, Vec::new()), &task);
                    let message = format!("it runs once for all hosts, and has failed on {host}");
                    return self.settle_decided(Decided { bound, name, outcome: Outcome::Failed, message });
                }
            }
        }
        if let Some(limit) = task.throttle {
            let semaphore = {
                let mut state = meeting.state();
                state.throttles.entry(place).or_insert_with(|| Arc::new(Semaphore::new(limit as usize))).clone()
            };
            let permit = self.wait_for(semaphore.acquire_owned()).await?;
            partings.extend(permit.ok().map(|permit| Parting::Throttle { _permit: permit }));
        }
        if let Some(Work::Task(bound)) = self.todo.front_mut() {
            bound.has_met = true;
        }
        for parting in partings {
            self.todo.insert(1, Work::Parting(parting));
        }
        Ok(())
    }

    /// The task is done: others may have their turn, or know its results.
    pub(super) fn part(&self, parting: Parting) {
        let Parting::Once(turn) = parting else { return };
        let known = |name: &String| Some((name.clone(), self.results.entries.get(name)?.clone()));
        let results = Layer { entries: turn.names.iter().filter_map(known).collect() };
        turn.meeting.change(|state| drop(state.once.insert(turn.key.clone(), Once::Done(Arc::new(results)))));
    }

    /// The host has gone before anything was begun, so tasks that run once are for another one.
    pub(super) fn give_turns_up(&self) {
        for work in &self.todo {
            if let Work::Parting(Parting::Once(turn)) = work
                && turn.steps == self.totals.values().sum::<usize>()
            {
                turn.give_up();
            }
        }
    }

    /// The play ends here, and with it the tasks that run once.
    pub(super) fn end_turns(&mut self) {
        for work in std::mem::take(&mut self.todo) {
            if let Work::Parting(parting) = work {
                self.part(parting);
            }
        }
    }

    /// Waits for others, and lets the host know meanwhile that somebody is still there.
    async fn wait_for<T>(&mut self, event: impl Future<Output = T>) -> Result<T, Halt> {
        let mut event = pin!(event);
        if let Ok(found) = tokio::time::timeout(Duration::ZERO, &mut event).await {
            return Ok(found);
        }
        self.release().await;
        self.slot = None;
        let mut beat = tokio::time::interval(Duration::from_secs(15));
        let found = loop {
            tokio::select! {
                found = &mut event => break found,
                () = stopping(self.stop.clone()) => return Err(Halt::Stopped),
                _ = beat.tick() => {
                    for shell in self.shells.values_mut() {
                        shell.beat().await;
                    }
                }
            }
        };
        if let Some(slots) = self.slots.clone() {
            tokio::select! {
                slot = slots.acquire_owned() => self.slot = slot.ok(),
                () = stopping(self.stop.clone()) => return Err(Halt::Stopped),
            }
        }
        Ok(found)
    }
}

fn names_of(task: &Task, names: &mut Vec<String>) {
    names.extend(step::names_made_by(task));
    if let Body::Block { tasks, rescue, always } = &task.body {
        tasks.iter().chain(rescue).chain(always).for_each(|task| names_of(task, names));
    }
}
