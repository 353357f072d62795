//! `report`: a run, the drift so far, or the whole fleet, as one page that needs nothing else.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use indexmap::IndexMap;
use serde_json::{Value, json};

use super::{holds, reports, say};
use crate::inventory::folded;
use crate::journal::{Archive, Filter, Run, Step};
use crate::render::{page, safe};

/// So many runs are looked at for the drift and the fleet.
const RUNS: usize = 2000;

#[derive(Args)]
pub struct Report {
    /// The run, by its name or the end of it. Left out: the last one.
    run: Option<String>,
    /// What checks have found so far, and what differs now.
    #[arg(long, conflicts_with_all = ["run", "fleet"])]
    drift: bool,
    /// All hosts and runs that the journal knows.
    #[arg(long, conflicts_with = "run")]
    fleet: bool,
    /// Where to write the page.
    #[arg(long, value_name = "FILE", required = true)]
    html: PathBuf,
}

impl Report {
    pub fn run(self) -> Result<u8> {
        let archive = super::journal::open()?;
        let mut texts = Texts::default();
        let (title, mut document) = match () {
            () if self.drift => ("drift".to_owned(), of_drift(&archive, &mut texts)?),
            () if self.fleet => ("fleet".to_owned(), of_fleet(&archive, &mut texts)?),
            () => {
                let run = match &self.run {
                    Some(start) => archive.run(start)?,
                    None => archive.runs(&Filter { limit: 1, ..Filter::default() })?.into_iter().next().context("the journal knows no run yet")?,
                };
                (format!("{} {}", run.command, run.id), of_run(&archive, &run, &mut texts)?)
            }
        };
        document["generated"] = jiff::Timestamp::now().to_string().into();
        document["version"] = env!("CARGO_PKG_VERSION").into();
        document["texts"] = texts.all.into_keys().collect::<Vec<_>>().into();
        crate::secret::json_without_hidden(&mut document);
        let plain = summary(&document);
        reports::write_private(&self.html, &page(&format!("mutate: {title}"), &plain, &document))?;
        say(&safe(format!("{}: written", self.html.display()).as_bytes()));
        Ok(0)
    }
}

/// Long texts, of which equal ones are kept once.
#[derive(Default)]
struct Texts {
    all: IndexMap<String, ()>,
}

impl Texts {
    fn at(&mut self, text: &str) -> Value {
        if text.len() < 16 {
            return text.into();
        }
        self.all.insert_full(text.to_owned(), ()).0.into()
    }
}

fn seconds_between(from: &str, to: &str) -> Option<f64> {
    let (from, to): (jiff::Timestamp, jiff::Timestamp) = (from.parse().ok()?, to.parse().ok()?);
    Some(to.duration_since(from).as_secs_f64())
}

