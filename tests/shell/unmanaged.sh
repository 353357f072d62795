#!/bin/sh
# shellcheck disable=SC1091,SC2016,SC2034,SC2154
# Tests of unmanaged.sh with stand-ins for the package managers, in a folder of their own.
. "$LIB/core_test.sh"
. "$LIB/unmanaged_library.sh"
home=$(mktemp -d "$LIB/case.XXXXXX") || exit 1
bin=$home/bin etc=$home/etc
mkdir "$bin" "$etc"
# Only these tools, so that a manager of this machine is not found; in busybox its own.
for tool in awk cat chmod cmp find grep head ln md5sum mkdir readlink rm sed sort stat timeout touch tr xargs id; do
  case $(readlink /proc/$$/exe) in
    *busybox*) busybox "$tool" --help >/dev/null 2>&1; [ $? != 127 ] && ln -s "$(command -v busybox)" "$bin/$tool" ;;
    *) ln -s "$(command -v "$tool")" "$bin/$tool" ;;
  esac
done
PATH=$bin
# As in the open shell.
set -f
fails=0
same() { # NAME WANTED GOT
  [ "$2" = "$3" ] && return
  fails=1
  printf 'not as expected: %s\n  wanted: %s\n  got:    %s\n' "$1" "$2" "$3"
}
fake() { printf '#!/bin/sh\n%s\n' "$2" >"$bin/$1"; chmod 755 "$bin/$1"; }
# Without the times.
list() { unmanaged_list "$etc" "${1:-100}" 20 | sed "s|$home||g;s/ [0-9]\{9,\} / T /;s/ $(id -un) / me /;s/ $(id -un) / me /"; }

mkdir -p "$etc/ssh" "$etc/systemd/system/a.target.wants" "$etc/rc2.d" "$etc/sub dir" "$home/state/runs/R1" "$home/state/runs/R2"
for file in passwd- mtab ld.so.cache ssh/ssh_host_rsa_key ssh/sshd_config mine 'sub dir/a  b' changed.conf gone.lock; do echo x >"$etc/$file"; done
ln -s /nowhere "$etc/rc2.d/S01x"
ln -s /nowhere "$etc/systemd/system/a.target.wants/x.service"
ln -s /dev/null "$etc/systemd/system/masked.service"
printf 'run R1 me\npath 3 /etc/ours\npath 4 /etc/o\\\\x\n' >"$home/state/runs/R1/ledger"
printf 'path 1 /etc/ours\n' >"$home/state/runs/R2/ledger"

same 'nobody can tell' 'manager none' "$(list)"

st=$home/state
same 'a ledger' 'manager none
ours /etc/o\\x
ours /etc/ours' "$(list)"
unset st
fake rpm 'echo rpm: unrecognized option >&2; exit 1'
same 'an applet' 'manager none' "$(list)"
rm "$bin/rpm"

fake apt-get 'exit 0'
fake dpkg "echo '??5?????? c $etc/changed.conf'; echo 'missing   c $etc/removed.conf'; echo '??5??????   $home/lib x'; echo 'missing     $home/doc/gone (No such file or directory)'; exit 1"
fake dpkg-query "case \$2 in
  */\\*) printf '%s\n' 'ssh: $etc/ssh' 'ssh, other:amd64: $etc/ssh/sshd_config' 'conf:amd64: $etc/changed.conf' 'conf: $etc/removed.conf' 'diversion by x from: $etc/div' ;;
  *) shift 2; for p; do echo \"lib: \$p\"; done ;; esac"
echo y >"$home/lib x"
same 'dpkg' 'manager dpkg
differs 5 c conf T me /etc/changed.conf
missing missing c conf - - /etc/removed.conf
differs 5 - lib T me /lib x
missing missing - lib - - /doc/gone
extra - - - T me /etc/mine
extra - - - T me /etc/sub dir/a  b
link - - - T me /etc/systemd/system/masked.service
to /dev/null' "$(list)"
same 'a bound' 'manager dpkg
differs 5 c conf T me /etc/changed.conf
missing missing c conf - - /etc/removed.conf
more 5' "$(list 2)"
fake dpkg "echo '??5??????   $home/lib x'; exec sleep 60"
ln -s "$(PATH=/usr/bin:/bin command -v sleep)" "$bin/sleep"
got=$(unmanaged_list "$etc" 100 1)
case $got in *'took longer than 1 s'*) ;; *) same 'an end' 'took longer than 1 s' "$got" ;; esac
rm "$bin/dpkg" "$bin/dpkg-query" "$bin/apt-get"

fake rpm "case \$1 in
  --version) echo 'RPM version 4.18.0' ;;
  -Va) echo 'S.5....T.  c $etc/changed.conf'; echo '.M.......    $home/lib x'; echo '.......T.    $etc/mine'; echo 'missing   g $etc/ghost'; echo 'missing     $home/doc/gone' ;;
  *) printf '%s\n' 'conf $etc/changed.conf' 'lib $home/lib x' 'mine $etc/mine' 'ssh $etc/ssh/sshd_config' 'lib $home/doc/gone' ;; esac"
same 'rpm' 'manager rpm
differs S5T c conf T me /etc/changed.conf
differs M - lib T me /lib x
differs T - mine T me /etc/mine
missing missing - lib - - /doc/gone
extra - - - T me /etc/sub dir/a  b
link - - - T me /etc/systemd/system/masked.service
to /dev/null' "$(list)"
rm "$bin/rpm"

fake pacman "case \$1 in
  -Qkk) echo 'backup file: conf: $etc/changed.conf (Modification time mismatch)'; echo 'backup file: conf: $etc/changed.conf (SHA256 checksum mismatch)'; echo 'warning: lib: $home/lib x (Size mismatch)' >&2
    echo 'warning: lib: $home/lib x (Permissions mismatch)' >&2; echo 'warning: lib: $home/doc/gone (No such file or directory)' >&2; echo 'lib: 3 total files, 1 altered file'; echo 'bare: no mtree file' ;;
  -Ql) printf '%s\n' 'conf $etc/changed.conf' 'lib $home/lib x' 'ssh $etc/ssh/' 'ssh $etc/ssh/sshd_config' 'lib $home/doc/gone' ;; esac"
same 'pacman' 'manager pacman
unseen the content of the files of the package bare, which came without a list of hashes
differs 5 c conf T me /etc/changed.conf
differs SM - lib T me /lib x
missing missing - lib - - /doc/gone
extra - - - T me /etc/mine
extra - - - T me /etc/sub dir/a  b
link - - - T me /etc/systemd/system/masked.service
to /dev/null' "$(list)"
exit $fails
