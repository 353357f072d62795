//! From the tree of a playbook file to plays and tasks, with every problem found on the way.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::keywords::{self, ELSEWHERE, Limits, Meta, PlayKeys, TaskKeys};
use super::load::Files;
use super::{Body, Defaults, Loop, Play, Task, check};
use crate::diag::{Diagnostic, Entry, Key, Kind, Node, Was, decode_with};
use crate::module::Registry;
use crate::template::Layer;

const DEFAULT_RETRIES: u32 = 3;
const DEFAULT_DELAY: Duration = Duration::from_secs(5);

/// What everything in a block, include or role inherits.
#[derive(Clone, Default)]
struct Around {
    when: Vec<Node>,
    notify: Vec<Node>,
    tags: Vec<String>,
    variables: Vec<Arc<Layer>>,
    role_defaults: Vec<Arc<Layer>>,
    defaults: Defaults,
    folder: PathBuf,
    role: Option<PathBuf>,
    /// Why no barrier can stand here.
    no_barrier: Option<&'static str>,
}

/// The plays of a file.
pub fn plays(tree: &Node, folder: &Path, registry: Registry, files: &mut Files<'_>, problems: &mut Vec<Diagnostic>) -> Vec<Play> {
    let registry = files.modules(&folder.join("modules"), registry, problems);
    let mut reader = Reader { registry, files, problems, handlers: Vec::new(), handler_files: Vec::new(), barriers: 0 };
    let result = reader.plays(tree, folder);
    reader.files.close();
    result
}

/// Those of these keys that are there.
fn those(entries: &[Entry], names: &[&str]) -> Vec<Key> {
    entries.iter().filter(|entry| names.contains(&entry.key.name.as_str())).map(|entry| entry.key.clone()).collect()
}

struct Reader<'a, 'f> {
    registry: Registry,
    files: &'a mut Files<'f>,
    problems: &'a mut Vec<Diagnostic>,
    /// Handlers that roles bring along.
    handlers: Vec<Arc<Task>>,
    handler_files: Vec<PathBuf>,
    /// Barriers of the play so far.
    barriers: usize,
}

impl Reader<'_, '_> {
    fn plays(&mut self, tree: &Node, folder: &Path) -> Vec<Play> {
        if let Some(format) = tree.get("format")
            && format.kind != Kind::Integer(1)
        {
            let diagnostic = Diagnostic::error("format", &format.span, "this version of mutate knows format 1 only");
            self.problems.push(diagnostic.help("write `format = 1`, or use a newer mutate"));
        }
        let Some(plays) = tree.get("play") else {
            let entries = tree.entries().iter().filter(|entry| entry.key.name != "format").cloned().collect::<Vec<_>>();
            if entries.is_empty() {
                if self.problems.is_empty() {
                    let diagnostic = Diagnostic::error("empty", &tree.span, "the playbook is empty");
                    self.problems.push(diagnostic.help("begin with `hosts = \"all\"` and a `[[task]]`"));
                }
                return Vec::new();
            }
            return self.play(&Node::new(&tree.span, Kind::Table(entries)), folder).into_iter().collect();
        };
        for entry in tree.entries() {
            let name = entry.key.name.as_str();
            if !["format", "play", "name"].contains(&name) {
                let message = format!("`{name}` stands beside `[[play]]`, so it belongs to no play");
                let help = if ["task", "handler"].contains(&name) { format!("write `[[play.{name}]]` after its `[[play]]`") } else { "put it into a `[[play]]`".into() };
                self.problems.push(Diagnostic::error("unknown-key", &entry.key.span, message).help(help));
            }
        }
        let Kind::List(plays) = &plays.kind else {
            let diagnostic = Diagnostic::error("arg-type", &plays.span, "`play` must be a list of plays");
            self.problems.push(diagnostic.help("write `[[play]]`, with two brackets"));
            return Vec::new();
        };
        plays.iter().filter_map(|play| self.play(play, folder)).collect()
    }

