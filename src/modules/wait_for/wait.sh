# shellcheck shell=sh
# shellcheck disable=SC2154 # n comes from core
# shellcheck disable=SC2016 # backquotes and $ in single quotes are meant literally
# Waiting for a port or a path: the module `wait_for`.
#
# A port of the host itself is looked up in the kernel's socket tables: no
# connection (which would show in the service's log), no tool, no process. A
# port of another host needs a connection, and with it one of the tools that
# wait_connect knows.
#
# Needs from core: n (newline), core_die.

# wait_look port HOST PORT STATE CONNECT_TIMEOUT REGEX
# wait_look path PATH STATE REGEX
#
# One quick question. HOST: empty, localhost, any 127.…, 0.0.0.0, :: and ::1
# mean the host itself; then a port counts as open when anything listens on it,
# whatever the local address. Every other HOST is connected to, for at most
# CONNECT_TIMEOUT seconds (a whole number of at least 1).
# STATE of a port: started or present, stopped or absent, drained (no connection
# to this port of the host itself is open). STATE of a path: started or present,
# stopped or absent; a link that leads nowhere is absent.
# REGEX: extended regular expression, may be empty. For a port (started, present)
# one of the first lines that the other side sends must match; for a path
# (started, present) a line of the file must match, and (stopped, absent) none.
#
# Answer: one line, `yes`, or `no REASON`. The reason may differ between two looks
# (`connection refused`, then `no answer within 5 s`): compare the first word.
# Status 0 = answered. 3 = cannot be judged here (one sentence).
wait_look() {
	case $1 in
	path) wait_path "$2" "$3" "$4" ;;
	*)
		case $2/$4 in
		*/drained)
			wait_is_self "$2" || {
				core_die 'only ports of the host itself can be waited for until they are drained'
				return 3
			}
			wait_drained "$3"
			;;
		*) wait_port "$2" "$3" "$4" "$5" "$6" ;;
		esac
		;;
	esac
}

# wait_until TIMEOUT DELAY SLEEP ARGUMENTS-OF-wait_look…
#
# Apply function. Sleeps DELAY seconds, then looks every SLEEP seconds (all whole
# numbers) until the answer is yes. TIMEOUT counts from the beginning, the delay
# included; the last look is made when it is over. The clock of the host may
# jump, so the time comes from /proc/uptime.
# Status 0 = it is so. 1 = not in time, 3 = cannot be judged; both with a
# sentence on stderr.
wait_until() {
	_timeout=$1 _delay=$2 _sleep=$3
	shift 3
	[ "$_sleep" -ge 1 ] || _sleep=1
	_spent=0
	wait_clock
	_begin=$_now
	[ "$_delay" -eq 0 ] || {
		sleep "$_delay"
		_spent=$_delay
	}
	while :; do
		_answer=$(wait_look "$@")
		_r=$?
		if [ "$_r" -ne 0 ]; then
			core_say "$_answer"
			return "$_r"
		fi
		[ "$_answer" != yes ] || return 0
		wait_clock
		_left=$((_timeout - (_now - _begin)))
		[ "$_left" -gt 0 ] || break
		# Never beyond the end, so that the last look is made in time.
		if [ "$_left" -lt "$_sleep" ]; then _s=$_left; else _s=$_sleep; fi
		sleep "$_s"
		_spent=$((_spent + _s))
	done
	core_say "$(wait_sentence "$_timeout" "${_answer#no }" "$@")"
	return 1
}

# wait_clock: seconds that no change of the time of day can touch, into _now.
# Without /proc, the sum of our own sleeps.
wait_clock() {
	_now=
	[ -r /proc/uptime ] && { IFS='. ' read -r _now _w </proc/uptime; } 2>/dev/null
	case $_now in '' | *[!0-9]*) _now=$_spent ;; esac
}

