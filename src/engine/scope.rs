//! The variables that a task sees on a host, level by level.

use std::sync::Arc;

use minijinja::Value;

use super::{Input, Login};
use crate::inventory::{Inventory, Settings};
use crate::playbook::{Play, Task};
use crate::template::{Entry, Layer, Scope, later};

/// The parts of a host's scope that stay the same for the whole run.
#[derive(Clone)]
pub struct HostView {
    /// `host`, `groups`, `hostvars` and `run`.
    pub builtin: Arc<Layer>,
    /// The inventory's layers, the strongest first.
    pub inventory: Vec<Arc<Layer>>,
}

impl HostView {
    pub fn new(input: &Input, name: &str, groups: &Value, run: &str) -> Self {
        let builtin = Layer::default()
            .with("host", host(&input.inventory, name, None))
            .with("groups", groups.clone())
            .with("hostvars", HostVariables::of(input, groups))
            .with("run", Value::from_pairs([("id", Value::from(run)), ("check", Value::from(input.options.check))]));
        Self { builtin: Arc::new(builtin), inventory: input.inventory.layers(name) }
    }

    /// Fills in what the connection settings say.
    pub fn with_settings(mut self, input: &Input, name: &str, settings: &Settings) -> Self {
        let mut builtin = (*self.builtin).clone();
        let host = host(&input.inventory, name, Some((settings, &input.options.login)));
        builtin.entries.insert("host".into(), Entry::Value(host));
        self.builtin = Arc::new(builtin);
        self
    }

    /// The scope before any task: for connection settings and host patterns.
    pub fn scope(&self, input: &Input) -> Arc<Scope> {
        let mut layers = vec![self.builtin.clone(), input.extra.clone()];
        layers.extend(self.inventory.iter().cloned());
        Scope::new(layers)
    }

    /// The scope of a task, the strongest level first: `-e`, loop and task, results, play, inventory, role defaults.
    pub fn task_scope(&self, input: &Input, play: &Play, task: &Task, own: &[Arc<Layer>], results: &[Arc<Layer>]) -> Arc<Scope> {
        let mut layers = vec![self.builtin.clone(), input.extra.clone()];
        layers.extend(own.iter().cloned());
        layers.extend(task.variables.iter().cloned());
        layers.extend(results.iter().cloned());
        layers.extend(play.variables.iter().cloned());
        layers.extend(self.inventory.iter().cloned());
        layers.extend(task.role_defaults.iter().rev().cloned());
        Scope::new(layers)
    }
}

/// What an inventory's texts can see on a host, before there is a run.
pub fn host_scope(input: &Input, name: &str) -> Arc<Scope> {
    let view = HostView::new(input, name, &groups(input), "");
    // Problems with settings are told where a run is prepared.
    let settings = crate::inventory::settings(&input.inventory, name, &view.scope(input), &mut Vec::new());
    view.with_settings(input, name, &settings).scope(input)
}

/// `groups.web` is the list of its hosts.
pub(super) fn groups(input: &Input) -> Value {
    let all = ("all".to_owned(), input.inventory.hosts.keys().map(String::as_str).collect::<Value>());
    let groups = input.inventory.groups.iter().map(|(name, group)| (name.clone(), group.hosts.iter().map(String::as_str).collect::<Value>()));
    Value::from_pairs(std::iter::once(all).chain(groups))
}

/// `hostvars.web1.port`: the inventory's variables of any host, read when they are asked for.
#[derive(Debug)]
struct HostVariables {
    inventory: Arc<Inventory>,
    groups: Value,
    login: Login,
}

impl HostVariables {
    fn of(input: &Input, groups: &Value) -> Value {
        let (inventory, login) = (input.inventory.clone(), input.options.login.clone());
        Value::from_object(Self { inventory, groups: groups.clone(), login })
    }
}

impl minijinja::value::Object for HostVariables {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str().filter(|name| self.inventory.hosts.contains_key(*name))?;
        let layers = self.inventory.layers(name);
        let scope = |host: Value| {
            let builtin = Layer::default().with("host", host).with("groups", self.groups.clone());
            Scope::new(std::iter::once(Arc::new(builtin)).chain(layers.iter().cloned()).collect())
        };
        // What is wrong with them is told where that host is prepared.
        let settings = crate::inventory::settings(&self.inventory, name, &scope(host(&self.inventory, name, None)), &mut Vec::new());
        let scope = scope(host(&self.inventory, name, Some((&settings, &self.login))));
        Some(Value::from_object(OneHost { scope, name: name.to_owned() }))
    }

    fn enumerate(self: &Arc<Self>) -> minijinja::value::Enumerator {
        minijinja::value::Enumerator::Values(self.inventory.hosts.keys().map(|name| Value::from(name.as_str())).collect())
    }
}

/// `host` as templates see it; without settings, as far as it is known before they have been read.
fn host(inventory: &Inventory, name: &str, settings: Option<(&Settings, &Login)>) -> Value {
    let groups = inventory.hosts.get(name).map(|host| host.groups.iter().map(String::as_str).collect::<Value>()).unwrap_or_default();
    let address = settings.and_then(|(settings, _)| settings.address.as_deref()).unwrap_or(name);
    let mut pairs = vec![("name", Value::from(name)), ("address", Value::from(address)), ("groups", groups)];
    if let Some((settings, login)) = settings {
        pairs.push(("port", Value::from(login.port_of(settings))));
        pairs.push(("user", Value::from(login.user_of(settings))));
    }
    Value::from_pairs(pairs)
}

#[derive(Debug)]
struct OneHost {
    scope: Arc<Scope>,
    name: String,
}

impl minijinja::value::Object for OneHost {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        if key == "inventory_hostname" || key == "name" {
            return Some(Value::from(self.name.as_str()));
        }
        if !self.scope.names().iter().any(|name| name == key) {
            return None;
        }
        match self.scope.eval(key) {
            Ok(crate::template::Filled::Now(value)) => Some(value),
            Ok(crate::template::Filled::Later(missing)) if missing.is_only_secrets() => Some(later(format!("hostvars.{}.{key}", self.name))),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> minijinja::value::Enumerator {
        minijinja::value::Enumerator::Values(self.scope.names().into_iter().map(Value::from).collect())
    }
}

/// `facts`, where collectors that have not been asked yet are known later.
pub fn facts_layer(known: &serde_json::Map<String, serde_json::Value>) -> Layer {
    let pairs = super::facts::COLLECTORS.iter().map(|name| {
        let value = match (known.get(*name), *name) {
            (Some(value), _) => crate::template::from_json(value),
            // Its parts are known in advance, so a misspelt one can be told before a run.
            (None, "os") => Value::from_pairs(["family", "name", "version", "codename", "pretty"].map(|part| (part, later(part)))),
            (None, name) => later(name),
        };
        ((*name).to_owned(), value)
    });
    Layer::default().with("facts", Value::from_pairs(pairs))
}