fn of_run(archive: &Archive, run: &Run, texts: &mut Texts) -> Result<Value> {
    let (hosts, steps) = (archive.hosts(&run.id)?, archive.steps(&run.id)?);
    let mut places: IndexMap<String, (f64, f64)> = hosts.iter().map(|host| (host.host.clone(), (f64::MAX, 0.0))).collect();
    let mut tasks: IndexMap<(String, String, usize, String, bool), ()> = IndexMap::new();
    for step in &steps {
        tasks.insert(task_of(step), ());
        places.entry(step.host.clone()).or_insert((f64::MAX, 0.0));
    }
    // In the order of the playbook, handlers last.
    tasks.sort_by(|left, (), right, ()| (left.4, &left.1, left.2).cmp(&(right.4, &right.1, right.2)));
    let rows: Vec<Value> = steps
        .iter()
        .filter_map(|step| {
            let (host, _, span) = places.get_full_mut(&step.host)?;
            let ended = seconds_between(&run.started, &step.time);
            let start = ended.map(|ended| (ended - step.seconds).max(0.0));
            if let (Some(start), Some(ended)) = (start, ended) {
                *span = (span.0.min(start), span.1.max(ended));
            }
            Some(json!({
                "host": host, "task": tasks.get_index_of(&task_of(step)), "item": step.item, "outcome": step.outcome,
                "message": texts.at(&step.message), "diff": texts.at(&step.diff), "status": step.status, "stdout": "", "stderr": "",
                "start": start, "seconds": step.seconds, "handler": step.handler, "ignored": step.ignored, "undone_by": step.undone_by,
            }))
        })
        .collect();
    let known: BTreeMap<&str, &crate::journal::Host> = hosts.iter().map(|host| (host.host.as_str(), host)).collect();
    let columns: Vec<Value> = places
        .iter()
        .map(|(name, (start, end))| {
            let host = known.get(name.as_str());
            json!({
                "host": name, "outcome": host.map_or("unknown", |host| host.outcome.as_str()), "message": host.map_or("", |host| host.message.as_str()),
                "totals": host.map(|host| host.totals.clone()).unwrap_or_default(),
                "start": (*start < f64::MAX).then_some(start), "seconds": if *start < f64::MAX { end - start } else { 0.0 },
            })
        })
        .collect();
    let tasks: Vec<Value> = tasks
        .keys()
        .enumerate()
        .map(|(at, (play, file, line, task, handler))| {
            let module = steps.iter().find(|step| step.task == *task && step.line == *line).map(|step| step.module.as_str());
            json!({ "id": at + 1, "play": play, "task": task, "module": module, "file": file, "line": line, "handler": handler })
        })
        .collect();
    let undone: Vec<&String> = steps.iter().filter_map(|step| step.undone_by.as_ref()).collect();
    let undone_by = undone.first().filter(|first| !steps.is_empty() && steps.iter().filter(|step| step.record.is_some()).all(|step| step.undone_by.as_ref() == Some(*first)));
    Ok(json!({
        "kind": "run",
        "run": {
            "id": run.id, "command": run.command, "started": run.started, "ended": run.ended, "who": run.who, "reason": run.reason, "arguments": run.arguments,
            "exit": run.exit, "seconds": run.seconds, "undoes": run.undoes, "undone_by": undone_by, "check": run.command == "drift",
        },
        "totals": run.totals, "hosts": columns, "tasks": tasks, "steps": rows,
    }))
}

fn task_of(step: &Step) -> (String, String, usize, String, bool) {
    (step.play.clone(), step.file.clone(), step.line, step.task.clone(), step.handler)
}

fn of_drift(archive: &Archive, texts: &mut Texts) -> Result<Value> {
    let mut runs: Vec<Run> = archive.runs(&Filter { limit: RUNS, ..Filter::default() })?.into_iter().filter(|run| run.command == "drift" && run.ended.is_some()).collect();
    if runs.is_empty() {
        bail!("the journal knows no check for drift yet; `mutate drift PLAYBOOK` makes one");
    }
    runs.reverse();
    let held = holds::Holds::read()?;
    let mut checks = Vec::new();
    // Since when each difference has been seen without a break, and how often.
    let mut seen: BTreeMap<String, BTreeMap<String, (String, usize, Step)>> = BTreeMap::new();
    for run in &runs {
        let (hosts, playbook) = (archive.hosts(&run.id)?, super::history::playbooks(run).join(" "));
        checks.push(json!({
            "run": run.id, "time": run.started, "playbook": playbook, "hosts_checked": hosts.len(),
            "hosts_drifted": hosts.iter().filter(|host| host.totals.contains_key("changed")).count(),
        }));
        let before = seen.remove(&playbook).unwrap_or_default();
        // What a check has not looked at is as it was.
        let seen_now: std::collections::BTreeSet<&str> = hosts.iter().filter(|host| ["ok", "changed"].contains(&host.outcome.as_str())).map(|host| host.host.as_str()).collect();
        let mut now: BTreeMap<String, (String, usize, Step)> = before.iter().filter(|(_, (.., step))| !seen_now.contains(step.host.as_str())).map(|(key, entry)| (key.clone(), entry.clone())).collect();
        for step in archive.steps(&run.id)?.into_iter().filter(|step| step.outcome == "changed") {
            let key = format!("{}\u{1f}{}\u{1f}{}\u{1f}{:?}", step.host, step.file, step.task, step.item);
            let (since, count) = before.get(&key).map_or_else(|| (run.started.clone(), 0), |(since, count, _)| (since.clone(), *count));
            now.insert(key, (since, count + 1, step));
        }
        seen.insert(playbook, now);
    }
    let mut items = Vec::new();
    for (since, count, step) in seen.into_values().flat_map(BTreeMap::into_values) {
        let drift = step.drift.clone().unwrap_or_default();
        let path = drift["path"].as_str().unwrap_or_default().to_owned();
        let hold = held.of(&step.host, &path).map(|hold| json!({ "reason": hold.reason, "until": hold.until }));
        items.push(json!({
            "host": step.host, "subject": if path.is_empty() { step.task.clone() } else { path }, "task": step.task, "module": step.module,
            "by": drift["by"].as_str().unwrap_or("unknown"), "who": drift["how"], "when": drift["when"], "since": since, "runs": count,
            "diff": texts.at(&step.diff), "held": hold,
        }));
    }
    Ok(json!({ "kind": "drift", "checks": checks, "items": items }))
}

