//! Which frames of a flight are worked off together, so that one process on the host serves many of them.
//!
//! Questions about paths share one `stat` and one `sha256sum`, those about packages one look into the package database, those about
//! services one `systemctl show`; changes of files, folders, links and modes share what they do, too. Each keeps its own answer, its own
//! backup and its own end. See `questions.sh` and `modules/file/together.sh`.

use std::time::Duration;

use crate::modules::{file, package, service};
use crate::remote::{Frame, Guarded, Library, Verb};

/// So many at the most: the last of them waits for all before it.
const HIGHEST_COUNT: usize = 64;
/// Their lines, in bytes. The host keeps them until the last has come, so they fit into what may be under way at a time.
const HIGHEST_BYTES: usize = 24 << 10;

static QUESTIONS: Library = Library { name: "questions", text: include_str!("questions.sh") };

/// A function that asks, and its library, which has what `questions.sh` calls.
type Kind = (&'static str, &'static Library);
const KINDS: &[Kind] = &[("file_look", &file::LOOK), ("package_look", &package::LOOK), ("service_look", &service::LOOK)];

/// What a frame could share with its neighbours.
enum Shares {
    Nothing,
    Look(Kind),
    Change { path: Vec<u8>, is_folder: bool },
}

/// What is worked off together, from the first of some frames on.
enum Group {
    /// One frame by itself.
    Alone,
    Questions(usize, Vec<Kind>),
    Changes(usize),
}

/// The frames of a flight, with those before them that say what is worked off together.
pub(super) fn arranged(frames: &[Frame]) -> Vec<Frame> {
    let mut all = Vec::with_capacity(frames.len());
    let mut rest = frames;
    while !rest.is_empty() {
        let (count, function, libraries) = match first_group(rest) {
            Group::Alone => (1, "", Vec::new()),
            Group::Questions(count, kinds) => (count, "questions", kinds.iter().map(|&(_, library)| library).chain([&QUESTIONS]).collect()),
            Group::Changes(count) => (count, "file_changes", vec![&file::LOOK, &file::CHANGE]),
        };
        let (group, after) = rest.split_at(count);
        if count > 1 {
            all.push(Frame { seq: 0, verb: Verb::Together { count, function }, libraries, limit: Duration::from_secs(60) });
        }
        all.extend_from_slice(group);
        rest = after;
    }
    all
}

fn first_group(frames: &[Frame]) -> Group {
    let mut paths: Vec<(Vec<u8>, bool)> = Vec::new();
    let mut kinds: Vec<Kind> = Vec::new();
    let mut bytes = 0;
    for frame in frames.iter().take(HIGHEST_COUNT) {
        let shares = shares(frame);
        bytes += frame.line().len();
        let fits = match &shares {
            Shares::Nothing => false,
            Shares::Look(_) => paths.is_empty(),
            Shares::Change { .. } => kinds.is_empty(),
        };
        if !fits || bytes > HIGHEST_BYTES {
            break;
        }
        match shares {
            Shares::Change { path, is_folder } => {
                // What one of them makes, another may not need; folders are made in their order.
                if paths.iter().any(|(other, other_is_folder)| *other == path || (is_below(&path, other) || is_below(other, &path)) && !(is_folder && *other_is_folder)) {
                    break;
                }
                paths.push((path, is_folder));
            }
            Shares::Look(kind) => kinds.push(kind),
            Shares::Nothing => {}
        }
    }
    if paths.len() > 1 {
        return Group::Changes(paths.len());
    }
    let names: Vec<Kind> = KINDS.iter().filter(|(name, _)| kinds.iter().any(|(other, _)| name == other)).copied().collect();
    // One of each has nothing to share.
    if names.len() == kinds.len() {
        return Group::Alone;
    }
    Group::Questions(kinds.len(), names)
}

fn is_below(path: &[u8], folder: &[u8]) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with(b"/"))
}

fn shares(frame: &Frame) -> Shares {
    match &frame.verb {
        Verb::Probe(question) => KINDS.iter().find(|(name, _)| question.is_call_of(name)).map_or(Shares::Nothing, |&kind| Shares::Look(kind)),
        Verb::Commit(step) => shares_of_change(step).unwrap_or(Shares::Nothing),
        _ => Shares::Nothing,
    }
}

