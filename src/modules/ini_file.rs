//! `ini_file`: an option in a section of a file has this value.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::file::{CHANGE, Edited, LOOK, Properties};
use super::text::{Line, Scalar, lines_of, push, split_mark};
use crate::module::{Answer, Mode, Module, OneOrMany, Path, Presence, Question, Surroundings, Touches, Verdict};
use crate::remote::Library;

/// Set or remove one option in a section of an INI file, or a whole section.
///
/// Comments, blank lines, order and spacing of everything else stay. An option that stands there commented out is taken as
/// the place for it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IniFile {
    /// The file.
    #[serde(alias = "dest", alias = "name")]
    path: Path,
    /// Name of the section, without brackets. Left out or empty: the options before the first section.
    #[serde(default)]
    section: String,
    /// Name of the option. Left out: the section itself is made or removed.
    option: Option<String>,
    /// Its value.
    value: Option<Scalar>,
    /// Several values: the option stands there once for each.
    #[serde(default)]
    values: OneOrMany,
    /// `present` or `absent`.
    #[serde(default)]
    state: Presence,
    /// Other values of the same option are removed.
    #[serde(default = "yes")]
    exclusive: bool,
    /// No blanks around the `=`.
    #[serde(default)]
    no_extra_spaces: bool,
    /// The option may stand there without a value, and without `=`.
    #[serde(default)]
    allow_no_value: bool,
    /// Do not take an option that is commented out for its place.
    #[serde(default)]
    ignore_comments: bool,
    /// Make the file if it does not exist.
    #[serde(default = "yes")]
    create: bool,
    /// Permissions, such as `"0644"`. Left out: the file keeps its own, a new one gets 0644.
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

fn yes() -> bool {
    true
}

impl Module for IniFile {
    const NAME: &'static str = "ini_file";
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE];

    fn check(&self) -> Result<()> {
        self.properties().check()?;
        if self.value.is_some() && !self.values.0.is_empty() {
            bail!("`value` and `values` exclude each other");
        }
        if self.section.contains(['\n', '\r', '[', ']']) || self.section.trim() != self.section {
            bail!("`section`: `{}` cannot be the name of a section | write it without brackets", self.section.escape_debug());
        }
        let Some(option) = &self.option else {
            if self.value.is_some() || !self.values.0.is_empty() {
                bail!("`option` is missing, so nobody knows what has that value");
            }
            if self.section.is_empty() {
                bail!("there is nothing to do | set `section`, and `option` with its `value`");
            }
            return Ok(());
        };
        if option.trim() != option || option.is_empty() || option.contains(['=', '\n']) || option.starts_with(['[', '#', ';']) {
            bail!("`option`: `{}` cannot be the name of an option", option.escape_debug());
        }
        if self.state == Presence::Present && self.wanted().is_empty() && !self.allow_no_value {
            bail!("`value` is missing | set it, or allow_no_value = true for an option that stands alone");
        }
        if self.wanted().iter().any(|value| value.contains(['\n', '\r'])) {
            bail!("a value is one line");
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
        self.edited(&around.absolute(&self.path)).verdict(around, answer, |old| Ok(self.edit(old)))
    }
}

/// A line and its ending, which it keeps.
#[derive(Clone, PartialEq)]
struct Text {
    text: Vec<u8>,
    ending: Vec<u8>,
}

/// What a line of the section says about the option.
enum Says {
    /// It has this value, or none.
    Value(Option<String>),
    /// The same, commented out.
    Comment,
    Nothing,
}

