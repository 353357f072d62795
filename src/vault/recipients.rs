//! Public keys that secrets are encrypted for, and the file in which a repository names them.

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};

/// The name of the file that names recipients, one a line, for the secrets beside and below it.
pub const RECIPIENTS_FILE: &str = ".mutate-recipients";

/// The longest list of recipients that is read, in bytes.
const LIMIT_BYTES: u64 = 1 << 20;

/// One public key, and what its owner calls it.
#[derive(Clone)]
pub struct Recipient {
    /// The key as it is written, without a comment: `age1…`, or `ssh-ed25519 AAAA…`.
    pub key: String,
    /// What follows the key in its line, such as `alice@laptop`; may be empty.
    pub comment: String,
    sealer: Sealer,
}

#[derive(Clone)]
enum Sealer {
    Age(age::x25519::Recipient),
    Ssh(age::ssh::Recipient),
}

/// Public keys without repetition; never none.
#[derive(Clone, Debug)]
pub struct Recipients {
    all: Vec<Recipient>,
}

impl std::fmt::Debug for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.key)
    }
}

impl Recipient {
    /// Reads one line: a key, then perhaps a comment.
    ///
    /// # Errors
    /// What is wrong with it, and what to do.
    pub fn parse(line: &str) -> Result<Self, String> {
        let line = line.trim();
        let (first, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        if first.starts_with("age1") {
            return of_age(first, rest.trim().trim_start_matches('#').trim());
        }
        if matches!(first, "ssh-ed25519" | "ssh-rsa") {
            let (blob, comment) = rest.trim().split_once(char::is_whitespace).unwrap_or((rest.trim(), ""));
            return of_ssh(first, blob, comment.trim());
        }
        Err(refusal(first, line))
    }

    /// What a person knows it by: the comment, or the beginning of the key.
    pub fn name(&self) -> String {
        if self.comment.is_empty() { self.key.chars().take(24).chain(['…']).collect() } else { self.comment.clone() }
    }

    /// The short hash by which a header names it.
    pub(super) fn tag(&self) -> String {
        STANDARD_NO_PAD.encode(&Sha256::digest(self.key.as_bytes())[..6])
    }

    /// The short hash by which age names an SSH key in a header.
    pub(super) fn ssh_tag(&self) -> Option<String> {
        let blob = STANDARD.decode(self.key.split_once(' ')?.1).ok()?;
        Some(STANDARD_NO_PAD.encode(&Sha256::digest(blob)[..4]))
    }

    /// How age names its kind in a header.
    pub(super) fn kind(&self) -> &'static str {
        match &self.sealer {
            Sealer::Age(_) => "X25519",
            Sealer::Ssh(age::ssh::Recipient::SshRsa(..)) => "ssh-rsa",
            Sealer::Ssh(age::ssh::Recipient::SshEd25519(..)) => "ssh-ed25519",
        }
    }

    pub(super) fn sealer(&self) -> &dyn age::Recipient {
        match &self.sealer {
            Sealer::Age(key) => key,
            Sealer::Ssh(key) => key,
        }
    }
}

impl Recipients {
    /// The keys given.
    ///
    /// # Errors
    /// When there are none.
    pub fn new(keys: impl IntoIterator<Item = Recipient>) -> Result<Self> {
        let mut all: Vec<Recipient> = keys.into_iter().collect();
        // One person may stand in two files.
        all.sort_by(|one, other| one.key.cmp(&other.key));
        all.dedup_by(|one, other| one.key == other.key);
        if all.is_empty() {
            bail!("no recipient is named; a secret must be encrypted for someone");
        }
        Ok(Self { all })
    }

    /// The keys of a text, one a line; `name` is what messages call it.
    ///
    /// # Errors
    /// Every line that is no key, with its number; or that there is no key at all.
    pub fn of_lines(text: &str, name: &str) -> Result<Self> {
        Self::new(lines(text, name)?).with_context(|| format!("reading {name}"))
    }

    /// The keys of a file, one a line.
    ///
    /// # Errors
    /// As [`Self::of_lines`], or why the file cannot be read.
    pub fn of_file(path: &Path) -> Result<Self> {
        Self::new(lines_of_file(path)?).with_context(|| format!("reading {}", path.display()))
    }

