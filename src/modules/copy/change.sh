# shellcheck shell=sh
# shellcheck disable=SC2154 # variables of file_change, $n, $core_run and $core_store of core
# copy_change: brings the entries of a tree into place. Needs file_look and file_change.
#
# What is new is made in a folder of our own inside the tree (the stage), verified there all together, and then moved, a new
# folder right below the root with all that is in it: a few processes for a hundred files. So are files that are replaced and keep their
# owners, modes and attributes; where these change, or where anything is odd, file_put replaces one by one. The functions of one change run
# in one subshell, one after the other; the first that fails ends it.
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

# copy_swap FOLDER NUMBER {SHA NAME}…: files of the stage replace these, and take over their owners, modes and attributes: all together, or one
# by one where GNU cp is missing or anything is odd. Processes: for all together cp, five stats, sha256sum, mv and two syncs.
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
  ! file__strange "$_w_to" || return 1
  cd -- "$_stage/$_w_from" || file__stop 1 "the stage in $(core_esc "$_path") was taken away"
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
  [ "$(stat -c '%f %u %g' -- "$@" 2>/dev/null)" = "$_w_own" ] || return 1
  copy__verify "$@"
  file__sync "$@" || { file__why "$_w_to/."; file__stop 1 "$_why"; }
  [ "$(copy__old '%f %u %g %s %d %i %Y %h' "$@")" = "$_w_was" ] || file__stop 4 "a file in $(core_esc "$_w_to") was changed by somebody else just now"
  file__run mv -f -- "$@" "$_w_to/" || { file__why "$_w_to/."; file__stop 1 "$_why"; }
  file__sync "$_w_to" || { file__why "$_w_to/."; file__stop 6 "$_why"; }
  cd -- "$_stage" || file__stop 6 "the stage in $(core_esc "$_path") was taken away"
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

# copy_keep_begin: the record of a whole tree begins. It is a list in the store: lines of a path and its record by turns.
copy_keep_begin() {
  _tmp='' _old=''
  file__id list
  _list=$core_store/$_id _count=0 _records='' _k_tree=''
  _err=$({ printf '' >"$_list"; } 2>&1) || { file__why "$_list"; file__stop 1 "$_why"; }
  _keeping=$_id
}

# copy_keep FOLDER NAME…: the record of each. What is not there costs no process; files are copied together, where GNU cp is there.
copy_keep() {
  _k_folder=$1 _k_names=''
  shift
  for _one in "$@"; do
    if [ -f "$_k_folder/$_one" ] && [ ! -L "$_k_folder/$_one" ]; then _k_names=$_k_names$_one$n; fi
  done
  copy__keep_files || _k_stats='' _k_sums=''
  for _one in "$@"; do copy__keep "$_k_folder/$_one" "$_one"; done
  copy__note
}

# copy__keep_files: copies of _k_names into _k_tree, a folder of the store; what is to be said of them in _k_stats and _k_sums, one on each
# line. Status 1: they have to go one by one.
copy__keep_files() {
  _k_stats='' _k_sums=''
  IFS=$n
  # shellcheck disable=SC2086 # one word from each line
  set -- $_k_names
  IFS=" $t$n"
  [ "$#" -gt 1 ] || return 0
  _k_stats=$(cd -- "$_k_folder" && exec stat -c '%f %u %g %Y %s %n' -- "$@" 2>/dev/null) || return 1
  _k_bytes=0
  IFS=$n
  for _k_line in $_k_stats; do
    _k_line=${_k_line#* * * * }
    _k_bytes=$((_k_bytes + ${_k_line%% *}))
  done
  IFS=" $t$n"
  file__room "$_k_folder" $((_k_bytes / 1024))
  if [ -z "$_k_tree" ]; then
    file__id tree
    _old=$core_store/$_id
    file__run mkdir -m 0700 -- "$_old" || { _old=''; return 1; }
  fi
  file__preserved mode,ownership,timestamps
  if ! (cd -- "$_k_folder" && file__run cp -P --parents --preserve="$_b_what" -t "$core_store/${_k_tree:-$_id}" -- "$@"); then
    [ -n "$_k_tree" ] || file__drop
    return 1
  fi
  _k_tree=${_k_tree:-$_id}
  _k_sums=$(cd -- "$core_store/$_k_tree" && exec sha256sum -- "$@" 2>/dev/null)
}

# copy_keep_root PATH: of the folder itself, and of those above it that are missing.
copy_keep_root() {
  _k_stats=''
  if [ -d "$1" ]; then copy__keep "$1"; else copy__record "$1" "$(file_keep_way "$1")"; fi
  copy__note
}

# copy__keep PATH [NAME]
copy__keep() {
  _record=absent
  _k_line=${_k_stats%%"$n"*}
  # shellcheck disable=SC2086 # numbers, and the name
  set -- "$1" "${2-}" $_k_line
  if [ -n "$_k_line" ] && [ "$3 $4 $5 $6 $7 $2" = "$_k_line" ]; then
    _k_sum=${_k_sums%%"$n"*}
    _k_stats=${_k_stats#"$_k_line"} _k_stats=${_k_stats#"$n"} _k_sums=${_k_sums#"$_k_sum"} _k_sums=${_k_sums#"$n"}
    # GNU marks a name with a backslash in it
    case ${_k_sum%% *} in
      \\* | '') _record=$(file_keep "$1") || exit ;;
      *)
        file__digits $((0x$3))
        _record="file $_mode $4 $5 $6 $7 ${_k_sum%% *} $_k_tree $2" ;;
    esac
  elif [ -e "$1" ] || [ -L "$1" ]; then
    _record=$(file_keep "$1") || exit
  fi
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
  if [ -n "$_k_tree" ]; then
    file__run sync -f -- "$core_store/$_k_tree" || file__run sync || { file__why "$core_store/$_k_tree"; file__stop 1 "$_why"; }
  fi
  file__sync "$_list" "$core_store" || { file__why "$_list"; file__stop 1 "$_why"; }
  printf '%s\n' "each $_count $_keeping"
}

