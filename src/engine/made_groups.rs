//! Groups that `group_by` makes during a run: which names they can have is known before, which hosts are in them only later.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Input;
use super::prepare::hosts_of;
use crate::diag::{Diagnostic, Kind, Node};
use crate::inventory::{Group, Inventory};
use crate::playbook::{Body, Play, Task};

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
        self.beginnings.extend(found.into_iter().map(|beginning| (beginning, hosts.to_vec())));
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
            let hosts: Vec<String> = self.beginnings.iter().filter(|(beginning, _)| word.starts_with(beginning)).flat_map(|(_, hosts)| hosts.clone()).collect();
            if !hosts.is_empty() {
                groups.insert(word.to_owned(), hosts);
            }
        }
        groups
    }
}

/// The inventory with these groups.
fn with_groups(inventory: &Inventory, groups: &BTreeMap<String, Vec<String>>) -> Inventory {
    let mut inventory = inventory.clone();
    for (name, hosts) in groups {
        inventory.groups.insert(name.clone(), Group { hosts: hosts.clone(), ..Group::default() });
    }
    inventory
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

fn keys(tasks: &[Arc<Task>], found: &mut Vec<String>) {
    for task in tasks {
        match &task.body {
            Body::Module { module, arguments } if module.name == "group_by" => {
                let mut texts = Vec::new();
                if let Some(key) = arguments.get("key") {
                    node_texts(key, &mut texts);
                }
                found.extend(texts.into_iter().map(|text| text.split("{{").next().unwrap_or_default().to_owned()));
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
