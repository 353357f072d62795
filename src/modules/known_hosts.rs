//! `known_hosts`: the key by which a host knows another one.

use anyhow::{Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use schemars::JsonSchema;
use serde::Deserialize;

use super::file::{CHANGE, Edited, LOOK, Properties};
use super::text::{Line, add_line, lines_of, push};
use crate::module::{Answer, Module, Path, Presence, Question, Surroundings, Touches, Verdict};
use crate::remote::Library;

/// Let ssh on the host know the key of another machine, or forget it.
///
/// A key of the same type under the same name is replaced; keys of other types stay.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KnownHosts {
    /// Name or address of the other machine; `[name]:port` for another port than 22.
    #[serde(alias = "host")]
    name: String,
    /// Its public key: `ssh-ed25519 AAAA…`, with or without the name before it.
    key: Option<String>,
    /// `absent` forgets the machine, or only this key of it.
    #[serde(default)]
    state: Presence,
    /// The file. The folder must be there.
    #[serde(default = "usual_file")]
    path: Path,
}

fn usual_file() -> Path {
    Path::fixed("~/.ssh/known_hosts")
}

impl Module for KnownHosts {
    const NAME: &'static str = "known_hosts";
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE];

    fn check(&self) -> Result<()> {
        if self.name.is_empty() || self.name.contains([' ', '\t', '\n', ',', '*', '?', '!', '#']) || self.name.starts_with(['|', '@', '-']) {
            bail!("`{}` is no name of a machine", self.name.escape_debug());
        }
        match &self.key {
            None if self.state == Presence::Present => bail!("`key` is missing"),
            Some(key) if self.parts(key).is_none() => bail!("`key` is no public key of a host | it looks like `ssh-ed25519 AAAA…`, as `ssh-keyscan` prints it"),
            _ => Ok(()),
        }
    }

    fn touches(&self, around: &Surroundings) -> Touches {
        Touches::Path(around.absolute(&self.path))
    }

    fn probe(&self, around: &Surroundings) -> Question {
        Question::Ask(edited(&around.absolute(&self.path)).probe())
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        edited(&around.absolute(&self.path)).verdict(around, answer, |old| Ok(self.edit(old)))
    }
}

fn edited(path: &str) -> Edited<'_> {
    Edited { create: true, follow: true, ..Edited::new(path, Properties::default()) }
}

impl KnownHosts {
    /// Type and number of the key.
    fn parts<'a>(&self, key: &'a str) -> Option<(&'a str, &'a str)> {
        let words: Vec<&str> = key.split_whitespace().collect();
        let at = words.iter().position(|word| word.starts_with("AAAA"))?;
        (at > 0 && at <= 2 && !key.trim().contains('\n')).then(|| (words[at - 1], words[at]))
    }

    fn edit(&self, old: &[u8]) -> Vec<u8> {
        let wanted = self.key.as_deref().and_then(|key| self.parts(key));
        let mut new = Vec::new();
        let mut found = false;
        for line in lines_of(old) {
            let text = String::from_utf8_lossy(line.text).into_owned();
            let words: Vec<&str> = text.split_whitespace().collect();
            // Marks such as @revoked are somebody's decision.
            let is_about = !text.starts_with(['#', '@']) && words.len() >= 3 && names(words[0], &self.name);
            let kept = match (is_about, self.state, wanted) {
                (false, ..) => true,
                (true, Presence::Absent, None) => false,
                (true, Presence::Absent, Some((kind, number))) => (words[1], words[2]) != (kind, number),
                (true, Presence::Present, Some((kind, number))) if words[1] == kind => {
                    let is_it = words[2] == number && !found;
                    found |= is_it;
                    is_it
                }
                (true, ..) => true,
            };
            match (kept, without(words.first().copied().unwrap_or_default(), &self.name)) {
                (true, _) => push(&mut new, line),
                // The others of a list keep their key.
                (false, Some(others)) => push(&mut new, Line { text: text.replacen(words[0], &others, 1).as_bytes(), ending: line.ending }),
                (false, None) => {}
            }
        }
        if let (Presence::Present, false, Some((kind, number))) = (self.state, found, wanted) {
            add_line(&mut new, &format!("{} {kind} {number}", self.name));
        }
        new
    }
}

/// A list of names without this one, where others are left.
fn without(word: &str, name: &str) -> Option<String> {
    let others: Vec<&str> = word.split(',').filter(|one| *one != name).collect();
    (!word.starts_with('|') && !others.is_empty() && others.len() < word.split(',').count()).then(|| others.join(","))
}

/// Whether the first word of a line holds this name, plain or hashed. Patterns are left to whoever wrote them.
fn names(word: &str, name: &str) -> bool {
    let Some(coded) = word.strip_prefix("|1|") else { return word.split(',').any(|one| one == name) };
    let Some((salt, hash)) = coded.split_once('|') else { return false };
    let (Ok(salt), Ok(hash)) = (STANDARD.decode(salt), STANDARD.decode(hash)) else { return false };
    let Ok(mut mac) = Hmac::<sha1::Sha1>::new_from_slice(&salt) else { return false };
    mac.update(name.as_bytes());
    mac.verify_slice(&hash).is_ok()
}

#[cfg(test)]
mod tests {
    use super::KnownHosts;
    use crate::module::testing::{module, problems};

    fn made(arguments: &str, old: &str) -> String {
        let module: KnownHosts = module(&format!("name = 'git.example.com'\n{arguments}"));
        let new = module.edit(old.as_bytes());
        assert_eq!(module.edit(&new), new, "a second time");
        String::from_utf8_lossy(&new).into_owned()
    }

    #[test]
    fn a_key_is_added_replaced_and_forgotten() {
        assert_eq!(made("key = 'git.example.com ssh-ed25519 AAAAx'", "other ssh-rsa AAAAy\n"), "other ssh-rsa AAAAy\ngit.example.com ssh-ed25519 AAAAx\n");
        assert_eq!(made("key = 'ssh-ed25519 AAAAx'", "git.example.com ssh-ed25519 AAAAold\ngit.example.com ssh-rsa AAAAy\n"), "git.example.com ssh-rsa AAAAy\ngit.example.com ssh-ed25519 AAAAx\n");
        assert_eq!(made("state = 'absent'", "git.example.com ssh-rsa AAAAy\n@revoked git.example.com ssh-rsa AAAAz\n"), "@revoked git.example.com ssh-rsa AAAAz\n");
        assert_eq!(made("state = 'absent'", "git.example.com,10.0.0.1 ssh-rsa AAAAy\n"), "10.0.0.1 ssh-rsa AAAAy\n");
        // `ssh-keygen -H` of this name.
        let hashed = "|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= ssh-rsa AAAAy\n";
        let module: KnownHosts = module("name = '192.168.1.61'\nstate = 'absent'");
        assert_eq!(module.edit(hashed.as_bytes()), b"");
        assert!(problems::<KnownHosts>("name = 'a'\nkey = 'hello'").contains("is no public key"));
    }
}
