//! What a run leaves for machines, and how cron runs it.

use std::io::{Read as _, Write as _};
use std::process::{Output, Stdio};

use super::{Fleet, apply, mutate, two};

const BOOK: &str = "hosts = 'all'\n[[task]]\nname = 'file & \"more\"'\ncopy = { content = 'x', dest = '~/f' }\n[[task]]\nname = 'maybe'\ncommand = { cmd = 'test ! -e broken', probe = true }\n";

fn run(fleet: &Fleet, words: &[&str]) -> Output {
    let path = fleet.write("play.toml", BOOK).display().to_string();
    mutate(fleet, &[&["apply", &path], words].concat()).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_run_leaves_files_for_other_programs() {
    let fleet = two();
    std::fs::write(fleet.host("beta").home.join("broken"), "").expect("a file");
    let (junit, prom) = (fleet.folder.path().join("out.xml"), fleet.folder.path().join("out.prom"));
    let words = ["--junit", &junit.display().to_string(), "--prom", &prom.display().to_string()].map(str::to_owned);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    assert_eq!(run(&fleet, &words).status.code(), Some(4));
    let xml = std::fs::read_to_string(&junit).expect("XML");
    assert!(xml.contains("tests=\"4\" failures=\"1\" errors=\"0\" skipped=\"0\"") && xml.contains("name=\"file &amp; &quot;more&quot;\""), "{xml}");
    let numbers = std::fs::read_to_string(&prom).expect("numbers");
    let has = |start: &str, end: &str| numbers.lines().any(|line| line.starts_with(start) && line.ends_with(end));
    assert!(has("mutate_last_run_success{playbook=", "} 0") && has("mutate_hosts{", "outcome=\"failed\"} 1") && has("mutate_steps{", "outcome=\"changed\"} 2"), "{numbers}");
    assert!(!numbers.contains("mutate_drift_hosts"));
    assert_eq!(run(&fleet, &[&words[..], &["--check"]].concat()).status.code(), Some(4));
    assert!(std::fs::read_to_string(&prom).expect("numbers").lines().any(|line| line.starts_with("mutate_drift_hosts{") && line.ends_with("} 0")));
    // Nothing is left beside them, and a place that is none is told before anything is done.
    let beside: Vec<_> = std::fs::read_dir(fleet.folder.path()).expect("a folder").flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(".out")).collect();
    assert!(beside.is_empty(), "{beside:?}");
    let output = run(&fleet, &["--junit", "/nowhere/x.xml"]);
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains("there is no folder `/nowhere`"), "{output:?}");
}

#[test]
fn commands_and_saved_plans_are_told_as_well() {
    let fleet = two();
    let path = |name: &str| fleet.folder.path().join(name).display().to_string();
    let (junit, prom, told, plan) = (path("out.xml"), path("out.prom"), path("told"), path("web.plan"));
    let notify = format!("cat >{told}");
    let files = ["--junit", &junit, "--prom", &prom, "--notify", &notify];
    let mut ran = 0;
    let mut run = |words: &[&str], label: &str| {
        let output = mutate(&fleet, words).output().expect("the program runs");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let (xml, numbers) = (std::fs::read_to_string(&junit).expect("XML"), std::fs::read_to_string(&prom).expect("numbers"));
        assert!(xml.contains("tests=\"2\" failures=\"0\""), "{xml}");
        assert!(numbers.contains(&format!("mutate_steps{{playbook=\"{label}\",outcome=\"changed\"}} 2")), "{numbers}");
        let summary: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&told).expect("a summary")).expect("JSON");
        assert_eq!((summary["totals"]["changed"].as_u64(), summary["playbook"].as_str()), (Some(2), Some(label)));
        for file in [&junit, &prom, &told] {
            std::fs::remove_file(file).expect("a file");
        }
        ran += 1;
    };
    run(&[&["run", "all"], &files[..], &["--", "true"]].concat(), "run");
    run(&[&["do", "all", "copy", "content=x", "dest=~/one"], &files[..]].concat(), "do");
    let book = fleet.write("play.toml", "hosts = 'all'\n[[task]]\ncopy = { content = 'x', dest = '~/two' }\n").display().to_string();
    let output = mutate(&fleet, &["plan", &book, "-o", &plan]).output().expect("the program runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    run(&[&["apply", &plan], &files[..]].concat(), &plan);
    assert_eq!(ran, 3);
    let output = mutate(&fleet, &["apply", &plan, "--cron"]).output().expect("the program runs");
    assert!(output.status.code() == Some(9) && !output.stdout.is_empty(), "{output:?}");
}

