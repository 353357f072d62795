# shellcheck shell=sh
# shellcheck disable=SC2154 # variables of file_change, $n, $core_run and $core_store of core
# copy_change, first part: brings the entries of a tree into place; keep.sh is the second. Needs file_look and file_change.
#
# What is new is made in a folder of our own inside the tree (the stage), verified there all together, and then moved, a new
# folder right below the root with all that is in it: a few processes for a hundred files. So are files that are replaced and keep their
# owners, modes and attributes; where these change, or where anything is odd, file_put replaces one by one. The functions of one change run
# in one subshell, one after the other; the first that fails ends it.
#
# In the stage, what is to be moved is FOLDER/NAME, with FOLDER the number of the folder that it goes to.

# copy_stage ROOT FOLDER…: make the stage in ROOT, with these folders in it. All that follows works in it.
copy_stage() {
  _old='' _cell='' _upload=''
  _path=$1
  shift
  _apart=''
  if file__strange "$_path"; then
    _apart=1
    file__physical "$_path"
  fi
  if command -v mktemp >/dev/null 2>&1; then
    _tmp=$(mktemp -d -- "${_path%/}/.mutate.$core_run.XXXXXX" 2>&1) || { _err=$_tmp _tmp=''; file__why "$_path/."; file__stop 1 "$_why"; }
  else
    file__name "$_path"
    file__run mkdir -m 0700 -- "$_tmp" || { _tmp=''; file__why "$_path/."; file__stop 1 "$_why"; }
  fi
  _stage=$_tmp
  CDPATH='' cd -P -- "$_stage" || file__stop 1 "the stage in $(core_esc "$_path") was taken away"
  if [ -n "$_apart" ]; then
    # shellcheck disable=SC3067 # as in file__strange
    if [ "$(pwd -P; printf x)" != "${_physical%/}/${_stage##*/}${n}x" ] || [ ! -O . ]; then
      file__stop 4 "the stage in $(core_esc "$_path") was replaced by somebody else just now"
    fi
  elif copy__mounted; then
    _apart=1
  fi
  file__run mkdir -- "$@" || { file__why "$_path/."; file__stop 1 "$_why"; }
}

# copy__mounted: is something mounted below ROOT, or can nobody tell?
copy__mounted() {
  [ -r /proc/self/mountinfo ] || return 0
  file__mount_name "$_path"
  while read -r _ _ _ _ _m_at _; do
    case $_m_at in "${_r%/}"/?*) return 0 ;; esac
  done </proc/self/mountinfo
  return 1
}

# copy__is_near FOLDER: can what lies in the stage be renamed into this folder, and does the folder belong to nobody else?
copy__is_near() {
  [ "$1" = "$_path" ] || { [ -z "$_apart" ] && ! file__strange "$1"; }
}

# copy__is_alike FOLDER: would something new in it have the group, the ACL and the label that it has in the stage? Processes: ls.
copy__is_alike() {
  [ "$1" != "$_path" ] || return 0
  if [ -e /sys/fs/selinux/enforce ] || [ -g "$1" ] || [ -g "$_path" ]; then return 1; fi
  case $n$(ls -ld -- "$1" "$_path" 2>/dev/null) in *"$n"??????????+*) return 1 ;; esac
}

# copy_text FILE FORMAT: a file in the stage, from an argument of `printf %b`.
copy_text() {
  _err=$({ printf %b "$2" >"./$1"; } 2>&1) || { file__why "$_path/."; file__stop 1 "$_why"; }
}

# copy_folders PATH…: folders in the stage, each after the one that it is in.
copy_folders() {
  file__run mkdir -- "$@" || { file__why "$_path/."; file__stop 1 "$_why"; }
}

# copy_link LINK TARGET: a link in the stage.
copy_link() {
  file__run ln -s -- "$2" "./$1" || { file__why "$_path/."; file__stop 1 "$_why"; }
}

# copy_unpack UPLOAD: the files in the stage, from a tar archive, which is removed.
copy_unpack() {
  if ! command -v tar >/dev/null 2>&1; then
    rm -f -- "$1"
    file__stop 1 'this host has no tar, which is needed to copy a folder with more than 32 KiB in it'
  fi
  file__run tar -xomf "$1" && rm -f -- "$1" && { copy__flush; return 0; }
  rm -f -- "$1"
  file__why "$_path/."
  file__stop 1 "$_why"
}

