//! The language at work on a host.

use super::{apply, one, two};

#[test]
fn results_are_registered_and_conditions_read_them() {
    let fleet = one();
    let ran = apply(
        &fleet,
        r#"
hosts = "all"
[[task]]
name = "ask"
shell = { cmd = "echo one; echo two", probe = true }
register = "said"
[[task]]
name = "yes"
debug = "{{ said.stdout_lines | join('+') }} {{ said.rc }}"
when = "'two' in said.stdout"
[[task]]
name = "no"
debug = "never"
when = "said.stdout == ''"
[[task]]
name = "known"
stat = { path = "~" }
register = "home"
[[task]]
name = "folder"
assert = { that = ["home.stat.isdir", "not home.changed"] }
"#,
        &[],
    );
    assert_eq!(ran.exit, 0, "{}", ran.document);
    assert_eq!(ran.step("alpha", "yes")["message"], "one+two 0");
    assert_eq!(ran.outcomes("alpha"), ["ok", "ok", "skipped", "ok", "ok"]);
}

#[test]
fn loops_run_once_per_item() {
    let fleet = one();
    let ran = apply(
        &fleet,
        r#"
hosts = "all"
vars = { users = [{ name = "ann", id = 1 }, { name = "bob", id = 2 }] }
[[task]]
name = "file"
copy = { content = "{{ item.id }}", dest = "~/{{ item.name }}" }
loop = "{{ users }}"
register = "made"
[[task]]
name = "all"
debug = "{{ made.results | length }} {{ made.changed }}"
[[task]]
block = [{ name = "inner", command = { cmd = "touch {{ thing }}", chdir = "~/", creates = "~/{{ thing }}" } }]
loop = ["x", "y"]
loop_control = { loop_var = "thing" }
"#,
        &[],
    );
    assert_eq!(ran.exit, 0, "{}", ran.document);
    assert_eq!(ran.outcomes("alpha"), ["changed", "changed", "ok", "changed", "changed"]);
    assert_eq!(ran.step("alpha", "file")["item"]["name"], "ann");
    assert_eq!(ran.step("alpha", "all")["message"], "2 True");
    assert_eq!(std::fs::read_to_string(fleet.host("alpha").home.join("bob")).expect("a file"), "2");
}

#[test]
fn blocks_rescue_and_always() {
    let fleet = one();
    let ran = apply(
        &fleet,
        r#"
hosts = "all"
[[task]]
name = "try"
block = [{ name = "breaks", command = { cmd = "false", always = true } }, { name = "left out", debug = "x" }]
rescue = [{ name = "rescued", debug = "mended" }]
always = [{ name = "always", debug = "done" }]
[[task]]
name = "ignored"
command = { cmd = "false", always = true }
ignore_errors = true
[[task]]
name = "last"
debug = "end"
"#,
        &[],
    );
    assert_eq!(ran.exit, 0, "{}", ran.document);
    let names: Vec<&str> = ran.document["hosts"]["alpha"]["steps"].as_array().expect("steps").iter().map(|step| step["task"].as_str().expect("a name")).collect();
    assert_eq!(names, ["breaks", "rescued", "always", "ignored", "last"]);
    assert_eq!(ran.outcomes("alpha"), ["failed", "ok", "ok", "failed", "ok"]);
    assert_eq!(ran.step("alpha", "breaks")["ignored"], true);
    assert_eq!(ran.document["totals"]["failed"], 0);
}

#[test]
fn until_tries_again_and_the_playbook_judges() {
    let fleet = one();
    let ran = apply(
        &fleet,
        r#"
hosts = "all"
[[task]]
name = "counts"
shell = { cmd = "echo x >>~/tries; wc -l <~/tries", always = true }
register = "count"
until = "count.stdout | int >= 3"
retries = 5
delay = "10ms"
[[task]]
name = "judged"
command = { cmd = "sh -c 'echo nothing to do; exit 7'", expect = [7] }
register = "out"
changed_when = "'nothing' not in out.stdout"
failed_when = "out.rc not in [0, 7]"
"#,
        &[],
    );
    assert_eq!(ran.exit, 0, "{}", ran.document);
    assert_eq!(ran.outcomes("alpha"), ["changed", "ok"]);
    assert_eq!(std::fs::read_to_string(fleet.host("alpha").home.join("tries")).expect("a file").lines().count(), 3);
}

#[test]
fn the_environment_and_variables_reach_a_command() {
    let fleet = one();
    let ran = apply(
        &fleet,
        "hosts = 'all'\nvars = { level = 'play' }\n[[task]]\nname = 'env'\nshell = { cmd = 'echo \"$COLOUR {{ level }}\"', probe = true }\nenvironment = { COLOUR = \"it's {{ level }}\" }\nvars = { level = 'task' }\n",
        &["-e", "level=extra"],
    );
    assert_eq!(ran.step("alpha", "env")["stdout"], "it's extra extra\n");
}

#[test]
fn facts_are_gathered_when_they_are_used() {
    let fleet = two();
    let ran = apply(
        &fleet,
        "hosts = 'all'\n[[task]]\nname = 'facts'\ndebug = '{{ facts.cpus }} {{ facts.user }} {{ facts.env.USER }}'\nwhen = 'facts.memory_mb > 0'\n",
        &[],
    );
    assert_eq!(ran.exit, 0, "{}", ran.document);
    assert!(ran.step("beta", "facts")["message"].as_str().expect("text").ends_with(" practice"));
}

