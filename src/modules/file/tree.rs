//! A mode for a whole tree, in the form that `file_tree_look` and `file_tree_meta` take.

use crate::module::Mode;

/// `-` for no mode, one part for all, or `FOLDERS,EXECUTABLES,OTHERS`; a part is octal, or `+SET-CLEAR`.
///
/// `None` when it cannot be said that way: a mode that copies permissions, such as `g=u`.
pub fn words_for_tree(mode: Option<&Mode>) -> Option<String> {
    let Some(mode) = mode else { return Some("-".to_owned()) };
    let folders = part(mode, true, |_| true)?;
    let executables = part(mode, false, |old| old & 0o111 != 0)?;
    let others = part(mode, false, |old| old & 0o111 == 0)?;
    if folders == executables && folders == others {
        return Some(folders);
    }
    Some(format!("{folders},{executables},{others}"))
}

/// Which bits are on and which are off afterwards, whatever the old mode was; the others have to stay as they were.
fn part(mode: &Mode, is_folder: bool, belongs: fn(u32) -> bool) -> Option<String> {
    let olds = || (0..=0o7777).filter(|&old| belongs(old));
    let after = |old| mode.applied_to(old, is_folder);
    let set = olds().fold(0o7777, |bits, old| bits & after(old));
    let clear = 0o7777 & !olds().fold(0, |bits, old| bits | after(old));
    if olds().any(|old| after(old) != old & !clear | set) {
        return None;
    }
    Some(match (set, clear) {
        (0, 0) => "-".to_owned(),
        (set, clear) if set | clear == 0o7777 => format!("{set:04o}"),
        (set, clear) => {
            // A bit that never was on, such as x where nothing is executable, need not be cleared.
            let (ever_on, ever_off) = olds().fold((0, 0), |(on, off), old| (on | old, off | !old));
            match (set & ever_off & 0o7777, clear & ever_on) {
                (0, 0) => "-".to_owned(),
                (set, clear) => format!("+{set:04o}-{clear:04o}"),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::words_for_tree;
    use crate::module::Mode;

    fn words(mode: &str) -> Option<String> {
        let text = format!("\"{mode}\"");
        words_for_tree(Some(&serde_json::from_str::<Mode>(&text).expect(mode)))
    }

    #[test]
    fn a_mode_is_split_by_what_it_means_for_folders_and_files() {
        assert_eq!(words("0750").as_deref(), Some("0750"));
        assert_eq!(words("a+x").as_deref(), Some("+0111-0000"));
        assert_eq!(words("go-w").as_deref(), Some("+0000-0022"));
        assert_eq!(words("a+X").as_deref(), Some("+0111-0000,+0111-0000,-"));
        assert_eq!(words("u=rwx,g=rx,o=").as_deref(), Some("+0750-1027,0750,0750"));
        assert_eq!(words_for_tree(None).as_deref(), Some("-"));
    }

    #[test]
    fn copied_permissions_cannot_be_said_for_a_tree() {
        assert_eq!(words("g=u"), None);
    }
}
