//! `get_url`: a file on the host is what an address leads to.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::file::{CHANGE, Existing, Kind, LOOK, Look, NEW_FILE, Properties, Put, Source, check_parent};
use super::web::Request;
use crate::module::{Answer, Change, Content, Effect, Lasting, Mode, Module, Path, Question, Surroundings, Touches, Undo, Verdict};
use crate::remote::Library;
use crate::sh;
use crate::shell::{Pattern, Script};

static GET: Library = Library { name: "get_url", text: include_str!("get.sh") };

/// Have the host fetch a file from an address (http, https, ftp) with its own curl or wget.
///
/// With `checksum`, the file is fetched where it does not have that checksum, and nothing else is ever put in place. Without,
/// it is fetched where there is none; `force = true` fetches it every time, and counts as a change where it differs.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetUrl {
    /// The address.
    url: String,
    /// Path of the file on the host.
    dest: Path,
    /// What the file must be: `sha256:0123…`, or with `sha512`, `sha384`, `sha224`, `sha1`, `md5`. A bare number is SHA-256.
    checksum: Option<String>,
    /// Fetch it even where there is a file already.
    #[serde(default)]
    force: bool,
    /// Headers of the request.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// User to name to the server.
    #[serde(alias = "username")]
    url_username: Option<String>,
    /// Password of that user.
    #[serde(alias = "password")]
    url_password: Option<String>,
    /// Longest time to connect, and without a byte.
    #[serde(default = "ten_seconds")]
    timeout: Lasting,
    /// Whether the server's certificate must be right.
    #[serde(default = "yes")]
    validate_certs: bool,
    /// Permissions, such as `"0644"`. Left out: the file keeps its own, a new one gets 0644.
    mode: Option<Mode>,
    /// Name or number of the owner. Left out: the file keeps its owner.
    owner: Option<String>,
    /// Name or number of the group. Left out: the file keeps its group.
    group: Option<String>,
    /// Accepted for playbooks that say it: what is overwritten is kept on the host in any case, for `rollback`.
    #[serde(default, rename = "backup")]
    _backup: bool,
}

fn yes() -> bool {
    true
}

fn ten_seconds() -> Lasting {
    Lasting(std::time::Duration::from_secs(10))
}

/// Algorithms and the length of what they give in hex.
const SUMS: [(&str, usize); 6] = [("sha256", 64), ("sha512", 128), ("sha384", 96), ("sha224", 56), ("sha1", 40), ("md5", 32)];

impl Module for GetUrl {
    const NAME: &'static str = "get_url";
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK, &GET];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE];

    fn check(&self) -> Result<()> {
        self.properties().check()?;
        if !["http://", "https://", "ftp://", "file://"].iter().any(|scheme| self.url.starts_with(scheme)) {
            bail!("`url`: `{}` is no address | it begins with `https://`, `http://`, `ftp://` or `file://`", self.url.escape_debug());
        }
        let texts = self.headers.iter().flat_map(|(name, value)| [name, value]).chain(&self.url_username).chain(&self.url_password);
        if self.url.contains(char::is_whitespace) || texts.into_iter().any(|text| text.contains(['\n', '\r'])) {
            bail!("an address has no blanks, and a header or password no line breaks");
        }
        if self.dest.ends_with_slash() {
            bail!("`dest` is a folder | write the path of the file");
        }
        self.sum().map(drop)
    }

    fn touches(&self, around: &Surroundings) -> Touches {
        Touches::Path(around.absolute(&self.dest))
    }

    /// The line `sum HEX`, where a checksum other than SHA-256 is asked for, and then what is there.
    fn probe(&self, around: &Surroundings) -> Question {
        let dest = around.absolute(&self.dest);
        let look = sh!("get_has || exit 3\nfile_look {} nofollow '?' -1", dest);
        match self.sum() {
            Ok(Some((kind, _))) if kind != "sha256" => Question::Ask(sh!("_s=$(get_sum {} {}) || { printf '%s\\n' \"$_s\"; exit 3; }\nprintf 'sum %s\\n' \"$_s\"", kind, dest).then(&look)),
            _ => Question::Ask(look),
        }
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let dest = around.absolute(&self.dest);
        let wanted = self.sum()?;
        let has_line = wanted.as_ref().is_some_and(|(kind, _)| *kind != "sha256");
        let (line, rest) = if has_line { super::file::first_line(answer)? } else { (String::new(), answer.clone()) };
        let look = Look::read(&rest)?;
        match look.kind {
            Kind::File | Kind::Absent => {}
            Kind::Link => bail!("`{dest}` is a link to `{}`, and is left alone", String::from_utf8_lossy(&look.target)),
            kind => bail!("`{dest}` is no file but a {}, and is left alone", kind.word()),
        }
        let is_new = look.kind == Kind::Absent;
        let has = if has_line { line.strip_prefix("sum ").unwrap_or_default() } else { &look.sha256 };
        let is_needed = match &wanted {
            Some((_, sum)) => is_new || has != sum,
            None => is_new || self.force,
        };
        let before = if has_line { Pattern::exactly(format!("{line}\n")) } else { Pattern::default() };
        if !is_needed {
            let put = Put { path: &dest, properties: self.properties(), new_mode: NEW_FILE, validate: None, follow: false, existing: Existing::Kept, before };
            return put.verdict(around, &rest, &look, &Source::Controller(&Arc::new(Content::new(Vec::new()))));
        }
        if is_new {
            check_parent(&dest, around, &rest)?;
        }
        let [mode, owner, group] = self.properties().words(&look, NEW_FILE);
        let (kind, sum) = wanted.clone().unwrap_or(("sha256", "-".into()));
        let expect = match &wanted {
            Some(("sha256", sum)) => Pattern::exactly("file ").and_anything().and(format!(" {sum}\n")),
            Some((_, sum)) => Pattern::exactly(format!("sum {sum}\nfile ")).and_anything(),
            None => Pattern::exactly("file ").and_anything(),
        };
        let certificates = if self.validate_certs { "yes" } else { "no" };
        let apply = sh!(
            "get_put {} {} {} {} {} {} {} {} {} {} {}",
            dest, mode, owner, group, kind, sum, self.url, self.timeout.0.as_secs().max(1), certificates, self.request().for_curl(), if self.request().has_more() { "yes" } else { "no" }
        );
        let undo = if is_new { Undo::Run(sh!("file_absent {}", dest)) } else { Undo::Restore(sh!("file_back {}", dest)) };
        let mut change = Change::new(if is_new { "absent" } else { "old content" }, "fetched", apply, expect, undo);
        change.apply.group = true;
        change.keep = if is_new { Script::default() } else { sh!("file_keep {}", dest) };
        change.diff = format!("--- {}\n+++ {dest}\n{} bytes -> what {} leads to\n", if is_new { "/dev/null" } else { &dest }, look.size_bytes, self.shown_url());
        if wanted.is_none() && !is_new {
            change.effect = Effect::ChangeIfAnswerDiffers;
        }
        Ok(Verdict::differs(change))
    }
}