    fn play(&mut self, node: &Node, folder: &Path) -> Option<Play> {
        let Kind::Table(entries) = &node.kind else {
            self.problems.push(Diagnostic::error("arg-type", &node.span, "a play must be a table"));
            return None;
        };
        self.handlers.clear();
        self.handler_files.clear();
        self.barriers = 0;
        let mut known = Vec::new();
        for entry in entries {
            let name = entry.key.name.as_str();
            if keywords::PLAY.contains(&name) {
                known.push(entry.clone());
            } else {
                self.unknown_in_play(&entry.key);
            }
        }
        let typed = only(node, &known, &["name", "become", "serial", "max_fail", "on_failure", "vars_files", "timeout", "no_log", "check_mode", "tags", "roles"]);
        let decoded: Option<PlayKeys> = decode_with(&typed, "key of a play", self.problems);
        let is_decoded = decoded.is_some();
        let keys = decoded.unwrap_or_default();
        let get = |name: &str| known.iter().find(|entry| entry.key.name == name).map(|entry| &entry.value);
        let hosts = get("hosts").cloned().or_else(|| {
            let help = "say on which hosts it runs, such as `hosts = \"web\"` or `hosts = \"all\"`";
            let place = entries.first().map_or(&node.span, |entry| &entry.key.span);
            self.problems.push(Diagnostic::error("missing", place, "the play has no `hosts`").help(help));
            None
        })?;
        check::host_pattern(&hosts, self.problems);
        let mut variables = Vec::new();
        // The strongest first: a file that is named later wins.
        for path in keys.vars_files.0.iter().rev() {
            variables.extend(self.variable_file(&folder.join(path), typed.get("vars_files")));
        }
        if let Some(table) = get("vars") {
            crate::inventory::check_variables(table, self.problems);
            variables.insert(0, Arc::new(Layer::authored(table)));
        }
        let mut around = Around { tags: keys.tags.0.clone(), folder: folder.to_owned(), ..Around::default() };
        self.defaults(&mut around.defaults, &known, keys.become_it, keys.timeout.map(|limit| limit.0), keys.no_log, keys.check_mode);
        let mut tasks = Vec::new();
        for role in &keys.roles.0 {
            tasks.extend(self.role(role, typed.get("roles").unwrap_or(node), &around));
        }
        tasks.extend(get("task").map(|list| self.tasks(list, "task", &around)).unwrap_or_default());
        let mut handlers = get("handler").map(|list| self.tasks(list, "handler", &around)).unwrap_or_default();
        handlers.append(&mut self.handlers);
        let health = get("health").map(|list| self.tasks(list, "health", &around)).unwrap_or_default();
        check::handlers(&tasks, &handlers, self.problems);
        check::health(&health, self.problems);
        let play = Play {
            name: keys.name.unwrap_or_else(|| hosts.text().unwrap_or("play").to_owned()),
            span: node.span.clone(),
            hosts,
            tasks,
            handlers,
            variables,
            defaults: around.defaults,
            serial: {
                if let Some(node) = typed.get("serial").filter(|_| is_decoded && (keys.serial.0.is_empty() || keys.serial.0.iter().any(|limit| matches!(limit, super::Limit::Count(0) | super::Limit::Percent(0))))) {
                    self.problems.push(Diagnostic::error("arg-value", &node.span, "`serial`: a batch has at least one host"));
                }
                keys.serial.0
            },
            max_fail: keys.max_fail.and_then(|Limits(limits)| limits.first().copied()),
            on_failure: keys.on_failure,
            health,
            of_all: those(&known, &["serial", "max_fail", "on_failure"]),
        };
        if self.problems.is_empty() && play.tasks.is_empty() && get("task").is_none() && get("roles").is_none() {
            let place = entries.first().map_or(&node.span, |entry| &entry.key.span);
            self.problems.push(Diagnostic::error("empty", place, "the play has no task").help("begin one with `[[task]]`"));
        }
        check::variables(&play, self.problems);
        Some(play)
    }

