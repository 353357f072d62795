//! `find`: which files lie below a folder, for later tasks. It changes nothing.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::text::compiled;
use crate::module::{Answer, Module, OneOrMany, Question, Report, Surroundings, Verdict};
use crate::sh;
use crate::shell::{Script, unescaped};

/// Find files below folders, for a later task. It changes nothing and runs in check mode, too.
///
/// With `register = "found"`, later tasks see `found.matched` (how many) and `found.files`, a list with `path`, `mode`, `uid`,
/// `gid`, `size` in bytes, `mtime` in seconds since 1970, `isdir`, `isreg`, `islnk`; sorted by path.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Find {
    /// Where to look: one folder or several.
    #[serde(alias = "path", alias = "name")]
    paths: OneOrMany,
    /// Names that count, such as `*.log`; of several, one must fit. Left out: every name.
    #[serde(default, alias = "pattern")]
    patterns: OneOrMany,
    /// Names that do not count.
    #[serde(default, alias = "exclude")]
    excludes: OneOrMany,
    /// `patterns` and `excludes` are regular expressions, which must fit from the beginning of the name.
    #[serde(default)]
    use_regex: bool,
    /// What counts.
    #[serde(default)]
    file_type: FileType,
    /// Look into folders below, too.
    #[serde(default)]
    recurse: bool,
    /// How deep, with `recurse`: 1 is the folder itself.
    depth: Option<u32>,
    /// Only what was changed at least so long ago, such as `2d`; with `-` before it, at most so long ago.
    age: Option<String>,
    /// Only what has at least so many bytes, such as `10m`; with `-` before it, at most so many.
    size: Option<String>,
    /// Names that begin with a dot count, too.
    #[serde(default)]
    hidden: bool,
    /// Follow links to folders.
    #[serde(default)]
    follow: bool,
    /// Only files in which this regular expression fits something; they may have 1 MiB each. The host's `grep -E` looks.
    contains: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum FileType {
    #[default]
    File,
    Directory,
    Link,
    Any,
}

/// Units of ages, in seconds, and of sizes, in bytes.
const AGES: [(char, i64); 5] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400), ('w', 604_800)];
const SIZES: [(char, i64); 5] = [('b', 1), ('k', 1 << 10), ('m', 1 << 20), ('g', 1 << 30), ('t', 1 << 40)];
/// So many paths stand in the message.
const NAMED: usize = 10;

impl Module for Find {
    const NAME: &'static str = "find";
    const MAIN: Option<&'static str> = Some("paths");

    fn check(&self) -> Result<()> {
        if self.paths.0.is_empty() {
            bail!("`paths` is empty");
        }
        if let Some(path) = self.paths.0.iter().find(|path| !path.starts_with('/') && !path.starts_with("~/")) {
            bail!("`paths`: `{path}` is no path on a host | write it from `/` or `~/`");
        }
        for (key, patterns) in [("patterns", &self.patterns), ("excludes", &self.excludes)] {
            for pattern in patterns.0.iter().filter(|_| self.use_regex) {
                compiled(key, pattern)?;
            }
        }
        if let Some(age) = &self.age {
            limit("age", age, &AGES)?;
        }
        if let Some(size) = &self.size {
            limit("size", size, &SIZES)?;
        }
        Ok(())
    }

