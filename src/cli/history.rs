//! `history`, `show`, `blame`, `audit` and `journal`: what was done, by whom, when and why.

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};

use super::input::{What, input};
use super::options::{Common, OutputForm, Showing};
use super::{complain, graph, runner, saved, say};
use crate::engine;
use crate::event::{Event, HostEnd, Outcome, RunEnd, RunStart, Step as StepEvent, Totals};
use crate::journal::{Archive, Filter, Host, Run, Step};
use crate::render::safe;

/// A finding of `audit` or `journal check`.
const NOT_SOUND: u8 = 4;
/// The host could not be asked.
const UNREACHABLE: u8 = 5;

#[derive(Args)]
pub struct History {
    /// Only runs that worked on this host.
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Only runs of playbooks whose path holds this text.
    #[arg(long, value_name = "TEXT")]
    playbook: Option<String>,
    /// Only runs of this user, or from this machine.
    #[arg(long, value_name = "TEXT")]
    user: Option<String>,
    /// Only runs since this time: `2026-01-31`, a full time, or a length such as `7d`.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// How many, the newest first.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 30)]
    limit: usize,
    /// Draw them: what became of the hosts of each run, and which run undoes or continues which.
    #[arg(long)]
    graph: bool,
    #[command(flatten)]
    show: Showing,
}

impl History {
    pub fn run(self) -> Result<u8> {
        let archive = super::journal::open()?;
        let since = self.since.as_deref().map(time_since).transpose()?;
        let filter = Filter { host: self.host, playbook: self.playbook, who: self.user, since, limit: self.limit };
        let runs = archive.runs(&filter)?;
        if self.show.output != OutputForm::Human {
            say(&serde_json::json!({ "schema": 1, "command": "history", "exit": 0, "runs": runs }).to_string());
            return Ok(0);
        }
        if self.graph && !runs.is_empty() {
            let drawn = runs.into_iter().map(|run| archive.hosts(&run.id).map(|hosts| (run, hosts))).collect::<Result<Vec<_>>>()?;
            let style = graph::Style { color: super::wants_color(self.show.color, super::stdout_is_terminal()), plain: !speaks_utf8() };
            say(&graph::graph(&drawn, style));
            return Ok(0);
        }
        for run in &runs {
            say(&safe(line(run).as_bytes()));
        }
        if runs.is_empty() {
            say("no run fits");
        }
        Ok(0)
    }
}

/// A run on one line, and why it was made on a second one.
fn line(run: &Run) -> String {
    let count = |name: &str| run.totals.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0);
    let mut text = format!("{}  {}  {:<8} ", run.id, minute(&run.started), run.command);
    text.push_str(&match run.exit {
        Some(exit) => format!("exit {exit}, changed={} failed={}", count("changed"), count("failed") + count("unreachable") + count("unknown")),
        None => "never ended".to_owned(),
    });
    if run.of_shards > 1 && run.ended.is_none() {
        let ended = run.shards.iter().filter(|part| part.ended.is_some()).count();
        text.push_str(&format!(", {ended} of {} shards have", run.of_shards));
    }
    let playbooks = playbooks(run);
    if !playbooks.is_empty() {
        text.push_str(&format!("  {}", playbooks.join(" ")));
    }
    if let Some(undoes) = &run.undoes {
        text.push_str(&format!("  undoes {undoes}"));
    }
    text.push_str(&format!("  {}", run.who));
    if !run.reason.is_empty() {
        text.push_str(&format!("\n    {}", run.reason));
    }
    text
}

/// The playbooks of a run, as they were named.
pub fn playbooks(run: &Run) -> Vec<&str> {
    let inventories: Vec<&String> = run.arguments.windows(2).filter(|pair| pair[0] == "-i" || pair[0] == "--inventory").map(|pair| &pair[1]).collect();
    let is_playbook = |word: &&String| word.ends_with(".toml") && !inventories.contains(word) && run.files.iter().any(|(path, _)| path == *word);
    run.arguments.iter().filter(is_playbook).map(String::as_str).collect()
}

