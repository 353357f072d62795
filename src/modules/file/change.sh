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

# file__quote TEXT → _r: TEXT as one word of shell code.
file__quote() {
  file__swap "$1" "'" "'\\''"
  _r="'$_r'"
}

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

# file__temp FOLDER → _tmp: a new empty file that only we can read. Status 1: _err says why not.
file__temp() {
  _t_dir=${1%/}
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

# file__attributes WHAT FROM TO: GNU cp carries metadata without a byte. WHAT: mode,ownership,timestamps as wanted; ACL
# goes with mode; xattr is added, and the security context where SELinux is on. Named ones must succeed, unlike `all`.
# Status 1: failed (_err) · 2: this cp cannot do it.
file__attributes() {
  _b_what=$1,xattr
  [ ! -e /sys/fs/selinux/enforce ] || _b_what=$_b_what,context
  file__run cp --attributes-only --preserve="$_b_what" -- "$2" "$3" && return 0
  case $_err in
    *nrecognized*option* | *nvalid\ option* | *nknown\ option* | *llegal\ option* | *'without xattr support'*) return 2 ;;
  esac
  return 1
}

# ---------------------------------------------------------------------------------------------------------------
# Changing one file's content

# file_put PATH FOLLOW SHA MODE OWNER GROUP FLAGS VALIDATE KIND ARGUMENT (apply): make PATH a file with this content.
#   FOLLOW    as in file_look; `nofollow` refuses a link, `follow` replaces what it leads to
#   SHA       of the new content; what lies in the temporary must match before it is put in place
#   MODE      four octal digits, or `-`: as the old file, or 0644
#   OWNER GROUP  names or numbers, or `-`: as the old file, or the present user
#   FLAGS     `-`, or words joined by commas:
#               links     replace a file that has more hard links (the other names keep the old content)
#               lossy     go on when an ACL or extended attribute of the old file cannot be carried over
#               private   the folder belongs to somebody else (file_walk said `shared`); only for root, who gets it
#                         unasked when the folder itself is not his
#               in_place  write into the existing file: not atomic, for bind-mounted files; its inode stays
#   VALIDATE  empty, or a command: with `%s` it tests the temporary, which has its final owner and mode by then;
#             without, it runs right after the swap, and the old file itself comes back when it fails
#   KIND ARGUMENT  `text FORMAT`: the content as an argument of `printf %b` (`\\`, `\n`, `\0000` for NUL)
#                  `upload PATH`: a temporary that already lies in the same folder; consumed, also on failure
#                  `from PATH`: a file on this host, copied
# Statuses: see the top. Nothing on stdout. Processes for a small new file: 5 to 7, for a replaced one: 8 (GNU).
file_put() { (file__put "$@"); }

