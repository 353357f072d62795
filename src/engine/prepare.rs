//! Everything that can be checked without contacting a host, for all hosts.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use minijinja::Value;

use super::load::Files;
use super::made_groups::{Makers, hosts_at_most};
use super::scope::{HostView, facts_layer, groups};
use super::step::{self, Bound, Ground};
use super::target::Targets;
use super::{Input, Options};
use crate::diag::{Diagnostic, Kind, Node};
use crate::inventory::{Inventory, Mismatch, Pattern, Settings};
use crate::module::WantedKind;
use crate::playbook::{Body, Play, Task};
use crate::remote::Target;
use crate::secret::{self, Gathering};
use crate::template::{Filled, Later, Layer};

/// A run that may begin: which hosts each play is for, and how to reach them.
pub struct Prepared {
    /// For each playbook and play, the hosts in order.
    pub plays: Vec<PlayHosts>,
    pub hosts: BTreeMap<String, HostPlan>,
    /// How many hosts there are in all parts.
    pub of_hosts: usize,
}

pub struct PlayHosts {
    pub playbook: usize,
    pub play: usize,
    /// With groups of the run: every host that can be meant.
    pub hosts: Vec<String>,
    /// Groups that earlier plays of the run make.
    pub made_groups: Vec<String>,
}

impl HostPlan {
    /// As which other user to work, and with which password.
    pub fn become_as(&self, user: &str, options: &Options) -> crate::remote::Become {
        crate::remote::Become {
            user: user.to_owned(),
            method: match options.login.become_method.or(self.settings.become_method).unwrap_or_default() {
                crate::inventory::Method::Sudo => crate::remote::BecomeMethod::Sudo,
                crate::inventory::Method::Su => crate::remote::BecomeMethod::Su,
                crate::inventory::Method::Doas => crate::remote::BecomeMethod::Doas,
            },
            password: self.become_password.clone().or_else(|| options.login.become_password.clone()),
        }
    }
}

impl HostPlan {
    /// The user to become where no task says otherwise; nobody, where the login user works himself.
    pub fn usual_user(&self, options: &Options) -> Option<String> {
        let login = &options.login;
        let wants = login.become_it || self.settings.become_it == Some(true);
        wants.then(|| login.become_user.clone().or_else(|| self.settings.become_user.clone()).unwrap_or_else(|| "root".into()))
    }
}

/// How one host is reached and seen.
#[derive(Clone)]
pub struct HostPlan {
    pub target: Target,
    pub settings: Settings,
    pub view: HostView,
    /// The host's own password for sudo, where the inventory names a file with it.
    pub become_password: Option<crate::secret::Secret>,
}

/// Chooses the hosts and checks every task for every one of them. All problems go to `problems`. Secrets that they need are fetched.
pub fn prepare(input: &mut Input, run: &str, problems: &mut Vec<Diagnostic>) -> Prepared {
    let (prepared, templates) = with_secrets(problems, |problems| prepared(input, run, problems));
    for one in templates {
        problems.push(one.drawn(&mut input.sources));
    }
    prepared
}

/// Does this again until every secret that it asks for has been fetched; each time the new ones are fetched together.
fn with_secrets<T>(problems: &mut Vec<Diagnostic>, attempt: impl Fn(&mut Vec<Diagnostic>) -> T) -> T {
    /// The name of one may be made from the value of another, but not for ever.
    const ROUNDS: usize = 16;
    let _gathering = secret::is_any_traced().then(Gathering::begin);
    for round in 1.. {
        let mut found = Vec::new();
        let made = attempt(&mut found);
        if !secret::is_any_traced() {
            problems.append(&mut found);
            return made;
        }
        let (was_any, failures) = secret::fetch_wanted();
        if was_any && failures.is_empty() && round < ROUNDS {
            continue;
        }
        if was_any && failures.is_empty() {
            problems.push(Diagnostic::general("secret", "secrets name each other without end").help("a command that fetches one must not depend on chance"));
        }
        problems.append(&mut found);
        problems.extend(failures.into_iter().map(|(place, why)| {
            let diagnostic = Diagnostic::error("secret", &place, format!("the secret cannot be fetched: {why}"));
            diagnostic.help("it is fetched on this machine; no host has been contacted")
        }));
        return made;
    }
    unreachable!("the rounds end")
}