/// Whether the terminal can show more than ASCII, by the rules of the C library.
fn speaks_utf8() -> bool {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).is_some_and(|value| value.to_lowercase().replace('-', "").ends_with("utf8"))
}

/// When a run began, or, where its name does not tell, when it last wrote on the host.
fn time_of(told: &engine::Told) -> String {
    let time = runner::time_of(&told.run);
    if time.is_empty() { jiff::Timestamp::from_second(told.when).map(|time| time.to_string()).unwrap_or_default() } else { time }
}

/// A time to the minute, as people write it.
fn minute(time: &str) -> String {
    time.get(..16).unwrap_or(time).replace('T', " ")
}

/// The text that times of the journal are compared with.
///
/// # Errors
/// When it is no time.
pub fn time_since(text: &str) -> Result<String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    let seconds = match (digits.parse::<u64>(), unit) {
        (Ok(count), "d") => Some(count.saturating_mul(86_400)),
        (Ok(count), "h") => Some(count.saturating_mul(3600)),
        (Ok(count), "m" | "min") => Some(count.saturating_mul(60)),
        (Ok(count), "w") => Some(count.saturating_mul(604_800)),
        _ => None,
    };
    if let Some(seconds) = seconds {
        return jiff::Timestamp::now().checked_sub(Duration::from_secs(seconds)).map(|time| time.to_string()).with_context(|| format!("`{text}` is longer ago than there is time"));
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time.to_string());
    }
    let day: jiff::civil::Date = text.parse().with_context(|| format!("`{text}` is no time; write `2026-01-31`, `2026-01-31T04:00:00Z` or `7d`"))?;
    Ok(day.to_zoned(jiff::tz::TimeZone::system()).with_context(|| format!("`{text}` is no day here"))?.timestamp().to_string())
}

#[derive(Args)]
pub struct Show {
    /// The run, by its name or the end of it; or a file with a saved plan.
    run: String,
    /// Show what changed in files.
    #[arg(short = 'D', long)]
    diff: bool,
    #[command(flatten)]
    show: Showing,
}

impl Show {
    pub fn run(self) -> Result<u8> {
        let path = std::path::Path::new(&self.run);
        if saved::Plan::is_one(path) {
            let plan = saved::Plan::read(path)?;
            let mut shower = runner::shower(&self.show, true, Box::new(std::io::stdout()));
            plan.events().iter().for_each(|event| shower.take(event));
            for (host, task, why) in &plan.left_out {
                complain(&format!("warning: not in the plan: {task} on {host}: {why}"));
            }
            return Ok(0);
        }
        let archive = super::journal::open()?;
        let run = archive.run(&self.run)?;
        let (hosts, steps) = (archive.hosts(&run.id)?, archive.steps(&run.id)?);
        if self.show.output == OutputForm::Human {
            say(&safe(line(&run).as_bytes()));
            say(&safe(format!("    mutate {}", run.arguments.join(" ")).as_bytes()));
        }
        let mut shower = runner::shower(&self.show, self.diff || self.show.verbose >= 3, Box::new(std::io::stdout()));
        for event in events(&run, &hosts, &steps) {
            shower.take(&event);
        }
        let undone: std::collections::BTreeSet<&String> = steps.iter().filter_map(|step| step.undone_by.as_ref()).collect();
        if self.show.output == OutputForm::Human {
            for run in undone {
                say(&format!("undone by {run}"));
            }
        }
        Ok(0)
    }
}

