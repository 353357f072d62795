//! Tasks that are done on another host than the one that they are for.

use super::{Fleet, alone, apply, mutate};
use crate::fleet::Faults;

fn three() -> Fleet {
    Fleet::start(&["web1", "web2", "lb"], &Faults::default())
}

fn read(fleet: &Fleet, host: &str, file: &str) -> String {
    std::fs::read_to_string(fleet.host(host).home.join(file)).unwrap_or_default()
}

#[test]
fn a_task_is_done_on_another_host_with_the_variables_of_the_first() {
    let fleet = three();
    let book = "hosts = 'web1,web2'\n\
        [[task]]\nname = 'out'\nlineinfile = { path = '~/pool', line = 'drain {{ host.name }} {{ port }}', create = true }\ndelegate_to = 'lb'\nregister = 'out'\nnotify = 'told'\nvars = { port = 80 }\n\
        [[task]]\nname = 'own'\ncopy = { content = '{{ out.changed }}', dest = '~/own' }\n\
        [[task]]\nname = 'ask'\ncommand = { argv = ['sh', '-c', 'pwd; cat pool'], probe = true }\ndelegate_to = \"{{ 'l' ~ 'b' }}\"\nregister = 'pool'\n\
        [[task]]\nname = 'told'\nassert = { that = \"('drain ' ~ host.name ~ ' 80') in pool.stdout\" }\n\
        [[handler]]\nname = 'told'\ncopy = { content = 'x', dest = '~/told' }\n";
    let checked = apply(&fleet, book, &["--check"]);
    assert_eq!((checked.step("web1", "out")["outcome"].as_str(), read(&fleet, "lb", "pool")), (Some("changed"), String::new()), "{}", checked.document);
    let ran = apply(&fleet, book, &[]);
    assert_eq!(ran.exit, 0, "{} {}", ran.document, ran.stderr);
    let mut pool: Vec<String> = read(&fleet, "lb", "pool").lines().map(str::to_owned).collect();
    pool.sort();
    assert_eq!(pool, ["drain web1 80", "drain web2 80"]);
    for host in ["web1", "web2"] {
        assert_eq!((read(&fleet, host, "own"), read(&fleet, host, "told")), ("true".to_owned(), "x".to_owned()), "{}", ran.document);
        assert_eq!(ran.step(host, "out")["delegated_to"], "lb");
    }
    assert!(ran.document["hosts"].get("lb").is_none(), "{}", ran.document);
    let again = apply(&fleet, book, &[]);
    assert!(again.exit == 0 && again.document["totals"]["changed"] == 2, "{}", again.document);
    // The change is remembered where it was made, and goes back there.
    let blame = mutate(&fleet, &["blame", "lb", &fleet.host("lb").home.join("pool").display().to_string()]).output().expect("the program runs");
    assert!(String::from_utf8_lossy(&blame.stdout).contains("out"), "{blame:?}");
    let run = ran.document["run"].as_str().expect("a name");
    let back = mutate(&fleet, &["rollback", run, "--force"]).output().expect("the program runs");
    assert_eq!((back.status.code(), read(&fleet, "lb", "pool"), read(&fleet, "web1", "told")), (Some(0), String::new(), String::new()), "{back:?}");
}

#[test]
fn the_machine_itself_needs_no_inventory() {
    let fleet = three();
    let here = fleet.folder.path().join("here").display().to_string();
    let ran = apply(&fleet, &format!("hosts = 'web1,web2'\n[[task]]\nname = 'here'\nlineinfile = {{ path = '{here}', line = '{{{{ host.name }}}}', create = true }}\ndelegate_to = 'localhost'\n[[task]]\nname = 'once'\nshell = {{ cmd = \"echo once >>{here}\", always = true }}\ndelegate_to = 'localhost'\nrun_once = true\n"), &[]);
    assert_eq!(ran.exit, 0, "{} {}", ran.document, ran.stderr);
    let mut lines: Vec<String> = std::fs::read_to_string(&here).expect("a file").lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["once", "web1", "web2"]);
}

#[test]
fn two_hosts_that_work_for_each_other_do_not_wait_for_ever() {
    let fleet = three();
    let other = "{{ 'web2' if host.name == 'web1' else 'web1' }}";
    let book = format!(
        "hosts = 'web1,web2'\n[[task]]\nname = 'own'\nshell = {{ cmd = 'echo own >>log', always = true }}\n\
         [[task]]\nname = 'others'\nshell = {{ cmd = 'echo {{{{ host.name }}}} >>log', always = true }}\ndelegate_to = \"{other}\"\n\
         [[task]]\nname = 'own again'\nshell = {{ cmd = 'echo again >>log', always = true }}\n"
    );
    let ran = apply(&fleet, &book, &[]);
    assert_eq!(ran.exit, 0, "{} {}", ran.document, ran.stderr);
    assert!(read(&fleet, "web2", "log").contains("web1") && read(&fleet, "web1", "log").contains("web2"));
}

