//! Text with holes, and what may fill them.
//!
//! Only text that a user wrote is ever a template: what a host says is a value, and is never rendered. A variable that
//! is not there is an error. A [`Scope`] tells a value that is missing from one that only a run can tell.

mod carry;
mod filters;
mod own;
mod scope;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Expression, UndefinedBehavior, Value};

use crate::diag::{Kind, Node};

pub use carry::{Carried, Left, carried, literal};
pub use own::{Manner, own_condition, own_names, own_value, plain, sh_text};
pub use scope::{Entry, Filled, Later, Layer, Scope, later};

/// Steps that one template may take before it is taken for endless.
const FUEL: u64 = 1_000_000;
/// The longest text that a template may become.
pub const OUTPUT_LIMIT: usize = 16 << 20;

/// Stands before a template's text where minijinja wants a name.
const OWN_TEXT: char = '\u{1}';

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    // As templates of this field expect it: a block's own newline goes, the one at the end of the file stays.
    let syntax = SyntaxConfig::builder().trim_blocks(true).keep_trailing_newline(true).build();
    environment.set_syntax(syntax.expect("the delimiters are minijinja's own"));
    environment.set_fuel(Some(FUEL));
    // `text.split()`, `table.items()`: the methods that playbooks of this field have in their fingers.
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_debug(true);
    // A template is known by its own text, so each is compiled once per run, however many hosts use it.
    // The mark keeps `{% include "name" %}` from taking a name for a text.
    environment.set_loader(|name| Ok(name.strip_prefix(OWN_TEXT).map(str::to_owned)));
    filters::add_to(&mut environment);
    environment
});

type Expressions = LazyLock<Mutex<HashMap<String, Arc<Expression<'static, 'static>>>>>;

static EXPRESSIONS: Expressions = LazyLock::new(Mutex::default);

/// What is wrong with a template or expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Lower case, no full stop.
    pub message: String,
    pub help: Option<String>,
    /// Where in the text, in bytes, when it is known.
    pub range: Option<std::ops::Range<usize>>,
    /// Line of the text, from 1.
    pub line: Option<usize>,
    /// A word of it, and what was surely meant.
    pub meant: Option<(String, String)>,
}

impl Trouble {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, range: None, line: None, meant: None }
    }

    /// From minijinja's error; `names` are what could have been meant by a name that is not there.
    fn of(error: &Error, text: &str, names: &[String]) -> Self {
        let range = error.range().filter(|range| error.template_source().is_none_or(|source| source == text) && range.end <= text.len());
        let detail = error.detail().unwrap_or_default();
        let shown = range.clone().and_then(|range| text.get(range)).map(str::trim).filter(|word| !word.is_empty() && word.len() < 80);
        // minijinja names the value that is missing wherever it knows it.
        let named = detail.split_once("` is undefined").and_then(|(before, _)| before.rsplit_once('`')).map(|(_, name)| name);
        let mut trouble = Self::new(String::new());
        trouble.line = error.line();
        let culprit = named.or(shown.filter(|_| error.kind() == ErrorKind::UndefinedError));
        if let Some(word) = culprit {
            let (word, missing) = undefined_part(word, names);
            trouble.message = format!("`{word}` is not defined");
            let special = match missing.as_str() {
                "item" => Some("only a task with `loop` has an `item`"),
                "yes" | "on" => Some("write `true`"),
                "no" | "off" => Some("write `false`"),
                "inventory_hostname" => Some("write `host.name`"),
                "ansible_os_family" => Some("write `facts.os.family`"),
                "ansible_distribution" => Some("write `facts.os.name`"),
                "ansible_hostname" => Some("write `facts.hostname`"),
                _ => None,
            };
            trouble.meant = match missing.as_str() {
                "inventory_hostname" => Some("host.name"),
                _ if special.is_some() => None,
                missing => crate::diag::sure(missing, names.iter().map(String::as_str)),
            }
            .map(|meant| (missing.clone(), meant.to_owned()));
            trouble.help = special
                .map(str::to_owned)
                .or_else(|| crate::diag::nearest(&missing, names.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?")))
                .or_else(|| Some("define it, or give a default: `| default(…)`".into()));
        } else {
            let kind = error.kind().to_string();
            trouble.message = match detail {
                _ if error.kind() == ErrorKind::OutOfFuel => format!("the template takes more than {FUEL} steps, so it may never end"),
                "" => kind,
                detail if matches!(error.kind(), ErrorKind::SyntaxError | ErrorKind::InvalidOperation) => detail.to_owned(),
                _ if error.kind() == ErrorKind::TemplateNotFound => "a template cannot include another file".to_owned(),
                detail => match unknown_name(detail) {
                    Some((what, name)) => format!("there is no {what} `{name}`"),
                    None => format!("{kind}: {detail}"),
                },
            };
            if error.kind() == ErrorKind::UnknownFilter {
                let wanted = unknown_name(detail).map(|(_, name)| name).unwrap_or_default();
                trouble.help = crate::diag::nearest(wanted, filters::names()).map(|near| format!("did you mean `{near}`?"));
                trouble.meant = crate::diag::sure(wanted, filters::names()).map(|meant| (wanted.to_owned(), meant.to_owned()));
            }
            if error.kind() == ErrorKind::UnknownTest {
                let wanted = unknown_name(detail).map(|(_, name)| name).unwrap_or_default();
                trouble.help = crate::diag::nearest(wanted, filters::TESTS.iter().copied()).map(|near| format!("did you mean `{near}`?"));
                trouble.meant = crate::diag::sure(wanted, filters::TESTS.iter().copied()).map(|meant| (wanted.to_owned(), meant.to_owned()));
            }
        }
        trouble.range = range;
        trouble
    }
}

/// `filter x is unknown` and its like, taken apart.
fn unknown_name(detail: &str) -> Option<(&str, &str)> {
    let (what, rest) = detail.split_once(' ')?;
    let name = rest.strip_suffix(" is unknown")?;
    ["filter", "test", "function"].contains(&what).then_some((what, name.trim_matches(['`', '"', '\''])))
}

/// The variable in `word` that is not there, with what to compare against the known names.
fn undefined_part(word: &str, names: &[String]) -> (String, String) {
    let end = word.find(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == '.')).unwrap_or(word.len());
    let path = if end == 0 { word } else { &word[..end] };
    let first = path.split('.').next().unwrap_or(path);
    if names.iter().any(|name| name == first) { (path.to_owned(), String::new()) } else { (first.to_owned(), first.to_owned()) }
}

