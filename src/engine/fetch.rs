//! Files from hosts, each host's into a folder of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::beneath::{Draft, hashed, hex, local_parts};
use super::prepare::HostPlan;
use super::schedule::{in_order, shared, side_by_side, summed, tell, tell_start};
use super::settle::Ending;
use super::step::UserKey;
use super::walk::{Halt, Walker, stopping};
use super::Input;
use crate::event::{Event, Outcome, RunEnd, Step, exit_code};
use crate::module::Change;
use crate::remote::{Become, HostFailure, Stop, download};

/// Which files to fetch, and where to.
pub struct Fetch {
    /// Paths on the hosts, from `/` or `~/`.
    pub paths: Vec<String>,
    /// The folder here; below it each host has one, and there the file has its whole path.
    pub folder: PathBuf,
}

impl Fetch {
    /// Where a file of a host comes to lie, below the folder.
    ///
    /// # Errors
    /// What in the path could lead elsewhere.
    pub fn place(host: &str, path: &str) -> Result<PathBuf, String> {
        Ok(Path::new(host).join(local_parts(path)?))
    }
}

/// Fetches files from hosts, many at once.
pub async fn fetch(
    input: Input,
    plans: BTreeMap<String, HostPlan>,
    wanted: Fetch,
    run: String,
    events: mpsc::UnboundedSender<Event>,
    stop: watch::Receiver<Stop>,
) -> u8 {
    let begun = Instant::now();
    let shared = shared(input, run, events, stop.clone());
    let hosts = in_order(&shared, &plans);
    tell_start(&shared, &hosts);
    tell(&shared, Event::Batch { hosts });
    let wanted = Arc::new(wanted);
    let work = plans.into_iter().map(|(name, plan)| (name, plan, wanted.clone())).collect();
    let ends = side_by_side(&shared, work, |mut walker, wanted| async move {
        walker.tell(Event::HostStart { host: walker.name.clone() });
        if let Err(halt) = all(&mut walker, &wanted).await {
            match halt {
                Halt::Host(failure) => walker.host_failure(&failure),
                _ => walker.interrupted("interrupted"),
            }
        }
        walker.end().await
    })
    .await;
    let exit = exit_code(&ends, *stop.borrow() != Stop::No);
    tell(&shared, Event::RunEnd(RunEnd { totals: summed(&ends), exit, time: begun.elapsed() }));
    exit
}

async fn all(walker: &mut Walker, wanted: &Fetch) -> Result<(), Halt> {
    let options = &walker.shared.input.options;
    let other = walker.plan.usual_user(options).filter(|user| *user != walker.plan.target.user);
    let user = other.map(|user| walker.plan.become_as(&user, options));
    walker.connect().await?;
    for (number, path) in wanted.paths.iter().enumerate() {
        let begun = Instant::now();
        let (outcome, message) = match one(walker, user.as_ref(), path, &wanted.folder).await {
            Ok(found) => found,
            Err(HostFailure::Download(reason)) => (Outcome::Failed, reason),
            Err(HostFailure::Interrupted) => return Err(Halt::Stopped),
            Err(other) => return Err(Halt::Host(other)),
        };
        *walker.totals.entry(outcome).or_default() += 1;
        walker.worsen(outcome);
        let step = Step {
            host: walker.name.clone(),
            play: "fetch".into(),
            task: path.clone(),
            module: "fetch".into(),
            file: "command line".into(),
            line: number + 1,
            outcome,
            message,
            status: i32::from(outcome == Outcome::Failed),
            time: begun.elapsed(),
            ..Step::default()
        };
        walker.tell(Event::Step(Box::new(step)));
    }
    Ok(())
}

