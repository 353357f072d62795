//! The command line that starts a shell on a host, and the text that makes it ours.
//!
//! The command passes through the user's login shell, which may be anything from bash to tcsh or fish. So everything
//! in it stands between single quotes and holds no quote, newline or `!`, and no two backslashes in a row; the text
//! itself is encoded for `printf %b`. Tried with dash, bash, busybox ash, mksh, ksh93, zsh, tcsh and fish.

use std::fmt::Write as _;
use std::sync::LazyLock;

use super::Library;
use crate::secret::Secret;
use crate::shell::{push_quoted, quoted};

const CORE: &str = include_str!("core.sh");
const SMALL: &str = include_str!("small.sh");
const ONCE: &str = include_str!("once.sh");

/// The login user's shell reads its text from its argument, where the server takes long ones.
const FROM_ARGUMENT: &str = r#"eval "$(PATH=$PATH:/usr/bin:/bin;LC_ALL=C;export PATH LC_ALL;printf %b "$1""#;
/// Another user's shell reads it from the first line of its stdin, so that it stays out of sudo's log. It says first that
/// it is there: until then, whatever is sent might be read as a password.
const FROM_STDIN: &str = r#"printf %s "$1" >&2;IFS= read -r x;eval "$(PATH=$PATH:/usr/bin:/bin;LC_ALL=C;export PATH LC_ALL;printf %b "$x""#;
/// How both end: [`shortest`] says which is for which text.
const AS_IT_IS: &str = r#")""#;
const SWAPPED: &str = r#"|tr "~^\047\134" "\047\134~^")""#;
/// So many bytes more are worth a process that the host is spared.
const PROCESS_BYTES: usize = 4 << 10;

/// As whom to work, and how to get there.
#[derive(Clone, Debug)]
pub struct Become {
    pub user: String,
    pub method: BecomeMethod,
    pub password: Option<Secret>,
}

/// The program that changes the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BecomeMethod {
    #[default]
    Sudo,
    Su,
    Doas,
}

impl BecomeMethod {
    pub fn name(self) -> &'static str {
        match self {
            Self::Sudo => "sudo",
            Self::Su => "su",
            Self::Doas => "doas",
        }
    }
}

/// How another user's command shows, on stderr, what it waits for.
#[derive(Clone, Debug)]
pub struct Signs {
    /// It wants the password.
    pub prompt: Prompt,
    /// The command itself has begun, and reads its stdin from now on.
    pub ready: String,
}

#[derive(Clone, Debug)]
pub enum Prompt {
    /// It never asks.
    Never,
    /// Our own random words.
    Words(String),
    /// What PAM says in the language that we have set: `Password: `.
    Password,
}

impl Signs {
    /// How often the password has been asked for in what was said.
    pub fn prompts(&self, said: &str) -> usize {
        match &self.prompt {
            Prompt::Never => 0,
            Prompt::Words(words) => said.matches(words.as_str()).count(),
            Prompt::Password => said.matches("assword: ").count(),
        }
    }
}

/// A script as another user: the command that starts it, with its arguments as they stand in a command line, and the
/// signs of it. `script` holds no quote and must print its first argument on stderr when it begins; `word` is random.
pub fn as_user(user: &Become, script: &str, arguments: &str, word: &str) -> (String, Signs) {
    let name = quoted(&user.user);
    let ready = format!("[{word}:ready]");
    let mut signs = Signs { prompt: Prompt::Never, ready: ready.clone() };
    let rest = format!("sh '{ready}' {arguments}");
    let rest = rest.trim_end();
    let command = match user.method {
        BecomeMethod::Sudo if user.password.is_some() => {
            let prompt = format!("[{word}:password]");
            signs.prompt = Prompt::Words(prompt.clone());
            format!("exec sudo -S -p '{prompt}' -H -u {name} -- sh -c '{script}' {rest}")
        }
        BecomeMethod::Sudo => format!("exec sudo -n -H -u {name} -- sh -c '{script}' {rest}"),
        BecomeMethod::Su => {
            signs.prompt = Prompt::Password;
            format!("exec env LC_ALL=C su -s /bin/sh -c '{script}' {name} {rest}")
        }
        // It reads a password from a terminal alone, which there is none of.
        BecomeMethod::Doas => format!("exec doas -n -u {name} sh -c '{script}' {rest}"),
    };
    (command, signs)
}

