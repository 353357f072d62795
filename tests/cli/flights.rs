//! How often a run crosses the network. Counts, not times.

use std::time::Duration;

use super::{Faults, Fleet, apply, mutate, one};

fn many(count: usize) -> String {
    let mut playbook = String::from("hosts = 'all'\n");
    for number in 0..count {
        playbook.push_str(&format!("[[task]]\ncopy = {{ content = 'text {number}', dest = '~/file-{number}' }}\n"));
    }
    playbook
}

/// Turns of the traffic for a playbook that asks one harmless question: a login, a channel, and one flight.
fn least() -> usize {
    let fleet = one();
    assert_eq!(apply(&fleet, "hosts = 'all'\n[[task]]\nping = {}\n", &[]).exit, 0);
    fleet.host("alpha").turns()
}

#[test]
fn a_converged_playbook_of_any_length_takes_no_more_round_trips_than_one_question() {
    let fleet = one();
    assert_eq!(apply(&fleet, &many(50), &[]).document["totals"]["changed"], 50);
    // As below, the least of a few runs is what the protocol needs.
    let turns = (0..3).map(|_| {
        let before = fleet.host("alpha").turns();
        assert_eq!(apply(&fleet, &many(50), &[]).document["totals"]["ok"], 50);
        fleet.host("alpha").turns() - before
    });
    let turns = turns.min().expect("three runs");
    // A goodbye may or may not cross an acknowledgement.
    assert!(turns <= least() + 1, "{turns} turns");
}

#[test]
fn a_first_run_of_independent_changes_takes_two_round_trips_more() {
    // Replies that come in pieces, as a busy machine sends them, open the window piece by piece, and each piece counts. What the
    // protocol needs is the least of a few runs.
    let turns = (0..3).map(|_| {
        let fleet = one();
        assert_eq!(apply(&fleet, &many(50), &[]).document["totals"]["changed"], 50);
        fleet.host("alpha").turns()
    });
    let turns = turns.min().expect("three runs");
    assert!(turns <= least() + 3, "{turns} turns");
}

