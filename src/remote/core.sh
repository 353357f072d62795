# shellcheck shell=sh
# shellcheck disable=SC2154 # q, core_bytes, core_libraries and the remembered answers come from frames
# shellcheck disable=SC2016 # texts for other shells are meant literally
# shellcheck disable=SC2015 # `A && B || C` where B cannot fail, or C is right for both
# core: the shell that stays open on a host. It is sent once, and then evaluates one frame per line of its stdin.
#
# Two processes. The supervisor always reads the channel, so that a kill or a heartbeat reaches the host while a
# task runs; every other line goes on to the worker, which does the work. When the controller goes away, the
# supervisor tells the worker through SIGURG: the step that has begun is finished, nothing more is started. Lines for
# the supervisor: `K SIGNAL GROUP` kills a task, `H` renews the lease of the lock, `Z` stops after the step that has
# begun, `Q` ends after all that was sent.
#
# Before this text: n, q=PUBLIC_TOKEN, core_libraries and their texts core_lib_NAME, and core_first, a function that
# holds the frames which travel along. The first line of stdin is the secret token m, which from
# then on stands before every reply, on stdout and on stderr:
#   TOKEN hello UID HOME FEATURES
#   TOKEN handlers LEN           then LEN bytes: one line per pending handler
#   TOKEN a SEQ STATUS LEN       then LEN bytes and a newline: the answer of a probe
#   TOKEN b SEQ                  a step has begun; what follows up to its end is its output
#   TOKEN p SEQ PGID             its process group
#   TOKEN d SEQ OUTCOME STATUS LEN KEPT_LEN  then LEN + KEPT_LEN bytes and a newline: the step has ended
#   TOKEN l STATE LEN            then LEN bytes: the lock is ours, held by another, or cannot be had
#   TOKEN bye                    the worker has ended, and with it the lock
#   TOKEN e SEQ                  (stderr only) everything of this frame has been written
# A length counts bytes, so a payload may hold anything, even a line that looks like a frame.

t='	'
core_umask=$(umask)
core_lc=${LC_ALL-}
unset ENV BASH_ENV CDPATH GREP_OPTIONS POSIXLY_CORRECT
IFS=" $t$n"
LC_ALL=C
PS1=
PS2=
umask 077
set -f
core_path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
IFS=:
for _dir in ${PATH-}; do
  case :$core_path: in *:"$_dir":*) ;; *) core_path=$core_path:$_dir ;; esac
done
IFS=" $t$n"
PATH=$core_path
export LC_ALL PATH
# The folder of whoever became another user may be closed to that one.
cd "${HOME:-/}" 2>/dev/null || cd /

# Refuses a shell that does not read words as POSIX says: better no work than other work than was asked for.
core_selftest() {
  _x='a'\''b "$c" \ `d` *'
  [ "${#_x}" = 16 ] || return 1
  [ "${#core_bytes}" = 3 ] || return 1
  [ "$((6 * 7))" = 42 ] || return 1
  case "$_x" in "a'b "*) ;; *) return 1 ;; esac
}

