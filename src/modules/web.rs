//! What curl and wget are told on their stdin, so that no header or password stands in a command line.

use std::collections::BTreeMap;

/// A request, as far as both programs take it from lines of settings.
pub struct Request<'a> {
    pub url: &'a str,
    pub headers: &'a BTreeMap<String, String>,
    pub user: Option<&'a str>,
    pub password: Option<&'a str>,
}

impl Request<'_> {
    /// Lines for `curl -K`.
    pub fn for_curl(&self) -> String {
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let mut lines = vec![format!("url = \"{}\"", quoted(self.url))];
        lines.extend(self.headers.iter().map(|(name, value)| format!("header = \"{}: {}\"", quoted(name), quoted(value))));
        lines.extend(self.user.map(|user| format!("user = \"{}:{}\"", quoted(user), quoted(self.password.unwrap_or_default()))));
        lines.join("\n")
    }

    /// Whether there is something that wget takes only in its command line.
    pub fn has_more(&self) -> bool {
        !self.headers.is_empty() || self.user.is_some()
    }
}
