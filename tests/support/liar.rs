//! An SSH server in which every byte can be chosen, to see what a client makes of wrong ones.
//!
//! It speaks just enough: curve25519-sha256, ssh-ed25519, aes256-ctr and hmac-sha2-256 (RFC 4253, 4252, 4254, 8731). Each
//! connection has a thread, and a script that says what happens.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use aes::Aes256;
use ctr::cipher::{KeyIvInit as _, StreamCipher as _};
use curve25519_dalek::montgomery::MontgomeryPoint;
use hmac::{Hmac, KeyInit as _, Mac as _};
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode as _;
use russh::keys::{Algorithm, PrivateKey, key::safe_rng};
use sha2::{Digest as _, Sha256};

/// Names in the server's proposal, in the order of RFC 4253 §7.1.
pub const PROPOSAL: [&str; 10] = ["curve25519-sha256", "ssh-ed25519", "aes256-ctr", "aes256-ctr", "hmac-sha2-256", "hmac-sha2-256", "none", "none", "", ""];

type Stream = ctr::Ctr128BE<Aes256>;
type Result<T> = io::Result<T>;

/// One connection.
pub struct Liar {
    pub stream: TcpStream,
    key: Arc<PrivateKey>,
    client_version: Vec<u8>,
    session: Vec<u8>,
    sends: (u32, Option<(Stream, Vec<u8>)>),
    takes: (u32, Option<(Stream, Vec<u8>)>),
}

/// Starts a server for any number of connections; gives its port and public key.
pub fn serve(script: impl Fn(&mut Liar) -> Result<()> + Send + Sync + 'static) -> (u16, String) {
    let key = Arc::new(PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).expect("a key"));
    let public = key.public_key().to_openssh().expect("a public key").trim().to_owned();
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let script = Arc::new(script);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (script, key) = (script.clone(), key.clone());
            std::thread::spawn(move || {
                let _set = stream.set_read_timeout(Some(Duration::from_secs(90)));
                let _set = stream.set_write_timeout(Some(Duration::from_secs(90)));
                let mut liar = Liar { stream, key, client_version: Vec::new(), session: Vec::new(), sends: (0, None), takes: (0, None) };
                // The client hangs up on most of these.
                let _ended = script(&mut liar);
            });
        }
    });
    (port, public)
}

/// Text with its length before it.
pub fn string(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [&u32::try_from(bytes.len()).expect("short").to_be_bytes(), bytes].concat()
}

fn mpint(bytes: &[u8]) -> Vec<u8> {
    let bytes = &bytes[bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len())..];
    if bytes.first().is_some_and(|byte| byte & 0x80 != 0) { string([&[0], bytes].concat()) } else { string(bytes) }
}

pub fn kexinit(names: &[&str; 10]) -> Vec<u8> {
    let mut payload = vec![20];
    payload.extend([7; 16]);
    for name in names {
        payload.extend(string(name));
    }
    payload.extend([0; 5]);
    payload
}

