//! Which keys a host may show: OpenSSH's `known_hosts` files.
//!
//! Own matching, since russh's reader ignores `@revoked`, `@cert-authority`, wildcards and negation, and takes a file
//! that it cannot read for an empty one. Meaning after sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT", and what OpenSSH does.
//! One thing is stricter: a key of another kind than those on file counts as changed.

use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use hmac::{Hmac, KeyInit, Mac};
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Certificate, HashAlg, PublicKey};
use sha1::Sha1;

use super::HostFailure;
use crate::shell::glob;

/// All lines of some files.
#[derive(Debug, Default, Clone)]
pub struct KnownHosts {
    lines: Vec<Line>,
}

#[derive(Debug, Clone)]
struct Line {
    place: String,
    marker: Marker,
    hosts: Hosts,
    key: PublicKey,
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

    /// The keys on file for a host, so that the server can be asked for one of their kinds first. No port stands for a
    /// name that is used as it is.
    pub fn keys<'a>(&'a self, name: &'a str, port: Option<u16>) -> impl Iterator<Item = &'a PublicKey> {
        let named = shown_name(name, port);
        self.lines.iter().filter(move |line| line.marker == Marker::None && line.fits(&named)).map(|line| &line.key)
    }

    /// Whether an authority is trusted to vouch for the host.
    pub fn has_authority(&self, name: &str, port: Option<u16>) -> bool {
        let names = [shown_name(name, port), shown_name(name, None)];
        self.lines.iter().any(|line| line.marker == Marker::Authority && names.iter().any(|named| line.fits(named)))
    }

    /// Whether a host may show this key, which a certificate may vouch for.
    ///
    /// # Errors
    /// [`HostFailure::HostKeyUnknown`], [`HostFailure::HostKeyChanged`], [`HostFailure::HostKeyRevoked`] or
    /// [`HostFailure::HostCertificate`].
    pub fn check(&self, name: &str, port: Option<u16>, key: &PublicKey, certificate: Option<&Certificate>) -> Result<(), HostFailure> {
        let named = shown_name(name, port);
        let mine: Vec<&Line> = self.lines.iter().filter(|line| line.fits(&named)).collect();
        let authority = certificate.map(|certificate| PublicKey::from(certificate.signature_key().clone()));
        let is_revoked = |line: &&&Line| line.marker == Marker::Revoked && (same(&line.key, key) || authority.as_ref().is_some_and(|ca| same(&line.key, ca)));
        if let Some(line) = mine.iter().find(is_revoked) {
            return Err(HostFailure::HostKeyRevoked { name: name.into(), place: line.place.clone() });
        }
        if let (Some(certificate), Some(authority)) = (certificate, &authority)
            && let Some(line) = mine.iter().find(|line| line.marker == Marker::Authority && same(&line.key, authority))
        {
            // Where it is not good, the key in it may still be on file by itself.
            return match vouches(certificate, &line.key, name) {
                Ok(()) => Ok(()),
                Err(reason) => self.check(name, port, key, None).map_err(|failure| match failure {
                    HostFailure::HostKeyUnknown { .. } => HostFailure::HostCertificate { name: name.into(), reason },
                    other => other,
                }),
            };
        }
        // A certificate of an authority that nobody trusts is as good as the key in it.
        let mut other = None;
        for line in mine.iter().filter(|line| line.marker == Marker::None) {
            if same(&line.key, key) {
                return Ok(());
            }
            other.get_or_insert(&line.place);
        }
        match (other, port) {
            (Some(place), _) => Err(changed(name, key, place)),
            // As OpenSSH does: a key that is on file for the plain name is good for its other ports.
            (None, Some(port)) if port != 22 => self.check(name, None, key, certificate).map_err(|failure| match failure {
                refused @ (HostFailure::HostKeyRevoked { .. } | HostFailure::HostCertificate { .. }) => refused,
                _ => unknown(name, key),
            }),
            (None, _) => Err(unknown(name, key)),
        }
    }
}

