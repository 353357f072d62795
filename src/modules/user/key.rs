//! The SSH key that a user has in the home folder.

use anyhow::{Result, bail};

use super::User;
use crate::module::Report;
use crate::modules::account::Lines;
use crate::remote::Library;
use crate::sh;
use crate::shell::Script;

pub static KEY: Library = Library { name: "account_key", text: include_str!("../account/key.sh") };

const KINDS: [&str; 3] = ["ed25519", "rsa", "ecdsa"];

impl User {
    /// What the parameters of the key cannot be.
    ///
    /// # Errors
    /// In the words of the user.
    pub(super) fn check_key(&self) -> Result<()> {
        if !self.generate_ssh_key {
            if self.ssh_key_type.is_some() || self.ssh_key_bits.is_some() || self.ssh_key_file.is_some() || self.ssh_key_comment.is_some() {
                bail!("`ssh_key_…` describes a key that is not asked for | set `generate_ssh_key = true`");
            }
            return Ok(());
        }
        if !KINDS.contains(&self.key_type()) {
            bail!("`ssh_key_type` is `ed25519`, `rsa` or `ecdsa`");
        }
        if self.ssh_key_bits.is_some() && self.key_type() == "ed25519" {
            bail!("a key of the type ed25519 has one size only | leave `ssh_key_bits` out, or set `ssh_key_type`");
        }
        let file = self.key_file();
        if file.is_empty() || file.starts_with('-') || file.ends_with('/') || file.contains('\n') || file.split('/').any(|part| part == "..") {
            bail!("`ssh_key_file` is no path of a file in the home folder");
        }
        if self.ssh_key_comment.as_deref().is_some_and(|comment| comment.contains('\n')) {
            bail!("`ssh_key_comment` is one line");
        }
        Ok(())
    }

    fn key_type(&self) -> &str {
        self.ssh_key_type.as_deref().unwrap_or("ed25519")
    }

    pub(super) fn key_file(&self) -> String {
        let file = self.ssh_key_file.clone().unwrap_or_else(|| format!(".ssh/id_{}", self.key_type()));
        file.strip_prefix("~/").map(str::to_owned).unwrap_or(file)
    }

    /// Looks for the key as well.
    pub(super) fn with_key(&self, look: Script) -> Script {
        if self.generate_ssh_key { sh!("{} || exit\naccount_key {}", look, self.key_file()) } else { look }
    }

    /// The public key, for later tasks.
    pub(super) fn key_report(&self, lines: &Lines) -> Report {
        match lines.value("ssh_key") {
            Ok(key) if key.contains(' ') => Report::default().with("ssh_public_key", key),
            _ => Report::default(),
        }
    }

    /// What makes the key, and what takes it away again; nothing where there is one.
    ///
    /// # Errors
    /// When the answer says nothing about it.
    pub(super) fn key_change(&self, lines: &Lines) -> Result<Option<(Script, Script)>> {
        if !self.generate_ssh_key {
            return Ok(None);
        }
        let found = lines.value("ssh_key")?;
        if found != "missing" && found != "nowhere" {
            return Ok(None);
        }
        let mut words: Vec<String> = ["ssh-keygen", "-q", "-t", self.key_type()].map(str::to_owned).into();
        if let Some(bits) = self.ssh_key_bits {
            words.extend(["-b".to_owned(), bits.to_string()]);
        }
        if let Some(comment) = &self.ssh_key_comment {
            words.extend(["-C".to_owned(), comment.clone()]);
        }
        let file = self.key_file();
        words.extend(["-N".to_owned(), String::new(), "-f".to_owned(), file.clone()]);
        let folder = file.rsplit_once('/').map_or(".", |(folder, _)| folder);
        let make = sh!("umask 077\nmkdir -p -- {} && [ ! -e {} ] && {}", folder, &file, Script::call(words));
        let mut unmake = sh!("rm -f -- {} {}", &file, format!("{file}.pub"));
        if found == "nowhere" && folder != "." {
            unmake = sh!("{}\nrmdir -- {} 2>/dev/null\n:", unmake, folder);
        }
        let run = |script: Script| Script::call(["account_as", &self.name, &script.to_string()]);
        Ok(Some((run(make), run(unmake))))
    }
}
