# shellcheck shell=sh
# shellcheck disable=SC2154 # variables of file_look and file_change, $n of core
# shellcheck disable=SC2030,SC2031 # the loops over entries end with their pipes
# unpack: an archive that lies on the host, unpacked there with its own tar or unzip.
#
# unpack_open comes first; the others work on what it has found. Needs file_look; unpack_go and unpack_keep need file_change and
# copy_change, too.

# unpack_open ARCHIVE DEST STRIP INCLUDE EXCLUDE: what kind it is, and what to open it with. INCLUDE are lines with patterns of the names that are
# wanted, or nothing for all; EXCLUDE those of names to leave out. A pattern for a folder means all that is in it, too.
unpack_open() {
  _u_archive=$1 _u_dest=$2 _u_strip=$3 _u_include=$4 _u_exclude=$5 _u_stored_names=''
  if [ ! -f "$_u_archive" ] || [ ! -r "$_u_archive" ]; then
    core_die "$(core_esc "$_u_archive") is no file that can be read on the host"
    return 3
  fi
  _u_tar='' _u_with=''
  case $(od -An -v -t x1 -N6 <"$_u_archive") in
    ' 50 4b'*) _u_with=unzip ;;
    ' 1f 8b'*) _u_tar=z _u_with=gzip ;;
    ' 42 5a 68'*) _u_tar=j _u_with=bzip2 ;;
    ' fd 37 7a 58 5a'*) _u_tar=J _u_with=xz ;;
    ' 28 b5 2f fd'*) _u_with=zstd ;;
  esac
  _u_gnu='' _u_raw=''
  if [ "$_u_with" != unzip ]; then
    if ! command -v tar >/dev/null 2>&1; then
      core_die 'this host has no tar; install it, or let the controller unpack (remote_src = false)'
      return 3
    fi
    case $(tar --version 2>/dev/null) in *GNU*) _u_gnu=1 _u_raw=--quoting-style=literal ;; esac
    if [ "$_u_exclude" ] && [ -z "$_u_gnu" ]; then
      case $(tar --help 2>&1) in
        *exclude* | *' -X'*) ;;
        *) core_die 'the tar of this host can leave no names out (exclude); install GNU tar, or let the controller unpack (remote_src = false)'; return 3 ;;
      esac
    fi
  elif [ "$_u_strip" != 0 ]; then
    core_die 'unzip takes no folders off the front of names (strip_components); let the controller unpack (remote_src = false)'
    return 3
  fi
  if [ "$_u_with" ] && ! command -v "$_u_with" >/dev/null 2>&1; then
    core_die "this host has no $_u_with, which $(core_esc "$_u_archive") needs; install it, or let the controller unpack (remote_src = false)"
    return 3
  fi
  if ! _u_all=$(unpack__list 2>/dev/null && echo ok); then
    core_die "$(core_esc "$_u_archive") cannot be read as an archive"
    return 3
  fi
  _u_all=${_u_all%"$n"ok}
  if [ "$_u_with" = zstd ] && ! zstd -tq -- "$_u_archive" 2>/dev/null; then
    core_die "$(core_esc "$_u_archive") is damaged"
    return 3
  fi
  case $_u_all in ok) _u_all='' ;; *"${n}bad "*) _u_bad=${_u_all##*"${n}bad "}; core_die "the entry $(core_esc "${_u_bad%%"$n"*}") leads out of the folder, or is no file; it is not unpacked"; return 3 ;; esac
  # Names such as `./a` have one folder more for tar.
  _u_cut=$_u_strip
  if [ "$_u_strip" != 0 ]; then
    case $(_u_stored_names=1; unpack__list 2>/dev/null) in ./*) _u_cut=$((_u_strip + 1)) ;; esac
  fi
  _u_bad=$(unpack__link)
  if [ "$_u_bad" ]; then
    core_die "$(core_esc "$_u_dest/$_u_bad") is a link on the host, and the archive would be unpacked through it"
    return 3
  fi
}

# unpack__link → the first folder on the way of an entry that is a link on the host: what is unpacked through it would land elsewhere.
unpack__link() {
  printf '%s\n' "$_u_all" | while IFS= read -r _u_line; do
    _u_name=${_u_line#* } _u_kind=${_u_line%% *}
    _u_name=${_u_name#* }
    while case $_u_name in */*) ;; *) false ;; esac; do
      _u_name=${_u_name%/*}
      [ ! -L "$_u_dest/$_u_name" ] || { printf '%s\n' "$_u_name"; exit; }
    done
  done
}

# unpack__tar WHAT WORD…: tar on the archive, without the names to leave out.
unpack__tar() {
  _u_do=$1
  shift
  IFS=$n
  for _u_one in $_u_exclude; do
    if [ "$_u_gnu" ]; then set -- --anchored "--exclude=$_u_one" "--exclude=./$_u_one" "$@"; else set -- "--exclude=$_u_one" "$@"; fi
  done
  IFS=" $t$n"
  case $_u_with in
    zstd) zstd -dcq -- "$_u_archive" | tar "-${_u_do}f" - ${_u_raw:+"$_u_raw"} "$@" ;;
    *) tar "-$_u_do${_u_tar}f" "$_u_archive" ${_u_raw:+"$_u_raw"} "$@" ;;
  esac
}

# unpack__unzip WORD…: the same with unzip. It takes names for patterns.
unpack__unzip() {
  IFS=$n
  _u_word=-x
  for _u_one in $_u_exclude; do
    set -- "$@" ${_u_word:+"$_u_word"} "$_u_one" "${_u_one%/}/*"
    _u_word=''
  done
  IFS=" $t$n"
  unzip "$@"
}

# unpack__list: one line `KIND SIZE NAME` for each entry that is wanted, with names as they will be below the folder; with _u_stored_names only the
# names, as the archive has them.
unpack__list() {
  if [ "$_u_with" = unzip ]; then
    _u_lines=$(unpack__unzip -l "$_u_archive") || return
  else
    _u_lines=$(unpack__tar tv ${_u_gnu:+--numeric-owner}) || return
  fi
  printf '%s\n' "$_u_lines" | while IFS= read -r _u_name; do
    if [ "$_u_with" = unzip ]; then
      # Length, date, time and name; the head and the sum have no time.
      unpack__field; _u_one=$_u_field
      unpack__field
      unpack__field
      case $_u_one in '' | *[!0-9]*) continue ;; esac
      case $_u_field in [0-9]*:[0-9]*) ;; *) continue ;; esac
      # Two more blanks stand before the name.
      _u_name=${_u_name#  } _u_size=$_u_one _u_kind=f
      case $_u_name in */) _u_kind=d ;; esac
    else
      unpack__field; _u_one=$_u_field
      unpack__field
      unpack__field; _u_size=$_u_field _u_kind=x
      unpack__field
      unpack__field
      case $_u_one in -*) _u_kind=f ;; d*) _u_kind=d ;; l*) _u_kind=l ;; h*) _u_kind=h ;; esac
      case $_u_kind in l) _u_name=${_u_name%% -> *} ;; h) _u_name=${_u_name%% link to *} ;; esac
    fi
    _u_stored=$_u_name
    while :; do case $_u_name in ./*) _u_name=${_u_name#./} ;; *) break ;; esac; done
    case $_u_kind in d) _u_name=${_u_name%/} _u_size=0 ;; esac
    if [ "$_u_include" ]; then unpack__wanted || continue; fi
    if [ "$_u_stored_names" ]; then printf '%s\n' "$_u_stored"; continue; fi
    _u_no=$_u_strip
    while [ "$_u_no" -gt 0 ]; do
      case $_u_name in */*) _u_name=${_u_name#*/} ;; *) _u_name='' ;; esac
      _u_no=$((_u_no - 1))
    done
    case $_u_kind:$_u_name in
      *: | *:.) ;;
      x:* | *:/* | *:.. | *:../* | *:*/../* | *:*/..) printf '\nbad %s\n' "$_u_name" ;;
      *) printf '%s %s %s\n' "$_u_kind" "$_u_size" "$_u_name" ;;
    esac
  done
}

