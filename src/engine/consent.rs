//! Changes that somebody is asked about before they are made.

use std::pin::Pin;

use super::commit::Planned;
use super::settle::{Ending, shown_item};
use super::walk::{Halt, Walker, Work, stopping};
use crate::event::Outcome;
use crate::module::{Change, Effect};

/// A change that a run would make.
#[derive(Clone, Debug)]
pub struct Wish {
    pub host: String,
    /// The host that it is made on, where that is another one.
    pub delegated_to: Option<String>,
    pub task: String,
    pub module: String,
    /// `file:line` of the task.
    pub place: String,
    pub item: Option<serde_json::Value>,
    pub message: String,
    /// Unified, empty where there is none.
    pub diff: String,
}

/// What somebody says to a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    Yes,
    No,
    /// Neither this one nor any other.
    Quit,
}

/// Somebody who is asked about changes, one at a time, whatever number of hosts is worked on.
pub trait Consent: Send + Sync {
    /// What they say. Whoever says [`Word::Quit`] also sees to it that the run stops.
    fn ask<'a>(&'a self, wish: &'a Wish) -> Pin<Box<dyn Future<Output = Word> + Send + 'a>>;
}

/// What a walker makes of an answer.
pub(super) enum Allowed {
    Yes,
    /// The step has ended with this.
    No(Planned),
    Quit,
}

impl Walker {
    /// Asks about the change of the step at this place, where somebody wants to be asked.
    pub(super) async fn allowed(&mut self, at: usize, change: &Change) -> Result<Allowed, Halt> {
        let Some(consent) = self.shared.input.consent.clone() else { return Ok(Allowed::Yes) };
        let Some(Work::Ready(ready)) = self.todo.get(at) else { return Ok(Allowed::Yes) };
        // It changes nothing, or is just what has been agreed to.
        if change.effect == Effect::Nothing || ready.agreed.as_ref() == Some(&ready.answer) {
            return Ok(Allowed::Yes);
        }
        let ending = Ending::new(Outcome::Changed).change(change);
        let wish = Wish {
            host: self.for_host.clone().unwrap_or_else(|| self.name.clone()),
            delegated_to: self.for_host.is_some().then(|| self.name.clone()),
            task: ready.name.clone(),
            module: ready.module.name.to_owned(),
            place: self.place_of(ready),
            item: if ready.no_log { None } else { shown_item(&ready.bound) },
            message: if ready.no_log { String::new() } else { ending.message },
            diff: if ready.no_log { String::new() } else { ending.diff },
        };
        let answer = ready.answer.clone();
        let stop = self.stop.clone();
        let asking = consent.ask(&wish);
        tokio::pin!(asking);
        // The host learns meanwhile that somebody still holds its lock.
        let mut beat = tokio::time::interval(super::walk::BEAT);
        let word = loop {
            tokio::select! {
                word = &mut asking => break word,
                () = stopping(stop.clone()) => break Word::Quit,
                _ = beat.tick() => self.beat().await,
            }
        };
        match word {
            Word::Yes => {
                if let Some(Work::Ready(ready)) = self.todo.get_mut(at) {
                    ready.agreed = Some(answer);
                }
                Ok(Allowed::Yes)
            }
            Word::No => Ok(Allowed::No(Planned::Here(Box::new(Ending::new(Outcome::Skipped).change(change).message("left as it is, as you said".into()))))),
            Word::Quit => Ok(Allowed::Quit),
        }
    }
}