    fn unknown_in_play(&mut self, key: &Key) {
        let name = key.name.as_str();
        let mut diagnostic = Diagnostic::error("unknown-key", &key.span, format!("unknown key `{name}` of a play")).suggest_name(name, keywords::PLAY.iter().copied());
        if let Some((_, instead)) = ELSEWHERE.iter().find(|(known, _)| *known == name) {
            (diagnostic.help, diagnostic.remedy) = (Some(keywords::help(instead)), None);
        } else if self.registry.find(name).is_some() || keywords::TASK.contains(&name) {
            (diagnostic.help, diagnostic.remedy) = (Some("it belongs to a task: begin one with `[[task]]`".into()), None);
        }
        self.problems.push(diagnostic);
    }

    fn defaults(
        &mut self,
        defaults: &mut Defaults,
        entries: &[Entry],
        become_it: Option<bool>,
        timeout: Option<Duration>,
        no_log: Option<bool>,
        check_mode: Option<bool>,
    ) {
        let get = |name: &str| entries.iter().find(|entry| entry.key.name == name).map(|entry| &entry.value);
        defaults.become_it = become_it.or(defaults.become_it);
        defaults.timeout = timeout.or(defaults.timeout);
        defaults.no_log = no_log.or(defaults.no_log);
        defaults.check_mode = check_mode.or(defaults.check_mode);
        if let Some(user) = get("become_user") {
            check::text(user, "become_user", self.problems);
            defaults.become_user = Some(user.clone());
        }
        if let Some(host) = get("delegate_to") {
            check::text(host, "delegate_to", self.problems);
            defaults.delegate_to = Some(host.clone());
        }
        if let Some(environment) = get("environment") {
            check::environment(environment, self.problems);
            defaults.environment.insert(0, environment.clone());
        }
        if let Some(ignore) = get("ignore_errors") {
            check::condition(ignore, "ignore_errors", self.problems);
            defaults.ignore_errors = Some(ignore.clone());
        }
        if timeout == Some(Duration::ZERO)
            && let Some(node) = get("timeout")
        {
            self.problems.push(Diagnostic::error("arg-value", &node.span, "`timeout` must be more than 0"));
        }
    }

    fn variable_file(&mut self, path: &Path, place: Option<&Node>) -> Option<Arc<Layer>> {
        let table = self.files.open(path, place.map(|node| &node.span), self.problems)?;
        crate::inventory::check_variables(&table, self.problems);
        self.files.close();
        Some(Arc::new(Layer::authored(&table)))
    }

    fn tasks(&mut self, list: &Node, what: &str, around: &Around) -> Vec<Arc<Task>> {
        let Kind::List(items) = &list.kind else {
            let message = format!("`{what}` must be a list of tasks");
            self.problems.push(Diagnostic::error("arg-type", &list.span, message).help(format!("write `[[{what}]]`, with two brackets")));
            return Vec::new();
        };
        items.iter().filter_map(|item| self.task(item, what, around)).map(Arc::new).collect()
    }

