//! `mutate.toml`: what a team would otherwise type as flags, kept with its playbooks.
//!
//! The command line is parsed once. Whatever flag of the chosen command was not given there and is set elsewhere is put
//! among its words, and these are parsed again: a setting is a flag, judged by the same parser.

mod files;
mod known;
mod read;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::OnceLock;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

pub use files::{CONFIG, distrust};
pub use known::{KNOWN, Kind, Known, variable};
pub use read::{Setting, Settings, masked};

use crate::diag::{Diagnostic, any_error, draw};

/// What was put among the words of this command line.
struct Given {
    names: BTreeSet<&'static str>,
    /// The words after `mutate` with all that decides what is done.
    words: Vec<String>,
}

static GIVEN: OnceLock<Given> = OnceLock::new();

/// Whether this flag stands on the command line only since a setting says so.
pub fn gave(name: &str) -> bool {
    GIVEN.get().is_some_and(|given| given.names.contains(name))
}

/// The words after `mutate` that this run can be made again with, whatever settings say by then. How results are shown
/// and who hears of them is not among them.
pub fn words() -> Vec<String> {
    GIVEN.get().map_or_else(|| std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect(), |given| given.words.clone())
}

/// Which settings are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Which {
    All,
    /// Those that decide nothing but how results are shown and who hears of them.
    Showing,
}

/// A command line with what settings add to it; nothing where they add nothing.
///
/// # Errors
/// What is wrong with the settings, ready to be shown.
pub fn added(command: &mut Command, words: &[OsString], matches: &ArgMatches, which: Which) -> Result<Option<Vec<OsString>>, String> {
    let (path, leaf) = chosen(matches);
    let Some(described) = at(command, &path) else { return Ok(None) };
    if !KNOWN.iter().any(|known| flag(described, known.name).is_some()) {
        return Ok(None);
    }
    let settings = Settings::read(command);
    if settings.is_empty() {
        return Ok(None);
    }
    let Some(described) = at(command, &path) else { return Ok(None) };
    let mut problems = settings.problems.clone();
    let found = chosen_settings(&settings, described, &path, leaf, which, &mut problems);
    if any_error(&problems) {
        return Err(draw(&problems, &settings.sources, super::wants_color(super::options::Color::Auto, super::stderr_is_terminal())));
    }
    if found.is_empty() {
        return Ok(None);
    }
    // The words that name the command come first.
    let (head, tail) = words.split_at((1 + path.len()).min(words.len()));
    let with = |lasts: bool| {
        let more = found.iter().filter(|(known, _)| !lasts || known.lasts).flat_map(|(known, setting)| setting.words(known.name));
        head.iter().cloned().chain(more).chain(tail.iter().cloned()).collect::<Vec<OsString>>()
    };
    let given = Given {
        names: found.iter().map(|(known, _)| known.name).collect(),
        words: with(true).iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect(),
    };
    // A run that is made again was given its words already.
    let _first = GIVEN.set(given);
    Ok(Some(with(false)))
}

/// The settings that this command line leaves room for.
fn chosen_settings<'a>(settings: &'a Settings, described: &Command, path: &[String], leaf: &ArgMatches, which: Which, problems: &mut Vec<Diagnostic>) -> Vec<(&'static Known, &'a Setting)> {
    let is_given = |arg: &Arg| leaf.try_contains_id(arg.get_id().as_str()).is_ok() && leaf.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
    let given: Vec<&Arg> = described.get_arguments().filter(|arg| is_given(arg)).collect();
    let mut found: Vec<(&Known, &Setting)> = Vec::new();
    for known in KNOWN.iter().filter(|known| which == Which::All || known.shows) {
        let Some(arg) = flag(described, known.name) else { continue };
        let yields = known.yields_to.iter().any(|name| given.iter().any(|arg| arg.get_long() == Some(name)));
        if yields || is_given(arg) || given.iter().any(|other| exclude(described, arg, other)) {
            continue;
        }
        if let Some(setting) = settings.of(known, path.first().map_or("", String::as_str)).filter(|setting| !setting.values.is_empty()) {
            found.push((known, setting));
        }
    }
    // Of two that cannot go together the stronger one stays.
    let mut left: Vec<(&Known, &Setting)> = Vec::new();
    found.sort_by_key(|(_, setting)| setting.layer);
    for (known, setting) in found {
        let other = left.iter().find(|(other, _)| {
            let (Some(one), Some(two)) = (flag(described, known.name), flag(described, other.name)) else { return false };
            exclude(described, one, two)
        });
        match other {
            None => left.push((known, setting)),
            Some((_, stronger)) if stronger.layer < setting.layer => {}
            Some((other, _)) => {
                let message = format!("`{}` and `{}` cannot both be set", other.name, known.name);
                problems.push(match &setting.span {
                    Some(span) => Diagnostic::error("conflict", span, message).help("take one of them out"),
                    None => Diagnostic::general("conflict", message).help(format!("unset {} or {}", variable(other.name), variable(known.name))),
                });
            }
        }
    }
    left
}

