//! What modules do, as `tests/cases/*.toml` describes it: a given tree, a task, and what comes of it.
//!
//! Every case is run in four passes, all cases of a file at once, each on a practice host of its own: **check** says the
//! same as apply and writes nothing; **apply** makes the tree that is wanted; **apply again** changes nothing;
//! **rollback** brings the given tree back, with modes, owners and links. `tests/cases/README.md` tells the keys.

#![allow(clippy::print_stdout, reason = "the counts per module are the point")]

#[path = "support/fleet.rs"]
mod fleet;

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use fleet::{Faults, Fleet};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    /// Programs of this machine without which the page cannot run, such as `htpasswd`.
    #[serde(default)]
    needs: Vec<String>,
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What it shows.
    name: String,
    /// The keys of one task, in TOML. Without this, `tasks`.
    task: Option<String>,
    /// A playbook without `hosts`: several `[[task]]`, the last of which is judged; handlers.
    tasks: Option<String>,
    /// What is there before, below the home folder.
    #[serde(default)]
    given: BTreeMap<String, Given>,
    /// A command in the home folder that makes the rest of what is there before.
    #[serde(default)]
    run: String,
    /// Files beside the playbook.
    #[serde(default)]
    files: BTreeMap<String, String>,
    #[serde(default)]
    expect: Expect,
}

#[derive(Deserialize, Clone)]
#[serde(untagged)]
enum Given {
    /// A file with this text, mode 0644.
    Text(String),
    /// `false`: nothing is there.
    Nothing(#[allow(dead_code, reason = "it can only be false")] bool),
    Entry(Entry),
}

#[derive(Deserialize, Clone, Default)]
#[serde(deny_unknown_fields)]
struct Entry {
    text: Option<String>,
    /// Bytes in base64.
    base64: Option<String>,
    /// Where a link leads to.
    link: Option<String>,
    #[serde(default)]
    folder: bool,
    mode: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Expect {
    /// `changed`, unless an error or a message says otherwise.
    outcome: Option<String>,
    /// What check says, where it must differ from apply.
    check: Option<String>,
    /// What the second apply says: `ok` after a change, and otherwise the same again.
    again: Option<String>,
    /// A part of the message of the step.
    message: Option<String>,
    /// The playbook is refused before any host is contacted, with this in the error.
    error: Option<String>,
    /// A part of the diff.
    diff: Option<String>,
    /// What the task prints.
    stdout: Option<String>,
    /// A part of the step's data, in JSON as it is written by `--output json`.
    data: Option<String>,
    /// How the tree differs from the given one afterwards.
    #[serde(default)]
    tree: BTreeMap<String, Given>,
    /// A file that must hold a text somewhere.
    #[serde(default)]
    contains: BTreeMap<String, String>,
    /// What lies in these places is not compared: it differs from run to run.
    #[serde(default)]
    ignore: Vec<String>,
    /// The rollback is refused, or cannot be complete.
    #[serde(default)]
    no_rollback: bool,
}

/// What is at a place.
#[derive(Clone, PartialEq, Eq)]
struct There {
    kind: char,
    mode: u32,
    owner: (u32, u32),
    content: Vec<u8>,
}

impl std::fmt::Debug for There {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} {:04o} {:?} {:?}", self.kind, self.mode, self.owner, String::from_utf8_lossy(&self.content))
    }
}

type Tree = BTreeMap<String, There>;

macro_rules! pages {
    ($($page:ident,)*) => {
        const PAGES: &[&str] = &[$(stringify!($page)),*];

        $(
            #[test]
            fn $page() {
                show(stringify!($page));
            }
        )*
    };
}

pages! {
    acl,
    archive,
    assemble,
    backup,
    blockinfile,
    command,
    copy,
    cron,
    data_file,
    file,
    find,
    get_url,
    git,
    htpasswd,
    ini_file,
    known_hosts,
    lineinfile,
    logrotate,
    mysql_db,
    mysql_user,
    mysql_variables,
    openssh_keypair,
    openssl_csr,
    openssl_dhparam,
    openssl_privatekey,
    own,
    postgresql,
    replace,
    script,
    shell,
    slurp,
    stat,
    synchronize,
    talk,
    tempfile,
    template,
    unarchive,
    uri,
    x509_certificate,
    xattr,
}

