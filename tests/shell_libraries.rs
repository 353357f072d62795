//! The sh libraries of the modules, function by function, in dash, bash and busybox: `tests/shell/*.sh` are the cases.

#![allow(clippy::print_stdout, reason = "a test that did not run says so, and one that measures says what")]

use std::path::{Path, PathBuf};
use std::process::Command;

const SHELLS: &[&[&str]] = &[&["dash"], &["bash", "--posix"], &["busybox", "ash"]];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A folder with the case file, the library as it is sent, and the helpers that every library may use.
fn laid_out(name: &str, parts: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let sent: String = parts.iter().map(|part| mutate::remote::without_comments(&read(part))).collect();
    std::fs::write(folder.path().join(format!("{name}_library.sh")), sent).expect("the library");
    // The cases compare sentences, not the mark by which they are found among what a tool says.
    let plain = "core_say() { printf '%s\\n' \"$1\" >&2; }\n";
    let helpers = format!("n='\n'\nt='\t'\n{}{plain}", read("src/remote/small.sh"));
    std::fs::write(folder.path().join("core_test.sh"), helpers).expect("the helpers");
    std::fs::copy(root().join(format!("tests/shell/{name}.sh")), folder.path().join(format!("{name}.sh"))).expect("the cases");
    folder
}

fn is_installed(shell: &[&str]) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(shell[0]).exists()))
}

fn run(folder: &Path, words: &[&str]) {
    let output = Command::new(words[0])
        .args(&words[1..])
        .current_dir(folder)
        .env("LIB", folder)
        .env("TEST_HOME", folder)
        .stdin(std::process::Stdio::null())
        .output()
        .expect("the shell runs");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let failed = !output.status.success() || said.lines().any(|line| line.starts_with("FAIL") || line.starts_with("not as expected"));
    assert!(!failed, "{words:?}: {:?}\n{said}", output.status);
}

fn in_every_shell(name: &str, parts: &[&str]) {
    in_shells(name, parts, SHELLS);
}

fn in_shells(name: &str, parts: &[&str], shells: &[&[&str]]) {
    let folder = laid_out(name, parts);
    let cases = format!("{name}.sh");
    let mut tried = 0;
    for shell in shells.iter().filter(|shell| is_installed(shell)) {
        let mut words = shell.to_vec();
        words.push(&cases);
        run(folder.path(), &words);
        tried += 1;
    }
    assert!(tried > 0, "no shell to try it in");
}

/// Cases that play with `/etc` in a mount namespace of their own: as root, and only where that is expected.
fn in_a_namespace(name: &str, parts: &[&str], shells: &[&str]) {
    if std::env::var("CI").as_deref() != Ok("true") || !nix::unistd::geteuid().is_root() {
        println!("the cases of `{name}` did not run: they need root, and CI=true");
        return;
    }
    let folder = laid_out(name, parts);
    let cases = format!("{name}.sh");
    let mut words = vec!["sh", cases.as_str()];
    words.extend_from_slice(shells);
    run(folder.path(), &words);
}

#[test]
fn file() {
    in_every_shell("file", &["src/modules/file/look.sh", "src/modules/file/ask.sh", "src/modules/file/change.sh", "src/modules/file/put.sh", "src/modules/file/meta.sh", "src/modules/file/store.sh", "src/modules/file/together.sh"]);
}

#[test]
fn copy() {
    in_every_shell("copy", &["src/modules/file/look.sh", "src/modules/file/ask.sh", "src/modules/file/change.sh", "src/modules/file/put.sh", "src/modules/file/meta.sh", "src/modules/file/store.sh", "src/modules/file/together.sh", "src/modules/copy/look.sh", "src/modules/copy/change.sh", "src/modules/copy/keep.sh"]);
}

#[test]
fn once() {
    // It runs what users write, in a process that has another one beside it: where shells differ.
    in_shells("once", &["src/remote/once.sh"], &[SHELLS, &[&["mksh"], &["ksh93"], &["posh"], &["zsh", "--emulate", "sh"]]].concat());
}

#[test]
fn package() {
    in_every_shell("package", &["src/modules/package/look.sh", "src/modules/package/ask.sh", "src/modules/package/newest.sh", "src/modules/package/lock.sh", "src/modules/package/change.sh"]);
}

#[test]
fn account() {
    in_a_namespace("account", &["src/modules/account/look.sh", "src/modules/account/change.sh"], &["dash", "bash --posix", "busybox ash"]);
}

#[test]
fn service() {
    // Its waits are real ones, so one shell has to do.
    in_a_namespace("service", &["src/modules/service/look.sh", "src/modules/service/look_scripts.sh", "src/modules/service/ask.sh", "src/modules/service/change.sh"], &["busybox ash"]);
}

#[test]
fn unmanaged() {
    in_every_shell("unmanaged", &["src/engine/unmanaged.sh"]);
}

/// All libraries of a host are in one shell: a name that is given twice would be another function from then on.
#[test]
fn no_function_is_defined_twice() {
    fn scripts(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                scripts(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "sh") {
                found.push(path);
            }
        }
    }
    let mut files = Vec::new();
    scripts(&root().join("src"), &mut files);
    assert!(files.len() > 20, "{files:?}");
    let mut defined: std::collections::BTreeMap<String, PathBuf> = std::collections::BTreeMap::new();
    for file in files {
        // These are one of a kind each, and never together.
        if file.to_string_lossy().contains("described") {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("a script");
        for name in text.lines().filter_map(|line| line.split_once("() ").map(|(name, _)| name)) {
            if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                let before = defined.insert(name.to_owned(), file.clone());
                assert!(before.is_none(), "{name} is in {} and in {}", before.expect("a file").display(), file.display());
            }
        }
    }
}
