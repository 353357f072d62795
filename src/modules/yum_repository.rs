//! `yum_repository`: a source of packages for dnf, yum and zypper, as a section of a file.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::file::{CHANGE, Edited, LOOK, Properties, first_line};
use super::text::{Line, end_line, lines_of, push};
use crate::module::{Answer, Mode, Module, OneOrMany, Path, Presence, Question, Surroundings, Touches, Verdict};
use crate::remote::Library;
use crate::sh;
use crate::shell::Pattern;

/// Have dnf, yum or zypper know a repository, or forget it.
///
/// The repository is the section `[NAME]` of a file; other sections of it stay.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct YumRepository {
    /// Id of the repository, which is the name of its section.
    name: String,
    /// What it is, for people.
    description: Option<String>,
    /// Name of the file, without `.repo`. Left out: `name`.
    file: Option<String>,
    /// Where the packages are.
    #[serde(default)]
    baseurl: OneOrMany,
    /// Where a list of mirrors is.
    mirrorlist: Option<String>,
    /// Where a metalink file is.
    metalink: Option<String>,
    /// Whether it is used.
    enabled: Option<bool>,
    /// Whether packages must be signed.
    gpgcheck: Option<bool>,
    /// Whether its lists must be signed.
    repo_gpgcheck: Option<bool>,
    /// Where the keys are that may sign.
    #[serde(default)]
    gpgkey: OneOrMany,
    /// Packages that are not taken from here.
    #[serde(default, alias = "excludepkgs")]
    exclude: OneOrMany,
    /// The only packages that are taken from here.
    #[serde(default)]
    includepkgs: OneOrMany,
    /// Lower numbers go first.
    priority: Option<u32>,
    /// Cost beside other repositories.
    cost: Option<u32>,
    /// Whether certificates must be right.
    sslverify: Option<bool>,
    /// Whether it is left out where it cannot be reached.
    skip_if_unavailable: Option<bool>,
    /// Whether its packages come before those of modules.
    module_hotfixes: Option<bool>,
    /// Seconds for which its lists hold.
    metadata_expire: Option<String>,
    /// Proxy to reach it by.
    proxy: Option<String>,
    /// `absent` removes the section, and an empty file with it.
    #[serde(default)]
    state: Presence,
    /// The folder of the file. Left out: `/etc/yum.repos.d` or, where there is only that one, `/etc/zypp/repos.d`.
    reposdir: Option<Path>,
    /// Permissions of the file. Left out: 0644.
    mode: Option<Mode>,
}

const USUAL: &str = "/etc/yum.repos.d";
const ZYPPER: &str = "/etc/zypp/repos.d";

impl Module for YumRepository {
    const NAME: &'static str = "yum_repository";
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE];

    fn check(&self) -> Result<()> {
        for (key, name) in [("name", Some(&self.name)), ("file", self.file.as_ref())] {
            if let Some(name) = name
                && (name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte)))
            {
                bail!("`{key}`: `{}` cannot be it | letters, digits, `.`, `_`, `:` and `-`", name.escape_debug());
            }
        }
        if self.state == Presence::Present && self.baseurl.0.is_empty() && self.mirrorlist.is_none() && self.metalink.is_none() {
            bail!("where are the packages? | give `baseurl`, `mirrorlist` or `metalink`");
        }
        let lists = [&self.baseurl, &self.gpgkey, &self.exclude, &self.includepkgs];
        let texts = [&self.description, &self.mirrorlist, &self.metalink, &self.metadata_expire, &self.proxy];
        if lists.iter().flat_map(|list| &list.0).chain(texts.into_iter().flatten()).any(|text| text.contains(['\n', '\r'])) {
            bail!("a value is one line | write several addresses as a list");
        }
        Ok(())
    }

    fn touches(&self, around: &Surroundings) -> Touches {
        Touches::Path(self.path(around, USUAL))
    }

    /// The folder, and what is at the file.
    fn probe(&self, around: &Surroundings) -> Question {
        let look = |folder: &str| {
            let path = self.path(around, folder);
            sh!("printf '%s\\n' {}", folder).then(&self.edited(&path, folder).probe())
        };
        Question::Ask(match &self.reposdir {
            Some(_) => look(USUAL),
            None => sh!("if [ ! -d {} ] && [ -d {} ]; then\n{}\nelse\n{}\nfi", USUAL, ZYPPER, look(ZYPPER), look(USUAL)),
        })
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let (folder, rest) = first_line(answer)?;
        let answer = &rest;
        let path = self.path(around, &folder);
        let old = super::file::Look::read(answer)?;
        if let (Presence::Absent, super::file::Shown::Bytes(old)) = (self.state, &old.shown)
            && self.edit(old).trim_ascii().is_empty()
        {
            return self.edited(&path, &folder).gone(answer);
        }
        self.edited(&path, &folder).verdict(around, answer, |old| Ok(self.edit(old)))
    }
}

impl YumRepository {
    fn path(&self, around: &Surroundings, folder: &str) -> String {
        let folder = self.reposdir.as_ref().map_or_else(|| folder.to_owned(), |folder| around.absolute(folder));
        format!("{folder}/{}.repo", self.file.as_ref().unwrap_or(&self.name))
    }

