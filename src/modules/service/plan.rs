//! What has to be done to a service, and what takes it back, one property after the other.

use anyhow::{Result, bail};

use super::{Service, State};
use crate::module::Answer;

/// A service as the host has it. The words are those of `service_look`.
pub struct Seen<'a> {
    pub init: &'a str,
    pub unit: &'a str,
    load: &'a str,
    active: &'a str,
    enabled: &'a str,
    masked: &'a str,
    reload: &'a str,
    kind: &'a str,
    stale: &'a str,
}

impl<'a> Seen<'a> {
    /// # Errors
    /// When a line is missing in the answer.
    pub fn of(text: &'a str) -> Result<Self> {
        let value = |word: &str| Answer::field(text, word).ok_or_else(|| anyhow::anyhow!("the answer of the host has no line `{word}`"));
        Ok(Self {
            init: value("init")?,
            unit: value("unit")?,
            load: value("load")?,
            active: value("active")?,
            enabled: value("enabled")?,
            masked: value("masked")?,
            reload: value("reload")?,
            kind: value("kind")?,
            stale: value("stale")?,
        })
    }

    fn exists(&self) -> bool {
        ["loaded", "masked"].contains(&self.load)
    }
}

/// What has to be done.
#[derive(Default)]
pub struct Plan {
    /// Words for `service_apply`; it finds the right order by itself.
    pub actions: Vec<String>,
    pub undo: Vec<String>,
    /// What `undo` does not bring back.
    pub losses: Vec<&'static str>,
    /// Property, before, after.
    pub shown: Vec<(&'static str, String, String)>,
    /// For the user, such as why nothing had to be done.
    pub notes: Vec<String>,
    pub after: After,
}

/// What the answer must be afterwards; `None` where nothing is asked.
#[derive(Default)]
pub struct After {
    pub active: Option<&'static str>,
    pub enabled: Option<&'static str>,
    pub masked: Option<&'static str>,
    pub stale: Option<&'static str>,
}

impl Plan {
    fn act(&mut self, action: &str, undo: &str, shown: (&'static str, &str, &str)) {
        self.actions.push(action.to_owned());
        self.undo.push(undo.to_owned());
        self.shown.push((shown.0, shown.1.to_owned(), shown.2.to_owned()));
    }
}

impl Service {
    /// # Errors
    /// What this host cannot do.
    pub(super) fn plan(&self, name: &str, seen: &Seen) -> Result<Plan> {
        let mut plan = Plan::default();
        if self.daemon_reload {
            plan.after.stale = Some("no");
            if seen.stale == "yes" {
                plan.act("daemon-reload", "daemon-reload", ("unit file", "changed on disk", "read again"));
            }
        }
        self.plan_mask(name, seen, &mut plan)?;
        self.plan_boot(name, seen, &mut plan)?;
        self.plan_state(name, seen, &mut plan)?;
        if !seen.exists() && self.masked != Some(true) {
            plan.notes.push(format!("there is no service {name} on this host"));
        }
        Ok(plan)
    }

    fn plan_mask(&self, name: &str, seen: &Seen, plan: &mut Plan) -> Result<()> {
        match (self.masked, seen.masked) {
            (Some(true), _) if seen.init != "systemd" => {
                bail!("only systemd can mask a service, and this host has {}: use enabled = false for {name}", seen.init)
            }
            (Some(true), before) => {
                plan.after.masked = Some("yes");
                if before != "yes" {
                    plan.act("mask", "unmask", ("masked", before, "yes"));
                }
                if before == "runtime" {
                    plan.losses.push("the mask that was to last until the next boot is lost");
                }
            }
            (Some(false), before) => {
                plan.after.masked = Some("no");
                if before != "no" {
                    plan.act("unmask", "mask", ("masked", before, "no"));
                }
                if before == "runtime" {
                    plan.losses.push("the mask comes back for good, not only until the next boot");
                }
            }
            (None, "no") => {}
            (None, _) if self.state.is_some_and(|state| state != State::Stopped) => {
                bail!("the service {name} is masked, so it cannot be started: add masked = false")
            }
            (None, _) if self.enabled == Some(true) => {
                bail!("the service {name} is masked, so it cannot be enabled: add masked = false")
            }
            (None, _) => {}
        }
        Ok(())
    }

