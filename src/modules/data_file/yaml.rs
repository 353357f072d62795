//! One value of a YAML file, set or removed in its text, so that everything else stays as it is.

use std::ops::Range;

use anyhow::{Result, bail};
use granit_parser::ScalarStyle;
use serde_json::{Map, Value};

use tree::{Document, Entry, Kind, Node};
use write::{Spot, Style, column};

mod tree;
mod write;
#[cfg(test)]
#[path = "yaml_tests.rs"]
mod tests;

const REFUSED: &str = "use `lineinfile`, `replace` or `template`";

/// What is to be there.
pub enum Wanted<'a> {
    Set(&'a Value),
    Remove,
}

/// The text with this value set or removed; byte for byte the old text where nothing is to be done.
///
/// # Errors
/// Where the file is no YAML, where there is no such place, or where a value cannot be set without losing something of the file.
pub fn edit(text: &str, keys: &[String], wanted: &Wanted<'_>) -> Result<String> {
    let old = Document::of(text)?;
    // A remark below may become a part of a new `|`, so the second try does without.
    for has_block_scalars in [true, false] {
        let Some((new, expected)) = change(text, &old, keys, wanted, has_block_scalars)? else { return Ok(text.to_owned()) };
        // Whatever the file looks like: what comes out holds the old data with this one change, and a second run finds it done.
        // Only where an item of a list goes, the next one takes its number.
        let is_done = |read: &Document| matches!(change(&new, read, keys, wanted, false), Ok(None)) || matches!(wanted, Wanted::Remove) && keys.last().is_some_and(|key| key.parse::<usize>().is_ok());
        if Document::of(&new).is_ok_and(|read| read.is_expected(&old, &expected) && is_done(&read)) {
            return Ok(new);
        }
    }
    bail!("this YAML cannot be edited by value here: `{}` is written in an unusual way | {REFUSED}", keys.join("."))
}

/// Whether these keys lead to an item of a list that is there.
///
/// # Errors
/// As [`edit`].
pub fn is_item(text: &str, keys: &[String]) -> Result<bool> {
    let document = Document::of(text)?;
    let Some(mut node) = document.root.as_ref() else { return Ok(false) };
    let mut is_item = false;
    for (depth, key) in keys.iter().enumerate() {
        let Some(place) = found(&document, node, key, &keys[..depth])? else { return Ok(false) };
        is_item = matches!(node.kind, Kind::Collection { is_map: false, .. });
        node = &node.entries()[place].value;
    }
    Ok(is_item)
}

