//! One file per thing that a playbook can ask for. Nothing here waits, and nothing touches the network.

mod account;
mod assert;
mod blockinfile;
mod command;
mod copy;
mod debug;
mod expression;
mod fail;
mod file;
mod group;
mod ini_file;
#[cfg(test)]
mod laws;
mod lineinfile;
mod package;
mod ping;
mod replace;
mod service;
mod set_fact;
mod shell;
mod stat;
mod template;
mod text;
mod user;
mod wait_for;

use crate::module::{Registry, registration};

/// Every module, in the order of the manual.
pub static ALL: Registry = Registry(&[
    registration::<assert::Assert>(),
    registration::<blockinfile::Blockinfile>(),
    registration::<command::Command>(),
    registration::<copy::Copy>(),
    registration::<debug::Debug>(),
    registration::<fail::Fail>(),
    registration::<file::File>(),
    registration::<group::Group>(),
    registration::<ini_file::IniFile>(),
    registration::<lineinfile::Lineinfile>(),
    registration::<package::Package>(),
    registration::<ping::Ping>(),
    registration::<replace::Replace>(),
    registration::<service::Service>(),
    registration::<set_fact::SetFact>(),
    registration::<shell::Shell>(),
    registration::<stat::Stat>(),
    registration::<template::Template>(),
    registration::<user::User>(),
    registration::<wait_for::WaitFor>(),
]);
