//! `init`: the files of a new project, and `explain`: where a variable comes from.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::input::{What, input};
use super::options::{Common, OutputForm};
use super::{BAD_INPUT, NO_HOST, complain, runner, say, settings};
use crate::diag::Node;
use crate::engine::{self, Input};
use crate::playbook::{Body, Task};
use crate::render::safe;
use crate::template::{Entry, Filled, Layer};

#[derive(Args)]
pub struct Init {
    /// Folder for the files.
    #[arg(default_value = ".")]
    folder: PathBuf,
}

const FILES: [(&str, &str); 4] = [
    (
        "inventory.toml",
        "# Hosts, and how to reach them: https://toml.io; `mutate inventory list` shows what was understood.\n\
         # user = \"deploy\"\n# become = true\n\n[hosts]\n# web1 = \"192.0.2.10\"\n# \"db[1-3].example.com\" = {}\nlocalhost = { connection = \"local\" }\n\n# [groups.web]\n# hosts = [\"web1\"]\n# vars = { port = 80 }\n",
    ),
    (
        "playbooks/first.toml",
        "name = \"first steps\"\nhosts = \"all\"\n\n[[task]]\nname = \"there is a note\"\ncopy = { content = \"hello from {{ host.name }}\\n\", dest = \"~/mutate-note\" }\n",
    ),
    (
        SETTINGS,
        "# Flags that everybody here would type: docs/config.md; `mutate config --origin` shows what is in force.\n\
         # user = \"deploy\"\n# forks = 64\n# diff = true\n\n# [drift]\n# ignore-file = \"known-drift.txt\"\n",
    ),
    (".gitignore", "*.plan\n"),
];

/// A file that is refused where others can write it.
const SETTINGS: &str = "mutate.toml";

impl Init {
    pub fn run(self) -> Result<u8> {
        if let Some((name, _)) = FILES.iter().find(|(name, _)| ![".gitignore", SETTINGS].contains(name) && self.folder.join(name).exists()) {
            bail!("`{}` is there already, so nothing was written", self.folder.join(name).display());
        }
        for (name, text) in FILES {
            let path = self.folder.join(name);
            if path.exists() {
                continue;
            }
            let folder = path.parent().unwrap_or(Path::new("."));
            let in_words = || format!("`{}`", path.display());
            std::fs::create_dir_all(folder).with_context(in_words)?;
            let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            if name == SETTINGS && settings::distrust(here).is_some() {
                continue;
            }
            std::fs::write(&path, text).with_context(in_words)?;
            if name == SETTINGS {
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).with_context(in_words)?;
            }
            say(&safe(format!("{}: written", path.display()).as_bytes()));
        }
        say("\ntry it on this machine:\n  mutate plan playbooks/first.toml\n  mutate apply playbooks/first.toml\n  mutate rollback\nthen put your hosts into inventory.toml, and try `mutate ping all`");
        Ok(0)
    }
}

