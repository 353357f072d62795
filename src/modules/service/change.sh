# shellcheck shell=sh
# shellcheck disable=SC2154,SC2034 # $n (a newline) and $t (a tab) come from core; other variables are those of look.sh
#
# service, second part: change one service of the host. Needs look.sh.
#
# For callers: service_apply NAME ACTION…, service_reread

# service_apply NAME ACTION…
#
# Carries the actions out, in the order that makes sense whatever the order given:
#   daemon-reload, unmask, enable | disable, stop, mask, start | restart | reload
# enable=LEVEL,LEVEL… (OpenRC) adds the service to these runlevels instead of "default".
# Status 0 when all was done and the service stayed up for a moment after a start;
# otherwise 1, with a sentence and the service's last log lines on stderr.
service_apply() {
    _name=$1
    shift
    _flags=' absent-ok '
    # A daemon that a script starts inherits both of these from us.
    umask 022
    cd /
    _daemon_reload='' _mask='' _enable='' _run='' _levels='' _said=''
    for _a; do
        case $_a in
            daemon-reload) _daemon_reload=1 ;;
            mask | unmask) _mask=$_a ;;
            enable | disable) _enable=$_a ;;
            enable=*) _enable=enable _levels=${_a#*=} ;;
            start | stop | restart | reload) _run=$_a ;;
            *) service__fail "service_apply does not know the action $_a"; return 1 ;;
        esac
    done
    if ! service__locate; then
        service__fail "$_why"
        return 1
    fi
    "service__apply_$_init"
}

# service_reread: lets systemd read all unit files again. Status 0, or 1 with a sentence on stderr.
service_reread() {
    _said=$(systemctl --no-ask-password daemon-reload 2>&1) || { service__fail "systemctl daemon-reload failed"; return 1; }
}

# ---------------------------------------------------------------- systemd

# service__ctl VERB: systemctl VERB on _unit. What it says when it fails is kept in _said,
# so that our own sentence can come first; warnings of a success go straight to stderr.
service__ctl() {
    _said=$(systemctl --no-ask-password --no-pager --quiet "$1" -- "$_unit" 2>&1)
    set -- $?
    [ "$1" = 0 ] && [ "$_said" ] && printf '%s\n' "$_said" >&2 && _said=''
    return "$1"
}

service__apply_systemd() {
    # Masking puts a link where a locally written unit file lies: systemctl refuses,
    # and it should do so before anything else has been changed.
    if [ "$_mask" = mask ] && [ -f "/etc/systemd/system/$_unit" ] && [ ! -L "/etc/systemd/system/$_unit" ]; then
        service__fail "the service $_name cannot be masked: its unit file is /etc/systemd/system/$_unit itself; move it to /usr/local/lib/systemd/system, or disable the service"
        return 1
    fi
    if [ "$_daemon_reload" ]; then
        service_reread || return 1
    fi
    [ "$_mask$_enable$_run" ] || return 0
    service__show_real
    service__get Id
    # enable and disable refuse to work on an alias, so its real name is used.
    _unit=${_v:-$_unit}
    service__get CanReload
    if [ "$_run/$_v" = reload/no ]; then
        service__get LoadState
        if [ "$_v" = loaded ]; then
            service__fail "the service $_name cannot reload its configuration (its unit has no ExecReload): use state = \"restarted\""
            return 1
        fi
    fi
    if [ "$_mask" = unmask ]; then
        service__ctl unmask || { service__fail "the service $_name could not be unmasked"; return 1; }
        # A runtime mask lies elsewhere and survives a plain unmask.
        if [ -L "/run/systemd/system/$_unit" ]; then
            systemctl --no-ask-password --quiet --runtime unmask -- "$_unit" 2>/dev/null
        fi
    fi
    if [ "$_enable" ]; then
        service__ctl "$_enable" || { service__fail "systemctl $_enable failed for the service $_name"; return 1; }
    fi
    case $_run in
        stop)
            service__ctl stop || { service__why "could not be stopped"; return 1; }
            # A daemon that ends with an error when told to end is "failed" now. It is
            # stopped, which is what was asked for; leave it in the plain state.
            service__show
            service__get ActiveState
            [ "$_v" = failed ] && service__ctl reset-failed 2>/dev/null
            ;;
    esac
    if [ "$_mask" = mask ]; then
        service__ctl mask || { service__fail "the service $_name could not be masked"; return 1; }
    fi
    case $_run in
        start | restart | reload) service__systemd_run ;;
    esac
}

