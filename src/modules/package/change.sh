# shellcheck shell=sh
# shellcheck disable=SC2154,SC2034,SC2086 # $_repositories are words; n, a newline, is the core's; the other variables are those of look.sh and newest.sh
#
# package, fourth part: makes the change. Needs look.sh, newest.sh and lock.sh.
#
# Apply:   package_apply TIMEOUT OPTIONS ACTION [NAME…]

# package_others: of the removals that the simulation in _y tells, those that are not among the names in _asked;
# sets _others. apt-get -s prints `Remv name [version]`.
package_others() {
    _others='' _ifs=$IFS IFS=$n
    for _l in $_y; do
        case $_l in
            'Remv '* | 'Purg '*) _l=${_l#* }; _l=${_l%% *} ;;
            *) continue ;;
        esac
        case " $_asked " in
            *" $_l "* | *" ${_l%%:*} "* | *" $_l:"*) ;;
            *) _others="$_others, $_l" ;;
        esac
    done
    IFS=$_ifs
    _others=${_others#, }
}

# package_remove NAME…: removes installed packages; without the option `removals` only if nothing else has to go.
package_remove() {
    [ $# -gt 0 ] || return 0
    if ! package_has removals; then
        _asked="$*" _others=''
        case $_pm in
            apt)
                _y=$(apt-get -s -qq -o APT::Get::AutomaticRemove=false remove -- "$@" 2>/dev/null)
                package_others ;;
            dnf | yum | zypper)
                _others=$("$_rpm" -e --test -- "$@" 2>&1 |
                    sed -n 's/^.* is needed by (installed) \(.*\)$/\1/p' | sort -u)
                package_join "$_others" ;;
        esac
        if [ -n "$_others" ]; then
            package_say "removing $* would also remove $_others, which nobody asked for; name these too, or allow it with allow_removals = true"
            return 1
        fi
    fi
    package_tool remove "$@" || {
        [ "$_status" = 99 ] || package_why remove "$@"
        return 1
    }
}

# package_join LINES: sets _others to them, with commas
package_join() {
    _others='' _ifs=$IFS IFS=$n
    for _l in $1; do _others="$_others, $_l"; done
    IFS=$_ifs
    _others=${_others#, }
}

# package_why COMMAND WORD…: after the manager failed (its own words are on stderr): says why, if it can be found out.
package_why() {
    _verb=$1
    shift
    _what="$_pm could not $_verb $* (status $_status)"
    case $_pm,$_verb in
        apt,*) package_why_apt "$@" || package_say "$_what; see what it says" ;;
        dnf,install | yum,install | zypper,install)
            # Who does not know the names? Asked again, as a question only, where the answer can be read.
            case $_pm in
                zypper) package_zypper_dry "$@" ;;
                *) _y=$($_dnf $_repositories --assumeno install "$@" 2>&1) ;;
            esac
            _others='' _ifs=$IFS IFS=$n
            for _l in $_y; do
                case $_l in
                    'No match for argument: '*) _others="$_others ${_l##*: }" ;;
                    'No package '*' available.') _l=${_l#No package }; _others="$_others ${_l%% *}" ;;
                    "No provider of '"*"' found."*) _l=${_l#*\'}; _others="$_others ${_l%%\'*}" ;;
                esac
            done
            IFS=$_ifs
            # shellcheck disable=SC2086
            if [ -n "$_others" ]; then package_unknown $_others; else package_say "$_what; see what it says"; fi ;;
        *) package_say "$_what; see what it says" ;;
    esac
}

# package_why_apt WORD…: the part of package_why for apt; status 1 if it does not know.
package_why_apt() {
    package_interrupted && return 0
    _y=$(dpkg-query -W -f '${Status} ${binary:Package}\n' 2>/dev/null |
        sed -n -e 's/^[a-z]* [a-z]* half-[a-z]* //p' -e 's/^[a-z]* [a-z]* unpacked //p')
    package_join "$_y"
    if [ -n "$_others" ]; then
        package_say "$_what: now not completely installed: $_others; their install scripts failed, see what it says; dpkg --configure -a tries them again, removing them gets rid of them"
        return 0
    fi
    if package_held "$@"; then
        package_say "$_what: on hold there, so that its version stays:$_others; apt-mark unhold would release it"
        return 0
    fi
    [ "$_verb" = install ] || return 1
    package_has removals && return 1
    _asked=
    _y=$(apt-get -s -qq --allow-downgrades install -- "$@" 2>/dev/null)
    package_others
    [ -n "$_others" ] || return 1
    package_say "installing $* would remove $_others, which nobody asked for; remove these first, or allow it with allow_removals = true"
}

