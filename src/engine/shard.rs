//! One part of a run that several processes share: what parts cannot keep for each other is refused before any host is
//! touched.
//!
//! Each part works on hosts of its own and knows nothing of how far the others are. So whatever makes a host wait for
//! others, or depend on how they ended, would hold for the hosts of one part alone.

use std::sync::Arc;

use super::prepare::{Prepared, is_chosen};
use super::{Input, Options};
use crate::diag::{Diagnostic, Key};
use crate::inventory::Shard;
use crate::playbook::{Body, Limit, OnFailure, Play, Task};

impl Options {
    /// The part that this process works on.
    pub fn part(&self) -> Shard {
        self.shard.unwrap_or(Shard::WHOLE)
    }
}

/// Keeps only what is for the hosts of this part. What it cannot do as a whole run would goes to `problems`.
pub(super) fn divide(input: &Input, prepared: &mut Prepared, problems: &mut Vec<Diagnostic>) {
    let Some(shard) = input.options.shard else { return };
    if shard.of > 1 {
        let mut refusal = Refusal { options: &input.options, shard, problems };
        let plays: Vec<&Play> = input.playbooks.iter().flat_map(|playbook| &playbook.plays).collect();
        for (at, play) in plays.iter().enumerate() {
            refusal.play(play, at > 0);
        }
    }
    prepared.hosts.retain(|host, _| shard.owns(host));
    for play in &mut prepared.plays {
        play.hosts.retain(|host| shard.owns(host));
    }
}

struct Refusal<'a> {
    options: &'a Options,
    shard: Shard,
    problems: &'a mut Vec<Diagnostic>,
}

impl Refusal<'_> {
    fn play(&mut self, play: &Play, is_later: bool) {
        let key = |name: &str| play.of_all.iter().find(|key| key.name == name);
        // A check changes nothing, so nobody minds in which order hosts are looked at.
        if !self.options.check {
            if is_later && !self.options.plays_overlap {
                let message = format!("this play begins when the one before it has ended on all hosts, and shard {} knows only of its own", self.shard);
                let help = "run the plays one after the other, each as a job of its own (docs/scale.md), or say with `--plays-overlap` that a host need not wait for others";
                self.problems.push(Diagnostic::error("shard", &play.hosts.span, message).help(help));
            }
            if let Some(key) = key("serial").filter(|_| !is_one_batch(&play.serial)) {
                self.refuse(
                    key,
                    "batches are made of all hosts, one after the other",
                    "leave `serial` out or write `serial = \"100%\"`: the number of shards that the scheduler runs at a time says how many are worked on",
                );
            }
            if let Some(key) = key("on_failure").filter(|_| play.on_failure == OnFailure::Rollback) {
                self.refuse(
                    key,
                    "a failure undoes the play on all hosts",
                    "write `on_failure = \"stop\"`, and undo the whole run with `mutate rollback RUN` when a shard has failed",
                );
            }
            if let Some(key) = key("max_fail").filter(|_| matches!(play.max_fail, Some(Limit::Count(1..)))) {
                self.refuse(key, "a number of failures counts for all hosts", "write a share such as `max_fail = \"10%\"`, which counts for the hosts of each shard, or `0`");
            }
        }
        for task in play.tasks.iter().chain(&play.handlers).chain(&play.health) {
            self.task(task);
        }
    }

    fn task(&mut self, task: &Arc<Task>) {
        let inner: Vec<&Arc<Task>> = match &task.body {
            Body::Block { tasks, rescue, always } => tasks.iter().chain(rescue).chain(always).collect(),
            _ => Vec::new(),
        };
        if inner.is_empty() && !is_chosen(self.options, task) {
            return;
        }
        let key = |name: &str| task.of_all.iter().find(|key| key.name == name);
        if let Some(key) = key("run_once").filter(|_| task.run_once) {
            self.refuse(key, "one host does it for all others, which wait for it", "do it before, in a run of its own without `--shard`");
        }
        if let Some(key) = key("throttle").filter(|_| task.throttle.is_some() && !self.options.check) {
            self.refuse(key, "so many of all hosts do it at a time", "put it into a run of its own without `--shard`");
        }
        if let Some(key) = key("barrier").filter(|_| task.barrier.is_some() && !self.options.check) {
            self.refuse(key, "all hosts wait for each other here", "put what follows into a playbook of its own, and run it when all shards of the first have ended");
        }
        if let Body::Module { module, arguments } = &task.body
            && module.name == "add_host"
        {
            let message = format!("`add_host` cannot be used in shard {}: the shard that the new host belongs to would not hear of it", self.shard);
            self.problems.push(Diagnostic::error("shard", &arguments.span, message).help("put the host into the inventory"));
        }
        for task in inner {
            self.task(task);
        }
    }

    fn refuse(&mut self, key: &Key, why: &str, help: &str) {
        let message = format!("`{}` cannot be kept by shard {}: {why}, and a shard knows only of its own", key.name, self.shard);
        self.problems.push(Diagnostic::error("shard", &key.span, message).help(help));
    }
}

fn is_one_batch(serial: &[Limit]) -> bool {
    serial.first().is_none_or(|first| matches!(first, Limit::Percent(100..)))
}
