//! From the tree of an inventory file to hosts and groups.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use indexmap::IndexMap;
use serde::Deserialize;

use super::{Connection, Destination, Group, HOST_LIMIT, Host, Inventory, Level, Method, Settings, names};
use crate::secret::Secret;
use crate::diag::{Diagnostic, Entry, Key, Kind, Node, Sources, Span, decode_with};
use crate::template::{Later, Layer, Scope};

/// Connection settings that a host, a group or the top of a file may have.
const SETTINGS: &[&str] = &[
    "address", "port", "user", "key", "jump", "connection", "become", "become_user", "become_method", "host_key",
    "legacy_ssh", "connect_timeout", "password", "password_file", "become_password", "become_password_file", "keep_days", "keep_runs", "keep_mb",
];
/// Settings that other tools call otherwise.
const ELSEWHERE: &[(&str, &str)] = &[
    ("ansible_host", "address"),
    ("ansible_port", "port"),
    ("ansible_user", "user"),
    ("ansible_ssh_private_key_file", "key"),
    ("ansible_connection", "connection"),
    ("ansible_become", "become"),
    ("ansible_become_user", "become_user"),
    ("ansible_become_method", "become_method"),
    ("ansible_password", "password_file"),
    ("ansible_become_password", "become_password_file"),
];

/// Names that templates already give a meaning to.
pub const RESERVED: &[&str] = &["facts", "host", "hostvars", "groups", "item", "result", "run"];

/// Collects the files of one inventory.
#[derive(Default)]
pub struct Builder {
    hosts: IndexMap<String, (Option<Span>, Arc<Level>)>,
    groups: IndexMap<String, Draft>,
    all: Level,
    /// Some file has a `[hosts]` table, so members of groups must be in one.
    listed: bool,
}

#[derive(Default)]
struct Draft {
    span: Option<Span>,
    level: Level,
    members: Vec<(String, Span)>,
    children: Vec<(String, Span)>,
}

impl Builder {
    /// Hosts from the command line: `web1,web2,`.
    pub fn add_names(&mut self, list: &str, sources: &mut Sources, problems: &mut Vec<Diagnostic>) {
        let source = sources.add("command line", list);
        let span = Span { source, bytes: 0..list.len() };
        for word in split_names(list) {
            let key = Key { name: word.to_owned(), span: span.clone() };
            self.add_host(&key, Arc::default(), problems);
        }
    }

    /// Adds one file.
    pub fn add(&mut self, tree: &Node, problems: &mut Vec<Diagnostic>) {
        for entry in tree.entries() {
            match entry.key.name.as_str() {
                "hosts" => {
                    self.listed = true;
                    self.add_hosts(&entry.value, problems);
                }
                "groups" => match &entry.value.kind {
                    Kind::Table(groups) => groups.iter().for_each(|group| self.add_group(group, problems)),
                    _ => problems.push(must_be_table("groups", &entry.value)),
                },
                _ => {}
            }
        }
        let rest: Vec<Entry> =
            tree.entries().iter().filter(|entry| !["hosts", "groups"].contains(&entry.key.name.as_str())).cloned().collect();
        let level = level(&rest, &["hosts", "groups"], "setting of an inventory", problems);
        merge(&mut self.all, level);
    }

    fn add_hosts(&mut self, node: &Node, problems: &mut Vec<Diagnostic>) {
        let Kind::Table(hosts) = &node.kind else {
            problems.push(must_be_table("hosts", node).help("write `[hosts]` and below it one line per host, such as `web1 = {}`"));
            return;
        };
        for entry in hosts {
            let level = host_level(&entry.value, problems);
            self.add_host(&entry.key, Arc::new(level), problems);
        }
    }