fn prepared(input: &Input, run: &str, problems: &mut Vec<Diagnostic>) -> (Prepared, Vec<InTemplate>) {
    let limit = limited(input, problems);
    let mut prepared = Prepared { plays: Vec::new(), hosts: BTreeMap::new(), of_hosts: 0 };
    let files = Files::new(input.contents.clone());
    let mut templates = Vec::new();
    let mut makers = Makers::default();
    for (playbook_at, playbook) in input.playbooks.iter().enumerate() {
        for (play_at, play) in playbook.plays.iter().enumerate() {
            let made = makers.named(input, play);
            let hosts = if made.is_empty() { hosts_of(input, &input.inventory, play, problems) } else { hosts_at_most(input, play, &made, problems) };
            let hosts: Vec<String> = hosts.into_iter().filter(|host| limit.as_ref().is_none_or(|limit| limit.contains(host))).collect();
            let new: Vec<String> = hosts.iter().filter(|host| !prepared.hosts.contains_key(*host)).cloned().collect();
            prepared.hosts.extend(host_plans(input, &new, run, problems));
            makers.note(play, &hosts);
            check_play(input, play, &hosts, &prepared.hosts, &files, problems, &mut templates);
            prepared.plays.push(PlayHosts { playbook: playbook_at, play: play_at, hosts, made_groups: made.into_keys().collect() });
        }
    }
    check_tags(input, problems);
    if let Some(wanted) = &input.options.start_at_task {
        check_start(input, wanted, problems);
    }
    // What is wrong for any host is told by every part.
    prepared.of_hosts = prepared.hosts.len();
    super::shard::divide(input, &mut prepared, problems);
    (prepared, templates)
}

/// How to reach hosts that came to be known during the run, and what the play has against each of them.
pub(super) fn late_plans(input: &Input, play: &Play, names: &[String], run: &str) -> Vec<(String, HostPlan, Option<String>)> {
    let mut late = Vec::new();
    for name in names {
        let mut problems = Vec::new();
        let mut plans = host_plans(input, std::slice::from_ref(name), run, &mut problems);
        let mut templates = Vec::new();
        check_play(input, play, std::slice::from_ref(name), &plans, &Files::new(input.contents.clone()), &mut problems, &mut templates);
        let trouble = problems.first().map(|problem| {
            let place = problem.span.as_ref().map(|span| format!("{}:{}: ", input.sources.get(span.source).name, input.sources.line(span)));
            format!("{}{}", place.unwrap_or_default(), problem.message)
        });
        let trouble = trouble.or_else(|| templates.first().map(|one| format!("{}: {}", one.path, one.trouble.message)));
        late.extend(plans.remove(name).map(|plan| (name.clone(), plan, trouble)));
    }
    late
}

/// How to reach hosts that no play names. All problems go to `problems`.
pub fn plans_for(input: &Input, names: &[String], run: &str, problems: &mut Vec<Diagnostic>) -> BTreeMap<String, HostPlan> {
    // This machine needs no inventory.
    if names.iter().any(|name| name == super::delegate::HERE) && !input.inventory.hosts.contains_key(super::delegate::HERE) {
        return plans_for(&super::delegate::with_this_machine(input), names, run, problems);
    }
    let (known, gone): (Vec<&String>, Vec<&String>) = names.iter().partition(|name| input.inventory.hosts.contains_key(*name));
    for name in gone {
        let message = format!("the inventory has no host `{name}` any more");
        problems.push(Diagnostic::general("unknown-host", message).help("name an inventory that has it with `-i`, or leave it out with `-l`"));
    }
    let known: Vec<String> = known.into_iter().cloned().collect();
    with_secrets(problems, |problems| host_plans(input, &known, run, problems))
}

pub(super) fn limited(input: &Input, problems: &mut Vec<Diagnostic>) -> Option<HashSet<String>> {
    let options = &input.options;
    if options.limit.is_empty() && options.exclude.is_empty() {
        return None;
    }
    let mut chosen: Option<HashSet<String>> = None;
    let mut find = |text: &str, flag: &str| match pattern_hosts(input, text) {
        Ok(hosts) => hosts.into_iter().collect::<HashSet<_>>(),
        Err(found) => {
            for one in found {
                let code = if one.is_malformed { "pattern" } else { "no-host" };
                let mut diagnostic = Diagnostic::general(code, format!("`{flag} {text}`: {}", one.message));
                diagnostic.help = one.help;
                problems.push(diagnostic);
            }
            HashSet::new()
        }
    };
    for text in &options.limit {
        let hosts = find(text, "-l");
        chosen = Some(match chosen {
            Some(before) => before.union(&hosts).cloned().collect(),
            None => hosts,
        });
    }
    let mut chosen = chosen.unwrap_or_else(|| input.inventory.hosts.keys().cloned().collect());
    for text in &options.exclude {
        let left_out = find(text, "-x");
        chosen.retain(|host| !left_out.contains(host));
    }
    Some(chosen)
}

