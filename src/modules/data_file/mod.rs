//! `data_file`: a value in a JSON, TOML or YAML file.

mod yaml;

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize as _};
use serde_json::Value;

use super::file::{CHANGE, Edited, LOOK, Properties};
use crate::module::{Answer, Mode, Module, OneOrMany, Path, Presence, Question, Surroundings, Touches, Verdict};
use crate::remote::Library;

/// Set or remove one value in a JSON, TOML or YAML file.
///
/// In TOML and YAML, comments, order and spacing of everything else stay. JSON has no comments; the file is written with its own indent,
/// in its own order, and only when the value is another one. A YAML file has one document; what comes from an alias (`*name`) or `<<` is
/// edited where it stands. An item of a list is not removed by its place, since the next one would take that: set the list.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataFile {
    /// The file.
    #[serde(alias = "dest", alias = "name")]
    path: Path,
    /// `json`, `toml` or `yaml`. Left out: as the name of the file ends.
    format: Option<Format>,
    /// Where the value is: names parted by dots, such as `server.port`; a number is a place in a list, from 0. As a list, each
    /// name stands for itself: `["server", "a.b"]`.
    key: OneOrMany,
    /// The value: text, a number, true or false, a list or a table.
    value: Option<Value>,
    /// `absent` removes it.
    #[serde(default)]
    state: Presence,
    /// Make the file if it does not exist. Without this, a missing file is an error.
    #[serde(default)]
    create: bool,
    /// Permissions, such as `"0644"`. Left out: the file keeps its own, a new one gets 0644.
    mode: Option<Mode>,
    /// Name or number of the owner. Left out: the file keeps its owner.
    owner: Option<String>,
    /// Name or number of the group. Left out: the file keeps its group.
    group: Option<String>,
    /// Command that tests the new file, as for `lineinfile`.
    validate: Option<String>,
    /// When the path is a link, work on the file that it leads to. Without this, a link is an error.
    #[serde(default)]
    follow: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    Json,
    Toml,
    Yaml,
}

impl Module for DataFile {
    const NAME: &'static str = "data_file";
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE];

    fn check(&self) -> Result<()> {
        Properties::new(self.mode.as_ref(), self.owner.as_ref(), self.group.as_ref()).check()?;
        if self.keys().iter().any(String::is_empty) || self.keys().is_empty() {
            bail!("`key` has an empty part | names are parted by one dot each");
        }
        if self.state == Presence::Present && self.value.is_none() {
            bail!("`value` is missing");
        }
        self.format().map(drop)
    }

    fn touches(&self, around: &Surroundings) -> Touches {
        Touches::Path(around.absolute(&self.path))
    }

    fn probe(&self, around: &Surroundings) -> Question {
        Question::Ask(self.edited(&around.absolute(&self.path)).probe())
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let path = around.absolute(&self.path);
        self.edited(&path).verdict(around, answer, |old| self.edit(old))
    }
}

impl DataFile {
    fn edited<'a>(&'a self, path: &'a str) -> Edited<'a> {
        let properties = Properties::new(self.mode.as_ref(), self.owner.as_ref(), self.group.as_ref());
        Edited { create: self.create, validate: self.validate.as_deref(), follow: self.follow, ..Edited::new(path, properties) }
    }

    fn keys(&self) -> Vec<String> {
        match self.key.0.as_slice() {
            [one] => one.split('.').map(str::to_owned).collect(),
            many => many.to_vec(),
        }
    }

    fn format(&self) -> Result<Format> {
        let path = self.path.as_str();
        match self.format {
            Some(format) => Ok(format),
            None if path.ends_with(".json") => Ok(Format::Json),
            None if path.ends_with(".toml") => Ok(Format::Toml),
            None if path.ends_with(".yaml") || path.ends_with(".yml") => Ok(Format::Yaml),
            None => bail!("what is `{path}`? | set `format` to `json`, `toml` or `yaml`"),
        }
    }

