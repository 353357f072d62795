# shellcheck shell=sh
# shellcheck disable=SC2154 # variables of file_look, $n of core
# copy_look: what of a wanted tree is not there, or is something else?
#
# A probe is `copy_tree …`, then `copy_look …` for up to a hundred entries at a time, then `printf 'end COUNT\n'`. Needs
# file_look. What is as wanted says nothing, so the answer of a tree in place is the last line alone.

# copy_tree ROOT FILE_MODE FOLDER_MODE OWNER GROUP: what is asked of all entries; `-` for what is not.
copy_tree() {
  _y_root=$1 _y_file=$2 _y_folder=$3 _y_owner=$4 _y_group=$5
}

# copy_look NUMBER {KIND PATH WANT}…: entries from NUMBER on; PATH is relative to ROOT and empty for ROOT itself.
#   d PATH -        a folder
#   f PATH SHA      a file whose SHA-256 begins like this, or `-`: any content
#   l PATH TARGET   a link
# Answer: for each entry that differs `NUMBER ` and a line as that of file_look; a file's SHA is `-` when any will do.
# Processes: for all entries together a stat and a sha256sum; one more for each link.
copy_look() {
  _y_no=$1
  shift
  _y_stats=$(copy__each stat "$@")
  _y_sums=$(copy__each sum "$@")
  while [ "$#" -gt 0 ]; do
    copy__one "$1" "$_y_root${2:+/$2}" "$3"
    _y_no=$((_y_no + 1))
    shift 3
  done
}

