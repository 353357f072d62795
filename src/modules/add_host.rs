//! `add_host`: a host that the inventory does not have, for later plays.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::inventory::{Destination, is_address, is_user, is_variable_name};
use crate::module::{Answer, Module, NewHost, OneOrMany, Question, Report, Surroundings, Verdict};

/// Make a host known to later plays of the run, such as a machine that a task before has just made.
///
/// Later plays name it, or a group of `groups`, in `hosts`; what stands before the first `{{` tells which names that can be, so begin the
/// name of a group with a word of your own. The hosts are known when the plays before have ended, and only then their tasks can be
/// checked for them. It changes nothing anywhere, and runs in check mode, too. A host that the inventory has keeps its settings and
/// variables, and gets the groups. Of two tasks that add the same host the first one counts. Host keys are judged as for every host:
/// give `host_key`, or use `--accept-new-host-keys`. For `rollback` the host must be in an inventory.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddHost {
    /// Name of the host.
    #[serde(alias = "host", alias = "hostname")]
    name: String,
    /// Groups that it is in from now on.
    #[serde(default, alias = "group", alias = "groupname")]
    groups: OneOrMany,
    /// Where it is, if not at its name.
    address: Option<String>,
    port: Option<u16>,
    /// Whom to log in as.
    user: Option<String>,
    /// Files with private keys, on the controller.
    #[serde(default)]
    key: OneOrMany,
    /// Hosts to go through.
    #[serde(default)]
    jump: OneOrMany,
    /// `ssh` or `local`.
    connection: Option<String>,
    r#become: Option<bool>,
    become_user: Option<String>,
    /// `sudo`, `su` or `doas`.
    become_method: Option<String>,
    /// Its host keys, such as `ssh-ed25519 AAAA…`.
    #[serde(default)]
    host_key: OneOrMany,
    /// Allow old algorithms for this host.
    legacy_ssh: Option<bool>,
    /// Variables of the host.
    #[serde(default)]
    vars: Map<String, Value>,
}

impl AddHost {
    fn settings(&self) -> Map<String, Value> {
        let text = |value: &Option<String>| value.clone().map(Value::from);
        let list = |value: &OneOrMany| (!value.0.is_empty()).then(|| Value::from(value.0.clone()));
        let all = [
            ("address", text(&self.address)),
            ("port", self.port.map(Value::from)),
            ("user", text(&self.user)),
            ("key", list(&self.key)),
            ("jump", list(&self.jump)),
            ("connection", text(&self.connection)),
            ("become", self.r#become.map(Value::from)),
            ("become_user", text(&self.become_user)),
            ("become_method", text(&self.become_method)),
            ("host_key", list(&self.host_key)),
            ("legacy_ssh", self.legacy_ssh.map(Value::from)),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

impl Module for AddHost {
    const NAME: &'static str = "add_host";
    const MAIN: Option<&'static str> = Some("name");

    fn check(&self) -> Result<()> {
        if !is_address(&self.name) {
            bail!("`{}` cannot be the name of a host | a name and its port are apart here: `name`, `port`", self.name.escape_debug());
        }
        super::group_by::check_groups(&self.groups.0)?;
        if let Some(address) = self.address.as_deref().filter(|address| !is_address(address)) {
            bail!("`{}` is no host name and no address", address.escape_debug());
        }
        if let Some(user) = self.user.as_deref().filter(|user| !is_user(user)) {
            bail!("`{}` is no user name", user.escape_debug());
        }
        if let Some(jump) = self.jump.0.iter().find(|jump| Destination::parse(jump).is_none()) {
            bail!("`{}` is no host to go through | write `name`, `user@name` or `user@name:port`", jump.escape_debug());
        }
        if self.connection.as_deref().is_some_and(|connection| !["ssh", "local"].contains(&connection)) {
            bail!("`connection` is `ssh` or `local`");
        }
        if self.become_method.as_deref().is_some_and(|method| !["sudo", "su", "doas"].contains(&method)) {
            bail!("`become_method` is `sudo`, `su` or `doas`");
        }
        if let Some(name) = self.vars.keys().find(|name| !is_variable_name(name)) {
            bail!("`{}` cannot be the name of a variable", name.escape_debug());
        }
        // It has been filled in already, and may come from a host.
        if self.settings().values().any(|value| value.to_string().contains("{{") || value.to_string().contains("{%")) {
            bail!("a setting of a host cannot hold `{{{{` or `{{%`");
        }
        Ok(())
    }

    fn probe(&self, _: &Surroundings) -> Question {
        Question::None
    }

    fn compare(&self, _: &Surroundings, _: &Answer) -> Result<Verdict> {
        let host = NewHost { name: self.name.clone(), groups: self.groups.0.clone(), settings: self.settings(), variables: self.vars.clone() };
        Ok(Verdict::InPlace(Report { host: Some(Box::new(host)), ..Report::default() }))
    }
}

#[cfg(test)]
mod tests {
    use super::AddHost;
    use crate::module::testing::problems;

    #[test]
    fn a_host_has_a_name_and_settings() {
        let wrong = |text: &str| problems::<AddHost>(text);
        assert_eq!(wrong("name = 'new-1.example.com'\ngroups = ['new']\naddress = '10.0.0.7'\nport = 2222\nvars = { a = [1] }"), "");
        assert_eq!(wrong("name = 'a b'"), "`a b` cannot be the name of a host");
        assert_eq!(wrong("name = 'a'\ngroups = 'x y'"), "`x y` cannot be the name of a group");
        assert_eq!(wrong("name = 'a'\naddress = '-oProxyCommand=x'"), "`-oProxyCommand=x` is no host name and no address");
        assert_eq!(wrong("name = 'a'\nvars = { 'a-b' = 1 }"), "`a-b` cannot be the name of a variable");
        assert_eq!(wrong("name = 'a'\nhost_key = '{{ x }}'"), "a setting of a host cannot hold `{{` or `{%`");
    }
}
