//! Faults at every point, and what must hold after each of them: journal, ledger, backups and files agree, nothing half
//! done is left, and the next run makes it good.
//!
//! How often is said by `MUTATE_SWEEP`: without it a sample; `push` in CI, where they run by themselves, at every second point; `full` before a
//! release, at every point.

#![allow(clippy::print_stdout, reason = "a sweep that did not run says so")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use sha2::Digest as _;

use super::{Fleet, mutate, read};
use crate::fleet::Faults;

/// How often a sweep is to be done.
#[derive(Clone, Copy)]
enum Effort {
    Sample,
    Push,
    Full,
}

impl Effort {
    /// What is asked for, or nothing when it is done later by itself.
    fn asked() -> Option<Self> {
        match std::env::var("MUTATE_SWEEP").as_deref() {
            Ok("full") => Some(Self::Full),
            Ok("push") => Some(Self::Push),
            Ok("later") => {
                println!("the sweep did not run: it runs later, by itself");
                None
            }
            _ => Some(Self::Sample),
        }
    }

    fn of<T>(self, sample: T, push: T, full: T) -> T {
        match self {
            Self::Sample => sample,
            Self::Push => push,
            Self::Full => full,
        }
    }
}

/// Numbers that look random, the same ones every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below.max(1)
    }
}

/// Thirty steps of several kinds, whose content depends on `round`.
fn playbook() -> String {
    let mut text = String::from("hosts = 'all'\n");
    for number in 0..8 {
        text.push_str(&format!("[[task]]\ncopy = {{ content = \"{}{{{{ round }}}}\\n\", dest = '~/file{number}', mode = '0640' }}\nnotify = 'tell'\n", "0123456789".repeat(300)));
        text.push_str(&format!("[[task]]\nlineinfile = {{ path = '~/lines{number}', regexp = '^v=', line = 'v={{{{ round }}}}', create = true }}\n"));
        text.push_str(&format!("[[task]]\nshell = {{ cmd = 'echo {{{{ round }}}} >>count{number}; touch done{number}-{{{{ round }}}}', creates = '~/done{number}-{{{{ round }}}}' }}\n"));
    }
    for number in 0..6 {
        text.push_str(&format!("[[task]]\nfile = {{ path = '~/d/{{{{ round }}}}/{number}', state = 'directory' }}\n"));
    }
    text.push_str("[[handler]]\nname = 'tell'\nshell = { cmd = 'echo {{ round }} >>told', always = true }\n");
    text
}

fn state(home: &Path) -> PathBuf {
    home.join(".local/state/mutate")
}

/// Waits until no shell of a run is at work on the hosts.
fn wait_for_rest(fleet: &Fleet) {
    let began = Instant::now();
    while fleet.hosts.iter().any(|host| !is_quiet(&host.home)) {
        assert!(began.elapsed() < Duration::from_secs(30), "a shell does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether no process works in a folder.
fn is_quiet(home: &Path) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return true };
    !processes.flatten().any(|process| std::fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(home)))
}

/// What the ledger of a run says: how steps ended, and what was kept for them.
#[derive(Default)]
struct Ledger {
    begun: Vec<u32>,
    done: BTreeMap<u32, String>,
    kept: BTreeMap<u32, String>,
}

/// The ledgers of a host, but for runs that have been looked at for good.
fn ledgers(home: &Path, but: &BTreeSet<String>) -> BTreeMap<String, Ledger> {
    let Ok(runs) = std::fs::read_dir(state(home).join("runs")) else { return BTreeMap::new() };
    let mut all = BTreeMap::new();
    for run in runs.flatten().filter(|run| !but.contains(run.file_name().to_string_lossy().as_ref())) {
        let text = std::fs::read_to_string(run.path().join("ledger")).unwrap_or_default();
        let mut ledger = Ledger::default();
        for line in text.lines() {
            let mut words = line.splitn(3, ' ');
            let (word, seq, rest) = (words.next().unwrap_or_default(), words.next().and_then(|seq| seq.parse().ok()), words.next().unwrap_or_default());
            match (word, seq) {
                ("begin", Some(seq)) => ledger.begun.push(seq),
                ("done", Some(seq)) => drop(ledger.done.insert(seq, rest.split(' ').next().unwrap_or_default().to_owned())),
                ("kept", Some(seq)) => drop(ledger.kept.insert(seq, rest.to_owned())),
                _ => {}
            }
        }
        all.insert(run.file_name().to_string_lossy().into_owned(), ledger);
    }
    all
}

