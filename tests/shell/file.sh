# shellcheck shell=sh
# shellcheck disable=SC2154,SC1091,SC2016,SC2012,SC2317,SC2034
# Tests of file.sh. LIB is the folder that holds it. Works in a folder made under $HOME (or $TEST_HOME),
# and removes it. Prints one line per failure and a count.
. "$LIB/core_test.sh"
. "$LIB/file_library.sh"
LC_ALL=C
export LC_ALL
umask 077
set -f
base=$(mktemp -d "${TEST_HOME:-$HOME}/ftest.XXXXXX") || exit 1
chmod 0755 "$base"
core_run=01TESTRUN
core_store=$base/store
mkdir "$core_store"
me=$(id -u)
mygid=$(id -g)
myname=$(id -un)
mygroup=$(id -gn)
good=0
bad=0

is() { # WHAT GOT WANTED
  if [ "$2" = "$3" ]; then good=$((good + 1)); else bad=$((bad + 1)); printf 'FAILED %s\n   got    %s\n   wanted %s\n' "$1" "$2" "$3"; fi
}
like() { # WHAT GOT PATTERN
  # shellcheck disable=SC2254
  case $2 in $3) good=$((good + 1)) ;; *) bad=$((bad + 1)); printf 'FAILED %s\n   got     %s\n   pattern %s\n' "$1" "$2" "$3" ;; esac
}
ask() { answer=$("$@" </dev/null; printf x%s $?); }
do_() { said=$("$@" </dev/null 2>&1 >/dev/null); status=$?; }
sum() { printf %b "$1" | { sha256sum 2>/dev/null || busybox sha256sum; } | { read -r s _; printf %s "$s"; }; }
leftovers() { find "$base" -name '.mutate.*' | wc -l | tr -d ' '; }
put() { # PATH TEXT [MODE OWNER GROUP FLAGS VALIDATE FOLLOW]
  do_ file_put "$1" "${8-nofollow}" "$(sum "$2")" "${3--}" "${4--}" "${5--}" "${6--}" "${7-}" text "$2"
}

d=$base/d
mkdir "$d"
chmod 755 "$d"

