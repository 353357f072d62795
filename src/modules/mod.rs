//! One file per thing that a playbook can ask for. Nothing here waits, and nothing touches the network.

mod account;
mod alternatives;
mod apt_repository;
mod assemble;
mod assert;
mod authorized_key;
mod blockinfile;
mod command;
mod copy;
mod cron;
mod data_file;
mod debug;
mod expression;
mod fail;
mod fetch;
mod file;
mod find;
mod get_url;
mod git;
mod group;
mod group_by;
mod hostname;
mod ini_file;
mod known_hosts;
#[cfg(test)]
mod laws;
mod lineinfile;
mod locale_gen;
mod modprobe;
mod mount;
mod own;
mod package;
mod pam_limits;
mod pause;
mod ping;
mod raw;
mod reboot;
mod replace;
mod script;
mod service;
mod set_fact;
mod shell;
mod slurp;
mod stat;
mod sudoers;
mod synchronize;
mod sysctl;
mod systemd_unit;
mod template;
mod text;
mod timezone;
mod unarchive;
mod uri;
mod user;
mod wait_for;
mod web;
mod yum_repository;

use crate::module::{Registry, registration};

/// Every module, in the order of the manual.
pub static ALL: Registry = Registry { describe: own::describe, modules: &[
    registration::<alternatives::Alternatives>(),
    registration::<apt_repository::AptRepository>(),
    registration::<assemble::Assemble>(),
    registration::<assert::Assert>(),
    registration::<authorized_key::AuthorizedKey>(),
    registration::<blockinfile::Blockinfile>(),
    registration::<command::Command>(),
    registration::<copy::Copy>(),
    registration::<cron::Cron>(),
    registration::<data_file::DataFile>(),
    registration::<debug::Debug>(),
    registration::<fail::Fail>(),
    registration::<fetch::Fetch>(),
    registration::<file::File>(),
    registration::<find::Find>(),
    registration::<get_url::GetUrl>(),
    registration::<git::Git>(),
    registration::<group::Group>(),
    registration::<group_by::GroupBy>(),
    registration::<hostname::Hostname>(),
    registration::<ini_file::IniFile>(),
    registration::<known_hosts::KnownHosts>(),
    registration::<lineinfile::Lineinfile>(),
    registration::<locale_gen::LocaleGen>(),
    registration::<modprobe::Modprobe>(),
    registration::<mount::Mount>(),
    registration::<package::Package>(),
    registration::<pam_limits::PamLimits>(),
    registration::<pause::Pause>(),
    registration::<ping::Ping>(),
    registration::<raw::Raw>(),
    registration::<reboot::Reboot>(),
    registration::<replace::Replace>(),
    registration::<script::Script>(),
    registration::<service::Service>(),
    registration::<set_fact::SetFact>(),
    registration::<shell::Shell>(),
    registration::<slurp::Slurp>(),
    registration::<stat::Stat>(),
    registration::<sudoers::Sudoers>(),
    registration::<synchronize::Synchronize>(),
    registration::<sysctl::Sysctl>(),
    registration::<systemd_unit::SystemdUnit>(),
    registration::<template::Template>(),
    registration::<timezone::Timezone>(),
    registration::<unarchive::Unarchive>(),
    registration::<uri::Uri>(),
    registration::<user::User>(),
    registration::<wait_for::WaitFor>(),
    own::embedded!("xattr"),
    registration::<yum_repository::YumRepository>(),
] };
