//! Parameters of a described module: their types, how they are read from a playbook, and the manual about them.

use anyhow::{Result, bail};
use indexmap::IndexMap;
use minijinja::Value;
use regex::Regex;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::diag::{Diagnostic, Kind, Node, decode_with};
use crate::module::{Lasting, Mode, Path};
use crate::modules::text::Scalar;

/// What a parameter may be.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// For the manual.
    pub about: String,
    #[serde(default, rename = "type")]
    pub kind: Type,
    #[serde(default)]
    pub required: bool,
    /// Stands where the playbook says nothing.
    pub default: Option<serde_json::Value>,
    /// The only texts that it may be.
    #[serde(default)]
    pub choices: Vec<String>,
    /// A regular expression that the whole text must match, and each item of a list.
    pub pattern: Option<String>,
    /// The text may have several lines.
    #[serde(default)]
    pub multiline: bool,
    /// It is shown nowhere.
    #[serde(default)]
    pub secret: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    #[default]
    Text,
    Bool,
    Integer,
    Number,
    /// On the host, absolute or below the home folder.
    Path,
    /// Of a file; it arrives as four octal digits.
    Mode,
    /// In seconds.
    Duration,
    /// Of texts; one text is a list of one.
    List,
    Table,
    Any,
}

/// A value of a parameter, before it is known on which host.
#[derive(Clone, Debug)]
pub enum Argument {
    Plain(Value),
    Path(Path),
}

/// One scalar, or a list of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Items {
    None(()),
    Many(Vec<Scalar>),
    One(Scalar),
}

impl Param {
    /// What is wrong with the description itself.
    ///
    /// # Errors
    /// In the words of the one who wrote it.
    pub fn check(&self) -> Result<()> {
        if let Some(pattern) = &self.pattern
            && let Err(error) = whole(pattern)
        {
            bail!("`pattern` is no regular expression: {error}");
        }
        let is_text = matches!(self.kind, Type::Text | Type::List);
        if !is_text && (!self.choices.is_empty() || self.pattern.is_some() || self.multiline) {
            bail!("`choices`, `pattern` and `multiline` are for `text` and `list`");
        }
        if self.required && self.default.is_some() {
            bail!("a parameter that is required has no `default`");
        }
        Ok(())
    }

    /// The value of a node; `None` where it does not fit, and problems tell why.
    fn read(&self, module: &str, name: &str, node: &Node, problems: &mut Vec<Diagnostic>) -> Option<Argument> {
        let alone = Node::new(&node.span, Kind::Table(vec![crate::diag::Entry { key: crate::diag::Key { name: name.to_owned(), span: node.span.clone() }, value: node.clone() }]));
        let noun = format!("parameter of `{module}`");
        let value = match self.kind {
            Type::Text => Value::from(one::<Scalar>(&alone, &noun, problems)?.to_string()),
            Type::Bool => Value::from(one::<bool>(&alone, &noun, problems)?),
            Type::Integer => Value::from(one::<i64>(&alone, &noun, problems)?),
            Type::Number => Value::from(one::<f64>(&alone, &noun, problems)?),
            Type::Path => return one::<Path>(&alone, &noun, problems).map(Argument::Path),
            Type::Mode => Value::from(Mode::text(one::<Mode>(&alone, &noun, problems)?.applied_to(0, false))),
            Type::Duration => Value::from(one::<Lasting>(&alone, &noun, problems)?.0.as_secs()),
            Type::List => match one::<Items>(&alone, &noun, problems)? {
                Items::None(()) => Value::from(Vec::<String>::new()),
                Items::One(one) => Value::from(vec![one.to_string()]),
                Items::Many(many) => many.iter().map(|one| Value::from(one.to_string())).collect(),
            },
            Type::Table => match &node.kind {
                Kind::Table(_) => crate::template::value_of(node),
                _ => {
                    problems.push(Diagnostic::error("arg-type", &node.span, format!("`{name}` must be a table")).label(format!("this is {}", node.what())));
                    return None;
                }
            },
            Type::Any => crate::template::value_of(node),
        };
        if let Err(message) = self.fits(name, &value) {
            problems.push(refused(node, &message.to_string()));
            return None;
        }
        Some(Argument::Plain(value))
    }

