//! `fetch`: a file of the host comes to the controller.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::file::{Kind, LOOK, Look};
use crate::module::{Answer, Change, Download, Module, Path, Question, Report, Surroundings, Undo, Verdict};
use crate::remote::Library;
use crate::sh;
use crate::shell::{Pattern, Script};

/// Bring a file from the host to the controller. It travels only where the controller has not the same content already.
///
/// Without `flat`, each host has a folder of its own below `dest`, and there the file has its whole path:
/// `dest/web1/etc/nginx/nginx.conf`. A file is written whole or not at all, and is readable by its owner alone. Nothing is changed on
/// the host, so there is nothing to roll back. `mutate fetch` does the same without a playbook.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fetch {
    /// The file on the host.
    src: Path,
    /// Folder on the controller, relative to the playbook.
    dest: String,
    /// `dest` is the path of the file itself or, with `/` at its end, the folder in which it gets the name of `src`.
    /// With several hosts, let the name of the host be a part of it: `{{ host.name }}`.
    #[serde(default)]
    flat: bool,
    /// Whether a file that is not there is a failure.
    #[serde(default = "yes")]
    fail_on_missing: bool,
}

fn yes() -> bool {
    true
}

impl Module for Fetch {
    const NAME: &'static str = "fetch";
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK];

    fn check(&self) -> Result<()> {
        if self.dest.is_empty() || self.dest.contains('\n') {
            bail!("`dest` is no path | set it to a folder on the controller, such as `\"fetched\"`");
        }
        if self.flat && self.dest.trim_end_matches('/').rsplit('/').next().is_some_and(|name| ["", ".", ".."].contains(&name)) && !self.dest.ends_with('/') {
            bail!("`dest` names no file | with `flat`, it is the path of the file, or a folder with `/` at its end");
        }
        Ok(())
    }

    fn probe(&self, around: &Surroundings) -> Question {
        Question::Ask(sh!("file_look {} follow '' 0", around.absolute(&self.src)))
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let path = around.absolute(&self.src);
        let look = Look::read(answer)?;
        match look.kind {
            Kind::File => {}
            Kind::Absent if !self.fail_on_missing => return Ok(Verdict::InPlace(Report::message(format!("{path} does not exist")))),
            Kind::Absent => bail!("`{path}` does not exist; fail_on_missing = false accepts that"),
            Kind::Folder => bail!("`{path}` is a directory, and only files are fetched; make an archive of it first (`archive`)"),
            kind => bail!("`{path}` is no file but a {}", kind.word()),
        }
        let report = Report::default().with("checksum", look.sha256.as_str()).with("size", look.size_bytes);
        let mut change = Change::new("", "", Script::default(), Pattern::anything(), Undo::Impossible("nothing was changed on the host".into()));
        change.report = report;
        change.download = Some(Download { path: path.into_bytes(), sha256: look.sha256, dest: self.dest.clone(), flat: self.flat });
        Ok(Verdict::differs(change))
    }
}

#[cfg(test)]
mod tests {
    use super::Fetch;
    use crate::module::testing::{problems, verdict};

    #[test]
    fn only_files_are_fetched() {
        assert!(verdict::<Fetch>("src = '/x'\ndest = 'd'", 0, "absent\n").contains("does not exist; fail_on_missing"));
        assert_eq!(verdict::<Fetch>("src = '/x'\ndest = 'd'\nfail_on_missing = false", 0, "absent\n"), "in place: /x does not exist");
        assert!(verdict::<Fetch>("src = '/x'\ndest = 'd'", 0, "dir 0755 0 0 root root\n").contains("is a directory"));
        assert_eq!(problems::<Fetch>("src = '/x'\ndest = '..'\nflat = true"), "`dest` names no file");
    }
}
