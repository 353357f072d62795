//! A YAML document as a tree that knows where each part stands in the text.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};
use granit_parser::{Event, Parser, ScalarStyle, Span, StructureStyle, options};
use serde_json::{Number, Value};

/// One document.
pub struct Document {
    /// Nothing, for a file that is empty or holds only comments.
    pub root: Option<Node>,
    /// Where the document ends: at `...`, or at the end of the text.
    pub end: usize,
    /// The version that a `%YAML` line asks for.
    version: Option<(u32, u32)>,
    /// What the aliases stand for, by their number.
    anchors: BTreeMap<usize, Node>,
}

/// A value or a key.
#[derive(Clone)]
pub struct Node {
    /// Where it begins, with its anchor and its tag.
    pub start: usize,
    /// Behind the anchor and the tag; without them, behind the `:` or `-` before it.
    pub behind: usize,
    /// Where it begins without its anchor and its tag.
    pub content: usize,
    /// Where it ends, without line ends, blank lines and comments.
    pub end: usize,
    /// The number and the name of its anchor.
    pub anchor: Option<(usize, String)>,
    pub tag: Option<String>,
    pub kind: Kind,
}

#[derive(Clone)]
pub enum Kind {
    Scalar(String, ScalarStyle),
    /// The number and the name of an anchor.
    Alias(usize, String),
    Collection { is_map: bool, is_flow: bool, entries: Vec<Entry> },
    /// What an edit puts here, however it is written.
    New(Value),
}

/// An entry of a table, or an item of a list.
#[derive(Clone)]
pub struct Entry {
    /// Where it begins: at its key, its `?` or its `-`.
    pub start: usize,
    /// Behind its `:` or its `-`.
    pub mark: usize,
    /// None for an item of a list.
    pub key: Option<Node>,
    pub value: Node,
}

impl Entry {
    pub fn end(&self) -> usize {
        self.value.end.max(self.mark)
    }

    /// The text of the key; none for a merge key, and for a key that is a list or a table.
    pub fn name(&self) -> Option<&str> {
        match &self.key.as_ref()?.kind {
            Kind::Scalar(text, _) if !self.is_merge() => Some(text),
            _ => None,
        }
    }

    pub fn is_merge(&self) -> bool {
        self.key.as_ref().is_some_and(|key| matches!(&key.kind, Kind::Scalar(text, ScalarStyle::Plain) if text == "<<"))
    }
}

impl Node {
    pub fn entries(&self) -> &[Entry] {
        if let Kind::Collection { entries, .. } = &self.kind { entries } else { &[] }
    }

    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(text, style) if of_scalar(text, *style, self.tag.as_deref()) == Some(Value::Null))
    }

    /// A table or list over lines of its own, without brackets.
    pub fn is_block(&self) -> bool {
        matches!(self.kind, Kind::Collection { is_flow: false, .. })
    }

    /// A `{…}` or `[…]` with something in it.
    pub fn is_full_flow(&self) -> bool {
        matches!(&self.kind, Kind::Collection { is_flow: true, entries, .. } if !entries.is_empty())
    }

    pub fn style(&self) -> Option<ScalarStyle> {
        if let Kind::Scalar(_, style) = self.kind { Some(style) } else { None }
    }

    /// This and all that is in it.
    pub fn each<'a>(&'a self, see: &mut impl FnMut(&'a Node)) {
        see(self);
        for entry in self.entries() {
            for node in entry.key.iter().chain([&entry.value]) {
                node.each(see);
            }
        }
    }

    /// A tag that says more than the kind of the value, such as `!vault`.
    pub fn own_tag(&self) -> Option<&str> {
        self.tag.as_deref().filter(|tag| core_tag(tag).is_none())
    }
}

