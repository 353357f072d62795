//! Secrets that this process knows, and every text without them: as they are, and in the forms that programs give them.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::MASK;

/// What is shorter is in too many texts by chance.
const SHORTEST: usize = 4;
/// The same for a line of a longer secret.
const SHORTEST_LINE: usize = 6;
/// The same for a part of an encoded one.
const SHORTEST_CODE: usize = 8;

/// What is at least so long stands in no text by chance.
const SURE: usize = 8;
/// What programs print as a code is broken into lines at any place, but what is shorter could come together by chance.
const SHORTEST_WRAPPED: usize = 12;

/// Whether there is any, so that nobody pays for those who have none.
static ANY: AtomicBool = AtomicBool::new(false);
static MASKS: RwLock<Masks> = RwLock::new(Masks { known: BTreeSet::new(), finders: None });

struct Masks {
    known: BTreeSet<Vec<u8>>,
    /// What finds all of them, and what finds those that no other text holds by chance.
    finders: Option<(Finder, Finder)>,
}

/// Finds forms of secrets in one pass over a text, however many there are.
struct Finder {
    forms: AhoCorasick,
    /// Codes that programs may break into lines.
    codes: Option<AhoCorasick>,
}

impl Finder {
    fn of<'a>(forms: impl Iterator<Item = &'a Vec<u8>> + Clone) -> Self {
        // Of two that overlap, both are found.
        let of = |forms: Vec<&Vec<u8>>| AhoCorasick::builder().match_kind(MatchKind::Standard).build(forms).expect("fewer than 2^31 bytes of forms");
        let codes: Vec<&Vec<u8>> = forms.clone().filter(|form| is_code(form)).collect();
        Self { forms: of(forms.collect()), codes: (!codes.is_empty()).then(|| of(codes)) }
    }

    fn finds(&self, text: &[u8]) -> bool {
        self.forms.is_match(text) || self.broken(text).is_some()
    }

    /// The text in one line, where a code stands in that.
    fn broken(&self, text: &[u8]) -> Option<(&AhoCorasick, Vec<u8>)> {
        let codes = self.codes.as_ref().filter(|_| text.contains(&b'\n'))?;
        let line: Vec<u8> = text.iter().copied().filter(|byte| !is_break(*byte)).collect();
        codes.is_match(&line).then_some((codes, line))
    }

    /// Where something hidden stands, in order and apart from each other.
    fn ranges(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = Vec::new();
        if self.forms.is_match(text) {
            found.extend(self.forms.find_overlapping_iter(text).map(|one| one.range()));
        }
        if let Some((codes, line)) = self.broken(text) {
            let places: Vec<usize> = text.iter().enumerate().filter(|(_, byte)| !is_break(**byte)).map(|(at, _)| at).collect();
            found.extend(codes.find_overlapping_iter(&line).map(|one| places[one.start()]..places[one.end() - 1] + 1));
        }
        found.sort_unstable_by_key(|range| range.start);
        let mut apart: Vec<Range<usize>> = Vec::new();
        for range in found {
            match apart.last_mut() {
                Some(last) if range.start < last.end => last.end = last.end.max(range.end),
                _ => apart.push(range),
            }
        }
        apart
    }
}

fn is_break(byte: u8) -> bool {
    b"\r\n".contains(&byte)
}

/// From now on this text is shown nowhere.
pub fn hide(secret: &str) {
    if secret.trim().len() < SHORTEST {
        return;
    }
    let mut masks = MASKS.write().unwrap_or_else(PoisonError::into_inner);
    let before = masks.known.len();
    masks.known.extend(forms(secret));
    if masks.known.len() > before {
        masks.finders = None;
        ANY.store(true, Ordering::Release);
    }
}

/// Whether anything is hidden.
pub fn is_any_hidden() -> bool {
    ANY.load(Ordering::Acquire)
}

/// Whether this holds something that is hidden.
pub fn holds_hidden(text: &[u8]) -> bool {
    is_any_hidden() && with_finders(|all, _| all.finds(text))
}

/// Whether this holds something that is hidden and that stands there by no chance, as a word like `root` may.
pub fn surely_holds_hidden(text: &[u8]) -> bool {
    is_any_hidden() && with_finders(|_, sure| sure.finds(text))
}

