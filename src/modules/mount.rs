//! `mount`: a file system is mounted, now and after a boot.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use super::file::{CHANGE, Edited, LOOK, Live, Properties, first_line};
use super::text::{Line, add_line, lines_of, push};
use crate::module::{Answer, Change, Effect, Module, Path, Question, Surroundings, Touches, Undo, Verdict};
use crate::remote::Library;
use crate::sh;
use crate::shell::Pattern;

/// Mount a file system, now and after every boot, or not any more.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Where it is mounted.
    #[serde(alias = "name")]
    path: Path,
    /// What is mounted: a device, `UUID=…`, `LABEL=…`, `host:/export`, or a word such as `tmpfs`.
    src: Option<String>,
    /// Kind of file system, such as `ext4`, `xfs`, `nfs`, `tmpfs`, `none`.
    fstype: Option<String>,
    /// Options, parted by commas.
    #[serde(default = "defaults")]
    opts: String,
    /// `mounted`: it is in fstab, and mounted; a missing folder is made. `present`: it is in fstab; `ephemeral`: it is mounted, and fstab
    /// stays as it is. `unmounted`: it is not mounted, and fstab stays as it is. `absent`: neither; the folder stays. `remounted`: it is mounted once more
    /// with the options of fstab, every time.
    state: State,
    /// Fifth field of fstab.
    #[serde(default)]
    dump: u8,
    /// Sixth field of fstab: the order in which it is checked at boot.
    #[serde(default)]
    passno: u8,
    /// The file.
    #[serde(default = "usual_file")]
    fstab: Path,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum State {
    Mounted,
    Present,
    Ephemeral,
    Unmounted,
    Absent,
    Remounted,
}

fn defaults() -> String {
    "defaults".into()
}

fn usual_file() -> Path {
    Path::fixed("/etc/fstab")
}

