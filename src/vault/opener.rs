//! Opens what is encrypted in files that are being read, with the keys of this user.
//!
//! The keys are read when something encrypted is met for the first time, and kept for the life of the program. Whatever comes out is hidden
//! from then on.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::{Identities, Unreadable, decrypt, decrypt_value, is_encrypted_file, is_encrypted_value};
use crate::diag::{Diagnostic, Kind, Node};
use crate::secret::hide;

type Load = Box<dyn FnOnce() -> anyhow::Result<Identities> + Send>;

enum Keys {
    None,
    Named(Load),
    Read(Result<Identities, String>),
}

static KEYS: Mutex<Keys> = Mutex::new(Keys::None);

/// Says where the keys come from.
pub fn keys_from(load: Load) {
    *KEYS.lock().unwrap_or_else(PoisonError::into_inner) = Keys::Named(load);
}

/// A file as it is parsed, and as messages may show it.
pub struct Source {
    pub text: String,
    pub shown: String,
    /// All of it was encrypted.
    pub is_secret: bool,
}

/// Reads a text that may be encrypted.
///
/// # Errors
/// Why it cannot be read, without the name of the file.
pub fn read_source(path: &Path) -> Result<Source, String> {
    let is_named_so = path.extension().is_some_and(|kind| kind == "age");
    let text = crate::diag::read_source(path);
    let is_encrypted = is_named_so || text.as_ref().is_ok_and(|text| is_encrypted_file(text.as_bytes()));
    if !is_encrypted {
        return text.map(|text| Source { shown: text.clone(), text, is_secret: false });
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let plain = with_keys(|keys| decrypt(&bytes, keys))?;
    let text = String::from_utf8(plain.to_vec()).map_err(|_| "what is encrypted in it is no text in UTF-8".to_owned())?;
    let shown = blotted(&text, path);
    Ok(Source { text, shown, is_secret: true })
}

/// A text of which only the names of a TOML file can be read, byte for byte as long, so that messages can point into it.
fn blotted(text: &str, path: &Path) -> String {
    let name = path.to_string_lossy();
    let is_toml = ![".json", ".yaml", ".yml"].iter().any(|ending| name.trim_end_matches(".age").ends_with(ending));
    let blot = |text: &str| -> String { text.bytes().map(|byte| if byte.is_ascii_whitespace() { char::from(byte) } else { '*' }).collect() };
    let is_name = |text: &str| !text.trim().is_empty() && text.trim().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.\"".contains(&byte));
    let mut is_within = false;
    let mut shown = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let marks = line.matches("\"\"\"").count() + line.matches("\'\'\'").count();
        let (was_within, word) = (is_within, line.trim());
        is_within ^= marks % 2 == 1;
        if was_within || !is_toml {
            shown.push_str(&blot(line));
        } else if word.starts_with('[') && word.ends_with(']') && is_name(word.trim_matches(['[', ']'])) {
            shown.push_str(line);
        } else if let Some((key, rest)) = line.split_once('=').filter(|(key, _)| is_name(key)) {
            shown.push_str(key);
            shown.push('=');
            shown.push_str(&blot(rest));
        } else {
            shown.push_str(&blot(line));
        }
    }
    shown
}

/// Opens the encrypted values of a tree, and hides them; of a file that was encrypted as a whole, all its texts.
pub fn unseal(node: &mut Node, is_secret: bool, problems: &mut Vec<Diagnostic>) {
    match &mut node.kind {
        Kind::Text(text) if is_encrypted_value(text) => match with_keys(|keys| decrypt_value(text, keys)) {
            Ok(plain) => {
                hide(plain.expose());
                if plain.expose().contains("{{") || plain.expose().contains("{%") || plain.expose().contains("{#") {
                    // It is a value, never a template.
                    let literal = serde_json::to_string(plain.expose()).unwrap_or_default();
                    *text = format!("{{{{ {literal} }}}}");
                } else {
                    plain.expose().clone_into(text);
                }
            }
            Err(why) => problems.push(Diagnostic::error("secret", &node.span, format!("this secret cannot be opened: {why}")).help(HELP)),
        },
        Kind::Text(text) if is_secret => hide(text),
        Kind::List(items) => items.iter_mut().for_each(|item| unseal(item, is_secret, problems)),
        Kind::Table(entries) => entries.iter_mut().for_each(|entry| unseal(&mut entry.value, is_secret, problems)),
        _ => {}
    }
}

/// What helps whoever cannot open a secret.
pub const HELP: &str = "name your key with `--identity FILE` or `MUTATE_IDENTITY`; `mutate secret init` makes one";

fn with_keys<T>(open: impl FnOnce(&Identities) -> Result<T, Unreadable>) -> Result<T, String> {
    let mut keys = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Keys::Named(_) = &*keys
        && let Keys::Named(load) = std::mem::replace(&mut *keys, Keys::None)
    {
        *keys = Keys::Read(load().map_err(|error| format!("{error:#}")));
    }
    match &*keys {
        Keys::Read(Ok(identities)) => open(identities).map_err(|why| {
            let left_out = if identities.left_out.is_empty() { String::new() } else { format!(" ({})", identities.left_out.join("; ")) };
            format!("{why}{left_out}")
        }),
        Keys::Read(Err(why)) => Err(why.clone()),
        Keys::None | Keys::Named(_) => Err("no key was named".into()),
    }
}