#[test]
fn every_page_is_run() {
    let mut found: Vec<String> = std::fs::read_dir(folder())
        .expect("the cases")
        .flatten()
        .filter_map(|entry| entry.file_name().to_string_lossy().strip_suffix(".toml").map(str::to_owned))
        .collect();
    found.sort();
    assert_eq!(found, PAGES);
}

#[test]
#[ignore = "for a page that is being written: MUTATE_PAGE is its path"]
fn a_page_by_its_path() {
    let path = PathBuf::from(std::env::var_os("MUTATE_PAGE").expect("the path of a page"));
    show_page(&path.file_stem().unwrap_or_default().to_string_lossy(), &path);
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

/// Runs the cases of a page.
fn show(name: &str) {
    show_page(name, &folder().join(format!("{name}.toml")));
}

fn show_page(name: &str, path: &Path) {
    let text = std::fs::read_to_string(path).expect("a page");
    let page: Page = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let has = |program: &&String| std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).exists()));
    if let Some(missing) = page.needs.iter().find(|program| !has(program)) {
        assert!(std::env::var_os("CI").is_none(), "{name} must run in CI, but there is no {missing}");
        println!("{name}: did not run, since this machine has no {missing}");
        return;
    }
    let problems = run_page(&page);
    println!("{name}: {} cases in four passes, {} problems", page.case.len(), problems.len());
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

/// Archives that lie beside the folders of the playbooks.
fn archives() -> Vec<(&'static str, Vec<u8>)> {
    use std::io::Write as _;
    const FILES: [(&str, &str, u32); 2] = [("app/bin/run", "run\n", 0o755), ("app/doc/read me", "read\n", 0o644)];
    let tar = |files: &[(&str, &str, u32)]| {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, text, mode) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(*mode);
            // The crate itself writes no name that leads out.
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            builder.append(&header, text.as_bytes()).expect("an entry");
        }
        builder.into_inner().expect("an archive")
    };
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&tar(&FILES)).expect("bytes");
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (path, text, mode) in FILES {
        zip.start_file(path, zip::write::SimpleFileOptions::default().unix_permissions(mode)).expect("an entry");
        zip.write_all(text.as_bytes()).expect("bytes");
    }
    vec![
        ("app.tar.gz", packed.finish().expect("an archive")),
        ("app.zip", zip.finish().expect("an archive").into_inner()),
        ("evil.tar", tar(&[("../evil", "x", 0o644)])),
    ]
}

/// A web server on a port of its own, for what fetches and asks.
fn web_server() -> u16 {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let answer = move |stream: std::net::TcpStream| -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let (mut first, mut length, mut secret) = (String::new(), 0, String::new());
        reader.read_line(&mut first)?;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or_default();
            match name.to_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap_or(0),
                "authorization" | "x-secret" => value.trim().clone_into(&mut secret),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let mut words = first.split_whitespace();
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (status, head, said) = match path {
            "/ok" => (200, String::new(), b"fine\n".to_vec()),
            "/json" => (200, String::new(), b"{\"a\": [1, 2]}".to_vec()),
            "/echo" => (200, String::new(), [method.as_bytes(), b" ", &body].concat()),
            "/moved" => (302, "Location: /ok\r\n".to_owned(), Vec::new()),
            // ann and s3cret, and a header
            "/secret" if ["Basic YW5uOnMzY3JldA==", "s3cret"].contains(&secret.as_str()) => (200, String::new(), b"told\n".to_vec()),
            "/secret" => (401, "WWW-Authenticate: Basic\r\n".to_owned(), Vec::new()),
            _ => (404, String::new(), b"nothing\n".to_vec()),
        };
        let mut stream = stream;
        write!(stream, "HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {}\r\n{head}\r\n", said.len())?;
        stream.write_all(if method == "HEAD" { b"" } else { &said })
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever asks may go at any time.
            let _gone = answer(stream);
        }
    });
    port
}

struct Bench<'a> {
    fleet: Fleet,
    web: u16,
    cases: Vec<(String, &'a Case, PathBuf)>,
}