# service__mark: sets _mark to something that is different after every (re)start
service__mark() {
    service__get InvocationID
    _mark=$_v
    service__get MainPID
    _mark=$_mark/$_v
    service__get ActiveEnterTimestampMonotonic
    _mark=$_mark/$_v
    service__get InactiveExitTimestampMonotonic
    _mark=$_mark/$_v
}

# service__again: _run once more, where systemd has itself started the service too often in vain, and so refuses. It says
# that in its log alone; its count of restarts tells.
service__again() {
    service__show
    service__get NRestarts
    case $_v in '' | 0) return 1 ;; esac
    service__ctl reset-failed 2>/dev/null
    service__ctl "$_run"
}

# service__lasts: does it live on? systemd may have been about to start it again when it was told to, and counts that as its own restart.
service__lasts() {
    _left=6
    while [ "$_left" -gt 0 ]; do
        service__get ActiveState
        [ "$_v" = active ] && [ "$_mark" = "$_after" ] || return 1
        sleep 1
        service__show
        service__mark
        _left=$((_left - 1))
    done
    service__get ActiveState
    [ "$_v" = active ] && [ "$_mark" = "$_after" ]
}

# service__systemd_run: start, restart or reload, and see that it holds
service__systemd_run() {
    case $_run in start) _past=started ;; restart) _past=restarted ;; *) _past=reloaded ;; esac
    service__show
    service__mark
    _before=$_mark
    service__get ActiveState
    # A service that was started too often in vain may not be started again for a
    # while; whoever repaired it and asks for a start means now.
    case $_run/$_v in
        reload/inactive | reload/failed)
            service__fail "the service $_name is not running, so it cannot reload its configuration: start it"
            return 1 ;;
        */failed | */activating) service__ctl reset-failed 2>/dev/null ;;
    esac
    if ! service__ctl "$_run" && ! service__again; then
        service__show
        service__why "could not be $_past"
        return 1
    fi
    service__show
    service__mark
    _after=$_mark
    service__kind
    # A oneshot that has run may be forgotten by systemd, times and all: nothing to compare.
    [ "$_kind" = oneshot ] && return 0
    if [ "$_run" = restart ] && [ "$_before" = "$_after" ]; then
        service__why "says that it was restarted, but it is the same process as before"
        return 1
    fi
    if [ "$_run" = start ] && [ "$_before" = "$_after" ]; then
        # It was running already; nothing to wait for, unless systemd keeps restarting it.
        service__state
        [ "$_active" = active ] && return 0
    fi
    # "start" came back. With these types that only means that there is a process;
    # whether it likes its configuration shows a moment later.
    service__get Type
    case $_run/$_v in
        */notify* | */dbus | */oneshot) ;;
        reload/* | */forking) _slept=0; service__nap ;;
        */simple | */exec | */idle) sleep 1 ;;
    esac
    service__show
    service__mark
    service__state
    case $_active in
        active)
            [ "$_run" = reload ] || [ "$_mark" = "$_after" ] && return 0
            service__why "was $_past but died, and was started again by systemd: it seems to fail over and over" ;;
        activating) return 0 ;;
        restarting)
            if service__lasts; then return 0; fi
            service__why "was $_past but died at once, and systemd keeps starting it again" ;;
        inactive) service__why "was $_past but ended by itself at once (if that is how it should be, its unit should say Type=oneshot)" ;;
        *) service__why "was $_past but is $_active now" ;;
    esac
    return 1
}