# --- looking
ask file_look "$d/none" nofollow - 0; is 'absent' "$answer" "absent${n}x0"
ask file_look "$d/a/b/c" nofollow - 0 2>/dev/null; is "parent missing" "$answer" "absent${n}x0"; is "parent missing says" "$(file_look "$d/a/b/c" nofollow - 0 2>&1 >/dev/null)" "parent missing $d/a"
printf 'hello\n' >"$d/f"; chmod 640 "$d/f"
h=$(sum 'hello\n')
ask file_look "$d/f" nofollow - 0; is 'file no hash' "$answer" "file 0640 $me $mygid $myname $mygroup 1 6 -${n}x0"
ask file_look "$d/f" nofollow "$h" 100; is 'file same hash' "$answer" "file 0640 $me $mygid $myname $mygroup 1 6 $h${n}x0"
ask file_look "$d/f" nofollow 00 100; is 'file other hash' "$answer" "file 0640 $me $mygid $myname $mygroup 1 6 $h${n}content${n}hello${n}x0"
ask file_look "$d/f" nofollow 00 5; is 'file too large to show' "$answer" "file 0640 $me $mygid $myname $mygroup 1 6 $h${n}x0"
ask file_look "$d/f" nofollow '?' 100; like 'file ?' "$answer" "*content${n}hello${n}x0"
ask file_look "$d/f/x" nofollow '?' 100; like 'parent is a file' "$answer" "*is not a folder, so*x3"
: >"$d/empty"; ask file_look "$d/empty" nofollow '?' 100; like 'empty' "$answer" "file 0600 * 1 0 $(sum '')${n}content${n}x0"
printf 'a\0b\n\200' >"$d/nul"; ask file_look "$d/nul" nofollow '?' 100; like 'NUL' "$answer" "file*content hex${n}6100620a80${n}x0"
ask file_look "$d/nul" nofollow 00 100; like 'NUL for a hash' "$answer" "file*content binary${n}x0"
printf 'caf\303\251 \201\210\377\n\n' >"$d/bin"; ask file_look "$d/bin" nofollow '?' 100; is 'bytes' "$answer" "file 0600 $me $mygid $myname $mygroup 1 11 $(sum 'caf\0303\0251 \0201\0210\0377\n\n')${n}content${n}$(printf 'caf\303\251 \201\210\377')$n${n}x0"
mkdir "$d/dir"; chmod 2755 "$d/dir"; ask file_look "$d/dir" nofollow - 0; is 'dir' "$answer" "dir 2755 $me $mygid $myname $mygroup${n}x0"
ask file_look / nofollow - 0; like 'root' "$answer" "dir 0?55 0 0 root root${n}x0"
ln -s f "$d/l"; ask file_look "$d/l" nofollow - 0; is 'link' "$answer" "link 0777 $me $mygid $myname $mygroup f${n}x0"
ask file_look "$d/l" follow "$h" 9; is 'link followed' "$answer" "file 0640 $me $mygid $myname $mygroup 1 6 $h${n}at $d/f${n}x0"
ask file_look "$d/l" follow 0 9; is 'link followed, content' "$answer" "file 0640 $me $mygid $myname $mygroup 1 6 $h${n}at $d/f${n}content${n}hello${n}x0"
ln -s nowhere "$d/dl"; ask file_look "$d/dl" follow - 0; like 'dangling' "$answer" '*leads nowhere*x3'
ask file_look "$d/dl/x" nofollow - 0; like 'below dangling' "$answer" '*leads nowhere*x3'
ln -s "it's -> a
\\new line " "$d/ol"; ask file_look "$d/ol" nofollow - 0; is 'odd link' "$answer" "link 0777 $me $mygid $myname $mygroup it's -> a\\n\\\\new line ${n}x0"
mkfifo "$d/p"; ask file_look "$d/p" nofollow '?' 9; is 'fifo' "$answer" "fifo 0600 $me $mygid $myname $mygroup${n}x0"
ask file_look /dev/null nofollow '?' 9; is 'char' "$answer" "char 0666 0 0 root root${n}x0"