/// Outcomes in the journal, by run, host and number: as they were told, and as they were settled later.
fn journal(fleet: &Fleet) -> BTreeMap<(String, String, u32), (String, Option<String>)> {
    let path = fleet.folder.path().join("controller/.local/state/mutate/journal.db");
    let connection = rusqlite::Connection::open(path).expect("the journal");
    let mut statement = connection.prepare("SELECT run, host, seq, outcome, settled FROM steps WHERE seq > 0").expect("a query");
    let rows = statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?, row.get(2)?), (row.get(3)?, row.get::<_, Option<String>>(4)?)))).expect("rows");
    let outcome = |settled: Option<String>| settled.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok()?["outcome"].as_str().map(str::to_owned));
    rows.map(|row| row.expect("a row")).map(|(key, (told, settled))| (key, (told, outcome(settled)))).collect()
}

/// A fleet, and the runs on it that have been looked at for good.
struct Scene {
    fleet: Fleet,
    path: String,
    settled: BTreeSet<String>,
    /// The ledger itself may not have taken a line.
    is_ledger_lame: bool,
}

impl Scene {
    /// With a playbook that has been applied once, undisturbed.
    fn new(fleet: Fleet, playbook: &str) -> Self {
        let path = fleet.write("play.toml", playbook).display().to_string();
        let mut scene = Self { fleet, path, settled: BTreeSet::new(), is_ledger_lame: false };
        scene.converge(0, "undisturbed");
        scene
    }

    fn home(&self) -> &Path {
        &self.fleet.hosts[0].home
    }

    fn apply(&self, round: u64) -> std::process::Command {
        mutate(&self.fleet, &["apply", &self.path, "-e", &format!("round={round}"), "--output", "json"])
    }

    /// What must hold at any moment at which nothing is at work: journal, ledger and backups agree.
    fn check(&self, context: &str) {
        let mut journal = journal(&self.fleet);
        journal.retain(|(run, ..), _| !self.settled.contains(run));
        let ledgers: BTreeMap<&str, _> = self.fleet.hosts.iter().map(|host| (host.name.as_str(), ledgers(&host.home, &self.settled))).collect();
        for host in &self.fleet.hosts {
            for (run, ledger) in &ledgers[host.name.as_str()] {
                for seq in &ledger.begun {
                    // Nothing is begun that the journal does not know of.
                    assert!(journal.contains_key(&(run.clone(), host.name.clone(), *seq)), "{context}: {run} {} {seq} is not in the journal", host.name);
                }
                for record in ledger.kept.values().filter(|record| record.starts_with("file ")) {
                    let hash = record.split(' ').nth(6).expect("a hash");
                    let backup = std::fs::read(state(&host.home).join("store").join(hash)).unwrap_or_else(|error| panic!("{context}: the backup {hash}: {error}"));
                    let found: String = sha2::Sha256::digest(&backup).iter().map(|byte| format!("{byte:02x}")).collect();
                    assert_eq!(found, hash, "{context}: a backup is damaged");
                }
            }
        }
        for ((run, name, seq), (told, settled)) in &journal {
            let done = ledgers[name.as_str()].get(run).and_then(|ledger| ledger.done.get(seq)).map(String::as_str);
            match settled.as_deref().unwrap_or(told) {
                "changed" => assert!(done == Some("changed") || done.is_none() && self.is_ledger_lame, "{context}: {run} {name} {seq}: {done:?}"),
                "ok" => assert!(matches!(done, Some("changed" | "ran") | None), "{context}: {run} {name} {seq}: {done:?}"),
                "cancelled" => assert!(matches!(done, None | Some("conflict" | "refused" | "skipped")), "{context}: {run} {name} {seq}: {done:?}"),
                "failed" => assert!(!matches!(done, Some("changed" | "ran")), "{context}: {run} {name} {seq}: {done:?}"),
                // Nobody knows yet.
                _ => {}
            }
        }
    }

