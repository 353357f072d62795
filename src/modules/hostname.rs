//! `hostname`: what a host calls itself, now and after a boot.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::file::{CHANGE, Edited, LOOK, Live, Properties};
use crate::module::{Answer, Module, Question, Surroundings, Touches, Verdict};
use crate::remote::Library;
use crate::sh;

const PATH: &str = "/etc/hostname";

/// Set the name of the host, now and after every boot.
///
/// The name goes into `/etc/hostname` and into the running kernel. `/etc/hosts` is left as it is; a `lineinfile` task puts
/// the name in there.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hostname {
    /// The name, such as `web1` or `web1.example.com`.
    name: String,
}

impl Module for Hostname {
    const NAME: &'static str = "hostname";
    const MAIN: Option<&'static str> = Some("name");
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE];

    fn check(&self) -> Result<()> {
        let good = |part: &str| !part.is_empty() && part.len() <= 63 && !part.starts_with('-') && !part.ends_with('-') && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if self.name.len() > 64 || !self.name.split('.').all(good) {
            bail!("`{}` is no host name | letters, digits and `-`, in parts parted by dots, 64 letters at most", self.name.escape_debug());
        }
        Ok(())
    }

    fn touches(&self, _: &Surroundings) -> Touches {
        Touches::Path(PATH.into())
    }

    /// `name NAME`, then the file.
    fn probe(&self, _: &Surroundings) -> Question {
        Question::Ask(sh!("printf 'name %s\\n' \"$(uname -n)\"").then(&edited().probe()))
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        // `hostname` may be missing, and the kernel's own file may be read-only.
        let set = |name: &str| sh!("hostname -- {} 2>/dev/null || hostname {} 2>/dev/null || printf '%s\\n' {} >/proc/sys/kernel/hostname || { core_say 'the running kernel did not take the name'; exit 1; }", name, name, name);
        let live = |now: &str| Live {
            want: Some(format!("name {}", self.name)),
            set: set(&self.name),
            back: set(now.strip_prefix("name ").unwrap_or_default()),
        };
        edited().verdict_live(around, answer, live, |old| {
            let has = String::from_utf8_lossy(old).lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).is_some_and(|line| line == self.name);
            Ok(if has { old.to_vec() } else { format!("{}\n", self.name).into_bytes() })
        })
    }
}

fn edited() -> Edited<'static> {
    Edited { create: true, ..Edited::new(PATH, Properties::default()) }
}

#[cfg(test)]
mod tests {
    use super::Hostname;
    use crate::module::testing::{problems, verdict};

    #[test]
    fn a_name_is_set_in_the_file_and_in_the_kernel() {
        let text = verdict::<Hostname>("name = 'web1'", 0, "name old\nfile 0644 0 0 root root 1 4 ab\ncontent\nold\n");
        assert!(text.starts_with("old content, name old -> new content, name web1\n") && text.contains("hostname -- 'web1'"), "{text}");
        assert_eq!(verdict::<Hostname>("name = 'web1'", 0, &format!("name web1\nfile 0644 0 0 root root 1 5 {}\ncontent\nweb1\n", crate::module::Content::new(b"web1\n".to_vec()).sha256())), "in place");
        assert!(problems::<Hostname>("name = 'web_1'").contains("is no host name"));
    }
}
