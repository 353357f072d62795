//! Our reading of ssh_config beside OpenSSH's own: `ssh -G` is the oracle.

#![allow(clippy::print_stdout, reason = "a test that did not run says so")]

use std::path::Path;

use mutate::ssh_config::{Answer, Choice, Question, SshConfig};

/// Texts with the hosts that each is asked about.
const TEXTS: &[(&str, &[&str])] = &[
    ("Host web\n  HostName 10.0.0.1\n  User ann\n  Port 2222\n", &["web", "web2", "10.0.0.1"]),
    ("User first\nHost *\n  User second\n", &["a"]),
    ("Host web* !web9\n  User ann\nHost *\n  User bob\n", &["web1", "web9", "db"]),
    ("Host web? db-??\n  Port 2200\n", &["web1", "web", "web10", "db-01", "db-1"]),
    ("Host *.example.com\n  HostName %h\n  ProxyJump bastion\nHost short\n  HostName %h.example.com\n", &["a.example.com", "short", "example.com"]),
    ("Host a\n  HostName 100%%%h\n", &["a"]),
    ("host A\n\tHOSTNAME = b\n\tuser=carl\n", &["A", "a"]),
    ("Host=web\nHostName \"10.0.0.2\"\n", &["web"]),
    ("Host \"web\" \"db\"\n  IdentityFile \"~/my keys/id\"\n", &["web", "db"]),
    ("IdentityFile ~/.ssh/one\nHost web\n  IdentityFile ~/.ssh/two\n  IdentityFile ~/.ssh/%r-%h\n", &["web", "db"]),
    ("Host web\n  IdentityFile none\n  IdentitiesOnly yes\n", &["web"]),
    ("IdentitiesOnly yes\nIdentityAgent none\n", &["web"]),
    ("IdentityAgent ~/agent.sock\nCertificateFile ~/one-cert.pub\nCertificateFile ~/two-cert.pub\n", &["web"]),
    ("Host in*\n  ProxyJump ann@bas:2200,bas2\nHost in9\n  ProxyJump none\n", &["in1", "in9"]),
    ("Host in9\n  ProxyJump none\nHost in*\n  ProxyJump bas\n", &["in1", "in9"]),
    ("Host a\n  ProxyCommand nc -x \"a b\" %h %p\n  ProxyJump bas\n", &["a"]),
    ("Host a\n  ProxyJump bas\n  ProxyCommand nc %h %p\n", &["a"]),
    ("Host a\n  ProxyCommand none\nHost *\n  ProxyCommand nc %h %p # not a comment\n", &["a", "b"]),
    ("HostKeyAlias Web-Key\n", &["web"]),
    ("UserKnownHostsFile /a/one /b/two\nGlobalKnownHostsFile /c/three\n", &["web"]),
    ("UserKnownHostsFile none\n", &["web"]),
    ("StrictHostKeyChecking accept-new\n", &["web"]),
    ("Host lab-*\n  StrictHostKeyChecking no\n", &["lab-1", "web"]),
    ("ConnectTimeout 7\nServerAliveInterval 20\nServerAliveCountMax 5\n", &["web"]),
    ("KexAlgorithms curve25519-sha256,ecdh-sha2-nistp256\nCiphers aes256-gcm@openssh.com\nMACs hmac-sha2-256\nHostKeyAlgorithms ssh-ed25519\nPubkeyAcceptedAlgorithms ssh-ed25519\n", &["web"]),
    ("PasswordAuthentication no\nKbdInteractiveAuthentication no\n", &["web"]),
    ("PubkeyAuthentication no\n", &["web"]),
    ("PreferredAuthentications publickey\n", &["web"]),
    ("# comment\n\n   # another\nHost web   # trailing\n  User ann # trailing\n", &["web"]),
    ("Host web\r\n  User ann\r\n", &["web"]),
    ("Host 10.0.*\n  User net\nHost ::1\n  User six\n", &["10.0.0.7", "::1"]),
    ("Host a b\n  User one\nHost b c\n  Port 7\n", &["a", "b", "c"]),
    ("Host !a *\n  User other\n", &["a", "b"]),
    ("Host !a\n  User nobody\n", &["b"]),
    ("Match all\n  User everybody\n", &["a"]),
    ("SendEnv LANG LC_*\nForwardAgent yes\nCompression yes\n", &["a"]),
    ("Host a\n  Port 22\n  User ann\nHost a\n  Port 23\n  User bob\n", &["a"]),
    ("Host web1 web2 web3\n  HostName %h.internal\n  User ann\n", &["web1", "web2", "web3"]),
    ("Include one.conf\nHost *\n  User last\n", &["inc", "other"]),
    ("Host inc\n  Include one.conf\n  Port 9\nHost *\n  User last\n", &["inc", "other"]),
    ("Include many/*.conf\n", &["inc", "other"]),
    ("Include missing.conf\nUser ann\n", &["a"]),
];

fn answer(config: &SshConfig, host: &str) -> Answer {
    let question = Question { host: host.to_owned(), user: None, port: None };
    let answers = config.answers(std::slice::from_ref(&question)).expect("an answer");
    answers.get(&question).cloned().unwrap_or_default()
}

