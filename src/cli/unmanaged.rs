//! `unmanaged`: what on hosts is not as its package has brought it, or belongs to none, and is in no playbook.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use indexmap::IndexMap;
use serde_json::{Value, json};

use super::input::{What, input};
use super::options::{Common, OutputForm};
use super::{drift, holds, journal, passphrases, runner, say};
use crate::diag::Diagnostic;
use crate::engine::{self, Findings, Foreign, Input, Managed};
use crate::event::{Event, Outcome};
use crate::inventory::folded;
use crate::render::safe;

/// Something was found, and was asked for.
const FOUND: u8 = 2;
/// A host could not be asked.
const UNREACHABLE: u8 = 5;
const INTERRUPTED: u8 = 130;

#[derive(Args)]
pub struct Unmanaged {
    /// Hosts: a pattern such as `web & !canary`.
    pattern: String,
    /// Playbooks; what their tasks look after is left out.
    #[arg(value_name = "PLAYBOOK")]
    playbooks: Vec<PathBuf>,
    #[command(flatten)]
    ignoring: drift::Ignoring,
    /// End with 2 when something is found.
    #[arg(long)]
    detailed_exitcode: bool,
    /// How long a host may compare its files with its packages, in seconds; what it has found by then is told.
    #[arg(long, value_name = "SECONDS", default_value_t = 240, value_parser = clap::value_parser!(u64).range(1..=3600))]
    patience: u64,
    #[command(flatten)]
    common: Common,
}

/// A file that was found, and why it does not count.
struct Found {
    foreign: Foreign,
    /// `ours`, `held` or `ignored`.
    excuse: Option<(&'static str, String)>,
}

/// What became of a host.
struct Seen {
    manager: String,
    found: Vec<Found>,
    unseen: Vec<String>,
    /// Why it could not be asked.
    failure: Option<String>,
}

impl Unmanaged {
    pub fn run(self) -> Result<u8> {
        let ignored = self.ignoring.patterns()?;
        let mut problems = Vec::new();
        let mut input = input(&self.common, "unmanaged", What::Files(self.playbooks.clone()), &mut problems)?;
        let hosts = if problems.is_empty() { chosen(&input, &self.pattern, &mut problems) } else { Vec::new() };
        let found = Findings::default();
        (input.options.check, input.options.pins, input.options.found) = (true, true, Some(found.clone()));
        (input.options.limit, input.options.exclude) = (hosts.clone(), Vec::new());
        let run = runner::new_run_id();
        let prepared = (!self.playbooks.is_empty() && !hosts.is_empty()).then(|| engine::prepare(&mut input, &run, &mut problems));
        let mut plans = engine::plans_for(&input, &hosts, &run, &mut problems);
        if let Some(exit) = runner::refused(&input, &mut problems, &self.common.show) {
            return Ok(exit);
        }
        if hosts.is_empty() {
            super::complain("error: no host matched; nothing was done");
            return Ok(super::NO_HOST);
        }
        passphrases::ask(&input, plans.values())?;
        let mut events = Vec::new();
        if let Some(prepared) = prepared.filter(|prepared| !prepared.hosts.is_empty()) {
            let again = input.clone();
            let (exit, ()) = drift::heard(&mut events, |events, stop| async move {
                let (_, exit) = engine::execute(again, prepared, run, events, stop).await;
                (exit, ())
            })?;
            if exit == INTERRUPTED {
                return Ok(INTERRUPTED);
            }
        }
        let managed = found.all();
        let asked: Vec<_> = hosts
            .iter()
            .filter_map(|host| {
                let plan = plans.remove(host)?;
                // Whoever works as root there may look as root.
                let as_root = managed.iter().any(|one| one.host == *host && one.user.as_deref() == Some("root"));
                let user = plan.usual_user(&input.options).or_else(|| as_root.then(|| "root".to_owned())).filter(|user| *user != plan.target.user);
                Some((host.clone(), plan, user))
            })
            .collect();
        let (again, patience) = (input.clone(), self.patience);
        let (exit, told) = runner::watched(None, false, None, None, |events, stop| async move {
            let told = engine::unmanaged(again, asked, patience, events, stop.clone()).await;
            (if *stop.borrow() == crate::remote::Stop::No { 0 } else { INTERRUPTED }, told)
        })?;
        if exit == INTERRUPTED {
            return Ok(INTERRUPTED);
        }
        let seen = self.judged(told, &managed, &events, &ignored)?;
        let any = seen.values().flat_map(|seen| &seen.found).any(|found| found.excuse.is_none());
        let exit = match () {
            () if seen.values().any(|seen| seen.failure.is_some()) => UNREACHABLE,
            () if any && self.detailed_exitcode => FOUND,
            () => 0,
        };
        let order: Vec<&String> = hosts.iter().filter(|host| seen.contains_key(*host)).collect();
        if self.common.show.output == OutputForm::Human {
            if any || exit != 0 || !self.common.show.quiet {
                say(&self.report(&seen, &order));
            }
        } else {
            say(&self.document(&seen, &order, exit).to_string());
        }
        Ok(exit)
    }

