//! `adopt`: a change that somebody has made on a host, as a patch of what the playbook is made from.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::input::{What, input};
use super::options::{Common, OutputForm};
use super::{complain, drift, history, journal, passphrases, runner, say, say_exactly};
use crate::engine::{self, Adopted, Edit, Findings, HostPlan, Input, Managed, ORIGINAL_BYTES, Rest};
use crate::event::{Event, Outcome};
use crate::inventory::folded;
use crate::module::{Content, diff};
use crate::render::safe;

/// Something is left that is in no patch.
const LEFT: u8 = 4;
/// The host could not be asked.
const UNREACHABLE: u8 = 5;
const INTERRUPTED: u8 = 130;

#[derive(Args)]
pub struct Adopt {
    /// Name of the host in the inventory.
    host: String,
    /// Path on the host.
    path: String,
    /// The playbook that looks after it. May be given several times. Left out: those of the newest run that changed the path there.
    #[arg(long, value_name = "FILE")]
    playbook: Vec<PathBuf>,
    /// Write the change into the files here.
    #[arg(long)]
    write: bool,
    #[command(flatten)]
    common: Common,
}

/// What is told in the end.
#[derive(Default)]
struct Told {
    exit: u8,
    /// In a sentence.
    message: String,
    is_other: bool,
    task: Value,
    adopted: Adopted,
    patch: String,
    files: Vec<String>,
    is_written: bool,
    others: Vec<String>,
}

impl Adopt {
    pub fn run(self) -> Result<u8> {
        if !self.path.starts_with('/') {
            bail!("`{}` is no path on a host; write it from `/`", self.path);
        }
        let path = crate::module::Path::fixed(&self.path).under("");
        let mut told = Told::default();
        let playbooks = if self.playbook.is_empty() { self.by_journal(&path, &mut told)? } else { self.playbook.clone() };
        let mut problems = Vec::new();
        let mut input = input(&self.common, "adopt", What::Files(playbooks.clone()), &mut problems)?;
        if !input.inventory.hosts.contains_key(&self.host) && problems.is_empty() {
            let nearest = crate::diag::Diagnostic::general("no-host", format!("the inventory has no host `{}`", self.host));
            problems.push(nearest.suggest(&self.host, input.inventory.hosts.keys().map(String::as_str)));
        }
        let everywhere = input.clone();
        let found = Findings::default();
        (input.options.check, input.options.pins, input.options.found) = (true, true, Some(found.clone()));
        input.options.limit = vec![self.host.clone()];
        let run = runner::new_run_id();
        let prepared = engine::prepare(&mut input, &run, &mut problems);
        if let Some(exit) = runner::refused(&input, &mut problems, &self.common.show) {
            return Ok(exit);
        }
        let Some(plan) = prepared.hosts.get(&self.host).cloned() else {
            complain(&format!("error: no play of {} is for {}; nothing was done\n  = help: name the playbook that is, with `--playbook FILE`", names(&playbooks), self.host));
            return Ok(super::NO_HOST);
        };
        passphrases::ask(&input, prepared.hosts.values())?;
        let mut events = Vec::new();
        let again = input.clone();
        let (exit, ()) = drift::heard(&mut events, |events, stop| async move {
            let (_, exit) = engine::execute(input, prepared, run, events, stop).await;
            (exit, ())
        })?;
        if exit == INTERRUPTED {
            return Ok(INTERRUPTED);
        }
        let ended = events.iter().find_map(|event| if let Event::HostEnd(end) = event { Some(&**end) } else { None });
        if let Some(end) = ended.filter(|end| end.outcome == Outcome::Unreachable) {
            (told.exit, told.message) = (UNREACHABLE, format!("{}: {}", self.host, end.message));
            return self.say(&told, &path, &playbooks);
        }
        let failed = events.iter().find_map(|event| match event {
            Event::Step(step) if step.outcome == Outcome::Failed && !step.forgiven => Some(format!("the check ended at `{}` ({}:{}): {}", step.task, step.file, step.line, step.message)),
            _ => None,
        });
        let all: Vec<Managed> = found.all().into_iter().filter(|managed| managed.host == self.host && managed.outcome != Outcome::Skipped && managed.is_about(&path)).collect();
        let Some(managed) = chosen(&all) else {
            let why = failed.map(|why| format!("; {why}, so what comes behind it was not looked at")).unwrap_or_default();
            (told.exit, told.is_other) = (LEFT, true);
            told.message = format!("no task of {} looks after {path} on {}{why}", names(&playbooks), self.host);
            return self.say(&told, &path, &playbooks);
        };
        told.task = json!({ "name": managed.name, "module": managed.module, "file": managed.file, "line": managed.line });
        if !self.look(&again, plan, managed, &all, &path, &mut told)? {
            return Ok(INTERRUPTED);
        }
        self.settle(&everywhere, managed, &path, &mut told)?;
        self.say(&told, &path, &playbooks)
    }

