//! What the modules `user` and `group` share: the shell functions for accounts, and how their answers are read.

mod expiry;

use anyhow::{Result, bail};

use crate::module::Answer;
use crate::remote::Library;
use crate::shell::Pattern;

pub use expiry::Expiry;

pub static LOOK: Library = Library { name: "account_look", text: include_str!("look.sh") };
pub static CHANGE: Library = Library { name: "account_change", text: include_str!("change.sh") };

/// Lines of a word and its value, such as `uid 1000`.
pub struct Lines<'a>(&'a str);

impl<'a> Lines<'a> {
    /// # Errors
    /// When the host could not answer.
    pub fn of(answer: &'a Answer) -> Result<Self> {
        Ok(Self(answer.text()?))
    }

    /// # Errors
    /// When there is no such line, so that a changed shell function is noticed.
    pub fn value(&self, word: &str) -> Result<&'a str> {
        match Answer::field(self.0, word) {
            Some(value) => Ok(value),
            None => bail!("the answer of the host has no line `{word}`"),
        }
    }

    /// The words on a line that may be a lone dash.
    ///
    /// # Errors
    /// As [`value`](Self::value).
    pub fn list(&self, word: &str) -> Result<Vec<&'a str>> {
        Ok(self.value(word)?.split([' ', ',']).filter(|one| !one.is_empty() && *one != "-").collect())
    }

    /// Refuses a change that this host cannot make.
    ///
    /// # Errors
    /// When it has no tools for accounts, or the account is not its own. `what` is such as "the user ann".
    pub fn refuse_unchangeable(&self, what: &str) -> Result<Tools> {
        if Answer::field(self.0, "local") == Some("no") {
            bail!("{what} comes from a directory service, so it cannot be changed on this host");
        }
        match self.value("tools")? {
            "shadow" => Ok(Tools::Shadow),
            "busybox" => Ok(Tools::BusyBox),
            _ => bail!("this host has no tools to manage accounts (useradd or adduser)"),
        }
    }
}

/// What a host changes accounts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tools {
    Shadow,
    /// It can add and remove, but hardly change.
    BusyBox,
}

/// An answer as it has to be after a change, line by line.
#[derive(Default)]
pub struct Expected(Pattern);

impl Expected {
    #[must_use]
    pub fn line(self, word: &str, value: &str) -> Self {
        Self(self.0.and(format!("{word} {value}\n")))
    }

    /// A line with any value.
    #[must_use]
    pub fn any(self, word: &str) -> Self {
        Self(self.0.and(format!("{word} ")).and_anything().and("\n"))
    }

    /// A line with this value, or with any.
    #[must_use]
    pub fn known(self, word: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.line(word, value),
            None => self.any(word),
        }
    }

    pub fn pattern(self) -> Pattern {
        self.0
    }
}

/// Whether text can be a name of a user or group, by the rule of the shell functions.
///
/// # Errors
/// What is wrong with it.
pub fn refuse_odd_name(key: &str, name: &str) -> Result<()> {
    let known = |letter: char| letter.is_ascii_alphanumeric() || "._@+$-".contains(letter);
    if name.is_empty() || name.starts_with('-') || !name.chars().all(known) {
        bail!("`{key}` cannot be `{name}` | letters, digits and `._@+$-` make a name, which does not begin with a dash");
    }
    if name.chars().all(|letter| letter.is_ascii_digit()) {
        bail!("`{key}` is a name, not a number | write the name that belongs to {name}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expected_answer_has_gaps() {
        let expected = Expected::default().line("tools", "shadow").any("uid").known("gid", None).known("comment", Some(""));
        assert_eq!(expected.pattern().to_string(), "tools shadow\nuid …\ngid …\ncomment \n");
    }

    #[test]
    fn odd_names_are_refused() {
        assert!(["ann", "a.b", "0day", "host$", "x@y"].iter().all(|name| refuse_odd_name("name", name).is_ok()));
        assert!(["", "-a", "a b", "1000", "a:b", "é"].iter().all(|name| refuse_odd_name("name", name).is_err()));
    }
}
