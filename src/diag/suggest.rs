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

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_finger_finds_its_word() {
        let words = ["template", "lineinfile", "file", "shell"];
        assert_eq!(nearest("tempalte", words), Some("template"));
        assert_eq!(nearest("flie", words), Some("file"));
        assert_eq!(nearest("docker", words), None);
        assert_eq!((nearest("", ["a"]), nearest("b", ["a"])), (None, None));
    }
}
