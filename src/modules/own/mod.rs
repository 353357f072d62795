//! Modules that are described in TOML: typed parameters, and `probe`, `apply` and `undo` as sh text.
//!
//! The probe tells properties of what is there, one on each line; the description says what they shall be. Comparison,
//! diff, expected answer and registered result follow from that, so that such a module has check mode, verification,
//! saved plans and rollback as any other. Some of this program's own modules are made this way; users put theirs into
//! `modules/NAME.toml` beside a playbook. `docs/own-modules.md` is the manual.

mod holes;
mod params;
mod read;

use std::sync::OnceLock;

use anyhow::{Result, anyhow};
use indexmap::IndexMap;
use minijinja::Value;
use minijinja::value::ValueKind;

use self::params::Argument;
use self::read::Keys;
use super::file::{CHANGE, LOOK};
use crate::diag::{Diagnostic, Node, SourceId, Sources};
use crate::module::{Act, Answer, Change, Libraries, Question, Reader, Registration, Report, Surroundings, Touches, Undo, Verdict, Wanted, described, diff, has_later, refusal};
use crate::remote::Library;
use crate::secret::MASK;
use crate::sh;
use crate::shell::{Pattern, Script, unescaped};
use crate::template::{Trouble, own_condition, own_value, plain, sh_text};

/// Shorter texts would blot out half of what is said.
const SHORTEST_SECRET: usize = 4;

pub static LIBRARY: Library = Library { name: "own", text: include_str!("own.sh") };

/// A described module.
#[derive(Debug)]
pub struct Own {
    name: &'static str,
    keys: Keys,
}

/// A described module of this program, read when it is first asked for.
pub struct Embedded {
    name: &'static str,
    text: &'static str,
    functions: Option<&'static str>,
    own: OnceLock<Own>,
}

impl Embedded {
    pub const fn new(name: &'static str, text: &'static str, functions: Option<&'static str>) -> Self {
        Self { name, text, functions, own: OnceLock::new() }
    }

    fn own(&'static self) -> &'static Own {
        self.own.get_or_init(|| {
            let mut sources = Sources::default();
            let mut problems = Vec::new();
            let source = sources.add(format!("{}.toml", self.name), self.text);
            let own = read::read(self.name, self.text, self.functions.map(str::to_owned), source, &mut problems);
            own.unwrap_or_else(|| panic!("{}", crate::diag::draw(&problems, &sources, false)))
        })
    }
}

/// The entry of a described module of this program; `with functions`: there is `NAME.sh` beside its `NAME.toml`, which
/// may build on that of others.
macro_rules! embedded {
    ($name:literal) => {
        $crate::modules::own::embedded!($name, None)
    };
    ($name:literal with functions) => {
        $crate::modules::own::embedded!($name, Some(include_str!(concat!("described/", $name, ".sh"))))
    };
    ($name:literal with functions after $common:literal) => {
        $crate::modules::own::embedded!($name, Some(concat!(include_str!(concat!("described/", $common, ".sh")), include_str!(concat!("described/", $name, ".sh")))))
    };
    ($name:literal, $functions:expr) => {{
        static EMBEDDED: $crate::modules::own::Embedded = $crate::modules::own::Embedded::new($name, include_str!(concat!("described/", $name, ".toml")), $functions);
        $crate::module::described($name, &EMBEDDED)
    }};
}
pub(super) use embedded;

/// A module from a user's file. All problems go to `problems`.
pub fn describe(name: &'static str, text: &str, functions: Option<String>, source: SourceId, problems: &mut Vec<Diagnostic>) -> Option<Registration> {
    let own = read::read(name, text, functions, source, problems)?;
    Some(described(name, Box::leak(Box::new(own))))
}

impl Reader for Embedded {
    fn main(&'static self) -> Option<&'static str> {
        self.own().main()
    }

    fn schema(&'static self) -> schemars::Schema {
        self.own().schema()
    }

    fn libraries(&self) -> Vec<&'static Library> {
        vec![&LIBRARY, &LOOK, &CHANGE]
    }

