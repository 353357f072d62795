//! `assert`: fails unless conditions hold.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::expression::{Expressions, is_true};
use crate::module::{Answer, Module, Question, Report, Surroundings, Verdict};

/// Fail unless all conditions hold. Nothing is asked of the host.
#[derive(Deserialize, JsonSchema)]
pub struct Assert {
    /// Expressions that must all be true, without braces, such as `port > 1024`.
    that: Expressions,
    /// Shown when one of them is not.
    #[serde(alias = "msg")]
    fail_msg: Option<String>,
    /// Shown when all of them are.
    success_msg: Option<String>,
}

impl Module for Assert {
    const NAME: &'static str = "assert";
    const MAIN: Option<&'static str> = Some("that");
    const EXPRESSIONS: &'static [&'static str] = &["that"];

    fn check(&self) -> Result<()> {
        if self.that.0.is_empty() {
            bail!("`that` has no condition, so nothing is asserted");
        }
        Ok(())
    }

    fn probe(&self, _: &Surroundings) -> Question {
        Question::None
    }

    fn compare(&self, _: &Surroundings, _: &Answer) -> Result<Verdict> {
        if let Some(wrong) = self.that.0.iter().find(|one| !is_true(&one.value)) {
            match &self.fail_msg {
                Some(message) => bail!("{message}"),
                None => bail!("`{}` does not hold", wrong.text),
            }
        }
        Ok(Verdict::InPlace(Report::message(self.success_msg.clone().unwrap_or_default())))
    }
}

#[cfg(test)]
mod tests {
    use super::Assert;
    use crate::module::testing::verdict;

    #[test]
    fn the_first_condition_that_does_not_hold_is_named() {
        let that = "that = [{ text = 'a > 1', value = true }, { text = 'b > 1', value = false }]";
        assert_eq!(verdict::<Assert>(that, 0, ""), "error: `b > 1` does not hold");
        assert_eq!(verdict::<Assert>(&format!("{that}\nfail_msg = 'b is small'"), 0, ""), "error: b is small");
        assert_eq!(verdict::<Assert>("that = { text = 'a', value = 1 }", 0, ""), "in place");
    }
}
