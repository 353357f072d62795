//! Questions about runs that are over.

use anyhow::{Context as _, Result, bail};

use super::place::Place;
use super::store::{Row, Store, Value, values};
use super::{Host, Part, Run, Settled, Step, keeper};

/// The journal, open for questions.
pub struct Archive {
    store: Store,
}

/// So many rows are read at a time.
const PAGE: i64 = 500;

/// Which runs are meant; what is not given fits all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub host: Option<String>,
    /// Part of the path of a playbook.
    pub playbook: Option<String>,
    /// Part of who ran it.
    pub who: Option<String>,
    /// Not before this time, in RFC 3339.
    pub since: Option<String>,
    pub limit: usize,
}

const STEP: &str = "SELECT number, run, host, seq, time, outcome, facts, record, undone_by, settled FROM steps";
const RUN: &str = "SELECT facts, ended, exit, seconds, totals, shards, number FROM runs";

/// Reads rows of a run a page at a time. The question's first column is the number by which it goes on; it takes the run, that
/// number, and how many.
pub(super) fn paged(store: &Store, sql: &str, run: &str, mut take: impl FnMut(&[Row]) -> Result<()>) -> Result<()> {
    let mut last = 0;
    loop {
        let rows = store.query(sql, &values![run, last, PAGE])?;
        take(&rows)?;
        match rows.last() {
            Some(row) if rows.len() >= usize::try_from(PAGE)? => last = row.integer(0)?,
            _ => return Ok(()),
        }
    }
}