    fn edit(&self, old: &[u8]) -> Result<Vec<u8>> {
        let Ok(text) = std::str::from_utf8(old) else { bail!("`{}` is no UTF-8", self.path.as_str()) };
        let new = match self.format()? {
            Format::Json => self.edit_json(text)?,
            Format::Toml => self.edit_toml(text)?,
            Format::Yaml => self.edit_yaml(text)?,
        };
        Ok(new.into_bytes())
    }

    fn edit_json(&self, text: &str) -> Result<String> {
        let path = self.path.as_str();
        let mut root: Value = match text.trim() {
            "" if self.state == Presence::Absent => return Ok(text.to_owned()),
            "" => Value::Object(serde_json::Map::new()),
            _ => serde_json::from_str(text).map_err(|error| anyhow::anyhow!("`{path}` is no JSON: {error}"))?,
        };
        if has_long_number(text) {
            bail!("`{path}` holds a number of more than 17 digits, which would be rounded; use `replace`");
        }
        let keys = self.keys();
        let Some((last, folders)) = keys.split_last() else { return Ok(text.to_owned()) };
        let mut at = &mut root;
        for (number, key) in folders.iter().enumerate() {
            let is_there = child(at, key).is_some();
            if !is_there {
                if self.state == Presence::Absent {
                    return Ok(text.to_owned());
                }
                let Value::Object(table) = at else { bail!("`{path}`: `{}` is no table, so it has no `{key}`", keys[..number].join(".")) };
                table.insert(key.clone(), Value::Object(serde_json::Map::new()));
            }
            let Some(next) = child(at, key) else { bail!("`{path}`: there is no `{key}`") };
            at = next;
        }
        match (&self.value, self.state) {
            (_, Presence::Absent) => {
                let gone = match at {
                    Value::Object(table) => table.shift_remove(last).is_some(),
                    Value::Array(list) if last.parse::<usize>().is_ok_and(|at| at < list.len()) => bail!("`{path}`: {}", Self::no_item(&keys)),
                    _ => false,
                };
                if !gone {
                    return Ok(text.to_owned());
                }
            }
            (Some(wanted), _) => {
                if child(at, last).is_some_and(|value| value == wanted) {
                    return Ok(text.to_owned());
                }
                match at {
                    Value::Object(table) => drop(table.insert(last.clone(), wanted.clone())),
                    Value::Array(list) => match last.parse::<usize>() {
                        Ok(place) if place < list.len() => list[place] = wanted.clone(),
                        Ok(place) if place == list.len() => list.push(wanted.clone()),
                        _ => bail!("`{path}`: the list `{}` has no place `{last}`", folders.join(".")),
                    },
                    _ => bail!("`{path}`: `{}` is no table, so it has no `{last}`", folders.join(".")),
                }
            }
            (None, _) => return Ok(text.to_owned()),
        }
        let indent = text.lines().find_map(|line| {
            let length = line.len() - line.trim_start().len();
            (length > 0).then(|| &line[..length])
        });
        let mut bytes = Vec::new();
        match indent {
            None if text.trim().len() > 2 && !text.trim().contains('\n') => serde_json::to_writer(&mut bytes, &root)?,
            indent => {
                let form = serde_json::ser::PrettyFormatter::with_indent(indent.unwrap_or("  ").as_bytes());
                root.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, form))?;
            }
        }
        if text.is_empty() || text.ends_with('\n') {
            bytes.push(b'\n');
        }
        Ok(String::from_utf8(bytes)?)
    }

    fn edit_yaml(&self, text: &str) -> Result<String> {
        let path = self.path.as_str();
        let keys = self.keys();
        let wanted = match (&self.value, self.state) {
            (Some(value), Presence::Present) => yaml::Wanted::Set(value),
            _ => yaml::Wanted::Remove,
        };
        let edited = match wanted {
            yaml::Wanted::Remove if yaml::is_item(text, &keys)? => bail!("`{path}`: {}", Self::no_item(&keys)),
            _ => yaml::edit(text, &keys, &wanted),
        };
        edited.map_err(|error| anyhow::anyhow!("`{path}`: {error}"))
    }

    fn no_item(keys: &[String]) -> String {
        format!("`{}` is an item of a list; if it went, every further run would remove the next one | set the whole list", keys.join("."))
    }

    fn edit_toml(&self, text: &str) -> Result<String> {
        let path = self.path.as_str();
        let mut document: toml_edit::DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| anyhow::anyhow!("`{path}` is no TOML: {}", error.to_string().lines().next().unwrap_or_default()))?;
        let keys = self.keys();
        let Some((last, folders)) = keys.split_last() else { return Ok(text.to_owned()) };
        let mut at: &mut toml_edit::Item = document.as_item_mut();
        for (number, key) in folders.iter().enumerate() {
            if at.as_table_like().is_some_and(|table| !table.contains_key(key)) {
                if self.state == Presence::Absent {
                    return Ok(text.to_owned());
                }
                let mut table = toml_edit::Table::new();
                // `[a.b]` needs no `[a]` above it.
                table.set_implicit(number + 1 < folders.len());
                if let Some(parent) = at.as_table_like_mut() {
                    parent.insert(key, toml_edit::Item::Table(table));
                }
            }
            let next = match key.parse::<usize>() {
                Ok(place) if at.is_array_of_tables() || at.is_array() => at.get_mut(place),
                _ => at.get_mut(key.as_str()),
            };
            let Some(next) = next else { bail!("`{path}`: `{}` has no `{key}`", keys[..number].join(".")) };
            at = next;
        }
        let Some(table) = at.as_table_like_mut() else { bail!("`{path}`: `{}` is no table, so it has no `{last}`", folders.join(".")) };
        match (&self.value, self.state) {
            (_, Presence::Absent) => {
                if table.remove(last).is_none() {
                    return Ok(text.to_owned());
                }
            }
            (Some(wanted), _) => {
                let mut value = of_json(wanted)?;
                match table.get_mut(last) {
                    Some(toml_edit::Item::Value(old)) => {
                        if plain(old) == plain(&value) {
                            return Ok(text.to_owned());
                        }
                        // The remark behind the value stays.
                        *value.decor_mut() = old.decor().clone();
                        *old = value;
                    }
                    Some(_) => bail!("`{path}`: `{}` is a table; set the values in it, or remove it first", keys.join(".")),
                    None => drop(table.insert(last, toml_edit::Item::Value(value))),
                }
            }
            (None, _) => {}
        }
        Ok(document.to_string())
    }
}