# Sets uid without a fork where there is /proc.
core_identify() {
  uid=
  while read -r _key _value _; do
    case $_key in Uid:) uid=$_value; break ;; esac
  done </proc/self/status 2>/dev/null
  [ "$uid" ] || uid=$(id -u)
  case ${XDG_STATE_HOME-}:$uid in
    /*) st=$XDG_STATE_HOME/mutate ;;
    *:0) st=/var/lib/mutate ;;
    *) st=${HOME:-/}/.local/state/mutate ;;
  esac
  core_store=$st/store
}

# The time since the last boot in seconds.
core_clock() {
  read -r _up _ </proc/uptime
  _up=${_up%%.*}
}

# What tells this boot and this shell from any other; asked for once there is a lock.
core_know() {
  [ -z "$core_boot" ] || return 0
  core_born "$$"
  core_birth=$_born
  read -r core_boot </proc/sys/kernel/random/boot_id 2>/dev/null || core_boot=none
}

# Sets _born to the start time of a process, or to nothing when it is gone.
core_born() {
  _born=''
  read -r _stat <"/proc/$1/stat" || return 1
  # The fields after the name, which may hold blanks and brackets itself.
  _stat=${_stat##*") "}
  # One that is dead and not buried yet does nothing more.
  case $_stat in [ZX]*) return 1 ;; esac
  # shellcheck disable=SC2086 # the fields
  set -- $_stat
  _born=${20}
} 2>/dev/null

# Sets a to a line for each handler that is pending.
core_pending() {
  a=''
  set +f
  for _f in "$st"/handlers/*; do
    [ -f "$_f" ] || continue
    # One that could not be written whole is pending all the same.
    _line=''
    IFS= read -r _line <"$_f"
    a="$a${a:+$n}${_f##*/} $_line"
  done
  set -f
}

# Asks one question: sets a to what it prints and s to its status. What it says on stderr is a remark.
core_ask() {
  a=$(trap 'printf x%s "$?"' 0; eval "$1" </dev/null)
  s=${a##*x}
  a=${a%x*}
  case $s in '' | *[!0-9]*) a='the shell of this host does not do what POSIX says of trap' s=3 ;; esac
}

core_reply() {
  printf '%s %s %s %s %s\n%s\n' "$m" "$1" "$2" "$s" "${#a}" "$a" || gone=1
  printf '%s e %s\n' "$m" "$2" >&2
}

# T COUNT FUNCTION: the next COUNT frames, all questions or all changes, are kept until the last of them has come. Then
# FUNCTION, of a library, works them off together: word W of frame I is in `qW_I`, and core_single I does one by itself.
T() {
  core_count=$1 core_function=$2 core_held=0
}

core_hold() {
  core_held=$((core_held + 1)) _no=0
  for _word in "$@"; do
    _no=$((_no + 1))
    eval "q${_no}_$core_held=\$_word"
  done
  [ "$core_held" = "$core_count" ] || return 0
  core_count=''
  "$core_function" "$core_held"
}

core_single() {
  eval "case \$q1_$1 in
    P) P \"\$q2_$1\" \"\$q3_$1\" ;;
    *) C \"\$q2_$1\" \"\$q3_$1\" \"\$q4_$1\" \"\$q5_$1\" \"\$q6_$1\" \"\$q7_$1\" \"\$q8_$1\" \"\$q9_$1\" \"\$q10_$1\" \"\$q11_$1\" \"\$q12_$1\" ;;
  esac"
}

# P SEQ PROBE: asks, remembers the answer for the compare-and-swap, and sends it.
P() {
  [ "$gone" ] && exit
  [ -z "$core_count" ] || { core_hold P "$@"; return; }
  core_ask "$2"
  eval "a_$1=\$a s_$1=\$s"
  core_reply a "$1"
}

# D NAME TEXT: defines a library, and keeps its text for tasks that run in a shell of their own.
D() {
  eval "$2"
  eval "core_lib_$1=\$2"
}

# Runs a script in a process group of its own, with nothing on its stdin; sets r to its status.
# The script travels through a pipe: as an argument it would be cut at 128 KiB and seen by `ps`.
core_group() {
  # Below so many bytes, reading them one by one takes less time than a process that reads them at once.
  if [ "${#2}" -lt 1024 ]; then
    _read='s=; while IFS= read -r l; do s=$s$l"
"; done; eval "$s" </dev/null'
    if [ "$core_pipes" ]; then
      $core_setsid sh -c "$_read" 4>&- <<X &
$2
X
    else
      printf '%s\n' "$2" | $core_setsid sh -c "$_read" 4>&- &
    fi
  else
    printf '%s\n' "$2" | $core_setsid sh -c 's=$(cat); eval "$s" </dev/null' 4>&- &
  fi
  _w=$!
  printf '%s p %s %s\n' "$m" "$1" "$_w"
  while :; do
    # Some shells remark on a killed child.
    wait "$_w" 2>/dev/null
    r=$?
    { [ "$gone" ] && kill -0 "$_w" 2>/dev/null; } || return 0
    # The controller has gone. The task may finish, but not stay for ever.
    _left=$core_grace
    while kill -0 "$_w" 2>/dev/null; do
      [ "$_left" -gt 0 ] || kill -s KILL -- "-$_w" "$_w" 2>/dev/null
      _left=$((_left - 1))
      sleep 1
    done
  done
}

