//! `unarchive`: what is in an archive of the controller lies in a folder of the host.

mod read;
mod remote;

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::copy::{TREE_CHANGE, TREE_LOOK, Tree};
use super::file::{CHANGE, LOOK, Properties};
use self::remote::UNPACK;
use crate::module::{Answer, Content, Libraries, LocalEntry, Mode, Module, OneOrMany, Path, Question, Report, Surroundings, Touches, Verdict, Wanted, WantedKind};
use crate::remote::Library;
use crate::sh;
use crate::shell::glob;

/// Unpack an archive (`.tar`, `.tar.gz`, `.tgz`, `.zip`) into a folder of the host.
///
/// The archive is read here, so the host needs neither `tar.gz` nor `zip`; only files that differ are sent, as `copy` does with a
/// folder, and a rollback brings back what was there. Files that the archive does not have stay. What may be executed in the
/// archive may be executed on the host; other new files get 0644. Names that lead out of the folder, devices and links that
/// lead out are refused.
///
/// With `remote_src`, the archive is a file on the host, such as one that `get_url` has fetched, and the host's own tar or unzip works
/// on it, also with `.tar.bz2`, `.tar.xz` and `.tar.zst`. Then contents are compared where tar is GNU's; else, and with zip, sizes are.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unarchive {
    /// The archive, relative to the playbook or to the role's `files/`. With `remote_src`, a path on the host.
    src: String,
    /// The archive lies on the host.
    #[serde(default)]
    remote_src: bool,
    /// The folder on the host; it is made where it is missing.
    dest: Path,
    /// Nothing is done when this path is there.
    creates: Option<Path>,
    /// Only these names of the archive: patterns such as `bin/*`.
    #[serde(default)]
    include: OneOrMany,
    /// Not these names of the archive.
    #[serde(default)]
    exclude: OneOrMany,
    /// So many folders are taken off the front of each name; what has no more than those is left out.
    #[serde(default)]
    strip_components: usize,
    /// Files that are there keep their content.
    #[serde(default)]
    keep: bool,
    /// Permissions of all files, such as `"0644"`.
    mode: Option<Mode>,
    /// Permissions of all folders, such as `"0755"`.
    directory_mode: Option<Mode>,
    /// Name or number of the owner of all of it.
    owner: Option<String>,
    /// Name or number of the group of all of it.
    group: Option<String>,
}

/// Archives that have been read lately: all hosts get the same one.
static READ: Mutex<Vec<(String, Arc<Vec<LocalEntry>>)>> = Mutex::new(Vec::new());
const REMEMBERED: usize = 4;

impl Module for Unarchive {
    const NAME: &'static str = "unarchive";
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK, &TREE_LOOK, &UNPACK];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE, &TREE_CHANGE];

    fn libraries(&self, _: &Surroundings) -> Libraries {
        let mut probe = Self::PROBE_LIBRARIES.to_vec();
        probe.retain(|library| self.remote_src || library.name != UNPACK.name);
        Libraries { probe, apply: Self::APPLY_LIBRARIES.to_vec() }
    }

    fn check(&self) -> Result<()> {
        self.properties().check()?;
        if self.remote_src && !self.src.contains("://") {
            return self.check_remote();
        }
        if self.src.contains("://") {
            bail!("`src` is an address | fetch it with `get_url`, and unpack it with `remote_src = true`");
        }
        if self.src.starts_with("~/") {
            bail!("`src` is a path on the controller, relative to the playbook | remote_src = true makes it one on the host");
        }
        Ok(())
    }

    fn wants(&self) -> Vec<Wanted> {
        if self.remote_src {
            return Vec::new();
        }
        vec![Wanted { path: self.src.clone(), kind: WantedKind::Copy }]
    }

    fn touches(&self, around: &Surroundings) -> Touches {
        Touches::Path(around.absolute(&self.dest))
    }

    fn probe(&self, around: &Surroundings) -> Question {
        let root = around.absolute(&self.dest);
        let look = match around.content(&self.src).and_then(|content| self.entries(content)) {
            _ if self.remote_src => self.look_remote(around),
            Ok(entries) => self.tree(&root, &entries).probe(),
            Err(error) => return Question::Ask(sh!("core_die {}", format!("{error:#}"))),
        };
        match &self.creates {
            Some(path) => {
                let path = around.absolute(path);
                Question::Ask(sh!("if [ -e {} ] || [ -L {} ]; then echo created; else\n{}\nfi", path, path, look))
            }
            None => Question::Ask(look),
        }
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        if answer.status == 0 && answer.stdout == b"created\n" {
            let path = self.creates.as_ref().map_or("", |path| path.as_str());
            return Ok(Verdict::InPlace(Report::message(format!("not needed: `{path}` is there"))));
        }
        let verdict = if self.remote_src {
            self.compare_remote(around, answer)?
        } else {
            let root = around.absolute(&self.dest);
            let entries = self.entries(around.content(&self.src)?)?;
            self.tree(&root, &entries).verdict(answer)?
        };
        Ok(match verdict {
            Verdict::Differs(mut change) if self.creates.is_some() => {
                // What it makes may be the very path that says that nothing is to be done.
                change.expect = None;
                Verdict::Differs(change)
            }
            verdict => verdict,
        })
    }
}

