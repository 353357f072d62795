//! Types of arguments that many modules share.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

/// Whether something is wanted at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    #[default]
    Present,
    Absent,
}

/// A path on a host: absolute, or below the home folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    /// A path of this program's own.
    pub fn fixed(path: &str) -> Self {
        Self(path.to_owned())
    }

    /// The path as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The absolute path, given the home folder. Double slashes, `.` and a slash at the end are taken out.
    pub fn under(&self, home: &str) -> String {
        let text = match self.0.strip_prefix('~') {
            Some(rest) => format!("{home}{rest}"),
            None => self.0.clone(),
        };
        let mut path = String::with_capacity(text.len());
        if let Some(rest) = text.strip_prefix(crate::shell::HOME_MARK) {
            path.push_str(crate::shell::HOME_MARK);
            path.push_str(rest.trim_end_matches('/'));
            return path;
        }
        for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
            path.push('/');
            path.push_str(part);
        }
        if path.is_empty() { "/".into() } else { path }
    }

    /// Whether it names a folder by ending in a slash.
    pub fn ends_with_slash(&self) -> bool {
        self.0.len() > 1 && self.0.ends_with('/')
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Path;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path in quotes")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Path, E> {
                Ok(Path("/".into()))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Path, E> {
                let problem = if text.is_empty() {
                    "the path is empty"
                } else if text == "~" || text.starts_with("~/") || text.starts_with('/') {
                    if text.split('/').any(|part| part == "..") {
                        "a path on a host may not have `..` in it | write the path without it"
                    } else if text.len() > 4095 {
                        "the path is longer than 4095 bytes, which no Linux host allows"
                    } else {
                        return Ok(Path(text.to_owned()));
                    }
                } else if text.starts_with('~') {
                    "only `~/` can stand for a home folder | write the absolute path of another user's home"
                } else {
                    "a path on a host is absolute or begins with `~/` | write the path from `/`"
                };
                Err(E::custom(problem))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

impl JsonSchema for Path {
    fn schema_name() -> Cow<'static, str> {
        "Path".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "a path on the host: absolute, or beginning with ~/" })
    }

    fn inline_schema() -> bool {
        true
    }
}

/// A file mode, such as `"0644"` or `"u=rw,g=r"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    Octal(u32),
    Symbolic(Vec<Clause>),
}

/// One part of a symbolic mode: for whom, how, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    who: u32,
    operator: char,
    permissions: String,
}

impl Mode {
    /// The mode that results from an old one. `0` stands in for a file that does not exist yet.
    pub fn applied_to(&self, old: u32, is_folder: bool) -> u32 {
        match self {
            Self::Octal(mode) => *mode,
            Self::Symbolic(clauses) => clauses.iter().fold(old, |mode, clause| clause.applied_to(mode, is_folder)),
        }
    }

    /// Octal text as the shell libraries expect it: four digits.
    pub fn text(mode: u32) -> String {
        format!("{mode:04o}")
    }

    /// A mode as a user writes it.
    ///
    /// # Errors
    /// What is wrong with it, and after ` | ` what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        const HELP: &str = " | write four octal digits such as \"0644\", or symbols such as \"u=rw,g=r,o=\"";
        if text.starts_with(|letter: char| letter.is_ascii_digit()) {
            let good = (3..=4).contains(&text.len()) && text.chars().all(|digit| ('0'..='7').contains(&digit));
            let mode = u32::from_str_radix(text, 8).ok().filter(|&mode| good && mode <= 0o7777);
            let octal = text.strip_prefix("0o").filter(|digits| (3..=4).contains(&digits.len()) && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit)));
            let remedy = octal.map(|digits| format!(" | \"{text}\" => \"{digits:0>4}\"")).unwrap_or_default();
            return mode.map(Self::Octal).ok_or_else(|| format!("`{text}` is no file mode{HELP}{remedy}"));
        }
        let clauses: Option<Vec<Clause>> = text.split(',').map(Clause::parse).collect();
        clauses.filter(|_| !text.is_empty()).map(Self::Symbolic).ok_or_else(|| format!("`{text}` is no file mode{HELP}"))
    }
}

impl Clause {
    /// `30s`, `1h30m`, or seconds.
    pub fn parse(text: &str) -> Option<Self> {
        let at = text.find(['+', '-', '='])?;
        let (who, rest) = text.split_at(at);
        let operator = rest.chars().next()?;
        let permissions = &rest[1..];
        let mask = |letter| match letter {
            'u' => Some(0o4700),
            'g' => Some(0o2070),
            'o' => Some(0o1007),
            'a' => Some(0o7777),
            _ => None,
        };
        let masks: Option<Vec<u32>> = who.chars().map(mask).collect();
        let who = if who.is_empty() { 0o7777 } else { masks?.into_iter().fold(0, |all, one| all | one) };
        let known = permissions.chars().all(|letter| "rwxXst".contains(letter)) || ["u", "g", "o"].contains(&permissions);
        known.then(|| Self { who, operator, permissions: permissions.to_owned() })
    }

