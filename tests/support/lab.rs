//! The lab of real hosts, for the tests that need it: its script, a home folder for the controller, and a turn.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The tests share the hosts.
static TURN: Mutex<()> = Mutex::new(());

pub struct Bench {
    pub script: PathBuf,
    /// The controller's home folder, which knows the lab's host keys.
    pub folder: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Bench {
    /// `None` when there is no lab, which is a failure where tests must not be left out.
    pub fn new() -> Option<Self> {
        let Some(script) = std::env::var_os("MUTATE_LAB") else {
            println!("lab tests did not run: MUTATE_LAB is not set");
            assert!(std::env::var("CI").as_deref() != Ok("true"), "lab tests did not run: MUTATE_LAB is not set");
            return None;
        };
        if script == "later" {
            println!("lab tests did not run: they run later, by themselves");
            return None;
        }
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let bench = Self { script: script.into(), folder: tempfile::tempdir().expect("a folder for the test"), _turn: turn };
        bench.file("password", "labpw\n");
        bench.learn_host_keys();
        Some(bench)
    }

    /// The controller knows the keys that the hosts have now.
    pub fn learn_host_keys(&self) {
        let keys = self.lab(&["inventory", "--format", "known-hosts"]).stdout;
        let ssh = self.folder.path().join(".ssh");
        std::fs::create_dir_all(&ssh).expect("a folder for the host keys");
        std::fs::write(ssh.join("known_hosts"), keys).expect("the host keys are written");
    }

    pub fn lab(&self, words: &[&str]) -> Output {
        Command::new("python3").arg(&self.script).args(words).output().expect("the lab's script runs")
    }

    /// What a command prints on a host, without SSH.
    pub fn on(&self, host: &str, command: &str) -> String {
        String::from_utf8_lossy(&self.lab(&["exec", host, "sh", "-c", command]).stdout).into_owned()
    }

    /// Writes a file into the test's folder, and gives its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    }
}