/// How many forms of something hidden are known.
pub fn count_hidden() -> usize {
    MASKS.read().unwrap_or_else(PoisonError::into_inner).known.len()
}

/// The length of the longest form of something hidden, in bytes; 0 without any.
pub fn longest_hidden() -> usize {
    if !is_any_hidden() {
        return 0;
    }
    MASKS.read().unwrap_or_else(PoisonError::into_inner).known.iter().map(Vec::len).max().unwrap_or(0)
}

/// The text without what is hidden.
pub fn without_hidden(text: &str) -> Cow<'_, str> {
    match bytes_without_hidden(text.as_bytes()) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// The bytes without what is hidden.
pub fn bytes_without_hidden(text: &[u8]) -> Cow<'_, [u8]> {
    if !is_any_hidden() || text.is_empty() {
        return Cow::Borrowed(text);
    }
    let found = with_finders(|all, _| all.ranges(text));
    if found.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut shown = Vec::with_capacity(text.len());
    let mut at = 0;
    for range in found {
        shown.extend_from_slice(&text[at..range.start]);
        shown.extend_from_slice(MASK.as_bytes());
        at = range.end;
    }
    shown.extend_from_slice(&text[at..]);
    Cow::Owned(shown)
}

/// A value without what is hidden, in all its parts.
pub fn json_without_hidden(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => {
            if let Cow::Owned(masked) = without_hidden(text) {
                *text = masked;
            }
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(json_without_hidden),
        serde_json::Value::Object(entries) => {
            let is_hit = |name: &String| matches!(without_hidden(name), Cow::Owned(_));
            if entries.keys().any(is_hit) {
                *entries = std::mem::take(entries).into_iter().map(|(name, value)| (without_hidden(&name).into_owned(), value)).collect();
            }
            entries.values_mut().for_each(json_without_hidden);
        }
        _ => {}
    }
}

fn with_finders<T>(look: impl FnOnce(&Finder, &Finder) -> T) -> T {
    {
        let masks = MASKS.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((all, sure)) = &masks.finders {
            return look(all, sure);
        }
    }
    let mut masks = MASKS.write().unwrap_or_else(PoisonError::into_inner);
    let finders = (Finder::of(masks.known.iter()), Finder::of(masks.known.iter().filter(|one| one.len() >= SURE)));
    let (all, sure) = masks.finders.insert(finders);
    look(all, sure)
}

/// Whether a form may be a code that programs break into lines.
fn is_code(form: &[u8]) -> bool {
    form.len() >= SHORTEST_WRAPPED && form.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=-_".contains(byte))
}