file__put() {
  _path=$1 _follow=$2 _want=$3 _newmode=$4 _newowner=$5 _newgroup=$6 _flags=,$7, _check=$8 _from=$9
  shift 9
  _arg=$1 _tmp='' _old='' _cell='' _had='' _carry=''
  # only a name of our own making is ever cleaned up
  case $_from:$_arg in
    upload:*/.mutate.*) _tmp=$_arg ;;
    upload:*) file__stop 1 "the upload $(core_esc "$_arg") is not one of ours" ;;
  esac

  if [ -L "$_path" ]; then
    if [ "$_follow" != follow ]; then
      file__target "$_path"
      file__stop 1 "$(core_esc "$_path") is a link to $(core_esc "$_target"); follow = true would replace what it leads to"
    fi
    file__real "$_path" || file__stop 1 "$(core_esc "$_path") is a link that leads nowhere, so it cannot be followed"
    _path=$_real
  fi
  file__dir "$_path"
  _folder=$_dir
  # where it is worked on: the same unless in a cell
  _at=$_path _beside=$_folder
  case $_flags in
    *,in_place,*) ;;
    *) ! file__strange "$_folder" || _flags=${_flags}private, ;;
  esac
  case $_flags in
    *,private,*,in_place,* | *,in_place,*,private,* | *,in_place,private,* | *,private,in_place,*)
      file__stop 1 "$(core_esc "$_path") is not written in place, because its folder belongs to somebody else" ;;
    *,private,*)
      [ -d "$_folder" ] || file__no_folder
      file__cell "$_folder" || { file__why "$_path"; file__stop 1 "$_why"; }
      _at=../${_path##*/} _beside=. ;;
  esac
  if { [ -e "$_at" ] || [ -L "$_at" ]; } && file__stat "$_at"; then
    _had=1
    case $_kind in
      file) ;;
      dir) file__stop 1 "$(core_esc "$_path") is a folder, and a folder is not replaced by a file" ;;
      *) file__stop 1 "$(core_esc "$_path") is not a regular file but a $_kind, and is left alone" ;;
    esac
    case $_flags in
      *,links,* | *,in_place,*) ;;
      *) [ "$_links" = 1 ] ||
        file__stop 1 "$(core_esc "$_path") has $_links hard links, and replacing it would part them; say that this is wanted, or write in place" ;;
    esac
    _was_mode=$_mode _was_uid=$_uid _was_gid=$_gid _was="$_raw $_uid $_gid $_size $_dev $_ino $_time"
    # what is asked for and already so needs no process
    case $_newowner in "$_owner" | "$_uid") _newowner=- ;; esac
    case $_newgroup in "$_group" | "$_gid") _newgroup=- ;; esac
  elif [ ! -d "$_folder" ]; then
    file__no_folder
  fi

  # the bytes
  case $_from in
    upload)
      file__dir "$_arg"
      if [ "$_dir" != "$_folder" ]; then
        file__stop 1 "the upload $(core_esc "$_arg") does not lie beside $(core_esc "$_path")"
      elif [ -L "$_arg" ] || [ ! -f "$_arg" ]; then
        _tmp=''
        file__stop 1 "the upload $(core_esc "$_arg") is not there"
      elif [ -n "$_cell" ]; then
        _tmp=./new
        file__run mv -f -- "../${_arg##*/}" ./new || { file__why "$_path"; file__stop 1 "$_why"; }
        if ! file__stat ./new || [ "$_kind $_links $_uid" != 'file 1 0' ]; then
          file__stop 4 "the upload $(core_esc "$_arg") was replaced by somebody else just now"
        fi
      fi ;;
    *)
      if [ -n "$_cell" ]; then
        _tmp=./new
      elif ! file__temp "$_folder"; then
        file__why "$_path"
        file__stop 1 "$_why"
      fi
      case $_from in
        text) _err=$({ printf %b "$_arg" >"$_tmp"; } 2>&1) ;;
        from)
          if [ ! -f "$_arg" ]; then file__stop 1 "the source $(core_esc "$_arg") is not a file"; fi
          _err=$({ cat <"$_arg" >"$_tmp"; } 2>&1) ;;
        *) file__stop 1 "file_put does not know the source $_from" ;;
      esac || {
        # dash and busybox do not say what a failed write died of; cat does
        if [ "$_from" = text ]; then _err=$(printf %b "$_arg" | cat 2>&1 >"$_tmp"); fi
        file__why "$_path"
        file__stop 1 "$_why"
      } ;;
  esac

  case $_flags in
    *,in_place,*)
      if [ -n "$_had" ]; then
        file__put_in_place
        exit
      fi ;;
  esac

  # owner, then everything else, then the mode: a write takes set-id bits and capabilities away, and so does chown
  if [ -n "$_had" ]; then
    case $_newowner:$_newgroup in
      -:-) _carry=mode,ownership ;;
      *)
        # what is not asked for stays as it was
        [ "$_newowner" != - ] || _newowner=$_was_uid
        [ "$_newgroup" != - ] || _newgroup=$_was_gid
        file__chown "$_newowner" "$_newgroup" "$_tmp" || file__refuse - "$_newowner" "$_newgroup" "$_path"
        _carry=mode ;;
    esac
    [ "$_newmode" != - ] || _newmode=$_was_mode
    file__attributes "$_carry" "$_at" "$_tmp"
    _done=$?
    if [ "$_done" = 0 ]; then
      [ "$_newmode" = "$_was_mode" ] || file__chmod "$_newmode" "$_tmp" || { file__why "$_path"; file__stop 1 "$_why"; }
    else
      if [ "$_carry" = mode,ownership ]; then
        file__chown "$_was_uid" "$_was_gid" "$_tmp" || file__stop 1 "the owner of $(core_esc "$_path") cannot be kept: $_err"
      fi
      if [ "$_done" = 2 ]; then
        file__extras "$_at"
        file__extras_put "$_beside" "${_tmp##*/}"
        _done=$?
      fi
      case $_done:$_flags in
        0:* | *,lossy,*) ;;
        *) file__stop 1 "the ACL or extended attributes of $(core_esc "$_path") cannot be carried over ($_last); lossy_metadata = true goes on without" ;;
      esac
      file__chmod "$_newmode" "$_tmp" || { file__why "$_path"; file__stop 1 "$_why"; }
    fi
  else
    [ "$_newmode" != - ] || _newmode=0644
    file__chown "$_newowner" "$_newgroup" "$_tmp" || file__refuse - "$_newowner" "$_newgroup" "$_path"
    if [ "$_newmode" != 0600 ] || [ "$_from" = upload ] || [ "$_newowner:$_newgroup" != -:- ]; then
      file__chmod "$_newmode" "$_tmp" || { file__why "$_path"; file__stop 1 "$_why"; }
    fi
  fi

  file__put_verify
  case $_check in
    *%s*)
      _candidate=$_tmp
      [ -z "$_cell" ] || _candidate=$_cell/new
      file__validate "$_check" "$_candidate" ||
        file__stop 5 "the validator refuses the new $(core_esc "$_path"); the old one is untouched"
      # what a validator writes is not what was asked for
      file__put_verify ;;
  esac
  file__sync "$_tmp" || { file__why "$_path"; file__stop 1 "$_why"; }

  # still what it was a moment ago, and is the temporary what it should be?
  if [ -n "$_had" ]; then
    _two=$(stat -c '%f %u %g %s %d %i %Y' -- "$_tmp" "$_at" 2>/dev/null)
    case $_two in
      *"$n"*)
        _now=${_two#*"$n"}
        # shellcheck disable=SC2086 # numbers
        set -- $_two
        _uid=$2 _gid=$3
        file__digits $((0x$1)) ;;
      *)
        _now=''
        if file__stat "$_at"; then _now="$_raw $_uid $_gid $_size $_dev $_ino $_time"; fi
        file__stat "$_tmp" || file__stop 4 "the temporary file beside $(core_esc "$_path") was taken away" ;;
    esac
    if [ "$_mode" != "$_newmode" ]; then
      file__stop 1 "the mode of the new $(core_esc "$_path") would be $_mode instead of $_newmode"
    elif [ "$_carry" = mode,ownership ] && [ "$_uid:$_gid" != "$_was_uid:$_was_gid" ]; then
      file__stop 1 "this user cannot keep the owner of $(core_esc "$_path") (uid $_was_uid, gid $_was_gid); become may help"
    fi
    if [ "$_was" != "$_now" ]; then
      file__stop 4 "$(core_esc "$_path") was changed by somebody else just now"
    fi
  elif [ -e "$_at" ] || [ -L "$_at" ]; then
    file__stop 4 "$(core_esc "$_path") was made by somebody else just now"
  fi

  case $_check in
    *%s* | '') ;;
    *) [ -z "$_had" ] || file__put_aside ;;
  esac
  if ! file__move "$_tmp" "$_at"; then
    file__why "$_path"
    file__stop 1 "$_why"
  fi
  _tmp=''
  file__sync "$_beside" ${_cell:+..} || { file__why "$_path"; file__stop 6 "$(core_esc "$_path") is new, but the folder could not be synced: $_why"; }

  case $_check in
    *%s* | '') ;;
    *)
      if ! file__validate "$_check" ''; then
        if [ -n "$_had" ]; then
          file__move "$_old" "$_at" || {
            _aside=$_old _old='' _cell=''
            file__stop 6 "the validator refuses the new $(core_esc "$_path"), and the old one could not be put back; it is $(core_esc "$_aside")"
          }
          _old=''
        else
          rm -f -- "$_at"
        fi
        file__sync "$_beside" ${_cell:+..}
        file__stop 5 "the validator refuses the new $(core_esc "$_path"); the old state is back"
      fi
      ;;
  esac
  file__drop
  exit 0
}

