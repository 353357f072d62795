//! From the text of a file to a described module, with every problem found on the way.

use std::ops::Range;

use indexmap::IndexMap;
use serde::Deserialize;

use super::params::Param;
use super::{Own, holes};
use crate::diag::{Diagnostic, Entry, Key, Kind, Node, SourceId, Span, decode_with, parse};
use crate::module::{Lasting, OneOrMany};
use crate::template::{Manner, own_names};

/// The keys of the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// What it does, in one sentence; more after an empty line.
    pub about: String,
    /// The parameter that a bare text stands for.
    pub main: Option<String>,
    #[serde(default)]
    pub params: IndexMap<String, Param>,
    /// Arguments that do not go together.
    #[serde(default)]
    pub refuse: Vec<Refusal>,
    /// Programs that must be on the host.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// Stands before each of the other sh texts.
    #[serde(default)]
    pub functions: String,
    /// Tells what is there.
    pub probe: String,
    /// What shall be there: for each property a text with holes, or a list. None: anything may be there.
    #[serde(default)]
    pub wanted: IndexMap<String, serde_json::Value>,
    /// Makes it so.
    pub apply: Option<String>,
    /// Paths that are kept before the change, and brought back by the undo.
    pub keep: Option<OneOrMany>,
    /// Takes the change back, after what was kept has come back.
    pub undo: Option<String>,
    /// What the undo cannot bring back. Empty: nothing.
    pub undo_misses: Option<String>,
    /// Why there is no way back. Empty: there is one.
    pub no_undo: Option<String>,
    /// What it is about, where changing that may lock somebody out.
    pub touches: Option<About>,
    /// Longest time that it may take, where the task sets no `timeout`.
    pub patience: Option<Lasting>,
    /// Properties whose values are shown nowhere.
    #[serde(default)]
    pub hidden: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// An expression over the parameters.
    pub when: String,
    /// The message; the help after ` | `.
    pub say: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Need {
    /// One of these is enough.
    pub program: OneOrMany,
    /// What would help, such as a package to install.
    pub help: String,
    /// An expression over the parameters. Left out: always.
    pub when: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    pub path: Option<String>,
    pub service: Option<String>,
}

/// Names that every text of a module sees, besides the parameters.
const GIVEN: &[&str] = &["home", "given", "range", "dict", "namespace", "debug", "raise"];
/// Those of the texts that know what is there.
const ANSWERED: &[&str] = &["old", "wanted", "differs"];

/// Reads a description. All problems go to `problems`.
pub fn read(name: &'static str, text: &str, functions: Option<String>, source: SourceId, problems: &mut Vec<Diagnostic>) -> Option<Own> {
    let before = problems.len();
    let mut tree = parse(source, text, problems);
    if problems.len() > before {
        return None;
    }
    if let (Some(functions), Kind::Table(entries)) = (functions, &mut tree.kind) {
        let place = Span { source, bytes: 0..0 };
        if let Some(twice) = entries.iter().find(|entry| entry.key.name == "functions") {
            problems.push(Diagnostic::error("module", &twice.key.span, format!("`functions` stand here and in `{name}.sh`")).help("keep one of them"));
            return None;
        }
        entries.push(Entry { key: Key { name: "functions".into(), span: place.clone() }, value: Node::new(&place, Kind::Text(functions)) });
    }
    let keys: Keys = decode_with(&tree, "key of a module", problems)?;
    let mut reader = Reader { keys: &keys, tree: &tree, text, problems, may_hold_secrets: false };
    reader.check();
    (problems.len() == before).then_some(Own { name, keys })
}

struct Reader<'a> {
    keys: &'a Keys,
    tree: &'a Node,
    text: &'a str,
    problems: &'a mut Vec<Diagnostic>,
    /// The text that is being looked at goes to the host alone.
    may_hold_secrets: bool,
}

