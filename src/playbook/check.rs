//! Problems that can be seen without a host: conditions, names, handlers, and what tasks refer to.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Body, Play, Task};
use crate::diag::{Diagnostic, Kind, Node, Was, quoted};
use crate::module::Registration;
use crate::template::{check_expression, is_template, names_in};

/// Collectors of facts, such as `os`.
pub type Collectors = BTreeSet<String>;

/// A condition or a list of conditions, each an expression.
pub fn conditions(node: &Node, key: &str, problems: &mut Vec<Diagnostic>) -> Vec<Node> {
    match &node.kind {
        Kind::List(items) => items.iter().flat_map(|item| conditions(item, key, problems)).collect(),
        _ => {
            condition(node, key, problems);
            vec![node.clone()]
        }
    }
}

/// One condition: an expression, or true or false.
pub fn condition(node: &Node, key: &str, problems: &mut Vec<Diagnostic>) {
    match &node.kind {
        Kind::Boolean(_) => {}
        Kind::Text(text) if is_template(text) => {
            let bare = crate::template::whole_expression(text).unwrap_or("…");
            let diagnostic = Diagnostic::error("braces", &node.span, format!("`{key}` is an expression already, so it has no braces"));
            let diagnostic = diagnostic.help(format!("write `{key} = \"{bare}\"`"));
            let is_sure = crate::template::whole_expression(text).is_some() && check_expression(bare).is_ok();
            problems.push(if is_sure { diagnostic.remedy(Was::Text(text.clone()), quoted(bare)) } else { diagnostic });
        }
        Kind::Text(text) => {
            if let Err(trouble) = check_expression(text) {
                let mut diagnostic = Diagnostic::error("expression", &node.span, format!("`{key}`: {}", trouble.message));
                let bare = text.replace("==", "").replace("!=", "").replace("<=", "").replace(">=", "");
                diagnostic.help = trouble.help.or_else(|| bare.contains('=').then(|| "write `==` to compare".into()));
                problems.push(diagnostic.remedied(trouble.meant));
            }
        }
        _ => {
            let diagnostic = Diagnostic::error("arg-type", &node.span, format!("`{key}` must be an expression in quotes, true or false"));
            problems.push(diagnostic.label(format!("this is {}", node.what())));
        }
    }
}

/// A text that may be a template.
pub fn text(node: &Node, key: &str, problems: &mut Vec<Diagnostic>) {
    match &node.kind {
        Kind::Text(_) => crate::inventory::check_templates(node, problems),
        _ => problems.push(Diagnostic::error("arg-type", &node.span, format!("`{key}` must be text")).label(format!("this is {}", node.what()))),
    }
}

/// A text or a list of texts, each of which may be a template.
pub fn texts(node: &Node, key: &str, problems: &mut Vec<Diagnostic>) -> Vec<Node> {
    match &node.kind {
        Kind::List(items) => items.iter().flat_map(|item| texts(item, key, problems)).collect(),
        _ => {
            text(node, key, problems);
            vec![node.clone()]
        }
    }
}

/// The pattern after `hosts`.
pub fn host_pattern(node: &Node, problems: &mut Vec<Diagnostic>) {
    match &node.kind {
        Kind::Text(text) if is_template(text) => crate::inventory::check_templates(node, problems),
        Kind::Text(text) => {
            if let Err(reason) = crate::inventory::Pattern::parse(text) {
                problems.push(Diagnostic::error("pattern", &node.span, reason));
            }
        }
        Kind::List(items) if items.iter().all(|item| item.text().is_some()) && !items.is_empty() => {
            for item in items {
                host_pattern(item, problems);
            }
        }
        _ => problems.push(Diagnostic::error("arg-type", &node.span, "`hosts` must be a host pattern in quotes").label(format!("this is {}", node.what()))),
    }
}

