# shellcheck shell=sh
# shellcheck disable=SC2154 # $n, $core_run and $core_store come from core, _find and the like from file_look
# file_change, third part: everything else about a path. change.sh says what holds for all of them.

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
file_meta() {
  case $file_phase in
    ahead) file__meta_ahead "$@" ;;
    swap) file__meta_swap "$@" ;;
    *) (file__meta "$@") ;;
  esac
}

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
file_dir() {
  case $file_phase in
    ahead) file__dir_ahead "$@" ;;
    swap) file__dir_swap "$@" ;;
    *) (file__make_dir "$@") ;;
  esac
}

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

# Folders that changes which share what they do are going to make; see together.sh.
share_new=$n

# file__top PATH → _top: the topmost part of PATH that is missing.
file__top() {
  _top=$1
  file__dir "$1"
  while [ ! -e "$_dir" ] && [ ! -L "$_dir" ]; do
    # One that is going to be made before.
    case $share_new in *"$n$_dir$n"*) return ;; esac
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
file_link() {
  case $file_phase in
    ahead) file__link_ahead "$@" ;;
    swap) file__link_swap "$@" ;;
    *) (file__make_link sym "$@") ;;
  esac
}

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
