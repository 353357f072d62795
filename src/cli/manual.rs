//! `modules`: the list of modules, and the manual of each from its own doc comments.

use anyhow::{Result, bail};
use clap::Args;
use serde_json::Value;

use super::say;
use crate::diag::nearest;
use crate::module::{Registration, Registry};
#[cfg(test)]
use crate::modules;

#[derive(Args)]
pub struct Modules {
    /// Module whose manual is shown.
    name: Option<String>,
}

impl Modules {
    pub fn run(self) -> Result<u8> {
        let modules = super::input::modules_here()?;
        match self.name {
            None => say(&list(modules)),
            Some(name) => match modules.find(&name) {
                Some(module) => say(&manual(module)),
                None => {
                    let help = nearest(&name, modules.names()).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                    bail!("there is no module `{name}`{help}");
                }
            },
        }
        Ok(0)
    }
}

fn list(modules: Registry) -> String {
    let width = modules.names().map(str::len).max().unwrap_or(0);
    let lines = modules.modules.iter().map(|module| {
        let schema = module.schema().to_value();
        let text = schema["description"].as_str().unwrap_or_default();
        let first = text.split("\n\n").next().unwrap_or_default().replace('\n', " ");
        format!("{:<width$}  {first}", module.name)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The schema of a module's parameters.
pub(super) fn schema_of(module: &Registration) -> Value {
    let mut schema = module.schema().to_value();
    // A module that shares its parameters with another one refers to them.
    if let Some(shared) = schema["$ref"].as_str().and_then(|path| path.strip_prefix('#')).and_then(|path| schema.pointer(path)).cloned() {
        schema["properties"] = shared["properties"].clone();
        schema["required"] = shared["required"].clone();
    }
    schema
}

fn manual(module: &Registration) -> String {
    let schema = schema_of(module);
    let mut text = format!("{}\n\n{}\n", module.name, schema["description"].as_str().unwrap_or_default());
    if let Some(main) = module.main() {
        text.push_str(&format!("\nA bare text stands for `{main}`: `{} = \"…\"`.\n", module.name));
    }
    if module.free_form {
        text.push_str("\nAny names may be given.\n");
    }
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if let Some(properties) = schema["properties"].as_object() {
        text.push_str("\nParameters:\n");
        for (name, property) in properties {
            let must = if required.contains(&name.as_str()) { ", required" } else { "" };
            let default = match &property["default"] {
                Value::Null => String::new(),
                value => format!(", default {value}"),
            };
            text.push_str(&format!("\n  {name} ({}{must}{default})\n", kind(property, &schema)));
            for line in property["description"].as_str().unwrap_or_default().lines() {
                text.push_str(&format!("      {line}\n"));
            }
        }
    }
    text
}

/// The manual of a module as a page of `docs/modules`.
#[cfg(test)]
fn page(module: &Registration) -> String {
    let schema = schema_of(module);
    let mut text = format!("# {}\n\n{}\n", module.name, schema["description"].as_str().unwrap_or_default());
    if let Some(main) = module.main() {
        text.push_str(&format!("\nA bare text stands for `{main}`: `{} = \"…\"`.\n", module.name));
    }
    if module.free_form {
        text.push_str("\nAny names may be given.\n");
    }
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let Some(properties) = schema["properties"].as_object() else { return text };
    text.push_str("\n| Parameter | Type | Meaning |\n| --- | --- | --- |\n");
    for (name, property) in properties {
        let must = if required.contains(&name.as_str()) { ", required" } else { "" };
        let default = match &property["default"] {
            Value::Null => String::new(),
            value => format!(", default `{value}`"),
        };
        let cell = |text: &str| text.replace('\n', " ").replace('|', "\\|");
        let meaning = cell(property["description"].as_str().unwrap_or_default());
        text.push_str(&format!("| `{name}` | {}{must}{default} | {meaning} |\n", cell(&kind(property, &schema))));
    }
    text
}

/// The type of a parameter in words.
pub(super) fn kind(property: &Value, schema: &Value) -> String {
    if let Some(target) = property["$ref"].as_str().and_then(|path| path.strip_prefix('#')) {
        return kind(schema.pointer(target).unwrap_or(&Value::Null), schema);
    }
    if let Some(words) = property["enum"].as_array() {
        return words.iter().filter(|word| !word.is_null()).map(ToString::to_string).collect::<Vec<_>>().join(" | ");
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        if let Some(options) = property[key].as_array() {
            let mut names: Vec<String> = options.iter().map(|option| kind(option, schema)).filter(|name| name != "none").collect();
            names.dedup();
            return names.join(" | ");
        }
    }
    if let Some(word) = property["const"].as_str() {
        return format!("\"{word}\"");
    }
    let plain = |name: &str| match name {
        "string" => "text",
        "integer" => "whole number",
        "number" => "number",
        "boolean" => "true | false",
        "array" => "list",
        "object" => "table",
        "null" => "none",
        _ => "any",
    };
    match &property["type"] {
        Value::String(name) => plain(name).to_owned(),
        Value::Array(names) => names.iter().filter_map(Value::as_str).filter(|name| *name != "null").map(plain).collect::<Vec<_>>().join(" | "),
        _ => "any".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `MUTATE_WRITE_DOCS=1 cargo test pages_of_the_modules` writes them anew.
    #[test]
    fn the_pages_of_the_modules_are_fresh() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/modules");
        let mut index = String::from("# Modules\n\nEach page is made from the doc comments of the module; `mutate modules NAME` shows the same.\n\n| Module | What it does |\n| --- | --- |\n");
        for module in modules::ALL.modules {
            let schema = module.schema().to_value();
            let first = schema["description"].as_str().unwrap_or_default().split("\n\n").next().unwrap_or_default().replace('\n', " ");
            index.push_str(&format!("| [{0}]({0}.md) | {first} |\n", module.name));
        }
        let pages = modules::ALL.modules.iter().map(|module| (format!("{}.md", module.name), page(module))).chain([("README.md".to_owned(), index)]);
        let pages: std::collections::BTreeMap<String, String> = pages.collect();
        if std::env::var_os("MUTATE_WRITE_DOCS").is_some() {
            std::fs::create_dir_all(&folder).expect("a folder");
            for (name, text) in &pages {
                std::fs::write(folder.join(name), text).expect("a page");
            }
        }
        let found: std::collections::BTreeSet<String> = std::fs::read_dir(&folder).expect("docs/modules").flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        assert_eq!(found, pages.keys().cloned().collect(), "a page of docs/modules is missing, or one too many");
        for (name, text) in &pages {
            assert_eq!(&std::fs::read_to_string(folder.join(name)).expect("a page"), text, "docs/modules/{name} is stale: MUTATE_WRITE_DOCS=1 cargo test pages_of_the_modules");
        }
    }
}
