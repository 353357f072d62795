//! The language, as `tests/language/*.md` describes it: every case is run, and none may contact a host.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The longest that one case may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Of the bad cases, every so-manyth is given to `apply`, too.
const APPLY_EVERY: usize = 3;

const PLAYBOOK: &str = "hosts = \"all\"\n\n[[task]]\nping = {}\n";
const INVENTORY: &str = "[hosts]\nweb1 = { address = \"127.0.0.1\", port = {{PORT}} }\n";

macro_rules! pages {
    ($($test:ident: $page:literal,)*) => {
        const PAGES: &[&str] = &[$($page),*];

        $(
            #[test]
            fn $test() {
                run_page($page);
            }
        )*
    };
}

pages! {
    the_text_of_a_file: "files.md",
    keys_of_a_play: "playbook.md",
    which_hosts: "patterns.md",
    keywords_of_a_task: "tasks.md",
    handlers: "handlers.md",
    variables: "variables.md",
    expressions: "expressions.md",
    template_files: "templates.md",
    include_and_roles: "include-and-roles.md",
    parameters_of_modules: "modules.md",
    the_inventory: "inventory.md",
    the_command_line: "command-line.md",
    settings: "settings.md",
    what_is_good: "good.md",
}

#[test]
fn every_page_is_run() {
    let mut found: Vec<String> = fs::read_dir(folder())
        .expect("the folder of the pages")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| Path::new(name).extension().is_some_and(|kind| kind == "md") && name != "README.md")
        .collect();
    found.sort();
    let mut listed: Vec<&str> = PAGES.to_vec();
    listed.sort_unstable();
    assert_eq!(found, listed);
}

#[test]
fn there_are_enough_cases() {
    let all: Vec<Case> = PAGES.iter().flat_map(|page| cases(page)).collect();
    let good = all.iter().filter(|case| case.expect.status == 0).count();
    let bad = all.len() - good;
    assert!(bad >= 100, "only {bad} bad cases");
    assert!(good >= 30, "only {good} good cases");
}

/// One heading of a page.
struct Case {
    title: String,
    /// Names and texts of files, relative to the folder of the case.
    files: Vec<(String, String)>,
    /// Commands that prepare the folder.
    prepare: Vec<String>,
    /// Words after `mutate`.
    arguments: Vec<String>,
    expect: Expect,
}

struct Expect {
    status: i32,
    /// In the order in which they must come; `…` at the end stands for anything.
    lines: Vec<String>,
}

/// What a program left behind.
struct Ended {
    /// `None`: it was killed.
    status: Option<i32>,
    text: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/language")
}

/// Runs all cases of a page and tells of all that fail.
fn run_page(page: &str) {
    let mut report = String::new();
    let mut failures = 0;
    let all = cases(page);
    assert!(!all.is_empty(), "{page} has no case");
    for (number, case) in all.iter().enumerate() {
        let mut problems = case.problems(&case.arguments);
        let is_check = case.arguments.first().is_some_and(|word| word == "check");
        // Where `check` already goes wrong, `apply` would tell the same story once more.
        if problems.is_empty() && is_check && case.expect.status == 1 && number % APPLY_EVERY == 0 {
            let mut arguments = case.arguments.clone();
            arguments[0] = "apply".into();
            let found = case.problems(&arguments);
            problems.extend(found.into_iter().map(|problem| format!("with `apply`: {problem}")));
        }
        if !problems.is_empty() {
            failures += 1;
            writeln!(report, "\n## {}\n\n{}", case.title, problems.join("\n")).expect("text can be written to");
        }
    }
    assert!(failures == 0, "{failures} of {} cases in tests/language/{page} fail:\n{report}", all.len());
}

/// The cases of a page.
fn cases(page: &str) -> Vec<Case> {
    let text = fs::read_to_string(folder().join(page)).expect("a page");
    let mut found: Vec<Case> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(title) = line.strip_prefix("## ") {
            found.push(Case::titled(title));
        } else if let Some(info) = line.strip_prefix("```") {
            let mut block = String::new();
            loop {
                let line = lines.next().unwrap_or_else(|| panic!("{page}: a block is never closed"));
                if line == "```" {
                    break;
                }
                block.push_str(line);
                block.push('\n');
            }
            let case = found.last_mut().unwrap_or_else(|| panic!("{page}: a block stands before the first heading"));
            case.add(info, block);
        }
    }
    for case in &found {
        assert!(!case.expect.lines.is_empty(), "{page}: `{}` expects nothing", case.title);
    }
    found
}