# copy_more SHA {name|path PATTERN}…: what is in ROOT beside what is wanted, as `more PATH`, and `kept PATH` for what a pattern names. SHA is
# that of the wanted names, one on each line, in their order; where it is that, nothing more is there.
# Processes: find, sort and sha256sum.
copy_more() {
  if [ ! -d "$_y_root" ] || [ -L "$_y_root" ]; then return 0; fi
  _y_want=$1
  shift
  _y_no=$(($# / 2))
  while [ "$_y_no" -gt 0 ]; do
    set -- "$@" ! -name . "-$1" "$2" -prune -exec printf 'kept %s\n' {} + -o
    shift 2
    _y_no=$((_y_no - 1))
  done
  # Names begin with `./`, and so sort before what is kept and before the last line.
  _y_all=$(cd -- "$_y_root" && { find . "$@" ! -name . -print && echo ok; } | sort) || _y_all=''
  case $n$_y_all in
    *"$n"ok) ;;
    *) core_die "$(core_esc "$_y_root") cannot be read as a whole by this user; become may help"; return 3 ;;
  esac
  _y_sum=$(printf '%s\n' "$_y_all" | sed -n '/^[.][/]/p' | sha256sum 2>/dev/null)
  [ "${_y_sum%% *}" != "$_y_want" ] || return 0
  IFS=$n
  for _y_one in ${_y_all%ok}; do
    case $_y_one in
      ./*) printf 'more %s\n' "$_y_one" ;;
      kept\ ./*) printf '%s\n' "$_y_one" ;;
      *)
        # Part of a name: what follows a line break could name anything.
        IFS=" $t$n"
        core_die "a name in $(core_esc "$_y_root") has a line break, so nothing can be removed there"
        return 3 ;;
    esac
  done
  IFS=" $t$n"
}

# copy__each stat|sum {KIND PATH WANT}…: one line for each that is there, or nothing when this host lacks the tool.
copy__each() {
  _e_tool=$1 _e_no=$((($# - 1) / 3))
  shift
  while [ "$_e_no" -gt 0 ]; do
    _e_path=$_y_root${2:+/$2}
    _e_no=$((_e_no - 1))
    case $_e_tool:$1$3 in
      stat:*) if [ -e "$_e_path" ] || [ -L "$_e_path" ]; then set -- "$@" "$_e_path"; fi ;;
      sum:f-) ;;
      sum:f*) if copy__can_sum "$_e_path"; then set -- "$@" "$_e_path"; fi ;;
    esac
    shift 3
  done
  [ "$#" -gt 0 ] || return 0
  case $_e_tool in
    stat) exec stat -c '%f %u %g %h %s %U:%G' -- "$@" 2>/dev/null ;;
    *) exec sha256sum -- "$@" 2>/dev/null ;;
  esac
}

copy__can_sum() {
  [ -f "$1" ] && [ ! -L "$1" ] && [ -r "$1" ]
}

# copy__one KIND PATH WANT
copy__one() {
  if [ ! -e "$2" ] && [ ! -L "$2" ]; then
    printf '%s absent\n' "$_y_no"
    [ "$2" != "$_y_root" ] || copy__missing
    return
  fi
  copy__stat "$2"
  _y_line="$_kind $_mode $_uid $_gid"
  _y_wrong=''
  case $_y_owner in - | "$_uid" | "$_owner") ;; *) _y_wrong=1 ;; esac
  case $_y_group in - | "$_gid" | "$_group") ;; *) _y_wrong=1 ;; esac
  file__word "$_owner"; _y_line="$_y_line $_word"
  file__word "$_group"; _y_line="$_y_line $_word"
  case $1$_kind in
    ddir) case $_y_folder in - | "$_mode") ;; *) _y_wrong=1 ;; esac ;;
    ffile)
      case $_y_file in - | "$_mode") ;; *) _y_wrong=1 ;; esac
      _sha=-
      if [ "$3" != - ]; then copy__sum "$2" || exit; fi
      case $_sha in "$3"*) ;; *) _y_wrong=1 ;; esac
      _y_line="$_y_line $_links $_size $_sha" ;;
    llink)
      _y_wrong=''
      file__target "$2"
      [ "$_target" = "$3" ] || _y_wrong=1
      _y_line="$_y_line $(core_esc "$_target")" ;;
    *)
      _y_wrong=1
      case $_kind in
        file) _y_line="$_y_line $_links $_size -" ;;
        link) file__target "$2"; _y_line="$_y_line $(core_esc "$_target")" ;;
      esac ;;
  esac
  [ -z "$_y_wrong" ] || printf '%s %s\n' "$_y_no" "$_y_line"
}

# copy__missing: the remark on the topmost folder above ROOT that is missing, as file_look makes it.
copy__missing() {
  _m=$_y_root _m_top=''
  while _m=${_m%/*}; [ -n "$_m" ] && [ ! -e "$_m" ] && [ ! -L "$_m" ]; do
    _m_top=$_m
  done
  [ -z "$_m_top" ] || printf '%s\n' "parent missing $(core_esc "$_m_top")" >&2
}

# copy__stat PATH: as file__stat, from the next line of what was asked for all.
copy__stat() {
  if [ -z "$_y_stats" ]; then
    file__stat "$1"
    return
  fi
  _y_names=${_y_stats%%"$n"*}
  case $_y_stats in *"$n"*) _y_stats=${_y_stats#*"$n"} ;; *) _y_stats='' ;; esac
  # shellcheck disable=SC2086 # numbers
  set -- $_y_names
  _y_raw=$((0x$1)) _uid=$2 _gid=$3 _links=$4 _size=$5
  _y_names=${_y_names#* * * * * }
  _owner=${_y_names%%:*} _group=${_y_names#*:}
  file__digits "$_y_raw"
  case $((_y_raw / 4096)) in
    8) _kind="file" ;; 4) _kind="dir" ;; 10) _kind="link" ;; 1) _kind=fifo ;;
    12) _kind=socket ;; 6) _kind=block ;; *) _kind=char ;;
  esac
}

# copy__sum PATH → _sha. Status 3, after a sentence: it cannot be had.
copy__sum() {
  if ! copy__can_sum "$1"; then
    core_die "$(core_esc "$1") cannot be read by this user; become may help"
    return 3
  fi
  if [ -n "$_y_sums" ]; then
    _sha=${_y_sums%%"$n"*}
    case $_y_sums in *"$n"*) _y_sums=${_y_sums#*"$n"} ;; *) _y_sums='' ;; esac
    # GNU marks a name with a backslash in it
    _sha=${_sha%% *} _sha=${_sha#\\}
    return 0
  fi
  file__sha "$1"
  case $? in
    0) ;;
    2) core_die "$file__no_sha"; return 3 ;;
    *) core_die "$(core_esc "$1") cannot be read by this user; become may help"; return 3 ;;
  esac
}
