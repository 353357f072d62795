# shellcheck shell=sh
# shellcheck disable=SC2154 # $n, $core_run and $core_store come from core, _find and the like from file_look
# file_change, fourth part: the store of what was there before. change.sh says what holds for all of them.

# ---------------------------------------------------------------------------------------------------------------
# The store of pre-images
#
# $core_store holds contents under their SHA-256 (each once), and beside them what belongs to one pre-image:
#   HASH        the content of a file (0600)
#   meta.ID     an empty file that GNU cp gave all metadata of the old one (owner, mode, times, ACL, attributes, label)
#   attr.ID     on hosts without GNU cp: ACL and attributes as text
#   tree.ID     a copy of a whole tree, or of files of one, with all metadata
#   list.ID     owners and modes in a tree: lines `MODE+UID+GID+PATH`
# A record is one line, and with the store it is all that is needed to bring back exactly what was there:
#   absent
#   file MODE UID GID TIME SIZE HASH META     (TIME in seconds since 1970, or `-`: unknown; META: `meta.ID`, `attr.ID`, or `-`: nothing beyond what the record says)
#   file MODE UID GID TIME SIZE HASH TREE NAME  (NAME in tree.ID: its content and its metadata)
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
file_keep() {
  case $file_phase in
    kept) file__keep "$@" ;;
    *) (file__keep "$@") ;;
  esac
}

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
  file__sha "$_tmp" "$_size"
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
  core_escape "$_top"
  file__tell "way $_out"
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
      _kept=$core_store/$7 _meta=$core_store/$8
      case $8 in tree.*) _kept=$core_store/$8/${_record#* * * * * * * * } _meta=$_kept ;; esac
      [ -f "$_kept" ] || file__stop 1 "the backup of $(core_esc "$_path") is no longer in $(core_esc "$core_store")"
      if [ "$_private" = private ]; then
        file__cell "$_folder" || { file__why "$_path"; file__stop 1 "$_why"; }
        _tmp=./new _at=../${_path##*/} _beside=.
      else
        file__temp "$_folder" || { file__why "$_path"; file__stop 1 "$_why"; }
      fi
      _err=$({ cat <"$_kept" >"$_tmp"; } 2>&1) || { file__why "$_path"; file__stop 1 "$_why"; }
      file__sha "$_tmp"
      [ "$_sha" = "$7" ] || file__stop 1 "the backup of $(core_esc "$_path") in $(core_esc "$core_store") is damaged"
      case $8 in
        meta.* | tree.*)
          [ -f "$_meta" ] || file__stop 1 "the backup of the metadata of $(core_esc "$_path") is no longer in $(core_esc "$core_store")"
          file__attributes mode,ownership,timestamps "$_meta" "$_tmp" ||
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
