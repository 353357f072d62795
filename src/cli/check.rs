//! `check`: playbooks and inventory validated for all hosts, without contacting any.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::input::{What, input};
use super::options::{Common, OutputForm};
use super::{BAD_INPUT, NO_HOST, complain, say};
use crate::diag::{Diagnostic, Level, any_error, draw};
use crate::engine::{self, Input};

#[derive(Args)]
pub struct Check {
    /// Playbooks to validate. Without any, only the inventory is.
    #[arg(value_name = "PLAYBOOK")]
    playbooks: Vec<PathBuf>,
    #[command(flatten)]
    common: Common,
}

impl Check {
    pub fn run(self) -> Result<u8> {
        let mut problems = Vec::new();
        crate::secret::never_fetch();
        let mut input = input(&self.common, "check", What::Files(self.playbooks), &mut problems)?;
        let plays: usize = input.playbooks.iter().map(|playbook| playbook.plays.len()).sum();
        let prepared = if any_error(&problems) { None } else { Some(engine::prepare(&mut input, "check", &mut problems)) };
        let hosts = if plays == 0 { input.inventory.hosts.len() } else { prepared.map_or(0, |prepared| prepared.hosts.len()) };
        let is_bad = any_error(&problems);
        if !is_bad && plays > 0 && hosts == 0 {
            problems.push(Diagnostic::general("no-host", "no host matched").help("look at `hosts` in the playbook and at `-l`"));
        }
        if !problems.is_empty() {
            let color = super::wants_color(self.common.show.color, super::stderr_is_terminal());
            complain(&draw(&problems, &input.sources, color));
        }
        let exit = match any_error(&problems) {
            false => 0,
            true if problems.iter().filter(|one| one.level == Level::Error).all(|one| one.code == "no-host") => NO_HOST,
            true => BAD_INPUT,
        };
        if self.common.show.output != OutputForm::Human {
            say(&document(&input, &problems, exit, plays, hosts));
        } else if exit == 0 && !self.common.show.quiet {
            let counted = |count: usize, one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
            let playbooks = counted(input.playbooks.len(), "playbook");
            say(&format!("good: {playbooks}, {}, {}", counted(plays, "play"), counted(hosts, "host")));
        }
        Ok(exit)
    }
}

/// What was found, for programs.
fn document(input: &Input, problems: &[Diagnostic], exit: u8, plays: usize, hosts: usize) -> String {
    let problems: Vec<serde_json::Value> = problems
        .iter()
        .map(|one| {
            let place = one.span.as_ref().map(|span| (input.sources.get(span.source).name.clone(), input.sources.line(span), input.sources.column(span)));
            serde_json::json!({
                "level": if one.level == Level::Error { "error" } else { "warning" },
                "code": one.code,
                "message": one.message,
                "help": one.help,
                "file": place.as_ref().map(|place| &place.0),
                "line": place.as_ref().map(|place| place.1),
                "column": place.as_ref().map(|place| place.2),
            })
        })
        .collect();
    serde_json::json!({
        "schema": 1, "command": "check", "exit": exit, "playbooks": input.playbooks.len(), "plays": plays, "hosts": hosts, "problems": problems,
    })
    .to_string()
}
