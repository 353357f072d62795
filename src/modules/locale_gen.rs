//! `locale_gen`: a language that the programs of a host can speak.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::file::{CHANGE, Edited, LOOK, Live, Properties, first_line};
use super::text::{Line, lines_of, push};
use crate::module::{Answer, Module, Presence, Question, Surroundings, Touches, Verdict};
use crate::remote::Library;
use crate::sh;

/// Generate a locale, and keep it in `/etc/locale.gen` (Debian, Ubuntu, Arch).
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocaleGen {
    /// The locale, such as `de_DE.UTF-8`.
    name: String,
    /// `absent` takes it out of the file, and generates the others anew.
    #[serde(default)]
    state: Presence,
}

const PATH: &str = "/etc/locale.gen";

impl Module for LocaleGen {
    const NAME: &'static str = "locale_gen";
    const MAIN: Option<&'static str> = Some("name");
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE];

    fn check(&self) -> Result<()> {
        if self.name.is_empty() || !self.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte)) {
            bail!("`{}` is no locale | write it as `de_DE.UTF-8`", self.name.escape_debug());
        }
        Ok(())
    }

    fn touches(&self, _: &Surroundings) -> Touches {
        Touches::Path(PATH.into())
    }

    /// `generated yes` or `no`, then the file.
    fn probe(&self, _: &Surroundings) -> Question {
        // `locale -a` writes the codeset in small letters and without dashes.
        let (language, rest) = self.name.split_once('.').unwrap_or((&self.name, ""));
        let (codeset, modifier) = rest.split_once('@').map_or((rest, String::new()), |(codeset, modifier)| (codeset, format!("@{modifier}")));
        let short: String = codeset.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
        let listed = if short.is_empty() { language.to_owned() } else { format!("{language}.{short}{modifier}") };
        let now = sh!(
            "command -v locale-gen >/dev/null 2>&1 || { core_die 'this host has no locale-gen; install the package locales'; exit 3; }\n\
             _g=no\nfor _l in $(locale -a 2>/dev/null); do [ \"$_l\" != {} ] || _g=yes; done\necho \"generated $_g\"",
            listed
        );
        Question::Ask(now.then(&edited().probe()))
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let (_, rest) = first_line(answer)?;
        let generate = || sh!("locale-gen >/dev/null || { core_say {}; exit 1; }", format!("the locale {} cannot be generated", self.name));
        let want = if self.state == Presence::Present { "generated yes" } else { "generated no" };
        let text = String::from_utf8_lossy(&rest.stdout).into_owned();
        let is_named = text.lines().any(|line| line.trim_start_matches('#').split_whitespace().next() == Some(&self.name));
        if self.state == Presence::Present && !is_named {
            bail!("{PATH} of this host does not know the locale {}; look how it is spelt there", self.name);
        }
        let live = |_: &str| Live { want: Some(want.into()), set: generate(), back: generate() };
        edited().verdict_live(around, answer, live, |old| Ok(self.edit(old)))
    }
}

fn edited() -> Edited<'static> {
    Edited::new(PATH, Properties::default())
}

impl LocaleGen {
    fn edit(&self, old: &[u8]) -> Vec<u8> {
        let mut new = Vec::new();
        for line in lines_of(old) {
            let text = String::from_utf8_lossy(line.text).into_owned();
            let bare = text.trim_start_matches(['#', ' ']);
            let is_it = bare.split_whitespace().next() == Some(&self.name) && bare.split_whitespace().count() == 2;
            let is_off = text.trim_start().starts_with('#');
            let changed = match (is_it, self.state, is_off) {
                (true, Presence::Present, true) => Some(bare.trim_end().to_owned()),
                (true, Presence::Absent, false) => Some(format!("# {}", bare.trim_end())),
                _ => None,
            };
            match &changed {
                Some(text) => push(&mut new, Line { text: text.as_bytes(), ending: line.ending }),
                None => push(&mut new, line),
            }
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::LocaleGen;
    use crate::module::testing::{module, problems};

    #[test]
    fn a_line_is_opened_and_closed() {
        let made = |arguments: &str, old: &str| String::from_utf8_lossy(&module::<LocaleGen>(arguments).edit(old.as_bytes())).into_owned();
        assert_eq!(made("name = 'de_DE.UTF-8'", "# de_DE ISO-8859-1\n# de_DE.UTF-8 UTF-8\n"), "# de_DE ISO-8859-1\nde_DE.UTF-8 UTF-8\n");
        assert_eq!(made("name = 'de_DE.UTF-8'\nstate = 'absent'", "de_DE.UTF-8 UTF-8\n"), "# de_DE.UTF-8 UTF-8\n");
        assert!(problems::<LocaleGen>("name = 'de DE'").contains("is no locale"));
    }
}