# The head of a script for core_group: $1 is `user` for what a user wrote, `own` for ours with the libraries named after.
core_head() {
  case $1 in
    user) _head="umask $core_umask" ; [ "$core_lc" ] && _head="$_head; LC_ALL=$core_lc" || _head="$_head; unset LC_ALL" ;;
    *) _head="n='$n' t='$t'; umask 077; set -f; core_run='$core_run'; core_store='$core_store'" ; shift
      for _lib in core_small "$@"; do
        eval "_head=\$_head\$n\$core_lib_$_lib"
      done ;;
  esac
}

# core_apart SCRIPT: runs a question that a user wrote, silently, in a process group of its own. It may hang, so it can be
# killed, and it ends when the run is to end: it changes nothing.
core_apart() {
  core_head user
  printf '%s\n' "$_head$n$1" | $core_setsid sh -c 's=$(cat); eval "$s" </dev/null' >/dev/null 2>&1 4>&- &
  _w=$!
  trap 'kill -s KILL -- "-$_w" "$_w" 2>/dev/null' URG
  printf '%s p 0 %s\n' "$m" "$_w" >&4
  while :; do
    wait "$_w" 2>/dev/null
    r=$?
    kill -0 "$_w" 2>/dev/null || return "$r"
  done
}

# B LENGTH: so many bytes of frames follow, which are read at once. What has not come whole is not begun.
B() {
  l=$(head -c "$1"; printf x)
  [ "${#l}" = "$(($1 + 1))" ] || exit
  eval "${l%x}"
}

core_start() {
  printf '%s b %s\n' "$m" "$1" || { gone=1; return 1; }
  printf '%s b %s\n' "$m" "$1" >&2
}

core_done() { # SEQ OUTCOME STATUS, payload in a, kept record in k
  printf '%s d %s %s %s %s %s\n%s%s\n' "$m" "$1" "$2" "$3" "${#a}" "${#k}" "$a" "$k" || gone=1
  printf '%s e %s\n' "$m" "$1" >&2
}

# R SEQ KIND SCRIPT: runs a question that a user wrote; nothing is written to the ledger.
R() {
  [ "$gone" ] && exit
  a='' k=''
  [ "$f" ] && { core_done "$1" skipped 0; return; }
  core_start "$1" || exit
  # shellcheck disable=SC2086 # a list of libraries
  core_head $2
  core_group "$1" "$_head$n$3"
  [ "$gone" ] && exit
  core_done "$1" ran "$r"
}

# S SEQ PROBE: whether an answer that needed no change is still the same after earlier changes.
S() {
  [ "$gone" ] && exit
  a='' k=''
  [ "$f" ] && { core_done "$1" skipped 0; return; }
  core_ask "$2"
  eval "_a=\$a_$1 _s=\$s_$1"
  if [ "$a" = "$_a" ] && [ "$s" = "$_s" ]; then
    a=''
    core_done "$1" same "$s"
  else
    f=1
    eval "a_$1=\$a s_$1=\$s"
    core_done "$1" conflict "$s"
  fi
}

core_ours() {
  [ "$core_owner" ] || return 1
  if IFS= read -r _o <"$st/lock/owner"; then
    [ "$_o" = "$core_owner" ]
    return
  fi
  # Somebody may be looking at this very moment whether it is still its own, or that of a dead one.
  sleep 1
  IFS= read -r _o <"$st/lock/owner" && [ "$_o" = "$core_owner" ]
} 2>/dev/null

