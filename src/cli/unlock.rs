//! `unlock`: who holds the lock of a host, and how to take it away from a run that will never give it back.

use anyhow::{Result, bail};
use clap::Args;

use super::adhoc::{Limits, one, text};
use super::options::Common;

const SCRIPT: &str = include_str!("unlock.sh");

/// Locks heal by themselves when their holder has died, so this is for the rest: a controller that hangs, say.
#[derive(Args)]
pub struct Unlock {
    /// Which hosts: a pattern such as `all`, `web & !canary`, `db[1-3]`.
    pattern: String,
    /// Free the lock of this run. Without it, the locks are only shown. What the run has begun there is still finished.
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// Why this is done, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    common: Common,
}

impl Unlock {
    pub fn run(mut self) -> Result<u8> {
        let wanted = self.run.unwrap_or_default();
        if !wanted.is_empty() && !super::split::is_run_id(&wanted) {
            bail!("`{}` is no run; `mutate unlock {}` shows which run holds the lock", wanted.escape_debug(), self.pattern);
        }
        super::adhoc::implied_become(&mut self.common);
        let script = format!("wanted='{wanted}'\n{SCRIPT}");
        let counts = if wanted.is_empty() { "false" } else { "'freed' in result.stdout" };
        let play = format!(
            "name = \"unlock\"\nhosts = {}\n[[task]]\nname = \"lock\"\nchanged_when = {}\n[task.shell]\nprobe = true\ncmd = {}\n",
            text(&self.pattern),
            text(counts),
            text(&script),
        );
        one(play, "unlock", Limits { reason: self.reason, ..Limits::default() }, self.common)
    }
}
