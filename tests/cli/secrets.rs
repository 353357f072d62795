//! Encrypted variables: what they are for reaches the hosts, and they are shown and kept nowhere.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use base64::Engine as _;

use super::{Fleet, alone, apply, mutate, program, two};

const CANARY: &str = "kanarienvogel'7 \"gelb\"";

/// The program without an inventory, with something on stdin.
fn with_stdin(fleet: &Fleet, words: &[&str], stdin: &str) -> Output {
    let home = fleet.folder.path().join("controller");
    std::fs::create_dir_all(&home).expect("a home");
    let mut child = Command::new(program())
        .args(words)
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    child.stdin.take().expect("stdin").write_all(stdin.as_bytes()).expect("it reads");
    child.wait_with_output().expect("the program runs")
}

/// A key, and the file with its public half.
fn key(fleet: &Fleet) -> String {
    let output = with_stdin(fleet, &["secret", "init"], "");
    assert!(output.status.success(), "{output:?}");
    let public = String::from_utf8(output.stdout).expect("a key").trim().to_owned();
    assert!(public.starts_with("age1"), "{public}");
    std::fs::create_dir_all(fleet.folder.path().join("files")).expect("a folder");
    std::fs::write(fleet.folder.path().join("files/.mutate-recipients"), format!("# us\n{public}\n")).expect("recipients");
    public
}

