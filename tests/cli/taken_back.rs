//! Changes that go back by themselves: of a play that has failed, and of what locks everybody out.

use serde_json::Value;

use super::{Fleet, Ran, apply, mutate, read};
use crate::fleet::Faults;

/// Three files, a folder and a handler; then the file `broken` of a host makes it fail.
const PLAY: &str = "hosts = 'all'\nserial = [1, '100%']\non_failure = 'rollback'\n\
    [[task]]\nname = 'file'\ncopy = { content = 'new', dest = '~/f', mode = '0640' }\nnotify = 'tell'\n\
    [[task]]\nname = 'again'\nlineinfile = { path = '~/f', line = 'x' }\n\
    [[task]]\nname = 'folder'\nfile = { path = '~/d', state = 'directory' }\n\
    [[task]]\nname = 'probe'\ncommand = { cmd = 'test ! -e broken', always = true, changed_when = false }\n\
    [[handler]]\nname = 'tell'\ncommand = { cmd = 'touch told', always = true, undo = 'rm told' }\n";

fn play() -> String {
    PLAY.replace(", changed_when = false }", " }\nchanged_when = false")
}

/// What of a home folder is not the tool's own, with modes and contents.
fn left(fleet: &Fleet, host: &str) -> Vec<(String, u32, String)> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut found: Vec<_> = std::fs::read_dir(&fleet.host(host).home)
        .expect("a home")
        .flatten()
        .filter(|entry| entry.file_name() != ".local")
        .map(|entry| {
            let mode = entry.metadata().expect("metadata").permissions().mode();
            (entry.file_name().to_string_lossy().into_owned(), mode, std::fs::read_to_string(entry.path()).unwrap_or_default())
        })
        .collect();
    found.sort();
    found
}

fn said<'a>(ran: &'a Ran, host: &str) -> &'a str {
    ran.document["hosts"][host]["message"].as_str().expect("a message")
}

#[test]
fn a_play_that_fails_is_undone_on_every_host_that_it_has_touched() {
    let fleet = Fleet::start(&["alpha", "beta", "gamma", "delta"], &Faults::default());
    std::fs::write(fleet.host("alpha").home.join("f"), "old\n").expect("a file");
    std::fs::write(fleet.host("gamma").home.join("broken"), "").expect("a file");
    let before: Vec<_> = ["alpha", "beta", "gamma", "delta"].iter().map(|host| left(&fleet, host)).collect();
    let ran = apply(&fleet, &play(), &[]);
    assert_eq!(ran.exit, 6, "{} {}", ran.document, ran.stderr);
    let after: Vec<_> = ["alpha", "beta", "gamma", "delta"].iter().map(|host| left(&fleet, host)).collect();
    assert_eq!(after, before);
    for host in ["alpha", "beta", "gamma", "delta"] {
        assert_eq!(ran.document["hosts"][host]["rolled_back"], "completely", "{}", ran.document);
        assert_eq!(ran.document["hosts"][host]["outcome"], "failed");
        assert!(said(&ran, host).contains("rolled back"));
        assert_eq!(ran.document["hosts"][host]["pending_handlers"], Value::Null, "{}", ran.document);
    }
    // The handler of the first batch was undone as well, and the last change first.
    let tasks: Vec<&str> = ran.document["hosts"]["alpha"]["steps"].as_array().expect("steps").iter().map(|step| step["task"].as_str().expect("a name")).collect();
    assert_eq!(tasks, ["file", "again", "folder", "probe", "tell", "undo: tell", "undo: folder", "undo: again", "undo: file"]);
    assert_eq!(ran.step("alpha", "undo: file")["undo"], true);
    // Whoever asks later is told, and nothing is undone twice.
    let again = mutate(&fleet, &["rollback"]).output().expect("the program runs");
    assert!(!again.status.success());
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(said.contains("no change that could be undone"), "{said}");
}

