# shellcheck shell=sh
# once: one command of the user's, and nothing else, where no more than that is to be done on a host.
#
# The command is the session itself, as with `ssh host command`: what it prints is what the channel carries, and how it ends
# is how the channel ends. Beside it waits one process, which is none of its children, so that `wait` does not see it: a kill
# reaches the whole process group at once, and what runs for too long after the controller has gone away is ended.
#
# It is read as one line, between single quotes, by whatever the login shell is: no quote, no `!`, no two backslashes in a
# row, and each line ends as it would if the next one stood right behind it. $1 is this text, $2 the public token, which
# says on both streams where the command's own output begins:
#   TOKEN b SEQ PGID             on stdout
#   TOKEN b SEQ                  on stderr
# The first line of stdin is `-`; the second sets $1 to $4: the token, SEQ, the words of the self-test, the command.

# A group is `-- -PGID` to most; busybox has no `--`, and without it the kill of procps, which posh calls, reads one digit of it.
# Where the server gives a command no process group of its own, it gets one now.
mutate_all="-- -$$"; kill -s 0 -- "$$" 2>/dev/null || mutate_all=-$$;
# shellcheck disable=SC2086 # words
kill -s 0 $mutate_all 2>/dev/null || { [ "${3-}" ] || { command -v setsid >/dev/null 2>&1 && exec setsid sh -c "$1" sh "$1" "$2" again; }; mutate_all=$$; };
unset ENV BASH_ENV CDPATH GREP_OPTIONS;
n=${IFS#??}; n=${n%"${n#?}"};
mutate_path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; mutate_ifs=$IFS; IFS=:; set -f;
for mutate_line in ${PATH-}; do
case :$mutate_path: in *:"$mutate_line":*) ;; *) mutate_path=$mutate_path:$mutate_line ;; esac;
done;
IFS=$mutate_ifs; set +f; PATH=$mutate_path; export PATH;
cd "${HOME:-/}" 2>/dev/null || cd /;
IFS= read -r mutate_line;
[ "$mutate_line" = - ] || { printf "%s refuse stdin\n" "$2"; exit 1; };
IFS= read -r mutate_line; eval "$mutate_line";
[ "${#3}$((6 * 7))" = 1642 ] || { printf "%s refuse\n" "$1"; exit 1; };
exec 3<&0 </dev/null;
# A limit makes a process of it in ksh93 too, where the other one would be a child of this very shell otherwise.
# shellcheck disable=SC3045,SC2086 # a shell that lacks it goes on; words
( ulimit -c 0 2>/dev/null; {
exec <&3 3<&- >&- 2>&-;
trap "" TERM HUP INT QUIT USR1 USR2 ALRM PIPE;
while IFS= read -r mutate_line; do
case $mutate_line in
"K TERM "*) kill -s TERM $mutate_all ;;
"K KILL "*) kill -s KILL $mutate_all ;;
esac;
done;
mutate_left=600;
while kill -0 "$$"; do
[ "$mutate_left" -gt 0 ] || kill -s KILL $mutate_all;
mutate_left=$((mutate_left - 1)); sleep 1;
done;
} & );
exec 3<&-;
printf "%s b %s\n" "$1" "$2" >&2;
printf "%s b %s %s\n" "$1" "$2" "$$";
shift 3; unset n mutate_path mutate_ifs mutate_line mutate_all;
eval "set --; $1"
