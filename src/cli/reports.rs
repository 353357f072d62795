//! What a run leaves for machines: files for other programs, word to somebody, and how cron runs it.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use super::complain;
use super::options::Showing;
use super::runner::{self, Listener, Note};
use crate::diag::Diagnostic;
use crate::engine::Input;
use crate::event::{Event, Outcome, RunEnd, Totals};
use crate::module::Lasting;
use crate::render::{Junit, Prom};

/// How long somebody who is told may take to hear it.
const HEARING: Duration = Duration::from_secs(30);
/// Another run of the same playbook is looked for this often.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

#[derive(Args, Clone, Default)]
pub struct Reporting {
    /// For cron: silent unless something changed or failed, asks nothing, and runs once at a time for the same playbooks.
    #[arg(long, help_heading = "Cron and reports")]
    pub cron: bool,
    /// Wait for a random time before the hosts are contacted, at most so long, such as `15m`.
    #[arg(long, value_name = "TIME", value_parser = lasting, help_heading = "Cron and reports")]
    pub splay: Option<Duration>,
    #[command(flatten)]
    pub told: Told,
}

/// Whom a run is told to, and for whom it waits.
#[derive(Args, Clone, Default)]
pub struct Told {
    /// How long to wait for a host that another run works on, such as `10m`; without it such a host is left out at once.
    #[arg(long, value_name = "TIME", value_parser = lasting, help_heading = "Cron and reports")]
    pub wait_lock: Option<Duration>,
    /// Write the results as JUnit XML.
    #[arg(long, value_name = "FILE", help_heading = "Cron and reports")]
    pub junit: Option<PathBuf>,
    /// Write numbers for Prometheus's textfile collector.
    #[arg(long, value_name = "FILE", help_heading = "Cron and reports")]
    pub prom: Option<PathBuf>,
    /// When something changed, failed or differs, give a summary in JSON to this command on stdin, or post it to this URL.
    #[arg(long, value_name = "COMMAND|URL", help_heading = "Cron and reports")]
    pub notify: Vec<String>,
}

/// A length of time on the command line.
///
/// # Errors
/// When it is none.
pub fn lasting(text: &str) -> Result<Duration, String> {
    Lasting::parse(text).map(|lasting| lasting.0).ok_or_else(|| "write `30s`, `5m`, `1h30m` or `2d`".to_owned())
}

/// What is taken down of a run.
#[derive(Default)]
struct Taken {
    junit: Option<Junit>,
    prom: Prom,
    run: String,
    command: String,
    end: Option<RunEnd>,
    hosts: Vec<(String, Outcome, String, Totals)>,
}

/// The files to write and the people to tell when a run is over.
pub struct Reports {
    told: Told,
    playbook: String,
    taken: Arc<Mutex<Taken>>,
    _alone: Option<nix::fcntl::Flock<std::fs::File>>,
}

impl Reporting {
    /// Before the hosts are contacted: nobody else may run the same, and the files must be safe to run from.
    ///
    /// # Errors
    /// What is in the way.
    pub fn begin(self, input: &Input, playbooks: &[PathBuf]) -> Result<Result<Reports, u8>> {
        let playbook = playbooks.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ");
        let mut alone = None;
        if self.cron {
            refuse_open_files(input, playbooks)?;
            // Shards of one run work side by side.
            let what = input.options.shard.map_or_else(|| input.options.command.clone(), |shard| format!("{} {shard}", input.options.command));
            match one_at_a_time(playbooks, &what, self.told.wait_lock)? {
                Some(lock) => alone = Some(lock),
                None => {
                    complain(&format!("error: another run of {playbook} is under way on this machine\n  = help: wait for it with `--wait-lock 10m`"));
                    return Ok(Err(super::LOCKED));
                }
            }
        }
        for path in self.told.junit.iter().chain(&self.told.prom) {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if !folder.is_dir() {
                bail!("`{}`: there is no folder `{}` to write it into", path.display(), folder.display());
            }
        }
        let taken = Taken { junit: self.told.junit.is_some().then(Junit::default), ..Taken::default() };
        Ok(Ok(Reports { told: self.told, playbook, taken: Arc::new(Mutex::new(taken)), _alone: alone }))
    }

    /// The flags that have no meaning where a plan is saved.
    ///
    /// # Errors
    /// When one of these flags was given.
    pub fn refuse(&self, place: &str) -> Result<()> {
        let Told { wait_lock, junit, prom, notify } = &self.told;
        let given = [(self.cron, "--cron"), (self.splay.is_some(), "--splay"), (wait_lock.is_some(), "--wait-lock"), (junit.is_some(), "--junit"), (prom.is_some(), "--prom"), (!notify.is_empty(), "--notify")];
        // What is set for all runs is not meant here.
        match given.iter().find(|(is_given, flag)| *is_given && !super::settings::gave(flag.trim_start_matches('-'))) {
            Some((_, flag)) => bail!("`{flag}` has no meaning with {place}"),
            None => Ok(()),
        }
    }

