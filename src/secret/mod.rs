//! Values that must not be seen.
//!
//! A [`Secret`] prints as `***` and gives its value only to `.expose()`, so that one search finds every place
//! that reads one.

mod fetch;
mod file;
mod masks;
mod origin;

use zeroize::Zeroizing;

pub use fetch::{Fetched, Gathering, Wanted, fetch_wanted, fetched, never_fetch, without_noting};
pub use file::secret_of_file;
pub use origin::{is_any_per_host, is_any_traced, trace};
pub use masks::{bytes_without_hidden, count_hidden, hide, holds_hidden, is_any_hidden, json_without_hidden, longest_hidden, surely_holds_hidden, without_hidden};

/// What is shown in place of a secret value.
pub const MASK: &str = "***";

/// Text that is never printed; its memory is overwritten when it is dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The value itself, for the one place that hands it to its user.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(MASK)
    }
}

impl std::fmt::Display for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_secret_prints_as_stars() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(secret.expose(), "hunter2");
    }
}
