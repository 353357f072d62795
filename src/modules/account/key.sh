# shellcheck shell=sh
# shellcheck disable=SC2154 # $n comes from core, other variables from look.sh and change.sh
#
# account, third part: the SSH key of a user. What is made in a home folder is made as its user, so no link of theirs leads root elsewhere.

# account_key FILE (probe, after account_user): a line `ssh_key TYPE BASE64`; `there` without a public key beside it; `missing`; or `nowhere`, when
# its folder is missing, too. FILE is in the home folder, unless it begins with `/`.
account_key() {
    case $1 in /*) _key=$1 ;; *) _key=${_dir-}/$1 ;; esac
    _line=nowhere
    if [ "$_user" = present ]; then
        [ ! -d "${_key%/*}/" ] || _line=missing
        if [ -e "$_key" ] || [ -L "$_key" ]; then
            _line=there
            [ ! -r "$_key.pub" ] || IFS= read -r _line <"$_key.pub" || :
            account__two "$_line"
        fi
    fi
    printf 'ssh_key %s\n' "${_line:-there}"
}

# account__two LINE: sets _line to its first two words
account__two() {
    case $1 in *' '*' '*) _line=${1#* }; _line="${1%% *} ${_line%% *}" ;; esac
}

# account_as NAME COMMAND (apply): runs it in the home folder of a user, as this user
account_as() {
    _name=$1
    account__dir
    if [ ! -d "$_dir" ]; then
        account__fail "$_name has no home folder to keep an SSH key in: set create_home = true"
        return 1
    fi
    command -v ssh-keygen >/dev/null || { account__fail "this host has no ssh-keygen; install openssh-client, openssh-clients or openssh"; return 1; }
    set -- "$2" "$(id -u)"
    if [ "$2" = "$_uid_now" ]; then
        _said=$(cd -- "$_dir" && sh -c "$1" 2>&1 </dev/null)
    elif [ "$2" = 0 ]; then
        _said=$(cd -- "$_dir" && su -s /bin/sh "$_name" -c "$1" 2>&1 </dev/null)
    else
        account__fail "only root or $_name can make a key of $_name: become = true would help"
        return 1
    fi || { account__fail "the SSH key of $_name could not be changed"; return 1; }
}