#[derive(Args)]
pub struct Explain {
    /// Name of the variable.
    variable: String,
    /// Playbooks whose variables count, too.
    #[arg(value_name = "PLAYBOOK")]
    playbooks: Vec<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// A place that gives the variable a value.
struct Candidate {
    level: String,
    place: String,
    text: String,
}

impl Explain {
    pub fn run(self) -> Result<u8> {
        let mut problems = Vec::new();
        crate::secret::never_fetch();
        let input = input(&self.common, "explain", What::Files(self.playbooks), &mut problems)?;
        if let Some(exit) = runner::refused(&input, &mut problems, &self.common.show) {
            return Ok(exit);
        }
        let hosts: Vec<String> = input.inventory.hosts.keys().filter(|host| super::rollback::limited(&input, &self.common, host)).cloned().collect();
        if hosts.is_empty() {
            complain("error: no host matched\n  = help: `mutate inventory list` shows the hosts");
            return Ok(NO_HOST);
        }
        let mut document = serde_json::Map::new();
        let mut is_known = false;
        for host in &hosts {
            let candidates = candidates(&input, host, &self.variable);
            is_known |= !candidates.is_empty();
            let value = candidates.first().map(|_| match engine::host_scope(&input, host).eval(&self.variable) {
                Ok(Filled::Now(value)) => value.to_string(),
                _ => String::new(),
            });
            if self.common.show.output != OutputForm::Human {
                let rows: Vec<Value> = candidates.iter().enumerate().map(|(at, one)| json!({ "level": one.level, "place": one.place, "text": one.text, "wins": at == 0 })).collect();
                document.insert(host.clone(), json!({ "candidates": rows }));
                continue;
            }
            let shown = value.filter(|value| !value.is_empty() && candidates.first().is_some_and(|first| first.text != *value));
            say(&safe(format!("{host}: {}{}", self.variable, shown.map(|value| format!(" is {value}")).unwrap_or_default()).as_bytes()));
            if candidates.is_empty() {
                say("    nothing gives it a value");
            }
            for (at, one) in candidates.iter().enumerate() {
                say(&safe(format!("  {} {}  {}  ({})", if at == 0 { "*" } else { " " }, one.text, one.place, one.level).as_bytes()));
            }
        }
        if self.common.show.output != OutputForm::Human {
            let mut value = json!({ "schema": 1, "command": "explain", "exit": 0, "variable": self.variable, "hosts": document });
            crate::secret::json_without_hidden(&mut value);
            say(&value.to_string());
        }
        Ok(if is_known { 0 } else { BAD_INPUT })
    }
}

/// Everything that gives a variable a value on a host, the strongest first.
fn candidates(input: &Input, host: &str, variable: &str) -> Vec<Candidate> {
    let mut found = Vec::new();
    let mut look = |level: String, layer: &Layer| {
        let Some(Entry::Authored(node)) = layer.entries.get(variable) else { return };
        let place = format!("{}:{}", input.sources.get(node.span.source).name, input.sources.line(&node.span));
        found.push(Candidate { level, place, text: text_of(node) });
    };
    look("-e".into(), &input.extra);
    let plays = input.playbooks.iter().flat_map(|playbook| &playbook.plays).filter(|play| {
        let pattern = play.hosts.text().unwrap_or("all");
        engine::pattern_hosts(input, pattern).map_or(true, |hosts| hosts.iter().any(|one| one == host))
    });
    let plays: Vec<_> = plays.collect();
    for play in &plays {
        each(&play.tasks, &mut |task| task.variables.iter().for_each(|layer| look(format!("task `{}`", task.name.text().unwrap_or_default()), layer)));
    }
    for play in &plays {
        play.variables.iter().for_each(|layer| look(format!("play `{}`", play.name), layer));
    }
    let inventory = &input.inventory;
    if let Some(known) = inventory.hosts.get(host) {
        look(format!("host `{host}`"), &known.level.variables);
        for name in &known.groups {
            if let Some(group) = inventory.groups.get(name) {
                look(format!("group `{name}`"), &group.level.variables);
            }
        }
    }
    look("all hosts".into(), &inventory.all.variables);
    for play in &plays {
        each(&play.tasks, &mut |task| task.role_defaults.iter().rev().for_each(|layer| look("defaults of a role".into(), layer)));
    }
    // Every task of a block sees the same ones.
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|one| seen.insert(one.place.clone()));
    found
}

fn each(tasks: &[std::sync::Arc<Task>], visit: &mut dyn FnMut(&Task)) {
    for task in tasks {
        visit(task);
        if let Body::Block { tasks, rescue, always } = &task.body {
            for part in [tasks, rescue, always] {
                each(part, visit);
            }
        }
    }
}

fn text_of(node: &Node) -> String {
    match node.text() {
        Some(text) => text.to_owned(),
        None => crate::template::value_of(node).to_string(),
    }
}
