//! Equal results of many hosts, shown once.

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;

use crate::event::{Outcome, Step};

/// What must be the same for results of two hosts to be shown together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shown {
    pub outcome: Outcome,
    pub forgiven: bool,
    pub planned: bool,
    pub message: String,
    pub diff: String,
    pub status: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// One task, or one item of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TaskKey {
    pub play: String,
    pub file: String,
    pub line: usize,
    pub task: String,
    pub item: String,
    pub is_handler: bool,
}

/// Results that wait for those of other hosts.
///
/// A task is complete when every host of the batch has told about it, or will not any more: it has ended, or is past
/// the task's place in the playbook.
#[derive(Default)]
pub struct Folder {
    waiting: IndexMap<TaskKey, Vec<(String, Shown)>>,
    places: HashMap<String, usize>,
    /// Hosts of the batch that are still at work, with the place that each has come to.
    working: IndexMap<String, (String, usize)>,
    /// The host that was waited for last, so that not all have to be looked at for every event.
    holder: Option<String>,
}

/// A task, and what came of it: each kind of result with its hosts.
pub type Folded = (TaskKey, Vec<(Shown, Vec<String>)>);

impl Folder {
    /// The order in which hosts are shown.
    pub fn order(&mut self, hosts: &[String]) {
        self.places = hosts.iter().enumerate().map(|(place, name)| (name.clone(), place)).collect();
    }

    /// Where a host stands in that order.
    pub fn place(&self, host: &str) -> usize {
        self.places.get(host).copied().unwrap_or(usize::MAX)
    }

    /// These hosts work from now on; what the ones before have left is complete.
    pub fn begin(&mut self, batch: &[String]) -> Vec<Folded> {
        let rest = self.rest();
        self.working = batch.iter().map(|host| (host.clone(), (String::new(), 0))).collect();
        self.holder = None;
        rest
    }

    /// This host tells no more.
    pub fn end(&mut self, host: &str) {
        self.working.swap_remove(host);
    }

    /// Adds a result. What is not shown does not tell results apart.
    pub fn add(&mut self, step: &Step, with_diff: bool, with_output: bool) {
        let item = step.item.as_ref().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).unwrap_or_default();
        let key = TaskKey {
            play: step.play.clone(),
            file: step.file.clone(),
            line: step.line,
            task: step.delegated_to.as_ref().map_or_else(|| step.task.clone(), |host| format!("{} (on {host})", step.task)),
            item,
            is_handler: step.is_handler,
        };
        let with_output = with_output || matches!(step.outcome, Outcome::Failed | Outcome::Unknown);
        let shown = Shown {
            outcome: step.outcome,
            forgiven: step.forgiven,
            planned: step.planned,
            message: step.message.clone(),
            diff: if with_diff { step.diff.clone() } else { String::new() },
            status: step.status,
            stdout: if with_output { step.stdout.clone() } else { Vec::new() },
            stderr: if with_output { step.stderr.clone() } else { Vec::new() },
        };
        if let Some(place) = self.working.get_mut(&step.host) {
            *place = (step.file.clone(), step.line);
        }
        self.waiting.entry(key).or_default().push((step.host.clone(), shown));
    }

    /// Tasks that nobody will tell about any more, from the front on.
    pub fn complete(&mut self) -> Vec<Folded> {
        let mut done = Vec::new();
        while let Some((key, results)) = self.waiting.first() {
            let waits_for = |host: &str| {
                let Some((file, line)) = self.working.get(host) else { return false };
                // Further down in the same file, and so past it; of another file nothing can be said.
                let is_past = *file == key.file && *line > key.line;
                !is_past && !results.iter().any(|(name, _)| name == host)
            };
            if self.holder.as_deref().is_some_and(waits_for) {
                break;
            }
            self.holder = if results.len() >= self.working.len() && self.working.len() == self.places.len() {
                None
            } else {
                let told: HashSet<&str> = results.iter().map(|(name, _)| name.as_str()).collect();
                self.working.keys().find(|host| !told.contains(host.as_str()) && waits_for(host)).cloned()
            };
            if self.holder.is_some() {
                break;
            }
            if let Some((key, results)) = self.waiting.shift_remove_index(0) {
                done.push((key, self.folded(results)));
            }
        }
        done
    }

    /// Everything that still waits.
    pub fn rest(&mut self) -> Vec<Folded> {
        std::mem::take(&mut self.waiting).into_iter().map(|(key, hosts)| (key, self.folded(hosts))).collect()
    }

    fn folded(&self, mut results: Vec<(String, Shown)>) -> Vec<(Shown, Vec<String>)> {
        results.sort_by_key(|(host, _)| self.place(host));
        let mut groups: IndexMap<Shown, Vec<String>> = IndexMap::new();
        for (host, shown) in results {
            groups.entry(shown).or_default().push(host);
        }
        groups.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(host: &str, line: usize, message: &str) -> Step {
        Step {
            host: host.into(),
            play: "play".into(),
            task: format!("task {line}"),
            module: "ping".into(),
            file: "play.toml".into(),
            line,
            item: None,
            outcome: Outcome::Changed,
            message: message.into(),
            ..Step::default()
        }
    }

    /// What is shown after each event: `host:line` for a result, `host` for its end.
    fn shown(events: &[&str]) -> Vec<String> {
        let mut folder = Folder::default();
        let hosts = ["a", "b", "c"].map(str::to_owned);
        folder.order(&hosts);
        folder.begin(&hosts);
        let mut all = Vec::new();
        for event in events {
            match event.split_once(':') {
                Some((host, line)) => folder.add(&step(host, line.parse().expect("a line"), "same"), false, false),
                None => folder.end(event),
            }
            let done: Vec<String> = folder
                .complete()
                .into_iter()
                .map(|(key, groups)| format!("{} {}", key.line, groups.iter().map(|(_, hosts)| hosts.join(",")).collect::<Vec<_>>().join("|")))
                .collect();
            all.push(done.join("; "));
        }
        all
    }

    #[test]
    fn equal_results_wait_for_each_other() {
        assert_eq!(shown(&["a:1", "a:2", "c:1", "b:1", "b:2", "c:2"]), ["", "", "", "1 a,b,c", "", "2 a,b,c"]);
    }

    #[test]
    fn a_host_that_has_ended_is_not_waited_for_but_still_shown() {
        assert_eq!(shown(&["a:1", "a", "b:1", "c:1"]), ["", "", "", "1 a,b,c"]);
        assert_eq!(shown(&["a:1", "b", "c"]), ["", "", "1 a"]);
    }

    #[test]
    fn a_host_that_is_past_a_task_is_not_waited_for() {
        assert_eq!(shown(&["a:1", "b:2", "c:2", "a:2"]), ["", "", "1 a", "2 a,b,c"]);
    }
}
