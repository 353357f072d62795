# shellcheck shell=sh
# shellcheck disable=SC2154 # variables of file_look and file_change
# get_url: fetches what an address leads to. Needs file_look and, to put it in place, file_change.
#
# Nothing that may be a secret stands in a command line: curl and wget read it from their stdin.

# get_sum ALGORITHM FILE (probe): the checksum in hex, or nothing when FILE is no file.
get_sum() {
  [ -f "$2" ] || return 0
  command -v "$1sum" >/dev/null 2>&1 || {
    core_die "this host has no $1sum to look at the checksum with"
    return 3
  }
  _g_sum=$("$1sum" <"$2") && printf '%s' "${_g_sum%% *}"
}

# get_has (probe): is there a program to fetch with?
get_has() {
  command -v curl >/dev/null 2>&1 || command -v wget >/dev/null 2>&1 ||
    core_die 'this host has neither curl nor wget to fetch with; install one, or fetch here and use copy'
}

# get__fetch FILE URL SECONDS CERTIFICATES CURL MORE: FILE is new. CERTIFICATES: yes or no. CURL: lines of settings. MORE: yes where
# there are headers or a password. Status 1: core_say has told why.
get__fetch() {
  if command -v curl >/dev/null 2>&1; then
    [ "$4" = yes ] && _g_sure='' || _g_sure=-k
    # shellcheck disable=SC2086 # one word or none
    _g_err=$(printf '%s\n' "$5" | curl -q -g -fsSL $_g_sure --connect-timeout "$3" --speed-limit 1 --speed-time "$3" -o "$1" -K - 2>&1 >/dev/null) && return 0
  elif case $2 in *://*@*) ;; *) false ;; esac; then
    core_say 'a password in the address would be seen in the command line of wget; install curl, or use url_password'
    return 1
  else
    # A file of settings would have to lie on the disk, and busybox knows none.
    case $6 in
      yes)
        core_say 'the wget of this host takes headers and passwords only in its command line, where everybody sees them; install curl'
        return 1
        ;;
    esac
    [ "$4" = yes ] && _g_sure='' || _g_sure=--no-check-certificate
    # What a wget does not know would end it.
    _g_help=$(wget --help 2>&1)
    case $_g_help in *'-T'*) _g_sure="$_g_sure -T $3" ;; esac
    case $_g_help in *--tries*) _g_sure="$_g_sure -t 1" ;; esac
    # shellcheck disable=SC2086
    _g_err=$(wget -q $_g_sure -O "$1" -- "$2" 2>&1) && return 0
  fi
  _g_err=${_g_err##*"$n"}
  core_say "it cannot be fetched: ${_g_err:-nobody says why}"
  return 1
}

# get_put DEST MODE OWNER GROUP ALGORITHM SUM URL SECONDS CERTIFICATES CURL MORE (apply): fetches beside DEST, looks at the
# checksum (`-`: none is known), and puts it in place as file_put does. What is the same already is left alone.
get_put() { (get__put "$@"); }

get__put() {
  _g_dest=$1 _g_mode=$2 _g_owner=$3 _g_group=$4 _g_kind=$5 _g_want=$6
  shift 6
  file__dir "$_g_dest"
  _g_new=$_dir/.mutate.upload.get.$$
  if [ ! -d "$_dir" ]; then
    core_say "the folder $(core_esc "$_dir") does not exist; make it with a \`file\` task first"
    exit 1
  fi
  # In a folder of our own: what has a name that others can guess may be a link by the time that it is written to.
  _g_cell=$(mktemp -d "$_dir/.mutate.get.XXXXXX") || {
    core_say "this user cannot write to $(core_esc "$_dir")"
    exit 1
  }
  trap 'rm -rf -- "$_g_cell"; rm -f -- "$_g_new"' 0
  get__fetch "$_g_cell/new" "$@" || exit 1
  mv -f -- "$_g_cell/new" "$_g_new" || exit 1
  if [ "$_g_want" != - ]; then
    _g_sum=$(get_sum "$_g_kind" "$_g_new")
    [ "$_g_sum" = "$_g_want" ] || {
      core_say "what was fetched has the $_g_kind checksum $_g_sum and not $_g_want, so nothing was put in place"
      exit 1
    }
  fi
  file__sha "$_g_new"
  _g_sum=$_sha
  if [ -f "$_g_dest" ] && [ ! -L "$_g_dest" ]; then
    file__sha "$_g_dest"
    if [ "$_sha" = "$_g_sum" ]; then
      [ "$_g_mode$_g_owner$_g_group" = --- ] || file_meta "$_g_dest" "$_g_mode" "$_g_owner" "$_g_group"
      exit
    fi
  fi
  file_put "$_g_dest" nofollow "$_g_sum" "$_g_mode" "$_g_owner" "$_g_group" - '' upload "$_g_new"
}
