# shellcheck shell=sh
# shellcheck disable=SC2154,SC2034 # $n (a newline) and $t (a tab) come from core; some variables are for change.sh
#
# service, first part: look at one service of the host.
#
# Knows five ways in which a host runs its services, told apart per call:
#   systemd   /run/systemd/system exists (the documented test for "booted with systemd")
#   openrc    /run/openrc exists and there is rc-service
#   sysv      a script /etc/init.d/NAME, started through links in rc?.d
#   initd     a script /etc/init.d/S??NAME, as on BusyBox appliances; S = starts at boot, K = does not
#   inittab   a "respawn" line in /etc/inittab: init itself keeps the process alive
#
# For callers: service_look NAME [FLAG…], service_stale. Everything named service__… is internal. Internal functions talk through
# variables that begin with _ instead of $(…), because a subshell costs a fork.

# service_look NAME [absent-ok] [unknown-ok]
#
# Tells how the service NAME is. Answer, status 0, always these nine lines in this order:
#   init     systemd|openrc|sysv|initd|inittab
#   unit     the full name: ssh.service (an alias such as sshd is resolved), or the script's name
#   load     loaded|masked|not-found|error|bad-setting   (the last three only with absent-ok)
#   active   active|inactive|failed|activating|deactivating|restarting|unknown
#            restarting: it died and the service manager has just started it again
#            unknown: only with unknown-ok
#   enabled  yes|no|runtime|masked|static|indirect|generated|transient|alias|bad|unknown
#            [LEVEL…]   (OpenRC only: the runlevels after the "yes")
#   masked   yes|no|runtime
#   reload   yes|no|unknown       whether it can reload its configuration
#   kind     daemon|oneshot|oneshot-remain|timer|socket|…   (oneshot: not active once it has run)
#   stale    yes|no               the unit file changed on disk since systemd read it
# Status 3: one sentence (no such service, no service manager, state cannot be known …).
#   absent-ok    a service that does not exist (or does not load) is an answer, not a status 3
#   unknown-ok   so is "active unknown" (for tasks that care only about "enabled")
service_look() {
    _name=$1
    shift
    _flags=" $* "
    if ! service__locate; then
        core_die "$_why"
        return 3
    fi
    _load=loaded _active=unknown _enabled=unknown _masked=no _reload=unknown _kind=daemon _stale=no
    "service__look_$_init" || return 3
    case $_flags$_active in
        *' unknown-ok '*) ;;
        *unknown)
            core_die "it cannot be known whether the service $_name is running: its script $_script has no status command and names no daemon or pid file that mutate could look for"
            return 3 ;;
    esac
    # A host that reads its files again by itself gives no other answer for that.
    case $_flags in *' reread '*) ;; *) _stale=- ;; esac
    printf '%s\n' "init $_init" "unit $_unit" "load $_load" "active $_active" \
        "enabled $_enabled" "masked $_masked" "reload $_reload" "kind $_kind" "stale $_stale"
}

# service_stale
#
# Has any unit file changed on disk since systemd read it? Answer, status 0: one line, stale yes|no.
# Status 3: one sentence.
service_stale() {
    if [ ! -d /run/systemd/system ] || ! command -v systemctl >/dev/null; then
        core_die "this host does not run systemd, so there is no daemon_reload to be done"
        return 3
    fi
    case $(systemctl show --property=NeedDaemonReload -- '*' 2>&1) in
        *NeedDaemonReload=yes*) echo 'stale yes' ;;
        *NeedDaemonReload=*)
            service__newer '*'
            echo "stale $_newer" ;;
        *)
            core_die "systemctl cannot tell whether unit files have changed on this host"
            return 3 ;;
    esac
}

