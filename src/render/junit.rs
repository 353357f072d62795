//! A run as JUnit's XML, in which a host is a suite and a step is a case.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use crate::event::{Event, HostEnd, Outcome, RunEnd, Step};

/// Takes a run down, for the text at its end.
#[derive(Default)]
pub struct Junit {
    command: String,
    hosts: IndexMap<String, Vec<Case>>,
    ends: BTreeMap<String, HostEnd>,
    end: Option<RunEnd>,
}

struct Case {
    play: String,
    name: String,
    seconds: f64,
    outcome: Outcome,
    forgiven: bool,
    message: String,
    detail: String,
}

impl Junit {
    pub fn take(&mut self, event: &Event) {
        match event {
            Event::RunStart(start) => {
                self.command.clone_from(&start.command);
                self.hosts = start.hosts.iter().map(|host| (host.clone(), Vec::new())).collect();
            }
            Event::Step(step) => self.hosts.entry(step.host.clone()).or_default().push(Case::of(step)),
            Event::HostEnd(end) => drop(self.ends.insert(end.host.clone(), (**end).clone())),
            Event::RunEnd(end) => self.end = Some(end.clone()),
            Event::Batch { .. } | Event::HostStart { .. } | Event::Output(_) => {}
        }
    }

    /// The whole document.
    pub fn text(&self) -> String {
        let seconds = self.end.as_ref().map_or(0.0, |end| end.time.as_secs_f64());
        let mut suites = String::new();
        let mut all = Counts::default();
        for (host, cases) in &self.hosts {
            let mut counts = Counts::default();
            let mut text: String = cases.iter().map(|case| case.text(host, &mut counts)).collect();
            // What is no step of its own: nobody could log in, or the host was left out.
            if let Some(end) = self.ends.get(host).filter(|end| !end.message.is_empty() && (cases.is_empty() || end.outcome >= Outcome::Cancelled)) {
                let case = Case { play: String::new(), name: "host".into(), seconds: 0.0, outcome: end.outcome, forgiven: false, message: end.message.clone(), detail: String::new() };
                text.push_str(&case.text(host, &mut counts));
            }
            let time = cases.iter().fold(0.0, |sum, case| sum + case.seconds);
            suites.push_str(&format!("  <testsuite name=\"{}\" {} time=\"{time:.3}\">\n{text}  </testsuite>\n", escaped(host), counts.attributes()));
            all.add(&counts);
        }
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"mutate {}\" {} time=\"{seconds:.3}\">\n{suites}</testsuites>\n", escaped(&self.command), all.attributes())
    }
}

#[derive(Default)]
struct Counts {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.tests += other.tests;
        self.failures += other.failures;
        self.errors += other.errors;
        self.skipped += other.skipped;
    }

    fn attributes(&self) -> String {
        format!("tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\"", self.tests, self.failures, self.errors, self.skipped)
    }
}

impl Case {
    fn of(step: &Step) -> Self {
        let item = step.item.as_ref().map(|item| format!(" ({})", item.as_str().map_or_else(|| item.to_string(), str::to_owned))).unwrap_or_default();
        let output = |name: &str, bytes: &[u8]| if bytes.is_empty() { String::new() } else { format!("{name}:\n{}\n", String::from_utf8_lossy(bytes)) };
        let detail = if step.outcome >= Outcome::Unreachable { format!("at {}:{}\n{}{}", step.file, step.line, output("stdout", &step.stdout), output("stderr", &step.stderr)) } else { String::new() };
        Self { play: step.play.clone(), name: format!("{}{item}", step.task), seconds: step.time.as_secs_f64(), outcome: step.outcome, forgiven: step.forgiven, message: step.message.clone(), detail }
    }

    fn text(&self, host: &str, counts: &mut Counts) -> String {
        counts.tests += 1;
        let (message, detail) = (escaped(&self.message), escaped(&self.detail));
        let inner = match self.outcome {
            Outcome::Failed if !self.forgiven => {
                counts.failures += 1;
                format!("<failure message=\"{message}\">{detail}</failure>")
            }
            Outcome::Unreachable | Outcome::Unknown => {
                counts.errors += 1;
                format!("<error type=\"{}\" message=\"{message}\">{detail}</error>", self.outcome.name())
            }
            Outcome::Skipped | Outcome::Cancelled | Outcome::Pending => {
                counts.skipped += 1;
                format!("<skipped message=\"{}\"/>", if message.is_empty() { self.outcome.name().into() } else { message })
            }
            Outcome::Ok | Outcome::Changed | Outcome::Failed => format!("<system-out>{}</system-out>", self.outcome.name()),
        };
        let class = if self.play.is_empty() { escaped(host) } else { format!("{}.{}", escaped(host), escaped(&self.play)) };
        format!("    <testcase classname=\"{class}\" name=\"{}\" time=\"{:.3}\">{inner}</testcase>\n", escaped(&self.name), self.seconds)
    }
}

/// Text in an attribute or between tags. What XML has no place for becomes a sign for something unreadable.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{RunStart, Totals};

    #[test]
    fn a_run_is_a_document() {
        let mut junit = Junit::default();
        junit.take(&Event::RunStart(RunStart { run: "r".into(), command: "apply".into(), hosts: vec!["a".into(), "b".into()], check: false }));
        let step = |host: &str, task: &str, outcome: Outcome, message: &str| Event::Step(Box::new(Step { host: host.into(), play: "web".into(), task: task.into(), outcome, message: message.into(), stderr: b"a\x1b<b".to_vec(), ..Step::default() }));
        junit.take(&step("a", "one & two", Outcome::Changed, ""));
        junit.take(&step("a", "three", Outcome::Failed, "it \"failed\""));
        junit.take(&Event::HostEnd(Box::new(HostEnd { host: "b".into(), outcome: Outcome::Unreachable, message: "no route".into(), totals: Totals::new(), obstacle: None, undone: None, pending_handlers: Vec::new() })));
        let text = junit.text();
        assert!(text.contains("<testsuites name=\"mutate apply\" tests=\"3\" failures=\"1\" errors=\"1\" skipped=\"0\""), "{text}");
        assert!(text.contains("name=\"one &amp; two\"") && text.contains("message=\"it &quot;failed&quot;\"") && text.contains("a\u{fffd}&lt;b"), "{text}");
        assert!(text.contains("<error type=\"unreachable\" message=\"no route\">"), "{text}");
    }
}
