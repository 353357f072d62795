# shellcheck shell=sh
# impact: how a host is doing, in lines `unit NAME` (failed), `port NUMBER` (somebody listens), `load NUMBER`, `memory KIB` (available),
# `disk FREE_KIB MOUNTPOINT`. Changes nothing.
impact_look() {
  if command -v systemctl >/dev/null 2>&1; then
    systemctl list-units --state=failed --no-legend --plain --no-pager 2>/dev/null | while read -r _unit _; do printf 'unit %s\n' "$_unit"; done
  fi
  cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | while read -r _ _local _ _state _; do
    # In hexadecimal; 0A is LISTEN.
    case $_state in 0A) printf 'port %d\n' "0x${_local##*:}" ;; esac
  done | sort -u
  read -r _load _ 2>/dev/null </proc/loadavg && printf 'load %s\n' "$_load"
  while read -r _word _kib _; do
    case $_word in MemAvailable:) printf 'memory %s\n' "$_kib" ;; esac
  done 2>/dev/null </proc/meminfo
  df -Pk 2>/dev/null | while read -r _from _ _ _free _ _at; do
    case $_from in /dev/*) printf 'disk %s %s\n' "$_free" "$_at" ;; esac
  done
  :
}
