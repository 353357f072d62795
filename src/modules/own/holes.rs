//! Where a hole may stand in sh text: never within quotes, where the quotes that it brings would end those around it.

use std::ops::Range;

/// The first hole that stands in quotes or in a comment, or a here-document, with what is wrong with it.
pub fn misplaced(text: &str) -> Option<(Range<usize>, &'static str)> {
    let bytes = text.as_bytes();
    let mut inside: Vec<u8> = Vec::new();
    let mut follows_tag = false;
    let mut at = 0;
    while at < bytes.len() {
        let Some(rest) = text.get(at..) else {
            // Within a letter of several bytes.
            at += 1;
            continue;
        };
        let here = inside.last().copied();
        // They would take blanks and newlines away, and with them the end of a comment.
        for (open, close) in [("{{", "}}"), ("{%", "%}"), ("{##", "##}")] {
            let inner = rest.strip_prefix(open).and_then(|rest| rest.split_once(close));
            if inner.is_some_and(|(inner, _)| inner.starts_with('-') || inner.ends_with('-')) {
                return Some((at..at + open.len() + 1, "a tag with `-` takes away what ends a word or a comment; write it without"));
            }
        }
        if rest.starts_with("{{") {
            let length = rest.find("}}").map_or(rest.len(), |end| end + 2);
            match here {
                Some(b'\'' | b'"') => return Some((at..at + length, "a hole brings its own quotes, so it cannot stand within quotes")),
                Some(b'`') => return Some((at..at + length, "a hole cannot stand within backticks; write `$( … )`")),
                Some(b'{') => return Some((at..at + length, "a hole cannot stand within `${ … }`; give it to a variable first")),
                Some(b'#') => return Some((at..at + length, "a hole cannot stand in a comment, which its text could leave")),
                Some(b'+') if !is_number(&rest[..length]) => return Some((at..at + length, "text in `$(( … ))` is evaluated; write `{{ … | int }}`")),
                _ => at += length,
            }
            continue;
        }
        if let Some(end) = [("{%", "%}"), ("{##", "##}")].iter().find_map(|(open, close)| rest.starts_with(open).then(|| rest.find(close).map_or(rest.len(), |end| end + close.len()))) {
            // The newline after a tag goes with it.
            at += end + usize::from(rest[..end].ends_with("%}") && rest[end..].starts_with('\n'));
            follows_tag = true;
            continue;
        }
        let byte = bytes[at];
        match (here, byte) {
            (Some(b'\''), b'\'') | (Some(b'#'), b'\n') => {
                inside.pop();
            }
            (Some(b'\'' | b'#'), _) => {}
            (_, b'\\') => {
                if rest[1..].starts_with("{{") || rest[1..].starts_with("{%") {
                    return Some((at..at + 3, "a backslash would take away the quote that the hole brings"));
                }
                at += 1;
            }
            (Some(b'+'), b')') if rest.starts_with("))") => {
                inside.pop();
                at += 1;
            }
            (Some(b'"'), b'"') | (Some(b'`'), b'`') | (Some(b'('), b')') | (Some(b'{'), b'}') => {
                inside.pop();
            }
            (_, b'$') if rest.starts_with("$((") => {
                inside.push(b'+');
                at += 2;
            }
            (_, b'$') if rest.starts_with("$(") => {
                inside.push(b'(');
                at += 1;
            }
            (_, b'$') if rest.starts_with("${") => {
                inside.push(b'{');
                at += 1;
            }
            (_, b'`' | b'"') => inside.push(byte),
            (Some(b'"'), _) => {}
            (_, b'\'') => inside.push(byte),
            (Some(b'(' | b'+'), b'(') => inside.push(b'('),
            (_, b'<') if rest.starts_with("<<") => return Some((at..at + 2, "a here-document would be written to /tmp; use `printf '%s\\n' … |`")),
            (_, b'#') if at == 0 || follows_tag || b" \t\n;(&|)`".contains(&bytes[at - 1]) => inside.push(byte),
            _ => {}
        }
        follows_tag = false;
        at += 1;
    }
    None
}

/// Whether a hole can only become a number.
fn is_number(hole: &str) -> bool {
    let inner = hole.trim_start_matches("{{").trim_end_matches("}}").trim();
    inner.ends_with("| int") || inner.ends_with("| length") || inner.parse::<i64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::misplaced;

    #[test]
    fn a_hole_in_quotes_is_found() {
        let found = |text: &str| misplaced(text).map(|(range, _)| text[range].to_owned());
        for good in [
            "x {{ a }}", "x=\"$y\"{{ a }}", "x \"$(y {{ a }})\"", "case {{ a }} in (b) x ;; esac", "# it's\nx {{ a }}", "x '\"' {{ a }}", "x \\' {{ a }}",
            "x ${#y} {{ a }}", "x $# {{ a }}", "{% if a == 'b' %}x{% endif %} {{ c }}", "x=$((1 + 2)); y {{ a }}", "x \"a\\\"b\" {{ a }}", "$(x (y) {{ a }}) {{ b }}", "awk '{ print $1 }' {{ a }}", "# é…\nx '…' {{ a }}", "x=$(( {{ a | int }} + (2 * 3) )); y {{ b }}",
        ] {
            assert_eq!(found(good), None, "{good}");
        }
        for bad in ["x \"{{ a }}\"", "x '{{ a }}'", "x `y {{ a }}`", "# {{ a }}", "x \"$(y)\"; z \"b{{ a }}\"", "${x:-{{ a }}}", "x \"$(y \"{{ a }}\")\"", "# c {% if x %}\n{{ a }}", "{% if x %}# {{ a }}", "&&# {{ a }}", "x=$(( {{ a }} + 1 ))"] {
            assert_eq!(found(bad).as_deref().map(|hole| hole.starts_with("{{ a }}")), Some(true), "{bad}");
        }
        for bad in ["# c\n{{- a }}", "x {%- if a %}", "x \\{{ a }}", "\"\\{{ a }}\"", "x {{ a -}}"] {
            assert!(found(bad).is_some(), "{bad}");
        }
        assert_eq!(found("cat <<EOF\n").as_deref(), Some("<<"));
    }
}
