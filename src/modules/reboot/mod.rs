//! `reboot`: the host is started again, and the run goes on when it is back.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::account::Lines;
use crate::module::{Answer, Change, Lasting, Module, Question, Reboot as Wait, Surroundings, Undo, Verdict};
use crate::remote::Library;
use crate::sh;
use crate::shell::Pattern;

static LOOK: Library = Library { name: "reboot", text: include_str!("look.sh") };

/// Start the host again, and wait until it is back.
///
/// It is started only where it says that it needs it: by `/run/reboot-required`, `needs-restarting -r`, `zypper needs-rebooting`, or
/// because the modules of the running kernel are gone. The run goes on over a new connection when the host tells another
/// boot id, and systemd, where there is one, has started everything. There is nothing to undo.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reboot {
    /// `false`: start it again in any case, such as from a handler.
    #[serde(default = "yes")]
    only_if_needed: bool,
    /// Longest time until it must be back.
    #[serde(default = "ten_minutes")]
    reboot_timeout: Lasting,
    /// Time to wait before it goes down.
    #[serde(default = "no_time")]
    pre_reboot_delay: Lasting,
    /// Time to wait after it has come back.
    #[serde(default = "no_time")]
    post_reboot_delay: Lasting,
    /// Shell command that must succeed on the host before it counts as back. It is tried until the time is over.
    test_command: Option<String>,
    /// Shell command that starts it again. Left out: `systemctl reboot`, or `reboot` where there is no systemd.
    reboot_command: Option<String>,
    /// What users who are logged in are told (`wall`).
    msg: Option<String>,
}

fn yes() -> bool {
    true
}

fn ten_minutes() -> Lasting {
    Lasting(std::time::Duration::from_secs(600))
}

fn no_time() -> Lasting {
    Lasting(std::time::Duration::ZERO)
}

impl Module for Reboot {
    const NAME: &'static str = "reboot";
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK];

    fn check(&self) -> Result<()> {
        if self.reboot_timeout.0.is_zero() {
            bail!("`reboot_timeout` must be more than 0");
        }
        if self.reboot_command.as_deref().is_some_and(|command| command.trim().is_empty()) {
            bail!("`reboot_command` is empty");
        }
        Ok(())
    }

    fn probe(&self, _: &Surroundings) -> Question {
        Question::Ask(sh!("reboot_look"))
    }

    fn compare(&self, _: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let boot = Lines::of(answer)?.value("boot")?.to_owned();
        let why = Answer::field(answer.text()?, "needed");
        if why.is_none() && self.only_if_needed {
            return Ok(Verdict::in_place());
        }
        let usual = "if [ -d /run/systemd/system ]; then systemctl reboot; else reboot; fi";
        let command = self.reboot_command.as_deref().unwrap_or(usual);
        let mut script = sh!("reboot_go {} {}", self.pre_reboot_delay.0.as_secs() + 1, command);
        if let Some(text) = &self.msg {
            script = sh!("wall {} 2>/dev/null", text).then(&script);
        }
        let mut change = Change::new("running", why.map_or_else(|| "started again".into(), |why| format!("started again, needed {why}")), script, Pattern::anything(), Undo::Run(sh!(":")));
        // Nobody answers for a while.
        change.expect = None;
        change.reboot = Some(Wait {
            boot,
            limit: self.reboot_timeout.0 + self.pre_reboot_delay.0,
            after: self.post_reboot_delay.0,
            test: self.test_command.clone(),
        });
        Ok(Verdict::differs(change))
    }
}

#[cfg(test)]
mod tests {
    use super::Reboot;
    use crate::module::testing::verdict;

    #[test]
    fn a_host_is_started_again_where_it_needs_it() {
        assert_eq!(verdict::<Reboot>("", 0, "boot a-b\nnot\n"), "in place");
        let text = verdict::<Reboot>("", 0, "boot a-b\nneeded by linux-image \n");
        assert!(text.starts_with("running -> started again, needed by linux-image \n") && text.contains("reboot_go 1 'if [ -d"), "{text}");
        assert!(verdict::<Reboot>("only_if_needed = false\npre_reboot_delay = 5\nreboot_command = 'x'", 0, "boot a-b\nnot\n").contains("reboot_go 6 'x'"));
    }
}
