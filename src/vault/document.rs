//! TOML files with encrypted values among plain ones.
//!
//! Values are replaced in the text, where they stand; every other byte stays as it is. While such a file is edited a
//! secret reads `"encrypt:hunter2"`: the mark goes with the text when its key is renamed or moved, so that no secret
//! becomes plain by accident, and a new one is made by writing the mark. The parser's own copies of texts are freed
//! without being overwritten.

use std::ops::Range;

use anyhow::{Context as _, Result, anyhow, bail};
use toml_edit::{Item, TableLike, Value};
use zeroize::Zeroizing;

use super::{Header, Identities, Recipients, Standing, decrypt_value, encrypt_value, is_encrypted_value, seal};
use crate::secret::Secret;

/// What a text starts with that is to be encrypted.
pub const MARK: &str = "encrypt:";

/// A text in a document.
pub struct Spot {
    /// The keys that lead to it: `database.password`, `users[0].token`.
    pub path: String,
    /// The text as TOML means it.
    pub value: Zeroizing<String>,
    span: Range<usize>,
}

/// A document with its secrets in the open.
pub struct Opened {
    pub text: Zeroizing<String>,
    known: Vec<Known>,
}

/// A secret of a document as it was before.
struct Known {
    path: String,
    plain: Secret,
    /// The encrypted value as it stands in the file, with its quotes.
    raw: String,
}

/// A document with its secrets encrypted.
pub struct Sealed {
    pub text: String,
    /// Keys whose values were encrypted anew.
    pub encrypted: Vec<String>,
}

/// The encrypted values of a document, in their order.
///
/// # Errors
/// When it is no TOML.
pub fn sealed_values(text: &str) -> Result<Vec<Spot>> {
    Ok(texts(text)?.into_iter().filter(|spot| is_encrypted_value(&spot.value)).collect())
}

impl Spot {
    /// For whom the value is encrypted.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn header(&self) -> Result<Header> {
        let header = seal::value_bytes(&self.value).and_then(|bytes| Header::of(&bytes));
        header.with_context(|| format!("the value of `{}`", self.path))
    }

    fn opened(&self, identities: &Identities) -> Result<Secret> {
        decrypt_value(&self.value, identities).with_context(|| format!("the value of `{}`", self.path))
    }
}

/// The document with every secret decrypted; with `mark`, each begins with [`MARK`].
///
/// # Errors
/// The first value that cannot be decrypted.
pub fn opened_document(text: &str, identities: &Identities, mark: &str) -> Result<Opened> {
    let mut known = Vec::new();
    let mut changes = Vec::new();
    for spot in sealed_values(text)? {
        let plain = spot.opened(identities)?;
        changes.push((spot.span.clone(), quoted(mark, plain.expose())));
        known.push(Known { raw: text[spot.span].to_owned(), path: spot.path, plain });
    }
    Ok(Opened { text: spliced(text, &changes), known })
}

/// The document with every marked text encrypted. A secret that was there before keeps its encrypted value, as it stood.
///
/// # Errors
/// When it is no TOML, or a value that was encrypted stands without its mark; the message repeats nothing of it.
pub fn sealed_document(text: &str, before: Option<&Opened>, recipients: &Recipients) -> Result<Sealed> {
    let mut known: Vec<&Known> = before.map(|opened| opened.known.iter().collect()).unwrap_or_default();
    let (mut encrypted, mut changes, mut marked) = (Vec::new(), Vec::new(), Vec::new());
    for spot in texts(text)? {
        if spot.value.starts_with(MARK) {
            marked.push(spot);
        } else if known.iter().any(|old| old.is_bared_by(&spot)) {
            // Whoever replaces a password may replace its mark as well, and would never notice.
            bail!("`{0}` was encrypted, and would stand in the open now; begin it with `{MARK}` (if it is to be in the open, remove it first, and add it the next time)", spot.path);
        }
    }
    // First those that stayed under their key, so that a copy under another one does not take their value.
    marked.sort_by_key(|spot| !known.iter().any(|old| old.path == spot.path && spot.value[MARK.len()..] == *old.plain.expose()));
    for spot in marked {
        let plain = &spot.value[MARK.len()..];
        let same = |old: &&Known| old.plain.expose() == plain;
        let found = known.iter().position(|old| old.path == spot.path && same(old)).or_else(|| known.iter().position(same));
        let raw = if let Some(at) = found {
            known.remove(at).raw.clone()
        } else {
            encrypted.push(spot.path.clone());
            format!("\"{}\"", encrypt_value(plain, recipients))
        };
        changes.push((spot.span, Zeroizing::new(raw)));
    }
    changes.sort_by_key(|(span, _)| span.start);
    Ok(Sealed { text: spliced(text, &changes).to_string(), encrypted })
}

impl Known {
    /// Whether a text without a mark took its place. In a list places move, so there only the same text counts.
    fn is_bared_by(&self, spot: &Spot) -> bool {
        self.path == spot.path && !is_encrypted_value(&spot.value) && (!self.path.contains('[') || *self.plain.expose() == *spot.value)
    }
}