/// Whether a text has any hole at all.
pub fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// The expression of a text that is exactly one `{{ expression }}`; such a text keeps the type of its value. With as
/// much as a newline after it, it is a text.
pub fn whole_expression(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("{{")?.strip_suffix("}}")?;
    // Two holes side by side are no single expression.
    (!inner.contains("{{") && !inner.contains("}}") && !inner.contains("{%")).then(|| inner.trim_matches(['-', ' ', '\t', '\n']))
}

/// Whether an expression can be compiled.
///
/// # Errors
/// What is wrong with it.
pub fn check_expression(text: &str) -> Result<(), Trouble> {
    compiled(text).map(|_| ()).map_err(|error| Trouble::of(&error, text, &[]))
}

/// Whether a text can be compiled.
///
/// # Errors
/// What is wrong with it.
pub fn check_text(text: &str) -> Result<(), Trouble> {
    if !is_template(text) {
        return Ok(());
    }
    if let Some(expression) = whole_expression(text) {
        return check_expression(expression);
    }
    template(text).map(|_| ()).map_err(|error| Trouble::of(&error, text, &[]))
}

/// The variables that a text or expression uses, such as `port` or `facts.os.family`.
pub fn names_in(text: &str, is_expression: bool) -> Vec<String> {
    let found = if is_expression {
        compiled(text).map(|expression| expression.undeclared_variables(true))
    } else if let Some(expression) = whole_expression(text) {
        compiled(expression).map(|expression| expression.undeclared_variables(true))
    } else {
        template(text).map(|template| template.undeclared_variables(true))
    };
    let mut names: Vec<String> = found.unwrap_or_default().into_iter().collect();
    names.sort();
    names
}

fn compiled(text: &str) -> Result<Arc<Expression<'static, 'static>>, Error> {
    compiled_once(&EXPRESSIONS, &ENVIRONMENT, text)
}

/// An expression, compiled when it is first asked for.
fn compiled_once(known: &Expressions, environment: &'static Environment<'static>, text: &str) -> Result<Arc<Expression<'static, 'static>>, Error> {
    let mut all = known.lock().expect("nothing panics while it holds this lock");
    if let Some(expression) = all.get(text) {
        return Ok(expression.clone());
    }
    let expression = Arc::new(environment.compile_expression_owned(text.to_owned())?);
    all.insert(text.to_owned(), expression.clone());
    Ok(expression)
}

