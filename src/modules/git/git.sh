# shellcheck shell=sh
# shellcheck disable=SC2154 # n comes from core
# git: a working copy of a repository.

# git__way KEY ACCEPT: how git reaches the other side; it never asks anybody anything.
git__way() {
  GIT_TERMINAL_PROMPT=0
  GIT_SSH_COMMAND='ssh -o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=10'
  # A server that says nothing is not waited for without end.
  GIT_HTTP_LOW_SPEED_LIMIT=1 GIT_HTTP_LOW_SPEED_TIME=20
  [ "$2" = no ] || GIT_SSH_COMMAND="$GIT_SSH_COMMAND -o StrictHostKeyChecking=accept-new"
  if [ "$1" != - ]; then
    case $1 in *[!A-Za-z0-9_./-]*) core_say 'the path of the key has odd letters'; return 1 ;; esac
    GIT_SSH_COMMAND="$GIT_SSH_COMMAND -i $1 -o IdentitiesOnly=yes"
  fi
  export GIT_TERMINAL_PROMPT GIT_SSH_COMMAND GIT_HTTP_LOW_SPEED_LIMIT GIT_HTTP_LOW_SPEED_TIME
}

# git_look DEST REPO VERSION REMOTE UPDATE KEY ACCEPT (probe): lines `state`, `head`, `branch`, `url`, `dirty`, `want`, `kind`.
#   state  absent, empty (a folder with nothing in it), repo, other
#   want   the commit that VERSION is on the other side, or of HEAD here when UPDATE is no; kind: branch, tag, commit, head
git_look() {
  command -v git >/dev/null 2>&1 || {
    core_die 'this host has no git; install the package git first'
    return 3
  }
  git__way "$6" "$7" 2>/dev/null
  _v_head=- _v_branch=- _v_url=- _v_dirty=no
  if [ -d "$1/.git" ] || [ -f "$1/.git" ]; then
    _v_state=repo
    # A repository of somebody else is not worked on by accident.
    _v_head=$(git -C "$1" rev-parse -q --verify 'HEAD^{commit}' 2>&1) || {
      case $_v_head in
        *dubious*) core_die "the repository $(core_esc "$1") belongs to somebody else; become that user"; return 3 ;;
      esac
      _v_head=-
    }
    _v_branch=$(git -C "$1" symbolic-ref -q --short HEAD) || _v_branch=-
    _v_url=$(git -C "$1" config --get "remote.$4.url") || _v_url=-
    [ -z "$(git -C "$1" status --porcelain --untracked-files=no 2>/dev/null)" ] || _v_dirty=yes
  elif [ ! -e "$1" ] && [ ! -L "$1" ]; then
    _v_state=absent
  elif [ -d "$1" ] && [ -z "$(ls -A -- "$1")" ]; then
    _v_state=empty
  else
    _v_state=other
  fi
  _v_kind=head _v_want=-
  if [ "$5" = no ] && [ "$_v_state" = repo ]; then
    _v_want=$_v_head
  else
    git__want "$2" "$3" || return
  fi
  printf 'state %s\nhead %s\nbranch %s\nurl %s\ndirty %s\nwant %s\nkind %s\n' "$_v_state" "$_v_head" "$_v_branch" "$_v_url" "$_v_dirty" "$_v_want" "$_v_kind"
}

# git__want REPO VERSION → _v_want, _v_kind
git__want() {
  case $2 in
    *[!0-9a-f]*) ;;
    ????????????????????????????????????????)
      _v_want=$2 _v_kind=commit
      return 0
      ;;
  esac
  _v_all=$(git ls-remote -- "$1" 2>&1) || {
    _v_all=${_v_all##*fatal: }
    core_die "the repository cannot be asked: ${_v_all%%"$n"*}"
    return 3
  }
  _v_found=$(printf '%s\n' "$_v_all" | git__named "$2")
  _v_want=${_v_found% *} _v_kind=${_v_found#* }
  [ "$_v_want" != - ] || {
    core_die "the repository has no branch or tag $(core_esc "$2")"
    return 3
  }
}

# git__named VERSION: of the lines of `git ls-remote` on stdin, the commit of that name, and its kind. A branch goes before a tag.
git__named() {
  _v_want=- _v_kind=head _v_tag=''
  while read -r _v_sha _v_ref; do
    case $_v_ref in
      HEAD) [ "$1" != HEAD ] || _v_want=$_v_sha ;;
      "refs/heads/$1") _v_want=$_v_sha _v_kind=branch ;;
      # a tag with a text of its own comes twice; the commit stands behind it
      "refs/tags/$1" | "refs/tags/$1^{}") _v_tag=$_v_sha ;;
    esac
  done
  if [ "$_v_want" = - ] && [ "$_v_tag" ]; then
    _v_want=$_v_tag _v_kind=tag
  fi
  printf '%s %s' "$_v_want" "$_v_kind"
}

