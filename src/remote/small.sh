# shellcheck shell=sh
# shellcheck disable=SC2154 # n comes from core
# small: the helpers that every library may use, in the open shell and in a task's own shell.

# core_escape TEXT → _out: on one line: backslash doubled, newline as \n.
core_escape() {
  _in=$1 _out=
  while :; do
    case $_in in
      *["\\$n"]*)
        _head=${_in%%["\\$n"]*}
        _in=${_in#"$_head"}
        case $_in in
          "$n"*) _out="$_out$_head\\n" ;;
          *) _out="$_out$_head\\\\" ;;
        esac
        _in=${_in#?}
        ;;
      *) break ;;
    esac
  done
  _out=$_out$_in
}

# Prints it so.
core_esc() {
  core_escape "$1"
  printf '%s' "$_out"
}

# Why a change failed, in one sentence; what a tool said about it may stand around it.
core_say() {
  printf 'mutate: %s\n' "$1" >&2
}

# Ends a probe with a sentence for the user.
core_die() {
  printf '%s\n' "$1"
  return 3
}
