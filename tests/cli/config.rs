//! `mutate.toml`: what it sets, what wins over it, and when it is refused.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{Fleet, one, program, two};

/// A project below the home folder of a controller.
struct Project {
    fleet: Fleet,
    home: PathBuf,
    folder: PathBuf,
}

impl Project {
    fn new(fleet: Fleet) -> Self {
        let home = fleet.folder.path().join("controller");
        let folder = home.join("project");
        std::fs::create_dir_all(&folder).expect("a folder");
        for path in [&home, &folder] {
            mode(path, 0o755);
        }
        Self { fleet, home, folder }
    }

    /// Writes a file of the project, which nobody else can write.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, text).expect("a file");
        mode(&path, 0o644);
        for folder in path.ancestors().skip(1).take_while(|folder| folder.starts_with(&self.home)) {
            mode(folder, 0o755);
        }
        path
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(words).current_dir(&self.folder).env_clear().env("HOME", &self.home).env("PATH", "/usr/local/bin:/usr/bin:/bin").stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> (i32, String) {
        said(self.command(words).output().expect("the program runs"))
    }

    /// Each setting with its origin.
    fn origins(&self, command: &mut Command) -> Vec<(String, Value, String)> {
        let output = command.output().expect("the program runs");
        let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        let rows = document["settings"].as_array().expect("settings").iter();
        let name = |row: &Value| row["command"].as_str().map(|command| format!("{command}.")).unwrap_or_default() + row["name"].as_str().unwrap_or_default();
        rows.map(|row| (name(row), row["value"].clone(), row["origin"].as_str().unwrap_or_default().to_owned())).collect()
    }

    fn origin(&self, command: &mut Command, name: &str) -> (Value, String) {
        let all = self.origins(command);
        all.iter().find(|row| row.0 == name).map_or_else(|| panic!("{name}: {all:?}"), |row| (row.1.clone(), row.2.clone()))
    }
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
}

