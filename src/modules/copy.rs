//! `copy`: a file or folder of the controller, a text, or a file of the host itself, put at a path of the host.

mod folder;
mod tar;

pub use folder::Tree;

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::file::{CHANGE, Existing, Kind, LOOK, Look, NEW_FILE, Properties, Put, Source, refuse_no_file};
use crate::module::{Libraries, Answer, Content, Local, Mode, Module, Path, Question, Surroundings, Touches, Verdict, Wanted, WantedKind};
use crate::remote::Library;
use crate::sh;
use crate::shell::Pattern;

pub static TREE_LOOK: Library = Library { name: "copy_look", text: include_str!("copy/look.sh") };
pub static TREE_CHANGE: Library = Library { name: "copy_change", text: concat!(include_str!("copy/change.sh"), include_str!("copy/keep.sh")) };

/// Between the answer about the source and the one about the destination.
const SEPARATOR: &[u8] = b"\n--\n";

/// Copy a file or a folder to the host, or put a text into a file there.
///
/// A file is replaced in one step: whoever reads it sees the old content or the new one. The old file is kept on the
/// host for `rollback`. Only what differs is sent, and only what differs is written.
///
/// A folder is copied with all that is in it; files on the host that it does not have stay. Up to 32 KiB of new
/// content travel with the step; more goes as one tar archive, for which the host needs `tar`. New files are made
/// beside their place, verified together, and then moved there.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Copy {
    /// File or folder on the controller, relative to the playbook or to the role's `files/`. A folder goes into
    /// `dest` under its own name; with `/` at its end, what is in it goes into `dest`. With `remote_src`, a file on the
    /// host.
    src: Option<String>,
    /// The text of the file, instead of `src`.
    content: Option<String>,
    /// `src` is a path on the host itself.
    #[serde(default)]
    remote_src: bool,
    /// Path on the host. When it ends with `/` it is a folder, in which the file gets the name of `src`.
    dest: Path,
    /// Permissions, such as `"0644"`; of a folder, those of all files. Left out: a file that is there keeps its own; a
    /// new one gets 0755 if the source may be executed, else 0644.
    mode: Option<Mode>,
    /// Permissions of all directories of a copied folder, such as `"0755"`. Left out: directories that are there keep
    /// their own, new ones get 0755.
    directory_mode: Option<Mode>,
    /// Name or number of the owner. Left out: what is there keeps its owner.
    owner: Option<String>,
    /// Name or number of the group. Left out: what is there keeps its group.
    group: Option<String>,
    /// Command that tests the new file. With `%s`, which stands for the path of the candidate, it runs before the
    /// file is replaced. Without, it runs right after, and the old file comes back if it fails.
    validate: Option<String>,
    /// `false`: a file that is there keeps its content.
    #[serde(default = "yes")]
    force: bool,
    /// Accepted for playbooks that say it: what is overwritten is kept on the host in any case, for `rollback`, and no
    /// copy is left beside the file.
    #[serde(default, rename = "backup")]
    _backup: bool,
    /// When `dest` is a link, replace the file that it leads to. Without this, a link is an error.
    #[serde(default)]
    follow: bool,
}

fn yes() -> bool {
    true
}

