//! `package`: software packages, through the package manager that the host has.

mod request;
#[cfg(test)]
mod tests;

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::module::{Libraries, Answer, Change, Effect, Module, OneOrMany, Question, Surroundings, Undo, Verdict, diff};
use crate::remote::Library;
use crate::sh;
use crate::shell::{Pattern, Script};
use request::Found;

/// Questions about packages, alone and together with others.
pub static LOOK: Library = Library { name: "package_look", text: concat!(include_str!("look.sh"), include_str!("ask.sh")) };
static NEWEST: Library = Library { name: "package_newest", text: include_str!("newest.sh") };
static CHANGE: Library = Library { name: "package_change", text: concat!(include_str!("lock.sh"), include_str!("change.sh")) };

/// Install, upgrade or remove software packages.
///
/// Works with apt, dnf, yum, zypper, pacman and apk, whichever the host has. Names are those of the host's repositories.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a parameter that stands alone")]
pub struct Package {
    /// Name of a package, or a list of names, which are handed to the manager together. `name=1.2` asks for a version, which
    /// may have `*` in it; an older one is installed if need be.
    #[serde(default, alias = "pkg")]
    name: OneOrMany,
    /// `present`: installed, in any version that was not asked for otherwise; `latest`: and in the newest version that the
    /// repositories have; `absent`: not installed.
    #[serde(default)]
    state: State,
    /// Fetch the lists of the repositories first: with `name` only when something has to be changed, or for `latest`;
    /// without `name` always. `cache_valid_time` says how old they may be.
    #[serde(default)]
    update_cache: bool,
    /// Seconds for which fetched lists are good enough. Sets `update_cache`.
    #[serde(default)]
    cache_valid_time: u64,
    /// Seconds to wait while somebody else is using the package manager.
    #[serde(default = "five_minutes")]
    lock_timeout: u64,
    /// With `absent`: remove configuration files as well (apt, pacman, apk).
    #[serde(default)]
    purge: bool,
    /// Whether packages that are only recommended come along (apt, dnf, zypper). Without it the host decides.
    install_recommends: Option<bool>,
    /// Also remove packages that came along with others and that nothing needs any more.
    #[serde(default)]
    autoremove: bool,
    /// Allow that other packages are removed, if that is what it takes. Without it such a change is refused.
    #[serde(default)]
    allow_removals: bool,
    /// Repositories that are used for this task although they are not enabled, such as `epel-testing`; `*` stands for any
    /// letters (dnf, yum).
    #[serde(default)]
    enablerepo: OneOrMany,
    /// Repositories that this task does without; `*` alone leaves only those of `enablerepo` (dnf, yum).
    #[serde(default)]
    disablerepo: OneOrMany,
}