# --- writing
put "$d/n1" 'one\n'; is 'new' "$status$said" 0
ask file_look "$d/n1" nofollow "$(sum 'one\n')" 9; is 'new is there' "$answer" "file 0644 $me $mygid $myname $mygroup 1 4 $(sum 'one\n')${n}x0"
put "$d/n1" 'two\0000\\\n' 0600; is 'replaced' "$status$said" 0
ask file_look "$d/n1" nofollow "$(sum 'two\0000\\\n')" 9; is 'replaced is there' "$answer" "file 0600 $me $mygid $myname $mygroup 1 6 $(sum 'two\0000\\\n')${n}x0"
put "$d/n1" 'three' - "$myname" "$mygid"; is 'mode kept' "$status$said" 0
ask file_look "$d/n1" nofollow "$(sum three)" 9; like 'mode kept is there' "$answer" "file 0600 *x0"
put "$d/n1" '' 4755; is 'set-id, empty' "$status$said" 0
ask file_look "$d/n1" nofollow "$(sum '')" 9; like 'set-id is there' "$answer" "file 4755 * 1 0 *x0"
put "$d/n1" 'x'; ask file_look "$d/n1" nofollow "$(sum x)" 9; like 'set-id kept' "$answer" "file 4755 * 1 1 *x0"
do_ file_put "$d/n1" nofollow "$(sum y)" - - - - '' text z; is 'hash mismatch' "$status" 1; like 'hash mismatch says' "$said" '*is not what was sent*'
like 'hash mismatch: old there' "$(cat "$d/n1")" x
put "$d/dir" x; is 'over a folder' "$status" 1; like 'over a folder says' "$said" '*is a folder*'
put "$d/l" x; is 'over a link' "$status" 1; like 'over a link says' "$said" '*is a link to f;*'
put "$d/dl" x - - - - '' follow; is 'dangling' "$status" 1; like 'dangling says' "$said" '*leads nowhere*'
put "$d/l" followed - - - - '' follow; is 'follow' "$status$said" 0; is 'follow wrote' "$(cat "$d/f")" followed
[ -L "$d/l" ]; is 'still a link' $? 0
put "$d/nowhere/x" x; is 'no folder' "$status" 1; like 'no folder says' "$said" 'the folder * does not exist; make it with*'
put "$d/p" x; is 'over a fifo' "$status" 1; like 'over a fifo says' "$said" '*a fifo*'
printf a >"$d/h1"; ln "$d/h1" "$d/h2"
put "$d/h1" b; is 'hard links' "$status" 1; like 'hard links says' "$said" '*has 2 hard links*'
put "$d/h1" b - - - in_place; is 'hard links in place' "$status$said" 0; is 'in place' "$(cat "$d/h2")" b
put "$d/h1" c - - - links; is 'hard links parted' "$status$said" 0; is 'parted' "$(cat "$d/h2")" b
printf src >"$d/src"
do_ file_put "$d/copy" nofollow "$(sum src)" 0640 - - - '' from "$d/src"; is 'from' "$status$said" 0; is 'from' "$(cat "$d/copy")" src
do_ file_put "$d/copy" nofollow "$(sum src)" 0640 - - - '' from "$d/none"; is 'from none' "$status" 1; like 'from none says' "$said" '*is not a file'
printf up >"$d/.mutate.01TESTRUN.up1"
do_ file_put "$d/copy" nofollow "$(sum up)" - - - - '' upload "$d/.mutate.01TESTRUN.up1"; is 'upload' "$status$said" 0; is 'upload' "$(cat "$d/copy")" up
ask file_look "$d/copy" nofollow - 9; like 'upload keeps mode' "$answer" "file 0640 *x0"
printf up >"$d/.mutate.01TESTRUN.up1"
do_ file_put "$d/copy" nofollow 00 - - - - '' upload "$d/.mutate.01TESTRUN.up1"; is 'upload wrong' "$status" 1
do_ file_put "$d/copy" nofollow 00 - - - - '' upload "$d/f"; is 'upload not ours' "$status" 1; [ -f "$d/f" ]; is 'not ours is still there' $? 0
put "$d/v" 'good\n' 0640 - - - "grep -q good %s && ls -l %s | grep -q '^-rw-r-----'"; is 'validate' "$status$said" 0
put "$d/v" 'wrong\n' 0640 - - - 'grep -q good %s || { echo no good; echo really >&2; exit 3; }'; is 'validate refuses' "$status" 5
like 'validate says' "$said" "no good${n}really${n}the validator refuses*"; is 'old is there' "$(cat "$d/v")" good
ino=$(ls -i "$d/v")
put "$d/v" 'wrong\n' 0640 - - - "grep -q good $d/v"; is 'validate after' "$status" 5; is 'old is back' "$(cat "$d/v")" good; is 'the same inode' "$(ls -i "$d/v")" "$ino"
put "$d/v" 'good 2\n' 0640 - - - "grep -q good $d/v"; is 'validate after, fine' "$status$said" 0; is 'new is there' "$(cat "$d/v")" 'good 2'
put "$d/v9" 'wrong\n' 0640 - - - "grep -q good $d/v9"; is 'validate after, new' "$status" 5; [ -e "$d/v9" ]; is 'absent again' $? 1
put "$d/v" 'x\n' 0640 - - - 'if ( then'; is 'validator with a syntax error' "$status" 5
put "$d/v" 'x\n' 0640 - - - 'exit 0 # %s'; is 'validator that exits' "$status" 0
is 'no leftovers' "$(leftovers)" 0
for name in 'a b' "it's" '"q"' 'back\slash' '-dash' '*' '?[x]' "new${n}line" "end$n" '$(x)`y`' "$(printf '\303\251')" "$(printf '\377\201\210')" '%s%b' 'a  b ' '!~#&;|<>'; do
  put "$d/$name" "in $name" 0640 - - - 'test -f %s'
  is "odd name $name" "$status$said" 0
  put "$d/$name" 'again' - - - - 'test -f %s'; is "odd name $name again" "$status$said" 0
  is "content of $name" "$(cat "$d/$name")" again
  ask file_look "$d/$name" nofollow '?' 99; like "look at $name" "$answer" "file 0640 *content${n}againx0"
  record=$(file_keep "$d/$name"); do_ file_absent "$d/$name"; is "remove $name" "$status$said" 0
  do_ file_back "$d/$name" "$record"; is "back $name" "$status$said" 0; is "content of $name" "$(cat "$d/$name")" again
  do_ file_link "$d/$name" "to $name" force; is "link $name" "$status$said" 0
  ask file_look "$d/$name" nofollow - 0; like "link $name is there" "$answer" "link 0777 * to *x0"
  record=$(file_keep "$d/$name"); rm -f -- "$d/$name"; do_ file_back "$d/$name" "$record"; is "link back $name" "$status$said" 0
  is "target of $name" "$(readlink -- "$d/$name"; echo x)" "to $name${n}x"
  rm -f -- "$d/$name"
  do_ file_dir "$d/$name/sub" 0750 - -; is "dir $name" "$status$said" 0
  ask file_tree_look "$d/$name" 0750 - -; like "tree $name" "$answer" "differ *x0"
  do_ file_tree_meta "$d/$name" 0700 - -; is "tree meta $name" "$status$said" 0
  do_ file_absent "$d/$name" tree; is "tree absent $name" "$status$said" 0
