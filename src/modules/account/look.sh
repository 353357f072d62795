# shellcheck shell=sh
# shellcheck disable=SC2154,SC2034 # $n (a newline) comes from core; some variables are for change.sh
#
# account, first part: look at the users and groups of the host.
#
# It manages what is in /etc/passwd, /etc/group and /etc/shadow, and for that reads
# these files themselves: one grep tells more, and at once, than getent and id do, and
# it tells what usermod can change. Accounts from a directory service (LDAP, SSSD …)
# are found through getent and reported as "local no"; they cannot be changed here.
#
# For callers: account_user NAME HASH GROUP…, account_group NAME. Everything named account__… is internal.
#
# Secrets: a password hash is only ever in shell variables, in pipes, and in /etc/shadow.
# It is never an argument of a process, so never use printf with it: that is a program
# of its own in mksh. echo is built into every shell, and account__args makes sure
# that there is nothing in a hash that echo would change.

# account_user NAME HASH [GROUP…]
#
#   HASH    the password field wanted, or '' if that is not asked
#   GROUP…  every group that the task names, by name or number, primary or not
#
# Answer, status 0. The first three lines are always there:
#   tools    shadow|busybox|none      what this host has to change accounts
#   missing  -|GROUP…                 those of the GROUPs asked for that do not exist, in the order asked
#   user     present|absent
# and, if present, these ten:
#   local    yes|no                   no: comes from a directory service
#   uid      NUMBER
#   gid      NUMBER
#   group    NAME|-                   name of the primary group; - if it has none
#   groups   -|NAME…                  the other groups, sorted, without the primary one
#   home     present|missing          does the home folder exist
#   locked   yes|no|unknown           is the password locked with "!"
#   password same|other|unknown|-     compared with HASH, a lock left aside; - if not asked
#   expires  never|DAYS|unknown       days since 1970-01-01
#   shell    PATH
#   dir      PATH                     its home folder
#   comment  TEXT
# unknown: /etc/shadow cannot be read (needs root).
# Status 3: one sentence.
account_user() {
    _name=$1 _hash=$2
    shift 2
    account__name_ok "$_name" user || { core_die "$_why"; return 3; }
    account__tools
    account__re "$_name"
    # /etc/passwd and /etc/shadow: the user's line. /etc/group: lines that have the user
    # as a member, and (harmless, told apart below) the group of the same name.
    _o=$n$(grep -s -e "^$_re:" -e "[:,]$_re\$" -e "[:,]$_re," /etc/passwd /etc/shadow /etc/group /dev/null)$n
    _local=yes
    account__line /etc/passwd "$_name:"
    if [ ! "$_line" ] && command -v getent >/dev/null; then
        _line=$(getent passwd "$_name" 2>/dev/null)
        # getent takes a number for a uid
        case $_line in "$_name:"*) _local=no ;; *) _line='' ;; esac
    fi
    _user=absent _gid=''
    if [ "$_line" ]; then
        _user=present
        account__split "$_line"
        _pw=$_f2 _uid=$_f3 _gid=$_f4 _comment=$_f5 _dir=$_f6 _shell=$_f7
    fi
    account__known "$_gid" "$@"
    set -- "tools $_tools" "missing ${_missing:--}" "user $_user"
    if [ "$_user" = absent ]; then
        printf '%s\n' "$@"
        return 0
    fi
    account__member_of
    account__shadow
    _home=missing
    [ -d "$_dir" ] && _home=present
    printf '%s\n' "$@" "local $_local" "uid $_uid" "gid $_gid" "group ${_gname:--}" "groups ${_groups:--}" \
        "home $_home" "locked $_locked" "password $_password" "expires $_expires" \
        "shell $_shell" "dir $_dir" "comment $_comment"
}

