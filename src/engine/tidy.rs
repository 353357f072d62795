//! The lock of a host is given back, after what old runs have left there has been cleared away.

use super::walk::Walker;
use crate::remote::Library;

pub static LIBRARY: Library = Library { name: "tidy", text: include_str!("tidy.sh") };

/// What a host keeps where the inventory says nothing.
const DAYS: u32 = 90;
const RUNS: u32 = 200;
const MEBIBYTES: u32 = 1024;

impl Walker {
    /// Gives back the lock, where it is held. Nobody waits for what is cleared away.
    pub(super) async fn release(&mut self) {
        let settings = &self.plan.settings;
        let kibibytes = u64::from(settings.keep_mb.unwrap_or(MEBIBYTES)) * 1024;
        let script = crate::sh!("tidy_old {} {} {}", settings.keep_days.unwrap_or(DAYS), settings.keep_runs.unwrap_or(RUNS), kibibytes);
        for shell in self.shells.values_mut() {
            shell.unlock(&LIBRARY, &script).await;
        }
    }
}
