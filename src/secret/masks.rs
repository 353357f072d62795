//! Secrets that this process knows, and every text without them: as they are, and in the forms that programs give them.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

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
/// Programs break codes into lines of 60 to 76 letters; longer ones than these are looked for in one piece only.
const LINE: usize = 57;
const LONGEST_WRAPPED: usize = 8192;

/// Whether there is any, so that nobody pays for those who have none.
static ANY: AtomicBool = AtomicBool::new(false);
static MASKS: RwLock<Masks> = RwLock::new(Masks { known: BTreeSet::new(), finders: None });

struct Masks {
    known: BTreeSet<Vec<u8>>,
    /// All of them, and those that no other text holds by chance.
    finders: Option<(regex::bytes::Regex, Option<regex::bytes::Regex>)>,
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
    is_any_hidden() && with_finders(|all, _| all.is_match(text))
}

/// Whether this holds something that is hidden and that stands there by no chance, as a word like `root` may.
pub fn surely_holds_hidden(text: &[u8]) -> bool {
    is_any_hidden() && with_finders(|_, sure| sure.is_some_and(|sure| sure.is_match(text)))
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
    with_finders(|all, _| match all.replace_all(text, regex::bytes::NoExpand(MASK.as_bytes())) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(bytes) => Cow::Owned(bytes),
    })
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

fn with_finders<T>(look: impl FnOnce(&regex::bytes::Regex, Option<&regex::bytes::Regex>) -> T) -> T {
    {
        let masks = MASKS.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((all, sure)) = &masks.finders {
            return look(all, sure.as_ref());
        }
    }
    let mut masks = MASKS.write().unwrap_or_else(PoisonError::into_inner);
    let finder = |shortest: usize| {
        // Where one is a part of another, the longer one is hidden.
        let mut known: Vec<&Vec<u8>> = masks.known.iter().filter(|one| one.len() >= shortest).collect();
        known.sort_by_key(|one| std::cmp::Reverse(one.len()));
        if known.is_empty() {
            return None;
        }
        let pattern: Vec<String> = known.iter().map(|one| pattern_of(one)).collect();
        Some(regex::bytes::RegexBuilder::new(&pattern.join("|")).unicode(false).size_limit(1 << 29).build().expect("literal bytes make a pattern"))
    };
    let finders = (finder(SHORTEST).expect("there is one"), finder(SURE));
    let (all, sure) = masks.finders.insert(finders);
    look(all, sure.as_ref())
}

/// A form of a secret as a pattern. A long code may be broken into lines.
fn pattern_of(form: &[u8]) -> String {
    let is_code = (LINE..LONGEST_WRAPPED).contains(&form.len()) && form.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=-_".contains(byte));
    let between = if is_code { "(?:\\r?\\n)?" } else { "" };
    form.iter().map(|byte| format!("\\x{byte:02x}")).collect::<Vec<_>>().join(between)
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
        let json = serde_json::to_string(text).unwrap_or_default();
        let json = json.get(1..json.len().saturating_sub(1)).unwrap_or_default();
        let escaped: String = json.chars().map(|letter| if letter.is_ascii() { letter.to_string() } else { letter.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect() }).collect();
        for json in [json, &json.replace('/', "\\/"), &escaped, &escaped.replace('/', "\\/")] {
            add(json.as_bytes());
        }
        let entities = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        add(entities.replace('\'', "&#39;").as_bytes());
        add(entities.replace('\'', "&#x27;").as_bytes());
        add(entities.replace('\'', "&#x27;").replace('/', "&#x2f;").as_bytes());
        add(text.replace('\'', "'\\''").as_bytes());
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
        hide("root");
        assert!(holds_hidden(b"chown root x") && !surely_holds_hidden(b"chown root x") && surely_holds_hidden(long.as_bytes()));
    }
}
