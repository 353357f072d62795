# shellcheck shell=sh
# shellcheck disable=SC2154 # variables of file_change, $n, $core_run and $core_store of core
# copy_change: brings the entries of a tree into place. Needs file_look and file_change.
#
# New files are made in a folder of our own inside the tree (the stage), verified there all together, and then moved:
# a few processes for a hundred files. Files that are replaced go through file_put one by one, because each has an owner, a
# mode and attributes to be carried over. The functions of one change run in one subshell, one after the other; the first
# that fails ends it.
#
# In the stage, a file is FOLDER/NAME, with FOLDER the number of the folder that it is for.

# copy_stage ROOT FOLDER…: make the stage in ROOT, with these folders in it.
copy_stage() {
  _old='' _cell='' _upload=''
  _path=$1
  shift
  if command -v mktemp >/dev/null 2>&1; then
    _tmp=$(mktemp -d -- "${_path%/}/.mutate.$core_run.XXXXXX" 2>&1) || { _err=$_tmp _tmp=''; file__why "$_path/."; file__stop 1 "$_why"; }
  else
    file__name "$_path"
    file__run mkdir -m 0700 -- "$_tmp" || { _tmp=''; file__why "$_path/."; file__stop 1 "$_why"; }
  fi
  _stage=$_tmp
  cd -- "$_stage" || file__stop 1 "the stage in $(core_esc "$_path") was taken away"
  file__run mkdir -- "$@" || { file__why "$_path/."; file__stop 1 "$_why"; }
}

# copy_text FILE FORMAT: a file in the stage, from an argument of `printf %b`.
copy_text() {
  _err=$({ printf %b "$2" >"./$1"; } 2>&1) || { file__why "$_path/."; file__stop 1 "$_why"; }
}

# copy_unpack UPLOAD: the files in the stage, from a tar archive, which is removed.
copy_unpack() {
  if ! command -v tar >/dev/null 2>&1; then
    rm -f -- "$1"
    file__stop 1 'this host has no tar, which is needed to copy a folder with more than 32 KiB in it'
  fi
  file__run tar -xomf "$1" && rm -f -- "$1" && return 0
  rm -f -- "$1"
  file__why "$_path/."
  file__stop 1 "$_why"
}

# copy_new FOLDER NUMBER MODE OWNER GROUP {SHA NAME}…: move these files, of which there was none, from the stage to FOLDER.
copy_new() {
  _w_to=$1 _w_from=$2 _w_mode=$3 _w_who=$4:$5
  shift 5
  case $_w_who in -:-) _w_who='' ;; -:*) _w_who=${_w_who#-} ;; *:-) _w_who=${_w_who%:-} ;; esac
  cd -- "$_stage/$_w_from" || file__stop 1 "the stage in $(core_esc "$_path") was taken away"
  _w_no=$(($# / 2)) _w_shas=''
  while [ "$_w_no" -gt 0 ]; do
    if [ -e "$_w_to/$2" ] || [ -L "$_w_to/$2" ]; then
      file__stop 4 "$(core_esc "$_w_to/$2") was made by somebody else just now"
    fi
    _w_shas=$_w_shas$1$n
    set -- "$@" "./$2"
    shift 2
    _w_no=$((_w_no - 1))
  done
  copy__verify "$@"
  if [ -n "$_w_who" ]; then
    file__run chown -h -- "$_w_who" "$@" || file__stop 1 "the owner $_w_who cannot be given: $_last"
  fi
  file__run chmod -- "0$_w_mode" "$@" || { file__why "$_w_to/."; file__stop 1 "$_why"; }
  file__sync "$@" || { file__why "$_w_to/."; file__stop 1 "$_why"; }
  file__run mv -f -- "$@" "$_w_to/" || { file__why "$_w_to/."; file__stop 1 "$_why"; }
  file__sync "$_w_to" || { file__why "$_w_to/."; file__stop 6 "$_why"; }
}

# copy__verify FILE…: have they the hashes in _w_shas, one line each?
copy__verify() {
  _w_sums=''
  if command -v sha256sum >/dev/null 2>&1; then _w_sums=$(sha256sum -- "$@" 2>/dev/null)$n; fi
  for _w_file in "$@"; do
    _w_sha=${_w_shas%%"$n"*} _w_shas=${_w_shas#*"$n"}
    if [ -n "$_w_sums" ]; then
      _sha=${_w_sums%%"$n"*} _w_sums=${_w_sums#*"$n"}
      _sha=${_sha%% *} _sha=${_sha#\\}
    else
      file__sha "$_w_file"
      [ "$?" != 2 ] || file__stop 1 "$file__no_sha"
    fi
    [ "$_sha" = "$_w_sha" ] || file__stop 1 "what was written for $(core_esc "$_w_to/${_w_file#./}") is not what was sent"
  done
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

# copy_keep_begin: the record of a whole tree begins. It is a list in the store: lines of a path and its record by turns.
copy_keep_begin() {
  _tmp='' _old=''
  file__id list
  _list=$core_store/$_id _count=0
  _err=$({ printf '' >"$_list"; } 2>&1) || { file__why "$_list"; file__stop 1 "$_why"; }
  _keeping=$_id
}

# copy_keep PATH…: the record of each. Nothing that is not there costs a process.
copy_keep() {
  for _one in "$@"; do
    _record=absent
    if [ -e "$_one" ] || [ -L "$_one" ]; then _record=$(file_keep "$_one") || exit; fi
    copy__note "$_one" "$_record"
  done
}

# copy_keep_root PATH: of the folder itself, and of those above it that are missing.
copy_keep_root() {
  if [ -d "$1" ]; then copy_keep "$1"; else copy__note "$1" "$(file_keep_way "$1")"; fi
}

copy__note() {
  _err=$({ printf '%s\n%s\n' "$1" "$2" >>"$_list"; } 2>&1) || { file__why "$_list"; file__stop 1 "$_why"; }
  _count=$((_count + 1))
}

# copy_keep_end: prints the record, `each COUNT LIST`.
copy_keep_end() {
  file__sync "$_list" "$core_store" || { file__why "$_list"; file__stop 1 "$_why"; }
  printf '%s\n' "each $_count $_keeping"
}

# copy_back RECORD (apply): bring back what each path was, the last one first.
copy_back() {
  # shellcheck disable=SC2086 # fields
  set -- $1
  _tmp='' _old=''
  [ -f "$core_store/$3" ] || file__stop 1 "the list of what was copied is no longer in $(core_esc "$core_store")"
  _back=''
  while IFS= read -r _one && IFS= read -r _record; do
    _back=$_one$n$_record$n$_back
  done <"$core_store/$3"
  while [ -n "$_back" ]; do
    _one=${_back%%"$n"*} _back=${_back#*"$n"}
    _record=${_back%%"$n"*} _back=${_back#*"$n"}
    file_back "$_one" "$_record" || exit
  done
}
