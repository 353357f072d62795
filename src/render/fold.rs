//! Equal results of many hosts, shown once.

use indexmap::IndexMap;

use crate::event::{Outcome, Step};

/// What must be the same for results of two hosts to be shown together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shown {
    pub outcome: Outcome,
    pub forgiven: bool,
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
    waiting: IndexMap<TaskKey, Vec<(String, Step)>>,
}

impl Folder {
    pub fn add(&mut self, step: &Step) {
        let item = step.item.as_ref().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).unwrap_or_default();
        let key = TaskKey {
            play: step.play.clone(),
            file: step.file.clone(),
            line: step.line,
            task: step.task.clone(),
            item,
            is_handler: step.is_handler,
        };
        self.waiting.entry(key).or_default().push((step.host.clone(), step.clone()));
    }

    /// Tasks that every host which still works has told about, from the front on.
    pub fn complete(&mut self, active: usize) -> Vec<(TaskKey, Vec<(Shown, Vec<String>)>)> {
        let mut done = Vec::new();
        while let Some((_, hosts)) = self.waiting.first()
            && hosts.len() >= active
            && let Some((key, hosts)) = self.waiting.shift_remove_index(0)
        {
            done.push((key, folded(hosts)));
        }
        done
    }

    /// Everything that still waits.
    pub fn rest(&mut self) -> Vec<(TaskKey, Vec<(Shown, Vec<String>)>)> {
        std::mem::take(&mut self.waiting).into_iter().map(|(key, hosts)| (key, folded(hosts))).collect()
    }
}

fn folded(steps: Vec<(String, Step)>) -> Vec<(Shown, Vec<String>)> {
    let mut groups: IndexMap<Shown, Vec<String>> = IndexMap::new();
    for (host, step) in steps {
        let shown = Shown {
            outcome: step.outcome,
            forgiven: step.forgiven,
            message: step.message,
            diff: step.diff,
            status: step.status,
            stdout: step.stdout,
            stderr: step.stderr,
        };
        groups.entry(shown).or_default().push(host);
    }
    groups.into_iter().collect()
}
