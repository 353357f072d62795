# shellcheck shell=sh
# shellcheck disable=SC2154 # $n, $core_run and $core_store come from core, _find and the like from file_look
# file_change: everything that changes what is at a path, and the store of what was there before.
#
# `file_put`, `file_meta`, `file_dir`, `file_link`, `file_hard`, `file_touch`, `file_absent` and `file_tree_meta` change;
# what is about to be overwritten goes to the store with `file_keep` and comes back with `file_back`.
# look.sh is defined before this.
#
# - A file is replaced, never rewritten: a temporary `.mutate.RUN.RAND` in the same folder gets the bytes, the
#   metadata and an fsync before it is renamed over the old one, and the folder gets an fsync after. A reader sees
#   the old file or the new one. (Only the flag `in_place` does otherwise; it says so.)
# - Every failure removes the temporary and says in one sentence on stderr what was wrong and that the old is there.
#
# Needs from core besides: $core_run (word that names the run), $core_store (folder, 0700); $uid saves a process.
#
# Status of an apply function: 0 done · 1 failed, nothing changed · 4 somebody changed the path meanwhile, nothing
# changed · 5 the validator refused, the old is in place · 6 the new is in place but something after that failed.

# file__single PATH → _r: PATH without doubled slashes.
file__single() {
  _r=$1
  while :; do
    case $_r in *//*) _r=${_r%%//*}/${_r#*//} ;; *) return 0 ;; esac
  done
}

# file__physical FOLDER → _physical: its path without links; empty when it cannot be entered. bash says `//etc` after a
# link to `/`.
file__physical() {
  _physical=$(CDPATH='' cd -P -- "$1" 2>/dev/null && pwd -P && printf x)
  _physical=${_physical%"${n}x"}
  file__single "$_physical"
  _physical=$_r
}

