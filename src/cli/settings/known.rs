//! What may be set, what may not, and why not.

use Kind::{Amount, Flag, Inventory, Number, Path, PathOrNone, Paths, Text, Whom};

/// A flag that may be set.
pub struct Known {
    /// As the flag is called.
    pub name: &'static str,
    pub kind: Kind,
    /// It decides only how results are shown and who hears of them.
    pub shows: bool,
    /// It belongs to a run, and counts when that is continued.
    pub lasts: bool,
    /// Flags that say otherwise by another name.
    pub yields_to: &'static [&'static str],
}

/// What a value is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Flag,
    Number,
    /// A number, or text such as `10m` or `25%`.
    Amount,
    Text,
    Path,
    /// Paths, with `:` between them where they stand in the environment.
    Paths,
    /// A path, or `none`.
    PathOrNone,
    /// A path, or a list of hosts such as `web1,web2,`.
    Inventory,
    /// A command or a URL, which may hold a token.
    Whom,
}

const fn acts(name: &'static str, kind: Kind) -> Known {
    Known { name, kind, shows: false, lasts: true, yields_to: &[] }
}

const fn shows(name: &'static str, kind: Kind) -> Known {
    Known { name, kind, shows: true, lasts: false, yields_to: &[] }
}

/// All that may be set, in the order in which it is shown.
pub const KNOWN: &[Known] = &[
    acts("inventory", Inventory),
    acts("identity", Paths),
    acts("user", Text),
    acts("key", Path),
    Known { yields_to: &["ask-pass"], ..acts("password-file", Path) },
    acts("passphrase-file", Path),
    acts("ssh-config", PathOrNone),
    acts("port", Number),
    acts("connect-timeout", Number),
    acts("resolve-timeout", Number),
    acts("forks", Number),
    acts("become", Flag),
    acts("become-user", Text),
    acts("become-method", Text),
    Known { yields_to: &["ask-become-pass"], ..acts("become-password-file", Path) },
    acts("timeout", Number),
    acts("max-fail", Amount),
    acts("wait-lock", Amount),
    // Whoever continues a run does not wait for it.
    Known { lasts: false, ..acts("splay", Amount) },
    shows("output", Text),
    shows("color", Text),
    Known { yields_to: &["quiet"], ..shows("verbose", Number) },
    shows("diff", Flag),
    shows("junit", Path),
    shows("prom", Path),
    shows("notify", Whom),
    acts("ignore", Text),
    acts("ignore-file", Paths),
    acts("no-blame", Flag),
    shows("fold", Flag),
    shows("label", Flag),
    shows("no-label", Flag),
    shows("stream", Flag),
    acts("serial", Amount),
    acts("health", Text),
    acts("security", Flag),
    acts("rollback", Flag),
    acts("no-reboot", Flag),
    acts("no-restart", Flag),
];

impl Known {
    /// Whether a command has this flag in this meaning.
    pub fn is_for(&self, command: &str) -> bool {
        // A file to write to; whose runs to list.
        !matches!((self.name, command), ("output", "secret") | ("user", "history"))
    }

    /// Whether it also counts for this command where it is set for all.
    pub fn is_for_all(&self, command: &str) -> bool {
        // There it compares outputs.
        self.is_for(command) && !matches!((self.name, command), ("diff", "run" | "script"))
    }
}

/// The setting of this name.
pub fn known(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name)
}

/// The environment variable of a setting.
pub fn variable(name: &str) -> String {
    format!("MUTATE_{}", name.to_uppercase().replace('-', "_"))
}

/// Why something that could be meant is no setting.
pub fn refusal(name: &str) -> Option<&'static str> {
    Some(match name {
        "yes" | "force" | "step" => "a question is answered by whoever is asked it: give the flag where it is meant",
        "check" => "whether anything is changed is said by each run: use `-C`, `mutate plan` or `mutate drift`",
        "ask-pass" | "password" => "name a file that only you can read, or a program that prints it, with `password-file`",
        "ask-become-pass" | "become-password" => "name a file that only you can read, or a program that prints it, with `become-password-file`",
        "passphrase" => "name a file that only you can read, or a program that prints it, with `passphrase-file`",
        "extra-vars" => "put variables into the inventory or the playbook, and secrets into an encrypted file (`mutate secret`)",
        "accept-new-host-keys" => "look at new keys, and add them, with `mutate hostkeys`",
        "limit" | "exclude" => "which hosts a run is for is said by each run; make a group of them in the inventory",
        "journal" => "name it in the environment, in `MUTATE_JOURNAL`: what is continued later must find it, and its address may hold a password",
        "shard" | "run-id" => "which part of a run a job does is said by each job (docs/scale.md)",
        "cron" => "`mutate schedule` adds it to what cron runs",
        "detailed-exitcode" | "json" | "quiet" => "whoever reads what comes out asks for it: give the flag where it is meant",
        _ => return None,
    })
}
