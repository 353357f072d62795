//! Proving who we are: the agent, keys with and without certificates, password, keyboard-interactive; in that order.
//!
//! A server counts every attempt and locks out who makes too many, so there are three keys at most, a password is given
//! once, and nothing that was refused is tried again.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use russh::client::{Ahead, AuthResult, Handle, KeyboardInteractiveAuthResponse, Offered, Opening, Prompt, SignedRequest};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::{AgentClient, AgentStream};
use russh::keys::ssh_encoding::Encode as _;
use russh::keys::{Algorithm, Certificate, HashAlg, PrivateKey, PublicKey};
use russh::{AgentAuthError, MethodKind, MethodSet, Signer};

use super::guard::Guard;
use super::keys::{self, Keyring, Problem};
use super::{HostFailure, Stage, Target, Trail};
use crate::secret::Secret;

/// sshd counts every key offered; more than this and it hangs up, or starts to throttle us.
const MOST_KEYS: usize = 3;
/// Questions that one keyboard-interactive login may ask.
const MOST_ROUNDS: usize = 4;

/// With what to log in.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Key files that were named. When empty, the agent's keys and the usual files are tried.
    pub keys: Vec<PathBuf>,
    /// They were named for this host, so that one that cannot be read is an error.
    pub must_be_there: bool,
    /// Only the named keys, also of those in the agent.
    pub only: bool,
    pub certificates: Vec<PathBuf>,
    pub agent: Agent,
    /// For the account; PAM may ask for it by other words.
    pub password: Option<Secret>,
    pub no_public_key: bool,
    pub no_password: bool,
    pub no_keyboard: bool,
}

/// Where the agent is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Agent {
    /// Where `SSH_AUTH_SOCK` says.
    #[default]
    Usual,
    None,
    At(PathBuf),
}

type AgentOfAnyKind = AgentClient<Box<dyn AgentStream + Send + Unpin>>;

/// Keys are signed with at once, without asking first whether the server would take them, and a first command goes along.
pub struct Haste<'a> {
    pub ahead: Option<Ahead>,
    pub first: &'a Mutex<First>,
}

/// How far the first command on a connection is known to have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// It has not been sent, or surely not begun.
    Here,
    /// It went along with a login that was not answered yet.
    Sent,
    /// The login was good, and nothing has been heard of the command.
    LoggedIn,
    /// Its session was opened.
    Begun,
}

/// Logs in. With `haste`, the session of the command that went along comes back; a server that refuses the login must ignore it.
///
/// # Errors
/// [`HostFailure::Login`] when the server refused everything, [`HostFailure::Key`] when a named key cannot be used.
pub async fn log_in(handle: &mut Handle<Guard>, target: &Target, keyring: &Keyring, trail: &Trail, haste: Option<Haste<'_>>) -> Result<Option<Opening>, HostFailure> {
    let mut attempt = Attempt { handle, target, keyring, haste, opening: None, tried: Vec::new(), offered: 0, locked: Vec::new(), notes: Vec::new(), left: None };
    let identity = &target.identity;
    let by = 'by: {
        if !identity.no_public_key
            && let Some(by) = attempt.with_keys().await?
        {
            break 'by Some(by);
        }
        match &identity.password {
            Some(password) => attempt.with_password(password).await?,
            None => None,
        }
    };
    let Some(by) = by else {
        if attempt.left.is_none() && attempt.locked.is_empty() {
            // Nothing was tried, so the server is asked what it would take; some let everybody in.
            let answer = attempt.handle.authenticate_none(&target.user).await.map_err(|error| attempt.lost(&error))?;
            if attempt.is_in(answer)? {
                trail.pass(Stage::Login, format!("as {}, without any proof", target.user));
                return Ok(None);
            }
        }
        return Err(attempt.refused());
    };
    trail.pass(Stage::Login, format!("as {}, {by}", target.user));
    Ok(attempt.opening)
}

struct Attempt<'a> {
    handle: &'a mut Handle<Guard>,
    target: &'a Target,
    keyring: &'a Keyring,
    haste: Option<Haste<'a>>,
    opening: Option<Opening>,
    tried: Vec<String>,
    /// Keys that the server has seen.
    offered: usize,
    /// Files whose passphrase nobody knows.
    locked: Vec<PathBuf>,
    /// What else went wrong with keys.
    notes: Vec<String>,
    /// What the server still takes, where it has said so.
    left: Option<MethodSet>,
}

