# shellcheck shell=sh
# shellcheck disable=SC2154,SC2034 # $n (a newline) and $t (a tab) come from core; some variables are for change.sh
#
# service, first part, continued: OpenRC, scripts in /etc/init.d, and /etc/inittab.

# ---------------------------------------------------------------- OpenRC

service__look_openrc() {
    service__run_status "$_script"
    _levels=$(
        set +f
        for _f in /etc/runlevels/*/"$_unit"; do
            [ -e "$_f" ] || [ -L "$_f" ] || continue
            _f=${_f%/*}
            printf ' %s' "${_f##*/}"
        done
    )
    if [ "$_levels" ]; then _enabled=yes$_levels; else _enabled=no; fi
}

# ---------------------------------------------------------------- scripts in /etc/init.d

# service__commands LINE: what commands the arms of a "case" on one line are for.
service__commands() {
    _arms=$1
    while :; do
        _h=${_arms%%")"*}
        case $_h in *status*) _can_status=1 ;; esac
        # "force-reload" alone usually means restart.
        case "|$_h" in *[!-]reload*) _can_reload=1 ;; esac
        case $_arms in *';;'*) _arms=${_arms#*';;'} ;; *) return ;; esac
    done
}

# service__facts: reads _script with one grep and sets
#   _can_status, _can_reload   1 if the script has such a command
#   _daemon, _pidfile          the program and the pid file it names, where that can be told
service__facts() {
    _can_status='' _can_reload='' _daemon='' _pidfile='' _NAME=$_unit
    _w='["a-z_|* -]*'
    _lines=$(grep -E \
        -e "(^|case .* in|;;)[[:space:]]*[(]?${_w}(status|reload)${_w}[)]" \
        -e '^[[:space:]]*(export )?(NAME|name|DAEMON|DAEMON_PATH|daemon|PROG|prog|exec|command|PIDFILE|PID_FILE|pidfile|extra_started_commands|extra_commands|opts)=' \
        -e '^[[:space:]]*reload *[(]' \
        -e '^#!.*init-d-script' "$_script" 2>/dev/null)
    _rest=$_lines$n
    while [ "$_rest" ]; do
        _l=${_rest%%"$n"*}
        _rest=${_rest#*"$n"}
        while :; do
            case $_l in " "* | "$t"*) _l=${_l#?} ;; *) break ;; esac
        done
        _l=${_l#export }
        case $_l in
            '#!'*) _can_status=1 _can_reload=1; continue ;;
            extra_*"="*reload* | "opts="*reload*) _can_reload=1; continue ;;
            'case '*) service__commands "${_l##* in }"; continue ;;
            *';;'*) service__commands "$_l"; continue ;;
            [A-Za-z]*"="*) ;;
            *) service__commands "$_l"; continue ;;
        esac
        _k=${_l%%=*} _v=${_l#*=}
        case $_v in
            \"*) _v=${_v#\"}; _v=${_v%%\"*} ;;
            \'*) _v=${_v#\'}; _v=${_v%%\'*} ;;
            *) _v=${_v%%" "*}; _v=${_v%%";"*} ;;
        esac
        # shellcheck disable=SC2016  # these are the names as they stand in the script
        {
            service__subst '$NAME' "$_NAME"; service__subst '${NAME}' "$_NAME"
            service__subst '$name' "$_NAME"; service__subst '${name}' "$_NAME"
            service__subst '$RC_SVCNAME' "$_unit"; service__subst '${RC_SVCNAME}' "$_unit"
            service__subst '$SVCNAME' "$_unit"; service__subst '${SVCNAME}' "$_unit"
            service__subst '$DAEMON' "$_daemon"; service__subst '${DAEMON}' "$_daemon"
            service__subst '$prog' "$_daemon"; service__subst '${prog}' "$_daemon"
        }
        # What still needs a shell to be understood is not understood.
        case $_v in *'$'* | *'`'* | *'('*) continue ;; esac
        case $_k in
            NAME | name) _NAME=$_v ;;
            *[pP][iI][dD]*) _pidfile=$_v ;;
            *) [ "$_v" ] && _daemon=$_v ;;
        esac
    done
}

# service__subst TEXT VALUE: replaces the first TEXT in _v
service__subst() {
    case $_v in *"$1"*) _v=${_v%%"$1"*}$2${_v#*"$1"} ;; esac
}

