#!/bin/sh
# What of package's library needs no host: run in its folder as `SHELL package.sh`.
test_local=1
. ./core_test.sh
. ./package_library.sh
set -f
umask 077
export LC_ALL=C
_good=0 _failed=0
ask() { _got=$("$@" </dev/null; printf 'x%s' $?)
    case $1,$_got in
        package_look,*"${n}met yes${n}x0") _got=${_got%"met yes${n}x0"}x0
            case $2 in absent) _no='installed current old other broken' ;; latest) _no='absent config broken old other installed' ;; *) _no='absent config broken old other' ;; esac
            for _w in $_no; do case $_got in *" $_w "*) _failed=$((_failed + 1)); echo "met yes: $_got" ;; esac; done ;;
        package_look,*"${n}met no${n}x0") _got=${_got%"met no${n}x0"}x0 ;;
        package_look,*x0) echo "no met: $_got"; _failed=$((_failed + 1)) ;;
    esac
}
is() {
    if [ "$_got" = "$2" ]; then _good=$((_good + 1)); else
        _failed=$((_failed + 1))
        printf 'FAILED %s\n  wanted: %s\n  got:    %s\n' "$1" "$2" "$_got"
    fi
}
like() {
    case $_got in
        $2) _good=$((_good + 1)) ;;
        *) _failed=$((_failed + 1)); printf 'FAILED %s\n  pattern: %s\n  got:     %s\n' "$1" "$2" "$_got" ;;
    esac
}
# apply ARG…: _got is all output on one side, then x and the status; _out only what changed
apply() {
    _got=$(package_apply "$@" </dev/null 2>&1; printf 'x%s' $?)
    _out=$(printf '%s\n' "$_got" | sed -n 's/^package-changed //p')
}
changed() { _k=$_got; _got=$_out; is "$1" "$2"; _got=$_k; }
finish() { echo "$_good good, $_failed failed"; [ "$_failed" = 0 ]; exit; }

# names
for _t in '-y' 'foo-' '@base' 'foo>=1' '/usr/bin/x' 'a b' 'a*' '' 'foo=' 'foo=1 2' "a'b" 'foo=1[2]' 'foo/stable' "a${n}b"; do
    if package_names "$_t"; then _got="$_t accepted"; else _got=refused; fi
    is "name $_t" refused
done
for _t in g++ libc6:i386 glibc.i686 'perl(Foo::Bar)' python3.11 foo=1.2 'foo=1:2.3~rc1*' 'foo=1.?-3' lib_x; do
    if package_names "$_t"; then _got=accepted; else _got=$_why; fi
    is "name $_t" accepted
done
# versions
_m() { _pm=$1; if package_matches "$2" "$3"; then _got=yes; else _got=no; fi; is "matches $*" "$4"; }
_m apt 1.2-3 1.2-3 yes; _m apt 1.2-3 1.2 no; _m apt 1.2-3 '1.2*' yes; _m apt 1:1.2-3 1.2-3 no; _m apt 1.10 '1.1' no
_m dnf 1.2-3 1.2 yes; _m dnf 1:1.2-3.el9 1.2 yes; _m dnf 1:1.2-3 1:1.2 yes; _m dnf 1.2-3 '1.*' yes; _m dnf 1.2-3 2 no
_m pacman 1.2-1 1.2 yes; _m apk 1.2-r0 1.2 yes; _m apk 1.2-r0 '1.2-r?' yes