    fn edited<'a>(&'a self, path: &'a str, folder: &str) -> Edited<'a> {
        Edited { create: true, before: Pattern::exactly(format!("{folder}\n")), ..Edited::new(path, Properties { mode: self.mode.as_ref(), ..Properties::default() }) }
    }

    fn options(&self) -> Vec<(&'static str, String)> {
        let flag = |value: Option<bool>| value.map(|value| u8::from(value).to_string());
        let list = |list: &OneOrMany, between: &str| (!list.0.is_empty()).then(|| list.0.join(between));
        let all = [
            ("name", Some(self.description.clone().unwrap_or_else(|| self.name.clone()))),
            ("baseurl", list(&self.baseurl, "\n    ")),
            ("mirrorlist", self.mirrorlist.clone()),
            ("metalink", self.metalink.clone()),
            ("enabled", flag(self.enabled)),
            ("gpgcheck", flag(self.gpgcheck)),
            ("repo_gpgcheck", flag(self.repo_gpgcheck)),
            ("gpgkey", list(&self.gpgkey, "\n    ")),
            ("excludepkgs", list(&self.exclude, " ")),
            ("includepkgs", list(&self.includepkgs, " ")),
            ("priority", self.priority.map(|number| number.to_string())),
            ("cost", self.cost.map(|number| number.to_string())),
            ("sslverify", flag(self.sslverify)),
            ("skip_if_unavailable", flag(self.skip_if_unavailable)),
            ("module_hotfixes", flag(self.module_hotfixes)),
            ("metadata_expire", self.metadata_expire.clone()),
            ("proxy", self.proxy.clone()),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    fn edit(&self, old: &[u8]) -> Vec<u8> {
        let lines = lines_of(old);
        let is_head = |line: &Line| line.text.starts_with(b"[");
        let start = lines.iter().position(|line| line.text.trim_ascii_end() == format!("[{}]", self.name).as_bytes());
        let end = start.map_or(lines.len(), |start| lines[start + 1..].iter().position(is_head).map_or(lines.len(), |length| start + 1 + length));
        let start = start.unwrap_or(lines.len());
        let wanted: String = std::iter::once(format!("[{}]\n", self.name)).chain(self.options().into_iter().map(|(name, value)| format!("{name} = {value}\n"))).collect();
        // What stands there in other words, order or spacing is the same.
        let same = {
            let plain = |text: &str| -> Vec<String> {
                let mut lines: Vec<String> = text.lines().map(|line| line.split_once('=').map_or(line.trim().to_owned(), |(name, value)| format!("{}={}", name.trim(), value.trim()))).filter(|line| !line.is_empty()).collect();
                lines.sort();
                lines
            };
            let text: Vec<String> = lines[start..end].iter().map(|line| String::from_utf8_lossy(line.text).into_owned()).collect();
            plain(&text.join("\n")) == plain(&wanted)
        };
        if same && self.state == Presence::Present {
            return old.to_vec();
        }
        let mut new = Vec::new();
        for line in &lines[..start] {
            push(&mut new, *line);
        }
        if self.state == Presence::Present {
            end_line(&mut new);
            if start == lines.len() && !new.is_empty() && !new.ends_with(b"\n\n") {
                new.push(b'\n');
            }
            new.extend_from_slice(wanted.as_bytes());
            if end < lines.len() {
                new.push(b'\n');
            }
        }
        for line in &lines[end..] {
            push(&mut new, *line);
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::YumRepository;
    use crate::module::testing::{module, problems, verdict};

    const ARGUMENTS: &str = "name = 'lab'\ndescription = 'Lab'\nbaseurl = ['http://a', 'http://b']\ngpgcheck = false\nenabled = true";
    const SECTION: &str = "[lab]\nname = Lab\nbaseurl = http://a\n    http://b\nenabled = 1\ngpgcheck = 0\n";

    fn made(arguments: &str, old: &str) -> String {
        let module: YumRepository = module(arguments);
        let new = module.edit(old.as_bytes());
        assert_eq!(module.edit(&new), new, "a second time");
        String::from_utf8_lossy(&new).into_owned()
    }

    #[test]
    fn a_section_comes_changes_and_goes() {
        assert_eq!(made(ARGUMENTS, ""), SECTION);
        assert_eq!(made(ARGUMENTS, "[other]\nx=1\n"), format!("[other]\nx=1\n\n{SECTION}"));
        assert_eq!(made(ARGUMENTS, "[lab]\nname=Old\n[other]\nx=1\n"), format!("{SECTION}\n[other]\nx=1\n"));
        let other = "[lab]\ngpgcheck=0\nenabled=1\nname=Lab\nbaseurl=http://a\n    http://b\n";
        assert_eq!(made(ARGUMENTS, other), other);
        assert_eq!(made("name = 'lab'\nstate = 'absent'", &format!("[a]\nx=1\n{SECTION}")), "[a]\nx=1\n");
        assert!(problems::<YumRepository>("name = 'lab'").contains("where are the packages"));
    }

    #[test]
    fn an_empty_file_goes_with_its_last_section() {
        let text = verdict::<YumRepository>("name = 'lab'\nstate = 'absent'", 0, &format!("/etc/yum.repos.d\nfile 0644 0 0 root root 1 10 ab\ncontent\n{SECTION}"));
        assert!(text.starts_with("file -> absent\n"), "{text}");
    }
}