    /// The playbooks of the newest run that changed the path on this host.
    fn by_journal(&self, path: &str, told: &mut Told) -> Result<Vec<PathBuf>> {
        let help = "name the playbook with `--playbook FILE`";
        let Some(archive) = journal::find()? else {
            bail!("this machine has no journal that would tell which playbook looks after {path}; {help}");
        };
        for step in archive.changes_of(&self.host, path)? {
            let run = archive.run(&step.run)?;
            let playbooks: Vec<PathBuf> = history::playbooks(&run).into_iter().map(PathBuf::from).collect();
            if playbooks.is_empty() {
                continue;
            }
            if let Some(gone) = playbooks.iter().find(|playbook| !playbook.is_file()) {
                bail!("the run {} on {} has changed {path} with `{}`, which is not here any more, as seen from this folder; {help}", run.id, run.started, gone.display());
            }
            if self.common.extra_vars.is_empty() && run.arguments.iter().any(|word| word.starts_with("-e") || word.starts_with("--extra-vars")) {
                told.adopted.notes.push(format!("the run {} was given variables with `-e`; say the same here, or what it made of them looks like somebody's change", run.id));
            }
            return Ok(playbooks);
        }
        bail!("the journal knows of no run with a playbook that changed {path} on {}; {help}", self.host);
    }

    /// Finds out what would have to be edited. `false`: the user wants no more.
    fn look(&self, input: &Input, plan: HostPlan, managed: &Managed, all: &[Managed], path: &str, told: &mut Told) -> Result<bool> {
        let mut left = |message: String| told.adopted.rest.push(Rest { message, file: Some(managed.file.clone()), line: Some(managed.line), ..Rest::default() });
        let is_file = ["copy", "template"].contains(&managed.module);
        match managed.outcome {
            _ if managed.secret.is_some() => {
                let why = managed.secret.unwrap_or_default();
                left(format!("{} is refused, since {why}, and a patch would show it; edit what it is made from by hand", managed.place()));
                return Ok(true);
            }
            Outcome::Ok | Outcome::Changed => {}
            Outcome::Pending => {
                left(format!("{} cannot be judged before an earlier task is done: {}", managed.place(), managed.message));
                return Ok(true);
            }
            outcome => {
                left(format!("{}: {}: {}; mend that first", managed.place(), outcome.name(), managed.message));
                return Ok(true);
            }
        }
        let there = managed.there().unwrap_or_default();
        if !is_file && managed.module != "file" || managed.module == "file" && ["absent", ""].contains(&there.kind.as_str()) {
            if managed.outcome == Outcome::Changed {
                left(format!("{}: {}", managed.place(), engine::no_patch(managed.module)));
            }
            return Ok(true);
        }
        if is_file && there.kind == "absent" {
            if managed.outcome == Outcome::Changed {
                left(format!("{path} is gone on {}, which no patch of its content can say; take the task out, or write `file = {{ path = \"{path}\", state = \"absent\" }}` in its place", self.host));
            }
            return Ok(true);
        }
        if managed.filled.get("remote_src").is_some_and(|value| value.kind == crate::diag::Kind::Boolean(true)) {
            if managed.outcome == Outcome::Changed {
                left(format!("{}: it is a copy of another file of the host (`remote_src`); change that one, or what makes it", managed.place()));
            }
            return Ok(true);
        }
        let tree = managed.tree.iter().find(|(at, ..)| at == path).map(|(.., content)| content.clone());
        let wanted = tree.clone().or_else(|| managed.wanted.clone()).filter(|_| is_file);
        // Where the task leaves the content alone nobody has asked for its hash.
        let is_other = tree.is_some() || wanted.as_ref().is_some_and(|wanted| there.sha256.len() == 64 && there.sha256 != wanted.sha256()) || is_file && wanted.is_none() && managed.outcome == Outcome::Changed;
        let mut content = None;
        if is_other && there.size_bytes > ORIGINAL_BYTES {
            left(format!("{path} on {} is longer than {} MiB, and is not brought here; copy it with `mutate fetch`", self.host, ORIGINAL_BYTES >> 20));
            return Ok(true);
        }
        if is_other {
            let (host, user, at, again) = ((self.host.clone(), plan), managed.user.clone(), path.to_owned(), input.clone());
            let (_, brought) = runner::watched(None, false, None, None, |events, stop| async move {
                let brought = engine::original(again, host, user, at, events, stop.clone()).await;
                (0, (*stop.borrow() == crate::remote::Stop::No).then_some(brought))
            })?;
            let original = match brought {
                None => return Ok(false),
                Some(Err(why)) => {
                    left(format!("{path} on {} cannot be brought here: {why}", self.host));
                    return Ok(true);
                }
                Some(Ok(bytes)) => Content::new(bytes),
            };
            if there.sha256.len() == 64 && there.sha256 != original.sha256() {
                left(format!("{path} on {} was changed while it was looked at; run this again", self.host));
                return Ok(true);
            }
            let bytes = original.all()?;
            if crate::secret::surely_holds_hidden(&bytes) {
                left(format!("{} is refused, since the host's file holds a secret, and a patch would show it; edit what it is made from by hand", managed.place()));
                return Ok(true);
            }
            content = wanted.is_none_or(|wanted| wanted.sha256() != original.sha256()).then(|| bytes.into_owned());
        }
        let mut adopted = engine::adopted(&input.sources, managed, path, &there, content.as_deref());
        // Tasks for the mode and the owner alone.
        for other in all.iter().filter(|other| !std::ptr::eq(*other, managed) && other.secret.is_none()) {
            if other.module == "file" && other.outcome == Outcome::Changed && is_file {
                let more = engine::adopted(&input.sources, other, path, &there, None);
                adopted.edits.extend(more.edits);
                adopted.rest.extend(more.rest);
            } else if other.module != "file" {
                adopted.notes.push(format!("{} works on {path}, too; look whether it is still right", other.place()));
            }
        }
        if content.is_none() && adopted.edits.is_empty() && adopted.rest.is_empty() && managed.outcome == Outcome::Changed {
            let why = if managed.module == "file" { engine::no_patch("file").to_owned() } else { format!("something differs that is no content, mode or owner: {}; `mutate drift -D` shows it", managed.message) };
            adopted.rest.push(Rest { message: format!("{}: {why}", managed.place()), ..Rest::default() });
        }
        told.adopted.edits = adopted.edits;
        told.adopted.rest.extend(adopted.rest);
        told.adopted.notes.extend(adopted.notes);
        Ok(true)
    }

