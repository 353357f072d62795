//! What a batch of a play has done to its hosts besides what it was to do, folded over the hosts.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::event::Step;
use crate::inventory::folded;

/// The impact checks of a batch.
#[derive(Default)]
pub struct Impact {
    hosts: Vec<(String, Value)>,
}

impl Impact {
    /// Takes what a step tells of it, if it does.
    pub fn add(&mut self, step: &Step) {
        if let Some(impact) = step.data.get("impact") {
            self.hosts.push((step.host.clone(), impact.clone()));
        }
    }

    /// The hosts, and a line for each thing that can be said of them; `None` where no host was looked at. What was added is gone then.
    pub fn take(&mut self) -> Option<(String, Vec<String>)> {
        let hosts = std::mem::take(&mut self.hosts);
        if hosts.is_empty() {
            return None;
        }
        let mut lines = Vec::new();
        for (key, from, to, what) in [("failed_units", "before", "after", "failed since"), ("listening", "after", "before", "nobody listens any more on"), ("listening", "before", "after", "listens now on")] {
            let mut things: BTreeMap<String, Vec<&str>> = BTreeMap::new();
            for (host, impact) in &hosts {
                let (from, to) = (list(&impact[from][key]), list(&impact[to][key]));
                for thing in to.into_iter().filter(|thing| !from.contains(thing)) {
                    things.entry(thing).or_default().push(host);
                }
            }
            lines.extend(things.into_iter().map(|(thing, hosts)| format!("{what} {thing}: {}", folded(hosts))));
        }
        if let (Some(before), Some(after)) = (highest(&hosts, "before", "load"), highest(&hosts, "after", "load")) {
            lines.push(format!("load at most {:.2} ({}) -> {:.2} ({})", before.0, before.1, after.0, after.1));
        }
        if let (Some(before), Some(after)) = (least(&hosts, "before", |side| side["memory_available_kib"].as_u64()), least(&hosts, "after", |side| side["memory_available_kib"].as_u64())) {
            lines.push(format!("available memory at least {} MiB ({}) -> {} MiB ({})", before.0 / 1024, before.1, after.0 / 1024, after.1));
        }
        // Of disks only those that have become fuller.
        let disks: std::collections::BTreeSet<&String> = hosts.iter().filter_map(|(_, impact)| impact["after"]["disk_free_kib"].as_object()).flat_map(serde_json::Map::keys).collect();
        for disk in disks {
            let free = |side: &Value| side["disk_free_kib"][disk].as_u64();
            let (Some(before), Some(after)) = (least(&hosts, "before", free), least(&hosts, "after", free)) else { continue };
            if after.0 / 1024 < before.0 / 1024 {
                lines.push(format!("free on {disk} at least {} MiB ({}) -> {} MiB ({})", before.0 / 1024, before.1, after.0 / 1024, after.1));
            }
        }
        Some((folded(hosts.iter().map(|(host, _)| host.as_str())), lines))
    }
}

fn list(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned)).collect()
}

fn highest<'a>(hosts: &'a [(String, Value)], side: &str, key: &str) -> Option<(f64, &'a str)> {
    hosts.iter().filter_map(|(host, impact)| Some((impact[side][key].as_f64()?, host.as_str()))).max_by(|left, right| left.0.total_cmp(&right.0))
}

fn least<'a>(hosts: &'a [(String, Value)], side: &str, of: impl Fn(&Value) -> Option<u64>) -> Option<(u64, &'a str)> {
    hosts.iter().filter_map(|(host, impact)| Some((of(&impact[side])?, host.as_str()))).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hosts_of_a_batch_are_folded() {
        let mut impact = Impact::default();
        assert_eq!(impact.take(), None);
        for (host, port, load, memory) in [("web1", 8080, 0.5, 2_048_000), ("web2", 8080, 0.9, 1_024_000), ("web3", 80, 0.1, 4_096_000)] {
            let before = json!({ "failed_units": ["old.service"], "listening": [22, 80], "load": 0.1, "memory_available_kib": memory, "disk_free_kib": { "/": 9_000_000, "/srv": 1_024 } });
            let failed = if host == "web3" { json!(["app.service", "old.service"]) } else { json!(["old.service"]) };
            let after = json!({ "failed_units": failed, "listening": [22, port], "load": load, "memory_available_kib": memory / 2, "disk_free_kib": { "/": if host == "web2" { 5_000_000 } else { 9_000_000 }, "/srv": 1_024 } });
            let mut step = Step { host: host.into(), ..Step::default() };
            impact.add(&step);
            step.data.insert("impact".into(), json!({ "before": before, "after": after }));
            impact.add(&step);
        }
        let (hosts, lines) = impact.take().expect("hosts");
        assert_eq!(hosts, "web[1-3]");
        assert_eq!(lines, [
            "failed since app.service: web3",
            "nobody listens any more on 80: web[1-2]",
            "listens now on 8080: web[1-2]",
            "load at most 0.10 (web3) -> 0.90 (web2)",
            "available memory at least 1000 MiB (web2) -> 500 MiB (web2)",
            "free on / at least 8789 MiB (web1) -> 4882 MiB (web2)",
        ]);
        assert_eq!(impact.take(), None);
    }
}
