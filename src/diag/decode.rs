//! From a [`Node`] to a Rust type, with a message for each thing that does not fit.
//!
//! Serde stops at the first problem. To report all in one go, the part that failed is taken out and the rest is
//! tried again; unknown keys are found on the way, since a struct tells its field names.

use std::cell::RefCell;
use std::fmt::Display;

use serde::de::{self, DeserializeOwned, IntoDeserializer, Visitor};

use super::{Diagnostic, Entry, Key, Kind, Node, Remedy, Span, Was, sure};

/// Decodes a tree. All problems go to `problems`; the value comes out only when there was none.
///
/// A [`Kind::Later`] fits every type and every key, so that the rest of a table can be checked before a run.
pub fn decode<T: DeserializeOwned>(node: &Node, problems: &mut Vec<Diagnostic>) -> Option<T> {
    decode_with(node, "key", problems)
}

/// As [`decode`], where `noun` is what messages call an unknown key: `parameter of file`, `setting`, …
pub fn decode_with<T: DeserializeOwned>(node: &Node, noun: &str, problems: &mut Vec<Diagnostic>) -> Option<T> {
    let mut node = node.clone();
    let found = RefCell::new(Vec::new());
    let mut failed = false;
    // Each round takes one part out, so there are at most as many rounds as the tree has parts.
    loop {
        found.borrow_mut().clear();
        let reader = Reader { node: &node, noun, found: &found };
        match T::deserialize(reader) {
            Ok(value) => {
                failed |= !found.borrow().is_empty();
                problems.append(&mut found.borrow_mut());
                return (!failed).then_some(value);
            }
            Err(problem) => {
                failed = true;
                let span = problem.span.clone().unwrap_or_else(|| node.span.clone());
                let part_left_out = problem.can_be_left_out && remove(&mut node, &span);
                let mut diagnostic = Diagnostic::error(problem.code, &span, problem.message);
                diagnostic.label = problem.label;
                diagnostic.help = problem.help;
                diagnostic.remedy = problem.remedy.map(|(was, text)| Remedy { span: span.clone(), was, text });
                problems.push(diagnostic);
                if !part_left_out {
                    problems.append(&mut found.borrow_mut());
                    return None;
                }
            }
        }
    }
}

/// Takes the part with exactly this span out of the tree: a key with its value, or an item.
fn remove(node: &mut Node, span: &Span) -> bool {
    match &mut node.kind {
        Kind::Table(entries) => {
            if let Some(at) = entries.iter().position(|entry| entry.value.span == *span) {
                // At first it fits everything, so that nobody says that it is missing; then it goes.
                if entries[at].value.kind == Kind::Later {
                    entries.remove(at);
                } else {
                    entries[at].value.kind = Kind::Later;
                }
                return true;
            }
            entries.iter_mut().any(|entry| remove(&mut entry.value, span))
        }
        Kind::List(items) => {
            if let Some(at) = items.iter().position(|item| item.span == *span) {
                if items[at].kind == Kind::Later {
                    items.remove(at);
                } else {
                    items[at].kind = Kind::Later;
                }
                return true;
            }
            items.iter_mut().any(|item| remove(item, span))
        }
        _ => false,
    }
}

/// Why a part does not fit. The place is filled in by the innermost reader that knows it.
#[derive(Debug)]
struct Problem {
    code: &'static str,
    message: String,
    label: String,
    help: Option<String>,
    /// What mends it, where its place holds what was thought of.
    remedy: Option<(Was, String)>,
    span: Option<Span>,
    key: Option<String>,
    /// A missing key cannot be left out to look for further problems.
    can_be_left_out: bool,
}

impl Problem {
    fn at(mut self, node: &Node) -> Self {
        if self.span.is_none() {
            self.span = Some(node.span.clone());
        }
        self
    }

