//! What a probe must answer after a change, as a `case` pattern that the target itself can match.

use serde::{Deserialize, Serialize};

use super::push_quoted;

/// A text with gaps: exact pieces, and places where anything may stand.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pattern {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Piece {
    #[serde(with = "text_or_bytes")]
    Exactly(Vec<u8>),
    Anything,
}

/// Mostly it is text, which JSON holds in a quarter of the space of a list of numbers.
mod text_or_bytes {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let either = String::from_utf8(bytes.to_vec()).map_or_else(|error| Either::Bytes(error.into_bytes()), Either::Text);
        either.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        Ok(match Either::deserialize(deserializer)? {
            Either::Text(text) => text.into_bytes(),
            Either::Bytes(bytes) => bytes,
        })
    }
}

impl Pattern {
    /// Fits whatever comes.
    pub fn anything() -> Self {
        Self { pieces: vec![Piece::Anything] }
    }

    /// Fits this text alone.
    pub fn exactly(text: impl Into<Vec<u8>>) -> Self {
        Self { pieces: vec![Piece::Exactly(text.into())] }
    }

    #[must_use]
    pub fn and(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.pieces.push(Piece::Exactly(text.into()));
        self
    }

    #[must_use]
    pub fn and_anything(mut self) -> Self {
        self.pieces.push(Piece::Anything);
        self
    }

    /// The pattern as it stands after `in` of a `case`.
    pub fn sh(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Exactly(bytes) if bytes.is_empty() => {}
                Piece::Exactly(bytes) => push_quoted(&mut text, bytes),
                Piece::Anything => text.push(b'*'),
            }
        }
        if text.is_empty() {
            text.extend_from_slice(b"''");
        }
        text
    }

    /// Whether the text fits, by the same rule as the target's shell.
    pub fn fits(&self, text: &[u8]) -> bool {
        fits(&self.pieces, text)
    }
}

fn fits(pieces: &[Piece], text: &[u8]) -> bool {
    match pieces.split_first() {
        None => text.is_empty(),
        Some((Piece::Exactly(bytes), rest)) => text.strip_prefix(bytes.as_slice()).is_some_and(|text| fits(rest, text)),
        Some((Piece::Anything, [])) => true,
        Some((Piece::Anything, rest)) => (0..=text.len()).any(|at| fits(rest, &text[at..])),
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for piece in &self.pieces {
            match piece {
                Piece::Exactly(bytes) => f.write_str(&String::from_utf8_lossy(bytes))?,
                Piece::Anything => f.write_str("…")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn a_pattern_fits_its_text_with_gaps() {
        let pattern = Pattern::exactly("active ").and_anything().and("\nenabled\n");
        assert!(pattern.fits(b"active running\nenabled\n"));
        assert!(!pattern.fits(b"active running\ndisabled\n"));
        assert_eq!(pattern.sh(), b"'active '*'\nenabled\n'");
    }
}
