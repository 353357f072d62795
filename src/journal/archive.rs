//! Questions about runs that are over.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rusqlite::{Connection, Row, TransactionBehavior, params};

use super::{Host, Run, Settled, Step, keeper, schema};

/// The journal, open for questions.
pub struct Archive {
    connection: Connection,
    path: PathBuf,
}

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
const RUN: &str = "SELECT facts, ended, exit, seconds, totals FROM runs";

impl Archive {
    /// Opens the journal.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.exists() {
            bail!("there is no journal yet: {} is made by the first `mutate apply`", path.display());
        }
        Ok(Self { connection: schema::open(path)?, path: path.to_owned() })
    }

    /// Runs, the newest first.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn runs(&self, filter: &Filter) -> Result<Vec<Run>> {
        let mut statement = self.connection.prepare(&format!("{RUN} ORDER BY number DESC"))?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let run = self.with_settled(run_of(row)?)?;
            let in_time = filter.since.as_ref().is_none_or(|since| run.started >= *since);
            let fits = in_time
                && filter.who.as_ref().is_none_or(|who| run.who.contains(who.as_str()))
                && filter.playbook.as_ref().is_none_or(|part| run.files.iter().any(|(path, _)| path.contains(part.as_str())))
                && match &filter.host {
                    Some(host) => self.knows(&run.id, host)?,
                    None => true,
                };
            if fits {
                found.push(run);
            }
            if found.len() >= filter.limit || !in_time {
                break;
            }
        }
        Ok(found)
    }

    /// With the ends that became known later in its totals. A run that was killed has none but these and its steps.
    fn with_settled(&self, mut run: Run) -> Result<Run> {
        let was_killed = run.totals.is_empty();
        let condition = if was_killed { "" } else { " AND settled IS NOT NULL" };
        let mut statement = self.connection.prepare_cached(&format!("SELECT outcome, settled FROM steps WHERE run = ?1{condition}"))?;
        let mut rows = statement.query([&run.id])?;
        while let Some(row) = rows.next()? {
            let (told, settled): (String, Option<String>) = (row.get(0)?, row.get(1)?);
            let now = settled.map(|text| serde_json::from_str::<Settled>(&text)).transpose()?.map_or_else(|| told.clone(), |settled| settled.outcome);
            if !was_killed {
                count(&mut run.totals, &told, -1);
            }
            count(&mut run.totals, if now == "intended" { "unknown" } else { &now }, 1);
        }
        Ok(run)
    }

    fn knows(&self, run: &str, host: &str) -> Result<bool> {
        let found = self.connection.query_row(
            "SELECT EXISTS (SELECT 1 FROM hosts WHERE run = ?1 AND host = ?2) OR EXISTS (SELECT 1 FROM steps WHERE run = ?1 AND host = ?2)",
            params![run, host],
            |row| row.get(0),
        )?;
        Ok(found)
    }

    /// The run whose name begins like this.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn run(&self, start: &str) -> Result<Run> {
        let mut statement = self.connection.prepare(&format!("{RUN} WHERE id = ?1 OR substr(id, 1, length(?1)) = ?1 OR substr(id, -length(?1)) = ?1 ORDER BY number DESC LIMIT 3"))?;
        let mut rows = statement.query([start.to_uppercase()])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(self.with_settled(run_of(row)?)?);
        }
        match found.as_slice() {
            [] => bail!("the journal has no run `{start}`; `mutate history` lists them"),
            [one] => Ok(one.clone()),
            [one, ..] if one.id.eq_ignore_ascii_case(start) => Ok(one.clone()),
            _ => bail!("several runs are called `{start}…`; give more of the name"),
        }
    }

    /// The last run that changed something which has not been undone yet.
    ///
    /// # Errors
    /// When there is none.
    pub fn last_change(&self) -> Result<Run> {
        let id: Option<String> = self
            .connection
            .query_row("SELECT run FROM steps WHERE record IS NOT NULL AND undone_by IS NULL AND (settled IS NOT NULL OR outcome NOT IN ('intended', 'unknown')) ORDER BY number DESC LIMIT 1", [], |row| row.get(0))
            .map_or_else(|error| if error == rusqlite::Error::QueryReturnedNoRows { Ok(None) } else { Err(error) }, |id| Ok(Some(id)))?;
        match id {
            Some(id) => self.run(&id),
            None => bail!("the journal knows of no change that could be undone"),
        }
    }

    /// How the hosts of a run ended, by name.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn hosts(&self, run: &str) -> Result<Vec<Host>> {
        let mut statement = self.connection.prepare("SELECT host, outcome, message, totals FROM hosts WHERE run = ?1 ORDER BY host")?;
        let mut rows = statement.query([run])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let totals: String = row.get(3)?;
            found.push(Host { host: row.get(0)?, outcome: row.get(1)?, message: row.get(2)?, totals: serde_json::from_str(&totals)? });
        }
        Ok(found)
    }

    /// The steps of a run, in their order.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn steps(&self, run: &str) -> Result<Vec<Step>> {
        self.select(&format!("{STEP} WHERE run = ?1 ORDER BY number"), params![run])
    }

    /// The changes of a path on a host, the newest first.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn changes_of(&self, host: &str, path: &str) -> Result<Vec<Step>> {
        let steps = self.select(&format!("{STEP} WHERE host = ?1 AND record IS NOT NULL ORDER BY number DESC"), params![host])?;
        Ok(steps.into_iter().filter(|step| !step.is_open() && step.record.as_ref().is_some_and(|record| is_about(record, path))).collect())
    }

    /// Paths of a host that changes of this journal were about, but for what has been undone.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn paths_on(&self, host: &str) -> Result<std::collections::BTreeSet<String>> {
        let steps = self.select(&format!("{STEP} WHERE host = ?1 AND record IS NOT NULL AND undone_by IS NULL"), params![host])?;
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
        let steps = self.select(&format!("{STEP} WHERE host = ?1 AND record IS NOT NULL AND undone_by IS NULL ORDER BY number DESC"), params![host])?;
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
            let steps = self.select(&format!("{STEP} WHERE run = ?1 AND host = ?2"), params![run.id, host])?;
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
        let query = format!("{STEP} WHERE time < ?1 AND outcome = 'changed' AND record IS NULL AND run IN (SELECT id FROM runs WHERE json_extract(facts, '$.command') = 'drift')");
        let steps = self.select(&query, params![time])?;
        Ok(steps.into_iter().map(|step| format!("{}\u{1f}{}\u{1f}{}\u{1f}{}", step.host, step.file, step.task, step.item.as_ref().map(ToString::to_string).unwrap_or_default())).collect())
    }

    fn select(&self, query: &str, parameters: &[&dyn rusqlite::ToSql]) -> Result<Vec<Step>> {
        let mut statement = self.connection.prepare(query)?;
        let mut rows = statement.query(parameters)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(step_of(row)?);
        }
        Ok(found)
    }

    /// Notes that a run has undone these steps.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn undone(&mut self, numbers: &[i64], by: &str) -> Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for number in numbers {
            transaction.execute("UPDATE steps SET undone_by = ?2 WHERE number = ?1", params![number, by])?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Notes that hosts have taken back changes by themselves: host, run and number in the host's ledger.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn taken_back(&mut self, changes: &[(String, String, u32)]) -> Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (host, run, seq) in changes {
            transaction.execute("UPDATE steps SET undone_by = ?2 WHERE host = ?1 AND run = ?2 AND seq = ?3", params![host, run, seq])?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Steps whose end nobody knows, the oldest first.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn open_steps(&self) -> Result<Vec<Step>> {
        let steps = self.select(&format!("{STEP} WHERE settled IS NULL AND outcome IN ('intended', 'unknown') ORDER BY number"), &[])?;
        Ok(steps)
    }

    /// Takes down how steps really ended. A run that was killed counts as ended once none of its steps is open.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn settle(&mut self, steps: &[(i64, Settled)]) -> Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (number, settled) in steps {
            transaction.execute("UPDATE steps SET settled = ?2 WHERE number = ?1", params![number, serde_json::to_string(settled)?])?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Runs that never ended by themselves, or are still under way.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn unended(&self) -> Result<Vec<Run>> {
        let mut statement = self.connection.prepare(&format!("{RUN} WHERE ended IS NULL ORDER BY number"))?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(run_of(row)?);
        }
        Ok(found)
    }

    /// Ends a run that never ended by itself.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn end(&mut self, run: &str) -> Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let time = jiff::Timestamp::now().to_string();
        let ended = transaction.execute("UPDATE runs SET ended = ?2, exit = 7 WHERE id = ?1 AND ended IS NULL", params![run, time])?;
        if ended > 0 {
            keeper::seal(&transaction, run)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Goes along the chain. Gives the number of runs that are as they were sealed, and the first that is not.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn audit(&self) -> Result<(usize, Option<String>)> {
        let mut statement = self.connection.prepare("SELECT id, chain, sealed FROM runs WHERE sealed IS NOT NULL ORDER BY sealed")?;
        let mut rows = statement.query([])?;
        let (mut before, mut good, mut first) = (String::new(), 0, true);
        while let Some(row) = rows.next()? {
            let (id, chain, sealed): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            // What was pruned is missing at the beginning; the chain goes on from what it left behind.
            if first && sealed > 1 {
                before = self.connection.query_row("SELECT value FROM kept WHERE name = 'chain'", [], |row| row.get(0)).unwrap_or_default();
            }
            first = false;
            if keeper::link(&self.connection, &id, &before)? != chain {
                return Ok((good, Some(id)));
            }
            good += 1;
            before = chain;
        }
        Ok((good, None))
    }

    /// Forgets runs that began before this time, from the oldest on. The chain goes on from what they leave behind; how
    /// to undo them is forgotten, too. Gives their number.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn prune(&mut self, before: &str) -> Result<usize> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut old: Vec<(String, Option<String>)> = Vec::new();
        {
            let mut statement = transaction.prepare("SELECT id, facts, chain FROM runs ORDER BY number")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let facts: String = row.get(1)?;
                let run: Run = serde_json::from_str(&facts)?;
                if run.started.as_str() >= before {
                    break;
                }
                old.push((row.get(0)?, row.get(2)?));
            }
        }
        for (id, chain) in &old {
            for table in ["DELETE FROM steps WHERE run = ?1", "DELETE FROM hosts WHERE run = ?1", "DELETE FROM runs WHERE id = ?1"] {
                transaction.execute(table, [id])?;
            }
            if let Some(chain) = chain {
                transaction.execute("INSERT OR REPLACE INTO kept (name, value) VALUES ('chain', ?1)", [chain])?;
            }
        }
        transaction.commit()?;
        if !old.is_empty() {
            self.connection.execute_batch("VACUUM")?;
        }
        Ok(old.len())
    }

    /// Whether the database itself is sound; what is wrong with it, otherwise.
    ///
    /// # Errors
    /// When it cannot even be asked.
    pub fn damage(&self) -> Result<Option<String>> {
        let said: String = self.connection.query_row("PRAGMA integrity_check(10)", [], |row| row.get(0)).with_context(|| format!("reading {}", self.path.display()))?;
        Ok((said != "ok").then_some(said))
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

fn run_of(row: &Row<'_>) -> Result<Run> {
    let (facts, totals): (String, String) = (row.get(0)?, row.get(4)?);
    let run: Run = serde_json::from_str(&facts)?;
    Ok(Run { ended: row.get(1)?, exit: row.get(2)?, seconds: row.get(3)?, totals: serde_json::from_str(&totals)?, ..run })
}

fn step_of(row: &Row<'_>) -> Result<Step> {
    let facts: String = row.get(6)?;
    let facts: serde_json::Value = serde_json::from_str(&facts)?;
    let record: Option<String> = row.get(7)?;
    let text = |key: &str| facts[key].as_str().unwrap_or_default().to_owned();
    let mut step = Step {
        number: row.get(0)?,
        run: row.get(1)?,
        host: row.get(2)?,
        seq: row.get(3)?,
        time: row.get(4)?,
        outcome: row.get(5)?,
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
        undone_by: row.get(8)?,
    };
    let settled: Option<String> = row.get(9)?;
    if let Some(settled) = settled {
        let settled: Settled = serde_json::from_str(&settled)?;
        (step.outcome, step.message, step.record) = (settled.outcome, settled.message, settled.record);
    }
    Ok(step)
}