#[test]
fn our_reader_agrees_with_ssh() {
    if std::process::Command::new("ssh").arg("-V").output().is_err() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "ssh is missing");
        println!("this test did not run: it needs `ssh` (package openssh-client)");
        return;
    }
    let home = std::env::home_dir().expect("a home folder");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("many")).expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
    write("one.conf", "User from-include\nHost inc\n  Port 2200\n");
    write("many/b.conf", "User second\n");
    write("many/a.conf", "Host inc\n  User first\n");
    let mut wrong = Vec::new();
    for (text, hosts) in TEXTS {
        let path = folder.path().join("config");
        let text = text.replace("Include ", &format!("Include {}/", folder.path().display()));
        std::fs::write(&path, &text).expect("a file");
        let choice = Choice::File(path);
        let (oracle, own) = (SshConfig::read(&choice, &home).expect("a configuration"), SshConfig::read_alone(&choice, &home).expect("a configuration"));
        for host in *hosts {
            let (theirs, ours) = (answer(&oracle, host), usual_left_out(answer(&own, host), host, &home));
            if theirs != ours {
                wrong.push(format!("{text}\nfor {host}:\nssh  {theirs:?}\nours {ours:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// What is said but says what holds anyway cannot be told from nothing in what `ssh -G` prints.
fn usual_left_out(mut answer: Answer, host: &str, home: &Path) -> Answer {
    // `ssh -G` prints this one path with the home folder in it.
    answer.identity_agent = answer.identity_agent.map(|path| path.replace("~/", &format!("{}/", home.display())));
    answer.port = answer.port.filter(|port| *port != 22);
    answer.host_name = answer.host_name.filter(|name| *name != host.to_lowercase());
    answer
}

#[test]
fn ssh_is_started_once_for_hosts_of_which_the_same_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let count = folder.path().join("count");
    let fake = folder.path().join("ssh");
    let script = format!("#!/bin/sh\necho >>'{}'\ncat >/dev/null\nfor last; do :; done\necho \"hostname $last\"\necho user ann\n", count.display());
    std::fs::write(&fake, script).expect("a program");
    std::os::unix::fs::chown(&fake, None, None).expect("an owner");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&fake, mode).expect("a mode");
    let config = folder.path().join("config");
    let count_for = |text: &str| {
        std::fs::write(&config, text).expect("a file");
        let _gone = std::fs::remove_file(&count);
        let hosts: String = (1..=300).map(|number| format!("web{number},")).collect();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_mutate"))
            .args(["inventory", "list", "-i", &hosts, "-F"])
            .arg(&config)
            .args(["--output", "json"])
            .env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()))
            .output()
            .expect("the program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let playbook = folder.path().join("play.toml");
        std::fs::write(&playbook, "hosts = 'all'\n[[task]]\nping = {}\n").expect("a playbook");
        let checked = std::process::Command::new(env!("CARGO_BIN_EXE_mutate"))
            .args(["check", "-i", &hosts, "-F"])
            .arg(&config)
            .arg(&playbook)
            .env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()))
            .output()
            .expect("the program runs");
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        std::fs::read(&count).map_or(0, |bytes| bytes.len())
    };
    // One more asks what `ssh` says without any configuration.
    assert_eq!(count_for("Host *\n  SendEnv LANG\n"), 0);
    assert_eq!(count_for("User ann\n"), 2);
    assert_eq!(count_for("Host web1*\n  Port 2222\nHost *\n  User ann\n"), 3);
    assert_eq!(count_for("Host web7\n  Port 2222\n"), 2);
    assert!(Path::new(&config).exists());
}

#[test]
fn what_one_host_says_for_itself_is_not_said_for_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config");
    std::fs::write(&config, "ServerAliveInterval 30\nHost b\n  User carl\n").expect("a file");
    let config = SshConfig::read(&Choice::File(config), folder.path()).expect("a configuration");
    let ask = |host: &str, user: Option<&str>, port| Question { host: host.into(), user: user.map(str::to_owned), port };
    let questions = [ask("a", Some("root"), Some(2222)), ask("c", None, None), ask("d", Some("dan"), None), ask("b", None, None)];
    let answers = config.answers(&questions).expect("answers");
    let told: Vec<(Option<&str>, Option<u16>)> = questions.iter().map(|question| (answers[question].user.as_deref(), answers[question].port)).collect();
    assert_eq!(told, [(None, None), (None, None), (None, None), (Some("carl"), None)]);
}

#[test]
fn lists_that_add_to_the_usual_are_no_lists_of_their_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config");
    std::fs::write(&config, "HostKeyAlgorithms +ssh-rsa\nPubkeyAcceptedAlgorithms +ssh-rsa\n").expect("a file");
    let own = SshConfig::read_alone(&Choice::File(config), folder.path()).expect("a configuration");
    assert_eq!(answer(&own, "a").host_key_algorithms, Some(vec!["+ssh-rsa".to_owned()]));
}
