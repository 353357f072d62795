//! Other texts in place of those that stand in a TOML file; everything else of the file stays, byte for byte.

use std::ops::Range;

use similar::{Algorithm, DiffTag, capture_diff_slices};

use crate::diag::{Kind, Node, Sources, parse};

/// A text of the file, by where it stands with its quotes, and what it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splice {
    pub place: Range<usize>,
    pub text: String,
}

/// The file with these texts. What comes out has been read once more: it says exactly this, and all else as before.
///
/// # Errors
/// Why it cannot be done.
pub fn spliced(file: &str, splices: &[Splice]) -> Result<String, String> {
    let before = read(file).ok_or("it is no TOML any more")?;
    let mut splices: Vec<&Splice> = splices.iter().collect();
    splices.sort_by_key(|splice| splice.place.start);
    if splices.windows(2).any(|pair| pair[0].place.end > pair[1].place.start) {
        return Err("two of its texts stand at one place".into());
    }
    if splices.iter().any(|splice| splice.text.contains('\0')) {
        return Err("TOML cannot hold a NUL".into());
    }
    // In the manner of the text that is there; else as plainly as can be.
    for token in [token_like as fn(&str, &str) -> String, |_, text| basic(text)] {
        let (mut new, mut at) = (String::with_capacity(file.len()), 0);
        for splice in &splices {
            let old = file.get(splice.place.clone()).filter(|old| old.len() >= 2 && old.starts_with(['"', '\''])).ok_or("what stands there is no text in quotes")?;
            new.push_str(&file[at..splice.place.start]);
            new.push_str(&token(old, &splice.text));
            at = splice.place.end;
        }
        new.push_str(&file[at..]);
        if read(&new).is_some_and(|after| says(&before, &after, &splices)) {
            return Ok(new);
        }
    }
    Err("the new text cannot be put there so that it is read as it is".into())
}

fn read(text: &str) -> Option<Node> {
    let mut problems = Vec::new();
    let source = Sources::default().add("spliced", text);
    let node = parse(source, text, &mut problems);
    problems.is_empty().then_some(node)
}

/// Whether a file says the same as before, but for these texts.
fn says(before: &Node, after: &Node, splices: &[&Splice]) -> bool {
    if let Some(splice) = splices.iter().find(|splice| splice.place == before.span.bytes) {
        return after.text() == Some(splice.text.as_str());
    }
    match (&before.kind, &after.kind) {
        (Kind::List(left), Kind::List(right)) => left.len() == right.len() && left.iter().zip(right).all(|(left, right)| says(left, right, splices)),
        (Kind::Table(left), Kind::Table(right)) => left.len() == right.len() && left.iter().zip(right).all(|(left, right)| left.key.name == right.key.name && says(&left.value, &right.value, splices)),
        (left, right) => left == right,
    }
}

/// A text in the manner of another one: in its quotes, on one line or on several.
fn token_like(old: &str, text: &str) -> String {
    let newline = if old.contains("\r\n") { "\r\n" } else { "\n" };
    let bare = |allowed: &[char]| !text.chars().any(|letter| letter.is_control() && !allowed.contains(&letter));
    for (quotes, is_literal) in [("\"\"\"", false), ("'''", true)] {
        let Some(body) = old.strip_prefix(quotes).and_then(|old| old.strip_suffix(quotes)) else { continue };
        let has_break = body.starts_with(newline);
        let open = if has_break || text.starts_with('\n') { newline } else { "" };
        let body = body.strip_prefix(newline).unwrap_or(body);
        if is_literal && bare(&['\n', '\t']) && !text.contains(quotes) && !text.ends_with('\'') && newline == "\n" {
            return format!("{quotes}{open}{text}{quotes}");
        }
        let lines = if is_literal { text.split('\n').map(in_lines).collect() } else { lines_like(body, text) };
        let mut body = lines.join("\n");
        if body.ends_with('"') && !body.ends_with("\\\"") {
            body.truncate(body.len() - 1);
            body.push_str("\\\"");
        }
        return format!("\"\"\"{}{body}\"\"\"", if open.is_empty() { "" } else { "\n" });
    }
    if old.starts_with('\'') && bare(&['\t']) && !text.contains('\'') { format!("'{text}'") } else { basic(text) }
}

/// The lines of a text of several lines; those that were there already are written as they were.
fn lines_like(old: &str, text: &str) -> Vec<String> {
    let raw: Vec<&str> = old.split('\n').collect();
    let said: Option<Vec<String>> = raw.iter().map(|line| read(&format!("x = \"\"\"{line}\"\"\"")).and_then(|file| file.get("x")?.text().map(str::to_owned))).collect();
    let new: Vec<&str> = text.split('\n').collect();
    let Some(said) = said.filter(|said| said.iter().all(|line| !line.contains('\n'))) else { return new.into_iter().map(in_lines).collect() };
    let said: Vec<&str> = said.iter().map(String::as_str).collect();
    let mut lines = Vec::new();
    for op in capture_diff_slices(Algorithm::Myers, &said, &new) {
        match op.tag() {
            DiffTag::Equal => lines.extend(raw[op.old_range()].iter().map(|line| (*line).to_owned())),
            _ => lines.extend(new[op.new_range()].iter().map(|line| in_lines(line))),
        }
    }
    lines
}

