//! A journal in PostgreSQL that several processes share: a real server, and GNU parallel as the scheduler.

#![allow(clippy::print_stdout, reason = "a test that did not run says so")]

#[path = "../support/postgres.rs"]
mod postgres;

use std::process::{Command, Stdio};

use postgres::{PASSWORD, Server};
use serde_json::Value;

use super::{Fleet, mutate, program};
use crate::fleet::Faults;

const BOOK: &str = "hosts = 'all'\n[[task]]\nname = 'motd'\ncopy = { content = 'hello', dest = '~/motd' }\n";

fn fleet_of(count: usize) -> Fleet {
    let names: Vec<String> = (1..=count).map(|number| format!("web{number:02}")).collect();
    Fleet::start(&names.iter().map(String::as_str).collect::<Vec<_>>(), &Faults::default())
}

/// Controllers on several machines, which have nothing in common but the journal's server.
struct Ops {
    fleet: Fleet,
    server: Server,
}

impl Ops {
    fn new(count: usize) -> Option<Self> {
        Some(Self { server: Server::start()?, fleet: fleet_of(count) })
    }

    /// The program on a machine of this name, which finds the password as it should.
    fn on(&self, machine: &str, words: &[&str]) -> Command {
        use std::os::unix::fs::PermissionsExt as _;
        let mut command = mutate(&self.fleet, words);
        let home = self.fleet.folder.path().join(machine);
        std::fs::create_dir_all(&home).expect("a home folder");
        let kept = home.join(".pgpass");
        std::fs::write(&kept, format!("*:*:*:*:{PASSWORD}\n")).expect("a file");
        std::fs::set_permissions(&kept, std::fs::Permissions::from_mode(0o600)).expect("a mode");
        command.env("HOME", home).env("MUTATE_JOURNAL", self.server.url());
        command
    }

