# shellcheck shell=sh
# shellcheck disable=SC2154,SC2030,SC2031 # $st and $n come from core; the functions work in the shell of unmanaged_list
# unmanaged: what on a host is not as its packages have brought it, and what in a folder belongs to none. Changes nothing.
#
# unmanaged_list FOLDER MOST SECONDS    lines, at most MOST of the last three:
#   manager dpkg|rpm|pacman|none
#   ours PATH                           a run has changed it, by the ledger here; escaped
#   unseen WHAT                         what could not be looked at
#   more COUNT                          so many more there are
#   missing|differs FLAGS CONFIG PACKAGE TIME OWNER PATH
#   extra - - - TIME OWNER PATH         belongs to no package
#   link - - - TIME OWNER PATH          the same, and the next line `to PATH` says where it leads
#
# FLAGS are those of `rpm --verify`, CONFIG is `c` for what the package calls configuration; what is not known is `-`.

# A shell of its own, since names of files are patterns here and there.
unmanaged_list() (
  set +f
  _folder=$1 _most=$2 _seconds=$3 _manager=none
  # A Debian with another manager on top is asked by the one that installs there.
  if command -v dpkg-query >/dev/null 2>&1 && command -v apt-get >/dev/null 2>&1; then
    _manager=dpkg
  elif case $(rpm --version 2>/dev/null) in *'RPM version'*) true ;; *) false ;; esac then
    # Busybox has an applet of that name without a database.
    _manager=rpm
  elif command -v pacman >/dev/null 2>&1; then
    _manager=pacman
  fi
  printf 'manager %s\n' "$_manager"
  cat "${st:-/nonexistent}"/runs/*/ledger 2>/dev/null | sed -n 's/^path [0-9]* /ours /p' | sort -u | head -n 20000
  [ "$_manager" != none ] || exit 0
  _v=$("unmanaged__$_manager")
  case $_v in *"$n"late* | late*) printf 'unseen files of packages: to compare all of them took longer than %s s\n' "$_seconds" ;; esac
  printf '%s\n' "$_v" | sed -n 's/^nolist \(.*\)$/unseen the content of the files of the package \1, which came without a list of hashes/p'
  find "$_folder" -xdev -type d 2>/dev/null | while IFS= read -r _path; do
    { [ -r "$_path" ] && [ -x "$_path" ]; } || printf 'unseen %s\n' "$_path"
  done
  {
    printf '%s\n' "$_v"
    echo '=owners'
    "unmanaged__${_manager}_owners"
    # What a maintainer's script has put there, and when it is still that.
    sed -n 's/^\([^ ]*\) *\(\/.*\)$/ucf:\1 \2/p' /var/lib/ucf/registry 2>/dev/null
    echo '=files'
    unmanaged__files
  } | awk -v folder="$_folder/" '
    /^=/ { part++; if (part == 2) for (i = 1; i <= count; i++) print kind[i], flags[i], config[i], (path[i] in owner ? owner[path[i]] : "-"), path[i]; next }
    part == 0 && NF > 2 {
      count++
      flags[count] = $1; config[count] = $2; path[count] = substr($0, length($1) + length($2) + 3)
      kind[count] = $1 == "missing" ? "missing" : "differs"
      wanted[path[count]] = 1
    }
    part == 1 { at = index($0, " "); name = substr($0, at + 1); if ((name in wanted || index(name, folder) == 1) && !(name in owner)) owner[name] = substr($0, 1, at - 1) }
    part == 2 && !($0 in owner) { print "extra - - -", $0 }
    part == 2 && ($0 in owner) && owner[$0] ~ /^ucf:/ { print "ucf - c", substr(owner[$0], 5), $0 }
  ' | unmanaged__told
  :
)

# unmanaged__limited COMMAND…: its output, and a line `late` when it took too long
unmanaged__limited() {
  if command -v timeout >/dev/null 2>&1; then
    timeout "$_seconds" "$@" 2>/dev/null
    unmanaged__late $?
  else
    "$@" 2>/dev/null
  fi
}

# unmanaged__late STATUS: a line `late`, where that is how `timeout` ends what took too long, here or in busybox
unmanaged__late() {
  case $1 in 124 | 137 | 143) echo late ;; esac
}

# The next three print lines `FLAGS CONFIG PATH` of what is not as it came, with `missing` for FLAGS of what is not there.
unmanaged__dpkg() {
  unmanaged__limited dpkg --verify | unmanaged__rpm_lines
}

unmanaged__rpm() {
  unmanaged__limited rpm -Va --nodeps --noscripts --nomtime | unmanaged__rpm_lines
}

# Lines such as `S.5....T.  c /etc/a`, `??5??????   /usr/b` and `missing     /usr/c`.
unmanaged__rpm_lines() {
  awk '
    $0 == "late" { print; next }
    { at = index($0, "/"); if (!at) next; path = substr($0, at); head = substr($0, 1, at - 1); split(head, word, " ") }
    word[2] == "g" { next }
    { sub(/ \([A-Z][^()]*\)$/, "", path); print word[1], (word[2] == "c" ? "c" : "-"), path }'
}

unmanaged__pacman() {
  # Warnings and what it calls backup files come on different streams, one line for each thing that differs. A package without a list of
  # hashes is only asked whether its files are there.
  _p=$(pacman -Qk 2>&1; unmanaged__pacman_backups; if command -v timeout >/dev/null 2>&1; then timeout "$_seconds" pacman -Qkk 2>&1; unmanaged__late $?; else pacman -Qkk 2>&1; fi)
  printf '%s\n' "$_p" | awk '
    $0 == "late" { print; next }
    /^[^ ]*: no mtree file$/ { sub(/:.*/, ""); print "nolist", $0; next }
    !/^(warning|backup file): [^:]*: \/.* \(.*\)$/ { next }
    {
      config = /^backup file/ ? "c" : "-"
      path = substr($0, index($0, ": /") + 2)
      why = path; sub(/^.* \(/, "", why); sub(/ \([^()]*\)$/, "", path)
      flag = why ~ /^No such file/ ? "missing" : why ~ /^Size/ ? "S" : why ~ /checksum/ ? "5" : why ~ /^Permissions/ ? "M" : why ~ /^UID/ ? "U" : why ~ /^GID/ ? "G" : why ~ /^Symlink|^Type/ ? "L" : why ~ /Permission denied/ ? "?" : ""
      if (flag == "") next
      if (!(path in flags)) order[++count] = path
      if (index(flags[path], flag) == 0) flags[path] = flag == "missing" ? flag : flags[path] flag
      if (config == "c") is_config[path] = 1
    }
    END { for (i = 1; i <= count; i++) print flags[order[i]], (order[i] in is_config ? "c" : "-"), order[i] }'
}

