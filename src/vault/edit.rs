//! Runs the user's editor on a secret text.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use super::scratch::Scratch;

/// How a text is edited.
pub struct Editor<'a> {
    /// The command of `$VISUAL` or `$EDITOR`, with its options; a shell reads it.
    pub command: &'a str,
    /// Where the text may lie meanwhile, best first: see [`scratch_folders`].
    pub folders: &'a [PathBuf],
    /// Tells the user something, such as that the text is on a disk while it is edited.
    pub tell: &'a dyn Fn(&str),
    /// Told why the edited text could not be encrypted and stored; whether the editor is to be opened with it again.
    pub again: &'a dyn Fn(&str) -> bool,
}

/// The folder of the user's session, which is in memory and private; memory that all share; the folder for temporary
/// files, which is often on a disk.
pub fn scratch_folders(session: Option<&OsStr>, temporary: PathBuf) -> Vec<PathBuf> {
    let session = session.filter(|path| !path.is_empty()).map(PathBuf::from).filter(|path| path.is_absolute());
    session.into_iter().chain([PathBuf::from("/dev/shm"), temporary]).collect()
}

impl Editor<'_> {
    /// What `take` makes of the edited text; `None` when the text stayed the same. When `take` fails the text is kept,
    /// and edited again if the user wants.
    ///
    /// # Errors
    /// When the editor fails, or `take` does and the user gives up.
    pub(super) fn edited<T>(&self, name: &str, text: &[u8], mut take: impl FnMut(&[u8]) -> Result<T>) -> Result<Option<T>> {
        let scratch = Scratch::new(self.folders, name, text)?;
        if !scratch.is_in_memory() {
            (self.tell)(&format!("while it is edited the text lies in `{}`, which may be on a disk", scratch.file.display()));
        }
        loop {
            run(self.command, &scratch.file)?;
            let new = scratch.text()?;
            if new.as_slice() == text {
                return Ok(None);
            }
            match take(&new) {
                Ok(taken) => return Ok(Some(taken)),
                Err(error) if (self.again)(&format!("{error:#}")) => {}
                Err(error) => return Err(error.context("nothing was stored, and what was edited is gone")),
            }
        }
    }
}