#[test]
fn within_the_limit_nothing_is_undone_and_no_play_begins_after_a_rollback() {
    let fleet = Fleet::start(&["alpha", "beta"], &Faults::default());
    std::fs::write(fleet.host("alpha").home.join("broken"), "").expect("a file");
    let lenient = play().replace("serial = [1, '100%']", "max_fail = 1");
    let ran = apply(&fleet, &lenient, &[]);
    assert_eq!(ran.exit, 4, "{}", ran.document);
    assert!(fleet.host("alpha").home.join("d").exists() && fleet.host("beta").home.join("told").exists());
    // The handler that the first run left pending is still so when the second one is undone.
    let strict = format!("[[play]]\n{}[[play]]\nhosts = 'all'\n[[play.task]]\nfile = {{ path = '~/later', state = 'touch' }}\n", lenient.replace("max_fail = 1\n", "").replace("[[", "[[play.").replace("~/d'", "~/e'"));
    let ran = apply(&fleet, &strict, &[]);
    assert_eq!(ran.exit, 6, "{} {}", ran.document, ran.stderr);
    assert!(!fleet.host("alpha").home.join("e").exists() && !fleet.host("beta").home.join("e").exists());
    assert!(fleet.host("alpha").home.join("d").exists() && !fleet.host("beta").home.join("later").exists());
    assert_eq!(ran.document["hosts"]["alpha"]["pending_handlers"][0], "tell", "{}", ran.document);
}

#[test]
fn what_cannot_be_undone_and_what_failed_half_way_is_told() {
    let fleet = Fleet::start(&["alpha"], &Faults::default());
    let hopeless = "hosts = 'all'\non_failure = 'rollback'\n\
        [[task]]\nname = 'file'\nfile = { path = '~/f', state = 'touch' }\n\
        [[task]]\nname = 'for good'\nshell = { cmd = 'echo >> log', always = true }\n\
        [[task]]\nname = 'last'\nshell = { cmd = 'exit 3', always = true }\n";
    let ran = apply(&fleet, hopeless, &[]);
    assert_eq!(ran.exit, 7, "{}", ran.document);
    assert_eq!(ran.document["hosts"]["alpha"]["rolled_back"], "in part");
    assert_eq!(ran.step("alpha", "undo: for good")["outcome"], "failed");
    assert!(!fleet.host("alpha").home.join("f").exists(), "what can be undone is undone all the same");
    // The file is put in place, and then its own check says no to the folder: what that has left is undone as well.
    let half = "hosts = 'all'\non_failure = 'rollback'\n\
        [[task]]\nname = 'parents'\nfile = { path = '~/a/b', state = 'directory', owner = 'nobody-of-that-name' }\n";
    let ran = apply(&fleet, half, &[]);
    let exists = fleet.host("alpha").home.join("a").exists();
    assert!(!exists && [4, 6].contains(&ran.exit), "{} {exists}", ran.document);
    // A check undoes nothing.
    let ran = read(mutate(&fleet, &["apply", "--check", &fleet.write("play.toml", hopeless).display().to_string(), "--output", "json"]).output().expect("the program runs"));
    assert!(!ran.outcomes("alpha").is_empty() && ran.document["hosts"]["alpha"]["rolled_back"].is_null());
}

/// A file that locks everybody out, with a handler that makes it so, and a task behind it.
fn lock_out(file: &str) -> String {
    format!(
        "hosts = 'all'\n\
        [[task]]\nname = 'before'\nfile = {{ path = '~/d', state = 'directory' }}\n\
        [[task]]\nname = 'config'\ncopy = {{ content = 'new', dest = '~/conf', mode = '0640' }}\nconfirm = '3s'\nnotify = 'take it up'\n\
        [[task]]\nname = 'between'\nfile = {{ path = '~/e', state = 'directory' }}\n\
        [[handler]]\nname = 'take it up'\nshell = {{ cmd = 'if grep -q new conf; then touch {file}; else rm -f {file}; fi; echo >> ran', always = true }}\n"
    )
}

fn files(fleet: &Fleet) -> Vec<String> {
    left(fleet, "alpha").into_iter().map(|(name, ..)| name).collect()
}

