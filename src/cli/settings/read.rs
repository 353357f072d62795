//! From files and the environment to settings, with everything that is wrong with them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command};

use super::known::{KNOWN, Kind, Known, known, refusal, variable};
use super::{at, files, flag, path_to};
use crate::diag::{Diagnostic, Entry, Node, Sources, nearest, parse};
use crate::diag::Kind as Toml;

/// Something that is set, and where.
pub struct Setting {
    pub known: &'static Known,
    /// The command that it is for; nothing for all.
    pub command: Option<String>,
    /// One for each time that the flag is given; none for a flag that is not.
    pub values: Vec<OsString>,
    pub origin: Origin,
    /// Where it stands, unless in the environment.
    pub span: Option<crate::diag::Span>,
    /// From 0, the strongest.
    pub layer: usize,
}

/// Where a setting comes from.
pub enum Origin {
    Environment(String),
    File { name: String, line: usize },
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File { name, line } => write!(f, "{name}:{line}"),
        }
    }
}

/// All that is set here.
#[derive(Default)]
pub struct Settings {
    pub all: Vec<Setting>,
    /// The files that were read, the strongest first.
    pub files: Vec<String>,
    pub sources: Sources,
    pub problems: Vec<Diagnostic>,
}

impl Setting {
    /// The words that stand for it on the command line.
    pub fn words(&self, name: &str) -> Vec<OsString> {
        let mut word = OsString::from(format!("--{name}"));
        match self.known.kind {
            Kind::Flag => vec![word; self.values.len()],
            _ if self.known.name == "verbose" => {
                let many = self.values.first().and_then(|value| value.to_str()?.parse().ok()).unwrap_or(0);
                vec![word; many]
            }
            _ => {
                word.push("=");
                self.values.iter().map(|value| [word.as_os_str(), value].concat_os()).collect()
            }
        }
    }
}

trait ConcatOs {
    fn concat_os(&self) -> OsString;
}

impl ConcatOs for [&OsStr; 2] {
    fn concat_os(&self) -> OsString {
        let mut whole = self[0].to_owned();
        whole.push(self[1]);
        whole
    }
}

/// A command or URL without what may be a token in it.
pub fn masked(whom: &str) -> String {
    let mask = crate::secret::MASK;
    match whom.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => {
            let place = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let host = place.rsplit('@').next().unwrap_or_default();
            if host.len() == rest.len() { whom.to_owned() } else { format!("{scheme}://{host}/{mask}") }
        }
        _ => match whom.trim().split_once(char::is_whitespace) {
            Some((program, _)) => format!("{program} {mask}"),
            None => whom.to_owned(),
        },
    }
}

impl Settings {
    /// Reads the environment and the files, and judges every value by the parser of its flag.
    pub fn read(command: &mut Command) -> Self {
        let mut settings = Self::default();
        for known in KNOWN {
            let name = variable(known.name);
            if let Some(value) = std::env::var_os(&name).filter(|value| !value.is_empty()) {
                settings.environment(command, known, name, &value);
            }
        }
        for (layer, file) in files::all(&mut settings.problems).into_iter().enumerate() {
            let source = settings.sources.add(file.name.as_str(), file.text.as_str());
            let tree = parse(source, &file.text, &mut settings.problems);
            let mut reader = Reader { settings: &mut settings, command, name: &file.name, folder: &file.folder, layer: layer + 1 };
            reader.table(&tree, None);
            settings.files.push(file.name);
        }
        settings
    }

