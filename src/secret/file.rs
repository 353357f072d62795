//! Files that hold a secret, and programs that print one.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Secret;

/// The longest secret that is read, in bytes.
const LIMIT_BYTES: usize = 64 << 10;

/// The first line of a file; of one that may be executed, the first line that it prints. A pipe or a descriptor of the
/// shell (`<(pass show web)`) is read as a file, too.
///
/// # Errors
/// Why there is no such line.
pub fn secret_of_file(path: &Path) -> Result<Secret, String> {
    let about = std::fs::metadata(path).map_err(crate::diag::plainly)?;
    if about.is_dir() {
        return Err("it is a folder".into());
    }
    let bytes = if about.is_file() && about.permissions().mode() & 0o111 != 0 { printed(path)? } else { read(path)? };
    let bytes = zeroize::Zeroizing::new(bytes);
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let text = std::str::from_utf8(line).map_err(|_| "its first line is no text in UTF-8".to_owned())?;
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err("its first line is empty".into());
    }
    Ok(Secret::new(text))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(LIMIT_BYTES as u64).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn printed(path: &Path) -> Result<Vec<u8>, String> {
    let path = std::path::absolute(path).map_err(|error| error.to_string())?;
    let output = Command::new(path).stdin(Stdio::null()).stderr(Stdio::inherit()).output().map_err(|error| format!("it may be executed, but: {error}"))?;
    if !output.status.success() {
        return Err(format!("it was executed, and ended with {}", output.status));
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_mode(text: &str, mode: u32) -> Result<Secret, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a mode");
        secret_of_file(&path)
    }

    #[test]
    fn the_first_line_counts() {
        assert_eq!(with_mode("hunter2\r\nmore\n", 0o600).expect("a secret").expose(), "hunter2");
        assert!(with_mode("\n", 0o600).is_err());
    }

    #[test]
    fn a_program_is_asked() {
        assert_eq!(with_mode("#!/bin/sh\necho hunter2\n", 0o700).expect("a secret").expose(), "hunter2");
        assert!(with_mode("#!/bin/sh\nexit 3\n", 0o700).expect_err("a failure").contains('3'));
    }
}
