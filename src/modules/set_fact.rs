//! `set_fact`: variables that later tasks of the same host see.

use std::borrow::Cow;

use anyhow::{Result, bail};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::module::{Answer, Module, Question, Report, Surroundings, Verdict};

/// Variables for the tasks that follow on the same host. They win over play and inventory, not over task and `-e`.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct SetFact(Map<String, Value>);

impl JsonSchema for SetFact {
    fn schema_name() -> Cow<'static, str> {
        "SetFact".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "description": "Variables for the tasks that follow on the same host. They win over play and inventory, not over task and `-e`." })
    }
}

impl Module for SetFact {
    const NAME: &'static str = "set_fact";
    const FREE_FORM: bool = true;

    fn check(&self) -> Result<()> {
        for name in self.0.keys() {
            if !crate::inventory::is_variable_name(name) {
                bail!("`{name}` cannot be the name of a variable | use letters, digits and `_`, and begin with a letter");
            }
            if crate::inventory::RESERVED.contains(&name.as_str()) {
                bail!("`{name}` has a meaning of its own in templates | give the variable another name");
            }
        }
        Ok(())
    }

    fn probe(&self, _: &Surroundings) -> Question {
        Question::None
    }

    fn compare(&self, _: &Surroundings, _: &Answer) -> Result<Verdict> {
        Ok(Verdict::InPlace(Report { variables: self.0.clone(), ..Report::default() }))
    }
}

#[cfg(test)]
mod tests {
    use super::SetFact;
    use crate::module::testing::problems;

    #[test]
    fn names_of_our_own_are_refused() {
        assert_eq!(problems::<SetFact>("facts = 1"), "`facts` has a meaning of its own in templates");
        assert_eq!(problems::<SetFact>("port = 1"), "");
    }
}
