//! One task on one host: made ready as far as is known, then judged from the host's answer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use minijinja::Value;

use super::load::Files;
use crate::diag::{Diagnostic, Kind, Node};
use crate::module::{Act, Answer, Libraries, Local, Question, Registration, Surroundings, WantedKind};
use crate::playbook::{Body, Task};
use crate::shell::Script;
use crate::template::{Entry, Filled, Later, Layer, Scope, Trouble};

/// A task with the items of the loops around it.
#[derive(Clone)]
pub struct Bound {
    pub task: Arc<Task>,
    /// Loop variables, the innermost first.
    pub bindings: Vec<Arc<Layer>>,
    pub item: Option<Value>,
    /// Shown in place of the item.
    pub label: Option<String>,
    /// Number in its loop, so that results come together again; shared by all items.
    pub series: Option<Arc<Series>>,
    pub is_handler: bool,
    /// The hosts of the play have met before it.
    pub has_met: bool,
}

/// The steps of one loop.
#[derive(Default)]
pub struct Series {
    /// Two loops are told apart by where they stand in memory, so they may not be of no size.
    _place: u8,
}

/// What is shown in place of everything that a task with `no_log` says.
pub const HIDDEN: &str = "hidden, since the task says `no_log`";

/// As which user a step works: the login user, or another one.
pub type UserKey = Option<String>;

/// A step that can be asked about.
pub struct Ready {
    pub bound: Bound,
    pub module: &'static Registration,
    pub act: Box<dyn Act>,
    pub question: Question,
    pub around: Surroundings,
    pub libraries: Libraries,
    pub scope: Arc<Scope>,
    pub user: UserKey,
    /// Conditions that only facts can settle; the question is harmless, so it is asked ahead of them.
    pub open_conditions: Vec<Node>,
    pub limit: Duration,
    pub environment: Vec<(String, String)>,
    pub name: String,
    pub no_log: bool,
    /// Its arguments, its files or its environment hold something hidden.
    pub tainted: bool,
    pub check_mode: Option<bool>,
    pub ignore_errors: bool,
    pub notify: Vec<String>,
    pub answer: Option<Answer>,
    /// It follows from a change that is still to be made.
    pub is_foretold: bool,
    /// The answer whose change somebody has agreed to.
    #[expect(clippy::option_option, reason = "what is agreed to may rest on no answer")]
    pub agreed: Option<Option<Answer>>,
    /// How many changes had been made on the host when the answer was given.
    pub epoch: u64,
    pub conflicts: u8,
    pub attempts: u32,
    /// Since when a question about health has had good answers.
    pub well_since: Option<std::time::Instant>,
    /// Number by which the host knows it.
    pub seq: u32,
    /// How long the question of the user's own took.
    pub asked: Duration,
    /// Its question did not end within its time.
    pub timed_out: bool,
    /// Contact was lost while a question ran that counts as a change.
    pub lost: Option<String>,
    /// Where on the host its bytes lie already.
    pub uploaded: Option<Vec<u8>>,
}

impl Ready {
    /// A command of the user's that runs as a question, and counts as a change all the same.
    pub fn counts(&self) -> bool {
        matches!(self.question, Question::Run(_)) && self.bound.task.changed_when.iter().any(|node| node.kind == Kind::Boolean(true))
    }
}

/// What can be said of a task before the host is asked.
pub enum Readiness {
    Ready(Box<Ready>),
    /// A condition says no.
    Skipped { name: String },
    /// It cannot be done: why, with the name of the task.
    Failed { name: String, message: String },
    /// It depends on results or facts that are not known yet.
    Later(Later),
}

/// What making a step ready needs to know about the host.
pub struct Ground<'a> {
    pub files: &'a Files,
    pub home: &'a dyn Fn(&UserKey) -> Option<String>,
    pub become_default: Option<bool>,
    pub become_user: Option<&'a str>,
    /// The user who has logged in, whom nobody needs to become.
    pub login_user: Option<&'a str>,
    pub default_limit: Duration,
}

/// Whether a condition holds; `true` and `false` may stand for themselves.
pub fn holds(scope: &Arc<Scope>, condition: &Node) -> Result<Filled<bool>, Trouble> {
    match &condition.kind {
        Kind::Boolean(value) => Ok(Filled::Now(*value)),
        Kind::Text(text) => scope.holds(text),
        _ => Ok(Filled::Now(true)),
    }
}