impl IniFile {
    fn properties(&self) -> Properties<'_> {
        Properties::new(self.mode.as_ref(), self.owner.as_ref(), self.group.as_ref())
    }

    fn edited<'a>(&'a self, path: &'a str) -> Edited<'a> {
        Edited { create: self.create, validate: self.validate.as_deref(), follow: self.follow, ..Edited::new(path, self.properties()) }
    }

    fn wanted(&self) -> Vec<String> {
        let mut wanted = Vec::new();
        for value in self.value.iter().map(ToString::to_string).chain(self.values.0.iter().cloned()) {
            let value = value.trim().to_owned();
            if !wanted.contains(&value) {
                wanted.push(value);
            }
        }
        wanted
    }

    fn edit(&self, old: &[u8]) -> Vec<u8> {
        let (mark, body) = split_mark(old);
        let lines = lines_of(body);
        let usual = lines.iter().map(|line| line.ending).find(|ending| !ending.is_empty()).unwrap_or(b"\n").to_vec();
        let mut texts: Vec<Text> = lines.iter().map(|line| Text { text: line.text.to_vec(), ending: line.ending.to_vec() }).collect();
        let before = texts.clone();
        // A section may stand there more than once.
        loop {
            let last = texts.clone();
            self.change(&mut texts, &usual);
            if texts == last || self.state == Presence::Present {
                break;
            }
        }
        if texts == before {
            return old.to_vec();
        }
        let mut new = mark.to_vec();
        let last = texts.len().saturating_sub(1);
        for (at, line) in texts.iter().enumerate() {
            let ending = if at < last && line.ending.is_empty() { &usual } else { &line.ending };
            push(&mut new, Line { text: &line.text, ending });
        }
        new
    }

    fn change(&self, texts: &mut Vec<Text>, usual: &[u8]) {
        let (start, end) = match self.bounds(texts) {
            Some(bounds) => bounds,
            None if self.state == Presence::Absent => return,
            None => {
                // Without a section, what is new stands at the top of the file, which always is there.
                texts.push(Text { text: format!("[{}]", self.section).into_bytes(), ending: usual.to_vec() });
                (texts.len(), texts.len())
            }
        };
        match (&self.option, self.state) {
            (None, Presence::Present) => {}
            (None, Presence::Absent) => drop(texts.drain(start - 1..end)),
            (Some(option), Presence::Absent) => self.remove(option, texts, start, end),
            (Some(option), Presence::Present) => self.set(option, texts, start, end, usual),
        }
    }

    /// The lines of the section: the first after its head, and the first that is not in it any more.
    fn bounds(&self, texts: &[Text]) -> Option<(usize, usize)> {
        // What is indented continues the line above.
        let head = |line: &Text| -> Option<String> {
            let text = String::from_utf8_lossy(&line.text).into_owned();
            let inner = text.strip_prefix('[')?;
            Some(inner[..inner.find(']')?].trim().to_owned())
        };
        // Where several of that name stand there, the one that has the option counts.
        if self.state == Presence::Absent
            && let Some(option) = &self.option
        {
            let starts = texts.iter().enumerate().filter(|(_, line)| head(line).is_some_and(|name| name == self.section)).map(|(at, _)| at + 1);
            let end_of = |start: usize| texts[start..].iter().position(|line| head(line).is_some()).map_or(texts.len(), |length| start + length);
            let whole = (self.section.is_empty()).then_some(0);
            let with_it = whole.into_iter().chain(starts).find(|&start| texts[start..end_of(start)].iter().any(|line| self.goes(option, line)));
            return with_it.map(|start| (start, end_of(start)));
        }
        let start = match self.section.as_str() {
            "" => 0,
            section => texts.iter().position(|text| head(text).is_some_and(|name| name == section))? + 1,
        };
        let end = texts[start..].iter().position(|text| head(text).is_some()).map_or(texts.len(), |length| start + length);
        Some((start, end))
    }

    fn says(&self, option: &str, line: &[u8]) -> Says {
        let text = String::from_utf8_lossy(line);
        let text = text.trim();
        let (text, is_comment) = match text.strip_prefix(['#', ';']) {
            Some(rest) => (rest.trim_start(), true),
            None => (text, false),
        };
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(value.trim().to_owned())),
            None => (text, None),
        };
        if name != option {
            return Says::Nothing;
        }
        match is_comment {
            // A sentence that begins with the name of the option is no option.
            true if value.is_none() => Says::Nothing,
            true => Says::Comment,
            false => Says::Value(value),
        }
    }

    fn goes(&self, option: &str, line: &Text) -> bool {
        let wanted = self.wanted();
        match self.says(option, &line.text) {
            Says::Value(value) => self.exclusive || wanted.is_empty() || value.is_some_and(|value| wanted.contains(&value)),
            _ => false,
        }
    }

    fn remove(&self, option: &str, texts: &mut Vec<Text>, start: usize, end: usize) {
        let kept: Vec<Text> = texts[start..end].iter().filter(|line| !self.goes(option, line)).cloned().collect();
        texts.splice(start..end, kept);
    }

    fn set(&self, option: &str, texts: &mut Vec<Text>, start: usize, end: usize, usual: &[u8]) {
        let mut wanted: Vec<Option<String>> = self.wanted().into_iter().map(Some).collect();
        if wanted.is_empty() {
            wanted.push(None);
        }
        // First, what is there already as it is wanted; then other values, then what is commented out, give their places.
        let mut missing = wanted.clone();
        let mut spare = Vec::new();
        let mut comment = None;
        let mut stands = false;
        for (at, line) in texts.iter().enumerate().take(end).skip(start) {
            match self.says(option, &line.text) {
                Says::Value(value) => {
                    stands = true;
                    match missing.iter().position(|one| *one == value) {
                        Some(found) => drop(missing.remove(found)),
                        None => spare.push(at),
                    }
                }
                Says::Comment if comment.is_none() && !self.ignore_comments => comment = Some(at),
                _ => {}
            }
        }
        let mut places = if self.exclusive { spare.clone() } else { Vec::new() };
        if !stands {
            places.extend(comment);
        }
        let mut missing = missing.into_iter();
        let mut rest = Vec::new();
        for at in places {
            match missing.next() {
                Some(value) => {
                    // The indent stays.
                    let indent = texts[at].text.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                    let line = [&texts[at].text[..indent], &self.line(option, value.as_deref())].concat();
                    texts[at].text = line;
                }
                None => rest.push(at),
            }
        }
        let new: Vec<Text> = missing.map(|value| Text { text: self.line(option, value.as_deref()), ending: usual.to_vec() }).collect();
        // A new one stands behind the last option of the section; remarks behind that may belong to the next one.
        let says_something = |line: &Text| !line.text.trim_ascii().is_empty() && !line.text.trim_ascii_start().starts_with(b"#") && !line.text.trim_ascii_start().starts_with(b";");
        let last = (start..end).rev().find(|&at| says_something(&texts[at])).map_or(start, |at| at + 1);
        texts.splice(last..last, new);
        for at in rest.into_iter().rev() {
            texts.remove(at);
        }
    }

    fn line(&self, option: &str, value: Option<&str>) -> Vec<u8> {
        match value {
            None => option.to_owned(),
            Some(value) if self.no_extra_spaces => format!("{option}={value}"),
            Some(value) => format!("{option} = {value}"),
        }
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::IniFile;
    use crate::module::testing::{module, problems};

    #[track_caller]
    fn check(arguments: &str, old: &str, new: &str) {
        let module: IniFile = module(&format!("path = '/a'\n{arguments}"));
        let made = module.edit(old.as_bytes());
        assert_eq!(String::from_utf8_lossy(&made), new);
        assert_eq!(module.edit(&made), made, "a second time");
    }

    #[test]
    fn an_option_is_set_in_its_section() {
        check("section = 's'\noption = 'a'\nvalue = '1'", "", "[s]\na = 1\n");
        check("section = 's'\noption = 'a'\nvalue = '1'", "[s]\na = 0\n[t]\na = 0\n", "[s]\na = 1\n[t]\na = 0\n");
        check("section = 's'\noption = 'a'\nvalue = '1'", "[s]\nb = 0\n\n[t]\n", "[s]\nb = 0\na = 1\n\n[t]\n");
        check("section = 's'\noption = 'a'\nvalue = '1'", "[s]\n#a = 0\nb = 0\n", "[s]\na = 1\nb = 0\n");
        check("section = 's'\noption = 'a'\nvalue = 1\nno_extra_spaces = true", "[s]", "[s]\na=1\n");
        check("section = 's'\noption = 'a'\nvalue = '1'", "[s]\na=1", "[s]\na=1");
        check("option = 'a'\nvalue = true", "[s]\n", "a = true\n[s]\n");
        check("section = 's'\noption = 'a'\nallow_no_value = true", "[s]\n", "[s]\na\n");
    }

    #[test]
    fn several_values_stand_one_below_the_other() {
        check("section = 's'\noption = 'a'\nvalues = ['1', '2']", "[s]\na = 2\na = 3\nb = 0\n", "[s]\na = 2\na = 1\nb = 0\n");
        check("section = 's'\noption = 'a'\nvalue = '1'\nexclusive = false", "[s]\na = 2\n", "[s]\na = 2\na = 1\n");
        check("section = 's'\noption = 'a'\nvalue = '1'", "[s]\na = 2\na = 3\n", "[s]\na = 1\n");
    }

    #[test]
    fn options_and_sections_are_removed() {
        check("section = 's'\noption = 'a'\nstate = 'absent'", "[s]\na = 1\nb = 2\n[t]\na = 1\n", "[s]\nb = 2\n[t]\na = 1\n");
        check("section = 's'\nstate = 'absent'", "[r]\nx = 1\n[s]\na = 1\n[t]\n", "[r]\nx = 1\n[t]\n");
        check("section = 's'\noption = 'a'\nstate = 'absent'\nvalue = '2'\nexclusive = false", "[s]\na = 1\na = 2\n", "[s]\na = 1\n");
        check("section = 's'", "[r]\n", "[r]\n[s]\n");
        assert!(problems::<IniFile>("path = '/a'\nsection = 's'\noption = 'a'").contains("`value` is missing"));
    }
}
