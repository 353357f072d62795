//! Who may have changed what is not as it should be: what the host can tell of it.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, watch};

use super::Input;
use super::blame::ask_with;
use super::prepare::HostPlan;
use super::schedule::{shared, side_by_side};
use super::step::UserKey;
use super::walk::{Halt, Walker};
use crate::event::Event;
use crate::remote::{Library, Stop};
use crate::shell::{Script, unescaped};

static LIBRARY: Library = Library { name: "evidence", text: include_str!("evidence.sh") };

/// Somebody who was logged in, in seconds since 1970; without an end still, or nobody knows until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub begin: i64,
    pub end: Option<i64>,
    pub user: String,
    pub from: String,
}

/// A run that has changed a path, as the host's own ledger tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub run: String,
    /// When it wrote the ledger last.
    pub time: i64,
    pub who: String,
}

/// Whose a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packaged {
    pub name: String,
    pub manager: String,
    /// When the package came in its present version.
    pub time: Option<i64>,
    /// It is as the package brought it.
    pub is_shipped: bool,
}

/// What a host tells of a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// When it was changed last, and its owner; none where there is nothing.
    pub changed: Option<(i64, String)>,
    pub ledger: Option<Entry>,
    pub package: Option<Packaged>,
}

/// What a host tells of some paths, and who was there.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub paths: BTreeMap<String, Evidence>,
    pub sessions: Vec<Session>,
}

/// Asks hosts about paths, each as the user who works on it. Gives why, where a host cannot be asked.
pub async fn evidence(
    input: Input,
    hosts: Vec<(String, HostPlan, BTreeMap<UserKey, Vec<String>>)>,
    events: mpsc::UnboundedSender<Event>,
    stop: watch::Receiver<Stop>,
) -> BTreeMap<String, Result<Told, String>> {
    let shared = shared(input, "evidence".into(), events, stop);
    side_by_side(&shared, hosts, |mut walker, paths: BTreeMap<UserKey, Vec<String>>| async move {
        walker.for_host = Some(String::new());
        let told = ask_one(&mut walker, paths).await;
        let name = walker.name.clone();
        let _left = walker.end().await;
        (name, told)
    })
    .await
    .into_iter()
    .collect()
}

async fn ask_one(walker: &mut Walker, paths: BTreeMap<UserKey, Vec<String>>) -> Result<Told, String> {
    let mut told = Told::default();
    for (user, paths) in paths {
        let mut questions = vec![Script::call(["evidence_logins"])];
        questions.extend(paths.iter().map(|path| Script::call(["evidence_path", path])));
        let asked = async {
            walker.shell(&user, &[]).await?;
            ask_with(walker, &user, questions, &[&LIBRARY]).await
        };
        let answers = asked.await.map_err(|halt| match halt {
            Halt::Host(failure) => failure.to_string(),
            _ => "interrupted".to_owned(),
        })?;
        for answer in answers {
            told.read(&String::from_utf8_lossy(&answer));
        }
    }
    told.sessions.sort_by_key(|session| session.begin);
    told.sessions.dedup();
    Ok(told)
}

impl Told {
    fn read(&mut self, text: &str) {
        let mut at: Option<String> = None;
        for line in text.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let words: Vec<&str> = rest.split(' ').collect();
            let number = |at: usize| words.get(at).and_then(|word| word.parse::<i64>().ok());
            match word {
                "login" => {
                    let (Some(begin), [_, _, user, from, ..]) = (number(0), words.as_slice()) else { continue };
                    self.sessions.push(Session { begin, end: number(1), user: (*user).to_owned(), from: (*from).to_owned() });
                }
                "path" => {
                    let path = String::from_utf8_lossy(&unescaped(rest.as_bytes())).into_owned();
                    self.paths.insert(path.clone(), Evidence::default());
                    at = Some(path);
                }
                _ => {
                    let Some(evidence) = at.as_ref().and_then(|path| self.paths.get_mut(path)) else { continue };
                    match (word, words.as_slice()) {
                        ("stat", [_, owner]) => evidence.changed = number(0).map(|time| (time, (*owner).to_owned())),
                        ("ledger", [run, _, ..]) => evidence.ledger = number(1).map(|time| Entry { run: (*run).to_owned(), time, who: words[2..].join(" ") }),
                        ("package", [name, manager, _, is]) => {
                            evidence.package = Some(Packaged { name: (*name).to_owned(), manager: (*manager).to_owned(), time: number(2), is_shipped: *is == "shipped" });
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    /// Sessions at a time: those that were open then; without any, the last one that began up to an hour before.
    pub fn at(&self, time: i64) -> Vec<&Session> {
        /// What sshd has accepted has no end of its own.
        const HOUR: i64 = 3600;
        let open: Vec<&Session> = self.sessions.iter().filter(|session| session.begin <= time && session.end.is_some_and(|end| end >= time)).collect();
        if !open.is_empty() {
            return open;
        }
        self.sessions.iter().rev().find(|session| session.begin <= time && session.begin + HOUR >= time).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_tells_is_read() {
        let mut told = Told::default();
        told.read("login 100 200 ann 10.0.0.5\nlogin 150 - bob -\nlogin x\n");
        told.read("path /etc/a b\nstat 160 root\nledger 01X 90 ann@laptop pid 1\npackage nginx dpkg - differs\npath /none\ngone\n");
        let evidence = &told.paths["/etc/a b"];
        assert_eq!(evidence.changed, Some((160, "root".into())));
        assert_eq!(evidence.ledger, Some(Entry { run: "01X".into(), time: 90, who: "ann@laptop pid 1".into() }));
        assert_eq!(evidence.package, Some(Packaged { name: "nginx".into(), manager: "dpkg".into(), time: None, is_shipped: false }));
        assert_eq!(told.paths["/none"], Evidence::default());
        let at = |time: i64| told.at(time).iter().map(|session| session.user.clone()).collect::<Vec<_>>();
        assert_eq!((at(160), at(300), at(50)), (vec!["ann".to_owned()], vec!["bob".to_owned()], Vec::new()));
    }
}
