//! The nearest known word to a mistyped one.

/// The candidate nearest to `word`, if any is near enough to be what was meant.
///
/// Near enough: at most one edit for every three characters (at least one), swaps of neighbours counted once. A letter
/// alone is near to nothing.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|&(distance, candidate)| distance <= limit && distance < lower.chars().count() && candidate != word)
        .min_by_key(|&(distance, candidate)| (distance, candidate))
        .map(|(_, candidate)| candidate)
}

/// The candidate that was surely meant: the only one that is near, by a slip of one letter, or of two in a long word. A number is never taken
/// for another.
pub fn sure<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    let (near, slip) = ((length / 3).max(1), if length < 8 { 1 } else { 2 });
    let lower = word.to_lowercase();
    let mut found: Vec<(usize, &str)> = candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|&(distance, candidate)| distance <= near && candidate != word)
        .collect();
    found.sort_unstable();
    found.dedup();
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    match found.as_slice() {
        [(distance, one)] if *distance <= slip && length > 2 && digits(one) == digits(word) => Some(one),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{nearest, sure};

    #[test]
    fn what_is_sure_is_near_and_alone() {
        let words = ["template", "lineinfile", "file", "find", "web1", "mode"];
        assert_eq!(sure("tempalte", words), Some("template"));
        assert_eq!(sure("flie", words), Some("file"));
        assert_eq!(sure("fine", words), None, "two are near");
        assert_eq!((sure("web2", words), sure("mo", words), sure("lineifie", ["lineinfile"])), (None, None, Some("lineinfile")));
    }

    #[test]
    fn a_slip_of_the_finger_finds_its_word() {
        let words = ["template", "lineinfile", "file", "shell"];
        assert_eq!(nearest("tempalte", words), Some("template"));
        assert_eq!(nearest("flie", words), Some("file"));
        assert_eq!(nearest("docker", words), None);
        assert_eq!((nearest("", ["a"]), nearest("b", ["a"])), (None, None));
    }
}
