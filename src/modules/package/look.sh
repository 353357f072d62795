# shellcheck shell=sh
# shellcheck disable=SC2154,SC2034 # n, a newline, is the core's; what else is set here or read here is of newest.sh and change.sh
#
# package, first part: what is installed. Knows apt, dnf (4 and 5), yum, zypper, pacman and apk.
#
# Probes:  package_look MODE NAME…                what is installed, and what could be
#          package_look_aged SECONDS MODE NAME…   the same, with the age of the manager's lists as a remark
#          package_cache SECONDS                  are the manager's lists fresh or stale
#
# The modes `latest` and `plan` also need newest.sh. The change itself is in change.sh.
#
# A NAME is `name` or `name=version`; the name may carry an architecture the way the manager writes it (`libc6:i386`,
# `glibc.i686`). A version is exact or a pattern with `*` and `?`; outside apt its release (`-1`) and epoch may be left out.
# Not names here: files, URLs, groups (`@base`), comparisons (`foo>=1`).
#
# Everything else in these files is a helper. Helpers leave their results in variables (named in their comments), because
# a command substitution costs a fork. They expect `set -f`, as every function here does: versions may hold `*`.

# --- which manager, which names -------------------------------------------------------------------------------------

# package_repositories ON OFF: those that a task uses besides the enabled ones, and those that it does without; lists with
# commas, or nothing. Comes before everything else.
_repositories=
package_repositories() { _repositories="${2:+--disablerepo=$2} ${1:+--enablerepo=$1}"; }

# package_manager: sets _pm to the manager of this host; status 1 if there is none that can do this, with _why.
# Some systems carry a second manager as an ordinary package (apt on Fedora, dnf on Debian or openSUSE): then os-release
# decides. An applet of BusyBox called `dpkg` or `rpm` is no manager, hence the question for both halves.
package_manager() {
    _why='this host has no package manager that mutate knows (apt, dnf, yum, zypper, pacman, apk)'
    package_which || return 1
    case $_repositories,$_pm in
        ,* | *,dnf | *,yum) ;;
        *) _why="\`enablerepo\` and \`disablerepo\` work with dnf and yum only, and this host has $_pm; take them out, or limit the task with \`when\`"; return 1 ;;
    esac
}

package_which() {
    _pm=
    if command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then _pm="$_pm apt"; fi
    # By its path, because a shell that is BusyBox may prefer its own applet `rpm`, which answers nothing we ask.
    _rpm=/usr/bin/rpm
    [ -x "$_rpm" ] || _rpm=rpm
    if command -v "$_rpm" >/dev/null; then
        if command -v dnf >/dev/null; then _pm="$_pm dnf"
        elif command -v dnf5 >/dev/null; then _pm="$_pm dnf"
        elif command -v yum >/dev/null; then _pm="$_pm yum"; fi
        if command -v zypper >/dev/null; then _pm="$_pm zypper"; fi
    fi
    if command -v pacman >/dev/null; then _pm="$_pm pacman"; fi
    if command -v apk >/dev/null; then _pm="$_pm apk"; fi
    _pm=${_pm# }
    case $_pm in
        *' '*) ;;
        '') return 1 ;;
        *) return 0 ;;
    esac
    _os=
    if [ -r /etc/os-release ]; then
        while IFS= read -r _l || [ -n "$_l" ]; do
            case $_l in
                ID=* | ID_LIKE=*) _os="$_os ${_l#*=}" ;;
            esac
        done </etc/os-release
    fi
    case $_os in
        *debian* | *ubuntu*) _l='apt' ;;
        *suse*) _l='zypper dnf' ;;
        *rhel* | *fedora* | *centos*) _l='dnf yum' ;;
        *arch*) _l='pacman' ;;
        *alpine*) _l='apk' ;;
        *) _l='' ;;
    esac
    for _x in $_l; do
        case " $_pm " in
            *" $_x "*) _pm=$_x; return 0 ;;
        esac
    done
    _pm=${_pm%% *}
}