    /// What is in no playbook; what is ours, held or ignored is marked.
    fn judged(&self, told: BTreeMap<String, Result<engine::Unmanaged, String>>, managed: &[Managed], events: &[Event], ignored: &[String]) -> Result<BTreeMap<String, Seen>> {
        let archive = journal::find()?;
        let held = holds::Holds::read()?;
        let mut all = BTreeMap::new();
        for (host, told) in told {
            let told = match told {
                Ok(told) => told,
                Err(failure) => {
                    all.insert(host, Seen { manager: String::new(), found: Vec::new(), unseen: Vec::new(), failure: Some(failure) });
                    continue;
                }
            };
            let mut ours: BTreeSet<String> = told.ours;
            if let Some(archive) = &archive {
                ours.extend(archive.paths_on(&host)?);
            }
            let mut unseen = told.unseen;
            if told.manager == "none" {
                unseen.push("everything: there is no package manager that could tell what is its own (dpkg, rpm, pacman)".into());
            }
            if told.more > 0 {
                unseen.push(format!("{} more files, which are too many to list", told.more));
            }
            unseen.extend(unchecked(&host, events));
            let here: Vec<&Managed> = managed.iter().filter(|one| one.host == host).collect();
            let excuse = |path: &str| {
                if ignored.iter().any(|pattern| drift::fits(pattern, &host, std::iter::once(path))) {
                    Some(("ignored", "ignored".to_owned()))
                } else if let Some(hold) = held.of(&host, path) {
                    Some(("held", format!("held until {}{}", hold.until, hold.because())))
                } else if ours.contains(path) {
                    Some(("ours", "ours: a run has made it; `mutate blame` tells which".to_owned()))
                } else {
                    None
                }
            };
            let foreign = told.found.into_iter().filter(|foreign| !here.iter().any(|one| one.covers(&foreign.path)));
            let found = foreign.map(|foreign| Found { excuse: excuse(&foreign.path), foreign }).collect();
            all.insert(host, Seen { manager: told.manager, found, unseen, failure: None });
        }
        Ok(all)
    }

