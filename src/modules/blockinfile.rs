//! `blockinfile`: a file has this block of lines, between two marker lines.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::file::{CHANGE, Edited, LOOK, Properties};
use super::text::{Line, compiled, lines_of, push, split_mark};
use crate::module::{Answer, Mode, Module, Path, Presence, Question, Surroundings, Touches, Verdict};
use crate::remote::Library;

/// Make sure that a file has a block of lines between two marker lines, or has it not.
///
/// The markers tell the block apart from the rest of the file: what stands between them is replaced as a whole, all other
/// bytes stay as they are. Two blocks in one file need different markers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Blockinfile {
    /// The file.
    #[serde(alias = "dest", alias = "name", alias = "destfile")]
    path: Path,
    /// The lines. An empty text removes the block, as `state = "absent"` does.
    #[serde(default, alias = "content")]
    block: String,
    /// `present` or `absent`.
    #[serde(default)]
    state: Presence,
    /// The marker lines; `{mark}` in it becomes BEGIN or END. It has to be a comment in the file's own syntax.
    /// A block between Ansible's usual markers is found, too, where this is left out.
    marker: Option<String>,
    /// What `{mark}` becomes in the line before the block.
    #[serde(default = "begin")]
    marker_begin: String,
    /// What `{mark}` becomes in the line after the block.
    #[serde(default = "end")]
    marker_end: String,
    /// Where a new block goes: after the last line that fits this regular expression, or `EOF`, which it also is when
    /// none fits.
    insertafter: Option<String>,
    /// Where a new block goes: before the last line that fits this regular expression, or `BOF` for the start.
    insertbefore: Option<String>,
    /// An empty line after a new block, where no empty line follows.
    #[serde(default)]
    append_newline: bool,
    /// An empty line before a new block, where none stands.
    #[serde(default)]
    prepend_newline: bool,
    /// Make the file if it does not exist. Without this, a missing file is an error.
    #[serde(default)]
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

fn begin() -> String {
    "BEGIN".into()
}

fn end() -> String {
    "END".into()
}

const USUAL: &str = "# {mark} MANAGED BLOCK";
const ELSEWHERE: &str = "# {mark} ANSIBLE MANAGED BLOCK";

impl Module for Blockinfile {
    const NAME: &'static str = "blockinfile";
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE];

    fn check(&self) -> Result<()> {
        self.properties().check()?;
        if self.insertafter.is_some() && self.insertbefore.is_some() {
            bail!("`insertafter` and `insertbefore` exclude each other");
        }
        if let Some(marker) = &self.marker {
            if marker.contains('\n') {
                bail!("`marker` is one line");
            }
            if !marker.contains("{mark}") {
                bail!("`marker` has no `{{mark}}` in it, so the beginning and the end of the block would be the same | write `# {{mark}} of my block`");
            }
        }
        if self.marker_begin.contains('\n') || self.marker_end.contains('\n') {
            bail!("a marker is one line");
        }
        if self.marker_begin == self.marker_end {
            bail!("`marker_begin` and `marker_end` are the same, so nobody could tell the beginning from the end");
        }
        let (begin, end) = self.markers(USUAL);
        if self.block.lines().any(|line| [&begin, &end].iter().any(|marker| line.trim_end() == marker.trim_end())) {
            bail!("the block has one of its own marker lines in it | leave the markers out; they are added");
        }
        for (key, pattern) in [("insertafter", &self.insertafter), ("insertbefore", &self.insertbefore)] {
            if let Some(pattern) = pattern.as_ref().filter(|pattern| !["EOF", "BOF"].contains(&pattern.as_str())) {
                compiled(key, pattern)?;
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
        self.edited(&around.absolute(&self.path)).verdict(around, answer, |old| self.edit(old))
    }
}

impl Blockinfile {
    fn properties(&self) -> Properties<'_> {
        Properties::new(self.mode.as_ref(), self.owner.as_ref(), self.group.as_ref())
    }

    fn edited<'a>(&'a self, path: &'a str) -> Edited<'a> {
        Edited { create: self.create, validate: self.validate.as_deref(), follow: self.follow, ..Edited::new(path, self.properties()) }
    }

    fn markers(&self, usual: &str) -> (String, String) {
        let marker = self.marker.as_deref().unwrap_or(usual);
        (marker.replace("{mark}", &self.marker_begin), marker.replace("{mark}", &self.marker_end))
    }

    fn edit(&self, old: &[u8]) -> Result<Vec<u8>> {
        let mut new = self.once(old)?;
        // Every block of that name goes away.
        while !self.is_wanted() {
            let next = self.once(&new)?;
            if next == new {
                break;
            }
            new = next;
        }
        Ok(new)
    }

    fn is_wanted(&self) -> bool {
        self.state == Presence::Present && !self.block.is_empty()
    }

    fn once(&self, old: &[u8]) -> Result<Vec<u8>> {
        let (mark, body) = split_mark(old);
        let lines = lines_of(body);
        // What another tool has left there under its usual markers is the same block.
        let usual = match &self.marker {
            None if find(&lines, &self.markers(USUAL)).is_none() && find(&lines, &self.markers(ELSEWHERE)).is_some() => ELSEWHERE,
            _ => USUAL,
        };
        let markers = self.markers(usual);
        let ending = lines.iter().map(|line| line.ending).find(|ending| !ending.is_empty()).unwrap_or(b"\n");
        let is_wanted = self.is_wanted();
        let (before, after) = match find(&lines, &markers) {
            Some((first, last)) => (&lines[..first], &lines[last + 1..]),
            None if !is_wanted => return Ok(old.to_vec()),
            None => lines.split_at(self.place(&lines)?),
        };
        let is_new = before.len() + after.len() == lines.len();
        let mut new = mark.to_vec();
        for line in before {
            let ending = if line.ending.is_empty() && (is_wanted || !after.is_empty()) { ending } else { line.ending };
            push(&mut new, Line { text: line.text, ending });
        }
        if is_wanted {
            if is_new && self.prepend_newline && before.last().is_some_and(|line| !line.text.is_empty()) {
                new.extend_from_slice(ending);
            }
            for text in std::iter::once(markers.0.as_str()).chain(self.block.lines()).chain([markers.1.as_str()]) {
                push(&mut new, Line { text: text.as_bytes(), ending });
            }
            if is_new && self.append_newline && after.first().is_some_and(|line| !line.text.is_empty()) {
                new.extend_from_slice(ending);
            }
        }
        for line in after {
            push(&mut new, *line);
        }
        Ok(new)
    }

    /// Before which line a new block goes.
    fn place(&self, lines: &[Line]) -> Result<usize> {
        let last = |key: &str, pattern: &str| -> Result<Option<usize>> {
            let pattern = compiled(key, pattern)?;
            Ok(lines.iter().rposition(|line| pattern.is_match(line.text)))
        };
        Ok(match (self.insertafter.as_deref(), self.insertbefore.as_deref()) {
            (None | Some("EOF"), None) | (None, Some("EOF")) => lines.len(),
            (Some("BOF"), _) | (_, Some("BOF")) => 0,
            (Some(pattern), _) => last("insertafter", pattern)?.map_or(lines.len(), |at| at + 1),
            (None, Some(pattern)) => last("insertbefore", pattern)?.unwrap_or(lines.len()),
        })
    }
}

