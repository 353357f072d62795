# shellcheck shell=sh
# shellcheck disable=SC2034,SC2119,SC2120,SC2154,SC2016 # set -- has words of its own; some variables are for file_change; $n comes from core; texts for other shells
# file_look: questions about what is at a path. Nothing here changes anything.
#
# Modules that deal with files (file, copy, template, lineinfile, …) ask with `file_look`, `file_hard_look` and
# `file_tree_look`. change.sh, which is defined after this, uses the same helpers.
#
# - Nothing follows a symbolic link unless asked to, and then the link's final target is worked on.
# - Paths are absolute, without `.` and `..` parts and without a trailing slash.
# - Numbers are cheap, processes are not: one `stat` tells all about a path, modes are worked out with arithmetic.
#
# Needs from core: $n (newline), $t (tab), core_esc, core_die; for questions that are asked together, what its T says.
# Names that begin with `file__` are for these two libraries alone. They answer in variables, because `$( )` costs a
# process.

# What questions that are worked off together share:
#   file_phase   `wish`: a question only says what it is going to look at · `told`: it answers in `a`, without a process
#                · `ahead`, `swap`, `kept`: see together.sh · empty: as usual
#   file_path_NO, file_hash_NO   what question NO looks at, and hashes · file_stat_NO, file_sha_NO   what that has found
#   file_here    the path of the question that is being answered, for which file_stat and file_sha hold that
# Nothing is looked for in a long text: a shell takes the square of its length for that.
file_phase='' file_here='' file_stat='' file_sha=''

# file__tell TEXT: a line of the answer.
file__tell() {
  case $file_phase in
    told) a=$a$1$n ;;
    *) printf '%s\n' "$1" ;;
  esac
}

# file__quote TEXT → _r: TEXT as one word of shell code.
file__quote() {
  file__swap "$1" "'" "'\\''"
  _r="'$_r'"
}

# file__digits NUMBER → _mode: the permission bits of a raw mode as four octal digits.
file__digits() {
  _mode=$(($1 / 512 % 8))$(($1 / 64 % 8))$(($1 / 8 % 8))$(($1 % 8))
}

# All that file__stat tells of a path.
file__format='%f %u %g %h %s %d %i %Y %U:%G:%N/'

# file__stat PATH → _kind (file dir link fifo socket block char) _mode (four digits) _uid _gid _owner _group _links
# _size _dev _ino _time, _raw (the mode as the tool prints it), and _target for a link. Status 1: nothing is there, or it cannot be seen.
# One process. GNU and busybox agree on these letters; `:` cannot occur in an account's name, a space can.
# The last letter, `/`, keeps newlines at the end of a link's target from being cut off by `$( )`.
file__stat() {
  _s_path=$1
  if [ -n "$file_stat" ] && [ "$1" = "$file_here" ]; then
    _s=$file_stat
  elif _s=$(QUOTING_STYLE=literal stat -c "$file__format" -- "$1" 2>/dev/null); then
    :
  elif [ ! -e "$1" ] && [ ! -L "$1" ]; then
    return 1
  else
    file__stat_by_ls "$1"
    return
  fi
  _owner=${_s%%:*}
  _s_rest=${_s#*:}
  # shellcheck disable=SC2086 # the numbers are to be split
  set -- $_owner
  _raw=$1 _s_raw=$((0x$1)) _uid=$2 _gid=$3 _links=$4 _size=$5 _dev=$6 _ino=$7 _time=$8
  _owner=${_owner#* * * * * * * * }
  _group=${_s_rest%%:*}
  _s_rest=${_s_rest#*:}
  file__digits "$_s_raw"
  case $((_s_raw / 4096)) in
    8) _kind="file" ;; 4) _kind="dir" ;; 10) _kind="link" ;; 1) _kind=fifo ;;
    12) _kind=socket ;; 6) _kind=block ;; 2) _kind=char ;; *) _kind=unknown ;;
  esac
  [ "$_kind" = link ] || return 0
  # GNU prints `path -> target` as it is when told so, busybox `'path' -> 'target'`, an old GNU quotes it.
  _s_rest=${_s_rest%/}
  case $_s_rest in
    "$_s_path -> "*) _target=${_s_rest#"$_s_path -> "} ;;
    "'$_s_path' -> '"*"'")
      _target=${_s_rest#"'$_s_path' -> '"}
      _target=${_target%"'"}
      case $_target in *[\\\']*) file__target "$_s_path" ;; esac ;;
    *) file__target "$_s_path" ;;
  esac
}

