# shellcheck shell=sh
# shellcheck disable=SC2154,SC2034 # $n (a newline) and $core_store come from core; other variables are those of look.sh
#
# account, second part: change the users and groups of the host. Needs look.sh.
#
# For callers:
#   account_user_add NAME KEY=VALUE…
#   account_user_change NAME KEY=VALUE…
#   account_user_remove NAME [KEY=VALUE…]
#   account_group_add NAME KEY=VALUE…
#   account_group_change NAME KEY=VALUE…
#   account_group_remove NAME
#   account_keep NAME, account_restore NAME RECORD   the password hash, to and from a backup
# What look.sh says about secrets holds here too.

# ---------------------------------------------------------------- changing users

# Keys of account_user_add and account_user_change (what is not given stays as it is):
#   uid=N  group=NAME|N  comment=TEXT  home=PATH  shell=PATH
#   groups=A,B,…    the other groups; in change the complete list ("groups=" for none),
#   append=yes      … or those to be added to the ones it has
#   system=yes      add: a system account
#   create_home=yes|no   add: default yes; change: make the folder now if it is missing
#   move_home=yes   change: with home=, take the contents along
#   gid=N           add: make the group given by group= with this number if it is missing
#                   (what an undo needs: userdel takes the user's own group along)
#   password=HASH   the password field itself
#   lock=yes|no     lock or unlock the password
#   expires=DAYS|never   days since 1970-01-01
# Status 0, or 1 with a sentence on stderr. Everything that can be known to fail is
# found out before the first change.
account__args() {
    _uid='' _group='' _comment='' _home='' _shell='' _groups='' _append='' _system='' _mkhome=''
    _move='' _hash='' _lock='' _expires='' _remove='' _gid='' _members=''
    _has_comment='' _has_groups='' _said=''
    for _a; do
        _v=${_a#*=}
        case $_a in
            uid=*) _uid=$_v ;;
            gid=*) _gid=$_v ;;
            group=*) _group=$_v ;;
            comment=*) _comment=$_v _has_comment=1 ;;
            home=*) _home=$_v ;;
            shell=*) _shell=$_v ;;
            groups=*) _groups=$_v _has_groups=1 ;;
            append=*) _append=${_v#no} ;;
            system=*) _system=${_v#no} ;;
            create_home=*) _mkhome=$_v ;;
            move_home=*) _move=${_v#no} ;;
            password=*) _hash=$_v ;;
            lock=*) _lock=$_v ;;
            expires=*) _expires=$_v ;;
            remove=*) _remove=${_v#no} ;;
            members=*) _members=$_v ;;
            *) account__fail "the account library does not know ${_a%%=*}"; return 1 ;;
        esac
    done
    # Files that the tools make on the way (skeleton, mail spool) get their usual modes.
    umask 022
    account__tools
    if [ "$_tools" = none ]; then
        account__fail "this host has no tools to manage accounts (useradd or adduser)"
        return 1
    fi
    if [ ! -w /etc/passwd ]; then
        account__fail "accounts cannot be changed: /etc/passwd is not writable here (become = true is needed, or the file system is read-only)"
        return 1
    fi
    case $_comment$_home$_shell in
        *[:"$n"]*) account__fail "a comment, home or shell cannot contain a colon or a line break"; return 1 ;;
    esac
    if [ "$_hash" ]; then
        if ! command -v chpasswd >/dev/null; then
            account__fail "this host has no chpasswd, which is needed to set a password"
            return 1
        fi
        case $_hash in
            *[!A-Za-z0-9./\$=,!*_+-]*)
                account__fail "the password is not a crypt hash (such as mkpasswd or openssl passwd -6 print)"
                return 1 ;;
        esac
    fi
    if [ "$_tools" = busybox ] && [ "$_expires" ]; then
        account__fail "this host cannot set an expiry date (it has BusyBox's adduser only; the package shadow has what is needed)"
        return 1
    fi
    # With gid= the primary group is made if it is not there.
    _list=$_groups
    [ "$_gid" ] || _list=$_group,$_groups
    # shellcheck disable=SC2046  # a list of names without blanks
    account__known '' $(account__words "$_list")
    if [ "$_missing" ]; then
        account__fail "there is no group $_missing on this host: add it with a group task before this one"
        return 1
    fi
}

