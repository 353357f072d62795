//! Who changed a path, by the ledgers of the host itself: for where no journal is at hand.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::Input;
use super::prepare::HostPlan;
use super::schedule::shared;
use super::step::UserKey;
use super::walk::{Halt, Walker};
use crate::event::Event;
use crate::module::diff;
use crate::remote::{Frame, Library, Outcome as Came, Stop, Verb};
use crate::shell::{Script, escaped, unescaped};

/// So many bytes of a file are compared.
const SHOWN_KIBIBYTES: u32 = 256;
/// Of so many changes the contents are looked at.
const SHOWN_CHANGES: usize = 20;

/// A change, as a ledger tells of it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Told {
    pub run: String,
    /// When its ledger was written last, in seconds since 1970 by the host's clock.
    #[serde(skip)]
    pub when: i64,
    /// Who ran it, and with which command.
    pub who: String,
    pub module: String,
    /// `FILE:LINE` of the task, and its name.
    pub place: String,
    pub task: String,
    pub path: String,
    pub outcome: String,
    /// The host has taken it back by itself.
    pub taken_back: bool,
    /// What was there before, in the words of the store.
    pub before: String,
    /// Between what was there before and what the next change found; of the last one, what is there now.
    pub diff: String,
}

/// Asks a host which runs have changed a path, the newest first. With `diffs` it is also asked for the contents.
///
/// # Errors
/// Why the host could not be asked.
pub async fn blame(
    input: Input,
    host: (String, HostPlan),
    path: String,
    diffs: bool,
    events: mpsc::UnboundedSender<Event>,
    stop: watch::Receiver<Stop>,
) -> Result<Vec<Told>, String> {
    let shared = shared(input, "blame".into(), events, stop);
    let users = ledgers_of(&shared.input, &host.1);
    let (name, plan) = host;
    let mut walker = Walker::new(Arc::clone(&shared), plan, name);
    let mut found = Vec::new();
    let mut failure = None;
    for user in users {
        match told(&mut walker, &user, &path, diffs).await {
            Ok(more) => found.extend(more),
            Err(Halt::Host(why)) => failure = failure.or(Some(why.to_string())),
            Err(_) => failure = failure.or(Some("interrupted".into())),
        }
    }
    let _left = walker.end().await;
    found.sort_by(|left, right| (right.when, &right.run).cmp(&(left.when, &left.run)));
    match failure {
        Some(why) if found.is_empty() => Err(why),
        _ => Ok(found),
    }
}

/// The users whose ledgers may know of it: who logs in, and whom the host is usually worked on as.
fn ledgers_of(input: &Input, plan: &HostPlan) -> Vec<UserKey> {
    let mut users = vec![None];
    users.extend(plan.usual_user(&input.options).filter(|user| *user != plan.target.user).map(Some));
    users
}

async fn told(walker: &mut Walker, user: &UserKey, path: &str, diffs: bool) -> Result<Vec<Told>, Halt> {
    // The path itself, and every folder above it: a folder that was copied has changed what is in it.
    let above = path.match_indices('/').skip(1).map(|(at, _)| &path[..at]);
    let names = std::iter::once(path).chain(above).fold(Script::default(), |script, name| crate::sh!("{} -e {}", script, escaped(name.as_bytes())));
    let question = crate::sh!(
        "cd \"$st/runs\" 2>/dev/null || exit 0\nfor _run in $(ls -t); do\n  if sed -n 's/^path [0-9]* //p' \"$_run/ledger\" 2>/dev/null | grep -qxF{}; then echo \"ledger $_run $(stat -c %Y -- \"$_run/ledger\" 2>/dev/null)\"; cat \"$_run/ledger\"; fi\ndone",
        names
    );
    walker.shell(user, &[]).await?;
    let answer = ask(walker, user, vec![question]).await?.pop().unwrap_or_default();
    let mut found = read(&String::from_utf8_lossy(&answer), path);
    if diffs {
        let content = |file: Script| crate::sh!("dd bs=1024 count={} 2>/dev/null <{} || exit 3", SHOWN_KIBIBYTES, file);
        let hash = |told: &Told| told.before.strip_prefix("file ").and_then(|record| record.split(' ').nth(5)).map(str::to_owned);
        let shown = found.len().min(SHOWN_CHANGES);
        let mut questions = vec![content(crate::sh!("{}", path))];
        questions.extend(found[..shown].iter().map(|told| hash(told).map_or_else(|| Script::raw("exit 3"), |hash| content(crate::sh!("\"$core_store\"/{}", hash)))));
        let mut contents = ask(walker, user, questions).await?.into_iter();
        let mut after = contents.next().filter(|now| !now.is_empty());
        for (told, before) in found[..shown].iter_mut().zip(contents) {
            let before = hash(told).map(|_| before);
            if before.is_some() || told.before == "absent" {
                told.diff = diff::unified(path, before.as_deref(), after.as_deref());
            }
            after = before;
        }
    }
    Ok(found)
}