# file__target LINK → _target
file__target() {
  _target=$(readlink -n -- "$1" 2>/dev/null; printf x)
  _target=${_target%x}
}

# file__stat_by_ls PATH: the same without a usable `stat`, from `ls`: two processes, and the time is that of day only.
file__stat_by_ls() {
  _s=$(ls -ldin -- "$1" 2>/dev/null) || return 1
  _s_names=$(ls -ld -- "$1" 2>/dev/null) || return 1
  # shellcheck disable=SC2086 # columns
  set -- ${_s%%"$n"*}
  _raw=$2 _ino=$1 _s_text=$2 _links=$3 _uid=$4 _gid=$5 _size=$6 _dev=0 _time=$7.$8.$9
  case $_s_text in
    -*) _kind="file" ;; d*) _kind="dir" ;; l*) _kind="link" ;; p*) _kind=fifo ;;
    s*) _kind=socket ;; b*) _kind=block ;; c*) _kind=char ;; *) _kind=unknown ;;
  esac
  # shellcheck disable=SC2086 # columns
  set -- ${_s_names%%"$n"*}
  _owner=$3 _group=$4
  _s_raw=0 _s_bit=256 _s_rest=${_s_text#?}
  while [ "$_s_bit" -gt 0 ]; do
    case $_s_rest in [rwxst]*) _s_raw=$((_s_raw + _s_bit)) ;; esac
    _s_rest=${_s_rest#?} _s_bit=$((_s_bit / 2))
  done
  case $_s_text in ???[sS]*) _s_raw=$((_s_raw + 2048)) ;; esac
  case $_s_text in ??????[sS]*) _s_raw=$((_s_raw + 1024)) ;; esac
  case $_s_text in ?????????[tT]*) _s_raw=$((_s_raw + 512)) ;; esac
  file__digits "$_s_raw"
  [ "$_kind" != link ] || file__target "$_s_path"
  return 0
}

# Above so many bytes openssl, which uses what the processor can do (five times as fast as the C of older coreutils), makes up for
# its start.
file__large=16777216

# file__when PATH → _when: what changes with every write to a large file; empty where that cannot be told.
file__when() {
  _when=$(stat -c '%d %i %s %y' -- "$1" 2>/dev/null)
}

# file__remember PATH SHA WHEN: PATH held this when it was hashed, just before it was moved here. Its next question need not
# hash it again, unless a write or anything else has come in between: then one of the times is another.
file__remember() {
  _h_line=$(stat -c "%d %i %s %y $2 %z" -- "$1" 2>/dev/null)
  case $_h_line in
    "$3 $2 "*) printf '%s\n' "$_h_line" >"${st-}/runs/${core_run-}/hashed" ;;
  esac 2>/dev/null
  return 0
}

# file__remembers PATH → _sha: is it known already?
file__remembers() {
  { IFS= read -r _h_line <"${st-}/runs/${core_run-}/hashed"; } 2>/dev/null || return 1
  _sha=${_h_line% * * *} _sha=${_sha##* }
  [ "$_h_line" = "$(stat -c "%d %i %s %y $_sha %z" -- "$1" 2>/dev/null)" ]
}

# file__sha PATH [SIZE] → _sha: SHA-256 in hex. Status 1: cannot be read, 2: this host has no tool for it.
# From stdin, because GNU marks odd names in its output. A CRC (cksum) is no substitute: it would let a
# half-written or tampered file pass as verified, so such a host is refused.
file__sha() {
  if [ -n "$file_sha" ] && [ "$1" = "$file_here" ]; then
    _sha=${file_sha%% *}
    return 0
  fi
  _sha=''
  if [ "${2:-0}" -gt "$file__large" ] && file__remembers "$1"; then
    :
  elif [ "${2:-0}" -gt "$file__large" ] && command -v openssl >/dev/null 2>&1 && _sha=$(openssl dgst -sha256 -r 2>/dev/null <"$1") && [ -n "$_sha" ]; then
    :
  elif command -v sha256sum >/dev/null 2>&1; then
    _sha=$(sha256sum 2>/dev/null <"$1")
  elif command -v openssl >/dev/null 2>&1; then
    _sha=$(openssl dgst -sha256 -r 2>/dev/null <"$1")
  elif command -v busybox >/dev/null 2>&1 && busybox sha256sum </dev/null >/dev/null 2>&1; then
    _sha=$(busybox sha256sum 2>/dev/null <"$1")
  elif command -v shasum >/dev/null 2>&1; then
    _sha=$(shasum -a 256 2>/dev/null <"$1")
  else
    return 2
  fi
  _sha=${_sha%% *}
  case $_sha in *[!0-9a-f]*) return 1 ;; esac
  [ "${#_sha}" = 64 ]
}