# service__newer PATTERN…: sets _newer to yes when a path that fits a PATTERN, below the folders of unit files, has
# changed since systemd last read them. NeedDaemonReload alone does not see a folder of drop-ins that was not there then
# (seen in systemd 252). Without busctl, GNU find and systemd 250 it is all that there is.
service__newer() {
    _newer=no
    # Nothing has changed of all that several questions together are about.
    [ -z "${service_unchanged-}" ] || return 0
    _v=$(busctl get-property org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager UnitsLoadTimestamp 2>/dev/null)
    _v=${_v#t }
    case $_v in *[!0-9]* | '' | ? | ?? | ??? | ???? | ????? | ??????) return ;; esac
    # Microseconds since 1970, by this host's own clock.
    _w=${_v%??????}
    _x=$#
    while [ "$_x" -gt 0 ]; do
        set -- "$@" -o -path "$1"
        shift
        _x=$((_x - 1))
    done
    shift
    _v=$(find /etc/systemd/system /run/systemd/system /usr/local/lib/systemd/system /usr/lib/systemd/system \
        \( "$@" \) -newerct "@$_w.${_v#"$_w"}" ! -newerct now -print -quit 2>/dev/null)
    [ -z "$_v" ] || _newer=yes
}

# ---------------------------------------------------------------- which service manager

# service__locate: sets _init and _unit (and _script) for _name, or fails with _why.
service__locate() {
    _script=''
    case $_name in
        */*) _why="a service is given by its name, not by a path"; return 1 ;;
        '' | -* | *[!A-Za-z0-9:_.@\\-]*)
            # Among others *, ? and [: systemctl would take them as a pattern for many units.
            _why="this is not a name that a service can have"
            return 1 ;;
    esac
    if [ -d /run/systemd/system ] && command -v systemctl >/dev/null; then
        _init=systemd
        case $_name in
            *.service | *.socket | *.timer | *.target | *.path | *.mount | *.automount | *.swap | *.slice | *.scope | *.device)
                _unit=$_name ;;
            # systemctl takes a bare number for a job, so the suffix is never left to it.
            *) _unit=$_name.service ;;
        esac
        case $_unit in
            *@.*)
                _why="$_unit is a template: name one of its instances, such as ${_unit%%@*}@INSTANCE"
                return 1 ;;
        esac
        return 0
    fi
    _unit=${_name%.service}
    if [ -d /run/openrc ] && command -v rc-service >/dev/null; then
        _init=openrc
        for _d in /etc/init.d /usr/local/etc/init.d; do
            if [ -x "$_d/$_unit" ]; then
                _script=$_d/$_unit
                return 0
            fi
        done
        service__nearest
        _why="this host (OpenRC) has no service $_unit$_near"
        return 1
    fi
    for _d in /etc/init.d /etc/rc.d/init.d /etc/rc.d; do
        if [ -f "$_d/$_unit" ] && [ -x "$_d/$_unit" ]; then
            _init=sysv _script=$_d/$_unit
            return 0
        fi
    done
    _script=$(set +f; for _f in /etc/init.d/[SK][0-9][0-9]"$_unit"; do [ -f "$_f" ] && printf %s "$_f" && break; done)
    if [ "$_script" ]; then
        _init=initd
        return 0
    fi
    if service__inittab; then
        _init=inittab
        return 0
    fi
    if command -v systemctl >/dev/null; then
        _why="systemd is installed but not running here (a container or a chroot?), so services cannot be managed"
    elif [ -d /etc/init.d ] || [ -f /etc/inittab ]; then
        service__nearest
        _why="this host has no service $_unit (there is neither a script for it in /etc/init.d nor a respawn line in /etc/inittab)$_near"
    else
        _why="this host has no service manager that mutate knows (systemd, OpenRC, scripts in /etc/init.d, BusyBox init)"
    fi
    return 1
}

# service__nearest: sets _near to a hint such as "; did you mean nginx?", or to nothing.
# Runs only when there is no such service. No forks besides one subshell for the glob.
service__nearest() {
    _near=''
    _bare=${_unit%.*}
    # Names that distributions differ in.
    case $_bare in
        ssh | sshd) _alias='ssh sshd' ;;
        apache | apache2 | httpd) _alias='apache2 httpd' ;;
        cron | crond | cronie) _alias='cron crond cronie' ;;
        mysql | mysqld | mariadb) _alias='mysql mysqld mariadb' ;;
        bind | bind9 | named) _alias='named bind9' ;;
        ntp | ntpd | ntpsec | chrony | chronyd) _alias='ntpsec ntpd ntp chrony chronyd systemd-timesyncd' ;;
        nfs | nfs-server | nfs-kernel-server) _alias='nfs-server nfs-kernel-server' ;;
        samba | smb | smbd) _alias='smbd smb samba' ;;
        syslog | rsyslog | rsyslogd | syslogd) _alias='rsyslog syslog-ng syslogd' ;;
        *) _alias='' ;;
    esac
    # One letter wrong, missing, too many, or two swapped: as patterns.
    _typos='' _head='' _rest=$_bare
    while [ "$_rest" ]; do
        _tail=${_rest#?}
        _c=${_rest%"$_tail"}
        _typos="$_typos $_head?$_tail $_head$_tail $_head?$_rest"
        [ "$_tail" ] && _typos="$_typos $_head${_tail%"${_tail#?}"}$_c${_tail#?}"
        _head=$_head$_c _rest=$_tail
    done
    _typos="$_typos $_bare?"
    _near=$(
        set +f
        for _f in /etc/systemd/system/*.* /run/systemd/system/*.* /usr/lib/systemd/system/*.* /lib/systemd/system/*.* \
            /etc/init.d/* /etc/rc.d/init.d/*; do
            [ -f "$_f" ] || continue
            _f=${_f##*/}
            case $_f in
                *.service) _b=${_f%.service} ;;
                *.socket | *.timer | *.target | *.path | *.mount) continue ;;
                [SK][0-9][0-9]?*) _b=${_f#???} ;;
                *) _b=$_f ;;
            esac
            case " $_alias " in *" $_b "*) printf %s "$_b"; exit ;; esac
            # Two loops' worth of patterns is fine here: it is the error path.
            set -f
            for _p in $_typos; do
                # shellcheck disable=SC2254  # the variable is meant to be a pattern
                case $_b in $_p) printf %s "$_b"; exit ;; esac
            done
            set +f
            case $_b in "$_bare"?*) [ ${#_bare} -ge 3 ] && _found=${_found:-$_b} ;; esac
        done
        printf %s "${_found-}"
    )
    [ "$_near" ] && _near="; did you mean $_near?"
}