    fn read(&'static self, arguments: &Node, problems: &mut Vec<Diagnostic>) -> Option<Box<dyn Act>> {
        self.own().read(arguments, problems)
    }
}

impl Reader for Own {
    fn main(&'static self) -> Option<&'static str> {
        self.keys.main.as_deref()
    }

    fn schema(&'static self) -> schemars::Schema {
        params::schema(&self.keys.about, &self.keys.params)
    }

    fn libraries(&self) -> Vec<&'static Library> {
        vec![&LIBRARY, &LOOK, &CHANGE]
    }

    fn read(&'static self, arguments: &Node, problems: &mut Vec<Diagnostic>) -> Option<Box<dyn Act>> {
        let task = Task { own: self, arguments: params::read(self.name, &self.keys.params, arguments, problems)? };
        if !has_later(arguments)
            && let Err(error) = task.check()
        {
            problems.push(refusal(arguments, &error.to_string()));
            return None;
        }
        Some(Box::new(task))
    }
}

/// A task of a described module.
struct Task {
    own: &'static Own,
    arguments: IndexMap<String, Argument>,
}

/// What the probe has told.
type Told = IndexMap<String, Value>;

impl Task {
    fn check(&self) -> Result<()> {
        let scope = self.scope(&Surroundings::default(), []);
        for refusal in &self.own.keys.refuse {
            if own_condition(&refusal.when, &scope).map_err(|trouble| self.trouble("refuse", &trouble))? {
                return Err(anyhow!("{}", self.text("say", &refusal.say, &scope)?));
            }
        }
        Ok(())
    }

    /// What the texts see: the arguments, `home`, `given` (the names of those that are given), and `more`.
    fn scope(&self, around: &Surroundings, more: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
        let arguments = self.arguments.iter().map(|(name, argument)| {
            let value = match argument {
                Argument::Plain(value) => value.clone(),
                Argument::Path(path) => Value::from(around.absolute(path)),
            };
            (name.clone(), value)
        });
        let more = more.into_iter().map(|(name, value)| (name.to_owned(), value));
        let is_given = |argument: &Argument| !matches!(argument, Argument::Plain(value) if value.is_none());
        let given: Value = self.arguments.iter().filter(|(_, argument)| is_given(argument)).map(|(name, _)| Value::from(name.as_str())).collect();
        Value::from_pairs(arguments.chain([("home".to_owned(), Value::from(around.home.as_str())), ("given".to_owned(), given)]).chain(more))
    }

    /// A fault of the module itself, in the words of who wrote it.
    fn trouble(&self, key: &str, trouble: &Trouble) -> anyhow::Error {
        let line = trouble.line.map_or_else(String::new, |line| format!(", line {line}"));
        anyhow!("in `{key}` of the module `{}`{line}: {}", self.own.name, trouble.message)
    }

    fn text(&self, key: &str, text: &str, scope: &Value) -> Result<String> {
        let value = own_value(text, scope).map_err(|trouble| self.trouble(key, &trouble))?;
        Ok(if value.is_none() { String::new() } else { plain(&value).trim().to_owned() })
    }

    fn sh(&self, key: &str, text: &str, scope: &Value) -> Result<Script> {
        let functions = sh_text(&self.own.keys.functions, scope).map_err(|trouble| self.trouble("functions", &trouble))?;
        let script = sh_text(text, scope).map_err(|trouble| self.trouble(key, &trouble))?;
        Ok(if script.to_string().trim().is_empty() { Script::default() } else { functions.then(&script) })
    }

    /// Paths that are kept before the change.
    fn kept(&self, scope: &Value) -> Result<Vec<String>> {
        let mut paths = Vec::new();
        for text in self.own.keys.keep.iter().flat_map(|keep| &keep.0) {
            let value = own_value(text, scope).map_err(|trouble| self.trouble("keep", &trouble))?;
            match value.kind() {
                ValueKind::None => {}
                ValueKind::Seq | ValueKind::Iterable => paths.extend(value.try_iter()?.map(|item| item.to_string())),
                _ => paths.push(value.to_string()),
            }
        }
        paths.retain(|path| !path.is_empty());
        Ok(paths)
    }