# service__alive PID: is that a living process? (a zombie is not)
service__alive() {
    case $1 in '' | *[!0-9]*) return 1 ;; esac
    { IFS= read -r _s <"/proc/$1/stat"; } 2>/dev/null || return 1
    case ${_s##*") "} in [ZX]*) return 1 ;; esac
}

# service__pids: sets _pids to the service's processes: from its pid file, else by their name
service__pids() {
    _pids=''
    for _f in "$_pidfile" "/run/$_unit.pid" "/var/run/$_unit.pid" "/run/$_unit/$_unit.pid"; do
        [ -r "$_f" ] || continue
        _p=''
        { read -r _p _ <"$_f"; } 2>/dev/null
        if service__alive "$_p"; then
            _pids=$_p
            return
        fi
    done
    service__named "${_daemon:-$_unit}"
}

# service__named PROGRAM [PARENT]: sets _pids to the processes of that name (started by PARENT)
service__named() {
    # The kernel keeps 15 characters of a process's name.
    _want=${1##*/}
    while [ ${#_want} -gt 15 ]; do _want=${_want%?}; done
    _parent=${2-}
    _pids=$(
        set +f
        for _f in /proc/[0-9]*; do
            { IFS= read -r _c <"$_f/comm"; } 2>/dev/null || continue
            [ "$_c" = "$_want" ] || continue
            service__alive "${_f##*/}" || continue
            # after the name: state, then the parent's number
            _s=${_s##*") "}
            _s=${_s#* }
            [ "$_parent" ] && [ "${_s%% *}" != "$_parent" ] && continue
            printf ' %s' "${_f##*/}"
        done
    )
    _pids=${_pids# }
}

# service__run_status COMMAND…: sets _active from the exit status of "COMMAND status".
# 0, 1, 2, 3 are LSB's numbers; 4 to 32 are OpenRC's.
service__run_status() {
    "$@" status >/dev/null 2>&1 </dev/null
    case $?/$_init in
        0/*) _active=active ;;
        3/*) _active=inactive ;;
        1/sysv | 1/initd | 2/sysv | 2/initd)
            # By LSB it is dead and has left its pid file; many a script says 1 for everything that does not run.
            if [ -e "/run/$_name.pid" ] || [ -e "/var/run/$_name.pid" ]; then _active=failed; else _active=inactive; fi ;;
        32/openrc) _active=failed ;;
        8/openrc) _active=activating ;;
        4/openrc) _active=deactivating ;;
        16/openrc) _active=inactive ;;
        *) _active=unknown ;;
    esac
}

# service__script_state: sets _active for a script in /etc/init.d
service__script_state() {
    _active=unknown
    [ "$_can_status" ] && service__run_status "$_script"
    [ "$_active" = unknown ] || return 0
    service__pids
    if [ "$_pids" ]; then
        _active=active
    elif [ "$_daemon$_pidfile" ]; then
        _active=inactive
    fi
}

# service__rc_links NAME: sets _enabled to yes or no from the links in the runlevel folders
service__rc_links() {
    _enabled=$(
        set +f
        for _f in /etc/rc[2345S].d/S[0-9][0-9]"$1" /etc/rc.d/rc[2345].d/S[0-9][0-9]"$1" /etc/rc.d/S[0-9][0-9]"$1"; do
            if [ -L "$_f" ] || [ -e "$_f" ]; then
                printf yes
                exit
            fi
        done
        printf no
    )
}

service__look_sysv() {
    service__facts
    [ "$_can_reload" ] && _reload=yes
    service__script_state
    service__rc_links "$_unit"
}

service__look_initd() {
    service__facts
    [ "$_can_reload" ] && _reload=yes
    service__script_state
    case ${_script##*/} in S*) _enabled=yes ;; *) _enabled=no ;; esac
}

# ---------------------------------------------------------------- /etc/inittab

# service__inittab: is there a respawn line for _unit? Sets _daemon and _cmd.
service__inittab() {
    [ -r /etc/inittab ] || return 1
    while IFS=: read -r _id _lev _act _cmd; do
        case $_id in '#'*) continue ;; esac
        [ "$_act" = respawn ] || continue
        _daemon=${_cmd#-}
        _daemon=${_daemon%% *}
        [ "${_daemon##*/}" = "$_unit" ] && return 0
    done </etc/inittab
    return 1
}

service__look_inittab() {
    service__named "$_unit" 1
    if [ "$_pids" ]; then _active=active; else _active=inactive; fi
    _enabled=yes _reload=no
}
