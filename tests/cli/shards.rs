//! One run in several parts: which hosts each of them works on, what is refused, and what the journal makes of them.

use std::process::Stdio;

use serde_json::Value;

use super::{Fleet, Ran, alone, apply, mutate, one, read};
use crate::fleet::Faults;

const BOOK: &str = "hosts = 'all'\n[[task]]\nname = 'motd'\ncopy = { content = 'hello', dest = '~/motd' }\n";

fn fleet_of(count: usize) -> Fleet {
    let names: Vec<String> = (1..=count).map(|number| format!("web{number:02}")).collect();
    Fleet::start(&names.iter().map(String::as_str).collect::<Vec<_>>(), &Faults::default())
}

/// Runs parts side by side, each with these words, and gives what they came to.
pub fn parts(fleet: &Fleet, of: u32, words: &[&str]) -> Vec<Ran> {
    let start = |number: u32| {
        let shard = format!("{number}/{of}");
        let words = [words, &["--output", "json", "--shard", &shard]].concat();
        mutate(fleet, &words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs")
    };
    let started: Vec<_> = (1..=of).map(start).collect();
    started.into_iter().map(|child| read(child.wait_with_output().expect("it ends"))).collect()
}

pub fn history(fleet: &Fleet) -> Vec<Value> {
    let (_, text) = alone(fleet, &["history", "--output", "json"]);
    let document: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    document["runs"].as_array().expect("runs").clone()
}

fn hosts(ran: &Ran) -> Vec<String> {
    ran.document["hosts"].as_object().map(|hosts| hosts.keys().cloned().collect()).unwrap_or_default()
}

#[test]
fn parts_make_one_run() {
    let fleet = fleet_of(12);
    let book = fleet.write("play.toml", BOOK).display().to_string();
    let ran = parts(&fleet, 3, &["apply", &book, "--run-id", "deploy-4711", "--reason", "all of it"]);
    assert!(ran.iter().all(|ran| ran.exit == 0), "{:?}", ran.iter().map(|ran| &ran.stderr).collect::<Vec<_>>());
    let mut all: Vec<String> = ran.iter().flat_map(hosts).collect();
    all.sort();
    assert_eq!(all, fleet.hosts.iter().map(|host| host.name.clone()).collect::<Vec<_>>());
    assert!(ran.iter().all(|ran| ran.document["run"] == "deploy-4711" && !hosts(ran).is_empty()));
    assert!(fleet.hosts.iter().all(|host| host.home.join("motd").exists() && host.home.join(".local/state/mutate/runs/deploy-4711/ledger").exists()));
    let runs = history(&fleet);
    let run = &runs[0];
    assert_eq!((runs.len(), &run["id"], &run["exit"], &run["totals"]["changed"], &run["reason"]), (1, &"deploy-4711".into(), &0.into(), &12.into(), &"all of it".into()), "{run}");
    let shards: Vec<&str> = run["shards"].as_array().expect("parts").iter().map(|part| part["shard"].as_str().expect("a name")).collect();
    assert_eq!(shards, ["1/3", "2/3", "3/3"]);
    assert!(run["shards"].as_array().expect("parts").iter().all(|part| part["exit"] == 0 && part["ended"].is_string()), "{run}");
    assert!(run["shards"].as_array().expect("parts").iter().all(|part| run["seconds"].as_f64() >= part["seconds"].as_f64()), "{run}");
    let (exit, shown) = alone(&fleet, &["show", "deploy-4711", "--output", "json"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!((exit, shown["hosts"].as_object().map(serde_json::Map::len)), (0, Some(12)), "{shown}");
    let path = fleet.host("web07").home.join("motd").display().to_string();
    assert!(super::alone(&fleet, &["blame", "web07", &path]).1.contains("deploy-4711"));
    let ledger = String::from_utf8(mutate(&fleet, &["blame", "web07", &path, "--ledger"]).output().expect("the program runs").stdout).expect("text");
    assert!(ledger.starts_with("20") && ledger.contains("deploy-4711") && ledger.contains(" shard "), "{ledger}");
    assert_eq!(alone(&fleet, &["audit"]), (0, "the chain holds: 1 runs are as they were when they ended\n".into()));
    let back = read(mutate(&fleet, &["rollback", "DEPLOY-4711", "--output", "json"]).output().expect("the program runs"));
    assert_eq!((back.exit, hosts(&back).len()), (0, 12), "{} {}", back.document, back.stderr);
    assert!(!fleet.hosts.iter().any(|host| host.home.join("motd").exists()));
    assert_eq!(alone(&fleet, &["audit"]).0, 0);
}

#[test]
fn the_worst_part_counts_and_each_begins_once() {
    let fleet = fleet_of(6);
    let book = fleet.write("play.toml", &format!("{BOOK}[[task]]\nname = 'breaks'\ncommand = {{ cmd = 'test ! -e broken', probe = true }}\n")).display().to_string();
    std::fs::write(fleet.host("web03").home.join("broken"), "").expect("a file");
    let words = ["apply", &book, "--run-id", "x1"];
    let ran = parts(&fleet, 2, &words);
    let mut exits: Vec<i32> = ran.iter().map(|ran| ran.exit).collect();
    exits.sort_unstable();
    assert_eq!((exits, &history(&fleet)[0]["exit"]), (vec![0, 4], &4.into()), "{:?}", ran.iter().map(|ran| &ran.stderr).collect::<Vec<_>>());
    // Once more is no part of this run.
    let before: Vec<usize> = fleet.hosts.iter().map(crate::fleet::Host::connections).collect();
    for (shard, reason) in [("1/2", "is in the journal already"), ("1/3", "has 2 parts, not 3")] {
        let again = apply(&fleet, BOOK, &["--run-id", "x1", "--shard", shard]);
        assert!(again.exit == 1 && again.stderr.contains(reason) && again.stderr.contains("--run-id"), "{}", again.stderr);
    }
    let other = mutate(&fleet, &["run", "all", "--run-id", "x1", "--shard", "2/2", "--", "true"]).output().expect("the program runs");
    assert_eq!(other.status.code(), Some(1), "{other:?}");
    assert_eq!(before, fleet.hosts.iter().map(crate::fleet::Host::connections).collect::<Vec<_>>());
    // Where the journal is another one, the hosts know.
    let elsewhere = fleet.folder.path().join("other.db").display().to_string();
    for host in &fleet.hosts {
        std::fs::remove_file(host.home.join("motd")).expect("a file");
    }
    let again = parts(&fleet, 2, &["apply", &book, "--run-id", "x1", "--journal", &elsewhere]);
    for ran in &again {
        assert_eq!(ran.exit, 4, "{} {}", ran.document, ran.stderr);
        assert!(ran.document.to_string().contains("this host has a run named x1 already, by "), "{}", ran.document);
    }
    assert!(!fleet.hosts.iter().any(|host| host.home.join("motd").exists() || host.home.join(".local/state/mutate/lock").exists()));
    // Another name is another run.
    assert_eq!(parts(&fleet, 2, &["apply", &book, "--run-id", "x2", "-x", "web03"]).iter().map(|ran| ran.exit).sum::<i32>(), 0);
    assert_eq!(alone(&fleet, &["audit"]).0, 0);
}

#[test]
fn files_are_the_same_for_all_parts() {
    let fleet = fleet_of(4);
    assert_eq!(apply(&fleet, BOOK, &["--run-id", "x1", "--shard", "1/2"]).exit, 0);
    let ran = apply(&fleet, &BOOK.replace("hello", "other"), &["--run-id", "x1", "--shard", "2/2"]);
    assert!(ran.exit == 1 && ran.stderr.contains("play.toml` is not what it was"), "{}", ran.stderr);
    // As long as a part is missing, the run has not ended.
    let (_, text) = alone(&fleet, &["history"]);
    assert!(text.contains("never ended, 1 of 2 shards have"), "{text}");
    // `resolve` leaves a part its turn.
    assert_eq!(mutate(&fleet, &["resolve"]).output().expect("the program runs").status.code(), Some(0));
    assert_eq!(apply(&fleet, BOOK, &["--run-id", "x1", "--shard", "2/2"]).exit, 0);
    assert_eq!(history(&fleet)[0]["exit"], 0);
}

#[test]
fn what_parts_cannot_keep_is_refused_with_its_place() {
    let fleet = fleet_of(2);
    let play = |keys: &str, task: &str| format!("hosts = 'all'\n{keys}\n[[task]]\nping = {{}}\n{task}\n");
    let two = "[[play]]\nhosts = 'all'\n[[play.task]]\nping = {}\n\n[[play]]\nhosts = 'web01'\n[[play.task]]\nping = {}\n";
    for (book, place, checks) in [
        (play("serial = 1", ""), "play.toml:2:", true),
        (play("serial = ['50%', '100%']", ""), "play.toml:2:", true),
        (play("max_fail = 1", ""), "play.toml:2:", true),
        (play("on_failure = 'rollback'", ""), "play.toml:2:", true),
        (play("", "barrier = true"), "play.toml:5:", true),
        (play("", "throttle = 1"), "play.toml:5:", true),
        (play("", "run_once = true"), "play.toml:5:", false),
        (play("", "[[task]]\nblock = [{ ping = {}, run_once = true }]"), "play.toml:6:", false),
        (play("", "[[task]]\nadd_host = { name = 'new1' }"), "play.toml:6:", false),
        (two.to_owned(), "play.toml:7:", true),
    ] {
        let ran = apply(&fleet, &book, &["--shard", "1/2"]);
        assert!(ran.exit == 1 && ran.stderr.contains("error[shard]") || ran.stderr.contains("shard"), "{book}: {}", ran.stderr);
        assert!(ran.exit == 1 && ran.stderr.contains(place) && ran.stderr.contains('^') && ran.stderr.contains("help"), "{book}: {}", ran.stderr);
        // What only orders changes does not matter where nothing is changed.
        let ran = apply(&fleet, &book, &["--shard", "1/2", "--check"]);
        assert_eq!(ran.exit == 0, checks, "{book}: {}", ran.stderr);
        let whole = apply(&fleet, &book, &["--shard", "1/1", "--check"]);
        assert_eq!(whole.exit, 0, "{book}: {}", whole.stderr);
    }
    for (book, words) in [
        (play("serial = '100%'\nmax_fail = '10%'", ""), &[][..]),
        (play("max_fail = 0", ""), &[]),
        (two.to_owned(), &["--plays-overlap"]),
        (play("", "barrier = true\ntags = ['x']"), &["--skip-tags", "x"]),
    ] {
        let ran = apply(&fleet, &book, &[words, &["--shard", "1/2"]].concat());
        assert_eq!(ran.exit, 0, "{book}: {}", ran.stderr);
    }
    assert!(fleet.hosts.iter().all(|host| host.commands() > 0));
    let bad = |words: &[&str]| apply(&fleet, BOOK, words);
    for words in [&["--shard", "0/2"][..], &["--shard", "3/2"], &["--run-id", "a/b"], &["--run-id", ".."], &["--plays-overlap"]] {
        assert_eq!(bad(words).exit, 1, "{words:?}");
    }
    assert!(bad(&["--shard", "0/2"]).stderr.contains("JOB_COMPLETION_INDEX + 1"));
    // What is wrong for a host of another part is told by every part.
    let wrong = "hosts = 'all'\n[[task]]\ncopy = { content = 'x', dest = '~/{{ nothing }}' }\n";
    assert_eq!((bad(&["--shard", "1/2"]).exit, apply(&fleet, wrong, &["--shard", "1/2"]).exit, apply(&fleet, wrong, &["--shard", "2/2"]).exit), (0, 1, 1));
}

#[test]
fn a_part_without_hosts_has_nothing_to_do() {
    let fleet = one();
    let book = fleet.write("play.toml", BOOK).display().to_string();
    let ran = parts(&fleet, 3, &["apply", &book, "--run-id", "x1"]);
    assert!(ran.iter().all(|ran| ran.exit == 0), "{:?}", ran.iter().map(|ran| &ran.stderr).collect::<Vec<_>>());
    let counts: Vec<usize> = ran.iter().map(|ran| hosts(ran).len()).collect();
    assert_eq!(counts.iter().sum::<usize>(), 1, "{counts:?}");
    assert_eq!(history(&fleet)[0]["exit"], 0);
    let empty = counts.iter().position(|count| *count == 0).expect("a part without hosts") + 1;
    let shard = format!("{empty}/3");
    for words in [&["apply", &book][..], &["plan", &book], &["drift", &book], &["run", "all"], &["do", "all", "ping"]] {
        let mut words = [words, &["--shard", &shard]].concat();
        if words[0] == "run" {
            words.extend(["--", "true"]);
        }
        let output = mutate(&fleet, &words).output().expect("the program runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code() == Some(0) && said.contains(&format!("shard {shard} of the run ")) && said.contains("0 of 1 hosts; there is nothing to do here"),
            "{words:?}: {output:?}"
        );
    }
    // That no host is meant at all is another thing.
    assert_eq!(apply(&fleet, BOOK, &["--shard", &shard, "-l", "nobody"]).exit, 3);
}

#[test]
fn checks_and_commands_are_divided_too() {
    let fleet = fleet_of(8);
    let book = fleet.write("play.toml", BOOK).display().to_string();
    let count = |ran: &[Ran]| ran.iter().map(|ran| hosts(ran).len()).sum::<usize>();
    let ran = parts(&fleet, 2, &["drift", &book, "--run-id", "d1"]);
    assert_eq!((ran.iter().map(|ran| ran.exit).collect::<Vec<_>>(), count(&ran), &history(&fleet)[0]["exit"]), (vec![2, 2], 8, &2.into()));
    assert_eq!(count(&parts(&fleet, 4, &["plan", &book])), 8);
    assert_eq!(count(&parts(&fleet, 3, &["do", "all", "copy", "content=x", "dest=~/x", "--run-id", "d2"])), 8);
    assert!(fleet.hosts.iter().all(|host| host.home.join("x").exists()));
    let script = fleet.write("s.sh", "echo hi\n").display().to_string();
    let output = |shard: &str| mutate(&fleet, &["script", "-N", "--shard", shard, "all", &script]).output().expect("the program runs").stdout;
    assert_eq!([output("1/2"), output("2/2")].concat(), b"hi\n".repeat(8));
    // A saved plan holds the hosts of all parts, or of one.
    let plan = fleet.folder.path().join("all.plan").display().to_string();
    assert_eq!(mutate(&fleet, &["plan", &book, "-o", &plan]).output().expect("the program runs").status.code(), Some(0));
    assert_eq!(count(&parts(&fleet, 2, &["apply", &plan, "--run-id", "d3"])), 8);
    assert!(fleet.hosts.iter().all(|host| host.home.join("motd").exists()));
    assert_eq!(alone(&fleet, &["audit"]).0, 0);
}

#[test]
fn parts_may_delegate_to_the_same_host() {
    let fleet = fleet_of(8);
    let book = "hosts = 'all,!web01'\n[[task]]\nname = 'told'\ncopy = { content = '{{ host.name }}', dest = '~/of-{{ host.name }}' }\ndelegate_to = 'web01'\n[[task]]\nname = 'own'\ncopy = { content = 'x', dest = '~/own' }\n";
    let book = fleet.write("play.toml", book).display().to_string();
    let ran = parts(&fleet, 3, &["apply", &book, "--run-id", "x1"]);
    assert!(ran.iter().all(|ran| ran.exit == 0), "{:?}", ran.iter().map(|ran| (ran.document.to_string(), ran.stderr.clone())).collect::<Vec<_>>());
    let made = || fleet.hosts.iter().filter(|host| fleet.host("web01").home.join(format!("of-{}", host.name)).exists()).count();
    assert_eq!((made(), &history(&fleet)[0]["totals"]["changed"]), (7, &14.into()));
    let back = read(mutate(&fleet, &["rollback", "x1", "--output", "json"]).output().expect("the program runs"));
    assert_eq!((back.exit, made()), (0, 0), "{} {}", back.document, back.stderr);
}

#[test]
fn a_part_that_was_killed_is_settled_and_the_run_continued() {
    let fleet = fleet_of(4);
    let slow = format!(
        "{BOOK}[[task]]\nname = 'slow'\nshell = {{ cmd = 'echo slow >>log; sleep 2', always = true }}\n[[task]]\nname = 'last'\nshell = {{ cmd = 'echo last >>log', always = true }}\n"
    );
    let book = fleet.write("play.toml", &slow).display().to_string();
    let words = ["apply", &book, "--run-id", "x1", "--shard"];
    let start = |shard: &str| mutate(&fleet, &[&words[..], &[shard]].concat()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program runs");
    let (mut first, mut second) = (start("1/2"), start("2/2"));
    super::faults::wait_for(&fleet.host("web01").home.join("log"));
    // The owner of the first host; see `shards_never_move`.
    first.kill().expect("it can be killed");
    first.wait().expect("it ends");
    assert!(second.wait().expect("it ends").success());
    let (_, text) = alone(&fleet, &["history"]);
    assert!(text.contains("never ended, 1 of 2 shards have"), "{text}");
    // It is not begun a second time, and nothing is done.
    let again = mutate(&fleet, &[&words[..], &["1/2"]].concat()).output().expect("the program runs");
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.code() == Some(1) && said.contains("and has not ended") && said.contains("mutate resume x1"), "{said}");
    std::thread::sleep(std::time::Duration::from_millis(3500));
    let resolved = mutate(&fleet, &["resolve"]).output().expect("the program runs");
    assert_eq!(resolved.status.code(), Some(0), "{resolved:?}");
    assert_eq!((&history(&fleet)[0]["exit"], alone(&fleet, &["audit"]).0), (&7.into(), 0));
    // It goes on as one run, on the hosts that were left.
    let (exit, said) = {
        let output = std::process::Command::new(super::program())
            .args(["resume", "x1"])
            .env_clear()
            .env("HOME", fleet.folder.path().join("controller"))
            .env("PATH", "/usr/bin:/bin")
            .output()
            .expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout))
    };
    assert_eq!(exit, Some(0), "{said}");
    let logs: Vec<String> = fleet.hosts.iter().map(|host| std::fs::read_to_string(host.home.join("log")).unwrap_or_default()).collect();
    assert!(logs.iter().all(|log| log == "slow\nlast\n"), "{logs:?} {said}");
    let continued = &history(&fleet)[0];
    assert!(continued["reason"] == "continues x1" && continued.get("shards").is_none(), "{continued}");
    assert_eq!(alone(&fleet, &["audit"]).0, 0);
}

#[test]
fn a_password_for_the_journal_is_shown_nowhere() {
    let fleet = one();
    let book = fleet.write("play.toml", BOOK).display().to_string();
    let url = "postgres://bob:geheim@127.0.0.1:1/x";
    for words in [&["apply", &book][..], &["drift", &book], &["rollback"]] {
        let words = [words, &["--journal", url]].concat();
        let output = mutate(&fleet, &words).output().expect("the program runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(!said.contains("geheim") && said.contains("postgres://bob@127.0.0.1:1/x") && said.contains("with `ps`") && output.status.code() == Some(1), "{words:?}: {said}");
    }
    assert!(!fleet.host("alpha").home.join("motd").exists());
    // Nor in a journal that is found by the environment.
    let db = fleet.folder.path().join("own/journal.db");
    let mut command = mutate(&fleet, &["apply", &book, "-e", "x=postgres://bob:geheim@db/x"]);
    assert_eq!(command.env("MUTATE_JOURNAL", &db).output().expect("the program runs").status.code(), Some(0));
    let bytes = std::fs::read(&db).expect("a journal");
    assert!(!bytes.windows(6).any(|part| part == b"geheim") && !fleet.folder.path().join("controller/.local/state/mutate/journal.db").exists());
    let told = mutate(&fleet, &["history"]).env("MUTATE_JOURNAL", "postgres://bob:geh%zz@db/x").output().expect("the program runs");
    assert!(told.status.code() == Some(1) && !String::from_utf8_lossy(&told.stderr).contains("geh"), "{told:?}");
}
