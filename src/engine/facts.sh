# shellcheck shell=sh
# shellcheck disable=SC2154 # n and t come from core
# shellcheck disable=SC2016 # backquotes and ${…} in messages and formats are meant literally
# shellcheck disable=SC1003 # a lone backslash is meant
# What a host is: the questions behind `facts.…` in playbooks.
#
# Only the collectors that a playbook names are asked, all in one call. Nothing
# is written, and nothing may hang: whatever talks to a daemon, a resolver, a
# package database or a foreign file system has a time limit of its own.
#
# Everything read here is data of the host, perhaps hostile: no file is ever
# sourced and no value is ever evaluated. Values come out literally.
#
# Facts are not compared, so answers may differ from one look to the next.
#
# Needs from core: n, t (newline, tab), core_esc, core_die.

# facts_look COLLECTOR…
#
# Collectors: os hostname fqdn kernel arch cpus memory_mb init package_manager
# virtual python boot_id uptime_seconds user network mounts env packages services
#
# Answer: lines of words separated by one space. The first word is the key and
# decides how many words follow; the last of them runs to the end of the line
# and is encoded by core_esc (it may be empty: then the line ends in a space).
#
#   os.family F, os.name N, os.version V, os.codename C, os.pretty P
#   hostname H, fqdn H, kernel K, arch A, init I, package_manager P, virtual V,
#   python PATH, boot_id ID, user NAME              one text each
#   cpus N, memory_mb N, uptime_seconds N           one whole number each
#   user_uid N, user_gid N, user_home P, user_shell P    (with `user`)
#   network.interfaces NAME up true|false           exactly one per interface
#   network.interfaces NAME mtu N                   at most one
#   network.interfaces NAME mac M                   at most one
#   network.interfaces NAME ipv4|ipv6 ADDRESS/PREFIX     any number, in order
#   network.default_ipv4|default_ipv6 interface|gateway|address WORD
#                                                   each at most once
#   mounts I point|device|fstype|options TEXT       I counts from 0, four lines
#   mounts I statfs BLOCKSIZE BLOCKS FREE AVAILABLE    in blocks; left out for
#                                                   network and pseudo file
#                                                   systems and silent ones
#   env NAME VALUE
#   packages NAME VERSION                           a name may come repeatedly
#   services.state UNIT ACTIVE SUB                  `active running`, …;
#                                                   `unknown -` where only a
#                                                   run of its script would tell
#   services.enabled UNIT WORD                      systemd's words; elsewhere
#                                                   enabled or disabled
#   ? COLLECTOR SENTENCE                            this one has no answer, for
#                                                   the reason given; whatever
#                                                   was printed of it before is
#                                                   incomplete
#
# Status 0 = answered. 3 = a collector is unknown (one sentence).
facts_look() {
	for _c; do
		case $_c in
		os | hostname | fqdn | kernel | arch | cpus | memory_mb | init | package_manager | virtual | python | boot_id | uptime_seconds | user | network | mounts | env | packages | services) ;;
		*)
			core_die "there is no fact collector named \`$_c\`"
			return 3
			;;
		esac
	done
	for _c; do
		case $_c in
		os) facts_os '' ;;
		mounts) facts_mounts /proc/mounts ;;
		*) "facts_$_c" ;;
		esac
	done
	return 0
}

# facts_put KEY VALUE: prints one line. A subshell is only paid for a value
# that has something to encode.
facts_put() {
	case $2 in
	*\\* | *"$n"*) printf '%s %s\n' "$1" "$(core_esc "$2")" ;;
	*) printf '%s %s\n' "$1" "$2" ;;
	esac
}

# facts_first FILE: its first line into _v; status 1 when there is none.
facts_first() {
	_v=
	[ -f "$1" ] && [ -r "$1" ] && { IFS= read -r _v <"$1"; } 2>/dev/null
	[ -n "$_v" ]
}

# facts_lower WORD: the word in lower case into _v (ASCII, no process needed).
facts_lower() {
	_v=$1
	case $_v in *[ABCDEFGHIJKLMNOPQRSTUVWXYZ]*) ;; *) return 0 ;; esac
	_up=ABCDEFGHIJKLMNOPQRSTUVWXYZ _lo=abcdefghijklmnopqrstuvwxyz
	while [ -n "$_up" ]; do
		_u=${_up%"${_up#?}"} _l=${_lo%"${_lo#?}"}
		_up=${_up#?} _lo=${_lo#?}
		_a=
		while :; do
			case $_v in *"$_u"*) ;; *) break ;; esac
			_a=$_a${_v%%"$_u"*}$_l
			_v=${_v#*"$_u"}
		done
		_v=$_a$_v
	done
}

