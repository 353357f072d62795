//! `schedule`: runs of mutate in the crontab of this user, or as timers of systemd.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};

use super::{complain, say, settings};
use crate::module::Lasting;
use crate::render::safe;
use crate::shell::quoted;

/// Stands before the name at the end of our lines in a crontab.
const MARK: &str = "# mutate:";
/// How the names of our units begin.
const PREFIX: &str = "mutate-";

#[derive(Args)]
pub struct Schedule {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Run a command of mutate again and again.
    Add(Add),
    /// List what is scheduled.
    List,
    /// Schedule something no more.
    Remove {
        name: String,
    },
}

#[derive(Args)]
struct Add {
    /// A name for it: letters, digits and `-`.
    name: String,
    /// When: `30m`, `6h`, `hourly`, `daily`, `weekly`, a time of the day such as `04:10`, or five fields of cron in quotes.
    when: String,
    /// A timer of systemd in place of a line in the crontab.
    #[arg(long)]
    systemd: bool,
    /// Only show what would be written.
    #[arg(short = 'n', long)]
    print: bool,
    /// The words after `mutate`, such as `drift playbooks/site.toml`. `--cron` is added.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORD")]
    words: Vec<String>,
}

impl Schedule {
    pub fn run(self) -> Result<u8> {
        match self.what {
            What::Add(add) => add.run(),
            What::List => list(),
            What::Remove { name } => remove(&name),
        }
    }
}

/// When something runs: as five fields of cron, and as a calendar of systemd.
struct When {
    cron: String,
    calendar: Option<String>,
}

impl When {
    fn parse(text: &str) -> Result<Self> {
        let both = |cron: &str, calendar: &str| Ok(Self { cron: cron.to_owned(), calendar: Some(calendar.to_owned()) });
        match text {
            "hourly" => return both("0 * * * *", "hourly"),
            "daily" => return both("0 4 * * *", "*-*-* 04:00:00"),
            "weekly" => return both("0 4 * * 0", "Sun *-*-* 04:00:00"),
            _ => {}
        }
        if let Some((hour, minute)) = text.split_once(':')
            && let (Ok(hour), Ok(minute)) = (hour.parse::<u8>(), minute.parse::<u8>())
            && hour < 24
            && minute < 60
        {
            return both(&format!("{minute} {hour} * * *"), &format!("*-*-* {hour:02}:{minute:02}:00"));
        }
        if text.split_whitespace().count() == 5 {
            if text.bytes().any(|byte| !(byte.is_ascii_alphanumeric() || b" */,-".contains(&byte))) {
                bail!("`{text}` is no five fields of cron");
            }
            return Ok(Self { cron: text.to_owned(), calendar: None });
        }
        let minutes = Lasting::parse(text).map(|lasting| lasting.0.as_secs()).filter(|seconds| seconds % 60 == 0 && *seconds > 0).map(|seconds| seconds / 60);
        match minutes {
            Some(minutes) if minutes < 60 && 60 % minutes == 0 => both(&format!("*/{minutes} * * * *"), &format!("*:0/{minutes}")),
            Some(minutes) if minutes % 60 == 0 && minutes < 1440 && 1440 % minutes == 0 => both(&format!("0 */{} * * *", minutes / 60), &format!("0/{}:00", minutes / 60)),
            Some(1440) => both("0 4 * * *", "*-*-* 04:00:00"),
            _ => bail!("`{text}` says nothing of when; write `30m`, `6h`, `daily`, `04:10`, or five fields of cron such as \"10 4 * * 1-5\""),
        }
    }
}