    fn add_host(&mut self, key: &Key, level: Arc<Level>, problems: &mut Vec<Diagnostic>) {
        let found = match names::expanded(&key.name) {
            Ok(found) => found,
            Err(reason) => {
                problems.push(Diagnostic::error("host-name", &key.span, format!("`{}`: {reason}", key.name)));
                return;
            }
        };
        for name in found {
            if name == "all" {
                let diagnostic = Diagnostic::error("host-name", &key.span, "`all` means every host, so none can have that name");
                problems.push(diagnostic.help("give the host another name, and its address as `address`"));
                return;
            }
            if let Err(reason) = check_name(&name) {
                problems.push(Diagnostic::error("host-name", &key.span, format!("`{}` is no host name: {reason}", key.name.escape_debug())));
                return;
            }
            if self.hosts.len() >= HOST_LIMIT {
                problems.push(Diagnostic::error("too-many", &key.span, format!("the inventory has more than {HOST_LIMIT} hosts")));
                return;
            }
            if self.hosts.insert(name.clone(), (Some(key.span.clone()), level.clone())).is_some() {
                problems.push(Diagnostic::error("duplicate", &key.span, format!("the host `{name}` is listed twice")));
            }
        }
    }

    fn add_group(&mut self, entry: &Entry, problems: &mut Vec<Diagnostic>) {
        let name = &entry.key.name;
        if let Err(reason) = check_name(name) {
            problems.push(Diagnostic::error("group-name", &entry.key.span, format!("`{}` is no group name: {reason}", name.escape_debug())));
            return;
        }
        let listed = ["hosts", "children"].iter().find_map(|key| entry.value.get(key));
        if let Some(list) = listed.filter(|_| name == "all") {
            let diagnostic = Diagnostic::error("group-name", &list.span, "the group `all` always has every host");
            problems.push(diagnostic.help("leave the list out; settings and `vars` of `[groups.all]` hold for all hosts"));
            return;
        }
        if !matches!(entry.value.kind, Kind::Table(_)) {
            problems.push(must_be_table(name, &entry.value).help(format!("write `[groups.{name}]` and below it `hosts = [\"web1\", …]`")));
            return;
        }
        let mut members = Vec::new();
        let mut children = Vec::new();
        for part in entry.value.entries() {
            match (part.key.name.as_str(), &part.value.kind) {
                ("hosts", Kind::Table(hosts)) => {
                    for host in hosts {
                        let level = host_level(&host.value, problems);
                        self.add_host(&host.key, Arc::new(level), problems);
                        members.push((host.key.name.clone(), host.key.span.clone()));
                    }
                }
                ("hosts", _) => members = texts(part, problems),
                ("children", _) => children = texts(part, problems),
                _ => {}
            }
        }
        let rest: Vec<Entry> =
            entry.value.entries().iter().filter(|part| !["hosts", "children"].contains(&part.key.name.as_str())).cloned().collect();
        let level = level(&rest, &["hosts", "children"], "setting of a group", problems);
        if name == "all" {
            merge(&mut self.all, level);
            return;
        }
        let draft = self.groups.entry(name.clone()).or_default();
        draft.span.get_or_insert_with(|| entry.key.span.clone());
        merge(&mut draft.level, level);
        draft.members.extend(members);
        draft.children.extend(children);
    }