fn five_minutes() -> u64 {
    300
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum State {
    #[default]
    #[serde(alias = "installed")]
    Present,
    #[serde(alias = "removed")]
    Absent,
    Latest,
}

impl Module for Package {
    const NAME: &'static str = "package";
    const MAIN: Option<&'static str> = Some("name");
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK, &NEWEST];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE];

    fn libraries(&self, _: &Surroundings) -> Libraries {
        if self.state == State::Latest {
            Libraries { probe: vec![&LOOK, &NEWEST], apply: vec![&CHANGE] }
        } else {
            Libraries { probe: vec![&LOOK], apply: vec![&NEWEST, &CHANGE] }
        }
    }

    fn check(&self) -> Result<()> {
        if self.names().is_empty() && !self.refreshes() {
            bail!("there is nothing to do | set `name`, or `update_cache` to fetch the lists of the repositories");
        }
        for name in self.names() {
            if name.is_empty() || name.starts_with('-') || name.contains(char::is_whitespace) || name.contains(',') {
                bail!("`{name}` is not the name of a package | write several as a list");
            }
            if name.contains('/') || name.starts_with('@') {
                bail!("`{name}` is not the name of a package | files, URLs and groups are not supported, only names from repositories");
            }
            let plain = name.split('=').next().unwrap_or(name);
            if plain.contains(['*', '?', ';', '&', '|', '$', '`', '\'', '"', '<', '>', '\\', '!']) {
                bail!("`{name}` is not the name of a package | write each name in full");
            }
            let others = || self.names().iter().filter(|other| *other != name && other.split('=').next() == Some(plain));
            if let Some(other) = others().find(|other| other.contains('=') && name.contains('=')) {
                bail!("`{name}` and `{other}` cannot both be installed | keep one of them");
            }
            if name.contains('=') && self.state != State::Present {
                bail!("`{name}` asks for a version, but the state asks for another | write the name alone, or state = \"present\"");
            }
        }
        for (key, names) in [("enablerepo", &self.enablerepo), ("disablerepo", &self.disablerepo)] {
            let known = |letter: char| letter.is_ascii_alphanumeric() || "-_.:+*?,/".contains(letter);
            if let Some(name) = names.0.iter().find(|name| name.is_empty() || !name.chars().all(known)) {
                bail!("`{key}` has `{}`, which is not the name of a repository | names are what `dnf repolist --all` shows", name.escape_debug());
            }
        }
        if self.purge && self.state != State::Absent {
            bail!("`purge` goes with removing | write state = \"absent\" or take `purge` out");
        }
        Ok(())
    }

    fn patience_seconds(&self) -> Option<u64> {
        // A large upgrade takes its time after the lock has been had.
        Some(self.lock_timeout.saturating_add(1500))
    }

    fn probe(&self, _: &Surroundings) -> Question {
        let age = self.cache_valid_time.to_string();
        let mode = self.mode();
        let words = match (self.names().is_empty(), self.refreshes()) {
            (true, _) => vec!["package_cache", &age],
            (false, false) => vec!["package_look", mode],
            (false, true) => vec!["package_look_aged", &age, mode],
        };
        Question::Ask(self.with_repositories(Script::call(words.into_iter().chain(self.names().iter().map(String::as_str)))))
    }

    fn undo_after(&self, before: &Answer, printed: &[u8]) -> Option<Undo> {
        self.all_back(before, printed)
    }

    fn compare(&self, _: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let text = answer.text()?;
        if self.names().is_empty() {
            return Ok(self.refreshing(text));
        }
        // The age is a remark, since time passes while nothing changes.
        let refresh = self.refreshes() && !String::from_utf8_lossy(&answer.remark).lines().any(|line| line == "fresh");
        let found = Found::all(text)?;
        let open: Vec<&Found> = found.iter().filter(|one| one.is_open(self.state, self.purge)).collect();
        // What is the newest is known only once the lists have been fetched.
        let asks_newest = refresh && self.state == State::Latest;
        if open.is_empty() && !asks_newest {
            return Ok(Verdict::in_place());
        }
        let side = |pick: fn(&Found) -> String| {
            open.iter().map(|one| format!("{} {}", one.name(), pick(one))).collect::<Vec<_>>().join(", ")
        };
        let (from, to) = match self.state {
            _ if open.is_empty() => ("newest known".to_owned(), "newest there is".to_owned()),
            State::Absent => (side(|one| one.before()), side(|_| "absent".to_owned())),
            _ => (side(|one| one.before()), side(|one| one.after())),
        };
        let changed: Vec<&Found> = if asks_newest { found.iter().collect() } else { open.clone() };
        let undo = Undo::BestEffort(self.back_to(&changed), "packages that came or went along stay as they are then".to_owned());
        let mut change = Change::new(from, to, self.apply(refresh), self.expected(text, &found), undo);
        change.apply.group = true;
        if open.is_empty() {
            change.effect = Effect::ChangeIfAnswerDiffers;
        } else {
            let after = |one: &Found| if self.state == State::Absent { "absent".to_owned() } else { one.after() };
            let shown: Vec<_> = open.iter().map(|one| (one.name(), one.before(), after(one))).collect();
            change.diff = diff::properties("packages", &shown);
        }
        Ok(Verdict::differs(change))
    }
}