# facts_limit SECONDS COMMAND…: runs it, and kills it when it takes longer.
# Status: the command's; more than 128 when it was killed. `timeout` is not on
# every host, and its arguments changed in BusyBox.
facts_limit() {
	_t=$1
	shift
	"$@" &
	_p=$!
	# The guard sleeps in short pieces and has no trap: a signal that comes while a
	# shell forks can get lost, only KILL cannot. What may stay of it is the sleep
	# of its present second.
	(
		while [ "$_t" -gt 0 ]; do
			sleep 1
			# Not a process that only has the same number by now.
			kill -0 "$_p" || exit 0
			_t=$((_t - 1))
		done
		kill -9 "$_p"
	) >/dev/null 2>&1 &
	_g=$!
	wait "$_p" 2>/dev/null
	_r=$?
	{
		kill -9 "$_g"
		wait "$_g"
	} 2>/dev/null
	return "$_r"
}

# --- the system ------------------------------------------------------------

# facts_unquote TEXT: the value of an os-release line without its shell quotes
# into _v. Nothing is expanded: `$(…)` stays what it is.
facts_unquote() {
	_v=$1
	while :; do
		case $_v in
		*[" $t"] | *"$_cr") _v=${_v%?} ;;
		*) break ;;
		esac
	done
	case $_v in
	\'?*\' | \'\')
		_v=${_v#?}
		_v=${_v%?}
		;;
	\"?*\" | \"\")
		_v=${_v#?}
		_v=${_v%?}
		case $_v in *\\*) ;; *) return 0 ;; esac
		_a=
		while :; do
			case $_v in *\\*) ;; *) break ;; esac
			_a=$_a${_v%%\\*}
			_v=${_v#*\\}
			case $_v in
			[\\\"\$\`]*)
				_a=$_a${_v%"${_v#?}"}
				_v=${_v#?}
				;;
			*) _a=$_a\\ ;;
			esac
		done
		_v=$_a$_v
		;;
	esac
}

# facts_os ROOT: ROOT is empty, or in tests a folder that stands for `/`.
facts_os() {
	_id='' _like='' _version='' _long='' _code='' _ubuntu='' _pretty='' _name=''
	_cr=$(printf '\r')
	for _f in "$1/etc/os-release" "$1/usr/lib/os-release"; do
		if ! [ -f "$_f" ] || ! [ -r "$_f" ]; then continue; fi
		_i=0
		while IFS= read -r _line || [ -n "$_line" ]; do
			# The real ones have about twenty lines.
			_i=$((_i + 1))
			[ "$_i" -le 200 ] || break
			case $_line in
			ID=*) facts_unquote "${_line#*=}" && _id=$_v ;;
			ID_LIKE=*) facts_unquote "${_line#*=}" && _like=$_v ;;
			NAME=*) facts_unquote "${_line#*=}" && _name=$_v ;;
			VERSION_ID=*) facts_unquote "${_line#*=}" && _version=$_v ;;
			VERSION=*) facts_unquote "${_line#*=}" && _long=$_v ;;
			VERSION_CODENAME=*) facts_unquote "${_line#*=}" && _code=$_v ;;
			UBUNTU_CODENAME=*) facts_unquote "${_line#*=}" && _ubuntu=$_v ;;
			PRETTY_NAME=*) facts_unquote "${_line#*=}" && _pretty=$_v ;;
			esac
		done <"$_f"
		[ -z "$_id$_name" ] || break
	done
	[ -n "$_id$_name" ] || facts_os_old "$1"
	[ -n "$_id" ] || _id=${_name%% *}
	facts_lower "$_id"
	_id=$_v

	# Before VERSION_CODENAME: `7 (wheezy)`, `14.04.5 LTS, Trusty Tahr`.
	[ -n "$_code" ] || _code=$_ubuntu
	if [ -z "$_code" ]; then
		case $_long in
		*\(*\)*)
			_code=${_long#*\(}
			_code=${_code%%\)*}
			;;
		*', '*)
			_code=${_long#*, }
			;;
		esac
		facts_lower "${_code%% *}"
		_code=$_v
	fi
	[ -n "$_pretty" ] || _pretty=$_name${_long:+ $_long}

	facts_family "$_id"
	for _w in $_like; do
		[ -z "$_family" ] || break
		facts_lower "$_w"
		facts_family "$_v"
	done
	if [ -z "$_family" ]; then
		_family=$_id
		[ "$_family" ] || if [ -x "$1/bin/busybox" ]; then _family=busybox; else _family=unknown; fi
	fi
	facts_put os.family "$_family"
	facts_put os.name "$_id"
	facts_put os.version "$_version"
	facts_put os.codename "$_code"
	facts_put os.pretty "$_pretty"
}

# facts_family ID: the family of a known system into _family, else empty.
facts_family() {
	case $1 in
	debian | ubuntu | raspbian | linuxmint | kali | devuan | pop | neon | elementary | proxmox | deepin) _family=debian ;;
	redhat | rhel | centos | fedora | rocky | almalinux | ol | amzn | scientific | cloudlinux | virtuozzo | openeuler | anolis | xenserver) _family=redhat ;;
	suse | opensuse | opensuse-* | sles | sled | sles_* | sle-* | sle_* | sl-micro) _family=suse ;;
	arch | archarm | manjaro | endeavouros | artix) _family=arch ;;
	alpine | postmarketos) _family=alpine ;;
	gentoo | funtoo) _family=gentoo ;;
	openwrt | lede) _family=openwrt ;;
	*) _family= ;;
	esac
}