/// A shell to be opened: the command, and what has to be written before anything else.
pub struct Opening {
    pub command: String,
    /// Sent as the first line, when the text does not travel in the command.
    pub first_line: Option<Vec<u8>>,
    /// For another user's shell.
    pub signs: Option<Signs>,
}

impl Opening {
    /// `text` is what [`opening_text`] made; `word` is random; the server takes commands up to `limit_bytes`.
    pub fn new(text: &[u8], user: Option<&Become>, word: &str, limit_bytes: usize) -> Self {
        let (encoded, ending) = shortest(text);
        if let Some(user) = user {
            let (command, signs) = as_user(user, &format!("{FROM_STDIN}{ending}"), "", word);
            return Self { command, first_line: Some(line(encoded)), signs: Some(signs) };
        }
        if encoded.len() + 200 <= limit_bytes {
            let command = format!("exec sh -c '{FROM_ARGUMENT}{ending}' sh '{encoded}'");
            return Self { command, first_line: None, signs: None };
        }
        Self { command: format!("exec sh -c '{FROM_STDIN}{ending}' sh"), first_line: Some(line(encoded)), signs: None }
    }
}

impl Opening {
    /// One command and nothing else; `lines` are what [`Frame::once`](super::Frame) gives. Where they are read, no list of processes shows them.
    pub fn once(public_token: &str, lines: Vec<u8>) -> Self {
        static TEXT: LazyLock<String> = LazyLock::new(|| without_comments(ONCE).trim_end().replace('\n', " "));
        let command = format!("exec sh -c 'eval \"$1\"' sh '{}' {public_token}", *TEXT);
        Self { command, first_line: Some(lines), signs: None }
    }
}

fn line(encoded: String) -> Vec<u8> {
    let mut line = encoded.into_bytes();
    line.push(b'\n');
    line
}

/// What the remote shell evaluates: the token for the first flight, the libraries and frames that travel with it, and
/// `core.sh`.
///
/// `frames` are lines as [`Frame::line`](super::Frame::line) makes them. They must be free of secrets: for the login
/// user the list of processes shows them.
pub fn opening_text(public_token: &str, libraries: &[&Library], frames: &[u8]) -> Vec<u8> {
    static CORE_TEXT: LazyLock<String> = LazyLock::new(|| without_comments(CORE));
    const SMALL_LIBRARY: Library = Library { name: "core_small", text: SMALL };
    let mut text = b"n='\n'\ncore_libraries='".to_vec();
    let libraries: Vec<&Library> = std::iter::once(&SMALL_LIBRARY).chain(libraries.iter().copied()).collect();
    text.extend_from_slice(libraries.iter().map(|library| library.name).collect::<Vec<_>>().join(" ").as_bytes());
    text.extend_from_slice(b"'\n");
    for library in libraries {
        text.extend_from_slice(format!("core_lib_{}=", library.name).as_bytes());
        push_quoted(&mut text, without_comments(library.text).as_bytes());
        text.push(b'\n');
    }
    text.extend_from_slice(b"core_bytes='\xc3\xa9\xff' q=");
    text.extend_from_slice(public_token.as_bytes());
    // A frame is a command of this very shell, so it needs no quotes around it.
    text.extend_from_slice(b"\ncore_first() {\n:\n");
    text.extend_from_slice(frames);
    text.extend_from_slice(b"}\n");
    text.extend_from_slice(CORE_TEXT.as_bytes());
    text
}

/// The script as it is sent: whole-line comments and indentation cost time on every host.
pub fn without_comments(script: &str) -> String {
    script
        .lines()
        .map(str::trim_start)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .fold(String::with_capacity(script.len()), |mut text, line| {
            text.push_str(line);
            text.push('\n');
            text
        })
}

