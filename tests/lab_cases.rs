//! What modules do on real hosts, as `tests/cases/hosts/*.toml` describes it: packages, services, accounts, mounts.
//!
//! As in `tests/cases.rs` every case has four passes: check, apply, apply again, rollback. All cases of a page go together, so
//! they must not get in each other's way. `MUTATE_LAB` names the lab's script; without it nothing here runs.
//!
//! `lab up debian=3 busybox=1 rpm=1 zypper=1 pacman=1` must have been done.

#![allow(clippy::print_stdout, reason = "a test that did not run says so, and the counts are the point")]

#[path = "support/lab.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::{Condvar, Mutex, PoisonError};

use serde::Deserialize;
use serde_json::Value;
use support::Bench;

/// Pages at the same time.
const AT_ONCE: usize = 3;
static MIRROR: Mutex<()> = Mutex::new(());
const KEY: &str = "/var/cache/mutate-lab/keys/id_ed25519";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(skip)]
    name: String,
    /// The hosts on which each case is shown that names none.
    on: Vec<String>,
    /// Packages of the distribution that these hosts need, from the lab's mirror. Where there is no mirror, the page does not run.
    #[serde(default)]
    packages: Vec<String>,
    /// What these hosts need before the first case, in sh, as root.
    #[serde(default)]
    setup: String,
    /// Its cases make loop devices, with `loop FILE`.
    #[serde(default)]
    loops: bool,
    /// Cases that fail build on each other, so each has a run of its own.
    #[serde(default)]
    one_by_one: bool,
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    on: Option<Vec<String>>,
    /// What makes the state that the case begins with, in sh, as root.
    #[serde(default)]
    run: String,
    /// The keys of one task, in TOML.
    task: String,
    /// Prints the state, in sh, as root. It must be the same before, after check, and after rollback.
    #[serde(default)]
    state: String,
    /// Files beside the playbook.
    #[serde(default)]
    files: BTreeMap<String, String>,
    #[serde(default)]
    expect: Expect,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Expect {
    outcome: Option<String>,
    check: Option<String>,
    again: Option<String>,
    /// A part of the message.
    message: Option<String>,
    diff: Option<String>,
    /// What `state` prints after apply, without blanks at both ends.
    state: Option<String>,
    #[serde(default)]
    no_rollback: bool,
}

impl Case {
    fn outcome(&self) -> &str {
        self.expect.outcome.as_deref().unwrap_or("changed")
    }

    fn hosts<'a>(&'a self, page: &'a Page) -> &'a [String] {
        self.on.as_deref().unwrap_or(&page.on)
    }
}

/// Makes `loop [OPTION] FILE`, which makes a loop device of a file and prints its path. The machine's loop devices are there for all hosts
/// of the lab, so that one may be taken by another host in between; a host sees only those which it made itself.
const LOOPS: &str = r#"[ -e /dev/loop-control ] || mknod -m 0660 /dev/loop-control c 10 237
cat >/usr/local/bin/loop <<'X'
#!/bin/sh
for again in 1 2 3 4 5 6 7 8 9; do
  x=$(losetup -f)
  [ -e $x ] || mknod $x b 7 ${x#/dev/loop}
  losetup $x "$@" || { rm -f $x; continue; }
  echo $x
  exit
done
exit 1
X
chmod 755 /usr/local/bin/loop"#;

/// Gives back the loop devices that a host made.
const NO_LOOPS: &str = "for x in /dev/loop[0-9]*; do findmnt -n -o TARGET -S $x | xargs -r umount; losetup -d $x; rm -f $x; done";

#[test]
fn every_case_in_four_passes_on_real_hosts() {
    let Some(lab) = Bench::new() else { return };
    let only = std::env::var("MUTATE_CASES").unwrap_or_default();
    let folder = std::env::var_os("MUTATE_CASES_FOLDER").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/hosts"), std::path::PathBuf::from);
    let mut pages: Vec<_> = std::fs::read_dir(folder)
        .expect("the cases")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "toml") && path.file_stem().is_some_and(|name| only.is_empty() || only.split(',').any(|one| name == one)))
        .collect();
    pages.sort();
    let mut pages: Vec<Page> = pages.iter().map(|path| Page::read(path)).collect();
    // Those of many hosts come first: they would wait longest, and want hosts on which little has been left behind.
    pages.sort_by_key(|page| std::cmp::Reverse(page.hosts().len()));
    let inventory = inventory(&lab);
    let queue = Queue { state: Mutex::new((pages.iter().collect(), BTreeSet::new())), freed: Condvar::new() };
    let (mut problems, mut total) = (Vec::new(), 0);
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                scope.spawn(|| {
                    let (mut problems, mut total) = (Vec::new(), 0);
                    while let Some(page) = queue.next() {
                        total += show(&lab, page, &inventory, &mut problems);
                        queue.done(page);
                    }
                    (problems, total)
                })
            })
            .collect();
        for lane in lanes {
            let (found, shown) = lane.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            problems.extend(found);
            total += shown;
        }
    });
    println!("{total} cases on real hosts in four passes");
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