/// The hosts that a pattern means.
///
/// # Errors
/// Each word that means nothing, or cannot be read.
pub fn pattern_hosts(input: &Input, text: &str) -> Result<Vec<String>, Vec<Mismatch>> {
    pattern_hosts_in(&input.inventory, text)
}

fn pattern_hosts_in(inventory: &Inventory, text: &str) -> Result<Vec<String>, Vec<Mismatch>> {
    let read = |path: &str| crate::diag::read_text(Path::new(path));
    let pattern = Pattern::parse(text).map_err(|message| vec![Mismatch { is_malformed: true, message, help: None }])?;
    pattern.hosts(inventory, &read)
}

/// The hosts of a play, by an inventory that may have groups of the run.
pub(super) fn hosts_of(input: &Input, inventory: &Inventory, play: &Play, problems: &mut Vec<Diagnostic>) -> Vec<String> {
    let texts: Vec<&Node> = match &play.hosts.kind {
        Kind::List(items) => items.iter().collect(),
        _ => vec![&play.hosts],
    };
    let mut layers = vec![input.extra.clone()];
    layers.extend(play.variables.iter().cloned());
    let scope = crate::template::Scope::new(layers);
    let mut found: HashSet<String> = HashSet::new();
    for (at, node) in texts.into_iter().enumerate() {
        let text = match scope.fill(node.text().unwrap_or_default()) {
            Ok(Filled::Now(value)) => value.to_string(),
            Ok(Filled::Later(_)) => continue,
            Err(trouble) => {
                let mut diagnostic = Diagnostic::error("template", &node.span, trouble.message);
                diagnostic.help = trouble.help;
                problems.push(diagnostic);
                continue;
            }
        };
        // A list means what its parts mean with commas between them, so `!web1` takes a host out here, too.
        let operator = if at == 0 { None } else { text.trim_start().chars().next().filter(|first| "!&".contains(*first)) };
        let text = if operator.is_some() { text.trim_start().trim_start_matches(['!', '&', ' ']) } else { &text };
        match pattern_hosts_in(inventory, text) {
            Ok(hosts) => match operator {
                Some('!') => hosts.iter().for_each(|host| { found.remove(host); }),
                Some(_) => found.retain(|host| hosts.contains(host)),
                None => found.extend(hosts),
            },
            Err(mismatches) => {
                let is_typed = input.sources.get(node.span.source).name == "command line";
                for one in mismatches {
                    let code = match (one.is_malformed, is_typed) {
                        (true, _) => "pattern",
                        (false, true) => "no-host",
                        (false, false) => "unknown-host",
                    };
                    let mut diagnostic = if is_typed { Diagnostic::general(code, one.message) } else { Diagnostic::error(code, &node.span, one.message) };
                    diagnostic.help = one.help;
                    problems.push(diagnostic);
                }
            }
        }
    }
    input.inventory.hosts.keys().filter(|name| found.contains(*name)).cloned().collect()
}

/// How to reach each of these and what it sees. Whatever is asked outside is asked for all of them together.
fn host_plans(input: &Input, names: &[String], run: &str, problems: &mut Vec<Diagnostic>) -> BTreeMap<String, HostPlan> {
    let group_value = groups(input);
    let mut drafts = Vec::new();
    for name in names {
        let view = HostView::new(input, name, &group_value, run);
        let settings = crate::inventory::settings(&input.inventory, name, &view.scope(input), problems);
        drafts.push((name, view, settings));
    }
    let mut targets = Targets::new(input, drafts.iter().map(|(name, _, settings)| (name.as_str(), settings)), problems);
    let mut plans = BTreeMap::new();
    for (name, view, settings) in drafts {
        let target = targets.of(name, &settings);
        let become_password = targets.become_password(name, &settings);
        let view = view.with_settings(input, name, &settings);
        plans.insert(name.clone(), HostPlan { target, settings, view, become_password });
    }
    plans
}

