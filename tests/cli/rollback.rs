//! The journal, and the way back.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::{alone, Fleet, Ran, apply, apply_file, mutate, one, read, two};

/// Runs `mutate rollback` with these words and reads its JSON.
fn rollback(fleet: &Fleet, words: &[&str]) -> Ran {
    let mut all = vec!["rollback", "--output", "json"];
    all.extend_from_slice(words);
    read(mutate(fleet, &all).output().expect("the program runs"))
}

/// Runs a command that needs no inventory, and gives what it says.
/// Everything below a folder but mutate's own state: names, kinds, modes, contents, links, extended attributes; of files
/// and links the time, too.
fn snapshot(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(here) = open.pop() {
        for entry in std::fs::read_dir(&here).expect("a folder").flatten() {
            let path = entry.path();
            if path.ends_with(".local") && here == folder {
                continue;
            }
            let meta = path.symlink_metadata().expect("metadata");
            let mut state = format!("{} {:o} {}:{}", path.strip_prefix(folder).expect("below it").display(), meta.mode(), meta.uid(), meta.gid());
            if meta.is_dir() {
                open.push(path);
            } else if meta.is_symlink() {
                state.push_str(&format!(" -> {}", std::fs::read_link(&path).expect("a link").display()));
            } else if meta.is_file() {
                state.push_str(&format!(" {}.{} {:?}", meta.mtime(), meta.mtime_nsec(), std::fs::read(&path).expect("a file")));
                let attributes = std::process::Command::new("getfattr").args(["-d", "--absolute-names"]).arg(&path).output();
                state.push_str(&attributes.map(|output| String::from_utf8_lossy(&output.stdout).replace(&*path.to_string_lossy(), "")).unwrap_or_default());
            }
            found.push(state);
        }
    }
    found.sort();
    found
}

fn without_times(snapshot: &[String]) -> Vec<String> {
    let plain = |line: &String| match line.find(" [").and_then(|content| line[..content].rfind(' ').map(|time| (time, content))) {
        Some((time, content)) => format!("{}{}", &line[..time], &line[content..]),
        None => line.clone(),
    };
    snapshot.iter().map(plain).collect()
}

const SITE: &str = "hosts = 'all'\n\
    [[task]]\nname = 'folder'\nfile = { path = '~/d/e', state = 'directory', mode = '0750' }\n\
    [[task]]\nname = 'old'\ncopy = { content = 'two', dest = '~/old', mode = '0600' }\n\
    [[task]]\nname = 'line'\nlineinfile = { path = '~/old', line = 'three' }\n\
    [[task]]\nname = 'gone'\nfile = { path = '~/gone', state = 'absent' }\n\
    [[task]]\nname = 'made'\ncommand = { cmd = 'touch made', creates = '~/made', undo = 'rm made' }\n";

fn laid_out(fleet: &Fleet) {
    for host in &fleet.hosts {
        std::fs::write(host.home.join("old"), "one").expect("a file");
        std::fs::create_dir(host.home.join("gone")).expect("a folder");
        std::fs::write(host.home.join("gone/x"), "x").expect("a file");
    }
}

#[test]
fn a_run_is_undone_and_the_undoing_too() {
    let fleet = two();
    laid_out(&fleet);
    let home = fleet.host("alpha").home.clone();
    let before = snapshot(&home);
    assert_eq!(apply(&fleet, SITE, &["--reason", "try it"]).exit, 0);
    let after = snapshot(&home);
    let check = rollback(&fleet, &["--check"]);
    assert_eq!((check.exit, check.outcomes("alpha")), (0, vec!["changed"; 5]), "{}", check.document);
    assert_eq!(snapshot(&home), after, "a check has changed something");
    let back = rollback(&fleet, &[]);
    assert_eq!((back.exit, back.outcomes("alpha")), (0, vec!["changed"; 5]), "{} {}", back.document, back.stderr);
    assert_eq!(snapshot(&home), before);
    let again = rollback(&fleet, &[]);
    assert_eq!(again.exit, 0, "{} {}", again.document, again.stderr);
    assert_eq!(without_times(&snapshot(&home)), without_times(&after));
    // What has been undone is not undone twice.
    let first = alone(&fleet, &["history", "--output", "json"]).1;
    let history: serde_json::Value = serde_json::from_str(&first).expect("JSON");
    let runs = history["runs"].as_array().expect("runs");
    assert_eq!(runs.len(), 3, "{history}");
    assert_eq!((&runs[2]["reason"], &runs[1]["undoes"]), (&"try it".into(), &runs[2]["id"]));
    let oldest = runs[2]["id"].as_str().expect("a name");
    assert_eq!(rollback(&fleet, &[oldest]).exit, 1);
}

