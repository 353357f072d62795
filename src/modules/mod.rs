//! One file per thing that a playbook can ask for. Nothing here waits, and nothing touches the network.

mod account;
mod add_host;
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
pub mod file;
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
pub(crate) mod package;
mod pam_limits;
mod pause;
mod ping;
mod raw;
mod reboot;
mod replace;
mod script;
pub(crate) mod service;
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
    own::embedded!("acl"),
    registration::<add_host::AddHost>(),
    registration::<alternatives::Alternatives>(),
    own::embedded!("apt_key"),
    registration::<apt_repository::AptRepository>(),
    own::embedded!("archive"),
    registration::<assemble::Assemble>(),
    registration::<assert::Assert>(),
    registration::<authorized_key::AuthorizedKey>(),
    own::embedded!("backup"),
    registration::<blockinfile::Blockinfile>(),
    registration::<command::Command>(),
    registration::<copy::Copy>(),
    registration::<cron::Cron>(),
    registration::<data_file::DataFile>(),
    own::embedded!("debconf"),
    registration::<debug::Debug>(),
    own::embedded!("docker_compose"),
    own::embedded!("docker_container"),
    own::embedded!("docker_image"),
    own::embedded!("docker_network"),
    own::embedded!("docker_volume"),
    own::embedded!("dpkg_selections"),
    registration::<fail::Fail>(),
    registration::<fetch::Fetch>(),
    registration::<file::File>(),
    own::embedded!("filesystem"),
    registration::<find::Find>(),
    own::embedded!("firewalld"),
    own::embedded!("gem"),
    registration::<get_url::GetUrl>(),
    registration::<git::Git>(),
    registration::<group::Group>(),
    registration::<group_by::GroupBy>(),
    registration::<hostname::Hostname>(),
    own::embedded!("htpasswd"),
    registration::<ini_file::IniFile>(),
    own::embedded!("iptables"),
    registration::<known_hosts::KnownHosts>(),
    registration::<lineinfile::Lineinfile>(),
    registration::<locale_gen::LocaleGen>(),
    own::embedded!("logrotate"),
    own::embedded!("lvg"),
    own::embedded!("lvol"),
    registration::<modprobe::Modprobe>(),
    registration::<mount::Mount>(),
    own::embedded!("mysql_db"),
    own::embedded!("mysql_user" with functions),
    own::embedded!("mysql_variables"),
    own::embedded!("nftables"),
    own::embedded!("npm"),
    own::embedded!("openssh_keypair"),
    own::embedded!("openssl_csr"),
    own::embedded!("openssl_dhparam"),
    own::embedded!("openssl_privatekey"),
    registration::<package::Package>(),
    own::embedded!("package_file" with functions after "package_common"),
    own::embedded!("package_hold"),
    own::embedded!("package_upgrade" with functions after "package_common"),
    registration::<pam_limits::PamLimits>(),
    own::embedded!("parted"),
    registration::<pause::Pause>(),
    registration::<ping::Ping>(),
    own::embedded!("pip"),
    own::embedded!("postgresql_db"),
    own::embedded!("postgresql_ext"),
    own::embedded!("postgresql_pg_hba"),
    own::embedded!("postgresql_privs"),
    own::embedded!("postgresql_query"),
    own::embedded!("postgresql_schema"),
    own::embedded!("postgresql_set"),
    own::embedded!("postgresql_user"),
    registration::<raw::Raw>(),
    registration::<reboot::Reboot>(),
    registration::<replace::Replace>(),
    own::embedded!("rpm_key"),
    registration::<script::Script>(),
    own::embedded!("seboolean"),
    own::embedded!("sefcontext"),
    own::embedded!("selinux"),
    own::embedded!("seport"),
    registration::<service::Service>(),
    registration::<set_fact::SetFact>(),
    registration::<shell::Shell>(),
    registration::<slurp::Slurp>(),
    registration::<stat::Stat>(),
    registration::<sudoers::Sudoers>(),
    registration::<synchronize::Synchronize>(),
    registration::<sysctl::Sysctl>(),
    registration::<systemd_unit::SystemdUnit>(),
    own::embedded!("tempfile"),
    registration::<template::Template>(),
    registration::<timezone::Timezone>(),
    own::embedded!("ufw"),
    registration::<unarchive::Unarchive>(),
    registration::<uri::Uri>(),
    registration::<user::User>(),
    registration::<wait_for::WaitFor>(),
    own::embedded!("x509_certificate"),
    own::embedded!("xattr"),
    registration::<yum_repository::YumRepository>(),
] };
