#!/bin/sh
# What a host is like, in lines that can be compared. Runs in any sh, BusyBox too.
set -f
have() { command -v "$1" >/dev/null 2>&1; }
echo "== packages"
for p in lab-hello lab-svc lab-dep lab-lib lab-bulk-01 lab-bulk-02 lab-bulk-03; do
  if have dpkg-query && [ ! -e /etc/pacman.conf ] && ! have rpm; then dpkg-query -W -f '${Package} ${Version} ${db:Status-Abbrev}\n' $p 2>/dev/null || echo "$p absent"
  elif have rpm; then rpm -q $p 2>/dev/null || echo "$p absent"
  elif have pacman; then pacman -Q $p 2>/dev/null || echo "$p absent"; fi
done
echo "== services"
if have systemctl; then
  for u in lab-svc families-web families-worker families-tidy.timer cron ssh; do echo "$u $(systemctl is-active $u 2>&1) $(systemctl is-enabled $u 2>&1 | head -n 1)"; done
fi
# The main processes, without their numbers.
for p in /proc/[0-9]*; do :; done
set +f
for p in /proc/[0-9]*; do c=$(tr '\0' ' ' <$p/cmdline 2>/dev/null) && case $c in *httpd*|*lab-svc*|*families*) case $c in *state.sh*|"sh -c"*|"sh -s"*) ;; *) echo "process $c" ;; esac ;; esac; done | sort
set -f
echo "== accounts"
sort /etc/passwd /etc/group
[ -r /etc/shadow ] && cut -d: -f1,2 /etc/shadow | sort
echo "== name, zone, kernel"
hostname; cat /etc/timezone 2>/dev/null; readlink /etc/localtime
date +%Z
for s in ip_default_ttl ip_local_port_range tcp_fin_timeout tcp_keepalive_time tcp_syn_retries ip_forward; do echo "$s $(cat /proc/sys/net/ipv4/$s)"; done
echo "== mounts"
cut -d' ' -f1-4 /proc/mounts | grep -v ' /run/user/' | sort
echo "== alternatives"
have update-alternatives && update-alternatives --get-selections
echo "== locales"
have locale && locale -a
echo "== files"
roots=
for d in /etc /srv /root /home /usr/local /opt /var/spool/cron /usr/share/i18n /usr/lib/locale /lib/systemd/system /run/lab-svc.state; do [ ! -e $d ] || roots="$roots $d"; done
find $roots \( -name 'passwd-' -o -name 'group-' -o -name 'shadow*' -o -name 'gshadow*' -o -name 'subuid*' -o -name 'subgid*' -o -name passwd -o -name group -o -path '/home/*/.local' -o -path /root/.local -o -name .pwd.lock -o -name ld.so.cache -o -path /etc/pacman.d/gnupg -o -path /srv/lab-repo -o -path /srv/mutkeys -o -name r1314.asc -o -name 99mirror -o -name mirror.list -o -path /usr/local/bin/curl \) -prune -o -print |
  while IFS= read -r f; do if [ -d "$f" ] && [ ! -L "$f" ]; then stat -c '%n|%f|%u:%g' "$f"; else stat -c '%n|%f|%u:%g|%s|%Y|%h' "$f"; fi; done | sort