if [ -n "${test_local-}" ]; then
    # readers, with the text of the tools
    _pm=apt n1=$n
    package_policy "lab-hello:$n  Installed: 1.0$n  Candidate: 2.0$n  Version table:$n     2.0 500$n        500 file:/x ./ Packages$n *** 1.0 500$n        100 /var/lib/dpkg/status${n}v:$n  Installed: (none)$n  Candidate: (none)$n  Version table:"
    package_best "$_table" lab-hello ''; _got=$_cand; is policy 2.0
    package_best "$_table" lab-hello '1*'; _got=$_cand; is policy 1.0
    package_best "$_table" lab-hello '3'; _got=$_cand; is policy -
    package_best "$_table" v ''; _got=$_cand; is policy -
    package_best "$_table" hello ''; _got=$_cand; is policy -
    _native=amd64
    _db="$n|libc6|amd64|install ok installed|2.36$n|libc6|i386|install ok installed|2.35$n|rc|all|deinstall ok config-files|1$n|half|all|install reinstreq half-installed|1.0$n|w|i386|install ok installed|3$n|trig|all|install ok triggers-awaited|4$n|held|all|hold ok installed|5$n|virt|||unknown ok not-installed|$n"
    _f() { package_find "$1"; _got="$_state $_have"; is "dpkg $1" "$2"; }
    _f libc6 'installed 2.36'; _f libc6:i386 'installed 2.35'; _f rc 'config -'; _f half 'broken 1.0'; _f w 'absent -'
    _f w:i386 'installed 3'; _f trig 'installed 4'; _f held 'installed 5'; _f virt 'absent -'; _f nope 'absent -'; _f ibc6 'absent -'
    _pm=dnf
    _db="${n}package nope is not installed$n|glibc|x86_64|2.34-1$n|glibc|i686|2.33-1$n|ep|noarch|0:1-1$n|kernel|x86_64|5-1$n|kernel|x86_64|6-1$n|python3.11|x86_64|3.11-2$n"
    _f glibc.i686 'installed 2.33-1'; _f ep 'installed 1-1'; _f kernel 'installed 6-1'; _f nope 'absent -'; _f python3.11 'installed 3.11-2'; _f glibc.s390x 'absent -'
    package_triples "Updated Packages${n}lab-hello.noarch   2.0-1   lab${n}a-very-long-name.x86_64$n   1:3-4   updates${n}Obsoleting Packages${n}x.noarch 1 r${n}    y.noarch 1 r"
    package_best "$_table" a-very-long-name ''; _got=$_cand; is triples 1:3-4
    package_best "$_table" x ''; _got=$_cand; is triples -
    _pm=apk
    _db="${n}P:busybox${n}V:1.36-r2${n}p:cmd:busybox=1.36-r2 so:x=1$n${n}P:foo${n}V:2-r0$n"
    _f busybox 'installed 1.36-r2'; _f foo 'installed 2-r0'; _f box 'absent -'
    package_provided cmd:busybox nope; _got=$_provided; is provides "${n}cmd:busybox$n"
    _pm=apt
    _rpm=rpm
    # Questions that are worked off together: answered as each alone, with two calls of the tool for all.
    _tools=$(mktemp -d)
    cat >"$_tools/dpkg-query" <<'X'
#!/bin/sh
echo called >>"$0.calls"
case $3 in
    *Provides*) printf '%s\n' '|install ok installed|, mta, vim-any (= 2),' '|deinstall ok config-files|, gone,' ;;
    *)
        shift 4
        # In order, and each once, as the real one does.
        { for x; do
            case $x in
                libc6) printf '%s\n' '|libc6|amd64|install ok installed|2.36' '|libc6|i386|install ok installed|2.35' ;;
                libc6:i386) echo '|libc6|i386|install ok installed|2.35' ;;
                rc) echo '|rc|all|deinstall ok config-files|1' ;;
                half) echo '|half|all|install reinstreq half-installed|1.0' ;;
                held) echo '|held|all|hold ok installed|5' ;;
                held-data) echo '|held-data|all|install ok installed|6' ;;
                *) echo "dpkg-query: no packages found matching $x" >&2 ;;
            esac
        done; } | sort -u ;;