/// The numbers of the marker lines of a block.
fn find(lines: &[Line], markers: &(String, String)) -> Option<(usize, usize)> {
    let is = |line: &Line, marker: &str| line.text.trim_ascii_end() == marker.trim_ascii_end().as_bytes();
    let last = lines.iter().rposition(|line| is(line, &markers.1))?;
    let first = lines[..last].iter().rposition(|line| is(line, &markers.0))?;
    // An end without a beginning further down belongs to nothing.
    let end = lines[first..].iter().position(|line| is(line, &markers.1))?;
    Some((first, first + end))
}

#[cfg(test)]
mod tests {
    use super::Blockinfile;
    use crate::module::testing::{module, problems};

    #[track_caller]
    fn check(arguments: &str, old: &str, new: &str) {
        let module: Blockinfile = module(&format!("path = '/a'\n{arguments}"));
        let made = module.edit(old.as_bytes()).expect("an edit");
        assert_eq!(String::from_utf8_lossy(&made), new);
        assert_eq!(module.edit(&made).expect("an edit"), made, "a second time");
    }

    #[test]
    fn a_block_comes_goes_and_is_replaced() {
        let block = "x\n# BEGIN MANAGED BLOCK\na\nb\n# END MANAGED BLOCK\n";
        check("block = \"a\\nb\\n\"", "x\n", block);
        check("block = \"a\\nb\"", "x", block);
        check("block = 'c'", block, "x\n# BEGIN MANAGED BLOCK\nc\n# END MANAGED BLOCK\n");
        check("state = 'absent'", block, "x\n");
        check("block = ''", &format!("{block}y"), "x\ny");
        check("block = 'c'", "# BEGIN ANSIBLE MANAGED BLOCK\nold\n# END ANSIBLE MANAGED BLOCK\n", "# BEGIN ANSIBLE MANAGED BLOCK\nc\n# END ANSIBLE MANAGED BLOCK\n");
    }

    #[test]
    fn a_new_block_has_its_place() {
        let made = "# BEGIN MANAGED BLOCK\nn\n# END MANAGED BLOCK\n";
        check("block = 'n'\ninsertbefore = 'BOF'", "a\nb\n", &format!("{made}a\nb\n"));
        check("block = 'n'\ninsertafter = '^a'", "a\na2\nb\n", &format!("a\na2\n{made}b\n"));
        check("block = 'n'\ninsertbefore = '^b'", "a\nb\n", &format!("a\n{made}b\n"));
        check("block = 'n'\ninsertafter = '^z'", "a\n", &format!("a\n{made}"));
        check("block = 'n'\nprepend_newline = true\nappend_newline = true\ninsertafter = '^a'", "a\nb\n", &format!("a\n\n{made}\nb\n"));
        check("block = 'n'", "a\r\n", "a\r\n# BEGIN MANAGED BLOCK\r\nn\r\n# END MANAGED BLOCK\r\n");
    }

    #[test]
    fn markers_must_tell_beginning_from_end() {
        assert!(problems::<Blockinfile>("path = '/a'\nmarker = '# x'").contains("has no `{mark}`"));
        assert!(problems::<Blockinfile>("path = '/a'\nblock = '# BEGIN MANAGED BLOCK'").contains("one of its own marker lines"));
    }
}
