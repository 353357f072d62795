//! Edits of a rendered text, carried back into the template that it was made from.
//!
//! Which line of the template a line of the text comes from is not guessed: the template is rendered once more with a mark at
//! the beginning of each of its lines. An edit is carried over only where rendering the edited template gives that very edit and
//! nothing else.

use std::ops::Range;

use similar::{Algorithm, DiffTag, capture_diff_slices};

/// Stand around the number of a line of the template. Both are for private use, so hardly any text has them.
const MARKS: [char; 2] = ['\u{e000}', '\u{e001}'];
/// More edits than these are not tried one by one.
const EDITS: usize = 2000;

/// What the edits came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// The template with all edits that could be carried over.
    pub text: String,
    /// It renders to exactly what was wanted.
    pub is_whole: bool,
    /// What could not be carried over.
    pub left: Vec<Left>,
    /// Lines of the new template, from 1, that could have been put elsewhere, and why.
    pub doubts: Vec<(usize, String)>,
}

/// An edit that could not be carried over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Line of the template, from 1.
    pub line: usize,
    /// What stands there.
    pub template: String,
    /// What it makes, and what is wanted in its place.
    pub made: String,
    pub wanted: String,
    /// The one variable of the line, with the value that would make it so.
    pub value: Option<(String, String)>,
}

/// Carries what tells `wanted` from the rendered template over into the template. `None` when the template cannot be rendered.
pub fn carried(template: &str, wanted: &str, render: &dyn Fn(&str) -> Option<String>) -> Option<Carried> {
    let made = render(template)?;
    let source = Source::new(template);
    let lines = Lines { template: &source, made: split(&made), wanted: split(wanted) };
    let origins = origins(&source, &made, render);
    let depths = source.depths();
    let mut draft = Draft { lines: source.lines.iter().map(|_| Slot::default()).collect() };
    let mut carried = Carried::default();
    let mut accepted: Vec<Edit> = Vec::new();
    let (edits, left) = edits(&lines, &origins);
    for edit in left {
        carried.left.push(lines.left(&edit, &origins));
    }
    for unit in units(edits, &lines, &origins) {
        let expected = expected(&lines, accepted.iter().chain(&unit));
        let does = |candidate: &Draft| render(&candidate.text(&lines)).as_deref() == Some(expected.as_str());
        let mut good = draft.candidates(&unit[0], &lines, &origins, &depths).into_iter().filter(|(candidate, _)| does(candidate));
        match good.next() {
            Some((candidate, doubt)) => {
                draft = candidate;
                // Only where it would do there, too.
                carried.doubts.extend(doubt.filter(|_| good.next().is_some()));
                accepted.extend(unit);
            }
            None => carried.left.extend(unit.iter().map(|edit| lines.left(edit, &origins))),
        }
    }
    carried.left.sort_by_key(|left| left.line);
    for (line, _) in &mut carried.doubts {
        *line = draft.line_of(*line);
    }
    carried.text = draft.text(&lines);
    carried.is_whole = render(&carried.text).as_deref() == Some(wanted);
    Some(carried)
}

/// The text with everything that a template would take for its own written so that it stands for itself.
pub fn literal(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        match ["{{", "{%", "{#"].iter().find(|opening| rest.starts_with(**opening)) {
            Some(opening) => {
                safe.push_str(&format!("{{{{ '{opening}' }}}}"));
                rest = &rest[opening.len()..];
            }
            None => {
                safe.push(letter);
                rest = &rest[letter.len_utf8()..];
            }
        }
    }
    safe
}

fn split(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// The three texts, line by line, each with its newline.
struct Lines<'a> {
    template: &'a Source<'a>,
    made: Vec<&'a str>,
    wanted: Vec<&'a str>,
}

/// Lines of the rendered text, and those that are wanted in their place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Edit {
    made: Range<usize>,
    wanted: Range<usize>,
}

/// Where a line of the rendered text comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Origin {
    line: usize,
    /// It is that line, letter by letter.
    is_literal: bool,
}

