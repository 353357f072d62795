//! `systemd_unit`: a unit file or a drop-in, read by systemd, enabled and running, in one task.

use anyhow::{Context as _, Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::file::{CHANGE, Edited, LOOK, Properties, first_line};
use crate::module::{Answer, Change, Mode, Module, Question, Surroundings, Touches, Undo, Verdict, Wanted, WantedKind, diff};
use crate::remote::Library;
use crate::sh;
use crate::shell::{Pattern, Script};

/// Write a unit file or a drop-in of systemd, have systemd read it, and enable and start the unit, all in one task.
///
/// systemd reads unit files again only where one has changed; a unit that runs is restarted then, so that it runs by its new
/// file. A rollback brings back the file, whether it was enabled, and whether it ran.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SystemdUnit {
    /// Name of the unit with its kind, such as `backup.service` or `backup.timer`.
    name: String,
    /// The text of the file. Either this or `src`.
    content: Option<String>,
    /// A template on the controller, rendered as `template` does.
    src: Option<String>,
    /// Name of a drop-in, such as `limits`: the file is `NAME.d/limits.conf`, and the unit's own file stays.
    drop_in: Option<String>,
    /// `absent`: the unit is stopped, disabled, and its file removed. A drop-in is only removed.
    #[serde(default = "present")]
    state: State,
    /// Whether the unit starts when the host boots.
    enabled: Option<bool>,
    /// Restart a unit that runs when its file has changed.
    #[serde(default = "yes")]
    restart: bool,
    /// The folder of unit files.
    #[serde(default = "usual_folder")]
    folder: crate::module::Path,
    /// Permissions. Left out: 0644.
    mode: Option<Mode>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum State {
    /// The file is there; whether the unit runs is not asked.
    Present,
    /// The file is there, and the unit runs.
    Started,
    /// The file is there, and the unit does not run.
    Stopped,
    Absent,
}

fn present() -> State {
    State::Present
}

fn yes() -> bool {
    true
}

fn usual_folder() -> crate::module::Path {
    crate::module::Path::fixed("/etc/systemd/system")
}

const KINDS: [&str; 10] = ["service", "timer", "socket", "mount", "automount", "path", "target", "slice", "swap", "scope"];

impl Module for SystemdUnit {
    const NAME: &'static str = "systemd_unit";
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE];

    fn check(&self) -> Result<()> {
        let odd = |letter: char| !(letter.is_ascii_alphanumeric() || ":-_.\\@".contains(letter));
        let kind = self.name.rsplit_once('.').map_or("", |(_, kind)| kind);
        if self.name.contains(odd) || self.name.starts_with(['-', '.']) || !KINDS.contains(&kind) {
            bail!("`{}` is no name of a unit | write it with its kind, such as `backup.service`", self.name.escape_debug());
        }
        if let Some(name) = &self.drop_in
            && (name.is_empty() || name.contains(['/', '\n']) || name.starts_with('.'))
        {
            bail!("`drop_in`: `{}` is no name of a file", name.escape_debug());
        }
        match (&self.content, &self.src, self.state) {
            (Some(_), Some(_), _) => bail!("`content` and `src` exclude each other"),
            (None, None, State::Present | State::Started | State::Stopped) => bail!("what stands in the file? | give `content` or `src`"),
            (.., State::Absent) if self.enabled == Some(true) => bail!("what is absent cannot be enabled"),
            _ => Ok(()),
        }
    }

    fn wants(&self) -> Vec<Wanted> {
        self.src.iter().map(|src| Wanted { path: src.clone(), kind: WantedKind::Template }).collect()
    }

    fn touches(&self, _: &Surroundings) -> Touches {
        Touches::Service(self.name.clone())
    }

    /// `unit ACTIVE ENABLED` with `yes`, `no`, `failed` and `static`, then the file.
    fn probe(&self, around: &Surroundings) -> Question {
        let unit = sh!(
            "[ -d /run/systemd/system ] || { core_die 'this host does not run systemd, so it has no units; `cron` and `service` work on it'; exit 3; }\n\
             _a=$(systemctl is-active -- {} 2>/dev/null) _e=$(systemctl is-enabled -- {} 2>/dev/null)\n\
             case $_a in active | activating | reloading | refreshing) _a=yes ;; failed) ;; *) _a=no ;; esac\n\
             case $_e in enabled | enabled-runtime | alias) _e=yes ;; static | indirect | generated) _e=static ;; *) _e=no ;; esac\n\
             printf 'unit %s %s\\n' \"$_a\" \"$_e\"",
            self.name,
            self.name
        );
        let path = self.path(around);
        Question::Ask(unit.then(&self.edited(&path, Pattern::default()).probe()))
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let (unit, rest) = first_line(answer)?;
        let mut words = unit.split(' ').skip(1);
        let (active, enabled) = (words.next().unwrap_or("no"), words.next().unwrap_or("no"));
        let (is_active, has_failed) = (active == "yes", active == "failed");
        let path = self.path(around);
        let is_drop_in = self.drop_in.is_some();
        let wants_active = match self.state {
            State::Started => Some(true),
            State::Stopped => Some(false),
            State::Absent if !is_drop_in => Some(false),
            _ => None,
        };
        let wants_enabled = if self.state == State::Absent && !is_drop_in { Some(false) } else { self.enabled };
        let content = match (&self.content, &self.src) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(src)) => around.content(src)?.all().with_context(|| format!("`{src}` cannot be read"))?.into_owned(),
            (None, None) => Vec::new(),
        };
        let text = Text::of(&content, !is_drop_in && self.state != State::Absent);
        let before = Pattern::exactly("unit ");
        let before = match wants_active {
            // What runs once has ended by then.
            Some(true) if text.is_oneshot => before.and_anything().and(" "),
            // What has failed does not run, either.
            Some(false) if has_failed => before.and_anything().and(" "),
            Some(active) => before.and(if active { "yes " } else { "no " }),
            None => before.and_anything().and(" "),
        };
        let before = match wants_enabled {
            // What has no `[Install]` is static, and nothing of it can be enabled.
            Some(true) if !text.has_install => before.and_anything().and("\n"),
            Some(true) => before.and("yes\n"),
            // Of a unit without `[Install]` nothing can be enabled.
            Some(false) if enabled != "static" && self.state == State::Absent => before.and("no\n"),
            _ => before.and_anything().and("\n"),
        };
        let edited = self.edited(&path, before);
        let file = match self.state {
            State::Absent => edited.gone(&rest)?,
            _ => {
                // A folder for drop-ins is made on the way.
                let around = Surroundings { after_planned_changes: true, ..around.clone() };
                edited.verdict(&around, &rest, |_| Ok(content))?
            }
        };
        let is_new = rest.stdout.starts_with(b"absent");
        self.with_unit(file, &path, Steps { text, is_active, has_failed, is_enabled: enabled == "yes", wants_active, wants_enabled, is_new }, rest)
    }
}

