//! How a host is doing before and after its part of a play: a unit that has failed meanwhile fails the gate.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::blame::ask_with;
use super::walk::{Halt, Walker};
use crate::event::{Outcome, Step};
use crate::remote::Library;
use crate::shell::Script;

static LIBRARY: Library = Library { name: "impact", text: include_str!("impact.sh") };

/// How a host is doing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Condition {
    /// Units that have failed.
    failed: BTreeSet<String>,
    /// Ports on which somebody listens.
    ports: BTreeSet<u16>,
    load: Option<f64>,
    /// Available memory, in KiB.
    memory: Option<u64>,
    /// Free KiB by mount point.
    disks: BTreeMap<String, u64>,
}

impl Condition {
    fn read(text: &str) -> Self {
        let mut read = Self::default();
        for line in text.lines() {
            let Some((word, rest)) = line.split_once(' ') else { continue };
            match word {
                "unit" => drop(read.failed.insert(rest.to_owned())),
                "port" => read.ports.extend(rest.parse::<u16>()),
                "load" => read.load = rest.parse().ok(),
                "memory" => read.memory = rest.parse().ok(),
                "disk" => {
                    if let Some((free, at)) = rest.split_once(' ') {
                        read.disks.extend(free.parse().ok().map(|free| (at.to_owned(), free)));
                    }
                }
                _ => {}
            }
        }
        read
    }

    fn json(&self) -> serde_json::Value {
        json!({ "failed_units": self.failed, "listening": self.ports, "load": self.load, "memory_available_kib": self.memory, "disk_free_kib": self.disks })
    }
}

/// What has become other, in words; and the units that have failed meanwhile.
fn compared(before: &Condition, after: &Condition) -> (String, Vec<String>) {
    let new: Vec<String> = after.failed.difference(&before.failed).cloned().collect();
    let mut words = Vec::new();
    if !new.is_empty() {
        words.push(format!("failed since: {}", new.join(", ")));
    }
    let ports = |from: &BTreeSet<u16>, to: &BTreeSet<u16>| from.difference(to).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    for (list, what) in [(ports(&before.ports, &after.ports), "nobody listens any more on"), (ports(&after.ports, &before.ports), "listens now on")] {
        if !list.is_empty() {
            words.push(format!("{what} {list}"));
        }
    }
    if let (Some(from), Some(to)) = (before.load, after.load) {
        words.push(format!("load {from:.2} -> {to:.2}"));
    }
    let mebibytes = |kibibytes: u64| kibibytes / 1024;
    if let (Some(from), Some(to)) = (before.memory, after.memory) {
        words.push(format!("available memory {} -> {} MiB", mebibytes(from), mebibytes(to)));
    }
    for (at, to) in &after.disks {
        if let Some(from) = before.disks.get(at).filter(|from| mebibytes(**from) != mebibytes(*to)) {
            words.push(format!("free on {at} {} -> {} MiB", mebibytes(*from), mebibytes(*to)));
        }
    }
    (words.join("; "), new)
}

impl Walker {
    /// How the host is doing now.
    pub(super) async fn condition(&mut self) -> Result<Condition, Halt> {
        self.shell(&None, &[]).await?;
        let answers = ask_with(self, &None, vec![Script::call(["impact_look"])], &[&LIBRARY]).await?;
        Ok(Condition::read(&String::from_utf8_lossy(&answers.concat())))
    }

    /// Tells what the play has done to the host besides what it was to do.
    pub(super) async fn judge_impact(&mut self) -> Result<(), Halt> {
        let Some(before) = self.before.take() else { return Ok(()) };
        let begun = std::time::Instant::now();
        let after = self.condition().await?;
        let (message, new) = compared(&before, &after);
        let has_failed = !new.is_empty();
        let play = self.play.of(&self.shared);
        let sources = &self.shared.input.sources;
        let step = Step {
            host: self.name.clone(),
            play: play.name.clone(),
            task: "nothing else has failed".into(),
            module: "impact".into(),
            file: sources.get(play.span.source).name.clone(),
            line: sources.line(&play.span),
            outcome: if has_failed { Outcome::Failed } else { Outcome::Ok },
            is_health: true,
            message,
            data: serde_json::Map::from_iter([("impact".to_owned(), json!({ "before": before.json(), "after": after.json() }))]),
            time: begun.elapsed(),
            ..Step::default()
        };
        self.tell_step(step);
        if has_failed { Err(Halt::Failed) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_that_has_failed_meanwhile_is_told() {
        let before = Condition::read("unit old.service\nport 22\nport 80\nload 0.10\nmemory 2048000\ndisk 9000000 /\n");
        let after = Condition::read("unit old.service\nunit app.service\nport 22\nport 8080\nload 0.30\nmemory 1024000\ndisk 5000000 /\n");
        let (message, new) = compared(&before, &after);
        assert_eq!(new, ["app.service"]);
        assert_eq!(message, "failed since: app.service; nobody listens any more on 80; listens now on 8080; load 0.10 -> 0.30; available memory 2000 -> 1000 MiB; free on / 8789 -> 4882 MiB");
        assert_eq!(compared(&before, &before).1, Vec::<String>::new());
    }
}
