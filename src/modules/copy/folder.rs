//! A whole folder of the controller: asked about at once, and only what differs is sent.
//!
//! The probe says nothing about an entry that is as wanted, so a tree in place answers with one short line. See
//! `look.sh` for the answer and `change.sh` for how new files get to their place.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use anyhow::{Result, bail};

use super::tar::archive;
use crate::module::{Answer, Change, Content, LocalEntry, LocalKind, Mode, Undo, Upload, Verdict};
use crate::modules::file::{
    INLINE_BYTES, Kind, Look, NEW_FILE, NEW_FOLDER, Properties, folder_of, missing_parent, upload_path,
};
use crate::sh;
use crate::shell::{Pattern, Script, glob, printf_argument};

/// Entries in one call: so many that processes are few, so few that a shell handles the words with ease.
const AT_ONCE: usize = 200;
/// Signs of a hash: half of it is plenty to tell contents apart, and half as much to send.
const HASH: usize = 32;
/// Differences that are listed by name.
const LISTED: usize = 50;

/// A folder that is wanted.
pub struct Tree<'a> {
    root: &'a str,
    files: Properties<'a>,
    folders: Properties<'a>,
    replaces: bool,
    /// What is on the host and not here goes; what these patterns name is left alone on both sides.
    deletes: Option<&'a [String]>,
    /// The folder itself first, every folder before what is in it.
    entries: Vec<Entry<'a>>,
}

struct Entry<'a> {
    /// Relative to the root; empty for the root.
    path: &'a [u8],
    what: What<'a>,
}

enum What<'a> {
    Folder,
    File { content: &'a Arc<Content>, new_mode: u32 },
    Link(&'a [u8]),
}

impl<'a> From<&'a LocalEntry> for Entry<'a> {
    fn from(entry: &'a LocalEntry) -> Self {
        let what = match &entry.kind {
            LocalKind::Folder => What::Folder,
            LocalKind::Link(target) => What::Link(target),
            LocalKind::File(content) => {
                let new_mode = if entry.mode & 0o111 == 0 { NEW_FILE } else { 0o755 };
                What::File { content, new_mode }
            }
        };
        Self { path: &entry.path, what }
    }
}

impl<'a> Tree<'a> {
    /// `replaces`: a file that is there gets the wanted content.
    pub fn new(root: &'a str, files: Properties<'a>, directory_mode: Option<&'a Mode>, replaces: bool, entries: &'a [LocalEntry]) -> Self {
        let folders = Properties { mode: directory_mode, ..files };
        let mut wanted: Vec<Entry> = entries.iter().filter(|entry| !entry.path.is_empty()).map(Entry::from).collect();
        wanted.sort_by_key(|entry| entry.path);
        wanted.insert(0, Entry { path: b"", what: What::Folder });
        Self { root, files, folders, replaces, deletes: None, entries: wanted }
    }

    /// The same without what a pattern names and, where `deletes`, without anything on the host that is not here.
    #[must_use]
    pub fn mirrored(mut self, exclude: &'a [String], deletes: bool) -> Self {
        self.entries.retain(|entry| !is_excluded(entry.path, exclude));
        self.deletes = deletes.then_some(exclude);
        self
    }
}

/// Whether a path, or a folder that it is in, is named by a pattern: by its name or, with a slash in it, by its path from the
/// top of the folder. `*` stands for any text, slashes too, as in `find`.
fn is_excluded(path: &[u8], exclude: &[String]) -> bool {
    let parts: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
    exclude.iter().map(|pattern| pattern.trim_end_matches('/')).any(|pattern| match pattern.strip_prefix('/').or(pattern.contains('/').then_some(pattern)) {
        Some(from_top) => (1..=parts.len()).any(|count| glob(from_top.as_bytes(), &parts[..count].join(&b'/'))),
        None => parts.iter().any(|part| glob(pattern.as_bytes(), part)),
    })
}