file__no_sha='this host has no tool that takes a SHA-256 (sha256sum, openssl, busybox, shasum)'

# file__word NAME → _word: an account name as one field: `\` doubled, space as `\s`.
file__word() {
  _word=$1 _b="\\"
  case $_word in *[\\\ ]*) ;; *) return 0 ;; esac
  file__swap "$_word" "$_b" "$_b$_b"
  file__swap "$_r" ' ' '\s'
  _word=$_r
}

# file__swap TEXT CHARACTER REPLACEMENT → _r: every CHARACTER replaced.
file__swap() {
  _w_in=$1 _r=
  while :; do
    case $_w_in in
      *"$2"*) _r=$_r${_w_in%%"$2"*}$3 _w_in=${_w_in#*"$2"} ;;
      *) _r=$_r$_w_in; return 0 ;;
    esac
  done
}

# file__dir PATH → _dir: the folder that holds it.
file__dir() {
  _dir=${1%/*}
  [ -n "$_dir" ] || _dir=/
}

# file__real LINK → _real: where a chain of links ends. Status 1: nowhere.
file__real() {
  _real=$(readlink -f -- "$1" 2>/dev/null; printf x)
  _real=${_real%x}
  _real=${_real%"$n"}
  [ -n "$_real" ] && [ -e "$_real" ]
}

# file_look PATH FOLLOW WANT_SHA SHOW_BYTES (probe): what is at PATH?
#   FOLLOW    `follow`: of a link, look at its final target; `nofollow`: look at the link itself
#   WANT_SHA  `-`: take no hash · a hash: show the content only when it differs · `?`: always show the content
#   SHOW_BYTES  no content is shown of a file larger than this
# Answer, first line one of
#   absent
#   file MODE UID GID OWNER GROUP LINKS SIZE SHA      (SHA is `-` when WANT_SHA is)
#   dir MODE UID GID OWNER GROUP
#   link MODE UID GID OWNER GROUP TARGET              (TARGET escaped)
#   fifo|socket|block|char MODE UID GID OWNER GROUP
# MODE is four octal digits; in OWNER and GROUP `\` is doubled and a space is `\s`; an id without a name has UNKNOWN.
# Then, where they apply:
#   at PATH               (escaped; FOLLOW met a link, and this is where it ends)
#   content               the bytes follow, raw, to the end of the answer
#   content hex           the bytes contain a NUL: one line of hex digits follows (only for WANT_SHA `?`)
#   content binary        the same for a hash: nothing follows
# On stderr, because a folder may be made earlier in the same flight without making this answer another one:
#   parent missing PATH   (escaped; after `absent`: the topmost folder that is missing)
# Processes: absent 0, dir and link 1, file 2, content 1 more, following a link 2 more.
file_look() {
  case $file_phase in wish) file__wish "$@"; return ;; esac
  _l_path=$1 _l_at=
  if [ ! -e "$1" ] && [ ! -L "$1" ]; then
    file__look_absent "$1"
    return
  fi
  if [ "$2" = follow ] && [ -L "$1" ]; then
    if ! file__real "$1"; then
      core_die "$(core_esc "$1") is a link that leads nowhere, so it cannot be followed"
      return 3
    fi
    _l_path=$_real _l_at=1
  fi
  if ! file__stat "$_l_path"; then
    if [ -e "$_l_path" ] || [ -L "$_l_path" ]; then
      core_die "$(core_esc "$_l_path") is there but neither stat nor ls can tell about it"
      return 3
    fi
    file__look_absent "$_l_path"
    return
  fi
  file__word "$_owner"; _owner=$_word
  file__word "$_group"; _group=$_word
  _l_line="$_kind $_mode $_uid $_gid $_owner $_group"
  _l_show=
  case $_kind in
    file)
      _sha=-
      if [ "$3" != - ]; then
        file__sha "$_l_path" "$_size"
        case $? in
          0) ;;
          2) core_die "$file__no_sha"; return 3 ;;
          *) core_die "$(core_esc "$_l_path") cannot be read by this user; become may help"; return 3 ;;
        esac
        if [ "$_sha" != "$3" ] && [ "$_size" -le "$4" ]; then _l_show=1; fi
      fi
      file__tell "$_l_line $_links $_size $_sha" ;;
    link)
      core_escape "$_target"
      file__tell "$_l_line $_out" ;;
    *) file__tell "$_l_line" ;;
  esac
  if [ -n "$_l_at" ]; then
    core_escape "$_l_path"
    file__tell "at $_out"
  fi
  [ -z "$_l_show" ] || file__show "$_l_path" "$3"
}

# file__show PATH WANT_SHA: the content part of an answer. A shell variable loses NULs (zsh keeps them), so a value
# that is shorter than the file tells that there are some. A wrong length only ever leads to hex, which is safe.
file__show() {
  { _l_text=$(cat <"$1"; printf x); } 2>/dev/null
  _l_text=${_l_text%x}
  _l_nul=
  [ "${#_l_text}" = "$_size" ] || _l_nul=1
  if [ -n "${ZSH_VERSION-}" ]; then
    case $_l_text in *"$(printf '\0')"*) _l_nul=1 ;; esac
  fi
  if [ -z "$_l_nul" ]; then
    case $file_phase in
      told) a="${a}content$n$_l_text" ;;
      *) printf 'content\n%s' "$_l_text" ;;
    esac
  elif [ "$2" != '?' ]; then
    file__tell 'content binary'
  else
    file__tell 'content hex'
    file__tell "$(od -An -v -t x1 <"$1" | tr -d ' \n')"
  fi
}

# file__look_absent PATH: nothing is there; is that because of a folder above?
file__look_absent() {
  _a_have=$1 _a_missing=
  while :; do
    file__dir "$_a_have"
    _a_have=$_dir
    if [ -e "$_a_have" ] || [ -L "$_a_have" ]; then break; fi
    _a_missing=$_a_have
    [ "$_a_have" != / ] || break
  done
  if [ ! -e "$_a_have" ]; then
    core_die "$(core_esc "$_a_have") is a link that leads nowhere, so nothing can be below it"
    return 3
  elif [ ! -d "$_a_have" ]; then
    core_die "$(core_esc "$_a_have") is not a folder, so $(core_esc "$1") cannot exist"
    return 3
  elif [ ! -x "$_a_have" ]; then
    core_die "this user may not look into $(core_esc "$_a_have"); become may help"
    return 3
  fi
  file__tell absent
  if [ -n "$_a_missing" ]; then
    core_escape "$_a_missing"
    printf '%s\n' "parent missing $_out" >&2
  fi
}

# file_hard_look PATH SOURCE (probe): answer `same` or `different` (two names of one file?), or as file_look with
# nofollow and without hash when PATH is not a file; whether SOURCE is one stands in the remark then. One process.
file_hard_look() {
  if [ -L "$1" ] || [ ! -f "$1" ]; then
    if [ -L "$2" ] || [ ! -f "$2" ]; then printf 'source missing\n' >&2; fi
    file_look "$1" nofollow - 0
    return
  fi
  if [ -L "$2" ] || [ ! -f "$2" ]; then
    core_die "the source $(core_esc "$2") is not a file"
    return 3
  fi
  _h=$(stat -c '%d:%i' -- "$1" "$2" 2>/dev/null) || {
    file__stat "$1"
    _h=$_dev:$_ino
    file__stat "$2"
    _h=$_h$n$_dev:$_ino
  }
  # split outside of quotes: posh does not nest them
  _h_first=${_h%%"$n"*}
  _h=${_h#*"$n"}
  if [ "$_h_first" = "$_h" ]; then printf 'same\n'; else printf 'different\n'; fi
}

# ---------------------------------------------------------------------------------------------------------------
# Owner, group and mode of a whole tree
#
# MODE of these functions: `-`; or one SPEC for all; or `D,X,F`: one SPEC for folders, one for files that somebody may
# execute, one for the rest. A SPEC is `-`, or four octal digits (exactly these), or `+SET-CLEAR` with two times four
# octal digits (these bits on, those off, others as they are). So the controller writes `u=rwX,g=rX,o=` as
# `0750,0750,0640`, `a+x` as `+0111-0000`, `go-w` as `+0000-0022`, `a+X` as `+0111-0000,+0111-0000,-`.
# Links have no mode; other file systems are not entered; links are not followed.

# file__spec SPEC → _differs (find expression: true where it does not hold), and _set and _clear of a relative one.
# Status 1: nothing is asked.
file__spec() {
  case $1 in
    -) return 1 ;;
    +*)
      _set=${1#+}
      _clear=${_set#*-}
      _set=${_set%%-*}
      _differs="! -perm -$_set"
      for _bit in 4000 2000 1000 0400 0200 0100 0040 0020 0010 0004 0002 0001; do
        case $_bit:$_clear in
          4000:[4567]*|2000:[2367]*|1000:[1357]*|0400:?[4567]*|0200:?[2367]*|0100:?[1357]*) ;;
          0040:??[4567]*|0020:??[2367]*|0010:??[1357]*|0004:???[4567]|0002:???[2367]|0001:???[1357]) ;;
          *) continue ;;
        esac
        _differs="$_differs -o -perm -$_bit"
      done ;;
    *) _differs="! -perm $1" ;;
  esac
}

# file__branches MODE FUNCTION: calls FUNCTION SPEC EXPRESSION for each part of MODE, with what it is about.
file__branches() {
  _x_file='( -perm -0100 -o -perm -0010 -o -perm -0001 )'
  case $1 in
    -) return 0 ;;
    *,*)
      _rest=${1#*,}
      "$2" "${1%%,*}" '-type d'
      "$2" "${_rest%%,*}" "-type f $_x_file"
      "$2" "${_rest#*,}" "! -type d ! -type l ! ( -type f $_x_file )" ;;
    *) "$2" "$1" '! -type l' ;;
  esac
}

# file__tree MODE OWNER GROUP → _find: find expression that is true for what is wrong (empty: nothing is asked).
file__tree() {
  _find=''
  file__branches "$1" file__branch
  [ "$2" = - ] || _find="${_find:+$_find -o }! -user _U"
  [ "$3" = - ] || _find="${_find:+$_find -o }! -group _G"
}

file__branch() {
  file__spec "$1" || return 0
  _find="${_find:+$_find -o }$2 ( $_differs )"
}

# file_tree_look PATH MODE OWNER GROUP (probe): how much in the tree PATH (itself included) differs from what is asked?
# Answer: `differ COUNT`, then up to five lines with escaped paths, the first in byte order. A path that has
# newlines counts once for each line of it. Status 3: the tree or an account is not there. Processes: 1, and 1 more (sort) when something differs.
file_tree_look() {
  if [ -L "$1" ] || [ ! -d "$1" ]; then
    core_die "$(core_esc "$1") is not a folder"
    return 3
  fi
  file__tree "$2" "$3" "$4"
  if [ -z "$_find" ]; then
    printf 'differ 0\n'
    return 0
  fi
  _list=$(file__tree_find "$1" "$3" "$4" "( $_find )" -print 2>&1) || {
    _list=${_list##*"$n"}
    core_die "the tree $(core_esc "$1") cannot be examined: $(core_esc "$_list")"
    return 3
  }
  if [ -z "$_list" ]; then
    printf 'differ 0\n'
    return 0
  fi
  printf '%s\n' "$_list" | sort | {
    _count=0 _names=''
    while IFS= read -r _name; do
      _count=$((_count + 1))
      [ "$_count" -gt 5 ] || _names=$_names$(core_esc "$_name")$n
    done
    printf 'differ %s\n%s' "$_count" "$_names"
  }
}

# file__tree_find PATH OWNER GROUP EXPRESSION [ACTION]: find, with the words of EXPRESSION, in which _U, _G and _UG stand
# for the accounts (which may hold a space). Ends with `exec`: call it in a subshell.
file__tree_find() {
  _tf_path=$1 _tf_user=$2 _tf_group=$3 _tf_do=${5-}
  _tf_both=$_tf_user:$_tf_group
  case $_tf_both in -:*) _tf_both=:$_tf_group ;; *:-) _tf_both=$_tf_user ;; esac
  # shellcheck disable=SC2086 # the words
  set -- $4
  _tf_no=$#
  while [ "$_tf_no" -gt 0 ]; do
    case $1 in
      _U) set -- "$@" "$_tf_user" ;;
      _G) set -- "$@" "$_tf_group" ;;
      _UG) set -- "$@" "$_tf_both" ;;
      _N) set -- "$@" "*$n*" ;;
      _KEEPING) set -- "$@" 'o=$1; shift; for f do m=$(stat -c %a -- "$f") && chown -h -- "$o" "$f" && chmod "$m" -- "$f" || exit 1; done' ;;
      *) set -- "$@" "$1" ;;
    esac
    shift
    _tf_no=$((_tf_no - 1))
  done
  exec find "$_tf_path" -xdev "$@" ${_tf_do:+"$_tf_do"}
}
