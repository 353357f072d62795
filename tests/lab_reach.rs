//! Ways to real hosts of the lab, and commands on many of them at once. `MUTATE_LAB` names the lab's script; without it
//! nothing here runs.
//!
//! `lab up debian=3 busybox=1 oldssh=1 bastion=1 inner=20 many=1000` must have been done.

#![allow(clippy::print_stdout, reason = "a test that did not run says so, and one that measures says what")]

#[path = "support/postgres.rs"]
mod postgres;
#[path = "support/lab.rs"]
mod support;

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::Bench;

const KEY: &str = "/var/cache/mutate-lab/keys/id_ed25519";

struct Lab(Bench);

impl std::ops::Deref for Lab {
    type Target = Bench;

    fn deref(&self) -> &Bench {
        &self.0
    }
}

impl Lab {
    fn new() -> Option<Self> {
        let lab = Bench::new().map(Self)?;
        lab.file("wrong", "wrong\n");
        Some(lab)
    }

    /// A path in the test's folder.
    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn run(&self, inventory: &str, words: &[&str]) -> Value {
        self.run_with(inventory, words, None)
    }

    /// With this socket of an agent.
    fn run_with(&self, inventory: &str, words: &[&str], agent: Option<&Path>) -> Value {
        let mut command = self.command(inventory, words);
        if let Some(agent) = agent {
            command.env("SSH_AUTH_SOCK", agent);
        }
        let output = command.output().expect("mutate runs");
        Self::document(words, &output)
    }

    fn command(&self, inventory: &str, words: &[&str]) -> Command {
        let inventory = self.file("inventory.toml", inventory);
        let mut command = Command::new("python3");
        command
            .arg(&self.script)
            .args(["run", "--", env!("CARGO_BIN_EXE_mutate"), words[0], "-i", &inventory, "--output", "json"])
            .args(&words[1..])
            .env("HOME", self.folder.path())
            .env_remove("SSH_AUTH_SOCK");
        command
    }

    fn document(words: &[&str], output: &std::process::Output) -> Value {
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error} in the output of {words:?}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

fn message<'a>(run: &'a Value, host: &str) -> &'a str {
    run["hosts"][host]["message"].as_str().unwrap_or_default()
}

fn inventory(user: &str, more: &str) -> String {
    format!("user = '{user}'\n{more}\n[hosts]\ndeb1 = '10.99.1.1'\n")
}

#[test]
fn three_hundred_logins_go_through_one_bastion() {
    let Some(lab) = Lab::new() else { return };
    let mut hosts = String::new();
    for host in 1..=20 {
        // Servers with OpenSSH's own limits, each on many ports.
        let ports =
            "f=/etc/ssh/sshd_config.d/ports.conf; [ -f $f ] || { { echo AddressFamily inet; for p in 22 $(seq 2201 2214); do echo Port $p; done; } >$f; systemctl restart ssh; }";
        lab.on(&format!("in{host}"), ports);
        for port in std::iter::once(22).chain(2201..=2214) {
            hosts.push_str(&format!("h{host}-{port} = {{ address = '10.97.1.{host}', port = {port}, jump = 'bas1' }}\n"));
        }
    }
    let inventory = format!("user = 'root'\nkey = '{KEY}'\n[hosts]\nbas1 = '10.99.7.1'\n{hosts}");
    let run = lab.run(&inventory, &["run", "h*", "-f", "300", "--", "hostname"]);
    let failed: Vec<&str> = run["hosts"].as_object().expect("hosts").values().filter(|host| host["outcome"] != "changed").filter_map(|host| host["message"].as_str()).collect();
    assert_eq!((run["exit"].as_u64(), run["totals"]["changed"].as_u64()), (Some(0), Some(300)), "{:?}", failed.first());
}

