//! YAML files before and after an edit.

use serde_json::Value;

use super::{Wanted, edit};

#[path = "yaml_life_tests.rs"]
mod life;

fn keys(key: &str) -> Vec<String> {
    if key.starts_with('[') { serde_json::from_str(key).expect("a list of keys") } else { key.split('.').map(str::to_owned).collect() }
}

/// What comes of a file: the value is JSON, or `-` to remove it.
fn made(before: &str, key: &str, value: &str) -> String {
    let value: Option<Value> = (value != "-").then(|| serde_json::from_str(value).expect("a value"));
    let wanted = value.as_ref().map_or(Wanted::Remove, Wanted::Set);
    match edit(before, &keys(key), &wanted) {
        Ok(after) => {
            // Where an item of a list goes, the next one takes its number.
            let is_item = value.is_none() && keys(key).last().is_some_and(|key| key.parse::<usize>().is_ok());
            assert!(is_item || edit(&after, &keys(key), &wanted).expect("a second edit") == after, "a second time:\n{after}");
            after
        }
        Err(error) => format!("error: {error}"),
    }
}

fn check(cases: &[(&str, &str, &str, &str)]) {
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(before, key, value, after)| {
            let is = made(before, key, value);
            (is != *after).then(|| format!("--- {key} = {value} in\n{before}\n--- is\n{is}\n--- not\n{after}\n"))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn scalars_are_set_in_their_own_style() {
    check(&[
        ("a: 1\n", "a", "2", "a: 2\n"),
        ("a: 1", "a", "2", "a: 2"),
        ("a:   1   # why\nb: 2\n", "a", "\"x\"", "a:   x   # why\nb: 2\n"),
        ("a: 'x'\n", "a", "\"it's\"", "a: 'it''s'\n"),
        ("a: \"x\"\n", "a", "\"say \\\"y\\\"\"", "a: \"say \\\"y\\\"\"\n"),
        ("a: x\n", "a", "\"yes\"", "a: \"yes\"\n"),
        ("a: x\nb: 'c'\n", "a", "\"yes\"", "a: 'yes'\nb: 'c'\n"),
        ("a: 'x'\n", "a", "\"a\\nb\"", "a: \"a\\nb\"\n"),
        ("a: \"80\"\n", "a", "80", "a: 80\n"),
        ("a: 80\n", "a", "\"80\"", "a: \"80\"\n"),
        ("a:\nb: 1\n", "a", "2", "a: 2\nb: 1\n"),
        ("a: # why\nb: 1\n", "a", "2", "a: 2 # why\nb: 1\n"),
        ("a:  \nb: 1\n", "a", "2", "a: 2\nb: 1\n"),
        ("a: ~\n", "a", "false", "a: false\n"),
        ("a: x\n", "a", "null", "a: null\n"),
        ("a: |\n  one\n  two\n\nb: 1\n", "a", "\"three\\nfour\\n\"", "a: |\n  three\n  four\n\nb: 1\n"),
        ("a: |2-\n    one\nb: 1\n", "a", "\"three\"", "a: |-\n    three\nb: 1\n"),
        ("a: > # why\n  one\n  two\nb: 1\n", "a", "\"three\\n\"", "a: > # why\n  three\nb: 1\n"),
        ("a: > # why\n  one\nb: 1\n", "a", "7", "a: 7 # why\nb: 1\n"),
        ("a: |+\n  one\n\nb: 1\n", "a", "\"two\\n\"", "a: |\n  two\nb: 1\n"),
        ("a: |\n  one\n", "a", "\"one\\n\"", "a: |\n  one\n"),
        ("a: x\n", "a", "\"one\\ntwo\\n\"", "a: |\n  one\n  two\n"),
        ("a: x # why\nb: 1\n", "a", "\"one\\n\\ntwo\"", "a: |- # why\n  one\n\n  two\nb: 1\n"),
        ("a: \"one\n  two\" # why\nb: 1\n", "a", "\"x\"", "a: \"x\" # why\nb: 1\n"),
        ("a:\n  x # why\nb: 1\n", "a", "\"z\"", "a:\n  z # why\nb: 1\n"),
        ("a:\n  # above\n  x\nb: 1\n", "a", "\"z\"", "a:\n  # above\n  z\nb: 1\n"),
        ("? a\n: 1\n", "a", "2", "? a\n: 2\n"),
        ("a: &x 1\n", "a", "2", "a: &x 2\n"),
        ("a: !!str 1\n", "a", "2", "a: 2\n"),
        ("a: !!str 1\n", "a", "\"1\"", "a: !!str 1\n"),
        ("a: 1e3\n", "a", "1000.0", "a: 1e3\n"),
        ("a: 1\n", "a", "1e30", "a: 1.0e+30\n"),
        ("a: 0x10\n", "a", "16", "a: 0x10\n"),
        ("a: 0755\n", "a", "\"0755\"", "a: \"0755\"\n"),
        ("a: 'x'\n", "a", "\"x\"", "a: 'x'\n"),
        ("8080: x\ntrue: y\n", "8080", "\"z\"", "8080: z\ntrue: y\n"),
        ("8080: x\ntrue: y\n", "true", "\"z\"", "8080: x\ntrue: z\n"),
        ("\"a b\": x\n'c.d': y\n", "[\"c.d\"]", "1", "\"a b\": x\n'c.d': 1\n"),
        ("\u{feff}a: 1\n", "a", "2", "\u{feff}a: 2\n"),
    ]);
}

#[test]
fn strings_are_quoted_where_a_reader_would_err() {
    let quoted = [
        "", "yes", "No", "ON", "off", "y", "null", "~", "true", "1", "-1", "+1", "1.5", ".5", "1e3", "0x1F", "0o17", "0b1", "017", "1_000", "1,000", "12:30", "80:80", "1:2.5", ".inf", "-.Inf", ".NaN",
        "2024-01-31", "2024-1-1 10:00:00", "- a", "-", "? a", ": a", "a: b", "a:", "a #b", "#a", "&a", "*a", "!a", "|", ">", "@a", "`a", "%a", "'a", "{a", "[a", "a ", " a", "---", "=", "<<", "a\tb", "{{ x }}",
    ];
    for text in quoted {
        let after = made("a: x\n", "a", &Value::from(text).to_string());
        assert_eq!(after, format!("a: \"{}\"\n", text.replace('\t', "\\t")));
    }
    for text in ["a", "a b", "-v", "--force", "a:b", "a#b", "http://x.y/z?a=b", "10.0.0.1", "10.0.0.0/24", "10.0.0.1:80", "1.2.3", "v1", "80:80/tcp", "it's", "a, b", "é", "1 GB", "/dev/null", "0.0.0.0", "5m", "nginx:1.25", "a%", "2024"] {
        let is_number = text == "2024";
        assert_eq!(made("a: x\n", "a", &Value::from(text).to_string()), if is_number { "a: \"2024\"\n".to_owned() } else { format!("a: {text}\n") });
    }
    check(&[("a: x\n", "a", "\"\\u0007\\u2028\"", "a: \"\\u0007\\u2028\"\n"), ("a: [x]\n", "a.0", "\"a,b\"", "a: [\"a,b\"]\n"), ("a: 1\n", "[\"on\"]", "1", "a: 1\n\"on\": 1\n"), ("a: 1\n", "[\"x: y\"]", "1", "a: 1\n\"x: y\": 1\n")]);
}

#[test]
fn tables_and_lists_take_the_indents_of_the_file() {
    check(&[
        ("a: 1\n", "a", "{\"b\": {\"c\": [1, {\"d\": 2, \"e\": 3}, [4, 5]]}}", "a:\n  b:\n    c:\n      - 1\n      - d: 2\n        e: 3\n      - - 4\n        - 5\n"),
        ("z:\n    y: 1\na: 1 # why\nb: 2\n", "a", "{\"b\": [1]}", "z:\n    y: 1\na: # why\n    b:\n        - 1\nb: 2\n"),
        ("z:\n- y\na: 1\n", "a", "[1, 2]", "z:\n- y\na:\n- 1\n- 2\n"),
        ("z:\n  - y\na: 1\n", "a", "[1, 2]", "z:\n  - y\na:\n  - 1\n  - 2\n"),
        ("z:\n  -   y\na: 1\n", "a", "[1, {\"b\": 2, \"c\": 3}]", "z:\n  -   y\na:\n  -   1\n  -   b: 2\n      c: 3\n"),
        ("a:\n  # in\n  b: 1\n  # end\n# next\nc: 2\n", "a", "3", "a: 3\n# next\nc: 2\n"),
        ("a: # why\n- 1\n- 2 # two\nc: 2\n", "a", "[3]", "a: # why\n- 3\nc: 2\n"),
        ("a:\n    b: 1\nc:\n  d: 1\ne:\n  f: 1\n", "a", "{\"g\": 1}", "a:\n    g: 1\nc:\n  d: 1\ne:\n  f: 1\n"),
        ("a: [1, 2] # why\n", "a", "[1, 3]", "a: [1, 3] # why\n"),
        ("a: [1, 2]\n", "a", "\"x\"", "a: x\n"),
        ("a: []\n", "a", "[1]", "a:\n  - 1\n"),
        ("a: {} # why\nb: 1\n", "a.c.d", "1", "a: # why\n  c:\n    d: 1\nb: 1\n"),
        ("a:\n  b: 1\n", "a", "{}", "a: {}\n"),
        ("a:\n  b: 1\n", "a", "{\"b\": 1}", "a:\n  b: 1\n"),
        ("a: {b: 1, c: [x, 'y']}\n", "a", "{\"c\": [\"x\", \"y\"], \"b\": 1}", "a: {b: 1, c: [x, 'y']}\n"),
        ("- a: 1\n  b: 2 # two\n- c\n", "0", "\"x\"", "- x\n- c\n"),
        ("- a: 1 # one\n- c\n", "0", "\"x\"", "- x # one\n- c\n"),
        ("- x # one\n- c\n", "0", "{\"a\": 1, \"b\": [2]}", "- a: 1 # one\n  b:\n    - 2\n- c\n"),
        ("-\n- c\n", "0", "{\"a\": 1, \"b\": 2}", "- a: 1\n  b: 2\n- c\n"),
        ("- &x a\n- c\n", "0", "{\"a\": 1}", "- &x\n  a: 1\n- c\n"),
        ("a: &x\n  b: 1\nc: 2\n", "a", "5", "a: &x 5\nc: 2\n"),
        ("a: x\nb: 1", "b", "{\"c\": 1}", "a: x\nb:\n  c: 1"),
    ]);
}

#[test]
fn entries_are_added() {
    check(&[
        ("", "a.b", "1", "a:\n  b: 1\n"),
        ("# only\n", "a", "1", "# only\na: 1\n"),
        ("# only", "a", "1", "# only\na: 1"),
        ("---\n", "a", "1", "---\na: 1\n"),
        ("---\n# x\n...\n", "a", "[1]", "---\n# x\na:\n  - 1\n...\n"),
        ("{}\n", "a", "1", "a: 1\n"),
        ("--- {}\n", "a", "1", "--- {a: 1}\n"),
        ("a: 1\n", "b", "2", "a: 1\nb: 2\n"),
        ("a: 1", "b", "2", "a: 1\nb: 2"),
        ("a: 1 # one\n\n# end\n", "b", "2", "a: 1 # one\nb: 2\n\n# end\n"),
        ("a:\n  b: 1\n  # c: 2\n# next\nd: 1\n", "a.e", "2", "a:\n  b: 1\n  # c: 2\n  e: 2\n# next\nd: 1\n"),
        ("a:\n  b: |\n    x\n\nd: 1\n", "a.e", "2", "a:\n  b: |\n    x\n  e: 2\n\nd: 1\n"),
        ("a:\n  b: |+\n    x\n\nd: 1\n", "a.e", "2", "a:\n  b: |+\n    x\n\n  e: 2\nd: 1\n"),
        ("a:\nb: 1\n", "a.c", "1", "a:\n  c: 1\nb: 1\n"),
        ("a: {b: 1}\n", "a.c", "{\"d\": [1]}", "a: {b: 1, c: {d: [1]}}\n"),
        ("a: { b: 1, }\n", "a.c", "2", "a: { b: 1, c: 2, }\n"),
        ("a: [\n  1, # one\n  2 # two\n]\n", "a.2", "3", "a: [\n  1, # one\n  2, # two\n  3\n]\n"),
        ("a: [\n  1,\n  2, # two\n]\n", "a.2", "3", "a: [\n  1,\n  2, # two\n  3,\n]\n"),
        ("{\"a\": {\"b\": \"x\"}}\n", "a.c", "\"y\"", "{\"a\": {\"b\": \"x\", \"c\": \"y\"}}\n"),
        ("a: [ { b: {} } ]\n", "a.0.b.c", "1", "a: [ { b: {c: 1} } ]\n"),
        ("a: {b, c: }\n", "a.b", "1", "a: {b: 1, c: }\n"),
        ("a: {b, c: }\n", "a.c", "1", "a: {b, c: 1 }\n"),
        ("a:\n- x\n- y # y\n# next\nb: 1\n", "a.2", "\"z\"", "a:\n- x\n- y # y\n- z\n# next\nb: 1\n"),
        ("- a: 1\n", "0.b", "2", "- a: 1\n  b: 2\n"),
        ("- a: 1\n", "1.b.c", "2", "- a: 1\n- b:\n    c: 2\n"),
        ("-   a: 1\n", "1", "{\"b\": 2, \"c\": 3}", "-   a: 1\n-   b: 2\n    c: 3\n"),
        ("a: 1\n", "[\"b\", \"c.d\"]", "\"x\"", "a: 1\nb:\n  c.d: x\n"),
    ]);
}

#[test]
fn entries_are_removed() {
    check(&[
        ("", "a", "-", ""),
        ("a: 1\n", "b.c", "-", "a: 1\n"),
        ("a: 1\n", "a.c", "-", "a: 1\n"),
        ("# a\na: 1\n# b\nb: 2\n", "a", "-", "# a\n# b\nb: 2\n"),
        ("a: 1\nb: 2", "b", "-", "a: 1\n"),
        ("a: |\n  #\n     \nb: 2", "b", "-", "a: |\n  #\n     \n"),
        ("a: |\n  #\n     \n\nb: 2\n", "a", "-", "\nb: 2\n"),
        ("a: 1\n", "a", "-", "{}\n"),
        ("# top\na: 1 # one\n# end\n", "a", "-", "# top\n{}\n# end\n"),
        ("a:\n  # about b\n  b: 1\nc: 1\n", "a.b", "-", "a: {}\n  # about b\nc: 1\n"),
        ("a:\n  - 1\n", "a.0", "-", "a: []\n"),
        ("- 1\n", "0", "-", "[]\n"),
        ("a:\n  b:\n    c: 1\n    # in\n  # of a\n  d: 1\n", "a.b", "-", "a:\n  # of a\n  d: 1\n"),
        ("a:\n  b: |\n    x\n\n  c: 1\n", "a.b", "-", "a:\n\n  c: 1\n"),
        ("- a: 1\n  # b\n  b: 2\n", "0.a", "-", "-\n  # b\n  b: 2\n"),
        ("- a: 1\n  b: 2\n", "0.a", "-", "- b: 2\n"),
        ("- a: 1\n- b\n", "0.a", "-", "- {}\n- b\n"),
        ("- - 1\n  - 2\n", "0.0", "-", "- - 2\n"),
        ("- 1\n- 2 # two\n- 3\n", "1", "-", "- 1\n- 3\n"),
        ("a: {b: 1, c: 2}\n", "a.b", "-", "a: {c: 2}\n"),
        ("a: {b: 1, c: 2}\n", "a.c", "-", "a: {b: 1}\n"),
        ("a: { b: 1 }\n", "a.b", "-", "a: {}\n"),
        ("a: [1, 2, 3,]\n", "a.2", "-", "a: [1, 2,]\n"),
        ("a: [\n  1, # one\n  2 # two\n]\n", "a.1", "-", "a: [\n  1 # one\n]\n"),
        ("a: [\n  1, # one\n  2 # two\n]\n", "a.0", "-", "a: [\n  2 # two\n]\n"),
        ("a: *x\nb: 1\n", "a", "-", "error: this is no YAML: while parsing node, found unknown anchor (line 1, column 4)"),
        ("x: &x 1\na: *x\nb: 1\n", "a", "-", "x: &x 1\nb: 1\n"),
    ]);
}

#[test]
fn line_ends_of_windows_stay() {
    check(&[
        ("a: 1\r\nb: 2\r\n", "a", "{\"c\": [1]}", "a:\r\n  c:\r\n    - 1\r\nb: 2\r\n"),
        ("a: 1\r\nb: 2\r\n", "c", "3", "a: 1\r\nb: 2\r\nc: 3\r\n"),
        ("a: 1\r\nb: 2\r\n", "b", "-", "a: 1\r\n"),
        ("a: 1\r\nb: 2", "b", "-", "a: 1\r\n"),
        ("a: |\r\n  x\r\n  y\r\nb: 2\r\n", "a", "\"z\\n\"", "a: |\r\n  z\r\nb: 2\r\n"),
        ("a: |\r\n  x\r\n  y\r\nb: 2\r\n", "a", "1", "a: 1\r\nb: 2\r\n"),
        ("a:\r\nb: 2\r\n", "a", "1", "a: 1\r\nb: 2\r\n"),
        ("a: [\r\n  1,\r\n  2\r\n]\r\n", "a.1", "-", "a: [\r\n  1\r\n]\r\n"),
        ("a:\r\n  - 1 # x\r\nb: 2\r\n", "a.1", "2", "a:\r\n  - 1 # x\r\n  - 2\r\nb: 2\r\n"),
        ("a:\r\n    x # y\r\nb: 2\r\n", "a", "[1]", "a: # y\r\n  - 1\r\nb: 2\r\n"),
    ]);
}

#[test]
fn what_is_not_clear_is_refused() {
    let aliases = "x: &x\n  a: 1\ny: *x\nz:\n  <<: *x\n  b: 1\n";
    for (before, key, value, error) in [
        ("a: 1\n---\nb: 2\n", "a", "2", "several documents"),
        (aliases, "y.a", "2", "is the alias `*x`"),
        (aliases, "z.a", "2", "comes from a merge key"),
        (aliases, "z.a", "-", "comes from a merge key"),
        (aliases, "[\"z\", \"<<\"]", "2", "comes from a merge key"),
        (aliases, "x", "2", "has the anchor `&x`"),
        (aliases, "x", "-", "has the anchor `&x`"),
        ("a: !vault |\n  123\n", "a", "\"x\"", "has the tag `!vault`"),
        ("a: 1\na: 2\n", "a", "3", "the key `a` is there twice (line 2)"),
        ("a: 1\n", "a.b", "3", "`a` is no table, so it has no `b`"),
        ("a: [1]\n", "a.b", "3", "so no place `b`"),
        ("a: [1]\n", "a.2", "3", "so no place `2`"),
        ("a: [1\n", "a.2", "3", "this is no YAML: "),
        ("a:\n\tb: 1\n", "a", "3", "this is no YAML: "),
        ("a: 1\rb: 2\r", "a", "3", "carriage return"),
        ("- 1\n", "x", "3", "the list at the top has 1 items, so no place `x`"),
        ("text\n", "x", "3", "at the top is no table, so it has no `x`"),
        ("a: [b: ]\n", "a.0.b", "-", "cannot be edited by value here"),
        ("a: |\n  x", "b", "1", "cannot be edited by value here"),
        ("a: [b: 1]\n", "a.0.c", "1", "cannot be edited by value here"),
    ] {
        let is = made(before, key, value);
        assert!(is.starts_with("error: ") && is.contains(error), "{before}: {is}");
    }
    check(&[
        (aliases, "z.c", "2", "x: &x\n  a: 1\ny: *x\nz:\n  <<: *x\n  b: 1\n  c: 2\n"),
        (aliases, "x.a", "2", "x: &x\n  a: 2\ny: *x\nz:\n  <<: *x\n  b: 1\n"),
        (aliases, "y", "2", "x: &x\n  a: 1\ny: 2\nz:\n  <<: *x\n  b: 1\n"),
        (aliases, "y", "{\"a\": 1}", aliases),
        ("a: !Ref b\nc: !Sub\n  - x\n  - y: 1\nd: 1\n", "d", "2", "a: !Ref b\nc: !Sub\n  - x\n  - y: 1\nd: 2\n"),
        ("a: !vault |\n  123\nb: 1\n", "a", "-", "b: 1\n"),
        ("%YAML 1.2\n--- # start\na: 1\n... # end\n", "a", "2", "%YAML 1.2\n--- # start\na: 2\n... # end\n"),
    ]);
}

#[test]
fn deep_files_are_no_danger() {
    let deep = |depth: usize| format!("{}{}a: {}1{}\nlast: 1\n", (0..depth).map(|depth| " ".repeat(depth) + "a:\n").collect::<String>(), " ".repeat(depth), "[".repeat(depth), "]".repeat(depth));
    assert_eq!(made(&deep(60), "last", "2"), deep(60).replace("last: 1", "last: 2"));
    assert!(made(&deep(250), "last", "2").contains("this is no YAML"));
    assert!(made(&"[".repeat(100_000), "last", "2").contains("this is no YAML"));
}

/// Writes data in styles that the choices pick, with remarks all over.
struct Random<'a> {
    choices: std::iter::Cycle<std::slice::Iter<'a, u8>>,
    step: usize,
    list_step: usize,
}

impl Random<'_> {
    fn choice(&mut self, count: u8) -> u8 {
        self.choices.next().expect("a choice") % count
    }

    fn text(&mut self, text: &str, is_key: bool) -> String {
        let is_simple = text.starts_with(|char: char| char.is_ascii_lowercase()) && text.len() > 3 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b' ') && text.trim() == text;
        match self.choice(3) {
            0 if is_simple && !["true", "false", "null"].contains(&text) => text.to_owned(),
            1 if !text.chars().any(|char| char.is_control()) && !is_key => format!("'{}'", text.replace('\'', "''")),
            _ => Value::from(text).to_string(),
        }
    }

    fn flow(&mut self, value: &Value, indent: usize) -> String {
        let (open, close) = match (self.choice(4), value.is_object()) {
            (0, _) if value.is_array() || value.is_object() => (format!("\n{}  ", " ".repeat(indent)), format!("\n{}", " ".repeat(indent))),
            (1, true) => (" ".to_owned(), " ".to_owned()),
            _ => (String::new(), String::new()),
        };
        let is_wide = open.starts_with('\n');
        let comma = if is_wide { format!(", # flow{open}") } else { ", ".to_owned() };
        let last = if is_wide && self.choice(2) == 0 { "," } else { "" };
        match value {
            Value::String(text) => self.text(text, false),
            Value::Array(list) if list.is_empty() => "[]".to_owned(),
            Value::Object(table) if table.is_empty() => "{ }".to_owned(),
            Value::Array(list) => format!("[{open}{}{last}{close}]", list.iter().map(|value| self.flow(value, indent + 2)).collect::<Vec<_>>().join(&comma)),
            Value::Object(table) => format!("{{{open}{}{last}{close}}}", table.iter().map(|(name, value)| format!("{}: {}", self.text(name, true), self.flow(value, indent + 2))).collect::<Vec<_>>().join(&comma)),
            value => value.to_string(),
        }
    }

    /// What stands behind a key or a `-`, with the line end.
    fn block(&mut self, value: &Value, column: usize, is_item: bool, out: &mut String) {
        let is_full = value.as_array().is_some_and(|list| !list.is_empty()) || value.as_object().is_some_and(|table| !table.is_empty());
        let remark = ["", "", " # why", "   # - a: b"][usize::from(self.choice(4))];
        if is_full && self.choice(4) > 0 {
            let is_compact = is_item && self.choice(3) > 0;
            let indent = if is_item { column + 2 } else { column + if value.is_array() { self.list_step } else { self.step } };
            if is_compact {
                out.push(' ');
            } else {
                out.push_str(&format!("{remark}\n"));
                self.remark(indent, out);
            }
            let entries: Vec<(Option<&String>, &Value)> = value.as_object().map_or_else(|| value.as_array().into_iter().flatten().map(|value| (None, value)).collect(), |table| table.iter().map(|(name, value)| (Some(name), value)).collect());
            for (number, (name, value)) in entries.into_iter().enumerate() {
                if !(is_compact && number == 0) {
                    out.push_str(&" ".repeat(indent));
                }
                let mark = name.map_or("-".to_owned(), |name| format!("{}:", self.text(name, true)));
                out.push_str(&mark);
                self.block(value, indent, name.is_none(), out);
                self.remark(indent, out);
            }
            return;
        }
        match value {
            Value::Null if self.choice(2) == 0 => out.push_str(&format!("{remark}\n")),
            Value::String(text) if text.ends_with('\n') && !text.starts_with(['\n', ' ']) && text.trim() != "" && !text.contains("\n\n") && self.choice(3) > 0 => {
                out.push_str(&format!(" |{remark}\n"));
                for line in text.lines() {
                    out.push_str(&format!("{}{line}\n", " ".repeat(column + self.step)));
                }
            }
            value => {
                let text = self.flow(value, column + 2);
                out.push_str(&format!(" {text}{remark}\n"));
            }
        }
    }

    fn remark(&mut self, indent: usize, out: &mut String) {
        match self.choice(8) {
            0 => out.push('\n'),
            1 => out.push_str(&format!("{}# remark: [\n", " ".repeat(indent))),
            2 => out.push_str("# far left\n"),
            3 => out.push_str(&format!("\n{}# deep\n", " ".repeat(indent + 2))),
            _ => {}
        }
    }
}