    /// Whether there is nothing to heed.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.problems.is_empty()
    }

    /// What is set for a command.
    pub fn of(&self, known: &Known, command: &str) -> Option<&Setting> {
        let counts = |setting: &&Setting| {
            setting.known.name == known.name
                && match &setting.command {
                    Some(only) => only == command,
                    None => known.is_for_all(command),
                }
        };
        // In a file, what is for one command is stronger.
        self.all.iter().filter(counts).min_by_key(|setting| (setting.layer, setting.command.is_none()))
    }

    /// What is set for all commands.
    pub fn of_all(&self, known: &Known) -> Option<&Setting> {
        self.all.iter().filter(|setting| setting.known.name == known.name && setting.command.is_none()).min_by_key(|setting| setting.layer)
    }

    fn environment(&mut self, command: &mut Command, known: &'static Known, name: String, value: &OsStr) {
        let shown = |value: &OsStr| if known.kind == Kind::Whom { masked(&value.to_string_lossy()) } else { value.to_string_lossy().into_owned() };
        let values: Vec<OsString> = match known.kind {
            Kind::Flag => match value.to_str() {
                Some("true" | "yes" | "1") => vec!["true".into()],
                Some("false" | "no" | "0") => Vec::new(),
                _ => {
                    let message = format!("`{name}={}` must be true or false", shown(value));
                    self.problems.push(Diagnostic::general("environment", message).help(format!("write `{name}=true`, or unset it")));
                    return;
                }
            },
            Kind::Paths => std::env::split_paths(value).filter(|path| !path.as_os_str().is_empty()).map(PathBuf::into_os_string).collect(),
            _ => vec![value.to_owned()],
        };
        for value in &values {
            if let Err((message, help)) = judged(command, None, known, value) {
                let mut diagnostic = Diagnostic::general("environment", format!("`{name}={}`: {message}", shown(value)));
                diagnostic.help = Some(help.unwrap_or_else(|| "mend it, or unset it".into()));
                self.problems.push(diagnostic);
                return;
            }
        }
        self.all.push(Setting { known, command: None, values, origin: Origin::Environment(name), span: None, layer: 0 });
    }
}

/// Reads one file.
struct Reader<'a> {
    settings: &'a mut Settings,
    command: &'a mut Command,
    name: &'a str,
    folder: &'a Path,
    layer: usize,
}