impl Tree<'_> {
    /// Asks what of it is not there, or is something else.
    pub fn probe(&self) -> Script {
        let mode = |properties: &Properties| match properties.mode {
            Some(Mode::Octal(mode)) => Mode::text(*mode),
            _ => "-".to_owned(),
        };
        let (owner, group) = (self.files.owner.unwrap_or("-"), self.files.group.unwrap_or("-"));
        let mut script = sh!("copy_tree {} {} {} {} {}", self.root, mode(&self.files), mode(&self.folders), owner, group);
        for (number, entries) in self.entries.chunks(AT_ONCE).enumerate() {
            let start = (number * AT_ONCE).to_string();
            let mut words: Vec<&[u8]> = vec![b"copy_look", start.as_bytes()];
            for entry in entries {
                let (kind, want): (&[u8], &[u8]) = match &entry.what {
                    What::Folder => (b"d", b"-"),
                    What::File { content, .. } if self.replaces => (b"f", &content.sha256().as_bytes()[..HASH]),
                    What::File { .. } => (b"f", b"-"),
                    What::Link(target) => (b"l", target),
                };
                words.extend([kind, entry.path, want]);
            }
            script = script.then(&Script::call(words));
        }
        if let Some(exclude) = self.deletes {
            let mut names: Vec<u8> = Vec::new();
            for entry in self.entries.iter().filter(|entry| !entry.path.is_empty()) {
                names.extend([b"./", entry.path, b"\n"].concat());
            }
            let mut words = vec!["copy_more".to_owned(), Content::new(names).sha256().to_owned()];
            for pattern in exclude.iter().map(|pattern| pattern.trim_end_matches('/')) {
                // `find` knows more signs than these two.
                let plain = pattern.replace('\\', "\\\\").replace('[', "\\[");
                match plain.strip_prefix('/').or(plain.contains('/').then_some(plain.as_str())) {
                    Some(from_top) => words.extend(["path".to_owned(), format!("./{from_top}")]),
                    None => words.extend(["name".to_owned(), plain]),
                }
            }
            script = script.then(&sh!("{} || exit", Script::call(words)));
        }
        script.then(&sh!("printf 'end %s\\n' {}", self.entries.len()))
    }

    /// What is to be done, given the answer.
    ///
    /// # Errors
    /// What is there and is not replaced, or names that cannot be sent.
    pub fn verdict(&self, answer: &Answer) -> Result<Verdict> {
        if self.root.contains('\n') {
            bail!("the name `{}` holds a newline, so no folder can be copied there", self.root.escape_debug());
        }
        if let Some(odd) = self.entries.iter().find(|entry| entry.path.contains(&b'\n')) {
            bail!("the name `{}` holds a newline, so it cannot be copied with its folder", odd.path.escape_ascii());
        }
        let differing = self.differing(answer)?;
        let surplus = self.surplus(answer)?;
        if differing.is_empty() && surplus.is_empty() {
            return Ok(Verdict::in_place());
        }
        let mut work = Work::new(self);
        for (entry, look) in &differing {
            work.add(entry, look)?;
        }
        for path in &surplus {
            work.remove(path);
        }
        work.left = self.left(answer)?;
        let differ = format!("{} of {} entries differ", differing.len(), self.entries.len());
        let from = match (differing.len(), surplus.len()) {
            (_, 0) => differ,
            (0, more) => format!("{more} more than wanted"),
            (_, more) => format!("{differ}, {more} more than wanted"),
        };
        Ok(Verdict::differs(work.change(from, answer)))
    }

    fn differing(&self, answer: &Answer) -> Result<Vec<(&Entry<'_>, Look)>> {
        if answer.status == 3 {
            // Entries that differ may stand before the sentence.
            let text = String::from_utf8_lossy(&answer.stdout);
            bail!("{}", text.trim_end().lines().last().unwrap_or_default());
        }
        let mut told = BTreeMap::new();
        for line in answer.bytes()?.split(|&byte| byte == b'\n').filter(|line| !line.is_empty() && !line.starts_with(b"end ") && !line.starts_with(b"more ") && !line.starts_with(b"kept ")) {
            let mut fields = line.splitn(2, |&byte| byte == b' ');
            let number = fields.next().and_then(|number| std::str::from_utf8(number).ok()?.parse::<usize>().ok());
            let Some(number) = number.filter(|&number| number < self.entries.len()) else {
                bail!("the host gave an answer that cannot be read: {}", String::from_utf8_lossy(line));
            };
            let stdout = fields.next().unwrap_or_default().to_vec();
            told.insert(number, Look::read(&Answer { status: 0, stdout, remark: Vec::new() })?);
        }
        // What is below a folder that is absent is not told.
        let mut absent: HashSet<&[u8]> = HashSet::new();
        let mut differing = Vec::new();
        for (number, entry) in self.entries.iter().enumerate() {
            let is_below = number > 0 && absent.contains(folder_of_relative(entry.path));
            let Some(look) = told.remove(&number).or_else(|| is_below.then(Look::absent)) else { continue };
            if look.is(Kind::Absent) && matches!(entry.what, What::Folder) {
                absent.insert(entry.path);
            }
            differing.push((entry, look));
        }
        Ok(differing)
    }

    /// What is on the host and not wanted, relative to the root; what is in a folder before the folder.
    fn surplus<'s>(&self, answer: &'s Answer) -> Result<Vec<&'s [u8]>> {
        if self.deletes.is_none() {
            return Ok(Vec::new());
        }
        let wanted: HashSet<&[u8]> = self.entries.iter().map(|entry| entry.path).collect();
        let bytes = answer.bytes()?;
        let kept = folders_of(bytes);
        let is_surplus = |path: &&[u8]| !path.is_empty() && !wanted.contains(path) && !kept.contains(path);
        let mut surplus: Vec<&[u8]> = told(bytes, b"more ./").filter(is_surplus).collect();
        surplus.sort_unstable_by(|left, right| right.cmp(left));
        Ok(surplus)
    }

    /// What the host tells once all is as wanted, but for the last line.
    fn left(&self, answer: &Answer) -> Result<Vec<u8>> {
        let bytes = answer.bytes()?;
        let kept = folders_of(bytes);
        let mut names: std::collections::BTreeSet<&[u8]> = self.entries.iter().map(|entry| entry.path).filter(|path| !path.is_empty()).collect();
        let wanted = names.len();
        names.extend(told(bytes, b"more ./").filter(|path| kept.contains(path)));
        if self.deletes.is_none() || names.len() == wanted {
            return Ok(Vec::new());
        }
        let lines = names.into_iter().map(|path| [b"more ./", path, b"\n"].concat()).chain(told(bytes, b"kept ./").map(|path| [b"kept ./", path, b"\n"].concat()));
        Ok(lines.collect::<Vec<_>>().concat())
    }

    fn absolute(&self, path: &[u8]) -> Vec<u8> {
        if path.is_empty() { self.root.as_bytes().to_vec() } else { [self.root.as_bytes(), b"/", path].concat() }
    }
}