fn values() -> impl proptest::strategy::Strategy<Value = Value> {
    use proptest::prelude::*;
    let texts = prop_oneof!["[a-z ]{0,8}", "[ -~]{0,8}", "([a-z:#\\[ -]{0,5}\n){1,3}", Just("yes".to_owned()), Just("12:30".to_owned()), Just("a: b # c".to_owned()), Just("one\ntwo\n".to_owned()), "[\\PC\t\n]{0,4}"];
    let leaf = prop_oneof![texts.prop_map(Value::from), (-99_i64..999).prop_map(Value::from), any::<bool>().prop_map(Value::from), Just(Value::Null), (-50_i32..50).prop_map(|number| Value::from(f64::from(number) / 8.0))];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let names = prop_oneof!["[a-e]{1,2}", "[a-z]{4,6}", Just("a b: c".to_owned()), Just("on".to_owned()), Just("80".to_owned())];
        prop_oneof![proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from), proptest::collection::vec((names, inner), 0..4).prop_map(|entries| Value::Object(entries.into_iter().collect()))]
    })
}

/// The data with the value set or removed; none where that is an error.
fn expected(mut value: Value, keys: &[String], wanted: Option<&Value>) -> Option<Value> {
    let Some((key, rest)) = keys.split_first() else { return wanted.cloned() };
    if value.is_null() && wanted.is_some() {
        value = Value::Object(serde_json::Map::new());
    }
    match &mut value {
        Value::Object(table) => match (wanted, table.get(key)) {
            (None, None) => {}
            (None, Some(_)) if rest.is_empty() => drop(table.shift_remove(key)),
            (_, old) => drop(table.insert(key.clone(), expected(old.cloned().unwrap_or_default(), rest, wanted)?)),
        },
        Value::Array(list) => match (wanted, key.parse::<usize>().ok()) {
            (None, Some(place)) if place < list.len() && rest.is_empty() => drop(list.remove(place)),
            (_, Some(place)) if place < list.len() => list[place] = expected(list[place].take(), rest, wanted)?,
            (Some(_), Some(place)) if place == list.len() => list.push(expected(Value::Null, rest, wanted)?),
            (None, _) => {}
            _ => return None,
        },
        _ if wanted.is_none() => {}
        _ => return None,
    }
    Some(value)
}

