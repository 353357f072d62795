//! What the tasks of a playbook look after on a host, as a check has found it; and the files there themselves.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, watch};

use super::Input;
use super::load::Files;
use super::prepare::{HostPlan, Prepared};
use super::schedule::shared;
use super::scope::facts_layer;
use super::settle::Ending;
use super::step::{self, Ready, UserKey};
use super::walk::{Walker, stopping};
use crate::diag::{Kind, Node};
use crate::event::{Event, Outcome};
use crate::module::{Content, Local, LocalKind, Wanted, WantedKind};
use crate::playbook::{Body, Task};
use crate::remote::{HostFailure, Stop, download};
use crate::template::{Filled, Later, Scope};

/// A longer file is not brought here, in bytes.
pub const ORIGINAL_BYTES: u64 = 8 << 20;

/// What a check has found, step by step. Whoever wants to know puts it into the options of the run.
#[derive(Clone, Default)]
pub struct Findings(Arc<Mutex<Vec<Managed>>>);

impl std::fmt::Debug for Findings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Findings")
    }
}

impl Findings {
    pub(super) fn note(&self, managed: Managed) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(managed);
    }

    /// All of them, in their order.
    pub fn all(&self) -> Vec<Managed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One step, with what it was made from.
#[derive(Clone)]
pub struct Managed {
    /// The host that it works on.
    pub host: String,
    pub task: Arc<Task>,
    pub name: String,
    pub module: &'static str,
    pub file: String,
    pub line: usize,
    pub user: UserKey,
    pub outcome: Outcome,
    pub message: String,
    /// Where on the host it works.
    pub path: Option<String>,
    /// The files of a folder that is copied: where on the host, where here, and what.
    pub tree: Vec<(String, PathBuf, Arc<Content>)>,
    /// The file here that it is made from.
    pub local: Option<PathBuf>,
    /// What the file there is to hold.
    pub wanted: Option<Arc<Content>>,
    /// Its arguments as they were written, and with all holes filled.
    pub authored: Node,
    pub filled: Node,
    pub scope: Arc<Scope>,
    /// What the host answered.
    pub answer: Vec<u8>,
    /// Why nothing of it may be shown.
    pub secret: Option<&'static str>,
}

