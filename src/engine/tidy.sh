# shellcheck shell=sh
# shellcheck disable=SC2154 # n, st and core_run come from core
# tidy: what earlier runs have left on this host goes when it is old, when there are too many, or when it is too much.
# The host's own clock decides, and only the holder of the lock calls this.

# tidy_old DAYS RUNS KIBIBYTES: forgets runs that are older, all but so many of the newest, and the oldest for as long as
# the store is larger; and with them every backup that no run speaks of any more. Never the present run.
tidy_old() (
  set +f
  cd "$st/runs" || exit 0
  _old=$n$(find . ! -name . -prune -mtime "+$1" -print)$n
  _count=1 _gone=''
  # A shell that was killed could not clear away what it had begun.
  for _open in */open; do
    _run=${_open%/open}
    if [ ! -f "$_open" ] || [ "$_run" = "$core_run" ]; then continue; fi
    # shellcheck disable=SC1090 # lines of core_later
    [ ! -f "$_run/later" ] || (. "./$_run/later")
    tidy_begun "$_run"
    rm -f "./$_run/later" "./$_open"
  done
  # Runs are named by letters and digits.
  # shellcheck disable=SC2045
  for _run in $(ls -t); do
    [ "$_run" != "$core_run" ] || continue
    _count=$((_count + 1))
    case $_old in *"$n./$_run$n"*) ;; *) [ "$_count" -gt "$2" ] || continue ;; esac
    rm -rf "./$_run"
    _gone=1
  done
  [ -z "$_gone" ] || tidy_store
  # shellcheck disable=SC2045
  for _run in $(ls -tr); do
    [ "$(tidy_size)" -gt "$3" ] || break
    [ "$_run" != "$core_run" ] || continue
    rm -rf "./$_run"
    tidy_store
  done
) </dev/null >/dev/null 2>&1

# tidy_begun RUN: removes temporaries of a run, which lie beside the paths of its changes, or in them. Nobody else makes
# names with that of a run.
tidy_begun() {
  while IFS= read -r _line; do
    case $_line in 'path '*) ;; *) continue ;; esac
    _name=$(printf '%bx' "${_line#path * }")
    _name=${_name%x}
    [ ! -L "$_name" ] || _name=$(readlink -f -- "$_name") || continue
    for _left in "${_name%/*}/.mutate.$1."* "$_name/.mutate.$1."*; do
      if [ -e "$_left" ] || [ -L "$_left" ]; then rm -rf -- "$_left"; fi
    done
  done <"./$1/ledger"
}

tidy_size() {
  _size=$(du -sk ../store)
  echo "${_size%%[!0-9]*}"
}

# Removes backups that no ledger names, and what a crash has left half written.
tidy_store() {
  {
    for _run in *; do
      cat "./$_run/ledger"
    done | grep '^kept ' | tr ' ' "$n"
    # The backups of a folder stand in a list of their own.
    cat ../store/list.* | tr ' ' "$n"
    echo kept
  } >../store.named
  # A list that is not whole, for lack of room, would be the end of what it leaves out.
  if [ "$(tail -n 1 ../store.named)" != kept ]; then
    rm -f ../store.named
    return
  fi
  # shellcheck disable=SC2010
  ls -A ../store | grep -vxFf ../store.named | while IFS= read -r _one; do
    rm -rf "../store/$_one"
  done
  rm -f ../store.named
}
