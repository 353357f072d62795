//! What a run says, and that it is true.

use super::{Faults, Fleet, apply, mutate, one, tree, two};

const SITE: &str = r#"
hosts = "all"
[[task]]
name = "folder"
file = { path = "~/site", state = "directory", mode = "0750" }
[[task]]
name = "content"
copy = { content = "hello {{ host.name }}\n", dest = "~/site/index", mode = "0640" }
notify = "reload"
[[task]]
name = "line"
lineinfile = { path = "~/site/conf", line = "a = 1", create = true }
[[task]]
name = "command"
command = { cmd = "touch made", chdir = "~/site", creates = "~/site/made" }
[[handler]]
name = "reload"
shell = "echo reloaded >>~/site/log"
"#;

#[test]
fn a_first_run_changes_and_a_second_changes_nothing() {
    let fleet = two();
    let first = apply(&fleet, SITE, &[]);
    assert_eq!(first.exit, 0, "{}", first.stderr);
    assert_eq!(first.outcomes("alpha"), ["changed"; 5]);
    let home = &fleet.host("beta").home;
    assert_eq!(std::fs::read_to_string(home.join("site/index")).expect("the file"), "hello beta\n");
    assert_eq!(std::fs::read_to_string(home.join("site/log")).expect("the log"), "reloaded\n");
    let second = apply(&fleet, SITE, &[]);
    assert_eq!(second.outcomes("beta"), ["ok"; 4]);
    assert_eq!(second.document["totals"]["changed"], 0);
}

#[test]
fn check_mode_predicts_the_run_and_writes_nothing() {
    let fleet = one();
    let before = tree(&fleet.host("alpha").home);
    let predicted = apply(&fleet, SITE, &["--check"]);
    assert_eq!(tree(&fleet.host("alpha").home), before);
    let ran = apply(&fleet, SITE, &[]);
    assert_eq!(predicted.outcomes("alpha"), ran.outcomes("alpha"));
    for (planned, done) in predicted.document["hosts"]["alpha"]["steps"].as_array().expect("steps").iter().zip(ran.document["hosts"]["alpha"]["steps"].as_array().expect("steps")) {
        assert_eq!(planned["diff"], done["diff"]);
    }
    // A converged run writes nothing either, not even a lock.
    let before = tree(&fleet.host("alpha").home);
    assert_eq!(apply(&fleet, SITE, &[]).document["totals"]["changed"], 0);
    assert_eq!(tree(&fleet.host("alpha").home), before);
}

#[test]
fn the_document_has_the_promised_fields() {
    let fleet = one();
    let ran = apply(&fleet, SITE, &[]);
    let mut keys: Vec<&String> = ran.document.as_object().expect("a document").keys().collect();
    keys.sort();
    assert_eq!(keys, ["command", "exit", "hosts", "run", "schema", "seconds", "totals"]);
    let step = ran.step("alpha", "content");
    for key in ["task", "module", "file", "line", "item", "outcome", "message", "diff", "status", "stdout", "stderr", "seconds"] {
        assert!(step.get(key).is_some(), "{key}");
    }
    assert_eq!((step["module"].as_str(), step["line"].as_u64()), (Some("copy"), Some(7)));
    assert_eq!(ran.document["hosts"]["alpha"]["outcome"], "changed");
    assert_eq!(ran.document["hosts"]["alpha"]["totals"]["changed"], 5);
}

