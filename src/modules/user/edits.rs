//! What differs between a user that exists and what the task wants, and how to set it and set it back.

use anyhow::{Result, bail};

use super::{User, is_number, words};
use crate::module::{Change, Surroundings, Undo, Verdict, diff};
use crate::modules::account::{Expiry, Lines, Tools};
use crate::secret::MASK;
use crate::{sh, shell::Script};

/// A user as the host has it.
pub struct Account<'a> {
    pub uid: &'a str,
    pub dir: &'a str,
    gid: &'a str,
    group: &'a str,
    groups: Vec<&'a str>,
    has_home: bool,
    locked: &'a str,
    password: &'a str,
    expires: &'a str,
    shell: &'a str,
    comment: &'a str,
}

impl<'a> Account<'a> {
    /// # Errors
    /// When a line is missing in the answer.
    pub fn of(lines: &Lines<'a>) -> Result<Self> {
        Ok(Self {
            uid: lines.value("uid")?,
            dir: lines.value("dir")?,
            gid: lines.value("gid")?,
            group: lines.value("group")?,
            groups: lines.list("groups")?,
            has_home: lines.value("home")? == "present",
            locked: lines.value("locked")?,
            password: lines.value("password")?,
            expires: lines.value("expires")?,
            shell: lines.value("shell")?,
            comment: lines.value("comment")?,
        })
    }

    /// What `account_user_add` needs to make this user again; all but the password.
    pub fn words(&self) -> Vec<String> {
        let mut words = vec![format!("uid={}", self.uid)];
        if self.group != "-" {
            // The group of the user's own name goes with the user.
            words.push(format!("group={}", self.group));
            words.push(format!("gid={}", self.gid));
        }
        if !self.groups.is_empty() {
            words.push(format!("groups={}", self.groups.join(",")));
        }
        for (key, value) in [("comment", self.comment), ("home", self.dir), ("shell", self.shell)] {
            words.push(format!("{key}={value}"));
        }
        words.push("create_home=no".to_owned());
        if !["never", "unknown"].contains(&self.expires) {
            words.push(format!("expires={}", self.expires));
        }
        words
    }
}

/// What has to be set, and what sets it back.
#[derive(Default)]
struct Edits {
    /// Property, before, after.
    shown: Vec<(&'static str, String, String)>,
    apply: Vec<String>,
    undo: Vec<String>,
    /// The password changes, so that the way back needs a backup of it.
    sets_password: bool,
    makes_home: bool,
}

impl Edits {
    fn show(&mut self, property: &'static str, before: impl Into<String>, after: impl Into<String>) {
        self.shown.push((property, before.into(), after.into()));
    }

    /// A property whose value is the same word for people and for the shell function.
    fn set(&mut self, key: &'static str, before: &str, after: &str) {
        if before != after {
            self.show(key, before, after);
            self.apply.push(format!("{key}={after}"));
            self.undo.push(format!("{key}={before}"));
        }
    }
}

impl User {
    /// Makes a user that exists as the task wants it.
    pub(super) fn alteration(&self, around: &Surroundings, lines: &Lines) -> Result<Verdict> {
        let account = Account::of(lines)?;
        let mut edits = Edits::default();
        if let Some(uid) = self.uid {
            edits.set("uid", account.uid, &uid.to_string());
        }
        let groups = self.edit_groups(&account, &mut edits);
        let home = self.edit_home(around, &account, &mut edits);
        if let Some(shell) = &self.shell {
            edits.set("shell", account.shell, &around.absolute(shell));
        }
        if let Some(comment) = &self.comment {
            edits.set("comment", account.comment, comment);
        }
        self.edit_password(&account, &mut edits)?;
        self.edit_expiry(&account, &mut edits)?;
        let key = self.key_change(lines)?;
        if edits.apply.is_empty() && key.is_none() {
            return Ok(Verdict::InPlace(self.key_report(lines)));
        }
        if key.is_some() {
            edits.show("ssh key", "-", self.key_file());
        }
        if lines.refuse_unchangeable(&self.title())? == Tools::BusyBox {
            refuse_for_busybox(&edits)?;
        }
        self.refuse_missing_groups(lines)?;

        let expect = self.expected(around, lines, groups.as_deref(), home, edits.sets_password)?;
        let side = |pick: for<'a> fn(&'a (&'static str, String, String)) -> &'a String| {
            edits.shown.iter().map(|one| format!("{} {}", one.0, pick(one))).collect::<Vec<_>>().join(", ")
        };
        let (from, to) = (side(|one| &one.1), side(|one| &one.2));
        let mut apply = self.call("account_user_change", edits.apply.iter().cloned());
        let mut undo = self.way_back(&edits);
        if let Some((make, unmake)) = key {
            apply = if edits.apply.is_empty() { make } else { sh!("{} && {}", apply, make) };
            undo = match undo {
                _ if edits.apply.is_empty() => Undo::Run(unmake),
                Undo::Run(back) => Undo::Run(sh!("{} && {}", unmake, back)),
                Undo::Restore(back) => Undo::Restore(sh!("{} && {}", unmake, back)),
                Undo::BestEffort(back, why) => Undo::BestEffort(sh!("{} && {}", unmake, back), why),
                other => other,
            };
        }
        let mut change = Change::new(from, to, apply, expect, undo);
        if edits.sets_password {
            change.keep = self.call("account_keep", None);
        }
        // Moving a home folder may take long.
        change.apply.group = edits.apply.iter().any(|word| word == "move_home=yes");
        change.diff = diff::properties(&self.title(), &edits.shown);
        Ok(Verdict::differs(change))
    }

    /// Edits primary and other groups; what is known of the other ones afterwards.
    fn edit_groups(&self, account: &Account, edits: &mut Edits) -> Option<String> {
        let wanted_primary = self.group.as_deref();
        let moves = wanted_primary.is_some_and(|group| group != if is_number(group) { account.gid } else { account.group });
        if let Some(group) = wanted_primary.filter(|_| moves) {
            edits.show("group", account.group, group);
            edits.apply.push(format!("group={group}"));
            edits.undo.push(format!("group={}", account.gid));
        }
        let Some(mut after) = self.wanted_groups() else {
            // A user may also be listed as a member of its old primary group, which shows only once it is another.
            return (!moves).then(|| words(account.groups.iter().copied()));
        };
        let primary = if moves { wanted_primary.unwrap_or_default() } else { account.group };
        after.retain(|group| *group != primary);
        let added: Vec<&str> = after.iter().copied().filter(|group| !account.groups.contains(group)).collect();
        if self.append {
            after.extend(account.groups.iter().filter(|group| **group != primary));
            after.sort_unstable();
            after.dedup();
        }
        let differ = after != account.groups;
        if differ {
            edits.show("groups", words(account.groups.iter().copied()), words(after.iter().copied()));
        }
        if differ || (moves && !self.append) {
            if self.append {
                edits.apply.push(format!("groups={}", added.join(",")));
                edits.apply.push("append=yes".to_owned());
            } else {
                edits.apply.push(format!("groups={}", after.join(",")));
            }
            edits.undo.push(format!("groups={}", account.groups.join(",")));
        }
        let sure = !moves || !(self.append || is_number(primary));
        sure.then(|| words(after))
    }

    /// Edits the home folder; what is known of it afterwards.
    fn edit_home(&self, around: &Surroundings, account: &Account, edits: &mut Edits) -> Option<&'static str> {
        let home = self.home.as_ref().map(|home| around.absolute(home)).filter(|home| home != account.dir);
        if let Some(home) = &home {
            edits.set("home", account.dir, home);
            if self.move_home && account.has_home {
                edits.apply.push("move_home=yes".to_owned());
                edits.undo.push("move_home=yes".to_owned());
                return Some("present");
            }
        }
        if self.create_home != Some(true) {
            return None;
        }
        // Whether there is a folder at the new place is seen on the host.
        if home.is_some() || !account.has_home {
            if home.is_none() {
                edits.show("home folder", "missing", "present");
            }
            edits.apply.push("create_home=yes".to_owned());
            edits.makes_home = true;
        }
        Some("present")
    }

