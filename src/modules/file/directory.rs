//! `file` with `state = "directory"`.

use anyhow::{Context, Result, bail};

use super::{File, Kind, Look, NEW_FOLDER, put, tree};
use crate::module::{Answer, Change, Undo, Verdict};
use crate::sh;
use crate::shell::{Pattern, Script};

/// What differs below a folder: how many, and the first few of them.
struct Below {
    count: usize,
    names: Vec<String>,
}

impl File {
    /// Whether anything is asked for what is in the folder.
    fn reaches_below(&self) -> bool {
        self.recurse && !self.properties().is_empty()
    }

    /// Mode, owner and group for the functions that walk a tree.
    fn tree_words(&self) -> [String; 3] {
        let or_any = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".to_owned());
        let mode = tree::words_for_tree(self.mode.as_ref()).unwrap_or_else(|| "-".to_owned());
        [mode, or_any(&self.owner), or_any(&self.group)]
    }

    pub(super) fn probe_directory(&self, path: &str) -> Script {
        let look = sh!("file_look {} {} - 0", path, self.follow_word());
        if !self.reaches_below() {
            return look;
        }
        let [mode, owner, group] = self.tree_words();
        let walk = sh!("file_tree_look {} {} {} {}", path, mode, owner, group);
        sh!("[ -L {} ] || [ ! -d {} ] || {} || exit 3\n{}", path, path, walk, look)
    }

    pub(super) fn compare_directory(&self, path: &str, answer: &Answer) -> Result<Verdict> {
        let (below, rest) = split(answer.bytes()?)?;
        let look = Look::read(&Answer { stdout: rest.to_vec(), ..answer.clone() })?;
        match look.kind {
            Kind::Absent => Ok(self.creation(path)),
            Kind::Folder if self.reaches_below() => Ok(self.throughout(path, &look, &below)),
            Kind::Folder => {
                let changes = self.properties().changes(&look);
                if changes.is_empty() {
                    return Ok(Verdict::in_place());
                }
                let expect = look.and_place(self.expected(&look));
                Ok(put::meta_change(path, look.place(path), &self.properties(), &look, &changes, expect))
            }
            Kind::Link => bail!(
                "`{path}` is a link to `{}`; follow = true accepts the directory that it leads to",
                String::from_utf8_lossy(&look.target)
            ),
            kind => bail!("`{path}` is a {}, not a directory; remove it first (state = \"absent\")", kind.word()),
        }
    }

    fn expected(&self, look: &Look) -> Pattern {
        let before = if self.reaches_below() { Pattern::exactly("differ 0\n") } else { Pattern::default() };
        self.properties().head(before, "dir", look, NEW_FOLDER).and("\n")
    }

    fn creation(&self, path: &str) -> Verdict {
        let nothing = Look::absent();
        let [mode, owner, group] = self.properties().words(&nothing, NEW_FOLDER);
        let apply = sh!("file_dir {} {} {} {}", path, mode, owner, group);
        let undo = Undo::Restore(sh!("file_back {}", path));
        let mut change = Change::new("absent", "directory", apply, self.expected(&nothing), undo);
        // Which folders above it are missing is known for sure only right before it is made.
        change.keep = sh!("file_keep_way {}", path);
        Verdict::differs(change)
    }

    fn throughout(&self, path: &str, look: &Look, below: &Below) -> Verdict {
        if below.count == 0 {
            return Verdict::in_place();
        }
        let [mode, owner, group] = self.tree_words();
        let asked: Vec<&str> = [&mode, &owner, &group].into_iter().map(String::as_str).filter(|word| *word != "-").collect();
        let apply = sh!("file_tree_meta {} {} {} {}", path, mode, owner, group);
        let undo = Undo::Restore(sh!("file_back {}", path));
        let from = format!("{} to change below", below.count);
        let mut change = Change::new(from, asked.join(" "), apply, self.expected(look), undo);
        change.keep = sh!("file_keep_modes {} {} {} {}", path, mode, owner, group);
        change.diff = format!("--- {path}\n+++ {path}\n");
        for name in &below.names {
            change.diff.push_str(&format!("-{name}\n+{name} {}\n", asked.join(" ")));
        }
        if below.count > below.names.len() {
            change.diff.push_str(&format!(" and {} more\n", below.count - below.names.len()));
        }
        Verdict::differs(change)
    }
}

