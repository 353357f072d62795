//! Reads playbooks and what they include. The only place of this room that touches the disk.

use std::path::{Path, PathBuf};

use super::{Playbook, read};
use crate::diag::{Diagnostic, Node, Sources, Span, parse, read_source, read_text};
use crate::module::Registry;
use crate::vault;

/// How deep files may include files.
const DEPTH_LIMIT: usize = 16;

/// Reads playbooks with all that they include. All problems go to `problems`.
pub fn load(paths: &[PathBuf], registry: Registry, sources: &mut Sources, problems: &mut Vec<Diagnostic>) -> Vec<Playbook> {
    let mut playbooks = Vec::new();
    for path in paths {
        let mut files = Files { sources, underway: Vec::new(), modules: Vec::new() };
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
    let mut files = Files { sources, underway: Vec::new(), modules: Vec::new() };
    let plays = read::plays(&tree, Path::new(""), registry, &mut files, problems);
    vec![Playbook { path: name.to_owned(), plays }]
}

/// The registry with the modules that are described in `modules` beside a playbook of this folder.
pub fn registry_of(folder: &Path, registry: Registry, sources: &mut Sources, problems: &mut Vec<Diagnostic>) -> Registry {
    Files { sources, underway: Vec::new(), modules: Vec::new() }.modules(&folder.join("modules"), registry, problems)
}

/// The files that are being read, each within the one before.
pub struct Files<'a> {
    sources: &'a mut Sources,
    underway: Vec<PathBuf>,
    /// Folders whose modules have been read.
    modules: Vec<PathBuf>,
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
        match vault::read_source(path) {
            Ok(read) => {
                let source = self.sources.add(path.display().to_string(), read.shown);
                let mut tree = parse(source, &read.text, problems);
                vault::unseal(&mut tree, read.is_secret, problems);
                crate::secret::trace(&mut tree, path, problems);
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

    /// The registry with the modules that `NAME.toml` of this folder describe, if there is such a folder.
    pub fn modules(&mut self, folder: &Path, registry: Registry, problems: &mut Vec<Diagnostic>) -> Registry {
        let Ok(entries) = std::fs::read_dir(folder) else { return registry };
        let identity = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        if self.modules.contains(&identity) {
            return registry;
        }
        self.modules.push(identity);
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect();
        paths.sort();
        let mut more = Vec::new();
        for path in paths {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let refuse = |message: String, help: &str| Diagnostic::general("module", message).help(help);
            let is_name = name.starts_with(|letter: char| letter.is_ascii_lowercase()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
            if !is_name {
                problems.push(refuse(format!("`{}` cannot be the name of a module", path.display()), "name the file with small letters, digits and `_`, such as `feature_flag.toml`"));
                continue;
            }
            if registry.find(&name).is_some() || super::keywords::TASK.contains(&name.as_str()) {
                problems.push(refuse(format!("`{}` describes a module `{name}`, but that name has a meaning already", path.display()), "give it another name"));
                continue;
            }
            match read_source(&path) {
                Ok(text) => {
                    let source = self.sources.add(path.display().to_string(), text.clone());
                    let functions = path.with_extension("sh");
                    let functions = functions.is_file().then(|| read_text(&functions));
                    match functions.transpose() {
                        Ok(functions) => more.extend((registry.describe)(name.leak(), &text, functions, source, problems)),
                        Err(reason) => problems.push(Diagnostic::general("read", format!("`{}` cannot be read: {reason}", path.with_extension("sh").display()))),
                    }
                }
                Err(reason) => problems.push(Diagnostic::general("read", format!("`{}` cannot be read: {reason}", path.display()))),
            }
        }
        registry.with(more)
    }

    pub fn close(&mut self) {
        self.underway.pop();
    }

    pub fn exists(&self, path: &Path) -> bool {
        path.exists()
    }
}
