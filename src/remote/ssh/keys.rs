//! Private keys, each read and decrypted once for all hosts.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use cbc::cipher::{BlockModeDecrypt as _, KeyIvInit as _, block_padding::Pkcs7};
use russh::keys::{Certificate, PrivateKey, PublicKey, decode_secret_key, load_openssh_certificate};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// The longest file of a key, in bytes.
const LIMIT_BYTES: u64 = 1 << 20;

/// The keys of a run.
#[derive(Default)]
pub struct Keyring {
    read: Mutex<HashMap<PathBuf, Arc<OnceCell<Result<Arc<PrivateKey>, Problem>>>>>,
    /// What lies beside key files, and certificates by their own files.
    beside: Mutex<HashMap<PathBuf, Arc<Beside>>>,
    certificates: Mutex<HashMap<PathBuf, Option<Certificate>>>,
    /// Passphrases by file.
    passphrases: Mutex<HashMap<PathBuf, Secret>>,
    /// What opens every file that has none of its own.
    general: Option<Secret>,
}

/// What lies beside a key file and can be read without its passphrase.
#[derive(Debug, Default)]
pub struct Beside {
    pub public: Option<PublicKey>,
    pub certificate: Option<Certificate>,
}

/// Why a key cannot be used.
#[derive(Clone, Debug)]
pub enum Problem {
    Encrypted,
    WrongPassphrase,
    Missing,
    Other(String),
}

impl Keyring {
    /// A keyring with a passphrase for all files.
    pub fn new(general: Option<Secret>) -> Self {
        Self { general, ..Self::default() }
    }

    /// Remembers the passphrase of a file.
    pub fn unlock(&self, path: &Path, passphrase: Secret) {
        lock(&self.passphrases).insert(path.to_owned(), passphrase);
    }

    /// Whether a file is a key whose passphrase is not there yet.
    pub fn is_locked(&self, path: &Path) -> bool {
        self.general.is_none() && !lock(&self.passphrases).contains_key(path) && matches!(read(path, None), Err(Problem::Encrypted))
    }

    /// The public half and the certificate of a key file.
    pub fn beside(&self, path: &Path) -> Arc<Beside> {
        let read = || {
            let certificate = load_openssh_certificate(with_ending(path, "-cert.pub")).ok();
            let public = public_half(path).or_else(|| certificate.as_ref().map(|one| one.public_key().clone().into()));
            Arc::new(Beside { public, certificate })
        };
        lock(&self.beside).entry(path.to_owned()).or_insert_with(read).clone()
    }

    /// A certificate that was named by its own file; `None` when it cannot be read.
    pub fn certificate(&self, path: &Path) -> Option<Certificate> {
        lock(&self.certificates).entry(path.to_owned()).or_insert_with(|| load_openssh_certificate(path).ok()).clone()
    }

    /// Reads a key file. Decrypting takes a quarter of a second, so it has a thread of its own.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub async fn key(&self, path: &Path) -> Result<Arc<PrivateKey>, Problem> {
        let cell = lock(&self.read).entry(path.to_owned()).or_default().clone();
        let key = cell.get_or_init(|| async {
            let passphrase = lock(&self.passphrases).get(path).cloned().or_else(|| self.general.clone());
            let path = path.to_owned();
            let reading = tokio::task::spawn_blocking(move || read(&path, passphrase.as_ref()).map(Arc::new));
            reading.await.unwrap_or_else(|error| Err(Problem::Other(error.to_string())))
        });
        key.await.clone()
    }
}

/// The public half that lies beside a key file.
pub fn public_half(path: &Path) -> Option<PublicKey> {
    russh::keys::load_public_key(with_ending(path, ".pub")).ok()
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(ending);
    name.into()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this lock")
}