impl Reader<'_> {
    fn table(&mut self, table: &Node, only: Option<&str>) {
        let mut seen: Vec<String> = Vec::new();
        for entry in table.entries() {
            let written = entry.key.name.as_str();
            let name = written.replace('_', "-");
            if let (Toml::Table(_), None) = (&entry.value.kind, only) {
                self.section(entry);
                continue;
            }
            if seen.contains(&name) {
                self.refuse(&entry.key.span, "duplicate", format!("`{name}` is given twice"), Some("once with `-`, and once with `_`; take one out".into()));
                continue;
            }
            seen.push(name.clone());
            match known(&name) {
                Some(known) => self.setting(known, entry, only),
                None => self.unknown(&name, entry, only),
            }
        }
    }

    /// The settings for one command.
    fn section(&mut self, entry: &Entry) {
        let name = entry.key.name.as_str();
        if self.command.find_subcommand(name).is_some_and(|sub| sub.get_name() == name) {
            if KNOWN.iter().any(|known| path_to(self.command, Some(name), known).is_some()) {
                self.table(&entry.value, Some(name));
            } else {
                self.refuse(&entry.key.span, "unknown-key", format!("`{name}` has no settings"), Some("take it out".into()));
            }
            return;
        }
        if known(&name.replace('_', "-")).is_some() {
            self.refuse(&entry.value.span, "arg-type", format!("`{name}` is no table"), None);
            return;
        }
        let names: Vec<&str> = self.command.get_subcommands().map(Command::get_name).collect();
        let help = nearest(name, names).map_or_else(|| "a table is for a command, such as `[apply]`".to_owned(), |near| format!("did you mean `{near}`?"));
        self.refuse(&entry.key.span, "unknown-key", format!("there is no command `{name}`"), Some(help));
    }

    fn unknown(&mut self, name: &str, entry: &Entry, only: Option<&str>) {
        let written = &entry.key.name;
        let of = only.map(|only| format!(" of `{only}`")).unwrap_or_default();
        let is_flag = self.command.get_subcommands().flat_map(|sub| std::iter::once(sub).chain(sub.get_subcommands())).any(|sub| flag(sub, name).is_some());
        if let Some(why) = refusal(name) {
            self.refuse(&entry.key.span, "no-setting", format!("`{written}` is no setting"), Some(why.to_owned()));
        } else if is_flag {
            self.refuse(&entry.key.span, "no-setting", format!("`{written}` is no setting"), Some("what is for one run is given on its command line".into()));
        } else {
            let near = nearest(name, KNOWN.iter().map(|known| known.name).filter(|known_name| self.has(known_name, only)));
            let help = near.map_or_else(|| "`mutate config` shows what is set; settings carry the names of long flags".to_owned(), |near| format!("did you mean `{near}`?"));
            self.refuse(&entry.key.span, "unknown-key", format!("unknown setting `{written}`{of}"), Some(help));
        }
    }

    /// Whether this can be set there.
    fn has(&self, name: &str, only: Option<&str>) -> bool {
        known(name).is_some_and(|known| path_to(self.command, only, known).is_some())
    }

    fn setting(&mut self, known: &'static Known, entry: &Entry, only: Option<&str>) {
        if let Some(only) = only.filter(|_| !self.has(known.name, only)) {
            let names: Vec<String> = KNOWN.iter().map(|known| known.name).filter(|name| self.has(name, Some(only))).map(|name| format!("`{name}`")).collect();
            self.refuse(&entry.key.span, "unknown-key", format!("`{only}` has no setting `{}`", entry.key.name), Some(format!("it has {}", names.join(", "))));
            return;
        }
        let before = self.settings.problems.len();
        let mut values = Vec::new();
        match (&entry.value.kind, is_repeated(self.command, only, known)) {
            (Toml::List(items), true) => items.iter().for_each(|item| values.extend(self.value(known, &entry.key.name, item, only))),
            _ => values.extend(self.value(known, &entry.key.name, &entry.value, only)),
        }
        if self.settings.problems.len() > before {
            return;
        }
        let line = self.settings.sources.line(&entry.key.span);
        let origin = Origin::File { name: self.name.to_owned(), line };
        self.settings.all.push(Setting { known, command: only.map(str::to_owned), values, origin, span: Some(entry.key.span.clone()), layer: self.layer });
    }

    /// One value as it would stand on the command line.
    fn value(&mut self, known: &'static Known, key: &str, node: &Node, only: Option<&str>) -> Option<OsString> {
        let wanted = match known.kind {
            Kind::Flag => "true or false",
            Kind::Number => "a whole number",
            Kind::Amount => "a number, or text such as \"10m\" or \"25%\"",
            Kind::Path | Kind::Paths | Kind::PathOrNone => "a path in quotes",
            Kind::Text | Kind::Inventory | Kind::Whom => "text",
        };
        let value: OsString = match (&node.kind, known.kind) {
            (Toml::Boolean(value), Kind::Flag) => return value.then(|| "true".into()),
            (Toml::Integer(number), Kind::Number | Kind::Amount) => number.to_string().into(),
            (Toml::Text(text), Kind::Amount | Kind::Text | Kind::Whom) => text.into(),
            (Toml::Text(text), Kind::Inventory) if text.contains(',') => text.into(),
            (Toml::Text(text), Kind::PathOrNone) if text == "none" => text.into(),
            (Toml::Text(text), Kind::Path | Kind::Paths | Kind::PathOrNone | Kind::Inventory) => self.path(text).into_os_string(),
            _ => {
                let label = format!("this is {}", node.what());
                let diagnostic = Diagnostic::error("arg-type", &node.span, format!("`{key}` must be {wanted}")).label(label);
                self.settings.problems.push(self.without_token(known, diagnostic));
                return None;
            }
        };
        let is_empty = value.is_empty() || matches!(&node.kind, Toml::Text(text) if text.is_empty());
        let verdict = if is_empty { Err(("the text is empty".to_owned(), Some("leave it out".to_owned()))) } else { judged(self.command, only, known, &value) };
        if let Err((message, help)) = verdict {
            let mut diagnostic = Diagnostic::error("arg-value", &node.span, format!("`{key}`: {message}"));
            diagnostic.help = help;
            self.settings.problems.push(self.without_token(known, diagnostic));
            return None;
        }
        Some(value)
    }

    /// A path is relative to the file that names it.
    fn path(&self, text: &str) -> PathBuf {
        match text.strip_prefix("~/") {
            Some(rest) => std::env::home_dir().unwrap_or_default().join(rest),
            None => self.folder.join(text),
        }
    }

    /// The line of what may be a token is not shown.
    fn without_token(&self, known: &Known, mut diagnostic: Diagnostic) -> Diagnostic {
        if known.kind == Kind::Whom
            && let Some(span) = diagnostic.span.take()
        {
            let line = self.settings.sources.line(&span);
            diagnostic.message = format!("{}:{line}: {}", self.name, diagnostic.message);
        }
        diagnostic
    }

    fn refuse(&mut self, span: &crate::diag::Span, code: &'static str, message: String, help: Option<String>) {
        let mut diagnostic = Diagnostic::error(code, span, message);
        diagnostic.help = help;
        self.settings.problems.push(diagnostic);
    }
}