/// What the text of a unit file says about its unit. A drop-in says nothing.
#[derive(Clone, Copy)]
struct Text {
    has_install: bool,
    is_oneshot: bool,
}

impl Text {
    fn of(bytes: &[u8], is_whole: bool) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let has = |line: &str| text.lines().any(|one| one.replace(' ', "") == line);
        Self { has_install: !is_whole || has("[Install]"), is_oneshot: is_whole && has("Type=oneshot") && !has("RemainAfterExit=yes") }
    }
}

/// What there is of the unit, and what is wanted.
struct Steps {
    text: Text,
    is_active: bool,
    has_failed: bool,
    is_enabled: bool,
    wants_active: Option<bool>,
    wants_enabled: Option<bool>,
    is_new: bool,
}

impl SystemdUnit {

    fn path(&self, around: &Surroundings) -> String {
        let folder = around.absolute(&self.folder);
        match &self.drop_in {
            Some(name) => format!("{folder}/{}.d/{}.conf", self.name, name.strip_suffix(".conf").unwrap_or(name)),
            None => format!("{folder}/{}", self.name),
        }
    }

    fn edited<'a>(&'a self, path: &'a str, before: Pattern) -> Edited<'a> {
        let properties = Properties { mode: self.mode.as_ref(), ..Properties::default() };
        Edited { create: true, before, ..Edited::new(path, properties) }
    }

