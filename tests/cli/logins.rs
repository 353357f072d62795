//! Servers with little room, and ways to log in.

#![allow(clippy::print_stdout, reason = "a test that did not run says so, and one that measures says what")]

use std::process::{Command, Stdio};

use super::{Faults, Fleet, apply, mutate, read};

const PING: &str = "hosts = 'all'\n[[task]]\nping = {}\n";

#[test]
fn a_server_that_turns_us_away_at_first_is_asked_again() {
    for words in ["", "Exceeded MaxStartups\r\n", "Not allowed at this time\r\n"] {
        let fleet = Fleet::start(&["alpha"], &Faults { turned_away: 1, turned_away_with: words.into(), ..Faults::default() });
        let ran = apply(&fleet, PING, &[]);
        assert_eq!((ran.exit, fleet.host("alpha").connections()), (0, 2), "{words}: {}", ran.document);
    }
}

#[test]
fn what_is_no_ssh_server_is_not_asked_again() {
    let fleet = Fleet::start(&["alpha"], &Faults { turned_away: 9, turned_away_with: "HTTP/1.1 400 Bad Request\r\n\r\n".into(), ..Faults::default() });
    let ran = apply(&fleet, PING, &[]);
    assert_eq!((ran.exit, fleet.host("alpha").connections()), (5, 1), "{}", ran.document);
    assert!(ran.document["hosts"]["alpha"]["message"].as_str().is_some_and(|said| said.contains("HTTP/1.1 400 Bad Request")), "{}", ran.document);
}

#[test]
fn a_login_that_was_refused_is_not_tried_again() {
    let fleet = Fleet::start(&["alpha"], &Faults { refuse_login: true, ..Faults::default() });
    let ran = apply(&fleet, PING, &[]);
    assert_eq!((ran.exit, fleet.host("alpha").connections()), (5, 1), "{}", ran.document);
}

#[test]
fn a_server_that_allows_one_session_gets_uploads_too() {
    let fleet = Fleet::start(&["alpha"], &Faults { most_sessions: Some(1), ..Faults::default() });
    let large = "0123456789abcdef".repeat(10_000);
    fleet.write("large", &large);
    let playbook = "hosts = 'all'\n\
        [[task]]\ncopy = { content = 'before', dest = '~/before' }\n\
        [[task]]\ncopy = { src = 'large', dest = '~/large' }\nnotify = 'tell'\n\
        [[task]]\ncopy = { src = 'large', dest = '~/again' }\n\
        [[task]]\ncopy = { content = 'after', dest = '~/after' }\n\
        [[handler]]\nname = 'tell'\ncommand = { cmd = 'touch told', always = true }\n";
    let ran = apply(&fleet, playbook, &[]);
    assert_eq!((ran.exit, ran.outcomes("alpha")), (0, vec!["changed"; 5]), "{}", ran.document);
    let home = &fleet.host("alpha").home;
    for name in ["large", "again"] {
        assert_eq!(std::fs::read_to_string(home.join(name)).expect("the file"), large);
    }
    let again = apply(&fleet, playbook, &[]);
    assert_eq!(again.outcomes("alpha"), ["ok"; 4], "{}", again.document);
    assert_eq!(fleet.host("alpha").connections(), 2);
}

#[test]
fn a_server_that_allows_no_session_is_told_of() {
    let fleet = Fleet::start(&["alpha"], &Faults { most_sessions: Some(0), ..Faults::default() });
    let ran = apply(&fleet, PING, &[]);
    assert_eq!(ran.exit, 5, "{}", ran.document);
    assert!(ran.document["hosts"]["alpha"]["message"].as_str().is_some_and(|said| said.contains("MaxSessions")), "{}", ran.document);
}

/// A real `ssh-agent` that holds one key; it ends when this is dropped.
struct Agent {
    process: std::process::Child,
    socket: std::path::PathBuf,
}

impl Agent {
    fn with_key(fleet: &Fleet, key: &str) -> Option<Self> {
        let socket = fleet.folder.path().join("agent");
        let process = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn();
        let Ok(process) = process else {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "ssh-agent is missing");
            println!("this test did not run: it needs `ssh-agent` (package openssh-client)");
            return None;
        };
        let agent = Self { process, socket };
        let added = (0..50).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            let add = Command::new("ssh-add").arg(fleet.folder.path().join(key)).env("SSH_AUTH_SOCK", &agent.socket).stderr(Stdio::null()).status();
            add.is_ok_and(|status| status.success())
        });
        assert!(added, "the agent took no key");
        Some(agent)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.process.kill().expect("the agent can be ended");
        self.process.wait().expect("the agent ends");
    }
}

#[test]
fn the_agent_holds_the_key() {
    let fleet = Fleet::start(&["alpha"], &Faults::default());
    let Some(agent) = Agent::with_key(&fleet, "id_ed25519") else { return };
    let inventory = std::fs::read_to_string(&fleet.inventory).expect("the inventory");
    let without: String = inventory.lines().filter(|line| !line.starts_with("key")).map(|line| format!("{line}\n")).collect();
    std::fs::write(&fleet.inventory, without).expect("the inventory");
    let playbook = fleet.write("play.toml", PING).display().to_string();
    let words = ["apply", &playbook, "--output", "json"];
    let nobody = read(mutate(&fleet, &words).output().expect("the program runs"));
    assert_eq!(nobody.exit, 5, "{}", nobody.document);
    let ran = read(mutate(&fleet, &words).env("SSH_AUTH_SOCK", &agent.socket).output().expect("the program runs"));
    assert_eq!(ran.exit, 0, "{}", ran.document);
}
