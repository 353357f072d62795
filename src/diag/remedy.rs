//! What surely mends a problem: a few bytes in place of others.

use super::{Kind, SourceId, Span, parse};

/// New text for a place, as long as there stands what was thought of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    pub span: Span,
    pub was: Was,
    pub text: String,
}

/// What must stand there. What came out of a secret or a template, or stands elsewhere, does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Was {
    /// A name, bare or in quotes, which it keeps.
    Name(String),
    /// A text in quotes. The new text brings its own, if any.
    Text(String),
    /// A number, written just so.
    Number(String),
    /// A number without any sign, which is put in quotes as it is written.
    AnyNumber,
    /// A text in quotes, which is put into a list.
    Alone(String),
    /// A text in quotes that has this word once.
    Word(String),
}

impl Remedy {
    /// What takes the place of these bytes; nothing where they are not what was thought of.
    pub fn in_place_of(&self, raw: &str) -> Option<String> {
        if raw.contains(['\n', '\r']) {
            return None;
        }
        match &self.was {
            Was::Name(name) if raw == name => Some(self.text.clone()),
            Was::Name(name) => {
                let quote = raw.chars().next().filter(|first| ['"', '\''].contains(first))?;
                let is_same = text_of(raw)? == *name && !raw.starts_with("\"\"\"") && !raw.starts_with("'''");
                let is_bare = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
                // Quotes that only its dots needed would be odd in a key, but a value needs them.
                is_same.then(|| if is_bare(&self.text) || !self.text.contains(quote) { format!("{quote}{}{quote}", self.text) } else { self.text.clone() })
            }
            Was::Text(text) => (text_of(raw)? == *text).then(|| self.text.clone()),
            Was::Number(number) => (raw == number).then(|| self.text.clone()),
            Was::AnyNumber => (!raw.is_empty() && raw.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')).then(|| format!("\"{raw}\"")),
            Was::Alone(text) => (text_of(raw)? == *text).then(|| format!("[{raw}]")),
            Was::Word(word) => {
                let _text = text_of(raw)?;
                let ends = |letter: char| !(letter.is_alphanumeric() || "_.'\"\\".contains(letter));
                let inner = raw.get(1..raw.len().checked_sub(1)?)?;
                let mut found = inner.match_indices(word.as_str()).filter(|(at, _)| {
                    let before = inner[..*at].chars().next_back();
                    let after = inner[at + word.len()..].chars().next();
                    // A method or a part may follow.
                    before.is_none_or(ends) && after.is_none_or(|letter| ends(letter) || letter == '.')
                });
                let (at, _) = found.next().filter(|_| found.next().is_none() && inner.matches(word.as_str()).count() == 1)?;
                Some(format!("{}{}{}", &raw[..=at], self.text, &raw[1 + at + word.len()..]))
            }
        }
    }
}

/// The content of a text in quotes.
fn text_of(raw: &str) -> Option<String> {
    let mut problems = Vec::new();
    let tree = parse(SourceId::default(), &format!("x = {raw}\n"), &mut problems);
    match &tree.get("x")?.kind {
        Kind::Text(text) if problems.is_empty() && tree.entries().len() == 1 => Some(text.clone()),
        _ => None,
    }
}

/// A text in quotes, as somebody would write it.
pub fn quoted(text: &str) -> String {
    if text.contains(['"', '\\']) && !text.contains(['\'', '\n', '\r']) && !text.chars().any(char::is_control) {
        format!("'{text}'")
    } else {
        serde_json::to_string(text).unwrap_or_default().replace('\u{7f}', "\\u007f")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(was: Was, text: &str, raw: &str) -> Option<String> {
        Remedy { span: Span { source: SourceId::default(), bytes: 0..0 }, was, text: text.into() }.in_place_of(raw)
    }

    #[test]
    fn only_what_was_thought_of_is_replaced() {
        let name = || Was::Name("nmae".into());
        assert_eq!(check(name(), "name", "nmae").as_deref(), Some("name"));
        assert_eq!(check(name(), "name", "'nmae'").as_deref(), Some("'name'"));
        assert_eq!(check(name(), "name", "nmaes"), None);
        assert_eq!(check(Was::Text("yes".into()), "true", "\"yes\"").as_deref(), Some("true"));
        assert_eq!(check(Was::Text("yes".into()), "true", "\"age:secret\""), None, "what came out of a secret");
        assert_eq!(check(Was::Number("644".into()), "\"0644\"", "0o1204"), None, "the same number, otherwise written");
        assert_eq!(check(Was::AnyNumber, "", "1.10").as_deref(), Some("\"1.10\""));
        assert_eq!(check(Was::AnyNumber, "", "1_000"), None);
        assert_eq!(check(Was::Alone("a".into()), "", "'a'").as_deref(), Some("['a']"));
        assert_eq!(check(Was::Text("{}".into()), "true", "{\"a\": 1}"), None);
    }

    #[test]
    fn a_word_is_replaced_where_it_stands_once_and_alone() {
        let word = |raw: &str| check(Was::Word("prot".into()), "port", raw);
        assert_eq!(word("\"prot > 80\"").as_deref(), Some("\"port > 80\""));
        assert_eq!(word("'{{ prot }}'").as_deref(), Some("'{{ port }}'"));
        for raw in ["\"prot == 'prot'\"", "\"prots\"", "\"a.prot\"", "\"x == 'prot'\"", "\"prot + prot\"", "prot"] {
            assert_eq!(word(raw), None, "{raw}");
        }
    }

    #[test]
    fn text_is_quoted_as_somebody_would() {
        assert_eq!([quoted("a == 'b'"), quoted("a == \"b\""), quoted("'\"")], ["\"a == 'b'\"", "'a == \"b\"'", "\"'\\\"\""]);
    }
}