# file_walk PATH [OWNER] (probe): could somebody else redirect a write to PATH?
# Every folder above it must belong to root, to the present user, or to OWNER (name or number; the owner that the file
# has or is to have), and must not be writable for group or others.
# Accepted nevertheless: sticky folders; writable for group root; writable for a group whose number is the
# accepted owner's own number (a user's private group).
# Where the path leads through links, both the way that is written and the way that it ends up on are looked at.
# Answer: `safe`; or `shared NAME`: safe but for the accepted OWNER, who owns a folder on the way (then pass `private`
# to file_put, file_meta and file_back, so that he cannot lead root astray by swapping our temporary for a link);
# or status 3. One process.
# In a sticky folder anybody may own PATH itself and swap it, so there PATH must belong to one of the accepted, too.
file_walk() {
  _k_path=$1 _k_also=${2-} _k_me='' _k_shared='' _k_self='' _k_sticky=''
  file__dir "$1"
  while [ ! -d "$_dir" ] && [ "$_dir" != / ]; do file__dir "$_dir"; done
  file__physical "$_dir"
  _k_real=$_physical
  if [ -z "$_k_real" ]; then
    core_die "this user may not look into $(core_esc "$_dir"); become may help"
    return 3
  fi
  _k_one=$_dir
  set --
  while :; do
    set -- "$@" "$_k_one"
    [ "$_k_one" != / ] || break
    file__dir "$_k_one"
    _k_one=$_dir
  done
  if [ "$_k_real" != "$1" ]; then
    _k_one=$_k_real
    while [ "$_k_one" != / ]; do
      set -- "$@" "$_k_one"
      file__dir "$_k_one"
      _k_one=$_dir
    done
  fi
  # the path itself comes last, when it is there
  if [ -e "$_k_path" ] || [ -L "$_k_path" ]; then
    set -- "$@" "$_k_path"
    _k_self=1
  fi
  _k_list=$(stat -c '%f %u %g %U' -- "$@" 2>/dev/null)
  if [ -z "$_k_list" ]; then
    _k_list=
    for _k_one in "$@"; do
      file__stat "$_k_one" || continue
      _k_type=0
      case $_kind in dir) _k_type=16384 ;; link) _k_type=40960 ;; esac
      _k_raw=$((_k_type + ${_mode%???} * 512))
      _mode=${_mode#?}
      _k_raw=$((_k_raw + ${_mode%??} * 64))
      _mode=${_mode#?}
      _k_raw=$((_k_raw + ${_mode%?} * 8 + ${_mode#?}))
      _k_list="$_k_list~$_k_raw $_uid $_gid $_owner$n"
    done
  fi
  while [ -n "$_k_list" ]; do
    _k_line=${_k_list%%"$n"*}
    case $_k_list in *"$n"*) _k_list=${_k_list#*"$n"} ;; *) _k_list= ;; esac
    _k_one=$1
    shift
    _k_name=${_k_line#* * * }
    _k_raw=${_k_line%% *}
    _k_uid=${_k_line#* }
    _k_gid=${_k_uid#* }
    _k_uid=${_k_uid%% *}
    _k_gid=${_k_gid%% *}
    case $_k_raw in '~'*) _k_raw=${_k_raw#?} ;; *) _k_raw=$((0x$_k_raw)) ;; esac
    if [ -n "$_k_self" ] && [ "$#" = 0 ]; then
      if [ -z "$_k_sticky" ] || [ "$_k_uid" = 0 ] || [ "$_k_uid" = "$_k_also" ] || [ "$_k_name" = "$_k_also" ]; then break; fi
      [ -n "$_k_me" ] || _k_me=$(id -u)
      [ "$_k_uid" != "$_k_me" ] || break
      core_die "$(core_esc "$_k_path") belongs to $_k_name and lies in a folder where everybody may write, so it could be swapped at any moment"
      return 3
    fi
    # a link's own bits mean nothing; who may replace it is up to the folder that holds it
    [ "$((_k_raw / 4096))" != 10 ] || continue
    if [ "$_k_uid" != 0 ]; then
      [ -n "$_k_me" ] || _k_me=$(id -u)
      if [ "$_k_uid" = "$_k_me" ]; then
        :
      elif [ "$_k_uid" = "$_k_also" ] || [ "$_k_name" = "$_k_also" ]; then
        _k_shared=$_k_name
      else
        core_die "$(core_esc "$_k_one") belongs to $_k_name, who could redirect a write to $(core_esc "$_k_path"); use become_user = \"$_k_name\" or give the folder to root"
        return 3
      fi
    fi
    if [ "$((_k_raw / 512 % 2))" = 1 ]; then
      [ "$((_k_raw / 2 % 2 + _k_raw / 16 % 2))" = 0 ] || _k_sticky=1
      continue
    fi
    if [ "$((_k_raw / 2 % 2))" = 1 ]; then
      core_die "everybody may write to $(core_esc "$_k_one"), so a write to $(core_esc "$_k_path") could be redirected; take that right away (chmod o-w)"
      return 3
    fi
    if [ "$((_k_raw / 16 % 2))" = 1 ] && [ "$_k_gid" != 0 ] && [ "$_k_gid" != "$_k_uid" ]; then
      core_die "a group may write to $(core_esc "$_k_one"), so a write to $(core_esc "$_k_path") could be redirected; take that right away (chmod g-w)"
      return 3
    fi
  done
  if [ -z "$_k_shared" ]; then
    printf 'safe\n'
  else
    printf '%s\n' "shared $(core_esc "$_k_shared")"
  fi
}

# ---------------------------------------------------------------------------------------------------------------
# Helpers of the apply functions. These run in a subshell of their own (their bodies are `( )`), so `exit` ends them.

# file__stop STATUS SENTENCE: clean up, say why, end.
file__stop() {
  file__drop
  core_say "$2"
  exit "$1"
}

# file__refuse MODE OWNER GROUP PATH: what was asked for cannot be given.
file__refuse() {
  _given=''
  [ "$1" = - ] || _given="mode $1"
  [ "$2" = - ] || _given="${_given:+$_given, }owner $2"
  [ "$3" = - ] || _given="${_given:+$_given, }group $3"
  file__stop 1 "$_given cannot be given to $(core_esc "$4"): $_last"
}

# file__drop: remove what we made beside the target ($_tmp, and $_old: the old file kept for a validator; $_cell).
file__drop() {
  if [ -n "${_cell-}" ]; then
    rm -rf -- ./new ./new.old 2>/dev/null
    cd /
    rmdir -- "$_cell" 2>/dev/null
    _cell='' _tmp='' _old=''
  fi
  if [ -n "${_tmp-}${_old-}" ]; then
    rm -rf -- ${_tmp:+"$_tmp"} ${_old:+"$_old"} 2>/dev/null
  fi
  _tmp='' _old=''
}

# file__no_folder: stop, because $_folder is not there.
file__no_folder() {
  file__stop 1 "the folder $(core_esc "$_folder") does not exist; make it with a \`file\` task first"
}

# file__strange FOLDER: are we root, and does it belong to somebody else? Then what is done in it is done `private`.
file__strange() {
  # shellcheck disable=SC3067 # every shell that passes the self-test of core has it
  [ "${uid-$(id -u)}" = 0 ] && [ -d "$1" ] && [ ! -O "$1" ]
}

# file__run COMMAND…: run it, keep what it says on stderr in _err, and the last line of that in _last.
file__run() {
  _err=$("$@" 2>&1 >/dev/null) && return 0
  set -- $?
  _last=${_err##*"$n"}
  return "$1"
}

# file__why PATH → _why: $_err as a sentence about PATH. Costs processes, but only after a failure.
file__why() {
  _y_path=$(core_esc "$1")
  file__dir "$1"
  case $_err in
    *'No space left'*) _why="no space is left on the file system of $(core_esc "$_dir") (ENOSPC)" ;;
    *'uota exceeded'*) _why="the disk quota on the file system of $(core_esc "$_dir") is used up (EDQUOT)" ;;
    *'Read-only file system'*) _why="the file system of $(core_esc "$_dir") is read-only (EROFS)" ;;
    *'Input/output error'* | *'I/O error'*) _why="the disk under $(core_esc "$_dir") reports an input/output error (EIO)" ;;
    *'File too large'*) _why="$_y_path would be larger than the file system or the limit allows (EFBIG)" ;;
    *'Too many open files'*) _why="this host has too many open files" ;;
    *'File name too long'*) _why="the name $_y_path is too long (ENAMETOOLONG)" ;;
    *'Operation not permitted'* | *'Permission denied'* | *'resource busy'*)
      if file__is_mount "$1"; then
        _why="$_y_path is a mount point (a bind mount?), so it cannot be replaced; in_place = true writes into it instead"
      elif file__is_fixed "$1"; then
        _why="$_y_path is immutable or append-only (chattr -ia takes that away)"
      elif file__is_fixed "$_dir"; then
        _why="the folder $(core_esc "$_dir") is immutable or append-only (chattr -ia takes that away)"
      else
        case $_err in
          *'Operation not permitted'*) _why="the system does not permit it for $_y_path (EPERM)" ;;
          *'Permission denied'*) _why="this user may not write to $(core_esc "$_dir") (EACCES); become may help" ;;
          *) _why="$_y_path is in use (EBUSY)" ;;
        esac
      fi ;;
    '') _why="writing $_y_path failed and the tool did not say why" ;;
    *) _why=${_err##*"$n"} _why="$_y_path: $_why" ;;
  esac
}

