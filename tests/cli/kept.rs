//! What hosts keep of runs: as much as the inventory says, and nothing that no ledger names.

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