impl Lines<'_> {
    fn left(&self, edit: &Edit, origins: &[Origin]) -> Left {
        let first = edit.made.clone().find(|at| !origins[*at].is_literal).unwrap_or(edit.made.start);
        let line = match origins.get(first) {
            Some(origin) if !edit.made.is_empty() => origin.line,
            _ => edit.made.start.checked_sub(1).map_or(0, |before| origins[before].line),
        };
        let (made, wanted) = (self.made[edit.made.clone()].concat(), self.wanted[edit.wanted.clone()].concat());
        let value = (edit.made.len() == 1 && edit.wanted.len() == 1)
            .then(|| self.template.hole(line).and_then(|hole| Some((hole.name.clone(), hole.value_in(&made, &wanted)?))))
            .flatten();
        Left { line: line + 1, template: self.template.lines.get(line).copied().unwrap_or_default().to_owned(), made, wanted, value }
    }
}

/// The edits whose lines are literal, and the others.
fn edits(lines: &Lines<'_>, origins: &[Origin]) -> (Vec<Edit>, Vec<Edit>) {
    let (mut good, mut left) = (Vec::new(), Vec::new());
    for op in capture_diff_slices(Algorithm::Myers, &lines.made, &lines.wanted) {
        if op.tag() == DiffTag::Equal {
            continue;
        }
        let edit = Edit { made: op.old_range(), wanted: op.new_range() };
        for part in parts(edit, lines, origins) {
            let is_literal = part.made.clone().all(|at| origins[at].is_literal);
            if is_literal { good.push(part) } else { left.push(part) }
        }
    }
    if good.len() > EDITS {
        left.append(&mut good);
    }
    (good, left)
}

/// An edit, taken apart where lines that an expression has made can be told from the others.
fn parts(edit: Edit, lines: &Lines<'_>, origins: &[Origin]) -> Vec<Edit> {
    if edit.made.clone().all(|at| origins[at].is_literal) {
        return vec![edit];
    }
    if edit.made.len() == edit.wanted.len() {
        let pairs = edit.made.zip(edit.wanted).filter(|(made, wanted)| lines.made[*made] != lines.wanted[*wanted]);
        return pairs.map(|(made, wanted)| Edit { made: made..made + 1, wanted: wanted..wanted + 1 }).collect();
    }
    let mut found = Vec::new();
    let (mut made, mut wanted) = (edit.made.start, edit.wanted.start);
    for at in edit.made.clone().filter(|at| !origins[*at].is_literal) {
        let Some(hole) = lines.template.hole(origins[at].line) else { continue };
        let mut fitting = (wanted..edit.wanted.end).filter(|to| hole.value_in(lines.made[at], lines.wanted[*to]).is_some());
        let (Some(to), None) = (fitting.next(), fitting.next()) else { continue };
        if made < at || wanted < to {
            found.push(Edit { made: made..at, wanted: wanted..to });
        }
        if lines.made[at] != lines.wanted[to] {
            found.push(Edit { made: at..at + 1, wanted: to..to + 1 });
        }
        (made, wanted) = (at + 1, to + 1);
    }
    if made < edit.made.end || wanted < edit.wanted.end {
        found.push(Edit { made: made..edit.made.end, wanted: wanted..edit.wanted.end });
    }
    found
}

/// Edits that are one edit of the template, such as those of a line in a loop.
fn units(edits: Vec<Edit>, lines: &Lines<'_>, origins: &[Origin]) -> Vec<Vec<Edit>> {
    type Key<'a> = (Vec<usize>, Option<usize>, Option<usize>, Vec<&'a str>);
    let mut units: Vec<(Key<'_>, Vec<Edit>)> = Vec::new();
    for edit in edits {
        let place: Vec<usize> = edit.made.clone().map(|at| origins[at].line).collect();
        let around = |at: Option<usize>| at.filter(|_| place.is_empty()).and_then(|at| origins.get(at)).map(|origin| origin.line);
        let key = (place.clone(), around(edit.made.start.checked_sub(1)), around(Some(edit.made.start)), lines.wanted[edit.wanted.clone()].to_vec());
        match units.iter_mut().find(|(known, _)| *known == key || !place.is_empty() && known.0 == key.0 && known.3 == key.3) {
            Some((_, unit)) => unit.push(edit),
            None => units.push((key, vec![edit])),
        }
    }
    units.into_iter().map(|(_, unit)| unit).collect()
}

