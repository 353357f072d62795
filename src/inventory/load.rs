//! Reads inventory files. The only place of this room that touches the disk.

use std::path::{Path, PathBuf};

use super::{Inventory, read};
use crate::diag::{Diagnostic, SourceId, Sources, Span, parse};

/// Reads all inventories that were named, in order; what comes later adds to what came before.
///
/// A name is a file, a folder whose `*.toml` files are read in the order of their names, or a list of hosts with at
/// least one comma, such as `web1,web2,`.
pub fn load(names: &[String], sources: &mut Sources, problems: &mut Vec<Diagnostic>) -> Inventory {
    let mut builder = read::Builder::default();
    let mut first = None;
    for name in names {
        if name.contains(',') && !Path::new(name).exists() {
            builder.add_names(name, sources, problems);
            continue;
        }
        for path in files(Path::new(name), problems) {
            let source = read_file(&path, &mut builder, sources, problems);
            first = first.or(source);
        }
    }
    let inventory = builder.finish(problems);
    if inventory.hosts.is_empty() && !names.is_empty() && !crate::diag::any_error(problems) {
        let message = "the inventory has no host";
        let diagnostic = match first {
            Some(source) => Diagnostic::error("empty", &Span { source, bytes: 0..0 }, message),
            None => Diagnostic::general("empty", message),
        };
        problems.push(diagnostic.help("begin with `[hosts]` and below it one line per host, such as `web1 = {}`"));
    }
    inventory
}

fn files(path: &Path, problems: &mut Vec<Diagnostic>) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => {
            problems.push(Diagnostic::general("read", format!("the inventory folder `{}` cannot be read: {error}", path.display())));
            return Vec::new();
        }
    };
    let mut files: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.extension().is_some_and(|kind| kind == "toml")).collect();
    // Settings of mutate's own, which may lie beside.
    files.retain(|path| path.file_name().is_none_or(|name| name != "mutate.toml"));
    files.sort();
    if files.is_empty() {
        problems.push(Diagnostic::general("read", format!("the inventory folder `{}` has no *.toml file", path.display())));
    }
    files
}

fn read_file(path: &Path, builder: &mut read::Builder, sources: &mut Sources, problems: &mut Vec<Diagnostic>) -> Option<SourceId> {
    match crate::vault::read_source(path) {
        Ok(read) => {
            let source = sources.add(path.display().to_string(), read.shown);
            let mut tree = parse(source, &read.text, problems);
            crate::vault::unseal(&mut tree, read.is_secret, problems);
            crate::secret::trace(&mut tree, path, problems);
            builder.add(&tree, problems);
            Some(source)
        }
        Err(reason) => {
            let message = format!("the inventory `{}` cannot be read: {reason}", path.display());
            problems.push(Diagnostic::general("read", message).help("name another one with `-i FILE`, or `-i host1,host2,`"));
            None
        }
    }
}

/// An inventory from text, for tests.
#[cfg(test)]
pub fn from_text(text: &str) -> Inventory {
    let mut sources = Sources::default();
    let mut problems = Vec::new();
    let mut builder = read::Builder::default();
    let tree = parse(sources.add("inventory.toml", text), text, &mut problems);
    builder.add(&tree, &mut problems);
    let inventory = builder.finish(&mut problems);
    assert!(problems.is_empty(), "{}", crate::diag::draw(&problems, &sources, false));
    inventory
}