    /// Settles what is open, runs once more, and finds nothing left to do.
    fn converge(&mut self, round: u64, context: &str) {
        let resolve = || mutate(&self.fleet, &["resolve"]).output().expect("the program runs");
        let mut settled = resolve();
        if settled.status.code() == Some(7) && String::from_utf8_lossy(&settled.stdout).contains("begun and never ended") {
            // A command without a test of its own, whose shell was killed: that nobody knows is said once.
            settled = resolve();
        }
        assert!(settled.status.success(), "{context}: {}{}", String::from_utf8_lossy(&settled.stdout), String::from_utf8_lossy(&settled.stderr));
        let run = || read(self.apply(round).output().expect("the program runs"));
        let ran = run();
        assert_eq!(ran.exit, 0, "{context}: {} {}", ran.document, ran.stderr);
        wait_for_rest(&self.fleet);
        self.check(context);
        let again = run();
        assert_eq!((again.exit, &again.document["totals"]["changed"]), (0, &0.into()), "{context}: {}", again.document);
        for host in &self.fleet.hosts {
            check_files(&host.home, round + 1, context);
            assert_eq!(temporaries(&host.home), Vec::<String>::new(), "{context}");
            assert_eq!(std::fs::read_dir(state(&host.home).join("handlers")).expect("a folder").count(), 0, "{context}: a handler is pending");
        }
        self.settled.extend(journal(&self.fleet).into_keys().map(|(run, ..)| run));
    }

    /// One run under a fault, which ends by itself: whatever its end, it is true.
    fn disturbed(&self, round: u64, context: &str) {
        let ran = read(self.apply(round).output().expect("the program runs"));
        assert!([0, 4, 5, 7, 8].contains(&ran.exit), "{context}: {} {}", ran.document, ran.stderr);
        let began = Instant::now();
        while !is_quiet(self.home()) && began.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut told = ran.document["hosts"].clone();
        for step in told["alpha"]["steps"].as_array_mut().into_iter().flatten() {
            step["diff"] = "".into();
        }
        let ledger = std::fs::read_to_string(state(self.home()).join("runs").join(ran.document["run"].as_str().expect("a run")).join("ledger")).unwrap_or_default();
        self.check(&format!("{context}: {told}\n{ledger}\n"));
        check_files(self.home(), round + 1, context);
        check_counts(self.home(), context);
        if ran.exit == 0 {
            let text = std::fs::read_to_string(self.home().join("file1")).expect("a file");
            assert!(text.ends_with(&format!("9{round}\n")) && self.home().join(format!("d/{round}")).exists(), "{context}: it was told as done: {}", ran.document);
        }
    }
}

/// Every managed file is whole and as some round made it, and nothing else lies about.
fn check_files(home: &Path, rounds: u64, context: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let whole = "0123456789".repeat(300);
    for entry in std::fs::read_dir(home).expect("a home").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let text = || std::fs::read_to_string(entry.path()).expect("text");
        let is_round = |text: &str| text.trim_end().parse::<u64>().is_ok_and(|round| round < rounds);
        match name.trim_end_matches(|letter: char| letter.is_ascii_digit()) {
            "file" => {
                assert!(text().strip_prefix(&whole).is_some_and(|rest| rest.ends_with('\n') && is_round(rest)), "{context}: {name} is half a file");
                assert_eq!(entry.metadata().expect("metadata").permissions().mode() & 0o7777, 0o640, "{context}: {name}");
            }
            "lines" => assert!(text().strip_prefix("v=").is_some_and(is_round), "{context}: {name}: {}", text()),
            _ => {}
        }
    }
}

fn temporaries(home: &Path) -> Vec<String> {
    let names = std::fs::read_dir(home).expect("a home").flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(".mutate")).collect()
}

