# shellcheck shell=sh
# shellcheck disable=SC2034,SC2119,SC2120,SC2154 # set -- has words of its own; variables are named after the number of a change; $n comes from core, $_find and the like from file_look
# file_change, last part: changes of several paths that share what they do. change.sh says what holds for all of them.

# ---------------------------------------------------------------------------------------------------------------
# Several changes with one process where each would take one
#
# Of new content, chmod, what reads it back and its sync are one process for all files; the folders are synced once; one
# `stat` and one `sha256sum` see whether everything is as it should be. Each change has its guards all the same: its answer
# is compared before, its backup is made, its file is swapped at once or not at all, its answer is compared afterwards.
#
# The functions that change take part in two phases. They run in the open shell then, so they never `exit`.
#   ahead  status 0: it can be shared, and everything is ready for it · 1: it cannot; then all are made one by one
#   swap   status 0: it has been made · 1: nothing has happened; then it is made by itself, which says why
# share_no is the number of the change; what `ahead` leaves for `swap` has it in its name. Lists are quoted words; core_mess
# holds the temporaries, which go even when the shell ends here.

# file_changes COUNT: the changes that core has kept.
file_changes() {
  share_count=$1 share_begun='' core_mess='' share_wants='' share_modes='' share_owners=0 share_folders='' share_new=$n share_metas='' share_sync=''
  if [ "$f" ] || ! core_ours || ! file__begin; then
    file__one_by_one
  elif file__each file__wish_one && file__gather "$1" && file__each file__same_one && file__each file__ahead_one </dev/null && file__ready; then
    file_phase=swap share_stopped=''
    file__each file__swap_one </dev/null
    file__told
    # What did not come to its place.
    eval "set -- $core_mess"
    for _one in "$@"; do
      if [ -e "$_one" ] || [ -L "$_one" ]; then rm -f -- "$_one" 2>/dev/null; fi
    done
  else
    eval "set -- $core_mess"
    [ "$#" = 0 ] || rm -f -- "$@" 2>/dev/null
    file__one_by_one
  fi
  share_new=$n file_phase='' core_mess=''
}

# file__each FUNCTION: calls it for every change, up to the first that fails, with what its frame says.
file__each() {
  share_no=1
  while [ "$share_no" -le "$share_count" ]; do
    file__load "$share_no"
    "$1" || return
    share_no=$((share_no + 1))
  done
}

file__load() {
  eval "q_seq=\$q2_$1 q_label=\$q5_$1 q_probe=\$q7_$1 q_keep=\$q8_$1 q_apply=\$q9_$1 q_pattern=\$q10_$1 q_notify=\$q11_$1 q_riders=\$q12_$1"
}

# file__list NAME KEY WORD: appends a word to the list of this key; the keys are listed in NAME.
file__list() {
  eval "_keys=\$share_$1"
  case " $_keys " in
    *" $2 "*) ;;
    *) eval "share_$1=\"\$_keys \$2\" share_$1_$2=''" ;;
  esac
  file__quote "$3"
  eval "share_$1_$2=\"\$share_$1_$2 \$_r\""
}

file__begin() {
  file__each file__begin_one
  core_note "$share_begun"
}

file__begin_one() {
  share_begun="$share_begun${share_begun:+$n}begin $q_seq $q_label"
  eval "share_made_$share_no=''"
}

# Whatever has not been made is as if it had not been begun.
file__one_by_one() {
  file_phase=''
  file__here
  [ -z "$share_begun" ] || file__each file__not_begun
  file__each file__alone
}

file__not_begun() {
  eval "_made=\$share_made_$share_no"
  [ -z "$_made" ] || return 0
  _seq=$q_seq _riders=$q_riders
  core_ended skipped
  return 0
}

file__alone() {
  core_single "$share_no"
  return 0
}

file__wish_one() {
  file__wishes "$share_no" "$q_probe"
}

# Has the question the answer that the change was made from?
file__same_one() {
  file__answer "$share_no" "$q_probe" 2>/dev/null
  eval "_a=\$a_$q_seq _s=\$s_$q_seq"
  [ "$a" = "$_a" ] && [ "$s" = "$_s" ]
}

# Its backup, and what can be done before anything is swapped.
file__ahead_one() {
  share_record=''
  file__here "$share_no"
  case $q_keep in
    '') ;;
    'file_keep_way '*)
      a='' file_phase=told
      eval "$q_keep" || return 1
      share_record=${a%"$n"} ;;
    *)
      file_phase=kept
      share_record=$(eval "$q_keep" 2>/dev/null) || return 1 ;;
  esac
  eval "share_kept_$share_no=\$share_record"
  [ -z "$share_record" ] || core_note "kept $q_seq $share_record" || return 1
  file_phase=ahead
  eval "$q_apply" 2>/dev/null
}