done
is 'no leftovers' "$(leftovers)" 0

# --- meta
do_ file_meta "$d/f" 0604 - -; is 'meta' "$status$said" 0; ask file_look "$d/f" nofollow - 0; like 'meta is there' "$answer" 'file 0604*'
do_ file_meta "$d/dir" 0755 - -; is 'meta dir' "$status$said" 0; ask file_look "$d/dir" nofollow - 0; like 'set-gid went' "$answer" 'dir 0755*'
do_ file_meta "$d/f" - nosuchuser -; is 'no such user' "$status" 1
do_ file_meta "$d/l" 0600 - -; is 'mode of a link' "$status" 1
do_ file_dir "$d/x/y/z" 0700 "$myname" "$mygid"; is 'dir' "$status$said" 0
ask file_look "$d/x" nofollow - 0; like 'dir parent' "$answer" 'dir 0755*'; ask file_look "$d/x/y/z" nofollow - 0; like 'dir leaf' "$answer" 'dir 0700*'
do_ file_dir "$d/x/y/z" 1777 - -; is 'dir again' "$status$said" 0; ask file_look "$d/x/y/z" nofollow - 0; like 'dir leaf' "$answer" 'dir 1777*'
do_ file_dir_back "$d/x/y/z" "$d/x"; is 'dir back' "$status$said" 0; [ -e "$d/x" ]; is 'dirs gone' $? 1
do_ file_dir "$d/x/y/z" 0700 nosuchuser -; is 'dir of nobody' "$status" 1; [ -e "$d/x" ]; is 'dirs gone again' $? 1
mkdir -p "$d/x/y/z"; : >"$d/x/file"; do_ file_dir_back "$d/x/y/z" "$d/x"; is 'dir back, full' "$status" 1; like 'dir back says' "$said" '*not empty*'
do_ file_dir "$d/f" 0755 - -; is 'dir over file' "$status" 1
mkdir "$d/gid"; chmod 2755 "$d/gid"; do_ file_dir "$d/gid/a" 0750 - -; do_ file_dir "$d/gid/b" 0750 "$me" "$mygid"
is 'set-gid is not handed down' "$(stat -c %a "$d/gid/a" "$d/gid/b" | tr '\n' ' ')" '750 750 '
do_ file_link "$d/s1" 'a b' -; is 'link' "$status$said" 0
do_ file_link "$d/s1" "$d/dir" -; is 'link changed' "$status$said" 0
do_ file_link "$d/s1" "other" -; is 'link to a folder changed' "$status$said" 0; is 'not inside' "$(ls -A "$d/dir")" ''; is 'target' "$(readlink "$d/s1")" other
do_ file_link "$d/f" x -; is 'link over file' "$status" 1
do_ file_link "$d/dir" x force; is 'link over folder' "$status" 1
do_ file_hard "$d/hh" "$d/f" -; is 'hard' "$status$said" 0; ask file_hard_look "$d/hh" "$d/f"; is 'same' "$answer" "same${n}x0"
do_ file_hard "$d/hh" "$d/f" force; is 'hard again' "$status$said" 0
do_ file_hard "$d/hh" "$d/src" force; is 'hard other' "$status$said" 0; ask file_hard_look "$d/hh" "$d/f"; is 'different' "$answer" "different${n}x0"
rm "$d/hh"; ask file_hard_look "$d/hh" "$d/f"; is 'hard absent' "$answer" "absent${n}x0"
do_ file_touch "$d/t" - - -; is 'touch new' "$status$said" 0; ask file_look "$d/t" nofollow - 0; like 'touch is there' "$answer" 'file 0644 * 1 0 -*'
do_ file_touch "$d/t" 0600 - - 1000000000; is 'touch' "$status$said" 0; is 'time' "$(stat -c %Y "$d/t")" 1000000000
do_ file_absent "$d/none"; is 'absent' "$status$said" 0
do_ file_absent "$d/x"; is 'folder not empty' "$status" 1
ln -s "$d/dir" "$d/x/out"; : >"$d/dir/canary"; do_ file_absent "$d/x" tree; is 'tree' "$status$said" 0; [ -e "$d/dir/canary" ]; is 'canary' $? 0
ln -s / "$d/rootlink"
for p in / /etc /usr /home /var /usr/lib /proc //etc // "$d/rootlink/etc" "$d/rootlink/" /tmp/../etc "$HOME"; do
  # the guard alone: a mistake in it must not cost the machine that runs this test
  said=$(file__guard "$p" 2>&1); is "guard $p" $? 1
  like "guard $p says" "$said" '*cannot do without*'