#[test]
fn somebody_is_told_of_news_alone() {
    let fleet = two();
    let told = fleet.folder.path().join("told").display().to_string();
    let command = format!("cat >{told}; echo \"$MUTATE_EXIT\" >>{told}");
    let output = run(&fleet, &["--notify", &command]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = std::fs::read_to_string(&told).expect("a summary");
    let summary: serde_json::Value = serde_json::from_str(said.lines().next().expect("a line").trim_end_matches('0')).expect("JSON");
    assert_eq!((summary["totals"]["changed"].as_u64(), summary["hosts"]["alpha"]["outcome"].as_str()), (Some(2), Some("changed")), "{said}");
    std::fs::remove_file(&told).expect("a file");
    assert_eq!(run(&fleet, &["--notify", &command]).status.code(), Some(0));
    assert!(!std::path::Path::new(&told).exists());
    // One that cannot be told is an error of its own; the run itself went well.
    std::fs::remove_file(fleet.host("alpha").home.join("f")).expect("a file");
    let output = run(&fleet, &["--notify", "exit 3"]);
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains("`--notify exit 3` ended with exit status: 3"), "{output:?}");
    // A URL gets it by POST.
    std::fs::remove_file(fleet.host("alpha").home.join("f")).expect("a file");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let (mut request, mut part) = (Vec::new(), [0; 4096]);
        while !text(&request).contains("\"hosts_in_all\":2") {
            let count = stream.read(&mut part).expect("a request");
            request.extend_from_slice(&part[..count]);
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").expect("an answer");
        text(&request)
    });
    let output = run(&fleet, &["--notify", &url]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let request = heard.join().expect("a request");
    assert!(request.starts_with("POST /hook ") && request.contains("application/json"), "{request}");
}

#[test]
fn cron_hears_nothing_where_nothing_happens() {
    let fleet = two();
    // Whoever can write the folder could put anything into it.
    let folder = fleet.write("play.toml", BOOK).parent().expect("a folder").to_owned();
    let output = run(&fleet, &["--cron", "--splay", "10ms"]);
    assert!(output.status.code() == Some(0) && text(&output.stdout).contains("changed"), "{output:?}");
    let output = run(&fleet, &["--cron"]);
    assert!(output.status.code() == Some(0) && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    let output = run(&fleet, &["--cron", "-K"]);
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains("asks nobody"), "{output:?}");
    if nix::unistd::geteuid().is_root() {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).expect("a mode");
        let output = run(&fleet, &["--cron"]);
        assert!(output.status.code() == Some(1) && text(&output.stderr).contains("can be written by others than root"), "{output:?}");
    }
}

#[test]
fn the_same_playbook_runs_once_at_a_time() {
    let fleet = two();
    let slow = "hosts = 'all'\n[[task]]\nname = 'slow'\nshell = { cmd = 'touch begun; sleep 2', always = true }\n";
    let path = fleet.write("slow.toml", slow).display().to_string();
    let mut first = mutate(&fleet, &["apply", &path, "--cron"]).stdout(Stdio::null()).spawn().expect("the program runs");
    while !fleet.host("alpha").home.join("begun").exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let output = mutate(&fleet, &["apply", &path, "--cron"]).output().expect("the program runs");
    assert!(output.status.code() == Some(8) && text(&output.stderr).contains("another run of"), "{output:?}");
    // One by hand meets the locks of the hosts, and may wait for them.
    assert_eq!(apply(&fleet, BOOK, &[]).exit, 8);
    assert_eq!(apply(&fleet, BOOK, &["--wait-lock", "1m"]).exit, 0);
    assert!(first.wait().expect("it ends").success());
    assert_eq!(mutate(&fleet, &["apply", &path, "--cron"]).output().expect("the program runs").status.code(), Some(0));
}
