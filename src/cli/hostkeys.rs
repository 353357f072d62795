//! `hostkeys`: the keys of all hosts in one table, and the new ones in `known_hosts`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Map, Value, json};

use super::input::{What, input};
use super::options::{Common, OutputForm};
use super::{complain, runner, say};
use crate::engine::{self, Looked, Standing};
use crate::remote::add_host_keys;
use crate::render::safe;

const FAILED: u8 = 4;
const UNREACHABLE: u8 = 5;

#[derive(Args)]
pub struct HostKeys {
    /// Which hosts: a pattern such as `all`, `web & !canary`, `db[1-3]`.
    #[arg(default_value = "all")]
    pattern: String,
    /// Only show the keys.
    #[arg(short = 'C', long)]
    check: bool,
    /// Add the new keys without asking, also on a terminal.
    #[arg(short = 'y', long)]
    yes: bool,
    /// The file to add to, in place of the host's own `known_hosts`.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

impl HostKeys {
    pub fn run(self) -> Result<u8> {
        let mut problems = Vec::new();
        let text = format!("hosts = {}\n[[task]]\nping = {{}}\n", serde_json::to_string(&self.pattern)?);
        let mut input = input(&self.common, "hostkeys", What::Text(text), &mut problems)?;
        let prepared = match runner::prepared(&mut input, "hostkeys", problems, &self.common.show) {
            Ok(prepared) => prepared,
            Err(exit) => return Ok(exit),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting")?;
        let is_human = self.common.show.output == OutputForm::Human;
        let mut all: Vec<(Looked, bool)> = Vec::new();
        for layer in engine::ways(&input, &prepared.hosts) {
            let looked = runtime.block_on(engine::look(&input, layer));
            if is_human {
                self.table(&looked, all.is_empty());
            }
            let new: Vec<&Looked> = looked.iter().filter(|one| matches!(&one.key, Ok(key) if key.standing == Standing::New)).collect();
            let adds = !new.is_empty() && !self.check && self.agreed(new.len(), is_human)?;
            if adds {
                self.add(&new)?;
                // What lies behind is reached by what is known now.
                input.reach.forget_known_hosts();
            }
            all.extend(looked.into_iter().map(|one| {
                let added = adds && matches!(&one.key, Ok(key) if key.standing == Standing::New);
                (one, added)
            }));
        }
        let any = |test: &dyn Fn(&Looked) -> bool| all.iter().any(|(one, _)| test(one));
        let exit = if any(&|one| matches!(&one.key, Ok(key) if matches!(key.standing, Standing::Refused(_)))) {
            FAILED
        } else if any(&|one| one.key.is_err()) {
            UNREACHABLE
        } else {
            0
        };
        if is_human {
            let added = all.iter().filter(|(_, added)| *added).count();
            if added > 0 {
                complain(&format!("{added} keys added"));
            }
        } else {
            say(&document(&all, exit).to_string());
        }
        Ok(exit)
    }

    fn agreed(&self, count: usize, is_human: bool) -> Result<bool> {
        use std::io::{BufRead as _, IsTerminal as _, Write as _};
        if self.yes || !is_human || !std::io::stdin().is_terminal() || !super::stderr_is_terminal() {
            return Ok(true);
        }
        let mut stderr = std::io::stderr();
        write!(stderr, "Compare the fingerprints. Add {count} new keys? [y/N] ").and_then(|()| stderr.flush()).context("asking")?;
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).context("reading the answer")?;
        Ok(["y", "yes"].contains(&line.trim().to_lowercase().as_str()))
    }

    fn add(&self, new: &[&Looked]) -> Result<()> {
        let mut files: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
        for key in new.iter().filter_map(|one| one.key.as_ref().ok()) {
            let Some(file) = self.file.clone().or_else(|| key.file.clone()) else { continue };
            files.entry(file).or_default().push(key.line.clone());
        }
        for (file, lines) in files {
            add_host_keys(&file, &lines).with_context(|| format!("adding to `{}`", file.display()))?;
        }
        Ok(())
    }

    fn table(&self, looked: &[Looked], with_head: bool) {
        let name = |one: &Looked| safe(one.name.as_bytes());
        let width = looked.iter().map(|one| name(one).chars().count()).max().unwrap_or(4).max(4);
        if with_head {
            say(&format!("{:<width$}  {:<8}  {:<20}  fingerprint", "host", "standing", "kind"));
        }
        for one in looked {
            let line = match &one.key {
                Ok(key) => {
                    let (word, more) = match &key.standing {
                        Standing::Known => ("known", String::new()),
                        Standing::New => ("new", String::new()),
                        Standing::Refused(why) => ("REFUSED", format!("  {why}")),
                    };
                    format!("{:<width$}  {word:<8}  {:<20}  {}{more}", name(one), key.algorithm, key.fingerprint)
                }
                Err(failure) => format!("{:<width$}  {:<8}  {}", name(one), "none", safe(failure.to_string().as_bytes())),
            };
            say(&line);
        }
    }
}

fn document(all: &[(Looked, bool)], exit: u8) -> Value {
    let mut hosts = Map::new();
    for (one, added) in all {
        let mut fields = Map::new();
        let (outcome, message) = match &one.key {
            Ok(key) => {
                fields.insert("algorithm".into(), key.algorithm.as_str().into());
                fields.insert("fingerprint".into(), key.fingerprint.as_str().into());
                fields.insert("key".into(), key.line.as_str().into());
                match &key.standing {
                    Standing::Known => ("ok", "known".to_owned()),
                    Standing::New if *added => ("changed", "added".to_owned()),
                    Standing::New => ("pending", "new".to_owned()),
                    Standing::Refused(why) => ("failed", why.clone()),
                }
            }
            Err(failure) => ("unreachable", failure.to_string()),
        };
        fields.insert("address".into(), one.address.as_str().into());
        fields.insert("port".into(), one.port.into());
        fields.insert("outcome".into(), outcome.into());
        fields.insert("message".into(), message.into());
        hosts.insert(one.name.clone(), Value::Object(fields));
    }
    json!({ "schema": 1, "command": "hostkeys", "exit": exit, "hosts": hosts })
}