# wait_sentence TIMEOUT REASON ARGUMENTS-OF-wait_look…: why it was in vain.
wait_sentence() {
	case $3/$6/$5 in
	path/*/started | path/*/present) _what="$4 was not there" ;;
	path/*) _what="$4 was still there" ;;
	port/started/* | port/present/*) _what="port $5 on ${4:-this host} was not open" ;;
	port/drained/*) _what="port $5 on ${4:-this host} was not drained" ;;
	*) _what="port $5 on ${4:-this host} was still open" ;;
	esac
	if [ -n "${8-}" ] || { [ "$3" = path ] && [ -n "${6-}" ]; }; then
		case $3/$6/$5 in
		port/started/* | port/present/*) _what="port $5 on ${4:-this host} did not send the text that was waited for" ;;
		path/*/started | path/*/present) _what="$4 did not contain the text that was waited for" ;;
		path/*) _what="$4 still contained the text" ;;
		esac
	fi
	printf '%s after %s s: %s\n' "$_what" "$1" "$2"
}

# --- paths -------------------------------------------------------------------

wait_path() {
	if [ -e "$1" ]; then
		_there=yes
	else
		# Not there, or only not for us to see?
		_p=$1
		while :; do
			_p=${_p%/*}
			[ -n "$_p" ] || break
			[ -d "$_p" ] || continue
			[ -x "$_p" ] || {
				core_die "whether $1 exists cannot be seen: this user may not search the folder $_p (become would help)"
				return 3
			}
			break
		done
		_there=no
	fi
	if [ "$_there" = yes ] && [ -n "$3" ]; then
		if ! [ -f "$1" ]; then
			core_die "$1 is not a regular file, so no text can be searched in it"
			return 3
		elif ! [ -r "$1" ]; then
			core_die "$1 cannot be read by this user (become would help)"
			return 3
		fi
		grep -Eq -e "$3" -- "$1" 2>/dev/null
		case $? in
		0) _match=yes ;;
		1) _match=no ;;
		*)
			grep -E -e "$3" /dev/null >/dev/null 2>&1
			if [ $? -gt 1 ]; then
				core_die "the search_regex $3 is not an extended regular expression that grep on this host takes"
			else
				core_die "$1 cannot be read"
			fi
			return 3
			;;
		esac
	else
		_match=$_there
	fi
	case $2/$_there/$_match in
	started/*/yes | present/*/yes | stopped/*/no | absent/*/no) printf 'yes\n' ;;
	started/no/* | present/no/*) printf 'no it does not exist\n' ;;
	started/* | present/*) printf 'no nothing in it matches\n' ;;
	*) if [ -n "$3" ]; then printf 'no something in it matches\n'; else printf 'no it exists\n'; fi ;;
	esac
}

# --- ports of the host itself --------------------------------------------------

# wait_is_self HOST: does it mean the host itself?
wait_is_self() {
	case $1 in
	'' | localhost | localhost.localdomain | ip6-localhost | 127.* | 0.0.0.0 | :: | ::1) return 0 ;;
	esac
	return 1
}

# wait_listens PORT: does anything listen on it? Status 0 yes, 1 no, 2 unknown.
# Listeners come first in the kernel's table (state 0A, before Linux 4.4 with half
# open connections between, 03), so a busy server's thousands of connections
# are never read.
wait_listens() {
	_hex=$(printf '%04X' "$1")
	_known=2
	for _f in /proc/net/tcp /proc/net/tcp6; do
		[ -r "$_f" ] || continue
		_known=1
		while read -r _slot _local _remote _state _w; do
			case $_state/$_local in
			0A/*:"$_hex") return 0 ;;
			0A/* | 03/* | st/* | remote_address/* | [!0-9]*) ;;
			*) break ;;
			esac
		done <"$_f"
	done
	return "$_known"
}

# wait_drained PORT. The states are those of connections that begin, stand and
# end: ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT1 FIN_WAIT2 TIME_WAIT. The table may be
# long, hence grep.
wait_drained() {
	[ -r /proc/net/tcp ] || {
		core_die 'this host has no /proc/net/tcp, so its connections cannot be seen'
		return 3
	}
	_hex=$(printf '%04X' "$1")
	set -- /proc/net/tcp
	[ ! -r /proc/net/tcp6 ] || set -- /proc/net/tcp /proc/net/tcp6
	_o=$(cat "$@" 2>/dev/null | grep -c "^ *[0-9]*: [0-9A-F]*:$_hex [0-9A-F]*:[0-9A-F]* 0[1-6] ")
	case $_o in
	0) printf 'yes\n' ;;
	1) printf 'no 1 connection is open\n' ;;
	*) printf 'no %s connections are open\n' "$_o" ;;
	esac
}

# --- ports -------------------------------------------------------------------------

wait_port() {
	_self=
	if wait_is_self "$1"; then
		_self=1
		wait_listens "$2"
		case $?/$3 in
		0/stopped | 0/absent)
			printf 'no something listens on it\n'
			return 0
			;;
		0/*)
			if [ -z "$5" ]; then
				printf 'yes\n'
				return 0
			fi
			;;
		1/stopped | 1/absent)
			printf 'yes\n'
			return 0
			;;
		1/*)
			printf 'no connection refused (nothing listens on it)\n'
			return 0
			;;
		esac
		# No table, or words to be heard: a connection is needed.
	fi
	_host=$1
	case $_host in '' | 0.0.0.0) _host=127.0.0.1 ;; ::) _host=::1 ;; esac
	if [ -n "$5" ]; then
		# grep's status 1 means that the expression is sound.
		grep -E -e "$5" /dev/null >/dev/null 2>&1
		[ $? -eq 1 ] || {
			core_die "the search_regex $5 is not an extended regular expression that grep on this host takes"
			return 3
		}
		_why=$(wait_hear "$_host" "$2" "$4" "$5")
	else
		_why=$(wait_connect "$_host" "$2" "$4")
	fi
	_r=$?
	case $_r/$3 in
	0/stopped | 0/absent) printf 'no it accepts connections\n' ;;
	0/*) printf 'yes\n' ;;
	1/stopped | 1/absent)
		case $_why in
		'its name'*) printf 'no %s\n' "$_why" ;;
		*) printf 'yes\n' ;;
		esac
		;;
	1/*) printf 'no %s\n' "$_why" ;;
	*)
		core_die "$_why"
		return 3
		;;
	esac
}

# wait_limit SECONDS COMMAND…: runs it, and kills it when it takes longer.
# Status: the command's; more than 128 when it was killed. Not every host has
# `timeout`, and its arguments changed in BusyBox.
wait_limit() {
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

# What the tools are told to run. The names of host and port are arguments and
# never part of the text.
_wait_bash='exec 3<>"/dev/tcp/$1/$2"'
_wait_bash_hear='exec 3<>"/dev/tcp/$1/$2" || exit 1; echo open; while IFS= read -r l <&3 || [ "$l" ]; do printf "%s\n" "$l"; done'
_wait_python='import socket,sys
try: s=socket.create_connection((sys.argv[1],int(sys.argv[2])),float(sys.argv[3]))
except Exception as e: sys.stderr.write(str(e)+"\n"); sys.exit(1)
if len(sys.argv)>4:
  o=getattr(sys.stdout,"buffer",sys.stdout); o.write(b"open\n"); o.flush()
  while 1:
    b=s.recv(4096)
    if not b: break
    o.write(b); o.flush()'

# wait_connect HOST PORT SECONDS: one connection, closed at once.
# Status 0 = open. 1 = not; the reason on stdout. 3 = no tool; a sentence.
# The tools in order: those that tell the reasons apart come first.
wait_connect() {
	if command -v bash >/dev/null; then
		_e=$(wait_limit "$3" bash -c "$_wait_bash" bash "$1" "$2" 2>&1)
		_r=$?
		# A bash built without network redirections looks for the file.
		case $_e in
		*'No such file'* | *'not supported'* | *'restricted'*) ;;
		*)
			wait_reason "$_r" "$3" "$_e"
			return $?
			;;
		esac
	fi
	if command -v nc >/dev/null; then
		# -z of the GNU, OpenBSD, traditional and newer Nmap versions.
		_e=$(wait_limit "$(($3 + 1))" nc -z -w "$3" "$1" "$2" 2>&1)
		_r=$?
		case $_e in
		*sage:* | *'nvalid option'* | *'nrecognized option'* | *'nknown option'*)
			# BusyBox: without -z, but it can run a program when connected.
			_e=$(wait_limit "$(($3 + 1))" nc -w "$3" "$1" "$2" -e true 2>&1)
			_r=$?
			;;
		esac
		case $_e in
		*sage:* | *'nvalid option'* | *'nrecognized option'* | *'nknown option'*) ;;
		*)
			# The older ones fail in silence, also after a timeout.
			wait_reason "$_r" "$3" "$_e"
			return $?
			;;
		esac
	fi
	if command -v curl >/dev/null; then
		_h=$1
		case $_h in *:*) _h="[$_h]" ;; esac
		_e=$(wait_limit "$(($3 + 2))" curl -q -sS -g --noproxy '*' -o /dev/null --connect-timeout "$3" -m "$(($3 + 1))" -w 'connected after %{time_connect}' "telnet://$_h:$2" 2>&1)
		_r=$?
		case $_e in
		*'not supported'* | *'disabled'*) ;;
		*)
			# A time other than 0 means that it did connect, however it ended.
			_a=${_e##*connected after }
			case $_a in *[1-9]*) _r=0 ;; *) [ "$_r" -ne 0 ] || _r=1 ;; esac
			wait_reason "$_r" "$3" "${_e%connected after*}"
			return $?
			;;
		esac
	fi
	for _w in 'busybox telnet' telnet; do
		command -v "${_w%% *}" >/dev/null || continue
		# shellcheck disable=SC2086 # two words
		_e=$(wait_limit "$3" $_w "$1" "$2" 2>&1)
		_r=$?
		case $_e in
		*'applet not found'* | *sage:*) continue ;;
		*'Connected to'*) _r=0 ;;
		*) [ "$_r" -ne 0 ] || case $_e in *'onnection closed'*) ;; *) _r=1 ;; esac ;;
		esac
		wait_reason "$_r" "$3" "$_e"
		return $?
	done
	for _w in python3 /usr/libexec/platform-python python python2; do
		command -v "$_w" >/dev/null || continue
		_e=$(wait_limit "$(($3 + 2))" "$_w" -c "$_wait_python" "$1" "$2" "$3" 2>&1)
		wait_reason $? "$3" "$_e"
		return $?
	done
	printf '%s' "this host has nothing to try port $2 on $1 with: it needs one of bash, nc, curl, telnet, python3"
	return 3
}

# wait_reason STATUS SECONDS TEXT: what a tool said, in our words.
wait_reason() {
	[ "$1" -ne 0 ] || return 0
	case $3 in
	*efused*) printf 'connection refused' ;;
	*'imed out'* | *timeout* | *imeout*) printf 'no answer within %s s' "$2" ;;
	*'o route'*) printf 'no route to it' ;;
	*'nreachable'*) printf 'its network cannot be reached' ;;
	*'not known'* | *'esolution'* | *'resolve'* | *'bad address'* | *'ost lookup'* | *'nknown host'* | *'No address'* | *'Unknown server'*) printf 'its name cannot be resolved' ;;
	*)
		if [ "$1" -gt 128 ]; then
			printf 'no answer within %s s' "$2"
		else
			# Without a word: refused, or a timeout of a silent nc.
			printf 'connection failed'
		fi
		;;
	esac
	return 1
}

# wait_hear HOST PORT SECONDS REGEX: connects and reads until a line matches, the
# other side closes, or the time is over. Same statuses as wait_connect.
wait_hear() {
	_open=
	if command -v bash >/dev/null; then
		set -- "$@" bash -c "$_wait_bash_hear" bash "$1" "$2"
	elif command -v python3 >/dev/null; then
		set -- "$@" python3 -c "$_wait_python" "$1" "$2" "$3" hear
	elif command -v nc >/dev/null; then
		# Its complaints must not be taken for the other side's words.
		_open=1
		set -- "$@" sh -c 'exec nc -w "$1" "$2" "$3" 2>/dev/null' sh "$3" "$1" "$2"
	else
		printf '%s' "this host has nothing to listen to port $2 on $1 with: it needs one of bash, nc, python3"
		return 3
	fi
	_t=$3 _re=$4
	shift 4
	# The tool's process id comes as the first line, then what it hears. grep ends
	# at the first match; the tool, which knows nothing of that, is ended too.
	_o=$(wait_limit "$_t" sh -c 'echo $$; exec "$@"' sh "$@" 2>&1 | {
		IFS= read -r _p
		while IFS= read -r _line || [ -n "$_line" ]; do
			# bash and python say first whether they got through.
			if [ -z "$_open" ]; then
				_open=1
				[ "$_line" != open ] || continue
				wait_reason 1 "$_t" "$_line"
				break
			fi
			if printf '%s\n' "$_line" | grep -Eq -e "$_re"; then
				printf 'match'
				break
			fi
		done
		kill -9 "$_p" 2>/dev/null
	})
	case $_o in
	match) return 0 ;;
	'') printf 'nothing that it sent matches' ;;
	*) printf '%s' "$_o" ;;
	esac
	return 1
}
