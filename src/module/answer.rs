//! What a host said to a probe.

use anyhow::{Result, bail};

/// The answer to a probe. Its bytes are compared again right before a change; the remark is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: i32,
    pub stdout: Vec<u8>,
    /// What the probe wrote on stderr.
    pub remark: Vec<u8>,
}

impl Answer {
    /// The text of a good answer.
    ///
    /// # Errors
    /// Status 3 is a sentence for the user; any other status but 0 is an error of its own.
    pub fn text(&self) -> Result<&str> {
        match self.status {
            0 => std::str::from_utf8(&self.stdout).map_err(|_| anyhow::anyhow!("the answer of the host is not UTF-8")),
            3 => bail!("{}", String::from_utf8_lossy(&self.stdout).trim()),
            status => bail!("the question to the host ended with status {status}{}", self.said()),
        }
    }

    /// The bytes of a good answer.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn bytes(&self) -> Result<&[u8]> {
        match self.status {
            0 => Ok(&self.stdout),
            3 => bail!("{}", String::from_utf8_lossy(&self.stdout).trim()),
            status => bail!("the question to the host ended with status {status}{}", self.said()),
        }
    }

    /// The value on the line that begins with this word, in a good answer of lines such as `uid 1000`.
    pub fn field<'a>(text: &'a str, word: &str) -> Option<&'a str> {
        text.lines().find_map(|line| match line.strip_prefix(word)? {
            "" => Some(""),
            rest => rest.strip_prefix(' '),
        })
    }

    fn said(&self) -> String {
        let remark = String::from_utf8_lossy(&self.remark);
        match remark.trim() {
            "" => String::new(),
            said => format!(": {said}"),
        }
    }
}