    fn systemctl(&self, verb: &str) -> Script {
        let failed = format!("systemctl {verb} {} failed; `systemctl status {}` and `journalctl -u {}` on the host tell more", self.name, self.name, self.name);
        match verb {
            "daemon-reload" => sh!("systemctl daemon-reload || { core_say 'systemd could not read its unit files again'; exit 1; }"),
            // A service may die right after its start, and systemd says nothing about that.
            "start" | "restart" if self.name.ends_with(".service") => sh!(
                "systemctl -q {} -- {} && sleep 1 && ! systemctl -q is-failed -- {} || { core_say {}; exit 1; }",
                Script::raw(verb), self.name, self.name, failed
            ),
            _ => sh!("systemctl -q {} -- {} || { core_say {}; exit 1; }", Script::raw(verb), self.name, failed),
        }
    }

    fn with_unit(&self, file: Verdict, path: &str, steps: Steps, rest: Answer) -> Result<Verdict> {
        let (mut first, mut last, mut back_first, mut back_last) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut shown = Vec::new();
        let is_file_changed = matches!(file, Verdict::Differs(_));
        let is_going = self.state == State::Absent;
        let word = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        let can_be_enabled = steps.text.has_install;
        if let Some(wanted) = steps.wants_enabled.filter(|wanted| *wanted != steps.is_enabled && !(is_going && steps.is_new) && (can_be_enabled || !wanted)) {
            // What goes away is disabled while systemd still knows it.
            if is_going { first.push("disable") } else { last.push(if wanted { "enable" } else { "disable" }) }
            if wanted { back_first.push("disable") } else { back_last.push("enable") }
            shown.push(("enabled", word(steps.is_enabled), word(wanted)));
        }
        match steps.wants_active {
            // It has run when its file came; the next time is a timer's, or somebody's.
            Some(true) if steps.text.is_oneshot && !is_file_changed && !steps.has_failed => {}
            Some(wanted) if wanted != steps.is_active => {
                if is_going { first.push("stop") } else { last.push(if wanted { "start" } else { "stop" }) }
                if wanted { back_first.push("stop") } else { back_last.push("start") }
                shown.push(("running", word(steps.is_active), word(wanted)));
            }
            _ if is_file_changed && steps.is_active && self.restart && (!is_going || self.drop_in.is_some()) => {
                last.push("restart");
                back_last.push("restart");
                shown.push(("restarted", "no".into(), "yes".into()));
            }
            _ => {}
        }
        let all = |verbs: &[&str]| verbs.iter().fold(Script::default(), |script, verb| script.then(&self.systemctl(verb)));
        match file {
            Verdict::InPlace(report) if first.is_empty() && last.is_empty() => Ok(Verdict::InPlace(report)),
            Verdict::InPlace(_) => {
                let expect = self.expected(&steps).and(rest.stdout);
                let side = |pick: fn(&(&str, String, String)) -> String| shown.iter().map(pick).collect::<Vec<_>>().join(", ");
                let (from, to) = (side(|one| format!("{} {}", one.0, one.1)), side(|one| format!("{} {}", one.0, one.2)));
                let mut change = Change::new(from, to, all(&first).then(&all(&last)), expect, Undo::Run(all(&back_first).then(&all(&back_last))));
                change.apply.group = true;
                change.diff = diff::properties(&format!("the unit {}", self.name), &shown);
                Ok(Verdict::differs(change))
            }
            Verdict::Differs(mut change) => {
                let reload = self.systemctl("daemon-reload");
                let folder = String::from_utf8_lossy(super::file::folder_of(path.as_bytes())).into_owned();
                let (make, unmake) = match &self.drop_in {
                    Some(_) if !is_going => (sh!("[ -d {} ] || file_dir {} 0755 - - || exit", folder, folder), sh!("rmdir -- {} 2>/dev/null || :", folder)),
                    _ => (Script::default(), Script::default()),
                };
                change.apply.script = make.then(&all(&first)).then(&sh!("{} || exit", change.apply.script)).then(&reload).then(&all(&last));
                change.apply.group = true;
                let back = |script: &Script| all(&back_first).then(&sh!("{} || exit", script));
                let tail = unmake.then(&reload).then(&all(&back_last));
                change.undo = match change.undo {
                    Undo::Run(script) => Undo::Run(back(&script).then(&tail)),
                    Undo::Restore(script) => Undo::Restore(sh!("unit_back() { {}\n{}\n}; unit_back", back(&sh!("{} \"$1\"", script)), tail)),
                    other => other,
                };
                if !shown.is_empty() {
                    change.diff.push_str(&diff::properties(&format!("the unit {}", self.name), &shown));
                }
                Ok(Verdict::Differs(change))
            }
        }
    }