core_note() {
  printf '%s\n' "$*" >>"$core_ledger" 2>/dev/null
}

# How the change of C has ended, and with it those that ride along.
core_ended() { # OUTCOME [STATUS]
  _ends="done $_seq $*"
  for _rider in $_riders; do
    _ends="$_ends${n}done $_rider $*"
  done
  core_note "$_ends"
}

# What a change that notifies handlers leaves behind, until the handler has run.
core_notify() {
  printf '%s\n' "$2" >"$st/handlers/$1"
}

# What is done when the lock is given back, or by the next run when this shell is killed: it clears something away.
core_later() {
  core_ours && printf '%s\n' "$1" >>"$st/runs/$core_run/later"
}

# What a probe has answered in an earlier run, for the compare-and-swap of the change that undoes it.
core_recall() { # SEQ STATUS ANSWER
  eval "a_$1=\$3 s_$1=\$2"
}

# What the question of one frame has answered is what the same question of another would: it was asked for both, or what
# was made between them has been verified.
core_like() { # SEQ OTHER
  eval "a_$1=\$a_$2 s_$1=\$s_$2"
}

# X ID…: these handlers have run.
X() {
  for _h in "$@"; do
    rm -f "$st/handlers/$_h"
  done
}

# C SEQ FLAGS GOOD LABEL KIND PROBE KEEP APPLY PATTERN NOTIFY RIDERS: one change, guarded on both sides.
#   FLAGS  g: in a process group; i: go on after a failure; v: the answer must match afterwards; n: counts as no change
#   GOOD   the statuses of APPLY that mean success
#   NOTIFY is evaluated when something has changed
#   RIDERS are numbers of steps whose change is part of this one; LABEL begins them in the ledger, too
C() {
  [ "$gone" ] && exit
  [ -z "$core_count" ] || { core_hold C "$@"; return; }
  _seq=$1 _flags=$2 _good=$3 _label=$4 _kind=$5 _probe=$6 _keep=$7 _apply=$8 _pattern=$9
  shift 9
  _notify=$1 _riders=$2 _outcome=changed a='' k='' s=0 r=0
  [ "$f" ] && { core_done "$_seq" skipped 0; return; }
  core_note "begin $_seq $_label" || {
    f=1 a='the ledger on this host cannot be written'
    core_done "$_seq" refused 0
    return
  }
  core_start "$_seq" || {
    core_ended skipped
    exit
  }
  if [ "$_probe" ]; then
    core_ask "$_probe"
    eval "_a=\$a_$_seq _s=\$s_$_seq"
    if [ "$a" != "$_a" ] || [ "$s" != "$_s" ]; then
      f=1
      eval "a_$_seq=\$a s_$_seq=\$s"
      core_ended conflict
      core_done "$_seq" conflict "$s"
      return
    fi
    a='' s=0
  fi
  core_ours || {
    f=1 a='another run has taken over the lock of this host'
    core_ended refused
    core_done "$_seq" refused 8
    return
  }
  if [ "$_keep" ] && ! k=$(eval "$_keep" </dev/null); then
    k='' _outcome=unkept r=1
  else
    [ "$k" ] && core_note "kept $_seq $k"
    case $_flags in
      *g*)
        # shellcheck disable=SC2086 # a list of libraries
        core_head $_kind
        core_group "$_seq" "$_head$n$_apply"
        ;;
      *)
        (eval "$_apply") </dev/null 4>&-
        r=$?
        ;;
    esac
    # From now on it waits for somebody to confirm it.
    [ ! -e "$st/runs/$core_run/watch/until" ] || watch_since "$_seq"
    case " $_good " in
      *" $r "*) ;;
      *) _outcome=failed ;;
    esac
    case $_outcome$_flags in
      changed*v*)
        core_ask "$_probe"
        eval "case \$s:\$a in 0:$_pattern) a_$_seq=\$a s_$_seq=0 ;; *) _outcome=unconverged ;; esac"
        ;;
      failed*v*)
        # What it has left behind.
        core_ask "$_probe"
        [ "$s" = 0 ] || a=''
        ;;
    esac
    case $_outcome$_flags in
      changed*n*) _outcome=ran ;;
      changed*) eval "$_notify" ;;
    esac
  fi
  case $_outcome in
    changed | ran) ;;
    *) case $_flags in *i*) ;; *) f=1 ;; esac ;;
  esac
  # Where even the ledger cannot be written, nothing more is begun.
  core_ended "$_outcome" "$r" || core_ended "$_outcome" "$r" || f=1
  core_done "$_seq" "$_outcome" "$r"
}