    fn task(&mut self, node: &Node, what: &str, around: &Around) -> Option<Task> {
        let Kind::Table(entries) = &node.kind else {
            self.problems.push(Diagnostic::error("arg-type", &node.span, format!("a {what} must be a table")).label(format!("this is {}", node.what())));
            return None;
        };
        let before = self.problems.len();
        let mut known: Vec<Entry> = Vec::new();
        let mut actions: Vec<&Entry> = Vec::new();
        for entry in entries {
            let name = entry.key.name.as_str();
            if self.registry.find(name).is_some() || ["block", "include", "role", "meta"].contains(&name) {
                actions.push(entry);
            }
            if keywords::TASK.contains(&name) {
                known.push(entry.clone());
            } else if self.registry.find(name).is_none() {
                self.unknown_in_task(&entry.key, what);
            }
        }
        let unknown = self.problems.len() > before;
        let keys: TaskKeys = decode_with(&typed_keys(node, &known), &format!("key of a {what}"), self.problems).unwrap_or_default();
        let start = entries.first().map_or(&node.span, |entry| &entry.key.span);
        let action = match actions.as_slice() {
            [one] => *one,
            [] => {
                // A misspelt module has been reported already.
                if !unknown {
                    let diagnostic = Diagnostic::error("no-module", start, format!("the {what} does not say what to do"));
                    self.problems.push(diagnostic.help("give it a module, such as `file = { … }`; `mutate modules` lists them"));
                }
                return None;
            }
            [first, second, ..] => {
                let message = format!("a {what} does one thing, but this one has `{}` and `{}`", first.key.name, second.key.name);
                self.problems.push(Diagnostic::error("two-modules", &second.key.span, message).help("make two tasks of it"));
                return None;
            }
        };
        let get = |name: &str| known.iter().find(|entry| entry.key.name == name).map(|entry| &entry.value);
        let mut inner = around.clone();
        inner.tags.extend(keys.tags.0.iter().cloned());
        if let Some(when) = get("when") {
            let mut conditions = check::conditions(when, "when", self.problems);
            inner.when.append(&mut conditions);
        }
        if let Some(notify) = get("notify") {
            inner.notify.extend(check::texts(notify, "notify", self.problems));
        }
        if let Some(table) = get("vars") {
            crate::inventory::check_variables(table, self.problems);
            inner.variables.insert(0, Arc::new(Layer::authored(table)));
        }
        self.defaults(&mut inner.defaults, &known, keys.become_it, keys.timeout.map(|limit| limit.0), keys.no_log, keys.check_mode);
        if what == "health" {
            // It asks, and changes nothing.
            inner.defaults.check_mode = Some(true);
        }
        let name = get("name").cloned().unwrap_or_else(|| Node::new(start, Kind::Text(action.key.name.clone())));
        check::text(&name, "name", self.problems);
        if name.text().is_some_and(|text| text.contains('\n')) {
            self.problems.push(Diagnostic::error("arg-value", &name.span, "the name of a task is one line"));
        }
        if what == "handler" && get("name").is_none() {
            self.problems.push(Diagnostic::error("missing", start, "a handler needs a `name`, by which it is notified"));
        }
        if what != "handler"
            && let Some(listen) = get("listen")
        {
            self.problems.push(Diagnostic::error("unknown-key", &listen.span, "`listen` is for handlers alone"));
        }
        if let Some(block) = get("block").filter(|block| matches!(&block.kind, Kind::List(items) if items.is_empty())) {
            self.problems.push(Diagnostic::error("empty", &block.span, "the `block` has no task"));
        }
        let barrier = self.barrier(&keys, &known, what, &mut inner);
        let is_module = self.registry.find(&action.key.name).is_some();
        if !is_module {
            for key in ["register", "until", "changed_when", "failed_when", "confirm"] {
                if let Some(value) = get(key) {
                    let message = format!("`{key}` has no meaning for `{}`", action.key.name);
                    self.problems.push(Diagnostic::error("unknown-key", &value.span, message).help("put it on the tasks inside"));
                }
            }
        }
        for key in ["rescue", "always"] {
            if let (Some(value), false) = (get(key), action.key.name == "block") {
                self.problems.push(Diagnostic::error("unknown-key", &value.span, format!("`{key}` needs a `block` beside it")));
            }
        }
        if let Some(register) = &keys.register
            && let Some(node) = get("register")
        {
            check::variable_name(register, node, self.problems);
        }
        let repeat = get("loop").map(|items| self.repeat(items, keys.loop_control.as_ref(), get("loop_control")));
        let body = self.body(action, &known, &keys, &inner, what)?;
        let until = get("until").cloned();
        let is_health = what == "health";
        if let Some(soak) = get("soak").filter(|_| !is_health) {
            self.problems.push(Diagnostic::error("unknown-key", &soak.span, "`soak` is for `[[health]]` alone"));
        }
        for key in ["retries", "delay"] {
            if let (Some(value), None, false) = (get(key).filter(|value| value.kind != Kind::Later), &until, is_health) {
                let diagnostic = Diagnostic::error("unknown-key", &value.span, format!("`{key}` needs an `until` beside it"));
                self.problems.push(diagnostic.help("say what to wait for, such as `until = \"result.rc == 0\"`"));
            }
        }
        if let (Some(control), None) = (get("loop_control"), get("loop")) {
            self.problems.push(Diagnostic::error("unknown-key", &control.span, "`loop_control` needs a `loop` beside it"));
        }
        if let Some(until) = &until {
            check::condition(until, "until", self.problems);
        }
        Some(Task {
            name,
            span: start.clone(),
            listen: keys.listen.0,
            when: inner.when,
            repeat,
            register: keys.register,
            until,
            barrier,
            run_once: keys.run_once,
            throttle: keys.throttle,
            of_all: those(&known, &["barrier", "run_once", "throttle"]),
            soak: is_health.then(|| keys.soak.map(|soak| soak.0).unwrap_or_default()),
            confirm: keys.confirm.map(|limit| limit.0),
            retries: keys.retries.unwrap_or(DEFAULT_RETRIES),
            delay: keys.delay.map_or(DEFAULT_DELAY, |delay| delay.0),
            notify: inner.notify,
            tags: inner.tags,
            changed_when: get("changed_when").map(|node| check::conditions(node, "changed_when", self.problems)).unwrap_or_default(),
            failed_when: get("failed_when").map(|node| check::conditions(node, "failed_when", self.problems)).unwrap_or_default(),
            variables: inner.variables,
            role_defaults: inner.role_defaults,
            defaults: inner.defaults,
            folder: inner.folder,
            role: inner.role,
            body,
        })
    }

