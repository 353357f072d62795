//! `drift`: what differs from the playbooks, on which hosts, and who did it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use clap::Args;
use indexmap::IndexMap;
use serde_json::{Value, json};

use super::apply::{self, Choice};
use super::options::OutputForm;
use super::{holds, runner, say};
use crate::engine::{self, Evidence, Input, Testimony};
use crate::event::{Event, HostEnd, Outcome, Step, Totals};
use crate::inventory::folded;
use crate::journal::{Archive, Journal, Run};
use crate::render::safe;
use crate::shell::glob;

/// A change that is so close to the end of our own run was made by it.
const OWN_SECONDS: i64 = 2;
/// Between a package's files and its entry in the log lies at most so much.
const PACKAGE_SECONDS: i64 = 120;
/// Something differs.
const DIFFERS: u8 = 2;

#[derive(Args)]
pub struct Drift {
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    ignoring: Ignoring,
    /// Only what no check before this time has found, such as `2d` or `2026-01-31`.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// The same as `--output json`.
    #[arg(long)]
    json: bool,
    /// Do not ask the hosts who did it.
    #[arg(long)]
    no_blame: bool,
    /// Why this check is made, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

/// What is left out.
#[derive(Args)]
pub(super) struct Ignoring {
    /// Leave out what has this name or path, such as `/etc/motd` or `web*:/srv/*`. May be given several times.
    #[arg(long, value_name = "[HOST:]PATTERN")]
    ignore: Vec<String>,
    /// A file of such patterns, one in a line; `#` begins a remark.
    #[arg(long, value_name = "FILE")]
    ignore_file: Vec<PathBuf>,
}

impl Ignoring {
    /// All the patterns.
    ///
    /// # Errors
    /// Which file cannot be read.
    pub(super) fn patterns(&self) -> Result<Vec<String>> {
        let mut all = self.ignore.clone();
        for path in &self.ignore_file {
            let text = std::fs::read_to_string(path).with_context(|| format!("`--ignore-file {}`", path.display()))?;
            all.extend(text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned));
        }
        Ok(all)
    }
}

/// Who made something differ.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Culprit {
    /// `ours`, `package`, `hand` or `unknown`.
    by: &'static str,
    /// In a sentence.
    how: String,
    facts: serde_json::Map<String, Value>,
}

impl Drift {
    pub fn run(mut self) -> Result<u8> {
        if self.json {
            self.choice.common.show.output = OutputForm::Json;
        }
        let ignored = self.ignoring.patterns()?;
        let since = self.since.as_deref().map(super::history::time_since).transpose()?;
        let reporting = self.choice.reporting.clone();
        let playbooks = self.choice.playbooks.clone();
        let (mut input, mut problems, mut common, diff) = apply::read(self.choice.clone(), "drift")?;
        (input.options.check, input.options.pins, input.options.detailed_exit) = (true, true, true);
        common.show.quiet |= reporting.cron;
        input.options.wait_lock = reporting.told.wait_lock.unwrap_or_default();
        let splay = reporting.splay();
        let reports = match reporting.begin(&input, &playbooks)? {
            Ok(reports) => reports,
            Err(exit) => return Ok(exit),
        };
        let run = runner::run_id(&input);
        let prepared = match runner::prepared(&mut input, &run, std::mem::take(&mut problems), &common.show) {
            Ok(prepared) => prepared,
            Err(exit) => return Ok(reports.finish(exit)),
        };
        runner::tell_part(&input, &run, prepared.hosts.len(), prepared.of_hosts, &common.show);
        super::passphrases::ask(&input, prepared.hosts.values())?;
        if let Some(pause) = splay {
            std::thread::sleep(pause);
        }
        let plans = prepared.hosts.clone();
        let opening = runner::opening(&input, &run, &self.reason);
        let (again, id) = (input.clone(), run.clone());
        let mut events = Vec::new();
        let (exit, ()) = heard(&mut events, |events, stop| async move {
            let (_, exit) = engine::execute(input, prepared, id, events, stop).await;
            (exit, ())
        })?;
        let archive = super::journal::find()?;
        let held = holds::Holds::read()?;
        let mut found = Found { events, archive, again };
        found.excuse(&ignored, &held, since.as_deref())?;
        if exit != 130 {
            let asked = if self.no_blame { BTreeMap::new() } else { found.ask(plans)? };
            found.accuse(&asked)?;
        }
        let exit = if exit == 130 { 130 } else { found.settle(exit) };
        // The result is told, whatever becomes of the journal.
        let remembered = found.remember(opening);
        let mut listener = reports.listener();
        found.events.iter().for_each(&mut *listener);
        if common.show.output == OutputForm::Human {
            let text = found.report(diff || common.show.verbose >= 2, &playbooks, common.show.verbose);
            let is_news = exit != 0 || !common.show.quiet;
            if is_news {
                say(&text);
            }
        } else {
            let mut shower = runner::shower(&common.show, diff, Box::new(std::io::stdout()));
            found.events.iter().for_each(|event| shower.take(event));
        }
        let exit = if let Err(error) = remembered {
            super::complain(&format!("error: the journal does not know of this check: {error:#}"));
            if exit == 0 { super::BAD_INPUT } else { exit }
        } else {
            exit
        };
        Ok(reports.finish(exit))
    }
}

