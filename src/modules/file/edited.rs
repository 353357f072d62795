//! A file whose new content follows from the old one.

use std::sync::Arc;

use anyhow::{Result, bail};

use super::{Existing, Kind, Look, NEW_FILE, Properties, Put, Shown, Source};
use crate::module::{Answer, Change, Content, Surroundings, Undo, Verdict, diff};
use crate::sh;
use crate::shell::{Pattern, Script};

/// The largest file that is edited, in bytes: it travels here and back.
pub const EDITED_BYTES: usize = 1 << 20;

/// What is to be edited.
pub struct Edited<'a> {
    /// Absolute.
    pub path: &'a str,
    pub properties: Properties<'a>,
    /// Mode of a file that is made, when none is asked for.
    pub new_mode: u32,
    pub validate: Option<&'a str>,
    pub follow: bool,
    /// Make the file when there is none.
    pub create: bool,
    /// What the answer has before the part about this file.
    pub before: Pattern,
    /// Runs after every change of the file.
    pub then: Script,
    /// Runs after the file has come back, where that is something else than `then`.
    pub then_back: Option<Script>,
    /// Runs after the change; where it fails, what was there before comes back.
    pub tested: Option<Script>,
}

/// What is in force on a host by a file, beside the file itself: a value of the kernel, a mount, the host's name.
pub struct Live {
    /// What the line is to be that the answer has before the part about the file. `None`: anything.
    pub want: Option<String>,
    /// Makes it so.
    pub set: Script,
    /// Makes it what the line says that was there before.
    pub back: Script,
}

/// The first line of an answer, and the answer without it.
///
/// # Errors
/// When the host could not answer.
pub fn first_line(answer: &Answer) -> Result<(String, Answer)> {
    let bytes = answer.bytes()?;
    let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    let rest = bytes.get(end + 1..).unwrap_or_default().to_vec();
    Ok((String::from_utf8_lossy(&bytes[..end]).into_owned(), Answer { stdout: rest, ..answer.clone() }))
}

impl<'a> Edited<'a> {
    pub fn new(path: &'a str, properties: Properties<'a>) -> Self {
        let then = Script::default();
        Self { path, properties, new_mode: NEW_FILE, validate: None, follow: false, create: false, before: Pattern::default(), then, then_back: None, tested: None }
    }

    fn put<'b>(&'b self, tested: Option<&'b str>) -> Put<'b> {
        Put {
            path: self.path,
            properties: self.properties,
            new_mode: self.new_mode,
            validate: tested.or(self.validate),
            follow: self.follow,
            existing: Existing::Edited,
            before: self.before.clone(),
        }
    }

    /// Asks what is there, with its content.
    pub fn probe(&self) -> Script {
        self.put(None).probe("?")
    }

    /// What is to be done, given the answer of [`probe`](Self::probe). `edit` makes the new content of the old one, which is
    /// empty where there is no file; where the new one is empty too, none is made.
    ///
    /// # Errors
    /// What is there cannot be edited; or why `edit` cannot.
    pub fn verdict(&self, around: &Surroundings, answer: &Answer, edit: impl FnOnce(&[u8]) -> Result<Vec<u8>>) -> Result<Verdict> {
        let path = self.path;
        let look = Look::read(answer)?;
        let old = match (look.kind, &look.shown) {
            (Kind::Folder, _) => bail!("`{path}` is a directory and has no lines"),
            (Kind::File, Shown::Bytes(bytes)) => bytes.as_slice(),
            (Kind::File, _) => bail!("`{path}` is larger than {} KiB, or no text, which is too much to edit; use `copy`, `template` or `command`", EDITED_BYTES >> 10),
            _ => b"",
        };
        let new = edit(old)?;
        if look.kind == Kind::Absent {
            match (new.is_empty(), self.create) {
                (true, _) => return Ok(Verdict::in_place()),
                (false, true) => {}
                (false, false) => bail!("`{path}` does not exist; create = true would make it"),
            }
        }
        let content = Arc::new(Content::new(new));
        let tested = self.tested.as_ref().map(ToString::to_string);
        let verdict = self.put(tested.as_deref()).verdict(around, answer, &look, &Source::Controller(&content))?;
        Ok(self.followed(verdict))
    }

