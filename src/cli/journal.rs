//! Which journal is meant: the one that `--journal` names, or `MUTATE_JOURNAL`, or this user's own.

use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{Context as _, Result};

use super::{complain, input, runner};
use crate::journal::{Archive, Place, Surroundings, has_password};

/// What the command line says. A run that is continued has its own command line, but is in the journal of the first.
static NAMED: OnceLock<Option<String>> = OnceLock::new();

/// Goes by the flag, where it was given.
pub fn choose(named: Option<String>) {
    if named.as_deref().is_some_and(has_password) {
        complain(
            "warning: every user of this machine can read the password in `--journal` with `ps`\n  = help: put the URL into `MUTATE_JOURNAL`, or the password into `~/.pgpass`",
        );
    }
    let _first_one_counts = NAMED.set(named);
}

/// Where the journal is.
///
/// # Errors
/// What is wrong with the way it was named.
pub fn place() -> Result<Place> {
    let variable = |name: &str| std::env::var(name).ok();
    let flag = NAMED.get().cloned().flatten();
    let (named, by) = match flag {
        Some(named) => (Some(named), "--journal"),
        None => (variable("MUTATE_JOURNAL").filter(|text| !text.is_empty()), "MUTATE_JOURNAL"),
    };
    let Some(named) = named else { return Ok(Place::File(runner::journal_path())) };
    let home = std::env::home_dir().unwrap_or_else(|| PathBuf::from("/"));
    let around = Surroundings { variable: &variable, home: &home, user: &input::local_user() };
    Place::parse(&named, &around).with_context(|| format!("`{by}`"))
}

/// Opens the journal for questions.
///
/// # Errors
/// Why it cannot be read, or that there is none.
pub fn open() -> Result<Archive> {
    Archive::open(&place()?)
}

/// The same, where there is one.
///
/// # Errors
/// Why it cannot be read.
pub fn find() -> Result<Option<Archive>> {
    Archive::find(&place()?)
}
