//! Where a journal is: a file, or a database of a PostgreSQL server. A password in it is shown nowhere.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::secret::Secret;

/// Where a journal is.
#[derive(Clone, Debug)]
pub enum Place {
    File(PathBuf),
    Postgres(Box<Server>),
}

/// A database, and how to come there.
#[derive(Clone, Debug, Default)]
pub struct Server {
    /// A name, an address, or the folder of a socket.
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: Option<Secret>,
    pub database: String,
    pub encryption: Encryption,
}

/// Whoever is between could change how things are undone, so there is nothing between both of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    #[default]
    None,
    /// The server's certificate must be for its name, and from these or the usual authorities.
    Verified(Option<PathBuf>),
}

/// What the environment says for what the URL leaves out.
pub struct Surroundings<'a> {
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    pub home: &'a Path,
    pub user: &'a str,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Postgres(server) => write!(f, "{server}"),
        }
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_socket() {
            return write!(f, "postgres://{}@/{}?host={}", self.user, self.database, self.host);
        }
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        write!(f, "postgres://{}@{host}:{}/{}", self.user, self.port, self.database)
    }
}

/// Whether a word names a PostgreSQL server.
fn of_postgres(text: &str) -> Option<&str> {
    ["postgres://", "postgresql://"].iter().find_map(|scheme| text.strip_prefix(scheme))
}

/// A word of a command line without the password that it may hold.
pub fn without_password(word: &str) -> String {
    let Some(at) = ["postgres://", "postgresql://"].iter().find_map(|scheme| word.find(scheme).map(|at| at + scheme.len())) else { return word.to_owned() };
    let (before, rest) = word.split_at(at);
    // Whatever stands between may be part of a password that was not written as it should be.
    let (login, after) = match rest.rsplit_once('@') {
        Some((login, after)) => (Some(login), after),
        None => (None, rest),
    };
    let after = match after.split_once('?') {
        Some((place, query)) => {
            let kept: Vec<String> = query.split('&').map(|pair| if pair.to_lowercase().starts_with("password") { "password=…".to_owned() } else { pair.to_owned() }).collect();
            format!("{place}?{}", kept.join("&"))
        }
        None => after.to_owned(),
    };
    match login {
        Some(login) if login.contains(':') => format!("{before}{}:…@{after}", login.split(':').next().unwrap_or_default()),
        Some(login) => format!("{before}{login}@{after}"),
        None => format!("{before}{after}"),
    }
}

/// Whether a word of a command line holds a password for a journal.
pub fn has_password(word: &str) -> bool {
    without_password(word) != word
}

impl Place {
    /// Reads what `--journal` or `MUTATE_JOURNAL` say: the path of a file, or a URL.
    ///
    /// # Errors
    /// What is wrong with it. The text itself may hold a password, so it is not quoted.
    pub fn parse(text: &str, around: &Surroundings<'_>) -> Result<Self> {
        if let Some(rest) = of_postgres(text) {
            let server = Server::parse(rest, around).with_context(|| format!("`{}` is no place for a journal", without_password(text)))?;
            return Ok(Self::Postgres(Box::new(server)));
        }
        if let Some((scheme, _)) = text.split_once("://") {
            bail!("a journal is a file or in PostgreSQL: write a path or `postgres://user@host/database`, and not `{}://…`", scheme.escape_debug());
        }
        if text.is_empty() || text.ends_with('/') {
            bail!("`{text}` is no file; name one for the journal, such as `/var/lib/mutate-journal/journal.db`, or write `postgres://user@host/database`");
        }
        Ok(Self::File(std::path::absolute(text).with_context(|| format!("`{text}`"))?))
    }
}

impl Server {
    pub fn is_socket(&self) -> bool {
        self.host.starts_with('/')
    }

