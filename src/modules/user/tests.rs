//! Verdicts of `user` on answers that hosts gave.

use super::User;
use crate::module::testing::{module, probe, problems, verdict};
use crate::module::{Answer, Module as _, Surroundings, Verdict};

const HASH: &str = "$6$salt$hash";
const ABSENT: &str = "tools shadow\nmissing ann\nuser absent\n";
const ANN: &str = "tools shadow
missing -
user present
local yes
uid 1000
gid 1000
group ann
groups wheel zoo
home present
locked no
password -
expires never
shell /bin/sh
dir /home/ann
comment Ann & co
";

/// What is asked of the host for these properties of ann, and what for the way back; or another verdict.
fn change(arguments: &str, answer: &str) -> String {
    let text = verdict::<User>(&format!("name = 'ann'\n{arguments}"), 0, answer);
    let lines = text.lines().filter(|line| !text.contains(" -> ") || ["keep", "apply", "undo"].iter().any(|word| line.starts_with(word)));
    lines.collect::<Vec<_>>().join("\n")
}

/// The answer expected afterwards, on one line.
fn expected(arguments: &str, answer: &str) -> String {
    let text = verdict::<User>(&format!("name = 'ann'\n{arguments}"), 0, answer);
    let (_, rest) = text.split_once("expect ").expect(&text);
    let (pattern, _) = rest.split_once("\n\n").or_else(|| rest.split_once("\nundo")).expect(&text);
    pattern.replace('\n', "; ")
}

#[test]
fn a_user_that_is_as_wanted_is_left_alone() {
    let all = "uid = 1000\ngroup = 'ann'\ngroups = 'zoo,wheel'\nhome = '/home/ann/'\nshell = '/bin/sh'\ncomment = 'Ann & co'
password_lock = false\nexpires = 'never'\ncreate_home = true";
    assert_eq!(change(all, ANN), "in place");
    assert_eq!(change("group = '1000'\ngroups = ['zoo']\nappend = true", ANN), "in place");
    assert_eq!(change("state = 'absent'", ABSENT), "in place");
    assert_eq!(change(&format!("password = '{HASH}'"), &ANN.replace("password -", "password same")), "in place");
    assert_eq!(change(&format!("password = '{HASH}'\nupdate_password = 'on_create'"), ANN), "in place");
    assert_eq!(change("", &ANN.replace("tools shadow", "tools none")), "in place");
}

#[test]
fn the_question_names_all_groups() {
    assert_eq!(probe::<User>("name = 'ann'\ngroups = ['zoo', 'a1']"), "'account_user' 'ann' '' 'ann' 'a1' 'zoo'");
    let text = format!("name = 'ann'\ngroup = 'crew'\npassword = '{HASH}'");
    assert_eq!(probe::<User>(&text), format!("'account_user' 'ann' '{HASH}' 'crew'"));
    assert_eq!(probe::<User>("name = 'ann'\nstate = 'absent'\ngroup = 'crew'"), "'account_user' 'ann' ''");
}

#[test]
fn a_missing_user_is_added() {
    let text = "uid = 1500\ngroups = ['zoo']\nshell = '/bin/sh'\ncreate_home = false\nexpires = 2024-10-04";
    let words = "'uid=1500' 'groups=zoo' 'shell=/bin/sh' 'create_home=no' 'expires=20000'";
    assert_eq!(
        change(text, ABSENT),
        format!("apply  'account_user_add' 'ann' {words}\nundo   'account_user_remove' 'ann'")
    );
    assert_eq!(
        expected(text, ABSENT),
        "tools shadow; missing …; user present; local yes; uid 1500; gid …; group …; groups zoo; home …; locked …; password …; \
         expires 20000; shell /bin/sh; dir …; comment …"
    );
}

#[test]
fn a_group_that_was_there_before_outlives_a_new_user() {
    assert_eq!(
        change("", &ABSENT.replace("missing ann", "missing -")),
        "apply  'account_user_add' 'ann'\nundo   'account_user_remove' 'ann' 'remove=pristine' 'group=ann'"
    );
}

