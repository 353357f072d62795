# shellcheck shell=sh
# shellcheck disable=SC2154 # $n, $core_run and $core_store come from core, _find and the like from file_look
# file_change, second part: the content of one file. change.sh says what holds for all of them.

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
# Statuses: see the top. Nothing on stdout. Processes for a small new file: 4 to 6, for a replaced one: 7 (GNU).
file_put() {
  case $file_phase in
    ahead) file__put_ahead "$@" ;;
    swap) file__put_swap "$@" ;;
    *) (file__put "$@") ;;
  esac
}

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
        text) { printf %b "$_arg" >"$_tmp"; } 2>/dev/null ;;
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
  [ -z "$_when" ] || file__remember "$_at" "$_want" "$_when"
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
  _bytes=0 _when=''
  [ "$_from" = text ] || _bytes=$(wc -c <"$_tmp")
  [ "$_bytes" -le "$file__large" ] || file__when "$_tmp"
  file__sha "$_tmp" "$_bytes"
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
