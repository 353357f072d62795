//! From flags and files to what the engine takes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::options::Common;
use crate::diag::{Diagnostic, Entry, Key, Kind, Node, Sources, Span, parse};
use crate::engine::{Input, Login, Options};
use crate::inventory;
use crate::module::Registry;
use crate::modules;
use crate::playbook::{self, Playbook};
use crate::remote::{Keyring, Reach};
use crate::secret::{Secret, secret_of_file, trace};
use crate::ssh_config::{Choice, SshConfig};
use crate::template::Layer;
use crate::vault;

/// What is run: files, or a playbook made from the command line.
pub enum What {
    Files(Vec<PathBuf>),
    Text(String),
}

/// Says with which keys secrets are opened, should there be any: those that were named, or the usual ones.
pub fn keys_of(named: &[PathBuf], home: &std::path::Path) {
    // Once opened they stay so: `check` reads everything several times, and asks for a passphrase once.
    static NAMED: std::sync::Once = std::sync::Once::new();
    let (named, home) = (named.to_vec(), home.to_owned());
    NAMED.call_once(|| vault::keys_from(Box::new(move || identities(&named, &home))));
}

/// The keys of this user.
///
/// # Errors
/// Which of those that were named cannot be used.
pub fn identities(named: &[PathBuf], home: &std::path::Path) -> Result<vault::Identities> {
    let ask: vault::Ask = Box::new(|prompt| {
        use std::io::IsTerminal as _;
        let can_ask = super::stderr_is_terminal() && std::io::stdin().is_terminal();
        if can_ask { rpassword::prompt_password(prompt).ok().filter(|answer| !answer.is_empty()).map(Secret::new) } else { None }
    });
    let configuration = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute()).unwrap_or_else(|| home.join(".config"));
    let identities = match named {
        [] => vault::Identities::of_usual(&vault::usual_identities(home, &configuration), ask),
        paths => vault::Identities::load(paths, ask)?,
    };
    for warning in &identities.warnings {
        super::complain(&format!("warning: {warning}"));
    }
    Ok(identities)
}

/// Who runs this: `ann@laptop pid 4711`.
pub fn who() -> String {
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    format!("{}@{host} pid {}", local_user(), std::process::id())
}

/// Reads everything that a run needs. All problems with files go to `problems`.
///
/// # Errors
/// When this machine does not let us: no home folder, a password file that cannot be read.
pub fn input(common: &Common, command: &str, what: What, problems: &mut Vec<Diagnostic>) -> Result<Input> {
    let mut sources = Sources::default();
    let home = std::env::home_dir().unwrap_or_else(|| PathBuf::from("/"));
    keys_of(&common.identity, &home);
    let inventories = inventories(common, problems);
    let inventory = inventory::load(&inventories, &mut sources, problems);
    let extra = extra_variables(&common.extra_vars, &mut sources, problems);
    let playbooks: Vec<Playbook> = match what {
        What::Files(paths) => playbook::load(&paths, modules::ALL, &mut sources, problems),
        What::Text(text) => playbook::from_text("command line", &text, modules::ALL, &mut sources, problems),
    };
    check_flags(common, problems);
    let config_choice = match common.ssh_config.as_deref() {
        None => Choice::Usual,
        Some(path) if path.as_os_str() == "none" => Choice::None,
        Some(path) => Choice::File(path.to_owned()),
    };
    let ssh_config = SshConfig::read(&config_choice, &home).unwrap_or_else(|reason| {
        let diagnostic = Diagnostic::general("ssh-config", format!("the ssh configuration cannot be used: {reason}"));
        problems.push(diagnostic.help("mend it, name another with `--ssh-config FILE`, or none with `--ssh-config none`"));
        SshConfig::default()
    });
    let passphrase = common.passphrase_file.as_deref().map(|path| password_of("--passphrase-file", path)).transpose()?;
    let local_user = local_user();
    let login = Login {
        user: common.user.clone(),
        key: common.key.clone(),
        port: common.port,
        become_it: common.become_it,
        become_user: common.become_user.clone(),
        become_method: common.become_method.map(Into::into),
        become_password: become_password(common)?,
        password: login_password(common)?,
        local_user: local_user.clone(),
        home,
        connect_timeout: common.connect_timeout.map(Duration::from_secs),
        accept_new_host_keys: common.accept_new_host_keys,
    };
    let options = Options {
        command: command.to_owned(),
        limit: common.limit.iter().map(|text| named_by_run(text)).collect::<Result<_>>()?,
        exclude: common.exclude.clone(),
        forks: usize::from(common.forks),
        login,
        resolve_limit: Duration::from_secs(common.resolve_timeout),
        ..Options::default()
    };
    let who = who();
    Ok(Input { playbooks: Arc::new(playbooks), inventory: Arc::new(inventory), registry: modules::ALL, sources, extra: Arc::new(extra), options, ssh_config: Arc::new(ssh_config), reach: Arc::new(Reach::new(Keyring::new(passphrase))), contents: Arc::default(), memory: None, consent: None, who })
}

