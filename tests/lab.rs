//! The program against real hosts: those of the lab, whose script `MUTATE_LAB` names. Without it nothing here runs.
//!
//! `lab up debian=3 busybox=1 rpm=1 zypper=1 pacman=1` must have been done. The hosts are reset: whatever is on them is
//! lost.

#![allow(clippy::print_stdout, reason = "a test that did not run says so, and one that measures says what")]

#[path = "support/lab.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::Bench;

const HOSTS: [&str; 7] = ["deb1", "deb2", "deb3", "bb1", "rpm1", "zyp1", "pac1"];
/// Everything but what the system itself keeps writing, and the files beside its database that rpm makes when root asks.
const TREE: &str = r"find / \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /var/log -o -name 'rpmdb.sqlite-*' \) -prune -o -exec stat -c '%n|%f|%u:%g|%s|%y|%z|%h' {} + 2>/dev/null | sort";

struct Lab(Bench);

impl std::ops::Deref for Lab {
    type Target = Bench;

    fn deref(&self) -> &Bench {
        &self.0
    }
}

impl Lab {
    fn new() -> Option<Self> {
        Bench::new().map(Self)
    }

    fn reset(&self, hosts: &[&str]) {
        for host in hosts {
            assert!(self.lab(&["reset", host]).status.success(), "{host} is reset");
        }
    }

    fn mutate(&self, words: &[&str]) -> Command {
        let mut command = Command::new("python3");
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab");
        command.arg(&self.script).args(["run", "--", env!("CARGO_BIN_EXE_mutate")]).args(words);
        command.arg("-i").arg(here.join("inventory.toml"));
        command.arg("--become-password-file").arg(self.folder.path().join("password")).args(["--output", "json"]);
        command.current_dir(here).env("HOME", self.folder.path());
        command
    }

    fn run(&self, words: &[&str]) -> Value {
        let output = self.mutate(words).output().expect("mutate runs");
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error} in the output of {words:?}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// A playbook for `deb1`, run there.
    fn play(&self, tasks: &str) -> Value {
        let path = self.playbook(tasks);
        self.run(&["apply", &path])
    }

    fn playbook(&self, tasks: &str) -> String {
        let path = self.folder.path().join("playbook.toml");
        std::fs::write(&path, format!("hosts = \"deb1\"\n{tasks}")).expect("the playbook is written");
        path.to_string_lossy().into_owned()
    }

    fn trees(&self) -> BTreeMap<&'static str, String> {
        HOSTS.iter().map(|&host| (host, self.on(host, TREE))).collect()
    }
}

fn steps<'a>(run: &'a Value, host: &str) -> &'a [Value] {
    run["hosts"][host]["steps"].as_array().map_or(&[], Vec::as_slice)
}

fn outcomes(run: &Value, host: &str) -> Vec<(String, String)> {
    let text = |step: &Value, key: &str| step[key].as_str().unwrap_or_default().to_owned();
    steps(run, host).iter().map(|step| (format!("{} {}", text(step, "task"), step["item"]), text(step, "outcome"))).collect()
}

#[test]
fn a_site_is_predicted_made_and_then_left_alone() {
    let Some(lab) = Lab::new() else { return };
    lab.reset(&HOSTS);
    for host in HOSTS {
        // Even a question makes rpm open its database for writing; the first one moves it to the host's own layer.
        lab.on(host, "rpm -q lab-hello");
    }
    let before = lab.trees();
    let check = lab.run(&["apply", "--check", "first.toml", "site.toml"]);
    assert!(before == lab.trees(), "a check has written to a host");
    assert_eq!(check["exit"], 0, "{check:#}");
    let first = lab.run(&["apply", "first.toml", "site.toml"]);
    assert_eq!(first["exit"], 0, "{first:#}");
    for host in HOSTS {
        let (said, done) = (outcomes(&check, host), outcomes(&first, host));
        assert_eq!(said.len(), done.len(), "{host}: {said:?} {done:?}");
        for (said, done) in said.iter().zip(&done) {
            assert!(said == done || (said.0 == done.0 && said.1 == "pending"), "{host}: said {said:?}, did {done:?}");
        }
        assert!(done.iter().any(|(_, outcome)| outcome == "changed"));
    }
    let after = lab.trees();
    let second = lab.run(&["apply", "site.toml"]);
    assert_eq!((&second["exit"], &second["totals"]["changed"]), (&0.into(), &0.into()), "{second:#}");
    assert!(after == lab.trees(), "a run without changes has written to a host");
    assert_eq!(lab.run(&["apply", "upgrade.toml"])["exit"], 0);
    assert_eq!(lab.run(&["apply", "upgrade.toml"])["totals"]["changed"], 0);
    for host in HOSTS {
        assert_eq!(lab.on(host, "find / -xdev -name '.mutate.*'"), "", "{host}: files left behind");
    }
}

/// What a rollback must bring back: versions of packages, states of services, accounts, and files with all that belongs to
/// them. Package managers, the service manager and sudo leave traces of their own in logs and caches.
const STATE: &str = r#"set -f; for p in lab-hello lab-svc lab-dep lab-lib; do dpkg-query -W -f '${Package} ${Version} ${db:Status-Abbrev}\n' $p 2>/dev/null || rpm -q $p 2>/dev/null || pacman -Q $p 2>/dev/null || echo "$p absent"; done
systemctl is-active lab-svc 2>/dev/null; systemctl is-enabled lab-svc 2>/dev/null
sort /etc/passwd /etc/group
find /etc /srv /root /home /usr/local /opt \( -path /etc/systemd -o -path /etc/rc?.d -o -name 'passwd-' -o -name 'group-' -o -name 'shadow*' -o -name 'gshadow*' -o -name 'subuid*' -o -name 'subgid*' -o -name passwd -o -name group -o -path /root/.local -o -name .pwd.lock -o -name ld.so.cache -o -path /etc/pacman.d/gnupg \) -prune -o -type d -exec stat -c '%n|%f|%u:%g' {} + -o -exec stat -c '%n|%f|%u:%g|%s|%Y|%h' {} + 2>/dev/null | sort"#;

#[test]
fn a_site_is_rolled_back() {
    let Some(lab) = Lab::new() else { return };
    lab.reset(&HOSTS);
    let state = || -> BTreeMap<&str, String> { HOSTS.iter().map(|&host| (host, lab.on(host, STATE))).collect() };
    let before = state();
    let first = lab.run(&["apply", "first.toml", "site.toml"]);
    assert_eq!(first["exit"], 0, "{first:#}");
    let after = state();
    let back = lab.run(&["rollback", first["run"].as_str().expect("a run")]);
    let now = state();
    for host in HOSTS {
        let refused: Vec<&Value> = steps(&back, host).iter().filter(|step| step["outcome"] != "changed").collect();
        let different: Vec<String> = similar(&before[host], &now[host]);
        assert!(different.is_empty(), "{host}: not as before: {different:#?}\n{refused:#?}");
        assert!(before[host] != after[host], "{host}: nothing had changed");
    }
}

