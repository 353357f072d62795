//! The variables that a text can see, in layers, rendered only when they are used.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use indexmap::IndexMap;
use minijinja::Value;
use minijinja::value::{Enumerator, Object, ObjectRepr};

use super::{Trouble, is_template, node_of, rendered, value_of, whole_expression};
use crate::diag::{Kind, Node, Origin};
use crate::secret::{self, Fetched};

/// What the words of a secret's source may use besides what is written in files: nothing of it comes from a host.
const SAFE_NAMES: [&str; 3] = ["host", "groups", "hostvars"];
/// What stands before the name of a secret that has not been fetched.
const NOT_FETCHED: &str = "secret ";

/// Variables that refer to each other, at most this deep.
const DEPTH_LIMIT: usize = 32;

/// A variable's value, or what it is made from.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A value that is taken as it is, such as a result from a host.
    Value(Value),
    /// What a user wrote: every text in it may have holes.
    Authored(Node),
    /// Known only during a run.
    Later,
}

/// Variables of one level.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    pub entries: IndexMap<String, Entry>,
}

impl Layer {
    pub fn one(name: impl Into<String>, entry: Entry) -> Self {
        Self { entries: IndexMap::from([(name.into(), entry)]) }
    }

    /// The entries of a table that a user wrote.
    pub fn authored(table: &Node) -> Self {
        let entries = table.entries().iter().map(|entry| (entry.key.name.clone(), Entry::Authored(entry.value.clone())));
        Self { entries: entries.collect() }
    }

    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.entries.insert(name.into(), Entry::Value(value.into()));
        self
    }
}

/// What evaluating gave: a value, or the news that only a run can tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Filled<T> {
    Now(T),
    Later(Later),
}

/// What a text needs that is not known yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Later {
    /// Names such as `facts.os` or a registered variable.
    pub names: BTreeSet<String>,
}

impl Later {
    /// Whether nothing but facts is missing.
    pub fn is_only_facts(&self) -> bool {
        self.names.iter().all(|name| name.starts_with("facts."))
    }

    /// Whether nothing but secrets is missing that have not been fetched.
    pub fn is_only_secrets(&self) -> bool {
        self.names.iter().all(|name| name.starts_with(NOT_FETCHED))
    }
}

/// The variables that a text can see. The first layer that has a name wins.
#[derive(Debug)]
pub struct Scope {
    layers: Vec<Arc<Layer>>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    values: HashMap<String, Value>,
    underway: Vec<String>,
    later: BTreeSet<String>,
    trouble: Option<Trouble>,
    /// A table with parts that are perhaps not known has been asked for.
    handed_out: bool,
}

/// A value that is only known later. Whatever is done with it, its scope remembers that it was asked for.
#[derive(Debug)]
struct Unknown {
    name: String,
}

impl Object for Unknown {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        Some(later(format!("{}.{key}", self.name)))
    }

    fn call(self: &Arc<Self>, _: &mut minijinja::State<'_, '_>, _: &[Value]) -> Result<Value, minijinja::Error> {
        Ok(Value::from_dyn_object(self.clone()))
    }

    fn render(self: &Arc<Self>, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<known later: {}>", self.name)
    }
}

/// The stand-in for a value that is known later.
pub fn later(name: impl Into<String>) -> Value {
    Value::from_object(Unknown { name: name.into() })
}

/// Whether a value is the stand-in for one that is known later.
fn is_later(value: &Value) -> Option<&str> {
    value.downcast_object_ref::<Unknown>().map(|unknown| unknown.name.as_str())
}

/// What templates see: it reads through to the scope.
#[derive(Debug)]
struct View(Arc<Scope>);

impl Object for View {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.lookup(key.as_str()?)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.names().into_iter().map(Value::from).collect())
    }
}

impl Scope {
    /// `layers`: the strongest first.
    pub fn new(layers: Vec<Arc<Layer>>) -> Arc<Self> {
        Arc::new(Self { layers, seen: Mutex::default() })
    }

    /// Every name that can be seen.
    pub fn names(&self) -> Vec<String> {
        let mut names: BTreeSet<&String> = BTreeSet::new();
        for layer in &self.layers {
            names.extend(layer.entries.keys());
        }
        names.into_iter().cloned().collect()
    }

