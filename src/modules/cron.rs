//! `cron`: a job that cron runs, in a user's table or in a file of its own.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::account::refuse_odd_name;
use super::file::{CHANGE, Edited, LOOK, Properties};
use super::text::{Line, Scalar, end_line, lines_of, push};
use crate::module::{Answer, Change, Module, Presence, Question, Surroundings, Touches, Undo, Verdict, diff};
use crate::remote::Library;
use crate::sh;
use crate::shell::{Pattern, Script, printf_argument};

/// Have cron run a command at certain times, or not any more.
///
/// A remark line above the job holds its name, by which it is found again. Jobs that Ansible has put there under the same name
/// are found, too. Everything else in the table stays.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cron {
    /// Name of the job. With `env`, name of the variable.
    name: String,
    /// The command. With `env`, the value of the variable.
    #[serde(alias = "value")]
    job: Option<String>,
    /// `present` or `absent`.
    #[serde(default)]
    state: Presence,
    /// Whose table, and in a `cron_file` who runs the job. Left out: the user that the task runs as; in a `cron_file` root.
    user: Option<String>,
    /// A file instead of a user's table: its name below `/etc/cron.d`, or its path.
    cron_file: Option<String>,
    /// Minute: 0-59, `*`, `*/5`, `0,30`, …
    #[serde(default)]
    minute: Field,
    /// Hour: 0-23, …
    #[serde(default)]
    hour: Field,
    /// Day of the month: 1-31, …
    #[serde(default, alias = "dom")]
    day: Field,
    /// Month: 1-12 or `JAN`, …
    #[serde(default)]
    month: Field,
    /// Day of the week: 0-6 for Sunday to Saturday, or `SUN`, …
    #[serde(default, alias = "dow")]
    weekday: Field,
    /// In place of times: `reboot`, `hourly`, `daily`, `weekly`, `monthly`, `yearly` or `annually`.
    special_time: Option<SpecialTime>,
    /// The job stays in the table, commented out.
    #[serde(default)]
    disabled: bool,
    /// It is a variable for all jobs of the table, and no job.
    #[serde(default)]
    env: bool,
    /// Accepted for playbooks that say it: what is overwritten is kept on the host in any case, for `rollback`.
    #[serde(default, rename = "backup")]
    _backup: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum SpecialTime {
    Reboot,
    Hourly,
    Daily,
    Weekly,
    Monthly,
    Yearly,
    Annually,
}

/// One field of a time.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
struct Field(Scalar);

impl Default for Field {
    fn default() -> Self {
        Self(Scalar::Text("*".into()))
    }
}

impl Field {
    fn text(&self) -> String {
        self.0.to_string()
    }

    /// # Errors
    /// What cron would not read, or read otherwise than was meant.
    fn check(&self, key: &str, low: u32, high: u32, names: &[&str]) -> Result<()> {
        let text = self.text();
        let number = |word: &str| -> Option<u32> {
            let name = names.iter().position(|name| name.eq_ignore_ascii_case(word)).and_then(|at| u32::try_from(at).ok());
            name.map(|at| at + low).or_else(|| word.parse().ok()).filter(|number| (low..=high).contains(number))
        };
        let part = |part: &str| -> bool {
            let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
            let good_step = step.is_none_or(|step| step.parse::<u32>().is_ok_and(|step| step > 0));
            let good_range = range == "*" || match range.split_once('-') {
                Some((from, to)) => matches!((number(from), number(to)), (Some(from), Some(to)) if from <= to),
                None => number(range).is_some() && step.is_none(),
            };
            good_step && good_range
        };
        if !text.split(',').all(part) {
            bail!("`{key}`: `{}` is no time that cron knows | a number from {low} to {high}, `*`, `*/5`, `1-5` or `1,3`", text.escape_debug());
        }
        Ok(())
    }
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Module for Cron {
    const NAME: &'static str = "cron";
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE];

