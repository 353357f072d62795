//! A host we can talk to: over SSH or on this machine, through the one shell kept open there, also as another user.
//!
//! [`Link::open`] logs in; [`Shell::open`] starts a shell there; [`Shell::flight`] sends frames and gives back what
//! became of each. Nothing here knows what a task or a module is.

mod failure;
mod flight;
mod frame;
mod known_hosts;
mod link;
mod opening;
mod pipe;
mod shell;
mod ssh;
mod tcp;
mod upload;
pub mod wire;

pub use failure::HostFailure;
pub use flight::{Outcome, Result as FrameResult, Stop};
pub use frame::{Frame, Guarded, Library, Verb, Watch};
pub use known_hosts::KnownHosts;
pub use link::{Link, Method, Target};
pub use opening::{Become, BecomeMethod, without_comments};
pub use shell::{Pending, Shell};
pub use upload::upload;