/// Pages that wait, and the hosts that are in use: pages of other hosts go at the same time.
struct Queue<'a> {
    state: Mutex<(Vec<&'a Page>, BTreeSet<&'a str>)>,
    freed: Condvar,
}

impl<'a> Queue<'a> {
    /// The next page whose hosts are free, once there is one.
    fn next(&self) -> Option<&'a Page> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let (waiting, busy) = &mut *state;
            if waiting.is_empty() {
                return None;
            }
            if let Some(at) = waiting.iter().position(|page| page.hosts().is_disjoint(busy)) {
                let page = waiting.remove(at);
                busy.extend(page.hosts());
                return Some(page);
            }
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self, page: &'a Page) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for host in page.hosts() {
            state.1.remove(host);
        }
        self.freed.notify_all();
    }
}

impl Page {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("a page");
        let page: Self = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { name: path.file_stem().expect("a name").to_string_lossy().into_owned(), ..page }
    }

    fn hosts(&self) -> BTreeSet<&str> {
        self.on.iter().chain(self.case.iter().flat_map(|case| case.hosts(self))).map(String::as_str).collect()
    }
}

/// Shows a page, and gives how many cases that were.
fn show(lab: &Bench, page: &Page, inventory: &str, problems: &mut Vec<String>) -> usize {
    let name = &page.name;
    if !page.packages.is_empty() && !install(lab, page) {
        println!("{name}: did not run: the lab has no mirror with {}", page.packages.join(" "));
        return 0;
    }
    let on_each = |script: &str| page.on.iter().for_each(|host| drop(lab.on(host, script)));
    if page.loops {
        on_each(&format!("{NO_LOOPS}\n{LOOPS}"));
    }
    if !page.setup.is_empty() {
        on_each(&page.setup);
    }
    let begun = std::time::Instant::now();
    let shown: usize = page.case.iter().map(|case| case.hosts(page).len()).sum();
    let mut found = Vec::new();
    // Those that fail go on all the same, in runs of their own.
    let (mut failing, good): (Vec<&Case>, Vec<&Case>) = page.case.iter().partition(|case| case.outcome() == "failed");
    // Behind a change that is only planned, nothing can be called a failure.
    failing.sort_by_key(|case| !page.one_by_one && case.expect.check.as_deref() == Some("changed"));
    four_passes(lab, page, &good, inventory, &mut found);
    if page.one_by_one {
        for case in failing {
            four_passes(lab, page, &[case], inventory, &mut found);
        }
    } else {
        four_passes(lab, page, &failing, inventory, &mut found);
    }
    if page.loops {
        on_each(NO_LOOPS);
    }
    println!("{name}: {} cases, {shown} with each host, {} problems ({} s)", page.case.len(), found.len(), begun.elapsed().as_secs());
    let found: Vec<String> = found.into_iter().map(|problem| format!("{name}: {problem}")).collect();
    for problem in &found {
        println!("  {problem}");
    }
    problems.extend(found);
    shown
}

