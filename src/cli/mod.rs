//! Words in, exit code out. The only room that knows the terminal and the environment.

mod adhoc;
mod adopt;
mod apply;
mod check;
mod config;
mod drift;
mod graph;
mod history;
mod holds;
mod hostkeys;
mod input;
mod inventory;
mod journal;
mod manual;
mod mend;
mod options;
mod passphrases;
mod patch;
mod ping;
mod report;
mod reports;
mod resolve;
mod rollback;
mod runner;
mod saved;
mod schedule;
mod schema;
mod secrets;
mod settings;
mod split;
mod start;
mod stepwise;
mod texts;
mod unlock;
mod unmanaged;

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{FromArgMatches as _, Parser, Subcommand};

pub use options::Common;

/// Exit codes that do not come from a run.
pub(crate) const BAD_INPUT: u8 = 1;
pub(crate) const NO_HOST: u8 = 3;
pub(crate) const LOCKED: u8 = 8;

/// Change live servers over SSH, with nothing installed on them.
#[derive(Parser)]
#[command(name = "mutate", version, max_term_width = 100, propagate_version = true)]
struct Arguments {
    /// The journal: a file, or `postgres://user@host/database` for one that several machines share. Left out: `MUTATE_JOURNAL`, or
    /// this user's own.
    #[arg(long, global = true, value_name = "FILE|URL", help_heading = "Journal")]
    journal: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make it so: run playbooks on their hosts.
    Apply(apply::Apply),
    /// Show what would change, and change nothing.
    Plan(apply::Plan),
    /// Say what differs from the playbooks, on which hosts, and who did it; ends with 2 when something does.
    Drift(Box<drift::Drift>),
    /// Upgrade packages host after host, restart what needs it, and stop when a host is not well.
    Patch(Box<patch::Patch>),
    /// Turn a change that somebody has made on a host into a patch of the playbook's own file or template.
    Adopt(Box<adopt::Adopt>),
    /// List what on hosts is not as its package has brought it, or belongs to none, and is in no playbook.
    Unmanaged(Box<unmanaged::Unmanaged>),
    /// Leave a path on a host as it is for a while.
    Hold(holds::Hold),
    /// Validate playbooks and inventory without contacting any host.
    Check(check::Check),
    /// Undo the changes of a run, each only where nobody has changed it since.
    Rollback(rollback::Rollback),
    /// Continue a run that did not get to its end, on the hosts where it did not.
    Resume(resolve::Resume),
    /// Ask the hosts how steps ended that nobody heard of.
    Resolve(resolve::Resolve),
    /// List the runs of the past.
    History(history::History),
    /// Show a run of the past.
    Show(history::Show),
    /// Tell who changed a path on a host, when and why.
    Blame(history::Blame),
    /// Write a run, the drift so far, or the whole fleet as one page of HTML.
    Report(report::Report),
    /// Look whether somebody has written into the journal.
    Audit(history::Audit),
    /// Look after the journal itself.
    Journal(history::Keeping),
    /// Run a command on hosts, and show equal outputs once.
    Run(adhoc::Run),
    /// Do one thing on hosts, with all that a task of a playbook has: only where needed, backed up, undoable.
    Do(adhoc::Do),
    /// Run a local script on hosts.
    Script(adhoc::Script),
    /// Copy files to hosts, with a backup of what was there.
    Push(adhoc::Push),
    /// Copy files from hosts, each host's into a folder of its own.
    Fetch(adhoc::Fetch),
    /// Log in to hosts and say which of them can be worked on.
    Ping(ping::Ping),
    /// Show the keys of hosts in one table, and add the new ones to known_hosts.
    #[command(name = "hostkeys")]
    HostKeys(hostkeys::HostKeys),
    /// Show who holds the locks of hosts, or free the lock of a run.
    Unlock(unlock::Unlock),
    /// Show the facts of hosts.
    Facts(ping::Facts),
    /// Show the settings in force: what `mutate.toml` and the environment say in place of flags.
    Config(config::Config),
    /// Write the first files of a new project.
    Init(start::Init),
    /// Show where the value of a variable comes from, and what else there is.
    Explain(start::Explain),
    /// Show what mutate understood of the inventory.
    Inventory(inventory::Inventory),
    /// Encrypt variables for those who may read them: make keys, edit, encrypt, decrypt, view, rekey.
    Secret(secrets::Secrets),
    /// Let cron or systemd run mutate again and again.
    Schedule(schedule::Schedule),
    /// Print what a playbook may hold as JSON Schema, for editors.
    Schema(schema::Schema),
    /// Print completions for a shell.
    Completions(texts::Completions),
    /// Write the manual pages for `man`.
    Man(texts::Man),
    /// List the modules, or show the manual of one.
    Modules(manual::Modules),
}

/// An exit code, also where this machine has failed us, which is said.
pub(crate) fn or_bad(exit: anyhow::Result<u8>) -> u8 {
    exit.unwrap_or_else(|error| {
        complain(&format!("error: {error:#}"));
        BAD_INPUT
    })
}

/// The whole command line, as it is described.
pub(crate) fn described() -> clap::Command {
    use clap::CommandFactory as _;
    Arguments::command()
}

/// Whether these words after `mutate` are a command line.
///
/// # Errors
/// Why not.
pub(crate) fn is_a_command(words: &[String]) -> Result<(), String> {
    let line = std::iter::once("mutate").chain(words.iter().map(String::as_str)).map(OsString::from).collect();
    understood(line, settings::Which::All).map(drop).map_err(|refusal| refusal.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned())
}

/// Why words are no command line.
enum Refusal {
    Line(clap::Error),
    /// The settings, with what is wrong with them, ready to be shown.
    Settings(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Line(error) => error.fmt(f),
            Self::Settings(text) => f.write_str(text),
        }
    }
}

