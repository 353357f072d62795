//! `apt_repository`: a source of packages for apt, in a file of its own.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::file::{CHANGE, Edited, LOOK, Properties};
use crate::module::{Answer, Mode, Module, OneOrMany, Presence, Question, Surroundings, Touches, Verdict};
use crate::remote::Library;
use crate::sh;
use crate::shell::Pattern;

/// Have apt know a repository, or forget it.
///
/// Either `repo`, one line as in sources.list, or the fields of the deb822 form (`uris`, `suites`, …). The file is
/// `/etc/apt/sources.list.d/NAME.list` or `NAME.sources`. apt reads the repository right away; where it cannot, the file goes
/// back to what it was, and the task fails.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AptRepository {
    /// Name of the file, without its ending.
    #[serde(alias = "filename")]
    name: String,
    /// The whole line: `deb [signed-by=…] https://… suite component`.
    repo: Option<String>,
    /// `deb`, `deb-src`, or both.
    #[serde(default)]
    types: OneOrMany,
    /// Where the packages are.
    #[serde(default)]
    uris: OneOrMany,
    /// Which releases, such as `bookworm` or `stable`; with `/` at its end a path, and then without components.
    #[serde(default)]
    suites: OneOrMany,
    /// Which parts, such as `main`.
    #[serde(default)]
    components: OneOrMany,
    /// Which processors, such as `amd64`.
    #[serde(default)]
    architectures: OneOrMany,
    /// The keys that may sign: the path of a keyring on the host, or the key itself (`-----BEGIN PGP PUBLIC KEY BLOCK-----`).
    signed_by: Option<String>,
    /// Trust the repository without a signature.
    trusted: Option<bool>,
    /// `false`: the repository is known, and not used.
    enabled: Option<bool>,
    /// `absent` removes the file.
    #[serde(default)]
    state: Presence,
    /// Have apt read the repository after a change.
    #[serde(default = "yes")]
    update_cache: bool,
    /// Permissions of the file. Left out: 0644.
    mode: Option<Mode>,
}

fn yes() -> bool {
    true
}

/// Only one repository is read, which takes a moment where all of them take long.
const UPDATE: &str = "apt-get -q update -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0 -o APT::Update::Error-Mode=any -o Dir::Etc::sourcelist=";
const FOLDER: &str = "/etc/apt/sources.list.d";

impl Module for AptRepository {
    const NAME: &'static str = "apt_repository";
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE];

    fn check(&self) -> Result<()> {
        if self.name.is_empty() || !self.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) || self.name.starts_with('.') {
            bail!("`name`: apt reads no file of the name `{}` | letters, digits, `.`, `_` and `-`", self.name.escape_debug());
        }
        if self.state == Presence::Absent {
            return Ok(());
        }
        let lists = [&self.types, &self.uris, &self.suites, &self.components, &self.architectures];
        if lists.iter().flat_map(|list| &list.0).any(|word| word.is_empty() || word.contains(char::is_whitespace)) {
            bail!("each of `types`, `uris`, `suites`, `components` and `architectures` is one word | write several as a list");
        }
        match &self.repo {
            Some(repo) if !self.uris.0.is_empty() || !self.suites.0.is_empty() => bail!("`repo` and `uris` exclude each other | `{}`", repo.escape_debug()),
            Some(repo) if repo.trim().contains('\n') => bail!("`repo` is one line"),
            Some(repo) if !repo.starts_with("deb ") && !repo.starts_with("deb-src ") => bail!("`repo` begins with `deb` or `deb-src`, and `{}` does not | for `ppa:…` give the whole line", repo.escape_debug()),
            Some(_) => Ok(()),
            None if self.uris.0.is_empty() || self.suites.0.is_empty() => bail!("where are the packages? | give `repo`, or `uris` and `suites`"),
            None if self.components.0.is_empty() && !self.suites.0.iter().all(|suite| suite.ends_with('/')) => bail!("`components` is missing | such as `main`; only a suite with `/` at its end has none"),
            None => Ok(()),
        }
    }

    fn touches(&self, _: &Surroundings) -> Touches {
        Touches::Path(self.path())
    }

    fn probe(&self, _: &Surroundings) -> Question {
        let path = self.path();
        let has_apt = sh!("command -v apt-get >/dev/null 2>&1 || { core_die 'this host has no apt; `yum_repository` is for dnf, yum and zypper'; exit 3; }");
        if self.state == Presence::Absent {
            // Whichever of both forms is there.
            let (sources, list) = (self.path_as("sources"), self.path_as("list"));
            let which = sh!("_f={}\n[ -e {} ] || [ ! -e {} ] || _f={}\nprintf 'path %s\\n' \"$_f\"", sources, sources, list, list);
            return Question::Ask(has_apt.then(&which).then(&sh!("file_look \"$_f\" nofollow '?' {}", super::file::EDITED_BYTES)));
        }
        Question::Ask(has_apt.then(&self.edited(&path).probe()))
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let path = self.path();
        match self.state {
            Presence::Absent => {
                let (line, rest) = super::file::first_line(answer)?;
                let there = line.strip_prefix("path ").unwrap_or_default().to_owned();
                let before = Pattern::exactly(format!("path {}\n", self.path_as("sources")));
                Edited { before, ..self.edited(&there) }.gone(&rest)
            }
            Presence::Present => self.edited(&path).verdict(around, answer, |_| Ok(self.text().into_bytes())),
        }
    }
}

