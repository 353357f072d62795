//! `resolve` and `resume`: what a run left open is settled, and what it left undone is done.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use clap::Args;

use super::input::{What, input};
use super::options::{Common, OutputForm};
use super::{runner, say};
use crate::engine::{self, OpenStep};
use crate::event::Outcome;
use crate::journal::{Archive, Host, Run, Settled, Step};
use crate::render::safe;

/// Some steps are still open.
const STILL_OPEN: u8 = 7;

#[derive(Args)]
pub struct Resolve {
    #[command(flatten)]
    common: Common,
}

impl Resolve {
    pub fn run(self) -> Result<u8> {
        let Some(mut archive) = super::journal::find()? else {
            if self.common.show.output == OutputForm::Human {
                say("nothing is open: there is no journal yet");
            } else {
                say(&serde_json::json!({ "schema": 1, "command": "resolve", "exit": 0, "steps": [], "unreachable": {} }).to_string());
            }
            return Ok(0);
        };
        let mut problems = Vec::new();
        let input = input(&self.common, "resolve", What::Files(Vec::new()), &mut problems)?;
        let steps: Vec<Step> = left_open(&archive)?.into_iter().filter(|step| super::rollback::limited(&input, &self.common, &step.host)).collect();
        let names: Vec<String> = steps.iter().map(|step| step.host.clone()).collect::<std::collections::BTreeSet<_>>().into_iter().collect();
        let mut plans = engine::plans_for(&input, &names, "resolve", &mut problems);
        if let Some(exit) = runner::refused(&input, &mut problems, &self.common.show) {
            return Ok(exit);
        }
        let mut by_host: BTreeMap<String, Vec<OpenStep>> = BTreeMap::new();
        for step in &steps {
            let open = OpenStep { number: step.number, run: step.run.clone(), seq: step.seq, draft: step.record.clone() };
            by_host.entry(step.host.clone()).or_default().push(open);
        }
        let hosts: Vec<_> = by_host.into_iter().filter_map(|(host, steps)| Some((host.clone(), plans.remove(&host)?, steps))).collect();
        let (_, (found, failures)) = runner::watched(None, false, None, None, |events, stop| async move { (0, engine::resolve(input, hosts, events, stop).await) })?;
        let findings = found.steps;
        archive.taken_back(&found.taken_back)?;
        let time = jiff::Timestamp::now().to_string();
        let settled: Vec<(i64, Settled)> = findings
            .iter()
            .filter(|finding| finding.is_final)
            .map(|finding| {
                let settled = Settled { outcome: finding.outcome.name().into(), message: finding.message.clone(), record: finding.record.clone(), time: time.clone() };
                (finding.number, settled)
            })
            .collect();
        archive.settle(&settled)?;
        let open = left_open(&archive)?;
        for run in archive.unended()? {
            // Parts that have not begun may still wait for their turn.
            let waits = run.of_shards > 1 && archive.run(&run.id)?.shards.len() < run.of_shards as usize;
            if !waits && !open.iter().any(|step| step.run == run.id) {
                archive.end(&run, &is_there)?;
            }
        }
        // What nobody will ever know is told once.
        let is_unknown = findings.iter().any(|finding| finding.outcome == Outcome::Unknown);
        let exit = if open.is_empty() && !is_unknown { 0 } else { STILL_OPEN };
        if self.common.show.output == OutputForm::Human {
            for step in &steps {
                let line = match findings.iter().find(|finding| finding.number == step.number) {
                    Some(finding) => format!("{:<12} {}  {}\n    {}", finding.outcome.name(), step.task, step.host, finding.message),
                    None => format!("{:<12} {}  {}", "unknown", step.task, step.host),
                };
                say(&safe(line.as_bytes()));
            }
            for (host, failure) in &failures {
                super::complain(&format!("error: {host}: {failure}"));
            }
            say(&format!("{} of {} steps are settled", settled.len(), steps.len()));
        } else {
            let told: Vec<serde_json::Value> = findings
                .iter()
                .filter_map(|finding| {
                    let step = steps.iter().find(|step| step.number == finding.number)?;
                    Some(serde_json::json!({ "run": step.run, "host": step.host, "task": step.task, "outcome": finding.outcome.name(), "message": finding.message }))
                })
                .collect();
            let failures: BTreeMap<&String, &String> = failures.iter().map(|(host, failure)| (host, failure)).collect();
            say(&serde_json::json!({ "schema": 1, "command": "resolve", "exit": exit, "steps": told, "unreachable": failures }).to_string());
        }
        Ok(exit)
    }
}

/// Steps whose end nobody knows, of runs that are over.
fn left_open(archive: &Archive) -> Result<Vec<Step>> {
    let mut over: BTreeMap<String, bool> = BTreeMap::new();
    let mut left = Vec::new();
    for step in archive.open_steps()? {
        let is_over = match over.get(&step.run) {
            Some(is_over) => *is_over,
            None => {
                let run = archive.run(&step.run)?;
                let is_over = !archive.is_under_way(&run, &is_there)?;
                over.insert(step.run.clone(), is_over);
                is_over
            }
        };
        if is_over {
            left.push(step);
        }
    }
    Ok(left)
}

