//! Which hosts are meant: `web & !canary`, `db*,cache1`, `~^web\d+$`, `@hosts.txt`.
//!
//! `,` adds, `&` keeps what both have, `!` takes away; they are read from left to right, and brackets group.

use std::collections::HashSet;

use super::{Inventory, names};
use crate::shell::glob;

/// A pattern that has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<(Operator, Term)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Add,
    Keep,
    Take,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    Word(String),
    Group(Pattern),
}

/// A word of a pattern that names nothing, or nothing readable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The pattern itself is wrong, and not only the hosts that it means.
    pub is_malformed: bool,
    pub message: String,
    pub help: Option<String>,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text.trim();
        let pattern = Self::sequence(&mut rest, 0)?;
        if rest.is_empty() { Ok(pattern) } else { Err(format!("`{rest}` does not belong in a host pattern")) }
    }

    fn sequence(rest: &mut &str, depth: u8) -> Result<Self, String> {
        if depth > 16 {
            return Err("brackets are nested too deep".into());
        }
        let mut parts = Vec::new();
        loop {
            let end = rest.find(|letter: char| !",&!: \t\n".contains(letter)).unwrap_or(rest.len());
            let (operators, after) = rest.split_at(end);
            *rest = after;
            if rest.is_empty() || rest.starts_with(')') {
                if operators.trim().is_empty() && !parts.is_empty() || operators.trim() == "," && !parts.is_empty() {
                    return Ok(Self { parts });
                }
                return Err(if parts.is_empty() { "the host pattern is empty".into() } else { format!("the host pattern ends with `{}`", operators.trim()) });
            }
            let operator = if operators.contains('!') {
                Operator::Take
            } else if operators.contains('&') {
                Operator::Keep
            } else {
                Operator::Add
            };
            if operator == Operator::Take && parts.is_empty() {
                parts.push((Operator::Add, Term::Word("all".into())));
            }
            if let Some(inner) = rest.strip_prefix('(') {
                *rest = inner;
                let group = Self::sequence(rest, depth + 1)?;
                *rest = rest.strip_prefix(')').ok_or("a `(` is never closed")?;
                parts.push((operator, Term::Group(group)));
            } else {
                parts.push((operator, Term::Word(word(rest)?)));
            }
        }
    }

    /// The hosts that are meant, in the order of the inventory. `read` gives the lines of a file after `@`.
    ///
    /// # Errors
    /// Each word that names no host and no group.
    pub fn hosts(&self, inventory: &Inventory, read: &dyn Fn(&str) -> Result<String, String>) -> Result<Vec<String>, Vec<Mismatch>> {
        let mut problems = Vec::new();
        let chosen = self.chosen(inventory, read, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(inventory.hosts.keys().filter(|name| chosen.contains(name.as_str())).cloned().collect())
    }

    fn chosen<'a>(
        &self,
        inventory: &'a Inventory,
        read: &dyn Fn(&str) -> Result<String, String>,
        problems: &mut Vec<Mismatch>,
    ) -> HashSet<&'a str> {
        let mut chosen = HashSet::new();
        for (operator, term) in &self.parts {
            let found = match term {
                Term::Word(word) => meant(word, inventory, read, problems),
                Term::Group(pattern) => pattern.chosen(inventory, read, problems),
            };
            match operator {
                Operator::Add => chosen.extend(found),
                Operator::Keep => chosen.retain(|name| found.contains(name)),
                Operator::Take => chosen.retain(|name| !found.contains(name)),
            }
        }
        chosen
    }
}

/// The next word: up to an operator, but a range in square brackets may hold commas.
fn word(rest: &mut &str) -> Result<String, String> {
    let text = *rest;
    if text.starts_with('~') {
        // A regular expression may hold anything, so it ends only at a blank or the end.
        let end = text.find([' ', '\t', '\n']).unwrap_or(text.len());
        *rest = &text[end..];
        return Ok(text[..end].to_owned());
    }
    let mut depth = 0;
    let mut end = text.len();
    for (at, letter) in text.char_indices() {
        match letter {
            '[' => depth += 1,
            ']' => depth -= 1,
            ',' | '&' | '!' | ' ' | '\t' | '\n' | '(' | ')' if depth == 0 => {
                end = at;
                break;
            }
            _ => {}
        }
    }
    if depth != 0 {
        return Err("a `[` is never closed in the host pattern".into());
    }
    *rest = &text[end..];
    Ok(text[..end].to_owned())
}