fn check_start(input: &Input, wanted: &str, problems: &mut Vec<Diagnostic>) {
    let mut names = Vec::new();
    for play in input.playbooks.iter().flat_map(|playbook| &playbook.plays) {
        collect_names(&play.tasks, &mut names);
    }
    if !names.iter().any(|name| name == wanted) {
        let diagnostic = Diagnostic::general("unknown-task", format!("`--start-at-task`: no task is named `{wanted}`"));
        problems.push(diagnostic.suggest(wanted, names.iter().map(String::as_str)));
    }
}

/// A tag that no task has is a slip: it would choose nothing, and look like success.
fn check_tags(input: &Input, problems: &mut Vec<Diagnostic>) {
    let mut known: BTreeSet<&str> = BTreeSet::from(["all", "always", "never"]);
    for play in input.playbooks.iter().flat_map(|playbook| &playbook.plays) {
        for task in play.tasks.iter().chain(&play.handlers) {
            collect_tags(task, &mut known);
        }
    }
    for (flag, tags) in [("-t", &input.options.tags), ("--skip-tags", &input.options.skip_tags)] {
        for tag in tags.iter().filter(|tag| !known.contains(tag.as_str())) {
            let diagnostic = Diagnostic::general("unknown-tag", format!("`{flag} {tag}`: no task has this tag"));
            problems.push(diagnostic.suggest(tag, known.iter().copied()));
        }
    }
}

fn collect_tags<'a>(task: &'a Task, known: &mut BTreeSet<&'a str>) {
    known.extend(task.tags.iter().map(String::as_str));
    if let Body::Block { tasks, rescue, always } = &task.body {
        tasks.iter().chain(rescue).chain(always).for_each(|task| collect_tags(task, known));
    }
}

fn collect_names(tasks: &[Arc<Task>], names: &mut Vec<String>) {
    for task in tasks {
        names.extend(task.name.text().map(str::to_owned));
        if let Body::Block { tasks, rescue, always } = &task.body {
            for part in [tasks, rescue, always] {
                collect_names(part, names);
            }
        }
    }
}

/// Hosts whose variables stand in the same places are checked once.
fn check_play(
    input: &Input,
    play: &Play,
    hosts: &[String],
    plans: &BTreeMap<String, HostPlan>,
    files: &Files,
    problems: &mut Vec<Diagnostic>,
    templates: &mut Vec<InTemplate>,
) {
    let mut seen = BTreeSet::new();
    let mut reported = BTreeSet::new();
    for host in hosts {
        let Some(plan) = plans.get(host) else { continue };
        let class: Vec<usize> = plan.view.inventory.iter().map(|layer| Arc::as_ptr(layer) as usize).collect();
        // A secret of its own must be fetched for each.
        let own = secret::is_any_per_host().then_some(host);
        if !seen.insert((class, own)) {
            continue;
        }
        let mut check = Check {
            input,
            play,
            plan,
            files,
            host,
            results: vec![Arc::new(facts_layer(&serde_json::Map::new())), Arc::default()],
            problems,
            reported: &mut reported,
            written: BTreeMap::new(),
            either_or: 0,
            templates,
        };
        for task in &play.tasks {
            check.task(task, &[]);
        }
        for task in &play.health {
            check.task(task, &[]);
        }
        // Which of them run is known later.
        check.either_or += 1;
        for task in &play.handlers {
            check.task(task, &[]);
        }
    }
}

impl InTemplate {
    /// Points into the template; the task that renders it is named below.
    fn drawn(self, sources: &mut crate::diag::Sources) -> Diagnostic {
        let used_at = format!("rendered by {}:{}", sources.get(self.used_at.source).name, sources.line(&self.used_at));
        let line_start = |line: usize| self.text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum::<usize>();
        let bytes = match (self.trouble.range.clone(), self.trouble.line) {
            (Some(range), _) => range,
            (None, Some(line)) => {
                let start = line_start(line).min(self.text.len());
                start..start + self.text[start..].lines().next().unwrap_or_default().len()
            }
            (None, None) => 0..0,
        };
        let source = sources.add(self.path, self.text);
        let mut diagnostic = Diagnostic::error("template", &crate::diag::Span { source, bytes }, self.trouble.message).label(used_at);
        diagnostic.help = self.trouble.help;
        diagnostic
    }
}

struct Check<'a> {
    input: &'a Input,
    play: &'a Play,
    plan: &'a HostPlan,
    files: &'a Files,
    host: &'a str,
    results: Vec<Arc<Layer>>,
    problems: &'a mut Vec<Diagnostic>,
    reported: &'a mut BTreeSet<(crate::diag::SourceId, usize, String)>,
    /// Where the whole content of a file comes from, by user and path.
    written: BTreeMap<(String, String), crate::diag::Span>,
    /// Inside of parts that run instead of others: `rescue`, handlers.
    either_or: usize,
    templates: &'a mut Vec<InTemplate>,
}