/// The paths on the lines that begin with this sign.
fn told<'a>(bytes: &'a [u8], sign: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    bytes.split(|&byte| byte == b'\n').filter_map(move |line| line.strip_prefix(sign))
}

/// The folders that something is in which is left alone: they stay, too.
fn folders_of(bytes: &[u8]) -> HashSet<&[u8]> {
    told(bytes, b"kept ./").flat_map(|path| path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &path[..at])).collect()
}

/// A content on its way: into the stage, and from there to its place.
struct Staged<'a> {
    /// In the stage: number of its folder and its name.
    file: Vec<u8>,
    content: &'a Arc<Content>,
}

/// Everything that has to be done, sorted by kind.
struct Work<'a> {
    tree: &'a Tree<'a>,
    root_is_new: bool,
    /// What the host answers besides, where folders stay that nobody wants, for the sake of what is left alone in them.
    left: Vec<u8>,
    /// Paths whose former state is kept, relative to the root, and whether there was none.
    touched: Vec<(&'a [u8], bool)>,
    /// Folders that are made where they are to be.
    folders: Vec<Script>,
    staged: Vec<Staged<'a>>,
    /// Number in the stage of each folder that something is moved to.
    numbers: BTreeMap<Vec<u8>, usize>,
    /// New folders with a way in the stage of their own, by their path; and these ways, each after the one that it is in.
    inside: HashMap<Vec<u8>, Vec<u8>>,
    staged_folders: Vec<Vec<u8>>,
    staged_links: Vec<Script>,
    /// New files by their mode: hash and place in the stage by turns.
    new: BTreeMap<u32, Vec<Vec<u8>>>,
    /// By folder: names that are moved there.
    moves: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
    /// By folder: hash and name by turns of files that are replaced and change nothing but their content.
    swaps: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
    rest: Vec<Script>,
    listed: Vec<String>,
}