# package_held WORD…: sets _others to those of them that are on hold; status 1 if none is.
package_held() {
    _others='' _y="$n$(apt-mark showhold 2>/dev/null)$n"
    for _x in "$@"; do
        case $_y in *"$n${_x%%=*}$n"*) _others="$_others ${_x%%=*}" ;; esac
    done
    [ -n "$_others" ]
}

package_zypper_dry() { _y=$(zypper --non-interactive install --dry-run --oldpackage "$@" 2>&1); }

# package_unknown NAME…: the sentence for names that no repository has.
package_unknown() {
    _x=
    for _y in "$@"; do
        # dnf may say it more than once
        case " $_x " in *" $_y "* | *" $_y, "*) ;; *) _x="$_x${_x:+, }$_y" ;; esac
    done
    if package_has refresh; then
        package_say "no package named $_x in the repositories of this host"
    else
        package_say "no package named $_x in the repositories of this host; are its package lists up to date? (update_cache = true)"
    fi
}

# package_interrupted: was dpkg cut off in the middle? Then says so.
package_interrupted() {
    set +f
    for _x in /var/lib/dpkg/updates/[0-9]*; do
        set -f
        [ -e "$_x" ] || return 1
        package_say 'dpkg was cut off in the middle of its work on this host; run there, before anything else: dpkg --configure -a'
        return 0
    done
}

# package_targets: from _answer, sets _todo to what has to be handed to the manager (in its notation) so that every
# name is installed as asked, and _files to package files for pacman. Status 1 with a message if a name is unknown.
package_targets() {
    _todo='' _files='' _none='' _nover='' _virt=''
    _ifs=$IFS IFS=$n
    for _l in $_answer; do
        IFS=$_ifs
        # shellcheck disable=SC2086
        set -- $_l
        [ "$1" = manager ] && continue
        _name=${1%%=*}
        case $1,$2,$4 in
            *,installed,'?') _todo="$_todo $_name" ;;
            *,current,* | *,installed,* | *,provided,*) ;;
            *=*,*,[-?]) _nover="$_nover $1" ;;
            *=*)
                _v=$4
                case $_pm in
                    apt | zypper | apk) _todo="$_todo $_name=$_v" ;;
                    dnf | yum) package_nevra "$_name" "$_v"; _todo="$_todo $_nevra" ;;
                    pacman)
                        package_best "$_av" "$_name" ''
                        if [ "$_cand" = "$_v" ]; then
                            _todo="$_todo $_name"
                        else
                            package_file "$_name" "$_v"
                            _files="$_files$n$_path"
                        fi ;;
                esac ;;
            *,old,*)
                # `dnf install` leaves an older version as it is
                case $_pm in
                    dnf | yum) package_nevra "$_name" "$4"; _todo="$_todo $_nevra" ;;
                    *) _todo="$_todo $_name" ;;
                esac ;;
            *,absent,[-?] | *,config,[-?])
                case $_pm in
                    apt | pacman) _virt="$_virt $_name" ;;
                    *) _todo="$_todo $_name" ;;
                esac ;;
            *) _todo="$_todo $_name" ;;
        esac
    done
    IFS=$_ifs
    # What neither apt nor pacman has under that name may still be provided by something, or be a group.
    for _x in $_virt; do
        case $_pm in
            apt)
                _y=$(apt-cache -o Dir::Cache::pkgcache=/proc/none/none showpkg "$_x" 2>/dev/null)
                case $_y in *"Reverse Provides: $n"*) _y=${_y##*"Reverse Provides: $n"} ;; *) _y='' ;; esac
                _q='' _ifs=$IFS IFS=$n
                for _l in $_y; do
                    _l=${_l%% *}
                    case " $_q, " in *" $_l, "*) ;; *) _q="$_q${_q:+, }$_l" ;; esac
                done
                IFS=$_ifs
                case $_q in
                    '') _none="$_none $_x" ;;
                    *,*)
                        package_say "$_x is a virtual package; name one of those that provide it: $_q"
                        return 1 ;;
                    *) _todo="$_todo $_q" ;;
                esac ;;
            pacman)
                if pacman -Sg -- "$_x" >/dev/null 2>&1; then
                    package_say "$_x is a group of packages, which mutate does not install; name its members"
                    return 1
                elif pacman -Sddp -- "$_x" >/dev/null 2>&1; then
                    _todo="$_todo $_x"
                else
                    _none="$_none $_x"
                fi ;;
        esac
    done
    if [ -n "$_none" ]; then
        # shellcheck disable=SC2086
        package_unknown $_none
        return 1
    fi
    if [ -n "$_nover" ]; then
        _x=
        for _y in $_nover; do _x="$_x${_x:+, }$_y"; done
        package_say "the repositories of this host do not have what was asked for: $_x"
        return 1
    fi
    return 0
}