/// The answers to some questions; what fails has said nothing.
async fn ask(walker: &mut Walker, user: &UserKey, questions: Vec<Script>) -> Result<Vec<Vec<u8>>, Halt> {
    ask_with(walker, user, questions, &[]).await
}

/// As [`ask`], with shell functions.
pub(super) async fn ask_with(walker: &mut Walker, user: &UserKey, questions: Vec<Script>, libraries: &[&'static Library]) -> Result<Vec<Vec<u8>>, Halt> {
    let frames: Vec<Frame> =
        questions.into_iter().map(|script| Frame { seq: walker.seq(), verb: Verb::Probe(script), libraries: libraries.to_vec(), limit: Duration::from_secs(60) }).collect();
    let mut answers = Vec::new();
    for result in walker.fly(user, &frames).await? {
        match result.outcome {
            Came::Answered { status: 0, stdout } => answers.push(stdout),
            Came::Answered { .. } => answers.push(Vec::new()),
            Came::Unknown(failure) => return Err(Halt::Host(failure)),
            _ => return Err(walker.not_begun(user)),
        }
    }
    Ok(answers)
}

/// Changes of a path in ledgers, each behind a line `ledger RUN TIME`.
fn read(text: &str, path: &str) -> Vec<Told> {
    let mut found = Vec::new();
    let text = format!("\n{text}");
    for part in text.split("\nledger ").skip(1) {
        let (head, ledger) = part.split_once('\n').unwrap_or((part, ""));
        let (run, when) = head.split_once(' ').unwrap_or((head, ""));
        let lines: Vec<(&str, &str, &str)> = ledger
            .lines()
            .filter_map(|line| {
                let (word, rest) = line.split_once(' ')?;
                let (seq, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                Some((word, seq, rest))
            })
            .collect();
        for (_, seq, named) in lines.iter().rev().filter(|(word, ..)| *word == "path") {
            let named = String::from_utf8_lossy(&unescaped(named.as_bytes())).into_owned();
            let of = |wanted: &str| lines.iter().rev().find(|(word, of, _)| *word == wanted && of == seq).map(|(_, _, rest)| *rest);
            let label = of("begin").unwrap_or_default();
            // Several processes may have made parts of a run here, each below a line of its own.
            let begun = lines.iter().rposition(|(word, of, _)| *word == "begin" && of == seq).unwrap_or(0);
            let who = lines[..begun].iter().rev().find(|(word, ..)| *word == "run").map_or("", |(.., who)| who);
            let mut words = label.splitn(3, ' ');
            let (module, place, task) = (words.next().unwrap_or_default(), words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let is_below = path.strip_prefix(named.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') && module == "copy");
            let outcome = of("done").and_then(|done| done.split(' ').next()).unwrap_or("unknown");
            if !is_below || ["conflict", "refused", "skipped"].contains(&outcome) {
                continue;
            }
            found.push(Told {
                run: run.to_owned(),
                when: when.trim().parse().unwrap_or(0),
                who: who.to_owned(),
                module: module.to_owned(),
                place: place.to_owned(),
                task: task.to_owned(),
                path: named,
                outcome: outcome.to_owned(),
                taken_back: of("undone") == Some("0"),
                before: of("kept").unwrap_or_default().to_owned(),
                diff: String::new(),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ledgers_tell_of_a_path() {
        let text = "ledger 02 90\nrun 02 bob@b pid 2 `mutate apply`\nbegin 3 copy s.toml:9 the tree\npath 3 /etc/a\ndone 3 changed 0\nbegin 4 file s.toml:12 other\npath 4 /etc\ndone 4 changed 0\n\
            ledger 01 80\nrun 01 ann@a pid 1 `mutate apply`\nbegin 2 template s.toml:3 site\npath 2 /etc/a/b\\\\c\nkept 2 file 644 0 0 1 2 abc -\ndone 2 changed 0\nundone 2 0\nbegin 5 file s.toml:7 x\npath 5 /etc/a/b\\\\c\ndone 5 conflict\n";
        let found = read(text, "/etc/a/b\\c");
        let short: Vec<_> = found.iter().map(|told| (told.run.as_str(), told.who.as_str(), told.task.as_str(), told.before.as_str(), told.taken_back)).collect();
        assert_eq!(short, [("02", "bob@b pid 2 `mutate apply`", "the tree", "", false), ("01", "ann@a pid 1 `mutate apply`", "site", "file 644 0 0 1 2 abc -", true)]);
    }
}