    /// Names the key whose value did not fit, once.
    fn under(mut self, key: &str) -> Self {
        if self.key.is_none() {
            self.key = Some(key.to_owned());
            if self.code == "arg-type" {
                self.message = format!("`{key}` {}", self.message);
            } else if self.code == "arg-value" {
                self.message = format!("`{key}`: {}", self.message);
            }
        }
        self
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl Problem {
    fn new(code: &'static str, message: String) -> Self {
        Self {
            code,
            message,
            label: String::new(),
            help: None,
            remedy: None,
            span: None,
            key: None,
            can_be_left_out: true,
        }
    }
}

impl de::Error for Problem {
    /// A type's own check: the text is the message, and what follows ` | ` is the help line. What follows another one is the
    /// remedy, `OLD => NEW`, as they would stand in the file.
    fn custom<T: Display>(text: T) -> Self {
        let text = text.to_string();
        let Some((message, help)) = text.split_once(" | ") else { return Self::new("arg-value", text) };
        let mut problem = Self::new("arg-value", message.to_owned());
        problem.help = Some(help.to_owned());
        if let Some((help, remedy)) = help.split_once(" | ")
            && let Some((old, new)) = remedy.split_once(" => ")
        {
            problem.help = Some(help.to_owned());
            let was = match old.strip_prefix('"').and_then(|old| old.strip_suffix('"')) {
                Some(text) => Was::Text(text.to_owned()),
                None => Was::Number(old.to_owned()),
            };
            problem.remedy = Some((was, new.to_owned()));
        }
        problem
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new("arg-type", format!("must be {}", plain(&expected.to_string())))
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let found = match found {
            de::Unexpected::Signed(number) => format!("{number} is out of range"),
            de::Unexpected::Unsigned(number) => format!("{number} is out of range"),
            other => format!("{other} does not fit"),
        };
        let mut problem = Self::new("arg-type", format!("must be {}", plain(&expected.to_string())));
        problem.label = found;
        problem
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let list = expected.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let mut problem = Self::new("arg-value", format!("`{variant}` is not one of {list}"));
        problem.help = super::nearest(variant, expected.iter().copied()).map(|near| format!("did you mean `{near}`?"));
        problem.remedy = sure(variant, expected.iter().copied()).map(|meant| (Was::Name(variant.to_owned()), meant.to_owned()));
        problem
    }

    fn missing_field(field: &'static str) -> Self {
        let mut problem = Self::new("missing", format!("`{field}` is missing"));
        problem.key = Some(field.to_owned());
        problem.can_be_left_out = false;
        problem
    }

    fn duplicate_field(field: &'static str) -> Self {
        let message = format!("`{field}` is given twice, under two of its names");
        let mut problem = Self::new("duplicate", message);
        problem.can_be_left_out = false;
        problem
    }
}

/// Serde's names of types, in the words of our messages.
fn plain(expected: &str) -> String {
    match expected {
        "a boolean" => "true or false".into(),
        "a string" | "string" | "a borrowed string" => "text".into(),
        "a sequence" => "a list".into(),
        "a map" => "a table".into(),
        other if other.starts_with("struct ") => "a table".into(),
        other if other.starts_with("u8") || other.starts_with("u16") || other.starts_with("u32") || other.starts_with("u64") => {
            match other {
                "u8" => "a whole number from 0 to 255".into(),
                _ if other.starts_with("u16") => "a whole number from 0 to 65535".into(),
                _ => "a whole number from 0".into(),
            }
        }
        other if other.starts_with("i8") || other.starts_with("i16") || other.starts_with("i32") || other.starts_with("i64") => {
            "a whole number".into()
        }
        "f32" | "f64" => "a number".into(),
        other => other.into(),
    }
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    node: &'a Node,
    noun: &'a str,
    found: &'a RefCell<Vec<Diagnostic>>,
}

impl<'a> Reader<'a> {
    /// What came out of a template, as the wanted type: `"{{ port }}"` may stand for text and `"{{ text }}"` for a number.
    fn converted(self, wanted: &str) -> Option<Kind> {
        if !self.node.rendered {
            return None;
        }
        match (&self.node.kind, wanted) {
            (Kind::Integer(number), "Kind::Text(value)") => Some(Kind::Text(number.to_string())),
            // `1.0` is a version, not `1`.
            (Kind::Float(number), "Kind::Text(value)") => Some(Kind::Text(format!("{number:?}"))),
            (Kind::Boolean(value), "Kind::Text(value)") => Some(Kind::Text(value.to_string())),
            (Kind::Text(text), "Kind::Integer(value)") => text.trim().parse().ok().map(Kind::Integer),
            (Kind::Text(text), "Kind::Boolean(value)") => match text.trim().to_lowercase().as_str() {
                "true" | "yes" | "on" => Some(Kind::Boolean(true)),
                "false" | "no" | "off" => Some(Kind::Boolean(false)),
                _ => None,
            },
            _ => None,
        }
    }

    fn of(self, node: &'a Node) -> Self {
        Reader { node, ..self }
    }

    fn mismatch<'de, V: Visitor<'de>>(self, visitor: &V) -> Problem {
        let mut problem = <Problem as de::Error>::invalid_type(de::Unexpected::Other(""), visitor);
        problem.label = match (self.node.what(), problem.message.as_str()) {
            ("a number", "must be text") => "this is a number; put it in quotes".to_owned(),
            (what, _) => format!("this is {what}"),
        };
        problem.remedy = self.conversion(&problem.message);
        problem.at(self.node)
    }

    /// The same value as the wanted type, where nothing of it is lost.
    fn conversion(self, message: &str) -> Option<(Was, String)> {
        if self.node.rendered {
            return None;
        }
        match (&self.node.kind, message) {
            (Kind::Text(text), "must be true or false") => {
                let meant = match text.to_ascii_lowercase().as_str() {
                    "true" | "yes" | "on" => "true",
                    "false" | "no" | "off" => "false",
                    _ => return None,
                };
                Some((Was::Text(text.clone()), meant.into()))
            }
            (Kind::Text(text), message) if message.contains("whole number") => {
                let number: i64 = text.parse().ok()?;
                (number.to_string() == *text).then(|| (Was::Text(text.clone()), number.to_string()))
            }
            (Kind::Integer(_) | Kind::Float(_), "must be text") => Some((Was::AnyNumber, String::new())),
            // With a comma it may be meant as several.
            (Kind::Text(text), "must be a list") if !text.contains(',') => Some((Was::Alone(text.clone()), String::new())),
            _ => None,
        }
    }
}

macro_rules! fits {
    ($($method:ident($pattern:pat) => $visit:ident($value:expr), later $later:ident($neutral:expr);)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            let converted = self.converted(stringify!($pattern));
            match converted.as_ref().unwrap_or(&self.node.kind) {
                $pattern => visitor.$visit($value).map_err(|problem: Problem| problem.at(self.node)),
                Kind::Later => visitor.$later($neutral).map_err(|problem: Problem| problem.at(self.node)),
                _ => Err(self.mismatch(&visitor)),
            }
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Reader<'_> {
    type Error = Problem;

    fits! {
        deserialize_bool(Kind::Boolean(value)) => visit_bool(*value), later visit_bool(false);
        deserialize_i8(Kind::Integer(value)) => visit_i64(*value), later visit_i64(1);
        deserialize_i16(Kind::Integer(value)) => visit_i64(*value), later visit_i64(1);
        deserialize_i32(Kind::Integer(value)) => visit_i64(*value), later visit_i64(1);
        deserialize_i64(Kind::Integer(value)) => visit_i64(*value), later visit_i64(1);
        deserialize_u8(Kind::Integer(value)) => visit_i64(*value), later visit_i64(1);
        deserialize_u16(Kind::Integer(value)) => visit_i64(*value), later visit_i64(1);
        deserialize_u32(Kind::Integer(value)) => visit_i64(*value), later visit_i64(1);
        deserialize_u64(Kind::Integer(value)) => visit_i64(*value), later visit_i64(1);
        deserialize_char(Kind::Text(value)) => visit_str(value), later visit_str("x");
        deserialize_str(Kind::Text(value)) => visit_str(value), later visit_str("");
        deserialize_string(Kind::Text(value)) => visit_str(value), later visit_str("");
        deserialize_bytes(Kind::Text(value)) => visit_str(value), later visit_str("");
        deserialize_byte_buf(Kind::Text(value)) => visit_str(value), later visit_str("");
        deserialize_identifier(Kind::Text(value)) => visit_str(value), later visit_str("");
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.node.kind {
            Kind::None | Kind::Later => visitor.visit_unit(),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.node.kind {
            Kind::Float(number) => visitor.visit_f64(number),
            Kind::Integer(number) => visitor.visit_i64(number),
            Kind::Later => visitor.visit_f64(1.0),
            _ => return Err(self.mismatch(&visitor)),
        }
        .map_err(|problem: Problem| problem.at(self.node))
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.node.kind {
            Kind::Text(text) | Kind::Datetime(text) => visitor.visit_str(text),
            Kind::Integer(number) => visitor.visit_i64(*number),
            Kind::Float(number) => visitor.visit_f64(*number),
            Kind::Boolean(value) => visitor.visit_bool(*value),
            Kind::List(_) => return self.deserialize_seq(visitor),
            Kind::Table(_) => return self.deserialize_map(visitor),
            Kind::None => visitor.visit_none(),
            // It is read where its value is known.
            Kind::Later | Kind::Secret(_) => visitor.visit_unit(),
        }
        .map_err(|problem: Problem| if problem.label.is_empty() && problem.code == "arg-type" { self.labelled(problem) } else { problem }.at(self.node))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.node.kind {
            Kind::None => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.node.kind {
            Kind::List(items) => visitor.visit_seq(Items { reader: self, rest: items.iter() }),
            Kind::Later => visitor.visit_seq(Items { reader: self, rest: [].iter() }),
            _ => Err(self.mismatch(&visitor)),
        }
        .map_err(|problem| problem.at(self.node))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.node.kind {
            Kind::Table(entries) => visitor.visit_map(Pairs { reader: self, rest: entries.iter(), value: None, known: None }),
            Kind::Later => visitor.visit_map(Pairs { reader: self, rest: [].iter(), value: None, known: None }),
            _ => Err(self.mismatch(&visitor)),
        }
        .map_err(|problem| problem.at(self.node))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        match &self.node.kind {
            Kind::Table(entries) => {
                visitor.visit_map(Pairs { reader: self, rest: entries.iter(), value: None, known: Some(fields) })
            }
            _ => Err(self.mismatch(&visitor)),
        }
        .map_err(|problem| problem.at(self.node))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let word = match &self.node.kind {
            Kind::Text(text) => text.as_str(),
            Kind::Later => variants[0],
            _ => {
                let list = variants.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                let mut problem = Problem::new("arg-type", format!("must be one of {list}"));
                problem.label = format!("this is {}", self.node.what());
                return Err(problem.at(self.node));
            }
        };
        let word: de::value::StrDeserializer<'_, Problem> = word.into_deserializer();
        visitor.visit_enum(word).map_err(|problem| problem.at(self.node))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_unit()
    }
}

impl Reader<'_> {
    fn labelled(self, mut problem: Problem) -> Problem {
        problem.label = format!("this is {}", self.node.what());
        problem
    }
}

struct Items<'a> {
    reader: Reader<'a>,
    rest: std::slice::Iter<'a, Node>,
}

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = Problem;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Problem> {
        let Some(node) = self.rest.next() else { return Ok(None) };
        seed.deserialize(self.reader.of(node)).map(Some).map_err(|problem| problem.at(node))
    }
}

struct Pairs<'a> {
    reader: Reader<'a>,
    rest: std::slice::Iter<'a, Entry>,
    value: Option<&'a Entry>,
    /// The names a struct knows; a map knows none in advance.
    known: Option<&'static [&'static str]>,
}