    /// Resolves members and children. Problems between files are found here.
    pub fn finish(mut self, problems: &mut Vec<Diagnostic>) -> Inventory {
        let mut direct: IndexMap<String, Vec<String>> = IndexMap::new();
        let drafts = std::mem::take(&mut self.groups);
        for (group, draft) in &drafts {
            let mut members = Vec::new();
            for (text, span) in &draft.members {
                members.extend(self.members(text, span, problems));
            }
            direct.insert(group.clone(), members);
            if self.hosts.contains_key(group)
                && let Some(span) = &draft.span
            {
                problems.push(Diagnostic::error("duplicate", span, format!("`{group}` is a host and a group; a pattern could mean either")));
            }
            for (child, span) in &draft.children {
                if !drafts.contains_key(child) {
                    let names = drafts.keys().map(String::as_str);
                    problems.push(Diagnostic::error("unknown-group", span, format!("there is no group `{child}`")).suggest(child, names));
                }
            }
        }
        cycles(&drafts, problems);
        self.duplicates_by_case(problems);
        let depths = depths(&drafts);
        let mut in_groups: HashMap<String, Vec<String>> = HashMap::new();
        let mut groups = IndexMap::new();
        for (name, draft) in &drafts {
            let mut all = BTreeSet::new();
            let mut found: Vec<String> = Vec::new();
            collect(name, &drafts, &direct, &mut BTreeSet::new(), &mut |host| {
                if all.insert(host.to_owned()) {
                    found.push(host.to_owned());
                }
            });
            for host in &found {
                in_groups.entry(host.clone()).or_default().push(name.clone());
            }
            let children = draft.children.iter().map(|(child, _)| child.clone()).collect();
            groups.insert(name.clone(), (found, children));
        }
        let mut levels: HashMap<String, Arc<Level>> = drafts.into_iter().map(|(name, draft)| (name, Arc::new(draft.level))).collect();
        let hosts = self
            .hosts
            .into_iter()
            .map(|(name, (span, level))| {
                let mut groups = in_groups.remove(&name).unwrap_or_default();
                // A child's settings win over its parent's; between equals the one written later wins.
                groups.reverse();
                groups.sort_by_key(|group| std::cmp::Reverse(depths.get(group).copied().unwrap_or(0)));
                (name.clone(), Host { name, span, level, groups })
            })
            .collect();
        let groups = groups
            .into_iter()
            .map(|(name, (hosts, children))| {
                let level = levels.remove(&name).unwrap_or_default();
                (name, Group { level, hosts, children })
            })
            .collect();
        let inventory = Inventory { hosts, groups, all: Arc::new(self.all) };
        duplicates_by_address(&inventory, problems);
        inventory
    }

    fn members(&mut self, text: &str, span: &Span, problems: &mut Vec<Diagnostic>) -> Vec<String> {
        let found = match names::expanded(text) {
            Ok(found) => found,
            Err(reason) => {
                problems.push(Diagnostic::error("host-name", span, format!("`{text}`: {reason}")));
                return Vec::new();
            }
        };
        for name in &found {
            if self.hosts.contains_key(name) {
                continue;
            }
            if self.listed {
                let known = self.hosts.keys().map(String::as_str);
                let diagnostic = Diagnostic::error("unknown-host", span, format!("the host `{name}` is not listed under `[hosts]`"));
                problems.push(diagnostic.suggest(name, known));
                return Vec::new();
            }
            let key = Key { name: name.clone(), span: span.clone() };
            self.add_host(&key, Arc::default(), problems);
        }
        found
    }

    fn duplicates_by_case(&self, problems: &mut Vec<Diagnostic>) {
        let mut seen: HashMap<String, &str> = HashMap::new();
        for (name, (span, _)) in &self.hosts {
            if let (Some(other), Some(span)) = (seen.insert(name.to_lowercase(), name), span) {
                let message = format!("the hosts `{other}` and `{name}` differ only in case");
                problems.push(Diagnostic::error("duplicate", span, message).help("host names are the same in either case; keep one"));
            }
        }
    }
}

/// Two names for one login on one machine: their runs would work against each other. Simulated fleets do that on
/// purpose, on the addresses of this machine.
fn duplicates_by_address(inventory: &Inventory, problems: &mut Vec<Diagnostic>) {
    let mut seen: HashMap<String, &str> = HashMap::new();
    for (name, host) in &inventory.hosts {
        let own = |key: &str| host.level.settings.iter().find(|(setting, _)| setting == key).map(|(_, node)| node);
        let Some((text, address)) = own("address").and_then(|node| Some((node, node.text()?))) else { continue };
        let is_here = address.starts_with("127.") || ["::1", "localhost"].contains(&address) || crate::template::is_template(address);
        if is_here {
            continue;
        }
        let mut identity = address.to_lowercase();
        let levels = inventory.levels(name);
        for key in ["port", "user", "jump", "connection"] {
            let node = levels.iter().flat_map(|level| &level.settings).find(|(setting, _)| setting == key);
            identity.push_str(&node.map_or_else(String::new, |(_, node)| format!(" {key} {:?}", node.kind)));
        }
        if let Some(other) = seen.insert(identity, name) {
            let message = format!("the hosts `{other}` and `{name}` are the same login on the same address");
            problems.push(Diagnostic::error("duplicate", &text.span, message).help("keep one of the two names"));
        }
    }
}

