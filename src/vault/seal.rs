//! Encrypting and decrypting, whole files and single texts.

use std::io::{BufReader, Read as _, Write as _};

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::header::Names;
use super::identities::Attempt;
use super::{Header, Identities, Recipient, Recipients};
use crate::secret::Secret;

const ARMOR: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";
const BINARY: &[u8] = b"age-encryption.org/";

/// How far the header is looked for, and how many lines it may have: a recipient takes two, or twelve for a long RSA key.
const HEADER_BYTES: u64 = 256 << 10;
const HEADER_LINES: usize = 4000;

/// What an encrypted value starts with: `age:`, and [`BINARY`] in base64 as far as its letters do not depend on more.
const VALUE: &str = "age:YWdlLWVuY3J5cHRpb24ub3Jn";

/// Why something cannot be decrypted.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("{0}")]
    NotAge(&'static str),
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    #[error("it is encrypted by a passphrase, and only what is encrypted for keys is read here; `age -d` asks for it")]
    Passphrase,
    #[error("it is encrypted for {recipients}, and {tried}")]
    ForOthers { recipients: String, tried: String },
    #[error("it may be opened by the key `{identity}`, {why}")]
    Locked { identity: String, why: String },
    #[error("what is encrypted in it is no text in UTF-8")]
    NoText,
}

/// A text, encrypted as an armored file.
pub fn encrypt(plain: &[u8], recipients: &Recipients) -> String {
    let armored = encrypted(plain, recipients, Format::AsciiArmor);
    String::from_utf8(armored).expect("armor is ASCII")
}

/// The same as bytes, a quarter shorter.
pub fn encrypt_binary(plain: &[u8], recipients: &Recipients) -> Vec<u8> {
    encrypted(plain, recipients, Format::Binary)
}

fn encrypted(plain: &[u8], recipients: &Recipients, format: Format) -> Vec<u8> {
    let names = Names(recipients.tags());
    let all = recipients.all().iter().map(Recipient::sealer).chain([&names as &dyn age::Recipient]);
    let encryptor = age::Encryptor::with_recipients(all).expect("there are recipients, and none has labels");
    let write = || -> std::io::Result<Vec<u8>> {
        let armor = ArmoredWriter::wrap_output(Vec::with_capacity(plain.len() + plain.len() / 2 + 1024), format)?;
        let mut writer = encryptor.wrap_output(armor)?;
        writer.write_all(plain)?;
        writer.finish()?.finish()
    };
    write().expect("memory takes every byte")
}

/// Whether these bytes are a file of age, armored or binary, or at least begin as one.
pub fn is_encrypted_file(bytes: &[u8]) -> bool {
    bytes.starts_with(BINARY) || bytes.trim_ascii_start().starts_with(ARMOR)
}

/// What was encrypted. Nothing comes out unless every byte of it was checked.
///
/// # Errors
/// Why it cannot be decrypted.
pub fn decrypt(bytes: &[u8], identities: &Identities) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
    check(bytes)?;
    let attempt = Attempt::new(Some(identities));
    opened_by(bytes, &attempt).map_err(|error| reason(error, attempt))
}

/// The header, for which no key is needed.
pub(super) fn header_of(bytes: &[u8]) -> Result<Header, Unreadable> {
    check(bytes)?;
    let attempt = Attempt::new(None);
    match opened_by(bytes, &attempt) {
        Ok(_) | Err(age::DecryptError::NoMatchingKeys) => Ok(attempt.header.take()),
        Err(error) => Err(reason(error, attempt)),
    }
}

