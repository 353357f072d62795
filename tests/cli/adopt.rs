//! A change that somebody has made on a host, turned into a patch of what the playbook is made from.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{Fleet, alone, mutate, one, read, two};

/// The program, in the folder of the playbook.
fn run(fleet: &Fleet, words: &[&str]) -> Output {
    mutate(fleet, words).current_dir(fleet.folder.path().join("files")).output().expect("the program runs")
}

/// The playbook, applied.
fn applied(fleet: &Fleet, book: &str, words: &[&str]) {
    fleet.write("play.toml", book);
    let output = run(fleet, &[&["apply", "play.toml"], words].concat());
    assert!(output.status.success(), "{output:?}");
}

/// Whether the playbook finds the hosts as it wants them.
fn is_in_place(fleet: &Fleet, words: &[&str]) -> bool {
    run(fleet, &[&["drift", "play.toml", "--no-blame"], words].concat()).status.code() == Some(0)
}

/// A file of a host, by its whole path.
fn at(fleet: &Fleet, host: &str, name: &str) -> String {
    fleet.host(host).home.join(name).display().to_string()
}

fn here(fleet: &Fleet, name: &str) -> PathBuf {
    fleet.folder.path().join("files").join(name)
}

fn put(path: &str, text: impl AsRef<[u8]>) {
    std::fs::write(path, text).expect("a file");
}

fn text(path: impl AsRef<std::path::Path>) -> String {
    std::fs::read_to_string(path).expect("a file")
}

