//! Takes down a run while it happens. Intents are on the disk before the host hears of them; all that comes in
//! together is written together, so that many hosts share one `fsync`.

use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use anyhow::{Result, anyhow};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use serde_json::json;
use sha2::Digest as _;
use tokio::sync::oneshot;

use super::{Run, schema};
use crate::event::{Event, HostEnd, Intent, Memory, Outcome, RunEnd, Step, Totals};

/// What is known of a run when it begins.
pub type Opening = Run;

enum Order {
    Begin(Box<Opening>),
    Intend(Vec<Intent>, oneshot::Sender<Result<(), String>>),
    Event(Box<Event>),
}

/// The journal, open for one run.
pub struct Journal {
    orders: Mutex<Option<Sender<Order>>>,
    thread: Mutex<Option<JoinHandle<Result<(), String>>>>,
}

impl Journal {
    /// Opens the journal for a run, and takes down that it begins.
    ///
    /// # Errors
    /// Why it cannot be used; then nothing may be changed.
    pub fn begin(path: &Path, run: Opening) -> Result<Self> {
        let mut connection = schema::open(path)?;
        let (orders, incoming) = channel();
        let id = run.id.clone();
        write(&mut connection, &id, vec![Order::Begin(Box::new(run))]).map_err(|reason| anyhow!(reason))?;
        let thread = std::thread::spawn(move || keep(connection, &id, &incoming));
        Ok(Self { orders: Mutex::new(Some(orders)), thread: Mutex::new(Some(thread)) })
    }

    /// Takes down what has happened; it is on the disk soon, and at the latest when the run ends.
    pub fn take(&self, event: &Event) {
        let is_kept = match event {
            Event::Step(_) | Event::HostEnd(_) | Event::RunEnd(_) => true,
            Event::RunStart(_) | Event::Batch { .. } | Event::HostStart { .. } | Event::Output(_) => false,
        };
        if is_kept {
            // A journal that has failed says so at the end.
            let _heard = self.send(Order::Event(Box::new(event.clone())));
        }
    }

    fn send(&self, order: Order) -> Result<(), String> {
        let orders = self.orders.lock().expect("nothing panics while it holds this lock");
        let gone = || "the journal has failed before".to_owned();
        orders.as_ref().ok_or_else(gone)?.send(order).map_err(|_| gone())
    }

    /// Waits until everything is on the disk.
    ///
    /// # Errors
    /// What could not be written.
    pub fn close(&self) -> Result<()> {
        drop(self.orders.lock().expect("nothing panics while it holds this lock").take());
        let thread = self.thread.lock().expect("nothing panics while it holds this lock").take();
        match thread.map(JoinHandle::join) {
            Some(Ok(Err(reason))) => Err(anyhow!(reason)),
            Some(Err(_)) => Err(anyhow!("the journal's thread has ended by itself")),
            Some(Ok(Ok(()))) | None => Ok(()),
        }
    }
}

impl Memory for Journal {
    fn intend(&self, intents: Vec<Intent>) -> std::pin::Pin<Box<dyn Future<Output = Result<()>> + Send + '_>> {
        let (reply, answer) = oneshot::channel();
        let sent = self.send(Order::Intend(intents, reply));
        Box::pin(async move {
            sent.map_err(|reason| anyhow!(reason))?;
            answer.await.map_err(|_| anyhow!("the journal has failed before"))?.map_err(|reason| anyhow!(reason))
        })
    }
}

/// Writes until nobody sends any more, or something cannot be written.
fn keep(mut connection: Connection, run: &str, incoming: &Receiver<Order>) -> Result<(), String> {
    while let Ok(first) = incoming.recv() {
        let mut orders = vec![first];
        while let Ok(more) = incoming.try_recv() {
            orders.push(more);
        }
        write(&mut connection, run, orders)?;
    }
    Ok(())
}