# ---------------------------------------------------------------- systemd

# service__show: asks systemd about _unit, once; service__get then picks from the reply. What has been asked for several
# questions together holds for the first look of each.
service__show() {
    if [ -n "${service_told-}" ]; then
        _o=$service_told service_told=''
        return
    fi
    service_unchanged=''
    _o=$n$(service__ask "$_unit")$n
}

# service__ask UNIT…
service__ask() {
    systemctl show \
        --property=Id,LoadState,LoadError,ActiveState,SubState,UnitFileState,Type,RemainAfterExit,CanReload \
        --property=NeedDaemonReload,SourcePath,NRestarts,MainPID,InvocationID,Result,ExecMainStatus \
        --property=ActiveEnterTimestampMonotonic,InactiveExitTimestampMonotonic \
        -- "$@" 2>&1
}

# service__show_real: like service__show, but finds the unit also by a name that it would
# only get when enabled (Alias=): "sshd" on Debian must not vanish by being disabled.
service__show_real() {
    service__show
    case $_o in *"${n}LoadState=not-found$n"*) ;; *) return ;; esac
    _f=$(
        set +f
        grep -l -s -E -e "^Alias=(.* )?$_unit( |\$)" /etc/systemd/system/*.* /run/systemd/system/*.* \
            /usr/local/lib/systemd/system/*.* /usr/lib/systemd/system/*.* /lib/systemd/system/*.*
    )
    _f=${_f%%"$n"*}
    [ "$_f" ] || return
    _unit=${_f##*/}
    service__show
}