    /// Where a variable such as `port` or `site.port` was written, if a user wrote it.
    pub fn authored_at(&self, name: &str) -> Option<crate::diag::Span> {
        let mut parts = name.split('.');
        let first = parts.next()?;
        let node = self.written_as(first)?;
        Some(parts.try_fold(node, |node, part| node.get(part)).unwrap_or(node).span.clone())
    }

    /// What a user wrote for a variable, where that is what counts.
    pub fn written_as(&self, name: &str) -> Option<&Node> {
        match self.layers.iter().find_map(|layer| layer.entries.get(name))? {
            Entry::Authored(node) => Some(node),
            _ => None,
        }
    }

    /// The value of an expression.
    ///
    /// # Errors
    /// What is wrong with it, such as a variable that is not defined.
    pub fn eval(self: &Arc<Self>, expression: &str) -> Result<Filled<Value>, Trouble> {
        self.watched(expression, |view| {
            let value = super::compiled(expression)?.eval(view)?;
            // A bare name that is not there evaluates to nothing without a word.
            if value.is_undefined() {
                let detail = format!("(`{}` is undefined)", expression.trim());
                return Err(minijinja::Error::new(minijinja::ErrorKind::UndefinedError, detail));
            }
            self.note_unknown_parts(&value);
            Ok(value)
        })
    }

