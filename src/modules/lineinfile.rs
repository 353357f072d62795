//! `lineinfile`: a file has this line, or has it not.

mod edit;

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use self::edit::{Edit, Find, Place};
use super::file::{CHANGE, Edited, LOOK, Properties};
use super::text::{compiled, references};
use crate::module::{Answer, Mode, Module, Path, Presence, Question, Surroundings, Touches, Verdict};
use crate::remote::Library;

/// Make sure that a file has one certain line, or has it not.
///
/// A line that fits `regexp` or holds `search_string` is replaced by `line`; if there is none, `line` is added. All
/// other bytes of the file stay as they are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lineinfile {
    /// The file.
    #[serde(alias = "dest", alias = "name")]
    path: Path,
    /// The line, without its ending.
    #[serde(alias = "value")]
    line: Option<String>,
    /// Regular expression for the line that is replaced (the last one that fits) or, with `state = "absent"`, for
    /// the lines that are removed. It is searched for anywhere in a line; `^` and `$` are the line's ends.
    /// Look-around and back-references inside the expression do not exist here.
    #[serde(alias = "regex")]
    regexp: Option<String>,
    /// As `regexp`, but plain text.
    search_string: Option<String>,
    /// `present` or `absent`.
    #[serde(default)]
    state: Presence,
    /// `line` may hold `\1` or `\g<name>` for what the groups of `regexp` found. Where `regexp` fits no line, the file
    /// stays as it is.
    #[serde(default)]
    backrefs: bool,
    /// Where a new line goes: after the last line that fits this regular expression, or `EOF`, which it also is when
    /// none fits.
    insertafter: Option<String>,
    /// Where a new line goes: before the last line that fits this regular expression, or `BOF` for the start.
    insertbefore: Option<String>,
    /// Of several lines that fit, take the first one instead of the last one.
    #[serde(default)]
    firstmatch: bool,
    /// Make the file if it does not exist. Without this, a missing file is an error.
    #[serde(default)]
    create: bool,
    /// Permissions, such as `"0644"`. Left out: the file keeps its own, a new one gets 0644.
    mode: Option<Mode>,
    /// Name or number of the owner. Left out: the file keeps its owner.
    owner: Option<String>,
    /// Name or number of the group. Left out: the file keeps its group.
    group: Option<String>,
    /// Command that tests the new file. With `%s`, which stands for the path of the candidate, it runs before the
    /// file is replaced. Without, it runs right after, and the old file comes back if it fails.
    validate: Option<String>,
    /// Accepted for playbooks that say it: what is overwritten is kept on the host in any case, for `rollback`, and no
    /// copy is left beside the file.
    #[serde(default, rename = "backup")]
    _backup: bool,
    /// When the path is a link, work on the file that it leads to. Without this, a link is an error.
    #[serde(default)]
    follow: bool,
}

impl Module for Lineinfile {
    const NAME: &'static str = "lineinfile";
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE];

    fn check(&self) -> Result<()> {
        self.properties().check()?;
        if self.regexp.is_some() && self.search_string.is_some() {
            bail!("`regexp` and `search_string` exclude each other");
        }
        if self.insertafter.is_some() && self.insertbefore.is_some() {
            bail!("`insertafter` and `insertbefore` exclude each other");
        }
        if self.regexp.as_deref() == Some("") || self.search_string.as_deref() == Some("") {
            bail!("an empty text fits every line | leave it out to look for the line itself");
        }
        if self.wanted_line().contains('\r') {
            bail!("`line` holds a carriage return | leave it out; a new line ends as the others of the file do");
        }
        if self.wanted_line().contains('\n') {
            bail!("`line` holds a newline, so it is more than one line | use `blockinfile` for several lines");
        }
        match self.state {
            Presence::Present if self.line.is_none() => bail!("`line` is missing"),
            Presence::Absent if self.line.is_none() && self.regexp.is_none() && self.search_string.is_none() => {
                bail!("what is to be removed? | give `line`, `regexp` or `search_string`")
            }
            _ => {}
        }
        let edit = self.edit()?;
        self.check_references(&edit)
    }

    fn touches(&self, around: &Surroundings) -> Touches {
        Touches::Path(around.absolute(&self.path))
    }

    fn probe(&self, around: &Surroundings) -> Question {
        Question::Ask(self.edited(&around.absolute(&self.path)).probe())
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let edit = self.edit()?;
        self.edited(&around.absolute(&self.path)).verdict(around, answer, |old| {
            Ok(match self.state {
                Presence::Present => edit.present(old),
                Presence::Absent => edit.absent(old),
            })
        })
    }
}

