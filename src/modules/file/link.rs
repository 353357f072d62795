//! `file` with `state = "link"` or `"hard"`.

use anyhow::{Result, bail};

use super::{File, Kind, Look, State, check_parent};
use crate::module::{Answer, Change, Surroundings, Undo, Verdict};
use crate::sh;
use crate::shell::{Pattern, Script, escaped};

impl File {
    pub(super) fn check_link(&self) -> Result<()> {
        let src = self.src.as_deref().unwrap_or_default();
        if src.is_empty() {
            bail!("`src` is empty | say in `src` what the link leads to");
        }
        if self.state == Some(State::Hard) {
            if !src.starts_with('/') && !src.starts_with("~/") {
                bail!("`src` of a hard link is absolute or begins with `~/` | write the path from `/`");
            }
            if !self.properties().is_empty() {
                bail!("all names of a file share its mode and owner | set them for the path in `src`");
            }
        }
        if self.mode.is_some() {
            bail!("a link has no mode of its own | set it for the path that the link leads to");
        }
        Ok(())
    }

    /// What `src` stands for on the host.
    fn target(&self, around: &Surroundings) -> String {
        let src = self.src.as_deref().unwrap_or_default();
        match src.strip_prefix("~/") {
            Some(rest) => format!("{}/{rest}", around.home),
            None => src.to_owned(),
        }
    }

    pub(super) fn compare_link(&self, path: &str, around: &Surroundings, answer: &Answer, look: &Look) -> Result<Verdict> {
        let target = self.target(around);
        let properties = self.properties();
        let head = |look: &Look| properties.head(Pattern::default(), "link", look, 0o777).and(" ").and(escaped(target.as_bytes())).and("\n");
        if look.is(Kind::Link) && look.target == target.as_bytes() {
            let changes = properties.changes(look);
            if changes.is_empty() {
                return Ok(Verdict::in_place());
            }
            return Ok(super::put::meta_change(path, path.as_bytes(), &properties, look, &changes, head(look)));
        }
        check_in_the_way(path, look, self.force)?;
        let force = if self.force { "force" } else { "-" };
        let mut apply = sh!("file_link {} {} {}", path, target, force);
        let nothing = Look::absent();
        if !properties.is_empty() {
            let [_, owner, group] = properties.words(&nothing, 0);
            apply = sh!("{} && file_meta {} - {} {}", apply, path, owner, group);
        }
        let (from, keep, undo) = match look.kind {
            Kind::Absent => {
                check_parent(path, around, answer)?;
                ("absent".to_owned(), Script::default(), Undo::Run(sh!("file_absent {}", path)))
            }
            kind => (described(kind, look), sh!("file_keep {}", path), Undo::Restore(sh!("file_back {}", path))),
        };
        // A link that is replaced is a new one, and so is its owner.
        let mut change = Change::new(from, format!("link to {target}"), apply, head(&nothing), undo);
        change.keep = keep;
        change.again = Some(super::kept_as_file(path.as_bytes()));
        Ok(Verdict::differs(change))
    }

    pub(super) fn probe_hard(&self, path: &str, around: &Surroundings) -> Script {
        sh!("file_hard_look {} {}", path, self.target(around))
    }

    pub(super) fn compare_hard(&self, path: &str, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let source = self.target(around);
        let look = match answer.bytes()? {
            b"same\n" => return Ok(Verdict::in_place()),
            b"different\n" => Look { kind: Kind::File, ..Look::absent() },
            _ => Look::read(answer)?,
        };
        check_in_the_way(path, &look, self.force)?;
        if answer.remark.split(|&byte| byte == b'\n').any(|line| line == b"source missing") && !around.after_planned_changes {
            bail!("the source `{source}` is not a file, so it gets no other name");
        }
        let force = if self.force { "force" } else { "-" };
        let apply = sh!("file_hard {} {} {}", path, source, force);
        let expect = Pattern::exactly("same\n");
        if look.is(Kind::Absent) {
            check_parent(path, around, answer)?;
            let undo = Undo::Run(sh!("file_absent {}", path));
            return Ok(Verdict::differs(Change::new("absent", format!("hard link to {source}"), apply, expect, undo)));
        }
        let undo = Undo::Restore(sh!("file_back {}", path));
        let mut change = Change::new(described(look.kind, &look), format!("hard link to {source}"), apply, expect, undo);
        change.keep = sh!("file_keep {}", path);
        Ok(Verdict::differs(change))
    }
}

