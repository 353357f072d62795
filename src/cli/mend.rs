//! What `check --fix` does: remedies are put into the files, and only those stay after which the whole is no worse.
//!
//! Nothing is written before it is known what stays: everything is read again as if the files held it. A remedy after which its place has
//! an error that it did not have is taken back, and all begins anew without it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::diag::{Diagnostic, Level, Sources, Span, Was, read_as_if};
use crate::vault;

/// One remedy may show what the next one mends, so often.
const ROUNDS: usize = 12;
/// So many remedies may be taken back.
const ATTEMPTS: usize = 100;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// Everything as it is read, and what is wrong with it.
pub struct Look<'a> {
    pub sources: &'a Sources,
    pub problems: &'a [Diagnostic],
}

/// What was mended, in memory.
#[derive(Default)]
pub struct Mended {
    pub files: Vec<File>,
    /// So many problems could be mended, but stand in files that belong to something else.
    pub outside: usize,
}

/// A file with its old and its new content.
pub struct File {
    pub name: String,
    path: PathBuf,
    pub old: Vec<u8>,
    pub new: Vec<u8>,
    /// So many places were mended.
    pub count: usize,
}

/// A part of a file: what stands between two lines that begin with a bracket. Remedies keep their number.
type Place = (PathBuf, usize);

/// A remedy that fits.
#[derive(Clone)]
struct Cure {
    place: Place,
    name: String,
    bytes: std::ops::Range<usize>,
    text: String,
    code: &'static str,
    message: String,
    is_word: bool,
}

impl Cure {
    /// What tells it from others, wherever it stands after other remedies.
    fn key(&self) -> Key {
        (self.place.clone(), self.code, self.message.clone(), self.text.clone())
    }
}

