#!/bin/sh
# shellcheck disable=SC2015,SC2154,SC1091,SC2317,SC2086,SC2254,SC2016
# Tests of service.sh for the service managers that the lab does not have: OpenRC and
# SysV scripts (Debian's and Red Hat's tools, with and without "status"), BusyBox scripts.
# They are played by scripts in a mount namespace of their own, so the machine stays as it is.
# Needs root and overlayfs. Usage: sh service.sh [SHELL…]; systemd is tried with
# the tests against real hosts.
here=$(cd "$(dirname "$0")" && pwd)
if [ "$1" != inner ]; then
    bad=0
    [ $# -gt 0 ] || set -- dash 'bash --posix' 'busybox ash' mksh 'zsh --emulate sh' ksh93
    for s; do
        for k in openrc debian redhat initd none; do
            unshare -mpf --mount-proc $s "$here/service.sh" inner "$here" $k || { echo "FAILED: $s $k"; bad=1; }
        done
        echo "$s done"
    done
    exit $bad
fi
here=$2 kind=$3
mount --make-rprivate / && mount -t tmpfs none /run && mkdir /run/u /run/w /run/fake /run/bin &&
    mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/u,workdir=/run/w /etc || exit 1
. "$here/core_test.sh"
. "$here/service_library.sh"
# Only these programs exist; above all no systemctl or update-rc.d of this machine.
mkdir /run/tools
for c in sh sleep grep env mv ln rm cat mkdir tail tr chmod printf; do ln -s "$(command -v $c | grep / || echo /usr/bin/$c)" /run/tools/$c; done
export LC_ALL=C PATH=/run/bin:/run/tools
umask 077
fails=0
ok() { # NAME WANTED-PATTERN GOT
    case $3 in
        $2) ;;
        *) fails=1; printf 'not as expected: %s\n  wanted: %s\n  got:    %s\n' "$1" "$2" "$3" ;;
    esac
}
look() { # one line: active, enabled, reload, and the status
    _a=$(set -f; service_look "$@" </dev/null; printf 'x%s' $?)
    _b=$(set -f; service_look "$@" </dev/null; printf 'x%s' $?)
    [ "$_a" = "$_b" ] || ok "deterministic $*" "$_a" "$_b"
    case $_a in
        *x0)
            _a=$_a$n
            for _l in init active enabled reload; do
                _v=${_a#*"$_l "}
                printf '%s ' "${_v%%"$n"*}"
            done ;;
        *) printf '%s' "${_a%"$n"x*}x${_a##*x}" ;;
    esac
}
# what it said, without the last line break, and its status
# killit [SIGNAL]: ends the daemon. (kill with an empty argument means the process group in some shells.)
killit() {
    { read -r _p </run/labd.pid; } 2>/dev/null || _p=''
    [ "$_p" ] && kill $1 "$_p" 2>/dev/null
}
apply() { _a=$(set -f; service_apply "$@" </dev/null 2>&1); printf '%sx%s' "$_a" $?; }
script() { # FILE BODY: an executable script
    printf '%s\n' '#!/bin/sh' "$2" >"$1" && chmod 755 "$1"
}
rm -rf /etc/init.d /etc/rc?.d /etc/inittab
mkdir -p /etc/init.d
script /run/fake/labd 'trap "exit 0" TERM; umask >/run/fake/umask; env >/run/fake/env; while :; do sleep 0.1; done'
body='start() { /run/fake/labd </dev/null >/dev/null 2>&1 & echo $! >/run/labd.pid; }
stop() { [ -f /run/labd.pid ] || return 0; kill $(cat /run/labd.pid) 2>/dev/null; rm -f /run/labd.pid; }'
case $kind in
    none)
        rm -rf /etc/init.d
        ok none "this host has no service manager that mutate knows*x3" "$(look labd)"
        mkdir /etc/init.d
        ok none2 "this host has no service labd*inittab*x3" "$(look labd)"
        script /run/bin/systemctl 'exit 1'
        ok chroot "systemd is installed but not running here*x3" "$(look labd)"
        mkdir -p /run/systemd/system
        script /run/bin/systemctl 'echo "Failed to connect to bus: No such file or directory" >&2; exit 1'
        ok bus "systemctl cannot tell anything about the service labd: Failed to connect to bus: No such file or directoryx3" "$(look labd)"
        # Questions that are worked off together: answered as each alone, with one call of systemctl.
        script /run/bin/systemctl 'echo "$@" >>/run/fake/calls
