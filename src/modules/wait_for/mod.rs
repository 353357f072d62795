//! `wait_for`: goes on when a port or a file is as it should be.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::module::{Action, Answer, Change, Effect, Lasting, Module, Path, Question, Surroundings, Undo, Verdict};
use crate::remote::Library;
use crate::shell::{Pattern, Script};
use crate::{sh, shell};

static WAIT: Library = Library { name: "wait", text: include_str!("wait.sh") };

/// Wait until a port or a path on the host is as asked. Counts as no change.
#[derive(Deserialize, JsonSchema)]
pub struct WaitFor {
    /// Host to connect to, seen from the managed host.
    #[serde(default = "this_host")]
    host: String,
    /// TCP port to wait for.
    port: Option<u16>,
    /// Path to wait for.
    path: Option<Path>,
    /// `started` or `present`: the port is open, the path is there. `stopped` or `absent`: it is not. `drained`: no
    /// connection is open any more.
    #[serde(default)]
    state: State,
    /// Longest time to wait, `delay` included.
    #[serde(default = "five_minutes")]
    timeout: Lasting,
    /// Time before the first look.
    #[serde(default = "no_time")]
    delay: Lasting,
    /// Time between two looks.
    #[serde(default = "one_second")]
    sleep: Lasting,
    /// Longest time for one connection.
    #[serde(default = "five_seconds")]
    connect_timeout: Lasting,
    /// Extended regular expression that the file, or the first thing the port sends, must match.
    search_regex: Option<String>,
}

#[derive(Deserialize, JsonSchema, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum State {
    #[default]
    Started,
    Stopped,
    Present,
    Absent,
    Drained,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Present => "present",
            Self::Absent => "absent",
            Self::Drained => "drained",
        }
    }
}

fn this_host() -> String {
    "127.0.0.1".into()
}

fn five_minutes() -> Lasting {
    Lasting(std::time::Duration::from_secs(300))
}

fn no_time() -> Lasting {
    Lasting(std::time::Duration::ZERO)
}

fn one_second() -> Lasting {
    Lasting(std::time::Duration::from_secs(1))
}

fn five_seconds() -> Lasting {
    Lasting(std::time::Duration::from_secs(5))
}

impl Module for WaitFor {
    const NAME: &'static str = "wait_for";
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&WAIT];

    fn check(&self) -> Result<()> {
        match (self.port, &self.path) {
            (Some(_), Some(_)) => bail!("`wait_for` waits for `port` or `path`, not both | make two tasks of it"),
            (None, None) => bail!("`wait_for` needs `port` or `path`"),
            (Some(0), None) => bail!("`port` must be between 1 and 65535"),
            (Some(_), None) if self.search_regex.is_some() && !matches!(self.state, State::Started | State::Present) => {
                bail!("`search_regex` needs `state = \"started\"`")
            }
            (None, Some(_)) if self.state == State::Drained => bail!("`state = \"drained\"` needs a `port`"),
            _ => {}
        }
        if self.host.starts_with('-') || self.host.contains(['/', ' ', '\n']) {
            bail!("`{}` is no host name", self.host);
        }
        Ok(())
    }

    fn patience_seconds(&self) -> Option<u64> {
        Some(self.timeout.0.as_secs() + self.connect_timeout.0.as_secs() + 15)
    }

    /// Prints `yes` or `no`; why not goes to the remark, since it may differ from one look to the next.
    fn probe(&self, around: &Surroundings) -> Question {
        Question::Ask(sh!(
            "_w=$(wait_look {}); _s=$?; [ \"$_s\" = 0 ] || { printf '%s\n' \"$_w\"; exit \"$_s\"; }; printf '%s\n' \"${_w%% *}\"; printf '%s\n' \"${_w#* }\" >&2",
            self.words(around)
        ))
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        if answer.text()?.trim_end() == "yes" && self.delay.0.is_zero() {
            return Ok(Verdict::in_place());
        }
        // The host counts whole seconds.
        let [timeout, delay, sleep] = [self.timeout, self.delay, self.sleep].map(|time| time.0.as_secs() + u64::from(time.0.subsec_nanos() > 0));
        let script = sh!("wait_until {} {} {} {}", timeout, delay, sleep.max(1), self.words(around));
        let why = "waiting changes nothing, so there is nothing to undo";
        let mut change = Change::new("", "", Script::default(), Pattern::exactly("yes\n"), Undo::Impossible(why.into()));
        change.apply = Action { script, group: true, ..Action::default() };
        change.effect = Effect::Nothing;
        // The look before it may have said no for another reason than the look after it.
        change.expect = None;
        Ok(Verdict::differs(change))
    }
}

impl WaitFor {
    /// What to look at, as arguments of the library's functions.
    fn words(&self, around: &Surroundings) -> Script {
        let regex = self.search_regex.clone().unwrap_or_default();
        match (self.port, &self.path) {
            (Some(port), _) => {
                let connect = self.connect_timeout.0.as_secs().max(1);
                Script::call(["port".to_owned(), self.host.clone(), port.to_string(), self.state.word().into(), connect.to_string(), regex])
            }
            (None, Some(path)) => Script::call(["path".to_owned(), around.absolute(path), self.state.word().into(), regex]),
            (None, None) => shell::Script::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::WaitFor;
    use crate::module::testing::{problems, verdict};

    #[test]
    fn what_is_there_is_not_waited_for() {
        assert_eq!(verdict::<WaitFor>("port = 80", 0, "yes\n"), "in place");
    }

    #[test]
    fn what_is_not_there_is_waited_for() {
        let expected = " -> \napply  wait_until 10 0 1 'path' '/root/x' 'started' ''\nundo   impossible: waiting changes nothing, so there is nothing to undo";
        assert_eq!(verdict::<WaitFor>("path = '~/x'\ntimeout = 10", 0, "no\n"), expected);
    }

    #[test]
    fn either_a_port_or_a_path() {
        assert_eq!(problems::<WaitFor>(""), "`wait_for` needs `port` or `path`");
        assert_eq!(problems::<WaitFor>("port = 1\npath = '/x'"), "`wait_for` waits for `port` or `path`, not both");
    }
}