# What all new contents have in common: owners, modes, what they hold, and that it is on the disk.
file__ready() {
  file_phase=''
  file__here
  [ -n "$core_mess" ] || return 0
  _no=0
  while [ "$_no" -lt "$share_owners" ]; do
    _no=$((_no + 1))
    eval "_owner=\$share_owner_$_no _list=\$share_owned_$_no"
    eval "set -- $_list"
    file__run chown -h -- "$_owner" "$@" || return 1
  done
  for _key in $share_modes; do
    eval "_list=\$share_modes_$_key"
    eval "set -- $_list"
    file__run chmod -- "0$_key" "$@" || return 1
  done
  eval "set -- $core_mess"
  command -v sha256sum >/dev/null 2>&1 || return 1
  _g=$(sha256sum -- "$@" 2>/dev/null)
  IFS=$n
  # shellcheck disable=SC2086 # lines
  set -- $_g
  IFS=" $t$n"
  for _one in $share_wants; do
    # Before the hash of an odd name stands a backslash.
    _sha=${1-}
    _sha=${_sha#\\}
    [ "${_sha%% *}" = "$_one" ] || return 1
    shift
  done
  eval "set -- $core_mess"
  file__sync "$@"
}

# After one that failed, nothing more is begun; what was made along with an earlier one is made.
file__swap_one() {
  [ -z "$gone" ] || share_stopped=1
  if ! eval "$q_apply" 2>/dev/null; then
    share_stopped=1
    return 0
  fi
  eval "share_made_$share_no=1"
  [ ! -e "$st/runs/$core_run/watch/until" ] || watch_since "$q_seq"
  return 0
}

# file__told: what was made is put on the disk, looked at, and told of; the rest is made one by one.
file__told() {
  file_phase='' share_unsynced=''
  eval "set -- $share_sync"
  if [ "$#" -gt 0 ] && ! file__sync "$@"; then
    file__why "$1"
    share_unsynced=$_why
  fi
  if [ "$share_stopped" ]; then
    # What was prepared and not swapped.
    eval "set -- $core_mess"
    [ "$#" = 0 ] || rm -f -- "$@" 2>/dev/null
  fi
  file__each file__not_begun
  file__each file__wish_one
  file__gather "$share_count"
  file__each file__tell_one
}

file__tell_one() {
  eval "_made=\$share_made_$share_no k=\$share_kept_$share_no"
  if [ -z "$_made" ]; then
    core_single "$share_no"
    return 0
  fi
  _seq=$q_seq _riders=$q_riders _outcome=changed r=0
  core_start "$_seq" || :
  file__answer "$share_no" "$q_probe" 2>/dev/null
  eval "case \$s:\$a in 0:$q_pattern) ;; *) core_ask \"\$q_probe\" ;; esac"
  eval "case \$s:\$a in 0:$q_pattern) a_$_seq=\$a s_$_seq=0 ;; *) _outcome=unconverged ;; esac"
  if [ "$share_unsynced" ]; then
    _outcome=failed r=6
    core_say "it is made, but could not be synced: $share_unsynced"
  fi
  if [ "$_outcome" = changed ]; then eval "$q_notify"; else f=1; fi
  core_ended "$_outcome" "$r" || core_ended "$_outcome" "$r" || f=1
  core_done "$_seq" "$_outcome" "$r"
  # Nobody may hear it any more; the ledger gets to know of all of them.
  return 0
}

# ---------------------------------------------------------------------------------------------------------------
# The phases of the functions that change

# file__put_ahead, file__put_swap: as file_put. New content of a file that is not there, or that keeps its owner.
file__put_ahead() {
  if [ "$9" != text ] || [ -n "$8" ] || [ "$7" != - ] || [ -L "$1" ]; then return 1; fi
  file__dir "$1"
  if [ ! -d "$_dir" ] || file__strange "$_dir"; then return 1; fi
  _path=$1 _want=$3 _newmode=$4 _newowner=$5:$6 _was=''
  if [ -e "$1" ]; then
    file__stat "$1" && [ "$_kind $_links" = 'file 1' ] || return 1
    _was_mode=$_mode _was="$_raw $_uid $_gid $_size $_dev $_ino $_time"
    case $5 in "$_owner" | "$_uid" | -) ;; *) return 1 ;; esac
    case $6 in "$_group" | "$_gid" | -) ;; *) return 1 ;; esac
  fi
  shift 9
  file__temp "$_dir" || return 1
  file__quote "$_tmp"
  core_mess="$core_mess $_r" share_wants="$share_wants$_want "
  { printf %b "$1" >"$_tmp"; } 2>/dev/null || return 1
  if [ -n "$_was" ]; then
    file__attributes mode,ownership "$_path" "$_tmp" || return 1
    [ "$_newmode" != - ] || _newmode=$_was_mode
    [ "$_newmode" = "$_was_mode" ] || file__list modes "$_newmode" "$_tmp"
  else
    [ "$_newmode" != - ] || _newmode=0644
    [ "$_newowner" = -:- ] || file__owned "$_newowner" "$_tmp"
    [ "$_newmode:$_newowner" = 0600:-:- ] || file__list modes "$_newmode" "$_tmp"
  fi
  eval "share_temp_$share_no=\$_tmp share_was_$share_no=\$_was share_mode_$share_no=\$_newmode"
}