    /// Exit code and all that is said.
    fn ran(&self, machine: &str, words: &[&str]) -> (i32, String) {
        let output = self.on(machine, words).output().expect("the program runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains(PASSWORD), "{said}");
        (output.status.code().unwrap_or(-1), said)
    }

    /// A command that takes no inventory.
    fn asked(&self, words: &[&str]) -> (i32, String) {
        let given = self.on("asker", &["history"]);
        let mut command = Command::new(program());
        command.args(words).env_clear().envs(given.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = command.output().expect("the program runs");
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
    }

    fn history(&self) -> Vec<Value> {
        let (_, text) = self.asked(&["history", "--output", "json"]);
        let document: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        document["runs"].as_array().expect("runs").clone()
    }

    /// How many hosts have a file of this name.
    fn made(&self, name: &str) -> usize {
        self.fleet.hosts.iter().filter(|host| host.home.join(name).exists()).count()
    }
}

#[test]
fn gnu_parallel_runs_four_shards_with_one_journal() {
    let Some(ops) = Ops::new(24) else { return };
    if Command::new("parallel").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "this machine has no GNU parallel (`apt install parallel`), which CI needs");
        println!("the test did NOT run: there is no GNU parallel on this machine (`apt install parallel`)");
        return;
    }
    let book = ops.fleet.write("play.toml", BOOK).display().to_string();
    let log = ops.fleet.folder.path().join("jobs.log").display().to_string();
    let template = ops.on("worker", &["apply"]);
    let mut parallel = Command::new("parallel");
    parallel.env_clear().envs(template.get_envs().filter_map(|(name, value)| Some((name, value?)))).stdin(Stdio::null());
    parallel.args(["--will-cite", "--jobs", "4", "--joblog", &log]).arg(program());
    parallel.args(["apply", "-i"]).arg(&ops.fleet.inventory).args([&book, "--run-id", "deploy-4711", "--reason", "tuesday", "--shard", "{}/4", ":::", "1", "2", "3", "4"]);
    let output = parallel.output().expect("parallel runs");
    let log = std::fs::read_to_string(log).expect("a log");
    assert!(output.status.success() && log.lines().count() == 5, "{log} {output:?}");
    assert_eq!((ops.made("motd"), ops.history().len()), (24, 1));
    let run = &ops.history()[0];
    assert_eq!((&run["id"], &run["exit"], &run["totals"]["changed"], &run["reason"]), (&"deploy-4711".into(), &0.into(), &24.into(), &"tuesday".into()), "{run}");
    assert_eq!(run["shards"].as_array().map(Vec::len), Some(4), "{run}");
    // Any machine sees, checks and undoes all of it; nothing of it is in a file.
    let (exit, shown) = ops.asked(&["show", "deploy-4711", "--output", "json"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!((exit, shown["hosts"].as_object().map(serde_json::Map::len)), (0, Some(24)), "{shown}");
    assert_eq!(ops.asked(&["audit"]), (0, "the chain holds: 1 runs are as they were when they ended\n".into()));
    assert_eq!(ops.asked(&["journal", "check"]).0, 0);
    let path = ops.fleet.host("web07").home.join("motd").display().to_string();
    assert!(ops.asked(&["blame", "web07", &path]).1.contains("deploy-4711"));
    let page = ops.fleet.folder.path().join("page.html").display().to_string();
    let (exit, said) = ops.asked(&["report", "deploy-4711", "--html", &page]);
    assert_eq!((exit, std::fs::read_to_string(&page).unwrap_or_default().contains("deploy-4711")), (0, true), "{said}");
    let (exit, said) = ops.ran("worker", &["apply", &book, "--run-id", "deploy-4711", "--shard", "2/4"]);
    assert!(exit == 1 && said.contains("is in the journal already") && said.contains("ended with 0"), "{said}");
    let (exit, said) = ops.ran("elsewhere", &["rollback", "deploy-4711"]);
    assert_eq!((exit, ops.made("motd"), ops.asked(&["audit"]).0), (0, 0, 0), "{said}");
    assert!(!ops.fleet.folder.path().join("worker/.local/state/mutate/journal.db").exists());
    // What somebody changes behind our back is found.
    ops.server.asks("UPDATE mutate.steps SET facts = replace(facts, 'motd', 'other') WHERE number = (SELECT min(number) FROM mutate.steps)");
    let (exit, said) = ops.asked(&["audit"]);
    assert!(exit != 0 && said.contains("deploy-4711"), "{said}");
    // The password is nowhere in it.
    for table in ["runs", "shards", "hosts", "steps", "kept"] {
        assert_eq!(ops.server.asks(&format!("SELECT count(*) FROM mutate.{table} t WHERE t::text LIKE '%{PASSWORD}%'")), "0", "{table}");
    }
    // Old runs are forgotten here, too.
    let (exit, said) = ops.asked(&["journal", "prune", "--before", "2100-01-01"]);
    assert_eq!((exit, ops.server.asks("SELECT count(*) FROM mutate.runs"), ops.server.asks("SELECT count(*) FROM mutate.steps")), (0, "0".into(), "0".into()), "{said}");
}

#[test]
fn without_the_server_nothing_more_is_changed() {
    let Some(ops) = Ops::new(2) else { return };
    let slow = format!(
        "{BOOK}[[task]]\nname = 'slow'\nshell = {{ cmd = 'echo slow >>log; sleep 3', always = true }}\n[[task]]\nname = 'last'\ncopy = {{ content = 'x', dest = '~/last' }}\nbarrier = true\n"
    );
    let book = ops.fleet.write("play.toml", &slow).display().to_string();
    let words = ["apply", &book, "--run-id", "x1", "--shard", "1/1"];
    let child = ops.on("worker", &words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
    for host in &ops.fleet.hosts {
        super::faults::wait_for(&host.home.join("log"));
    }
    // It cannot be begun a second time meanwhile.
    let (exit, said) = ops.ran("other", &words);
    assert!(exit == 1 && said.contains("the run x1 is under way at this moment"), "{said}");
    assert!(ops.asked(&["resume", "x1"]).1.contains("is still under way"));
    // Every change is on the server before it is made.
    assert_eq!(ops.server.asks("SELECT count(*) FROM mutate.steps WHERE outcome = 'intended' AND facts LIKE '%slow%'"), "2");
    ops.server.end();
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(7) && said.contains("the connection to postgres://keeper@") && said.contains("was lost") && !said.contains(PASSWORD), "{said}");
    assert_eq!((ops.made("motd"), ops.made("last")), (2, 0));
    // Where there is no server, nothing begins.
    let (exit, said) = ops.ran("worker", &["apply", &book]);
    assert!(exit == 1 && said.contains("connecting to the journal postgres://keeper@"), "{said}");
    assert_eq!(ops.made("last"), 0);
    ops.server.begin();
    let (_, said) = ops.asked(&["history"]);
    assert!(said.contains("never ended"), "{said}");
    let (exit, said) = ops.ran("other", &["resolve"]);
    assert_eq!((exit, ops.asked(&["audit"]).0, &ops.history()[0]["exit"]), (0, 0, &7.into()), "{said}");
    let (exit, said) = ops.asked(&["resume", "x1"]);
    assert_eq!((exit, ops.made("last")), (0, 2), "{said}");
    let logs: Vec<String> = ops.fleet.hosts.iter().map(|host| std::fs::read_to_string(host.home.join("log")).unwrap_or_default()).collect();
    assert_eq!(logs, ["slow\n", "slow\n"]);
}

/// It takes as long as the server is waited for, so this runs in CI alone.
#[test]
fn nobody_waits_without_end_for_a_server_that_hangs() {
    if std::env::var_os("CI").is_none() {
        println!("the test did NOT run: it takes half a minute, and CI is not set");
        return;
    }
    let Some(ops) = Ops::new(1) else { return };
    let slow = format!(
        "{BOOK}[[task]]\nname = 'slow'\nshell = {{ cmd = 'echo slow >>log; sleep 3', always = true }}\n[[task]]\nname = 'last'\ncopy = {{ content = 'x', dest = '~/last' }}\nbarrier = true\n"
    );
    let book = ops.fleet.write("play.toml", &slow).display().to_string();
    let child = ops.on("worker", &["apply", &book]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
    super::faults::wait_for(&ops.fleet.host("web01").home.join("log"));
    let backend = ops.server.asks("SELECT pid FROM pg_stat_activity WHERE application_name = 'mutate'").parse().expect("one process");
    let signal = |signal| nix::sys::signal::kill(nix::unistd::Pid::from_raw(backend), signal).expect("it is there");
    signal(nix::sys::signal::Signal::SIGSTOP);
    let begun = std::time::Instant::now();
    let output = child.wait_with_output().expect("it ends");
    signal(nix::sys::signal::Signal::SIGCONT);
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(7) && said.contains("gives no answer within 30 s") && ops.made("last") == 0, "{said}");
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
}

#[test]
fn many_shards_begin_and_end_at_the_same_time() {
    let Some(ops) = Ops::new(16) else { return };
    let book = ops.fleet.write("play.toml", BOOK).display().to_string();
    // Whoever is first makes the tables; a database with other habits changes nothing.
    ops.server.asks("ALTER DATABASE postgres SET default_transaction_isolation = 'serializable'");
    ops.server.asks("ALTER DATABASE postgres SET synchronous_commit = 'off'");
    let start = |number: u32| {
        ops.on(&format!("m{number}"), &["apply", &book, "--run-id", "x1", "--shard", &format!("{number}/8")])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs")
    };
    let started: Vec<_> = (1..=8).map(start).collect();
    for child in started {
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    let runs = ops.history();
    assert_eq!((runs.len(), &runs[0]["exit"], &runs[0]["totals"]["changed"], ops.made("motd")), (1, &0.into(), &16.into(), 16), "{runs:?}");
    assert_eq!(ops.asked(&["audit"]).0, 0);
    // A run that waits for a part is undone as a whole, and then that part does not begin.
    assert_eq!(ops.ran("m1", &["do", "all", "copy", "content=x", "dest=~/x", "--run-id", "x2", "--shard", "1/2"]).0, 0);
    let (exit, said) = ops.ran("m2", &["rollback", "x2"]);
    assert_eq!((exit, ops.made("x")), (0, 0), "{said}");
    let (exit, said) = ops.ran("m3", &["do", "all", "copy", "content=x", "dest=~/x", "--run-id", "x2", "--shard", "2/2"]);
    assert!(exit == 1 && said.contains("has been closed") && ops.made("x") == 0, "{said}");
    assert_eq!(ops.asked(&["audit"]).0, 0);
}

#[test]
fn over_a_network_the_server_must_be_who_it_is() {
    let Some(ops) = Ops::new(1) else { return };
    let (key, certificate) = (ops.server.path("server.key").display().to_string(), ops.server.path("server.crt").display().to_string());
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            &key,
            "-out",
            &certificate,
        ])
        .output();
    let Ok(made) = made else {
        assert!(std::env::var_os("CI").is_none(), "this machine has no openssl, which CI needs");
        println!("the test did NOT run: there is no openssl on this machine");
        return;
    };
    assert!(made.status.success(), "{made:?}");
    ops.server.own("server.key");
    ops.server.own("server.crt");
    ops.server.end();
    ops.server.configure(&format!("ssl = on\nssl_cert_file = '{certificate}'\nssl_key_file = '{key}'\n"));
    let hba = ops.server.path("data/pg_hba.conf");
    // Whoever comes over the network comes encrypted.
    std::fs::write(&hba, "local all all scram-sha-256\nhostssl all all 127.0.0.1/32 scram-sha-256\n").expect("a file");
    ops.server.begin();
    let book = ops.fleet.write("play.toml", BOOK).display().to_string();
    let port = ops.server.port;
    let with = |host: &str, query: &str| ops.ran("worker", &["apply", &book, "--journal", &format!("postgres://keeper@{host}:{port}/postgres?{query}")]);
    for (host, query, reason) in [
        ("localhost", "sslmode=require", "verify-full"),
        ("localhost", "sslmode=disable", "no encryption"),
        ("localhost", "sslmode=verify-full", "certificate"),
        ("127.0.0.1", &format!("sslmode=verify-full&sslrootcert={certificate}"), "certificate"),
        ("localhost", "sslmode=verify-full&sslrootcert=/nowhere", "/nowhere"),
    ] {
        let (exit, said) = with(host, query);
        assert!(exit == 1 && said.contains(reason), "{host} {query}: {said}");
    }
    assert_eq!(ops.made("motd"), 0);
    let (exit, said) = with("localhost", &format!("sslmode=verify-full&sslrootcert={certificate}"));
    assert_eq!((exit, ops.made("motd"), ops.history().len()), (0, 1, 1), "{said}");
    // With another password nobody comes in.
    let mut wrong = ops.on("worker", &["apply", &book]);
    let output = wrong.env("PGPASSWORD", "falsch-1").output().expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("password authentication failed") && !said.contains("falsch"), "{said}");
}
