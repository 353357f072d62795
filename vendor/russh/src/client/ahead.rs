//! A login by key in one round trip: the request for the service, the signature, and a first session with its command
//! leave together. Not a part of russh as published.
//!
//! RFC 4252, section 5.3, has the server pass on what follows the request that succeeds. That the first channel of a
//! connection has a certain number, and takes input once its command has been read, is what is known of servers by name.

use log::debug;
use ssh_encoding::Encode;
use ssh_key::HashAlg;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::sync::oneshot;

use super::{Handle, Handler, Msg, Reply, Session};
use crate::auth::{self, AuthRequest, AuthResult};
use crate::cert::PublicKeyOrCertificate;
use crate::channels::{Channel, ChannelMsg, ChannelRef, WindowSizeRef};
use crate::helpers::AlgorithmExt;
use crate::keys::agent::AgentIdentity;
use crate::session::{Encrypted, EncryptedState};
use crate::{ChannelId, Error, msg};

/// What goes along with a login: a command on a session, and the beginning of its standard input, which must fit into
/// one packet of 32 KiB.
#[derive(Debug, Clone)]
pub struct Ahead {
    /// The number that the server gives to the first channel.
    pub channel: u32,
    pub command: Vec<u8>,
    pub input: Vec<u8>,
}

/// What a server says to a key that it is only asked about.
#[derive(Debug)]
pub enum Offered {
    /// It would do, once it has signed.
    Welcome,
    /// That is an answer already.
    Answered(AuthResult),
}

/// A signed request for a login, not sent yet.
#[derive(Debug)]
pub struct SignedRequest {
    user: String,
    packet: Vec<u8>,
}

/// A channel that was opened along with a login that has succeeded: see [`Handle::opened`].
pub struct Opening {
    receiver: Receiver<ChannelMsg>,
    window: WindowSizeRef,
}

/// A channel that was opened along with a login.
#[derive(Debug)]
pub(super) struct OpenedAhead {
    id: ChannelId,
    number: u32,
    /// Bytes of input that were sent before the server had granted them.
    owed: u32,
}

impl<H: Handler> Handle<H> {
    /// Asks whether the server would take a key or certificate. `None` when the connection ended without an answer.
    pub async fn offer_key(&mut self, user: &str, identity: &AgentIdentity, hash_alg: Option<HashAlg>) -> Result<Option<Offered>, Error> {
        let (algorithm, key) = match identity {
            AgentIdentity::PublicKey { key, .. } => (key.algorithm().with_hash_alg(hash_alg).as_str().to_owned(), key.to_bytes()?),
            AgentIdentity::Certificate { certificate, .. } => {
                (certificate.algorithm().with_hash_alg(hash_alg).to_certificate_type(), certificate.to_bytes()?)
            }
        };
        let mut packet = vec![msg::USERAUTH_REQUEST];
        user.encode(&mut packet)?;
        "ssh-connection".encode(&mut packet)?;
        "publickey".encode(&mut packet)?;
        0u8.encode(&mut packet)?;
        algorithm.encode(&mut packet)?;
        key.encode(&mut packet)?;
        Ok(self.ask(Msg::AuthenticateByPacket { user: user.to_owned(), packet, is_offer: true, ahead: None }).await)
    }

    /// Sends a request for a login and waits for its answer. `None` when the connection ended without one.
    async fn ask(&mut self, request: Msg) -> Option<Offered> {
        self.sender.send(request).await.ok()?;
        loop {
            match self.receiver.recv().await? {
                Reply::KeyWelcome => return Some(Offered::Welcome),
                Reply::AuthSuccess => return Some(Offered::Answered(AuthResult::Success)),
                Reply::AuthFailure { proceed_with_methods: remaining_methods, partial_success } => {
                    return Some(Offered::Answered(AuthResult::Failure { remaining_methods, partial_success }));
                }
                _ => {}
            }
        }
    }

    /// Signs a request for a login by key or certificate, without asking first whether the server would take it. Nothing
    /// is sent. `None` when the connection has ended.
    pub async fn sign_request<U: Into<String>, S: auth::Signer>(
        &mut self,
        user: U,
        identity: &AgentIdentity,
        hash_alg: Option<HashAlg>,
        signer: &mut S,
    ) -> Result<Option<SignedRequest>, S::Error> {
        let user = user.into();
        let key = match identity {
            AgentIdentity::PublicKey { key, .. } => PublicKeyOrCertificate::PublicKey { key: key.clone(), hash_alg },
            AgentIdentity::Certificate { certificate, .. } => PublicKeyOrCertificate::Certificate(certificate.clone()),
        };
        let (reply_channel, to_sign) = oneshot::channel();
        let asked = self.sender.send(Msg::ToSign { user: user.clone(), key, hash_alg, reply_channel }).await;
        let (Ok(()), Ok((to_sign, start))) = (asked, to_sign.await) else { return Ok(None) };
        let mut packet = signer.auth_sign(identity, hash_alg, to_sign).await?;
        packet.drain(..start);
        Ok(Some(SignedRequest { user, packet }))
    }