/// A table of texts for the environment of commands.
pub fn environment(node: &Node, problems: &mut Vec<Diagnostic>) {
    if !matches!(node.kind, Kind::Table(_)) {
        problems.push(Diagnostic::error("arg-type", &node.span, "`environment` must be a table").label(format!("this is {}", node.what())));
        return;
    }
    for entry in node.entries() {
        let name = entry.key.name.as_str();
        if !crate::inventory::is_variable_name(name) {
            problems.push(Diagnostic::error("variable-name", &entry.key.span, format!("`{name}` cannot be the name of an environment variable")));
        }
        if matches!(entry.value.kind, Kind::List(_) | Kind::Table(_)) {
            problems.push(Diagnostic::error("arg-type", &entry.value.span, format!("`{name}` must be text")).label(format!("this is {}", entry.value.what())));
        }
        crate::inventory::check_templates(&entry.value, problems);
    }
}

/// A name for a variable that a task makes.
pub fn variable_name(name: &str, node: &Node, problems: &mut Vec<Diagnostic>) {
    if !crate::inventory::is_variable_name(name) {
        let diagnostic = Diagnostic::error("variable-name", &node.span, format!("`{name}` cannot be the name of a variable"));
        problems.push(diagnostic.help("use letters, digits and `_`, and begin with a letter"));
    } else if crate::inventory::RESERVED.contains(&name) && name != "result" {
        problems.push(Diagnostic::error("variable-name", &node.span, format!("`{name}` has a meaning of its own in templates")));
    }
}

/// The arguments of a module: templates must compile, and whatever has none must fit its type.
pub fn arguments(module: &'static Registration, arguments: &Node, problems: &mut Vec<Diagnostic>) {
    if !matches!(arguments.kind, Kind::Table(_)) && module.main().is_none() {
        let diagnostic = Diagnostic::error("arg-type", &arguments.span, format!("`{}` must be a table of parameters", module.name));
        problems.push(diagnostic.label(format!("this is {}", arguments.what())).help(format!("write `{} = {{ … }}`; `mutate modules {}` is the manual", module.name, module.name)));
        return;
    }
    let before = problems.len();
    let table = module.table(arguments);
    for entry in table.entries() {
        if module.expressions.contains(&entry.key.name.as_str()) {
            conditions(&entry.value, &entry.key.name, problems);
        } else {
            crate::inventory::check_templates(&entry.value, problems);
        }
    }
    if problems.len() == before {
        let _checked = module.read(&with_holes(&table, module.expressions), problems);
    }
}

/// The tree with everything that a template decides marked as known later.
fn with_holes(node: &Node, expressions: &[&str]) -> Node {
    let kind = match &node.kind {
        Kind::Text(text) if is_template(text) => Kind::Later,
        Kind::Secret(_) => Kind::Later,
        Kind::List(items) => Kind::List(items.iter().map(|item| with_holes(item, &[])).collect()),
        Kind::Table(entries) => Kind::Table(
            entries
                .iter()
                .map(|entry| {
                    let mut entry = entry.clone();
                    entry.value = if expressions.contains(&entry.key.name.as_str()) { Node::new(&entry.value.span, Kind::Later) } else { with_holes(&entry.value, &[]) };
                    entry
                })
                .collect(),
        ),
        other => other.clone(),
    };
    Node::new(&node.span, kind)
}

