#!/bin/sh
# shellcheck disable=SC2015,SC2154,SC1091,SC2317,SC2086,SC2254,SC2016
# Tests of account.sh in a mount namespace of its own with a made-up /etc: the probes, and
# the changes with this machine's shadow tools and with stand-ins for BusyBox's.
# Needs root and overlayfs. Usage: sh account.sh [SHELL…]
here=$(cd "$(dirname "$0")" && pwd)
if [ "$1" != inner ]; then
    bad=0
    [ $# -gt 0 ] || set -- dash 'bash --posix' 'busybox ash' mksh 'zsh --emulate sh' ksh93
    for s; do
        unshare -mpf --mount-proc $s "$here/account.sh" inner "$here" || { echo "FAILED: $s"; bad=1; }
        echo "$s done"
    done
    exit $bad
fi
here=$2
mount --make-rprivate / && mount -t tmpfs none /run && mkdir -p /run/u /run/w /run/bin /run/home &&
    mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/u,workdir=/run/w /etc &&
    mount -t tmpfs none /home || exit 1
. "$here/core_test.sh"
. "$here/account_library.sh"
export LC_ALL=C PATH=/run/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umask 077
fails=0
ok() { # NAME WANTED GOT, both as plain text; WANTED may end in ...
    case $2 in
        *...) case $3 in "${2%...}"*) return ;; esac ;;
        "$3") return ;;
    esac
    fails=1
    printf 'not as expected: %s\n  wanted: %s\n  got:    %s\n' "$1" "$2" "$3"
}
user() { # the answer on one line, with ; for line breaks
    _a=$(set -f; account_user "$@" </dev/null; printf 'x%s' $?)
    _b=$(set -f; account_user "$@" </dev/null; printf 'x%s' $?)
    [ "$_a" = "$_b" ] || ok "deterministic $*" "$_a" "$_b"
    oneline "$_a"
}
group() { _a=$(set -f; account_group "$@" </dev/null; printf 'x%s' $?); oneline "$_a"; }
oneline() {
    _z=$1 _y=''
    while :; do case $_z in *"$n"*) _y="$_y${_z%%"$n"*};" _z=${_z#*"$n"} ;; *) break ;; esac; done
    # echo would change a backslash in some shells
    printf '%s' "$_y$_z"
}
do_() { _a=$(set -f; "$@" </dev/null 2>&1); _b=$?; oneline "$_a${_a:+ }x$_b"; }
printf '%s\n' 'root:x:0:0:root:/root:/bin/sh' 'ann:x:1000:1000:Ann & co. \x "q" ü:/home/ann:/bin/sh' 'anna:x:1001:1001::/home/anna:/bin/bash' \
    'a.b:x:1002:77777::/home:/bin/sh' 'old:$1$abc:1003:1000::/home:/bin/sh' >/etc/passwd
printf '%s\n' 'root:x:0:' 'zoo:x:20:ann' 'wheel:x:10:root,ann' 'Adm:x:11:ann,anna' 'x-ann:x:12:xann' 'ann:x:1000:ann' 'anna:x:1001:' \
    'a1:x:31:anna,ann' 'a10:x:32:ann' 'a2:x:33:ann,root' 'a_:x:34:ann' 'a-:x:35:ann' 'aub:x:36:aXb' >/etc/group