# What packages call configuration is in the database with its MD5, in lines like those of pacman itself.
unmanaged__pacman_backups() {
  cat /var/lib/pacman/local/*/files 2>/dev/null | awk '/^%/ { is = $0 == "%BACKUP%"; next } is && NF' | while IFS=$(printf '\t') read -r _backup _sum; do
    _is=$(md5sum 2>/dev/null <"/$_backup") || continue
    [ "${_is%% *}" = "$_sum" ] || printf 'backup file: -: /%s (MD5 checksum mismatch)\n' "$_backup"
  done
}

# The next three print lines `PACKAGE PATH`.
unmanaged__dpkg_owners() {
  {
    dpkg-query -S "$_folder/*" 2>/dev/null
    printf '%s\n' "$_v" | sed -n 's/^[^ ]* [^ ]* \(\/.*\)$/\1/p' | tr '\n' '\0' | xargs -0 -n 100 dpkg-query -S -- 2>/dev/null
  } | sed -n 's/^\([^/:,]*\)[^/]*: \(\/.*\)$/\1 \2/p' | sed 's/^diversion by \([^ ]*\)[^/]*/\1 /'
}

unmanaged__rpm_owners() {
  rpm -qa --qf '[%{=NAME} %{FILENAMES}\n]' 2>/dev/null
}

unmanaged__pacman_owners() {
  pacman -Ql 2>/dev/null
}