/// The arguments that words stand for, with what settings add to them.
fn understood(words: Vec<OsString>, which: settings::Which) -> Result<Arguments, Refusal> {
    let mut command = described();
    let mut matches = command.try_get_matches_from_mut(&words).map_err(Refusal::Line)?;
    if let Some(words) = settings::added(&mut command, &words, &matches, which).map_err(Refusal::Settings)? {
        matches = command.try_get_matches_from_mut(words).map_err(Refusal::Line)?;
    }
    Arguments::from_arg_matches(&matches).map_err(|error| Refusal::Line(error.format(&mut command)))
}

/// Runs the program with the words of its command line.
pub fn main() -> ExitCode {
    run(std::env::args_os())
}

/// Runs the program with these words, of which the first is its name.
pub fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match understood(words.into_iter().collect(), settings::Which::All) {
        Ok(arguments) => arguments,
        Err(Refusal::Settings(text)) => {
            complain(&text);
            return ExitCode::from(BAD_INPUT);
        }
        Err(Refusal::Line(error)) => {
            let _gone = error.print();
            let wanted_help = !error.use_stderr();
            return if wanted_help { ExitCode::SUCCESS } else { ExitCode::from(BAD_INPUT) };
        }
    };
    raise_file_limit();
    journal::choose(arguments.journal);
    let result = match arguments.command {
        Command::Apply(apply) => apply.run(),
        Command::Plan(plan) => plan.run(),
        Command::Drift(drift) => drift.run(),
        Command::Patch(patch) => patch.run(),
        Command::Adopt(adopt) => adopt.run(),
        Command::Unmanaged(unmanaged) => unmanaged.run(),
        Command::Hold(hold) => hold.run(),
        Command::Check(check) => check.run(),
        Command::Rollback(rollback) => rollback.run(),
        Command::Resume(resume) => resume.run(),
        Command::Resolve(resolve) => resolve.run(),
        Command::History(history) => history.run(),
        Command::Show(show) => show.run(),
        Command::Blame(blame) => blame.run(),
        Command::Report(report) => report.run(),
        Command::Audit(audit) => audit.run(),
        Command::Journal(keeping) => keeping.run(),
        Command::Run(run) => run.run(),
        Command::Do(one) => one.run(),
        Command::Script(script) => script.run(),
        Command::Push(push) => push.run(),
        Command::Fetch(fetch) => fetch.run(),
        Command::Ping(ping) => ping.run(),
        Command::HostKeys(keys) => keys.run(),
        Command::Unlock(unlock) => unlock.run(),
        Command::Facts(facts) => facts.run(),
        Command::Config(config) => config.run(),
        Command::Init(init) => init.run(),
        Command::Explain(explain) => explain.run(),
        Command::Inventory(inventory) => inventory.run(),
        Command::Secret(secrets) => secrets.run(),
        Command::Schedule(schedule) => schedule.run(),
        Command::Schema(schema) => schema.run(),
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(),
        Command::Modules(modules) => modules.run(),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            complain(&format!("error: {error:#}"));
            ExitCode::from(BAD_INPUT)
        }
    }
}

/// Runs the words of an earlier `apply` once more: without what it has done, and without these hosts. They hold what was
/// set when it began; of what is set now, only how results are shown counts.
pub(crate) fn run_again(words: &[String], done: crate::engine::Done, without: Vec<String>) -> anyhow::Result<u8> {
    let line = std::iter::once("mutate").chain(words.iter().map(String::as_str)).map(OsString::from).collect();
    let arguments = understood(line, settings::Which::Showing).map_err(|refusal| match refusal {
        Refusal::Line(error) => anyhow::anyhow!("its command line cannot be read any more: {error}"),
        Refusal::Settings(text) => anyhow::anyhow!("{}", text.trim_start_matches("error: ")),
    })?;
    match arguments.command {
        Command::Apply(apply) => apply.again(words, done, without),
        _ => anyhow::bail!("it was no `apply`"),
    }
}

/// Many hosts need many sockets.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _best_effort = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// A line on stderr.
#[expect(clippy::print_stderr, reason = "this room has the terminal")]
pub(crate) fn complain(text: &str) {
    eprintln!("{}", crate::secret::without_hidden(text.trim_end()));
}

/// Text on stdout; a reader that has gone away is no error.
pub(crate) fn say(text: &str) {
    use std::io::Write as _;
    let _gone = writeln!(std::io::stdout(), "{}", crate::secret::without_hidden(text.trim_end()));
}

/// Text on stdout, to the letter, as a program takes it that reads there. A terminal gets nothing that could move it.
pub(crate) fn say_exactly(text: &str) {
    use std::io::Write as _;
    let safe = crate::render::safe(text.as_bytes());
    let text = if stdout_is_terminal() { safe.as_str() } else { text };
    let _gone = std::io::stdout().write_all(text.as_bytes());
}

/// `NO_COLOR` wins over `CLICOLOR_FORCE`, that over `CLICOLOR`, that over whether it is a terminal.
pub(crate) fn wants_color(choice: options::Color, is_terminal: bool) -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    match choice {
        options::Color::Always => true,
        options::Color::Never => false,
        options::Color::Auto => {
            if set("NO_COLOR").is_some() {
                false
            } else if set("CLICOLOR_FORCE").is_some_and(|value| value != "0") {
                true
            } else if set("CLICOLOR").is_some_and(|value| value == "0") {
                false
            } else {
                is_terminal && std::env::var("TERM").is_ok_and(|term| term != "dumb")
            }
        }
    }
}

pub(crate) fn stdout_is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

pub(crate) fn stderr_is_terminal() -> bool {
    std::io::stderr().is_terminal()
}