# core_stranger RUN WHO: whether somebody else, told in _line, has written the ledger of a run of this name. Parts of one run
# have several; each of these is one process.
core_stranger() {
  [ -f "$core_ledger" ] || return 1
  while IFS= read -r _line; do
    case $_line in "run $1 "*) _line=${_line#"run $1 "} ;; *) continue ;; esac
    [ "$_line" != "$2" ] || continue
    case $_line$n$2 in
      *' shard '*"$n"*' shard '*) [ "${_line##* shard }" = "${2##* shard }" ] || continue ;;
    esac
    return 0
  done <"$core_ledger"
  return 1
}

core_locked() { # STATE TEXT
  printf '%s l %s %s\n%s\n' "$m" "$1" "${#2}" "$2" || gone=1
  [ "$1" = ours ] || f=1
}

# core_own RUN WHO: writes this shell into a lock that it has just made, unless somebody has taken it for that of a dead one meanwhile.
core_own() {
  core_clock
  core_owner="$$ $core_birth $core_boot $_up $1"
  set -C
  printf '%s\n%s\n' "$core_owner" "$2" >"$_file"
  _wrote=$?
  set +C
  [ "$_wrote" = 0 ] || core_owner=''
  return "$_wrote"
} 2>/dev/null

# core_break OWNER: takes the lock from an owner who is gone, or from nobody, and not from somebody who has taken it since that was seen. The
# folder stays, so nobody else can make it meanwhile; who finds no owner in it looks again.
core_break() {
  _o=''
  if mv -f "$_file" "$_file.$$"; then
    IFS= read -r _o <"$_file.$$"
    if [ "$_o" != "$1" ]; then
      ln "$_file.$$" "$_file" || [ -e "$_file" ] || mv -f "$_file.$$" "$_file"
      rm -f "$_file.$$"
      return 1
    fi
    rm -f "$_file.$$"
  elif [ "$1" ]; then
    return 1
  fi
  # The heart of the one before.
  rm -f "$st/lock/beat"
} 2>/dev/null