    /// The whole question. What is asked of kept files cannot depend on the answer.
    fn question(&self, around: &Surroundings) -> Result<Script> {
        let scope = self.scope(around, []);
        let mut script = Script::default();
        for need in &self.own.keys.needs {
            let is_needed = need.when.as_ref().map_or(Ok(true), |when| own_condition(when, &scope)).map_err(|trouble| self.trouble("needs", &trouble))?;
            if is_needed {
                let words = std::iter::once("need".to_owned()).chain([self.text("needs", &need.help, &scope)?]).chain(need.program.0.iter().cloned());
                script = script.then(&Script::call(words.collect::<Vec<_>>()));
            }
        }
        script = script.then(&self.sh("probe", &self.own.keys.probe, &scope)?);
        for path in self.kept(&scope).unwrap_or_default() {
            script = script.then(&sh!("own_sum {}", path));
        }
        Ok(script)
    }

    /// What shall be there, as the probe would tell it; what may be anything is left out.
    fn wanted(&self, scope: &Value) -> Result<Told> {
        let mut wanted = Told::new();
        for (name, value) in &self.own.keys.wanted {
            let value = self.filled(name, value, scope)?;
            match value.kind() {
                ValueKind::None => {}
                ValueKind::Seq | ValueKind::Iterable => {
                    let items: Vec<Value> = value.try_iter()?.map(|item| Value::from(plain(&item))).collect();
                    wanted.insert(name.clone(), Value::from(items));
                }
                _ => {
                    wanted.insert(name.clone(), Value::from(plain(&value)));
                }
            }
        }
        Ok(wanted)
    }

    fn filled(&self, name: &str, value: &serde_json::Value, scope: &Value) -> Result<Value> {
        match value {
            serde_json::Value::String(text) => own_value(text, scope).map_err(|trouble| self.trouble(&format!("wanted.{name}"), &trouble)),
            serde_json::Value::Array(items) => items.iter().map(|item| self.filled(name, item, scope)).collect(),
            other => Ok(crate::template::from_json(other)),
        }
    }

    fn shows(&self, name: &str) -> bool {
        !self.own.keys.hidden.iter().any(|hidden| hidden == name)
    }

