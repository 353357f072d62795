//! The database that a journal is in. Statements are the same for all kinds of it; what differs is in the rooms beside.

use anyhow::{Result, bail};

use super::lite::Lite;
use super::postgres::Postgres;

/// What stands in a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<u8> for Value {
    fn from(number: u8) -> Self {
        Self::Integer(number.into())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// The values of a statement, from whatever can be one.
macro_rules! values {
    ($($value:expr),* $(,)?) => { [$($crate::journal::store::Value::from($value)),*] };
}
pub(super) use values;

/// What a question gives, a row at a time.
#[derive(Clone, Debug)]
pub struct Row(pub Vec<Value>);

impl Row {
    pub fn text(&self, at: usize) -> Result<String> {
        match self.0.get(at) {
            Some(Value::Text(text)) => Ok(text.clone()),
            other => bail!("the journal holds {other:?} where a text belongs"),
        }
    }

    pub fn maybe_text(&self, at: usize) -> Result<Option<String>> {
        if matches!(self.0.get(at), Some(Value::Null)) { Ok(None) } else { self.text(at).map(Some) }
    }

    pub fn integer(&self, at: usize) -> Result<i64> {
        match self.0.get(at) {
            Some(Value::Integer(number)) => Ok(*number),
            other => bail!("the journal holds {other:?} where a number belongs"),
        }
    }

    pub fn maybe_integer(&self, at: usize) -> Result<Option<i64>> {
        if matches!(self.0.get(at), Some(Value::Null)) { Ok(None) } else { self.integer(at).map(Some) }
    }

    pub fn real(&self, at: usize) -> Result<f64> {
        match self.0.get(at) {
            Some(Value::Real(number)) => Ok(*number),
            #[expect(clippy::cast_precision_loss, reason = "seconds are few")]
            Some(Value::Integer(number)) => Ok(*number as f64),
            other => bail!("the journal holds {other:?} where a number belongs"),
        }
    }
}

/// A statement with its values, of which nothing comes back.
#[derive(Clone, Debug)]
pub struct Statement {
    pub sql: &'static str,
    pub values: Vec<Value>,
}

/// The database.
pub enum Store {
    Lite(Lite),
    Postgres(Box<Postgres>),
}

impl Store {
    /// Does something, and gives how many rows that was done to.
    pub fn execute(&self, sql: &str, values: &[Value]) -> Result<u64> {
        match self {
            Self::Lite(lite) => lite.execute(sql, values),
            Self::Postgres(postgres) => postgres.execute(sql, values),
        }
    }

    pub fn query(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>> {
        match self {
            Self::Lite(lite) => lite.query(sql, values),
            Self::Postgres(postgres) => postgres.query(sql, values),
        }
    }

    /// The first row, if there is one.
    pub fn first(&self, sql: &str, values: &[Value]) -> Result<Option<Row>> {
        Ok(self.query(sql, values)?.into_iter().next())
    }

    /// Does all of this, one after the other, without waiting in between. Within a transaction.
    pub fn execute_all(&self, statements: &[Statement]) -> Result<()> {
        match self {
            Self::Lite(lite) => statements.iter().try_for_each(|statement| lite.execute(statement.sql, &statement.values).map(drop)),
            Self::Postgres(postgres) => postgres.execute_all(statements, false),
        }
    }

    /// Does all of this or nothing; afterwards it is on the disk.
    pub fn commit_all(&self, statements: &[Statement]) -> Result<()> {
        match self {
            Self::Lite(_) => self.transaction(|store| store.execute_all(statements)),
            Self::Postgres(postgres) => postgres.execute_all(statements, true),
        }
    }

    /// Does all of it or nothing; afterwards it is on the disk.
    pub fn transaction<T>(&self, work: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        self.plain(match self {
            // Whoever means to write is the only one to do so from the beginning.
            Self::Lite(_) => "BEGIN IMMEDIATE",
            Self::Postgres(_) => "BEGIN",
        })?;
        let worked = work(self).and_then(|gives| self.plain("COMMIT").map(|()| gives));
        if worked.is_err() {
            // The connection may be gone, and then so is the transaction.
            let _gone = self.plain("ROLLBACK");
        }
        worked
    }

    fn plain(&self, sql: &str) -> Result<()> {
        match self {
            Self::Lite(lite) => lite.plain(sql),
            Self::Postgres(postgres) => postgres.plain(sql),
        }
    }

    /// Until the end of the transaction nobody else is in here.
    pub fn alone(&self) -> Result<()> {
        match self {
            Self::Lite(_) => Ok(()),
            Self::Postgres(postgres) => postgres.alone(),
        }
    }
}