/// Whether a number of JSON has more digits than come back from it.
fn has_long_number(text: &str) -> bool {
    let (mut in_text, mut is_escaped, mut digits) = (false, false, 0);
    text.bytes().any(|byte| {
        match byte {
            b'"' if !is_escaped => in_text = !in_text,
            b'0'..=b'9' if !in_text => digits += 1,
            b'.' if !in_text => {}
            _ => digits = 0,
        }
        is_escaped = in_text && byte == b'\\' && !is_escaped;
        digits > 17
    })
}

/// A part of a value, by its name or its place.
fn child<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    match value {
        Value::Object(table) => table.get_mut(key),
        Value::Array(list) => list.get_mut(key.parse::<usize>().ok()?),
        _ => None,
    }
}

/// A value without the blanks and remarks around it.
fn plain(value: &toml_edit::Value) -> String {
    let mut value = value.clone();
    value.decor_mut().clear();
    if let Some(array) = value.as_array_mut() {
        array.fmt();
    }
    if let Some(table) = value.as_inline_table_mut() {
        table.fmt();
    }
    value.to_string()
}

fn of_json(value: &Value) -> Result<toml_edit::Value> {
    Ok(match value {
        Value::String(text) => text.as_str().into(),
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            _ => bail!("the number {number} does not fit into TOML"),
        },
        Value::Array(list) => list.iter().map(of_json).collect::<Result<toml_edit::Array>>()?.into(),
        Value::Object(table) => {
            let mut inline = toml_edit::InlineTable::new();
            for (name, value) in table {
                inline.insert(name, of_json(value)?);
            }
            inline.into()
        }
        Value::Null => bail!("TOML has no value for nothing"),
    })
}