/// Every notified name must be a handler's, and every handler must have a name of its own.
pub fn handlers(tasks: &[Arc<Task>], handlers: &[Arc<Task>], problems: &mut Vec<Diagnostic>) {
    let mut names: Vec<&str> = Vec::new();
    for handler in handlers {
        if let Some(name) = handler.name.text() {
            if names.contains(&name) {
                problems.push(Diagnostic::error("duplicate", &handler.name.span, format!("two handlers are named `{name}`")));
            }
            names.push(name);
        }
    }
    let topics: Vec<&str> = handlers.iter().flat_map(|handler| handler.listen.iter().map(String::as_str)).collect();
    let known: Vec<&str> = names.iter().chain(&topics).copied().collect();
    let mut reported = BTreeSet::new();
    if problems.iter().any(|one| ["syntax", "read", "include", "role"].contains(&one.code)) {
        // A handler may stand in what could not be read.
        return;
    }
    let everyone: Vec<Arc<Task>> = tasks.iter().chain(handlers).cloned().collect();
    walk(&everyone, &mut |task| {
        for node in &task.notify {
            let Some(name) = node.text().filter(|name| !is_template(name)) else { continue };
            if !known.contains(&name) && reported.insert(node.span.bytes.clone().start) {
                let diagnostic = Diagnostic::error("unknown-handler", &node.span, format!("there is no handler `{name}`"));
                let diagnostic = diagnostic.suggest_name(name, known.iter().copied());
                problems.push(if diagnostic.help.is_none() { diagnostic.help(format!("add `[[handler]]` with `name = \"{name}\"`")) } else { diagnostic });
            }
        }
    });
}

/// What asks for the health of a host is one question, which has nothing to do with handlers.
pub fn health(health: &[Arc<Task>], problems: &mut Vec<Diagnostic>) {
    for task in health {
        let mut refuse = |span: &crate::diag::Span, message: &str, help: &str| problems.push(Diagnostic::error("health", span, message).help(help));
        if !matches!(task.body, Body::Module { .. }) {
            refuse(&task.span, "a `[[health]]` is one question: a module such as `uri`, `wait_for`, `command` or `service`", "write a `[[health]]` for each question");
        }
        if let Some(notify) = task.notify.first() {
            refuse(&notify.span, "a `[[health]]` changes nothing, so it notifies nobody", "take `notify` out");
        }
        if let Some(until) = &task.until {
            refuse(&until.span, "a `[[health]]` is asked again until it is well, so it has no `until`", "say with `failed_when` what is not well");
        }
        if let Some(ignore) = task.defaults.ignore_errors.as_ref().filter(|node| node.kind == Kind::Boolean(true)) {
            refuse(&ignore.span, "a `[[health]]` whose errors are ignored guards nothing", "take `ignore_errors` out");
        }
    }
}

/// Commands that would count as changed at every run deserve a word of warning.
pub fn variables(play: &Play, problems: &mut Vec<Diagnostic>) {
    const GUARDS: &[&str] = &["creates", "removes", "unless", "onlyif", "probe", "changes", "always"];
    walk(&play.tasks, &mut |task| {
        if let Body::Module { module, arguments } = &task.body
            && ["command", "shell"].contains(&module.name)
            && task.changed_when.is_empty()
            && !GUARDS.iter().any(|guard| arguments.get(guard).is_some())
        {
            let message = format!("this `{}` runs and counts as a change at every run", module.name);
            let diagnostic = Diagnostic::warning("always-changed", &task.span, message);
            problems.push(diagnostic.help("say when it is needed: `creates`, `removes`, `unless`, `onlyif`, `changes`, `changed_when`, `probe = true`, or `always = true`"));
        }
    });
}

/// Calls `visit` for every task, also those in blocks.
pub fn walk(tasks: &[Arc<Task>], visit: &mut dyn FnMut(&Arc<Task>)) {
    for task in tasks {
        visit(task);
        if let Body::Block { tasks, rescue, always } = &task.body {
            walk(tasks, visit);
            walk(rescue, visit);
            walk(always, visit);
        }
    }
}

/// The fact collectors that a play names anywhere, such as `os` for `facts.os.family`.
pub fn collectors<'a>(texts: impl Iterator<Item = (&'a str, bool)>) -> Collectors {
    let mut found = Collectors::new();
    for (text, is_expression) in texts {
        if !text.contains("facts") {
            continue;
        }
        for name in names_in(text, is_expression) {
            if let Some(rest) = name.strip_prefix("facts.") {
                found.insert(rest.split('.').next().unwrap_or(rest).to_owned());
            } else if name == "facts" {
                found.insert("*".to_owned());
            }
        }
    }
    found
}