    /// Whom a secret is for: the words and files given, or else the nearest [`RECIPIENTS_FILE`]. A word is a key, or the
    /// path of a file with keys, such as `~/.ssh/id_ed25519.pub`.
    ///
    /// # Errors
    /// As [`Self::of_file`], or that nobody is named.
    pub fn choose(secret: &Path, words: &[String], files: &[PathBuf]) -> Result<Self> {
        if words.is_empty() && files.is_empty() {
            let found = nearest_file(secret)?.with_context(|| {
                format!("nobody is named whom `{}` is to be encrypted for; write public keys, one a line, into `{RECIPIENTS_FILE}` beside it or in a folder above it in its repository, or give `--recipient`", secret.display())
            })?;
            return Self::of_file(&found);
        }
        let mut all = Vec::new();
        for word in words {
            if looks_like_key(word) {
                all.push(Recipient::parse(word).map_err(|why| anyhow!("the recipient `{}`: {why}", shown(word)))?);
            } else if Path::new(word).exists() {
                all.extend(lines_of_file(Path::new(word))?);
            } else {
                bail!("the recipient `{}` is no public key, and there is no such file", shown(word));
            }
        }
        for path in files {
            all.extend(lines_of_file(path)?);
        }
        Self::new(all)
    }

    /// All of them, in the order of their keys.
    pub fn all(&self) -> &[Recipient] {
        &self.all
    }

    /// The short hashes of all, sorted.
    pub(super) fn tags(&self) -> Vec<String> {
        let mut tags: Vec<String> = self.all.iter().map(Recipient::tag).collect();
        tags.sort();
        tags
    }
}

/// The [`RECIPIENTS_FILE`] beside a file, or else in the nearest folder above it up to the root of its repository.
/// Outside of a repository only the one beside the file counts: who may write to `/tmp` must not choose who reads.
fn nearest_file(of: &Path) -> Result<Option<PathBuf>> {
    let full = std::path::absolute(of).with_context(|| format!("looking for `{RECIPIENTS_FILE}`"))?;
    let beside = full.parent().unwrap_or(&full);
    // `..` and links must not lead the search through folders that are not above.
    let beside = beside.canonicalize().unwrap_or_else(|_| beside.to_owned());
    let folders: Vec<&Path> = beside.ancestors().collect();
    let root = folders.iter().position(|folder| [".git", ".hg", ".jj"].iter().any(|name| folder.join(name).exists()));
    let found = folders[..=root.unwrap_or(0)].iter().map(|folder| folder.join(RECIPIENTS_FILE)).find(|path| path.exists());
    if let Some(path) = &found {
        let owner = std::fs::metadata(path).with_context(|| format!("reading {}", path.display()))?.uid();
        let trusted = [0, nix::unistd::Uid::effective().as_raw()];
        let beside = std::fs::metadata(&beside).ok().map(|about| about.uid());
        if !trusted.contains(&owner) && beside != Some(owner) {
            bail!("`{}` belongs to another user, who could name himself in it; name it with `--recipients-file` if that is meant", path.display());
        }
    }
    Ok(found)
}

fn lines_of_file(path: &Path) -> Result<Vec<Recipient>> {
    let bytes = super::files::read(path, LIMIT_BYTES).map_err(|why| anyhow!("the recipients in `{}`: {why}", path.display()))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| anyhow!("the recipients in `{}`: it is no text in UTF-8", path.display()))?;
    if text.contains("PRIVATE KEY-----") {
        bail!("`{0}` is a private key; name its public half, `{0}.pub`", path.display());
    }
    lines(text, &path.display().to_string())
}

fn lines(text: &str, name: &str) -> Result<Vec<Recipient>> {
    let mut keys = Vec::new();
    let mut wrong = String::new();
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match Recipient::parse(line) {
            Ok(key) => keys.push(key),
            Err(why) => write!(wrong, "{}{name}:{}: {why}", if wrong.is_empty() { "" } else { "\n" }, number + 1)?,
        }
    }
    if wrong.is_empty() { Ok(keys) } else { bail!(wrong) }
}

fn looks_like_key(word: &str) -> bool {
    let word = word.trim();
    let starts = ["age1", "ssh-", "ecdsa-", "sk-", "AGE-", "http://", "https://", "github:", "gitlab:"];
    starts.iter().any(|start| word.starts_with(start)) && !Path::new(word).exists()
}

/// A word as it may be repeated: never a private key.
fn shown(word: &str) -> String {
    if word.to_ascii_uppercase().contains("SECRET-KEY") { crate::secret::MASK.to_owned() } else { word.chars().take(60).collect() }
}

