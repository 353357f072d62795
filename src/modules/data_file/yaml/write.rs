//! Values as YAML, written as the rest of the file is.

use std::collections::BTreeMap;

use granit_parser::ScalarStyle;
use serde_json::{Map, Value};

use super::tree::{Kind, Node};

/// How a file is written.
pub struct Style {
    pub line_end: &'static str,
    /// How far a table in a table is indented.
    step: usize,
    /// How far a list in a table is indented.
    list_step: usize,
    /// From a `-` to what stands behind it.
    pub dash: usize,
    /// Whether most quotes are `'`.
    is_single: bool,
    /// Whether text may be written as `|`. Readers do not agree on one that ends the file without a line end.
    has_block_scalars: bool,
}

/// Where a value goes.
#[derive(Clone, Copy, Default)]
pub struct Spot {
    /// Column of the key or `-` before it.
    pub column: usize,
    /// Column of its first line, for a value that begins behind a `-`.
    pub inline: Option<usize>,
    /// Column of its lines, where the file has chosen one.
    pub lines: Option<usize>,
    /// How the text that it replaces is quoted.
    pub quotes: Option<ScalarStyle>,
}

impl Style {
    pub fn of(text: &str, root: Option<&Node>, has_block_scalars: bool) -> Self {
        let (mut steps, mut list_steps, mut dashes, mut singles) = (Vec::new(), Vec::new(), Vec::new(), 0_isize);
        if let Some(root) = root {
            root.each(&mut |node| {
                match node.style() {
                    Some(ScalarStyle::SingleQuoted) => singles += 1,
                    Some(ScalarStyle::DoubleQuoted) => singles -= 1,
                    _ => {}
                }
                for entry in node.entries().iter().filter(|_| node.is_block()) {
                    let (from, to) = (column(text, entry.start), column(text, entry.value.content));
                    let dash = column(text, entry.value.start).saturating_sub(from);
                    let is_same_line = !text[entry.mark..entry.value.start].contains('\n');
                    match (&entry.key, &entry.value.kind) {
                        (None, _) if is_same_line && dash > 1 => dashes.push(dash),
                        (Some(_), Kind::Collection { is_map: true, is_flow: false, .. }) if to > from => steps.push(to - from),
                        (Some(_), Kind::Collection { is_map: false, is_flow: false, .. }) if to >= from => list_steps.push(to - from),
                        _ => {}
                    }
                }
            });
        }
        let list_step = most(&list_steps);
        let step = most(&steps).or(list_step.filter(|step| *step > 0)).unwrap_or(2);
        let line_end = if text.find('\n').is_some_and(|at| text[..at].ends_with('\r')) { "\r\n" } else { "\n" };
        Self { line_end, step, list_step: list_step.unwrap_or(step), dash: most(&dashes).unwrap_or(2), is_single: singles > 0, has_block_scalars: has_block_scalars && (text.is_empty() || text.ends_with('\n')) }
    }

    /// What stands behind the key or `-`, and the lines below it.
    pub fn value(&self, value: &Value, spot: Spot) -> (String, Vec<String>) {
        let mut lines = Vec::new();
        let indent = spot.inline.or(spot.lines);
        match value {
            Value::String(text) => {
                if let Some((head, body)) = self.block_scalar(text, spot) {
                    return (head.to_owned(), body);
                }
                return (self.text(text, spot.quotes, false), lines);
            }
            Value::Object(table) if !table.is_empty() => {
                let indent = indent.unwrap_or(spot.column + self.step);
                for (name, value) in table {
                    lines.extend(self.entry(Some(name), value, indent, None));
                }
            }
            Value::Array(list) if !list.is_empty() => {
                let indent = indent.unwrap_or(spot.column + self.list_step);
                for value in list {
                    lines.extend(self.entry(None, value, indent, None));
                }
            }
            _ => return (self.flow(value, false), lines),
        }
        match spot.inline {
            Some(_) => (lines.remove(0).trim_start().to_owned(), lines),
            None => (String::new(), lines),
        }
    }

    /// The lines of an entry of a table, or of an item of a list.
    pub fn entry(&self, name: Option<&str>, value: &Value, column: usize, dash: Option<usize>) -> Vec<String> {
        let dash = dash.unwrap_or(self.dash);
        let inline = name.is_none().then_some(column + dash);
        let (head, mut lines) = self.value(value, Spot { column, inline, ..Spot::default() });
        let mark = name.map_or_else(|| format!("{:<dash$}", "-"), |name| format!("{}: ", self.text(name, None, false)));
        lines.insert(0, format!("{}{mark}{head}", " ".repeat(column)).trim_end().to_owned());
        lines
    }

    /// A value in one line; strings and names in double quotes, as in JSON, where asked.
    pub fn flow(&self, value: &Value, is_json: bool) -> String {
        let text = |text: &str| if is_json { double(text) } else { self.text(text, None, true) };
        match value {
            Value::String(value) => text(value),
            Value::Array(list) => format!("[{}]", list.iter().map(|value| self.flow(value, is_json)).collect::<Vec<_>>().join(", ")),
            Value::Object(table) => format!("{{{}}}", table.iter().map(|(name, value)| format!("{}: {}", text(name), self.flow(value, is_json))).collect::<Vec<_>>().join(", ")),
            Value::Number(number) if number.is_f64() => {
                // Without a point and a sign, `1e9` is text for YAML 1.1.
                let number = number.to_string();
                let Some((digits, power)) = number.split_once(['e', 'E']) else { return number };
                let (digits, power) = (if digits.contains('.') { digits.to_owned() } else { format!("{digits}.0") }, power.trim_start_matches('+'));
                if power.starts_with('-') { format!("{digits}e{power}") } else { format!("{digits}e+{power}") }
            }
            value => value.to_string(),
        }
    }