/// Keys that lead somewhere into the data, and sometimes beyond.
fn some_keys(mut value: &Value, choices: &[u8]) -> Vec<String> {
    let mut keys = Vec::new();
    for choice in choices {
        let choice = usize::from(*choice);
        let (key, next) = match value {
            Value::Object(table) => match table.iter().nth(choice % (table.len() + 1)) {
                Some((name, next)) => (name.clone(), next),
                None => ("new".to_owned(), &Value::Null),
            },
            Value::Array(list) => ((choice % (list.len() + 1)).to_string(), list.get(choice % (list.len() + 1)).unwrap_or(&Value::Null)),
            _ if !keys.is_empty() => break,
            _ => ("new".to_owned(), &Value::Null),
        };
        keys.push(key);
        value = next;
    }
    keys
}

/// The lines of the old text that the edit may change, as counts from the top and from the bottom.
fn may_change(text: &str, keys: &[String], is_removal: bool) -> (usize, usize) {
    use super::tree::Document;
    let document = Document::of(text).expect("a document");
    let mut range = 0..text.len();
    let mut node = document.root.as_ref().expect("a root");
    for (depth, key) in keys.iter().enumerate() {
        let place = node.entries().iter().enumerate().position(|(number, entry)| if entry.key.is_some() { entry.name() == Some(key) } else { number.to_string() == *key });
        let Some(place) = place else {
            // An entry that comes in at the end of a block changes no line that is there.
            if node.is_block() {
                range = node.end..node.end;
            }
            break;
        };
        let entry = &node.entries()[place];
        if !(is_removal && depth + 1 == keys.len()) || node.is_block() && node.entries().len() > 1 {
            // Behind a `-`, the next entry moves up.
            let is_compact = is_removal && place == 0 && !text[..entry.start].ends_with(['\n', ' ']) || text[..entry.start].trim_end_matches(' ').ends_with('-');
            range = entry.start..if is_compact { node.entries().get(1).map_or(entry.end(), |next| next.start) } else { entry.end() };
        }
        node = &entry.value;
    }
    let line_end = text[range.end..].find('\n').map_or(text.len(), |at| range.end + at + 1);
    // Remarks below, which are indented deeper, go with it.
    let is_end = line_end == text.len() && !text.ends_with('\n');
    let below = text[line_end..].split('\n').filter(|_| !is_end).skip_while(|line| line.starts_with(' ') && line.trim_start().starts_with('#')).count();
    (text[..range.start].matches('\n').count(), below)
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 1000, max_global_rejects: 1_000_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_edit_changes_one_value_and_no_other_line(data in values(), value in values(), choices in proptest::collection::vec(proptest::prelude::any::<u8>(), 40..80), way in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..5), is_removal in proptest::prelude::any::<bool>(), windows in proptest::prelude::any::<bool>()) {
        let full = |value: &Value| value.as_object().is_some_and(|table| !table.is_empty()) || value.as_array().is_some_and(|list| !list.is_empty());
        proptest::prop_assume!(full(&data));
        let step = if choices[0] % 2 == 0 { 2 } else { 4 };
        let mut random = Random { choices: choices.iter().cycle(), step, list_step: if choices[1] % 2 == 0 { 0 } else { step } };
        // The document is a value below nothing: its lines begin at column 0.
        let mut text = String::new();
        random.block(&serde_json::json!({"root": data, "last": 1}), 0, false, &mut text);
        let text = if windows { text.replace('\n', "\r\n") } else { text };
        let text = if choices[2] % 5 == 0 { text.trim_end().to_owned() } else { text };
        let data = serde_json::json!({"root": data, "last": 1});
        let read: Result<Value, _> = serde_saphyr::from_str(&text);
        proptest::prop_assume!(read.as_ref().is_ok_and(|read| *read == data));
        let keys: Vec<String> = if choices[3] % 4 == 0 { some_keys(&data, &way) } else { std::iter::once("root".to_owned()).chain(some_keys(&data["root"], &way)).collect() };
        let wanted = (!is_removal).then_some(&value);
        let new = edit(&text, &keys, &wanted.map_or(Wanted::Remove, Wanted::Set));
        let Some(expected) = expected(data.clone(), &keys, wanted) else {
            proptest::prop_assert!(new.is_err());
            return Ok(());
        };
        if is_removal && text.contains("# deep") && text.contains('|') && new.as_ref().is_err_and(|error| error.to_string().contains("an unusual way")) {
            // A remark would become a part of the `|` above it.
            return Ok(());
        }
        let new = new.map_err(|error| proptest::test_runner::TestCaseError::fail(format!("{keys:?} {wanted:?}: {error} in\n{text}")))?;
        if expected == data {
            proptest::prop_assert_eq!(&new, &text);
            return Ok(());
        }
        let read: Value = serde_saphyr::from_str(&new).map_err(|error| proptest::test_runner::TestCaseError::fail(format!("{error} in\n{new}")))?;
        proptest::prop_assert!(read == expected, "{:?} {:?}\n{}\nis now\n{}", keys, wanted, text, new);
        let (above, below) = may_change(&text, &keys, is_removal);
        let (old, lines) = (text.split('\n').map(str::trim_end).collect::<Vec<_>>(), new.split('\n').map(str::trim_end).collect::<Vec<_>>());
        proptest::prop_assert!(lines.starts_with(&old[..above]) && lines.ends_with(&old[old.len() - below..]), "{:?} {:?}: other lines, all but {} and {}\n{}\nis now\n{}", keys, wanted, above, below, text, new);
        proptest::prop_assert_eq!(new.contains('\r'), text.contains('\r') && new.contains('\n'));
    }
}
