//! Any bytes on one line, as `core_esc` prints them: a backslash doubled, a newline as `\n`.

/// Bytes as `core_esc` prints them.
pub fn escaped(bytes: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\\' => line.extend_from_slice(b"\\\\"),
            b'\n' => line.extend_from_slice(b"\\n"),
            _ => line.push(byte),
        }
    }
    line
}

/// The bytes that `core_esc` has printed.
pub fn unescaped(line: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(line.len());
    let mut rest = line.iter();
    while let Some(&byte) = rest.next() {
        match byte {
            b'\\' => match rest.next() {
                Some(b'n') => bytes.push(b'\n'),
                Some(&other) => bytes.push(other),
                None => bytes.push(b'\\'),
            },
            _ => bytes.push(byte),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_come_back_from_one_line() {
        for bytes in [&b"plain"[..], b"a\nb\\n", b"\\", b"\xff \t", b""] {
            let line = escaped(bytes);
            assert!(!line.contains(&b'\n'));
            assert_eq!(unescaped(&line), bytes);
        }
    }
}