impl Module for Copy {
    const NAME: &'static str = "copy";
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK, &TREE_LOOK];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE, &TREE_CHANGE];

    fn libraries(&self, around: &Surroundings) -> Libraries {
        match around.files.get(self.src()) {
            Some(Local::Folder(_)) => Libraries { probe: Self::PROBE_LIBRARIES.to_vec(), apply: Self::APPLY_LIBRARIES.to_vec() },
            _ => Libraries { probe: vec![&LOOK], apply: vec![&CHANGE] },
        }
    }

    fn check(&self) -> Result<()> {
        self.properties().check()?;
        let src = match (&self.src, &self.content) {
            (Some(_), Some(_)) => bail!("`src` and `content` exclude each other"),
            (None, None) => bail!("what is to be copied? | give `src` or `content`"),
            (None, Some(_)) if self.dest.ends_with_slash() => {
                bail!("`dest` is a folder, and `content` has no name | write the path of the file")
            }
            (None, Some(_)) if self.remote_src => bail!("`remote_src` is for `src` alone"),
            (None, Some(content)) if content.contains('\0') => bail!("`content` holds a NUL | use a file and `src`"),
            (None, Some(_)) => return refuse_no_file(&self.dest),
            (Some(src), None) => src,
        };
        if src.is_empty() {
            bail!("`src` is empty");
        }
        if src.ends_with('/') {
            self.check_folder()?;
        } else {
            refuse_no_file(&self.dest)?;
        }
        if self.remote_src && !src.starts_with('/') && !src.starts_with("~/") {
            bail!("a path on a host is absolute or begins with `~/` | write `src` from `/`");
        }
        if self.remote_src && src.ends_with('/') {
            bail!("`remote_src` copies a single file | to copy a folder on the host, use `command` with `cp -a`");
        }
        Ok(())
    }

    fn wants(&self) -> Vec<Wanted> {
        match &self.src {
            Some(src) if !self.remote_src => vec![Wanted { path: src.clone(), kind: WantedKind::Copy }],
            _ => Vec::new(),
        }
    }

    /// The answer of `file_look` about `dest`, with the content of a file that differs. With `remote_src`, the one
    /// about `src` stands before it. For a folder see [`folder`].
    fn touches(&self, around: &Surroundings) -> Touches {
        // Of a folder all is meant that is made for it, `dest` too.
        let is_folder = matches!(around.files.get(self.src()), Some(Local::Folder(_)));
        Touches::Path(if is_folder { around.absolute(&self.dest) } else { self.dest(around) })
    }

    fn probe(&self, around: &Surroundings) -> Question {
        let dest = self.dest(around);
        if self.remote_src {
            let source = sh!("file_look {} follow '?' -1 && printf '%s\\n' --", self.source(around));
            return Question::Ask(sh!("{} && file_look {} {} '?' -1", source, dest, self.follow_word()));
        }
        if let Some(content) = &self.content {
            let content = Content::new(content.clone().into_bytes());
            return Question::Ask(self.put(&dest, NEW_FILE).probe(content.sha256()));
        }
        match around.files.get(self.src()) {
            Some(Local::Folder(entries)) => Question::Ask(self.tree(&dest, entries).probe()),
            Some(Local::File { content, .. }) => Question::Ask(self.put(&dest, NEW_FILE).probe(content.sha256())),
            None => Question::Ask(self.put(&dest, NEW_FILE).probe("?")),
        }
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let dest = self.dest(around);
        if self.remote_src {
            return self.compare_on_host(&dest, around, answer);
        }
        if let Some(content) = &self.content {
            let content = Content::new(content.clone().into_bytes()).into();
            let look = Look::read(answer)?;
            return self.put(&dest, NEW_FILE).verdict(around, answer, &look, &Source::Controller(&content));
        }
        match around.files.get(self.src()) {
            Some(Local::Folder(entries)) => {
                self.check_folder()?;
                self.tree(&dest, entries).verdict(answer)
            }
            Some(Local::File { content, mode }) => {
                let look = Look::read(answer)?;
                let new_mode = if mode & 0o111 == 0 { NEW_FILE } else { 0o755 };
                self.put(&dest, new_mode).verdict(around, answer, &look, &Source::Controller(content))
            }
            None => bail!("`{}` was not found beside the playbook", self.src()),
        }
    }
}