/// The new text, and the root that it must have; none where nothing is to be done.
fn change(text: &str, document: &Document, keys: &[String], wanted: &Wanted<'_>, has_block_scalars: bool) -> Result<Option<(String, Node)>> {
    if text.replace("\r\n", "").contains('\r') {
        bail!("a line of this YAML ends with a bare carriage return | {REFUSED}");
    }
    if keys.is_empty() {
        bail!("the key is empty");
    }
    let style = Style::of(text, document.root.as_ref(), has_block_scalars);
    let Some(root) = &document.root else {
        let Wanted::Set(value) = wanted else { return Ok(None) };
        return Ok(Some(begun(text, text.len(), &style, nested(keys, value))));
    };
    let mut trail = Vec::new();
    let mut node = root;
    for (depth, key) in keys.iter().enumerate() {
        match found(document, node, key, &keys[..depth])? {
            Some(place) => trail.push((node, place)),
            None => break,
        }
        node = trail.last().map_or(node, |(parent, place)| &parent.entries()[*place].value);
    }
    let path = keys[..trail.len()].join(".");
    let editor = Editor { text, style };
    let (splices, new) = match (wanted, &keys[trail.len()..]) {
        (Wanted::Set(value), []) => {
            if document.means(node, value) {
                return Ok(None);
            }
            guard(root, &[node], &path)?;
            let mut tagged = None;
            node.each(&mut |node| tagged = tagged.or(node.own_tag()));
            if let Some(tag) = tagged {
                bail!("`{path}` has the tag `{tag}`, which would be lost | remove it first, or {REFUSED}");
            }
            let Some(&(parent, place)) = trail.last() else { return Ok(None) };
            let anchor = node.anchor.clone().filter(|_| node.tag.is_none());
            (editor.set(parent, place, value, node.tag.is_some(), is_in_flow(&trail, parent)), Node { anchor, tag: None, kind: Kind::New((*value).clone()), ..node.clone() })
        }
        (Wanted::Set(value), [key, rest @ ..]) => {
            let value = nested(rest, value);
            let is_flow = is_in_flow(&trail, node);
            match &node.kind {
                Kind::Collection { is_map, entries, .. } => {
                    if !is_map && key.parse() != Ok(entries.len()) {
                        bail!("the list {} has {} items, so no place `{key}`", named(&path), entries.len());
                    }
                    let name = is_map.then_some(key.as_str());
                    let whole = if *is_map { table(key, value.clone()) } else { Value::Array(vec![value.clone()]) };
                    if !entries.is_empty() {
                        (editor.add(node, name, &value), with_entry(node, name, value))
                    } else if is_flow || text[node.content + 1..node.end - 1].contains(|char: char| !char.is_ascii_whitespace()) || trail.is_empty() && column(text, node.content) > 0 {
                        (editor.fill(node, name, &value), renewed(node, whole))
                    } else {
                        let splices = match trail.last() {
                            Some(&(parent, place)) => editor.set(parent, place, &whole, false, is_flow),
                            None => editor.set_root(node, &whole),
                        };
                        (splices, renewed(node, whole))
                    }
                }
                Kind::Scalar(..) if node.is_null() => match trail.last() {
                    Some(&(parent, place)) => (editor.set(parent, place, &table(key, value.clone()), false, is_flow), renewed(node, table(key, value))),
                    None if node.start == node.end => return Ok(Some(begun(text, document.end, &editor.style, table(key, value)))),
                    None => bail!("this YAML file is only `{}` | {REFUSED}", &text[node.start..node.end]),
                },
                _ => bail!("{} is no table, so it has no `{key}`", named(&path)),
            }
        }
        (Wanted::Remove, []) => {
            let Some((parent, place)) = trail.pop() else { return Ok(None) };
            let entry = &parent.entries()[place];
            guard(root, &entry.key.iter().chain([node]).collect::<Vec<_>>(), &path)?;
            (editor.remove(parent, place, trail.is_empty()), without_entry(parent, place))
        }
        (Wanted::Remove, _) => return Ok(None),
    };
    // The changed node takes its place in the old tree.
    let expected = trail.iter().rev().fold(new, |new, (parent, place)| replaced(parent, *place, new));
    Ok(Some((spliced(text, splices), expected)))
}

/// Where a key is in a table, or a number in a list.
fn found(document: &Document, node: &Node, key: &str, path: &[String]) -> Result<Option<usize>> {
    let path = path.join(".");
    match &node.kind {
        Kind::Alias(_, name) => bail!("`{path}` is the alias `*{name}`: a change of it would show in other places | change the value where `&{name}` is, or {REFUSED}"),
        Kind::Collection { is_map: false, entries, .. } => Ok(key.parse::<usize>().ok().filter(|place| *place < entries.len())),
        Kind::Collection { entries, .. } => {
            let place = entries.iter().position(|entry| entry.name() == Some(key));
            if place.is_none() && (key == "<<" && entries.iter().any(Entry::is_merge) || merges(document, node, key, 0)) {
                bail!("`{key}` of {} comes from a merge key (`<<`) | change it where the anchor is, or {REFUSED}", named(&path));
            }
            Ok(place)
        }
        _ => Ok(None),
    }
}

/// Whether a table gets a key from `<<`.
fn merges(document: &Document, node: &Node, key: &str, depth: usize) -> bool {
    let has = |source: &Node| {
        let Some(source) = document.resolved(source) else { return true };
        // A merge that leads to itself gives everything.
        depth > 50 || source.entries().iter().any(|entry| entry.name() == Some(key)) || merges(document, source, key, depth + 1)
    };
    node.entries().iter().filter(|entry| entry.is_merge()).any(|entry| match &entry.value.kind {
        Kind::Collection { is_map: false, entries, .. } => entries.iter().any(|entry| has(&entry.value)),
        _ => has(&entry.value),
    })
}

/// Stops where what goes away has an anchor that is used elsewhere.
fn guard(root: &Node, gone: &[&Node], path: &str) -> Result<()> {
    let (mut anchors, mut inside, mut all) = (Vec::new(), Vec::new(), Vec::new());
    let alias = |node: &Node| if let Kind::Alias(id, _) = node.kind { Some(id) } else { None };
    for node in gone {
        node.each(&mut |node| {
            anchors.extend(&node.anchor);
            inside.extend(alias(node));
        });
    }
    root.each(&mut |node| all.extend(alias(node)));
    let count = |list: &[usize], id: usize| list.iter().filter(|alias| **alias == id).count();
    match anchors.iter().find(|(id, _)| count(&all, *id) > count(&inside, *id)) {
        Some((_, name)) => bail!("`{path}` has the anchor `&{name}`, which is used elsewhere | change the places with `*{name}` first, or {REFUSED}"),
        None => Ok(()),
    }
}

