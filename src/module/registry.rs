//! Which modules there are, without knowing them: the list is passed in by whoever does.

use std::marker::PhantomData;

use schemars::Schema;

use super::{Act, Module};
use crate::diag::{Diagnostic, Entry, Key, Kind, Node, SourceId, decode_with};
use crate::remote::Library;

/// One module, as playbook, engine and manual see it.
#[derive(Clone, Copy)]
pub struct Registration {
    pub name: &'static str,
    pub free_form: bool,
    pub runs_user_text: bool,
    /// Its question and its change see the task's `environment`.
    pub sees_environment: bool,
    pub expressions: &'static [&'static str],
    reader: &'static dyn Reader,
}

/// What reads the arguments of a module, and knows what may stand in them.
pub trait Reader: Sync {
    /// The argument that a bare text stands for.
    fn main(&'static self) -> Option<&'static str>;
    fn schema(&'static self) -> Schema;
    /// Every shell library that its scripts may use.
    fn libraries(&self) -> Vec<&'static Library>;
    fn read(&'static self, arguments: &Node, problems: &mut Vec<Diagnostic>) -> Option<Box<dyn Act>>;
}

/// A module whose arguments are a Rust type.
struct Typed<M>(PhantomData<fn() -> M>);

impl<M: Module> Reader for Typed<M> {
    fn main(&'static self) -> Option<&'static str> {
        M::MAIN
    }

    fn schema(&'static self) -> Schema {
        schemars::schema_for!(M)
    }

    fn libraries(&self) -> Vec<&'static Library> {
        M::PROBE_LIBRARIES.iter().chain(M::APPLY_LIBRARIES).copied().collect()
    }

    fn read(&'static self, arguments: &Node, problems: &mut Vec<Diagnostic>) -> Option<Box<dyn Act>> {
        read::<M>(arguments, problems)
    }
}

/// The entry of a module in the list.
pub const fn registration<M: Module>() -> Registration {
    Registration {
        name: M::NAME,
        free_form: M::FREE_FORM,
        runs_user_text: M::RUNS_USER_TEXT,
        sees_environment: M::RUNS_USER_TEXT,
        expressions: M::EXPRESSIONS,
        reader: const { &Typed::<M>(PhantomData) },
    }
}

/// The entry of a module that is described by a text.
pub const fn described(name: &'static str, reader: &'static dyn Reader) -> Registration {
    Registration { name, free_form: false, runs_user_text: false, sees_environment: true, expressions: &[], reader }
}

fn read<M: Module>(arguments: &Node, problems: &mut Vec<Diagnostic>) -> Option<Box<dyn Act>> {
    let noun = format!("parameter of `{}`", M::NAME);
    let module: M = decode_with(arguments, &noun, problems)?;
    if let Err(error) = module.check() {
        // What is known later may well be right.
        if !has_later(arguments) {
            problems.push(refusal(arguments, &error.to_string()));
            return None;
        }
    }
    Some(Box::new(module))
}

/// Why arguments are refused. What follows ` | ` is the help line.
pub fn refusal(arguments: &Node, text: &str) -> Diagnostic {
    let (message, help) = text.split_once(" | ").unwrap_or((text, ""));
    let mut diagnostic = Diagnostic::error("arguments", &arguments.span, message);
    diagnostic.help = (!help.is_empty()).then(|| help.to_owned());
    diagnostic
}

/// Whether anything in the arguments is only known later.
pub fn has_later(node: &Node) -> bool {
    match &node.kind {
        Kind::Later | Kind::Secret(_) => true,
        Kind::List(items) => items.iter().any(has_later),
        Kind::Table(entries) => entries.iter().any(|entry| has_later(&entry.value)),
        _ => false,
    }
}

impl Registration {
    /// Reads the arguments of a task. All problems go to `problems`.
    pub fn read(&self, arguments: &Node, problems: &mut Vec<Diagnostic>) -> Option<Box<dyn Act>> {
        self.reader.read(&self.table(arguments), problems)
    }

    /// The argument that a bare text stands for.
    pub fn main(&self) -> Option<&'static str> {
        self.reader.main()
    }

    pub fn schema(&self) -> Schema {
        self.reader.schema()
    }

    /// The arguments as a table: a bare text stands for the main argument.
    pub fn table(&self, arguments: &Node) -> Node {
        match (&arguments.kind, self.main()) {
            (Kind::Table(_), _) | (_, None) => arguments.clone(),
            (_, Some(main)) => {
                let key = Key { name: main.to_owned(), span: arguments.span.clone() };
                Node::new(&arguments.span, Kind::Table(vec![Entry { key, value: arguments.clone() }]))
            }
        }
    }
}

/// Makes a module of the text of its file, which has this name, and of the shell functions beside it. All problems go to `problems`.
pub type Describe = fn(name: &'static str, text: &str, functions: Option<String>, source: SourceId, problems: &mut Vec<Diagnostic>) -> Option<Registration>;

/// All modules that a playbook may name.
#[derive(Clone, Copy)]
pub struct Registry {
    pub modules: &'static [Registration],
    pub describe: Describe,
}

impl Registry {
    pub fn find(&self, name: &str) -> Option<&'static Registration> {
        self.modules.iter().find(|one| one.name == name)
    }

    /// A shell library by its name.
    pub fn library(&self, name: &str) -> Option<&'static Library> {
        self.modules.iter().flat_map(|one| one.reader.libraries()).find(|library| library.name == name)
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.modules.iter().map(|one| one.name)
    }

    /// With more modules. They stay until the program ends, as everything does that refers to them.
    #[must_use]
    pub fn with(self, more: Vec<Registration>) -> Self {
        if more.is_empty() {
            return self;
        }
        let modules: Vec<Registration> = self.modules.iter().copied().chain(more).collect();
        Self { modules: modules.leak(), ..self }
    }
}
