//! The laws of what only a real host can show: packages, services, accounts. On the hosts of the lab, whose script
//! `MUTATE_LAB` names; without it nothing here runs.

#![allow(clippy::print_stdout, reason = "a test that did not run says so, and one that measures says what")]

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::{Ground, law_at};
use crate::module::Module;
use crate::modules::group::Group;
use crate::modules::package::Package;
use crate::modules::service::Service;
use crate::modules::user::User;

const DASH: &[&str] = &["dash"];
const BASH: &[&str] = &["bash", "--posix"];
const ASH: &[&str] = &["busybox", "ash"];

/// The laws share the hosts.
static TURN: Mutex<()> = Mutex::new(());

/// A host, and the shell to work with there.
type Host = (&'static str, &'static [&'static str]);

const SYSTEMD: [Host; 3] = [("deb1", DASH), ("deb2", BASH), ("rpm1", BASH)];

/// Shows one law on one host. `reset` brings the host into the state that the law begins with.
fn law_on<M: Module>(hosts: &[Host], setup: &str, arguments: &str, expected: &str) {
    let Some(lab) = std::env::var_os("MUTATE_LAB").filter(|lab| lab != "later") else {
        println!("these laws did not run: they need the hosts of the lab (MUTATE_LAB)");
        return;
    };
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, shell) in hosts {
        law_at::<M>(Ground::Host(PathBuf::from(&lab), name), shell, setup, arguments, &[], expected);
    }
}

#[test]
fn group_keeps_the_laws() {
    let gone = "groupdel crowd 2>/dev/null; groupdel crowd2 2>/dev/null; :";
    law_on::<Group>(&SYSTEMD, gone, "name = 'crowd'", "absent -> present");
    law_on::<Group>(&SYSTEMD, gone, "name = 'crowd'\ngid = 4711", "absent -> present");
    law_on::<Group>(&SYSTEMD, gone, "name = 'crowd'\nsystem = true", "absent -> present");
    law_on::<Group>(&SYSTEMD, "groupadd -f -g 4712 crowd; groupmod -g 4712 crowd", "name = 'crowd'\ngid = 4713", "gid 4712 -> gid 4713");
    law_on::<Group>(&SYSTEMD, "groupadd -f crowd", "name = 'crowd'\nstate = 'absent'", "present -> absent");
    law_on::<Group>(&SYSTEMD, gone, "name = 'crowd'\nstate = 'absent'", "in place");
}

#[test]
fn user_keeps_the_laws() {
    let gone = "userdel -r laws 2>/dev/null; groupdel laws 2>/dev/null; groupadd -f crew; groupadd -f press; :";
    let there = format!("{gone}; useradd -m -u 4720 -s /bin/sh -c 'Old Name' -G crew laws");
    law_on::<User>(&SYSTEMD, gone, "name = 'laws'", "absent -> present");
    law_on::<User>(&SYSTEMD, gone, "name = 'laws'\nuid = 4721\ngroups = ['crew', 'press']\nshell = '/bin/sh'\ncomment = \"It's a name\"\nhome = '/srv/laws'", "absent -> present");
    law_on::<User>(&SYSTEMD, gone, "name = 'laws'\nsystem = true\ncreate_home = false", "absent -> present");
    law_on::<User>(&SYSTEMD, gone, "name = 'laws'\npassword = '$6$saltsalt$Zq1tTn9Yx'\nexpires = '2031-01-31'", "absent -> present");
    law_on::<User>(&SYSTEMD, &there, "name = 'laws'\nshell = '/bin/bash'\ncomment = 'New'", "shell /bin/sh, comment Old Name -> shell /bin/bash, comment New");
    law_on::<User>(&SYSTEMD, &there, "name = 'laws'\ngroups = ['press']", "groups crew -> groups press");
    law_on::<User>(&SYSTEMD, &there, "name = 'laws'\ngroups = ['press']\nappend = true", "groups crew -> groups crew press");
    law_on::<User>(&SYSTEMD, &there, "name = 'laws'\nuid = 4722", "uid 4720 -> uid 4722");
    law_on::<User>(&SYSTEMD, &there, "name = 'laws'\nexpires = '2031-01-31'", "expires never -> expires 2031-01-31");
    law_on::<User>(&SYSTEMD, &there, "name = 'laws'\npassword_lock = true", "in place");
    law_on::<User>(&SYSTEMD, &there, "name = 'laws'\nstate = 'absent'", "present -> absent");
}

/// The state in which a law on packages begins.
const APT: &str = "exec >/dev/null 2>&1; DEBIAN_FRONTEND=noninteractive apt-get -y purge lab-hello lab-svc lab-dep lab-lib";
const DNF: &str = "exec >/dev/null 2>&1; dnf -y remove lab-hello lab-svc lab-dep lab-lib";
const ZYPPER: &str = "exec >/dev/null 2>&1; zypper -n remove lab-hello lab-svc lab-dep lab-lib";
const PACMAN: &str = "exec >/dev/null 2>&1; for p in lab-hello lab-svc lab-dep lab-lib; do pacman --noconfirm -R $p; done";

#[test]
fn package_keeps_the_laws() {
    let kinds: [(Host, &str, &str, &str, &str); 4] = [
        (("deb1", DASH), APT, "DEBIAN_FRONTEND=noninteractive apt-get -y install lab-hello=1.0", "1.0", "2.0"),
        (("rpm1", BASH), DNF, "dnf -y install lab-hello-1.0", "1.0-1", "2.0-1"),
        (("zyp1", DASH), ZYPPER, "zypper -n install lab-hello=1.0", "1.0-1", "2.0-1"),
        (("pac1", BASH), PACMAN, "pacman --noconfirm -Sy lab-hello", "2.0-1", "2.0-1"),
    ];
    for (host, gone, install, old, new) in kinds {
        let hosts = [host];
        let gone = format!("{gone}; :");
        let there = format!("{gone}; {install} </dev/null");
        law_on::<Package>(&hosts, &gone, "name = 'lab-hello'", "lab-hello absent -> lab-hello installed");
        law_on::<Package>(&hosts, &there, "name = 'lab-hello'", "in place");
        law_on::<Package>(&hosts, &there, "name = 'lab-hello'\nstate = 'absent'", &format!("lab-hello {old} -> lab-hello absent"));
        law_on::<Package>(&hosts, &gone, "name = 'lab-hello'\nstate = 'absent'", "in place");
        if old != new {
            law_on::<Package>(&hosts, &there, "name = 'lab-hello'\nstate = 'latest'", &format!("lab-hello {old} -> lab-hello {new}"));
            law_on::<Package>(&hosts, &there, "name = 'lab-hello=1.1*'", &format!("lab-hello {old} -> lab-hello 1.1*"));
        }
    }
}

#[test]
fn service_keeps_the_laws() {
    let install = "exec >/dev/null 2>&1; (DEBIAN_FRONTEND=noninteractive apt-get -y install lab-svc || dnf -y install lab-svc) </dev/null";
    let off = format!("{install}; systemctl unmask lab-svc; systemctl disable --now lab-svc");
    let on = format!("{install}; systemctl unmask lab-svc; systemctl enable --now lab-svc");
    law_on::<Service>(&SYSTEMD, &off, "name = 'lab-svc'\nstate = 'started'", "state inactive -> state started");
    law_on::<Service>(&SYSTEMD, &off, "name = 'lab-svc'\nstate = 'started'\nenabled = true", "enabled no, state inactive -> enabled yes, state started");
    law_on::<Service>(&SYSTEMD, &on, "name = 'lab-svc'\nstate = 'stopped'", "state active -> state inactive");
    law_on::<Service>(&SYSTEMD, &on, "name = 'lab-svc'\nenabled = false", "enabled yes -> enabled no");
    law_on::<Service>(&SYSTEMD, &on, "name = 'lab-svc'\nstate = 'stopped'\nmasked = true", "masked no, state active -> masked yes, state inactive");
    law_on::<Service>(&SYSTEMD, &on, "name = 'lab-svc'\nstate = 'started'\nenabled = true", "in place");
    let busybox = [("bb1", ASH)];
    law_on::<Service>(&busybox, "", "name = 'nonesuch'\nstate = 'started'", "error: this host has no service nonesuch (there is neither a script for it in /etc/init.d nor a respawn line in /etc/inittab)");
    let daemon = "printf '%s\\n' '#!/bin/sh' 'case $1 in start) sleep 4799 </dev/null >/dev/null 2>&1 & echo $! >/run/laws.pid ;; stop) kill $(cat /run/laws.pid); rm /run/laws.pid ;; status) kill -0 $(cat /run/laws.pid) ;; esac' >/etc/init.d/S90laws; chmod 755 /etc/init.d/S90laws";
    let on = format!("{daemon}; [ -f /run/laws.pid ] || /etc/init.d/S90laws start </dev/null >/dev/null 2>&1; :");
    let off = format!("{daemon}; [ ! -f /run/laws.pid ] || /etc/init.d/S90laws stop; :");
    law_on::<Service>(&busybox, &off, "name = 'laws'\nstate = 'started'", "state inactive -> state started");
    law_on::<Service>(&busybox, &on, "name = 'laws'\nstate = 'stopped'", "state active -> state inactive");
    law_on::<Service>(&busybox, &on, "name = 'laws'\nenabled = false", "enabled yes -> enabled no");
}