/// Nobody does a thing of one round twice.
fn check_counts(home: &Path, context: &str) {
    for number in 0..8 {
        let text = std::fs::read_to_string(home.join(format!("count{number}"))).unwrap_or_default();
        let mut rounds: Vec<&str> = text.lines().collect();
        rounds.sort_unstable();
        let all = rounds.len();
        rounds.dedup();
        assert_eq!(rounds.len(), all, "{context}: count{number}: {text}");
    }
}

#[test]
fn the_controller_may_be_killed_at_any_instant() {
    let Some(effort) = Effort::asked() else { return };
    let rounds: u64 = effort.of(25, 200, 1000);
    let mut scene = Scene::new(Fleet::start(&["a", "b", "c", "d", "e"], &Faults::default()), &playbook());
    let began = Instant::now();
    scene.converge(1, "undisturbed");
    // The login, the questions, the changes and the end, and a bit more: two runs were made.
    let whole = u64::try_from(began.elapsed().as_millis()).expect("a short time") * 2 / 3;
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for round in 2..rounds + 2 {
        let mut child = scene.apply(round).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program runs");
        std::thread::sleep(Duration::from_millis(dice.roll(whole)));
        let _gone = child.kill();
        let _reaped = child.wait();
        wait_for_rest(&scene.fleet);
        let context = format!("round {round}");
        scene.check(&context);
        for host in &scene.fleet.hosts {
            assert!(!state(&host.home).join("lock").exists(), "{context}: the lock was left");
            check_files(&host.home, round + 1, &context);
            check_counts(&host.home, &context);
        }
        if round % 25 == 0 {
            scene.converge(round, &context);
        }
    }
    scene.converge(rounds + 1, "the end");
    for host in &scene.fleet.hosts {
        check_counts(&host.home, "the end");
    }
}

/// Some steps of every kind on one host, each of which is done once per round.
fn short_playbook() -> String {
    let mut text = String::from("hosts = 'all'\ntimeout = 20\n");
    for number in 0..2 {
        text.push_str(&format!("[[task]]\ncopy = {{ content = \"{}{{{{ round }}}}\\n\", dest = '~/file{number}', mode = '0640' }}\nnotify = 'tell'\n", "0123456789".repeat(300)));
        text.push_str(&format!("[[task]]\nshell = {{ cmd = 'echo {{{{ round }}}} >>count{number}; touch done{number}-{{{{ round }}}}', creates = '~/done{number}-{{{{ round }}}}' }}\n"));
        text.push_str(&format!("[[task]]\nlineinfile = {{ path = '~/lines{number}', regexp = '^v=', line = 'v={{{{ round }}}}', create = true }}\n"));
    }
    // These are made together.
    for number in 2..4 {
        text.push_str(&format!("[[task]]\ncopy = {{ content = \"{}{{{{ round }}}}\\n\", dest = '~/file{number}', mode = '0640' }}\nnotify = 'tell'\n", "0123456789".repeat(300)));
    }
    text.push_str("[[task]]\nfile = { path = '~/l{{ round }}', state = 'link', src = 'file2' }\n");
    // And these are one change of one file.
    for key in ["a", "b"] {
        text.push_str(&format!("[[task]]\nlineinfile = {{ path = '~/pair', regexp = '^{key}=', line = '{key}={{{{ round }}}}', create = true }}\n"));
    }
    text.push_str("[[task]]\nfile = { path = '~/d/{{ round }}', state = 'directory' }\n[[handler]]\nname = 'tell'\nshell = { cmd = 'echo {{ round }} >>told', always = true }\n");
    text
}

#[test]
fn the_connection_may_be_closed_at_every_frame() {
    let Some(effort) = Effort::asked() else { return };
    let mut scene = Scene::new(Fleet::start(&["alpha"], &Faults::default()), &short_playbook());
    for (round, at) in (1..).step_by(effort.of(9, 2, 1)).enumerate() {
        let (round, context) = (round as u64 + 1, format!("closed at message {at}"));
        scene.fleet.hosts[0].close_at(at);
        scene.disturbed(round, &context);
        let was_closed = scene.fleet.hosts[0].messages_left() == 0;
        scene.fleet.hosts[0].close_at(0);
        scene.converge(round, &context);
        if !was_closed {
            assert!(at > 40, "so few messages cannot be all");
            return;
        }
    }
}