# service__get PROPERTY: sets _v
service__get() {
    _v=''
    case $_o in
        *"$n$1="*)
            _v=${_o#*"$n$1="}
            _v=${_v%%"$n"*} ;;
    esac
}

# service__nap: about 0.3 s; 1 s where sleep knows no fractions. Adds tenths to _slept.
service__nap() {
    if sleep 0.3 2>/dev/null; then
        _slept=$((_slept + 3))
    else
        sleep 1
        _slept=$((_slept + 10))
    fi
}

# service__state: sets _active from the reply, waiting up to 3 s for a state that passes.
service__state() {
    _slept=0
    while :; do
        service__get ActiveState
        _active=$_v
        service__get SubState
        case $_active/$_v in
            */auto-restart*) _active=restarting; return ;;
            activating/* | deactivating/* | reloading/*) ;;
            *) break ;;
        esac
        # A oneshot is "activating" all the time it runs: waiting would tell nothing.
        service__kind
        [ "$_kind" = oneshot ] && break
        [ "$_slept" -ge 30 ] && break
        service__nap
        service__show
    done
    case $_active in
        reloading | refreshing) _active=active ;;
        active)
            # Restarted by systemd itself, and up for less than 5 s: most likely it will die again.
            service__get NRestarts
            case $_v in '' | 0) return ;; esac
            service__get ActiveEnterTimestampMonotonic
            case $_v in ???????*) ;; *) return ;; esac
            # Microseconds overflow the arithmetic of some shells, so cut before computing.
            _since=${_v%??????}
            { read -r _up _ </proc/uptime; } 2>/dev/null || return
            _up=$((${_up%%.*} - _since))
            [ "$_up" -ge 0 ] && [ "$_up" -lt 5 ] && _active=restarting ;;
    esac
}

service__kind() {
    case $_unit in
        *.service)
            _kind=daemon
            service__get Type
            if [ "$_v" = oneshot ]; then
                service__get RemainAfterExit
                case $_v in yes) _kind=oneshot-remain ;; *) _kind=oneshot ;; esac
            fi ;;
        *) _kind=${_unit##*.} ;;
    esac
}

service__look_systemd() {
    service__show_real
    service__get LoadState
    _load=$_v
    case $_load in
        loaded | masked) ;;
        '')
            _o=${_o#"$n"}
            core_die "systemctl cannot tell anything about the service $_name: ${_o%%"$n"*}"
            return 3 ;;
        *)
            case $_flags in
                *' absent-ok '*) ;;
                *)
                    if [ "$_load" = not-found ]; then
                        service__nearest
                        core_die "this host has no service $_name (systemd finds no unit $_unit)$_near"
                    else
                        service__get LoadError
                        core_die "systemd cannot load the unit $_unit ($_load: ${_v:-see systemctl status})"
                    fi
                    return 3 ;;
            esac ;;
    esac
    service__get Id
    _unit=${_v:-$_unit}
    service__state
    service__kind
    service__get UnitFileState
    case $_v in
        enabled) _enabled=yes ;;
        disabled | linked | linked-runtime) _enabled=no ;;
        enabled-runtime) _enabled=runtime ;;
        masked) _enabled=masked _masked=yes ;;
        masked-runtime) _enabled=masked _masked=runtime ;;
        generated)
            _enabled=generated
            service__get SourcePath
            case $_v in */init.d/*) service__rc_links "${_v##*/}" ;; esac ;;
        '') _enabled=unknown ;;
        *) _enabled=$_v ;;
    esac
    [ "$_load/$_masked" = masked/no ] && _masked=yes
    service__get CanReload
    _reload=${_v:-unknown}
    service__get NeedDaemonReload
    _stale=${_v:-no}
    [ "$_stale" = yes ] || { service__newer "*/$_unit*" && _stale=$_newer; }
}
