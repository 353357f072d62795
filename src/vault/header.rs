//! What the header of an age file tells without a private key: for how many it is encrypted, and of which kinds.
//!
//! age leaves out who the `X25519` recipients are. Files written here hold one more stanza, `mutate-recipients`, with a
//! short hash of each recipient. Readers must skip stanzas that they do not know, so `age` opens such files as any
//! other; and as part of the header it is covered by the header's MAC.

use std::collections::HashSet;

use age_core::format::{FileKey, Stanza};

use super::{Recipient, Recipients, Unreadable};

/// The name of the stanza with the hashes.
const NAMES: &str = "mutate-recipients";

/// For whom a file or a value is encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// age's names of the recipients' kinds, one each: `X25519`, `ssh-ed25519`, `ssh-rsa`.
    pub kinds: Vec<String>,
    /// Hashes of the SSH keys, as age writes them.
    pub(super) ssh: Vec<String>,
    /// Hashes of all recipients, if it was written here.
    names: Option<Vec<String>>,
}

/// How what is encrypted stands to the recipients that are named now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It is encrypted for them, and for nobody else.
    Current,
    /// It was made by another program, so that nobody can tell.
    Unknown,
    /// It is encrypted for others.
    Stale,
}

impl Header {
    /// The header of a file, armored or binary.
    ///
    /// # Errors
    /// When it is no file of age, or its header is damaged.
    pub fn of(bytes: &[u8]) -> Result<Self, Unreadable> {
        super::seal::header_of(bytes)
    }

    pub(super) fn of_stanzas(stanzas: &[Stanza]) -> Self {
        let mut header = Self::default();
        for stanza in stanzas {
            // Noise that some programs add on purpose.
            if stanza.tag.ends_with("-grease") {
                continue;
            }
            if stanza.tag == NAMES {
                header.names = Some(stanza.args.clone());
                continue;
            }
            if stanza.tag.starts_with("ssh-") {
                header.ssh.extend(stanza.args.first().cloned());
            }
            header.kinds.push(stanza.tag.clone());
        }
        header
    }

    /// How it stands to these recipients. No private key is needed, and so none vouches for the answer.
    pub fn is_for(&self, recipients: &Recipients) -> Standing {
        let sorted = |mut list: Vec<String>| {
            list.sort();
            list
        };
        let told = |same: bool| if same { Standing::Current } else { Standing::Stale };
        let all = recipients.all();
        if sorted(self.kinds.clone()) != sorted(all.iter().map(|one| one.kind().to_owned()).collect()) {
            return Standing::Stale;
        }
        if let Some(names) = &self.names {
            return told(*names == recipients.tags());
        }
        if sorted(self.ssh.clone()) != sorted(all.iter().filter_map(Recipient::ssh_tag).collect()) {
            return Standing::Stale;
        }
        if self.ssh.len() == self.kinds.len() { Standing::Current } else { Standing::Unknown }
    }

    /// Whether this key is among those that it was encrypted for; only sure of what was written here.
    pub fn names(&self, recipient: &Recipient) -> bool {
        self.names.as_ref().is_some_and(|names| names.contains(&recipient.tag())) || recipient.ssh_tag().is_some_and(|tag| self.ssh.contains(&tag))
    }

    /// How many recipients of which kinds: `2 age keys and 1 SSH key (ed25519)`.
    pub fn summary(&self) -> String {
        let count = |kind: &str| self.kinds.iter().filter(|one| *one == kind).count();
        let known = [("X25519", "age key", ""), ("ssh-ed25519", "SSH key", " (ed25519)"), ("ssh-rsa", "SSH key", " (RSA)"), ("scrypt", "passphrase", "")];
        let mut parts: Vec<String> = known
            .iter()
            .map(|(kind, name, more)| (count(kind), name, more))
            .filter(|(many, ..)| *many > 0)
            .map(|(many, name, more)| format!("{many} {name}{}{more}", if many == 1 { "" } else { "s" }))
            .collect();
        let others = self.kinds.iter().filter(|one| known.iter().all(|(kind, ..)| kind != one)).count();
        if others > 0 {
            parts.push(format!("{others} of a kind that is not known here"));
        }
        let last = parts.pop().unwrap_or_else(|| "nobody".into());
        if parts.is_empty() { last } else { format!("{} and {last}", parts.join(", ")) }
    }
}

/// Writes the stanza with the hashes, and wraps no key.
pub(super) struct Names(pub Vec<String>);

impl age::Recipient for Names {
    fn wrap_file_key(&self, _: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), age::EncryptError> {
        let stanza = Stanza { tag: NAMES.into(), args: self.0.clone(), body: Vec::new() };
        Ok((vec![stanza], HashSet::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_counts_kinds() {
        let of = |kinds: &[&str]| Header { kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(), ..Header::default() }.summary();
        assert_eq!(of(&[]), "nobody");
        assert_eq!(of(&["X25519"]), "1 age key");
        assert_eq!(of(&["ssh-rsa", "X25519", "piv-p256", "X25519"]), "2 age keys, 1 SSH key (RSA) and 1 of a kind that is not known here");
    }
}