    fn plan_boot(&self, name: &str, seen: &Seen, plan: &mut Plan) -> Result<()> {
        // What cannot be enabled or disabled, since something else decides on it.
        const FIXED: [&str; 5] = ["static", "indirect", "generated", "transient", "alias"];
        let before = seen.enabled;
        let is_on = before == "yes" || before.starts_with("yes ");
        match self.enabled {
            None => {}
            Some(false) if seen.init == "inittab" => {
                bail!("the service {name} is kept running by init: remove its line from /etc/inittab")
            }
            Some(wanted) if FIXED.contains(&before) => {
                let verb = if wanted { "enabled" } else { "disabled" };
                plan.notes.push(format!("{} is {before}, so there is nothing to be {verb}", seen.unit));
            }
            Some(true) => {
                plan.after.enabled = Some("yes");
                if before == "runtime" {
                    plan.losses.push("the service stays disabled, which before was enabled until the next boot");
                }
                if !is_on {
                    plan.actions.push("enable".to_owned());
                    plan.shown.push(("enabled", before.to_owned(), "yes".to_owned()));
                    // What was under a mask cannot be seen; the way back is the mask itself.
                    if before != "masked" {
                        plan.undo.push("disable".to_owned());
                    }
                }
            }
            Some(false) if self.masked == Some(true) && seen.exists() && is_on => {
                plan.after.enabled = Some("masked");
                plan.act("disable", "enable", ("enabled", before, "no"));
            }
            Some(false) if self.masked == Some(true) => plan.after.enabled = Some("masked"),
            Some(false) if before == "masked" && self.masked == Some(false) => {
                plan.after.enabled = Some("no");
                plan.actions.push("disable".to_owned());
                plan.shown.push(("enabled", before.to_owned(), "no".to_owned()));
            }
            Some(false) if !is_on && before != "runtime" => {}
            Some(false) => {
                plan.after.enabled = Some("no");
                let levels = before.strip_prefix("yes ").map(|levels| levels.replace(' ', ","));
                let undo = levels.map_or_else(|| "enable".to_owned(), |levels| format!("enable={levels}"));
                plan.act("disable", &undo, ("enabled", before, "no"));
                if before == "runtime" {
                    plan.losses.push("the service comes back enabled for good, not only until the next boot");
                }
            }
        }
        if self.masked == Some(true) {
            plan.after.enabled = Some("masked");
        }
        Ok(())
    }

    fn plan_state(&self, name: &str, seen: &Seen, plan: &mut Plan) -> Result<()> {
        let Some(state) = self.state else { return Ok(()) };
        let was_down = ["inactive", "failed"].contains(&seen.active);
        if state == State::Stopped {
            if seen.init == "inittab" {
                bail!("the service {name} is kept running by init: remove its line from /etc/inittab");
            }
            if !was_down {
                plan.after.active = Some("inactive");
                plan.act("stop", "start", ("state", seen.active, "inactive"));
            }
            return Ok(());
        }
        if state == State::Reloaded && seen.reload == "no" {
            bail!("the service {name} cannot reload its configuration: use state = \"restarted\"");
        }
        // A oneshot is not active any more once it has run.
        let is_oneshot = seen.kind == "oneshot";
        plan.after.active = Some(if is_oneshot { "inactive" } else { "active" });
        let (action, past) = match state {
            State::Started if seen.active == "active" && !is_oneshot => return Ok(()),
            State::Restarted => ("restart", "restarted"),
            State::Reloaded if seen.active == "active" => ("reload", "reloaded"),
            _ => ("start", "started"),
        };
        // What ran before has to run with what a rollback has brought back.
        let undo = match action {
            _ if was_down => "stop",
            "reload" => "reload",
            _ => "restart",
        };
        if is_oneshot {
            plan.losses.push("what the service did when it ran stays");
        }
        if seen.active == "failed" {
            plan.losses.push("the service had failed before, and is only stopped afterwards");
        }
        plan.act(action, undo, ("state", seen.active, past));
        Ok(())
    }
}