while [ "$1" != -- ]; do shift; done
shift
first=1
for unit; do
    [ "$first" ] || echo
    first=
    case $unit in
        a.service) printf "%s\\n" Type=simple Id=a.service LoadState=loaded ActiveState=active SubState=running UnitFileState=enabled CanReload=yes NeedDaemonReload=no ;;
        alias.service) printf "%s\\n" Type=oneshot Id=real.service LoadState=loaded ActiveState=inactive SubState=dead UnitFileState=disabled CanReload=no NeedDaemonReload=yes ;;
        t.timer) printf "%s\\n" Id=t.timer LoadState=loaded ActiveState=active SubState=waiting UnitFileState=static CanReload=no NeedDaemonReload=no ;;
        *) printf "%s\\n" Id="$unit" LoadState=not-found ActiveState=inactive SubState=dead NeedDaemonReload=no ;;
    esac
done'
        ln -s /usr/bin/sed /usr/bin/find /run/tools/
        core_ask() { a=$(trap 'printf x%s "$?"' 0; eval "$1" </dev/null); s=${a##*x}; a=${a%x*}; }
        set -f
        set -- "'service_look' 'a' 'reread'" "'service_look' 'alias' 'reread'" "'service_look' 'none' 'absent-ok'" "'service_look' 'x/y'" "'service_look' 't.timer' 'unknown-ok'" "'service_look' 'none'"
        service_group_begin
        _i=0 _together='' _alone=''
        for _q in "$@"; do _i=$((_i + 1)); service_group_wish "$_i" "$_q"; done
        rm -f /run/fake/calls
        service_group_gather "$_i"
        ok 'one call for all' '*-- a.service alias.service none.service t.timer none.service' "$(cat /run/fake/calls)"
        _i=0
        for _q in "$@"; do _i=$((_i + 1)); service_group_answer "$_i" "$_q"; _together="$_together$_q: $s $a$n"; done
        service_group_over
        # Such as are not there are looked for under the names that they get when they are enabled, each by itself.
        ok 'and none for each' 1 "$(grep -c 'a.service' /run/fake/calls)"
        for _q in "$@"; do core_ask "$_q"; _alone="$_alone$_q: $s $a$n"; done
        [ "$_together" = "$_alone" ] || ok 'together as alone' "$_alone" "$_together"
        ok 'something of each kind' '*unit a.service*active active*unit real.service*stale yes*load not-found*by its name*kind timer*finds no unit none.service*' "$_together"
        # What a reply cannot be told apart by is asked for each.
        script /run/bin/systemctl 'echo "Failed to connect to bus" >&2; exit 1'
        service_group_begin
        service_group_wish 1 "$1"
        service_group_wish 2 "$2"
        service_group_gather 2
        service_group_answer 1 "$1"
        ok 'no reply' "*Failed to connect to bus*" "$a"
        set +f
        ;;
    openrc)
        mkdir -p /run/openrc /etc/runlevels/default /etc/runlevels/boot
        script /etc/init.d/labd "$body
extra_started_commands=\"checkconfig reload\"
case \$1 in
start|stop) \$1 ;;
restart) stop; sleep 0.2; start ;;
reload) exit 0 ;;
status) [ -f /run/labd.pid ] || exit 3; grep -q 'State:.[RSD]' /proc/\$(cat /run/labd.pid)/status 2>/dev/null || exit 32 ;;
esac"
        script /run/bin/rc-service 's=$1; shift; exec /etc/init.d/$s "$@"'
        script /run/bin/rc-update 'echo "$*" >>/run/fake/log