esac
X
    printf '#!/bin/sh\n' >"$_tools/apt-get"
    chmod 755 "$_tools/dpkg-query" "$_tools/apt-get"
    _path=$PATH PATH=$_tools:$PATH
    core_ask() { a=$(trap 'printf x%s "$?"' 0; eval "$1" </dev/null); s=${a##*x} a=${a%x*}; }
    package_manager() { _pm=apt; }
    set -- "package_look 'present' 'held'" "package_look 'present' 'libc6:i386' 'nope'" "package_look 'absent' 'rc' 'libc6'" "package_look 'present' 'mta'" \
        "package_look 'present' 'half' 'held-data=6' 'held=4'" "package_look 'present' 'gone'" "package_look 'present' '-y'" "package_look 'absent' 'nope'" "package_look 'present' 'vim-any'"
    package_group_begin
    _i=0
    for _t in "$@"; do _i=$((_i + 1)); package_group_wish "$_i" "$_t"; done
    rm -f "$_tools/dpkg-query.calls"
    package_group_gather "$_i"
    _i=0 _together=''
    for _t in "$@"; do _i=$((_i + 1)); package_group_answer "$_i" "$_t"; _together="$_together$_t: $s $a"; done
    _got=$(wc -l <"$_tools/dpkg-query.calls"); _got=$((_got)); is 'calls of the tool' 2
    package_group_over
    _got=$_together _alone=''
    for _t in "$@"; do core_ask "$_t"; _alone="$_alone$_t: $s $a"; done
    is 'together as alone' "$_alone"
    like 'something of each kind' '*held installed 5*i386 installed*nope absent*rc config*mta provided*half broken*other*gone absent*-y is not a package*vim-any provided*'
    PATH=$_path
    rm -rf "$_tools"
    _got=$(package_report "a 1${n}b 1${n}c 1" "a 1${n}b 2${n}d 1"); is report "package-changed b 1 2${n}package-changed c 1 -${n}package-changed d - 1"
    finish
fi

package_manager || {
    ask package_look present lab-hello
    is 'no manager' "this host has no package manager that mutate knows (apt, dnf, yum, zypper, pacman, apk)${n}x3"
    ask package_cache 60; like 'no manager' 'this host has no*x3'
    apply 10 - install lab-hello; like 'no manager' 'this host has no*x3'
    finish
}
M=$_pm
r=-1
[ "$M" = apt ] && r=
a=
case $M in dnf | zypper) a=.noarch ;; esac

ask package_look present lab-hello lab-dep nonesuch-x lab-hello=1.0
is present "manager $M${n}lab-hello absent - -${n}lab-dep absent - -${n}nonesuch-x absent - -${n}lab-hello=1.0 absent - -${n}x0"
ask package_look plan lab-hello lab-dep nonesuch-x 'lab-hello=1.*' lab-hello=1.0 lab-hello=7
is plan "manager $M${n}lab-hello absent - 2.0$r${n}lab-dep absent - 1.0$r${n}nonesuch-x absent - -${n}lab-hello=1.* absent - 1.1$r${n}lab-hello=1.0 absent - 1.0$r${n}lab-hello=7 absent - -${n}x0"
_1=$_got
ask package_look plan lab-hello lab-dep nonesuch-x 'lab-hello=1.*' lab-hello=1.0 lab-hello=7
is 'the same again' "$_1"

apply 10 - install nonesuch-x lab-dep nonesuch-y
like unknown "*no package named nonesuch-x, nonesuch-y in the repositories of this host; are its package lists up to date? (update_cache = true)${n}x1"
changed unknown ''
apply 10 - install lab-hello=7
like 'no such version' "*do not have what was asked for: lab-hello=7${n}x1"

apply 10 - install lab-hello=1.0 lab-dep
like install '*x0'
changed install "lab-dep$a - 1.0$r${n}lab-hello$a - 1.0$r${n}lab-lib$a - 1.0$r"
ask package_look present lab-hello lab-dep lab-lib lab-hello=1.0 'lab-hello=2*'
is installed "manager $M${n}lab-hello installed 1.0$r -${n}lab-dep installed 1.0$r -${n}lab-lib installed 1.0$r -${n}lab-hello=1.0 current 1.0$r -${n}lab-hello=2* other 1.0$r -${n}x0"
ask package_look latest lab-hello lab-dep lab-svc
is latest "manager $M${n}lab-hello old 1.0$r 2.0$r${n}lab-dep current 1.0$r 1.0$r${n}lab-svc absent - $([ $M = zypper ] && echo 1.1-1 || echo "1.1$r")${n}x0"
apply 10 - install lab-hello lab-dep
is 'nothing to do' x0
apply 10 - latest lab-hello lab-dep
like latest '*x0'
changed latest "lab-hello$a 1.0$r 2.0$r"
ask package_look latest lab-hello
is 'latest after' "manager $M${n}lab-hello current 2.0$r 2.0$r${n}x0"
apply 10 - latest lab-hello lab-dep
is 'latest again' x0
apply 10 - install 'lab-hello=1.*'
like downgrade '*x0'
changed downgrade "lab-hello$a 2.0$r 1.1$r"
apply 10 - exact "lab-hello$a=2.0$r"
like 'exact up' '*x0'
changed 'exact up' "lab-hello$a 1.1$r 2.0$r"
apply 10 - exact "lab-hello$a=1.0$r" "lab-dep$a=-" "lab-lib$a=-"
like 'exact both' '*x0'
changed 'exact both' "lab-dep$a 1.0$r -${n}lab-hello$a 2.0$r 1.0$r${n}lab-lib$a 1.0$r -"
apply 10 - exact "lab-hello$a=-"
like 'exact gone' '*x0'
apply 10 - exact "lab-hello$a=0.9$r"
like 'exact unavailable' '*x1'

# others must not go unasked
apply 10 - install lab-dep lab-hello
apply 10 - remove lab-lib
like 'remove in use' '*lab-dep*x1'
changed 'remove in use' ''
apply 10 - install lab-conflict
like conflict '*x1'
changed conflict ''
apply 10 removals install lab-conflict
like 'conflict allowed' '*x0'
changed 'conflict allowed' "lab-conflict$a - 1.0$r${n}lab-hello$a 2.0$r -"
apply 10 - exact "lab-conflict$a=-" "lab-hello$a=2.0$r"
like 'conflict undone' '*x0'
changed 'conflict undone' "lab-conflict$a 1.0$r -${n}lab-hello$a - 2.0$r"
apply 10 removals remove lab-lib
like 'remove with dependents' '*x0'
changed 'remove with dependents' "lab-dep$a 1.0$r -${n}lab-lib$a 1.0$r -"
apply 10 - remove lab-lib lab-hello nonesuch-x
like remove '*x0'
changed remove "lab-hello$a 2.0$r -"
apply 10 - remove lab-lib lab-hello
is 'remove again' x0
# dnf must not take along what it thinks nobody needs
apply 10 - install lab-dep
apply 10 - remove lab-dep
changed 'remove keeps dependencies' "lab-dep$a 1.0$r -"
apply 10 - remove lab-lib

if [ "$M" != pacman ]; then
    apply 10 - install lab-broken
    like broken '*lab-broken*x1'
    if [ "$M" = apt ]; then
        ask package_look present lab-broken
        is broken "manager apt${n}lab-broken broken 1.0 -${n}x0"
    fi
    apply 10 - exact "lab-broken$a=-"
    like 'broken undone' '*x0'
fi

# many
_many=
for _t in 01 02 03 04 05 06 07 08 09 10 11 12 13 14 15 16 17 18 19 20; do _many="$_many lab-bulk-$_t"; done
apply 10 - install $_many
like many '*x0'
_got=$(printf '%s\n' "$_out" | wc -l | tr -d ' '); is many 20
apply 10 - install $_many lab-hello
like 'many and one' '*x0'; changed 'many and one' "lab-hello$a - 2.0$r"
apply 10 - remove $_many lab-hello
like many '*x0'

# lists
apply 10 - refresh
like refresh '*x0'
ask package_cache 3600; is fresh "fresh${n}x0"
ask package_cache 0; is 'never fresh' "stale${n}x0"
sleep 2
ask package_cache 1; is stale "stale${n}x0"
apply 10 refresh install lab-hello
like 'refresh and install' '*x0'
apply 10 - remove lab-hello

# the lock
if [ "$M" = pacman ]; then
    : >/var/lib/pacman/db.lck
    apply 20 - install lab-hello
    like 'stale lock' "*/var/lib/pacman/db.lck was left behind*rm /var/lib/pacman/db.lck${n}x1"
    sleep 40 9>/var/lib/pacman/db.lck &
    _bg=$!
    apply 1 - install lab-hello
    like 'held lock' "the package manager's lock is held by pid $_bg (sleep 40) for more than 1 s${n}x1"
    (sleep 2; rm /var/lib/pacman/db.lck) &
    apply 20 - install lab-hello
    like 'lock released' '*x0'
    kill $_bg
else
    case $M in
        apt) apt-get -qq -y install lab-slow >/dev/null 2>&1 & ;;
        dnf) dnf -q -y install lab-slow >/dev/null 2>&1 & ;;
        zypper) zypper -q -n install lab-slow >/dev/null 2>&1 & ;;
    esac
    sleep 1.5
    apply 1 - install lab-hello
    like 'held lock' "the package manager's lock is held by pid [0-9]* (*$M*install*lab-slow*) for more than 1 s${n}x1"
    apply 20 - install lab-hello
    like 'lock released' '*x0'
    changed 'lock released' "lab-hello$a - 2.0$r"
    wait