# file__owned OWNER:GROUP TEMP: the temporary is to get this owner.
file__owned() {
  _no=0
  while [ "$_no" -lt "$share_owners" ]; do
    _no=$((_no + 1))
    eval "_one=\$share_given_$_no"
    [ "$_one" != "$1" ] || break
    _one=''
  done
  if [ "$_no" = 0 ] || [ -z "$_one" ]; then
    _no=$((share_owners + 1))
    share_owners=$_no
    case $1 in
      -:*) _one=${1#-} ;;
      *:-) _one=${1%:-} ;;
      *) _one=$1 ;;
    esac
    eval "share_given_$_no=\$1 share_owner_$_no=\$_one share_owned_$_no=''"
  fi
  file__quote "$2"
  eval "share_owned_$_no=\"\$share_owned_$_no \$_r\""
}

file__put_swap() {
  [ -z "$share_stopped" ] || return 1
  eval "_tmp=\$share_temp_$share_no _was=\$share_was_$share_no _newmode=\$share_mode_$share_no"
  _path=$1
  if [ -z "$_was" ]; then
    if [ -e "$1" ] || [ -L "$1" ]; then return 1; fi
  else
    # Still what it was a moment ago, and the temporary is what it should be.
    _two=$(stat -c '%f %u %g %s %d %i %Y' -- "$1" "$_tmp" 2>/dev/null)
    [ "${_two%%"$n"*}" = "$_was" ] || return 1
    # shellcheck disable=SC2086 # numbers
    set -- ${_two#*"$n"} $_was
    file__digits $((0x$1))
    [ "$_mode $2 $3" = "$_newmode $9 ${10}" ] || return 1
  fi
  file__move "$_tmp" "$_path" || return 1
  file__dir "$_path"
  file__to_sync "$_dir"
}

file__to_sync() {
  file__quote "$1"
  case "$share_sync " in *" $_r "*) ;; *) share_sync="$share_sync $_r" ;; esac
}

# file__dir_ahead, file__dir_swap: as file_dir. A new folder whose owner is the present user.
file__dir_ahead() {
  if [ "$3:$4" != -:- ] || [ -e "$1" ] || [ -L "$1" ]; then return 1; fi
  file__dir "$1"
  [ -d "$_dir" ] || case $share_new in *"$n$_dir$n"*) ;; *) return 1 ;; esac
  share_new=$share_new$1$n
  _newmode=$2
  [ "$2" != - ] || _newmode=0755
  file__list folders "$_newmode" "$1"
}

file__dir_swap() {
  _newmode=$2
  [ "$2" != - ] || _newmode=0755
  eval "_list=\$share_folders_$_newmode"
  if [ -n "$_list" ]; then
    [ -z "$share_stopped" ] || return 1
    eval "share_folders_$_newmode=''"
    _path=$1
    eval "set -- $_list"
    # Which of them are made is looked at below.
    file__run mkdir -m "0$_newmode" -- "$@"
    set -- "$_path"
  fi
  if [ ! -d "$1" ] || [ -L "$1" ]; then return 1; fi
  file__to_sync "$1"
  file__dir "$1"
  file__to_sync "$_dir"
}

# file__link_ahead, file__link_swap: as file_link. A new link.
file__link_ahead() {
  file__dir "$1"
  [ -d "$_dir" ] && [ ! -e "$1" ] && [ ! -L "$1" ]
}

file__link_swap() {
  [ -z "$share_stopped" ] || return 1
  if [ -e "$1" ] || [ -L "$1" ]; then return 1; fi
  file__run ln -s -- "$2" "$1" || return 1
  file__dir "$1"
  file__to_sync "$_dir"
}

# file__meta_ahead, file__meta_swap: as file_meta. A mode of a file or folder.
file__meta_ahead() {
  file__dir "$1"
  if [ "$3:$4" != -:- ] || [ -L "$1" ] || file__strange "$_dir"; then return 1; fi
  [ -f "$1" ] || [ -d "$1" ] || return 1
  case $2 in [0-7][0-7][0-7][0-7]) file__list metas "$2" "$1" ;; *) return 1 ;; esac
}

file__meta_swap() {
  eval "_list=\$share_metas_$2"
  if [ -n "$_list" ]; then
    [ -z "$share_stopped" ] || return 1
    _path=$1 _newmode=$2
    eval "set -- $_list"
    file__run chmod -- "0$_newmode" "$@"
    _done=$?
    set -- "$_path" "$_newmode"
    eval "share_metas_$2='' share_done_$2=$_done"
  fi
  # Where one of them has failed, each is looked at.
  eval "_done=\$share_done_$2"
  [ "$_done" = 0 ] || { file__stat "$1" && [ "$_mode" = "$2" ]; } || return 1
  file__to_sync "$1"
}