    fn applied_to(&self, mode: u32, is_folder: bool) -> u32 {
        let executable = mode & 0o111 != 0;
        let bits = match self.permissions.as_str() {
            "u" => (mode >> 6 & 7) * 0o111,
            "g" => (mode >> 3 & 7) * 0o111,
            "o" => (mode & 7) * 0o111,
            letters => letters.chars().fold(0, |bits, letter| {
                bits | match letter {
                    'r' => 0o444,
                    'w' => 0o222,
                    'x' => 0o111,
                    'X' if is_folder || executable => 0o111,
                    's' => 0o6000,
                    't' => 0o1000,
                    _ => 0,
                }
            }),
        } & self.who;
        // A folder keeps its set-id bits unless they are named, as chmod does.
        let cleared = if is_folder { self.who & 0o1777 } else { self.who };
        match self.operator {
            '+' => mode | bits,
            '-' => mode & !bits,
            _ => mode & !cleared | bits,
        }
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Mode;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a file mode in quotes")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Mode, E> {
                Ok(Mode::Octal(0o644))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Mode, E> {
                Mode::parse(text).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Mode, E> {
                // `644` was meant as it looks; `0o644` and `0x1a4` have become another number by now.
                const USUAL: [i64; 15] =
                    [0o644, 0o755, 0o600, 0o700, 0o640, 0o750, 0o777, 0o666, 0o664, 0o775, 0o444, 0o400, 0o440, 0o500, 0o555];
                let as_it_looks = !USUAL.contains(&number) && Mode::parse(&number.to_string()).is_ok();
                let meant = if as_it_looks { format!("{number:04}") } else if (0o100..=0o7777).contains(&number) { format!("{number:04o}") } else { "0644".into() };
                // It is sure where it is seen how the number was written.
                let written = if as_it_looks { number.to_string() } else { format!("0o{number:o}") };
                Err(E::custom(format!("a file mode is text, since nobody can tell whether the number {number} is octal | write mode = \"{meant}\" | {written} => \"{meant}\"")))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

impl JsonSchema for Mode {
    fn schema_name() -> Cow<'static, str> {
        "Mode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "a file mode: \"0644\" or \"u=rw,g=r,o=\"" })
    }

    fn inline_schema() -> bool {
        true
    }
}

/// A length of time: a number of seconds, or text such as `"500ms"`, `"30s"`, `"5m"`, `"1h30m"`, `"2d"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lasting(pub Duration);

impl Lasting {
    /// `30s`, `1h30m`, or seconds.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim();
        let mut total = Duration::ZERO;
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
            let number: u64 = rest[..digits].parse().ok()?;
            rest = &rest[digits..];
            let unit_end = rest.find(|letter: char| letter.is_ascii_digit()).unwrap_or(rest.len());
            let seconds = match &rest[..unit_end] {
                "ms" => {
                    total = total.checked_add(Duration::from_millis(number))?;
                    rest = &rest[unit_end..];
                    continue;
                }
                "" | "s" => 1,
                "m" | "min" => 60,
                "h" => 3600,
                "d" => 86_400,
                "w" => 604_800,
                _ => return None,
            };
            total = total.checked_add(Duration::from_secs(number.checked_mul(seconds)?))?;
            rest = &rest[unit_end..];
        }
        (total.as_secs() <= 366 * 86_400).then_some(Self(total))
    }
}

impl<'de> Deserialize<'de> for Lasting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Lasting;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time, such as \"30s\"")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Lasting, E> {
                Ok(Lasting(Duration::from_secs(1)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Lasting, E> {
                Lasting::parse(text).ok_or_else(|| {
                    E::custom(format!("`{text}` is no length of time | write \"500ms\", \"30s\", \"5m\", \"1h30m\" or \"2d\""))
                })
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Lasting, E> {
                let good = u64::try_from(seconds).ok().filter(|&seconds| seconds <= 366 * 86_400);
                good.map(|seconds| Lasting(Duration::from_secs(seconds)))
                    .ok_or_else(|| E::custom(format!("{seconds} s is no length of time that a task can take")))
            }

            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Lasting, E> {
                let good = (0.0..=31_622_400.0).contains(&seconds);
                if good { Ok(Lasting(Duration::from_secs_f64(seconds))) } else { Err(E::custom(format!("{seconds} s is no length of time that a task can take"))) }
            }
        }
        deserializer.deserialize_any(Text)
    }
}

impl JsonSchema for Lasting {
    fn schema_name() -> Cow<'static, str> {
        "Lasting".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "number" }, { "type": "string" }], "description": "seconds, or text such as \"30s\" or \"5m\"" })
    }

    fn inline_schema() -> bool {
        true
    }
}

/// A text or a list of texts.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct OneOrMany(pub Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text or a list of texts")
            }

            fn visit_unit<E: de::Error>(self) -> Result<OneOrMany, E> {
                Ok(OneOrMany::default())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<OneOrMany, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = items.next_element::<String>()? {
                    texts.push(text);
                }
                Ok(OneOrMany(texts))
            }
        }
        deserializer.deserialize_any(Texts)
    }
}

impl JsonSchema for OneOrMany {
    fn schema_name() -> Cow<'static, str> {
        "OneOrMany".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_change_an_old_mode() {
        let check = |text: &str, old: u32, is_folder: bool| Mode::text(Mode::parse(text).expect(text).applied_to(old, is_folder));
        assert_eq!(check("u=rw,g=r,o=", 0o777, false), "0640");
        assert_eq!(check("a+x", 0o644, false), "0755");
        assert_eq!(check("go-w", 0o666, false), "0644");
        assert_eq!(check("u=rwX,g=rX,o=", 0o644, false), "0640");
        assert_eq!(check("u=rwX,g=rX,o=", 0o700, true), "0750");
        assert_eq!(check("g=u", 0o640, false), "0660");
        assert_eq!(check("g=rx", 0o2755, true), "2755");
        assert_eq!(check("0750", 0o2755, true), "0750");
    }

    #[test]
    fn odd_modes_are_refused() {
        for text in ["", "rw", "9", "0o644", "77777", "8888", "u+z"] {
            assert!(Mode::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn paths_become_absolute_and_plain() {
        assert_eq!(Path("~/a//b/".into()).under("/home/ann"), "/home/ann/a/b");
        assert_eq!(Path("/./etc/".into()).under(""), "/etc");
        assert_eq!(Path("/".into()).under(""), "/");
    }
}
