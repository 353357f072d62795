# shellcheck shell=sh
# shellcheck disable=SC2154 # variables of file_change, $n, $core_run and $core_store of core
# copy_change: brings the entries of a tree into place. Needs file_look and file_change.
#
# What is new is made in a folder of our own inside the tree (the stage), verified there all together, and then moved, a new
# folder right below the root with all that is in it: a few processes for a hundred files. Files that are replaced go through file_put one by
# one, because each has an owner, a mode and attributes to be carried over. The functions of one change run in one subshell, one after the
# other; the first that fails ends it.
#
# In the stage, what is to be moved is FOLDER/NAME, with FOLDER the number of the folder that it goes to.

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
  file__run tar -xomf "$1" && rm -f -- "$1" && return 0
  rm -f -- "$1"
  file__why "$_path/."
  file__stop 1 "$_why"
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
    case $_sha in
      "$_w_sha"*) ;;
      *) file__stop 1 "what was written below $(core_esc "$_path") for $(core_esc "${_w_file#./*/}") is not what was sent" ;;
    esac
  done
}

# copy_move FOLDER NUMBER NAME…: move these, of which there was none, from the stage to FOLDER. Processes: mv and sync.
copy_move() {
  _w_to=$1 _w_from=$2 _w_names=''
  shift 2
  cd -- "$_stage/$_w_from" || file__stop 1 "the stage in $(core_esc "$_path") was taken away"
  for _w_word in "$@"; do
    if [ -e "$_w_to/$_w_word" ] || [ -L "$_w_to/$_w_word" ]; then
      file__stop 4 "$(core_esc "$_w_to/$_w_word") was made by somebody else just now"
    fi
    _w_names=$_w_names./$_w_word$n
  done
  IFS=$n
  # shellcheck disable=SC2086 # one word from each line
  set -- $_w_names
  IFS=" $t$n"
  file__run mv -f -- "$@" "$_w_to/" || { file__why "$_w_to/."; file__stop 1 "$_why"; }
  file__sync "$_w_to" || { file__why "$_w_to/."; file__stop 6 "$_why"; }
  cd -- "$_stage" || file__stop 6 "the stage in $(core_esc "$_path") was taken away"
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
  _list=$core_store/$_id _count=0 _records=''
  _err=$({ printf '' >"$_list"; } 2>&1) || { file__why "$_list"; file__stop 1 "$_why"; }
  _keeping=$_id
}

# copy_keep FOLDER NAME…: the record of each. What is not there costs no process.
copy_keep() {
  _k_folder=$1
  shift
  for _one in "$@"; do copy__keep "$_k_folder/$_one"; done
  copy__note
}

# copy_keep_root PATH: of the folder itself, and of those above it that are missing.
copy_keep_root() {
  if [ -d "$1" ]; then copy__keep "$1"; else copy__record "$1" "$(file_keep_way "$1")"; fi
  copy__note
}

copy__keep() {
  _record=absent
  if [ -e "$1" ] || [ -L "$1" ]; then _record=$(file_keep "$1") || exit; fi
  copy__record "$1" "$_record"
}

copy__record() {
  _records=$_records$1$n$2$n _count=$((_count + 1))
  case $_count in *00) copy__note ;; esac
}

copy__note() {
  _err=$({ printf %s "$_records" >>"$_list"; } 2>&1) || { file__why "$_list"; file__stop 1 "$_why"; }
  _records=''
}

# copy_keep_end: prints the record, `each COUNT LIST`.
copy_keep_end() {
  file__sync "$_list" "$core_store" || { file__why "$_list"; file__stop 1 "$_why"; }
  printf '%s\n' "each $_count $_keeping"
}

# copy_back RECORD (apply): bring back what each path was, the last one first. New files of one folder go together.
copy_back() {
  # shellcheck disable=SC2086 # fields
  set -- $1
  _tmp='' _old=''
  [ -f "$core_store/$3" ] || file__stop 1 "the list of what was copied is no longer in $(core_esc "$core_store")"
  _lines=$(cat <"$core_store/$3")
  # A long text is copied with every piece that it gets, so it gets large pieces.
  _back='' _part='' _count=0 _one=''
  IFS=$n
  for _line in $_lines; do
    if [ -z "$_one" ]; then _one=$_line; continue; fi
    _part=$_one$n$_line$n$_part _one='' _count=$((_count + 1))
    case $_count in *00) _back=$_part$_back _part='' ;; esac
  done
  _names='' _from=''
  for _line in $_part$_back; do
    if [ -z "$_one" ]; then _one=$_line; continue; fi
    IFS=" $t$n"
    copy__back "$_one" "$_line"
    _one=''
  done
  IFS=" $t$n"
  copy__gone
}

# copy__back PATH RECORD
copy__back() {
  if [ "$2" = absent ]; then
    if [ ! -e "$1" ] && [ ! -L "$1" ]; then return; fi
    if [ -L "$1" ] || [ ! -d "$1" ]; then
      case $_count in *00) copy__gone ;; esac
      [ "${1%/*}" = "$_from" ] || copy__gone
      _from=${1%/*} _names=$_names$1$n _count=$((_count + 1))
      return
    fi
  fi
  copy__gone
  file_back "$1" "$2" || exit
}

# copy__gone: what is in _names, all from the folder _from, goes.
copy__gone() {
  [ -n "$_names" ] || return 0
  IFS=$n
  # shellcheck disable=SC2086 # one word from each line
  set -- $_names
  IFS=" $t$n"
  file__run rm -f -- "$@" || { file__why "$1"; file__stop 1 "$_why"; }
  file__sync "$_from/" || { file__why "$_from/"; file__stop 6 "$_why"; }
  _names=''
}
