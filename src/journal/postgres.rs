//! A journal in PostgreSQL, which controllers on several machines share.
//!
//! All that is written together travels together: a batch of intents is one transaction and costs one round trip.
//! Whatever the server does, nobody waits for it without end.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Task, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Config, Connection, NoTls, Socket};
use tokio_rustls::rustls;

use super::place::{Encryption, Server};
use super::schema::POSTGRES;
use super::store::{Row, Statement, Value};

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The server itself gives up sooner, and then says why.
const PATIENCE: Duration = Duration::from_secs(30);
/// What every session begins with, whatever the server or the database is set to: it may lose what it has said is written, not
/// see what others have written while it waited for them, or end what does nothing for a while.
const SESSION: &str = "SET search_path = mutate;
    SET statement_timeout = '20s'; SET lock_timeout = '20s'; SET idle_in_transaction_session_timeout = '60s';
    SET default_transaction_isolation = 'read committed';
    SELECT set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name = 'idle_session_timeout';
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local');";
/// Keys of locks that all controllers know: for the making of tables, and for the chain.
const TABLES: i64 = 0x6d75_7461_7465_0001;
const CHAIN: i64 = 0x6d75_7461_7465_0002;

pub struct Postgres {
    runtime: tokio::runtime::Runtime,
    client: Client,
    known: RefCell<HashMap<String, tokio_postgres::Statement>>,
    /// Why the connection has ended.
    end: Arc<Mutex<Option<String>>>,
    /// It is not known any more what the server makes of it.
    is_given_up: Cell<bool>,
    shown: String,
}

