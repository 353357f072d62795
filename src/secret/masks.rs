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
const SHORTEST_LINE: usize = 8;
/// The same for a part of an encoded one.
const SHORTEST_CODE: usize = 8;

/// Whether there is any, so that nobody pays for those who have none.
static ANY: AtomicBool = AtomicBool::new(false);
static MASKS: RwLock<Masks> = RwLock::new(Masks { known: BTreeSet::new(), finder: None });

struct Masks {
    known: BTreeSet<Vec<u8>>,
    finder: Option<regex::bytes::Regex>,
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
        masks.finder = None;
        ANY.store(true, Ordering::Release);
    }
}

/// Whether anything is hidden.
pub fn is_any_hidden() -> bool {
    ANY.load(Ordering::Acquire)
}

/// Whether this holds something that is hidden.
pub fn holds_hidden(text: &[u8]) -> bool {
    is_any_hidden() && with_finder(|finder| finder.is_match(text))
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
    with_finder(|finder| match finder.replace_all(text, regex::bytes::NoExpand(MASK.as_bytes())) {
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
        serde_json::Value::Object(entries) => entries.values_mut().for_each(json_without_hidden),
        _ => {}
    }
}

fn with_finder<T>(look: impl FnOnce(&regex::bytes::Regex) -> T) -> T {
    {
        let masks = MASKS.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(finder) = &masks.finder {
            return look(finder);
        }
    }
    let mut masks = MASKS.write().unwrap_or_else(PoisonError::into_inner);
    if masks.finder.is_none() {
        // Where one is a part of another, the longer one is hidden.
        let mut all: Vec<&Vec<u8>> = masks.known.iter().collect();
        all.sort_by_key(|one| std::cmp::Reverse(one.len()));
        let pattern: Vec<String> = all.iter().map(|one| one.iter().map(|byte| format!("\\x{byte:02x}")).collect()).collect();
        let finder = regex::bytes::RegexBuilder::new(&pattern.join("|")).unicode(false).size_limit(1 << 28).build();
        masks.finder = Some(finder.expect("literal bytes make a pattern"));
    }
    look(masks.finder.as_ref().expect("it has just been made"))
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
    for text in [secret, trimmed].into_iter().chain(lines) {
        add(text.as_bytes());
        let json = serde_json::to_string(text).unwrap_or_default();
        add(json.trim_matches('"').as_bytes());
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
                let whole = if shifted.len() % 3 == 0 { code.len() } else { code.trim_end_matches('=').len() - 1 };
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
        let mut value = serde_json::json!({ "a": [secret], "b": 1 });
        json_without_hidden(&mut value);
        assert_eq!(value, serde_json::json!({ "a": ["***"], "b": 1 }));
    }
}
