//! Private keys that open secrets, and making one.

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret as _;
use age_core::format::{FileKey, Stanza};
use anyhow::{Context as _, Result, anyhow, bail};
use zeroize::Zeroizing;

use super::private_key::PrivateKey;
use super::{Header, Recipient, Recipients};
use crate::secret::Secret;

/// The longest key file that is read, in bytes.
const LIMIT_BYTES: u64 = 1 << 20;

/// Asks for the passphrase of a key; the text is the whole prompt. `None` when nobody can or wants to answer.
pub type Ask = Box<dyn Fn(&str) -> Option<Secret> + Send + Sync>;

/// Private keys, those of encrypted files opened only when a secret needs them.
pub struct Identities {
    all: Vec<Identity>,
    ask: Ask,
    /// What the user should know about the files, such as that others can read one.
    pub warnings: Vec<String>,
    /// Which of the usual files cannot be used, and why; worth telling when nothing else opens a secret.
    pub left_out: Vec<String>,
}

struct Identity {
    name: String,
    key: PrivateKey,
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl Identities {
    /// Reads key files. Nothing is asked yet.
    ///
    /// # Errors
    /// The first file that cannot be used, and why.
    pub fn load(paths: &[PathBuf], ask: Ask) -> Result<Self> {
        let mut read = Self { all: Vec::new(), ask, warnings: Vec::new(), left_out: Vec::new() };
        for path in paths {
            read.add(path)?;
        }
        Ok(read)
    }

    /// Reads key files that nobody named, such as those of [`usual_identities`]; what cannot be used is left out.
    pub fn of_usual(paths: &[PathBuf], ask: Ask) -> Self {
        let mut read = Self { all: Vec::new(), ask, warnings: Vec::new(), left_out: Vec::new() };
        for path in paths {
            if let Err(why) = read.add(path) {
                read.left_out.push(why.to_string());
            }
        }
        read
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let name = path.display().to_string();
        let bytes = Zeroizing::new(super::files::read(path, LIMIT_BYTES).map_err(|why| anyhow!("the identity `{name}`: {why}"))?);
        let keys = PrivateKey::all_of(&bytes).map_err(|why| anyhow!("the identity `{name}`: {why}"))?;
        let about = std::fs::metadata(path).with_context(|| format!("the identity `{name}`"))?;
        if about.is_file() && about.permissions().mode() & 0o077 != 0 && !keys.iter().any(|key| matches!(key, PrivateKey::Sealed(_))) {
            self.warnings.push(format!("others can read the private key `{name}`; `chmod 600 {name}` keeps it to you"));
        }
        self.all.extend(keys.into_iter().map(|key| Identity { name: name.clone(), key }));
        Ok(())
    }

    /// The names of the files, each once.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.all.iter().map(|one| one.name.clone()).collect();
        names.dedup();
        names
    }

    /// Their public halves, as far as no passphrase is needed to tell.
    pub fn recipients(&self) -> Vec<Recipient> {
        self.all.iter().flat_map(|one| one.key.public()).collect()
    }

    /// Whether what is encrypted for these recipients can be read again; `None` when a locked file of keys leaves it open.
    pub fn can_read(&self, recipients: &Recipients) -> Option<bool> {
        let ours = self.recipients();
        if recipients.all().iter().any(|one| ours.iter().any(|own| own.key == one.key)) {
            return Some(true);
        }
        let is_unsure = self.all.iter().any(|one| matches!(one.key, PrivateKey::Sealed(_)) && !one.key.is_open());
        if is_unsure { None } else { Some(false) }
    }
}

/// One try to open a file; it remembers what the header said, and which key that fits stayed locked.
pub(super) struct Attempt<'a> {
    pub identities: Option<&'a Identities>,
    pub header: RefCell<Header>,
    pub locked: RefCell<Option<(String, String)>>,
}