impl Postgres {
    /// Connects, and makes the tables where there are none. Without `make` nothing is made, and nothing comes back then.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open(server: &Server, make: bool) -> Result<Option<Self>> {
        let shown = server.to_string();
        let postgres = Self::connect(server).with_context(|| format!("connecting to the journal {shown}"))?;
        let is_made = postgres.set_up(make).with_context(|| format!("using the journal {shown}"))?;
        Ok(is_made.then_some(postgres))
    }

    fn connect(server: &Server) -> Result<Self> {
        let mut config = Config::new();
        config.user(&server.user).dbname(&server.database).port(server.port).application_name("mutate");
        config.connect_timeout(CONNECT_LIMIT).tcp_user_timeout(PATIENCE).keepalives_idle(PATIENCE).keepalives_interval(Duration::from_secs(10)).keepalives_retries(3);
        if server.is_socket() {
            config.host_path(&server.host);
        } else {
            config.host(&server.host);
        }
        if let Some(password) = &server.password {
            config.password(password.expose());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting")?;
        let end: Arc<Mutex<Option<String>>> = Arc::default();
        let connecting = async {
            match &server.encryption {
                Encryption::None => {
                    config.ssl_mode(tokio_postgres::config::SslMode::Disable);
                    let (client, connection) = config.connect(NoTls).await?;
                    keep(connection, end.clone());
                    Ok(client)
                }
                Encryption::Verified(authorities) => {
                    config.ssl_mode(tokio_postgres::config::SslMode::Require);
                    let tls = Tls(Arc::new(trust(authorities.as_deref())?));
                    let (client, connection) = config.connect(tls).await?;
                    keep(connection, end.clone());
                    Ok::<_, anyhow::Error>(client)
                }
            }
        };
        // Names are looked up before the connecting that has a limit of its own.
        let client = runtime.block_on(async { tokio::time::timeout(CONNECT_LIMIT * 2, connecting).await });
        let client = match client {
            Ok(connected) => connected.map_err(|error| match error.downcast::<tokio_postgres::Error>() {
                Ok(error) => told(&error),
                Err(error) => error,
            })?,
            Err(_) => bail!("no connection within {} s", (CONNECT_LIMIT * 2).as_secs()),
        };
        let postgres = Self { runtime, client, known: RefCell::default(), end, is_given_up: Cell::new(false), shown: server.to_string() };
        postgres.plain(SESSION)?;
        Ok(postgres)
    }

    fn set_up(&self, make: bool) -> Result<bool> {
        let known = i64::try_from(POSTGRES.len()).unwrap_or(i64::MAX);
        let found = self.version()?;
        if found == known {
            return Ok(true);
        }
        if found > known {
            bail!("it was written by a newer mutate (version {found}, this one knows {known})");
        }
        if !make && found == 0 {
            return Ok(false);
        }
        self.plain("BEGIN")?;
        let made = self.make(known).and_then(|()| self.plain("COMMIT"));
        if made.is_err() {
            let _gone = self.plain("ROLLBACK");
        }
        made.context("its tables cannot be made; whoever runs mutate first needs the right to (`GRANT CREATE ON DATABASE …`)").map(|()| true)
    }

    fn make(&self, known: i64) -> Result<()> {
        self.query("SELECT pg_advisory_xact_lock(?1)", &[Value::Integer(TABLES)])?;
        // Another process may have been quicker.
        let found = self.version()?;
        if found >= known {
            return Ok(());
        }
        if found == 0 {
            self.plain("CREATE SCHEMA IF NOT EXISTS mutate")?;
        }
        for statements in &POSTGRES[usize::try_from(found).unwrap_or(0)..] {
            self.plain(statements)?;
        }
        self.execute("INSERT INTO kept (name, value) VALUES ('version', ?1) ON CONFLICT (name) DO UPDATE SET value = excluded.value", &[known.to_string().into()])?;
        Ok(())
    }

    fn version(&self) -> Result<i64> {
        let is_there = self
            .query("SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'mutate' AND c.relname = 'kept'", &[])?;
        if is_there.first().is_none_or(|row| row.0 == [Value::Integer(0)]) {
            return Ok(0);
        }
        let rows = self.query("SELECT value FROM kept WHERE name = 'version'", &[])?;
        let version = rows.first().context("its table `kept` does not tell its version")?.text(0)?;
        version.parse().with_context(|| format!("`{version}` is no version"))
    }

    pub fn execute(&self, sql: &str, values: &[Value]) -> Result<u64> {
        let statement = self.prepared(sql)?;
        self.wait(self.client.execute(&statement, &parameters(values)))
    }

    pub fn query(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>> {
        let statement = self.prepared(sql)?;
        let rows = self.wait(self.client.query(&statement, &parameters(values)))?;
        rows.iter().map(|row| (0..row.len()).map(|at| Ok(row.try_get::<_, Value>(at)?)).collect::<Result<Vec<_>>>().map(Row)).collect()
    }

    /// All of it in one round trip, when its statements have been sent before.
    pub fn execute_all(&self, statements: &[Statement], as_transaction: bool) -> Result<()> {
        let prepared: Vec<tokio_postgres::Statement> = statements.iter().map(|statement| self.prepared(statement.sql)).collect::<Result<_>>()?;
        let all: Vec<_> = statements.iter().map(|statement| parameters(&statement.values)).collect();
        let plain = |sql: &'static str| -> Pin<Box<dyn Future<Output = Result<u64, tokio_postgres::Error>> + '_>> {
            Box::pin(async move { self.client.batch_execute(sql).await.map(|()| 0) })
        };
        let mut under_way: Vec<Pin<Box<dyn Future<Output = Result<u64, tokio_postgres::Error>> + '_>>> = Vec::new();
        under_way.extend(as_transaction.then(|| plain("BEGIN")));
        under_way.extend(prepared.iter().zip(&all).map(|(statement, values)| Box::pin(self.client.execute(statement, values)) as Pin<Box<dyn Future<Output = _>>>));
        under_way.extend(as_transaction.then(|| plain("COMMIT")));
        let ended = self.wait(async { Ok(side_by_side(under_way).await) })?;
        // What comes behind a failure fails as well; the first one tells why. A `COMMIT` behind one undoes it all.
        match ended.into_iter().find_map(Result::err) {
            Some(error) => Err(self.failed(&error)),
            None => Ok(()),
        }
    }

    pub fn plain(&self, sql: &str) -> Result<()> {
        self.wait(self.client.batch_execute(sql))
    }

    /// Until the end of the transaction no other controller adds to the chain.
    pub fn alone(&self) -> Result<()> {
        self.query("SELECT pg_advisory_xact_lock(?1)", &[Value::Integer(CHAIN)]).map(drop)
    }

    /// Marks something as under way for as long as this connection lives. `false` when it is so already.
    pub fn claim(&self, what: &str) -> Result<bool> {
        self.holds("SELECT pg_try_advisory_lock(hashtextextended(?1, 0))", what)
    }

    /// Whether something is under way on another connection.
    pub fn is_claimed(&self, what: &str) -> Result<bool> {
        let is_free = self.holds("SELECT pg_try_advisory_lock_shared(hashtextextended(?1, 0))", what)?;
        if is_free {
            self.holds("SELECT pg_advisory_unlock_shared(hashtextextended(?1, 0))", what)?;
        }
        Ok(!is_free)
    }

    fn holds(&self, sql: &str, what: &str) -> Result<bool> {
        Ok(self.query(sql, &[what.into()])?.first().is_some_and(|row| row.0 == [Value::Integer(1)]))
    }

    fn prepared(&self, sql: &str) -> Result<tokio_postgres::Statement> {
        if let Some(known) = self.known.borrow().get(sql) {
            return Ok(known.clone());
        }
        let statement = self.wait(self.client.prepare(&numbered(sql)))?;
        self.known.borrow_mut().insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// What the server answers, if it does so in time.
    fn wait<T>(&self, answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T> {
        if self.is_given_up.get() {
            bail!("the connection to {} was given up", self.shown);
        }
        match self.runtime.block_on(async { tokio::time::timeout(PATIENCE, answer).await }) {
            Ok(Ok(gives)) => Ok(gives),
            Ok(Err(error)) => Err(self.failed(&error)),
            Err(_) => {
                self.is_given_up.set(true);
                bail!("{} gives no answer within {} s", self.shown, PATIENCE.as_secs())
            }
        }
    }

    fn failed(&self, error: &tokio_postgres::Error) -> anyhow::Error {
        if self.client.is_closed() || error.is_closed() {
            self.is_given_up.set(true);
            let why = self.end.lock().unwrap_or_else(PoisonError::into_inner).clone();
            return anyhow!("the connection to {} was lost{}", self.shown, why.map(|why| format!(": {why}")).unwrap_or_default());
        }
        told(error)
    }
}

/// Lets a connection work whenever somebody waits for it.
fn keep<S, T>(connection: Connection<S, T>, end: Arc<Mutex<Option<String>>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let _until_its_end = tokio::spawn(async move {
        if let Err(error) = connection.await {
            *end.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("{:#}", told(&error)));
        }
    });
}

/// What went wrong, in the words of the server where there are any.
fn told(error: &tokio_postgres::Error) -> anyhow::Error {
    if let Some(error) = error.as_db_error() {
        let more: Vec<&str> = error.detail().into_iter().chain(error.hint()).collect();
        let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join("; ")) };
        return anyhow!("{}{more}", error.message());
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(&format!(": {cause_text}"));
        }
        source = cause.source();
    }
    anyhow!(text)
}

