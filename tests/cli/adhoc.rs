//! Commands and single modules from the command line.

use std::process::Stdio;
use std::time::Duration;

use super::faults::wait_for;
use super::{Faults, Fleet, Ran, mutate, one, read, two};

fn run(fleet: &Fleet, words: &[&str]) -> Ran {
    let mut all = vec![words[0], "--output", "json"];
    all.extend_from_slice(&words[1..]);
    read(mutate(fleet, &all).output().expect("the program runs"))
}

/// stdout, stderr and exit status in the form for people.
fn seen(fleet: &Fleet, words: &[&str]) -> (String, String, i32) {
    let output = mutate(fleet, words).output().expect("the program runs");
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned(), output.status.code().unwrap_or(-1))
}

/// What the journal lists.
fn history(fleet: &Fleet) -> String {
    let mut command = std::process::Command::new(super::program());
    command.args(["history"]).env_clear().env("HOME", fleet.folder.path().join("controller")).env("PATH", "/usr/bin:/bin");
    String::from_utf8_lossy(&command.output().expect("the program runs").stdout).into_owned()
}

#[test]
fn a_command_has_its_status_and_both_streams() {
    let fleet = two();
    let ran = run(&fleet, &["run", "all", "--", "echo out; echo err >&2; [ \"${PWD##*/}\" = alpha ] || exit 3"]);
    assert_eq!(ran.exit, 4, "{}", ran.document);
    let (alpha, beta) = (&ran.document["hosts"]["alpha"]["steps"][0], &ran.document["hosts"]["beta"]["steps"][0]);
    assert_eq!((&alpha["outcome"], &alpha["status"], &alpha["stdout"], &alpha["stderr"]), (&"changed".into(), &0.into(), &"out\n".into(), &"err\n".into()));
    assert_eq!((&beta["outcome"], &beta["status"]), (&"failed".into(), &3.into()));
    assert_eq!(ran.document["command"], "run");
}

#[test]
fn a_command_that_ends_itself_has_the_status_of_its_signal() {
    let fleet = one();
    let step = |command: &str| {
        let ran = run(&fleet, &["run", "alpha", "--", command]);
        let step = &ran.document["hosts"]["alpha"]["steps"][0];
        format!("{} {} {}{} {}", ran.exit, step["outcome"], step["status"], step["stdout"], step["stderr"])
    };
    assert_eq!(step("stop() { echo 'no more' >&2; kill $$; }; (stop); echo on"), "4 \"failed\" 143\"\" \"no more\\n\"");
    assert_eq!(step("printf %s so far; kill -9 $$"), "4 \"failed\" 137\"sofar\" \"\"");
    // What it leaves behind holds nobody, and is left alone.
    assert_eq!(step("sleep 3.21 & echo \"${n-none} $#\""), "0 \"changed\" 0\"none 0\\n\" \"\"");
    let left = std::process::Command::new("pgrep").args(["-cf", "^sleep 3.21$"]).output().expect("pgrep runs");
    assert_eq!(String::from_utf8_lossy(&left.stdout).trim(), "1");
}

/// What the server is asked to execute stands in the list of processes of the host.
#[test]
fn no_text_of_the_user_stands_in_the_command_that_opens_a_shell() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let (shell, told) = (folder.path().join("sh"), folder.path().join("told"));
    std::fs::write(&shell, format!("#!/bin/sh\nprintf '%s\\n' \"$2\" >>{}\nexec /bin/sh \"$@\"\n", told.display())).expect("a script");
    std::fs::set_permissions(&shell, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let fleet = Fleet::start(&["alpha"], &Faults { shell: Some(shell.display().to_string()), ..Faults::default() });
    let guarded = fleet.write("guarded.toml", "hosts = 'alpha'\n[[task]]\nshell = { cmd = 'true', unless = 'test grasshopper = x' }\n").display().to_string();
    let hidden = fleet.write("hidden.toml", "hosts = 'alpha'\n[[task]]\nstat = '/grasshopper'\nno_log = true\n").display().to_string();
    for words in [&["run", "alpha", "--", "echo grasshopper"][..], &["apply", &guarded], &["apply", &hidden]] {
        assert_eq!(run(&fleet, words).exit, 0);
    }
    let told = std::fs::read_to_string(&told).expect("what was executed");
    assert_eq!(told.matches("exec sh -c").count(), 3, "{told}");
    assert!(!told.contains("grasshopper"), "{told}");
}

