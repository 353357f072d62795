//! `check --fix`: what is mended, what is left alone, and what is taken back.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::program;

/// A play of one task with these lines.
fn task(lines: &str) -> String {
    format!("hosts = \"all\"\n\n[[task]]\n{lines}")
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(playbook: &str) -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        folder.write("inventory.toml", "[hosts]\nweb1 = {}\n");
        folder.write("play.toml", playbook);
        folder
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.path().join(name)).expect("a file")
    }

    fn check(&self, words: &[&str]) -> (i32, String) {
        self.check_in(self.0.path(), &[words, &["play.toml"]].concat())
    }

    fn check_in(&self, folder: &Path, words: &[&str]) -> (i32, String) {
        let output = Command::new(program()).arg("check").args(words).current_dir(folder).env_clear().env("HOME", self.0.path()).env("PATH", "/usr/bin:/bin").output().expect("the program runs");
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
    }
}

/// Bad text, and what becomes of it. Whatever is the same is left alone.
const TABLE: &[(&str, &str, &str)] = &[
    ("a misspelt module", "packge = { name = \"nginx\" }\n", "package = { name = \"nginx\" }\n"),
    ("a misspelt parameter", "file = { path = \"/a\", stat = \"directory\" }\n", "file = { path = \"/a\", state = \"directory\" }\n"),
    ("a misspelt keyword", "regster = \"x\"\nping = {}\n", "register = \"x\"\nping = {}\n"),
    ("a misspelt value", "file = { path = \"/a\", state = 'diretory' }\n", "file = { path = \"/a\", state = 'directory' }\n"),
    ("one mistake behind another", "tempalte = { scr = \"x.j2\", dest = \"/x\", mode = 644 }\n", "template = { src = \"x.j2\", dest = \"/x\", mode = \"0644\" }\n"),
    ("the full name of a module", "\"ansible.builtin.file\" = { path = \"/a\", state = \"touch\" }\n", "\"file\" = { path = \"/a\", state = \"touch\" }\n"),
    ("another name of a keyword", "include_tasks = \"more.toml\"\n", "include = \"more.toml\"\n"),
    ("modes that are seen to be octal", "file = { path = \"/a\", mode = 0o755, state = \"directory\" }\n", "file = { path = \"/a\", mode = \"0755\", state = \"directory\" }\n"),
    ("a mode in the words of Python", "file = { path = \"/a\", mode = \"0o755\", state = \"directory\" }\n", "file = { path = \"/a\", mode = \"0755\", state = \"directory\" }\n"),
    ("modes as in YAML, before something else that is wrong", "file = { path = \"/a\", mode = 0755, stat = \"directory\" }\n", "file = { path = \"/a\", mode = \"0755\", state = \"directory\" }\n"),
    ("a mode that may be anything", "file = { path = \"/a\", mode = 420, state = \"directory\" }\n", "file = { path = \"/a\", mode = 420, state = \"directory\" }\n"),
    ("yes for true", "become = \"yes\"\nping = {}\n", "become = true\nping = {}\n"),
    ("off for false", "no_log = 'Off'  # why\nping = {}\n", "no_log = false  # why\nping = {}\n"),
    ("maybe for true", "become = \"maybe\"\nping = {}\n", "become = \"maybe\"\nping = {}\n"),
    ("a number in quotes", "retries = \"3\"\nuntil = \"true\"\nping = {}\n", "retries = 3\nuntil = \"true\"\nping = {}\n"),
    ("a number in quotes that would lose its zero", "retries = \"03\"\nuntil = \"true\"\nping = {}\n", "retries = \"03\"\nuntil = \"true\"\nping = {}\n"),
    ("a number for text", "user = { name = \"ann\", comment = 1.10 }\n", "user = { name = \"ann\", comment = \"1.10\" }\n"),
    ("braces in a condition", "when = \"{{ host.name == 'web1' }}\"\nping = {}\n", "when = \"host.name == 'web1'\"\nping = {}\n"),
    ("a misspelt variable", "vars = { port = 80 }\nwhen = \"prot > 1\"\nping = {}\n", "vars = { port = 80 }\nwhen = \"port > 1\"\nping = {}\n"),
    ("a misspelt part", "when = \"host.nam == 'web1'\"\nping = {}\n", "when = \"host.name == 'web1'\"\nping = {}\n"),
    ("what Ansible calls the host", "debug = \"{{ inventory_hostname }}\"\n", "debug = \"{{ host.name }}\"\n"),
    ("a misspelt filter", "debug = \"{{ 'a' | uper }}\"\n", "debug = \"{{ 'a' | upper }}\"\n"),
    ("two words are near", "vars = { port = 80, port1 = 1, portx = 2 }\nwhen = \"porty > 1\"\nping = {}\n", "vars = { port = 80, port1 = 1, portx = 2 }\nwhen = \"porty > 1\"\nping = {}\n"),
    ("a name that is there already", "file = { path = \"/a\", pathh = \"/b\", state = \"touch\" }\n", "file = { path = \"/a\", pathh = \"/b\", state = \"touch\" }\n"),
    ("another module was meant", "fine = { pattern = \"*\", deep = 1 }\n", "fine = { pattern = \"*\", deep = 1 }\n"),
    ("a module to whose parameters nothing fits", "slepp = { seconds = 3 }\n", "slepp = { seconds = 3 }\n"),
];

