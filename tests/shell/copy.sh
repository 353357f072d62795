# shellcheck shell=sh
# shellcheck disable=SC2154,SC1091,SC2016,SC2012,SC2317,SC2034
# Tests of copy/look.sh and copy/change.sh. LIB is the folder that holds them. Works in a folder made under $HOME (or
# $TEST_HOME), and removes it. Prints one line per failure and a count.
. "$LIB/core_test.sh"
. "$LIB/copy_library.sh"
LC_ALL=C
export LC_ALL
umask 077
set -f
base=$(mktemp -d "${TEST_HOME:-$HOME}/ctest.XXXXXX") || exit 1
chmod 0755 "$base"
core_run=01TESTRUN
core_store=$base/store
mkdir "$core_store"
me=$(id -u)
mygid=$(id -g)
mine="$me $mygid $(id -un) $(id -gn)"
good=0
bad=0

is() { # WHAT GOT WANTED
  if [ "$2" = "$3" ]; then good=$((good + 1)); else bad=$((bad + 1)); printf 'FAILED %s\n   got    %s\n   wanted %s\n' "$1" "$2" "$3"; fi
}
like() { # WHAT GOT PATTERN
  # shellcheck disable=SC2254
  case $2 in $3) good=$((good + 1)) ;; *) bad=$((bad + 1)); printf 'FAILED %s\n   got     %s\n   pattern %s\n' "$1" "$2" "$3" ;; esac
}
sum() { printf %b "$1" | { sha256sum 2>/dev/null || busybox sha256sum; } | { read -r s _; printf %s "$s"; }; }
half() { sum "$1" | cut -c1-32; }
# tree FILE_MODE FOLDER_MODE OWNER GROUP {KIND PATH WANT}… → answer, and the status behind it
tree() { answer=$(copy_tree "$d" "$1" "$2" "$3" "$4"; shift 4; copy_look 0 "$@"; echo "x$?"); }
do_() { said=$( ("$@") </dev/null 2>&1); status=$?; }

d=$base/d
a=$(half 'a\n')
A=$(sum 'a\n')
b=$(half 'b\n')
B=$(sum 'b\n')

# --- looking
tree - - - - d '' - f a "$a" d sub - f sub/b "$b"; is 'nothing is there' "$answer" "0 absent${n}x0"
mkdir "$d"; chmod 755 "$d"
tree - - - - d '' - f a "$a" d sub - f sub/b "$b" f z "$a"; is 'below what is absent' "$answer" "1 absent${n}2 absent${n}4 absent${n}x0"
mkdir "$d/sub" "$d/a b"; chmod 750 "$d/sub"; chmod 755 "$d/a b"
printf 'a\n' >"$d/a"; printf 'b\n' >"$d/sub/b"; printf 'b\n' >"$d/a b/-x *"; printf 'a\n' >"$d/a b/back\\slash"; ln -s a "$d/link"; : >"$d/empty"
chmod 644 "$d/a"; chmod 600 "$d/sub/b" "$d/a b/-x *" "$d/a b/back\\slash"
set -- d '' - f a "$a" d 'a b' - f 'a b/-x *' "$b" f 'a b/back\slash' "$a" f empty "$(half '')" l link a d sub - f sub/b "$b"
tree - - - - "$@"; is 'in place' "$answer" x0
tree - - "$me" "$mygid" "$@"; is 'in place, with owners by number' "$answer" x0
tree - - "$(id -un)" "$(id -gn)" "$@"; is 'in place, with owners by name' "$answer" x0
tree - - 65533 - d '' - f a "$a"; is 'another owner' "$answer" "0 dir 0755 $mine${n}1 file 0644 $mine 1 2 $A${n}x0"
tree 0600 0755 - - "$@"; is 'modes' "$answer" "1 file 0644 $mine 1 2 $A${n}7 dir 0750 $mine${n}x0"
tree 0600 - - - d '' - d sub - f sub/b "$b"; is 'modes of files are not those of folders' "$answer" x0
tree - - - - f a "$b" d 'a b' - f 'a b/-x *' "$a" f 'a b/back\slash' "$b" f empty - f sub/b "$b"; is 'contents' "$answer" "0 file 0644 $mine 1 2 $A${n}2 file 0600 $mine 1 2 $B${n}3 file 0600 $mine 1 2 $A${n}x0"
tree - - - - f a - l link b f sub - d a - d link - f none -; is 'kinds' "$answer" "1 link 0777 $mine a${n}2 dir 0750 $mine${n}3 file 0644 $mine 1 2 -${n}4 link 0777 $mine a${n}5 absent${n}x0"
# A host without the tools, or with ones that fail.
answer=$(stat() { return 1; }; copy__each() { exit 1; }; copy_tree "$d" - - - -; copy_look 7 "$@" f nope "$a"; echo "x$?"); is 'without the tools' "$answer" "16 absent${n}x0"
# shellcheck disable=SC2086
answer=$(copy__each() { [ "$2" = sha256sum ] || exit 1; _e_list=$1; shift; IFS=$n; exec "$@" -- $_e_list; }; copy_tree "$d" 0600 0755 - -; copy_look 0 d '' - f a "$a" d sub - f sub/b "$b"; echo "x$?"); is 'without stat' "$answer" "1 file 0644 $mine 1 2 $A${n}2 dir 0750 $mine${n}x0"
answer=$(copy__each() { exit 1; }; copy_tree "$d" 0600 - - -; copy_look 0 "$@"; echo "x$?"); is 'without the tools: modes' "$answer" "1 file 0644 $mine 1 2 $A${n}x0"
# What is said of one file is not taken for another's.
answer=$(copy__each() { if [ "$2" = sha256sum ]; then printf '%s\n' "$B  $d/sub/b"; fi; }; copy_tree "$d" - - - -; copy_look 0 f a "$b" f sub/b "$b"; echo "x$?"); is 'one sum too few' "$answer" "0 file 0644 $mine 1 2 $A${n}x0"

