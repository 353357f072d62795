//! What goes wrong, and that the outcome says so.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{Faults, Fleet, apply, mutate, one, two};

#[test]
fn a_task_that_takes_too_long_is_killed_and_the_shell_goes_on() {
    let fleet = one();
    let ran = apply(
        &fleet,
        "hosts = 'all'\n[[task]]\nname = 'hangs'\nshell = { cmd = 'sleep 4711 & sleep 4711', always = true }\ntimeout = 1\nignore_errors = true\n[[task]]\nname = 'after'\nshell = { cmd = 'ps -eo args 2>/dev/null | grep -c \"[s]leep 4711\" || true', probe = true }\n",
        &[],
    );
    assert!(ran.step("alpha", "hangs")["message"].as_str().expect("text").contains("no end within 1 s"), "{}", ran.document);
    assert_eq!(ran.step("alpha", "after")["stdout"], "0\n");
}

#[test]
fn odd_output_changes_nothing() {
    let fleet = one();
    let ran = apply(
        &fleet,
        r#"
hosts = "all"
[[task]]
name = "no newline"
shell = { cmd = "printf abc; printf def >&2", probe = true }
[[task]]
name = "look-alike"
shell = { cmd = "echo 0123456789abcdef0123456789abcdef d 4 changed 0 0 0", probe = true }
[[task]]
name = "reads stdin"
shell = { cmd = "cat; echo end", probe = true }
[[task]]
name = "daemon"
shell = { cmd = "(sleep 3; echo late) & echo started", always = true }
[[task]]
name = "syntax"
shell = { cmd = "if then (", always = true }
ignore_errors = true
[[task]]
name = "closes"
shell = { cmd = "exec 1>&- 2>&-; exit 0", probe = true }
[[task]]
name = "bytes"
shell = { cmd = "printf '\\377\\000x'", probe = true }
[[task]]
name = "large"
shell = { cmd = "head -c 20000000 /dev/zero | tr '\\000' x", probe = true }
[[task]]
name = "last"
ping = {}
"#,
        &[],
    );
    assert_eq!(ran.exit, 0, "{}", ran.stderr);
    assert_eq!((ran.step("alpha", "no newline")["stdout"].as_str(), ran.step("alpha", "no newline")["stderr"].as_str()), (Some("abc"), Some("def")));
    assert_eq!(ran.step("alpha", "reads stdin")["stdout"], "end\n");
    assert_eq!(ran.step("alpha", "daemon")["stdout"], "started\n");
    assert_eq!(ran.step("alpha", "syntax")["outcome"], "failed");
    assert_eq!(ran.step("alpha", "bytes")["stdout_base64"], "/wB4");
    assert!(ran.step("alpha", "large")["stdout"].as_str().expect("text").contains("19868928 bytes left out"));
    assert_eq!(ran.step("alpha", "last")["outcome"], "ok");
}

#[test]
fn a_noisy_profile_is_skipped_over() {
    let fleet = Fleet::start(&["alpha"], &Faults { noise: "Welcome!\nYou have mail.\n$ ".repeat(50), ..Faults::default() });
    assert_eq!(apply(&fleet, "hosts = 'all'\n[[task]]\nping = {}\n", &[]).exit, 0);
}

#[test]
fn an_endless_profile_is_refused() {
    let fleet = Fleet::start(&["alpha"], &Faults { noise: "x".repeat(100_000), ..Faults::default() });
    let ran = apply(&fleet, "hosts = 'all'\n[[task]]\nping = {}\n", &[]);
    assert_eq!(ran.exit, 5);
    assert!(ran.document["hosts"]["alpha"]["message"].as_str().expect("text").contains("64 KiB"), "{}", ran.document);
}