#[test]
fn what_somebody_has_edited_since_is_left_alone() {
    let fleet = one();
    laid_out(&fleet);
    let home = fleet.host("alpha").home.clone();
    assert_eq!(apply(&fleet, SITE, &[]).exit, 0);
    std::fs::write(home.join("old"), "mine").expect("an edit");
    let check = rollback(&fleet, &["--check"]);
    assert_eq!(check.step("alpha", "line")["outcome"], "failed", "{}", check.document);
    let back = rollback(&fleet, &[]);
    assert_eq!((back.exit, &back.step("alpha", "line")["outcome"], &back.step("alpha", "old")["outcome"]), (7, &"failed".into(), &"failed".into()), "{}", back.document);
    assert!(back.step("alpha", "line")["diff"].as_str().is_some_and(|diff| !diff.is_empty()), "{}", back.document);
    assert_eq!(std::fs::read_to_string(home.join("old")).expect("a file"), "mine");
    assert!(home.join("gone/x").exists(), "the others are undone all the same");
    // The first run again, whose rest has not been undone yet.
    let history: serde_json::Value = serde_json::from_str(&alone(&fleet, &["history", "--output", "json"]).1).expect("JSON");
    let first = history["runs"][1]["id"].as_str().expect("a name").to_owned();
    let forced = rollback(&fleet, &[&first, "--force"]);
    assert_eq!(forced.outcomes("alpha"), ["changed", "changed"], "{}", forced.document);
    assert_eq!(std::fs::read_to_string(home.join("old")).expect("a file"), "one");
}

