//! Where a hole may stand in sh text: never within quotes, where the quotes that it brings would end those around it.

use std::ops::Range;

/// The first hole that stands in quotes or in a comment, or a here-document, with what is wrong with it.
pub fn misplaced(text: &str) -> Option<(Range<usize>, &'static str)> {
    let bytes = text.as_bytes();
    let mut inside: Vec<u8> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let Some(rest) = text.get(at..) else {
            // Within a letter of several bytes.
            at += 1;
            continue;
        };
        let here = inside.last().copied();
        if rest.starts_with("{{") {
            let length = rest.find("}}").map_or(rest.len(), |end| end + 2);
            match here {
                Some(b'\'' | b'"') => return Some((at..at + length, "a hole brings its own quotes, so it cannot stand within quotes")),
                Some(b'`') => return Some((at..at + length, "a hole cannot stand within backticks; write `$( … )`")),
                Some(b'{') => return Some((at..at + length, "a hole cannot stand within `${ … }`; give it to a variable first")),
                Some(b'#') => return Some((at..at + length, "a hole cannot stand in a comment, which its text could leave")),
                _ => at += length,
            }
            continue;
        }
        if let Some(end) = [("{%", "%}"), ("{##", "##}")].iter().find_map(|(open, close)| rest.starts_with(open).then(|| rest.find(close).map_or(rest.len(), |end| end + close.len()))) {
            at += end;
            continue;
        }
        let byte = bytes[at];
        match (here, byte) {
            (Some(b'\''), b'\'') | (Some(b'#'), b'\n') => drop(inside.pop()),
            (Some(b'\'' | b'#'), _) => {}
            (_, b'\\') => at += 1,
            (Some(b'"'), b'"') | (Some(b'`'), b'`') | (Some(b'('), b')') | (Some(b'{'), b'}') => drop(inside.pop()),
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
            (Some(b'('), b'(') => inside.push(byte),
            (_, b'<') if rest.starts_with("<<") => return Some((at..at + 2, "a here-document would be written to /tmp; use `printf '%s\\n' … |`")),
            (_, b'#') if at == 0 || b" \t\n;(".contains(&bytes[at - 1]) => inside.push(byte),
            _ => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::misplaced;

    #[test]
    fn a_hole_in_quotes_is_found() {
        let found = |text: &str| misplaced(text).map(|(range, _)| text[range].to_owned());
        for good in [
            "x {{ a }}", "x=\"$y\"{{ a }}", "x \"$(y {{ a }})\"", "case {{ a }} in (b) x ;; esac", "# it's\nx {{ a }}", "x '\"' {{ a }}", "x \\' {{ a }}",
            "x ${#y} {{ a }}", "x $# {{ a }}", "{% if a == 'b' %}x{% endif %} {{ c }}", "x=$((1 + 2)); y {{ a }}", "x \"a\\\"b\" {{ a }}", "$(x (y) {{ a }}) {{ b }}", "awk '{ print $1 }' {{ a }}", "# é…\nx '…' {{ a }}",
        ] {
            assert_eq!(found(good), None, "{good}");
        }
        for bad in ["x \"{{ a }}\"", "x '{{ a }}'", "x `y {{ a }}`", "# {{ a }}", "x \"$(y)\"; z \"b{{ a }}\"", "${x:-{{ a }}}", "x \"$(y \"{{ a }}\")\""] {
            assert_eq!(found(bad).as_deref().map(|hole| hole.starts_with("{{ a }}")), Some(true), "{bad}");
        }
        assert_eq!(found("cat <<EOF\n").as_deref(), Some("<<"));
    }
}
