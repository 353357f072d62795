# shellcheck shell=sh
# reboot: whether a host needs to be started again, in its own words.

# reboot_look (probe): `boot ID`, then `needed WHY` or `not`.
reboot_look() {
  read -r _boot </proc/sys/kernel/random/boot_id || _boot=none
  printf 'boot %s\n' "$_boot"
  for _flag in /run/reboot-required /var/run/reboot-required; do
    [ -e "$_flag" ] || continue
    _why=''
    [ ! -r "$_flag.pkgs" ] || _why=$(sort -u "$_flag.pkgs" | tr '\n' ' ')
    printf 'needed %s\n' "${_why:+by }${_why:-as $_flag says}"
    return 0
  done
  # A status alone is no word: a script of this name that cannot work ends with 1, too.
  case $(command -v needs-restarting >/dev/null 2>&1 && needs-restarting -r 2>/dev/null) in
    *'eboot is required'*) echo 'needed as needs-restarting says'; return 0 ;;
  esac
  if command -v zypper >/dev/null 2>&1; then
    zypper -n -q needs-rebooting >/dev/null 2>&1
    [ $? != 102 ] || { echo 'needed as zypper says'; return 0; }
  elif command -v pacman >/dev/null 2>&1; then
    # A new kernel takes the modules of the old one away.
    _kernels=$(ls /usr/lib/modules 2>/dev/null)
    if [ -n "$_kernels" ] && [ ! -d "/usr/lib/modules/$(uname -r)" ]; then
      echo 'needed since the modules of the running kernel are gone'
      return 0
    fi
  fi
  echo not
}

# reboot_go SECONDS COMMAND (apply): starts the host again a moment later, so that this can still be answered.
reboot_go() {
  _go="sleep $1; $2"
  if command -v setsid >/dev/null 2>&1; then
    setsid sh -c "$_go" </dev/null >/dev/null 2>&1 &
  else
    (trap '' HUP; exec sh -c "$_go") </dev/null >/dev/null 2>&1 &
  fi
}