impl Managed {
    pub(super) fn of(walker: &Walker, ready: &Ready, ending: &Ending) -> Self {
        let task = &ready.bound.task;
        let authored = match &task.body {
            Body::Module { arguments, .. } => arguments.clone(),
            _ => Node::new(&task.span, Kind::None),
        };
        let filled = step::fill_arguments(&ready.scope, ready.module, &authored, &mut Later::default()).unwrap_or_else(|_| authored.clone());
        let local = ready.act.wants().first().and_then(|wanted| Files::find(task, wanted).ok());
        let path = super::record::path(ready).or_else(|| unit_file(ready.module.name, &filled));
        let found = ready.around.files.values().next();
        let wanted = match (found, filled.get("content").and_then(Node::text)) {
            (Some(Local::File { content, .. }), _) => Some(content.clone()),
            (None, Some(text)) if ready.module.name == "copy" => Some(Arc::new(Content::new(text.as_bytes().to_vec()))),
            _ => None,
        };
        // Without a slash at its end a folder goes there under its own name.
        let src = filled.get("src").and_then(Node::text).unwrap_or_default();
        let under = src.rsplit('/').next().filter(|name| !name.is_empty() && *name != ".").map(|name| format!("{name}/")).unwrap_or_default();
        let tree = match (found, &local, &path) {
            (Some(Local::Folder(entries)), Some(local), Some(root)) => entries
                .iter()
                .filter_map(|entry| match &entry.kind {
                    LocalKind::File(content) => {
                        let relative = std::str::from_utf8(&entry.path).ok()?;
                        Some((format!("{}/{under}{relative}", root.trim_end_matches('/')), local.join(relative), content.clone()))
                    }
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        };
        let secret = match () {
            () if ready.no_log => Some("the task says `no_log`"),
            () if ready.tainted || ready.act.has_secret() => Some("it is made from a secret"),
            () => None,
        };
        let sources = &walker.shared.input.sources;
        Self {
            host: walker.name.clone(),
            task: task.clone(),
            name: ready.name.clone(),
            module: ready.module.name,
            file: sources.get(task.span.source).name.clone(),
            line: sources.line(&task.span),
            user: ready.user.clone(),
            outcome: ending.outcome,
            message: if ready.no_log { String::new() } else { ending.message.clone() },
            path,
            tree,
            local,
            wanted,
            authored,
            filled,
            scope: ready.scope.clone(),
            answer: ready.answer.as_ref().map(|answer| answer.stdout.clone()).unwrap_or_default(),
            secret,
        }
    }

    /// Whether this very path is what it looks after.
    pub fn is_about(&self, path: &str) -> bool {
        self.tree.iter().any(|(there, ..)| there == path) || self.tree.is_empty() && self.path.as_deref() == Some(path)
    }

    /// Whether a path is among what it looks after: also what lies in a folder that it fills.
    pub fn covers(&self, path: &str) -> bool {
        if self.is_about(path) {
            return true;
        }
        let is_true = |key: &str| self.filled.get(key).is_some_and(|value| value.kind == Kind::Boolean(true));
        let fills = ["synchronize", "git", "unarchive"].contains(&self.module) || self.module == "file" && is_true("recurse");
        let Some(root) = self.path.as_deref().filter(|_| fills) else { return false };
        path.strip_prefix(root.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
    }

    /// `NAME (FILE:LINE)`.
    pub fn place(&self) -> String {
        format!("`{}` ({}:{})", self.name, self.file, self.line)
    }

    /// What the host says is there; nothing where it was asked for something else.
    pub fn there(&self) -> Option<There> {
        There::read(&self.answer)
    }
}

/// The file of a unit, which is asked about together with the unit itself.
fn unit_file(module: &str, filled: &Node) -> Option<String> {
    let text = |key: &str| filled.get(key).and_then(Node::text);
    let name = text("name").filter(|_| module == "systemd_unit")?;
    let folder = text("folder").unwrap_or("/etc/systemd/system").trim_end_matches('/');
    Some(match text("drop_in") {
        Some(part) => format!("{folder}/{name}.d/{}.conf", part.strip_suffix(".conf").unwrap_or(part)),
        None => format!("{folder}/{name}"),
    })
}

/// What is at a path of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct There {
    /// `absent`, `file`, `dir`, `link`, …
    pub kind: String,
    pub mode: u32,
    pub uid: String,
    pub gid: String,
    pub owner: String,
    pub group: String,
    pub size_bytes: u64,
    /// `-` when it was not asked for.
    pub sha256: String,
}

impl There {
    /// The first line of what `file_look` answers.
    fn read(answer: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(answer.split(|byte| *byte == b'\n').next()?).into_owned();
        let words: Vec<&str> = text.split(' ').collect();
        let kind = ["absent", "file", "dir", "link", "fifo", "socket", "block", "char"].into_iter().find(|kind| *kind == words[0])?;
        let word = |at: usize| words.get(at).copied().unwrap_or_default();
        // A blank in the name of an account is `\s`.
        let name = |at: usize| word(at).replace("\\s", " ").replace("\\\\", "\\");
        Some(Self {
            kind: kind.to_owned(),
            mode: u32::from_str_radix(word(1), 8).unwrap_or(0),
            uid: word(2).to_owned(),
            gid: word(3).to_owned(),
            owner: name(4),
            group: name(5),
            size_bytes: word(7).parse().unwrap_or(0),
            sha256: word(8).to_owned(),
        })
    }
}

/// Brings the content of a file of a host, as the user who works on it.
///
/// # Errors
/// Why it is not to be had: too long, not readable, or contact was lost.
pub async fn original(input: Input, host: (String, HostPlan), user: UserKey, path: String, events: mpsc::UnboundedSender<Event>, stop: watch::Receiver<Stop>) -> Result<Vec<u8>, String> {
    let shared = shared(input, "adopt".into(), events, stop.clone());
    let (name, plan) = host;
    let other = user.as_ref().map(|user| plan.become_as(user, &shared.input.options));
    let mut walker = Walker::new(shared, plan, name);
    let mut bytes = Vec::new();
    let brought = match walker.connect().await {
        Ok(()) => match &walker.link {
            Some(link) => {
                let take = |more: &[u8]| {
                    bytes.extend_from_slice(more);
                    if bytes.len() as u64 > ORIGINAL_BYTES { Err(std::io::Error::other("longer than 8 MiB")) } else { Ok(()) }
                };
                download(link, other.as_ref(), path.as_bytes(), take, stopping(stop)).await.map_err(|failure| match failure {
                    HostFailure::Download(reason) => reason,
                    other => other.to_string(),
                })
            }
            None => Err("not connected".to_owned()),
        },
        Err(super::walk::Halt::Host(failure)) => Err(failure.to_string()),
        Err(_) => Err("interrupted".to_owned()),
    };
    let _left = walker.end().await;
    if bytes.len() as u64 > ORIGINAL_BYTES {
        return Err(format!("it is longer than {} MiB", ORIGINAL_BYTES >> 20));
    }
    brought.map(|()| bytes)
}

/// The other hosts that a change of what a step is made from reaches, too: those for which a task is made from the same file, or is the same
/// one, as far as that can be told without asking them.
pub fn sharers(input: &Input, prepared: &Prepared, managed: &Managed) -> Vec<String> {
    let results = [Arc::new(facts_layer(&serde_json::Map::new())), Arc::default()];
    let mut found = Vec::new();
    for at in &prepared.plays {
        let play = &input.playbooks[at.playbook].plays[at.play];
        let mut tasks = Vec::new();
        play.tasks.iter().chain(&play.handlers).for_each(|task| unfold(task, &mut tasks));
        for host in at.hosts.iter().filter(|host| **host != managed.host) {
            let Some(plan) = prepared.hosts.get(host) else { continue };
            let uses = |task: &Arc<Task>| {
                let Body::Module { module, arguments } = &task.body else { return false };
                let scope = plan.view.task_scope(input, play, task, &[], &results);
                if matches!(step::all_hold(&scope, &task.when), Ok(Filled::Now(false))) {
                    return false;
                }
                let kind = match module.name {
                    "copy" => WantedKind::Copy,
                    "template" => WantedKind::Template,
                    _ => return task.span == managed.task.span,
                };
                let src = arguments.get("src").and_then(Node::text).map(|text| scope.fill(text));
                match (src, &managed.local) {
                    (Some(Ok(Filled::Now(path))), Some(local)) => Files::find(task, &Wanted { path: path.to_string(), kind }).is_ok_and(|path| local.starts_with(path)),
                    // What it is made from is known later, or is the playbook itself.
                    _ => task.span == managed.task.span,
                }
            };
            if !found.contains(host) && tasks.iter().any(uses) {
                found.push(host.clone());
            }
        }
    }
    input.inventory.hosts.keys().filter(|host| found.contains(*host)).cloned().collect()
}

/// The tasks of blocks instead of the blocks.
fn unfold(task: &Arc<Task>, all: &mut Vec<Arc<Task>>) {
    match &task.body {
        Body::Block { tasks, rescue, always } => tasks.iter().chain(rescue).chain(always).for_each(|task| unfold(task, all)),
        _ => all.push(task.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_read() {
        let there = There::read(b"file 0640 0 33 root a\\sb 1 5 abc\ncontent\nhi\n").expect("an answer");
        assert_eq!((there.kind.as_str(), there.mode, there.group.as_str(), there.size_bytes, there.sha256.as_str()), ("file", 0o640, "a b", 5, "abc"));
        assert_eq!(There::read(b"absent\n").map(|there| there.kind), Some("absent".to_owned()));
        assert_eq!(There::read(b"tree x\n"), None);
        assert_eq!(There::read(b""), None);
    }
}
