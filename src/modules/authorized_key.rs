//! `authorized_key`: a public key that opens a user's account.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::account::refuse_odd_name;
use super::file::{CHANGE, Edited, LOOK, Properties, folder_of, missing_parent};
use super::text::{Line, add_line, lines_of, push};
use crate::module::{Answer, Mode, Module, Path, Presence, Question, Surroundings, Touches, Undo, Verdict};
use crate::remote::Library;
use crate::sh;
use crate::shell::{Pattern, escaped, unescaped};

/// Let the owner of a key log in as a user, or not any more.
///
/// A key is told by its type and its number, whatever options and remark stand around it. The folder `.ssh` is made where it is
/// missing, with the mode and owner that sshd wants.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthorizedKey {
    /// Whose account.
    user: String,
    /// The key, as it stands in a `.pub` file; several keys in several lines.
    key: String,
    /// `present`: it opens the account. `absent`: it does not.
    #[serde(default)]
    state: Presence,
    /// No other key opens the account.
    #[serde(default)]
    exclusive: bool,
    /// Options before the key, such as `from="10.0.0.0/8",no-pty`.
    #[serde(default)]
    key_options: String,
    /// A remark in place of the key's own.
    comment: Option<String>,
    /// The file, where it is not the user's `.ssh/authorized_keys`.
    path: Option<Path>,
    /// Make the folder, where it is missing.
    #[serde(default = "yes")]
    manage_dir: bool,
    /// When the file is a link, work on the file that it leads to. Without this, a link is an error.
    #[serde(default)]
    follow: bool,
}

fn yes() -> bool {
    true
}

static MODE: Mode = Mode::Octal(0o600);

/// A key in a line: what stands before it, its type and number, and the remark behind.
struct Key<'a> {
    options: &'a str,
    kind: &'a str,
    number: &'a str,
    remark: &'a str,
}

impl<'a> Key<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let (options, rest) = if is_kind(line.split_whitespace().next()?) { ("", line) } else { line.split_at(end_of_options(line)?) };
        let mut words = rest.trim_start().splitn(3, char::is_whitespace);
        let (kind, number) = (words.next()?, words.next()?);
        let remark = words.next().unwrap_or_default().trim();
        (is_kind(kind) && number.starts_with("AAAA")).then_some(Self { options: options.trim(), kind, number, remark })
    }

    fn is(&self, other: &Key) -> bool {
        (self.kind, self.number) == (other.kind, other.number)
    }
}

fn is_kind(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"].iter().any(|begin| word.starts_with(begin))
}

/// Where the options end: at the first blank outside of quotes.
fn end_of_options(line: &str) -> Option<usize> {
    let (mut in_quotes, mut is_escaped) = (false, false);
    line.char_indices().find_map(|(at, letter)| {
        match letter {
            '"' if !is_escaped => in_quotes = !in_quotes,
            ' ' | '\t' if !in_quotes => return Some(at),
            _ => {}
        }
        is_escaped = letter == '\\' && !is_escaped;
        None
    })
}