# service__why TEXT: tells on stderr what went wrong, with systemd's reasons and the log's end
service__why() {
    service__get Result
    _r=$_v
    service__get ExecMainStatus
    case $_r/$_v in
        '/'* | success/*) _r='' ;;
        exit-code/203) _r=' (its program is missing or cannot be executed)' ;;
        exit-code/217) _r=' (the user it should run as does not exist)' ;;
        exit-code/200) _r=' (its working directory is missing)' ;;
        exit-code/*) _r=" (exit status $_v)" ;;
        start-limit-hit/*) _r=' (it was started too often in a short time)' ;;
        *) _r=" ($_r)" ;;
    esac
    service__fail "the service $_name $1$_r"
    _l=''
    if command -v journalctl >/dev/null; then
        journalctl --sync >/dev/null 2>&1
        _l=$(journalctl --quiet --no-pager -n 10 -u "$_unit" 2>/dev/null)
    fi
    # No journal, or not for this user: the status text has what systemd itself remembers.
    [ "$_l" ] || _l=$(systemctl status --no-pager --full -n 10 -- "$_unit" 2>&1)
    [ "$_l" ] && printf '%s\n' 'the end of its log:' "$_l" >&2
}

# service__fail SENTENCE: the sentence, and what the tool said (_said), to stderr
service__fail() {
    core_say "$1"
    [ "$_said" ] && printf '%s\n' "$_said" >&2
    _said=''
    return 0
}

# ---------------------------------------------------------------- OpenRC

service__apply_openrc() {
    service__no_mask || return 1
    case $_enable in
        enable)
            _old=$IFS
            IFS=,
            # shellcheck disable=SC2086  # the list is to be split at its commas
            set -- ${_levels:-default}
            IFS=$_old
            for _a; do
                rc-update add "$_unit" "$_a" >&2 || { service__fail "the service $_name could not be added to the runlevel $_a"; return 1; }
            done ;;
        disable)
            rc-update --all del "$_unit" >&2 || { service__fail "the service $_name could not be removed from its runlevels"; return 1; } ;;
    esac
    [ "$_run" ] || return 0
    service__facts
    service__scripted rc-service "$_unit"
}

# ---------------------------------------------------------------- scripts in /etc/init.d

service__no_mask() {
    [ "$_mask" = mask ] || return 0
    service__fail "only systemd can mask a service; use enabled = false for $_name"
    return 1
}

service__apply_sysv() {
    service__no_mask || return 1
    service__facts
    service__can_reload || return 1
    case $_enable in
        '') ;;
        *)
            _l=$(grep -c '^#!.*/etc/rc\.common' "$_script" 2>/dev/null)
            if [ "$_l" = 1 ]; then
                "$_script" "$_enable" >&2
            elif command -v update-rc.d >/dev/null; then
                # "enable" only turns existing links; the first time they have to be made.
                if [ "$_enable" = enable ]; then
                    update-rc.d "$_unit" defaults >&2 && update-rc.d "$_unit" enable >&2
                else
                    update-rc.d "$_unit" disable >&2
                fi
            elif command -v chkconfig >/dev/null; then
                if [ "$_enable" = enable ]; then
                    chkconfig --add "$_unit" >&2 && chkconfig "$_unit" on >&2
                else
                    chkconfig "$_unit" off >&2
                fi
            else
                service__fail "this host has neither update-rc.d nor chkconfig, so it cannot be set whether $_name starts at boot"
                return 1
            fi || { service__fail "the service $_name could not be ${_enable}d"; return 1; } ;;
    esac
    [ "$_run" ] || return 0
    service__scripted "$_script"
}

service__apply_initd() {
    service__no_mask || return 1
    service__facts
    service__can_reload || return 1
    _d=${_script%/*} _f=${_script##*/}
    case $_enable/$_f in
        enable/K*) _to=$_d/S${_f#?} ;;
        disable/S*) _to=$_d/K${_f#?} ;;
        *) _to='' ;;
    esac
    if [ "$_to" ]; then
        mv -- "$_script" "$_to" || { service__fail "the script of the service $_name could not be renamed"; return 1; }
        _script=$_to
    fi
    [ "$_run" ] || return 0
    service__scripted "$_script"
}

service__can_reload() {
    [ "$_run" = reload ] && [ ! "$_can_reload" ] || return 0
    service__fail "the script of the service $_name has no reload command: use state = \"restarted\""
    return 1
}

