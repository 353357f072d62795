//! `assemble`: a file made of the files of a folder.

use anyhow::{Context as _, Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::file::{CHANGE, EDITED_BYTES, Edited, LOOK, Properties};
use super::text::compiled;
use crate::module::{Answer, Local, LocalKind, Mode, Module, Path, Question, Surroundings, Touches, Verdict, Wanted, WantedKind};
use crate::remote::Library;
use crate::sh;
use crate::shell::Pattern;

/// Make a file of the files of a folder, one after the other in the order of their names.
///
/// The folder is on the host, or with `remote_src = false` on the controller. All of it together may have 1 MiB of text.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assemble {
    /// The folder with the parts.
    src: String,
    /// The file that is made of them.
    dest: Path,
    /// Whether the folder is on the host.
    #[serde(default = "yes")]
    remote_src: bool,
    /// Only files whose name fits this regular expression.
    regexp: Option<String>,
    /// A line between two parts.
    delimiter: Option<String>,
    /// Names that begin with a dot do not count.
    #[serde(default)]
    ignore_hidden: bool,
    /// Permissions, such as `"0644"`. Left out: the file keeps its own, a new one gets 0644.
    mode: Option<Mode>,
    /// Name or number of the owner. Left out: the file keeps its owner.
    owner: Option<String>,
    /// Name or number of the group. Left out: the file keeps its group.
    group: Option<String>,
    /// Command that tests the new file, as for `template`.
    validate: Option<String>,
    /// Accepted for playbooks that say it: what is overwritten is kept on the host in any case, for `rollback`.
    #[serde(default, rename = "backup")]
    _backup: bool,
}

fn yes() -> bool {
    true
}

impl Module for Assemble {
    const NAME: &'static str = "assemble";
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE];

    fn check(&self) -> Result<()> {
        self.properties().check()?;
        if let Some(pattern) = &self.regexp {
            compiled("regexp", pattern)?;
        }
        if self.remote_src && !self.src.starts_with('/') && !self.src.starts_with("~/") {
            bail!("`src`: `{}` is no path on a host | write it from `/`, or say remote_src = false for a folder beside the playbook", self.src);
        }
        Ok(())
    }

    fn wants(&self) -> Vec<Wanted> {
        if self.remote_src { Vec::new() } else { vec![Wanted { path: self.src.clone(), kind: WantedKind::Copy }] }
    }

    fn touches(&self, around: &Surroundings) -> Touches {
        Touches::Path(around.absolute(&self.dest))
    }

    /// With parts on the host, `part NAME LENGTH` and that many bytes for each, and the line `end`; then the file.
    fn probe(&self, around: &Surroundings) -> Question {
        let dest = around.absolute(&self.dest);
        let look = self.edited(&dest, Pattern::default()).probe();
        if !self.remote_src {
            return Question::Ask(look);
        }
        let source = match self.src.strip_prefix("~/") {
            Some(rest) => format!("{}/{rest}", around.home),
            None => self.src.clone(),
        };
        let parts = sh!(
            "[ -d {} ] || { core_die {}; exit 3; }\n_all=0\nset +f\nfor _p in {}/* {}/.*; do\nset -f\n[ -f \"$_p\" ] || continue\n\
             _c=$(cat -- \"$_p\" && echo x) || { core_die \"$(core_esc \"$_p\") cannot be read\"; exit 3; }\n_c=${_c%x}\n[ \"${#_c}\" -eq \"$(wc -c <\"$_p\")\" ] || { core_die \"$(core_esc \"$_p\") holds NUL bytes, so it is no text\"; exit 3; }\n_all=$((_all + ${#_c}))\n\
             [ \"$_all\" -le {} ] || { core_die 'the parts are more than 1 MiB together'; exit 3; }\n\
             printf 'part %s ' \"${#_c}\"; core_esc \"${_p##*/}\"; printf '\\n%s' \"$_c\"\ndone\nset -f\necho end",
            source,
            format!("the folder {source} does not exist"),
            source,
            source,
            EDITED_BYTES
        );
        Question::Ask(parts.then(&look))
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let dest = around.absolute(&self.dest);
        let (parts, before, rest) = if self.remote_src { self.parts_there(answer)? } else { (self.parts_here(around)?, Vec::new(), answer.clone()) };
        let text = self.joined(parts)?;
        self.edited(&dest, Pattern::exactly(before)).verdict(around, &rest, |_| Ok(text))
    }
}

