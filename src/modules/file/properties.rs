//! Mode, owner and group of a path: what is asked for, against what is there.

use anyhow::{Result, bail};

use super::look::{Kind, Look, escaped_name};
use crate::module::Mode;
use crate::shell::Pattern;

/// What is asked for; what is not stays as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Properties<'a> {
    pub mode: Option<&'a Mode>,
    /// Name or number.
    pub owner: Option<&'a str>,
    pub group: Option<&'a str>,
}

/// One property that differs: its name, before, after.
pub type Changed = (&'static str, String, String);

impl<'a> Properties<'a> {
    pub fn new(mode: Option<&'a Mode>, owner: Option<&'a String>, group: Option<&'a String>) -> Self {
        Self { mode, owner: owner.map(String::as_str), group: group.map(String::as_str) }
    }

    pub fn is_empty(&self) -> bool {
        self.mode.is_none() && self.owner.is_none() && self.group.is_none()
    }

    /// # Errors
    /// A name that no account can have.
    pub fn check(&self) -> Result<()> {
        for (key, name) in [("owner", self.owner), ("group", self.group)] {
            let Some(name) = name else { continue };
            if name.is_empty() || name.starts_with('-') || name.contains([':', '/', '\n']) {
                bail!("`{key}`: `{name}` is no name of an account | write a name or a number in quotes");
            }
        }
        Ok(())
    }

    /// The mode afterwards. `new` is what something gets that is not there yet and for which no mode is asked.
    pub fn mode_after(&self, look: &Look, new: u32) -> u32 {
        let (old, is_folder) = match look.kind {
            // Without set-id bits, what is executable is treated as a folder is.
            Kind::Absent => (new, new & 0o111 != 0),
            kind => (look.mode, kind == Kind::Folder),
        };
        self.mode.map_or(old, |mode| mode.applied_to(old, is_folder))
    }

    /// What differs from what is there.
    pub fn changes(&self, look: &Look) -> Vec<Changed> {
        let mut changes = Vec::new();
        if look.is(Kind::Absent) {
            return changes;
        }
        let mode = self.mode_after(look, 0);
        // A link has no mode of its own.
        if mode != look.mode && !look.is(Kind::Link) {
            changes.push(("mode", Mode::text(look.mode), Mode::text(mode)));
        }
        if let Some(owner) = self.owner.filter(|owner| !look.is_owned_by(owner)) {
            changes.push(("owner", account(&look.owner, &look.uid), owner.to_owned()));
        }
        if let Some(group) = self.group.filter(|group| !look.is_of_group(group)) {
            changes.push(("group", account(&look.group, &look.gid), group.to_owned()));
        }
        changes
    }

    /// Mode, owner and group as the shell functions take them: `-` for what is to stay as it is.
    pub fn words(&self, look: &Look, new: u32) -> [String; 3] {
        let stays = || "-".to_owned();
        if look.is(Kind::Absent) {
            let mode = Mode::text(self.mode_after(look, new));
            return [mode, self.owner.map_or_else(stays, str::to_owned), self.group.map_or_else(stays, str::to_owned)];
        }
        let changes = self.changes(look);
        ["mode", "owner", "group"].map(|name| changes.iter().find(|one| one.0 == name).map_or_else(stays, |one| one.2.clone()))
    }

    /// The words that bring back what [`words`](Self::words) changed of something that is there.
    pub fn words_back(&self, look: &Look) -> [String; 3] {
        let changes = self.changes(look);
        let changed = |name| changes.iter().any(|one| one.0 == name);
        // A change of owner takes set-id bits away, so the mode always comes along; but a link has none.
        let mode = if look.is(Kind::Link) { "-".to_owned() } else { Mode::text(look.mode) };
        let owner = if changed("owner") { look.uid.clone() } else { "-".to_owned() };
        let group = if changed("group") { look.gid.clone() } else { "-".to_owned() };
        [mode, owner, group]
    }

    /// The next answer up to the group, as far as it can be known: `file 0644 0 0 root root`.
    pub fn head(&self, before: Pattern, word: &str, look: &Look, new: u32) -> Pattern {
        let mode = if look.is(Kind::Link) { look.mode } else { self.mode_after(look, new) };
        let (uid, owner) = after(self.owner.filter(|name| !look.is_owned_by(name)), look, &look.uid, &look.owner);
        let (gid, group) = after(self.group.filter(|name| !look.is_of_group(name)), look, &look.gid, &look.group);
        let mut pattern = before.and(format!("{word} {}", Mode::text(mode)));
        for field in [uid, gid, owner, group] {
            pattern = match field {
                Some(text) => pattern.and(format!(" {text}")),
                None => pattern.and(" ").and_anything(),
            };
        }
        pattern
    }
}

/// Number and name of an account afterwards; `None` for what only the host can tell.
fn after(asked: Option<&str>, look: &Look, number: &str, name: &str) -> (Option<String>, Option<String>) {
    match asked {
        Some(asked) if asked.bytes().all(|byte| byte.is_ascii_digit()) => (Some(asked.to_owned()), None),
        Some(asked) => (None, Some(escaped_name(asked))),
        None if look.is(Kind::Absent) => (None, None),
        None => (Some(number.to_owned()), Some(name.to_owned())),
    }
}

/// The name of an account, or its number when it has none.
fn account(name: &str, number: &str) -> String {
    if name == "UNKNOWN" { number.to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::Answer;

    fn look(line: &str) -> Look {
        Look::read(&Answer { stdout: line.into(), ..Answer::default() }).expect(line)
    }

    #[test]
    fn only_what_differs_is_changed_and_comes_back() {
        let there = look("file 4755 33 33 www-data www-data 1 0 -");
        let asked = Properties { mode: Some(&Mode::Octal(0o4755)), owner: Some("root"), group: Some("33") };
        assert_eq!(asked.words(&there, 0o644), ["-", "root", "-"]);
        assert_eq!(asked.words_back(&there), ["4755", "33", "-"]);
        assert_eq!(asked.head(Pattern::default(), "file", &there, 0).to_string(), "file 4755 … 33 root www-data");
    }

    #[test]
    fn what_is_new_gets_what_is_asked_or_the_usual() {
        let asked = Properties { owner: Some("1000"), ..Properties::default() };
        assert_eq!(asked.words(&Look::absent(), 0o644), ["0644", "1000", "-"]);
        assert_eq!(asked.head(Pattern::default(), "file", &Look::absent(), 0o644).to_string(), "file 0644 1000 … … …");
    }

    #[test]
    fn an_account_without_a_name_is_told_by_its_number() {
        let asked = Properties { owner: Some("root"), ..Properties::default() };
        let changes = asked.changes(&look("dir 0755 1234 0 UNKNOWN root"));
        assert_eq!(changes, [("owner", "1234".to_owned(), "root".to_owned())]);
    }
}
