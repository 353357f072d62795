//! For the tests of modules: arguments and an answer in, the verdict as text out.

use super::{Answer, Local, Module, Question, Surroundings, Undo, Verdict};
use crate::diag::{Sources, decode, parse};

/// The arguments as a module.
pub fn module<M: Module>(arguments: &str) -> M {
    let mut sources = Sources::default();
    let mut problems = Vec::new();
    let node = parse(sources.add("arguments", arguments), arguments, &mut problems);
    let module = decode(&node, &mut problems);
    assert!(problems.is_empty(), "{}", crate::diag::draw(&problems, &sources, false));
    module.expect("no problem, so a module")
}

/// What is wrong with arguments, one line each.
pub fn problems<M: Module>(arguments: &str) -> String {
    let mut sources = Sources::default();
    let mut problems = Vec::new();
    let node = parse(sources.add("arguments", arguments), arguments, &mut problems);
    super::registration::<M>().read(&node, &mut problems);
    problems.iter().map(|one| one.message.clone()).collect::<Vec<_>>().join("\n")
}

/// The probe's script.
pub fn probe<M: Module>(arguments: &str) -> String {
    match Module::probe(&module::<M>(arguments), &Surroundings { home: "/root".into(), ..Surroundings::default() }) {
        Question::None => String::new(),
        Question::Ask(script) | Question::Run(script) => script.to_string(),
    }
}

/// The verdict in the form `from -> to`, then `apply …`, `expect …` and `undo …`; or `in place`, or `error: …`.
pub fn verdict<M: Module>(arguments: &str, status: i32, stdout: &str) -> String {
    verdict_with::<M>(arguments, &[], status, stdout)
}

/// As [`verdict`], with files on the controller.
pub fn verdict_with<M: Module>(arguments: &str, files: &[(&str, &[u8])], status: i32, stdout: &str) -> String {
    let module: M = module(arguments);
    let mut around = Surroundings { home: "/root".into(), ..Surroundings::default() };
    for (path, bytes) in files {
        let content = std::sync::Arc::new(super::Content::new(bytes.to_vec()));
        around.files.insert((*path).to_owned(), Local::File { content, mode: 0o644 });
    }
    let answer = Answer { status, stdout: stdout.as_bytes().to_vec(), remark: Vec::new() };
    match module.compare(&around, &answer) {
        Err(error) => format!("error: {error:#}"),
        Ok(Verdict::InPlace(report)) if report.message.is_empty() => "in place".into(),
        Ok(Verdict::InPlace(report)) => format!("in place: {}", report.message),
        Ok(Verdict::Differs(change)) => {
            let mut text = format!("{} -> {}\n", change.from, change.to);
            if !change.keep.is_empty() {
                text.push_str(&format!("keep   {}\n", change.keep));
            }
            text.push_str(&format!("apply  {}\n", change.apply.script));
            if let Some(expect) = &change.expect {
                text.push_str(&format!("expect {expect}\n"));
            }
            text.push_str(&match &change.undo {
                Undo::Run(script) => format!("undo   {script}"),
                Undo::Restore(script) => format!("undo   {script} RECORD"),
                Undo::BestEffort(script, why) => format!("undo   {script} ({why})"),
                Undo::RestoreMost(script, why) => format!("undo   {script} RECORD ({why})"),
                Undo::Impossible(why) => format!("undo   impossible: {why}"),
            });
            text
        }
    }
}