impl Document {
    pub fn of(text: &str) -> Result<Self> {
        let mut reader = Reader { text, events: Vec::new(), names: BTreeMap::new(), anchors: BTreeMap::new() };
        // Most readers see no line feed at the end of a `|` that ends the file without one.
        // What is nested deeper is no file of settings, and would need much of the stack.
        let options = options! { emit_anchor_events: true, emit_comments: false, block_scalar_eof_without_line_feed: true, flow_nesting_limit: 64, block_nesting_limit: 64 };
        for event in Parser::new_from_str_with_options(text, options) {
            match event {
                Ok(event) => reader.events.push(event),
                Err(error) => bail!("this is no YAML: {} (line {}, column {})", error.info(), error.marker().line(), error.marker().col() + 1),
            }
        }
        reader.events.reverse();
        let (mut root, mut end, mut version) = (None, text.len(), None);
        while let Some((event, span)) = reader.events.pop() {
            match event {
                Event::DocumentStart(..) if root.is_some() => bail!("this YAML file holds several documents | use `lineinfile`, `replace` or `template`"),
                Event::DocumentStart(_, wanted) => {
                    version = wanted.map(|version| (version.major, version.minor));
                    root = Some(reader.node(bytes(&span)?.end)?);
                }
                Event::DocumentEnd if !bytes(&span)?.is_empty() => end = bytes(&span)?.start,
                _ => {}
            }
        }
        Ok(Self { root, end, version, anchors: reader.anchors })
    }

    /// What an alias stands for; anything else stands for itself.
    pub fn resolved<'a>(&'a self, node: &'a Node) -> Option<&'a Node> {
        if let Kind::Alias(id, _) = node.kind { self.anchors.get(&id) } else { Some(node) }
    }

    /// Whether a value says the same as `value`, as YAML 1.2 reads it.
    pub fn means(&self, node: &Node, value: &Value) -> bool {
        let Some(node) = self.resolved(node) else { return false };
        match (&node.kind, value) {
            _ if node.own_tag().is_some() => false,
            (Kind::Scalar(text, style), _) => of_scalar(text, *style, node.tag.as_deref()).as_ref() == Some(value),
            (Kind::Collection { is_map: false, entries, .. }, Value::Array(list)) => entries.len() == list.len() && entries.iter().zip(list).all(|(entry, value)| self.means(&entry.value, value)),
            (Kind::Collection { is_map: true, entries, .. }, Value::Object(table)) => {
                let is_in = |entry: &Entry| entry.name().and_then(|name| table.get(name)).is_some_and(|value| self.means(&entry.value, value));
                entries.len() == table.len() && entries.iter().all(is_in)
            }
            _ => false,
        }
    }

    /// Whether this document is `other` with the root that is expected of it.
    pub fn is_expected(&self, other: &Self, expected: &Node) -> bool {
        self.version == other.version && self.root.as_ref().is_some_and(|root| self.is_same(root, expected))
    }

    fn is_same(&self, new: &Node, old: &Node) -> bool {
        let name = |node: &Node| node.anchor.as_ref().map(|(_, name)| name.clone());
        let is_same = match (&new.kind, &old.kind) {
            (_, Kind::New(value)) => !matches!(new.kind, Kind::Alias(..)) && self.means(&Node { tag: None, ..new.clone() }, value),
            (Kind::Scalar(new, style), Kind::Scalar(old, old_style)) => new == old && style == old_style,
            (Kind::Alias(_, new), Kind::Alias(_, old)) => new == old,
            (Kind::Collection { is_map, is_flow, entries }, Kind::Collection { is_map: was_map, is_flow: was_flow, entries: old }) => {
                let is_same_key = |new: &Entry, old: &Entry| match (&new.key, &old.key) {
                    (Some(new), Some(old)) => self.is_same(new, old),
                    (new, old) => new.is_none() && old.is_none(),
                };
                (is_map, is_flow, entries.len()) == (was_map, was_flow, old.len()) && entries.iter().zip(old).all(|(new, old)| is_same_key(new, old) && self.is_same(&new.value, &old.value))
            }
            _ => false,
        };
        is_same && name(new) == name(old) && new.tag == old.tag
    }
}

/// What is left to read; the next event is the last of the list.
struct Reader<'a> {
    text: &'a str,
    events: Vec<(Event<'a>, Span)>,
    names: BTreeMap<usize, String>,
    anchors: BTreeMap<usize, Node>,
}

