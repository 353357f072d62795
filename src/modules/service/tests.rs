//! Verdicts of `service` on answers that hosts gave.

use super::Service;
use crate::module::testing::{probe, problems, verdict};

const UP: &str = "init systemd
unit nginx.service
load loaded
active active
enabled yes
masked no
reload yes
kind daemon
stale no
";

/// The answer about a service that is up, with other values on some lines.
fn answer(lines: &[(&str, &str)]) -> String {
    let line = |line: &str| {
        let word = line.split(' ').next().unwrap_or_default();
        let other = lines.iter().find(|(name, _)| *name == word);
        other.map_or_else(|| format!("{line}\n"), |(_, value)| format!("{word} {value}\n"))
    };
    UP.lines().map(line).collect()
}

/// The actions and, after a bar, what takes them back; or another verdict.
fn change(arguments: &str, lines: &[(&str, &str)]) -> String {
    let text = verdict::<Service>(&format!("name = 'nginx'\n{arguments}"), 0, &answer(lines));
    let Some((_, text)) = text.split_once("\napply  ") else { return text };
    let (apply, _) = text.split_once('\n').expect(text);
    let (_, undo) = text.split_once("undo   ").expect(text);
    format!("{apply} | {undo}").replace("'service_apply' 'nginx' ", "").replace('\'', "")
}

/// The answer expected afterwards, on one line.
fn expected(arguments: &str, lines: &[(&str, &str)]) -> String {
    let text = verdict::<Service>(&format!("name = 'nginx'\n{arguments}"), 0, &answer(lines));
    let (_, text) = text.split_once("expect ").expect(&text);
    text.split_once("\n\nundo").expect(text).0.replace('\n', "; ")
}

#[test]
fn a_service_that_is_as_wanted_is_left_alone() {
    assert_eq!(change("state = 'started'\nenabled = true\nmasked = false\ndaemon_reload = true", &[]), "in place");
    assert_eq!(change("state = 'stopped'\nenabled = false", &[("active", "failed"), ("enabled", "no")]), "in place");
    assert_eq!(change("masked = true", &[("masked", "yes"), ("enabled", "masked"), ("load", "masked")]), "in place");
    assert_eq!(change("enabled = true", &[("init", "openrc"), ("enabled", "yes boot default")]), "in place");
    assert_eq!(
        change("enabled = true", &[("enabled", "static")]),
        "in place: nginx.service is static, so there is nothing to be enabled"
    );
    assert_eq!(
        change("state = 'stopped'\nenabled = false", &[("load", "not-found"), ("active", "inactive"), ("enabled", "unknown")]),
        "in place: there is no service nginx on this host"
    );
}

#[test]
fn the_question_says_which_answers_are_fine() {
    assert_eq!(probe::<Service>("name = 'nginx'\nstate = 'started'"), "'service_look' 'nginx'");
    assert_eq!(probe::<Service>("unit = 'nginx'\nstate = 'stopped'"), "'service_look' 'nginx' 'absent-ok'");
    assert_eq!(probe::<Service>("name = 'nginx'\nenabled = true"), "'service_look' 'nginx' 'unknown-ok'");
    assert_eq!(probe::<Service>("name = 'nginx'\nmasked = true"), "'service_look' 'nginx' 'absent-ok' 'unknown-ok'");
}

#[test]
fn a_service_is_started_and_stopped() {
    assert_eq!(change("state = 'started'", &[("active", "inactive")]), "start | stop");
    assert_eq!(
        change("state = 'started'", &[("active", "failed")]),
        "start | stop (the service had failed before, and is only stopped afterwards)"
    );
    assert_eq!(change("state = 'started'", &[("active", "restarting")]), "start | restart");
    assert_eq!(
        change("state = 'started'", &[("active", "inactive"), ("kind", "oneshot")]),
        "start | stop (what the service did when it ran stays)"
    );
    assert_eq!(change("state = 'stopped'", &[]), "stop | start");
    assert_eq!(
        expected("state = 'started'", &[("active", "inactive")]),
        "init systemd; unit …; load …; active active; enabled …; masked …; reload …; kind …; stale …"
    );
    assert!(expected("state = 'started'", &[("active", "inactive"), ("kind", "oneshot")]).contains("; active inactive; "));
    assert!(expected("state = 'stopped'", &[]).contains("; active inactive; "));
}

