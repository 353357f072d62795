//! For programs: one document at the end, or one line per event. The fields are a promise; see `docs/output.md`.

use base64::Engine as _;
use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::{Output, Show};
use crate::event::{Event, HostEnd, Outcome, RunStart, Step, Totals};

/// One document at the end of the run.
pub struct Json {
    out: Output,
    start: Option<RunStart>,
    hosts: IndexMap<String, Host>,
}

#[derive(Default)]
struct Host {
    steps: Vec<Value>,
    end: Option<HostEnd>,
}

impl Json {
    pub fn new(out: Output) -> Self {
        Self { out, start: None, hosts: IndexMap::new() }
    }
}

impl Show for Json {
    fn take(&mut self, event: &Event) {
        match event {
            Event::RunStart(start) => {
                self.hosts = start.hosts.iter().map(|name| (name.clone(), Host::default())).collect();
                self.start = Some(start.clone());
            }
            Event::Batch { .. } | Event::HostStart { .. } | Event::Output(_) => {}
            Event::Step(step) => self.hosts.entry(step.host.clone()).or_default().steps.push(Value::Object(fields(step))),
            Event::HostEnd(end) => self.hosts.entry(end.host.clone()).or_default().end = Some((**end).clone()),
            Event::RunEnd(end) => {
                let hosts: Map<String, Value> = std::mem::take(&mut self.hosts)
                    .into_iter()
                    .map(|(name, host)| {
                        let mut fields = host.end.as_ref().map_or_else(unfinished, host_fields);
                        fields.insert("steps".into(), Value::Array(host.steps));
                        (name, Value::Object(fields))
                    })
                    .collect();
                let start = self.start.take();
                let document = json!({
                    "schema": 1,
                    "run": start.as_ref().map_or("", |start| &start.run),
                    "command": start.as_ref().map_or("", |start| &start.command),
                    "exit": end.exit,
                    "seconds": end.time.as_secs_f64(),
                    "totals": every_total(&end.totals),
                    "hosts": hosts,
                });
                let _gone = writeln!(self.out, "{}", on_one_line(&document.to_string()));
                let _gone = self.out.flush();
            }
        }
    }
}

/// One line per event, as it happens.
pub struct JsonLines {
    out: Output,
    run: String,
}

impl JsonLines {
    pub fn new(out: Output) -> Self {
        Self { out, run: String::new() }
    }

    fn line(&mut self, event: &str, more: Map<String, Value>) {
        let mut line = Map::new();
        line.insert("event".into(), event.into());
        line.insert("run".into(), self.run.as_str().into());
        line.extend(more);
        let _gone = writeln!(self.out, "{}", on_one_line(&Value::Object(line).to_string()));
        let _gone = self.out.flush();
    }
}

impl Show for JsonLines {
    fn take(&mut self, event: &Event) {
        let mut more = Map::new();
        match event {
            Event::RunStart(start) => {
                self.run.clone_from(&start.run);
                more.insert("schema".into(), 1.into());
                more.insert("command".into(), start.command.as_str().into());
                more.insert("check".into(), start.check.into());
                more.insert("hosts".into(), start.hosts.clone().into());
                self.line("run_start", more);
            }
            Event::Batch { .. } => {}
            Event::Output(piece) => {
                more.insert("host".into(), piece.host.as_str().into());
                bytes(&mut more, if piece.is_stderr { "stderr" } else { "stdout" }, &piece.bytes);
                self.line("output", more);
            }
            Event::HostStart { host } => {
                more.insert("host".into(), host.as_str().into());
                self.line("host_start", more);
            }
            Event::Step(step) => {
                more.insert("host".into(), step.host.as_str().into());
                more.extend(fields(step));
                self.line(if step.is_handler { "handler" } else { "step" }, more);
            }
            Event::HostEnd(end) => {
                more.insert("host".into(), end.host.as_str().into());
                more.extend(host_fields(end));
                self.line("host_end", more);
            }
            Event::RunEnd(end) => {
                more.insert("exit".into(), end.exit.into());
                more.insert("seconds".into(), end.time.as_secs_f64().into());
                more.insert("totals".into(), every_total(&end.totals));
                self.line("run_end", more);
            }
        }
    }
}

/// JSON lets some line ends of Unicode stand in a text, at which other programs would cut it.
fn on_one_line(json: &str) -> std::borrow::Cow<'_, str> {
    const ENDS: [(char, &str); 3] = [('\u{85}', "\\u0085"), ('\u{2028}', "\\u2028"), ('\u{2029}', "\\u2029")];
    if !json.contains(ENDS.map(|(end, _)| end)) {
        return json.into();
    }
    ENDS.iter().fold(json.to_owned(), |text, (end, escaped)| text.replace(*end, escaped)).into()
}

fn fields(step: &Step) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("task".into(), step.task.as_str().into());
    fields.insert("module".into(), step.module.as_str().into());
    fields.insert("file".into(), step.file.as_str().into());
    fields.insert("line".into(), step.line.into());
    fields.insert("item".into(), step.item.clone().unwrap_or(Value::Null));
    fields.insert("outcome".into(), step.outcome.name().into());
    fields.insert("message".into(), step.message.as_str().into());
    fields.insert("diff".into(), step.diff.as_str().into());
    fields.insert("status".into(), step.status.into());
    bytes(&mut fields, "stdout", &step.stdout);
    bytes(&mut fields, "stderr", &step.stderr);
    if !step.data.is_empty() {
        fields.insert("data".into(), step.data.clone().into());
    }
    fields.insert("seconds".into(), step.time.as_secs_f64().into());
    if let Some(host) = &step.delegated_to {
        fields.insert("delegated_to".into(), host.as_str().into());
    }
    if step.is_health {
        fields.insert("health".into(), true.into());
    }
    if step.is_handler {
        fields.insert("handler".into(), true.into());
    }
    if step.undoes.is_some() {
        fields.insert("undo".into(), true.into());
    }
    if step.forgiven {
        fields.insert("ignored".into(), true.into());
    }
    fields
}

/// Text under its name; bytes that are no UTF-8 in base64 under `…_base64`.
fn bytes(fields: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => fields.insert(name.into(), text.into()),
        Err(_) => fields.insert(format!("{name}_base64"), base64::engine::general_purpose::STANDARD.encode(bytes).into()),
    };
}

fn host_fields(end: &HostEnd) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("outcome".into(), end.outcome.name().into());
    fields.insert("message".into(), end.message.as_str().into());
    let totals: Map<String, Value> =
        Outcome::ALL.iter().filter_map(|outcome| end.totals.get(outcome).map(|&count| (outcome.name().to_owned(), count.into()))).collect();
    fields.insert("totals".into(), Value::Object(totals));
    if let Some(undone) = end.undone {
        fields.insert("rolled_back".into(), undone.name().into());
    }
    if !end.pending_handlers.is_empty() {
        fields.insert("pending_handlers".into(), end.pending_handlers.clone().into());
    }
    fields
}

/// A host that the run was left at: nobody knows how it went on there.
fn unfinished() -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("outcome".into(), Outcome::Unknown.name().into());
    fields.insert("message".into(), "the run was left before this host had ended".into());
    fields.insert("totals".into(), Value::Object(Map::new()));
    fields
}

fn every_total(totals: &Totals) -> Value {
    Value::Object(Outcome::ALL.iter().map(|outcome| (outcome.name().to_owned(), totals.get(outcome).copied().unwrap_or(0).into())).collect())
}