fn shares_of_change(step: &Guarded) -> Option<Shares> {
    let is_kept_by_us = step.keep.is_empty() || step.keep.is_call_of("file_keep") || step.keep.is_call_of("file_keep_way");
    if !step.is_plain() || step.good != [0] || step.expect.is_none() || !is_kept_by_us || !step.probe.is_call_of("file_look") {
        return None;
    }
    let words = step.apply.words()?;
    let is_folder = match words.first()?.as_slice() {
        // PATH FOLLOW SHA MODE OWNER GROUP FLAGS VALIDATE KIND: the content travels in the step, and nobody tests it.
        b"file_put" => (words.get(7)?.as_slice() == b"-" && words.get(8)?.is_empty() && words.get(9)?.as_slice() == b"text").then_some(false)?,
        b"file_dir" => true,
        b"file_link" | b"file_meta" => false,
        _ => return None,
    };
    Some(Shares::Change { path: words.get(1)?.clone(), is_folder })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sh;
    use crate::shell::{Pattern, Script};

    fn frame(verb: Verb) -> Frame {
        Frame { seq: 1, verb, libraries: Vec::new(), limit: Duration::ZERO }
    }

    fn look(path: &str) -> Frame {
        frame(Verb::Probe(sh!("file_look {} nofollow - 0", path)))
    }

    fn change(path: &str, apply: Script) -> Frame {
        frame(Verb::Commit(Box::new(Guarded {
            label: String::new(),
            path: None,
            probe: sh!("file_look {} nofollow - 0", path),
            keep: Script::default(),
            apply,
            group: false,
            by_user: false,
            good: vec![0],
            expect: Some(Pattern::anything()),
            counts: true,
            go_on_after_failure: false,
            notify: Vec::new(),
            riders: Vec::new(),
            watch: None,
        })))
    }

    fn folder(path: &str) -> Frame {
        change(path, sh!("file_dir {} 0755 - -", path))
    }

    fn put(path: &str, kind: &str) -> Frame {
        change(path, sh!("file_put {} nofollow {} 0644 - - - {} {}", path, "ab", "", Script::raw(kind)))
    }

    /// The groups, as numbers of frames; 1 is a frame by itself.
    fn groups(frames: &[Frame]) -> Vec<usize> {
        let mut groups = Vec::new();
        let mut inside = 0;
        for frame in arranged(frames) {
            match frame.verb {
                Verb::Together { count, .. } => {
                    groups.push(count);
                    inside = count;
                }
                _ if inside > 0 => inside -= 1,
                _ => groups.push(1),
            }
        }
        groups
    }

    #[test]
    fn neighbours_of_a_kind_go_together() {
        let other = frame(Verb::Probe(Script::raw("account_look a")));
        assert_eq!(groups(&[look("/a"), look("/b"), other, look("/c")]), [2, 1, 1]);
        assert_eq!(groups(&[look("/a"), folder("/b"), folder("/c")]), [1, 2]);
    }

    #[test]
    fn questions_of_several_kinds_go_together_where_one_kind_has_two() {
        let package = || frame(Verb::Probe(sh!("package_look {} {}", "present", "a")));
        let service = || frame(Verb::Probe(sh!("service_look {}", "a")));
        assert_eq!(groups(&[package(), look("/a"), service()]), [1, 1, 1]);
        assert_eq!(groups(&[package(), look("/a"), service(), look("/b"), package()]), [5]);
        let frames = arranged(&[service(), look("/a"), service()]);
        assert_eq!(frames[0].libraries.iter().map(|library| library.name).collect::<Vec<_>>(), ["file_look", "service_look", "questions"]);
    }

    #[test]
    fn what_needs_another_comes_after_it() {
        assert_eq!(groups(&[folder("/a"), folder("/a/b"), put("/a/b/c", "text x"), put("/a/d", "text x")]), [2, 2]);
        assert_eq!(groups(&[put("/a", "text x"), put("/a", "text y")]), [1, 1]);
        assert_eq!(groups(&[put("/ab", "text x"), put("/a", "text y")]), [2]);
    }

    #[test]
    fn what_is_more_than_a_plain_change_stays_alone() {
        assert_eq!(groups(&[put("/a", "upload x"), put("/b", "text x")]), [1, 1]);
        assert_eq!(groups(&[change("/a", sh!("file_dir {} - - - && x", "/a")), folder("/b")]), [1, 1]);
        let mut by_user = folder("/a");
        if let Verb::Commit(step) = &mut by_user.verb {
            step.by_user = true;
        }
        assert_eq!(groups(&[by_user, folder("/b")]), [1, 1]);
    }

    #[test]
    fn no_group_is_larger_than_what_may_be_under_way() {
        let content = "x".repeat(10 << 10);
        let frames: Vec<Frame> = (0..5).map(|number| put(&format!("/{number}"), &format!("text {content}"))).collect();
        assert_eq!(groups(&frames), [2, 2, 1]);
        let frames: Vec<Frame> = (0..100).map(|number| look(&format!("/{number}"))).collect();
        assert_eq!(groups(&frames), [64, 36]);
    }
}
