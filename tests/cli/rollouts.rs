//! Batches, gates and what becomes of the rest when something goes wrong.

use super::{Fleet, Ran, apply, mutate};
use crate::fleet::Faults;

const HOSTS: [&str; 4] = ["a", "b", "c", "d"];

/// What became of a host in the first play.
fn fate(ran: &Ran, fleet: &Fleet, host: &str) -> &'static str {
    let found = &ran.document["hosts"][host];
    let is_there = fleet.host(host).home.join("f").exists();
    match (found["outcome"].as_str().unwrap_or_default(), found["rolled_back"].as_str()) {
        ("failed", Some("completely")) if !is_there => "undone",
        ("failed", None) if is_there => "failed",
        ("unreachable", None) if !is_there => "unreachable",
        ("skipped", None) if !is_there && found["steps"].as_array().is_none_or(Vec::is_empty) => "not started",
        ("changed", None) if is_there => "changed",
        other => panic!("{host}: {other:?}, {is_there}: {}", ran.document),
    }
}

#[test]
fn every_row_of_the_truth_table() {
    let text = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/rollouts.md")).expect("the page");
    let rows: Vec<Vec<&str>> = text.lines().filter(|line| line.starts_with("| ") && !line.contains('`')).map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect();
    assert_eq!(rows.len(), 2 * 3 * 3 * 3);
    let fleet = Fleet::start(&HOSTS, &Faults::default());
    let inventory = std::fs::read_to_string(&fleet.inventory).expect("an inventory");
    for row in rows {
        let [serial, wrong, max_fail, on_failure, fates @ .., next, exit] = row.as_slice() else { panic!("{row:?}") };
        for host in HOSTS {
            for file in ["f", "broken", "sick", "next"] {
                let _none = std::fs::remove_file(fleet.host(host).home.join(file));
            }
        }
        let b = fleet.host("b");
        let port = if *wrong == "unreachable" { 1 } else { b.port };
        std::fs::write(&fleet.inventory, inventory.replace(&format!("port = {},", b.port), &format!("port = {port},"))).expect("an inventory");
        match *wrong {
            "task" => std::fs::write(b.home.join("broken"), "").expect("a file"),
            "health" => std::fs::write(b.home.join("sick"), "").expect("a file"),
            _ => {}
        }
        let key = |name: &str, value: &str| if value == "none" { String::new() } else { format!("{name} = {value}\n") };
        let book = format!(
            "[[play]]\nhosts = 'a,b,c,d'\non_failure = '{on_failure}'\n{}{}\
             [[play.task]]\nname = 'f'\ncopy = {{ content = 'x', dest = '~/f' }}\n\
             [[play.task]]\nname = 'breaks'\ncommand = {{ cmd = 'test ! -e broken', probe = true }}\n\
             [[play.health]]\nname = 'well'\ncommand = 'test ! -e sick'\nretries = 1\ndelay = '10ms'\n\
             [[play]]\nhosts = 'a,b,c,d'\n[[play.task]]\nname = 'next'\ncopy = {{ content = 'x', dest = '~/next' }}\n",
            key("serial", serial),
            key("max_fail", max_fail)
        );
        let ran = apply(&fleet, &book, &[]);
        let found: Vec<&str> = HOSTS.iter().map(|host| fate(&ran, &fleet, host)).collect();
        assert_eq!(found, *fates, "{row:?} {}", ran.document);
        assert_eq!(ran.exit.to_string(), *exit, "{row:?} {}", ran.document);
        // The next play works on those that have not failed, or on nobody.
        for (host, fate) in HOSTS.iter().zip(&found) {
            assert_eq!(fleet.host(host).home.join("next").exists(), *next == "yes" && *fate == "changed", "{row:?} {host} {}", ran.document);
        }
    }
}

#[test]
fn a_gate_asks_again_and_waits_until_it_has_been_well_for_a_while() {
    let fleet = Fleet::start(&["a", "b"], &Faults::default());
    let book = |health: &str| format!("hosts = 'all'\nserial = 1\n[[task]]\nname = 'log'\nshell = {{ cmd = 'echo begun >>log', always = true }}\n[[health]]\nname = 'well'\n{health}\n");
    // It becomes well at the third question, and then has to stay so.
    let ran = apply(&fleet, &book("shell = 'echo asked >>log; [ $(grep -c asked log) -gt 2 ]'\nretries = 5\ndelay = '50ms'\nsoak = '200ms'"), &[]);
    assert_eq!(ran.exit, 0, "{} {}", ran.document, ran.stderr);
    let step = ran.step("a", "well");
    assert_eq!((step["outcome"].as_str(), step["health"].as_bool()), (Some("ok"), Some(true)));
    let asked = std::fs::read_to_string(fleet.host("a").home.join("log")).expect("a log").matches("asked").count();
    assert!(asked >= 5, "{asked}");
    // Well at first is not well for long.
    for host in ["a", "b"] {
        std::fs::remove_file(fleet.host(host).home.join("log")).expect("a log");
    }
    let ran = apply(&fleet, &book("shell = 'echo asked >>log; [ $(grep -c asked log) -lt 2 ]'\nretries = 1\ndelay = '20ms'\nsoak = '1m'"), &[]);
    let message = ran.step("a", "well")["message"].as_str().unwrap_or_default().to_owned();
    assert!(ran.exit == 4 && message.starts_with("not well after 2 tries: "), "{message} {}", ran.document);
    assert!(!fleet.host("b").home.join("log").exists());
    // A question changes nothing, and is none in a check.
    let ran = apply(&fleet, &book("file = { path = '~/made', state = 'touch' }\nretries = 0"), &[]);
    assert!(ran.exit == 4 && !fleet.host("a").home.join("made").exists(), "{}", ran.document);
    let ran = apply(&fleet, &book("command = 'false'"), &["--check"]);
    assert_eq!((ran.exit, ran.outcomes("a").len()), (0, 1), "{}", ran.document);
}