# L RUN LEASE WHO [again]: takes the lock of this host for a run, or says who holds it. `again` takes it also from an
# earlier shell of the same WHO, which then begins nothing more; core_before is its process.
# No clock of another machine is trusted: age is the time since boot, and a holder is told by boot, pid and start.
L() {
  [ "$gone" ] && exit
  core_run=$1
  if [ -z "$core_owner" ]; then
    core_know
    core_before='' _again=${4-} _file=$st/lock/owner
    mkdir -p "$st" 2>/dev/null
    if [ -L "$st" ] || [ ! -O "$st" ] || ! mkdir -p "$core_store" "$st/handlers" "$st/runs/$1" 2>/dev/null; then
      core_locked broken "the state folder $st cannot be made, or belongs to somebody else"
      return
    fi
    case $(ls -ld "$st") in
      d????-??-*) chmod 700 "$st" ;;
      *)
        core_locked broken "the state folder $st may be written by others than its owner; look at what is in it, and then make its mode 0700"
        return
        ;;
    esac
    core_ledger=$st/runs/$1/ledger
    _tries=3 _nobody=0 _broken=''
    until { mkdir "$st/lock" 2>/dev/null || [ "$_broken" ]; } && core_own "$1" "$3"; do
      _broken=''
      _owner='' _who='' _for=''
      { IFS= read -r _owner && IFS= read -r _who && IFS= read -r _for; } <"$st/lock/owner" 2>/dev/null
      # A lock without an owner is being taken or given back at this moment, unless its taker died right there.
      [ "$_owner" ] || [ "$_nobody" = 3 ] || {
        _nobody=$((_nobody + 1))
        sleep 1
        continue
      }
      _tries=$((_tries - 1))
      # shellcheck disable=SC2086 # PID START BOOT SINCE RUN
      set -- "$1" "$2" "$3" $_owner
      core_clock
      _seen=${7:-0}
      if [ -f "$st/lock/beat" ]; then
        read -r _seen <"$st/lock/beat"
        # Without anything in it, it is being written just now, or cannot be for want of room.
        _seen=${_seen:-$_up}
      fi
      _age=$((_up - ${_seen:-0}))
      if [ "$_tries" -gt 0 ] && { [ "${6-}" != "$core_boot" ] || ! core_born "$4" || [ "$_born" != "$5" ] || [ "$_age" -gt "$2" ]; }; then
        core_break "$_owner" && _broken=1
        continue
      fi
      if [ "$_again" ] && [ "${8-}" = "$1" ] && [ "$_who$n$_for" = "$3" ]; then
        core_before=$4
        core_owner="$$ $core_birth $core_boot $_up $1"
        printf '%s\n%s\n' "$core_owner" "$3" >"$_file.new" && mv -f "$_file.new" "$_file" && break
        # It has just been given back.
        core_before='' core_owner=''
        [ "$_tries" -gt 0 ] && continue
      fi
      if [ "$_owner" ]; then core_locked held "$((_up - ${7:-$_up})) ${8-} $_who"; else core_locked broken "the state folder $st cannot be written"; fi
      return
    done
    if [ -z "$core_before" ] && core_stranger "$1" "${3%%"$n"*}"; then
      core_owner=''
      rm -rf "$st/lock"
      core_locked broken "this host has a run named $1 already, by $_line; \`mutate resume $1\` continues a run where it was begun, and another one needs another name"
      return
    fi
    { printf 'run %s %s\n' "$1" "${3%%"$n"*}" >>"$core_ledger" && printf '' >"$st/runs/$1/open"; } || {
      core_ours && rm -rf "$st/lock"
      core_owner=''
      core_locked broken "the state folder $st cannot be written"
      return
    }
  fi
  core_ours && core_locked ours '' || core_locked lost 'another run has taken over the lock of this host'
}

# What would have taken dangerous changes back may hold secrets, and has been confirmed.
core_forget() {
  if [ -d "$st/runs/$core_run/watch" ] && [ ! -e "$st/runs/$core_run/watch/over" ]; then rm -rf "$st/runs/$core_run/watch"; fi
}

core_release() {
  if core_ours; then
    if [ -f "$st/runs/$core_run/later" ]; then
      # shellcheck disable=SC1090 # lines of core_later
      (. "$st/runs/$core_run/later") </dev/null
      rm -f "$st/runs/$core_run/later"
    fi
    # What waits for a confirmation goes on without this shell, and nobody else begins meanwhile.
    if [ -e "$st/runs/$core_run/watch/until" ]; then
      watch_keep
    elif [ -z "${1-}" ] || [ "$core_quit" ]; then
      # The lock last: whoever has it next may be of the same run.
      core_forget
      rm -rf "$st/runs/$core_run/open" "$st/lock"
    elif { [ ! -e "$st/lock.$$" ] || rm -rf "$st/lock.$$"; } && mv "$st/lock" "$st/lock.$$"; then
      # Whoever leaves without having been told to has lost the controller, and may have lost the lock to a new shell of the same run, just now.
      if IFS= read -r _o <"$st/lock.$$/owner" && [ "$_o" = "$core_owner" ]; then
        [ -e "$st/lock" ] || { rm -rf "$st/runs/$core_run/open"; core_forget; }
        rm -rf "$st/lock.$$"
      elif [ ! -e "$st/lock" ]; then
        mv "$st/lock.$$" "$st/lock"
      fi
    fi 2>/dev/null
  fi
  core_owner=''
}

