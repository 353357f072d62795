//! `user`: an account on a host.
//!
//! Here are the parameters and how they become words for the shell functions; [`edits`] finds what differs.

mod edits;
mod key;
#[cfg(test)]
mod tests;

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::account::{self, Expected, Expiry, Lines};
use crate::module::{Answer, Change, Libraries, Module, OneOrMany, Path, Presence, Question, Surroundings, Undo, Verdict, diff};
use crate::remote::Library;
use crate::secret::MASK;
use crate::sh;
use crate::shell::{Pattern, Script};
use edits::Account;

/// Add, change or remove a user.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a parameter that stands alone")]
pub struct User {
    /// Login name.
    name: String,
    /// `present`: the user exists, with the properties that are given here; `absent`: there is none of this name.
    #[serde(default)]
    state: Presence,
    /// Number of the user. When it changes, the files in the home folder change owner too.
    uid: Option<u32>,
    /// Primary group, by name or number; it must exist. A new user without it gets what the host's tools give, usually a
    /// group of the same name.
    group: Option<String>,
    /// The other groups, by name: a list, or a text with commas. The user is taken out of all that are not named, unless
    /// `append` is set; an empty list takes it out of all.
    groups: Option<OneOrMany>,
    /// Add to `groups`, and stay in the groups that are not named.
    #[serde(default)]
    append: bool,
    /// Home folder. Nothing is moved there unless `move_home` is set.
    home: Option<Path>,
    /// Login shell.
    shell: Option<Path>,
    /// Full name or description (the GECOS field).
    comment: Option<String>,
    /// A new user gets a number from the range for services. Says nothing about a user that exists.
    #[serde(default)]
    system: bool,
    /// Make the home folder. A new user gets one unless this is `false`; a user that exists gets a missing one only when
    /// this is `true`.
    create_home: Option<bool>,
    /// When `home` changes, take along what is in the old folder.
    #[serde(default)]
    move_home: bool,
    /// With `state = "absent"`: remove the home folder and the mail of the user as well. They cannot come back.
    #[serde(default)]
    remove: bool,
    /// Password, as the hash that `openssl passwd -6` prints; `"*"` allows no login by password. Keep it in a secret file.
    password: Option<String>,
    /// Lock the password, or unlock it. Keys still open the door; use `expires` to shut the account.
    password_lock: Option<bool>,
    /// `always`: set the password whenever it differs; `on_create`: only give it to a new user.
    #[serde(default)]
    update_password: UpdatePassword,
    /// The day on which the account ends, such as `"2027-01-31"`, or `"never"`.
    expires: Option<Expiry>,
    /// Make a key pair for SSH in the home folder, where there is none. It has no passphrase; `openssh_keypair` makes others. The
    /// result has the public key in `ssh_public_key`.
    #[serde(default)]
    generate_ssh_key: bool,
    /// `ed25519`, `rsa` or `ecdsa`. Left out: `ed25519`. A key that is there is not judged by it.
    ssh_key_type: Option<String>,
    /// Size of a new key; not for `ed25519`. Left out: what ssh-keygen of the host makes.
    ssh_key_bits: Option<u32>,
    /// The private key; below the home folder, unless it begins with `/`. Left out: `.ssh/id_` and the type.
    ssh_key_file: Option<String>,
    /// Left out: user and host.
    ssh_key_comment: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum UpdatePassword {
    #[default]
    Always,
    OnCreate,
}

impl Module for User {
    const NAME: &'static str = "user";
    const MAIN: Option<&'static str> = Some("name");
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&account::LOOK, &key::KEY];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&account::CHANGE];

    fn libraries(&self, _: &Surroundings) -> Libraries {
        let mut libraries = Libraries { probe: vec![&account::LOOK], apply: vec![&account::CHANGE] };
        if self.generate_ssh_key {
            libraries.probe.push(&key::KEY);
        }
        libraries
    }

    fn check(&self) -> Result<()> {
        account::refuse_odd_name("name", &self.name)?;
        self.check_key()?;
        if self.name == "root" && self.state == Presence::Absent {
            bail!("no host works without the user `root`, so it is not removed");
        }
        if let Some(group) = self.group.as_deref().filter(|group| !is_number(group)) {
            account::refuse_odd_name("group", group)?;
        }
        for group in self.wanted_groups().unwrap_or_default() {
            account::refuse_odd_name("groups", group)?;
        }
        if self.append && self.groups.is_none() {
            bail!("`append` says what to do with `groups`, which are not given | name the groups to add");
        }
        if self.move_home && self.home.is_none() {
            bail!("`move_home` needs a place to move to | set `home`");
        }
        let line = [self.comment.as_deref(), self.home.as_ref().map(Path::as_str), self.shell.as_ref().map(Path::as_str)];
        if line.into_iter().flatten().any(|text| text.contains([':', '\n'])) {
            bail!("`comment`, `home` and `shell` cannot hold a colon or a line break | they share one line of /etc/passwd");
        }
        match &self.password {
            Some(hash) if !is_hash(hash) => {
                bail!("`password` is not a crypt hash | `openssl passwd -6` prints one; the password itself never goes to a host")
            }
            Some(hash) if hash.starts_with('!') && self.password_lock == Some(false) => {
                bail!("a hash that begins with `!` is locked, but `password_lock` is false | take one of them out")
            }
            _ => Ok(()),
        }
    }

    fn probe(&self, _: &Surroundings) -> Question {
        let hash = self.kept_password().unwrap_or_default();
        let mut words = vec!["account_user", &self.name, hash];
        words.extend(self.asked_groups());
        Question::Ask(self.with_key(Script::call(words)))
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let lines = Lines::of(answer)?;
        match (self.state, lines.value("user")?) {
            (Presence::Absent, "absent") => Ok(Verdict::in_place()),
            (Presence::Absent, _) => self.removal(&lines),
            (Presence::Present, "absent") => self.addition(around, &lines),
            (Presence::Present, _) => self.alteration(around, &lines),
        }
    }
}