    fn shown(&self, name: &str, value: Option<&Value>) -> String {
        match value {
            None => "-".into(),
            Some(_) if !self.shows(name) => MASK.into(),
            Some(value) => match value.kind() {
                ValueKind::Seq => value.try_iter().map(|items| items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")).unwrap_or_default(),
                _ => value.to_string(),
            },
        }
    }

    /// The registered result: every property that may be shown.
    fn report(&self, told: &Told, wanted: &Told) -> Report {
        let mut properties = serde_json::Map::new();
        for (name, value) in told.iter().chain(wanted).filter(|(name, _)| self.shows(name) && !name.starts_with('/')) {
            properties.insert(name.clone(), serde_json::to_value(value).unwrap_or_default());
        }
        Report::default().with("properties", properties)
    }

    fn undo(&self, scope: &Value, kept: &[String]) -> Result<Undo> {
        let keys = &self.own.keys;
        let why = keys.no_undo.as_ref().map_or(Ok(String::new()), |text| self.text("no_undo", text, scope))?;
        if !why.is_empty() {
            return Ok(Undo::Impossible(why));
        }
        // It is kept in the journal, with the functions before it.
        let secrets: Vec<&String> = keys.params.iter().filter(|(_, param)| param.secret).map(|(name, _)| name).collect();
        let without = Value::from_pairs(scope.try_iter()?.map(|name| {
            let hidden = secrets.iter().any(|secret| Some(secret.as_str()) == name.as_str());
            (name.to_string(), if hidden { Value::from(()) } else { scope.get_item(&name).unwrap_or_default() })
        }));
        let script = keys.undo.as_ref().map_or(Ok(Script::default()), |text| self.sh("undo", text, &without))?;
        let misses = keys.undo_misses.as_ref().map_or(Ok(String::new()), |text| self.text("undo_misses", text, scope))?;
        if !kept.is_empty() {
            let paths = Script::call(kept);
            let script = sh!("own__undo() { own_back \"$1\" {} || exit\n{}\n}; own__undo", paths, if script.is_empty() { Script::raw(":") } else { script });
            return Ok(if misses.is_empty() { Undo::Restore(script) } else { Undo::RestoreMost(script, misses) });
        }
        if script.is_empty() {
            return Ok(Undo::Impossible(format!("the module `{}` knows no way back from this", self.own.name)));
        }
        Ok(if misses.is_empty() { Undo::Run(script) } else { Undo::BestEffort(script, misses) })
    }
}

/// The lines of an answer: `NAME VALUE`, or `NAME: ITEM\,ITEM\,`.
fn told(text: &str) -> Told {
    let mut told = Told::new();
    for line in text.split('\n').filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(' ').unwrap_or((line, ""));
        let value_of = |text: &str| Value::from(String::from_utf8_lossy(&unescaped(text.as_bytes())).into_owned());
        match name.strip_suffix(':') {
            Some(name) => {
                told.insert(name.to_owned(), items_of(value).into_iter().map(value_of).collect());
            }
            None => {
                told.insert(name.to_owned(), value_of(value));
            }
        }
    }
    told
}

/// The items of a list, still escaped. Each ends with `\,`; a backslash before that is an escaped one.
fn items_of(mut text: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find('\\')) {
        let end = at + found;
        if text[end..].starts_with("\\,") {
            items.push(&text[..end]);
            text = &text[end + 2..];
            at = 0;
        } else {
            at = end + 2;
        }
    }
    items
}

/// A property as the probe tells it.
fn line(name: &str, value: &Value) -> Vec<u8> {
    let escaped = |value: &Value| crate::shell::escaped(value.to_string().as_bytes());
    let mut text = format!("\n{name}").into_bytes();
    match value.kind() {
        ValueKind::Seq => {
            text.extend_from_slice(b": ");
            for item in value.try_iter().into_iter().flatten() {
                text.extend(escaped(&item));
                text.extend_from_slice(b"\\,");
            }
        }
        _ => {
            text.push(b' ');
            text.extend(escaped(value));
        }
    }
    text.push(b'\n');
    text
}

impl Act for Task {
    fn probe(&self, around: &Surroundings) -> Question {
        // What is wrong with the text itself is told as an answer.
        Question::Ask(self.question(around).unwrap_or_else(|error| sh!("refuse {}", format!("{error:#}"))))
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        if answer.status == 3 {
            let text = String::from_utf8_lossy(&answer.stdout);
            return Err(anyhow!("{}", text.trim_end().rsplit('\n').next().unwrap_or_default()));
        }
        let old = told(answer.text()?);
        let old_value = || Value::from_pairs(old.iter().map(|(name, value)| (name.clone(), value.clone())));
        let wanted = self.wanted(&self.scope(around, [("old", old_value())]))?;
        let differing: Vec<&String> = wanted.iter().filter(|(name, value)| old.get(*name) != Some(*value)).map(|(name, _)| name).collect();
        let report = self.report(&old, &wanted);
        let Some(apply) = self.own.keys.apply.as_ref().filter(|_| !differing.is_empty()) else { return Ok(Verdict::InPlace(report)) };
        let wanted_value = Value::from_pairs(wanted.iter().map(|(name, value)| (name.clone(), value.clone())));
        let names: Value = differing.iter().map(|name| Value::from(name.as_str())).collect();
        let scope = self.scope(around, [("old", old_value()), ("wanted", wanted_value), ("differs", names)]);
        let kept = self.kept(&scope)?;
        let shown: Vec<(&str, String, String)> = differing.iter().map(|name| (name.as_str(), self.shown(name, old.get(*name)), self.shown(name, wanted.get(*name)))).collect();
        let brief = |text: &str| text.split_once('\n').map_or_else(|| text.to_owned(), |(first, _)| format!("{first}…"));
        let from = shown.iter().map(|one| brief(&one.1)).collect::<Vec<_>>().join(", ");
        let to = shown.iter().map(|one| brief(&one.2)).collect::<Vec<_>>().join(", ");
        let expect = wanted.iter().fold(Pattern::default(), |pattern, (name, value)| pattern.and_anything().and(line(name, value))).and_anything();
        let mut change = Change::new(from, to, self.sh("apply", apply, &scope)?, expect, self.undo(&scope, &kept)?);
        if !kept.is_empty() {
            change.keep = Script::call(std::iter::once("own_keep".to_owned()).chain(kept));
        }
        change.apply.group = true;
        let (lines, texts): (Vec<_>, Vec<_>) = shown.into_iter().partition(|(_, from, to)| !from.contains('\n') && !to.contains('\n'));
        change.diff = if lines.is_empty() { String::new() } else { diff::properties(self.own.name, &lines) };
        for (name, from, to) in texts {
            change.diff.push_str(&diff::unified(&format!("{}: {name}", self.own.name), Some(from.as_bytes()), Some(to.as_bytes())));
        }
        change.report = report;
        change.hides_answer = !self.own.keys.hidden.is_empty() || self.has_secret();
        Ok(Verdict::differs(change))
    }

