//! `timezone`: the time zone of a host.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::account::Lines;
use super::file::{CHANGE, LOOK};
use crate::module::{Answer, Change, Module, Question, Surroundings, Touches, Undo, Verdict, diff};
use crate::remote::Library;
use crate::sh;
use crate::shell::{Pattern, Script};

/// Set the time zone of the host.
///
/// `/etc/localtime` becomes a link to the zone's file; `/etc/timezone` is kept in step where it is there. Services that run
/// already keep the old zone until they are restarted.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timezone {
    /// Name of the zone, such as `Europe/Berlin` or `UTC`.
    name: String,
}

const ZONES: &str = "/usr/share/zoneinfo";

impl Module for Timezone {
    const NAME: &'static str = "timezone";
    const MAIN: Option<&'static str> = Some("name");
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE];

    fn check(&self) -> Result<()> {
        let good = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte));
        if !self.name.split('/').all(good) {
            bail!("`{}` is no name of a time zone | write it as `Europe/Berlin`", self.name.escape_debug());
        }
        Ok(())
    }

    fn touches(&self, _: &Surroundings) -> Touches {
        Touches::Path("/etc/localtime".into())
    }

    /// `zone LINK`, `text CONTENT`: `-` for what is not there, `file` for a zone that is no link.
    fn probe(&self, _: &Surroundings) -> Question {
        Question::Ask(sh!(
            "[ -f {} ] || { core_die {}; exit 3; }\n\
             if [ -L /etc/localtime ]; then _z=$(readlink /etc/localtime); elif [ -e /etc/localtime ]; then _z=file; else _z=-; fi\n\
             if [ -f /etc/timezone ]; then IFS= read -r _t </etc/timezone || :; else _t=-; fi\n\
             printf 'zone %s\\ntext %s\\n' \"$_z\" \"$_t\"",
            format!("{ZONES}/{}", self.name),
            format!("this host knows no time zone {}; look whether the name is right, and whether the package tzdata is there", self.name)
        ))
    }

    fn compare(&self, _: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let lines = Lines::of(answer)?;
        let (zone, text) = (lines.value("zone")?, lines.value("text")?);
        // Some systems link to `../usr/share/zoneinfo/…`.
        let is_linked = zone.split_once("/zoneinfo/").is_some_and(|(_, name)| name == self.name);
        let is_told = text == "-" || text == self.name;
        if is_linked && is_told {
            return Ok(Verdict::in_place());
        }
        let target = if is_linked { zone.to_owned() } else { format!("{ZONES}/{}", self.name) };
        let write = |text: &str| sh!("printf '%s\\n' {} >/etc/timezone || exit", text);
        let mut apply = Script::default();
        let mut undo = Script::default();
        let mut keep = Script::default();
        if !is_told {
            apply = apply.then(&write(&self.name));
            undo = undo.then(&write(text));
        }
        if !is_linked {
            let force = if zone == "file" { "force" } else { "-" };
            apply = apply.then(&sh!("file_link /etc/localtime {} {}", target, force));
            match zone {
                "-" => undo = undo.then(&sh!("file_absent /etc/localtime")),
                "file" => keep = sh!("file_keep /etc/localtime"),
                old => undo = undo.then(&sh!("file_link /etc/localtime {} -", old)),
            }
        }
        let expect = Pattern::exactly(format!("zone {target}\ntext {}\n", if text == "-" { "-" } else { &self.name }));
        let undo = match zone {
            "file" if !is_linked => Undo::Restore(sh!("zone_back() { {}\nfile_back /etc/localtime \"$1\"\n}; zone_back", undo)),
            _ => Undo::Run(undo),
        };
        let old = zone.split_once("/zoneinfo/").map_or(zone, |(_, name)| name).to_owned();
        let mut change = Change::new(&old, &self.name, apply, expect, undo);
        change.keep = keep;
        change.diff = diff::properties("time zone", &[("zone", old, self.name.clone())]);
        Ok(Verdict::differs(change))
    }
}

#[cfg(test)]
mod tests {
    use super::Timezone;
    use crate::module::testing::{problems, verdict};

    #[test]
    fn the_zone_is_a_link_and_a_word() {
        assert_eq!(verdict::<Timezone>("name = 'UTC'", 0, "zone ../usr/share/zoneinfo/UTC\ntext -\n"), "in place");
        let text = verdict::<Timezone>("name = 'Europe/Berlin'", 0, "zone /usr/share/zoneinfo/Etc/UTC\ntext Etc/UTC\n");
        assert!(text.starts_with("Etc/UTC -> Europe/Berlin\n") && text.contains("printf '%s\\n' 'Europe/Berlin' >/etc/timezone"), "{text}");
        assert!(text.contains("undo   printf '%s\\n' 'Etc/UTC' >/etc/timezone || exit\nfile_link /etc/localtime '/usr/share/zoneinfo/Etc/UTC' -"), "{text}");
        assert!(verdict::<Timezone>("name = 'UTC'", 0, "zone file\ntext -\n").contains("keep   file_keep /etc/localtime"));
        assert!(problems::<Timezone>("name = '../x'").contains("is no name of a time zone"));
    }
}
