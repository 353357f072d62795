//! `script`: a script of the controller, run on the host.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::command::Run;
use crate::module::{Answer, Module, OneOrMany, Path, Question, Surroundings, Touches, Verdict, Wanted, WantedKind};
use crate::sh;
use crate::shell::{Script as Text, quoted, split_words};

/// Run a script of the controller on the host. No file of it stays there.
///
/// Its `#!` line says which program of the host reads it; without one, `sh` does. It counts as a change at every run, unless you
/// say when it is needed. Up to 512 KiB of text.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// The script, relative to the playbook or to the role's `files/`, and behind it its arguments.
    #[serde(alias = "src")]
    cmd: String,
    /// The program of the host that reads it, in place of the one in its first line, such as `/usr/bin/python3`.
    executable: Option<String>,
    /// Folder to run it in, on the host.
    chdir: Option<Path>,
    /// Nothing is done when this path is there.
    creates: Option<Path>,
    /// Nothing is done when this path is not there.
    removes: Option<Path>,
    /// Shell command that is asked first: nothing is done when it ends with 0.
    unless: Option<String>,
    /// Shell command that is asked first: nothing is done unless it ends with 0.
    onlyif: Option<String>,
    /// Files whose content tells whether something was changed; they are hashed before and after.
    #[serde(default)]
    changes: OneOrMany,
    /// It is meant to run and to count as a change every time.
    #[serde(default)]
    always: bool,
    /// Shell command that undoes it, for a rollback.
    undo: Option<String>,
    /// Exit statuses that mean success.
    #[serde(default)]
    expect: Vec<i32>,
}

const LIMIT_BYTES: usize = 512 << 10;

impl Module for Script {
    const NAME: &'static str = "script";
    const MAIN: Option<&'static str> = Some("cmd");
    const RUNS_USER_TEXT: bool = true;

    fn check(&self) -> Result<()> {
        let words = self.words()?;
        if words.first().is_none_or(String::is_empty) {
            bail!("which script? | write `script = \"tidy.sh --all\"`");
        }
        self.run("").check()
    }

    fn wants(&self) -> Vec<Wanted> {
        let file = self.words().ok().and_then(|words| words.into_iter().next());
        file.map(|path| Wanted { path, kind: WantedKind::Copy }).into_iter().collect()
    }

    fn touches(&self, _: &Surroundings) -> Touches {
        Touches::Command(self.cmd.clone())
    }

    fn probe(&self, around: &Surroundings) -> Question {
        self.run("").probe(around, || sh!(":"))
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let words = self.words()?;
        let path = words.first().cloned().unwrap_or_default();
        let content = around.content(&path)?;
        let Some(bytes) = content.short(LIMIT_BYTES) else {
            bail!("`{path}` is larger than {} KiB; copy it with `copy`, and run it with `command`", LIMIT_BYTES >> 10);
        };
        let Ok(text) = std::str::from_utf8(bytes) else {
            bail!("`{path}` is no text, so it is no script; copy it with `copy`, and run it with `command`");
        };
        let first = text.strip_prefix("#!").and_then(|rest| rest.lines().next()).map(str::trim).filter(|line| !line.is_empty());
        let reader: Vec<String> = match &self.executable {
            Some(program) => vec![quoted(program)],
            None => first.unwrap_or("sh").split_whitespace().map(quoted).collect(),
        };
        let arguments: Vec<String> = words[1..].iter().map(|word| quoted(word)).collect();
        // It is read from descriptor 3, so that its own stdin is empty.
        let command = format!("exec {} /dev/fd/3 {} 3<&0 </dev/null", reader.join(" "), arguments.join(" "));
        self.run(text).compare(around, answer, || Text::raw(command))
    }
}

impl Script {
    fn words(&self) -> Result<Vec<String>> {
        split_words(&self.cmd).map_err(|reason| anyhow::anyhow!("the line cannot be read: {reason}"))
    }

    /// The same as a command line, with the script on its stdin.
    fn run(&self, text: &str) -> Run {
        Run {
            cmd: Some(self.cmd.clone()),
            chdir: self.chdir.clone(),
            creates: self.creates.clone(),
            removes: self.removes.clone(),
            unless: self.unless.clone(),
            onlyif: self.onlyif.clone(),
            changes: self.changes.clone(),
            stdin: Some(text.to_owned()),
            always: self.always,
            undo: self.undo.clone(),
            expect: self.expect.clone(),
            ..Run::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Script;
    use crate::module::testing::{problems, verdict_with};

    #[test]
    fn the_first_line_says_who_reads_it() {
        let text = verdict_with::<Script>("cmd = 't.sh \"a b\" c'", &[("t.sh", b"#!/bin/sh -e\ntrue\n")], 0, "");
        assert!(text.contains("exec '/bin/sh' '-e' /dev/fd/3 'a b' 'c' 3<&0 </dev/null") && text.contains("printf %b '#!/bin/sh -e\\ntrue\\n' |"), "{text}");
        let text = verdict_with::<Script>("cmd = 't.sh'\nexecutable = '/usr/bin/python3'", &[("t.sh", b"print()\n")], 0, "");
        assert!(text.contains("exec '/usr/bin/python3' /dev/fd/3"), "{text}");
        assert!(verdict_with::<Script>("cmd = 'b'", &[("b", b"\xff")], 0, "").contains("is no text"));
        assert!(problems::<Script>("cmd = ''").contains("which script"));
    }
}
