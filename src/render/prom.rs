//! A run in numbers, for the textfile collector of Prometheus's node exporter.

use crate::event::{Event, Outcome, RunEnd, Totals};

/// Takes a run down, for the text at its end.
#[derive(Default)]
pub struct Prom {
    hosts: Totals,
    /// Only in a run that changes nothing: hosts on which something would change.
    drifted: Option<usize>,
    end: Option<RunEnd>,
}

impl Prom {
    pub fn take(&mut self, event: &Event) {
        match event {
            Event::RunStart(start) => self.drifted = start.check.then_some(0),
            Event::HostEnd(end) => {
                *self.hosts.entry(end.outcome).or_default() += 1;
                if let Some(drifted) = &mut self.drifted {
                    *drifted += usize::from(end.totals.contains_key(&Outcome::Changed));
                }
            }
            Event::RunEnd(end) => self.end = Some(end.clone()),
            Event::Step(_) | Event::Batch { .. } | Event::HostStart { .. } | Event::Output(_) => {}
        }
    }

    /// The whole text; `exit` and the time in seconds since 1970 are those of the end.
    pub fn text(&self, playbook: &str, exit: u8, now: f64) -> String {
        let playbook = playbook.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let label = format!("playbook=\"{playbook}\"");
        let mut text = String::new();
        let mut metric = |name: &str, help: &str, rows: Vec<(String, String)>| {
            text.push_str(&format!("# HELP mutate_{name} {help}\n# TYPE mutate_{name} gauge\n"));
            for (labels, value) in rows {
                text.push_str(&format!("mutate_{name}{{{labels}}} {value}\n"));
            }
        };
        let one = |value: String| vec![(label.clone(), value)];
        // To have found drift is what a check is for.
        let good = matches!(exit, 0 | 2);
        metric("last_run_timestamp_seconds", "When the last run ended, in seconds since 1970.", one(format!("{now:.3}")));
        metric("last_run_success", "Whether the last run ended well.", one(u8::from(good).to_string()));
        metric("last_run_exit_code", "The exit code of the last run.", one(exit.to_string()));
        metric("last_run_duration_seconds", "How long the last run took.", one(format!("{:.3}", self.end.as_ref().map_or(0.0, |end| end.time.as_secs_f64()))));
        let by_outcome = |totals: &Totals| Outcome::ALL.iter().map(|outcome| (format!("{label},outcome=\"{}\"", outcome.name()), totals.get(outcome).copied().unwrap_or(0).to_string())).collect();
        metric("hosts", "Hosts of the last run by their outcome.", by_outcome(&self.hosts));
        metric("steps", "Steps of the last run by their outcome.", by_outcome(&self.end.as_ref().map(|end| end.totals.clone()).unwrap_or_default()));
        if let Some(drifted) = self.drifted {
            metric("drift_hosts", "Hosts that differ from the playbook.", one(drifted.to_string()));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{HostEnd, RunStart};

    #[test]
    fn a_check_in_numbers() {
        let mut prom = Prom::default();
        prom.take(&Event::RunStart(RunStart { run: "r".into(), command: "drift".into(), hosts: vec!["a".into(), "b".into()], check: true }));
        for (host, outcome) in [("a", Outcome::Changed), ("b", Outcome::Ok)] {
            prom.take(&Event::HostEnd(Box::new(HostEnd { host: host.into(), outcome, message: String::new(), totals: Totals::from([(outcome, 1)]), obstacle: None, undone: None, pending_handlers: Vec::new() })));
        }
        prom.take(&Event::RunEnd(RunEnd { totals: Totals::from([(Outcome::Changed, 1), (Outcome::Ok, 1)]), exit: 2, time: std::time::Duration::from_millis(1500) }));
        let text = prom.text("a \"b\".toml", 2, 1.5);
        for line in ["mutate_last_run_success{playbook=\"a \\\"b\\\".toml\"} 1", "mutate_last_run_duration_seconds{playbook=\"a \\\"b\\\".toml\"} 1.500", "mutate_drift_hosts{playbook=\"a \\\"b\\\".toml\"} 1", "mutate_hosts{playbook=\"a \\\"b\\\".toml\",outcome=\"changed\"} 1"] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
    }
}