# facts_os_old ROOT: systems from before os-release. Sets the variables of
# facts_os.
facts_os_old() {
	if facts_first "$1/etc/alpine-release"; then
		_id=alpine _version=$_v _name='Alpine Linux' _long=$_v
	elif facts_first "$1/etc/redhat-release"; then
		# `CentOS release 6.10 (Final)`, `Red Hat Enterprise Linux Server release 5.11 (Tikanga)`
		_pretty=$_v
		case $_v in
		'Red Hat'*) _id=rhel ;;
		Oracle*) _id=ol ;;
		*) _id=${_v%% *} ;;
		esac
		_name=${_v%% release*}
		_long=${_v#* release }
		_version=${_long%% *}
	elif facts_first "$1/etc/SuSE-release"; then
		# `SUSE Linux Enterprise Server 11 (x86_64)`, then VERSION = 11
		_id=suse _pretty=$_v _name=${_v%% [0-9]*}
		while read -r _k _e _w; do
			[ "$_k $_e" != 'VERSION =' ] || _version=$_w
			[ "$_k $_e" != 'PATCHLEVEL =' ] || _version=$_version.$_w
		done <"$1/etc/SuSE-release"
	elif facts_first "$1/etc/debian_version"; then
		# A number, or `wheezy/sid` before a release.
		_id=debian _name='Debian GNU/Linux' _long=$_v
		case $_v in
		[0-9]*) _version=$_v ;;
		*) _code=${_v%%/*} ;;
		esac
	elif [ -f "$1/etc/arch-release" ]; then
		_id=arch _name='Arch Linux'
	fi
}

facts_hostname() {
	facts_nodename
	facts_put hostname "${_v%%.*}"
}

# The full node name into _v.
facts_nodename() {
	facts_first /proc/sys/kernel/hostname || _v=$(uname -n)
}

# A node name with a dot is taken at its word; else the resolver is asked, which
# may wait for a dead name server.
facts_fqdn() {
	facts_nodename
	_h=$_v
	case $_h in
	*.*) ;;
	*)
		_v=
		if command -v hostname >/dev/null; then
			_v=$(facts_limit 5 hostname -f 2>/dev/null)
		elif command -v getent >/dev/null; then
			_v=$(facts_limit 5 getent hosts "$_h" 2>/dev/null)
			_v=${_v%%"$n"*}
			# shellcheck disable=SC2086 # address, canonical name, aliases
			set -- $_v
			_v=${2-}
		fi
		case $_v in *.*) _h=$_v ;; esac
		;;
	esac
	facts_put fqdn "$_h"
}

facts_kernel() {
	facts_first /proc/sys/kernel/osrelease || _v=$(uname -r)
	facts_put kernel "$_v"
}

facts_arch() {
	facts_first /proc/sys/kernel/arch || _v=$(uname -m)
	facts_put arch "$_v"
}

# /proc/stat and not /proc/cpuinfo: the same number, in a tenth of the bytes,
# and right inside of containers with lxcfs.
facts_cpus() {
	_i=0
	if [ -r /proc/stat ]; then
		while read -r _k _w; do
			case $_k in
			cpu) ;;
			cpu[0-9]*) _i=$((_i + 1)) ;;
			*) break ;;
			esac
		done </proc/stat
	fi
	[ "$_i" -gt 0 ] || _i=$(nproc 2>/dev/null)
	if [ -n "$_i" ]; then
		facts_put cpus "$_i"
	else
		printf '%s\n' '? cpus this host does not tell how many processors it has (no /proc/stat, no nproc)'
	fi
}

facts_memory_mb() {
	_m=
	if [ -r /proc/meminfo ]; then
		while read -r _k _m _w; do
			[ "$_k" != MemTotal: ] || break
			_m=
		done </proc/meminfo
	fi
	case $_m in
	'' | *[!0-9]*)
		printf '%s\n' '? memory_mb this host does not tell how much memory it has (no /proc/meminfo)'
		return 0
		;;
	esac
	# In two parts, because some shells calculate with 32 bits and 2 TiB are more.
	# 1000000 = 976 * 1024 + 576
	_hi=0 _lo=$_m
	case $_m in
	?*??????)
		_hi=${_m%??????}
		_lo=${_m#"$_hi"}
		;;
	esac
	while :; do
		case $_lo in 0?*) _lo=${_lo#0} ;; *) break ;; esac
	done
	facts_put memory_mb "$((_hi * 976 + (_hi * 576 + _lo) / 1024))"
}

facts_init() {
	facts_init_name
	facts_put init "$_v"
}

# The init system into _v: systemd, openrc, sysv, busybox or other.
facts_init_name() {
	if [ -d /run/systemd/system ]; then
		_v=systemd
		return 0
	fi
	if [ -d /run/openrc ] || [ -d /lib/rc/init.d ]; then
		_v=openrc
		return 0
	fi
	facts_first /proc/1/comm || { read -r _k _v </proc/1/status; } 2>/dev/null
	case $_v in
	busybox) ;;
	init | linuxrc)
		# /proc/1/exe shows itself to root only.
		case $(ls -l /proc/1/exe /sbin/init /linuxrc 2>/dev/null) in
		*busybox*) _v=busybox ;;
		*) if [ -d /etc/init.d ]; then _v=sysv; else _v=other; fi ;;
		esac
		;;
	*) _v=other ;;
	esac
}

facts_package_manager() {
	_v=none
	for _w in apt-get dnf yum zypper pacman apk; do
		if command -v "$_w" >/dev/null; then
			_v=${_w%-get}
			break
		fi
	done
	facts_put package_manager "$_v"
}

# In the words of systemd-detect-virt: none, kvm, qemu, vmware, oracle, xen,
# microsoft, amazon, docker, podman, lxc, systemd-nspawn, … `vm-other` is some
# machine that only its processor flags give away.
facts_virtual() {
	if facts_first /run/systemd/container; then
		:
	elif [ -f /.dockerenv ]; then
		_v=docker
	elif [ -f /run/.containerenv ]; then
		_v=podman
	elif [ -d /proc/vz ] && ! [ -d /proc/bc ]; then
		_v=openvz
	elif command -v systemd-detect-virt >/dev/null; then
		_v=$(facts_limit 5 systemd-detect-virt 2>/dev/null)
	else
		facts_first /sys/class/dmi/id/product_name
		_w=$_v
		facts_first /sys/class/dmi/id/sys_vendor
		case $_v/$_w in
		*/KVM* | QEMU/* | 'Red Hat'/* | */RHEV*) _v=kvm ;;
		VMware*) _v=vmware ;;
		innotek* | */VirtualBox*) _v=oracle ;;
		Xen/*) _v=xen ;;
		'Microsoft Corporation/Virtual Machine'*) _v=microsoft ;;
		'Amazon EC2'/*.metal*) _v=none ;;
		'Amazon EC2'/*) _v=amazon ;;
		Google/*) _v=google ;;
		Parallels*) _v=parallels ;;
		*)
			_v=none
			if facts_first /sys/hypervisor/type; then
				: # xen
			elif [ -r /proc/cpuinfo ]; then
				while read -r _k _w; do
					[ "$_k" = flags ] || continue
					case " $_w " in *' hypervisor '*) _v=vm-other ;; esac
					break
				done </proc/cpuinfo
			fi
			;;
		esac
	fi
	facts_put virtual "${_v:-none}"
}

facts_python() {
	_v=
	for _w in python3 /usr/libexec/platform-python python python2; do
		_v=$(command -v "$_w") && break
	done
	facts_put python "$_v"
}

facts_boot_id() {
	if facts_first /proc/sys/kernel/random/boot_id; then
		facts_put boot_id "$_v"
	else
		printf '%s\n' '? boot_id this host has no /proc/sys/kernel/random/boot_id'
	fi
}

facts_uptime_seconds() {
	if facts_first /proc/uptime; then
		facts_put uptime_seconds "${_v%%[. ]*}"
	else
		printf '%s\n' '? uptime_seconds this host has no /proc/uptime'
	fi
}

# Who this shell runs as. One `id` for everything: `uid=0(root) gid=0(root) …`;
# the name in brackets is missing when nobody knows it.
facts_user() {
	_o=$(facts_limit 10 id 2>/dev/null)
	case $_o in
	uid=*) ;;
	*)
		printf '%s\n' '? user the tool `id` gave no answer on this host'
		return 0
		;;
	esac
	_u=${_o#uid=}
	_u=${_u%% *}
	_w=${_u%%\(*}
	case $_u in
	*\(*)
		_u=${_u#*\(}
		_u=${_u%\)}
		;;
	esac
	_o=${_o#*gid=}
	facts_put user "$_u"
	facts_put user_uid "$_w"
	facts_put user_gid "${_o%%[!0-9]*}"
	# name:x:uid:gid:gecos:home:shell
	_v=
	if [ -r /etc/passwd ]; then
		while IFS= read -r _line || [ -n "$_line" ]; do
			case $_line in
			"$_u":*)
				_v=$_line
				break
				;;
			esac
		done </etc/passwd
	fi
	if [ -z "$_v" ] && command -v getent >/dev/null; then
		_v=$(facts_limit 10 getent passwd "$_u" 2>/dev/null)
	fi
	case $_v in
	*:*:*:*:*:*:*)
		facts_put user_shell "${_v##*:}"
		_v=${_v%:*}
		facts_put user_home "${_v##*:}"
		;;
	*)
		facts_put user_shell ''
		facts_put user_home "${HOME-}"
		;;
	esac
}

# --- the network -----------------------------------------------------------

facts_network() {
	if command -v ip >/dev/null && _o=$(facts_limit 10 ip addr show 2>/dev/null); then
		facts_route default_ipv4 "$(facts_limit 10 ip -4 route show default 2>/dev/null)"
		_d4=$_dev
		facts_route default_ipv6 "$(facts_limit 10 ip -6 route show default 2>/dev/null)"
		_d6=$_dev
		printf '%s\n' "$_o" | facts_ip "$_d4" "$_d6"
		return 0
	fi
	facts_route_proc
	if command -v ifconfig >/dev/null && _o=$(facts_limit 10 ifconfig -a 2>/dev/null); then
		printf '%s\n' "$_o" | facts_ifconfig "$_d4"
		return 0
	fi
	printf '%s\n' '? network this host has neither `ip` nor `ifconfig`'
}

# facts_route KEY TEXT: the first usable default route of `ip route`, which is
# the one with the lowest metric. Prints interface, gateway and the source
# address if the route has one. _dev is the interface if its address is still
# to be found. A route over several hops comes on several lines; the first hop
# counts.
facts_route() {
	_k=network.$1 _dev='' _via='' _src=''
	_v=$2
	while :; do
		case $_v in
		unreachable* | blackhole* | prohibit* | throw*)
			case $_v in *"$n"*) _v=${_v#*"$n"} ;; *) _v= ;; esac
			;;
		*) break ;;
		esac
	done
	case $_v in default*) ;; *) return 0 ;; esac
	_v=${_v#default}
	_v=${_v%%"$n"default*}
	# shellcheck disable=SC2086 # words of a route
	set -- $_v
	while [ $# -gt 1 ]; do
		case $1 in
		dev) [ -n "$_dev" ] || _dev=$2 ;;
		via)
			# `via inet6 ADDRESS` for IPv4 behind an IPv6 router
			case $2 in inet | inet6) shift ;; esac
			[ -n "$_via" ] || _via=${2-}
			;;
		src) [ -n "$_src" ] || _src=$2 ;;
		esac
		shift
	done
	[ -z "$_dev" ] || facts_put "$_k" "interface $_dev"
	[ -z "$_via" ] || facts_put "$_k" "gateway $_via"
	if [ -n "$_src" ]; then
		facts_put "$_k" "address $_src"
		_dev=
	fi
}

# facts_ip DEV4 DEV6 <TEXT: the text of `ip addr show`, of iproute2 or BusyBox.
# The first global address of DEV4 and DEV6 is that of the default route.
facts_ip() {
	_d4=$1 _d6=$2 _if=
	while read -r _k _w _x; do
		case $_k in
		[0-9]*:)
			# 2: eth0@if7: <BROADCAST,UP> mtu 1500 …
			_if=${_w%:}
			_if=${_if%%@*}
			case ${_x%%>*} in
			*[\<,]UP | *[\<,]UP,*) _up=true ;;
			*) _up=false ;;
			esac
			printf 'network.interfaces %s up %s\n' "$_if" "$_up"
			case $_x in
			*' mtu '*)
				_x=${_x#* mtu }
				printf 'network.interfaces %s mtu %s\n' "$_if" "${_x%% *}"
				;;
			esac
			;;
		link/ether | link/infiniband | link/ieee802*)
			printf 'network.interfaces %s mac %s\n' "$_if" "$_w"
			;;
		inet | inet6)
			# inet 10.0.0.1 peer 10.0.0.2/32: the prefix is the peer's
			_a=$_w
			case $_w/$_x in
			*/*/*) ;;
			*/'peer '*)
				_a=${_x#peer }
				_a=${_a%% *}
				_a=$_w/${_a#*/}
				;;
			esac
			case $_a in
			*/*) ;;
			*) if [ "$_k" = inet ]; then _a=$_a/32; else _a=$_a/128; fi ;;
			esac
			case $_k in
			inet) _k=ipv4 ;;
			*) _k=ipv6 ;;
			esac
			printf 'network.interfaces %s %s %s\n' "$_if" "$_k" "$_a"
			case "$_k/$_if  $_x " in
			"ipv4/$_d4 "*' scope global '*) _d4= ;;
			"ipv6/$_d6 "*' scope global '*) _d6= ;;
			*) continue ;;
			esac
			printf 'network.default_%s address %s\n' "$_k" "${_w%/*}"
			;;
		esac
	done
}

# facts_route_proc: the default routes where there is no `ip`. Prints as
# facts_route does; _d4 is the interface of the IPv4 one.
facts_route_proc() {
	_d4='' _best=''
	if [ -r /proc/net/route ]; then
		# Iface Destination Gateway Flags RefCnt Use Metric Mask …, addresses
		# in the byte order of the machine (little endian nearly everywhere)
		while read -r _if _dest _gw _fl _w _x _metric _mask _w; do
			case $_dest$_mask/$_metric in
			0000000000000000/*[!0-9]*) continue ;;
			0000000000000000/?*) ;;
			*) continue ;;
			esac
			[ -z "$_best" ] || [ "$_metric" -lt "$_best" ] || continue
			_best=$_metric _d4=$_if _via=$_gw
		done </proc/net/route
	fi
	if [ -n "$_d4" ]; then
		facts_put network.default_ipv4 "interface $_d4"
		case $_via in
		00000000) ;;
		*)
			_a=${_via#??????} _b=${_via#????} _c=${_via#??}
			facts_put network.default_ipv4 "gateway $((0x$_a)).$((0x${_b%??})).$((0x${_c%????})).$((0x${_via%??????}))"
			;;
		esac
	fi
}

# facts_ifconfig DEV4 <TEXT: the text of `ifconfig -a`, old and new style.
facts_ifconfig() {
	_d4=$1 _if=
	while IFS= read -r _line; do
		case $_line in
		[!\ "$t"]*)
			# `eth0      Link encap:Ethernet  HWaddr 02:00:…` or `eth0: flags=4163<UP,…>  mtu 1500`
			_if=${_line%%[ "$t"]*}
			_if=${_if%:}
			;;
		esac
		[ -n "$_if" ] || continue
		# shellcheck disable=SC2086 # words
		set -- $_line
		case $_line in
		*' HWaddr '* | *' ether '*)
			while [ $# -gt 1 ]; do
				case $1 in
				HWaddr | ether)
					facts_lower "$2"
					printf 'network.interfaces %s mac %s\n' "$_if" "$_v"
					break
					;;
				esac
				shift
			done
			;;
		*' inet6 addr: '*) printf 'network.interfaces %s ipv6 %s\n' "$_if" "${3-}" ;;
		*' inet6 '*' prefixlen '*) printf 'network.interfaces %s ipv6 %s/%s\n' "$_if" "${2%%%*}" "${4-}" ;;
		*' inet '*)
			_a='' _m=255.255.255.255
			while [ $# -gt 0 ]; do
				case $1 in
				addr:*) _a=${1#addr:} ;;
				Mask:*) _m=${1#Mask:} ;;
				inet) case ${2-} in [0-9]*) _a=$2 ;; esac ;;
				netmask) _m=${2-} ;;
				esac
				shift
			done
			facts_prefix "$_m"
			printf 'network.interfaces %s ipv4 %s/%s\n' "$_if" "$_a" "$_v"
			if [ "$_if" = "$_d4" ]; then
				_d4=
				printf 'network.default_ipv4 address %s\n' "$_a"
			fi
			;;
		esac
		case $_line in
		*' MTU:'* | *' mtu '*)
			case " ${_line%%MTU:*}" in
			*'<UP'* | *' UP '*) _up=true ;;
			*) _up=false ;;
			esac
			_x=${_line#*MTU:}
			_x=${_x#* mtu }
			printf 'network.interfaces %s up %s\n' "$_if" "$_up"
			printf 'network.interfaces %s mtu %s\n' "$_if" "${_x%% *}"
			;;
		esac
	done
}

# facts_prefix MASK: 255.255.240.0 becomes 20, into _v.
facts_prefix() {
	_v=0
	_w=$1.
	while [ -n "$_w" ]; do
		case ${_w%%.*} in
		255) _v=$((_v + 8)) ;;
		254) _v=$((_v + 7)) ;;
		252) _v=$((_v + 6)) ;;
		248) _v=$((_v + 5)) ;;
		240) _v=$((_v + 4)) ;;
		224) _v=$((_v + 3)) ;;
		192) _v=$((_v + 2)) ;;
		128) _v=$((_v + 1)) ;;
		esac
		_w=${_w#*.}
	done
}

# --- file systems ----------------------------------------------------------

# facts_mounts TABLE: TABLE is /proc/mounts, or in tests another file.
#
# Sizes are asked of local file systems only: a question to a dead NFS server
# never returns, and one to an automounter mounts. They are asked all at once;
# if that fails or takes long, one by one, and after three silent ones no more.
facts_mounts() {
	if ! [ -r "$1" ]; then
		printf '%s\n' '? mounts this host has no /proc/mounts'
		return 0
	fi
	_i=0 _ids='' _table=$1
	shift
	while read -r _dev _point _fs _opt _w; do
		facts_octal "$_dev"
		printf 'mounts %s device %s\n' "$_i" "$_v"
		facts_octal "$_point"
		printf 'mounts %s point %s\n' "$_i" "$_v"
		printf 'mounts %s fstype %s\n' "$_i" "$_fs"
		facts_octal "$_opt"
		printf 'mounts %s options %s\n' "$_i" "$_v"
		case $_fs in
		ext[234] | xfs | btrfs | tmpfs | overlay | overlayfs | aufs | zfs | vfat | exfat | msdos | ntfs | ntfs3 | f2fs | jfs | reiserfs | reiser4 | squashfs | iso9660 | udf | erofs | ubifs | jffs2 | yaffs* | bcachefs | nilfs2 | hfs | hfsplus | ufs | minix | devtmpfs | ramfs | rootfs)
			case $_point in
			*\\*) facts_raw "$_point" ;;
			*) _v=$_point ;;
			esac
			set -- "$@" "$_v"
			_ids="$_ids $_i"
			;;
		esac
		_i=$((_i + 1))
	done <"$_table"
	[ $# -gt 0 ] || return 0

	if command -v stat >/dev/null; then
		if _o=$(facts_limit 5 stat -f -c '%S %b %f %a' -- "$@" 2>/dev/null); then
			# shellcheck disable=SC2086 # numbers
			printf '%s\n' "$_o" | {
				set -- $_ids
				while IFS= read -r _line; do
					printf 'mounts %s statfs %s\n' "$1" "$_line"
					shift
				done
			}
			return 0
		fi
	elif ! command -v df >/dev/null; then
		return 0
	fi
	_slow=0
	for _point; do
		_ids=${_ids# }
		_i=${_ids%% *}
		_ids=${_ids#"$_i"}
		if command -v stat >/dev/null; then
			_o=$(facts_limit 2 stat -f -c '%S %b %f %a' -- "$_point" 2>/dev/null)
			_r=$?
		else
			_o=$(facts_limit 2 df -P -k "$_point" 2>/dev/null)
			_r=$?
			facts_df "${_o##*"$n"}"
			_o=$_v
		fi
		if [ "$_r" -gt 128 ]; then
			_slow=$((_slow + 1))
			[ "$_slow" -lt 3 ] || return 0
		elif [ "$_r" -eq 0 ] && [ -n "$_o" ]; then
			printf 'mounts %s statfs %s\n' "$_i" "$_o"
		fi
	done
}

# facts_df LINE: `/dev/sda1 total used free 12% /point` of df -P -k as
# BLOCKSIZE BLOCKS FREE AVAILABLE into _v. A device may hold spaces.
facts_df() {
	_v=
	# shellcheck disable=SC2086 # words
	set -- $1
	while [ $# -gt 4 ]; do
		case $5 in
		[0-9]*% | -)
			_v="1024 $2 $4 $4"
			return 0
			;;
		esac
		shift
	done
}

# The kernel writes space, tab, newline, backslash and # in mount tables as
# three octal digits. facts_octal TEXT: the text as core_esc would write it;
# facts_raw TEXT: the text itself. Both into _v.
facts_octal() {
	_v=$1
	case $_v in *\\*) facts_unoctal "$1" '\\' '\n' ;; esac
}
facts_raw() {
	facts_unoctal "$1" '\' "$n"
}
facts_unoctal() {
	_v='' _x=$1
	while :; do
		case $_x in *\\*) ;; *) break ;; esac
		_v=$_v${_x%%\\*}
		_x=${_x#*\\}
		case $_x in
		040*) _v="$_v " ;;
		011*) _v=$_v$t ;;
		012*) _v=$_v$3 ;;
		134*) _v=$_v$2 ;;
		043*) _v=$_v# ;;
		*)
			_v=$_v$2
			continue
			;;
		esac
		_x=${_x#???}
	done
	_v=$_v$_x
}

# --- environment, packages, services ---------------------------------------

# The environment that the login gave this shell, and not what became of it
# since: /proc keeps the first. Names that no shell variable could have are
# left out. A byte 1 in a value comes out as a newline.
facts_env() {
	if [ -r "/proc/$$/environ" ]; then
		tr '\n\0' '\1\n' <"/proc/$$/environ" | sed -n "$(printf 's/\\\\/&&/g;s/\001/\\\\n/g;s/^\\([A-Za-z_][A-Za-z0-9_]*\\)=/env \\1 /p')"
		return 0
	fi
	_k=
	env | {
		while IFS= read -r _line; do
			case ${_line%%=*} in
			"$_line" | '' | [0-9]* | *[!A-Za-z0-9_]*) [ -z "$_k" ] || _x=$_x$n$_line ;;
			*)
				[ -z "$_k" ] || facts_put "env $_k" "$_x"
				_k=${_line%%=*}
				_x=${_line#*=}
				;;
			esac
		done
		[ -z "$_k" ] || facts_put "env $_k" "$_x"
	}
}

# One question to the package database, whatever the number of packages.
facts_packages() {
	if command -v dpkg-query >/dev/null && [ -s /var/lib/dpkg/status ]; then
		_o=$(facts_limit 30 dpkg-query -W -f 'packages ${Package} ${Version}\t${Status}\n' 2>/dev/null)
		_r=$?
		_e="/${t}[a-z]* ok installed\$/!d;s/$t.*//"
	elif command -v rpm >/dev/null && { [ -d /var/lib/rpm ] || [ -d /usr/lib/sysimage/rpm ]; }; then
		# (BusyBox has an rpm, too, without a database.)
		_o=$(facts_limit 60 rpm -qa --qf 'packages %{NAME} %|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\n' 2>/dev/null)
		_r=$?
		# Signing keys are listed among the packages.
		_e='/^packages gpg-pubkey /d;/^packages /!d'
	elif command -v pacman >/dev/null; then
		_o=$(facts_limit 30 pacman -Q 2>/dev/null)
		_r=$?
		# 1 also says that nothing is installed.
		[ "$_r" -ne 1 ] || ! [ -r /var/lib/pacman/local ] || _r=0
		_e='s/^/packages /'
	elif command -v apk >/dev/null; then
		_o=
		for _f in /lib/apk/db/installed /usr/lib/apk/db/installed; do
			[ -r "$_f" ] || continue
			_o=$_f
			sed -n '/^P:/{s/^P:/packages /;h;};/^V:/{s/^V:/ /;H;g;s/\n//p;}' "$_f"
			break
		done
		[ -n "$_o" ] || printf '%s\n' '? packages the database of apk cannot be read'
		return 0
	elif command -v opkg >/dev/null; then
		_o=$(facts_limit 30 opkg list-installed 2>/dev/null)
		_r=$?
		_e='s/^\([^ ]*\) - \([^ ]*\).*/packages \1 \2/p;d'
	else
		printf '%s\n' '? packages this host has no package manager that mutate knows (apt, dnf, yum, zypper, pacman, apk)'
		return 0
	fi
	if [ "$_r" -gt 128 ]; then
		printf '%s\n' '? packages the package database did not answer in time'
	elif [ "$_r" -ne 0 ] && [ -z "$_o" ]; then
		printf '%s\n' '? packages the package database cannot be read'
	elif [ -n "$_o" ]; then
		printf '%s\n' "$_o" | sed "$_e"
	fi
}

facts_services() {
	facts_init_name
	case $_v in
	systemd) facts_systemd ;;
	openrc) (set +f && facts_openrc) ;;
	sysv | busybox) (set +f && facts_sysv) ;;
	*) printf '%s\n' '? services this host has no service manager that mutate knows (systemd, openrc, sysv, busybox)' ;;
	esac
}