#[test]
fn slips_in_a_gate_are_told_before() {
    let fleet = Fleet::start(&["a"], &Faults::default());
    let wrong = |health: &str| apply(&fleet, &format!("hosts = 'all'\n[[task]]\nping = {{}}\n[[health]]\n{health}\n"), &[]);
    for (health, said) in [
        ("block = [{ ping = {} }]", "a `[[health]]` is one question"),
        ("ping = {}\nnotify = 'x'", "notifies nobody"),
        ("ping = {}\nuntil = 'true'", "has no `until`"),
        ("ping = {}\nignore_errors = true", "guards nothing"),
        ("pin = {}", "unknown module or key `pin` in a health"),
        ("command = '{{ nothing }}'", "`nothing`"),
        ("command = 'true'\nsoak = 'long'", "soak"),
    ] {
        let ran = wrong(health);
        assert!(ran.exit == 1 && ran.stderr.contains(said), "{health}: {}", ran.stderr);
    }
    let ran = apply(&fleet, "hosts = 'all'\n[[task]]\nping = {}\nsoak = '1s'\n", &[]);
    assert!(ran.exit == 1 && ran.stderr.contains("`soak` is for `[[health]]` alone"), "{}", ran.stderr);
}

#[test]
fn a_canary_that_is_not_well_is_the_only_host_that_is_touched() {
    let names: Vec<String> = (1..=20).map(|number| format!("web{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let fleet = Fleet::start(&names, &Faults::default());
    let home = |name: &str| fleet.host(name).home.clone();
    std::fs::write(home("web01").join("app.conf"), "old\n").expect("a file");
    let book = "hosts = 'all'\nserial = [1, '25%', '100%']\non_failure = 'rollback'\n\
        [[task]]\nname = 'configured'\ncopy = { content = \"new\\n\", dest = '~/app.conf' }\nnotify = 'restart'\n\
        [[task]]\nname = 'folder'\nfile = { path = '~/data', state = 'directory' }\n\
        [[handler]]\nname = 'restart'\nshell = { cmd = 'echo restarted >>app.log', always = true, undo = 'rm app.log' }\n\
        [[health]]\nname = 'the app answers'\ncommand = 'grep -q old app.conf'\nretries = 2\ndelay = '20ms'\n";
    let ran = apply(&fleet, book, &[]);
    assert_eq!(ran.exit, 6, "{} {}", ran.document, ran.stderr);
    assert_eq!(std::fs::read_to_string(home("web01").join("app.conf")).expect("a file"), "old\n");
    assert!(!home("web01").join("data").exists() && !home("web01").join("app.log").exists());
    for name in &names[1..] {
        let left: Vec<_> = std::fs::read_dir(home(name)).expect("a home").flatten().map(|entry| entry.file_name()).collect();
        assert!(left.is_empty(), "{name}: {left:?}");
        assert_eq!(ran.document["hosts"][name]["outcome"], "skipped");
    }
}

#[test]
fn a_gate_that_waits_or_is_asked_once_lets_nothing_pass() {
    let fleet = Fleet::start(&["a", "b", "c"], &Faults::default());
    let book = |health: &str| format!("hosts = 'all'\nserial = 1\n[[task]]\nname = 'only planned'\ncheck_mode = true\nfile = {{ path = '~/x', state = 'touch' }}\n[[task]]\nname = 'log'\nshell = {{ cmd = 'echo begun >>log', always = true }}\n[[health]]\nname = 'well'\nretries = 0\n{health}\n");
    for health in ["wait_for = { port = 1, timeout = 1 }", "uri = { url = 'http://127.0.0.1:1/' }"] {
        let ran = apply(&fleet, &book(health), &[]);
        assert_eq!((ran.exit, ran.step("a", "well")["outcome"].as_str()), (4, Some("failed")), "{health}: {}", ran.document);
        assert_eq!(ran.document["hosts"]["b"]["outcome"], "skipped");
    }
    let asked = fleet.folder.path().join("asked").display().to_string();
    let ran = apply(&fleet, &book(&format!("run_once = true\nshell = 'echo x >>{asked}; [ $(grep -c x {asked}) -lt 2 ]'")), &[]);
    assert_eq!((ran.exit, ran.document["hosts"]["c"]["outcome"].as_str()), (4, Some("skipped")), "{}", ran.document);
}

#[test]
fn what_a_batch_has_done_to_its_hosts_is_told_for_the_batch() {
    let fleet = Fleet::start(&["web1", "web2", "web3"], &Faults::default());
    let book = fleet.write("book.toml", "hosts = 'all'\nserial = [1, 2]\n[[task]]\ncopy = { content = 'x', dest = '~/f' }\n[[health]]\ncommand = 'test -e f'\n");
    let ran = mutate(&fleet, &["apply", &book.display().to_string()]).output().expect("the program runs");
    let told = String::from_utf8_lossy(&ran.stdout).into_owned();
    let at = |text: &str| told.find(text).unwrap_or_else(|| panic!("no `{text}` in {told}"));
    // After each batch, and before the next one.
    assert!(at("copy  web1") < at("impact       web1\n") && at("impact       web1\n") < at("load at most") && at("load at most") < at("copy  web[2-3]") && at("copy  web[2-3]") < at("impact       web[2-3]\n"), "{told}");
    assert!(ran.status.code() == Some(0) && at("impact       web[2-3]") < at("recap"), "{ran:?}");
}