impl Module for Mount {
    const NAME: &'static str = "mount";
    const PROBE_LIBRARIES: &'static [&'static Library] = &[&LOOK];
    const APPLY_LIBRARIES: &'static [&'static Library] = &[&CHANGE];

    fn check(&self) -> Result<()> {
        if self.is_wanted() {
            if self.src.as_ref().is_none_or(String::is_empty) {
                bail!("what is to be mounted? | set `src`");
            }
            if self.fstype.as_ref().is_none_or(String::is_empty) {
                bail!("`fstype` is missing | such as `ext4`, `nfs`, `tmpfs`, or `none` for a bind mount");
            }
        }
        for (key, text) in [("src", self.src.as_deref()), ("fstype", self.fstype.as_deref()), ("opts", Some(self.opts.as_str()))] {
            if key == "fstype" && text.is_some_and(|text| text.contains(char::is_whitespace)) {
                bail!("`fstype` is one word");
            }
            if text.is_some_and(|text| text.contains(['\n', '#']) || text.starts_with('-')) {
                bail!("`{key}`: that cannot stand in fstab");
            }
        }
        if self.opts.is_empty() || self.opts.contains(char::is_whitespace) {
            bail!("`opts`: options are parted by commas, without blanks");
        }
        if self.path.as_str() == "/" && [State::Absent, State::Unmounted].contains(&self.state) {
            bail!("no host works without its root");
        }
        Ok(())
    }

    fn touches(&self, around: &Surroundings) -> Touches {
        Touches::Path(around.absolute(&self.fstab))
    }

    /// `mounted yes` or `no`, and `nofolder` behind it where there is none; then the file.
    fn probe(&self, around: &Surroundings) -> Question {
        let path = around.absolute(&self.path);
        // The kernel tells the place without links; what is mounted there goes to the remark, for the way back.
        let mounted = sh!(
            "_p=$(readlink -f -- {} 2>/dev/null) && _p=$(printf '%s\\n' \"$_p\" | sed 's/\\\\/\\\\134/g; s/ /\\\\040/g') || _p={}\n\
             _m=no _s=''\nwhile read -r _x _w _y _z _; do if [ \"$_w\" = \"$_p\" ]; then _m=yes _s=\"$_x $_y $_z\"; fi; done </proc/self/mounts\n\
             [ -d {} ] && _d='' || _d=' nofolder'\nprintf 'mounted %s%s\\n' \"$_m\" \"$_d\"\n\
             [ -z \"$_s\" ] || printf 'source %s\\n' \"$_s\" >&2",
            path,
            coded(&path),
            path
        );
        Question::Ask(mounted.then(&edited(&around.absolute(&self.fstab)).probe()))
    }

    fn compare(&self, around: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let path = around.absolute(&self.path);
        let (now, _) = first_line(answer)?;
        let is_mounted = now.starts_with("mounted yes");
        if self.state == State::Remounted {
            if !is_mounted {
                bail!("`{path}` is not mounted, so it cannot be mounted once more; state = \"mounted\" would do it");
            }
            let failed = format!("{path} cannot be mounted once more");
            let why = "what the options were before is not known".to_owned();
            let mut change = Change::new("mounted", "remounted", sh!("mount -o remount {} || { core_say {}; exit 1; }", path, failed), Pattern::anything(), Undo::Impossible(why));
            change.effect = Effect::Change;
            change.apply.group = true;
            return Ok(Verdict::differs(change));
        }
        let has_no_folder = now.ends_with("nofolder");
        let table = around.absolute(&self.fstab);
        let failed = |what: &str| format!("{path} cannot be {what}; what mount says stands above, the log of the kernel may say more");
        let make = sh!("[ -d {} ] || file_dir {} 0755 - - || exit", path, path);
        let source = self.src.clone().unwrap_or_default();
        // In so many words, so that it is the same by any file, and without one.
        let by = |kind: &str, options: &str, source: &str, what: &str| sh!("mount -t {} -o {} {} {} || { core_say {}; exit 1; }", kind, options, source, path, failed(what));
        let mount = make.then(&by(self.fstype.as_deref().unwrap_or_default(), &self.opts, &source, "mounted"));
        let unmount = sh!("umount {} || { core_say {}; exit 1; }", path, format!("{path} cannot be unmounted; somebody may be working in it"));
        let leave = if has_no_folder { sh!("{}\nrmdir -- {} 2>/dev/null || :", unmount, path) } else { unmount.clone() };
        let remark = String::from_utf8_lossy(&answer.remark).into_owned();
        let mounted_now: Vec<String> = Answer::field(&remark, "source").map(|words| words.split(' ').map(decoded).collect()).unwrap_or_default();
        if let ([source, kind, _], Some(wanted)) = (mounted_now.as_slice(), &self.fstype)
            && [State::Mounted, State::Ephemeral].contains(&self.state)
            && kind != wanted
            && !["none", "auto", "bind"].contains(&wanted.as_str())
            && !wanted.starts_with("nfs")
            && !kind.starts_with("fuse")
        {
            bail!("`{path}` has something else mounted: `{source}` ({kind}), and not {wanted}; unmount that first");
        }
        let again = match Answer::field(&remark, "source").map(|words| words.split(' ').map(decoded).collect::<Vec<_>>()).as_deref() {
            Some([source, kind, options]) => by(kind, options, source, "mounted again"),
            _ => sh!(":"),
        };
        let (want, set, back) = match self.state {
            State::Mounted | State::Ephemeral => (Some("mounted yes"), mount, leave),
            State::Unmounted | State::Absent => (Some(if has_no_folder { "mounted no nofolder" } else { "mounted no" }), unmount, again),
            _ => (None, mount, leave),
        };
        let live = |_: &str| Live { want: want.map(str::to_owned), set, back };
        let mut edited = edited(&table);
        let knows = |old: &[u8]| -> Result<Vec<u8>> { Ok(if [State::Ephemeral, State::Unmounted].contains(&self.state) { old.to_vec() } else { self.edit(old, &path) }) };
        if is_mounted && self.state == State::Mounted {
            edited.then = sh!("mount -o {} {} || { core_say {}; exit 1; }", format!("remount,{}", self.opts), path, failed("mounted with other options"));
            if let [_, _, options] = mounted_now.as_slice() {
                edited.then_back = Some(sh!("mount -o {} {} || { core_say {}; exit 1; }", format!("remount,{options}"), path, failed("mounted with the former options")));
            }
        }
        edited.verdict_live(around, answer, live, knows)
    }
}