    /// Number of the barrier that the task is; says for what is in it whether it can have one.
    fn barrier(&mut self, keys: &TaskKeys, known: &[Entry], what: &str, inner: &mut Around) -> Option<usize> {
        let get = |name: &str| known.iter().find(|entry| entry.key.name == name).map(|entry| &entry.value);
        if ["handler", "rescue", "always", "health"].contains(&what) {
            inner.no_barrier = Some("not every host comes by here");
        }
        let refused = inner.no_barrier;
        if get("loop").is_some() {
            inner.no_barrier = Some("a loop may be longer on one host than on another");
        }
        if keys.run_once || keys.throttle.is_some() {
            inner.no_barrier = Some("hosts do not go through this block together");
        }
        if let Some(throttle) = get("throttle").filter(|_| keys.throttle == Some(0)) {
            self.problems.push(Diagnostic::error("arg-value", &throttle.span, "`throttle` lets at least one host do the task"));
        }
        if let Some(once) = get("run_once").filter(|_| keys.run_once && what == "handler") {
            let diagnostic = Diagnostic::error("run-once", &once.span, "a handler runs on each host that has notified it, so it has no `run_once`");
            self.problems.push(diagnostic.help("put `run_once` on a task"));
        }
        if !keys.barrier {
            return None;
        }
        if let (Some(why), Some(node)) = (refused, get("barrier")) {
            let diagnostic = Diagnostic::error("barrier", &node.span, format!("no `barrier` can stand here: {why}"));
            self.problems.push(diagnostic.help("put it on a task of the play that all hosts come to"));
        }
        self.barriers += 1;
        Some(self.barriers)
    }

