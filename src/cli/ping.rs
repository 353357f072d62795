//! `ping` and `facts`: can I reach it, and what is it.

use anyhow::Result;
use clap::Args;

use super::input::{What, input};
use super::options::Common;
use super::runner;

#[derive(Args)]
pub struct Ping {
    /// Which hosts: a pattern such as `all`, `web & !canary`, `db[1-3]`.
    #[arg(default_value = "all")]
    pattern: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
pub struct Facts {
    /// Which hosts: a pattern such as `all`, `web & !canary`, `db[1-3]`.
    #[arg(default_value = "all")]
    pattern: String,
    /// Only this fact, such as `os` or `memory_mb`.
    #[arg(long, value_name = "NAME", default_value = "os")]
    fact: Vec<String>,
    #[command(flatten)]
    common: Common,
}

impl Ping {
    pub fn run(self) -> Result<u8> {
        let text = format!("name = \"ping\"\nhosts = {}\n[[task]]\nname = \"ping\"\nping = {{}}\n", quoted(&self.pattern));
        one(&self.common, "ping", text)
    }
}

impl Facts {
    pub fn run(self) -> Result<u8> {
        let mut text = format!("name = \"facts\"\nhosts = {}\n", quoted(&self.pattern));
        for fact in &self.fact {
            let name = format!("facts.{fact}");
            text.push_str(&format!("[[task]]\nname = {}\ndebug = {{ var = {} }}\n", quoted(&name), quoted(&name)));
        }
        one(&self.common, "facts", text)
    }
}

fn one(common: &Common, command: &str, text: String) -> Result<u8> {
    let mut problems = Vec::new();
    let input = input(common, command, What::Text(text), &mut problems)?;
    Ok(runner::run(input, problems, &common.show, false)?.exit)
}

/// A text as a TOML string.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}
