//! One file with this content, mode and owner: what `copy`, `template` and `lineinfile` have in common.

use std::sync::Arc;

use anyhow::{Result, bail};

use super::look::{Kind, Look, Shown, missing_parent};
use super::properties::{Changed, Properties};
use crate::module::{Action, Answer, Change, Content, Surroundings, Undo, Upload, Verdict, diff};
use crate::sh;
use crate::shell::{Pattern, Script, printf_argument};

/// Content up to this size travels in the step itself; more is uploaded.
pub const INLINE_BYTES: usize = 32 << 10;

/// Content shorter than this is sent as it is: asking what of it is there takes longer.
const COMPARED_BYTES: usize = 8 << 20;

/// The file that is wanted.
pub struct Put<'a> {
    /// Absolute.
    pub path: &'a str,
    pub properties: Properties<'a>,
    /// Mode of a file that is not there yet, when none is asked for.
    pub new_mode: u32,
    /// Command that tests the file: before the swap with `%s` in it, right after it without.
    pub validate: Option<&'a str>,
    /// Of a link, work on the file that it leads to.
    pub follow: bool,
    pub existing: Existing,
    /// What the next answer has before the part about this file.
    pub before: Pattern,
}

/// What happens to a file that is there, and so what the probe has to tell about its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It gets the content if it has another one.
    Replaced,
    /// It keeps its content.
    Kept,
    /// As `Replaced`; the new content follows from the old one, so that is always shown.
    Edited,
}

/// Where the content comes from.
pub enum Source<'a> {
    Controller(&'a Arc<Content>),
    /// A file on the host.
    Host { path: &'a [u8], look: &'a Look },
}

impl Source<'_> {
    fn sha256(&self) -> &str {
        match self {
            Self::Controller(content) => content.sha256(),
            Self::Host { look, .. } => &look.sha256,
        }
    }

    fn size_bytes(&self) -> u64 {
        match self {
            Self::Controller(content) => content.size() as u64,
            Self::Host { look, .. } => look.size_bytes,
        }
    }
}

