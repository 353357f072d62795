//! The walker's side of the conversation with a host: login, shells, questions and facts.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use super::facts;
use super::prepare::unbound;
use super::scope::facts_layer;
use super::step::{self, UserKey};
use super::Shared;
use super::together::arranged;
use super::walk::{Decided, Halt, Walker, Work, stopping};
use crate::event::{Event, Outcome, Piece, Room};
use crate::module::Question;
use crate::shell::Script;
use crate::playbook::{Body, Task};
use crate::remote::{Frame, FrameResult, HostFailure, Link, Listener, Shell, Stop, Verb, back_off};
use crate::template::Filled;

/// How often, and at which distance, a channel is asked for again after the room for it has been made.
const ROOM_TRIES: usize = 10;
const ROOM_PAUSE: Duration = Duration::from_millis(100);

/// Tells what the commands of a host print, as fast as it can be shown.
struct Ear {
    host: String,
    shared: Arc<Shared>,
}

impl Listener for Ear {
    fn hear(&mut self, is_stderr: bool, bytes: Vec<u8>) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            // It is never closed.
            let Ok(held) = self.shared.room.clone().acquire_many_owned(size).await else { return };
            let piece = Piece { host: self.host.clone(), is_stderr, bytes, room: Room(Arc::new(held)) };
            let _heard = self.shared.events.send(Event::Output(Box::new(piece)).without_hidden());
        })
    }
}

impl Walker {
    /// A task at the front that is none of a module's, or that waits for facts.
    pub(super) async fn flow_control(&mut self) -> Result<(), Halt> {
        let Some(Work::Task(bound)) = self.todo.front() else { return Ok(()) };
        let task = bound.task.clone();
        match &task.body {
            Body::FlushHandlers => {
                self.todo.pop_front();
                if self.applies(&task).await? {
                    let rest = std::mem::take(&mut self.todo);
                    let ran = Box::pin(self.run_handlers()).await;
                    self.todo = rest;
                    ran?;
                }
                Ok(())
            }
            Body::EndPlay => {
                self.todo.pop_front();
                if self.applies(&task).await? { Err(Halt::EndPlay) } else { Ok(()) }
            }
            Body::ResetConnection => {
                self.todo.pop_front();
                if self.applies(&task).await? {
                    self.hang_up().await;
                }
                Ok(())
            }
            Body::ClearFacts => {
                self.todo.pop_front();
                if self.applies(&task).await? {
                    self.forget_facts(|_| true);
                }
                Ok(())
            }
            _ => self.gather_for_front().await,
        }
    }

    /// Gives the lock back and closes the connection. What comes next logs in anew.
    pub(super) async fn hang_up(&mut self) {
        self.release().await;
        for shell in std::mem::take(&mut self.shells).into_values() {
            shell.close().await;
        }
        if let Some(link) = self.link.take() {
            link.close().await;
        }
        // The shells that remembered the answers are gone.
        self.forget_answers(0);
    }

    /// Facts that are to be asked for again.
    pub(super) fn forget_facts(&mut self, is_old: impl Fn(&str) -> bool) {
        self.facts.retain(|name, _| !is_old(name));
        self.facts_layer = Arc::new(facts_layer(&self.facts));
    }

    /// Whether the conditions of a task that is no step hold; facts that they need are gathered first.
    pub(super) async fn applies(&mut self, task: &Arc<Task>) -> Result<bool, Halt> {
        for _ in 0..2 {
            let bound = unbound(task.clone(), false);
            match step::all_hold(&self.scope(&bound, Vec::new()), &task.when) {
                Ok(Filled::Now(holds)) => return Ok(holds),
                Ok(Filled::Later(later)) => {
                    self.want_facts(&later);
                    self.gather().await?;
                }
                Err((node, trouble)) => {
                    let name = step::shown_name(&self.scope(&bound, Vec::new()), task);
                    let message = format!("{} ({})", trouble.message, self.place(&node));
                    self.settle_decided(Decided { bound, name, outcome: Outcome::Failed, message })?;
                    return Ok(false);
                }
            }
        }
        Ok(false)
    }

