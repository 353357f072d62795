//! The way to each host, for people: every step with what was found there, up to the one that fails.

use std::io::Write as _;

use indexmap::IndexMap;

use super::{Output, Show, safe};
use crate::event::{Event, Outcome, Step};
use crate::inventory::folded;

pub struct Why {
    out: Output,
    color: bool,
    hosts: IndexMap<String, Vec<Step>>,
}

impl Why {
    pub fn new(out: Output, color: bool) -> Self {
        Self { out, color, hosts: IndexMap::new() }
    }

    fn host(&mut self, names: &[String], steps: &[Step]) {
        let names = safe(folded(names.iter().map(String::as_str)).as_bytes());
        let _gone = writeln!(self.out, "{names}");
        for step in steps {
            let (word, code) = if step.outcome == Outcome::Ok { ("ok  ", "32") } else { ("FAIL", "31") };
            let word = if self.color { format!("\x1b[{code}m{word}\x1b[0m") } else { word.to_owned() };
            let _gone = writeln!(self.out, "  {:<13} {word}  {}", step.task, safe(step.message.as_bytes()).replace('\n', " "));
        }
    }
}

impl Show for Why {
    fn take(&mut self, event: &Event) {
        match event {
            Event::RunStart(start) => self.hosts = start.hosts.iter().map(|name| (name.clone(), Vec::new())).collect(),
            Event::Step(step) => self.hosts.entry(step.host.clone()).or_default().push((**step).clone()),
            Event::RunEnd(_) => {
                // Hosts with the same story are told of together.
                let mut stories: IndexMap<Vec<(String, String)>, (Vec<String>, Vec<Step>)> = IndexMap::new();
                for (host, steps) in std::mem::take(&mut self.hosts) {
                    let story = steps.iter().map(|step| (step.task.clone(), step.message.clone())).collect();
                    stories.entry(story).or_insert_with(|| (Vec::new(), steps)).0.push(host);
                }
                for (names, steps) in stories.into_values() {
                    self.host(&names, &steps);
                }
                let _gone = self.out.flush();
            }
            Event::Batch { .. } | Event::HostStart { .. } | Event::Output(_) | Event::HostEnd(_) => {}
        }
    }
}
