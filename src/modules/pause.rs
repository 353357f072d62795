//! `pause`: a host waits for a while.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::module::{Answer, Change, Lasting, Module, Question, Surroundings, Undo, Verdict};
use crate::sh;
use crate::shell::Pattern;

/// Wait for so long before the next task. Each host waits for itself; others are not held up. Counts as no change.
///
/// It asks nobody: a run is the same with and without a terminal. To go on when something is as it should be, `wait_for`, `uri` with `until`, or `reboot` are better than a length of time.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// How long.
    #[serde(default = "no_time")]
    seconds: Lasting,
    /// How many minutes, besides `seconds`.
    #[serde(default)]
    minutes: u32,
}

fn no_time() -> Lasting {
    Lasting(std::time::Duration::ZERO)
}

impl Pause {
    fn total(&self) -> u64 {
        // The host counts whole seconds.
        self.seconds.0.as_secs() + u64::from(self.seconds.0.subsec_nanos() > 0) + 60 * u64::from(self.minutes)
    }
}

impl Module for Pause {
    const NAME: &'static str = "pause";
    const MAIN: Option<&'static str> = Some("seconds");

    fn check(&self) -> Result<()> {
        if self.total() == 0 {
            bail!("how long? | set `seconds` or `minutes`, such as `pause = \"30s\"`");
        }
        Ok(())
    }

    fn patience_seconds(&self) -> Option<u64> {
        Some(self.total() + 15)
    }

    fn probe(&self, _: &Surroundings) -> Question {
        Question::None
    }

    fn compare(&self, _: &Surroundings, _: &Answer) -> Result<Verdict> {
        let why = "waiting changes nothing, so there is nothing to undo";
        let mut change = Change::new("", "", sh!("sleep {}", self.total()), Pattern::anything(), Undo::Impossible(why.into()));
        change.apply.group = true;
        change.effect = crate::module::Effect::Nothing;
        change.expect = None;
        Ok(Verdict::differs(change))
    }
}

#[cfg(test)]
mod tests {
    use super::Pause;
    use crate::module::testing::{problems, verdict};

    #[test]
    fn a_host_waits() {
        assert!(verdict::<Pause>("minutes = 1\nseconds = '500ms'", 0, "").contains("apply  sleep 61"));
        assert!(problems::<Pause>("").contains("how long?"));
    }
}