# --- into place
made() {
  copy_stage "$d" 0 1 || copy_fail
  copy_folders 0/new 0/new/deep || copy_fail
  copy_text 0/one 'a\n' || copy_fail
  copy_text '0/new/deep/two words' 'b\n' || copy_fail
  copy_text 1/three 'a\n' || copy_fail
  copy_link 0/new/l 'deep/two words' || copy_fail
  copy_made 0640 - - "$a" 0/one "$1" '0/new/deep/two words' "$A" 1/three || copy_fail
  copy_made 0750 - - - 0/new/deep - 0/new || copy_fail
  copy_move "$d" 0 - - new one || copy_fail
  copy_move "$d/sub" 1 - - three || copy_fail
  copy_end
}
state() { (cd "$d" && find . | sort | while IFS= read -r f; do printf '%s %s\n' "$(stat -c %a -- "$f")" "$f"; done); }
before=$(state)
do_ made "$a"; is 'a wrong content' "$status" 1; like 'a wrong content says' "$said" '*new/deep/two words is not what was sent'
is 'nothing is left of it' "$(state)" "$before"
mkdir "$d/new"; do_ made "$b"; is 'made by somebody else' "$status" 4; like 'it says so' "$said" "*$d/new was made by somebody else just now"
rmdir "$d/new"; is 'nothing is left of that' "$(state)" "$before"

