//! `alternatives`: which of several programs a name stands for.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::account::Lines;
use crate::module::{Answer, Change, Module, Path, Question, Surroundings, Undo, Verdict, diff};
use crate::sh;
use crate::shell::{Pattern, Script};

/// Choose which program a generic name stands for, such as `editor` or `java`, by the system's alternatives.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alternatives {
    /// The generic name.
    name: String,
    /// The program that it stands for.
    path: Path,
    /// The generic path, such as `/usr/bin/editor`; needed where the system does not know the name yet.
    link: Option<Path>,
    /// How good the program is, where it is added.
    #[serde(default = "fifty")]
    priority: i64,
    /// `selected`: the name stands for it. `present`: it can be chosen. `auto`: the system chooses the best one. `absent`: it
    /// cannot be chosen.
    #[serde(default)]
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum State {
    #[default]
    Selected,
    Present,
    Auto,
    Absent,
}

fn fifty() -> i64 {
    50
}

impl Module for Alternatives {
    const NAME: &'static str = "alternatives";

    fn check(&self) -> Result<()> {
        if self.name.is_empty() || self.name.contains(['/', ' ', '\n']) || self.name.starts_with('-') {
            bail!("`{}` is no generic name | such as `editor`; the path goes into `link`", self.name.escape_debug());
        }
        Ok(())
    }

    /// Lines `tool`, `mode` (auto, manual, none), `value` (the present choice), `link`, `has` (the priority of the program, or `-`).
    fn probe(&self, around: &Surroundings) -> Question {
        let path = around.absolute(&self.path);
        Question::Ask(sh!(
            "if command -v update-alternatives >/dev/null 2>&1; then _t=update-alternatives; elif command -v alternatives >/dev/null 2>&1; then _t=alternatives; \
             else core_die 'this host has no alternatives; make a link with `file`'; exit 3; fi\n\
             _m=none _v=- _l=- _h=-\n\
             _q=$($_t --query {} 2>/dev/null) && {\n_a=''\n\
             _r=$(printf '%s\\n' \"$_q\" | while IFS= read -r _x; do case $_x in \
             'Status: '*) echo \"m ${_x#Status: }\" ;; 'Value: '*) echo \"v ${_x#Value: }\" ;; 'Link: '*) echo \"l ${_x#Link: }\" ;; \
             'Alternative: '*) _a=${_x#Alternative: } ;; 'Priority: '*) [ \"$_a\" != {} ] || echo \"h ${_x#Priority: }\" ;; esac; done)\n\
             IFS=$n; for _x in $_r; do case $_x in 'm '*) _m=${_x#??} ;; 'v '*) _v=${_x#??} ;; 'l '*) _l=${_x#??} ;; 'h '*) _h=${_x#??} ;; esac; done; IFS=\" $t$n\"\n}\n\
             [ -e {} ] && _e=yes || _e=no\n\
             printf 'tool %s\\nmode %s\\nvalue %s\\nlink %s\\nhas %s\\nthere %s\\n' \"$_t\" \"$_m\" \"$_v\" \"$_l\" \"$_h\" \"$_e\"",
            self.name,
            path,
            path
        ))
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let path = around.absolute(&self.path);
        let lines = Lines::of(answer)?;
        let (tool, mode, value, link, has) = (lines.value("tool")?, lines.value("mode")?, lines.value("value")?, lines.value("link")?, lines.value("has")?);
        let tool = Script::raw(tool);
        let wanted_link = self.link.as_ref().map(|link| around.absolute(link));
        let is_known = has != "-";
        let (mut apply, mut undo) = (Script::default(), Script::default());
        let run = |script: &Script, what: &str| sh!("{} >/dev/null || { core_say {}; exit 1; }", script, what.to_owned());
        let removal = run(&sh!("{} --remove {} {}", tool, self.name, path), "the alternative cannot be removed");
        let failed = format!("{path} cannot be made an alternative of {}", self.name);
        let mut shown = Vec::new();
        if self.state == State::Absent {
            if !is_known {
                return Ok(Verdict::in_place());
            }
            apply = apply.then(&removal);
            undo = undo.then(&run(&sh!("{} --install {} {} {} {}", tool, link, self.name, path, has), &failed));
            shown.push(("alternative", path.clone(), "-".to_owned()));
        } else {
            if lines.value("there")? == "no" && !around.after_planned_changes {
                bail!("`{path}` does not exist, so nothing can stand for it");
            }
            if !is_known {
                let Some(place) = wanted_link.as_deref().or((link != "-").then_some(link)) else {
                    bail!("this host does not know `{}` yet; set `link` to its path, such as `/usr/bin/{}`", self.name, self.name);
                };
                apply = apply.then(&run(&sh!("{} --install {} {} {} {}", tool, place, self.name, path, self.priority.to_string()), &failed));
                undo = removal.then(&undo);
                shown.push(("alternative", "-".to_owned(), path.clone()));
            }
            match self.state {
                State::Selected if value != path || mode == "auto" => {
                    apply = apply.then(&run(&sh!("{} --set {} {}", tool, self.name, path), &failed));
                    shown.push(("choice", format!("{value} ({mode})"), path.clone()));
                }
                State::Auto if mode != "auto" => {
                    apply = apply.then(&run(&sh!("{} --auto {}", tool, self.name), &failed));
                    shown.push(("choice", format!("{value} ({mode})"), "auto".to_owned()));
                }
                _ => {}
            }
        }
        if shown.is_empty() {
            return Ok(Verdict::in_place());
        }
        // The former choice comes back as it was made: by the system, or by somebody.
        let before = match mode {
            "none" => Script::default(),
            "auto" => sh!("{} --auto {} >/dev/null", tool, self.name),
            _ => sh!("{} --set {} {} >/dev/null", tool, self.name, value),
        };
        let undo = undo.then(&before);
        let expect = match self.state {
            State::Selected => Pattern::exactly(format!("tool {tool}\nmode manual\nvalue {path}\nlink ")).and_anything(),
            State::Auto => Pattern::exactly(format!("tool {tool}\nmode auto\nvalue ")).and_anything(),
            State::Absent => Pattern::exactly(format!("tool {tool}\n")).and_anything().and("\nhas -\n").and_anything(),
            State::Present => Pattern::exactly(format!("tool {tool}\n")).and_anything(),
        };
        let from = shown.iter().map(|one| one.1.as_str()).collect::<Vec<_>>().join(", ");
        let to = shown.iter().map(|one| one.2.as_str()).collect::<Vec<_>>().join(", ");
        let mut change = Change::new(from, to, apply, expect, Undo::Run(undo));
        change.apply.group = true;
        change.diff = diff::properties(&format!("the alternative {}", self.name), &shown);
        Ok(Verdict::differs(change))
    }
}

