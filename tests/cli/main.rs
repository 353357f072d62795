//! The program against the practice fleet: the built binary, real `sh`, no network but loopback.

#[path = "../support/fleet.rs"]
mod fleet;

mod adhoc;
mod adopt;
mod canary;
mod config;
mod delegated;
mod drift;
mod faults;
mod fetched;
mod flights;
mod guards;
mod kept;
mod language;
mod logins;
mod look;
mod meetings;
mod mended;
mod outcomes;
mod report;
mod reports;
mod rollback;
mod rollouts;
mod saved;
mod secrets;
mod shards;
mod shared;
mod stepwise;
mod sweeps;
mod taken_back;
mod unmanaged;
mod workshop;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use fleet::{Faults, Fleet};
use serde_json::Value;

/// A fleet of two hosts that behaves well.
fn two() -> Fleet {
    Fleet::start(&["alpha", "beta"], &Faults::default())
}

/// A fleet of one host that behaves well.
fn one() -> Fleet {
    Fleet::start(&["alpha"], &Faults::default())
}

/// Where the program is: the one that was built for the tests, unless `MUTATE_PROGRAM` names another.
fn program() -> std::path::PathBuf {
    std::env::var_os("MUTATE_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_mutate").into(), Into::into)
}

/// The program, with a home folder in which nothing of the user's is found.
fn mutate(fleet: &Fleet, words: &[&str]) -> Command {
    let mut command = Command::new(program());
    let home = fleet.folder.path().join("controller");
    std::fs::create_dir_all(&home).expect("a home for the controller");
    let (first, rest) = words.split_first().expect("a subcommand");
    command.arg(first).arg("-i").arg(&fleet.inventory).args(rest);
    command.env_clear().env("HOME", home).env("PATH", "/usr/local/bin:/usr/bin:/bin").stdin(Stdio::null());
    command
}

/// The program without an inventory, with the same home folder: what it says, and how it ends.
fn alone(fleet: &Fleet, words: &[&str]) -> (i32, String) {
    let output = Command::new(program()).args(words).env_clear().env("HOME", fleet.folder.path().join("controller")).output().expect("the program runs");
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

/// What a run came to.
struct Ran {
    exit: i32,
    document: Value,
    stderr: String,
}

impl Ran {
    /// Outcomes of a host's steps, in order.
    fn outcomes(&self, host: &str) -> Vec<&str> {
        let steps = self.document["hosts"][host]["steps"].as_array().expect("steps");
        steps.iter().map(|step| step["outcome"].as_str().expect("an outcome")).collect()
    }

    fn step<'a>(&'a self, host: &str, task: &str) -> &'a Value {
        let steps = self.document["hosts"][host]["steps"].as_array().expect("steps");
        steps.iter().find(|step| step["task"] == task).unwrap_or_else(|| panic!("no step `{task}` on {host}: {}", self.document))
    }
}

/// Runs a playbook and reads its JSON.
fn apply(fleet: &Fleet, playbook: &str, words: &[&str]) -> Ran {
    let path = fleet.write("play.toml", playbook);
    apply_file(fleet, &path, words)
}

fn apply_file(fleet: &Fleet, path: &Path, words: &[&str]) -> Ran {
    let path = path.display().to_string();
    let mut all = vec!["apply", &path, "--output", "json"];
    all.extend_from_slice(words);
    read(mutate(fleet, &all).output().expect("the program runs"))
}

fn read(output: Output) -> Ran {
    let stdout = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let document = if stdout.is_empty() { Value::Null } else { serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}")) };
    Ran { exit: output.status.code().unwrap_or(-1), document, stderr }
}

/// Every file below a folder with its content, so that two states can be compared.
fn tree(folder: &Path) -> Vec<(String, String)> {
    use std::os::unix::fs::MetadataExt as _;
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(here) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&here) else { continue };
        for entry in entries.flatten() {
            let meta = entry.path().symlink_metadata().expect("metadata");
            let content = if meta.is_file() { std::fs::read(entry.path()).unwrap_or_default() } else { Vec::new() };
            if meta.is_dir() {
                open.push(entry.path());
            }
            let state = format!("{:o} {} {}.{} {}", meta.mode(), meta.len(), meta.ctime(), meta.ctime_nsec(), String::from_utf8_lossy(&content));
            found.push((entry.path().display().to_string(), state));
        }
    }
    found.sort();
    found
}