#[test]
fn the_same_hosts_are_reached_by_the_users_own_ssh_config() {
    let Some(lab) = Lab::new() else { return };
    let config = "/run/mutate-lab/ssh_config";
    let run = lab.run("[hosts]\ndeb1 = {}\nbb1 = {}\nin1 = {}\nbas1 = {}\n", &["ping", "all", "-F", config]);
    assert_eq!(run["exit"], 0, "{run:#}");
}

#[test]
fn passwords_are_taken_as_such_or_asked_for() {
    let Some(lab) = Lab::new() else { return };
    lab.lab(&["reset", "deb1"]);
    let by_password = inventory("deploypw", "");
    let (good, wrong) = (lab.path("password"), lab.path("wrong"));
    assert_eq!(lab.run(&by_password, &["ping", "all", "--password-file", &good])["exit"], 0);
    lab.on("deb1", "printf 'PasswordAuthentication no\\nKbdInteractiveAuthentication yes\\n' >/etc/ssh/sshd_config.d/kbd.conf; systemctl restart ssh");
    let asked = lab.run(&by_password, &["ping", "all", "--why", "--password-file", &good]);
    assert_eq!(asked["exit"], 0, "{asked:#}");
    assert!(asked.to_string().contains("by keyboard-interactive"), "{asked:#}");
    let refused = lab.run(&by_password, &["ping", "all", "--password-file", &wrong]);
    assert!(refused["exit"] == 5 && message(&refused, "deb1").contains("keyboard-interactive"), "{refused:#}");
    lab.on("deb1", "chage -d 0 deploypw");
    let expired = lab.run(&by_password, &["ping", "all", "--password-file", &good]);
    assert!(message(&expired, "deb1").contains("expired"), "{expired:#}");
    let by_key = lab.run(&inventory("deploypw", &format!("key = '{KEY}'")), &["ping", "all"]);
    assert!(message(&by_key, "deb1").contains("expired"), "{by_key:#}");
    lab.lab(&["reset", "deb1"]);
}

#[test]
fn each_way_to_become_works_or_says_why_not() {
    let Some(lab) = Lab::new() else { return };
    lab.lab(&["reset", "deb1"]);
    let (good, wrong) = (lab.path("password"), lab.path("wrong"));
    let keyed = |user: &str| inventory(user, &format!("key = '{KEY}'"));
    let who = |user: &str, words: &[&str]| {
        let run = lab.run(&keyed(user), &[&["run", "deb1"], words, &["--", "id -un; pwd"]].concat());
        let said = run["hosts"]["deb1"]["steps"][0]["stdout"].as_str().unwrap_or_default().to_owned();
        if said.is_empty() { message(&run, "deb1").to_owned() } else { said }
    };
    // To root, and to users who own nothing here.
    assert_eq!(who("deploy", &["--become"]), "root\n/root\n");
    assert_eq!(who("deploypw", &["--become", "--become-password-file", &good]), "root\n/root\n");
    assert!(who("deploy", &["--become-user", "nobody"]).starts_with("nobody\n"));
    assert!(who("root", &["--become-user", "nobody", "--become-method", "su"]).starts_with("nobody\n"));
    assert_eq!(who("deploy", &["--become-user", "deploypw", "--become-method", "su", "--become-password-file", &good]), "deploypw\n/home/deploypw\n");
    // A lecture comes before the prompt. A user without a password could not be asked for one.
    lab.on("deb1", "echo nosudo:labpw | chpasswd; echo 'Defaults lecture=always' >/etc/sudoers.d/lecture");
    assert_eq!(who("deploypw", &["--become", "--become-password-file", &good]), "root\n/root\n");
    for (user, words, part) in [
        ("deploypw", &["--become"][..], "wants a password"),
        ("deploypw", &["--become", "--become-password-file", &wrong], "did not accept the password"),
        ("nosudo", &["--become", "--become-password-file", &good], "does not allow this login"),
        ("nosudo", &["--become"], "wants a password"),
        ("deploytty", &["--become"], "requiretty"),
        ("deploy", &["--become-user", "nobody-of-that-name"], "has no user"),
        ("deploy", &["--become-method", "su", "--become-password-file", &wrong], "did not accept the password"),
        ("deploy", &["--become-method", "su"], "wants a password"),
        ("root", &["--become-user", "nobody-of-that-name", "--become-method", "su"], "has no user"),
        ("deploy", &["--become-method", "doas"], "has no doas"),
    ] {
        let said = who(user, words);
        assert!(said.contains(part), "{user} {words:?}: {said}");
    }
    lab.on("deb1", "printf '#!/bin/sh\\nprintf \"Verification code: \" >&2\\nsleep 40\\n' >/usr/local/bin/sudo; chmod 755 /usr/local/bin/sudo");
    let strange = who("deploypw", &["--become", "--become-password-file", &good]);
    assert!(strange.contains("did not answer within 15 s; it said `Verification code:`"), "{strange}");
    lab.on("deb1", "printf '#!/bin/sh\\nsleep 40\\n' >/usr/local/bin/sudo; chmod 755 /usr/local/bin/sudo");
    let slow = who("deploypw", &["--become", "--become-password-file", &good]);
    assert!(slow.contains("did not answer within 15 s"), "{slow}");
    lab.lab(&["reset", "deb1"]);
}