impl Unarchive {
    fn properties(&self) -> Properties<'_> {
        Properties::new(self.mode.as_ref(), self.owner.as_ref(), self.group.as_ref())
    }

    fn tree<'a>(&'a self, root: &'a str, entries: &'a [LocalEntry]) -> Tree<'a> {
        Tree::new(root, self.properties(), self.directory_mode.as_ref(), !self.keep, entries)
    }

    /// What of the archive is wanted.
    fn entries(&self, content: &Arc<Content>) -> Result<Arc<Vec<LocalEntry>>> {
        let key = format!("{} {} {:?} {:?}", content.sha256(), self.strip_components, self.include.0, self.exclude.0);
        let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, entries)) = read.iter().find(|(known, _)| *known == key) {
            return Ok(Arc::clone(entries));
        }
        let all = read::entries(&self.src, &content.all().with_context(|| format!("`{}` cannot be read", self.src))?)?;
        let fits = |patterns: &OneOrMany, path: &[u8]| {
            // A pattern for a folder means all that is in it, too.
            patterns.0.iter().any(|pattern| glob(pattern.as_bytes(), path) || glob(format!("{}/*", pattern.trim_end_matches('/')).as_bytes(), path))
        };
        let wanted = all.into_iter().filter(|entry| (self.include.0.is_empty() || fits(&self.include, &entry.path)) && !fits(&self.exclude, &entry.path));
        let entries: Vec<LocalEntry> = wanted
            .filter_map(|entry| {
                let mut parts = entry.path.split(|&byte| byte == b'/').skip(self.strip_components).peekable();
                parts.peek()?;
                let path = parts.collect::<Vec<_>>().join(&b'/');
                (!path.is_empty()).then_some(LocalEntry { path, ..entry })
            })
            .collect();
        read::check_links(&entries)?;
        let entries = Arc::new(read::with_folders(entries));
        if read.len() >= REMEMBERED {
            read.remove(0);
        }
        read.push((key, Arc::clone(&entries)));
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::Unarchive;
    use super::read::tests::{tar, zip};
    use crate::module::testing::{problems, verdict_with};

    #[test]
    fn an_archive_is_a_folder_of_the_controller() {
        let archive = tar(&[("app/run.sh", "x", 0o755), ("app/doc/a.txt", "y", 0o644)]);
        let text = verdict_with::<Unarchive>("src = 'a.tar'\ndest = '/opt'\nstrip_components = 1\nexclude = 'app/doc'", &[("a.tar", &archive)], 0, "0 absent\n1 absent\nend 2\n");
        assert!(text.starts_with("2 of 2 entries differ") && text.contains("run.sh") && !text.contains("a.txt"), "{text}");
        let same = verdict_with::<Unarchive>("src = 'a.zip'\ndest = '/opt'", &[("a.zip", &zip(&[("a", "x")]))], 0, "end 2\n");
        assert_eq!(same, "in place");
        assert!(problems::<Unarchive>("src = 'https://x/a.tgz'\ndest = '/opt'").contains("is an address"));
    }

    #[test]
    fn what_its_creates_names_is_enough() {
        let archive = tar(&[("a", "x", 0o644)]);
        assert_eq!(verdict_with::<Unarchive>("src = 'a.tar'\ndest = '/opt'\ncreates = '/opt/a'", &[("a.tar", &archive)], 0, "created\n"), "in place: not needed: `/opt/a` is there");
    }
}
