//! `history --graph`: runs under each other, with what became of their hosts, and lines from a run to the one that it undoes or continues.

use super::history::playbooks;
use crate::event::Outcome;
use crate::journal::{Host, Run};
use crate::render::safe;

/// One letter for each host, up to so many; of more hosts a letter stands for several.
const LETTERS: usize = 40;

/// How it is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub color: bool,
    /// Only letters that any terminal has.
    pub plain: bool,
}

/// Runs, the newest first, with their hosts, as text.
pub fn graph(runs: &[(Run, Vec<Host>)], style: Style) -> String {
    let mut lanes = Lanes::default();
    let known = |id: &str| runs.iter().any(|(run, _)| run.id == id);
    let mut text = String::new();
    let mut day = "";
    let width = runs.iter().map(|(_, hosts)| hosts.len()).max().unwrap_or(0).min(LETTERS);
    for (run, hosts) in runs {
        let (date, time) = (run.started.get(..10).unwrap_or_default(), run.started.get(11..16).unwrap_or_default());
        if date != day {
            day = date;
            text.push_str(&format!("{}{}\n", paint(date, "1", style), lanes.passing(style)));
        }
        let target = run.undoes.as_deref().or_else(|| run.reason.strip_prefix("continues ")).filter(|id| known(id));
        let (sign, code) = sign(run);
        let line = lanes.row(&run.id, target);
        let drawn = format!("{}{}", paint(if style.plain { sign.0 } else { sign.1 }, code, style), in_style(&line, style));
        let bar = bar(hosts, style);
        let gap = " ".repeat(width.saturating_sub(hosts.len().min(LETTERS)));
        let mut words = vec![run.command.clone()];
        let files = playbooks(run);
        if !files.is_empty() {
            words.push(files.join(" "));
        }
        words.push(match run.exit {
            Some(exit) => format!("exit {exit}"),
            None => "never ended".to_owned(),
        });
        if hosts.len() > LETTERS {
            words.push(format!("{} hosts", hosts.len()));
        }
        words.push(format!("{:.1} s", run.seconds));
        words.push(run.who.clone());
        if !run.reason.is_empty() {
            words.push(format!("\"{}\"", run.reason.replace('\n', " ")));
        }
        // The end of a name is what tells runs apart.
        let short = run.id.get(run.id.len().saturating_sub(8)..).unwrap_or(&run.id);
        text.push_str(&format!("{drawn} {time} {short}  {bar}{gap}  {}\n", safe(words.join("  ").as_bytes())));
    }
    text.push_str(&format!("{}\n", legend(style)));
    text
}

/// What a run is drawn as, plain and not, and its colour.
fn sign(run: &Run) -> ((&'static str, &'static str), &'static str) {
    let any = |names: &[&str]| names.iter().any(|name| run.totals.get(*name).and_then(serde_json::Value::as_u64).unwrap_or(0) > 0);
    match run.exit {
        None => (("?", "?"), "31"),
        Some(0 | 2) if run.command == "drift" => if run.exit == Some(2) { (("~", "≠"), "33") } else { (("=", "="), "32") },
        Some(4..=7 | 9) => (("!", "✗"), "31"),
        Some(_) if any(&["failed", "unreachable", "unknown"]) => (("!", "✗"), "31"),
        Some(_) if any(&["changed"]) => (("*", "●"), "33"),
        Some(_) => (("o", "○"), "32"),
    }
}

/// A letter for each host, equal ones beside each other.
fn bar(hosts: &[Host], style: Style) -> String {
    let kinds: [(&str, &str, &[&str]); 5] = [("!", "31", &["failed", "unknown"]), ("x", "35", &["unreachable"]), ("+", "33", &["changed"]), (".", "32", &["ok"]), ("-", "36", &[])];
    let known: Vec<&str> = kinds.iter().flat_map(|(.., names)| names.iter().copied()).collect();
    let mut text = String::new();
    for (letter, code, names) in kinds {
        let count = hosts.iter().filter(|host| if names.is_empty() { !known.contains(&host.outcome.as_str()) } else { names.contains(&host.outcome.as_str()) }).count();
        // Where there are more hosts than letters, the rarest outcome still has one.
        let letters = if hosts.len() <= LETTERS { count } else { (count * LETTERS / hosts.len()).max(usize::from(count > 0)) };
        if letters > 0 {
            text.push_str(&paint(&letter.repeat(letters), code, style));
        }
    }
    text
}

fn legend(style: Style) -> String {
    let names = |outcome: Outcome| outcome.name();
    paint(&format!("one letter a host: + {}, . {}, ! {} or {}, x {}", names(Outcome::Changed), names(Outcome::Ok), names(Outcome::Failed), names(Outcome::Unknown), names(Outcome::Unreachable)), "2", style)
}