# The files of the folder, but for what every host makes for itself: caches, keys of the host, accounts, links of services and
# alternatives, locks.
unmanaged__files() {
  find "$_folder" -xdev \( -type f -o -type l \) ! -name "*$n*" 2>/dev/null | awk -v skip="${#_folder}" '
    { name = substr($0, skip + 1) }
    name ~ /^\/(passwd|group|shadow|gshadow|subuid|subgid)-?$/ { next }
    name ~ /^\/(ld\.so\.cache|mtab|resolv\.conf|machine-id|adjtime|\.updated|\.pwd\.lock|printcap|blkid\.tab)$/ { next }
    name ~ /^\/(alternatives|ssl\/certs|ca-certificates\/extracted|pki\/ca-trust\/extracted|pki\/nssdb|\.git|\.etckeeper|apparmor\.d\/cache|apparmor\/cache|pacman\.d\/gnupg|lvm\/(archive|backup|cache)|selinux\/[^\/]*\/(active|policy|contexts))(\/|$)/ { next }
    name ~ /^\/(rc\.d\/)?rc[0-9S]\.d\// { next }
    name ~ /^\/systemd\/(system|user)\/.*\.(wants|requires|upholds)\// { next }
    name ~ /^\/ssh\/ssh_host_/ { next }
    name ~ /^\/dropbear\/dropbear_.*_host_key/ { next }
    name ~ /^\/udev\/hwdb\.bin$/ { next }
    name ~ /\.(lock|cache)$/ { next }
    name ~ /\/#[^\/]*#$|\/\.#[^\/]*$|\.sw[op]$/ { next }
    { print }' | sort
}

# Lines `KIND FLAGS CONFIG PACKAGE PATH` become what is told.
unmanaged__told() {
  _x=$(cat /etc/dpkg/dpkg.cfg /etc/dpkg/dpkg.cfg.d/* 2>/dev/null | sed -n 's/^ *path-exclude[= ] *//p')
  _count=0 _more=0
  while read -r _kind _flags _config _package _path; do
    case $_kind in
      missing)
        # What was never unpacked is not missed, and a folder that is closed hides what is in it.
        unmanaged__excluded "$_path" && continue
        _up=${_path%/*}
        while [ "$_up" ] && [ ! -e "$_up" ]; do _up=${_up%/*}; done
        [ -x "${_up:-/}" ] || { printf 'unseen %s\n' "$_path"; continue; }
        { [ ! -e "$_path" ] && [ ! -L "$_path" ]; } || continue ;;
      differs)
        _known=$(printf '%s' "$_flags" | tr -d '.?')
        # A question mark is a test that could not be made.
        case $_flags in *\?*) [ -r "$_path" ] || [ -L "$_path" ] || { printf 'unseen %s\n' "$_path"; continue; } ;; esac
        [ "$_known" ] || continue
        _flags=$_known ;;
      ucf)
        _sum=$(md5sum 2>/dev/null <"$_path") || { printf 'unseen %s\n' "$_path"; continue; }
        grep -qxF -e "${_sum%% *}  $_path" /var/lib/ucf/hashfile 2>/dev/null && continue
        _kind=differs _flags=5 ;;
      extra)
        # The first content of some files of a Debian lies beside.
        unmanaged__first "/usr/share/base-files/${_path##*/}" "$_path" && continue
        unmanaged__first "/usr/share/factory$_path" "$_path" && continue
        [ ! -L "$_path" ] || _kind='link' ;;
      *) continue ;;
    esac
    _count=$((_count + 1))
    [ "$_count" -le "$_most" ] || { _more=$((_more + 1)); continue; }
    _when=$(stat -c '%Z %U' -- "$_path" 2>/dev/null) || _when='- -'
    printf '%s %s %s %s %s %s\n' "$_kind" "$_flags" "$_config" "$_package" "$_when" "$_path"
    [ "$_kind" != link ] || printf 'to %s\n' "$(core_esc "$(readlink -- "$_path" 2>/dev/null)")"
  done
  [ "$_more" = 0 ] || printf 'more %s\n' "$_more"
}

# unmanaged__first FIRST PATH: whether a file is still what it was made from
unmanaged__first() {
  [ -f "$1" ] && [ ! -L "$2" ] && cmp -s -- "$1" "$2"
}

# unmanaged__excluded PATH: whether dpkg was told not to unpack it
unmanaged__excluded() {
  [ "$_x" ] || return 1
  set -f
  for _pattern in $_x; do
    # shellcheck disable=SC2254 # it is a pattern
    case $1 in $_pattern) set +f; return 0 ;; esac
  done
  set +f
  return 1
}
