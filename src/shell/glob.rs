//! Names with `*` and `?` in them.

/// Whether a text fits a pattern, in which `*` stands for any text and `?` for one byte. It takes no longer than the product
/// of both lengths.
pub fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut in_text) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while in_text < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, in_text));
                at += 1;
            }
            Some(b'?') => {
                at += 1;
                in_text += 1;
            }
            Some(letter) if *letter == text[in_text] => {
                at += 1;
                in_text += 1;
            }
            _ => match star {
                // The last `*` takes one letter more.
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    at = place + 1;
                    in_text = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|letter| *letter == b'*')
}