fn split_names(list: &str) -> Vec<&str> {
    let (mut words, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, letter) in list.char_indices() {
        match letter {
            '[' => depth += 1,
            ']' => depth -= 1,
            ',' if depth == 0 => {
                words.push(list[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    words.push(list[start..].trim());
    words.retain(|word| !word.is_empty());
    words
}

fn must_be_table(name: &str, node: &Node) -> Diagnostic {
    Diagnostic::error("arg-type", &node.span, format!("`{name}` must be a table")).label(format!("this is {}", node.what()))
}

/// Host and group names go into files, patterns and, as addresses, to the resolver.
fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("it is empty");
    }
    if name.starts_with('-') {
        return Err("it begins with `-`");
    }
    if name.len() > 253 {
        return Err("it is longer than 253 characters");
    }
    let good = |letter: char| letter.is_ascii_alphanumeric() || "._:%-".contains(letter);
    if !name.chars().all(good) {
        return Err("only letters, digits and `.` `_` `:` `%` `-` may stand in it");
    }
    Ok(())
}

fn texts(entry: &Entry, problems: &mut Vec<Diagnostic>) -> Vec<(String, Span)> {
    let Kind::List(items) = &entry.value.kind else {
        let message = format!("`{}` must be a list of names", entry.key.name);
        problems.push(Diagnostic::error("arg-type", &entry.value.span, message).label(format!("this is {}", entry.value.what())));
        return Vec::new();
    };
    let mut found = Vec::new();
    for item in items {
        match item.text() {
            Some(text) => found.push((text.to_owned(), item.span.clone())),
            None => problems.push(
                Diagnostic::error("arg-type", &item.span, format!("`{}` must be a list of names", entry.key.name))
                    .label(format!("this is {}", item.what())),
            ),
        }
    }
    found
}

fn host_level(node: &Node, problems: &mut Vec<Diagnostic>) -> Level {
    match &node.kind {
        Kind::Table(entries) => level(entries, &[], "setting of a host", problems),
        // The short form: a host is its address.
        Kind::Text(_) => Level { settings: vec![("address".into(), node.clone())], variables: Arc::default() },
        _ => {
            let diagnostic = Diagnostic::error("arg-type", &node.span, "a host must be a table of settings, or an address");
            problems.push(diagnostic.label(format!("this is {}", node.what())).help("write `web1 = {}` or `web1 = { address = \"10.0.0.1\" }`"));
            Level::default()
        }
    }
}

fn level(entries: &[Entry], also: &[&str], noun: &str, problems: &mut Vec<Diagnostic>) -> Level {
    let mut level = Level::default();
    for entry in entries {
        let name = entry.key.name.as_str();
        if name == "vars" {
            check_variables(&entry.value, problems);
            level.variables = Arc::new(Layer::authored(&entry.value));
        } else if ["password", "become_password"].contains(&name) && !has_template(&entry.value) {
            let message = format!("`{name}` would stand in the inventory for everybody to read");
            let help = format!("name a file with `{name}_file`, a variable, `{name} = \"{{{{ secret }}}}\"`, or a command, `{name} = {{ secret_from_command = [\"pass\", \"show\", \"…\"] }}`");
            problems.push(Diagnostic::error("plain-password", &entry.value.span, message).help(help));
        } else if SETTINGS.contains(&name) {
            level.settings.push((name.to_owned(), entry.value.clone()));
        } else {
            let known = SETTINGS.iter().copied().chain(["vars"]).chain(also.iter().copied());
            let (what, of) = noun.split_once(" of ").unwrap_or((noun, "an inventory"));
            let diagnostic = Diagnostic::error("unknown-key", &entry.key.span, format!("unknown {what} `{name}` of {of}"));
            let mut diagnostic = diagnostic.suggest_name(name, known);
            if let Some((_, instead)) = ELSEWHERE.iter().find(|(known, _)| *known == name) {
                (diagnostic.help, diagnostic.remedy) = (Some(format!("`mutate` has `{instead}` for that")), None);
            } else if diagnostic.help.is_none() {
                diagnostic.help = Some(format!("if it is a variable, put it under `vars`: `vars = {{ {name} = … }}`"));
            }
            problems.push(diagnostic);
        }
    }
    // Templates are checked when they are filled; everything else can be checked for its type here.
    let plain: Vec<Entry> = level
        .settings
        .iter()
        .filter(|(_, node)| !has_template(node))
        .map(|(name, node)| Entry { key: Key { name: name.clone(), span: node.span.clone() }, value: node.clone() })
        .collect();
    if let Some(first) = plain.first() {
        let table = Node::new(&first.value.span, Kind::Table(plain.clone()));
        let _checked: Option<Written> = decode_with(&table, noun, problems);
    }
    level
}

fn has_template(node: &Node) -> bool {
    match &node.kind {
        Kind::Secret(_) => true,
        Kind::Text(text) => crate::template::is_template(text),
        Kind::List(items) => items.iter().any(has_template),
        _ => false,
    }
}

/// Whether a variable may have this name: letters, digits and `_`, and no digit first.
pub fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        && !name.starts_with(|letter: char| letter.is_ascii_digit())
}

/// Names and templates of a `vars` table.
pub fn check_variables(table: &Node, problems: &mut Vec<Diagnostic>) {
    if !matches!(table.kind, Kind::Table(_)) {
        problems.push(must_be_table("vars", table));
        return;
    }
    for entry in table.entries() {
        let name = entry.key.name.as_str();
        if !is_variable_name(name) {
            let diagnostic = Diagnostic::error("variable-name", &entry.key.span, format!("`{name}` cannot be the name of a variable"));
            problems.push(diagnostic.help("use letters, digits and `_`, and begin with a letter"));
        } else if RESERVED.contains(&name) {
            let message = format!("`{name}` has a meaning of its own in templates");
            problems.push(Diagnostic::error("variable-name", &entry.key.span, message).help("give the variable another name"));
        }
        check_templates(&entry.value, problems);
    }
}

/// Whether every text in a tree is a template that can be compiled.
pub fn check_templates(node: &Node, problems: &mut Vec<Diagnostic>) {
    match &node.kind {
        Kind::Text(text) => {
            if let Err(trouble) = crate::template::check_text(text) {
                let mut diagnostic = Diagnostic::error("template", &node.span, trouble.message);
                diagnostic.help = trouble.help;
                problems.push(diagnostic.remedied(trouble.meant));
            }
        }
        Kind::List(items) => items.iter().for_each(|item| check_templates(item, problems)),
        Kind::Secret(origin) => origin.words.iter().for_each(|word| check_templates(word, problems)),
        Kind::Table(entries) => entries.iter().for_each(|entry| check_templates(&entry.value, problems)),
        _ => {}
    }
}

fn merge(level: &mut Level, other: Level) {
    level.settings.splice(0..0, other.settings);
    let mut entries = level.variables.entries.clone();
    entries.extend(other.variables.entries.iter().map(|(name, entry)| (name.clone(), entry.clone())));
    level.variables = Arc::new(Layer { entries });
}

fn cycles(drafts: &IndexMap<String, Draft>, problems: &mut Vec<Diagnostic>) {
    for (name, draft) in drafts {
        let mut path = vec![name.as_str()];
        if let Some(span) = &draft.span
            && finds_itself(name, name, drafts, &mut path)
        {
            let path = path.join("` → `");
            problems.push(Diagnostic::error("cycle", span, format!("the group `{name}` contains itself: `{path}` → `{name}`")));
            return;
        }
    }
}

fn finds_itself<'a>(wanted: &str, name: &str, drafts: &'a IndexMap<String, Draft>, path: &mut Vec<&'a str>) -> bool {
    let Some(draft) = drafts.get(name) else { return false };
    for (child, _) in &draft.children {
        if child == wanted {
            return true;
        }
        if path.contains(&child.as_str()) {
            continue;
        }
        path.push(child);
        if finds_itself(wanted, child, drafts, path) {
            return true;
        }
        path.pop();
    }
    false
}

fn depths(drafts: &IndexMap<String, Draft>) -> HashMap<String, usize> {
    let mut depths: HashMap<String, usize> = drafts.keys().map(|name| (name.clone(), 1)).collect();
    // A chain is at most as long as there are groups; a cycle has been reported and ends here too.
    for _ in 0..drafts.len().min(64) {
        let mut changed = false;
        for (name, draft) in drafts {
            let below = depths.get(name).copied().unwrap_or(1) + 1;
            for (child, _) in &draft.children {
                if let Some(depth) = depths.get_mut(child)
                    && *depth < below
                    && below <= drafts.len() + 1
                {
                    *depth = below;
                    changed = true;
                }
            }
        }
        if !changed {
            break;
        }
    }
    depths
}

fn collect(
    name: &str,
    drafts: &IndexMap<String, Draft>,
    direct: &IndexMap<String, Vec<String>>,
    visited: &mut BTreeSet<String>,
    found: &mut dyn FnMut(&str),
) {
    if !visited.insert(name.to_owned()) {
        return;
    }
    for host in direct.get(name).into_iter().flatten() {
        found(host);
    }
    for (child, _) in drafts.get(name).map(|draft| draft.children.as_slice()).unwrap_or_default() {
        collect(child, drafts, direct, visited, found);
    }
}

/// A host name, an IPv4 or an IPv6 address. A port, brackets or a zone are no part of it.
pub fn is_address(text: &str) -> bool {
    if text.contains(':') {
        return text.parse::<std::net::Ipv6Addr>().is_ok();
    }
    !text.is_empty() && !text.starts_with('-') && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter))
}