/// An agent that has one FIDO key, whose security key is this program.
struct SecurityKey {
    key: russh::keys::PrivateKey,
    socket: std::path::PathBuf,
}

impl SecurityKey {
    const KIND: &str = "sk-ssh-ed25519@openssh.com";

    fn start(folder: &Path) -> Self {
        let key = russh::keys::PrivateKey::random(&mut russh::keys::key::safe_rng(), russh::keys::Algorithm::Ed25519).expect("a key");
        let socket = folder.join("agent");
        let listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        let of_thread = Self { key: key.clone(), socket: socket.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client may go at any time.
                let _gone = of_thread.serve(stream);
            }
        });
        Self { key, socket }
    }

    /// The public key as it stands in messages and, in base64, in authorized_keys.
    fn blob(&self) -> Vec<u8> {
        let point = self.key.public_key().key_data().ed25519().expect("an Ed25519 key").0;
        [string(Self::KIND.as_bytes()), string(&point), string(b"ssh:")].concat()
    }

    fn serve(&self, mut stream: std::os::unix::net::UnixStream) -> std::io::Result<()> {
        use std::io::{Read as _, Write as _};
        loop {
            let mut length = [0; 4];
            stream.read_exact(&mut length)?;
            let mut message = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut message)?;
            let answer = match message.split_first() {
                Some((11, _)) => [&[12, 0, 0, 0, 1][..], &string(&self.blob()), &string(b"of the token")].concat(),
                Some((13, rest)) => {
                    let (key, rest) = rest[4..].split_at(u32::from_be_bytes(rest[..4].try_into().expect("a length")) as usize);
                    assert_eq!(key, self.blob());
                    let data = &rest[4..4 + u32::from_be_bytes(rest[..4].try_into().expect("a length")) as usize];
                    [&[14][..], &string(&self.signature(data))].concat()
                }
                _ => vec![5],
            };
            stream.write_all(&string(&answer))?;
        }
    }

    /// As the security key signs: its application, that somebody touched it, a counter, and what is to be signed.
    fn signature(&self, data: &[u8]) -> Vec<u8> {
        use russh::keys::signature::Signer as _;
        use sha2::{Digest as _, Sha256};
        let tail = [1, 0, 0, 0, 7];
        let signed = [&Sha256::digest(b"ssh:")[..], &tail, &Sha256::digest(data)[..]].concat();
        let signature: russh::keys::ssh_key::Signature = self.key.try_sign(&signed).expect("a signature");
        [string(Self::KIND.as_bytes()), string(signature.as_bytes()), tail.to_vec()].concat()
    }
}

/// Bytes behind their length.
fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).expect("a short text").to_be_bytes()[..], bytes].concat()
}

