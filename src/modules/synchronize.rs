//! `synchronize`: a folder of the host becomes like one of the controller.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::copy::{TREE_CHANGE, TREE_LOOK, Tree};
use super::file::{CHANGE, LOOK, Properties};
use crate::module::{Answer, Local, Mode, Module, OneOrMany, Path, Question, Surroundings, Touches, Verdict, Wanted, WantedKind};
use crate::remote::Library;

/// Make a folder on the host like one on the controller: what differs is sent and, with `delete`, what is not here goes there.
///
/// Nothing but the host's shell is needed, no rsync. The host is asked about the whole folder at once; files that differ travel in one
/// archive. What is replaced or removed is kept on the host, and a rollback brings it back. Times are not compared, only
/// content.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Synchronize {
    /// Folder on the controller, relative to the playbook or to the role's `files/`. It goes into `dest` under its own name;
    /// with `/` at its end, what is in it goes into `dest`.
    src: String,
    /// Folder on the host.
    dest: Path,
    /// Remove what is in the folder on the host and not in the one here.
    #[serde(default)]
    delete: bool,
    /// Names that are neither sent nor removed, such as `.git` or `*.log`; with a slash in it, a path from the top of the
    /// folder, such as `/cache`. `*` stands for any text, `?` for one letter.
    #[serde(default)]
    exclude: OneOrMany,
    /// Permissions of all files, such as `"0644"`. Left out: a file that is there keeps its own; a new one gets 0755 if it may be
    /// executed here, else 0644.
    mode: Option<Mode>,
    /// Permissions of all directories. Left out: those that are there keep their own, new ones get 0755.
    directory_mode: Option<Mode>,
    /// Name or number of the owner. Left out: what is there keeps its owner.
    owner: Option<String>,
    /// Name or number of the group. Left out: what is there keeps its group.
    group: Option<String>,
}

impl Module for Synchronize {
    const NAME: &'static str = "synchronize";
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK, &TREE_LOOK];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE, &TREE_CHANGE];

    fn check(&self) -> Result<()> {
        self.properties().check()?;
        if self.src.trim_matches('/').is_empty() {
            bail!("`src` names no folder on the controller");
        }
        if self.src.contains("::") || self.src.starts_with("rsync://") {
            bail!("`{}` is an address of rsync | `src` is a folder on the controller", self.src);
        }
        let is_odd = |pattern: &&String| pattern.trim_matches('/').is_empty() || pattern.contains('\n') || pattern.split('/').any(|part| [".", ".."].contains(&part));
        if let Some(odd) = self.exclude.0.iter().find(is_odd) {
            bail!("`{}` is no pattern for a name | write a name such as `*.log`, or a path from the top such as `/cache`", odd.escape_debug());
        }
        if self.delete && self.dest.as_str().trim_end_matches('/').is_empty() {
            bail!("`delete` in `/` would remove the whole system");
        }
        if self.directory_mode.as_ref().is_some_and(|mode| !matches!(mode, Mode::Octal(_))) || self.mode.as_ref().is_some_and(|mode| !matches!(mode, Mode::Octal(_))) {
            bail!("the permissions of a whole folder are octal, such as \"0644\"");
        }
        Ok(())
    }

    fn wants(&self) -> Vec<Wanted> {
        vec![Wanted { path: self.src.clone(), kind: WantedKind::Copy }]
    }

    fn touches(&self, around: &Surroundings) -> Touches {
        Touches::Path(self.root(around))
    }

    fn probe(&self, around: &Surroundings) -> Question {
        match around.files.get(&self.src) {
            Some(Local::Folder(entries)) => Question::Ask(self.tree(&self.root(around), entries).probe()),
            _ => Question::None,
        }
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        match around.files.get(&self.src) {
            Some(Local::Folder(entries)) => self.tree(&self.root(around), entries).verdict(answer),
            _ => bail!("`{}` is no folder; `copy` brings a single file", self.src),
        }
    }
}

impl Synchronize {
    fn properties(&self) -> Properties<'_> {
        Properties::new(self.mode.as_ref(), self.owner.as_ref(), self.group.as_ref())
    }

    fn root(&self, around: &Surroundings) -> String {
        let dest = around.absolute(&self.dest);
        let name = self.src.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        if self.src.ends_with('/') || name == "." { dest } else { format!("{}/{name}", dest.trim_end_matches('/')) }
    }

    fn tree<'a>(&'a self, root: &'a str, entries: &'a [crate::module::LocalEntry]) -> Tree<'a> {
        Tree::new(root, self.properties(), self.directory_mode.as_ref(), true, entries).mirrored(&self.exclude.0, self.delete)
    }
}

#[cfg(test)]
mod tests {
    use super::Synchronize;
    use crate::module::testing::problems;

    #[test]
    fn odd_sources_and_patterns_are_refused() {
        assert!(problems::<Synchronize>("src = 'rsync://x/y'\ndest = '/d'").contains("an address of rsync"));
        assert!(problems::<Synchronize>("src = 'x/'\ndest = '/d'\nexclude = '/'").contains("no pattern"));
        assert!(problems::<Synchronize>("src = 'x/'\ndest = '/d'\nmode = 'u+x'").contains("octal"));
    }
}
