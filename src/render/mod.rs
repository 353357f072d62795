//! What happened, shown. Events come in, text goes to the writers that are passed in; nothing here decides anything.

mod fold;
mod human;
mod impact;
mod json;
mod junit;
mod outputs;
mod page;
mod progress;
mod prom;
mod safe;
mod why;

use std::io::Write;

use crate::event::Event;

pub use human::{Human, colored_diff};
pub use json::{Json, JsonLines};
pub use junit::Junit;
pub use outputs::{Form, OutputView, Outputs};
pub use page::page;
pub use progress::Progress;
pub use prom::Prom;
pub use safe::safe;
pub use why::Why;

/// A way to show a run.
pub trait Show: Send {
    /// Takes the next event.
    fn take(&mut self, event: &Event);
}

/// What people want to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// 0: what changed or failed; 1: also what is in place or skipped; 2: with output of commands; 3: all.
    pub verbosity: u8,
    pub diff: bool,
    pub color: bool,
    /// No recap unless something changed or failed.
    pub quiet: bool,
}

/// Where a run is shown.
pub type Output = Box<dyn Write + Send>;