/// Whether the hosts of a page have its packages, now at the latest.
fn install(lab: &Bench, page: &Page) -> bool {
    let words = page.packages.join(" ");
    let has = |host: &String| {
        let said = lab.on(host, &format!("dpkg-query -W -f '${{db:Status-Status}}\n' {words} 2>/dev/null"));
        said.lines().count() == page.packages.len() && said.lines().all(|state| state == "installed")
    };
    page.on.iter().all(|host| {
        has(host) || {
            let _one_at_a_time = MIRROR.lock().unwrap_or_else(PoisonError::into_inner);
            lab.lab(&["mirror", "on"]);
            lab.on(host, &format!("export DEBIAN_FRONTEND=noninteractive; apt-get update; apt-get install -y --no-install-recommends {words}"));
            has(host)
        }
    })
}

/// State by case and host.
type States = BTreeMap<(usize, String), String>;

fn four_passes(lab: &Bench, page: &Page, cases: &[&Case], inventory: &str, problems: &mut Vec<String>) {
    if cases.is_empty() {
        return;
    }
    let hosts: BTreeSet<&String> = cases.iter().flat_map(|case| case.hosts(page)).collect();
    for host in &hosts {
        let script: String = cases.iter().filter(|case| case.hosts(page).contains(host)).map(|case| format!("( {}\n) </dev/null >/dev/null 2>&1\n", if case.run.is_empty() { ":" } else { &case.run })).collect();
        lab.on(host, &script);
    }
    let books: Vec<String> = cases
        .iter()
        .enumerate()
        .map(|(number, case)| {
            let folder = lab.folder.path().join(&page.name).join(format!("case{number}"));
            std::fs::create_dir_all(&folder).expect("a folder");
            for (path, text) in &case.files {
                let path = folder.join(path);
                std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("a folder");
                std::fs::write(path, text).expect("a file");
            }
            // Modules that are being written.
            if let Some(modules) = std::env::var_os("MUTATE_CASES_MODULES") {
                let _none_yet = std::fs::remove_file(folder.join("modules"));
                std::os::unix::fs::symlink(modules, folder.join("modules")).expect("a link");
            }
            let book = folder.join("play.toml");
            std::fs::write(&book, format!("hosts = {:?}\n[[task]]\nignore_errors = {}\n{}\n", case.hosts(page).join(","), case.outcome() == "failed", case.task)).expect("a playbook");
            book.display().to_string()
        })
        .collect();
    let apply = |words: &[&str]| run(lab, inventory, &[&["apply", "--output", "json"], words, &books.iter().map(String::as_str).collect::<Vec<_>>()].concat());
    let states = || states(lab, page, cases, &hosts);
    let judge = |pass: &str, run: &Value, wanted: &dyn Fn(&Case) -> String, problems: &mut Vec<String>| {
        for (number, case) in cases.iter().enumerate() {
            for host in case.hosts(page) {
                let steps = run["hosts"][host]["steps"].as_array().cloned().unwrap_or_default();
                let step = steps.iter().find(|step| step["file"].as_str().is_some_and(|file| file.ends_with(&format!("case{number}/play.toml")))).cloned().unwrap_or_default();
                if step["outcome"] != wanted(case) {
                    problems.push(format!("{} on {host}: {pass}: {} in place of {}: {} {}{}", case.name, step["outcome"], wanted(case), step["message"], run["hosts"][host]["message"], run["error"]));
                }
                for (key, part) in [("message", &case.expect.message), ("diff", &case.expect.diff)] {
                    if let Some(part) = part.as_ref().filter(|part| pass == "apply" && !step[key].as_str().unwrap_or_default().contains(part.as_str())) {
                        problems.push(format!("{} on {host}: its {key} has no `{part}`: {}", case.name, step[key]));
                    }
                }
            }
        }
    };
    let same = |what: &str, wanted: &States, found: &States, problems: &mut Vec<String>| {
        for ((number, host), state) in wanted {
            let case = cases[*number];
            if found.get(&(*number, host.clone())) != Some(state) && !(what.contains("rollback") && case.expect.no_rollback) {
                problems.push(format!("{} on {host}: {what}: {:?} in place of {state:?}", case.name, found.get(&(*number, host.clone()))));
            }
        }
    };
    let given = states();
    judge("check", &apply(&["--check"]), &|case| case.expect.check.clone().unwrap_or_else(|| case.outcome().to_owned()), problems);
    same("after check", &given, &states(), problems);
    let applied = apply(&["--diff"]);
    judge("apply", &applied, &|case| case.outcome().to_owned(), problems);
    let after = states();
    let mut wanted = after.clone();
    for ((number, _), state) in &mut wanted {
        if let Some(text) = &cases[*number].expect.state {
            text.trim().clone_into(state);
        }
    }
    same("after apply", &wanted, &after, problems);
    let rule = |case: &Case| match case.outcome() {
        "changed" => "ok".to_owned(),
        other => other.to_owned(),
    };
    judge("apply again", &apply(&[]), &|case| case.expect.again.clone().unwrap_or_else(|| rule(case)), problems);
    same("after the second apply", &after, &states(), problems);
    if applied["totals"]["changed"].as_u64() > Some(0) {
        let id = applied["run"].as_str().unwrap_or_default().to_owned();
        let back = run(lab, inventory, &["rollback", &id, "--output", "json"]);
        if back["exit"] != 0 && cases.iter().all(|case| !case.expect.no_rollback) {
            for host in &hosts {
                problems.push(format!("rollback on {host}: {}", back["hosts"][host.as_str()]));
            }
        }
    }
    same("after rollback", &given, &states(), problems);
}