#[cfg(test)]
mod tests {
    use super::DataFile;
    use crate::module::testing::{module, problems};

    fn made(arguments: &str, old: &str) -> String {
        let module: DataFile = module(arguments);
        match module.edit(old.as_bytes()) {
            Ok(new) => {
                assert_eq!(module.edit(&new).expect("an edit"), new, "a second time");
                String::from_utf8_lossy(&new).into_owned()
            }
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn a_value_of_a_json_file() {
        let json = "path = '/a.json'\nkey = 'a.b'";
        assert_eq!(made(&format!("{json}\nvalue = 2"), "{\n    \"z\": 1,\n    \"a\": {\n        \"b\": 1\n    }\n}\n"), "{\n    \"z\": 1,\n    \"a\": {\n        \"b\": 2\n    }\n}\n");
        assert_eq!(made(&format!("{json}\nvalue = ['x']"), ""), "{\n  \"a\": {\n    \"b\": [\n      \"x\"\n    ]\n  }\n}\n");
        assert_eq!(made(&format!("{json}\nvalue = 1"), "{ \"a\": {\"b\": 1} }"), "{ \"a\": {\"b\": 1} }");
        assert_eq!(made(&format!("{json}\nstate = 'absent'"), "{\"a\":{\"b\":1,\"c\":2}}"), "{\"a\":{\"c\":2}}");
        assert_eq!(made("path = '/a.json'\nkey = 'l.1'\nvalue = 'y'", "{\"l\":[\"x\"]}"), "{\"l\":[\"x\",\"y\"]}");
        assert!(made(&format!("{json}\nvalue = 1"), "{").starts_with("error: `/a.json` is no JSON"));
        assert!(made(&format!("{json}\nvalue = 1"), "{\"a\": 1}").contains("is no table"));
    }

    #[test]
    fn a_value_of_a_toml_file_and_all_remarks() {
        let toml = "path = '/a.toml'\nkey = 'a.b'";
        assert_eq!(made(&format!("{toml}\nvalue = 2"), "# top\n[a] # here\nb = 1 # there\nc = 3\n"), "# top\n[a] # here\nb = 2 # there\nc = 3\n");
        assert_eq!(made(&format!("{toml}\nvalue = 'x'"), "z = 1\n"), "z = 1\n\n[a]\nb = \"x\"\n");
        assert_eq!(made(&format!("{toml}\nvalue = [1, 2]"), "[a]\nb = [ 1,2 ]\n"), "[a]\nb = [ 1,2 ]\n");
        assert_eq!(made(&format!("{toml}\nstate = 'absent'"), "[a]\nb = 1\nc = 2\n"), "[a]\nc = 2\n");
        assert_eq!(made("path = '/a.toml'\nkey = ['a', 'x.y']\nvalue = true", "[a]\n"), "[a]\n\"x.y\" = true\n");
    }

    #[test]
    fn a_value_of_a_yaml_file_and_all_remarks() {
        let yaml = "path = '/a.yaml'\nkey = 'a.b'";
        assert_eq!(made(&format!("{yaml}\nvalue = 2"), "# top\na:\n  b: 1 # there\n"), "# top\na:\n  b: 2 # there\n");
        assert_eq!(made(&format!("{yaml}\nvalue = 'yes'"), ""), "a:\n  b: \"yes\"\n");
        assert_eq!(made(&format!("{yaml}\nstate = 'absent'"), "a: {b: 1, c: 2}\n"), "a: {c: 2}\n");
        assert!(made("path = '/a.yml'\nkey = 'a.0'\nstate = 'absent'", "a: [1, 2]\n").contains("is an item of a list"));
        assert!(made("path = '/a.json'\nkey = 'a.0'\nstate = 'absent'", "{\"a\": [1, 2]}").contains("is an item of a list"));
        assert!(made(&format!("{yaml}\nvalue = 1"), "a: [").starts_with("error: `/a.yaml`: "));
        assert_eq!(problems::<DataFile>("path = '/a'\nkey = 'a'\nvalue = 1"), "what is `/a`?");
    }
}