# account__fail SENTENCE: the sentence, then what the tool said, to stderr
account__fail() {
    core_say "$1"
    [ "${_said-}" ] && printf '%s\n' "$_said" >&2
    _said=''
}

# account__try COMMAND…: runs a tool; keeps what it says when it fails, so that our own
# sentence can come first, and passes warnings of a success on.
account__try() {
    _said=$("$@" 2>&1 </dev/null)
    set -- $?
    if [ "$1" = 0 ] && [ "$_said" ]; then
        case $_said in
            # hardly anybody has one, and nobody misses it
            *'mail spool'*'not found') ;;
            *) printf '%s\n' "$_said" >&2 ;;
        esac
        _said=''
    fi
    return "$1"
}

# account__words A,B,C: prints them with blanks between
account__words() {
    _w=$1
    while :; do
        case $_w in *,*) _w="${_w%%,*} ${_w#*,}" ;; *) break ;; esac
    done
    printf '%s' "$_w"
}

account_user_add() {
    _name=$1
    shift
    account__args "$@" || return 1
    # A group of the user's own name may be there already (left behind, or made on purpose):
    # useradd wants to be told that it is meant.
    if [ ! "$_group" ]; then
        account__known '' "$_name"
        [ "$_missing" ] || _group=$_name
    fi
    if [ "$_group" ] && [ "$_gid" ]; then
        account__known '' "$_group"
        if [ "$_missing" ]; then
            account__new_group "$_group" || { account__fail "the group $_group could not be added"; return 1; }
        fi
    fi
    # useradd creates one level only, and fails after the account has been made.
    if [ "$_home" ] && [ "$_mkhome" != no ] && [ ! -d "${_home%/*}/" ]; then
        mkdir -p -- "${_home%/*}/" || { account__fail "the folder for the home $_home could not be made"; return 1; }
    fi
    if [ "$_tools" = shadow ]; then
        set --
        [ "$_uid" ] && set -- "$@" -u "$_uid"
        [ "$_group" ] && set -- "$@" -g "$_group"
        [ "$_groups" ] && set -- "$@" -G "$_groups"
        [ "$_home" ] && set -- "$@" -d "$_home"
        [ "$_shell" ] && set -- "$@" -s "$_shell"
        [ "$_has_comment" ] && set -- "$@" -c "$_comment"
        [ "$_system" ] && set -- "$@" -r
        if [ "$_mkhome" = no ]; then set -- "$@" -M; else set -- "$@" -m; fi
        account__try useradd "$@" -- "$_name" || { account__fail "the user $_name could not be added"; return 1; }
    else
        set --
        [ "$_uid" ] && set -- "$@" -u "$_uid"
        [ "$_group" ] && set -- "$@" -G "$_group"
        [ "$_home" ] && set -- "$@" -h "$_home"
        [ "$_shell" ] && set -- "$@" -s "$_shell"
        [ "$_has_comment" ] && set -- "$@" -g "$_comment"
        [ "$_system" ] && set -- "$@" -S
        [ "$_mkhome" = no ] && set -- "$@" -H
        account__try adduser -D "$@" "$_name" || { account__fail "the user $_name could not be added"; return 1; }
        for _g in $(account__words "$_groups"); do
            account__try addgroup "$_name" "$_g" || { account__fail "the user $_name could not be added to the group $_g"; return 1; }
        done
    fi
    account__credentials
}

