//! Own reader of ssh_config(5): `Host`, `Include` and the keywords that concern us. A `Match` is only noticed.
//!
//! Own, since the crates for it leave out `Include`, or answer for patterns otherwise than OpenSSH does.

use std::path::{Path, PathBuf};

use super::{Answer, tokens};
use crate::shell::glob;

/// How deep files may include each other; OpenSSH allows as much.
const DEEPEST: usize = 16;
/// The longest file that is read, in bytes.
const LIMIT_BYTES: u64 = 8 << 20;

/// Keywords that change how a host is reached. The others are for a terminal, or for what `mutate` never does.
const KNOWN: &[&str] = &[
    "hostname", "port", "user", "identityfile", "identitiesonly", "identityagent", "certificatefile", "proxyjump", "proxycommand",
    "hostkeyalias", "userknownhostsfile", "globalknownhostsfile", "stricthostkeychecking", "connecttimeout", "serveraliveinterval",
    "serveralivecountmax", "kexalgorithms", "hostkeyalgorithms", "ciphers", "macs", "pubkeyacceptedalgorithms",
    "passwordauthentication", "kbdinteractiveauthentication", "pubkeyauthentication", "preferredauthentications",
];

/// All lines of the files, in the order in which they count.
#[derive(Debug, Default)]
pub struct Files {
    blocks: Vec<Block>,
    has_match: bool,
}

/// Lines that hold for the same hosts.
#[derive(Debug, Default, Clone)]
struct Block {
    /// `Host` lines that must all fit: the file's own, and those around an `Include`.
    conditions: Vec<Vec<String>>,
    /// Below a `Match`, of which only OpenSSH knows when it fits.
    is_match: bool,
    options: Vec<(String, Vec<String>)>,
}

impl Files {
    /// Reads files one after the other.
    ///
    /// # Errors
    /// The file and the reason. Only a file that must be there is missed.
    pub fn read(paths: &[PathBuf], home: &Path, must_exist: bool) -> Result<Self, String> {
        let mut files = Self::default();
        for path in paths {
            if !must_exist && !path.exists() {
                continue;
            }
            let folder = if path.starts_with("/etc/ssh") { PathBuf::from("/etc/ssh") } else { home.join(".ssh") };
            files.add(path, &Context { folder: &folder, home, outer: &Block::default(), depth: 0 })?;
        }
        Ok(files)
    }

    fn add(&mut self, path: &Path, context: &Context<'_>) -> Result<(), String> {
        let text = crate::diag::read_bytes(path, LIMIT_BYTES).map_err(|reason| format!("`{}`: {reason}", path.display()))?;
        let mut block = Block { options: Vec::new(), ..context.outer.clone() };
        for (number, line) in String::from_utf8_lossy(&text).lines().enumerate() {
            let at = |message: &str| format!("{}:{}: {message}", path.display(), number + 1);
            let words = words(line).map_err(|reason| at(&reason))?;
            let Some((keyword, values)) = words.split_first() else { continue };
            let keyword = keyword.to_lowercase();
            if values.is_empty() {
                return Err(at(&format!("`{keyword}` has no value")));
            }
            match keyword.as_str() {
                "host" => {
                    self.blocks.push(std::mem::replace(&mut block, context.outer.clone()));
                    block.options.clear();
                    block.conditions.push(values.to_vec());
                }
                "match" => {
                    self.blocks.push(std::mem::replace(&mut block, context.outer.clone()));
                    block.options.clear();
                    block.is_match |= !(values.len() == 1 && values[0].eq_ignore_ascii_case("all"));
                    self.has_match |= block.is_match;
                }
                "include" => {
                    if context.depth >= DEEPEST {
                        return Err(at("files include each other too deeply"));
                    }
                    let outer = Block { options: Vec::new(), ..block.clone() };
                    self.blocks.push(std::mem::replace(&mut block, outer.clone()));
                    for file in values.iter().flat_map(|pattern| included(pattern, context)) {
                        self.add(&file, &Context { outer: &outer, depth: context.depth + 1, ..*context })?;
                    }
                }
                "canonicalizehostname" if !values[0].eq_ignore_ascii_case("no") => self.has_match = true,
                _ if KNOWN.contains(&keyword.as_str()) => block.options.push((keyword, values.to_vec())),
                _ => {}
            }
        }
        self.blocks.push(block);
        Ok(())
    }

    /// Whether there is anything that concerns us.
    pub fn says_something(&self) -> bool {
        self.has_match || self.blocks.iter().any(|block| !block.options.is_empty())
    }

    /// Whether these blocks hold anything.
    pub fn say_something(&self, blocks: &[usize]) -> bool {
        blocks.iter().any(|&at| !self.blocks[at].options.is_empty())
    }

    /// Whether more than a host's name decides.
    pub fn is_conditional(&self) -> bool {
        self.has_match
    }