/// The document with each value encrypted anew that is not encrypted for exactly these recipients, and their keys.
///
/// # Errors
/// The first such value that cannot be decrypted.
pub fn rekeyed_document(text: &str, identities: &Identities, recipients: &Recipients) -> Result<(String, Vec<String>)> {
    let mut changes = Vec::new();
    let mut paths = Vec::new();
    for spot in sealed_values(text)? {
        if spot.header()?.is_for(recipients) == Standing::Current {
            continue;
        }
        let value = encrypt_value(spot.opened(identities)?.expose(), recipients);
        changes.push((spot.span, Zeroizing::new(format!("\"{value}\""))));
        paths.push(spot.path);
    }
    Ok((spliced(text, &changes).to_string(), paths))
}

/// Every value that is no list and no table, in the order of the file; a number or a date as it is written.
fn texts(text: &str) -> Result<Vec<Spot>> {
    let document = toml_edit::Document::parse(text).map_err(|error| {
        // What the parser says beyond this would show a line of the file.
        let line = 1 + error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count());
        anyhow!("it is no TOML, line {line}: {}", error.message().lines().next().unwrap_or_default())
    })?;
    let mut found = Vec::new();
    in_table(document.as_table(), "", &mut found)?;
    found.sort_by_key(|spot| spot.span.start);
    Ok(found)
}

fn in_table(table: &dyn TableLike, path: &str, found: &mut Vec<Spot>) -> Result<()> {
    for (key, item) in table.iter() {
        let is_bare = !key.is_empty() && key.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_".contains(letter));
        let key = if is_bare { key.to_owned() } else { format!("{key:?}") };
        let path = if path.is_empty() { key } else { format!("{path}.{key}") };
        match item {
            Item::None => {}
            Item::Value(value) => in_value(value, &path, found)?,
            Item::Table(table) => in_table(table, &path, found)?,
            Item::ArrayOfTables(tables) => {
                for (at, table) in tables.iter().enumerate() {
                    in_table(table, &format!("{path}[{at}]"), found)?;
                }
            }
        }
    }
    Ok(())
}

