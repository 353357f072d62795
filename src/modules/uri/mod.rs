//! `uri`: what a web server answers.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::web::Request;
use crate::module::{Action, Answer, Change, Effect, Lasting, Module, Question, Report, Surroundings, Undo, Verdict};
use crate::sh;
use crate::shell::{Pattern, Script, printf_argument};

const ASK: &str = include_str!("ask.sh");

/// Ask a web server from the host, and check what it answers.
///
/// `GET` and `HEAD` are questions: they are asked in check mode, too, and count as no change. Other methods are sent only by a run
/// that acts, and count as a change. With `register = "it"`, later tasks see `it.status`, `it.content` and, where the answer is
/// JSON, `it.json`. The host's own curl asks; its wget can only get.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Uri {
    /// The address.
    url: String,
    /// The method.
    #[serde(default = "get")]
    method: String,
    /// Statuses that mean success: one, or a list.
    #[serde(default = "good")]
    status_code: Value,
    /// What is sent: a text, or with `body_format = "json"` any value.
    body: Option<Value>,
    /// `raw`, `json` or `form-urlencoded`; the latter two set the type of the content.
    #[serde(default)]
    body_format: BodyFormat,
    /// Headers of the request.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// User to name to the server.
    #[serde(alias = "user")]
    url_username: Option<String>,
    /// Password of that user.
    #[serde(alias = "password")]
    url_password: Option<String>,
    /// Longest time for the whole answer.
    #[serde(default = "thirty_seconds")]
    timeout: Lasting,
    /// Whether the server's certificate must be right.
    #[serde(default = "yes")]
    validate_certs: bool,
    /// Whether to go where the server points to.
    #[serde(default = "yes")]
    follow_redirects: bool,
    /// Accepted for playbooks that say it: the content is always there.
    #[serde(default, rename = "return_content")]
    _return_content: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum BodyFormat {
    #[default]
    Raw,
    Json,
    FormUrlencoded,
}

fn get() -> String {
    "GET".into()
}

fn good() -> Value {
    200.into()
}

fn yes() -> bool {
    true
}

fn thirty_seconds() -> Lasting {
    Lasting(std::time::Duration::from_secs(30))
}

impl Module for Uri {
    const NAME: &'static str = "uri";
    const MAIN: Option<&'static str> = Some("url");
    // The environment of the task may name a proxy.
    const RUNS_USER_TEXT: bool = true;

    fn check(&self) -> Result<()> {
        if !["http://", "https://"].iter().any(|scheme| self.url.starts_with(scheme)) || self.url.contains(char::is_whitespace) {
            bail!("`url`: `{}` is no address of a web server | it begins with `https://` or `http://`", self.url.escape_debug());
        }
        if !self.method.bytes().all(|byte| byte.is_ascii_uppercase()) || self.method.is_empty() {
            bail!("`method`: `{}` is none | such as `GET`, `POST`, `PUT`, `DELETE`", self.method.escape_debug());
        }
        let texts = self.headers.iter().flat_map(|(name, value)| [name, value]).chain(&self.url_username).chain(&self.url_password);
        if texts.into_iter().any(|text| text.contains(['\n', '\r'])) {
            bail!("a header or password has no line breaks");
        }
        if self.body.is_some() && self.is_question() {
            bail!("`{}` sends no body | write method = \"POST\"", self.method);
        }
        if self.statuses().iter().any(|status| !(100..600).contains(status)) {
            bail!("`status_code` is a status of HTTP, or a list of them | such as `200` or `[200, 204]`");
        }
        if matches!(self.body, Some(Value::Object(_) | Value::Array(_))) && self.body_format == BodyFormat::Raw {
            bail!("`body` is no text | say body_format = \"json\" or \"form-urlencoded\"");
        }
        Ok(())
    }

    fn patience_seconds(&self) -> Option<u64> {
        Some(self.timeout.0.as_secs() + 15)
    }

    fn has_secret(&self) -> bool {
        self.url_password.is_some() || !self.headers.is_empty() || self.url.contains('@')
    }

    fn probe(&self, _: &Surroundings) -> Question {
        if self.is_question() { Question::Run(self.script()) } else { Question::None }
    }

    fn compare(&self, _: &Surroundings, answer: &Answer) -> Result<Verdict> {
        if self.is_question() {
            return self.judged(answer);
        }
        let why = "what has been sent to a server cannot be taken back".to_owned();
        let mut change = Change::new("", "", Script::default(), Pattern::anything(), Undo::Impossible(why));
        let good: String = self.statuses().iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ");
        // The status decides, and is told last on stderr.
        let script = sh!(
            "exec 6>&2 7>&1\nu_all=$( (\n{}\n) 2>&1 >&7 ) || { printf '%s\\n' \"$u_all\" >&2; exit 1; }\nprintf '%s\\n' \"$u_all\" >&6\ncase ${u_all##*uri } in {}) ;; *) exit 1 ;; esac",
            self.script(),
            Script::raw(good)
        );
        change.apply = Action { script, group: true, by_user: true, ..Action::default() };
        change.expect = None;
        change.effect = Effect::Change;
        change.diff = format!("{} {}\n", self.method, self.url);
        Ok(Verdict::differs(change))
    }
}

impl Uri {
    fn is_question(&self) -> bool {
        ["GET", "HEAD", "OPTIONS"].contains(&self.method.as_str())
    }

