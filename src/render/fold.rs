//! Equal results of many hosts, shown once.

use std::collections::HashMap;

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
#[derive(Default)]
pub struct Folder {
    waiting: IndexMap<TaskKey, Vec<(String, Shown)>>,
    places: HashMap<String, usize>,
}

impl Folder {
    /// The order in which hosts are shown.
    pub fn order(&mut self, hosts: &[String]) {
        self.places = hosts.iter().enumerate().map(|(place, name)| (name.clone(), place)).collect();
    }

    /// Where a host stands in that order.
    pub fn place(&self, host: &str) -> usize {
        self.places.get(host).copied().unwrap_or(usize::MAX)
    }

    /// Adds a result. What is not shown does not tell results apart.
    pub fn add(&mut self, step: &Step, with_diff: bool, with_output: bool) {
        let item = step.item.as_ref().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).unwrap_or_default();
        let key = TaskKey {
            play: step.play.clone(),
            file: step.file.clone(),
            line: step.line,
            task: step.task.clone(),
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
        self.waiting.entry(key).or_default().push((step.host.clone(), shown));
    }

    /// Tasks that every host which still works has told about, from the front on.
    pub fn complete(&mut self, active: usize) -> Vec<(TaskKey, Vec<(Shown, Vec<String>)>)> {
        let mut done = Vec::new();
        while let Some((_, hosts)) = self.waiting.first()
            && hosts.len() >= active
            && let Some((key, hosts)) = self.waiting.shift_remove_index(0)
        {
            done.push((key, self.folded(hosts)));
        }
        done
    }

    /// Everything that still waits.
    pub fn rest(&mut self) -> Vec<(TaskKey, Vec<(Shown, Vec<String>)>)> {
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
