//! Folders as they are compared with what a host has.

use crate::modules::copy::Copy;
use std::sync::Arc;

use super::*;
use crate::module::testing::module;
use crate::module::{Local, Module as _, Question, Surroundings};

const ARGUMENTS: &str = "src = 'site/'\ndest = '/srv/www'\nmode = '0644'";

fn around() -> Surroundings {
    let entry = |path: &str, mode, kind| LocalEntry { path: path.into(), mode, kind };
    let content = |text: &str| LocalKind::File(Arc::new(Content::new(text.into())));
    let entries = vec![
        entry("sub/b", 0o755, content("b")),
        entry("a", 0o644, content("a")),
        entry("now", 0o777, LocalKind::Link(b"sub".to_vec())),
        entry("sub", 0o700, LocalKind::Folder),
    ];
    let mut around = Surroundings { home: "/root".into(), ..Surroundings::default() };
    around.files.insert("site/".into(), Local::Folder(Arc::new(entries)));
    around
}

fn verdict(arguments: &str, stdout: &str) -> Result<Verdict> {
    let answer = Answer { stdout: stdout.into(), ..Answer::default() };
    module::<Copy>(arguments).compare(&around(), &answer)
}

fn change(arguments: &str, stdout: &str) -> Change {
    match verdict(arguments, stdout).expect(stdout) {
        Verdict::Differs(change) => *change,
        Verdict::InPlace(_) => panic!("in place"),
    }
}

#[test]
fn all_entries_are_asked_about_at_once() {
    let Question::Ask(script) = module::<Copy>(ARGUMENTS).probe(&around()) else { panic!("a question") };
    let (a, b) = (Content::new(b"a".to_vec()), Content::new(b"b".to_vec()));
    let (a, b) = (&a.sha256()[..HASH], &b.sha256()[..HASH]);
    let expected = format!(
        "copy_tree '/srv/www' '0644' '-' '-' '-'
'copy_look' '0' 'd' '' '-' 'f' 'a' '{a}' 'l' 'now' 'sub' 'd' 'sub' '-' 'f' 'sub/b' '{b}'
printf 'end %s\\n' 5"
    );
    assert_eq!(script.to_string(), expected);
}

#[test]
fn a_tree_that_is_right_is_in_place() {
    assert!(matches!(verdict(ARGUMENTS, "end 5\n"), Ok(Verdict::InPlace(_))));
}

#[test]
fn a_new_tree_is_made_in_one_go() {
    let change = change(ARGUMENTS, "0 absent\nend 5\n");
    let (a, b) = (Content::new(b"a".to_vec()), Content::new(b"b".to_vec()));
    let (a, b) = (&a.sha256()[..HASH], &b.sha256()[..HASH]);
    let expected = format!(
        "file_dir '/srv/www' '0755' '-' '-' || copy_fail
'copy_stage' '/srv/www' '0' || copy_fail
'copy_folders' '0/sub' || copy_fail
copy_text '0/a' 'a' || copy_fail
copy_text '0/sub/b' 'b' || copy_fail
copy_link '0/now' 'sub' || copy_fail
'copy_made' '0644' '-' '-' '{a}' '0/a' '{b}' '0/sub/b' || copy_fail
'copy_made' '0755' '-' '-' '-' '0/sub' || copy_fail
'copy_move' '/srv/www' '0' '-' '-' 'a' 'now' 'sub' || copy_fail
copy_end"
    );
    assert_eq!(change.apply.script.to_string(), expected);
    let expected = "copy_keep_begin
copy_keep_root '/srv/www'
'copy_keep_new' '/srv/www' '/srv/www/%s\\nabsent\\n' 'a' 'now' 'sub' 'sub/b'
copy_keep_end";
    assert_eq!(change.keep.to_string(), expected);
    assert_eq!(change.undo, Undo::Restore(sh!("copy_back")));
    assert_eq!(change.expect, Some(Pattern::exactly("end 5\n")));
    assert_eq!(change.from, "5 of 5 entries differ");
}

#[test]
fn only_what_differs_is_changed() {
    let content = Content::new(b"b".to_vec());
    let sha = content.sha256();
    let answer = format!("1 file 0600 0 0 root root 1 3 ab\n4 file 0755 0 0 root root 1 1 {sha}\nend 5\n");
    let script = change(ARGUMENTS, &answer).apply.script.to_string();
    assert!(script.contains("\nfile_put '/srv/www/a' nofollow "), "{script}");
    assert!(script.contains(" '0644' '-' '-' - '' from \"$_stage\"/'0/a' || copy_fail\n"), "{script}");
    assert!(script.ends_with("\nfile_meta '/srv/www/sub/b' '0644' '-' '-' || copy_fail\ncopy_end"), "{script}");
}

#[test]
fn files_that_change_nothing_but_their_content_are_replaced_together() {
    let (a, b) = (Content::new(b"a".to_vec()), Content::new(b"b".to_vec()));
    let script = change(ARGUMENTS, "1 file 0644 0 0 root root 1 3 ab\n4 file 0644 0 0 root root 1 1 cd\nend 5\n").apply.script.to_string();
    let expected = format!("\n'copy_swap' '/srv/www' '0' '{}' 'a' || copy_fail\n'copy_swap' '/srv/www/sub' '1' '{}' 'b' || copy_fail\ncopy_end", a.sha256(), b.sha256());
    assert!(script.ends_with(&expected), "{script}");
}

#[test]
fn what_is_below_a_folder_that_is_absent_is_absent() {
    let change = change(ARGUMENTS, "3 absent\nend 5\n");
    assert_eq!(change.from, "2 of 5 entries differ");
    let script = change.apply.script.to_string();
    assert!(script.contains("'copy_folders' '0/sub' ") && script.ends_with("'copy_move' '/srv/www' '0' '-' '-' 'sub' || copy_fail\ncopy_end"), "{script}");
}

#[test]
fn a_folder_is_made_in_its_place_where_it_could_not_be_moved_or_has_another_above_it() {
    let script = change(&format!("{ARGUMENTS}\ndirectory_mode = '0555'"), "3 absent\nend 5\n").apply.script.to_string();
    assert!(script.starts_with("file_dir '/srv/www/sub' '0555' '-' '-' || copy_fail\n"), "{script}");
    assert!(script.ends_with("'copy_move' '/srv/www/sub' '0' '-' '-' 'b' || copy_fail\ncopy_end"), "{script}");
}

#[test]
fn without_a_slash_the_folder_keeps_its_name() {
    let mut around = around();
    let folder = around.files["site/"].clone();
    around.files.insert("files/site".into(), folder);
    let module = module::<Copy>("src = 'files/site'\ndest = '/srv'");
    let Question::Ask(script) = module.probe(&around) else { panic!("a question") };
    assert!(script.to_string().starts_with("copy_tree '/srv/site' '-' "), "{script}");
}

#[test]
fn what_is_something_else_on_the_host_is_an_error() {
    let error = |arguments: &str, stdout: &str| verdict(arguments, stdout).expect_err(stdout).to_string();
    assert_eq!(
        error(ARGUMENTS, "3 link 0777 0 0 root root /data\nend 5\n"),
        "`/srv/www/sub` is a link to `/data` on the host, but not in the folder that is copied"
    );
    assert_eq!(
        error(ARGUMENTS, "1 dir 0755 0 0 root root\nend 5\n"),
        "`/srv/www/a` is a directory on the host, but not in the folder that is copied"
    );
    assert_eq!(
        error(&format!("{ARGUMENTS}\nvalidate = 'x'"), "end 5\n"),
        "`validate` is for a single file, and `site/` is a folder"
    );
}