/// Waits for all of these, each of which is under way as soon as it is looked at.
async fn side_by_side<T>(mut all: Vec<Pin<Box<dyn Future<Output = T> + '_>>>) -> Vec<T> {
    let mut ended: Vec<Option<T>> = all.iter().map(|_| None).collect();
    std::future::poll_fn(|task| {
        for (one, end) in all.iter_mut().zip(&mut ended).filter(|(_, end)| end.is_none()) {
            if let Poll::Ready(gives) = one.as_mut().poll(task) {
                *end = Some(gives);
            }
        }
        if ended.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    ended.into_iter().flatten().collect()
}

/// `?1` is `$1` here.
fn numbered(sql: &str) -> String {
    sql.replace('?', "$")
}

fn parameters(values: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

impl ToSql for Value {
    fn to_sql(&self, kind: &Type, out: &mut bytes::BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(number) if *kind == Type::INT4 => i32::try_from(*number)?.to_sql(kind, out),
            Self::Integer(number) => number.to_sql(kind, out),
            Self::Real(number) => number.to_sql(kind, out),
            // No text of PostgreSQL can hold this letter.
            Self::Text(text) if text.contains('\0') => text.replace('\0', "\u{fffd}").to_sql(kind, out),
            Self::Text(text) => text.to_sql(kind, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(match *kind {
            Type::INT8 => Self::Integer(i64::from_sql(kind, raw)?),
            Type::INT4 => Self::Integer(i32::from_sql(kind, raw)?.into()),
            Type::BOOL => Self::Integer(bool::from_sql(kind, raw)?.into()),
            Type::FLOAT8 => Self::Real(f64::from_sql(kind, raw)?),
            Type::VOID => Self::Null,
            _ => Self::Text(String::from_sql(kind, raw)?),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self::Null)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Whom to trust: these authorities, or those that browsers trust.
fn trust(authorities: Option<&std::path::Path>) -> Result<rustls::ClientConfig> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    match authorities {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let read = || format!("reading the authorities of `sslrootcert`, `{}`", path.display());
            for certificate in CertificateDer::pem_file_iter(path).with_context(read)? {
                roots.add(certificate.with_context(read)?).with_context(read)?;
            }
            if roots.is_empty() {
                bail!("`sslrootcert`: `{}` holds no certificate", path.display());
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth())
}

/// Encrypts connections.
#[derive(Clone)]
struct Tls(Arc<rustls::ClientConfig>);

impl tokio_postgres::tls::MakeTlsConnect<Socket> for Tls {
    type Stream = Encrypted;
    type TlsConnect = Handshake;
    type Error = rustls::pki_types::InvalidDnsNameError;

    fn make_tls_connect(&mut self, name: &str) -> Result<Handshake, Self::Error> {
        Ok(Handshake { config: self.0.clone(), name: rustls::pki_types::ServerName::try_from(name)?.to_owned() })
    }
}

struct Handshake {
    config: Arc<rustls::ClientConfig>,
    name: rustls::pki_types::ServerName<'static>,
}

impl tokio_postgres::tls::TlsConnect<Socket> for Handshake {
    type Stream = Encrypted;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Encrypted>> + Send>>;

    fn connect(self, stream: Socket) -> Self::Future {
        Box::pin(async move { tokio_rustls::TlsConnector::from(self.config).connect(self.name, stream).await.map(|stream| Encrypted(Box::new(stream))) })
    }
}

struct Encrypted(Box<tokio_rustls::client::TlsStream<Socket>>);

impl tokio_postgres::tls::TlsStream for Encrypted {
    fn channel_binding(&self) -> tokio_postgres::tls::ChannelBinding {
        tokio_postgres::tls::ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(mut self: Pin<&mut Self>, task: &mut Task<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(task, buffer)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Task<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(task, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(task)
    }
}