#[test]
fn a_refused_login_is_unreachable_and_says_what_was_tried() {
    let fleet = Fleet::start(&["alpha"], &Faults { refuse_login: true, ..Faults::default() });
    let ran = apply(&fleet, "hosts = 'all'\n[[task]]\nping = {}\n", &[]);
    assert_eq!(ran.exit, 5);
    assert_eq!(ran.document["hosts"]["alpha"]["outcome"], "unreachable");
    assert!(ran.document["hosts"]["alpha"]["message"].as_str().expect("text").contains("was refused"), "{}", ran.document);
}

#[test]
fn another_host_key_stops_that_host_alone() {
    let fleet = two();
    let text = std::fs::read_to_string(&fleet.inventory).expect("the inventory");
    // Each host is given the other's key.
    let keys: Vec<&str> = text.lines().filter_map(|line| line.split("host_key = ").nth(1)).map(|rest| rest.trim_end_matches(" }")).collect();
    std::fs::write(&fleet.inventory, text.replacen(keys[0], keys[1], 1)).expect("writing the inventory");
    let ran = apply(&fleet, "hosts = 'all'\n[[task]]\nping = {}\n", &[]);
    assert_eq!(ran.exit, 5);
    assert!(ran.document["hosts"]["alpha"]["message"].as_str().expect("text").contains("HAS CHANGED"));
    assert_eq!(ran.document["hosts"]["beta"]["outcome"], "ok");
    assert_eq!(fleet.host("alpha").commands(), 0);
}

