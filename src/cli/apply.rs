//! `apply` and `plan`: playbooks on their hosts.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::input::{What, input};
use super::options::Common;
use super::reports::Reporting;
use super::runner::{self, Note};
use super::saved;
use super::split::Split;
use super::stepwise::Stepwise;
use crate::diag::Diagnostic;
use crate::engine::{Done, Input};
use crate::playbook::{Body, Task};

/// Which tasks of the playbooks to run.
#[derive(Args, Clone, Default)]
pub struct Choice {
    /// Playbooks, run in this order.
    #[arg(required = true, value_name = "PLAYBOOK")]
    pub playbooks: Vec<PathBuf>,
    /// Only tasks with one of these tags.
    #[arg(short = 't', long, value_name = "TAGS", value_delimiter = ',')]
    pub tags: Vec<String>,
    /// Not the tasks with one of these tags.
    #[arg(long, value_name = "TAGS", value_delimiter = ',')]
    pub skip_tags: Vec<String>,
    /// Begin with the task of this name.
    #[arg(long, value_name = "NAME")]
    pub start_at_task: Option<String>,
    /// Longest time for a step, in seconds, where the playbook says nothing.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: Option<u64>,
    /// Show what changes in files.
    #[arg(short = 'D', long)]
    pub diff: bool,
    /// End with 2 when something would change.
    #[arg(long)]
    pub detailed_exitcode: bool,
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub reporting: Reporting,
    #[command(flatten)]
    pub split: Split,
}

#[derive(Args)]
pub struct Apply {
    #[command(flatten)]
    choice: Choice,
    /// Change nothing; say what would change.
    #[arg(short = 'C', long)]
    check: bool,
    /// Show each change before it is made, and ask whether to make it.
    #[arg(long, conflicts_with_all = ["check", "yes", "cron"])]
    step: bool,
    /// Ask nothing.
    #[arg(short = 'y', long)]
    yes: bool,
    /// Why this run is made, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

#[derive(Args)]
pub struct Plan {
    #[command(flatten)]
    choice: Choice,
    /// Save the plan, so that `mutate apply FILE` does exactly this, and only where nothing has changed until then.
    #[arg(short = 'o', long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Apply {
    pub fn run(self) -> Result<u8> {
        // There is no question yet that `--yes` would answer; it is accepted so that scripts may say it.
        let _nothing_to_ask = self.yes;
        let note = (!self.check).then(|| Note { reason: self.reason, ..Note::default() });
        if let [path] = self.choice.playbooks.as_slice()
            && saved::Plan::is_one(path)
        {
            let plan = saved::Plan::read(path)?;
            if self.step {
                anyhow::bail!("`{}` is a saved plan, which is applied as it was reviewed; `--step` is for playbooks", path.display());
            }
            return match note {
                Some(note) => plan.apply(path, &self.choice.common, self.choice.diff, note, self.choice.reporting, self.choice.split),
                None => anyhow::bail!("`{}` is a saved plan, which is checked where it is applied; `mutate show` shows it", path.display()),
            };
        }
        if note.is_some() {
            super::resolve::remind();
        }
        let consent = self.step.then(|| Stepwise::new(self.choice.common.show.color));
        run(self.choice, "apply", note, Done::default(), consent)
    }

    /// Continues an earlier run: without the steps it has made, and without these hosts.
    pub fn again(mut self, words: &[String], done: Done, without: Vec<String>) -> Result<u8> {
        // What is left of a run is one run, whatever parts it was made in. A part without a name was a run of its own.
        if self.choice.split.run_id.is_some() {
            self.choice.split = Split::default();
        }
        self.choice.common.exclude.extend(without);
        let note = Note { reason: format!("continues {}", done.run), undoes: None, arguments: Some(words.to_vec()) };
        let consent = self.step.then(|| Stepwise::new(self.choice.common.show.color));
        run(self.choice, "apply", Some(note), done, consent)
    }
}

impl Plan {
    pub fn run(self) -> Result<u8> {
        let choice = Choice { diff: true, ..self.choice };
        let Some(out) = self.out else { return run(choice, "plan", None, Done::default(), None) };
        choice.reporting.refuse("`-o`")?;
        let (gathered, listener) = saved::Gathered::listener();
        let (mut input, problems, common, _) = read(choice, "plan")?;
        (input.options.check, input.options.pins) = (true, true);
        input.options.holds = super::holds::Holds::read()?.for_a_run();
        let who = input.who.clone();
        let files = runner::files_of(&input);
        let exit = runner::run_heard(input, problems, &common.show, true, None, Some(listener))?;
        if ![super::BAD_INPUT, super::NO_HOST, 130].contains(&exit) {
            let gathered = std::mem::take(&mut *gathered.lock().expect("nothing panics while it holds this lock"));
            gathered.save(&out, &who, files)?;
        }
        Ok(exit)
    }
}

/// Without a note for the journal it is a check.
fn run(choice: Choice, command: &str, note: Option<Note>, done: Done, consent: Option<Stepwise>) -> Result<u8> {
    let (playbooks, reporting) = (choice.playbooks.clone(), choice.reporting.clone());
    let (mut input, problems, mut common, diff) = read(choice, command)?;
    input.options.check = note.is_none();
    input.options.done = done;
    if let Some(consent) = consent {
        common.show.is_asked = true;
        input.consent = Some(std::sync::Arc::new(consent));
    }
    // A task that acts in checks, too, is remembered like any other.
    let note = note.or_else(|| acts_in_checks(&input).then(Note::default));
    input.options.holds = super::holds::Holds::read()?.for_a_run();
    reporting.run(input, problems, &common.show, diff, note, &playbooks)
}

/// Whether a task says `check_mode = false`.
fn acts_in_checks(input: &Input) -> bool {
    fn any(tasks: &[std::sync::Arc<Task>]) -> bool {
        tasks.iter().any(|task| {
            task.defaults.check_mode == Some(false)
                || matches!(&task.body, Body::Block { tasks, rescue, always } if [tasks, rescue, always].into_iter().any(|part| any(part)))
        })
    }
    input.playbooks.iter().flat_map(|playbook| &playbook.plays).any(|play| play.defaults.check_mode == Some(false) || any(&play.tasks) || any(&play.handlers))
}

/// Everything that a run is made from, with what is wrong with it, how to show it, and whether with diffs.
pub fn read(choice: Choice, command: &str) -> Result<(Input, Vec<Diagnostic>, Common, bool)> {
    if choice.reporting.cron && (choice.common.ask_pass || choice.common.ask_become_pass) {
        anyhow::bail!("`--cron` asks nobody, so `-k` and `-K` cannot be answered; name a file with `--password-file` or `--become-password-file`");
    }
    let mut problems = Vec::new();
    let mut input = input(&choice.common, command, What::Files(choice.playbooks), &mut problems)?;
    choice.split.tell(&mut input);
    input.options.tags = choice.tags;
    input.options.skip_tags = choice.skip_tags;
    input.options.start_at_task = choice.start_at_task;
    input.options.step_limit = choice.timeout.map(std::time::Duration::from_secs);
    input.options.detailed_exit = choice.detailed_exitcode;
    Ok((input, problems, choice.common, choice.diff))
}