#[test]
fn a_security_key_logs_in_through_the_agent() {
    use base64::Engine as _;
    let Some(lab) = Lab::new() else { return };
    let token = SecurityKey::start(lab.folder.path());
    let line = format!("{} {}", SecurityKey::KIND, base64::engine::general_purpose::STANDARD.encode(token.blob()));
    lab.on("deb1", &format!("echo '{line}' >>/home/nosudo/.ssh/authorized_keys"));
    let ran = lab.run_with(&inventory("nosudo", ""), &["ping", "all", "--why"], Some(&token.socket));
    assert_eq!(ran["exit"], 0, "{ran:#}");
    assert_eq!(lab.run(&inventory("nosudo", ""), &["ping", "all"])["exit"], 5, "nobody else has that key");
    lab.lab(&["reset", "deb1"]);
}

#[test]
fn what_happens_to_a_host_amid_a_command_is_told() {
    let Some(lab) = Lab::new() else { return };
    let hosts = format!("user = 'root'\nkey = '{KEY}'\n[hosts]\ndeb1 = '10.99.1.1'\ndeb2 = '10.99.1.2'\ndeb3 = '10.99.1.3'\nbb1 = '10.99.2.1'\n");
    let words = ["run", "all", "--", "echo begun; touch /run/begun; i=0; until [ -e /run/over ] || [ $i = 100 ]; do i=$((i + 1)); sleep 1; done; echo over"];
    for host in ["deb1", "deb2", "deb3", "bb1"] {
        lab.on(host, "rm -f /run/begun /run/over");
    }
    let child = lab.command(&hosts, &words).stdout(std::process::Stdio::piped()).spawn().expect("mutate runs");
    for host in ["deb1", "deb2", "deb3", "bb1"] {
        assert!(
            (0..100).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(100));
                lab.on(host, "ls /run/begun").contains("begun")
            }),
            "{host} has not begun"
        );
    }
    lab.lab(&["kill", "deb1"]);
    lab.lab(&["cut", "deb2"]);
    lab.lab(&["freeze", "deb3"]);
    lab.on("bb1", "touch /run/over");
    let output = child.wait_with_output().expect("mutate ends");
    lab.lab(&["mend", "deb2"]);
    lab.lab(&["thaw", "deb3"]);
    let run = Lab::document(&words, &output);
    assert_eq!(run["exit"], 7, "{run:#}");
    for (host, outcome) in [("deb1", "unknown"), ("deb2", "unknown"), ("deb3", "unknown"), ("bb1", "changed")] {
        assert_eq!(run["hosts"][host]["outcome"], outcome, "{host}: {run:#}");
        assert_eq!(run["hosts"][host]["steps"][0]["stdout"].as_str().map(|said| said.starts_with("begun")), Some(true), "{host}: {run:#}");
        println!("{host}: {outcome} after {} s", run["hosts"][host]["steps"][0]["seconds"]);
    }
    for host in ["deb1", "deb2", "deb3"] {
        assert!(run["hosts"][host]["steps"][0]["message"].as_str().is_some_and(|said| said.contains("contact was lost")), "{host}: {run:#}");
        lab.lab(&["reset", host]);
    }
}

#[test]
fn a_host_with_another_key_is_left_alone() {
    let Some(lab) = Lab::new() else { return };
    let hosts = format!("user = 'root'\nkey = '{KEY}'\n[hosts]\ndeb1 = '10.99.1.1'\ndeb2 = '10.99.1.2'\n");
    lab.lab(&["rekey", "deb1"]);
    let since = lab.on("deb1", "date +%s");
    let run = lab.run(&hosts, &["run", "all", "--accept-new-host-keys", "--", "echo here"]);
    assert_eq!((&run["exit"], &run["hosts"]["deb1"]["outcome"], &run["hosts"]["deb2"]["outcome"]), (&5.into(), &"unreachable".into(), &"changed".into()), "{run:#}");
    assert!(message(&run, "deb1").contains("HOST KEY OF deb1 HAS CHANGED"), "{run:#}");
    let log = lab.on("deb1", &format!("journalctl -u ssh --since @{} --no-pager", since.trim()));
    assert!(!log.contains("Accepted") && !log.contains("Failed publickey"), "{log}");
    // The key stays; from now on the lab tells of it, too.
    lab.lab(&["rekey", "--tell", "deb1"]);
    lab.lab(&["reset", "deb1"]);
    lab.learn_host_keys();
    let after = lab.run(&hosts, &["ping", "all"]);
    assert_eq!(after["exit"], 0, "{after:#}");
}

