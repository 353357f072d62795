//! `inventory`: what mutate understood of the inventory.

use anyhow::Result;
use clap::{Args, Subcommand};

use super::input::{What, input};
use super::options::Common;
use super::{BAD_INPUT, NO_HOST, complain, say};
use crate::diag::{any_error, draw};
use crate::engine::{Input, pattern_hosts};
use crate::template::{Filled, Scope};

#[derive(Args)]
pub struct Inventory {
    #[command(subcommand)]
    what: View,
}

#[derive(Subcommand)]
enum View {
    /// List the hosts that a pattern means.
    List(Which),
    /// Show the groups as a tree.
    Graph(Which),
    /// Show the variables of hosts.
    Show(Which),
}

#[derive(Args)]
struct Which {
    /// Which hosts: a pattern such as `all`, `web & !canary`, `db[1-3]`.
    #[arg(default_value = "all")]
    pattern: String,
    #[command(flatten)]
    common: Common,
}

impl Inventory {
    pub fn run(self) -> Result<u8> {
        let (which, show): (Which, fn(&Input, &[String]) -> String) = match self.what {
            View::List(which) => (which, list),
            View::Graph(which) => (which, graph),
            View::Show(which) => (which, variables),
        };
        let mut problems = Vec::new();
        let input = input(&which.common, "inventory", What::Files(Vec::new()), &mut problems)?;
        if any_error(&problems) {
            let color = super::wants_color(which.common.show.color, super::stderr_is_terminal());
            complain(&draw(&problems, &input.sources, color));
            return Ok(BAD_INPUT);
        }
        match pattern_hosts(&input, &which.pattern) {
            Ok(hosts) if hosts.is_empty() => {
                complain("error: no host matched");
                Ok(NO_HOST)
            }
            Ok(hosts) => {
                say(&show(&input, &hosts));
                Ok(0)
            }
            Err(found) => {
                let malformed = found.iter().any(|one| one.is_malformed);
                for one in found {
                    complain(&format!("error: {}{}", one.message, one.help.map(|help| format!("\n  = help: {help}")).unwrap_or_default()));
                }
                Ok(if malformed { BAD_INPUT } else { NO_HOST })
            }
        }
    }
}

fn list(_: &Input, hosts: &[String]) -> String {
    hosts.join("\n")
}

fn graph(input: &Input, hosts: &[String]) -> String {
    let mut text = String::from("all\n");
    let children: Vec<&String> = input.inventory.groups.values().flat_map(|group| &group.children).collect();
    for (name, _) in input.inventory.groups.iter().filter(|(name, _)| !children.contains(name)) {
        branch(input, name, hosts, 1, &mut text);
    }
    let loose: Vec<&String> = hosts.iter().filter(|host| input.inventory.hosts.get(*host).is_some_and(|host| host.groups.is_empty())).collect();
    for host in loose {
        text.push_str(&format!("  {host}\n"));
    }
    text
}

fn branch(input: &Input, name: &str, hosts: &[String], depth: usize, text: &mut String) {
    let Some(group) = input.inventory.groups.get(name) else { return };
    let indent = "  ".repeat(depth);
    text.push_str(&format!("{indent}{name}:\n"));
    let within: Vec<&String> = group.children.iter().filter_map(|child| input.inventory.groups.get(child)).flat_map(|child| &child.hosts).collect();
    for child in &group.children {
        branch(input, child, hosts, depth + 1, text);
    }
    for host in group.hosts.iter().filter(|host| hosts.contains(host) && !within.contains(host)) {
        text.push_str(&format!("{indent}  {host}\n"));
    }
}

fn variables(input: &Input, hosts: &[String]) -> String {
    let mut all = serde_json::Map::new();
    for host in hosts {
        let scope = Scope::new(input.inventory.layers(host));
        let mut found = serde_json::Map::new();
        for name in scope.names() {
            let value = match scope.eval(&name) {
                Ok(Filled::Now(value)) => serde_json::to_value(&value).unwrap_or_default(),
                _ => serde_json::Value::from("known only in a run"),
            };
            found.insert(name, value);
        }
        let groups = input.inventory.hosts.get(host).map(|host| host.groups.clone()).unwrap_or_default();
        all.insert(host.clone(), serde_json::json!({ "groups": groups, "vars": found }));
    }
    serde_json::to_string_pretty(&all).unwrap_or_default()
}