/// Files below a folder that hold the canary, plain or in base64.
fn hits(folder: &Path) -> Vec<String> {
    let code = base64::engine::general_purpose::STANDARD.encode(CANARY);
    let needles = [CANARY.as_bytes(), &code.as_bytes()[..24], b"kanarienvogel"];
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(here) = open.pop() {
        for entry in std::fs::read_dir(&here).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if let Ok(bytes) = std::fs::read(&path)
                && needles.iter().any(|needle| bytes.windows(needle.len()).any(|window| window == *needle))
            {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[test]
fn encrypted_variables_reach_hosts_and_nobody_else() {
    let fleet = two();
    key(&fleet);
    let vars = fleet.write("vars.toml", &format!("pw = {}\n[db]\nuser = 'app'\n", serde_json::to_string(CANARY).expect("JSON")));
    let vars = vars.display().to_string();
    let output = with_stdin(&fleet, &["secret", "encrypt", &vars], "");
    assert!(output.status.success(), "{output:?}");
    std::fs::remove_file(&vars).expect("the plain file");
    let sealed = format!("@{vars}.age");
    // Everything that a task can do with it: content, lines, commands, results, names, items, failures.
    let book = "hosts = 'all'\n\
        [[task]]\nname = 'with {{ pw }}'\ncopy = { content = \"pw={{ pw }}\\n\", dest = '~/conf', mode = '0600' }\n\
        [[task]]\nname = 'line'\nlineinfile = { path = '~/lines', line = 'secret {{ pw }}', create = true }\n\
        [[task]]\nname = 'said'\nshell = { cmd = \"printf '%s\\\\n' {{ pw | quote }}; printf '%s' {{ pw | quote }} | base64; printf '%s' {{ pw | quote }} | od -An -tx1 | tr -d ' \\\\n'\", always = true }\nregister = 'out'\n\
        [[task]]\nname = 'loop'\ndebug = 'it is {{ item }}'\nloop = ['{{ pw }}', 'plain']\n\
        [[task]]\nname = 'data'\nset_fact = { known = '{{ out.stdout }}' }\n\
        [[task]]\nname = 'wrong'\ncommand = { argv = ['ls', '/none/{{ pw }}'], always = true }\nignore_errors = true\n";
    for words in [&["--check", "--diff"][..], &["--diff"], &[]] {
        let ran = apply(&fleet, book, &[&["-e", &sealed], words].concat());
        assert_eq!(ran.exit, 0, "{} {}", ran.document, ran.stderr);
        let shown = format!("{} {}", ran.document, ran.stderr);
        assert!(!shown.contains("kanarienvogel") && !shown.contains(&base64::engine::general_purpose::STANDARD.encode(CANARY)[..24]), "{shown}");
    }
    let path = fleet.write("play.toml", book).display().to_string();
    std::fs::write(fleet.host("alpha").home.join("conf"), "other\n").expect("a file");
    let output = mutate(&fleet, &["apply", &path, "-e", &sealed, "-vvv", "--diff"]).output().expect("the program runs");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!shown.contains("kanarienvogel") && shown.contains("pw=***"), "{shown}");
    let plan = fleet.folder.path().join("saved.plan").display().to_string();
    std::fs::write(fleet.host("alpha").home.join("conf"), "other\n").expect("a file");
    let output = mutate(&fleet, &["plan", &path, "-e", &sealed, "-o", &plan]).output().expect("the program runs");
    assert!(String::from_utf8_lossy(&output.stderr).contains("not in the plan"), "{output:?}");
    assert_eq!(std::fs::read_to_string(fleet.host("beta").home.join("conf")).expect("a file"), format!("pw={CANARY}\n"));
    let applied = mutate(&fleet, &["apply", &plan]).output().expect("the program runs");
    assert_eq!(std::fs::read_to_string(fleet.host("alpha").home.join("conf")).expect("a file"), "other\n", "{applied:?}");
    // Commands are shown although nothing is shown live.
    let output = mutate(&fleet, &["run", "all", "-e", &sealed, "--", "echo", "seen"]).output().expect("the program runs");
    assert!(String::from_utf8_lossy(&output.stdout).matches("seen").count() >= 1, "{output:?}");
    // Nothing is left of it but where it was meant to be.
    assert_eq!(hits(&fleet.folder.path().join("controller")), Vec::<String>::new());
    assert_eq!(hits(&fleet.host("alpha").home.join(".local/state/mutate/runs")), Vec::<String>::new());
    assert!(!hits(Path::new(&plan).parent().expect("a folder")).contains(&plan));
    // What was changed still goes back.
    let (_, history) = alone(&fleet, &["history"]);
    let first = history.lines().rfind(|line| line.contains("apply")).and_then(|line| line.split_whitespace().next()).expect("a run").to_owned();
    assert!(!alone(&fleet, &["show", &first, "--diff", "-vvv"]).1.contains("kanarienvogel"));
}

#[test]
fn single_values_stand_among_plain_ones() {
    let fleet = two();
    key(&fleet);
    let output = with_stdin(&fleet, &["secret", "encrypt", "--value", &fleet.folder.path().join("files/x").display().to_string()], "top {{ secret }}\n");
    let value = String::from_utf8(output.stdout).expect("a value").trim().to_owned();
    assert!(value.starts_with("age:") && !value.contains('\n'), "{value} {}", String::from_utf8_lossy(&output.stderr));
    let vars = fleet.write("group.toml", "plain = 'x'\npw = 'encrypt:kanarienvogel 8'\n").display().to_string();
    assert!(with_stdin(&fleet, &["secret", "encrypt", "--values", &vars], "").status.success());
    let text = std::fs::read_to_string(&vars).expect("a file");
    assert!(text.starts_with("plain = 'x'\npw = \"age:"), "{text}");
    let book = format!("hosts = 'all'\nvars = {{ top = '{value}' }}\nvars_files = ['group.toml']\n[[task]]\nname = 'f'\ncopy = {{ content = '{{{{ plain }}}} {{{{ top }}}} {{{{ pw }}}}', dest = '~/f' }}\n");
    let ran = apply(&fleet, &book, &["--diff"]);
    assert_eq!(ran.exit, 0, "{} {}", ran.document, ran.stderr);
    assert_eq!(std::fs::read_to_string(fleet.host("beta").home.join("f")).expect("a file"), "x top {{ secret }} kanarienvogel 8");
    assert!(ran.document.to_string().contains("x *** ***"), "{}", ran.document);
    // View, rekey, and who cannot.
    let view = with_stdin(&fleet, &["secret", "view", &vars], "");
    assert!(String::from_utf8_lossy(&view.stdout).contains("pw = \"kanarienvogel 8\""), "{view:?}");
    let before = std::fs::read(&vars).expect("a file");
    assert!(with_stdin(&fleet, &["secret", "rekey", &vars], "").status.success());
    assert_eq!(std::fs::read(&vars).expect("a file"), before);
    let other = fleet.folder.path().join("other").display().to_string();
    let made = with_stdin(&fleet, &["secret", "init", &other], "");
    let public = String::from_utf8(made.stdout).expect("a key").trim().to_owned();
    let check = with_stdin(&fleet, &["secret", "rekey", "--check", "-r", &public, &vars], "");
    assert_eq!(check.status.code(), Some(2), "{check:?}");
    assert!(with_stdin(&fleet, &["secret", "rekey", "-r", &public, &vars], "").status.success());
    let ran = apply(&fleet, &book, &[]);
    assert!(ran.exit == 1 && ran.stderr.contains("this secret cannot be opened: it is encrypted for") && ran.stderr.contains("--identity"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("kanarien"), "{}", ran.stderr);
    let with_both = format!("{other}:{}", fleet.folder.path().join("controller/.config/mutate/identity").display());
    let path = fleet.write("play.toml", &book).display().to_string();
    let output = mutate(&fleet, &["apply", &path]).env("MUTATE_IDENTITY", with_both).output().expect("the program runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn what_is_wrong_in_an_encrypted_file_is_told_without_it() {
    let fleet = two();
    key(&fleet);
    let vars = fleet.write("vars.toml", "pw = 'kanarienvogel\nport = 1\n").display().to_string();
    assert!(with_stdin(&fleet, &["secret", "encrypt", &vars], "").status.success());
    let ran = apply(&fleet, "hosts = 'all'\n[[task]]\nping = {}\n", &["-e", &format!("@{vars}.age")]);
    assert!(ran.exit == 1 && ran.stderr.contains("error[syntax]") && !ran.stderr.contains("kanarien"), "{}", ran.stderr);
    let vars = fleet.write("types.toml", "mode = 'kanarienvogel'\n").display().to_string();
    assert!(with_stdin(&fleet, &["secret", "encrypt", &vars], "").status.success());
    let ran = apply(&fleet, "hosts = 'all'\n[[task]]\nfile = { path = '~/f', state = 'touch', mode = '{{ mode }}' }\n", &["-e", &format!("@{vars}.age")]);
    assert!(ran.exit == 1 && !ran.stderr.contains("kanarien"), "{}", ran.stderr);
    let yaml = fleet.write("e.yaml", "pw: kanarien=spatzbraun\n  bad: [vogelgelb\n").display().to_string();
    assert!(with_stdin(&fleet, &["secret", "encrypt", &yaml], "").status.success());
    let ran = apply(&fleet, "hosts = 'all'\n[[task]]\nping = {}\n", &["-e", &format!("@{yaml}.age")]);
    assert!(ran.exit == 1 && ran.stderr.contains("this is no YAML") && !ran.stderr.contains("vogel") && !ran.stderr.contains("kanarien"), "{}", ran.stderr);
    // Damaged, and none at all.
    let sealed = format!("{vars}.age");
    let mut bytes = std::fs::read(&sealed).expect("a file");
    let at = bytes.len() - 60;
    bytes[at] ^= 1;
    std::fs::write(&sealed, bytes).expect("a file");
    let ran = apply(&fleet, "hosts = 'all'\n[[task]]\nping = {}\n", &["-e", &format!("@{sealed}")]);
    assert!(ran.exit == 1 && ran.stderr.contains("damaged"), "{}", ran.stderr);
}