#[test]
fn what_locks_everybody_out_goes_back_by_itself() {
    for file in ["no-login", "down"] {
        let fleet = Fleet::start(&["alpha"], &Faults { obeys_files: true, ..Faults::default() });
        std::fs::write(fleet.host("alpha").home.join("conf"), "old").expect("a file");
        let ran = apply(&fleet, &lock_out(file), &[]);
        assert_eq!(ran.exit, 6, "{file}: {} {}", ran.document, ran.stderr);
        let host = &ran.document["hosts"]["alpha"];
        assert_eq!((&host["outcome"], &host["rolled_back"]), (&"failed".into(), &"completely".into()), "{}", ran.document);
        assert!(said(&ran, "alpha").contains("rolled back completely: no new login within 3 s"), "{}", ran.document);
        let handler = ran.step("alpha", "take it up");
        assert_eq!(handler["outcome"], "failed", "{}", ran.document);
        assert!(handler["message"].as_str().is_some_and(|said| said.starts_with("rolled back: no new login")), "{}", ran.document);
        assert_eq!(ran.step("alpha", "undo: config")["outcome"], "changed", "{}", ran.document);
        // The file is back, and was taken up again; what nobody was locked out by stays.
        assert_eq!(std::fs::read_to_string(fleet.host("alpha").home.join("conf")).expect("a file"), "old");
        assert_eq!(std::fs::read_to_string(fleet.host("alpha").home.join("ran")).expect("a file"), "\n\n");
        assert_eq!(files(&fleet), ["conf", "d", "e", "ran"]);
        assert!(host["pending_handlers"].is_null(), "{}", ran.document);
        // The journal knows, and the next run begins at once.
        let blamed = mutate(&fleet, &["rollback", "--check"]).output().expect("the program runs");
        let plan = String::from_utf8_lossy(&blamed.stdout).into_owned();
        assert!(plan.contains("before") && !plan.contains("config"), "{plan}");
        let again = apply(&fleet, "hosts = 'all'\n[[task]]\nfile = { path = '~/again', state = 'directory' }\n", &[]);
        assert_eq!(again.exit, 0, "{}", again.document);
    }
}

#[test]
fn a_new_login_confirms_what_is_fine() {
    let fleet = Fleet::start(&["alpha"], &Faults { obeys_files: true, ..Faults::default() });
    let before = fleet.host("alpha").connections();
    let ran = apply(&fleet, &lock_out("harmless"), &[]);
    assert_eq!(ran.exit, 0, "{} {}", ran.document, ran.stderr);
    assert_eq!(ran.outcomes("alpha"), ["changed"; 4], "{}", ran.document);
    // One login for the run, one for the file, and one for what has taken it up.
    assert_eq!(fleet.host("alpha").connections() - before, 3);
    std::thread::sleep(std::time::Duration::from_secs(4));
    assert_eq!(files(&fleet), ["conf", "d", "e", "harmless", "ran"]);
    // Nobody asks for more when there is nothing to change.
    let ran = apply(&fleet, &lock_out("harmless"), &[]);
    assert_eq!((ran.exit, fleet.host("alpha").connections() - before), (0, 4), "{}", ran.document);
}

#[test]
fn a_dangerous_change_that_fails_goes_back_at_once() {
    let fleet = Fleet::start(&["alpha"], &Faults { obeys_files: true, ..Faults::default() });
    std::fs::write(fleet.host("alpha").home.join("conf"), "old").expect("a file");
    let broken = lock_out("harmless").replace("echo >> ran", "echo >> ran; grep -q old conf").replace("confirm = '3s'", "confirm = '300s'");
    let ran = apply(&fleet, &broken, &[]);
    assert_eq!(ran.exit, 6, "{} {}", ran.document, ran.stderr);
    assert!(ran.step("alpha", "take it up")["message"].as_str().is_some_and(|said| said.contains("status 1") && said.ends_with("rolled back")), "{}", ran.document);
    assert_eq!(std::fs::read_to_string(fleet.host("alpha").home.join("conf")).expect("a file"), "old");
}