# copy_back RECORD (apply): bring back what each path was, the last one first: new files of one folder go together, and old ones come together.
copy_back() {
  # shellcheck disable=SC2086 # fields
  set -- $1
  _tmp='' _old='' _cell=''
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
  _from='' _count=0
  copy__none
  for _line in $_part$_back; do
    if [ -z "$_one" ]; then _one=$_line; continue; fi
    IFS=" $t$n"
    copy__back "$_one" "$_line"
    _one=''
  done
  IFS=" $t$n"
  copy__together
}

# copy__back PATH RECORD: at once, or with those that follow. Of these there is a line each in _names; of those that come from a tree in
# the store also in _all (the name there), _bases (the last part of it), _records (mode and owners), _shas, and two in _pairs.
copy__back() {
  case $2 in
    absent)
      if [ ! -e "$1" ] && [ ! -L "$1" ]; then return; fi
      if [ -L "$1" ] || [ ! -d "$1" ]; then
        copy__next "${1%/*} " "$1"
        return
      fi ;;
    file\ *)
      # shellcheck disable=SC2086 # fields
      set -- "$1" "$2" $2
      case ${10-} in
        tree.*)
          copy__next "${1%/*} ${10}" "$1"
          _name=${2#"file $4 $5 $6 $7 $8 $9 ${10} "}
          _w_mode=${4#0} _w_mode=${_w_mode#0} _w_mode=${_w_mode#0}
          _records="$_records$_w_mode $5 $6$n" _shas=$_shas$9$n _all=$_all./$_name$n _bases=$_bases./${_name##*/}$n _pairs=$_pairs$1$n$2$n
          return ;;
      esac ;;
  esac
  copy__together
  file_back "$1" "$2" || exit
}

# copy__next WHERE PATH: one more of those in _names, which are all of the same folder and come from the same tree, and are not too many.
copy__next() {
  _count=$((_count + 1))
  if [ "$1" != "$_from" ] || [ "$_count" -gt 100 ]; then copy__together; _count=1; fi
  _from=$1 _names=$_names$2$n
}

# copy__together: what is in _names goes, or comes back.
copy__together() {
  [ -n "$_names" ] || return 0
  _k_tree=${_from##* } _folder=${_from% *}/
  if [ -n "$_k_tree" ]; then
    copy__return || copy__return_each
  else
    IFS=$n
    # shellcheck disable=SC2086 # one word from each line
    set -- $_names
    IFS=" $t$n"
    file__run rm -f -- "$@" || { file__why "$1"; file__stop 1 "$_why"; }
    file__sync "$_folder" || { file__why "$_folder"; file__stop 6 "$_why"; }
  fi
  copy__none
}

copy__none() {
  _names='' _records='' _shas='' _all='' _bases='' _pairs=''
}

# copy__return: files of one folder come back from the store, by way of a folder beside them. Status 1: they have to come one by one.
copy__return() {
  if [ ! -d "$_folder" ] || file__strange "$_folder"; then return 1; fi
  IFS=$n
  for _name in $_names; do
    if [ -d "$_name" ] && [ ! -L "$_name" ]; then IFS=" $t$n"; return 1; fi
  done
  # shellcheck disable=SC2086 # one word from each line
  set -- $_all
  IFS=" $t$n"
  file__name "$_folder."
  file__run mkdir -m 0700 -- "$_tmp" || { _tmp=''; return 1; }
  file__preserved mode,ownership,timestamps
  if ! (cd -- "$core_store/$_k_tree" && file__run cp -P --preserve="$_b_what" -t "$_tmp" -- "$@") || ! cd -- "$_tmp" || ! copy__returned; then
    cd /
    file__drop
    return 1
  fi
  IFS=$n
  # shellcheck disable=SC2086 # one word from each line
  set -- $_bases
  IFS=" $t$n"
  file__sync "$@" || { file__why "$_folder."; file__stop 1 "$_why"; }
  file__run mv -f -- "$@" "$_folder" || { file__why "$_folder."; file__stop 1 "$_why"; }
  cd /
  file__drop
  file__sync "$_folder" || { file__why "$_folder."; file__stop 6 "$_why"; }
}

# copy__returned: are the files here as the records say?
copy__returned() {
  IFS=$n
  # shellcheck disable=SC2086 # one word from each line
  set -- $_bases
  _w_sums=$(sha256sum -- "$@" 2>/dev/null)
  _w_own=$(stat -c '%a %u %g' -- "$@" 2>/dev/null)
  # shellcheck disable=SC2086 # one word from each line
  set -- $_shas
  for _line in $_w_sums; do
    # GNU marks a name with a backslash in it
    case $_line in "${1:-none} "* | \\"${1:-none} "*) shift ;; *) break ;; esac
  done
  IFS=" $t$n"
  [ "$#" = 0 ] && [ "$_w_own$n" = "$_records" ]
}

# copy__return_each: one by one, which says what is wrong.
copy__return_each() {
  _name=''
  IFS=$n
  for _line in $_pairs; do
    if [ -z "$_name" ]; then _name=$_line; continue; fi
    IFS=" $t$n"
    file_back "$_name" "$_line" || exit
    _name=''
  done
  IFS=" $t$n"
}
