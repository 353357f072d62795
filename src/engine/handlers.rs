//! Handlers: notified by changes, remembered on the target until they have run.

use sha2::Digest as _;

use super::Shared;
use super::prepare::unbound;
use super::step::{Ready, UserKey};
use super::walk::{Halt, PlayAt, Walker, Work};
use crate::remote::{Frame, Shell, Verb};

/// Under which name the target's ledger knows a handler, and the text that it shows.
pub(super) fn handler_id(shared: &Shared, play: &PlayAt, at: usize) -> (String, String) {
    let playbook = &shared.input.playbooks[play.playbook];
    let play = play.of(shared);
    let handler = play.handlers[at].name.text().unwrap_or_default();
    let file = std::path::Path::new(&playbook.path).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let digest = sha2::Sha256::digest(format!("{file}\0{}\0{handler}", play.name));
    let id: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    (id, format!("{file}: {}: {handler} (run {})", play.name, shared.run).replace('\n', " "))
}

impl Walker {
    /// The handlers that a step notifies, by their place in the play.
    pub(super) fn handlers_for(&self, ready: &Ready) -> Vec<usize> {
        let play = self.play.of(&self.shared);
        let mut found: Vec<usize> = Vec::new();
        for name in &ready.notify {
            let is_meant = |handler: &crate::playbook::Task| handler.name.text() == Some(name.as_str()) || handler.listen.contains(name);
            found.extend(play.handlers.iter().enumerate().filter(|(_, handler)| is_meant(handler)).map(|(at, _)| at));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Notes which handlers are to run. In a planned change nothing is written down on the host.
    pub(super) fn notify(&mut self, ready: &Ready, planned: bool) {
        for at in self.handlers_for(ready) {
            if let Some(limit) = self.confirm_limit(ready) {
                self.handler_limits.insert(at, limit);
            }
            let shells = self.notified.entry(at).or_default();
            if !planned && !shells.contains(&ready.user) {
                shells.push(ready.user.clone());
            }
            if !planned && !ready.bound.task.changed_when.is_empty() {
                self.late_notices.push((ready.user.clone(), at));
            }
        }
    }

    /// Handlers that an earlier run has notified are to run in this one.
    pub(super) fn remember_pending(&mut self, user: &UserKey, pending: &[crate::remote::Pending]) {
        if pending.is_empty() || self.shared.input.playbooks.is_empty() {
            return;
        }
        let count = self.play.of(&self.shared).handlers.len();
        for at in 0..count {
            let (id, _) = handler_id(&self.shared, &self.play, at);
            if pending.iter().any(|pending| pending.id == id) {
                self.inherited.insert(at);
                let shells = self.notified.entry(at).or_default();
                if !shells.contains(user) {
                    shells.push(user.clone());
                }
            }
        }
    }

    /// Runs every handler that has been notified, in the order of the play.
    pub(super) async fn run_handlers(&mut self) -> Result<(), Halt> {
        self.note_late().await?;
        let mut rounds = 0;
        while let Some((&at, _)) = self.notified.first_key_value() {
            rounds += 1;
            // A handler may notify others, but not for ever.
            if rounds > 1000 {
                return Ok(());
            }
            let play = self.play.of(&self.shared);
            let Some(handler) = play.handlers.get(at).cloned() else { return Ok(()) };
            let shells = self.notified.get(&at).cloned().unwrap_or_default();
            self.todo.push_front(Work::Task(unbound(handler, true)));
            // What makes a dangerous change good is as dangerous.
            self.handler_limit = self.handler_limits.get(&at).copied();
            let ran = self.walk().await;
            self.handler_limit = None;
            ran?;
            self.handler_limits.remove(&at);
            self.notified.remove(&at);
            self.clear(at, &shells).await;
        }
        Ok(())
    }

    /// A notice that depended on `changed_when` reaches the ledger only after the step.
    pub(super) async fn note_late(&mut self) -> Result<(), Halt> {
        for (user, at) in std::mem::take(&mut self.late_notices) {
            let (id, text) = handler_id(&self.shared, &self.play, at);
            let frame = unanswered(Verb::Notify { id, text });
            if self.has_shell(&user).await || self.shell(&user, &[]).await.is_ok() {
                self.fly(&user, &[frame]).await?;
            }
        }
        Ok(())
    }

    /// A shell that only made room for another is opened again.
    async fn has_shell(&mut self, user: &UserKey) -> bool {
        self.shells.get(user).is_some_and(Shell::is_open) || self.one_session && self.shell(user, &[]).await.is_ok()
    }

    /// Handlers that only changes of this play have notified have nothing to do once these are undone.
    pub(super) async fn forget_handlers(&mut self) {
        for (at, shells) in std::mem::take(&mut self.notified) {
            if self.inherited.contains(&at) {
                self.notified.insert(at, shells);
            } else {
                self.clear(at, &shells).await;
            }
        }
    }

    pub(super) async fn clear(&mut self, at: usize, shells: &[UserKey]) {
        if self.shared.input.options.check {
            return;
        }
        let (id, _) = handler_id(&self.shared, &self.play, at);
        for user in shells {
            if self.has_shell(user).await {
                let frame = unanswered(Verb::Clear(vec![id.clone()]));
                // If this is lost, the handler runs once more, which is the safe side.
                let _sent = self.fly(user, &[frame]).await;
            }
        }
    }
}

fn unanswered(verb: Verb) -> Frame {
    Frame { seq: 0, verb, libraries: Vec::new(), limit: std::time::Duration::from_secs(30) }
}
