# shellcheck shell=sh
# shellcheck disable=SC2154 # wanted stands before this text
# The lock of a host as somebody sees it who holds none: says who holds it, and takes it away from the run `wanted`.
# The folder is the one that core_identify finds.
case ${XDG_STATE_HOME-}:$(id -u) in
  /*) lock=$XDG_STATE_HOME/mutate/lock ;;
  *:0) lock=/var/lib/mutate/lock ;;
  *) lock=${HOME:-/}/.local/state/mutate/lock ;;
esac
# One that has just been made may have no owner yet.
[ -f "$lock/owner" ] || [ ! -d "$lock" ] || sleep 1
if [ ! -d "$lock" ]; then
  echo "not locked"
  exit
fi
{ IFS= read -r owner && IFS= read -r who; } <"$lock/owner"
# shellcheck disable=SC2086 # PID START BOOT SINCE RUN
set -- $owner
read -r up _ </proc/uptime
echo "locked by $who, run ${5-unknown}, for $((${up%%.*} - ${4:-0})) s"
[ "$wanted" ] || exit 0
if [ "$wanted" != "${5-}" ]; then
  echo "not freed: the lock is not that of run $wanted" >&2
  exit 8
fi
free=$lock.free.$$
mv "$lock" "$free" || exit
IFS= read -r now <"$free/owner"
if [ "$now" != "$owner" ]; then
  # Another run has taken it in between.
  [ -e "$lock" ] || mv "$free" "$lock"
  echo "not freed: another run has just taken the lock" >&2
  exit 8
fi
rm -rf "$free" && echo "freed"