    pub(super) async fn gather_for_front(&mut self) -> Result<(), Halt> {
        let Some(Work::Task(bound)) = self.todo.front() else { return Ok(()) };
        let bound = bound.clone();
        if self.collectors().is_empty() {
            // Nothing more can become known, so what it asks for is not there.
            let name = step::shown_name(&self.scope(&bound, Vec::new()), &bound.task);
            let message = "it depends on the result of a task that has not run".to_owned();
            self.todo.pop_front();
            let outcome = if self.shared.input.options.check { Outcome::Pending } else { Outcome::Failed };
            return self.settle_decided(Decided { bound, name, outcome, message });
        }
        self.gather().await
    }

    /// Asks for the facts that are wanted and not there.
    pub(super) async fn gather(&mut self) -> Result<(), Halt> {
        let wanted = self.collectors();
        if wanted.is_empty() {
            return Ok(());
        }
        let frame = self.facts_frame(&wanted);
        self.shell(&None, std::slice::from_ref(&frame)).await?;
        let results = self.fly(&None, &[frame]).await?;
        self.take_facts(&wanted, results.into_iter().next())
    }

    pub(super) fn facts_frame(&mut self, wanted: &[String]) -> Frame {
        Frame {
            seq: self.seq(),
            verb: Verb::Probe(facts::question(wanted)),
            libraries: vec![&facts::LIBRARY],
            limit: Duration::from_secs(60),
        }
    }

    pub(super) fn take_facts(&mut self, wanted: &[String], result: Option<FrameResult>) -> Result<(), Halt> {
        let answer = match result.map(|result| result.outcome) {
            Some(crate::remote::Outcome::Answered { stdout, .. }) => stdout,
            Some(crate::remote::Outcome::Unknown(failure)) => return Err(Halt::Host(failure)),
            _ => return Err(self.not_begun(&None)),
        };
        self.facts.extend(facts::read(wanted, &answer));
        self.facts_layer = Arc::new(facts_layer(&self.facts));
        Ok(())
    }

    /// Collectors that this play names and that have not been asked yet.
    pub(super) fn collectors(&self) -> Vec<String> {
        // Whoever works for another host has that one's facts.
        if self.for_host.is_some() {
            return Vec::new();
        }
        let named = &self.shared.named_facts[self.play.playbook][self.play.play];
        let all = named.contains("*") || self.wanted_facts.contains("*");
        facts::COLLECTORS
            .iter()
            .filter(|name| all || named.contains(**name) || self.wanted_facts.contains(**name))
            .filter(|name| !self.facts.contains_key(**name))
            .map(|name| (*name).to_owned())
            .collect()
    }

    /// Connects, unless that has been done. A server that has no room at the moment is given time.
    pub(super) async fn connect(&mut self) -> Result<(), Halt> {
        if self.link.is_some() {
            return Ok(());
        }
        let turn = match self.plan.target.method {
            crate::remote::Method::Ssh => self.shared.handshakes.permit(&self.plan.target).await,
            crate::remote::Method::Local => None,
        };
        let mut tries = 0;
        loop {
            let open = Link::open(&self.plan.target, &self.shared.input.reach);
            let opened = tokio::select! {
                opened = open => opened,
                () = stopping(self.stop.clone()) => return Err(Halt::Stopped),
            };
            match opened {
                Ok(mut link) => {
                    link.hold(turn);
                    self.link = Some(link);
                    return Ok(());
                }
                Err(failure) => match back_off(tries) {
                    Some(pause) if failure.may_pass() => {
                        tries += 1;
                        self.rest(pause).await?;
                    }
                    _ => return Err(Halt::Host(failure)),
                },
            }
        }
    }

