//! `slurp`: the content of a file on a host, for later tasks. It changes nothing.

use anyhow::{Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::Deserialize;

use super::file::{EDITED_BYTES, Kind, LOOK, Look, Shown};
use crate::module::{Answer, Module, Path, Question, Report, Surroundings, Verdict};
use crate::remote::Library;
use crate::sh;

/// Read a file of the host, for a later task. It changes nothing and runs in check mode, too.
///
/// With `register = "it"`, later tasks see `it.text` (the content as text, where it is UTF-8), `it.content` (the same in base64),
/// `it.size` in bytes and `it.checksum` (SHA-256). A file may have 1 MiB; `mutate fetch` takes larger ones.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slurp {
    /// The file.
    #[serde(alias = "path")]
    src: Path,
}

impl Module for Slurp {
    const NAME: &'static str = "slurp";
    const MAIN: Option<&'static str> = Some("src");
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK];

    fn probe(&self, around: &Surroundings) -> Question {
        let path = around.absolute(&self.src);
        Question::Ask(sh!("file_look {} follow '?' {}", path, EDITED_BYTES))
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let path = around.absolute(&self.src);
        let look = Look::read(answer)?;
        let bytes: &[u8] = match (look.kind, &look.shown) {
            (Kind::Absent, _) => bail!("`{path}` does not exist, so it cannot be read"),
            (Kind::File, Shown::Bytes(bytes)) => bytes,
            (Kind::File, Shown::Binary) => bail!("`{path}` holds NUL bytes; `mutate fetch` takes such files"),
            (Kind::File, Shown::Nothing) if look.size_bytes == 0 => b"",
            (Kind::File, _) => bail!("`{path}` has {} bytes, and at most {} KiB are read; `mutate fetch` takes larger files", look.size_bytes, EDITED_BYTES >> 10),
            (kind, _) => bail!("`{path}` is no file but a {}", kind.word()),
        };
        let report = Report::default().with("content", STANDARD.encode(bytes)).with("encoding", "base64").with("source", path).with("size", look.size_bytes).with("checksum", look.sha256.as_str());
        Ok(Verdict::InPlace(match std::str::from_utf8(bytes) {
            Ok(text) => report.with("text", text),
            Err(_) => report,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::Slurp;
    use crate::module::testing::{module, verdict};
    use crate::module::{Answer, Module as _, Surroundings, Verdict};

    #[test]
    fn text_comes_as_it_is_and_in_base64() {
        let module: Slurp = module("src = '/etc/motd'");
        let answer = Answer { stdout: b"file 0644 0 0 root root 1 3 ab\ncontent\nhi\n".to_vec(), ..Answer::default() };
        let Verdict::InPlace(report) = module.compare(&Surroundings::default(), &answer).expect("a verdict") else { panic!("a change") };
        assert_eq!((&report.data["text"], &report.data["content"]), (&"hi\n".into(), &"aGkK".into()));
        assert!(verdict::<Slurp>("src = '/x'", 0, "absent\n").contains("does not exist"));
        assert!(verdict::<Slurp>("src = '/x'", 0, "dir 0755 0 0 root root\n").contains("is no file but a directory"));
    }
}