    fn statuses(&self) -> Vec<u64> {
        let one = |value: &Value| value.as_u64().or_else(|| value.as_str().and_then(|text| text.trim().parse().ok())).unwrap_or(0);
        match &self.status_code {
            Value::Array(all) => all.iter().map(one).collect(),
            other => vec![one(other)],
        }
    }

    fn judged(&self, answer: &Answer) -> Result<Verdict> {
        let said = String::from_utf8_lossy(&answer.remark).into_owned();
        let status = said.lines().rev().find_map(|line| line.strip_prefix("uri ")).and_then(|status| status.trim().parse::<u64>().ok()).filter(|status| *status > 0);
        let Some(status) = status else {
            let why = said.lines().rfind(|line| !line.trim().is_empty() && !line.starts_with("uri ")).unwrap_or("it gave no answer");
            bail!("{} does not answer: {}", self.url, why.trim().trim_start_matches("curl: "));
        };
        if answer.status != 0 {
            bail!("{} broke off while it answered", self.url);
        }
        if !self.statuses().contains(&status) {
            let wanted = self.statuses().iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
            bail!("{} answers with status {status}, and not with {wanted}", self.url);
        }
        let content = String::from_utf8_lossy(&answer.stdout).into_owned();
        let report = Report::default().with("status", status).with("url", self.url.as_str());
        let report = match serde_json::from_str::<Value>(&content) {
            Ok(json) if json.is_object() || json.is_array() => report.with("json", json),
            _ => report,
        };
        Ok(Verdict::InPlace(report.with("content", content)))
    }

    fn script(&self) -> Script {
        let kind = match self.body_format {
            BodyFormat::Raw => None,
            BodyFormat::Json => Some("application/json"),
            BodyFormat::FormUrlencoded => Some("application/x-www-form-urlencoded"),
        };
        let has_kind = self.headers.keys().any(|name| name.eq_ignore_ascii_case("content-type"));
        let mut headers = self.headers.clone();
        headers.extend(kind.filter(|_| !has_kind && self.body.is_some()).map(|kind| ("Content-Type".to_owned(), kind.to_owned())));
        let request = Request { url: &self.url, headers: &headers, user: self.url_username.as_deref(), password: self.url_password.as_deref() };
        let body = self.body_text();
        let word = |yes: bool| if yes { "yes" } else { "no" };
        sh!(
            "u_url={} u_method={} u_seconds={} u_sure={} u_follow={} u_curl={} u_more={} u_body={} u_has_body={}\n{}",
            self.url, self.method, self.timeout.0.as_secs().max(1), word(self.validate_certs), word(self.follow_redirects), request.for_curl(), word(request.has_more()), printf_argument(body.as_bytes()), word(self.body.is_some()), Script::raw(crate::remote::without_comments(ASK))
        )
    }

    fn body_text(&self) -> String {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match (&self.body, self.body_format) {
            (None, _) => String::new(),
            (Some(Value::Object(table)), BodyFormat::FormUrlencoded) => {
                let coded = |text: &str| {
                    text.bytes().fold(String::new(), |mut coded, byte| {
                        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                            coded.push(byte as char);
                        } else {
                            let _infallible = write!(coded, "%{byte:02X}");
                        }
                        coded
                    })
                };
                table.iter().map(|(name, value)| format!("{}={}", coded(name), coded(&text(value)))).collect::<Vec<_>>().join("&")
            }
            (Some(value), _) => text(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Uri;
    use crate::module::testing::{module, problems};
    use crate::module::{Answer, Module as _, Surroundings, Verdict};

    fn judged(arguments: &str, body: &str, said: &str) -> String {
        let module: Uri = module(&format!("url = 'http://x/'\n{arguments}"));
        let answer = Answer { status: 0, stdout: body.into(), remark: said.into() };
        match module.compare(&Surroundings::default(), &answer) {
            Ok(Verdict::InPlace(report)) => serde_json::Value::Object(report.data).to_string(),
            Ok(Verdict::Differs(_)) => "change".into(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn the_status_decides() {
        assert_eq!(judged("", "{\"a\": 1}", "uri 200\n"), r#"{"status":200,"url":"http://x/","json":{"a":1},"content":"{\"a\": 1}"}"#);
        assert_eq!(judged("", "", "uri 503\n"), "error: http://x/ answers with status 503, and not with 200");
        assert!(judged("status_code = [200, 503]", "", "uri 503\n").starts_with("{\"status\":503"));
        assert_eq!(judged("", "", "curl: (7) Failed to connect\nuri 000\n"), "error: http://x/ does not answer: (7) Failed to connect");
        assert_eq!(judged("method = 'POST'", "", ""), "change");
    }

    #[test]
    fn what_is_sent_is_coded() {
        let module: Uri = module("url = 'http://x/'\nmethod = 'POST'\nbody = { a = 'b c', n = 1 }\nbody_format = 'form-urlencoded'");
        assert_eq!(module.body_text(), "a=b%20c&n=1");
        assert!(crate::module::Module::has_secret(&crate::module::testing::module::<Uri>("url = 'http://x/'\nurl_password = 'p'")), "it must not stand in a command line");
        assert!(problems::<Uri>("url = 'x'").contains("is no address"));
        assert!(problems::<Uri>("url = 'http://x'\nbody = 'a'").contains("sends no body"));
    }
}