impl Module for AuthorizedKey {
    const NAME: &'static str = "authorized_key";
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE];

    fn check(&self) -> Result<()> {
        refuse_odd_name("user", &self.user)?;
        if self.key.contains("PRIVATE KEY") {
            bail!("`key` is a private key, which belongs on no other machine | give the `.pub` file beside it");
        }
        if self.key.starts_with("http://") || self.key.starts_with("https://") {
            bail!("`key` is an address, and nothing is fetched from there | give the key itself");
        }
        let lines: Vec<&str> = self.key.lines().filter(|line| !line.trim().is_empty() && !line.trim().starts_with('#')).collect();
        if lines.is_empty() {
            bail!("`key` is empty");
        }
        if let Some(line) = lines.iter().find(|line| Key::read(line).is_none()) {
            let start: String = line.chars().take(20).collect();
            bail!("`key`: `{}…` is no public key of OpenSSH | it begins with its type, such as `ssh-ed25519 AAAA…`", start.escape_debug());
        }
        if self.key_options.contains('\n') || self.comment.as_ref().is_some_and(|comment| comment.contains('\n')) {
            bail!("`key_options` and `comment` are one line each");
        }
        Ok(())
    }

    fn touches(&self, around: &Surroundings) -> Touches {
        Touches::Path(match &self.path {
            Some(path) => around.absolute(path),
            None if self.user == "root" => "/root/.ssh/authorized_keys".into(),
            None => format!("/home/{}/.ssh/authorized_keys", self.user),
        })
    }

    /// `account UID GID PATH`, then the file.
    fn probe(&self, around: &Surroundings) -> Question {
        let path = match &self.path {
            Some(path) => sh!("_f={}", around.absolute(path)),
            None => sh!("_f=$6/.ssh/authorized_keys"),
        };
        let follow = if self.follow { "follow" } else { "nofollow" };
        Question::Ask(sh!(
            "_l=$(getent passwd {} 2>/dev/null) || while IFS= read -r _x; do case $_x in {}*) _l=$_x ;; esac; done </etc/passwd\n\
             [ \"$_l\" ] || { core_die {}; exit 3; }\n\
             IFS=:; set -- $_l; IFS=\" $t$n\"\n{}\nprintf 'account %s %s %s\\n' \"$3\" \"$4\" \"$(core_esc \"$_f\")\"\nfile_look \"$_f\" {} '?' {}",
            self.user,
            format!("{}:", self.user),
            format!("the host has no user {}", self.user),
            path,
            follow,
            super::file::EDITED_BYTES
        ))
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let (account, rest) = super::file::first_line(answer)?;
        let mut words = account.splitn(4, ' ').skip(1);
        let (Some(uid), Some(gid), Some(path)) = (words.next(), words.next(), words.next()) else { bail!("the answer of the host cannot be read: {account}") };
        let path = String::from_utf8_lossy(&unescaped(path.as_bytes())).into_owned();
        let owner = (uid.to_owned(), gid.to_owned());
        let is_new = rest.stdout.starts_with(b"absent");
        let properties = if is_new { Properties { mode: Some(&MODE), owner: Some(&owner.0), group: Some(&owner.1) } } else { Properties::default() };
        let edited = Edited {
            create: true,
            follow: self.follow,
            before: Pattern::exactly(format!("account {uid} {gid} {}\n", String::from_utf8_lossy(&escaped(path.as_bytes())))),
            ..Edited::new(&path, properties)
        };
        let makes_folder = is_new && self.manage_dir && missing_parent(&rest).is_some();
        let around = Surroundings { after_planned_changes: around.after_planned_changes || makes_folder, ..around.clone() };
        let verdict = edited.verdict(&around, &rest, |old| Ok(self.edit(old)))?;
        let Verdict::Differs(mut change) = verdict else { return Ok(verdict) };
        if makes_folder {
            let folder = String::from_utf8_lossy(folder_of(path.as_bytes())).into_owned();
            change.apply.script = sh!("file_dir {} 0700 {} {} || exit\n{}", folder, uid, gid, change.apply.script);
            if let Undo::Run(script) = change.undo {
                // The folder may hold something by then.
                change.undo = Undo::Run(sh!("{} || exit\nrmdir -- {} 2>/dev/null || :", script, folder));
            }
        }
        Ok(Verdict::Differs(change))
    }
}

impl AuthorizedKey {
    fn edit(&self, old: &[u8]) -> Vec<u8> {
        let wanted: Vec<Key> = self.key.lines().filter_map(Key::read).collect();
        let text = String::from_utf8_lossy(old).into_owned();
        let lines = lines_of(text.as_bytes());
        let mut new = Vec::new();
        let mut found = vec![false; wanted.len()];
        for line in &lines {
            let said = String::from_utf8_lossy(line.text).into_owned();
            let Some(key) = Key::read(&said) else {
                if !(self.exclusive && self.state == Presence::Present) || said.trim().is_empty() || said.trim_start().starts_with('#') {
                    push(&mut new, *line);
                }
                continue;
            };
            match wanted.iter().position(|one| one.is(&key)) {
                None if self.exclusive && self.state == Presence::Present => {}
                None => push(&mut new, *line),
                Some(_) if self.state == Presence::Absent => {}
                Some(at) if found[at] => {}
                Some(at) => {
                    found[at] = true;
                    let text = self.line(&wanted[at], Some(&key));
                    let text = if text == said.trim() { said.clone() } else { text };
                    push(&mut new, Line { text: text.as_bytes(), ending: line.ending });
                }
            }
        }
        if self.state == Presence::Present {
            for (key, _) in wanted.iter().zip(&found).filter(|(_, found)| !**found) {
                add_line(&mut new, &self.line(key, None));
            }
        }
        // What is no UTF-8 stays byte for byte, as long as nothing has to be changed.
        if new == text.as_bytes() { old.to_vec() } else { new }
    }

