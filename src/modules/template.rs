//! `template`: a file on the host holds a rendered template.

use anyhow::Result;
use schemars::JsonSchema;
use serde::Deserialize;

use super::file::{CHANGE, Existing, LOOK, Look, NEW_FILE, Properties, Put, Source, refuse_no_file};
use crate::module::{Answer, Mode, Module, Path, Question, Surroundings, Touches, Verdict, Wanted, WantedKind};
use crate::remote::Library;
use crate::shell::Pattern;

/// Render a template and put the text into a file on the host.
///
/// The file is replaced in one step: whoever reads it sees the old text or the new one. The old file is kept on the
/// host for `rollback`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// The template, relative to the playbook or to the role's `templates/`.
    src: String,
    /// Path on the host. When it ends with `/` it is a folder, in which the file gets the name of `src`.
    dest: Path,
    /// Permissions, such as `"0644"`. Left out: the file that is there keeps its own, a new one gets 0644.
    mode: Option<Mode>,
    /// Name or number of the owner. Left out: the file that is there keeps its owner.
    owner: Option<String>,
    /// Name or number of the group. Left out: the file that is there keeps its group.
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

impl Module for Template {
    const NAME: &'static str = "template";
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE];

    fn check(&self) -> Result<()> {
        self.properties().check()?;
        refuse_no_file(&self.dest)
    }

    fn wants(&self) -> Vec<Wanted> {
        vec![Wanted { path: self.src.clone(), kind: WantedKind::Template }]
    }

    /// The answer of `file_look`, with the content of a file that differs.
    fn touches(&self, around: &Surroundings) -> Touches {
        Touches::Path(self.dest(around))
    }

    fn probe(&self, around: &Surroundings) -> Question {
        let wanted = around.content(&self.src).map_or("?", |content| content.sha256());
        Question::Ask(self.put(&self.dest(around)).probe(wanted))
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let content = around.content(&self.src)?;
        let look = Look::read(answer)?;
        self.put(&self.dest(around)).verdict(around, answer, &look, &Source::Controller(content))
    }
}

impl Template {
    fn properties(&self) -> Properties<'_> {
        Properties::new(self.mode.as_ref(), self.owner.as_ref(), self.group.as_ref())
    }

    fn dest(&self, around: &Surroundings) -> String {
        let dest = around.absolute(&self.dest);
        if !self.dest.ends_with_slash() {
            return dest;
        }
        let name = self.src.rsplit('/').next().unwrap_or_default();
        format!("{}/{name}", dest.trim_end_matches('/'))
    }

    fn put<'a>(&'a self, path: &'a str) -> Put<'a> {
        Put {
            path,
            properties: self.properties(),
            new_mode: NEW_FILE,
            validate: self.validate.as_deref(),
            follow: self.follow,
            existing: if self.force { Existing::Replaced } else { Existing::Kept },
            before: Pattern::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Template;
    use crate::module::testing::{problems, verdict_with};

    const ARGUMENTS: &str = "src = 'motd.j2'\ndest = '/etc/motd'\nmode = '0644'";
    const SHA: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

    fn check(arguments: &str, stdout: &str) -> String {
        verdict_with::<Template>(arguments, &[("motd.j2", b"hello\n")], 0, stdout)
    }

    #[test]
    fn a_file_that_is_right_is_in_place() {
        assert_eq!(check(ARGUMENTS, &format!("file 0644 0 0 root root 1 6 {SHA}\n")), "in place");
        // Nothing is written, so more names do no harm.
        assert_eq!(check(ARGUMENTS, &format!("file 0644 0 0 root root 2 6 {SHA}\n")), "in place");
    }

    #[test]
    fn a_file_is_made() {
        let expected = format!(
            "absent -> file
apply  file_put '/etc/motd' nofollow '{SHA}' '0644' '-' '-' - '' text 'hello\\n'
expect file 0644 … … … … 1 6 {SHA}

undo   file_absent '/etc/motd'"
        );
        assert_eq!(check(ARGUMENTS, "absent\n"), expected);
    }

    #[test]
    fn other_content_is_replaced_and_can_come_back() {
        let expected = format!(
            "old content, 0600 -> new content, 0644
keep   file_keep '/etc/motd'
apply  file_put '/etc/motd' nofollow '{SHA}' '0644' '-' '-' - '' text 'hello\\n'
expect file 0644 0 33 root www 1 6 {SHA}

undo   file_back '/etc/motd' RECORD"
        );
        assert_eq!(check(ARGUMENTS, "file 0600 0 33 root www 1 3 ab\ncontent\nhi\n"), expected);
    }

    #[test]
    fn the_mode_can_change_alone() {
        let expected = format!(
            "0600 -> 0644
apply  file_meta '/etc/motd' '0644' '-' '-'
expect file 0644 0 0 root root 1 6 {SHA}

undo   file_meta '/etc/motd' '0600' '-' '-'"
        );
        assert_eq!(check(ARGUMENTS, &format!("file 0600 0 0 root root 1 6 {SHA}\n")), expected);
    }

    #[test]
    fn without_force_content_stays() {
        let arguments = format!("{ARGUMENTS}\nforce = false");
        assert_eq!(check(&arguments, "file 0644 0 0 root root 1 9 -\n"), "in place");
        assert!(check(&arguments, "absent\n").contains("expect file 0644 … … … … 1 6 -\n"));
    }

    #[test]
    fn a_folder_takes_the_name_of_the_template() {
        let text = check("src = 'motd.j2'\ndest = '~/etc/'", "absent\n");
        assert!(text.contains("apply  file_put '/root/etc/motd.j2' "), "{text}");
    }

    #[test]
    fn what_is_no_file_is_an_error() {
        assert_eq!(
            check(ARGUMENTS, "dir 0755 0 0 root root\n"),
            "error: `/etc/motd` is a folder, and a folder is not replaced by a file; end `dest` with `/` to put the file into it"
        );
        assert_eq!(
            check(ARGUMENTS, "link 0777 0 0 root root ../run/motd\n"),
            "error: `/etc/motd` is a link to `../run/motd`; follow = true would replace what it leads to"
        );
        assert_eq!(
            check(ARGUMENTS, "char 0666 0 0 root root\n"),
            "error: `/etc/motd` is not a regular file but a character device, and is left alone"
        );
    }

    #[test]
    fn an_odd_owner_is_found_before_a_run() {
        assert_eq!(problems::<Template>(&format!("{ARGUMENTS}\nowner = ''")), "`owner`: `` is no name of an account");
    }
}