fn of_fleet(archive: &Archive, texts: &mut Texts) -> Result<Value> {
    #[derive(Default)]
    struct Sum {
        last: Option<(String, String, String)>,
        runs: usize,
        changes: u64,
        failures: usize,
        drift: Option<u64>,
        error: String,
    }
    let runs = archive.runs(&Filter { limit: RUNS, ..Filter::default() })?;
    let mut hosts: BTreeMap<String, Sum> = BTreeMap::new();
    // The newest first.
    for run in &runs {
        for host in archive.hosts(&run.id)? {
            let sum = hosts.entry(host.host).or_default();
            let changed = host.totals.get("changed").and_then(Value::as_u64).unwrap_or(0);
            if run.command == "drift" {
                sum.drift.get_or_insert(changed);
                continue;
            }
            sum.last.get_or_insert_with(|| (run.id.clone(), run.started.clone(), host.outcome.clone()));
            sum.runs += 1;
            sum.changes += changed;
            let failed = ["failed", "unreachable", "unknown"].contains(&host.outcome.as_str());
            sum.failures += usize::from(failed);
            if failed && sum.error.is_empty() {
                sum.error = if host.message.is_empty() { format!("{} in {}", host.outcome, run.id) } else { host.message };
            }
        }
    }
    let rows: Vec<Value> = hosts
        .into_iter()
        .map(|(name, sum)| {
            let (run, time, outcome) = sum.last.map_or((None, None, "skipped".to_owned()), |(run, time, outcome)| (Some(run), Some(time), outcome));
            json!({
                "host": name, "last_run": run, "last_time": time, "last_outcome": outcome, "runs": sum.runs, "changes": sum.changes,
                "failures": sum.failures, "drift": sum.drift, "last_error": texts.at(&sum.error),
            })
        })
        .collect();
    let runs: Vec<Value> = runs.iter().map(|run| json!({ "id": run.id, "time": run.started, "command": run.command, "exit": run.exit, "seconds": run.seconds, "totals": run.totals })).collect();
    Ok(json!({ "kind": "fleet", "hosts": rows, "runs": runs }))
}

/// For readers without scripts.
fn summary(document: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let list = |key: &str| document[key].as_array().cloned().unwrap_or_default();
    let mut lines = Vec::new();
    match document["kind"].as_str() {
        Some("run") => {
            let run = &document["run"];
            lines.push(format!("{} {}  {}  exit {}  {}", text(&run["command"]), text(&run["id"]), text(&run["started"]), text(&run["exit"]), text(&run["who"])));
            let mut by_outcome: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for host in list("hosts") {
                by_outcome.entry(text(&host["outcome"])).or_default().push(text(&host["host"]));
            }
            lines.extend(by_outcome.iter().map(|(outcome, hosts)| format!("{outcome}: {}", folded(hosts.iter().map(String::as_str)))));
        }
        Some("drift") => {
            lines.push(format!("{} checks, {} differences now", list("checks").len(), list("items").len()));
            lines.extend(list("items").iter().map(|item| format!("{}  {}  {}", text(&item["host"]), text(&item["subject"]), text(&item["who"]))));
        }
        _ => lines.push(format!("{} hosts, {} runs", list("hosts").len(), list("runs").len())),
    }
    lines.join("\n")
}