    fn check(&self) -> Result<()> {
        if self.name.is_empty() || self.name.contains('\n') || self.job.as_ref().is_some_and(|job| job.contains('\n')) {
            bail!("`name` and `job` are one line each");
        }
        if let Some(user) = &self.user {
            refuse_odd_name("user", user)?;
        }
        if let Some(file) = &self.cron_file
            && !file.starts_with('/')
            && (file.is_empty() || file.contains(['/', '.', '~', '\n']))
        {
            bail!("`cron_file`: cron reads no file of the name `{}` | letters, digits, `-` and `_`, without a dot", file.escape_debug());
        }
        if self.state == Presence::Present && self.job.is_none() {
            bail!("`job` is missing");
        }
        if self.env && self.job.as_ref().is_some_and(|value| value.contains('"')) {
            bail!("a variable of cron cannot hold a double quote");
        }
        if self.env && (self.name.contains(['=', ' ']) || self.special_time.is_some() || self.disabled) {
            bail!("with `env`, `name` is the name of a variable, and there is no time");
        }
        let fields = [(&self.minute, "minute", 0, 59, &[][..]), (&self.hour, "hour", 0, 23, &[]), (&self.day, "day", 1, 31, &[]), (&self.month, "month", 1, 12, &MONTHS), (&self.weekday, "weekday", 0, 7, &DAYS)];
        for (field, key, low, high, names) in fields {
            field.check(key, low, high, names)?;
            if self.special_time.is_some() && field.text() != "*" {
                bail!("`special_time` and `{key}` exclude each other");
            }
        }
        Ok(())
    }

    fn touches(&self, _: &Surroundings) -> Touches {
        self.path().map_or(Touches::Nothing, Touches::Path)
    }

    fn probe(&self, _: &Surroundings) -> Question {
        if let Some(path) = self.path() {
            return Question::Ask(edited(&path).probe());
        }
        Question::Ask(sh!(
            "command -v crontab >/dev/null 2>&1 || { core_die 'this host has no cron; install the package cron or cronie'; exit 3; }\n\
             _t=$({} -l 2>/dev/null; printf 'x%s' \"$?\")\n\
             case $_t in *x0) printf 'table\\n%s' \"${_t%x0}\"; exit ;; esac\n\
             _t=$({} -l 2>&1)\n\
             case $_t in *'no crontab'* | *'No such file'* | *\"can't open\"*) echo none ;; *) core_die \"the table of cron cannot be read: ${_t##*\"$n\"}\" ;; esac",
            self.tool(),
            self.tool()
        ))
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        if let Some(path) = self.path() {
            return edited(&path).verdict(around, answer, |old| Ok(self.edit(old)));
        }
        let bytes = answer.bytes()?;
        let old = bytes.strip_prefix(b"table\n").map(<[u8]>::to_vec);
        let before = old.clone().unwrap_or_default();
        let new = self.edit(&before);
        if new == before {
            return Ok(Verdict::in_place());
        }
        let install = |text: Option<&Vec<u8>>| match text.filter(|text| !text.is_empty()) {
            Some(text) => sh!("printf %b {} | {} - || { core_say 'cron did not take the table'; exit 1; }", printf_argument(text), self.tool()),
            None => sh!("{} -r", self.tool()),
        };
        let expect = if new.is_empty() { Pattern::exactly("none\n") } else { Pattern::exactly("table\n").and(new.clone()) };
        let what = if self.state == Presence::Present { "present" } else { "absent" };
        let mut change = Change::new("old table", format!("{} {what}", self.name), install(Some(&new)), expect, Undo::Run(install(old.as_ref())));
        change.diff = diff::unified("crontab", old.as_deref(), Some(&new));
        Ok(Verdict::differs(change))
    }
}

fn edited(path: &str) -> Edited<'_> {
    Edited { create: true, ..Edited::new(path, Properties::default()) }
}

impl Cron {
    fn path(&self) -> Option<String> {
        let file = self.cron_file.as_ref()?;
        Some(if file.starts_with('/') { file.clone() } else { format!("/etc/cron.d/{file}") })
    }

    fn tool(&self) -> Script {
        match &self.user {
            Some(user) => sh!("crontab -u {}", user),
            None => sh!("crontab"),
        }
    }

