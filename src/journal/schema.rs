//! The tables, and how older ones become today's.

use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rusqlite::{Connection, OpenFlags};

/// Several processes may write; each waits so long for the others.
const PATIENCE: Duration = Duration::from_secs(20);

/// Each makes the tables of its version from those of the one before; the first begins with nothing.
const VERSIONS: &[&str] = &["
    CREATE TABLE runs (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        facts TEXT NOT NULL,      -- the run as JSON, without what is only known at its end
        ended TEXT,
        exit INTEGER,
        seconds REAL NOT NULL DEFAULT 0,
        totals TEXT NOT NULL DEFAULT '{}',
        sealed INTEGER UNIQUE,    -- place in the chain
        chain TEXT                -- SHA-256 of the chain so far and of this run
    );
    CREATE TABLE hosts (
        run TEXT NOT NULL,
        host TEXT NOT NULL,
        outcome TEXT NOT NULL,
        message TEXT NOT NULL,
        totals TEXT NOT NULL,
        PRIMARY KEY (run, host)
    ) WITHOUT ROWID;
    CREATE TABLE steps (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        run TEXT NOT NULL,
        host TEXT NOT NULL,
        seq INTEGER NOT NULL,     -- 0 for a step that the host never heard of
        time TEXT NOT NULL,
        outcome TEXT NOT NULL,    -- `intended` until its end is known
        facts TEXT NOT NULL,      -- the rest as JSON
        record TEXT,              -- what undoing it needs, as JSON
        undone_by TEXT,
        settled TEXT              -- how it really ended, as JSON, where that became known later
    );
    -- `chain`: where the chain goes on from, once older runs have been pruned.
    CREATE TABLE kept (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE UNIQUE INDEX steps_known ON steps (run, host, seq) WHERE seq > 0;
    CREATE INDEX steps_of ON steps (host, number);
"];

/// Opens the database, and makes it where there is none: 0600 in a folder of 0700.
///
/// # Errors
/// Why it cannot be used: no right to, no room, damaged, or of a newer mutate.
pub fn open(path: &Path) -> Result<Connection> {
    let shown = path.display();
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(|| format!("making the folder of the journal, {}", folder.display()))?;
    }
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).with_context(|| format!("opening the journal {shown}"))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).with_context(|| format!("opening the journal {shown}"))?;
    connection.busy_timeout(PATIENCE)?;
    set_up(&mut connection).with_context(|| {
        format!("using the journal {shown} (`mutate journal check` looks at it; without a journal nothing is changed)")
    })?;
    Ok(connection)
}

fn set_up(connection: &mut Connection) -> Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "secure_delete", true)?;
    let known = i64::try_from(VERSIONS.len()).unwrap_or(i64::MAX);
    if version(connection)? == known {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    // Another process may have been quicker.
    let found = version(&transaction)?;
    if found > known {
        bail!("it was written by a newer mutate (version {found}, this one knows {known})");
    }
    for statements in &VERSIONS[usize::try_from(found).unwrap_or(0)..] {
        transaction.execute_batch(statements)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    transaction.commit()?;
    Ok(())
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
        drop(open(&path).expect("a journal"));
        let connection = open(&path).expect("a journal");
        let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o7777;
        assert_eq!((mode(&path), mode(path.parent().expect("a folder"))), (0o600, 0o700));
        assert_eq!(version(&connection).expect("a version"), 1);
    }

    #[test]
    fn a_newer_or_damaged_one_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.db");
        open(&path).expect("a journal").pragma_update(None, "user_version", 99).expect("a version");
        assert!(format!("{:#}", open(&path).expect_err("it is newer")).contains("newer mutate"));
        std::fs::write(&path, "this is no database, however long one reads it").expect("damage");
        assert!(format!("{:#}", open(&path).expect_err("it is damaged")).contains("mutate journal check"));
    }
}