fn states(lab: &Bench, page: &Page, cases: &[&Case], hosts: &BTreeSet<&String>) -> States {
    const MARK: &str = "\u{1}--\n";
    let mut all = States::new();
    for host in hosts {
        let mine: Vec<(usize, &&Case)> = cases.iter().enumerate().filter(|(_, case)| case.hosts(page).contains(host)).collect();
        let script: String = mine.iter().map(|(_, case)| format!("( {}\n) </dev/null 2>&1; printf '\\001--\\n'\n", if case.state.is_empty() { ":" } else { &case.state })).collect();
        let said = lab.on(host, &script);
        for ((number, _), state) in mine.iter().zip(said.split(MARK)) {
            all.insert((*number, (*host).clone()), state.trim().to_owned());
        }
    }
    all
}

/// The path of an inventory of all hosts.
fn inventory(lab: &Bench) -> String {
    let hosts: Vec<Value> = serde_json::from_slice(&lab.lab(&["inventory", "--json"]).stdout).expect("the lab's inventory");
    let lines: String = hosts.iter().filter(|host| ["debian", "busybox", "rpm", "zypper", "pacman"].contains(&host["kind"].as_str().unwrap_or_default())).map(|host| format!("{} = {}\n", host["name"].as_str().unwrap_or_default(), host["address"])).collect();
    lab.file("inventory.toml", &format!("user = 'root'\nkey = '{KEY}'\n[hosts]\n{lines}"))
}

fn run(lab: &Bench, inventory: &str, words: &[&str]) -> Value {
    let program = std::env::var_os("MUTATE_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_mutate").into(), std::path::PathBuf::from);
    let output = Command::new("python3")
        .arg(&lab.script)
        .args(["run", "--"])
        .arg(program)
        .args(words)
        .args(["-i", inventory])
        .env("HOME", lab.folder.path())
        .env_remove("SSH_AUTH_SOCK")
        .output()
        .expect("mutate runs");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| serde_json::json!({ "error": String::from_utf8_lossy(&output.stderr) }))
}