fn paint(text: &str, code: &str, style: Style) -> String {
    if style.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

fn in_style(line: &str, style: Style) -> String {
    if !style.plain {
        return line.to_owned();
    }
    line.chars().map(|letter| match letter { '│' => '|', '─' => '-', '╮' => '.', '╯' => '\'', '┤' => '|', '┼' => '+', other => other }).collect()
}

/// Lines that lead down from a run to an older one.
#[derive(Default)]
struct Lanes {
    to: Vec<Option<String>>,
}

impl Lanes {
    /// The lanes beside a run: those that end at it, and the one that begins there.
    fn row(&mut self, run: &str, target: Option<&str>) -> String {
        let ends: Vec<usize> = self.to.iter().enumerate().filter(|(_, to)| to.as_deref() == Some(run)).map(|(at, _)| at).collect();
        let begins = target.map(|target| {
            let free = self.to.iter().position(Option::is_none).unwrap_or(self.to.len());
            if free == self.to.len() {
                self.to.push(None);
            }
            (free, target)
        });
        let last = ends.iter().copied().chain(begins.map(|(at, _)| at)).max();
        let mut text = String::new();
        for at in 0..self.to.len() {
            let is_left = last.is_some_and(|last| at < last);
            let letter = match () {
                () if begins.is_some_and(|(new, _)| new == at) => '╮',
                () if ends.contains(&at) => '╯',
                () if self.to[at].is_some() && is_left => '┼',
                () if self.to[at].is_some() => '│',
                () if is_left => '─',
                () => ' ',
            };
            text.push(if last.is_some_and(|last| at <= last) { '─' } else { ' ' });
            text.push(letter);
        }
        for at in ends {
            self.to[at] = None;
        }
        if let Some((at, target)) = begins {
            self.to[at] = Some(target.to_owned());
        }
        while self.to.last().is_some_and(Option::is_none) {
            self.to.pop();
        }
        text
    }

    /// The lanes beside a line that is no run, after ten letters of text.
    fn passing(&self, style: Style) -> String {
        if self.to.is_empty() {
            return String::new();
        }
        in_style(&format!("  {}", self.to.iter().map(|to| if to.is_some() { "│ " } else { "  " }).collect::<String>().trim_end()), style)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: &str, command: &str, exit: Option<u8>, changed: u64, undoes: Option<&str>, reason: &str) -> Run {
        let totals = serde_json::json!({ "changed": changed }).as_object().cloned().unwrap_or_default();
        Run {
            id: id.into(), command: command.into(), started: format!("2026-11-2{}T04:12:09Z", &id[..1]), ended: exit.map(|_| String::new()), who: "ann@laptop".into(),
            reason: reason.into(), arguments: vec![command.into(), "web.toml".into()], files: vec![("web.toml".into(), String::new())], undoes: undoes.map(str::to_owned),
            exit, seconds: 1.5, totals, shards: Vec::new(), of_shards: 1,
        }
    }

    fn hosts(outcomes: &[(&str, usize)]) -> Vec<Host> {
        let host = |outcome: &str| Host { host: "h".into(), outcome: outcome.into(), message: String::new(), totals: serde_json::Map::new() };
        outcomes.iter().flat_map(|(outcome, count)| (0..*count).map(|_| host(outcome))).collect()
    }

    #[test]
    fn lines_lead_from_what_undoes_to_what_is_undone() {
        let runs = [
            (run("6E", "rollback", Some(0), 1, Some("5B"), ""), hosts(&[("changed", 1)])),
            (run("6D", "apply", Some(4), 0, None, "continues 5A"), hosts(&[("failed", 1), ("ok", 2)])),
            (run("6C", "drift", Some(2), 2, None, ""), hosts(&[("changed", 2)])),
            (run("5B", "apply", Some(0), 0, None, ""), hosts(&[("ok", 3)])),
            (run("5A", "apply", None, 0, None, "hotfix\n1"), hosts(&[])),
        ];
        let drawn = graph(&runs, Style { color: false, plain: false });
        let wanted = "2026-11-26\n\
            ●─╮ 04:12 6E  +    rollback  web.toml  exit 0  1.5 s  ann@laptop\n\
            ✗─┼─╮ 04:12 6D  !..  apply  web.toml  exit 4  1.5 s  ann@laptop  \"continues 5A\"\n\
            ≠ │ │ 04:12 6C  ++   drift  web.toml  exit 2  1.5 s  ann@laptop\n\
            2026-11-25  │ │\n\
            ○─╯ │ 04:12 5B  ...  apply  web.toml  exit 0  1.5 s  ann@laptop\n\
            ?───╯ 04:12 5A       apply  web.toml  never ended  1.5 s  ann@laptop  \"hotfix 1\"\n\
            one letter a host: + changed, . ok, ! failed or unknown, x unreachable\n";
        assert_eq!(drawn, wanted, "\n{drawn}");
        let plain = graph(&runs, Style { color: false, plain: true });
        assert!(plain.is_ascii() && plain.contains("*-. 04:12") && plain.contains("!-+-. 04:12") && plain.contains("o-' | 04:12"), "\n{plain}");
        assert!(graph(&runs, Style { color: true, plain: false }).contains("\x1b[33m●\x1b[0m"));
    }

    #[test]
    fn of_many_hosts_the_rarest_outcome_still_has_a_letter() {
        let drawn = bar(&hosts(&[("ok", 1997), ("failed", 1), ("unreachable", 1), ("cancelled", 1)]), Style { color: false, plain: false });
        assert_eq!((drawn.len(), drawn.matches('.').count(), &drawn[..2], drawn.ends_with('-')), (42, 39, "!x", true), "{drawn}");
    }
}
