# shellcheck shell=sh
# package_common: how each package manager is asked and told, for package_file and package_upgrade.

# has PROGRAM...: are all of them here?
has() {
  for one; do command -v "$one" >/dev/null 2>&1 || return 1; done
}

# manager: sets pm to the package manager of this host. Where there are several, os-release decides.
manager() {
  like=' '
  if [ -r /etc/os-release ]; then
    while IFS= read -r line || [ -n "$line" ]; do
      case $line in (ID=*|ID_LIKE=*) like="$like${line#*=} " ;; esac
    done </etc/os-release
  fi
  case $like in
    (*debian*|*ubuntu*) set -- apt ;;
    (*suse*) set -- zypper dnf ;;
    (*rhel*|*fedora*|*centos*) set -- dnf yum ;;
    (*arch*) set -- pacman ;;
    (*alpine*) set -- apk ;;
    (*) set -- ;;
  esac
  for pm in "$@" apt dnf yum zypper pacman apk none; do
    case $pm in
      (apt) has apt-get dpkg-query ;;
      (dnf) has rpm && { has dnf || has dnf5; } ;;
      (yum|zypper) has "$pm" rpm ;;
      (*) has "$pm" ;;
    esac && break
  done
  dnf=$pm five=''
  if [ "$pm" = dnf ]; then
    has dnf || dnf=dnf5
    if [ "$dnf" = dnf5 ] || case $(readlink -f /usr/bin/dnf) in (*/dnf5) true ;; (*) false ;; esac; then five=1; fi
  fi
  [ "$pm" != none ] || stop "this host has no package manager that mutate knows (apt, dnf, yum, zypper, pacman, apk)"
  export DEBIAN_FRONTEND=noninteractive
}

# try COMMAND...: again while somebody else holds the lock. What it prints is in `said`.
try() {
  since=$(date +%s)
  while :; do
    said=$("$@" 2>&1)
    status=$?
    case $pm,$status in (zypper,10[236]) status=0 ;; esac
    [ "$status" != 0 ] || return 0
    case $pm,$status,$said in
      (zypper,7,*|dnf,200,*|yum,200,*|*'ould not get lock'*|*'nable to lock'*|*'nable to acquire the dpkg'*|*'reate transaction lock'*) ;;
      (*) return "$status" ;;
    esac
    [ $(($(date +%s) - since)) -lt {{ lock_timeout }} ] || stop {{ "somebody else held the lock of the package manager for more than " ~ lock_timeout ~ " s; see who it is, or raise lock_timeout" }}
    sleep 1
  done
}

# make COMMAND...: tries it, and shows what it prints.
make() {
  try "$@"
  [ -z "$said" ] || printf '%s\n' "$said" >&2
  return "$status"
}

# The managers, asked without a question back.
apt_make() {
  make apt-get -y -q -o Dpkg::Use-Pty=0 -o APT::Color=0 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}
dnf_make() {
  [ -n "$five" ] || set -- --setopt=exit_on_lock=1 "$@"
  make "$dnf" -y "$@"
}
zypper_make() { make zypper --non-interactive "$@"; }
pacman_make() {
  _verb=$1
  shift
  make pacman "$_verb" --noconfirm --noprogressbar "$@"
}

