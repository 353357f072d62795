//! Templates of modules that are described in TOML: sh text whose holes quote, and plain values.
//!
//! They differ from a playbook's templates in three ways: what is asked only whether it is there may be missing, `${#x}`
//! of the shell begins no comment, and a hole in sh text becomes a word, or one word for each item of a list.

use std::sync::{Arc, LazyLock, Mutex};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Expression, Output, UndefinedBehavior, Value};

use super::{Expressions, FUEL, OWN_TEXT, Trouble, compiled_once, filters, whole_expression};
use crate::shell::{Script, push_quoted};

static SH: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = common();
    // What a macro or a `set` block has made is sh text already.
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("sh".into()));
    environment.set_formatter(|out, _, value| words(out, value));
    for filter in ["safe", "escape", "e", "quote", "tojson"] {
        environment.remove_filter(filter);
    }
    environment
});

static PLAIN: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = common();
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment
});

static EXPRESSIONS: Expressions = LazyLock::new(Mutex::default);

fn common() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    let syntax = SyntaxConfig::builder().trim_blocks(true).keep_trailing_newline(true).comment_delimiters("{##", "##}").build();
    environment.set_syntax(syntax.expect("the delimiters differ"));
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_debug(true);
    environment.set_loader(|name| Ok(name.strip_prefix(OWN_TEXT).map(str::to_owned)));
    filters::add_to(&mut environment);
    environment
}

/// A value as words of the shell: text and numbers as one, a list as one for each item, none as no word at all.
fn words(out: &mut Output<'_>, value: &Value) -> Result<(), Error> {
    let invalid = |message: &str| Error::new(ErrorKind::InvalidOperation, message.to_owned());
    if value.is_safe() {
        return out.write_str(value.as_str().unwrap_or_default()).map_err(Error::from);
    }
    let mut text = Vec::new();
    match value.kind() {
        // What is undefined by mistake does not come here: this is an `if` without `else`.
        ValueKind::Undefined | ValueKind::None => {}
        // So that a number can stand in `$(( … ))`.
        ValueKind::Bool | ValueKind::Number => text.extend_from_slice(plain(value).as_bytes()),
        ValueKind::String => push_quoted(&mut text, value.to_string().as_bytes()),
        ValueKind::Seq | ValueKind::Iterable => {
            for item in value.try_iter()? {
                if matches!(item.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::Map) {
                    return Err(invalid("a list within a list is no word of the shell; use `{% for … %}`"));
                }
                if !text.is_empty() {
                    text.push(b' ');
                }
                push_quoted(&mut text, plain(&item).as_bytes());
            }
        }
        _ => return Err(invalid("a table is no word of the shell; use `{% for name, value in … | items %}`")),
    }
    let text = String::from_utf8(text).map_err(|_| invalid("it is no text"))?;
    out.write_str(&text).map_err(Error::from)
}

/// A text, number, or truth as a host is told it.
pub fn plain(value: &Value) -> String {
    match value.kind() {
        ValueKind::Bool => value.is_true().to_string(),
        _ => value.to_string(),
    }
}

fn named(text: &str) -> String {
    format!("{OWN_TEXT}{text}")
}

fn names(scope: &Value) -> Vec<String> {
    scope.try_iter().map(|names| names.map(|name| name.to_string()).collect()).unwrap_or_default()
}

/// sh text with its holes filled by quoted words.
///
/// # Errors
/// What is wrong with it, such as a name that is not defined.
pub fn sh_text(text: &str, scope: &Value) -> Result<Script, Trouble> {
    let filled = SH.get_template(&named(text)).and_then(|template| template.render(scope.clone()));
    filled.map(Script::raw).map_err(|error| Trouble::of(&error, text, &names(scope)))
}

