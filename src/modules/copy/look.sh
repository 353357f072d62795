# shellcheck shell=sh
# shellcheck disable=SC2154 # variables of file_look, $n of core
# copy_look: what of a wanted tree is not there, or is something else?
#
# A probe is `copy_tree …`, then `copy_look …` for some hundred entries at a time, then `printf 'end COUNT\n'`. Needs
# file_look. What is as wanted says nothing, so the answer of a tree in place is the last line alone.

# copy_tree ROOT FILE_MODE FOLDER_MODE OWNER GROUP: what is asked of all entries; `-` for what is not.
copy_tree() {
  _y_root=$1 _y_file=$2 _y_folder=$3 _y_owner=$4 _y_group=$5 _y_gone=$n
}

# copy_look NUMBER {KIND PATH WANT}…: entries from NUMBER on; PATH is relative to ROOT and empty for ROOT itself.
#   d PATH -        a folder
#   f PATH SHA      a file whose SHA-256 begins like this, or `-`: any content
#   l PATH TARGET   a link
# Answer: for each entry that differs `NUMBER ` and a line as that of file_look; a file's SHA is `-` when any will do. What
# is below a folder that is absent is not told.
# Processes: for all entries together a sha256sum, and a stat where something differs or owners or modes are asked for; one more for each link.
copy_look() {
  # All that is below ROOT has been answered with ROOT.
  [ "$_y_gone" != "$_y_root" ] || return 0
  _y_no=$1
  shift
  _y_before=$_y_gone
  copy__sort "$@"
  _y_sums='' _y_stats=''
  [ -z "$_y_files" ] || _y_sums=$(copy__each "$_y_files" sha256sum)
  if [ -z "$_y_odd" ] && copy__content && copy__properties; then return 0; fi
  [ -n "$_y_stats" ] || [ -z "$_y_there" ] || _y_stats=$(copy__each "$_y_there" stat -c "$_y_format")
  _y_gone=$_y_before _y_turn=kind
  for _y_word in "$@"; do
    case $_y_turn in
      kind) _y_kind=$_y_word _y_turn=path ;;
      path) _y_path=$_y_root${_y_word:+/$_y_word} _y_turn=want ;;
      *)
        _y_turn=kind
        case $_y_path in "$_y_gone"/*) ;; *) copy__one "$_y_kind" "$_y_path" "$_y_word" ;; esac
        _y_no=$((_y_no + 1)) ;;
    esac
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

# copy__sort {KIND PATH WANT}… → one on each line: _y_there (what is there), _y_files (whose content is asked for) and _y_wants (their hashes).
# _y_odd: something is surely not as wanted. _y_gone: the last folder that is absent.
copy__sort() {
  _y_there='' _y_files='' _y_wants='' _y_odd='' _y_turn=kind
  for _y_word in "$@"; do
    case $_y_turn in
      kind) _y_kind=$_y_word _y_turn=path; continue ;;
      path) _y_path=$_y_root${_y_word:+/$_y_word} _y_turn=want; continue ;;
    esac
    _y_turn=kind
    case $_y_path in "$_y_gone"/*) _y_odd=1; continue ;; esac
    if [ -L "$_y_path" ]; then
      case $_y_kind in l) file__target "$_y_path" ;; *) _target='' ;; esac
      [ "$_y_kind$_target" = "l$_y_word" ] || _y_odd=1
    elif [ -d "$_y_path" ]; then
      [ "$_y_kind" = d ] || _y_odd=1
    elif [ ! -f "$_y_path" ] || [ "$_y_kind" != f ]; then
      _y_odd=1
      if [ ! -e "$_y_path" ]; then
        [ "$_y_kind" != d ] || _y_gone=$_y_path
        continue
      fi
    elif [ "$_y_word" != - ]; then
      if [ -r "$_y_path" ]; then _y_files=$_y_files$_y_path$n _y_wants=$_y_wants$_y_word$n; else _y_odd=1; fi
    fi
    _y_there=$_y_there$_y_path$n
  done
}

# copy__each LIST TOOL…: what the tool says of the paths of a list, in their order; nothing when this host lacks it. For `$( )`.
copy__each() {
  _e_list=$1
  shift
  IFS=$n
  # shellcheck disable=SC2086 # one word from each line
  exec "$@" -- $_e_list 2>/dev/null
}

# copy__content: has every file the content that is wanted?
copy__content() {
  _y_want=''
  IFS=$n
  # shellcheck disable=SC2086 # one word from each line
  set -- $_y_sums
  for _y_want in $_y_wants; do
    # GNU marks a name with a backslash in it
    case ${1-} in "$_y_want"* | \\"$_y_want"*) shift ;; *) break ;; esac
    _y_want=''
  done
  IFS=" $t$n"
  [ -z "$_y_want" ]
}

# What is asked of all paths at once. An account's name has no colon.
_y_format='%f %u %g %U:%G:%h %s %n'

# copy__properties: has everything the owner, group and mode that are wanted? Leaves _y_stats, when it had to look.
copy__properties() {
  [ "$_y_file$_y_folder$_y_owner$_y_group" != ---- ] || return 0
  _y_stats=$(copy__each "$_y_there" stat -c "$_y_format") || { _y_stats=''; return 1; }
  _y_good=''
  IFS=$n
  for _y_line in $_y_stats; do
    IFS=" $t$n"
    # Most are alike.
    _y_like=${_y_line#*:} _y_like=${_y_line%%:*}:${_y_like%%:*}
    case $_y_good in *"$n$_y_like$n"*) continue ;; esac
    copy__line "$_y_line"
    case $_kind in link) continue ;; dir) _y_mode=$_y_folder ;; *) _y_mode=$_y_file ;; esac
    copy__is "$_y_mode" || return 1
    _y_good=$_y_good$n$_y_like$n
  done
  IFS=" $t$n"
}

# copy__is MODE: are these the mode, or `-`, and the owner and the group that are wanted?
copy__is() {
  case $1 in - | "$_mode") ;; *) return 1 ;; esac
  case $_y_owner in - | "$_uid" | "$_owner") ;; *) return 1 ;; esac
  case $_y_group in - | "$_gid" | "$_group") ;; *) return 1 ;; esac
}

copy__can_sum() {
  [ -f "$1" ] && [ ! -L "$1" ] && [ -r "$1" ]
}

# copy__one KIND PATH WANT
copy__one() {
  if [ ! -e "$2" ] && [ ! -L "$2" ]; then
    printf '%s absent\n' "$_y_no"
    [ "$1" != d ] || _y_gone=$2
    [ "$2" != "$_y_root" ] || copy__missing
    return
  fi
  copy__stat "$2"
  _y_line="$_kind $_mode $_uid $_gid" _y_wrong=''
  file__word "$_owner"; _y_line="$_y_line $_word"
  file__word "$_group"; _y_line="$_y_line $_word"
  case $1$_kind in
    ddir) copy__is "$_y_folder" || _y_wrong=1 ;;
    ffile)
      copy__is "$_y_file" || _y_wrong=1
      _sha=-
      if [ "$3" != - ]; then copy__sum "$2" || exit; fi
      case $_sha in "$3"*) ;; *) _y_wrong=1 ;; esac
      _y_line="$_y_line $_links $_size $_sha" ;;
    llink)
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
  _y_next=${_y_stats%%"$n"*}
  case $_y_next in
    *" $1") ;;
    *) file__stat "$1"; return ;;
  esac
  _y_stats=${_y_stats#"$_y_next"} _y_stats=${_y_stats#"$n"}
  copy__line "$_y_next"
}

# copy__line LINE: of the format above, into the variables of file__stat.
copy__line() {
  _owner=${1%%:*} _y_more=${1#*:}
  _group=${_y_more%%:*} _y_more=${_y_more#*:}
  # shellcheck disable=SC2086 # numbers
  set -- $_owner
  _raw=$1 _uid=${2-} _gid=${3-}
  _owner=${_owner#* * * }
  _links=${_y_more%% *} _y_more=${_y_more#* }
  _size=${_y_more%% *}
  _y_raw=$((0x$_raw))
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
  _y_next=${_y_sums%%"$n"*}
  case $_y_next in
    *" $1" | *" *$1")
      _y_sums=${_y_sums#"$_y_next"} _y_sums=${_y_sums#"$n"}
      _sha=${_y_next%% *} _sha=${_sha#\\}
      return 0 ;;
  esac
  file__sha "$1"
  case $? in
    0) ;;
    2) core_die "$file__no_sha"; return 3 ;;
    *) core_die "$(core_esc "$1") cannot be read by this user; become may help"; return 3 ;;
  esac
}
