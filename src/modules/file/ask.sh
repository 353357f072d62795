# shellcheck shell=sh
# shellcheck disable=SC2034,SC2119,SC2120,SC2154 # set -- has words of its own; some variables are for file_change; $n and $t come from core
# file_look, second part: questions that are worked off together, with one `stat` and one `sha256sum`. look.sh says what they share.

# file__wishes NO PROBE: what the question looks at. Status 1: such a name cannot be looked up along with others.
file__wishes() {
  file_no=$1
  eval "file_path_$1='' file_hash_$1='' file_stat_$1='' file_sha_$1=''"
  file_phase=wish
  eval "$2" </dev/null
  set -- $?
  file_phase=''
  return "$1"
}

# file__wish PATH FOLLOW WANT_SHA: file_look in the phase `wish`.
file__wish() {
  case $1 in *"$n"* | *"$t"*) return 1 ;; esac
  if [ -L "$1" ]; then
    [ "$2" != follow ] || return 0
  elif [ ! -e "$1" ]; then
    return 0
  fi
  eval "file_path_$file_no=\$1"
  if [ "$3" != - ] && [ ! -L "$1" ] && [ -f "$1" ]; then eval "file_hash_$file_no=\$1"; fi
}

# file__gather COUNT: asks one process for all paths, and one for all hashes. What it does not learn, each question finds out
# by itself.
file__gather() {
  file__all path "$1" stat -c "$file__format" && file__share path stat "$1"
  file_no=$1
  while [ "$file_no" -gt 0 ]; do
    file__is_large "$file_no"
    file_no=$((file_no - 1))
  done
  ! command -v sha256sum >/dev/null 2>&1 || { file__all hash "$1" sha256sum && file__share hash sha "$1"; }
  return 0
}

# file__is_large NO: then it is hashed by itself.
file__is_large() {
  eval "_one=\$file_hash_$1 _line=\$file_stat_$1"
  if [ -n "$_one" ] && [ -n "$_line" ]; then
    _no=$1
    # shellcheck disable=SC2086 # numbers
    set -- $_line
    [ "$5" -le "$file__large" ] || eval "file_hash_$_no=''"
  fi
}

# file__all KIND COUNT COMMAND… → _g: what the command says of all file_KIND_NO. Status 1: there is none.
file__all() {
  _kind_of=$1 _last_no=$2 _no=0
  shift 2
  set -- "$@" --
  _words=$#
  while [ "$_no" -lt "$_last_no" ]; do
    _no=$((_no + 1))
    eval "_one=\$file_${_kind_of}_$_no"
    [ -z "$_one" ] || set -- "$@" "$_one"
  done
  [ "$#" -gt "$_words" ] || return 1
  _g=$(QUOTING_STYLE=literal; export QUOTING_STYLE; "$@" 2>/dev/null)
  return 0
}

# file__share KIND INTO COUNT: gives each path its line of _g. Where there is not one for each, in order, none is given.
file__share() {
  _kind_of=$1 _into=$2 _last_no=$3 _no=0
  IFS=$n
  # shellcheck disable=SC2086 # lines
  set -- $_g
  IFS=" $t$n"
  while [ "$_no" -lt "$_last_no" ]; do
    _no=$((_no + 1))
    eval "_one=\$file_${_kind_of}_$_no"
    [ -n "$_one" ] || continue
    # Both name the path last; one that had to be escaped is asked for by itself.
    case ${1-} in
      *" $_one" | *:"$_one/" | *:"$_one -> "*/ | *:"'$_one'/" | *:"'$_one' -> "*/) eval "file_${_into}_$_no=\$1" ;;
      *) break ;;
    esac
    shift
    _one=''
  done
  if [ -z "$_one" ] && [ "$#" = 0 ]; then return 0; fi
  while [ "$_no" -gt 0 ]; do
    eval "file_${_into}_$_no=''"
    _no=$((_no - 1))
  done
}

# file__here NO: what has been gathered for a question holds from now on; without NO, nothing does.
file__here() {
  file_here='' file_stat='' file_sha=''
  [ "$#" = 0 ] || eval "file_here=\$file_path_$1 file_stat=\$file_stat_$1 file_sha=\$file_sha_$1"
}

# file__answer NO PROBE → a and s, from what has been gathered where that is enough.
file__answer() {
  file__here "$1"
  a='' file_phase=told
  eval "$2" </dev/null >/dev/null
  s=$?
  file_phase=''
  file__here
  # What ends a question with a sentence has printed it.
  [ "$s" = 0 ] || core_ask "$2"
}

# What `questions` of the engine calls for each question about a path.
file_group_begin() { :; }
file_group_wish() { file__wishes "$1" "$2" || eval "file_path_$1='' file_hash_$1=''"; }
file_group_gather() { file__gather "$1"; }
file_group_answer() { file__answer "$1" "$2"; }
file_group_over() { :; }