done
do_ file_absent "$base" tree; is 'store is below' "$status" 1

# --- trees
mkdir -p "$d/tr/s u b"; : >"$d/tr/a"; : >"$d/tr/exe"; : >"$d/tr/s u b/b"; ln -s /etc/passwd "$d/tr/ln"; chmod 700 "$d/tr" "$d/tr/s u b" "$d/tr/exe"; chmod 600 "$d/tr/a" "$d/tr/s u b/b"
ask file_tree_look "$d/tr" 0750,0750,0640 "$me" "$mygid"; is 'tree differs' "$answer" "differ 5${n}$d/tr${n}$d/tr/a${n}$d/tr/exe${n}$d/tr/s u b${n}$d/tr/s u b/b${n}x0"
record=$(file_keep_modes "$d/tr" 0750,0750,0640 - -)
like 'modes record' "$record" 'modes 5 list.*'
do_ file_tree_meta "$d/tr" 0750,0750,0640 "$myname" "$mygroup"; is 'tree meta' "$status$said" 0
ask file_tree_look "$d/tr" 0750,0750,0640 "$myname" -; is 'tree is right' "$answer" "differ 0${n}x0"
ask file_tree_look "$d/tr" +0000-0050 - -; like 'tree relative' "$answer" "differ 5*x0"
do_ file_tree_meta "$d/tr" +0002-0050,-,+0111-7000 - -; is 'tree relative meta' "$status$said" 0
is 'modes' "$(stat -c %a "$d/tr" "$d/tr/a" "$d/tr/exe" | tr '\n' ' ')" '702 751 750 '
do_ file_back "$d/tr" "$record"; is 'modes back' "$status$said" 0; is 'modes' "$(stat -c %a "$d/tr" "$d/tr/a" "$d/tr/exe" "$d/tr/s u b/b" | tr '\n' ' ')" '700 600 700 600 '
ask file_tree_look "$d/tr" - nosuchuser -; like 'tree, no such user' "$answer" '*cannot be examined*x3'
ask file_tree_look "$d/f" - - -; like 'tree of a file' "$answer" '*is not a folder*x3'

