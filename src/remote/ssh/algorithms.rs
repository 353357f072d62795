//! Algorithms, written out so that an update of russh changes nothing unnoticed.

use std::borrow::Cow;
use std::time::Duration;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{cipher, client, compression, kex, mac};

use super::{HostFailure, Target};

/// What the user's ssh configuration allows and prefers, in OpenSSH's names. `None` for our own choice.
#[derive(Clone, Debug, Default)]
pub struct Algorithms {
    pub kex: Option<Vec<String>>,
    pub host_key: Option<Vec<String>>,
    pub ciphers: Option<Vec<String>>,
    pub macs: Option<Vec<String>>,
    pub signatures: Option<Vec<String>>,
}

/// How russh is to speak with a host, of which keys of these kinds are on file, by certificate or not.
///
/// # Errors
/// When nothing is left of what the user's configuration allows.
pub fn config(target: &Target, on_file: &[Algorithm], by_certificate: bool) -> Result<client::Config, HostFailure> {
    let mut kex = vec![
        kex::MLKEM768X25519_SHA256,
        kex::CURVE25519,
        kex::CURVE25519_PRE_RFC_8731,
        kex::ECDH_SHA2_NISTP256,
        kex::ECDH_SHA2_NISTP384,
        kex::ECDH_SHA2_NISTP521,
        kex::DH_GEX_SHA256,
        kex::DH_G16_SHA512,
        kex::DH_G14_SHA256,
    ];
    // curve25519 is three times cheaper than the hybrid for the server too, but only the hybrid keeps today's
    // traffic closed to tomorrow's machines; so the hybrid leads.
    let mut key = vec![
        Algorithm::Ed25519,
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
        Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
        Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
    ];
    // AES-GCM first: it costs half of chacha20 on both ends; its short key costs the least, and lasts as long as the curve that made it.
    let mut cipher = vec![
        cipher::AES_128_GCM,
        cipher::AES_256_GCM,
        cipher::AES_256_CTR,
        cipher::AES_192_CTR,
        cipher::AES_128_CTR,
        cipher::CHACHA20_POLY1305,
    ];
    // chacha20 and the -etm codes come last: with a server that knows no strict key exchange somebody between could cut
    // the first packets out of them (CVE-2023-48795).
    let mut mac = vec![mac::HMAC_SHA512, mac::HMAC_SHA256, mac::HMAC_SHA512_ETM, mac::HMAC_SHA256_ETM];
    if target.legacy {
        kex.extend([kex::DH_G14_SHA1, kex::DH_GEX_SHA1, kex::DH_G1_SHA1]);
        key.push(Algorithm::Rsa { hash: None });
        cipher.extend([cipher::AES_256_CBC, cipher::AES_192_CBC, cipher::AES_128_CBC]);
        mac.extend([mac::HMAC_SHA1_ETM, mac::HMAC_SHA1]);
    }
    let wanted = &target.algorithms;
    let kex = chosen(kex, |one| one.as_ref().to_owned(), wanted.kex.as_deref(), "KexAlgorithms", target)?;
    let cipher = chosen(cipher, |one| one.as_ref().to_owned(), wanted.ciphers.as_deref(), "Ciphers", target)?;
    let mac = chosen(mac, |one| one.as_ref().to_owned(), wanted.macs.as_deref(), "MACs", target)?;
    let mut key = chosen(key, ToString::to_string, wanted.host_key.as_deref(), "HostKeyAlgorithms", target)?;
    // A host is asked for a kind of key that is on file, else it might show another one and look changed.
    key.sort_by_key(|algorithm| !on_file.iter().any(|known| kind(known) == kind(algorithm)));
    let certificates = if by_certificate { key.clone() } else { Vec::new() };
    let mut kex: Vec<kex::Name> = kex;
    kex.extend([kex::EXTENSION_SUPPORT_AS_CLIENT, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT]);
    Ok(client::Config {
        client_id: russh::SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-mutate_", env!("CARGO_PKG_VERSION")))),
        window_size: 2 << 20,
        maximum_packet_size: 32 << 10,
        channel_buffer_size: 16,
        preferred: russh::Preferred {
            kex: kex.into(),
            key: key.into(),
            host_key_certificates: certificates.into(),
            cipher: cipher.into(),
            mac: mac.into(),
            compression: Cow::Borrowed(&[compression::NONE]),
        },
        inactivity_timeout: None,
        keepalive_interval: target.alive.interval,
        keepalive_max: target.alive.count,
        nodelay: true,
        ..client::Config::default()
    })
}

/// How often a silent server is asked whether it is still there, and after how many silences it counts as gone.
#[derive(Clone, Copy, Debug)]
pub struct Alive {
    pub interval: Option<Duration>,
    pub count: usize,
}

impl Default for Alive {
    fn default() -> Self {
        Self { interval: Some(Duration::from_secs(15)), count: 3 }
    }
}

/// Ours as far as the user allows them, in the user's order.
fn chosen<T: Clone>(ours: Vec<T>, name: impl Fn(&T) -> String, wanted: Option<&[String]>, keyword: &str, target: &Target) -> Result<Vec<T>, HostFailure> {
    let Some(wanted) = wanted else { return Ok(ours) };
    let named = |prefix: char| -> Vec<&str> { wanted.iter().filter_map(|word| word.strip_prefix(prefix)).collect() };
    match wanted.first().and_then(|word| word.chars().next()) {
        // What is to be added we have, or it is too old.
        Some('+') => return Ok(ours),
        Some('-') => {
            let without = named('-');
            let fits = |one: &T| without.iter().any(|pattern| crate::shell::glob(pattern.as_bytes(), name(one).as_bytes()));
            return Ok(ours.into_iter().filter(|one| !fits(one)).collect());
        }
        Some('^') => {
            let (first, rest): (Vec<T>, Vec<T>) = ours.into_iter().partition(|one| named('^').contains(&name(one).as_str()));
            return Ok(first.into_iter().chain(rest).collect());
        }
        _ => {}
    }
    let found: Vec<T> = wanted.iter().filter_map(|word| ours.iter().find(|one| name(one) == *word)).cloned().collect();
    if found.is_empty() {
        let address = target.address.clone();
        return Err(HostFailure::Algorithms { address, what: format!("the ssh configuration allows {keyword} {}, of which mutate offers none", wanted.join(",")) });
    }
    Ok(found)
}

/// The three RSA signatures belong to one kind of key.
pub fn kind(algorithm: &Algorithm) -> Algorithm {
    match algorithm {
        Algorithm::Rsa { .. } => Algorithm::Rsa { hash: None },
        other => other.clone(),
    }
}