    /// Opens the shell of a user, with probes that may travel along, or for a command of the user's alone.
    pub(super) async fn shell(&mut self, user: &UserKey, first: &[Frame]) -> Result<(), Halt> {
        if self.shells.get(user).is_some_and(Shell::is_open) {
            return Ok(());
        }
        self.connect().await?;
        if self.one_session {
            self.make_room().await;
        }
        let shell = match self.open_shell(user, first).await? {
            Err(HostFailure::Channel(_)) if !self.shells.is_empty() => {
                self.make_room().await;
                self.open_in_the_room(user, first).await?
            }
            Err(HostFailure::Channel(_)) if self.one_session => self.open_in_the_room(user, first).await?,
            opened => opened,
        };
        let shell = shell.map_err(Halt::Host)?;
        self.remember_pending(user, &shell.pending);
        self.shells.insert(user.clone(), shell);
        Ok(())
    }

    async fn open_shell(&mut self, user: &UserKey, first: &[Frame]) -> Result<Result<Shell, HostFailure>, Halt> {
        let Some(link) = &self.link else { return Err(Halt::Stopped) };
        let other = user.as_ref().map(|name| self.plan.become_as(name, &self.shared.input.options));
        // A piece may end amid something that is hidden.
        let is_live = self.shared.input.options.live && !crate::secret::is_any_hidden();
        let listener = is_live.then(|| Box::new(Ear { host: self.name.clone(), shared: self.shared.clone() }) as Box<dyn Listener>);
        let open = async {
            match first {
                [alone @ Frame { verb: Verb::Run(_), .. }] => Shell::open_for_one(link, alone, listener).await,
                _ => Shell::open_heard(link, other.as_ref(), first, listener).await,
            }
        };
        let mut open = std::pin::pin!(open);
        tokio::select! {
            shell = &mut open => return Ok(shell),
            () = stopping(self.stop.clone()) => {}
        }
        // A command of the user's that is on its way may run, so what becomes of it is waited for.
        let [Frame { verb: Verb::Run(_), .. }] = first else { return Err(Halt::Stopped) };
        if !link.has_sent() {
            return Err(Halt::Stopped);
        }
        let mut stop = self.stop.clone();
        tokio::select! {
            shell = open => Ok(shell),
            Ok(_) = stop.wait_for(|wanted| *wanted == Stop::Now) => Ok(Ok(Shell::in_doubt(&first[0], HostFailure::Interrupted))),
        }
    }

    /// A server frees the place of a session a little after it has ended.
    async fn open_in_the_room(&mut self, user: &UserKey, first: &[Frame]) -> Result<Result<Shell, HostFailure>, Halt> {
        let mut opened = self.open_shell(user, first).await?;
        for _ in 0..ROOM_TRIES {
            if !matches!(opened, Err(HostFailure::Channel(_))) {
                break;
            }
            self.rest(ROOM_PAUSE).await?;
            opened = self.open_shell(user, first).await?;
        }
        Ok(opened)
    }

    /// Where the server allows a single session (`MaxSessions 1`), the shells that are open make room for the next
    /// channel. What their hosts have answered is forgotten with them, and asked again.
    async fn make_room(&mut self) {
        self.one_session = true;
        for shell in std::mem::take(&mut self.shells).into_values() {
            shell.close().await;
        }
        for work in &mut self.todo {
            if let Work::Ready(ready) = work
                && matches!(ready.question, Question::Ask(_))
            {
                ready.answer = None;
            }
        }
    }

    /// Sends frames to the shell of a user, which is open.
    pub(super) async fn fly(&mut self, user: &UserKey, frames: &[Frame]) -> Result<Vec<FrameResult>, Halt> {
        self.fly_arranged(user, &arranged(frames)).await
    }

    /// The same with frames that [`arranged`] has been over. Those that are about others have no result.
    async fn fly_arranged(&mut self, user: &UserKey, frames: &[Frame]) -> Result<Vec<FrameResult>, Halt> {
        let Some(shell) = self.shells.get_mut(user) else { return Err(Halt::Stopped) };
        let results = shell.flight(frames, &mut self.stop).await;
        Ok(results.into_iter().zip(frames).filter(|(_, frame)| !frame.is_about_others()).map(|(result, _)| result).collect())
    }

    /// Why the shell of a user did not begin what it was sent.
    pub(super) fn not_begun(&self, user: &UserKey) -> Halt {
        match self.shells.get(user).and_then(Shell::failure) {
            Some(failure) if !matches!(failure, HostFailure::Interrupted) => Halt::Host(failure.clone()),
            _ => Halt::Stopped,
        }
    }