    fn edit(&self, old: &[u8]) -> Vec<u8> {
        let heads = [format!("#mutate: {}", self.name), format!("#Ansible: {}", self.name)];
        let lines = lines_of(old);
        let is_variable = |line: &Line| {
            let text = String::from_utf8_lossy(line.text);
            text.split_once('=').is_some_and(|(name, _)| name.trim() == self.name)
        };
        let found = if self.env {
            lines.iter().position(is_variable).map(|at| (at, at + 1))
        } else {
            let head = lines.iter().position(|line| heads.iter().any(|head| line.text.trim_ascii_end() == head.as_bytes()));
            // Its job may have been taken away by hand, and then the next line is another's.
            let is_head = |line: &Line| line.text.starts_with(b"#mutate: ") || line.text.starts_with(b"#Ansible: ");
            head.map(|at| (at, if lines.get(at + 1).is_none_or(is_head) { at + 1 } else { at + 2 }))
        };
        let mut new = Vec::new();
        let put = |new: &mut Vec<u8>, text: &str| push(new, Line { text: text.as_bytes(), ending: b"\n" });
        let (before, after) = found.map_or((&lines[..], &lines[..0]), |(from, to)| (&lines[..from], &lines[to..]));
        // A variable counts for the jobs below it.
        if self.env && found.is_none() && self.state == Presence::Present {
            put(&mut new, &self.line());
        }
        for line in before {
            push(&mut new, *line);
        }
        let is_written = self.state == Presence::Present && (found.is_some() || !self.env);
        if is_written {
            end_line(&mut new);
            if !self.env {
                let head = found.map_or_else(|| heads[0].clone(), |(at, _)| String::from_utf8_lossy(lines[at].text).into_owned());
                put(&mut new, &head);
            }
            put(&mut new, &self.line());
        }
        for line in after {
            push(&mut new, *line);
        }
        new
    }

    fn line(&self) -> String {
        let job = self.job.as_deref().unwrap_or_default();
        if self.env {
            return format!("{}=\"{job}\"", self.name);
        }
        let time = match self.special_time {
            Some(time) => format!("@{}", format!("{time:?}").to_lowercase()),
            None => [&self.minute, &self.hour, &self.day, &self.month, &self.weekday].map(Field::text).join(" "),
        };
        let who = match &self.cron_file {
            Some(_) => format!(" {}", self.user.as_deref().unwrap_or("root")),
            None => String::new(),
        };
        format!("{}{time}{who} {job}", if self.disabled { "#" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::Cron;
    use crate::module::testing::{module, problems, verdict};

    fn made(arguments: &str, old: &str) -> String {
        let module: Cron = module(arguments);
        let new = module.edit(old.as_bytes());
        assert_eq!(module.edit(&new), new, "a second time");
        String::from_utf8_lossy(&new).into_owned()
    }

    #[test]
    fn a_job_comes_changes_and_goes() {
        assert_eq!(made("name = 'a'\njob = 'b'\nminute = 5", "x\n"), "x\n#mutate: a\n5 * * * * b\n");
        assert_eq!(made("name = 'a'\njob = 'c'\nspecial_time = 'daily'", "#Ansible: a\n5 * * * * b\ny\n"), "#Ansible: a\n@daily c\ny\n");
        assert_eq!(made("name = 'a'\nstate = 'absent'", "x\n#mutate: a\n5 * * * * b\ny\n"), "x\ny\n");
        assert_eq!(made("name = 'a'\njob = 'b'\ncron_file = 'f'\nuser = 'www'\ndisabled = true", ""), "#mutate: a\n#* * * * * www b\n");
        assert_eq!(made("name = 'MAILTO'\njob = 'ann'\nenv = true", "x\n"), "MAILTO=\"ann\"\nx\n");
    }

    #[test]
    fn a_table_is_given_to_cron() {
        let text = verdict::<Cron>("name = 'a'\njob = 'b'\nuser = 'www'", 0, "none\n");
        assert!(text.contains("printf %b '#mutate: a\\n* * * * * b\\n' | crontab -u 'www' -") && text.ends_with("undo   crontab -u 'www' -r"), "{text}");
    }

    #[test]
    fn times_are_read_as_cron_reads_them() {
        let check = |times: &str| problems::<Cron>(&format!("name = 'a'\njob = 'b'\n{times}"));
        for good in ["minute = '*/5'", "hour = '1-5,22'", "weekday = 'mon-fri'", "month = 'JAN'", "minute = '0-30/10'", "weekday = 7"] {
            assert_eq!(check(good), "", "{good}");
        }
        for bad in ["minute = 60", "hour = '*/0'", "day = 0", "weekday = 'monday'", "minute = '5/10'", "hour = '5-1'", "month = ''"] {
            assert!(check(bad).contains("is no time that cron knows"), "{bad}: {}", check(bad));
        }
        assert!(check("special_time = 'daily'\nhour = 3").contains("exclude each other"));
    }
}