/// The part of `file_tree_look`, if there is one, and what follows it.
fn split(answer: &[u8]) -> Result<(Below, &[u8])> {
    let mut below = Below { count: 0, names: Vec::new() };
    let Some(rest) = answer.strip_prefix(b"differ ") else { return Ok((below, answer)) };
    let mut lines = rest.splitn(2, |&byte| byte == b'\n');
    let count = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    below.count = count.parse().with_context(|| format!("the host counts `{count}` differences"))?;
    let mut rest = lines.next().unwrap_or_default();
    while let Some(end) = rest.iter().position(|&byte| byte == b'\n').filter(|_| below.names.len() < below.count.min(5)) {
        below.names.push(String::from_utf8_lossy(&rest[..end]).into_owned());
        rest = &rest[end + 1..];
    }
    Ok((below, rest))
}

#[cfg(test)]
mod tests {
    use super::File;
    use crate::module::testing::{probe, verdict};

    const FOLDER: &str = "path = '/srv/www'\nstate = 'directory'\nmode = '0750'\nowner = 'www'";
    const TREE: &str = "path = '/srv/www'\nrecurse = true\nmode = 'u=rwX,g=rX,o='\ngroup = '33'";

    #[test]
    fn a_folder_is_made_with_those_above_it() {
        assert_eq!(probe::<File>(FOLDER), "file_look '/srv/www' 'nofollow' - 0");
        let expected = "absent -> directory
keep   file_keep_way '/srv/www'
apply  file_dir '/srv/www' '0750' 'www' '-'
expect dir 0750 … … www …

undo   file_back '/srv/www' RECORD";
        assert_eq!(verdict::<File>(FOLDER, 0, "absent\n"), expected);
    }

    #[test]
    fn a_folder_that_is_there_gets_mode_and_owner() {
        let expected = "0755 root -> 0750 www
apply  file_meta '/srv/www' '0750' 'www' '-'
expect dir 0750 … 0 www root

undo   file_meta '/srv/www' '0755' '0' '-'";
        assert_eq!(verdict::<File>(FOLDER, 0, "dir 0755 0 0 root root\n"), expected);
        assert_eq!(verdict::<File>(FOLDER, 0, "dir 0750 33 0 www root\n"), "in place");
    }

    #[test]
    fn a_tree_is_walked_when_asked() {
        let expected = "[ -L '/srv/www' ] || [ ! -d '/srv/www' ] || \
file_tree_look '/srv/www' '+0750-1027,0750,0640' '-' '33' || exit 3
file_look '/srv/www' 'nofollow' - 0";
        assert_eq!(probe::<File>(TREE), expected);
        let answer = "differ 7\n/srv/www/a\n/srv/www/b\n/srv/www/c\n/srv/www/d\n/srv/www/e\ndir 0750 0 33 root www\n";
        let text = verdict::<File>(TREE, 0, answer);
        assert!(text.starts_with("7 to change below -> "), "{text}");
        assert!(text.contains("\nkeep   file_keep_modes '/srv/www' "), "{text}");
        assert!(text.contains("\nexpect differ 0\ndir 0750 0 33 root www\n"), "{text}");
        assert_eq!(verdict::<File>(TREE, 0, "differ 0\ndir 0750 0 33 root www\n"), "in place");
        assert!(verdict::<File>(TREE, 0, "absent\n").contains("expect differ 0\ndir 0750 … 33 … …\n"));
    }

    #[test]
    fn what_is_no_folder_is_an_error() {
        assert_eq!(
            verdict::<File>(FOLDER, 0, "file 0644 0 0 root root 1 0 -\n"),
            "error: `/srv/www` is a file, not a directory; remove it first (state = \"absent\")"
        );
        assert_eq!(
            verdict::<File>(FOLDER, 0, "link 0777 0 0 root root /data\n"),
            "error: `/srv/www` is a link to `/data`; follow = true accepts the directory that it leads to"
        );
    }
}