/// A file that had nothing, with its first entry at `at`.
fn begun(text: &str, at: usize, style: &Style, root: Value) -> (String, Node) {
    let (_, lines) = style.value(&root, Spot { lines: Some(0), ..Spot::default() });
    let mut new = lines.join(style.line_end);
    if !(text[..at].is_empty() || text[..at].ends_with('\n') || text[..at].ends_with('\u{feff}')) {
        new.insert_str(0, style.line_end);
    }
    if text.is_empty() || text.ends_with('\n') || at < text.len() {
        new.push_str(style.line_end);
    }
    let node = Node { start: at, behind: at, content: at, end: at, anchor: None, tag: None, kind: Kind::New(root) };
    (spliced(text, vec![(at..at, new)]), node)
}

fn named(path: &str) -> String {
    if path.is_empty() { "at the top".to_owned() } else { format!("`{path}`") }
}

fn table(key: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(key.to_owned(), value)]))
}

/// The value below its missing parents.
fn nested(keys: &[String], value: &Value) -> Value {
    keys.iter().rev().fold(value.clone(), |value, key| table(key, value))
}

fn is_in_flow(trail: &[(&Node, usize)], node: &Node) -> bool {
    trail.iter().map(|(node, _)| *node).chain([node]).any(Node::is_full_flow)
}

fn renewed(node: &Node, value: Value) -> Node {
    Node { kind: Kind::New(value), ..node.clone() }
}

fn edited(node: &Node, change: impl FnOnce(&mut Vec<Entry>)) -> Node {
    let mut node = node.clone();
    if let Kind::Collection { entries, .. } = &mut node.kind {
        change(entries);
    }
    node
}

fn replaced(node: &Node, place: usize, value: Node) -> Node {
    edited(node, |entries| entries[place].value = value)
}

fn with_entry(node: &Node, name: Option<&str>, value: Value) -> Node {
    let new = |value| Node { start: 0, behind: 0, content: 0, end: 0, anchor: None, tag: None, kind: Kind::New(value) };
    edited(node, |entries| entries.push(Entry { start: 0, mark: 0, key: name.map(|name| new(name.into())), value: new(value) }))
}

fn without_entry(node: &Node, place: usize) -> Node {
    match &node.kind {
        Kind::Collection { is_map: true, entries, .. } if entries.len() == 1 => renewed(node, Value::Object(Map::new())),
        Kind::Collection { entries, .. } if entries.len() == 1 => renewed(node, Value::Array(Vec::new())),
        _ => edited(node, |entries| drop(entries.remove(place))),
    }
}

/// A text with new pieces in it; where two begin at one place, they come in their order.
fn spliced(text: &str, mut splices: Vec<Splice>) -> String {
    splices.sort_by_key(|(range, _)| range.start);
    let (mut new, mut at) = (String::new(), 0);
    for (range, piece) in splices {
        new.push_str(text.get(at..range.start).unwrap_or_default());
        new.push_str(&piece);
        at = at.max(range.end);
    }
    new + &text[at..]
}

/// A piece of the old text, and what takes its place.
type Splice = (Range<usize>, String);

struct Editor<'a> {
    text: &'a str,
    style: Style,
}