    /// Before bytes are sent ahead of a change: takes the lock, and has the host remove them in the end if nothing has
    /// moved them to their place, whoever may be there then.
    pub(super) async fn announce_upload(&mut self, user: &UserKey, path: &[u8]) -> Result<(), Halt> {
        self.uploads.push((user.clone(), path.to_owned()));
        self.fly_locked(user, Vec::new()).await.map(|_| ())
    }

    /// Sends bytes over a channel of their own. `true` when the shells had to make room for it, so that what the
    /// host has answered is to be asked again.
    pub(super) async fn upload(&mut self, user: &UserKey, upload: &crate::module::Upload, limit: Duration) -> Result<bool, HostFailure> {
        match self.send_bytes(user, upload, limit).await {
            Err(HostFailure::Channel(_)) if !self.shells.is_empty() => {}
            sent => return sent.map(|()| false),
        }
        self.make_room().await;
        let mut sent = self.send_bytes(user, upload, limit).await;
        for _ in 0..ROOM_TRIES {
            if !matches!(sent, Err(HostFailure::Channel(_))) {
                break;
            }
            tokio::time::sleep(ROOM_PAUSE).await;
            sent = self.send_bytes(user, upload, limit).await;
        }
        sent.map(|()| true)
    }

    async fn send_bytes(&self, user: &UserKey, upload: &crate::module::Upload, limit: Duration) -> Result<(), HostFailure> {
        let Some(link) = &self.link else { return Err(HostFailure::Lost("not connected".into())) };
        let other = user.as_ref().map(|name| self.plan.become_as(name, &self.shared.input.options));
        let content = Arc::clone(&upload.content);
        let sending = async {
            let mut stop = std::pin::pin!(stopping(self.stop.clone()));
            if let Some(old) = &upload.old {
                let shared = Arc::clone(&content);
                let _worked_out = tokio::task::spawn_blocking(move || shared.blocks().len()).await;
                let compared = crate::remote::Compared { held: content.held(), sha256: content.sha256(), block_bytes: content.block_bytes(), blocks: content.blocks() };
                if crate::remote::upload_over(link, other.as_ref(), &upload.path, compared, old, &mut stop).await? {
                    return Ok(());
                }
            }
            let mut packed = None;
            if link.is_far().await {
                let shared = Arc::clone(&content);
                let _worked_out = tokio::task::spawn_blocking(move || shared.packed().is_some()).await;
                packed = content.packed();
            }
            crate::remote::upload(link, other.as_ref(), &upload.path, content.held(), packed, stop).await
        };
        match tokio::time::timeout(limit, sending).await {
            Ok(sent) => sent,
            Err(_) => Err(HostFailure::Upload(format!("the content was not there within {} s", limit.as_secs()))),
        }
    }

    /// Asks every question that has no good answer yet: one round trip, to all users' shells at once.
    pub(super) async fn ask(&mut self) -> Result<(), Halt> {
        let mut users = self.users_to_ask();
        if self.one_session {
            // The next user's shell would take this one's answers with it.
            users.truncate(1);
        }
        let collectors = self.collectors();
        for (order, user) in users.iter().enumerate() {
            let with_facts = if order == 0 { collectors.clone() } else { Vec::new() };
            self.ask_as(user, &with_facts).await?;
        }
        Ok(())
    }

    pub(super) fn users_to_ask(&self) -> Vec<UserKey> {
        let mut users: IndexMap<UserKey, ()> = IndexMap::new();
        for work in &self.todo {
            match work {
                Work::Ready(ready) if ready.answer.is_none() && !matches!(ready.question, Question::None) => {
                    users.insert(ready.user.clone(), ());
                }
                Work::Ready(_) | Work::Decided(_) | Work::LoopEnd { .. } => {}
                Work::Task(_) | Work::Leave(_) | Work::Parting(_) | Work::Delegated { .. } => break,
            }
        }
        users.into_keys().collect()
    }