    /// Which blocks with something in them hold for a host.
    pub fn fitting(&self, host: &str) -> Vec<usize> {
        let fits = |block: &Block| !block.options.is_empty() && block.conditions.iter().all(|patterns| fits(patterns, host));
        (0..self.blocks.len()).filter(|&at| fits(&self.blocks[at])).collect()
    }

    /// The first `HostName` that holds for a host, with its tokens.
    pub fn host_name_template(&self, host: &str) -> Option<String> {
        self.fitting(host).into_iter().flat_map(|at| &self.blocks[at].options).find(|(keyword, _)| keyword == "hostname").map(|(_, values)| values[0].clone())
    }

    /// Hosts with a line of their own.
    pub fn named_hosts(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let patterns = self.blocks.iter().filter_map(|block| block.conditions.last()).flatten();
        for name in patterns.filter(|pattern| !pattern.contains(['*', '?', '!'])) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    /// What the files say about a host.
    ///
    /// # Errors
    /// A value that makes no sense, or a `Match`, which nobody here can judge.
    pub fn answer(&self, host: &str) -> Result<Answer, String> {
        if self.has_match {
            return Err("the ssh configuration has a `Match` or `CanonicalizeHostname`, which only OpenSSH can judge; install an OpenSSH client, or name another file with `--ssh-config`".into());
        }
        let mut lines = Vec::new();
        for at in self.fitting(host) {
            for (keyword, values) in &self.blocks[at].options {
                lines.push((keyword.as_str(), values.as_slice()));
            }
        }
        let mut answer = from_lines(&lines)?;
        answer.host_name = answer.host_name.map(|template| tokens::host_name(&template, host));
        Ok(answer)
    }
}

#[derive(Clone, Copy)]
struct Context<'a> {
    /// Where relative names of an `Include` are.
    folder: &'a Path,
    home: &'a Path,
    outer: &'a Block,
    depth: usize,
}

/// The first line of a keyword wins, but files of keys and certificates add up.
pub fn from_lines(lines: &[(&str, &[String])]) -> Result<Answer, String> {
    let mut answer = Answer::default();
    let mut seen = std::collections::HashSet::new();
    let (mut no_jump, mut no_command) = (false, false);
    for (keyword, values) in lines {
        let value = values.first().map(String::as_str).unwrap_or_default();
        let none = value.eq_ignore_ascii_case("none");
        let adds_up = ["identityfile", "certificatefile"].contains(keyword);
        if !adds_up && !seen.insert(*keyword) {
            continue;
        }
        let bad = |what: &str| format!("`{keyword} {value}` is no {what}");
        let number = || value.parse::<u64>().map_err(|_| bad("number"));
        let yes = value.eq_ignore_ascii_case("yes") || value.eq_ignore_ascii_case("true");
        let no = value.eq_ignore_ascii_case("no") || value.eq_ignore_ascii_case("false");
        // `ssh -G` has resolved what is added to, taken from or put before OpenSSH's own list; here the prefix stays.
        let list = || {
            let (prefix, names) = value.split_at(usize::from(value.starts_with(['+', '-', '^'])));
            Some(names.split(',').map(|name| format!("{prefix}{name}")).collect::<Vec<_>>())
        };
        match *keyword {
            "hostname" => answer.host_name = Some(value.to_owned()),
            "port" => answer.port = Some(value.parse().ok().filter(|port| *port > 0).ok_or_else(|| bad("port"))?),
            "user" => answer.user = Some(value.to_owned()),
            "identityfile" if !none => answer.identity_files.push(value.to_owned()),
            "identitiesonly" => answer.identities_only = yes,
            "identityagent" => answer.identity_agent = Some(value.to_owned()),
            "certificatefile" if !none => answer.certificate_files.push(value.to_owned()),
            // Whichever of the two comes first wins.
            "proxyjump" => {
                no_command = true;
                if !none && !no_jump {
                    answer.proxy_jump = value.split(',').map(|word| word.trim().to_owned()).collect();
                }
            }
            "proxycommand" => {
                no_jump = true;
                if !none && !no_command {
                    answer.proxy_command = Some(values.join(" "));
                }
            }
            "hostkeyalias" => answer.host_key_alias = Some(value.to_lowercase()),
            "userknownhostsfile" => answer.user_known_hosts = Some(values.to_vec()),
            "globalknownhostsfile" => answer.global_known_hosts = Some(values.to_vec()),
            "stricthostkeychecking" => {
                answer.strict = Some(match value.to_lowercase().as_str() {
                    "false" | "off" => "no".to_owned(),
                    "true" => "yes".to_owned(),
                    word => word.to_owned(),
                });
            }
            "connecttimeout" if !none => answer.connect_timeout_seconds = Some(number()?),
            "serveraliveinterval" => answer.alive_interval_seconds = Some(number()?),
            "serveralivecountmax" => answer.alive_count = Some(usize::try_from(number()?).unwrap_or(usize::MAX)),
            "kexalgorithms" => answer.kex = list(),
            "hostkeyalgorithms" => answer.host_key_algorithms = list(),
            "ciphers" => answer.ciphers = list(),
            "macs" => answer.macs = list(),
            "pubkeyacceptedalgorithms" => answer.signatures = list(),
            "passwordauthentication" => answer.no_password |= no,
            "kbdinteractiveauthentication" => answer.no_keyboard |= no,
            "pubkeyauthentication" => answer.no_public_key |= no,
            "preferredauthentications" => {
                let named = |name: &str| value.split(',').any(|word| word == name);
                answer.no_public_key |= !named("publickey");
                answer.no_password |= !named("password");
                answer.no_keyboard |= !named("keyboard-interactive");
            }
            _ => {}
        }
    }
    Ok(answer)
}

