//! Saved plans: applied exactly as reviewed, or not at all.

use super::{mutate, read, two};

const SITE: &str = "hosts = 'all'\n\
    [[task]]\nname = 'file'\ncopy = { content = 'new', dest = '~/f', mode = '0640' }\nnotify = 'tell'\n\
    [[task]]\nname = 'folder'\nfile = { path = '~/d', state = 'directory' }\n\
    [[task]]\nname = 'there'\nlineinfile = { path = '~/old', line = 'one' }\n\
    [[task]]\nname = 'same file'\nlineinfile = { path = '~/f', line = 'x', create = true }\n\
    [[handler]]\nname = 'tell'\ncommand = { cmd = 'touch told', always = true }\n";

#[test]
fn a_plan_is_applied_exactly_and_stale_hosts_are_refused_one_by_one() {
    let fleet = two();
    for host in &fleet.hosts {
        std::fs::write(host.home.join("old"), "one\n").expect("a file");
    }
    let playbook = fleet.write("play.toml", SITE).display().to_string();
    let plan = fleet.folder.path().join("web.plan").display().to_string();
    let planned = mutate(&fleet, &["plan", &playbook, "-o", &plan]).output().expect("the program runs");
    assert!(planned.status.success(), "{}", String::from_utf8_lossy(&planned.stderr));
    let said = String::from_utf8_lossy(&planned.stderr).into_owned();
    assert!(said.contains("not in the plan: same file on alpha: an earlier step of the plan changes the same thing"), "{said}");
    assert!(!fleet.host("alpha").home.join("f").exists());
    let shown = std::process::Command::new(env!("CARGO_BIN_EXE_mutate")).args(["show", &plan]).output().expect("the program runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("would change folder  alpha, beta") && shown.contains("+new"), "{shown}");
    // Somebody edits what the plan only looks at.
    std::fs::write(fleet.host("beta").home.join("old"), "two\n").expect("an edit");
    let ran = read(mutate(&fleet, &["apply", &plan, "--output", "json"]).output().expect("the program runs"));
    assert_eq!(ran.exit, 9, "{} {}", ran.document, ran.stderr);
    assert_eq!(ran.outcomes("alpha"), ["changed", "changed", "ok", "changed"], "{}", ran.document);
    assert_eq!(std::fs::read_to_string(fleet.host("alpha").home.join("f")).expect("a file"), "new");
    assert!(fleet.host("alpha").home.join("told").exists());
    let step = &ran.document["hosts"]["beta"]["steps"][0];
    assert!(step["message"].as_str().is_some_and(|said| said.contains("no longer as it was")) && step["diff"].as_str().is_some_and(|diff| !diff.is_empty()), "{}", ran.document);
    assert!(!fleet.host("beta").home.join("d").exists(), "a stale host was changed");
    // Applied once, the plan is stale.
    let again = read(mutate(&fleet, &["apply", &plan, "-l", "alpha", "--output", "json"]).output().expect("the program runs"));
    assert_eq!(again.exit, 9, "{}", again.document);
    // What a plan has changed can be undone like any run.
    let back = read(mutate(&fleet, &["rollback", "-l", "alpha", "--output", "json"]).output().expect("the program runs"));
    assert_eq!(back.step("alpha", "file")["outcome"], "changed", "{}", back.document);
    assert!(!fleet.host("alpha").home.join("f").exists());
}

#[test]
fn a_plan_that_somebody_has_changed_is_refused() {
    let fleet = two();
    let playbook = fleet.write("play.toml", SITE).display().to_string();
    let plan = fleet.folder.path().join("web.plan");
    let path = plan.display().to_string();
    std::fs::write(fleet.host("alpha").home.join("old"), "one\n").expect("a file");
    assert!(mutate(&fleet, &["plan", &playbook, "-o", &path, "-l", "alpha"]).output().expect("the program runs").status.success());
    let text = std::fs::read_to_string(&plan).expect("a plan");
    std::fs::write(&plan, text.replace("0640", "0666")).expect("a forgery");
    let ran = read(mutate(&fleet, &["apply", &path]).output().expect("the program runs"));
    assert_eq!(ran.exit, 1);
    assert!(ran.stderr.contains("not what was saved"), "{}", ran.stderr);
    assert!(!fleet.host("alpha").home.join("f").exists());
}