keep() {
  copy_keep_begin
  copy_keep_root "$d"
  copy_keep "$d" new new/deep 'new/deep/two words' new/l one sub/three a
  copy_keep_end
}
record=$( (keep) 2>&1); like 'a record' "$record" 'each 8 list.*'
do_ made "$b"; is 'made' "$status$said" 0
tree 0640 - - - f one "$a" f 'new/deep/two words' "$b" l new/l 'deep/two words' f sub/three "$a"; is 'as it was wanted' "$answer" x0
tree - 0750 - - d new - d new/deep -; is 'with its modes' "$answer" x0
printf 'changed\n' >"$d/a"
do_ copy_back "$record"; is 'back' "$status$said" 0
is 'all is as before' "$(state)" "$before"
is 'and a file that was there' "$(cat "$d/a")" a
# A folder that others would take after, and one behind a mount, get theirs one by one.
chmod 2755 "$d/sub"; do_ made "$b"; is 'a set-group-id bit' "$status$said" 0; is 'its group' "$(stat -c %g:%a "$d/sub/three")" "$(stat -c %g "$d/sub"):640"; do_ copy_back "$record"; chmod 00750 "$d/sub"; is 'back from that' "$(state)" "$before"
do_ eval 'copy__mounted() { return 0; }; copy__into_() { :; }; made "$b"'; is 'a mount' "$status$said" 0; is 'the content' "$(cat "$d/sub/three")" a; do_ copy_back "$record"; is 'back from that, too' "$(state)" "$before"
ln -s a "$d/sub/three"; do_ made "$b"; is 'a name that is taken' "$status" 4; rm -f "$d/sub/three"; do_ copy_back "$record"
# Again: what is gone already is no mistake.
do_ copy_back "$record"; is 'back again' "$status$said" 0
# Many, so that the list is read in pieces.
many=''
no=0
while [ "$no" -lt 230 ]; do many="$many$no$n" no=$((no + 1)); done
IFS=$n
# shellcheck disable=SC2086
set -- $many
IFS=" $t$n"
record=$( (copy_keep_begin; mkdir "$d/many"; copy_keep "$d/many" "$@"; copy_keep_end) 2>&1); like 'many' "$record" 'each 230 *'
for one in "$@"; do : >"$d/many/$one"; done
mkdir "$d/many/else"
do_ copy_back "$record"; is 'many back' "$status$said" 0; is 'what was not ours stays' "$(ls "$d/many")" else
# What was not there is noted without a look at each, unless somebody has made one of them since.
rm -rf "$d/many" "$d/100%d"
mkdir "$d/100%d"
record=$( (copy_keep_begin; copy_keep_new "$d/100%d" "$d/100%%d/%s\\nabsent\\n" 'a b' c/d; copy_keep_end) 2>&1); like 'new ones' "$record" 'each 2 *'
is 'new ones, noted' "$(cat "$core_store/${record##* }")" "$d/100%d/a b${n}absent$n$d/100%d/c/d${n}absent"
echo mine >"$d/100%d/c"
record=$( (copy_keep_begin; copy_keep_new "$d/100%d" "$d/100%%d/%s\\nabsent\\n" b c; copy_keep_end) 2>&1); like 'one of them is there' "$record" 'each 2 *'
like 'and is kept' "$(cat "$core_store/${record##* }")" "$d/100%d/b${n}absent$n$d/100%d/c${n}file *"
rm -rf "$d/100%d"
# --- files that are replaced
printf 'one\n' >"$d/one"; printf 'two\n' >"$d/two words"; printf 'three\n' >"$d/three"; printf 'odd\n' >"$d/back\\slash"
chmod 640 "$d/one"; chmod 755 "$d/two words"; chmod 4711 "$d/three"; chmod 604 "$d/back\\slash"
touch -d @1700000000 "$d/one" "$d/three"
swap() { # SHA of the last
  copy_stage "$d" 0 || copy_fail
  copy_text 0/one 'a\n' || copy_fail
  copy_text '0/two words' 'b\n' || copy_fail
  copy_text 0/three 'a\n' || copy_fail
  copy_text '0/back\slash' 'b\n' || copy_fail
  copy_swap "$d" 0 "$A" one "$B" 'two words' "$A" three "$1" 'back\slash' || copy_fail
  copy_end
}
contents() { (cd "$d" && cat -- one 'two words' three 'back\slash') | tr '\n' ' '; (cd "$d" && stat -c %a:%Y -- one three) | tr '\n' ' '; }
before=$(state) said_before=$(contents)
record=$( (copy_keep_begin; copy_keep "$d" one 'two words' nothing three 'back\slash' sub; copy_keep_end) 2>&1); like 'kept together' "$record" 'each 6 list.*'
list=$(cat "$core_store/${record##* }")
if cp --parents --version >/dev/null 2>&1; then
  like 'copies in a folder of the store' "$list" "$d/one${n}file 0640 $me $mygid 1700000000 4 $(sum 'one\n') tree.* one${n}*${n}$d/nothing${n}absent${n}*"
fi
do_ swap "$A"; is 'a wrong content is not swapped' "$status" 1; is 'and nothing else' "$(contents)" "$said_before"
do_ swap "$B"; is 'swapped' "$status$said" 0; is 'modes stay' "$(state)" "$before"; like 'contents do not' "$(contents)" 'a b a b 640:*'
[ "$(stat -c %a "$d/three")" = 4711 ]; is 'a set-user-id bit stays' $? 0
do_ copy_back "$record"; is 'swapped back' "$status$said" 0; is 'contents and times are back' "$(contents)" "$said_before"; is 'and modes' "$(state)" "$before"
# What is something else by now, or gone, or has been tampered with in the store.
do_ swap "$B"; rm -f "$d/one"; rm -f "$d/three"; ln -s nowhere "$d/three"; do_ copy_back "$record"; is 'back where it is gone' "$status$said" 0; is 'a link gives way' "$(contents)" "$said_before"
do_ swap "$B"; rm -f "$d/one"; mkdir "$d/one"; do_ copy_back "$record"; is 'a folder does not' "$status" 1; like 'a folder says' "$said" "*$d/one is a folder now*"; rmdir "$d/one"; do_ copy_back "$record"; is 'back after that' "$(contents)" "$said_before"
chmod 600 "$d/one"; do_ copy_back "$record"; is 'back twice' "$status$(contents)" "0$said_before"
do_ swap "$B"; (set +f; printf 'ons\n' >"$(echo "$core_store"/tree.*/three)"); do_ copy_back "$record"; is 'a damaged backup' "$status" 1; like 'damaged says' "$said" "*the backup of $d/three in *is damaged*"
is 'nothing of ours beside them' "$(cd "$d" && find . -name '.mutate.*')" ''
(set +f; printf 'three\n' >"$(echo "$core_store"/tree.*/three)"; touch -d @1700000000 "$core_store"/tree.*/three); do_ copy_back "$record"; is 'mended' "$status$(contents)" "0$said_before"
do_ swap "$B"
set +f; rm -f "$core_store"/tree.*/one "$core_store/$(sum 'one\n')"; set -f; do_ copy_back "$record"; is 'a backup that is gone' "$status" 1; like 'says so' "$said" "*the backup of $d/one is no longer in*"
# A record that cannot be made leaves nothing in the store.
mkfifo "$d/fifo"; listed=$(ls "$core_store"); do_ eval 'file_keep() { return 1; }; copy_keep_begin; copy_keep "$d" one "two words" fifo'; is 'not kept' "$status" 1; is 'nothing of it is left' "$(ls "$core_store")" "$listed"; rm -f "$d/fifo"
# A link that comes between is no backup.
echo secret >"$base/secret"; (set +f; rm -rf "$core_store"/tree.*)
do_ eval 'cp() { rm -f "$d/one"; ln -s "$base/secret" "$d/one"; command cp "$@"; }; copy_keep_begin; copy_keep "$d" one "two words"; copy_keep_end'; like 'a link between' "$status$(cat "$core_store/${said##* }")" "0$d/one${n}link *"; rm -f "$d/one"; printf 'one\n' >"$d/one"; chmod 640 "$d/one"
# What holds a move up is named.
record=$( (copy_keep_begin; copy_keep "$d" one 'two words' three 'back\slash'; copy_keep_end) 2>&1) said_before=$(contents)
do_ eval 'mv() { command mv -f -- ./one "$d/"; echo "mv: Operation not permitted" >&2; return 1; }; swap "$B"'; is 'a move that fails half way' "$status" 1; like 'it names the next' "$said" "*$d/two words*"; do_ copy_back "$record"; is 'and it comes back' "$(contents)" "$said_before"
do_ eval 'copy__mounted() { return 0; }; copy__into() { exit 9; }; copy_stage "$d" 0 || exit; copy_text 0/b "a\\n"; copy_swap "$d/sub" 0 "$A" b; copy_end'; is 'behind a mount by itself' "$status$said$(cat "$d/sub/b")" 0a; printf 'b\n' >"$d/sub/b"
# Several folders, and none of their files by itself.
mkdir "$d/p" "$d/q"; for one in p/1 p/2 q/1 'q/2 2' q/3; do printf '%s\n' "$one" >"$d/$one"; done
record=$( (copy_keep_begin; copy_keep "$d" p/1 p/2 p/new q/1 'q/2 2' q/3; copy_keep_end) 2>&1)
for one in p/1 p/2 p/new q/1 'q/2 2' q/3; do echo other >"$d/$one"; done
do_ eval 'file_back() { file__stop 1 "$1 by itself"; }; copy_back "$record"'
if cp --parents --version >/dev/null 2>&1; then is 'several folders' "$status$said" 0; is 'their contents' "$(cd "$d" && cat p/1 p/2 q/1 'q/2 2' q/3 | tr '\n' ,; ls p q | tr '\n' ,)" 'p/1,p/2,q/1,q/2 2,q/3,p:,1,2,,q:,1,2 2,3,'; fi
rm -rf "$d/p" "$d/q"
# More than one name: together they would be parted without a word.
ln "$d/three" "$d/third"; do_ swap "$B"; is 'hard links' "$status" 1; like 'hard links says' "$said" '*three has 2 hard links*'; rm -f "$d/third"
# Without GNU cp one by one.
do_ eval 'file__attributes() { return 1; }; copy__swap() { return 1; }; cp() { return 1; }; file__attributes() { return 2; }; swap "$B"'; is 'one by one' "$status$said" 0; like 'all the same' "$(contents)" 'a b a b 640:*'

# A folder that holds something else is not removed.
record=$( (copy_keep_begin; copy_keep "$d" fresh; copy_keep_end) 2>&1); mkdir "$d/fresh"; : >"$d/fresh/of-others"
do_ copy_back "$record"; is 'a folder with more in it' "$status" 1; [ -e "$d/fresh/of-others" ]; is 'it is still there' $? 0

cd / && rm -rf "$base"
echo "$good good, $bad bad"
[ "$bad" = 0 ]
