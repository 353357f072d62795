//! Servers with little room, and ways to log in.

#![allow(clippy::print_stdout, reason = "a test that did not run says so, and one that measures says what")]

use std::process::{Command, Stdio};

use super::{Faults, Fleet, apply, mutate, read};

const PING: &str = "hosts = 'all'\n[[task]]\nping = {}\n";

#[test]
fn a_server_that_turns_us_away_at_first_is_asked_again() {
    for words in ["", "Exceeded MaxStartups\r\n", "Not allowed at this time\r\n"] {
        let fleet = Fleet::start(&["alpha"], &Faults { turned_away: 1, turned_away_with: words.into(), ..Faults::default() });
        let ran = apply(&fleet, PING, &[]);
        assert_eq!((ran.exit, fleet.host("alpha").connections()), (0, 2), "{words}: {}", ran.document);
    }
}

#[test]
fn what_is_no_ssh_server_is_not_asked_again() {
    let fleet = Fleet::start(&["alpha"], &Faults { turned_away: 9, turned_away_with: "HTTP/1.1 400 Bad Request\r\n\r\n".into(), ..Faults::default() });
    let ran = apply(&fleet, PING, &[]);
    assert_eq!((ran.exit, fleet.host("alpha").connections()), (5, 1), "{}", ran.document);
    assert!(ran.document["hosts"]["alpha"]["message"].as_str().is_some_and(|said| said.contains("HTTP/1.1 400 Bad Request")), "{}", ran.document);
}

#[test]
fn a_login_that_was_refused_is_not_tried_again() {
    let fleet = Fleet::start(&["alpha"], &Faults { refuse_login: true, ..Faults::default() });
    let ran = apply(&fleet, PING, &[]);
    assert_eq!((ran.exit, fleet.host("alpha").connections()), (5, 1), "{}", ran.document);
}

#[test]
fn a_server_that_allows_one_session_gets_uploads_too() {
    let fleet = Fleet::start(&["alpha"], &Faults { most_sessions: Some(1), ..Faults::default() });
    let large = "0123456789abcdef".repeat(10_000);
    fleet.write("large", &large);
    let playbook = "hosts = 'all'\n\
        [[task]]\ncopy = { content = 'before', dest = '~/before' }\n\
        [[task]]\ncopy = { src = 'large', dest = '~/large' }\nnotify = 'tell'\n\
        [[task]]\ncopy = { src = 'large', dest = '~/again' }\n\
        [[task]]\ncopy = { content = 'after', dest = '~/after' }\n\
        [[handler]]\nname = 'tell'\ncommand = { cmd = 'touch told', always = true }\n";
    let ran = apply(&fleet, playbook, &[]);
    assert_eq!((ran.exit, ran.outcomes("alpha")), (0, vec!["changed"; 5]), "{}", ran.document);
    let home = &fleet.host("alpha").home;
    for name in ["large", "again"] {
        assert_eq!(std::fs::read_to_string(home.join(name)).expect("the file"), large);
    }
    let again = apply(&fleet, playbook, &[]);
    assert_eq!(again.outcomes("alpha"), ["ok"; 4], "{}", again.document);
    assert_eq!(fleet.host("alpha").connections(), 2);
}

#[test]
fn a_server_that_allows_no_session_is_told_of() {
    let fleet = Fleet::start(&["alpha"], &Faults { most_sessions: Some(0), ..Faults::default() });
    let ran = apply(&fleet, PING, &[]);
    assert_eq!(ran.exit, 5, "{}", ran.document);
    assert!(ran.document["hosts"]["alpha"]["message"].as_str().is_some_and(|said| said.contains("MaxSessions")), "{}", ran.document);
}

/// A real `ssh-agent` that holds one key; it ends when this is dropped.
struct Agent {
    process: std::process::Child,
    socket: std::path::PathBuf,
}

impl Agent {
    fn with_key(fleet: &Fleet, key: &str) -> Option<Self> {
        let socket = fleet.folder.path().join("agent");
        let process = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn();
        let Ok(process) = process else {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "ssh-agent is missing");
            println!("this test did not run: it needs `ssh-agent` (package openssh-client)");
            return None;
        };
        let agent = Self { process, socket };
        let added = (0..50).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            let add = Command::new("ssh-add").arg(fleet.folder.path().join(key)).env("SSH_AUTH_SOCK", &agent.socket).stderr(Stdio::null()).status();
            add.is_ok_and(|status| status.success())
        });
        assert!(added, "the agent took no key");
        Some(agent)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.process.kill().expect("the agent can be ended");
        self.process.wait().expect("the agent ends");
    }
}