# service__scripted COMMAND…: runs "COMMAND start" or the like, and sees that it holds
service__scripted() {
    [ "$_init" = openrc ] && { service__can_reload || return 1; }
    case $_run in start) _past=started ;; stop) _past=stopped ;; restart) _past=restarted ;; *) _past=reloaded ;; esac
    service__now "$@"
    case $_run/$_active in
        # Not every script minds that its daemon runs already: some start a second one.
        start/active | stop/inactive) return 0 ;;
    esac
    service__pids
    _before=$_pids
    # A daemon must not get the environment of this connection.
    env -i PATH="$PATH" "$@" "$_run" </dev/null >&2
    _s=$?
    if [ $_s != 0 ]; then
        service__fail "the service $_name could not be $_past (exit status $_s)"
        service__script_log
        return 1
    fi
    _slept=0
    case $_run in
        stop)
            # Some scripts return before the daemon has gone.
            while [ "$_slept" -lt 50 ]; do
                service__now "$@"
                [ "$_active" = active ] || return 0
                service__nap
            done
            service__fail "the service $_name could not be stopped: it is still running"
            return 1 ;;
    esac
    service__nap
    while :; do
        service__now "$@"
        case $_active in activating | inactive) ;; *) break ;; esac
        [ "$_slept" -ge 15 ] && break
        service__nap
    done
    case $_active in
        active | unknown | activating)
            if [ "$_run" = restart ] && [ "$_before" ]; then
                service__pids
                if [ "$_before" = "$_pids" ]; then
                    service__fail "the service $_name says that it was restarted, but it is the same process as before"
                    return 1
                fi
            fi
            return 0 ;;
    esac
    service__fail "the service $_name was $_past but is $_active now"
    service__script_log
    return 1
}

service__now() {
    if [ "$_init" = openrc ]; then service__run_status "$@"; else service__script_state; fi
}

# service__script_log: the last lines about the service in the system's log, to stderr
service__script_log() {
    for _f in /var/log/messages /var/log/syslog; do
        [ -r "$_f" ] || continue
        _l=$(tail -n 500 "$_f" | grep -F -e "${_daemon##*/}" -e "$_unit" | tail -n 10)
        [ "$_l" ] && printf '%s\n' "the end of its log in $_f:" "$_l" >&2
        return 0
    done
}

# ---------------------------------------------------------------- /etc/inittab

# service__listed: of several children of init in _pids, keeps the one that runs the line's command
service__listed() {
    case $_pids in *' '*) ;; *) return ;; esac
    for _p in $_pids; do
        if [ "$(tr '\0' ' ' 2>/dev/null <"/proc/$_p/cmdline")" = "${_cmd#-} " ]; then
            _pids=$_p
            return
        fi
    done
    # The process that init started first is the one with the lowest number, most likely.
    _low=''
    for _p in $_pids; do
        [ "$_low" ] && [ "$_low" -lt "$_p" ] || _low=$_p
    done
    _pids=$_low
}

service__apply_inittab() {
    service__no_mask || return 1
    case $_enable$_run in
        *disable* | *stop*)
            service__fail "the service $_name is kept running by init: remove its line from /etc/inittab (lineinfile) and send init a HUP to stop it"
            return 1 ;;
        *reload*)
            service__fail "the service $_name is run by init, which cannot tell it to reload: use state = \"restarted\""
            return 1 ;;
    esac
    case $_run in start | restart) ;; *) return 0 ;; esac
    service__named "$_unit"
    _all=" $_pids "
    service__named "$_unit" 1
    case $_pids in
        '')
            # init reads its table again and starts what is missing
            kill -HUP 1 || { service__fail "init could not be told to start the service $_name"; return 1; } ;;
        *)
            [ "$_run" = start ] && return 0
            service__listed
            kill "$_pids" || { service__fail "the service $_name could not be told to end"; return 1; } ;;
    esac
    _slept=0
    while [ "$_slept" -lt 80 ]; do
        service__nap
        service__named "$_unit" 1
        for _p in $_pids; do
            # What worked for the old process (a login of an SSH server) may be
            # init's child now; new is only what was not there before.
            case $_all in *" $_p "*) continue ;; esac
            sleep 1
            service__alive "$_p" && return 0
            service__fail "the service $_name was started but died at once, and init keeps starting it again"
            service__script_log
            return 1
        done
    done
    service__fail "init did not start the service $_name again"
    service__script_log
    return 1
}
