//! The variables that a task sees on a host, level by level.

use std::sync::Arc;

use minijinja::Value;

use super::Input;
use crate::inventory::Settings;
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
        let inventory = input.inventory.layers(name);
        let host = Value::from_pairs([
            ("name", Value::from(name)),
            ("address", Value::from(name)),
            ("groups", input.inventory.hosts.get(name).map(|host| host.groups.iter().map(String::as_str).collect::<Value>()).unwrap_or_default()),
        ]);
        let builtin = Layer::default()
            .with("host", host)
            .with("groups", groups.clone())
            .with("hostvars", host_variables(input))
            .with("run", Value::from_pairs([("id", Value::from(run)), ("check", Value::from(input.options.check))]));
        Self { builtin: Arc::new(builtin), inventory }
    }

    /// Fills in what the connection settings say.
    pub fn with_settings(mut self, name: &str, settings: &Settings, port: u16, user: &str) -> Self {
        let mut builtin = (*self.builtin).clone();
        let groups = match builtin.entries.get("host") {
            Some(Entry::Value(value)) => value.get_attr("groups").unwrap_or_default(),
            _ => Value::from(()),
        };
        let host = Value::from_pairs([
            ("name", Value::from(name)),
            ("address", Value::from(settings.address.as_deref().unwrap_or(name))),
            ("port", Value::from(port)),
            ("user", Value::from(user)),
            ("groups", groups),
        ]);
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

/// `groups.web` is the list of its hosts.
pub fn groups(input: &Input) -> Value {
    let all = ("all".to_owned(), input.inventory.hosts.keys().map(String::as_str).collect::<Value>());
    let groups = input.inventory.groups.iter().map(|(name, group)| (name.clone(), group.hosts.iter().map(String::as_str).collect::<Value>()));
    Value::from_pairs(std::iter::once(all).chain(groups))
}

/// `hostvars.web1.port`: the inventory's variables of any host, read when they are asked for.
fn host_variables(input: &Input) -> Value {
    let hosts: Arc<Vec<(String, Vec<Arc<Layer>>)>> = match HOSTS.with_borrow(|cached| cached.clone()) {
        Some((key, hosts)) if key == std::ptr::from_ref(input) as usize => hosts,
        _ => {
            let hosts: Vec<_> = input.inventory.hosts.keys().map(|name| (name.clone(), input.inventory.layers(name))).collect();
            let hosts = Arc::new(hosts);
            HOSTS.with_borrow_mut(|cached| *cached = Some((std::ptr::from_ref(input) as usize, hosts.clone())));
            hosts
        }
    };
    Value::from_object(HostVariables { hosts })
}

type HostLayers = Arc<Vec<(String, Vec<Arc<Layer>>)>>;

thread_local! {
    /// The layers of all hosts are the same for every host of a run.
    static HOSTS: std::cell::RefCell<Option<(usize, HostLayers)>> = const { std::cell::RefCell::new(None) };
}

#[derive(Debug)]
struct HostVariables {
    hosts: HostLayers,
}

impl minijinja::value::Object for HostVariables {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        let (_, layers) = self.hosts.iter().find(|(host, _)| host == name)?;
        Some(Value::from_object(OneHost { scope: Scope::new(layers.clone()), name: name.to_owned() }))
    }

    fn enumerate(self: &Arc<Self>) -> minijinja::value::Enumerator {
        minijinja::value::Enumerator::Values(self.hosts.iter().map(|(name, _)| Value::from(name.as_str())).collect())
    }
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
