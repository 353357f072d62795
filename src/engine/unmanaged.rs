//! What on hosts is not as their packages have brought it, and what in `/etc` belongs to none: as the hosts themselves can tell.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::Input;
use super::prepare::HostPlan;
use super::schedule::{shared, side_by_side};
use super::step::UserKey;
use super::walk::{Halt, Walker};
use crate::event::Event;
use crate::remote::{Frame, Library, Outcome as Came, Stop, Verb};
use crate::shell::{Script, unescaped};

static LIBRARY: Library = Library { name: "unmanaged", text: include_str!("unmanaged.sh") };

/// The folder whose files should belong to somebody.
const FOLDER: &str = "/etc";
/// So many files of a host are told of, at most.
const MOST: usize = 3000;
/// Besides comparing, the question may take so long.
const REST: Duration = Duration::from_secs(180);

/// A file that is not as a package has brought it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foreign {
    pub path: String,
    /// `differs`, `missing`, or `extra` for what belongs to no package.
    pub kind: String,
    /// What differs, in the letters of `rpm --verify`.
    pub flags: String,
    /// The package calls it configuration.
    pub is_config: bool,
    pub package: Option<String>,
    /// When it was changed last, in seconds since 1970, and its owner.
    pub changed: Option<(i64, String)>,
    /// Where it leads, if it is a link.
    pub target: Option<String>,
}

/// What a host tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unmanaged {
    /// `dpkg`, `rpm`, `pacman` or `none`.
    pub manager: String,
    pub found: Vec<Foreign>,
    /// Paths that runs have changed, by the ledger of the host.
    pub ours: BTreeSet<String>,
    /// What could not be looked at.
    pub unseen: Vec<String>,
    /// So many more there are.
    pub more: usize,
}

/// Asks hosts, each as one user. Each may compare its files with its packages for so many seconds. Gives why, where a host cannot be asked.
pub async fn unmanaged(input: Input, hosts: Vec<(String, HostPlan, UserKey)>, seconds: u64, events: mpsc::UnboundedSender<Event>, stop: watch::Receiver<Stop>) -> BTreeMap<String, Result<Unmanaged, String>> {
    let shared = shared(input, "unmanaged".into(), events, stop);
    side_by_side(&shared, hosts, move |mut walker, user: UserKey| async move {
        walker.for_host = Some(String::new());
        let told = ask(&mut walker, &user, seconds).await.map_err(|halt| match halt {
            Halt::Host(failure) => failure.to_string(),
            _ => "interrupted".to_owned(),
        });
        let name = walker.name.clone();
        let _left = walker.end().await;
        (name, told.and_then(|told| told))
    })
    .await
    .into_iter()
    .collect()
}

async fn ask(walker: &mut Walker, user: &UserKey, seconds: u64) -> Result<Result<Unmanaged, String>, Halt> {
    let (most, patience) = (MOST.to_string(), seconds.to_string());
    let script = Script::call(["unmanaged_list", FOLDER, most.as_str(), patience.as_str()]);
    let frame = Frame { seq: walker.seq(), verb: Verb::Probe(script), libraries: vec![&LIBRARY], limit: Duration::from_secs(seconds) + REST };
    walker.shell(user, &[]).await?;
    for result in walker.fly(user, &[frame]).await? {
        match result.outcome {
            Came::Answered { status: 0, stdout } => return Ok(Ok(Unmanaged::read(&String::from_utf8_lossy(&stdout)))),
            Came::Answered { status, .. } => return Ok(Err(format!("the question ended with status {status}"))),
            Came::Unknown(failure) => return Err(Halt::Host(failure)),
            _ => {}
        }
    }
    Err(walker.not_begun(user))
}

impl Unmanaged {
    fn read(text: &str) -> Self {
        let mut told = Self::default();
        let plain = |text: &str| String::from_utf8_lossy(&unescaped(text.as_bytes())).into_owned();
        for line in text.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "manager" => rest.clone_into(&mut told.manager),
                "ours" => drop(told.ours.insert(plain(rest))),
                "unseen" => told.unseen.push(rest.to_owned()),
                "more" => told.more = rest.parse().unwrap_or(0),
                "to" => {
                    if let Some(last) = told.found.last_mut() {
                        last.target = Some(plain(rest));
                    }
                }
                "differs" | "missing" | "extra" | "link" => {
                    let words: Vec<&str> = rest.splitn(6, ' ').collect();
                    let [flags, config, package, time, owner, path] = words.as_slice() else { continue };
                    told.found.push(Foreign {
                        path: (*path).to_owned(),
                        kind: if word == "link" { "extra".to_owned() } else { word.to_owned() },
                        flags: flags.trim_matches('-').to_owned(),
                        is_config: *config == "c",
                        package: Some((*package).to_owned()).filter(|package| package != "-"),
                        changed: time.parse().ok().map(|time| (time, (*owner).to_owned())),
                        target: None,
                    });
                }
                _ => {}
            }
        }
        // Units that are enabled under another name are links into the folders of packages.
        let is_alias = |one: &Foreign| one.path.starts_with("/etc/systemd/") && one.target.as_deref().is_some_and(|target| target.starts_with("/lib/systemd/") || target.starts_with("/usr/lib/systemd/"));
        told.found.retain(|one| !is_alias(one));
        told.found.sort_by(|left, right| left.path.cmp(&right.path));
        told.unseen.sort();
        told.unseen.dedup();
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_tells_is_read() {
        let told = Unmanaged::read(
            "manager dpkg\nours /srv/a\\\\b\nunseen /etc/private\nextra - - - 20 root /etc/own file\nlink - - - 21 root /etc/systemd/system/dbus.service\nto /lib/systemd/system/d.service\n\
             link - - - 22 root /etc/l\nto /dev/null\ndiffers 5 c nginx 30 www /etc/nginx.conf\nmissing missing - nginx - - /usr/n\nmore 4\nodd\ndiffers 5\n",
        );
        let short: Vec<_> = told.found.iter().map(|one| (one.path.as_str(), one.kind.as_str(), one.package.as_deref(), one.is_config, one.changed.clone())).collect();
        let root = |time: i64| Some((time, "root".to_owned()));
        assert_eq!(
            short,
            [
                ("/etc/l", "extra", None, false, root(22)),
                ("/etc/nginx.conf", "differs", Some("nginx"), true, Some((30, "www".into()))),
                ("/etc/own file", "extra", None, false, root(20)),
                ("/usr/n", "missing", Some("nginx"), false, None)
            ]
        );
        assert_eq!((told.manager.as_str(), told.more, told.unseen.len(), told.ours.contains("/srv/a\\b"), told.found[0].target.as_deref()), ("dpkg", 4, 1, true, Some("/dev/null")));
    }
}
