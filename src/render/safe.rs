//! Text from elsewhere, made safe for a terminal: nothing in it can move the cursor, change colours or fool the eye.

/// The text with every control character, byte that is no UTF-8 and direction mark made visible. Newlines and tabs stay.
pub fn safe(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            push(&mut text, letter);
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

fn push(text: &mut String, letter: char) {
    match letter {
        '\n' | '\t' => text.push(letter),
        // A carriage return before a newline is only a foreign end of line, but shown all the same.
        '\0'..='\x1f' | '\x7f' => text.push_str(&format!("\\x{:02x}", letter as u32)),
        '\u{80}'..='\u{9f}' => text.push_str(&format!("\\u{{{:x}}}", letter as u32)),
        // Marks that turn the direction of writing around, or hide.
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{61c}' => {
            text.push_str(&format!("\\u{{{:x}}}", letter as u32));
        }
        _ => text.push(letter),
    }
}

#[cfg(test)]
mod tests {
    use super::safe;

    #[test]
    fn nothing_reaches_the_terminal_that_could_move_it() {
        assert_eq!(safe(b"a\x1b[2Jb\rc\x07\n\td\xff\xc2\x9b"), "a\\x1b[2Jb\\x0dc\\x07\n\td\\xff\\u{9b}");
        assert_eq!(safe("x\u{202e}y".as_bytes()), "x\\u{202e}y");
        let once = safe(&(0..=255).collect::<Vec<u8>>());
        assert_eq!(safe(once.as_bytes()), once);
        assert!(once.bytes().all(|byte| byte >= 0x20 || byte == b'\n' || byte == b'\t'));
    }
}