fn check_in_the_way(path: &str, look: &Look, force: bool) -> Result<()> {
    match look.kind {
        Kind::Absent | Kind::Link => Ok(()),
        Kind::Folder => bail!("`{path}` is a directory; remove it first (state = \"absent\")"),
        Kind::File | Kind::Fifo if force => Ok(()),
        Kind::File | Kind::Fifo => bail!("`{path}` is a {} and is not replaced by a link; force = true would do it", look.kind.word()),
        kind => bail!("`{path}` is a {} and is not replaced by a link", kind.word()),
    }
}

fn described(kind: Kind, look: &Look) -> String {
    match kind {
        Kind::Link => format!("link to {}", String::from_utf8_lossy(&look.target)),
        kind => kind.word().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::File;
    use crate::module::testing::{probe, problems, verdict};

    const LINK: &str = "path = '/srv/now'\nstate = 'link'\nsrc = 'v2'";
    const HARD: &str = "path = '/srv/b'\nstate = 'hard'\nsrc = '/srv/a'";

    #[test]
    fn a_link_is_made() {
        assert_eq!(probe::<File>(LINK), "file_look '/srv/now' nofollow - 0");
        let expected = "absent -> link to v2
apply  file_link '/srv/now' 'v2' '-'
expect link 0777 … … … … v2

undo   file_absent '/srv/now'";
        assert_eq!(verdict::<File>(LINK, 0, "absent\n"), expected);
        assert_eq!(verdict::<File>(LINK, 0, "link 0777 0 0 root root v2\n"), "in place");
    }

    #[test]
    fn a_link_that_leads_elsewhere_is_replaced_and_can_come_back() {
        let expected = "link to v1 -> link to v2
keep   file_keep '/srv/now'
apply  file_link '/srv/now' 'v2' '-' && file_meta '/srv/now' - 'www' '-'
expect link 0777 … … www … v2

undo   file_back '/srv/now' RECORD";
        assert_eq!(verdict::<File>(&format!("{LINK}\nowner = 'www'"), 0, "link 0777 0 0 root root v1\n"), expected);
    }

    #[test]
    fn the_owner_of_a_link_is_its_own() {
        let expected = "root -> www
apply  file_meta '/srv/now' '-' 'www' '-'
expect link 0777 … 0 www root v2

undo   file_meta '/srv/now' '-' '0' '-'";
        assert_eq!(verdict::<File>(&format!("{LINK}\nowner = 'www'"), 0, "link 0777 0 0 root root v2\n"), expected);
    }

    #[test]
    fn a_file_in_the_way_needs_force() {
        let file = "file 0644 0 0 root root 1 5 -\n";
        let expected = "error: `/srv/now` is a file and is not replaced by a link; force = true would do it";
        assert_eq!(verdict::<File>(LINK, 0, file), expected);
        let forced = verdict::<File>(&format!("{LINK}\nforce = true"), 0, file);
        assert!(forced.starts_with("file -> link to v2\nkeep   file_keep '/srv/now'\n"), "{forced}");
        let expected = "error: `/srv/now` is a directory; remove it first (state = \"absent\")";
        assert_eq!(verdict::<File>(&format!("{LINK}\nforce = true"), 0, "dir 0755 0 0 root root\n"), expected);
    }

    #[test]
    fn another_name_of_a_file_is_made() {
        assert_eq!(probe::<File>(HARD), "file_hard_look '/srv/b' '/srv/a'");
        let expected = "absent -> hard link to /srv/a
apply  file_hard '/srv/b' '/srv/a' '-'
expect same

undo   file_absent '/srv/b'";
        assert_eq!(verdict::<File>(HARD, 0, "absent\n"), expected);
        assert_eq!(verdict::<File>(HARD, 0, "same\n"), "in place");
        let expected = "error: `/srv/b` is a file and is not replaced by a link; force = true would do it";
        assert_eq!(verdict::<File>(HARD, 0, "different\n"), expected);
    }

    #[test]
    fn a_link_takes_no_mode() {
        assert_eq!(problems::<File>(&format!("{LINK}\nmode = '0644'")), "a link has no mode of its own");
        assert_eq!(problems::<File>(&format!("{HARD}\nowner = 'www'")), "all names of a file share its mode and owner");
        assert_eq!(
            problems::<File>("path = '/b'\nstate = 'hard'\nsrc = 'a'"),
            "`src` of a hard link is absolute or begins with `~/`"
        );
    }
}
