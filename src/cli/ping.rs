//! `ping` and `facts`: can I reach it, and what is it.

use anyhow::Result;
use clap::Args;

use super::input::{What, input};
use super::options::Common;
use super::{BAD_INPUT, complain, runner};
use crate::engine;

/// Facts that fill pages.
const LONG: [&str; 3] = ["packages", "services", "env"];

#[derive(Args)]
pub struct Ping {
    /// Which hosts: a pattern such as `all`, `web & !canary`, `db[1-3]`.
    #[arg(default_value = "all")]
    pattern: String,
    /// Tell every step on the way to a host, and at which one it fails.
    #[arg(long)]
    why: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
pub struct Facts {
    /// Which hosts: a pattern such as `all`, `web & !canary`, `db[1-3]`.
    #[arg(default_value = "all")]
    pattern: String,
    /// Only this fact, such as `os`, `memory_mb` or `packages`. Without it, all but the long ones: `packages`, `services`, `env`.
    #[arg(long, value_name = "NAME")]
    fact: Vec<String>,
    #[command(flatten)]
    common: Common,
}

impl Ping {
    pub fn run(self) -> Result<u8> {
        if self.why {
            return self.tell_why();
        }
        let text = format!("name = \"ping\"\nhosts = {}\n[[task]]\nname = \"ping\"\nping = {{}}\n", quoted(&self.pattern));
        one(&self.common, "ping", text)
    }
}

impl Ping {
    fn tell_why(mut self) -> Result<u8> {
        let mut problems = Vec::new();
        let mut input = input(&self.common, "ping", What::Text(format!("hosts = {}\n[[task]]\nping = {{}}\n", quoted(&self.pattern))), &mut problems)?;
        let run = runner::new_run_id();
        let prepared = match runner::prepared(&mut input, &run, problems, &self.common.show) {
            Ok(prepared) => prepared,
            Err(exit) => return Ok(exit),
        };
        super::passphrases::ask(&input, prepared.hosts.values())?;
        self.common.show.tells_why = true;
        let (exit, ()) = runner::watched(Some(&self.common.show), false, None, None, |events, stop| async move {
            (engine::why(input, prepared.hosts, run, events, stop).await, ())
        })?;
        Ok(exit)
    }
}

impl Facts {
    pub fn run(self) -> Result<u8> {
        let mut text = format!("name = \"facts\"\nhosts = {}\n", quoted(&self.pattern));
        let all: Vec<String> = engine::COLLECTORS.iter().filter(|name| !LONG.contains(name)).map(|name| (*name).to_owned()).collect();
        let chosen = if self.fact.is_empty() { &all } else { &self.fact };
        for fact in chosen {
            let fact = fact.strip_prefix("facts.").unwrap_or(fact);
            let collector = fact.split(['.', '[']).next().unwrap_or(fact);
            if !engine::COLLECTORS.contains(&collector) {
                complain(&format!("error: there is no fact `{collector}`\n  = help: the facts are {}", engine::COLLECTORS.join(", ")));
                return Ok(BAD_INPUT);
            }
            let name = format!("facts.{fact}");
            text.push_str(&format!("[[task]]\nname = {}\ndebug = {{ var = {} }}\n", quoted(&name), quoted(&name)));
        }
        one(&self.common, "facts", text)
    }
}

fn one(common: &Common, command: &str, text: String) -> Result<u8> {
    let mut problems = Vec::new();
    let input = input(common, command, What::Text(text), &mut problems)?;
    runner::run(input, problems, &common.show, false, None)
}

/// A text as a TOML string.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}
