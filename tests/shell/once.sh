#!/bin/sh
# The shell that is there for one command. Each case runs in a session of its own, as a server starts it.
# shellcheck disable=SC2016 # the commands are texts
set -u
n='
'
once=$(while IFS= read -r line; do printf '%s ' "$line"; done <"$LIB/once_library.sh")
failed=0

# run WORDS TEXT [LINE…]: gives the text to a shell, and then lines for whoever waits beside it, half a second after the other; what
# came of it is in out, err and status.
run() {
  _start=$1 _text=$2
  shift 2
  _quoted=\'$(printf %s "$_text" | sed "s/'/'\\\\''/g" | awk 'NR > 1 { printf "%s", "'\''\"$n\"'\''" } { printf "%s", $0 }')\'
  {
    printf '%s\n' - "set -- \"\$2\" 7 'a'\\''b \"\$c\" \\ \`d\` *' $_quoted"
    for _line in ${1+"$@"}; do sleep 0.5; printf '%s\n' "$_line"; done
    [ "$#" = 0 ] || sleep 1
  } | {
    # shellcheck disable=SC2086 # a list of words
    $_start $SHELL_UNDER_TEST -c 'eval "$1"' sh "$once" TOKEN >"$TEST_HOME/out" 2>"$TEST_HOME/err"
    echo "$?" >"$TEST_HOME/status"
  }
  read -r status <"$TEST_HOME/status"
  # ksh93 says 256 and the signal.
  [ "$status" -le 256 ] || status=$((status - 128))
  out=$(sed '1s/^TOKEN b 7 [0-9]*$/begun/' "$TEST_HOME/out")
  # Some shells remark on a killed child.
  err=$(sed '1s/^TOKEN b 7$/begun/; /Terminated *$/d; /Killed *$/d' "$TEST_HOME/err")
}

check() { # WHAT EXPECTED
  _found="$status|$out|$err"
  if [ "$_found" != "$2" ]; then
    failed=1
    printf 'FAIL %s: found\n%s\nexpected\n%s\n' "$1" "$_found" "$2"
  fi
}

case $(readlink "/proc/$$/exe") in
  */busybox) SHELL_UNDER_TEST='busybox ash' ;;
  */bash) SHELL_UNDER_TEST='bash --posix' ;;
  *zsh*) SHELL_UNDER_TEST="zsh --emulate sh" ;;
  *) SHELL_UNDER_TEST=$(readlink "/proc/$$/exe") ;;
esac

run 'setsid -w' 'echo "$#" "${n-none}" "$(echo "it'"'"'s")"; echo said >&2; exit 3'
check 'streams and status' "3|begun${n}0 none it's|begun${n}said"

run 'setsid -w' "echo a${n}echo b${n}# no end of line"
check 'several lines' "0|begun${n}a${n}b|begun"

run 'setsid -w' 'sleep 0.1 & wait; echo waited; read -r line || echo nothing to read'
check 'it has no other children, and nothing on its stdin' "0|begun${n}waited${n}nothing to read|begun"

run 'setsid -w' 'stop() { kill $$; }; echo a; (stop); echo b'
check 'it may end itself' "143|begun${n}a|begun"

run 'setsid -w' 'trap "echo bye; exit 5" TERM; sleep 20 & wait' 'K TERM 1'
check 'it is asked to end' "5|begun${n}bye|begun"

run 'setsid -w' 'trap "echo once" TERM; sleep 20 & wait; sleep 1; echo on' 'K TERM 1'
check 'it is asked once' "0|begun${n}once${n}on|begun"

run 'setsid -w' 'trap "" TERM; sleep 21; echo on' 'K TERM 1' 'K KILL 1'
check 'it is ended' "137|begun|begun"

run '' 'sleep 22; echo on' 'K TERM 1'
check 'no group of its own' "143|begun|begun"

whole=$once
once=${whole%%mutate_left=600*}mutate_left=1${whole#*mutate_left=600}
run 'setsid -w' 'sleep 23; echo on'
check 'the controller has gone away, and it takes too long' "137|begun|begun"
once=$whole

for seconds in 20 21 22 23; do
  if pgrep -f "^sleep $seconds\$" >/dev/null 2>&1; then
    failed=1
    echo "FAIL: sleep $seconds is still there"
  fi
done

printf 'another line\n' | $SHELL_UNDER_TEST -c 'eval "$1"' sh "$once" TOKEN >"$TEST_HOME/out" 2>/dev/null
out=$(cat "$TEST_HOME/out")
[ "$out" = 'TOKEN refuse stdin' ] || { failed=1; echo "FAIL: somebody else has read the first line: $out"; }

exit "$failed"