account_user_change() {
    _name=$1
    shift
    account__args "$@" || return 1
    if [ "$_tools" = shadow ]; then
        set --
        [ "$_uid" ] && set -- "$@" -u "$_uid"
        [ "$_group" ] && set -- "$@" -g "$_group"
        if [ "$_has_groups" ]; then
            [ "$_append" ] && set -- "$@" -a
            set -- "$@" -G "$_groups"
        fi
        [ "$_home" ] && set -- "$@" -d "$_home"
        if [ "$_home" ] && [ "$_move" ]; then
            # usermod fails half way when there is nothing to move or no place to move it to.
            account__dir
            if [ -e "$_home" ]; then
                account__fail "the home of $_name cannot be moved: $_home exists already"
                return 1
            fi
            if [ -d "$_dir" ]; then
                set -- "$@" -m
                [ -d "${_home%/*}/" ] || mkdir -p -- "${_home%/*}/" ||
                    { account__fail "the folder for the home $_home could not be made"; return 1; }
            fi
        fi
        [ "$_shell" ] && set -- "$@" -s "$_shell"
        [ "$_has_comment" ] && set -- "$@" -c "$_comment"
        if [ $# -gt 0 ]; then
            account__try usermod "$@" -- "$_name" ||
                { account__fail "the user $_name could not be changed"; return 1; }
        fi
    else
        if [ "$_uid$_group$_home$_shell$_has_comment" ]; then
            account__fail "this host cannot change the uid, group, home, shell or comment of a user (it has BusyBox's adduser only, no usermod; the package shadow has it)"
            return 1
        fi
        if [ "$_has_groups" ]; then
            _now=$(account_user "$_name" '') || return 1
            _now=${_now#*"${n}groups "}
            _now=${_now%%"$n"*}
            _want=" $(account__words "$_groups") "
            if [ ! "$_append" ] && [ "$_now" != - ]; then
                for _g in $_now; do
                    case $_want in *" $_g "*) continue ;; esac
                    account__try delgroup "$_name" "$_g" || { account__fail "the user $_name could not be taken out of the group $_g"; return 1; }
                done
            fi
            for _g in $_want; do
                case " $_now " in *" $_g "*) continue ;; esac
                account__try addgroup "$_name" "$_g" || { account__fail "the user $_name could not be added to the group $_g"; return 1; }
            done
        fi
    fi
    [ "$_mkhome" = yes ] && { account__make_home || return 1; }
    account__credentials
}

# account__dir: sets _dir, _uid_now and _gid_now from the user's line in /etc/passwd
account__dir() {
    account__re "$_name"
    account__split "$(grep -s -e "^$_re:" /etc/passwd)"
    _uid_now=$_f3 _gid_now=$_f4 _dir=$_f6
}

# account__make_home: gives an existing user the home folder that is missing
account__make_home() {
    account__dir
    [ "$_dir" ] && [ ! -e "$_dir" ] || return 0
    # The mode is the one that useradd would give.
    _mode=''
    _um=022
    while read -r _k _v _; do
        case $_k in
            HOME_MODE) _mode=$_v ;;
            UMASK) _um=$_v ;;
        esac
    done 2>/dev/null </etc/login.defs
    if [ ! "$_mode" ]; then
        case $_um in
            077 | 0077) _mode=0700 ;;
            027 | 0027) _mode=0750 ;;
            *) _mode=0755 ;;
        esac
    fi
    {
        mkdir -p -- "${_dir%/*}/" &&
            (umask 077; mkdir -- "$_dir") &&
            { [ ! -d /etc/skel ] || cp -a /etc/skel/. "$_dir/"; } &&
            chown -R "$_uid_now:$_gid_now" "$_dir" &&
            chmod "$_mode" "$_dir"
    } || { account__fail "the home $_dir of $_name could not be made"; return 1; }
}

