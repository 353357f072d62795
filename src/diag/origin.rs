//! Where a value comes from that stands in no file of the project: a command, the environment, or a file of its own.

use std::fmt::{self, Display};
use std::path::PathBuf;

use super::Node;

/// The ways in which a value can be fetched on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    Command,
    Environment,
    File,
}

impl Way {
    pub const ALL: [Self; 3] = [Self::Command, Self::Environment, Self::File];

    /// The key that stands for it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Command => "secret_from_command",
            Self::Environment => "secret_from_env",
            Self::File => "secret_from_file",
        }
    }
}

/// A source of a secret, as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    pub way: Way,
    /// The words of the command, or the one name or path. Each is a text, and may have holes.
    pub words: Vec<Node>,
    /// The folder of the file that names it.
    pub folder: PathBuf,
}

impl Origin {
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.words.iter().filter_map(Node::text)
    }
}

/// As it is written in TOML.
impl Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted: Vec<String> = self.texts().map(|word| format!("\"{}\"", word.escape_debug())).collect();
        match self.way {
            Way::Command => write!(f, "{{ {} = [{}] }}", self.way.key(), quoted.join(", ")),
            _ => write!(f, "{{ {} = {} }}", self.way.key(), quoted.join(", ")),
        }
    }
}
