//! `raw`: `shell` under the name that it has where nothing is installed on the host.

use anyhow::Result;
use schemars::JsonSchema;
use serde::Deserialize;

use super::shell::Shell;
use crate::module::{Answer, Module, Question, Surroundings, Touches, Verdict};

/// The same as `shell`. Playbooks from elsewhere use it for hosts without Python, which no module here needs.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Raw(Shell);

impl Module for Raw {
    const NAME: &'static str = "raw";
    const MAIN: Option<&'static str> = Shell::MAIN;
    const RUNS_USER_TEXT: bool = true;

    fn check(&self) -> Result<()> {
        self.0.check()
    }

    fn touches(&self, around: &Surroundings) -> Touches {
        Module::touches(&self.0, around)
    }

    fn probe(&self, around: &Surroundings) -> Question {
        Module::probe(&self.0, around)
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        Module::compare(&self.0, around, answer)
    }
}
