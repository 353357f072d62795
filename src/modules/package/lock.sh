# shellcheck shell=sh
# shellcheck disable=SC2154,SC2034,SC2086 # $_repositories are words; n, a newline, is the core's; the other variables are those of look.sh and newest.sh
#
# package, third part: the manager's lock, and the manager itself. Needs look.sh and newest.sh.

# --- the manager's lock ---------------------------------------------------------------------------------------------

# package_holder: sets _holder to who holds a lock that the manager needs, as `pid 4711 (apt-get upgrade)`, or to
# nothing. Sets _stale to a lock file that nobody holds and that the manager will not step over by itself (pacman).
# No tool for this is on every host (fuser, lsof, lslocks), but the kernel tells: /proc/locks has the pids that hold
# record locks, /proc/PID/fd the files they have open. Numbers of inodes would not do: with overlayfs and btrfs the
# device in /proc/locks is not the one that stat shows.
package_holder() {
    _holder='' _stale='' _pid=''
    case $_pm in
        apt) _locks='/var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock /var/cache/apt/archives/lock' ;;
        dnf | yum | zypper)
            _locks='/var/lib/rpm/.rpm.lock /usr/lib/sysimage/rpm/.rpm.lock /run/dnf/rpmtransaction.lock'
            # files that hold a pid; one of a dead process means nothing
            set +f
            for _x in /run/yum.pid /run/zypp.pid /var/cache/dnf/*_lock.pid /var/lib/dnf/*_lock.pid; do
                set -f
                [ -f "$_x" ] || continue
                _y=
                IFS=" $n" read -r _y _z 2>/dev/null <"$_x"
                case $_y in
                    '' | *[!0-9]*) ;;
                    *) if [ -d "/proc/$_y" ] && [ "$_y" != $$ ]; then _pid=$_y; fi ;;
                esac
            done
            set -f ;;
        pacman)
            _locks=/var/lib/pacman/db.lck
            [ -e "$_locks" ] || return 0
            set +f
            for _x in /proc/[0-9]*/fd/*; do
                # shellcheck disable=SC3013 # -ef is in every shell that mutate accepts
                if [ "$_x" -ef "$_locks" ]; then _pid=${_x#/proc/}; _pid=${_pid%%/*}; break; fi
            done
            set -f
            if [ -z "$_pid" ] && [ -e "$_locks" ]; then _stale=$_locks; fi ;;
        apk) _locks='/lib/apk/db/lock /usr/lib/apk/db/lock' ;;
    esac
    if [ -z "$_pid" ] && [ "$_pm" != pacman ] && [ -r /proc/locks ]; then
        _y=
        while read -r _x _l _x _x _z _x; do
            # `->` marks one that waits; apk takes an flock, the others record locks
            case $_l in POSIX | FLOCK) ;; *) continue ;; esac
            case " $_y " in *" $_z "*) ;; *) [ -d "/proc/$_z/fd" ] && _y="$_y $_z" ;; esac
        done </proc/locks
        # in the order of _locks: rather apt-get than the dpkg that it has started
        for _l in $_locks; do
            for _z in $_y; do
                set +f
                for _q in "/proc/$_z/fd"/*; do
                    set -f
                    # shellcheck disable=SC3013
                    if [ "$_q" -ef "$_l" ]; then _pid=$_z; break 3; fi
                done
                set -f
            done
        done
    fi
    [ -n "$_pid" ] || return 0
    # A process that has ended since needs no name.
    _y=$(tr '\000\n' '  ' 2>/dev/null <"/proc/$_pid/cmdline")
    _y=${_y% }
    case $_y in
        '') if IFS= read -r _y 2>/dev/null <"/proc/$_pid/comm"; then :; else _y=; fi ;;
    esac
    # enough to recognise it
    case $_y in ????????????????????????????????????????????????????????????????????????????????*)
        _y="$(printf '%.100s' "$_y")" ;;
    esac
    _holder="pid $_pid${_y:+ ($_y)}"
    return 0
}

# package_wait: returns when no lock is held any more; status 1 with a message when that took longer than _timeout
# seconds (counted from _since), or when the lock is stale.
package_wait() {
    _tries=0
    while :; do
        package_holder
        if [ -n "$_stale" ]; then
            # a look between two steps of somebody who is just ending
            _tries=$((_tries + 1))
            if [ "$_tries" -gt 2 ]; then
                package_say "the package manager's lock $_stale was left behind by a run that was cut off: no process holds it; if no package manager works on this host's packages from elsewhere either, remove it with: rm $_stale"
                return 1
            fi
        elif [ -z "$_holder" ]; then
            return 0
        else
            _tries=0
            package_left
            if [ "$_left" -le 0 ]; then
                package_say "the package manager's lock is held by $_holder for more than $_timeout s"
                return 1
            fi
        fi
        sleep 1
    done
}

# package_left: sets _left to the seconds that remain for waiting.
package_left() { _left=$((_since + _timeout - $(date +%s))); }

package_say() { core_say "$1"; }

# package_run COMMAND…: runs the manager, when its lock is free and again while somebody else was quicker. Sets and
# returns its status; 99 when waiting was in vain (the message is out then).
package_run() {
    while :; do
        package_wait || { _status=99; return 99; }
        package_left
        case $_pm in
            # knows its own waiting since 1.9.11, ignores the option before
            apt)
                _x=$_left
                [ "$_x" -ge 0 ] || _x=0
                (shift; apt-get -o DPkg::Lock::Timeout="$_x" "$@") ;;
            *) "$@" ;;
        esac
        _status=$?
        case $_pm,$_status in
            *,0) return 0 ;;
            zypper,7 | dnf,200 | yum,200) ;;
            apt,100 | pacman,1 | apk,1 | apk,99)
                # These do not say in the status that the lock was the reason: see whether somebody has it now.
                package_holder
                [ -n "$_holder" ] || return "$_status" ;;
            *) return "$_status" ;;
        esac
        package_left
        if [ "$_left" -le 0 ]; then
            package_holder
            package_say "the package manager's lock is held by ${_holder:-another process} for more than $_timeout s"
            _status=99
            return 99
        fi
        sleep 1
    done
}

# --- making the change ----------------------------------------------------------------------------------------------

# package_list: prints all installed packages, `name version` per line, in the form that `exact` takes back.
package_list() {
    case $_pm in
        apt)
            dpkg-query -W -f '${Status}|${binary:Package} ${Version}\n' 2>/dev/null |
                sed -e '/ not-installed|/d' -e '/ config-files|/d' -e 's/^[^|]*|//' ;;
        dnf | yum | zypper)
            "$_rpm" -qa --qf '%{NAME}.%{ARCH} %|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\n' 2>/dev/null |
                sed -e '/^gpg-pubkey/d' -e 's/ 0:/ /' ;;
        pacman) pacman -Q 2>/dev/null ;;
        apk)
            _y=/lib/apk/db/installed
            [ -r "$_y" ] || _y=/usr/lib/apk/db/installed
            sed -n -e '/^P:/{s/^P://;h;}' -e '/^V:/{s/^V://;H;x;s/\n/ /;p;}' "$_y" ;;
    esac
}

# package_report BEFORE AFTER: prints what differs between two such lists.
package_report() {
    [ "$1" != "$2" ] || return 0
    _ifs=$IFS IFS=$n
    # shellcheck disable=SC2046 # lines are wanted
    for _l in $(printf '%s\n' "$1" "$2" | sort | uniq -u); do
        case $_l in *' '*) ;; *) continue ;; esac
        _name=${_l% *}
        case "$n$1$n" in
            *"$n$_l$n"*)
                _y="$n$2$n"
                case $_y in
                    *"$n$_name "*) _y=${_y#*"$n$_name "}; _y=${_y%%"$n"*} ;;
                    *) _y=- ;;
                esac
                echo "package-changed $_name ${_l##* } $_y" ;;
            *"$n$_name "*) ;;
            *) echo "package-changed $_name - ${_l##* }" ;;
        esac
    done
    IFS=$_ifs
}

# package_has OPTION: was it given?
package_has() { case ,$_options, in *",$1,"*) return 0 ;; esac; return 1; }

# package_tool COMMAND WORD…: runs the manager's COMMAND (install, remove, refresh, downgrade) as quietly and as
# unattended as it knows how. Words are packages in the manager's own notation.
package_tool() {
    _verb=$1
    shift
    case $_pm in
        apt)
            # The new version of a file that the administrator has changed never replaces it.
            set -- -y -q -o Dpkg::Use-Pty=0 -o APT::Color=0 -o Dpkg::Options::=--force-confdef \
                -o Dpkg::Options::=--force-confold "$_verb" -- "$@"
            case $_verb in
                update) package_run apt-get -q -o Dpkg::Use-Pty=0 -o APT::Update::Error-Mode=any update; return ;;
                install)
                    package_has removals || set -- --no-remove "$@"
                    package_has recommends && set -- -o APT::Install-Recommends=true "$@"
                    package_has no-recommends && set -- -o APT::Install-Recommends=false "$@"
                    # asked for by version, or by the administrator's own pin
                    set -- --allow-downgrades "$@" ;;
                remove)
                    package_has purge && set -- --purge "$@" ;;
            esac
            if [ "$_verb" = install ] && package_has autoremove; then
                # apt refuses to remove anything in a call that may not
                package_run apt-get -o APT::Get::AutomaticRemove=false "$@" || return
                package_run apt-get -y -q -o Dpkg::Use-Pty=0 -o APT::Color=0 autoremove
                return
            fi
            if package_has autoremove; then set -- --auto-remove "$@"
            else set -- -o APT::Get::AutomaticRemove=false "$@"; fi
            package_run apt-get "$@" ;;
        dnf | yum)
            package_dnf
            # shellcheck disable=SC2086 # words are wanted
            set -- $_repositories -y -q "$_verb" "$@"
            # without it dnf 4 and yum wait for as long as it takes
            [ -n "$_five" ] || set -- --setopt=exit_on_lock=1 "$@"
            case $_verb in
                update)
                    if [ "$_dnf" = yum ]; then
                        # shellcheck disable=SC2086
                        package_run yum $_repositories -y -q clean expire-cache && package_run yum $_repositories -y -q makecache
                    else
                        # shellcheck disable=SC2086
                        package_run "$_dnf" $_repositories -y -q --refresh makecache
                    fi
                    return ;;
                install)
                    package_has removals && [ "$_dnf" != yum ] && set -- "$@" --allowerasing
                    package_has recommends && set -- --setopt=install_weak_deps=True "$@"
                    package_has no-recommends && set -- --setopt=install_weak_deps=False "$@"
                    # all or nothing, whatever dnf.conf says
                    [ -n "$_five" ] || set -- --setopt=strict=1 "$@" ;;
            esac
            if package_has autoremove; then set -- --setopt=clean_requirements_on_remove=1 "$@"
            else set -- --setopt=clean_requirements_on_remove=0 "$@"; fi
            package_run "$_dnf" "$@" ;;
        zypper)
            case $_verb in
                update) package_run zypper --non-interactive --quiet refresh ;;
                install)
                    set -- --auto-agree-with-licenses --oldpackage "$@"
                    package_has removals && set -- --force-resolution "$@"
                    package_has recommends && set -- --recommends "$@"
                    package_has no-recommends && set -- --no-recommends "$@"
                    package_run zypper --non-interactive --quiet install "$@" ;;
                remove)
                    package_has autoremove && set -- --clean-deps "$@"
                    package_run zypper --non-interactive --quiet remove "$@" ;;
            esac
            case $_status in
                # done; a reboot (102) or a restart of zypper (103) is suggested, or a repository was skipped (106)
                102 | 103 | 106) _status=0 ;;
            esac
            return "$_status" ;;
        pacman)
            set -- --noconfirm --noprogressbar "$@"
            case $_verb in
                update) package_run pacman -Sy --noconfirm --noprogressbar ;;
                install | files)
                    # 4: yes to the question whether a conflicting package may go
                    package_has removals && set -- --ask 4 "$@"
                    case $_verb in
                        files) package_run pacman -U "$@" ;;
                        *) package_run pacman -S "$@" ;;
                    esac ;;
                remove)
                    _x=-R
                    package_has removals && _x=${_x}c
                    package_has autoremove && _x=${_x}s
                    package_has purge && _x=${_x}n
                    package_run pacman "$_x" "$@" ;;
            esac ;;
        apk)
            case $_verb in
                update) package_run apk update -q ;;
                install) package_run apk add -q --no-progress "$@" ;;
                remove)
                    package_has purge && set -- --purge "$@"
                    package_run apk del -q --no-progress "$@" ;;
            esac ;;
    esac
}

# package_refresh: fetches the lists.
package_refresh() {
    package_tool update || {
        [ "$_status" = 99 ] || package_say "the package lists could not be fetched ($_pm ended with status $_status); see what it says"
        return 1
    }
    package_stamps
    for _x in $_stamps; do
        case $_x in *update-success-stamp) continue ;; esac
        [ -e "$_x" ] && touch -c -- "$_x"
    done
    return 0
}
