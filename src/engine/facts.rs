//! Facts: what a host is. Only the collectors that a playbook names are asked.

use serde_json::{Map, Value, json};

use crate::remote::Library;
use crate::shell::unescaped;
use crate::shell::Script;

/// The sh functions that ask for facts.
pub static LIBRARY: Library = Library { name: "facts", text: include_str!("facts.sh") };

/// Every collector, which is also the first name after `facts.`.
pub const COLLECTORS: &[&str] = &[
    "os", "hostname", "fqdn", "kernel", "arch", "cpus", "memory_mb", "init", "package_manager", "virtual", "python",
    "boot_id", "uptime_seconds", "user", "network", "mounts", "env", "packages", "services",
];

/// The question for some collectors.
pub fn question(collectors: &[String]) -> Script {
    Script::call(std::iter::once("facts_look").chain(collectors.iter().map(String::as_str)))
}

/// The facts in an answer, by collector. A collector that has nothing to say is `null`.
pub fn read(collectors: &[String], answer: &[u8]) -> Map<String, Value> {
    let text = String::from_utf8_lossy(answer);
    let mut facts: Map<String, Value> = collectors.iter().map(|name| (name.clone(), Value::Null)).collect();
    for line in text.lines() {
        let (key, rest) = line.split_once(' ').unwrap_or((line, ""));
        let value = |text: &str| Value::from(String::from_utf8_lossy(&unescaped(text.as_bytes())).into_owned());
        match key {
            "?" => {
                let name = rest.split(' ').next().unwrap_or(rest);
                facts.insert(name.to_owned(), Value::Null);
            }
            "cpus" | "memory_mb" | "uptime_seconds" => {
                facts.insert(key.to_owned(), rest.parse::<u64>().map_or(Value::Null, Value::from));
            }
            "network.interfaces" => interface(table(&mut facts, "network"), rest),
            "network.default_ipv4" | "network.default_ipv6" => {
                let (name, word) = rest.split_once(' ').unwrap_or((rest, ""));
                let key = key.trim_start_matches("network.");
                child(table(&mut facts, "network"), key).insert(name.to_owned(), value(word));
            }
            "mounts" => mount(&mut facts, rest),
            "env" => {
                let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
                table(&mut facts, "env").insert(name.to_owned(), value(text));
            }
            "packages" => {
                let (name, version) = rest.split_once(' ').unwrap_or((rest, ""));
                table(&mut facts, "packages").insert(name.to_owned(), value(version));
            }
            "services.state" => {
                let mut words = rest.split(' ');
                let unit = words.next().unwrap_or_default().to_owned();
                let service = child(table(&mut facts, "services"), &unit);
                service.insert("state".into(), json!(words.next().unwrap_or_default()));
                service.insert("sub_state".into(), json!(words.next().unwrap_or_default()));
            }
            "services.enabled" => {
                let (unit, word) = rest.split_once(' ').unwrap_or((rest, ""));
                child(table(&mut facts, "services"), unit).insert("enabled".into(), json!(word));
            }
            "package_manager" | "virtual" if rest == "none" || rest.is_empty() => {
                facts.insert(key.to_owned(), Value::Null);
            }
            "python" if rest.is_empty() => {
                facts.insert(key.to_owned(), Value::Null);
            }
            _ => match key.split_once('.') {
                Some((collector, name)) => {
                    table(&mut facts, collector).insert(name.to_owned(), value(rest));
                }
                None => {
                    if facts.contains_key(key) {
                        facts.insert(key.to_owned(), value(rest));
                    }
                }
            },
        }
    }
    facts
}

fn table<'a>(facts: &'a mut Map<String, Value>, name: &str) -> &'a mut Map<String, Value> {
    child(facts, name)
}

fn child<'a>(parent: &'a mut Map<String, Value>, name: &str) -> &'a mut Map<String, Value> {
    let entry = parent.entry(name.to_owned()).or_insert_with(|| json!({}));
    if !entry.is_object() {
        *entry = json!({});
    }
    entry.as_object_mut().expect("it has just been made a table")
}

fn interface(network: &mut Map<String, Value>, rest: &str) {
    let mut words = rest.splitn(3, ' ');
    let (name, what, text) = (words.next().unwrap_or_default(), words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let interface = child(child(network, "interfaces"), name);
    match what {
        "up" => {
            interface.insert("up".into(), json!(text == "true"));
        }
        "mtu" => {
            interface.insert("mtu".into(), text.parse::<u64>().map_or(Value::Null, Value::from));
        }
        "ipv4" | "ipv6" => {
            let list = interface.entry(what.to_owned()).or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(json!(text));
            }
        }
        _ => {
            interface.insert(what.to_owned(), json!(text));
        }
    }
}

fn mount(facts: &mut Map<String, Value>, rest: &str) {
    let mut words = rest.splitn(3, ' ');
    let (number, what, text) = (words.next().unwrap_or_default(), words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let Ok(number) = number.parse::<usize>() else { return };
    let list = facts.entry("mounts".to_owned()).or_insert_with(|| json!([]));
    if !list.is_array() {
        *list = json!([]);
    }
    let Some(list) = list.as_array_mut() else { return };
    // Numbers count up from 0 or 1; a host that lies about them gets no more than it has lines.
    while list.len() <= number && list.len() < 10_000 {
        list.push(json!({}));
    }
    let Some(mount) = list.get_mut(number).and_then(Value::as_object_mut) else { return };
    if what == "statfs" {
        let numbers: Vec<u64> = text.split(' ').filter_map(|word| word.parse().ok()).collect();
        if let [block, blocks, _free, available] = numbers[..] {
            mount.insert("size_bytes".into(), json!(block.saturating_mul(blocks)));
            mount.insert("free_bytes".into(), json!(block.saturating_mul(available)));
        }
    } else {
        mount.insert(what.to_owned(), json!(String::from_utf8_lossy(&unescaped(text.as_bytes()))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_becomes_a_table() {
        let names = ["os", "cpus", "network", "user", "python"].map(String::from);
        let answer = b"os.family debian\nos.pretty A\\nB {{ 7 }}\ncpus 2\nnetwork.interfaces eth0 ipv4 10.0.0.1/24\nuser ann\n? python no answer\n";
        let facts = Value::Object(read(&names, answer));
        let expected = json!({
            "os": { "family": "debian", "pretty": "A\nB {{ 7 }}" }, "cpus": 2,
            "network": { "interfaces": { "eth0": { "ipv4": ["10.0.0.1/24"] } } }, "user": "ann", "python": null,
        });
        assert_eq!(facts, expected);
    }
}
