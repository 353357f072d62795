//! Groups and hosts that `group_by` and `add_host` make known during a run: which names they can have is known before, which hosts those are
//! only later.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Input;
use super::prepare::hosts_of;
use crate::diag::{Diagnostic, Kind, Node, Span};
use crate::inventory::{Host, Inventory, Level};
use crate::module::NewHost;
use crate::playbook::{Body, Play, Task};
use crate::template::{Entry, Layer, from_json};

/// What the plays so far can make.
#[derive(Default)]
pub struct Makers {
    /// How the names of groups begin, with the hosts that can be in them.
    beginnings: Vec<(String, Vec<String>)>,
}

impl Makers {
    /// Takes note of what a play on these hosts makes.
    pub fn note(&mut self, play: &Play, hosts: &[String]) {
        let mut found = Vec::new();
        keys(&play.tasks, &mut found);
        keys(&play.handlers, &mut found);
        // Nobody knows yet whom `add_host` adds.
        self.beginnings.extend(found.into_iter().map(|(beginning, is_own)| (beginning, if is_own { hosts.to_vec() } else { Vec::new() })));
    }

    /// The groups that a play names and that only a run can fill, each with every host that can be in it.
    pub fn named(&self, input: &Input, play: &Play) -> BTreeMap<String, Vec<String>> {
        let mut groups = BTreeMap::new();
        if self.beginnings.is_empty() {
            return groups;
        }
        let mut texts = Vec::new();
        node_texts(&play.hosts, &mut texts);
        for word in texts.iter().flat_map(|text| text.split([',', '&', '!', ':', '(', ')', ' '])).filter(|word| !word.is_empty()) {
            if input.inventory.groups.contains_key(word) || input.inventory.hosts.contains_key(word) {
                continue;
            }
            let makers = || self.beginnings.iter().filter(|(beginning, _)| word.starts_with(beginning));
            if makers().next().is_some() {
                groups.insert(word.to_owned(), makers().flat_map(|(_, hosts)| hosts.clone()).collect());
            }
        }
        groups
    }
}

/// The inventory with these groups.
fn with_groups(inventory: &Inventory, groups: &BTreeMap<String, Vec<String>>) -> Inventory {
    let mut inventory = inventory.clone();
    for (name, hosts) in groups {
        // A host of the run stands for itself.
        if !inventory.hosts.contains_key(name) {
            inventory.groups.entry(name.clone()).or_default().hosts.extend(hosts.iter().cloned());
        }
    }
    inventory
}

/// What the run is made from, with the hosts that it has made known. Where something is wrong with one of them, `place` is shown.
pub fn with_hosts(input: &Input, new: &[NewHost], place: &Span) -> Input {
    let mut inventory = (*input.inventory).clone();
    for host in new {
        if !inventory.hosts.contains_key(&host.name) {
            let settings = host.settings.iter().map(|(name, value)| (name.clone(), Node::of_json(value, place))).collect();
            let variables = host.variables.iter().map(|(name, value)| (name.clone(), Entry::Value(from_json(value)))).collect();
            let level = Arc::new(Level { settings, variables: Arc::new(Layer { entries: variables }) });
            inventory.hosts.insert(host.name.clone(), Host { name: host.name.clone(), span: None, level, groups: Vec::new() });
        }
        for name in &host.groups {
            let group = inventory.groups.entry(name.clone()).or_default();
            if !group.hosts.contains(&host.name) {
                group.hosts.push(host.name.clone());
            }
            if let Some(known) = inventory.hosts.get_mut(&host.name)
                && !known.groups.contains(name)
            {
                known.groups.push(name.clone());
            }
        }
    }
    Input { inventory: Arc::new(inventory), ..input.clone() }
}

/// Every host that a play can mean, whoever will be in the groups that it names: what is taken away may be nobody.
pub fn hosts_at_most(input: &Input, play: &Play, made: &BTreeMap<String, Vec<String>>, problems: &mut Vec<Diagnostic>) -> Vec<String> {
    let nobody = made.keys().map(|name| (name.clone(), Vec::new())).collect();
    let some = hosts_of(input, &with_groups(&input.inventory, made), play, problems);
    let others = hosts_now(input, play, &nobody);
    let can_be = |host: &&String| some.contains(host) || others.contains(host) || made.values().any(|hosts| hosts.contains(host));
    input.inventory.hosts.keys().filter(can_be).cloned().collect()
}

/// The hosts that a play means, now that it is known which are in the groups that it names.
pub fn hosts_now(input: &Input, play: &Play, groups: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let inventory = with_groups(&input.inventory, groups);
    // What is wrong with the pattern was told before the run.
    hosts_of(input, &inventory, play, &mut Vec::new())
}

/// Whether a task of the run makes a host known.
pub fn adds_hosts(input: &Input) -> bool {
    fn any(tasks: &[Arc<Task>]) -> bool {
        tasks.iter().any(|task| match &task.body {
            Body::Module { module, .. } => module.name == "add_host",
            Body::Block { tasks, rescue, always } => [tasks, rescue, always].into_iter().any(|part| any(part)),
            _ => false,
        })
    }
    input.playbooks.iter().flat_map(|playbook| &playbook.plays).any(|play| any(&play.tasks) || any(&play.handlers))
}

/// How the names begin that tasks can make, and whether it is the host itself that is in such a group.
fn keys(tasks: &[Arc<Task>], found: &mut Vec<(String, bool)>) {
    for task in tasks {
        match &task.body {
            Body::Module { module, arguments } if ["group_by", "add_host"].contains(&module.name) => {
                let mut texts = Vec::new();
                for name in ["key", "name", "host", "hostname", "groups", "group", "groupname"] {
                    if let Some(node) = arguments.get(name) {
                        node_texts(node, &mut texts);
                    }
                }
                let beginnings = texts.into_iter().map(|text| text.split("{{").next().unwrap_or_default().to_owned());
                let is_own = module.name == "group_by";
                // With no word of its own every slip in `hosts` would be the name of a host.
                found.extend(beginnings.filter(|beginning| is_own || !beginning.is_empty()).map(|beginning| (beginning, is_own)));
            }
            Body::Block { tasks, rescue, always } => [tasks, rescue, always].into_iter().for_each(|part| keys(part, found)),
            _ => {}
        }
    }
}

fn node_texts(node: &Node, texts: &mut Vec<String>) {
    match &node.kind {
        Kind::Text(text) => texts.push(text.clone()),
        Kind::List(items) => items.iter().for_each(|item| node_texts(item, texts)),
        _ => {}
    }
}