# package_nevra NAME VERSION: sets _nevra to dnf's notation, name-version.arch.
package_nevra() {
    case $1 in
        *.x86_64 | *.noarch | *.i[3-6]86 | *.aarch64 | *.armv7hl | *.ppc64le | *.s390x | *.riscv64)
            _nevra="${1%.*}-$2.${1##*.}" ;;
        *) _nevra="$1-$2" ;;
    esac
}

# package_install: hands _todo and _files to the manager.
package_install() {
    if [ -n "$_files" ]; then
        _ifs=$IFS IFS=$n
        # shellcheck disable=SC2086
        set -- $_files
        IFS=$_ifs
        package_tool files "$@" || {
            [ "$_status" = 99 ] || package_why install "$@"
            return 1
        }
    fi
    # shellcheck disable=SC2086
    set -- $_todo
    [ $# -gt 0 ] || return 0
    package_tool install "$@" || {
        [ "$_status" = 99 ] || package_why install "$@"
        return 1
    }
}

# package_apply TIMEOUT OPTIONS ACTION [NAME…]
#   TIMEOUT  seconds to wait for the manager's lock
#   OPTIONS  a list with commas, or -:  refresh (fetch the lists first), purge, autoremove, recommends, no-recommends,
#            removals (packages that nobody named may be removed, if that is what it takes)
#   ACTION   install   every name is installed, `name=version` in that version (downgraded if need be)
#            latest    the same, and in the newest version
#            remove    none of the names is installed
#            exact     the way back: `name=version` exactly that version, `name=-` not installed
#            refresh   nothing else
# Only what is not yet so is handed to the manager. Its words go where they go; the last lines on stdout tell all
# that has changed, wanted or in tow, also after a failure:
#   package-changed NAME OLD|- NEW|-
# To go back: `exact` with NAME=OLD for each of these lines.
# Status: 0 done, 1 failed, 3 this host cannot. One sentence of ours on stderr.
package_apply() {
    _timeout=$1 _options=$2 _action=$3
    shift 3
    package_manager || { package_say "$_why"; return 3; }
    if [ "$_action" = exact ]; then
        _x=
        for _y in "$@"; do
            case $_y in *=-) _x="$_x ${_y%=-}" ;; *) _x="$_x $_y" ;; esac
        done
        # shellcheck disable=SC2086
        package_names $_x || { package_say "$_why"; return 3; }
    else
        package_names "$@" || { package_say "$_why"; return 3; }
    fi
    [ "$(id -u)" = 0 ] || { package_say 'only root can change the packages of this host; become = true would help'; return 3; }
    # Managers make folders and lists that other users have to read, and some install scripts rely on it.
    umask 022
    export DEBIAN_FRONTEND=noninteractive DEBIAN_PRIORITY=critical APT_LISTCHANGES_FRONTEND=none \
        APT_LISTBUGS_FRONTEND=none UCF_FORCE_CONFFOLD=1
    # needrestart only lists what should be restarted: restarting services is for the playbook to say
    export NEEDRESTART_MODE=l
    _since=$(date +%s) _cached=
    _before=$(package_list)
    package_work "$@"
    _result=$?
    _after=$(package_list)
    package_report "$_before" "$_after"
    return "$_result"
}