/// Every module that can be named from here: also those that are described in `modules/` of this folder.
///
/// # Errors
/// What is wrong with such a description.
pub fn modules_here() -> Result<Registry> {
    let mut sources = Sources::default();
    let mut problems = Vec::new();
    let registry = playbook::registry_of(Path::new(""), modules::ALL, &mut sources, &mut problems);
    if !problems.is_empty() {
        bail!("{}", crate::diag::draw(&problems, &sources, false).trim_end().trim_start_matches("error: ").to_owned());
    }
    Ok(registry)
}

/// `@failed:RUN` stands for the hosts on which that run did not get to its end.
fn named_by_run(pattern: &str) -> Result<String> {
    match pattern.strip_prefix("@failed:") {
        Some(run) => Ok(super::resolve::failed_hosts(run)?.join(",")),
        None => Ok(pattern.to_owned()),
    }
}

/// Flags whose value cannot be right.
fn check_flags(common: &Common, problems: &mut Vec<Diagnostic>) {
    let mut refuse = |message: String| problems.push(Diagnostic::general("flag", message));
    if let Some(key) = &common.key
        && let Err(reason) = crate::diag::read_bytes(key, 1 << 20)
    {
        refuse(format!("`--key {}`: {reason}", key.display()));
    }
    for (flag, name) in [("-u", &common.user), ("--become-user", &common.become_user)] {
        if let Some(name) = name.as_deref().filter(|name| !inventory::is_user(name)) {
            refuse(format!("`{flag} {}`: this is no user name", name.escape_debug()));
        }
    }
    if common.connect_timeout == Some(0) {
        refuse("`--connect-timeout` must be more than 0".into());
    }
}

pub fn local_user() -> String {
    let named = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.name);
    named.or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| "root".into())
}

fn inventories(common: &Common, problems: &mut Vec<Diagnostic>) -> Vec<String> {
    if !common.inventory.is_empty() {
        return common.inventory.clone();
    }
    if std::path::Path::new("inventory.toml").exists() {
        return vec!["inventory.toml".into()];
    }
    let diagnostic = Diagnostic::general("inventory", "there is no inventory: no `inventory.toml` here, and no `-i`");
    problems.push(diagnostic.help("name one with `-i FILE`, or name the hosts themselves with `-i host1,host2,`"));
    Vec::new()
}

fn become_password(common: &Common) -> Result<Option<Secret>> {
    match &common.become_password_file {
        Some(path) => password_of("--become-password-file", path).map(Some),
        None if common.ask_become_pass => asked("-K", "password to become another user", "--become-password-file").map(Some),
        None => Ok(None),
    }
}

fn login_password(common: &Common) -> Result<Option<Secret>> {
    match &common.password_file {
        Some(path) => password_of("--password-file", path).map(Some),
        None if common.ask_pass => asked("-k", "password to log in with", "--password-file").map(Some),
        None => Ok(None),
    }
}

fn password_of(flag: &str, path: &Path) -> Result<Secret> {
    secret_of_file(path).map_err(|reason| anyhow::anyhow!("`{flag} {}`: {reason}", path.display()))
}

/// Asks on the terminal, once for all hosts.
fn asked(flag: &str, what: &str, instead: &str) -> Result<Secret> {
    if !super::stderr_is_terminal() {
        bail!("`{flag}` asks for a password, but there is no terminal to ask on; use `{instead}`");
    }
    let password = rpassword::prompt_password(format!("{what}: ")).context("asking for the password")?;
    Ok(Secret::new(password))
}

