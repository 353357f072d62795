//! `sysctl`: a setting of the kernel, now and after a boot.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::file::{CHANGE, Edited, LOOK, Live, Properties};
use super::text::{Line, add_line, Scalar, lines_of, push};
use crate::module::{Answer, Module, Path, Presence, Question, Surroundings, Touches, Verdict};
use crate::remote::Library;
use crate::sh;

/// Set a setting of the kernel, now and after every boot.
///
/// The line goes into a file of settings, and the value into the running kernel. Nothing is needed on the host but `/proc`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sysctl {
    /// Name of the setting, such as `net.ipv4.ip_forward`.
    #[serde(alias = "key")]
    name: String,
    /// Its value. Several numbers are parted by blanks.
    #[serde(alias = "val")]
    value: Option<Scalar>,
    /// `absent` takes the line out of the file; the running kernel keeps its value until the next boot.
    #[serde(default)]
    state: Presence,
    /// The file that holds the line.
    #[serde(default = "usual_file")]
    sysctl_file: Path,
    /// Set the value in the running kernel, too.
    #[serde(default = "yes", alias = "sysctl_set")]
    reload: bool,
    /// A kernel that has no such setting is no error.
    #[serde(default)]
    ignoreerrors: bool,
}

fn yes() -> bool {
    true
}

fn usual_file() -> Path {
    Path::fixed("/etc/sysctl.conf")
}

impl Module for Sysctl {
    const NAME: &'static str = "sysctl";
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE];

    fn check(&self) -> Result<()> {
        let odd = |letter: char| !(letter.is_ascii_alphanumeric() || "._-/".contains(letter));
        if self.name.is_empty() || self.name.contains(odd) || self.name.contains("..") || self.name.starts_with(['/', '.']) {
            bail!("`{}` is no name of a setting | write it as `net.ipv4.ip_forward`", self.name.escape_debug());
        }
        match &self.value {
            None if self.state == Presence::Present => bail!("`value` is missing"),
            Some(value) if value.to_string().contains('\n') => bail!("a value is one line"),
            _ => Ok(()),
        }
    }

    fn touches(&self, around: &Surroundings) -> Touches {
        Touches::Path(around.absolute(&self.sysctl_file))
    }

    /// A line with the value that is in force, then the file.
    fn probe(&self, around: &Surroundings) -> Question {
        let path = around.absolute(&self.sysctl_file);
        let now = sh!("_v=''; if [ -e {} ]; then set -f; _v=$(cat {} 2>/dev/null); set -- $_v; printf 'now %s\\n' \"$*\"; else echo none; fi", self.place(), self.place());
        Question::Ask(now.then(&self.edited(&path).probe()))
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let path = around.absolute(&self.sysctl_file);
        let wanted = self.wanted();
        if self.state == Presence::Present && self.reload && !self.ignoreerrors && answer.bytes()?.starts_with(b"none\n") {
            bail!("the kernel of this host has no setting `{}`; load the module that brings it, or say ignoreerrors = true", self.name);
        }
        let sets = self.state == Presence::Present && self.reload;
        let live = |now: &str| {
            let write = |value: &str| sh!("printf '%s\\n' {} >{} || { core_say {}; exit 1; }", value, self.place(), format!("the kernel did not take the value `{value}` for {}", self.name));
            let is_there = now != "none";
            Live {
                want: (sets && is_there).then(|| format!("now {wanted}")),
                set: write(&wanted),
                back: write(now.strip_prefix("now ").unwrap_or_default()),
            }
        };
        self.edited(&path).verdict_live(around, answer, live, |old| Ok(self.edit(old, &wanted)))
    }
}

impl Sysctl {
    /// Where the kernel shows it.
    fn place(&self) -> String {
        // Whichever comes first parts the names: `net.ipv4.conf.eth0/1.forwarding` is `net/ipv4/conf/eth0.1/forwarding`.
        let is_dotted = self.name.find(['.', '/']).is_none_or(|at| self.name[at..].starts_with('.'));
        let swapped = || self.name.chars().map(|letter| if letter == '.' { '/' } else if letter == '/' { '.' } else { letter }).collect();
        format!("/proc/sys/{}", if is_dotted { swapped() } else { self.name.clone() })
    }

    fn wanted(&self) -> String {
        let value = self.value.as_ref().map(|value| match value {
            Scalar::Boolean(value) => u8::from(*value).to_string(),
            other => other.to_string(),
        });
        value.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn edited<'a>(&self, path: &'a str) -> Edited<'a> {
        Edited { create: true, follow: true, ..Edited::new(path, Properties::default()) }
    }

    fn edit(&self, old: &[u8], wanted: &str) -> Vec<u8> {
        let is_ours = |line: &Line| {
            let text = String::from_utf8_lossy(line.text);
            text.split_once('=').is_some_and(|(name, _)| name.trim().trim_start_matches('-').replace('/', ".") == self.name.replace('/', "."))
        };
        let value = |line: &Line| String::from_utf8_lossy(line.text).split_once('=').map(|(_, value)| value.split_whitespace().collect::<Vec<_>>().join(" "));
        let lines = lines_of(old);
        let last = lines.iter().rposition(is_ours);
        let mut new = Vec::new();
        let mut has = false;
        for (at, line) in lines.iter().enumerate() {
            if !is_ours(line) {
                push(&mut new, *line);
            } else if self.state == Presence::Present && Some(at) == last {
                has = true;
                let text = if value(line).as_deref() == Some(wanted) { line.text.to_vec() } else { format!("{} = {wanted}", self.name).into_bytes() };
                push(&mut new, Line { text: &text, ending: line.ending });
            }
        }
        if self.state == Presence::Present && !has {
            add_line(&mut new, &format!("{} = {wanted}", self.name));
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::Sysctl;
    use crate::module::testing::{problems, verdict};

    const ARGUMENTS: &str = "name = 'net.ipv4.ip_forward'\nvalue = 1";

    fn answer(now: &str, content: &str) -> String {
        format!("{now}\nfile 0644 0 0 root root 1 {} ab\ncontent\n{content}", content.len())
    }

    #[test]
    fn the_line_and_the_kernel_are_changed_together() {
        let text = verdict::<Sysctl>(ARGUMENTS, 0, &answer("now 0", "# x\nnet.ipv4.ip_forward=0\n"));
        assert!(text.starts_with("old content, now 0 -> new content, now 1\n"), "{text}");
        assert!(text.contains("net.ipv4.ip_forward = 1\\n") && text.contains("printf '%s\\n' '1' >'/proc/sys/net/ipv4/ip_forward'"), "{text}");
        assert!(text.contains("printf '%s\\n' '0' >'/proc/sys/net/ipv4/ip_forward'"), "{text}");
    }

    #[test]
    fn what_the_kernel_lacks_is_told() {
        assert!(verdict::<Sysctl>(ARGUMENTS, 0, &answer("none", "")).starts_with("error: the kernel of this host has no setting"));
        assert!(verdict::<Sysctl>(&format!("{ARGUMENTS}\nignoreerrors = true"), 0, &answer("none", "")).starts_with("old content"));
        assert!(problems::<Sysctl>("name = '../x'\nvalue = 1").contains("is no name of a setting"));
    }
}
