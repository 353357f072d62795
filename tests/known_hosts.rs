//! Our verdicts on host keys beside those of a real `ssh`, which looks a name up in the same file and is shown the same key.

#![allow(clippy::print_stdout, reason = "a test that did not run says so")]

#[path = "support/fleet.rs"]
mod fleet;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fleet::{Faults, Fleet};
use mutate::remote::{HostFailure, KnownHosts};
use russh::keys::PublicKey;

/// A key that no host of the fleet has.
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";
const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC5K9D2bvrOFEHibQFQo9/XuXBxyPspDVC2x7rcA6o/9Vgi2oQfy6evE+iBc0GCtwISb9xwtlmzITeqCncNFCSSq8mFno7xUE+xfGNl6xEKqgU0JzPL4x/RH9Ca9Gem7n7gMMvPSnu+uxFlb2OL9z3wrPF5SidaCSmVBoIFgs3zvlZ15Rgwa1vUwt80ISPXvuOBmXcLO20tErey7p1ySjBdxdi/WA9M9kDAlvj0njejVCFXv7XN3Be+4UzrO5gd271kdIqKvqTV1c4RPf9T4tYbmh8CjyjFRa//u+zqHsx5qPCRR4gE5Zi0P7AZhG9WnG+PufI6ha2D6ObRfqd2ewP5";

/// Files, in which KEY is the key that is shown, OTHER another one, RSA one of another kind, HASH(name) a hashed name, and CA
/// the authority that has signed the host's certificate.
const FILES: &[&str] = &[
    "web1 KEY",
    "web1 OTHER",
    "web2 KEY",
    "WEB1 KEY",
    "web1,web2 KEY",
    "web2,web1 OTHER",
    "web1\tKEY",
    "   web1   KEY",
    "web1 KEY comment with words",
    "web1 KEY\r",
    "# web1 KEY",
    "",
    "\n\n  \n# nothing\n",
    "web* KEY",
    "web? KEY",
    "we?? KEY",
    "* KEY",
    "*1 KEY",
    "w*b*1 KEY",
    "?eb1 OTHER",
    "*,!web1 KEY",
    "!web1,* KEY",
    "web*,!web2 KEY",
    "!web1 KEY",
    "web1,!web1 KEY",
    "[web1]:22 KEY",
    "[web1]:2222 KEY",
    "[web1]:2222 OTHER",
    "[web1]:2200 KEY",
    "[web1]:2222,web1 KEY",
    "[web1]:* KEY",
    "[*]:2222 KEY",
    "[web*]:2222 OTHER",
    "web1 OTHER\nweb1 KEY",
    "web1 KEY\nweb1 OTHER",
    "web1 OTHER\n[web1]:2222 KEY",
    "web1 KEY\n[web1]:2222 OTHER",
    "@revoked web1 KEY",
    "@revoked * KEY",
    "@revoked web2 KEY\nweb1 KEY",
    "web1 KEY\n@revoked web1 KEY",
    "@revoked * KEY\nweb1 KEY",
    "@revoked * OTHER\nweb1 KEY",
    "@revoked [web1]:2222 KEY\nweb1 KEY",
    "@cert-authority * KEY",
    "@cert-authority web1 KEY\nweb1 OTHER",
    "@unknown web1 KEY",
    "@revoked KEY",
    "web1 garbage",
    "web1 ssh-ed25519 AAAA",
    "web1 ssh-ed25519",
    "web1",
    "garbage\nweb1 KEY",
    "web1 ssh-ed25519 AAAA\nweb1 KEY",
    "web1 ssh-dss KEYBODY",
    "HASH(web1) KEY",
    "HASH(web1) OTHER",
    "HASH(web2) KEY",
    "HASH([web1]:2222) KEY",
    "HASH([web1]:2222) OTHER",
    "|1|notbase64|x KEY",
    "|1|AAAA|AAAA KEY",
    "@revoked HASH(web1) KEY\nweb1 KEY",
    "web1 RSA\nweb1 KEY",
    "web1 RSA",
];

struct Judges {
    folder: tempfile::TempDir,
    fleet: Fleet,
    key: PublicKey,
}