/// A problem in a template file, which is shown at its own place.
struct InTemplate {
    path: String,
    text: Arc<str>,
    trouble: crate::template::Trouble,
    used_at: crate::diag::Span,
}

impl Check<'_> {
    fn report(&mut self, node: &Node, message: String, help: Option<String>) {
        self.report_as("template", node, message, help);
    }

    fn report_as(&mut self, code: &'static str, node: &Node, message: String, help: Option<String>) {
        self.report_with(code, node, crate::template::Trouble { message, help, range: None, line: None, meant: None });
    }

    fn report_trouble(&mut self, node: &Node, trouble: crate::template::Trouble) {
        self.report_with("template", node, trouble);
    }

    fn report_with(&mut self, code: &'static str, node: &Node, trouble: crate::template::Trouble) {
        let crate::template::Trouble { message, help, meant, .. } = trouble;
        if self.reported.insert((node.span.source, node.span.bytes.start, message.clone())) {
            let mut diagnostic = Diagnostic::error(code, &node.span, message);
            diagnostic.help = help;
            if self.input.inventory.hosts.len() > 1 {
                diagnostic.label = format!("for host `{}`", self.host);
            }
            self.problems.push(diagnostic.remedied(meant));
        }
    }

    fn task(&mut self, task: &Arc<Task>, bindings: &[Arc<Layer>]) {
        for bindings in self.bound(task, bindings) {
            self.one(task, &bindings);
        }
        // From here on its result is there.
        let names = step::names_made_by(task);
        if !names.is_empty() {
            Arc::make_mut(&mut self.results[1]).entries.extend(step::later_layer(names).entries);
        }
    }

    fn one(&mut self, task: &Arc<Task>, bindings: &[Arc<Layer>]) {
        match &task.body {
            Body::Block { tasks, rescue, always } => {
                for inner in tasks {
                    self.task(inner, bindings);
                }
                self.either_or += 1;
                for inner in rescue.iter().chain(always) {
                    self.task(inner, bindings);
                }
                self.either_or -= 1;
            }
            // What nobody has chosen needs no secrets.
            Body::Module { module, arguments } if secret::is_any_traced() && !is_chosen(&self.input.options, task) => {
                secret::without_noting(|| self.module(task, module, arguments, bindings));
            }
            Body::Module { module, arguments } => {
                self.module(task, module, arguments, bindings);
                if secret::is_any_traced() {
                    self.note_secrets(task, bindings);
                }
            }
            Body::FlushHandlers | Body::EndPlay | Body::ResetConnection | Body::ClearFacts => {
                let scope = self.plan.view.task_scope(self.input, self.play, task, bindings, &self.results);
                if let Err((node, trouble)) = step::all_hold(&scope, &task.when) {
                    self.report_trouble(&node, trouble);
                }
            }
        }
    }

    /// The bindings inside the task's loop, one for each item; none when the loop is empty or wrong.
    fn bound(&mut self, task: &Arc<Task>, bindings: &[Arc<Layer>]) -> Vec<Vec<Arc<Layer>>> {
        /// More items than these are taken to be like the others.
        const ITEMS: usize = 200;
        let Some(repeat) = &task.repeat else { return vec![bindings.to_vec()] };
        let scope = self.plan.view.task_scope(self.input, self.play, task, bindings, &self.results);
        let items = match step::items(&scope, &repeat.items) {
            Ok(Filled::Now(items)) => items.into_iter().take(ITEMS).map(Some).collect(),
            Ok(Filled::Later(_)) => vec![None],
            Err((node, trouble)) => {
                if matches!(step::all_hold(&scope, &task.when), Ok(Filled::Now(true))) {
                    self.report_trouble(&node, trouble);
                }
                Vec::new()
            }
        };
        let within = |(index, item): (usize, Option<Value>)| {
            let mut layer = match item {
                Some(item) => Layer::default().with(&repeat.variable, item),
                None => step::later_layer([repeat.variable.clone()]),
            };
            if let Some(name) = &repeat.index_variable {
                layer = layer.with(name, index);
            }
            let mut inner = bindings.to_vec();
            inner.insert(0, Arc::new(layer));
            inner
        };
        items.into_iter().enumerate().map(within).collect()
    }

    fn module(&mut self, task: &Arc<Task>, module: &'static crate::module::Registration, arguments: &Node, bindings: &[Arc<Layer>]) {
        let scope = self.plan.view.task_scope(self.input, self.play, task, bindings, &self.results);
        let certain = match step::all_hold(&scope, &task.when) {
            Ok(Filled::Now(false)) => return,
            Ok(Filled::Now(true)) => true,
            Ok(Filled::Later(_)) => false,
            Err((node, trouble)) => {
                self.report_trouble(&node, trouble);
                return;
            }
        };
        let mut missing = Later::default();
        let filled = match step::fill_arguments(&scope, module, arguments, &mut missing) {
            Ok(filled) => filled,
            Err((node, trouble)) => {
                if certain {
                    self.report_trouble(&node, trouble);
                }
                return;
            }
        };
        let mut found = Vec::new();
        let act = module.read(&filled, &mut found);
        let hides = task.defaults.no_log.or(self.play.defaults.no_log).unwrap_or(false) && has_hole(arguments);
        for mut problem in found {
            if hides {
                // The message may quote the value.
                problem.message = format!("an argument of `{}` does not fit; what is wrong with it is {}", module.name, step::HIDDEN);
                problem.help = None;
            }
            let place = problem.span.clone().map_or_else(|| arguments.clone(), |span| Node::new(&span, Kind::None));
            let known = self.problems.iter().any(|one| one.span == problem.span && one.message == problem.message);
            if certain && !known && self.reported.insert((place.span.source, place.span.bytes.start, problem.message.clone())) {
                self.problems.push(problem);
            }
        }
        let ground = Ground { files: self.files, home: &|_| None, become_default: None, become_user: None, login_user: None, default_limit: Duration::ZERO };
        if let Err((node, trouble)) = step::user_of(&scope, task, &self.play.defaults, &ground)
            && certain
        {
            self.report_trouble(&node, trouble);
        }
        self.judgements(task, bindings, certain);
        if certain {
            self.delegation(task, &scope);
        }
        self.written_once(task, module.name, &filled, bindings);
        let (Some(act), true) = (act, missing.names.is_empty()) else { return };
        for wanted in act.wants() {
            self.wanted(task, arguments, &wanted, &scope, certain);
        }
    }

    /// Notes the secrets that a task asks for only when something is known that a host has still to say.
    fn note_secrets(&mut self, task: &Arc<Task>, bindings: &[Arc<Layer>]) {
        let scope = self.plan.view.task_scope(self.input, self.play, task, bindings, &self.results);
        if matches!(step::all_hold(&scope, &task.when), Ok(Filled::Now(false))) {
            return;
        }
        let mut texts = Vec::new();
        own_texts(task, &mut texts);
        if let Body::Module { module, arguments } = &task.body
            && let Ok(filled) = step::fill_arguments(&scope, module, arguments, &mut Later::default())
            && let Some(act) = module.read(&filled, &mut Vec::new())
        {
            for wanted in act.wants().iter().filter(|wanted| wanted.kind == WantedKind::Template) {
                let text = Files::find(task, wanted).and_then(|path| self.files.template(&path));
                texts.extend(text.ok().map(|text| (text.to_string(), false)));
            }
        }
        let _noted = step::environment(&scope, task, &self.play.defaults);
        let mut seen = BTreeSet::new();
        while let Some((text, is_expression)) = texts.pop() {
            if !seen.insert(text.clone()) {
                continue;
            }
            let outcome = if is_expression { scope.eval(&text).map(as_later) } else { scope.render(&text).map(as_later) };
            // What is known took the way that it takes in the run; a part of the rest may have been passed by.
            if outcome.is_ok_and(|later| later.is_none_or(|later| later.is_only_secrets())) {
                continue;
            }
            for name in crate::template::names_in(&text, is_expression) {
                let _noted = scope.eval(&name);
                if let Some(node) = scope.written_as(name.split('.').next().unwrap_or_default()) {
                    node_texts(node, false, &mut texts);
                }
            }
        }
    }

    /// The host on which a task is to be done instead must be known.
    fn delegation(&mut self, task: &Task, scope: &Arc<crate::template::Scope>) {
        let Some(node) = &task.defaults.delegate_to else { return };
        match scope.fill(node.text().unwrap_or_default()) {
            Ok(Filled::Now(name)) => {
                let (name, hosts) = (name.to_string(), &self.input.inventory.hosts);
                if hosts.contains_key(&name) || name == super::delegate::HERE || super::made_groups::adds_hosts(self.input) {
                    return;
                }
                let nearest = Diagnostic::error("unknown-host", &node.span, "").suggest(&name, hosts.keys().map(String::as_str)).help;
                let help = nearest.unwrap_or_else(|| "`localhost` is this machine; others must be in the inventory".into());
                self.report_as("unknown-host", node, format!("the inventory has no host `{name}` to delegate to"), Some(help));
            }
            Ok(Filled::Later(_)) => {}
            Err(trouble) => self.report_trouble(node, trouble),
        }
    }

    /// Two tasks that give a file its whole content would undo each other at every run.
    fn written_once(&mut self, task: &Task, module: &str, filled: &Node, bindings: &[Arc<Layer>]) {
        let is_plain = |key: &str| filled.get(key).is_none_or(|value| value.kind == Kind::Boolean(false));
        let whole = module == "template" || module == "copy" && is_plain("remote_src");
        let always = filled.get("force").is_none_or(|force| force.kind == Kind::Boolean(true));
        let Some(dest) = filled.get("dest").filter(|_| whole && always) else { return };
        let Some(path) = dest.text().filter(|path| !path.ends_with('/')) else { return };
        let is_folder = filled.get("src").and_then(Node::text).is_some_and(|src| {
            let wanted = crate::module::Wanted { path: src.to_owned(), kind: WantedKind::Copy };
            Files::find(task, &wanted).is_ok_and(|path| path.is_dir())
        });
        // What may be chosen by a condition or a tag may well be meant.
        if is_folder || self.either_or > 0 || !task.when.is_empty() || !task.tags.is_empty() {
            return;
        }
        let user = task.defaults.become_user.as_ref().and_then(Node::text).unwrap_or_default();
        let user = format!("{:?} {user}", task.defaults.become_it);
        let place = dest.span.clone();
        let known = self.written.insert((user, path.to_owned()), place.clone());
        let in_a_loop = !bindings.is_empty();
        let Some(first) = known.filter(|first| *first != place || in_a_loop) else { return };
        let line = self.input.sources.line(&first);
        let message = if first == place {
            format!("`{path}` is managed more than once: each item of the loop would write it")
        } else {
            format!("`{path}` is managed twice: line {line} gives it its content, too")
        };
        self.report_as("duplicate", dest, message, Some("each run would change it back and forth; keep one of them, or say with `when` which is meant".into()));
    }

    /// What is only used around or after the task: its verdicts, environment, and notices.
    fn judgements(&mut self, task: &Arc<Task>, bindings: &[Arc<Layer>], certain: bool) {
        if !certain {
            return;
        }
        let mut own = bindings.to_vec();
        own.insert(0, Arc::new(step::later_layer(std::iter::once("result".to_owned()).chain(task.register.clone()))));
        let judged = self.plan.view.task_scope(self.input, self.play, task, &own, &self.results);
        for node in task.until.iter().chain(&task.changed_when).chain(&task.failed_when) {
            if let Err(trouble) = step::holds(&judged, node) {
                self.report_trouble(node, trouble);
            }
        }
        let scope = self.plan.view.task_scope(self.input, self.play, task, bindings, &self.results);
        if let Some(node) = &task.defaults.ignore_errors
            && let Err(trouble) = step::holds(&scope, node)
        {
            self.report_trouble(node, trouble);
        }
        if let Err((node, trouble)) = step::environment(&scope, task, &self.play.defaults) {
            self.report_trouble(&node, trouble);
        }
        let label = task.repeat.as_ref().and_then(|repeat| repeat.label.as_ref());
        for node in std::iter::once(&task.name).chain(label) {
            if let Err(trouble) = scope.fill(node.text().unwrap_or_default()) {
                self.report_trouble(node, trouble);
            }
        }
        for node in &task.notify {
            match scope.fill(node.text().unwrap_or_default()) {
                Ok(Filled::Now(name)) if crate::template::is_template(node.text().unwrap_or_default()) => {
                    let name = name.to_string();
                    if !self.play.is_handled(&name) {
                        self.report(node, format!("there is no handler `{name}`"), None);
                    }
                }
                Ok(_) => {}
                Err(trouble) => self.report_trouble(node, trouble),
            }
        }
    }

    fn wanted(&mut self, task: &Task, arguments: &Node, wanted: &crate::module::Wanted, scope: &Arc<crate::template::Scope>, certain: bool) {
        let place = arguments.get("src").unwrap_or(arguments).clone();
        let path = match Files::find(task, wanted) {
            Ok(path) => path,
            Err(message) => {
                if certain {
                    self.report(&place, message, Some("a path on the controller is relative to the file that names it".into()));
                }
                return;
            }
        };
        let trouble = match wanted.kind {
            WantedKind::Copy => self.files.copy(&path).err().map(|message| (message, None)),
            WantedKind::Template => match self.files.template(&path) {
                Err(message) => Some((message, None)),
                Ok(text) => match scope.render(&text) {
                    Ok(_) => None,
                    Err(_) if !certain => None,
                    Err(trouble) => {
                        let path = path.display().to_string();
                        if self.reported.insert((place.span.source, place.span.bytes.start, format!("{path} {}", trouble.message))) {
                            self.templates.push(InTemplate { path, text: text.clone(), trouble, used_at: place.span.clone() });
                        }
                        None
                    }
                },
            },
        };
        if let Some((message, help)) = trouble {
            self.report(&place, message, help);
        }
    }
}