#[test]
fn edits_of_one_file_are_written_once_and_told_of_one_by_one() {
    let fleet = one();
    let home = fleet.host("alpha").home.clone();
    std::fs::write(home.join("conf"), "a = 0\nb = 0\nc = 0\n").expect("a file");
    let mut text = String::from("hosts = 'all'\n");
    for key in ["a", "b", "c"] {
        text.push_str(&format!("[[task]]\nname = '{key}'\nlineinfile = {{ path = '~/conf', regexp = '^{key} ', line = '{key} = 1' }}\n"));
        if key == "b" {
            text.push_str("notify = 'tell'\n");
        }
    }
    text.push_str("[[handler]]\nname = 'tell'\nshell = { cmd = 'echo told >>~/told', always = true }\n");
    let ran = apply(&fleet, &text, &[]);
    assert_eq!(ran.exit, 0, "{} {}", ran.document, ran.stderr);
    let steps = ran.document["hosts"]["alpha"]["steps"].as_array().expect("steps").clone();
    for (step, key) in steps.iter().zip(["a", "b", "c"]) {
        assert_eq!((&step["task"], &step["outcome"]), (&key.into(), &"changed".into()), "{step}");
        let diff = step["diff"].as_str().expect("a diff");
        let changed: Vec<&str> = diff.lines().filter(|line| line.starts_with(['-', '+']) && !line.starts_with("---") && !line.starts_with("+++")).collect();
        assert_eq!(changed, [format!("-{key} = 0"), format!("+{key} = 1")], "{diff}");
    }
    assert_eq!(std::fs::read_to_string(home.join("conf")).expect("the file"), "a = 1\nb = 1\nc = 1\n");
    assert_eq!(std::fs::read_to_string(home.join("told")).expect("told"), "told\n");
    let state = home.join(".local/state/mutate");
    let contents = || std::fs::read_dir(state.join("store")).expect("the store").flatten().filter(|entry| entry.file_name().len() == 64).count();
    assert_eq!(contents(), 1, "it was written once, so one content was kept");
    assert_eq!(apply(&fleet, &text, &[]).document["totals"]["ok"], 3);
    let run = ran.document["run"].as_str().expect("a run").to_owned();
    // A handler that has told cannot be taken back; what is in files can.
    std::fs::remove_file(home.join("told")).expect("a file");
    let output = mutate(&fleet, &["rollback", &run, "--yes"]).output().expect("the program runs");
    assert_eq!(std::fs::read_to_string(home.join("conf")).expect("the file"), "a = 0\nb = 0\nc = 0\n", "{}", String::from_utf8_lossy(&output.stdout));
    let output = mutate(&fleet, &["rollback", "--yes"]).output().expect("the program runs");
    assert_eq!(std::fs::read_to_string(home.join("conf")).expect("the file"), "a = 1\nb = 1\nc = 1\n", "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn what_is_made_together_is_told_of_one_by_one() {
    let fleet = one();
    let home = fleet.host("alpha").home.clone();
    std::fs::write(home.join("in-the-way"), "").expect("a file");
    let mut text = many(3);
    text.push_str("[[task]]\ncopy = { content = 'x', dest = '~/in-the-way/file' }\n[[task]]\ncopy = { content = 'x', dest = '~/never' }\n");
    let ran = apply(&fleet, &text, &[]);
    let outcomes: Vec<&str> = ran.document["hosts"]["alpha"]["steps"].as_array().expect("steps").iter().map(|step| step["outcome"].as_str().expect("an outcome")).collect();
    assert_eq!(outcomes, ["changed", "changed", "changed", "failed"], "{}", ran.document);
    assert_eq!((ran.exit, home.join("file-2").exists(), home.join("never").exists()), (4, true, false));
    // A folder that has come to be a file just before.
    let text = "hosts = 'all'\n[[task]]\nfile = { path = '~/d', state = 'directory' }\n[[task]]\nshell = { cmd = 'chmod 0500 ~/d', always = true }\n[[task]]\ncopy = { content = 'x', dest = '~/a' }\n[[task]]\nfile = { path = '~/l', src = 'a', state = 'link' }\n[[task]]\nfile = { path = '~/file-1', mode = '0600' }\n[[task]]\nfile = { path = '~/file-2', mode = '0600' }\n";
    let ran = apply(&fleet, text, &[]);
    assert_eq!((ran.exit, &ran.document["totals"]["changed"]), (0, &6.into()), "{}", ran.document);
    let left: Vec<_> = std::fs::read_dir(&home).expect("a folder").flatten().map(|entry| entry.file_name()).filter(|name| name.to_string_lossy().starts_with(".mutate")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn one_login_and_one_shell_serve_a_whole_run() {
    let fleet = one();
    apply(&fleet, &many(20), &[]);
    assert_eq!((fleet.host("alpha").connections(), fleet.host("alpha").commands()), (1, 1));
}

/// Four turns are the protocol's: version, key exchange, login with channel and command, goodbye. Where two frames cross,
/// one more is counted.
#[test]
fn a_login_takes_what_the_protocol_asks_for() {
    let turns = (0..5).map(|_| {
        let fleet = one();
        assert_eq!(apply(&fleet, "hosts = 'all'\n[[task]]\nping = {}\n", &[]).exit, 0);
        let host = fleet.host("alpha");
        // Nobody asks what else would do, no other key is tried, and the first question travels in the command.
        assert_eq!((host.connections(), host.requests(), host.commands()), (1, 1, 1));
        host.turns()
    });
    let turns = turns.min().expect("five logins");
    assert!(turns <= 4, "{turns} turns");
}

#[test]
fn large_content_travels_over_a_channel_of_its_own() {
    let fleet = one();
    let large: Vec<u8> = (0..300_000_u32).map(|at| u8::try_from(at % 251).expect("small")).collect();
    std::fs::create_dir_all(fleet.folder.path().join("files")).expect("a folder");
    std::fs::write(fleet.folder.path().join("files/large.bin"), &large).expect("a file");
    let playbook = "hosts = 'all'\n[[task]]\ncopy = { src = 'large.bin', dest = '~/large' }\n";
    assert_eq!(apply(&fleet, playbook, &[]).exit, 0);
    assert_eq!(std::fs::read(fleet.host("alpha").home.join("large")).expect("the copy"), large);
    let left: Vec<_> = std::fs::read_dir(&fleet.host("alpha").home).expect("a folder").flatten().map(|entry| entry.file_name()).filter(|name| name.to_string_lossy().starts_with(".mutate")).collect();
    assert!(left.is_empty(), "{left:?}");
    let commands = fleet.host("alpha").commands();
    assert_eq!(apply(&fleet, playbook, &[]).document["totals"]["ok"], 1);
    assert_eq!(fleet.host("alpha").commands() - commands, 1, "what is in place is not sent again");
}

#[test]
fn of_a_large_file_only_what_has_changed_is_sent() {
    let fleet = one();
    let mut large: Vec<u8> = (0..24_u32 << 20).map(|at| u8::try_from((at.wrapping_mul(2_654_435_761) >> 13) & 0xff).expect("a byte")).collect();
    std::fs::create_dir_all(fleet.folder.path().join("files")).expect("a folder");
    let source = fleet.folder.path().join("files/large.bin");
    std::fs::write(&source, &large).expect("a file");
    let playbook = "hosts = 'all'\n[[task]]\ncopy = { src = 'large.bin', dest = '~/large' }\n";
    let sent = |playbook: &str| {
        let before = fleet.host("alpha").bytes().0;
        let ran = apply(&fleet, playbook, &[]);
        assert_eq!((ran.exit, &ran.document["totals"]["changed"]), (0, &1.into()), "{}", ran.document);
        fleet.host("alpha").bytes().0 - before
    };
    assert!(sent(playbook) > 24 << 20);
    // One byte in the middle, and some more at the end.
    large[13 << 20] ^= 1;
    large.extend_from_slice(b"more");
    std::fs::write(&source, &large).expect("a file");
    let bytes = sent(playbook);
    assert!(bytes < 9 << 20, "{bytes} bytes");
    assert!(std::fs::read(fleet.host("alpha").home.join("large")).expect("the copy") == large, "the copy is another");
    // What is there is shorter now.
    large[0] ^= 1;
    std::fs::write(&source, &large).expect("a file");
    std::fs::write(fleet.host("alpha").home.join("large"), &large[..20 << 20]).expect("a file");
    assert!(sent(playbook) < 12 << 20);
    assert!(std::fs::read(fleet.host("alpha").home.join("large")).expect("the copy") == large, "the copy is another");
}

/// A long file is not taken into memory, so somebody may change it while it is on its way.
#[test]
fn a_long_file_that_changes_meanwhile_is_told_and_one_that_is_replaced_is_not() {
    let bytes: Vec<u8> = (0..9_u32 << 20).map(|at| u8::try_from((at.wrapping_mul(2_654_435_761) >> 13) & 0xff).expect("a byte")).collect();
    for (meddle, complaint) in [
        (": >long", "it has become shorter since this run began"),
        ("printf X | dd of=long bs=1 seek=8000000 conv=notrunc 2>&1", "is not what was sent"),
        ("echo other >next && mv next long", ""),
    ] {
        let fleet = one();
        let folder = fleet.folder.path().join("files");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("long"), &bytes).expect("a file");
        let playbook = format!(
            "hosts = 'all'\n[[task]]\nshell = {{ cmd = \"\"\"cd '{}' && {meddle}\"\"\", always = true }}\n[[task]]\nname = 'long'\ncopy = {{ src = 'long', dest = '~/to/long' }}\n[[task]]\nfile = {{ path = '~/to', state = 'directory' }}\n",
            folder.display()
        );
        let home = &fleet.host("alpha").home;
        std::fs::create_dir_all(home.join("to")).expect("a folder");
        let ran = apply(&fleet, &playbook, &[]);
        let there: Vec<_> = std::fs::read_dir(home.join("to")).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect();
        if complaint.is_empty() {
            assert_eq!((ran.exit, there), (0, vec!["long".into()]), "{}", ran.document);
            assert!(std::fs::read(home.join("to/long")).expect("the copy") == bytes, "the copy is another");
        } else {
            assert!(ran.step("alpha", "long")["message"].as_str().expect("text").contains(complaint), "{meddle}: {}", ran.document);
            assert_eq!((ran.exit, there), (4, vec![]), "{meddle}: {}", ran.document);
        }
    }
}

/// What is sent to hosts that are far away is packed, where that is worth it and the host can unpack it.
#[test]
fn far_away_a_text_is_sent_packed() {
    let text: String = (0..40_000).map(|number| format!("listen {number} on every address\n")).collect();
    let sent = |fleet: &Fleet| {
        fleet.write("files/large.txt", &text);
        assert_eq!(apply(fleet, "hosts = 'all'\n[[task]]\ncopy = { src = 'large.txt', dest = '~/large' }\n", &[]).document["totals"]["changed"], 2);
        ["alpha", "beta"].map(|host| {
            assert_eq!(std::fs::read_to_string(fleet.host(host).home.join("large")).expect("the copy"), text);
            fleet.host(host).bytes().0
        })
    };
    let far = Faults { delay: Duration::from_millis(10), ..Faults::default() };
    let fleet = Fleet::start(&["alpha", "beta"], &far);
    for bytes in sent(&fleet) {
        assert!(bytes < text.len() / 2, "{bytes} of {} bytes", text.len());
    }
    // One whose gzip is of no use gets it as it is.
    let folder = tempfile::tempdir().expect("a folder");
    for (name, script) in [("gzip", "#!/bin/sh\nexit 1\n".to_owned()), ("sh", format!("#!/bin/sh\nPATH={}:$PATH exec /bin/sh \"$@\"\n", folder.path().display()))] {
        std::fs::write(folder.path().join(name), script).expect("a script");
        std::fs::set_permissions(folder.path().join(name), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    }
    let fleet = Fleet::start(&["alpha", "beta"], &Faults { shell: Some(folder.path().join("sh").display().to_string()), ..far });
    for bytes in sent(&fleet) {
        assert!(bytes > text.len(), "{bytes} of {} bytes", text.len());
    }
}

/// Far away a large file comes over several channels; a server that has too few gets it over one.
#[test]
fn far_away_a_large_file_is_sent_in_parts() {
    for most_sessions in [None, Some(2)] {
        let fleet = Fleet::start(&["alpha"], &Faults { delay: Duration::from_millis(10), most_sessions, ..Faults::default() });
        let large = super::fleet::noise((17 << 20) + 5);
        std::fs::create_dir_all(fleet.folder.path().join("files")).expect("a folder");
        std::fs::write(fleet.folder.path().join("files/large.bin"), &large).expect("a file");
        let ran = apply(&fleet, "hosts = 'all'\n[[task]]\ncopy = { src = 'large.bin', dest = '~/large' }\n", &[]);
        assert_eq!(ran.document["totals"]["changed"], 1, "{}", ran.document);
        let host = fleet.host("alpha");
        assert!(std::fs::read(host.home.join("large")).expect("the copy") == large, "the copy is another");
        assert!(!super::tree(&host.home).iter().any(|(path, _)| path.contains(".mutate.upload")));
        if most_sessions.is_none() {
            assert_eq!((host.connections(), host.commands()), (1, 5), "a shell, and four parts");
        }
    }
}

#[test]
fn check_contacts_nobody() {
    let fleet = one();
    let path = fleet.write("play.toml", &many(3)).display().to_string();
    let output = mutate(&fleet, &["check", &path]).output().expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fleet.host("alpha").connections(), 0);
}