git__fail() {
  _v_err=${_v_err##*fatal: }
  _v_err=${_v_err##*error: }
  core_say "$1: ${_v_err%%"$n"*}"
  exit 1
}

git__run() {
  _v_err=$("$@" 2>&1 >/dev/null)
}

# git_put DEST REPO VERSION REMOTE DEPTH KEY ACCEPT FORCE WANT KIND STATE SUBMODULES (apply)
git_put() { (git__put "$@"); }

git__put() {
  _v_dest=$1 _v_repo=$2 _v_version=$3 _v_remote=$4 _v_depth=$5
  git__way "$6" "$7" || exit 1
  shift 7
  _v_force=$1 _v_want=$2 _v_kind=$3 _v_state=$4 _v_sub=$5
  umask 022
  case $_v_depth in -) set -- ;; *) set -- --depth "$_v_depth" ;; esac
  if [ "$_v_state" != repo ]; then
    case $_v_kind in
      branch | tag) set -- "$@" --branch "$_v_version" ;;
      # A commit of any age needs the whole history.
      commit) set -- --no-checkout ;;
    esac
    git__run git clone -q --origin "$_v_remote" "$@" -- "$_v_repo" "$_v_dest" || git__fail 'it cannot be cloned'
  else
    git__run git -C "$_v_dest" remote set-url "$_v_remote" "$_v_repo" || git__run git -C "$_v_dest" remote add "$_v_remote" "$_v_repo" || git__fail 'the address cannot be set'
    case $_v_kind in
      branch) set -- "$@" -- "$_v_remote" "+refs/heads/$_v_version:refs/remotes/$_v_remote/$_v_version" ;;
      tag) set -- "$@" -- "$_v_remote" "+refs/tags/$_v_version:refs/tags/$_v_version" ;;
      head)
        _v_now=$(git -C "$_v_dest" symbolic-ref -q --short HEAD)
        set -- "$@" -- "$_v_remote" "HEAD${_v_now:+:refs/remotes/$_v_remote/$_v_now}"
        ;;
      commit) set -- -- "$_v_remote" ;;
    esac
    case $_v_kind in
      branch) _v_mine=$_v_version ;;
      head) _v_mine=$_v_now ;;
      *) _v_mine='' ;;
    esac
    _v_known=$(git -C "$_v_dest" rev-parse -q --verify "refs/remotes/$_v_remote/$_v_mine^{commit}")
    git__run git -C "$_v_dest" fetch -q --force "$@" || git__fail 'it cannot be fetched'
    # Commits that were made here would be on no branch any more.
    if [ "$_v_force" = no ] && [ "$_v_mine" ] && git -C "$_v_dest" rev-parse -q --verify "refs/heads/$_v_mine" >/dev/null; then
      git -C "$_v_dest" merge-base --is-ancestor "refs/heads/$_v_mine" "$_v_want" 2>/dev/null ||
        { [ "$_v_known" ] && git -C "$_v_dest" merge-base --is-ancestor "refs/heads/$_v_mine" "$_v_known" 2>/dev/null; } || {
        core_say "the branch $_v_mine of the copy has commits of its own; push them, or say force = true"
        exit 1
      }
    fi
  fi
  [ "$_v_force" = no ] || git__run git -C "$_v_dest" reset -q --hard || git__fail 'what was changed there cannot be taken back'
  case $_v_kind in
    branch) git__run git -C "$_v_dest" checkout -q -B "$_v_version" "$_v_want" || git__fail 'it cannot be checked out' ;;
    head)
      _v_now=$(git -C "$_v_dest" symbolic-ref -q --short HEAD)
      if [ "$_v_now" ]; then
        git__run git -C "$_v_dest" checkout -q -B "$_v_now" "$_v_want" || git__fail 'it cannot be checked out'
      else
        git__run git -C "$_v_dest" checkout -q --detach "$_v_want" || git__fail 'it cannot be checked out'
      fi
      ;;
    *) git__run git -C "$_v_dest" checkout -q --detach "$_v_want" || git__fail 'it cannot be checked out' ;;
  esac
  if [ "$_v_sub" = yes ] && [ -f "$_v_dest/.gitmodules" ]; then
    git__run git -C "$_v_dest" submodule -q update --init --recursive || git__fail 'its submodules cannot be fetched'
  fi
}

# git_unclone DEST FOLDER (apply): removes a copy that was new, unless somebody has put something there since. FOLDER yes: the
# folder itself was there before.
git_unclone() { (git__unclone "$@"); }

git__unclone() {
  [ -d "$1/.git" ] || {
    core_say "$(core_esc "$1") is no working copy any more, and is left alone"
    exit 1
  }
  _v_own=$(git -C "$1" status --porcelain --ignored 2>&1 | head -n 1)$(git -C "$1" stash list 2>&1 | head -n 1)$(git -C "$1" log --oneline --branches --not --remotes 2>&1 | head -n 1)
  [ -z "$_v_own" ] || {
    core_say "$(core_esc "$1") has files or commits that are not of the repository ($_v_own), and is left alone"
    exit 1
  }
  if [ "$2" = yes ]; then
    find "$1" -mindepth 1 -maxdepth 1 -exec rm -rf -- {} +
  else
    file_absent "$1" tree
  fi
}

# git_back DEST HEAD BRANCH URL REMOTE (apply): the working copy as it was: a commit, on a branch or none.
git_back() { (git__back "$@"); }

git__back() {
  umask 022
  if [ "$3" = - ]; then
    git__run git -C "$1" checkout -q --detach "$2"
  else
    git__run git -C "$1" checkout -q -B "$3" "$2"
  fi || git__fail 'the former state cannot be checked out'
  if [ "$4" = - ]; then git__run git -C "$1" remote remove "$5"; else git__run git -C "$1" remote set-url "$5" "$4"; fi || :
}
