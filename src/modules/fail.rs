//! `fail`: ends the play for a host.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::module::{Answer, Module, Question, Surroundings, Verdict};

/// Fail with a message, usually together with `when`.
#[derive(Deserialize, JsonSchema)]
pub struct Fail {
    /// Why.
    #[serde(default = "default_message")]
    msg: String,
}

fn default_message() -> String {
    "failed as the playbook asked".into()
}

impl Module for Fail {
    const NAME: &'static str = "fail";
    const MAIN: Option<&'static str> = Some("msg");

    fn probe(&self, _: &Surroundings) -> Question {
        Question::None
    }

    fn compare(&self, _: &Surroundings, _: &Answer) -> Result<Verdict> {
        bail!("{}", self.msg)
    }
}

#[cfg(test)]
mod tests {
    use super::Fail;
    use crate::module::testing::verdict;

    #[test]
    fn it_fails_with_its_message() {
        assert_eq!(verdict::<Fail>("msg = 'no'", 0, ""), "error: no");
    }
}
