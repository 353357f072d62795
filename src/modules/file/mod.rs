//! `file`: one path is a file, a folder, a link, or nothing, with this mode and owner.
//!
//! Here, too, is what all modules share that deal with one file: the shell libraries, the reading of their answer, and
//! the change that gives a file its content.

mod directory;
mod edited;
mod link;
mod look;
mod properties;
mod put;
mod tree;

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::module::{Again, Answer, Change, Mode, Module, Path, Question, Surroundings, Touches, Undo, Verdict};
use crate::remote::Library;
use crate::sh;
use crate::shell::{Pattern, Script};

pub use edited::{EDITED_BYTES, Edited, Live, first_line};
pub use look::{Kind, Look, Shown, missing_parent};
pub use properties::Properties;
pub use put::{Existing, INLINE_BYTES, Put, Source, check_parent, folder_of, upload_path};

/// Questions about a path.
pub static LOOK: Library = Library { name: "file_look", text: concat!(include_str!("look.sh"), include_str!("ask.sh")) };
/// Changes of what is at a path, and the store of what was there. Uses functions of [`LOOK`].
pub static CHANGE: Library = Library { name: "file_change", text: concat!(include_str!("change.sh"), include_str!("put.sh"), include_str!("meta.sh"), include_str!("store.sh"), include_str!("together.sh")) };

/// Mode of a new folder for which none is asked.
pub const NEW_FOLDER: u32 = 0o755;
/// Mode of a new file for which none is asked.
pub const NEW_FILE: u32 = 0o644;

/// Make a path a directory, a link or an empty file, remove it, or set its mode and owner.
///
/// For a file with content, see `copy` and `template`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The path, such as `/srv/www`.
    #[serde(alias = "dest", alias = "name")]
    path: Path,
    /// What the path is to be.
    ///
    /// `directory`: a folder; missing folders above it are made, too. `link`: a symbolic link to `src`.
    /// `hard`: another name of the file `src`. `touch`: an empty file if nothing is there; what is there keeps its
    /// content and its times. `absent`: nothing; a folder goes with all that is in it, and comes back with `rollback`.
    /// `file`: a file, which must be there already. Left out: whatever is there keeps its kind; `directory` with
    /// `recurse`.
    state: Option<State>,
    /// Permissions, such as `"0755"` or `"u=rwX,g=rX,o="`. What is new gets 0755 (a directory) or 0644 (a file) when
    /// it is left out.
    mode: Option<Mode>,
    /// Name or number of the owner. Left out: what is there keeps its owner.
    owner: Option<String>,
    /// Name or number of the group. Left out: what is there keeps its group.
    group: Option<String>,
    /// For `link`: where the link leads, which need not exist, and may be relative to the link's folder.
    /// For `hard`: the file that gets another name.
    src: Option<String>,
    /// Set mode, owner and group of everything in the directory, too. Links are not followed, other file systems are
    /// not entered.
    #[serde(default)]
    recurse: bool,
    /// For `link` and `hard`: replace a file that is in the way. A directory is never replaced.
    #[serde(default)]
    force: bool,
    /// When the path is a link, look at what it leads to. Without this, a link where something else should be is an
    /// error.
    #[serde(default)]
    follow: bool,
}

/// What a path is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum State {
    File,
    Directory,
    Link,
    Hard,
    Touch,
    Absent,
}

/// The root and a home folder can be no file.
///
/// # Errors
/// When the path is one of the two.
pub fn refuse_no_file(path: &Path) -> Result<()> {
    if matches!(path.under("/~").as_str(), "/" | "/~") {
        bail!("`{}` is a folder on every host, so no file can be put there | write the path of the file", path.as_str());
    }
    Ok(())
}

