# shellcheck shell=sh
# shellcheck disable=SC2154,SC2034 # $n (a newline) and $t (a tab) come from core; what is set here or read here is of look.sh
#
# service, questions that are worked off together: one `systemctl show` for the units of all of them, and one look whether
# anything of them has changed since systemd read it. Hosts without systemd answer each question by itself.
#
# service_told is the reply for the question that is being answered, service_unchanged is set when nothing has changed.

service_told='' service_unchanged=''

service_group_begin() {
    service_units='' service_asked=''
}

service_group_wish() { # NO PROBE
    eval "service_told_$1=''"
    _no=$1
    eval "set -- $2"
    _name=$2
    if service__locate && [ "$_init" = systemd ]; then
        service_units="$service_units $_unit" service_asked="$service_asked $_no"
    fi
}

service_group_gather() {
    [ -n "$service_units" ] || return 0
    # An empty line stands between units.
    # shellcheck disable=SC2086 # names of units, without blanks
    _o=$(service__ask $service_units | sed 's/^$/-/')
    IFS=$n
    # shellcheck disable=SC2086 # lines
    set -- $_o
    IFS=" $t$n"
    _patterns=''
    for _no in $service_asked; do
        _o=$n
        while [ "$#" -gt 0 ] && [ "$1" != - ]; do
            _o=$_o$1$n
            shift
        done
        [ "$#" = 0 ] || shift
        service__get Id
        # Not what was asked for.
        if [ -z "$_v" ]; then service__none; return; fi
        eval "service_told_$_no=\$_o"
        _patterns="$_patterns */$_v*"
    done
    if [ "$#" != 0 ]; then service__none; return; fi
    # shellcheck disable=SC2086 # patterns without blanks, and -f is set
    service__newer $_patterns
    [ "$_newer" = yes ] || service_unchanged=1
}

service__none() {
    for _no in $service_asked; do
        eval "service_told_$_no=''"
    done
}

service_group_answer() { # NO PROBE
    eval "service_told=\$service_told_$1"
    core_ask "$2"
    service_told=''
}

service_group_over() {
    service_unchanged=''
}
