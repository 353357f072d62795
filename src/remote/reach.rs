//! What all logins of a run share: host keys on file, our own keys, and the jump hosts that are connected.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::ssh::{Keyring, KnownHosts, Session, Trail};
use super::{HostFailure, Target};

/// A jump host that could not be reached is not asked again for so long, so that all behind it fail together.
const REMEMBERED: Duration = Duration::from_secs(5);
const BACK_OFF_SECONDS: [u64; 5] = [1, 2, 4, 8, 16];

/// What all logins of a run share.
#[derive(Default)]
pub struct Reach {
    pub keyring: Arc<Keyring>,
    known: Mutex<HashMap<Vec<PathBuf>, Arc<KnownHosts>>>,
    jumps: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Jump>>>>,
}

#[derive(Default)]
enum Jump {
    #[default]
    Untried,
    Open(Arc<Session>),
    Failed(HostFailure, Instant),
}

impl Reach {
    /// With these keys.
    pub fn new(keyring: Keyring) -> Self {
        Self { keyring: Arc::new(keyring), ..Self::default() }
    }

    /// The host keys in these files, which are read once.
    ///
    /// # Errors
    /// A file that is there and cannot be read.
    pub fn known(&self, files: &[PathBuf]) -> Result<Arc<KnownHosts>, HostFailure> {
        let mut read = self.known.lock().expect("nothing panics while it holds this lock");
        if let Some(known) = read.get(files) {
            return Ok(known.clone());
        }
        let known = Arc::new(KnownHosts::read(files)?);
        read.insert(files.to_vec(), known.clone());
        Ok(known)
    }

    /// Reads files with host keys again when they are asked for the next time.
    pub fn forget_known_hosts(&self) {
        self.known.lock().expect("nothing panics while it holds this lock").clear();
    }

    async fn logged_in(&self, target: &Target) -> Result<Session, HostFailure> {
        let session = Session::open(target, self, &Trail::default()).await?;
        session.log_in().await?;
        Ok(session)
    }

    /// The one connection to a jump host, made by the first that goes through it.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn jump(&self, target: &Target) -> Result<Arc<Session>, HostFailure> {
        let slot = self.jumps.lock().expect("nothing panics while it holds this lock").entry(target.way()).or_default().clone();
        let mut slot = slot.lock().await;
        match &*slot {
            Jump::Open(session) if !session.is_closed() => return Ok(session.clone()),
            // What was refused is not tried again by anybody of this run.
            Jump::Failed(failure, when) if failure.is_refusal() || when.elapsed() < REMEMBERED => return Err(failure.clone()),
            _ => {}
        }
        let mut tries = 0;
        loop {
            match self.logged_in(target).await {
                Ok(session) => {
                    let session = Arc::new(session);
                    *slot = Jump::Open(session.clone());
                    return Ok(session);
                }
                Err(failure) => match back_off(tries) {
                    Some(pause) if failure.may_pass() => {
                        tries += 1;
                        tokio::time::sleep(pause).await;
                    }
                    _ => {
                        *slot = Jump::Failed(failure.clone(), Instant::now());
                        return Err(failure);
                    }
                },
            }
        }
    }
}

/// How long to wait before a server that had no room is asked again, after so many tries; `None` when it is enough.
/// The chance in it keeps many hosts behind one server from coming back together.
pub fn back_off(tries: usize) -> Option<Duration> {
    let seconds = BACK_OFF_SECONDS.get(tries)?;
    let mut byte = [0_u8];
    getrandom::fill(&mut byte).expect("the system has a source of randomness");
    // Between a half and one and a half of it.
    Some(Duration::from_millis(seconds * (500 + u64::from(byte[0]) * 1000 / 255)))
}
