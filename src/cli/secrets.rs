//! `secret`: files and values that are encrypted for those who may read them.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};

use super::{complain, say};
use crate::vault::{self, Edited, Editor, Recipients, Rekeyed};

#[derive(Args)]
pub struct Secrets {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make a key of your own, and show the public half that others encrypt for.
    Init(Init),
    /// Edit a file in `$VISUAL` or `$EDITOR`; what is in the open meanwhile lies in memory.
    Edit(Files),
    /// Encrypt a file into `FILE.age`; of a TOML file with `--values`, the texts that begin with `encrypt:`, in place.
    Encrypt(Encrypt),
    /// Decrypt a file to stdout, or into `--output`.
    Decrypt(Decrypt),
    /// Show what is encrypted in files.
    View(Files),
    /// Encrypt files anew for the present recipients; what is for exactly these stays as it is.
    Rekey(Rekey),
}

#[derive(Args)]
struct Init {
    /// Where to put the key. Left out: in mutate's configuration folder.
    file: Option<PathBuf>,
}

#[derive(Args)]
struct Files {
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    keys: Keys,
}

#[derive(Args)]
struct Encrypt {
    /// The file; `-` for stdin, whose text comes out encrypted on stdout.
    file: PathBuf,
    /// Where to put it. Left out: beside it, with `.age` at the end.
    #[arg(short = 'o', long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Encrypt single values of a TOML file, in place: texts that begin with `encrypt:`.
    #[arg(long, conflicts_with = "output")]
    values: bool,
    /// Print one encrypted value for a TOML file, of what comes on stdin.
    #[arg(long, conflicts_with_all = ["output", "values"])]
    value: bool,
    #[command(flatten)]
    keys: Keys,
}

#[derive(Args)]
struct Decrypt {
    file: PathBuf,
    /// Where to put it, readable for you alone.
    #[arg(short = 'o', long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    keys: Keys,
}

#[derive(Args)]
struct Rekey {
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Change nothing; end with 2 when a file is not for exactly the present recipients. Needs no private key.
    #[arg(short = 'C', long)]
    check: bool,
    #[command(flatten)]
    keys: Keys,
}

#[derive(Args)]
struct Keys {
    /// Somebody who may read it: `age1…` or a public SSH key. May be given several times. Left out: the nearest `.mutate-recipients`.
    #[arg(short = 'r', long, value_name = "KEY")]
    recipient: Vec<String>,
    /// A file of such keys, one in a line.
    #[arg(short = 'R', long, value_name = "FILE")]
    recipients_file: Vec<PathBuf>,
    /// Private key to open it with. Left out: `MUTATE_IDENTITY`, the key that `mutate secret init` makes, or your SSH keys.
    #[arg(short = 'i', long, value_name = "FILE")]
    identity: Vec<PathBuf>,
}

impl Keys {
    fn recipients(&self, file: &Path) -> Result<Recipients> {
        Recipients::choose(file, &self.recipient, &self.recipients_file)
    }

    fn identities(&self) -> Result<vault::Identities> {
        super::input::identities(&self.identity, &home())
    }
}

fn home() -> PathBuf {
    std::env::home_dir().unwrap_or_else(|| PathBuf::from("/"))
}

impl Secrets {
    pub fn run(self) -> Result<u8> {
        match self.what {
            What::Init(init) => init.run(),
            What::Edit(files) => files.edit(),
            What::Encrypt(encrypt) => encrypt.run(),
            What::Decrypt(decrypt) => decrypt.run(),
            What::View(files) => files.view(),
            What::Rekey(rekey) => rekey.run(),
        }
    }
}

impl Init {
    fn run(self) -> Result<u8> {
        let usual = || {
            let configuration = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute()).unwrap_or_else(|| home().join(".config"));
            configuration.join("mutate/identity")
        };
        let file = self.file.unwrap_or_else(usual);
        let recipient = vault::init(&file)?;
        complain(&format!("the private key is in `{}`; nobody else may read it, and without it nothing that is encrypted for it can be read\nput this line into `{}` beside your playbooks:", file.display(), vault::RECIPIENTS_FILE));
        say(&recipient.key);
        Ok(0)
    }
}

