# shellcheck shell=sh
# shellcheck disable=SC2154 # the u_… stand before this text
# uri: one request, by the host's own curl or wget. It stands in a shell of its own, so it needs nothing.
#
# Before this text: u_url u_method u_seconds u_sure (yes or no) u_follow (yes or no) u_curl (lines of settings) u_more (yes: headers or a password) u_body
# (a word for `printf %b`) u_has_body (yes or no). The body of the answer goes to stdout, and the line `uri STATUS` to stderr.
uri_curl() {
  set -- -q -sS -g -X "$u_method" --connect-timeout "$u_seconds" -m "$u_seconds" -D /dev/stderr -K /dev/fd/3
  [ "$u_sure" = yes ] || set -- "$@" -k
  # Only a question may be asked again elsewhere.
  case $u_follow$u_method in yesGET | yesHEAD | yesOPTIONS) set -- "$@" -L ;; esac
  [ "$u_method" != HEAD ] || set -- "$@" -I
  [ "$u_has_body" = no ] || set -- "$@" --data-binary @-
  # Some shells keep descriptors above 2 to themselves, unless they are named at the command.
  u_said=$(printf '%s\n' "$u_curl" | { { printf %b "$u_body" | curl "$@" 3<&3; } 3<&0; } 2>&1 >&5)
  u_code=$?
  uri_tell 0
}

# uri_tell GOOD…: what the program has said, and how it ended.
uri_tell() {
  # The last status counts: after redirections there are several.
  u_status=$(printf '%s\n' "$u_said" | sed -n 's|^.*HTTP/[0-9.]* \([0-9][0-9]*\).*|\1|p' | tail -n 1)
  case " $* " in
    *" $u_code "*)
      if [ "$u_status" ]; then
        printf 'uri %s\n' "$u_status" >&2
        return
      fi
      ;;
  esac
  printf '%s\n' "$u_said" | tail -n 1 >&2
  exit 1
}

uri_wget() {
  case $u_url in *://*@*) echo 'a password in the address would be seen in the command line of wget; install curl, or use url_password' >&2; exit 1 ;; esac
  case $u_method$u_has_body in
    GETno) ;;
    *) echo 'this host has no curl, and wget can only get; install curl' >&2; exit 1 ;;
  esac
  case $u_more in yes) echo 'the wget of this host takes headers and passwords only in its command line, where everybody sees them; install curl' >&2; exit 1 ;; esac
  # What a wget does not know would end it.
  u_help=$(wget --help 2>&1)
  set --
  case $u_help in *--content-on-error*) set -- "$@" --content-on-error ;; esac
  case $u_help in *--tries*) set -- "$@" -t 1 ;; esac
  case $u_help in *'-T'*) set -- "$@" -T "$u_seconds" ;; esac
  case $u_help in *--max-redirect*) [ "$u_follow" = yes ] || set -- "$@" --max-redirect=0 ;; esac
  [ "$u_sure" = yes ] || set -- "$@" --no-check-certificate
  u_said=$(wget -S -O - "$@" -- "$u_url" 2>&1 >&5 </dev/null)
  u_code=$?
  # 8, and 1 of BusyBox: the server has answered, with a status that is none of success.
  uri_tell 0 1 8
}

exec 5>&1
if command -v curl >/dev/null 2>&1; then
  uri_curl
elif command -v wget >/dev/null 2>&1; then
  uri_wget
else
  echo 'this host has neither curl nor wget to ask with' >&2
  exit 1
fi
