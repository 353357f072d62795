# shellcheck shell=sh
# shellcheck disable=SC2154 # n, st, core_run and the answers come from core; watch_seq from the way back itself
# shellcheck disable=SC2016 # the text of the process is meant literally
# watch: a change that could lock everybody out goes back by itself, unless a new login confirms it in time.
#
# Before such a change is made, its way back is written into runs/RUN/watch, and a process of its own begins to wait.
# The connection may break, the server may end: the process does not depend on them. In the folder:
#   SEQ, SEQ.late       how to take the change of this number back; late ones, such as restarts, come last
#   SEQ.before, .after  what the host had answered, each with its status
#   SEQ.kept            the record of the backup
#   until               armed: `SECONDS SEQ LIMIT`, the time since boot at which all goes back, the change that it is for, and how
#                       long that waits once it has been made
#   now                 it goes back at once
#   confirmed, fired, over   what `until` has become; a rename decides, so that only one of them can be
#   pid                 process and start time of the one that waits

# Waits until it is confirmed, or too late; then takes everything back, the last change first, and tells the ledger.
# While nobody else has the lock, it is the process that has it.
watch_process='
trap "" HUP
cd "$1" || exit 1
lock=../../../lock
while read -r until seq _ 2>/dev/null <until && [ "$seq" = "$2" ] && [ ! -e now ]; do
  read -r up _ </proc/uptime
  [ "${up%%.*}" -lt "$until" ] || break
  if read -r owner _ 2>/dev/null <"$lock/owner" && [ "$owner" = "$$" ]; then printf "%s\n" "${up%%.*}" >"$lock/beat"; fi
  sleep 1
done
[ "$seq" = "$2" ] && mv until fired 2>/dev/null || exit 0
back() {
  sh "./$1" </dev/null >"$1.said" 2>&1
  printf "undone %s %s\n" "${1%.late}" "$?" >>../ledger
}
for one in $(ls | sort -rn); do case $one in *[!0-9]*) ;; *) back "$one" ;; esac; done
for one in $(ls | sort -n); do case $one in [0-9]*.late) back "$one" ;; esac; done
# What was needed for this may be secret. What was said about it stays.
for one in *; do case $one in [0-9]*.said) ;; [0-9]*) rm -f "$one" ;; esac; done
mv fired over
if read -r owner _ 2>/dev/null <"$lock/owner" && [ "$owner" = "$$" ]; then rm -rf ../open "$lock"; fi
'

# watch_arm SEQ SECONDS LIBRARIES NAME WAY RECORD PATIENCE: from now on the change of this number goes back so many seconds
# after it was made, and making it may take so long as well. WAY is a call of watch_try; it goes into the file NAME.
watch_arm() {
  _w_dir=$st/runs/$core_run/watch
  # shellcheck disable=SC2086 # a list of libraries
  core_head own $3 watch
  case $core_lc in '' | *[!A-Za-z0-9_.@-]*) _w_user='unset LC_ALL' ;; *) _w_user="LC_ALL=$core_lc" ;; esac
  eval "_w_answer=\${a_$1-}x\${s_$1-}"
  core_clock
  {
    mkdir -p "$_w_dir" && [ ! -e "$_w_dir/fired" ] && rm -f "$_w_dir/confirmed" "$_w_dir/over" "$_w_dir/now" "$_w_dir/$1.after" &&
      printf '%s' "$_w_answer" >"$_w_dir/$1.before" &&
      printf '%s' "$6" >"$_w_dir/$1.kept" &&
      printf '%s\n' "$_head" "watch_seq=$1 watch_user='set +f; umask $core_umask; $_w_user'" "$5" >"$_w_dir/$4" &&
      printf '%s\n' "$((_up + $2 + $7)) $1 $2" >"$_w_dir/until.new" && mv -f "$_w_dir/until.new" "$_w_dir/until"
  } 2>/dev/null || {
    core_say "what takes it back by itself cannot be written to $_w_dir"
    return 1
  }
  $core_setsid sh -c "$watch_process" watch "$_w_dir" "$1" </dev/null >/dev/null 2>&1 4>&- &
  core_born "$!"
  printf '%s\n' "$! $_born" >"$_w_dir/pid"
}

