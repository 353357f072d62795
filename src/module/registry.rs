//! Which modules there are, without knowing them: the list is passed in by whoever does.

use schemars::Schema;

use super::{Act, Module};
use crate::diag::{Diagnostic, Entry, Key, Kind, Node, decode_with};
use crate::remote::Library;

/// One module, as playbook, engine and manual see it.
#[derive(Clone, Copy)]
pub struct Registration {
    pub name: &'static str,
    pub main: Option<&'static str>,
    pub free_form: bool,
    pub runs_user_text: bool,
    pub expressions: &'static [&'static str],
    pub schema: fn() -> Schema,
    /// Every shell library that its scripts may use.
    pub libraries: fn() -> Vec<&'static Library>,
    read: fn(&Node, &mut Vec<Diagnostic>) -> Option<Box<dyn Act>>,
}

/// The entry of a module in the list.
pub const fn registration<M: Module>() -> Registration {
    Registration {
        name: M::NAME,
        main: M::MAIN,
        free_form: M::FREE_FORM,
        runs_user_text: M::RUNS_USER_TEXT,
        expressions: M::EXPRESSIONS,
        schema: || schemars::schema_for!(M),
        libraries: || M::PROBE_LIBRARIES.iter().chain(M::APPLY_LIBRARIES).copied().collect(),
        read: read::<M>,
    }
}

fn read<M: Module>(arguments: &Node, problems: &mut Vec<Diagnostic>) -> Option<Box<dyn Act>> {
    let noun = format!("parameter of `{}`", M::NAME);
    let module: M = decode_with(arguments, &noun, problems)?;
    if let Err(error) = module.check() {
        // What is known later may well be right.
        if !has_later(arguments) {
            let text = error.to_string();
            let (message, help) = text.split_once(" | ").unwrap_or((&text, ""));
            let mut diagnostic = Diagnostic::error("arguments", &arguments.span, message);
            diagnostic.help = (!help.is_empty()).then(|| help.to_owned());
            problems.push(diagnostic);
            return None;
        }
    }
    Some(Box::new(module))
}

fn has_later(node: &Node) -> bool {
    match &node.kind {
        Kind::Later => true,
        Kind::List(items) => items.iter().any(has_later),
        Kind::Table(entries) => entries.iter().any(|entry| has_later(&entry.value)),
        _ => false,
    }
}

impl Registration {
    /// Reads the arguments of a task. All problems go to `problems`.
    pub fn read(&self, arguments: &Node, problems: &mut Vec<Diagnostic>) -> Option<Box<dyn Act>> {
        (self.read)(&self.table(arguments), problems)
    }

    /// The arguments as a table: a bare text stands for the main argument.
    pub fn table(&self, arguments: &Node) -> Node {
        match (&arguments.kind, self.main) {
            (Kind::Table(_), _) | (_, None) => arguments.clone(),
            (_, Some(main)) => {
                let key = Key { name: main.to_owned(), span: arguments.span.clone() };
                Node::new(&arguments.span, Kind::Table(vec![Entry { key, value: arguments.clone() }]))
            }
        }
    }
}

/// All modules that a playbook may name.
#[derive(Clone, Copy)]
pub struct Registry(pub &'static [Registration]);

impl Registry {
    pub fn find(&self, name: &str) -> Option<&'static Registration> {
        self.0.iter().find(|one| one.name == name)
    }

    /// A shell library by its name.
    pub fn library(&self, name: &str) -> Option<&'static Library> {
        self.0.iter().flat_map(|one| (one.libraries)()).find(|library| library.name == name)
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|one| one.name)
    }
}