impl Archive {
    /// Opens the journal.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn open(place: &Place) -> Result<Self> {
        Self::find(place)?.with_context(|| format!("there is no journal yet: {place} is made by the first `mutate apply`"))
    }

    /// Opens the journal, if there is one.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn find(place: &Place) -> Result<Option<Self>> {
        Ok(keeper::open(place, false)?.map(|store| Self { store }))
    }

    /// Runs, the newest first.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn runs(&self, filter: &Filter) -> Result<Vec<Run>> {
        let mut found = Vec::new();
        let mut last = i64::MAX;
        loop {
            let rows = self.store.query(&format!("{RUN} WHERE number < ?1 ORDER BY number DESC LIMIT ?2"), &values![last, PAGE])?;
            for row in &rows {
                last = row.integer(6)?;
                let run = run_of(row)?;
                let in_time = filter.since.as_ref().is_none_or(|since| run.started >= *since);
                let fits = in_time
                    && filter.who.as_ref().is_none_or(|who| run.who.contains(who.as_str()))
                    && filter.playbook.as_ref().is_none_or(|part| run.files.iter().any(|(path, _)| path.contains(part.as_str())))
                    && match &filter.host {
                        Some(host) => self.knows(&run.id, host)?,
                        None => true,
                    };
                if fits {
                    found.push(self.whole(run)?);
                }
                if found.len() >= filter.limit || !in_time {
                    return Ok(found);
                }
            }
            if rows.len() < usize::try_from(PAGE)? {
                return Ok(found);
            }
        }
    }

    /// With its parts, and with the ends that became known later in its totals. A run that was killed has none but these and
    /// its steps.
    fn whole(&self, mut run: Run) -> Result<Run> {
        if run.of_shards > 1 {
            let rows = self.store.query("SELECT number, who, started, ended, exit, seconds FROM shards WHERE run = ?1 ORDER BY number", &values![&run.id])?;
            let part = |row: &Row| -> Result<Part> {
                Ok(Part {
                    shard: format!("{}/{}", row.integer(0)?, run.of_shards),
                    who: row.text(1)?,
                    started: row.text(2)?,
                    ended: row.maybe_text(3)?,
                    exit: exit_of(row, 4)?,
                    seconds: row.real(5)?,
                })
            };
            run.shards = rows.iter().map(part).collect::<Result<_>>()?;
        }
        let was_killed = run.totals.is_empty();
        let condition = if was_killed { "" } else { " AND settled IS NOT NULL" };
        let sql = format!("SELECT number, outcome, settled FROM steps WHERE run = ?1 AND number > ?2{condition} ORDER BY number LIMIT ?3");
        let totals = &mut run.totals;
        paged(&self.store, &sql, &run.id, |rows| {
            for row in rows {
                let (told, settled) = (row.text(1)?, row.maybe_text(2)?);
                let now = settled.map(|text| serde_json::from_str::<Settled>(&text)).transpose()?.map_or_else(|| told.clone(), |settled| settled.outcome);
                if !was_killed {
                    count(totals, &told, -1);
                }
                count(totals, if now == "intended" { "unknown" } else { &now }, 1);
            }
            Ok(())
        })?;
        Ok(run)
    }

    fn knows(&self, run: &str, host: &str) -> Result<bool> {
        let known = |sql: &str| self.store.first(sql, &values![run, host]).map(|row| row.is_some());
        Ok(known("SELECT 1 FROM hosts WHERE run = ?1 AND host = ?2")? || known("SELECT 1 FROM steps WHERE run = ?1 AND host = ?2 LIMIT 1")?)
    }

    /// The run of this name, or the one whose name begins or ends like this.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn run(&self, start: &str) -> Result<Run> {
        let named = |condition: &str| self.store.query(&format!("{RUN} WHERE {condition} ORDER BY number DESC LIMIT 2"), &values![start]);
        let mut rows = named("id = ?1")?;
        if rows.is_empty() {
            rows = named("upper(id) = upper(?1)")?;
        }
        if rows.is_empty() {
            rows = named("upper(substr(id, 1, length(?1))) = upper(?1) OR upper(substr(id, length(id) - length(?1) + 1)) = upper(?1)")?;
        }
        match rows.as_slice() {
            [] => bail!("the journal has no run `{start}`; `mutate history` lists them"),
            [one] => self.whole(run_of(one)?),
            _ => bail!("several runs are called `{start}…`; give more of the name"),
        }
    }

    /// The last run that changed something which has not been undone yet.
    ///
    /// # Errors
    /// When there is none.
    pub fn last_change(&self) -> Result<Run> {
        let sql =
            "SELECT run FROM steps WHERE record IS NOT NULL AND undone_by IS NULL AND (settled IS NOT NULL OR outcome NOT IN ('intended', 'unknown')) ORDER BY number DESC LIMIT 1";
        match self.store.first(sql, &[])? {
            Some(row) => self.run(&row.text(0)?),
            None => bail!("the journal knows of no change that could be undone"),
        }
    }

    /// How the hosts of a run ended, by name.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn hosts(&self, run: &str) -> Result<Vec<Host>> {
        let rows = self.store.query("SELECT host, outcome, message, totals FROM hosts WHERE run = ?1 ORDER BY host", &values![run])?;
        rows.iter().map(|row| Ok(Host { host: row.text(0)?, outcome: row.text(1)?, message: row.text(2)?, totals: serde_json::from_str(&row.text(3)?)? })).collect()
    }

    /// The steps of a run, in their order.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn steps(&self, run: &str) -> Result<Vec<Step>> {
        self.select(&format!("{STEP} WHERE run = ?1 ORDER BY number"), &values![run])
    }

    /// The changes of a path on a host, the newest first.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn changes_of(&self, host: &str, path: &str) -> Result<Vec<Step>> {
        let steps = self.select(&format!("{STEP} WHERE host = ?1 AND record IS NOT NULL ORDER BY number DESC"), &values![host])?;
        Ok(steps.into_iter().filter(|step| !step.is_open() && step.record.as_ref().is_some_and(|record| is_about(record, path))).collect())
    }

    /// Paths of a host that changes of this journal were about, but for what has been undone.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn paths_on(&self, host: &str) -> Result<std::collections::BTreeSet<String>> {
        let steps = self.select(&format!("{STEP} WHERE host = ?1 AND record IS NOT NULL AND undone_by IS NULL"), &values![host])?;
        let subjects = steps.into_iter().filter(|step| !step.is_open()).filter_map(|step| Some(step.record?.subject()));
        Ok(subjects.filter(|subject| subject.starts_with('/')).collect())
    }

    /// The last change of this journal that was about the same thing on a host, unless it has been undone.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn last_of(&self, host: &str, record: &crate::event::Record) -> Result<Option<Step>> {
        let subject = record.subject();
        if subject.is_empty() {
            // Nothing was asked, so nothing tells it from others.
            return Ok(None);
        }
        let steps = self.select(&format!("{STEP} WHERE host = ?1 AND record IS NOT NULL AND undone_by IS NULL ORDER BY number DESC"), &values![host])?;
        Ok(steps.into_iter().find(|step| !step.is_open() && step.record.as_ref().is_some_and(|known| known.subject() == subject)))
    }

    /// The last run after which a task of a playbook was in place on a host: it was found so, or made so.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn last_in_place(&self, host: &str, file: &str, task: &str) -> Result<Option<Run>> {
        /// Runs of other playbooks lie in between.
        const LOOKED_AT: usize = 200;
        for run in self.runs(&Filter { host: Some(host.to_owned()), playbook: Some(file.to_owned()), limit: LOOKED_AT, ..Filter::default() })? {
            let ended = self.hosts(&run.id)?.into_iter().find(|one| one.host == host);
            if !["apply", "drift"].contains(&run.command.as_str()) || !ended.is_some_and(|ended| ["ok", "changed"].contains(&ended.outcome.as_str())) {
                continue;
            }
            let steps = self.select(&format!("{STEP} WHERE run = ?1 AND host = ?2"), &values![&run.id, host])?;
            let told = steps.iter().find(|step| step.file == file && step.task == task);
            // What was in place is no entry; a check that found it otherwise is one.
            if told.is_none_or(|step| step.outcome == "changed" && run.command == "apply" && step.undone_by.is_none()) {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }

    /// What checks before this time have found to differ: host, file, task and item, parted by U+001F.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn drift_before(&self, time: &str) -> Result<std::collections::BTreeSet<String>> {
        let query = format!("{STEP} WHERE time < ?1 AND outcome = 'changed' AND record IS NULL AND run IN (SELECT id FROM runs WHERE command = 'drift')");
        let steps = self.select(&query, &values![time])?;
        Ok(steps
            .into_iter()
            .map(|step| format!("{}\u{1f}{}\u{1f}{}\u{1f}{}", step.host, step.file, step.task, step.item.as_ref().map(ToString::to_string).unwrap_or_default()))
            .collect())
    }

    fn select(&self, query: &str, values: &[Value]) -> Result<Vec<Step>> {
        self.store.query(query, values)?.iter().map(step_of).collect()
    }

    /// Notes that a run has undone these steps.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn undone(&mut self, numbers: &[i64], by: &str) -> Result<()> {
        self.store.transaction(|store| numbers.iter().try_for_each(|number| store.execute("UPDATE steps SET undone_by = ?2 WHERE number = ?1", &values![*number, by]).map(drop)))
    }

    /// Notes that hosts have taken back changes by themselves: host, run and number in the host's ledger.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn taken_back(&mut self, changes: &[(String, String, u32)]) -> Result<()> {
        let sql = "UPDATE steps SET undone_by = ?2 WHERE host = ?1 AND run = ?2 AND seq = ?3 AND seq > 0";
        self.store.transaction(|store| changes.iter().try_for_each(|(host, run, seq)| store.execute(sql, &values![host, run, *seq]).map(drop)))
    }

    /// Steps whose end nobody knows, the oldest first.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn open_steps(&self) -> Result<Vec<Step>> {
        self.select(&format!("{STEP} WHERE settled IS NULL AND outcome IN ('intended', 'unknown') ORDER BY number"), &[])
    }

    /// Takes down how steps really ended. A run that was killed counts as ended once none of its steps is open.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn settle(&mut self, steps: &[(i64, Settled)]) -> Result<()> {
        self.store.transaction(|store| {
            for (number, settled) in steps {
                store.execute("UPDATE steps SET settled = ?2 WHERE number = ?1", &values![*number, serde_json::to_string(settled)?])?;
            }
            Ok(())
        })
    }

    /// Runs that never ended by themselves, or are still under way.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn unended(&self) -> Result<Vec<Run>> {
        let rows = self.store.query(&format!("{RUN} WHERE ended IS NULL ORDER BY number"), &[])?;
        rows.iter().map(run_of).collect()
    }

    /// Whether somebody is still at work on a run that has not ended. In a file that is told by the processes of this machine,
    /// which `is_there` knows by who they are; a server knows who is connected.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn is_under_way(&self, run: &Run, is_there: &dyn Fn(&str) -> bool) -> Result<bool> {
        if run.ended.is_some() {
            return Ok(false);
        }
        let parts = self.store.query("SELECT number, who FROM shards WHERE run = ?1 AND ended IS NULL ORDER BY number", &values![&run.id])?;
        for part in &parts {
            let is_at_work = match &self.store {
                Store::Lite(_) => is_there(&part.text(1)?),
                Store::Postgres(postgres) => postgres.is_claimed(&keeper::claim(&run.id, u32::try_from(part.integer(0)?)?))?,
            };
            if is_at_work {
                return Ok(true);
            }
        }
        // Older runs have no parts.
        let is_older = parts.is_empty() && self.store.first("SELECT number FROM shards WHERE run = ?1", &values![&run.id])?.is_none();
        Ok(is_older && is_there(&run.who))
    }

    /// Ends a run that never ended by itself; `false` when somebody is still at work on it. What is known of its parts counts;
    /// that of the others is unknown.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn end(&mut self, run: &Run, is_there: &dyn Fn(&str) -> bool) -> Result<bool> {
        self.store.transaction(|store| {
            // From here on no part of it begins.
            store.alone()?;
            if self.is_under_way(run, is_there)? {
                return Ok(false);
            }
            let time = jiff::Timestamp::now().to_string();
            let ended = store.execute("UPDATE runs SET ended = ?2, exit = 7 WHERE id = ?1 AND ended IS NULL", &values![&run.id, time])?;
            if ended > 0 {
                keeper::seal(store, &run.id)?;
            }
            Ok(true)
        })
    }

    /// Goes along the chain. Gives the number of runs that are as they were sealed, and the first that is not.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn audit(&self) -> Result<(usize, Option<String>)> {
        let rows = self.store.query("SELECT id, chain, sealed FROM runs WHERE sealed IS NOT NULL ORDER BY sealed", &[])?;
        let mut before = String::new();
        for (good, row) in rows.iter().enumerate() {
            let (id, chain, sealed) = (row.text(0)?, row.maybe_text(1)?.unwrap_or_default(), row.integer(2)?);
            // What was pruned is missing at the beginning; the chain goes on from what it left behind.
            if good == 0 && sealed > 1 {
                before = self.store.first("SELECT value FROM kept WHERE name = 'chain'", &[])?.map(|row| row.text(0)).transpose()?.unwrap_or_default();
            }
            if keeper::link(&self.store, &id, &before)? != chain {
                return Ok((good, Some(id)));
            }
            before = chain;
        }
        Ok((rows.len(), None))
    }

    /// Forgets runs that began before this time, from the oldest on. The chain goes on from what they leave behind; how
    /// to undo them is forgotten, too. Gives their number.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn prune(&mut self, before: &str) -> Result<usize> {
        let count = self.store.transaction(|store| {
            store.alone()?;
            let mut old: Vec<(String, Option<String>)> = Vec::new();
            for row in store.query("SELECT id, facts, chain FROM runs ORDER BY number", &[])? {
                let run: Run = serde_json::from_str(&row.text(1)?)?;
                if run.started.as_str() >= before {
                    break;
                }
                old.push((row.text(0)?, row.maybe_text(2)?));
            }
            for (id, chain) in &old {
                for table in ["DELETE FROM steps WHERE run = ?1", "DELETE FROM hosts WHERE run = ?1", "DELETE FROM shards WHERE run = ?1", "DELETE FROM runs WHERE id = ?1"] {
                    store.execute(table, &values![id])?;
                }
                if let Some(chain) = chain {
                    store.execute("INSERT INTO kept (name, value) VALUES ('chain', ?1) ON CONFLICT (name) DO UPDATE SET value = excluded.value", &values![chain])?;
                }
            }
            Ok(old.len())
        })?;
        if let (Store::Lite(lite), 1..) = (&self.store, count) {
            lite.plain("VACUUM")?;
        }
        Ok(count)
    }

    /// Whether the database itself is sound; what is wrong with it, otherwise. Of a server only that its tables can be read.
    ///
    /// # Errors
    /// When it cannot even be asked.
    pub fn damage(&self) -> Result<Option<String>> {
        match &self.store {
            Store::Lite(lite) => lite.damage(),
            Store::Postgres(_) => {
                for table in ["runs", "shards", "hosts", "steps", "kept"] {
                    self.store.query(&format!("SELECT count(*) FROM {table}"), &[])?;
                }
                Ok(None)
            }
        }
    }
}

