//! Which files hold settings, and whether they can be trusted.

use std::fs::{File, Metadata, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User};

use crate::diag::Diagnostic;

/// How the file is called.
pub const NAME: &str = "mutate.toml";
/// The variable that names another one, or `none`.
pub const CONFIG: &str = "MUTATE_CONFIG";
/// Nobody writes so much by hand.
const LIMIT_BYTES: u64 = 1 << 20;

/// A file that was found.
pub struct Found {
    /// As it is shown.
    pub name: String,
    /// What paths in it are relative to.
    pub folder: PathBuf,
    pub text: String,
}

/// The files that count here, the strongest first. Each problem names the file that it is about.
pub fn all(problems: &mut Vec<Diagnostic>) -> Vec<Found> {
    let named = std::env::var_os(CONFIG).filter(|named| !named.is_empty());
    if named.as_ref().is_some_and(|named| named == "none") {
        return Vec::new();
    }
    let home = std::env::home_dir();
    let nearest = named.map(PathBuf::from).or_else(|| nearest(home.as_deref()));
    let configuration = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute()).or_else(|| home.map(|home| home.join(".config")));
    let own = configuration.map(|folder| folder.join("mutate").join(NAME)).filter(|path| path.symlink_metadata().is_ok());
    let is_one = |one: &Path, two: &Path| matches!((one.canonicalize(), two.canonicalize()), (Ok(one), Ok(two)) if one == two);
    let own = own.filter(|own| nearest.as_ref().is_none_or(|nearest| !is_one(nearest, own)));
    let open = |path: PathBuf| match trusted(&path) {
        Ok(text) => Some(Found { name: path.display().to_string(), folder: path.parent().map(Path::to_owned).unwrap_or_default(), text }),
        Err((message, help)) => {
            problems.push(Diagnostic::general("settings", format!("`{}` {message}", path.display())).help(format!("{help}; `{CONFIG}=none` goes without")));
            None
        }
    };
    nearest.into_iter().chain(own).filter_map(open).collect()
}

/// The file in this folder or above it, up to the root of the repository or the home folder. Where there is neither,
/// only this folder counts: what lies above belongs to somebody else.
fn nearest(home: Option<&Path>) -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    let home = home.map(|home| home.canonicalize().unwrap_or_else(|_| home.to_owned()));
    let is_last = |folder: &Path| home.as_deref() == Some(folder) || folder.join(".git").symlink_metadata().is_ok();
    let many = here.ancestors().position(is_last).unwrap_or(0);
    let folder = here.ancestors().take(many + 1).find(|folder| folder.join(NAME).symlink_metadata().is_ok())?;
    // Here it has the name that everybody would write.
    Some(if folder == here { NAME.into() } else { folder.join(NAME) })
}

/// What went wrong, and what to do.
type Refusal = (String, String);

/// The text of a file that nobody else can have written.
fn trusted(path: &Path) -> Result<String, Refusal> {
    let failed = |error: std::io::Error| (format!("cannot be read: {error}"), "mend that, or take it away".to_owned());
    // A link may be anybody's, in a folder of anybody's.
    let real = path.canonicalize().map_err(failed)?;
    let folder_of = |path: &Path| path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
    // What is looked at is what is read. A named pipe would wait for ever.
    let file = OpenOptions::new().read(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits()).open(&real).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() {
        return Err(("is no plain file".into(), "put a plain file there, or take it away".into()));
    }
    if let Some(refusal) = refusal(&real, &about) {
        return Err(refusal);
    }
    for folder in [folder_of(path), folder_of(&real)] {
        let about = folder.metadata().map_err(failed)?;
        if let Some((message, help)) = refusal(&folder, &about) {
            let shown = folder.canonicalize().unwrap_or(folder);
            return Err((format!("is not used: its folder `{}` {message}", shown.display()), help));
        }
    }
    read(file)
}

fn read(file: File) -> Result<String, Refusal> {
    let mut bytes = Vec::new();
    file.take(LIMIT_BYTES + 1).read_to_end(&mut bytes).map_err(|error| (format!("cannot be read: {error}"), "mend that, or take it away".to_owned()))?;
    if bytes.len() as u64 > LIMIT_BYTES {
        return Err(("is larger than 1 MiB".into(), "this is no file of settings; take it away".into()));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").map(<[u8]>::to_vec).unwrap_or(bytes);
    String::from_utf8(bytes).map_err(|_| ("is not UTF-8".into(), "save it as UTF-8".into()))
}

/// Why settings in this folder would be refused.
pub fn distrust(folder: &Path) -> Option<String> {
    folder.metadata().ok().and_then(|about| refusal(folder, &about)).map(|(message, _)| message)
}

/// Why a file or folder is not to be trusted.
fn refusal(path: &Path, about: &Metadata) -> Option<Refusal> {
    let shown = path.display();
    let (uid, mode) = (about.uid(), about.mode());
    if uid != 0 && uid != Uid::effective().as_raw() {
        let owner = User::from_uid(Uid::from_raw(uid)).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
        return Some((format!("belongs to the user {owner}, neither to you nor to root, who could set anything"), format!("`chown` it if it is yours: {shown}")));
    }
    if mode & 0o002 != 0 {
        return Some(("can be written by everybody, who could set anything".into(), format!("take that away: `chmod o-w {shown}`")));
    }
    if mode & 0o020 != 0 && !is_group_of_one(uid, about.gid()) {
        let group = Group::from_gid(Gid::from_raw(about.gid())).ok().flatten().map_or_else(|| about.gid().to_string(), |group| group.name);
        return Some((format!("can be written by the group {group}, who could set anything"), format!("take that away: `chmod g-w {shown}`")));
    }
    None
}

/// Whether a group is the owner's own, in which nobody else is: with such groups files are made writable for the group.
fn is_group_of_one(uid: u32, gid: u32) -> bool {
    let (Ok(Some(user)), Ok(Some(group))) = (User::from_uid(Uid::from_raw(uid)), Group::from_gid(Gid::from_raw(gid))) else { return false };
    user.gid == group.gid && user.name == group.name && group.mem.iter().all(|member| *member == user.name)
}