/// Text as one single-quoted word for any login shell, and the end of the script that reads it back: `printf %b`, which most shells
/// have built in, is enough. Text full of quotes, which take four letters each, is shorter when they change places with two letters that
/// it hardly ever holds; but `tr`, which takes that back, costs the host a process.
fn shortest(text: &[u8]) -> (String, &'static str) {
    let (plain, swapped) = (encoded(text, false), encoded(text, true));
    if plain.len() < swapped.len() + PROCESS_BYTES { (plain, AS_IT_IS) } else { (swapped, SWAPPED) }
}

fn encoded(text: &[u8], swaps: bool) -> String {
    let mut word = String::with_capacity(text.len() + text.len() / 8);
    for (at, &byte) in text.iter().enumerate() {
        let (byte, is_written_out) = match byte {
            b'\'' if swaps => (b'~', false),
            b'\\' if swaps => (b'^', false),
            b'~' if swaps => (b'\'', true),
            b'^' if swaps => (b'\\', true),
            b'\'' | b'\\' | b'!' | 0..=31 | 127.. => (byte, true),
            _ => (byte, false),
        };
        match byte {
            // Two letters in place of five: a script has many lines.
            b'\n' => word.push_str("\\n"),
            // Up to three digits follow the zero.
            b'\'' if !text.get(at + 1).is_some_and(u8::is_ascii_digit) => word.push_str("\\047"),
            _ if is_written_out => {
                let _infallible = write!(word, "\\0{byte:03o}");
            }
            _ => word.push(byte as char),
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_holds_nothing_that_a_login_shell_would_touch() {
        let text = opening_text("0123", &[], b"P 1 'echo \"it'\\''s!\"'\n");
        let command = Opening::new(&text, None, "", 90_000).command;
        assert!(!command.contains(['\n', '!']) && !command.contains("\\\\") && !command.contains("\\'"));
        assert_eq!(command.matches('\'').count(), 4);
    }

    #[test]
    fn neither_does_the_one_for_a_single_command() {
        let command = Opening::once("0123", Vec::new()).command;
        assert!(!command.contains(['\n', '!']) && !command.contains("\\\\") && !command.contains("\\'"));
        assert_eq!(command.matches('\'').count(), 4);
    }

    #[test]
    fn the_host_reads_back_what_was_encoded() {
        let text: Vec<u8> = (1..=255).chain(*b"''7'\\0'9\\\\'\n'!~^%s~7^7").collect();
        for (swaps, ending) in [(false, AS_IT_IS), (true, SWAPPED)] {
            let script = format!("{FROM_ARGUMENT}{ending}").replacen("eval \"$(", "printf %s \"$(", 1);
            let output = std::process::Command::new("sh").args(["-c", &script, "sh", &encoded(&text, swaps)]).output().expect("sh runs");
            assert_eq!(output.stdout, text, "{swaps}");
        }
        assert_eq!(shortest(b"it's").1, AS_IT_IS);
        assert_eq!(shortest(&b"'".repeat(2000)).1, SWAPPED);
    }

    #[test]
    fn a_server_that_takes_short_commands_gets_the_text_on_stdin() {
        let opening = Opening::new(&opening_text("0123", &[], b""), None, "", 8000);
        assert!(opening.command.len() < 200 && opening.first_line.is_some());
    }

    #[test]
    fn sudo_is_told_never_to_ask_without_a_password() {
        let user = Become { user: "www".into(), method: BecomeMethod::Sudo, password: None };
        assert!(Opening::new(b"", Some(&user), "p", 0).command.starts_with("exec sudo -n -H -u 'www' -- sh -c '"));
    }

    #[test]
    fn each_way_to_become_has_its_own_prompt() {
        let signs = |method| {
            let user = Become { user: "www".into(), method, password: Some(Secret::new("x")) };
            as_user(&user, "printf %s \"$1\" >&2", "", "w").1
        };
        assert_eq!(signs(BecomeMethod::Sudo).prompts("[sudo] Password: [w:password]"), 1);
        assert_eq!(signs(BecomeMethod::Su).prompts("Password: "), 1);
        assert_eq!(signs(BecomeMethod::Doas).prompts("Password: "), 0);
    }
}