    /// Per file a line `TYPE MODE UID GID SIZE MTIME PATH`. The time goes to the remark, since it is another at every look.
    fn probe(&self, around: &Surroundings) -> Question {
        let mut script = sh!(
            "find__one() {\n\
             for _p; do\n\
             _l=$(stat -c '%F|%a %u %g %s %Y' -- \"$_p\" 2>/dev/null) || continue\n\
             case $_l in 'regular '*) _k=f ;; directory*) _k=d ;; symbolic*) _k=l ;; *) _k=o ;; esac\n\
             printf '%s %s ' \"$_k\" \"${_l#*|}\"; core_esc \"$_p\"; echo\n\
             done\n\
             }\n\
             printf 'now %s\\n' \"$(date +%s)\" >&2"
        );
        let mut words: Vec<Script> = Vec::new();
        if self.follow {
            words.push(sh!("-L"));
        }
        for path in &self.paths.0 {
            words.push(sh!("{}", match path.strip_prefix('~') {
                Some(rest) => format!("{}{rest}", around.home),
                None => path.clone(),
            }));
        }
        words.push(sh!("-mindepth 1"));
        let depth = if self.recurse { self.depth } else { Some(1) };
        if let Some(depth) = depth {
            words.push(sh!("-maxdepth {}", depth));
        }
        words.push(match self.file_type {
            // Reading from a pipe or a device might never end.
            _ if self.contains.is_some() => sh!("-type f"),
            FileType::File => sh!("-type f"),
            FileType::Directory => sh!("-type d"),
            FileType::Link => sh!("-type l"),
            FileType::Any => sh!(""),
        });
        if !self.use_regex && !self.patterns.0.is_empty() {
            let names: Vec<String> = self.patterns.0.iter().map(|pattern| sh!("-name {}", pattern).to_string()).collect();
            words.push(Script::raw(format!("'(' {} ')'", names.join(" -o "))));
        }
        for pattern in self.excludes.0.iter().filter(|_| !self.use_regex) {
            words.push(sh!("! -name {}", pattern));
        }
        if let Some(pattern) = &self.contains {
            words.push(sh!("-size -2049 -exec grep -Eq -e {} -- {} ';'", pattern, Script::raw("'{}'")));
        }
        let line = words.iter().map(ToString::to_string).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        // A path with a line break would look like two; such are left out by name here and told of as a number.
        script = script.then(&Script::raw(format!(
            "find {line} ! -name '*'\"$n\"'*' -print 2>/dev/null | {{ set --; while IFS= read -r _x; do set -- \"$@\" \"$_x\"; [ $# -lt 200 ] || {{ find__one \"$@\"; set --; }}; done; find__one \"$@\"; }}"
        )));
        Question::Ask(script)
    }

    fn compare(&self, _: &Surroundings, answer: &Answer) -> Result<Verdict> {
        let text = answer.bytes()?;
        let mut files = Vec::new();
        let remark = String::from_utf8_lossy(&answer.remark).into_owned();
        let now = Answer::field(&remark, "now").and_then(|seconds| seconds.trim().parse().ok()).unwrap_or(0);
        for line in text.split(|&byte| byte == b'\n') {
            if let Some(file) = self.file(line, now) {
                files.push(file);
            }
        }
        files.sort_by(|left, right| left["path"].as_str().cmp(&right["path"].as_str()));
        files.dedup();
        let matched = files.len();
        let mut names: Vec<&str> = files.iter().filter_map(|file| file["path"].as_str()).take(NAMED + 1).collect();
        if names.len() > NAMED {
            names[NAMED] = "…";
        }
        let message = if matched == 0 { "nothing found".to_owned() } else { format!("{matched} found: {}", names.join(", ")) };
        Ok(Verdict::InPlace(Report::message(message).with("matched", matched).with("files", Value::Array(files))))
    }
}

impl Find {
    /// What a line says, if it counts.
    fn file(&self, line: &[u8], now: i64) -> Option<Value> {
        let mut fields = line.splitn(7, |&byte| byte == b' ');
        let mut field = || fields.next().map(|field| String::from_utf8_lossy(field).into_owned());
        let (kind, mode, uid, gid, size, mtime) = (field()?, field()?, field()?, field()?, field()?, field()?);
        let path = unescaped(fields.next()?);
        let path = String::from_utf8_lossy(&path).into_owned();
        let name = path.rsplit('/').next().unwrap_or_default();
        if name.starts_with('.') && !self.hidden {
            return None;
        }
        // The host has looked at other patterns.
        let fits = |pattern: &String| compiled("patterns", &format!("^(?:{pattern})")).is_ok_and(|regex| regex.is_match(name.as_bytes()));
        if self.use_regex && (!self.patterns.0.is_empty() && !self.patterns.0.iter().any(fits) || self.excludes.0.iter().any(fits)) {
            return None;
        }
        let (size, mtime): (i64, i64) = (size.parse().ok()?, mtime.parse().ok()?);
        let within = |limit: Option<(bool, i64)>, value: i64| limit.is_none_or(|(at_most, limit)| if at_most { value <= limit } else { value >= limit });
        let age = self.age.as_ref().and_then(|age| limit("age", age, &AGES).ok());
        let bytes = self.size.as_ref().and_then(|size| limit("size", size, &SIZES).ok());
        if !within(age, now - mtime) || !within(bytes, size) {
            return None;
        }
        Some(json!({
            "path": path, "mode": format!("{mode:0>4}"), "uid": uid.parse::<u64>().ok(), "gid": gid.parse::<u64>().ok(), "size": size, "mtime": mtime,
            "isreg": kind == "f", "isdir": kind == "d", "islnk": kind == "l",
        }))
    }
}