# file__put_verify: does the temporary hold what was asked for?
file__put_verify() {
  file__sha "$_tmp"
  case $? in
    0) ;;
    2) file__stop 1 "$file__no_sha" ;;
    *) file__stop 1 "the new content of $(core_esc "$_path") could not be read back" ;;
  esac
  [ "$_sha" = "$_want" ] ||
    file__stop 1 "what was written for $(core_esc "$_path") is not what was sent (SHA-256 $_sha); the old file is untouched"
}

# file__validate COMMAND CANDIDATE: every `%s` becomes the quoted CANDIDATE. What it prints goes to stderr.
# The user's text gets the surroundings that a user expects: globs and a usual umask.
file__validate() {
  file__quote "$2"
  [ -z "$2" ] || file__swap "$1" %s "$_r"
  [ -n "$2" ] || _r=$1
  (
    set +f
    umask 022
    eval "$_r"
  ) </dev/null >&2
}

# file__put_aside → _old: a second name for the old file, so that exactly it can come back. Where the file system has
# no hard links, a copy with all metadata.
file__put_aside() {
  _old=$_tmp.old
  file__run ln -- "$_at" "$_old" && return 0
  file__run cp -p --preserve=all -- "$_at" "$_old" && return 0
  _old=''
  file__stop 1 "the old $(core_esc "$_path") cannot be kept aside for the validator: $_err"
}

# file__put_in_place: the way of last resort. The old bytes are kept beside it until the new ones are verified.
file__put_in_place() {
  file__put_verify
  case $_check in
    *%s*)
      if [ "$_newmode" != - ]; then file__chmod "$_newmode" "$_tmp"; else file__chmod "$_was_mode" "$_tmp"; fi
      file__validate "$_check" "$_tmp" ||
        file__stop 5 "the validator refuses the new $(core_esc "$_path"); the old one is untouched"
      file__put_verify ;;
  esac
  _new=$_tmp
  if ! file__temp "$_folder"; then
    _tmp=$_new
    file__why "$_path"
    file__stop 1 "$_why"
  fi
  _old=$_tmp _tmp=$_new
  if _err=$({ cat <"$_path" >"$_old"; } 2>&1) && file__sync "$_old"; then
    :
  else
    file__why "$_path"
    file__stop 1 "$_why"
  fi
  if _err=$({ cat <"$_tmp" >"$_path"; } 2>&1) && file__sync "$_path" && file__sha "$_path" && [ "$_sha" = "$_want" ]; then
    :
  else
    file__why "$_path"
    file__put_old "$_why"
  fi
  # writing took set-id bits away: the mode is set again even when it is to stay
  [ "$_newmode" != - ] || _newmode=$_was_mode
  if file__chown "$_newowner" "$_newgroup" "$_path" && file__chmod "$_newmode" "$_path"; then
    :
  else
    file__why "$_path"
    file__put_old "$_why"
  fi
  case $_check in
    *%s* | '') ;;
    *) file__validate "$_check" '' || file__put_old "the validator refuses it" 5 ;;
  esac
  file__drop
}

# file__put_old SENTENCE [STATUS]: write the old bytes back in place.
file__put_old() {
  if _err=$({ cat <"$_old" >"$_path"; } 2>&1) && file__sync "$_path"; then
    file__chown "$_was_uid" "$_was_gid" "$_path"
    file__chmod "$_was_mode" "$_path"
    file__stop "${2-1}" "$1; the old content of $(core_esc "$_path") is back"
  fi
  _aside=$_old _old=''
  file__stop 6 "$1; the old content of $(core_esc "$_path") could not be written back and is in $(core_esc "$_aside")"
}

# ---------------------------------------------------------------------------------------------------------------
# Changing everything else about a path

# file__give PATH MODE OWNER GROUP: what is asked for, owner first. chown takes set-id bits and capabilities away, so what
# was there and is to stay is given back.
file__give() {
  _g_mode=$2 _g_cap=''
  if [ "$3:$4" != -:- ]; then
    file__stat "$1" || { _err="$1: No such file"; return 1; }
    _g_owner=$3 _g_group=$4
    case $_g_owner in "$_owner" | "$_uid") _g_owner=- ;; esac
    case $_g_group in "$_group" | "$_gid") _g_group=- ;; esac
    if [ "$_g_owner:$_g_group" != -:- ]; then
      case $_kind:$_mode in
        file:?*[1357]*)
          if command -v getfattr >/dev/null 2>&1; then
            _g_cap=$(getfattr -h --only-values -e text -n security.capability -- "$1" 2>/dev/null | od -An -v -t x1 | tr -d ' \n')
          elif command -v getcap >/dev/null 2>&1; then
            _g_cap=$(getcap -- "$1" 2>/dev/null)
            _g_cap=${_g_cap##* }
          fi ;;
      esac
      file__chown "$_g_owner" "$_g_group" "$1" || return 1
      if [ "$_g_mode" = - ] && [ "$_kind" != link ]; then
        case $_mode in 0*) ;; *) _g_mode=$_mode ;; esac
      fi
      case $_g_cap in
        '') ;;
        *=* | *+*) file__run setcap -- "$_g_cap" "$1" || return 1 ;;
        *) file__run setfattr -h -n security.capability -v "0x$_g_cap" -- "$1" || return 1 ;;
      esac
    fi
  fi
  [ "$_g_mode" = - ] || file__chmod "$_g_mode" "$1"
}

# file_meta PATH MODE OWNER GROUP [private] (apply): set what is not `-`. A link gets its own owner; it has no mode.
# `private` as in file_put: chmod follows links, so it gets a second name of the file that its owner cannot swap.
# Processes: mode alone 2; with owner or group 3 or 4.
file_meta() { (file__meta "$@"); }

file__meta() {
  _tmp='' _old='' _cell=''
  file__dir "$1"
  if [ ! -L "$1" ] && { [ "${5-}" = private ] || file__strange "$_dir"; }; then
    if [ "$2" != - ] || [ -f "$1" ] || [ -d "$1" ]; then
      file__dir "$1"
      file__meta_private "$@"
      exit
    fi
  fi
  if [ -L "$1" ]; then
    [ "$2" = - ] || file__stop 1 "$(core_esc "$1") is a link, and a link has no mode of its own"
    file__give "$@" || file__stop 1 "the owner of $(core_esc "$1") cannot be set: $_last"
    file__dir "$1"
    file__sync "$_dir"
    exit
  fi
  file__give "$@" || file__refuse "$2" "$3" "$4" "$1"
  # opening a fifo or a device to sync it would wait or do harm
  if [ -f "$1" ] || [ -d "$1" ]; then file__sync "$1"; else file__run sync; fi || { file__why "$1"; file__stop 6 "$_why"; }
}

