//! Files that tasks bring from hosts to the controller.

use super::{apply, two};

#[test]
fn a_task_brings_a_file_only_where_it_differs() {
    let fleet = two();
    for host in ["alpha", "beta"] {
        std::fs::write(fleet.host(host).home.join("log"), format!("of {host}\0\n")).expect("a file");
    }
    let into = fleet.folder.path().join("brought");
    let task = |more: &str| format!("hosts = 'all'\n[[task]]\nname = 'it'\nfetch = {{ src = '~/log', dest = '{}', {more} }}\nregister = 'found'\n[[task]]\nname = 'told'\ndebug = {{ msg = '{{{{ found.size }}}} {{{{ found.dest }}}}' }}\n", into.display());
    let check = apply(&fleet, &task(""), &["--check"]);
    assert_eq!((check.step("beta", "it")["outcome"].as_str(), into.exists()), (Some("changed"), false), "{}", check.document);
    let first = apply(&fleet, &task(""), &[]);
    let home = fleet.host("beta").home.display().to_string();
    let place = into.join("beta").join(home.trim_start_matches('/')).join("log");
    assert_eq!((first.exit, std::fs::read(&place).expect("the file")), (0, b"of beta\0\n".to_vec()), "{}", first.document);
    assert_eq!(first.step("beta", "told")["message"], format!("9 {}", place.display()), "{}", first.document);
    assert_eq!(apply(&fleet, &task(""), &[]).outcomes("alpha"), ["ok", "ok"]);
    std::fs::write(&place, "of somebody").expect("a file");
    assert_eq!(apply(&fleet, &task(""), &[]).outcomes("beta"), ["changed", "ok"]);

    let flat = apply(&fleet, &task("flat = true").replace("brought", "brought/{{ host.name }}.log"), &[]);
    assert_eq!((flat.exit, std::fs::read(into.join("alpha.log")).expect("the file")), (0, b"of alpha\0\n".to_vec()), "{}", flat.document);
}

#[test]
fn what_cannot_be_brought_is_told() {
    let fleet = two();
    std::fs::create_dir(fleet.host("alpha").home.join("d")).expect("a folder");
    let into = fleet.folder.path().join("brought");
    let task = |src: &str, more: &str| format!("hosts = 'alpha'\n[[task]]\nname = 'it'\nfetch = {{ src = '{src}', dest = '{}' {more} }}\n", into.display());
    for (src, more, outcome, part) in [("~/none", "", "failed", "fail_on_missing = false"), ("~/none", ", fail_on_missing = false", "ok", "does not exist"), ("~/d", "", "failed", "is a directory")] {
        let ran = apply(&fleet, &task(src, more), &[]);
        let step = ran.step("alpha", "it");
        assert!(step["outcome"] == outcome && step["message"].as_str().is_some_and(|message| message.contains(part)), "{step}");
    }
    assert!(!into.exists());
    // What is here under its name is no plain file.
    std::fs::write(fleet.host("alpha").home.join("log"), "x").expect("a file");
    std::fs::create_dir_all(into.join("log")).expect("a folder");
    let ran = apply(&fleet, &format!("hosts = 'alpha'\n[[task]]\nname = 'it'\nfetch = {{ src = '~/log', dest = '{}/', flat = true }}\n", into.display()), &[]);
    assert!(ran.step("alpha", "it")["message"].as_str().is_some_and(|message| message.contains("cannot be written")), "{}", ran.document);
}