package_work() {
    # before the first question, since a package half-way through another's hands would be misjudged
    package_wait || return 1
    # after the wait, since a dpkg at work leaves the same signs as one that was cut off
    if [ "$_pm" = apt ] && package_interrupted; then return 1; fi
    if package_has refresh || [ "$_action" = refresh ]; then package_refresh || return 1; fi
    case $_action in
        refresh) return 0 ;;
        install | latest)
            _mode=latest
            if [ "$_action" = install ]; then
                _mode=present
                case "$_pm $*" in apt* | pacman* | *=*) _mode=plan ;; esac
            fi
            package_answer "$@" || { package_say "$_why"; return 1; }
            package_targets || return 1
            package_install || return 1
            # Done is what can be seen, not what the manager says.
            _mode=present
            package_answer "$@" || { package_say "$_why"; return 1; }
            package_unfit 'absent config broken other'
            [ -z "$_unfit" ] || {
                package_say "$_pm reported success, but these are still not installed as asked: $_unfit"
                return 1
            } ;;
        remove)
            package_gone "$@" ;;
        exact)
            _x='' _y=''
            for _g in "$@"; do
                case $_g in *=-) _x="$_x ${_g%=-}" ;; *) _y="$_y $_g" ;; esac
            done
            _set=$_y
            # shellcheck disable=SC2086
            package_gone $_x || return 1
            # shellcheck disable=SC2086
            set -- $_set
            [ $# -gt 0 ] || return 0
            package_back "$@" ;;
        *)
            package_say "package_apply knows no action $_action"
            return 3 ;;
    esac
}

# package_unfit STATES: sets _unfit to the names in _answer that are in one of these states.
package_unfit() {
    _unfit='' _ifs=$IFS IFS=$n
    for _l in $_answer; do
        case $_l in 'manager '*) continue ;; esac
        _x=${_l%% *} _y=${_l#* }
        case " $1 " in *" ${_y%% *} "*) _unfit="$_unfit $_x" ;; esac
    done
    IFS=$_ifs
    _unfit=${_unfit# }
}

# package_gone NAME…: removes those that are there.
package_gone() {
    [ $# -gt 0 ] || return 0
    _bad='installed current old other broken'
    package_has purge && [ "$_pm" = apt ] && _bad="$_bad config"
    _mode=absent
    package_answer "$@" || { package_say "$_why"; return 1; }
    package_unfit "$_bad"
    _given=$*
    _bare=
    for _x in $_unfit; do _bare="$_bare ${_x%%=*}"; done
    # shellcheck disable=SC2086
    package_remove $_bare || return 1
    # shellcheck disable=SC2086
    [ -z "$_bare" ] || package_answer $_bare || { package_say "$_why"; return 1; }
    package_unfit "$_bad"
    [ -z "$_unfit" ] || {
        package_say "$_pm reported success, but these are still installed: $_unfit"
        return 1
    }
}

# package_back NAME=VERSION…: exactly these versions again.
package_back() {
    _mode=plan
    package_answer "$@" || { package_say "$_why"; return 1; }
    if [ "$_pm" = apt ]; then
        # a version that left the repositories may still be in apt's own archive
        _todo='' _nover='' _ifs=$IFS IFS=$n
        for _l in $_answer; do
            IFS=$_ifs
            # shellcheck disable=SC2086
            set -- $_l
            _name=${1%%=*}
            case $1,$2,$4 in
                manager,* | *,current,*) ;;
                *,-)
                    _v=${1#*=}
                    case $_v in *:*) _v="${_v%%:*}%3a${_v#*:}" ;; esac
                    _path=
                    set +f
                    for _x in "/var/cache/apt/archives/${_name%%:*}_${_v}"_*.deb; do
                        set -f
                        [ -f "$_x" ] && _path=$_x
                    done
                    set -f
                    if [ -n "$_path" ]; then _todo="$_todo $_path"; else _nover="$_nover $1"; fi ;;
                *) _todo="$_todo $_name=$4" ;;
            esac
        done
        IFS=$_ifs
        if [ -n "$_nover" ]; then
            package_say "neither the repositories of this host nor /var/cache/apt/archives have any more:$_nover"
            return 1
        fi
        _files=
    else
        package_targets || return 1
    fi
    package_install || return 1
    _mode=present
    # shellcheck disable=SC2086
    package_answer $_set || { package_say "$_why"; return 1; }
    package_unfit 'absent config broken other'
    [ -z "$_unfit" ] || {
        package_say "$_pm reported success, but these are not back in their former version: $_unfit"
        return 1
    }
}
