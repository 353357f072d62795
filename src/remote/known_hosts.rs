//! Which keys a host may show: OpenSSH's `known_hosts` files, and keys pinned in the inventory.
//!
//! Own matching, since russh's reader ignores `@revoked`, `@cert-authority`, wildcards and negation, and takes a file
//! that it cannot read for an empty one. Meaning after sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT".

use std::path::{Path, PathBuf};

use base64::Engine as _;
use hmac::{Hmac, KeyInit, Mac};
use russh::keys::PublicKey;
use sha1::Sha1;

use super::HostFailure;

/// All lines of the user's and the system's file, read once per run.
#[derive(Debug, Default, Clone)]
pub struct KnownHosts {
    lines: Vec<Line>,
}

#[derive(Debug, Clone)]
struct Line {
    place: String,
    marker: Marker,
    hosts: Hosts,
    key: Option<PublicKey>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marker {
    None,
    Revoked,
    Authority,
}

#[derive(Debug, Clone)]
enum Hosts {
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
    Patterns(Vec<(bool, String)>),
}

impl KnownHosts {
    /// Reads files; one that does not exist is empty, one that cannot be read is an error.
    ///
    /// # Errors
    /// When a file is there but cannot be read.
    pub fn read(paths: &[PathBuf]) -> Result<Self, HostFailure> {
        let mut known = Self::default();
        for path in paths {
            match std::fs::read(path) {
                Ok(text) => known.add(path, &String::from_utf8_lossy(&text)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(HostFailure::KnownHosts(format!("{}: {error}", path.display()))),
            }
        }
        Ok(known)
    }

    fn add(&mut self, path: &Path, text: &str) {
        for (number, line) in text.lines().enumerate() {
            let place = format!("{}:{}", path.display(), number + 1);
            self.lines.extend(parse(line, place));
        }
    }

    /// The keys on file for a host, so that the server can be asked for one of their kinds first.
    pub fn keys<'a>(&'a self, name: &'a str, port: u16) -> impl Iterator<Item = &'a PublicKey> {
        self.lines
            .iter()
            .filter(move |line| line.marker == Marker::None && line.fits(name, port))
            .filter_map(|line| line.key.as_ref())
    }

    /// Whether a host may show this key.
    ///
    /// # Errors
    /// [`HostFailure::HostKeyUnknown`], [`HostFailure::HostKeyChanged`] or [`HostFailure::HostKeyRevoked`].
    pub fn check(&self, name: &str, port: u16, key: &PublicKey) -> Result<(), HostFailure> {
        let revoked = |line: &&Line| line.marker == Marker::Revoked && same(line.key.as_ref(), key);
        if let Some(line) = self.lines.iter().find(revoked) {
            return Err(HostFailure::HostKeyRevoked { name: name.into(), place: line.place.clone() });
        }
        let mut other = None;
        for line in self.lines.iter().filter(|line| line.marker == Marker::None && line.fits(name, port)) {
            if same(line.key.as_ref(), key) {
                return Ok(());
            }
            other.get_or_insert(&line.place);
        }
        match other {
            Some(place) => Err(changed(name, key, place)),
            None => Err(unknown(name, key)),
        }
    }
}

/// The failure for a key that is not the one pinned or on file.
pub fn changed(name: &str, key: &PublicKey, place: &str) -> HostFailure {
    HostFailure::HostKeyChanged {
        name: name.into(),
        algorithm: key.algorithm().to_string(),
        fingerprint: fingerprint(key),
        place: place.into(),
    }
}

fn unknown(name: &str, key: &PublicKey) -> HostFailure {
    HostFailure::HostKeyUnknown {
        name: name.into(),
        algorithm: key.algorithm().to_string(),
        fingerprint: fingerprint(key),
    }
}

fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(russh::keys::HashAlg::Sha256).to_string()
}

fn same(on_file: Option<&PublicKey>, shown: &PublicKey) -> bool {
    on_file.is_some_and(|key| key.key_data() == shown.key_data())
}

/// The line to add for a new key.
pub fn line(name: &str, port: u16, key: &PublicKey) -> Option<String> {
    let text = key.to_openssh().ok()?;
    let mut words = text.split(' ');
    Some(format!("{} {} {}\n", shown_name(name, port), words.next()?, words.next()?))
}

/// The name under which a host stands in the file: with its port unless that is 22.
fn shown_name(name: &str, port: u16) -> String {
    let name = name.to_lowercase();
    if port == 22 { name } else { format!("[{name}]:{port}") }
}

fn parse(line: &str, place: String) -> Option<Line> {
    let line = line.trim_matches([' ', '\t', '\r']);
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    let mut word = words.next()?;
    let marker = match word {
        "@revoked" => Marker::Revoked,
        "@cert-authority" => Marker::Authority,
        _ if word.starts_with('@') => return None,
        _ => Marker::None,
    };
    if marker != Marker::None {
        word = words.next()?;
    }
    let hosts = if let Some(hashed) = word.strip_prefix("|1|") {
        let (salt, hash) = hashed.split_once('|')?;
        let decode = |text: &str| base64::engine::general_purpose::STANDARD.decode(text).ok();
        Hosts::Hashed { salt: decode(salt)?, hash: decode(hash)? }
    } else {
        let patterns = word.split(',').map(|pattern| match pattern.strip_prefix('!') {
            Some(rest) => (true, rest.to_lowercase()),
            None => (false, pattern.to_lowercase()),
        });
        Hosts::Patterns(patterns.collect())
    };
    let key = PublicKey::from_openssh(&format!("{} {}", words.next()?, words.next()?)).ok();
    Some(Line { place, marker, hosts, key })
}

impl Line {
    fn fits(&self, name: &str, port: u16) -> bool {
        let shown = shown_name(name, port);
        match &self.hosts {
            Hosts::Hashed { salt, hash } => {
                let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(salt) else { return false };
                mac.update(shown.as_bytes());
                mac.verify_slice(hash).is_ok()
            }
            Hosts::Patterns(patterns) => {
                let mut fits = false;
                for (negated, pattern) in patterns {
                    if glob(pattern.as_bytes(), shown.as_bytes()) {
                        if *negated {
                            return false;
                        }
                        fits = true;
                    }
                }
                fits
            }
        }
    }
}

/// `*` and `?`, as OpenSSH's `match_pattern`.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.first(), text.first()) {
        (None, None) => true,
        (Some(b'*'), _) => glob(&pattern[1..], text) || (!text.is_empty() && glob(pattern, &text[1..])),
        (Some(b'?'), Some(_)) => glob(&pattern[1..], &text[1..]),
        (Some(wanted), Some(found)) => wanted == found && glob(&pattern[1..], &text[1..]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const B: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";

    fn check(file: &str, name: &str, port: u16) -> &'static str {
        let mut known = KnownHosts::default();
        known.add(Path::new("known_hosts"), &file.replace("KEY_A", A).replace("KEY_B", B));
        match known.check(name, port, &PublicKey::from_openssh(A).expect("a good key")) {
            Ok(()) => "known",
            Err(HostFailure::HostKeyUnknown { .. }) => "unknown",
            Err(HostFailure::HostKeyChanged { .. }) => "changed",
            Err(HostFailure::HostKeyRevoked { .. }) => "revoked",
            Err(_) => "other",
        }
    }