fn template(text: &str) -> Result<minijinja::Template<'static, 'static>, Error> {
    ENVIRONMENT.get_template(&format!("{OWN_TEXT}{text}"))
}

fn rendered(text: &str, scope: &Value) -> Result<String, Error> {
    let output = template(text)?.render(scope.clone())?;
    if output.len() > OUTPUT_LIMIT {
        return Err(Error::new(ErrorKind::InvalidOperation, "the result is longer than 16 MiB"));
    }
    Ok(output)
}

/// A value as a tree at the place of the text that it came from.
///
/// # Errors
/// When the value is no data: a function, or a number that TOML cannot hold.
pub fn node_of(value: &Value, place: &Node) -> Result<Node, Trouble> {
    let node = data_of(value, place)?;
    if has_nul(&node) {
        return Err(Trouble::new("the text has a NUL byte, which cannot be passed to a host"));
    }
    Ok(node)
}

fn has_nul(node: &Node) -> bool {
    match &node.kind {
        Kind::Text(text) => text.contains('\0'),
        Kind::List(items) => items.iter().any(has_nul),
        Kind::Table(entries) => entries.iter().any(|entry| has_nul(&entry.value)),
        _ => false,
    }
}

/// As [`node_of`], for a value that stays on this side and so may hold any byte.
///
/// # Errors
/// When the value is no data: a function, or a number that TOML cannot hold.
pub fn data_of(value: &Value, place: &Node) -> Result<Node, Trouble> {
    use minijinja::value::ValueKind;
    let kind = match value.kind() {
        ValueKind::Undefined | ValueKind::None => Kind::None,
        ValueKind::Bool => Kind::Boolean(value.is_true()),
        ValueKind::Number if value.is_integer() => {
            Kind::Integer(value.as_i64().ok_or_else(|| Trouble::new("the number does not fit into 64 bits"))?)
        }
        ValueKind::Number => Kind::Float(f64::try_from(value.clone()).map_err(|error| Trouble::new(error.to_string()))?),
        ValueKind::String => Kind::Text(value.as_str().unwrap_or_default().to_owned()),
        ValueKind::Bytes => Kind::Text(String::from_utf8_lossy(value.as_bytes().unwrap_or_default()).into_owned()),
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter().map_err(|error| Trouble::new(error.to_string()))?;
            let nodes: Result<Vec<_>, _> = items.map(|item| data_of(&item, place)).collect();
            Kind::List(nodes?)
        }
        ValueKind::Map => {
            let keys = value.try_iter().map_err(|error| Trouble::new(error.to_string()))?;
            let entries: Result<Vec<_>, _> = keys
                .map(|key| {
                    let item = value.get_item(&key).map_err(|error| Trouble::new(error.to_string()))?;
                    let key = crate::diag::Key { name: key.to_string(), span: place.span.clone() };
                    Ok(crate::diag::Entry { key, value: data_of(&item, place)? })
                })
                .collect();
            Kind::Table(entries?)
        }
        other => return Err(Trouble::new(format!("a {other} cannot be used as a value here"))),
    };
    Ok(Node { rendered: true, ..Node::new(&place.span, kind) })
}

/// A tree of plain data as a value; nothing in it is rendered.
pub fn value_of(node: &Node) -> Value {
    match &node.kind {
        Kind::Text(text) | Kind::Datetime(text) => Value::from(text.as_str()),
        Kind::Integer(number) => Value::from(*number),
        Kind::Float(number) => Value::from(*number),
        Kind::Boolean(value) => Value::from(*value),
        Kind::List(items) => items.iter().map(value_of).collect(),
        Kind::Table(entries) => Value::from_pairs(entries.iter().map(|entry| (entry.key.name.clone(), value_of(&entry.value)))),
        Kind::None => Value::from(()),
        Kind::Later => later("value"),
        // As it was written; what it stands for comes out of a scope only.
        Kind::Secret(origin) => Value::from(origin.to_string()),
    }
}

/// JSON data as a value.
pub fn from_json(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(value) => Value::from(*value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::from(number),
            (None, Some(number)) => Value::from(number),
            (None, None) => Value::from(number.as_f64().unwrap_or(0.0)),
        },
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => items.iter().map(from_json).collect(),
        serde_json::Value::Object(entries) => {
            Value::from_pairs(entries.iter().map(|(name, value)| (name.clone(), from_json(value))))
        }
    }
}