impl Case {
    fn titled(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            files: vec![("playbook.toml".into(), PLAYBOOK.into()), ("inventory.toml".into(), INVENTORY.into())],
            prepare: Vec::new(),
            arguments: vec!["check".into(), "playbook.toml".into()],
            expect: Expect { status: 1, lines: Vec::new() },
        }
    }

    fn add(&mut self, info: &str, block: String) {
        match info.split_once(' ') {
            None if info == "sh" => self.prepare.push(block),
            None if info == "args" => self.arguments = words(&block),
            None if info == "expect" => self.expect = Expect::read(&block),
            Some(("toml", "playbook")) => self.files[0].1 = block,
            Some(("toml", "inventory")) => self.files[1].1 = block,
            Some(("toml" | "jinja" | "text", name)) => self.files.push((name.to_owned(), block)),
            _ => panic!("`{}` has a block of an unknown kind, `{info}`", self.title),
        }
    }

    /// Runs the case with these words, and says what is not as expected.
    fn problems(&self, arguments: &[String]) -> Vec<String> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a listener that does not wait");
        let port = listener.local_addr().expect("an address").port();
        let root = tempfile::tempdir().expect("a temporary folder");
        let ended = self.run(root.path(), arguments, port);
        let mut problems = self.expect.problems(&ended);
        let mut contacts = 0;
        while listener.accept().is_ok() {
            contacts += 1;
        }
        if contacts > 0 {
            problems.push(format!("a host was contacted ({contacts} connections)"));
        }
        if !problems.is_empty() {
            problems.push(format!("--- what came out ---\n{}", ended.text));
        }
        problems
    }

    fn run(&self, root: &Path, arguments: &[String], port: u16) -> Ended {
        let here = root.join("here");
        fs::create_dir(&here).expect("a folder for the case");
        for (name, text) in &self.files {
            let path = here.join(name);
            fs::create_dir_all(path.parent().expect("a file stands in a folder")).expect("a folder for a file");
            fs::write(path, text.replace("{{PORT}}", &port.to_string())).expect("a file of the case");
        }
        for script in &self.prepare {
            let status = Command::new("sh").args(["-c", script]).current_dir(&here).status().expect("a shell");
            assert!(status.success(), "`{}`: the block `sh` ends with {status}", self.title);
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_mutate"));
        command.args(arguments);
        if !arguments.iter().any(|word| word == "-i") {
            command.args(["-i", "inventory.toml"]);
        }
        let (out, err) = (root.join("out"), root.join("err"));
        let mut child = command
            .env_clear()
            .env("HOME", &here)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(&here)
            .stdin(Stdio::null())
            .stdout(File::create(&out).expect("a file for the output"))
            .stderr(File::create(&err).expect("a file for the messages"))
            .spawn()
            .expect("mutate starts");
        let begin = Instant::now();
        let mut killed = false;
        let status = loop {
            if let Some(status) = child.try_wait().expect("mutate can be waited for") {
                break status;
            }
            if !killed && begin.elapsed() > PATIENCE {
                child.kill().expect("mutate can be stopped");
                killed = true;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).expect("what came out")).into_owned();
        Ended { status: status.code(), text: read(&err) + &read(&out) }
    }
}

impl Expect {
    fn read(block: &str) -> Self {
        let mut lines: Vec<String> = block.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
        let mut status = 1;
        if let Some(number) = lines.first().and_then(|line| line.strip_prefix("exit ")) {
            status = number.parse().expect("a number after `exit`");
            lines.remove(0);
        } else if lines.first().is_some_and(|line| line == "good") {
            status = 0;
            lines[0] = "good: …".into();
        }
        Self { status, lines }
    }

    /// What is not as expected.
    fn problems(&self, ended: &Ended) -> Vec<String> {
        let mut problems = Vec::new();
        if ended.status != Some(self.status) {
            let found = ended.status.map_or_else(|| "none, since it took too long".to_owned(), |status| status.to_string());
            problems.push(format!("the exit status should be {}, but is {found}", self.status));
        }
        if ended.text.contains("panicked at") {
            problems.push("it panicked".into());
        }
        let mut rest = ended.text.lines();
        for wanted in &self.lines {
            if !rest.any(|line| fits(wanted, line.trim())) {
                problems.push(format!("this line is missing, or stands too early: {wanted}"));
                break;
            }
        }
        let wanted = self.lines.iter().filter(|line| is_error(line)).count();
        let found = ended.text.lines().filter(|line| is_error(line)).count();
        if wanted != found {
            problems.push(format!("there should be {wanted} errors, but there are {found}"));
        }
        problems
    }
}

fn is_error(line: &str) -> bool {
    line.starts_with("error[") || line.starts_with("error:")
}

fn fits(wanted: &str, line: &str) -> bool {
    match wanted.strip_suffix('…') {
        Some(beginning) => line.starts_with(beginning),
        None => line == wanted,
    }
}

/// Words as a shell would see them; only quotes have a meaning.
fn words(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in text.chars() {
        match quote {
            Some(mark) if letter == mark => quote = None,
            None if letter == '\'' || letter == '"' => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            None if letter.is_whitespace() => found.extend(word.take()),
            Some(_) | None => word.get_or_insert_default().push(letter),
        }
    }
    found.extend(word);
    found
}
