//! `group_by`: hosts of which the same is true become a group, for later plays.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::module::{Answer, Module, OneOrMany, Question, Report, Surroundings, Verdict};

/// Put the host into a group that is made for this run, such as `os_{{ facts.os.family }}`. Later plays of the run can name it in
/// `hosts`.
///
/// The groups are known when the plays before have ended. What stands before the first `{{` tells which names such a group can have,
/// so begin with a word of your own. It changes nothing on the host, and runs in check mode, too. Within one play, `when` is enough.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupBy {
    /// Name of the group, or several.
    key: OneOrMany,
}

impl Module for GroupBy {
    const NAME: &'static str = "group_by";
    const MAIN: Option<&'static str> = Some("key");

    fn check(&self) -> Result<()> {
        if self.key.0.is_empty() {
            bail!("`key` names no group");
        }
        check_groups(&self.key.0)
    }

    fn probe(&self, _: &Surroundings) -> Question {
        Question::None
    }

    fn compare(&self, _: &Surroundings, _: &Answer) -> Result<Verdict> {
        Ok(Verdict::InPlace(Report { groups: self.key.0.clone(), ..Report::default() }))
    }
}

/// Whether groups can have these names.
///
/// # Errors
/// The first that cannot be.
pub fn check_groups(names: &[String]) -> Result<()> {
    for name in names {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)) {
            bail!("`{}` cannot be the name of a group | use letters, digits, `_`, `-` and `.`", name.escape_debug());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::GroupBy;
    use crate::module::testing::problems;

    #[test]
    fn a_group_has_a_name() {
        assert_eq!(problems::<GroupBy>("key = 'os_debian'"), "");
        assert_eq!(problems::<GroupBy>("key = ['a', 'b c']"), "`b c` cannot be the name of a group");
    }
}
