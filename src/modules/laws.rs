//! The laws that every module keeps, shown with its real sh text in real shells on this machine.
//!
//! In an empty home folder: after apply the probe answers as expected and the verdict is "in place"; after undo the
//! probe answers as it did before, byte for byte. No SSH, and nothing outside the folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::module::{Answer, Content, Local, LocalEntry, LocalKind, Module, Question, Surroundings, Undo, Verdict};
use crate::remote::{Library, without_comments};
use crate::shell::Script;

/// Shells in which every law is shown. One that is not installed is left out, but at least one must be there.
const SHELLS: &[&[&str]] = &[&["dash"], &["bash", "--posix"], &["busybox", "ash"]];

/// Where the sh text of a law runs.
enum Ground {
    /// A temporary folder of this machine.
    Folder(tempfile::TempDir),
    /// A host of the lab: its script, and the host's name.
    Host(PathBuf, &'static str),
}

struct Place {
    ground: Ground,
    shell: &'static [&'static str],
    libraries: String,
}

impl Place {
    fn new(ground: Ground, shell: &'static [&'static str], libraries: &[&Library]) -> Self {
        let small = include_str!("../remote/small.sh");
        let texts = std::iter::once(small).chain(libraries.iter().map(|library| library.text));
        let libraries = texts.map(without_comments).collect();
        let place = Self { ground, shell, libraries };
        if let Ground::Folder(folder) = &place.ground {
            std::fs::create_dir(folder.path().join("store")).expect("a store");
            std::fs::create_dir(folder.path().join("home")).expect("a home");
        }
        place
    }

    fn home(&self) -> String {
        match &self.ground {
            Ground::Folder(folder) => folder.path().join("home").display().to_string(),
            Ground::Host(..) => "/root".into(),
        }
    }

    fn store(&self) -> String {
        match &self.ground {
            Ground::Folder(folder) => folder.path().join("store").display().to_string(),
            Ground::Host(..) => "/run/laws".into(),
        }
    }

    /// Runs sh text as the open shell of a host would, and gives status, stdout and stderr.
    fn run(&self, script: &[u8]) -> (i32, Vec<u8>, Vec<u8>) {
        let mut text = b"n='\n' t='\t'; LC_ALL=C; export LC_ALL; umask 077; set -f; uid=$(id -u)\n".to_vec();
        text.extend(format!("core_run=RUN core_store='{}'\n", self.store()).bytes());
        text.extend(self.libraries.bytes());
        text.extend_from_slice(script);
        self.raw(&text)
    }

    fn raw(&self, text: &[u8]) -> (i32, Vec<u8>, Vec<u8>) {
        let output = match &self.ground {
            Ground::Folder(folder) => {
                let file = folder.path().join("script");
                std::fs::write(&file, text).expect("writing the script");
                Command::new(self.shell[0])
                    .args(&self.shell[1..])
                    .arg(&file)
                    .stdin(Stdio::null())
                    .env("HOME", self.home())
                    .current_dir(self.home())
                    .output()
                    .expect("the shell runs")
            }
            Ground::Host(lab, name) => {
                let command = format!("mkdir -p /run/laws && cat >/run/law && HOME=/root && export HOME && cd && exec {} /run/law </dev/null", self.shell.join(" "));
                let mut child = Command::new("python3")
                    .arg(lab)
                    .args(["exec", name, "sh", "-c", &command])
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
                    .expect("the lab's script runs");
                std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), text).expect("the script is sent");
                child.wait_with_output().expect("it ends")
            }
        };
        (output.status.code().unwrap_or(-1), output.stdout, output.stderr)
    }

    fn ask(&self, script: &Script) -> Answer {
        let (status, stdout, remark) = self.run(script.as_bytes());
        Answer { status, stdout, remark }
    }
}

fn installed() -> Vec<&'static [&'static str]> {
    let found: Vec<&'static [&'static str]> = SHELLS
        .iter()
        .copied()
        .filter(|shell| Command::new(shell[0]).arg(if shell[0] == "busybox" { "--help" } else { "-c" }).arg(":").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok())
        .collect();
    assert!(!found.is_empty(), "no shell to show the laws in");
    found
}

/// Shows the laws for one task in one state of a home folder, in every shell. `expected` is the first line of the verdict.
pub(super) fn law<M: Module>(setup: &str, arguments: &str, files: &[(&str, Local)], expected: &str) {
    for shell in installed() {
        let folder = tempfile::Builder::new().prefix("laws").tempdir().expect("a temporary folder");
        law_at::<M>(Ground::Folder(folder), shell, setup, arguments, files, expected);
    }
}