    fn report(&self, seen: &BTreeMap<String, Seen>, order: &[&String]) -> String {
        let names = self.playbooks.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ");
        let where_not = if names.is_empty() { String::new() } else { format!(" and in none of {names}") };
        let hosts = |count: usize| if count == 1 { "1 host".to_owned() } else { format!("{count} hosts") };
        let mut things: IndexMap<(String, String), IndexMap<String, Vec<&str>>> = IndexMap::new();
        let mut excused: BTreeMap<&str, usize> = BTreeMap::new();
        let mut with_some = 0;
        for host in order {
            let Some(seen) = seen.get(*host) else { continue };
            with_some += usize::from(seen.found.iter().any(|found| found.excuse.is_none()));
            for found in &seen.found {
                let mut how = when(&found.foreign);
                if let Some((word, sentence)) = &found.excuse {
                    *excused.entry(word).or_default() += 1;
                    if self.common.show.verbose == 0 {
                        continue;
                    }
                    how = format!("{sentence}; {how}");
                }
                things.entry((found.foreign.path.clone(), what(&found.foreign))).or_default().entry(how).or_default().push(host);
            }
        }
        let asked = seen.values().filter(|seen| seen.failure.is_none()).count();
        let mut text = match with_some {
            0 => format!("nothing on {} is other than its package has brought it{where_not}\n", hosts(asked)),
            _ => format!("other than a package has brought it{where_not}, on {with_some} of {}:\n", hosts(order.len())),
        };
        things.sort_keys();
        for ((path, what), ways) in &things {
            text.push_str(&format!("\n  {}  {}\n", safe(path.as_bytes()), safe(what.as_bytes())));
            for (how, on) in ways {
                text.push_str(&format!("    {}: {}\n", safe(folded(on.iter().copied()).as_bytes()), safe(how.as_bytes())));
            }
        }
        let mut unseen: IndexMap<&str, Vec<&str>> = IndexMap::new();
        for host in order {
            let Some(seen) = seen.get(*host) else { continue };
            seen.unseen.iter().for_each(|what| unseen.entry(what.as_str()).or_default().push(host));
        }
        if !unseen.is_empty() {
            text.push_str("\nnot looked at:\n");
            for (what, on) in &unseen {
                text.push_str(&format!("  {}: {}\n", safe(folded(on.iter().copied()).as_bytes()), safe(what.as_bytes())));
            }
            if self.common.show.verbose == 0 && unseen.keys().any(|what| what.starts_with('/')) {
                text.push_str("  `-b` lets root look\n");
            }
        }
        for host in order {
            if let Some(failure) = seen.get(*host).and_then(|seen| seen.failure.as_ref()) {
                text.push_str(&format!("\n  {}: not asked: {}\n", safe(host.as_bytes()), safe(failure.as_bytes())));
            }
        }
        if !excused.is_empty() {
            let counts: Vec<String> = excused.iter().map(|(word, count)| format!("{count} {word}")).collect();
            text.push_str(&format!("\nnot counted: {}; `-v` shows them\n", counts.join(", ")));
        }
        text
    }

