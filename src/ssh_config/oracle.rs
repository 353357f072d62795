//! `ssh -G`, which says what OpenSSH itself makes of its configuration.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use super::{Answer, Choice, Question, read};

/// Processes at once: each takes some 10 ms of one core.
const AT_ONCE: usize = 8;

/// How to ask `ssh`.
#[derive(Debug)]
pub struct Oracle {
    /// The text of a configuration that stands for `-F`; `None` where `ssh` finds the right files by itself.
    text: Option<String>,
}

impl Oracle {
    /// The way to ask, where there is an `ssh` at all.
    pub fn find(choice: &Choice, home: &Path) -> Option<Self> {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(|folder| folder.join("ssh").is_file())?;
        let include = |path: &Path| format!("Include \"{}\"\nMatch all\n", path.display());
        let text = match choice {
            Choice::None => return None,
            Choice::File(path) => Some(include(&std::path::absolute(path).ok()?)),
            // ssh goes by the account's home folder, whatever HOME says.
            Choice::Usual if home_of_account().as_deref() == Some(home) => None,
            Choice::Usual => Some(include(&home.join(".ssh/config")) + &include(Path::new("/etc/ssh/ssh_config"))),
        };
        Some(Self { text })
    }

    /// What `ssh` says for each of these, told apart from what it says without any configuration.
    ///
    /// # Errors
    /// What it says against the configuration.
    pub fn ask(&self, questions: &[&Question]) -> Result<HashMap<Question, Answer>, String> {
        if questions.is_empty() {
            return Ok(HashMap::new());
        }
        let nobody = Question { host: "host".into(), user: None, port: None };
        let without = Self { text: Some(String::new()) };
        let next = Mutex::new(questions.iter());
        let heard: Mutex<Vec<(Question, Result<Lines, String>)>> = Mutex::new(Vec::new());
        let lock = "nothing panics while it holds this lock";
        let usual = std::thread::scope(|scope| {
            for _ in 0..AT_ONCE.min(questions.len()) {
                scope.spawn(|| {
                    loop {
                        let Some(question) = next.lock().expect(lock).next() else { return };
                        let answer = self.lines(question);
                        heard.lock().expect(lock).push(((*question).clone(), answer));
                    }
                });
            }
            without.lines(&nobody)
        })?;
        let mut answers = HashMap::new();
        for (question, lines) in heard.into_inner().expect(lock) {
            let lines = lines?;
            // What is as without any configuration was not configured.
            let said: Vec<(&str, &[String])> = lines
                .iter()
                .filter(|(keyword, _)| values(&lines, keyword) != values(&usual, keyword) || keyword == "hostname")
                .map(|(keyword, values)| (keyword.as_str(), values.as_slice()))
                .collect();
            let mut answer = read::from_lines(&said)?;
            answer.host_name = answer.host_name.filter(|name| *name != question.host.to_lowercase());
            answers.insert(question, answer);
        }
        Ok(answers)
    }

    fn lines(&self, question: &Question) -> Result<Lines, String> {
        let mut command = Command::new("ssh");
        command.arg("-G");
        if self.text.is_some() {
            command.args(["-F", "/dev/stdin"]);
        }
        if let Some(user) = &question.user {
            command.args(["-l", user]);
        }
        if let Some(port) = question.port {
            command.args(["-p", &port.to_string()]);
        }
        command.arg("--").arg(&question.host).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed = |error: std::io::Error| format!("`ssh -G` cannot be started: {error}");
        let mut child = command.spawn().map_err(failed)?;
        if let (Some(mut stdin), Some(text)) = (child.stdin.take(), &self.text) {
            // It has its configuration, or it has refused it already.
            let _taken = stdin.write_all(text.as_bytes());
        }
        let output = child.wait_with_output().map_err(failed)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("Pseudo-terminal")).collect();
            return Err(format!("`ssh -G {}` refuses its configuration: {}", question.host, said.join("; ")));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().filter_map(|line| line.split_once(' ')).map(|(keyword, rest)| (keyword.to_lowercase(), split(keyword, rest))).collect())
    }
}

type Lines = Vec<(String, Vec<String>)>;

fn values<'a>(lines: &'a Lines, keyword: &str) -> Vec<&'a [String]> {
    lines.iter().filter(|(name, _)| name == keyword).map(|(_, values)| values.as_slice()).collect()
}

/// `ssh -G` prints no quotes, so only lists of files are split.
fn split(keyword: &str, rest: &str) -> Vec<String> {
    match keyword {
        "userknownhostsfile" | "globalknownhostsfile" => rest.split(' ').map(str::to_owned).collect(),
        _ => vec![rest.to_owned()],
    }
}

fn home_of_account() -> Option<PathBuf> {
    nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.dir)
}