    /// Runs what has been read, and tells whoever wants to know.
    ///
    /// # Errors
    /// When this machine fails us.
    pub fn run(self, mut input: Input, problems: Vec<Diagnostic>, showing: &Showing, diff: bool, note: Option<Note>, names: &[PathBuf]) -> Result<u8> {
        let showing = Showing { quiet: showing.quiet || self.cron, ..showing.clone() };
        input.options.wait_lock = self.told.wait_lock.unwrap_or_default();
        let splay = self.splay();
        let reports = match self.begin(&input, names)? {
            Ok(reports) => reports,
            Err(exit) => return Ok(exit),
        };
        if let Some(pause) = splay.filter(|_| !crate::diag::any_error(&problems)) {
            // A signal ends it at once: nothing has begun.
            std::thread::sleep(pause);
        }
        let exit = runner::run_heard(input, problems, &showing, diff, note, Some(reports.listener()));
        Ok(reports.finish(super::or_bad(exit)))
    }

    /// A random part of the time that it may be.
    pub fn splay(&self) -> Option<Duration> {
        let most = self.splay.filter(|most| !most.is_zero())?;
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random).ok()?;
        let part = f64::from(u32::from_ne_bytes([random[0], random[1], random[2], random[3]])) / f64::from(u32::MAX);
        Some(most.mul_f64(part))
    }
}

impl Told {
    /// As [`Reporting::run`], for what cron has no flags for.
    ///
    /// # Errors
    /// When this machine fails us.
    pub fn run(self, input: Input, problems: Vec<Diagnostic>, showing: &Showing, diff: bool, note: Option<Note>, name: &str) -> Result<u8> {
        Reporting { told: self, ..Reporting::default() }.run(input, problems, showing, diff, note, &[name.into()])
    }
}

impl Reports {
    /// Who hears the run.
    pub fn listener(&self) -> Listener {
        let taken = self.taken.clone();
        Box::new(move |event| taken.lock().unwrap_or_else(PoisonError::into_inner).take(event))
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the files and tells whoever wants to know. The exit code, which shows when that did not work.
    pub fn finish(self, exit: u8) -> u8 {
        let mut failed = false;
        let mut tried = |result: Result<()>| {
            if let Err(error) = result {
                complain(&format!("error: {error:#}"));
                failed = true;
            }
        };
        let taken = self.taken();
        if let (Some(path), Some(junit)) = (&self.told.junit, &taken.junit) {
            tried(write(path, &junit.text()));
        }
        if let Some(path) = &self.told.prom {
            let now = jiff::Timestamp::now().as_duration().as_secs_f64();
            tried(write(path, &taken.prom.text(&self.playbook, exit, now)));
        }
        if taken.is_news(exit) {
            let summary = taken.summary(&self.playbook, exit);
            for whom in &self.told.notify {
                tried(tell(whom, &summary, &taken.run, exit));
            }
        }
        if failed && exit == 0 { super::BAD_INPUT } else { exit }
    }
}

impl Taken {
    fn take(&mut self, event: &Event) {
        if let Some(junit) = &mut self.junit {
            junit.take(event);
        }
        self.prom.take(event);
        match event {
            Event::RunStart(start) => {
                self.run.clone_from(&start.run);
                self.command.clone_from(&start.command);
            }
            Event::HostEnd(end) => self.hosts.push((end.host.clone(), end.outcome, end.message.clone(), end.totals.clone())),
            Event::RunEnd(end) => self.end = Some(end.clone()),
            _ => {}
        }
    }

    fn is_news(&self, exit: u8) -> bool {
        exit != 0 || self.end.as_ref().is_some_and(|end| end.totals.contains_key(&Outcome::Changed))
    }

    /// What happened, in brief: hosts on which nothing did are only counted.
    fn summary(&self, playbook: &str, exit: u8) -> serde_json::Value {
        let named = |totals: &Totals| totals.iter().map(|(outcome, count)| (outcome.name().to_owned(), (*count).into())).collect::<serde_json::Map<_, _>>();
        let quiet = |outcome: &Outcome| matches!(outcome, Outcome::Ok | Outcome::Skipped);
        let hosts: serde_json::Map<String, serde_json::Value> = self
            .hosts
            .iter()
            .filter(|(_, outcome, ..)| !quiet(outcome))
            .map(|(host, outcome, message, totals)| (host.clone(), serde_json::json!({ "outcome": outcome.name(), "message": message, "totals": named(totals) })))
            .collect();
        serde_json::json!({
            "schema": 1, "run": self.run, "command": self.command, "playbook": playbook, "exit": exit,
            "seconds": self.end.as_ref().map_or(0.0, |end| end.time.as_secs_f64()),
            "totals": self.end.as_ref().map(|end| named(&end.totals)).unwrap_or_default(),
            "hosts_in_all": self.hosts.len(), "hosts": hosts,
        })
    }
}

/// Writes a whole file at once: a reader sees the old one or the new one.
fn write(path: &Path, text: &str) -> Result<()> {
    // Whoever collects it is somebody else.
    write_as(path, text, 0o644)
}

/// The same for nobody but this user.
///
/// # Errors
/// Why it cannot be written.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    write_as(path, text, 0o600)
}

