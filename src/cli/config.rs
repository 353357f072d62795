//! `config`: the settings in force, and where each comes from.

use anyhow::Result;
use clap::{Args, Command};
use serde_json::{Value, json};

use super::adhoc::text;
use super::options::OutputForm;
use super::say;
use super::settings::{KNOWN, Known, Setting, Settings, masked};
use crate::render::safe;

#[derive(Args)]
pub struct Config {
    /// Say behind each where it comes from.
    #[arg(long)]
    origin: bool,
    /// For people, or for programs: one JSON document.
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    output: OutputForm,
}

/// A setting as it is shown.
struct Row {
    command: Option<String>,
    name: &'static str,
    value: Value,
    origin: String,
}

impl Config {
    pub fn run(self) -> Result<u8> {
        let mut command = super::described();
        command.build();
        let settings = Settings::read(&mut command);
        let rows = rows(&settings, &command);
        if self.output != OutputForm::Human {
            let rows: Vec<Value> = rows.iter().map(|row| json!({ "command": row.command, "name": row.name, "value": row.value, "origin": row.origin })).collect();
            let mut document = json!({ "schema": 1, "command": "config", "exit": 0, "files": settings.files, "settings": rows });
            crate::secret::json_without_hidden(&mut document);
            say(&document.to_string());
            return Ok(0);
        }
        let mut section = None;
        for row in &rows {
            if row.command != section {
                say(&format!("\n[{}]", row.command.as_deref().unwrap_or_default()));
                section.clone_from(&row.command);
            }
            let origin = if self.origin { format!("  # {}", row.origin) } else { String::new() };
            say(&safe(format!("{} = {}{origin}", row.name, toml(&row.value)).as_bytes()));
        }
        Ok(0)
    }
}

/// What is in force: for all commands, then for each what is otherwise for it.
fn rows(settings: &Settings, command: &Command) -> Vec<Row> {
    let mut rows: Vec<Row> = KNOWN
        .iter()
        .filter_map(|known| match settings.of_all(known) {
            Some(setting) => Some(row(None, setting)),
            None => built_in(known, command),
        })
        .collect();
    for sub in command.get_subcommands() {
        let name = sub.get_name();
        for setting in KNOWN.iter().filter_map(|known| settings.of(known, name)).filter(|setting| setting.command.as_deref() == Some(name)) {
            rows.push(row(Some(name.to_owned()), setting));
        }
    }
    rows
}

fn row(command: Option<String>, setting: &Setting) -> Row {
    use super::settings::Kind;
    let texts = setting.values.iter().map(|value| value.to_string_lossy().into_owned());
    let texts: Vec<String> = if setting.known.kind == Kind::Whom { texts.map(|text| masked(&text)).collect() } else { texts.collect() };
    let value = match (setting.known.kind, texts.as_slice()) {
        (Kind::Flag, texts) => Value::Bool(!texts.is_empty()),
        (Kind::Number, [one]) => one.parse::<i64>().map_or_else(|_| one.as_str().into(), Value::from),
        (_, [one]) => one.as_str().into(),
        (_, texts) => texts.into(),
    };
    Row { command, name: setting.known.name, value, origin: setting.origin.to_string() }
}

/// What a flag is when nobody says anything.
fn built_in(known: &'static Known, command: &Command) -> Option<Row> {
    use super::settings::Kind;
    let arg = command.get_subcommands().filter(|sub| known.is_for_all(sub.get_name())).find_map(|sub| sub.get_arguments().find(|arg| arg.get_long() == Some(known.name)))?;
    if known.kind == Kind::Flag || known.name == "verbose" {
        return None;
    }
    let value = arg.get_default_values().first()?.to_str()?;
    let value = if known.kind == Kind::Number { value.parse::<i64>().map_or_else(|_| value.into(), Value::from) } else { value.into() };
    Some(Row { command: None, name: known.name, value, origin: "built in".into() })
}

fn toml(value: &Value) -> String {
    match value {
        Value::String(one) => text(one),
        Value::Array(all) => format!("[{}]", all.iter().map(toml).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}