/// Whether two flags cannot go together.
fn exclude(command: &Command, one: &Arg, two: &Arg) -> bool {
    let has = |of: &Arg, other: &Arg| command.get_arg_conflicts_with(of).iter().any(|arg| arg.get_id() == other.get_id());
    has(one, two) || has(two, one)
}

/// The names of the chosen command, outermost first, and what was given to it.
fn chosen(matches: &ArgMatches) -> (Vec<String>, &ArgMatches) {
    let (mut path, mut here) = (Vec::new(), matches);
    while let Some((name, inner)) = here.subcommand() {
        path.push(name.to_owned());
        here = inner;
    }
    (path, here)
}

fn at<'a>(command: &'a Command, path: &[String]) -> Option<&'a Command> {
    path.iter().try_fold(command, |here, name| here.find_subcommand(name))
}

/// The flag of this long name.
fn flag<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| arg.get_long() == Some(name))
}

/// The names of a command and the one below it, and that command, of the first that has the flag; of one command, or of any.
fn path_to(command: &Command, only: Option<&str>, known: &Known) -> Option<Vec<String>> {
    let is_meant = |name: &str| match only {
        Some(only) => only == name,
        None => known.is_for_all(name),
    };
    for sub in command.get_subcommands().filter(|sub| is_meant(sub.get_name()) && known.is_for(sub.get_name())) {
        let name = sub.get_name().to_owned();
        if flag(sub, known.name).is_some() {
            return Some(vec![name]);
        }
        if let Some(inner) = sub.get_subcommands().find(|inner| flag(inner, known.name).is_some()) {
            return Some(vec![name, inner.get_name().to_owned()]);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Flags are put behind the words that name the command, so nothing else may stand there.
    #[test]
    fn a_command_of_commands_has_no_flags_of_its_own() {
        for sub in crate::cli::described().get_subcommands().filter(|sub| sub.has_subcommands()) {
            assert_eq!(sub.get_arguments().map(|arg| arg.get_id().as_str()).collect::<Vec<_>>(), [""; 0], "{}", sub.get_name());
        }
    }

    /// Whoever gives a flag of that name another meaning says so in `known.rs`.
    #[test]
    fn a_setting_means_the_same_for_every_command() {
        let command = crate::cli::described();
        for known in KNOWN {
            let path = path_to(&command, None, known).unwrap_or_else(|| panic!("no command has `--{}`", known.name));
            let first = flag(at(&command, &path).expect("a command"), known.name).expect("a flag");
            let leaves = command.get_subcommands().flat_map(|sub| std::iter::once((sub.get_name(), sub)).chain(sub.get_subcommands().map(|inner| (sub.get_name(), inner))));
            for (name, leaf) in leaves.filter(|(name, _)| known.is_for_all(name)) {
                let Some(arg) = flag(leaf, known.name) else { continue };
                let about = |arg: &Arg| (arg.get_value_names().map(<[_]>::to_vec), format!("{:?}", arg.get_action()), arg.get_default_values().to_vec());
                assert_eq!(about(arg), about(first), "`--{}` of `{name}`", known.name);
            }
        }
    }
}
