//! `patch`: upgrades of packages, host after host, by the playbook that is shipped for it.

use anyhow::Result;
use clap::Args;

use super::adhoc::text;
use super::input::{What, input};
use super::options::Common;
use super::reports::Reporting;
use super::runner::Note;
use super::split::Split;

/// The playbook, which can be used, and changed, by itself.
const PLAYBOOK: &str = include_str!("../../playbooks/patch.toml");

#[derive(Args)]
pub struct Patch {
    /// Which hosts: a pattern such as `web & !canary`.
    pattern: String,
    /// Only upgrades that are for security (apt, dnf, zypper).
    #[arg(long)]
    security: bool,
    /// How many hosts at a time, such as `2` or `10%`.
    #[arg(long, value_name = "N", default_value = "1")]
    serial: String,
    /// Shell command that must succeed on each host before the next one is patched. May be given several times.
    #[arg(long, value_name = "COMMAND")]
    health: Vec<String>,
    /// Install the versions from before when a host is not well afterwards.
    #[arg(long)]
    rollback: bool,
    /// Start no host again, whatever it needs.
    #[arg(long)]
    no_reboot: bool,
    /// Restart no service.
    #[arg(long)]
    no_restart: bool,
    /// Change nothing; say what would change.
    #[arg(short = 'C', long)]
    check: bool,
    /// Show the packages with their versions.
    #[arg(short = 'D', long)]
    diff: bool,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    reporting: Reporting,
    #[command(flatten)]
    split: Split,
}

impl Patch {
    pub fn run(self) -> Result<u8> {
        let only = if self.security { "security" } else { "all" };
        let serial = if self.serial.bytes().all(|byte| byte.is_ascii_digit()) { self.serial.clone() } else { text(&self.serial) };
        let mut play = PLAYBOOK
            .replace("hosts = \"all\"\n", &format!("hosts = {}\n", text(&super::adhoc::escaped(&self.pattern))))
            .replace("serial = 1\n", &format!("serial = {serial}\n"))
            .replace("vars = { only = \"all\", reboot = true, restart = true }", &format!("vars = {{ only = \"{only}\", reboot = {}, restart = {} }}", !self.no_reboot, !self.no_restart));
        if self.rollback {
            play = play.replace("on_failure = \"stop\"", "on_failure = \"rollback\"");
        }
        for command in &self.health {
            play.push_str(&format!("\n[[health]]\nname = {}\nshell = {}\n", text(&super::adhoc::escaped(command)), text(&super::adhoc::escaped(command))));
        }
        let mut problems = Vec::new();
        let mut input = input(&self.common, "patch", What::Text(play), &mut problems)?;
        input.options.check = self.check;
        self.split.tell(&mut input);
        input.options.holds = super::holds::Holds::read()?.for_a_run();
        let note = (!self.check).then(|| Note { reason: self.reason, ..Note::default() });
        self.reporting.run(input, problems, &self.common.show, self.diff, note, &[format!("patch {}", self.pattern).into()])
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_playbook_has_what_the_flags_change() {
        for part in ["hosts = \"all\"\n", "serial = 1\n", "vars = { only = \"all\", reboot = true, restart = true }", "on_failure = \"stop\""] {
            assert!(super::PLAYBOOK.contains(part), "{part}");
        }
    }
}