/// What one identity of age makes of a file.
pub(super) fn opened_by(bytes: &[u8], identity: &dyn age::Identity) -> Result<Zeroizing<Vec<u8>>, age::DecryptError> {
    let bytes = if bytes.starts_with(BINARY) { bytes } else { bytes.trim_ascii_start() };
    let mut all = ArmoredReader::new(bytes);
    let mut start = Vec::new();
    all.by_ref().take(HEADER_BYTES).read_to_end(&mut start)?;
    // The parser of age begins anew with each line.
    let end = start.windows(4).position(|part| part == b"\n---");
    let lines = start[..end.unwrap_or(start.len())].iter().filter(|byte| **byte == b'\n').count();
    if lines > HEADER_LINES || end.is_none() && start.len() as u64 == HEADER_BYTES {
        return Err(age::DecryptError::InvalidHeader);
    }
    let all = BufReader::new(start.as_slice().chain(all));
    let decryptor = age::Decryptor::new_buffered(all).map_err(|error| match error {
        // A broken header of the known version is taken for one of another.
        age::DecryptError::UnknownFormat if start.starts_with(b"age-encryption.org/v1\n") => age::DecryptError::InvalidHeader,
        _ => error,
    })?;
    let mut reader = decryptor.decrypt(std::iter::once(identity))?;
    // Never grows, so that no copy of it stays behind.
    let mut plain = Zeroizing::new(Vec::with_capacity(bytes.len()));
    reader.read_to_end(&mut plain)?;
    Ok(plain)
}

/// A text as a value for a TOML file: one line of `age:` and base64.
pub fn encrypt_value(plain: &str, recipients: &Recipients) -> String {
    format!("age:{}", STANDARD.encode(encrypt_binary(plain.as_bytes(), recipients)))
}

/// Whether a text is such a value. A plain text that merely starts with `age:` is none.
pub fn is_encrypted_value(text: &str) -> bool {
    text.starts_with(VALUE)
}

/// What was encrypted as a value.
///
/// # Errors
/// Why it cannot be decrypted.
pub fn decrypt_value(value: &str, identities: &Identities) -> Result<Secret, Unreadable> {
    let plain = decrypt(&value_bytes(value)?, identities)?;
    std::str::from_utf8(&plain).map(Secret::new).map_err(|_| Unreadable::NoText)
}

/// The file of age in a value. It may be broken into lines.
pub(super) fn value_bytes(value: &str) -> Result<Vec<u8>, Unreadable> {
    let text: String = value.strip_prefix("age:").ok_or(Unreadable::NotAge("it is no encrypted value, which starts with `age:`"))?.split_ascii_whitespace().collect();
    STANDARD.decode(text).map_err(|_| Unreadable::Damaged("its base64 is broken, or a part of it is missing"))
}

fn check(bytes: &[u8]) -> Result<(), Unreadable> {
    if is_encrypted_file(bytes) {
        return Ok(());
    }
    let start = bytes.trim_ascii_start();
    Err(Unreadable::NotAge(if start.is_empty() {
        "it is empty"
    } else if start.starts_with(b"$ANSIBLE_VAULT") {
        "it is a file of Ansible Vault; `ansible-vault view` decrypts it"
    } else if start.starts_with(b"-----BEGIN PGP") {
        "it is encrypted with PGP; `gpg -d` decrypts it"
    } else if start.starts_with(b"-----BEGIN AGE") || BINARY.starts_with(bytes) {
        "its beginning is that of a file of age, but broken"
    } else if bytes.windows(14).any(|part| part == b"ENC[AES256_GCM") {
        "it is a file of sops; `sops -d` decrypts it"
    } else {
        "it is no file of age"
    }))
}