    /// Whether a condition holds.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn holds(self: &Arc<Self>, expression: &str) -> Result<Filled<bool>, Trouble> {
        Ok(match self.eval(expression)? {
            Filled::Now(value) => Filled::Now(value.is_true()),
            Filled::Later(later) => Filled::Later(later),
        })
    }

    /// The text with its holes filled; a text that is one expression keeps the type of its value.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn fill(self: &Arc<Self>, text: &str) -> Result<Filled<Value>, Trouble> {
        if !is_template(text) {
            return Ok(Filled::Now(Value::from(text)));
        }
        match whole_expression(text) {
            Some(expression) => self.eval(expression).map_err(|mut trouble| {
                if let (Some(range), Some(offset)) = (&mut trouble.range, text.find(expression)) {
                    *range = range.start + offset..range.end + offset;
                }
                trouble
            }),
            None => self.watched(text, |view| rendered(text, &view).map(Value::from)),
        }
    }

    /// A whole template file as text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn render(self: &Arc<Self>, text: &str) -> Result<Filled<String>, Trouble> {
        Ok(match self.watched(text, |view| rendered(text, &view).map(Value::from))? {
            Filled::Now(value) => Filled::Now(value.as_str().unwrap_or_default().to_owned()),
            Filled::Later(later) => Filled::Later(later),
        })
    }

    /// A tree with the holes of all its texts filled. What is only known later becomes [`Kind::Later`], and is
    /// added to `missing`.
    ///
    /// # Errors
    /// The first thing that is wrong, with the node that it is in.
    pub fn fill_node(self: &Arc<Self>, node: &Node, missing: &mut Later) -> Result<Node, (Node, Trouble)> {
        let kind = match &node.kind {
            Kind::Text(text) if is_template(text) => {
                return match self.fill(text).map_err(|trouble| (node.clone(), trouble))? {
                    Filled::Now(value) => node_of(&value, node).map_err(|trouble| (node.clone(), trouble)),
                    Filled::Later(later) => {
                        missing.names.extend(later.names);
                        Ok(Node::new(&node.span, Kind::Later))
                    }
                };
            }
            Kind::List(items) => {
                let items: Result<Vec<_>, _> = items.iter().map(|item| self.fill_node(item, missing)).collect();
                Kind::List(items?)
            }
            Kind::Table(entries) => {
                let entries: Result<Vec<_>, _> = entries
                    .iter()
                    .map(|entry| {
                        let value = self.fill_node(&entry.value, missing)?;
                        Ok(crate::diag::Entry { key: entry.key.clone(), value })
                    })
                    .collect();
                Kind::Table(entries?)
            }
            Kind::Secret(origin) => return self.fetched(node, origin, missing),
            other => other.clone(),
        };
        Ok(Node::new(&node.span, kind))
    }

    /// The value of a secret that this machine fetches.
    fn fetched(self: &Arc<Self>, node: &Node, origin: &Origin, missing: &mut Later) -> Result<Node, (Node, Trouble)> {
        let has_holes = origin.texts().any(is_template);
        let written = if has_holes { self.written() } else { self.clone() };
        let mut words = Vec::with_capacity(origin.words.len());
        for word in &origin.words {
            let filled = written.fill(word.text().unwrap_or_default()).map_err(|mut trouble| {
                if trouble.message.ends_with("is not defined") {
                    trouble.message.push_str(" where a secret's source is named: it may use `host`, `groups`, and variables that are written in files, nothing that a host says");
                }
                (word.clone(), trouble)
            })?;
            match filled {
                Filled::Now(value) if value.as_str().is_some_and(|text| !text.contains('\0')) || value.is_integer() => words.push(value.to_string()),
                Filled::Now(value) => return Err((word.clone(), Trouble::new(format!("a word of a secret's source must be text, and this is {}", value.kind())))),
                Filled::Later(later) => {
                    missing.names.extend(later.names);
                    return Ok(Node::new(&node.span, Kind::Later));
                }
            }
        }
        let wanted = secret::Wanted { way: origin.way, words, folder: origin.folder.clone() };
        match secret::fetched(&wanted, &node.span) {
            Fetched::Value(secret) => Ok(Node { rendered: true, ..Node::new(&node.span, Kind::Text(secret.expose().to_owned())) }),
            Fetched::NotYet => {
                missing.names.insert(format!("{NOT_FETCHED}{origin}"));
                Ok(Node::new(&node.span, Kind::Later))
            }
            Fetched::Failed(why) => Err((node.clone(), Trouble::new(format!("the secret cannot be fetched: {why}")))),
        }
    }

    /// This scope with nothing in it that comes from a host.
    fn written(&self) -> Arc<Self> {
        let layers = self.layers.iter().map(|layer| {
            let entries = layer.entries.iter().filter(|(name, entry)| matches!(entry, Entry::Authored(_)) || SAFE_NAMES.contains(&name.as_str()));
            Arc::new(Layer { entries: entries.map(|(name, entry)| (name.clone(), entry.clone())).collect() })
        });
        // A circle is noticed through both.
        let underway = self.seen().underway.clone();
        Arc::new(Self { layers: layers.collect(), seen: Mutex::new(Seen { underway, ..Seen::default() }) })
    }

    fn watched(
        self: &Arc<Self>,
        text: &str,
        evaluate: impl FnOnce(Value) -> Result<Value, minijinja::Error>,
    ) -> Result<Filled<Value>, Trouble> {
        let outer = std::mem::take(&mut self.seen().later);
        let result = evaluate(Value::from_object(View(self.clone())));
        let mut seen = self.seen();
        let asked = std::mem::replace(&mut seen.later, outer);
        let trouble = seen.trouble.take();
        if !asked.is_empty() {
            // An outer text that uses this one is only known later, too.
            let names = asked.clone();
            seen.later.extend(asked);
            if seen.underway.is_empty() {
                seen.later.clear();
            }
            return Ok(Filled::Later(Later { names }));
        }
        drop(seen);
        if let Some(trouble) = trouble {
            return Err(trouble);
        }
        result.map(Filled::Now).map_err(|error| {
            let mut trouble = Trouble::of(&error, text, &self.names());
            if let Some((help, meant)) = self.nearest_part(&trouble) {
                (trouble.help, trouble.meant) = (Some(help), meant);
            }
            trouble
        })
    }

    /// What may have been meant by `host.nam`, where there is a `host`.
    fn nearest_part(self: &Arc<Self>, trouble: &Trouble) -> Option<(String, Option<(String, String)>)> {
        let path = trouble.message.strip_prefix('`')?.strip_suffix("` is not defined")?;
        let (whole, part) = path.rsplit_once('.')?;
        let later = std::mem::take(&mut self.seen().later);
        let value = super::compiled(whole).ok().and_then(|whole| whole.eval(Value::from_object(View(self.clone()))).ok());
        self.seen().later = later;
        let names: Vec<String> = value?.try_iter().ok()?.map(|name| name.to_string()).collect();
        let near = crate::diag::nearest(part, names.iter().map(String::as_str))?;
        let meant = crate::diag::sure(part, names.iter().map(String::as_str)).map(|meant| (path.to_owned(), format!("{whole}.{meant}")));
        Some((format!("did you mean `{whole}.{near}`?"), meant))
    }

    /// A table that is taken as a whole, such as `facts.os`, is known when all of its parts are.
    fn note_unknown_parts(&self, value: &Value) {
        let seen = self.seen();
        if seen.handed_out && seen.later.is_empty() {
            drop(seen);
            let mut names = BTreeSet::new();
            unknown_parts(value, "", DEPTH_LIMIT, &mut names);
            self.seen().later.extend(names);
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().expect("nothing panics while it holds this lock")
    }

    fn lookup(self: &Arc<Self>, name: &str) -> Option<Value> {
        let entry = self.layers.iter().find_map(|layer| layer.entries.get(name))?;
        let value = match entry {
            Entry::Value(value) => value.clone(),
            Entry::Later => later(name),
            Entry::Authored(node) => return self.authored(name, node),
        };
        if let Some(missing) = is_later(&value) {
            self.seen().later.insert(missing.to_owned());
        } else if name == "facts" || name == "hostvars" {
            self.seen().handed_out = true;
            return Some(Value::from_object(Watched { scope: self.clone(), name: name.to_owned(), inner: value }));
        }
        Some(value)
    }

    fn authored(self: &Arc<Self>, name: &str, node: &Node) -> Option<Value> {
        if let Some(value) = self.seen().values.get(name) {
            return Some(value.clone());
        }
        if let Kind::Table(entries) = &node.kind
            && secret::is_any_traced()
            && has_secret(node)
        {
            // Each of its secrets is fetched when it is asked for itself.
            self.seen().handed_out = true;
            let parts = entries.iter().map(|entry| (entry.key.name.clone(), entry.value.clone())).collect();
            return Some(Value::from_object(Lazy { scope: self.clone(), name: name.to_owned(), parts }));
        }
        let value = self.filled(name, node)?;
        if is_later(&value).is_none() {
            self.seen().values.insert(name.to_owned(), value.clone());
        }
        Some(value)
    }

    /// What a user wrote under this name, with its holes filled.
    fn filled(self: &Arc<Self>, name: &str, node: &Node) -> Option<Value> {
        {
            let mut seen = self.seen();
            if seen.underway.iter().any(|one| one == name) || seen.underway.len() >= DEPTH_LIMIT {
                let path = seen.underway.join("` → `");
                seen.trouble.get_or_insert_with(|| Trouble::new(format!("the variable `{name}` refers to itself: `{path}` → `{name}`")));
                return None;
            }
            seen.underway.push(name.to_owned());
        }
        let mut missing = Later::default();
        let filled = self.fill_node(node, &mut missing);
        let mut seen = self.seen();
        seen.underway.pop();
        match filled {
            Ok(node) if missing.names.is_empty() => Some(value_of(&node)),
            Ok(_) => {
                seen.later.extend(missing.names);
                Some(later(name))
            }
            Err((_, mut trouble)) => {
                trouble.message = format!("in the variable `{name}`: {}", trouble.message);
                trouble.range = None;
                seen.trouble.get_or_insert(trouble);
                None
            }
        }
    }
}

