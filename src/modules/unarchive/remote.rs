//! An archive that lies on the host already: its own tar or unzip works on it.

use anyhow::{Result, bail};

use super::Unarchive;
use crate::module::{Answer, Change, Mode, Report, Surroundings, Undo, Verdict};
use crate::modules::account::Lines;
use crate::remote::Library;
use crate::sh;
use crate::shell::{Pattern, Script};

pub static UNPACK: Library = Library { name: "unpack", text: include_str!("unpack.sh") };

impl Unarchive {
    /// What an archive on the host cannot have.
    ///
    /// # Errors
    /// In the words of the user.
    pub(super) fn check_remote(&self) -> Result<()> {
        if !self.src.starts_with('/') && !self.src.starts_with("~/") {
            bail!("with `remote_src`, `src` is a path on the host | write it from `/`");
        }
        for (key, patterns) in [("include", &self.include), ("exclude", &self.exclude)] {
            if patterns.0.iter().any(|pattern| pattern.is_empty() || pattern.starts_with('-') || pattern.contains('\n')) {
                bail!("`{key}` holds no name of an archive");
            }
        }
        if [&self.mode, &self.directory_mode].into_iter().flatten().any(|mode| !matches!(mode, Mode::Octal(_))) {
            bail!("the permissions of a whole archive are octal, such as \"0644\"");
        }
        Ok(())
    }

    fn opened(&self, around: &Surroundings) -> Script {
        let archive = match self.src.strip_prefix("~/") {
            Some(rest) => format!("{}/{rest}", around.home),
            None => self.src.clone(),
        };
        Script::call(["unpack_open", &archive, &around.absolute(&self.dest), &self.strip_components.to_string(), &self.include.0.join("\n"), &self.exclude.0.join("\n")])
    }

    fn wanted(&self, function: &str) -> Vec<String> {
        let mode = |mode: &Option<Mode>| match mode {
            Some(Mode::Octal(mode)) => Mode::text(*mode),
            _ => "-".to_owned(),
        };
        let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".into());
        vec![function.to_owned(), if self.keep { "yes" } else { "no" }.into(), mode(&self.mode), mode(&self.directory_mode), name(&self.owner), name(&self.group)]
    }

    pub(super) fn look_remote(&self, around: &Surroundings) -> Script {
        sh!("{} || exit\n{}", self.opened(around), Script::call(self.wanted("unpack_look")))
    }

    pub(super) fn compare_remote(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let count = Lines::of(answer)?.value("differ")?.to_owned();
        if count == "0" {
            return Ok(Verdict::InPlace(Report::default()));
        }
        let root = around.absolute(&self.dest);
        let open = self.opened(around);
        let apply = sh!("{} >&2 || exit 1\n{}", open, Script::call(self.wanted("unpack_go")));
        let expect = Pattern::exactly("archive ").and_anything().and("\ndiffer 0\n");
        let mut change = Change::new(format!("{count} entries differ"), "as in the archive", apply, expect, Undo::Restore(sh!("copy_back")));
        change.keep = sh!("{} >&2 || exit 1\nunpack_keep", open);
        change.apply.group = true;
        let text = answer.text()?;
        let names: Vec<String> = text.lines().filter_map(|line| line.split_at_checked(1)).filter(|(sign, _)| ["+", "~"].contains(sign)).map(|(sign, name)| format!("{sign}{root}/{name}\n")).collect();
        change.diff = format!("--- {root}\n+++ {root}\n{}", names.concat());
        if let Some(more) = count.parse::<usize>().ok().and_then(|count| count.checked_sub(names.len())).filter(|more| *more > 0) {
            change.diff.push_str(&format!(" and {more} more\n"));
        }
        Ok(Verdict::differs(change))
    }
}
