//! `hold`: paths on hosts that are left as somebody has made them, for a while.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{reports, runner, say};
use crate::render::safe;
use crate::shell::glob;

#[derive(Args)]
pub struct Hold {
    /// Host, or a pattern of names such as `web*`.
    #[arg(required_unless_present = "list")]
    host: Option<String>,
    /// Path on the host, or a pattern such as `/etc/nginx/*`.
    #[arg(required_unless_present = "list")]
    path: Option<String>,
    /// How long, such as `2w`, or until which day.
    #[arg(long, value_name = "TIME", default_value = "2w")]
    until: String,
    /// Why.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// End the hold now.
    #[arg(long, conflicts_with_all = ["list", "reason"])]
    release: bool,
    /// List what is held.
    #[arg(long)]
    list: bool,
}

/// Something that is left alone for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub host: String,
    pub path: String,
    /// When it ends, in RFC 3339.
    pub until: String,
    #[serde(default)]
    pub reason: String,
    pub who: String,
    pub since: String,
}

impl Held {
    /// The reason, as the end of a sentence.
    pub fn because(&self) -> String {
        if self.reason.is_empty() { String::new() } else { format!(": {}", self.reason) }
    }
}

/// Everything that is held now.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Holds {
    #[serde(default)]
    hold: Vec<Held>,
}

impl Hold {
    pub fn run(self) -> Result<u8> {
        let _alone = Holds::alone()?;
        let mut holds = Holds::read()?;
        let (Some(host), Some(path), false) = (self.host, self.path, self.list) else {
            holds.hold.iter().for_each(|held| say(&safe(format!("{}  {}  until {}{}  ({}, {})", held.host, held.path, held.until, held.because(), held.who, held.since).as_bytes())));
            return Ok(0);
        };
        if !path.starts_with('/') {
            bail!("`{path}` is no path on a host; write it from `/`");
        }
        if host.trim().is_empty() {
            bail!("which host? write its name, or a pattern such as `web*`");
        }
        let path = if path.len() > 1 { path.trim_end_matches('/').to_owned() } else { path };
        let before = holds.hold.len();
        holds.hold.retain(|held| held.host != host || held.path != path);
        if self.release {
            if holds.hold.len() == before {
                bail!("{path} on {host} is not held; `mutate hold --list` shows what is");
            }
            holds.write()?;
            say(&safe(format!("{path} on {host} is held no more").as_bytes()));
            return Ok(0);
        }
        let now = jiff::Timestamp::now();
        let until = match reports::lasting(&self.until) {
            Ok(time) => now.checked_add(time).context("that is too long")?,
            Err(_) => super::history::time_since(&self.until)?.parse()?,
        };
        if until <= now {
            bail!("`--until {}` is over already", self.until);
        }
        let held = Held { host, path, until: until.to_string(), reason: self.reason, who: super::input::who(), since: now.to_string() };
        say(&safe(format!("{} on {} is held until {}", held.path, held.host, held.until).as_bytes()));
        holds.hold.push(held);
        holds.write()?;
        Ok(0)
    }
}

impl Holds {
    /// The right to change them, which one process has at a time.
    fn alone() -> Result<nix::fcntl::Flock<std::fs::File>> {
        let place = Self::place().with_extension("lock");
        if let Some(folder) = place.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(|| format!("`{}`", folder.display()))?;
        }
        let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&place).with_context(|| format!("`{}`", place.display()))?;
        nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusive).map_err(|(_, error)| anyhow::anyhow!("`{}`: {error}", place.display()))
    }

    fn place() -> PathBuf {
        runner::journal_path().with_file_name("holds.json")
    }

    /// What is held; what has ended is left out.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read() -> Result<Self> {
        let place = Self::place();
        let text = match std::fs::read_to_string(&place) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).with_context(|| format!("`{}`", place.display())),
        };
        let mut all: Self = serde_json::from_str(&text).with_context(|| format!("`{}` is damaged", place.display()))?;
        let now = jiff::Timestamp::now();
        all.hold.retain(|held| held.until.parse::<jiff::Timestamp>().is_ok_and(|until| until > now));
        Ok(all)
    }

    fn write(&self) -> Result<()> {
        let place = Self::place();
        let in_words = || format!("`{}` cannot be written", place.display());
        let beside = place.with_extension("new");
        if let Some(folder) = place.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(in_words)?;
        }
        let mut file = std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&beside).with_context(in_words)?;
        file.write_all(serde_json::to_string_pretty(self)?.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&beside, &place)).with_context(in_words)
    }

    /// In the words of a run: patterns of host and path, and what to say.
    pub fn for_a_run(self) -> Vec<(String, String, String)> {
        let said = |held: &Held| format!("left as it is: held until {}{}", held.until, held.because());
        self.hold.into_iter().map(|held| { let said = said(&held); (held.host, held.path, said) }).collect()
    }

    /// What holds this path on this host.
    pub fn of(&self, host: &str, path: &str) -> Option<&Held> {
        self.hold.iter().find(|held| glob(held.host.as_bytes(), host.as_bytes()) && glob(held.path.as_bytes(), path.as_bytes()))
    }
}