fn count(totals: &mut serde_json::Map<String, serde_json::Value>, outcome: &str, more: i64) {
    let before = totals.get(outcome).and_then(serde_json::Value::as_i64).unwrap_or(0);
    totals.insert(outcome.to_owned(), (before + more).max(0).into());
}

/// Whether a change was one of this path, or of something below a folder that was changed as a whole.
fn is_about(record: &crate::event::Record, path: &str) -> bool {
    // Before a login has told its home folder, a question holds a mark in place of it; the ways back hold the path.
    let all = [&record.probe.0, &record.undo.script.0, &record.redo.script.0].map(|bytes| String::from_utf8_lossy(bytes));
    let text = all.join("\n");
    let names = |path: &str| {
        let mut word = Vec::new();
        crate::shell::push_quoted(&mut word, path.as_bytes());
        text.contains(String::from_utf8_lossy(&word).as_ref())
    };
    let path = path.trim_end_matches('/');
    if record.path.as_deref() == Some(path) || names(path) {
        return true;
    }
    // A copied folder names itself, and its entries below it.
    path.match_indices('/').skip(1).any(|(at, _)| text.starts_with("copy_tree ") && names(&path[..at]) && names(&path[at + 1..]))
}

fn exit_of(row: &Row, at: usize) -> Result<Option<u8>> {
    Ok(row.maybe_integer(at)?.map(u8::try_from).transpose()?)
}

