//! Saved plans: `plan -o FILE`, and `show FILE` and `apply FILE` of what that wrote.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, bail};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::input::{What, input};
use super::options::{Common, Showing};
use super::reports::Reporting;
use super::runner::{self, Listener, Note};
use super::split::Split;
use super::{NO_HOST, complain};
use crate::engine::{self, PlannedStep};
use crate::event::{Event, HostEnd, Outcome, RunEnd, RunStart, Step, Totals};

/// How a saved plan begins, so that nobody takes it for a playbook.
const MARK: &str = "{\"mutate_plan\":1,";

/// A plan on disk.
#[derive(Serialize, Deserialize)]
pub struct Plan {
    mutate_plan: u8,
    pub created: String,
    pub who: String,
    /// The files that it was made from, with their SHA-256.
    pub files: Vec<(String, String)>,
    /// SHA-256 of the hosts below, as JSON.
    sum: String,
    pub hosts: IndexMap<String, Vec<PlannedStep>>,
    /// What could not be planned exactly: host, task, and why.
    pub left_out: Vec<(String, String, String)>,
}

/// What a check tells, gathered for a plan.
#[derive(Default)]
pub struct Gathered {
    hosts: IndexMap<String, Vec<PlannedStep>>,
    left_out: Vec<(String, String, String)>,
}

impl Gathered {
    /// Somebody who gathers, and where it is gathered.
    pub fn listener() -> (Arc<Mutex<Self>>, Listener) {
        let gathered: Arc<Mutex<Self>> = Arc::default();
        let here = gathered.clone();
        let listener = move |event: &Event| {
            let mut gathered = here.lock().expect("nothing panics while it holds this lock");
            match event {
                Event::RunStart(start) => gathered.hosts = start.hosts.iter().map(|host| (host.clone(), Vec::new())).collect(),
                Event::Step(step) => gathered.take(step),
                Event::HostEnd(end) if !matches!(end.outcome, Outcome::Ok | Outcome::Changed | Outcome::Pending | Outcome::Skipped) => {
                    gathered.hosts.shift_remove(&end.host);
                    gathered.left_out.push((end.host.clone(), "everything".into(), format!("the check was {} there", end.outcome.name())));
                }
                _ => {}
            }
        };
        (gathered, Box::new(listener))
    }

    fn take(&mut self, step: &Step) {
        let mut leave_out = |why: &str| self.left_out.push((step.host.clone(), step.task.clone(), why.to_owned()));
        if step.delegated_to.is_some() && step.outcome == Outcome::Changed {
            return leave_out("it is delegated to another host, which a plan does not keep");
        }
        let pin = match (&step.pin, step.outcome) {
            (Some(pin), Outcome::Changed) if pin.deed.is_none() => return leave_out("it holds a secret, which a plan does not keep"),
            (Some(pin), _) => (**pin).clone(),
            (None, Outcome::Changed) => return leave_out("it says `no_log`, and a plan would hold what it hides"),
            (None, Outcome::Pending) => return leave_out("it cannot be judged before the changes ahead of it are made"),
            (None, _) => return,
        };
        let steps = self.hosts.entry(step.host.clone()).or_default();
        let subject = pin.record.subject();
        if pin.deed.is_some() && !pin.record.probe.0.is_empty() && steps.iter().any(|one| one.pin.deed.is_some() && one.pin.record.subject() == subject) {
            return leave_out("an earlier step of the plan changes the same thing");
        }
        steps.push(PlannedStep {
            place: step.into(),
            handler: step.is_handler,
            message: step.message.clone(),
            diff: step.diff.clone(),
            pin,
        });
    }

    /// Writes the plan, readable for its owner alone.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub fn save(self, path: &Path, who: &str, files: Vec<(String, String)>) -> Result<()> {
        let sum = runner::hex(serde_json::to_string(&self.hosts)?.as_bytes());
        let plan = Plan { mutate_plan: 1, created: jiff::Timestamp::now().to_string(), who: who.to_owned(), files, sum, hosts: self.hosts, left_out: self.left_out };
        let text = serde_json::to_string(&plan)?;
        let shown = path.display();
        let beside = PathBuf::from(format!("{shown}.{}.part", std::process::id()));
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| std::fs::rename(&beside, path))
            .with_context(|| format!("writing the plan {shown}"))?;
        for (host, task, why) in &plan.left_out {
            complain(&format!("warning: not in the plan: {task} on {host}: {why}"));
        }
        Ok(())
    }
}