#[test]
fn json_lines_tell_of_everything_as_it_happens() {
    let fleet = one();
    let path = fleet.write("play.toml", SITE).display().to_string();
    let output = mutate(&fleet, &["apply", &path, "--output", "jsonl"]).output().expect("the program runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let events: Vec<String> = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["event"].as_str().expect("an event").to_owned()).collect();
    assert_eq!(events, ["run_start", "host_start", "step", "step", "step", "step", "handler", "host_end", "run_end"]);
}

#[test]
fn a_failure_ends_one_host_and_not_the_others() {
    let fleet = two();
    let ran = apply(
        &fleet,
        "hosts = 'all'\n[[task]]\nname = 'fails'\nshell = 'echo why >&2; exit 3'\nwhen = \"host.name == 'alpha'\"\n[[task]]\nname = 'after'\nfile = { path = '~/after', state = 'touch' }\n",
        &[],
    );
    assert_eq!(ran.exit, 4);
    assert_eq!(ran.outcomes("alpha"), ["failed"]);
    assert_eq!(ran.outcomes("beta"), ["skipped", "changed"]);
    let step = ran.step("alpha", "fails");
    assert_eq!((step["status"].as_i64(), step["stderr"].as_str()), (Some(3), Some("why\n")));
}

#[test]
fn handlers_stay_pending_after_a_failure_and_run_next_time() {
    let fleet = one();
    let playbook = |fails: bool| {
        format!("hosts = 'all'\n[[task]]\nname = 'conf'\ncopy = {{ content = 'x', dest = '~/conf' }}\nnotify = 'reload'\n[[task]]\nname = 'breaks'\nfail = 'no'\nwhen = {fails}\n[[handler]]\nname = 'reload'\nshell = 'echo reloaded >>~/log'\n")
    };
    let failed = apply(&fleet, &playbook(true), &[]);
    assert_eq!(failed.exit, 4);
    assert_eq!(failed.document["hosts"]["alpha"]["pending_handlers"][0], "reload");
    assert!(!fleet.host("alpha").home.join("log").exists());
    let next = apply(&fleet, &playbook(false), &[]);
    assert_eq!(next.exit, 0);
    assert_eq!(next.outcomes("alpha"), ["ok", "skipped", "changed"]);
    assert_eq!(std::fs::read_to_string(fleet.host("alpha").home.join("log")).expect("the log"), "reloaded\n");
    assert_eq!(apply(&fleet, &playbook(false), &[]).outcomes("alpha"), ["ok", "skipped"]);
}

#[test]
fn nothing_a_host_says_reaches_the_terminal_as_it_is() {
    let fleet = one();
    let path = fleet.write("play.toml", "hosts = 'all'\n[[task]]\nshell = { cmd = \"printf '\\\\033]0;owned\\\\007\\\\033[2J'; exit 1\", always = true }\n").display().to_string();
    let output = mutate(&fleet, &["apply", &path, "-vvv", "--color", "never"]).output().expect("the program runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("\\x1b]0;owned\\x07"), "{text}");
    assert!(output.stdout.iter().all(|&byte| byte >= 0x20 || byte == b'\n' || byte == b'\t'));
}

#[test]
fn hosts_of_a_kind_become_a_group_for_later_plays() {
    let fleet = Fleet::start(&["web1", "web2", "db1"], &Faults::default());
    let play = |hosts: &str, name: &str, task: &str| format!("[[play]]\nhosts = '{hosts}'\n[[play.task]]\nname = '{name}'\n{task}\n");
    let first = play("all", "grouped", "group_by = { key = ['kind_{{ host.name | truncate(2, true, \"\", 0) }}', 'all_of_them'] }").replace("| truncate(2, true, \"\", 0)", "[:2]");
    let later = [play("kind_we", "of web", "debug = 'x'"), play("all_of_them & !kind_we", "of others", "debug = 'x'"), play("kind_none", "of nobody", "debug = 'x'")].concat();
    let ran = apply(&fleet, &format!("{first}{later}"), &[]);
    let tasks = |host: &str| ran.document["hosts"][host]["steps"].as_array().map(|steps| steps.iter().map(|step| step["task"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()).unwrap_or_default();
    assert_eq!((ran.exit, tasks("web1"), tasks("web2"), tasks("db1")), (0, vec!["grouped".into(), "of web".into()], vec!["grouped".into(), "of web".into()], vec!["grouped".into(), "of others".into()]), "{}", ran.document);
    let book = fleet.folder.path().join("other.toml");
    std::fs::write(&book, format!("{first}{}", play("kinds", "x", "debug = 'x'"))).expect("a playbook");
    let output = mutate(&fleet, &["apply", &book.display().to_string()]).output().expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no group is named `kinds`"), "{said}");
}

#[test]
fn a_host_that_a_task_adds_is_worked_on_by_later_plays() {
    let fleet = Fleet::start(&["web1", "db1"], &Faults::default());
    // The inventory knows only one of them.
    let text = std::fs::read_to_string(&fleet.inventory).expect("an inventory");
    let (db, rest): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("db1 ="));
    std::fs::write(&fleet.inventory, rest.join("\n")).expect("an inventory");
    let key = db[0].split("host_key = ").nth(1).and_then(|rest| rest.split('"').nth(1)).expect("a key");
    let port = fleet.host("db1").port;
    let play = |hosts: &str, task: &str| format!("[[play]]\nhosts = '{hosts}'\n[[play.task]]\n{task}\n");
    let add = format!("name = 'made'\nadd_host = {{ name = \"{{{{ 'db' ~ 1 }}}}\", groups = ['fresh_{{{{ host.name }}}}'], address = '127.0.0.1', port = {port}, host_key = '{key}', vars = {{ kind = '{{{{ 40 + 2 }}}}' }} }}");
    let book = [
        play("web1", &add),
        play("fresh_web1", "name = 'one'\ncopy = { content = '{{ kind }} {{ host.groups[0] }}', dest = '~/f' }"),
        play("all,fresh_web1", "name = 'two'\ncommand = { argv = ['cat', 'f'], probe = true }\nignore_errors = true"),
    ]
    .concat();
    let tasks = |ran: &super::Ran, host: &str| ran.document["hosts"][host]["steps"].as_array().map(|steps| steps.iter().map(|step| format!("{} {}", step["task"].as_str().unwrap_or_default(), step["outcome"].as_str().unwrap_or_default())).collect::<Vec<_>>()).unwrap_or_default();
    let checked = apply(&fleet, &book, &["--check"]);
    assert_eq!(tasks(&checked, "db1"), ["one changed", "two pending"], "{} {}", checked.document, checked.stderr);
    let ran = apply(&fleet, &book, &[]);
    assert_eq!((ran.exit, tasks(&ran, "web1"), tasks(&ran, "db1")), (0, vec!["made ok".to_owned(), "two failed".to_owned()], vec!["one changed".to_owned(), "two ok".to_owned()]), "{} {}", ran.document, ran.stderr);
    assert_eq!(std::fs::read_to_string(fleet.host("db1").home.join("f")).expect("a file"), "42 fresh_web1");
    // What cannot be checked before is told before the host is touched.
    let ran = apply(&fleet, &[play("web1", &add), play("fresh_web1", "copy = { content = '{{ knd }}', dest = '~/g' }")].concat(), &[]);
    let message = ran.document["hosts"]["db1"]["message"].as_str().unwrap_or_default();
    assert!(ran.exit == 4 && message.contains("`knd`") && message.contains("play.toml:"), "{} {}", ran.document, ran.stderr);
    assert!(!fleet.host("db1").home.join("g").exists());
    // It counts like any other that has failed.
    std::fs::write(fleet.host("web1").home.join("w"), "").expect("a file");
    let strict = [play("web1", &add), "[[play]]\nhosts = 'web1,fresh_web1'\non_failure = 'rollback'\n[[play.task]]\ncopy = { content = '{{ knd | default(1) if host.name == \"web1\" else knd }}', dest = '~/h' }\n".to_owned(), play("web1", "copy = { content = 'x', dest = '~/next' }")].concat();
    let ran = apply(&fleet, &strict, &[]);
    assert!(ran.exit == 6 && !fleet.host("web1").home.join("h").exists() && !fleet.host("web1").home.join("next").exists(), "{} {}", ran.document, ran.stderr);
    // A slip in `hosts` is one.
    let ran = apply(&fleet, &[play("web1", &add), play("fresj", "ping = {}")].concat(), &[]);
    assert_eq!(ran.exit, 1, "{} {}", ran.document, ran.stderr);
}
