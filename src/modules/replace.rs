//! `replace`: every place in a file that fits an expression is replaced.

use anyhow::{Result, bail};
use regex::bytes::Regex;
use schemars::JsonSchema;
use serde::Deserialize;

use super::file::{CHANGE, Edited, LOOK, Properties};
use super::text::{built, expanded, references};
use crate::module::{Answer, Mode, Module, Path, Question, Surroundings, Touches, Verdict};
use crate::remote::Library;

/// Replace every place in a file that fits a regular expression.
///
/// The expression sees the whole file: `^` and `$` are the ends of each line, and `\n` fits a line break (in files with
/// Windows line ends a `\r` stands before it). For it to change
/// nothing the second time, what is put in must not fit the expression any more; where it does, the task fails and says so.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replace {
    /// The file, which must be there.
    #[serde(alias = "dest", alias = "name", alias = "destfile")]
    path: Path,
    /// Regular expression. Look-around and back-references inside the expression do not exist here.
    regexp: String,
    /// What is put in; `\1` and `\g<name>` stand for what the groups of `regexp` found. Left out: what fits is removed.
    #[serde(default)]
    replace: String,
    /// Only what stands behind the first place that fits this expression is looked at.
    after: Option<String>,
    /// Only what stands before the first place that fits this expression is looked at.
    before: Option<String>,
    /// Permissions, such as `"0644"`. Left out: the file keeps its own.
    mode: Option<Mode>,
    /// Name or number of the owner. Left out: the file keeps its owner.
    owner: Option<String>,
    /// Name or number of the group. Left out: the file keeps its group.
    group: Option<String>,
    /// Command that tests the new file, as for `lineinfile`.
    validate: Option<String>,
    /// Accepted for playbooks that say it: what is overwritten is kept on the host in any case, for `rollback`.
    #[serde(default, rename = "backup")]
    _backup: bool,
    /// When the path is a link, work on the file that it leads to. Without this, a link is an error.
    #[serde(default)]
    follow: bool,
}

impl Module for Replace {
    const NAME: &'static str = "replace";
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE];

    fn check(&self) -> Result<()> {
        self.properties().check()?;
        if self.regexp.is_empty() {
            bail!("an empty `regexp` fits everywhere");
        }
        let pattern = lines("regexp", &self.regexp, b"")?;
        for (key, pattern) in [("after", &self.after), ("before", &self.before)] {
            if let Some(pattern) = pattern {
                across(key, pattern, b"")?;
            }
        }
        for name in references(&self.replace) {
            let is_there = match name.parse::<usize>() {
                Ok(number) => number < pattern.captures_len(),
                Err(_) => pattern.capture_names().flatten().any(|one| one == name),
            };
            if !is_there {
                bail!("`replace` refers to group `{name}`, which `regexp` does not have | write `\\\\` for a backslash");
            }
        }
        Ok(())
    }

    fn touches(&self, around: &Surroundings) -> Touches {
        Touches::Path(around.absolute(&self.path))
    }

    fn probe(&self, around: &Surroundings) -> Question {
        Question::Ask(self.edited(&around.absolute(&self.path)).probe())
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let path = around.absolute(&self.path);
        if answer.status == 0 && answer.stdout.starts_with(b"absent") {
            if around.after_planned_changes {
                bail!("`{path}` is not there yet");
            }
            bail!("`{path}` does not exist, so there is nothing in it to replace");
        }
        self.edited(&path).verdict(around, answer, |old| self.edit(old))
    }
}

impl Replace {
    fn properties(&self) -> Properties<'_> {
        Properties::new(self.mode.as_ref(), self.owner.as_ref(), self.group.as_ref())
    }

    fn edited<'a>(&'a self, path: &'a str) -> Edited<'a> {
        Edited { validate: self.validate.as_deref(), follow: self.follow, ..Edited::new(path, self.properties()) }
    }

    fn edit(&self, old: &[u8]) -> Result<Vec<u8>> {
        let new = self.once(old)?;
        if new != old && self.once(&new)? != new {
            bail!("what is put in fits `regexp` itself, so every run would change the file again; make the expression fit only what is to be replaced, such as by `^` and `$`");
        }
        Ok(new)
    }

    fn once(&self, old: &[u8]) -> Result<Vec<u8>> {
        let Some((from, to)) = self.part(old)? else { return Ok(old.to_vec()) };
        let pattern = lines("regexp", &self.regexp, old)?;
        let new = pattern.replace_all(&old[from..to], |groups: &regex::bytes::Captures| expanded(self.replace.as_bytes(), groups));
        Ok([&old[..from], &new, &old[to..]].concat())
    }

    /// The part that is looked at: none where `after` or `before` fit nothing.
    fn part(&self, old: &[u8]) -> Result<Option<(usize, usize)>> {
        let from = match &self.after {
            Some(pattern) => match across("after", pattern, old)?.find(old) {
                Some(found) => found.end(),
                None => return Ok(None),
            },
            None => 0,
        };
        let to = match &self.before {
            Some(pattern) => match across("before", pattern, old)?.find(&old[from..]) {
                Some(found) => from + found.start(),
                None => return Ok(None),
            },
            None => old.len(),
        };
        Ok(Some((from, to)))
    }
}

fn lines(key: &str, pattern: &str, text: &[u8]) -> Result<Regex> {
    built(key, pattern, std::str::from_utf8(text).is_ok(), |builder| {
        builder.multi_line(true);
    })
}

/// Here `.` fits a line break, too.
fn across(key: &str, pattern: &str, text: &[u8]) -> Result<Regex> {
    built(key, pattern, std::str::from_utf8(text).is_ok(), |builder| {
        builder.multi_line(true).dot_matches_new_line(true);
    })
}

#[cfg(test)]
mod tests {
    use super::Replace;
    use crate::module::testing::{module, problems};

    fn made(arguments: &str, old: &str) -> String {
        let module: Replace = module(&format!("path = '/a'\n{arguments}"));
        module.edit(old.as_bytes()).map_or_else(|error| format!("error: {error}"), |new| String::from_utf8_lossy(&new).into_owned())
    }

    #[test]
    fn every_place_is_replaced() {
        assert_eq!(made("regexp = 'old'\nreplace = 'new'", "old old\nold"), "new new\nnew");
        assert_eq!(made(r"regexp = '^(\w+)=1$'
replace = '\1=2'", "a=1\nb=11\nc=1\n"), "a=2\nb=11\nc=2\n");
        assert_eq!(made(r"regexp = '#.*\n'", "a\n#x\nb\n"), "a\nb\n");
    }

    #[test]
    fn only_a_part_may_be_looked_at() {
        let text = "[a]\nx=1\n[b]\nx=1\n[c]\nx=1\n";
        assert_eq!(made("regexp = 'x=1'\nreplace = 'x=2'\nafter = '\\[b\\]'\nbefore = '\\[c\\]'", text), "[a]\nx=1\n[b]\nx=2\n[c]\nx=1\n");
        assert_eq!(made("regexp = 'x=1'\nreplace = 'x=2'\nafter = 'nowhere'", text), text);
    }

    #[test]
    fn what_would_never_end_is_refused() {
        assert!(made("regexp = 'a'\nreplace = 'aa'", "a").starts_with("error: what is put in fits"));
        assert_eq!(made("regexp = 'a'\nreplace = 'a'", "a"), "a");
        assert!(problems::<Replace>("path = '/a'\nregexp = 'a'\nreplace = '\\1'").contains("refers to group `1`"));
    }
}