/// How a secret may look in a text: plain, line by line, escaped for JSON, shells and addresses, in base64 and hexadecimal.
fn forms(secret: &str) -> BTreeSet<Vec<u8>> {
    let mut forms = BTreeSet::new();
    let mut add = |bytes: &[u8]| {
        if bytes.len() >= SHORTEST {
            forms.insert(bytes.to_vec());
        }
    };
    let trimmed = secret.trim_end_matches(['\n', '\r']);
    let lines = trimmed.lines().filter(|line| trimmed.contains('\n') && line.trim().len() >= SHORTEST_LINE).map(str::trim);
    for text in [secret, trimmed, secret.trim()].into_iter().chain(lines) {
        add(text.as_bytes());
        // As messages about files draw it.
        add(text.replace('\t', "    ").as_bytes());
        let json = serde_json::to_string(text).unwrap_or_default();
        let json = json.get(1..json.len().saturating_sub(1)).unwrap_or_default();
        let escaped: String = json.chars().map(|letter| if letter.is_ascii() { letter.to_string() } else { letter.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect() }).collect();
        for json in [json, &json.replace('/', "\\/"), &escaped, &escaped.replace('/', "\\/")] {
            add(json.as_bytes());
        }
        // One way of quoting within another: for `printf %b`, as one word of the shell, in JSON; and as GNU's tools name what they complain of.
        let word = |text: &str| text.replace('\'', "'\\''");
        let printed = crate::shell::printf_argument(text.as_bytes());
        let named = text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n").replace('\t', "\\t");
        for quoted in [&word(text), &printed, &word(&printed), &word(json), &word(&escaped), &named] {
            add(quoted.as_bytes());
            let within = serde_json::to_string(quoted).unwrap_or_default();
            add(within.get(1..within.len().saturating_sub(1)).unwrap_or_default().as_bytes());
        }
        let entities = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        add(entities.replace('\'', "&#39;").as_bytes());
        add(entities.replace('\'', "&#x27;").as_bytes());
        add(entities.replace('\'', "&#x27;").replace('/', "&#x2f;").as_bytes());
        add(text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$").replace('`', "\\`").as_bytes());
        let percent = |keep: &str, upper: bool| -> String {
            text.bytes()
                .map(|byte| match byte {
                    byte if byte.is_ascii_alphanumeric() || keep.as_bytes().contains(&byte) => char::from(byte).to_string(),
                    byte if upper => format!("%{byte:02X}"),
                    byte => format!("%{byte:02x}"),
                })
                .collect()
        };
        for (keep, upper) in [("-_.~", true), ("-_.~", false), ("-_.~/", true), ("-_.*", true)] {
            add(percent(keep, upper).as_bytes());
            add(percent(keep, upper).replace("%20", "+").as_bytes());
        }
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        add(hex.as_bytes());
        add(hex.to_uppercase().as_bytes());
        for engine in [&STANDARD, &URL_SAFE] {
            for before in 0..3_usize {
                let shifted: Vec<u8> = std::iter::repeat_n(0, before).chain(text.bytes()).collect();
                let code = engine.encode(&shifted);
                // The letters at both ends depend on what stands beside it.
                let whole = if shifted.len().is_multiple_of(3) { code.len() } else { code.trim_end_matches('=').len() - 1 };
                let part = code.get([0, 2, 3][before]..whole).unwrap_or_default();
                if part.len() >= SHORTEST_CODE {
                    add(part.as_bytes());
                }
            }
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_form() {
        let secret = "hun'ter \"2\"/ü$x";
        hide(secret);
        hide("ab");
        let json = serde_json::to_string(&format!("x{secret}y")).expect("JSON");
        let forms = [
            format!("a {secret} b"),
            json,
            format!("'{}'", secret.replace('\'', "'\\''")),
            STANDARD.encode(secret),
            STANDARD.encode(format!("user:{secret}")),
            STANDARD.encode(format!("ann:{secret}:more")),
            secret.bytes().map(|byte| format!("{byte:02X}")).collect(),
            "https://x/?q=hun%27ter%20%222%22%2F%C3%BC%24x".into(),
        ];
        for text in forms {
            let shown = without_hidden(&text);
            assert!(shown.contains(MASK), "{text} -> {shown}");
            assert!(!holds_hidden(shown.as_bytes()), "{shown}");
        }
        assert_eq!(without_hidden("ab cd"), "ab cd");
        hide("-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA7\nshort\n");
        assert_eq!(without_hidden("found MIIEpAIBAAKCAQEA7 there"), "found *** there");
        let mut value = serde_json::json!({ "a": [secret], "b": 1, secret: 2 });
        json_without_hidden(&mut value);
        assert_eq!(value, serde_json::json!({ "a": ["***"], "b": 1, "***": 2 }));
        // In lines of 76 letters, as `base64` prints them; as Python and PHP write JSON; and as markup.
        let long = "0123456789abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRSTUVWXYZ_the_end!";
        hide(long);
        let code = STANDARD.encode(long);
        let shown = without_hidden(&format!("{}\n{}\n", &code[..76], &code[76..])).into_owned();
        assert!(shown.starts_with("***"), "{shown}");
        assert!(!without_hidden("hun'ter \\\"2\\\"\\/\\u00fc$x").contains("hun"));
        assert!(!without_hidden("hun&#x27;ter &quot;2&quot;&#x2f;ü$x").contains("hun"));
        // What a script holds: the argument of `printf %b` as one word, and what GNU's tools make of a name that they do not know.
        hide("it's\\a \"k\"");
        let script = crate::sh!("printf %b {}", crate::shell::printf_argument(b"x\nit's\\a \"k\"\n")).to_string();
        for text in [script.clone(), serde_json::to_string(&script).expect("JSON"), "chown: invalid user: 'it\\'s\\\\a \"k\"'".into()] {
            assert!(without_hidden(&text).contains(MASK) && !without_hidden(&text).contains("\\a "), "{text}");
        }
        hide("root");
        assert!(holds_hidden(b"chown root x") && !surely_holds_hidden(b"chown root x") && surely_holds_hidden(long.as_bytes()));
    }

    /// What a finder of these forms alone leaves of a text.
    fn left(forms: &[&str], text: &str) -> String {
        let forms: Vec<Vec<u8>> = forms.iter().map(|form| form.as_bytes().to_vec()).collect();
        let finder = Finder::of(forms.iter());
        let ranges = finder.ranges(text.as_bytes());
        assert_eq!(finder.finds(text.as_bytes()), !ranges.is_empty(), "{text}");
        let mut left = text.to_owned();
        for range in ranges.into_iter().rev() {
            left.replace_range(range, MASK);
        }
        left
    }

    #[test]
    fn nothing_is_left_of_secrets_that_overlap() {
        assert_eq!(left(&["password", "wordplay"], "a passwordplay b"), "a *** b");
        assert_eq!(left(&["root", "the root of all"], "the root of all, root"), "***, ***");
        assert_eq!(left(&["abcd"], "abcdabcd abcx"), "****** abcx");
        assert_eq!(left(&["aaaa"], "xaaaaaaay"), "x***y");
    }

    #[test]
    fn a_code_is_found_wherever_it_is_broken() {
        let code = STANDARD.encode("not so long a secret");
        let forms: Vec<String> = forms("not so long a secret").into_iter().map(|form| String::from_utf8(form).expect("text")).collect();
        let forms: Vec<&str> = forms.iter().map(String::as_str).collect();
        for at in 1..code.len() - 2 {
            for between in ["\n", "\r\n"] {
                let shown = left(&forms, &format!("x\n{}{between}{}\ny", &code[..at], &code[at..]));
                // The last letters depend on what stands beside them.
                assert!(shown.starts_with("x\n***") && shown.len() <= "x\n***t==\ny".len(), "{at}: {shown}");
            }
        }
        // Short words of two lines are not taken together.
        assert_eq!(left(&["password"], "pass\nword"), "pass\nword");
    }

    #[test]
    fn long_texts_and_many_secrets_take_a_time_that_grows_with_their_length() {
        let secrets: Vec<String> = (0..300).map(|number| format!("{:032x}", 0x9e37_79b9_7f4a_7c15_u128.wrapping_mul(number + 7))).collect();
        let known: BTreeSet<Vec<u8>> = secrets.iter().flat_map(|secret| forms(secret)).collect();
        let finder = Finder::of(known.iter());
        let filler = "0123456789abcdef and nothing that is hidden\n";
        let time = |copies: usize| {
            let text = format!("{}{}\n", filler.repeat(copies), secrets[0]).repeat(4);
            let begun = std::time::Instant::now();
            assert_eq!(finder.ranges(text.as_bytes()).len(), 4);
            begun.elapsed()
        };
        let (short, long) = (time(1000).min(time(1000)).min(time(1000)), time(16_000));
        assert!(long < short * 16 * 6, "{short:?} for one length, {long:?} for sixteen times as much");
        // A secret of one letter again and again overlaps with itself everywhere.
        let begun = std::time::Instant::now();
        assert_eq!(left(&[&"a".repeat(64), &"a".repeat(500)], &"a".repeat(1 << 20)), MASK);
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
    }

    #[test]
    fn a_long_secret_is_hidden_in_a_moment() {
        let secret: String = (0..700).map(|number| format!("{:064x}'\n", 0x9e37_79b9_7f4a_7c15_u128.wrapping_mul(number + 7))).collect();
        let begun = std::time::Instant::now();
        let known = forms(&secret);
        let finder = Finder::of(known.iter());
        assert!(finder.finds(STANDARD.encode(&secret).as_bytes()));
        assert!(finder.forms.memory_usage() < 64 << 20, "{} bytes", finder.forms.memory_usage());
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{:?}", begun.elapsed());
    }
}