impl User {
    fn addition(&self, around: &Surroundings, lines: &Lines) -> Result<Verdict> {
        lines.refuse_unchangeable(&self.title())?;
        self.refuse_missing_groups(lines)?;
        if self.password_lock == Some(false) && self.password.is_none() {
            bail!("{} is new and has no password, so there is none to unlock: set `password`", self.title());
        }
        let creates_home = self.create_home.unwrap_or(true);
        let groups = self.wanted_groups().filter(|groups| !groups.is_empty());
        let mut properties = Vec::new();
        let mut property = |key, value: Option<String>| properties.extend(value.map(|value| (key, value)));
        property("uid", self.uid.map(|uid| uid.to_string()));
        property("group", self.group.clone());
        property("groups", groups.as_ref().map(|groups| groups.join(",")));
        property("home", self.home.as_ref().map(|home| around.absolute(home)));
        property("shell", self.shell.as_ref().map(|shell| around.absolute(shell)));
        property("comment", self.comment.clone());
        property("system", self.system.then(|| "yes".to_owned()));
        property("create_home", (!creates_home).then(|| "no".to_owned()));
        property("password", self.password.clone());
        property("lock", self.password_lock.map(|lock| if lock { "yes" } else { "no" }.to_owned()));
        property("expires", self.expires.map(Expiry::days));

        let mut shown = vec![("state", "absent".to_owned(), "present".to_owned())];
        shown.extend(properties.iter().map(|(key, value)| {
            let value = match *key {
                "password" => MASK.to_owned(),
                "expires" => Expiry::shown(value),
                _ => value.clone(),
            };
            (*key, "-".to_owned(), value)
        }));
        // A primary group given by number has a name that is not known yet, which may be among the others.
        let sure = !self.group.as_deref().is_some_and(is_number);
        let groups = groups.filter(|_| sure).map(|groups| words(groups.into_iter().filter(|one| Some(*one) != self.group.as_deref())));
        let home = creates_home.then_some("present");
        let expect = self.expected(around, lines, groups.as_deref(), home, self.password.is_some())?;
        let apply = self.call("account_user_add", properties.iter().map(|(key, value)| format!("{key}={value}")));
        let (mut apply, mut unadd) = (apply, self.unadded(lines, creates_home)?);
        if let Some((make, unmake)) = self.key_change(lines)? {
            (apply, unadd) = (sh!("{} && {}", apply, make), sh!("{} && {}", unmake, unadd));
            shown.push(("ssh key", "-".to_owned(), self.key_file()));
        }
        let mut change = Change::new("absent", "present", apply, expect, Undo::Run(unadd));
        change.diff = diff::properties(&self.title(), &shown);
        Ok(Verdict::differs(change))
    }

    /// Takes a new user away again, but not a group of the same name that was there before.
    fn unadded(&self, lines: &Lines, creates_home: bool) -> Result<Script> {
        let mut words = Vec::new();
        if creates_home {
            words.push("remove=pristine".to_owned());
        }
        if !lines.list("missing")?.contains(&self.name.as_str()) && self.asked_groups().contains(&self.name.as_str()) {
            words.push(format!("group={}", self.name));
        }
        Ok(self.call("account_user_remove", words))
    }