/// Whether the flag may be given several times.
fn is_repeated(command: &Command, only: Option<&str>, known: &Known) -> bool {
    argument(command, only, known).is_some_and(|arg| matches!(arg.get_action(), ArgAction::Append))
}

fn argument<'a>(command: &'a Command, only: Option<&str>, known: &Known) -> Option<&'a Arg> {
    flag(at(command, &path_to(command, only, known)?)?, known.name)
}

/// Whether the parser of the flag takes a value; else why not, and what to do.
fn judged(command: &mut Command, only: Option<&str>, known: &Known, value: &OsStr) -> Result<(), (String, Option<String>)> {
    if known.name == "verbose" {
        let good = value.to_str().and_then(|text| text.parse::<u8>().ok()).is_some_and(|times| times <= 3);
        return if good { Ok(()) } else { Err(("write 0, 1, 2 or 3".into(), None)) };
    }
    if value.as_bytes().contains(&0) {
        return Err(("text with a NUL byte cannot be given to a flag".into(), None));
    }
    let Some(path) = path_to(command, only, known) else { return Ok(()) };
    if let Some(arg) = at(command, &path).and_then(|sub| flag(sub, known.name)) {
        let possible = arg.get_possible_values();
        let names: Vec<&str> = possible.iter().map(clap::builder::PossibleValue::get_name).collect();
        let text = value.to_string_lossy();
        if !names.is_empty() && !names.contains(&&*text) {
            let list = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            return Err((format!("`{text}` is not one of {list}"), nearest(&text, names).map(|near| format!("did you mean `{near}`?"))));
        }
    }
    let mut here = command;
    for name in &path {
        let Some(next) = here.find_subcommand_mut(name) else { return Ok(()) };
        here = next;
    }
    let mut word = format!("--{}=", known.name).into_bytes();
    word.extend(value.as_bytes());
    // What else is wrong with such a line is of no interest.
    match here.try_get_matches_from_mut([OsString::from("mutate"), OsString::from_vec(word)]) {
        Err(error) if matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::InvalidUtf8 | ErrorKind::WrongNumberOfValues | ErrorKind::NoEquals | ErrorKind::TooManyValues) => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            let marker = format!("'--{} ", known.name);
            let why = first.split_once(&marker).and_then(|(_, rest)| rest.split_once("': ")).map_or(first.trim_start_matches("error: "), |(_, why)| why);
            Err((why.to_owned(), None))
        }
        _ => Ok(()),
    }
}