# unpack__wanted: is _u_name among the names to unpack?
unpack__wanted() {
  _u_has=1
  IFS=$n
  for _u_one in $_u_include; do
    # shellcheck disable=SC2254 # they are patterns
    case $_u_name in $_u_one | "${_u_one%/}" | ${_u_one%/}/*) _u_has=0; break ;; esac
  done
  IFS=" $t$n"
  return "$_u_has"
}

# unpack__field: takes the first field off _u_name, with the blanks before it and the one behind it, into _u_field.
unpack__field() {
  _u_name=${_u_name#"${_u_name%%[! ]*}"}
  _u_field=${_u_name%% *}
  _u_name=${_u_name#"$_u_field"}
  _u_name=${_u_name# }
}

# unpack_look KEEP MODE FOLDER_MODE OWNER GROUP (probe): `archive SIZE TIME`, how many entries are not as in the archive, and some of their
# names. `-` for a property that is not asked for. Processes: a few, and two for all entries.
unpack_look() {
  _u_keep=$1 _u_fm=$2 _u_dm=$3 _u_owner=$4 _u_group=$5
  printf 'archive %s\n' "$(stat -c '%s %Y' -- "$_u_archive")"
  _u_differ=0 _u_some='' _u_contents=''
  if [ "$_u_gnu" ] && [ "$_u_keep" = no ] && [ -d "$_u_dest" ]; then
    # What it says of owners, modes and times is not asked for.
    _u_contents=$n$(unpack__tar d -C "$_u_dest" "--strip-components=$_u_cut" 2>/dev/null | sed -n 's/: Contents differ$//p')$n
  fi
  _u_rest=$_u_all$n
  while :; do
    _u_line=${_u_rest%%"$n"*}
    [ "$_u_line" ] || break
    _u_rest=${_u_rest#*"$n"}
    _u_kind=${_u_line%% *} _u_line=${_u_line#* }
    unpack__differs "$_u_kind" "${_u_line%% *}" "${_u_line#* }" || continue
    _u_differ=$((_u_differ + 1))
    [ "$_u_differ" -gt 50 ] || _u_some=$_u_some$_u_sign$(core_esc "${_u_line#* }")$n
  done
  printf 'differ %s\n%s' "$_u_differ" "$_u_some"
}

# unpack__differs KIND SIZE NAME → _u_sign
unpack__differs() {
  _u_path=$_u_dest/$3 _u_sign=+
  [ -e "$_u_path" ] || [ -L "$_u_path" ] || return 0
  _u_sign='~'
  [ "$_u_keep" = no ] || return 1
  file__stat "$_u_path" || return 0
  case $1$_kind in
    ddir) case $_u_dm in - | "$_mode") ;; *) return 0 ;; esac ;;
    ffile | hfile)
      case $_u_fm in - | "$_mode") ;; *) return 0 ;; esac
      [ "$1" = h ] || [ "$_size" = "$2" ] || return 0
      case $_u_contents in *"$n$3$n"* | *"/$3$n"*) return 0 ;; esac ;;
    llink) return 1 ;;
    # A list of unzip does not tell links from files.
    flink) [ "$_u_with" != unzip ] || return 1; return 0 ;;
    *) return 0 ;;
  esac
  case $_u_owner in - | "$_uid" | "$_owner") ;; *) return 0 ;; esac
  case $_u_group in - | "$_gid" | "$_group") return 1 ;; esac
}

# unpack__paths: every name, and the folders above them that no entry names, what is above first.
unpack__paths() {
  printf '%s\n' "$_u_all" | while IFS= read -r _u_line; do
    _u_name=${_u_line#* } _u_kind=${_u_line%% *}
    _u_name=${_u_name#* }
    while [ "$_u_name" ]; do
      printf '%s\n' "$_u_name"
      case $_u_name in */*) _u_name=${_u_name%/*} ;; *) break ;; esac
    done
  done | sort -u
}

# unpack_keep (apply): the record of everything that it would write.
unpack_keep() {
  copy_keep_begin
  copy_keep_root "$_u_dest"
  IFS=$n
  # shellcheck disable=SC2046 # one word from each line
  set -- $(IFS=" $t$n"; unpack__paths)
  IFS=" $t$n"
  copy_keep "$_u_dest" "$@"
  copy_keep_end
}

# unpack_go KEEP MODE FOLDER_MODE OWNER GROUP (apply)
unpack_go() {
  _u_keep=$1 _u_fm=$2 _u_dm=$3 _u_owner=$4 _u_group=$5
  set --
  if [ "$_u_include" ]; then
    # Those in a folder that is wanted come with it: all of an archive by name may be more than a command line holds.
    _u_under=$n
    _u_rest=$(_u_stored_names=1; unpack__list 2>/dev/null)$n
    while :; do
      _u_one=${_u_rest%%"$n"*}
      [ "$_u_one" ] || break
      _u_rest=${_u_rest#*"$n"}
      case $_u_one in */) _u_under=$_u_under$_u_one$n; _u_name=${_u_one%/} ;; *) _u_name=$_u_one ;; esac
      case $_u_name in */*) case $_u_with$_u_under in unzip*) ;; *"$n${_u_name%/*}/$n"*) continue ;; esac ;; esac
      [ "$_u_gnu" ] || unpack__literal
      set -- "$@" "$_u_one"
    done
    [ $# -gt 0 ] || return 0
    if [ "$_u_with" != unzip ]; then set -- -- "$@"; fi
  fi
  if [ "$_u_keep" = yes ]; then
    # What is there stays as it is.
    _u_all=$(printf '%s\n' "$_u_all" | while IFS= read -r _u_line; do
    _u_name=${_u_line#* } _u_kind=${_u_line%% *}
    _u_name=${_u_name#* }
      [ -e "$_u_dest/$_u_name" ] || [ -L "$_u_dest/$_u_name" ] || printf '%s\n' "$_u_line"
    done)
  fi
  [ -d "$_u_dest" ] || file_dir "$_u_dest" 0755 - - || exit
  umask 022
  if [ "$_u_with" = unzip ]; then
    if [ "$_u_keep" = yes ]; then _u_old=-n; else _u_old=-o; fi
    unpack__unzip -q "$_u_old" "$_u_archive" "$@" -d "$_u_dest" || unpack__failed
  else
    if [ "$_u_keep" = yes ]; then if [ "$_u_gnu" ]; then set -- --skip-old-files "$@"; else set -- -k "$@"; fi; fi
    if [ "$_u_strip" != 0 ]; then set -- "--strip-components=$_u_cut" "$@"; fi
    # A set-user-id bit of somebody else's file would become one of root's.
    if [ "$_u_gnu" ]; then set -- --no-same-permissions "$@"; fi
    unpack__tar xo -C "$_u_dest" "$@" || unpack__failed
  fi
  case $_u_owner:$_u_group in
    -:-) ;;
    *)
      _u_who=${_u_owner#-}
      [ "$_u_group" = - ] || _u_who=$_u_who:$_u_group
      unpack__paths | unpack__each chown -h -- "$_u_who" || unpack__failed ;;
  esac
  [ "$_u_dm" = - ] || printf '%s\n' "$_u_all" | sed -n 's/^d 0 //p' | unpack__each chmod -- "$_u_dm" || unpack__failed
  [ "$_u_fm" = - ] || printf '%s\n' "$_u_all" | sed -n 's/^[fh] [0-9]* //p' | unpack__each chmod -- "$_u_fm" || unpack__failed
}

# unpack__literal: _u_one as a pattern that fits only itself
unpack__literal() {
  case $_u_one in *[*?[]*) ;; *) return ;; esac
  _u_left=$_u_one _u_one=''
  while [ "$_u_left" ]; do
    _u_tail=${_u_left#?}
    _u_word=${_u_left%"$_u_tail"}
    case $_u_word in [*?[]) _u_word="[$_u_word]" ;; esac
    _u_one=$_u_one$_u_word _u_left=$_u_tail
  done
}

# unpack__each COMMAND…: runs it for the names on stdin.
unpack__each() {
  cd -- "$_u_dest" || return 1
  while IFS= read -r _u_name; do
    # It would follow a link.
    case $1 in chmod) [ ! -L "./$_u_name" ] || continue ;; esac
    "$@" "./$_u_name" || return 1
  done
}

unpack__failed() {
  core_say "$(core_esc "$_u_archive") could not be unpacked into $(core_esc "$_u_dest"); what was there comes back with a rollback"
  exit 1
}
