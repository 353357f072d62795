//! One private key: read from its file, and opened with its passphrase when that is needed.

use std::sync::OnceLock;

use age::secrecy::SecretString;
use age_core::format::{FileKey, Stanza};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{Recipient, seal};
use crate::secret::Secret;

/// How often a passphrase is asked for.
const TRIES: usize = 3;

/// What a private key file holds.
pub(super) enum PrivateKey {
    Age(age::x25519::Identity),
    Ssh(Box<Ssh>),
    /// Keys of age in a file that is encrypted by a passphrase.
    Sealed(Sealed),
}

/// An SSH key, perhaps still locked.
pub(super) struct Ssh {
    public: Recipient,
    tag: String,
    locked: Option<ssh_key::PrivateKey>,
    opened: OnceLock<Result<age::ssh::Identity, String>>,
}

/// An encrypted file of keys, perhaps still locked.
pub(super) struct Sealed {
    bytes: Vec<u8>,
    opened: OnceLock<Result<Vec<age::x25519::Identity>, String>>,
}

type Unwrapped = Option<Result<FileKey, age::DecryptError>>;

impl PrivateKey {
    /// The keys of a file's bytes: one SSH key, an encrypted file of keys, or lines of `AGE-SECRET-KEY-1…`.
    ///
    /// # Errors
    /// Why they cannot be used, without the name of the file; never any of its content.
    pub fn all_of(bytes: &[u8]) -> Result<Vec<Self>, String> {
        if seal::is_encrypted_file(bytes) {
            return seal::header_of(bytes).map_err(|why| why.to_string()).and_then(|header| {
                if header.kinds == ["scrypt"] {
                    Ok(vec![Self::Sealed(Sealed { bytes: bytes.to_owned(), opened: OnceLock::new() })])
                } else {
                    Err(format!("it is itself encrypted for {}; decrypt it first", header.summary()))
                }
            });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "it is no key file".to_owned())?;
        if text.contains("-----BEGIN OPENSSH PRIVATE KEY-----") {
            return Ok(vec![Self::Ssh(Box::new(ssh(text)?))]);
        }
        if text.contains("PRIVATE KEY-----") || text.starts_with("PuTTY-User-Key-File") {
            return Err("it is in an older format than OpenSSH's; `ssh-keygen -p -f FILE` writes it anew (a key of PuTTY: `puttygen FILE -O private-openssh-new`)".into());
        }
        Ok(lines(text)?.into_iter().map(Self::Age).collect())
    }

    /// Its public half, where no passphrase is needed to tell.
    pub fn public(&self) -> Vec<Recipient> {
        match self {
            Self::Age(key) => public_of(std::slice::from_ref(key)),
            Self::Ssh(key) => vec![key.public.clone()],
            Self::Sealed(keys) => keys.opened.get().and_then(|opened| opened.as_ref().ok()).map(|opened| public_of(opened)).unwrap_or_default(),
        }
    }

    /// Whether it can be tried without asking anything.
    pub fn is_open(&self) -> bool {
        match self {
            Self::Age(_) => true,
            Self::Ssh(key) => key.opened.get().is_some_and(Result::is_ok),
            Self::Sealed(keys) => keys.opened.get().is_some_and(Result::is_ok),
        }
    }

    /// Whether a passphrase is worth asking for: an SSH key is named in the header, for a file of keys nobody can tell.
    pub fn is_worth_opening(&self, stanzas: &[Stanza]) -> bool {
        match self {
            Self::Age(_) => false,
            Self::Ssh(key) => stanzas.iter().any(|stanza| stanza.tag == key.public.kind() && stanza.args.first() == Some(&key.tag)),
            Self::Sealed(_) => stanzas.iter().any(|stanza| stanza.tag == "X25519"),
        }
    }

    /// Asks for the passphrase, unless that was done before.
    ///
    /// # Errors
    /// Why it stays locked.
    pub fn open(&self, name: &str, ask: &dyn Fn(&str) -> Option<Secret>) -> Result<(), String> {
        match self {
            Self::Age(_) => Ok(()),
            Self::Ssh(key) => {
                let locked = key.locked.as_ref();
                let unlock = || asked(&format!("passphrase for the key {name}: "), ask, |passphrase| unlocked(locked?, passphrase));
                key.opened.get_or_init(unlock).as_ref().map(drop).map_err(Clone::clone)
            }
            Self::Sealed(keys) => {
                let unlock = || asked(&format!("passphrase for the identities in {name}: "), ask, |passphrase| unsealed(&keys.bytes, passphrase)).flatten();
                keys.opened.get_or_init(unlock).as_ref().map(drop).map_err(Clone::clone)
            }
        }
    }

    /// What it makes of a header, as far as it is open.
    pub fn unwrap(&self, stanzas: &[Stanza]) -> Unwrapped {
        use age::Identity as _;
        match self {
            Self::Age(key) => key.unwrap_stanzas(stanzas),
            Self::Ssh(key) => key.opened.get()?.as_ref().ok()?.unwrap_stanzas(stanzas),
            Self::Sealed(keys) => keys.opened.get()?.as_ref().ok()?.iter().find_map(|key| key.unwrap_stanzas(stanzas)),
        }
    }
}

