//! Practice without servers: three hosts in this process, and one `mutate` command line against them.
//!
//! ```console
//! $ cargo run --example practice -- apply playbooks/hello.toml
//! ```
//!
//! The hosts live for this one command; their home folders are temporary.

#[path = "../tests/support/fleet.rs"]
mod fleet;

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let Some(command) = words.next() else {
        return mutate::cli::run(["mutate", "--help"].map(OsString::from));
    };
    let fleet = fleet::Fleet::start(&["alpha", "beta", "gamma"], &fleet::Faults::default());
    let mut line = vec![OsString::from("mutate"), command.clone()];
    // `inventory list` and its like take the inventory after their second word.
    if command == "inventory" {
        line.extend(words.next());
    }
    let takes_inventory = !["modules", "--help", "--version", "help"].iter().any(|word| command == *word);
    if takes_inventory {
        line.extend([OsString::from("-i"), fleet.inventory.clone().into_os_string()]);
    }
    line.extend(words);
    mutate::cli::run(line)
}