printf '%s\n' 'root:*:19000:0:99999:7:::' 'ann:!$6$salt$hash:19000:0:99999:7::20000:' 'anna:!!:19000::::::' 'a.b:!:1::::::' >/etc/shadow
chmod 644 /etc/passwd /etc/group
chmod 600 /etc/shadow
rm -f /etc/gshadow /etc/subuid /etc/subgid
ok ann 'tools shadow;missing -;user present;local yes;uid 1000;gid 1000;group ann;groups Adm a- a1 a10 a2 a_ wheel zoo;home missing;locked yes;password same;expires 20000;shell /bin/sh;dir /home/ann;comment Ann & co. \x "q" ü;x0' "$(user ann '$6$salt$hash')"
ok ann2 'tools shadow;missing nix 4711;user present;local yes;uid 1000;gid 1000;group ann;groups Adm a- a1 a10 a2 a_ wheel zoo;home missing;locked yes;password other;...' "$(user ann '$6$salt$hasH' wheel nix 20 4711 ann)"
ok anna 'tools shadow;missing -;user present;local yes;uid 1001;gid 1001;group anna;groups Adm a1;home missing;locked yes;password same;expires never;shell /bin/bash;dir /home/anna;comment ;x0' "$(user anna '!')"
ok a.b 'tools shadow;missing -;user present;local yes;uid 1002;gid 77777;group -;groups -;home present;locked yes;password -;expires never;shell /bin/sh;dir /home;comment ;x0' "$(user a.b '')"
ok aXb 'tools shadow;missing -;user absent;x0' "$(user aXb '')"
ok old 'tools shadow;missing -;user present;local yes;uid 1003;gid 1000;group ann;groups -;home present;locked no;password same;expires never;shell /bin/sh;dir /home;comment ;x0' "$(user old '$1$abc')"
ok nobodyhere 'tools shadow;missing g1 g2;user absent;x0' "$(user nobodyhere '' g1 ann g2)"
ok badname 'this is not a name that a user can have;x3' "$(user 'a:b' '')"
ok badname2 'this is not a name that a user can have;x3' "$(user "a${n}b" '')"
ok digits 'this is not a name that a user can have;x3' "$(user 1000 '')"
ok group 'tools shadow;group present;local yes;gid 11;members ann,anna;x0' "$(group Adm)"
ok group2 'tools shadow;group present;local yes;gid 1001;members -;x0' "$(group anna)"
ok group3 'tools shadow;group absent;x0' "$(group ad)"
# changes with the shadow tools of this machine, on the made-up files
h='$6$abcdefgh$0123456789./ABCDEFabcdef'
ok add x0 "$(do_ account_user_add bob uid=1500 groups=wheel,zoo home=/home/d/bob shell=/bin/sh 'comment=Bob; "x" $(id) `y`' "password=$h")"
ok bob 'tools shadow;missing -;user present;local yes;uid 1500;gid 1500;group bob;groups wheel zoo;home present;locked no;password same;expires never;shell /bin/sh;dir /home/d/bob;comment Bob; "x" $(id) `y`;x0' "$(user bob "$h")"
core_store=/run/store core_run=RUN
mkdir /run/store
ok keep "account.RUN.1x0" "$(account_keep bob)x$?"
ok keep2 "account.RUN.2x0" "$(account_keep bob)x$?"
ok kept "-rw------- bob:$h" "$(ls -l /run/store/account.RUN.1 | cut -c1-10) $(cat /run/store/account.RUN.1)"
ok keepnone "-x0" "$(account_keep nobodyhere)x$?"
ok restorenone "x0" "$(account_restore bob -)x$?"
ok restorelost "the backup of the password of bob is no longer in /run/store x1" "$(do_ account_restore bob account.RUN.9)"
ok restoreother "the backup of the password is not that of ann x1" "$(do_ account_restore ann account.RUN.1)"
ok nogroup 'there is no group nix on this host: add it with a group task before this one x1' "$(do_ account_user_change bob groups=wheel,nix)"
ok colon 'a comment, home or shell cannot contain a colon or a line break x1' "$(do_ account_user_change bob comment=a:b)"
ok nohash 'the password is not a crypt hash (such as mkpasswd or openssl passwd -6 print) x1' "$(do_ account_user_change bob 'password=two words')"
ok change x0 "$(do_ account_user_change bob groups=a1 append=yes shell=/bin/bash lock=yes expires=20001 group=zoo)"
ok bob2 'tools shadow;missing -;user present;local yes;uid 1500;gid 20;group zoo;groups a1 wheel;home present;locked yes;password same;expires 20001;shell /bin/bash;dir /home/d/bob;comment Bob; "x" $(id) `y`;x0' "$(user bob "$h")"
ok none x0 "$(do_ account_user_change bob groups= comment= expires=never lock=no)"
ok bob3 'tools shadow;missing -;user present;local yes;uid 1500;gid 20;group zoo;groups -;home present;locked no;password same;expires never;shell /bin/bash;dir /home/d/bob;comment ;x0' "$(user bob "$h")"
ok star x0 "$(do_ account_user_change bob 'password=*')"
ok restore x0 "$(account_restore bob account.RUN.1)x$?"
ok bob4 'tools shadow;missing -;user present;local yes;uid 1500;gid 20;group zoo;groups -;home present;locked no;password same;...' "$(user bob "$h")"
ok move x0 "$(do_ account_user_change bob home=/home/e/f/bob move_home=yes)"
[ -d /home/e/f/bob ] && [ ! -d /home/d/bob ] || ok moved yes no
ok move2 'the home of bob cannot be moved: /home/e exists already x1' "$(do_ account_user_change bob home=/home/e move_home=yes)"
ok unlock 'the password of anna cannot be unlocked, because it has none: set a password x1' "$(do_ account_user_change anna lock=no)"
ok home x0 "$(do_ account_user_change ann create_home=yes)"
ok home2 'drwxr-xr-x...' "$(ls -ld /home/ann)"
ok remove x0 "$(do_ account_user_remove bob remove=yes)"
[ ! -e /home/e/f/bob ] || ok removed no yes
ok root "the home of old is /home, which is not removed together with a user: set remove = false x1" "$(do_ account_user_remove old remove=yes)"
ok readd x0 "$(do_ account_user_add bob uid=1500 group=bobs gid=1700 create_home=no)"
ok bob5 'tools shadow;missing -;user present;local yes;uid 1500;gid 1700;group bobs;groups -;home missing;...' "$(user bob '')"
ok crewgroup x0 "$(do_ account_group_add solo gid=1900)"
ok crewuser x0 "$(do_ account_user_add solo uid=1900 create_home=no)"
ok solo 'tools shadow;missing -;user present;local yes;uid 1900;gid 1900;group solo;...' "$(user solo '')"
ok solokeep x0 "$(do_ account_user_remove solo group=solo)"
ok solo2 'tools shadow;group present;local yes;gid 1900;members -;x0' "$(group solo)"
ok solo3 'tools shadow;missing -;user absent;x0' "$(user solo '' solo)"
ok crewuser2 x0 "$(do_ account_user_add solo uid=1900 home=/home/solo)"
ok solokeep2 x0 "$(do_ account_user_remove solo remove=pristine group=solo)"
ok solo4 'tools shadow;group present;local yes;gid 1900;members -;x0' "$(group solo)"
[ ! -e /home/solo ] || ok pristine no yes
ok gadd x0 "$(do_ account_group_add crew gid=1800 members=ann,bob)"
ok gadd2 'tools shadow;group present;local yes;gid 1800;members ann,bob;x0' "$(group crew)"
ok gmod x0 "$(do_ account_group_change crew gid=1801)"
ok gdel x0 "$(do_ account_group_remove crew)"
ok gdel2 'the group bobs could not be removed;groupdel: cannot remove the primary group of user...' "$(do_ account_group_remove bobs)"
ok key 'the account library does not know nix x1' "$(do_ account_user_change bob nix=1)"
# No hash in any argument list. mksh is the shell where it would be: its printf is a program.
if command -v strace >/dev/null; then
    printf '%s\n' ". $here/core_test.sh" ". $here/account_library.sh" "account_user ann '$h'" "account_user_change ann 'password=$h'" \
        "core_store=/run/store core_run=S" "account_keep ann" "account_restore ann account.S.1" >/run/s
    for s in dash mksh; do
        strace -f -e trace=execve -s 9999 -o /run/trace $s /run/s >/dev/null
        grep -q chpasswd /run/trace || ok strace some none
        ok argv '' "$(grep -F "$h" /run/trace)"
    done
    do_ account_user_change ann 'password=!$6$salt$hash' >/dev/null
