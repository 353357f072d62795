# shellcheck shell=sh
# shellcheck disable=SC2154 # variables of file_change and of change.sh, $n, $core_run and $core_store of core
# copy_change, second part: what the entries of a tree were before, and how they become that again.

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
  _k_folder=$1 _k_some='' _k_no=0
  shift
  for _one in "$@"; do
    _k_some=$_k_some$_one$n _k_no=$((_k_no + 1))
    case $_k_no in *00) copy__keep_some ;; esac
  done
  copy__keep_some
}

# copy_keep_new ROOT FORMAT NAME…: the record of what was not there when the host was asked, which costs nothing but a look. FORMAT is that of
# `printf` for the lines of one name.
copy_keep_new() {
  _k_folder=$1 _k_format=$2
  shift 2
  if [ -e "$_k_folder" ]; then
    for _one in "$@"; do
      if [ -e "$_k_folder/$_one" ] || [ -L "$_k_folder/$_one" ]; then copy_keep "$_k_folder" "$@"; return; fi
    done
  fi
  # shellcheck disable=SC2059 # it is one
  _err=$({ printf "$_k_format" "$@" >>"$_list"; } 2>&1) || { file__why "$_list"; file__stop 1 "$_why"; }
  _count=$((_count + $#))
}

# copy__keep_some: those in _k_some, one on each line.
copy__keep_some() {
  _k_names=''
  IFS=$n
  for _one in $_k_some; do
    if [ -f "$_k_folder/$_one" ] && [ ! -L "$_k_folder/$_one" ]; then _k_names=$_k_names$_one$n; fi
  done
  copy__keep_files || _k_stats='' _k_sums=''
  IFS=$n
  for _one in $_k_some; do
    IFS=" $t$n"
    copy__keep "$_k_folder/$_one" "$_one"
  done
  IFS=" $t$n"
  _k_some=''
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
  # Somebody may have put a link in the place of one.
  for _k_line in "$@"; do
    [ ! -L "$core_store/$_k_tree/$_k_line" ] || return 1
  done
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
      \\* | '') _record=$(file_keep "$1") || copy__not_kept ;;
      *)
        file__digits $((0x$3))
        _record="file $_mode $4 $5 $6 $7 ${_k_sum%% *} $_k_tree $2" ;;
    esac
  elif [ -e "$1" ] || [ -L "$1" ]; then
    _record=$(file_keep "$1") || copy__not_kept
  fi
  copy__record "$1" "$_record"
}

# COMMAND || copy__not_kept: nothing stays of a record that is not whole.
copy__not_kept() {
  _k_status=$?
  file__drop
  rm -f -- "$_list"
  exit "$_k_status"
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
  copy__rename "$_folder" "$@"
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
  IFS=" $t$n"
  copy__agree "$_w_sums" "$_shas" && [ "$_w_own$n" = "$_records" ]
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