impl<'a> Attempt<'a> {
    pub fn new(identities: Option<&'a Identities>) -> Self {
        Self { identities, header: RefCell::default(), locked: RefCell::default() }
    }
}

impl age::Identity for Attempt<'_> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        self.unwrap_stanzas(std::slice::from_ref(stanza))
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, age::DecryptError>> {
        *self.header.borrow_mut() = Header::of_stanzas(stanzas);
        let identities = self.identities?;
        let mut failure = None;
        // Keys that need no question first, then SSH keys that the header names, then files where only opening tells.
        let (open, locked): (Vec<_>, Vec<_>) = identities.all.iter().partition(|one| one.key.is_open());
        let (sealed, ssh): (Vec<_>, Vec<_>) = locked.into_iter().partition(|one| matches!(one.key, PrivateKey::Sealed(_)));
        for one in open.into_iter().chain(ssh).chain(sealed) {
            if !one.key.is_open() {
                if !one.key.is_worth_opening(stanzas) {
                    continue;
                }
                if let Err(why) = one.key.open(&one.name, &*identities.ask) {
                    self.locked.borrow_mut().get_or_insert((one.name.clone(), why));
                    continue;
                }
            }
            match one.key.unwrap(stanzas) {
                Some(Ok(key)) => return Some(Ok(key)),
                Some(Err(error)) => failure = Some(Err(error)),
                None => {}
            }
        }
        failure
    }
}

/// Makes a private key in a new file that only its owner can read, and gives the public half.
///
/// # Errors
/// When there is such a file, which is never overwritten, or it cannot be written.
pub fn init(path: &Path) -> Result<Recipient> {
    let name = path.display();
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(|| format!("making the folder of {name}"))?;
    }
    let key = age::x25519::Identity::generate();
    let public = key.to_public().to_string();
    let secret = key.to_string();
    let text = Zeroizing::new(format!("# public key: {public}\n{}\n", secret.expose_secret()));
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("there is a file `{name}` already, and a key is never overwritten: what was encrypted for it would be lost")
        }
        opened => opened.with_context(|| format!("making {name}"))?,
    };
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if let Err(error) = written {
        // Half a key is no key.
        drop(std::fs::remove_file(path));
        return Err(error).with_context(|| format!("writing {name}"));
    }
    Recipient::parse(&public).map_err(|why| anyhow!("the new key: {why}"))
}