fn said(output: Output) -> (i32, String) {
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

const NOTE: &str = "hosts = 'all'\n[[task]]\nname = 'note'\ncopy = { dest = '~/note', content = 'hello' }\n";

/// An inventory of the fleet's, as it would be written in a `mutate.toml`.
fn inventory(project: &Project) -> String {
    let text = std::fs::read_to_string(&project.fleet.inventory).expect("the inventory");
    project.write("project/hosts.toml", &text);
    "inventory = 'hosts.toml'\n".to_owned()
}

#[test]
fn a_flag_that_is_set_need_not_be_typed() {
    let project = Project::new(two());
    let hosts = inventory(&project);
    project.write("project/mutate.toml", &format!("{hosts}diff = true\n[drift]\noutput = 'json'\n"));
    project.write("project/play.toml", NOTE);
    let (exit, text) = project.run(&["apply", "play.toml", "-C"]);
    assert!(exit == 0 && text.contains("+hello"), "{exit} {text}");
    // Also from below, with paths as the file means them.
    std::fs::create_dir_all(project.folder.join("deep/er")).expect("a folder");
    let (exit, text) = said(project.command(&["apply", "../../play.toml"]).current_dir(project.folder.join("deep/er")).output().expect("the program runs"));
    assert!(exit == 0 && text.contains("alpha, beta"), "{exit} {text}");
    let output = project.command(&["drift", "play.toml"]).output().expect("the program runs");
    let document: Value = serde_json::from_slice(&output.stdout).expect("for `drift`, JSON");
    assert_eq!(document["command"], "drift");
}

#[test]
fn the_command_line_wins_then_the_environment_then_the_nearest_file() {
    let project = Project::new(one());
    project.write(".config/mutate/mutate.toml", "forks = 1\nuser = 'own'\nport = 2\n[apply]\ntimeout = 9\nforks = 5\n");
    project.write("project/mutate.toml", "\nforks = 3\nuser = 'near'\n[run]\ntimeout = 8\n");
    let config = |words: &[&str]| project.command(&[&["config", "--output", "json"], words].concat());
    let own = project.home.join(".config/mutate/mutate.toml").display().to_string();
    assert_eq!(project.origin(&mut config(&[]), "forks"), (3.into(), "mutate.toml:2".into()));
    assert_eq!(project.origin(&mut config(&[]), "port"), (2.into(), format!("{own}:3")));
    assert_eq!(project.origin(&mut config(&[]), "resolve-timeout"), (60.into(), "built in".into()));
    assert_eq!(project.origin(config(&[]).env("MUTATE_FORKS", "4"), "forks"), (4.into(), "environment MUTATE_FORKS".into()));
    assert_eq!(project.origin(config(&[]).env("MUTATE_CONFIG", "none"), "forks"), (64.into(), "built in".into()));
    let names: Vec<String> = project.origins(&mut config(&[])).into_iter().map(|row| row.0).collect();
    // What the nearest file says for all is stronger than what the user's own says for one.
    assert!(names.contains(&"run.timeout".to_owned()) && names.contains(&"apply.timeout".to_owned()) && !names.contains(&"apply.forks".to_owned()), "{names:?}");
    assert_eq!(
        project.run(&["config", "--origin"]).1.lines().take(3).collect::<Vec<_>>(),
        ["user = \"near\"  # mutate.toml:3", &format!("port = 2  # {own}:3"), "resolve-timeout = 60  # built in"]
    );
    // The same order where it is heeded: only what `alpha` is logged in as makes a difference here.
    let hosts = project.fleet.inventory.display().to_string();
    let who = |command: &mut Command| said(command.output().expect("the program runs")).1;
    let run = |words: &[&str]| project.command(&[&["ping", "-i", &hosts], words].concat());
    project.write(".config/mutate/mutate.toml", "forks = 1\n");
    project.write("project/mutate.toml", "become = true\nbecome-method = 'doas'\nbecome-user = 'nobody-near'\n");
    let text = who(&mut run(&["--why"]));
    assert!(text.contains("nobody-near"), "{text}");
    let text = who(run(&["--why"]).env("MUTATE_BECOME_USER", "nobody-env"));
    assert!(text.contains("nobody-env"), "{text}");
    let text = who(run(&["--why", "--become-user", "nobody-line"]).env("MUTATE_BECOME_USER", "nobody-env"));
    assert!(text.contains("nobody-line"), "{text}");
    // What a file turns on, the environment turns off.
    let text = who(run(&[]).env("MUTATE_BECOME", "false"));
    assert!(text.contains("alpha") && !text.contains("nobody"), "{text}");
}

#[test]
fn what_others_can_write_is_refused() {
    let project = Project::new(one());
    let file = project.write("project/mutate.toml", "forks = 3\n");
    let hosts = project.fleet.inventory.display().to_string();
    let ping = || project.run(&["ping", "-i", &hosts]);
    assert_eq!(ping().0, 0);
    let refused = |what: &str| {
        let logins = project.fleet.host("alpha").keys();
        let (exit, text) = ping();
        assert!(exit == 1 && text.contains(what) && text.contains("MUTATE_CONFIG=none") && project.fleet.host("alpha").keys() == logins, "{exit} {text}");
        assert!(project.run(&["config"]).1.contains(what));
    };
    mode(&file, 0o646);
    refused("`mutate.toml` can be written by everybody");
    mode(&file, 0o644);
    for bits in [0o757, 0o1777] {
        mode(&project.folder, bits);
        refused("can be written by everybody");
    }
    mode(&project.folder, 0o755);
    if nix::unistd::Uid::effective().is_root() {
        mode(&file, 0o664);
        std::os::unix::fs::chown(&file, None, Some(4242)).expect("a group");
        refused("can be written by the group 4242");
        mode(&file, 0o644);
        std::os::unix::fs::chown(&file, Some(4242), None).expect("an owner");
        refused("`mutate.toml` belongs to the user 4242, neither to you nor to root");
        std::os::unix::fs::chown(&file, Some(0), None).expect("an owner");
    }
    // A link does not make a place safer than it is.
    let open = project.home.join("open");
    std::fs::create_dir_all(&open).expect("a folder");
    std::fs::rename(&file, open.join("real.toml")).expect("a file");
    std::os::unix::fs::symlink("../open/real.toml", &file).expect("a link");
    mode(&open, 0o777);
    refused("can be written by everybody");
    mode(&open, 0o755);
    assert_eq!(ping().0, 0);
    std::fs::remove_file(&file).expect("a link");
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    refused("is no plain file");
    // Help and version work whatever lies there.
    for words in [&["--version"][..], &["--help"], &["apply", "--help"], &["completions", "bash"]] {
        assert_eq!(project.run(words).0, 0, "{words:?}");
    }
    assert_eq!(said(project.command(&["ping", "-i", &hosts]).env("MUTATE_CONFIG", "none").output().expect("the program runs")).0, 0);
}

#[test]
fn the_search_ends_at_the_repository_and_at_home() {
    let project = Project::new(one());
    let forks = |folder: &Path| {
        let output = project.command(&["config", "--output", "json"]).current_dir(folder).output().expect("the program runs");
        let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        document["settings"].as_array().expect("a list").iter().find(|row| row["name"] == "forks").expect("forks")["value"].clone()
    };
    project.write("mutate.toml", "forks = 1\n");
    let deep = project.folder.join("a/b");
    std::fs::create_dir_all(&deep).expect("a folder");
    assert_eq!(forks(&deep), 1, "up to the home folder");
    std::fs::create_dir_all(project.folder.join(".git")).expect("a repository");
    assert_eq!(forks(&deep), 64, "not out of the repository");
    project.write("project/mutate.toml", "forks = 2\n");
    assert_eq!(forks(&deep), 2, "its root counts");
    // Elsewhere only the folder itself counts: what lies above belongs to somebody else.
    let outside = project.fleet.folder.path().join("outside");
    std::fs::create_dir_all(outside.join("below")).expect("a folder");
    std::fs::write(outside.join("mutate.toml"), "forks = 7\n").expect("a file");
    for path in [&outside, &outside.join("mutate.toml")] {
        mode(path, 0o755);
    }
    assert_eq!((forks(&outside), forks(&outside.join("below"))), (7.into(), 64.into()));
}

#[test]
fn a_flag_that_is_given_is_not_contradicted() {
    let project = Project::new(one());
    let hosts = inventory(&project);
    project.write("project/mutate.toml", &format!("{hosts}become-user = 'nobody-near'\nnotify = 'true'\nverbose = 2\n[run]\nlabel = true\n"));
    // `--fold` and `--label` exclude each other.
    let (exit, text) = project.run(&["run", "all", "--fold", "--", "echo one"]);
    assert!(exit == 0 && text.contains("one") && !text.contains("alpha: one"), "{exit} {text}");
    let (exit, text) = project.run(&["run", "all", "--", "echo one"]);
    assert!(exit == 0 && text.contains("alpha: one"), "{exit} {text}");
    // Whom to become says nothing about whether to, where nobody asked for it.
    assert!(!text.contains("nobody-near"), "{text}");
    // What is set for all runs does not keep anybody from a plan.
    project.write("project/play.toml", NOTE);
    assert_eq!(project.run(&["plan", "play.toml", "-o", "saved.plan"]).0, 0);
    let (exit, text) = project.run(&["apply", "saved.plan"]);
    assert_eq!(exit, 0, "{text}");
}

#[test]
fn a_continued_run_uses_what_it_was_run_with() {
    let project = Project::new(two());
    let hosts = inventory(&project);
    project.write("project/mutate.toml", &format!("{hosts}timeout = 77\nnotify = 'cat >/dev/null # token'\nsplay = '10ms'\n"));
    project.write("project/play.toml", "hosts = 'all'\n[[task]]\nname = 'gate'\nshell = { cmd = 'test -e ~/gate', always = true }\n");
    assert_eq!(project.run(&["apply", "play.toml"]).0, 4);
    let output = project.command(&["history", "--output", "json"]).output().expect("the program runs");
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let run = document["runs"][0]["id"].as_str().expect("a run").to_owned();
    assert_eq!(document["runs"][0]["arguments"], serde_json::json!(["apply", "--inventory=hosts.toml", "--timeout=77", "play.toml"]));
    for host in ["alpha", "beta"] {
        std::fs::write(project.fleet.host(host).home.join("gate"), "").expect("a file");
    }
    // What is there by now would reach nobody.
    project.write("project/mutate.toml", "inventory = 'nowhere.toml'\nbecome = true\nbecome-user = 'nobody-near'\noutput = 'json'\n");
    let output = project.command(&["resume", &run]).output().expect("the program runs");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!((output.status.code(), &document["totals"]["changed"]), (Some(0), &2.into()), "{document}");
}

#[test]
fn a_token_is_not_shown() {
    let project = Project::new(one());
    project.write("project/mutate.toml", "notify = ['https://ann:pw-1234@hooks.example.com/T00/sesame-1234', 'curl -H sesame-1234 localhost']\n");
    for words in [&["config"][..], &["config", "--origin"], &["config", "--output", "json"]] {
        let (exit, text) = project.run(words);
        assert!(exit == 0 && !text.contains("1234") && text.contains("https://hooks.example.com/***") && text.contains("curl ***"), "{text}");
    }
    project.write("project/mutate.toml", "notify = ['https://hooks.example.com/sesame-1234', 5]\n");
    let (exit, text) = project.run(&["config"]);
    assert!(exit == 1 && !text.contains("1234") && text.contains("mutate.toml:1: `notify` must be text"), "{text}");
}

#[test]
fn what_cron_runs_finds_the_settings_of_its_folder() {
    let project = Project::new(one());
    project.write("project/mutate.toml", "forks = 3\n");
    project.write("project/play.toml", NOTE);
    let add = ["schedule", "add", "-n", "nightly", "04:10", "drift", "play.toml"];
    let (exit, text) = project.run(&add);
    assert!(exit == 0 && text.contains(&format!("cd {} && ", project.folder.display())) && !text.contains("warning"), "{text}");
    let (exit, text) = said(project.command(&add).env("MUTATE_FORKS", "9").output().expect("the program runs"));
    assert!(exit == 0 && text.contains("warning: cron knows nothing of MUTATE_FORKS"), "{text}");
    // What is wrong shows when it is scheduled, not at night.
    project.write("project/mutate.toml", "forks = 0\n");
    let (exit, text) = project.run(&add);
    assert!(exit == 1 && text.contains("`forks`: 0 is not in 1..=65535"), "{text}");
}

#[test]
fn a_bad_environment_is_told_by_name() {
    let project = Project::new(one());
    for (name, value, wanted) in [("MUTATE_FORKS", "x", "error[environment]: `MUTATE_FORKS=x`: invalid digit"), ("MUTATE_BECOME", "maybe", "`MUTATE_BECOME=maybe` must be true or false"), ("MUTATE_COLOR", "alway", "did you mean `always`?")] {
        let (exit, text) = said(project.command(&["ping"]).env(name, value).output().expect("the program runs"));
        assert!(exit == 1 && text.contains(wanted), "{text}");
    }
}
