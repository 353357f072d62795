//! What a host says about each package that a task names.

use anyhow::{Context as _, Result};

use super::State;

/// One line of `package_look`.
pub struct Found<'a> {
    /// As the task names it, `name` or `name=version`.
    pub asked: &'a str,
    /// The word of `package_look`.
    pub state: &'a str,
    /// Version, or a dash.
    pub installed: &'a str,
    candidate: &'a str,
}

impl<'a> Found<'a> {
    /// All packages of an answer.
    ///
    /// # Errors
    /// When a line is not as the shell functions print it.
    pub fn all(text: &'a str) -> Result<Vec<Self>> {
        // The first line and the last have two words.
        let lines = text.lines().filter(|line| line.split(' ').count() != 2);
        lines.map(|line| Self::of(line).with_context(|| format!("the answer of the host has the odd line `{line}`"))).collect()
    }

    fn of(line: &'a str) -> Option<Self> {
        let mut words = line.split(' ');
        let found = Self { asked: words.next()?, state: words.next()?, installed: words.next()?, candidate: words.next()? };
        words.next().is_none().then_some(found)
    }

    /// Whether something has to be done for it.
    pub(super) fn is_open(&self, wanted: State, purge: bool) -> bool {
        match wanted {
            State::Present => !["installed", "current", "provided"].contains(&self.state),
            State::Latest => !["current", "provided"].contains(&self.state),
            State::Absent => !(["absent", "provided"].contains(&self.state) || (self.state == "config" && !purge)),
        }
    }

    pub fn name(&self) -> &'a str {
        self.asked.split_once('=').map_or(self.asked, |(name, _)| name)
    }

    /// What was there, for people.
    pub fn before(&self) -> String {
        match (self.state, self.installed) {
            ("config", _) => "only configuration files".to_owned(),
            ("broken", version) => format!("{version}, broken"),
            (_, "-") => "absent".to_owned(),
            (_, version) => version.to_owned(),
        }
    }

    /// What will be there, for people.
    pub fn after(&self) -> String {
        match (self.candidate, self.asked.split_once('=')) {
            ("-" | "?", Some((_, version))) => version.to_owned(),
            ("-", None) => "installed".to_owned(),
            ("?", None) => "newest".to_owned(),
            (version, _) => version.to_owned(),
        }
    }
}
