//! `rollback`: the changes of a run undone, each only where nobody has changed it since.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use clap::Args;

use super::input::{What, input};
use super::options::{Common, OutputForm};
use super::runner::{self, Note};
use super::say;
use crate::engine::{self, Reversal};
use crate::event::Quality;
use crate::inventory::folded;
use crate::journal::Step;

#[derive(Args)]
pub struct Rollback {
    /// The run to undo, by its name or the end of it; the last one that changed something, when it is left out.
    run: Option<String>,
    /// Change nothing; say what would be undone.
    #[arg(short = 'C', long)]
    check: bool,
    /// Show what changes in files.
    #[arg(short = 'D', long)]
    diff: bool,
    /// Undo also what somebody has changed since.
    #[arg(long)]
    force: bool,
    /// Ask nothing.
    #[arg(short = 'y', long)]
    yes: bool,
    /// Why this run is made, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    common: Common,
}

impl Rollback {
    pub fn run(self) -> Result<u8> {
        // There is no question yet that `--yes` would answer; it is accepted so that scripts may say it.
        let _nothing_to_ask = self.yes;
        let mut archive = super::journal::open()?;
        let undoes = match &self.run {
            Some(start) => archive.run(start)?,
            None => archive.last_change()?,
        };
        let mut problems = Vec::new();
        let mut input = input(&self.common, "rollback", What::Files(Vec::new()), &mut problems)?;
        input.options.check = self.check;
        let chosen = |host: &str| -> Result<bool> { Ok(limited(&input, &self.common, host)) };
        let mut by_host: BTreeMap<String, Vec<Step>> = BTreeMap::new();
        let mut is_undone = false;
        for step in archive.steps(&undoes.id)? {
            is_undone |= step.undone_by.is_some();
            if step.can_be_undone() && chosen(&step.host)? {
                by_host.entry(step.host.clone()).or_default().push(step);
            }
        }
        // What was done for other hosts was done between what was done for this one.
        for steps in by_host.values_mut() {
            steps.sort_by_key(|step| step.time.parse::<jiff::Timestamp>().ok());
        }
        if by_host.is_empty() {
            if is_undone {
                bail!("the run {} has been undone already; `mutate show {}` tells by which run", undoes.id, undoes.id);
            }
            bail!("the run {} changed nothing that could be undone here", undoes.id);
        }
        let run = runner::new_run_id();
        let names: Vec<String> = by_host.keys().cloned().collect();
        let mut plans = engine::plans_for(&input, &names, &run, &mut problems);
        if let Some(exit) = runner::refused(&input, &mut problems, &self.common.show) {
            return Ok(exit);
        }
        let hosts: Vec<_> = by_host
            .into_iter()
            .filter_map(|(host, steps)| Some((host.clone(), plans.remove(&host)?, engine::in_order(steps.into_iter().filter_map(reversal).collect()))))
            .collect();
        if self.common.show.output == OutputForm::Human && !self.common.show.quiet {
            say(&plan(&undoes, hosts.iter().map(|(host, _, steps)| (host.as_str(), steps.as_slice()))));
        }
        if !self.check {
            // Parts that still wait for their turn would change what is undone here.
            super::resolve::close(&mut archive, &undoes)?;
        }
        let note = (!self.check).then(|| Note { reason: self.reason.clone(), undoes: Some(undoes.id.clone()), arguments: None });
        let journal = runner::begin_journal(&mut input, &run, note)?;
        let (force, id) = (self.force, run.clone());
        let (exit, undone) = runner::watched(Some(&self.common.show), self.diff, journal, None, |events, stop| async move {
            let (_, exit, undone) = engine::roll_back(input, hosts, id, force, events, stop).await;
            (exit, undone)
        })?;
        archive.undone(&undone, &run)?;
        Ok(exit)
    }
}

/// Whether `-l` and `-x` leave a host in.
pub fn limited(input: &engine::Input, common: &Common, host: &str) -> bool {
    let within = |pattern: &String| engine::pattern_hosts(input, pattern).is_ok_and(|hosts| hosts.iter().any(|one| one == host));
    (common.limit.is_empty() || common.limit.iter().any(within)) && !common.exclude.iter().any(within)
}

fn reversal(step: Step) -> Option<Reversal> {
    Some(Reversal { number: step.number, place: step.place(), record: step.record?, is_own: false, order: 0 })
}

/// What is about to be undone, and how well that can be done; equal lines of many hosts once.
fn plan<'a>(undoes: &crate::journal::Run, hosts: impl Iterator<Item = (&'a str, &'a [Reversal])>) -> String {
    let mut lines: indexmap::IndexMap<String, Vec<&str>> = indexmap::IndexMap::new();
    for (host, steps) in hosts {
        for step in steps {
            let undo = &step.record.undo;
            let item = step.place.item.as_ref().map(|item| format!(" ({})", item.as_str().map_or_else(|| item.to_string(), str::to_owned))).unwrap_or_default();
            let why = if undo.quality == Quality::Exact { String::new() } else { format!(": {}", undo.why) };
            let line = format!("  {:<12} {}{item}{why}", undo.quality.words(), step.place.task);
            lines.entry(line).or_default().push(host);
        }
    }
    let mut text = format!("rollback of {} (`{}` by {}, {})\n", undoes.id, undoes.command, undoes.who, undoes.started);
    for (line, hosts) in lines {
        text.push_str(&format!("{}  {}\n", crate::render::safe(line.as_bytes()), folded(hosts)));
    }
    text
}