/// A text with its holes filled; one that is exactly one expression keeps its type. What is undefined is none.
///
/// # Errors
/// What is wrong with it.
pub fn own_value(text: &str, scope: &Value) -> Result<Value, Trouble> {
    let filled = match whole_expression(text) {
        Some(expression) => compiled(expression).and_then(|expression| expression.eval(scope.clone())),
        None => PLAIN.get_template(&named(text)).and_then(|template| template.render(scope.clone())).map(Value::from),
    };
    let value = filled.map_err(|error| Trouble::of(&error, text, &names(scope)))?;
    Ok(if value.is_undefined() { Value::from(()) } else { value })
}

/// Whether a condition holds.
///
/// # Errors
/// What is wrong with it.
pub fn own_condition(expression: &str, scope: &Value) -> Result<bool, Trouble> {
    let value = compiled(expression).and_then(|expression| expression.eval(scope.clone()));
    value.map(|value| value.is_true()).map_err(|error| Trouble::of(&error, expression, &names(scope)))
}

/// How a text of a module is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Sh,
    Plain,
    Expression,
}

/// The names that a text uses.
///
/// # Errors
/// Why it cannot be compiled.
pub fn own_names(text: &str, manner: Manner) -> Result<Vec<String>, Trouble> {
    let found = match (manner, whole_expression(text)) {
        (Manner::Expression, _) => compiled(text).map(|expression| expression.undeclared_variables(false)),
        (Manner::Plain, Some(expression)) => compiled(expression).map(|expression| expression.undeclared_variables(false)),
        (Manner::Plain, None) => PLAIN.get_template(&named(text)).map(|template| template.undeclared_variables(false)),
        (Manner::Sh, _) => SH.get_template(&named(text)).map(|template| template.undeclared_variables(false)),
    };
    let mut names: Vec<String> = found.map_err(|error| Trouble::of(&error, text, &[]))?.into_iter().collect();
    names.sort();
    Ok(names)
}

fn compiled(text: &str) -> Result<Arc<Expression<'static, 'static>>, Error> {
    compiled_once(&EXPRESSIONS, &PLAIN, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Value {
        Value::from_pairs([
            ("name", Value::from("it's $x")),
            ("list", Value::from(vec!["a b", "-c"])),
            ("none", Value::from(())),
            ("flag", Value::from(true)),
            ("table", Value::from_pairs([("a", Value::from(1))])),
        ])
    }

    #[test]
    fn holes_become_words() {
        let text = |text: &str| sh_text(text, &scope()).map_or_else(|trouble| trouble.message, |script| script.to_string());
        assert_eq!(text("x {{ name }} {{ list }} {{ none }} {{ 5 }} {{ flag }} ${#y}"), r"x 'it'\''s $x' 'a b' '-c'  5 true ${#y}");
        assert_eq!(text("{% for one in list %}\nx {{ one }}\n{% endfor %}\n"), "x 'a b'\nx '-c'\n");
        assert_eq!(text("{% macro m(x) %}run {{ x }};{% endmacro %}{{ m(name) }}"), r"run 'it'\''s $x';");
        assert_eq!(text("{% if name == 'a' %}x{% elif missing %}y{% else %}z{% endif %}"), "z");
        assert!(text("{{ name | safe }}").contains("safe"));
        assert_eq!(text("x {{ [name] if missing }} {{ 'y' if flag }}"), "x  'y'");
        assert_eq!(text("{{ table.b }}"), "`table.b` is not defined");
        assert_eq!(text("{{ nam }}"), "`nam` is not defined");
        assert!(text("{{ table }}").contains("a table is no word"));
        assert_eq!(text("{## gone ##}x"), "x");
    }

    #[test]
    fn values_keep_their_type() {
        assert_eq!(own_value("{{ list }}", &scope()).expect("a list").kind(), ValueKind::Seq);
        assert_eq!(own_value("a{{ name }}", &scope()).expect("text").to_string(), "ait's $x");
        assert!(own_value("{{ name if false }}", &scope()).expect("none").is_none());
        assert!(own_condition("flag and not missing", &scope()).expect("a condition"));
        assert_eq!(own_names("{{ a }} {% if b %}{% set c = 1 %}{{ c }}{% endif %}", Manner::Sh).expect("names"), ["a", "b"]);
    }
}