# watch_since SEQ: the change has been made, or has failed, and waits from now on.
watch_since() {
  read -r _ _w_seq _w_limit <"$st/runs/$core_run/watch/until" && [ "$_w_seq" = "$1" ] || return 0
  core_clock
  printf '%s\n' "$((_up + _w_limit)) $1 $_w_limit" >"$st/runs/$core_run/watch/until.new" && [ -e "$st/runs/$core_run/watch/until" ] &&
    mv -f "$st/runs/$core_run/watch/until.new" "$st/runs/$core_run/watch/until"
} 2>/dev/null

# watch_left SEQ: what the host answers after the change, in a and s. What somebody makes of it later stays.
watch_left() {
  printf '%s' "${a}x$s" >"$st/runs/$core_run/watch/$1.after"
}

# Where the shell that made the change was.
watch_home() {
  cd "${HOME:-/}" 2>/dev/null || cd /
}

# Sets _w_now to an answer and its status.
watch_ask() {
  _w_now=$(trap 'printf x%s "$?"' 0; watch_home; eval "$1" </dev/null)
}

# watch_try PROBE VERIFIED WHOSE UNDO: takes one change back, in its folder. Without a PROBE nothing is asked.
# 0: it is as before; 4: somebody has changed it since; 5: it could not be done; 6: it was done, and is not as before.
watch_try() {
  _w_before=$(cat "$watch_seq.before") _w_kept=$(cat "$watch_seq.kept")
  if [ "$1" ]; then
    watch_ask "$1"
    [ "$_w_now" != "$_w_before" ] || exit 0
    if [ -f "$watch_seq.after" ] && [ "$_w_now" != "$(cat "$watch_seq.after")" ]; then exit 4; fi
  fi
  case $3 in
    user) (watch_home; eval "$watch_user$n$4") </dev/null ;;
    *) (watch_home; eval "$4") </dev/null ;;
  esac || exit 5
  if [ "$1" ] && [ "$2" ]; then
    watch_ask "$1"
    [ "$_w_now" = "$_w_before" ] || exit 6
  fi
  exit 0
}

# watch_keep: the shell that has the lock ends, and the process that waits has it from now on.
watch_keep() {
  { read -r _w_pid _w_born <"$st/runs/$core_run/watch/pid" && read -r _ _ _w_rest && IFS= read -r _w_who && IFS= read -r _w_for; } <"$st/lock/owner" &&
    printf '%s\n' "$_w_pid $_w_born $_w_rest" "$_w_who" "$_w_for" >"$st/lock/owner.new" && mv -f "$st/lock/owner.new" "$st/lock/owner"
} 2>/dev/null

# watch_confirm RUN: confirms what waits, unless it is too late. The ways back stay: what has been written may only take
# effect with a restart that comes later, and then goes back with it. watch_now RUN: takes it back at once. watch_state RUN:
# what has become of it: armed, confirmed, fired or over; none when there is nothing.
watch_confirm() {
  if cd "$st/runs/$1/watch" 2>/dev/null && mv until confirmed 2>/dev/null && read -r _w_pid _w_born <pid && core_born "$_w_pid" && [ "$_born" = "$_w_born" ]; then
    kill -s TERM -- "-$_w_pid" "$_w_pid" 2>/dev/null
  fi
  watch_state "$1"
}

watch_now() {
  : >"$st/runs/$1/watch/now"
  watch_state "$1"
}

watch_state() {
  for _w_one in over fired confirmed until; do
    [ -e "$st/runs/$1/watch/$_w_one" ] || continue
    echo "$_w_one"
    return
  done
  echo none
}