fn read(path: &Path, passphrase: Option<&Secret>) -> Result<PrivateKey, Problem> {
    if !path.exists() {
        return Err(Problem::Missing);
    }
    let bytes = crate::diag::read_bytes(path, LIMIT_BYTES).map_err(Problem::Other)?;
    let text = Zeroizing::new(String::from_utf8(bytes).map_err(|_| Problem::Other("it is no key file".into()))?);
    let is_locked = text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED");
    // A passphrase for a key that has none is no reason to fail.
    if !is_locked {
        match decode_secret_key(&text, None) {
            Err(russh::keys::Error::KeyIsEncrypted) => {}
            plain => return plain.map_err(|error| Problem::Other(plain_reason(&text, &error))),
        }
    }
    let Some(passphrase) = passphrase else { return Err(Problem::Encrypted) };
    if let Some(plain) = classic(&text, passphrase)? {
        return decode_secret_key(&plain, None).map_err(|_| Problem::WrongPassphrase);
    }
    decode_secret_key(&text, Some(passphrase.expose())).map_err(|error| {
        if error.to_string().contains(SHORT_NUMBER) { Problem::Other(plain_reason(&text, &error)) } else { Problem::WrongPassphrase }
    })
}

/// What ssh-key 0.7.0-rc.11 says of an ECDSA key on P-256 whose number has fewer than 32 bytes, as one of 256 has.
const SHORT_NUMBER: &str = "length invalid";

fn plain_reason(text: &str, error: &russh::keys::Error) -> String {
    if text.contains("BEGIN DSA PRIVATE KEY") {
        "DSA keys are too weak for any server of today".into()
    } else if error.to_string().contains(SHORT_NUMBER) {
        "its number begins with a zero byte, as that of one in 256 ECDSA keys does, and such a file this version cannot read; open it with `ssh-add`, or make another key".into()
    } else if text.starts_with("ssh-") || text.starts_with("ecdsa-") || text.starts_with("sk-") {
        "it is the public half; name the file without `.pub`".into()
    } else if !text.contains("PRIVATE KEY") && !text.starts_with("PuTTY") {
        "it is no key file".into()
    } else {
        error.to_string()
    }
}

/// A key as OpenSSL used to encrypt it (`Proc-Type: 4,ENCRYPTED`), decrypted; russh takes every such key for RSA.
///
/// The key is MD5 of passphrase and the first 8 bytes of the vector, as in OpenSSL's `EVP_BytesToKey`.
fn classic(text: &str, passphrase: &Secret) -> Result<Option<Zeroizing<String>>, Problem> {
    use base64::Engine as _;
    let Some(info) = text.lines().find_map(|line| line.strip_prefix("DEK-Info: ")) else { return Ok(None) };
    let Some(vector) = info.trim().strip_prefix("AES-128-CBC,") else {
        return Err(Problem::Other(format!("it is encrypted with {}, an old way; `ssh-keygen -p -f FILE` writes it anew", info.split(',').next().unwrap_or_default())));
    };
    let broken = || Problem::Other("it is damaged".into());
    let vector: Vec<u8> = (0..16).map(|at| vector.get(at * 2..at * 2 + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok())).collect::<Option<_>>().ok_or_else(broken)?;
    let body: String = text.lines().filter(|line| !line.contains(':') && !line.starts_with("-----")).collect();
    let mut bytes = base64::engine::general_purpose::STANDARD.decode(body.trim()).map_err(|_| broken())?;
    let seed = Zeroizing::new([passphrase.expose().as_bytes(), &vector[..8]].concat());
    let key = md5::compute(&*seed);
    let cipher = cbc::Decryptor::<aes::Aes128>::new_from_slices(&key.0, &vector).map_err(|_| broken())?;
    let plain = Zeroizing::new(cipher.decrypt_padded::<Pkcs7>(&mut bytes).map_err(|_| Problem::WrongPassphrase)?.to_vec());
    let kind = text.lines().find_map(|line| line.strip_prefix("-----BEGIN ")?.strip_suffix("-----")).unwrap_or("RSA PRIVATE KEY");
    let encoded = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(&*plain));
    Ok(Some(Zeroizing::new(format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", encoded.as_str()))))
}
