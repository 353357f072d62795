# shellcheck shell=sh
# shellcheck disable=SC2154 # n comes from core
# own: what the sh text of a described module may call.

# tell NAME VALUE (probe): one property of what is there. It stands between newlines of its own, so that one that is
# expected can be found among others.
tell() {
  case $2 in
    *["\\$n"]*) printf '\n%s %s\n' "$1" "$(core_esc "$2")" ;;
    *) printf '\n%s %s\n' "$1" "$2" ;;
  esac
}

# tell_list NAME ITEM... (probe): a property that is a list. Each item ends with backslash and comma, which no escaped
# text has.
tell_list() {
  printf '\n%s: ' "$1"
  shift
  for _item; do
    case $_item in
      *["\\$n"]*) printf '%s\\,' "$(core_esc "$_item")" ;;
      *) printf '%s\\,' "$_item" ;;
    esac
  done
  printf '\n'
}

# tell_lines NAME TEXT (probe): a property that is the list of the lines of a text.
tell_lines() {
  _name=$1
  IFS=$n
  # shellcheck disable=SC2086 # each line is an item
  set -- $2
  IFS=" $t$n"
  tell_list "$_name" "$@"
}

# refuse SENTENCE (probe): this host cannot have it. Not within $( ) or a pipe.
refuse() {
  printf '\n'
  core_die "$1"
  exit 3
}

# fail SENTENCE (apply, undo): it went wrong.
fail() {
  core_say "$1"
  exit 1
}

# need ADVICE PROGRAM... (probe): one of these programs must be there.
need() {
  _advice=$1
  shift
  _names=''
  for _one; do
    command -v "$_one" >/dev/null 2>&1 && return 0
    _names=${_names:+$_names or }$_one
  done
  refuse "this host has no $_names; $_advice"
}

# own_sum PATH (probe): what tells whether a path is still the same.
own_sum() {
  if [ -f "$1" ] && [ -r "$1" ]; then
    _sum=$(cksum <"$1")
  elif [ -d "$1" ]; then
    _sum=directory
  elif [ -e "$1" ] || [ -L "$1" ]; then
    _sum=other
  else
    _sum=absent
  fi
  tell "$1" "$_sum"
}

# own_keep PATH... (apply): keeps what is at these paths, one record on each line.
own_keep() {
  for _path; do
    file_keep_tree "$_path" || exit
  done
}

# own_back RECORDS PATH... (undo): brings them back, the last one first.
own_back() {
  _records=$1
  shift
  [ $# -gt 0 ] || return 0
  _first=$1
  shift
  case $_records in
    *"$n"*) (own_back "${_records#*"$n"}" "$@") || exit ;;
  esac
  file_back "$_first" "${_records%%"$n"*}"
}