/// The private keys that are tried when none is named, of those that are there: the one that [`init`] makes in the folder
/// of the configuration, then the usual SSH keys.
pub fn usual_identities(home: &Path, configuration: &Path) -> Vec<PathBuf> {
    let all = [configuration.join("mutate/identity"), home.join(".ssh/id_ed25519"), home.join(".ssh/id_rsa")];
    all.into_iter().filter(|path| path.exists()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::vault::testing::{Team, folder, ssh_key, write};
    use crate::vault::{decrypt, encrypt};

    /// What is shared by the threads of a run.
    const fn is_shared<T: Send + Sync>() {}
    const _: () = is_shared::<Identities>();

    /// Answers in their order, and keeps the questions.
    fn answers(texts: &[&str]) -> (Ask, Arc<Mutex<Vec<String>>>) {
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        let questions = asked.clone();
        let ask = move |prompt: &str| {
            let mut questions = questions.lock().expect("no panic");
            questions.push(prompt.to_owned());
            texts.get(questions.len() - 1).map(Secret::new)
        };
        (Box::new(ask), asked)
    }

    fn wrong(text: &str) -> String {
        let folder = folder();
        let path = folder.path().join("key");
        write(&path, text);
        let error = Identities::load(std::slice::from_ref(&path), Box::new(|_| None)).expect_err("a message");
        format!("{error:#}").replace(&path.display().to_string(), "key")
    }

    #[test]
    fn a_new_key_is_private_and_never_overwrites() {
        let folder = folder();
        let path = folder.path().join("a/b/identity");
        let public = init(&path).expect("a key");
        let text = std::fs::read_to_string(&path).expect("a file");
        assert!(text.starts_with(&format!("# public key: {}\nAGE-SECRET-KEY-1", public.key)));
        let mode = |path: &Path| std::fs::metadata(path).expect("a file").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&folder.path().join("a"))), (0o600, 0o700));
        assert!(init(&path).expect_err("a message").to_string().contains("never overwritten"));
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), text);
        let ids = Identities::load(std::slice::from_ref(&path), Box::new(|_| None)).expect("a key");
        assert!(ids.warnings.is_empty() && !format!("{ids:?}").contains("SECRET"));
        assert_eq!(ids.can_read(&Recipients::new([public]).expect("one")), Some(true));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("a mode");
        let ids = Identities::load(&[path], Box::new(|_| None)).expect("a key");
        assert!(ids.warnings[0].contains("chmod 600"), "{:?}", ids.warnings);
    }

    #[test]
    fn what_is_no_private_key_is_told_without_its_content() {
        assert_eq!(wrong("# nothing\n"), "the identity `key`: it holds no key");
        assert_eq!(wrong("\nhunter2\n"), "the identity `key`: line 2: this is no private key; one looks like `AGE-SECRET-KEY-1…`, or is an SSH key");
        assert!(wrong("AGE-SECRET-KEY-1HUNTER2").ends_with("line 1: this key is damaged"));
        assert!(wrong("AGE-PLUGIN-YUBIKEY-1Q").contains("plugin"));
        assert!(wrong("AGE-SECRET-KEY-PQ-1Q").contains("not known here"));
        assert!(wrong("ssh-ed25519 AAAA me").contains("public key"));
        assert!(wrong("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n").contains("ssh-keygen -p -f"));
        assert!(wrong("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n").contains("damaged"));
        let error = Identities::load(&["/no/such/key".into()], Box::new(|_| None)).expect_err("a message");
        assert_eq!(error.to_string(), "the identity `/no/such/key`: there is no such file");
        assert!(Identities::load(&["/".into()], Box::new(|_| None)).expect_err("a message").to_string().contains("folder"));
    }

    #[test]
    fn ssh_keys_open_what_is_for_them() {
        let team = Team::new();
        for (name, options) in [("ed", &["-t", "ed25519"][..]), ("rsa", &["-t", "rsa", "-b", "2048"])] {
            let path = team.at(name);
            let Some(public) = ssh_key(&path, options, "") else { return };
            let text = encrypt(b"text", &Recipients::new([public.clone(), team.bob.public.clone()]).expect("two"));
            let (ask, asked) = answers(&[]);
            let ids = Identities::load(&[team.alice.path.clone(), path.clone()], ask).expect("keys");
            assert_eq!(decrypt(text.as_bytes(), &ids).expect("a text").as_slice(), b"text");
            assert!(asked.lock().expect("no panic").is_empty());
            // As a key file in one piece, never a panic when damaged.
            let whole = std::fs::read(&path).expect("a key");
            for at in 0..whole.len() {
                let mut bytes = whole.clone();
                bytes[at] ^= 1;
                drop(PrivateKey::all_of(&bytes));
                assert!(PrivateKey::all_of(&whole[..at]).is_err() || whole[at..].trim_ascii().is_empty());
            }
        }
    }

    #[test]
    fn an_encrypted_ssh_key_is_opened_once_and_only_when_it_fits() {
        let team = Team::new();
        let path = team.at("ed");
        let Some(public) = ssh_key(&path, &["-t", "ed25519", "-a", "1"], "right") else { return };
        let ours = encrypt(b"text", &Recipients::new([public]).expect("one"));
        let theirs = encrypt(b"text", &Recipients::new([team.bob.public.clone()]).expect("one"));
        let (ask, asked) = answers(&["wrong", "", "right"]);
        let ids = Identities::load(std::slice::from_ref(&path), ask).expect("a key");
        assert!(decrypt(theirs.as_bytes(), &ids).expect_err("for others").to_string().contains("1 age key"));
        assert!(asked.lock().expect("no panic").is_empty(), "it does not fit");
        for _ in 0..2 {
            assert_eq!(decrypt(ours.as_bytes(), &ids).expect("a text").as_slice(), b"text");
        }
        let prompt = format!("passphrase for the key {}: ", path.display());
        let again = format!("that was wrong; {prompt}");
        assert_eq!(*asked.lock().expect("no panic"), [prompt, again.clone(), again]);

        for (texts, why) in [(&["a", "b", "c", "right"][..], "whose passphrase was wrong 3 times"), (&["a"], "whose passphrase was not given")] {
            let (ask, asked) = answers(texts);
            let ids = Identities::load(std::slice::from_ref(&path), ask).expect("a key");
            for _ in 0..2 {
                let error = decrypt(ours.as_bytes(), &ids).expect_err("locked").to_string();
                assert_eq!(error, format!("it may be opened by the key `{}`, {why}", path.display()));
            }
            assert!(asked.lock().expect("no panic").len() <= 3, "asked once for both");
        }
    }

    #[test]
    fn ssh_keys_of_other_kinds_are_refused() {
        let folder = folder();
        for passphrase in ["", "secret"] {
            let path = folder.path().join(format!("ecdsa{passphrase}"));
            if ssh_key(&path, &["-t", "ecdsa"], passphrase).is_none() {
                return;
            }
            let error = Identities::load(&[path], Box::new(|_| None)).expect_err("a message").to_string();
            assert!(error.contains("age has no way to encrypt for `ecdsa-sha2-nistp256`"), "{error}");
        }
        let path = folder.path().join("pem");
        ssh_key(&path, &["-t", "rsa", "-m", "PEM"], "").expect("a key");
        let usual = Identities::of_usual(&usual_identities(Path::new("/no/home"), folder.path()), Box::new(|_| None));
        assert!(usual.names().is_empty() && usual.left_out.is_empty());
        let usual = Identities::of_usual(std::slice::from_ref(&path), Box::new(|_| None));
        assert!(usual.left_out[0].contains("older format"));
        assert!(Identities::load(&[path], Box::new(|_| None)).expect_err("a message").to_string().contains("older format"));
    }

    #[test]
    fn keys_in_an_encrypted_file_are_tried_last() {
        use std::io::Write as _;
        let team = Team::new();
        let path = team.at("sealed");
        let mut recipient = age::scrypt::Recipient::new("right".to_owned().into());
        recipient.set_work_factor(4);
        let mut writer = age::Encryptor::with_recipients(std::iter::once(&recipient as _)).expect("one").wrap_output(std::fs::File::create(&path).expect("a file")).expect("a writer");
        writer.write_all(&std::fs::read(&team.alice.path).expect("a key")).expect("written");
        writer.finish().expect("written");
        let text = encrypt(b"text", &Recipients::new([team.alice.public.clone()]).expect("one"));
        let (ask, asked) = answers(&["wrong", "right"]);
        let ids = Identities::load(&[path.clone(), team.bob.path.clone()], ask).expect("keys");
        assert_eq!(ids.can_read(&Recipients::new([team.alice.public.clone()]).expect("one")), None);
        let bobs = encrypt(b"text", &Recipients::new([team.bob.public.clone()]).expect("one"));
        assert!(decrypt(bobs.as_bytes(), &ids).is_ok() && asked.lock().expect("no panic").is_empty());
        assert_eq!(decrypt(text.as_bytes(), &ids).expect("a text").as_slice(), b"text");
        assert_eq!(asked.lock().expect("no panic").len(), 2);
        assert_eq!(ids.can_read(&Recipients::new([team.alice.public.clone()]).expect("one")), Some(true));
        std::fs::write(&path, &text).expect("a file");
        assert!(Identities::load(&[path], Box::new(|_| None)).expect_err("a message").to_string().contains("itself encrypted for 1 age key"));
    }
}
