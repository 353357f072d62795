//! Flags that several commands share.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Where the hosts come from and how to reach them.
#[derive(Args, Clone, Default)]
pub struct Common {
    /// Inventory: a file, a folder, or a list such as `web1,web2,`. May be given several times.
    #[arg(short = 'i', long = "inventory", value_name = "FILE", help_heading = "Hosts")]
    pub inventory: Vec<String>,
    /// Only these of the hosts: a pattern such as `web & !canary`.
    #[arg(short = 'l', long, value_name = "PATTERN", help_heading = "Hosts")]
    pub limit: Vec<String>,
    /// Not these hosts.
    #[arg(short = 'x', long, value_name = "PATTERN", help_heading = "Hosts")]
    pub exclude: Vec<String>,
    /// Variables: `name=value`, or `@file.toml`. They win over all others. May be given several times.
    #[arg(short = 'e', long = "extra-vars", value_name = "VARS", help_heading = "Hosts")]
    pub extra_vars: Vec<String>,

    /// Private key that opens encrypted variables: an age identity or an SSH key. May be given several times. Left out: `MUTATE_IDENTITY`,
    /// the key that `mutate secret init` makes, or the SSH keys in `~/.ssh`.
    #[arg(long, value_name = "FILE", help_heading = "Hosts")]
    pub identity: Vec<PathBuf>,

    /// User to log in as.
    #[arg(short = 'u', long, value_name = "NAME", help_heading = "Connection")]
    pub user: Option<String>,
    /// Private key to log in with.
    #[arg(long, alias = "private-key", value_name = "FILE", help_heading = "Connection")]
    pub key: Option<PathBuf>,
    /// Ask for the password to log in with, once for all hosts.
    #[arg(short = 'k', long, help_heading = "Connection")]
    pub ask_pass: bool,
    /// File whose first line is the password to log in with; a program is run, and prints it.
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    pub password_file: Option<PathBuf>,
    /// The same for the passphrase of encrypted keys.
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    pub passphrase_file: Option<PathBuf>,
    /// OpenSSH configuration to go by, in place of `~/.ssh/config` and the machine's; `none` for no such file.
    #[arg(short = 'F', long, value_name = "FILE", help_heading = "Connection")]
    pub ssh_config: Option<PathBuf>,
    /// Port to connect to.
    #[arg(short = 'p', long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Connection")]
    pub port: Option<u16>,
    /// Longest time for a connection, in seconds.
    #[arg(long, value_name = "SECONDS", help_heading = "Connection")]
    pub connect_timeout: Option<u64>,
    /// How long to ask a host again whose contact was lost amid changes, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, help_heading = "Connection")]
    pub resolve_timeout: u64,
    /// Add host keys that are not known yet to known_hosts. A key that has changed is refused all the same.
    #[arg(long, help_heading = "Connection")]
    pub accept_new_host_keys: bool,
    /// How many hosts to work on at the same time.
    #[arg(short = 'f', long, alias = "fanout", value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..), help_heading = "Connection")]
    pub forks: u16,

    /// Become another user on the hosts.
    #[arg(short = 'b', long = "become", help_heading = "Privilege")]
    pub become_it: bool,
    /// The user to become, `root` unless the playbook says otherwise.
    #[arg(long, value_name = "NAME", help_heading = "Privilege")]
    pub become_user: Option<String>,
    /// The way to become another user.
    #[arg(long, value_enum, value_name = "WAY", help_heading = "Privilege")]
    pub become_method: Option<BecomeMethod>,
    /// Ask for the password to become another user, once for all hosts.
    #[arg(short = 'K', long, help_heading = "Privilege")]
    pub ask_become_pass: bool,
    /// File whose first line is the password to become another user; a program is run, and prints it.
    #[arg(long, value_name = "FILE", help_heading = "Privilege")]
    pub become_password_file: Option<PathBuf>,

    #[command(flatten)]
    pub show: Showing,
}

/// How results are shown.
#[derive(Args, Clone, Default)]
pub struct Showing {
    /// Show more: `-v` what is in place, `-vv` output of commands, `-vvv` everything.
    #[arg(short = 'v', long, action = clap::ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,
    /// Show nothing unless something changed or failed.
    #[arg(short = 'q', long, help_heading = "Output")]
    pub quiet: bool,
    /// For people, or for programs: one JSON document at the end, or one JSON line per event.
    #[arg(long, value_enum, default_value_t, value_name = "FORM", help_heading = "Output")]
    pub output: OutputForm,
    /// Colours.
    #[arg(long, value_enum, default_value_t, value_name = "WHEN", help_heading = "Output")]
    pub color: Color,
    /// Outputs of commands in place of the usual report.
    #[arg(skip)]
    pub outputs: Option<crate::render::OutputView>,
    /// Questions are asked meanwhile, which no line at the bottom may cover.
    #[arg(skip)]
    pub is_asked: bool,
    /// The way to each host in place of the usual report.
    #[arg(skip)]
    pub tells_why: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputForm {
    #[default]
    Human,
    Json,
    Jsonl,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BecomeMethod {
    Sudo,
    Su,
    Doas,
}

impl From<BecomeMethod> for crate::inventory::Method {
    fn from(method: BecomeMethod) -> Self {
        match method {
            BecomeMethod::Sudo => Self::Sudo,
            BecomeMethod::Su => Self::Su,
            BecomeMethod::Doas => Self::Doas,
        }
    }
}