    /// Whether the host has nothing to do but one command of the user's as the login user, and nothing can follow from it: then the command may
    /// be all that the session is. Where that is wrong, it costs no more than another shell.
    fn is_all(&self, user: &UserKey, frames: &[Frame]) -> bool {
        let is_command = user.is_none() && matches!(frames, [Frame { verb: Verb::Run(_), .. }]);
        let is_last = |work: &Work| matches!(work, Work::Ready(ready) if ready.bound.task.until.is_none());
        let plays: usize = self.shared.input.playbooks.iter().map(|book| book.plays.len()).sum();
        let is_only_play = plays == 1 && self.play.of(&self.shared).handlers.is_empty() && !self.has_gate();
        is_command && is_only_play && self.todo.len() == 1 && self.todo.front().is_some_and(is_last) && self.for_host.is_none() && self.shells.is_empty()
    }

    pub(super) async fn ask_as(&mut self, user: &UserKey, collectors: &[String]) -> Result<(), Halt> {
        let facts_seq = self.seq();
        let mut frames = Vec::new();
        let mut steps = Vec::new();
        // Questions that are asked once for several steps: which one it is, and the place and the number of the other step.
        let mut asked: HashMap<&Script, usize> = HashMap::new();
        let mut alike = Vec::new();
        if !collectors.is_empty() {
            let mut frame = self.facts_frame(collectors);
            frame.seq = facts_seq;
            frames.push(frame);
        }
        for (at, work) in self.todo.iter().enumerate() {
            match work {
                Work::Ready(ready) if ready.answer.is_none() && ready.user == *user => {
                    if let Question::Ask(script) = &ready.question
                        && let Some(&question) = asked.get(script)
                    {
                        // It has been asked already.
                        alike.push((question, at, ready.seq));
                    } else if let Some(frame) = super::commit::question_frame(ready) {
                        if let Question::Ask(script) = &ready.question {
                            asked.insert(script, steps.len());
                        }
                        frames.push(frame);
                        steps.push(at);
                    }
                }
                Work::Ready(_) | Work::Decided(_) | Work::LoopEnd { .. } => {}
                Work::Task(_) | Work::Leave(_) | Work::Parting(_) | Work::Delegated { .. } => break,
            }
        }
        if frames.is_empty() {
            return Ok(());
        }
        // What goes along with the opening is seen in the host's list of processes, so no text of the user's does.
        let facts = frames.len() - steps.len();
        let holds_hidden = |question: &Question| matches!(question, Question::Ask(script) | Question::Run(script) if crate::secret::holds_hidden(script.as_bytes()));
        let shows_all = |at: &usize| !matches!(&self.todo[*at], Work::Ready(ready) if ready.no_log || ready.act.has_secret() || ready.module.runs_user_text || holds_hidden(&ready.question));
        let first = facts + steps.iter().take_while(|at| shows_all(at)).count();
        let first = frames[..first].iter().take_while(|frame| matches!(frame.verb, Verb::Probe(_))).count();
        let mut flight = arranged(&frames[..first]);
        let is_all = self.is_all(user, &frames);
        self.shell(user, if is_all { &frames } else { &flight }).await?;
        flight.extend(arranged(&frames[first..]));
        flight.extend(alike.iter().map(|&(question, _, seq)| Frame { seq, verb: Verb::Like(frames[facts + question].seq), libraries: Vec::new(), limit: Duration::from_secs(60) }));
        let results = self.fly_arranged(user, &flight).await?;
        if is_all && self.shells.get(user).is_some_and(|shell| !shell.is_open() && shell.failure().is_none()) {
            // Whatever there may be to do yet, a new one does.
            self.shells.remove(user);
        }
        let mut results = results.into_iter();
        if !collectors.is_empty() {
            self.take_facts(collectors, results.next())?;
        }
        let results: Vec<FrameResult> = results.collect();
        for (&at, result) in steps.iter().zip(&results) {
            self.take_answer(at, result.clone())?;
        }
        for (question, at, _) in alike {
            if let Some(result) = results.get(question) {
                self.take_answer(at, result.clone())?;
            }
        }
        Ok(())
    }
}