# copy__flush: writes to the disk together what is synced file by file afterwards, which takes half the time. Not where so much else
# waits to be written that this would take long.
copy__flush() {
  while read -r _m_key _m_kib _; do
    case $_m_key in
      Dirty:)
        [ "$_m_kib" -gt 262144 ] || sync -f . >/dev/null 2>&1
        return 0 ;;
    esac
  done 2>/dev/null </proc/meminfo
  return 0
}

# copy_made MODE OWNER GROUP {SHA PATH}…: what is written in the stage has these hashes (as far as they are given; `-` for folders), gets
# these properties, and is on the disk.
# Processes: for all together sha256sum, chmod and sync, and chown where an owner is asked for.
copy_made() {
  _w_mode=$1 _w_who=$2:$3
  shift 3
  case $_w_who in -:-) _w_who='' ;; -:*) _w_who=${_w_who#-} ;; *:-) _w_who=${_w_who%:-} ;; esac
  copy__listed "$@"
  IFS=$n
  # shellcheck disable=SC2086 # one word from each line
  set -- $_w_names
  IFS=" $t$n"
  [ -z "$_w_shas" ] || copy__verify "$@"
  if [ -n "$_w_who" ]; then
    file__run chown -h -- "$_w_who" "$@" || file__stop 1 "the owner $_w_who cannot be given: $_last"
  fi
  file__run chmod -- "0$_w_mode" "$@" || { file__why "$_path/."; file__stop 1 "$_why"; }
  file__sync "$@" || { file__why "$_path/."; file__stop 1 "$_why"; }
}

# copy__listed {SHA PATH}… → one on each line: _w_names, and _w_shas, which is empty for folders
copy__listed() {
  _w_names='' _w_shas='' _w_turn=sha
  for _w_word in "$@"; do
    case $_w_turn in
      sha) [ "$_w_word" = - ] || _w_shas=$_w_shas$_w_word$n; _w_turn=name ;;
      *) _w_names=$_w_names./$_w_word$n _w_turn=sha ;;
    esac
  done
}

# copy__verify FILE…: have they the hashes in _w_shas, one line each?
copy__verify() {
  _w_sums=''
  if command -v sha256sum >/dev/null 2>&1; then
    _w_sums=$(sha256sum -- "$@" 2>/dev/null)
  else
    for _w_file in "$@"; do
      file__sha "$_w_file"
      [ "$?" != 2 ] || file__stop 1 "$file__no_sha"
      _w_sums=$_w_sums$_sha$n
    done
  fi
  if copy__agree "$_w_sums" "$_w_shas"; then return 0; fi
  shift "$_w_alike"
  file__stop 1 "what was written below $(core_esc "$_path") for $(core_esc "${1#./*/}") is not what was sent"
}

# copy__agree SUMS HASHES: do these lines of sha256sum begin with these hashes, one on each line? _w_alike: so many of the first do.
copy__agree() {
  _w_alike=0 _w_hashes=$2
  IFS=$n
  # shellcheck disable=SC2086 # one word from each line
  set -- $1
  for _w_sha in $_w_hashes; do
    # GNU marks a name with a backslash in it
    case ${1-} in "$_w_sha"* | \\"$_w_sha"*) shift; _w_alike=$((_w_alike + 1)) ;; *) IFS=" $t$n"; return 1 ;; esac
  done
  IFS=" $t$n"
}

# copy_move FOLDER NUMBER OWNER GROUP NAME…: move these, of which there was none, from the stage to FOLDER; or make them there one by one, where
# they could not be moved or would not be the same. Processes: ls, mv and sync.
copy_move() {
  _w_to=$1 _w_from=$2 _w_owner=$3 _w_group=$4
  shift 4
  for _w_word in "$@"; do
    if [ -e "$_w_to/$_w_word" ] || [ -L "$_w_to/$_w_word" ]; then
      file__stop 4 "$(core_esc "$_w_to/$_w_word") was made by somebody else just now"
    fi
  done
  if copy__is_near "$_w_to" && copy__is_alike "$_w_to"; then
    copy__into "$@"
    return
  fi
  for _w_word in "$@"; do
    if [ -L "./$_w_from/$_w_word" ]; then
      file__target "./$_w_from/$_w_word"
      file_link "$_w_to/$_w_word" "$_target" -
    else
      file__sha "./$_w_from/$_w_word" && file__stat "./$_w_from/$_w_word" &&
        file_put "$_w_to/$_w_word" nofollow "$_sha" "$_mode" "$_w_owner" "$_w_group" - '' from "$_stage/$_w_from/$_w_word"
    fi || return
  done
}

