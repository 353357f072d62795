//! Which hosts work at the same time: play by play, batch by batch, so many at once, and when to stop.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::prepare::{HostPlan, PlayHosts, Prepared};
use super::rollback::take_back;
use super::walk::{PlayAt, Walker};
use super::{Input, Shared, load, made_groups};
use crate::event::{Event, HostEnd, Outcome, RunEnd, RunStart, Totals, exit_code};
use crate::playbook::{Limit, OnFailure, Play};
use crate::remote::{Stop, Target};

/// Unfinished handshakes with one server at once; sshd starts to drop them at 10.
const HANDSHAKES: usize = 8;

/// Output that waits to be shown; more than that waits on its hosts.
const ROOM_BYTES: usize = 8 << 20;

/// A check has found something to change, and was asked to say so.
const CHANGES_PENDING: u8 = 2;

/// Limits the handshakes under way with each server.
#[derive(Default)]
pub(crate) struct Handshakes {
    servers: Mutex<HashMap<(String, u16), Arc<Semaphore>>>,
}

impl Handshakes {
    pub async fn permit(&self, target: &Target) -> Option<OwnedSemaphorePermit> {
        let semaphore = {
            let mut servers = self.servers.lock().expect("nothing panics while it holds this lock");
            servers.entry((target.address.clone(), target.port)).or_insert_with(|| Arc::new(Semaphore::new(HANDSHAKES))).clone()
        };
        semaphore.acquire_owned().await.ok()
    }
}

/// Runs what has been prepared. Everything that happens goes to `events`; the end of every host comes back.
pub async fn execute(
    input: Input,
    prepared: Prepared,
    run: String,
    events: mpsc::UnboundedSender<Event>,
    stop: watch::Receiver<Stop>,
) -> (Vec<HostEnd>, u8) {
    let begun = Instant::now();
    let shared = shared(input, run, events, stop.clone());
    let options = &shared.input.options;
    let order = in_order(&shared, &prepared.hosts);
    tell_start(&shared, &order);
    let mut fleet = Fleet { shared: shared.clone(), order, walkers: BTreeMap::new(), ended: BTreeMap::new(), never_started: Vec::new(), wanted_later: HashSet::new(), may_all_be_wanted: false };
    for (name, plan) in prepared.hosts {
        fleet.walkers.insert(name.clone(), Walker::new(shared.clone(), plan, name));
    }
    let mut halted = false;
    for (number, at) in prepared.plays.iter().enumerate() {
        let later = &prepared.plays[number + 1..];
        fleet.wanted_later = later.iter().flat_map(|play| play.hosts.iter().cloned()).collect();
        fleet.may_all_be_wanted = later.iter().any(|play| !play.made_groups.is_empty());
        if halted || *stop.borrow() != Stop::No {
            fleet.leave_out(&at.hosts);
            continue;
        }
        halted = !fleet.play(at).await;
        fleet.end_finished().await;
    }
    fleet.end_all().await;
    let interrupted = *stop.borrow() != Stop::No;
    let order = std::mem::take(&mut fleet.order);
    let ends: Vec<HostEnd> = order.iter().filter_map(|name| fleet.ended.remove(name)).collect();
    let totals = summed(&ends);
    let exit = match exit_code(&ends, interrupted) {
        0 if options.check && options.detailed_exit && totals.contains_key(&Outcome::Changed) => CHANGES_PENDING,
        exit => exit,
    };
    tell(&shared, Event::RunEnd(RunEnd { totals, exit, time: begun.elapsed() }));
    (ends, exit)
}

/// Works on hosts side by side, each with something of its own to do, as many at once as the options say. Gives what comes
/// back from each, in the order in which they end.
pub(super) async fn side_by_side<S, T: Send + 'static, W: Future<Output = T> + Send + 'static>(
    shared: &Arc<Shared>,
    hosts: Vec<(String, HostPlan, S)>,
    work: impl Fn(Walker, S) -> W,
) -> Vec<T> {
    let forks = Arc::new(Semaphore::new(shared.input.options.forks.max(1)));
    let mut running = JoinSet::new();
    for (name, plan, own) in hosts {
        let (working, forks) = (work(Walker::new(shared.clone(), plan, name), own), forks.clone());
        running.spawn(async move {
            let _permit = forks.acquire_owned().await;
            working.await
        });
    }
    join_all(running).await
}

/// What comes back from each, in the order in which they end.
async fn join_all<T: 'static>(mut running: JoinSet<T>) -> Vec<T> {
    let mut all = Vec::new();
    while let Some(joined) = running.join_next().await {
        all.push(heard(joined));
    }
    all
}

