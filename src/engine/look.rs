//! Looking at hosts without working on them: which key each shows, and how far one gets on the way to it.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, watch};

use super::Input;
use super::prepare::HostPlan;
use super::schedule::{in_order, shared, side_by_side, summed, tell, tell_start};
use crate::event::{Event, HostEnd, Outcome, RunEnd, Step, Totals, exit_code};
use crate::remote::{HostFailure, Link, Route, Shell, Stage, Stop, Target, Trail, fingerprint, host_key_line, host_key_of};

/// The key that a host shows, and what the files say of it.
#[derive(Clone, Debug)]
pub struct ShownKey {
    pub algorithm: String,
    pub fingerprint: String,
    pub standing: Standing,
    /// The line to add to a `known_hosts` file, and which.
    pub line: String,
    pub file: Option<std::path::PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    Known,
    New,
    /// Why it must not be trusted.
    Refused(String),
}

/// A server that was asked for its key.
#[derive(Clone, Debug)]
pub struct Looked {
    pub name: String,
    pub address: String,
    pub port: u16,
    pub key: Result<ShownKey, HostFailure>,
}

/// The servers on the way to these hosts, each once, the nearest first. A jump host has to be known before anything
/// behind it can be asked.
pub fn ways(input: &Input, plans: &std::collections::BTreeMap<String, HostPlan>) -> Vec<Vec<Target>> {
    let mut layers: Vec<Vec<Target>> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    let mut add = |target: &Target| {
        let mut chain = vec![target.clone()];
        while let Route::Through(before) = &chain[chain.len() - 1].route {
            chain.push((**before).clone());
        }
        for (depth, target) in chain.into_iter().rev().enumerate() {
            if layers.len() <= depth {
                layers.push(Vec::new());
            }
            if seen.insert(target.way()) {
                layers[depth].push(target);
            }
        }
    };
    input.inventory.hosts.keys().filter_map(|name| plans.get(name)).filter(|plan| plan.target.method == crate::remote::Method::Ssh).for_each(|plan| add(&plan.target));
    layers
}

/// Asks servers for their keys, many at once.
pub async fn look(input: &Input, targets: Vec<Target>) -> Vec<Looked> {
    let forks = Arc::new(tokio::sync::Semaphore::new(input.options.forks.max(1)));
    let mut running = tokio::task::JoinSet::new();
    for (place, target) in targets.into_iter().enumerate() {
        let (forks, reach) = (forks.clone(), input.reach.clone());
        running.spawn(async move {
            let _permit = forks.acquire_owned().await;
            let key = host_key_of(&target, &reach).await.and_then(|key| {
                let known = reach.known(&target.host_key.files)?;
                let (name, port) = match &target.host_key.alias {
                    Some(alias) => (alias.as_str(), None),
                    None => (target.address.as_str(), Some(target.port)),
                };
                let pinned = &target.host_key.pinned;
                let text = key.to_openssh().unwrap_or_default();
                let is_pinned = |pin: &String| pin.split_whitespace().take(2).eq(text.split_whitespace().take(2));
                let standing = if pinned.iter().any(is_pinned) {
                    Standing::Known
                } else if pinned.iter().next().is_some() {
                    Standing::Refused("the inventory pins another one".into())
                } else {
                    match known.check(name, port, &key, None) {
                        Ok(()) => Standing::Known,
                        Err(HostFailure::HostKeyUnknown { .. }) => Standing::New,
                        Err(HostFailure::HostKeyChanged { place, .. }) => Standing::Refused(format!("CHANGED: {place} has another one")),
                        Err(HostFailure::HostKeyRevoked { place, .. }) => Standing::Refused(format!("REVOKED in {place}")),
                        Err(other) => return Err(other),
                    }
                };
                Ok(ShownKey {
                    algorithm: key.algorithm().to_string(),
                    fingerprint: fingerprint(&key),
                    standing,
                    line: host_key_line(name, port, &key),
                    file: target.host_key.own_file.clone(),
                })
            });
            (place, Looked { name: target.name.clone(), address: target.address.clone(), port: target.port, key })
        });
    }
    let mut all = Vec::new();
    while let Some(joined) = running.join_next().await {
        // A bug of ours must not look like an answer.
        all.push(joined.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
    }
    all.sort_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, looked)| looked).collect()
}

/// Walks the way to each host, and tells every step on it up to the first that fails.
pub async fn why(
    input: Input,
    plans: std::collections::BTreeMap<String, HostPlan>,
    run: String,
    events: mpsc::UnboundedSender<Event>,
    stop: watch::Receiver<Stop>,
) -> u8 {
    let begun = Instant::now();
    let shared = shared(input, run, events, stop.clone());
    let hosts = in_order(&shared, &plans);
    tell_start(&shared, &hosts);
    tell(&shared, Event::Batch { hosts });
    let work = plans.into_iter().map(|(name, plan)| (name, plan, ())).collect();
    let ends = side_by_side(&shared, work, |walker, ()| async move {
        let begun = Instant::now();
        let trail = Trail::default();
        let failure = attempt(&walker.shared.input, &walker.plan, &walker.shared.handshakes, &trail).await.err();
        let mut passed = trail.steps();
        passed.sort_by_key(|(stage, _)| *stage);
        // Where it failed nothing was passed, whatever was seen there before.
        if let Some(failure) = &failure {
            passed.retain(|(stage, _)| *stage < failure.stage());
        }
        let mut totals = Totals::new();
        let mut told = |stage: Stage, outcome: Outcome, message: String| {
            *totals.entry(outcome).or_default() += 1;
            let step = Step {
                host: walker.name.clone(),
                play: "ping".into(),
                task: stage.name().into(),
                module: "ping".into(),
                file: "command line".into(),
                // Steps are shown in their order.
                line: Stage::ALL.iter().position(|one| *one == stage).unwrap_or(0) + 1,
                outcome,
                message,
                status: i32::from(outcome != Outcome::Ok),
                time: begun.elapsed(),
                ..Step::default()
            };
            walker.tell(Event::Step(Box::new(step)));
        };
        for (stage, found) in passed {
            told(stage, Outcome::Ok, found);
        }
        let (outcome, message) = match &failure {
            Some(failure) => {
                told(failure.stage(), Outcome::Unreachable, failure.to_string());
                (Outcome::Unreachable, failure.to_string())
            }
            None => (Outcome::Ok, String::new()),
        };
        let end = HostEnd { host: walker.name.clone(), outcome, message, totals, obstacle: None, undone: None, pending_handlers: Vec::new() };
        walker.tell(Event::HostEnd(Box::new(end.clone())));
        end
    })
    .await;
    let exit = exit_code(&ends, *stop.borrow() != Stop::No);
    tell(&shared, Event::RunEnd(RunEnd { totals: summed(&ends), exit, time: begun.elapsed() }));
    exit
}

async fn attempt(input: &Input, plan: &HostPlan, handshakes: &super::schedule::Handshakes, trail: &Trail) -> Result<(), HostFailure> {
    let _permit = handshakes.permit(&plan.target).await;
    let link = Link::open_heard(&plan.target, &input.reach, trail).await?;
    let shell = Shell::open(&link, None, &[]).await?;
    trail.pass(Stage::Shell, format!("sh as user {}, home {}", shell.uid, shell.home));
    if let Some(user) = plan.usual_user(&input.options) {
        let other = plan.become_as(&user, &input.options);
        let opened = Shell::open(&link, Some(&other), &[]).await?;
        trail.pass(Stage::Become, format!("{user} by {}", other.method.name()));
        opened.close().await;
    }
    shell.close().await;
    link.close().await;
    Ok(())
}