fn as_later<T>(filled: Filled<T>) -> Option<Later> {
    match filled {
        Filled::Now(_) => None,
        Filled::Later(later) => Some(later),
    }
}

fn has_hole(node: &Node) -> bool {
    match &node.kind {
        Kind::Text(text) => crate::template::is_template(text),
        Kind::List(items) => items.iter().any(has_hole),
        Kind::Table(entries) => entries.iter().any(|entry| has_hole(&entry.value)),
        _ => false,
    }
}

/// Whether a task is chosen by its tags.
pub fn is_chosen(options: &Options, task: &Task) -> bool {
    let has = |tag: &String| task.tags.contains(tag);
    if options.skip_tags.iter().any(has) {
        return false;
    }
    if options.tags.is_empty() || options.tags.iter().any(|tag| tag == "all") {
        return !task.tags.iter().any(|tag| tag == "never");
    }
    options.tags.iter().any(has) || task.tags.iter().any(|tag| tag == "always")
}

/// A task outside any loop.
pub fn unbound(task: Arc<Task>, is_handler: bool) -> Bound {
    Bound { task, bindings: Vec::new(), item: None, label: None, series: None, is_handler, has_met: false }
}

/// The collectors of facts that a play names anywhere: in its tasks, its variables, or those of the inventory.
pub fn facts_in(input: &Input, play: &Play) -> BTreeSet<String> {
    let mut texts = Vec::new();
    for task in play.tasks.iter().chain(&play.handlers).chain(&play.health) {
        task_texts(task, &mut texts);
    }
    let layers = play.variables.iter().chain(std::iter::once(&input.extra));
    for entry in layers.flat_map(|layer| layer.entries.values()) {
        if let crate::template::Entry::Authored(node) = entry {
            node_texts(node, false, &mut texts);
        }
    }
    crate::playbook::collectors(texts.iter().map(|(text, is_expression)| (text.as_str(), *is_expression)))
}