impl Copy {
    fn tree<'a>(&'a self, root: &'a str, entries: &'a [crate::module::LocalEntry]) -> Tree<'a> {
        Tree::new(root, self.properties(), self.directory_mode.as_ref(), self.force, entries)
    }

    fn src(&self) -> &str {
        self.src.as_deref().unwrap_or_default()
    }

    /// `src` as a path of the host.
    fn source(&self, around: &Surroundings) -> String {
        match self.src().strip_prefix("~/") {
            Some(rest) => format!("{}/{rest}", around.home),
            None => self.src().to_owned(),
        }
    }

    fn properties(&self) -> Properties<'_> {
        Properties::new(self.mode.as_ref(), self.owner.as_ref(), self.group.as_ref())
    }

    fn follow_word(&self) -> &'static str {
        if self.follow { "follow" } else { "nofollow" }
    }

    fn dest(&self, around: &Surroundings) -> String {
        let dest = around.absolute(&self.dest);
        let is_folder = matches!(around.files.get(self.src()), Some(Local::Folder(_)));
        // The contents of a folder go right into `dest`, a folder or what is in `dest/` under its own name.
        let under_its_name = if is_folder { !self.src().ends_with('/') } else { self.dest.ends_with_slash() };
        let name = self.src().trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        if under_its_name && !name.is_empty() && name != "." {
            return format!("{}/{name}", dest.trim_end_matches('/'));
        }
        dest
    }

    fn put<'a>(&'a self, path: &'a str, new_mode: u32) -> Put<'a> {
        Put {
            path,
            properties: self.properties(),
            new_mode,
            validate: self.validate.as_deref(),
            follow: self.follow,
            existing: if self.force { Existing::Replaced } else { Existing::Kept },
            before: Pattern::default(),
        }
    }

    fn compare_on_host(&self, dest: &str, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let at = answer.stdout.windows(SEPARATOR.len()).position(|window| window == SEPARATOR);
        let (first, second) = match at {
            Some(at) => (&answer.stdout[..=at], &answer.stdout[at + SEPARATOR.len()..]),
            None => (answer.stdout.as_slice(), b"".as_slice()),
        };
        if at.is_none() || answer.status != 0 {
            let sentence = if at.is_some() { second } else { first };
            answer_with(answer, sentence).bytes()?;
            bail!("the host gave an answer that cannot be read");
        }
        let source = self.source(around);
        let from = Look::read(&answer_with(answer, first))?;
        match from.kind {
            Kind::File => {}
            Kind::Absent => bail!("`{source}` does not exist on the host"),
            Kind::Folder => bail!("`{source}` is a folder; `remote_src` copies a single file, `command` with `cp -a` a folder"),
            kind => bail!("`{source}` is not a regular file but a {}", kind.word()),
        }
        let answer_after = answer_with(answer, second);
        let look = Look::read(&answer_after)?;
        let mut put = self.put(dest, if from.mode & 0o111 == 0 { NEW_FILE } else { 0o755 });
        if put.existing == Existing::Kept && look.is(Kind::File) && self.properties().changes(&look).is_empty() {
            return Ok(Verdict::in_place());
        }
        // Both hashes are always in the answer.
        if !(put.existing == Existing::Kept && look.is(Kind::File)) {
            put.existing = Existing::Replaced;
        }
        put.before = Pattern::exactly([first, &SEPARATOR[1..]].concat());
        let place = from.place(&source);
        put.verdict(around, &answer_after, &look, &Source::Host { path: place, look: &from })
    }

    fn check_folder(&self) -> Result<()> {
        if self.validate.is_some() {
            bail!("`validate` is for a single file, and `{}` is a folder", self.src());
        }
        if self.follow {
            bail!("`follow` is for a single file, and `{}` is a folder; write the path that the link leads to", self.src());
        }
        for mode in [&self.mode, &self.directory_mode].into_iter().flatten() {
            if let Mode::Symbolic(_) = mode {
                bail!("the modes of a folder's files and directories are octal, such as \"0644\"");
            }
        }
        Ok(())
    }
}

fn answer_with(answer: &Answer, stdout: &[u8]) -> Answer {
    Answer { stdout: stdout.to_vec(), ..answer.clone() }
}

#[cfg(test)]
mod tests {
    use super::Copy;
    use crate::module::testing::{probe, problems, verdict, verdict_with};

    const SHA: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    const TEXT: &str = "content = \"hello\\n\"\ndest = '/etc/motd'";
    const FILE: &str = "src = 'motd'\ndest = '/etc/motd'\nmode = '0644'\nowner = 'www'";
    const HOST: &str = "src = '/etc/a'\nremote_src = true\ndest = '/etc/b'";

    fn check(arguments: &str, stdout: &str) -> String {
        verdict_with::<Copy>(arguments, &[("motd", b"hello\n")], 0, stdout)
    }