/// Whether a tree holds a secret that is fetched.
fn has_secret(node: &Node) -> bool {
    match &node.kind {
        Kind::Secret(_) => true,
        Kind::List(items) => items.iter().any(has_secret),
        Kind::Table(entries) => entries.iter().any(|entry| has_secret(&entry.value)),
        _ => false,
    }
}

/// A table with secrets that are fetched, part by part.
#[derive(Debug)]
struct Lazy {
    scope: Arc<Scope>,
    name: String,
    parts: IndexMap<String, Node>,
}

impl Object for Lazy {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let node = self.parts.get(key.as_str()?)?;
        self.scope.authored(&format!("{}.{key}", self.name), node)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.parts.keys().map(|name| Value::from(name.as_str())).collect())
    }
}

/// A table, some of whose values are only known later: asking for one of those is noticed.
#[derive(Debug)]
struct Watched {
    scope: Arc<Scope>,
    name: String,
    inner: Value,
}

impl Object for Watched {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let value = self.inner.get_item(key).ok().filter(|value| !value.is_undefined())?;
        if is_later(&value).is_some() {
            self.scope.seen().later.insert(format!("{}.{key}", self.name));
        } else if self.name == "hostvars" || self.name == "facts" && value.kind() == minijinja::value::ValueKind::Map && key.as_str() == Some("os") {
            return Some(Value::from_object(Self { scope: self.scope.clone(), name: format!("{}.{key}", self.name), inner: value }));
        }
        Some(value)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match self.inner.try_iter() {
            Ok(keys) => Enumerator::Values(keys.collect()),
            Err(_) => Enumerator::Empty,
        }
    }
}