#[cfg(test)]
mod tests {
    use super::Alternatives;
    use crate::module::testing::{problems, verdict};

    #[test]
    fn a_program_is_added_and_chosen() {
        let answer = "tool update-alternatives\nmode auto\nvalue /bin/nano\nlink /usr/bin/editor\nhas -\nthere yes\n";
        let text = verdict::<Alternatives>("name = 'editor'\npath = '/usr/bin/vim'", 0, answer);
        assert!(text.contains("--install '/usr/bin/editor' 'editor' '/usr/bin/vim' '50'") && text.contains("--set 'editor' '/usr/bin/vim'") && text.ends_with("update-alternatives --auto 'editor' >/dev/null"), "{text}");
        let chosen = "tool update-alternatives\nmode manual\nvalue /usr/bin/vim\nlink /usr/bin/editor\nhas 50\nthere yes\n";
        assert_eq!(verdict::<Alternatives>("name = 'editor'\npath = '/usr/bin/vim'", 0, chosen), "in place");
        assert!(verdict::<Alternatives>("name = 'x'\npath = '/y'", 0, "tool update-alternatives\nmode none\nvalue -\nlink -\nhas -\nthere yes\n").contains("set `link`"));
        assert!(problems::<Alternatives>("name = '/usr/bin/x'\npath = '/y'").contains("is no generic name"));
    }
}
