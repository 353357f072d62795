//! `stat`: what is at a path. It changes nothing.

use anyhow::Result;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::file::{Kind, LOOK, Look, folder_of};
use crate::module::{Answer, Mode, Module, Path, Question, Report, Surroundings, Verdict};
use crate::remote::Library;
use crate::sh;

/// Find out what is at a path, for a later task. It changes nothing and runs in check mode, too.
///
/// With `register = "it"`, later tasks see `it.stat.exists`, and when something is there: `isreg`, `isdir`, `islnk`,
/// `isfifo`, `issock`, `isblk`, `ischr`, `mode` (such as `"0644"`), `uid`, `gid`, `pw_name`, `gr_name`, `executable`;
/// for a file also `size` in bytes, `nlink` and `checksum`; for a link `lnk_target` as it is written and `lnk_source`
/// as a path from `/`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stat {
    /// The path to look at.
    #[serde(alias = "dest", alias = "name")]
    path: Path,
    /// Take the SHA-256 of a file, as `stat.checksum`. It is left out when this user may not read the file.
    #[serde(default = "yes")]
    get_checksum: bool,
    /// Of a link, look at what it leads to.
    #[serde(default)]
    follow: bool,
}

fn yes() -> bool {
    true
}

impl Module for Stat {
    const NAME: &'static str = "stat";
    const MAIN: Option<&'static str> = Some("path");
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK];

    /// The answer of `file_look`, never with content.
    fn probe(&self, around: &Surroundings) -> Question {
        let path = around.absolute(&self.path);
        let follow = if self.follow { "follow" } else { "nofollow" };
        let hash = if self.get_checksum { sh!("[ -r {} ] && hash='?' || hash=-", path) } else { sh!("hash=-") };
        let look = sh!("{}\nfile_look {} {} \"$hash\" -1", hash, path, follow);
        if !self.follow {
            return Question::Ask(look);
        }
        // A link that leads nowhere is nothing when it is followed.
        Question::Ask(sh!("if [ -L {} ] && [ ! -e {} ]; then printf 'absent\\n'; exit; fi\n{}", path, path, look))
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let path = around.absolute(&self.path);
        let look = Look::read(answer)?;
        Ok(Verdict::InPlace(Report::default().with("stat", described(&path, &look))))
    }
}

fn described(path: &str, look: &Look) -> Value {
    if look.is(Kind::Absent) {
        return json!({ "exists": false });
    }
    let mut stat = json!({
        "exists": true,
        "path": path,
        "mode": Mode::text(look.mode),
        "isreg": look.is(Kind::File),
        "isdir": look.is(Kind::Folder),
        "islnk": look.is(Kind::Link),
        "isfifo": look.is(Kind::Fifo),
        "issock": look.is(Kind::Socket),
        "isblk": look.is(Kind::Block),
        "ischr": look.is(Kind::Char),
        "uid": look.uid.parse::<u64>().ok(),
        "gid": look.gid.parse::<u64>().ok(),
        "pw_name": look.owner,
        "gr_name": look.group,
        "executable": look.mode & 0o111 != 0,
    });
    match look.kind {
        Kind::File => {
            stat["size"] = look.size_bytes.into();
            stat["nlink"] = look.links.into();
            if look.sha256 != "-" {
                stat["checksum"] = look.sha256.as_str().into();
            }
        }
        Kind::Link => {
            let target = String::from_utf8_lossy(&look.target).into_owned();
            let folder = String::from_utf8_lossy(folder_of(path.as_bytes())).into_owned();
            let source = if target.starts_with('/') { target.clone() } else { format!("{}/{target}", folder.trim_end_matches('/')) };
            stat["lnk_source"] = source.into();
            stat["lnk_target"] = target.into();
        }
        _ => {}
    }
    stat
}

#[cfg(test)]
mod tests {
    use super::Stat;
    use crate::module::testing::{module, probe, verdict};
    use crate::module::{Answer, Module as _, Surroundings, Verdict};

    const PATH: &str = "path = '/etc/motd'";

    fn stat(stdout: &str) -> serde_json::Value {
        let answer = Answer { stdout: stdout.into(), ..Answer::default() };
        match module::<Stat>(PATH).compare(&Surroundings::default(), &answer).expect(stdout) {
            Verdict::InPlace(report) => report.data["stat"].clone(),
            Verdict::Differs(_) => panic!("stat changes nothing"),
        }
    }

    #[test]
    fn a_file_is_described() {
        let file = stat("file 0755 0 33 root www-data 2 12 abc\n");
        assert_eq!(file["exists"], true);
        assert_eq!((&file["isreg"], &file["isdir"]), (&true.into(), &false.into()));
        assert_eq!((&file["mode"], &file["gid"]), (&"0755".into(), &33.into()));
        assert_eq!((&file["size"], &file["nlink"]), (&12.into(), &2.into()));
        assert_eq!((&file["checksum"], &file["executable"]), (&"abc".into(), &true.into()));
    }

    #[test]
    fn a_link_tells_where_it_leads() {
        let link = stat("link 0777 0 0 root root ../run/motd\n");
        assert_eq!(link["islnk"], true);
        assert_eq!(link["lnk_source"], "/etc/../run/motd");
        assert_eq!(link["lnk_target"], "../run/motd");
    }

    #[test]
    fn nothing_exists() {
        assert_eq!(stat("absent\n"), serde_json::json!({ "exists": false }));
    }

    #[test]
    fn the_hash_is_taken_where_the_file_can_be_read() {
        let expected = "[ -r '/etc/motd' ] && hash='?' || hash=-\nfile_look '/etc/motd' 'nofollow' \"$hash\" -1";
        assert_eq!(probe::<Stat>(PATH), expected);
        assert!(probe::<Stat>("path = '/a'\nget_checksum = false").starts_with("hash=-\n"));
    }

    #[test]
    fn what_cannot_be_seen_is_an_error() {
        let sentence = "this user may not look into /root; become may help";
        assert_eq!(verdict::<Stat>(PATH, 3, &format!("{sentence}\n")), format!("error: {sentence}"));
    }
}