/// All conditions together: false at once when one is false, else later when one is later.
pub fn all_hold(scope: &Arc<Scope>, conditions: &[Node]) -> Result<Filled<bool>, (Node, Trouble)> {
    let mut missing = Later::default();
    for condition in conditions {
        match holds(scope, condition).map_err(|trouble| (condition.clone(), trouble))? {
            Filled::Now(true) => {}
            Filled::Now(false) => return Ok(Filled::Now(false)),
            Filled::Later(later) => missing.names.extend(later.names),
        }
    }
    Ok(if missing.names.is_empty() { Filled::Now(true) } else { Filled::Later(missing) })
}

/// The name of a task with its holes filled, as far as that is possible.
pub fn shown_name(scope: &Arc<Scope>, task: &Task) -> String {
    let text = task.name.text().unwrap_or("task");
    match scope.fill(text) {
        Ok(Filled::Now(value)) => value.to_string(),
        _ => text.to_owned(),
    }
}

/// The items of a loop.
///
/// # Errors
/// What is wrong with it.
pub fn items(scope: &Arc<Scope>, list: &Node) -> Result<Filled<Vec<Value>>, (Node, Trouble)> {
    let mut missing = Later::default();
    let filled = scope.fill_node(list, &mut missing)?;
    if !missing.names.is_empty() {
        return Ok(Filled::Later(missing));
    }
    match crate::template::value_of(&filled) {
        value if value.kind() == minijinja::value::ValueKind::Seq => match value.try_iter() {
            Ok(items) => Ok(Filled::Now(items.collect())),
            Err(error) => Err((list.clone(), trouble(error.to_string()))),
        },
        value if value.kind() == minijinja::value::ValueKind::Map => {
            Err((list.clone(), trouble("`loop` needs a list, and this is a table; add `| dict2items`".into())))
        }
        _ => Err((list.clone(), trouble(format!("`loop` needs a list, and this is {}", filled.what())))),
    }
}

fn trouble(message: String) -> Trouble {
    Trouble { message, help: None, range: None, line: None, meant: None }
}

/// The user that a task works as.
pub fn user_of(scope: &Arc<Scope>, task: &Task, play: &crate::playbook::Defaults, ground: &Ground<'_>) -> Result<Filled<UserKey>, (Node, Trouble)> {
    let wanted = task.defaults.become_it.or(play.become_it).or(ground.become_default).unwrap_or(false);
    if !wanted {
        return Ok(Filled::Now(None));
    }
    let other = |name: String| Filled::Now(Some(name).filter(|name| Some(name.as_str()) != ground.login_user));
    let Some(node) = task.defaults.become_user.as_ref().or(play.become_user.as_ref()) else {
        return Ok(other(ground.become_user.unwrap_or("root").to_owned()));
    };
    match scope.fill(node.text().unwrap_or("root")).map_err(|trouble| (node.clone(), trouble))? {
        Filled::Now(value) => {
            let name = value.to_string();
            let good = !name.is_empty() && !name.starts_with('-') && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-$".contains(letter));
            if good { Ok(other(name)) } else { Err((node.clone(), trouble(format!("`{name}` is no user name")))) }
        }
        Filled::Later(later) => Ok(Filled::Later(later)),
    }
}