# plan COMMAND...: what the manager would do, one line `NAME OLD NEW MARK` for each package, `-` for no version; MARK is
# `security` where apt says so. Status 1: it cannot, and says why in `said`.
plan() {
  plan=''
  try "$@"
  case $pm,$status,$said in
    (*,0,*|dnf,1,*'Transaction Summary'*|yum,1,*'Transaction Summary'*) ;;
    (dnf,1,*'No packages marked for '*|yum,1,*'No packages marked for '*) return 0 ;;
    (*) return 1 ;;
  esac
  case $pm in
    (apt) plan=$(printf '%s\n' "$said" | awk '
        $1 == "Inst" {
          old = "-"; at = 3
          if ($3 ~ /^\[/) { old = substr($3, 2, length($3) - 2); at = 4 }
          is = $0; sub(/^[^(]*\([^ ]* /, "", is); sub(/\).*/, "", is)
          line[$2] = $2 " " old " " substr($at, 2) (tolower(is) ~ /security/ ? " security" : "")
        }
        ($1 == "Remv" || $1 == "Purg") && !($2 in line) { line[$2] = $2 " " substr($3, 2, length($3) - 2) " -" }
        END { for (x in line) print line[x] }' | sort) ;;
    (dnf|yum)
      rows=$(printf '%s\n' "$said" | awk '
        /^Transaction Summary/ { exit }
        /^[A-Z].*:$/ { row = ""; kind = $1 ~ /^(Upgrading|Updating|Downgrading)/ ? "up" : $1 ~ /^Installing/ ? "new" : $1 ~ /^Removing/ ? "gone" : ""; next }
        !kind || !/^ / { next }
        $1 == "replacing" {
          if (NF <= 4 && split($2, x, ".") > 1) print "gone", $2, $3
          else if ($2 != name) print "gone", $2 "." $3, $4
          next
        }
        { row = row " " $0; if (split(row, x, " ") >= 5) { name = x[1]; print kind, x[1] "." x[2], x[3]; row = "" } }')
      [ -n "$rows" ] || return 0
      plan=$( { rpm -qa --qf '= %{NAME}.%{ARCH} %{EPOCHNUM}:%{VERSION}-%{RELEASE}\n'; printf '%s\n' "$rows"; } | awk '
        { sub(/^0:/, "", $3); bare = $2; sub(/\.[^.]*$/, "", bare) }
        $1 == "=" { have[$2] = $3; any[bare] = $3 }
        $1 == "up" { print $2, ($2 in have ? have[$2] : bare in any ? any[bare] : "-"), $3 }
        $1 == "new" { print $2, "-", $3 }
        $1 == "gone" { print $2, $3, "-" }' | sort -u) ;;
    (zypper) plan=$(printf '%s\n' "$said" | awk '
        function of(key,  x) { x = $0; return sub(".*[ \n]" key "=\"", "", x) ? substr(x, 1, index(x, "\"") - 1) : "" }
        BEGIN { RS = "<" }
        /^to-/ { kind = $1; sub(/>.*/, "", kind) }
        /^\/to-/ { kind = "" }
        kind && /^solvable / && of("type") == "package" {
          old = of("edition-old"); name = of("name") "." of("arch")
          if (kind == "to-remove") print name, of("edition"), "-"
          else if (kind != "to-reinstall") print name, (old == "" ? "-" : old), of("edition")
        }' | sort) ;;
    (pacman)
      rows=$(printf '%s\n' "$said" | grep '^= ')
      [ -n "$rows" ] || return 0
      plan=$( { pacman -Q | sed 's/^/+ /'; printf '%s\n' "$rows"; } | awk '$1 == "+" { have[$2] = $3; next } { print $2, ($2 in have ? have[$2] : "-"), $3 }' | sort) ;;
    (apk) plan=$(printf '%s\n' "$said" | awk '
        { sub(/\)$/, "") }
        $2 ~ /^(Upgrading|Downgrading)$/ { print $3, substr($4, 2), $6 }
        $2 == "Installing" { print $3, "-", substr($4, 2) }
        $2 == "Purging" { print $3, substr($4, 2), "-" }' | sort) ;;
  esac
  return 0
}

# why: the line of `said` that says most about why the manager cannot do it.
why() {
  printf '%s\n' "$said" >&2
  why=$(printf '%s\n' "$said" | sed 's/<[^>]*>//g' | awk '
    { line = tolower($0); sub(/^ +/, "") }
    !best && line ~ /depends:|conflicts:|breaks:|nothing provides|requires |unable to satisfy|in conflict|conflicts with|is needed by/ { best = $0 }
    !next_best && line ~ /^e:|^error|problem|not found|cannot/ { next_best = $0 }
    END { print best ? best : next_best ? next_best : "see what it says" }')
}

# pacman_file NAME VERSION: sets `found` to its file in a cache of pacman or in a repository on this host.
pacman_file() {
  found=''
  [ -n "${dirs-}" ] || dirs=$(pacman-conf 2>/dev/null | sed -n -e 's/^CacheDir = //p' -e 's|^Server = file://||p')
  for dir in ${dirs:-/var/cache/pacman/pkg}; do
    set +f
    for one in "${dir%/}/$1-$2"-*.pkg.tar*; do
      case ${one#"${dir%/}/$1-$2-"} in (*-*|*.sig) continue ;; esac
      [ ! -f "$one" ] || found=$one
    done
    set -f
  done
}

# apt_file NAME VERSION: sets `found` to its file in apt's archive.
apt_file() {
  found=''
  case $2 in (*:*) version="${2%%:*}%3a${2#*:}" ;; (*) version=$2 ;; esac
  set +f
  for one in "/var/cache/apt/archives/${1%%:*}_${version}"_*.deb; do [ ! -f "$one" ] || found=$one; done
  set -f
}

# rest: which of the versions in the lines of `plan` nobody has any more: lines `NAME VERSION` in `lost`.
rest() {
  lost='' names='' olds=''
  IFS=$n
  for line in $plan; do
    IFS=" $t$n"
    set -- $line
    [ "$2" = - ] || { names="$names $1" olds="$olds$1 $2$n"; }
    IFS=$n
  done
  IFS=" $t$n"
  [ -n "$names" ] || return 0
  set -- $names
  case $pm in
    (apt) there=$(apt-cache -o Dir::Cache::pkgcache=${bin:+"$bin/pkgcache.bin"} -o Dir::Cache::srcpkgcache=${bin:+"$bin/srcpkgcache.bin"} madison "$@" 2>/dev/null | awk '{ print $1, $3 }') ;;
    (dnf|yum) there=$("$dnf" -q -C repoquery --available --qf '%{name}.%{arch} %{evr}\n' "$@" 2>/dev/null) ;;
    (zypper)
      for one; do set -- "$@" "${one%.*}"; shift; done
      there=$(ZYPP_READONLY_HACK=1 ZYPP_LOGFILE=/dev/null zypper --non-interactive --no-refresh -x search -s -t package --match-exact -- "$@" 2>/dev/null |
        awk 'function of(key,  x) { x = $0; return sub(".* " key "=\"", "", x) ? substr(x, 1, index(x, "\"") - 1) : "" } /<solvable / && !/System Packages/ { print of("name") "." of("arch"), of("edition") }') ;;
    (*) there='' ;;
  esac
  IFS=$n
  for line in $olds; do
    IFS=" $t$n"
    case "$n$there$n" in
      (*"$n$line$n"*) ;;
      (*)
        set -- $line
        found=''
        case $pm in (pacman) pacman_file "$1" "$2" ;; (apt) apt_file "$1" "$2" ;; esac
        # apt-cache says no architecture
        case $pm,$1 in (apt,*:*) case "$n$there$n" in (*"$n${1%%:*} $2$n"*) found=1 ;; esac ;; esac
        [ -n "$found" ] || lost="$lost$line$n" ;;
    esac
    IFS=$n
  done
  IFS=" $t$n"
}

# marks and marked: apt calls a package that it is told to install one that was asked for; so note which are not, and say so again.
marks() { [ "$pm" != apt ] || autos=" $(apt-mark showauto | tr '\n' ' ')"; }
marked() {
  [ "$pm" = apt ] || return 0
  again=''
  for one; do case $autos in (*" $one "*) again="$again $one" ;; esac; done
  [ -z "$again" ] || apt-mark auto $again >/dev/null
}

# back LINE...: from lines `NAME OLD -> NEW` makes NAME OLD again. Versions that nobody has any more are left out.
back() {
  come='' go='' names='' news='' erase=''
  for line; do
    set -- $line
    name=$1 old=$2 new=$4 found=''
    case $lost in (*"|$name $old|"*) continue ;; esac
    names="$names $name"
    [ "$new" != - ] || erase=1
    case $pm,$old in
      (apt,-) go="$go $name-" news="$news $name " ;;
      (dnf,-|yum,-) go="$go ${name%.*}-$new.${name##*.}" ;;
      (zypper,-) go="$go $name=$new" ;;
      (*,-) go="$go $name" ;;
      (dnf,*|yum,*) come="$come ${name%.*}-$old.${name##*.}" ;;
      (pacman,*)
        pacman_file "$name" "$old"
        [ -n "$found" ] || fail "the file of $name $old is gone from the cache of pacman"
        come="$come $found" ;;
      (apt,*)
        apt_file "$name" "$old"
        come="$come ${found:-$name=$old}" ;;
      (*) come="$come $name=$old" ;;
    esac
  done
  [ -n "$names" ] || return 0
  case $pm in
    (apt)
      # nothing else may go, only what came with the change
      others=$(apt-get -s -qq --allow-downgrades --allow-change-held-packages install $come $go 2>/dev/null | sed -n 's/^\(Remv\|Purg\) \([^ ]*\) .*/\2/p')
      for one in $others; do
        case $news in (*" $one "*) ;; (*) fail "going back would remove $one, which was not part of the change" ;; esac
      done
      marks
      apt_make --purge --allow-downgrades --allow-change-held-packages install $come $go || fail "apt could not bring the former versions back"
      marked $names ;;
    (dnf|yum)
      [ -z "$come" ] || dnf_make --setopt=install_weak_deps=0 ${erase:+--allowerasing} install $come || fail "$pm could not bring the former versions back"
      [ -z "$go" ] || dnf_make --setopt=clean_requirements_on_remove=0 remove $go || fail "$pm could not remove what had come" ;;
    (zypper)
      [ -z "$come" ] || zypper_make install --oldpackage --no-recommends ${erase:+--force-resolution} $come || fail "zypper could not bring the former versions back"
      [ -z "$go" ] || zypper_make remove $go || fail "zypper could not remove what had come" ;;
    (pacman)
      [ -z "$come" ] || pacman_make -U $come || fail "pacman could not bring the former versions back"
      [ -z "$go" ] || pacman_make -R $go || fail "pacman could not remove what had come" ;;
    (apk)
      # A version that is asked for would stay in the list of what is wanted.
      world=$(cat /etc/apk/world)
      [ -z "$come$go" ] || { for one in $go; do set -- "$@" "!$one"; done; make apk add -q --no-progress $come "$@"; } || fail "apk could not bring the former versions back"
      printf '%s\n' "$world" >/etc/apk/world || fail "/etc/apk/world cannot be written" ;;
  esac
}
