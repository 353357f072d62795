//! One line in a text: bytes in, bytes out.
//!
//! Outside of the line in question not a byte changes: line endings, a byte order mark, a missing newline at the end
//! and what is not UTF-8 stay.

use regex::bytes::Regex;

use crate::modules::text::{Line, expanded, holds, lines_of, push, split_mark};

/// What is to be done with a text.
#[derive(Debug)]
pub struct Edit {
    /// The wanted line without its ending. For [`absent`](Self::absent) it may be empty when `find` is not `Line`.
    pub line: Vec<u8>,
    pub find: Find,
    pub place: Place,
    /// The line holds references such as `\1` to groups of the pattern; without a match nothing is done.
    pub backrefs: bool,
    /// Of several lines that fit, the first one counts, not the last one.
    pub first_match: bool,
}

/// Which line is replaced or removed.
#[derive(Debug)]
pub enum Find {
    /// The one that is already as wanted.
    Line,
    Pattern(Regex),
    /// Lines that hold this text.
    Text(Vec<u8>),
}

/// Where a new line goes when no line was found.
#[derive(Debug)]
pub enum Place {
    End,
    Start,
    /// After the line that fits, else at the end.
    After(Regex),
    Before(Regex),
}

impl Edit {
    /// The text with the line in it.
    pub fn present(&self, text: &[u8]) -> Vec<u8> {
        let (mark, body) = split_mark(text);
        let lines = lines_of(body);
        let found = match self.find {
            Find::Line => None,
            _ => self.pick(lines.iter().map(|line| self.fits(line.text))),
        };
        let new = match found {
            Some(at) => Some(self.replaced(&lines, at)),
            None if lines.iter().any(|line| line.text == self.line) || self.backrefs => None,
            None => Some(self.inserted(&lines)),
        };
        new.map_or_else(|| text.to_vec(), |body| [mark, body.as_slice()].concat())
    }

    /// The text without any line that fits.
    pub fn absent(&self, text: &[u8]) -> Vec<u8> {
        let (mark, body) = split_mark(text);
        let stays = |line: &Line| match self.find {
            Find::Line => line.text != self.line,
            _ => !self.fits(line.text),
        };
        let mut new = mark.to_vec();
        for line in lines_of(body).into_iter().filter(stays) {
            push(&mut new, line);
        }
        new
    }

    fn fits(&self, line: &[u8]) -> bool {
        match &self.find {
            Find::Line => line == self.line,
            Find::Pattern(pattern) => pattern.is_match(line),
            Find::Text(text) => holds(line, text),
        }
    }

    /// The number of the line that counts among those that fit.
    fn pick(&self, fits: impl DoubleEndedIterator<Item = bool> + ExactSizeIterator) -> Option<usize> {
        let mut fits = fits;
        if self.first_match { fits.position(|fits| fits) } else { fits.rposition(|fits| fits) }
    }

    fn replaced(&self, lines: &[Line], at: usize) -> Vec<u8> {
        let line = match &self.find {
            Find::Pattern(pattern) if self.backrefs => match pattern.captures(lines[at].text) {
                Some(groups) => expanded(&self.line, &groups),
                None => self.line.clone(),
            },
            _ => self.line.clone(),
        };
        let mut new = Vec::new();
        for (number, old) in lines.iter().enumerate() {
            let text = if number == at { line.as_slice() } else { old.text };
            push(&mut new, Line { text, ending: old.ending });
        }
        new
    }