fn reason(error: age::DecryptError, attempt: Attempt) -> Unreadable {
    use age::DecryptError as Error;
    use std::io::ErrorKind;
    let header = attempt.header.take();
    match error {
        Error::NoMatchingKeys if header.kinds == ["scrypt"] => Unreadable::Passphrase,
        Error::NoMatchingKeys => {
            if let Some((identity, why)) = attempt.locked.take() {
                return Unreadable::Locked { identity, why };
            }
            let is_ours = |identities: &Identities| identities.recipients().iter().any(|own| header.names(own));
            if attempt.identities.is_some_and(is_ours) {
                return Unreadable::Damaged("its header names a key that is here, which does not open it");
            }
            let names = attempt.identities.map(Identities::names).unwrap_or_default();
            let tried = match names.len() {
                0 => "no key to try is here; `--identity` names one".to_owned(),
                1 => format!("the key `{}` does not open it", names[0]),
                _ => format!("none of these keys opens it: `{}`", names.join("`, `")),
            };
            Unreadable::ForOthers { recipients: header.summary(), tried }
        }
        Error::UnknownFormat => Unreadable::Damaged("its version of age's format is not known here"),
        Error::InvalidMac => Unreadable::Damaged("its header was changed"),
        Error::Io(error) if error.kind() == ErrorKind::UnexpectedEof => Unreadable::Damaged("its end is missing"),
        Error::Io(_) => Unreadable::Damaged("a part of it was changed or is missing"),
        _ => Unreadable::Damaged("its header is broken"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::testing::{Team, identities, recipients};

    const TEXT: &[u8] = b"user = \"admin\"\npassword = \"hunter2\"\n";

    fn why(bytes: &[u8], identities: &Identities) -> String {
        decrypt(bytes, identities).expect_err("a reason").to_string()
    }

    #[test]
    fn what_is_encrypted_comes_back_for_each_recipient_only() {
        let team = Team::new();
        let both = recipients(&[&team.alice, &team.bob]);
        let armored = encrypt(TEXT, &both);
        assert!(armored.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n") && armored.ends_with("-----END AGE ENCRYPTED FILE-----\n"));
        for bytes in [armored.as_bytes(), &encrypt_binary(TEXT, &both), armored.replace('\n', "\r\n").as_bytes(), format!("\n  {armored}\n \n").as_bytes()] {
            for person in [&team.alice, &team.bob] {
                assert_eq!(decrypt(bytes, &identities(&[&team.carol, person])).expect("a text").as_slice(), TEXT);
            }
            let path = team.carol.path.display();
            assert_eq!(why(bytes, &identities(&[&team.carol])), format!("it is encrypted for 2 age keys, and the key `{path}` does not open it"));
            assert!(why(bytes, &identities(&[])).ends_with("no key to try is here; `--identity` names one"));
        }
        assert!(encrypt(b"", &both).len() > 100);
        assert!(decrypt(encrypt(b"", &both).as_bytes(), &identities(&[&team.bob])).expect("a text").is_empty());
    }

    #[test]
    fn the_header_tells_for_whom_without_a_key() {
        use crate::vault::Standing;
        let team = Team::new();
        let (both, one) = (recipients(&[&team.alice, &team.bob]), recipients(&[&team.alice]));
        let header = Header::of(encrypt(TEXT, &both).as_bytes()).expect("a header");
        assert_eq!(header.kinds, ["X25519", "X25519"]);
        assert_eq!([header.is_for(&both), header.is_for(&one), header.is_for(&recipients(&[&team.alice, &team.carol]))], [Standing::Current, Standing::Stale, Standing::Stale]);
        assert!(header.names(&team.alice.public) && !header.names(&team.carol.public));
    }

    #[test]
    fn a_damaged_file_is_never_a_panic_and_never_another_text() {
        let team = Team::new();
        let ids = identities(&[&team.alice]);
        let for_us = recipients(&[&team.alice]);
        let check = |bytes: &[u8]| match decrypt(bytes, &ids) {
            Ok(plain) => assert_eq!(plain.as_slice(), b"short"),
            Err(error) => assert!(!error.to_string().contains("short")),
        };
        for whole in [encrypt(b"short", &for_us).into_bytes(), encrypt_binary(b"short", &for_us)] {
            for at in 0..whole.len() {
                assert!(decrypt(&whole[..at], &ids).is_err() || whole[at..].trim_ascii().is_empty(), "cut at {at}");
                for other in [whole[at] ^ 1, whole[at] ^ 0x80, b'\n', b' ', b'A', 0] {
                    let mut bytes = whole.clone();
                    bytes[at] = other;
                    check(&bytes);
                    bytes.insert(at, whole[at]);
                    check(&bytes);
                }
                let mut bytes = whole.clone();
                bytes.remove(at);
                check(&bytes);
            }
            check(&[whole.as_slice(), b"more"].concat());
            check(&[whole.as_slice(), &whole].concat());
        }
        let value = encrypt_value("short", &for_us);
        for at in 0..value.len() {
            assert!(decrypt_value(&value[..at], &ids).is_err());
            let other = if value.as_bytes()[at] == b'A' { "B" } else { "A" };
            let bytes = format!("{}{other}{}", &value[..at], &value[at + 1..]);
            assert!(decrypt_value(&bytes, &ids).is_ok_and(|secret| secret.expose() == "short") || decrypt_value(&bytes, &ids).is_err());
        }
    }

    #[test]
    fn damage_is_told_from_other_recipients() {
        let team = Team::new();
        let ids = identities(&[&team.alice]);
        let bytes = encrypt_binary(TEXT, &recipients(&[&team.alice]));
        let changed = |at: usize| {
            let mut bytes = bytes.clone();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            why(&bytes, &ids)
        };
        let header_end = bytes.windows(4).position(|part| part == b"--- ").expect("a header");
        assert_eq!(changed(bytes.len() - 1), "it is damaged: a part of it was changed or is missing");
        assert_eq!(changed(header_end + 6), "it is damaged: its header was changed");
        assert_eq!(changed(80), "it is damaged: its header names a key that is here, which does not open it");
        assert_eq!(why(&bytes[..header_end], &ids), "it is damaged: its end is missing");
        assert_eq!(why(&bytes[..bytes.len() - 3], &ids), "it is damaged: a part of it was changed or is missing");
        assert_eq!(why(&[&bytes[..80], b"*", &bytes[81..]].concat(), &ids), "it is damaged: its header is broken");
        assert_eq!(changed(20), "it is damaged: its version of age's format is not known here");
    }

    #[test]
    fn a_header_without_end_is_refused_at_once() {
        for stanza in ["-> a b\n\n".to_owned(), format!("-> {}\n\n", "a".repeat(200))] {
            let text = format!("age-encryption.org/v1\n{}", stanza.repeat(1 << 17));
            assert_eq!(why(text.as_bytes(), &identities(&[])), "it is damaged: its header is broken");
        }
    }

    #[test]
    fn other_files_are_told_apart() {
        let ids = identities(&[]);
        assert_eq!(why(b" \n", &ids), "it is empty");
        assert_eq!(why(b"hello", &ids), "it is no file of age");
        assert!(why(b"$ANSIBLE_VAULT;1.1;AES256\n3132", &ids).contains("Ansible Vault"));
        assert!(why(b"a: ENC[AES256_GCM,data:x]", &ids).contains("sops"));
        assert!(why(b"-----BEGIN PGP MESSAGE-----", &ids).contains("PGP"));
        assert!(why(b"-----BEGIN AGE ENC", &ids).contains("broken"));
        let mut bytes = Vec::new();
        let mut recipient = age::scrypt::Recipient::new("x".to_owned().into());
        recipient.set_work_factor(2);
        let mut writer = age::Encryptor::with_recipients(std::iter::once(&recipient as _)).expect("a recipient").wrap_output(&mut bytes).expect("memory");
        writer.write_all(b"x").expect("memory");
        writer.finish().expect("memory");
        assert!(why(&bytes, &ids).starts_with("it is encrypted by a passphrase"));
    }

    #[test]
    fn a_value_fits_into_one_line_of_toml() {
        let team = Team::new();
        let value = encrypt_value("pass\nword", &recipients(&[&team.alice]));
        assert!(is_encrypted_value(&value) && value.starts_with("age:") && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":+/=".contains(&byte)), "{value}");
        let broken: Vec<&str> = value.as_bytes().chunks(60).map(|part| std::str::from_utf8(part).expect("ASCII")).collect();
        for text in [value.clone(), broken.join("\n")] {
            assert_eq!(decrypt_value(&text, &identities(&[&team.alice])).expect("a text").expose(), "pass\nword");
        }
        for plain in ["", "age:", "age:42", "age", "age:YWdl"] {
            assert!(!is_encrypted_value(plain));
            assert!(decrypt_value(plain, &identities(&[])).is_err());
        }
        let bytes = format!("age:{}", STANDARD.encode(encrypt_binary(b"\xff", &recipients(&[&team.alice]))));
        assert_eq!(decrypt_value(&bytes, &identities(&[&team.alice])).expect_err("a reason").to_string(), "what is encrypted in it is no text in UTF-8");
    }
}