#[test]
fn a_long_command_says_and_does_the_same() {
    let fleet = one();
    let long = format!("# {}\necho out; echo err >&2; exit 3", "x".repeat(5000));
    let ran = run(&fleet, &["run", "alpha", "--", &long]);
    let step = &ran.document["hosts"]["alpha"]["steps"][0];
    assert_eq!((&step["status"], &step["stdout"], &step["stderr"]), (&3.into(), &"out\n".into(), &"err\n".into()), "{}", ran.document);
}

#[test]
fn a_command_is_taken_as_it_stands() {
    let fleet = one();
    let ran = run(&fleet, &["run", "alpha", "--", "echo '{{.Names}} {% x %}' | tr N n; echo \"$HOME\"; yes | head -1"]);
    let home = fleet.host("alpha").home.display().to_string();
    assert_eq!((ran.exit, &ran.document["hosts"]["alpha"]["steps"][0]["stdout"]), (0, &format!("{{{{.names}}}} {{% x %}}\n{home}\ny\n").into()), "{}", ran.document);
    let filled = run(&fleet, &["run", "alpha", "--template", "--", "echo {{ host.name }}"]);
    assert_eq!(filled.document["hosts"]["alpha"]["steps"][0]["stdout"], "alpha\n");
}

#[test]
fn a_command_needs_no_lock_and_leaves_nothing() {
    let fleet = one();
    assert_eq!(run(&fleet, &["run", "alpha", "--", "true"]).exit, 0);
    assert!(!fleet.host("alpha").home.join(".local").exists(), "a command leaves no state on the host");
}

#[test]
fn equal_outputs_are_folded_and_lines_are_labelled() {
    let fleet = Fleet::start(&["web1", "web2", "web3"], &Faults::default());
    let command = "case $PWD in *web2) echo other;; *) echo same;; esac";
    let (folded, said, exit) = seen(&fleet, &["run", "all", "-b", "--", command]);
    assert_eq!((folded.as_str(), exit), ("---------------\nweb[1,3] (2)\n---------------\nsame\n---------------\nweb2\n---------------\nother\n", 0), "{said}");
    let (labelled, ..) = seen(&fleet, &["run", "all", "-L", "--", command]);
    let mut lines: Vec<&str> = labelled.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["web1: same", "web2: other", "web3: same"]);
    let (compared, ..) = seen(&fleet, &["run", "all", "--diff", "--", command]);
    assert!(compared.contains("web[1,3] (2)") && compared.contains("web2 differ") && compared.contains("-same\n+other"), "{compared}");
    let (bare, ..) = seen(&fleet, &["run", "web2", "-N", "--", "printf 'a\\033[1mb'"]);
    assert_eq!(bare, "a\x1b[1mb\n", "what is no terminal gets every byte");
}

