//! A host we can talk to: over SSH or on this machine, through the one shell kept open there, also as another user.
//!
//! [`Link::open`] logs in; [`Shell::open`] starts a shell there; [`Shell::flight`] sends frames and gives back what
//! became of each. Nothing here knows what a task or a module is.

mod download;
mod failure;
mod flight;
mod frame;
mod link;
mod opening;
mod parts;
mod pipe;
mod reach;
mod shell;
mod ssh;
mod transfer;
mod upload;
pub mod wire;

pub use download::download;
pub use failure::HostFailure;
pub use flight::{Outcome, Result as FrameResult, Stop};
pub use frame::{Frame, Guarded, Library, Rider, Verb, Watch};
pub use link::{HostKey, Link, Method, Route, Target};
pub use opening::{Become, BecomeMethod, without_comments};
pub use reach::{Reach, back_off};
pub use shell::{Listener, Pending, Shell};
pub use ssh::{Agent, Algorithms, Alive, Identity, Keyring, KnownHosts, Stage, Trail, add_host_keys, agent_has, fingerprint, host_key_line, host_key_of, learn_host_key, usual_keys};
pub use upload::{Compared, upload, upload_over};
