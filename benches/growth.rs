//! How a run grows with the number of hosts: time, processor, memory and journal of the release binary for 1 to 10,000 hosts.
//!
//! The hosts are simulated: an SSH server in a process of its own speaks the frame protocol without any shell, and answers each
//! message 20 ms late. So what is measured is this side. `cargo bench --bench growth` prints the table;
//! `cargo bench --bench growth -- 1 10 100` other sizes.

#![expect(clippy::cast_precision_loss, reason = "counts are small")]
#![expect(clippy::print_stdout, reason = "the table is what people look at")]

use std::io::{BufRead as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use russh::keys::{Algorithm, PrivateKey, key::safe_rng};
use russh::server::{Auth, Msg, Session};
use russh::{Channel, ChannelId};

/// How late each answer comes.
const LATE: Duration = Duration::from_millis(20);
const SIZES: &[usize] = &[1, 10, 100, 1_000, 10_000];
const SERVER: &str = "MUTATE_GROWTH_SERVER";

/// One connection to a simulated host: what stands in its shell.
#[derive(Default)]
struct Host {
    token: String,
    line: Vec<u8>,
    /// The first line is the secret token, or `-`.
    has_token: bool,
}

impl Host {
    /// What the shell says to a line, on stdout and on stderr, and whether it ends.
    fn says(&mut self, line: &str) -> (String, String, bool) {
        let mut words = line.splitn(3, ' ');
        let (verb, seq) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let m = &self.token;
        let around = format!("{m} b {seq}\n");
        match verb {
            "P" => (format!("{m} a {seq} 0 7\nabsent\n\n"), format!("{m} e {seq}\n"), false),
            "R" => (format!("{around}{m} d {seq} ran 0 0 0\n\n"), format!("{around}{m} e {seq}\n"), false),
            "C" => (format!("{around}{m} d {seq} changed 0 7 0\nabsent\n\n"), format!("{around}{m} e {seq}\n"), false),
            "L" => (format!("{m} l ours 0\n\n"), String::new(), false),
            "Q" => (format!("{m} bye\n"), String::new(), true),
            // The one command of a shell that is there for it: `set -- "$2" SEQ …`.
            "set" => {
                let seq = words.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default();
                (format!("{m} b {seq} 4711\n"), format!("{m} b {seq}\n"), true)
            }
            _ => Default::default(),
        }
    }
}

impl russh::server::Handler for Host {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, _: &str, _: russh::server::VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        tokio::time::sleep(LATE).await;
        Ok(Auth::Accept)
    }

    async fn channel_open_session(&mut self, _: Channel<Msg>, reply: russh::server::ChannelOpenHandle, _: &mut Session) -> Result<(), russh::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(&mut self, channel: ChannelId, command: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        tokio::time::sleep(LATE).await;
        session.channel_success(channel)?;
        let command = String::from_utf8_lossy(command);
        let after = |mark: &str| command.split_once(mark).map(|(_, rest)| rest).unwrap_or_default();
        if command.starts_with("exec sh -c 'eval \"$1\"'") {
            command.rsplit(' ').next().unwrap_or_default().clone_into(&mut self.token);
            return Ok(());
        }
        self.token = after(" q=").chars().take(32).collect();
        let mut stdout = format!("{0} hello 1000 /home/practice\n{0} handlers 0\n\n", self.token);
        let mut stderr = String::new();
        // What travels with the opening; a newline is two letters there.
        let first = after("core_first() {\\n:\\n").split("\\n}").next().unwrap_or_default().to_owned();
        for line in first.split("\\n") {
            let (out, error, _) = self.says(line);
            stdout.push_str(&out);
            stderr.push_str(&error);
        }
        session.extended_data(channel, 1, stderr.into_bytes())?;
        session.data(channel, stdout.into_bytes())?;
        Ok(())
    }

    async fn data(&mut self, channel: ChannelId, data: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        let mut is_late = false;
        let (mut stdout, mut stderr, mut ends) = (String::new(), String::new(), false);
        self.line.extend_from_slice(data);
        while let Some(end) = self.line.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if !std::mem::replace(&mut self.has_token, true) {
                if line != "-" {
                    self.token = line;
                }
                continue;
            }
            let (out, error, end) = self.says(&line);
            is_late |= !out.is_empty();
            stdout.push_str(&out);
            stderr.push_str(&error);
            ends |= end;
        }
        if is_late {
            tokio::time::sleep(LATE).await;
            session.extended_data(channel, 1, stderr.into_bytes())?;
            session.data(channel, stdout.into_bytes())?;
        }
        if ends {
            session.exit_status_request(channel, 0)?;
            session.eof(channel)?;
            session.close(channel)?;
        }
        Ok(())
    }
}