#[test]
fn what_cannot_be_undone_is_said_before() {
    let fleet = one();
    assert_eq!(apply(&fleet, "hosts = 'all'\n[[task]]\nname = 'cmd'\ncommand = { cmd = 'touch x', always = true }\n", &[]).exit, 0);
    let output = mutate(&fleet, &["rollback", "--check"]).output().expect("the program runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("impossible   cmd: a command has no way back"), "{text}");
    assert_eq!(rollback(&fleet, &[]).exit, 7);
}

#[test]
fn the_journal_knows_who_changed_what() {
    let fleet = one();
    laid_out(&fleet);
    assert_eq!(apply(&fleet, SITE, &["--reason", "ticket 42"]).exit, 0);
    let path = fleet.host("alpha").home.join("old").display().to_string();
    let (_, blame) = alone(&fleet, &["blame", "alpha", &path, "-D"]);
    assert!(blame.contains("ticket 42") && blame.contains("+two") && blame.contains("line ("), "{blame}");
    let (_, history) = alone(&fleet, &["history", "--host", "alpha"]);
    assert!(history.contains("play.toml") && history.contains("ticket 42"), "{history}");
    // The inventory is no playbook.
    let inventory = fleet.inventory.display().to_string();
    assert!(!history.contains(&inventory), "{history}");
    assert!(alone(&fleet, &["history", "--host", "beta"]).1.contains("no run fits"));
    let run = history.split_whitespace().next().expect("a name").to_owned();
    let (_, shown) = alone(&fleet, &["show", &run[20..], "-D"]);
    assert!(shown.contains("changed      gone") && shown.contains("+two") && shown.contains("recap (1 host"), "{shown}");
    // A run in which nothing changes is remembered, but none of its steps.
    let folder = "hosts = 'all'\n[[task]]\nname = 'folder'\nfile = { path = '~/d/e', state = 'directory', mode = '0750' }\n";
    let idle = apply(&fleet, folder, &[]);
    assert_eq!(idle.document["totals"]["changed"], 0);
    assert!(!alone(&fleet, &["show", idle.document["run"].as_str().expect("a name")]).1.contains("folder"));
    let second: serde_json::Value = serde_json::from_str(&alone(&fleet, &["history", "--output", "json"]).1).expect("JSON");
    assert_eq!(second["runs"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_journal_that_somebody_has_written_into_is_found_out() {
    let fleet = one();
    laid_out(&fleet);
    assert_eq!(apply(&fleet, SITE, &[]).exit, 0);
    assert_eq!(apply(&fleet, SITE, &[]).exit, 0);
    assert_eq!(alone(&fleet, &["audit"]).0, 0);
    let path = fleet.folder.path().join("controller/.local/state/mutate/journal.db");
    assert_eq!(path.metadata().expect("a journal").permissions().mode() & 0o777, 0o600);
    let journal = rusqlite::Connection::open(&path).expect("the journal opens");
    journal.execute("UPDATE steps SET facts = replace(facts, 'folder', 'nothing')", []).expect("a forgery");
    drop(journal);
    let (exit, text) = alone(&fleet, &["audit"]);
    assert_eq!(exit, 4, "{text}");
}

#[test]
fn without_a_journal_nothing_is_changed() {
    let fleet = one();
    laid_out(&fleet);
    let before = snapshot(&fleet.host("alpha").home);
    let state = fleet.folder.path().join("controller/.local/state/mutate");
    std::fs::create_dir_all(&state).expect("a folder");
    std::fs::write(state.join("journal.db"), "no database, however long one looks at this text here").expect("damage");
    let ran = apply(&fleet, SITE, &[]);
    assert_eq!(ran.exit, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("journal"), "{}", ran.stderr);
    assert_eq!(snapshot(&fleet.host("alpha").home), before);
}

/// A little generator of chance, so that a failure can be seen again.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("small")
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
}

const NAMES: [&str; 6] = ["a", "b c", "it's", "-d", "näme", "f$x"];

/// A random tree, and tasks that change it.
fn random_tree(chance: &mut Chance, folder: &Path, shown: &str) -> String {
    let quoted = |text: &str| serde_json::to_string(text).expect("a text");
    let mut tasks = String::new();
    std::fs::create_dir(folder).expect("a folder");
    for name in NAMES {
        let path = folder.join(name);
        match chance.below(6) {
            0 => {
                std::fs::create_dir(&path).expect("a folder");
                std::fs::write(path.join("inner"), "inner").expect("a file");
                std::os::unix::fs::symlink("inner", path.join("link")).expect("a link");
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(chance.pick(&[0o755, 0o700, 0o2750]))).expect("a mode");
            }
            1 => std::os::unix::fs::symlink(chance.pick(&["a", "/nowhere", "it's -> x"]), &path).expect("a link"),
            2 | 3 => {
                std::fs::write(&path, chance.pick(&["", "one\n", "one\ntwo", "\u{feff}x\r\n"])).expect("a file");
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(chance.pick(&[0o644, 0o600, 0o4755]))).expect("a mode");
                if chance.below(3) == 0 {
                    // Where the file system has none, there is nothing to keep.
                    let _set = std::process::Command::new("setfattr").args(["-n", "user.note", "-v", "kept"]).arg(&path).status();
                }
            }
            _ => {}
        }
    }
    let is_folder = |name: &str| folder.join(name).symlink_metadata().is_ok_and(|meta| meta.is_dir());
    let is_link = |name: &str| folder.join(name).is_symlink();
    for name in NAMES {
        let path = quoted(&format!("{shown}/{name}"));
        let task = match chance.below(6) {
            0 => format!("file = {{ path = {path}, state = 'absent' }}"),
            1 if !is_folder(name) => format!("file = {{ path = {path}, state = 'link', src = 'target', force = true }}"),
            2 if !is_folder(name) && !is_link(name) => format!("copy = {{ dest = {path}, content = {}, mode = '0640' }}", quoted("new content\n")),
            3 if !is_folder(name) && !is_link(name) => format!("lineinfile = {{ path = {path}, line = 'a line', create = true }}"),
            4 if !is_link(name) && (is_folder(name) || !folder.join(name).exists()) => format!("file = {{ path = {path}, state = 'directory', mode = '0711' }}"),
            _ => continue,
        };
        tasks.push_str(&format!("[[task]]\n{task}\n"));
    }
    tasks
}

/// In CI two thousand trees, forty of them in each run.
fn rollback_is_the_identity(seeds: impl Iterator<Item = u64>) {
    let runs = if std::env::var("CI").as_deref() == Ok("true") { 25 } else { 2 };
    for seed in seeds.take(runs) {
        let fleet = one();
        let home = fleet.host("alpha").home.clone();
        let mut chance = Chance(0x9e37_79b9_7f4a_7c15 ^ (seed * 7919));
        let mut playbook = String::from("hosts = 'all'\n");
        for number in 0..40 {
            let name = format!("tree {number}");
            playbook.push_str(&random_tree(&mut chance, &home.join(&name), &format!("~/{name}")));
        }
        let path = fleet.write("trees.toml", &playbook);
        let before = snapshot(&home);
        let first = apply_file(&fleet, &path, &[]);
        assert_eq!(first.exit, 0, "seed {seed}: {} {}", first.document, first.stderr);
        let after = snapshot(&home);
        let back = rollback(&fleet, &[]);
        assert_eq!(back.exit, 0, "seed {seed}: {} {}", back.document, back.stderr);
        assert_eq!(snapshot(&home), before, "seed {seed}: after the rollback");
        let again = rollback(&fleet, &[]);
        assert_eq!(again.exit, 0, "seed {seed}: {} {}", again.document, again.stderr);
        assert_eq!(without_times(&snapshot(&home)), without_times(&after), "seed {seed}: after the rollback of the rollback");
    }
}

#[test]
fn rollback_after_apply_is_the_identity() {
    rollback_is_the_identity((1..).step_by(2));
}

#[test]
fn rollback_after_apply_is_the_identity_for_others() {
    rollback_is_the_identity((2..).step_by(2));
}

#[test]
fn a_run_that_was_killed_is_settled_and_continued() {
    let fleet = one();
    let home = fleet.host("alpha").home.clone();
    std::fs::write(home.join("old"), "one").expect("a file");
    let path = fleet
        .write(
            "play.toml",
            "hosts = 'all'\n[[task]]\nname = 'first'\ncopy = { content = 'two', dest = '~/old' }\n\
             [[task]]\nname = 'slow'\nshell = { cmd = 'echo slow >>log; sleep 2', always = true }\n\
             [[task]]\nname = 'last'\nshell = { cmd = 'echo last >>log', always = true }\n",
        )
        .display()
        .to_string();
    let mut child = mutate(&fleet, &["apply", &path]).stdout(std::process::Stdio::null()).spawn().expect("the program runs");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !home.join("log").exists() && std::time::Instant::now() < deadline {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    let (_, history) = alone(&fleet, &["history"]);
    assert!(history.contains("never ended"), "{history}");
    let run = history.split_whitespace().next().expect("a name").to_owned();
    let resolve = || {
        let output = mutate(&fleet, &["resolve", "--output", "json"]).output().expect("the program runs");
        let resolved: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        let text = |step: &serde_json::Value, key: &str| step[key].as_str().expect("a text").to_owned();
        let ends: Vec<(String, String)> = resolved["steps"].as_array().expect("steps").iter().map(|step| (text(step, "task"), text(step, "outcome"))).collect();
        (output.status.code(), ends)
    };
    let owned = |ends: &[(&str, &str)]| ends.iter().map(|(task, outcome)| ((*task).to_owned(), (*outcome).to_owned())).collect::<Vec<_>>();
    // As long as the host is at work on it, nothing can be said.
    assert_eq!(resolve(), (Some(7), owned(&[("first", "changed"), ("slow", "unknown"), ("last", "unknown")])));
    // What has begun is finished by the host.
    std::thread::sleep(std::time::Duration::from_millis(3500));
    assert_eq!(resolve(), (Some(0), owned(&[("slow", "changed"), ("last", "cancelled")])));
    let (_, history) = alone(&fleet, &["history"]);
    assert!(history.contains("exit 7, changed=2 failed=0"), "{history}");
    assert_eq!(alone(&fleet, &["audit"]).0, 0);
    // The run goes on where it was.
    let resumed = std::process::Command::new(env!("CARGO_BIN_EXE_mutate")).args(["resume", &run]).env_clear().env("HOME", fleet.folder.path().join("controller")).env("PATH", "/usr/bin:/bin").output().expect("it runs");
    assert_eq!(resumed.status.code(), Some(0), "{}", String::from_utf8_lossy(&resumed.stderr));
    assert_eq!(std::fs::read_to_string(home.join("log")).expect("a log"), "slow\nlast\n");
    // What the killed run has changed can be undone.
    let back = rollback(&fleet, &[&run]);
    assert_eq!(back.step("alpha", "first")["outcome"], "changed", "{}", back.document);
    assert_eq!(std::fs::read_to_string(home.join("old")).expect("a file"), "one");
}

#[test]
fn the_hosts_that_failed_can_be_named() {
    let fleet = two();
    std::fs::write(fleet.host("beta").home.join("bad"), "").expect("a file");
    let playbook = "hosts = 'all'\n[[task]]\nshell = { cmd = 'test ! -e bad', always = true }\n";
    let first = apply(&fleet, playbook, &[]);
    assert_eq!(first.exit, 4);
    let run = first.document["run"].as_str().expect("a name");
    let again = apply(&fleet, playbook, &["-l", &format!("@failed:{run}")]);
    let hosts: Vec<&String> = again.document["hosts"].as_object().expect("hosts").keys().collect();
    assert_eq!(hosts, ["beta"], "{}", again.document);
}
