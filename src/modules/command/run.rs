//! What `command` and `shell` have in common: guards, directory, stdin, and what counts as a change.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::module::{Action, Answer, Change, Effect, OneOrMany, Path, Question, Report, Surroundings, Touches, Undo, Verdict};
use crate::sh;
use crate::shell::{Pattern, Script, printf_argument};

/// Parameters of `command` and `shell`.
#[derive(Deserialize, JsonSchema, Default)]
pub struct Run {
    /// The command line.
    #[serde(alias = "command", alias = "line")]
    pub cmd: Option<String>,
    /// `command` only: the program and its arguments as a list, in place of `cmd`.
    pub argv: Option<Vec<String>>,
    /// `shell` only: the shell to run it with, such as `/bin/bash`.
    pub executable: Option<String>,
    /// `shell` only: `false` when a pipe is to count by its last part alone; otherwise it fails when any part fails, where the shell can.
    pub pipefail: Option<bool>,
    /// Folder to run it in.
    pub chdir: Option<Path>,
    /// Nothing is done when this path is there.
    pub creates: Option<Path>,
    /// Nothing is done when this path is not there.
    pub removes: Option<Path>,
    /// Shell command that is asked first: nothing is done when it ends with 0.
    pub unless: Option<String>,
    /// Shell command that is asked first: nothing is done unless it ends with 0.
    pub onlyif: Option<String>,
    /// Files whose content tells whether something was changed; they are hashed before and after.
    #[serde(default)]
    pub changes: OneOrMany,
    /// Text for its standard input, which is empty otherwise.
    pub stdin: Option<String>,
    /// A question: it runs in check mode too, and never counts as a change.
    #[serde(default)]
    pub probe: bool,
    /// It is meant to run and to count as a change every time.
    #[serde(default)]
    pub always: bool,
    /// Shell command that undoes it, for a rollback.
    pub undo: Option<String>,
    /// Exit statuses that mean success.
    #[serde(default)]
    pub expect: Vec<i32>,
}

impl Run {
    pub fn check(&self) -> Result<()> {
        if self.probe && (self.creates.is_some() || self.removes.is_some() || self.unless.is_some() || self.onlyif.is_some() || !self.changes.0.is_empty() || self.undo.is_some()) {
            bail!("a question (`probe = true`) runs every time and changes nothing, so it has no guards and no `undo`");
        }
        if let Some(status) = self.expect.iter().find(|status| !(0..=255).contains(*status)) {
            bail!("`expect`: {status} is no exit status, which is 0 to 255");
        }
        if self.always && (self.probe || self.creates.is_some() || self.removes.is_some() || self.unless.is_some() || self.onlyif.is_some()) {
            bail!("`always = true` says that it runs every time, but another parameter says when it does not");
        }
        if let Some(path) = self.changes.0.iter().find(|path| !path.starts_with('/') && !path.starts_with("~/")) {
            bail!("`changes`: `{path}` is no path on a host | write the path from `/`");
        }
        Ok(())
    }

    pub fn touches(&self) -> Touches {
        let words = self.argv.as_ref().map(|words| words.join(" "));
        Touches::Command(self.cmd.clone().or(words).unwrap_or_default())
    }

    pub fn probe(&self, around: &Surroundings, script: impl FnOnce() -> Script) -> Question {
        if self.probe {
            return Question::Run(self.whole(around, script()));
        }
        let mut lines = Script::default();
        if let Some(path) = &self.creates {
            let path = around.absolute(path);
            lines = lines.then(&sh!("[ -e {} ] || [ -L {} ] && echo creates yes || echo creates no", path, path));
        }
        if let Some(path) = &self.removes {
            let path = around.absolute(path);
            lines = lines.then(&sh!("[ -e {} ] || [ -L {} ] && echo removes yes || echo removes no", path, path));
        }
        for (word, text) in [("onlyif", &self.onlyif), ("unless", &self.unless)] {
            if let Some(text) = text {
                let inner = self.within(around, Script::raw(text.as_bytes()), 125);
                lines = lines.then(&sh!("core_apart {}; case $? in 0) echo {} yes ;; 12[67]) echo {} missing ;; 125) echo {} nofolder ;; *) echo {} no ;; esac", inner.as_bytes().to_vec(), Script::raw(word), Script::raw(word), Script::raw(word), Script::raw(word)));
            }
        }
        for path in &self.changes.0 {
            let path = match path.strip_prefix('~') {
                Some(rest) => format!("{}{rest}", around.home),
                None => path.clone(),
            };
            lines = lines.then(&sh!("[ -f {} ] && sha256sum <{} || echo absent", path, path));
        }
        if lines.is_empty() { Question::None } else { Question::Ask(lines) }
    }

    pub fn compare(&self, around: &Surroundings, answer: &Answer, script: impl FnOnce() -> Script) -> Result<Verdict> {
        let good = if self.expect.is_empty() { vec![0] } else { self.expect.clone() };
        if self.probe {
            if !good.contains(&answer.status) {
                bail!("it ended with status {}", answer.status);
            }
            return Ok(Verdict::in_place());
        }
        let text = answer.text()?;
        for word in ["onlyif", "unless"] {
            if Answer::field(text, word) == Some("missing") {
                bail!("`{word}` names a program that this host does not have, or may not execute");
            }
            if let (Some("nofolder"), Some(folder)) = (Answer::field(text, word), &self.chdir) {
                bail!("the folder `{}` cannot be entered, so `{word}` cannot be asked there", folder.as_str());
            }
        }
        if let Some(reason) = self.not_needed(text) {
            return Ok(Verdict::InPlace(Report::message(format!("not needed: {reason}"))));
        }
        let undo = match &self.undo {
            Some(text) => Undo::Run(self.within(around, Script::raw(text.as_bytes()), 1)),
            None => Undo::Impossible("a command has no way back, unless the task gives it an `undo`".into()),
        };
        let mut change = Change::new("", "", Script::default(), Pattern::anything(), undo);
        change.apply = Action { script: self.whole(around, script()), group: true, by_user: true, good, upload: None };
        change.expect = None;
        change.effect = if self.changes.0.is_empty() { Effect::Change } else { Effect::ChangeIfAnswerDiffers };
        Ok(Verdict::differs(change))
    }

    fn not_needed(&self, text: &str) -> Option<String> {
        let says = |word: &str, answer: &str| Answer::field(text, word) == Some(answer);
        match (&self.creates, &self.removes) {
            (Some(path), _) if says("creates", "yes") => Some(format!("`{}` is there", path.as_str())),
            (_, Some(path)) if says("removes", "no") => Some(format!("`{}` is not there", path.as_str())),
            _ if says("onlyif", "no") => Some("`onlyif` says no".into()),
            _ if says("unless", "yes") => Some("`unless` says yes".into()),
            _ => None,
        }
    }

    /// A script in the task's folder, and the status for there being none.
    fn within(&self, around: &Surroundings, script: Script, lacking: u32) -> Script {
        match &self.chdir {
            Some(folder) => sh!("cd -- {} || exit {}\n{}", around.absolute(folder), lacking, script),
            None => script,
        }
    }

    /// A script in the task's folder, with its stdin.
    fn whole(&self, around: &Surroundings, script: Script) -> Script {
        let script = match &self.stdin {
            Some(text) => sh!("printf %b {} | {\n{}\n}", printf_argument(text.as_bytes()), script),
            None => script,
        };
        self.within(around, script, 1)
    }
}