#[test]
fn what_is_sure_is_mended_and_nothing_else() {
    let mut wrong = String::new();
    for (title, bad, good) in TABLE {
        // The rest stays byte for byte, also with other ends of lines.
        for end in ["\n", "\r\n"] {
            let [bad, good] = [bad, good].map(|text| task(text).replace('\n', end));
            let folder = Folder::new(&bad);
            folder.write("x.j2", "x");
            folder.write("more.toml", "[[task]]\nping = {}\n");
            let (before, told) = folder.check(&[]);
            let is_told = told.contains("can be mended without doubt");
            assert_eq!(folder.read("play.toml"), bad, "`check` alone writes nothing");
            let (exit, said) = folder.check(&["--fix"]);
            let is_mended = bad != good;
            let expected = i32::from(!is_mended);
            if folder.read("play.toml") != good || exit != expected || before != 1 || is_told != is_mended {
                wrong.push_str(&format!("## {title}: {before} {is_told} {exit}\n{}\n{told}\n{said}\n", folder.read("play.toml")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_remedy_that_makes_things_worse_is_taken_back_and_others_stay() {
    let bad = "hosts = \"all\"\n\n[[task]]\nname = \"one\"\nfiel = { zone = \"Europe/Rome\" }\n\n[[task]]\nname = \"two\"\nbecome = \"yes\"\nping = {}\n";
    let folder = Folder::new(bad);
    let (exit, said) = folder.check(&["--fix"]);
    assert_eq!(folder.read("play.toml"), bad.replace("\"yes\"", "true"), "{said}");
    assert!(exit == 1 && said.contains("play.toml: 1 mended") && said.contains("unknown module or key `fiel`") && !said.contains("`become`"), "{said}");
}

#[test]
fn a_variable_that_some_host_has_is_not_renamed() {
    let play = task("when = \"port > 1\"\nping = {}\n");
    let folder = Folder::new(&play);
    folder.write("inventory.toml", "vars = { ports = 3 }\n[hosts]\nweb1 = { vars = { port = 1 } }\nweb2 = {}\n");
    let (exit, said) = folder.check(&["--fix"]);
    assert!(exit == 1 && said.contains("did you mean `ports`?") && !said.contains("mended"), "{said}");
    assert_eq!(folder.read("play.toml"), play);
}

#[test]
fn the_diff_shows_what_would_be_mended_and_writes_nothing() {
    let bad = task("file = { path = \"/a\", stat = \"touch\" }\n");
    let folder = Folder::new(&bad);
    let (exit, said) = folder.check(&["-D"]);
    assert!(exit == 1 && said.contains("--- play.toml\n+++ play.toml\n") && said.contains("\n+file = { path = \"/a\", state = \"touch\" }\n") && said.contains("1 place can be mended"), "{said}");
    assert_eq!(folder.read("play.toml"), bad);
    let (exit, said) = folder.check(&["--fix", "-D"]);
    assert!(exit == 0 && said.contains("\n+file = ") && said.contains("play.toml: 1 mended\ngood: 1 playbook"), "{said}");
    let document: serde_json::Value = serde_json::from_str(&folder.check(&["--fix", "--output", "json"]).1).expect("JSON");
    assert_eq!((&document["exit"], &document["mended"]), (&0.into(), &serde_json::json!([])));
}

#[test]
fn inventories_roles_and_handlers_are_mended_too() {
    let folder = Folder::new("hosts = \"all\"\nroles = [\"base\"]\n\n[[task]]\nfile = { path = \"/a\", state = \"touch\" }\nnotify = \"relaod\"\n\n[[handler]]\nname = \"reload\"\nping = {}\n");
    folder.write("roles/base/tasks.toml", "\u{feff}[[task]]\nbecome = \"no\"\nping = {}\n");
    folder.write("inventory.toml", "[hosts]\nweb1 = { prot = 22, become = \"yes\" }\n");
    let (exit, said) = folder.check(&["--fix"]);
    assert_eq!(exit, 0, "{said}");
    assert_eq!(folder.read("inventory.toml"), "[hosts]\nweb1 = { port = 22, become = true }\n");
    assert_eq!(folder.read("roles/base/tasks.toml"), "\u{feff}[[task]]\nbecome = false\nping = {}\n");
    assert!(folder.read("play.toml").contains("notify = \"reload\""));
}

#[test]
fn mode_and_links_stay_and_what_cannot_be_written_is_left() {
    let bad = task("become = \"yes\"\nping = {}\n");
    let folder = Folder::new(&bad);
    let path = folder.0.path().join("play.toml");
    std::fs::rename(&path, folder.0.path().join("real.toml")).expect("a file");
    std::os::unix::fs::symlink("real.toml", &path).expect("a link");
    std::fs::set_permissions(folder.0.path().join("real.toml"), std::fs::Permissions::from_mode(0o640)).expect("a mode");
    assert_eq!(folder.check(&["--fix"]).0, 0);
    assert!(path.is_symlink());
    assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o7777, 0o640);
    assert_eq!(std::fs::read_dir(folder.0.path()).expect("a folder").count(), 3, "nothing is left beside it");
    if !nix::unistd::Uid::effective().is_root() {
        folder.write("play.toml", &bad);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o440)).expect("a mode");
        let (exit, said) = folder.check(&["--fix"]);
        assert!(exit == 1 && said.contains("`play.toml` cannot be written; nothing was mended"), "{said}");
        assert_eq!(folder.read("play.toml"), bad);
    }
}

#[test]
fn files_of_others_are_left_alone() {
    let folder = Folder::new("");
    let bad = "[[task]]\nbecome = \"yes\"\nping = {}\n";
    folder.write("other/tasks.toml", bad);
    folder.write("project/play.toml", &task("include = \"../other/tasks.toml\"\n"));
    folder.write("project/inventory.toml", "[hosts]\nweb1 = {}\n");
    let (exit, said) = folder.check_in(&folder.0.path().join("project"), &["--fix", "play.toml"]);
    assert!(exit == 1 && said.contains("1 place could be mended, but in files outside of this project"), "{said}");
    assert_eq!(folder.read("other/tasks.toml"), bad);
}

#[test]
fn nothing_of_a_secret_comes_into_the_open() {
    let folder = Folder::new("");
    let run = |words: &[&str]| {
        let output = Command::new(program()).args(words).current_dir(folder.0.path()).env_clear().env("HOME", folder.0.path()).env("PATH", "/usr/bin:/bin").output().expect("the program runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let key = run(&["secret", "init"]);
    folder.write(".mutate-recipients", &key);
    folder.write("play.toml", &task("become = \"encrypt:yes\"\nping = {}\n"));
    run(&["secret", "encrypt", "--values", "play.toml"]);
    let sealed = folder.read("play.toml");
    assert!(!sealed.contains("yes"), "{sealed}");
    let (exit, said) = folder.check(&["--fix"]);
    assert_eq!((exit, folder.read("play.toml")), (1, sealed), "{said}");
    // Nor is a file rewritten that is encrypted as a whole.
    folder.write("play.toml", &task("include = \"tasks.toml.age\"\n"));
    folder.write("tasks.toml", "[[task]]\nbecome = \"yes\"\nping = {}\n");
    run(&["secret", "encrypt", "tasks.toml"]);
    let before = std::fs::read(folder.0.path().join("tasks.toml.age")).expect("a file");
    let (exit, said) = folder.check(&["--fix"]);
    assert!(exit == 1 && !said.contains("mended"), "{said}");
    assert_eq!(std::fs::read(folder.0.path().join("tasks.toml.age")).expect("a file"), before);
}