fn law_at<M: Module>(ground: Ground, shell: &'static [&'static str], setup: &str, arguments: &str, files: &[(&str, Local)], expected: &str) {
    let libraries: Vec<&Library> = M::PROBE_LIBRARIES.iter().chain(M::APPLY_LIBRARIES).copied().collect();
    let place = Place::new(ground, shell, &libraries);
    let at = format!("{}{shell:?}: {setup} | {arguments}", if let Ground::Host(_, name) = &place.ground { name } else { "" });
    let (status, _, said) = place.raw(format!("umask 022\n{setup}\n").as_bytes());
    assert_eq!(status, 0, "{at}: set-up: {}", String::from_utf8_lossy(&said));
    let module: M = crate::module::testing::module(arguments);
    let around = Surroundings {
        home: place.home(),
        files: files.iter().map(|(path, local)| ((*path).to_owned(), local.clone())).collect(),
        ..Surroundings::default()
    };
    let Question::Ask(question) = Module::probe(&module, &around) else { panic!("{at}: no question") };
    let before = place.ask(&question);
    assert_eq!(place.ask(&question).stdout, before.stdout, "{at}: the same question twice");
    let home = place.home();
    let (found, change) = match Module::compare(&module, &around, &before) {
        Ok(Verdict::Differs(change)) => (format!("{} -> {}", change.from, change.to), Some(change)),
        Ok(Verdict::InPlace(_)) => ("in place".to_owned(), None),
        Err(error) => (format!("error: {error:#}"), None),
    };
    assert_eq!(found.replace(&home, "~"), expected, "{at}");
    let Some(change) = change else { return };
    let (status, kept, said) = place.run(change.keep.as_bytes());
    assert_eq!(status, 0, "{at}: backup: {}", String::from_utf8_lossy(&said));
    if let Some(upload) = &change.apply.upload {
        std::fs::write(Path::new(std::str::from_utf8(&upload.path).expect("a path of ours")), upload.content.all().expect("bytes")).expect("the upload");
    }
    let (status, _, said) = place.run(change.apply.script.as_bytes());
    assert!(change.apply.good.contains(&status), "{at}: apply ended with {status}: {}", String::from_utf8_lossy(&said));
    let after = place.ask(&question);
    let shown = String::from_utf8_lossy(&after.stdout).into_owned();
    if let Some(expect) = &change.expect {
        assert!(expect.fits(&after.stdout), "{at}: expected `{expect}`, found `{shown}`");
    }
    match Module::compare(&module, &around, &after) {
        Ok(Verdict::InPlace(_)) => {}
        Ok(Verdict::Differs(again)) => panic!("{at}: not in place afterwards: {} -> {} ({shown})", again.from, again.to),
        Err(error) => panic!("{at}: afterwards: {error:#}"),
    }
    let undo = match &change.undo {
        // What it leaves behind is nothing that the probe asks for.
        Undo::Run(script) | Undo::BestEffort(script, _) => script.clone(),
        Undo::Restore(script) | Undo::RestoreMost(script, _) => {
            let mut text = script.as_bytes().to_vec();
            text.push(b' ');
            let record = String::from_utf8_lossy(&kept);
            crate::shell::push_quoted(&mut text, record.trim_end_matches('\n').as_bytes());
            Script::raw(text)
        }
        Undo::Impossible(_) => return,
    };
    let (status, _, said) = place.run(undo.as_bytes());
    assert_eq!(status, 0, "{at}: undo `{undo}`: {}", String::from_utf8_lossy(&said));
    let back = place.ask(&question);
    assert_eq!(String::from_utf8_lossy(&back.stdout), String::from_utf8_lossy(&before.stdout), "{at}: after undo");
}

fn file(bytes: &[u8]) -> Local {
    Local::File { content: Arc::new(Content::new(bytes.to_vec())), mode: 0o644 }
}

fn site(large: Option<usize>) -> Local {
    let entry = |path: &str, mode, kind| LocalEntry { path: path.as_bytes().to_vec(), mode, kind };
    let content = |bytes: &[u8]| LocalKind::File(Arc::new(Content::new(bytes.to_vec())));
    let mut entries = vec![
        entry("a", 0o644, content(b"new a\n")),
        entry("now", 0o777, LocalKind::Link(b"sub".to_vec())),
        entry("sub", 0o755, LocalKind::Folder),
        entry("sub/-d", 0o755, content(b"#!/bin/sh\n")),
        entry("sub/b c", 0o644, content(b"\\ 'b' $c\n")),
    ];
    if let Some(size) = large {
        entries.push(entry(&"x".repeat(150), 0o644, content(&(0..size).map(|at| u8::try_from(at % 251).expect("small")).collect::<Vec<_>>())));
    }
    entries.sort_by(|left, right| left.path.cmp(&right.path));
    Local::Folder(Arc::new(entries))
}

mod cases;
mod hosts;