/// How it ended, the patch, and what was said.
fn adopt(fleet: &Fleet, path: &str, words: &[&str]) -> (i32, String, String) {
    let output = run(fleet, &[&["adopt", "alpha", path], words].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn document(fleet: &Fleet, path: &str, words: &[&str]) -> Value {
    read(run(fleet, &[&["adopt", "alpha", path, "--output", "json"], words].concat())).document
}

/// Applies a patch as people do, with both of the tools that they use.
fn patched(fleet: &Fleet, patch: &str) {
    let feed = |program: &str, words: &[&str]| {
        let mut child = Command::new(program).args(words).current_dir(here(fleet, "")).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect(program);
        child.stdin.take().expect("stdin").write_all(patch.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect(program);
        assert!(output.status.success(), "{program}: {output:?}\n{patch}");
    };
    feed("git", &["apply", "--check", "-"]);
    feed("patch", &["-p1", "--no-backup-if-mismatch"]);
}

const COPY: &str = "hosts = 'all'\n[[task]]\nname = 'motd'\ncopy = { src = 'motd file', dest = '~/motd', mode = '0644' }\n";

#[test]
fn a_file_gets_what_the_host_has() {
    let fleet = two();
    fleet.write("motd file", "one\ntwo\nthree\n");
    applied(&fleet, COPY, &[]);
    let path = at(&fleet, "alpha", "motd");
    let (exit, patch, said) = adopt(&fleet, &path, &[]);
    assert_eq!((exit, patch.as_str()), (0, ""), "{said}");
    assert!(said.contains("nothing differs"), "{said}");
    put(&path, "one\n2\nthree");
    let (exit, patch, said) = adopt(&fleet, &path, &[]);
    assert!(exit == 0 && patch.starts_with("--- a/motd file\t\n+++ b/motd file\t\n") && patch.contains("-two\n-three\n+2\n+three\n\\ No newline at end of file\n"), "{patch}{said}");
    // The other host has it from the same file.
    assert!(said.contains("it changes beta, too"), "{said}");
    assert_eq!(text(here(&fleet, "motd file")), "one\ntwo\nthree\n");
    patched(&fleet, &patch);
    assert!(is_in_place(&fleet, &["-l", "alpha"]) && !is_in_place(&fleet, &["-l", "beta"]));
    // Written here, with the mode that the file has.
    put(&path, "four\n");
    std::fs::set_permissions(here(&fleet, "motd file"), std::fs::Permissions::from_mode(0o640)).expect("a mode");
    let told = document(&fleet, &path, &["--write"]);
    assert_eq!((&told["exit"], &told["written"], &told["complete"], told["others"].to_string()), (&0.into(), &true.into(), &true.into(), "[\"beta\"]".into()), "{told}");
    assert_eq!((told["task"]["module"].as_str(), told["files"][0].as_str()), (Some("copy"), Some("motd file")), "{told}");
    assert_eq!((text(here(&fleet, "motd file")), std::fs::metadata(here(&fleet, "motd file")).expect("it").permissions().mode() & 0o777), ("four\n".into(), 0o640));
    assert!(is_in_place(&fleet, &["-l", "alpha"]));
}

#[test]
fn bytes_that_are_no_text_are_only_written() {
    let fleet = one();
    fleet.write("motd file", "text\n");
    applied(&fleet, COPY, &[]);
    let path = at(&fleet, "alpha", "motd");
    put(&path, b"\0\xff\n");
    let (exit, patch, said) = adopt(&fleet, &path, &[]);
    assert!(exit == 4 && patch.is_empty() && said.contains("`--write` puts the new content in place"), "{patch}{said}");
    let (exit, _, said) = adopt(&fleet, &path, &["--write"]);
    assert_eq!((exit, std::fs::read(here(&fleet, "motd file")).expect("it")), (0, b"\0\xff\n".to_vec()), "{said}");
    assert!(is_in_place(&fleet, &[]));
}

#[test]
fn a_file_of_a_folder_is_found_here() {
    let fleet = one();
    fleet.write("tree/sub/a.conf", "a\n");
    fleet.write("tree/b.conf", "b\n");
    fleet.write("one", "1\n");
    fleet.write("two.j2", "2\n");
    applied(&fleet, "hosts = 'all'\n[[task]]\ncopy = { src = 'tree/', dest = '~/conf' }\n[[task]]\ncopy = { src = 'one', dest = '~/conf/' }\n[[task]]\ntemplate = { src = 'two.j2', dest = '~/conf/' }\n[[task]]\ncopy = { src = 'tree', dest = '~/conf' }\n", &[]);
    let path = at(&fleet, "alpha", "conf/sub/a.conf");
    put(&path, "a\nmore\n");
    let (exit, patch, said) = adopt(&fleet, &path, &["--playbook", "play.toml"]);
    assert!(exit == 0 && patch.starts_with("--- a/tree/sub/a.conf\n"), "{exit} {patch}{said}");
    patched(&fleet, &patch);
    put(&at(&fleet, "alpha", "conf/tree/sub/a.conf"), "a\nmore\n");
    assert!(is_in_place(&fleet, &[]));
    put(&at(&fleet, "alpha", "conf/tree/b.conf"), "under its name\n");
    let (exit, patch, said) = adopt(&fleet, &at(&fleet, "alpha", "conf/tree/b.conf"), &["--playbook", "play.toml"]);
    assert!(exit == 0 && patch.contains("+++ b/tree/b.conf\n"), "{patch}{said}");
    put(&at(&fleet, "alpha", "conf/tree/b.conf"), "b\n");
    // A file that goes into a folder is looked after under its own name.
    for (name, source) in [("one", "one"), ("two.j2", "two.j2")] {
        put(&at(&fleet, "alpha", &format!("conf/{name}")), "other\n");
        let (exit, _, said) = adopt(&fleet, &at(&fleet, "alpha", &format!("conf/{name}")), &["--write"]);
        assert!(exit == 0 && text(here(&fleet, source)) == "other\n", "{said}");
    }
    assert!(is_in_place(&fleet, &[]));
    let (exit, _, said) = adopt(&fleet, &at(&fleet, "alpha", "conf/c.conf"), &["--playbook", "play.toml"]);
    assert!(exit == 4 && said.contains("no task of play.toml looks after"), "{said}");
}

#[test]
fn a_text_in_the_playbook_is_replaced() {
    let fleet = one();
    let book = "# what it is\nhosts = 'all'\n[[task]]\nname = 'tall' # stays\ncopy.dest = '~/tall'\ncopy.content = \"\"\"\na \\\\ \\u00e9\n{{ name }} = 1\nlast\n\"\"\"\n\n[[task]]\ncopy = { content = 'short', dest = '~/short' }   # stays, too\n";
    applied(&fleet, book, &["-e", "name=x"]);
    let (tall, short) = (at(&fleet, "alpha", "tall"), at(&fleet, "alpha", "short"));
    put(&tall, "a \\ é\nx = 1\nnew \"\"\" \\ line {{ y }}\nlast\n");
    let (exit, patch, said) = adopt(&fleet, &tall, &["-e", "name=x"]);
    assert!(exit == 0 && patch.starts_with("--- a/play.toml\n"), "{patch}{said}");
    patched(&fleet, &patch);
    assert_eq!(text(here(&fleet, "play.toml")), book.replace("\nlast\n", "\nnew \"\"\\\" \\\\ line {{ '{{' }} y }}\nlast\n"));
    put(&short, "it's\nlonger\n");
    let (exit, _, said) = adopt(&fleet, &short, &["-e", "name=x", "--write"]);
    assert!(exit == 0 && text(here(&fleet, "play.toml")).ends_with("copy = { content = \"it's\\nlonger\\n\", dest = '~/short' }   # stays, too\n"), "{said}");
    assert!(is_in_place(&fleet, &["-e", "name=x"]));
    // The variables of that run are not known here.
    let (_, _, said) = adopt(&fleet, &short, &["-e", "name=x"]);
    assert!(!said.contains("was given variables"), "{said}");
}

const BOOK: &str = "hosts = 'all'\n[vars]\nport = 80\nusers = ['ann', 'bob']\n[[task]]\nname = 'site'\ntemplate = { src = 'site.j2', dest = '~/site', mode = '0644' }\n";
const SITE: &str = "# head\nlisten {{ port }};\n{% for user in users %}\nallow {{ user }};\n{% endfor %}\n{% if host.name == 'alpha' %}\nonly here;\n{% endif %}\nend\n";

#[test]
fn edits_are_carried_into_the_template() {
    let fleet = two();
    fleet.write("site.j2", SITE);
    applied(&fleet, BOOK, &[]);
    let path = at(&fleet, "alpha", "site");
    let made = text(&path);
    assert_eq!(made, "# head\nlisten 80;\nallow ann;\nallow bob;\nonly here;\nend\n");
    put(&path, made.replace("# head\n", "# top\n# {% odd %}\n").replace("only here", "only there").replace("end\n", "end\nbehind"));
    let (exit, patch, said) = adopt(&fleet, &path, &[]);
    assert!(exit == 0 && patch.starts_with("--- a/site.j2\n") && said.contains("it changes beta, too"), "{patch}{said}");
    patched(&fleet, &patch);
    assert_eq!(text(here(&fleet, "site.j2")), SITE.replace("# head\n", "# top\n# {{ '{%' }} odd %}\n").replace("only here", "only there").replace("end\n", "end\nbehind").replace("{% endbehind", "{% end"));
    assert!(is_in_place(&fleet, &["-l", "alpha"]));
}

#[test]
fn what_an_expression_made_is_said_and_not_guessed() {
    let fleet = one();
    fleet.write("site.j2", SITE);
    applied(&fleet, BOOK, &[]);
    let path = at(&fleet, "alpha", "site");
    let made = text(&path);
    put(&path, made.replace("listen 80", "listen 8080").replace("# head", "# top"));
    let (exit, patch, said) = adopt(&fleet, &path, &["--write"]);
    // What can be told is in the patch, and nothing is written that is not all.
    assert!(exit == 4 && patch.contains("+# top") && !patch.contains("8080"), "{patch}{said}");
    assert!(said.contains("site.j2:2: `listen {{ port }};` makes `listen 80;`, and the host has `listen 8080;`: `port` would have to be `8080` (it is set in play.toml:3)"), "{said}");
    assert!(said.contains("nothing was written") && text(here(&fleet, "site.j2")) == SITE, "{said}");
    let told = document(&fleet, &path, &[]);
    let rest = &told["rest"][0];
    assert_eq!((&told["complete"], &rest["file"], &rest["line"], &rest["variable"], &rest["value"]), (&false.into(), &"site.j2".into(), &2.into(), &"port".into(), &"8080".into()), "{told}");
    // With that value, and the patch, it is in place.
    fleet.write("play.toml", &BOOK.replace("port = 80", "port = 8080"));
    let (exit, _, said) = adopt(&fleet, &path, &["--write"]);
    assert!(exit == 0 && is_in_place(&fleet, &[]), "{said}");
    // One turn of a loop is no line of its own.
    put(&path, text(&path).replace("allow bob;", "deny bob;"));
    let (exit, patch, said) = adopt(&fleet, &path, &[]);
    assert!(exit == 4 && patch.is_empty() && said.contains("site.j2:4: `allow {{ user }};` makes `allow bob;`, and the host has `deny bob;`"), "{patch}{said}");
    put(&path, b"\xff\n");
    let (exit, _, said) = adopt(&fleet, &path, &[]);
    assert!(exit == 4 && said.contains("is no text in UTF-8"), "{said}");
}

#[test]
fn modes_are_written_where_they_stand() {
    let fleet = one();
    fleet.write("motd file", "text\n");
    applied(&fleet, COPY, &[]);
    let path = at(&fleet, "alpha", "motd");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    put(&path, "other\n");
    let (exit, patch, said) = adopt(&fleet, &path, &["--write"]);
    assert!(exit == 0 && patch.contains("--- a/motd file") && patch.contains("+copy = { src = 'motd file', dest = '~/motd', mode = '0600' }"), "{patch}{said}");
    assert!(is_in_place(&fleet, &[]));
    // A mode that comes from elsewhere.
    let book = "hosts = 'all'\n[vars]\nmode = '0644'\n[[task]]\nname = 'motd'\ncopy = { src = 'motd file', dest = '~/motd' }\n[[task]]\nname = 'mode'\nfile = { path = '~/motd', mode = '{{ mode }}' }\n";
    applied(&fleet, book, &[]);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("a mode");
    let (exit, patch, said) = adopt(&fleet, &path, &[]);
    assert!(exit == 4 && patch.is_empty() && said.contains("play.toml:9: the host has 0640, and the task asks for 0644: it would need `mode = \"0640\"`"), "{patch}{said}");
}

#[test]
fn what_can_be_no_patch_is_said() {
    let fleet = one();
    fleet.write("gone", "x\n");
    let book = "hosts = 'all'\n[[task]]\nname = 'line'\nlineinfile = { path = '~/conf', line = 'a=1', create = true }\n[[task]]\nname = 'quiet'\ncopy = { content = 'hush', dest = '~/quiet' }\nno_log = true\n\
        [[task]]\nname = 'gone'\ncopy = { src = 'gone', dest = '~/gone' }\n";
    applied(&fleet, book, &[]);
    let conf = at(&fleet, "alpha", "conf");
    assert!(adopt(&fleet, &conf, &[]).2.contains("nothing differs"));
    put(&conf, "a=2\n");
    let (exit, patch, said) = adopt(&fleet, &conf, &[]);
    assert!(exit == 4 && patch.is_empty() && said.contains("`line` (play.toml:3)") && said.contains("`lineinfile` looks after one line"), "{said}");
    let quiet = at(&fleet, "alpha", "quiet");
    put(&quiet, "canary");
    let (exit, patch, said) = adopt(&fleet, &quiet, &["--playbook", "play.toml", "--write"]);
    assert!(exit == 4 && patch.is_empty() && said.contains("is refused, since the task says `no_log`") && !said.contains("canary") && !said.contains("hush"), "{said}");
    // A copy within the host, and what is not to be there.
    let book = "hosts = 'all'\n[[task]]\nname = 'there'\ncopy = { src = '~/conf', remote_src = true, dest = '~/second' }\n[[task]]\nname = 'not there'\nfile = { path = '~/never', state = 'absent' }\n";
    fleet.write("within.toml", book);
    put(&at(&fleet, "alpha", "second"), "else\n");
    put(&at(&fleet, "alpha", "never"), "else\n");
    let (exit, patch, said) = adopt(&fleet, &at(&fleet, "alpha", "second"), &["--playbook", "within.toml"]);
    assert!(exit == 4 && patch.is_empty() && said.contains("`there` (within.toml:3): it is a copy of another file of the host"), "{said}");
    let (exit, patch, said) = adopt(&fleet, &at(&fleet, "alpha", "never"), &["--playbook", "within.toml"]);
    assert!(exit == 4 && patch.is_empty() && said.contains("`file` says what is there"), "{said}");
    let gone = at(&fleet, "alpha", "gone");
    std::fs::remove_file(&gone).expect("it");
    let (exit, _, said) = adopt(&fleet, &gone, &[]);
    assert!(exit == 4 && said.contains("is gone on alpha"), "{said}");
    // No such task, no such host, no path.
    let (exit, _, said) = adopt(&fleet, "/nowhere", &["--playbook", "play.toml"]);
    assert!(exit == 4 && said.contains("no task of play.toml looks after /nowhere on alpha"), "{said}");
    let output = run(&fleet, &["adopt", "alpho", "/x", "--playbook", "play.toml"]);
    assert!(output.status.code() == Some(3) && String::from_utf8_lossy(&output.stderr).contains("did you mean `alpha`?"), "{output:?}");
    assert_eq!(adopt(&fleet, "x", &["--playbook", "play.toml"]).0, 1);
}

#[test]
fn a_secret_is_not_shown() {
    let fleet = one();
    std::fs::create_dir_all(here(&fleet, "")).expect("a folder");
    let (exit, said) = alone(&fleet, &["secret", "init"]);
    assert_eq!(exit, 0, "{said}");
    let key = said.lines().find(|line| line.starts_with("age1")).expect("a key").to_owned();
    fleet.write(".mutate-recipients", &format!("{key}\n"));
    let secret = fleet.write("secret.toml", "password = 'kanarienvogel-7'\n").display().to_string();
    assert_eq!(alone(&fleet, &["secret", "encrypt", &secret]).0, 0);
    let name = if here(&fleet, "secret.toml.age").exists() { "@secret.toml.age" } else { "@secret.toml" };
    fleet.write("site.j2", "first\n{{ password }}\n");
    applied(&fleet, "hosts = 'all'\n[[task]]\ntemplate = { src = 'site.j2', dest = '~/site' }\n", &["-e", name]);
    let path = at(&fleet, "alpha", "site");
    put(&path, text(&path).replace("first", "second"));
    let (exit, patch, said) = adopt(&fleet, &path, &["-e", name, "--playbook", "play.toml"]);
    assert!(exit == 4 && patch.is_empty() && said.contains("is refused, since it is made from a secret") && !said.contains("kanarienvogel"), "{patch}{said}");
}

#[test]
fn the_journal_knows_the_playbook() {
    let fleet = one();
    fleet.write("motd file", "text\n");
    fleet.write("play.toml", COPY);
    let path = at(&fleet, "alpha", "motd");
    let (exit, _, said) = adopt(&fleet, &path, &[]);
    assert!(exit == 1 && said.contains("has no journal") && said.contains("--playbook FILE"), "{said}");
    applied(&fleet, COPY, &["-e", "x=1"]);
    put(&path, "other\n");
    let told = document(&fleet, &path, &[]);
    assert!(told["exit"] == 0 && told["playbooks"][0] == "play.toml" && told["notes"][0].as_str().is_some_and(|note| note.contains("was given variables with `-e`")), "{told}");
    let (exit, _, said) = adopt(&fleet, &at(&fleet, "alpha", "other"), &[]);
    assert!(exit == 1 && said.contains("knows of no run with a playbook that changed"), "{said}");
    std::fs::rename(here(&fleet, "play.toml"), here(&fleet, "moved.toml")).expect("moved");
    let (exit, _, said) = adopt(&fleet, &path, &[]);
    assert!(exit == 1 && said.contains("with `play.toml`, which is not here any more"), "{said}");
    assert_eq!(adopt(&fleet, &path, &["--playbook", "moved.toml"]).0, 0);
}