fn run_page(page: &Page) -> Vec<String> {
    let names: Vec<String> = (1..=page.case.len()).map(|number| format!("case{number}")).collect();
    let fleet = Fleet::start(&names.iter().map(String::as_str).collect::<Vec<_>>(), &Faults::default());
    let books = fleet.folder.path().join("books");
    std::fs::create_dir_all(&books).expect("a folder");
    for (name, bytes) in archives() {
        std::fs::write(books.join(name), bytes).expect("an archive");
    }
    let mut cases = Vec::new();
    for (name, case) in names.into_iter().zip(&page.case) {
        let home = &fleet.host(&name).home;
        for (path, given) in &case.given {
            put(&home.join(path), given);
        }
        if !case.run.is_empty() {
            let status = Command::new("sh").arg("-c").arg(&case.run).current_dir(home).env("HOME", home).status().expect("sh runs");
            assert!(status.success(), "`{}`: its `run` failed", case.name);
        }
        let folder = books.join(&name);
        std::fs::create_dir_all(&folder).expect("a folder");
        for (path, text) in &case.files {
            std::fs::create_dir_all(folder.join(path).parent().expect("a folder")).expect("a folder");
            std::fs::write(folder.join(path), text).expect("a file");
        }
        // Modules that are being written.
        if let Some(modules) = std::env::var_os("MUTATE_CASES_MODULES") {
            std::os::unix::fs::symlink(modules, folder.join("modules")).expect("a link");
        }
        let body = match (&case.task, &case.tasks) {
            (Some(task), None) => format!("[[task]]\n{task}\n"),
            (None, Some(tasks)) => tasks.clone(),
            _ => panic!("`{}` must have `task` or `tasks`", case.name),
        };
        let book = folder.join("play.toml");
        std::fs::write(&book, format!("hosts = '{name}'\n{body}")).expect("a playbook");
        cases.push((name, case, book));
    }
    let mut problems = Vec::new();
    let (refused, good): (Vec<_>, Vec<_>) = cases.into_iter().partition(|(_, case, _)| case.expect.error.is_some());
    let bench = Bench { fleet, web: web_server(), cases: good };
    for (name, case, book) in &refused {
        let output = bench.mutate(&["apply", "-e", "web=http://127.0.0.1:1", &book.display().to_string()]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let wanted = case.expect.error.as_deref().unwrap_or_default();
        if output.status.code() != Some(1) || !said.contains(wanted) || bench.fleet.host(name).connections() > 0 {
            problems.push(format!("{}: it must be refused with `{wanted}`, and said {said}", case.name));
        }
    }
    bench.four_passes(&mut problems);
    problems
}

impl Bench<'_> {
    fn four_passes(&self, problems: &mut Vec<String>) {
        if self.cases.is_empty() {
            return;
        }
        let given = self.trees();
        let check = self.apply(&["--check"]);
        let after_check = self.trees();
        for (name, case, _) in &self.cases {
            let wanted = case.expect.check.as_deref().unwrap_or(case.outcome());
            judge(case, "check", &check, name, wanted, problems);
            differences(case, "check wrote", &given[name], &after_check[name], problems);
        }
        let applied = self.apply(&["--diff"]);
        let after = self.trees();
        for (name, case, _) in &self.cases {
            let step = judge(case, "apply", &applied, name, case.outcome(), problems);
            let holds = |key: &str, wanted: Option<&String>, problems: &mut Vec<String>| {
                let said = if key == "data" { step.to_string() } else { step[key].as_str().unwrap_or_default().to_owned() };
                if let Some(wanted) = wanted.filter(|wanted| !said.contains(wanted.as_str())) {
                    problems.push(format!("{}: apply: its {key} has no `{wanted}`: {said}", case.name));
                }
            };
            holds("message", case.expect.message.as_ref(), problems);
            holds("diff", case.expect.diff.as_ref(), problems);
            holds("stdout", case.expect.stdout.as_ref(), problems);
            holds("data", case.expect.data.as_ref(), problems);
            let mut wanted = given[name].clone();
            let home = &self.fleet.host(name).home;
            for (path, entry) in &case.expect.tree {
                overlay(&mut wanted, path, entry, after[name].get(path));
            }
            for (path, part) in &case.expect.contains {
                let text = std::fs::read(home.join(path)).unwrap_or_default();
                if !String::from_utf8_lossy(&text).contains(part) {
                    problems.push(format!("{}: `{path}` has no `{part}`: {}", case.name, String::from_utf8_lossy(&text)));
                }
                if let Some(there) = after[name].get(path) {
                    wanted.insert(path.clone(), there.clone());
                }
            }
            differences(case, "apply made", &wanted, &after[name], problems);
        }
        let again = self.apply(&[]);
        let after_again = self.trees();
        for (name, case, _) in &self.cases {
            let wanted = case.expect.again.as_deref().unwrap_or(match case.outcome() {
                "changed" => "ok",
                other => other,
            });
            judge(case, "apply again", &again, name, wanted, problems);
            if wanted != "changed" {
                differences(case, "the second apply made", &after[name], &after_again[name], problems);
            }
        }
        for run in [&again, &applied] {
            let id = run["run"].as_str().expect("a run");
            let output = self.mutate(&["rollback", id, "--output", "json"]);
            let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            let said = String::from_utf8_lossy(&output.stderr);
            if document.is_null() && !said.contains("changed nothing that could be undone") {
                problems.push(format!("rollback: {said}"));
            }
            for (name, case, _) in &self.cases {
                let said = document["hosts"][name.as_str()]["outcome"].as_str().unwrap_or("ok");
                if !["ok", "changed", "skipped"].contains(&said) && !case.expect.no_rollback {
                    problems.push(format!("{}: rollback: {said}: {}", case.name, document["hosts"][name.as_str()]));
                }
            }
        }
        let back = self.trees();
        for (name, case, _) in self.cases.iter().filter(|(_, case, _)| !case.expect.no_rollback) {
            differences(case, "after rollback there is", &given[name], &back[name], problems);
        }
    }

    fn mutate(&self, words: &[&str]) -> Output {
        let program = std::env::var_os("MUTATE_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_mutate").into(), PathBuf::from);
        let home = self.fleet.folder.path().join("controller");
        std::fs::create_dir_all(&home).expect("a home for the controller");
        let mut command = Command::new(program);
        command.args(words).arg("-i").arg(&self.fleet.inventory);
        command.env_clear().env("HOME", home).env("PATH", "/usr/local/bin:/usr/bin:/bin").stdin(Stdio::null());
        command.output().expect("the program runs")
    }

    fn apply(&self, more: &[&str]) -> Value {
        let books: Vec<String> = self.cases.iter().map(|(.., book)| book.display().to_string()).collect();
        let web = format!("web=http://127.0.0.1:{}", self.web);
        let mut words = vec!["apply", "--output", "json", "-e", &web];
        words.extend(more);
        words.extend(books.iter().map(String::as_str));
        let output = self.mutate(&words);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
    }

    fn trees(&self) -> BTreeMap<String, Tree> {
        self.cases.iter().map(|(name, ..)| (name.clone(), tree(&self.fleet.host(name).home))).collect()
    }
}