/// A line as words: the keyword may end with `=`; `"` groups; `#` begins a comment.
fn words(line: &str) -> Result<Vec<String>, String> {
    let line = line.trim_matches([' ', '\t', '\r', '\u{c}']);
    if line.is_empty() || line.starts_with('#') {
        return Ok(Vec::new());
    }
    let end = line.find([' ', '\t', '=', '"']).unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    let rest = rest.trim_start_matches([' ', '\t']);
    let rest = rest.strip_prefix('=').unwrap_or(rest).trim_start_matches([' ', '\t']);
    let mut all = vec![keyword.to_owned()];
    // A command is taken as it stands, quotes and all.
    if keyword.eq_ignore_ascii_case("proxycommand") {
        all.extend((!rest.is_empty()).then(|| rest.to_owned()));
        return Ok(all);
    }
    let mut rest = rest.chars().peekable();
    loop {
        while rest.next_if(|letter| [' ', '\t'].contains(letter)).is_some() {}
        match rest.peek() {
            None | Some('#') => return Ok(all),
            Some(_) => {}
        }
        let mut word = String::new();
        let mut quote = None;
        while let Some(&letter) = rest.peek() {
            match (quote, letter) {
                (None, ' ' | '\t') => break,
                (None, '"' | '\'') => quote = Some(letter),
                (Some(open), letter) if letter == open => quote = None,
                (_, '\\') => {
                    rest.next();
                    match rest.peek() {
                        Some(&next) if ['"', '\'', '\\'].contains(&next) || quote.is_none() && next == ' ' => word.push(next),
                        Some(&next) => word.extend(['\\', next]),
                        None => word.push('\\'),
                    }
                }
                (_, letter) => word.push(letter),
            }
            rest.next();
        }
        if quote.is_some() {
            return Err("a quote is never closed".into());
        }
        all.push(word);
    }
}

/// Whether a host fits a `Host` line: one pattern at least, and none after a `!`.
fn fits(patterns: &[String], host: &str) -> bool {
    let mut fits = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(refused) if glob(refused.as_bytes(), host.as_bytes()) => return false,
            Some(_) => {}
            None => fits |= glob(pattern.as_bytes(), host.as_bytes()),
        }
    }
    fits
}

/// The files that an `Include` names, in the order of their names.
fn included(pattern: &str, context: &Context<'_>) -> Vec<PathBuf> {
    let path = match pattern.strip_prefix("~/") {
        Some(rest) => context.home.join(rest),
        None => context.folder.join(pattern),
    };
    let mut found = vec![PathBuf::from("/")];
    for part in path.components().skip(1) {
        let name = part.as_os_str().to_string_lossy();
        if !name.contains(['*', '?']) {
            for folder in &mut found {
                folder.push(part);
            }
            continue;
        }
        let mut next = Vec::new();
        for folder in &found {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let fits = entries.filter(|entry| {
                let entry = entry.file_name();
                let entry = entry.to_string_lossy();
                glob(name.as_bytes(), entry.as_bytes()) && (name.starts_with('.') || !entry.starts_with('.'))
            });
            next.extend(fits.map(|entry| entry.path()));
        }
        found = next;
    }
    found.retain(|path| path.is_file());
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_as_openssh_does() {
        let split = |line: &str| words(line).expect("words");
        assert_eq!(split("HostName=a.example.com"), ["HostName", "a.example.com"]);
        assert_eq!(split("  IdentityFile\t= \"~/my key\"  # mine"), ["IdentityFile", "~/my key"]);
        assert_eq!(split("ProxyCommand nc -x \"a b\" %h # %p"), ["ProxyCommand", "nc -x \"a b\" %h # %p"]);
        assert!(split("# comment").is_empty() && split("").is_empty());
        assert!(words("User \"ann").is_err());
    }

    #[test]
    fn patterns_fit_as_openssh_says() {
        let all = |line: &str, host: &str| fits(&line.split(' ').map(str::to_owned).collect::<Vec<_>>(), host);
        assert!(all("web* !web9", "web1") && !all("web* !web9", "web9") && !all("!web9", "web1"));
        assert!(all("*.example.com", "a.b.example.com") && all("10.0.?.*", "10.0.1.77") && !all("web", "web1") && !all("Web", "web"));
    }
}
