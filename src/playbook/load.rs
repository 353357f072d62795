//! Reads playbooks and what they include. The only place of this room that touches the disk.

use std::path::{Path, PathBuf};

use super::{Playbook, read};
use crate::diag::{Diagnostic, Node, Sources, Span, parse, read_source};
use crate::module::Registry;

/// How deep files may include files.
const DEPTH_LIMIT: usize = 16;

/// Reads playbooks with all that they include. All problems go to `problems`.
pub fn load(paths: &[PathBuf], registry: Registry, sources: &mut Sources, problems: &mut Vec<Diagnostic>) -> Vec<Playbook> {
    let mut playbooks = Vec::new();
    for path in paths {
        let mut files = Files { sources, underway: Vec::new() };
        let shown = path.display().to_string();
        if let Some(tree) = files.open(path, None, problems) {
            let folder = path.parent().map(Path::to_owned).unwrap_or_default();
            let plays = read::plays(&tree, &folder, registry, &mut files, problems);
            playbooks.push(Playbook { path: shown, plays });
        }
    }
    playbooks
}

/// A playbook from text that is no file, such as one made from the command line.
pub fn from_text(name: &str, text: &str, registry: Registry, sources: &mut Sources, problems: &mut Vec<Diagnostic>) -> Vec<Playbook> {
    let tree = parse(sources.add(name, text), text, problems);
    let mut files = Files { sources, underway: Vec::new() };
    let plays = read::plays(&tree, Path::new(""), registry, &mut files, problems);
    vec![Playbook { path: name.to_owned(), plays }]
}

/// The files that are being read, each within the one before.
pub struct Files<'a> {
    sources: &'a mut Sources,
    underway: Vec<PathBuf>,
}

impl Files<'_> {
    /// Opens a file that another one names at `span`. Close it with [`close`](Self::close) when all in it is read.
    pub fn open(&mut self, path: &Path, span: Option<&Span>, problems: &mut Vec<Diagnostic>) -> Option<Node> {
        let report = |message: String, help: Option<&str>| {
            let mut diagnostic = match span {
                Some(span) => Diagnostic::error("include", span, message),
                None => Diagnostic::general("read", message),
            };
            diagnostic.help = help.map(str::to_owned);
            diagnostic
        };
        let identity = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if self.underway.contains(&identity) {
            let chain: Vec<String> = self.underway.iter().map(|one| one.file_name().unwrap_or_default().to_string_lossy().into_owned()).collect();
            problems.push(report(format!("`{}` includes itself: {} → {}", path.display(), chain.join(" → "), path.display()), None));
            return None;
        }
        if self.underway.len() >= DEPTH_LIMIT {
            problems.push(report(format!("files are included more than {DEPTH_LIMIT} deep"), None));
            return None;
        }
        match read_source(path) {
            Ok(text) => {
                let source = self.sources.add(path.display().to_string(), text.clone());
                let tree = parse(source, &text, problems);
                self.underway.push(identity);
                Some(tree)
            }
            Err(reason) => {
                let help = span.map(|_| "a path is relative to the file that names it");
                problems.push(report(format!("`{}` cannot be read: {reason}", path.display()), help));
                None
            }
        }
    }

    pub fn close(&mut self) {
        self.underway.pop();
    }

    pub fn exists(&self, path: &Path) -> bool {
        path.exists()
    }
}
