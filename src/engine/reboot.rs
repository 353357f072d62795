//! A host that is started again: the walk goes on when it tells another boot id, over a connection of its own.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::step::UserKey;
use super::walk::Walker;
use crate::module::Reboot;
use crate::remote::{Frame, HostFailure, Method, Verb};

const PAUSE: Duration = Duration::from_secs(1);
/// What is known of a host that is another one after a boot.
const CHANGED_FACTS: &[&str] = &["boot_id", "uptime_seconds", "kernel", "mounts", "network", "services"];

impl Walker {
    /// Waits until the host has gone and is back; else why it is not.
    pub(super) async fn wait_for_boot(&mut self, user: &UserKey, reboot: &Reboot) -> Result<(), String> {
        let end = Instant::now() + reboot.limit;
        self.hang_up().await;
        self.forget_facts(|name| CHANGED_FACTS.contains(&name));
        self.epoch += 1;
        let mut said = "it did not go down".to_owned();
        loop {
            self.rest(PAUSE).await.map_err(|_| interrupted())?;
            match timeout_at(end, self.is_back_after(user, reboot)).await {
                Ok(Ok(None)) => break,
                Ok(Ok(Some(reason))) => said = reason,
                Ok(Err(HostFailure::Interrupted)) => return Err(interrupted()),
                Ok(Err(failure)) => {
                    // Services that let nobody in yet are no reason to give up; another key is.
                    if matches!(failure, HostFailure::HostKeyUnknown { .. } | HostFailure::HostKeyChanged { .. } | HostFailure::HostKeyRevoked { .. } | HostFailure::HostCertificate { .. }) {
                        return Err(format!("after the reboot: {failure}"));
                    }
                    said = failure.to_string();
                }
                Err(_) => {}
            }
            if Instant::now() + PAUSE >= end {
                return Err(format!("the reboot was begun, but the host was not back within {} s: {said}", reboot.limit.as_secs()));
            }
        }
        if !reboot.after.is_zero() {
            self.rest(reboot.after).await.map_err(|_| interrupted())?;
        }
        Ok(())
    }

    /// One login on a connection of its own. Nothing: the host is back; else what is still missing.
    async fn is_back_after(&mut self, user: &UserKey, reboot: &Reboot) -> Result<Option<String>, HostFailure> {
        let test = reboot.test.clone().unwrap_or_default();
        let script = crate::sh!(
            "read -r _boot </proc/sys/kernel/random/boot_id || _boot=none\n\
             [ \"$_boot\" != {} ] || { echo down; exit; }\n\
             if [ -d /run/systemd/system ]; then case $(systemctl is-system-running 2>/dev/null) in initializing|starting) echo starting; exit ;; esac; fi\n\
             _test={}\n\
             [ -z \"$_test\" ] || (eval \"$_test\") >/dev/null 2>&1 || { echo test; exit; }\n\
             echo back",
            reboot.boot,
            test
        );
        let frame = Frame { seq: self.seq(), verb: Verb::Probe(script), libraries: Vec::new(), limit: Duration::from_secs(60) };
        Ok(match self.ask_anew(user, frame).await?.trim_ascii_end() {
            b"back" => None,
            b"down" => Some("it did not go down".into()),
            b"starting" => Some("systemd is still starting services".into()),
            _ => Some("`test_command` did not succeed".into()),
        })
    }

    /// Whether this machine itself would be started again, with everything that waits for it.
    pub(super) fn would_reboot_itself(&self, reboot: Option<&Reboot>) -> bool {
        reboot.is_some() && self.plan.target.method == Method::Local
    }
}

fn interrupted() -> String {
    "interrupted while the host was starting again".into()
}