/// Runs the editor until it ends. A Ctrl-C is for the editor; when this program is to end, the editor ends first, so that
/// the text is removed.
fn run(command: &str, file: &Path) -> Result<()> {
    if command.trim().is_empty() {
        bail!("no editor is named; set `EDITOR`");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the editor")?;
    runtime.block_on(async {
        // As long as these are there, the signals do not end us.
        let _ours = (signal(SignalKind::interrupt())?, signal(SignalKind::quit())?);
        let (mut end, mut hangup) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
        let mut child = tokio::process::Command::new("sh")
            .arg("-c")
            .arg(format!("{command} \"$@\""))
            .arg("editor")
            .args(private_options(command))
            .arg(file)
            .kill_on_drop(true)
            .spawn()
            .context("starting the editor")?;
        let status = tokio::select! {
            status = child.wait() => status.context("waiting for the editor")?,
            _ = end.recv() => bail!("ended by a signal while the editor was open; nothing changed"),
            _ = hangup.recv() => bail!("the terminal is gone; nothing changed"),
        };
        if !status.success() {
            bail!("the editor `{command}` ended with {status}; nothing changed");
        }
        Ok(())
    })
}

/// Options by which the editors of the vim family keep no copies elsewhere.
fn private_options(command: &str) -> &'static [&'static str] {
    let program = command.split_whitespace().next().and_then(|word| Path::new(word).file_name()).and_then(OsStr::to_str);
    match program {
        Some("vim" | "nvim" | "gvim" | "vimx") => &["-n", "-i", "NONE", "-c", "set nobackup nowritebackup noundofile"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::vault::testing::{Team, folder, identities, recipients, write};
    use crate::vault::{Edited, Identities, Recipients, decrypt, edit_file, encrypt, encrypt_binary, view_file};

    /// Edits by a shell command whose `$1` is the file; gives the outcome, what the user was told, and that nothing was left.
    fn edited(path: &Path, script: &str, again: usize, to: &Recipients, with: &Identities) -> (Result<Edited>, Vec<String>) {
        // One editor at a time: a signal is for the whole process.
        static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let scratch = folder();
        let told = RefCell::new(Vec::new());
        let tell = |text: &str| told.borrow_mut().push(text.to_owned());
        let again = |why: &str| {
            told.borrow_mut().push(why.to_owned());
            told.borrow().iter().filter(|text| !text.contains("on a disk")).count() <= again
        };
        let command = format!("f() {{ {script}; }}; f");
        let folders = [PathBuf::from("/no/such/folder"), scratch.path().to_owned()];
        let outcome = edit_file(path, to, with, &Editor { command: &command, folders: &folders, tell: &tell, again: &again });
        assert_eq!(std::fs::read_dir(scratch.path()).expect("a folder").count(), 0, "nothing is left");
        (outcome, told.take().into_iter().filter(|text| !text.contains("on a disk")).collect())
    }

    #[test]
    fn a_file_is_edited_and_the_same_text_is_not_written() {
        let team = Team::new();
        let (path, to, with) = (team.at("web.toml.age"), recipients(&[&team.alice]), identities(&[&team.alice]));
        for old in [encrypt(b"old\n", &to).into_bytes(), encrypt_binary(b"old\n", &to)] {
            std::fs::write(&path, &old).expect("a file");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
            let look = "test \"$(stat -c %a \"$1\" \"$(dirname \"$1\")\" | tr '\\n' ' ')\" = '600 700 ' && test \"$(basename \"$1\")\" = web.toml";
            assert_eq!(edited(&path, look, 0, &to, &with).0.expect("looked at"), Edited::Unchanged);
            assert_eq!(std::fs::read(&path).expect("a file"), old);
            // A Ctrl-C is the editor's.
            assert_eq!(edited(&path, "kill -INT $PPID; echo new >\"$1.bak\"; mv \"$1.bak\" \"$1\"; echo x >\"$1~\"", 0, &to, &with).0.expect("edited"), Edited::Written);
            let new = std::fs::read(&path).expect("a file");
            assert_eq!((decrypt(&new, &with).expect("a text").as_slice(), new[0] == b'-'), (&b"new\n"[..], old[0] == b'-'));
            assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_failure_leaves_the_file_as_it_was() {
        let team = Team::new();
        let (path, to, with) = (team.at("a.age"), recipients(&[&team.alice]), identities(&[&team.alice]));
        let old = encrypt(b"old\n", &to);
        write(&path, &old);
        let why = |script: &str| format!("{:#}", edited(&path, script, 0, &to, &with).0.expect_err("a reason"));
        assert!(why("echo hunter2 >\"$1\"; return 3").contains("exit status: 3; nothing changed"));
        assert!(why("rm \"$1\"").contains("after the editor: there is no such file"));
        assert!(why("kill -TERM $PPID; sleep 5").contains("ended by a signal"));
        assert!(edited(&path, "true", 0, &to, &identities(&[&team.bob])).0.is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), old);
        // Another program writes it while the editor is open: the text is offered again, and nothing is lost.
        let meanwhile = format!("echo meanwhile >'{}'; echo new >>\"$1\"", path.display());
        let (outcome, told) = edited(&path, &meanwhile, 1, &to, &with);
        assert!(format!("{:#}", outcome.expect_err("a reason")).contains("what was edited is gone"));
        assert!(told.len() == 2 && told[0].contains("changed by another program"), "{told:?}");
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), "meanwhile\n");
    }

    #[test]
    fn a_document_is_edited_with_its_secrets_marked() {
        let team = Team::new();
        let (path, to, with) = (team.at("vars.toml"), recipients(&[&team.alice]), identities(&[&team.alice]));
        let make = "printf 'a = \"encrypt:1\"\\nb = 2\\nc = \"encrypt:3\"\\n' >\"$1\"";
        assert_eq!(edited(&path, make, 0, &to, &with).0.expect("made"), Edited::Written);
        let first = std::fs::read_to_string(&path).expect("a file");
        assert_eq!(edited(&path, "grep -q '^a = \"encrypt:1\"' \"$1\"", 0, &to, &with).0.expect("looked at"), Edited::Unchanged);
        assert_eq!(edited(&path, "sed -i \"s/\\\"encrypt:1\\\"/'encrypt:1'/\" \"$1\"", 0, &to, &with).0.expect("quoted"), Edited::Unchanged);
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), first);
        // Broken once, mended when the editor opens again.
        let (outcome, told) = edited(&path, "if grep -q broken \"$1\"; then sed -i 's/^broken//; s/encrypt:3/encrypt:4/' \"$1\"; else sed -i 's/^b/broken b/' \"$1\"; fi", 1, &to, &with);
        assert_eq!(outcome.expect("edited"), Edited::Written);
        assert!(told[0].starts_with("it is no TOML, line 2"), "{told:?}");
        let second = std::fs::read_to_string(&path).expect("a file");
        assert_eq!(second.lines().next(), first.lines().next());
        assert!(view_file(&path, &with).expect("a text").ends_with(b"\nc = \"4\"\n") && !second.contains("encrypt:"));
    }

    #[test]
    fn a_panic_leaves_nothing_behind() {
        let scratch = folder();
        let places = [scratch.path().to_owned()];
        let held = scratch.path().join("held");
        let panicked = std::panic::catch_unwind(|| {
            let inner = Scratch::new(&places, "text", b"hunter2").expect("a folder");
            // A second name shows what became of the content.
            std::fs::hard_link(&inner.file, &held).expect("a link");
            panic!("on purpose");
        });
        assert!(panicked.is_err());
        assert_eq!(std::fs::read(&held).expect("the content"), [0; 7]);
        assert_eq!(std::fs::read_dir(scratch.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn folders_in_memory_come_first() {
        let folders = scratch_folders(Some(OsStr::new("/run/user/7")), "/tmp".into());
        assert_eq!(folders, ["/run/user/7", "/dev/shm", "/tmp"].map(PathBuf::from));
        assert_eq!(scratch_folders(Some(OsStr::new("")), "/tmp".into()).len(), 2);
    }
}