impl Files {
    fn edit(self) -> Result<u8> {
        let words = ["VISUAL", "EDITOR"].iter().find_map(|name| std::env::var(name).ok().filter(|text| !text.trim().is_empty()));
        let command = words.context("no editor is named; set `EDITOR`")?;
        let identities = self.keys.identities()?;
        let folders = vault::scratch_folders(std::env::var_os("XDG_RUNTIME_DIR").as_deref(), std::env::temp_dir());
        let again = |why: &str| {
            complain(&format!("error: {why}"));
            super::stderr_is_terminal() && {
                complain("open the editor again with what you have written? [Y/n]");
                let mut answer = String::new();
                std::io::stdin().read_line(&mut answer).is_ok_and(|count| count > 0) && !answer.trim().eq_ignore_ascii_case("n")
            }
        };
        let editor = Editor { command: &command, folders: &folders, tell: &|text| complain(&format!("warning: {text}")), again: &again };
        for file in &self.files {
            match vault::edit_file(file, &self.keys.recipients(file)?, &identities, &editor)? {
                Edited::Unchanged => complain(&format!("{}: not changed", file.display())),
                Edited::Written => complain(&format!("{}: written", file.display())),
            }
        }
        Ok(0)
    }

    fn view(self) -> Result<u8> {
        let identities = self.keys.identities()?;
        for file in &self.files {
            out(&vault::view_file(file, &identities)?)?;
        }
        Ok(0)
    }
}

/// What was asked for in the open: these bytes as they are.
fn out(bytes: &[u8]) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).context("writing to stdout")
}

impl Encrypt {
    fn run(self) -> Result<u8> {
        if self.value || self.file.as_os_str() == "-" {
            let recipients = self.keys.recipients(if self.value { &self.file } else { Path::new("stdin") })?;
            let mut text = Vec::new();
            std::io::stdin().read_to_end(&mut text).context("reading stdin")?;
            if !self.value {
                out(vault::encrypt(&text, &recipients).as_bytes())?;
                return Ok(0);
            }
            let text = String::from_utf8(text).context("a value is text in UTF-8")?;
            say(&vault::encrypt_value(text.strip_suffix('\n').unwrap_or(&text), &recipients));
            return Ok(0);
        }
        let recipients = self.keys.recipients(&self.file)?;
        if self.values {
            let old = std::fs::read(&self.file).with_context(|| format!("`{}`", self.file.display()))?;
            let text = std::str::from_utf8(&old).with_context(|| format!("`{}`", self.file.display()))?;
            let sealed = vault::sealed_document(text, None, &recipients).with_context(|| format!("`{}`", self.file.display()))?;
            if sealed.encrypted.is_empty() {
                bail!("`{}` has no text that begins with `{}`, so nothing was encrypted", self.file.display(), vault::MARK);
            }
            vault::replace(&self.file, Some(&old), sealed.text.as_bytes())?;
            complain(&format!("{}: encrypted {}", self.file.display(), sealed.encrypted.join(", ")));
            return Ok(0);
        }
        let target = self.output.unwrap_or_else(|| PathBuf::from(format!("{}.age", self.file.display())));
        let identities = self.keys.identities()?;
        let is_written = vault::encrypt_file(&self.file, &target, &recipients, &identities)?;
        complain(&format!("{}: {}; `{}` is still in the open", target.display(), if is_written { "written" } else { "not changed" }, self.file.display()));
        Ok(0)
    }
}

impl Decrypt {
    fn run(self) -> Result<u8> {
        let plain = vault::view_file(&self.file, &self.keys.identities()?)?;
        let Some(output) = self.output else {
            out(&plain)?;
            return Ok(0);
        };
        if output.exists() {
            bail!("`{}` is there already; name another file, or remove it", output.display());
        }
        vault::replace(&output, None, &plain)?;
        Ok(0)
    }
}

impl Rekey {
    fn run(self) -> Result<u8> {
        let mut stale = false;
        let identities = if self.check { None } else { Some(self.keys.identities()?) };
        for file in &self.files {
            let recipients = self.keys.recipients(file)?;
            let shown = file.display();
            let Some(identities) = &identities else {
                for (what, standing) in vault::standing(file, &recipients)? {
                    let place = if what.is_empty() { String::new() } else { format!(" {what}") };
                    match standing {
                        vault::Standing::Current => {}
                        vault::Standing::Stale => say(&format!("{shown}{place}: for others than the present recipients")),
                        vault::Standing::Unknown => say(&format!("{shown}{place}: for whom it is cannot be told")),
                    }
                    stale |= standing != vault::Standing::Current;
                }
                continue;
            };
            match vault::rekey_file(file, &recipients, identities)? {
                Rekeyed::Unchanged => say(&format!("{shown}: not changed")),
                Rekeyed::File => say(&format!("{shown}: encrypted anew")),
                Rekeyed::Values(values) => say(&format!("{shown}: encrypted anew: {}", values.join(", "))),
            }
        }
        Ok(if stale { 2 } else { 0 })
    }
}