    fn parse(rest: &str, around: &Surroundings<'_>) -> Result<Self> {
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let (place, database) = rest.split_once('/').map_or((rest, ""), |(place, database)| (place, database));
        let (login, host) = place.rsplit_once('@').map_or((None, place), |(login, host)| (Some(login), host));
        let (user, password) = login.map_or((None, None), |login| login.split_once(':').map_or((Some(login), None), |(user, password)| (Some(user), Some(password))));
        let variable = |name: &str| (around.variable)(name).filter(|value| !value.is_empty());
        let (host, port) = split_port(host)?;
        let mut server = Self { host: plain(host)?, database: plain(database)?, ..Self::default() };
        let mut port = port.map(str::to_owned);
        let (mut mode, mut authorities) = (variable("PGSSLMODE"), variable("PGSSLROOTCERT"));
        for pair in query.into_iter().flat_map(|query| query.split('&')).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').with_context(|| "after `?` stand pairs such as `sslmode=verify-full`")?;
            let value = plain(value)?;
            match name {
                "host" if server.host.is_empty() => server.host = value,
                "port" if port.is_none() => port = Some(value),
                "sslmode" => mode = Some(value),
                "sslrootcert" => authorities = Some(value),
                "password" => bail!("the password stands before the host: `postgres://user:password@host/database`; better, in `~/.pgpass`"),
                "host" | "port" => bail!("`{name}` is given twice"),
                other => bail!("`{}` is not understood; there are `host`, `port`, `sslmode` and `sslrootcert`", other.escape_debug()),
            }
        }
        if server.host.contains(',') {
            bail!("one server is named, not several; a name that leads to the present primary will do");
        }
        if server.host.is_empty() {
            server.host = variable("PGHOST").unwrap_or_else(|| "/var/run/postgresql".into());
        }
        let port = port.or_else(|| variable("PGPORT")).unwrap_or_else(|| "5432".into());
        server.port = port.parse().ok().filter(|port| *port > 0).with_context(|| format!("`{}` is no port", port.escape_debug()))?;
        server.user = match user.filter(|user| !user.is_empty()) {
            Some(user) => plain(user)?,
            None => variable("PGUSER").unwrap_or_else(|| around.user.to_owned()),
        };
        if server.database.is_empty() {
            server.database = variable("PGDATABASE").unwrap_or_else(|| server.user.clone());
        }
        server.encryption = server.encryption_of(mode.as_deref(), authorities)?;
        server.password = match password {
            Some(password) => Some(Secret::new(plain(password)?)),
            None => match variable("PGPASSWORD") {
                Some(password) => Some(Secret::new(password)),
                None => server.kept_password(&variable("PGPASSFILE").map_or_else(|| around.home.join(".pgpass"), PathBuf::from))?,
            },
        };
        Ok(server)
    }

    fn encryption_of(&self, mode: Option<&str>, authorities: Option<String>) -> Result<Encryption> {
        let is_here = self.is_socket() || self.host == "localhost" || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        let authorities = authorities.filter(|path| path != "system").map(PathBuf::from);
        match mode {
            Some("disable") => Ok(Encryption::None),
            _ if self.is_socket() => Ok(Encryption::None),
            None if is_here && authorities.is_none() => Ok(Encryption::None),
            None | Some("verify-full") => Ok(Encryption::Verified(authorities)),
            Some(other) => bail!(
                "`sslmode={}` would not tell the server from somebody in between, who could change how things are undone; write `verify-full`, with `sslrootcert=FILE` for an authority of your own, or `disable`",
                other.escape_debug()
            ),
        }
    }

    /// The password of this login in a file as `psql` reads it: `host:port:database:user:password`.
    fn kept_password(&self, path: &Path) -> Result<Option<Secret>> {
        use std::os::unix::fs::PermissionsExt as _;
        let Ok(metadata) = std::fs::metadata(path) else { return Ok(None) };
        if !metadata.is_file() {
            return Ok(None);
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            bail!("`{}` holds passwords and can be read by others; take that away (`chmod 600`)", path.display());
        }
        let text = crate::diag::read_text(path).map_err(|reason| anyhow::anyhow!("`{}`: {reason}", path.display()))?;
        let host = if self.is_socket() { "localhost" } else { &self.host };
        let wanted = [host, &self.port.to_string(), &self.database, &self.user];
        Ok(text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
            let fields = fields(line);
            let fits = fields.len() >= 5 && fields.iter().zip(wanted).all(|(field, wanted)| field == "*" || field == wanted);
            fits.then(|| Secret::new(fields[4].clone()))
        }))
    }
}

/// The parts of a line of `.pgpass`; a `\` takes the meaning from a `:` or another `\`.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        let last = fields.len() - 1;
        match letter {
            '\\' => fields[last].extend(letters.next()),
            ':' if fields.len() < 5 => fields.push(String::new()),
            letter => fields[last].push(letter),
        }
    }
    fields
}

