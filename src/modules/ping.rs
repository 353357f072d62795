//! `ping`: the host can be worked on.

use anyhow::Result;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::module::{Answer, Module, Question, Report, Surroundings, Verdict};
use crate::sh;

/// Log in, open a shell, and answer. Changes nothing.
#[derive(Deserialize, JsonSchema)]
pub struct Ping {
    /// What is answered.
    #[serde(default = "pong")]
    data: String,
}

fn pong() -> String {
    "pong".into()
}

impl Module for Ping {
    const NAME: &'static str = "ping";

    fn probe(&self, _: &Surroundings) -> Question {
        Question::Ask(sh!("printf '%s\n' {}", self.data))
    }

    fn compare(&self, _: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let said = answer.text()?.trim_end().to_owned();
        Ok(Verdict::InPlace(Report::message(said.clone()).with("ping", said)))
    }
}

#[cfg(test)]
mod tests {
    use super::Ping;
    use crate::module::testing::{probe, verdict};

    #[test]
    fn it_answers() {
        assert_eq!(probe::<Ping>(""), "printf '%s\n' 'pong'");
        assert_eq!(verdict::<Ping>("", 0, "pong\n"), "in place: pong");
    }
}