impl<'a> Work<'a> {
    fn new(tree: &'a Tree<'a>) -> Self {
        Self {
            tree,
            root_is_new: false,
            left: Vec::new(),
            touched: Vec::new(),
            folders: Vec::new(),
            staged: Vec::new(),
            numbers: BTreeMap::new(),
            inside: HashMap::new(),
            staged_folders: Vec::new(),
            staged_links: Vec::new(),
            new: BTreeMap::new(),
            moves: BTreeMap::new(),
            swaps: BTreeMap::new(),
            rest: Vec::new(),
            listed: Vec::new(),
        }
    }

    fn add(&mut self, entry: &'a Entry<'a>, look: &Look) -> Result<()> {
        let tree = self.tree;
        let path = tree.absolute(entry.path);
        let shown = String::from_utf8_lossy(&path).into_owned();
        match (&entry.what, look.kind) {
            (What::Folder, Kind::Absent) => {
                self.root_is_new |= entry.path.is_empty();
                if !entry.path.is_empty() && self.is_made_inside(&path, tree.folders.mode_after(look, NEW_FOLDER)) {
                    let place = self.place(&path);
                    self.staged_folders.push(place.clone());
                    self.inside.insert(path.clone(), place);
                } else {
                    let [mode, owner, group] = tree.folders.words(look, NEW_FOLDER);
                    self.folders.push(sh!("file_dir {} {} {} {}", path, mode, owner, group));
                }
            }
            (What::Folder, Kind::Folder) => self.set_properties(&path, &tree.folders, look),
            (What::File { content, new_mode }, Kind::Absent) => {
                let place = self.place(&path);
                self.staged.push(Staged { file: place.clone(), content });
                let mode = tree.files.mode_after(look, *new_mode);
                self.new.entry(mode).or_default().extend([content.sha256().as_bytes()[..HASH].to_vec(), place]);
            }
            (What::File { content, .. }, Kind::File) if look.sha256 != "-" && look.sha256 != content.sha256() => {
                if look.links > 1 {
                    bail!("`{shown}` has {} hard links, and replacing it would part them; remove its other names first", look.links);
                }
                let file = self.beside(&path);
                self.staged.push(Staged { file: file.clone(), content });
                let [mode, owner, group] = tree.files.words(look, NEW_FILE);
                let sha256 = content.sha256();
                if [&mode, &owner, &group].iter().all(|word| *word == "-") {
                    self.swaps.entry(folder_of(&path).to_vec()).or_default().extend([sha256.as_bytes().to_vec(), name_of(&path).to_vec()]);
                } else {
                    let put = sh!("file_put {} nofollow {} {} {} {} - '' from \"$_stage\"/{}", path, sha256, mode, owner, group, file);
                    self.rest.push(put);
                }
            }
            (What::File { .. }, Kind::File) => self.set_properties(&path, &tree.files, look),
            (What::Link(target), Kind::Absent) => {
                let place = self.place(&path);
                self.staged_links.push(sh!("copy_link {} {}", place, target));
            }
            (What::Link(target), Kind::Link) => self.rest.push(sh!("file_link {} {} -", path, target)),
            (_, Kind::Link) => bail!(
                "`{shown}` is a link to `{}` on the host, but not in the folder that is copied",
                String::from_utf8_lossy(&look.target)
            ),
            (_, kind) => bail!("`{shown}` is a {} on the host, but not in the folder that is copied", kind.word()),
        }
        let sign = if look.is(Kind::Absent) { '+' } else { '~' };
        self.listed.push(format!("{sign}{shown}\n"));
        self.touched.push((entry.path, look.is(Kind::Absent)));
        Ok(())
    }