/// Makes a task ready on a host.
pub fn ready(bound: &Bound, scope: Arc<Scope>, play: &crate::playbook::Defaults, ground: &Ground<'_>, where_is: &dyn Fn(&Node) -> String) -> Readiness {
    let task = bound.task.clone();
    let name = shown_name(&scope, &task);
    let failed = |(node, trouble): (Node, Trouble)| Readiness::Failed {
        name: name.clone(),
        message: match trouble.help {
            Some(help) => format!("{} ({}); {help}", trouble.message, where_is(&node)),
            None => format!("{} ({})", trouble.message, where_is(&node)),
        },
    };
    let Body::Module { module, arguments } = &task.body else {
        return Readiness::Failed { name, message: "a block is no step".into() };
    };
    let open_conditions = match all_hold(&scope, &task.when) {
        Ok(Filled::Now(false)) => return Readiness::Skipped { name },
        Ok(Filled::Now(true)) => Vec::new(),
        Ok(Filled::Later(later)) if later.is_only_facts() => task.when.clone(),
        Ok(Filled::Later(later)) => return Readiness::Later(later),
        Err(problem) => return failed(problem),
    };
    let is_open = !open_conditions.is_empty();
    let mut missing = Later::default();
    let filled = match fill_arguments(&scope, module, arguments, &mut missing) {
        Ok(filled) => filled,
        // The condition may turn out false, and then nobody misses anything.
        Err(_) if is_open => return Readiness::Later(Later { names: BTreeSet::from(["facts.*".into()]) }),
        Err(problem) => return failed(problem),
    };
    if !missing.names.is_empty() {
        return Readiness::Later(missing);
    }
    let mut problems = Vec::new();
    let Some(act) = module.read(&filled, &mut problems) else {
        if is_open {
            return Readiness::Later(Later { names: BTreeSet::from(["facts.*".into()]) });
        }
        return Readiness::Failed { name, message: first_message(&problems, where_is) };
    };
    let user = match user_of(&scope, &task, play, ground) {
        Ok(Filled::Now(user)) => user,
        Ok(Filled::Later(later)) => return Readiness::Later(later),
        Err(problem) => return failed(problem),
    };
    let mut around = Surroundings { home: (ground.home)(&user).unwrap_or_default(), ..Surroundings::default() };
    for wanted in act.wants() {
        match local(&task, &wanted, &scope, ground.files) {
            Ok(Filled::Now(found)) => {
                around.files.insert(wanted.path, found);
            }
            Ok(Filled::Later(later)) => return Readiness::Later(later),
            Err(message) => return Readiness::Failed { name, message },
        }
    }
    let environment = match environment(&scope, &task, play) {
        Ok(Filled::Now(environment)) => environment,
        Ok(Filled::Later(later)) => return Readiness::Later(later),
        Err(problem) => return failed(problem),
    };
    let ignore_errors = match task.defaults.ignore_errors.as_ref().or(play.ignore_errors.as_ref()).map(|node| (holds(&scope, node), node)) {
        None => false,
        Some((Ok(Filled::Now(value)), _)) => value,
        Some((Ok(Filled::Later(later)), _)) => return Readiness::Later(later),
        Some((Err(trouble), node)) => return failed((node.clone(), trouble)),
    };
    let mut notify = Vec::new();
    for node in &task.notify {
        match scope.fill(node.text().unwrap_or_default()) {
            Ok(Filled::Now(value)) => notify.push(value.to_string()),
            Ok(Filled::Later(later)) => return Readiness::Later(later),
            Err(trouble) => return failed((node.clone(), trouble)),
        }
    }
    let question = match act.probe(&around) {
        Question::Ask(script) if module.sees_environment => Question::Ask(with_environment(&environment, &script)),
        Question::Run(script) => Question::Run(with_environment(&environment, &script)),
        other => other,
    };
    let own_limit = task.defaults.timeout.or(play.timeout);
    let limit = own_limit.unwrap_or_else(|| {
        let patience = Duration::from_secs(act.patience_seconds().unwrap_or(0));
        ground.default_limit.max(patience)
    });
    let tainted = crate::secret::is_any_hidden() && {
        let holds_file = |local: &Local| matches!(local, Local::File { content, .. } if content.holds_hidden());
        holds_text(&filled) || around.files.values().any(holds_file) || environment.iter().any(|(_, value)| crate::secret::holds_hidden(value.as_bytes()))
    };
    Readiness::Ready(Box::new(Ready {
        bound: bound.clone(),
        tainted,
        module,
        question,
        libraries: act.libraries(&around),
        act,
        around,
        scope,
        user,
        open_conditions,
        limit,
        environment,
        name,
        no_log: task.defaults.no_log.or(play.no_log).unwrap_or(false),
        check_mode: task.defaults.check_mode.or(play.check_mode),
        ignore_errors,
        notify,
        answer: None,
        agreed: None,
        is_foretold: false,
        epoch: 0,
        conflicts: 0,
        attempts: 0,
        well_since: None,
        seq: 0,
        asked: Duration::ZERO,
        timed_out: false,
        lost: None,
        uploaded: None,
    }))
}

/// Whether a text of a tree holds something hidden.
fn holds_text(node: &Node) -> bool {
    match &node.kind {
        Kind::Text(text) => crate::secret::holds_hidden(text.as_bytes()),
        Kind::List(items) => items.iter().any(holds_text),
        Kind::Table(entries) => entries.iter().any(|entry| holds_text(&entry.value)),
        _ => false,
    }
}

/// A user's text with the environment of its task.
pub fn with_environment(environment: &[(String, String)], script: &Script) -> Script {
    let exports = environment.iter().fold(Script::default(), |text, (name, value)| {
        // Names have been checked to be names; values are quoted.
        text.then(&crate::sh!("export {}={}", Script::raw(name.clone()), value))
    });
    exports.then(script)
}

