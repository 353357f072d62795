# shellcheck shell=sh
# shellcheck disable=SC2154,SC2034,SC2086 # $_repositories are words; n, a newline, is the core's; the other variables are those of look.sh
#
# package, second part: what the repositories have, for the modes `latest` and `plan` of package_look and for changes.
# Asks without the network and without leaving anything behind.

# package_dnf: sets _dnf to the command to call, and _five to 1 if that is dnf 5 (which may be called dnf, too).
package_dnf() {
    _dnf=dnf _five=
    command -v dnf >/dev/null || _dnf=dnf5
    [ "$_pm" = yum ] && _dnf=yum
    # shellcheck disable=SC3013 # -ef is in every shell that mutate accepts
    if [ "$_dnf" = dnf5 ] || [ /usr/bin/dnf -ef /usr/bin/dnf5 ]; then _five=1; fi
    return 0
}

# package_upgrades NAME… (installed ones): sets _up, lines `|NAME|VERSION` of those that could be upgraded.
# package_available NAME…: sets _av, the same for all versions in the repositories, best first. For apt the first
# line of a name is the candidate, `-` if there is none, so a package held back by a pin is not taken for the newest.
# A manager without any lists sets _blind instead, and candidates are `?`.
# Status 1: could not tell, _why says so. $_cached is not empty in probes: answer from the lists as they are, fetch nothing.
package_upgrades() {
    _up=$n _why=
    case $_pm in
        apt)
            package_available "$@" || return 1
            _up=$_av ;;
        dnf)
            package_may_ask || return 1
            package_dnf
            _y=$($_dnf $_repositories -q ${_cached:+-C} repoquery --upgrades --latest-limit=1 --qf '%{name} %{evr} %{arch}\n' "$@" 2>/dev/null) ||
                { _blind=1; return 0; }
            package_table "$_y"
            _up=$_table ;;
        yum)
            _y=$(yum $_repositories -q -y ${_cached:+-C} check-update "$@" 2>/dev/null)
            case $? in
                0) ;;
                100) package_triples "$_y"; _up=$_table ;;
                *) _blind=1 ;;
            esac ;;
        zypper)
            package_zypper list-updates -t package || { _blind=1; return 0; }
            package_xml '<update '
            _up=$_table ;;
        pacman)
            _y=$(pacman -Qu -- "$@" 2>/dev/null)
            package_lines "$_y"
            for _l in "$@"; do
                case $_table in
                    *"$n$_l "*"$n"*)
                        _y=${_table#*"$n$_l "}
                        _y=${_y%%"$n"*}
                        # a package of IgnorePkg stays as it is
                        case $_y in *'[ignored]') ;; *) _up="$_up|$_l|${_y##* }$n" ;; esac ;;
                esac
            done ;;
        apk)
            _y=$(apk version -l '<' "$@" 2>/dev/null)
            package_lines "$_y"
            for _l in "$@"; do
                case $_table in
                    *"$n$_l-"[0-9]*' < '*)
                        _y=${_table#*"$n$_l-"[0-9]}
                        _y=${_y%%"$n"*}
                        _y=${_y#*'< '}
                        _up="$_up|$_l|${_y%% *}$n" ;;
                esac
            done ;;
    esac
    return 0
}

package_available() {
    _av=$n _why=
    case $_pm in
        apt)
            # A cache path that cannot exist keeps apt from writing its cache from within a probe. Not one below
            # /dev/null: apt takes that for /dev/null itself and makes it 0644.
            _y=$(apt-cache -o Dir::Cache::pkgcache=/proc/none/none policy "$@" 2>/dev/null) ||
                { _why='apt-cache cannot read the package lists of this host'; return 1; }
            package_policy "$_y"
            _av=$_table ;;
        dnf)
            package_may_ask || return 1
            package_dnf
            # sort -V, because dnf 4 sorts the lines as text
            _y=$($_dnf $_repositories -q ${_cached:+-C} repoquery --available --qf '%{name} %{evr} %{arch}\n' "$@" 2>/dev/null) ||
                { _blind=1; return 0; }
            _y=$(printf '%s\n' "$_y" | sort -V -r)
            package_table "$_y"
            _av=$_table ;;
        yum)
            _y=$(yum $_repositories -q -y ${_cached:+-C} --showduplicates list available "$@" 2>/dev/null)
            package_triples "$_y"
            _av=$_table ;;
        zypper)
            package_zypper search -s -t package --match-exact -- "$@"
            case $? in
                # 104: nothing of that name
                0 | 104 | 106) ;;
                *) _blind=1 ;;
            esac
            package_xml '<solvable '
            _av=$_table ;;
        pacman)
            _y=$(pacman -Si -- "$@" 2>/dev/null)
            package_lines "$_y"
            _ifs=$IFS; IFS=$n
            for _l in $_table; do
                case $_l in
                    'Name '*:*) _x=${_l##* } ;;
                    'Version '*:*) _av="$_av|$_x|${_l##* }$n" ;;
                esac
            done
            IFS=$_ifs ;;
        apk)
            _y=$(apk search -x "$@" 2>/dev/null)
            _y=$(printf '%s\n' "$_y" | sort -r)
            package_lines "$_y"
            _ifs=$IFS; IFS=$n
            for _l in $_table; do
                # name-1.2.3-r0
                _x=${_l%-*}
                _av="$_av|${_x%-*}|${_l#"${_x%-*}"-}$n"
            done
            IFS=$_ifs ;;
    esac
    return 0
}

# package_may_ask: dnf leaves a cache and logs in /var/tmp when it is asked by somebody else than root.
package_may_ask() {
    [ "$(id -u)" = 0 ] && return 0
    _why='the newest versions can be asked for by root only on a host with dnf; become = true would help'
    return 1
}