impl Plan {
    /// Whether a file is a saved plan and no playbook.
    pub fn is_one(path: &Path) -> bool {
        // To open anything but a plain file could wait for ever.
        let mut start = [0; MARK.len()];
        path.is_file() && std::fs::File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut start)).is_ok_and(|()| start == MARK.as_bytes())
    }

    /// Reads a saved plan.
    ///
    /// # Errors
    /// Why it cannot be used: damaged, or not what was saved.
    pub fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("reading the plan {shown}"))?;
        let plan: Self = serde_json::from_str(&text).with_context(|| format!("the plan {shown} is damaged, or of another version of mutate; make it anew"))?;
        if runner::hex(serde_json::to_string(&plan.hosts)?.as_bytes()) != plan.sum {
            bail!("the plan {shown} is not what was saved: somebody has changed it; make it anew");
        }
        Ok(plan)
    }

    /// The plan as events, as when it was made.
    pub fn events(&self) -> Vec<Event> {
        let names: Vec<String> = self.hosts.keys().cloned().collect();
        let start = RunStart { run: String::new(), command: "plan".into(), hosts: names.clone(), check: true };
        let mut events = vec![Event::RunStart(start), Event::Batch { hosts: names }];
        let mut all = Totals::new();
        for (host, steps) in &self.hosts {
            let mut totals = Totals::new();
            for step in steps {
                let outcome = if step.pin.deed.is_some() { Outcome::Changed } else { Outcome::Ok };
                *totals.entry(outcome).or_default() += 1;
                events.push(Event::Step(Box::new(shown(host, step, outcome))));
            }
            for (outcome, count) in &totals {
                *all.entry(*outcome).or_default() += count;
            }
            let outcome = if totals.contains_key(&Outcome::Changed) { Outcome::Changed } else { Outcome::Ok };
            events.push(Event::HostEnd(Box::new(HostEnd { host: host.clone(), outcome, message: String::new(), totals, obstacle: None, undone: None, pending_handlers: Vec::new() })));
        }
        events.push(Event::RunEnd(RunEnd { totals: all, exit: 0, time: std::time::Duration::ZERO }));
        events
    }

    /// Applies it exactly, on the hosts where everything is as it was.
    ///
    /// # Errors
    /// When this machine fails us.
    pub fn apply(self, path: &Path, common: &Common, diff: bool, note: Note, reporting: Reporting, split: Split) -> Result<u8> {
        let mut problems = Vec::new();
        let mut input = input(common, "apply", What::Files(Vec::new()), &mut problems)?;
        let chosen: BTreeSet<&String> = self.hosts.keys().filter(|host| super::rollback::limited(&input, common, host)).collect();
        split.tell(&mut input);
        let part = input.options.part();
        let of_hosts = chosen.len();
        let names: Vec<String> = chosen.into_iter().filter(|host| part.owns(host)).cloned().collect();
        let run = runner::run_id(&input);
        let mut plans = engine::plans_for(&input, &names, &run, &mut problems);
        if let Some(exit) = runner::refused(&input, &mut problems, &common.show) {
            return Ok(exit);
        }
        let hosts: Vec<_> = self.hosts.into_iter().filter_map(|(host, steps)| Some((host.clone(), plans.remove(&host)?, steps))).collect();
        if of_hosts == 0 {
            complain("error: no host matched; nothing was done");
            return Ok(NO_HOST);
        }
        runner::tell_part(&input, &run, hosts.len(), of_hosts, &common.show);
        let showing = Showing { quiet: common.show.quiet || reporting.cron, ..common.show.clone() };
        input.options.wait_lock = reporting.told.wait_lock.unwrap_or_default();
        let splay = reporting.splay();
        let reports = match reporting.begin(&input, &[path.to_owned()])? {
            Ok(reports) => reports,
            Err(exit) => return Ok(exit),
        };
        if let Some(pause) = splay {
            std::thread::sleep(pause);
        }
        let journal = runner::begin_journal(&mut input, &run, Some(note))?;
        let ended = runner::watched(Some(&showing), diff, journal, Some(reports.listener()), |events, stop| async move {
            let (_, exit) = engine::apply_planned(input, hosts, run, events, stop).await;
            (exit, ())
        });
        Ok(reports.finish(super::or_bad(ended.map(|(exit, ())| exit))))
    }
}

fn shown(host: &str, step: &PlannedStep, outcome: Outcome) -> Step {
    Step {
        outcome,
        is_handler: step.handler,
        planned: outcome == Outcome::Changed,
        message: step.message.clone(),
        diff: step.diff.clone(),
        ..step.place.step(host)
    }
}
