//! `check`: playbooks and inventory validated for all hosts, and mended, without contacting any.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::input::{What, input};
use super::mend::{self, Mended};
use super::options::{Common, OutputForm};
use super::{BAD_INPUT, NO_HOST, complain, say};
use crate::diag::{Diagnostic, Level, any_error, draw};
use crate::engine::{self, Input};
use crate::module::diff::unified;
use crate::render::safe;

#[derive(Args)]
pub struct Check {
    /// Playbooks to validate. Without any, only the inventory is.
    #[arg(value_name = "PLAYBOOK")]
    playbooks: Vec<PathBuf>,
    /// Mend in the files what can be mended without doubt, and tell what is left.
    #[arg(long)]
    fix: bool,
    /// Show what is mended; without `--fix` what would be.
    #[arg(short = 'D', long)]
    diff: bool,
    #[command(flatten)]
    common: Common,
}

/// All that was read, and what is wrong with it.
struct Looked {
    input: Input,
    problems: Vec<Diagnostic>,
    plays: usize,
    hosts: usize,
}

impl Looked {
    fn look(&self) -> mend::Look<'_> {
        mend::Look { sources: &self.input.sources, problems: &self.problems }
    }
}

fn looked(common: &Common, playbooks: &[PathBuf]) -> Result<Looked> {
    let mut problems = Vec::new();
    let mut input = input(common, "check", What::Files(playbooks.to_vec()), &mut problems)?;
    let plays: usize = input.playbooks.iter().map(|playbook| playbook.plays.len()).sum();
    let prepared = if any_error(&problems) { None } else { Some(engine::prepare(&mut input, "check", &mut problems)) };
    let hosts = if plays == 0 { input.inventory.hosts.len() } else { prepared.map_or(0, |prepared| prepared.hosts.len()) };
    if !any_error(&problems) && plays > 0 && hosts == 0 {
        problems.push(Diagnostic::general("no-host", "no host matched").help("look at `hosts` in the playbook and at `-l`"));
    }
    Ok(Looked { input, problems, plays, hosts })
}

impl Check {
    pub fn run(self) -> Result<u8> {
        crate::secret::never_fetch();
        let mut found = looked(&self.common, &self.playbooks)?;
        let is_human = self.common.show.output == OutputForm::Human;
        let mut mended = Mended::default();
        if found.problems.iter().any(|problem| problem.remedy.is_some()) {
            let after;
            (mended, after) = self.mended(&found)?;
            if let Some(after) = after.filter(|_| self.fix) {
                mended.write()?;
                found = after;
            }
        }
        if is_human {
            for file in &mended.files {
                if self.diff {
                    say(&safe(unified(&file.name, Some(&file.old), Some(&file.new)).as_bytes()));
                }
                if self.fix {
                    say(&safe(format!("{}: {} mended", file.name, file.count).as_bytes()));
                }
            }
        }
        let Looked { input, problems, plays, hosts } = &found;
        if !problems.is_empty() {
            let color = super::wants_color(self.common.show.color, super::stderr_is_terminal());
            complain(&draw(problems, &input.sources, color));
        }
        if is_human {
            self.tell(&mended);
        }
        let exit = match any_error(problems) {
            false => 0,
            true if problems.iter().filter(|one| one.level == Level::Error).all(|one| one.code == "no-host") => NO_HOST,
            true => BAD_INPUT,
        };
        if !is_human {
            say(&document(input, problems, exit, *plays, *hosts, &mended, self.fix));
        } else if exit == 0 && !self.common.show.quiet {
            let counted = |count: usize, one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
            let playbooks = counted(input.playbooks.len(), "playbook");
            say(&format!("good: {playbooks}, {}, {}", counted(*plays, "play"), counted(*hosts, "host")));
        }
        Ok(exit)
    }

    /// What can be mended, and what is left then.
    fn mended(&self, found: &Looked) -> Result<(Mended, Option<Looked>)> {
        // Passwords have been asked for, and nobody is logged in.
        let quietly = Common { ask_pass: false, password_file: None, ask_become_pass: false, become_password_file: None, passphrase_file: None, ..self.common.clone() };
        let named: Vec<PathBuf> = self.playbooks.iter().cloned().chain(self.common.inventory.iter().map(PathBuf::from)).collect();
        mend::mended(mend::project(&named), found, Looked::look, || looked(&quietly, &self.playbooks))
    }

    /// Says what `--fix` could do.
    fn tell(&self, mended: &Mended) {
        let what = |count: usize| if count == 1 { "1 place".to_owned() } else { format!("{count} places") };
        if !self.fix && mended.count() > 0 {
            complain(&format!("note: {} can be mended without doubt\n  = help: `mutate check --fix` does it, `mutate check --diff` shows how", what(mended.count())));
        }
        if mended.outside > 0 {
            complain(&format!("note: {} could be mended, but in files outside of this project, which are left alone\n  = help: run `mutate check --fix` where they belong", what(mended.outside)));
        }
    }
}

/// What was found, for programs.
fn document(input: &Input, problems: &[Diagnostic], exit: u8, plays: usize, hosts: usize, mended: &Mended, is_written: bool) -> String {
    let files: Vec<serde_json::Value> = mended.files.iter().map(|file| serde_json::json!({ "file": file.name, "places": file.count })).collect();
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
        if is_written { "mended" } else { "mendable" }: files,
    })
    .to_string()
}