impl Lineinfile {
    fn properties(&self) -> Properties<'_> {
        Properties::new(self.mode.as_ref(), self.owner.as_ref(), self.group.as_ref())
    }

    fn edited<'a>(&'a self, path: &'a str) -> Edited<'a> {
        Edited { create: self.create, validate: self.validate.as_deref(), follow: self.follow, ..Edited::new(path, self.properties()) }
    }

    /// The line without an ending, which a text in three quotes has.
    fn wanted_line(&self) -> &str {
        let line = self.line.as_deref().unwrap_or_default();
        line.strip_suffix('\n').unwrap_or(line)
    }

    fn edit(&self) -> Result<Edit> {
        let find = match (&self.regexp, &self.search_string) {
            (Some(pattern), _) => Find::Pattern(compiled("regexp", pattern)?),
            (None, Some(text)) => Find::Text(text.as_bytes().to_vec()),
            (None, None) => Find::Line,
        };
        let place = match (self.insertafter.as_deref(), self.insertbefore.as_deref()) {
            (None | Some("EOF"), None) | (None, Some("EOF")) => Place::End,
            (Some("BOF"), _) | (_, Some("BOF")) => Place::Start,
            (Some(pattern), _) => Place::After(compiled("insertafter", pattern)?),
            (None, Some(pattern)) => Place::Before(compiled("insertbefore", pattern)?),
        };
        let line = self.wanted_line().as_bytes().to_vec();
        Ok(Edit { line, find, place, backrefs: self.backrefs, first_match: self.firstmatch })
    }

    fn check_references(&self, edit: &Edit) -> Result<()> {
        if !self.backrefs {
            return Ok(());
        }
        let Find::Pattern(pattern) = &edit.find else {
            bail!("`backrefs` needs `regexp`, whose groups `line` refers to");
        };
        for name in references(self.wanted_line()) {
            let is_there = match name.parse::<usize>() {
                Ok(number) => number < pattern.captures_len(),
                Err(_) => pattern.capture_names().flatten().any(|one| one == name),
            };
            if !is_there {
                bail!("`line` refers to group `{name}`, which `regexp` does not have | write `\\\\` for a backslash");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Lineinfile;
    use crate::module::testing::{probe, problems, verdict};

    const ARGUMENTS: &str = "path = '/etc/a.conf'\nregexp = '^port'\nline = 'port 22'";
    const SHA: &str = "ab";

    fn answer(mode: &str, sha: &str, content: &str) -> String {
        format!("file {mode} 0 0 root root 1 {} {sha}\ncontent\n{content}", content.len())
    }

    /// The hash of a content, as the host would give it.
    fn sha(content: &str) -> String {
        crate::module::Content::new(content.into()).sha256().to_owned()
    }

    #[test]
    fn the_content_is_always_asked_for() {
        assert_eq!(probe::<Lineinfile>(ARGUMENTS), "file_look '/etc/a.conf' 'nofollow' '?' 1048576");
    }

    #[test]
    fn a_file_with_the_line_is_in_place() {
        let content = "a\nport 22\n";
        assert_eq!(verdict::<Lineinfile>(ARGUMENTS, 0, &answer("0644", &sha(content), content)), "in place");
    }

    #[test]
    fn a_line_is_replaced_and_can_come_back() {
        let new = sha("a\nport 22\n");
        let expected = format!(
            "old content -> new content
keep   file_keep '/etc/a.conf'
apply  file_put '/etc/a.conf' nofollow '{new}' '-' '-' '-' - '' text 'a\\nport 22\\n'
expect file 0644 0 0 root root 1 10 {new}
content…
undo   file_back '/etc/a.conf' RECORD"
        );
        assert_eq!(verdict::<Lineinfile>(ARGUMENTS, 0, &answer("0644", SHA, "a\nport 80\n")), expected);
    }

    #[test]
    fn the_mode_can_change_alone() {
        let content = "port 22\n";
        let arguments = format!("{ARGUMENTS}\nmode = '0600'");
        let expected = format!(
            "0644 -> 0600
apply  file_meta '/etc/a.conf' '0600' '-' '-'
expect file 0600 0 0 root root 1 8 {0}
content…
undo   file_meta '/etc/a.conf' '0644' '-' '-'",
            sha(content)
        );
        assert_eq!(verdict::<Lineinfile>(&arguments, 0, &answer("0644", &sha(content), content)), expected);
    }

    #[test]
    fn a_missing_file_is_made_only_when_asked() {
        let expected = "error: `/etc/a.conf` does not exist; create = true would make it";
        assert_eq!(verdict::<Lineinfile>(ARGUMENTS, 0, "absent\n"), expected);
        let made = verdict::<Lineinfile>(&format!("{ARGUMENTS}\ncreate = true"), 0, "absent\n");
        assert!(made.starts_with("absent -> file\napply  file_put '/etc/a.conf' nofollow "), "{made}");
        assert!(made.contains(" '0644' '-' '-' - '' text 'port 22\\n'\n"), "{made}");
        assert_eq!(verdict::<Lineinfile>("path = '/a'\nline = 'x'\nstate = 'absent'", 0, "absent\n"), "in place");
    }

    #[test]
    fn what_has_no_lines_is_an_error() {
        assert_eq!(verdict::<Lineinfile>(ARGUMENTS, 0, "dir 0755 0 0 root root\n"), "error: `/etc/a.conf` is a directory and has no lines");
        let large = verdict::<Lineinfile>(ARGUMENTS, 0, "file 0644 0 0 root root 1 9999999 ab\n");
        assert!(large.starts_with("error: `/etc/a.conf` is larger than 1024 KiB"), "{large}");
    }

    #[test]
    fn lines_are_removed() {
        let text = verdict::<Lineinfile>("path = '/a'\nregexp = '^#'\nstate = 'absent'", 0, &answer("0644", SHA, "#a\nb\n#c\n"));
        assert!(text.contains(" text 'b\\n'\n"), "{text}");
    }

    #[test]
    fn what_python_alone_understands_is_explained() {
        let check = |pattern: &str| problems::<Lineinfile>(&format!("path = '/a'\nline = 'x'\nregexp = '{pattern}'"));
        assert_eq!(check("^(?!#)a"), "`regexp`: look-around such as `(?!…)` is not supported");
        assert_eq!(check(r"(a)\1"), "`regexp`: a back-reference inside the expression is not supported");
        assert!(check("(a").starts_with("`regexp` is no regular expression: "), "{}", check("(a"));
        for fine in [r"^\s*#?\s*Port\b", r"a\Z", r"\<tag\>", "[é]x", r"^(?P<key>\w+)\s*=", r"\/etc\/a\.conf"] {
            assert_eq!(check(fine), "", "{fine}");
        }
    }

    #[test]
    fn arguments_that_do_not_go_together_are_found() {
        let check = |rest: &str| problems::<Lineinfile>(&format!("path = '/a'\n{rest}"));
        assert_eq!(check("regexp = 'a'"), "`line` is missing");
        assert_eq!(check("state = 'absent'"), "what is to be removed?");
        assert_eq!(check("line = 'a'\nregexp = 'a'\nsearch_string = 'a'"), "`regexp` and `search_string` exclude each other");
        assert_eq!(check("line = 'a'\ninsertafter = 'a'\ninsertbefore = 'a'"), "`insertafter` and `insertbefore` exclude each other");
        assert_eq!(check("line = 'a'\nregexp = ''"), "an empty text fits every line");
        assert_eq!(check("line = \"a\\nb\""), "`line` holds a newline, so it is more than one line");
        assert_eq!(check(r"line = '\2'
regexp = '(a)'
backrefs = true"), "`line` refers to group `2`, which `regexp` does not have");
        assert_eq!(check("line = 'a'\nbackrefs = true"), "`backrefs` needs `regexp`, whose groups `line` refers to");
    }
}