fn address_advice(text: &str) -> &'static str {
    match text {
        _ if text.contains('[') => "; write an IPv6 address without brackets, and the port as `port`",
        _ if text.contains('%') => "; an address with a zone means another machine on each controller, so give the host one without",
        _ if text.matches(':').count() == 1 => "; write the port as `port`",
        _ => "",
    }
}

/// Whether this can be the name of an account.
pub fn is_user(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('-') && text.chars().all(|letter| letter.is_alphanumeric() || "._-$@\\+".contains(letter))
}

fn is_public_key(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let (kind, body) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    (kind.starts_with("ssh-") || kind.starts_with("ecdsa-") || kind.starts_with("sk-")) && body.starts_with("AAAA") && body.len() > 40
}

/// The settings as they are written.
#[derive(Deserialize, Default)]
struct Written {
    address: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    #[serde(default)]
    key: crate::module::OneOrMany,
    #[serde(default)]
    jump: crate::module::OneOrMany,
    #[serde(default)]
    connection: Connection,
    #[serde(rename = "become")]
    become_it: Option<bool>,
    become_user: Option<String>,
    become_method: Option<Method>,
    #[serde(default)]
    host_key: crate::module::OneOrMany,
    #[serde(default)]
    legacy_ssh: bool,
    connect_timeout: Option<crate::module::Lasting>,
    password: Option<String>,
    password_file: Option<String>,
    become_password: Option<String>,
    become_password_file: Option<String>,
    keep_days: Option<u32>,
    keep_runs: Option<u32>,
    keep_mb: Option<u32>,
}