/// The lines that only one of two texts has.
fn similar(before: &str, now: &str) -> Vec<String> {
    let only = |sign: &str, these: &str, those: &str| -> Vec<String> { these.lines().filter(|line| !those.lines().any(|other| other == *line)).map(|line| format!("{sign} {line}")).collect() };
    [only("-", before, now), only("+", now, before)].concat()
}

#[test]
fn what_goes_on_after_a_failure_runs_once() {
    let Some(lab) = Lab::new() else { return };
    lab.on("deb1", "rm -f /root/log");
    let run = lab.play(
        "[[task]]\nshell = { cmd = \"echo a >>/root/log; false\", always = true }\nignore_errors = true\n\
         [[task]]\nshell = { cmd = \"echo b >>/root/log\", always = true }\n\
         [[task]]\nfile = { path = \"/root/made\", state = \"directory\" }\n\
         [[task]]\nshell = { cmd = \"echo c >>/root/log; false\", always = true }\nignore_errors = true\n\
         [[task]]\nshell = { cmd = \"echo d >>/root/log\", always = true }\n",
    );
    assert_eq!(lab.on("deb1", "cat /root/log; rm -rf /root/log /root/made"), "a\nb\nc\nd\n");
    let seen: Vec<String> = outcomes(&run, "deb1").into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(seen, ["failed", "changed", "changed", "failed", "changed"]);
}

#[test]
fn a_task_without_end_is_killed_and_the_next_one_works() {
    let Some(lab) = Lab::new() else { return };
    let run = lab.play(
        "[[task]]\ncommand = { cmd = \"sleep 4711\", always = true }\ntimeout = 2\nignore_errors = true\n\
         [[task]]\nshell = { cmd = \"cat; sleep 4712 & printf here\", always = true }\n\
         [[task]]\nshell = { cmd = \"head -c 200000000 /dev/zero\", always = true }\n",
    );
    let steps = steps(&run, "deb1");
    assert_eq!(steps[0]["outcome"], "failed");
    assert_eq!(steps[1]["stdout"], "here");
    assert_eq!(steps[2]["outcome"], "changed");
    assert_eq!(lab.on("deb1", "ps ax | grep -c '[s]leep 4711'; kill $(pidof sleep)").trim(), "0");
}

#[test]
fn a_single_command_is_killed_with_all_it_started_and_what_it_leaves_holds_nobody() {
    let Some(lab) = Lab::new() else { return };
    let hosts = ["bb1", "deb1", "zyp1", "pac1"];
    let step = |seconds: &str, command: &str| {
        let output = lab.mutate(&["run", &hosts.join(","), "--timeout", seconds]).args(["--", command]).output().expect("mutate runs");
        let run: Value = serde_json::from_slice(&output.stdout).expect("a document");
        hosts.map(|host| {
            let step = &steps(&run, host)[0];
            format!("{} {} {}{}", step["outcome"], step["status"], step["stdout"], step["stderr"])
        })
    };
    assert_eq!(step("20", "sleep 4713 & echo here; echo there >&2"), ["\"changed\" 0 \"here\\n\"\"there\\n\""; 4].map(str::to_owned));
    assert_eq!(step("2", "sleep 4714 & sleep 4715"), ["\"failed\" 124 \"\"\"\""; 4].map(str::to_owned));
    assert_eq!(step("20", "kill -9 $$; echo on"), ["\"failed\" 137 \"\"\"\""; 4].map(str::to_owned));
    assert_eq!(step("20", "seq 1 200000 | tail -c 7; exit 3"), ["\"failed\" 3 \"200000\\n\"\"\""; 4].map(str::to_owned));
    for host in hosts {
        let left = lab.on(host, "(ps ax 2>/dev/null || ps) | grep -c '[s]leep 471[345]'; kill $(pidof sleep)");
        assert_eq!(left.trim(), "1", "{host}: what was left in the background stays, and what was killed does not");
    }
}