    fn undo_after(&self, _: &Answer, _: &[u8]) -> Option<Undo> {
        None
    }

    fn wants(&self) -> Vec<Wanted> {
        Vec::new()
    }

    fn patience_seconds(&self) -> Option<u64> {
        self.own.keys.patience.map(|patience| patience.0.as_secs())
    }

    fn touches(&self, around: &Surroundings) -> Touches {
        let scope = self.scope(around, []);
        let filled = |text: &Option<String>| text.as_ref().and_then(|text| self.text("touches", text, &scope).ok()).filter(|text| !text.is_empty());
        let Some(about) = &self.own.keys.touches else { return Touches::Nothing };
        filled(&about.service).map(Touches::Service).or_else(|| filled(&about.path).map(Touches::Path)).unwrap_or(Touches::Nothing)
    }

    fn has_secret(&self) -> bool {
        let is_given = |name: &str| self.arguments.get(name).is_some_and(|argument| !matches!(argument, Argument::Plain(value) if value.is_none()));
        self.own.keys.params.iter().any(|(name, param)| param.secret && is_given(name))
    }

    fn secrets(&self) -> Vec<String> {
        let texts = self.own.keys.params.iter().filter(|(_, param)| param.secret).filter_map(|(name, _)| match self.arguments.get(name)? {
            Argument::Plain(value) if value.is_none() => None,
            Argument::Plain(value) => Some(plain(value)),
            Argument::Path(_) => None,
        });
        texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).filter(|text| text.len() >= SHORTEST_SECRET).collect()
    }

    fn open_question(&self, around: &Surroundings) -> Option<Script> {
        let kept = self.kept(&self.scope(around, [])).ok().filter(|kept| !kept.is_empty())?;
        Some(kept.iter().fold(Script::default(), |script, path| script.then(&sh!("own_sum {}", path))))
    }

    fn open_answer(&self, around: &Surroundings, answer: &[u8]) -> Vec<u8> {
        let kept = self.kept(&self.scope(around, [])).unwrap_or_default();
        let told = told(&String::from_utf8_lossy(answer));
        kept.iter().filter_map(|path| Some(line(path, told.get(path)?))).collect::<Vec<_>>().concat()
    }

    fn libraries(&self, _: &Surroundings) -> Libraries {
        let apply: Vec<&'static Library> = if self.own.keys.keep.is_some() { vec![&LOOK, &CHANGE] } else { Vec::new() };
        Libraries { probe: vec![&LIBRARY], apply }
    }
}