    /// What nobody wants goes.
    fn remove(&mut self, relative: &'a [u8]) {
        let path = self.tree.absolute(relative);
        self.rest.push(sh!("file_absent {}", path));
        self.listed.push(format!("-{}\n", String::from_utf8_lossy(&path)));
        self.touched.push((relative, false));
    }

    fn set_properties(&mut self, path: &[u8], properties: &Properties, look: &Look) {
        let [mode, owner, group] = properties.words(look, 0);
        self.rest.push(sh!("file_meta {} {} {} {}", path, mode, owner, group));
    }

    /// Whether a new folder is made in the stage, and moved with all that is in it. Below the root only: what is made elsewhere shall take
    /// after the folder that it is in. Where it may not be written to it could not be moved.
    fn is_made_inside(&self, path: &[u8], mode: u32) -> bool {
        let above = folder_of(path);
        mode & 0o200 != 0 && (self.inside.contains_key(above) || above == folder_of(&self.tree.absolute(b".")))
    }

    /// The place in the stage of something new, which goes with its folder where that is made there, and else is moved on its own.
    fn place(&mut self, path: &[u8]) -> Vec<u8> {
        let above = folder_of(path);
        if let Some(inside) = self.inside.get(above) {
            return [inside, b"/".as_slice(), name_of(path)].concat();
        }
        self.moves.entry(above.to_vec()).or_default().push(name_of(path).to_vec());
        self.beside(path)
    }

    /// A place in the stage: the number of the folder, and the name.
    fn beside(&mut self, path: &[u8]) -> Vec<u8> {
        let next = self.numbers.len();
        let number = *self.numbers.entry(folder_of(path).to_vec()).or_insert(next);
        [number.to_string().as_bytes(), b"/", name_of(path)].concat()
    }

    fn change(self, from: String, answer: &Answer) -> Change {
        let upload = self.upload(answer);
        let expect = Pattern::exactly([self.left.as_slice(), format!("end {}\n", self.tree.entries.len()).as_bytes()].concat());
        let undo = Undo::Restore(sh!("copy_back"));
        let mut change = Change::new(from, "as on the controller", self.apply(upload.as_ref()), expect, undo);
        change.keep = self.keep();
        change.diff = format!("--- {0}\n+++ {0}\n", self.tree.root);
        self.listed.iter().take(LISTED).for_each(|line| change.diff.push_str(line));
        if self.listed.len() > LISTED {
            change.diff.push_str(&format!(" and {} more\n", self.listed.len() - LISTED));
        }
        change.apply.upload = upload;
        change
    }

    /// The archive of all contents, unless they are small enough to travel with the step.
    fn upload(&self, answer: &Answer) -> Option<Upload> {
        if self.staged.iter().map(|one| one.content.size()).sum::<usize>() <= INLINE_BYTES {
            return None;
        }
        let (name, content) = archive(self.staged.iter().map(|one| (one.file.as_slice(), &**one.content)));
        let root = self.tree.root.as_bytes();
        // It has to lie in a folder that is there before the step begins.
        let missing = missing_parent(answer);
        let folder = if self.root_is_new { folder_of(missing.as_deref().unwrap_or(root)) } else { root };
        Some(Upload { path: upload_path(folder, &name), content, old: None })
    }