# file__is_fixed PATH: has it the attribute `i` or `a`?
file__is_fixed() {
  command -v lsattr >/dev/null 2>&1 || return 1
  _x=$(lsattr -d -- "$1" 2>/dev/null)
  _x=${_x%% *}
  case $_x in *i* | *a*) return 0 ;; esac
  return 1
}

# file__mount_name PATH → _r: PATH as the kernel writes it in mountinfo.
file__mount_name() {
  _r=$1
  case $_r in *[\\\ "$n	"]*) ;; *) return 0 ;; esac
  file__swap "$_r" \\ '\134'
  file__swap "$_r" ' ' '\040'
  file__swap "$_r" '	' '\011'
  file__swap "$_r" "$n" '\012'
}

# file__is_mount PATH: is something mounted right there?
file__is_mount() {
  [ -r /proc/self/mountinfo ] || return 1
  file__mount_name "$1"
  while read -r _ _ _ _ _m_at _; do
    [ "$_m_at" != "$_r" ] || return 0
  done </proc/self/mountinfo
  return 1
}

# file__mount_below PATH → _m_at: is something mounted there or anywhere below? Status 2: cannot tell.
file__mount_below() {
  [ -r /proc/self/mountinfo ] || return 2
  file__mount_name "$1"
  while read -r _ _ _ _ _m_at _; do
    case $_m_at in "$_r" | "$_r"/*) return 0 ;; esac
  done </proc/self/mountinfo
  return 1
}

# file__sync PATH…: fsync of each. A `sync` that takes no paths, or a file system that cannot fsync a folder, gets a
# full sync; a real disk error stays one.
file__sync() {
  file__run sync -- "$@" && return 0
  case $_err in *'Input/output'* | *'No space'* | *'uota exceeded'*) return 1 ;; esac
  file__run sync
}

# file__temp FOLDER → _tmp: a new empty file that only we can read. Status 1: _err says why not. No process on Linux.
file__temp() {
  _t_dir=${1%/} _t_no=''
  # A name that nobody can know before, and the shell's own O_EXCL: what mktemp does, without a process.
  if read -r _t_no </proc/sys/kernel/random/uuid && [ "${#_t_no}" = 36 ]; then
    _tmp=$_t_dir/.mutate.$core_run.$_t_no
    set -C
    printf '' >"$_tmp"
    _t_no=$?
    set +C
    [ "$_t_no" != 0 ] || return 0
  fi 2>/dev/null
  if command -v mktemp >/dev/null 2>&1; then
    _tmp=$(mktemp -- "$_t_dir/.mutate.$core_run.XXXXXX" 2>&1) && return 0
    _err=$_tmp _tmp=
    return 1
  fi
  # Without mktemp: the shell's own O_EXCL. The name is not secret, but nobody else can make it ours.
  _t_no=0
  while [ "$_t_no" -lt 50 ]; do
    _t_no=$((_t_no + 1))
    _tmp=$_t_dir/.mutate.$core_run.$$x$_t_no
    if [ -e "$_tmp" ] || [ -L "$_tmp" ]; then continue; fi
    _err=$({ set -C; printf '' >"$_tmp"; } 2>&1) && return 0
  done
  _tmp=
  return 1
}

# file__cell FOLDER: for root in a folder that belongs to somebody else, who could put a link in the place of our
# temporary at any moment and have root write or chmod what it leads to. Makes a folder in it that only root can enter and
# works inside: there `./new` is out of reach, and `../NAME` is the target, whatever happens to the path that led here.
file__cell() {
  file__physical "$1"
  if command -v mktemp >/dev/null 2>&1; then
    _cell=$(mktemp -d -- "${1%/}/.mutate.$core_run.XXXXXX" 2>&1) || { _err=$_cell _cell=''; return 1; }
  else
    file__name "$1"
    _cell=$_tmp _tmp=''
    file__run mkdir -m 0700 -- "$_cell" || { _cell=''; return 1; }
  fi
  _err='the folder was moved or replaced meanwhile'
  if CDPATH='' cd -P -- "$_cell" 2>/dev/null; then
    _c_here=$(pwd -P; printf x)
    if [ "$_c_here" = "${_physical%/}/${_cell##*/}${n}x" ] && file__stat .; then
      # In a folder with a set-group-id bit it has that, too.
      case "$_mode $_uid" in '0700 0' | '2700 0') return 0 ;; esac
    fi
    cd /
  fi
  rmdir -- "$_cell" 2>/dev/null
  _cell=''
  return 1
}