    /// Makes the patch, and writes what is to be written.
    fn settle(&self, everywhere: &Input, managed: &Managed, path: &str, told: &mut Told) -> Result<()> {
        let here = std::env::current_dir().and_then(|here| here.canonicalize()).context("the current folder")?;
        let edits = merged(&mut told.adopted);
        for edit in &edits {
            let real = edit.path.canonicalize().with_context(|| format!("`{}`", edit.path.display()))?;
            let (name, is_below) = match real.strip_prefix(&here) {
                Ok(name) => (name.display().to_string(), true),
                Err(_) => (real.display().to_string().trim_start_matches('/').to_owned(), false),
            };
            match diff::patch(&name, &edit.before, &edit.after) {
                Some(patch) => told.patch.push_str(&patch),
                None if self.write => {}
                None => told.adopted.rest.push(Rest {
                    message: format!("`{}` is no text, and a patch holds nothing else; `--write` puts the new content in place", edit.path.display()),
                    file: Some(edit.path.display().to_string()),
                    ..Rest::default()
                }),
            }
            if !is_below && !self.write {
                told.adopted.notes.push(format!("`{}` is not below this folder, so its name in the patch is from `/`: apply it with `patch -p1 -d /`", real.display()));
            }
            told.files.push(edit.path.display().to_string());
        }
        if crate::secret::surely_holds_hidden(told.patch.as_bytes()) {
            told.patch.clear();
            told.adopted.rest.push(Rest { message: "what would be edited holds a secret, so no patch is shown; edit it by hand".into(), ..Rest::default() });
        }
        told.is_other = !edits.is_empty() || !told.adopted.rest.is_empty();
        if !told.is_other {
            told.message = format!("nothing differs: {path} on {} is as {} wants it", self.host, managed.place());
            return Ok(());
        }
        if !edits.is_empty() {
            let (mut all, run) = (everywhere.clone(), runner::new_run_id());
            let prepared = engine::prepare(&mut all, &run, &mut Vec::new());
            told.others = engine::sharers(&all, &prepared, managed);
        }
        if !told.adopted.rest.is_empty() {
            told.exit = LEFT;
            let not_written = if self.write { "; nothing was written" } else { "" };
            told.message = if edits.is_empty() { format!("there is no patch for {path} on {}{not_written}", self.host) } else { format!("the patch is not complete: with it, {path} on {} would still differ{not_written}", self.host) };
        } else if self.write {
            let mut written: Vec<String> = Vec::new();
            for edit in &edits {
                let before = if written.is_empty() { String::new() } else { format!("; written before that: {}", written.join(", ")) };
                crate::vault::replace(&edit.path, Some(&edit.before), &edit.after).map_err(|error| anyhow::anyhow!("{error:#}{before}"))?;
                written.push(edit.path.display().to_string());
            }
            told.is_written = true;
            told.message = format!("written: {}", told.files.join(", "));
        } else {
            told.message = format!("with this patch, {} finds {path} on {} as it is; `--write` applies it", managed.place(), self.host);
        }
        Ok(())
    }