# package_names NAME…: may all of them be names? If not, sets _why to the sentence; status 1.
# This also keeps apart what a manager would take for something else: `foo-` (apt: remove foo), `-y`, `@group`, a regex.
package_names() {
    for _x in "$@"; do
        case $_x in
            *=*) _y=${_x#*=}; _x=${_x%%=*}; _z=1 ;;
            *) _y=; _z= ;;
        esac
        _why=
        case $_x in
            '') _why='a package name is empty' ;;
            *[\<\>~!]*) _why="the package name $_x holds a comparison; ask for a version as name=1.2 or name=1.2.*" ;;
            @*) _why="$_x is a group of packages, which mutate does not install; name its members" ;;
            */*) _why="$_x is not a package name; files, URLs and name/release are not supported, only names from the host's repositories" ;;
            -* | *- | .* | *[!A-Za-z0-9@._+:\(\)-]*) _why="$_x is not a package name" ;;
        esac
        case $_z$_y in
            1) _why="a version is missing after $_x=" ;;
            *[!A-Za-z0-9.+~:^_*?-]*) _why="$_y is not a version of a package" ;;
        esac
        [ -z "$_why" ] || return 1
    done
    return 0
}

# package_matches HAVE WANT: is version HAVE what WANT asks for?
package_matches() {
    # shellcheck disable=SC2254 # WANT is meant as a pattern
    case $1 in $2) return 0 ;; esac
    [ "$_pm" = apt ] && return 1
    # shellcheck disable=SC2254
    case ${1%-*} in $2) return 0 ;; esac
    # shellcheck disable=SC2254
    case ${1#*:} in $2) return 0 ;; esac
    _y=${1#*:}
    # shellcheck disable=SC2254
    case ${_y%-*} in $2) return 0 ;; esac
    return 1
}

# --- what is installed ----------------------------------------------------------------------------------------------

# package_read NAME…  (without versions): one call of the tool for all names; sets _db, a text that package_find
# understands. Status 1: the tool could not tell, and _why says so.
package_read() {
    _why=
    if [ -n "${package_known-}" ]; then _db=$package_known; return 0; fi
    case $_pm in
        apt)
            _db=$(dpkg-query -W -f '|${Package}|${Architecture}|${Status}|${Version}\n' -- "$@" 2>/dev/null)
            [ $? -le 1 ] || _why='dpkg-query cannot read the package database of this host; dpkg --audit may tell more'
            # The file exists where other architectures were added, and names the host's own one first.
            _native=
            if [ -r /var/lib/dpkg/arch ]; then IFS= read -r _native </var/lib/dpkg/arch; fi
            ;;
        dnf | yum | zypper)
            # As root, rpm writes to its database even when it is only asked; as nobody it cannot.
            _as=
            if [ "${uid-}" = 0 ] && command -v setpriv >/dev/null 2>&1; then _as='setpriv --reuid 65534 --regid 65534 --clear-groups'; fi
            # shellcheck disable=SC2086
            _db=$($_as "$_rpm" -q --qf '|%{NAME}|%{ARCH}|%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\n' -- "$@" 2>/dev/null)
            if [ -z "$_db" ]; then
                _db=$("$_rpm" -q --qf '|%{NAME}|%{ARCH}|%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\n' -- "$@" 2>/dev/null)
            fi
            [ -n "$_db" ] || _why='rpm cannot read the package database of this host; rpm --rebuilddb may help'
            ;;
        pacman)
            _db=$(pacman -Q -- "$@" 2>&1)
            case $_db in
                *'could not open database'* | *'could not register'* | *'failed to initialize'*)
                    _why='pacman cannot read the package database of this host' ;;
            esac
            ;;
        apk)
            # The text database, because `apk info` glues name and version together.
            _y=/lib/apk/db/installed
            [ -r "$_y" ] || _y=/usr/lib/apk/db/installed
            _db=$(sed -n -e 's/^P:/P:/p' -e 's/^V:/V:/p' -e 's/^p:/p:/p' "$_y" 2>/dev/null) ||
                _why="apk's package database $_y cannot be read"
            ;;
    esac
    # shellcheck disable=SC2154 # n, a newline, is the core's
    _db="$n$_db$n"
    [ -z "$_why" ]
}

# package_find NAME: looks into _db; sets _state (absent, config, broken, installed) and _have (version or -).
# With several installed versions (kernels) _have is the one named last by the tool.
package_find() {
    _state=absent _have=-
    case $_pm in
        apt)
            _q=${1%%:*}
            case $1 in *:*) _a=${1#*:} ;; *) _a=$_native ;; esac
            _rest=$_db
            while :; do
                case $_rest in *"$n|$_q|"*) ;; *) return 0 ;; esac
                _rest=${_rest#*"$n|$_q|"}
                _l=${_rest%%"$n"*}
                case ${_l%%'|'*} in
                    all | "$_a") ;;
                    *) case $_a in '' | any | native) ;; *) continue ;; esac ;;
                esac
                _l=${_l#*'|'}
                _y=${_l##*'|'}
                case $_l in
                    *' ok installed|'* | *' ok triggers-'*) _state=installed _have=$_y; return 0 ;;
                    *' not-installed|'*) ;;
                    *' config-files|'*) [ "$_state" = absent ] && _state=config ;;
                    *) _state=broken _have=${_y:--} ;;
                esac
            done
            ;;
        dnf | yum | zypper)
            package_find_rpm "$1" ''
            [ "$_state" = absent ] || return 0
            case $1 in *.*) package_find_rpm "${1%.*}" "${1##*.}" ;; esac
            ;;
        pacman)
            case $_db in
                *"$n$1 "*) _y=${_db#*"$n$1 "}; _state=installed _have=${_y%%"$n"*} ;;
            esac
            ;;
        apk)
            case $_db in
                *"${n}P:$1${n}"*)
                    _y=${_db#*"${n}P:$1${n}"}
                    _y=${_y#*V:}
                    _state=installed _have=${_y%%"$n"*} ;;
            esac
            ;;
    esac
    return 0
}

package_find_rpm() {
    _rest=$_db
    while :; do
        case $_rest in *"$n|$1|"*) ;; *) return 0 ;; esac
        _rest=${_rest#*"$n|$1|"}
        _l=${_rest%%"$n"*}
        case $2 in '' | "${_l%%'|'*}") ;; *) continue ;; esac
        _state=installed _have=${_l#*'|'}
        # dnf leaves an epoch of 0 out, some packages state it
        _have=${_have#0:}
    done
}

# package_provided NAME…: sets _provided to a text of lines, those of NAME… that an installed package provides
# (`mail-transport-agent` on Debian, `vim` on Fedora). One call for all.
package_provided() {
    if [ -n "${package_known-}" ]; then _provided=$package_provides; return; fi
    _provided=$n
    case $_pm in
        apt)
            _y=$(dpkg-query -W -f '|${Status}|, ${Provides},\n' 2>/dev/null)
            for _x in "$@"; do
                _q=${_x%%:*}
                for _z in ", $_q," ", $_q ("; do
                    _rest=$_y
                    while :; do
                        case $_rest in *"$_z"*) ;; *) continue 2 ;; esac
                        _l=${_rest%%"$_z"*}
                        _rest=${_rest#*"$_z"}
                        case ${_l##*"$n"} in
                            '|'*' ok installed|'*) _provided="$_provided$_x$n"; continue 3 ;;
                        esac
                        # the rest of a line that does not count
                        case $_rest in *"$n"*) _rest=${_rest#*"$n"} ;; *) continue 2 ;; esac
                    done
                done
            done
            ;;
        dnf | yum | zypper)
            _y=$n$("$_rpm" -q --whatprovides --qf '\n' -- "$@" 2>/dev/null)$n
            for _x in "$@"; do
                case $_y in
                    *"no package provides $_x$n"*) ;;
                    *) _provided="$_provided$_x$n" ;;
                esac
            done
            ;;
        pacman)
            _y=$n$(pacman -T -- "$@" 2>/dev/null)$n
            for _x in "$@"; do
                case $_y in *"$n$_x$n"*) ;; *) _provided="$_provided$_x$n" ;; esac
            done
            ;;
        apk)
            _y=$(printf '%s' "$_db" | sed -n 's/^p:/ /p' | sed 's/$/ /')
            for _x in "$@"; do
                case $_y in *" $_x "* | *" $_x="*) _provided="$_provided$_x$n" ;; esac
            done
            ;;
    esac
}

# package_best TABLE NAME WANT: sets _cand to the first version of NAME in TABLE that WANT ('' = any) accepts, or -.
package_best() {
    _cand=-
    for _q in "$2" "${2%:*}"; do
        _rest=$1
        while :; do
            case $_rest in *"$n|$_q|"*) ;; *) break ;; esac
            _rest=${_rest#*"$n|$_q|"}
            # keeps the newline: the next entry begins with it
            _l=${_rest%%"$n"*}
            case $3 in
                '') _cand=$_l; return 0 ;;
            esac
            if [ "$_l" != - ] && package_matches "$_l" "$3"; then _cand=$_l; return 0; fi
        done
    done
    return 0
}

# --- probes ---------------------------------------------------------------------------------------------------------

# package_look MODE NAME…
#   MODE present  what is installed; for names that are not, whether another package provides them
#        absent   what is installed under exactly these names
#        latest   as present, and the newest version that the host's lists know (slow; as root on dnf hosts)
#        plan     as present, and for what would be installed the version that it would be
# Answer, status 0:
#   line 1          manager MANAGER             apt, dnf, yum, zypper, pacman, apk
#   line 2 and on   NAME STATE INSTALLED CANDIDATE      one per NAME, in the given order, `-` for none,
#                                               and for CANDIDATE `?` if the manager has no lists yet
#   last line       met yes|no                  are all of them as MODE wants it
#     STATE  absent     not installed
#            config     not installed, configuration files of it are left (dpkg)
#            broken     half installed or not configured (dpkg)
#            installed  installed
#            provided   not installed, but something installed provides that name
#            current    installed, and it is the newest (latest) or fits the version asked for
#            old        installed, CANDIDATE is newer (latest)
#            other      installed, but not in the version asked for
# Status 3: one sentence.
package_look() {
    _mode=$1
    shift
    package_manager || { core_die "$_why"; return 3; }
    package_names "$@" || { core_die "$_why"; return 3; }
    _cached=1
    package_answer "$@" || { core_die "$_why"; return 3; }
    _bad='absent config broken old other'
    case $_mode in
        absent) _bad='installed current old other broken' ;;
        # installed with no lists to tell whether it is the newest
        latest) _bad="$_bad installed" ;;
    esac
    _met=yes
    for _x in $_bad; do
        # Only the second word of a line has a blank on both sides and is one of these.
        case $_answer in *" $_x "*) _met=no ;; esac
    done
    printf '%smet %s\n' "$_answer" "$_met"
}

# package_look_aged SECONDS MODE NAME…
#   As package_look, after `fresh` or `stale` on stderr, which says what package_cache does. Time passes by itself, so
#   this must not be part of an answer that is compared.
package_look_aged() {
    _age=$(package_cache "$1") || { printf '%s\n' "$_age"; return 3; }
    printf '%s\n' "$_age" >&2
    shift
    package_look "$@"
}

# package_answer NAME…: the work behind package_look; sets _answer. Needs _mode, _pm, _cached.
package_answer() {
    _answer="manager $_pm$n" _pins=
    [ $# -gt 0 ] || return 0
    _bare='' _given="$*"
    for _g in "$@"; do
        _bare="$_bare ${_g%%=*}"
    done
    # shellcheck disable=SC2086 # names were checked: no blanks, no quotes; -f is set
    package_read $_bare || return 1
    _missing='' _there='' _ask=''
    for _g in $_given; do
        package_find "${_g%%=*}"
        case $_g,$_state in
            *=*,installed)
                package_matches "$_have" "${_g#*=}" || _ask="$_ask ${_g%%=*}" ;;
            *=*) _ask="$_ask ${_g%%=*}" ;;
            *,installed) _there="$_there $_g" ;;
            *,broken) _ask="$_ask $_g" ;;
            *) _missing="$_missing $_g" ;;
        esac
    done
    _provided=$n
    if [ -n "$_missing" ] && [ "$_mode" != absent ]; then
        # shellcheck disable=SC2086
        package_provided $_missing
        for _g in $_missing; do
            case $_provided in *"$n$_g$n"*) ;; *) _ask="$_ask $_g" ;; esac
        done
    fi
    _up=$n _av=$n _blind=''
    case $_mode in
        latest)
            # shellcheck disable=SC2086
            [ -z "$_there" ] || package_upgrades $_there || return 1 ;;
    esac
    case $_mode in
        latest | plan)
            # shellcheck disable=SC2086
            [ -z "$_ask" ] || package_available $_ask || return 1 ;;
    esac
    for _g in $_given; do
        _name=${_g%%=*} _cand=- _want=
        case $_g in *=*) _want=${_g#*=} ;; esac
        package_find "$_name"
        case $_state in
            installed)
                if [ -n "$_want" ]; then
                    if package_matches "$_have" "$_want"; then
                        _state=current
                    else
                        _state=other
                        package_pin "$_name" "$_want"
                    fi
                elif [ "$_mode" = latest ]; then
                    package_best "$_up" "$_name" ''
                    [ -z "$_blind" ] || _cand='?'
                    case $_cand in
                        '?') ;;
                        - | "$_have") _state=current _cand=$_have ;;
                        *) _state=old ;;
                    esac
                fi ;;
            *)
                case $_provided in
                    *"$n$_g$n"*) _state=provided ;;
                    *) package_pin "$_name" "$_want" ;;
                esac ;;
        esac
        _answer="$_answer$_g $_state $_have $_cand$n"
    done
}

# package_pin NAME WANT: sets _cand from _av; with pacman also from package files, since its index knows the newest only.
package_pin() {
    package_best "$_av" "$1" "$2"
    case $_pm,$_mode,$_cand,$2 in
        *,*,*,) ;;
        pacman,latest,-,* | pacman,plan,-,*) package_file "$1" "$2"; _cand=${_found:--} ;;
    esac
    if [ -n "$_blind" ] && [ "$_cand" = - ]; then _cand='?'; fi
}

# package_cache SECONDS
#   Answer: `fresh` if the manager's lists were fetched less than SECONDS ago, else `stale` (also when there are none,
#   and always for 0). The target's own clock counts. Status 3 as in package_look.
package_cache() {
    package_manager || { core_die "$_why"; return 3; }
    case $1 in
        '' | *[!0-9]*) core_die "$1 is not a number of seconds"; return 3 ;;
        *[1-9]*) ;;
        *) echo stale; return 0 ;;
    esac
    package_stamps
    _y=
    for _x in $_stamps; do
        # shellcheck disable=SC3013 # -nt is in every shell that mutate accepts
        if [ -e "$_x" ] && { [ -z "$_y" ] || [ "$_x" -nt "$_y" ]; }; then _y=$_x; fi
    done
    if [ -z "$_y" ]; then echo stale; return 0; fi
    _x=$(date -r "$_y" +%s 2>/dev/null)
    _y=$(date +%s)
    case $_x in
        '' | *[!0-9]*)
            core_die 'the age of the package lists cannot be told, because the date command of this host does not know -r'
            return 3 ;;
    esac
    if [ $((_y - _x)) -lt "$1" ]; then echo fresh; else echo stale; fi
}

# package_stamps: sets _stamps to the paths whose newest modification tells when lists were last fetched.
# Not every manager touches anything when nothing was new, so package_refresh touches these.
package_stamps() {
    case $_pm in
        apt) _stamps='/var/lib/apt/lists /var/lib/apt/periodic/update-success-stamp' ;;
        # not /var/cache/dnf itself: it changes whenever dnf makes its lock file
        dnf) _stamps='/var/cache/dnf/*/repodata /var/cache/libdnf5/*/repodata' ;;
        yum) _stamps='/var/cache/yum/*/*/*/cachecookie' ;;
        zypper) _stamps='/var/cache/zypp/raw' ;;
        pacman) _stamps='/var/lib/pacman/sync' ;;
        apk) _stamps='/var/cache/apk /etc/apk/cache' ;;
    esac
    set +f
    # shellcheck disable=SC2086 # the patterns above hold no blanks
    set -- $_stamps
    set -f
    _stamps="$*"
}
