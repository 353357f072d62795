//! For people: what changed or failed, folded over host ranges, and a recap.

use std::collections::BTreeMap;
use std::time::Duration;

use super::fold::{Folded, Folder, Shown, TaskKey};
use super::impact::Impact;
use super::{Output, Show, View, safe};
use crate::event::{Event, HostEnd, Outcome, Totals};
use crate::inventory::folded;

/// Output of a command is shown up to so many lines; the record has more.
const SHOWN_LINES: usize = 40;

pub struct Human {
    out: Output,
    view: View,
    folder: Folder,
    /// Something was changed; in check mode a task may say that it acts all the same.
    acted: bool,
    ended: Vec<HostEnd>,
    check: bool,
    play: String,
    printed: bool,
    impact: Impact,
}

impl Human {
    pub fn new(out: Output, view: View) -> Self {
        Self { out, view, folder: Folder::default(), acted: false, ended: Vec::new(), check: false, play: String::new(), printed: false, impact: Impact::default() }
    }

    fn print(&mut self, text: &str) {
        self.printed = true;
        // A reader that has gone away (`| head`) does not end the run.
        let _gone = writeln!(self.out, "{text}");
    }

    fn paint(&self, text: &str, outcome: Outcome) -> String {
        let code = match outcome {
            Outcome::Ok => "32",
            Outcome::Changed => "33",
            Outcome::Failed | Outcome::Unknown => "31",
            Outcome::Unreachable => "35",
            Outcome::Skipped | Outcome::Pending | Outcome::Cancelled => "36",
        };
        self.styled(text, code)
    }

    fn styled(&self, text: &str, code: &str) -> String {
        styled(text, code, self.view.color)
    }

    fn show_tasks(&mut self, tasks: Vec<Folded>) {
        for (key, groups) in tasks {
            for (shown, hosts) in groups {
                self.show(&key, &shown, &hosts);
            }
        }
        let _gone = self.out.flush();
    }

    fn is_shown(&self, shown: &Shown, module_says: bool) -> bool {
        match shown.outcome {
            Outcome::Ok => self.view.verbosity >= 1 || module_says,
            Outcome::Skipped => self.view.verbosity >= 1,
            _ => true,
        }
    }

    fn show(&mut self, key: &TaskKey, shown: &Shown, hosts: &[String]) {
        // What a task like `debug` says is the reason it is there.
        let speaks = !self.view.quiet && shown.outcome == Outcome::Ok && !shown.message.is_empty() && !shown.message.starts_with("not needed");
        if !self.is_shown(shown, speaks) {
            return;
        }
        if self.play != key.play {
            self.play.clone_from(&key.play);
            let title = safe(key.play.as_bytes());
            let line = self.styled(&format!("{title}:"), "1");
            self.print(&line);
        }
        let word = match (shown.outcome, shown.planned) {
            (Outcome::Changed, true) => "would change",
            (Outcome::Failed, _) if shown.forgiven => "failed, ignored",
            (outcome, _) => outcome.name(),
        };
        let item = if key.item.is_empty() { String::new() } else { format!(" ({})", one_line(&key.item)) };
        let handler = if key.is_handler { "handler: " } else { "" };
        let names = safe(folded(hosts.iter().map(String::as_str)).as_bytes());
        let word = self.paint(&format!("{word:<12}"), shown.outcome);
        let task = safe(one_line(&key.task).as_bytes());
        self.print(&format!("  {word} {handler}{task}{}  {names}", safe(item.as_bytes())));
        self.details(key, shown);
    }

    fn details(&mut self, key: &TaskKey, shown: &Shown) {
        if !shown.message.is_empty() {
            let text = indented(shown.message.as_bytes(), SHOWN_LINES);
            self.print(&text);
        }
        let failed = matches!(shown.outcome, Outcome::Failed | Outcome::Unknown);
        if failed {
            self.print(&indented(format!("at {}:{}", key.file, key.line).as_bytes(), 1));
        }
        if (self.view.diff || self.view.verbosity >= 3) && !shown.diff.is_empty() {
            let diff = colored_diff(&shown.diff, self.view.color);
            self.print(&diff);
        }
        if failed || self.view.verbosity >= 2 {
            for (name, bytes) in [("stdout", &shown.stdout), ("stderr", &shown.stderr)] {
                if !bytes.is_empty() {
                    self.print(&format!("    {name}:\n{}", indented(bytes, SHOWN_LINES)));
                }
            }
        }
    }

    /// What the batch that has ended has done to its hosts.
    fn show_impact(&mut self) {
        let Some((hosts, lines)) = self.impact.take().filter(|_| !self.view.quiet) else { return };
        let title = self.paint(&format!("{:<12}", "impact"), Outcome::Ok);
        self.print(&format!("  {title} {}", safe(hosts.as_bytes())));
        for line in lines {
            self.print(&indented(line.as_bytes(), 1));
        }
    }