impl Put<'_> {
    /// Asks what is there. The content comes back only when it is of use.
    pub fn probe(&self, wanted_sha256: &str) -> Script {
        let follow = if self.follow { "follow" } else { "nofollow" };
        let want = match self.existing {
            Existing::Replaced => wanted_sha256,
            Existing::Kept => "-",
            Existing::Edited => "?",
        };
        sh!("file_look {} {} {} {}", self.path, follow, want, self.shown_bytes())
    }

    /// Content up to this size comes along in the answer.
    fn shown_bytes(&self) -> usize {
        if self.existing == Existing::Edited { super::EDITED_BYTES } else { diff::SHOWN_BYTES }
    }

    /// What is to be done. `answer` is needed for its remark.
    ///
    /// # Errors
    /// What is there is not a file, has more names, or lies in a folder that does not exist.
    pub fn verdict(&self, around: &Surroundings, answer: &Answer, look: &Look, source: &Source) -> Result<Verdict> {
        self.check_place(around, answer, look)?;
        let is_new = look.is(Kind::Absent);
        let has_other_content = self.existing != Existing::Kept && look.sha256 != source.sha256();
        let properties = self.properties.changes(look);
        if !is_new && !has_other_content {
            return Ok(if properties.is_empty() { Verdict::in_place() } else { self.metadata_alone(look, &properties) });
        }
        if look.links > 1 {
            bail!(
                "`{}` has {} hard links, and replacing it would part them; remove its other names first",
                self.path, look.links
            );
        }
        let place = look.place(self.path);
        let (from, to) = words(is_new, &properties);
        let mut change = Change::new(from, to, Script::default(), self.expected(look, source), Undo::Run(sh!("file_absent {}", place)));
        change.apply = self.action(look, place, source);
        change.diff = self.difference(look, source);
        if !properties.is_empty() {
            change.diff.push_str(&diff::properties(self.path, &properties));
        }
        if !is_new && properties.is_empty() {
            change.leaves = self.leaves(answer, source);
        }
        change.again = Some(super::kept_as_file(place));
        if !is_new {
            change.keep = sh!("file_keep {}", place);
            change.undo = Undo::Restore(sh!("file_back {}", place));
        }
        Ok(Verdict::differs(change))
    }

    fn check_place(&self, around: &Surroundings, answer: &Answer, look: &Look) -> Result<()> {
        match look.kind {
            Kind::File => Ok(()),
            Kind::Absent => check_parent(self.path, around, answer),
            Kind::Folder => bail!(
                "`{}` is a folder, and a folder is not replaced by a file; end `dest` with `/` to put the file into it",
                self.path
            ),
            Kind::Link => bail!(
                "`{}` is a link to `{}`; follow = true would replace what it leads to",
                self.path,
                String::from_utf8_lossy(&look.target)
            ),
            kind => bail!("`{}` is not a regular file but a {}, and is left alone", self.path, kind.word()),
        }
    }

    fn metadata_alone(&self, look: &Look, properties: &[Changed]) -> Verdict {
        let place = look.place(self.path);
        let tail = format!(" {} {} {}\n", look.links, look.size_bytes, look.sha256);
        let expect = self.properties.head(self.before.clone(), "file", look, 0).and(tail);
        let expect = self.and_content(look.and_place(expect), look.size_bytes);
        meta_change(self.path, place, &self.properties, look, properties, expect)
    }

    fn expected(&self, look: &Look, source: &Source) -> Pattern {
        let sha256 = if self.existing == Existing::Kept { "-" } else { source.sha256() };
        let tail = format!(" 1 {} {sha256}\n", source.size_bytes());
        let pattern = self.properties.head(self.before.clone(), "file", look, self.new_mode).and(tail);
        self.and_content(look.and_place(pattern), source.size_bytes())
    }

    fn and_content(&self, pattern: Pattern, size_bytes: u64) -> Pattern {
        if self.existing == Existing::Edited && size_bytes <= self.shown_bytes() as u64 {
            // The hash has said it all.
            return pattern.and("content").and_anything();
        }
        pattern
    }

    fn action(&self, look: &Look, place: &[u8], source: &Source) -> Action {
        let [mode, owner, group] = self.properties.words(look, self.new_mode);
        let mut upload = None;
        let from = match source {
            Source::Controller(content) if let Some(bytes) = content.short(INLINE_BYTES) => sh!("text {}", printf_argument(bytes)),
            Source::Controller(content) => {
                let path = upload_path(folder_of(place), content.sha256());
                let from = sh!("upload {}", path);
                let old = (look.is(Kind::File) && content.size().min(usize::try_from(look.size_bytes).unwrap_or(0)) >= COMPARED_BYTES).then(|| place.to_vec());
                upload = Some(Upload { path, content: Arc::clone(content), old });
                from
            }
            Source::Host { path, .. } => sh!("from {}", path),
        };
        // The path is quoted where it is filled in.
        let validate = self.validate.unwrap_or_default().replace("\"%s\"", "%s").replace("'%s'", "%s");
        let sha256 = source.sha256();
        let script = sh!("file_put {} nofollow {} {} {} {} - {} {}", place, sha256, mode, owner, group, validate, from);
        // A command of the user's may hang.
        Action { script, group: self.validate.is_some(), upload, ..Action::default() }
    }

    /// The next answer, where it is the present one with other content.
    fn leaves(&self, answer: &Answer, source: &Source) -> Option<Vec<u8>> {
        let Source::Controller(content) = source else { return None };
        let is_known = self.existing == Existing::Edited && self.validate.is_none() && self.before == Pattern::default();
        let bytes = content.short(INLINE_BYTES).filter(|bytes| is_known && !bytes.contains(&0))?;
        let end = answer.stdout.iter().position(|&byte| byte == b'\n')?;
        let shown = answer.stdout.windows(9).position(|part| part == b"\ncontent\n")? + 1;
        let head = String::from_utf8(answer.stdout[..end].to_vec()).ok()?;
        // MODE UID GID OWNER GROUP LINKS SIZE SHA
        let (head, _) = head.rsplit_once(' ')?;
        let (head, _) = head.rsplit_once(' ')?;
        let mut next = format!("{head} {} {}", bytes.len(), content.sha256()).into_bytes();
        next.extend_from_slice(&answer.stdout[end..shown]);
        next.extend_from_slice(b"content\n");
        next.extend_from_slice(bytes);
        Some(next)
    }

    fn difference(&self, look: &Look, source: &Source) -> String {
        let new = match source {
            Source::Controller(content) => content.held().memory(),
            Source::Host { .. } => None,
        };
        match (look.kind, &look.shown, new) {
            (Kind::Absent, _, Some(new)) => diff::unified(self.path, None, Some(new)),
            (_, Shown::Bytes(old), Some(new)) => diff::unified(self.path, Some(old), Some(new)),
            (kind, shown, _) => {
                let before = if kind == Kind::Absent { "/dev/null" } else { self.path };
                let what = if *shown == Shown::Binary { "binary content" } else { "content" };
                let path = self.path;
                format!("--- {before}\n+++ {path}\n{what}: {} bytes -> {} bytes\n", look.size_bytes, source.size_bytes())
            }
        }
    }
}

/// Before and after in a few words.
fn words(is_new: bool, properties: &[Changed]) -> (String, String) {
    if is_new {
        return ("absent".into(), "file".into());
    }
    let (mut from, mut to) = ("old content".to_owned(), "new content".to_owned());
    for (_, before, after) in properties {
        from.push_str(", ");
        from.push_str(before);
        to.push_str(", ");
        to.push_str(after);
    }
    (from, to)
}

