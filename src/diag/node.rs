//! A TOML text as a tree that remembers where each part stands.

use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::{Diagnostic, Origin, SourceId, Span, Was};

/// Largest text that is read as TOML, in bytes. Larger files are refused before they are parsed.
pub const LIMIT_BYTES: usize = 8 << 20;

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub span: Span,
    pub kind: Kind,
    /// It came out of a template, where numbers and text are not told apart as strictly as in TOML.
    pub rendered: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// A date or time, as it was written.
    Datetime(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
    /// The value `none` of a template expression; TOML itself has no such thing.
    None,
    /// A value that only a run can tell, such as one that depends on a fact.
    Later,
    /// A value that this machine fetches when it is needed. Only a file that a user wrote can hold one.
    Secret(Arc<Origin>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: Key,
    pub value: Node,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    pub name: String,
    pub span: Span,
}

impl Node {
    /// What the value is, in the words of messages: `text`, `a number`, `a list`, …
    pub fn what(&self) -> &'static str {
        match self.kind {
            Kind::Text(_) => "text",
            Kind::Integer(_) | Kind::Float(_) => "a number",
            Kind::Boolean(_) => "true or false",
            Kind::Datetime(_) => "a date or time",
            Kind::List(_) => "a list",
            Kind::Table(_) => "a table",
            Kind::None => "none",
            Kind::Later => "known later",
            Kind::Secret(_) => "a secret",
        }
    }

    pub fn entries(&self) -> &[Entry] {
        match &self.kind {
            Kind::Table(entries) => entries,
            _ => &[],
        }
    }

    pub fn get(&self, name: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key.name == name).map(|entry| &entry.value)
    }

    /// Gives a table an entry that nobody wrote; one that is there stays.
    pub fn set(&mut self, name: &str, kind: Kind) {
        let value = Self::new(&self.span, kind);
        if let Kind::Table(entries) = &mut self.kind
            && entries.iter().all(|entry| entry.key.name != name)
        {
            entries.push(Entry { key: Key { name: name.to_owned(), span: self.span.clone() }, value });
        }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn new(span: &Span, kind: Kind) -> Self {
        Self { span: span.clone(), kind, rendered: false }
    }

    /// The same data; all of it stands at one place.
    pub fn of_json(json: &serde_json::Value, span: &Span) -> Self {
        let kind = match json {
            serde_json::Value::Null => Kind::None,
            serde_json::Value::Bool(value) => Kind::Boolean(*value),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(number) => Kind::Integer(number),
                None => Kind::Float(number.as_f64().unwrap_or(0.0)),
            },
            serde_json::Value::String(text) => Kind::Text(text.clone()),
            serde_json::Value::Array(items) => Kind::List(items.iter().map(|item| Self::of_json(item, span)).collect()),
            serde_json::Value::Object(entries) => Kind::Table(
                entries
                    .iter()
                    .map(|(name, value)| Entry { key: Key { name: name.clone(), span: span.clone() }, value: Self::of_json(value, span) })
                    .collect(),
            ),
        };
        Self::new(span, kind)
    }
}