# file__meta_private PATH MODE OWNER GROUP: with $_dir the folder of PATH.
file__meta_private() {
  if [ -d "$1" ]; then
    # a folder that one is in cannot be swapped
    file__physical "$_dir"
    _want=${_physical%/}/${1##*/}
    CDPATH='' cd -P -- "$1" 2>/dev/null || _want=''
    if [ "$(pwd -P; printf x)" != "$_want${n}x" ]; then
      file__stop 4 "$(core_esc "$1") was replaced by somebody else just now"
    fi
    file__give . "$2" "$3" "$4" || file__refuse "$2" "$3" "$4" "$1"
    file__sync . || { file__why "$1"; file__stop 6 "$_why"; }
    return 0
  fi
  file__cell "$_dir" || { file__why "$1"; file__stop 1 "$_why"; }
  file__run ln -- "../${1##*/}" ./new || { file__why "$1"; file__stop 1 "$_why"; }
  file__stat ./new
  case "$_kind $_links" in
    'file 2') ;;
    file*) file__stop 1 "$(core_esc "$1") has more hard links, and its folder belongs to somebody else, so its mode is not changed" ;;
    *) file__stop 1 "$(core_esc "$1") is not a file, and its folder belongs to somebody else, so its mode is not changed" ;;
  esac
  file__give ./new "$2" "$3" "$4" || file__refuse "$2" "$3" "$4" "$1"
  file__sync ./new || { file__why "$1"; file__stop 6 "$_why"; }
  file__drop
}

# file_dir PATH MODE OWNER GROUP (apply): make the folder. Missing folders above it get 0755 and the present user, the
# last one gets what is asked for (`-`: 0755, present user). One that is there gets what is asked for.
# Processes: mkdir, sync; one mkdir more for parents, chown and chmod where asked.
file_dir() { (file__make_dir "$@"); }

file__make_dir() {
  _tmp='' _old=''
  if [ -d "$1" ]; then
    if [ -L "$1" ]; then file__stop 1 "$(core_esc "$1") is a link to a folder"; fi
    file__meta "$@"
    exit
  elif [ -e "$1" ] || [ -L "$1" ]; then
    file__stop 1 "$(core_esc "$1") is there and is not a folder"
  fi
  file__top "$1"
  file__dir "$1"
  _folder=$_dir
  umask 022
  [ -d "$_folder" ] || file__run mkdir -p -- "$_folder" || { file__why "$_folder"; file__unmake "$_folder" "$_top"; file__stop 1 "$_why"; }
  # five digits are exact; four leave a set-gid bit that the folder above hands down
  _make=0$2
  [ "$2" != - ] || _make=0755
  _first=$_make
  # until it has its owner it is closed
  [ "$3:$4" = -:- ] || _first=0700
  file__run mkdir -m "$_first" -- "$1" || { file__why "$1"; file__unmake "$_folder" "$_top"; file__stop 1 "$_why"; }
  if [ "$3:$4" != -:- ]; then
    if file__chown "$3" "$4" "$1" && file__run chmod -- "$_make" "$1"; then
      :
    else
      _why="mode $_make, owner $3, group $4 cannot be given to $(core_esc "$1"): $_last"
      file__unmake "$1" "$_top"
      file__stop 1 "$_why"
    fi
  fi
  file__dir "$_top"
  file__sync "$1" "$_folder" "$_dir" || { file__why "$1"; file__stop 6 "$_why"; }
}

# file__top PATH → _top: the topmost part of PATH that is missing.
file__top() {
  _top=$1
  file__dir "$1"
  while [ ! -e "$_dir" ] && [ ! -L "$_dir" ]; do
    _top=$_dir
    file__dir "$_top"
  done
}