#[test]
fn a_second_controller_is_told_who_holds_the_lock() {
    let fleet = one();
    let slow = fleet.write("slow.toml", "hosts = 'all'\n[[task]]\nshell = { cmd = 'touch ~/begun; sleep 3', always = true }\n").display().to_string();
    let mut first = mutate(&fleet, &["apply", &slow]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program runs");
    wait_for(&fleet.host("alpha").home.join("begun"));
    let second = apply(&fleet, "hosts = 'all'\n[[task]]\nfile = { path = '~/second', state = 'touch' }\n", &[]);
    assert_eq!(second.exit, 8, "{}", second.document);
    assert!(second.document["hosts"]["alpha"]["message"].as_str().expect("text").contains("is locked by"), "{}", second.document);
    assert!(!fleet.host("alpha").home.join("second").exists());
    // What needs no change needs no lock.
    assert_eq!(apply(&fleet, "hosts = 'all'\n[[task]]\nstat = '~/begun'\n", &[]).exit, 0);
    assert!(first.wait().expect("an end").success());
    assert_eq!(apply(&fleet, "hosts = 'all'\n[[task]]\nfile = { path = '~/second', state = 'touch' }\n", &[]).exit, 0);
}

#[test]
fn an_interrupt_finishes_what_has_begun_and_starts_nothing_more() {
    let fleet = one();
    let path = fleet
        .write("play.toml", "hosts = 'all'\n[[task]]\nshell = { cmd = 'touch ~/begun; sleep 1; touch ~/ended', always = true }\n[[task]]\nfile = { path = '~/next', state = 'touch' }\n")
        .display()
        .to_string();
    let mut child = mutate(&fleet, &["apply", &path]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program runs");
    let home = fleet.host("alpha").home.clone();
    wait_for(&home.join("begun"));
    signal(&child, nix::sys::signal::Signal::SIGINT);
    assert_eq!(child.wait().expect("an end").code(), Some(130));
    assert!(home.join("ended").exists() && !home.join("next").exists());
    // The lock is free again.
    assert_eq!(apply(&fleet, "hosts = 'all'\n[[task]]\nfile = { path = '~/next', state = 'touch' }\n", &[]).exit, 0);
}

#[test]
fn a_second_interrupt_ends_at_once() {
    let fleet = one();
    let path = fleet.write("play.toml", "hosts = 'all'\n[[task]]\nshell = { cmd = 'touch ~/begun; sleep 60', always = true }\n").display().to_string();
    let mut child = mutate(&fleet, &["apply", &path]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program runs");
    wait_for(&fleet.host("alpha").home.join("begun"));
    signal(&child, nix::sys::signal::Signal::SIGINT);
    std::thread::sleep(Duration::from_millis(200));
    signal(&child, nix::sys::signal::Signal::SIGINT);
    assert_eq!(child.wait().expect("an end").code(), Some(130));
}

pub fn wait_for(path: &std::path::Path) {
    let begun = Instant::now();
    while !path.exists() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{} never came", path.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn signal(child: &std::process::Child, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    nix::sys::signal::kill(pid, signal).expect("the program is there");
}

#[test]
fn any_login_shell_will_do() {
    let mut tried = 0;
    for shell in ["/bin/sh", "/bin/bash", "/usr/bin/zsh", "/usr/bin/fish", "/usr/bin/tcsh", "/usr/bin/mksh", "/usr/bin/ksh93"] {
        if !std::path::Path::new(shell).exists() {
            continue;
        }
        tried += 1;
        let noise = "printed by a profile, without an end".to_owned();
        let fleet = Fleet::start(&["alpha"], &Faults { shell: Some(shell.into()), noise, ..Faults::default() });
        // Every library of every probe travels in the command line, past the login shell.
        let playbook = r#"
hosts = "all"
[[task]]
name = "facts"
debug = "{{ facts.user }} it's \"quoted\" !x \\ `date` $HOME"
[[task]]
package = { name = "no-such-package", state = "absent" }
ignore_errors = true
[[task]]
service = { name = "no-such-service", enabled = true }
ignore_errors = true
check_mode = true
[[task]]
copy = { content = "it's\n", dest = "~/it's" }
[[task]]
shell = { cmd = "echo \"$0\" 'it''s'", probe = true }
"#;
        let ran = apply(&fleet, playbook, &[]);
        assert!(ran.exit == 0, "{shell}: {} {}", ran.stderr, ran.document);
        assert_eq!(std::fs::read_to_string(fleet.host("alpha").home.join("it's")).expect(shell), "it's\n");
    }
    assert!(tried >= 2);
}

#[test]
fn names_that_are_no_utf8_are_copied_exactly() {
    use std::os::unix::ffi::OsStrExt as _;
    let fleet = one();
    let odd = std::ffi::OsStr::from_bytes(b"caf\xe9 \xff");
    let folder = fleet.folder.path().join("files/tree");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join(odd), b"\0\xff\n").expect("a file");
    let playbook = "hosts = 'all'\n[[task]]\ncopy = { src = 'tree/', dest = '~/copied' }\n";
    let ran = apply(&fleet, playbook, &[]);
    assert_eq!(ran.exit, 0, "{}", ran.document);
    assert_eq!(std::fs::read(fleet.host("alpha").home.join("copied").join(odd)).expect("the copy"), b"\0\xff\n");
    assert_eq!(apply(&fleet, playbook, &[]).document["totals"]["ok"], 1);
}

#[test]
fn what_goes_on_after_an_ignored_failure_runs_once() {
    let fleet = one();
    let ran = apply(
        &fleet,
        "hosts = 'all'\n[[task]]\nname = 't'\nshell = { cmd = 'echo x >>~/f; false', always = true }\nignore_errors = true\n[[task]]\nname = 'u'\nshell = { cmd = 'echo y >>~/f', always = true }\n[[task]]\nname = 'v'\nshell = { cmd = 'echo z >>~/f; false', always = true }\nignore_errors = true\n[[task]]\nname = 'w'\nfile = { path = '~/made', state = 'touch' }\n",
        &[],
    );
    assert_eq!(ran.outcomes("alpha"), ["failed", "changed", "failed", "changed"]);
    assert_eq!(std::fs::read_to_string(fleet.host("alpha").home.join("f")).expect("a file"), "x\ny\nz\n");
}

#[test]
fn a_verdict_that_cannot_be_made_hides_nothing_that_was_done() {
    let fleet = one();
    let ran = apply(
        &fleet,
        "hosts = 'all'\n[[task]]\nname = 'judged'\nshell = { cmd = 'true', always = true }\nregister = 'out'\nchanged_when = \"out.stdout_lines[3] == 'x'\"\n[[task]]\nname = 'next'\nfile = { path = '~/made', state = 'touch' }\n",
        &[],
    );
    assert_eq!(ran.exit, 4);
    assert_eq!(ran.outcomes("alpha"), ["failed", "changed"]);
    assert!(fleet.host("alpha").home.join("made").exists());
}

#[test]
fn after_lost_contact_every_step_that_was_sent_is_unknown() {
    let fleet = one();
    let path = fleet
        .write("play.toml", "hosts = 'all'\n[[task]]\nname = 'a'\nshell = { cmd = 'touch ~/begun; sleep 2', always = true }\ntimeout = 3\n[[task]]\nname = 'b'\nshell = { cmd = 'true', always = true }\ntimeout = 3\n")
        .display()
        .to_string();
    let child = mutate(&fleet, &["apply", &path, "--output", "json", "--resolve-timeout", "3"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program runs");
    wait_for(&fleet.host("alpha").home.join("begun"));
    fleet.host("alpha").cut();
    let ran = super::read(child.wait_with_output().expect("an end"));
    assert_eq!((ran.exit, ran.outcomes("alpha")), (7, vec!["unknown", "unknown"]), "{}", ran.document);
    assert_eq!(ran.document["hosts"]["alpha"]["outcome"], "unknown");
}

#[test]
fn a_change_whose_lock_nobody_heard_of_is_unknown() {
    // The answer to the lock is on its way when the change has begun already.
    let fleet = Fleet::start(&["alpha"], &Faults { delay: Duration::from_millis(400), ..Faults::default() });
    let path = fleet.write("play.toml", "hosts = 'all'\n[[task]]\nshell = { cmd = 'touch ~/begun', always = true }\ntimeout = 3\n").display().to_string();
    let child = mutate(&fleet, &["apply", &path, "--output", "json", "--resolve-timeout", "0"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program runs");
    wait_for(&fleet.host("alpha").home.join("begun"));
    fleet.host("alpha").cut();
    let ran = super::read(child.wait_with_output().expect("an end"));
    assert_eq!((ran.exit, ran.outcomes("alpha")), (7, vec!["unknown"]), "{}", ran.document);
}

/// Runs a playbook whose contact is lost when `begun` is there, and can be had again a little later.
fn lost_and_found(playbook: &str) -> (Fleet, super::Ran) {
    let fleet = one();
    let path = fleet.write("play.toml", playbook).display().to_string();
    let child = mutate(&fleet, &["apply", &path, "--output", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
    wait_for(&fleet.host("alpha").home.join("begun"));
    fleet.host("alpha").cut();
    std::thread::sleep(Duration::from_secs(1));
    fleet.host("alpha").mend();
    let ran = super::read(child.wait_with_output().expect("an end"));
    (fleet, ran)
}

#[test]
fn contact_that_is_found_again_settles_what_was_unknown_and_the_run_goes_on() {
    let (fleet, ran) = lost_and_found(
        "hosts = 'all'\n\
         [[task]]\nname = 'first'\ncopy = { content = 'x', dest = '~/first' }\nnotify = 'tell'\n\
         [[task]]\nname = 'long'\nshell = { cmd = 'echo once >>~/count; touch ~/begun; sleep 2', always = true }\ntimeout = 3\n\
         [[task]]\nname = 'same'\nfile = { path = '~', state = 'directory' }\n\
         [[task]]\nname = 'last'\ncopy = { content = 'y', dest = '~/last' }\n\
         [[handler]]\nname = 'tell'\nshell = { cmd = 'echo told >>~/count', always = true }\n",
    );
    assert_eq!((ran.exit, ran.outcomes("alpha")), (0, vec!["changed", "changed", "ok", "changed", "changed"]), "{} {}", ran.document, ran.stderr);
    let home = &fleet.host("alpha").home;
    assert_eq!(std::fs::read_to_string(home.join("count")).expect("a file"), "once\ntold\n");
    assert_eq!(std::fs::read_to_string(home.join("last")).expect("a file"), "y");
    assert!(ran.step("alpha", "long")["message"].as_str().is_some_and(|said| said.contains("ledger")), "{}", ran.document);
    // All of it can be undone, but for the commands.
    let back = super::read(mutate(&fleet, &["rollback", "--output", "json"]).output().expect("the program runs"));
    assert_eq!((back.step("alpha", "first")["outcome"].as_str(), back.step("alpha", "last")["outcome"].as_str()), (Some("changed"), Some("changed")), "{}", back.document);
    assert!(!home.join("first").exists() && !home.join("last").exists());
}

#[test]
fn contact_may_be_lost_at_any_moment() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let fleet = Fleet::start(&names, &Faults { delay: Duration::from_millis(15), ..Faults::default() });
    let mut playbook = String::from("hosts = 'all'\ntimeout = 2\n");
    for number in 0..8 {
        playbook.push_str(&format!(
            "[[task]]\nshell = {{ cmd = 'sleep 0.1; echo {number} >>~/count; touch ~/{number}', creates = '~/{number}' }}\n\
             [[task]]\ncopy = {{ content = 'x{number}', dest = '~/file{number}', mode = '0640' }}\nnotify = 'tell'\n"
        ));
    }
    playbook.push_str("[[handler]]\nname = 'tell'\nshell = { cmd = 'echo told >>~/told', always = true }\n");
    let path = fleet.write("play.toml", &playbook).display().to_string();
    let child = mutate(&fleet, &["apply", &path, "--output", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
    // Spread over the login, the questions, the changes and the handler.
    for host in &fleet.hosts {
        std::thread::sleep(Duration::from_millis(150));
        host.cut();
        std::thread::sleep(Duration::from_millis(20));
        host.mend();
    }
    let ran = super::read(child.wait_with_output().expect("an end"));
    for host in &fleet.hosts {
        let told = &ran.document["hosts"][&host.name];
        let is_done = ["ok", "changed"].contains(&told["outcome"].as_str().unwrap_or_default());
        let is_there = (0..8).all(|number| host.home.join(format!("file{number}")).exists()) && host.home.join("told").exists();
        assert!(!is_done || is_there, "{}: {told}", host.name);
        // What was told as changed was done, once.
        for (at, step) in told["steps"].as_array().into_iter().flatten().enumerate() {
            let number = at / 2;
            if step["outcome"] == "changed" && step["module"] == "copy" {
                assert!(host.home.join(format!("file{number}")).exists(), "{}: {step}", host.name);
            }
        }
    }
    assert!(ran.document.to_string().contains("the host's ledger"), "nothing was lost amid changes: {}", ran.document);
    let settled = mutate(&fleet, &["resolve"]).output().expect("the program runs");
    assert!(settled.status.success(), "{}", String::from_utf8_lossy(&settled.stderr));
    let again = super::read(mutate(&fleet, &["apply", &path, "--output", "json"]).output().expect("the program runs"));
    assert_eq!(again.exit, 0, "{}", again.document);
    for host in &fleet.hosts {
        let count = std::fs::read_to_string(host.home.join("count")).expect("a file");
        assert_eq!(count, "0\n1\n2\n3\n4\n5\n6\n7\n", "{}: {}", host.name, ran.document["hosts"][&host.name]);
        assert_eq!(std::fs::read_to_string(host.home.join("told")).expect("a file"), "told\n", "{}", host.name);
    }
}

#[test]
fn a_host_that_hangs_holds_no_other_of_its_batch() {
    let fleet = super::two();
    let playbook = "hosts = 'all'\n\
        [[task]]\nname = 'slow'\nwhen = \"host.name == 'alpha'\"\nshell = { cmd = 'while [ ! -e ~/released ]; do sleep 0.1; done', always = true }\ntimeout = 60\n\
        [[task]]\nname = 'quick'\ncopy = { content = 'x', dest = '~/quick' }\n";
    let path = fleet.write("play.toml", playbook).display().to_string();
    let child = mutate(&fleet, &["apply", &path, "--output", "jsonl"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program runs");
    // Only when the other host is through may the slow one go on.
    wait_for(&fleet.host("beta").home.join("quick"));
    std::fs::write(fleet.host("alpha").home.join("released"), "").expect("a file");
    let out = child.wait_with_output().expect("an end");
    let lines: Vec<serde_json::Value> = String::from_utf8_lossy(&out.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let at = |event: &str, host: &str| lines.iter().position(|line| line["event"] == event && line["host"] == host).expect("the event");
    assert!(out.status.success() && at("host_end", "beta") > at("step", "beta") && at("host_end", "alpha") > at("step", "beta"));
}

#[test]
fn output_that_is_lost_and_needed_leaves_its_step_unknown() {
    let (fleet, ran) = lost_and_found(
        "hosts = 'all'\n\
         [[task]]\nname = 'long'\nshell = { cmd = 'touch ~/begun; sleep 1; echo yes', always = true }\ntimeout = 3\nregister = 'said'\n\
         [[task]]\nname = 'after'\nshell = { cmd = 'touch ~/after', always = true }\n",
    );
    assert_eq!((ran.exit, ran.outcomes("alpha")[0]), (7, "unknown"), "{}", ran.document);
    // What it had been sent along is told truly, whatever became of it.
    assert_eq!(ran.outcomes("alpha").get(1) == Some(&"changed"), fleet.host("alpha").home.join("after").exists(), "{}", ran.document);
}

#[test]
fn remarks_may_come_before_the_greeting() {
    let fleet = Fleet::start(&["alpha"], &Faults { late_stdout: Duration::from_millis(80), ..Faults::default() });
    let playbook = "hosts = 'all'\n[[task]]\nfile = { path = '~/a', state = 'touch' }\n[[task]]\nfile = { path = '~/b', state = 'touch' }\n";
    assert_eq!(apply(&fleet, playbook, &["--timeout", "5"]).outcomes("alpha"), ["changed", "changed"]);
    assert_eq!(apply(&fleet, playbook, &["--timeout", "5"]).outcomes("alpha"), ["ok", "ok"]);
}

#[test]
fn a_shell_that_somebody_ends_is_no_success() {
    for end in ["kill -URG $PPID", "kill -9 $PPID"] {
        let fleet = one();
        let begun = Instant::now();
        let ran = apply(
            &fleet,
            &format!("hosts = 'all'\n[[task]]\nshell = {{ cmd = '{end}; sleep 1; echo y', always = true }}\n[[task]]\nname = 'after'\nshell = {{ cmd = 'touch after', always = true }}\n"),
            &[],
        );
        assert!([5, 7].contains(&ran.exit), "{end}: {}", ran.document);
        assert!(!fleet.host("alpha").home.join("after").exists(), "{end}");
        assert!(ran.document["hosts"]["alpha"]["message"].as_str().is_some_and(|said| said.contains("shell on the host")), "{end}: {}", ran.document);
        assert!(begun.elapsed() < Duration::from_secs(60), "{end}: nobody noticed");
        // The lock of a shell that is gone holds nobody.
        assert_eq!(apply(&fleet, "hosts = 'all'\n[[task]]\nfile = { path = '~/next', state = 'touch' }\n", &[]).exit, 0, "{end}");
    }
}

#[test]
fn a_failure_of_the_state_folder_is_not_forgiven() {
    let fleet = one();
    let state = fleet.host("alpha").home.join(".local/state");
    std::fs::create_dir_all(&state).expect("a folder");
    std::fs::write(state.join("mutate"), "").expect("a file in its place");
    let ran = apply(
        &fleet,
        "hosts = 'all'\nignore_errors = true\n[[task]]\nblock = [{ shell = { cmd = 'touch one', always = true } }]\nrescue = [{ debug = 'rescued' }]\n[[task]]\nping = {}\n",
        &[],
    );
    assert_eq!((ran.exit, ran.outcomes("alpha")), (4, vec!["failed"]), "{}", ran.document);
    assert!(ran.document["hosts"]["alpha"]["message"].as_str().is_some_and(|said| said.contains("state folder")), "{}", ran.document);
}

#[test]
fn a_state_folder_that_others_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let fleet = one();
    let state = fleet.host("alpha").home.join(".local/state/mutate");
    std::fs::create_dir_all(&state).expect("a folder");
    let task = "hosts = 'all'\n[[task]]\nfile = { path = '~/made', state = 'touch' }\n";
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o777)).expect("the mode is set");
    let ran = apply(&fleet, task, &[]);
    assert_eq!(ran.exit, 4, "{}", ran.document);
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o755)).expect("the mode is set");
    assert_eq!(apply(&fleet, task, &[]).exit, 0);
    assert_eq!(state.metadata().expect("the folder").permissions().mode() & 0o7777, 0o700);
}

#[test]
fn a_lock_that_is_held_is_not_forgiven() {
    let fleet = one();
    let long = fleet.write("long.toml", "hosts = 'all'\n[[task]]\nshell = { cmd = 'sleep 3', always = true }\n").display().to_string();
    let mut first = mutate(&fleet, &["apply", &long]).stdout(Stdio::null()).spawn().expect("the program runs");
    std::thread::sleep(Duration::from_secs(1));
    let ran = apply(&fleet, "hosts = 'all'\nignore_errors = true\n[[task]]\nfile = { path = '~/x', state = 'touch' }\n[[task]]\nping = {}\n", &[]);
    assert_eq!((ran.exit, ran.document["hosts"]["alpha"]["outcome"].as_str()), (8, Some("failed")), "{}", ran.document);
    assert!(first.wait().expect("the first run ends").success());
}

#[test]
fn a_guard_that_hangs_is_a_failure_of_its_task() {
    let fleet = one();
    let ran = apply(
        &fleet,
        "hosts = 'all'\n[[task]]\nname = 'before'\nfile = { path = '~/before', state = 'touch' }\n\
         [[task]]\nname = 'hangs'\nshell = { cmd = 'touch hangs', unless = 'sleep 4713' }\ntimeout = '1s'\nignore_errors = true\n\
         [[task]]\nname = 'after'\nshell = { cmd = 'touch after', unless = 'test -e after' }\n",
        &[],
    );
    assert_eq!((ran.exit, ran.outcomes("alpha")), (0, vec!["changed", "failed", "changed"]), "{}", ran.document);
    assert!(ran.step("alpha", "hangs")["message"].as_str().is_some_and(|said| said.contains("no end within 1 s")), "{}", ran.document);
    assert!(!fleet.host("alpha").home.join("hangs").exists());
    let left = std::process::Command::new("pgrep").args(["-f", "^sleep 4713"]).output().expect("pgrep runs");
    assert_eq!(String::from_utf8_lossy(&left.stdout), "", "something is left running");
}

#[test]
fn what_only_waits_ends_with_the_first_interrupt() {
    for task in ["wait_for = { path = '/nowhere/at/all', timeout = 300 }", "shell = { cmd = 'sleep 300', probe = true }", "shell = { cmd = 'true', unless = 'sleep 300' }"] {
        let fleet = one();
        let path = fleet.write("play.toml", &format!("hosts = 'all'\n[[task]]\n{task}\n[[task]]\nfile = {{ path = '~/after', state = 'touch' }}\n")).display().to_string();
        let child = mutate(&fleet, &["apply", &path, "--output", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
        std::thread::sleep(Duration::from_millis(1200));
        let begun = Instant::now();
        let id = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a process"));
        nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGINT).expect("the signal is sent");
        let ran = super::read(child.wait_with_output().expect("it ends"));
        assert!(begun.elapsed() < Duration::from_secs(30), "{task}: it went on waiting");
        assert_eq!(ran.exit, 130, "{task}: {}", ran.document);
        assert!(ran.document["hosts"]["alpha"]["totals"]["cancelled"].as_u64().is_some_and(|count| count > 0), "{task}: {}", ran.document);
        assert!(!fleet.host("alpha").home.join("after").exists(), "{task}");
    }
}

#[test]
fn an_upload_that_is_interrupted_leaves_nothing() {
    // Nothing of the content gets through, so the interrupt surely comes in the middle.
    let fleet = one();
    fleet.write("large", &"0123456789abcdef".repeat(4_000_000));
    let path = fleet.write("play.toml", "hosts = 'all'\n[[task]]\nshell = { cmd = 'mkfifo wait; touch started', always = true }\n[[task]]\ncopy = { src = 'large', dest = '~/large' }\n").display().to_string();
    let child = mutate(&fleet, &["apply", &path, "--output", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
    let home = fleet.host("alpha").home.clone();
    let uploads = || -> Vec<String> {
        let names = std::fs::read_dir(&home).expect("the home folder").flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(".mutate.")).collect()
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while uploads().is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    let id = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a process"));
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGINT).expect("the signal is sent");
    let ran = super::read(child.wait_with_output().expect("it ends"));
    assert_eq!(ran.exit, 130, "{}", ran.document);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !uploads().is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(uploads(), Vec::<String>::new());
}

#[test]
fn an_upload_whose_controller_is_killed_leaves_nothing() {
    let fleet = one();
    fleet.write("large", &"0123456789abcdef".repeat(200_000));
    let path = fleet.write("play.toml", "hosts = 'all'\n[[task]]\ncopy = { src = 'large', dest = '~/large' }\n").display().to_string();
    let home = fleet.host("alpha").home.clone();
    let uploads = || -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(&home).expect("the home folder").flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(".mutate.")).map(|entry| entry.path()).collect()
    };
    for _ in 0..5 {
        let mut child = mutate(&fleet, &["apply", &path]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program runs");
        // All bytes are there, and the change that they are for may not have been sent yet.
        let whole = || uploads().iter().any(|path| path.metadata().is_ok_and(|meta| meta.len() == 3_200_000));
        while !whole() && child.try_wait().expect("its state").is_none() {}
        child.kill().expect("it is killed");
        child.wait().expect("it has ended");
        let deadline = Instant::now() + Duration::from_secs(10);
        while !uploads().is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(uploads(), Vec::<std::path::PathBuf>::new());
        let _gone = std::fs::remove_file(home.join("large"));
    }
    // Where the shell was killed, too, the next run clears it away.
    let run = home.join(".local/state/mutate/runs/01AAA");
    std::fs::create_dir_all(&run).expect("a run");
    let left = home.join(".mutate.upload.x y");
    std::fs::write(&left, "").expect("a file");
    std::fs::write(run.join("open"), "").expect("a file");
    std::fs::write(run.join("later"), format!("rm -f -- '{}'\n", left.display())).expect("a file");
    assert_eq!(apply(&fleet, "hosts = 'all'\n[[task]]\nfile = { path = '~/d', state = 'directory' }\n", &[]).exit, 0);
    let deadline = Instant::now() + Duration::from_secs(10);
    while left.exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!left.exists() && !run.join("later").exists());
}

#[test]
fn output_belongs_to_its_own_task_however_late_stderr_is() {
    let fleet = Fleet::start(&["alpha"], &Faults { late_stderr: Duration::from_millis(150), ..Faults::default() });
    let task = |name: &str| format!("[[task]]\nname = '{name}'\nshell = {{ cmd = 'echo {name}; echo {name} too >&2', always = true }}\n");
    let ran = apply(&fleet, &format!("hosts = 'all'\n{}{}{}", task("one"), task("two"), task("three")), &[]);
    for name in ["one", "two", "three"] {
        let step = ran.step("alpha", name);
        assert_eq!((step["stdout"].as_str(), step["stderr"].as_str()), (Some(format!("{name}\n").as_str()), Some(format!("{name} too\n").as_str())), "{step}");
    }
}
