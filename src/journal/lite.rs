//! A journal in SQLite: a file of this machine.

use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rusqlite::types::{ToSqlOutput, Value as Column, ValueRef};
use rusqlite::{Connection, OpenFlags, ToSql};

use super::schema::LITE;
use super::store::{Row, Value};

/// Several processes may write; each waits so long for the others.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Lite {
    connection: Connection,
    path: PathBuf,
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

impl Lite {
    /// Opens the database, and makes it where there is none: 0600 in a folder of 0700.
    ///
    /// # Errors
    /// Why it cannot be used: no right to, no room, damaged, or of a newer mutate.
    pub fn open(path: &Path) -> Result<Self> {
        let shown = path.display();
        if let Some(folder) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(|| format!("making the folder of the journal, {}", folder.display()))?;
        }
        std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).with_context(|| format!("opening the journal {shown}"))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).with_context(|| format!("opening the journal {shown}"))?;
        connection.busy_timeout(PATIENCE)?;
        set_up(&mut connection).with_context(|| format!("using the journal {shown} (`mutate journal check` looks at it; without a journal nothing is changed)"))?;
        Ok(Self { connection, path: path.to_owned() })
    }

    pub fn execute(&self, sql: &str, values: &[Value]) -> Result<u64> {
        Ok(self.connection.prepare_cached(sql)?.execute(rusqlite::params_from_iter(values))? as u64)
    }

    pub fn query(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let columns = statement.column_count();
        let mut rows = statement.query(rusqlite::params_from_iter(values))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let column = |at| -> Result<Value> {
                Ok(match row.get::<_, Column>(at)? {
                    Column::Integer(number) => Value::Integer(number),
                    Column::Real(number) => Value::Real(number),
                    Column::Text(text) => Value::Text(text),
                    Column::Null | Column::Blob(_) => Value::Null,
                })
            };
            found.push(Row((0..columns).map(column).collect::<Result<_>>()?));
        }
        Ok(found)
    }

    pub fn plain(&self, sql: &str) -> Result<()> {
        Ok(self.connection.execute_batch(sql)?)
    }

    /// What is wrong with the database itself.
    pub fn damage(&self) -> Result<Option<String>> {
        let said: String = self.connection.query_row("PRAGMA integrity_check(10)", [], |row| row.get(0)).with_context(|| format!("reading {}", self.path.display()))?;
        Ok((said != "ok").then_some(said))
    }
}

fn set_up(connection: &mut Connection) -> Result<()> {
    log_ahead(connection)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "secure_delete", true)?;
    let known = i64::try_from(LITE.len()).unwrap_or(i64::MAX);
    if version(connection)? == known {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    // Another process may have been quicker.
    let found = version(&transaction)?;
    if found > known {
        bail!("it was written by a newer mutate (version {found}, this one knows {known})");
    }
    for statements in &LITE[usize::try_from(found).unwrap_or(0)..] {
        transaction.execute_batch(statements)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    transaction.commit()?;
    Ok(())
}

/// Where several processes make a database at the same time, they do not wait for each other here by themselves.
fn log_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let begun = Instant::now();
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) && begun.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(20)),
            ended => return ended,
        }
    }
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_for_its_owner_alone_and_opens_again() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state/mutate/journal.db");
        drop(Lite::open(&path).expect("a journal"));
        let lite = Lite::open(&path).expect("a journal");
        let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o7777;
        assert_eq!((mode(&path), mode(path.parent().expect("a folder"))), (0o600, 0o700));
        assert_eq!(version(&lite.connection).expect("a version"), 2);
    }

    #[test]
    fn several_may_make_it_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        for round in 0..50 {
            let path = folder.path().join(format!("{round}.db"));
            let start = std::sync::Barrier::new(12);
            let open = || {
                start.wait();
                Lite::open(&path).map(drop).map_err(|error| format!("{error:#}"))
            };
            let ended: Vec<Result<(), String>> = std::thread::scope(|scope| {
                let opening: Vec<_> = (0..12).map(|_| scope.spawn(open)).collect();
                opening.into_iter().map(|one| one.join().expect("no panic")).collect()
            });
            assert_eq!(ended, vec![Ok(()); 12]);
        }
    }

    #[test]
    fn a_newer_or_damaged_one_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.db");
        Lite::open(&path).expect("a journal").connection.pragma_update(None, "user_version", 99).expect("a version");
        assert!(format!("{:#}", Lite::open(&path).err().expect("it is newer")).contains("newer mutate"));
        std::fs::write(&path, "this is no database, however long one reads it").expect("damage");
        assert!(format!("{:#}", Lite::open(&path).err().expect("it is damaged")).contains("mutate journal check"));
    }

    #[test]
    fn an_older_one_becomes_todays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.db");
        let old = Connection::open(&path).expect("a database");
        old.execute_batch(LITE[0]).expect("its tables");
        old.pragma_update(None, "user_version", 1).expect("a version");
        old.execute_batch(r#"INSERT INTO runs (id, facts) VALUES ('A', '{"command":"drift"}'); INSERT INTO steps (run, host, seq, time, outcome, facts) VALUES ('A', 'h', 2, '', 'ok', '{"for":"web1"}'), ('A', 'h', 3, '', 'ok', '{}')"#).expect("rows");
        drop(old);
        let lite = Lite::open(&path).expect("it is taken along");
        assert_eq!(lite.query("SELECT command, shards FROM runs", &[]).expect("a row")[0].0, [Value::from("drift"), Value::Integer(1)]);
        let hosts: Vec<Value> = lite.query("SELECT for_host FROM steps ORDER BY number", &[]).expect("rows").into_iter().flat_map(|row| row.0).collect();
        assert_eq!(hosts, [Value::from("web1"), Value::Null]);
    }
}