/// The arguments with all holes filled; those that are expressions become their value.
pub fn fill_arguments(scope: &Arc<Scope>, module: &Registration, arguments: &Node, missing: &mut Later) -> Result<Node, (Node, Trouble)> {
    let Kind::Table(entries) = &arguments.kind else { return scope.fill_node(arguments, missing) };
    let mut filled = Vec::with_capacity(entries.len());
    for entry in entries {
        let mut entry = entry.clone();
        entry.value = if module.expressions.contains(&entry.key.name.as_str()) {
            expressions(scope, &entry.value, missing)?
        } else {
            scope.fill_node(&entry.value, missing)?
        };
        filled.push(entry);
    }
    Ok(Node::new(&arguments.span, Kind::Table(filled)))
}

/// An expression as a table of its text and its value; a list of expressions as a list of such tables.
fn expressions(scope: &Arc<Scope>, node: &Node, missing: &mut Later) -> Result<Node, (Node, Trouble)> {
    let pair = |text: &str, value: Node| {
        let entry = |name: &str, value: Node| crate::diag::Entry { key: crate::diag::Key { name: name.into(), span: node.span.clone() }, value };
        Node::new(&node.span, Kind::Table(vec![entry("text", Node::new(&node.span, Kind::Text(text.into()))), entry("value", value)]))
    };
    match &node.kind {
        Kind::List(items) => {
            let items: Result<Vec<_>, _> = items.iter().map(|item| expressions(scope, item, missing)).collect();
            Ok(Node::new(&node.span, Kind::List(items?)))
        }
        Kind::Text(text) => match scope.eval(text).map_err(|trouble| (node.clone(), trouble))? {
            Filled::Now(value) => {
                let value = crate::template::data_of(&value, node).map_err(|trouble| (node.clone(), trouble))?;
                Ok(pair(text, value))
            }
            Filled::Later(later) => {
                missing.names.extend(later.names);
                Ok(Node::new(&node.span, Kind::Later))
            }
        },
        _ => Ok(pair("", node.clone())),
    }
}

fn local(task: &Task, wanted: &crate::module::Wanted, scope: &Arc<Scope>, files: &Files) -> Result<Filled<Local>, String> {
    let path = Files::find(task, wanted)?;
    match wanted.kind {
        WantedKind::Copy => files.copy(&path).map(Filled::Now),
        WantedKind::Template => {
            let text = files.template(&path)?;
            match scope.render(&text) {
                Ok(Filled::Now(text)) => {
                    let content = Arc::new(crate::module::Content::new(text.into_bytes()));
                    Ok(Filled::Now(Local::File { content, mode: 0o644 }))
                }
                Ok(Filled::Later(later)) => Ok(Filled::Later(later)),
                Err(trouble) => {
                    let line = trouble.line.map_or_else(String::new, |line| format!(":{line}"));
                    let help = trouble.help.map_or_else(String::new, |help| format!("; {help}"));
                    Err(format!("{}{line}: {}{help}", path.display(), trouble.message))
                }
            }
        }
    }
}

pub fn environment(scope: &Arc<Scope>, task: &Task, play: &crate::playbook::Defaults) -> Result<Filled<Vec<(String, String)>>, (Node, Trouble)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for table in task.defaults.environment.iter().chain(&play.environment) {
        for entry in table.entries() {
            if found.iter().any(|(name, _)| *name == entry.key.name) {
                continue;
            }
            let mut missing = Later::default();
            let value = scope.fill_node(&entry.value, &mut missing)?;
            if !missing.names.is_empty() {
                return Ok(Filled::Later(missing));
            }
            found.push((entry.key.name.clone(), crate::template::value_of(&value).to_string()));
        }
    }
    Ok(Filled::Now(found))
}

fn first_message(problems: &[Diagnostic], where_is: &dyn Fn(&Node) -> String) -> String {
    let Some(first) = problems.first() else { return "the arguments do not fit".into() };
    let place = first.span.as_ref().map(|span| where_is(&Node::new(span, Kind::None))).unwrap_or_default();
    match &first.help {
        Some(help) => format!("{} ({place}); {help}", first.message),
        None => format!("{} ({place})", first.message),
    }
}

/// Names that a task will give a value to, once it has run.
pub fn names_made_by(task: &Task) -> Vec<String> {
    let mut names: Vec<String> = task.register.iter().cloned().collect();
    if let Body::Module { module, arguments } = &task.body
        && module.name == "set_fact"
    {
        names.extend(arguments.entries().iter().map(|entry| entry.key.name.clone()));
    }
    names
}

/// A layer in which these names are known later.
pub fn later_layer(names: impl IntoIterator<Item = String>) -> Layer {
    Layer { entries: names.into_iter().map(|name| (name, Entry::Later)).collect() }
}