/// Variables from `-e`: `name=value`, `@file`, or a table in JSON.
fn extra_variables(arguments: &[String], sources: &mut Sources, problems: &mut Vec<Diagnostic>) -> Layer {
    let mut layer = Layer::default();
    for argument in arguments {
        let table = if let Some(path) = argument.strip_prefix('@') {
            variables_of_file(path, sources, problems)
        } else {
            let source = sources.add("command line", argument.as_str());
            let span = Span { source, bytes: 0..argument.len() };
            if argument.trim_start().starts_with('{') {
                json_table(argument, &span, problems)
            } else {
                one_variable(argument, &span, problems)
            }
        };
        let Some(mut table) = table else { continue };
        vault::unseal(&mut table, false, problems);
        inventory::check_variables(&table, problems);
        layer.entries.extend(Layer::authored(&table).entries);
    }
    layer
}

fn variables_of_file(path: &str, sources: &mut Sources, problems: &mut Vec<Diagnostic>) -> Option<Node> {
    match vault::read_source(std::path::Path::new(path)) {
        Ok(read) => {
            let source = sources.add(path, read.shown);
            let span = Span { source, bytes: 0..read.text.len() };
            let plain_name = path.strip_suffix(".age").unwrap_or(path);
            let before = problems.len();
            let table = match () {
                () if plain_name.ends_with(".json") => json_table(&read.text, &span, problems),
                () if plain_name.ends_with(".yaml") || plain_name.ends_with(".yml") => yaml_table(&read.text, &span, problems),
                () => Some(parse(source, &read.text, problems)),
            };
            if read.is_secret && table.is_none() {
                // What is wrong with it may be shown with the line that it stands in.
                for problem in &mut problems[before..] {
                    let what = problem.message.split(':').next().unwrap_or_default().to_owned();
                    problem.message = format!("`{path}`: {what}; where, only `mutate secret view` may show");
                }
            }
            let mut table = table?;
            vault::unseal(&mut table, read.is_secret, problems);
            trace(&mut table, Path::new(path), problems);
            Some(table)
        }
        Err(reason) => {
            problems.push(Diagnostic::general("read", format!("`-e @{path}`: {reason}")));
            None
        }
    }
}

fn one_variable(argument: &str, span: &Span, problems: &mut Vec<Diagnostic>) -> Option<Node> {
    let Some((name, value)) = argument.split_once('=') else {
        let diagnostic = Diagnostic::error("extra-vars", span, format!("`-e {argument}` is no variable"));
        problems.push(diagnostic.help("write `-e name=value`, or `-e @file.toml`"));
        return None;
    };
    let kind = match value {
        "true" => Kind::Boolean(true),
        "false" => Kind::Boolean(false),
        // `007` and `1.10` are names of things, not numbers.
        _ => match value.parse::<i64>() {
            Ok(number) if number.to_string() == value => Kind::Integer(number),
            _ if value.starts_with(['[', '{']) => match serde_json::from_str(value) {
                Ok(json) => Node::of_json(&json, span).kind,
                Err(_) => Kind::Text(value.to_owned()),
            },
            _ => Kind::Text(value.to_owned()),
        },
    };
    let key = Key { name: name.trim().to_owned(), span: span.clone() };
    Some(Node::new(span, Kind::Table(vec![Entry { key, value: Node::new(span, kind) }])))
}

fn json_table(text: &str, span: &Span, problems: &mut Vec<Diagnostic>) -> Option<Node> {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(json @ serde_json::Value::Object(_)) => Some(Node::of_json(&json, span)),
        Ok(_) => {
            problems.push(Diagnostic::error("extra-vars", span, "variables must be a table"));
            None
        }
        Err(error) => {
            problems.push(Diagnostic::error("extra-vars", span, format!("this is no JSON: {error}")));
            None
        }
    }
}

fn yaml_table(text: &str, span: &Span, problems: &mut Vec<Diagnostic>) -> Option<Node> {
    match serde_saphyr::from_str::<serde_json::Value>(text) {
        Ok(json @ serde_json::Value::Object(_)) => Some(Node::of_json(&json, span)),
        Ok(_) => {
            problems.push(Diagnostic::error("extra-vars", span, "variables must be a table"));
            None
        }
        Err(error) => {
            problems.push(Diagnostic::error("extra-vars", span, format!("this is no YAML: {error}")));
            None
        }
    }
}