/// Asks until the passphrase fits, at most [`TRIES`] times; `fits` gives nothing for a wrong one.
fn asked<T>(prompt: &str, ask: &dyn Fn(&str) -> Option<Secret>, fits: impl Fn(&Secret) -> Option<T>) -> Result<T, String> {
    for round in 0..TRIES {
        let again = if round == 0 { "" } else { "that was wrong; " };
        let Some(passphrase) = ask(&format!("{again}{prompt}")) else { return Err("whose passphrase was not given".into()) };
        if let Some(opened) = fits(&passphrase) {
            return Ok(opened);
        }
    }
    Err(format!("whose passphrase was wrong {TRIES} times"))
}

fn public_of(keys: &[age::x25519::Identity]) -> Vec<Recipient> {
    keys.iter().filter_map(|key| Recipient::parse(&key.to_public().to_string()).ok()).collect()
}

fn ssh(text: &str) -> Result<Ssh, String> {
    let key = ssh_key::PrivateKey::from_openssh(text).map_err(|_| kind_refused(text).unwrap_or_else(|| "it is a damaged SSH key".into()))?;
    let line = key.public_key().to_openssh().map_err(|_| "it is a damaged SSH key".to_owned())?;
    // Says which kinds age cannot use, as for recipients.
    let public = Recipient::parse(&line)?;
    let tag = public.ssh_tag().unwrap_or_default();
    let opened = OnceLock::new();
    let locked = if key.is_encrypted() {
        Some(key)
    } else {
        opened.get_or_init(|| for_age(&key).ok_or_else(|| "which is damaged".into()));
        None
    };
    Ok(Ssh { public, tag, locked, opened })
}

/// Why the kind of a key that cannot be parsed is of no use; the public half of it is never encrypted.
fn kind_refused(text: &str) -> Option<String> {
    let body: Zeroizing<String> = Zeroizing::new(text.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect());
    let bytes = Zeroizing::new(STANDARD.decode(body.as_bytes()).ok()?);
    let kinds = ["ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-dss", "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"];
    // The longest first: one name ends another.
    let kind = kinds.iter().rev().find(|kind| bytes.windows(kind.len()).any(|part| part == kind.as_bytes()))?;
    Recipient::parse(kind).err()
}

fn unlocked(key: &ssh_key::PrivateKey, passphrase: &Secret) -> Option<age::ssh::Identity> {
    for_age(&key.decrypt(passphrase.expose()).ok()?)
}

/// A key in the form that age reads. It goes through text: the parser of age has no other way in.
fn for_age(key: &ssh_key::PrivateKey) -> Option<age::ssh::Identity> {
    let text = key.to_openssh(ssh_key::LineEnding::LF).ok()?;
    match age::ssh::Identity::from_buffer(text.as_bytes(), None) {
        Ok(identity @ age::ssh::Identity::Unencrypted(_)) => Some(identity),
        _ => None,
    }
}

/// The keys in an encrypted file; nothing when the passphrase is wrong, a reason when there is no key behind it.
fn unsealed(bytes: &[u8], passphrase: &Secret) -> Option<Result<Vec<age::x25519::Identity>, String>> {
    let identity = age::scrypt::Identity::new(SecretString::from(passphrase.expose()));
    match seal::opened_by(bytes, &identity) {
        Ok(plain) => Some(std::str::from_utf8(&plain).map_err(|_| "which holds no keys".to_owned()).and_then(|text| lines(text).map_err(|why| format!("where {why}")))),
        Err(age::DecryptError::DecryptionFailed | age::DecryptError::KeyDecryptionFailed) => None,
        Err(age::DecryptError::ExcessiveWork { .. }) => Some(Err("whose passphrase would take too long to check".into())),
        Err(_) => Some(Err("which is damaged".into())),
    }
}

fn lines(text: &str) -> Result<Vec<age::x25519::Identity>, String> {
    let mut keys = Vec::new();
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        keys.push(line.parse().map_err(|_| {
            let upper = Zeroizing::new(line.to_ascii_uppercase());
            let why = if upper.starts_with("AGE-PLUGIN-") {
                "it needs a plugin, and none is run here"
            } else if upper.starts_with("AGE-SECRET-KEY-1") {
                "this key is damaged"
            } else if upper.starts_with("AGE-SECRET-KEY-") {
                "keys of this kind are not known here"
            } else if line.starts_with("ssh-") || line.starts_with("age1") {
                "this is a public key; name the file of the private one"
            } else {
                "this is no private key; one looks like `AGE-SECRET-KEY-1…`, or is an SSH key"
            };
            format!("line {}: {why}", number + 1)
        })?);
    }
    if keys.is_empty() { Err("it holds no key".into()) } else { Ok(keys) }
}