# file__unmake PATH TOP: remove empty folders from PATH up to TOP. Status 1: one of them is not empty (_left).
file__unmake() {
  _left=$1
  while :; do
    case $_left in "$2" | "$2"/*) ;; *) return 0 ;; esac
    if [ -d "$_left" ]; then file__run rmdir -- "$_left" || return 1; fi
    file__dir "$_left"
    _left=$_dir
  done
}

# file_dir_back PATH TOP (apply): the undo of making a folder: remove it and the folders above it up to TOP (what
# `parent missing` said, or PATH itself), each only when it is empty.
file_dir_back() {
  (
    _tmp='' _old=''
    file__unmake "$1" "$2" || file__stop 1 "$(core_esc "$_left") is not removed: $_last"
    file__dir "$2"
    file__sync "$_dir" || { file__why "$2"; file__stop 6 "$_why"; }
  )
}

# file_link PATH TARGET FORCE (apply): make PATH a symbolic link to TARGET. FORCE `-`: replace nothing but another
# link; `force`: replace a file, fifo or socket too. A folder is never replaced. Processes: 2 new, 3 replacing.
file_link() { (file__make_link sym "$@"); }

# file_hard PATH SOURCE FORCE (apply): make PATH another name of the file SOURCE. As file_link.
file_hard() {
  (
    if [ -L "$2" ] || [ ! -f "$2" ]; then
      file__stop 1 "$(core_esc "$2") is not a file, so it cannot get a second name"
    fi
    file__make_link hard "$@"
  )
}

file__ln() {
  if [ "$_sym" = sym ]; then file__run ln -s -- "$_to" "$1"; else file__run ln -- "$_to" "$1"; fi
}

file__make_link() {
  _sym=$1 _path=$2 _to=$3 _tmp='' _old=''
  file__dir "$_path"
  _folder=$_dir
  [ -d "$_folder" ] || file__no_folder
  if [ -d "$_path" ] && [ ! -L "$_path" ]; then
    file__stop 1 "$(core_esc "$_path") is a folder; remove it first (state = \"absent\")"
  elif [ ! -L "$_path" ] && [ -e "$_path" ] && [ "$4" != force ]; then
    file__stop 1 "$(core_esc "$_path") is there and is not a link; force = true would replace it"
  elif [ ! -L "$_path" ] && [ ! -e "$_path" ]; then
    file__ln "$_path" || { file__why "$_path"; file__stop 1 "$_why"; }
  else
    file__name "$_folder"
    file__ln "$_tmp" || { file__why "$_path"; _tmp=''; file__stop 1 "$_why"; }
    if ! file__move "$_tmp" "$_path"; then
      case $_err in
        *'are the same file'*) ;;
        *) file__why "$_path"; file__stop 1 "$_why" ;;
      esac
    fi
    # renaming one name of a file over another name of the same file does nothing
    if [ -e "$_tmp" ] || [ -L "$_tmp" ]; then rm -f -- "$_tmp"; fi
    _tmp=''
  fi
  file__sync "$_folder" || { file__why "$_path"; file__stop 6 "$_why"; }
}

# file_touch PATH MODE OWNER GROUP [TIME] (apply): make an empty file, or set the times of what is there to now, or to
# TIME (seconds since 1970). Does not follow a link (use the answer's `at`).
file_touch() {
  (
    _tmp='' _old=''
    if [ -L "$1" ]; then
      file__stop 1 "$(core_esc "$1") is a link; its times are not touched"
    elif [ ! -e "$1" ]; then
      file__touch_new "$@"
    fi
    file__run touch -c ${5:+-d "@$5"} -- "$1" || { file__why "$1"; file__stop 1 "$_why"; }
    file__meta "$1" "$2" "$3" "$4"
  )
}

file__touch_new() {
  file_put "$1" nofollow e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 "$2" "$3" "$4" - '' text '' || exit
  [ -n "${5-}" ] || exit 0
}

# file_absent PATH [tree] (apply): remove a file, link, fifo, empty folder, or with `tree` a folder and all in it.
# Never follows a link, never enters another file system, never takes a part of the system's skeleton.
file_absent() { (file__absent "$@"); }

file__absent() {
  _path=$1 _tmp='' _old=''
  if [ ! -e "$_path" ] && [ ! -L "$_path" ]; then return 0; fi
  file__dir "$_path"
  _folder=$_dir
  if [ -L "$_path" ] || [ ! -d "$_path" ]; then
    file__run rm -f -- "$_path" || { file__why "$_path"; file__stop 1 "$_why"; }
  else
    file__guard "$_path"
    if [ "${2-}" != tree ]; then
      file__run rmdir -- "$_path" || { file__why "$_path"; file__stop 1 "$_why"; }
    else
      file__unmounted "$_path"
      if ! file__run rm -rf --one-file-system -- "$_path"; then
        case $_err in
          *nrecognized*option* | *nvalid\ option* | *nknown\ option* | *llegal\ option*) file__run rm -rf -- "$_path" ;;
          *) false ;;
        esac || { file__why "$_path"; file__stop 1 "$_why"; }
      fi
    fi
  fi
  file__sync "$_folder" || { file__why "$_path"; file__stop 6 "$_why"; }
}

# file__guard FOLDER [meta]: stop when it is one that a system cannot do without, whatever way leads to it. With `meta`
# (it is to get owners and modes throughout, not to go away) fewer are.
file__guard() {
  file__physical "$1"
  for _q in "$1" "$_physical"; do
    file__single "$_q"
    _q=$_r
    case $_q in
      '' | / | */. | */.. | */./* | */../* | */) ;;
      /bin | /boot | /dev | /etc | /lib | /lib32 | /lib64 | /libx32 | /proc | /root | /run | /sbin | /sys | /tmp | /usr | /var) ;;
      /home | /media | /mnt | /opt | /srv) [ "${2-}" != meta ] || continue ;;
      /dev/* | /proc/* | /sys/*) ;;
      /usr/bin | /usr/include | /usr/lib | /usr/lib32 | /usr/lib64 | /usr/libexec | /usr/local | /usr/local/bin | /usr/local/lib | /usr/local/sbin | /usr/sbin | /usr/share | /usr/src) ;;
      /var/cache | /var/lib | /var/lib/dpkg | /var/lib/rpm | /var/lib/pacman | /var/lib/mutate | /var/local | /var/lock | /var/log | /var/mail | /var/opt | /var/run | /var/spool | /var/tmp) ;;
      /etc/ssh | /etc/pam.d | /etc/systemd | /lib/modules | /usr/lib/modules | /usr/lib/systemd) ;;
      "${HOME:-/root}") ;;
      *) continue ;;
    esac
    file__stop 1 "$(core_esc "$1") is a part that this system cannot do without, and is not removed"
  done
  case ${core_store-}/ in
    "$_q"/*) file__stop 1 "$(core_esc "$1") holds what mutate remembers of this host, and is not removed" ;;
  esac
}

# file__unmounted FOLDER: stop when anything is mounted there or below.
file__unmounted() {
  file__physical "$1"
  file__mount_below "${_physical:-$1}"
  case $? in
    0) file__stop 1 "something is mounted on $(core_esc "$_m_at"), so $(core_esc "$1") is left as it is; unmount it first" ;;
    2) file__stop 1 "this host does not tell what is mounted (no /proc), so $(core_esc "$1") is left as it is" ;;
  esac
}

# file__fix SPEC EXPRESSION: append to _fix the find expression that puts it right where EXPRESSION holds.
file__fix() {
  file__spec "$1" || return 0
  case $1 in
    +*)
      _change=''
      file__letters + "$_set"
      file__letters - "$_clear"
      _change=${_change#,} ;;
    *) _change=0$1 ;;
  esac
  _fix="${_fix:+$_fix -o }$2 ( $_differs ) -exec chmod -- $_change {} +"
}

# file__letters SIGN MODE: append MODE to _change as chmod's letters.
file__letters() {
  case $2 in 4*|5*|6*|7*) _change="$_change,u${1}s" ;; esac
  case $2 in 2*|3*|6*|7*) _change="$_change,g${1}s" ;; esac
  case $2 in 1*|3*|5*|7*) _change="$_change,${1}t" ;; esac
  file__triple "u$1" "${2#?}"
  file__triple "g$1" "${2#??}"
  file__triple "o$1" "${2#???}"
}

file__triple() {
  case $2 in
    1*) _change="$_change,${1}x" ;; 2*) _change="$_change,${1}w" ;; 3*) _change="$_change,${1}wx" ;;
    4*) _change="$_change,${1}r" ;; 5*) _change="$_change,${1}rx" ;; 6*) _change="$_change,${1}rw" ;;
    7*) _change="$_change,${1}rwx" ;;
  esac
}

# file_tree_meta PATH MODE OWNER GROUP (apply): put right what file_tree_look counts. Owner first (a folder's and a
# file's set-id bits do not survive a change of owner), without following links.
file_tree_meta() { (file__tree_meta "$@"); }

file__tree_meta() {
  _tmp='' _old=''
  if [ -L "$1" ] || [ ! -d "$1" ]; then file__stop 1 "$(core_esc "$1") is not a folder"; fi
  file__guard "$1" meta
  case $3:$4 in
    -:-) _find='' ;;
    -:*) _find='! -group _G' ;;
    *:-) _find='! -user _U' ;;
    *) _find='( ! -user _U -o ! -group _G )' ;;
  esac
  if [ -n "$_find" ]; then
    # chown takes set-id bits away from files, which nobody has asked for
    if file__run file__tree_find "$1" "$3" "$4" "$_find -type f ( -perm -4000 -o -perm -2000 ) -exec sh -c _KEEPING sh _UG {} +"; then
      file__run file__tree_find "$1" "$3" "$4" "$_find -exec chown -h -- _UG {} +"
    else
      false
    fi ||
      file__stop 1 "the owner could not be set everywhere in $(core_esc "$1"): $_last"
  fi
  _fix=''
  file__branches "$2" file__fix
  if [ -n "$_fix" ]; then
    file__run file__tree_find "$1" - - "$_fix" ||
      file__stop 1 "the mode could not be set everywhere in $(core_esc "$1"): $_last"
  fi
  file__run sync -f -- "$1" || file__run sync || { file__why "$1"; file__stop 6 "$_why"; }
}

# ---------------------------------------------------------------------------------------------------------------
# The store of pre-images
#
# $core_store holds contents under their SHA-256 (each once), and beside them what belongs to one pre-image:
#   HASH        the content of a file (0600)
#   meta.ID     an empty file that GNU cp gave all metadata of the old one (owner, mode, times, ACL, attributes, label)
#   attr.ID     on hosts without GNU cp: ACL and attributes as text
#   tree.ID     a copy of a whole tree
#   list.ID     owners and modes in a tree: lines `MODE+UID+GID+PATH`
# A record is one line, and with the store it is all that is needed to bring back exactly what was there:
#   absent
#   file MODE UID GID TIME SIZE HASH META     (TIME in seconds since 1970, or `-`: unknown; META: `meta.ID`, `attr.ID`, or `-`: nothing beyond what the record says)
#   link UID GID TARGET                       (escaped)
#   dir MODE UID GID TIME
#   fifo MODE UID GID
#   tree MODE UID GID TREE                    (tree.ID)
#   modes COUNT LIST                          (list.ID)
#   way TOP                                   (escaped: nothing is there, and TOP is the topmost part that is missing)

# file__room PATH KIBIBYTES: stop when the store's file system has less room than twice that and 1 MiB.
file__room() {
  [ "$2" -gt 1024 ] || return 0
  _o_free=$(df -Pk -- "$core_store" 2>/dev/null) || return 0
  _o_free=${_o_free##*"$n"}
  # shellcheck disable=SC2086 # columns
  set -- "$1" "$2" $_o_free
  case ${6-} in '' | *[!0-9]*) return 0 ;; esac
  [ "$6" -ge $(($2 * 2 + 1024)) ] ||
    file__stop 1 "the backup of $(core_esc "$1") needs $(($2 * 2 + 1024)) KiB in $(core_esc "$core_store"), where $6 KiB are free"
}

# file__id PREFIX → _id: a name in the store that is not taken. The store is ours alone (0700), so no race.
file__id() {
  _id_no=0
  while :; do
    _id_no=$((_id_no + 1))
    _id=$1.$core_run.$_id_no
    [ -e "$core_store/$_id" ] || return 0
  done
}

# file_keep PATH (apply): put what is at PATH into the store, durably, and print its record. A folder: its own
# metadata only. Processes: absent 0, link 1, folder 1, file 6 (GNU).
file_keep() { (file__keep "$@"); }

file__keep() {
  _tmp='' _old=''
  if [ ! -e "$1" ] && [ ! -L "$1" ]; then
    printf 'absent\n'
    exit 0
  fi
  file__stat "$1" || file__stop 1 "$(core_esc "$1") cannot be examined"
  # without `stat` the time is a text that only serves to compare
  case $_time in *[!0-9]*) _time=- ;; esac
  case $_kind in
    link) printf '%s\n' "link $_uid $_gid $(core_esc "$_target")"; exit 0 ;;
    dir) printf '%s\n' "dir $_mode $_uid $_gid $_time"; exit 0 ;;
    fifo) printf '%s\n' "fifo $_mode $_uid $_gid"; exit 0 ;;
    file) ;;
    *) file__stop 1 "$(core_esc "$1") is a $_kind, which cannot be backed up" ;;
  esac
  file__room "$1" $((_size / 1024))
  _record="file $_mode $_uid $_gid $_time $_size"
  file__id meta
  _meta=$_id
  _old=$core_store/$_meta
  _err=$({ printf '' >"$_old"; } 2>&1) || { file__why "$_old"; file__stop 1 "$_why"; }
  file__attributes mode,ownership,timestamps "$1" "$_old"
  case $? in
    0) ;;
    2)
      rm -f -- "$_old"
      _old='' _meta=-
      file__extras "$1"
      if [ -n "$_extras" ]; then
        file__id attr
        _meta=$_id
        _old=$core_store/$_meta
        if [ "$_extras" = capability ]; then
          _old=''
          file__stop 1 "$(core_esc "$1") has a capability that cannot be backed up, because getfattr is missing on this host"
        fi
        _err=$({ printf '%s\n' "$_extras" >"$_old"; } 2>&1) || { file__why "$_old"; file__stop 1 "$_why"; }
      fi ;;
    *) file__stop 1 "the metadata of $(core_esc "$1") cannot be kept in $(core_esc "$core_store"): $_last" ;;
  esac
  _tmp=$core_store/.part.$core_run.$$
  _err=$({ cat <"$1" >"$_tmp"; } 2>&1) || { file__why "$_tmp"; file__stop 1 "the backup of $(core_esc "$1") failed: $_why"; }
  file__sha "$_tmp"
  case $? in
    0) ;;
    2) file__stop 1 "$file__no_sha" ;;
    *) file__stop 1 "the backup of $(core_esc "$1") could not be read back" ;;
  esac
  # the same content that is already there is replaced by itself: this also mends one that a crash left half written
  file__run mv -f -- "$_tmp" "$core_store/$_sha" || { file__why "$core_store/$_sha"; file__stop 1 "$_why"; }
  _tmp=''
  file__sync "$core_store/$_sha" ${_old:+"$_old"} "$core_store" || { file__why "$core_store/$_sha"; file__stop 1 "the backup of $(core_esc "$1") failed: $_why"; }
  _old=''
  printf '%s\n' "$_record $_sha $_meta"
}

# file_keep_way PATH (apply): print the record of what is missing of PATH, before file_dir makes it.
file_keep_way() {
  file__top "$1"
  printf '%s\n' "way $(core_esc "$_top")"
}

# file_keep_tree PATH (apply): as file_keep, a folder with all that is in it. Not across file systems.
file_keep_tree() { (file__keep_tree "$@"); }

file__keep_tree() {
  _tmp='' _old=''
  if [ -L "$1" ] || [ ! -d "$1" ]; then
    file__keep "$1"
    exit
  fi
  file__stat "$1" || file__stop 1 "$(core_esc "$1") cannot be examined"
  _record="tree $_mode $_uid $_gid"
  file__unmounted "$1"
  _used=$(du -skx -- "$1" 2>/dev/null)
  _used=${_used%%[!0-9]*}
  file__room "$1" "${_used:-0}"
  file__id tree
  _old=$core_store/$_id
  file__copy_tree "$1" "$_old" || { file__why "$_old"; file__stop 1 "the backup of $(core_esc "$1") failed: $_why"; }
  file__run sync -f -- "$_old" || file__run sync || { file__why "$_old"; file__stop 1 "$_why"; }
  _old=''
  printf '%s\n' "$_record $_id"
}

# file__copy_tree FROM TO: TO does not exist. GNU cp -a forgives attributes that it cannot carry, naming them does not.
# busybox cp -a loses ACLs and attributes.
file__copy_tree() {
  file__run cp -a --preserve=mode,ownership,timestamps,links,xattr -- "$1" "$2" && return 0
  case $_err in
    *nrecognized*option* | *nvalid\ option* | *nknown\ option* | *llegal\ option* | *'without xattr support'*) file__run cp -a -- "$1" "$2" ;;
    *) return 1 ;;
  esac
}

# file_keep_modes PATH MODE OWNER GROUP (apply): keep owners and modes of what file_tree_look counts, before
# file_tree_meta changes them. Refused when such a path has a newline: the list would be ambiguous.
file_keep_modes() { (file__keep_modes "$@"); }

file__keep_modes() {
  _tmp='' _old=''
  file__tree "$2" "$3" "$4"
  [ -n "$_find" ] || { printf 'modes 0 -\n'; exit 0; }
  case $1 in *"$n"*) file__stop 1 "$(core_esc "$1") has a newline in its name, so its owners and modes cannot be listed" ;; esac
  _odd=$(file__tree_find "$1" "$3" "$4" "( $_find ) -path _N -print" 2>/dev/null)
  [ -z "$_odd" ] || file__stop 1 "a name in $(core_esc "$1") has a newline, so its owners and modes cannot be listed"
  file__id list
  _old=$core_store/$_id
  _err=$({ file__tree_find "$1" "$3" "$4" "( $_find ) -exec stat -c %a+%u+%g+%n -- {} +" >"$_old"; } 2>&1) ||
    file__stop 1 "the owners and modes in $(core_esc "$1") cannot be listed: $_last"
  file__sync "$_old" "$core_store" || { file__why "$_old"; file__stop 1 "$_why"; }
  _count=$(wc -l <"$_old")
  _old=''
  printf '%s\n' "modes $((_count)) $_id"
}

# file_back PATH RECORD [private] (apply): make PATH again what the record says. Replaces what is there (the controller has
# compared it with what it wrote); a folder is removed only when it is empty, and a tree only for a tree.
file_back() { (file__back "$@"); }

file__back() {
  _path=$1 _tmp='' _old='' _cell='' _private=${3-}
  file__dir "$_path"
  _folder=$_dir _at=$_path _beside=$_folder
  ! file__strange "$_folder" || _private=private
  # shellcheck disable=SC2086 # fields; a link's target is taken from the record itself
  set -- "$2" $2
  _record=$1
  shift
  case $1 in
    absent) file__absent "$_path"; exit ;;
    way)
      file__unesc "${_record#* }"
      file_dir_back "$_path" "$_r"
      exit ;;
    modes) file__back_modes "$3"; exit ;;
  esac
  [ -d "$_folder" ] || file__no_folder
  case $1 in
    file)
      if [ -d "$_path" ] && [ ! -L "$_path" ]; then file__stop 1 "$(core_esc "$_path") is a folder now; it is not replaced by the old file"; fi
      [ -f "$core_store/$7" ] || file__stop 1 "the backup of $(core_esc "$_path") is no longer in $(core_esc "$core_store")"
      if [ "$_private" = private ]; then
        file__cell "$_folder" || { file__why "$_path"; file__stop 1 "$_why"; }
        _tmp=./new _at=../${_path##*/} _beside=.
      else
        file__temp "$_folder" || { file__why "$_path"; file__stop 1 "$_why"; }
      fi
      _err=$({ cat <"$core_store/$7" >"$_tmp"; } 2>&1) || { file__why "$_path"; file__stop 1 "$_why"; }
      file__sha "$_tmp"
      [ "$_sha" = "$7" ] || file__stop 1 "the backup of $(core_esc "$_path") in $(core_esc "$core_store") is damaged"
      case $8 in
        meta.*)
          [ -f "$core_store/$8" ] || file__stop 1 "the backup of the metadata of $(core_esc "$_path") is no longer in $(core_esc "$core_store")"
          file__attributes mode,ownership,timestamps "$core_store/$8" "$_tmp" ||
            file__stop 1 "the metadata of $(core_esc "$_path") cannot be put back: $_last" ;;
        *)
          file__back_owner "$3" "$4" "$2"
          if [ "$8" != - ]; then
            _extras=$({ cat <"$core_store/$8"; } 2>/dev/null)
            case $_extras in
              '') file__stop 1 "the backup of the metadata of $(core_esc "$_path") is no longer in $(core_esc "$core_store")" ;;
            esac
            file__extras_put "$_beside" "${_tmp##*/}" || file__stop 1 "the metadata of $(core_esc "$_path") cannot be put back: $_last"
          fi
          file__chmod "$2" "$_tmp" || { file__why "$_path"; file__stop 1 "$_why"; }
          [ "$5" = - ] || file__run touch -d "@$5" -- "$_tmp" || file__stop 1 "the time of $(core_esc "$_path") cannot be put back: $_last" ;;
      esac
      file__stat "$_tmp"
      [ "$_mode $_uid $_gid" = "$2 $3 $4" ] ||
        file__stop 1 "this user cannot give $(core_esc "$_path") its old owner and mode back (uid $3, gid $4, $2); become may help"
      file__sync "$_tmp" || { file__why "$_path"; file__stop 1 "$_why"; } ;;
    link)
      if [ -d "$_path" ] && [ ! -L "$_path" ]; then file__stop 1 "$(core_esc "$_path") is a folder now; it is not replaced by the old link"; fi
      file__unesc "${_record#* * * }"
      file__name "$_folder"
      file__run ln -s -- "$_r" "$_tmp" || { file__why "$_path"; file__stop 1 "$_why"; }
      file__back_owner "$2" "$3" - ;;
    fifo)
      if [ -d "$_path" ] && [ ! -L "$_path" ]; then file__stop 1 "$(core_esc "$_path") is a folder now; it is not replaced by the old fifo"; fi
      file__name "$_folder"
      file__run mkfifo -m 0600 -- "$_tmp" || { file__why "$_path"; file__stop 1 "$_why"; }
      file__back_owner "$3" "$4" "$2" ;;
    dir)
      if [ -d "$_path" ] && [ ! -L "$_path" ]; then
        file__give "$_path" "$2" "$3" "$4" || file__stop 1 "the owner and mode of $(core_esc "$_path") cannot be put back: $_last"
        file__sync "$_path"
        exit
      fi
      if [ -e "$_path" ] || [ -L "$_path" ]; then file__stop 1 "$(core_esc "$_path") is no longer a folder; it is not replaced by the old one"; fi
      file__name "$_folder"
      file__run mkdir -m 0700 -- "$_tmp" || { file__why "$_path"; file__stop 1 "$_why"; }
      file__back_owner "$3" "$4" "$2"
      [ "$5" = - ] || file__run touch -d "@$5" -- "$_tmp" ;;
    tree)
      [ -d "$core_store/$5" ] || file__stop 1 "the backup of $(core_esc "$_path") is no longer in $(core_esc "$core_store")"
      if [ -e "$_path" ] || [ -L "$_path" ]; then
        if [ -L "$_path" ] || [ ! -d "$_path" ]; then file__stop 1 "$(core_esc "$_path") is no longer a folder; it is not replaced by the old one"; fi
        file__guard "$_path"
        file__unmounted "$_path"
      fi
      file__name "$_folder"
      file__copy_tree "$core_store/$5" "$_tmp" || { file__why "$_path"; file__stop 1 "$_why"; }
      file__run sync -f -- "$_tmp" || file__run sync
      if [ -d "$_path" ]; then
        # two renames: for a moment there is no folder of this name, but never a mixture
        _new=$_tmp
        file__name "$_folder"
        _old=$_tmp _tmp=$_new
        file__move "$_path" "$_old" || { _old=''; file__why "$_path"; file__stop 1 "$_why"; }
        if ! file__move "$_tmp" "$_path"; then
          file__why "$_path"
          file__move "$_old" "$_path"
          _old=''
          file__stop 1 "$_why"
        fi
        _tmp=''
        file__sync "$_folder"
        file__drop
        exit 0
      fi ;;
    *) file__stop 1 "file_back does not know the record $_record" ;;
  esac
  file__move "$_tmp" "$_at" || { file__why "$_path"; file__stop 1 "$_why"; }
  _tmp=''
  file__sync "$_beside" ${_cell:+..} || { file__why "$_path"; file__stop 6 "$_why"; }
  file__drop
}

