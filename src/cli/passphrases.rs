//! Passphrases of keys that a run will need, asked for once and before it begins.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};

use crate::engine::{HostPlan, Input};
use crate::remote::{Route, Target, usual_keys};
use crate::secret::Secret;

/// Asks on the terminal for the passphrases of keys that were named and that no agent has open. Where there is no
/// terminal nothing is asked, and the login says what is missing.
///
/// # Errors
/// When the terminal cannot be read.
pub fn ask<'a>(input: &Input, plans: impl Iterator<Item = &'a HostPlan>) -> Result<()> {
    use std::io::IsTerminal as _;
    if !super::stderr_is_terminal() || !std::io::stdin().is_terminal() {
        return Ok(());
    }
    let mut named = BTreeSet::new();
    let mut any_usual = false;
    for plan in plans.filter(|plan| plan.target.method == crate::remote::Method::Ssh) {
        let mut target: &Target = &plan.target;
        loop {
            any_usual |= target.identity.keys.is_empty() && target.identity.password.is_none();
            named.extend(target.identity.keys.iter().cloned());
            match &target.route {
                Route::Through(jump) => target = jump,
                _ => break,
            }
        }
    }
    let has_agent = std::env::var_os("SSH_AUTH_SOCK").is_some_and(|path| !path.is_empty());
    // As with ssh: without an agent there is nothing but the files.
    if any_usual && !has_agent {
        let usual = usual_keys();
        if usual.iter().all(|path| input.reach.keyring.is_locked(path)) {
            named.extend(usual.into_iter().take(1));
        }
    }
    for path in named {
        if !input.reach.keyring.is_locked(&path) || has_agent && is_in_agent(&path) {
            continue;
        }
        let passphrase = rpassword::prompt_password(format!("passphrase for the key {}: ", path.display())).context("asking for the passphrase")?;
        if !passphrase.is_empty() {
            input.reach.keyring.unlock(&path, Secret::new(passphrase));
        }
    }
    Ok(())
}

/// Whether the agent holds the key whose public half lies beside the file.
fn is_in_agent(path: &std::path::Path) -> bool {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return false };
    runtime.block_on(crate::remote::agent_has(path))
}