#[test]
fn properties_are_changed_and_can_come_back() {
    assert_eq!(
        change("uid = 1001\nshell = '/bin/bash'\ncomment = ''", ANN),
        "apply  'account_user_change' 'ann' 'uid=1001' 'shell=/bin/bash' 'comment='
undo   'account_user_change' 'ann' 'uid=1000' 'shell=/bin/sh' 'comment=Ann & co'"
    );
    assert_eq!(
        change("home = '/srv/ann'\nmove_home = true", ANN),
        "apply  'account_user_change' 'ann' 'home=/srv/ann' 'move_home=yes'
undo   'account_user_change' 'ann' 'home=/home/ann' 'move_home=yes'"
    );
    assert_eq!(
        change("expires = '2024-10-04'\npassword_lock = true", ANN),
        "apply  'account_user_change' 'ann' 'lock=yes' 'expires=20000'
undo   'account_user_change' 'ann' 'lock=no' 'expires=never'"
    );
    assert_eq!(
        change("create_home = true", &ANN.replace("home present", "home missing")),
        "apply  'account_user_change' 'ann' 'create_home=yes'\nundo   : (the home folder that was made stays)"
    );
}

#[test]
fn groups_are_set_or_appended() {
    assert_eq!(
        change("groups = []", ANN),
        "apply  'account_user_change' 'ann' 'groups='\nundo   'account_user_change' 'ann' 'groups=wheel,zoo'"
    );
    assert_eq!(
        change("groups = ['a1', 'zoo', 'ann']\nappend = true", ANN),
        "apply  'account_user_change' 'ann' 'groups=a1' 'append=yes'\nundo   'account_user_change' 'ann' 'groups=wheel,zoo'"
    );
    assert!(expected("groups = 'a1'\nappend = true", ANN).contains("; groups a1 wheel zoo; "));
    assert!(expected("groups = []", ANN).contains("; groups -; "));
    // What a user was in besides its old primary group cannot be told, so it is said again.
    let text = "group = 'zoo'\ngroups = ['wheel', 'zoo']";
    assert_eq!(
        change(text, ANN),
        "apply  'account_user_change' 'ann' 'group=zoo' 'groups=wheel'
undo   'account_user_change' 'ann' 'group=1000' 'groups=wheel,zoo'"
    );
    assert!(expected(text, ANN).contains("; group zoo; groups wheel; "));
}

#[test]
fn a_password_is_set_with_a_backup_and_not_shown() {
    let text = format!("password = '{HASH}'\npassword_lock = true");
    let answer = ANN.replace("password -", "password other");
    assert_eq!(
        change(&text, &answer),
        format!(
            "keep   'account_keep' 'ann'\napply  'account_user_change' 'ann' 'password={HASH}' 'lock=yes'\n\
             undo   'account_restore' 'ann' RECORD"
        )
    );
    assert!(expected(&text, &answer).contains("; locked yes; password same; "));
    let answer = Answer { stdout: answer.into(), ..Answer::default() };
    let user: User = module(&format!("name = 'ann'\n{text}"));
    let Ok(Verdict::Differs(change)) = user.compare(&Surroundings::default(), &answer) else { panic!("no change") };
    assert_eq!(change.diff, "--- the user ann\n+++ the user ann\n-password another\n+password ***\n-locked no\n+locked yes\n");
    assert_eq!(change.to, "password ***, locked yes");
}

#[test]
fn a_user_is_removed() {
    let added = "'account_user_add' 'ann' 'uid=1000' 'group=ann' 'gid=1000' 'groups=wheel,zoo' 'comment=Ann & co' 'home=/home/ann' \
                 'shell=/bin/sh' 'create_home=no'";
    assert_eq!(
        change("state = 'absent'", ANN),
        format!("keep   'account_keep' 'ann'\napply  'account_user_remove' 'ann'\nundo   {added} && 'account_restore' 'ann' RECORD")
    );
    assert_eq!(
        change("state = 'absent'\nremove = true", ANN),
        format!(
            "apply  'account_user_remove' 'ann' 'remove=yes'\n\
             undo   {added} (the password, the mail and the files in /home/ann do not come back)"
        )
    );
    assert_eq!(expected("state = 'absent'", ANN), "tools shadow; missing …; user absent");
}