# package_zypper COMMAND ARG…: sets _y to what zypper prints. Without a lock, a log, and a folder in /var/tmp. In a
# probe also without the network: even with --no-refresh zypper fetches the lists of a repository that has none yet,
# so such repositories are left out; status 1 if no other is there.
package_zypper() {
    if [ -n "$_cached" ]; then
        package_repos || return 1
        _q=$1
        shift
        _ifs=$IFS IFS=$n
        # shellcheck disable=SC2086
        set -- --no-refresh "$_q" $_repos "$@"
        IFS=$_ifs
    fi
    _tmp=
    [ -w /run ] && _tmp=/run
    _y=$(export ZYPP_READONLY_HACK=1 ZYPP_LOGFILE=/dev/null
        [ -z "$_tmp" ] || export ZYPPTMPDIR="$_tmp" TMPDIR="$_tmp"
        zypper --non-interactive -x "$@" 2>/dev/null)
}

# package_repos: sets _repos to one `--repo=ALIAS` per line for the enabled repositories whose lists are there, or to
# nothing if that is all of them; status 1 if it is none.
package_repos() {
    _repos='' _all=1
    set +f
    for _x in /etc/zypp/repos.d/*.repo; do
        set -f
        [ -r "$_x" ] || continue
        _q='' _a=1
        while IFS= read -r _l || [ -n "$_l" ]; do
            case $_l in
                '['*']')
                    package_repo
                    _q=${_l#?} _q=${_q%?} _a=1 ;;
                enabled=0 | enabled=[Ff]* | enabled=[Nn]*) _a= ;;
            esac
        done <"$_x"
        package_repo
    done
    set -f
    [ -n "$_repos" ] || return 1
    [ -z "$_all" ] || _repos=
    return 0
}

package_repo() {
    if [ -z "$_q" ] || [ -z "$_a" ]; then return 0; fi
    if [ -d "/var/cache/zypp/raw/$_q" ]; then _repos="$_repos--repo=$_q$n"; else _all=; fi
}

# The readers: each turns a tool's text into _table.
package_lines() { _table="$n$1$n"; }

# `name version arch` per line
package_table() {
    _table=$n _ifs=$IFS IFS=$n
    for _l in $1; do
        IFS=$_ifs
        # shellcheck disable=SC2086 # words are wanted
        set -- $_l
        [ $# = 3 ] && _table="$_table|$1|${2#0:}$n|$1.$3|${2#0:}$n"
        IFS=$n
    done
    IFS=$_ifs
}

# yum: `name.arch version repo`, which it may break over lines, after headings
package_triples() {
    _table=$n
    # shellcheck disable=SC2086
    set -- $1
    while [ $# -ge 3 ]; do
        case $1 in
            Obsoleting) break ;;
            # the newest comes last in yum's list
            *.*) _table="$n|${1%.*}|${2#0:}$n|$1|${2#0:}$_table"; shift 3 ;;
            *) shift ;;
        esac
    done
}

# apt-cache policy
package_policy() {
    _table=$n _ifs=$IFS IFS=$n
    for _l in $1; do
        case $_l in
            [!\ ]*:) _x=${_l%:} ;;
            '  Candidate: '*)
                _l=${_l#  Candidate: }
                [ "$_l" = '(none)' ] && _l=-
                _table="$_table|$_x|$_l$n" ;;
            '     '[!\ ]* | ' *** '*)
                _l=${_l#?????}
                _table="$_table|$_x|${_l%% *}$n" ;;
        esac
    done
    IFS=$_ifs
}

# zypper's XML: $1 is how an element begins, of which a line may hold several; the text is in _y
package_xml() {
    _table=$n _ifs=$IFS IFS=$n
    for _l in $_y; do
        while :; do
            case $_l in *"$1"*) ;; *) break ;; esac
            _l=${_l#*"$1"}
            _x=" ${_l%%>*}"
            case $_x in
                *'kind="package"'*)
                    _q=${_x#* name=\"} _a=${_x#* arch=\"} _z=${_x#* edition=\"}
                    _q=${_q%%\"*} _a=${_a%%\"*} _z=${_z%%\"*}
                    _table="$_table|$_q|$_z$n|$_q.$_a|$_z$n" ;;
            esac
        done
    done
    IFS=$_ifs
}

# package_file NAME WANT: finds NAME in a fitting version as a file in pacman's cache or in a repository on this
# host's own disk; sets _found (version) and _path, both empty if there is none.
package_file() {
    _found='' _path=''
    _y=$(pacman-conf 2>/dev/null)
    case $_y in *CacheDir*) ;; *) _y='CacheDir = /var/cache/pacman/pkg/' ;; esac
    _ifs=$IFS IFS=$n
    for _l in $_y; do
        case $_l in
            'CacheDir = '*) _l=${_l#*= } ;;
            'Server = file://'*) _l=${_l#*file://} ;;
            *) continue ;;
        esac
        _l=${_l%/}
        set +f
        for _x in "$_l/$1"-[0-9]*.pkg.tar*; do
            set -f
            case $_x in *.sig) continue ;; esac
            [ -f "$_x" ] || continue
            _q=${_x##*/}
            _q=${_q%.pkg.tar*}
            # name-version-release-arch: cut the architecture off; a longer name (foo-1st) shows by its extra dash
            _q=${_q%-*}
            _q=${_q#"$1"-}
            case $_q in *-*-*) continue ;; esac
            if package_matches "$_q" "$2"; then _found=$_q _path=$_x; fi
        done
        set -f
        [ -z "$_found" ] || break
    done
    IFS=$_ifs
}