/// The settings of a host, where the strongest level wins key by key, and templates are filled.
pub fn settings(inventory: &Inventory, name: &str, scope: &Arc<Scope>, problems: &mut Vec<Diagnostic>) -> Settings {
    let mut chosen: IndexMap<String, Node> = IndexMap::new();
    for level in inventory.levels(name) {
        for (key, node) in &level.settings {
            chosen.entry(key.clone()).or_insert_with(|| node.clone());
        }
    }
    if chosen.is_empty() {
        return Settings::default();
    }
    let mut entries = Vec::new();
    for (key, node) in chosen {
        let mut missing = Later::default();
        match scope.fill_node(&node, &mut missing) {
            // Who fetches no secrets logs in nowhere.
            Ok(_) if !missing.names.is_empty() && missing.is_only_secrets() => {}
            Ok(value) => entries.push(Entry { key: Key { name: key, span: node.span.clone() }, value }),
            Err((place, trouble)) => {
                let mut diagnostic = Diagnostic::error("template", &place.span, trouble.message);
                diagnostic.help = trouble.help;
                problems.push(diagnostic.remedied(trouble.meant));
            }
        }
    }
    let span = entries.first().map(|entry| entry.value.span.clone());
    let Some(span) = span else { return Settings::default() };
    let table = Node::new(&span, Kind::Table(entries));
    let Some(written) = decode_with::<Written>(&table, "setting of a host", problems) else { return Settings::default() };
    let mut refuse = |key: &str, message: String| {
        if let Some(node) = table.get(key) {
            problems.push(Diagnostic::error("arg-value", &node.span, format!("`{key}`: {message}")));
        }
    };
    if let Some(address) = written.address.as_deref().filter(|text| !is_address(text)) {
        refuse("address", format!("`{}` is no host name and no address{}", address.escape_debug(), address_advice(address)));
    }
    if let Some(jump) = written.jump.0.iter().find(|text| Destination::parse(text).is_none()) {
        refuse("jump", format!("`{}` is no host to go through; write `name`, `user@name` or `user@name:port`", jump.escape_debug()));
    }
    if let Some(key) = written.key.0.iter().find(|path| path.is_empty()) {
        refuse("key", format!("`{key}` is no path"));
    }
    if let Some(user) = written.user.as_deref().filter(|text| !is_user(text)) {
        refuse("user", format!("`{}` is no user name", user.escape_debug()));
    }
    if written.connect_timeout.is_some_and(|limit| limit.0.is_zero()) {
        refuse("connect_timeout", "it must be more than 0".into());
    }
    if let Some(key) = written.host_key.0.iter().find(|text| !is_public_key(text)) {
        refuse("host_key", format!("`{}` is no public key, which has a kind and a text, as in `ssh-ed25519 AAAA…`", key.escape_debug()));
    }
    if written.port == Some(0)
        && let Some(node) = table.get("port")
    {
        problems.push(Diagnostic::error("arg-value", &node.span, "`port` must be between 1 and 65535"));
    }
    Settings {
        address: written.address,
        port: written.port,
        user: written.user,
        key: written.key.0,
        jump: written.jump.0,
        connection: written.connection,
        become_it: written.become_it,
        become_user: written.become_user,
        become_method: written.become_method,
        host_key: written.host_key.0,
        legacy_ssh: written.legacy_ssh,
        connect_timeout: written.connect_timeout.map(|limit| limit.0),
        password: written.password.map(Secret::new),
        password_file: written.password_file.map(Into::into),
        become_password: written.become_password.map(Secret::new),
        become_password_file: written.become_password_file.map(Into::into),
        keep_days: written.keep_days,
        keep_runs: written.keep_runs,
        keep_mb: written.keep_mb,
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::from_text;
    use super::*;

    #[test]
    fn the_nearest_level_wins() {
        let inventory = from_text(
            "user = 'all'\nvars = { a = 1, b = 1, c = 1 }\n[hosts]\nweb1 = { vars = { a = 4 } }\n[groups.web]\nhosts = ['web1']\nvars = { b = 3, c = 3 }\nuser = 'web'\n[groups.site]\nchildren = ['web']\nvars = { c = 2, d = 2 }\nport = 2222\n",
        );
        let scope = Scope::new(inventory.layers("web1"));
        let value = |name: &str| match scope.eval(name) {
            Ok(crate::template::Filled::Now(value)) => value.to_string(),
            other => format!("{other:?}"),
        };
        assert_eq!([value("a"), value("b"), value("c"), value("d")], ["4", "3", "3", "2"]);
        let mut problems = Vec::new();
        let settings = settings(&inventory, "web1", &scope, &mut problems);
        assert_eq!((settings.user.as_deref(), settings.port), (Some("web"), Some(2222)));
        assert_eq!(inventory.groups["site"].hosts, ["web1"]);
    }
}