/// The rendered text with these edits.
fn expected<'a>(lines: &Lines<'_>, edits: impl Iterator<Item = &'a Edit>) -> String {
    let mut edits: Vec<&Edit> = edits.collect();
    edits.sort_by_key(|edit| (edit.made.start, edit.made.end));
    let (mut text, mut at) = (String::new(), 0);
    for edit in edits {
        text.extend(lines.made[at..edit.made.start].iter().copied());
        text.extend(lines.wanted[edit.wanted.clone()].iter().copied());
        at = edit.made.end;
    }
    text.extend(lines.made[at..].iter().copied());
    text
}

/// What becomes of a line of the template.
#[derive(Clone, Debug, Default)]
struct Slot {
    before: Vec<String>,
    /// What stands in place of it; nothing while it stays.
    own: Option<Vec<String>>,
    after: Vec<String>,
}

/// A template that is being edited.
#[derive(Clone, Debug)]
struct Draft {
    lines: Vec<Slot>,
}

/// The slot of a line that could stand elsewhere, and why.
type Doubt = Option<(usize, String)>;

impl Draft {
    fn text(&self, lines: &Lines<'_>) -> String {
        let mut text = String::new();
        for (slot, line) in self.lines.iter().zip(&lines.template.lines) {
            text.extend(slot.before.iter().map(String::as_str));
            match &slot.own {
                Some(own) => text.extend(own.iter().map(String::as_str)),
                None => text.push_str(line),
            }
            text.extend(slot.after.iter().map(String::as_str));
        }
        if self.lines.is_empty() {
            return String::new();
        }
        text
    }

    /// Line, from 1, at which a slot begins.
    fn line_of(&self, slot: usize) -> usize {
        let newlines = |texts: &[String]| texts.iter().map(|text| text.matches('\n').count()).sum::<usize>();
        1 + self.lines[..slot.min(self.lines.len())].iter().map(|slot| newlines(&slot.before) + slot.own.as_deref().map_or(1, newlines) + newlines(&slot.after)).sum::<usize>()
    }

    /// Ways to make an edit, the best first.
    fn candidates(&self, edit: &Edit, lines: &Lines<'_>, origins: &[Origin], depths: &[usize]) -> Vec<(Self, Doubt)> {
        let wanted = &lines.wanted[edit.wanted.clone()];
        let plain: Vec<String> = wanted.iter().map(|line| (*line).to_owned()).collect();
        let safe: Vec<String> = wanted.iter().map(|line| literal(line)).collect();
        // What stands in a raw block needs no care, and bears none.
        let manners = if plain == safe { vec![plain] } else { vec![safe, plain] };
        let mut found = Vec::new();
        for texts in manners {
            if edit.made.is_empty() {
                found.extend(self.insertions(edit, &texts, origins, depths));
            } else {
                found.extend(self.replaced(edit, &texts, origins).map(|draft| (draft, None)));
            }
        }
        found
    }

    fn replaced(&self, edit: &Edit, texts: &[String], origins: &[Origin]) -> Option<Self> {
        let at: Vec<usize> = edit.made.clone().map(|at| origins[at].line).collect();
        let is_run = at.windows(2).all(|pair| pair[1] == pair[0] + 1);
        let mut draft = self.clone();
        for (number, line) in at.iter().enumerate() {
            let own = match () {
                () if texts.len() == at.len() => vec![texts[number].clone()],
                () if texts.is_empty() => Vec::new(),
                () if is_run && number == 0 => texts.to_vec(),
                () if is_run => Vec::new(),
                // Which of them belongs where is not told by anything.
                () => return None,
            };
            let slot = &mut draft.lines[*line];
            if slot.own.as_ref().is_some_and(|before| *before != own) {
                return None;
            }
            slot.own = Some(own);
        }
        Some(draft)
    }

