//! The `%` tokens, `~` and `${NAME}` of ssh_config(5).

use std::path::Path;

use sha1::{Digest as _, Sha1};

/// What the tokens stand for.
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a> {
    /// `%h`: the name or address that is connected to.
    pub host: &'a str,
    /// `%n`: the name as it was written.
    pub original: &'a str,
    /// `%k`: the name of the host key.
    pub key_name: &'a str,
    pub port: u16,
    /// `%r`: the user on the host.
    pub user: &'a str,
    /// `%u`: the user on this machine.
    pub local_user: &'a str,
    /// `%l`: this machine's name.
    pub local_host: &'a str,
    /// `%j`: the jump hosts as they were written.
    pub jump: &'a str,
    pub home: &'a Path,
}

impl Tokens<'_> {
    /// Fills the tokens of a text.
    ///
    /// # Errors
    /// A token that does not exist, or a variable that is not set.
    pub fn fill(&self, text: &str) -> Result<String, String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text.chars().peekable();
        while let Some(letter) = rest.next() {
            match letter {
                '%' => {
                    let Some(token) = rest.next() else { return Err(format!("`{text}` ends with a lone `%`")) };
                    match token {
                        '%' => filled.push('%'),
                        'h' => filled.push_str(self.host),
                        'n' => filled.push_str(self.original),
                        'k' => filled.push_str(self.key_name),
                        'p' => filled.push_str(&self.port.to_string()),
                        'r' => filled.push_str(self.user),
                        'u' => filled.push_str(self.local_user),
                        'l' => filled.push_str(self.local_host),
                        'L' => filled.push_str(self.local_host.split('.').next().unwrap_or_default()),
                        'j' => filled.push_str(self.jump),
                        'd' => filled.push_str(&self.home.to_string_lossy()),
                        'i' => filled.push_str(&nix::unistd::getuid().to_string()),
                        'C' => filled.push_str(&self.connection()),
                        other => return Err(format!("`{text}`: there is no token `%{other}`")),
                    }
                }
                '$' if rest.peek() == Some(&'{') => {
                    rest.next();
                    let name: String = rest.by_ref().take_while(|letter| *letter != '}').collect();
                    let value = std::env::var(&name).map_err(|_| format!("`{text}`: the variable `{name}` is not set"))?;
                    filled.push_str(&value);
                }
                letter => filled.push(letter),
            }
        }
        Ok(filled)
    }

    /// Fills a command; what stands after a `$` is for the shell that reads it.
    ///
    /// # Errors
    /// A token that does not exist.
    pub fn command(&self, text: &str) -> Result<String, String> {
        let parts: Result<Vec<String>, String> = text.split('$').map(|part| self.fill(part)).collect();
        Ok(parts?.join("$"))
    }

    /// Fills a path, where `~/` is the home folder.
    ///
    /// # Errors
    /// As [`Tokens::fill`].
    pub fn path(&self, text: &str) -> Result<std::path::PathBuf, String> {
        let filled = self.fill(text)?;
        Ok(match filled.strip_prefix("~/") {
            Some(rest) => self.home.join(rest),
            None => filled.into(),
        })
    }

    /// `%C`, the hash that stands for the whole connection.
    fn connection(&self) -> String {
        let text = format!("{}{}{}{}{}", self.local_host, self.host, self.port, self.user, self.jump);
        Sha1::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// `HostName`, in which `%h` is the name as it was written.
pub(super) fn host_name(template: &str, host: &str) -> String {
    template.replace("%%", "\0").replace("%h", host).replace('\0', "%").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_filled() {
        let tokens = Tokens { host: "10.0.0.1", original: "web", key_name: "web-key", port: 2222, user: "ann", local_user: "bob", local_host: "desk.example.com", jump: "", home: Path::new("/home/bob") };
        assert_eq!(tokens.fill("%h|%n|%k|%p|%r|%u|%l|%L|%d|%%"), Ok("10.0.0.1|web|web-key|2222|ann|bob|desk.example.com|desk|/home/bob|%".into()));
        assert_eq!(tokens.path("~/.ssh/%r").ok(), Some("/home/bob/.ssh/ann".into()));
        assert!(tokens.fill("%z").is_err() && tokens.fill("%").is_err() && tokens.fill("${NOT_SET_ANYWHERE}").is_err());
    }
}