/// `host:5432`, `[::1]:5432`, or without a port.
fn split_port(text: &str) -> Result<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').context("`[` is not closed by `]`")?;
        return Ok((host, rest.strip_prefix(':')));
    }
    match text.split_once(':') {
        Some((_, port)) if port.contains(':') => bail!("an address with colons stands in brackets: `[::1]:5432`"),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

/// What `%2F` and the like stand for.
fn plain(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).and_then(|digit| u8::try_from(digit).ok());
        match (digit(rest.next()), digit(rest.next())) {
            (Some(high), Some(low)) => bytes.push(high << 4 | low),
            _ => bail!("a `%` stands for a letter by its two hexadecimal digits; the sign itself is `%25`"),
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0')).context("it is no text")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, variables: &[(&str, &str)]) -> Result<Place> {
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Place::parse(text, &Surroundings { variable: &variable, home: Path::new("/nowhere"), user: "ann" })
    }

    fn server(text: &str, variables: &[(&str, &str)]) -> Server {
        match place(text, variables).unwrap_or_else(|error| panic!("{error:#}")) {
            Place::Postgres(server) => *server,
            Place::File(path) => panic!("{}", path.display()),
        }
    }

    #[test]
    fn urls_are_read() {
        let read = server("postgres://bob:p%40ss@db.example.com:6000/ops?sslmode=verify-full&sslrootcert=/etc/ca.pem", &[]);
        assert_eq!((read.host.as_str(), read.port, read.user.as_str(), read.database.as_str()), ("db.example.com", 6000, "bob", "ops"));
        assert_eq!(read.encryption, Encryption::Verified(Some("/etc/ca.pem".into())));
        assert_eq!(read.password.as_ref().map(Secret::expose), Some("p@ss"));
        assert_eq!(read.to_string(), "postgres://bob@db.example.com:6000/ops");
        assert!(!format!("{read:?}").contains("p@ss"));
        let read = server("postgresql:///ops?host=/run/postgresql", &[("PGPASSWORD", "x"), ("PGUSER", "carl")]);
        assert_eq!((read.host.as_str(), read.port, read.user.as_str(), read.is_socket()), ("/run/postgresql", 5432, "carl", true));
        assert_eq!((server("postgres://[::1]:7000/", &[]).port, server("postgres://", &[]).database.as_str()), (7000, "ann"));
        // Over a network nothing goes unencrypted, or to somebody who is not known, unless that is said.
        assert_eq!(server("postgres://db/x", &[]).encryption, Encryption::Verified(None));
        assert_eq!(server("postgres://db/x?sslmode=disable", &[]).encryption, Encryption::None);
        assert_eq!(server("postgres://127.0.0.1/x", &[]).encryption, Encryption::None);
        assert_eq!(server("postgres://localhost/x", &[("PGSSLMODE", "verify-full")]).encryption, Encryption::Verified(None));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_without_the_password() {
        for (text, reason) in [
            ("postgres://a:geheim@db/x?sslmode=require", "verify-full"),
            ("postgres://a:geheim@db:99999/x", "no port"),
            ("postgres://a:geh%im@db/x", "`%25`"),
            ("postgres://a:geheim@db/x?sslmod=off", "not understood"),
            ("postgres://a@db/x?password=geheim", "before the host"),
            ("postgres://a:geheim@db1,db2/x", "not several"),
            ("postgres://a:geheim@::1/x", "brackets"),
            ("mysql://a:geheim@db/x", "PostgreSQL"),
            ("", "no file"),
        ] {
            let told = format!("{:#}", place(text, &[]).expect_err(text));
            assert!(told.contains(reason) && !told.contains("geh"), "{text}: {told}");
        }
    }

    #[test]
    fn words_of_a_command_line_lose_their_password() {
        for (word, shown) in [
            ("postgres://a:geheim@db/x", "postgres://a:…@db/x"),
            ("--journal=postgresql://a:ge@heim@db/x", "--journal=postgresql://a:…@db/x"),
            ("postgres://a@db/x?password=geheim&sslmode=disable", "postgres://a@db/x?password=…&sslmode=disable"),
            ("postgres://a@db/x", "postgres://a@db/x"),
            ("web & !canary", "web & !canary"),
        ] {
            assert_eq!((without_password(word).as_str(), has_password(word)), (shown, word != shown));
        }
    }

    #[test]
    fn passwords_are_found_where_psql_finds_them() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pgpass");
        std::fs::write(&path, "# mine\nother:*:*:*:no\ndb:5432:ops:ann:a\\:b\\\\c:d\n*:*:*:*:last\n").expect("a file");
        let file = path.display().to_string();
        let find = |url: &str| place(url, &[("PGPASSFILE", &file)]);
        assert!(format!("{:#}", find("postgres://db/ops").expect_err("others can read it")).contains("chmod 600"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
        let password = |url: &str| match find(url) {
            Ok(Place::Postgres(server)) => server.password.map(|password| password.expose().to_owned()),
            _ => None,
        };
        assert_eq!(password("postgres://db/ops").as_deref(), Some("a:b\\c:d"));
        assert_eq!(password("postgres://bob@db/ops").as_deref(), Some("last"));
    }
}