impl Liar {
    pub fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes)
    }

    /// Stays connected and says nothing, until the client has gone.
    pub fn hang(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        while self.stream.read(&mut buffer)? > 0 {}
        Ok(())
    }

    pub fn versions(&mut self) -> Result<()> {
        self.raw(b"SSH-2.0-OpenSSH_9.9\r\n")?;
        let mut byte = [0];
        while self.stream.read(&mut byte)? == 1 && byte[0] != b'\n' {
            self.client_version.extend(byte);
        }
        self.client_version.retain(|byte| *byte != b'\r');
        Ok(())
    }

    pub fn packet(&mut self, payload: &[u8]) -> Result<()> {
        let block = if self.sends.1.is_some() { 16 } else { 8 };
        let mut padding = block - (payload.len() + 5) % block;
        if padding < 4 {
            padding += block;
        }
        let mut packet = u32::try_from(payload.len() + padding + 1).expect("short").to_be_bytes().to_vec();
        packet.push(u8::try_from(padding).expect("short"));
        packet.extend_from_slice(payload);
        packet.extend(vec![0; padding]);
        let number = self.sends.0;
        self.sends.0 = number.wrapping_add(1);
        if let Some((cipher, mac_key)) = &mut self.sends.1 {
            let mut mac = Hmac::<Sha256>::new_from_slice(mac_key).expect("any length");
            mac.update(&number.to_be_bytes());
            mac.update(&packet);
            let tag = mac.finalize().into_bytes();
            cipher.apply_keystream(&mut packet);
            packet.extend_from_slice(&tag);
        }
        self.raw(&packet)
    }

    pub fn take(&mut self) -> Result<Vec<u8>> {
        let mut head = vec![0; if self.takes.1.is_some() { 16 } else { 8 }];
        self.stream.read_exact(&mut head)?;
        if let Some((cipher, _)) = &mut self.takes.1 {
            cipher.apply_keystream(&mut head);
        }
        let length = u32::from_be_bytes(head[..4].try_into().expect("four bytes")) as usize;
        let mut rest = vec![0; (length + 4).saturating_sub(head.len())];
        self.stream.read_exact(&mut rest)?;
        if let Some((cipher, _)) = &mut self.takes.1 {
            cipher.apply_keystream(&mut rest);
            self.stream.read_exact(&mut [0; 32])?;
        }
        self.takes.0 = self.takes.0.wrapping_add(1);
        let packet = [head, rest].concat();
        let padding = packet[4] as usize;
        Ok(packet[5..length + 4 - padding].to_vec())
    }

    /// The next packet of one of these kinds.
    pub fn wait_for(&mut self, kinds: &[u8]) -> Result<Vec<u8>> {
        loop {
            let packet = self.take()?;
            if packet.first().is_some_and(|kind| kinds.contains(kind)) {
                return Ok(packet);
            }
        }
    }

    /// Both versions and an honest key exchange.
    pub fn begin(&mut self) -> Result<()> {
        self.versions()?;
        let ours = kexinit(&PROPOSAL);
        self.packet(&ours)?;
        let key = self.key.clone();
        self.exchange(&ours, &key, |_| {})
    }

    /// A key exchange, whose answer may be spoilt.
    pub fn exchange(&mut self, ours: &[u8], key: &PrivateKey, spoil: impl Fn(&mut [Vec<u8>; 3])) -> Result<()> {
        let theirs = self.wait_for(&[20])?;
        let init = self.wait_for(&[30])?;
        let client_point = &init[5..];
        let secret = [0x42; 32];
        let point = MontgomeryPoint::mul_base_clamped(secret).to_bytes();
        let shared = MontgomeryPoint(client_point.try_into().map_err(io::Error::other)?).mul_clamped(secret).to_bytes();
        let host_key = key.public_key().to_bytes().expect("a key");
        let mut hash = Sha256::new();
        for part in [&self.client_version[..], b"SSH-2.0-OpenSSH_9.9", &theirs, ours, &host_key, client_point, &point] {
            hash.update(string(part));
        }
        let shared = mpint(&shared);
        hash.update(&shared);
        let hash = hash.finalize().to_vec();
        if self.session.is_empty() {
            self.session.clone_from(&hash);
        }
        let mut signature = Vec::new();
        key.try_sign(&hash).expect("a signature").encode(&mut signature).expect("a signature");
        let mut parts = [host_key, point.to_vec(), signature];
        spoil(&mut parts);
        let mut reply = vec![31];
        for part in &parts {
            reply.extend(string(part));
        }
        self.packet(&reply)?;
        self.packet(&[21])?;
        let derive = |letter: u8, length: usize| {
            let first = Sha256::new().chain_update(&shared).chain_update(&hash).chain_update([letter]).chain_update(&self.session).finalize();
            first[..length].to_vec()
        };
        let cipher = |iv: u8, key: u8| Stream::new_from_slices(&derive(key, 32), &derive(iv, 16)).expect("lengths");
        let (sends, takes) = ((cipher(b'B', b'D'), derive(b'F', 32)), (cipher(b'A', b'C'), derive(b'E', 32)));
        self.sends.1 = Some(sends);
        self.wait_for(&[21])?;
        self.takes.1 = Some(takes);
        Ok(())
    }

    /// Up to the first attempt to log in.
    pub fn up_to_login(&mut self) -> Result<Vec<u8>> {
        self.begin()?;
        self.wait_for(&[5])?;
        self.packet(&[&[6][..], &string("ssh-userauth")].concat())?;
        self.wait_for(&[50])
    }

    /// Lets everybody in, up to the first channel; gives the client's number of it.
    pub fn up_to_channel(&mut self) -> Result<u32> {
        self.up_to_login()?;
        self.packet(&[52])?;
        let open = self.wait_for(&[90])?;
        let name = u32::from_be_bytes(open[1..5].try_into().expect("four bytes")) as usize;
        Ok(u32::from_be_bytes(open[5 + name..9 + name].try_into().expect("four bytes")))
    }

    /// Opens the channel with this window, and waits for the command.
    pub fn up_to_command(&mut self, window: u32) -> Result<u32> {
        let channel = self.up_to_channel()?;
        self.packet(&[&[91][..], &channel.to_be_bytes(), &0_u32.to_be_bytes(), &window.to_be_bytes(), &32768_u32.to_be_bytes()].concat())?;
        self.wait_for(&[98])?;
        Ok(channel)
    }

    pub fn failure(&mut self, methods: &str, is_partial: bool) -> Result<()> {
        self.packet(&[&[51][..], &string(methods), &[u8::from(is_partial)]].concat())
    }

    pub fn data(&mut self, channel: u32, bytes: &[u8]) -> Result<()> {
        self.packet(&[&[94][..], &channel.to_be_bytes(), &string(bytes)].concat())
    }

    /// A message about a channel that has nothing but its number.
    pub fn about(&mut self, kind: u8, channel: u32) -> Result<()> {
        self.packet(&[&[kind][..], &channel.to_be_bytes()].concat())
    }

    pub fn exit_status(&mut self, channel: u32, status: u32) -> Result<()> {
        self.packet(&[&[98][..], &channel.to_be_bytes(), &string("exit-status"), &[0], &status.to_be_bytes()].concat())
    }

    /// A key exchange out of turn, with another host key.
    pub fn exchange_again(&mut self, other: &PrivateKey) -> Result<()> {
        let ours = kexinit(&PROPOSAL);
        self.packet(&ours)?;
        self.exchange(&ours, other, |_| {})
    }
}