impl Judges {
    fn new() -> Option<Self> {
        for program in ["ssh", "ssh-keygen", "bash"] {
            if Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
                assert!(std::env::var("CI").as_deref() != Ok("true"), "{program} is missing");
                println!("this test did not run: it needs `{program}`");
                return None;
            }
        }
        let fleet = Fleet::start(&["alpha"], &Faults::default());
        let inventory = std::fs::read_to_string(&fleet.inventory).expect("the inventory");
        let key = inventory.split("host_key = \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a key").to_owned();
        let key = PublicKey::from_openssh(&key).expect("a key");
        Some(Self { folder: tempfile::tempdir().expect("a folder"), fleet, key })
    }

    fn key_text(&self) -> String {
        self.key.to_openssh().expect("a key").split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    /// The name as `ssh-keygen -H` hides it.
    fn hashed(&self, name: &str) -> String {
        let path = self.folder.path().join("hash");
        std::fs::write(&path, format!("{name} {OTHER}\n")).expect("a file");
        let made = Command::new("ssh-keygen").arg("-H").arg("-f").arg(&path).output().expect("ssh-keygen");
        assert!(made.status.success());
        std::fs::read_to_string(&path).expect("a file").split(' ').next().expect("a word").to_owned()
    }

    fn file(&self, text: &str) -> PathBuf {
        let key = self.key_text();
        let mut text = text.replace("KEYBODY", key.split(' ').nth(1).expect("a body")).replace("KEY", &key).replace("OTHER", OTHER).replace("RSA", RSA);
        while let Some(at) = text.find("HASH(") {
            let end = at + text[at..].find(')').expect("an end");
            let hashed = self.hashed(&text[at + 5..end]);
            text.replace_range(at..=end, &hashed);
        }
        let path = self.folder.path().join("known_hosts");
        std::fs::write(&path, text).expect("a file");
        path
    }

    fn ours(&self, file: &Path, name: &str, port: u16) -> &'static str {
        let known = KnownHosts::read(&[file.to_owned()]).expect("a file");
        match known.check(name, Some(port), &self.key, None) {
            Ok(()) => "good",
            Err(HostFailure::HostKeyUnknown { .. }) => "unknown",
            Err(HostFailure::HostKeyChanged { .. }) => "changed",
            Err(HostFailure::HostKeyRevoked { .. }) => "revoked",
            Err(_) => "other",
        }
    }

    fn theirs(&self, file: &Path, name: &str, port: u16) -> &'static str {
        let inner = self.fleet.host("alpha").port;
        // A file, since what the proxy command leaves behind would hold a pipe open.
        let said = self.folder.path().join("said");
        Command::new("ssh")
            .args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "GlobalKnownHostsFile=/dev/null"])
            .args(["-o", "PreferredAuthentications=none", "-o", "HostKeyAlgorithms=ssh-ed25519", "-o"])
            .arg(format!("UserKnownHostsFile={}", file.display()))
            .args(["-o", &format!("ProxyCommand=bash -c 'exec 3<>/dev/tcp/127.0.0.1/{inner}; cat <&3 & cat >&3; kill $!'")])
            .args(["-p", &port.to_string(), &format!("nobody@{name}"), "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&said).expect("a file"))
            .status()
            .expect("ssh runs");
        let said = std::fs::read_to_string(&said).expect("a file");
        if said.contains("REVOKED HOST KEY") || said.contains("marked as revoked") {
            "revoked"
        } else if said.contains("HAS CHANGED") || said.contains("IDENTIFICATION HAS") {
            "changed"
        } else if said.contains("Host key verification failed") {
            "unknown"
        } else if said.contains("Permission denied") {
            "good"
        } else {
            panic!("{said}")
        }
    }
}

#[test]
fn our_verdicts_are_those_of_ssh() {
    let Some(judges) = Judges::new() else { return };
    let mut wrong = Vec::new();
    let mut count = 0;
    for text in FILES {
        let file = judges.file(text);
        for (name, port) in [("web1", 22), ("web1", 2222)] {
            count += 1;
            let (ours, theirs) = (judges.ours(&file, name, port), judges.theirs(&file, name, port));
            // What we are stricter in: a host of which only a key of another kind is known has changed.
            let is_stricter = ours == "changed" && theirs == "unknown" && text.contains("RSA");
            if ours != theirs && !is_stricter {
                wrong.push(format!("{text:?} for {name} port {port}: ssh says {theirs}, we say {ours}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 120, "{count}");
}

#[test]
fn ssh_keygen_finds_the_same_lines() {
    let Some(judges) = Judges::new() else { return };
    let mut wrong = Vec::new();
    for text in FILES {
        let file = judges.file(text);
        for (name, port) in [("web1", 22), ("web2", 22), ("web1", 2222), ("db", 22)] {
            let asked = if port == 22 { name.to_owned() } else { format!("[{name}]:{port}") };
            let output = Command::new("ssh-keygen").args(["-F", &asked, "-f"]).arg(&file).output().expect("ssh-keygen");
            let found = String::from_utf8_lossy(&output.stdout);
            let (plain, all) = (judges.key_text(), found.lines().filter(|line| !line.starts_with('#') && !line.starts_with('@')));
            let theirs = all.filter(|line| line.contains(&plain)).count();
            let known = KnownHosts::read(std::slice::from_ref(&file)).expect("a file");
            let ours = known.keys(name, Some(port)).filter(|key| key.key_data() == judges.key.key_data()).count();
            if (theirs > 0) != (ours > 0) {
                wrong.push(format!("{text:?} for {asked}: ssh-keygen finds {theirs} lines, we find {ours}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