/// Writes orders in one transaction, and tells those who wait.
fn write(connection: &mut Connection, run: &str, orders: Vec<Order>) -> Result<(), String> {
    let mut waiting = Vec::new();
    let written = (|| -> Result<()> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for order in orders {
            match order {
                Order::Begin(run) => begin(&transaction, &run)?,
                Order::Intend(intents, reply) => {
                    waiting.push(reply);
                    intents.iter().try_for_each(|intent| intend(&transaction, run, intent))?;
                }
                Order::Event(event) => match *event {
                    Event::Step(step) => step_ended(&transaction, run, &step)?,
                    Event::HostEnd(end) => host_ended(&transaction, run, &end)?,
                    Event::RunEnd(end) => run_ended(&transaction, run, &end)?,
                    Event::RunStart(_) | Event::Batch { .. } | Event::HostStart { .. } | Event::Output(_) => {}
                },
            }
        }
        transaction.commit()?;
        Ok(())
    })();
    let result = written.map_err(|error| format!("{error:#}"));
    for reply in waiting {
        // Whoever has given up waiting changes nothing.
        let _heard = reply.send(result.clone());
    }
    result
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}

fn begin(transaction: &Transaction<'_>, run: &Run) -> Result<()> {
    transaction.execute("INSERT INTO runs (id, facts) VALUES (?1, ?2)", params![run.id, serde_json::to_string(run)?])?;
    Ok(())
}

fn intend(transaction: &Transaction<'_>, run: &str, intent: &Intent) -> Result<()> {
    let mut facts = json!({
        "task": intent.task, "module": intent.module, "file": intent.file, "line": intent.line, "item": intent.item,
    });
    if let Some(host) = &intent.for_host {
        facts["for"] = host.as_str().into();
    }
    // What is judged anew after a conflict is intended again.
    transaction.prepare_cached("INSERT OR IGNORE INTO steps (run, host, seq, time, outcome, facts, record) VALUES (?1, ?2, ?3, ?4, 'intended', ?5, ?6)")?.execute(
        params![run, intent.host, intent.seq, now(), facts.to_string(), serde_json::to_string(&intent.draft)?],
    )?;
    Ok(())
}

fn step_ended(transaction: &Transaction<'_>, run: &str, step: &Step) -> Result<()> {
    let mut facts = json!({
        "play": step.play, "task": step.task, "module": step.module, "file": step.file, "line": step.line, "item": step.item,
        "message": step.message, "diff": step.diff, "status": step.status, "seconds": step.time.as_secs_f64(),
        "handler": step.is_handler, "ignored": step.forgiven,
    });
    if let Some(drift) = step.data.get("drift") {
        facts["drift"] = drift.clone();
    }
    if step.delegated_to.is_some() {
        facts["for"] = step.host.as_str().into();
    }
    let facts = facts.to_string();
    // The change is where it was made.
    let host = step.delegated_to.as_ref().unwrap_or(&step.host);
    let record = step.record.as_ref().map(serde_json::to_string).transpose()?;
    let outcome = step.outcome.name();
    if let (Some(undone), Outcome::Changed) = (step.undoes, step.outcome) {
        transaction.prepare_cached("UPDATE steps SET undone_by = ?1 WHERE run = ?1 AND host = ?2 AND seq = ?3")?.execute(params![run, host, undone])?;
    }
    if step.seq > 0 {
        let known = transaction
            .prepare_cached("UPDATE steps SET outcome = ?4, facts = ?5, record = coalesce(?6, CASE ?4 WHEN 'unknown' THEN record END), time = ?7 WHERE run = ?1 AND host = ?2 AND seq = ?3")?
            .execute(params![run, host, step.seq, outcome, facts, record, now()])?;
        if known > 0 {
            return Ok(());
        }
    }
    // What was in place is no news.
    if matches!(step.outcome, Outcome::Ok | Outcome::Skipped) && !step.forgiven {
        return Ok(());
    }
    transaction.prepare_cached("INSERT INTO steps (run, host, seq, time, outcome, facts, record) VALUES (?1, ?2, 0, ?3, ?4, ?5, ?6)")?.execute(
        params![run, host, now(), outcome, facts, record],
    )?;
    Ok(())
}