impl Module for File {
    const NAME: &'static str = "file";
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE];

    fn check(&self) -> Result<()> {
        self.properties().check()?;
        if self.state() == Some(State::Absent) && matches!(self.path.under("/~").as_str(), "/" | "/~") {
            bail!("`{}` cannot be removed | name what is in it", self.path.as_str());
        }
        if matches!(self.state(), Some(State::Touch | State::File | State::Link | State::Hard)) {
            if self.path.ends_with_slash() {
                bail!("`{}` ends with `/`, which only a directory can | take the `/` out, or write state = \"directory\"", self.path.as_str());
            }
            refuse_no_file(&self.path)?;
        }
        match (self.state(), &self.src) {
            (Some(State::Link | State::Hard), None) => bail!("`src` is missing | say in `src` what the link leads to"),
            (Some(State::Link | State::Hard), Some(_)) => self.check_link()?,
            (_, Some(_)) => bail!(
                "`src` says where a link leads, but `state` is not `link` or `hard` | to copy a file, use `copy`"
            ),
            (_, None) => {}
        }
        if self.recurse && self.state() != Some(State::Directory) {
            bail!("`recurse` is for state = \"directory\" alone");
        }
        if self.recurse && self.follow {
            bail!("`recurse` and `follow` exclude each other | write the path that the link leads to");
        }
        if self.recurse && tree::words_for_tree(self.mode.as_ref()).is_none() {
            bail!("a mode that copies permissions, such as `g=u`, cannot be set throughout a directory | name the permissions");
        }
        Ok(())
    }

    /// The answer of `file_look`, of `file_hard_look`, or of `file_tree_look` and then `file_look`.
    fn touches(&self, around: &Surroundings) -> Touches {
        Touches::Path(around.absolute(&self.path))
    }

    fn probe(&self, around: &Surroundings) -> Question {
        let path = around.absolute(&self.path);
        Question::Ask(match self.state() {
            Some(State::Hard) => self.probe_hard(&path, around),
            Some(State::Directory) => self.probe_directory(&path),
            Some(State::Link | State::Absent) => sh!("file_look {} nofollow - 0", path),
            _ => sh!("file_look {} {} - 0", path, self.follow_word()),
        })
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let path = around.absolute(&self.path);
        match self.state() {
            Some(State::Hard) => return self.compare_hard(&path, around, answer),
            Some(State::Directory) => return self.compare_directory(&path, answer),
            _ => {}
        }
        let look = Look::read(answer)?;
        match self.state() {
            Some(State::Link) => self.compare_link(&path, around, answer, &look),
            Some(State::Absent) => Ok(removal(&path, &look)),
            Some(State::Touch) if look.is(Kind::Absent) => {
                check_parent(&path, around, answer)?;
                Ok(self.touch(&path))
            }
            Some(State::File) if look.is(Kind::Folder) => bail!("`{path}` is a directory, not a file"),
            _ => self.compare_properties(&path, &look),
        }
    }
}

impl File {
    /// The state that is meant when none is given.
    fn state(&self) -> Option<State> {
        self.state.or(self.recurse.then_some(State::Directory))
    }

    fn properties(&self) -> Properties<'_> {
        Properties::new(self.mode.as_ref(), self.owner.as_ref(), self.group.as_ref())
    }

    fn follow_word(&self) -> &'static str {
        if self.follow { "follow" } else { "nofollow" }
    }

    /// What is there keeps its kind, and gets mode and owner.
    fn compare_properties(&self, path: &str, look: &Look) -> Result<Verdict> {
        match look.kind {
            Kind::Absent => bail!("`{path}` does not exist; state = \"touch\" or \"directory\" would make it, `copy` gives it content"),
            Kind::Link => bail!(
                "`{path}` is a link to `{}`; follow = true works on what it leads to",
                String::from_utf8_lossy(&look.target)
            ),
            _ => {}
        }
        let changes = self.properties().changes(look);
        if changes.is_empty() {
            return Ok(Verdict::in_place());
        }
        let head = self.properties().head(Pattern::default(), look.kind.answer_word(), look, 0);
        let expect = match look.kind {
            Kind::File => head.and(format!(" {} {} -\n", look.links, look.size_bytes)),
            _ => head.and("\n"),
        };
        Ok(put::meta_change(path, look.place(path), &self.properties(), look, &changes, look.and_place(expect)))
    }

    fn touch(&self, path: &str) -> Verdict {
        let nothing = Look::absent();
        let [mode, owner, group] = self.properties().words(&nothing, NEW_FILE);
        let apply = sh!("file_touch {} {} {} {}", path, mode, owner, group);
        let expect = self.properties().head(Pattern::default(), "file", &nothing, NEW_FILE).and(" 1 0 -\n");
        Verdict::differs(Change::new("absent", "empty file", apply, expect, Undo::Run(sh!("file_absent {}", path))))
    }
}

/// A file, a link or its absence, with everything that belongs to it.
fn kept_as_file(path: &[u8]) -> Again {
    Again { keep: sh!("file_keep {}", path), back: sh!("file_back {}", path) }
}

/// The path goes away, with all that is in it.
fn removal(path: &str, look: &Look) -> Verdict {
    let back = || Undo::Restore(sh!("file_back {}", path));
    let plain = sh!("file_absent {}", path);
    let (apply, keep, undo) = match look.kind {
        Kind::Absent => return Verdict::in_place(),
        Kind::Folder => (sh!("file_absent {} tree", path), sh!("file_keep_tree {}", path), back()),
        Kind::File | Kind::Link | Kind::Fifo => (plain, sh!("file_keep {}", path), back()),
        Kind::Socket => (plain, Script::default(), Undo::Impossible("only the program that listens on a socket can make it".into())),
        Kind::Block | Kind::Char => (plain, Script::default(), Undo::Impossible("a device node is not kept".into())),
    };
    let mut change = Change::new(look.kind.word(), "absent", apply, Pattern::exactly("absent\n"), undo);
    change.keep = keep;
    Verdict::differs(change)
}