#[test]
fn what_goes_wrong_elsewhere_goes_wrong_for_the_host() {
    let fleet = three();
    let fails = "hosts = 'web1'\n[[task]]\nname = 'fails'\ncommand = { cmd = 'false', always = true }\ndelegate_to = 'lb'\n";
    let ran = apply(&fleet, &format!("{fails}[[task]]\nname = 'after'\nping = {{}}\n"), &[]);
    assert_eq!((ran.exit, ran.outcomes("web1")), (4, vec!["failed"]), "{}", ran.document);
    let ran = apply(&fleet, &format!("{fails}ignore_errors = true\n[[task]]\nname = 'after'\nping = {{}}\n"), &[]);
    assert_eq!((ran.exit, ran.outcomes("web1")), (0, vec!["failed", "ok"]), "{}", ran.document);
    let rescued = "hosts = 'web1'\n[[task]]\nblock = [{ name = 'fails', command = { cmd = 'false', always = true }, delegate_to = 'lb' }]\nrescue = [{ name = 'rescued', ping = {} }]\n";
    let ran = apply(&fleet, rescued, &[]);
    assert_eq!((ran.exit, ran.outcomes("web1")), (0, vec!["failed", "ok"]), "{}", ran.document);
    // A host that nobody knows, and one that is away.
    let ran = apply(&fleet, &fails.replace("'lb'", "'bl'"), &[]);
    assert!(ran.exit == 1 && ran.stderr.contains("no host `bl`"), "{}", ran.stderr);
    let text = std::fs::read_to_string(&fleet.inventory).expect("an inventory");
    std::fs::write(&fleet.inventory, text.replace(&format!("port = {},", fleet.host("lb").port), "port = 1,")).expect("an inventory");
    let ran = apply(&fleet, fails, &[]);
    let message = ran.step("web1", "fails")["message"].as_str().unwrap_or_default().to_owned();
    assert!(ran.exit == 4 && message.starts_with("lb, to which it is delegated, cannot be reached: "), "{message} {}", ran.document);
}

#[test]
fn a_play_that_fails_is_undone_on_hosts_that_it_has_worked_on_besides() {
    let fleet = three();
    std::fs::write(fleet.host("lb").home.join("pool"), "web1\n").expect("a file");
    let book = "hosts = 'web1'\non_failure = 'rollback'\n\
        [[task]]\nname = 'drain'\nlineinfile = { path = '~/pool', line = 'web1', state = 'absent' }\ndelegate_to = 'lb'\n\
        [[task]]\nname = 'new'\ncopy = { content = 'new', dest = '~/f' }\n\
        [[task]]\nname = 'back'\nlineinfile = { path = '~/pool', line = 'web1 new' }\ndelegate_to = 'lb'\n\
        [[task]]\nname = 'breaks'\ncommand = { cmd = 'false', always = true }\n";
    let ran = apply(&fleet, book, &[]);
    assert_eq!((ran.exit, read(&fleet, "lb", "pool"), read(&fleet, "web1", "f")), (6, "web1\n".to_owned(), String::new()), "{} {}", ran.document, ran.stderr);
    let tasks: Vec<&str> = ran.document["hosts"]["web1"]["steps"].as_array().expect("steps").iter().map(|step| step["task"].as_str().expect("a name")).collect();
    assert_eq!(tasks, ["drain", "new", "back", "breaks", "undo: back", "undo: new", "undo: drain"]);
}

#[test]
fn changes_of_several_hosts_on_another_one_go_back_in_their_order() {
    let fleet = three();
    std::fs::write(fleet.host("lb").home.join("pool"), "pool\n").expect("a file");
    let drain = "[[task]]\nname = 'drain'\nlineinfile = { path = '~/pool', line = 'drain {{ host.name }}' }\ndelegate_to = 'lb'\n\
        [[task]]\nname = 'own'\ncopy = { content = 'x', dest = '~/own' }\n";
    let fails = "[[task]]\nname = 'together'\nbarrier = true\nping = {}\n[[task]]\nname = 'fails'\ncommand = { cmd = 'false', always = true }\n";
    for _ in 0..3 {
        let ran = apply(&fleet, &format!("hosts = 'web1,web2'\non_failure = 'rollback'\n{drain}{fails}"), &[]);
        assert_eq!((ran.exit, read(&fleet, "lb", "pool"), read(&fleet, "web1", "own")), (6, "pool\n".to_owned(), String::new()), "{} {}", ran.document, ran.stderr);
        // Later, from the journal.
        let ran = apply(&fleet, &format!("hosts = 'web1,web2'\n{drain}"), &[]);
        assert_eq!(ran.exit, 0, "{} {}", ran.document, ran.stderr);
        let back = mutate(&fleet, &["rollback"]).output().expect("the program runs");
        assert_eq!((back.status.code(), read(&fleet, "lb", "pool")), (Some(0), "pool\n".to_owned()), "{back:?}");
    }
}