#[test]
fn what_a_host_says_is_never_a_template() {
    let fleet = one();
    let ran = apply(
        &fleet,
        "hosts = 'all'\n[[task]]\nname = 'say'\nshell = { cmd = \"printf '%s%s%s%s' '{' '{ 7*7 }}' '{' '% raw'\", probe = true }\nregister = 'said'\n[[task]]\nname = 'write'\ncopy = { content = '{{ said.stdout }}', dest = '~/said' }\n[[task]]\nname = 'show'\ndebug = '{{ said.stdout }}'\n",
        &[],
    );
    assert_eq!(ran.step("alpha", "show")["message"], "{{ 7*7 }}{% raw");
    assert_eq!(std::fs::read_to_string(fleet.host("alpha").home.join("said")).expect("a file"), "{{ 7*7 }}{% raw");
}

#[test]
fn odd_paths_are_carried_exactly() {
    let fleet = one();
    for name in ["with space", "it's \"quoted\"", "new\nline", "-dash", "*glob?", "$HOME `x`", "\u{e9}t\u{e9}", "back\\slash"] {
        let toml = serde_json::to_string(&format!("~/{name}")).expect("a string");
        let playbook = format!("hosts = 'all'\n[[task]]\ncopy = {{ content = 'x', dest = {toml} }}\n[[task]]\nlineinfile = {{ path = {toml}, line = 'y' }}\n");
        let ran = apply(&fleet, &playbook, &[]);
        assert_eq!(ran.exit, 0, "{name:?}: {}", ran.document);
        assert_eq!(std::fs::read_to_string(fleet.host("alpha").home.join(name)).expect(name), "x\ny\n");
    }
}

#[test]
fn what_never_ran_is_no_change_whatever_the_playbook_forgives() {
    let fleet = one();
    let ran = apply(
        &fleet,
        "hosts = 'all'\n[[task]]\nname = 'question'\ncommand = { cmd = 'false', probe = true }\nfailed_when = false\n[[task]]\nname = 'refused'\nfile = { path = '~/none/x', state = 'file' }\nfailed_when = false\n",
        &[],
    );
    assert_eq!(ran.outcomes("alpha"), ["ok", "ok"]);
}

#[test]
fn a_second_play_picks_up_its_own_pending_handlers() {
    let fleet = one();
    let playbook = |fails: bool| {
        format!("[[play]]\nname = 'one'\nhosts = 'all'\n[[play.task]]\nfile = {{ path = '~/one', state = 'touch' }}\n[[play]]\nname = 'two'\nhosts = 'all'\n[[play.task]]\ncopy = {{ content = 'x', dest = '~/two' }}\nnotify = 'h'\n[[play.task]]\nfail = 'no'\nwhen = {fails}\n[[play.handler]]\nname = 'h'\nshell = 'touch ~/handled'\n")
    };
    assert_eq!(apply(&fleet, &playbook(true), &[]).exit, 4);
    assert_eq!(apply(&fleet, &playbook(false), &[]).outcomes("alpha"), ["ok", "ok", "skipped", "changed"]);
    assert!(fleet.host("alpha").home.join("handled").exists());
}

#[test]
fn what_depends_on_a_command_that_is_only_planned_is_pending() {
    let fleet = one();
    let ran = apply(
        &fleet,
        "hosts = 'all'\n[[task]]\nshell = { cmd = 'echo hi', always = true }\nregister = 'out'\n[[task]]\ndebug = 'x'\nwhen = \"out.stdout == 'hi'\"\n[[task]]\ndebug = '{{ out.stdout_lines[0] }}'\n",
        &["--check"],
    );
    assert_eq!((ran.exit, ran.outcomes("alpha")), (0, vec!["changed", "pending", "pending"]));
}

#[test]
fn the_result_of_a_change_tells_of_the_host_as_it_is_now() {
    let fleet = one();
    let ran = apply(
        &fleet,
        "hosts = 'all'\n[[task]]\nname = 'key'\nopenssh_keypair = { path = '~/key', type = 'ed25519' }\nregister = 'pair'\n\
         [[task]]\nname = 'door'\ncopy = { content = '{{ pair.properties.public_key }}', dest = '~/door' }\n",
        &[],
    );
    assert_eq!(ran.exit, 0, "{} {}", ran.document, ran.stderr);
    let home = &fleet.host("alpha").home;
    let read = |name: &str| std::fs::read_to_string(home.join(name)).expect("a file");
    assert_eq!(read("door").split(' ').nth(1), read("key.pub").split(' ').nth(1));
}

#[test]
fn a_task_that_only_looks_sees_what_was_changed_before() {
    let fleet = one();
    let ran = apply(
        &fleet,
        "hosts = 'all'\n[[task]]\nname = 'changed'\ncopy = { content = \"x\\n\", dest = '~/f' }\n\
         [[task]]\nname = 'looks'\ncheck_mode = true\nlineinfile = { path = '~/f', line = 'x' }\nregister = 'seen'\n\
         [[task]]\nname = 'other'\ncheck_mode = true\nfile = { path = '~/f', mode = '0700' }\n\
         [[task]]\nname = 'told'\nassert = { that = 'not seen.changed' }\n",
        &[],
    );
    assert_eq!((ran.exit, ran.outcomes("alpha")), (0, vec!["changed", "ok", "changed", "ok"]), "{} {}", ran.document, ran.stderr);
}