#[test]
fn a_host_is_changed_by_one_run_at_a_time() {
    let Some(lab) = Lab::new() else { return };
    // A file of its own: the first run may be slow to read it.
    let path = lab.file("first.toml", "hosts = \"deb1\"\n[[task]]\nshell = { cmd = \"touch /run/held; while test -e /run/held; do sleep 0.2; done\", always = true }\n");
    let mut first = lab.mutate(&["apply", &path]).stdout(std::process::Stdio::null()).spawn().expect("mutate runs");
    while lab.on("deb1", "ls /run/held").is_empty() {
        assert!(first.try_wait().expect("it can be asked").is_none(), "the first run ended without having begun");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let large = lab.folder.path().join("large");
    std::fs::write(&large, vec![b'x'; 1 << 20]).expect("the file is written");
    let second = lab.play("[[task]]\ncopy = { src = \"large\", dest = \"/root/large\" }\n");
    assert_eq!(second["exit"], 8, "{second:#}");
    assert!(second["hosts"]["deb1"]["message"].as_str().is_some_and(|said| said.contains("is locked by")));
    assert_eq!(lab.on("deb1", "ls -A /root | grep '^[.]mutate'; rm /run/held"), "", "something was sent although the lock was not had");
    assert!(first.wait().expect("the first run ends").success());
}

#[test]
fn a_host_with_another_key_is_told_nothing() {
    let Some(lab) = Lab::new() else { return };
    lab.on("deb1", "rm -f /root/told");
    assert!(lab.lab(&["rekey", "deb1"]).status.success());
    let run = lab.play("[[task]]\nshell = { cmd = \"echo told >/root/told\", always = true }\n");
    let told = lab.on("deb1", "cat /root/told");
    assert!(lab.lab(&["rekey", "--tell", "deb1"]).status.success());
    assert_eq!((&run["exit"], told.as_str()), (&5.into(), ""));
    assert!(run["hosts"]["deb1"]["message"].as_str().is_some_and(|said| said.contains("HAS CHANGED")), "{run:#}");
}

#[test]
fn each_way_sudo_says_no_has_its_own_message() {
    let Some(lab) = Lab::new() else { return };
    for (user, part) in [("deploytty", "requiretty"), ("nosudo", "did not accept the password")] {
        let run = lab.run(&["ping", "deb1", "-b", "-u", user]);
        assert_eq!(run["exit"], 5, "{user}: {run:#}");
        assert!(run["hosts"]["deb1"]["message"].as_str().is_some_and(|said| said.contains(part)), "{user}: {run:#}");
    }
}

#[test]
fn a_server_with_one_session_serves_two_users_and_uploads() {
    let Some(lab) = Lab::new() else { return };
    lab.on("deb2", "grep -q '^MaxSessions 1$' /etc/ssh/sshd_config || { echo 'MaxSessions 1' >>/etc/ssh/sshd_config; systemctl restart ssh; }; rm -f /root/large /home/deploy/large");
    std::fs::write(lab.folder.path().join("large"), vec![b'x'; 1 << 18]).expect("the file is written");
    let path = lab.folder.path().join("playbook.toml");
    let task = |extra: &str| format!("[[task]]\ncopy = {{ src = \"large\", dest = \"~/large\" }}\n{extra}");
    std::fs::write(&path, format!("hosts = \"deb2\"\nbecome = false\n{}{}", task(""), task("become = true\n"))).expect("the playbook is written");
    let words = ["apply", path.to_str().expect("a plain path")];
    let first = lab.run(&words);
    let second = lab.run(&words);
    lab.on("deb2", "sed -i '/^MaxSessions 1$/d' /etc/ssh/sshd_config; systemctl restart ssh");
    let seen = |run: &Value| -> Vec<String> { outcomes(run, "deb2").into_iter().map(|(_, outcome)| outcome).collect() };
    assert_eq!((seen(&first), seen(&second)), (vec!["changed".to_owned(); 2], vec!["ok".to_owned(); 2]), "{first:#}");
}

#[test]
fn a_folder_of_drop_ins_that_is_new_is_read_again() {
    let Some(lab) = Lab::new() else { return };
    lab.on("deb1", "rm -rf /etc/systemd/system/cron.service.d; systemctl daemon-reload; mkdir /etc/systemd/system/cron.service.d; printf '[Service]\\nEnvironment=A=1\\n' >/etc/systemd/system/cron.service.d/a.conf");
    let tasks = "[[task]]\nservice = { name = \"cron\", daemon_reload = true }\n[[task]]\nservice = { daemon_reload = true }\n";
    let (first, second) = (lab.play(tasks), lab.play(tasks));
    let seen = |run: &Value| -> Vec<String> { outcomes(run, "deb1").into_iter().map(|(_, outcome)| outcome).collect() };
    assert_eq!((seen(&first), seen(&second)), (vec!["changed".to_owned(), "ok".to_owned()], vec!["ok".to_owned(); 2]), "{first:#}");
    assert_eq!(lab.on("deb1", "systemctl show -p Environment cron"), "Environment=A=1\n");
}

/// Round trips of the same command, told by how much longer it takes when each lasts 0.7 s more. What the machine
/// itself takes longer the second time is far less than half of that, and goes by rounding: the count is a whole number.
/// From a second on TCP would take the delay for loss and begin with less (RFC 6298 §5.7).
fn round_trips(lab: &Lab, words: &[&str], before: &str) -> i64 {
    const LONGER: f64 = 0.7;
    let mut seconds = [0.0; 2];
    for (at, latency) in ["0", "700"].into_iter().enumerate() {
        lab.on("deb1", before);
        assert!(lab.lab(&["latency", latency, "deb1"]).status.success());
        let begun = std::time::Instant::now();
        let run = lab.run(words);
        seconds[at] = begun.elapsed().as_secs_f64();
        assert_eq!(run["exit"], 0, "{run:#}");
    }
    assert!(lab.lab(&["latency", "0", "deb1"]).status.success());
    #[allow(clippy::cast_possible_truncation, reason = "a run ends within minutes")]
    let trips = ((seconds[1] - seconds[0]) / LONGER).round() as i64;
    trips
}

#[test]
fn a_playbook_of_fifty_tasks_costs_few_round_trips() {
    let Some(lab) = Lab::new() else { return };
    let task = |number| format!("[[task]]\ncopy = {{ content = \"text {number}\", dest = \"/root/fifty/{number}\" }}\n");
    let path = lab.playbook(&(0..50).map(task).collect::<String>());
    let empty = "rm -rf /root/fifty; mkdir /root/fifty";
    let login = round_trips(&lab, &["ping", "deb1"], ":");
    let first = round_trips(&lab, &["apply", &path], empty);
    let converged = round_trips(&lab, &["apply", &path], ":");
    println!("round trips: ping {login}, 50 changes {first}, converged {converged}");
    // The login is what a ping needs, its one question included.
    assert!(converged - login <= 2, "converged {converged}, ping {login}");
    // Two for the changes and the farewell; the 50 KiB of libraries and as much of changes fill TCP's first windows.
    assert!(first - login <= 6, "first {first}, ping {login}");
}

/// Kills the session of the server that it runs in, as a reboot of a router would.
const HANG_UP: &str = "p=$PPID; while [ \"$p\" -gt 1 ]; do read -r a </proc/$p/stat; b=${a##*') '}; set -- $b; \
    case $a in *sshd*|*dropbear*) kill -9 $p; break;; esac; p=$2; done";

#[test]
fn contact_that_is_lost_amid_changes_is_found_again() {
    let Some(lab) = Lab::new() else { return };
    lab.reset(&HOSTS);
    let path = lab.folder.path().join("lost.toml");
    let playbook = format!(
        "hosts = 'all'\nbecome = true\n\
         [[task]]\nname = 'first'\ncopy = {{ content = 'x', dest = '/root/first' }}\nnotify = 'tell'\n\
         [[task]]\nname = 'long'\nshell = {{ cmd = \"\"\"echo once >>/root/count; {HANG_UP}; sleep 2\"\"\", always = true }}\n\
         [[task]]\nname = 'last'\ncopy = {{ content = 'y', dest = '/root/last' }}\n\
         [[handler]]\nname = 'tell'\nshell = {{ cmd = 'echo told >>/root/count', always = true }}\n"
    );
    std::fs::write(&path, playbook.replace('\\', "\\\\")).expect("the playbook is written");
    let ran = lab.run(&["apply", &path.to_string_lossy()]);
    assert_eq!(ran["exit"], 0, "{ran:#}");
    for host in HOSTS {
        assert_eq!(lab.on(host, "cat /root/count; cat /root/first /root/last"), "once\ntold\nxy", "{host}: {}", ran["hosts"][host]);
        let long = &ran["hosts"][host]["steps"][1];
        assert!(long["message"].as_str().is_some_and(|said| said.contains("ledger")), "{host}: {long}");
    }
}

#[test]
fn a_saved_plan_is_applied_as_it_was_shown() {
    let Some(lab) = Lab::new() else { return };
    lab.reset(&HOSTS);
    let plan = lab.folder.path().join("site.plan").display().to_string();
    lab.run(&["plan", "site.toml", "-o", &plan]);
    // Somebody edits one host.
    lab.on("bb1", "echo edited >/etc/motd");
    let before = lab.on("bb1", TREE);
    let ran = lab.run(&["apply", &plan]);
    assert_eq!(ran["exit"], 9, "{ran:#}");
    assert_eq!(ran["hosts"]["bb1"]["outcome"], "failed", "{:#}", ran["hosts"]["bb1"]);
    assert!(before == lab.on("bb1", TREE), "a stale host was changed");
    // What depends on earlier steps of a plan, as a file that a package brings along or a second line in one file, is for the next plan.
    let mut rounds = Vec::new();
    while rounds.last() != Some(&(Value::from(0), Value::from(0))) && rounds.len() < 6 {
        lab.run(&["plan", "site.toml", "-o", &plan]);
        let round = lab.run(&["apply", &plan]);
        rounds.push((round["exit"].clone(), round["totals"]["changed"].clone()));
    }
    assert_eq!(rounds.last(), Some(&(Value::from(0), Value::from(0))), "{rounds:?}");
    let rest = lab.run(&["apply", "site.toml"]);
    assert_eq!((&rest["exit"], &rest["totals"]["changed"]), (&0.into(), &0.into()), "{rest:#}");
}

/// A configuration that sshd does not start with, one with which it listens elsewhere, and one that lets nobody in: the
/// hosts take it back by themselves, and can be logged in to again.
#[test]
fn a_configuration_that_locks_everybody_out_goes_back() {
    const SSHD: [&str; 6] = ["deb1", "deb2", "deb3", "rpm1", "zyp1", "pac1"];
    let Some(lab) = Lab::new() else { return };
    lab.reset(&HOSTS);
    for (content, confirm) in [("NoSuchWord yes", ""), ("Port 2299", ""), ("AllowUsers nobody", "confirm = \"6s\"\n")] {
        let path = lab.playbook("").replace("playbook.toml", "lock.toml");
        let play = format!(
            "hosts = \"all & !bb1\"\n\
             [[task]]\nname = \"harmless\"\nfile = {{ path = \"/etc/harmless\", state = \"directory\" }}\n\
             [[task]]\nname = \"config\"\ncopy = {{ content = \"{content}\\n\", dest = \"/etc/ssh/sshd_config.d/00-lock.conf\" }}\n{confirm}notify = \"restart ssh\"\n\
             [[handler]]\nname = \"restart ssh\"\nservice = {{ name = \"ssh\", state = \"restarted\" }}\n"
        );
        std::fs::write(&path, play).expect("the playbook is written");
        let began = std::time::Instant::now();
        let run = lab.run(&["apply", &path]);
        println!("{content}: the run ended after {:.1} s", began.elapsed().as_secs_f64());
        for host in SSHD.into_iter().filter(|host| run["hosts"][*host]["rolled_back"] != "completely") {
            println!("{content} on {host}: {}", lab.on(host, "tail -n 20 /var/lib/mutate/runs/*/watch/*.said; systemctl status ssh | tail -n 20"));
        }
        assert_eq!(run["exit"], 6, "{content}: {run}");
        for host in SSHD {
            assert_eq!((&run["hosts"][host]["outcome"], &run["hosts"][host]["rolled_back"]), (&"failed".into(), &"completely".into()), "{content} on {host}: {run}");
            assert_eq!(lab.on(host, "ls /etc/ssh/sshd_config.d; systemctl is-active ssh"), "lab.conf\nactive\n", "{content} on {host}");
        }
        assert_eq!(lab.run(&["ping", "-l", "all & !bb1"])["exit"], 0, "{content}");
    }
    // Whoever may become another user is as easily locked out.
    let path = lab.playbook("").replace("playbook.toml", "lock.toml");
    let play = "hosts = \"deb2,deb3,rpm1\"\n\
         [[task]]\nname = \"sudo\"\ncopy = { content = \"deploy ALL=(ALL) !ALL\\ndeploypw ALL=(ALL) !ALL\\n\", dest = \"/etc/sudoers.d/zz-lock\", mode = \"0440\" }\nconfirm = \"5s\"\n";
    std::fs::write(&path, play).expect("the playbook is written");
    let run = lab.run(&["apply", &path]);
    assert_eq!(run["exit"], 6, "{run}");
    for host in ["deb2", "deb3", "rpm1"] {
        assert!(run["hosts"][host]["message"].as_str().is_some_and(|said| said.contains("no new login within 5 s")), "{run}");
        assert_eq!(lab.on(host, "test -e /etc/sudoers.d/zz-lock || echo gone"), "gone\n");
    }
    // The connection itself is cut, and comes back with the network.
    let run = lab.play("[[task]]\nname = \"net\"\nshell = { cmd = \"ip link set eth0 down\", always = true, undo = \"ip link set eth0 up\" }\nconfirm = \"5s\"\n");
    assert_eq!((&run["exit"], &run["hosts"]["deb1"]["rolled_back"]), (&6.into(), &"completely".into()), "{run}");
    // What is fine stays.
    std::fs::write(&path, "hosts = \"all\"\n[[task]]\nname = \"key\"\nlineinfile = { path = \"/root/.ssh/authorized_keys\", line = \"# known\", create = true, mode = \"0600\" }\n").expect("the playbook is written");
    let run = lab.run(&["apply", &path]);
    assert_eq!(run["exit"], 0, "{run}");
    assert_eq!(lab.on("bb1", "grep -c known /root/.ssh/authorized_keys; ls -d /var/lib/mutate/runs/*/watch 2>/dev/null"), "1\n");
}

/// The controller is killed at fifty instants, over thirty steps on five hosts: what became of them can be settled, nothing half
/// done is left, and the next run makes it good.
#[test]
fn the_controller_is_killed_and_nothing_is_lost() {
    const FIVE: [&str; 5] = ["deb1", "bb1", "rpm1", "zyp1", "pac1"];
    let Some(lab) = Lab::new() else { return };
    lab.reset(&FIVE);
    let whole = "0123456789".repeat(300);
    let mut play = format!("hosts = \"{}\"\n[[task]]\nfile = {{ path = \"/srv/sweep\", state = \"directory\" }}\n", FIVE.join(","));
    for number in 0..10 {
        play.push_str(&format!("[[task]]\ncopy = {{ content = \"{whole}{{{{ round }}}}\\n\", dest = \"/srv/sweep/file{number}\", mode = \"0640\" }}\n"));
        play.push_str(&format!("[[task]]\nlineinfile = {{ path = \"/srv/sweep/lines{number}\", regexp = \"^v=\", line = \"v={{{{ round }}}}\", create = true }}\n"));
        play.push_str(&format!("[[task]]\nshell = {{ cmd = \"echo {{{{ round }}}} >>/srv/sweep/count{number}; touch /srv/sweep/done{number}-{{{{ round }}}}\", creates = \"/srv/sweep/done{number}-{{{{ round }}}}\" }}\n"));
    }
    let path = lab.playbook("");
    std::fs::write(&path, play).expect("the playbook is written");
    let began = std::time::Instant::now();
    assert_eq!(lab.run(&["apply", &path, "-e", "round=0"])["exit"], 0);
    let span = u64::try_from(began.elapsed().as_millis()).expect("a short time");
    let mut chance = 0x2545_f491_u64;
    for round in 1..=50_u64 {
        let variable = format!("round={round}");
        let mut child = lab.mutate(&["apply", &path, "-e", &variable]).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().expect("mutate runs");
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(std::time::Duration::from_millis((chance >> 33) % span));
        child.kill().expect("it is killed");
        child.wait().expect("it has ended");
        if round % 10 != 0 {
            continue;
        }
        // The step that had begun is finished.
        let mut settled = lab.run(&["resolve"]);
        while settled["exit"] == 7 && began.elapsed().as_secs() < 300 {
            std::thread::sleep(std::time::Duration::from_millis(500));
            settled = lab.run(&["resolve"]);
        }
        assert_eq!(settled["exit"], 0, "{settled}");
        let mut again = lab.run(&["apply", &path, "-e", &variable]);
        while again["exit"] == 8 && began.elapsed().as_secs() < 300 {
            again = lab.run(&["apply", &path, "-e", &variable]);
        }
        assert_eq!(again["exit"], 0, "round {round}: {again}");
        assert_eq!(lab.run(&["apply", &path, "-e", &variable])["totals"]["changed"], 0, "round {round}");
        for host in FIVE {
            let said = lab.on(host, "cd /srv/sweep; ls -A | grep mutate; cat count* | sort | uniq -c | grep -v '^ *10 ' | grep '^ *1[1-9]'; cat file* | sort -u; cat lines* | sort -u; ls -d /var/lib/mutate/lock 2>&1 | grep -v 'No such'; stat -c %a file* | sort -u");
            assert_eq!(said, format!("{whole}{round}\nv={round}\n640\n"), "{host}, round {round}");
        }
    }
}

#[test]
fn a_host_is_started_again_where_it_needs_it_and_the_run_goes_on() {
    let Some(lab) = Lab::new() else { return };
    let all = ["deb3", "bb1", "rpm1", "zyp1", "pac1"];
    lab.reset(&all);
    let tasks = "[[task]]\nreboot = {}\n[[task]]\nshell = { cmd = \"cat /proc/sys/kernel/random/boot_id\", probe = true }\n[[task]]\ncopy = { content = \"x\", dest = \"/root/after\" }\n";
    let path = lab.folder.path().join("reboot.toml");
    std::fs::write(&path, format!("hosts = \"{}\"\n{tasks}", all.join(","))).expect("the playbook is written");
    let path = path.display().to_string();
    let boots = || all.map(|host| lab.on(host, "cat /proc/sys/kernel/random/boot_id").trim().to_owned());
    for host in all {
        lab.on(host, "touch /run/reboot-required; rm -f /root/after");
    }
    let before = boots();
    let check = lab.run(&["apply", "--check", &path]);
    let first = lab.run(&["apply", &path]);
    let after = boots();
    for (at, host) in all.iter().enumerate() {
        assert_eq!((&check["hosts"][host]["steps"][0]["outcome"], &first["hosts"][host]["steps"][0]["outcome"]), (&"changed".into(), &"changed".into()), "{first:#}");
        assert!(before[at] != after[at] && !after[at].is_empty(), "{host}: the same boot");
        let said = first["hosts"][host]["steps"][1]["stdout"].as_str().unwrap_or_default().trim();
        assert_eq!(said, after[at], "{host}: the next task ran before the host had gone down: {}", first["hosts"][host]);
    }
    assert_eq!(lab.run(&["apply", &path])["totals"]["changed"], 0, "nothing needs it any more");
    assert_eq!(boots(), after);
    let lame = lab.play("[[task]]\nreboot = { only_if_needed = false, reboot_command = \"true\", reboot_timeout = \"3s\" }\n");
    let message = steps(&lame, "deb1")[0]["message"].as_str().unwrap_or_default();
    assert!(message.contains("not back within 3 s: it did not go down"), "{lame:#}");
}

/// Traces that stay: the time of a file that names the zone, what the service of the lab and BusyBox's cron write themselves.
const TRACES: [&str; 4] = ["/etc/localtime|", "/etc/timezone|", "/run/lab-svc.state|", "/crontabs/cron.update|"];

#[test]
fn a_playbook_of_every_family_converges_and_goes_back() {
    let Some(lab) = Lab::new() else { return };
    let hosts = ["deb1", "bb1", "rpm1", "zyp1", "pac1"];
    lab.reset(&hosts);
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/families");
    let folder = lab.folder.path().join("families");
    assert!(Command::new("cp").args(["-a"]).arg(&here).arg(&folder).status().expect("cp runs").success());
    assert!(Command::new("sh").arg(folder.join("prepare.sh")).stdout(std::process::Stdio::null()).status().expect("sh runs").success(), "programs for the hosts are missing on this machine: git curl acl attr locales");
    let book = folder.join("families.toml");
    let tasks = std::fs::read_to_string(&book).expect("the playbook").matches("[[play.task]]").count();
    assert!(tasks >= 150, "{tasks} tasks");
    let addresses: Vec<Value> = serde_json::from_slice(&lab.lab(&["inventory", "--json"]).stdout).expect("the inventory");
    let lines: String = addresses.iter().filter(|host| hosts.contains(&host["name"].as_str().unwrap_or_default())).map(|host| format!("{} = {}\n", host["name"].as_str().unwrap_or_default(), host["address"])).collect();
    let inventory = lab.file("families_hosts.toml", &format!("user = 'root'\nkey = '/var/cache/mutate-lab/keys/id_ed25519'\n[hosts]\n{lines}"));
    let run = |words: &[&str]| -> Value {
        let mut command = Command::new("python3");
        command.arg(&lab.script).args(["run", "--", env!("CARGO_BIN_EXE_mutate")]).args(words).args(["-i", &inventory, "--output", "json"]);
        let output = command.current_dir(&folder).env("HOME", lab.folder.path()).output().expect("mutate runs");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
    };
    let script = std::fs::read_to_string(folder.join("state.sh")).expect("the state script");
    let state = || -> BTreeMap<&str, String> { hosts.iter().map(|&host| (host, lab.on(host, &script))).collect() };
    let problems = |run: &Value| -> Vec<String> {
        let all = hosts.iter().flat_map(|host| steps(run, host).iter().map(move |step| (host, step)));
        all.filter(|(_, step)| !["ok", "changed", "skipped", "pending"].contains(&step["outcome"].as_str().unwrap_or_default())).map(|(host, step)| format!("{host}: {} {}: {}", step["task"], step["outcome"], step["message"])).collect()
    };
    let before = state();
    let check = run(&["apply", "--check", "families.toml"]);
    assert_eq!((&check["exit"], problems(&check)), (&0.into(), Vec::new()));
    let first = run(&["apply", "families.toml"]);
    assert_eq!((&first["exit"], problems(&first)), (&0.into(), Vec::new()));
    let second = run(&["apply", "families.toml"]);
    let again: Vec<String> = hosts.iter().flat_map(|host| steps(&second, host).iter().filter(|step| step["outcome"] == "changed").map(move |step| format!("{host}: {} {}", step["task"], step["diff"]))).collect();
    assert_eq!((&second["exit"], again), (&0.into(), Vec::new()), "the second run");
    let back = run(&["rollback", first["run"].as_str().expect("a run")]);
    assert_eq!((&back["exit"], problems(&back)), (&0.into(), Vec::new()), "the rollback");
    let now = state();
    for host in hosts {
        let counts = &first["hosts"][host]["totals"];
        println!("{host}: {tasks} tasks in the playbook, {} changed, {} ok, {} skipped", counts["changed"], counts["ok"], counts["skipped"]);
        let kept = |text: &str| -> Vec<String> { text.lines().filter(|line| !TRACES.iter().any(|trace| line.contains(trace))).map(str::to_owned).collect() };
        let (was, is) = (kept(&before[host]), kept(&now[host]));
        let different: Vec<&String> = was.iter().filter(|line| !is.contains(line)).chain(is.iter().filter(|line| !was.contains(line))).collect();
        assert!(different.is_empty(), "{host}: not as before: {different:#?}");
    }
}

/// What each kind of host differs in, who made it so, and what is told of it: 40 cases on real hosts.
#[test]
fn who_made_a_host_differ_is_told_rightly() {
    let Some(lab) = Lab::new() else { return };
    let hosts = ["deb1", "bb1", "rpm1", "zyp1", "pac1"];
    let systemd = ["deb1", "rpm1", "zyp1", "pac1"];
    lab.reset(&hosts);
    lab.learn_host_keys();
    let task = |name: &str, text: &str| format!("[[task]]\nname = '{name}'\n{text}\n");
    let book = |changed: &str| {
        [
            "hosts = 'deb1,bb1,rpm1,zyp1,pac1'\nbecome = true\n".to_owned(),
            task("by hand", "copy = { content = 'ours', dest = '/etc/by-hand', mode = '0644' }"),
            task("removed", "copy = { content = 'ours', dest = '/etc/removed' }"),
            task("mode", "file = { path = '/etc/by-mode', state = 'touch', mode = '0640' }"),
            task("a line", "lineinfile = { path = '/etc/by-line', line = 'ours = 1', create = true }"),
            task("playbook", &format!("copy = {{ content = '{changed}', dest = '/etc/by-playbook' }}")),
            task("colleague", "copy = { content = 'ours', dest = '/etc/by-colleague' }"),
            task("package", "copy = { content = 'ours', dest = '/usr/bin/lab-hello', mode = '0755' }\nwhen = \"host.name != 'bb1'\""),
            task("service", "service = { name = 'lab-svc', state = 'started' }\nwhen = \"host.name != 'bb1'\""),
        ]
        .concat()
    };
    for host in systemd {
        let install = "apt-get -y -q install lab-hello lab-svc || dnf -y -q install lab-hello lab-svc || zypper -n -q install lab-hello lab-svc || pacman -S --noconfirm lab-hello lab-svc";
        lab.on(host, install);
    }
    let path = lab.file("drift.toml", &book("ours"));
    let run = lab.run(&["apply", &path]);
    assert_eq!(run["exit"], 0, "{run}");
    assert_eq!(lab.run(&["drift", &path])["totals"]["changed"], 0);
    // Longer ago than what counts as the same moment.
    std::thread::sleep(std::time::Duration::from_secs(4));
    let colleague = lab.file("colleague.toml", "hosts = 'deb1,bb1,rpm1,zyp1,pac1'\nbecome = true\n[[task]]\ncopy = { content = 'theirs', dest = '/etc/by-colleague' }\n");
    let home = lab.folder.path().join("colleague");
    std::fs::create_dir_all(home.join(".ssh")).expect("a home");
    std::fs::copy(lab.folder.path().join(".ssh/known_hosts"), home.join(".ssh/known_hosts")).expect("host keys");
    let theirs = lab.mutate(&["apply", &colleague]).env("HOME", &home).output().expect("mutate runs");
    assert!(theirs.status.success(), "{theirs:?}");
    for host in hosts {
        lab.on(host, "echo mine >/etc/by-hand; rm /etc/removed; chmod 600 /etc/by-mode; sed -i 's/1/2/' /etc/by-line");
    }
    for host in systemd {
        let again = "systemctl stop lab-svc; apt-get -y -q install --reinstall lab-hello || dnf -y -q reinstall lab-hello || zypper -n -q install -f lab-hello || pacman -S --noconfirm lab-hello";
        lab.on(host, again);
    }
    let run = lab.run(&["drift", &lab.file("drift.toml", &book("ours, but newer"))]);
    assert_eq!(run["exit"], 2, "{run}");
    let (mut wrong, mut told) = (Vec::new(), 0);
    for host in hosts {
        for (task, by, how) in [
            ("by hand", "hand", "by hand: changed on 20"),
            ("removed", "hand", "it is gone"),
            ("mode", "hand", "by hand: changed on 20"),
            ("a line", "hand", "by hand: changed on 20"),
            ("playbook", "ours", "the playbook or its variables are others since"),
            ("colleague", "ours", "ours: changed by the run "),
            ("package", "package", "by the package lab-hello"),
            ("service", "hand", "changed since the run"),
        ] {
            if host == "bb1" && ["package", "service"].contains(&task) {
                continue;
            }
            let step = steps(&run, host).iter().find(|step| step["task"] == task).unwrap_or(&Value::Null);
            let drift = &step["data"]["drift"];
            told += 1;
            if drift["by"] != by || !drift["how"].as_str().is_some_and(|said| said.contains(how)) {
                wrong.push(format!("{task} on {host}: {} {drift}", step["outcome"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {told}:\n{}", wrong.len(), wrong.join("\n"));
    println!("{told} differences on {} hosts are attributed rightly", hosts.len());
}

#[test]
fn a_unit_that_fails_meanwhile_fails_the_gate() {
    let Some(lab) = Lab::new() else { return };
    lab.on("deb1", "systemctl reset-failed; true");
    let book = |command: &str| {
        let text = format!("hosts = 'deb1'\n[[task]]\nname = 'act'\nshell = {{ cmd = '{command}', always = true }}\n[[health]]\nname = 'well'\ncommand = 'true'\n");
        lab.file("gate.toml", &text)
    };
    let run = lab.run(&["apply", &book("true")]);
    assert_eq!(run["exit"], 0, "{run}");
    let impact = steps(&run, "deb1").iter().find(|step| step["module"] == "impact").expect("a step");
    assert!(impact["data"]["impact"]["after"]["listening"].as_array().is_some_and(|ports| ports.contains(&22.into())), "{run}");
    let run = lab.run(&["apply", &book("systemd-run --quiet --unit=boom --property=RemainAfterExit=no false; sleep 1")]);
    let impact = steps(&run, "deb1").iter().find(|step| step["module"] == "impact").expect("a step");
    assert!(run["exit"] == 4 && impact["outcome"] == "failed" && impact["message"].as_str().is_some_and(|said| said.contains("failed since: boom.service")), "{run}");
    assert!(!steps(&run, "deb1").iter().any(|step| step["task"] == "well"));
    lab.on("deb1", "systemctl reset-failed; true");
}

#[test]
fn hosts_are_patched_and_go_back_by_version() {
    let Some(lab) = Lab::new() else { return };
    lab.on("deb1", "apt-get -y -q install --allow-downgrades lab-svc=1.0 lab-hello=1.0");
    let versions = || lab.on("deb1", "dpkg-query -W -f '${Package} ${Version}\\n' lab-svc lab-hello").trim().to_owned();
    let planned = lab.run(&["patch", "deb1", "--check", "-D"]);
    assert!(steps(&planned, "deb1")[0]["diff"].as_str().is_some_and(|diff| diff.contains("lab-hello 1.0 -> 2.0")), "{planned}");
    assert_eq!(versions(), "lab-hello 1.0\nlab-svc 1.0");
    let patched = lab.run(&["patch", "deb1", "--health", "lab-hello"]);
    assert_eq!((patched["exit"].as_i64(), versions().as_str()), (Some(0), "lab-hello 2.0\nlab-svc 1.1"), "{patched}");
    lab.on("deb1", "apt-get -y -q install --allow-downgrades lab-svc=1.0 lab-hello=1.0");
    let back = lab.run(&["patch", "deb1", "--rollback", "--health", "lab-hello | grep 1.0"]);
    assert_eq!((back["exit"].as_i64(), versions().as_str()), (Some(6), "lab-hello 1.0\nlab-svc 1.0"), "{back}");
}

/// Puts the packages of the lab on a host, whatever installs there.
const INSTALL: &str = "apt-get -y -q install lab-hello lab-svc || dnf -y -q install lab-hello lab-svc || zypper -n -q install lab-hello lab-svc || pacman -S --noconfirm lab-hello lab-svc";

#[test]
fn what_no_playbook_looks_after_is_listed() {
    let Some(lab) = Lab::new() else { return };
    let packaged = ["deb1", "deb2", "rpm1", "zyp1", "pac1"];
    let managers = ["dpkg", "dpkg", "rpm", "rpm", "pacman"];
    let hosts = "deb1,deb2,rpm1,zyp1,pac1,bb1";
    lab.reset(&["deb1", "deb2", "rpm1", "zyp1", "pac1", "bb1"]);
    for host in packaged {
        lab.on(host, INSTALL);
    }
    let book = lab.file("ours.toml", &format!("hosts = '{hosts}'\n[[task]]\ncopy = {{ content = 'ours', dest = '/etc/by-us' }}\n"));
    assert_eq!(lab.run(&["apply", &book])["exit"], 0);
    let at = |run: &Value, host: &str, path: &str| run["hosts"][host]["found"].as_array().and_then(|found| found.iter().find(|one| one["path"] == path)).cloned().unwrap_or_default();
    let before = lab.run(&["unmanaged", hosts, &book]);
    for host in packaged {
        assert!(at(&before, host, "/etc/lab-svc.conf").is_null() && at(&before, host, "/usr/bin/lab-hello").is_null(), "{host}: {before:#}");
    }
    for host in packaged {
        lab.on(host, "echo mine >>/etc/lab-svc.conf; echo '#!/bin/sh' >/usr/bin/lab-hello; mkdir -p '/etc/by hand'; echo 'a b' >'/etc/by hand/a  b'; ln -s /nowhere /etc/by-link; echo x >/etc/by-playbook; echo x >/etc/held");
    }
    lab.on("deb1", "rm /usr/share/lab-svc/* /usr/lib/systemd/system/lab-svc.service /lib/systemd/system/lab-svc.service 2>/dev/null; true");
    let book = lab.file("book.toml", &format!("hosts = '{hosts}'\n[[task]]\nname = 'there'\ncopy = {{ content = 'x', dest = '/etc/by-playbook' }}\n"));
    let run = lab.run(&["unmanaged", hosts, &book, "--ignore", "rpm1:/etc/held", "--detailed-exitcode"]);
    assert_eq!(run["exit"], 2, "{run:#}");
    for (host, manager) in packaged.into_iter().zip(managers) {
        assert_eq!(run["hosts"][host]["manager"], manager, "{host}");
        let config = at(&run, host, "/etc/lab-svc.conf");
        assert_eq!((&config["kind"], &config["package"], &config["config"], &config["owner"], &config["excused"]), (&"differs".into(), &"lab-svc".into(), &true.into(), &"root".into(), &Value::Null), "{host}: {run:#}");
        assert!(config["what"].as_str().is_some_and(|what| what.starts_with("configuration of the package lab-svc, and differs: content")), "{host}: {config}");
        let (program, unseen) = (at(&run, host, "/usr/bin/lab-hello"), &run["hosts"][host]["unseen"]);
        // The packages of the lab for pacman have no list of hashes.
        let is_bare = host == "pac1";
        assert_eq!(unseen.as_array().map(Vec::len), Some(if is_bare { 2 } else { 0 }), "{host}: {unseen}");
        assert!(!is_bare || unseen.to_string().contains("lab-hello, which came without a list of hashes"), "{unseen}");
        assert!(is_bare || (&program["kind"], &program["package"], &program["config"]) == (&"differs".into(), &"lab-hello".into(), &false.into()), "{host}: {run:#}");
        let by_hand = at(&run, host, "/etc/by hand/a  b");
        assert!(by_hand["kind"] == "extra" && by_hand["package"].is_null() && by_hand["when"].as_str().is_some_and(|when| when.starts_with("20")), "{host}: {run:#}");
        assert_eq!((&at(&run, host, "/etc/by-link")["target"], &at(&run, host, "/etc/by-us")["excused"]), (&"/nowhere".into(), &"ours".into()), "{host}: {run:#}");
        assert!(at(&run, host, "/etc/by-playbook").is_null(), "{host}: {run:#}");
        assert_eq!(at(&run, host, "/etc/held")["excused"], if host == "rpm1" { "ignored".into() } else { Value::Null }, "{host}");
        for generated in ["/etc/machine-id", "/etc/passwd", "/etc/shadow-", "/etc/ld.so.cache", "/etc/resolv.conf"] {
            assert!(at(&run, host, generated).is_null(), "{host}: {generated}");
        }
        assert!(!run["hosts"][host]["found"].to_string().contains("ssh_host_"), "{host}");
    }
    let unit = run["hosts"]["deb1"]["found"].as_array().expect("a list").iter().find(|one| one["kind"] == "missing").cloned().unwrap_or_default();
    assert_eq!((&unit["package"], unit["path"].as_str().map(|path| path.ends_with("/lab-svc.service"))), (&"lab-svc".into(), Some(true)), "{run:#}");
    // A debootstrapped Debian has little of its own that nobody knows.
    let strange = run["hosts"]["deb1"]["count"].as_u64().expect("a count");
    assert!(strange < 60, "{strange}: {:#}", run["hosts"]["deb1"]);
    let none = &run["hosts"]["bb1"];
    assert!(none["manager"] == "none" && none["count"] == 0 && none["unseen"].to_string().contains("no package manager"), "{none}");
    // Without root what is closed is told, and nothing is taken for missing.
    lab.on("deb1", "mkdir -m 700 /etc/closed; echo x >/etc/closed/x");
    let run = lab.run(&["unmanaged", "deb1", "-u", "nosudo"]);
    assert!(run["exit"] == 0 && run["hosts"]["deb1"]["unseen"].as_array().is_some_and(|unseen| unseen.contains(&"/etc/closed".into())), "{run:#}");
    let config = at(&run, "deb1", "/etc/lab-svc.conf");
    assert_eq!(config["kind"], "differs", "{run:#}");
    let missing: Vec<_> = run["hosts"]["deb1"]["found"].as_array().expect("a list").iter().filter(|one| one["kind"] == "missing").collect();
    assert!(missing.iter().all(|one| one["package"] == "lab-svc"), "{missing:?}");
}

#[test]
fn what_somebody_has_edited_becomes_a_patch() {
    let Some(lab) = Lab::new() else { return };
    lab.reset(&["deb1", "deb2"]);
    lab.file("site.j2", "# site\nlisten {{ port }};\n{% for user in users %}\nallow {{ user }};\n{% endfor %}\nroot /srv;\n");
    lab.file("key", "one\n");
    let book = "hosts = 'deb1,deb2'\n[vars]\nport = 80\nusers = ['ann', 'bob']\n[[task]]\nname = 'site'\ntemplate = { src = 'site.j2', dest = '/etc/lab-site.conf', mode = '0644', owner = 'root' }\n[[task]]\nname = 'key'\ncopy = { src = 'key', dest = '/etc/lab-key', mode = '0600' }\n";
    let path = lab.file("book.toml", book);
    assert_eq!(lab.run(&["apply", &path])["exit"], 0);
    lab.on("deb1", "sed -i 's|/srv|/data|; s|# site|# the site|' /etc/lab-site.conf; chmod 640 /etc/lab-site.conf; chown deploy /etc/lab-site.conf; echo two >>/etc/lab-key");
    // Through sudo the file of root is read, too.
    lab.on("deb2", "echo three >>/etc/lab-key");
    let told = lab.run(&["adopt", "deb2", "/etc/lab-key"]);
    assert!(told["exit"] == 0 && told["patch"].as_str().is_some_and(|patch| patch.contains("+three")), "{told:#}");
    lab.on("deb2", "echo one >/etc/lab-key");
    for file in ["/etc/lab-site.conf", "/etc/lab-key"] {
        let told = lab.run(&["adopt", "deb1", file, "--write"]);
        assert_eq!((&told["exit"], &told["written"], told["others"].to_string()), (&0.into(), &true.into(), "[\"deb2\"]".into()), "{told:#}");
    }
    let text = |name: &str| std::fs::read_to_string(lab.folder.path().join(name)).expect("a file");
    assert_eq!((text("site.j2").as_str(), text("key").as_str()), ("# the site\nlisten {{ port }};\n{% for user in users %}\nallow {{ user }};\n{% endfor %}\nroot /data;\n", "one\ntwo\n"));
    assert_eq!(text("book.toml"), book.replace("'0644', owner = 'root'", "'0640', owner = 'deploy'"));
    let drift = lab.run(&["drift", &path]);
    assert!(drift["hosts"]["deb1"]["outcome"] == "ok" && drift["hosts"]["deb2"]["outcome"] == "changed", "{drift:#}");
    lab.on("deb1", "sed -i 's/80/8080/' /etc/lab-site.conf");
    let told = lab.run(&["adopt", "deb1", "/etc/lab-site.conf", "--write"]);
    assert!(told["exit"] == 4 && told["written"] == false && told["rest"][0]["variable"] == "port" && told["rest"][0]["value"] == "8080", "{told:#}");
}

/// Questions of one flight share a look into the package database and one at the units: each is answered as if it were alone.
#[test]
fn questions_that_are_asked_together_are_answered_as_each_alone() {
    let Some(lab) = Lab::new() else { return };
    lab.reset(&HOSTS);
    lab.on("deb2", "systemctl mask systemd-timesyncd.service; mkdir -p /etc/systemd/system/cron.service.d; sleep 1; printf '[Service]\\nNice=1\\n' >/etc/systemd/system/cron.service.d/new.conf");
    lab.on("deb3", "apt-get -y -qq install lab-hello=1.0 lab-svc; apt-get -y -qq remove lab-svc");
    let packages = ["lab-hello", "coreutils", "no-such-thing", "bash=0.1", "lab-hello=1.0", "lab-svc", "awk", "libc6:amd64", "glibc.x86_64", "lab-bulk-01", "apt"];
    let services = ["ssh", "sshd", "cron", "crond", "dropbear", "no-such-service", "ssh.socket", "systemd-tmpfiles-clean.timer", "systemd-timesyncd", "dbus", "getty@", "multi-user.target"];
    let mut tasks: Vec<String> = Vec::new();
    for name in packages {
        tasks.push(format!("package = {name:?}"));
        if !name.contains('=') {
            tasks.push(format!("package = {{ name = {name:?}, state = 'absent', allow_removals = true }}"));
        }
    }
    tasks.push(format!("package = {:?}", &packages[..3]));
    for name in services {
        tasks.push(format!("service = {{ name = {name:?}, state = 'started', enabled = true }}"));
        tasks.push(format!("service = {{ name = {name:?}, state = 'stopped' }}"));
        tasks.push(format!("service = {{ name = {name:?}, daemon_reload = true, masked = false }}"));
    }
    tasks.push("file = { path = '/etc/passwd', mode = '0644' }".into());
    tasks.push("file = { path = '/etc/none', state = 'absent' }".into());
    let book = |between: &str| {
        let text: String = tasks.iter().map(|task| format!("[[task]]\nignore_errors = true\n{task}\n{between}")).collect();
        let path = lab.folder.path().join("questions.toml");
        std::fs::write(&path, format!("hosts = \"all\"\n{text}")).expect("the playbook is written");
        lab.run(&["apply", "--check", "--diff", &path.to_string_lossy()])
    };
    let told = |run: &Value, host: &str| -> Vec<String> {
        steps(run, host).iter().filter(|step| step["module"] != "group").map(|step| format!("{} {} {} {} {}", step["name"], step["outcome"], step["message"], step["from"], step["diff"])).collect()
    };
    let first = book("");
    // A question of another kind stands between them.
    let alone = book("[[task]]\ngroup = 'root'\n");
    for host in HOSTS {
        let (together, alone) = (told(&first, host), told(&alone, host));
        assert_eq!(together.len(), tasks.len(), "{host}: {together:?} {}", first["hosts"][host]);
        for (number, (together, alone)) in together.iter().zip(&alone).enumerate() {
            assert_eq!(together, alone, "{host}: {}", tasks[number]);
        }
        println!("{host}: {} questions", together.len());
    }
}