impl Walker {
    /// Brings the file of a task here, unless one of the same content is there.
    pub(super) async fn bring(&mut self, user: &UserKey, change: &Change, folder: &Path, is_check: bool, limit: Duration) -> Result<Ending, Halt> {
        let Some(wanted) = &change.download else { return Ok(Ending::new(Outcome::Ok)) };
        let path = String::from_utf8_lossy(&wanted.path).into_owned();
        let (root, place) = match at(&self.name, &path, &folder.join(&wanted.dest), wanted.flat, wanted.dest.ends_with('/')) {
            Ok(found) => found,
            Err(reason) => return Ok(Ending::failed(reason)),
        };
        let shown = root.join(&place).display().to_string();
        let report = change.report.clone().with("dest", shown.as_str());
        let (there, sha256) = (root.join(&place), wanted.sha256.clone());
        let is_same = tokio::task::spawn_blocking(move || sha256_of(&there).is_some_and(|found| found == sha256)).await.unwrap_or(false);
        if is_same {
            return Ok(Ending::new(Outcome::Ok).report(report));
        }
        if is_check {
            return Ok(Ending::new(Outcome::Changed).message(format!("to {shown}")).report(report));
        }
        let other = user.as_ref().map(|name| self.plan.become_as(name, &self.shared.input.options));
        let bringing = async {
            let here = |error: std::io::Error| HostFailure::Download(format!("`{shown}` cannot be written: {error}"));
            let mut draft = Draft::begin(&root, &place).map_err(here)?;
            let Some(link) = &self.link else { return Err(HostFailure::Lost("not connected".into())) };
            download(link, other.as_ref(), &wanted.path, |bytes| draft.write(bytes), stopping(self.stop.clone())).await?;
            let came = draft.sha256();
            if wanted.sha256 != "-" && came != wanted.sha256 {
                return Err(HostFailure::Download(format!("{path} was changed while it was fetched; run it again")));
            }
            draft.finish().map_err(here)
        };
        let brought = tokio::time::timeout(limit, bringing).await;
        match brought {
            Ok(Ok(_)) => Ok(Ending::new(Outcome::Changed).message(format!("to {shown}")).report(report)),
            Ok(Err(HostFailure::Download(reason))) => Ok(Ending::failed(reason)),
            Ok(Err(HostFailure::Interrupted)) => Err(Halt::Stopped),
            Ok(Err(other)) => Err(Halt::Host(other)),
            Err(_) => Ok(Ending::failed(format!("the file was not here within {} s", limit.as_secs()))),
        }
    }
}

/// The folder that is written to, and the place of the file in it.
fn at(host: &str, path: &str, dest: &Path, flat: bool, is_folder: bool) -> Result<(PathBuf, PathBuf), String> {
    if !flat {
        return Ok((dest.to_owned(), Fetch::place(host, path)?));
    }
    let name = if is_folder { path.rsplit('/').next().map(PathBuf::from) } else { dest.file_name().map(PathBuf::from) };
    let name = name.filter(|name| !name.as_os_str().is_empty()).ok_or_else(|| format!("`{}` names no file", dest.display()))?;
    let root = if is_folder { dest.to_owned() } else { dest.parent().map(Path::to_owned).unwrap_or_default() };
    // `.` rather than nothing, for a file beside the playbook.
    Ok((if root.as_os_str().is_empty() { PathBuf::from(".") } else { root }, name))
}

/// SHA-256 of a plain file, in hexadecimal.
fn sha256_of(path: &Path) -> Option<String> {
    if !std::fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    Some(hex(hashed(&mut std::fs::File::open(path).ok()?).ok()?))
}

async fn one(walker: &Walker, user: Option<&Become>, path: &str, folder: &Path) -> Result<(Outcome, String), HostFailure> {
    let place = Fetch::place(&walker.name, path).map_err(HostFailure::Download)?;
    let here = |error: std::io::Error| HostFailure::Download(format!("`{}` cannot be written: {error}", folder.join(&place).display()));
    let mut draft = Draft::begin(folder, &place).map_err(here)?;
    let Some(link) = &walker.link else { return Err(HostFailure::Lost("not connected".into())) };
    download(link, user, path.as_bytes(), |bytes| draft.write(bytes), stopping(walker.stop.clone())).await?;
    let bytes = draft.bytes;
    let is_new = draft.finish().map_err(here)?;
    let outcome = if is_new { Outcome::Changed } else { Outcome::Ok };
    Ok((outcome, format!("{} ({bytes} bytes)", folder.join(&place).display())))
}
