//! `check`: playbooks and inventory validated for all hosts, without contacting any.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::input::{What, input};
use super::options::Common;
use super::{BAD_INPUT, NO_HOST, complain, say};
use crate::diag::{Level, any_error, draw};
use crate::engine;

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
        let mut input = input(&self.common, "check", What::Files(self.playbooks), &mut problems)?;
        let plays: usize = input.playbooks.iter().map(|playbook| playbook.plays.len()).sum();
        let prepared = if any_error(&problems) { None } else { Some(engine::prepare(&mut input, "check", &mut problems)) };
        let color = super::wants_color(self.common.show.color, super::stderr_is_terminal());
        if !problems.is_empty() {
            complain(&draw(&problems, &input.sources, color));
        }
        if any_error(&problems) {
            let only_hosts = problems.iter().filter(|one| one.level == Level::Error).all(|one| one.code == "no-host");
            return Ok(if only_hosts { NO_HOST } else { BAD_INPUT });
        }
        let hosts = prepared.map_or(0, |prepared| prepared.hosts.len());
        if plays > 0 && hosts == 0 {
            complain("error: no host matched\n  = help: look at `hosts` in the playbook and at `-l`");
            return Ok(NO_HOST);
        }
        if !self.common.show.quiet {
            let hosts = if plays == 0 { input.inventory.hosts.len() } else { hosts };
            say(&format!("good: {} playbooks, {plays} plays, {hosts} hosts", input.playbooks.len()));
        }
        Ok(0)
    }
}