#[test]
fn a_restart_and_a_reload_are_always_changes() {
    assert_eq!(change("state = 'restarted'", &[]), "restart | restart");
    assert_eq!(change("state = 'restarted'", &[("active", "inactive")]), "restart | stop");
    assert_eq!(change("state = 'reloaded'", &[]), "reload | reload");
    assert_eq!(change("state = 'reloaded'", &[("active", "inactive")]), "start | stop");
    assert!(expected("state = 'reloaded'", &[]).contains("; active active; "));
}

#[test]
fn what_happens_at_boot_is_changed() {
    assert_eq!(change("enabled = true", &[("enabled", "no")]), "enable | disable");
    assert_eq!(change("enabled = false", &[]), "disable | enable");
    assert_eq!(change("enabled = false", &[("init", "openrc"), ("enabled", "yes boot default")]), "disable | enable=boot,default");
    assert!(expected("enabled = true", &[("enabled", "no")]).contains("; enabled yes…; "));
    assert!(expected("enabled = false", &[]).contains("; enabled no; "));
}

#[test]
fn a_service_is_masked_and_unmasked() {
    assert_eq!(change("masked = true\nstate = 'stopped'", &[]), "mask stop | unmask start");
    assert_eq!(
        expected("masked = true\nstate = 'stopped'", &[]),
        "init systemd; unit …; load masked; active inactive; enabled masked; masked yes; reload …; kind …; stale …"
    );
    let masked = [("load", "masked"), ("masked", "yes"), ("enabled", "masked"), ("active", "inactive")];
    assert_eq!(change("masked = false\nenabled = true\nstate = 'started'", &masked), "unmask enable start | mask stop");
    assert!(expected("masked = false\nenabled = true", &masked).contains("; enabled yes…; masked no; "));
}

#[test]
fn changed_unit_files_are_read_again() {
    assert_eq!(change("daemon_reload = true\nstate = 'restarted'", &[("stale", "yes")]), "daemon-reload restart | daemon-reload restart");
    assert!(expected("daemon_reload = true", &[("stale", "yes")]).ends_with("; stale no"));
    assert_eq!(verdict::<Service>("daemon_reload = true", 0, "stale no\n"), "in place");
    let expected = "stale -> reread\napply  service_reread\nexpect stale no\n\nundo   service_reread";
    assert_eq!(verdict::<Service>("daemon_reload = true", 0, "stale yes\n"), expected);
}

#[test]
fn what_a_host_cannot_do_is_refused() {
    let masked = [("load", "masked"), ("masked", "yes"), ("enabled", "masked")];
    let cases: [(&str, &[(&str, &str)], &str); 7] = [
        ("state = 'reloaded'", &[("reload", "no")], "the service nginx cannot reload its configuration: use state = \"restarted\""),
        ("state = 'stopped'", &[("init", "inittab")], "the service nginx is kept running by init: remove its line from /etc/inittab"),
        ("enabled = false", &[("init", "inittab")], "the service nginx is kept running by init: remove its line from /etc/inittab"),
        (
            "masked = true",
            &[("init", "openrc")],
            "only systemd can mask a service, and this host has openrc: use enabled = false for nginx",
        ),
        ("state = 'started'", &masked, "the service nginx is masked, so it cannot be started: add masked = false"),
        ("enabled = true", &masked, "the service nginx is masked, so it cannot be enabled: add masked = false"),
        ("masked = true\nenabled = false", &[("init", "sysv")], "only systemd can mask a service, and this host has sysv: use enabled = false for nginx"),
    ];
    for (arguments, lines, sentence) in cases {
        assert_eq!(change(arguments, lines), format!("error: {sentence}"));
    }
    assert_eq!(verdict::<Service>("name = 'x'\nstate = 'started'", 3, "this host has no service x\n"), "error: this host has no service x");
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let check = problems::<Service>;
    assert_eq!(check("name = 'nginx'"), "nothing is said about `nginx`");
    assert_eq!(check("state = 'started'"), "`name` is missing");
    assert_eq!(check(""), "there is nothing to do");
    assert_eq!(check("name = '/etc/init.d/nginx'\nstate = 'started'"), "a service is given by its name, not by a path");
    assert_eq!(check("name = 'nginx'\nmasked = true\nstate = 'started'"), "a masked service can neither run nor be enabled");
}
