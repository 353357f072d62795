//! What hosts keep of runs: as much as the inventory says, nothing that no ledger names, and enough to tell who did what.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{Fleet, apply, mutate, one};

fn state(fleet: &Fleet) -> PathBuf {
    fleet.host("alpha").home.join(".local/state/mutate")
}

fn names(folder: PathBuf) -> BTreeSet<String> {
    std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Gives the name of the run.
fn write(fleet: &Fleet, content: &str) -> String {
    let ran = apply(fleet, &format!("hosts = 'all'\n[[task]]\nname = 'f'\ncopy = {{ content = '{content}', dest = '~/f' }}\n"), &[]);
    assert_eq!(ran.exit, 0, "{} {}", ran.document, ran.stderr);
    ran.document["run"].as_str().expect("a name").to_owned()
}

fn keep(fleet: &Fleet, what: &str) {
    let text = std::fs::read_to_string(&fleet.inventory).expect("an inventory");
    let text: String = text.lines().filter(|line| !line.starts_with("keep_")).map(|line| format!("{line}\n")).collect();
    std::fs::write(&fleet.inventory, format!("{what}\n{text}")).expect("an inventory");
}

#[test]
fn old_runs_and_their_backups_go() {
    let fleet = one();
    let runs: Vec<String> = ["a", "b", "c", "d"].iter().map(|content| write(&fleet, content)).collect();
    assert_eq!(names(state(&fleet).join("runs")), runs.iter().cloned().collect());
    let before = names(state(&fleet).join("store")).len();
    // The first run had found nothing.
    assert!(before >= 3, "{:?}", names(state(&fleet).join("store")));
    keep(&fleet, "keep_runs = 3");
    let last = write(&fleet, "e");
    assert_eq!(names(state(&fleet).join("runs")), [runs[2].clone(), runs[3].clone(), last.clone()].into());
    // What the ledgers that are left speak of is all that is left.
    let ledgers: String = names(state(&fleet).join("runs")).iter().map(|run| std::fs::read_to_string(state(&fleet).join("runs").join(run).join("ledger")).expect("a ledger")).collect();
    let store = names(state(&fleet).join("store"));
    assert!(store.iter().all(|name| ledgers.contains(name.as_str())) && store.len() >= 3, "{store:?} {ledgers}");
    assert_eq!(names(state(&fleet)), ["handlers", "runs", "store"].map(String::from).into());
    // What is gone cannot be undone, and that is said; what is kept can.
    let undo = |run: &str, force: bool| {
        let words = if force { vec!["rollback", run, "--force"] } else { vec!["rollback", run] };
        let output = mutate(&fleet, &words).output().expect("the program runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (exit, said) = undo(&runs[1], true);
    assert!(exit == Some(7) && said.contains("is no longer in"), "{said}");
    assert_eq!(undo(&last, false).0, Some(0));
    assert_eq!(std::fs::read_to_string(fleet.host("alpha").home.join("f")).expect("a file"), "d");
    // By age, on the host's own clock.
    keep(&fleet, "keep_days = 30");
    let old = state(&fleet).join("runs").join(&last);
    let time = std::time::SystemTime::now() - std::time::Duration::from_secs(40 * 86_400);
    std::fs::File::open(&old).expect("a folder").set_modified(time).expect("its time");
    write(&fleet, "x");
    assert!(!old.exists() && names(state(&fleet).join("runs")).len() > 1);
    // By size: a megabyte is overwritten, and then there is only room for the newest.
    keep(&fleet, "keep_mb = 1");
    std::fs::write(fleet.host("alpha").home.join("f"), vec![b'y'; 2 << 20]).expect("a file");
    let large = write(&fleet, "y");
    assert_eq!(names(state(&fleet).join("runs")), [large].into());
    let after = write(&fleet, "z");
    assert_eq!(names(state(&fleet).join("runs")), [after].into());
}

#[test]
fn the_hosts_own_ledger_tells_who_changed_a_path() {
    let fleet = one();
    std::fs::write(fleet.host("alpha").home.join("f"), "older\n").expect("a file");
    let first = write(&fleet, "one");
    let second = write(&fleet, "two");
    fleet.write("tree/below", "text\n");
    let tree = apply(&fleet, "hosts = 'all'\n[[task]]\nname = 'tree'\ncopy = { src = 'tree', dest = '~/d' }\n", &[]);
    assert_eq!(tree.exit, 0, "{}", tree.document);
    let path = fleet.host("alpha").home.join("f").display().to_string();
    let here = mutate(&fleet, &["blame", "alpha", &path, "--output", "json"]).output().expect("the program runs");
    let here: serde_json::Value = serde_json::from_slice(&here.stdout).expect("JSON");
    assert_eq!((&here["source"], here["changes"].as_array().map(Vec::len)), (&"journal".into(), Some(2)), "{here}");
    // On another machine there is no such journal.
    std::fs::remove_dir_all(fleet.folder.path().join("controller")).expect("it is gone");
    let blame = |words: &[&str]| {
        let output = mutate(&fleet, &[&["blame", "alpha"], words].concat()).output().expect("the program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let told: serde_json::Value = serde_json::from_str(&blame(&[&path, "-D", "--output", "json"])).expect("JSON");
    assert_eq!(told["source"], "ledger", "{told}");
    let changes = told["changes"].as_array().expect("changes");
    let runs: Vec<&str> = changes.iter().map(|change| change["run"].as_str().expect("a run")).collect();
    assert_eq!(runs, [second.as_str(), first.as_str()]);
    assert!(changes.iter().all(|change| change["who"].as_str().is_some_and(|who| who.contains("`mutate apply`")) && change["task"] == "f"), "{told}");
    assert!(changes[0]["diff"].as_str().is_some_and(|diff| diff.contains("-one\n") && diff.contains("+two\n")), "{told}");
    assert!(changes[1]["diff"].as_str().is_some_and(|diff| diff.contains("-older\n") && diff.contains("+one\n")), "{told}");
    let text = blame(&[&path]);
    assert!(text.starts_with("20") && text.contains(&first) && text.contains(" f ("), "{text}");
    // What came with a folder, and what nobody knows.
    assert!(blame(&[&format!("{}/d/below", fleet.host("alpha").home.display())]).contains("tree ("));
    assert!(blame(&["/nowhere"]).contains("neither the journal nor the host's ledger"));
    let nobody = mutate(&fleet, &["blame", "gamma", "/nowhere"]).output().expect("the program runs");
    assert_eq!(nobody.status.code(), Some(1));
}

#[test]
fn the_backups_of_a_folder_are_kept_with_it() {
    let fleet = one();
    let tree = |text: &str| {
        fleet.write("tree/below", text);
        let ran = apply(&fleet, "hosts = 'all'\n[[task]]\nname = 'tree'\ncopy = { src = 'tree', dest = '~/d' }\n", &[]);
        assert_eq!(ran.exit, 0, "{}", ran.document);
        ran.document["run"].as_str().expect("a run").to_owned()
    };
    write(&fleet, "a");
    tree("one\n");
    let second = tree("two\n");
    keep(&fleet, "keep_runs = 3");
    write(&fleet, "b");
    assert_eq!(names(state(&fleet).join("runs")).len(), 3);
    let back = mutate(&fleet, &["rollback", &second]).output().expect("the program runs");
    assert!(back.status.success(), "{}", String::from_utf8_lossy(&back.stdout));
    assert_eq!(std::fs::read_to_string(fleet.host("alpha").home.join("d/tree/below")).expect("a file"), "one\n");
}

#[test]
fn a_secret_of_an_own_module_is_kept_nowhere() {
    const SECRET: &str = "correct-horse-battery";
    let fleet = one();
    fleet.write("modules/token.toml", r#"
about = "Writes the length of a token."
probe = """
[ "$(cat "$HOME/length" 2>/dev/null)" = "$(printf %s {{ token }} | wc -c)" ] && tell fits yes || tell fits no
"""
apply = """
printf %s {{ token }} | wc -c >"$HOME/length"
{% if broken %}
echo "no such token: "{{ token }} >&2
fail "it went wrong"
{% endif %}
"""
keep = "{{ home }}/length"
[params.token]
about = "It."
secret = true
[params.broken]
about = "Fails in the end."
type = "bool"
[wanted]
fits = "yes"
"#);
    let book = |broken: bool| format!("hosts = 'all'\n[[task]]\nname = 'it'\ntoken = {{ token = '{SECRET}', broken = {broken} }}\n");
    let mut said = String::new();
    for (broken, words) in [(false, vec!["--check", "--diff"]), (false, vec!["--diff", "-vvv"]), (false, vec![]), (true, vec!["--diff"])] {
        if broken {
            std::fs::remove_file(fleet.host("alpha").home.join("length")).expect("a file");
        }
        let ran = apply(&fleet, &book(broken), &words);
        assert_eq!(ran.exit, if broken { 4 } else { 0 }, "{} {}", ran.document, ran.stderr);
        said.push_str(&format!("{}{}", ran.document, ran.stderr));
    }
    let plan = fleet.folder.path().join("files/play.plan").display().to_string();
    let path = fleet.write("play.toml", &book(false)).display().to_string();
    let output = mutate(&fleet, &["plan", &path, "-o", &plan]).output().expect("the program runs");
    said.push_str(&String::from_utf8_lossy(&output.stdout));
    assert!(!said.contains(SECRET), "{said}");
    std::fs::remove_file(&path).expect("the playbook");
    let mut folders = vec![fleet.folder.path().to_owned()];
    let mut looked_at = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            let kind = entry.file_type().expect("a kind");
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                let bytes = std::fs::read(entry.path()).unwrap_or_default();
                looked_at += 1;
                assert!(!bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()), "{} holds the secret", entry.path().display());
            }
        }
    }
    assert!(looked_at > 5, "journal, ledger and store are somewhere");
}