    /// Whether a text, or each text of a list, is one that is allowed.
    fn fits(&self, name: &str, value: &Value) -> Result<()> {
        let texts: Vec<String> = match self.kind {
            Type::Text => vec![value.to_string()],
            Type::List => value.try_iter()?.map(|item| item.to_string()).collect(),
            _ => return Ok(()),
        };
        for text in texts {
            let shown = if self.secret { "***".to_owned() } else { text.escape_debug().to_string() };
            if !self.choices.is_empty() && !self.choices.contains(&text) {
                let near = crate::diag::nearest(&text, self.choices.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"));
                bail!("`{name}` cannot be `{shown}` | {}", near.unwrap_or_else(|| format!("it is one of {}", self.choices.join(", "))));
            }
            if !self.multiline && text.contains(['\n', '\r']) {
                bail!("`{name}` is one line | this text has a line break");
            }
            if let Some(pattern) = &self.pattern
                && !whole(pattern)?.is_match(&text)
            {
                bail!("`{name}` cannot be `{shown}` | it must match `{pattern}`");
            }
        }
        Ok(())
    }

    /// What the manual says.
    fn schema(&self) -> serde_json::Value {
        let mut schema = match self.kind {
            Type::Text if !self.choices.is_empty() => json!({ "type": "string", "enum": self.choices }),
            Type::Text | Type::Path | Type::Mode => json!({ "type": "string" }),
            Type::Bool => json!({ "type": "boolean" }),
            Type::Integer => json!({ "type": "integer" }),
            Type::Number => json!({ "type": "number" }),
            Type::Duration => json!({ "anyOf": [{ "type": "number" }, { "type": "string" }] }),
            Type::List => json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] }),
            Type::Table => json!({ "type": "object" }),
            Type::Any => json!({}),
        };
        schema["description"] = json!(self.about);
        if let Some(default) = &self.default {
            schema["default"] = default.clone();
        }
        schema
    }
}

fn whole(pattern: &str) -> Result<Regex> {
    Ok(Regex::new(&format!("^(?:{pattern})$"))?)
}

fn one<T: DeserializeOwned>(alone: &Node, noun: &str, problems: &mut Vec<Diagnostic>) -> Option<T> {
    decode_with::<IndexMap<String, T>>(alone, noun, problems).and_then(|map| map.into_values().next())
}

fn refused(node: &Node, text: &str) -> Diagnostic {
    let (message, help) = text.split_once(" | ").unwrap_or((text, ""));
    let diagnostic = Diagnostic::error("arg-value", &node.span, message);
    if help.is_empty() { diagnostic } else { diagnostic.help(help) }
}

/// The arguments of a task. What is known later is none.
pub fn read(module: &str, params: &IndexMap<String, Param>, table: &Node, problems: &mut Vec<Diagnostic>) -> Option<IndexMap<String, Argument>> {
    let before = problems.len();
    if !matches!(table.kind, Kind::Table(_)) {
        let message = format!("`{module}` must be a table of parameters");
        problems.push(Diagnostic::error("arg-type", &table.span, message).label(format!("this is {}", table.what())).help(format!("write `{module} = {{ … }}`; `mutate modules {module}` is the manual")));
        return None;
    }
    for entry in table.entries().iter().filter(|entry| !params.contains_key(&entry.key.name)) {
        let name = entry.key.name.as_str();
        let mut diagnostic = Diagnostic::error("unknown-key", &entry.key.span, format!("unknown parameter `{name}` of `{module}`")).suggest_name(name, params.keys().map(String::as_str));
        if diagnostic.help.is_none() {
            diagnostic.help = Some(format!("known here: {}", params.keys().map(String::as_str).collect::<Vec<_>>().join(", ")));
        }
        problems.push(diagnostic);
    }
    let mut arguments = IndexMap::new();
    for (name, param) in params {
        let given = table.get(name).filter(|node| node.kind != Kind::None);
        let argument = match (given, &param.default) {
            (Some(node), _) if crate::module::has_later(node) => Some(Argument::Plain(Value::from(()))),
            (Some(node), _) => param.read(module, name, node, problems),
            (None, Some(default)) => param.read(module, name, &node_of(default, table), problems),
            (None, None) if param.required => {
                problems.push(Diagnostic::error("missing", &table.span, format!("`{name}` is missing")).help(format!("`mutate modules {module}` is the manual")));
                None
            }
            (None, None) => Some(Argument::Plain(Value::from(()))),
        };
        arguments.extend(argument.map(|argument| (name.clone(), argument)));
    }
    (problems.len() == before).then_some(arguments)
}

/// A default as if it stood in the playbook.
fn node_of(value: &serde_json::Value, place: &Node) -> Node {
    crate::template::data_of(&crate::template::from_json(value), place).unwrap_or_else(|_| Node::new(&place.span, Kind::None))
}

/// The manual of all parameters, as JSON Schema.
pub fn schema(about: &str, params: &IndexMap<String, Param>) -> schemars::Schema {
    let properties: serde_json::Map<String, serde_json::Value> = params.iter().map(|(name, param)| (name.clone(), param.schema())).collect();
    let required: Vec<&String> = params.iter().filter(|(_, param)| param.required).map(|(name, _)| name).collect();
    let schema = json!({ "description": about, "type": "object", "properties": properties, "required": required, "additionalProperties": false });
    schemars::Schema::try_from(schema).unwrap_or_default()
}