#[test]
fn what_a_host_cannot_do_is_refused() {
    let with = |old: &str, new: &str| ANN.replace(old, new);
    let cases = [
        ("uid = 1", with("local yes", "local no"), "the user ann comes from a directory service, so it cannot be changed on this host"),
        ("uid = 1", with("shadow", "none"), "this host has no tools to manage accounts (useradd or adduser)"),
        ("groups = 'x'", with("missing -", "missing x"), "there is no group x on this host: add it with a group task before this one"),
        (
            "shell = '/bin/x'",
            with("shadow", "busybox"),
            "this host cannot change the uid, group, home, shell or comment of a user (it has BusyBox's adduser only, no usermod; the \
             package shadow has it)",
        ),
        (
            "expires = '2024-10-04'",
            with("shadow", "busybox"),
            "this host cannot set an expiry date (it has BusyBox's adduser only; the package shadow has what is needed)",
        ),
        ("password_lock = true", with("locked no", "locked unknown"), "only root can see the password of the user ann: become = true would help"),
        ("expires = 'never'", with("expires never", "expires unknown"), "only root can see when the user ann expires: become = true would help"),
        ("password_lock = false", ABSENT.into(), "the user ann is new and has no password, so there is none to unlock: set `password`"),
    ];
    for (arguments, answer, sentence) in cases {
        assert_eq!(change(arguments, &answer), format!("error: {sentence}"));
    }
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let check = |text: &str| problems::<User>(&format!("name = 'ann'\n{text}"));
    assert_eq!(check("append = true"), "`append` says what to do with `groups`, which are not given");
    assert_eq!(check("move_home = true"), "`move_home` needs a place to move to");
    assert_eq!(check("comment = 'a:b'"), "`comment`, `home` and `shell` cannot hold a colon or a line break");
    assert_eq!(check("password = 'hunter2'"), "`password` is not a crypt hash");
    assert_eq!(check("groups = '7'"), "`groups` is a name, not a number");
    assert_eq!(
        check("password = '!'\npassword_lock = false"),
        "a hash that begins with `!` is locked, but `password_lock` is false"
    );
    assert_eq!(problems::<User>("name = 'a b'"), "`name` cannot be `a b`");
}

#[test]
fn a_key_is_made_where_there_is_none() {
    let key = |found: &str, more: &str| verdict::<User>(&format!("name = 'ann'\ngenerate_ssh_key = true\n{more}"), 0, &format!("{ANN}ssh_key {found}\n"));
    assert!(key("ssh-ed25519 AAAA", "").contains("in place"));
    assert!(key("there", "").contains("in place"));
    let made = key("nowhere", "ssh_key_comment = \"it's\"");
    assert!(made.contains("'account_as' 'ann'") && made.contains("rmdir"), "{made}");
    assert!(!key("missing", "ssh_key_file = 'k'").contains("rmdir"));
    assert!(key("missing", "comment = 'Other'").contains("account_user_change"));
    assert_eq!(problems::<User>("name = 'a'\nssh_key_type = 'rsa'"), "`ssh_key_…` describes a key that is not asked for");
    assert_eq!(problems::<User>("name = 'a'\ngenerate_ssh_key = true\nssh_key_bits = 2048"), "a key of the type ed25519 has one size only");
    assert_eq!(problems::<User>("name = 'a'\ngenerate_ssh_key = true\nssh_key_file = '../x'"), "`ssh_key_file` is no path of a file in the home folder");
    assert_eq!(probe::<User>("name = 'ann'\ngenerate_ssh_key = true"), "'account_user' 'ann' '' 'ann' || exit\naccount_key '.ssh/id_ed25519'");
}