    fn inserted(&self, lines: &[Line]) -> Vec<u8> {
        let at = match &self.place {
            Place::Start => 0,
            Place::End => lines.len(),
            Place::After(pattern) => {
                self.pick(lines.iter().map(|line| pattern.is_match(line.text))).map_or(lines.len(), |at| at + 1)
            }
            Place::Before(pattern) => {
                self.pick(lines.iter().map(|line| pattern.is_match(line.text))).unwrap_or(lines.len())
            }
        };
        // The new line ends as its neighbours do.
        let neighbours = lines[..at].iter().rev().chain(&lines[at..]);
        let ending = neighbours.map(|line| line.ending).find(|ending| !ending.is_empty()).unwrap_or(b"\n");
        let mut new = Vec::new();
        for line in &lines[..at] {
            let ending = if line.ending.is_empty() { ending } else { line.ending };
            push(&mut new, Line { text: line.text, ending });
        }
        push(&mut new, Line { text: &self.line, ending });
        for line in &lines[at..] {
            push(&mut new, *line);
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::text::references;

    fn regex(pattern: &str) -> Regex {
        Regex::new(pattern).expect(pattern)
    }

    fn line(text: &str) -> Edit {
        Edit { line: text.into(), find: Find::Line, place: Place::End, backrefs: false, first_match: false }
    }

    fn matching(pattern: &str, text: &str) -> Edit {
        Edit { find: Find::Pattern(regex(pattern)), ..line(text) }
    }

    #[track_caller]
    fn check(edit: &Edit, before: &[u8], after: &[u8]) {
        let once = edit.present(before);
        assert_eq!(String::from_utf8_lossy(&once), String::from_utf8_lossy(after));
        assert_eq!(once, after);
    }

    #[track_caller]
    fn check_twice(edit: &Edit, before: &[u8], after: &[u8]) {
        check(edit, before, after);
        check(edit, after, after);
    }

    #[test]
    fn a_line_that_is_there_stays_alone() {
        check_twice(&line("b"), b"a\nb\nc\n", b"a\nb\nc\n");
        check_twice(&line("b"), b"a\nb", b"a\nb");
        check_twice(&line("b"), b"a\r\nb\r\n", b"a\r\nb\r\n");
    }

    #[test]
    fn a_line_is_added_at_the_end() {
        check_twice(&line("b"), b"a\n", b"a\nb\n");
        check_twice(&line("b"), b"", b"b\n");
    }

    #[test]
    fn a_missing_newline_before_the_new_line_is_added() {
        check_twice(&line("b"), b"a", b"a\nb\n");
    }

    #[test]
    fn a_new_line_ends_as_its_neighbours_do() {
        check_twice(&line("b"), b"a\r\n", b"a\r\nb\r\n");
        check_twice(&line("b"), b"x\r\na", b"x\r\na\r\nb\r\n");
        let start = Edit { place: Place::Start, ..line("b") };
        check_twice(&start, b"a\r\n", b"b\r\na\r\n");
    }

    #[test]
    fn the_last_match_is_replaced_or_the_first_if_asked() {
        check_twice(&matching("^a=", "a=9"), b"a=1\nb\na=2\nc\n", b"a=1\nb\na=9\nc\n");
        let first = Edit { first_match: true, ..matching("^a=", "a=9") };
        check_twice(&first, b"a=1\nb\na=2\nc\n", b"a=9\nb\na=2\nc\n");
    }

    #[test]
    fn a_replaced_line_keeps_its_ending() {
        check_twice(&matching("^a", "ab"), b"a\r\nx\r\n", b"ab\r\nx\r\n");
        check_twice(&matching("^a", "ab"), b"x\na", b"x\nab");
    }

    #[test]
    fn the_end_of_a_line_is_before_its_ending() {
        check_twice(&matching("^a$", "a=1"), b"x\r\na\r\n", b"x\r\na=1\r\n");
    }

    #[test]
    fn without_a_match_the_line_is_not_doubled() {
        // A pattern that does not fit the line itself adds it once.
        check_twice(&matching("^#a", "a"), b"x\na\n", b"x\na\n");
        check_twice(&matching("^#a", "a"), b"x\n", b"x\na\n");
    }

    #[test]
    fn a_line_goes_after_the_last_line_that_fits() {
        let after = |first_match| Edit { place: Place::After(regex("^h")), first_match, ..line("n") };
        check_twice(&after(false), b"h1\nx\nh2\ny\n", b"h1\nx\nh2\nn\ny\n");
        check_twice(&after(true), b"h1\nx\nh2\ny\n", b"h1\nn\nx\nh2\ny\n");
        check_twice(&after(false), b"x\nh", b"x\nh\nn\n");
        check_twice(&after(false), b"x\n", b"x\nn\n");
    }

    #[test]
    fn a_line_goes_before_the_last_line_that_fits() {
        let before = |first_match| Edit { place: Place::Before(regex("^h")), first_match, ..line("n") };
        check_twice(&before(false), b"h1\nx\nh2\ny\n", b"h1\nx\nn\nh2\ny\n");
        check_twice(&before(true), b"h1\nx\nh2\ny\n", b"n\nh1\nx\nh2\ny\n");
        check_twice(&before(false), b"x", b"x\nn\n");
    }

    #[test]
    fn a_match_of_the_pattern_outweighs_the_place() {
        let edit = Edit { place: Place::After(regex("^h")), ..matching("^a", "a=1") };
        check_twice(&edit, b"a\nh\n", b"a=1\nh\n");
    }

    #[test]
    fn a_line_goes_to_the_start() {
        let start = Edit { place: Place::Start, ..line("n") };
        check_twice(&start, b"a\n", b"n\na\n");
        check_twice(&start, b"", b"n\n");
        check_twice(&start, b"a", b"n\na");
    }

    #[test]
    fn a_text_is_found_without_being_a_pattern() {
        let edit = Edit { find: Find::Text(b"a.b(".to_vec()), ..line("a.b(1)") };
        check_twice(&edit, b"axb(\na.b(0)\n", b"axb(\na.b(1)\n");
    }

    #[test]
    fn groups_fill_the_line() {
        let edit = Edit { backrefs: true, ..matching("^(a)=(?P<value>.*?)(#.*)?$", r"\1: \g<value>\3\\n") };
        check(&edit, b"a=1\n", b"a: 1\\n\n");
        check(&edit, b"a=1 # x\n", b"a: 1 # x\\n\n");
        assert_eq!(references(r"\1 \g<value> \\2 \12x"), ["1", "value", "12"]);
    }

    #[test]
    fn with_groups_nothing_is_added() {
        let edit = Edit { backrefs: true, ..matching("^(a)=", r"\1=2") };
        check_twice(&edit, b"b\n", b"b\n");
        check_twice(&edit, b"", b"");
    }

    #[test]
    fn without_backrefs_the_line_is_taken_as_it_is() {
        check_twice(&matching("^(a)=", r"a=\1"), b"a=0\n", b"a=\\1\n");
    }

    #[test]
    fn a_byte_order_mark_stays_at_the_start() {
        check_twice(&matching("^a", "a=1"), b"\xef\xbb\xbfa\nb\n", b"\xef\xbb\xbfa=1\nb\n");
        let start = Edit { place: Place::Start, ..line("n") };
        check_twice(&start, b"\xef\xbb\xbfa\n", b"\xef\xbb\xbfn\na\n");
        check_twice(&line("a"), b"\xef\xbb\xbfa", b"\xef\xbb\xbfa");
    }

    #[test]
    fn what_is_no_text_stays() {
        check_twice(&matching("^a", "a=1"), b"\xff\0\x80\na\n\xfe", b"\xff\0\x80\na=1\n\xfe");
        check_twice(&line("n"), b"\xff\r\r\n\n\n", b"\xff\r\r\n\n\nn\n");
    }

    #[test]
    fn every_line_that_fits_is_removed() {
        assert_eq!(matching("^a", "").absent(b"a1\nb\na2"), b"b\n");
        assert_eq!(line("a").absent(b"a\r\nab\r\na\r\n"), b"ab\r\n");
        assert_eq!(line("a").absent(b"\xef\xbb\xbfa\nb"), b"\xef\xbb\xbfb");
        assert_eq!(Edit { find: Find::Text(b"x".to_vec()), ..line("") }.absent(b"axe\nb\nx"), b"b\n");
        assert_eq!(line("z").absent(b"a\nb"), b"a\nb");
    }
}
