//! `shell`: a command line with everything that a shell can do.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::command::Run;
use crate::module::{Answer, Module, Question, Surroundings, Touches, Verdict};
use crate::sh;
use crate::shell::Script;

/// Run a command line with the host's `sh`: pipes, variables and globs work.
///
/// Where the shell can, a pipe fails when any part of it fails. It counts as a change at every run, unless you say
/// when it is needed.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Shell(Run);

impl Module for Shell {
    const NAME: &'static str = "shell";
    const MAIN: Option<&'static str> = Some("cmd");
    const RUNS_USER_TEXT: bool = true;

    fn check(&self) -> Result<()> {
        if self.0.argv.is_some() {
            bail!("`argv` is a parameter of `command` | use `command`, or write the line in `cmd`");
        }
        if self.0.cmd.as_deref().is_none_or(|line| line.trim().is_empty()) {
            bail!("`shell` has no command to run | write `shell = \"df -h | head\"`");
        }
        self.0.check()
    }

    fn touches(&self, _: &Surroundings) -> Touches {
        self.0.touches()
    }

    fn probe(&self, around: &Surroundings) -> Question {
        self.0.probe(around, || self.script())
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        self.0.compare(around, answer, || self.script())
    }
}

impl Shell {
    fn script(&self) -> Script {
        let mut text = self.0.cmd.clone().unwrap_or_default();
        if self.0.pipefail != Some(false) {
            // Bash, zsh and ksh have it; another shell goes on without.
            text = format!("(set -o pipefail) 2>/dev/null && set -o pipefail\n{text}");
        }
        match &self.0.executable {
            Some(shell) => sh!("{} -c {}", shell, text),
            None => Script::raw(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Shell;
    use crate::module::testing::{problems, verdict};

    #[test]
    fn the_line_is_run_as_it_is() {
        let found = verdict::<Shell>("cmd = 'df | head -1'\nchdir = '/tmp'\nundo = 'true'", 0, "");
        let expected = " -> \napply  cd -- '/tmp' || exit 1\n(set -o pipefail) 2>/dev/null && set -o pipefail\ndf | head -1\nundo   cd -- '/tmp' || exit 1\ntrue";
        assert_eq!(found, expected);
    }

    #[test]
    fn a_pipe_may_count_by_its_last_part() {
        assert!(verdict::<Shell>("cmd = 'a | b'\npipefail = false", 0, "").contains("apply  a | b\n"));
        assert!(verdict::<Shell>("cmd = 'a | b'\npipefail = false\nexecutable = '/bin/bash'", 0, "").contains("apply  '/bin/bash' -c 'a | b'\n"));
    }

    #[test]
    fn an_empty_line_is_a_mistake() {
        assert_eq!(problems::<Shell>("cmd = ' '"), "`shell` has no command to run");
    }
}