/// What a task gave. A bug of ours must not look like success.
fn heard<T>(joined: Result<T, tokio::task::JoinError>) -> T {
    joined.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// What all hosts of a run share.
pub(super) fn shared(input: Input, run: String, events: mpsc::UnboundedSender<Event>, stop: watch::Receiver<Stop>) -> Arc<Shared> {
    let named_facts = input.playbooks.iter().map(|playbook| playbook.plays.iter().map(|play| super::prepare::facts_in(&input, play)).collect()).collect();
    // Each part has numbers of its own.
    let next_lent = input.options.part().number.into();
    let files = load::Files::new(input.contents.clone());
    Arc::new(Shared { input, run, events, stop, files, handshakes: Handshakes::default(), room: Arc::new(Semaphore::new(ROOM_BYTES)), named_facts, new_hosts: Mutex::default(), delegates: Mutex::default(), next_lent, next_order: 1.into() })
}

/// The totals of all hosts.
pub(super) fn summed(ends: &[HostEnd]) -> Totals {
    let mut totals = Totals::new();
    for (outcome, count) in ends.iter().flat_map(|end| &end.totals) {
        *totals.entry(*outcome).or_default() += count;
    }
    totals
}

/// The names of these hosts in the order of the inventory.
pub(super) fn in_order(shared: &Shared, plans: &BTreeMap<String, HostPlan>) -> Vec<String> {
    shared.input.inventory.hosts.keys().filter(|name| plans.contains_key(*name)).cloned().collect()
}

/// A run begins on these hosts.
pub(super) fn tell_start(shared: &Shared, hosts: &[String]) {
    let options = &shared.input.options;
    tell(shared, Event::RunStart(RunStart { run: shared.run.clone(), command: options.command.clone(), hosts: hosts.to_vec(), check: options.check }));
}

pub(super) fn tell(shared: &Shared, event: Event) {
    // Nobody listens any more only when the program is ending.
    let _heard = shared.events.send(event);
}

struct Fleet {
    shared: Arc<Shared>,
    /// All hosts, those that came to be known during the run last.
    order: Vec<String>,
    walkers: BTreeMap<String, Walker>,
    ended: BTreeMap<String, HostEnd>,
    never_started: Vec<String>,
    /// Hosts that a later play works on, and that stay connected until then.
    wanted_later: HashSet<String>,
    /// Whom a later play means is known only when it begins.
    may_all_be_wanted: bool,
}

/// A host that has come to the end of a play.
enum Played {
    GoesOn(Box<Walker>),
    /// Nothing more is to be done there.
    Ended { end: HostEnd, has_failed: bool },
}

impl Fleet {
    /// Runs one play on its hosts. `false` when so many have failed that nothing more may begin.
    async fn play(&mut self, at: &PlayHosts) -> bool {
        let play_at = Arc::new(PlayAt { playbook: at.playbook, play: at.play, meeting: Arc::default() });
        let shared = self.shared.clone();
        let play = play_at.of(&shared);
        let meant = self.meant(at, play);
        // Those that a task has made known and that the play cannot work on have failed before it begins.
        let unfit = meant.iter().filter(|name| self.walkers.get(*name).is_some_and(|walker| !walker.started && walker.has_failed())).count();
        let hosts: Vec<String> = meant.into_iter().filter(|name| self.walkers.get(name).is_some_and(Walker::goes_on)).collect();
        let mut rest = hosts.as_slice();
        let (mut failed, mut unhealthy) = (unfit, 0);
        let mut batch_number = 0;
        while !rest.is_empty() {
            let size = batch_size(play, batch_number, hosts.len()).min(rest.len());
            let (batch, later) = rest.split_at(size);
            failed += self.batch(&play_at, batch, hosts.len()).await;
            if !play.health.is_empty() && !play.is_too_many(failed, unhealthy, hosts.len() + unfit) {
                let found = self.gate(&play_at, batch).await;
                (failed, unhealthy) = (failed + found, unhealthy + found);
            }
            rest = later;
            batch_number += 1;
            let too_many = play.is_too_many(failed, unhealthy, hosts.len() + unfit);
            let all = failed > 0 && failed >= hosts.len() + unfit - rest.len() && !play.serial.is_empty() && play.on_failure != OnFailure::Continue;
            if too_many || all && !rest.is_empty() {
                self.leave_out(rest);
                let touched = &hosts[..hosts.len() - rest.len()];
                self.take_back(touched).await;
                return false;
            }
            self.let_go(batch).await;
            if *self.shared.stop.borrow() != Stop::No {
                self.leave_out(rest);
                return false;
            }
        }
        true
    }

    /// The hosts that a play is for, now that it begins.
    fn meant(&mut self, at: &PlayHosts, play: &Play) -> Vec<String> {
        if at.made_groups.is_empty() {
            return at.hosts.clone();
        }
        let new_hosts = self.shared.new_hosts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut groups = BTreeMap::new();
        for group in &at.made_groups {
            let members: Vec<String> = self.walkers.values().filter(|walker| walker.groups.contains(group)).map(|walker| walker.name.clone()).collect();
            groups.insert(group.clone(), members);
        }
        let input = made_groups::with_hosts(&self.shared.input, &new_hosts, &play.hosts.span);
        let meant = made_groups::hosts_now(&input, play, &groups);
        let limit = super::prepare::limited(&self.shared.input, &mut Vec::new());
        let is_new = |name: &String| !self.shared.input.inventory.hosts.contains_key(name);
        let part = self.shared.input.options.part();
        let meant: Vec<String> = meant.into_iter().filter(|name| part.owns(name) && (is_new(name) || limit.as_ref().is_none_or(|limit| limit.contains(name)))).collect();
        self.welcome(&input, play, &meant);
        meant
    }

    /// Makes the way to hosts that the run has not met so far.
    fn welcome(&mut self, input: &Input, play: &Play, names: &[String]) {
        let new: Vec<String> = names.iter().filter(|name| !self.walkers.contains_key(*name) && !self.ended.contains_key(*name)).cloned().collect();
        for (name, plan, trouble) in super::prepare::late_plans(input, play, &new, &self.shared.run) {
            let mut walker = Walker::new(self.shared.clone(), plan, name.clone());
            if let Some(trouble) = trouble {
                walker.unfit(trouble);
            }
            self.order.push(name.clone());
            self.walkers.insert(name, walker);
        }
    }

    /// Undoes what the play that has just failed has changed on these hosts, where it wants that.
    async fn take_back(&mut self, hosts: &[String]) {
        if *self.shared.stop.borrow() != Stop::No {
            return;
        }
        let (touched, left): (Vec<Walker>, Vec<Walker>) = hosts.iter().filter_map(|name| self.walkers.remove(name)).partition(Walker::has_made);
        self.walkers.extend(left.into_iter().map(|walker| (walker.name.clone(), walker)));
        if touched.is_empty() {
            return;
        }
        tell(&self.shared, Event::Batch { hosts: touched.iter().map(|walker| walker.name.clone()).collect() });
        // Changes of several hosts on another one are undone in the order in which all of them were made.
        if touched.iter().any(Walker::has_lent_made) {
            for walker in take_back(touched).await {
                self.walkers.insert(walker.name.clone(), walker);
            }
            return;
        }
        let forks = Arc::new(Semaphore::new(self.shared.input.options.forks.max(1)));
        let mut running = JoinSet::new();
        for walker in touched {
            let forks = forks.clone();
            running.spawn(async move {
                let _permit = forks.acquire_owned().await;
                take_back(vec![walker]).await
            });
        }
        for walker in join_all(running).await.into_iter().flatten() {
            self.walkers.insert(walker.name.clone(), walker);
        }
    }

    /// Runs hosts at the same time, and gives back how many of them have failed.
    async fn batch(&mut self, play: &Arc<PlayAt>, hosts: &[String], of_hosts: usize) -> usize {
        let forks = Arc::new(Semaphore::new(self.shared.input.options.forks.max(1)));
        let failures = Arc::new(AtomicUsize::new(0));
        let mut running = JoinSet::new();
        tell(&self.shared, Event::Batch { hosts: hosts.to_vec() });
        play.meeting.begin(hosts);
        for name in hosts {
            let Some(mut walker) = self.walkers.remove(name) else { continue };
            let (forks, play, failures) = (forks.clone(), play.clone(), failures.clone());
            let stop = self.shared.stop.clone();
            let shared = self.shared.clone();
            let is_wanted_later = self.may_all_be_wanted || self.wanted_later.contains(name);
            running.spawn(async move {
                walker.slot = forks.clone().acquire_owned().await.ok();
                walker.slots = Some(forks);
                if shared.input.options.stops_amid && play.of(&shared).is_too_many(failures.load(Ordering::SeqCst), 0, of_hosts) {
                    walker.left_out();
                } else if *stop.borrow() == Stop::No {
                    walker.run_play(play.clone()).await;
                    failures.fetch_add(usize::from(walker.has_failed()), Ordering::SeqCst);
                } else {
                    walker.interrupted("not started: the run was interrupted");
                }
                play.meeting.leave(&walker.name);
                walker.slots = None;
                let slot = walker.slot.take();
                // What it has changed may have to be undone before it ends. Otherwise it makes room for others.
                let is_wanted = is_wanted_later || walker.has_gate();
                let played = if walker.goes_on() && is_wanted || walker.may_roll_back() {
                    Played::GoesOn(Box::new(walker))
                } else {
                    Played::Ended { has_failed: walker.has_failed(), end: walker.end().await }
                };
                drop(slot);
                played
            });
        }
        let mut failed = 0;
        while let Some(joined) = running.join_next().await {
            match heard(joined) {
                Played::GoesOn(walker) => {
                    failed += usize::from(walker.has_failed());
                    self.walkers.insert(walker.name.clone(), *walker);
                }
                Played::Ended { end, has_failed } => {
                    failed += usize::from(has_failed);
                    self.ended.insert(end.host.clone(), end);
                }
            }
        }
        failed
    }

    /// Asks those hosts of a batch that have not failed whether they are healthy, and gives how many are not.
    async fn gate(&mut self, play: &Arc<PlayAt>, hosts: &[String]) -> usize {
        if *self.shared.stop.borrow() != Stop::No || self.shared.input.options.check {
            return 0;
        }
        // What runs once runs once for each batch.
        play.meeting.forget(&play.of(&self.shared).health);
        let forks = Arc::new(Semaphore::new(self.shared.input.options.forks.max(1)));
        let mut running = JoinSet::new();
        let well = |walker: &Walker| walker.goes_on() && !walker.has_failed();
        for name in hosts {
            if !self.walkers.get(name).is_some_and(well) {
                continue;
            }
            let Some(mut walker) = self.walkers.remove(name) else { continue };
            let forks = forks.clone();
            running.spawn(async move {
                let _permit = forks.acquire_owned().await;
                walker.run_health().await;
                walker
            });
        }
        let mut unhealthy = 0;
        for walker in join_all(running).await {
            unhealthy += usize::from(walker.has_failed());
            self.walkers.insert(walker.name.clone(), walker);
        }
        unhealthy
    }

    /// Takes leave of hosts that were only kept for the gate behind their batch.
    async fn let_go(&mut self, hosts: &[String]) {
        let is_kept = |walker: &Walker| self.may_all_be_wanted || self.wanted_later.contains(&walker.name) || walker.may_roll_back();
        let done: Vec<String> = hosts.iter().filter(|name| self.walkers.get(*name).is_some_and(|walker| !is_kept(walker))).cloned().collect();
        let done = done.into_iter().filter_map(|name| self.walkers.remove_entry(&name)).collect();
        self.end_these(done).await;
    }

    fn leave_out(&mut self, hosts: &[String]) {
        self.never_started.extend(hosts.iter().cloned());
    }

    /// Takes leave of hosts that were only kept so that their changes could be undone.
    async fn end_finished(&mut self) {
        let (going_on, finished) = std::mem::take(&mut self.walkers).into_iter().partition(|(_, walker)| walker.goes_on());
        self.walkers = going_on;
        self.end_these(finished).await;
    }

    async fn end_these(&mut self, walkers: BTreeMap<String, Walker>) {
        let ending: JoinSet<HostEnd> = walkers.into_values().map(Walker::end).collect();
        for end in join_all(ending).await {
            self.ended.insert(end.host.clone(), end);
        }
    }

    async fn end_all(&mut self) {
        let interrupted = *self.shared.stop.borrow() != Stop::No;
        let left_out = std::mem::take(&mut self.never_started);
        for walker in self.walkers.values_mut() {
            if left_out.contains(&walker.name) && interrupted {
                walker.interrupted("the run was interrupted before all plays had begun here");
            } else if left_out.contains(&walker.name) && walker.outcome.is_none() {
                walker.left_out();
            }
        }
        let all = std::mem::take(&mut self.walkers);
        self.end_these(all).await;
    }
}

/// Size of a batch: the last size of `serial` goes on for all later batches.
fn batch_size(play: &Play, number: usize, hosts: usize) -> usize {
    match play.serial.get(number).or(play.serial.last()) {
        Some(Limit::Count(0) | Limit::Percent(0)) | None => hosts.max(1),
        Some(limit) => limit.of(hosts).max(1),
    }
}
