//! Which frames of a flight are worked off together, so that one process on the host serves many of them.
//!
//! Questions that only look at a path share one `stat` and one `sha256sum`; changes of files, folders, links and modes share what
//! they do, too. Each keeps its own answer, its own backup and its own end. See `modules/file/together.sh`.

use std::time::Duration;

use crate::modules::file;
use crate::remote::{Frame, Guarded, Verb};

/// So many at the most: the last of them waits for all before it.
const HIGHEST_COUNT: usize = 64;
/// Their lines, in bytes. The host keeps them until the last has come, so they fit into what may be under way at a time.
const HIGHEST_BYTES: usize = 24 << 10;

/// What a frame could share with its neighbours.
enum Shares {
    Nothing,
    Look,
    Change { path: Vec<u8>, is_folder: bool },
}

/// The frames of a flight, with those before them that say what is worked off together.
pub(super) fn arranged(frames: &[Frame]) -> Vec<Frame> {
    let mut all = Vec::with_capacity(frames.len());
    let mut rest = frames;
    while !rest.is_empty() {
        let (count, changes) = first_group(rest);
        let (group, after) = rest.split_at(count);
        if count > 1 {
            let (function, libraries) = if changes { ("file_changes", vec![&file::LOOK, &file::CHANGE]) } else { ("file_questions", vec![&file::LOOK]) };
            all.push(Frame { seq: 0, verb: Verb::Together { count, function }, libraries, limit: Duration::from_secs(60) });
        }
        all.extend_from_slice(group);
        rest = after;
    }
    all
}

/// How many of the first frames go together, and whether they are changes.
fn first_group(frames: &[Frame]) -> (usize, bool) {
    let mut paths: Vec<(Vec<u8>, bool)> = Vec::new();
    let mut bytes = 0;
    let mut kind = None;
    let mut count = 0;
    for frame in frames.iter().take(HIGHEST_COUNT) {
        let shares = shares(frame);
        let is_change = match &shares {
            Shares::Nothing => break,
            Shares::Look => false,
            Shares::Change { .. } => true,
        };
        if kind.is_some_and(|kind| kind != is_change) {
            break;
        }
        kind = Some(is_change);
        bytes += frame.line().len();
        if bytes > HIGHEST_BYTES {
            break;
        }
        if let Shares::Change { path, is_folder } = shares {
            // What one of them makes, another may not need; folders are made in their order.
            if paths.iter().any(|(other, other_is_folder)| *other == path || (is_below(&path, other) || is_below(other, &path)) && !(is_folder && *other_is_folder)) {
                break;
            }
            paths.push((path, is_folder));
        }
        count += 1;
    }
    (count.max(1), kind == Some(true))
}

fn is_below(path: &[u8], folder: &[u8]) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with(b"/"))
}

fn shares(frame: &Frame) -> Shares {
    match &frame.verb {
        Verb::Probe(question) if question.is_call_of("file_look") => Shares::Look,
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
        let other = frame(Verb::Probe(Script::raw("package_look a")));
        assert_eq!(groups(&[look("/a"), look("/b"), other, look("/c")]), [2, 1, 1]);
        assert_eq!(groups(&[look("/a"), folder("/b"), folder("/c")]), [1, 2]);
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