#[test]
fn the_agent_holds_the_key() {
    let fleet = Fleet::start(&["alpha"], &Faults::default());
    let Some(agent) = Agent::with_key(&fleet, "id_ed25519") else { return };
    let inventory = std::fs::read_to_string(&fleet.inventory).expect("the inventory");
    let without: String = inventory.lines().filter(|line| !line.starts_with("key")).map(|line| format!("{line}\n")).collect();
    std::fs::write(&fleet.inventory, without).expect("the inventory");
    let playbook = fleet.write("play.toml", PING).display().to_string();
    let words = ["apply", &playbook, "--output", "json"];
    let nobody = read(mutate(&fleet, &words).output().expect("the program runs"));
    assert_eq!(nobody.exit, 5, "{}", nobody.document);
    let ran = read(mutate(&fleet, &words).env("SSH_AUTH_SOCK", &agent.socket).output().expect("the program runs"));
    assert_eq!(ran.exit, 0, "{}", ran.document);
}

/// A fleet whose hosts are reached by another way than its inventory says: the text after each host's address and key.
fn with_settings(fleet: &Fleet, top: &str, settings: &dyn Fn(&str) -> String) -> std::path::PathBuf {
    let inventory = std::fs::read_to_string(&fleet.inventory).expect("the inventory");
    let mut text = format!("{top}\n[hosts]\n");
    for host in &fleet.hosts {
        let line = inventory.lines().find(|line| line.starts_with(&format!("{} = ", host.name))).expect("a host");
        text.push_str(&line.replace(" }", &format!("{} }}\n", settings(&host.name))));
    }
    let path = fleet.folder.path().join("other.toml");
    std::fs::write(&path, text).expect("an inventory");
    path
}

fn ping_with(fleet: &Fleet, inventory: &std::path::Path, words: &[&str]) -> super::Ran {
    let mut command = Command::new(super::program());
    let home = fleet.folder.path().join("controller");
    std::fs::create_dir_all(&home).expect("a home for the controller");
    command.args(["ping", "all", "--output", "json", "-i"]).arg(inventory).args(words);
    command.env_clear().env("HOME", home).env("PATH", "/usr/local/bin:/usr/bin:/bin").stdin(Stdio::null());
    read(command.output().expect("the program runs"))
}

fn message(ran: &super::Ran, host: &str) -> String {
    ran.document["hosts"][host]["message"].as_str().unwrap_or_default().to_owned()
}

fn secret_file(fleet: &Fleet, name: &str, text: &str) -> String {
    fleet.write(name, text).display().to_string()
}

#[test]
fn a_password_logs_in_and_is_given_once() {
    let fleet = Fleet::start(&["alpha"], &Faults { password: Some("hunter2".into()), ..Faults::default() });
    let inventory = with_settings(&fleet, "user = 'practice'", &|_| String::new());
    let without = ping_with(&fleet, &inventory, &[]);
    assert_eq!(without.exit, 5);
    assert!(message(&without, "alpha").contains("the server would take a password"), "{}", without.document);
    let good = secret_file(&fleet, "good", "hunter2\n");
    assert_eq!(ping_with(&fleet, &inventory, &["--password-file", &good]).exit, 0);
    let before = fleet.host("alpha").passwords();
    let bad = secret_file(&fleet, "bad", "wrong\n");
    let refused = ping_with(&fleet, &inventory, &["--password-file", &bad]);
    assert_eq!((refused.exit, fleet.host("alpha").passwords() - before), (5, 1), "{}", refused.document);
    assert!(message(&refused, "alpha").contains("tried password"), "{}", refused.document);
    assert!(!refused.document.to_string().contains("wrong\""));
}

#[test]
fn prompts_that_ask_for_the_password_are_answered_and_no_others() {
    for (prompts, wanted) in [
        (&["Password: "][..], ""),
        (&["(practice@alpha) Password: "], ""),
        (&["Verification code: "], "Verification code"),
        (&["Password: ", "Password: "], "password again"),
        (&["New password: "], "has expired"),
    ] {
        let faults = Faults { password: Some("hunter2".into()), prompts: prompts.iter().map(|one| (*one).to_owned()).collect(), ..Faults::default() };
        let fleet = Fleet::start(&["alpha"], &faults);
        let file = secret_file(&fleet, "good", "hunter2\n");
        let inventory = with_settings(&fleet, "user = 'practice'", &|_| format!(", password_file = '{file}'"));
        let ran = ping_with(&fleet, &inventory, &[]);
        assert_eq!(ran.exit, if wanted.is_empty() { 0 } else { 5 }, "{prompts:?}: {}", ran.document);
        assert!(message(&ran, "alpha").contains(wanted), "{prompts:?}: {}", ran.document);
    }
}

