//! A command line split into words, as a shell would do it but without any expansion.

/// Splits on blanks; quotes and backslashes group, and nothing is expanded.
///
/// # Errors
/// A quote that is never closed, or a backslash at the very end.
pub fn split_words(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = line.chars();
    while let Some(letter) = rest.next() {
        match letter {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next() {
                        Some('\'') => break,
                        Some(letter) => word.push(letter),
                        None => return Err("a `'` is never closed"),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next() {
                        Some('"') => break,
                        Some('\\') => match rest.next() {
                            Some(letter @ ('"' | '\\' | '$' | '`')) => word.push(letter),
                            Some(letter) => word.extend(['\\', letter]),
                            None => return Err("a `\"` is never closed"),
                        },
                        Some(letter) => word.push(letter),
                        None => return Err("a `\"` is never closed"),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(rest.next().ok_or("it ends with a `\\`")?),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::split_words;

    #[test]
    fn quotes_group_and_nothing_is_expanded() {
        let words = split_words(r#"echo 'a b' "c \"d\" \n" e\ f $HOME '' *"#);
        let expected = ["echo", "a b", "c \"d\" \\n", "e f", "$HOME", "", "*"];
        assert_eq!(words.as_deref(), Ok(expected.map(String::from).as_slice()));
    }

    #[test]
    fn an_open_quote_is_an_error() {
        assert_eq!(split_words("echo 'a"), Err("a `'` is never closed"));
    }
}