#[cfg(test)]
mod tests {
    use super::File;
    use crate::module::testing::{probe, problems, verdict};

    const MODE: &str = "path = '/srv/a'\nmode = '0640'";

    #[test]
    fn what_is_there_keeps_its_kind() {
        assert_eq!(probe::<File>(MODE), "file_look '/srv/a' 'nofollow' - 0");
        assert_eq!(verdict::<File>(MODE, 0, "file 0640 0 0 root root 1 5 -\n"), "in place");
        assert_eq!(verdict::<File>(MODE, 0, "fifo 0640 0 0 root root\n"), "in place");
    }

    #[test]
    fn a_mode_changes_alone() {
        let expected = "0755 -> 0640
apply  file_meta '/srv/a' '0640' '-' '-'
expect file 0640 0 0 root root 2 5 -

undo   file_meta '/srv/a' '0755' '-' '-'";
        assert_eq!(verdict::<File>(MODE, 0, "file 0755 0 0 root root 2 5 -\n"), expected);
    }

    #[test]
    fn an_owner_changes_where_a_followed_link_ends() {
        let arguments = "path = '~/a'\nowner = 'www'\nfollow = true";
        assert_eq!(probe::<File>(arguments), "file_look '/root/a' 'follow' - 0");
        let expected = "root -> www
apply  file_meta '/srv/b' '-' 'www' '-'
expect dir 2755 … 0 www root
at /srv/b

undo   file_meta '/srv/b' '2755' '0' '-'";
        assert_eq!(verdict::<File>(arguments, 0, "dir 2755 0 0 root root\nat /srv/b\n"), expected);
    }

    #[test]
    fn what_has_no_properties_of_its_own_is_an_error() {
        assert_eq!(
            verdict::<File>(MODE, 0, "absent\n"),
            "error: `/srv/a` does not exist; state = \"touch\" or \"directory\" would make it, `copy` gives it content"
        );
        assert_eq!(
            verdict::<File>(MODE, 0, "link 0777 0 0 root root b\n"),
            "error: `/srv/a` is a link to `b`; follow = true works on what it leads to"
        );
        let file = "path = '/srv/a'\nstate = 'file'";
        assert_eq!(verdict::<File>(file, 0, "dir 0755 0 0 root root\n"), "error: `/srv/a` is a directory, not a file");
        assert_eq!(verdict::<File>(file, 3, "/srv is not a folder\n"), "error: /srv is not a folder");
    }

    #[test]
    fn touch_makes_an_empty_file_once() {
        let arguments = "path = '/srv/a'\nstate = 'touch'\nowner = 'www'";
        let expected = "absent -> empty file
apply  file_touch '/srv/a' '0644' 'www' '-'
expect file 0644 … … www … 1 0 -

undo   file_absent '/srv/a'";
        assert_eq!(verdict::<File>(arguments, 0, "absent\n"), expected);
        assert_eq!(verdict::<File>(arguments, 0, "file 0600 33 33 www www 1 5 -\n"), "in place");
    }

    #[test]
    fn what_is_removed_comes_back_where_it_can() {
        let arguments = "path = '/srv/a'\nstate = 'absent'";
        let expected = "directory -> absent
keep   file_keep_tree '/srv/a'
apply  file_absent '/srv/a' tree
expect absent

undo   file_back '/srv/a' RECORD";
        assert_eq!(verdict::<File>(arguments, 0, "dir 0755 0 0 root root\n"), expected);
        assert!(verdict::<File>(arguments, 0, "link 0777 0 0 root root b\n").contains("keep   file_keep '/srv/a'\n"));
        assert!(verdict::<File>(arguments, 0, "socket 0777 0 0 root root\n").contains("undo   impossible: "));
        assert_eq!(verdict::<File>(arguments, 0, "absent\n"), "in place");
    }

    #[test]
    fn arguments_that_do_not_go_together_are_found() {
        assert_eq!(problems::<File>("path = '/a'\nstate = 'link'"), "`src` is missing");
        assert_eq!(
            problems::<File>("path = '/a'\nsrc = '/b'"),
            "`src` says where a link leads, but `state` is not `link` or `hard`"
        );
        assert_eq!(problems::<File>("path = '/a'\nstate = 'touch'\nrecurse = true"), "`recurse` is for state = \"directory\" alone");
        assert_eq!(problems::<File>("path = '/a'\nowner = 'a:b'"), "`owner`: `a:b` is no name of an account");
        assert_eq!(problems::<File>("dest = '/a'\nrecurse = true\nmode = 'u=rwX'"), "");
    }
}