    /// The same for a file by which something is in force. What is in force makes one line before the
    /// answer of [`probe`](Self::probe).
    ///
    /// # Errors
    /// As [`verdict`](Self::verdict).
    pub fn verdict_live(mut self, around: &Surroundings, answer: &Answer, live: impl FnOnce(&str) -> Live, edit: impl FnOnce(&[u8]) -> Result<Vec<u8>>) -> Result<Verdict> {
        let (now, rest) = first_line(answer)?;
        let live = live(&now);
        let want = live.want.clone().unwrap_or_else(|| now.clone());
        self.before = Pattern::exactly(format!("{want}\n"));
        let verdict = self.verdict(around, &rest, edit)?;
        if want == now {
            return Ok(verdict);
        }
        match verdict {
            Verdict::InPlace(report) => {
                let expect = Pattern::exactly(format!("{want}\n")).and(rest.stdout);
                let mut change = Change::new(&now, &want, live.set, expect, Undo::Run(live.back));
                change.apply.group = true;
                change.diff = diff::properties("in force", &[("", now, want)]).replace("- ", "-").replace("+ ", "+");
                change.report = report;
                Ok(Verdict::differs(change))
            }
            Verdict::Differs(mut change) => {
                change.from = format!("{}, {now}", change.from);
                change.to = format!("{}, {want}", change.to);
                change.apply.script = sh!("{} || exit\n{}", change.apply.script, live.set);
                change.apply.group = true;
                change.undo = match change.undo {
                    Undo::Run(script) => Undo::Run(sh!("{} || exit\n{}", script, live.back)),
                    Undo::Restore(script) => Undo::Restore(sh!("edited_back() { {} \"$1\" || exit\n{}\n}; edited_back", script, live.back)),
                    other => other,
                };
                Ok(Verdict::Differs(change))
            }
        }
    }

    /// The file is to be gone.
    ///
    /// # Errors
    /// It is something else than a file or a link.
    pub fn gone(&self, answer: &Answer) -> Result<Verdict> {
        let look = Look::read(answer)?;
        match look.kind {
            Kind::Absent => return Ok(Verdict::in_place()),
            Kind::File | Kind::Link => {}
            kind => bail!("`{}` is no file but a {}, and is left alone", self.path, kind.word()),
        }
        let mut change = Change::new(look.kind.word(), "absent", sh!("file_absent {}", self.path), self.before.clone().and("absent\n"), Undo::Restore(sh!("file_back {}", self.path)));
        change.keep = sh!("file_keep {}", self.path);
        if let Shown::Bytes(old) = &look.shown {
            change.diff = diff::unified(self.path, Some(old), None);
        }
        Ok(self.followed(Verdict::differs(change)))
    }

    /// The change with what has to run after it.
    fn followed(&self, verdict: Verdict) -> Verdict {
        let Verdict::Differs(mut change) = verdict else { return verdict };
        if self.then.is_empty() {
            return Verdict::Differs(change);
        }
        let back = self.then_back.as_ref().unwrap_or(&self.then);
        let after = |script: &Script| sh!("{} || exit\n{}", script, back);
        change.apply.script = sh!("{} || exit\n{}", change.apply.script, self.then);
        change.apply.group = true;
        change.undo = match change.undo {
            Undo::Run(script) => Undo::Run(after(&script)),
            // The record becomes the last word of the call.
            Undo::Restore(script) => Undo::Restore(sh!("edited_back() { {} \"$1\" || exit\n{}\n}; edited_back", script, back)),
            other => other,
        };
        Verdict::Differs(change)
    }
}