impl Case {
    fn outcome(&self) -> &str {
        self.expect.outcome.as_deref().unwrap_or("changed")
    }
}

/// Compares the outcome of the last step, and gives that step.
fn judge(case: &Case, pass: &str, run: &Value, host: &str, wanted: &str, problems: &mut Vec<String>) -> Value {
    let steps = run["hosts"][host]["steps"].as_array().cloned().unwrap_or_default();
    let step = steps.last().cloned().unwrap_or_default();
    if step["outcome"] != wanted {
        problems.push(format!("{}: {pass}: {} in place of {wanted}: {} {}", case.name, step["outcome"], step["message"], run["hosts"][host]["message"]));
    }
    step
}

fn differences(case: &Case, what: &str, wanted: &Tree, found: &Tree, problems: &mut Vec<String>) {
    let is_ignored = |path: &str| case.expect.ignore.iter().any(|one| path == one || path.strip_prefix(one.as_str()).is_some_and(|rest| rest.starts_with('/')));
    let paths: std::collections::BTreeSet<&String> = wanted.keys().chain(found.keys()).collect();
    for path in paths.into_iter().filter(|path| !is_ignored(path)) {
        if wanted.get(path) != found.get(path) {
            problems.push(format!("{}: {what} `{path}`: {:?} in place of {:?}", case.name, found.get(path), wanted.get(path)));
        }
    }
}

