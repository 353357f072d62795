//! Text that is edited on its way: lines with their endings, regular expressions as Python users know them.

use anyhow::{Result, bail};
use regex::bytes::{Captures, Regex, RegexBuilder};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Visitor};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A value as it may be written in a playbook.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    Text(String),
    Boolean(bool),
    Integer(i64),
    Float(f64),
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Scalar;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("text, a number, true or false")
            }

            // What is known later.
            fn visit_unit<E>(self) -> std::result::Result<Scalar, E> {
                Ok(Scalar::Text("later".into()))
            }

            fn visit_str<E>(self, text: &str) -> std::result::Result<Scalar, E> {
                Ok(Scalar::Text(text.to_owned()))
            }

            fn visit_bool<E>(self, value: bool) -> std::result::Result<Scalar, E> {
                Ok(Scalar::Boolean(value))
            }

            fn visit_i64<E>(self, value: i64) -> std::result::Result<Scalar, E> {
                Ok(Scalar::Integer(value))
            }

            fn visit_f64<E>(self, value: f64) -> std::result::Result<Scalar, E> {
                Ok(Scalar::Float(value))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl JsonSchema for Scalar {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, { "type": "number" }, { "type": "boolean" }] })
    }

    fn inline_schema() -> bool {
        true
    }
}

impl std::fmt::Display for Scalar {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => out.write_str(text),
            Self::Boolean(value) => write!(out, "{value}"),
            Self::Integer(value) => write!(out, "{value}"),
            // `8.0` keeps its point.
            Self::Float(value) => write!(out, "{value:?}"),
        }
    }
}

/// A line and its ending.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    pub text: &'a [u8],
    pub ending: &'a [u8],
}

/// A regular expression over bytes, with the spelling that Python has for a few things. `key` is the parameter's name.
///
/// # Errors
/// Why it cannot be read, and what to write instead.
pub fn compiled(key: &str, pattern: &str) -> Result<Regex> {
    built(key, pattern, false, |_| {})
}

/// The same for an expression that sees many lines at once, of a text that is UTF-8 or not.
///
/// # Errors
/// As [`compiled`].
pub fn built(key: &str, pattern: &str, is_unicode: bool, set: impl Fn(&mut RegexBuilder)) -> Result<Regex> {
    let ours = from_python(pattern);
    // Like Python's for bytes: `.` fits any byte. A class such as `[é]` needs Unicode.
    let build = |unicode: bool| {
        let mut builder = RegexBuilder::new(&ours);
        set(&mut builder);
        builder.unicode(unicode).build()
    };
    let error = match build(is_unicode).or_else(|_| build(!is_unicode)) {
        Ok(regex) => return Ok(regex),
        Err(error) => error.to_string(),
    };
    if error.contains("look-around") {
        bail!("`{key}`: look-around such as `(?!…)` is not supported | match the whole line, or use `search_string`");
    }
    if error.contains("backreference") {
        bail!("`{key}`: a back-reference inside the expression is not supported | write the text out");
    }
    let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
    bail!("`{key}` is no regular expression: {reason} | a literal `{{`, `(` or `[` takes a backslash before it");
}

/// `\Z` is the end, and `\<` and `\>` are plain characters.
fn from_python(pattern: &str) -> String {
    let mut ours = String::with_capacity(pattern.len());
    let mut rest = pattern.chars();
    while let Some(letter) = rest.next() {
        if letter != '\\' {
            ours.push(letter);
            continue;
        }
        match rest.next() {
            Some('Z') => ours.push_str(r"\z"),
            Some(plain @ ('<' | '>')) => ours.push(plain),
            Some(other) => ours.extend(['\\', other]),
            None => ours.push('\\'),
        }
    }
    ours
}

/// A replacement with its references filled in, by the rules of Python's `Match.expand`: `\1`, `\g<1>`, `\g<name>`.
pub fn expanded(template: &[u8], groups: &Captures) -> Vec<u8> {
    let mut line = Vec::with_capacity(template.len());
    let mut rest = template;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            line.push(byte);
            continue;
        }
        if let Some((name, after)) = reference(rest) {
            let group = match name.parse() {
                Ok(number) => groups.get(number),
                Err(_) => groups.name(name),
            };
            line.extend_from_slice(group.map_or(b"".as_slice(), |group| group.as_bytes()));
            rest = after;
            continue;
        }
        match rest.split_first() {
            Some((b'\\', after)) => {
                line.push(b'\\');
                rest = after;
            }
            Some((b't', after)) => {
                line.push(b'\t');
                rest = after;
            }
            Some((b'n', after)) => {
                line.push(b'\n');
                rest = after;
            }
            _ => line.push(b'\\'),
        }
    }
    line
}

/// The name or number of a group after a backslash, and what follows it.
fn reference(text: &[u8]) -> Option<(&str, &[u8])> {
    if let Some(named) = text.strip_prefix(b"g<") {
        let end = named.iter().position(|&byte| byte == b'>')?;
        return Some((std::str::from_utf8(&named[..end]).ok()?, &named[end + 1..]));
    }
    // `\0` is no group in Python.
    if !text.first()?.is_ascii_digit() || text[0] == b'0' {
        return None;
    }
    let digits = text.iter().take(2).take_while(|byte| byte.is_ascii_digit()).count();
    Some((std::str::from_utf8(&text[..digits]).ok()?, &text[digits..]))
}

/// The groups that a replacement refers to.
pub fn references(template: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = template.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'\\' {
            if let Some((name, after)) = reference(rest) {
                found.push(name.to_owned());
                rest = after;
            } else {
                // What is escaped, even a backslash, begins nothing.
                rest = rest.get(1..).unwrap_or_default();
            }
        }
    }
    found
}

pub fn split_mark(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 })
}

pub fn lines_of(text: &[u8]) -> Vec<Line<'_>> {
    text.split_inclusive(|&byte| byte == b'\n')
        .map(|line| {
            let text = line.strip_suffix(b"\n").map_or(line, |text| text.strip_suffix(b"\r").unwrap_or(text));
            Line { text, ending: &line[text.len()..] }
        })
        .collect()
}

pub fn push(text: &mut Vec<u8>, line: Line) {
    text.extend_from_slice(line.text);
    text.extend_from_slice(line.ending);
}

/// Ends the last line of a text, where it has no end.
pub fn end_line(text: &mut Vec<u8>) {
    if !text.is_empty() && !text.ends_with(b"\n") {
        text.push(b'\n');
    }
}

/// Adds a line at the end of a text.
pub fn add_line(text: &mut Vec<u8>, line: &str) {
    end_line(text);
    push(text, Line { text: line.as_bytes(), ending: b"\n" });
}

/// Whether a text holds another one.
pub fn holds(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}