# copy__into NAME…: rename these from the folder _w_from of the stage into the folder _w_to.
copy__into() {
  cd -P -- "./$_w_from" || file__stop 1 "the stage in $(core_esc "$_path") was taken away"
  _w_names=''
  for _w_word in "$@"; do _w_names=$_w_names./${_w_word#./}$n; done
  IFS=$n
  # shellcheck disable=SC2086 # one word from each line
  set -- $_w_names
  IFS=" $t$n"
  copy__rename "$_w_to/" "$@"
  if ! cd -P .. || ! file__sync "$_w_to"; then file__why "$_w_to/."; file__stop 6 "$_why"; fi
}

# copy__rename FOLDER/ NAME…: rename these from here into a folder; a failure names the first that is still here.
copy__rename() {
  _w_folder=$1
  shift
  file__run mv -f -- "$@" "$_w_folder" && return 0
  for _w_word in "$@"; do
    [ ! -e "$_w_word" ] || break
  done
  file__why "$_w_folder${_w_word#./}"
  file__stop 1 "$_why"
}

# copy_swap FOLDER NUMBER {SHA NAME}…: files of the stage replace these, and take over their owners, modes and attributes: all together, or one
# by one where GNU cp is missing or anything is odd. Processes: for all together cp, four stats, sha256sum, mv and two syncs.
copy_swap() {
  _w_to=$1 _w_from=$2
  shift 2
  copy__listed "$@"
  if copy__swap; then return 0; fi
  _w_turn=sha
  for _w_word in "$@"; do
    case $_w_turn in
      sha) _w_sha=$_w_word _w_turn=name ;;
      *) file_put "$_w_to/$_w_word" nofollow "$_w_sha" - - - - '' from "$_stage/$_w_from/$_w_word" || return; _w_turn=sha ;;
    esac
  done
}

# copy__swap: all of _w_names. Status 1: nothing has happened, and they have to go one by one.
copy__swap() {
  if file__strange "$_path" || ! copy__is_near "$_w_to"; then return 1; fi
  IFS=$n
  # shellcheck disable=SC2086 # one word from each line
  set -- $_w_names
  IFS=" $t$n"
  # Plain files, each with one name.
  _w_was=$(copy__old '%f %u %g %s %d %i %Y %h' "$@") && _w_own=$(copy__old '%f %u %g' "$@") || return 1
  IFS=$n
  for _w_line in $_w_was; do
    case $_w_line in 8*\ 1) ;; *) IFS=" $t$n"; return 1 ;; esac
  done
  IFS=" $t$n"
  # What belongs to a file is no byte of it, so the new content stays.
  (cd -- "$_w_to" && file__attributes mode,ownership "$@" "$_stage/$_w_from/") || return 1
  [ "$(copy__staged stat -c '%f %u %g' -- "$@")" = "$_w_own" ] || return 1
  cd -P -- "./$_w_from" || file__stop 1 "the stage in $(core_esc "$_path") was taken away"
  copy__verify "$@"
  file__sync "$@" || { file__why "$_w_to/."; file__stop 1 "$_why"; }
  cd -P .. || file__stop 1 "the stage in $(core_esc "$_path") was taken away"
  [ "$(copy__old '%f %u %g %s %d %i %Y %h' "$@")" = "$_w_was" ] || file__stop 4 "a file in $(core_esc "$_w_to") was changed by somebody else just now"
  copy__into "$@"
}

# copy__staged COMMAND…: in the folder _w_from of the stage.
copy__staged() {
  (cd -P -- "./$_w_from" && exec "$@") 2>/dev/null
}

# copy__old FORMAT FILE…: what stat says of them in the folder _w_to.
copy__old() {
  _w_format=$1
  shift
  (cd -- "$_w_to" && exec stat -c "$_w_format" -- "$@") 2>/dev/null
}

# COMMAND || copy_fail: remove the stage, and end with the status of COMMAND, which has said why.
copy_fail() {
  _w_status=$?
  cd /
  file__drop
  exit "$_w_status"
}

# copy_end: remove the stage.
copy_end() {
  cd /
  file__drop
}