type Key = (Place, &'static str, String, String);

/// The folders whose files may be mended: this one, and those of the files that were named.
pub fn project(named: &[PathBuf]) -> Vec<PathBuf> {
    let parents = named.iter().filter_map(|path| path.canonicalize().ok()).map(|path| if path.is_dir() { path } else { path.parent().map(Path::to_owned).unwrap_or_default() });
    std::env::current_dir().ok().and_then(|here| here.canonicalize().ok()).into_iter().chain(parents).filter(|folder| folder.parent().is_some()).collect()
}

struct Mender {
    project: Vec<PathBuf>,
    /// What files hold on the disk; nothing for those that are left alone.
    originals: BTreeMap<PathBuf, Option<Vec<u8>>>,
    /// What they are to hold.
    current: BTreeMap<PathBuf, Vec<u8>>,
    banned: BTreeSet<Key>,
    outside: BTreeSet<(String, usize)>,
}

/// Mends what can be mended, in memory: `again` reads everything as it would be then, and its answer stays the same for the same files.
///
/// # Errors
/// When this machine fails us.
pub fn mended<L>(project: Vec<PathBuf>, first: &L, look: impl Fn(&L) -> Look<'_>, mut again: impl FnMut() -> Result<L>) -> Result<(Mended, Option<L>)> {
    let mut mender = Mender { project, originals: BTreeMap::new(), current: BTreeMap::new(), banned: BTreeSet::new(), outside: BTreeSet::new() };
    let before = counted(&look(first));
    for _ in 0..ATTEMPTS {
        mender.current.clear();
        let mut applied: Vec<Cure> = Vec::new();
        let mut last: Option<L> = None;
        let mut taken_back = None;
        for _ in 0..ROUNDS {
            let cures = mender.cures(&look(last.as_ref().unwrap_or(first)));
            if cures.is_empty() {
                break;
            }
            // It was tried, and its problem is still there.
            taken_back = cures.iter().find(|cure| applied.iter().any(|other| other.key() == cure.key())).cloned();
            if taken_back.is_some() {
                break;
            }
            mender.apply(&cures);
            applied.extend(cures);
            read_as_if(mender.current.clone());
            let looked = again();
            read_as_if(BTreeMap::new());
            last = Some(looked?);
        }
        if let (None, Some(last)) = (&taken_back, &last) {
            let after = counted(&look(last));
            taken_back = applied.iter().rev().find(|cure| is_worse(cure, &before, &after)).cloned();
        }
        match taken_back {
            Some(cure) => drop(mender.banned.insert(cure.key())),
            None => return Ok((mender.files(&applied), last)),
        }
    }
    Ok((Mended::default(), None))
}

/// Errors by place, kind and words, with how often they come.
type Counted = BTreeMap<(Option<Place>, &'static str, String), usize>;

fn counted(look: &Look<'_>) -> Counted {
    let mut found = Counted::new();
    for problem in look.problems.iter().filter(|problem| problem.level == Level::Error) {
        let place = problem.span.as_ref().and_then(|span| Some((Path::new(&look.sources.get(span.source).name).canonicalize().ok()?, part(look.sources, span))));
        *found.entry((place, problem.code, problem.message.clone())).or_default() += 1;
    }
    found
}

/// Whether a place has an error that it did not have, which this remedy may have brought.
fn is_worse(cure: &Cure, before: &Counted, after: &Counted) -> bool {
    after.iter().any(|(problem, many)| {
        let (Some((file, part)), code, _) = problem else { return false };
        let is_new = *many > before.get(problem).copied().unwrap_or(0);
        let is_here = *file == cure.place.0 && (*part == cure.place.1 || ["syntax", "duplicate"].contains(code));
        // Templates are looked at when nothing else is wrong any more, so these were there before.
        // Neither is anything else looked at in a text that cannot be read.
        let is_by_it = if cure.code == "syntax" { *code == "syntax" } else { *code != "template" || cure.is_word };
        is_new && is_here && is_by_it
    })
}

/// Number of the part of its file in which something stands.
fn part(sources: &Sources, span: &Span) -> usize {
    let text = &sources.get(span.source).text;
    let start = span.bytes.start.min(text.len());
    let end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    text[..end].lines().filter(|line| line.trim_start().starts_with('[')).count()
}

impl Mender {
    /// The remedies that fit, in the order of their places; of two that overlap the first.
    fn cures(&mut self, look: &Look<'_>) -> Vec<Cure> {
        let mut found: Vec<Cure> = Vec::new();
        for problem in look.problems {
            let Some(remedy) = &problem.remedy else { continue };
            let source = look.sources.get(remedy.span.source);
            let Some(raw) = source.text.get(remedy.span.bytes.clone()) else { continue };
            let Some(text) = remedy.in_place_of(raw).filter(|text| text != raw) else { continue };
            if let Was::Word(word) = &remedy.was
                && !is_unknown_everywhere(word, problem, look)
            {
                continue;
            }
            let Some(path) = Path::new(&source.name).canonicalize().ok().filter(|path| path.extension().is_some_and(|kind| kind == "toml")) else { continue };
            if !self.project.iter().any(|folder| path.starts_with(folder)) {
                self.outside.insert((source.name.clone(), remedy.span.bytes.start));
                continue;
            }
            let Some(bytes) = self.now(&path) else { continue };
            // What is shown of an encrypted file is not what stands there.
            if bytes.strip_prefix(BOM).unwrap_or(bytes) != source.text.as_bytes() {
                continue;
            }
            let place = (path, part(look.sources, &remedy.span));
            let cure = Cure { place, name: source.name.clone(), bytes: remedy.span.bytes.clone(), text, code: problem.code, message: problem.message.clone(), is_word: matches!(remedy.was, Was::Word(_)) };
            if !self.banned.contains(&cure.key()) {
                found.push(cure);
            }
        }
        found.sort_by(|one, two| (&one.place.0, one.bytes.start).cmp(&(&two.place.0, two.bytes.start)));
        found.dedup_by(|next, kept| next.place.0 == kept.place.0 && next.bytes.start < kept.bytes.end.max(kept.bytes.start + 1));
        found
    }

    /// What a file holds by now.
    fn now(&mut self, path: &Path) -> Option<&Vec<u8>> {
        if !self.originals.contains_key(path) {
            self.originals.insert(path.to_owned(), std::fs::read(path).ok());
        }
        self.current.get(path).or(self.originals.get(path)?.as_ref())
    }

    fn apply(&mut self, cures: &[Cure]) {
        // From the end, so that the places before stay where they are.
        for cure in cures.iter().rev() {
            let Some(mut bytes) = self.now(&cure.place.0).cloned() else { continue };
            let offset = if bytes.starts_with(BOM) { BOM.len() } else { 0 };
            bytes.splice(cure.bytes.start + offset..cure.bytes.end + offset, cure.text.bytes());
            self.current.insert(cure.place.0.clone(), bytes);
        }
    }

    fn files(self, applied: &[Cure]) -> Mended {
        let Self { originals, current, outside, .. } = self;
        let files = current.into_iter().filter_map(|(path, new)| {
            let of: Vec<&Cure> = applied.iter().filter(|cure| cure.place.0 == path).collect();
            let old = originals.get(&path)?.clone()?;
            Some(File { name: of.first()?.name.clone(), count: of.len(), old, new, path })
        });
        Mended { files: files.collect(), outside: outside.len() }
    }
}

/// Whether a word is nowhere the name of anything: on another host, or in another play, it may be one.
fn is_unknown_everywhere(word: &str, problem: &Diagnostic, look: &Look<'_>) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    let first = word.split('.').next().unwrap_or(word);
    if first != word {
        // A part of something that is there.
        return true;
    }
    let same: Vec<&Span> = look.problems.iter().filter(|other| other.message == problem.message).filter_map(|other| other.span.as_ref()).collect();
    let mut seen = BTreeSet::new();
    look.sources.all().iter().filter(|source| seen.insert(source.name.as_str())).all(|source| {
        source.text.match_indices(word).all(|(at, _)| {
            let is_whole = !source.text[..at].chars().next_back().is_some_and(is_part) && !source.text[at + word.len()..].chars().next().is_some_and(is_part);
            let is_told = same.iter().any(|span| look.sources.get(span.source).name == source.name && span.bytes.contains(&at));
            !is_whole || is_told
        })
    })
}

impl Mended {
    /// How many places.
    pub fn count(&self) -> usize {
        self.files.iter().map(|file| file.count).sum()
    }

    /// Writes the files, each in one step. What cannot be written is found out before any is.
    ///
    /// # Errors
    /// The file that cannot be written, or that somebody else has written meanwhile; it is as it was.
    pub fn write(&self) -> Result<()> {
        for file in &self.files {
            let may = nix::unistd::access(&file.path, nix::unistd::AccessFlags::W_OK);
            may.with_context(|| format!("`{}` cannot be written; nothing was mended", file.name))?;
            let now = std::fs::read(&file.path).with_context(|| format!("reading `{}`", file.name))?;
            if now != file.old {
                bail!("`{}` was changed by another program meanwhile; nothing was mended", file.name);
            }
        }
        for (at, file) in self.files.iter().enumerate() {
            let before = || self.files[..at].iter().map(|file| format!("`{}`", file.name)).collect::<Vec<_>>().join(", ");
            let in_words = || if at == 0 { "nothing was mended".to_owned() } else { format!("mended before that: {}", before()) };
            vault::replace(&file.path, Some(&file.old), &file.new).with_context(in_words)?;
        }
        Ok(())
    }
}