/// The process of the simulated hosts: says its port and its host key, and serves until its stdin ends.
fn serve() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let key = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).expect("a key");
        let public = key.public_key().to_openssh().expect("a public key");
        let listener = tokio::net::TcpSocket::new_v4().expect("a socket");
        listener.bind("0.0.0.0:0".parse().expect("an address")).expect("a port");
        let listener = listener.listen(16 << 10).expect("a listener");
        println!("{} {}", listener.local_addr().expect("an address").port(), public.trim());
        let config = Arc::new(russh::server::Config { server_id: russh::SshId::Standard("SSH-2.0-russh_practice".into()), keys: vec![key], inactivity_timeout: None, nodelay: true, auth_rejection_time_initial: Some(Duration::ZERO), ..Default::default() });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let config = config.clone();
                tokio::spawn(async move {
                    if let Ok(session) = russh::server::run_stream(config, stream, Host::default()).await {
                        let _ended = session.await;
                    }
                });
            }
        });
        let _until_closed = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await;
    });
}

struct Measured {
    seconds: f64,
    processor_ms: u64,
    memory_kib: u64,
}

/// Runs the program, and looks at it in `/proc` until it ends.
fn measure(mut child: Child) -> Measured {
    let began = Instant::now();
    let (mut memory_kib, mut processor_ms) = (0, 0);
    loop {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", child.id())).unwrap_or_default();
        let number = |text: Option<&str>| text.and_then(|text| text.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()).unwrap_or(0);
        memory_kib = memory_kib.max(number(read("status").lines().find_map(|line| line.strip_prefix("VmHWM:"))));
        let stat = read("stat");
        let fields: Vec<&str> = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect()).unwrap_or_default();
        // utime and stime, in hundredths of a second.
        processor_ms = processor_ms.max((number(fields.get(11).copied()) + number(fields.get(12).copied())) * 10);
        if let Some(status) = child.try_wait().expect("a child") {
            assert!(matches!(status.code(), Some(0)), "it ended with {status}");
            return Measured { seconds: began.elapsed().as_secs_f64(), processor_ms, memory_kib };
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn size_of(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries.flatten().map(|entry| if entry.path().is_dir() { size_of(&entry.path()) } else { entry.metadata().map_or(0, |found| found.len()) }).sum()
}

fn main() {
    if std::env::var_os(SERVER).is_some() {
        return serve();
    }
    let mut sizes: Vec<usize> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = SIZES.to_vec();
    }
    let program = std::env::var_os("MUTATE_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_mutate")), PathBuf::from);
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Command::new(std::env::current_exe().expect("this program")).env(SERVER, "1").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the server");
    let mut first = String::new();
    std::io::BufReader::new(server.stdout.take().expect("its stdout")).read_line(&mut first).expect("a port");
    let (port, host_key) = first.trim().split_once(' ').expect("a port and a key");
    let key = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).expect("a key").to_openssh(russh::keys::ssh_key::LineEnding::LF).expect("a key file");
    let key_file = folder.path().join("id");
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&key_file).expect("a file");
    file.write_all(key.as_bytes()).expect("a key");
    let book = folder.path().join("play.toml");
    std::fs::write(&book, "hosts = 'all'\n[[task]]\ncopy = { content = \"I am {{ host.name }}\\n\", dest = '/srv/name' }\n").expect("a playbook");
    println!("{:>8}  {:<16}{:>10}{:>16}{:>12}{:>14}{:>16}", "hosts", "", "seconds", "ms of CPU/host", "MiB", "KiB/host", "journal B/host");
    for size in sizes {
        let inventory = folder.path().join(format!("{size}.toml"));
        let mut text = format!("user = 'practice'\nport = {port}\nkey = '{}'\nhost_key = '{host_key}'\n[hosts]\n", key_file.display());
        for number in 0..size {
            text.push_str(&format!("h{number:05} = {{ address = '127.{}.{}.{}' }}\n", 1 + number / 62_500, number / 250 % 250, 1 + number % 250));
        }
        std::fs::write(&inventory, text).expect("an inventory");
        for (name, words) in [("run", vec!["run", "all", "--", "true"]), ("one change", vec!["apply", book.to_str().expect("text")])] {
            let home = folder.path().join(format!("home-{size}-{}", name.len()));
            std::fs::create_dir(&home).expect("a folder");
            let mut command = Command::new(&program);
            command.args(&words[..1]).arg("-i").arg(&inventory).args(["-q"]).args(&words[1..]);
            let child = command.env("HOME", &home).env("XDG_STATE_HOME", &home).stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("the program");
            let Measured { seconds, processor_ms, memory_kib } = measure(child);
            let journal = size_of(&home);
            println!(
                "{size:>8}  {name:<16}{seconds:>10.2}{:>16.2}{:>12.1}{:>14.1}{:>16}",
                processor_ms as f64 / size as f64,
                memory_kib as f64 / 1024.0,
                memory_kib as f64 / size as f64,
                journal / size as u64
            );
        }
    }
    drop(server.stdin.take());
    let _ended = server.wait();
}