    #[test]
    fn a_text_is_put_into_a_file() {
        assert_eq!(probe::<Copy>(TEXT), format!("file_look '/etc/motd' 'nofollow' '{SHA}' 262144"));
        let expected = format!(
            "absent -> file
apply  file_put '/etc/motd' nofollow '{SHA}' '0644' '-' '-' - '' text 'hello\\n'
expect file 0644 … … … … 1 6 {SHA}

undo   file_absent '/etc/motd'"
        );
        assert_eq!(verdict::<Copy>(TEXT, 0, "absent\n"), expected);
        assert_eq!(verdict::<Copy>(TEXT, 0, &format!("file 0600 0 0 root root 1 6 {SHA}\n")), "in place");
    }

    #[test]
    fn a_file_is_replaced_and_can_come_back() {
        let expected = format!(
            "old content, root -> new content, www
keep   file_keep '/etc/motd'
apply  file_put '/etc/motd' nofollow '{SHA}' '-' 'www' '-' - '' text 'hello\\n'
expect file 0644 … 0 www root 1 6 {SHA}

undo   file_back '/etc/motd' RECORD"
        );
        assert_eq!(check(FILE, "file 0644 0 0 root root 1 3 ab\ncontent\nhi\n"), expected);
    }

    #[test]
    fn mode_and_owner_can_change_alone() {
        let expected = format!(
            "0600 root -> 0644 www
apply  file_meta '/etc/motd' '0644' 'www' '-'
expect file 0644 … 0 www root 1 6 {SHA}

undo   file_meta '/etc/motd' '0600' '0' '-'"
        );
        assert_eq!(check(FILE, &format!("file 0600 0 0 root root 1 6 {SHA}\n")), expected);
    }

    #[test]
    fn a_folder_on_the_host_takes_the_name_of_the_source() {
        let text = check("src = 'motd'\ndest = '/etc/'", "absent\n");
        assert!(text.contains("file_put '/etc/motd' "), "{text}");
        assert!(check(FILE, "dir 0755 0 0 root root\n").starts_with("error: `/etc/motd` is a folder"));
    }

    #[test]
    fn a_file_of_the_host_is_copied_there() {
        let expected = "file_look '/etc/a' follow '?' -1 && printf '%s\\n' -- && file_look '/etc/b' 'nofollow' '?' -1";
        assert_eq!(probe::<Copy>(HOST), expected);
        let expected = "absent -> file
apply  file_put '/etc/b' nofollow 'ab' '0755' '-' '-' - '' from '/etc/a'
expect file 0755 0 0 root root 1 7 ab
--
file 0755 … … … … 1 7 ab

undo   file_absent '/etc/b'";
        assert_eq!(verdict::<Copy>(HOST, 0, "file 0755 0 0 root root 1 7 ab\n--\nabsent\n"), expected);
        let both = "file 0755 0 0 root root 1 7 ab\n--\nfile 0644 1 1 a a 1 7 ab\n";
        assert_eq!(verdict::<Copy>(HOST, 0, both), "in place");
    }

    #[test]
    fn a_source_on_the_host_must_be_a_file() {
        assert_eq!(verdict::<Copy>(HOST, 0, "absent\n--\nabsent\n"), "error: `/etc/a` does not exist on the host");
        assert_eq!(verdict::<Copy>(HOST, 3, "/etc/a cannot be read\n"), "error: /etc/a cannot be read");
        let second = "file 0755 0 0 root root 1 7 ab\n--\n/etc is not a folder\n";
        assert_eq!(verdict::<Copy>(HOST, 3, second), "error: /etc is not a folder");
    }

    #[test]
    fn arguments_that_do_not_go_together_are_found() {
        assert_eq!(problems::<Copy>("dest = '/a'"), "what is to be copied?");
        assert_eq!(problems::<Copy>("dest = '/a'\nsrc = 'a'\ncontent = 'a'"), "`src` and `content` exclude each other");
        assert_eq!(problems::<Copy>("dest = '/a/'\ncontent = 'a'"), "`dest` is a folder, and `content` has no name");
        assert_eq!(
            problems::<Copy>("dest = '/a'\nsrc = 'b'\nremote_src = true"),
            "a path on a host is absolute or begins with `~/`"
        );
    }
}