# account__credentials: password, lock and expiry, in this order (setting a password unlocks)
account__credentials() {
    if [ "$_hash" ]; then
        echo "$_name:$_hash" | account__chpasswd || { account__fail "the password of $_name could not be set"; return 1; }
    fi
    if [ "$_lock" = no ] && [ ! "$_hash" ]; then
        # usermod only warns about this, and says 0.
        account__re "$_name"
        account__split "$(grep -s -e "^$_re:" /etc/shadow)"
        case $_f2 in
            '!' | '!!')
                account__fail "the password of $_name cannot be unlocked, because it has none: set a password"
                return 1 ;;
        esac
    fi
    case $_lock/$_tools in
        yes/shadow) account__try usermod -L -- "$_name" ;;
        no/shadow) account__try usermod -U -- "$_name" ;;
        yes/*) account__try passwd -l "$_name" ;;
        no/*) account__try passwd -u "$_name" ;;
    esac || {
        account__fail "the password of $_name could not be $([ "$_lock" = yes ] || echo un)locked"
        return 1
    }
    case $_expires in
        '') ;;
        never) account__try chage -E -1 -- "$_name" ;;
        *) account__try chage -E "$_expires" -- "$_name" ;;
    esac || { account__fail "the expiry date of $_name could not be set"; return 1; }
}

# account__chpasswd: sets the passwords that come on stdin as NAME:HASH
account__chpasswd() {
    if [ "$_tools" = shadow ]; then chpasswd -e; else chpasswd -e >/dev/null; fi
}

# account_user_remove NAME [remove=yes|pristine] [group=GROUP]
#
# group=GROUP: this group stays, with its number. userdel takes the group of the user's own name along.
# remove=yes: the home folder and the mail spool as well.
# remove=pristine: these only if the home holds nothing but unchanged skeleton files (to undo an add).
account_user_remove() {
    _name=$1
    shift
    account__args "$@" || return 1
    account__unuser || return 1
    [ "$_group" ] || return 0
    account__known '' "$_group"
    [ "$_missing" ] || return 0
    _gid=$_kept
    account__new_group "$_group" || { account__fail "the group $_group went with the user $_name and could not be added again"; return 1; }
}

# account__unuser: removes the user; sets _kept to the number of the group that has to stay
account__unuser() {
    if [ "$_group" ]; then
        account__re "$_group"
        account__split "$(grep -s -e "^$_re:" /etc/group)"
        _kept=$_f3
    fi
    if [ "$_remove" = pristine ]; then
        account__dir
        if [ -d /etc/skel ]; then
            diff -r /etc/skel "$_dir" >/dev/null 2>&1 || _remove=''
        elif [ "$(ls -A -- "$_dir" 2>&1)" ]; then
            _remove=''
        fi
    fi
    if [ "$_remove" ]; then
        account__dir
        # System accounts have homes such as / or /bin, and userdel trusts what it reads.
        case $_dir in
            '' | / | /*/.. | */../* | /bin | /sbin | /dev | /proc | /sys | /run | /etc | /lib* | /usr | /usr/* | /var | /var/run | /var/lib | /var/log | /var/spool | /var/cache | /var/mail | /home | /home/ | /root | /boot | /opt | /srv | /mnt | /tmp)
                account__fail "the home of $_name is ${_dir:-empty}, which is not removed together with a user: set remove = false"
                return 1 ;;
        esac
    fi
    if [ "$_tools" = shadow ]; then
        set --
        [ "$_remove" ] && set -- -r
        account__try userdel "$@" -- "$_name"
        case $? in
            0) ;;
            8) account__fail "the user $_name is logged in or still has running processes: end them first"; return 1 ;;
            12) account__fail "the user $_name is gone, but its home $_dir could not be removed"; return 1 ;;
            *) account__fail "the user $_name could not be removed"; return 1 ;;
        esac
    else
        # Not all of BusyBox's versions know --remove-home.
        account__try deluser "$_name" || { account__fail "the user $_name could not be removed"; return 1; }
        if [ "$_remove" ] && [ -d "$_dir" ] && [ ! -L "$_dir" ]; then
            _owner=$(find "$_dir" -prune -user "$_uid_now" 2>/dev/null)
            [ "$_owner" ] || { account__fail "the user $_name is gone, but its home $_dir belongs to somebody else and was left"; return 1; }
            rm -rf -- "$_dir" || { account__fail "the user $_name is gone, but its home $_dir could not be removed"; return 1; }
        fi
        [ "$_remove" ] && rm -f -- "/var/mail/$_name" "/var/spool/mail/$_name"
        return 0
    fi
}

# account_keep NAME: puts NAME:HASH into the store of this host and prints the record, the name of the file there.
# Prints - where there is no hash to keep: no such user, or one without a line in /etc/shadow.
account_keep() {
    account__re "$1"
    _line=$(grep -s -e "^$_re:" /etc/shadow) || { echo -; return 0; }
    account__split "$_line"
    _no=0
    while :; do
        _no=$((_no + 1))
        _record=account.$core_run.$_no
        [ -e "$core_store/$_record" ] || break
    done
    (umask 077; echo "$_f1:$_f2" >"$core_store/$_record") || {
        account__fail "the password of $1 cannot be kept in $core_store"
        return 1
    }
    sync "$core_store/$_record" >/dev/null 2>&1
    echo "$_record"
}

# account_restore NAME RECORD: sets the password field back to what account_keep has kept.
account_restore() {
    _name=$1 _record=$2
    [ "$_record" != - ] || return 0
    account__args || return 1
    _line=''
    { IFS= read -r _line <"$core_store/$_record"; } 2>/dev/null
    case $_line in
        "$_name:"*) ;;
        '') account__fail "the backup of the password of $_name is no longer in $core_store"; return 1 ;;
        *) account__fail "the backup of the password is not that of $_name"; return 1 ;;
    esac
    echo "$_line" | account__chpasswd || { account__fail "the password of $_name could not be set back"; return 1; }
}

# ---------------------------------------------------------------- changing groups

# account_group_add NAME [gid=N] [system=yes] [members=A,B]
# account_group_change NAME [gid=N] [members=A,B]
# account_group_remove NAME
# Status 0, or 1 with a sentence on stderr.
account_group_add() {
    _name=$1
    shift
    account__args "$@" || return 1
    account__new_group "$_name" || { account__fail "the group $_name could not be added"; return 1; }
    account__members
}

account__new_group() {
    _g=$1
    set --
    [ "$_gid" ] && set -- "$@" -g "$_gid"
    if [ "$_tools" = shadow ]; then
        [ "$_system" ] && set -- "$@" -r
        account__try groupadd "$@" -- "$_g"
    else
        [ "$_system" ] && set -- "$@" -S
        account__try addgroup "$@" "$_g"
    fi
}

account_group_change() {
    _name=$1
    shift
    account__args "$@" || return 1
    if [ "$_gid" ]; then
        if [ "$_tools" != shadow ]; then
            account__fail "this host cannot change the number of a group (it has BusyBox's addgroup only; the package shadow has groupmod)"
            return 1
        fi
        account__try groupmod -g "$_gid" -- "$_name" || { account__fail "the group $_name could not be changed"; return 1; }
    fi
    account__members
}

account_group_remove() {
    _name=$1
    account__args || return 1
    if [ "$_tools" = shadow ]; then account__try groupdel -- "$_name"; else account__try delgroup "$_name"; fi ||
        { account__fail "the group $_name could not be removed"; return 1; }
}

# account__members: puts the users _members (A,B) into the group _name, on top of whom it has
account__members() {
    for _m in $(account__words "$_members"); do
        if [ "$_tools" = shadow ]; then account__try usermod -a -G "$_name" -- "$_m"; else account__try addgroup "$_m" "$_name"; fi ||
            { account__fail "the user $_m could not be added to the group $_name"; return 1; }
    done
}