# core_mess is a list of quoted words: temporaries of what this shell was about when it ended, for lack of a process perhaps.
core_leave() {
  [ -z "$core_mess" ] || eval "rm -f -- $core_mess" 2>/dev/null
  core_release leaving
  printf '%s bye\n' "$m" 2>/dev/null
}

# Whether `head` takes as many bytes as it is told, and no more. If not, what follows a `B` is read line by line.
core_bulk() {
  [ "$core_takes" ] || core_takes=$(printf 'ab\nc\n' | { head -c 3 >/dev/null 2>&1; IFS= read -r l; printf %s "$l"; })x
  [ "$core_takes" = cx ]
}

core_supervise() {
  while IFS= read -r l; do
    case $l in
      K*)
        # `K TERM 4711`: a signal for a task's process group. A group that is no plain number could mean any process.
        _g=${l##* } _s=${l#K }
        case $_g in
          '' | 0* | 1 | *[!0-9]*) ;;
          # posh takes `-TERM -4711` and does nothing.
          *) kill -s "${_s%% *}" -- "-$_g" 2>/dev/null ;;
        esac
        ;;
      H)
        # A worker that was killed reads nothing more, and this line says so at once.
        echo
        # A sign of life renews the lease, if the lock is this shell's.
        if IFS= read -r _o <"$st/lock/owner"; then
          core_know
          case $_o in
            "$$ $core_birth $core_boot "*) core_clock && printf '%s\n' "$_up" >"$st/lock/beat" ;;
          esac
        fi 2>/dev/null
        ;;
      Z) kill -URG 0 2>/dev/null ;;
      Q)
        echo core_quit=1
        exit
        ;;
      'B '*)
        if core_bulk; then
          printf '%s\n' "$l"
          # The rest of a line must not be taken for a line.
          head -c "${l#B }" || break
        fi
        ;;
      *) printf '%s\n' "$l" ;;
    esac
  done
  kill -URG 0 2>/dev/null
}

core_work() {
  # A task's own stdout may be captured; what is said through this one reaches the controller.
  exec 4>&1
  trap 'gone=1' URG PIPE
  trap core_leave 0
  _home=${HOME-}
  # Most are as they are when they are escaped.
  case $_home in *["\\$n"]*) _home=$(core_esc "$_home") ;; esac
  printf '%s hello %s %s\n' "$m" "$uid" "$_home" || exit
  core_pending
  printf '%s handlers %s\n%s\n' "$m" "${#a}" "$a"
  core_first
  IFS= read -r m || exit
  # A profile that reads what is meant for this shell must not make a token of something else.
  case ${#m}$m in
    32*[!0-9a-f]*) m=$q; printf '%s refuse stdin\n' "$q"; exit ;;
    32*) ;;
    *) m=$q; printf '%s refuse stdin\n' "$q"; exit ;;
  esac
  while IFS= read -r l; do
    eval "$l"
  done
}

core_selftest || {
  printf '%s refuse\n' "$q"
  exit 1
}
for _lib in $core_libraries; do
  eval "eval \"\$core_lib_$_lib\""
done
core_identify
command -v setsid >/dev/null 2>&1 && core_setsid=setsid || core_setsid=
# A short text that stands in the script itself goes through a pipe, without a process; in some shells through a file.
core_pipes=''
[ ! -p /dev/fd/0 ] <<X || core_pipes=1
:
X
f='' gone='' core_count='' core_mess='' core_boot='' core_takes='' core_before='' core_quit='' core_owner='' core_run='' core_grace=600 m=$q
core_supervise | core_work