impl Reader<'_> {
    /// The value or key that comes next, somewhere behind `from`.
    fn node(&mut self, from: usize) -> Result<Node> {
        let (event, span) = self.events.pop().context("this YAML ends too early")?;
        let range = bytes(&span)?;
        let mut properties: Vec<_> = span.tag_span().iter().map(bytes).collect::<Result<_>>()?;
        let mut anchor = None;
        if let Some((Event::Anchor(id, name), place)) = self.events.last() {
            properties.push(bytes(place)?);
            anchor = Some((*id, name.clone().into_owned()));
            self.events.pop();
        }
        self.names.extend(anchor.clone());
        let tag = event.tag().map(ToString::to_string);
        let behind = properties.iter().map(|range| range.end).max().unwrap_or(from);
        let (kind, content, end) = match event {
            Event::Scalar(value, style, ..) => {
                let (content, end) = match style {
                    ScalarStyle::Plain if range.is_empty() => (behind, behind),
                    ScalarStyle::Literal | ScalarStyle::Folded => self.block_scalar(behind, range.end, span.indent.unwrap_or(0)),
                    _ => (range.start, range.end),
                };
                (Kind::Scalar(value.into_owned(), style), content, end)
            }
            Event::Alias(id) => (Kind::Alias(id, self.names.get(&id).cloned().unwrap_or_default()), range.start, range.end),
            Event::MappingStart(style, ..) => self.collection(true, style, &range, behind)?,
            Event::SequenceStart(style, ..) => self.collection(false, style, &range, behind)?,
            _ => bail!("this YAML holds something unknown at line {}", span.start.line()),
        };
        let start = properties.iter().map(|range| range.start).min().unwrap_or(content);
        let node = Node { start, behind, content, end, anchor, tag, kind };
        if let Some((id, _)) = &node.anchor {
            self.anchors.insert(*id, node.clone());
        }
        Ok(node)
    }

    /// From the `|` or `>` to the end of the last line.
    fn block_scalar(&self, behind: usize, end: usize, indent: usize) -> (usize, usize) {
        let content = skipped(self.text, behind, false);
        let header = content + word(&self.text[content..]).len();
        let first = self.text[header..].find('\n').map_or(self.text.len(), |at| header + at + 1);
        let mut body = self.text.get(first..end).unwrap_or_default();
        // Behind `+`, blank lines are a part of the value; lines deeper than the others always are.
        if !self.text[content..header].contains('+') {
            while let Some(line) = body.split_inclusive('\n').next_back().filter(|line| line.trim().is_empty() && line.trim_end_matches(['\r', '\n']).len() <= indent) {
                body = &body[..body.len() - line.len()];
            }
        }
        let last = body.strip_suffix('\n').unwrap_or(body);
        (content, if body.is_empty() { header } else { first + last.strip_suffix('\r').unwrap_or(last).len() })
    }

    fn collection(&mut self, is_map: bool, style: StructureStyle, range: &std::ops::Range<usize>, behind: usize) -> Result<(Kind, usize, usize)> {
        let is_flow = style == StructureStyle::Flow;
        // `[a: 1]` holds a table without brackets.
        let has_brackets = is_flow && !range.is_empty();
        let mut at = if is_flow { range.end } else { behind };
        let (mut entries, mut names) = (Vec::<Entry>::new(), BTreeSet::new());
        let end = loop {
            if let Some((Event::MappingEnd | Event::SequenceEnd, span)) = self.events.last() {
                let end = bytes(span)?.end;
                self.events.pop();
                break if has_brackets { end } else { at };
            }
            let start = skipped(self.text, at, is_flow);
            let rest = &self.text[start..];
            let entry = if is_map {
                let is_explicit = rest.starts_with('?') && rest[1..].starts_with(char::is_whitespace);
                let key = self.node(start + usize::from(is_explicit))?;
                let colon = skipped(self.text, key.end, false);
                let mark = if self.text[colon..].starts_with(':') { colon + 1 } else { key.end };
                Entry { start, mark, value: self.node(mark)?, key: Some(key) }
            } else if is_flow {
                Entry { start, mark: start, key: None, value: self.node(start)? }
            } else {
                Entry { start, mark: start + 1, key: None, value: self.node(start + 1)? }
            };
            if let Some(Kind::Scalar(name, _)) = entry.key.as_ref().map(|key| &key.kind)
                && !names.insert(name.clone())
            {
                let line = self.text[..start].matches('\n').count() + 1;
                bail!("the key `{name}` is there twice (line {line}) | remove one of the two");
            }
            at = entry.end();
            entries.push(entry);
        };
        let content = if is_flow { range.start } else { entries.first().map_or(behind, |entry| entry.start) };
        Ok((Kind::Collection { is_map, is_flow, entries }, content, end))
    }
}