fn meant<'a>(
    word: &str,
    inventory: &'a Inventory,
    read: &dyn Fn(&str) -> Result<String, String>,
    problems: &mut Vec<Mismatch>,
) -> HashSet<&'a str> {
    let mut fail = |is_malformed: bool, message: String, help: Option<String>| {
        problems.push(Mismatch { is_malformed, message, help });
        HashSet::new()
    };
    if word == "all" || word == "*" {
        return inventory.hosts.keys().map(String::as_str).collect();
    }
    if let Some(pattern) = word.strip_prefix('~') {
        return match regex::Regex::new(pattern) {
            Ok(regex) => inventory.hosts.keys().map(String::as_str).filter(|name| regex.is_match(name)).collect(),
            Err(error) => {
                let text = error.to_string();
                let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
                fail(true, format!("`{pattern}` is no regular expression: {reason}"), None)
            }
        };
    }
    if let Some(path) = word.strip_prefix('@') {
        return match read(path) {
            Ok(text) => {
                let words = text.lines().map(|line| line.split('#').next().unwrap_or("").trim()).filter(|line| !line.is_empty());
                words.flat_map(|word| meant(word, inventory, read, problems)).collect()
            }
            Err(reason) => fail(true, format!("the host list `{path}` cannot be read: {reason}"), None),
        };
    }
    if let Some((name, _)) = inventory.hosts.get_key_value(word) {
        return HashSet::from([name.as_str()]);
    }
    if let Some(group) = inventory.groups.get(word) {
        return members(group, inventory);
    }
    if word.contains(['*', '?']) {
        let hosts = inventory.hosts.keys().map(String::as_str).filter(|name| glob(word.as_bytes(), name.as_bytes()));
        let groups = inventory.groups.iter().filter(|(name, _)| glob(word.as_bytes(), name.as_bytes())).flat_map(|(_, group)| members(group, inventory));
        return hosts.chain(groups).collect();
    }
    if word.contains('[') {
        return match names::expanded(word) {
            Ok(names) => names.iter().flat_map(|name| meant(name, inventory, read, problems)).collect(),
            Err(reason) => fail(true, format!("in `{word}`: {reason}"), None),
        };
    }
    let known = inventory.hosts.keys().chain(inventory.groups.keys()).map(String::as_str);
    let help = crate::diag::nearest(word, known).map(|near| format!("did you mean `{near}`?"));
    fail(false, format!("no host and no group is named `{word}`"), help)
}

fn members<'a>(group: &super::Group, inventory: &'a Inventory) -> HashSet<&'a str> {
    group.hosts.iter().filter_map(|name| inventory.hosts.get_key_value(name)).map(|(name, _)| name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::load;

    fn check(pattern: &str) -> String {
        let text = "[hosts]\n'web[1-4]' = {}\ndb1 = {}\n[groups]\nweb = { hosts = ['web[1-4]'] }\ncanary = { hosts = ['web1'] }\n";
        let inventory = load::from_text(text);
        let read = |path: &str| if path == "list" { Ok("web2 # second\n\ndb1\n".into()) } else { Err("not there".into()) };
        match Pattern::parse(pattern) {
            Err(error) => format!("error: {error}"),
            Ok(pattern) => match pattern.hosts(&inventory, &read) {
                Ok(hosts) => hosts.join(" "),
                Err(problems) => problems.iter().map(|one| format!("error: {} {}", one.message, one.help.clone().unwrap_or_default())).collect(),
            },
        }
    }

    #[test]
    fn sets_are_added_cut_and_taken_away() {
        assert_eq!(check("web & !canary"), "web2 web3 web4");
        assert_eq!(check("canary,db1"), "web1 db1");
        assert_eq!(check("web,!web3,!web4"), "web1 web2");
        assert_eq!(check("web,&canary"), "web1");
        assert_eq!(check("!web"), "db1");
        assert_eq!(check("all ! (canary, db1)"), "web2 web3 web4");
    }

    #[test]
    fn names_can_be_globs_ranges_expressions_and_files() {
        assert_eq!(check("web[2-3]"), "web2 web3");
        assert_eq!(check("w*2"), "web2");
        assert_eq!(check("~^(web1|db)"), "web1 db1");
        assert_eq!(check("@list"), "web2 db1");
        assert_eq!(check("*"), "web1 web2 web3 web4 db1");
    }

    #[test]
    fn what_names_nothing_is_an_error() {
        assert_eq!(check("wbe"), "error: no host and no group is named `wbe` did you mean `web`?");
        assert_eq!(check("web &"), "error: the host pattern ends with `&`");
        assert_eq!(check(""), "error: the host pattern is empty");
        assert!(check("@nowhere").contains("cannot be read"));
    }
}