    fn edit_password(&self, account: &Account, edits: &mut Edits) -> Result<()> {
        let asks = self.kept_password().is_some() || self.password_lock.is_some();
        if asks && account.locked == "unknown" {
            bail!("only root can see the password of {}: become = true would help", self.title());
        }
        if let Some(hash) = self.kept_password().filter(|_| account.password != "same") {
            edits.show("password", "another", MASK);
            edits.apply.push(format!("password={hash}"));
            edits.sets_password = true;
        }
        let Some(lock) = self.password_lock else { return Ok(()) };
        let (before, after) = (account.locked, if lock { "yes" } else { "no" });
        if before != after {
            edits.show("locked", before, after);
        }
        // A new password is unlocked, and its backup knows whether the old one was.
        match edits.sets_password {
            true if lock => edits.apply.push("lock=yes".to_owned()),
            false if before != after => {
                edits.apply.push(format!("lock={after}"));
                edits.undo.push(format!("lock={before}"));
            }
            _ => {}
        }
        Ok(())
    }

    fn edit_expiry(&self, account: &Account, edits: &mut Edits) -> Result<()> {
        let Some(days) = self.expires.map(Expiry::days) else { return Ok(()) };
        if account.expires == "unknown" {
            bail!("only root can see when {} expires: become = true would help", self.title());
        }
        if days != account.expires {
            edits.show("expires", Expiry::shown(account.expires), Expiry::shown(&days));
            edits.apply.push(format!("expires={days}"));
            edits.undo.push(format!("expires={}", account.expires));
        }
        Ok(())
    }

    fn way_back(&self, edits: &Edits) -> Undo {
        let back = if edits.undo.is_empty() { Script::default() } else { self.call("account_user_change", edits.undo.iter().cloned()) };
        let restored = self.call("account_restore", None);
        match (edits.sets_password, back.is_empty()) {
            (true, true) => Undo::Restore(restored),
            (true, false) => Undo::Restore(sh!("{} && {}", back, restored)),
            (false, _) if edits.makes_home => {
                let back = if back.is_empty() { sh!(":") } else { back };
                Undo::BestEffort(back, "the home folder that was made stays".to_owned())
            }
            (false, _) => Undo::Run(back),
        }
    }
}

fn refuse_for_busybox(edits: &Edits) -> Result<()> {
    let has = |keys: &[&str]| edits.apply.iter().any(|word| keys.iter().any(|key| word.split_once('=').is_some_and(|(name, _)| name == *key)));
    if has(&["uid", "group", "home", "shell", "comment"]) {
        bail!(
            "this host cannot change the uid, group, home, shell or comment of a user (it has BusyBox's adduser only, no usermod; the package shadow has it)"
        );
    }
    if has(&["expires"]) {
        bail!("this host cannot set an expiry date (it has BusyBox's adduser only; the package shadow has what is needed)");
    }
    Ok(())
}
