//! Verdicts of `package` on answers that hosts gave.

use super::Package;
use crate::module::testing::{module, probe, problems, verdict};
use crate::module::{Answer, Effect, Module as _, Surroundings, Verdict};

/// The verdict on an answer with these lines about packages.
fn check(arguments: &str, lines: &str, met: &str) -> String {
    verdict::<Package>(arguments, 0, &format!("manager apt\n{lines}\nmet {met}\n"))
}

/// The change after an answer with a remark: what is run, and how it counts.
fn change(arguments: &str, lines: &str, remark: &str) -> String {
    let stdout = format!("manager apt\n{lines}\nmet yes\n").into();
    let answer = Answer { stdout, remark: remark.into(), ..Answer::default() };
    match module::<Package>(arguments).compare(&Surroundings::default(), &answer).expect("an answer that can be read") {
        Verdict::InPlace(_) => "in place".into(),
        Verdict::Differs(change) => format!("{} ({:?})", change.apply.script, change.effect).replace('\'', ""),
    }
}

#[test]
fn packages_that_are_as_wanted_are_left_alone() {
    assert_eq!(check("name = ['a', 'b=1.*', 'mta']", "a installed 2 -\nb=1.* current 1.3 -\nmta provided - -", "yes"), "in place");
    assert_eq!(check("name = 'a'\nstate = 'latest'", "a current 2 2", "yes"), "in place");
    assert_eq!(check("name = ['a', 'b']\nstate = 'removed'", "a absent - -\nb config - -", "yes"), "in place");
    assert_eq!(change("name = 'a'\nupdate_cache = true", "a installed 2 -", "stale\n"), "in place");
}

#[test]
fn the_question_fits_the_state() {
    assert_eq!(probe::<Package>("name = ['a', 'b=1.*']"), "'package_look' 'present' 'a' 'b=1.*'");
    assert_eq!(probe::<Package>("pkg = 'a'\nstate = 'latest'"), "'package_look' 'latest' 'a'");
    assert_eq!(probe::<Package>("name = 'a'\ncache_valid_time = 60"), "'package_look_aged' '60' 'present' 'a'");
    assert_eq!(probe::<Package>("update_cache = true"), "'package_cache' '0'");
}

#[test]
fn packages_are_installed() {
    let expected = "b absent, c 1.0 -> b installed, c 2.0
apply  'package_apply' '300' '-' 'install' 'a' 'b' 'c=2.0'
expect manager apt
a …
b …
c=2.0 …
met yes

undo   'package_apply' '300' 'removals' 'exact' 'b=-' 'c=1.0' (packages that came or went along stay as they are then)";
    let lines = "a installed 1 -\nb absent - -\nc=2.0 other 1.0 -";
    assert_eq!(check("name = ['a', 'b', 'c=2.0']", lines, "no"), expected);
}

#[test]
fn packages_are_upgraded() {
    let expected = "a 1.0 -> a 2.0
apply  'package_apply' '60' 'no-recommends,removals' 'latest' 'a'
expect manager apt
a …
met yes

undo   'package_apply' '60' 'removals' 'exact' 'a=1.0' (packages that came or went along stay as they are then)";
    let arguments = "name = 'a'\nstate = 'latest'\nlock_timeout = 60\ninstall_recommends = false\nallow_removals = true";
    assert_eq!(check(arguments, "a old 1.0 2.0", "no"), expected);
}

#[test]
fn packages_are_removed() {
    let expected = "a 1.0, b only configuration files -> a absent, b absent
apply  'package_apply' '300' 'purge,autoremove' 'remove' 'a' 'b'
expect manager apt
a absent - -
b absent - -
met yes

undo   'package_apply' '300' 'removals' 'exact' 'a=1.0' 'b=-' (packages that came or went along stay as they are then)";
    let arguments = "name = ['a', 'b']\nstate = 'absent'\npurge = true\nautoremove = true";
    assert_eq!(check(arguments, "a installed 1.0 -\nb config - -", "no"), expected);
}

#[test]
fn lists_are_fetched_when_they_are_needed() {
    let refreshed = "package_apply 300 refresh install a (Change)";
    assert_eq!(change("name = 'a'\nupdate_cache = true", "a absent - -", "stale\n"), refreshed);
    assert_eq!(change("name = 'a'\ncache_valid_time = 60", "a absent - -", "fresh\n"), "package_apply 300 - install a (Change)");
    assert_eq!(
        change("name = 'a'\nstate = 'latest'\nupdate_cache = true", "a current 1 1", "stale\n"),
        "package_apply 300 refresh latest a (ChangeIfAnswerDiffers)"
    );
    assert_eq!(change("name = 'a'\nstate = 'latest'\ncache_valid_time = 60", "a current 1 1", "fresh\n"), "in place");
}

#[test]
fn lists_alone_are_no_change() {
    assert_eq!(verdict::<Package>("cache_valid_time = 60", 0, "fresh\n"), "in place");
    let expected = "stale lists -> fresh lists
apply  'package_apply' '300' '-' 'refresh'
expect fresh

undo   : (the lists of the repositories stay as new as they are)";
    assert_eq!(verdict::<Package>("cache_valid_time = 60", 0, "stale\n"), expected);
    let answer = Answer { stdout: "stale\n".into(), ..Answer::default() };
    let compared = module::<Package>("update_cache = true").compare(&Surroundings::default(), &answer);
    let Ok(Verdict::Differs(change)) = compared else { panic!("no change") };
    assert_eq!((change.effect, change.expect), (Effect::Nothing, None));
}

#[test]
fn what_a_host_cannot_do_is_refused() {
    let sentence = "this host has no package manager that mutate knows";
    assert_eq!(verdict::<Package>("name = 'a'", 3, sentence), format!("error: {sentence}"));
    assert_eq!(check("name = 'a'", "a absent -", "no"), "error: the answer of the host has the odd line `a absent -`");
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let check = problems::<Package>;
    assert_eq!(check("state = 'absent'"), "there is nothing to do");
    assert_eq!(check("name = 'a b'"), "`a b` is not the name of a package");
    assert_eq!(check("name = '/tmp/a.deb'"), "`/tmp/a.deb` is not the name of a package");
    assert_eq!(check("name = 'a=1'\nstate = 'latest'"), "`a=1` asks for a version, but the state asks for another");
    assert_eq!(check("name = 'a'\npurge = true"), "`purge` goes with removing");
}
