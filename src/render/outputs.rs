//! What commands printed on many hosts: equal outputs once, or every line with its host, or what differs from most.

use std::collections::HashMap;
use std::io::Write as _;

use indexmap::IndexMap;
use similar::TextDiff;

use super::{Output, Show, safe};
use crate::event::{Event, HostEnd, Outcome, Piece, RunEnd, Step};
use crate::inventory::folded;

/// How outputs are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// Equal outputs once, below the hosts that gave them.
    #[default]
    Folded,
    /// Each line after the name of its host.
    Labelled,
    /// The lines alone.
    Bare,
    /// The output that most gave, and what the others' differs in.
    Compared,
}

/// What people want to see of outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputView {
    pub form: Form,
    /// Lines are shown as they come, too.
    pub live: bool,
    pub color: bool,
    /// Whoever reads stdout, or stderr, is a program, which gets every byte as it is.
    pub raw: bool,
    pub raw_stderr: bool,
    /// No summary unless something failed.
    pub quiet: bool,
}

/// Shows the outputs of a run.
pub struct Outputs {
    out: Output,
    err: Output,
    view: OutputView,
    places: HashMap<String, usize>,
    several: bool,
    groups: IndexMap<Said, Vec<String>>,
    /// Lines that have not ended yet, by host and stream.
    open: HashMap<(String, bool), Vec<u8>>,
    troubles: IndexMap<(Outcome, String), Vec<String>>,
    told: std::collections::HashSet<String>,
    good: usize,
    hosts: usize,
}

