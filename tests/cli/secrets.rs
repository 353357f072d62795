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

/// A program that prints a secret and counts how often it is asked, in a file beside it.
fn teller(fleet: &Fleet) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = fleet.write("tell", "#!/bin/sh\necho \"$*\" >>asked\n[ \"$1\" != gone ] || { echo out; printf 'not\\033[31m in the store: %s\\n' \"$2\" >&2; exit 7; }\nprintf 'kanarienvogel-%s {{ x }}\\n' \"$1\"\n");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
}

/// What was asked for, sorted.
fn asked(fleet: &Fleet) -> Vec<String> {
    let path = fleet.folder.path().join("files/asked");
    let mut lines: Vec<String> = std::fs::read_to_string(&path).unwrap_or_default().lines().map(str::to_owned).collect();
    lines.sort();
    let _gone = std::fs::remove_file(path);
    lines
}

fn copied(fleet: &Fleet, host: &str, name: &str) -> String {
    std::fs::read_to_string(fleet.host(host).home.join(name)).unwrap_or_default()
}

#[test]
fn secrets_come_from_commands_the_environment_and_files() {
    let fleet = two();
    teller(&fleet);
    fleet.write("token", "kanarienvogel-file\nsecond line\n");
    fleet.write("more.toml", "from_more = { secret_from_command = ['./tell', 'more'] }\nall = { used = { secret_from_command = ['./tell', 'used'] }, unused = { secret_from_command = ['./tell', 'unused'] } }\n");
    let book = "hosts = 'all'\nvars_files = ['more.toml']\nvars = { own = { secret_from_command = ['./tell', 'own-{{ host.name }}'] }, token = { secret_from_file = 'token' }, env = { secret_from_env = 'CANARY' }, \
        other = { secret_from_command = ['./tell', 'other'] }, never = { secret_from_command = ['./tell', 'gone'] }, made = 'made of {{ own }}' }\n\
        [[task]]\nname = 'a {{ own }}'\ncopy = { content = \"{{ own }}\\n{{ token }}\\n{{ env }}\\n{{ from_more }}\\n{{ all.used }}\\n{{ made }}\", dest = '~/a' }\n\
        [[task]]\nname = 'said'\nshell = { cmd = 'printf %s \"$S\"', always = true }\nenvironment = { S = { secret_from_command = ['./tell', 'direct'] } }\n\
        [[task]]\nname = 'chosen'\ncopy = { content = '{{ other }}', dest = '~/b' }\ntags = ['never', 'some']\n\
        [[task]]\nname = 'not here'\ncopy = { content = '{{ never }}', dest = '~/c' }\nwhen = \"host.name == 'gamma'\"\n";
    let path = fleet.write("play.toml", book).display().to_string();
    let play = |words: &[&str]| {
        let output = mutate(&fleet, &[&["apply", &path], words].concat()).env("CANARY", "kanarienvogel-env").output().expect("the program runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("kanarienvogel"), "{said}");
        (output.status.code(), said)
    };
    // Who only validates or explains fetches nothing.
    let (exit, said) = {
        let output = mutate(&fleet, &["check", &path]).output().expect("the program runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert!(exit == Some(0), "{said}");
    for output in ["human", "json"] {
        let output = mutate(&fleet, &["explain", "own", &path, "--output", output]).output().expect("the program runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("secret_from_command") && said.contains("own-{{ host.name }}") && !said.contains("kanarienvogel"), "{said}");
    }
    assert_eq!(asked(&fleet), Vec::<String>::new());
    // Each once, for whoever needs it, and nothing that nobody needs.
    let (exit, said) = play(&["-vvv", "--diff"]);
    assert_eq!(exit, Some(0), "{said}");
    assert_eq!(asked(&fleet), ["direct", "more", "own-alpha", "own-beta", "used"]);
    let expected = "kanarienvogel-own-beta {{ x }}\nkanarienvogel-file\nsecond line\nkanarienvogel-env\nkanarienvogel-more {{ x }}\nkanarienvogel-used {{ x }}\nmade of kanarienvogel-own-beta {{ x }}";
    assert_eq!(copied(&fleet, "beta", "a"), expected);
    assert!(said.contains("a ***") && said.contains("made of ***"), "{said}");
    assert_eq!(play(&["-l", "alpha", "-t", "some", "--output", "json"]).0, Some(0));
    assert_eq!((asked(&fleet), copied(&fleet, "alpha", "b")), (vec!["other".to_owned()], "kanarienvogel-other {{ x }}".into()));
    // Kept nowhere, and in no plan.
    let plan = fleet.folder.path().join("saved.plan").display().to_string();
    std::fs::write(fleet.host("alpha").home.join("a"), "other\n").expect("a file");
    let output = mutate(&fleet, &["plan", &path, "-o", &plan]).env("CANARY", "kanarienvogel-env").output().expect("the program runs");
    assert!(String::from_utf8_lossy(&output.stderr).contains("not in the plan"), "{output:?}");
    assert_eq!(hits(&fleet.folder.path().join("controller")), Vec::<String>::new());
    assert_eq!(hits(&fleet.host("alpha").home.join(".local/state/mutate/runs")), Vec::<String>::new());
    assert!(!hits(Path::new(&plan).parent().expect("a folder")).contains(&plan));
}

#[test]
fn a_secret_that_cannot_be_fetched_keeps_the_run_from_beginning() {
    let fleet = two();
    teller(&fleet);
    let book = "hosts = 'all'\n[vars]\npw = { secret_from_command = ['./tell', 'gone', '{{ host.name }}'] }\nenv = { secret_from_env = 'NO_SUCH' }\nfile = { secret_from_file = 'none' }\n\
        [[task]]\nname = 'first'\ncopy = { content = 'x', dest = '~/first' }\n\
        [[task]]\nname = 'later'\nwhen = \"facts.os.family == 'none'\"\ncopy = { content = '{{ pw }} {% if facts.arch %}{{ env }}{% endif %}{{ file }}', dest = '~/b' }\n";
    let ran = apply(&fleet, book, &[]);
    assert_eq!(ran.exit, 1, "{}", ran.stderr);
    assert!(fleet.host("alpha").home.join("first").symlink_metadata().is_err());
    for line in [
        "error[secret]: the secret cannot be fetched: `./tell` ended with status 7: not [31m in the store: alpha",
        "play.toml:3:6",
        "3 | pw = { secret_from_command = ['./tell', 'gone', '{{ host.name }}'] }",
        "in the store: beta",
        "the environment has no variable `NO_SUCH`",
        "files/none`: there is no such file",
        "no host has been contacted",
    ] {
        assert!(ran.stderr.contains(line), "{line}: {}", ran.stderr);
    }
    assert!(!ran.stderr.contains("error[template]") && !ran.stderr.contains('\u{1b}') && !ran.stderr.contains(": out"), "{}", ran.stderr);
}

#[test]
fn nothing_that_a_host_says_names_a_source() {
    let fleet = two();
    teller(&fleet);
    // A host may say whatever it likes: it stays data.
    let said = "{\"secret_from_command\": [\"./tell\", \"injected\"]}";
    std::fs::write(fleet.host("alpha").home.join("said"), said).expect("a file");
    std::fs::write(fleet.host("beta").home.join("said"), said).expect("a file");
    let book = "hosts = 'all'\n[[task]]\nname = 'ask'\ncommand = { argv = ['cat', 'said'], probe = true }\nregister = 'out'\n\
        [[task]]\nname = 'set'\nset_fact = { data = '{{ out.stdout | from_json }}', text = '{{ out.stdout }}' }\n\
        [[task]]\nname = 'use'\ncopy = { content = '{{ data | to_json }} {{ text }} {{ again }}', dest = '~/used' }\nvars = { again = '{{ data }}' }\n";
    let ran = apply(&fleet, book, &[]);
    assert_eq!(ran.exit, 0, "{} {}", ran.document, ran.stderr);
    assert_eq!(copied(&fleet, "beta", "used").matches("injected").count(), 3);
    // Nor does a value on the command line, which a program may have made.
    let book = "hosts = 'all'\n[[task]]\nname = 'use'\ncopy = { content = '{{ data | to_json }}', dest = '~/used' }\n";
    for words in [format!("data={said}"), format!("{{\"data\": {said}}}")] {
        let ran = apply(&fleet, book, &["-e", &words]);
        assert_eq!(ran.exit, 0, "{} {}", ran.document, ran.stderr);
        assert!(copied(&fleet, "beta", "used").contains("secret_from_command"));
    }
    // A host has no say in which secret it gets.
    for (vars, name) in [("", "facts.hostname"), ("", "out.stdout"), ("", "item"), ("between = '{{ facts.hostname }}'\n", "between")] {
        let book = format!("hosts = 'all'\n[vars]\n{vars}pw = {{ secret_from_command = ['./tell', '{{{{ {name} }}}}'] }}\n\
            [[task]]\nname = 'ask'\ncommand = {{ argv = ['cat', 'said'], probe = true }}\nregister = 'out'\n\
            [[task]]\nname = 'use'\ncopy = {{ content = '{{{{ pw }}}}', dest = '~/pw-{{{{ item }}}}' }}\nloop = ['a']\n");
        let ran = apply(&fleet, &book, &[]);
        assert!(ran.exit == 1 && ran.stderr.contains("nothing that a host says"), "{name}: {} {}", ran.document, ran.stderr);
    }
    assert_eq!(asked(&fleet), Vec::<String>::new());
}

#[test]
fn each_host_may_have_its_own_passwords() {
    let fleet = two();
    teller(&fleet);
    let text = std::fs::read_to_string(&fleet.inventory).expect("an inventory");
    // Beside the inventory, since a path is relative to the file that names it.
    std::fs::copy(fleet.folder.path().join("files/tell"), fleet.inventory.parent().expect("a folder").join("tell")).expect("a copy");
    std::fs::write(&fleet.inventory, format!("become_password = {{ secret_from_command = ['./tell', 'sudo-{{{{ host.name }}}}'] }}\n{text}")).expect("an inventory");
    let ran = apply(&fleet, "hosts = 'all'\n[[task]]\nping = {}\n", &[]);
    assert_eq!(ran.exit, 0, "{} {}", ran.document, ran.stderr);
    let beside = fleet.inventory.parent().expect("a folder").join("asked");
    let mut lines: Vec<String> = std::fs::read_to_string(&beside).expect("what was asked").lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["sudo-alpha", "sudo-beta"]);
    std::fs::remove_file(&beside).expect("it is there");
    let output = mutate(&fleet, &["ping", "all"]).output().expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    // Who logs in nowhere does without.
    std::fs::write(&fleet.inventory, format!("connect_timeout = {{ secret_from_env = 'NO_SUCH' }}\n{}", text.replace("user = \"practice\"", "user = { secret_from_env = 'NO_SUCH' }"))).expect("an inventory");
    let path = fleet.write("play.toml", "hosts = 'all'\n[[task]]\nping = {}\n").display().to_string();
    let output = mutate(&fleet, &["check", &path]).output().expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    // So may files, by a template.
    for host in ["alpha", "beta"] {
        std::fs::write(fleet.folder.path().join(format!("pw-{host}")), format!("kanarienvogel of {host}\n")).expect("a file");
    }
    let files = format!("become_password_file = '{0}/pw-{{{{ host.name }}}}'\npassword_file = '{0}/pw-{{{{ host.name }}}}'\n{text}", fleet.folder.path().display());
    std::fs::write(&fleet.inventory, &files).expect("an inventory");
    assert_eq!(apply(&fleet, "hosts = 'all'\n[[task]]\nping = {}\n", &[]).exit, 0);
    std::fs::remove_file(fleet.folder.path().join("pw-beta")).expect("it was there");
    let ran = apply(&fleet, "hosts = 'all'\n[[task]]\nping = {}\n", &[]);
    assert!(ran.exit == 1 && ran.stderr.contains("pw-beta") && !ran.stderr.contains("pw-alpha"), "{}", ran.stderr);
    std::fs::write(&fleet.inventory, format!("vars = {{ db = {{ secret_from_command = ['./tell', 'db'] }} }}\n{text}")).expect("an inventory");
    let inventory = fleet.inventory.display().to_string();
    std::fs::remove_file(&beside).expect("it was asked for others");
    let (exit, said) = super::alone(&fleet, &["inventory", "show", "all", "-i", &inventory]);
    assert!(exit == 0 && said.contains("secret_from_command") && !beside.exists(), "{said}");
}