    fn removal(&self, lines: &Lines) -> Result<Verdict> {
        lines.refuse_unchangeable(&self.title())?;
        let account = Account::of(lines)?;
        let apply = self.call("account_user_remove", self.remove.then(|| "remove=yes".to_owned()));
        let expect = Expected::default().line("tools", lines.value("tools")?).any("missing").line("user", "absent").pattern();
        let readded = self.call("account_user_add", account.words());
        let restored = self.call("account_restore", None);
        let undo = if self.remove {
            Undo::BestEffort(readded, format!("the password, the mail and the files in {} do not come back", account.dir))
        } else {
            Undo::Restore(sh!("{} && {}", readded, restored))
        };
        let mut change = Change::new("present", "absent", apply, expect, undo);
        // A home folder may be large.
        change.apply.group = self.remove;
        if !self.remove {
            change.keep = self.call("account_keep", None);
        }
        let mut shown = vec![("state", "present".to_owned(), "absent".to_owned()), ("uid", account.uid.to_owned(), "-".to_owned())];
        if self.remove {
            shown.push(("home", account.dir.to_owned(), "-".to_owned()));
        }
        change.diff = diff::properties(&self.title(), &shown);
        Ok(Verdict::differs(change))
    }

    /// The answer after a change: exact where the task says something, anything elsewhere.
    fn expected(
        &self,
        around: &Surroundings,
        lines: &Lines,
        groups: Option<&str>,
        home: Option<&str>,
        sets_password: bool,
    ) -> Result<Pattern> {
        let (by_number, by_name): (Option<&str>, Option<&str>) = match self.group.as_deref() {
            Some(group) if is_number(group) => (Some(group), None),
            group => (None, group),
        };
        let locked = match (self.password_lock, &self.password) {
            (Some(lock), _) => Some(lock),
            (None, Some(hash)) if sets_password => Some(hash.starts_with('!')),
            _ => None,
        };
        let expected = Expected::default()
            .line("tools", lines.value("tools")?)
            .any("missing")
            .line("user", "present")
            .line("local", "yes")
            .known("uid", self.uid.map(|uid| uid.to_string()).as_deref())
            .known("gid", by_number)
            .known("group", by_name)
            .known("groups", groups)
            .known("home", home)
            .known("locked", locked.map(|lock| if lock { "yes" } else { "no" }))
            .known("password", self.kept_password().map(|_| "same"))
            .known("expires", self.expires.map(Expiry::days).as_deref())
            .known("shell", self.shell.as_ref().map(|shell| around.absolute(shell)).as_deref())
            .known("dir", self.home.as_ref().map(|home| around.absolute(home)).as_deref())
            .known("comment", self.comment.as_deref());
        let expected = if self.generate_ssh_key { expected.any("ssh_key") } else { expected };
        Ok(expected.pattern())
    }

    fn refuse_missing_groups(&self, lines: &Lines) -> Result<()> {
        let missing = lines.list("missing")?;
        let named = |group: &&&str| Some(**group) == self.group.as_deref() || self.wanted_groups().is_some_and(|all| all.contains(*group));
        match missing.iter().find(named) {
            Some(group) => bail!("there is no group {group} on this host: add it with a group task before this one"),
            None => Ok(()),
        }
    }

    /// The groups to look for: all that are named. The one that a new user would get by itself is among them, so that it
    /// can be told later whether it was there before.
    fn asked_groups(&self) -> Vec<&str> {
        match self.state {
            Presence::Absent => Vec::new(),
            Presence::Present => {
                let mut groups = vec![self.group.as_deref().unwrap_or(&self.name)];
                groups.extend(self.wanted_groups().unwrap_or_default());
                groups
            }
        }
    }

    /// The names in `groups`, sorted as the host sorts them.
    fn wanted_groups(&self) -> Option<Vec<&str>> {
        let groups = self.groups.as_ref()?;
        let mut names: Vec<&str> = groups.0.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|name| !name.is_empty()).collect();
        names.sort_unstable();
        names.dedup();
        Some(names)
    }

    /// The password that a user must have who exists.
    fn kept_password(&self) -> Option<&str> {
        self.password.as_deref().filter(|_| self.state == Presence::Present && self.update_password == UpdatePassword::Always)
    }

    fn call(&self, function: &str, words: impl IntoIterator<Item = String>) -> Script {
        Script::call([function.to_owned(), self.name.clone()].into_iter().chain(words))
    }

    fn title(&self) -> String {
        format!("the user {}", self.name)
    }
}

/// Names on one line, or a dash.
fn words<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let text = names.into_iter().collect::<Vec<_>>().join(" ");
    if text.is_empty() { "-".to_owned() } else { text }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_ascii_digit())
}

fn is_hash(text: &str) -> bool {
    // The old DES hash has 13 letters and no mark; an unmarked word of another length is a password by mistake.
    let marked = text.starts_with(['$', '!', '*', '_']) || text.len() == 13;
    marked && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "./$=,!*_+-".contains(letter))
}
