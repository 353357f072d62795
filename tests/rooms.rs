//! The house: who imports whom, a head comment in every file, every module listed, every script clean.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The rooms by floor; imports go down.
const FLOORS: &[&[&str]] = &[
    &["diag", "secret", "shell", "ssh_config", "vault"],
    &["inventory", "module", "remote", "template"],
    &["event", "modules", "playbook"],
    &["engine", "journal", "render"],
    &["cli"],
];

/// Imports between rooms of one floor that are meant.
const SAME_FLOOR: &[(&str, &str)] = &[
    // Files are read with bounds.
    ("ssh_config", "diag"),
    // Where a secret comes from is a part of a tree.
    ("secret", "diag"),
    // How scripts quote is a form in which a secret may stand.
    ("secret", "shell"),
    // What is decrypted is hidden, and files are read with bounds.
    ("vault", "secret"),
    ("vault", "diag"),
    // `Host` lines hold patterns.
    ("ssh_config", "shell"),
    // Settings and arguments share their types.
    ("inventory", "module"),
    // Variables of hosts are layers of a scope.
    ("inventory", "template"),
    // A module names the libraries that its scripts use.
    ("module", "remote"),
];

/// `modules` uses the reserved names of the inventory, `render` folds host names; both are a floor below.
fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

fn sources(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path, ending));
        } else if path.extension().is_some_and(|kind| kind == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn imports_go_down() {
    let source = root().join("src");
    let mut wrong = Vec::new();
    for path in sources(&source, "rs") {
        let relative = path.strip_prefix(&source).expect("below src");
        let Some(room) = relative.components().next().map(|part| part.as_os_str().to_string_lossy().into_owned()) else { continue };
        let Some(own) = floor(&room) else { continue };
        let text = std::fs::read_to_string(&path).expect("a source");
        for (number, line) in text.lines().enumerate() {
            for part in line.split("crate::").skip(1) {
                let name: String = part.chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect();
                let Some(other) = floor(&name) else { continue };
                let allowed = name == room || other < own || other == own && SAME_FLOOR.contains(&(room.as_str(), name.as_str()));
                if !allowed {
                    wrong.push(format!("{}:{}: `{room}` uses `{name}`", relative.display(), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_of_the_house_is_on_a_floor() {
    let rooms: BTreeSet<String> = std::fs::read_dir(root().join("src"))
        .expect("src")
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let known: BTreeSet<String> = FLOORS.iter().flat_map(|rooms| rooms.iter()).map(|room| (*room).to_owned()).collect();
    assert_eq!(rooms, known);
}

#[test]
fn every_file_says_what_it_is_for() {
    let missing: Vec<String> = sources(&root().join("src"), "rs")
        .into_iter()
        .filter(|path| !std::fs::read_to_string(path).expect("a source").starts_with("//!"))
        .map(|path| path.display().to_string())
        .collect();
    assert!(missing.is_empty(), "no `//!` at the head of {}", missing.join(", "));
}

#[test]
fn every_module_is_listed() {
    let list = std::fs::read_to_string(root().join("src/modules/mod.rs")).expect("the list");
    let mut declared = BTreeMap::new();
    for path in sources(&root().join("src/modules"), "rs") {
        let text = std::fs::read_to_string(&path).expect("a module");
        if let Some(name) = text.lines().find_map(|line| line.trim().strip_prefix("const NAME: &'static str = \"")) {
            declared.insert(name.trim_end_matches("\";").to_owned(), path);
        }
    }
    for (name, path) in &declared {
        let room = name.as_str();
        assert!(list.contains(&format!("registration::<{room}::")), "`{name}` of {} is not listed", path.display());
    }
    assert!(declared.len() >= 40, "{declared:?}");
}

#[test]
fn scripts_are_posix() {
    let scripts: Vec<PathBuf> = sources(&root().join("src"), "sh").into_iter().filter(|path| !is_described(path)).collect();
    assert!(scripts.len() > 10);
    let output = match std::process::Command::new("shellcheck").args(["-s", "sh"]).args(&scripts).output() {
        Ok(output) => output,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "shellcheck must be there in CI: {error}");
            return;
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// What belongs to a described module has holes in it.
fn is_described(path: &Path) -> bool {
    path.parent().is_some_and(|folder| folder.ends_with("described"))
}

/// The sh texts of a described module, with a word in place of each hole. Of every condition one side is taken: the first, or what
/// comes where nothing before holds.
fn described(path: &Path, takes_first: bool) -> String {
    let text = std::fs::read_to_string(path).expect("a description");
    let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let functions = std::fs::read_to_string(path.with_extension("sh")).unwrap_or_default();
    // As the list of modules says it.
    let list = std::fs::read_to_string(root().join("src/modules/mod.rs")).expect("the list");
    let entry = format!("\"{}\" with functions after \"", path.file_stem().expect("a name").to_string_lossy());
    let common = list.split_once(&entry).and_then(|(_, rest)| rest.split_once('"')).map(|(name, _)| path.with_file_name(format!("{name}.sh")));
    let functions = common.map(|path| std::fs::read_to_string(path).expect("the common functions")).unwrap_or_default() + &functions;
    let part = |key: &str| table.get(key).and_then(toml::Value::as_str).unwrap_or_default().to_owned();
    let whole: String = functions + &["functions", "probe", "apply", "undo"].iter().map(|key| format!("# {key}\n{}\n", part(key))).collect::<String>();
    let whole = regex::Regex::new(r"(?s)\{##.*?##\}").expect("a pattern").replace_all(&whole, "").into_owned();
    let tag = regex::Regex::new(r"(?s)\{%-?\s*(\w+).*?%\}\n?").expect("a pattern");
    // For each open condition: what its first side and its last side have come to, and how many sides there are.
    let mut open: Vec<(String, String, usize)> = vec![(String::new(), String::new(), 1)];
    let mut at = 0;
    for found in tag.captures_iter(&whole) {
        let (place, word) = (found.get(0).expect("a tag"), &found[1]);
        put(&mut open, &whole[at..place.start()]);
        at = place.end();
        match word {
            "if" | "macro" => open.push((String::new(), String::new(), 1)),
            // It stands where it is called.
            "endmacro" => drop(open.pop()),
            "elif" | "else" if open.len() > 1 => {
                let top = open.last_mut().expect("a condition");
                top.1.clear();
                top.2 += 1;
            }
            "endif" => {
                let (first, last, sides) = open.pop().expect("a condition");
                put(&mut open, if takes_first { &first } else if sides > 1 { &last } else { "" });
            }
            _ => {}
        }
    }
    put(&mut open, &whole[at..]);
    regex::Regex::new(r"(?s)\{\{.*?\}\}").expect("a pattern").replace_all(&open[0].0, "'hole'").into_owned()
}

fn put(open: &mut [(String, String, usize)], text: &str) {
    let (first, last, sides) = open.last_mut().expect("the text itself");
    if *sides == 1 {
        first.push_str(text);
    }
    last.push_str(text);
}

#[test]
fn no_file_of_a_module_is_long() {
    let all = ["rs", "sh", "toml"].into_iter().flat_map(|ending| sources(&root().join("src/modules"), ending));
    let long: Vec<String> = all.filter(|path| std::fs::read_to_string(path).expect("a file").lines().count() > 500).map(|path| path.display().to_string()).collect();
    assert!(long.is_empty(), "more than 500 lines: {}", long.join(", "));
}

#[test]
fn described_modules_are_posix() {
    let texts = sources(&root().join("src"), "toml").into_iter().filter(|path| is_described(path));
    let folder = tempfile::tempdir().expect("a folder");
    let mut scripts = Vec::new();
    for path in texts {
        for (side, takes_first) in [("first", true), ("last", false)] {
            let script = folder.path().join(format!("{}.{side}.sh", path.file_stem().expect("a name").to_string_lossy()));
            std::fs::write(&script, described(&path, takes_first)).expect("a script");
            scripts.push(script);
        }
        let lines = std::fs::read_to_string(&path).expect("a description").lines().count();
        assert!(lines <= 500, "{} has {lines} lines", path.display());
    }
    assert!(!scripts.is_empty());
    // What a hole stands for is not known here: that one text is compared with another, that nothing follows, that a variable is used. Words
    // that are split, and patterns that are meant as such, are what much of this text is about.
    let output = match std::process::Command::new("shellcheck").args(["-s", "sh", "-S", "warning", "-e", "SC2034,SC2050,SC2154,SC2078,SC2194,SC2195,SC2221,SC2222,SC2041,SC2170,SC1010,SC2046,SC2048,SC2115,SC2183,SC2193,SC2254"]).args(&scripts).output() {
        Ok(output) => output,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "shellcheck must be there in CI: {error}");
            return;
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn scripts_survive_losing_their_comments_and_indentation() {
    for path in sources(&root().join("src"), "sh").into_iter().filter(|path| !is_described(path)) {
        let text = std::fs::read_to_string(&path).expect("a script");
        let sent = mutate::remote::without_comments(&text);
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), sent).expect("writing");
        for shell in [&["sh", "-n"][..], &["bash", "--posix", "-n"]] {
            let output = std::process::Command::new(shell[0]).args(&shell[1..]).arg(file.path()).output().expect("a shell");
            assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
        }
    }
}