/// Runs something without showing it, and keeps what it tells.
pub(super) fn heard<T: Default, R: Future<Output = (u8, T)>>(
    events: &mut Vec<Event>,
    start: impl FnOnce(tokio::sync::mpsc::UnboundedSender<Event>, tokio::sync::watch::Receiver<crate::remote::Stop>) -> R,
) -> Result<(u8, T)> {
    let kept: Arc<Mutex<Vec<Event>>> = Arc::default();
    let here = kept.clone();
    let (exit, came) = runner::watched(None, false, None, None, |sender, stop| {
        let (own, mut incoming) = tokio::sync::mpsc::unbounded_channel();
        let taking = tokio::spawn(async move {
            while let Some(event) = incoming.recv().await {
                here.lock().unwrap_or_else(PoisonError::into_inner).push(event);
            }
        });
        let working = start(own, stop);
        async move {
            let _open = sender;
            let ended = working.await;
            let _taken = taking.await;
            ended
        }
    })?;
    events.append(&mut kept.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((exit, came))
}

/// What a check has found.
struct Found {
    events: Vec<Event>,
    archive: Option<Archive>,
    again: Input,
}

impl Found {
    fn steps(&mut self) -> impl Iterator<Item = &mut Step> {
        self.events.iter_mut().filter_map(|event| match event {
            Event::Step(step) => Some(&mut **step),
            _ => None,
        })
    }

    /// What is ignored, held or old does not count.
    fn excuse(&mut self, ignored: &[String], held: &holds::Holds, since: Option<&str>) -> Result<()> {
        let known = match (&self.archive, since) {
            (Some(archive), Some(since)) => archive.drift_before(since)?,
            _ => BTreeSet::new(),
        };
        for step in self.steps().filter(|step| step.outcome == Outcome::Changed) {
            let path = path_of(step);
            let excuse = if ignored.iter().any(|pattern| fits(pattern, &step.host, path.as_deref().into_iter().chain([step.task.as_str(), step.module.as_str()]))) {
                Some(("ignored", "differs, and is ignored".to_owned()))
            } else if let Some(hold) = path.as_deref().and_then(|path| held.of(step.delegated_to.as_ref().unwrap_or(&step.host), path)) {
                Some(("held", format!("differs, and is held until {}{}", hold.until, hold.because())))
            } else if ["command", "shell", "script", "raw"].contains(&step.module.as_str()) && step.pin.as_ref().is_none_or(|pin| pin.record.probe.0.is_empty()) {
                // It runs every time, and nothing tells what for.
                Some(("commands", "runs every time, so nothing is known of it".to_owned()))
            } else if known.contains(&key(step)) {
                Some(("old", "differs, as it did before".to_owned()))
            } else {
                None
            };
            if let Some((word, message)) = excuse {
                step.outcome = Outcome::Ok;
                step.message = message;
                step.data.insert("drift".into(), json!({ "excused": word }));
            }
        }
        // A handler for which nothing is left to be done.
        let due: BTreeSet<String> = self.steps().filter(|step| step.outcome == Outcome::Changed && !step.is_handler).map(|step| step.host.clone()).collect();
        for step in self.steps().filter(|step| step.outcome == Outcome::Changed && step.is_handler && !due.contains(&step.host)) {
            step.outcome = Outcome::Ok;
            step.message = "would run, but what notifies it does not count".into();
            step.data.insert("drift".into(), json!({ "excused": "handlers" }));
        }
        Ok(())
    }

    /// Asks the hosts on which something differs what they know of it.
    fn ask(&mut self, mut plans: BTreeMap<String, engine::HostPlan>) -> Result<BTreeMap<String, Result<Testimony, String>>> {
        let mut questions: BTreeMap<String, BTreeMap<Option<String>, Vec<String>>> = BTreeMap::new();
        for step in self.steps().filter(|step| step.outcome == Outcome::Changed) {
            let (Some(path), Some(pin)) = (path_of(step), &step.pin) else { continue };
            let host = step.delegated_to.clone().unwrap_or_else(|| step.host.clone());
            let paths = questions.entry(host).or_default().entry(pin.record.user.clone()).or_default();
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        // Hosts that something was delegated to may be in no play.
        let others: Vec<String> = questions.keys().filter(|host| !plans.contains_key(*host)).cloned().collect();
        plans.extend(engine::plans_for(&self.again, &others, "drift", &mut Vec::new()));
        let hosts: Vec<_> = questions.into_iter().filter_map(|(host, paths)| Some((host.clone(), plans.remove(&host)?, paths))).collect();
        if hosts.is_empty() {
            return Ok(BTreeMap::new());
        }
        let input = self.again.clone();
        let (_, told) = runner::watched(None, false, None, None, |events, stop| async move { (0, engine::evidence(input, hosts, events, stop).await) })?;
        Ok(told)
    }

    /// Says of each difference who made it.
    fn accuse(&mut self, asked: &BTreeMap<String, Result<Testimony, String>>) -> Result<()> {
        let archive = self.archive.take();
        for step in self.steps().filter(|step| step.outcome == Outcome::Changed) {
            let culprit = culprit(step, archive.as_ref(), asked)?;
            let mut facts = culprit.facts;
            facts.insert("by".into(), culprit.by.into());
            facts.insert("how".into(), culprit.how.clone().into());
            if let Some(path) = path_of(step) {
                facts.insert("path".into(), path.into());
            }
            let mut drift: Value = facts.into();
            crate::secret::json_without_hidden(&mut drift);
            step.data.insert("drift".into(), drift);
        }
        self.archive = archive;
        Ok(())
    }

    /// Counts anew what is left after the excuses, and gives the exit code.
    fn settle(&mut self, exit: u8) -> u8 {
        let mut totals: BTreeMap<String, Totals> = BTreeMap::new();
        for step in self.steps() {
            let counted = if step.forgiven { Outcome::Ok } else { step.outcome };
            *totals.entry(step.host.clone()).or_default().entry(counted).or_default() += 1;
        }
        let mut all = Totals::new();
        let mut differs = false;
        for event in &mut self.events {
            let Event::HostEnd(end) = event else { continue };
            if let Some(mut counted) = totals.remove(&end.host) {
                // What is no step's own: nobody could log in.
                let more = end.totals.iter().filter(|(outcome, _)| matches!(outcome, Outcome::Unreachable | Outcome::Cancelled));
                counted.extend(more.map(|(outcome, count)| (*outcome, *count)));
                if !matches!(end.outcome, Outcome::Unreachable | Outcome::Unknown) {
                    end.outcome = counted.keys().max().copied().unwrap_or(Outcome::Ok);
                }
                end.totals = counted;
            }
            differs |= end.totals.contains_key(&Outcome::Changed);
            for (outcome, count) in &end.totals {
                *all.entry(*outcome).or_default() += count;
            }
        }
        let exit = match exit {
            DIFFERS if !differs => 0,
            other => other,
        };
        for event in &mut self.events {
            if let Event::RunEnd(end) = event {
                (end.totals, end.exit) = (all.clone(), exit);
            }
        }
        exit
    }

    /// The check stays in the journal, so that drift has a history.
    fn remember(&self, opening: crate::journal::Opening) -> Result<()> {
        let journal = Journal::begin(&super::journal::place()?, opening)?;
        for event in &self.events {
            journal.take(event);
        }
        journal.close()
    }

    /// For people: what differs, folded over hosts and over who did it.
    fn report(&self, with_diffs: bool, playbooks: &[PathBuf], verbosity: u8) -> String {
        let names = playbooks.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ");
        let ends: Vec<&HostEnd> = self.events.iter().filter_map(|event| if let Event::HostEnd(end) = event { Some(&**end) } else { None }).collect();
        let differing = ends.iter().filter(|end| end.totals.contains_key(&Outcome::Changed)).count();
        let judged = ends.iter().filter(|end| matches!(end.outcome, Outcome::Ok | Outcome::Skipped | Outcome::Changed)).count();
        let counted = |count: usize| if count == 1 { "1 host".to_owned() } else { format!("{count} hosts") };
        let mut text = match differing {
            0 if judged < ends.len() => format!("no drift on {judged} of {} ({names})\n", counted(ends.len())),
            0 => format!("no drift on {} ({names})\n", counted(ends.len())),
            _ => format!("drift on {differing} of {} ({names})\n", counted(ends.len())),
        };
        let mut things: IndexMap<String, IndexMap<String, Vec<&Step>>> = IndexMap::new();
        let mut excused: BTreeMap<String, usize> = BTreeMap::new();
        for step in self.events.iter().filter_map(|event| if let Event::Step(step) = event { Some(&**step) } else { None }) {
            let drift = step.data.get("drift");
            if let Some(word) = drift.and_then(|drift| drift.get("excused")).and_then(Value::as_str) {
                *excused.entry(word.to_owned()).or_default() += 1;
                if verbosity == 0 {
                    continue;
                }
            } else if step.forgiven || !matches!(step.outcome, Outcome::Changed | Outcome::Failed | Outcome::Pending | Outcome::Unreachable | Outcome::Unknown) {
                continue;
            }
            let item = step.item.as_ref().map(|item| format!(" ({})", item.as_str().map_or_else(|| item.to_string(), str::to_owned))).unwrap_or_default();
            let what = path_of(step).map(|path| format!("  {path}")).unwrap_or_default();
            let how = match step.outcome {
                Outcome::Changed => drift.and_then(|drift| drift.get("how")).and_then(Value::as_str).unwrap_or("differs").to_owned(),
                _ if drift.is_some() => step.message.clone(),
                outcome => format!("{}: {}", outcome.name(), step.message),
            };
            things.entry(format!("{}{item}{what}", step.task)).or_default().entry(how).or_default().push(step);
        }
        for (thing, ways) in &things {
            text.push_str(&format!("\n  {}\n", safe(thing.as_bytes())));
            for (how, steps) in ways {
                let names = folded(steps.iter().map(|step| step.host.as_str()));
                text.push_str(&format!("    {}: {}\n", safe(names.as_bytes()), safe(how.as_bytes())));
                if with_diffs {
                    let mut diffs: IndexMap<&str, Vec<&str>> = IndexMap::new();
                    for step in steps {
                        diffs.entry(&step.diff).or_default().push(&step.host);
                    }
                    for (diff, of) in diffs.iter().filter(|(diff, _)| !diff.is_empty()) {
                        if diffs.len() > 1 {
                            text.push_str(&format!("      {}:\n", safe(folded(of.iter().copied()).as_bytes())));
                        }
                        diff.lines().for_each(|line| text.push_str(&format!("      {}\n", safe(line.as_bytes()))));
                    }
                }
            }
        }
        for end in ends.iter().filter(|end| !end.message.is_empty()) {
            text.push_str(&format!("\n  {}: {}: {}\n", safe(end.host.as_bytes()), end.outcome.name(), safe(end.message.as_bytes())));
        }
        if !excused.is_empty() {
            let counts: Vec<String> = excused.iter().map(|(word, count)| format!("{count} {word}")).collect();
            text.push_str(&format!("\nnot counted: {}; `-v` shows them\n", counts.join(", ")));
        }
        text
    }
}

/// Where on the host it is, if that is a path.
fn path_of(step: &Step) -> Option<String> {
    let subject = step.pin.as_ref()?.record.subject();
    subject.starts_with('/').then_some(subject)
}

/// What tells a difference from others, from one check to the next.
fn key(step: &Step) -> String {
    let item = step.item.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("{}\u{1f}{}\u{1f}{}\u{1f}{item}", step.host, step.file, step.task)
}

/// `[HOST:]PATTERN`, against a host and the names of something there: a path, a task, a module.
pub(super) fn fits<'a>(pattern: &str, of: &str, mut names: impl Iterator<Item = &'a str>) -> bool {
    let (host, pattern) = match pattern.split_once(':') {
        Some((host, rest)) if !host.contains('/') && !rest.is_empty() && !rest.starts_with(' ') => (Some(host), rest),
        _ => (None, pattern),
    };
    host.is_none_or(|host| glob(host.as_bytes(), of.as_bytes())) && names.any(|name| glob(pattern.as_bytes(), name.as_bytes()))
}

/// Seconds since 1970 as a time that people read.
pub(super) fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
}