#[test]
fn a_key_and_a_password_may_both_be_needed() {
    let fleet = Fleet::start(&["alpha"], &Faults { password: Some("hunter2".into()), both: true, ..Faults::default() });
    let file = secret_file(&fleet, "good", "#!/bin/sh\necho hunter2\n");
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("a mode");
    let key = fleet.folder.path().join("id_ed25519").display().to_string();
    let inventory = with_settings(&fleet, &format!("user = 'practice'\nkey = '{key}'"), &|_| String::new());
    assert!(message(&ping_with(&fleet, &inventory, &[]), "alpha").contains("the server wants more"));
    assert_eq!(ping_with(&fleet, &inventory, &["--password-file", &file]).exit, 0, "a program that prints the password");
}

#[test]
fn a_password_of_its_own_comes_from_a_variable() {
    let fleet = Fleet::start(&["alpha"], &Faults { password: Some("hunter2".into()), ..Faults::default() });
    let inventory = with_settings(&fleet, "user = 'practice'\npassword = '{{ login_secret }}'", &|_| String::new());
    assert_eq!(ping_with(&fleet, &inventory, &["-e", "login_secret=hunter2"]).exit, 0);
}

/// Runs a program that makes keys; `false` where it is not there.
fn ssh_keygen(words: &[&str]) -> bool {
    match Command::new("ssh-keygen").args(words).stdout(Stdio::null()).status() {
        Ok(status) => {
            assert!(status.success(), "{words:?}");
            true
        }
        Err(_) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "ssh-keygen is missing");
            println!("this test did not run: it needs `ssh-keygen` (package openssh-client)");
            false
        }
    }
}

#[test]
fn a_certificate_logs_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    for kind in ["ed25519", "rsa", "ecdsa"] {
        let (authority, user) = (path(&format!("ca-{kind}")), path(&format!("user-{kind}")));
        if !ssh_keygen(&["-q", "-t", "ed25519", "-N", "", "-f", &authority]) {
            return;
        }
        ssh_keygen(&["-q", "-t", kind, "-N", "", "-f", &user]);
        ssh_keygen(&["-q", "-s", &authority, "-I", "me", "-n", "practice", &format!("{user}.pub")]);
        let key = russh::keys::load_public_key(format!("{authority}.pub")).expect("a key");
        let fleet = Fleet::start(&["alpha"], &Faults { authority: Some(key), ..Faults::default() });
        let inventory = with_settings(&fleet, &format!("user = 'practice'\nkey = '{user}'"), &|_| String::new());
        assert_eq!(ping_with(&fleet, &inventory, &[]).exit, 0, "{kind}");
        // Named by the user's own configuration, and not beside the key.
        std::fs::rename(format!("{user}-cert.pub"), path("elsewhere.pub")).expect("a file");
        let config = path("config");
        std::fs::write(&config, format!("CertificateFile {}\n", path("elsewhere.pub"))).expect("a file");
        assert_eq!(ping_with(&fleet, &inventory, &["-F", &config]).exit, 0, "{kind}");
        assert_eq!(ping_with(&fleet, &inventory, &[]).exit, 5, "{kind}");
    }
}

