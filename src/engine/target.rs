//! How each host is reached: what the command line says, then the inventory, then OpenSSH's configuration.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Input;
use crate::diag::Diagnostic;
use crate::inventory::{Connection, Destination, Settings};
use crate::remote::{Agent, Algorithms, Alive, HostKey, Identity, Method, Route, Target};
use crate::secret::{Secret, secret_of_file};
use crate::ssh_config::{Answer, Question, Tokens};

/// Jump hosts one behind the other.
const DEEPEST: usize = 8;
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Makes the targets of a run.
pub(super) struct Targets<'a> {
    input: &'a Input,
    answers: HashMap<Question, Answer>,
    /// Files with passwords, each read once.
    secrets: HashMap<PathBuf, Option<Secret>>,
    local_host: String,
    problems: &'a mut Vec<Diagnostic>,
}

/// A host before it is known how to reach it.
struct Draft<'a> {
    name: &'a str,
    /// As `ssh` would be told.
    address: &'a str,
    user: Option<&'a str>,
    port: Option<u16>,
    settings: &'a Settings,
    /// The command line means it, and not a host on the way to it.
    is_meant: bool,
}

impl<'a> Targets<'a> {
    /// Asks OpenSSH's configuration about all of these hosts together.
    pub fn new<'b>(input: &'a Input, hosts: impl Iterator<Item = (&'b str, &'b Settings)>, problems: &'a mut Vec<Diagnostic>) -> Self {
        let login = &input.options.login;
        let questions: Vec<Question> = hosts
            .filter(|(_, settings)| settings.connection == Connection::Ssh)
            .map(|(name, settings)| Question {
                host: settings.address.clone().unwrap_or_else(|| name.to_owned()),
                user: login.user.clone().or_else(|| settings.user.clone()),
                port: login.port.or(settings.port),
            })
            .collect();
        let answers = input.ssh_config.answers(&questions).unwrap_or_else(|reason| {
            problems.push(Diagnostic::general("ssh-config", reason).help("name another file with `--ssh-config FILE`, or none with `--ssh-config none`"));
            HashMap::new()
        });
        let local_host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Self { input, answers, secrets: HashMap::new(), local_host, problems }
    }

    /// How to reach a host of the inventory.
    pub fn of(&mut self, name: &str, settings: &Settings) -> Target {
        let login = &self.input.options.login;
        let draft = Draft {
            name,
            address: settings.address.as_deref().unwrap_or(name),
            user: login.user.as_deref().or(settings.user.as_deref()),
            port: login.port.or(settings.port),
            settings,
            is_meant: true,
        };
        self.target(&draft, None, 0)
    }

    /// The host's own password to become another user, where the inventory has one.
    pub fn become_password(&mut self, name: &str, settings: &Settings) -> Option<Secret> {
        if let Some(password) = &settings.become_password {
            return Some(password.clone());
        }
        let path = settings.become_password_file.as_ref()?;
        self.secret(name, "become_password_file", path)
    }

    fn secret(&mut self, name: &str, setting: &str, path: &Path) -> Option<Secret> {
        let path = self.at_home(&path.to_string_lossy());
        if let Some(known) = self.secrets.get(&path) {
            return known.clone();
        }
        let secret = secret_of_file(&path).map_err(|reason| {
            self.problems.push(Diagnostic::general("read", format!("`{setting}` of `{name}`: `{}`: {reason}", path.display())));
        });
        self.secrets.insert(path, secret.as_ref().ok().cloned());
        secret.ok()
    }

    fn at_home(&self, path: &str) -> PathBuf {
        match path.strip_prefix("~/") {
            Some(rest) => self.input.options.login.home.join(rest),
            None => path.into(),
        }
    }

    fn answer(&mut self, question: &Question) -> Answer {
        if let Some(answer) = self.answers.get(question) {
            return answer.clone();
        }
        // A jump host; a problem with the files has been told already.
        let answer = self.input.ssh_config.answers(std::slice::from_ref(question)).ok().and_then(|mut answers| answers.remove(question)).unwrap_or_default();
        self.answers.insert(question.clone(), answer.clone());
        answer
    }

    /// `before` is the way that the host before it in a chain has already made.
    fn target(&mut self, draft: &Draft<'_>, before: Option<Arc<Target>>, depth: usize) -> Target {
        let settings = draft.settings;
        let login = &self.input.options.login;
        let question = Question { host: draft.address.to_owned(), user: draft.user.map(str::to_owned), port: draft.port };
        let said = match settings.connection {
            Connection::Ssh => self.answer(&question),
            Connection::Local => Answer::default(),
        };
        let address = said.host_name.clone().unwrap_or_else(|| draft.address.to_owned());
        let user = draft.user.map(str::to_owned).or(said.user.clone()).unwrap_or_else(|| login.local_user.clone());
        let port = draft.port.or(said.port).unwrap_or(22);
        let jumps = said.proxy_jump.join(",");
        let (local_user, home, local_host) = (login.local_user.clone(), login.home.clone(), self.local_host.clone());
        let tokens = Tokens {
            host: &address,
            original: draft.address,
            key_name: said.host_key_alias.as_deref().unwrap_or(draft.address),
            port,
            user: &user,
            local_user: &local_user,
            local_host: &local_host,
            jump: &jumps,
            home: &home,
        };
        if let Some(name) = said.host_name.as_deref().filter(|name| !crate::inventory::is_address(name)) {
            self.refuse(draft.name, &format!("`HostName {}` is no host name and no address", name.escape_debug()));
        }
        if let Some(name) = said.user.as_deref().filter(|name| !crate::inventory::is_user(name)) {
            self.refuse(draft.name, &format!("`User {}` is no user name", name.escape_debug()));
        }
        let route = match before {
            Some(jump) => Route::Through(jump),
            None => self.route(draft, &said, &tokens, depth),
        };
        let host_key = self.host_key(draft, &said, &tokens);
        let identity = self.identity(draft, &said, &tokens);
        let login = &self.input.options.login;
        Target {
            name: draft.name.to_owned(),
            method: match settings.connection {
                Connection::Ssh => Method::Ssh,
                Connection::Local => Method::Local,
            },
            route,
            identity,
            host_key,
            legacy: settings.legacy_ssh,
            algorithms: Algorithms { kex: said.kex, host_key: said.host_key_algorithms, ciphers: said.ciphers, macs: said.macs, signatures: said.signatures },
            connect_timeout: login
                .connect_timeout
                .or(settings.connect_timeout)
                .or(said.connect_timeout_seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs))
                .unwrap_or(CONNECT_LIMIT),
            alive: Alive {
                // A server that is never asked would be waited for for ever, so 0 means our own.
                interval: said.alive_interval_seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs).or(Alive::default().interval),
                count: said.alive_count.filter(|count| *count > 0).unwrap_or(Alive::default().count),
            },
            address,
            port,
            user,
        }
    }

    fn refuse(&mut self, name: &str, reason: &str) {
        let message = format!("the ssh configuration for `{name}`: {reason}");
        if self.problems.iter().all(|known| known.message != message) {
            self.problems.push(Diagnostic::general("ssh-config", message));
        }
    }

    fn route(&mut self, draft: &Draft<'_>, said: &Answer, tokens: &Tokens<'_>, depth: usize) -> Route {
        let written = !draft.settings.jump.is_empty();
        let chain = if written { &draft.settings.jump } else { &said.proxy_jump };
        if chain.is_empty() {
            let Some(command) = &said.proxy_command else { return Route::Direct };
            return match tokens.command(command) {
                Ok(command) => Route::Command(command),
                Err(reason) => {
                    self.refuse(draft.name, &reason);
                    Route::Direct
                }
            };
        }
        if depth >= DEEPEST {
            self.problems.push(Diagnostic::general("jump", format!("the way to `{}` goes through more than {DEEPEST} jump hosts, or in a circle", draft.name)));
            return Route::Direct;
        }
        let mut way: Option<Arc<Target>> = None;
        for word in chain {
            let Some(jump) = Destination::parse(word) else {
                // The inventory's own words have been checked where they stand.
                if !written {
                    self.refuse(draft.name, &format!("`ProxyJump {}` names no host", word.escape_debug()));
                }
                continue;
            };
            // A group goes through one of its own: that one is reached directly.
            if jump.host == draft.name || jump.host == draft.address {
                continue;
            }
            way = Some(Arc::new(self.jump(&jump, way, depth + 1)));
        }
        way.map_or(Route::Direct, Route::Through)
    }

    /// A host on the way: as the inventory knows it, or as `ssh` would.
    fn jump(&mut self, jump: &Destination, before: Option<Arc<Target>>, depth: usize) -> Target {
        let settings = if self.input.inventory.hosts.contains_key(&jump.host) {
            let scope = super::host_scope(self.input, &jump.host);
            crate::inventory::settings(&self.input.inventory, &jump.host, &scope, self.problems)
        } else {
            Settings::default()
        };
        let draft = Draft {
            name: &jump.host,
            address: settings.address.as_deref().unwrap_or(&jump.host),
            user: jump.user.as_deref().or(settings.user.as_deref()),
            port: jump.port.or(settings.port),
            settings: &settings,
            is_meant: false,
        };
        self.target(&draft, before, depth)
    }

    fn host_key(&mut self, draft: &Draft<'_>, said: &Answer, tokens: &Tokens<'_>) -> HostKey {
        let login = &self.input.options.login;
        let usual = [login.home.join(".ssh/known_hosts"), login.home.join(".ssh/known_hosts2")];
        let machine = ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"].map(PathBuf::from);
        let accepts = login.accept_new_host_keys;
        let named = |files: &Option<Vec<String>>, usual: &[PathBuf]| -> Result<Vec<PathBuf>, String> {
            match files {
                None => Ok(usual.to_vec()),
                Some(files) => files.iter().filter(|file| !file.eq_ignore_ascii_case("none")).map(|file| tokens.path(file)).collect(),
            }
        };
        let (user, machine) = match (named(&said.user_known_hosts, &usual), named(&said.global_known_hosts, &machine)) {
            (Ok(user), Ok(machine)) => (user, machine),
            (Err(reason), _) | (_, Err(reason)) => {
                self.refuse(draft.name, &reason);
                return HostKey::default();
            }
        };
        // There is no way to switch the check off: `no` is read as `accept-new`, so a key that has changed is refused.
        let accepts = accepts || said.strict.as_deref().is_some_and(|word| ["accept-new", "no"].contains(&word));
        HostKey {
            pinned: draft.settings.host_key.clone(),
            accept_new: user.first().filter(|_| accepts).cloned(),
            own_file: user.first().cloned(),
            files: user.into_iter().chain(machine).collect(),
            alias: said.host_key_alias.clone(),
        }
    }

    fn identity(&mut self, draft: &Draft<'_>, said: &Answer, tokens: &Tokens<'_>) -> Identity {
        let settings = draft.settings;
        let login = &self.input.options.login;
        let mut keys: Vec<PathBuf> = settings.key.iter().map(|key| self.at_home(key)).collect();
        if let Some(key) = login.key.as_ref().filter(|_| draft.is_meant || keys.is_empty()) {
            keys = vec![key.clone()];
        }
        let is_ours = !keys.is_empty();
        let mut wrong = Vec::new();
        let mut paths = |texts: &[String]| -> Vec<PathBuf> { texts.iter().filter_map(|text| tokens.path(text).map_err(|reason| wrong.push(reason)).ok()).collect() };
        if !is_ours {
            keys = paths(&said.identity_files);
        }
        let certificates = paths(&said.certificate_files);
        let agent = match said.identity_agent.as_deref() {
            None | Some("SSH_AUTH_SOCK") => Agent::Usual,
            Some(word) if word.eq_ignore_ascii_case("none") => Agent::None,
            Some(word) => match word.strip_prefix('$').filter(|name| !name.starts_with('{')) {
                Some(variable) => std::env::var_os(variable).map_or(Agent::None, |path| Agent::At(path.into())),
                None => paths(&[word.to_owned()]).pop().map_or(Agent::None, Agent::At),
            },
        };
        for reason in wrong {
            self.refuse(draft.name, &reason);
        }
        let password = match (&settings.password, &settings.password_file) {
            // The command line means the hosts that it names, not those on the way.
            _ if draft.is_meant && self.input.options.login.password.is_some() => self.input.options.login.password.clone(),
            (Some(password), _) => Some(password.clone()),
            (None, Some(path)) => self.secret(draft.name, "password_file", &path.clone()),
            (None, None) => None,
        };
        Identity {
            keys,
            must_be_there: is_ours,
            only: is_ours || said.identities_only,
            certificates,
            agent,
            password,
            no_public_key: said.no_public_key,
            no_password: said.no_password,
            no_keyboard: said.no_keyboard,
        }
    }
}
