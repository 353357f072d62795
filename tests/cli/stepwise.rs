//! `apply --step`: each change is shown, and made when somebody says so.

use std::io::Write as _;
use std::process::{Output, Stdio};

use super::{Fleet, mutate};
use crate::fleet::Faults;

const BOOK: &str = "hosts = 'all'\n\
    [[task]]\nname = 'one'\ncopy = { content = \"new\\n\", dest = '~/one' }\n\
    [[task]]\nname = 'two'\ncopy = { content = 'x', dest = '~/two' }\nnotify = 'told'\n\
    [[task]]\nname = 'three'\ncommand = { cmd = 'touch three', creates = '~/three' }\n\
    [[handler]]\nname = 'told'\ncopy = { content = 'x', dest = '~/told' }\n";

/// Runs the playbook, with these answers on stdin.
fn stepwise(fleet: &Fleet, more: &[&str], answers: &str) -> Output {
    let book = fleet.write("book.toml", BOOK);
    let mut words = vec!["apply", book.to_str().expect("a path"), "--step"];
    words.extend(more);
    let mut child = mutate(fleet, &words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
    child.stdin.take().expect("a pipe").write_all(answers.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

fn there(fleet: &Fleet, host: &str) -> Vec<&'static str> {
    ["one", "three", "told", "two"].into_iter().filter(|name| fleet.host(host).home.join(name).exists()).collect()
}

fn document(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn what_somebody_agrees_to_is_done_and_the_rest_is_left() {
    let fleet = Fleet::start(&["web1"], &Faults::default());
    std::fs::write(fleet.host("web1").home.join("one"), "old\n").expect("written");
    let ran = stepwise(&fleet, &["--output", "json"], "?\nyes\nn\nY\n");
    let (asked, told) = (String::from_utf8_lossy(&ran.stderr).into_owned(), document(&ran));
    assert_eq!((ran.status.code(), there(&fleet, "web1")), (Some(0), vec!["one", "three"]), "{asked} {told}");
    for part in ["web1: one  copy at ", "book.toml:3", "-old", "+new", "[y]es, [n]o", "leave it as it is", "web1: three  command at"] {
        assert!(asked.contains(part), "{part} is not in {asked}");
    }
    // Nothing has changed that would notify it.
    assert!(!asked.contains("told"), "{asked}");
    let outcomes: Vec<_> = told["hosts"]["web1"]["steps"].as_array().expect("steps").iter().map(|step| (step["outcome"].as_str(), step["message"].as_str())).collect();
    assert_eq!(outcomes.iter().map(|(outcome, _)| *outcome).collect::<Vec<_>>(), [Some("changed"), Some("skipped"), Some("changed")], "{told}");
    assert_eq!(outcomes[1].1, Some("left as it is, as you said"));
    // What is in place is not asked about.
    let again = stepwise(&fleet, &["--output", "json"], "n\n");
    assert_eq!((again.status.code(), document(&again)["totals"]["ok"].as_u64()), (Some(0), Some(2)), "{again:?}");
}

#[test]
fn a_task_on_all_hosts_and_everything_that_follows() {
    let fleet = Fleet::start(&["web1", "web2", "web3"], &Faults::default());
    // `one` once for all; then `two` on whichever host comes first, and all that follows.
    let ran = stepwise(&fleet, &[], "t\na\n");
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    assert_eq!(String::from_utf8_lossy(&ran.stderr).matches("change it?").count(), 2, "{ran:?}");
    for host in ["web1", "web2", "web3"] {
        assert_eq!(there(&fleet, host), ["one", "three", "told", "two"], "{ran:?}");
    }
}

#[test]
fn whoever_quits_gets_what_was_agreed_to_and_nothing_more() {
    for answers in ["y\nq\n", "y\n"] {
        let fleet = Fleet::start(&["web1"], &Faults::default());
        let ran = stepwise(&fleet, &[], answers);
        let asked = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!((ran.status.code(), there(&fleet, "web1")), (Some(130), vec!["one"]), "{asked}");
        assert_eq!(asked.contains("nobody answers"), answers.ends_with("y\n"), "{asked}");
        let free = mutate(&fleet, &["unlock", "all"]).output().expect("the program runs");
        assert!(!String::from_utf8_lossy(&free.stdout).contains("held by"), "{free:?}");
    }
}

#[test]
fn nothing_is_asked_where_nothing_is_changed_or_nobody_is_there() {
    let fleet = Fleet::start(&["web1"], &Faults::default());
    for other in [["--check"], ["--yes"], ["--cron"]] {
        let ran = stepwise(&fleet, &other, "a\n");
        assert_eq!((ran.status.code(), there(&fleet, "web1")), (Some(1), Vec::new()), "{ran:?}");
        assert!(String::from_utf8_lossy(&ran.stderr).contains("cannot be used with"), "{ran:?}");
    }
}