# account_group NAME
#
# Answer, status 0:
#   tools    shadow|busybox|none
#   group    present|absent
# and, if present:
#   local    yes|no
#   gid      NUMBER
#   members  -|NAME,NAME…     as they stand in /etc/group (without those whose primary group it is)
account_group() {
    _name=$1
    account__name_ok "$_name" group || { core_die "$_why"; return 3; }
    account__tools
    account__re "$_name"
    _line=$(grep -s -e "^$_re:" /etc/group)
    _line=${_line%%"$n"*} _local=yes
    if [ ! "$_line" ] && command -v getent >/dev/null; then
        _line=$(getent group "$_name" 2>/dev/null)
        case $_line in "$_name:"*) _local=no ;; *) _line='' ;; esac
    fi
    if [ ! "$_line" ]; then
        printf '%s\n' "tools $_tools" "group absent"
        return 0
    fi
    account__split "$_line"
    printf '%s\n' "tools $_tools" "group present" "local $_local" "gid $_f3" "members ${_f4:--}"
}

# ---------------------------------------------------------------- looking

# account__name_ok NAME WHAT: may an account have this name? Else _why.
# Only what cannot be carried in the files or in an argument is refused; the tools have
# stricter rules of their own, which differ, and say so themselves.
account__name_ok() {
    case $1 in
        '' | -* | *[!A-Za-z0-9._@+\$-]* | [0-9]*)
            case $1 in
                # "0day" is a name, "0" is a number
                -* | *[!A-Za-z0-9._@+\$-]*) ;;
                *[!0-9]*) return 0 ;;
            esac
            _why="this is not a name that a $2 can have"
            return 1 ;;
    esac
}

# account__re NAME: sets _re to a basic regular expression for exactly this name
account__re() {
    _re='' _rest=$1
    while [ "$_rest" ]; do
        _tail=${_rest#?}
        _c=${_rest%"$_tail"}
        case $_c in [.\$]) _c="[$_c]" ;; esac
        _re=$_re$_c _rest=$_tail
    done
}

account__tools() {
    _tools=none
    if command -v useradd >/dev/null && command -v usermod >/dev/null; then
        _tools=shadow
    elif command -v adduser >/dev/null && command -v addgroup >/dev/null; then
        _tools=busybox
    fi
}

# account__line FILE START: sets _line to the first line of FILE in _o that begins with START
account__line() {
    _line=''
    case $_o in
        *"$n$1:$2"*)
            _line=$2${_o#*"$n$1:$2"}
            _line=${_line%%"$n"*} ;;
    esac
}