#[test]
fn su_of_busybox_asks_on_stdout() {
    let Some(lab) = Lab::new() else { return };
    lab.on("bb1", "hash=$(grep ^admin: /etc/shadow | cut -d: -f2); sed -i \"s|^root:[^:]*|root:$hash|\" /etc/shadow; chmod u+s /bin/busybox");
    let hosts = format!("user = 'admin'\nkey = '{KEY}'\nbecome_method = 'su'\n[hosts]\nbb1 = '10.99.2.1'\n");
    let run = lab.run(&hosts, &["run", "all", "--become", "--become-password-file", &lab.path("password"), "--", "id -un"]);
    assert_eq!(run["hosts"]["bb1"]["steps"][0]["stdout"], "root\n", "{run:#}");
    let wrong = lab.run(&hosts, &["run", "all", "--become", "--become-password-file", &lab.path("wrong"), "--", "id -un"]);
    assert!(message(&wrong, "bb1").contains("did not accept the password"), "{wrong:#}");
    lab.lab(&["reset", "bb1"]);
}

#[test]
fn an_old_server_is_spoken_to_only_where_the_inventory_says_so() {
    let Some(lab) = Lab::new() else { return };
    let inventory = |more: &str| format!("user = 'root'\nkey = '{KEY}'\n[hosts]\nold1 = {{ address = '10.99.6.1'{more} }}\n");
    let strict = lab.run(&inventory(""), &["ping", "all"]);
    assert!(strict["exit"] == 5 && message(&strict, "old1").contains("legacy_ssh"), "{strict:#}");
    assert_eq!(lab.run(&inventory(", legacy_ssh = true"), &["ping", "all"])["exit"], 0);
}

#[test]
fn a_server_that_throttles_is_asked_again_until_it_has_room() {
    let Some(lab) = Lab::new() else { return };
    lab.on("deb3", "{ echo 'MaxStartups 1:50:2'; for p in 22 $(seq 2201 2207); do echo Port $p; done; } >/etc/ssh/sshd_config.d/few.conf; systemctl restart ssh");
    let hosts: String = std::iter::once(22).chain(2201..=2207).map(|port| format!("h{port} = {{ address = '10.99.1.3', port = {port} }}\n")).collect();
    let run = lab.run(&format!("user = 'root'\nkey = '{KEY}'\n[hosts]\n{hosts}"), &["run", "all", "--", "true"]);
    assert_eq!((run["exit"].as_u64(), run["totals"]["changed"].as_u64()), (Some(0), Some(8)), "{run:#}");
    lab.lab(&["reset", "deb3"]);
}

#[test]
fn files_come_and_go() {
    let Some(lab) = Lab::new() else { return };
    let all = format!("user = 'root'\nkey = '{KEY}'\n[hosts]\ndeb1 = '10.99.1.1'\nbb1 = '10.99.2.1'\nin1 = {{ address = '10.97.1.1', jump = 'bas1' }}\nbas1 = '10.99.7.1'\n");
    for host in ["deb1", "bb1", "in1", "bas1"] {
        lab.on(host, "rm -f /root/large");
    }
    let large: String = (0..200_000).map(|number| format!("{number}\n")).collect();
    let source = lab.file("large", &large);
    let pushed = lab.run(&all, &["push", "all", &source, "/root/large"]);
    assert_eq!((&pushed["exit"], &pushed["totals"]["changed"]), (&0.into(), &4.into()), "{pushed:#}");
    let into = lab.path("fetched");
    let fetched = lab.run(&all, &["fetch", "all", "/root/large", &into]);
    assert_eq!(fetched["exit"], 0, "{fetched:#}");
    for host in ["deb1", "bb1", "in1", "bas1"] {
        assert_eq!(std::fs::read_to_string(Path::new(&into).join(host).join("root/large")).expect("the file").len(), large.len(), "{host}");
    }
}