/// A number with a unit; whether it is the most, and not the least.
fn limit(key: &str, text: &str, units: &[(char, i64)]) -> Result<(bool, i64)> {
    let (at_most, number) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let unit = number.chars().last().map(|letter| letter.to_ascii_lowercase());
    let factor = units.iter().find(|(letter, _)| Some(*letter) == unit).map(|(_, factor)| *factor);
    let digits = if factor.is_some() { &number[..number.len() - 1] } else { number };
    match digits.parse::<i64>().ok().and_then(|number| number.checked_mul(factor.unwrap_or(1))) {
        Some(number) => Ok((at_most, number)),
        None => bail!("`{key}`: `{text}` is no number with one of the units {}", units.iter().map(|(letter, _)| letter.to_string()).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::Find;
    use crate::module::testing::{module, probe, problems};
    use crate::module::{Answer, Module as _, Surroundings, Verdict};

    fn found(arguments: &str, lines: &str) -> Vec<String> {
        let module: Find = module(&format!("paths = '/var/log'\n{arguments}"));
        let answer = Answer { stdout: lines.as_bytes().to_vec(), remark: b"now 1000000\n".to_vec(), status: 0 };
        let Verdict::InPlace(report) = module.compare(&Surroundings::default(), &answer).expect("a verdict") else { panic!("a change") };
        report.data["files"].as_array().expect("files").iter().map(|file| file["path"].as_str().expect("a path").to_owned()).collect()
    }

    #[test]
    fn names_ages_and_sizes_choose() {
        let lines = "f 644 0 0 10 999990 /var/log/b.log\nf 644 0 0 9999999 100 /var/log/a.log\nf 644 0 0 1 1 /var/log/.hidden\nf 644 0 0 1 1 /var/log/c.txt\n";
        assert_eq!(found("", lines), ["/var/log/a.log", "/var/log/b.log", "/var/log/c.txt"]);
        assert_eq!(found("age = '10d'", lines), ["/var/log/a.log", "/var/log/c.txt"]);
        assert_eq!(found("size = '1m'", lines), ["/var/log/a.log"]);
        assert_eq!(found("size = '-1k'\nexcludes = '.*txt'\nuse_regex = true", lines), ["/var/log/b.log"]);
        assert_eq!(found("patterns = '[ab]\\.log$'\nuse_regex = true\nage = '-1m'", lines), ["/var/log/b.log"]);
        assert_eq!(found("hidden = true\npatterns = '\\.h'\nuse_regex = true", lines), ["/var/log/.hidden"]);
    }

    #[test]
    fn the_host_is_asked_for_what_it_can_choose_itself() {
        let script = probe::<Find>("paths = ['/a', '~/b']\nrecurse = true\nfile_type = 'directory'\npatterns = ['x*', 'y']");
        assert!(script.contains("find '/a' '/root/b' -mindepth 1 -type d '(' -name 'x*' -o -name 'y' ')'"), "{script}");
        assert!(problems::<Find>("paths = '/a'\nage = '2x'").contains("is no number"));
        assert!(problems::<Find>("paths = 'a'").contains("is no path on a host"));
    }
}
