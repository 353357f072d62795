//! `debug`: shows a message or a variable.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::expression::Expression;
use crate::module::{Answer, Module, Question, Report, Surroundings, Verdict};

/// Show a message or the value of an expression. Nothing is asked of the host.
#[derive(Deserialize, JsonSchema)]
pub struct Debug {
    /// Text to show; a list or a table is shown as JSON.
    msg: Option<Value>,
    /// Expression whose value is shown, without braces, such as `result.stdout`.
    var: Option<Expression>,
}

impl Module for Debug {
    const NAME: &'static str = "debug";
    const MAIN: Option<&'static str> = Some("msg");
    const EXPRESSIONS: &'static [&'static str] = &["var"];

    fn check(&self) -> Result<()> {
        match (&self.msg, &self.var) {
            (Some(_), Some(_)) => bail!("`debug` shows `msg` or `var`, not both"),
            (None, None) => bail!("`debug` has nothing to show | write `debug = \"text\"` or `debug = {{ var = \"name\" }}`"),
            _ => Ok(()),
        }
    }

    fn probe(&self, _: &Surroundings) -> Question {
        Question::None
    }

    fn compare(&self, _: &Surroundings, _: &Answer) -> Result<Verdict> {
        let report = match (&self.var, &self.msg) {
            (Some(expression), _) => {
                Report::message(format!("{} = {}", expression.text, shown(&expression.value))).with("value", expression.value.clone())
            }
            (None, Some(message)) => Report::message(shown(message)),
            (None, None) => Report::default(),
        };
        Ok(Verdict::InPlace(report))
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::Debug;
    use crate::module::testing::{problems, verdict};

    #[test]
    fn text_and_data_are_shown() {
        assert_eq!(verdict::<Debug>("msg = 'hi'", 0, ""), "in place: hi");
        assert_eq!(verdict::<Debug>("msg = [1]", 0, ""), "in place: [\n  1\n]");
        assert_eq!(verdict::<Debug>("var = { text = 'a', value = 3 }", 0, ""), "in place: a = 3");
    }

    #[test]
    fn nothing_to_show_is_a_mistake() {
        assert_eq!(problems::<Debug>(""), "`debug` has nothing to show");
    }
}