    fn document(&self, seen: &BTreeMap<String, Seen>, order: &[&String], exit: u8) -> Value {
        let mut hosts = serde_json::Map::new();
        for host in order {
            let Some(seen) = seen.get(*host) else { continue };
            let found: Vec<Value> = seen
                .found
                .iter()
                .map(|Found { foreign, excuse }| {
                    json!({
                        "path": foreign.path, "kind": foreign.kind, "what": what(foreign), "package": foreign.package, "config": foreign.is_config,
                        "when": foreign.changed.as_ref().map(|(time, _)| drift::time(*time)), "owner": foreign.changed.as_ref().map(|(_, owner)| owner),
                        "target": foreign.target, "excused": excuse.as_ref().map(|(word, _)| word),
                    })
                })
                .collect();
            let count = seen.found.iter().filter(|found| found.excuse.is_none()).count();
            let outcome = if seen.failure.is_some() { "unreachable" } else { "ok" };
            hosts.insert((*host).clone(), json!({ "outcome": outcome, "message": seen.failure.clone().unwrap_or_default(), "manager": seen.manager, "count": count, "found": found, "unseen": seen.unseen }));
        }
        let mut document = json!({
            "schema": 1, "command": "unmanaged", "exit": exit,
            "playbooks": self.playbooks.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(), "hosts": hosts,
        });
        crate::secret::json_without_hidden(&mut document);
        document
    }
}

/// The hosts of a pattern, as far as `-l` and `-x` leave them.
fn chosen(input: &Input, pattern: &str, problems: &mut Vec<Diagnostic>) -> Vec<String> {
    let mut find = |text: &str, what: &str| {
        engine::pattern_hosts(input, text).unwrap_or_else(|mismatches| {
            for one in mismatches {
                let mut diagnostic = Diagnostic::general(if one.is_malformed { "pattern" } else { "no-host" }, format!("`{what}`: {}", one.message));
                diagnostic.help = one.help;
                problems.push(diagnostic);
            }
            Vec::new()
        })
    };
    let mut hosts = find(pattern, pattern);
    let options = &input.options;
    if !options.limit.is_empty() {
        let limit: BTreeSet<String> = options.limit.iter().flat_map(|text| find(text, &format!("-l {text}"))).collect();
        hosts.retain(|host| limit.contains(host));
    }
    let without: BTreeSet<String> = options.exclude.iter().flat_map(|text| find(text, &format!("-x {text}"))).collect();
    hosts.retain(|host| !without.contains(host));
    hosts
}

/// Where the check of a host has ended before its end, so that nobody knows what comes behind.
fn unchecked(host: &str, events: &[Event]) -> Option<String> {
    events.iter().find_map(|event| match event {
        Event::Step(step) if step.host == host && step.outcome == Outcome::Failed && !step.forgiven => {
            Some(format!("the tasks behind `{}` ({}:{}), whose check failed: {}", step.task, step.file, step.line, step.message))
        }
        _ => None,
    })
}

/// What is the matter with a file.
fn what(foreign: &Foreign) -> String {
    let of = foreign.package.as_ref().map_or_else(|| "its package".to_owned(), |package| format!("the package {package}"));
    match foreign.kind.as_str() {
        "missing" if foreign.is_config => format!("configuration of {of}, and missing"),
        "missing" => format!("missing, of {of}"),
        "extra" => foreign.target.as_ref().map_or_else(|| "belongs to no package".to_owned(), |target| format!("-> {target}  belongs to no package")),
        _ => {
            let words: Vec<&str> = foreign.flags.chars().filter_map(|flag| Some(match flag {
                '5' => "content",
                'S' if !foreign.flags.contains('5') => "size",
                'M' => "mode",
                'U' => "owner",
                'G' => "group",
                'L' => "link",
                'D' => "device",
                'P' => "capabilities",
                _ => return None,
            })).collect();
            let which = if words.is_empty() { String::new() } else { format!(": {}", words.join(", ")) };
            if foreign.is_config { format!("configuration of {of}, and differs{which}") } else { format!("differs from {of}{which}") }
        }
    }
}

/// When it was changed last, and whose it is.
fn when(foreign: &Foreign) -> String {
    match &foreign.changed {
        Some((time, owner)) => format!("changed on {}, owner {owner}", drift::time(*time)),
        None if foreign.kind == "missing" => "it is gone".into(),
        None => "nobody can tell when it was changed".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_matter_is_said() {
        let one = |kind: &str, flags: &str, is_config: bool| what(&Foreign { kind: kind.into(), flags: flags.into(), is_config, package: Some("p".into()), ..Foreign::default() });
        assert_eq!(one("differs", "S5T", true), "configuration of the package p, and differs: content");
        assert_eq!(one("differs", "SMU", false), "differs from the package p: size, mode, owner");
        assert_eq!(one("missing", "missing", false), "missing, of the package p");
        assert_eq!(what(&Foreign { kind: "extra".into(), target: Some("/dev/null".into()), ..Foreign::default() }), "-> /dev/null  belongs to no package");
        assert_eq!(when(&Foreign { kind: "extra".into(), changed: Some((0, "root".into())), ..Foreign::default() }), "changed on 1970-01-01T00:00:00Z, owner root");
    }
}
