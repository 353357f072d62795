//! `mutate` changes live servers over SSH with nothing installed on them.
//!
//! The rooms, in the order worth reading. Imports go down from floor 5 to floor 1; `tests/rooms.rs` keeps it so.

// 5: words in, exit code out.
pub mod cli;

// 4: decides and does; remembers and shows what happened.
pub mod engine;
pub mod journal;
pub mod render;

// 3: what can happen, the things a playbook can ask for, and the playbook itself.
pub mod event;
pub mod modules;
pub mod playbook;

// 2: who the hosts are, how to talk to one, and what a module promises.
pub mod inventory;
pub mod module;
pub mod remote;
pub mod template;

// 1: messages about text, secrets, sh text, and what OpenSSH's configuration says.
pub mod diag;
pub mod secret;
pub mod shell;
pub mod ssh_config;
pub mod vault;