/// What must be equal for two hosts to be shown together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Said {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Outputs {
    pub fn new(out: Output, err: Output, view: OutputView) -> Self {
        Self {
            out,
            err,
            view,
            places: HashMap::new(),
            several: true,
            groups: IndexMap::new(),
            open: HashMap::new(),
            troubles: IndexMap::new(),
            told: std::collections::HashSet::new(),
            good: 0,
            hosts: 0,
        }
    }

    fn styled(&self, text: &str, code: &str) -> String {
        if self.view.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn shown(&self, bytes: &[u8], raw: bool) -> Vec<u8> {
        if raw { bytes.to_vec() } else { safe(bytes).into_bytes() }
    }

    fn label(&self, host: &str, is_stderr: bool) -> String {
        let name = safe(host.as_bytes());
        // Colours are for the stream that they were asked for.
        if is_stderr && self.view.raw_stderr { name } else { self.styled(&name, if is_stderr { "31" } else { "36" }) }
    }

    fn names(hosts: &[String]) -> String {
        safe(folded(hosts.iter().map(String::as_str)).as_bytes())
    }

    /// One line of a host.
    fn line(&mut self, host: &str, is_stderr: bool, line: &[u8]) {
        let text = self.shown(line, if is_stderr { self.view.raw_stderr } else { self.view.raw });
        let label = match self.view.form {
            Form::Bare => String::new(),
            _ if self.several || self.view.form == Form::Labelled => format!("{}: ", self.label(host, is_stderr)),
            _ => String::new(),
        };
        let to = if is_stderr { &mut self.err } else { &mut self.out };
        // A reader that has gone away does not end the run.
        let _gone = to.write_all(label.as_bytes()).and_then(|()| to.write_all(&text)).and_then(|()| to.write_all(b"\n"));
    }

    fn lines(&mut self, host: &str, is_stderr: bool, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        for line in body.split(|byte| *byte == b'\n') {
            self.line(host, is_stderr, line);
        }
    }

    fn piece(&mut self, piece: &Piece) {
        let key = (piece.host.clone(), piece.is_stderr);
        let mut text = self.open.remove(&key).unwrap_or_default();
        text.extend_from_slice(&piece.bytes);
        let Some(end) = text.iter().rposition(|byte| *byte == b'\n') else {
            // A line without end is shown in pieces, so that it does not fill the memory.
            if text.len() > 64 << 10 {
                self.line(&piece.host, piece.is_stderr, &text);
            } else {
                self.open.insert(key, text);
            }
            return;
        };
        let rest = text.split_off(end + 1);
        self.lines(&piece.host, piece.is_stderr, &text);
        if !rest.is_empty() {
            self.open.insert(key, rest);
        }
        self.flush();
    }

    fn flush(&mut self) {
        let _gone = self.out.flush();
        let _gone = self.err.flush();
    }

    fn step(&mut self, step: &Step) {
        for is_stderr in [false, true] {
            if let Some(rest) = self.open.remove(&(step.host.clone(), is_stderr)) {
                self.lines(&step.host, is_stderr, &rest);
            }
        }
        let said = Said { stdout: step.stdout.clone(), stderr: step.stderr.clone() };
        match self.view.form {
            Form::Labelled | Form::Bare if !self.view.live => {
                self.lines(&step.host, false, &said.stdout);
                self.lines(&step.host, true, &said.stderr);
                self.flush();
            }
            Form::Folded | Form::Compared if !said.stdout.is_empty() || !said.stderr.is_empty() => {
                self.groups.entry(said).or_default().push(step.host.clone());
            }
            _ => {}
        }
        if matches!(step.outcome, Outcome::Ok | Outcome::Changed) {
            self.good += 1;
        } else {
            let message = if step.message.is_empty() { format!("it ended with status {}", step.status) } else { step.message.clone() };
            self.trouble(step.outcome, message, &step.host);
        }
    }

    fn trouble(&mut self, outcome: Outcome, message: String, host: &str) {
        self.told.insert(host.to_owned());
        self.troubles.entry((outcome, message)).or_default().push(host.to_owned());
    }

    fn end(&mut self, end: &HostEnd) {
        let is_good = matches!(end.outcome, Outcome::Ok | Outcome::Changed);
        if !is_good && !self.told.contains(&end.host) {
            self.trouble(end.outcome, end.message.clone(), &end.host);
        }
    }

    fn head(&mut self, hosts: &[String], what: &str) {
        let count = if hosts.len() == 1 { String::new() } else { format!(" ({})", hosts.len()) };
        let rule = "-".repeat(15);
        let names = self.styled(&format!("{}{count}{what}", Self::names(hosts)), "1;36");
        let _gone = writeln!(self.out, "{rule}\n{names}\n{rule}");
    }

    fn block(&mut self, said: &Said) {
        for (bytes, mark) in [(&said.stdout, ""), (&said.stderr, "stderr: ")] {
            if bytes.is_empty() {
                continue;
            }
            let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
            for line in body.split(|byte| *byte == b'\n') {
                let text = self.shown(line, self.view.raw);
                let mark = if mark.is_empty() { String::new() } else { self.styled(mark, "31") };
                let _gone = self.out.write_all(mark.as_bytes()).and_then(|()| self.out.write_all(&text)).and_then(|()| self.out.write_all(b"\n"));
            }
        }
    }

    fn report(&mut self) {
        let mut groups: Vec<(Said, Vec<String>)> = std::mem::take(&mut self.groups).into_iter().collect();
        for (_, hosts) in &mut groups {
            hosts.sort_by_key(|host| self.places.get(host).copied().unwrap_or(usize::MAX));
        }
        let place = |hosts: &[String]| hosts.first().and_then(|host| self.places.get(host)).copied().unwrap_or(usize::MAX);
        if self.view.form == Form::Compared {
            // The most hosts first; of equals the first in the inventory.
            groups.sort_by_key(|(_, hosts)| (std::cmp::Reverse(hosts.len()), place(hosts)));
            let mut groups = groups.into_iter();
            let Some((most, hosts)) = groups.next() else { return };
            self.head(&hosts, "");
            self.block(&most);
            for (other, hosts) in groups {
                self.head(&hosts, " differ");
                let (from, to) = (joined(&most), joined(&other));
                let diff = TextDiff::from_lines(&from, &to).unified_diff().context_radius(2).to_string();
                for line in diff.lines() {
                    let code = match line.as_bytes().first() {
                        Some(b'+') => "32",
                        Some(b'-') => "31",
                        _ => "0",
                    };
                    let text = if code == "0" { line.to_owned() } else { self.styled(line, code) };
                    let _gone = writeln!(self.out, "{text}");
                }
            }
            return;
        }
        groups.sort_by_key(|(_, hosts)| place(hosts));
        for (said, hosts) in groups {
            self.head(&hosts, "");
            self.block(&said);
        }
    }

    fn summary(&mut self, end: &RunEnd) {
        let mut troubles: Vec<((Outcome, String), Vec<String>)> = std::mem::take(&mut self.troubles).into_iter().collect();
        for (_, hosts) in &mut troubles {
            hosts.sort_by_key(|host| self.places.get(host).copied().unwrap_or(usize::MAX));
        }
        troubles.sort_by_key(|((outcome, _), hosts)| (*outcome, hosts.first().and_then(|host| self.places.get(host)).copied()));
        let bad: usize = troubles.iter().map(|(_, hosts)| hosts.len()).sum();
        for ((outcome, message), hosts) in troubles {
            let code = if outcome == Outcome::Unreachable { "35" } else { "31" };
            let word = self.styled(&format!("{:<12}", outcome.name()), code);
            let message = safe(message.as_bytes()).replace('\n', "\n             ");
            let _gone = writeln!(self.err, "{word} {}: {message}", Self::names(&hosts));
        }
        if !self.view.quiet && (bad > 0 || self.hosts != 1) {
            let hosts = if self.hosts == 1 { "1 host".to_owned() } else { format!("{} hosts", self.hosts) };
            let failed = if bad > 0 { format!(", {bad} not") } else { String::new() };
            let _gone = writeln!(self.err, "{hosts}: {} done{failed} ({:.2} s)", self.good, end.time.as_secs_f64());
        }
    }
}

