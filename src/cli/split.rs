//! One run over several processes: which part of it this one is, and the name that all of them give it.

use anyhow::Result;
use clap::Args;

use crate::engine::Input;
use crate::inventory::Shard;

/// The longest name of a run that somebody has given.
const LONGEST: usize = 64;

/// One run over several processes.
#[derive(Args, Clone, Default)]
pub struct Split {
    /// Work only on part K of N of the hosts, such as `2/4`. A host's name says to which part it belongs.
    #[arg(long, value_name = "K/N", help_heading = "One run on several machines")]
    pub shard: Option<Shard>,
    /// The name of the run, which all its shards give: letters, digits, `-` and `_`. Without it each is a run of its own.
    #[arg(long, value_name = "NAME", value_parser = run_id, help_heading = "One run on several machines")]
    pub run_id: Option<String>,
    /// With `--shard`: begin a play whatever the one before it is at on the hosts of other shards.
    #[arg(long, requires = "shard", help_heading = "One run on several machines")]
    pub plays_overlap: bool,
}

impl Split {
    /// Says so to the engine.
    pub fn tell(self, input: &mut Input) {
        input.options.shard = self.shard;
        input.options.plays_overlap = self.plays_overlap;
        if self.run_id.is_some() {
            // On a host nobody must take two processes for one, even where both have number 1 in containers of one name.
            let mut random = [0_u8; 4];
            getrandom::fill(&mut random).expect("the system has a source of randomness");
            input.who.push_str(&format!(" key {:08x}", u32::from_ne_bytes(random)));
        }
        if let Some(shard) = self.shard {
            input.who.push_str(&format!(" shard {shard}"));
        }
        input.options.run_id = self.run_id;
    }
}

/// Whether a run can have this name: it is a folder on hosts, and a word of their shells.
pub fn is_run_id(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    text.len() <= LONGEST && text.bytes().all(fits) && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
}

fn run_id(text: &str) -> Result<String, String> {
    if is_run_id(text) {
        return Ok(text.to_owned());
    }
    Err(format!("a run is named by 1 to {LONGEST} letters, digits, `-` and `_`, the first of them a letter or digit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_schedulers_are_names_of_runs() {
        for name in ["01M8AHEERTGQRA46RMMVKFDPAR", "4711", "deploy-4711_2", "web-tier-x7k2p", &"x".repeat(64)] {
            assert!(is_run_id(name), "{name}");
        }
        for name in ["", "-x", "_x", "a.b", "a/b", "..", "a b", "a'b", "ä", "a\n", &"x".repeat(65)] {
            assert!(!is_run_id(name), "{name}");
        }
    }
}