fn of_age(key: &str, comment: &str) -> Result<Recipient, String> {
    let sealer = key.parse().map_err(|_| {
        // A plugin's key has its name before the last `1`.
        let name = key.rsplit_once('1').map_or("", |(before, _)| before).strip_prefix("age1").unwrap_or_default();
        if name.is_empty() {
            "it is damaged; copy the whole key, 62 characters".to_owned()
        } else {
            format!("keys of the kind `age1{name}` need a plugin, and none is run here; name an `age1…` key of `mutate secret init` or an SSH key")
        }
    })?;
    Ok(Recipient { key: key.to_owned(), comment: comment.to_owned(), sealer: Sealer::Age(sealer) })
}

fn of_ssh(kind: &str, blob: &str, comment: &str) -> Result<Recipient, String> {
    use age::ssh::ParseRecipientKeyError as Wrong;
    let damaged = || "it is damaged; copy the whole line of the `.pub` file".to_owned();
    let key = format!("{kind} {blob}");
    // The parser of age panics at numbers that are zero.
    ssh_key::PublicKey::from_openssh(&key).map_err(|_| damaged())?;
    let sealer = key.parse().map_err(|wrong| match wrong {
        Wrong::RsaModulusTooSmall => "an RSA key of fewer than 2048 bits is too weak; name another key".to_owned(),
        Wrong::RsaModulusTooLarge => "this RSA key is too long; name another key".to_owned(),
        _ => damaged(),
    })?;
    Ok(Recipient { key, comment: comment.to_owned(), sealer: Sealer::Ssh(sealer) })
}