impl Reader<'_> {
    fn check(&mut self) {
        let (keys, tree) = (self.keys, self.tree);
        let whole = Node::new(&Span { source: tree.span.source, bytes: 0..0 }, Kind::None);
        for (name, param) in &keys.params {
            let node = tree.get("params").and_then(|params| params.get(name)).unwrap_or(&whole);
            if !crate::inventory::is_variable_name(name) || GIVEN.contains(&name.as_str()) || ANSWERED.contains(&name.as_str()) {
                self.refuse(node, format!("`{name}` cannot be the name of a parameter"), "use letters, digits and `_`");
            }
            if let Err(error) = param.check() {
                self.refuse(node, error.to_string(), "");
            }
        }
        if let Some(main) = keys.main.as_ref().filter(|main| !keys.params.contains_key(*main)) {
            self.refuse(tree.get("main").unwrap_or(&whole), format!("`main` is `{main}`, which is no parameter"), "");
        }
        let back = keys.undo.is_some() || keys.keep.is_some() || keys.no_undo.is_some();
        match &keys.apply {
            Some(_) if !back => self.refuse(&whole, "the module does not say how its change is undone".into(), "add `undo`, or `keep` for files, or `no_undo = \"why\"`"),
            Some(_) if keys.wanted.is_empty() => self.refuse(&whole, "the module does not say what shall be there".into(), "add `[wanted]`: for each property that `probe` tells, what it shall be"),
            None if !keys.wanted.is_empty() => self.refuse(&whole, "the module does not say how to make what is wanted".into(), "add `apply`"),
            _ => {}
        }
        for key in ["functions", "probe"] {
            self.sh(key, &[]);
        }
        for key in ["apply", "undo"] {
            self.sh(key, ANSWERED);
        }
        for key in ["keep", "undo_misses", "no_undo", "wanted", "touches"] {
            if let Some(node) = tree.get(key) {
                let more = if key == "touches" { &[] } else { ANSWERED };
                self.plain(node, more);
            }
        }
        for list in ["refuse", "needs"] {
            for item in tree.get(list).map(items).unwrap_or_default() {
                if let Some(when) = item.get("when") {
                    self.may_hold_secrets = true;
                    self.names(when, Manner::Expression, &[]);
                    self.may_hold_secrets = false;
                }
                for key in ["say", "help"] {
                    if let Some(node) = item.get(key) {
                        self.names(node, Manner::Plain, &[]);
                    }
                }
            }
        }
    }

    fn refuse(&mut self, node: &Node, message: String, help: &str) {
        let diagnostic = Diagnostic::error("module", &node.span, message);
        self.problems.push(if help.is_empty() { diagnostic } else { diagnostic.help(help) });
    }

    fn plain(&mut self, node: &Node, more: &[&str]) {
        match &node.kind {
            Kind::Text(_) => self.names(node, Manner::Plain, more),
            Kind::List(items) => items.iter().for_each(|item| self.plain(item, more)),
            Kind::Table(entries) => entries.iter().for_each(|entry| self.plain(&entry.value, more)),
            _ => {}
        }
    }

    fn sh(&mut self, key: &str, more: &[&str]) {
        let Some(node) = self.tree.get(key) else { return };
        self.may_hold_secrets = key != "undo";
        self.names(node, Manner::Sh, more);
        self.may_hold_secrets = false;
        if let Some((range, message)) = holes::misplaced(node.text().unwrap_or_default()) {
            let span = self.within(node, Some(range));
            self.problems.push(Diagnostic::error("module", &span, message));
        }
    }

    /// The text compiles, and every name in it is known.
    fn names(&mut self, node: &Node, manner: Manner, more: &[&str]) {
        let text = node.text().unwrap_or_default();
        match own_names(text, manner) {
            Err(trouble) => {
                let span = self.within(node, trouble.range.clone());
                let mut diagnostic = Diagnostic::error("template", &span, trouble.message);
                diagnostic.help = trouble.help;
                self.problems.push(diagnostic);
            }
            Ok(names) => {
                for name in names {
                    // What these become is kept in the journal.
                    if !self.may_hold_secrets && self.keys.params.get(&name).is_some_and(|param| param.secret) {
                        let at = text.find(&name).map(|start| start..start + name.len());
                        let span = self.within(node, at);
                        let diagnostic = Diagnostic::error("module", &span, format!("the secret `{name}` would be shown or kept in the journal from here"));
                        self.problems.push(diagnostic.help("only `probe` and `apply` can use it: let the probe compare on the host, and tell `yes` or `no`"));
                        continue;
                    }
                    let known = self.keys.params.keys().map(String::as_str).chain(GIVEN.iter().copied()).chain(more.iter().copied());
                    if !known.clone().any(|one| one == name) {
                        let at = text.find(&name).map(|start| start..start + name.len());
                        let span = self.within(node, at);
                        let mut diagnostic = Diagnostic::error("template", &span, format!("`{name}` is no parameter of this module")).suggest(&name, known);
                        if ANSWERED.contains(&name.as_str()) {
                            diagnostic.help = Some("what is there is known only after the question".into());
                        }
                        self.problems.push(diagnostic);
                    }
                }
            }
        }
    }

    /// The place of a part of a text, where the file has that text as it is.
    fn within(&self, node: &Node, range: Option<Range<usize>>) -> Span {
        let source = self.text.get(node.span.bytes.clone()).unwrap_or_default();
        let (Some(range), Some(start)) = (range, node.text().filter(|text| !text.is_empty()).and_then(|text| source.find(text))) else { return node.span.clone() };
        let at = node.span.bytes.start + start;
        Span { source: node.span.source, bytes: at + range.start..at + range.end }
    }
}

fn items(node: &Node) -> &[Node] {
    match &node.kind {
        Kind::List(items) => items,
        _ => &[],
    }
}