    /// Logs in. With `ahead`, its session is opened along with the login, and comes back with [`AuthResult::Success`]. A
    /// server that refuses the login must ignore what follows the request.
    ///
    /// `None` when the connection ended without an answer, so that nobody knows what became of it.
    pub async fn authenticate_signed(&mut self, request: SignedRequest, ahead: Option<Ahead>) -> Option<(AuthResult, Option<Opening>)> {
        let SignedRequest { user, packet } = request;
        let mut opening = None;
        let ahead = ahead.map(|ahead| {
            let (sender, receiver) = channel(self.channel_buffer_size);
            let channel_ref = ChannelRef::new(sender);
            opening = Some(Opening { receiver, window: channel_ref.window_size().clone() });
            (channel_ref, ahead)
        });
        match self.ask(Msg::AuthenticateByPacket { user, packet, is_offer: false, ahead }).await? {
            Offered::Answered(AuthResult::Success) => Some((AuthResult::Success, opening)),
            Offered::Answered(failure) => Some((failure, None)),
            // Only an offer is answered so.
            Offered::Welcome => None,
        }
    }

    /// Waits until the server has confirmed a channel that was opened along with the login.
    pub async fn opened(&self, opening: Opening) -> Result<Channel<Msg>, Error> {
        self.wait_channel_confirmation(opening.receiver, opening.window).await
    }
}

impl Session {
    /// What is to be signed, and where in it the packet begins.
    pub(super) fn to_sign(&mut self, user: &str, key: &PublicKeyOrCertificate, hash_alg: Option<HashAlg>) -> Result<(Vec<u8>, usize), Error> {
        let mut buffer = Vec::new();
        let enc = self.common.encrypted.as_mut().ok_or(Error::Inconsistent)?;
        let start = enc.client_make_to_sign(user, key, hash_alg, &mut buffer)?;
        Ok((buffer, start))
    }

    pub(super) fn authenticate_by_packet(&mut self, user: String, packet: &[u8], is_offer: bool, ahead: Option<(ChannelRef, Ahead)>) -> Result<(), Error> {
        let config = self.common.config.clone();
        let enc = self.common.encrypted.as_mut().ok_or(Error::Inconsistent)?;
        match enc.state {
            EncryptedState::WaitingAuthServiceRequest { sent, accepted } => {
                if !sent {
                    self.common.packet_writer.write_packet(|w| {
                        msg::SERVICE_REQUEST.encode(w)?;
                        "ssh-userauth".encode(w)?;
                        Ok(())
                    })?;
                }
                self.is_service_due = !accepted;
            }
            EncryptedState::WaitingAuthRequest(_) => {}
            EncryptedState::InitCompression | EncryptedState::Authenticated => return Err(Error::Inconsistent),
        }
        push_packet!(enc.write, enc.write.extend_from_slice(packet));
        self.is_key_offered = is_offer;
        enc.state = EncryptedState::WaitingAuthRequest(AuthRequest::new(&auth::Method::None));
        if let Some((channel_ref, ahead)) = ahead {
            let id = enc.new_channel(config.window_size, config.maximum_packet_size);
            write_ahead(enc, id, (config.window_size, config.maximum_packet_size), &ahead)?;
            self.channels.insert(id, channel_ref);
            self.opened_ahead = Some(OpenedAhead { id, number: ahead.channel, owed: ahead.input.len() as u32 });
        }
        self.common.auth_user = user;
        self.common.auth_method = None;
        Ok(())
    }

    /// The login that a channel was opened with has failed.
    pub(super) fn forget_ahead(&mut self) {
        if let Some(opened) = self.opened_ahead.take() {
            debug!("the channel {:?} was not opened, since the login has failed", opened.id);
            self.channels.remove(&opened.id);
            if let Some(enc) = self.common.encrypted.as_mut() {
                enc.channels.remove(&opened.id);
            }
        }
    }

    /// Whether the server has given the number that was counted on to a channel that was opened along with a login.
    pub(super) fn confirm_ahead(&mut self, id: ChannelId, number: u32) -> Result<(), Error> {
        match &self.opened_ahead {
            Some(opened) if opened.id == id && number != opened.number => Err(Error::Inconsistent),
            _ => Ok(()),
        }
    }

    /// What remains of bytes that are granted to a confirmed channel, once those are paid that were sent before.
    pub(super) fn pay_ahead(&mut self, id: ChannelId, granted: u32) -> u32 {
        match &mut self.opened_ahead {
            Some(opened) if opened.id == id => {
                let paid = granted.min(opened.owed);
                opened.owed -= paid;
                if opened.owed == 0 {
                    self.opened_ahead = None;
                }
                granted - paid
            }
            _ => granted,
        }
    }
}

fn write_ahead(enc: &mut Encrypted, id: ChannelId, (window, packet): (u32, u32), ahead: &Ahead) -> Result<(), Error> {
    push_packet!(enc.write, {
        msg::CHANNEL_OPEN.encode(&mut enc.write)?;
        "session".encode(&mut enc.write)?;
        id.encode(&mut enc.write)?;
        window.encode(&mut enc.write)?;
        packet.encode(&mut enc.write)?;
    });
    push_packet!(enc.write, {
        msg::CHANNEL_REQUEST.encode(&mut enc.write)?;
        ahead.channel.encode(&mut enc.write)?;
        "exec".encode(&mut enc.write)?;
        0u8.encode(&mut enc.write)?;
        ahead.command.encode(&mut enc.write)?;
    });
    if !ahead.input.is_empty() {
        push_packet!(enc.write, {
            msg::CHANNEL_DATA.encode(&mut enc.write)?;
            ahead.channel.encode(&mut enc.write)?;
            ahead.input.encode(&mut enc.write)?;
        });
    }
    Ok(())
}