fn culprit(step: &Step, archive: Option<&Archive>, asked: &BTreeMap<String, Result<Testimony, String>>) -> Result<Culprit> {
    let facts = serde_json::Map::new();
    let host = step.delegated_to.as_ref().unwrap_or(&step.host);
    let Some(pin) = &step.pin else {
        return Ok(Culprit { by: "unknown", how: "differs; the task says `no_log`, so nothing more is told".into(), facts });
    };
    if step.is_handler {
        return Ok(Culprit { by: "unknown", how: "would run, since a change notifies it".into(), facts });
    }
    if pin.record.probe.0.is_empty() {
        return Ok(Culprit { by: "unknown", how: "differs; what was asked and answered is not kept, since it holds a secret".into(), facts });
    }
    let last = archive.map(|archive| archive.last_of(host, &pin.record)).transpose()?.flatten();
    // Where the same was asked then and now, the answers tell whether the host is as it was left.
    let asked_then = last.as_ref().and_then(|last| last.record.as_ref()).filter(|record| record.after.is_some() && record.probe == pin.record.probe && !record.probe.0.is_empty());
    let answer = |seen: &Option<crate::event::Seen>| seen.as_ref().map(|seen| seen.stdout.clone());
    let is_as_left = asked_then.map(|record| answer(&record.after) == answer(&pin.record.before));
    if let (Some(last), Some(true)) = (&last, is_as_left) {
        return Ok(as_left(last, facts));
    }
    let path = path_of(step);
    let in_place = match (&last, archive) {
        (None, Some(archive)) => archive.last_in_place(host, &step.file, &step.task)?,
        _ => None,
    };
    let testimony = match asked.get(host) {
        Some(Ok(testimony)) => testimony,
        Some(Err(why)) => return Ok(Culprit { by: "unknown", how: format!("differs; the host could not be asked who did it: {why}"), facts }),
        None => return Ok(by_journal_alone(last.as_ref(), in_place.as_ref(), facts)),
    };
    let Some(evidence) = path.as_ref().and_then(|path| testimony.paths.get(path)) else { return Ok(by_journal_alone(last.as_ref(), in_place.as_ref(), facts)) };
    Ok(by_evidence(evidence, testimony, last.as_ref(), is_as_left == Some(false), in_place.is_some(), facts))
}

