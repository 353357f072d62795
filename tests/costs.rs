//! What a run costs: round trips, bytes, processes on the host, memory and allocations on this side. These are counts, not times.
//!
//! They are compared with those of `benches/costs.toml`, and none may be more than 5 % higher. `MUTATE_WRITE_COSTS=1` writes
//! that file anew.

#![expect(clippy::cast_precision_loss, reason = "counts are small")]
#![expect(clippy::print_stdout, reason = "the table is what people look at")]

#[path = "support/fleet.rs"]
mod fleet;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};

use fleet::{Faults, Fleet, Host, noise};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Words for the process that is counted.
const WORDS: &str = "MUTATE_COUNTED";
/// What is written is what came out of so many runs at the least: threads that meet by chance take a few allocations more.
const TRIES: usize = 3;
const HIGHEST_RISE: f64 = 1.05;
/// So little may be more without anybody looking: a goodbye that crosses an acknowledgement, a name that is longer today.
const SLACK: f64 = 3.0;

type Costs = BTreeMap<String, f64>;

/// The process that is counted: runs `mutate` with the words of its environment, and says what it took.
#[test]
#[ignore = "it is started by the other test"]
fn counted() {
    let Ok(words) = std::env::var(WORDS) else {
        return;
    };
    let words: Vec<String> = serde_json::from_str(&words).expect("words");
    let (into, words) = words.split_first().expect("where to write to");
    let _profiler = dhat::Profiler::builder().testing().build();
    let _exit = mutate::cli::run(std::iter::once("mutate".to_owned()).chain(words.iter().cloned()).map(Into::into));
    let stats = dhat::HeapStats::get();
    std::fs::write(into, format!("{} {}", stats.total_blocks, stats.max_bytes)).expect("a file");
}

/// Runs `mutate` on all hosts of a fleet, and counts, per host.
fn count(fleet: &Fleet, words: &[&str]) -> Costs {
    let home = fleet.folder.path().join("controller");
    std::fs::create_dir_all(&home).expect("a home for the controller");
    let into = fleet.folder.path().join("counted");
    let (first, rest) = words.split_first().expect("a subcommand");
    let mut all = vec![into.display().to_string(), (*first).to_owned(), "-i".into(), fleet.inventory.display().to_string()];
    all.extend(rest.iter().map(|word| (*word).to_owned()));
    let sum = |of: &dyn Fn(&Host) -> usize| fleet.hosts.iter().map(of).sum::<usize>();
    let seen = || [sum(&Host::turns), sum(&|host| host.bytes().0), sum(&|host| host.bytes().1)];
    let before = seen();
    forget(fleet);
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "counted", "--ignored", "--nocapture"])
        .env_clear()
        .env("HOME", &home)
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env(WORDS, serde_json::to_string(&all).expect("words"))
        .stdin(Stdio::null())
        .output()
        .expect("the program runs");
    let stats = std::fs::read_to_string(&into).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert!(!String::from_utf8_lossy(&output.stdout).contains("failed=1"), "{output:?}");
    let (blocks, peak) = stats.split_once(' ').expect("two numbers");
    let after = seen();
    let hosts = fleet.hosts.len() as f64;
    let number = |text: &str| text.parse::<f64>().expect("a number");
    let mut costs = Costs::new();
    for (name, (before, after)) in ["round trips", "bytes up", "bytes down"].into_iter().zip(before.into_iter().zip(after)) {
        costs.insert(name.into(), (after - before) as f64 / hosts);
    }
    if traced(fleet) {
        let (forks, programs) = processes(fleet);
        costs.insert("forks".into(), forks as f64 / hosts);
        costs.insert("programs".into(), programs as f64 / hosts);
    }
    costs.insert("allocations".into(), number(blocks) / hosts);
    costs.insert("KiB of memory".into(), number(peak) / 1024.0 / hosts);
    costs
}

/// The shells of a fleet are traced while this file is there: a shell that reads is much slower then.
const TRACED: &str = "traced";

fn traced(fleet: &Fleet) -> bool {
    fleet.folder.path().join(TRACED).exists()
}

fn traces(fleet: &Fleet) -> Vec<std::path::PathBuf> {
    let is_one = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("trace."));
    std::fs::read_dir(fleet.folder.path()).expect("a folder").flatten().map(|entry| entry.path()).filter(|path| is_one(path)).collect()
}

fn forget(fleet: &Fleet) {
    for path in traces(fleet) {
        std::fs::remove_file(path).expect("a file");
    }
}