fn run_of(row: &Row) -> Result<Run> {
    let run: Run = serde_json::from_str(&row.text(0)?)?;
    let totals = serde_json::from_str(&row.text(4)?)?;
    Ok(Run { ended: row.maybe_text(1)?, exit: exit_of(row, 2)?, seconds: row.real(3)?, totals, of_shards: u32::try_from(row.integer(5)?)?, ..run })
}

fn step_of(row: &Row) -> Result<Step> {
    let facts: serde_json::Value = serde_json::from_str(&row.text(6)?)?;
    let record = row.maybe_text(7)?;
    let text = |key: &str| facts[key].as_str().unwrap_or_default().to_owned();
    let mut step = Step {
        number: row.integer(0)?,
        run: row.text(1)?,
        host: row.text(2)?,
        seq: u32::try_from(row.integer(3)?)?,
        time: row.text(4)?,
        outcome: row.text(5)?,
        play: text("play"),
        task: text("task"),
        module: text("module"),
        file: text("file"),
        line: facts["line"].as_u64().and_then(|line| usize::try_from(line).ok()).unwrap_or(0),
        item: Some(facts["item"].clone()).filter(|item| !item.is_null()),
        message: text("message"),
        diff: text("diff"),
        status: facts["status"].as_i64().and_then(|status| i32::try_from(status).ok()).unwrap_or(0),
        seconds: facts["seconds"].as_f64().unwrap_or(0.0),
        handler: facts["handler"].as_bool().unwrap_or(false),
        ignored: facts["ignored"].as_bool().unwrap_or(false),
        drift: facts.get("drift").cloned(),
        for_host: facts["for"].as_str().map(str::to_owned),
        record: record.map(|record| serde_json::from_str(&record)).transpose()?,
        undone_by: row.maybe_text(8)?,
    };
    if let Some(settled) = row.maybe_text(9)? {
        let settled: Settled = serde_json::from_str(&settled)?;
        (step.outcome, step.message, step.record) = (settled.outcome, settled.message, settled.record);
    }
    Ok(step)
}