case $1 in
add) ln -s /etc/init.d/$2 /etc/runlevels/$3/$2 ;;
--all) rm /etc/runlevels/*/$3 ;;
*) exit 2 ;;
esac'
        ok look1 'openrc inactive no unknown ' "$(look labd)"
        ok nearest '*no service labs; did you mean labd?x3' "$(look labs)"
        ok start x0 "$(apply labd start enable)"
        ok look2 'openrc active yes default unknown ' "$(look labd)"
        ok umask 0022 "$(cat /run/fake/umask)"
        ok restart x0 "$(apply labd restart)"
        ok reload x0 "$(apply labd reload)"
        killit -9; sleep 0.2
        ok crashed 'openrc failed yes default unknown ' "$(look labd)"
        ok again x0 "$(apply labd restart enable=boot)"
        ok look3 'openrc active yes boot default unknown ' "$(look labd)"
        ok stop x0 "$(apply labd disable stop)"
        ok look4 'openrc inactive no unknown ' "$(look labd)"
        ok mask 'only systemd*x1' "$(apply labd mask)"
        script /etc/init.d/dud 'case $1 in status) exit 3 ;; start) echo no config >&2; exit 1 ;; esac'
        ok dud 'no config*the service dud could not be started*x1' "$(apply dud start)"
        script /etc/init.d/liar 'case $1 in status) exit 3 ;; esac'
        ok liar 'the service liar was started but is inactive nowx1' "$(apply liar start)"
        ok noreload '*no reload command*x1' "$(apply liar reload)"
        ;;
    debian | redhat)
        mkdir -p /etc/rc2.d /etc/rc3.d /etc/rc5.d
        if [ $kind = debian ]; then
            script /run/bin/update-rc.d 'echo "$*" >>/run/fake/log
case $2 in
defaults) [ -e /etc/rc2.d/?20$1 ] || ln -s ../init.d/$1 /etc/rc2.d/S20$1 ;;
enable) [ ! -L /etc/rc2.d/K20$1 ] || mv /etc/rc2.d/K20$1 /etc/rc2.d/S20$1 ;;
disable) mv /etc/rc2.d/S20$1 /etc/rc2.d/K20$1 ;;
esac'
        else
            script /run/bin/chkconfig 'echo "$*" >>/run/fake/log
case "$*" in
"--add "*) : ;;
*" on") ln -s ../init.d/$1 /etc/rc3.d/S20$1 ;;
*" off") rm /etc/rc3.d/S20$1 ;;
esac'
        fi
        script /etc/init.d/labd "$body
case \"\$1\" in
  start|stop) \$1 ;;
  restart|force-reload) stop; sleep 0.2; start ;;
  status) [ -f /run/labd.pid ] || exit 3; grep -q 'State:.[RSD]' /proc/\$(cat /run/labd.pid)/status 2>/dev/null || exit 1 ;;
esac"
        ok look1 'sysv inactive no unknown ' "$(look labd)"
        ok start x0 "$(apply labd start)"
        ok enable x0 "$(apply labd enable)"
        ok look2 'sysv active yes unknown ' "$(look labd)"
        ok umask 0022 "$(cat /run/fake/umask)"
        ok env '' "$(grep LC_ALL /run/fake/env)"
        ok restart x0 "$(apply labd restart)"
        ok disable x0 "$(apply labd disable)"
        ok look3 'sysv active no unknown ' "$(look labd)"
        ok reload '*no reload command*x1' "$(apply labd reload)"
        killit -9; sleep 0.2
        ok crashed 'sysv failed no unknown ' "$(look labd)"
        rm /run/labd.pid
        # no status, but it names its daemon and pid file through a variable
        script /etc/init.d/mute "NAME=labd
DAEMON=/run/fake/\$NAME
PIDFILE=/run/\${NAME}.pid
$body
case \$1 in start|stop|reload) \$1 ;; restart) stop; start ;; *) echo 'Usage: \$0 {start|stop|status}'; exit 2 ;; esac"
        ok mute 'sysv inactive no yes ' "$(look mute)"
        ok mutestart x0 "$(apply mute start)"
        ok mute2 'sysv active no yes ' "$(look mute)"
        mv /run/labd.pid /run/labd.pid.old
        ok byname 'sysv active no yes ' "$(look mute)"
        ok stuck '*it is still runningx1' "$(apply mute stop)"
        mv /run/labd.pid.old /run/labd.pid; killit; sleep 0.3
        # a pid file that outlived its process
        echo 999999 >/run/labd.pid
        ok stale 'sysv inactive no yes ' "$(look mute)"
        # nothing to go by
        script /etc/init.d/blind 'case $1 in start) : ;; esac'
        ok blind 'it cannot be known whether the service blind is running*x3' "$(look blind)"
        ok blind2 'sysv unknown no unknown ' "$(look blind unknown-ok)"
        # says restarted, does nothing
        script /etc/init.d/lazy "$body
DAEMON=/run/fake/labd
case \$1 in start) start ;; restart) : ;; stop) stop ;; esac"
        ok lazy x0 "$(apply lazy start)"
        ok lazyrestart '*same process as beforex1' "$(apply lazy restart)"
        ok lazystop x0 "$(apply lazy stop)"
        ok nearest '*did you mean lazy?x3' "$(look lzay)"
        ;;
    initd)
        script /etc/init.d/S50labd "DAEMON=\"labd\"
PIDFILE=\"/run/\$DAEMON.pid\"
$body
case \"\$1\" in
  start|stop)
    \"\$1\" ;;
  restart|reload) stop; start ;;
esac"
        ok look1 'initd inactive yes yes ' "$(look labd)"
        ok start x0 "$(apply labd start)"
        ok restart x0 "$(apply labd restart disable)"
        ok look2 'initd active no yes ' "$(look labd)"
        ok enable x0 "$(apply labd enable stop)"
        ok look3 'initd inactive yes yes ' "$(look labd)"
        ok name 'this is not a name*x3' "$(look 'lab*')"
        ok path 'a service is given by its name*x3' "$(look /etc/init.d/labd)"
        ;;
esac
killit
exit $fails
