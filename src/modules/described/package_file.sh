# shellcheck shell=sh
# package_file: what its question and its change share.

# got: sets `file` to the package file; it fetches it into $own where that is needed.
got() {
  {% if path %}
  file={{ path }}
  [ -f "$file" ] || stop {{ (path or "") ~ " is not on this host; copy it there first, or give url" }}
  {% else %}
  case $pm in (apt) file=$own/package.deb ;; (pacman) file=$own/package.pkg.tar ;; (apk) file=$own/package.apk ;; (*) file=$own/package.rpm ;; esac
  if has curl; then curl -fsSL --connect-timeout 20 --retry 2 -o "$file" -- {{ url }} </dev/null
  elif has wget; then wget -q -T 20 -O "$file" -- {{ url }} </dev/null
  else stop "this host has neither curl nor wget to fetch the file with; install one, or copy the file there and give path"
  fi || stop {{ "the file cannot be fetched from " ~ url }}
  {% endif %}
  {% if checksum %}
  sum=$(sha256sum -- "$file") || stop "this host has no sha256sum, so the checksum cannot be told"
  [ "${sum%% *}" = {{ checksum | lower | replace("sha256:", "") }} ] || stop {{ "the file from " ~ (path or url) ~ " does not have this checksum; somebody has replaced it, or the checksum is that of another one" }}
  {% endif %}
}

# with_own COMMAND: runs it with a folder of its own.
with_own() {
  own=$(mktemp -d /var/tmp/mutate.XXXXXX) || stop "there is no room in /var/tmp"
  chmod 755 "$own"
  (
    trap 'rm -rf "$own"' EXIT
    trap 'exit 1' HUP INT TERM
    "$@"
  ) || exit
}

# have: sets `installed` to the version of `package`, empty if there is none.
have() {
  case $pm in
    (apt) installed=$(dpkg-query -W -f '${db:Status-Status} ${Version}' -- "$package" 2>/dev/null) && case $installed in ('installed '*) ;; (*) false ;; esac ;;
    (pacman) installed=$(pacman -Q -- "$package" 2>/dev/null) ;;
    (apk) installed=$(apk info -e -v -- "$package" 2>/dev/null) && installed=" ${installed#"$package"-}" ;;
    (*) installed=$(rpm -q --qf ' %{EPOCHNUM}:%{VERSION}-%{RELEASE}\n' -- "$package" 2>/dev/null | sed 's/ 0:/ /' | tail -n 1); case $installed in (' '*) ;; (*) false ;; esac ;;
  esac && installed=${installed#* } || installed=''
}

# newer: is `installed` newer than `offered`?
newer() {
  case $pm in
    (apt) dpkg --compare-versions "$installed" gt "$offered" ;;
    (apk) [ "$(apk version -t "$installed" "$offered")" = '>' ] ;;
    (pacman) if has vercmp; then [ "$(vercmp "$installed" "$offered")" -gt 0 ]; else later; fi ;;
    (*)
      case "$installed$offered" in
        (*:*|*[!A-Za-z0-9._+~^-]*) later ;;
        (*) [ "$(rpm --eval "%{lua: print(rpm.vercmp('$installed', '$offered'))}")" = 1 ] ;;
      esac ;;
  esac
}
later() { [ "$(printf '%s\n' "$installed" "$offered" | sort -V | tail -n 1)" != "$offered" ]; }