# file__name FOLDER → _tmp: a name for something that is made exclusively anyway (a link, a folder).
file__name() {
  _t_dir=${1%/}
  _t_no=$((${_t_no-0} + 1))
  while :; do
    _tmp=$_t_dir/.mutate.$core_run.$$n$_t_no
    if [ ! -e "$_tmp" ] && [ ! -L "$_tmp" ]; then return 0; fi
    _t_no=$((_t_no + 1))
  done
}

# file__move FROM TO: rename over TO, never into it.
file__move() {
  file__run mv -fT -- "$1" "$2" && return 0
  case $_err in
    *nrecognized*option* | *nvalid\ option* | *nknown\ option* | *llegal\ option*)
      if [ -d "$2" ] && [ ! -L "$2" ]; then
        _err="$2 is a folder"
        return 1
      elif [ -L "$2" ] && [ -d "$2" ]; then
        # such a mv would move into the folder that the link names
        file__run rm -f -- "$2" || return 1
      fi
      file__run mv -f -- "$1" "$2" ;;
    *) return 1 ;;
  esac
}

# file__chown OWNER GROUP PATH: `-` means leave. Never follows a link.
file__chown() {
  case $1:$2 in
    -:-) return 0 ;;
    -:*) file__run chown -h -- ":$2" "$3" ;;
    *:-) file__run chown -h -- "$1" "$3" ;;
    *) file__run chown -h -- "$1:$2" "$3" ;;
  esac
}