impl Assemble {
    fn properties(&self) -> Properties<'_> {
        Properties::new(self.mode.as_ref(), self.owner.as_ref(), self.group.as_ref())
    }

    fn edited<'a>(&'a self, path: &'a str, before: Pattern) -> Edited<'a> {
        Edited { create: true, validate: self.validate.as_deref(), before, ..Edited::new(path, self.properties()) }
    }

    fn parts_here(&self, around: &Surroundings) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let Some(Local::Folder(entries)) = around.files.get(&self.src) else {
            bail!("`{}` is no folder", self.src);
        };
        let files = entries.iter().filter(|entry| !entry.path.contains(&b'/'));
        let parts = files.filter_map(|entry| match &entry.kind {
            LocalKind::File(content) => Some(content.all().map(|bytes| (entry.path.clone(), bytes.into_owned()))),
            _ => None,
        });
        parts.collect::<std::io::Result<_>>().with_context(|| format!("`{}` cannot be read", self.src))
    }

    /// The parts, the bytes of the answer that told them, and the rest of the answer.
    fn parts_there(&self, answer: &Answer) -> Result<(Vec<(Vec<u8>, Vec<u8>)>, Vec<u8>, Answer)> {
        let bytes = answer.bytes()?;
        let mut parts = Vec::new();
        let mut at = 0;
        loop {
            let end = bytes[at..].iter().position(|&byte| byte == b'\n').map(|length| at + length);
            let Some(end) = end else { bail!("the answer of the host ends early") };
            let line = &bytes[at..end];
            at = end + 1;
            if line == b"end" {
                break;
            }
            let mut words = line.splitn(3, |&byte| byte == b' ').skip(1);
            let length = words.next().and_then(|word| std::str::from_utf8(word).ok()).and_then(|word| word.parse::<usize>().ok());
            let (Some(length), Some(name)) = (length, words.next()) else { bail!("the answer of the host cannot be read") };
            let Some(content) = bytes.get(at..at + length) else { bail!("the answer of the host ends early") };
            parts.push((crate::shell::unescaped(name), content.to_vec()));
            at += length;
        }
        Ok((parts, bytes[..at].to_vec(), Answer { stdout: bytes[at..].to_vec(), ..answer.clone() }))
    }

    fn joined(&self, mut parts: Vec<(Vec<u8>, Vec<u8>)>) -> Result<Vec<u8>> {
        let pattern = self.regexp.as_ref().map(|pattern| compiled("regexp", pattern)).transpose()?;
        parts.retain(|(name, _)| pattern.as_ref().is_none_or(|pattern| pattern.is_match(name)) && !(self.ignore_hidden && name.starts_with(b".")));
        parts.sort();
        let mut text = Vec::new();
        for (number, (_, part)) in parts.iter().enumerate() {
            if number > 0 {
                if !text.is_empty() && !text.ends_with(b"\n") {
                    text.push(b'\n');
                }
                if let Some(line) = &self.delimiter {
                    text.extend_from_slice(line.trim_end_matches('\n').as_bytes());
                    text.push(b'\n');
                }
            }
            text.extend_from_slice(part);
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::Assemble;
    use crate::module::testing::verdict;

    #[test]
    fn parts_of_the_host_are_put_together_in_order() {
        let answer = "part 2 b\nB\npart 1 a\nApart 2 .h\nH\nend\nabsent\n";
        let text = verdict::<Assemble>("src = '/d'\ndest = '/f'\nignore_hidden = true\ndelimiter = '--'", 0, answer);
        assert!(text.contains("text 'A\\n--\\nB\\n'"), "{text}");
        assert!(text.contains("expect part 2 b\nB\npart 1 a\nApart 2 .h\nH\nend\nfile 0644"), "{text}");
    }
}
