//! `schema`: what a playbook may hold, as JSON Schema, by which editors complete and check while one types.

use anyhow::Result;
use clap::Args;
use serde_json::{Map, Value, json};

use super::say;
use crate::module::Registry;

#[derive(Args)]
pub struct Schema {}

impl Schema {
    pub fn run(self) -> Result<u8> {
        let text = serde_json::to_string_pretty(&playbook(super::input::modules_here()?))?;
        say(&text);
        Ok(0)
    }
}

/// Texts with holes stand for anything.
fn or_template(schema: &Value) -> Value {
    let description = schema.get("description").cloned();
    let mut either = json!({ "anyOf": [schema, { "type": "string", "pattern": "\\{\\{|\\{%" }] });
    if let Some(description) = description {
        either["description"] = description;
    }
    either
}

/// Moves references of a module's schema to definitions under its own name.
fn moved(value: &mut Value, name: &str) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                match value {
                    Value::String(path) if key == "$ref" => {
                        *path = match path.strip_prefix("#/$defs/") {
                            Some(rest) => format!("#/$defs/{name}.{rest}"),
                            None => format!("#/$defs/{name}"),
                        };
                    }
                    other => moved(other, name),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| moved(item, name)),
        _ => {}
    }
}

/// The schema of a playbook with these modules.
fn playbook(modules: Registry) -> Value {
    let text = || json!({ "type": "string" });
    let texts = || json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] });
    let condition = || json!({ "anyOf": [{ "type": "string" }, { "type": "boolean" }, { "type": "array", "items": { "type": ["string", "boolean"] } }] });
    let table = || json!({ "type": "object" });
    let flag = || json!({ "type": "boolean" });
    let time = || json!({ "anyOf": [{ "type": "number" }, { "type": "string" }] });
    let limit = || json!({ "anyOf": [{ "type": "integer" }, { "type": "string" }, { "type": "array", "items": { "type": ["integer", "string"] } }] });
    let tasks = || json!({ "type": "array", "items": { "$ref": "#/$defs/task" } });
    let mut definitions = Map::new();
    let mut task: Map<String, Value> = [
        ("name", text()), ("when", condition()), ("loop", json!({})), ("loop_control", table()), ("register", text()), ("until", condition()),
        ("retries", json!({ "type": "integer" })), ("delay", time()), ("notify", texts()), ("listen", texts()), ("tags", texts()), ("become", flag()),
        ("become_user", text()), ("environment", table()), ("timeout", time()), ("ignore_errors", condition()), ("changed_when", condition()),
        ("failed_when", condition()), ("check_mode", flag()), ("delegate_to", text()), ("run_once", flag()), ("vars", table()), ("no_log", flag()),
        ("block", tasks()), ("rescue", tasks()), ("always", tasks()), ("barrier", flag()), ("throttle", json!({ "type": "integer", "minimum": 1 })),
        ("confirm", time()), ("include", text()), ("role", text()), ("meta", text()), ("soak", time()),
    ]
    .into_iter()
    .map(|(name, schema)| (name.to_owned(), schema))
    .collect();
    for module in modules.modules {
        let mut schema = module.schema().to_value();
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            for property in properties.values_mut() {
                *property = or_template(property);
            }
        }
        moved(&mut schema, module.name);
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            for either in properties.values_mut().filter_map(|property| property["anyOf"].as_array_mut()) {
                either.push(json!({ "$ref": "#/$defs/fetched_secret" }));
            }
        }
        if let Some(inner) = schema.as_object_mut().and_then(|schema| schema.remove("$defs")).and_then(|inner| inner.as_object().cloned()) {
            definitions.extend(inner.into_iter().map(|(name, definition)| (format!("{}.{name}", module.name), definition)));
        }
        if let Some(schema) = schema.as_object_mut() {
            schema.remove("$schema");
            schema.remove("title");
        }
        let description = schema.get("description").cloned().unwrap_or_default();
        definitions.insert(module.name.to_owned(), schema);
        let reference = json!({ "$ref": format!("#/$defs/{}", module.name) });
        // One parameter may stand for the whole table.
        let whole = if module.main().is_some() { json!({ "anyOf": [reference, { "type": ["string", "number", "boolean", "array"] }], "description": description }) } else { json!({ "allOf": [reference], "description": description }) };
        task.insert(module.name.to_owned(), whole);
    }
    let fetched = [
        ("secret_from_command", json!({ "type": "array", "items": { "type": "string" }, "description": "the program on this machine whose output is the value, and its arguments" })),
        ("secret_from_env", json!({ "type": "string", "description": "the variable of this machine's environment that holds the value" })),
        ("secret_from_file", json!({ "type": "string", "description": "the file on this machine that holds the value" })),
    ];
    let fetched: Map<String, Value> = fetched.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
    definitions.insert("fetched_secret".into(), json!({ "type": "object", "properties": fetched, "additionalProperties": false, "minProperties": 1, "maxProperties": 1 }));
    definitions.insert("task".into(), json!({ "type": "object", "properties": task, "additionalProperties": false }));
    let play: Map<String, Value> = [
        ("name", text()), ("hosts", texts()), ("become", flag()), ("become_user", text()), ("serial", limit()), ("max_fail", limit()),
        ("on_failure", json!({ "enum": ["stop", "rollback", "continue"] })), ("vars", table()), ("vars_files", texts()), ("environment", table()), ("timeout", time()),
        ("ignore_errors", condition()), ("no_log", flag()), ("check_mode", flag()), ("tags", texts()), ("roles", texts()), ("task", tasks()), ("handler", tasks()), ("health", tasks()),
    ]
    .into_iter()
    .map(|(name, schema)| (name.to_owned(), schema))
    .collect();
    definitions.insert("play".into(), json!({ "type": "object", "properties": play, "additionalProperties": false }));
    let mut top = play;
    top.insert("format".into(), json!({ "const": 1 }));
    top.insert("play".into(), json!({ "type": "array", "items": { "$ref": "#/$defs/play" } }));
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#", "title": "a playbook of mutate", "type": "object",
        "properties": top, "additionalProperties": false, "$defs": definitions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules;
    use crate::playbook::{play_keys, task_keys};

    #[test]
    fn every_keyword_and_module_is_in_the_schema_and_every_reference_leads_somewhere() {
        let schema = playbook(modules::ALL);
        for key in task_keys().iter().copied().chain(modules::ALL.names()) {
            assert!(schema["$defs"]["task"]["properties"].get(key).is_some(), "{key}");
        }
        for key in play_keys() {
            assert!(schema["properties"].get(key).is_some(), "{key}");
        }
        assert_eq!(schema["$defs"]["copy"]["properties"]["content"]["anyOf"][2]["$ref"], "#/$defs/fetched_secret");
        let text = schema.to_string();
        for part in text.split("\"$ref\":\"#").skip(1) {
            let path = part.split('"').next().unwrap_or_default();
            assert!(schema.pointer(path).is_some(), "{path}");
        }
    }
}