/// Totals by name, in the order of the recap.
fn named(totals: &Totals) -> serde_json::Value {
    Outcome::ALL.iter().filter_map(|outcome| totals.get(outcome).map(|&count| (outcome.name().to_owned(), count.into()))).collect::<serde_json::Map<_, _>>().into()
}

fn host_ended(transaction: &Transaction<'_>, run: &str, end: &HostEnd) -> Result<()> {
    // What was intended and is not told of was never begun: what was sent when contact was lost is told of as unknown.
    transaction.execute("UPDATE steps SET outcome = 'cancelled', record = NULL WHERE run = ?1 AND host = ?2 AND outcome = 'intended' AND seq < ?3", params![run, end.host, crate::event::LENT])?;
    transaction.execute("UPDATE steps SET outcome = 'cancelled', record = NULL WHERE run = ?1 AND outcome = 'intended' AND seq >= ?3 AND json_extract(facts, '$.for') = ?2", params![run, end.host, crate::event::LENT])?;
    transaction.execute(
        "INSERT OR REPLACE INTO hosts (run, host, outcome, message, totals) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![run, end.host, end.outcome.name(), end.message, named(&end.totals).to_string()],
    )?;
    Ok(())
}

fn run_ended(transaction: &Transaction<'_>, run: &str, end: &RunEnd) -> Result<()> {
    transaction.execute(
        "UPDATE runs SET ended = ?2, exit = ?3, seconds = ?4, totals = ?5 WHERE id = ?1",
        params![run, now(), end.exit, end.time.as_secs_f64(), named(&end.totals).to_string()],
    )?;
    seal(transaction, run)
}

/// Adds a run to the chain: from now on it cannot be changed without a trace.
pub(super) fn seal(transaction: &Transaction<'_>, run: &str) -> Result<()> {
    let last: Option<(i64, String)> = transaction
        .query_row("SELECT sealed, chain FROM runs WHERE sealed IS NOT NULL ORDER BY sealed DESC LIMIT 1", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (place, before) = last.unwrap_or((0, String::new()));
    let chain = link(transaction, run, &before)?;
    transaction.execute("UPDATE runs SET sealed = ?2, chain = ?3 WHERE id = ?1", params![run, place + 1, chain])?;
    Ok(())
}

/// The chain after a run: over what is remembered of it, but for which run has undone its steps, as that comes later.
pub(super) fn link(connection: &Connection, run: &str, before: &str) -> Result<String> {
    let mut digest = sha2::Sha256::new();
    digest.update(before);
    let mut add = |query: &str| -> Result<()> {
        let mut statement = connection.prepare(query)?;
        let columns = statement.column_count();
        let mut rows = statement.query([run])?;
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                let text: Option<String> = row.get::<_, rusqlite::types::Value>(column).map(|value| match value {
                    rusqlite::types::Value::Null => None,
                    rusqlite::types::Value::Integer(number) => Some(number.to_string()),
                    rusqlite::types::Value::Real(number) => Some(number.to_string()),
                    rusqlite::types::Value::Text(text) => Some(text),
                    rusqlite::types::Value::Blob(_) => None,
                })?;
                digest.update(text.as_ref().map_or_else(|| "-".to_owned(), |text| format!("{}:{text}", text.len())));
            }
            digest.update("\n");
        }
        Ok(())
    };
    add("SELECT id, facts, ended, exit, seconds, totals FROM runs WHERE id = ?1")?;
    add("SELECT host, outcome, message, totals FROM hosts WHERE run = ?1 ORDER BY host")?;
    add("SELECT number, host, seq, time, outcome, facts, record FROM steps WHERE run = ?1 ORDER BY number")?;
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