fn task_texts(task: &Task, texts: &mut Vec<(String, bool)>) {
    own_texts(task, texts);
    for entry in task.variables.iter().chain(&task.role_defaults).flat_map(|layer| layer.entries.values()) {
        if let crate::template::Entry::Authored(node) = entry {
            node_texts(node, false, texts);
        }
    }
    if let Body::Block { tasks, rescue, always } = &task.body {
        tasks.iter().chain(rescue).chain(always).for_each(|task| task_texts(task, texts));
    }
}

/// The texts of a task itself, with whether each is an expression.
fn own_texts(task: &Task, texts: &mut Vec<(String, bool)>) {
    for node in task.when.iter().chain(&task.changed_when).chain(&task.failed_when).chain(&task.until) {
        node_texts(node, true, texts);
    }
    if let Some(repeat) = &task.repeat {
        node_texts(&repeat.items, false, texts);
    }
    node_texts(&task.name, false, texts);
    if let Body::Module { module, arguments } = &task.body {
        for entry in arguments.entries() {
            node_texts(&entry.value, module.expressions.contains(&entry.key.name.as_str()), texts);
        }
    }
}

fn node_texts(node: &Node, is_expression: bool, texts: &mut Vec<(String, bool)>) {
    match &node.kind {
        Kind::Text(text) if is_expression || crate::template::is_template(text) => texts.push((text.clone(), is_expression)),
        Kind::List(items) => items.iter().for_each(|item| node_texts(item, is_expression, texts)),
        Kind::Table(entries) => entries.iter().for_each(|entry| node_texts(&entry.value, is_expression, texts)),
        _ => {}
    }
}