# file__back_owner UID GID MODE: of $_tmp.
file__back_owner() {
  file__give "$_tmp" "$3" "$1" "$2" ||
    file__stop 1 "the owner and mode of $(core_esc "$_path") cannot be put back: $_last"
}

# file__unesc TEXT → _r: the inverse of core_esc.
file__unesc() {
  _v_in=$1 _r=''
  while :; do
    case $_v_in in
      *\\*)
        _r=$_r${_v_in%%\\*}
        _v_in=${_v_in#*\\}
        case $_v_in in n*) _r=$_r$n ;; *) _r=$_r${_v_in%"${_v_in#?}"} ;; esac
        _v_in=${_v_in#?} ;;
      *) _r=$_r$_v_in; return 0 ;;
    esac
  done
}

# file__back_modes LIST: each path below $_path that is still there. Two or three processes each.
file__back_modes() {
  [ "$1" != - ] || return 0
  [ -f "$core_store/$1" ] || file__stop 1 "the backup of the modes in $(core_esc "$_path") is no longer in $(core_esc "$core_store")"
  _bad=0
  while IFS=+ read -r _bm_mode _bm_uid _bm_gid _bm_path; do
    case $_bm_path in "$_path" | "$_path"/*) ;; *) continue ;; esac
    if [ ! -e "$_bm_path" ] && [ ! -L "$_bm_path" ]; then continue; fi
    while [ "${#_bm_mode}" -lt 4 ]; do _bm_mode=0$_bm_mode; done
    if [ -L "$_bm_path" ]; then _bm_mode=-; fi
    file__give "$_bm_path" "$_bm_mode" "$_bm_uid" "$_bm_gid" || _bad=$((_bad + 1))
  done <"$core_store/$1"
  [ "$_bad" = 0 ] || file__stop 1 "owner or mode of $_bad paths in $(core_esc "$_path") could not be put back"
  file__run sync -f -- "$_path" || file__run sync
}