/// The names of what is only known later in a value, wherever in it that stands.
fn unknown_parts(value: &Value, path: &str, depth: usize, names: &mut BTreeSet<String>) {
    use minijinja::value::ValueKind;
    if let Some(name) = is_later(value) {
        names.insert(if path.is_empty() { name.to_owned() } else { path.to_owned() });
        return;
    }
    if depth == 0 {
        return;
    }
    if let Some(watched) = value.downcast_object_ref::<Watched>() {
        // The variables of other hosts are made when they are asked for.
        if watched.name.starts_with("facts") {
            unknown_parts(&watched.inner, &watched.name, depth - 1, names);
        }
        return;
    }
    match value.kind() {
        ValueKind::Map => {
            for key in value.try_iter().into_iter().flatten() {
                let within = if path.is_empty() { String::new() } else { format!("{path}.{key}") };
                if let Ok(item) = value.get_item(&key) {
                    unknown_parts(&item, &within, depth - 1, names);
                }
            }
        }
        ValueKind::Seq => value.try_iter().into_iter().flatten().for_each(|item| unknown_parts(&item, path, depth - 1, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::{Sources, parse};

    /// Evaluates an expression where `vars` are authored, `known` a result, `facts.os` later and `facts.arch` known.
    fn check(vars: &str, expression: &str) -> String {
        let mut sources = Sources::default();
        let mut problems = Vec::new();
        let table = parse(sources.add("vars.toml", vars), vars, &mut problems);
        assert!(problems.is_empty());
        let facts = Value::from_pairs([("os", later("os")), ("arch", Value::from("x86_64"))]);
        let results = Layer::default().with("known", "{{ 7 * 7 }}").with("facts", facts);
        let mut later_layer = Layer::default();
        later_layer.entries.insert("unknown".into(), Entry::Later);
        let scope = Scope::new(vec![Arc::new(results), Arc::new(later_layer), Arc::new(Layer::authored(&table))]);
        match scope.eval(expression) {
            Ok(Filled::Now(value)) => format!("{value}"),
            Ok(Filled::Later(later)) => format!("later: {}", later.names.into_iter().collect::<Vec<_>>().join(", ")),
            Err(trouble) => format!("error: {} ({})", trouble.message, trouble.help.unwrap_or_default()),
        }
    }

    #[test]
    fn variables_are_filled_when_they_are_used() {
        assert_eq!(check("a = '{{ b }}!'\nb = '{{ c + 1 }}'\nc = 4", "a"), "5!");
        assert_eq!(check("list = ['{{ c }}']\nc = 4", "list[0] + 1"), "5");
    }

    #[test]
    fn what_a_host_said_is_never_a_template() {
        assert_eq!(check("", "known"), "{{ 7 * 7 }}");
        assert_eq!(check("a = '{{ known }}'", "a"), "{{ 7 * 7 }}");
    }

    #[test]
    fn what_only_a_run_can_tell_is_later() {
        assert_eq!(check("", "unknown.stdout == 'x'"), "later: unknown");
        assert_eq!(check("", "facts.os.family == 'debian'"), "later: facts.os");
        assert_eq!(check("", "facts.arch"), "x86_64");
        assert_eq!(check("", "facts"), "later: facts.os");
        assert_eq!(check("", "[{'a': facts}]"), "later: facts.os");
        assert_eq!(check("a = '{{ facts.os.name }}'", "a ~ '!'"), "later: facts.os");
        assert_eq!(check("a = '{{ facts.os.name }}'", "unknown is defined"), "later: unknown");
    }

    #[test]
    fn a_missing_variable_is_an_error_with_a_suggestion() {
        assert_eq!(check("port = 80", "prot + 1"), "error: `prot` is not defined (did you mean `port`?)");
        assert_eq!(check("port = 80", "prot | default(3)"), "3");
        assert_eq!(check("table = { name = 1 }", "table.nmae"), "error: `table.nmae` is not defined (did you mean `table.name`?)");
    }

    #[test]
    fn a_circle_is_noticed() {
        assert_eq!(check("a = '{{ b }}'\nb = '{{ a }}'", "a"), "error: in the variable `a`: in the variable `b`: the variable `a` refers to itself: `a` → `b` → `a` ()");
    }
}
