//! `modprobe`: a module of the kernel is loaded, now and after a boot.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::file::{CHANGE, Edited, LOOK, Live, Properties};
use super::text::{Line, add_line, lines_of, push};
use crate::module::{Answer, Module, Presence, Question, Surroundings, Verdict};
use crate::remote::Library;
use crate::sh;
use crate::shell::Script;

/// Load or unload a module of the kernel, now and, with `persistent`, after every boot.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Modprobe {
    /// Name of the module, such as `br_netfilter`.
    name: String,
    /// `present`: it is loaded. `absent`: it is not.
    #[serde(default)]
    state: Presence,
    /// Parameters for loading it now, such as `"numdummies=2"`. A module that is loaded already keeps its own; those for a boot
    /// belong into a file below `/etc/modprobe.d`.
    #[serde(default)]
    params: String,
    /// `present`: `/etc/modules-load.d/NAME.conf` has it loaded at every boot. `absent`: that file has it loaded no more.
    /// Left out: nothing is said about it.
    persistent: Option<Presence>,
}

impl Module for Modprobe {
    const NAME: &'static str = "modprobe";
    const MAIN: Option<&'static str> = Some("name");
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE];

    fn check(&self) -> Result<()> {
        let odd = |letter: char| !(letter.is_ascii_alphanumeric() || "_-".contains(letter));
        if self.name.is_empty() || self.name.contains(odd) || self.name.starts_with('-') {
            bail!("`{}` is no name of a kernel module", self.name.escape_debug());
        }
        if self.params.contains('\n') {
            bail!("`params` is one line");
        }
        Ok(())
    }

    /// `loaded yes` or `loaded no`, then the file.
    fn probe(&self, _: &Surroundings) -> Question {
        // What is built in has a folder there, too.
        let now = sh!("if [ -d {} ]; then echo 'loaded yes'; else echo 'loaded no'; fi", format!("/sys/module/{}", self.name.replace('-', "_")));
        Question::Ask(now.then(&self.edited(&self.path()).probe()))
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let path = self.path();
        let params: Vec<&str> = self.params.split_whitespace().collect();
        let failed = |what: &str| format!("the kernel module {} cannot be {what}; the log of the kernel may say why (dmesg)", self.name);
        let load = sh!("modprobe -- {} {} || { core_say {}; exit 1; }", self.name, Script::call(&params), failed("loaded"));
        let unload = sh!("modprobe -r -- {} || { core_say {}; exit 1; }", self.name, failed("unloaded"));
        let (want, set, back) = match self.state {
            Presence::Present => ("loaded yes", load, unload),
            Presence::Absent => ("loaded no", unload, load),
        };
        let live = |_: &str| Live { want: Some(want.into()), set, back };
        self.edited(&path).verdict_live(around, answer, live, |old| {
            Ok(match self.persistent {
                Some(wanted) => self.edit(old, wanted),
                None => old.to_vec(),
            })
        })
    }
}

impl Modprobe {
    fn path(&self) -> String {
        format!("/etc/modules-load.d/{}.conf", self.name)
    }

    /// The list of modules with this one, or without it.
    fn edit(&self, old: &[u8], wanted: Presence) -> Vec<u8> {
        let is_it = |line: &Line| String::from_utf8_lossy(line.text).trim().replace('-', "_") == self.name.replace('-', "_");
        let lines = lines_of(old);
        if wanted == Presence::Present && lines.iter().any(is_it) {
            return old.to_vec();
        }
        let mut new = Vec::new();
        for line in lines.into_iter().filter(|line| !is_it(line)) {
            push(&mut new, line);
        }
        if wanted == Presence::Present {
            add_line(&mut new, &self.name);
        }
        new
    }

    fn edited<'a>(&self, path: &'a str) -> Edited<'a> {
        Edited { create: true, ..Edited::new(path, Properties::default()) }
    }
}

#[cfg(test)]
mod tests {
    use super::Modprobe;
    use crate::module::testing::verdict;

    #[test]
    fn a_module_is_loaded_now_and_at_every_boot() {
        let text = verdict::<Modprobe>("name = 'br_netfilter'\npersistent = 'present'", 0, "loaded no\nabsent\n");
        assert!(text.starts_with("absent, loaded no -> file, loaded yes\n") && text.contains("modprobe -- 'br_netfilter'"), "{text}");
        assert_eq!(verdict::<Modprobe>("name = 'dummy'", 0, "loaded yes\nabsent\n"), "in place");
        let text = verdict::<Modprobe>("name = 'dummy'\nparams = 'numdummies=2'", 0, "loaded no\nabsent\n");
        assert!(text.contains("modprobe -- 'dummy' 'numdummies=2'") && text.contains("undo   modprobe -r -- 'dummy'"), "{text}");
    }
}