/// The host is as a run of ours has left it, so it is the playbook that is another one.
fn as_left(last: &crate::journal::Step, mut facts: serde_json::Map<String, Value>) -> Culprit {
    facts.insert("run".into(), last.run.as_str().into());
    facts.insert("when".into(), last.time.as_str().into());
    Culprit { by: "ours", how: format!("ours: as the run {} left it on {}; the playbook or its variables are others since", last.run, last.time), facts }
}

/// Without a path there is nothing to look at.
fn by_journal_alone(last: Option<&crate::journal::Step>, in_place: Option<&Run>, mut facts: serde_json::Map<String, Value>) -> Culprit {
    match last {
        None if let Some(run) = in_place => {
            facts.insert("run".into(), run.id.as_str().into());
            Culprit { by: "hand", how: format!("by hand or by a program: changed since the run {} on {}, when it was in place", run.id, run.started), facts }
        }
        Some(last) => {
            facts.insert("run".into(), last.run.as_str().into());
            Culprit { by: "hand", how: format!("by hand or by a program: changed since the run {} on {}", last.run, last.time), facts }
        }
        None => Culprit { by: "ours", how: "ours: the playbook was never applied here, as far as this journal knows".into(), facts },
    }
}

fn by_evidence(evidence: &Evidence, testimony: &Testimony, last: Option<&crate::journal::Step>, is_other: bool, was_in_place: bool, mut facts: serde_json::Map<String, Value>) -> Culprit {
    if let Some((when, owner)) = &evidence.changed {
        facts.insert("when".into(), time(*when).into());
        facts.insert("owner".into(), owner.as_str().into());
    }
    // A run of another controller, or one that the journal has forgotten, which was the last to write there.
    if let (Some(entry), Some((when, _))) = (&evidence.ledger, &evidence.changed)
        && *when <= entry.time + OWN_SECONDS
        && !(is_other && last.is_some_and(|last| last.run == entry.run))
    {
        facts.insert("run".into(), entry.run.as_str().into());
        if let Some(last) = last.filter(|last| last.run == entry.run) {
            return as_left(last, facts);
        }
        return Culprit { by: "ours", how: format!("ours: changed by the run {} of {} on {}", entry.run, entry.who, time(entry.time)), facts };
    }
    if let Some(package) = &evidence.package {
        facts.insert("package".into(), package.name.as_str().into());
        // Permissions are in no list of hashes, so somebody may have changed these since.
        let is_newer = matches!((&evidence.changed, package.time), (Some((when, _)), Some(came)) if *when > came + PACKAGE_SECONDS);
        if package.is_shipped && !is_newer {
            let when = package.time.map(|when| format!(" on {}", time(when))).unwrap_or_default();
            return Culprit { by: "package", how: format!("by the package {}: as it came{when}", package.name), facts };
        }
    }
    if evidence.ledger.is_none() && last.is_none() && !was_in_place {
        return Culprit { by: "ours", how: "ours: the playbook was never applied here".into(), facts };
    }
    let Some((when, owner)) = &evidence.changed else {
        return Culprit { by: "hand", how: "by hand or by a program: it is gone".into(), facts };
    };
    let sessions = testimony.at(*when);
    let there: Vec<Value> = sessions.iter().map(|session| json!({ "user": session.user, "from": session.from, "since": time(session.begin) })).collect();
    facts.insert("logins".into(), there.into());
    let who = match sessions.as_slice() {
        [] => String::new(),
        some => {
            let names: BTreeSet<String> = some.iter().map(|session| if session.from == "-" { session.user.clone() } else { format!("{} from {}", session.user, session.from) }).collect();
            format!("; logged in near it: {}", names.into_iter().collect::<Vec<_>>().join(", "))
        }
    };
    Culprit { by: "hand", how: format!("by hand: changed on {}, owner {owner}{who}", time(*when)), facts }
}
