//! What differs from a playbook, and who did it; and what is held.

use serde_json::Value;

use super::{Fleet, alone, Ran, apply, apply_file, mutate, read, two};

const BOOK: &str = "hosts = 'all'\n[[task]]\nname = 'motd'\ncopy = { content = \"{{ text | default('hello') }}\\n\", dest = '~/motd', mode = '0644' }\n\
    [[task]]\nname = 'line'\nlineinfile = { path = '~/conf', line = 'a=1', create = true }\n";

fn drift(fleet: &Fleet, words: &[&str]) -> Ran {
    let path = fleet.write("play.toml", BOOK).display().to_string();
    read(mutate(fleet, &[&["drift", &path, "--json"], words].concat()).output().expect("the program runs"))
}

fn said(fleet: &Fleet, words: &[&str]) -> (i32, String) {
    let path = fleet.write("play.toml", BOOK).display().to_string();
    let output = mutate(fleet, &[&["drift", &path], words].concat()).output().expect("the program runs");
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

fn blamed(ran: &Ran, host: &str, task: &str) -> (String, String) {
    let drift = &ran.step(host, task)["data"]["drift"];
    let text = |key: &str| drift[key].as_str().unwrap_or_default().to_owned();
    (text("by"), text("how"))
}

#[test]
fn what_differs_is_told_with_who_did_it() {
    let fleet = two();
    // Never applied.
    let ran = drift(&fleet, &[]);
    assert_eq!((ran.exit, ran.document["command"].as_str(), ran.document["exit"].as_u64()), (2, Some("drift"), Some(2)), "{} {}", ran.document, ran.stderr);
    assert_eq!(blamed(&ran, "alpha", "motd"), ("ours".into(), "ours: the playbook was never applied here".into()), "{}", ran.document);
    assert!(!fleet.host("alpha").home.join("motd").exists() && !fleet.host("alpha").home.join(".local").exists());
    // In place.
    assert_eq!(apply(&fleet, BOOK, &[]).exit, 0);
    let ran = drift(&fleet, &[]);
    assert_eq!((ran.exit, ran.document["totals"]["changed"].as_u64()), (0, Some(0)), "{} {}", ran.document, ran.stderr);
    // The playbook is another one.
    let ran = drift(&fleet, &["-e", "text=other"]);
    let (by, how) = blamed(&ran, "beta", "motd");
    assert!(ran.exit == 2 && by == "ours" && how.contains("the playbook or its variables are others since"), "{how} {}", ran.document);
    // By hand, on one host; gone, on the other.
    std::fs::write(fleet.host("alpha").home.join("motd"), "mine\n").expect("a file");
    std::fs::remove_file(fleet.host("beta").home.join("conf")).expect("a file");
    let ran = drift(&fleet, &[]);
    assert_eq!((ran.exit, ran.document["hosts"]["alpha"]["outcome"].as_str()), (2, Some("changed")));
    let (by, how) = blamed(&ran, "alpha", "motd");
    assert!(by == "hand" && how.starts_with("by hand: changed on 20"), "{by}: {how}");
    assert!(ran.step("alpha", "motd")["diff"].as_str().is_some_and(|diff| diff.contains("-mine")));
    assert_eq!(blamed(&ran, "beta", "line"), ("hand".into(), "by hand or by a program: it is gone".into()));
    let (exit, text) = said(&fleet, &["-D"]);
    assert!(exit == 2 && text.contains("drift on 2 of 2 hosts") && text.contains("alpha: by hand: changed on") && text.contains("-mine"), "{text}");
    // It is in the journal, and not to be undone.
    let (_, history) = alone(&fleet, &["history"]);
    assert!(history.contains("drift"), "{history}");
    let undone = mutate(&fleet, &["rollback", "--check"]).output().expect("the program runs");
    assert!(String::from_utf8_lossy(&undone.stdout).contains("`apply`"), "{undone:?}");
}

#[test]
fn another_controller_is_us_too() {
    let fleet = two();
    assert_eq!(apply(&fleet, &BOOK.replace("hello", "theirs"), &[]).exit, 0);
    // As seen from a machine whose journal knows nothing.
    std::fs::remove_dir_all(fleet.folder.path().join("controller/.local/state/mutate")).expect("a journal");
    let ran = drift(&fleet, &[]);
    let (by, how) = blamed(&ran, "alpha", "motd");
    assert!(by == "ours" && how.starts_with("ours: changed by the run "), "{by}: {how} {}", ran.document);
}

#[test]
fn what_is_ignored_old_or_held_does_not_count() {
    let fleet = two();
    assert_eq!(apply(&fleet, BOOK, &[]).exit, 0);
    std::fs::write(fleet.host("alpha").home.join("motd"), "mine\n").expect("a file");
    let path = fleet.host("alpha").home.join("motd").display().to_string();
    assert_eq!(drift(&fleet, &[]).exit, 2);
    for words in [&["--ignore", "motd"][..], &["--ignore", "copy"], &["--ignore", "al*:*/motd"], &["--ignore", &path]] {
        let ran = drift(&fleet, words);
        assert_eq!((ran.exit, ran.step("alpha", "motd")["data"]["drift"]["excused"].as_str()), (0, Some("ignored")), "{words:?} {}", ran.document);
    }
    assert_eq!(drift(&fleet, &["--ignore", "beta:*"]).exit, 2);
    // It was found before.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let now = String::from_utf8(std::process::Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]).output().expect("date").stdout).expect("a time");
    assert_eq!(drift(&fleet, &["--since", now.trim()]).exit, 0);
    assert_eq!(drift(&fleet, &["--since", "1h"]).exit, 2);
    // Held, in drift and for whoever applies.
    let hold = |words: &[&str]| alone(&fleet, &[&["hold"], words].concat());
    assert_eq!(hold(&["alpha", "x"]).0, 1);
    let (exit, text) = hold(&["alpha", &path, "--until", "2w", "--reason", "waiting for the fix"]);
    assert!(exit == 0 && text.contains("is held until 20"), "{text}");
    assert!(hold(&["--list"]).1.contains("waiting for the fix"));
    let ran = drift(&fleet, &[]);
    assert_eq!((ran.exit, ran.step("alpha", "motd")["data"]["drift"]["excused"].as_str()), (0, Some("held")), "{}", ran.document);
    let ran = apply(&fleet, BOOK, &[]);
    assert_eq!((ran.exit, ran.outcomes("alpha")), (0, vec!["skipped", "ok"]), "{}", ran.document);
    assert!(ran.step("alpha", "motd")["message"].as_str().is_some_and(|message| message.contains("waiting for the fix")));
    assert_eq!(hold(&["alpha", &path, "--release"]).0, 0);
    assert_eq!(apply(&fleet, BOOK, &[]).document["totals"]["changed"], 1);
}

#[test]
fn cron_watches_for_drift() {
    let fleet = two();
    assert_eq!(apply(&fleet, BOOK, &[]).exit, 0);
    let prom = fleet.folder.path().join("drift.prom").display().to_string();
    let (exit, text) = said(&fleet, &["--cron", "--prom", &prom]);
    assert_eq!((exit, text.as_str()), (0, ""));
    std::fs::write(fleet.host("beta").home.join("motd"), "mine\n").expect("a file");
    let (exit, text) = said(&fleet, &["--cron", "--prom", &prom]);
    assert!(exit == 2 && text.contains("drift on 1 of 2 hosts"), "{text}");
    let numbers = std::fs::read_to_string(&prom).expect("numbers");
    assert!(numbers.lines().any(|line| line.starts_with("mutate_drift_hosts{") && line.ends_with("} 1")) && numbers.contains("mutate_last_run_success{"), "{numbers}");
    // What cannot be read is no drift.
    let ran = apply_file(&fleet, std::path::Path::new("/nowhere.toml"), &[]);
    assert_eq!((ran.exit, ran.document), (1, Value::Null));
    assert_eq!(said(&fleet, &["-l", "nobody"]).0, 3);
}

#[test]
fn what_cannot_be_told_is_not_laid_at_somebodys_door() {
    let fleet = two();
    let book = "hosts = 'alpha'\n[[task]]\nname = 'runs always'\ncommand = { cmd = 'true', always = true }\n[[task]]\nname = 'file'\ncopy = { content = 'x', dest = '~/f' }\nnotify = 'h'\n[[handler]]\nname = 'h'\ncommand = { cmd = 'true', always = true }\n";
    assert_eq!(apply(&fleet, book, &[]).exit, 0);
    let path = fleet.write("play.toml", book).display().to_string();
    let run = |words: &[&str]| read(mutate(&fleet, &[&["drift", &path, "--json"], words].concat()).output().expect("the program runs"));
    let ran = run(&[]);
    assert_eq!((ran.exit, ran.step("alpha", "runs always")["data"]["drift"]["excused"].as_str()), (0, Some("commands")), "{}", ran.document);
    // What is ignored takes its handlers along.
    std::fs::write(fleet.host("alpha").home.join("f"), "mine").expect("a file");
    let ran = run(&["--ignore", "file"]);
    assert_eq!((ran.exit, ran.document["totals"]["changed"].as_u64()), (0, Some(0)), "{}", ran.document);
    // Found in place by the run, and changed since.
    let book = "hosts = 'alpha'\n[[task]]\nname = 'before'\nlineinfile = { path = '~/there', line = 'x' }\n";
    std::fs::write(fleet.host("alpha").home.join("there"), "x\n").expect("a file");
    assert_eq!(apply(&fleet, book, &[]).document["totals"]["ok"], 1);
    std::fs::write(fleet.host("alpha").home.join("there"), "evil\n").expect("a file");
    let path = fleet.write("play.toml", book).display().to_string();
    let ran = read(mutate(&fleet, &["drift", &path, "--json"]).output().expect("the program runs"));
    assert_eq!(blamed(&ran, "alpha", "before").0, "hand", "{}", ran.document);
    // A task that acts in checks does not act here.
    let book = "hosts = 'alpha'\n[[task]]\nname = 'acts'\ncheck_mode = false\ncopy = { content = 'x', dest = '~/acted' }\n";
    let path = fleet.write("play.toml", book).display().to_string();
    assert_eq!(read(mutate(&fleet, &["drift", &path, "--json"]).output().expect("the program runs")).exit, 2);
    assert!(!fleet.host("alpha").home.join("acted").exists());
    // In a check it does, and the journal knows.
    let ran = apply(&fleet, book, &["--check"]);
    assert!(ran.exit == 0 && fleet.host("alpha").home.join("acted").exists(), "{}", ran.document);
    assert!(alone(&fleet, &["history"]).1.lines().next().is_some_and(|line| line.contains("apply")));
}