# --- keeping
printf 'keep me\n' >"$d/k"; chmod 4710 "$d/k"; touch -d @1234567890 "$d/k"
record=$(file_keep "$d/k"); like 'record' "$record" "file 4710 $me $mygid 1234567890 8 $(sum 'keep me\n') *"
put "$d/k" other 0600; do_ file_back "$d/k" "$record"; is 'back' "$status$said" 0
is 'back' "$(stat -c '%a %Y' "$d/k") $(cat "$d/k")" '4710 1234567890 keep me'
rm "$d/k"; do_ file_back "$d/k" "$record"; is 'back again' "$status$said" 0; is 'back again' "$(stat -c '%a %Y' "$d/k") $(cat "$d/k")" '4710 1234567890 keep me'
is 'twice the same record but for the id' "$(file_keep "$d/k" | cut -d' ' -f1-7)" "$(printf '%s\n' "$record" | cut -d' ' -f1-7)"
is 'absent record' "$(file_keep "$d/none")" absent
do_ file_back "$d/k" absent; is 'absent back' "$status$said" 0; [ -e "$d/k" ]; is 'gone' $? 1
record=$(file_keep "$d/dir"); like 'dir record' "$record" "dir 0755 $me $mygid *"; chmod 700 "$d/dir"; do_ file_back "$d/dir" "$record"; is 'dir back' "$status$said" 0; is 'dir mode' "$(stat -c %a "$d/dir")" 755
do_ file_back "$d/dir" absent; is 'full dir absent' "$status" 1; rm "$d/dir/canary"; do_ file_back "$d/dir" absent; is 'dir absent' "$status$said" 0; do_ file_back "$d/dir" "$record"; is 'dir made' "$status$said" 0; is 'dir mode' "$(stat -c %a "$d/dir")" 755
record=$(file_keep "$d/p"); rm "$d/p"; do_ file_back "$d/p" "$record"; is 'fifo back' "$status$said" 0; [ -p "$d/p" ]; is fifo $? 0
record=$(file_keep_tree "$d/tr"); like 'tree record' "$record" 'tree 0700 * tree.*'
find "$d/tr" ! -type l -exec stat -c '%a %u %g %Y %n' {} + | sort >"$base/before"
do_ file_absent "$d/tr" tree; do_ file_back "$d/tr" "$record"; is 'tree back' "$status$said" 0
is 'tree' "$(find "$d/tr" ! -type l -exec stat -c '%a %u %g %Y %n' {} + | sort)" "$(cat "$base/before")"
: >"$d/tr/more"; do_ file_back "$d/tr" "$record"; is 'tree back over' "$status$said" 0; [ -e "$d/tr/more" ]; is 'more went' $? 1
record="file 0644 $me $mygid 1 3 $(sum nothere) -"; do_ file_back "$d/q" "$record"; is 'backup gone' "$status" 1; like 'backup gone says' "$said" '*no longer in*'

# --- ways
ask file_walk "$d/f"; is 'walk' "$answer" "safe${n}x0"
ask file_walk "$d/none/of/these"; is 'walk to nothing' "$answer" "safe${n}x0"
mkdir "$d/open"; chmod 777 "$d/open"; ask file_walk "$d/open/f"; like 'walk open' "$answer" 'everybody may write*x3'
ln -s "$d/open" "$d/tolink"; ask file_walk "$d/tolink/f"; like 'walk over a link' "$answer" 'everybody may write*x3'
chmod 1777 "$d/open"; ask file_walk "$d/open/f"; is 'walk sticky' "$answer" "safe${n}x0"

