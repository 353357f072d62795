//! Where the hosts of a play meet: `barrier`, `run_once` and `throttle`.

use super::{Fleet, apply};
use crate::fleet::Faults;

const HOSTS: [&str; 4] = ["a", "b", "c", "d"];

fn four() -> (Fleet, String) {
    let fleet = Fleet::start(&HOSTS, &Faults::default());
    let log = fleet.folder.path().join("log").display().to_string();
    (fleet, log)
}

fn lines(log: &str) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let _gone = std::fs::remove_file(log);
    text.lines().map(str::to_owned).collect()
}

fn task(name: &str, script: &str, more: &str) -> String {
    format!("[[task]]\nname = '{name}'\nshell = {{ cmd = \"{script}\", always = true }}\n{more}\n")
}

#[test]
fn nobody_passes_a_barrier_before_all_have_come_to_it() {
    let (fleet, log) = four();
    let first = task("first", &format!("[ {{{{ host.name }}}} != c ] || sleep 0.5; echo 1 >>{log}"), "");
    let broken = task("breaks on d", "[ {{ host.name }} != d ]", "");
    let second = task("second", &format!("echo 2 >>{log}"), "barrier = true");
    let third = task("third", &format!("[ {{{{ host.name }}}} != a ] || sleep 0.3; echo 3 >>{log}"), "barrier = true\nwhen = \"host.name != 'b'\"");
    for (forks, serial) in [("4", ""), ("1", ""), ("4", "serial = 2\n")] {
        let ran = apply(&fleet, &format!("hosts = 'all'\n{serial}{first}{broken}{second}{third}"), &["-f", forks]);
        assert_eq!(ran.exit, 4, "{} {}", ran.document, ran.stderr);
        let wanted: &[&str] = if serial.is_empty() { &["1", "1", "1", "1", "2", "2", "2", "3", "3"] } else { &["1", "1", "2", "2", "3", "1", "1", "2", "3"] };
        assert_eq!(lines(&log), wanted, "-f {forks} {serial}{}", ran.document);
        assert_eq!(ran.outcomes("b").last(), Some(&"skipped"));
    }
    // Whoever is rescued behind a barrier has come by it.
    let block = format!("[[task]]\nblock = [\n  {{ name = 'x', command = {{ argv = ['sh', '-c', '[ {{{{ host.name }}}} != a ]'], always = true }} }},\n  {{ name = 'inner', barrier = true, shell = {{ cmd = \"echo i >>{log}\", always = true }} }},\n]\nrescue = [{{ name = 'rescued', ping = {{}} }}]\n{second}");
    let ran = apply(&fleet, &format!("hosts = 'all'\n{block}"), &[]);
    assert_eq!((ran.exit, lines(&log)), (0, ["i", "i", "i", "2", "2", "2", "2"].map(String::from).to_vec()), "{} {}", ran.document, ran.stderr);
}

#[test]
fn what_runs_once_runs_on_one_host_and_all_know_its_result() {
    let (fleet, log) = four();
    let once = task("once", &format!("echo x >>{log}; echo {{{{ host.name }}}}"), "run_once = true\nregister = 'first'");
    let all = "[[task]]\nname = 'all'\ncopy = { content = '{{ first.stdout }}', dest = '~/f' }\n";
    for (serial, forks) in [("", "4"), ("", "1"), ("serial = 1\n", "4")] {
        let ran = apply(&fleet, &format!("hosts = 'all'\n{serial}{once}{all}"), &["-f", forks]);
        assert_eq!((ran.exit, lines(&log).len()), (0, 1), "{} {}", ran.document, ran.stderr);
        let told: std::collections::BTreeSet<String> = HOSTS.iter().map(|host| std::fs::read_to_string(fleet.host(host).home.join("f")).expect("a file")).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        let steps: usize = HOSTS.iter().map(|host| ran.outcomes(host).len()).sum();
        assert_eq!(steps, 5, "{}", ran.document);
    }
    // A loop, a block, and the failure of one for all.
    let looped = format!("[[task]]\nname = 'loop'\nrun_once = true\nloop = [1, 2]\nshell = {{ cmd = \"echo {{{{ item }}}} >>{log}\", always = true }}\n[[task]]\nrun_once = true\nblock = [{{ name = 'in', set_fact = {{ known = '{{{{ host.name }}}}' }} }}]\n[[task]]\nname = 'told'\nassert = {{ that = \"known in ['a', 'b', 'c', 'd']\" }}\n");
    let ran = apply(&fleet, &format!("hosts = 'all'\n{looped}"), &[]);
    assert_eq!((ran.exit, lines(&log)), (0, vec!["1".to_owned(), "2".to_owned()]), "{} {}", ran.document, ran.stderr);
    let ran = apply(&fleet, &format!("hosts = 'all'\n{}{all}", task("once", "sleep 0.2; exit 1", "run_once = true\nregister = 'first'")), &[]);
    let failed = |host: &str| ran.step(host, "once")["message"].as_str().unwrap_or_default().to_owned();
    let told: Vec<String> = HOSTS.iter().map(|host| failed(host)).collect();
    assert!(ran.exit == 4 && told.iter().filter(|text| text.starts_with("it runs once for all hosts, and has failed on ")).count() == 3, "{told:?}");
}