impl Package {
    /// Every package that came, went or changed with the transaction, back in its version from before.
    fn all_back(&self, before: &Answer, printed: &[u8]) -> Option<Undo> {
        let printed = String::from_utf8_lossy(printed);
        let changed: Vec<String> = printed
            .lines()
            .filter_map(|line| line.strip_prefix("package-changed "))
            .filter_map(|line| {
                let mut words = line.split(' ');
                Some(format!("{}={}", words.next()?, words.next()?))
            })
            .collect();
        if changed.is_empty() {
            return None;
        }
        // Configuration that was there before stays; of a package that was not known at all nothing is left.
        let had_configuration = Found::all(before.text().ok()?).ok()?.iter().any(|one| one.state == "config");
        let options = if had_configuration { "removals" } else { "removals,purge" };
        Some(Undo::BestEffort(self.call(options, "exact", changed), "as far as the repositories still have the versions from before".into()))
    }

    /// The lists alone, which are no change of the host.
    fn refreshing(&self, text: &str) -> Verdict {
        if text == "fresh\n" {
            return Verdict::in_place();
        }
        let undo = Undo::BestEffort(sh!(":"), "the lists of the repositories stay as new as they are".to_owned());
        let mut change = Change::new("stale lists", "fresh lists", self.apply(false), Pattern::exactly("fresh\n"), undo);
        if self.cache_valid_time == 0 {
            // Nothing is ever fresh enough then.
            change.expect = None;
        }
        change.apply.group = true;
        change.effect = Effect::Nothing;
        Verdict::differs(change)
    }

    fn apply(&self, refresh: bool) -> Script {
        let wanted = [
            (refresh, "refresh"),
            (self.purge, "purge"),
            (self.autoremove, "autoremove"),
            (self.install_recommends == Some(true), "recommends"),
            (self.install_recommends == Some(false), "no-recommends"),
            (self.allow_removals, "removals"),
        ];
        let options: Vec<&str> = wanted.iter().filter(|one| one.0).map(|one| one.1).collect();
        let options = if options.is_empty() { "-".to_owned() } else { options.join(",") };
        let action = match self.state {
            _ if self.names().is_empty() => "refresh",
            State::Present => "install",
            State::Latest => "latest",
            State::Absent => "remove",
        };
        self.call(&options, action, self.names().to_vec())
    }

    /// The same packages in the same versions as before.
    fn back_to(&self, changed: &[&Found]) -> Script {
        let names = changed.iter().filter(|one| one.state != "provided").map(|one| format!("{}={}", one.name(), one.installed));
        self.call("removals", "exact", names.collect())
    }

    fn call(&self, options: &str, action: &str, names: Vec<String>) -> Script {
        let words = ["package_apply".to_owned(), self.lock_timeout.to_string(), options.to_owned(), action.to_owned()];
        self.with_repositories(Script::call(words.into_iter().chain(names)))
    }

    fn with_repositories(&self, script: Script) -> Script {
        let (on, off) = (self.enablerepo.0.join(","), self.disablerepo.0.join(","));
        if on.is_empty() && off.is_empty() { script } else { sh!("package_repositories {} {}\n{}", on, off, script) }
    }

    fn expected(&self, text: &str, found: &[Found]) -> Pattern {
        let head = text.lines().next().unwrap_or_default();
        let mut pattern = Pattern::exactly(format!("{head}\n"));
        // A name may be provided by another package in the end, so the last line tells whether all is well.
        for one in found {
            pattern = pattern.and(format!("{} ", one.asked));
            pattern = if self.purge { pattern.and("absent - -") } else { pattern.and_anything() };
            pattern = pattern.and("\n");
        }
        pattern.and("met yes\n")
    }

    fn names(&self) -> &[String] {
        &self.name.0
    }

    fn refreshes(&self) -> bool {
        self.update_cache || self.cache_valid_time > 0
    }

    fn mode(&self) -> &'static str {
        match self.state {
            State::Present => "present",
            State::Latest => "latest",
            State::Absent => "absent",
        }
    }
}
