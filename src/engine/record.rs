//! From a change that was made to what is remembered of it.

use std::time::Duration;

use super::step::Ready;
use crate::diag::Sources;
use crate::event::{Bytes, Deed, Intent, Pin, Quality, Record, Seen, Way};
use crate::module::{Answer, Change, Effect, Question, Touches, Undo};
use crate::remote::wire::Done;
use crate::shell::Script;

/// The intent to make the change of a step.
pub fn intent(host: &str, ready: &Ready, change: &Change, sources: &Sources, confirm: Option<Duration>) -> Intent {
    let span = &ready.bound.task.span;
    let mut draft = draft(ready, change, &change.undo, confirm);
    draft.forget_hidden(ready.tainted);
    let mut item = if ready.no_log { None } else { super::settle::shown_item(&ready.bound) };
    item.iter_mut().for_each(crate::secret::json_without_hidden);
    Intent {
        host: host.to_owned(),
        for_host: None,
        seq: ready.seq,
        task: crate::secret::without_hidden(&ready.name).into_owned(),
        module: ready.module.name.to_owned(),
        file: sources.get(span.source).name.clone(),
        line: sources.line(span),
        item,
        draft,
    }
}

/// The record of a change that was made.
pub fn of(ready: &Ready, change: &Change, done: &Done, printed: &[u8], confirm: Option<Duration>) -> Record {
    let told = ready.answer.as_ref().and_then(|before| ready.act.undo_after(before, printed));
    let asks = kept_question(ready).is_some();
    Record {
        // Where nothing was expected, nothing was asked afterwards.
        after: (asks && change.expect.is_some()).then(|| Seen { status: 0, stdout: kept_answer(ready, &done.answer) }),
        kept: Bytes(done.kept.clone()),
        expect: None,
        ..draft(ready, change, told.as_ref().unwrap_or(&change.undo), confirm)
    }
}

/// Whether the host, after a change that failed, does not answer as it did before.
pub fn has_left_something(ready: &Ready, done: &Done) -> bool {
    let before = ready.answer.as_ref().filter(|answer| answer.status == 0 && matches!(ready.question, Question::Ask(_)));
    !done.answer.is_empty() && before.is_some_and(|before| before.stdout != done.answer)
}

/// What is kept of a question. Of one that holds a secret only the part without it is, by which a rollback knows whether somebody has
/// changed it since.
fn kept_question(ready: &Ready) -> Option<Script> {
    match &ready.question {
        Question::Ask(_) if ready.act.has_secret() => ready.act.open_question(&ready.around),
        Question::Ask(script) => Some(script.clone()),
        _ => None,
    }
}

/// What of an answer belongs to it.
fn kept_answer(ready: &Ready, answer: &[u8]) -> Bytes {
    Bytes(if ready.act.has_secret() { ready.act.open_answer(&ready.around, answer) } else { answer.to_vec() })
}

/// What is known of a change before it is made.
fn draft(ready: &Ready, change: &Change, way_back: &Undo, confirm: Option<Duration>) -> Record {
    let has_secret = ready.act.has_secret();
    let question = kept_question(ready);
    let asks = question.is_some();
    let seen = |answer: &Answer| Seen { status: answer.status, stdout: kept_answer(ready, &answer.stdout) };
    let libraries = ready.libraries.probe.iter().chain(&ready.libraries.apply);
    Record {
        seq: ready.seq,
        user: ready.user.clone(),
        libraries: libraries.map(|library| library.name.to_owned()).collect(),
        probe: question.as_ref().map(bytes).unwrap_or_default(),
        before: ready.answer.as_ref().filter(|_| asks).map(seen),
        after: None,
        expect: change.expect.clone().filter(|_| change.effect == Effect::Change && !has_secret),
        undo: undo(change, way_back, &ready.environment),
        redo: redo(change, has_secret, &ready.environment),
        kept: Bytes::default(),
        path: path(ready),
        confirm_seconds: confirm.map(|limit| limit.as_secs()),
        group: change.apply.group,
        limit_seconds: ready.limit.as_secs(),
    }
}

/// Where on the host a step works.
pub fn path(ready: &Ready) -> Option<String> {
    match ready.act.touches(&ready.around) {
        Touches::Path(path) => Some(path),
        _ => None,
    }
}

/// A step that is in place, as it was found.
pub fn pin_in_place(ready: &Ready) -> Pin {
    let nothing = Change::new("", "", Script::default(), crate::shell::Pattern::anything(), Undo::Impossible(String::new()));
    Pin { record: draft(ready, &nothing, &nothing.undo, None), deed: None }
}

/// A step that would be changed, as it was found.
///
/// # Errors
/// When what is to be sent cannot be read any more.
pub fn pin(ready: &Ready, change: &Change, confirm: Option<Duration>) -> std::io::Result<Pin> {
    let apply = if change.sees_environment() { super::step::with_environment(&ready.environment, &change.apply.script) } else { change.apply.script.clone() };
    let upload = change.apply.upload.as_ref().map(|upload| upload.content.all().map(|all| (Bytes(upload.path.clone()), Bytes(all.into_owned()))));
    let upload = upload.transpose()?;
    let deed = Deed {
        apply: bytes(&apply),
        by_user: change.apply.by_user,
        good: change.apply.good.clone(),
        expect: change.expect.clone(),
        upload,
        go_on_after_failure: ready.ignore_errors,
    };
    Ok(Pin { record: draft(ready, change, &change.undo, confirm), deed: Some(deed) })
}

fn bytes(script: &Script) -> Bytes {
    Bytes(script.as_bytes().to_vec())
}

/// What sees the environment of its task sees it on the way back, too.
fn undo(change: &Change, undo: &Undo, environment: &[(String, String)]) -> Way {
    let bytes = |script: &Script| bytes(&if change.sees_environment() { super::step::with_environment(environment, script) } else { script.clone() });
    let (quality, script, takes_record, why) = match undo {
        Undo::Run(script) => (Quality::Exact, bytes(script), false, ""),
        Undo::Restore(script) => (Quality::Exact, bytes(script), true, ""),
        Undo::BestEffort(script, why) => (Quality::BestEffort, bytes(script), false, why.as_str()),
        Undo::RestoreMost(script, why) => (Quality::BestEffort, bytes(script), true, why.as_str()),
        Undo::Impossible(why) => (Quality::Impossible, Bytes::default(), false, why.as_str()),
    };
    Way { quality, keep: bytes(&change.keep), script, takes_record, by_user: change.apply.by_user, why: why.to_owned() }
}

fn redo(change: &Change, has_secret: bool, environment: &[(String, String)]) -> Way {
    if let Some(again) = &change.again {
        return Way { quality: Quality::Exact, keep: bytes(&again.keep), script: bytes(&again.back), takes_record: true, by_user: false, why: String::new() };
    }
    let (quality, script, why) = match &change.apply.upload {
        Some(_) => (Quality::Impossible, Bytes::default(), "its content was sent for that one run; apply the playbook again"),
        None if has_secret => (Quality::Impossible, Bytes::default(), "it holds a secret, which is not kept; apply the playbook again"),
        None if change.sees_environment() => (Quality::Exact, bytes(&super::step::with_environment(environment, &change.apply.script)), ""),
        None => (Quality::Exact, bytes(&change.apply.script), ""),
    };
    Way { quality, keep: Bytes::default(), script, takes_record: false, by_user: change.apply.by_user, why: why.to_owned() }
}
