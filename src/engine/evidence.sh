# shellcheck shell=sh
# shellcheck disable=SC2154 # $st and $n come from core
# evidence: who may have changed what is not as it should be. Changes nothing.
#
# evidence_logins         lines `login UNIXTIME UNIXTIME|- USER FROM`: sessions of wtmp, and what sshd has accepted
# evidence_path PATH      path, gone|stat CTIME OWNER, ledger RUN TIME WHO, package NAME MANAGER TIME shipped|differs|missing

evidence_logins() {
  if _e=$(last -w --time-format iso -n 60 2>/dev/null); then
    printf '%s\n' "$_e" | while read -r _user _tty _from _begin _dash _end _; do
      case $_user in '' | reboot | wtmp | runlevel | shutdown) continue ;; esac
      # Without an address the time comes one word earlier.
      case $_from in [12][0-9][0-9][0-9]-*T*) _end=$_dash _begin=$_from _from=- ;; esac
      _begin=$(date -d "$_begin" +%s 2>/dev/null) || continue
      _end=$(date -d "$_end" +%s 2>/dev/null) || _end=-
      printf 'login %s %s %s %s\n' "$_begin" "$_end" "$_user" "$_from"
    done
  fi
  if command -v journalctl >/dev/null 2>&1; then
    journalctl -q -o short-unix -n 400 -t sshd -t sshd-session -g '^Accepted ' --no-pager 2>/dev/null | while read -r _time _ _ _ _how _for _user _ _from _; do
      # HOST and TAG stand between the time and what was said.
      case $_for in for) printf 'login %s - %s %s\n' "${_time%%.*}" "$_user" "$_from" ;; esac
    done
  fi
  :
}

# evidence_path PATH
evidence_path() {
  printf 'path %s\n' "$(core_esc "$1")"
  if [ -d "$1" ] && [ ! -L "$1" ]; then
    # Something in it may be what has changed last.
    printf 'stat %s %s\n' "$(find "$1" -xdev -exec stat -c %Z -- {} + 2>/dev/null | sort -n | tail -n 1)" "$(stat -c %U -- "$1")"
  elif [ -e "$1" ] || [ -L "$1" ]; then
    stat -c 'stat %Z %U' -- "$1"
  else
    echo gone
  fi
  evidence__ledger "$1"
  evidence__package "$1"
  :
}

# evidence__ledger PATH: the last run that has changed it
evidence__ledger() {
  _e=$(core_esc "$1")
  for _run in $(cd "$st/runs" 2>/dev/null && ls -t); do
    _l=$st/runs/$_run/ledger
    if sed -n 's/^path [0-9]* //p' "$_l" 2>/dev/null | grep -qxF -e "$_e"; then
      printf 'ledger %s %s %s\n' "$_run" "$(stat -c %Y -- "$_l")" "$(sed -n 's/^run [^ ]* //p' "$_l" | head -n 1)"
      return
    fi
  done
}

# evidence__package PATH: whose it is, when that came, and whether it is as it came
evidence__package() {
  if command -v dpkg-query >/dev/null 2>&1 && command -v apt-get >/dev/null 2>&1; then
    _p=$(dpkg-query -S -- "$1" 2>/dev/null | grep -v '^diversion by' | head -n 1) || :
    _p=${_p%%: *}
    _p=${_p%%,*}
    [ "$_p" ] || return 0
    _t=$(zgrep -h -e " \(install\|upgrade\|configure\) ${_p%%:*}:" /var/log/dpkg.log /var/log/dpkg.log.1 2>/dev/null | sort | tail -n 1 | cut -c1-19)
    _t=$(date -d "$_t" +%s 2>/dev/null) || _t=-
    [ "$_t" != '' ] || _t=-
    # What dpkg knows by its hash; the rest nobody can judge.
    _is=differs
    _m=$(cat /var/lib/dpkg/info/"${_p%%:*}".md5sums /var/lib/dpkg/info/"${_p%%:*}":*.md5sums 2>/dev/null; dpkg-query -W -f '${Conffiles}\n' -- "$_p" 2>/dev/null | sed 's|^ \(/.*\) \([0-9a-f]*\)\( obsolete\)*$|\2  \1|;s|^\([0-9a-f]*  \)/|\1|')
    [ -e "$1" ] || [ -L "$1" ] || _is=missing
    _h=$(md5sum <"$1" 2>/dev/null) || _h=-
    case "$n$_m$n" in *"$n${_h%% *}  ${1#/}$n"*) _is=shipped ;; esac
    printf 'package %s dpkg %s %s\n' "$_p" "${_t:--}" "$_is"
  elif command -v rpm >/dev/null 2>&1 && _p=$(rpm -qf --qf '%{NAME} %{INSTALLTIME}\n' -- "$1" 2>/dev/null); then
    _p=${_p%%"$n"*}
    evidence__told "${_p% *}" rpm "${_p##* }" "$(rpm -V --nodeps --noscripts --nomtime "${_p% *}" 2>/dev/null)" "$1"
  elif command -v pacman >/dev/null 2>&1 && _p=$(pacman -Qqo -- "$1" 2>/dev/null); then
    _t=$(sed -n "s/^\[\([^]]*\)\] \[ALPM\] \(installed\|upgraded\|reinstalled\) $_p (.*/\1/p" /var/log/pacman.log 2>/dev/null | tail -n 1)
    _t=$(date -d "$_t" +%s 2>/dev/null) || _t=-
    evidence__told "$_p" pacman "${_t:--}" "$(pacman -Qkk "$_p" 2>/dev/null | grep -e 'checksum mismatch' -e 'Size mismatch' -e 'No such file' | sed 's/ (.*//;s/^[^/]*//')" "$1"
  fi
}

# evidence__told PACKAGE MANAGER TIME DIFFERING PATH: the manager's list of differing files ends each line with a path
evidence__told() {
  _is=shipped
  case "$4$n" in
    *" $5$n"* | *"$n$5$n"* | "$5$n"*)
      _is=differs
      [ -e "$5" ] || [ -L "$5" ] || _is=missing ;;
  esac
  printf 'package %s %s %s %s\n' "$1" "$2" "${3:--}" "$_is"
}
