# shellcheck shell=sh
# shellcheck disable=SC2154 # qW_I, a and s are the core's
# questions: of several frames, in which each kind asks the host once for what all of its questions need.
#
# A KIND is the beginning of KIND_look, which asks. Its library has, besides:
#   KIND_group_begin            what all of it needs
#   KIND_group_wish NO PROBE    what this question is going to look at
#   KIND_group_gather COUNT     asks for all of that
#   KIND_group_answer NO PROBE  sets a and s: from what has been gathered, where that is enough
#   KIND_group_over             from now on every question asks by itself

# questions COUNT: answers what core has kept.
questions() {
  _q_kinds='' _q_no=0
  while [ "$_q_no" -lt "$1" ]; do
    _q_no=$((_q_no + 1))
    eval "_q_probe=\$q3_$_q_no"
    questions__kind "$_q_probe"
    case " $_q_kinds " in
      *" $_q_kind "*) ;;
      *)
        _q_kinds="$_q_kinds $_q_kind"
        eval "_q_count_$_q_kind=0"
        "${_q_kind}_group_begin"
        ;;
    esac
    # Each kind counts its own.
    eval "_q_of=\$((_q_count_$_q_kind + 1))"
    eval "_q_count_$_q_kind=$_q_of _q_of_$_q_no=$_q_of"
    "${_q_kind}_group_wish" "$_q_of" "$_q_probe"
  done
  for _q_kind in $_q_kinds; do
    eval "_q_of=\$_q_count_$_q_kind"
    "${_q_kind}_group_gather" "$_q_of"
  done
  _q_no=0
  while [ "$_q_no" -lt "$1" ]; do
    _q_no=$((_q_no + 1))
    eval "_q_seq=\$q2_$_q_no _q_probe=\$q3_$_q_no _q_of=\$_q_of_$_q_no"
    questions__kind "$_q_probe"
    "${_q_kind}_group_answer" "$_q_of" "$_q_probe"
    eval "a_$_q_seq=\$a s_$_q_seq=\$s"
    core_reply a "$_q_seq"
  done
  for _q_kind in $_q_kinds; do
    "${_q_kind}_group_over"
  done
}

# questions__kind PROBE: sets _q_kind. A probe is one call, of quoted words.
questions__kind() {
  eval "set -- $1"
  _q_kind=${1%_look}
}
