//! What OpenSSH's own configuration says about a host, so that `mutate` reaches whatever `ssh` reaches.
//!
//! Where an `ssh` is installed, its `ssh -G` decides; else an own reader of everything but `Match`. This room reads the
//! configuration and may start `ssh -G`; it connects nowhere, and it says nothing of hosts that the files say nothing of.

mod oracle;
mod read;
mod tokens;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use oracle::Oracle;
use read::Files;
pub use tokens::Tokens;

/// What the configuration says about one host. What it does not say is empty, and then the usual holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// `HostName`, with `%h` filled in.
    pub host_name: Option<String>,
    pub port: Option<u16>,
    pub user: Option<String>,
    /// `IdentityFile`s in their order, with their tokens; `none` is left out.
    pub identity_files: Vec<String>,
    pub identities_only: bool,
    /// `IdentityAgent`: a path, `none`, `SSH_AUTH_SOCK`, or a name after `$`.
    pub identity_agent: Option<String>,
    pub certificate_files: Vec<String>,
    /// Destinations from the nearest to the farthest, such as `user@host:port`.
    pub proxy_jump: Vec<String>,
    pub proxy_command: Option<String>,
    pub host_key_alias: Option<String>,
    pub user_known_hosts: Option<Vec<String>>,
    pub global_known_hosts: Option<Vec<String>>,
    /// `StrictHostKeyChecking`: `ask`, `yes`, `accept-new` or `no`.
    pub strict: Option<String>,
    pub connect_timeout_seconds: Option<u64>,
    /// Seconds; 0 for never.
    pub alive_interval_seconds: Option<u64>,
    pub alive_count: Option<usize>,
    pub kex: Option<Vec<String>>,
    pub host_key_algorithms: Option<Vec<String>>,
    pub ciphers: Option<Vec<String>>,
    pub macs: Option<Vec<String>>,
    /// `PubkeyAcceptedAlgorithms`: kinds of signatures to log in with.
    pub signatures: Option<Vec<String>>,
    /// `PasswordAuthentication`, `KbdInteractiveAuthentication`, `PubkeyAuthentication` say no.
    pub no_password: bool,
    pub no_keyboard: bool,
    pub no_public_key: bool,
}

/// The configuration of this user and this machine.
#[derive(Debug, Default)]
pub struct SshConfig {
    files: Files,
    oracle: Option<Oracle>,
}

/// Whom to ask about: as `ssh` would be told on its command line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// The name or address as it was written.
    pub host: String,
    pub user: Option<String>,
    pub port: Option<u16>,
}

/// Which configuration to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The user's and the machine's.
    #[default]
    Usual,
    /// This file alone, as after `ssh -F`.
    File(PathBuf),
    None,
}

impl SshConfig {
    /// Reads the configuration; files that do not exist are empty.
    ///
    /// # Errors
    /// The file and the reason, when one cannot be read or makes no sense.
    pub fn read(choice: &Choice, home: &Path) -> Result<Self, String> {
        let files = match choice {
            Choice::None => return Ok(Self::default()),
            Choice::File(path) => Files::read(std::slice::from_ref(path), home, true)?,
            Choice::Usual => Files::read(&[home.join(".ssh/config"), "/etc/ssh/ssh_config".into()], home, false)?,
        };
        let oracle = if files.says_something() { Oracle::find(choice, home) } else { None };
        Ok(Self { files, oracle })
    }

    /// The same, without asking `ssh`.
    ///
    /// # Errors
    /// As [`SshConfig::read`].
    pub fn read_alone(choice: &Choice, home: &Path) -> Result<Self, String> {
        Self::read(choice, home).map(|config| Self { oracle: None, ..config })
    }

    /// What the configuration says about each of these. `ssh` is started once for all hosts of which it says the same,
    /// and once for each only where a `Match` may tell them apart.
    ///
    /// # Errors
    /// What `ssh` said against the configuration, or that there is a `Match` and no `ssh` to judge it.
    pub fn answers(&self, questions: &[Question]) -> Result<HashMap<Question, Answer>, String> {
        let mut answers = HashMap::new();
        if !self.files.says_something() {
            return Ok(answers);
        }
        let Some(oracle) = &self.oracle else {
            for question in questions {
                let answer = self.files.answer(&question.host)?;
                answers.insert(question.clone(), answer);
            }
            return Ok(answers);
        };
        // Hosts that fit the same `Host` lines get the same answer, but for what is made from their names.
        let mut classes: IndexMap<(Vec<usize>, Option<Question>), Vec<&Question>> = IndexMap::new();
        for question in questions {
            let own = self.files.is_conditional().then(|| question.clone());
            classes.entry((self.files.fitting(&question.host), own)).or_default().push(question);
        }
        classes.retain(|(blocks, own), _| own.is_some() || self.files.say_something(blocks));
        // What one of them says for itself must not become the others' answer.
        let asked = |own: &Option<Question>, all: &[&Question]| own.clone().unwrap_or_else(|| Question { host: all[0].host.clone(), user: None, port: None });
        let questions: Vec<Question> = classes.iter().map(|((_, own), all)| asked(own, all)).collect();
        let heard = oracle.ask(&questions.iter().collect::<Vec<_>>())?;
        for ((_, own), all) in classes {
            let Some(answer) = heard.get(&asked(&own, &all)) else { continue };
            let template = if all.len() > 1 { self.files.host_name_template(&all[0].host) } else { None };
            for question in &all {
                let mut own = answer.clone();
                if all.len() > 1 {
                    own.host_name = template.as_ref().map(|text| tokens::host_name(text, &question.host));
                }
                answers.insert((*question).clone(), own);
            }
        }
        Ok(answers)
    }

    /// The hosts that have a `Host` line of their own, without patterns, in their order.
    pub fn named_hosts(&self) -> Vec<String> {
        self.files.named_hosts()
    }
}