#[test]
fn every_key_that_ssh_keygen_writes_can_be_read() {
    use mutate::remote::Keyring;
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut ways: Vec<Vec<&str>> = Vec::new();
    for kind in [&["-t", "ed25519"][..], &["-t", "ecdsa"], &["-t", "ecdsa", "-b", "384"], &["-t", "ecdsa", "-b", "521"], &["-t", "rsa", "-b", "2048"]] {
        for form in [&[][..], &["-m", "PEM"], &["-m", "PKCS8"], &["-Z", "aes256-gcm@openssh.com"], &["-Z", "chacha20-poly1305@openssh.com"], &["-Z", "aes128-cbc"], &["-Z", "3des-cbc"]] {
            ways.push([kind, form].concat());
        }
    }
    for (number, way) in ways.iter().enumerate() {
        for passphrase in ["", "horse battery"] {
            // Some ciphers of a new key need a passphrase, and the classic form has none for this curve.
            let path = folder.path().join(format!("{number}-{}", passphrase.len()));
            let words = [&["-q", "-N", passphrase, "-f", path.to_str().expect("a path")], way.as_slice()].concat();
            if !ssh_keygen(&words) {
                return;
            }
            // One in 256 of these is a key that the library cannot read, and says so.
            if runtime.block_on(Keyring::new(Some(mutate::secret::Secret::new("horse battery"))).key(&path)).is_err_and(|problem| format!("{problem:?}").contains("begins with a zero byte")) {
                assert!(way.contains(&"ecdsa"), "{way:?}");
                continue;
            }
            let read = |keyring: Keyring| runtime.block_on(keyring.key(&path)).map(|key| key.public_key().key_data().clone());
            let public = russh::keys::load_public_key(path.with_extension("pub")).expect("the public half").key_data().clone();
            let good = read(Keyring::new(Some(mutate::secret::Secret::new("horse battery"))));
            assert!(good.as_ref().is_ok_and(|key| *key == public), "{way:?} {passphrase:?}: {good:?}");
            if !passphrase.is_empty() {
                assert!(Keyring::default().is_locked(&path), "{way:?}");
                let wrong = read(Keyring::new(Some(mutate::secret::Secret::new("wrong one"))));
                assert!(format!("{wrong:?}").contains("WrongPassphrase"), "{way:?}: {wrong:?}");
            }
        }
    }
}

#[test]
fn hosts_behind_a_jump_host_share_its_one_connection() {
    let names: Vec<String> = std::iter::once("bastion".to_owned()).chain((1..=20).map(|number| format!("in{number}"))).collect();
    let fleet = Fleet::start(&names.iter().map(String::as_str).collect::<Vec<_>>(), &Faults::default());
    let key = fleet.folder.path().join("id_ed25519").display().to_string();
    // The bastion is one of the hosts, too, and is not reached through itself.
    let inventory = with_settings(&fleet, &format!("user = 'practice'\nkey = '{key}'\njump = 'bastion'"), &|_| String::new());
    let ran = ping_with(&fleet, &inventory, &[]);
    assert_eq!(ran.exit, 0, "{}", ran.document);
    // One for itself, one for all others.
    assert_eq!((fleet.host("bastion").connections(), fleet.host("bastion").tunnels()), (2, 20));
}

#[test]
fn a_chain_of_jump_hosts_is_gone_through_in_order() {
    let fleet = Fleet::start(&["one", "two", "end"], &Faults::default());
    let key = fleet.folder.path().join("id_ed25519").display().to_string();
    let jump = |name: &str| if name == "end" { ", jump = ['one', 'two']".to_owned() } else { String::new() };
    let inventory = with_settings(&fleet, &format!("user = 'practice'\nkey = '{key}'"), &jump);
    assert_eq!(ping_with(&fleet, &inventory, &["-l", "end"]).exit, 0);
    assert_eq!((fleet.host("one").tunnels(), fleet.host("two").tunnels(), fleet.host("end").connections()), (1, 1, 1));
}

#[test]
fn the_way_through_ssh_config_is_the_same() {
    let fleet = Fleet::start(&["bastion", "end"], &Faults::default());
    let key = fleet.folder.path().join("id_ed25519").display().to_string();
    let inventory = std::fs::read_to_string(&fleet.inventory).expect("the inventory");
    let mut known = String::new();
    let mut config = format!("Host *\n  User practice\n  IdentityFile {key}\n  IdentitiesOnly yes\n  UserKnownHostsFile {0}/known\n", fleet.folder.path().display());
    for host in &fleet.hosts {
        let line = inventory.lines().find(|line| line.starts_with(&host.name)).expect("a host");
        let public = line.split("host_key = \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a key");
        known.push_str(&format!("{}-key {public}\n", host.name));
        let more = if host.name == "end" { "  ProxyJump bastion\n" } else { "" };
        config.push_str(&format!("Host {0}\n  HostName 127.0.0.1\n  Port {1}\n  HostKeyAlias {0}-key\n{more}", host.name, host.port));
    }
    std::fs::write(fleet.folder.path().join("known"), known).expect("a file");
    let path = fleet.folder.path().join("config");
    std::fs::write(&path, config).expect("a file");
    let ran = ping_with(&fleet, std::path::Path::new("end,"), &["-F", path.to_str().expect("a path")]);
    assert_eq!((ran.exit, fleet.host("bastion").tunnels()), (0, 1), "{}", ran.document);
}

