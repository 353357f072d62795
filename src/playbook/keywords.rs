//! The keywords of tasks and plays, and the types of their values.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

use super::Limit;
use crate::module::{Lasting, OneOrMany};

/// Keys of a task that are no module.
pub const TASK: &[&str] = &[
    "name", "when", "loop", "loop_control", "register", "until", "retries", "delay", "notify", "listen", "tags",
    "become", "become_user", "environment", "timeout", "ignore_errors", "changed_when", "failed_when", "check_mode",
    "delegate_to", "run_once", "vars", "no_log", "block", "rescue", "always", "barrier", "throttle", "confirm",
    "include", "role", "meta", "soak",
];

/// Keys of a play.
pub const PLAY: &[&str] = &[
    "name", "hosts", "become", "become_user", "serial", "max_fail", "on_failure", "vars", "vars_files", "environment",
    "timeout", "ignore_errors", "no_log", "check_mode", "tags", "roles", "task", "handler", "health",
];

/// Keys that Ansible has under other names, and what to write here.
pub const ELSEWHERE: &[(&str, &str)] = &[
    ("with_items", "`loop`"),
    ("with_dict", "`loop` with `| dict2items`"),
    ("with_list", "`loop`"),
    ("include_tasks", "`include`"),
    ("import_tasks", "`include`"),
    ("include_role", "`role`"),
    ("import_role", "`role`"),
    ("import_playbook", "name several playbooks on the command line"),
    ("gather_facts", "leave it out: facts are gathered when they are used"),
    ("remote_user", "`-u` or `user` in the inventory"),
    ("tasks", "write one `[[task]]` for each task"),
    ("handlers", "write one `[[handler]]` for each handler"),
    ("pre_tasks", "put these tasks before the others"),
    ("post_tasks", "put these tasks after the others"),
    ("any_errors_fatal", "`max_fail = 0`"),
    ("max_fail_percentage", "`max_fail = \"10%\"`"),
    ("apt", "`package`"),
    ("yum", "`package`"),
    ("dnf", "`package`"),
    ("zypper", "`package`"),
    ("pacman", "`package`"),
    ("apk", "`package`"),
    ("systemd", "`service`"),
    ("systemd_service", "`service`"),
    ("win_command", "Windows hosts are not supported"),
    ("async", "`timeout`"),
    ("args", "write the parameters in the table of the module"),
];

/// Those of them that are another name, and nothing else.
pub const SAME: &[&str] = &["with_list", "include_tasks", "import_tasks", "include_role", "import_role"];

/// The help line for a key of another tool: a name in backticks is what `mutate` has instead.
pub fn help(instead: &str) -> String {
    if instead.starts_with('`') { format!("`mutate` has {instead} for that") } else { instead.to_owned() }
}

/// The keywords of a task, as they are written. Anything that may be a template stays a tree.
#[derive(serde::Deserialize, Default)]
pub struct TaskKeys {
    pub loop_control: Option<LoopControl>,
    pub register: Option<String>,
    pub retries: Option<u32>,
    pub delay: Option<Lasting>,
    pub soak: Option<Lasting>,
    #[serde(default)]
    pub barrier: bool,
    #[serde(default)]
    pub run_once: bool,
    pub throttle: Option<u32>,
    #[serde(default)]
    pub listen: OneOrMany,
    #[serde(default)]
    pub tags: OneOrMany,
    #[serde(rename = "become")]
    pub become_it: Option<bool>,
    pub timeout: Option<Lasting>,
    pub confirm: Option<Lasting>,
    pub check_mode: Option<bool>,
    pub no_log: Option<bool>,
    pub include: Option<String>,
    pub role: Option<String>,
    pub meta: Option<Meta>,
}

#[derive(serde::Deserialize)]
pub struct LoopControl {
    pub loop_var: Option<String>,
    pub index_var: Option<String>,
    /// Read from the tree, since it is a template; here only so that it is known.
    #[serde(rename = "label")]
    pub _label: Option<String>,
}

#[derive(serde::Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Meta {
    FlushHandlers,
    EndHost,
    EndPlay,
    Noop,
    ResetConnection,
    ClearFacts,
}

/// The keywords of a play, as they are written.
#[derive(serde::Deserialize, Default)]
pub struct PlayKeys {
    pub name: Option<String>,
    #[serde(rename = "become")]
    pub become_it: Option<bool>,
    #[serde(default)]
    pub serial: Limits,
    pub max_fail: Option<Limits>,
    #[serde(default)]
    pub on_failure: super::OnFailure,
    #[serde(default)]
    pub vars_files: OneOrMany,
    pub timeout: Option<Lasting>,
    pub no_log: Option<bool>,
    pub check_mode: Option<bool>,
    #[serde(default)]
    pub tags: OneOrMany,
    #[serde(default)]
    pub roles: OneOrMany,
}

/// `3`, `"25%"`, or a list of these.
#[derive(Default)]
pub struct Limits(pub Vec<Limit>);

impl<'de> Deserialize<'de> for Limits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One;
        impl<'de> Visitor<'de> for One {
            type Value = Limits;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of hosts, a share such as \"25%\", or a list of these")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Limits, E> {
                Ok(Limits(vec![Limit::Count(1)]))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Limits, E> {
                let count = u32::try_from(number).map_err(|_| E::custom(format!("{number} is no number of hosts")))?;
                Ok(Limits(vec![Limit::Count(count)]))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Limits, E> {
                let limit = match text.strip_suffix('%') {
                    Some(percent) => percent.parse().ok().filter(|&percent| percent <= 100).map(Limit::Percent),
                    None => text.parse().ok().map(Limit::Count),
                };
                let problem = || E::custom(format!("`{text}` is no number of hosts | write a count such as 3, or a share such as \"25%\""));
                limit.map(|limit| Limits(vec![limit])).ok_or_else(problem)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Limits, A::Error> {
                let mut limits = Vec::new();
                while let Some(one) = items.next_element::<Limits>()? {
                    limits.extend(one.0);
                }
                Ok(Limits(limits))
            }
        }
        deserializer.deserialize_any(One)
    }
}