/// Parses TOML 1.1. The tree holds all that could be understood; problems are added to `problems`.
pub fn parse(source: SourceId, text: &str, problems: &mut Vec<Diagnostic>) -> Node {
    let whole = Span { source, bytes: 0..text.len() };
    if text.len() > LIMIT_BYTES {
        let start = Span { source, bytes: 0..0 };
        problems.push(Diagnostic::error("too-large", &start, "the file is larger than 8 MiB"));
        return Node::new(&whole, Kind::Table(Vec::new()));
    }
    if let Some((at, message, help)) = not_text(text) {
        let place = Span { source, bytes: at..at + 1 };
        problems.push(Diagnostic::error("encoding", &place, message).help(help));
        return Node::new(&whole, Kind::Table(Vec::new()));
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or_default();
    if !errors.is_empty() && (first.starts_with("- ") || first == "---") {
        let start = Span { source, bytes: 0..1 };
        problems.push(Diagnostic::error("syntax", &start, "this looks like YAML, but it must be TOML"));
        return Node::new(&whole, Kind::Table(Vec::new()));
    }
    let has_errors = !errors.is_empty();
    for error in errors {
        let bytes = error.span().unwrap_or(0..0);
        let span = Span { source, bytes };
        let ends_here = text[span.bytes.start.min(text.len())..].starts_with(['\n', '\r']) || span.bytes.start >= text.len();
        let message = match error.message() {
            message if ends_here && message.contains("must be quoted") => "a value is missing after `=`".to_owned(),
            message => message.to_owned(),
        };
        problems.push(match octal_mode(text, span.bytes.start) {
            Some(mode) => {
                let whole = Span { source, bytes: span.bytes.start..span.bytes.start + mode.len() };
                let diagnostic = Diagnostic::error("syntax", &whole, "a file mode is text, since a number cannot begin with 0");
                diagnostic.help(format!("write mode = \"{mode}\"")).remedy(Was::Number(mode.to_owned()), format!("\"{mode}\""))
            }
            None => Diagnostic::error("syntax", &span, message),
        });
    }
    if has_errors {
        // What is left after a slip of the pen would only be judged wrongly.
        return Node::new(&whole, Kind::Table(Vec::new()));
    }
    from_table(source, whole, table.get_ref(), problems)
}

/// The file mode that stands at a place as YAML would have it: `mode = 0644`.
fn octal_mode(text: &str, at: usize) -> Option<&str> {
    let (before, rest) = text.split_at_checked(at)?;
    let key = before.trim_end_matches([' ', '\t']).strip_suffix('=')?.trim_end();
    let digits = &rest[..rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(rest.len())];
    let is_mode = digits.len() == 4 && digits.starts_with('0') && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    let name = key.rsplit(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').next()?;
    (is_mode && (name == "mode" || name.ends_with("_mode"))).then_some(digits)
}

/// Where a file stops being text, and what is wrong there.
fn not_text(text: &str) -> Option<(usize, &'static str, &'static str)> {
    let at = text.find([super::file::BROKEN, '\0'])?;
    Some(match text[at..].strip_prefix(super::file::BROKEN) {
        Some("UTF-16") => (at, "the file is UTF-16", "save it as UTF-8"),
        Some(_) => (at, "what stands here is not UTF-8", "save the file as UTF-8"),
        None => (at, "the file holds a NUL byte", "it may be UTF-16 or no text at all; save it as UTF-8"),
    })
}

fn from_table(source: SourceId, span: Span, table: &DeTable<'_>, problems: &mut Vec<Diagnostic>) -> Node {
    let entries = table
        .iter()
        .map(|(key, value)| Entry {
            key: Key { name: key.get_ref().to_string(), span: Span { source, bytes: key.span() } },
            value: from_value(source, Span { source, bytes: value.span() }, value.get_ref(), problems),
        })
        .collect();
    Node { span, kind: Kind::Table(entries), rendered: false }
}

fn from_value(source: SourceId, span: Span, value: &DeValue<'_>, problems: &mut Vec<Diagnostic>) -> Node {
    let kind = match value {
        DeValue::String(text) => {
            if text.contains('\0') {
                let message = "text with a NUL byte cannot be passed to a host";
                problems.push(Diagnostic::error("nul", &span, message));
            }
            Kind::Text(text.to_string())
        }
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            parsed.map_or_else(
                |_| {
                    problems.push(Diagnostic::error("number", &span, "this number does not fit into 64 bits"));
                    Kind::Later
                },
                Kind::Integer,
            )
        }
        DeValue::Float(number) => {
            let parsed = number.as_str().parse::<f64>().ok().filter(|number| number.is_finite());
            parsed.map_or_else(
                || {
                    problems.push(Diagnostic::error("number", &span, "this number is not finite"));
                    Kind::Later
                },
                Kind::Float,
            )
        }
        DeValue::Boolean(value) => Kind::Boolean(*value),
        DeValue::Datetime(when) => Kind::Datetime(when.to_string()),
        DeValue::Array(items) => Kind::List(
            items
                .iter()
                .map(|item| from_value(source, Span { source, bytes: item.span() }, item.get_ref(), problems))
                .collect(),
        ),
        DeValue::Table(table) => return from_table(source, span, table, problems),
    };
    Node { span, kind, rendered: false }
}