    /// An entry as it stands between `{` and `}`, or an item as between `[` and `]`.
    pub fn flow_entry(&self, name: Option<&str>, value: &Value, is_json: bool) -> String {
        let Some(name) = name else { return self.flow(value, is_json) };
        let all = self.flow(&Value::Object(Map::from_iter([(name.to_owned(), value.clone())])), is_json);
        all[1..all.len() - 1].to_owned()
    }

    /// A string in one line, in quotes where it needs them or had them.
    pub fn text(&self, text: &str, quotes: Option<ScalarStyle>, is_flow: bool) -> String {
        let can_be_single = !text.chars().any(is_special);
        match quotes {
            Some(ScalarStyle::SingleQuoted) if can_be_single => single(text),
            Some(ScalarStyle::DoubleQuoted) => double(text),
            _ if is_plain(text, is_flow) => text.to_owned(),
            _ if can_be_single && self.is_single => single(text),
            _ => double(text),
        }
    }

    /// A string of several lines as `|`; any string, where it replaces a `|` or `>`.
    fn block_scalar(&self, text: &str, spot: Spot) -> Option<(&'static str, Vec<String>)> {
        let body = text.strip_suffix('\n').unwrap_or(text);
        let was_block = matches!(spot.quotes, Some(ScalarStyle::Literal | ScalarStyle::Folded));
        let was_quoted = matches!(spot.quotes, Some(ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted));
        let is_odd = body.is_empty() || body.starts_with([' ', '\t', '\n']) || body.ends_with('\n') || text.chars().any(|char| char != '\n' && is_special(char));
        let has_blanks = body.lines().any(|line| !line.is_empty() && line.trim().is_empty());
        if is_odd || has_blanks || was_quoted || !self.has_block_scalars || !was_block && !body.contains('\n') {
            return None;
        }
        let is_folded = spot.quotes == Some(ScalarStyle::Folded) && !body.contains('\n');
        let head = match (is_folded, body.len() == text.len()) {
            (true, true) => ">-",
            (true, false) => ">",
            (false, true) => "|-",
            (false, false) => "|",
        };
        let indent = " ".repeat(spot.lines.unwrap_or(spot.column + self.step));
        Some((head, body.split('\n').map(|line| if line.is_empty() { String::new() } else { format!("{indent}{line}") }).collect()))
    }
}

/// The column of a place, from 0.
pub fn column(text: &str, at: usize) -> usize {
    text[..at].chars().rev().take_while(|char| *char != '\n' && *char != '\u{feff}').count()
}

/// What is there most often; the first of them, when there are several.
fn most(numbers: &[usize]) -> Option<usize> {
    let mut counts = BTreeMap::new();
    for number in numbers {
        *counts.entry(number).or_insert(0_usize) += 1;
    }
    numbers.iter().rev().max_by_key(|number| counts.get(number)).copied()
}

/// Whether a character needs double quotes.
fn is_special(char: char) -> bool {
    char.is_control() || matches!(char, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn single(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn double(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            _ if is_special(char) => out.extend(format!("\\u{:04x}", u32::from(char)).chars()),
            _ => out.push(char),
        }
    }
    out.push('"');
    out
}

/// Whether any reader of YAML 1.1 or 1.2 takes this for the string that it is.
fn is_plain(text: &str, is_flow: bool) -> bool {
    let word = text.to_ascii_lowercase();
    let is_word = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", "=", "<<"].contains(&word.as_str());
    let is_odd = text.is_empty() || text.trim() != text || text.chars().any(is_special);
    let is_mark = text.starts_with(['?', ':', ',', '[', ']', '{', '}', '#', '&', '*', '!', '|', '>', '\'', '"', '%', '@', '`']) || text == "-" || text.starts_with("- ") || text.starts_with("---") || text.starts_with("...");
    let is_torn = text.contains(": ") || text.ends_with(':') || text.contains(" #") || is_flow && text.contains([',', '[', ']', '{', '}', ':', '?']);
    !(is_word || is_odd || is_mark || is_torn || is_number(&word) || is_date(text))
}

/// Whether a reader may take a text in lower case for a number.
fn is_number(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_based = |mark: &str, base: u32| text.strip_prefix(mark).is_some_and(|digits| !digits.is_empty() && digits.chars().all(|char| char == '_' || char.is_digit(base)));
    let digits = text.replace(['_', ','], "");
    let starts = text.starts_with(|char: char| char.is_ascii_digit() || char == '.');
    let is_whole = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (hours, last) = digits.rsplit_once(':').unwrap_or(("", ""));
    // `1:30` counts to 60 in YAML 1.1.
    let is_sexagesimal = hours.split(':').all(is_whole) && last.starts_with(|char: char| char.is_ascii_digit()) && last.parse::<f64>().is_ok();
    is_based("0x", 16) || is_based("0o", 8) || is_based("0b", 2) || starts && (is_sexagesimal || digits.parse::<f64>().is_ok()) || text == ".inf" || text == ".nan"
}

/// Whether a text begins as a date does.
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(3, '-').collect();
    let is_digits = |part: &str, most: usize| (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    matches!(parts[..], [year, month, day] if year.len() == 4 && is_digits(year, 4) && is_digits(month, 2) && day.starts_with(|char: char| char.is_ascii_digit()))
}