    fn say(&self, told: &Told, path: &str, playbooks: &[PathBuf]) -> Result<u8> {
        let adopted = &told.adopted;
        if self.common.show.output != OutputForm::Human {
            let document = json!({
                "schema": 1, "command": "adopt", "exit": told.exit, "host": self.host, "path": path, "message": told.message,
                "playbooks": playbooks.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
                "task": told.task, "differs": told.is_other, "complete": told.exit == 0, "written": told.is_written,
                "patch": told.patch, "files": told.files, "rest": adopted.rest, "notes": adopted.notes, "others": told.others,
            });
            say(&document.to_string());
            return Ok(told.exit);
        }
        say_exactly(&told.patch);
        let complain = |text: String| complain(&safe(text.as_bytes()));
        let mut text = if [0, LEFT].contains(&told.exit) { told.message.clone() } else { format!("error: {}", told.message) };
        for rest in &adopted.rest {
            let place = match (&rest.file, rest.line) {
                (Some(file), Some(line)) if !rest.message.contains(&format!("{file}:{line}")) => format!("{file}:{line}: "),
                _ => String::new(),
            };
            text.push_str(&format!("\n  {place}{}", rest.message));
            let several = rest.has.as_deref().filter(|has| has.trim_end().contains('\n')).unwrap_or_default();
            several.lines().for_each(|line| text.push_str(&format!("\n    | {line}")));
        }
        complain(text);
        adopted.notes.iter().for_each(|note| complain(format!("note: {note}")));
        if !told.others.is_empty() {
            complain(format!("note: it changes {}, too, which {} made from the same", folded(told.others.iter().map(String::as_str)), if told.others.len() == 1 { "is" } else { "are" }));
        }
        Ok(told.exit)
    }
}

/// The step that gives the file its content; else the last one that would change something, or that is about it at all.
fn chosen(all: &[Managed]) -> Option<&Managed> {
    let last = |fits: &dyn Fn(&Managed) -> bool| all.iter().rev().find(|managed| fits(managed));
    last(&|managed| ["copy", "template"].contains(&managed.module)).or_else(|| last(&|managed| managed.outcome == Outcome::Changed)).or_else(|| all.last())
}

/// One edit for each file: those of one and the same playbook are put together.
fn merged(adopted: &mut Adopted) -> Vec<Edit> {
    let mut edits: Vec<Edit> = Vec::new();
    for edit in std::mem::take(&mut adopted.edits) {
        let Some(known) = edits.iter_mut().find(|known| known.path == edit.path) else {
            edits.push(edit);
            continue;
        };
        match both(known, &edit) {
            Some(after) => known.after = after,
            None => adopted.rest.push(Rest { message: format!("two edits of `{}` meet at one place; apply this patch, and run this again", edit.path.display()), ..Rest::default() }),
        }
    }
    edits
}

/// A text with the changes of two edits of it, where they are apart.
fn both(left: &Edit, right: &Edit) -> Option<Vec<u8>> {
    let span = |edit: &Edit| {
        let (before, after) = (&edit.before, &edit.after);
        let start = before.iter().zip(after).take_while(|(left, right)| left == right).count();
        let most = before.len().min(after.len()) - start;
        let same = before.iter().rev().zip(after.iter().rev()).take(most).take_while(|(left, right)| left == right).count();
        (start, before.len() - same, after[start..after.len() - same].to_vec())
    };
    let (mut first, mut second) = (span(left), span(right));
    if first.0 > second.0 {
        std::mem::swap(&mut first, &mut second);
    }
    (left.before == right.before && first.1 <= second.0).then(|| [&left.before[..first.0], &first.2, &left.before[first.1..second.0], &second.2, &left.before[second.1..]].concat())
}

fn names(playbooks: &[PathBuf]) -> String {
    playbooks.iter().map(|path: &PathBuf| Path::display(path).to_string()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_of_one_file_come_together() {
        let edit = |after: &str| Edit { path: "a".into(), before: b"one two three".to_vec(), after: after.into() };
        assert_eq!(both(&edit("one two 3"), &edit("1 two three")), Some(b"1 two 3".to_vec()));
        assert_eq!(both(&edit("one 2 three"), &edit("one zwei three")), None);
    }
}