impl Add {
    fn run(mut self) -> Result<u8> {
        check_name(&self.name)?;
        let when = When::parse(&self.when)?;
        let first = self.words.first().map(String::as_str).unwrap_or_default().to_owned();
        if ["apply", "drift", "plan"].contains(&first.as_str()) && !self.words.iter().any(|word| word == "--cron") {
            self.words.push("--cron".into());
        }
        super::is_a_command(&self.words).map_err(|error| anyhow::anyhow!("`mutate {}` cannot be run: {error}", self.words.join(" ")))?;
        warn_of_environment();
        let program = std::env::current_exe().context("finding this program")?.display().to_string();
        let folder = std::env::current_dir().context("finding this folder")?.display().to_string();
        let line = std::iter::once(program.as_str()).chain(self.words.iter().map(String::as_str)).map(word).collect::<Vec<_>>().join(" ");
        if self.systemd {
            let Some(calendar) = &when.calendar else { bail!("fields of cron are no calendar of systemd; write `30m`, `6h`, `daily` or `04:10`") };
            return self.timer(calendar, &folder, &line);
        }
        // A `%` is a line break to cron.
        let entry = format!("{} cd {} && {} {MARK}{}", when.cron, word(&folder), line, self.name).replace('%', "\\%");
        if self.print {
            say(&safe(entry.as_bytes()));
            return Ok(0);
        }
        let mut lines = without(&crontab()?, &self.name);
        lines.push(entry.clone());
        set_crontab(&lines)?;
        say(&safe(format!("in the crontab: {entry}").as_bytes()));
        Ok(0)
    }

    fn timer(&self, calendar: &str, folder: &str, line: &str) -> Result<u8> {
        let name = format!("{PREFIX}{}", self.name);
        // systemd reads `%` and `$` itself.
        let line = line.replace('%', "%%").replace('$', "$$");
        let service = format!(
            "[Unit]\nDescription=mutate {}\n\n[Service]\nType=oneshot\nWorkingDirectory={}\nExecStart=/bin/sh -c {}\n# Drift found is no failure.\nSuccessExitStatus=2\n",
            self.words.join(" ").replace('%', "%%"),
            folder.replace('%', "%%"),
            quoted_for_unit(&format!("exec {line}"))
        );
        let timer = format!("[Unit]\nDescription=mutate: {}\n\n[Timer]\nOnCalendar={calendar}\nPersistent=true\n\n[Install]\nWantedBy=timers.target\n", self.name);
        if self.print {
            say(&safe(format!("# {name}.service\n{service}\n# {name}.timer\n{timer}").as_bytes()));
            return Ok(0);
        }
        let folder = units()?;
        std::fs::create_dir_all(&folder).with_context(|| format!("`{}`", folder.display()))?;
        for (ending, text) in [("service", &service), ("timer", &timer)] {
            let path = folder.join(format!("{name}.{ending}"));
            std::fs::write(&path, text).with_context(|| format!("`{}`", path.display()))?;
            say(&safe(format!("{}: written", path.display()).as_bytes()));
        }
        systemctl(&["daemon-reload"])?;
        systemctl(&["enable", "--now", &format!("{name}.timer")])?;
        Ok(0)
    }
}

/// It runs in this folder, so it finds the same `mutate.toml`; what is set in this environment it does not know.
fn warn_of_environment() {
    let mut names: Vec<String> = settings::KNOWN.iter().map(|known| settings::variable(known.name)).filter(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty())).collect();
    names.extend(std::env::var_os(settings::CONFIG).filter(|value| !value.is_empty()).map(|_| settings::CONFIG.to_owned()));
    let usual = std::env::home_dir().map(|home| home.join(".config"));
    let other = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute() && Some(folder) != usual.as_ref() && folder.join("mutate").exists());
    names.extend(other.map(|_| "XDG_CONFIG_HOME".to_owned()));
    if !names.is_empty() {
        complain(&format!("warning: cron knows nothing of {}\n  = help: write what it sets into `mutate.toml`, or give it as flags", names.join(", ")));
    }
}

/// A word for a shell, in quotes where it needs them.
fn word(text: &str) -> String {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&byte));
    if is_plain { text.to_owned() } else { quoted(text) }
}

fn check_name(name: &str) -> Result<()> {
    let good = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') && !name.starts_with('-');
    if !good {
        bail!("`{name}` cannot be a name; use letters, digits and `-`");
    }
    Ok(())
}

