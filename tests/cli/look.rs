//! What can be learnt of hosts without working on them: their keys, and the way to them.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{Faults, Fleet, Ran, one, read};

/// An inventory that pins no keys; and where the controller looks for them.
fn unpinned(fleet: &Fleet) -> PathBuf {
    let path = fleet.folder.path().join("unpinned.toml");
    if path.exists() {
        return path;
    }
    let text = std::fs::read_to_string(&fleet.inventory).expect("the inventory");
    let text: Vec<String> = text.lines().map(|line| line.split(", host_key").next().map_or_else(String::new, |rest| if rest == line { line.to_owned() } else { format!("{rest} }}") })).collect();
    std::fs::write(&path, text.join("\n")).expect("an inventory");
    path
}

fn call(fleet: &Fleet, words: &[&str]) -> Ran {
    let home = fleet.folder.path().join("controller");
    std::fs::create_dir_all(&home).expect("a home for the controller");
    let mut command = Command::new(super::program());
    command.arg(words[0]).arg("-i").arg(unpinned(fleet)).args(&words[1..]).args(["--output", "json"]);
    command.env_clear().env("HOME", home).env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    read(command.output().expect("the program runs"))
}

fn known_hosts(fleet: &Fleet) -> String {
    std::fs::read_to_string(fleet.folder.path().join("controller/.ssh/known_hosts")).unwrap_or_default()
}

#[test]
fn keys_are_shown_then_added_and_then_known() {
    let fleet = Fleet::start(&["alpha", "beta"], &Faults::default());
    assert_eq!(call(&fleet, &["ping"]).exit, 5, "nobody is believed at first sight");
    let shown = call(&fleet, &["hostkeys", "--check"]);
    assert_eq!((shown.exit, &shown.document["hosts"]["alpha"]["message"]), (0, &"new".into()), "{}", shown.document);
    assert!(shown.document["hosts"]["alpha"]["fingerprint"].as_str().is_some_and(|text| text.starts_with("SHA256:")));
    assert_eq!(known_hosts(&fleet), "");
    let added = call(&fleet, &["hostkeys"]);
    assert_eq!((added.exit, &added.document["hosts"]["beta"]["message"]), (0, &"added".into()), "{}", added.document);
    assert_eq!(known_hosts(&fleet).lines().count(), 2);
    assert_eq!(call(&fleet, &["hostkeys"]).document["hosts"]["beta"]["message"], "known");
    assert_eq!((known_hosts(&fleet).lines().count(), call(&fleet, &["ping"]).exit), (2, 0));
}

#[test]
fn a_key_that_has_changed_is_not_added_and_told_nothing() {
    let fleet = one();
    let port = fleet.host("alpha").port;
    let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";
    let folder = fleet.folder.path().join("controller/.ssh");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("known_hosts"), format!("[127.0.0.1]:{port} {other}\n")).expect("a file");
    let looked = call(&fleet, &["hostkeys"]);
    assert_eq!(looked.exit, 4, "{}", looked.document);
    assert!(looked.document["hosts"]["alpha"]["message"].as_str().is_some_and(|text| text.contains("CHANGED")));
    let pinged = call(&fleet, &["ping", "--accept-new-host-keys"]);
    assert!(pinged.exit == 5 && pinged.document["hosts"]["alpha"]["message"].as_str().is_some_and(|text| text.contains("HAS CHANGED")), "{}", pinged.document);
    assert_eq!((fleet.host("alpha").keys(), known_hosts(&fleet).lines().count()), (0, 1), "not a byte of a login was sent");
}

#[test]
fn many_controllers_add_keys_at_the_same_time() {
    let names: Vec<String> = (1..=20).map(|number| format!("h{number}")).collect();
    let fleet = Fleet::start(&names.iter().map(String::as_str).collect::<Vec<_>>(), &Faults::default());
    unpinned(&fleet);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(call(&fleet, &["ping", "--accept-new-host-keys"]).exit, 0));
        }
    });
    let known = known_hosts(&fleet);
    assert_eq!((known.lines().count(), known.lines().all(|line| line.split(' ').count() == 3)), (20, true), "{known}");
}

#[test]
fn the_way_to_a_host_is_told_up_to_where_it_ends() {
    let stages = |ran: &Ran| -> Vec<(String, String)> {
        let steps = ran.document["hosts"]["alpha"]["steps"].as_array().expect("steps");
        steps.iter().map(|step| (step["task"].as_str().expect("a name").to_owned(), step["outcome"].as_str().expect("an outcome").to_owned())).collect()
    };
    let fleet = one();
    call(&fleet, &["hostkeys"]);
    let ran = call(&fleet, &["ping", "--why"]);
    let all = ["name", "route", "port", "banner", "key exchange", "host key", "login", "shell"];
    assert_eq!((ran.exit, stages(&ran)), (0, all.map(|name| (name.to_owned(), "ok".to_owned())).to_vec()), "{}", ran.document);
    let last = |faults: Faults, words: &[&str]| {
        let fleet = Fleet::start(&["alpha"], &faults);
        call(&fleet, &["hostkeys"]);
        let ran = call(&fleet, &[&["ping", "--why"], words].concat());
        assert_eq!(ran.exit, 5, "{}", ran.document);
        stages(&ran).pop().expect("a step").0
    };
    assert_eq!(last(Faults { refuse_login: true, ..Faults::default() }, &[]), "login");
    assert_eq!(last(Faults { shell: Some("/bin/false".into()), ..Faults::default() }, &[]), "shell");
    assert_eq!(last(Faults::default(), &["-b", "--become-user", "nobody-of-that-name", "--become-method", "doas"]), "become");
    assert_eq!(last(Faults { turned_away: 9, turned_away_with: "HTTP/1.1 400 Bad Request\r\n\r\n".into(), ..Faults::default() }, &[]), "banner");
    let unknown = one();
    assert_eq!(stages(&call(&unknown, &["ping", "--why"])).pop().expect("a step").0, "host key");
    let closed = one();
    let text = std::fs::read_to_string(unpinned(&closed)).expect("the inventory").replace(&closed.host("alpha").port.to_string(), "1");
    std::fs::write(closed.folder.path().join("unpinned.toml"), text).expect("an inventory");
    assert_eq!(stages(&call(&closed, &["ping", "--why"])).pop().expect("a step").0, "port");
}

#[test]
fn a_key_that_was_accepted_as_new_is_not_replaced_by_another_in_the_same_run() {
    use mutate::remote::{HostFailure, learn_host_key};
    use russh::keys::PublicKey;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("known_hosts");
    let key = |text: &str| PublicKey::from_openssh(text).expect("a key");
    let one = key("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ");
    let other = key("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X");
    learn_host_key(&path, "web1", Some(22), &one).expect("it is new");
    learn_host_key(&path, "web1", Some(22), &one).expect("it is known");
    assert!(matches!(learn_host_key(&path, "web1", Some(22), &other), Err(HostFailure::HostKeyChanged { .. })));
    assert_eq!(std::fs::read_to_string(&path).expect("a file").lines().count(), 1);
    learn_host_key(std::path::Path::new("/dev/null"), "web1", Some(22), &one).expect("nothing is to be remembered");
}
