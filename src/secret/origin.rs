//! Finds in a file that a user wrote where secrets come from: `{ secret_from_command = ["pass", "show", "db"] }`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::diag::{Diagnostic, Entry, Kind, Node, Origin, Way};

/// What all such keys begin with.
const PREFIX: &str = "secret_from_";

static TRACED: AtomicBool = AtomicBool::new(false);
static PER_HOST: AtomicBool = AtomicBool::new(false);

/// Whether any file names a source.
pub fn is_any_traced() -> bool {
    TRACED.load(Ordering::Relaxed)
}

/// Whether any source has holes, so that it may be another one for each host.
pub fn is_any_per_host() -> bool {
    PER_HOST.load(Ordering::Relaxed)
}

/// Turns every table of a tree that names a source into that source. The tree must come from a file that a user wrote: what a program or a
/// host says is never given to this. All problems go to `problems`.
pub fn trace(node: &mut Node, file: &Path, problems: &mut Vec<Diagnostic>) {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    trace_in(node, folder, problems);
}

fn trace_in(node: &mut Node, folder: &Path, problems: &mut Vec<Diagnostic>) {
    match &mut node.kind {
        Kind::List(items) => items.iter_mut().for_each(|item| trace_in(item, folder, problems)),
        Kind::Table(entries) => match entries.iter().position(|entry| entry.key.name.starts_with(PREFIX)) {
            None => entries.iter_mut().for_each(|entry| trace_in(&mut entry.value, folder, problems)),
            Some(at) => {
                let origin = origin_of(&entries[at], folder, problems);
                for other in entries.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, entry)| entry) {
                    let message = format!("`{}` cannot stand beside `{}`", other.key.name, entries[at].key.name);
                    problems.push(Diagnostic::error("secret", &other.key.span, message).help("what names the source of a secret is the only key of its table"));
                }
                node.kind = match origin {
                    Some(origin) => {
                        TRACED.store(true, Ordering::Relaxed);
                        if origin.texts().any(|text| text.contains("{{") || text.contains("{%")) {
                            PER_HOST.store(true, Ordering::Relaxed);
                        }
                        Kind::Secret(Arc::new(origin))
                    }
                    // It has been refused, and fits everywhere, so that it is not refused again.
                    None => Kind::Later,
                };
            }
        },
        _ => {}
    }
}

fn origin_of(entry: &Entry, folder: &Path, problems: &mut Vec<Diagnostic>) -> Option<Origin> {
    let (key, value) = (entry.key.name.as_str(), &entry.value);
    let Some(way) = Way::ALL.into_iter().find(|way| way.key() == key) else {
        let diagnostic = Diagnostic::error("secret", &entry.key.span, format!("`{key}` is no source of secrets"));
        problems.push(diagnostic.suggest(key, Way::ALL.into_iter().map(Way::key)));
        return None;
    };
    let mut refuse = |node: &Node, message: String, help: String| {
        let diagnostic = Diagnostic::error("secret", &node.span, message).label(format!("this is {}", node.what()));
        problems.push(diagnostic.help(help));
    };
    let words = match (way, &value.kind) {
        (Way::Command, Kind::List(items)) => {
            let example = || format!("write `{key} = [\"pass\", \"show\", \"db\"]`: the program, and each of its arguments as a text; no shell sees them");
            if items.is_empty() {
                refuse(value, format!("`{key}` names no program"), example());
                return None;
            }
            if let Some(wrong) = items.iter().find(|item| item.text().is_none()) {
                refuse(wrong, format!("a word of `{key}` must be text"), example());
                return None;
            }
            if items[0].text().is_some_and(str::is_empty) {
                refuse(&items[0], format!("`{key}` names no program"), example());
                return None;
            }
            items.clone()
        }
        (Way::Command, kind) => {
            let words = match kind {
                Kind::Text(text) if !text.trim().is_empty() => text.split_whitespace().map(|word| format!("\"{}\"", word.escape_debug())).collect::<Vec<_>>().join(", "),
                _ => "\"pass\", \"show\", \"db\"".into(),
            };
            refuse(value, format!("`{key}` must be a list of words, since no shell takes it apart"), format!("write `{key} = [{words}]`"));
            return None;
        }
        (Way::Environment, Kind::Text(name)) if !name.is_empty() && !name.contains('=') => vec![value.clone()],
        (Way::Environment, _) => {
            refuse(value, format!("`{key}` must be the name of a variable of the environment"), format!("write `{key} = \"DB_PASSWORD\"`"));
            return None;
        }
        (Way::File, Kind::Text(path)) if !path.is_empty() => vec![value.clone()],
        (Way::File, _) => {
            refuse(value, format!("`{key}` must be the path of a file on this machine"), format!("write `{key} = \"~/.db_password\"`"));
            return None;
        }
    };
    Some(Origin { way, words, folder: folder.to_owned() })
}