# --- only root can set these up
if [ "$me" = 0 ]; then
  mkdir "$d/his"; chown 1 "$d/his"; chmod 755 "$d/his"
  ask file_walk "$d/his/f"; like 'walk through a user' "$answer" '*belongs to * who could redirect*x3'
  ask file_walk "$d/his/f" 1; like 'walk through the owner, by number' "$answer" "shared *x0"
  ask file_walk "$d/his/f" "$(stat -c %U "$d/his")"; like 'walk through the owner, by name' "$answer" "shared *x0"
  chgrp 1 "$d/his"; chmod 775 "$d/his"; ask file_walk "$d/his/f" 1; like 'walk, private group' "$answer" "shared *x0"
  chgrp 2 "$d/his"; ask file_walk "$d/his/f" 1; like 'walk, a group' "$answer" 'a group may write*x3'
  printf old >"$d/his/f"; chown 1:2 "$d/his/f"; chmod 2640 "$d/his/f"
  put "$d/his/f" new; is 'owner kept' "$status$said" 0; is 'owner kept' "$(stat -c '%a %u %g' "$d/his/f") $(cat "$d/his/f")" '2640 1 2 new'
  put "$d/his/f" new2 - 0 -; is 'group kept' "$status$said" 0; is 'group kept' "$(stat -c '%a %u %g' "$d/his/f")" '2640 0 2'
  do_ file_meta "$d/his/f" - 1 -; is 'set-gid kept' "$status$said" 0; is 'set-gid kept' "$(stat -c '%a %u %g' "$d/his/f")" '2640 1 2'
  ln -s f "$d/his/l"; do_ file_meta "$d/his/l" - 1 2; is 'owner of a link' "$status$said" 0; is 'owner of a link' "$(stat -c '%u %g' "$d/his/l")" '1 2'
  record=$(file_keep "$d/his/f"); put "$d/his/f" x 0600 0 0; do_ file_back "$d/his/f" "$record"; is 'owner back' "$status$said" 0; is 'owner back' "$(stat -c '%a %u %g' "$d/his/f")" '2640 1 2'
  record=$(file_keep "$d/his/l"); rm "$d/his/l"; do_ file_back "$d/his/l" "$record"; is 'owner of a link back' "$(stat -c '%u %g' "$d/his/l")" '1 2'
  put "$d/his/c" one 0640 1 2 private 'test "$(cat %s)" = one'; is 'private' "$status$said" 0; is 'private' "$(stat -c '%a %u %g %h' "$d/his/c") $(cat "$d/his/c")" '640 1 2 1 one'
  put "$d/his/c" two - - - private; is 'private, replaced' "$status$said" 0; is 'private, replaced' "$(stat -c '%a %u %g %h' "$d/his/c") $(cat "$d/his/c")" '640 1 2 1 two'
  put "$d/his/c" three - - - private 'test -z'; is 'private, validated' "$status$said" 0
  put "$d/his/c" four - - - private false; is 'private, refused' "$status" 5; is 'private, old is back' "$(stat -c '%a %u %g %h' "$d/his/c") $(cat "$d/his/c")" '640 1 2 1 three'
  put "$d/his/c" five - - - private 'false %s'; is 'private, refused' "$status" 5
  put "$d/his/c9" five - - - private false; is 'private, refused' "$status" 5; [ -e "$d/his/c9" ]; is 'private, absent again' $? 1
  put "$d/his/c" five - - - private,in_place; is 'private, in place' "$status" 1
  record=$(file_keep "$d/his/c"); put "$d/his/c" six 0600 0 0 private; do_ file_back "$d/his/c" "$record" private; is 'private, back' "$status$said" 0
  is 'private, back' "$(stat -c '%a %u %g %h' "$d/his/c") $(cat "$d/his/c")" '640 1 2 1 three'
  do_ file_meta "$d/his/c" 2750 0 - private; is 'private, meta' "$status$said" 0; is 'private, meta' "$(stat -c '%a %u %g %h' "$d/his/c")" '2750 0 2 1'
  ln "$d/his/c" "$d/his/c2"; do_ file_meta "$d/his/c" 0777 - - private; is 'private, meta, hard link' "$status" 1; is 'private, meta, untouched' "$(stat -c %a "$d/his/c")" 2750
  mkdir "$d/his/sub"; do_ file_meta "$d/his/sub" 0711 1 2 private; is 'private, meta, folder' "$status$said" 0; is 'private, meta, folder' "$(stat -c '%a %u %g' "$d/his/sub")" '711 1 2'
  is 'private, nothing left' "$(find "$d/his" -name '.mutate*')" ''
  chown 1 "$d/open"; chown 0 "$d/open"; : >"$d/open/mine"; : >"$d/open/his"; chown 1 "$d/open/his"
  ask file_walk "$d/open/mine"; is 'walk, mine in a sticky folder' "$answer" "safe${n}x0"
  ask file_walk "$d/open/his"; like 'walk, his in a sticky folder' "$answer" '*could be swapped*x3'
  ask file_walk "$d/open/his" 1; is 'walk, accepted in a sticky folder' "$answer" "safe${n}x0"
  put "$d/his/n" x 0640 1 2 - 'test "$(stat -c %a%u%g %s)" = 64012'; is 'validator sees owner and mode' "$status$said" 0