fn put(path: &Path, given: &Given) {
    let parent = path.parent().expect("a folder");
    std::fs::create_dir_all(parent).expect("a folder");
    let entry = match given {
        Given::Text(text) => Entry { text: Some(text.clone()), ..Entry::default() },
        Given::Nothing(_) => return,
        Given::Entry(entry) => entry.clone(),
    };
    if let Some(target) = &entry.link {
        std::os::unix::fs::symlink(target, path).expect("a link");
        return;
    }
    if entry.folder {
        std::fs::create_dir_all(path).expect("a folder");
    } else {
        std::fs::write(path, bytes(&entry)).expect("a file");
    }
    let mode = mode(&entry).unwrap_or(if entry.folder { 0o755 } else { 0o644 });
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
}

fn bytes(entry: &Entry) -> Vec<u8> {
    use base64::Engine as _;
    match (&entry.text, &entry.base64) {
        (_, Some(coded)) => base64::engine::general_purpose::STANDARD.decode(coded).expect("base64"),
        (Some(text), None) => text.clone().into_bytes(),
        (None, None) => Vec::new(),
    }
}

fn mode(entry: &Entry) -> Option<u32> {
    entry.mode.as_ref().map(|mode| u32::from_str_radix(mode, 8).expect("an octal mode"))
}

/// What is wanted at a place; what is not said, such as the mode of a file that was there, stays as it is given, and of
/// a new one it is as it was found.
fn overlay(tree: &mut Tree, path: &str, given: &Given, found: Option<&There>) {
    let entry = match given {
        Given::Nothing(_) => {
            tree.retain(|place, _| place != path && !place.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')));
            return;
        }
        Given::Text(text) => Entry { text: Some(text.clone()), ..Entry::default() },
        Given::Entry(entry) => entry.clone(),
    };
    let before = tree.get(path);
    let kind = if entry.link.is_some() { 'l' } else if entry.folder { 'd' } else { 'f' };
    let like = before.filter(|before| before.kind == kind).or(found);
    let content = match (&entry.link, before) {
        (Some(target), _) => target.clone().into_bytes(),
        // A mode alone.
        (None, Some(before)) if entry.text.is_none() && entry.base64.is_none() && !entry.folder => before.content.clone(),
        _ => bytes(&entry),
    };
    let there = There {
        kind,
        mode: mode(&entry).or(like.map(|like| like.mode)).unwrap_or(0),
        owner: like.map_or((u32::MAX, u32::MAX), |like| like.owner),
        content,
    };
    tree.insert(path.to_owned(), there);
}

/// Everything below a folder but what mutate itself remembers there.
fn tree(root: &Path) -> Tree {
    let mut found = Tree::new();
    let mut open = vec![root.to_owned()];
    while let Some(here) = open.pop() {
        for entry in std::fs::read_dir(here).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(root).expect("below").to_string_lossy().into_owned();
            if name == ".local/state/mutate" || name == ".local" || name == ".local/state" {
                if name != ".local/state/mutate" {
                    open.push(path);
                }
                continue;
            }
            let meta = path.symlink_metadata().expect("metadata");
            let (kind, content) = if meta.is_dir() {
                open.push(path.clone());
                ('d', Vec::new())
            } else if meta.is_symlink() {
                use std::os::unix::ffi::OsStringExt as _;
                ('l', std::fs::read_link(&path).expect("a link").into_os_string().into_vec())
            } else if meta.is_file() {
                ('f', std::fs::read(&path).unwrap_or_default())
            } else {
                ('p', Vec::new())
            };
            found.insert(name, There { kind, mode: if kind == 'l' { 0 } else { meta.mode() & 0o7777 }, owner: (meta.uid(), meta.gid()), content });
        }
    }
    found
}