/// A word for `ExecStart`.
fn quoted_for_unit(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn list() -> Result<u8> {
    for line in crontab().unwrap_or_default() {
        if let Some((entry, name)) = line.rsplit_once(MARK) {
            say(&safe(format!("{name}  cron  {}", entry.trim()).as_bytes()));
        }
    }
    for path in timers() {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let calendar = text.lines().find_map(|line| line.strip_prefix("OnCalendar=")).unwrap_or_default();
        let service = std::fs::read_to_string(path.with_extension("service")).unwrap_or_default();
        let what = service.lines().find_map(|line| line.strip_prefix("Description=")).unwrap_or_default();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        say(&safe(format!("{}  systemd  {calendar}  {what}", name.trim_start_matches(PREFIX)).as_bytes()));
    }
    Ok(0)
}

fn remove(name: &str) -> Result<u8> {
    check_name(name)?;
    let mut is_gone = false;
    let lines = crontab().unwrap_or_default();
    let rest = without(&lines, name);
    if rest.len() < lines.len() {
        set_crontab(&rest)?;
        is_gone = true;
    }
    if let Some(timer) = timers().into_iter().find(|path| path.file_stem().is_some_and(|stem| *stem == *format!("{PREFIX}{name}"))) {
        systemctl(&["disable", "--now", &format!("{PREFIX}{name}.timer")])?;
        for path in [timer.with_extension("service"), timer] {
            std::fs::remove_file(&path).with_context(|| format!("`{}`", path.display()))?;
        }
        systemctl(&["daemon-reload"])?;
        is_gone = true;
    }
    if !is_gone {
        bail!("nothing is scheduled as `{name}`; `mutate schedule list` shows what is");
    }
    say(&format!("{name}: removed"));
    Ok(0)
}

/// The lines of this user's crontab; none where there is no crontab yet.
fn crontab() -> Result<Vec<String>> {
    let output = Command::new("crontab").arg("-l").stdin(Stdio::null()).output().context("`crontab` cannot be run; install cron, or use `--systemd`")?;
    // Without one it says so, and fails.
    Ok(if output.status.success() { String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect() } else { Vec::new() })
}

fn set_crontab(lines: &[String]) -> Result<()> {
    let mut child = Command::new("crontab").arg("-").stdin(Stdio::piped()).spawn().context("`crontab` cannot be run")?;
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    child.stdin.take().context("`crontab` takes nothing")?.write_all(text.as_bytes()).context("writing the crontab")?;
    if !child.wait().context("writing the crontab")?.success() {
        bail!("`crontab` did not take it; the crontab is as it was");
    }
    Ok(())
}

fn without(lines: &[String], name: &str) -> Vec<String> {
    lines.iter().filter(|line| line.rsplit_once(MARK).is_none_or(|(_, own)| own.trim() != name)).cloned().collect()
}

/// Where the units of this user are.
fn units() -> Result<PathBuf> {
    if nix::unistd::geteuid().is_root() {
        return Ok("/etc/systemd/system".into());
    }
    let home = std::env::home_dir().context("no home folder")?;
    let configuration = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute()).unwrap_or_else(|| home.join(".config"));
    Ok(configuration.join("systemd/user"))
}

fn timers() -> Vec<PathBuf> {
    let Ok(folder) = units() else { return Vec::new() };
    let is_ours = |path: &Path| path.extension().is_some_and(|kind| kind == "timer") && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| is_ours(path)).collect();
    found.sort();
    found
}

fn systemctl(words: &[&str]) -> Result<()> {
    let user: &[&str] = if nix::unistd::geteuid().is_root() { &[] } else { &["--user"] };
    let status = Command::new("systemctl").args(user).args(words).stdin(Stdio::null()).status().context("`systemctl` cannot be run; leave `--systemd` out for a line in the crontab")?;
    if !status.success() {
        bail!("`systemctl {}` ended with {status}", words.join(" "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::When;

    #[test]
    fn times_are_fields_and_calendars() {
        let both = |text: &str| When::parse(text).map(|when| (when.cron, when.calendar.unwrap_or_default())).map_err(|error| error.to_string());
        assert_eq!(both("30m"), Ok(("*/30 * * * *".into(), "*:0/30".into())));
        assert_eq!(both("6h"), Ok(("0 */6 * * *".into(), "0/6:00".into())));
        assert_eq!(both("04:10"), Ok(("10 4 * * *".into(), "*-*-* 04:10:00".into())));
        assert_eq!(both("10 4 * * 1-5"), Ok(("10 4 * * 1-5".into(), String::new())));
        assert!(both("7m").is_err() && both("25:00").is_err() && both("x").is_err() && both("a b c d $(e)").is_err());
    }
}
