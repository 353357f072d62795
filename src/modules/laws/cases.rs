//! The cases in which the laws are shown: a state of the host, a task, and the first line of its verdict.

use super::{file, law, site};
use crate::modules::copy::Copy;
use crate::modules::file::File;
use crate::modules::lineinfile::Lineinfile;
use crate::modules::stat::Stat;
use crate::modules::template::Template;
use crate::modules::wait_for::WaitFor;

#[test]
fn file_keeps_the_laws() {
    // absent -> directory
    law::<File>("", "path = '~/d'\nstate = 'directory'", &[], "absent -> directory");
    // absent -> directory; the undo removes `~/a` too
    law::<File>("", "path = '~/a/b c/d'\nstate = 'directory'\nmode = '0750'", &[], "absent -> directory");
    // 0700 -> 0755
    law::<File>("mkdir -m 0700 d", "path = '~/d'\nstate = 'directory'\nmode = '0755'", &[], "0700 -> 0755");
    // 2755 -> 0750
    law::<File>("mkdir -m 2755 d", "path = '~/d'\nstate = 'directory'\nmode = 'g-s,o-rx'", &[], "2755 -> 0750");
    // N to change below; `/etc/passwd` untouched
    law::<File>("mkdir -p t/s; touch t/a t/s/b; chmod 700 t/a; ln -s /etc/passwd t/l", "path = '~/t'\nstate = 'directory'\nrecurse = true\nmode = 'u=rwX,g=rX,o='", &[], "4 to change below -> +0750-1027,0750,0640");
    // in place
    law::<File>("mkdir -p t/s; touch t/a; chmod 0750 t t/s t/a", "path = '~/t'\nrecurse = true\nmode = '0750'", &[], "in place");
    // absent -> directory
    law::<File>("", "path = '~/t'\nrecurse = true\nmode = '0750'", &[], "absent -> directory");
    // error (a link to `d`)
    law::<File>("mkdir d; ln -s d l", "path = '~/l'\nstate = 'directory'", &[], "error: `~/l` is a link to `d`; follow = true accepts the directory that it leads to");
    // mode of `d` changes, `l` stays a link
    law::<File>("mkdir d; ln -s d l", "path = '~/l'\nstate = 'directory'\nfollow = true\nmode = '0711'", &[], "0755 -> 0711");
    // error (a file, not a directory)
    law::<File>("echo x >f", "path = '~/f'\nstate = 'directory'", &[], "error: `~/f` is a file, not a directory; remove it first (state = \"absent\")");
    // absent -> link
    law::<File>("", r#"path = '~/l'
state = 'link'
src = "it's -> here""#, &[], "absent -> link to it's -> here");
    // link to old -> link to new
    law::<File>("ln -s old l", "path = '~/l'\nstate = 'link'\nsrc = 'new'", &[], "link to old -> link to new");
    // the link changes, `d` stays empty
    law::<File>("mkdir d; ln -s d l", "path = '~/l'\nstate = 'link'\nsrc = '/nowhere'", &[], "link to d -> link to /nowhere");
    // file -> link; the undo brings content and mode back
    law::<File>("echo x >l; chmod 640 l", "path = '~/l'\nstate = 'link'\nsrc = 't'\nforce = true", &[], "file -> link to t");
    // error (force)
    law::<File>("echo x >l", "path = '~/l'\nstate = 'link'\nsrc = 't'", &[], "error: `~/l` is a file and is not replaced by a link; force = true would do it");
    // error (a directory)
    law::<File>("mkdir l", "path = '~/l'\nstate = 'link'\nsrc = 't'\nforce = true", &[], "error: `~/l` is a directory; remove it first (state = \"absent\")");
    // absent -> hard link
    law::<File>("echo x >a", "path = '~/b'\nstate = 'hard'\nsrc = '~/a'", &[], "absent -> hard link to ~/a");
    // file -> hard link
    law::<File>("echo x >a; echo y >b", "path = '~/b'\nstate = 'hard'\nsrc = '~/a'\nforce = true", &[], "file -> hard link to ~/a");
    // absent -> empty file
    law::<File>("", "path = '~/f'\nstate = 'touch'\nmode = '0600'", &[], "absent -> empty file");
    // in place
    law::<File>("echo x >f", "path = '~/f'\nstate = 'touch'", &[], "in place");
    // file -> absent; set-id bit and content come back
    law::<File>("echo x >f; chmod 4755 f", "path = '~/f'\nstate = 'absent'", &[], "file -> absent");
    // link -> absent
    law::<File>("ln -s /nowhere l", "path = '~/l'\nstate = 'absent'", &[], "link -> absent");
    // directory -> absent; the whole tree comes back
    law::<File>("mkdir -p d/e; echo x >d/e/f; ln -s f d/e/l; chmod 700 d/e", "path = '~/d'\nstate = 'absent'", &[], "directory -> absent");
    // fifo -> absent
    law::<File>("mkfifo -m 0640 p", "path = '~/p'\nstate = 'absent'", &[], "fifo -> absent");
    // 0640 -> 0600
    law::<File>("mkfifo -m 0640 p", "path = '~/p'\nmode = '0600'", &[], "0640 -> 0600");
    // error (does not exist)
    law::<File>("", "path = '~/f'\nmode = '0600'", &[], "error: `~/f` does not exist; state = \"touch\" or \"directory\" would make it, `copy` gives it content");
}

#[test]
fn wait_for_keeps_the_laws() {
    // in place
    law::<WaitFor>("touch f", "path = '~/f'", &[], "in place");
    // in place
    law::<WaitFor>("", "path = '~/f'\nstate = 'absent'", &[], "in place");
    // waits until it comes, and until it goes
    law::<WaitFor>("(sleep 1; touch f) >/dev/null 2>&1 &", "path = '~/f'\ntimeout = 20", &[], " -> ");
    law::<WaitFor>("touch f; (sleep 1; rm f) >/dev/null 2>&1 &", "path = '~/f'\nstate = 'absent'\ntimeout = 20", &[], " -> ");
    // waits for the text in it
    law::<WaitFor>("touch f; (sleep 1; echo ready >f) >/dev/null 2>&1 &", "path = '~/f'\nsearch_regex = '^rea'\ntimeout = 20", &[], " -> ");
}

#[test]
fn stat_keeps_the_laws() {
    // in place; `stat.nlink` 2, `stat.size` 2
    law::<Stat>("echo x >f; ln f g", "path = '~/f'", &[], "in place");
    // in place; `stat.exists` false
    law::<Stat>("ln -s nowhere l", "path = '~/l'\nfollow = true", &[], "in place");
}

#[test]
fn copy_keeps_the_laws() {
    // absent -> file, exactly these bytes
    law::<Copy>("", r#"content = "a\\b 'c' %s $HOME\n\u00e9\t"
dest = '~/f'"#, &[], "absent -> file");
    // content replaced, mode 0640 stays
    law::<Copy>("echo old >f; chmod 640 f", r#"content = "new\n"
dest = '~/f'"#, &[], "old content -> new content");
    // 0600 -> 0644
    law::<Copy>(r"printf 'new\n' >f; chmod 600 f", r#"content = "new\n"
dest = '~/f'
mode = '0644'"#, &[], "0600 -> 0644");
    // replaced through an upload
    law::<Copy>(r"printf 'a\0b' >f", "src = 'bin'\ndest = '~/f'", &[("bin", file(&(0..=255_u8).cycle().take(40_000).collect::<Vec<_>>()))], "old content -> new content");
    // error (the folder does not exist)
    law::<Copy>("", "content = 'x'\ndest = '~/no/such/f'", &[], "error: the folder ~/no/such does not exist; make it with a `file` task first");
    // in place
    law::<Copy>("echo old >f", "content = 'x'\ndest = '~/f'\nforce = false", &[], "in place");
    // `t` replaced, `l` stays a link
    law::<Copy>("echo t >t; ln -s t l", "content = 'x'\ndest = '~/l'\nfollow = true", &[], "old content -> new content");
    // error (a link)
    law::<Copy>("echo t >t; ln -s t l", "content = 'x'\ndest = '~/l'", &[], "error: `~/l` is a link to `t`; follow = true would replace what it leads to");
    // error (hard links)
    law::<Copy>("echo a >f; ln f g", "content = 'x'\ndest = '~/f'", &[], "error: `~/f` has 2 hard links, and replacing it would part them; remove its other names first");
    // absent -> file, mode 0755
    law::<Copy>("echo src >a; chmod 755 a", "src = '~/a'\nremote_src = true\ndest = '~/b'", &[], "absent -> file");
    // b replaced, mode stays
    law::<Copy>("echo src >a; echo old >b", "src = '~/a'\nremote_src = true\ndest = '~/b'", &[], "old content -> new content");
    // absent -> file
    law::<Copy>("", r#"content = "good\n"
dest = '~/f'
validate = 'grep -q good %s'"#, &[], "absent -> file");
    // absent -> tree; the undo removes `~/x` too
    law::<Copy>("", "src = 'site/'\ndest = '~/x/www'", &[("site/", site(None))], "6 of 6 entries differ -> as on the controller");
    // a replaced (mode 0600 stays), the rest made, `own` stays
    law::<Copy>("mkdir -p www/sub; echo old >www/a; chmod 600 www/a; echo mine >www/own", "src = 'site/'\ndest = '~/www'", &[("site/", site(None))], "4 of 6 entries differ -> as on the controller");
    // only modes
    law::<Copy>(r#"mkdir -p x www/sub; printf 'new a\\n' >www/a; printf '#!/bin/sh\\n' >www/sub/-d; printf '%s\\n' "\\\\ 'b' \$c" >'www/sub/b c'; ln -s sub www/now; chmod 755 www/sub/-d"#, "src = 'site/'\ndest = '~/www'\nmode = '0640'\ndirectory_mode = '0750'", &[("site/", site(None))], "5 of 6 entries differ -> as on the controller");
    // made through one upload
    law::<Copy>("", "src = 'site/'\ndest = '~/www'", &[("site/", site(Some(100_000)))], "7 of 7 entries differ -> as on the controller");
    // error (a link to `/etc`)
    law::<Copy>("mkdir -p www; ln -s /etc www/sub", "src = 'site/'\ndest = '~/www'", &[("site/", site(None))], "error: `~/www/sub` is a link to `/etc` on the host, but not in the folder that is copied");
}

#[test]
fn template_keeps_the_laws() {
    // absent -> file 0640
    law::<Template>("", "src = 't.j2'\ndest = '~/f'\nmode = 'u=rw,g=r,o='", &[("t.j2", file(b"hello\n"))], "absent -> file");
    // replaced
    law::<Template>(r#"mkdir "d 'q'"; echo x >"d 'q'/t.j2""#, r#"src = 't.j2'
dest = "~/d 'q'/""#, &[("t.j2", file(b"hello\n"))], "old content -> new content");
}

#[test]
fn lineinfile_keeps_the_laws() {
    // last `a=` replaced
    law::<Lineinfile>(r"printf 'a=1\nb=2\na=3\n' >f", "path = '~/f'\nregexp = '^a='\nline = 'a=9'", &[], "old content -> new content");
    // BOM, CRLF, `\377` and the missing newline stay
    law::<Lineinfile>(r"printf '\357\273\277a=1\r\nb\377\r\nlast' >f; chmod 604 f", "path = '~/f'\nregexp = '^a='\nline = 'a=2'", &[], "old content -> new content");
    // added at the end, NUL stays
    law::<Lineinfile>(r"printf 'x\0y\nb\n' >f", "path = '~/f'\nline = 'c'", &[], "old content -> new content");
    // after `#h`
    law::<Lineinfile>(r"printf 'a\n#h\nb\n' >f", "path = '~/f'\nline = 'n'\ninsertafter = '^#h'", &[], "old content -> new content");
    // `k = new # why` (in place afterwards)
    law::<Lineinfile>(r"printf 'k = old # why\n' >f", r"path = '~/f'
regexp = '^(k\s*=\s*)\S+(.*)$'
line = '\1new\2'
backrefs = true", &[], "old content -> new content");
    // `b` alone
    law::<Lineinfile>(r"printf '#a\nb\n#c' >f", "path = '~/f'\nregexp = '^#'\nstate = 'absent'", &[], "old content -> new content");
    // absent -> file
    law::<Lineinfile>("", "path = '~/f'\nline = 'x'\ncreate = true\nmode = '0600'", &[], "absent -> file");
    // error (does not exist)
    law::<Lineinfile>("", "path = '~/f'\nline = 'x'", &[], "error: `~/f` does not exist; create = true would make it");
    // in place
    law::<Lineinfile>("", "path = '~/f'\nline = 'x'\nstate = 'absent'", &[], "in place");
}