#[test]
fn a_jump_host_that_fails_is_named() {
    let refusing = Fleet::start(&["bastion", "end"], &Faults { no_forwarding: true, ..Faults::default() });
    let key = refusing.folder.path().join("id_ed25519").display().to_string();
    let jump = |name: &str| if name == "end" { ", jump = 'bastion'".to_owned() } else { String::new() };
    let inventory = with_settings(&refusing, &format!("user = 'practice'\nkey = '{key}'"), &jump);
    let said = message(&ping_with(&refusing, &inventory, &["-l", "end"]), "end");
    assert!(said.contains("jump host bastion") && said.contains("AllowTcpForwarding"), "{said}");
    let closed = Fleet::start(&["bastion", "end"], &Faults { refuse_login: true, ..Faults::default() });
    let inventory = with_settings(&closed, &format!("user = 'practice'\nkey = '{key}'"), &jump);
    let said = message(&ping_with(&closed, &inventory, &["-l", "end"]), "end");
    assert!(said.contains("jump host bastion") && said.contains("was refused"), "{said}");
}

#[test]
fn a_proxy_command_carries_the_connection() {
    let fleet = Fleet::start(&["alpha"], &Faults::default());
    let port = fleet.host("alpha").port;
    let config = fleet.folder.path().join("config");
    let carrier = fleet.folder.path().join("carrier");
    std::fs::write(&carrier, "#!/bin/bash\nexec 3<>/dev/tcp/$1/$2\ncat <&3 &\ncat >&3\n").expect("a program");
    std::fs::set_permissions(&carrier, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    let key = fleet.folder.path().join("id_ed25519").display().to_string();
    let inventory = with_settings(&fleet, &format!("user = 'practice'\nkey = '{key}'"), &|_| String::new());
    for command in [format!("{} %h %p", carrier.display()), format!("bash {} %h %p 2>/dev/null", carrier.display())] {
        std::fs::write(&config, format!("ProxyCommand {command}\n")).expect("a file");
        let ran = ping_with(&fleet, &inventory, &["-F", config.to_str().expect("a path")]);
        assert_eq!(ran.exit, 0, "{command} to {port}: {}", ran.document);
    }
    std::fs::write(&config, "ProxyCommand /bin/sh -c 'echo no way >&2; exit 1'\n").expect("a file");
    let said = message(&ping_with(&fleet, &inventory, &["-F", config.to_str().expect("a path")]), "alpha");
    assert!(said.contains("proxy command") && said.contains("no way"), "{said}");
}

#[test]
fn no_more_than_three_keys_are_shown_to_a_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let fleet = Fleet::start(&["alpha"], &Faults::default());
    let mut keys = Vec::new();
    for number in 0..5 {
        let path = folder.path().join(format!("key{number}")).display().to_string();
        if !ssh_keygen(&["-q", "-t", "ed25519", "-N", "", "-f", &path]) {
            return;
        }
        keys.push(format!("'{path}'"));
    }
    let inventory = with_settings(&fleet, &format!("user = 'practice'\nkey = [{}]", keys.join(", ")), &|_| String::new());
    let ran = ping_with(&fleet, &inventory, &[]);
    assert_eq!(ran.exit, 5);
    assert!(message(&ran, "alpha").contains("no more than 3 keys"), "{}", ran.document);
}

#[test]
fn a_flood_behind_a_jump_host_drowns_nobody_else() {
    let fleet = Fleet::start(&["bastion", "flood", "calm1", "calm2"], &Faults::default());
    let key = fleet.folder.path().join("id_ed25519").display().to_string();
    let inventory = with_settings(&fleet, &format!("user = 'practice'\nkey = '{key}'\njump = 'bastion'"), &|_| String::new());
    let mut command = Command::new(super::program());
    command.args(["run", "flood,calm1,calm2", "--output", "json", "-i"]).arg(&inventory);
    command.args(["--", "case $PWD in *flood) head -c 60000000 /dev/zero | tr '\\0' x;; *) echo calm;; esac"]);
    command.env_clear().env("HOME", fleet.folder.path()).env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    let (output, memory) = super::fleet::watched(&mut command);
    let ran = read(output);
    assert_eq!((ran.exit, &ran.document["hosts"]["calm2"]["steps"][0]["stdout"]), (0, &"calm\n".into()), "{}", ran.stderr);
    let flood = ran.document["hosts"]["flood"]["steps"][0]["stdout"].as_str().expect("text");
    assert!(flood.len() < 200_000 && flood.contains("bytes left out"), "{}", flood.len());
    assert!(memory < 160, "{memory} MiB");
}