    fn unknown_in_task(&mut self, key: &Key, what: &str) {
        let name = key.name.as_str();
        let candidates = keywords::TASK.iter().copied().chain(self.registry.names());
        let message = format!("unknown module or key `{name}` in a {what}");
        let mut diagnostic = Diagnostic::error("unknown-module", &key.span, message).suggest_name(name, candidates);
        if let Some((_, instead)) = ELSEWHERE.iter().find(|(known, _)| *known == name) {
            (diagnostic.help, diagnostic.remedy) = (Some(keywords::help(instead)), None);
            if keywords::SAME.contains(&name) {
                diagnostic = diagnostic.remedy(Was::Name(name.to_owned()), instead.trim_matches('`'));
            }
        } else if let Some(short) = name.rsplit('.').next().filter(|short| name.contains('.') && self.registry.find(short).is_some()) {
            diagnostic.help = Some(format!("write `{short}`"));
            diagnostic = diagnostic.remedy(Was::Name(name.to_owned()), short);
        } else if diagnostic.help.is_none() {
            diagnostic.help = Some("`mutate modules` lists the modules".into());
        }
        self.problems.push(diagnostic);
    }

    fn body(&mut self, action: &Entry, known: &[Entry], keys: &TaskKeys, inner: &Around, what: &str) -> Option<Body> {
        let get = |name: &str| known.iter().find(|entry| entry.key.name == name).map(|entry| &entry.value);
        Some(match action.key.name.as_str() {
            "block" => Body::Block {
                tasks: self.tasks(&action.value, "block", inner),
                rescue: get("rescue").map(|list| self.tasks(list, "rescue", inner)).unwrap_or_default(),
                always: get("always").map(|list| self.tasks(list, "always", inner)).unwrap_or_default(),
            },
            "include" | "role" if action.value.text().is_some_and(crate::template::is_template) => {
                let name = &action.key.name;
                let message = format!("`{name}` cannot be a template, since files are read before there is a host");
                let help = format!("choose between two {name}s with `when`");
                self.problems.push(Diagnostic::error("include", &action.value.span, message).help(help));
                return None;
            }
            "include" => {
                let path = inner.folder.join(keys.include.as_deref()?);
                Body::Block { tasks: self.include(&path, &action.value, inner), rescue: Vec::new(), always: Vec::new() }
            }
            "role" => {
                let tasks = self.role(keys.role.as_deref()?, &action.value, inner);
                Body::Block { tasks, rescue: Vec::new(), always: Vec::new() }
            }
            "meta" => match keys.meta? {
                Meta::FlushHandlers => Body::FlushHandlers,
                Meta::EndHost | Meta::EndPlay => Body::EndPlay,
                Meta::ResetConnection => Body::ResetConnection,
                Meta::ClearFacts => Body::ClearFacts,
                Meta::Noop => Body::Block { tasks: Vec::new(), rescue: Vec::new(), always: Vec::new() },
            },
            name => {
                let module = self.registry.find(name)?;
                check::arguments(module, &action.value, self.problems);
                let mut arguments = module.table(&action.value);
                if what == "health" && ["command", "shell"].contains(&name) {
                    arguments.set("probe", Kind::Boolean(true));
                }
                Body::Module { module, arguments }
            }
        })
    }

    fn include(&mut self, path: &Path, place: &Node, around: &Around) -> Vec<Arc<Task>> {
        let Some(tree) = self.files.open(path, Some(&place.span), self.problems) else { return Vec::new() };
        let mut inner = around.clone();
        inner.folder = path.parent().map(Path::to_owned).unwrap_or_default();
        let mut tasks = Vec::new();
        for entry in tree.entries() {
            match entry.key.name.as_str() {
                "format" => {}
                "task" => tasks = self.tasks(&entry.value, "task", &inner),
                // A file that is used twice brings its handlers once.
                "handler" if self.handler_files.contains(&path.to_owned()) => {}
                "handler" => {
                    self.handler_files.push(path.to_owned());
                    let handlers = self.tasks(&entry.value, "handler", &inner);
                    self.handlers.extend(handlers);
                }
                name => {
                    let message = format!("unknown key `{name}` in a file of tasks");
                    let diagnostic = Diagnostic::error("unknown-key", &entry.key.span, message).suggest_name(name, ["task", "handler", "format"]);
                    self.problems.push(if diagnostic.help.is_none() { diagnostic.help("an included file has `[[task]]` and `[[handler]]` only") } else { diagnostic });
                }
            }
        }
        self.files.close();
        tasks
    }

