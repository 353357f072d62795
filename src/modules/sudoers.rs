//! `sudoers`: what somebody may do with sudo, in a file of its own, which sudo itself has tested.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::file::{CHANGE, Edited, LOOK, Properties};
use crate::module::{Answer, Mode, Module, OneOrMany, Presence, Question, Surroundings, Touches, Verdict};
use crate::remote::Library;

/// Allow a user or a group commands with sudo, in a file of its own below `/etc/sudoers.d`.
///
/// The file is tested by `visudo` before it is put in place, so that a slip locks nobody out.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sudoers {
    /// Name of the file below `/etc/sudoers.d`. sudo reads none with a dot in its name.
    name: String,
    /// Who is allowed: a user. Either this or `group`.
    user: Option<String>,
    /// Who is allowed: all of a group.
    group: Option<String>,
    /// Commands with their whole paths, or `ALL`.
    #[serde(default)]
    commands: OneOrMany,
    /// As whom, such as `ALL:ALL` or `postgres`. Left out: as root alone.
    runas: Option<String>,
    /// On which host, by its own name. Left out: `ALL`.
    host: Option<String>,
    /// Without asking for a password.
    #[serde(default = "yes")]
    nopassword: bool,
    /// With the environment of the caller.
    #[serde(default)]
    setenv: bool,
    /// `absent` removes the file.
    #[serde(default)]
    state: Presence,
}

fn yes() -> bool {
    true
}

/// Mode of the file: sudo refuses one that others may write.
static MODE: Mode = Mode::Octal(0o440);

impl Module for Sudoers {
    const NAME: &'static str = "sudoers";
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE];

    fn check(&self) -> Result<()> {
        if self.name.is_empty() || self.name.contains(['/', '.', '~', '\n']) {
            bail!("`{}` is no name of a file that sudo reads | letters, digits, `-` and `_`, without a dot", self.name.escape_debug());
        }
        if self.state == Presence::Absent {
            return Ok(());
        }
        match (&self.user, &self.group) {
            (None, None) => bail!("who is allowed that? | set `user` or `group`"),
            (Some(_), Some(_)) => bail!("`user` and `group` exclude each other"),
            _ => {}
        }
        if self.commands.0.is_empty() {
            bail!("what is allowed? | set `commands`, such as `[\"/usr/bin/systemctl restart nginx\"]` or `\"ALL\"`");
        }
        if let Some(command) = self.commands.0.iter().find(|one| !one.starts_with('/') && !one.starts_with("!/") && *one != "ALL" && !one.starts_with("sudoedit ")) {
            bail!("`commands`: `{command}` is no whole path | sudo wants it from `/`");
        }
        let texts = [&self.user, &self.group, &self.runas, &self.host];
        if texts.into_iter().flatten().chain(&self.commands.0).any(|text| text.contains('\n')) {
            bail!("a line break would begin another rule");
        }
        if self.user.iter().chain(&self.group).any(|name| name.contains([',', ' ', '=', '!', '(', ')'])) {
            bail!("`user` and `group` are one name each | make a task for each of several");
        }
        Ok(())
    }

    fn touches(&self, _: &Surroundings) -> Touches {
        Touches::Path(self.path())
    }

    fn probe(&self, _: &Surroundings) -> Question {
        Question::Ask(self.edited(&self.path()).probe())
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let path = self.path();
        match self.state {
            Presence::Absent => self.edited(&path).gone(answer),
            Presence::Present => self.edited(&path).verdict(around, answer, |_| Ok(self.rule().into_bytes())),
        }
    }
}

impl Sudoers {
    fn path(&self) -> String {
        format!("/etc/sudoers.d/{}", self.name)
    }

    fn edited<'a>(&self, path: &'a str) -> Edited<'a> {
        // sudo reads no file that belongs to somebody else.
        let properties = Properties { mode: Some(&MODE), owner: Some("root"), group: None };
        Edited { create: true, validate: Some("visudo -cf %s"), ..Edited::new(path, properties) }
    }

    fn rule(&self) -> String {
        let who = match (&self.user, &self.group) {
            (Some(user), _) => user.clone(),
            (None, group) => format!("%{}", group.as_deref().unwrap_or_default()),
        };
        let host = self.host.as_deref().unwrap_or("ALL");
        let runas = self.runas.as_ref().map_or_else(String::new, |user| format!("({user}) "));
        let tags = format!("{}{}", if self.nopassword { "NOPASSWD:" } else { "" }, if self.setenv { "SETENV:" } else { "" });
        let tags = if tags.is_empty() { tags } else { format!("{tags} ") };
        // A comma would begin another command.
        let commands: Vec<String> = self.commands.0.iter().map(|command| command.replace("\\,", ",").replace(',', "\\,")).collect();
        format!("{who} {host}={runas}{tags}{}\n", commands.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::Sudoers;
    use crate::module::testing::{problems, verdict};

    #[test]
    fn a_rule_is_tested_before_it_is_in_place() {
        let text = verdict::<Sudoers>("name = 'deploy'\nuser = 'deploy'\ncommands = ['/bin/a', '/bin/b x']", 0, "absent\n");
        assert!(text.contains("'deploy ALL=NOPASSWD: /bin/a, /bin/b x\\n'") && text.contains("'visudo -cf %s'") && text.contains("'0440'"), "{text}");
        let text = verdict::<Sudoers>("name = 'ops'\ngroup = 'ops'\ncommands = 'ALL'\nnopassword = false\nrunas = 'root'", 0, "absent\n");
        assert!(text.contains("'%ops ALL=(root) ALL\\n'"), "{text}");
    }

    #[test]
    fn what_sudo_would_not_read_is_refused() {
        assert!(problems::<Sudoers>("name = 'a.b'\nuser = 'x'\ncommands = 'ALL'").contains("is no name of a file that sudo reads"));
        assert!(problems::<Sudoers>("name = 'a'\nuser = 'x'\ncommands = 'reboot'").contains("is no whole path"));
    }
}