/// Whether a certificate of a trusted authority is one for this host, and now.
fn vouches(certificate: &Certificate, authority: &PublicKey, name: &str) -> Result<(), String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if certificate.cert_type() != CertType::Host {
        return Err("it is one for users, not for hosts".into());
    }
    if now < certificate.valid_after() {
        return Err("it is not valid yet; are the clocks right?".into());
    }
    if now >= certificate.valid_before() {
        return Err("it has expired".into());
    }
    let names = certificate.valid_principals();
    let name = name.to_lowercase();
    if !names.is_empty() && !names.iter().any(|one| glob(one.to_lowercase().as_bytes(), name.as_bytes())) {
        return Err(format!("it is for {}", names.join(", ")));
    }
    if let Some(option) = certificate.critical_options().keys().next() {
        return Err(format!("it has a critical option that nobody knows: {option}"));
    }
    let fingerprint = authority.fingerprint(HashAlg::Sha256);
    certificate.validate_at(now, [&fingerprint]).map_err(|_| "its signature is wrong".into())
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

/// `SHA256:…`, as `ssh-keygen -l` shows it.
pub fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

fn same(one: &PublicKey, other: &PublicKey) -> bool {
    one.key_data() == other.key_data()
}

/// The line to add for a new key.
pub fn line(name: &str, port: Option<u16>, key: &PublicKey) -> String {
    let text = key.to_openssh().unwrap_or_default();
    let words: Vec<&str> = text.split(' ').take(2).collect();
    format!("{} {}", shown_name(name, port), words.join(" "))
}

/// Adds the key of a host that is new to a file, by what stands in the file now: another run may have added one meanwhile.
///
/// # Errors
/// [`HostFailure::HostKeyChanged`] or [`HostFailure::HostKeyRevoked`] when the file says so by now; why it cannot be written.
pub fn learn(path: &Path, name: &str, port: Option<u16>, key: &PublicKey) -> Result<(), HostFailure> {
    use std::os::unix::fs::FileTypeExt as _;
    // Whoever names /dev/null wants nothing to be remembered.
    if path.metadata().is_ok_and(|about| about.file_type().is_char_device()) {
        return Ok(());
    }
    let failed = |error: std::io::Error| HostFailure::KnownHosts(format!("{}: {error}", path.display()));
    let mut verdict = Ok(());
    let judge = |text: &str| {
        let mut known = KnownHosts::default();
        known.add(path, text);
        match known.check(name, port, key, None) {
            Err(HostFailure::HostKeyUnknown { .. }) => true,
            other => {
                verdict = other;
                false
            }
        }
    };
    add_if(path, &[line(name, port, key)], judge).map_err(failed)?;
    verdict
}

/// Adds lines to a file, under a lock and durably; those that it has already are left out. Gives how many were added.
///
/// # Errors
/// Why the file cannot be written.
pub fn add(path: &Path, lines: &[String]) -> std::io::Result<usize> {
    add_if(path, lines, |_| true)
}

/// The same, if the text of the file, which nobody changes meanwhile, is as it should be.
fn add_if(path: &Path, lines: &[String], judge: impl FnOnce(&str) -> bool) -> std::io::Result<usize> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut file = std::fs::OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    file.lock()?;
    let mut text = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut text)?;
    let known = String::from_utf8_lossy(&text);
    if !judge(&known) {
        return Ok(0);
    }
    let mut more = String::new();
    if !text.is_empty() && !text.ends_with(b"\n") {
        more.push('\n');
    }
    let mut added = 0;
    for line in lines.iter().filter(|line| !known.lines().any(|one| one.trim() == line.as_str())) {
        more.push_str(line);
        more.push('\n');
        added += 1;
    }
    if added > 0 {
        file.write_all(more.as_bytes())?;
        file.sync_all()?;
    }
    Ok(added)
}

/// The name under which a host stands in the file: with its port unless that is 22.
fn shown_name(name: &str, port: Option<u16>) -> String {
    let name = name.to_lowercase();
    match port {
        None | Some(22) => name,
        Some(port) => format!("[{name}]:{port}"),
    }
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
    // A line that makes no sense is passed over, as OpenSSH does.
    let key = PublicKey::from_openssh(&format!("{} {}", words.next()?, words.next()?)).ok()?;
    Some(Line { place, marker, hosts, key })
}

impl Line {
    /// Whether the line is about a host, named as it stands in the file.
    fn fits(&self, shown: &str) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const B: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";

    fn check(file: &str, name: &str, port: u16) -> &'static str {
        let mut known = KnownHosts::default();
        known.add(Path::new("known_hosts"), &file.replace("KEY_A", A).replace("KEY_B", B));
        match known.check(name, Some(port), &PublicKey::from_openssh(A).expect("a good key"), None) {
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
        assert_eq!(check("web1 KEY_A", "web1", 2222), "known");
        assert_eq!(check("web1 KEY_B", "web1", 2222), "unknown");
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