fi
apply 10 - remove lab-hello lab-slow

if [ "$M" = apt ]; then
    ask package_look present awk mail-transport-agent libc6:amd64 libc6:i386
    like virtual "manager apt${n}awk provided - -${n}mail-transport-agent absent - -${n}libc6:amd64 installed * -${n}libc6:i386 absent - -${n}x0"
    apply 10 - install mail-transport-agent
    like virtual "no package named mail-transport-agent in*x1"
    apply 10 - install lab-svc
    rm -f /etc/lab-svc.conf.x; echo '# mine' >>/etc/lab-svc.conf
    apply 10 - remove lab-svc
    ask package_look absent lab-svc; is rc "manager apt${n}lab-svc config - -${n}x0"
    apply 10 purge remove lab-svc
    like purge '*x0'
    ask package_look absent lab-svc; is purged "manager apt${n}lab-svc absent - -${n}x0"
    # left over by a dpkg that was killed
    : >/var/lib/dpkg/updates/0001
    apply 10 - install lab-hello
    like interrupted "dpkg was cut off*dpkg --configure -a${n}x1"
    rm /var/lib/dpkg/updates/0001
fi
# lists that were never fetched
case $M in
    dnf) mv /var/cache/dnf /var/cache/dnf.away ;;
    zypper) mv /var/cache/zypp /var/cache/zypp.away ;;
    pacman) mv /var/lib/pacman/sync /var/lib/pacman/sync.away ;;
    apt) mv /var/lib/apt/lists /var/lib/apt/lists.away; rm -f /var/cache/apt/*.bin ;;
esac
ask package_look plan lab-hello
like 'no lists' "manager $M${n}lab-hello absent - [-?]${n}x0"
ask package_cache 3600; is 'no lists' "stale${n}x0"
apply 10 refresh install lab-hello=2.0 lab-lib=1.0
like 'from nothing' '*x0'
changed 'from nothing' "lab-hello$a - 2.0$r${n}lab-lib$a - 1.0$r"
ask package_cache 3600; is 'lists again' "fresh${n}x0"
apply 10 - remove lab-hello lab-lib
rm -rf /var/cache/dnf.away /var/cache/zypp.away /var/lib/pacman/sync.away /var/lib/apt/lists.away
if [ "$M" = apt ]; then
    apply 10 - install lab-hello=1.0
    apt-mark hold lab-hello >/dev/null
    apply 10 - latest lab-hello
    like hold '*on hold*: lab-hello; apt-mark unhold*x1'
    apt-mark unhold lab-hello >/dev/null
    apply 10 - remove lab-hello
    apply 10 - install lab-hello
    apply 10 - install lab-conflict
    like conflict '*would remove lab-hello*x1'
    # the version has left the repositories, but not this host
    cp /srv/lab-repo/apt/lab-hello_1.0_all.deb /var/cache/apt/archives/lab-hello_0.9_all.deb
    apply 10 - exact lab-hello=0.9
    like archive '*not back in their former version: lab-hello=0.9*package-changed lab-hello 2.0 1.0*x1'
    rm /var/cache/apt/archives/lab-hello_0.9_all.deb
    apply 10 - remove lab-hello
fi
if [ "$M" = dnf ]; then
    # what was called yum
    ln -s /usr/bin/dnf /usr/local/bin/yum
    package_manager() { _pm=yum; }
    ask package_look plan lab-hello lab-dep 'lab-hello=1.*'
    is yum "manager yum${n}lab-hello absent - 2.0-1${n}lab-dep absent - 1.0-1${n}lab-hello=1.* absent - 1.1-1${n}x0"
    apply 10 - install lab-hello=1.0; changed yum 'lab-hello.noarch - 1.0-1'
    ask package_look latest lab-hello lab-dep
    is yum "manager yum${n}lab-hello old 1.0-1 2.0-1${n}lab-dep absent - 1.0-1${n}x0"
    apply 10 - latest lab-hello; changed yum 'lab-hello.noarch 1.0-1 2.0-1'
    ask package_look latest lab-hello; is yum "manager yum${n}lab-hello current 2.0-1 2.0-1${n}x0"
    apply 10 - install nonesuch-x; like yum '*no package named nonesuch-x in*x1'
    apply 10 - exact lab-hello.noarch=-; changed yum 'lab-hello.noarch 2.0-1 -'
    package_manager() { _pm=dnf; }
    rm /usr/local/bin/yum
fi
# a probe leaves no trace
sleep 0.1; touch /run/mark; sleep 0.1
ask package_look present lab-hello lab-dep
ask package_look plan lab-hello
ask package_cache 60
_got=$(/usr/bin/find / -xdev -cnewer /run/mark ! -path '/proc/*' ! -path '/sys/*' ! -path '/var/log/*' 2>/dev/null | sort)
_got=$_got$(/usr/bin/find /dev /run ! -type d -cnewer /run/mark ! -path '/run/systemd/*' ! -path /run/mark ! -path '/dev/pts/*' 2>/dev/null | sort)
case $M in
    apt | pacman) is 'no traces' '' ;;
    # what the tools touch even for a question
    dnf) like "no traces" "/var/cache/dnf$n/var/lib/rpm/rpmdb.sqlite-shm*" ;;
    zypper) like "no traces" "/run$n/var/lib/rpm/rpmdb.sqlite-shm*" ;;
esac
rm /run/mark
_got=$(ls -l /dev/null); like /dev/null 'crw-rw-rw-*'
finish