    fn insertions(&self, edit: &Edit, texts: &[String], origins: &[Origin], depths: &[usize]) -> Vec<(Self, Doubt)> {
        let before = edit.made.start.checked_sub(1).map(|at| origins[at].line);
        let after = origins.get(edit.made.start).map(|origin| origin.line);
        let mut found: Vec<(usize, Self, usize)> = Vec::new();
        if let Some(line) = before {
            let mut draft = self.clone();
            draft.lines[line].after.extend_from_slice(texts);
            found.push((depths.get(line + 1).copied().unwrap_or(0), draft, line));
        }
        if let Some(line) = after {
            let mut draft = self.clone();
            draft.lines[line].before.extend_from_slice(texts);
            found.push((depths.get(line).copied().unwrap_or(0), draft, line));
        }
        if found.is_empty() && !self.lines.is_empty() {
            // The template makes nothing at all.
            let mut draft = self.clone();
            let last = draft.lines.len() - 1;
            draft.lines[last].after.extend_from_slice(texts);
            found.push((0, draft, last));
        }
        let could_be_elsewhere = found.len() == 2 && found[0].0 != found[1].0;
        found.sort_by_key(|(depth, ..)| *depth);
        let doubt = |slot: usize| could_be_elsewhere.then(|| (slot, "could stand inside of the block beside it, too, which would be for other hosts as well as for this one".to_owned()));
        found.into_iter().map(|(_, draft, slot)| (draft, doubt(slot))).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Expression,
    Statement,
    Remark,
}

/// `{{ … }}`, `{% … %}` or `{# … #}`, by its place in the template.
#[derive(Clone, Debug)]
struct Tag {
    range: Range<usize>,
    kind: Kind,
    strips_before: bool,
    strips_after: bool,
    /// The first word of a statement.
    word: String,
    has_equals: bool,
}

/// Everything in a template that is no text. What stands in a raw block is text.
fn tags_of(template: &str) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut at = 0;
    while let Some(found) = template[at..].find('{').map(|found| found + at) {
        let rest = &template[found..];
        let (kind, length) = match rest.as_bytes().get(1) {
            Some(b'{') => (Kind::Expression, end_of(rest, "}}")),
            Some(b'%') => (Kind::Statement, end_of(rest, "%}")),
            Some(b'#') => (Kind::Remark, rest.find("#}").map(|end| end + 2)),
            _ => {
                at = found + 1;
                continue;
            }
        };
        // Without an end the rest is no text, whatever it is.
        let length = length.unwrap_or(rest.len());
        let tag = tag(kind, &rest[..length], found);
        at = found + length;
        let is_raw = tag.word == "raw";
        tags.push(tag);
        if is_raw {
            let Some(end) = end_of_raw(template, at) else { break };
            tags.push(tag_at(template, end.clone()));
            at = end.end;
        }
    }
    tags
}

fn tag_at(template: &str, range: Range<usize>) -> Tag {
    let start = range.start;
    tag(Kind::Statement, &template[range], start)
}

fn tag(kind: Kind, text: &str, start: usize) -> Tag {
    let inner = text.get(2..text.len().saturating_sub(2)).unwrap_or_default();
    let body = inner.trim_start_matches(['-', '+']).trim_start();
    let word = if kind == Kind::Statement { body.chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect() } else { String::new() };
    Tag {
        range: start..start + text.len(),
        kind,
        strips_before: inner.starts_with('-'),
        strips_after: inner.ends_with('-'),
        word,
        has_equals: body.contains('='),
    }
}