    fn recap(&mut self, totals: &Totals, time: Duration, exit: u8) {
        let quiet = self.view.quiet && exit == 0 && totals.get(&Outcome::Changed).copied().unwrap_or(0) == 0;
        if quiet {
            return;
        }
        if self.printed {
            self.print("");
        }
        let title = self.styled("recap", "1");
        let check = match (self.check, self.acted) {
            (false, _) => "",
            (true, false) => ", nothing was changed",
            (true, true) => ", nothing was changed but what `check_mode = false` asks for",
        };
        let hosts = match self.ended.len() {
            1 => "1 host".to_owned(),
            count => format!("{count} hosts"),
        };
        self.print(&format!("{title} ({hosts}, {:.2} s{check})", time.as_secs_f64()));
        let mut rows: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        let mut order = Vec::new();
        for end in &self.ended {
            let key = (row(&end.totals), explanation(end));
            if !rows.contains_key(&key) {
                order.push((key.clone(), end.outcome));
            }
            rows.entry(key).or_default().push(end.host.clone());
        }
        let width = rows.values().map(|hosts| folded(hosts.iter().map(String::as_str)).chars().count()).max().unwrap_or(0).min(40);
        for (key, outcome) in order {
            let hosts = rows.remove(&key).unwrap_or_default();
            let names = safe(folded(hosts.iter().map(String::as_str)).as_bytes());
            let painted = self.paint(&format!("{names:<width$}"), outcome);
            self.print(&format!("  {painted} : {}", key.0));
            if !key.1.is_empty() {
                self.print(&indented(key.1.as_bytes(), SHOWN_LINES));
            }
        }
        let _gone = self.out.flush();
    }
}

impl Show for Human {
    fn take(&mut self, event: &Event) {
        match event {
            Event::RunStart(start) => {
                self.folder.order(&start.hosts);
                self.check = start.check;
            }
            Event::Batch { hosts } => {
                let rest = self.folder.begin(hosts);
                self.show_tasks(rest);
                self.show_impact();
            }
            Event::HostStart { .. } | Event::Output(_) => {}
            Event::Step(step) => {
                self.folder.add(step, self.view.diff || self.view.verbosity >= 3, self.view.verbosity >= 2);
                self.impact.add(step);
                self.acted |= step.outcome == Outcome::Changed && !step.planned;
                let complete = self.folder.complete();
                self.show_tasks(complete);
            }
            Event::HostEnd(end) => {
                self.folder.end(&end.host);
                let complete = self.folder.complete();
                self.show_tasks(complete);
                self.ended.push((**end).clone());
            }
            Event::RunEnd(end) => {
                let rest = self.folder.rest();
                self.show_tasks(rest);
                self.show_impact();
                self.ended.sort_by_key(|end| self.folder.place(&end.host));
                self.recap(&end.totals, end.time, end.exit);
            }
        }
    }
}

/// A diff as it is shown: indented, additions and removals in colours of their own.
pub fn colored_diff(diff: &str, color: bool) -> String {
    let lines = safe(diff.as_bytes());
    let painted = lines.lines().map(|line| {
        let text = match line.as_bytes().first() {
            Some(b'+') => styled(line, "32", color),
            Some(b'-') => styled(line, "31", color),
            Some(b'@') => styled(line, "36", color),
            _ => line.to_owned(),
        };
        format!("    {text}")
    });
    painted.collect::<Vec<_>>().join("\n")
}

fn styled(text: &str, code: &str, color: bool) -> String {
    if color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// `ok=3 changed=2 unreachable=0 failed=0 skipped=0`, and the rarer outcomes where there are any.
fn row(totals: &Totals) -> String {
    let count = |outcome: Outcome| totals.get(&outcome).copied().unwrap_or(0);
    let mut text = format!(
        "ok={} changed={} unreachable={} failed={} skipped={}",
        count(Outcome::Ok),
        count(Outcome::Changed),
        count(Outcome::Unreachable),
        count(Outcome::Failed),
        count(Outcome::Skipped)
    );
    for outcome in [Outcome::Cancelled, Outcome::Pending, Outcome::Unknown] {
        if count(outcome) > 0 {
            text.push_str(&format!(" {}={}", outcome.name(), count(outcome)));
        }
    }
    text
}

/// Why a host did not get to its end, and what is left to do there.
fn explanation(end: &HostEnd) -> String {
    let mut text = String::new();
    if !end.message.is_empty() {
        text.push_str(&end.message);
    }
    if !end.pending_handlers.is_empty() {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("handlers still pending, to be run next time: {}", end.pending_handlers.join(", ")));
    }
    text
}

fn one_line(text: &str) -> String {
    let mut line: String = text.chars().take(120).collect();
    if line.len() < text.len() {
        line.push('…');
    }
    line.replace('\n', "⏎")
}

fn indented(bytes: &[u8], most: usize) -> String {
    let text = safe(bytes);
    let lines: Vec<&str> = text.trim_end_matches('\n').lines().collect();
    let mut shown: Vec<String> = lines.iter().take(most).map(|line| format!("    {line}")).collect();
    if lines.len() > most {
        shown.push(format!("    … {} more lines", lines.len() - most));
    }
    shown.join("\n")
}