fn in_value(value: &Value, path: &str, found: &mut Vec<Spot>) -> Result<()> {
    match value {
        Value::Array(list) => {
            for (at, value) in list.iter().enumerate() {
                in_value(value, &format!("{path}[{at}]"), found)?;
            }
        }
        Value::InlineTable(table) => in_table(table, path, found)?,
        _ => {
            let Some(span) = value.span() else { bail!("the value of `{path}` has no place in the file") };
            let value = Zeroizing::new(value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            found.push(Spot { path: path.to_owned(), value, span });
        }
    }
    Ok(())
}

/// The text with parts of it replaced; they are sorted and do not overlap.
fn spliced(text: &str, changes: &[(Range<usize>, Zeroizing<String>)]) -> Zeroizing<String> {
    let mut new = Zeroizing::new(String::with_capacity(text.len() + changes.iter().map(|(_, part)| part.len()).sum::<usize>()));
    let mut at = 0;
    for (span, part) in changes {
        new.push_str(&text[at..span.start]);
        new.push_str(part);
        at = span.end;
    }
    new.push_str(&text[at..]);
    new
}

/// A text as TOML writes it: on lines of its own when it has more than one.
fn quoted(mark: &str, text: &str) -> Zeroizing<String> {
    let is_long = text.contains('\n');
    // The longest escape of one byte has six letters.
    let mut new = Zeroizing::new(String::with_capacity(mark.len() + text.len() * 6 + 8));
    new.push_str(if is_long { "\"\"\"\n" } else { "\"" });
    new.push_str(mark);
    for letter in text.chars() {
        match letter {
            '\n' => new.push('\n'),
            '\t' => new.push('\t'),
            '"' => new.push_str("\\\""),
            '\\' => new.push_str("\\\\"),
            '\r' => new.push_str("\\r"),
            '\0'..='\u{1f}' | '\u{7f}' => {
                new.push_str("\\u00");
                let code = u32::from(letter);
                new.extend([code >> 4, code & 15].map(|digit| char::from_digit(digit, 16).unwrap_or('0')));
            }
            _ => new.push(letter),
        }
    }
    new.push_str(if is_long { "\"\"\"" } else { "\"" });
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::testing::{Team, identities, recipients};

    const VARS: &str = "# a comment\nport = 80   # kept\npassword = 'encrypt:hunter2'\n\n[db]\nlist = [ \"encrypt:a\", \"b\" , { \"odd key\" = \"encrypt:c\\\"\\\\d\" } ]\n\n[[users]]\nkey = \"\"\"\nencrypt:one\ntwo\\r\n\"\"\"\nplain = \"age:42\"\n";

    fn sealed(text: &str, before: Option<&Opened>, team: &Team) -> Sealed {
        sealed_document(text, before, &recipients(&[&team.alice])).expect("a document")
    }

    #[test]
    fn marked_texts_are_encrypted_and_the_rest_stays() {
        let team = Team::new();
        let first = sealed(VARS, None, &team);
        assert_eq!(first.encrypted, ["password", "db.list[0]", "db.list[2].\"odd key\"", "users[0].key"]);
        assert!(first.text.starts_with("# a comment\nport = 80   # kept\npassword = \"age:YWdl"));
        assert!(!first.text.contains("hunter2") && first.text.contains(", \"b\" , {") && first.text.ends_with("\nplain = \"age:42\"\n"));
        let found: Vec<String> = sealed_values(&first.text).expect("values").into_iter().map(|spot| spot.path).collect();
        assert_eq!(found, first.encrypted);

        let ids = identities(&[&team.alice]);
        let open = opened_document(&first.text, &ids, MARK).expect("open");
        let mean = |text: &str| texts(text).expect("TOML").into_iter().map(|spot| (spot.path, spot.value.to_string())).collect::<Vec<_>>();
        assert_eq!(mean(&open.text), mean(VARS));
        let again = sealed(&open.text, Some(&open), &team);
        assert_eq!(again.text, first.text, "what did not change stays as it was");
        assert!(again.encrypted.is_empty());
        let view = opened_document(&first.text, &ids, "").expect("open");
        assert!(view.text.contains("password = \"hunter2\""));
    }

    #[test]
    fn only_what_changed_is_encrypted_anew() {
        let team = Team::new();
        let first = sealed(VARS, None, &team);
        let open = opened_document(&first.text, &identities(&[&team.alice]), MARK).expect("open");
        let edited = open.text.replace("password =", "secret =").replace("encrypt:a\"", "encrypt:x\"");
        let second = sealed(&edited, Some(&open), &team);
        assert_eq!(second.encrypted, ["db.list[0]"]);
        let line = |text: &str| text.lines().find(|line| line.contains("\"age:YWdl")).map(|line| line.split('=').skip(1).collect::<String>());
        assert_eq!(line(&first.text), line(&second.text), "a renamed key keeps its encrypted value");
    }

    #[test]
    fn a_secret_does_not_become_plain_by_accident() {
        let team = Team::new();
        let first = sealed(VARS, None, &team);
        let open = opened_document(&first.text, &identities(&[&team.alice]), MARK).expect("open");
        let refused = |from: &str, to: &str| {
            let edited = open.text.replace(from, to);
            sealed_document(&edited, Some(&open), &recipients(&[&team.alice])).err().map(|error| error.to_string())
        };
        assert!(refused("\"encrypt:hunter2\"", "\"new\"").expect("a reason").starts_with("`password` was encrypted, and would"));
        assert!(refused("\"encrypt:hunter2\"", "12345").expect("a reason").starts_with("`password` was"));
        assert!(refused("encrypt:one", "one").expect("a reason").starts_with("`users[0].key` was"));
        assert_eq!(refused("password = \"encrypt:hunter2\"", ""), None, "removed");
        assert_eq!(refused("\"encrypt:a\", ", ""), None, "the list moved up");
    }

    #[test]
    fn rekeying_touches_what_is_for_others_only() {
        let team = Team::new();
        let (alice, both) = (recipients(&[&team.alice]), recipients(&[&team.alice, &team.bob]));
        let text = format!("a = \"{}\"\nb = '{}'\n", encrypt_value("1", &alice), encrypt_value("2", &both));
        let (new, changed) = rekeyed_document(&text, &identities(&[&team.alice]), &both).expect("rekeyed");
        assert_eq!(changed, ["a"]);
        assert_eq!(new.lines().nth(1), text.lines().nth(1));
        let (same, changed) = rekeyed_document(&new, &identities(&[]), &both).expect("nothing to decrypt");
        assert_eq!((same.as_str(), changed.len()), (new.as_str(), 0));
        assert_eq!(*opened_document(&new, &identities(&[&team.bob]), "").expect("open").text, "a = \"1\"\nb = \"2\"\n");
        let error = rekeyed_document(&text, &identities(&[&team.carol]), &both).expect_err("a message");
        assert!(format!("{error:#}").starts_with("the value of `a`: it is encrypted for 1 age key, and "), "{error:#}");
    }

    #[test]
    fn every_text_survives() {
        let team = Team::new();
        for text in ["", "\"", "\"\"\"", "\n", "\n\n", "a\r\nb", "\u{0}\u{1f}\u{7f}\t", "\\n", "é😀\u{85}\u{2028}", "x\n\"\"\"\"\n", "\n\\", "encrypt:"] {
            let value = encrypt_value(text, &recipients(&[&team.alice]));
            let open = opened_document(&format!("a = '{value}'"), &identities(&[&team.alice]), "").expect("open");
            let spots = texts(&open.text).expect("TOML");
            assert_eq!(*spots[0].value, text);
            let open = opened_document(&format!("a = ['{value}']"), &identities(&[&team.alice]), MARK).expect("open");
            assert_eq!(*texts(&open.text).expect("TOML")[0].value, format!("{MARK}{text}"));
        }
    }

    #[test]
    fn a_broken_document_is_told_without_its_content() {
        let team = Team::new();
        let error = sealed_document("a = 1\nb = encrypt:hunter2\n", None, &recipients(&[&team.alice])).err().expect("a message");
        let error = format!("{error:#}");
        assert!(error.starts_with("it is no TOML, line 2") && !error.contains("hunter2"), "{error}");
    }
}