/// How long a tag is that begins here and ends with `close` outside of texts and brackets.
fn end_of(text: &str, close: &str) -> Option<usize> {
    let mut open = 0_usize;
    let mut quote = None;
    let mut letters = text.char_indices().skip(2);
    while let Some((at, letter)) = letters.next() {
        match (quote, letter) {
            (Some(_), '\\') => drop(letters.next()),
            (Some(mark), _) if letter == mark => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(letter),
            (None, _) if open == 0 && text[at..].starts_with(close) => return Some(at + close.len()),
            (None, '(' | '[' | '{') => open += 1,
            (None, ')' | ']' | '}') => open = open.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// The `{% endraw %}` behind a place.
fn end_of_raw(template: &str, from: usize) -> Option<Range<usize>> {
    let mut at = from;
    while let Some(start) = template[at..].find("{%").map(|found| found + at) {
        let inner = template[start + 2..].trim_start_matches(['-', '+']).trim_start();
        if let Some(rest) = inner.strip_prefix("endraw") {
            let rest = rest.trim_start().trim_start_matches(['-', '+']);
            if rest.starts_with("%}") {
                return Some(start..template.len() - rest.len() + 2);
            }
        }
        at = start + 2;
    }
    None
}

/// A template, taken apart.
struct Source<'a> {
    text: &'a str,
    /// With their newlines, and where each begins.
    lines: Vec<&'a str>,
    starts: Vec<usize>,
    tags: Vec<Tag>,
}

impl<'a> Source<'a> {
    fn new(text: &'a str) -> Self {
        let lines = split(text);
        let starts = lines.iter().scan(0, |at, line| {
            let start = *at;
            *at += line.len();
            Some(start)
        });
        Self { text, starts: starts.collect(), lines, tags: tags_of(text) }
    }

    /// The tags that a line has a part of.
    fn tags_on(&self, line: usize) -> &[Tag] {
        let (start, end) = (self.starts[line], self.starts[line] + self.lines[line].len());
        let first = self.tags.partition_point(|tag| tag.range.end <= start);
        let last = self.tags.partition_point(|tag| tag.range.start < end);
        &self.tags[first.min(last)..last]
    }

    /// How many blocks are open where each line begins.
    fn depths(&self) -> Vec<usize> {
        const OPEN: [&str; 8] = ["for", "if", "filter", "macro", "call", "with", "autoescape", "block"];
        let mut open = 0_usize;
        let mut tags = self.tags.iter().peekable();
        let depth = |start: &usize| {
            while let Some(tag) = tags.next_if(|tag| tag.range.start < *start) {
                if OPEN.contains(&tag.word.as_str()) || tag.word == "set" && !tag.has_equals {
                    open += 1;
                } else if tag.word.starts_with("end") && tag.word != "endraw" {
                    open = open.saturating_sub(1);
                }
            }
            open
        };
        self.starts.iter().map(depth).collect()
    }

    /// Whether a mark at the beginning of a line is text, and does not stand where a tag takes blanks away.
    fn may_be_marked(&self, line: usize) -> bool {
        let at = self.starts[line];
        let next = self.tags.partition_point(|tag| tag.range.end <= at);
        let before = next.checked_sub(1).map(|before| &self.tags[before]);
        let after = self.tags.get(next);
        if after.is_some_and(|tag| tag.range.start < at) {
            return false;
        }
        let is_blank = |range: Range<usize>| self.text[range].chars().all(char::is_whitespace);
        let is_taken_after = before.is_some_and(|tag| tag.strips_after && is_blank(tag.range.end..at));
        let is_taken_before = at > 0 && after.is_some_and(|tag| tag.strips_before && is_blank(at..tag.range.start));
        !(is_taken_after || is_taken_before)
    }

    /// The one simple variable of a line.
    fn hole(&self, line: usize) -> Option<Hole> {
        let ([tag], Some(text)) = (self.tags_on(line), self.lines.get(line)) else { return None };
        let (start, end) = (self.starts[line], self.starts[line] + text.len());
        if tag.kind != Kind::Expression || tag.range.start < start || tag.range.end > end || tag.strips_before || tag.strips_after {
            return None;
        }
        let inner = self.text[tag.range.start + 2..tag.range.end - 2].trim();
        let name = match inner.split_once('|') {
            None => inner,
            Some((name, filter)) => {
                let filter = filter.trim();
                let is_default = ["default(", "d("].iter().any(|word| filter.starts_with(word)) && filter.ends_with(')') && !filter.contains('|');
                if is_default { name.trim() } else { return None }
            }
        };
        let is_word = |part: &str| !part.is_empty() && part.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
        let is_name = name.split('.').all(is_word) && !name.starts_with(|letter: char| letter.is_ascii_digit());
        is_name.then(|| Hole { before: self.text[start..tag.range.start].to_owned(), name: name.to_owned(), after: self.text[tag.range.end..end].to_owned() })
    }
}

/// One simple variable with text around it, as the only tag of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hole {
    before: String,
    name: String,
    after: String,
}

impl Hole {
    /// The value that makes the line so, where it is evident.
    fn value_in(&self, made: &str, wanted: &str) -> Option<String> {
        let value = |line: &str| line.strip_prefix(self.before.as_str())?.strip_suffix(self.after.as_str()).filter(|value| !value.contains('\n')).map(str::to_owned);
        value(made)?;
        value(wanted)
    }
}

/// Where each line of the rendered text comes from.
fn origins(source: &Source<'_>, made: &str, render: &dyn Fn(&str) -> Option<String>) -> Vec<Origin> {
    marked(source, made, render).unwrap_or_else(|| {
        // The marks have changed what the template makes, so equal lines must do; every edit is tried before it counts.
        let made = split(made);
        let mut found = Vec::with_capacity(made.len());
        for op in capture_diff_slices(Algorithm::Myers, &source.lines, &made) {
            let (is_literal, first) = (op.tag() == DiffTag::Equal, op.old_range().start);
            let line = |number: usize| if is_literal { first + number } else { first.min(source.lines.len().saturating_sub(1)) };
            found.extend((0..op.new_range().len()).map(|number| Origin { line: line(number), is_literal }));
        }
        found
    })
}

fn marked(source: &Source<'_>, made: &str, render: &dyn Fn(&str) -> Option<String>) -> Option<Vec<Origin>> {
    if [source.text, made].iter().any(|text| text.contains(MARKS)) {
        return None;
    }
    let lines = &source.lines;
    let mut with_marks = String::with_capacity(source.text.len() + lines.len() * 8);
    for (number, line) in lines.iter().enumerate() {
        if source.may_be_marked(number) {
            with_marks.push_str(&format!("{}{number}{}", MARKS[0], MARKS[1]));
        }
        with_marks.push_str(line);
    }
    let output = render(&with_marks)?;
    let mut found = Vec::new();
    let mut plain = String::with_capacity(made.len());
    let mut last = 0;
    for line in split(&output) {
        let mut here = Vec::new();
        let mut text = String::new();
        let mut rest = line;
        while let Some((before, after)) = rest.split_once(MARKS[0]) {
            let (number, after) = after.split_once(MARKS[1])?;
            text.push_str(before);
            if before.is_empty() {
                // Between two marks was a line that makes nothing, such as `{% endif %}`.
                here.pop();
            }
            here.push((text.is_empty(), number.parse::<usize>().ok().filter(|number| *number < lines.len())?));
            rest = after;
        }
        text.push_str(rest);
        plain.push_str(&text);
        let is_literal = match here.as_slice() {
            [(true, number)] => text == lines[*number] && source.tags_on(*number).is_empty(),
            _ => false,
        };
        found.push(Origin { line: here.first().map_or(last, |(_, number)| *number), is_literal });
        last = here.last().map_or(last, |(_, number)| *number);
        // What is only marks makes no line.
        if text.is_empty() {
            found.pop();
        }
    }
    (plain == made && found.len() == split(made).len()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{Filled, Layer, Scope};

    /// The new template, and what is left, in words.
    fn carry(template: &str, wanted: &str) -> (String, Vec<String>) {
        let layer = Layer::default().with("port", 80).with("name", "web").with("users", vec!["ann", "bob"]).with("on", true).with("off", false);
        let scope = Scope::new(vec![std::sync::Arc::new(layer)]);
        let render = |text: &str| match scope.render(text) {
            Ok(Filled::Now(text)) => Some(text),
            _ => None,
        };
        let carried = carried(template, wanted, &render).expect("it renders");
        assert_eq!(carried.is_whole, carried.left.is_empty(), "{carried:?}");
        let said = |left: &Left| format!("{}: {:?} -> {:?}{}", left.line, left.made, left.wanted, left.value.as_ref().map(|(name, value)| format!(" {name}={value}")).unwrap_or_default());
        (carried.text, carried.left.iter().map(said).collect())
    }

    fn whole(template: &str, wanted: &str) -> String {
        let (text, left) = carry(template, wanted);
        assert!(left.is_empty(), "{left:?} {text}");
        text
    }

    const SITE: &str = "# head\nserver {\n  listen {{ port }};\n  root /srv;\n{% for user in users %}\n  allow {{ user }};\n  # next\n{% endfor %}\n{% if off %}\n  deny all;\n{% endif %}\n}\n";
    const MADE: &str = "# head\nserver {\n  listen 80;\n  root /srv;\n  allow ann;\n  # next\n  allow bob;\n  # next\n}\n";

    #[test]
    fn nothing_changed_changes_nothing() {
        assert_eq!(whole(SITE, MADE), SITE);
        assert_eq!(whole("", ""), "");
        assert_eq!(whole("a\n  {%- if on %} b{% endif %}\n", "a b"), "a\n  {%- if on %} b{% endif %}\n");
    }

    #[test]
    fn literal_lines_are_carried_over() {
        assert_eq!(whole(SITE, &MADE.replace("root /srv", "root /data")), SITE.replace("root /srv", "root /data"));
        assert_eq!(whole(SITE, &MADE.replace("  root /srv;\n", "")), SITE.replace("  root /srv;\n", ""));
        assert_eq!(whole(SITE, &MADE.replace("# head\n", "# head\n# more\n# and more\n")), SITE.replace("# head\n", "# head\n# more\n# and more\n"));
        assert_eq!(whole(SITE, &MADE.replace("listen 80;\n", "listen 80;\n  http2 on;\n")), SITE.replace("{{ port }};\n", "{{ port }};\n  http2 on;\n"));
        assert_eq!(whole("a\nb", "a\nc\nd"), "a\nc\nd");
        assert_eq!(whole("a\n", "a"), "a");
        assert_eq!(whole("{% if off %}x{% endif %}\n", "y\n"), "{% if off %}x{% endif %}\ny\n");
    }

    #[test]
    fn every_turn_of_a_loop_or_none() {
        assert_eq!(whole(SITE, &MADE.replace("# next", "# other")), SITE.replace("# next", "# other"));
        let (text, left) = carry(SITE, &MADE.replacen("# next", "# other", 1));
        assert_eq!((text.as_str(), left), (SITE, vec!["7: \"  # next\\n\" -> \"  # other\\n\"".to_owned()]));
        // Behind the loop, not in it.
        let text = whole(SITE, &MADE.replace("  # next\n}", "  # next\n  satisfy any;\n}"));
        assert!(text.contains("{% endif %}\n  satisfy any;\n}"), "{text}");
    }

    #[test]
    fn what_an_expression_made_is_not_guessed() {
        let (text, left) = carry(SITE, &MADE.replace("listen 80", "listen 8080").replace("# head", "# top"));
        assert_eq!(text, SITE.replace("# head", "# top"));
        assert_eq!(left, ["3: \"  listen 80;\\n\" -> \"  listen 8080;\\n\" port=8080"]);
        let (_, left) = carry("{{ name }}-{{ port }}\n", "web-81\n");
        assert_eq!(left, ["1: \"web-80\\n\" -> \"web-81\\n\""]);
        // Together with a line that is new.
        let (text, left) = carry("x {{ port }}\n", "# new\nx 81\n");
        assert_eq!((text.as_str(), left), ("# new\nx {{ port }}\n", vec!["1: \"x 80\\n\" -> \"x 81\\n\" port=81".to_owned()]));
        let (_, left) = carry("x {{ port | default(3) }}\n", "x 81\n");
        assert_eq!(left, ["1: \"x 80\\n\" -> \"x 81\\n\" port=81"]);
        let (_, left) = carry("x {{ port + 1 }}\n", "x 90\n");
        assert_eq!(left, ["1: \"x 81\\n\" -> \"x 90\\n\""]);
    }

    #[test]
    fn what_looks_like_a_template_stands_for_itself() {
        assert_eq!(whole("a\n", "a {{ b }} {% c %} {# d #} {{{\n"), "a {{ '{{' }} b }} {{ '{%' }} c %} {{ '{#' }} d #} {{ '{{' }}{\n");
        assert_eq!(whole("{% raw %}\n{{ a }}\nb\n{% endraw %}\n", "{{ a }}\n{{ c }}\n"), "{% raw %}\n{{ a }}\n{{ c }}\n{% endraw %}\n");
    }

    #[test]
    fn blanks_that_tags_take_away_do_no_harm() {
        let template = "a\n{%- if on %}\nb\n{%- endif %}\n\nc\n{# no #}\nd\n";
        let made = "a\nb\nc\nd\n";
        let scope = Scope::new(vec![std::sync::Arc::new(Layer::default().with("on", true))]);
        let Ok(Filled::Now(really)) = scope.render(template) else { panic!("it renders") };
        let edited = really.replace("c\n", "e\n");
        assert!(really.contains(made.trim_start_matches("a\n").get(..1).unwrap_or("b")));
        assert_eq!(whole(template, &edited), template.replace("\nc\n", "\ne\n"));
    }

    #[test]
    fn a_text_that_marks_would_change_is_aligned_by_its_lines() {
        let template = "{% set x %}\nabc\n{% endset %}\nfirst\n{{ x | length }}\nlast\n";
        assert_eq!(whole(template, "first\n4\nend\n"), template.replace("last", "end"));
    }

    #[test]
    fn a_place_that_could_be_another_is_told() {
        let template = "a\n{% if on %}\nb\n{% endif %}\nc\n";
        let scope = Scope::new(vec![std::sync::Arc::new(Layer::default().with("on", true))]);
        let render = |text: &str| match scope.render(text) {
            Ok(Filled::Now(text)) => Some(text),
            _ => None,
        };
        let carried = carried(template, "a\nb\nnew\nc\n", &render).expect("it renders");
        assert_eq!((carried.text.as_str(), carried.is_whole, carried.doubts.len(), carried.doubts[0].0), ("a\n{% if on %}\nb\n{% endif %}\nnew\nc\n", true, 1, 5));
    }

    #[test]
    fn whatever_was_edited_the_patch_is_whole_or_says_what_is_left() {
        use proptest::prelude::*;
        let pieces = prop::sample::select(vec![
            "a\n", "b\n", "\n", "  c\n", "{{ port }}\n", "x {{ name }} y\n", "{% for user in users %}\n", "{% endfor %}\n", "{% if on %}\n", "{%- if off %}\n", "{% else %}\n", "{%- endif %}\n", "{% endif -%}\n", "{# r #}\n",
            "{% raw %}{{ r }}\n{% endraw %}\n", "{% set z = 1 %}\n", "{{ '}}' }}", "tail", "é {{ { 'k': { 'l': port } }.k.l }}\n",
        ]);
        let lines = prop::sample::select(vec!["a\n", "b\n", "new\n", "{{ q }}\n", "\n", "81\n", "x web y\n", "x other y\n", "end"]);
        let edits = prop::collection::vec((0_usize..12, 0_usize..3, prop::collection::vec(lines, 0..3)), 0..4);
        let tried = std::cell::Cell::new(0);
        proptest!(|(pieces in prop::collection::vec(pieces, 0..14), edits in edits)| {
            let template = pieces.concat();
            let layer = Layer::default().with("port", 80).with("name", "web").with("users", vec!["ann", "bob"]).with("on", true).with("off", false);
            let scope = Scope::new(vec![std::sync::Arc::new(layer)]);
            let render = |text: &str| match scope.render(text) {
                Ok(Filled::Now(text)) => Some(text),
                _ => None,
            };
            let Some(made) = render(&template) else { return Ok(()) };
            let mut wanted: Vec<String> = split(&made).into_iter().map(str::to_owned).collect();
            for (at, count, lines) in edits {
                let at = at.min(wanted.len());
                let end = (at + count).min(wanted.len());
                drop(wanted.splice(at..end, lines.into_iter().map(str::to_owned)));
            }
            let wanted = wanted.concat();
            let carried = carried(&template, &wanted, &render).expect("it renders");
            tried.set(tried.get() + 1);
            prop_assert_eq!(carried.is_whole, carried.left.is_empty(), "{:?} {:?} {:?}", template, wanted, carried);
            // What is carried over may be in part, but it still is a template.
            prop_assert!(render(&carried.text).is_some());
        });
        assert!(tried.get() > 20, "{}", tried.get());
    }
}
