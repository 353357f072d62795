//! What on hosts is not as its package has brought it, and is in no playbook. The hosts are this machine, so only what holds on any
//! machine is looked at; what the package managers say is the business of `tests/shell/unmanaged.sh` and `tests/lab.rs`.

use serde_json::Value;

use super::{Faults, Fleet, Ran, alone, mutate, one, read, two};

fn unmanaged(fleet: &Fleet, words: &[&str]) -> Ran {
    read(mutate(fleet, &[&["unmanaged"], words, &["--patience", "1", "--output", "json"]].concat()).output().expect("the program runs"))
}

fn found<'a>(ran: &'a Ran, path: &str) -> Option<&'a Value> {
    ran.document["hosts"]["alpha"]["found"].as_array().expect("a list").iter().find(|one| one["path"] == path)
}

#[test]
fn what_no_playbook_looks_after_is_listed() {
    let fleet = one();
    let ran = unmanaged(&fleet, &["alpha"]);
    let host = &ran.document["hosts"]["alpha"];
    assert_eq!((ran.exit, ran.document["command"].as_str(), host["outcome"].as_str()), (0, Some("unmanaged"), Some("ok")), "{} {}", ran.document, ran.stderr);
    let all = host["found"].as_array().expect("a list");
    if host["manager"] == "none" {
        assert!(all.is_empty() && host["unseen"].to_string().contains("no package manager"), "{host}");
        return;
    }
    // Accounts are nobody's, and on every host.
    assert!(found(&ran, "/etc/passwd").is_none() && found(&ran, "/etc/machine-id").is_none(), "{host}");
    let is_good = |one: &Value| ["differs", "missing", "extra"].contains(&one["kind"].as_str().expect("a kind")) && one["path"].as_str().is_some_and(|path| path.starts_with('/'));
    assert!(all.iter().all(is_good), "{host}");
    let Some(some) = all.iter().find(|one| one["kind"] == "extra" && one["target"].is_null()) else { return };
    let path = some["path"].as_str().expect("a path");
    assert!(some["package"].is_null() && some["owner"].is_string() && some["when"].as_str().is_some_and(|when| when.ends_with('Z')), "{some}");
    assert_eq!(unmanaged(&fleet, &["alpha", "--detailed-exitcode"]).exit, 2);
    // In a playbook.
    let book = fleet.write("play.toml", &format!("hosts = 'all'\n[[task]]\nfile = {{ path = '{path}' }}\n")).display().to_string();
    let ran = unmanaged(&fleet, &["alpha", &book]);
    assert!(ran.exit == 0 && found(&ran, path).is_none(), "{path}: {}", ran.document);
    // Ignored, for this host and for another.
    let ran = unmanaged(&fleet, &["alpha", "--ignore", &format!("al*:{path}")]);
    assert_eq!(found(&ran, path).expect("marked")["excused"], "ignored");
    assert_eq!(found(&unmanaged(&fleet, &["alpha", "--ignore", &format!("beta:{path}")]), path).expect("found")["excused"], Value::Null);
    // Held.
    assert_eq!(alone(&fleet, &["hold", "alpha", path, "--reason", "later"]).0, 0);
    let ran = unmanaged(&fleet, &["alpha"]);
    assert_eq!(found(&ran, path).expect("marked")["excused"], "held");
    let say = |words: &[&str]| {
        let output = mutate(&fleet, &[&["unmanaged", "alpha", "--patience", "1"], words].concat()).output().expect("the program runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let (short, long) = (say(&[]), say(&["-v"]));
    assert!(short.contains("1 held; `-v` shows them") && !short.contains(&format!("\n  {path}  ")), "{short}");
    assert!(long.contains(&format!("\n  {path}  belongs to no package\n    alpha: held until 20")), "{long}");
}

#[test]
fn a_playbook_whose_check_fails_is_told_of() {
    let fleet = one();
    let book = fleet.write("play.toml", "hosts = 'all'\n[[task]]\nname = 'odd'\nfile = { path = '~/nothing', mode = '0644' }\n[[task]]\nfile = { path = '/etc/hosts' }\n").display().to_string();
    let ran = unmanaged(&fleet, &["alpha", &book]);
    assert!(ran.document["hosts"]["alpha"]["unseen"].to_string().contains("the tasks behind `odd`"), "{}", ran.document);
}

#[test]
fn hosts_that_cannot_be_asked_are_told() {
    let fleet = Fleet::start(&["alpha"], &Faults { refuse_login: true, ..Faults::default() });
    let ran = unmanaged(&fleet, &["alpha"]);
    assert_eq!((ran.exit, ran.document["hosts"]["alpha"]["outcome"].as_str()), (5, Some("unreachable")), "{}", ran.document);
    let fleet = two();
    let ran = unmanaged(&fleet, &["nobody"]);
    assert!(ran.exit == 3 && ran.stderr.contains("nobody"), "{} {}", ran.exit, ran.stderr);
    let ran = unmanaged(&fleet, &["alpha,beta", "-x", "alpha,beta"]);
    assert!(ran.exit == 3 && ran.stderr.contains("no host matched"), "{} {}", ran.exit, ran.stderr);
    let ran = unmanaged(&fleet, &["alpha", "/nowhere.toml"]);
    assert!(ran.exit == 1 && ran.stderr.contains("/nowhere.toml"), "{} {}", ran.exit, ran.stderr);
}
