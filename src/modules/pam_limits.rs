//! `pam_limits`: how much of something a user may have, in `/etc/security/limits.conf`.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::file::{CHANGE, Edited, LOOK, Properties};
use super::text::{Line, add_line, Scalar, lines_of, push};
use crate::module::{Answer, Module, Path, Presence, Question, Surroundings, Touches, Verdict};
use crate::remote::Library;

/// Set a limit of users for their next login, such as how many files they may have open.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PamLimits {
    /// For whom: a user, `@group`, or `*`.
    domain: String,
    /// `hard`, `soft`, or `-` for both.
    #[serde(alias = "type")]
    limit_type: LimitType,
    /// What is limited, such as `nofile`.
    #[serde(alias = "item")]
    limit_item: String,
    /// How much: a number, or `unlimited`.
    value: Option<Scalar>,
    /// `absent` takes the line out.
    #[serde(default)]
    state: Presence,
    /// A remark behind the value.
    #[serde(default)]
    comment: String,
    /// The file.
    #[serde(default = "usual_file")]
    dest: Path,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum LimitType {
    Hard,
    Soft,
    #[serde(rename = "-")]
    Both,
}

impl LimitType {
    fn word(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Soft => "soft",
            Self::Both => "-",
        }
    }
}

/// What pam_limits(8) knows.
const ITEMS: [&str; 20] = [
    "core", "data", "fsize", "memlock", "nofile", "rss", "stack", "cpu", "nproc", "as", "maxlogins", "maxsyslogins", "priority", "locks", "sigpending", "msgqueue", "nice",
    "rtprio", "chroot", "nonewprivs",
];

fn usual_file() -> Path {
    Path::fixed("/etc/security/limits.conf")
}

impl Module for PamLimits {
    const NAME: &'static str = "pam_limits";
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE];

    fn check(&self) -> Result<()> {
        if self.domain.is_empty() || self.domain.contains(char::is_whitespace) || self.domain.starts_with('#') {
            bail!("`domain`: `{}` is nobody", self.domain.escape_debug());
        }
        if !ITEMS.contains(&self.limit_item.as_str()) {
            bail!("`limit_item`: `{}` cannot be limited | one of {}", self.limit_item.escape_debug(), ITEMS.join(", "));
        }
        match &self.value {
            None if self.state == Presence::Present => bail!("`value` is missing"),
            Some(value) if value.to_string().contains(char::is_whitespace) => bail!("`value` is one word"),
            _ => {}
        }
        if self.comment.contains('\n') {
            bail!("`comment` is one line");
        }
        Ok(())
    }

    fn touches(&self, around: &Surroundings) -> Touches {
        Touches::Path(around.absolute(&self.dest))
    }

    fn probe(&self, around: &Surroundings) -> Question {
        Question::Ask(self.edited(&around.absolute(&self.dest)).probe())
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        self.edited(&around.absolute(&self.dest)).verdict(around, answer, |old| Ok(self.edit(old)))
    }
}

impl PamLimits {
    fn edited<'a>(&self, path: &'a str) -> Edited<'a> {
        Edited { create: true, follow: true, ..Edited::new(path, Properties::default()) }
    }

    fn edit(&self, old: &[u8]) -> Vec<u8> {
        let value = self.value.as_ref().map(ToString::to_string).unwrap_or_default();
        let said = |line: &Line| -> Option<String> {
            let text = String::from_utf8_lossy(line.text).into_owned();
            let mut words = text.split('#').next()?.split_whitespace();
            let is_it = words.next()? == self.domain && words.next()? == self.limit_type.word() && words.next()? == self.limit_item;
            is_it.then(|| words.next().unwrap_or_default().to_owned())
        };
        let remark = if self.comment.is_empty() { String::new() } else { format!("\t# {}", self.comment) };
        let wanted = format!("{}\t{}\t{}\t{value}{remark}", self.domain, self.limit_type.word(), self.limit_item);
        let lines = lines_of(old);
        let last = lines.iter().rposition(|line| said(line).is_some());
        let mut new = Vec::new();
        for (at, line) in lines.iter().enumerate() {
            match said(line) {
                None => push(&mut new, *line),
                Some(before) if self.state == Presence::Present && Some(at) == last => {
                    let text = if before == value && self.comment.is_empty() { line.text } else { wanted.as_bytes() };
                    push(&mut new, Line { text, ending: line.ending });
                }
                Some(_) => {}
            }
        }
        if self.state == Presence::Present && last.is_none() {
            add_line(&mut new, &wanted);
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::PamLimits;
    use crate::module::testing::{module, problems};

    fn made(arguments: &str, old: &str) -> String {
        let module: PamLimits = module(&format!("domain = '@web'\nlimit_type = 'soft'\nlimit_item = 'nofile'\n{arguments}"));
        let new = module.edit(old.as_bytes());
        assert_eq!(module.edit(&new), new, "a second time");
        String::from_utf8_lossy(&new).into_owned()
    }

    #[test]
    fn a_limit_is_set_changed_and_removed() {
        assert_eq!(made("value = 1024", "# x\n"), "# x\n@web\tsoft\tnofile\t1024\n");
        assert_eq!(made("value = 2048", "@web soft nofile 1024\n* hard nofile 1\n"), "@web\tsoft\tnofile\t2048\n* hard nofile 1\n");
        assert_eq!(made("value = 1024", "@web  soft nofile 1024 # mine\n"), "@web  soft nofile 1024 # mine\n");
        assert_eq!(made("state = 'absent'", "@web soft nofile 1024\nx\n"), "x\n");
        assert!(problems::<PamLimits>("domain = 'a'\nlimit_type = 'soft'\nlimit_item = 'files'\nvalue = 1").contains("cannot be limited"));
    }
}