impl Pairs<'_> {
    fn report_unknown(&self, key: &Key, known: &[&str]) {
        // `parameter of X` becomes `parameter NAME of X`.
        let message = match self.reader.noun.split_once(" of ") {
            Some((what, of)) => format!("unknown {what} `{}` of {of}", key.name),
            None => format!("unknown {} `{}`", self.reader.noun, key.name),
        };
        let mut diagnostic = Diagnostic::error("unknown-key", &key.span, message).suggest_name(&key.name, known.iter().copied());
        if diagnostic.help.is_none() {
            diagnostic.help = Some(format!("known here: {}", known.join(", ")));
        }
        self.reader.found.borrow_mut().push(diagnostic);
    }
}

impl<'de> de::MapAccess<'de> for Pairs<'_> {
    type Error = Problem;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Problem> {
        while let Some(entry) = self.rest.next() {
            if let Some(known) = self.known
                && !known.contains(&entry.key.name.as_str())
            {
                self.report_unknown(&entry.key, known);
                continue;
            }
            self.value = Some(entry);
            let key: de::value::StrDeserializer<'_, Problem> = entry.key.name.as_str().into_deserializer();
            return seed.deserialize(key).map(Some).map_err(|mut problem| {
                problem.span = Some(entry.key.span.clone());
                problem
            });
        }
        Ok(None)
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        let entry = self.value.take().expect("serde asks for a value after its key");
        seed.deserialize(self.reader.of(&entry.value))
            .map_err(|problem| problem.at(&entry.value).under(&entry.key.name))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::super::{Sources, draw, parse};
    use super::*;

    #[derive(Deserialize, Debug)]
    #[expect(dead_code, reason = "only read through Debug")]
    struct Group {
        name: String,
        gid: Option<u32>,
        #[serde(default)]
        state: State,
    }

    #[derive(Deserialize, Debug, Default)]
    #[serde(rename_all = "snake_case")]
    enum State {
        #[default]
        Present,
        Absent,
    }

    /// The value as `Debug` shows it, or the first line of each message.
    fn check(text: &str) -> String {
        let mut sources = Sources::default();
        let mut problems = Vec::new();
        let node = parse(sources.add("t.toml", text), text, &mut problems);
        let value = decode_with::<Group>(&node, "parameter of group", &mut problems);
        if problems.is_empty() {
            return format!("{:?}", value.expect("no problem, so a value"));
        }
        assert!(value.is_none());
        let drawn = draw(&problems, &sources, false);
        drawn.lines().filter(|line| line.starts_with("error") || line.contains("help")).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_good_table_becomes_a_value() {
        assert_eq!(check("name = 'www'\ngid = 80"), "Group { name: \"www\", gid: Some(80), state: Present }");
    }

    #[test]
    fn every_problem_is_reported_in_one_go() {
        let expected = "error[arg-type]: `name` must be text
error[arg-type]: `gid` must be a whole number from 0
error[unknown-key]: unknown parameter `stat` of group
  = help: did you mean `state`?
error[arg-value]: `state`: `abesnt` is not one of `present`, `absent`
  = help: did you mean `absent`?";
        let text = "name = 4\ngid = 'x'\nstat = 1\nstate = 'abesnt'";
        let mut found: Vec<_> = check(text).lines().map(str::to_owned).collect();
        let mut wanted: Vec<_> = expected.lines().map(str::to_owned).collect();
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted);
    }
}