    /// The line of a key. What the task does not say stays as it stands there.
    fn line(&self, key: &Key, before: Option<&Key>) -> String {
        let options = if self.key_options.is_empty() { before.map_or(key.options, |before| if key.options.is_empty() { before.options } else { key.options }) } else { &self.key_options };
        let remark = match &self.comment {
            Some(comment) => comment.as_str(),
            None => before.filter(|_| key.remark.is_empty()).map_or(key.remark, |before| before.remark),
        };
        [options, key.kind, key.number, remark].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::AuthorizedKey;
    use crate::module::testing::{module, problems, verdict};

    fn made(arguments: &str, old: &str) -> String {
        let module: AuthorizedKey = module(&format!("user = 'ann'\n{arguments}"));
        let new = module.edit(old.as_bytes());
        assert_eq!(module.edit(&new), new, "a second time");
        String::from_utf8_lossy(&new).into_owned()
    }

    #[test]
    fn a_key_comes_and_goes() {
        assert_eq!(made("key = 'ssh-ed25519 AAAAx ann@laptop'", "# mine\nssh-rsa AAAAy\n"), "# mine\nssh-rsa AAAAy\nssh-ed25519 AAAAx ann@laptop\n");
        assert_eq!(made("key = 'ssh-ed25519 AAAAx'", "no-pty ssh-ed25519 AAAAx old\n"), "no-pty ssh-ed25519 AAAAx old\n");
        assert_eq!(made("key = 'ssh-ed25519 AAAAx'\nstate = 'absent'", "from=\"a b\" ssh-ed25519 AAAAx\nssh-rsa AAAAy\n"), "ssh-rsa AAAAy\n");
        assert_eq!(made("key = 'ssh-ed25519 AAAAx'\nexclusive = true", "# c\nssh-rsa AAAAy\nssh-ed25519 AAAAx\n"), "# c\nssh-ed25519 AAAAx\n");
        assert_eq!(made("key = 'ssh-ed25519 AAAAx'\nkey_options = 'no-pty'", "ssh-ed25519 AAAAx c\n"), "no-pty ssh-ed25519 AAAAx c\n");
        assert_eq!(made("key = \"ssh-ed25519 AAAAx a\\nssh-rsa AAAAy b\\n\"", ""), "ssh-ed25519 AAAAx a\nssh-rsa AAAAy b\n");
    }

    #[test]
    fn the_folder_is_made_with_its_owner() {
        let answer = "account 1000 1001 /home/ann/.ssh/authorized_keys\nabsent\n";
        let text = verdict::<AuthorizedKey>("user = 'ann'\nkey = 'ssh-ed25519 AAAAx'", 0, answer);
        assert!(text.contains("file_put '/home/ann/.ssh/authorized_keys' nofollow") && text.contains("'0600' '1000' '1001'"), "{text}");
    }

    #[test]
    fn what_is_no_public_key_is_refused() {
        assert!(problems::<AuthorizedKey>("user = 'ann'\nkey = '-----BEGIN OPENSSH PRIVATE KEY-----'").contains("private key"));
        assert!(problems::<AuthorizedKey>("user = 'ann'\nkey = 'hello'").contains("is no public key of OpenSSH"));
        assert!(problems::<AuthorizedKey>("user = 'ann'\nkey = 'https://x/y.keys'").contains("is an address"));
    }
}