    fn role(&mut self, name: &str, place: &Node, around: &Around) -> Vec<Arc<Task>> {
        let mut candidates = vec![around.folder.join("roles").join(name), around.folder.join(name)];
        // A role may use the roles beside it.
        candidates.extend(around.role.as_ref().and_then(|role| role.parent()).map(|beside| beside.join(name)));
        let Some(folder) = candidates.iter().find(|folder| self.files.exists(&folder.join("tasks.toml")) || self.files.exists(&folder.join("handlers.toml"))) else {
            let message = format!("there is no role `{name}`");
            let help = format!("a role is a folder with a `tasks.toml`: `{}`", candidates[0].display());
            self.problems.push(Diagnostic::error("role", &place.span, message).help(help));
            return Vec::new();
        };
        let mut inner = around.clone();
        inner.role = Some(folder.clone());
        self.registry = self.files.modules(&folder.join("modules"), self.registry, self.problems);
        let defaults = folder.join("defaults.toml");
        if self.files.exists(&defaults) {
            inner.role_defaults.extend(self.variable_file(&defaults, Some(place)));
        }
        let tasks = folder.join("tasks.toml");
        let tasks = if self.files.exists(&tasks) { self.include(&tasks, place, &inner) } else { Vec::new() };
        let handlers = folder.join("handlers.toml");
        if self.files.exists(&handlers) {
            let _no_tasks = self.include(&handlers, place, &inner);
        }
        tasks
    }

    fn repeat(&mut self, items: &Node, control: Option<&keywords::LoopControl>, place: Option<&Node>) -> Loop {
        match &items.kind {
            Kind::List(_) => crate::inventory::check_templates(items, self.problems),
            Kind::Text(text) if crate::template::is_template(text) => crate::inventory::check_templates(items, self.problems),
            _ => {
                let diagnostic = Diagnostic::error("arg-type", &items.span, "`loop` must be a list, or an expression that gives one");
                self.problems.push(diagnostic.label(format!("this is {}", items.what())).help("write `loop = [\"a\", \"b\"]` or `loop = \"{{ names }}\"`"));
            }
        }
        let variable = control.and_then(|control| control.loop_var.clone());
        if let (Some(name), Some(node)) = (&variable, place.and_then(|place| place.get("loop_var"))) {
            check::variable_name(name, node, self.problems);
        }
        let index = control.and_then(|control| control.index_var.clone());
        if let (Some(name), Some(node)) = (&index, place.and_then(|place| place.get("index_var"))) {
            check::variable_name(name, node, self.problems);
        }
        let label = place.and_then(|place| place.get("label")).cloned();
        Loop {
            items: items.clone(),
            variable: variable.unwrap_or_else(|| "item".into()),
            index_variable: index,
            label,
        }
    }
}

/// The part of a table that has the given keys.
fn only(node: &Node, entries: &[Entry], keys: &[&str]) -> Node {
    let entries = entries.iter().filter(|entry| keys.contains(&entry.key.name.as_str())).cloned().collect();
    Node::new(&node.span, Kind::Table(entries))
}

/// The keywords of a task that never are templates, for decoding by type.
fn typed_keys(node: &Node, known: &[Entry]) -> Node {
    const TYPED: &[&str] = &[
        "loop_control", "register", "retries", "delay", "soak", "barrier", "run_once", "throttle", "listen", "tags", "become", "timeout", "confirm", "check_mode",
        "no_log", "include", "role", "meta",
    ];
    only(node, known, TYPED)
}
