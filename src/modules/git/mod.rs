//! `git`: a working copy of a repository at a certain version.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::account::Lines;
use super::file::{CHANGE, LOOK};
use crate::module::{Answer, Change, Module, Path, Question, Report, Surroundings, Touches, Undo, Verdict, diff};
use crate::remote::Library;
use crate::sh;
use crate::shell::Pattern;

static GIT: Library = Library { name: "git", text: include_str!("git.sh") };

/// Have the host keep a working copy of a git repository at a branch, a tag or a commit.
///
/// With `register = "it"`, later tasks see `it.before` and `it.after`, the commits. A rollback checks the former commit out
/// again, or removes a copy that was new.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Git {
    /// Address of the repository. A password in it can be seen in the host's list of processes while git works; `key_file` cannot.
    #[serde(alias = "name")]
    repo: String,
    /// Folder of the working copy.
    dest: Path,
    /// Branch, tag or whole commit. Left out: what the repository calls HEAD.
    #[serde(default = "head")]
    version: String,
    /// What was changed in the copy by hand is thrown away. Without this, such a copy is an error.
    #[serde(default)]
    force: bool,
    /// `false`: a copy that is there stays at its version.
    #[serde(default = "yes")]
    update: bool,
    /// How much of the history is fetched: so many commits.
    depth: Option<u32>,
    /// Name of the repository within the copy.
    #[serde(default = "origin")]
    remote: String,
    /// Key to log in with, a path on the host.
    key_file: Option<Path>,
    /// A machine that is not known yet is trusted.
    #[serde(default)]
    accept_hostkey: bool,
    /// Fetch submodules, too.
    #[serde(default = "yes")]
    recursive: bool,
}

fn head() -> String {
    "HEAD".into()
}

fn yes() -> bool {
    true
}

fn origin() -> String {
    "origin".into()
}

impl Module for Git {
    const NAME: &'static str = "git";
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK, &GIT];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE];

    fn check(&self) -> Result<()> {
        for (key, text) in [("repo", &self.repo), ("version", &self.version), ("remote", &self.remote)] {
            if text.is_empty() || text.starts_with('-') || text.contains(['\n', ' ']) {
                bail!("`{key}` cannot be `{}`", text.escape_debug());
            }
        }
        let scheme = self.repo.split_once("://").map(|(scheme, _)| scheme);
        if self.repo.contains("::") && scheme.is_none() || scheme == Some("ext") {
            bail!("`repo` names a program, and none is started from there");
        }
        if self.depth == Some(0) {
            bail!("`depth` is at least 1");
        }
        Ok(())
    }

    fn patience_seconds(&self) -> Option<u64> {
        None
    }

    fn has_secret(&self) -> bool {
        self.repo.contains("://") && self.repo.contains('@')
    }

    fn touches(&self, around: &Surroundings) -> Touches {
        Touches::Path(around.absolute(&self.dest))
    }

    fn probe(&self, around: &Surroundings) -> Question {
        let key = self.key(around);
        Question::Ask(sh!("git_look {} {} {} {} {} {} {}", around.absolute(&self.dest), self.repo, self.version, self.remote, word(self.update), key, word(self.accept_hostkey)))
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let dest = around.absolute(&self.dest);
        let lines = Lines::of(answer)?;
        let [state, old, branch, url, dirty, want, kind] = ["state", "head", "branch", "url", "dirty", "want", "kind"].map(|name| lines.value(name));
        let (state, old, branch, url, dirty, want, kind) = (state?, old?, branch?, url?, dirty?, want?, kind?);
        if state == "other" {
            bail!("`{dest}` is there and is no repository; remove it first, or choose another folder");
        }
        let is_there = state == "repo";
        let is_right = is_there && old == want && (url == self.repo || !self.update) && (kind != "branch" || branch == self.version || !self.update);
        let report = Report::default().with("before", if is_there { old } else { "" }).with("after", want);
        if is_right && !(self.force && dirty == "yes") {
            return Ok(Verdict::InPlace(report));
        }
        if dirty == "yes" && !self.force {
            bail!("`{dest}` has changes that were made there by hand; force = true would throw them away");
        }
        let depth = self.depth.map_or_else(|| "-".to_owned(), |depth| depth.to_string());
        let apply = sh!(
            "git_put {} {} {} {} {} {} {} {} {} {} {} {}",
            dest, self.repo, self.version, self.remote, depth, self.key(around), word(self.accept_hostkey), word(self.force), want, kind, state, word(self.recursive)
        );
        let expect = Pattern::exactly(format!("state repo\nhead {want}\nbranch ")).and_anything();
        let expect = expect.and(format!("\nurl {}\ndirty no\n", self.repo)).and_anything();
        let undo = match (is_there, dirty) {
            (true, "yes") => Undo::BestEffort(sh!("git_back {} {} {} {} {}", dest, old, branch, url, self.remote), "what was changed there by hand is lost".into()),
            (true, _) => Undo::Run(sh!("git_back {} {} {} {} {}", dest, old, branch, url, self.remote)),
            (false, _) => Undo::Run(sh!("git_unclone {} {}", dest, word(state == "empty"))),
        };
        let short = |commit: &str| commit.get(..10).unwrap_or(commit).to_owned();
        let (from, to) = (if is_there { short(old) } else { "absent".into() }, short(want));
        let mut change = Change::new(&from, &to, apply, expect, undo);
        change.apply.group = true;
        change.diff = diff::properties(&dest, &[("commit", from, to)]);
        change.report = report;
        Ok(Verdict::differs(change))
    }
}

fn word(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

impl Git {
    fn key(&self, around: &Surroundings) -> String {
        self.key_file.as_ref().map_or_else(|| "-".to_owned(), |path| around.absolute(path))
    }
}

#[cfg(test)]
mod tests {
    use super::Git;
    use crate::module::testing::{problems, verdict};

    const ARGUMENTS: &str = "repo = 'https://x/a.git'\ndest = '/srv/a'\nversion = 'main'";

    fn answer(state: &str, head: &str, dirty: &str) -> String {
        format!("state {state}\nhead {head}\nbranch main\nurl https://x/a.git\ndirty {dirty}\nwant 1111111111111111\nkind branch\n")
    }

    #[test]
    fn a_copy_is_made_brought_forward_and_left_alone() {
        assert_eq!(verdict::<Git>(ARGUMENTS, 0, &answer("repo", "1111111111111111", "no")), "in place");
        let text = verdict::<Git>(ARGUMENTS, 0, &answer("repo", "0000", "no"));
        assert!(text.starts_with("0000 -> 1111111111\n") && text.contains("undo   git_back '/srv/a' '0000' 'main'"), "{text}");
        assert!(verdict::<Git>(ARGUMENTS, 0, &answer("absent", "-", "no")).contains("undo   git_unclone '/srv/a' 'no'"));
    }

    #[test]
    fn work_of_others_is_not_thrown_away() {
        assert!(verdict::<Git>(ARGUMENTS, 0, &answer("repo", "0000", "yes")).contains("made there by hand"));
        assert!(verdict::<Git>(&format!("{ARGUMENTS}\nforce = true"), 0, &answer("repo", "0000", "yes")).contains("(what was changed there by hand is lost)"));
        assert!(verdict::<Git>(ARGUMENTS, 0, &answer("other", "-", "no")).contains("is no repository"));
        assert!(problems::<Git>("repo = 'ext::sh'\ndest = '/a'").contains("names a program"));
    }
}