/// The run once more, as it was told when it happened.
fn events(run: &Run, hosts: &[Host], steps: &[Step]) -> Vec<Event> {
    let names: Vec<String> = hosts.iter().map(|host| host.host.clone()).collect();
    let start = RunStart { run: run.id.clone(), command: run.command.clone(), hosts: names.clone(), check: false };
    let mut events = vec![Event::RunStart(start), Event::Batch { hosts: names }];
    events.extend(steps.iter().map(|step| {
        Event::Step(Box::new(StepEvent {
            seq: step.seq,
            outcome: outcome(&step.outcome),
            forgiven: step.ignored,
            is_handler: step.handler,
            message: step.message.clone(),
            diff: step.diff.clone(),
            status: step.status,
            time: Duration::from_secs_f64(step.seconds.max(0.0)),
            ..step.place().step(&step.host)
        }))
    }));
    events.extend(hosts.iter().map(|host| {
        Event::HostEnd(Box::new(HostEnd {
            host: host.host.clone(),
            outcome: outcome(&host.outcome),
            message: host.message.clone(),
            totals: totals(&host.totals),
            obstacle: None,
            undone: None,
            pending_handlers: Vec::new(),
        }))
    }));
    let exit = run.exit.unwrap_or(7);
    events.push(Event::RunEnd(RunEnd { totals: totals(&run.totals), exit, time: Duration::from_secs_f64(run.seconds.max(0.0)) }));
    events
}

/// What was only intended may have happened or not.
fn outcome(name: &str) -> Outcome {
    Outcome::ALL.into_iter().find(|outcome| outcome.name() == name).unwrap_or(Outcome::Unknown)
}

fn totals(named: &serde_json::Map<String, serde_json::Value>) -> Totals {
    let count = |outcome: Outcome| named.get(outcome.name()).and_then(serde_json::Value::as_u64).and_then(|count| usize::try_from(count).ok());
    Outcome::ALL.into_iter().filter_map(|outcome| Some((outcome, count(outcome)?))).collect()
}

#[derive(Args)]
pub struct Blame {
    /// Name of the host in the inventory.
    host: String,
    /// Path on the host.
    path: String,
    /// Show what changed.
    #[arg(short = 'D', long)]
    diff: bool,
    /// Ask the host's own ledger, which is done anyway when the journal of this machine knows nothing.
    #[arg(long)]
    ledger: bool,
    #[command(flatten)]
    common: Common,
}

impl Blame {
    pub fn run(self) -> Result<u8> {
        let archive = if self.ledger { None } else { super::journal::find()? };
        let steps = archive.as_ref().map(|archive| archive.changes_of(&self.host, &self.path)).transpose()?.unwrap_or_default();
        match archive {
            Some(archive) if !steps.is_empty() => self.by_journal(&archive, steps),
            _ => self.by_ledger(),
        }
    }

    /// What the host itself knows, where the journal is on another machine.
    fn by_ledger(&self) -> Result<u8> {
        let mut problems = Vec::new();
        let input = input(&self.common, "blame", What::Files(Vec::new()), &mut problems)?;
        let plan = engine::plans_for(&input, std::slice::from_ref(&self.host), "blame", &mut problems).remove(&self.host);
        if let Some(exit) = runner::refused(&input, &mut problems, &self.common.show) {
            return Ok(exit);
        }
        let Some(plan) = plan else { return Ok(super::NO_HOST) };
        let (host, path, diffs) = ((self.host.clone(), plan), self.path.clone(), self.diff || self.common.show.verbose >= 1);
        let (_, told) = runner::watched(None, false, None, None, |events, stop| async move { (0, Some(engine::blame(input, host, path, diffs, events, stop).await)) })?;
        let is_json = self.common.show.output != OutputForm::Human;
        let changes = match told {
            Some(Ok(changes)) => changes,
            Some(Err(failure)) => {
                if is_json {
                    say(&serde_json::json!({ "schema": 1, "command": "blame", "exit": UNREACHABLE, "host": self.host, "path": self.path, "source": "ledger", "changes": [], "message": failure }).to_string());
                } else {
                    complain(&format!("error: {}: {failure}", self.host));
                }
                return Ok(UNREACHABLE);
            }
            None => return Ok(130),
        };
        if is_json {
            say(&serde_json::json!({ "schema": 1, "command": "blame", "exit": 0, "host": self.host, "path": self.path, "source": "ledger", "changes": changes }).to_string());
            return Ok(0);
        }
        if changes.is_empty() {
            say(&format!("neither the journal nor the host's ledger knows of a change of {} on {}", safe(self.path.as_bytes()), safe(self.host.as_bytes())));
        }
        for told in &changes {
            let back = if told.taken_back { "  (taken back by the host)" } else { "" };
            let outcome = if told.outcome == "changed" { String::new() } else { format!("  {}", told.outcome) };
            let mut text = format!("{}  {}  {}  {} ({}){outcome}{back}", minute(&time_of(told)), told.run, told.who, told.task, told.place);
            told.diff.lines().for_each(|line| text.push_str(&format!("\n    {line}")));
            say(&safe(text.as_bytes()));
        }
        Ok(0)
    }

