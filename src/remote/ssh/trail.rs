//! How far a login has come, step by step, for whoever wants to know why it came no farther.

use std::sync::{Arc, Mutex};

/// A step on the way to a host, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Name,
    Route,
    Port,
    Banner,
    KeyExchange,
    HostKey,
    Login,
    Shell,
    Become,
}

impl Stage {
    pub const ALL: [Self; 9] =
        [Self::Name, Self::Route, Self::Port, Self::Banner, Self::KeyExchange, Self::HostKey, Self::Login, Self::Shell, Self::Become];

    pub fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Route => "route",
            Self::Port => "port",
            Self::Banner => "banner",
            Self::KeyExchange => "key exchange",
            Self::HostKey => "host key",
            Self::Login => "login",
            Self::Shell => "shell",
            Self::Become => "become",
        }
    }
}

/// What was found at each step so far.
#[derive(Clone, Debug, Default)]
pub struct Trail(Arc<Mutex<Vec<(Stage, String)>>>);

impl Trail {
    /// A step that has been made, and what was found there.
    pub fn pass(&self, stage: Stage, found: impl Into<String>) {
        let mut steps = self.0.lock().expect("nothing panics while it holds this lock");
        // A later key exchange tells nothing new.
        if steps.iter().all(|(known, _)| *known != stage) {
            steps.push((stage, found.into()));
        }
    }

    /// All steps so far.
    pub fn steps(&self) -> Vec<(Stage, String)> {
        self.0.lock().expect("nothing panics while it holds this lock").clone()
    }
}