impl GetUrl {
    fn properties(&self) -> Properties<'_> {
        Properties::new(self.mode.as_ref(), self.owner.as_ref(), self.group.as_ref())
    }

    /// Algorithm and number of the checksum.
    fn sum(&self) -> Result<Option<(&'static str, String)>> {
        let Some(text) = &self.checksum else { return Ok(None) };
        let (kind, number) = text.split_once(':').unwrap_or(("sha256", text));
        if number.contains("//") {
            bail!("`checksum` is an address, and nothing is fetched from there | write the number itself");
        }
        let Some((kind, length)) = SUMS.iter().find(|(name, _)| *name == kind).copied() else {
            bail!("`checksum`: there is no algorithm `{}` | one of {}", kind.escape_debug(), SUMS.map(|(name, _)| name).join(", "));
        };
        let number = number.trim().to_lowercase();
        if number.len() != length || !number.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            bail!("`checksum`: a {kind} has {length} hexadecimal digits");
        }
        Ok(Some((kind, number)))
    }

    /// The address without a password in it.
    fn shown_url(&self) -> String {
        let (scheme, rest) = self.url.split_once("//").unwrap_or(("", &self.url));
        let host = rest.split('/').next().unwrap_or_default();
        host.rsplit_once('@').map_or_else(|| self.url.clone(), |(secret, _)| format!("{scheme}//{}", &rest[secret.len() + 1..]))
    }

    fn request(&self) -> Request<'_> {
        Request { url: &self.url, headers: &self.headers, user: self.url_username.as_deref(), password: self.url_password.as_deref() }
    }
}

#[cfg(test)]
mod tests {
    use super::GetUrl;
    use crate::module::testing::{problems, verdict};

    const SUM: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn what_has_the_checksum_is_left_alone() {
        let arguments = format!("url = 'https://x/a'\ndest = '/opt/a'\nchecksum = 'sha256:{SUM}'");
        assert_eq!(verdict::<GetUrl>(&arguments, 0, &format!("file 0644 0 0 root root 1 3 {SUM}\n")), "in place");
        let text = verdict::<GetUrl>(&arguments, 0, "file 0644 0 0 root root 1 3 ab\n");
        assert!(text.starts_with("old content -> fetched\nkeep   file_keep '/opt/a'\n") && text.contains("undo   file_back '/opt/a' RECORD"), "{text}");
        let md5 = "url = 'https://x/a'\ndest = '/opt/a'\nchecksum = 'md5:0123456789abcdef0123456789abcdef'";
        assert_eq!(verdict::<GetUrl>(md5, 0, "sum 0123456789abcdef0123456789abcdef\nfile 0644 0 0 root root 1 3 ab\n"), "in place");
    }

    #[test]
    fn without_a_checksum_a_file_that_is_there_counts() {
        let arguments = "url = 'https://x/a'\ndest = '/opt/a'";
        assert_eq!(verdict::<GetUrl>(arguments, 0, "file 0644 0 0 root root 1 3 ab\n"), "in place");
        assert!(verdict::<GetUrl>(&format!("{arguments}\nmode = '0755'"), 0, "file 0644 0 0 root root 1 3 ab\n").starts_with("0644 -> 0755"));
        assert!(verdict::<GetUrl>(&format!("{arguments}\nforce = true"), 0, "file 0644 0 0 root root 1 3 ab\n").starts_with("old content -> fetched"));
    }

    #[test]
    fn a_password_travels_on_stdin() {
        let text = verdict::<GetUrl>("url = 'https://x/a'\ndest = '/a'\nurl_username = 'u'\nurl_password = 'p\"w'\nheaders = { A = 'b' }", 0, "absent\n");
        assert!(text.contains(r#"header = "A: b""#) && text.contains(r#"user = "u:p\"w""#), "{text}");
        assert!(problems::<GetUrl>("url = 'x'\ndest = '/a'").contains("is no address"));
        assert!(problems::<GetUrl>("url = 'https://x'\ndest = '/a'\nchecksum = 'sha256:12'").contains("has 64 hexadecimal digits"));
    }
}