fn edited(path: &str) -> Edited<'_> {
    Edited { create: true, follow: true, ..Edited::new(path, Properties::default()) }
}

/// A word of fstab and of the kernel's lists: blanks and backslashes in octal.
fn coded(word: &str) -> String {
    word.replace('\\', "\\134").replace(' ', "\\040").replace('\t', "\\011")
}

fn decoded(word: &str) -> String {
    word.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

impl Mount {
    fn is_wanted(&self) -> bool {
        matches!(self.state, State::Mounted | State::Present | State::Ephemeral)
    }

    fn edit(&self, old: &[u8], path: &str) -> Vec<u8> {
        let wanted = [coded(self.src.as_deref().unwrap_or_default()), coded(path), self.fstype.clone().unwrap_or_default(), self.opts.clone(), self.dump.to_string(), self.passno.to_string()];
        let fields = |line: &Line| -> Option<Vec<String>> {
            let text = String::from_utf8_lossy(line.text).into_owned();
            if text.trim_start().starts_with('#') {
                return None;
            }
            let mut fields: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            fields.resize(6.max(fields.len()), "0".to_owned());
            (fields[1] == coded(path)).then_some(fields)
        };
        let lines = lines_of(old);
        let last = lines.iter().rposition(|line| fields(line).is_some());
        let mut new = Vec::new();
        for (at, line) in lines.iter().enumerate() {
            match fields(line) {
                None => push(&mut new, *line),
                Some(before) if self.is_wanted() && Some(at) == last => {
                    let text = wanted.join(" ");
                    let text = if before[..6] == wanted { line.text } else { text.as_bytes() };
                    push(&mut new, Line { text, ending: line.ending });
                }
                Some(_) => {}
            }
        }
        if self.is_wanted() && last.is_none() {
            add_line(&mut new, &wanted.join(" "));
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::Mount;
    use crate::module::testing::{module, problems, verdict};

    fn made(arguments: &str, old: &str) -> String {
        let module: Mount = module(&format!("path = '/srv/a b'\n{arguments}"));
        let new = module.edit(old.as_bytes(), "/srv/a b");
        assert_eq!(module.edit(&new, "/srv/a b"), new, "a second time");
        String::from_utf8_lossy(&new).into_owned()
    }

    #[test]
    fn a_line_of_fstab_comes_changes_and_goes() {
        assert_eq!(made("src = 'tmpfs'\nfstype = 'tmpfs'\nstate = 'present'", "# x\n"), "# x\ntmpfs /srv/a\\040b tmpfs defaults 0 0\n");
        assert_eq!(made("src = '/dev/sda1'\nfstype = 'ext4'\nopts = 'noatime'\npassno = 2\nstate = 'present'", "/dev/sda1 /srv/a\\040b ext4 defaults\n"), "/dev/sda1 /srv/a\\040b ext4 noatime 0 2\n");
        assert_eq!(made("src = 'a'\nfstype = 'none'\nstate = 'present'", "a  /srv/a\\040b none\tdefaults\n"), "a  /srv/a\\040b none\tdefaults\n");
        assert_eq!(made("state = 'absent'", "a /srv/a\\040b none defaults 0 0\nb /x none defaults 0 0\n"), "b /x none defaults 0 0\n");
    }

    #[test]
    fn what_is_mounted_follows_the_file() {
        let text = verdict::<Mount>("path = '/mnt/x'\nsrc = 'tmpfs'\nfstype = 'tmpfs'\nstate = 'mounted'", 0, "mounted no nofolder\nabsent\n");
        assert!(text.contains("file_dir '/mnt/x' 0755 - -") && text.contains("mount -t 'tmpfs' -o 'defaults' 'tmpfs' '/mnt/x'") && text.contains("umount '/mnt/x'"), "{text}");
        assert!(problems::<Mount>("path = '/'\nstate = 'absent'").contains("no host works without its root"));
        assert!(problems::<Mount>("path = '/x'\nstate = 'mounted'").contains("what is to be mounted"));
    }
}