    /// The first line afterwards, where the file stays as it is.
    fn expected(&self, steps: &Steps) -> Pattern {
        let word = |wanted: Option<bool>, now: bool| if wanted.unwrap_or(now) { "yes" } else { "no" };
        let pattern = match steps.wants_active {
            Some(true) if steps.text.is_oneshot => Pattern::exactly("unit ").and_anything().and(" "),
            Some(false) if steps.has_failed => Pattern::exactly("unit ").and_anything().and(" "),
            wanted => Pattern::exactly(format!("unit {} ", word(wanted, steps.is_active))),
        };
        match steps.wants_enabled {
            Some(true) if steps.text.has_install => pattern.and("yes\n"),
            _ => pattern.and_anything().and("\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SystemdUnit;
    use crate::module::testing::{problems, verdict};

    const ARGUMENTS: &str = "name = 'a.service'\ncontent = \"x\\n[Install]\\n\"\nstate = 'started'\nenabled = true";

    #[test]
    fn a_new_unit_is_read_enabled_and_started() {
        let text = verdict::<SystemdUnit>(ARGUMENTS, 0, "unit no no\nabsent\n");
        let places: Vec<Option<usize>> = ["file_put '/etc/systemd/system/a.service'", "systemctl daemon-reload", "systemctl -q enable", "systemctl -q start"].iter().map(|part| text.find(part)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{text}");
        let undo = text.rsplit("undo").next().expect("an undo");
        let places: Vec<Option<usize>> = ["systemctl -q disable", "systemctl -q stop", "file_absent", "daemon-reload"].iter().map(|part| undo.find(part)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{undo}");
    }

    #[test]
    fn a_changed_file_restarts_what_runs() {
        let text = verdict::<SystemdUnit>(ARGUMENTS, 0, "unit yes yes\nfile 0644 0 0 root root 1 2 ab\ncontent\ny\n");
        assert!(text.contains("systemctl -q restart") && !text.contains("systemctl -q enable"), "{text}");
        let same = crate::module::Content::new(b"x\n[Install]\n".to_vec());
        let same = same.sha256();
        assert_eq!(verdict::<SystemdUnit>(ARGUMENTS, 0, &format!("unit yes yes\nfile 0644 0 0 root root 1 12 {same}\ncontent\nx\n[Install]\n")), "in place");
    }

    #[test]
    fn a_drop_in_lies_in_a_folder_of_the_unit() {
        let text = verdict::<SystemdUnit>("name = 'a.service'\ndrop_in = 'limits'\ncontent = 'x'", 0, "unit no static\nabsent\n");
        assert!(text.contains("file_dir '/etc/systemd/system/a.service.d' 0755") && text.contains("/a.service.d/limits.conf"), "{text}");
        assert!(problems::<SystemdUnit>("name = 'a'\ncontent = 'x'").contains("is no name of a unit"));
    }
}