    #[test]
    fn names_patterns_and_ports_are_told_apart() {
        assert_eq!(check("web1 KEY_A", "web1", 22), "known");
        assert_eq!(check("web1 KEY_A", "WEB1", 22), "known");
        assert_eq!(check("web1 KEY_A", "web1", 2222), "unknown");
        assert_eq!(check("[web1]:2222\tKEY_A\r", "web1", 2222), "known");
        assert_eq!(check("web*,!web9 KEY_A", "web1", 22), "known");
        assert_eq!(check("web*,!web9 KEY_A", "web9", 22), "unknown");
        assert_eq!(check("web? KEY_B\nweb1 KEY_A", "web1", 22), "known");
        assert_eq!(check("# web1 KEY_A\n\nweb1 KEY_B", "web1", 22), "changed");
    }

    #[test]
    fn a_revoked_key_is_refused_even_when_it_is_known() {
        assert_eq!(check("web1 KEY_A\n@revoked * KEY_A", "web1", 22), "revoked");
        assert_eq!(check("@cert-authority * KEY_A", "web1", 22), "unknown");
    }

    #[test]
    fn a_hashed_name_is_found() {
        // The hash of `web1` under the salt, made with `ssh-keygen -H`.
        let mut mac = Hmac::<Sha1>::new_from_slice(b"12345678901234567890").expect("any length");
        mac.update(b"web1");
        let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
        let hash = encode(&mac.finalize().into_bytes());
        let file = format!("|1|{}|{hash} KEY_A", encode(b"12345678901234567890"));
        assert_eq!(check(&file, "web1", 22), "known");
        assert_eq!(check(&file, "web2", 22), "unknown");
    }
}
