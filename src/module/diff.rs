//! Differences as text that people read.

use similar::TextDiff;

/// Content longer than this is not shown, in bytes.
pub const SHOWN_BYTES: usize = 256 << 10;

/// A unified diff between two contents of a file. Bytes that are no text are only counted.
pub fn unified(path: &str, before: Option<&[u8]>, after: Option<&[u8]>) -> String {
    // A name with a line break would look like a line of the diff.
    let path = path.replace('\n', "\\n");
    let label = |side: Option<&[u8]>| if side.is_some() { path.clone() } else { "/dev/null".to_owned() };
    let (left, right) = (before.unwrap_or_default(), after.unwrap_or_default());
    let (Some(old), Some(new)) = (text(left), text(right)) else {
        return format!("--- {}\n+++ {}\nbinary content: {} bytes -> {} bytes\n", label(before), label(after), left.len(), right.len());
    };
    if left.len() + right.len() > 2 * SHOWN_BYTES {
        return format!("--- {}\n+++ {}\nlarge content: {} bytes -> {} bytes\n", label(before), label(after), left.len(), right.len());
    }
    // A carriage return alone ends no line here, nor for `patch`.
    let [old, new] = [old, new].map(|text| text.split_inclusive('\n').collect::<Vec<_>>());
    TextDiff::configure().newline_terminated(true).diff_slices(&old, &new).unified_diff().context_radius(3).header(&label(before), &label(after)).to_string()
}

/// A patch of one file of this machine, as `git apply` and `patch -p1` take it; nothing where the contents are no text.
pub fn patch(path: &str, before: &[u8], after: &[u8]) -> Option<String> {
    let (before, after) = (text(before)?, text(after)?);
    let [old, new] = [before, after].map(|text| text.split_inclusive('\n').collect::<Vec<_>>());
    let name = |side: &str| {
        let name = format!("{side}/{path}");
        let is_odd = |letter: char| letter.is_control() || letter == '"' || letter == '\\';
        match () {
            () if name.contains(is_odd) => format!("{name:?}"),
            // So that what comes behind a blank is no time.
            () if name.contains(' ') => format!("{name}\t"),
            () => name,
        }
    };
    Some(TextDiff::configure().newline_terminated(true).diff_slices(&old, &new).unified_diff().context_radius(3).header(&name("a"), &name("b")).to_string())
}

/// One line for each property that differs, as a diff.
pub fn properties(title: &str, changes: &[(&str, String, String)]) -> String {
    let mut text = format!("--- {title}\n+++ {title}\n");
    for (name, before, after) in changes {
        text.push_str(&format!("-{name} {before}\n+{name} {after}\n"));
    }
    text
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_newline_ends_a_line() {
        let expected = "--- /dev/null\n+++ /a\\nb\n@@ -0,0 +1,2 @@\n+a\rb\n+c\n\\ No newline at end of file\n";
        assert_eq!(unified("/a\nb", None, Some(b"a\rb\nc")), expected);
    }

    #[test]
    fn a_patch_is_named_as_git_reads_it() {
        assert_eq!(patch("a/b", b"x\n", b"y").as_deref(), Some("--- a/a/b\n+++ b/a/b\n@@ -1 +1 @@\n-x\n+y\n\\ No newline at end of file\n"));
        assert!(patch("a b", b"", b"y\n").is_some_and(|text| text.starts_with("--- a/a b\t\n+++ b/a b\t\n@@ -0,0 +1 @@\n")));
        assert!(patch("a\"b", b"", b"y\n").is_some_and(|text| text.starts_with("--- \"a/a\\\"b\"\n")));
        assert_eq!(patch("a", b"x", b"\0"), None);
    }

    #[test]
    fn text_is_shown_line_by_line() {
        let expected = "--- /etc/motd\n+++ /etc/motd\n@@ -1,2 +1,2 @@\n hello\n-old\n+new\n";
        assert_eq!(unified("/etc/motd", Some(b"hello\nold\n"), Some(b"hello\nnew\n")), expected);
    }

    #[test]
    fn what_is_no_text_is_only_counted() {
        assert!(unified("/x", None, Some(b"\0\xff")).ends_with("binary content: 0 bytes -> 2 bytes\n"));
    }
}