# file__chmod MODE PATH. Five digits, because GNU chmod leaves a folder's set-id bits alone when given four.
file__chmod() {
  case $1 in
    [0-7][0-7][0-7]) file__run chmod -- "00$1" "$2" ;;
    [0-7][0-7][0-7][0-7]) file__run chmod -- "0$1" "$2" ;;
    *) file__run chmod -- "$1" "$2" ;;
  esac
}

# file__extras PATH → _extras: ACL, capabilities and extended attributes in the form that file__extras_put takes;
# empty when there are none, or when no tool here can tell (then nothing here can have set them either, as a rule).
# getfattr shows an ACL and a capability too, as the attributes that they are.
file__extras() {
  _extras=
  if command -v getfattr >/dev/null 2>&1; then
    _extras=$(getfattr -h -d -m - -e hex --absolute-names -- "$1" 2>/dev/null)
    case $_extras in
      *"$n"*) _extras=xattr$n${_extras#*"$n"} ;;
      *) _extras= ;;
    esac
  elif command -v getfacl >/dev/null 2>&1; then
    _extras=$(getfacl -p -c -s -n -- "$1" 2>/dev/null)
    [ -z "$_extras" ] || _extras=acl$n$_extras
  fi
  case $_extras in
    xattr*) ;;
    *)
      # a capability that could be seen but not carried must not get lost quietly
      command -v getfattr >/dev/null 2>&1 || ! command -v getcap >/dev/null 2>&1 || [ -z "$(getcap -- "$1" 2>/dev/null)" ] ||
        _extras=capability ;;
  esac
}

# file__extras_put FOLDER NAME: give them to FOLDER/NAME, a name of our own making without odd characters.
file__extras_put() {
  _e_text=${_extras#*"$n"}
  case $_extras in
    '') return 0 ;;
    capability)
      _last='it has a capability, and getfattr is missing on this host'
      return 1 ;;
    xattr*)
      _last='setfattr is missing on this host'
      command -v setfattr >/dev/null 2>&1 || return 1
      _last=$(cd -- "$1" && printf '# file: %s\n%s\n' "$2" "$_e_text" | setfattr -h --restore=- 2>&1 >/dev/null) ;;
    acl*)
      _last='setfacl is missing on this host'
      command -v setfacl >/dev/null 2>&1 || return 1
      _last=$(printf '%s\n' "$_e_text" | setfacl --set-file=- -- "$1/$2" 2>&1 >/dev/null) ;;
  esac
}

# file__preserved WHAT → _b_what: and what else a host's files have.
file__preserved() {
  _b_what=$1,xattr
  [ ! -e /sys/fs/selinux/enforce ] || _b_what=$_b_what,context
}

# file__attributes WHAT FROM… TO: GNU cp carries metadata without a byte; TO is a folder for more than one. WHAT: mode,ownership,timestamps as wanted; ACL
# goes with mode; xattr is added, and the security context where SELinux is on. Named ones must succeed, unlike `all`.
# Status 1: failed (_err) · 2: this cp cannot do it.
file__attributes() {
  file__preserved "$1"
  shift
  file__run cp --attributes-only --preserve="$_b_what" -- "$@" && return 0
  case $_err in
    *nrecognized*option* | *nvalid\ option* | *nknown\ option* | *llegal\ option* | *'without xattr support'*) return 2 ;;
  esac
  return 1
}