#[test]
fn one_frozen_and_three_cut_hosts_of_a_thousand_hold_nobody() {
    let Some(lab) = Lab::new() else { return };
    let hosts: Vec<Value> = serde_json::from_slice(&lab.lab(&["inventory", "--json"]).stdout).expect("the lab's inventory");
    let many: Vec<&Value> = hosts.iter().filter(|host| host["kind"] == "many").collect();
    assert_eq!(many.len(), 1000, "`lab up many=1000` must have been done");
    let mut inventory = format!("user = 'root'\nkey = '{KEY}'\n[hosts]\ndeb2 = '10.99.1.2'\n");
    for host in &many {
        inventory.push_str(&format!("{} = '{}'\n", host["name"].as_str().expect("a name"), host["address"].as_str().expect("an address")));
    }
    let cut = ["m0003", "m0500", "m0999"];
    for host in cut {
        lab.lab(&["cut", host]);
    }
    lab.lab(&["freeze", "deb2"]);
    let before = used();
    let run = lab.run(&inventory, &["run", "all", "--", "hostname"]);
    let after = used();
    for host in cut {
        lab.lab(&["mend", host]);
    }
    lab.lab(&["thaw", "deb2"]);
    assert_eq!((run["exit"].as_u64(), run["totals"]["changed"].as_u64(), run["totals"]["unreachable"].as_u64()), (Some(5), Some(997), Some(4)), "{}", run["totals"]);
    for (host, part) in [("m0003", "did not answer"), ("m0500", "did not answer"), ("m0999", "did not answer"), ("deb2", "does not finish the handshake")] {
        assert!(message(&run, host).contains(part), "{host}: {}", message(&run, host));
    }
    println!("1,000 hosts: {:.2} ms of processor per host, {} MiB at most", (after.0 - before.0) * 1000.0 / 1000.0, after.1 >> 10);
    assert!(after.1 >> 10 <= 128, "{} MiB", after.1 >> 10);
}

#[test]
fn gnu_parallel_divides_a_run_over_a_thousand_hosts() {
    let Some(lab) = Lab::new() else { return };
    let Some(server) = postgres::Server::start() else { return };
    let all: Vec<Value> = serde_json::from_slice(&lab.lab(&["inventory", "--json"]).stdout).expect("the lab's inventory");
    let many = all.iter().filter(|host| host["kind"] == "many").filter_map(|host| Some(format!("{} = '{}'\n", host["name"].as_str()?, host["address"].as_str()?)));
    let inventory = lab.file("inventory.toml", &format!("user = 'root'\nkey = '{KEY}'\n[hosts]\n{}", many.collect::<String>()));
    let book = lab.file("many.toml", "hosts = 'all'\n[[task]]\nname = 'note'\ncopy = { content = '{{ host.name }}', dest = '/root/of-shards' }\n");
    let run = format!("lab-{}", std::process::id());
    let controller = |words: &[&str]| {
        let mut command = Command::new("python3");
        command.arg(&lab.script).args(["run", "--"]).args(words).env("HOME", lab.folder.path()).env_remove("SSH_AUTH_SOCK");
        command.env("MUTATE_JOURNAL", server.url()).env("PGPASSWORD", postgres::PASSWORD);
        command.output().expect("it runs")
    };
    let mutate = env!("CARGO_BIN_EXE_mutate");
    let log = lab.path("jobs.log");
    let words =
        ["parallel", "--will-cite", "--jobs", "4", "--joblog", &log, mutate, "apply", "-i", &inventory, &book, "--run-id", &run, "--shard", "{}/4", ":::", "1", "2", "3", "4"];
    let output = controller(&words);
    assert!(output.status.success(), "{} {output:?}", std::fs::read_to_string(log).unwrap_or_default());
    let shown = |words: &[&str]| Lab::document(words, &controller(&[&[mutate], words, &["--output", "json"]].concat()));
    let history = shown(&["history"]);
    let runs = history["runs"].as_array().expect("runs");
    assert_eq!((runs.len(), &runs[0]["exit"], &runs[0]["totals"]["changed"], runs[0]["shards"].as_array().map(Vec::len)), (1, &0.into(), &1000.into(), Some(4)), "{runs:?}");
    assert_eq!(lab.on("m0500", "cat /root/of-shards"), "m0500");
    let back = shown(&["rollback", &run, "-i", &inventory]);
    assert_eq!((&back["exit"], &back["totals"]["changed"]), (&0.into(), &1000.into()), "{}", back["totals"]);
    assert_eq!(lab.on("m0500", "ls /root/of-shards 2>&1 | grep -c 'No such'"), "1\n");
    assert_eq!(shown(&["audit"])["good"], 2);
}