impl AptRepository {
    fn path(&self) -> String {
        self.path_as(if self.repo.is_some() { "list" } else { "sources" })
    }

    fn path_as(&self, kind: &str) -> String {
        let name = self.name.strip_suffix(".list").or_else(|| self.name.strip_suffix(".sources")).unwrap_or(&self.name);
        format!("{FOLDER}/{name}.{kind}")
    }

    fn edited<'a>(&'a self, path: &'a str) -> Edited<'a> {
        let properties = Properties { mode: self.mode.as_ref(), ..Properties::default() };
        let reads = self.update_cache && self.state == Presence::Present && self.enabled != Some(false);
        let mut edited = Edited { create: true, ..Edited::new(path, properties) };
        edited.tested = reads.then(|| sh!("{}{}", crate::shell::Script::raw(UPDATE), path));
        edited
    }

    fn text(&self) -> String {
        if let Some(repo) = &self.repo {
            let mark = if self.enabled == Some(false) { "# " } else { "" };
            return format!("{mark}{}\n", repo.trim());
        }
        let mut text = String::new();
        let mut field = |name: &str, value: &str| {
            if !value.is_empty() {
                text.push_str(&format!("{name}: {value}\n"));
            }
        };
        let yes_no = |value: bool| if value { "yes" } else { "no" };
        field("Types", if self.types.0.is_empty() { "deb".to_owned() } else { self.types.0.join(" ") }.as_str());
        field("URIs", &self.uris.0.join(" "));
        field("Suites", &self.suites.0.join(" "));
        field("Components", &self.components.0.join(" "));
        field("Architectures", &self.architectures.0.join(" "));
        field("Enabled", self.enabled.map_or("", yes_no));
        field("Trusted", self.trusted.map_or("", yes_no));
        match self.signed_by.as_deref().map(str::trim) {
            Some(key) if key.contains('\n') => {
                // Each line of a key is indented, and an empty one is a dot.
                let lines: Vec<String> = key.lines().map(|line| format!(" {}", if line.trim().is_empty() { "." } else { line.trim_end() })).collect();
                text.push_str(&format!("Signed-By:\n{}\n", lines.join("\n")));
            }
            Some(path) => field("Signed-By", path),
            None => {}
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::AptRepository;
    use crate::module::testing::{module, problems, verdict};

    #[test]
    fn a_repository_has_a_file_in_either_form() {
        let text = verdict::<AptRepository>("name = 'lab'\nrepo = 'deb [trusted=yes] file:/srv/repo ./'", 0, "absent\n");
        assert!(text.contains("file_put '/etc/apt/sources.list.d/lab.list'") && text.contains("apt-get -q update"), "{text}");
        let module: AptRepository = module("name = 'x'\nuris = 'https://example.com'\nsuites = ['a', 'b']\ncomponents = 'main'\nsigned_by = \"-----BEGIN\\n\\nabc\\n-----END\"\nenabled = false");
        assert_eq!(module.text(), "Types: deb\nURIs: https://example.com\nSuites: a b\nComponents: main\nEnabled: no\nSigned-By:\n -----BEGIN\n .\n abc\n -----END\n");
    }

    #[test]
    fn what_apt_would_not_read_is_refused() {
        assert!(problems::<AptRepository>("name = 'x'\nrepo = 'ppa:a/b'").contains("begins with `deb`"));
        assert!(problems::<AptRepository>("name = 'x y'\nrepo = 'deb x y'").contains("apt reads no file"));
        assert!(problems::<AptRepository>("name = 'x'\nuris = 'https://a'\nsuites = 'stable'").contains("`components` is missing"));
    }
}