#[test]
fn lines_come_while_the_command_runs() {
    use std::io::BufRead as _;
    let fleet = one();
    let gate = fleet.host("alpha").home.join("gate");
    let mut child = mutate(&fleet, &["run", "alpha", "-L", "--", "echo first; until [ -e gate ]; do sleep 0.05; done; echo second"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut lines = std::io::BufReader::new(child.stdout.take().expect("stdout")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "alpha: first");
    std::fs::write(gate, "").expect("a file");
    assert_eq!(lines.next().expect("a line").expect("text"), "alpha: second");
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn stdin_goes_to_all_hosts() {
    use std::io::Write as _;
    let fleet = two();
    let mut child = mutate(&fleet, &["run", "all", "--stdin", "--output", "json", "--", "cat; echo; wc -c"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the program runs");
    child.stdin.take().expect("stdin").write_all("a 'b' {{ c }}\n%s\\n".as_bytes()).expect("writing");
    let ran = read(child.wait_with_output().expect("it ends"));
    for host in ["alpha", "beta"] {
        let stdout = ran.document["hosts"][host]["steps"][0]["stdout"].as_str().expect("text");
        assert!(stdout.starts_with("a 'b' {{ c }}\n%s\\n\n") && stdout.trim_end().ends_with('0'), "{stdout}");
    }
}

#[test]
fn stdin_may_be_long_but_not_without_end() {
    use std::io::Write as _;
    let fleet = one();
    for (bytes, exit) in [(500_000, 0), (600_000, 1)] {
        let mut child = mutate(&fleet, &["run", "all", "--stdin", "--", "wc -c"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("the program runs");
        // It may have gone before it has read all.
        let _gone = child.stdin.take().expect("stdin").write_all(&b"0123456789".repeat(bytes / 10));
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(exit), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8_lossy(if exit == 0 { &output.stdout } else { &output.stderr }).into_owned();
        assert!(said.contains(if exit == 0 { "500000" } else { "mutate push" }), "{said}");
    }
}

#[test]
fn a_lock_is_shown_and_freed_by_the_name_of_its_run() {
    let fleet = one();
    let lock = fleet.host("alpha").home.join(".local/state/mutate/lock");
    let said = |ran: &Ran| ran.document["hosts"]["alpha"]["steps"][0]["stdout"].as_str().unwrap_or_default().to_owned();
    let none = run(&fleet, &["unlock", "alpha"]);
    assert_eq!((none.exit, said(&none).as_str()), (0, "not locked\n"), "{}", none.document);
    // A holder that lives and will not let go: this process.
    let stat = std::fs::read_to_string("/proc/self/stat").expect("the process");
    let born = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(19)).expect("its start");
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("the boot");
    let up = std::fs::read_to_string("/proc/uptime").expect("the uptime");
    let since = up.split('.').next().expect("seconds");
    std::fs::create_dir_all(&lock).expect("the lock");
    std::fs::set_permissions(lock.parent().expect("a folder"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("a mode");
    std::fs::write(lock.join("owner"), format!("{} {born} {} {since} 01HELD\nann@laptop `mutate apply`\nfor alpha\n", std::process::id(), boot.trim())).expect("the owner");
    let refused = run(&fleet, &["do", "alpha", "file", "path=~/new", "state=touch"]);
    let message = refused.document["hosts"]["alpha"]["message"].as_str().unwrap_or_default();
    assert!(refused.exit == 8 && message.contains("mutate unlock HOST --run 01HELD"), "{}", refused.document);
    let shown = run(&fleet, &["unlock", "alpha"]);
    assert!(said(&shown).starts_with("locked by ann@laptop `mutate apply`, run 01HELD, for ") && lock.exists(), "{}", shown.document);
    assert_eq!(run(&fleet, &["unlock", "alpha", "--run", "01OTHER"]).exit, 4);
    assert!(lock.exists(), "the lock of another run");
    let freed = run(&fleet, &["unlock", "alpha", "--run", "01HELD", "--reason", "it hangs"]);
    assert_eq!((freed.exit, &freed.document["hosts"]["alpha"]["outcome"]), (0, &"changed".into()), "{}", freed.document);
    let left: Vec<_> = std::fs::read_dir(lock.parent().expect("a folder")).expect("the state").flatten().map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("lock")), "{left:?}");
    let text = history(&fleet);
    assert!(text.contains("it hangs") && text.contains("unlock"), "{text}");
    assert_eq!(run(&fleet, &["do", "alpha", "file", "path=~/new", "state=touch"]).exit, 0);
}

#[test]
fn a_budget_of_failures_ends_the_round() {
    let names: Vec<String> = (1..=12).map(|number| format!("h{number}")).collect();
    let fleet = Fleet::start(&names.iter().map(String::as_str).collect::<Vec<_>>(), &Faults::default());
    let ran = run(&fleet, &["run", "all", "-f", "1", "--max-fail", "2", "--", "exit 1"]);
    let count = |outcome: &str| ran.document["hosts"].as_object().expect("hosts").values().filter(|host| host["outcome"] == outcome).count();
    assert_eq!((count("failed"), count("skipped"), ran.exit), (3, 9, 4), "{}", ran.document);
}

#[test]
fn a_command_without_end_is_killed_and_a_lost_one_is_unknown() {
    let fleet = one();
    let ran = run(&fleet, &["run", "alpha", "--timeout", "1", "--", "sleep 60"]);
    assert_eq!(ran.exit, 4, "{}", ran.document);
    assert!(ran.document["hosts"]["alpha"]["steps"][0]["message"].as_str().is_some_and(|said| said.contains("within 1 s")), "{}", ran.document);
    let fleet = one();
    fleet.host("alpha").close_at(9);
    let ran = run(&fleet, &["run", "alpha", "--", "for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.1; done"]);
    assert_eq!((ran.exit, &ran.document["hosts"]["alpha"]["outcome"]), (7, &"unknown".into()), "{}", ran.document);
    let said = ran.document["hosts"]["alpha"]["steps"][0]["stdout"].as_str().unwrap_or_default();
    assert!(said.starts_with("1\n"), "what it had said before is kept: {said}");
}

#[test]
fn a_command_that_nobody_heard_of_may_have_run() {
    // What it says, and that its login was good, is on its way when contact is lost.
    let fleet = Fleet::start(&["alpha"], &Faults { delay: Duration::from_millis(400), ..Faults::default() });
    let child = mutate(&fleet, &["run", "alpha", "--output", "json", "--", "touch ~/begun"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program runs");
    wait_for(&fleet.host("alpha").home.join("begun"));
    fleet.host("alpha").cut();
    let ran = super::read(child.wait_with_output().expect("an end"));
    assert_eq!((ran.exit, &ran.document["hosts"]["alpha"]["outcome"]), (7, &"unknown".into()), "{}", ran.document);
    // Nor does an interrupt make it undone: what becomes of it is waited for.
    let fleet = Fleet::start(&["alpha"], &Faults { delay: Duration::from_millis(400), ..Faults::default() });
    let child = mutate(&fleet, &["run", "alpha", "--output", "json", "--", "touch ~/begun; echo done"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program runs");
    wait_for(&fleet.host("alpha").home.join("begun"));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a process")), nix::sys::signal::Signal::SIGINT).expect("a signal");
    let ran = super::read(child.wait_with_output().expect("an end"));
    let host = &ran.document["hosts"]["alpha"];
    assert_eq!((&host["steps"][0]["outcome"], &host["steps"][0]["stdout"]), (&"changed".into(), &"done\n".into()), "{}", ran.document);
    // A login that was refused began nothing.
    let fleet = Fleet::start(&["alpha"], &Faults { refuse_login: true, ..Faults::default() });
    let ran = run(&fleet, &["run", "alpha", "--", "touch ~/begun"]);
    assert_eq!((ran.exit, &ran.document["hosts"]["alpha"]["outcome"]), (5, &"unreachable".into()), "{}", ran.document);
    assert!(!fleet.host("alpha").home.join("begun").exists());
}

#[test]
fn a_script_runs_with_its_arguments_and_its_reader() {
    let fleet = one();
    let script = fleet.write("s.sh", "#!/bin/sh -e\necho \"$# $1 $2\"\nread -r x || echo none\nfalse\necho never\n").display().to_string();
    let ran = run(&fleet, &["script", "alpha", &script, "a b", "--", "-x"]);
    let step = &ran.document["hosts"]["alpha"]["steps"][0];
    assert_eq!((ran.exit, &step["stdout"], &step["status"]), (4, &"3 a b --\nnone\n".into(), &1.into()), "{}", ran.document);
    let program = fleet.write("binary", "\0ELF").display().to_string();
    std::fs::write(&program, [0x7f, 0x45, 0xff]).expect("a file");
    assert!(seen(&fleet, &["script", "alpha", &program]).1.contains("is no text"));
}

#[test]
fn one_module_has_all_that_a_task_has() {
    let fleet = one();
    let path = fleet.host("alpha").home.join("motd");
    std::fs::write(&path, "before\n").expect("a file");
    let words = ["do", "alpha", "copy", "content=hello {{ host.name }}", "dest=~/motd", "mode=0640"];
    let check = run(&fleet, &[&words[..], &["--check"]].concat());
    assert_eq!((check.exit, check.outcomes("alpha")), (0, vec!["changed"]));
    assert_eq!(std::fs::read_to_string(&path).expect("the file"), "before\n");
    assert_eq!(run(&fleet, &words).outcomes("alpha"), ["changed"]);
    assert_eq!(run(&fleet, &words).outcomes("alpha"), ["ok"]);
    assert_eq!(std::fs::read_to_string(&path).expect("the file"), "hello alpha");
    // The last run changed nothing, so it is the one before that goes back.
    let back = run(&fleet, &["rollback"]);
    assert_eq!((back.exit, std::fs::read_to_string(&path).expect("the file").as_str()), (0, "before\n"), "{}", back.document);
}

#[test]
fn mistakes_are_told_before_anybody_is_contacted() {
    let fleet = one();
    for (words, part) in [
        (&["do", "alpha", "copi", "dest=/x"][..], "did you mean `copy`"),
        (&["do", "alpha", "copy", "dets=~/x", "content=a"], "dets"),
        (&["do", "alpha", "copy", "content=a", "dest=x"], "dest"),
        (&["push", "alpha", "missing-file", "~/x"], "missing-file"),
        (&["push", "alpha", "a", "b", "~/x"], "~/x/"),
        (&["run", "gamma", "--", "true"], "gamma"),
        (&["run", "alpha", "--", ""], "no command"),
        (&["run", "alpha", "--max-fail", "many", "--", "true"], "max_fail"),
        (&["script", "alpha", "missing-script"], "missing-script"),
    ] {
        let (_, said, exit) = seen(&fleet, words);
        assert!((exit == 1 || exit == 3) && said.contains(part), "{words:?}: {exit} {said}");
    }
    assert_eq!(fleet.host("alpha").connections(), 0);
}

#[test]
fn files_are_pushed_with_a_backup() {
    let fleet = two();
    let file = fleet.write("a.conf", "new\n").display().to_string();
    let other = fleet.write("b.conf", "second\n").display().to_string();
    for host in ["alpha", "beta"] {
        std::fs::create_dir(fleet.host(host).home.join("conf")).expect("a folder");
        std::fs::write(fleet.host(host).home.join("conf/a.conf"), "old\n").expect("a file");
    }
    let ran = run(&fleet, &["push", "all", &file, &other, "~/conf/", "--mode", "0600"]);
    assert_eq!((ran.exit, ran.outcomes("beta")), (0, vec!["changed"; 2]), "{}", ran.document);
    assert_eq!(std::fs::read_to_string(fleet.host("beta").home.join("conf/a.conf")).expect("the file"), "new\n");
    assert_eq!(run(&fleet, &["rollback"]).exit, 0);
    assert_eq!(std::fs::read_to_string(fleet.host("beta").home.join("conf/a.conf")).expect("the file"), "old\n");
    assert!(!fleet.host("beta").home.join("conf/b.conf").exists());
}

#[test]
fn every_command_is_in_the_journal() {
    let fleet = one();
    run(&fleet, &["run", "alpha", "--reason", "hotfix 7", "--", "echo done"]);
    let text = history(&fleet);
    assert!(text.contains(" run ") && text.contains("hotfix 7"), "{text}");
}

#[test]
fn files_are_fetched_into_a_folder_per_host() {
    let fleet = two();
    let large: Vec<u8> = (0..700_000_u32).map(|at| u8::try_from(at % 253).expect("small")).collect();
    for host in ["alpha", "beta"] {
        std::fs::create_dir(fleet.host(host).home.join("a b")).expect("a folder");
        std::fs::write(fleet.host(host).home.join("a b/log"), &large).expect("a file");
    }
    let into = fleet.folder.path().join("fetched");
    let folder = into.display().to_string();
    let ran = run(&fleet, &["fetch", "all", "~/a b/log", &folder]);
    assert_eq!((ran.exit, ran.outcomes("beta")), (0, vec!["changed"]), "{}", ran.document);
    assert_eq!(std::fs::read(into.join("beta/a b/log")).expect("the file"), large);
    assert_eq!(run(&fleet, &["fetch", "all", "~/a b/log", &folder]).outcomes("beta"), ["ok"]);
    let ran = run(&fleet, &["fetch", "alpha", "~/missing", "~/a b", "/proc/self/mem", &folder]);
    let said: Vec<&str> = (0..3).map(|at| ran.document["hosts"]["alpha"]["steps"][at]["message"].as_str().expect("a message")).collect();
    assert!(ran.exit == 4 && said[0].contains("no such file") && said[1].contains("is a folder"), "{said:?}");
    let left: Vec<_> = super::tree(&into).into_iter().filter(|(path, _)| path.contains(".mutate")).collect();
    assert!(left.is_empty(), "{left:?}");
    for (path, part) in [("relative", "no path on a host"), ("/a/../b", "could lead anywhere")] {
        assert!(seen(&fleet, &["fetch", "all", path, &folder]).1.contains(part), "{path}");
    }
}

#[test]
fn a_fetch_that_breaks_off_leaves_nothing_here() {
    let fleet = one();
    std::fs::write(fleet.host("alpha").home.join("large"), vec![b'x'; 8 << 20]).expect("a file");
    let into = fleet.folder.path().join("fetched");
    fleet.host("alpha").close_at(40);
    let ran = run(&fleet, &["fetch", "alpha", "~/large", &into.display().to_string()]);
    assert_eq!(ran.exit, 5, "{}", ran.document);
    let files: Vec<_> = super::tree(&into).into_iter().filter(|(path, _)| path.contains("large") || path.contains(".mutate")).collect();
    assert!(files.is_empty(), "{files:?}");
}