#[test]
fn the_processor_of_the_client_beside_that_of_ssh_is_told() {
    const HOSTS: usize = 100;
    let Some(lab) = Lab::new() else { return };
    let all: Vec<Value> = serde_json::from_slice(&lab.lab(&["inventory", "--json"]).stdout).expect("the lab's inventory");
    let many: Vec<(&str, &str)> =
        all.iter().filter(|host| host["kind"] == "many").filter_map(|host| Some((host["name"].as_str()?, host["address"].as_str()?))).take(HOSTS).collect();
    assert_eq!(many.len(), HOSTS, "`lab up many=1000` must have been done");
    let hosts: String = many.iter().map(|(name, address)| format!("{name} = '{address}'\n")).collect();
    let inventory = format!("user = 'root'\nkey = '{KEY}'\n[hosts]\n{hosts}");
    let spent = |work: &dyn Fn()| {
        let before = used().0;
        work();
        used().0 - before
    };
    // The first contact makes their file systems.
    lab.run(&inventory, &["run", "all", "--", "true"]);
    let nothing = spent(&|| drop(lab.lab(&["run", "--", "true"])));
    let ours = spent(&|| assert_eq!(lab.run(&inventory, &["run", "all", "--", "hostname"])["totals"]["changed"], HOSTS));
    let addresses: Vec<&str> = many.iter().map(|(_, address)| *address).collect();
    let options = format!("-n -F none -i {KEY} -o IdentitiesOnly=yes -o UserKnownHostsFile={}", lab.path(".ssh/known_hosts"));
    let each = format!("for host in {}; do ssh {options} root@$host hostname >/dev/null || exit 1; done", addresses.join(" "));
    let theirs = spent(&|| assert!(lab.lab(&["run", "--", "sh", "-c", &each]).status.success()));
    #[allow(clippy::cast_precision_loss, reason = "a hundred")]
    let per_host = |seconds: f64| (seconds - nothing) * 1000.0 / HOSTS as f64;
    println!("{HOSTS} hosts: {:.2} ms of processor per host, start-up included; ssh {:.2} ms", per_host(ours), per_host(theirs));
}

/// Seconds of processor that children have used, and the most memory that one of them had, in KiB.
fn used() -> (f64, u64) {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the system counts");
    let seconds = |time: nix::sys::time::TimeVal| {
        #[allow(clippy::cast_precision_loss, reason = "a few seconds")]
        let seconds = time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        seconds
    };
    (seconds(usage.user_time()) + seconds(usage.system_time()), u64::try_from(usage.max_rss()).unwrap_or(0))
}