    fn apply(&self, upload: Option<&Upload>) -> Script {
        let mut lines: Vec<Script> = self.folders.clone();
        if !self.numbers.is_empty() {
            let numbers: Vec<String> = (0..self.numbers.len()).map(|number| number.to_string()).collect();
            let words = ["copy_stage", self.tree.root].into_iter().chain(numbers.iter().map(String::as_str));
            lines.push(Script::call(words));
            lines.extend(calls(&[b"copy_folders"], self.staged_folders.iter().map(Vec::as_slice), AT_ONCE));
            match upload {
                Some(upload) => lines.push(sh!("copy_unpack {}", upload.path)),
                None => lines.extend(
                    self.staged.iter().map(|one| sh!("copy_text {} {}", one.file, printf_argument(one.content.short(INLINE_BYTES).unwrap_or_default()))),
                ),
            }
            lines.extend(self.staged_links.iter().cloned());
        }
        let [owner, group] = [self.tree.files.owner, self.tree.files.group].map(|name| name.unwrap_or("-").as_bytes());
        for (mode, files) in &self.new {
            let mode = Mode::text(*mode);
            lines.extend(calls(&[b"copy_made", mode.as_bytes(), owner, group], files.iter().map(Vec::as_slice), 2 * AT_ONCE));
        }
        // Each after what is in it.
        let mode = Mode::text(self.tree.folders.mode_after(&Look::absent(), NEW_FOLDER));
        let folders = self.staged_folders.iter().rev().flat_map(|folder| [b"-", folder.as_slice()]);
        lines.extend(calls(&[b"copy_made", mode.as_bytes(), owner, group], folders, 2 * AT_ONCE));
        for (folder, names) in &self.moves {
            let number = self.numbers[folder].to_string();
            lines.extend(calls(&[b"copy_move", folder, number.as_bytes(), owner, group], names.iter().map(Vec::as_slice), AT_ONCE));
        }
        for (folder, files) in &self.swaps {
            let number = self.numbers[folder].to_string();
            lines.extend(calls(&[b"copy_swap", folder, number.as_bytes()], files.iter().map(Vec::as_slice), 2 * AT_ONCE));
        }
        lines.extend(self.rest.iter().cloned());
        let mut script = Script::default();
        for line in &lines {
            script = script.then(&sh!("{} || copy_fail", line));
        }
        if self.numbers.is_empty() { script } else { script.then(&sh!("copy_end")) }
    }

    fn keep(&self) -> Script {
        let mut script = sh!("copy_keep_begin");
        let root = self.tree.root.as_bytes();
        if self.touched.iter().any(|(path, _)| path.is_empty()) {
            script = script.then(&sh!("copy_keep_root {}", root));
        }
        let format = self.tree.root.replace('\\', "\\\\").replace('%', "%%") + "/%s\\nabsent\\n";
        let others: Vec<(&[u8], bool)> = self.touched.iter().copied().filter(|(path, _)| !path.is_empty()).collect();
        // In their order, since they come back from the last to the first.
        for some in others.chunk_by(|(_, left), (_, right)| left == right) {
            let head: &[&[u8]] = if some[0].1 { &[b"copy_keep_new", root, format.as_bytes()] } else { &[b"copy_keep", root] };
            for call in calls(head, some.iter().map(|(path, _)| *path), AT_ONCE) {
                script = script.then(&call);
            }
        }
        script.then(&sh!("copy_keep_end"))
    }
}

/// Calls of a function that has the same first words, with so many of the others at a time.
fn calls<'w>(head: &[&[u8]], words: impl Iterator<Item = &'w [u8]>, at_once: usize) -> Vec<Script> {
    let words: Vec<&[u8]> = words.collect();
    words.chunks(at_once).map(|some| Script::call(head.iter().copied().chain(some.iter().copied()))).collect()
}

/// The folder that an entry of a tree is in, empty for the root.
fn folder_of_relative(path: &[u8]) -> &[u8] {
    &path[..path.iter().rposition(|&byte| byte == b'/').unwrap_or(0)]
}

fn name_of(path: &[u8]) -> &[u8] {
    let start = path.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
    &path[start..]
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
