//! The first steps, and what shells and `man` want to know.

use std::process::Command;

use super::{alone, mutate, one, program};

#[test]
fn a_new_project_works_at_once() {
    let fleet = one();
    let folder = fleet.folder.path().join("new");
    std::fs::create_dir_all(&folder).expect("a folder");
    let home = fleet.folder.path().join("home");
    std::fs::create_dir_all(&home).expect("a home");
    let run = |words: &[&str]| {
        let output = Command::new(program()).args(words).current_dir(&folder).env_clear().env("HOME", &home).env("PATH", "/usr/bin:/bin").output().expect("the program runs");
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
    };
    let (exit, said) = run(&["init"]);
    assert!(exit == 0 && said.contains("mutate apply playbooks/first.toml"), "{said}");
    assert_eq!(run(&["plan", "playbooks/first.toml"]).0, 0);
    assert_eq!(run(&["apply", "playbooks/first.toml"]).0, 0);
    assert_eq!(std::fs::read_to_string(home.join("mutate-note")).expect("a note"), "hello from localhost\n");
    assert_eq!(run(&["rollback"]).0, 0);
    assert!(!home.join("mutate-note").exists());
    let (exit, said) = run(&["init"]);
    assert!(exit == 1 && said.contains("is there already, so nothing was written"), "{said}");
}

#[test]
fn a_variable_is_explained() {
    let fleet = one();
    let text = std::fs::read_to_string(&fleet.inventory).expect("an inventory");
    let text = text.replace("alpha = { ", "alpha = { vars = { port = 1 }, ");
    std::fs::write(&fleet.inventory, format!("{text}\n[groups.web]\nhosts = ['alpha']\nvars = {{ port = 2, only = '{{{{ port }}}}' }}\n")).expect("an inventory");
    let play = fleet.write("play.toml", "hosts = 'all'\nname = 'p'\nvars = { port = 3 }\n[[task]]\nname = 't'\nping = {}\nvars = { port = 4 }\n").display().to_string();
    let said = |words: &[&str]| {
        let output = mutate(&fleet, &[&["explain"], words].concat()).output().expect("the program runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
    };
    let (exit, text) = said(&["port", &play, "-e", "port=5"]);
    let levels: Vec<&str> = text.lines().filter_map(|line| line.rsplit_once('(')).map(|(_, level)| level.trim_end_matches(')')).collect();
    assert_eq!((exit, levels), (Some(0), vec!["-e", "task `t`", "play `p`", "host `alpha`", "group `web`"]), "{text}");
    assert!(text.lines().nth(1).is_some_and(|line| line.starts_with("  * 5")), "{text}");
    let (_, text) = said(&["only"]);
    assert!(text.starts_with("alpha: only is 1\n"), "{text}");
    assert_eq!(said(&["nothing"]).0, Some(1));
}

#[test]
fn shells_and_man_know_the_commands() {
    let fleet = one();
    for shell in ["bash", "zsh", "fish"] {
        let (exit, said) = alone(&fleet, &["completions", shell]);
        assert!(exit == 0 && said.contains("mutate") && said.contains("rollback"), "{shell}");
    }
    let folder = fleet.folder.path().join("man").display().to_string();
    assert_eq!(alone(&fleet, &["man", &folder]).0, 0);
    let page = std::fs::read_to_string(format!("{folder}/mutate-apply.1")).expect("a page");
    assert!(page.contains(".TH mutate-apply 1"), "{page}");
    assert!(alone(&fleet, &["man"]).1.contains(".TH mutate 1"));
}

#[test]
fn cron_is_told_what_to_run() {
    use std::os::unix::fs::PermissionsExt as _;
    let fleet = one();
    let bin = fleet.folder.path().join("bin");
    std::fs::create_dir_all(&bin).expect("a folder");
    let tab = fleet.folder.path().join("tab");
    std::fs::write(&tab, "0 1 * * * theirs\n").expect("a crontab");
    // One that keeps its lines in a file.
    std::fs::write(bin.join("crontab"), format!("#!/bin/sh\ncase $1 in -l) cat {0} ;; -) cat >{0} ;; esac\n", tab.display())).expect("a program");
    std::fs::set_permissions(bin.join("crontab"), std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let run = |words: &[&str]| {
        let path = format!("{}:/usr/bin:/bin", bin.display());
        let output = Command::new(program()).arg("schedule").args(words).env_clear().env("HOME", fleet.folder.path()).env("PATH", path).current_dir(fleet.folder.path()).output().expect("the program runs");
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
    };
    let (exit, said) = run(&["add", "nightly", "04:10", "drift", "my site.toml", "--prom", "/var/x%y.prom"]);
    assert_eq!(exit, 0, "{said}");
    let text = std::fs::read_to_string(&tab).expect("a crontab");
    let line = text.lines().nth(1).expect("a line");
    assert!(text.starts_with("0 1 * * * theirs\n10 4 * * * cd ") && line.contains("'my site.toml'") && line.contains("x\\%y") && line.ends_with("--cron # mutate:nightly"), "{text}");
    assert_eq!(run(&["add", "nightly", "30m", "drift", "site.toml"]).0, 0);
    assert!(run(&["list"]).1.starts_with("nightly  cron  */30 * * * * cd "));
    assert_eq!(std::fs::read_to_string(&tab).expect("a crontab").lines().count(), 2);
    let (exit, said) = run(&["add", "other", "daily", "--systemd", "--print", "apply", "site.toml"]);
    assert!(exit == 0 && said.contains("OnCalendar=*-*-* 04:00:00") && said.contains("ExecStart=/bin/sh -c \"exec "), "{said}");
    let (exit, said) = run(&["add", "other", "daily", "aply", "site.toml"]);
    assert!(exit == 1 && said.contains("cannot be run"), "{said}");
    assert_eq!(run(&["remove", "nightly"]).0, 0);
    assert_eq!(run(&["remove", "nightly"]).0, 1);
    assert_eq!(std::fs::read_to_string(&tab).expect("a crontab"), "0 1 * * * theirs\n");
}
