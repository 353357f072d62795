//! `completions` and `man`: what shells and `man` want to know of the command line.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;

#[derive(Args)]
pub struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

impl Completions {
    pub fn run(self) -> Result<u8> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut super::described(), "mutate", &mut text);
        super::say(&String::from_utf8_lossy(&text));
        Ok(0)
    }
}

#[derive(Args)]
pub struct Man {
    /// Folder for a page of each command. Left out: the page of `mutate` itself goes to stdout.
    folder: Option<PathBuf>,
}

impl Man {
    pub fn run(self) -> Result<u8> {
        let command = super::described();
        let Some(folder) = self.folder else {
            let mut text = Vec::new();
            clap_mangen::Man::new(command).render(&mut text).context("writing the page")?;
            super::say(&String::from_utf8_lossy(&text));
            return Ok(0);
        };
        std::fs::create_dir_all(&folder).and_then(|()| clap_mangen::generate_to(command, &folder)).with_context(|| format!("`{}`", folder.display()))?;
        Ok(0)
    }
}