#[test]
fn a_host_that_is_away_leaves_its_turn_to_another() {
    let (fleet, log) = four();
    let text = std::fs::read_to_string(&fleet.inventory).expect("an inventory");
    std::fs::write(&fleet.inventory, text.replace(&format!("port = {},", fleet.host("a").port), "port = 1,")).expect("an inventory");
    let once = task("once", &format!("echo x >>{log}"), "run_once = true");
    let ran = apply(&fleet, &format!("hosts = 'all'\n{once}{}", task("after", "true", "barrier = true")), &["-f", "1"]);
    assert_eq!((ran.exit, lines(&log).len()), (5, 1), "{} {}", ran.document, ran.stderr);
    assert_eq!(ran.outcomes("b").last(), Some(&"changed"));
}

#[test]
fn only_so_many_do_a_throttled_task_at_a_time() {
    let (fleet, log) = four();
    let place = fleet.folder.path().join("place").display().to_string();
    let alone = format!("mkdir {place} || exit 1; echo x >>{log}; sleep 0.1; rmdir {place}");
    let ran = apply(&fleet, &format!("hosts = 'all'\n{}{}", task("alone", &alone, "throttle = 1"), task("after", "true", "")), &[]);
    assert_eq!((ran.exit, lines(&log).len()), (0, 4), "{} {}", ran.document, ran.stderr);
    // One that fails gives its place back.
    let ran = apply(&fleet, &format!("hosts = 'all'\n{}", task("alone", &format!("{alone}; [ {{{{ host.name }}}} = d ]"), "throttle = 1")), &[]);
    assert_eq!((ran.exit, lines(&log).len()), (4, 4), "{} {}", ran.document, ran.stderr);
}

#[test]
fn meetings_that_cannot_be_are_refused() {
    let (fleet, _) = four();
    let wrong = |tasks: &str| apply(&fleet, &format!("hosts = 'all'\n{tasks}"), &[]);
    for (tasks, said) in [
        ("[[task]]\nrun_once = true\nblock = [{ ping = {}, barrier = true }]", "no `barrier` can stand here: hosts do not go through this block together"),
        ("[[task]]\nblock = [{ ping = {} }]\nrescue = [{ ping = {}, barrier = true }]", "not every host comes by here"),
        ("[[task]]\nloop = [1]\nblock = [{ ping = {}, barrier = true }]", "a loop may be longer"),
        ("[[task]]\nping = {}\nthrottle = 0", "`throttle` lets at least one host"),
        ("[[task]]\nping = {}\nthrottle = 'x'", "throttle"),
        ("[[task]]\nping = {}\nbarrier = 'yes'", "barrier"),
    ] {
        let ran = wrong(tasks);
        assert!(ran.exit == 1 && ran.stderr.contains(said), "{tasks}: {}", ran.stderr);
    }
}

#[test]
fn hosts_meet_at_the_first_task_of_a_block_and_of_a_file() {
    let (fleet, log) = four();
    fleet.write("more.toml", &task("in a file", &format!("echo f >>{log}"), "run_once = true"));
    let book = format!("hosts = 'all'\n[[task]]\nblock = [{{ name = 'gate', barrier = true, ping = {{}} }}]\n[[task]]\ninclude = 'more.toml'\n[[task]]\nblock = [{{ name = 'few', throttle = 2, shell = {{ cmd = \"echo t >>{log}\", always = true }} }}]\n");
    for words in [&[][..], &["-f", "1"]] {
        let ran = apply(&fleet, &book, words);
        assert_eq!((ran.exit, lines(&log)), (0, ["f", "t", "t", "t", "t"].map(String::from).to_vec()), "{} {}", ran.document, ran.stderr);
    }
}

#[test]
fn once_is_once_for_each_item_around_it() {
    let (fleet, log) = four();
    let book = format!("hosts = 'all'\n[[task]]\nloop = [1, 2, 3]\nblock = [{{ ping = {{}} }}, {{ name = 'once', run_once = true, shell = {{ cmd = \"echo {{{{ item }}}} >>{log}\", always = true }} }}]\n");
    let ran = apply(&fleet, &book, &[]);
    let mut found = lines(&log);
    found.sort();
    assert_eq!((ran.exit, found), (0, ["1", "2", "3"].map(String::from).to_vec()), "{} {}", ran.document, ran.stderr);
    // A play that ends in it has ended for this host alone.
    let book = format!("hosts = 'all'\n[[task]]\nrun_once = true\nblock = [{{ name = 'first', shell = {{ cmd = \"echo x >>{log}\", always = true }} }}, {{ meta = 'end_play' }}]\n[[task]]\nname = 'after'\nping = {{}}\n");
    let ran = apply(&fleet, &book, &[]);
    assert_eq!((ran.exit, lines(&log).len()), (0, 1), "{} {}", ran.document, ran.stderr);
}
