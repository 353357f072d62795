//! `inventory`: what mutate understood of the inventory.

use anyhow::Result;
use clap::{Args, Subcommand};

use super::input::{What, input};
use super::options::{Common, OutputForm};
use super::{BAD_INPUT, NO_HOST, complain, say};
use crate::diag::{any_error, draw};
use crate::engine::{Input, host_scope, pattern_hosts};
use crate::template::{Filled, value_of};

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

impl Which {
    /// The pattern, within the limits of `-l` and `-x`.
    fn pattern(&self) -> String {
        let either = |patterns: &[String]| patterns.iter().map(|one| format!("({one})")).collect::<Vec<_>>().join(",");
        let mut pattern = format!("({})", self.pattern);
        if !self.common.limit.is_empty() {
            pattern = format!("{pattern} & ({})", either(&self.common.limit));
        }
        if !self.common.exclude.is_empty() {
            pattern = format!("{pattern} & !({})", either(&self.common.exclude));
        }
        pattern
    }
}

impl Inventory {
    pub fn run(self) -> Result<u8> {
        let (which, show): (Which, fn(&Input, &[String]) -> String) = match self.what {
            View::List(which) => (which, list),
            View::Graph(which) => (which, graph),
            View::Show(which) => (which, variables),
        };
        let mut problems = Vec::new();
        crate::secret::never_fetch();
        let input = input(&which.common, "inventory", What::Files(Vec::new()), &mut problems)?;
        if any_error(&problems) {
            let color = super::wants_color(which.common.show.color, super::stderr_is_terminal());
            complain(&draw(&problems, &input.sources, color));
            return Ok(BAD_INPUT);
        }
        let pattern = which.pattern();
        match pattern_hosts(&input, &pattern) {
            Ok(hosts) if hosts.is_empty() => {
                complain("error: no host matched");
                Ok(NO_HOST)
            }
            Ok(hosts) => {
                say(&if which.common.show.output == OutputForm::Human { show(&input, &hosts) } else { document(&input, &hosts) });
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
    serde_json::to_string_pretty(&described(input, hosts)).unwrap_or_default()
}

/// Groups and variables of hosts, as JSON.
fn described(input: &Input, hosts: &[String]) -> serde_json::Map<String, serde_json::Value> {
    let mut all = serde_json::Map::new();
    for host in hosts {
        let scope = host_scope(input, host);
        let mut found = serde_json::Map::new();
        let names: std::collections::BTreeSet<String> = input.inventory.layers(host).iter().flat_map(|layer| layer.entries.keys().cloned()).collect();
        for name in names {
            let value = match scope.eval(&name) {
                // It is not fetched to be shown.
                Ok(Filled::Later(later)) if later.is_only_secrets() => scope.written_as(&name).map_or_else(|| "known only in a run".into(), |node| serde_json::to_value(value_of(node)).unwrap_or_default()),
                Ok(Filled::Now(value)) => serde_json::to_value(&value).unwrap_or_default(),
                Ok(Filled::Later(_)) => serde_json::Value::from("known only in a run"),
                Err(trouble) => serde_json::Value::from(format!("error: {}", trouble.message)),
            };
            found.insert(name, value);
        }
        let groups = input.inventory.hosts.get(host).map(|host| host.groups.clone()).unwrap_or_default();
        all.insert(host.clone(), serde_json::json!({ "groups": groups, "vars": found }));
    }
    all
}

/// The same for programs: one document, whatever was asked for.
fn document(input: &Input, hosts: &[String]) -> String {
    let groups: serde_json::Map<String, serde_json::Value> = input
        .inventory
        .groups
        .iter()
        .map(|(name, group)| {
            let within: Vec<&String> = group.hosts.iter().filter(|host| hosts.contains(host)).collect();
            (name.clone(), serde_json::json!({ "hosts": within, "children": group.children }))
        })
        .collect();
    serde_json::json!({ "schema": 1, "command": "inventory", "exit": 0, "groups": groups, "hosts": described(input, hosts) }).to_string()
}