/// A line as it may stand between `"""`.
fn in_lines(line: &str) -> String {
    let mut text = String::new();
    let mut quotes = 0;
    for letter in line.chars() {
        quotes = if letter == '"' { quotes + 1 } else { 0 };
        match letter {
            '"' if quotes == 3 => {
                text.push_str("\\\"");
                quotes = 0;
            }
            '"' | '\t' => text.push(letter),
            _ => push(&mut text, letter),
        }
    }
    text
}

/// A text on one line, between `"`.
fn basic(text: &str) -> String {
    let mut token = String::from("\"");
    text.chars().for_each(|letter| if letter == '"' { token.push_str("\\\"") } else { push(&mut token, letter) });
    token.push('"');
    token
}

fn push(text: &mut String, letter: char) {
    match letter {
        '\\' => text.push_str("\\\\"),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        letter if letter.is_control() => text.push_str(&format!("\\u{:04x}", u32::from(letter))),
        letter => text.push(letter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file with another text for its `x`.
    fn splice(file: &str, text: &str) -> String {
        let place = read(file).expect("TOML").get("x").expect("x").span.bytes.clone();
        let new = spliced(file, &[Splice { place, text: text.into() }]).unwrap_or_else(|error| panic!("{error}: {file}"));
        assert_eq!(read(&new).expect("TOML").get("x").and_then(Node::text), Some(text), "{new}");
        new
    }

    #[test]
    fn a_text_keeps_its_quotes_where_they_can_hold_it() {
        assert_eq!(splice("# a\nx = \"old\" # b\ny = 1\n", "n\"e\\w\n"), "# a\nx = \"n\\\"e\\\\w\\n\" # b\ny = 1\n");
        assert_eq!(splice("x = 'old'\n", "new \\ \""), "x = 'new \\ \"'\n");
        assert_eq!(splice("x = 'old'\n", "it's\n"), "x = \"it's\\n\"\n");
        assert_eq!(splice("a = { x = 'b' }\nx = '''\nold\n'''\n", "new\n\\d\n"), "a = { x = 'b' }\nx = '''\nnew\n\\d\n'''\n");
        assert_eq!(splice("x = '''\nold\n'''\n", "'''\n"), "x = \"\"\"\n'''\n\"\"\"\n");
        assert_eq!(splice("x = '''old'''\n", "\nb"), "x = '''\n\nb'''\n");
    }

    #[test]
    fn lines_that_stay_are_written_as_they_were() {
        let file = "x = \"\"\"\na\\tb \\u00e9\nold\nc\\\\d\n\"\"\"\n";
        assert_eq!(splice(file, "a\tb \u{e9}\nnew \\ \"\"\"\"\nc\\d\nmore\n"), "x = \"\"\"\na\\tb \\u00e9\nnew \\\\ \"\"\\\"\"\nc\\\\d\nmore\n\"\"\"\n");
        // A line that goes on, and an escaped newline, belong to no single line.
        assert_eq!(splice("x = \"\"\"a \\\n  b\\nc\"\"\"\n", "a b\nd"), "x = \"\"\"a b\nd\"\"\"\n");
        assert_eq!(splice("x = \"\"\"\na\"\"\"\n", "ends with \""), "x = \"\"\"\nends with \\\"\"\"\"\n");
        assert!(splice("x = \"\"\"\r\na\r\nb\r\n\"\"\"\r\ny = 1\r\n", "c\n").ends_with("\"\"\"\r\ny = 1\r\n"));
        splice("x = \"\"\"\na\n\"\"\"\n", "tab\tcr\r\nbell\u{7}\u{7f}\n\\\n");
        splice("x = ''\n", "");
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let refused = |file: &str, place: Range<usize>| spliced(file, &[Splice { place, text: "a".into() }]).expect_err("refused");
        assert_eq!(refused("x = 1\n", 4..5), "what stands there is no text in quotes");
        assert_eq!(refused("x = \n", 0..1), "it is no TOML any more");
        // A part of a text is not the text.
        assert!(spliced("x = \"a'b'c\"\n", &[Splice { place: 6..9, text: "a".into() }]).is_err());
    }

    #[test]
    fn any_text_can_be_put_anywhere() {
        use proptest::prelude::*;
        let tokens = prop::sample::select(vec!["'a'", "\"a\"", "'''\na\nb\n'''", "\"\"\"\na\n\\tb\n\"\"\"", "\"\"\"a\"\"\"", "'''a'''"]);
        let texts = prop::collection::vec(prop::sample::select(vec!["a", "b\n", "\n", "\"", "'", "\\", "\t", "\r", "\u{1}", "\u{e9}", "\"\"\"", "'''"]), 0..12);
        proptest!(|(token in tokens, text in texts)| {
            splice(&format!("# é\nx = {token} # c\n[t]\nx = 'a'\n"), &text.concat());
        });
    }
}