impl Editor<'_> {
    fn set(&self, parent: &Node, place: usize, value: &Value, drops_tag: bool, is_flow: bool) -> Vec<Splice> {
        let entry = &parent.entries()[place];
        let node = &entry.value;
        let (behind, from) = if drops_tag { (entry.mark, node.start) } else { (node.behind, node.content) };
        let is_empty = node.content == node.end;
        let is_full = value.as_array().is_some_and(|list| !list.is_empty()) || value.as_object().is_some_and(|table| !table.is_empty());
        if is_flow || node.is_full_flow() && is_full {
            let is_json = is_json(parent) || is_json(node);
            let head = match value {
                Value::String(text) if !is_json => self.style.text(text, node.style(), true),
                value => self.style.flow(value, is_json),
            };
            let blank = match entry.key {
                _ if !is_empty || drops_tag && node.start < node.end => "",
                Some(_) if !self.text[..entry.mark].ends_with(':') => ": ",
                _ => " ",
            };
            return vec![(from..node.end, format!("{blank}{head}"))];
        }
        let is_same_line = !self.text[entry.mark..from].contains('\n');
        let column_of = |at| column(self.text, at);
        let inline = if entry.key.is_some() || !drops_tag && node.start < node.content {
            None
        } else if is_empty {
            Some(column_of(entry.start) + self.style.dash)
        } else {
            is_same_line.then(|| column_of(from))
        };
        let is_block_scalar = matches!(node.style(), Some(ScalarStyle::Literal | ScalarStyle::Folded));
        let lines = match (&node.kind, value) {
            (Kind::Collection { is_map: true, is_flow: false, .. }, Value::Object(_)) | (Kind::Collection { is_map: false, is_flow: false, .. }, Value::Array(_)) => Some(column_of(node.content)),
            (Kind::Scalar(..), Value::String(_)) if is_block_scalar => Some(column_of(tree::skipped_blanks(self.text, self.line_end(node.content)))).filter(|lines| *lines > column_of(entry.start)),
            _ => None,
        };
        let lines = lines.or_else(|| entry.key.is_none().then(|| column_of(entry.start) + self.style.dash));
        let (head, tail) = self.style.value(value, Spot { column: column_of(entry.start), inline, lines, quotes: node.style() });
        let tail: String = tail.iter().flat_map(|line| [self.style.line_end, line]).collect();
        let blank = if head.is_empty() { String::new() } else { " ".repeat(inline.filter(|_| is_empty).map_or(1, |_| self.style.dash - 1)) };
        if node.is_block() && is_same_line {
            let is_one_line = !self.text[from..node.end].contains('\n');
            let end = if is_one_line && tail.is_empty() { node.end } else { self.whole_end(node.end, column_of(entry.start)) };
            return vec![(from..end, head + &tail)];
        }
        if node.is_block() {
            let line_end = self.line_end(node.behind);
            return vec![(behind..node.behind, blank + &head), (line_end..self.whole_end(node.end, column_of(entry.start)), tail)];
        }
        let token_end = if is_block_scalar { node.content + tree::word(&self.text[node.content..]).len() } else { node.end };
        let line_end = self.line_end(token_end);
        if is_empty {
            let is_rest_blank = self.text[node.end..line_end].trim().is_empty();
            return vec![(behind..if is_rest_blank { line_end } else { node.end }, blank + &head), (line_end..line_end, tail)];
        }
        let from = if head.is_empty() { behind + self.text[behind..from].find(['\r', '\n']).unwrap_or(0) } else { from };
        vec![(from..token_end, head), (line_end..node.end.max(line_end), tail)]
    }

    /// Puts lines in the place of a root that is empty.
    fn set_root(&self, node: &Node, value: &Value) -> Vec<Splice> {
        let (_, lines) = self.style.value(value, Spot { lines: Some(0), ..Spot::default() });
        vec![(node.content..node.end, lines.join(self.style.line_end))]
    }

    /// Puts an entry between empty brackets.
    fn fill(&self, node: &Node, name: Option<&str>, value: &Value) -> Vec<Splice> {
        let inside = node.content + 1..node.end - 1;
        let end = if self.text[inside.clone()].trim().is_empty() { inside.end } else { inside.start };
        vec![(inside.start..end, self.style.flow_entry(name, value, false))]
    }

    /// Puts an entry behind the last one.
    fn add(&self, node: &Node, name: Option<&str>, value: &Value) -> Vec<Splice> {
        let Some((first, last)) = node.entries().first().zip(node.entries().last()) else { return Vec::new() };
        let (at, line_end) = (column(self.text, last.start), self.style.line_end);
        if !node.is_block() {
            let new = self.style.flow_entry(name, value, is_json(node));
            let comma = self.comma(last.end());
            let end_of_line = self.line_end(comma.unwrap_or(last.end()));
            let indent = " ".repeat(at);
            return match comma {
                _ if !self.begins_line(last.start) || node.end <= end_of_line => vec![(last.end()..last.end(), format!(", {new}"))],
                Some(_) => vec![(end_of_line..end_of_line, format!("{line_end}{indent}{new},"))],
                None => vec![(last.end()..last.end(), ",".to_owned()), (end_of_line..end_of_line, format!("{line_end}{indent}{new}"))],
            };
        }
        let (from, to) = (column(self.text, first.start), column(self.text, first.value.start));
        let is_same_line = !self.text[first.mark..first.value.start].contains('\n');
        let dash = Some(to.saturating_sub(from)).filter(|dash| *dash > 1 && is_same_line && name.is_none());
        let lines = self.style.entry(name, value, from, dash);
        // Remarks below the last entry belong to it, unless they stand as far left as what follows.
        let follower = column(self.text, tree::skipped(self.text, last.end(), false));
        let follower = if tree::skipped(self.text, last.end(), false) == self.text.len() { 0 } else { follower };
        let end = self.whole_end(last.end(), follower.max(from.saturating_sub(1)));
        vec![(end..end, lines.iter().flat_map(|line| [line_end, line]).collect())]
    }

    fn remove(&self, parent: &Node, place: usize, is_root: bool) -> Vec<Splice> {
        let entries = parent.entries();
        let entry = &entries[place];
        if !parent.is_block() {
            return self.remove_from_flow(parent, place);
        }
        let end = self.whole_end(entry.end(), column(self.text, entry.start));
        let empty = if entry.key.is_some() { "{}" } else { "[]" };
        let next_line = self.text[end..].find('\n').map_or(self.text.len(), |at| end + at + 1);
        let line = self.text[..entry.start].rfind('\n').map_or(0, |at| at + 1);
        let gone = line..next_line;
        match entries.len() {
            1 if is_root || !self.text[parent.behind..entry.start].contains('\n') => vec![(entry.start..end, empty.to_owned())],
            1 => vec![(parent.behind..parent.behind, format!(" {empty}")), (gone, String::new())],
            _ if self.begins_line(entry.start) => vec![(gone, String::new())],
            // The next entry moves up behind the `-`, unless a remark stands between them.
            _ => match tree::skipped_blanks(self.text, end) {
                next if self.text[next..].starts_with('#') => vec![(self.text[..entry.start].trim_end().len()..end, String::new())],
                next => vec![(entry.start..next, String::new())],
            },
        }
    }

    fn remove_from_flow(&self, parent: &Node, place: usize) -> Vec<Splice> {
        let entries = parent.entries();
        let entry = &entries[place];
        if !self.text[parent.content..].starts_with(['{', '[']) {
            // `[a: 1]` holds a table without brackets; no edit is refused.
            return Vec::new();
        }
        let comma = self.comma(entry.end());
        let end = comma.map_or(entry.end(), |at| at + 1);
        let line_end = self.line_end(end);
        let before = place.checked_sub(1).map(|place| &entries[place]);
        let is_alone = self.begins_line(entry.start) && line_end < parent.end && entries.get(place + 1).is_none_or(|next| next.start > line_end);
        let inside = parent.content + 1..parent.end.saturating_sub(1);
        if entries.len() == 1 && self.text[inside.start..entry.start].trim().is_empty() && self.text[end..inside.end].trim().is_empty() {
            return vec![(inside, String::new())];
        }
        match (before, entries.get(place + 1)) {
            _ if is_alone => {
                let line = self.line_before(self.text[..entry.start].rfind('\n').map_or(0, |at| at + 1));
                let spare = before.filter(|_| comma.is_none()).and_then(|before| self.comma(before.end()));
                let spare = spare.map(|comma| (comma..comma + 1, String::new()));
                spare.into_iter().chain([(line..line_end, String::new())]).collect()
            }
            (_, Some(next)) => vec![(entry.start..next.start, String::new())],
            (Some(before), None) => vec![(before.end()..entry.end(), String::new())],
            (None, None) => vec![(entry.start..end, String::new())],
        }
    }

    fn comma(&self, at: usize) -> Option<usize> {
        let at = tree::skipped(self.text, at, false);
        self.text[at..].starts_with(',').then_some(at)
    }

    fn begins_line(&self, at: usize) -> bool {
        self.text[..at].rsplit('\n').next().is_none_or(|before| before.trim_matches([' ', '\u{feff}']).is_empty())
    }

    fn line_end(&self, at: usize) -> usize {
        let end = self.text[at..].find('\n').map_or(self.text.len(), |length| at + length);
        if end > at && self.text[..end].ends_with('\r') { end - 1 } else { end }
    }

    /// The end of the line before the one that begins at `line`.
    fn line_before(&self, line: usize) -> usize {
        let before = &self.text[..line];
        let before = before.strip_suffix('\n').unwrap_or(before);
        before.strip_suffix('\r').unwrap_or(before).len()
    }

    /// The end of the line, and of the lines with remarks right below it that are indented deeper than `column`.
    fn whole_end(&self, at: usize, column: usize) -> usize {
        let mut end = self.line_end(at);
        while let Some(length) = self.text[end..].find('\n') {
            let line = &self.text[end + length + 1..];
            let indent = line.len() - line.trim_start_matches(' ').len();
            if indent <= column || !line[indent..].starts_with('#') {
                break;
            }
            end = self.line_end(end + length + 1);
        }
        end
    }
}

/// Whether names, or items, are written in double quotes as in JSON.
fn is_json(node: &Node) -> bool {
    let first = node.entries().first().filter(|_| !node.is_block());
    first.is_some_and(|entry| entry.key.as_ref().unwrap_or(&entry.value).style() == Some(ScalarStyle::DoubleQuoted))
}