fn bytes(span: &Span) -> Result<std::ops::Range<usize>> {
    span.byte_range().context("this YAML has a part without a place")
}

/// Behind blanks, line ends and comments, and commas too where asked.
pub fn skipped(text: &str, from: usize, with_commas: bool) -> usize {
    let mut at = from;
    loop {
        let rest = text[at..].trim_start_matches(|char: char| char.is_ascii_whitespace() || char == '\u{feff}' || with_commas && char == ',');
        at = text.len() - rest.len();
        if !rest.starts_with('#') {
            return at;
        }
        at += rest.find('\n').unwrap_or(rest.len());
    }
}

/// Behind blanks and line ends.
pub fn skipped_blanks(text: &str, from: usize) -> usize {
    text.len() - text[from..].trim_start_matches(|char: char| char.is_ascii_whitespace()).len()
}

/// The text up to the first blank or line end.
pub fn word(text: &str) -> &str {
    text.split(|char: char| char.is_ascii_whitespace()).next().unwrap_or_default()
}

/// `int` of `tag:yaml.org,2002:int`; none for a tag that YAML does not define.
fn core_tag(tag: &str) -> Option<&str> {
    tag.strip_prefix("tag:yaml.org,2002:").filter(|name| ["str", "int", "float", "bool", "null", "map", "seq"].contains(name))
}

/// What a scalar says; none for what JSON cannot hold, and for what readers understand differently, such as `0755`.
fn of_scalar(text: &str, style: ScalarStyle, tag: Option<&str>) -> Option<Value> {
    match (tag, tag.and_then(core_tag)) {
        (None, _) if style == ScalarStyle::Plain => of_plain(text),
        (None, _) | (_, Some("str")) => Some(Value::String(text.to_owned())),
        (_, Some("int" | "float" | "bool" | "null")) => of_plain(text),
        _ => None,
    }
}

fn of_plain(text: &str) -> Option<Value> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let based = |digits: &str, base| u64::from_str_radix(digits, base).ok().map(Value::from);
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Some(Value::Null),
        "true" | "True" | "TRUE" => Some(Value::Bool(true)),
        "false" | "False" | "FALSE" => Some(Value::Bool(false)),
        "<<" => None,
        _ if [".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"].contains(&digits) => None,
        _ if text.len() > 2 && text.starts_with("0x") && text[2..].bytes().all(|byte| byte.is_ascii_hexdigit()) => based(&text[2..], 16),
        _ if text.len() > 2 && text.starts_with("0o") && text[2..].bytes().all(|byte| matches!(byte, b'0'..=b'7')) => based(&text[2..], 8),
        _ if !digits.starts_with(|char: char| char.is_ascii_digit() || char == '.') => Some(Value::String(text.to_owned())),
        _ if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            let number = text.strip_prefix('+').unwrap_or(text);
            let is_clear = digits.len() == 1 || !digits.starts_with('0');
            is_clear.then(|| number.parse::<i64>().map(Number::from).or_else(|_| number.parse::<u64>().map(Number::from)).ok())?.map(Value::Number)
        }
        _ => match text.parse::<f64>() {
            Ok(number) => Number::from_f64(number).map(Value::Number),
            Err(_) => Some(Value::String(text.to_owned())),
        },
    }
}