fi
# BusyBox's tools, played by scripts that write down what they were asked.
for c in adduser addgroup deluser delgroup passwd; do
    printf '#!/bin/sh\necho "%s $*" >>/run/log\n' $c >/run/bin/$c
    chmod 755 /run/bin/$c
done
printf '#!/bin/sh\nread -r l; echo "chpasswd $* <$l" >>/run/log\n' >/run/bin/chpasswd
chmod 755 /run/bin/chpasswd
for c in grep cat mkdir chmod chown cp find rm ls diff; do ln -s "/usr/bin/$c" /run/bin/$c; done
ln -s /usr/bin/printf /run/bin/printf
PATH=/run/bin
ok bb 'tools busybox;missing -;user present;local yes;uid 1000;gid 1000;group ann;...' "$(user ann '')"
ok bbadd x0 "$(do_ account_user_add eve uid=1600 group=zoo groups=wheel,a1 home=/home/q/eve comment=E shell=/bin/sh "password=$h" lock=yes)"
ok bbchange x0 "$(do_ account_user_change ann groups=wheel,root append=yes)"
ok bbchange2 x0 "$(do_ account_user_change ann groups=wheel,root,a1,a10,a2,a_)"
ok bbshell 'this host cannot change the uid, group, home, shell or comment of a user (it has...' "$(do_ account_user_change ann shell=/bin/x)"
ok bbgroup x0 "$(do_ account_group_add crew gid=1800 members=ann)"
ok bbremove x0 "$(do_ account_user_remove ann remove=yes)"
[ ! -e /home/ann ] || ok bbremoved no yes
ok log 'adduser -D -u 1600 -G zoo -h /home/q/eve -s /bin/sh -g E eve
addgroup eve wheel
addgroup eve a1
chpasswd -e <eve:'"$h"'
passwd -l eve
addgroup ann root
delgroup ann Adm
delgroup ann a-
delgroup ann zoo
addgroup ann root
addgroup -g 1800 crew
addgroup ann crew
deluser ann' "$(cat /run/log)"
rm /run/bin/adduser
hash -r 2>/dev/null
ok no 'tools none;missing -;user absent;x0' "$(user eve '')"
ok no2 'this host has no tools to manage accounts (useradd or adduser) x1' "$(do_ account_user_add eve)"
exit $fails