fn write_as(path: &Path, text: &str, mode: u32) -> Result<()> {
    let in_words = || format!("`{}` cannot be written", path.display());
    let name = path.file_name().with_context(in_words)?.to_string_lossy().into_owned();
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).with_context(in_words)?;
    let beside = path.with_file_name(format!(".{name}.{:016x}", u64::from_ne_bytes(random)));
    let written = (|| -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    })();
    if written.is_err() {
        let _gone = std::fs::remove_file(&beside);
    }
    written.with_context(in_words)
}

/// Gives a summary to a command or a URL.
fn tell(whom: &str, summary: &serde_json::Value, run: &str, exit: u8) -> Result<()> {
    if whom.starts_with("http://") || whom.starts_with("https://") {
        let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(HEARING)).build().into();
        // An address may hold a token.
        let place = whom.split("://").nth(1).and_then(|rest| rest.split(['/', '?']).next()).unwrap_or_default();
        let place = place.rsplit('@').next().unwrap_or_default();
        agent.post(whom).header("Content-Type", "application/json").send(summary.to_string()).with_context(|| format!("`--notify`: {place} could not be told"))?;
        return Ok(());
    }
    let in_words = || format!("`--notify {whom}`");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", whom]).env("MUTATE_RUN", run).env("MUTATE_EXIT", exit.to_string());
    // In a group of its own, so that all that it starts can be ended.
    command.process_group(0);
    let begun = std::time::Instant::now();
    let mut child = command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().with_context(in_words)?;
    if let Some(mut stdin) = child.stdin.take() {
        let text = summary.to_string();
        // Whoever does not read it wanted only to be called, and holds nobody.
        std::thread::spawn(move || drop(stdin.write_all(text.as_bytes())));
    }
    let group = i32::try_from(child.id()).map(nix::unistd::Pid::from_raw);
    loop {
        if let Some(status) = child.try_wait().with_context(in_words)? {
            if status.success() {
                return Ok(());
            }
            bail!("`--notify {whom}` ended with {status}");
        }
        if begun.elapsed() > HEARING {
            if let Ok(group) = group {
                let _gone = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
            }
            let _gone = child.wait();
            bail!("`--notify {whom}` did not end within {} s, and was killed", HEARING.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The right to be the only run of these playbooks on this machine; none while another one has it.
fn one_at_a_time(playbooks: &[PathBuf], command: &str, patience: Option<Duration>) -> Result<Option<nix::fcntl::Flock<std::fs::File>>> {
    let whole: Vec<String> = playbooks.iter().map(|path| std::fs::canonicalize(path).unwrap_or_else(|_| path.clone()).display().to_string()).collect();
    let name = runner::hex(format!("{command}\n{}", whole.join("\n")).as_bytes());
    let folder = runner::journal_path().with_file_name("cron");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).with_context(|| format!("`{}`", folder.display()))?;
    let path = folder.join(format!("{}.lock", &name[..32]));
    let mut file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path).with_context(|| format!("`{}`", path.display()))?;
    let begun = std::time::Instant::now();
    loop {
        match nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(Some(lock)),
            Err((back, nix::errno::Errno::EWOULDBLOCK)) => file = back,
            Err((_, error)) => bail!("`{}`: {error}", path.display()),
        }
        if begun.elapsed() >= patience.unwrap_or_default() {
            return Ok(None);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// A folder and everything in it, up to a bound.
fn below(folder: &Path, places: &mut std::collections::BTreeSet<PathBuf>) {
    const MOST: usize = 20_000;
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    places.insert(folder.to_owned());
    for path in entries.flatten().map(|entry| entry.path()) {
        if places.len() >= MOST {
            return;
        }
        if path.is_dir() && !path.is_symlink() {
            below(&path, places);
        } else {
            places.insert(path);
        }
    }
}

/// As root, from a file that somebody else can write, anybody could do anything.
fn refuse_open_files(input: &Input, plans: &[PathBuf]) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let mut places = std::collections::BTreeSet::new();
    for named in input.sources.all().iter().map(|source| Path::new(&source.name)).chain(plans.iter().map(PathBuf::as_path)) {
        let Ok(path) = std::fs::canonicalize(named) else { continue };
        // A link can be made to lead elsewhere by whoever can write its folder.
        let folder = named.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        places.extend([path.clone()].into_iter().chain(path.parent().map(Path::to_owned)).chain(std::fs::canonicalize(folder)));
        // What playbooks and roles bring along.
        for name in ["files", "templates", "modules", "roles", "vars"] {
            below(&folder.join(name), &mut places);
        }
    }
    for place in &places {
        let Ok(metadata) = std::fs::metadata(place) else { continue };
        let sticky = metadata.is_dir() && metadata.mode() & 0o1000 != 0;
        if metadata.uid() != 0 {
            bail!("`{}` belongs to another user than root, and root does not run unattended from it; give it to root (`chown root`)", place.display());
        }
        if metadata.mode() & 0o022 != 0 && !sticky {
            bail!("`{}` can be written by others than root, and root does not run unattended from it; take that away (`chmod go-w`)", place.display());
        }
    }
    Ok(())
}