    fn by_journal(&self, archive: &Archive, steps: Vec<Step>) -> Result<u8> {
        if self.common.show.output != OutputForm::Human {
            let changes: Result<Vec<serde_json::Value>> = steps
                .iter()
                .map(|step| {
                    let run = archive.run(&step.run)?;
                    let mut change = serde_json::to_value(step)?;
                    change["who"] = run.who.into();
                    change["reason"] = run.reason.into();
                    Ok(change)
                })
                .collect();
            say(&serde_json::json!({ "schema": 1, "command": "blame", "exit": 0, "host": self.host, "path": self.path, "source": "journal", "changes": changes? }).to_string());
            return Ok(0);
        }
        for step in steps {
            let run = archive.run(&step.run)?;
            let undone = step.undone_by.as_ref().map(|by| format!("  (undone by {by})")).unwrap_or_default();
            let mut text = format!("{}  {}  {}  {} ({}:{}){undone}", minute(&step.time), run.id, run.who, step.task, step.file, step.line);
            if !run.reason.is_empty() {
                text.push_str(&format!("\n    {}", run.reason));
            }
            if !step.message.is_empty() {
                text.push_str(&format!("\n    {}", step.message));
            }
            if self.diff || self.common.show.verbose >= 1 {
                step.diff.lines().for_each(|line| text.push_str(&format!("\n    {line}")));
            }
            say(&safe(text.as_bytes()));
        }
        Ok(0)
    }
}

#[derive(Args)]
pub struct Audit {
    #[command(flatten)]
    show: Showing,
}

impl Audit {
    pub fn run(self) -> Result<u8> {
        let archive = super::journal::open()?;
        let (good, broken) = archive.audit()?;
        let exit = if broken.is_some() { NOT_SOUND } else { 0 };
        if self.show.output != OutputForm::Human {
            say(&serde_json::json!({ "schema": 1, "command": "audit", "exit": exit, "good": good, "broken": broken }).to_string());
        } else if let Some(run) = broken {
            complain(&format!("error: the run {run} is not as it was when it ended: {good} runs before it are\n  = help: somebody has written into the journal; compare it with a backup"));
        } else {
            say(&format!("the chain holds: {good} runs are as they were when they ended"));
        }
        Ok(exit)
    }
}

#[derive(Args)]
pub struct Keeping {
    #[command(subcommand)]
    what: Work,
}

#[derive(Subcommand)]
enum Work {
    /// Look whether the journal's database is sound.
    Check,
    /// Forget old runs, and how to undo them.
    Prune {
        /// Runs that began before this: `2026-01-31`, or a length such as `90d`.
        #[arg(long, value_name = "TIME", default_value = "90d")]
        before: String,
    },
}

impl Keeping {
    pub fn run(self) -> Result<u8> {
        let mut archive = super::journal::open()?;
        match self.what {
            Work::Check => match archive.damage()? {
                None => {
                    say("the journal is sound");
                    Ok(0)
                }
                Some(damage) => {
                    complain(&format!("error: the journal is damaged: {damage}\n  = help: put it aside, and copy what can be saved with `sqlite3 … .recover`"));
                    Ok(NOT_SOUND)
                }
            },
            Work::Prune { before } => {
                let count = archive.prune(&time_since(&before)?)?;
                say(&format!("{count} runs are forgotten"));
                Ok(0)
            }
        }
    }
}
