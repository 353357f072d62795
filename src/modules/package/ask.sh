# shellcheck shell=sh
# shellcheck disable=SC2154,SC2034 # n, a newline, is the core's; what is set here or read here is of look.sh
#
# package, questions that are worked off together: one look into the package database for the names of all of them.
#
# package_known, package_provides: what package_read and package_provided have found for the question that is being
# answered; empty: each asks by itself. Every question gets the lines of its own names alone, because what is looked for
# in a long text takes a shell the square of its length.

package_known='' package_provides=''

package_group_begin() {
    package_bare=''
}

package_group_wish() { # NO PROBE
    eval "package_words_$1='' package_open_$1='' package_known_$1=''"
    _no=$1
    eval "set -- $2"
    _mode=$2
    shift 2
    package_names "$@" || return 0
    _words=' ' _open=''
    for _g in "$@"; do
        _bare=${_g%%=*}
        package_bare="$package_bare $_bare"
        # as the manager may name it: without its architecture
        _words="$_words$_bare ${_bare%%:*} ${_bare%.*} "
        case $_mode,$_g in
            absent,* | *=*) ;;
            *) _open="$_open $_g" ;;
        esac
    done
    eval "package_words_$_no=\$_words package_open_$_no=\$_open"
}

package_group_gather() { # COUNT
    package_provides=''
    if [ -z "$package_bare" ] || ! package_manager || [ "$_pm" = apk ]; then return 0; fi
    # shellcheck disable=SC2086 # names were checked: no blanks, no quotes; -f is set
    package_read $package_bare || return 0
    _ifs=$IFS IFS=$n
    for _l in $_db; do
        _x=${_l#|}
        case $_pm in
            pacman) _x=${_x%% *} ;;
            *) _x=${_x%%'|'*} ;;
        esac
        _no=0
        while [ "$_no" -lt "$1" ]; do
            _no=$((_no + 1))
            eval "_words=\$package_words_$_no"
            case $_words in
                *" $_x "*) eval "package_known_$_no=\$package_known_$_no\$_l\$n" ;;
            esac
        done
    done
    IFS=$_ifs
    _missing='' _no=0
    while [ "$_no" -lt "$1" ]; do
        _no=$((_no + 1))
        eval "_open=\$package_open_$_no package_known_$_no=\$n\$package_known_$_no _db=\$package_known_$_no"
        for _g in $_open; do
            package_find "$_g"
            case $_state in installed | broken) ;; *) _missing="$_missing $_g" ;; esac
        done
    done
    _provided=$n
    # shellcheck disable=SC2086
    [ -z "$_missing" ] || package_provided $_missing
    package_provides=$_provided
}

package_group_answer() { # NO PROBE
    package_known=''
    [ -z "$package_provides" ] || eval "package_known=\$package_known_$1"
    core_ask "$2"
}

package_group_over() {
    package_known='' package_provides=''
}