fn refusal(first: &str, line: &str) -> String {
    let is_url = ["http://", "https://", "github:", "gitlab:"].iter().any(|start| first.starts_with(start));
    if is_url {
        "keys are not fetched from the network, where they could change unseen; save them (`curl -fsS https://github.com/NAME.keys`), look at them, and name them here".into()
    } else if first.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
        "this is a private key, and must not be here; write its public half, which `age-keygen -y` prints, and make a new key if others saw this one".into()
    } else if first.starts_with("ecdsa-") || first == "ssh-dss" || first.contains("-cert-") {
        format!("age has no way to encrypt for `{first}`; name an ed25519 or RSA key, or an `age1…` key of `mutate secret init`")
    } else if first.starts_with("sk-") {
        format!("`{first}` is a key in hardware, which signs but cannot decrypt; name another key, such as an `age1…` key of `mutate secret init`")
    } else if line.contains(" ssh-ed25519 ") || line.contains(" ssh-rsa ") {
        "leave out the options before `ssh-…`".into()
    } else if line.contains("PRIVATE KEY-----") {
        "this is a private key; name its public half, the `.pub` file".into()
    } else {
        "it is no public key; one looks like `age1…`, `ssh-ed25519 AAAA…` or `ssh-rsa AAAA…`".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::testing::{ALICE, folder, write};

    const BOB: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN";

    fn wrong(line: &str) -> String {
        let error = Recipients::of_lines(&format!("# us\n\n{line}\n"), "us").expect_err("a message");
        format!("{error:#}")
    }

    #[test]
    fn keys_comments_and_blank_lines_are_read() {
        let text = format!("\u{feff}# people\r\n\r\n{ALICE} alice\r\n  {BOB} bob@host, the old one\n{ALICE}\n");
        let all = Recipients::of_lines(&text, "us").expect("recipients");
        let names: Vec<String> = all.all().iter().map(Recipient::name).collect();
        assert_eq!(names, ["alice", "bob@host, the old one"]);
        assert_eq!(all.all()[1].key, BOB);
    }

    #[test]
    fn what_is_no_key_is_told_with_its_line() {
        assert_eq!(wrong("hello"), "us:3: it is no public key; one looks like `age1…`, `ssh-ed25519 AAAA…` or `ssh-rsa AAAA…`");
        assert!(wrong("https://github.com/alice.keys").contains("not fetched from the network"));
        assert!(wrong("github:alice").contains("not fetched from the network"));
        assert!(wrong("ecdsa-sha2-nistp256 AAAA alice").contains("no way to encrypt for `ecdsa-sha2-nistp256`"));
        assert!(wrong("sk-ssh-ed25519@openssh.com AAAA alice").contains("in hardware"));
        assert!(wrong(&ALICE[..40]).contains("copy the whole key"));
        assert!(wrong("age1yubikey1qwerty").contains("kind `age1yubikey` need a plugin"));
        assert!(wrong("ssh-ed25519 AAAAC3Nz").contains("copy the whole line"));
        assert!(wrong(&format!("restrict {BOB}")).contains("options"));
        assert!(wrong("").contains("no recipient is named"));
    }

    #[test]
    fn all_wrong_lines_are_told_and_private_keys_are_not_repeated() {
        let error = wrong("AGE-SECRET-KEY-1QQQQ\nhello");
        assert_eq!(error.lines().count(), 2);
        assert!(error.contains("us:3: this is a private key") && error.contains("us:4:") && !error.contains("QQQQ"));
        let error = Recipients::choose(Path::new("x"), &["AGE-SECRET-KEY-1QQQQ".into()], &[]).expect_err("a message");
        assert!(!format!("{error:#}").contains("QQQQ"));
    }

    #[test]
    fn numbers_that_are_zero_are_no_panic() {
        let mut blob = Vec::new();
        for part in [&b"ssh-rsa"[..], &[0], &[0, 0]] {
            blob.extend(u32::try_from(part.len()).expect("short").to_be_bytes());
            blob.extend(part);
        }
        assert!(wrong(&format!("ssh-rsa {}", STANDARD.encode(&blob))).contains("copy the whole line"));
    }

    #[test]
    fn the_nearest_file_up_to_the_root_of_the_repository_counts() {
        let folder = folder();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("repo/a/b")).expect("folders");
        write(&at(RECIPIENTS_FILE), ALICE);
        let secret = at("repo/a/b/secret.age");
        assert!(nearest_file(&secret).expect("no problem").is_none(), "without a repository only beside");
        std::fs::create_dir(at("repo/.git")).expect("a folder");
        assert!(nearest_file(&secret).expect("no problem").is_none(), "not above the root");
        write(&at("repo/.mutate-recipients"), ALICE);
        assert_eq!(nearest_file(&secret).expect("no problem"), Some(at("repo/.mutate-recipients")));
        write(&at("repo/a/.mutate-recipients"), BOB);
        assert_eq!(nearest_file(&secret).expect("no problem"), Some(at("repo/a/.mutate-recipients")));
        let words = Recipients::choose(&secret, &[ALICE.into()], &[]).expect("recipients");
        assert_eq!(words.all()[0].key, ALICE, "what is named wins");
        let none = Recipients::choose(&at("none"), &[], &[at("missing")]).expect_err("a message");
        assert!(none.to_string().contains("missing") && none.to_string().contains("there is no such file"));
        assert!(Recipients::choose(&at("repo/x"), &[], &[]).is_ok());
        std::fs::remove_file(at(RECIPIENTS_FILE)).expect("removed");
        let none = Recipients::choose(&at("x"), &[], &[]).expect_err("a message").to_string();
        assert!(none.contains("nobody is named") && none.contains("--recipient"), "{none}");
    }

    #[test]
    fn a_file_of_another_user_is_not_trusted() {
        let folder = folder();
        let path = folder.path().join(RECIPIENTS_FILE);
        write(&path, ALICE);
        if !nix::unistd::Uid::effective().is_root() {
            return;
        }
        std::os::unix::fs::chown(&path, Some(12345), None).expect("an owner");
        let error = Recipients::choose(&folder.path().join("x"), &[], &[]).expect_err("a message").to_string();
        assert!(error.contains("belongs to another user"), "{error}");
        std::os::unix::fs::chown(folder.path(), Some(12345), None).expect("an owner");
        assert!(Recipients::choose(&folder.path().join("x"), &[], &[]).is_ok(), "the whole folder is theirs");
    }

    #[test]
    fn a_word_may_be_the_path_of_a_public_key() {
        let folder = folder();
        let path = folder.path().join("id.pub");
        write(&path, &format!("{BOB} bob\n"));
        let word = path.display().to_string();
        assert_eq!(Recipients::choose(Path::new("x"), &[word], &[]).expect("recipients").all()[0].comment, "bob");
        write(&path, "-----BEGIN OPENSSH PRIVATE KEY-----\n");
        let none = Recipients::choose(Path::new("x"), &["alice".into()], &[]).expect_err("a message").to_string();
        assert_eq!(none, "the recipient `alice` is no public key, and there is no such file");
        let word = path.display().to_string();
        assert!(Recipients::choose(Path::new("x"), &[word], &[]).expect_err("a message").to_string().contains("public half"));
    }
}