facts_systemd() {
	if ! _o=$(facts_limit 15 systemctl list-units --type=service --all --full --plain --no-legend --no-pager 2>/dev/null); then
		printf '%s\n' '? services systemd does not answer (systemctl list-units failed or took too long)'
		return 0
	fi
	printf '%s\n' "$_o" | while read -r _u _load _active _sub _w; do
		case $_u in
		*.service) ;;
		*)
			# Old versions put a bullet before units in trouble.
			_u=$_load _load=$_active _active=$_sub _sub=${_w%% *}
			;;
		esac
		# Units that others only mention are listed too.
		[ "$_load" != not-found ] || continue
		case $_u in *.service) printf 'services.state %s %s %s\n' "$_u" "$_active" "$_sub" ;; esac
	done
	if ! _o=$(facts_limit 15 systemctl list-unit-files --type=service --full --no-legend --no-pager 2>/dev/null); then
		printf '%s\n' '? services systemd does not answer (systemctl list-unit-files failed or took too long)'
		return 0
	fi
	printf '%s\n' "$_o" | while read -r _u _w; do
		[ -z "$_u" ] || printf 'services.enabled %s %s\n' "$_u" "${_w%% *}"
	done
}

# OpenRC keeps everything in folders: no process is needed.
facts_openrc() {
	_dir=/run/openrc
	[ -d "$_dir" ] || _dir=/lib/rc/init.d
	for _f in /etc/init.d/*; do
		if ! [ -f "$_f" ] || ! [ -x "$_f" ]; then continue; fi
		_u=${_f##*/}
		case $_u in *.sh | *[!A-Za-z0-9_.@+-]*) continue ;; esac
		_a=stopped
		for _w in failed starting stopping inactive started; do
			[ ! -e "$_dir/$_w/$_u" ] || _a=$_w
		done
		case $_a in
		started) printf 'services.state %s active started\n' "$_u" ;;
		failed) printf 'services.state %s failed failed\n' "$_u" ;;
		*) printf 'services.state %s inactive %s\n' "$_u" "$_a" ;;
		esac
		_a=disabled
		for _w in /etc/runlevels/*/"$_u"; do
			[ ! -e "$_w" ] || _a=enabled
		done
		printf 'services.enabled %s %s\n' "$_u" "$_a"
	done
}

# Start scripts. What runs, only the scripts themselves know, and some of them
# do more than to tell it when asked.
facts_sysv() {
	for _f in /etc/init.d/*; do
		if ! [ -f "$_f" ] || ! [ -x "$_f" ]; then continue; fi
		_u=${_f##*/}
		case $_u in
		rc | rc[SK0-9.]* | README | skeleton | functions | halt | killall | single | *.sh | *[!A-Za-z0-9_.@+-]*) continue ;;
		S[0-9][0-9]?*)
			# BusyBox systems start what is called so.
			_u=${_u#S??}
			_a=enabled
			;;
		*)
			_a=disabled
			for _w in /etc/rc[2345].d/S??"$_u" /etc/rc.d/rc[2345].d/S??"$_u"; do
				[ ! -e "$_w" ] || _a=enabled
			done
			;;
		esac
		printf 'services.state %s unknown -\n' "$_u"
		printf 'services.enabled %s %s\n' "$_u" "$_a"
	done
}
