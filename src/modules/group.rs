//! `group`: a group of users.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::account::{self, Expected, Lines, Tools};
use crate::module::{Answer, Change, Module, Presence, Question, Surroundings, Undo, Verdict, diff};
use crate::remote::Library;
use crate::shell::Script;

/// Add, change or remove a group of users.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Name of the group.
    name: String,
    /// `present`: the group exists; `absent`: there is none of this name.
    #[serde(default)]
    state: Presence,
    /// Number of the group. Files that belong to the old number keep it.
    gid: Option<u32>,
    /// A new group gets a number from the range for services. Says nothing about a group that exists.
    #[serde(default)]
    system: bool,
}

impl Module for Group {
    const NAME: &'static str = "group";
    const MAIN: Option<&'static str> = Some("name");
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&account::LOOK];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&account::CHANGE];

    fn check(&self) -> Result<()> {
        account::refuse_odd_name("name", &self.name)?;
        if self.name == "root" && self.state == Presence::Absent {
            anyhow::bail!("no host works without the group `root`, so it is not removed");
        }
        Ok(())
    }

    fn probe(&self, _: &Surroundings) -> Question {
        Question::Ask(Script::call(["account_group", &self.name]))
    }

    fn compare(&self, _: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let lines = Lines::of(answer)?;
        match (self.state, lines.value("group")?) {
            (Presence::Absent, "absent") => Ok(Verdict::in_place()),
            (Presence::Absent, _) => self.removal(&lines),
            (Presence::Present, "absent") => self.addition(&lines),
            (Presence::Present, _) => self.renumbering(&lines),
        }
    }
}

impl Group {
    fn addition(&self, lines: &Lines) -> Result<Verdict> {
        lines.refuse_unchangeable(&self.title())?;
        let gid = self.gid.map(|gid| gid.to_string());
        let mut words = vec!["account_group_add".to_owned(), self.name.clone()];
        words.extend(gid.iter().map(|gid| format!("gid={gid}")));
        if self.system {
            words.push("system=yes".to_owned());
        }
        let expect = self.expected(lines)?.line("group", "present").line("local", "yes").known("gid", gid.as_deref()).line("members", "-");
        let undo = Undo::Run(Script::call(["account_group_remove", &self.name]));
        let mut change = Change::new("absent", "present", Script::call(&words), expect.pattern(), undo);
        let mut shown = vec![("state", "absent".to_owned(), "present".to_owned())];
        shown.extend(gid.map(|gid| ("gid", "-".to_owned(), gid)));
        change.diff = diff::properties(&self.title(), &shown);
        Ok(Verdict::differs(change))
    }

    fn renumbering(&self, lines: &Lines) -> Result<Verdict> {
        let old = lines.value("gid")?;
        let Some(gid) = self.gid.map(|gid| gid.to_string()).filter(|gid| gid != old) else {
            return Ok(Verdict::in_place());
        };
        if lines.refuse_unchangeable(&self.title())? == Tools::BusyBox {
            bail!(
                "this host cannot change the number of a group (it has BusyBox's addgroup only; the package shadow has groupmod)"
            );
        }
        let change_to = |gid: &str| Script::call(["account_group_change", &self.name, &format!("gid={gid}")]);
        let expect = self.expected(lines)?.line("group", "present").line("local", "yes").line("gid", &gid);
        let expect = expect.line("members", lines.value("members")?).pattern();
        let mut change =
            Change::new(format!("gid {old}"), format!("gid {gid}"), change_to(&gid), expect, Undo::Run(change_to(old)));
        change.diff = diff::properties(&self.title(), &[("gid", old.to_owned(), gid)]);
        Ok(Verdict::differs(change))
    }