/// The change of mode, owner or group alone, of anything that is there.
pub fn meta_change(
    path: &str,
    place: &[u8],
    asked: &Properties,
    look: &Look,
    changes: &[Changed],
    expect: Pattern,
) -> Verdict {
    let [mode, owner, group] = asked.words(look, 0);
    let apply = sh!("file_meta {} {} {} {}", place, mode, owner, group);
    let [mode, owner, group] = asked.words_back(look);
    let undo = Undo::Run(sh!("file_meta {} {} {} {}", place, mode, owner, group));
    let side = |pick: fn(&Changed) -> &String| {
        changes.iter().map(|change| pick(change).as_str()).collect::<Vec<_>>().join(" ")
    };
    let mut change = Change::new(side(|change| &change.1), side(|change| &change.2), apply, expect, undo);
    change.diff = diff::properties(path, changes);
    Verdict::differs(change)
}

/// # Errors
/// The folder that should hold a path is not there, and no earlier task of this run is going to make it.
pub fn check_parent(path: &str, around: &Surroundings, answer: &Answer) -> Result<()> {
    if missing_parent(answer).is_some() && !around.after_planned_changes {
        let folder = String::from_utf8_lossy(folder_of(path.as_bytes())).into_owned();
        bail!("the folder {folder} does not exist; make it with a `file` task first");
    }
    Ok(())
}

/// The folder that holds a path.
pub fn folder_of(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|&byte| byte == b'/') {
        None | Some(0) => b"/",
        Some(end) => &path[..end],
    }
}

/// Where content waits in a folder of the host until its step takes it. The name tells which it is, in hexadecimal.
pub fn upload_path(folder: &[u8], name: &str) -> Vec<u8> {
    let folder = folder.strip_suffix(b"/").unwrap_or(folder);
    [folder, b"/.mutate.upload.", &name.as_bytes()[..16]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

    fn verdict(put: &Put, content: &[u8], stdout: &str, remark: &str) -> Result<Verdict> {
        let answer = Answer { status: 0, stdout: stdout.into(), remark: remark.into() };
        let content = Arc::new(Content::new(content.to_vec()));
        let look = Look::read(&answer)?;
        put.verdict(&Surroundings::default(), &answer, &look, &Source::Controller(&content))
    }

    fn put() -> Put<'static> {
        Put {
            path: "/etc/motd",
            properties: Properties::default(),
            new_mode: 0o644,
            validate: None,
            follow: true,
            existing: Existing::Replaced,
            before: Pattern::default(),
        }
    }

    fn change(put: &Put, content: &[u8], stdout: &str) -> Change {
        match verdict(put, content, stdout, "").expect("a verdict") {
            Verdict::Differs(change) => *change,
            Verdict::InPlace(_) => panic!("in place"),
        }
    }

    #[test]
    fn a_followed_link_is_worked_on_where_it_ends() {
        let change = change(&put(), b"hello\n", "file 0600 0 0 root root 1 3 ab\nat /run/motd\ncontent\nhi\n");
        assert_eq!(change.keep.to_string(), "file_keep '/run/motd'");
        assert!(change.apply.script.to_string().starts_with("file_put '/run/motd' nofollow"));
        let expected = format!("file 0600 0 0 root root 1 6 {SHA}\nat /run/motd\n");
        assert_eq!(change.expect.map(|pattern| pattern.to_string()), Some(expected));
        assert_eq!(change.diff, "--- /etc/motd\n+++ /etc/motd\n@@ -1 +1 @@\n-hi\n+hello\n");
    }

    #[test]
    fn large_content_is_uploaded_beside_the_file() {
        let change = change(&put(), &vec![b'x'; INLINE_BYTES + 1], "absent\n");
        let upload = change.apply.upload.expect("an upload");
        let path = String::from_utf8_lossy(&upload.path).into_owned();
        assert!(path.starts_with("/etc/.mutate.upload.") && path.len() == "/etc/.mutate.upload.".len() + 16, "{path}");
        assert!(change.apply.script.to_string().ends_with(&format!(" upload '{path}'")));
    }

    #[test]
    fn a_missing_folder_is_an_error_unless_it_is_only_planned() {
        let error = verdict(&put(), b"", "absent\n", "parent missing /etc\n").expect_err("no folder");
        assert_eq!(error.to_string(), "the folder /etc does not exist; make it with a `file` task first");
    }

    #[test]
    fn a_validator_runs_in_a_group_of_its_own() {
        let put = Put { validate: Some("test -s %s"), ..put() };
        let change = change(&put, b"hello\n", "absent\n");
        assert!(change.apply.group);
        assert!(change.apply.script.to_string().contains(" - 'test -s %s' text "));
    }

    #[test]
    fn a_file_with_more_names_is_left_alone() {
        let error = verdict(&put(), b"hello\n", "file 0644 0 0 root root 2 3 ab\n", "").expect_err("links");
        assert!(error.to_string().starts_with("`/etc/motd` has 2 hard links"), "{error}");
    }
}
