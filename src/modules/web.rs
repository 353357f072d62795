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

    /// Lines for `wget --config`, which takes the address elsewhere.
    pub fn for_wget(&self) -> String {
        let mut lines: Vec<String> = self.headers.iter().map(|(name, value)| format!("header = {name}: {value}")).collect();
        if let Some(user) = self.user {
            lines.extend([format!("user = {user}"), format!("password = {}", self.password.unwrap_or_default())]);
        }
        lines.join("\n")
    }
}
