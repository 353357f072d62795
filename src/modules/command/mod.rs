//! `command`: a program with its arguments, without a shell.

mod run;

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::module::{Answer, Module, Question, Surroundings, Touches, Verdict};
use crate::shell::{Script, split_words};

pub use run::Run;

/// Run a program without a shell: no pipes, no variables, no globs. Quotes group words.
///
/// It counts as a change at every run, unless you say when it is needed.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Command(Run);

impl Module for Command {
    const NAME: &'static str = "command";
    const MAIN: Option<&'static str> = Some("cmd");
    const RUNS_USER_TEXT: bool = true;

    fn check(&self) -> Result<()> {
        if self.0.executable.is_some() {
            bail!("`executable` is a parameter of `shell` | use `shell`, or name the program in `cmd`");
        }
        if self.0.pipefail.is_some() {
            bail!("`pipefail` is a parameter of `shell`, which has pipes");
        }
        self.0.check()?;
        let words = self.words()?;
        if words.first().is_none_or(String::is_empty) {
            bail!("`command` has no program to run");
        }
        // What stands in quotes is meant for the program.
        let bare = self.0.cmd.as_deref().unwrap_or_default().split_whitespace();
        if let Some(sign) = bare.into_iter().find(|word| ["|", "||", "&&", ">", ">>", "<", ";", "&", "2>&1"].contains(word)) {
            bail!("`{sign}` means nothing without a shell | use `shell` instead of `command`, or put it in quotes if the program wants it");
        }
        Ok(())
    }

    fn patience_seconds(&self) -> Option<u64> {
        None
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

impl Command {
    fn words(&self) -> Result<Vec<String>> {
        match (&self.0.cmd, &self.0.argv) {
            (Some(line), None) => split_words(line).map_err(|reason| anyhow::anyhow!("the command line cannot be read: {reason}")),
            (None, Some(words)) => Ok(words.clone()),
            (Some(_), Some(_)) => bail!("`command` takes `cmd` or `argv`, not both"),
            (None, None) => bail!("`command` has no program to run | write `command = \"uptime\"`"),
        }
    }

    fn script(&self) -> Script {
        // `check` has read the line before.
        Script::call(self.words().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::Command;
    use crate::module::testing::{probe, problems, verdict};

    #[test]
    fn without_a_guard_it_runs_at_every_run() {
        assert_eq!(probe::<Command>("cmd = 'uptime'"), "");
        let expected = " -> \napply  'echo' 'a b'\nundo   impossible: a command has no way back, unless the task gives it an `undo`";
        assert_eq!(verdict::<Command>("cmd = 'echo \"a b\"'", 0, ""), expected);
    }

    #[test]
    fn what_it_would_make_is_there_already() {
        assert_eq!(probe::<Command>("cmd = 'x'\ncreates = '/made'"), "[ -e '/made' ] || [ -L '/made' ] && echo creates yes || echo creates no");
        assert_eq!(verdict::<Command>("cmd = 'x'\ncreates = '/made'", 0, "creates yes\n"), "in place: not needed: `/made` is there");
        assert!(verdict::<Command>("cmd = 'x'\ncreates = '/made'", 0, "creates no\n").starts_with(" -> \napply  'x'"));
    }

    #[test]
    fn a_question_never_counts_as_a_change() {
        assert_eq!(probe::<Command>("cmd = 'uptime'\nprobe = true"), "'uptime'");
        assert_eq!(verdict::<Command>("cmd = 'uptime'\nprobe = true", 0, "up"), "in place");
        assert_eq!(verdict::<Command>("cmd = 'false'\nprobe = true", 1, ""), "error: it ended with status 1");
        assert_eq!(verdict::<Command>("cmd = 'false'\nprobe = true\nexpect = [0, 1]", 1, ""), "in place");
    }

    #[test]
    fn signs_of_the_shell_are_noticed() {
        assert!(problems::<Command>("cmd = 'a | b'").contains("means nothing without a shell"));
        assert!(problems::<Command>("cmd = \"a 'b\"").contains("never closed"));
        assert!(problems::<Command>("").contains("no program"));
    }
}
