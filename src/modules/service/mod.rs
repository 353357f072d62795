//! `service`: a service runs or not, now and after a boot.
//!
//! Here are the parameters; [`plan`] decides what has to be done for each of them.

mod plan;
#[cfg(test)]
mod tests;

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::module::{Answer, Change, Module, Question, Report, Surroundings, Touches, Undo, Verdict, diff};
use crate::remote::Library;
use crate::sh;
use crate::shell::{Pattern, Script};
use plan::{Plan, Seen};

/// Questions about services, alone and together with others.
pub static LOOK: Library = Library { name: "service_look", text: concat!(include_str!("look.sh"), include_str!("look_scripts.sh"), include_str!("ask.sh")) };
static CHANGE: Library = Library { name: "service_change", text: include_str!("change.sh") };

/// Start, stop, restart, reload, enable, disable or mask a service.
///
/// Works with systemd, OpenRC, scripts in `/etc/init.d` and the lines of BusyBox's init in `/etc/inittab`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Name of the service, such as `nginx`. With systemd it may also be a unit of another kind, such as `backup.timer`.
    #[serde(alias = "unit")]
    name: Option<String>,
    /// `started` and `stopped` act only where it is not so yet. `restarted` and `reloaded` always act, which suits handlers;
    /// a service that does not run is started by both.
    state: Option<State>,
    /// Whether the service starts when the host boots.
    enabled: Option<bool>,
    /// Whether the service is masked, so that nothing can start it (systemd only).
    masked: Option<bool>,
    /// Let systemd read unit files again if they have changed on disk, before anything else. Without `name`: all unit files.
    #[serde(default)]
    daemon_reload: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum State {
    Started,
    Stopped,
    Restarted,
    Reloaded,
}

impl Module for Service {
    const NAME: &'static str = "service";
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE];

    fn check(&self) -> Result<()> {
        let asks = self.state.is_some() || self.enabled.is_some() || self.masked.is_some();
        match &self.name {
            None if asks => bail!("`name` is missing | only `daemon_reload` can stand alone"),
            None if !self.daemon_reload => bail!("there is nothing to do | set `name`, and `state` or `enabled`"),
            Some(name) if !asks && !self.daemon_reload => {
                bail!("nothing is said about `{name}` | set `state`, `enabled`, `masked` or `daemon_reload`")
            }
            Some(name) if name.contains('/') => bail!("a service is given by its name, not by a path | write `nginx`"),
            _ => {}
        }
        if self.masked == Some(true) && self.is_wanted() {
            bail!("a masked service can neither run nor be enabled | take `masked` out, or write state = \"stopped\"");
        }
        Ok(())
    }

    fn touches(&self, _: &Surroundings) -> Touches {
        self.name.clone().map_or(Touches::Nothing, Touches::Service)
    }

    fn probe(&self, _: &Surroundings) -> Question {
        let Some(name) = &self.name else { return Question::Ask(sh!("service_stale")) };
        let mut words = vec!["service_look", name];
        // What is not there is not running, and can be masked.
        if !self.is_wanted() {
            words.push("absent-ok");
        }
        if self.state.is_none() {
            words.push("unknown-ok");
        }
        if self.daemon_reload {
            words.push("reread");
        }
        Question::Ask(Script::call(words))
    }

    fn compare(&self, _: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let text = answer.text()?;
        let Some(name) = &self.name else { return Ok(rereading(text)) };
        let seen = Seen::of(text)?;
        let plan = self.plan(name, &seen)?;
        let report = Report::message(plan.notes.join("; "));
        if plan.actions.is_empty() {
            return Ok(Verdict::InPlace(report));
        }
        let call = |actions: &[String]| {
            Script::call(["service_apply", name.as_str()].into_iter().chain(actions.iter().map(String::as_str)))
        };
        let back = call(&plan.undo);
        let undo = if plan.losses.is_empty() { Undo::Run(back) } else { Undo::BestEffort(back, plan.losses.join("; ")) };
        let side = |pick: for<'a> fn(&'a (&'static str, String, String)) -> &'a String| {
            plan.shown.iter().map(|one| format!("{} {}", one.0, pick(one))).collect::<Vec<_>>().join(", ")
        };
        let (from, to) = (side(|one| &one.1), side(|one| &one.2));
        let mut change = Change::new(from, to, call(&plan.actions), expected(&seen, &plan), undo);
        change.apply.group = true;
        change.diff = diff::properties(&format!("the service {}", seen.unit), &plan.shown);
        change.report = report;
        Ok(Verdict::differs(change))
    }
}

impl Service {
    /// Whether there has to be such a service.
    fn is_wanted(&self) -> bool {
        let only_rereads = self.state.is_none() && self.enabled.is_none() && self.masked.is_none();
        self.state.is_some_and(|state| state != State::Stopped) || self.enabled == Some(true) || only_rereads
    }
}

/// The verdict on all unit files at once.
fn rereading(text: &str) -> Verdict {
    if Answer::field(text, "stale") == Some("no") {
        return Verdict::in_place();
    }
    let expect = Pattern::exactly("stale no\n");
    // A rollback brings the files back, and then systemd has to read them once more.
    let mut change = Change::new("stale", "reread", sh!("service_reread"), expect, Undo::Run(sh!("service_reread")));
    change.apply.group = true;
    change.diff = diff::properties("unit files", &[("read again", "no".to_owned(), "yes".to_owned())]);
    Verdict::differs(change)
}

/// The answer after a change: exact where the task says something, anything elsewhere.
fn expected(seen: &Seen, plan: &Plan) -> Pattern {
    let lines = [
        ("init", Some(seen.init)),
        ("unit", None),
        ("load", plan.after.masked.filter(|masked| *masked == "yes").map(|_| "masked")),
        ("active", plan.after.active),
        ("enabled", plan.after.enabled),
        ("masked", plan.after.masked),
        ("reload", None),
        ("kind", None),
        ("stale", plan.after.stale),
    ];
    lines.into_iter().fold(Pattern::default(), |pattern, (word, value)| {
        let pattern = pattern.and(format!("{word} {}", value.unwrap_or_default()));
        // OpenRC tells its runlevels after the yes.
        let pattern = if value.is_none() || (word == "enabled" && value == Some("yes")) { pattern.and_anything() } else { pattern };
        pattern.and("\n")
    })
}
