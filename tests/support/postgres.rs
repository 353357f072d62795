//! A PostgreSQL server of a test's own: on a socket in a folder of its own and a port of loopback, run by an ordinary user.

#![allow(dead_code, reason = "each program of tests uses some of it")]
#![allow(clippy::print_stdout, reason = "a test that did not run says so")]

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What the server's only login is called, and what nobody may read anywhere.
pub const USER: &str = "keeper";
pub const PASSWORD: &str = "geheim-4711";
/// Whom the server runs as where the tests run as root, whom it refuses.
const NOBODY: u32 = 65534;

pub struct Server {
    folder: tempfile::TempDir,
    programs: PathBuf,
    pub port: u16,
}

/// The newest PostgreSQL of this machine: Debian's folder, or whatever is on the path.
fn programs() -> Option<PathBuf> {
    let version = |path: &PathBuf| path.parent().and_then(Path::file_name).and_then(|name| name.to_str()?.parse::<u32>().ok());
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> = debian.chain(std::env::split_paths(&path)).filter(|folder| folder.join("initdb").exists()).collect();
    found.sort_by_key(|folder| std::cmp::Reverse(version(folder)));
    found.into_iter().next()
}

impl Server {
    /// `None` where there is no PostgreSQL, which is a failure in CI.
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(std::env::var_os("CI").is_none(), "this machine has no PostgreSQL (`apt install postgresql`), which CI needs");
            println!("the test did NOT run: there is no PostgreSQL on this machine (`apt install postgresql`)");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("a folder for the server's user");
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
        let server = Self { folder, programs, port };
        std::fs::write(server.path("password"), PASSWORD).expect("a file");
        let (data, password) = (server.path("data").display().to_string(), server.path("password").display().to_string());
        let output = server.does("initdb", &["-D", &data, "-U", USER, "--pwfile", &password, "--auth", "scram-sha-256", "-E", "UTF8", "--locale", "C"]);
        assert!(output.status.success(), "{output:?}");
        let more = format!("listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\n", server.folder.path().display());
        server.configure(&more);
        server.begin();
        Some(server)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Adds lines to the configuration, which count from the next beginning on.
    pub fn configure(&self, lines: &str) {
        let path = self.path("data/postgresql.conf");
        let text = std::fs::read_to_string(&path).expect("a configuration");
        std::fs::write(path, text + lines).expect("a configuration");
    }

    /// Gives a file to the server's user alone.
    pub fn own(&self, name: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o600)).expect("a mode");
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(self.path(name), Some(NOBODY), Some(NOBODY)).expect("an owner");
        }
    }

    pub fn begin(&self) {
        let log = self.path("log").display().to_string();
        let output = self.does("pg_ctl", &["-D", &self.path("data").display().to_string(), "-l", &log, "-w", "start"]);
        assert!(output.status.success(), "{output:?} {}", std::fs::read_to_string(log).unwrap_or_default());
    }

    /// Ends it as when its machine loses power.
    pub fn end(&self) {
        let _it_may_be_gone = self.does("pg_ctl", &["-D", &self.path("data").display().to_string(), "-m", "immediate", "-w", "stop"]);
    }

    /// Its address, without a password.
    pub fn url(&self) -> String {
        format!("postgres://{USER}@/postgres?host={}&port={}", self.folder.path().display(), self.port)
    }

    /// What a question gives, as plain text.
    pub fn asks(&self, sql: &str) -> String {
        let socket = self.folder.path().display().to_string();
        let output = self.does("psql", &["-h", &socket, "-p", &self.port.to_string(), "-U", USER, "-d", "postgres", "-AtX", "-c", sql]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
    }

    fn does(&self, program: &str, words: &[&str]) -> Output {
        let mut command = Command::new(self.programs.join(program));
        // Whatever is started for good must not keep our output open.
        command.args(words).current_dir(self.folder.path()).env("PGPASSWORD", PASSWORD).env("LC_ALL", "C");
        if nix::unistd::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.output().unwrap_or_else(|error| panic!("{program}: {error}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}