#[test]
fn what_was_changed_elsewhere_goes_back_although_the_way_there_was_lost() {
    let fleet = three();
    let book = "hosts = 'web1'\non_failure = 'rollback'\n\
        [[task]]\nname = 'made'\ncopy = { content = 'x', dest = '~/made' }\ndelegate_to = 'lb'\n\
        [[task]]\nname = 'nobody'\nping = {}\ndelegate_to = 'lb'\nbecome = true\nbecome_user = 'nosuchuser'\n";
    let ran = apply(&fleet, book, &[]);
    assert_eq!((ran.exit, read(&fleet, "lb", "made")), (6, String::new()), "{} {}", ran.document, ran.stderr);
}

#[test]
fn a_handler_that_was_notified_elsewhere_runs_once_and_is_not_forgotten() {
    let fleet = three();
    let book = |more: &str| format!("hosts = 'web1'\n[[task]]\nname = 'own'\nping = {{}}\n[[task]]\nname = 'pool'\ncopy = {{ content = 'x', dest = '~/pool' }}\ndelegate_to = 'lb'\nnotify = 'h'\n{more}[[handler]]\nname = 'h'\nshell = {{ cmd = 'echo h >>log', always = true }}\n");
    assert_eq!(apply(&fleet, &book(""), &[]).exit, 0);
    assert_eq!(apply(&fleet, &book(""), &[]).exit, 0);
    assert_eq!(read(&fleet, "web1", "log"), "h\n");
    std::fs::remove_file(fleet.host("lb").home.join("pool")).expect("a file");
    let broken = book("[[task]]\nname = 'breaks'\ncommand = { cmd = 'test -e good', probe = true }\n");
    let ran = apply(&fleet, &broken, &[]);
    assert_eq!((ran.exit, ran.document["hosts"]["web1"]["pending_handlers"][0].as_str()), (4, Some("h")), "{}", ran.document);
    std::fs::write(fleet.host("web1").home.join("good"), "").expect("a file");
    assert_eq!(apply(&fleet, &broken, &[]).exit, 0);
    assert_eq!(read(&fleet, "web1", "log"), "h\nh\n");
}

#[test]
fn a_run_that_is_continued_knows_for_whom_something_was_done() {
    let fleet = three();
    let book = "hosts = 'web1,web2'\n[[task]]\nname = 'pool'\nshell = { cmd = 'echo {{ host.name }} >>pool', always = true }\ndelegate_to = 'web2'\n\
        [[task]]\nname = 'breaks'\ncommand = { cmd = 'test -e good', probe = true }\n";
    let ran = apply(&fleet, book, &[]);
    assert_eq!(ran.exit, 4, "{}", ran.document);
    for host in ["web1", "web2"] {
        std::fs::write(fleet.host(host).home.join("good"), "").expect("a file");
    }
    let (exit, said) = alone(&fleet, &["resume", ran.document["run"].as_str().expect("a name")]);
    let mut lines: Vec<String> = read(&fleet, "web2", "pool").lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!((exit, lines), (0, vec!["web1".to_owned(), "web2".to_owned()]), "{said}");
}

#[test]
fn a_host_that_was_just_added_can_be_worked_on() {
    let fleet = three();
    let lb = std::fs::read_to_string(&fleet.inventory).expect("an inventory").lines().find(|line| line.starts_with("lb =")).expect("a line").to_owned();
    let key = lb.split("host_key = ").nth(1).and_then(|rest| rest.split('"').nth(1)).expect("a key");
    let book = format!("hosts = 'web1'\n[[task]]\nname = 'added'\nadd_host = {{ name = 'fresh1', address = '127.0.0.1', port = {}, host_key = '{key}' }}\n[[task]]\nname = 'there'\ncopy = {{ content = 'x', dest = '~/fresh' }}\ndelegate_to = 'fresh1'\n", fleet.host("lb").port);
    let ran = apply(&fleet, &book, &[]);
    assert_eq!((ran.exit, read(&fleet, "lb", "fresh")), (0, "x".to_owned()), "{} {}", ran.document, ran.stderr);
    // What a plan cannot keep it leaves out, and says so.
    std::fs::remove_file(fleet.host("lb").home.join("fresh")).expect("a file");
    let path = fleet.write("play.toml", "hosts = 'web1'\n[[task]]\nname = 'there'\ncopy = { content = 'x', dest = '~/fresh' }\ndelegate_to = 'lb'\n").display().to_string();
    let plan = fleet.folder.path().join("p.plan").display().to_string();
    let output = mutate(&fleet, &["plan", &path, "-o", &plan]).output().expect("the program runs");
    assert!(String::from_utf8_lossy(&output.stderr).contains("it is delegated to another host"), "{output:?}");
}
