//! What the tests of this room share: three people with new keys.

use std::path::{Path, PathBuf};

use super::{Identities, Recipient, Recipients, init};

pub const ALICE: &str = "age1ysxuaeqlk7xd8uqsh8lsnfwt9jzzjlqf49ruhpjrrj5yatlcuf7qke4pqe";

pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

pub fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a file");
}

/// A person: the file of the private key, and the public one.
pub struct Person {
    pub path: PathBuf,
    pub public: Recipient,
}

pub struct Team {
    folder: tempfile::TempDir,
    pub alice: Person,
    pub bob: Person,
    pub carol: Person,
}

impl Team {
    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn new() -> Self {
        let folder = folder();
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| {
            let path = folder.path().join(name);
            let public = init(&path).expect("a key");
            Person { path, public }
        });
        Self { folder, alice, bob, carol }
    }
}

pub fn identities(people: &[&Person]) -> Identities {
    let paths: Vec<PathBuf> = people.iter().map(|one| one.path.clone()).collect();
    Identities::load(&paths, Box::new(|_| None)).expect("keys")
}

pub fn recipients(people: &[&Person]) -> Recipients {
    Recipients::new(people.iter().map(|one| one.public.clone())).expect("people")
}

/// A new SSH key; `None` where `ssh-keygen` is not installed.
pub fn ssh_key(path: &Path, options: &[&str], passphrase: &str) -> Option<Recipient> {
    let made = std::process::Command::new("ssh-keygen").args(["-q", "-C", "me@here", "-N", passphrase, "-f"]).arg(path).args(options).output().ok()?;
    assert!(made.status.success(), "{made:?}");
    let line = std::fs::read_to_string(format!("{}.pub", path.display())).expect("a public key");
    Some(Recipient::parse(&line).unwrap_or_else(|_| Recipient::parse(ALICE).expect("a key")))
}
