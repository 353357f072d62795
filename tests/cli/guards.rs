//! The guards on both sides of a change: asked again before, kept, verified after, and only under our own lock.

use super::{apply, one};

fn ledger(home: &std::path::Path) -> String {
    let runs = std::fs::read_dir(home.join(".local/state/mutate/runs")).expect("the ledger's folder");
    runs.flatten().filter_map(|run| std::fs::read_to_string(run.path().join("ledger")).ok()).collect()
}

#[test]
fn a_change_is_decided_anew_when_the_answer_is_no_longer_the_same() {
    let fleet = one();
    let ran = apply(
        &fleet,
        "hosts = 'all'\n[[task]]\nshell = { cmd = 'echo other >~/f', always = true }\n[[task]]\nname = 'content'\ncopy = { content = 'mine', dest = '~/f' }\n",
        &[],
    );
    assert_eq!(ran.outcomes("alpha"), ["changed", "changed"]);
    let home = &fleet.host("alpha").home;
    assert_eq!(std::fs::read_to_string(home.join("f")).expect("a file"), "mine");
    assert!(ledger(home).lines().any(|line| line.starts_with("done ") && line.contains(" conflict")), "{}", ledger(home));
    // What the verdict was made from in the end is the other content, not its absence.
    assert!(ran.step("alpha", "content")["diff"].as_str().expect("a diff").contains("-other"));
}

#[test]
fn what_was_in_place_is_asked_again_after_a_change() {
    let fleet = one();
    std::fs::write(fleet.host("alpha").home.join("f"), "a\nb\n").expect("a file");
    let ran = apply(
        &fleet,
        "hosts = 'all'\n[[task]]\ncopy = { content = \"a\\n\", dest = '~/f' }\n[[task]]\nlineinfile = { path = '~/f', line = 'b' }\n",
        &[],
    );
    assert_eq!(ran.outcomes("alpha"), ["changed", "changed"]);
    assert_eq!(std::fs::read_to_string(fleet.host("alpha").home.join("f")).expect("a file"), "a\nb\n");
}

#[test]
fn a_change_that_does_not_hold_is_a_failure() {
    let fleet = one();
    let ran = apply(
        &fleet,
        "hosts = 'all'\n[[task]]\nname = 'tampered'\ncopy = { content = 'x', dest = '~/f', validate = 'echo more >>~/f' }\n[[task]]\nping = {}\n",
        &[],
    );
    assert_eq!((ran.exit, ran.outcomes("alpha")), (4, vec!["failed"]));
    assert!(ran.step("alpha", "tampered")["message"].as_str().expect("text").contains("not as it should be"), "{}", ran.document);
}

#[test]
fn what_is_overwritten_is_kept_before() {
    let fleet = one();
    let home = fleet.host("alpha").home.clone();
    std::fs::write(home.join("f"), "precious\n").expect("a file");
    apply(&fleet, "hosts = 'all'\n[[task]]\ncopy = { content = 'x', dest = '~/f' }\n", &[]);
    let store = std::fs::read_dir(home.join(".local/state/mutate/store")).expect("the store");
    let kept: Vec<String> = store.flatten().filter_map(|entry| std::fs::read_to_string(entry.path()).ok()).collect();
    assert!(kept.iter().any(|text| text == "precious\n"), "{kept:?}");
    let text = ledger(&home);
    let order: Vec<&str> = text.lines().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(order, ["run", "begin", "path", "kept", "done"], "{text}");
}

#[test]
fn whoever_has_lost_the_lock_changes_nothing_more() {
    let fleet = one();
    let ran = apply(
        &fleet,
        "hosts = 'all'\n[[task]]\nshell = { cmd = 'echo 1 2 3 4 OTHER >~/.local/state/mutate/lock/owner', always = true }\n[[task]]\nname = 'after'\nfile = { path = '~/after', state = 'touch' }\n",
        &[],
    );
    assert_eq!(ran.exit, 8);
    assert!(ran.step("alpha", "after")["message"].as_str().expect("text").contains("taken over"), "{}", ran.document);
    assert!(!fleet.host("alpha").home.join("after").exists());
}

/// Between the folder of a lock and its owner lies a moment, which may be a long one on a busy host.
#[test]
fn a_lock_that_is_just_being_taken_is_not_that_of_a_dead_one() {
    let fleet = one();
    let lock = fleet.host("alpha").home.join(".local/state/mutate/lock");
    std::fs::create_dir_all(&lock).expect("a lock");
    let read = |path: &str| std::fs::read_to_string(path).expect("it can be read");
    let stat = read("/proc/self/stat");
    let born = stat.rsplit_once(") ").expect("a name").1.split(' ').nth(19).expect("a start time").to_owned();
    let owner = format!("{} {born} {} {} other\nsomebody else\n\n", std::process::id(), read("/proc/sys/kernel/random/boot_id").trim(), read("/proc/uptime").split('.').next().expect("seconds"));
    let taker = std::thread::spawn({
        let lock = lock.clone();
        move || {
            std::thread::sleep(std::time::Duration::from_millis(1800));
            std::fs::write(lock.join("owner"), owner)
        }
    });
    let ran = apply(&fleet, "hosts = 'all'\n[[task]]\nfile = { path = '~/after', state = 'touch' }\n", &[]);
    taker.join().expect("it ends").expect("the lock was still there");
    assert!(ran.exit != 0 && ran.document.to_string().contains("somebody else"), "{} {}", ran.exit, ran.document);
    assert!(!fleet.host("alpha").home.join("after").exists());
}

#[test]
fn nothing_is_begun_behind_a_failure() {
    let fleet = one();
    for (failing, kept) in [("shell = { cmd = 'false', always = true }", ""), ("file = { path = '~/d/e', state = 'hard', src = '~/none' }", ""), ("shell = { cmd = 'false', always = true }", "ignore_errors = true\n")] {
        let playbook = format!(
            "hosts = 'all'\n[[task]]\nname = 'fails'\n{failing}\n{kept}[[task]]\nname = 'a file'\nfile = {{ path = '~/after', state = 'directory' }}\n[[task]]\nname = 'a command'\nshell = {{ cmd = 'touch also', always = true }}\n"
        );
        let ran = apply(&fleet, &playbook, &[]);
        let home = &fleet.host("alpha").home;
        let goes_on = !kept.is_empty();
        assert_eq!((home.join("after").exists(), home.join("also").exists()), (goes_on, goes_on), "{failing}: {}", ran.document);
        assert_eq!(ran.outcomes("alpha").len(), if goes_on { 3 } else { 1 }, "{}", ran.document);
    }
}