fi

# --- 32 KiB of text, and a reader who looks all the time
block='0123456789abcdef0123456789abcdef\\n\0303\0244\0000\0377 quote '"'"' "'
text=''
i=0
while [ $i -lt 550 ]; do text=$text$block; i=$((i + 1)); done
put "$d/large" "$text"; is '32 KiB' "$status$said" 0
ask file_look "$d/large" nofollow "$(sum "$text")" 9; like '32 KiB is there' "$answer" "file * $(sum "$text")${n}x0"

# --- a large file is hashed once: what was verified before it came to its place holds, unless anything has touched it since
was_large=$file__large
file__large=10 st=$base/state
mkdir -p "$st/runs/$core_run"
printf 'a large text\n' >"$d/source"
h=$(sum 'a large text\n')
do_ file_put "$d/big" nofollow "$h" - - - - '' from "$d/source"; is 'large' "$status$said" 0
ask file_look "$d/big" nofollow "$h" 0; like 'large is there' "$answer" "file * 13 $h${n}x0"
like 'what is remembered' "$(cat "$st/runs/$core_run/hashed")" "* 13 * $h *"
other=$(sum other)
sed "s/$h/$other/" "$st/runs/$core_run/hashed" >"$base/hashed"
cat "$base/hashed" >"$st/runs/$core_run/hashed"
ask file_look "$d/big" nofollow "$h" 0; like 'it is not hashed again' "$answer" "file * 13 $other${n}x0"
chmod 600 "$d/big"
ask file_look "$d/big" nofollow "$h" 0; like 'it has been touched' "$answer" "file * 13 $h${n}x0"
do_ file_put "$d/big" nofollow "$h" - - - - 'printf A | dd of="'"$d/big"'" conv=notrunc 2>/dev/null' from "$d/source"; is 'a validator writes' "$status$said" 0
ask file_look "$d/big" nofollow "$h" 0; like 'that is seen' "$answer" "file * 13 $(sum 'A large text\n')${n}x0"
file__large=$was_large st=''
rm -f "$d/big" "$d/source"

put "$d/atom" 'one one one'
(while [ ! -e "$d/stop" ]; do c=$(cat "$d/atom"); case $c in 'one one one' | 'two two two') ;; *) printf '%s\n' "$c" >>"$d/torn" ;; esac; done) 2>>"$d/torn" &
reader=$!
i=0
while [ $i -lt 15 ]; do put "$d/atom" 'two two two'; put "$d/atom" 'one one one'; i=$((i + 1)); done
: >"$d/stop"; wait "$reader"
[ -s "$d/torn" ]; is 'never torn' $? 1

rm -rf "$base"
printf 'passed %s failed %s\n' "$good" "$bad"