impl Attempt<'_> {
    fn lost(&self, error: &impl ToString) -> HostFailure {
        HostFailure::Handshake { address: self.target.address.clone(), reason: error.to_string() }
    }

    /// Whether the server may still take this kind of proof.
    fn may(&self, kind: MethodKind) -> bool {
        self.left.as_ref().is_none_or(|left| left.contains(&kind))
    }

    fn may_offer(&self) -> bool {
        self.offered < MOST_KEYS && self.may(MethodKind::PublicKey)
    }

    /// Notes an answer; `true` when we are in.
    fn is_in(&mut self, answer: AuthResult) -> Result<bool, HostFailure> {
        match answer {
            AuthResult::Success => Ok(true),
            AuthResult::Failure { remaining_methods, partial_success } => {
                if remaining_methods.is_empty() {
                    // russh tells a closed connection so, too.
                    if self.handle.is_closed() {
                        return Err(self.hung_up());
                    }
                    self.left = Some(remaining_methods);
                    return Ok(false);
                }
                if partial_success && let Some(last) = self.tried.last_mut() {
                    last.push_str(" (accepted, but the server wants more)");
                }
                self.left = Some(remaining_methods);
                Ok(false)
            }
        }
    }

    async fn with_keys(&mut self) -> Result<Option<String>, HostFailure> {
        let identity = &self.target.identity;
        let mut agent = open_agent(&identity.agent).await;
        let held = match &mut agent {
            Some(agent) => agent.request_identities().await.unwrap_or_default(),
            None => Vec::new(),
        };
        let mut used = vec![false; held.len()];
        let usual = identity.keys.is_empty();
        let extra: Vec<Certificate> = identity.certificates.iter().filter_map(|path| self.keyring.certificate(path)).collect();
        if usual {
            // As ssh does: what is open already comes first.
            for (at, one) in held.iter().enumerate() {
                if identity.only || !self.may_offer() {
                    break;
                }
                used[at] = true;
                let Some(agent) = &mut agent else { break };
                if let Some(by) = self.offer_held(one, held.len() == 1, agent).await? {
                    return Ok(Some(by));
                }
            }
        }
        let files = if usual { usual_keys() } else { identity.keys.clone() };
        for path in files {
            if !self.may_offer() {
                break;
            }
            let beside = self.keyring.beside(&path);
            let (public, certificate) = (&beside.public, beside.certificate.clone());
            // The agent may hold the very key, open.
            let place = public.as_ref().and_then(|public| held.iter().position(|one| is_of(one, public)));
            if let (Some(at), Some(agent)) = (place, &mut agent) {
                let fitting = extra.iter().find(|one| Some(one.public_key()) == public.as_ref().map(PublicKey::key_data)).cloned();
                if let (Some(certificate), AgentIdentity::PublicKey { comment, .. }) = (certificate.or(fitting), &held[at]) {
                    let held = AgentIdentity::Certificate { certificate, comment: format!("{comment} with its certificate") };
                    if let Some(by) = self.offer_held(&held, true, agent).await? {
                        return Ok(Some(by));
                    }
                }
                if self.may_offer()
                    && !std::mem::replace(&mut used[at], true)
                    && let Some(by) = self.offer_held(&held[at], true, agent).await?
                {
                    return Ok(Some(by));
                }
                continue;
            }
            let key = match self.keyring.key(&path).await {
                Ok(key) => key,
                Err(problem) => {
                    self.unusable(&path, problem)?;
                    continue;
                }
            };
            let fitting = extra.iter().find(|one| one.public_key() == key.public_key().key_data()).cloned();
            if let Some(certificate) = certificate.or(fitting)
                && let Some(by) = self.offer_certificate(&path, &key, certificate).await?
            {
                return Ok(Some(by));
            }
            if self.may_offer()
                && let Some(by) = self.offer_file(&path, key).await?
            {
                return Ok(Some(by));
            }
        }
        if !usual && !identity.only {
            for (at, one) in held.iter().enumerate() {
                let Some(agent) = &mut agent else { break };
                if used[at] || !self.may_offer() {
                    continue;
                }
                if let Some(by) = self.offer_held(one, false, agent).await? {
                    return Ok(Some(by));
                }
            }
        }
        Ok(None)
    }

    fn unusable(&mut self, path: &Path, problem: Problem) -> Result<(), HostFailure> {
        let shown = path.display();
        match problem {
            Problem::Encrypted => self.locked.push(path.to_owned()),
            Problem::WrongPassphrase if !self.target.identity.must_be_there => self.notes.push(format!("the passphrase for the key {shown} is wrong")),
            Problem::WrongPassphrase => return Err(HostFailure::Key(format!("the passphrase for the key {shown} is wrong"))),
            Problem::Missing if !self.target.identity.must_be_there => {}
            Problem::Missing => return Err(HostFailure::Key(format!("the key {shown} cannot be used: there is no such file"))),
            Problem::Other(reason) if self.target.identity.must_be_there => {
                return Err(HostFailure::Key(format!("the key {shown} cannot be used: {reason}")));
            }
            Problem::Other(reason) => self.notes.push(format!("the key {shown} cannot be used: {reason}")),
        }
        Ok(())
    }

    async fn rsa_hash(&self, algorithm: &Algorithm) -> Result<Option<HashAlg>, HostFailure> {
        if !algorithm.clone().is_rsa() {
            return Ok(None);
        }
        let best = self.handle.best_supported_rsa_hash().await.map_err(|error| self.lost(&error))?;
        Ok(match best {
            Some(Some(best)) => Some(best),
            // A server that names no SHA-2, or nothing at all, is old; SHA-1 is for those that are known to be.
            _ if self.target.legacy => None,
            _ => Some(HashAlg::Sha256),
        })
    }

    /// Whether the user's configuration allows signatures of this kind.
    fn allows(&self, algorithm: &Algorithm) -> bool {
        let name = algorithm.to_string();
        self.target.algorithms.signatures.as_ref().filter(|allowed| !allowed.iter().any(|one| one.starts_with(['+', '^', '-']))).is_none_or(|allowed| allowed.iter().any(|one| *one == name || algorithm.clone().is_rsa() && one.starts_with("rsa-sha2")))
    }

    async fn offer_file(&mut self, path: &Path, key: Arc<PrivateKey>) -> Result<Option<String>, HostFailure> {
        if !self.allows(&key.algorithm()) {
            return Ok(None);
        }
        let identity = AgentIdentity::from(key.public_key().clone());
        let offered = self.offer(format!("key {}", path.display()), &identity, false, &mut Own { key }).await?;
        offered.map_err(|error| self.lost(&error))
    }

    async fn offer_certificate(&mut self, path: &Path, key: &Arc<PrivateKey>, certificate: Certificate) -> Result<Option<String>, HostFailure> {
        let identity = AgentIdentity::Certificate { certificate, comment: String::new() };
        let offered = self.offer(format!("certificate of {}", path.display()), &identity, false, &mut Own { key: key.clone() }).await?;
        offered.map_err(|error| self.lost(&error))
    }

    /// An agent may ask somebody before it signs, so of several keys the server is asked first which one it would take.
    async fn offer_held(&mut self, one: &AgentIdentity, is_only_one: bool, agent: &mut AgentOfAnyKind) -> Result<Option<String>, HostFailure> {
        let (AgentIdentity::PublicKey { comment, .. } | AgentIdentity::Certificate { comment, .. }) = one;
        let algorithm = algorithm_of(one);
        if !self.allows(&algorithm) {
            return Ok(None);
        }
        let asks_first = !is_only_one || matches!(algorithm, Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256);
        Ok(self.offer(format!("agent key {comment}"), one, asks_first, agent).await?.unwrap_or_else(|error| {
            self.notes.push(format!("the agent would not sign with {comment}: {error}"));
            None
        }))
    }

    /// Offers a key or certificate; `by` comes back when we are in.
    ///
    /// # Errors
    /// Outside, what went wrong with the connection; inside, with the signature.
    async fn offer<S: Signer>(&mut self, by: String, identity: &AgentIdentity, asks_first: bool, signer: &mut S) -> Result<Result<Option<String>, S::Error>, HostFailure> {
        let hash = self.rsa_hash(&algorithm_of(identity)).await?;
        self.offered += 1;
        self.tried.push(by.clone());
        let user = &self.target.user;
        if asks_first && self.haste.is_some() {
            match self.handle.offer_key(user, identity, hash).await.map_err(|error| self.lost(&error))? {
                Some(Offered::Welcome) => {}
                Some(Offered::Answered(answer)) => return Ok(Ok(self.is_in(answer)?.then_some(by))),
                None => return Err(self.hung_up()),
            }
        }
        let answer = match (&self.haste, identity) {
            (Some(_), _) => match self.handle.sign_request(user, identity, hash, signer).await {
                Ok(request) => Ok(self.send_signed(request).await?),
                Err(error) => Err(error),
            },
            (None, AgentIdentity::PublicKey { key, .. }) => self.handle.authenticate_publickey_with(user, key.clone(), hash, signer).await,
            (None, AgentIdentity::Certificate { certificate, .. }) => self.handle.authenticate_certificate_with(user, certificate.clone(), hash, signer).await,
        };
        match answer {
            Ok(answer) => Ok(Ok(self.is_in(answer)?.then_some(by))),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn send_signed(&mut self, request: Option<SignedRequest>) -> Result<AuthResult, HostFailure> {
        let (Some(haste), Some(request)) = (&self.haste, request) else { return Err(self.hung_up()) };
        if self.handle.is_closed() {
            return Err(self.hung_up());
        }
        let has_come = |first: First| {
            if haste.ahead.is_some() {
                *haste.first.lock().expect("nothing panics while it holds this lock") = first;
            }
        };
        has_come(First::Sent);
        let Some((answer, opening)) = self.handle.authenticate_signed(request, haste.ahead.clone()).await else { return Err(self.hung_up()) };
        has_come(if matches!(answer, AuthResult::Success) { First::LoggedIn } else { First::Here });
        self.opening = opening;
        Ok(answer)
    }

    fn hung_up(&self) -> HostFailure {
        let (address, user) = (self.target.address.clone(), self.target.user.clone());
        HostFailure::Login { address, user, tried: self.shown_tried(), advice: "the server ended the connection".into() }
    }

    /// The password, once: where the server takes it as such, else where it asks for it.
    async fn with_password(&mut self, password: &Secret) -> Result<Option<String>, HostFailure> {
        let identity = &self.target.identity;
        if !identity.no_password && self.may(MethodKind::Password) {
            self.tried.push("password".into());
            let answer = self.handle.authenticate_password(&self.target.user, password.expose()).await;
            let answer = answer.map_err(|error| self.lost(&error))?;
            if self.is_in(answer)? {
                return Ok(Some("by password".into()));
            }
            // What the server takes as a password and has refused is wrong; to ask again could lock the account.
            if self.may(MethodKind::Password) {
                return Ok(None);
            }
        }
        if identity.no_keyboard || !self.may(MethodKind::KeyboardInteractive) {
            return Ok(None);
        }
        self.tried.push("keyboard-interactive".into());
        self.by_prompts(password).await
    }

    async fn by_prompts(&mut self, password: &Secret) -> Result<Option<String>, HostFailure> {
        let begun = self.handle.authenticate_keyboard_interactive_start(&self.target.user, None::<String>).await;
        let mut answer = begun.map_err(|error| self.lost(&error))?;
        let mut given = false;
        for _ in 0..MOST_ROUNDS {
            match answer {
                KeyboardInteractiveAuthResponse::Success => return Ok(Some("by keyboard-interactive".into())),
                KeyboardInteractiveAuthResponse::Failure { remaining_methods, partial_success } => {
                    self.is_in(AuthResult::Failure { remaining_methods, partial_success })?;
                    return Ok(None);
                }
                KeyboardInteractiveAuthResponse::InfoRequest { instructions, prompts, name } => {
                    let about = format!("{name} {instructions}");
                    let responses = self.responses(&about, &prompts, password, &mut given)?;
                    let next = self.handle.authenticate_keyboard_interactive_respond(responses).await;
                    answer = next.map_err(|error| self.lost(&error))?;
                }
            }
        }
        Err(self.lost(&"it asks questions without end"))
    }

    /// Answers to what we understand; a prompt that we do not gets none.
    fn responses(&self, about: &str, prompts: &[Prompt], password: &Secret, given: &mut bool) -> Result<Vec<String>, HostFailure> {
        let text = prompts.iter().fold(about.to_lowercase(), |text, prompt| text + " " + &prompt.prompt.to_lowercase());
        let (address, user) = (self.target.address.clone(), self.target.user.clone());
        if text.contains("new password") || text.contains("expired") || text.contains("change your password") || text.contains("(current)") {
            return Err(HostFailure::PasswordExpired { address, user });
        }
        let mut responses = Vec::new();
        for prompt in prompts {
            if !asks_for_password(prompt) {
                let asked: String = prompt.prompt.trim().chars().take(80).collect();
                return Err(HostFailure::Prompt { address, user, prompt: asked });
            }
            // The second time the first answer was no good.
            if std::mem::replace(given, true) {
                let advice = "it asks for the password again, so the one it has got is wrong".into();
                return Err(HostFailure::Login { address, user, tried: self.shown_tried(), advice });
            }
            responses.push(password.expose().to_owned());
        }
        Ok(responses)
    }

    fn shown_tried(&self) -> String {
        if self.tried.is_empty() { "nothing, since there is no key and no agent".into() } else { self.tried.join(", ") }
    }

    /// Why nothing worked, and what would help.
    fn refused(self) -> HostFailure {
        let (target, tried) = (self.target, self.shown_tried());
        if let (Some(path), true) = (self.locked.first(), self.tried.is_empty()) {
            let path = path.display();
            return HostFailure::Key(format!("the key {path} has a passphrase; open it for this session with `ssh-add {path}`, or give it with `--passphrase-file`"));
        }
        let takes = |kind: MethodKind| self.left.as_ref().is_some_and(|left| left.contains(&kind));
        let mut advice = self.notes.clone();
        advice.extend(self.locked.iter().map(|path| format!("the key {} has a passphrase and was not tried (`ssh-add`, or `--passphrase-file`)", path.display())));
        if target.identity.password.is_none() && (takes(MethodKind::Password) || takes(MethodKind::KeyboardInteractive)) {
            advice.push("the server would take a password (`-k`, or `password_file` in the inventory)".into());
        } else if self.offered >= MOST_KEYS {
            advice.push(format!("no more than {MOST_KEYS} keys are tried, so name the right one with `--key`, `key = …`, or `IdentityFile`"));
        }
        advice.push("name another key with `--key` or `key = …`, or another user with `-u`".into());
        HostFailure::Login { address: target.address.clone(), user: target.user.clone(), tried, advice: advice.join("; ") }
    }
}

/// Whether a prompt is one for the account's own password, and not for a code of one use.
fn asks_for_password(prompt: &Prompt) -> bool {
    let text = prompt.prompt.to_lowercase();
    let text = text.trim().trim_end_matches(':').trim_end();
    let codes = ["one-time", "one time", "otp", "token", "code", "passcode", "pin", "factor"];
    let names = ["password", "passwort", "mot de passe", "contraseña"];
    !prompt.echo && names.iter().any(|name| text.ends_with(name) || text.starts_with(&format!("{name} for"))) && !codes.iter().any(|code| text.contains(code))
}

fn algorithm_of(identity: &AgentIdentity) -> Algorithm {
    match identity {
        AgentIdentity::PublicKey { key, .. } => key.algorithm(),
        AgentIdentity::Certificate { certificate, .. } => certificate.algorithm(),
    }
}

/// Whether the agent holds just this key, certificate or not.
fn is_of(one: &AgentIdentity, public: &PublicKey) -> bool {
    match one {
        AgentIdentity::PublicKey { key, .. } => key.key_data() == public.key_data(),
        AgentIdentity::Certificate { certificate, .. } => certificate.public_key() == public.key_data(),
    }
}

/// Whether the agent holds the key whose public half lies beside a file. An agent that does not answer soon has none.
pub async fn agent_has(path: &Path) -> bool {
    let Some(public) = keys::public_half(path) else { return false };
    let asking = async {
        let Some(mut agent) = open_agent(&Agent::Usual).await else { return false };
        agent.request_identities().await.unwrap_or_default().iter().any(|one| is_of(one, &public))
    };
    tokio::time::timeout(std::time::Duration::from_secs(5), asking).await.unwrap_or(false)
}

async fn open_agent(agent: &Agent) -> Option<AgentOfAnyKind> {
    match agent {
        Agent::None => None,
        Agent::Usual => AgentClient::connect_env().await.ok().map(AgentClient::dynamic),
        Agent::At(path) => AgentClient::connect_uds(path).await.ok().map(AgentClient::dynamic),
    }
}

/// The files that `ssh` tries when none is named.
pub fn usual_keys() -> Vec<PathBuf> {
    let Some(home) = std::env::home_dir() else { return Vec::new() };
    ["id_ed25519", "id_ecdsa", "id_rsa"]
        .map(|name| home.join(".ssh").join(name))
        .into_iter()
        .filter(|path| path.exists())
        .collect()
}

/// Signs with a key of our own; russh's way for certificates leaves RSA to SHA-1.
struct Own {
    key: Arc<PrivateKey>,
}

impl Signer for Own {
    type Error = AgentAuthError;

    async fn auth_sign(&mut self, _: &AgentIdentity, hash: Option<HashAlg>, mut to_sign: Vec<u8>) -> Result<Vec<u8>, Self::Error> {
        use russh::keys::signature::Signer as _;
        let failed = |error: russh::keys::signature::Error| AgentAuthError::Key(russh::keys::Error::SshKey(error.into()));
        let signature = match self.key.key_data() {
            russh::keys::ssh_key::private::KeypairData::Rsa(pair) => (pair, hash).try_sign(&to_sign).map_err(failed)?,
            pair => pair.try_sign(&to_sign).map_err(failed)?,
        };
        let mut encoded = Vec::new();
        let broken = |error: russh::keys::ssh_encoding::Error| AgentAuthError::Key(error.into());
        signature.encode(&mut encoded).map_err(broken)?;
        encoded.encode(&mut to_sign).map_err(broken)?;
        Ok(to_sign)
    }
}