#[test]
fn what_a_killed_controller_has_left_unconfirmed_goes_back_and_is_told() {
    let fleet = Fleet::start(&["alpha"], &Faults { obeys_files: true, ..Faults::default() });
    std::fs::write(fleet.host("alpha").home.join("conf"), "old").expect("a file");
    let path = fleet.write("play.toml", &lock_out("down").replace("; echo >> ran", "; echo >> ran; touch reached; sleep 1")).display().to_string();
    let mut running = mutate(&fleet, &["apply", &path]).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().expect("it starts");
    let reached = fleet.host("alpha").home.join("reached");
    while !reached.exists() && running.try_wait().expect("its state").is_none() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    running.kill().expect("it is killed");
    running.wait().expect("it has ended");
    let began = std::time::Instant::now();
    // Nobody else begins until all is back; then it is free.
    while fleet.host("alpha").home.join("down").exists() {
        assert!(began.elapsed().as_secs() < 30, "it did not go back");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(std::fs::read_to_string(fleet.host("alpha").home.join("conf")).expect("a file"), "old");
    let resolve = || read(mutate(&fleet, &["resolve", "--output", "json"]).output().expect("the program runs"));
    let mut settled = resolve();
    while settled.exit == 7 && began.elapsed().as_secs() < 60 {
        std::thread::sleep(std::time::Duration::from_millis(200));
        settled = resolve();
    }
    let told = settled.document["steps"].to_string();
    assert!(told.contains("taken back since nobody confirmed it"), "{}", settled.document);
    // What had been told of as done is not to be undone once more.
    let plan = mutate(&fleet, &["rollback", "--check"]).output().expect("the program runs");
    let plan = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert!(plan.contains("before") && !plan.contains("config"), "{plan}");
    let mut again = apply(&fleet, "hosts = 'all'\n[[task]]\nfile = { path = '~/again', state = 'directory' }\n", &[]);
    while again.exit == 8 && began.elapsed().as_secs() < 60 {
        std::thread::sleep(std::time::Duration::from_millis(200));
        again = apply(&fleet, "hosts = 'all'\n[[task]]\nfile = { path = '~/again', state = 'directory' }\n", &[]);
    }
    assert_eq!(again.exit, 0, "{}", again.document);
}

#[test]
fn what_could_not_go_back_is_refused_before() {
    let fleet = Fleet::start(&["alpha"], &Faults::default());
    let hopeless = "hosts = 'all'\n[[task]]\nname = 'x'\ncommand = { cmd = 'touch made', always = true }\nconfirm = '5s'\n";
    let ran = apply(&fleet, hopeless, &[]);
    assert_eq!(ran.exit, 4, "{}", ran.document);
    assert!(ran.step("alpha", "x")["message"].as_str().is_some_and(|said| said.contains("`confirm` has nothing to go back to")), "{}", ran.document);
    assert!(!fleet.host("alpha").home.join("made").exists());
    let ran = apply(&fleet, &hopeless.replace("always", "undo = 'rm made', always"), &[]);
    assert_eq!(ran.exit, 0, "{}", ran.document);
}

#[test]
fn a_rollback_and_a_saved_plan_are_watched_as_well() {
    let fleet = Fleet::start(&["alpha"], &Faults { obeys_files: true, ..Faults::default() });
    let conf = fleet.host("alpha").home.join("conf");
    let read_conf = || std::fs::read_to_string(&conf).expect("a file");
    std::fs::write(&conf, "closed").expect("a file");
    let play = |content: &str| format!("hosts = 'all'\n[[task]]\nname = 'config'\ncopy = {{ content = '{content}', dest = '~/conf' }}\nconfirm = '3s'\n[[task]]\nname = 'other'\ncopy = {{ content = '{content}', dest = '~/other' }}\n");
    assert_eq!(apply(&fleet, &play("open"), &[]).exit, 0);
    std::fs::write(fleet.host("alpha").home.join("armed"), "").expect("a file");
    let back = read(mutate(&fleet, &["rollback", "--output", "json"]).output().expect("the program runs"));
    assert_eq!((back.exit, read_conf().as_str()), (7, "open"), "{}", back.document);
    assert!(back.step("alpha", "config")["message"].as_str().is_some_and(|said| said.starts_with("rolled back: no new login within 3 s")), "{}", back.document);
    assert_eq!(back.step("alpha", "other")["outcome"], "changed", "{}", back.document);
    // The change itself is still there to be undone.
    std::fs::remove_file(fleet.host("alpha").home.join("armed")).expect("a file");
    let again = read(mutate(&fleet, &["rollback", back.document["run"].as_str().expect("a run"), "--output", "json"]).output().expect("the program runs"));
    assert_eq!(again.exit, 0, "{}", again.document);
    let path = fleet.write("play.toml", &play("closed")).display().to_string();
    let plan = fleet.folder.path().join("a.plan").display().to_string();
    assert!(mutate(&fleet, &["plan", &path, "-o", &plan]).output().expect("the program runs").status.success());
    std::fs::write(fleet.host("alpha").home.join("armed"), "").expect("a file");
    let ran = read(mutate(&fleet, &["apply", &plan, "--output", "json"]).output().expect("the program runs"));
    assert_eq!((ran.exit, read_conf().as_str()), (6, "open"), "{}", ran.document);
    assert_eq!(ran.document["hosts"]["alpha"]["rolled_back"], "completely", "{}", ran.document);
}

#[test]
fn a_restart_of_sshd_by_a_command_is_watched_with_what_was_changed_before() {
    let fleet = Fleet::start(&["alpha"], &Faults { obeys_files: true, ..Faults::default() });
    std::fs::write(fleet.host("alpha").home.join("conf"), "old").expect("a file");
    // The file alone locks nobody out, so it is confirmed; the restart is a task of its own.
    let play = "hosts = 'all'\n\
        [[task]]\nname = 'config'\ncopy = { content = 'new', dest = '~/conf' }\nconfirm = '3s'\n\
        [[task]]\nname = 'between'\nfile = { path = '~/d', state = 'directory' }\n\
        [[task]]\nname = 'restart'\nconfirm = '3s'\nshell = { cmd = 'systemctl() { if grep -q new conf; then touch no-login; else rm no-login; fi; }; systemctl restart ssh', always = true }\n";
    let ran = apply(&fleet, play, &[]);
    assert_eq!(ran.exit, 6, "{} {}", ran.document, ran.stderr);
    assert_eq!(ran.step("alpha", "undo: config")["outcome"], "changed", "{}", ran.document);
    assert_eq!(std::fs::read_to_string(fleet.host("alpha").home.join("conf")).expect("a file"), "old");
    assert_eq!(files(&fleet), ["conf", "d"]);
}

#[test]
fn a_command_with_a_test_of_its_own_goes_back_as_well() {
    let fleet = Fleet::start(&["alpha"], &Faults { obeys_files: true, ..Faults::default() });
    // Its way back is the user's own text, with globs and all.
    let play = "hosts = 'all'\n[[task]]\nname = 'shut'\nshell = { cmd = 'touch no-login', creates = '~/never', undo = 'rm -f no-log*' }\nconfirm = '3s'\n";
    let ran = apply(&fleet, play, &[]);
    assert_eq!((ran.exit, files(&fleet).len()), (6, 0), "{} {:?}", ran.document, files(&fleet));
    // Nothing of the ways back stays once they are confirmed.
    let fine = apply(&fleet, &play.replace("touch no-login", "touch harmless").replace("rm -f no-log*", "rm harmless"), &[]);
    let run = fine.document["run"].as_str().expect("a run");
    assert_eq!(fine.exit, 0, "{}", fine.document);
    assert!(!fleet.host("alpha").home.join(".local/state/mutate/runs").join(run).join("watch").exists());
}

#[test]
fn a_rollback_that_cannot_even_begin_is_no_success() {
    let fleet = Fleet::start(&["alpha"], &Faults::default());
    assert_eq!(apply(&fleet, "hosts = 'all'\n[[task]]\nname = 'f'\nfile = { path = '~/d', state = 'directory' }\n", &[]).exit, 0);
    let handlers = fleet.host("alpha").home.join(".local/state/mutate/handlers");
    std::fs::remove_dir(&handlers).expect("a folder");
    std::fs::write(&handlers, "").expect("a file");
    let back = read(mutate(&fleet, &["rollback", "--output", "json"]).output().expect("the program runs"));
    assert_eq!((back.exit, &back.document["hosts"]["alpha"]["outcome"]), (7, &"failed".into()), "{}", back.document);
    assert!(fleet.host("alpha").home.join("d").exists());
}
