//! Takes down a run while it happens. Intents are on the disk before the host hears of them; all that comes in
//! together is written together, so that many hosts share one `fsync`.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::json;
use sha2::Digest as _;
use tokio::sync::oneshot;

use super::lite::Lite;
use super::place::Place;
use super::postgres::Postgres;
use super::store::{Row, Statement, Store, Value, values};
use super::{Run, archive};
use crate::event::{Event, HostEnd, Intent, LENT, Memory, Outcome, RunEnd, Step, Totals};
use crate::inventory::Shard;

/// What is known of a run when it begins.
#[derive(Clone, Debug)]
pub struct Opening {
    pub run: Run,
    /// The part of the run that this process makes, and who that is.
    pub shard: Shard,
    pub who: String,
    /// Files that are the same for all parts, with their SHA-256.
    pub shared_files: Vec<(String, String)>,
}

enum Order {
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
    /// Why it cannot be used, or why the run cannot begin; then nothing may be changed.
    pub fn begin(place: &Place, opening: Opening) -> Result<Self> {
        let store = open(place, true)?.context("there is no journal")?;
        let (id, shard) = (opening.run.id.clone(), opening.shard);
        if let Store::Postgres(postgres) = &store
            && !postgres.claim(&claim(&id, shard.number))?
        {
            bail!("{} is under way at this moment, as the journal knows; give this run another name with `--run-id`", named(&id, shard));
        }
        store.transaction(|store| begin(store, &opening))?;
        let (orders, incoming) = channel();
        let thread = std::thread::spawn(move || keep(&store, &id, shard, &incoming));
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

/// Opens the database of a journal. Without `make` nothing is made where there is none yet, and nothing comes back then.
pub(super) fn open(place: &Place, make: bool) -> Result<Option<Store>> {
    match place {
        Place::File(path) if !make && !path.exists() => Ok(None),
        Place::File(path) => Ok(Some(Store::Lite(Lite::open(path)?))),
        Place::Postgres(server) => Ok(Postgres::open(server, make)?.map(|postgres| Store::Postgres(Box::new(postgres)))),
    }
}

/// By what others see that a part of a run is under way.
pub(super) fn claim(run: &str, number: u32) -> String {
    format!("mutate run {run} shard {number}")
}

/// A part of a run, in a sentence.
fn named(run: &str, shard: Shard) -> String {
    if shard == Shard::WHOLE { format!("the run {run}") } else { format!("shard {shard} of the run {run}") }
}

/// Writes until nobody sends any more, or something cannot be written.
fn keep(store: &Store, run: &str, shard: Shard, incoming: &Receiver<Order>) -> Result<(), String> {
    while let Ok(first) = incoming.recv() {
        let mut orders = vec![first];
        while let Ok(more) = incoming.try_recv() {
            orders.push(more);
        }
        write(store, run, shard, orders)?;
    }
    Ok(())
}

/// Writes orders in one transaction, and tells those who wait.
fn write(store: &Store, run: &str, shard: Shard, orders: Vec<Order>) -> Result<(), String> {
    let mut waiting = Vec::new();
    let written = (|| -> Result<()> {
        let (mut statements, mut ended) = (Vec::new(), None);
        for order in orders {
            match order {
                Order::Intend(intents, reply) => {
                    waiting.push(reply);
                    for intent in &intents {
                        statements.push(intend(run, intent)?);
                    }
                }
                Order::Event(event) => match *event {
                    Event::Step(step) => step_ended(run, &step, &mut statements)?,
                    Event::HostEnd(end) => host_ended(run, &end, &mut statements),
                    Event::RunEnd(end) => ended = Some(end),
                    Event::RunStart(_) | Event::Batch { .. } | Event::HostStart { .. } | Event::Output(_) => {}
                },
            }
        }
        let Some(end) = ended else { return store.commit_all(&statements) };
        store.transaction(|store| {
            store.execute_all(&statements)?;
            run_ended(store, run, shard, &end)
        })
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

/// Takes down that a part of a run begins. Each begins once: what it has left behind is continued by another run.
fn begin(store: &Store, opening: &Opening) -> Result<()> {
    let Opening { run, shard, who, shared_files } = opening;
    // Nobody closes the run meanwhile.
    store.alone()?;
    let is_first = store.execute(
        "INSERT INTO runs (id, facts, command, shards) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id) DO NOTHING",
        &values![&run.id, serde_json::to_string(run)?, &run.command, shard.of],
    )? > 0;
    let part = named(&run.id, *shard);
    if !is_first {
        let row = store.first("SELECT facts, shards, ended FROM runs WHERE id = ?1", &values![&run.id])?.context("the journal has lost the run")?;
        let known: Run = serde_json::from_str(&row.text(0)?)?;
        let of = row.integer(1)?;
        if let Some(begun) = store.first("SELECT who, started, ended, exit FROM shards WHERE run = ?1 AND number = ?2", &values![&run.id, shard.number])?
            && of == i64::from(shard.of)
        {
            let end = begun.maybe_integer(3)?.map_or_else(|| "has not ended".to_owned(), |exit| format!("ended with {exit}"));
            bail!(
                "{part} is in the journal already: it was begun at {} by {}, and {end}; nothing was done now. `mutate resume {}` continues a run that did not get to its end; another one needs another name (`--run-id`)",
                begun.text(1)?,
                begun.text(0)?,
                run.id
            );
        }
        let other = "; all parts of a run are made by the same command, so this one needs another name (`--run-id`)";
        if of != i64::from(shard.of) {
            bail!("{part} cannot begin: the run in the journal has {of} parts, not {}{other}", shard.of);
        }
        if known.command != run.command {
            bail!("{part} cannot begin: the run in the journal is one of `{}`, not of `{}`{other}", known.command, run.command);
        }
        if row.maybe_text(2)?.is_some() {
            bail!("{part} cannot begin: the run in the journal has been closed, by `mutate resolve` or since older versions know nothing of parts{other}");
        }
        if let Some((name, _)) = shared_files.iter().find(|(name, hash)| known.files.iter().any(|(known, before)| known == name && before != hash)) {
            bail!("{part} cannot begin: `{name}` is not what it was for the first part of the run; give every machine the same files, or this run another name (`--run-id`)");
        }
    }
    store.execute(
        "INSERT INTO shards (run, number, who, arguments, started) VALUES (?1, ?2, ?3, ?4, ?5)",
        &values![&run.id, shard.number, who, serde_json::to_string(&run.arguments)?, &run.started],
    )?;
    Ok(())
}

fn intend(run: &str, intent: &Intent) -> Result<Statement> {
    let mut facts = json!({
        "task": intent.task, "module": intent.module, "file": intent.file, "line": intent.line, "item": intent.item,
    });
    if let Some(host) = &intent.for_host {
        facts["for"] = host.as_str().into();
    }
    // What is judged anew after a conflict is intended again.
    let sql = "INSERT INTO steps (run, host, seq, time, outcome, facts, record, for_host) VALUES (?1, ?2, ?3, ?4, 'intended', ?5, ?6, ?7) ON CONFLICT DO NOTHING";
    Ok(Statement { sql, values: values![run, &intent.host, intent.seq, now(), facts.to_string(), serde_json::to_string(&intent.draft)?, intent.for_host.as_ref()].into() })
}

fn step_ended(run: &str, step: &Step, statements: &mut Vec<Statement>) -> Result<()> {
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
    let for_host = step.delegated_to.as_ref().map(|_| &step.host);
    let record = step.record.as_ref().map(serde_json::to_string).transpose()?;
    let outcome = step.outcome.name();
    // `seq > 0` lets the index of these numbers be used, so that a run of many hosts is not gone through for each of them.
    if let (Some(undone), Outcome::Changed) = (step.undoes, step.outcome) {
        let sql = "UPDATE steps SET undone_by = ?1 WHERE run = ?1 AND host = ?2 AND seq = ?3 AND seq > 0";
        statements.push(Statement { sql, values: values![run, host, undone].into() });
    }
    if step.seq > 0 {
        let sql = "UPDATE steps SET outcome = ?4, facts = ?5, record = coalesce(?6, CASE ?4 WHEN 'unknown' THEN record END), time = ?7, for_host = ?8 WHERE run = ?1 AND host = ?2 AND seq = ?3 AND seq > 0";
        statements.push(Statement { sql, values: values![run, host, step.seq, outcome, &facts, record.clone(), now(), for_host].into() });
    }
    // What was in place is no news.
    if matches!(step.outcome, Outcome::Ok | Outcome::Skipped) && !step.forgiven {
        return Ok(());
    }
    let sql = "INSERT INTO steps (run, host, seq, time, outcome, facts, record, for_host) \
        SELECT CAST(?1 AS TEXT), CAST(?2 AS TEXT), 0, CAST(?4 AS TEXT), CAST(?5 AS TEXT), CAST(?6 AS TEXT), CAST(?7 AS TEXT), CAST(?8 AS TEXT) \
        WHERE NOT EXISTS (SELECT 1 FROM steps WHERE run = ?1 AND host = ?2 AND seq = ?3 AND seq > 0)";
    statements.push(Statement { sql, values: values![run, host, step.seq, now(), outcome, facts, record, for_host].into() });
    Ok(())
}

/// Totals by name, in the order of the recap.
fn by_name(totals: &Totals) -> serde_json::Map<String, serde_json::Value> {
    Outcome::ALL.iter().filter_map(|outcome| totals.get(outcome).map(|&count| (outcome.name().to_owned(), count.into()))).collect()
}

fn host_ended(run: &str, end: &HostEnd, statements: &mut Vec<Statement>) {
    // What was intended and is not told of was never begun: what was sent when contact was lost is told of as unknown.
    let own = "UPDATE steps SET outcome = 'cancelled', record = NULL WHERE run = ?1 AND host = ?2 AND outcome = 'intended' AND seq > 0 AND seq < ?3";
    let lent = "UPDATE steps SET outcome = 'cancelled', record = NULL WHERE run = ?1 AND for_host = ?2 AND outcome = 'intended' AND seq >= ?3";
    let ended = "INSERT INTO hosts (run, host, outcome, message, totals) VALUES (?1, ?2, ?3, ?4, ?5) \
        ON CONFLICT (run, host) DO UPDATE SET outcome = excluded.outcome, message = excluded.message, totals = excluded.totals";
    statements.push(Statement { sql: own, values: values![run, &end.host, LENT].into() });
    statements.push(Statement { sql: lent, values: values![run, &end.host, LENT].into() });
    statements.push(Statement { sql: ended, values: values![run, &end.host, end.outcome.name(), &end.message, json!(by_name(&end.totals)).to_string()].into() });
}

/// Takes down that a part has ended. With the last of them the run has: with the worst of their exit codes, and all that was
/// done in them together.
fn run_ended(store: &Store, run: &str, shard: Shard, end: &RunEnd) -> Result<()> {
    store.alone()?;
    let time = now();
    if store.first("SELECT id FROM runs WHERE id = ?1 AND ended IS NOT NULL", &values![run])?.is_some() {
        bail!("the run {run} has been closed by `mutate resolve` while {} was under way", named(run, shard));
    }
    store.execute(
        "UPDATE shards SET ended = ?3, exit = ?4, seconds = ?5, totals = ?6 WHERE run = ?1 AND number = ?2",
        &values![run, shard.number, &time, end.exit, end.time.as_secs_f64(), json!(by_name(&end.totals)).to_string()],
    )?;
    let parts = store.query("SELECT exit, seconds, totals FROM shards WHERE run = ?1 AND ended IS NOT NULL", &values![run])?;
    if parts.len() < usize::try_from(shard.of)? {
        return Ok(());
    }
    close(store, run, &time, &parts)
}

/// Ends a run by what its parts came to, and seals it.
pub(super) fn close(store: &Store, run: &str, time: &str, parts: &[Row]) -> Result<()> {
    let mut totals = Totals::new();
    let (mut exits, mut seconds) = (Vec::new(), 0.0_f64);
    for part in parts {
        exits.extend(part.maybe_integer(0)?);
        seconds = seconds.max(part.real(1)?);
        let counts: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&part.text(2)?)?;
        for outcome in Outcome::ALL {
            if let Some(count) = counts.get(outcome.name()).and_then(serde_json::Value::as_u64) {
                *totals.entry(outcome).or_default() += usize::try_from(count)?;
            }
        }
    }
    if parts.len() > 1 {
        // From the first beginning to the last end; no clock of another machine makes it shorter than its longest part.
        let row = store.first("SELECT facts FROM runs WHERE id = ?1", &values![run])?.context("the journal has lost the run")?;
        let began: Run = serde_json::from_str(&row.text(0)?)?;
        let whole = began.started.parse::<jiff::Timestamp>().ok().zip(time.parse::<jiff::Timestamp>().ok());
        seconds = whole.map_or(seconds, |(began, ended)| ended.duration_since(began).as_secs_f64().max(seconds));
    }
    store.execute(
        "UPDATE runs SET ended = ?2, exit = ?3, seconds = ?4, totals = ?5 WHERE id = ?1",
        &values![run, time, worst(&exits), seconds, json!(by_name(&totals)).to_string()],
    )?;
    seal(store, run)
}

/// The exit code of a run whose parts ended with these.
fn worst(exits: &[i64]) -> i64 {
    const ORDER: [i64; 8] = [130, 7, 6, 4, 5, 8, 9, 2];
    ORDER.into_iter().find(|code| exits.contains(code)).or_else(|| exits.iter().max().copied()).unwrap_or(0)
}

/// Adds a run to the chain: from now on it cannot be changed without a trace.
pub(super) fn seal(store: &Store, run: &str) -> Result<()> {
    let last = store.first("SELECT sealed, chain FROM runs WHERE sealed IS NOT NULL ORDER BY sealed DESC LIMIT 1", &[])?;
    let (place, before) = last.map_or(Ok((0, String::new())), |row| Ok::<_, anyhow::Error>((row.integer(0)?, row.text(1)?)))?;
    let chain = link(store, run, &before)?;
    store.execute("UPDATE runs SET sealed = ?2, chain = ?3 WHERE id = ?1", &values![run, place + 1, chain])?;
    Ok(())
}

/// The chain after a run: over what is remembered of it, but for which run has undone its steps, as that comes later.
pub(super) fn link(store: &Store, run: &str, before: &str) -> Result<String> {
    let mut digest = sha2::Sha256::new();
    digest.update(before);
    let mut add = |rows: &[Row]| {
        for row in rows {
            for column in &row.0 {
                let text = match column {
                    Value::Null => None,
                    Value::Integer(number) => Some(number.to_string()),
                    Value::Real(number) => Some(number.to_string()),
                    Value::Text(text) => Some(text.clone()),
                };
                digest.update(text.map_or_else(|| "-".to_owned(), |text| format!("{}:{text}", text.len())));
            }
            digest.update("\n");
        }
    };
    add(&store.query("SELECT id, facts, ended, exit, seconds, totals FROM runs WHERE id = ?1", &values![run])?);
    add(&store.query("SELECT host, outcome, message, totals FROM hosts WHERE run = ?1 ORDER BY host", &values![run])?);
    archive::paged(store, "SELECT number, host, seq, time, outcome, facts, record FROM steps WHERE run = ?1 AND number > ?2 ORDER BY number LIMIT ?3", run, |rows| {
        add(rows);
        Ok(())
    })?;
    add(&store.query("SELECT number, who, arguments, started, ended, exit, seconds, totals FROM shards WHERE run = ?1 ORDER BY number", &values![run])?);
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::worst;

    #[test]
    fn the_worst_exit_code_counts() {
        assert_eq!([&[0, 0][..], &[0, 2], &[4, 5], &[4, 7, 5], &[9, 130, 7], &[8, 9], &[], &[3]].map(worst), [0, 2, 4, 7, 130, 8, 0, 3]);
    }
}
