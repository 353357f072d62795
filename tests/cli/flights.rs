//! How often a run crosses the network. Counts, not times.

use super::{apply, mutate, one};

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
    let before = fleet.host("alpha").turns();
    assert_eq!(apply(&fleet, &many(50), &[]).document["totals"]["ok"], 50);
    let turns = fleet.host("alpha").turns() - before;
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
fn one_login_and_one_shell_serve_a_whole_run() {
    let fleet = one();
    apply(&fleet, &many(20), &[]);
    assert_eq!((fleet.host("alpha").connections(), fleet.host("alpha").commands()), (1, 1));
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
fn check_contacts_nobody() {
    let fleet = one();
    let path = fleet.write("play.toml", &many(3)).display().to_string();
    let output = mutate(&fleet, &["check", &path]).output().expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fleet.host("alpha").connections(), 0);
}