/// A host whose first session after `armed` was written runs under strace, with the fault that stands there; and where.
fn traced() -> Option<(Fleet, tempfile::TempDir)> {
    if std::process::Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        assert!(std::env::var_os("CI").is_none(), "strace must be there in CI");
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let shell = folder.path().join("shell");
    let text = "#!/bin/sh\nf=FOLDER\nif read -r inject 2>/dev/null <$f/armed; then rm $f/armed; exec strace -f -q -o $f/log -e trace=\"${inject%%:*}\" -e inject=\"$inject\" /bin/sh \"$@\"; fi\nexec /bin/sh \"$@\"\n";
    std::fs::write(&shell, text.replace("FOLDER", &folder.path().display().to_string())).expect("a script");
    std::fs::set_permissions(&shell, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("its mode");
    Some((Fleet::start(&["alpha"], &Faults { shell: Some(shell.display().to_string()), ..Faults::default() }), folder))
}

/// What changes files, and what makes the processes that do. Those that this machine does not have do not matter.
const CALLS: &str = "?open,openat,write,?rename,?renameat,renameat2,?unlink,unlinkat,fsync,fdatasync,sync,syncfs,?chmod,fchmod,fchmodat,?chown,fchown,fchownat,?link,linkat,?symlink,symlinkat,?mkdir,mkdirat,?rmdir,utimensat,fsetxattr,clone,clone3,?vfork,execve";

/// Runs with a fault at every call from the first on, in every process of the session, until there is none of that number.
/// Most of the time is spent with waiting, so several hosts take turns with the numbers.
fn at_every_call(faults: &[&str], happened: &str) {
    let Some(effort) = Effort::asked() else { return };
    let (lanes, step) = effort.of((4, 9), (8, 2), (8, 1));
    std::thread::scope(|scope| {
        for lane in 0..lanes {
            scope.spawn(move || {
                let Some((fleet, folder)) = traced() else { return };
                let mut scene = Scene::new(fleet, &short_playbook());
                scene.is_ledger_lame = happened == "(INJECTED)";
                for (round, at) in (1 + lane * step..).step_by(lanes * step).enumerate() {
                    let fault = format!("{}:when={at}", faults[at % faults.len()]);
                    std::fs::write(folder.path().join("armed"), format!("{CALLS}:{fault}\n")).expect("armed");
                    scene.disturbed(round as u64 + 1, &fault);
                    scene.converge(round as u64 + 1, &fault);
                    let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
                    if !log.contains(happened) {
                        assert!(at > 30, "so few calls cannot be all");
                        return;
                    }
                }
            });
        }
    });
}

#[test]
fn the_hosts_shell_may_be_killed_at_every_system_call() {
    at_every_call(&["signal=SIGKILL"], "killed by SIGKILL");
}

#[test]
fn every_system_call_may_fail_for_lack_of_room_or_rights() {
    at_every_call(&["error=ENOSPC", "error=EIO", "error=EROFS", "error=EDQUOT", "error=EACCES"], "(INJECTED)");
}

/// Two controllers at once: one works, the other is told who does, and never do both.
#[test]
fn two_controllers_never_work_on_one_host_at_once() {
    let Some(effort) = Effort::asked() else { return };
    let races = effort.of(12, 100, 200);
    let fleet = Fleet::start(&["alpha", "beta"], &Faults::default());
    let text = "hosts = 'all'
[[task]]
shell = { cmd = 'mkdir busy || echo clash >>clash; sleep 0.03; rmdir busy', always = true }
        [[task]]
copy = { content = \"{{ who }}\", dest = '~/last' }
[[task]]
shell = { cmd = 'mkdir busy || echo clash >>clash; sleep 0.03; rmdir busy; echo {{ who }} >>all', always = true }
";
    let path = fleet.write("play.toml", text).display().to_string();
    let (mut lost, mut won) = (0, 0);
    let mut dice = Dice(42);
    for race in 0..races {
        let start = |who: String| mutate(&fleet, &["apply", &path, "-e", &format!("who={who}"), "--output", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
        let first = start(format!("a{race}"));
        std::thread::sleep(Duration::from_millis(dice.roll(60)));
        let second = start(format!("b{race}"));
        let ends = [first, second].map(|child| read(child.wait_with_output().expect("an end")));
        for ran in &ends {
            assert!([0, 8].contains(&ran.exit), "race {race}: {} {}", ran.document, ran.stderr);
            for host in ["alpha", "beta"] {
                let told = &ran.document["hosts"][host];
                let message = told["message"].as_str().expect("a message");
                if told["outcome"] == "changed" {
                    won += 1;
                } else {
                    lost += 1;
                    assert!(message.contains("is locked by") && message.contains("`mutate apply`") && message.contains("(run 01"), "race {race}: {message}");
                }
            }
        }
        wait_for_rest(&fleet);
    }
    for host in &fleet.hosts {
        assert!(!host.home.join("clash").exists(), "two controllers were at work at once");
    }
    assert!(lost > races / 4 && won >= 2 * races, "{lost} were refused and {won} worked, so this was no race");
}

/// A lock whose holder is gone heals by itself; one whose holder is there does not.
#[test]
fn a_lock_that_was_left_heals() {
    let fleet = Fleet::start(&["alpha"], &Faults::default());
    let home = &fleet.hosts[0].home;
    let lock = state(home).join("lock");
    let first = |words: &str| std::fs::read_to_string(words).expect("proc").split_whitespace().next().expect("a word").to_owned();
    let born = |process: u32| -> String {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("a process");
        stat.rsplit_once(") ").expect("a name").1.split(' ').nth(19).expect("its start").to_owned()
    };
    let boot = first("/proc/sys/kernel/random/boot_id");
    let up = first("/proc/uptime").split('.').next().expect("seconds").parse::<u64>().expect("seconds");
    let me = std::process::id();
    let mut gone = std::process::Command::new("true").spawn().expect("a process");
    let dead = gone.id();
    gone.wait().expect("it ends");
    let mut round = 0;
    let mut apply = |owner: String, beat: Option<u64>| {
        round += 1;
        std::fs::create_dir_all(&lock).expect("a lock");
        std::fs::write(lock.join("owner"), format!("{owner}
ann@desk pid 1 `mutate apply`
for alpha
")).expect("an owner");
        if let Some(beat) = beat {
            std::fs::write(lock.join("beat"), format!("{beat}
")).expect("a beat");
        }
        let ran = super::apply(&fleet, &format!("hosts = 'all'
[[task]]
copy = {{ content = '{round}', dest = '~/f' }}
"), &[]);
        let _left = std::fs::remove_dir_all(&lock);
        (ran.exit, ran.document["hosts"]["alpha"]["message"].as_str().expect("a message").to_owned())
    };
    let born = born(me);
    // Its process is gone; it is another process by now; it was before the last boot; it has not moved for longer than the lease.
    for (owner, beat) in [
        (format!("{dead} 1 {boot} {up} 01OLD"), None),
        (format!("{me} 1 {boot} {up} 01OLD"), None),
        (format!("{me} {born} 00000000-0000-0000-0000-000000000000 {up} 01OLD"), None),
        (format!("{me} {born} {boot} {} 01OLD", up.saturating_sub(200)), Some(up.saturating_sub(100))),
    ] {
        assert_eq!(apply(owner.clone(), beat).0, 0, "{owner}");
    }
    // It is there, and alive: by its own words, or by a sign of life since.
    for (since, beat) in [(up, None), (up.saturating_sub(500), Some(up))] {
        let (exit, said) = apply(format!("{me} {born} {boot} {since} 01OLD"), beat);
        assert!(exit == 8 && said.contains("ann@desk") && said.contains("01OLD"), "{exit} {said}");
    }
}

/// Names and contents of what is managed in a home folder.
fn managed(home: &Path) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(home).expect("a home").flatten().filter(|entry| !entry.file_name().to_string_lossy().starts_with(".local"));
    let mut found: Vec<_> = entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), std::fs::read_to_string(entry.path()).unwrap_or_default())).collect();
    found.sort();
    found
}

#[test]
fn a_rollback_and_a_saved_plan_go_on_when_the_connection_was_closed() {
    let Some(effort) = Effort::asked() else { return };
    let mut text = String::from("hosts = 'all'\ntimeout = 20\n");
    for number in 0..4 {
        text.push_str(&format!("[[task]]\ncopy = {{ content = '{{{{ round }}}}', dest = '~/file{number}' }}\n[[task]]\nlineinfile = {{ path = '~/lines{number}', line = 'v={{{{ round }}}}', create = true }}\n"));
    }
    let fleet = Fleet::start(&["alpha"], &Faults::default());
    let host = &fleet.hosts[0];
    let path = fleet.write("play.toml", &text).display().to_string();
    let plan = fleet.folder.path().join("a.plan").display().to_string();
    let run = |words: &[&str]| read(mutate(&fleet, &[words, &["--output", "json"]].concat()).output().expect("the program runs"));
    assert_eq!(run(&["apply", &path, "-e", "round=0"]).exit, 0);
    let mut recovered = 0;
    for at in (1..).step_by(effort.of(6, 2, 1)) {
        let round = format!("round={at}");
        let before = managed(&host.home);
        assert!(mutate(&fleet, &["plan", &path, "-e", &round, "-o", &plan]).output().expect("the program runs").status.success());
        host.close_at(at);
        let applied = run(&["apply", &plan]);
        let mut was_closed = host.messages_left() == 0;
        host.close_at(0);
        assert!([0, 5].contains(&applied.exit), "closed at {at}: {}", applied.document);
        if applied.exit != 0 {
            assert_eq!(managed(&host.home), before, "closed at {at}: {}", applied.document);
            assert_eq!(run(&["apply", &plan]).exit, 0, "closed at {at}");
        }
        let changed = managed(&host.home);
        assert!(changed != before && changed.iter().filter(|(_, content)| content.contains(&at.to_string())).count() == 8, "closed at {at}: {changed:?}");
        host.close_at(at);
        let back = run(&["rollback"]);
        was_closed |= host.messages_left() == 0;
        host.close_at(0);
        if back.exit != 0 {
            // Nobody got in at all.
            assert!(back.exit == 7 && managed(&host.home) == changed, "closed at {at}: {}", back.document);
            assert_eq!(run(&["rollback"]).exit, 0, "closed at {at}");
        } else {
            recovered += usize::from(was_closed);
        }
        assert_eq!(managed(&host.home), before, "closed at {at}: {}", back.document);
        if !was_closed {
            assert!(recovered > 0 && at > 12, "so few messages cannot be all");
            return;
        }
    }
}

/// Without room for the journal nothing is changed that it does not know of, wherever the room ends.
#[test]
fn the_journal_may_run_out_of_room_at_any_write() {
    let Some(effort) = Effort::asked() else { return };
    let mut scene = Scene::new(Fleet::start(&["alpha"], &Faults::default()), &short_playbook());
    let step = effort.of(50, 24, 12);
    for (refused, round) in (1..).enumerate() {
        let before = managed(scene.home());
        let words: Vec<String> = scene.apply(round).get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        // A file of this process may have so many blocks of 512 bytes.
        let mut limited = std::process::Command::new("sh");
        limited.arg("-c").arg(format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", round * step)).arg(super::program()).args(words);
        limited.env_clear().env("HOME", scene.fleet.folder.path().join("controller")).env("PATH", "/usr/local/bin:/usr/bin:/bin").stdin(Stdio::null());
        let output = limited.output().expect("the program runs");
        wait_for_rest(&scene.fleet);
        let (exit, said) = (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned());
        let context = format!("{} blocks: {exit:?} {said}{}", round * step, String::from_utf8_lossy(&output.stdout).chars().rev().take(300).collect::<String>().chars().rev().collect::<String>());
        scene.check(&context);
        check_files(scene.home(), round + 1, &context);
        if exit == Some(0) {
            assert!(refused > 1, "{context}");
            return;
        }
        assert!([Some(1), Some(4), Some(7)].contains(&exit), "{context}");
        if exit == Some(1) {
            assert_eq!(managed(scene.home()), before, "{context}");
        }
        scene.converge(round, &context);
        assert!(round < 200, "{context}");
    }
}