/// Processes that the shells of the hosts made, and programs that they became; without `strace`, none.
fn processes(fleet: &Fleet) -> (usize, usize) {
    let mut text = String::new();
    for _ in 0..50 {
        let all: Vec<String> = traces(fleet).iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect();
        text = all.concat();
        // The last words of each process come when it has ended, which `strace` writes down in its own time.
        if all.len() >= fleet.hosts.len() && seen(&text) == ended(&text) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    // What two processes do at the same time stands in two pieces.
    let ran = |line: &&str| (line.contains(" execve(") || line.contains("<... execve resumed>")) && line.ends_with("= 0");
    (seen(&text).len() - traces(fleet).len(), text.lines().filter(ran).count())
}

/// The numbers of the processes that a trace tells of, those that have been made and said nothing yet among them.
fn seen(text: &str) -> BTreeSet<&str> {
    let is_made = |line: &&str| ["clone", "fork("].iter().any(|word| line.contains(word)) || line.contains("fork resumed>");
    let made = text.lines().filter(is_made).filter_map(|line| line.rsplit_once("= ").map(|(_, number)| number)).filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    text.lines().filter_map(|line| line.split(' ').next()).chain(made).collect()
}

fn ended(text: &str) -> BTreeSet<&str> {
    text.lines().filter(|line| line.contains(" +++ ")).filter_map(|line| line.split(' ').next()).collect()
}

/// A fleet whose shells are counted, too, and the folder of the shell that does.
fn hosts(names: &[&str]) -> (Fleet, tempfile::TempDir) {
    let has_strace = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    assert!(has_strace || std::env::var_os("CI").is_none(), "strace must be there in CI");
    let folder = tempfile::Builder::new().prefix("costs-").tempdir().expect("a folder");
    let shell = folder.path().join("sh");
    let fleet = Fleet::start(names, &Faults { shell: has_strace.then(|| shell.display().to_string()), ..Faults::default() });
    let text = format!(
        "#!/bin/sh\n[ ! -e {folder}/{TRACED} ] || exec strace -D -f -q -o {folder}/trace.$$ -e trace=clone,clone3,fork,vfork,execve /bin/sh \"$@\"\nexec /bin/sh \"$@\"\n",
        folder = fleet.folder.path().display()
    );
    std::fs::write(&shell, text).expect("a script");
    std::fs::set_permissions(&shell, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    (fleet, folder)
}

/// Fifty tasks of the kinds that playbooks are made of.
fn fifty() -> String {
    let mut text = String::from("hosts = 'all'\n");
    for number in 0..10 {
        text.push_str(&format!("[[task]]\nfile = {{ path = '~/d{number}', state = 'directory', mode = '0750' }}\n"));
    }
    for number in 0..15 {
        text.push_str(&format!(
            "[[task]]\ncopy = {{ content = \"listen = {{{{ host.name }}}}:{number}\\npath = /srv/{number}\\n\", dest = '~/d{}/app{number}.conf', mode = '0640' }}\n",
            number % 10
        ));
    }
    for number in 0..10 {
        text.push_str(&format!("[[task]]\nlineinfile = {{ path = '~/lines{}', regexp = '^#?key{number} ', line = 'key{number} yes', create = true }}\n", number % 2));
    }
    for number in 0..5 {
        text.push_str(&format!("[[task]]\nfile = {{ path = '~/link{number}', src = 'd{number}', state = 'link' }}\n"));
    }
    for number in 0..5 {
        text.push_str(&format!("[[task]]\nfile = {{ path = '~/touched{number}', state = 'touch', mode = '0600' }}\n"));
    }
    for number in 0..5 {
        text.push_str(&format!("[[task]]\ncommand = {{ cmd = 'touch stamp{number}', creates = '~/stamp{number}' }}\n"));
    }
    text
}

type Work = (&'static str, &'static [&'static str], fn(&Fleet) -> Vec<String>, bool);

/// What is counted: a name, the hosts, what to run, and whether it has been run before.
const WORKS: &[Work] = &[
    ("ping", &["h"], |_| vec!["ping".into(), "all".into()], false),
    (
        "run true, 20 hosts",
        &["h00", "h01", "h02", "h03", "h04", "h05", "h06", "h07", "h08", "h09", "h10", "h11", "h12", "h13", "h14", "h15", "h16", "h17", "h18", "h19"],
        |_| vec!["run".into(), "all".into(), "--".into(), "true".into()],
        false,
    ),
    ("50 tasks, first run", &["h"], |fleet| vec!["apply".into(), fleet.write("fifty.toml", &fifty()).display().to_string()], false),
    ("50 tasks, in place", &["h"], |fleet| vec!["apply".into(), fleet.write("fifty.toml", &fifty()).display().to_string()], true),
    ("file of 8 MiB", &["h"], large, false),
    ("file of 8 MiB, in place", &["h"], large, true),
    ("20 packages, in place", &["h"], packages, false),
    ("tree of 200 files", &["h"], tree, false),
    ("tree of 200 files, in place", &["h"], tree, true),
];

fn large(fleet: &Fleet) -> Vec<String> {
    let book = fleet.write("large.toml", "hosts = 'all'\n[[task]]\ncopy = { src = 'large.bin', dest = '~/large' }\n");
    std::fs::write(book.with_file_name("large.bin"), noise(8 << 20)).expect("a file");
    vec!["apply".into(), book.display().to_string()]
}

/// Packages that every Debian has, each a task of its own, with a file between them: nothing is changed.
fn packages(fleet: &Fleet) -> Vec<String> {
    let names = ["base-files", "base-passwd", "bash", "coreutils", "dash", "debconf", "debianutils", "diffutils", "dpkg", "findutils", "grep", "gzip", "hostname", "libc-bin", "libc6", "login", "mount", "sed", "tar", "util-linux"];
    let tasks: String = names.iter().map(|name| format!("[[task]]\npackage = '{name}'\n[[task]]\nfile = {{ path = '~/{name}', state = 'absent' }}\n")).collect();
    vec!["apply".into(), fleet.write("packages.toml", &format!("hosts = 'all'\n{tasks}")).display().to_string()]
}

fn tree(fleet: &Fleet) -> Vec<String> {
    let book = fleet.write("tree.toml", "hosts = 'all'\n[[task]]\nsynchronize = { src = 'tree/', dest = '~/tree' }\n");
    for number in 0..200 {
        fleet.write(&format!("tree/{}/{number}", number % 10), &format!("file {number}\n").repeat(20));
    }
    vec!["apply".into(), book.display().to_string()]
}

#[test]
fn nothing_costs_more_than_it_did() {
    if std::env::var_os("MUTATE_COSTS").is_some_and(|when| when == "later") {
        println!("costs were not counted: they are counted later, by themselves");
        return;
    }
    let mut found: BTreeMap<String, Costs> = BTreeMap::new();
    for (name, names, words, before) in WORKS {
        let mut least = Costs::new();
        for tried in 0..TRIES {
            let (fleet, _shell) = hosts(names);
            let words = words(&fleet);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            if *before {
                count(&fleet, &words);
            }
            if tried == 0 {
                std::fs::write(fleet.folder.path().join(TRACED), "").expect("a file");
            }
            for (what, cost) in count(&fleet, &words) {
                least.entry(what).and_modify(|so_far| *so_far = so_far.min(cost)).or_insert(cost);
            }
        }
        found.insert((*name).to_owned(), least);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/costs.toml");
    let known: BTreeMap<String, Costs> = std::fs::read_to_string(&path).map(|text| toml::from_str(&text).expect("the known costs")).unwrap_or_default();
    let mut risen = Vec::new();
    let whats: Vec<&str> = ["round trips", "bytes up", "bytes down", "forks", "programs", "allocations", "KiB of memory"]
        .into_iter()
        .filter(|what| found["ping"].contains_key(what as &str))
        .collect();
    println!("costs per host; in brackets, the change since they were written down\n{:<30}{}", "", whats.iter().map(|what| format!("{what:>20}")).collect::<String>());
    for (name, costs) in &found {
        let mut line = format!("{name:<30}");
        for what in &whats {
            let (now, then) = (costs[*what], known.get(name).and_then(|costs| costs.get(*what)).copied());
            let change = then.filter(|then| *then > 0.0).map(|then| format!(" ({:+.1} %)", (now / then - 1.0) * 100.0)).unwrap_or_default();
            line.push_str(&format!("{:>20}", format!("{now:.0}{change}")));
            if then.is_none_or(|then| now > then * HIGHEST_RISE && now > then + SLACK) {
                risen.push(format!("{name}: {what} {} -> {now:.0}", then.map_or("not written down".to_owned(), |then| format!("{then:.0}"))));
            }
        }
        println!("{line}");
    }
    if std::env::var_os("MUTATE_WRITE_COSTS").is_some() {
        let lines = |costs: &Costs| whats.iter().map(|what| format!("\"{what}\" = {:.1}\n", costs[*what])).collect::<String>();
        let text: String = found.iter().map(|(name, costs)| format!("\n[\"{name}\"]\n{}", lines(costs))).collect();
        let head = "# What a run costs per host, as `tests/costs.rs` counts it; `MUTATE_WRITE_COSTS=1 cargo test --test costs` writes it anew.\n";
        std::fs::write(&path, head.to_owned() + &text).expect("a file");
        return;
    }
    assert!(risen.is_empty(), "these have risen by more than 5 %; make them less, or say why and write them down with MUTATE_WRITE_COSTS=1:\n{}", risen.join("\n"));
}