/// Whether a word of a recorded command line is not what it was, so that nobody can go by it. Where the journal is does not count.
fn lost_password(word: &str) -> bool {
    !word.starts_with("--journal") && !word.starts_with("postgres") && word.contains("://") && [":…@", "password=…"].iter().any(|mark| word.contains(mark))
}

/// Closes a run some of whose parts never ended, so that no part of it begins any more.
///
/// # Errors
/// When one of them is under way.
pub fn close(archive: &mut Archive, run: &Run) -> Result<()> {
    if run.of_shards > 1 && run.ended.is_none() && !archive.end(run, &is_there)? {
        bail!("the run {} is still under way; `mutate show {}` tells how far it is", run.id, run.id);
    }
    Ok(())
}

/// Whether the process that made a run is still there, as far as this machine can tell.
fn is_there(who: &str) -> bool {
    let Some(process) = who.split(" pid ").nth(1).and_then(|rest| rest.split_whitespace().next()) else { return false };
    // In a container every process may have the same number, and whoever asks is not the one that is asked for.
    if process == std::process::id().to_string() {
        return false;
    }
    std::fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|words| words.split(|&byte| byte == 0).next().is_some_and(|name| name.ends_with(b"mutate")))
}

/// Tells of steps that earlier runs have left open, so that nobody forgets them.
pub fn remind() {
    // Whatever is wrong with the journal is told where the run begins.
    let Ok(Some(archive)) = super::journal::find() else { return };
    let Ok(open) = left_open(&archive) else { return };
    if let Some(first) = open.first() {
        let hosts: std::collections::BTreeSet<&str> = open.iter().map(|step| step.host.as_str()).collect();
        super::complain(&format!(
            "warning: nobody knows how {} steps of the run {} ended, on {}\n  = help: `mutate resolve` asks the hosts",
            open.len(),
            first.run,
            crate::inventory::folded(hosts)
        ));
    }
}

fn is_good(host: &Host) -> bool {
    ["ok", "changed"].contains(&host.outcome.as_str())
}

/// The hosts on which a run did not get to its end.
///
/// # Errors
/// When there is no such run.
pub fn failed_hosts(start: &str) -> Result<Vec<String>> {
    let archive = super::journal::open()?;
    let run = archive.run(start)?;
    let failed: Vec<String> = archive.hosts(&run.id)?.into_iter().filter(|host| !is_good(host)).map(|host| host.host).collect();
    if failed.is_empty() {
        bail!("`@failed:{start}`: the run {} got to its end on every host", run.id);
    }
    Ok(failed)
}

#[derive(Args)]
pub struct Resume {
    /// The run to continue, by its name or the end of it.
    run: String,
}

impl Resume {
    pub fn run(self) -> Result<u8> {
        let mut archive = super::journal::open()?;
        let run = archive.run(&self.run)?;
        if run.command != "apply" {
            bail!("the run {} was no `apply`, so it cannot be continued", run.id);
        }
        if archive.is_under_way(&run, &is_there)? {
            bail!("the run {} is still under way; `mutate show {}` tells how far it is", run.id, run.id);
        }
        let steps = archive.steps(&run.id)?;
        let hosts = archive.hosts(&run.id)?;
        let good: std::collections::BTreeSet<String> = hosts.iter().filter(|host| is_good(host)).map(|host| host.host.clone()).collect();
        // Of a run that was killed and closed later, hosts that had not ended are not among these.
        let has_told_all = run.ended.is_some() && run.exit != Some(STILL_OPEN);
        if has_told_all && !hosts.is_empty() && good.len() == hosts.len() {
            say(&format!("the run {} got to its end on every host", run.id));
            return Ok(0);
        }
        let done = engine::Done {
            run: run.id.clone(),
            steps: steps
                .iter()
                .filter(|step| ["changed", "ok"].contains(&step.outcome.as_str()) && !step.handler && step.undone_by.is_none())
                .map(|step| (step.for_host.clone().unwrap_or_else(|| step.host.clone()), step.file.clone(), step.line, step.item.as_ref().map(ToString::to_string)))
                .collect(),
        };
        if let Some(word) = run.arguments.iter().find(|word| lost_password(word)) {
            bail!("the run {} cannot be continued: the password in `{word}` was not recorded; give the whole command again", run.id);
        }
        // What its other parts had to do is done here: they begin no more.
        close(&mut archive, &run)?;
        super::run_again(&run.arguments, done, good.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::lost_password;

    #[test]
    fn what_was_not_recorded_is_not_given_again() {
        for (word, is_lost) in [
            ("x=postgres://bob:…@db/x", true),
            ("--extra-vars=x=postgres://db/x?password=…", true),
            ("x=postgres://bob@db/x", false),
            // The journal is named anew.
            ("postgres://bob:…@db/x", false),
            ("--journal=postgres://bob:…@db/x", false),
            ("site.toml", false),
        ] {
            assert_eq!(lost_password(word), is_lost, "{word}");
        }
    }
}