# account__split LINE: sets _f1 … _f8 to its fields. (read would swallow nothing here, but
# needs a pipe, and a pipe a subshell.)
account__split() {
    _s="${1}:::::::::"
    _f1=${_s%%:*} _s=${_s#*:}
    _f2=${_s%%:*} _s=${_s#*:}
    _f3=${_s%%:*} _s=${_s#*:}
    _f4=${_s%%:*} _s=${_s#*:}
    _f5=${_s%%:*} _s=${_s#*:}
    _f6=${_s%%:*} _s=${_s#*:}
    _f7=${_s%%:*} _s=${_s#*:}
    _f8=${_s%%:*}
}

# account__known GID GROUP…: sets _gname to the name of GID, _missing to the GROUPs that do not exist
account__known() {
    _g0=$1 _gname='' _missing=''
    shift
    for _g; do
        case $_g in '' | -* | *[!A-Za-z0-9._@+\$-]*) _missing="$_missing $_g" ;; esac
    done
    [ "$_g0$*" ] || return 0
    # "$@" becomes the list of expressions, the names stay in _asked
    _asked=$*
    set -- -e "^[^:]*:[^:]*:${_g0:-x}:"
    for _g in $_asked; do
        case " $_missing " in *" $_g "*) continue ;; esac
        case $_g in
            *[!0-9]*) account__re "$_g"; set -- "$@" -e "^$_re:" ;;
            *) set -- "$@" -e "^[^:]*:[^:]*:$_g:" ;;
        esac
    done
    _found=$n$(grep -s "$@" /etc/group)$n
    if [ "$_g0" ]; then
        case $_found in
            *:"$_g0":*)
                # the last line break before the first ":GID:", and from there to the ":"
                _rest=$_found
                while [ "$_rest" ]; do
                    _l=${_rest%%"$n"*}
                    _rest=${_rest#*"$n"}
                    account__split "$_l"
                    if [ "$_f3" = "$_g0" ]; then
                        _gname=$_f1
                        break
                    fi
                done ;;
        esac
        if [ ! "$_gname" ] && command -v getent >/dev/null; then
            _gname=$(getent group "$_g0" 2>/dev/null)
            _gname=${_gname%%:*}
        fi
    fi
    for _g in $_asked; do
        case " $_missing " in *" $_g "*) continue ;; esac
        case $_g/$_found in
            *[!0-9]*/*"$n$_g:"*) continue ;;
        esac
        case $_g in
            *[!0-9]*) ;;
            *) case $_found in *:"$_g":*) continue ;; esac ;;
        esac
        # perhaps a directory service has it
        command -v getent >/dev/null && getent group "$_g" >/dev/null 2>&1 && continue
        _missing="$_missing $_g"
    done
    _missing=${_missing# }
}

# account__member_of: sets _groups to the sorted names of the groups that have _name as a member
account__member_of() {
    _groups=''
    if [ "$_local" = no ]; then
        # Memberships may come from the directory as well, so only id knows them all.
        _list=$(id -Gn -- "$_name" 2>/dev/null)
    else
        _list='' _rest=${_o#"$n"}
        while [ "$_rest" ]; do
            _l=${_rest%%"$n"*}
            _rest=${_rest#*"$n"}
            case $_l in /etc/group:*) ;; *) continue ;; esac
            account__split "${_l#*:}"
            case ",$_f4," in *",$_name,"*) _list="$_list $_f1" ;; esac
        done
    fi
    # Sorted by inserting; there are few.
    for _g in $_list; do
        [ "$_g" = "$_gname" ] && continue
        _new='' _put=''
        for _h in $_groups; do
            if [ ! "$_put" ]; then
                if [ "$_h" = "$_g" ]; then
                    _put=1
                elif account__before "$_g" "$_h"; then
                    _new="$_new $_g" _put=1
                fi
            fi
            _new="$_new $_h"
        done
        [ "$_put" ] || _new="$_new $_g"
        _groups=${_new# }
    done
}

# account__before A B: does A sort before B, by bytes? (POSIX test has no <, so it is
# told by the first letter in which they differ, and its place in a list.)
account__before() {
    _x=$1 _y=$2
    while [ "$_x" ] && [ "$_y" ]; do
        _xt=${_x#?} _yt=${_y#?}
        _xc=${_x%"$_xt"} _yc=${_y%"$_yt"}
        if [ "$_xc" != "$_yc" ]; then
            _xc=${_account_order%%"$_xc"*} _yc=${_account_order%%"$_yc"*}
            [ ${#_xc} -lt ${#_yc} ]
            return
        fi
        _x=$_xt _y=$_yt
    done
    [ ! "$_x" ]
}

_account_order='!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_abcdefghijklmnopqrstuvwxyz{|}~'

# account__shadow: sets _locked, _password and _expires
account__shadow() {
    account__line /etc/shadow "$_name:"
    _locked=unknown _expires=unknown
    _password=${_hash:+unknown}
    _password=${_password:--}
    if [ "$_line" ]; then
        account__split "$_line"
        _pw=$_f2
        _expires=${_f8:-never}
    else
        case $_pw in
            # No line in /etc/shadow: it is not readable, or there is no such file at all and
            # the password is in /etc/passwd.
            x) [ -r /etc/shadow ] || return 0; _pw='*' _expires=never ;;
            *) [ "$_local" = yes ] || return 0; _expires=never ;;
        esac
    fi
    case $_pw in '!'*) _locked=yes ;; *) _locked=no ;; esac
    [ "$_hash" ] || return 0
    _password=other
    case $_hash in
        # Red Hat's tools write !! where others write ! for "never had a password"
        '!' | '!!') case $_pw in '!' | '!!') _password=same ;; esac ;;
        '!'*) [ "$_pw" = "$_hash" ] && _password=same ;;
        *) [ "${_pw#!}" = "$_hash" ] && _password=same ;;
    esac
    return 0
}