fn joined(said: &Said) -> String {
    let mut text = safe(&said.stdout);
    for line in safe(&said.stderr).lines() {
        text.push_str(&format!("stderr: {line}\n"));
    }
    text
}

impl Show for Outputs {
    fn take(&mut self, event: &Event) {
        match event {
            Event::RunStart(start) => {
                self.hosts = start.hosts.len();
                self.several = start.hosts.len() > 1;
                self.places = start.hosts.iter().enumerate().map(|(place, name)| (name.clone(), place)).collect();
            }
            Event::Batch { .. } | Event::HostStart { .. } => {}
            Event::Output(piece) => self.piece(piece),
            Event::Step(step) => self.step(step),
            Event::HostEnd(end) => self.end(end),
            Event::RunEnd(end) => {
                self.report();
                let _gone = self.out.flush();
                self.summary(end);
                self.flush();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::*;
    use crate::event::{RunStart, Totals};

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("nobody panics").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is written for hosts that print these texts.
    fn written(form: Form, said: &[(&str, &str)]) -> String {
        let (out, err) = (Paper::default(), Paper::default());
        let mut outputs = Outputs::new(Box::new(out.clone()), Box::new(err), OutputView { form, ..OutputView::default() });
        let hosts = said.iter().map(|(host, _)| (*host).to_owned()).collect();
        outputs.take(&Event::RunStart(RunStart { run: String::new(), command: "run".into(), hosts, check: false }));
        for (host, text) in said.iter().rev() {
            let step = Step { host: (*host).into(), outcome: Outcome::Changed, stdout: text.as_bytes().to_vec(), ..Step::default() };
            outputs.take(&Event::Step(Box::new(step)));
        }
        outputs.take(&Event::RunEnd(RunEnd { totals: Totals::new(), exit: 0, time: Duration::ZERO }));
        let bytes = out.0.lock().expect("nobody panics").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn equal_outputs_are_shown_once() {
        let text = written(Form::Folded, &[("web1", "a\n"), ("web2", "b\n"), ("web3", "a\n")]);
        assert_eq!(text, "---------------\nweb[1,3] (2)\n---------------\na\n---------------\nweb2\n---------------\nb\n");
    }

    #[test]
    fn every_line_has_its_host() {
        assert_eq!(written(Form::Labelled, &[("web1", "a\nb"), ("web2", "c\x1b[2J\n")]), "web2: c\\x1b[2J\nweb1: a\nweb1: b\n");
    }

    #[test]
    fn what_differs_from_most_is_shown() {
        let text = written(Form::Compared, &[("web1", "a\nx\n"), ("web2", "a\nb\n"), ("web3", "a\nb\n")]);
        assert!(text.starts_with("---------------\nweb[2-3] (2)\n---------------\na\nb\n---------------\nweb1 differ\n"), "{text}");
        assert!(text.contains("-b\n+x\n"), "{text}");
    }
}