    fn removal(&self, lines: &Lines) -> Result<Verdict> {
        lines.refuse_unchangeable(&self.title())?;
        let (gid, members) = (lines.value("gid")?, lines.list("members")?.join(","));
        let mut words = vec!["account_group_add".to_owned(), self.name.clone(), format!("gid={gid}")];
        if !members.is_empty() {
            words.push(format!("members={members}"));
        }
        let apply = Script::call(["account_group_remove", &self.name]);
        let expect = self.expected(lines)?.line("group", "absent").pattern();
        let mut change = Change::new("present", "absent", apply, expect, Undo::Run(Script::call(&words)));
        let mut shown = vec![("state", "present".to_owned(), "absent".to_owned()), ("gid", gid.to_owned(), "-".to_owned())];
        if !members.is_empty() {
            shown.push(("members", members, "-".to_owned()));
        }
        change.diff = diff::properties(&self.title(), &shown);
        Ok(Verdict::differs(change))
    }

    fn expected(&self, lines: &Lines) -> Result<Expected> {
        Ok(Expected::default().line("tools", lines.value("tools")?))
    }

    fn title(&self) -> String {
        format!("the group {}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::Group;
    use crate::module::testing::{probe, problems, verdict};

    const ABSENT: &str = "tools shadow\ngroup absent\n";
    const CREW: &str = "tools shadow\ngroup present\nlocal yes\ngid 1800\nmembers ann,bob\n";

    #[test]
    fn a_group_that_is_as_wanted_is_left_alone() {
        assert_eq!(verdict::<Group>("name = 'crew'", 0, CREW), "in place");
        assert_eq!(verdict::<Group>("name = 'crew'\ngid = 1800\nsystem = true", 0, CREW), "in place");
        assert_eq!(verdict::<Group>("name = 'crew'\nstate = 'absent'", 0, ABSENT), "in place");
        assert_eq!(verdict::<Group>("name = 'crew'", 0, &CREW.replace("tools shadow", "tools none")), "in place");
        assert_eq!(probe::<Group>("name = 'crew'"), "'account_group' 'crew'");
    }

    #[test]
    fn a_missing_group_is_added() {
        let expected = "absent -> present
apply  'account_group_add' 'crew' 'gid=1800' 'system=yes'
expect tools shadow
group present
local yes
gid 1800
members -

undo   'account_group_remove' 'crew'";
        assert_eq!(verdict::<Group>("name = 'crew'\ngid = 1800\nsystem = true", 0, ABSENT), expected);
    }

    #[test]
    fn another_number_is_changed_and_can_come_back() {
        let expected = "gid 1800 -> gid 1801
apply  'account_group_change' 'crew' 'gid=1801'
expect tools shadow
group present
local yes
gid 1801
members ann,bob

undo   'account_group_change' 'crew' 'gid=1800'";
        assert_eq!(verdict::<Group>("name = 'crew'\ngid = 1801", 0, CREW), expected);
    }

    #[test]
    fn a_group_is_removed_and_can_come_back_with_its_members() {
        let expected = "present -> absent
apply  'account_group_remove' 'crew'
expect tools shadow
group absent

undo   'account_group_add' 'crew' 'gid=1800' 'members=ann,bob'";
        assert_eq!(verdict::<Group>("name = 'crew'\nstate = 'absent'", 0, CREW), expected);
    }

    #[test]
    fn what_a_host_cannot_do_is_refused() {
        let refused = |arguments: &str, answer: &str| verdict::<Group>(arguments, 0, answer);
        assert_eq!(
            refused("name = 'crew'", &ABSENT.replace("shadow", "none")),
            "error: this host has no tools to manage accounts (useradd or adduser)"
        );
        assert_eq!(
            refused("name = 'crew'\ngid = 1", &CREW.replace("local yes", "local no")),
            "error: the group crew comes from a directory service, so it cannot be changed on this host"
        );
        assert_eq!(
            refused("name = 'crew'\ngid = 1", &CREW.replace("shadow", "busybox")),
            "error: this host cannot change the number of a group (it has BusyBox's addgroup only; the package shadow has groupmod)"
        );
        assert_eq!(verdict::<Group>("name = 'crew'", 3, "no such luck\n"), "error: no such luck");
    }

    #[test]
    fn a_number_is_no_name() {
        assert_eq!(problems::<Group>("name = '4'"), "`name` is a name, not a number");
    }
}
