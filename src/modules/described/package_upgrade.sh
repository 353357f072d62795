# shellcheck shell=sh
# package_upgrade: what its question and its change share.

# is_chosen NAME: do `name` and `exclude` let it through?
is_chosen() {
  case $pm in (apt) bare=${1%%:*} ;; (dnf|yum|zypper) bare=${1%.*} ;; (*) bare=$1 ;; esac
  is={{ "" if name else "yes" }}
  for one in {{ name }}; do case $1 in ($one) is=yes ;; esac; case $bare in ($one) is=yes ;; esac; done
  for one in {{ exclude }}; do case $1 in ($one) is='' ;; esac; case $bare in ($one) is='' ;; esac; done
  [ -n "$is" ]
}

# chosen: sets names to those of `plan` that are upgrades and wanted.
chosen() {
  names=''
  IFS=$n
  for line in $plan; do
    IFS=" $t$n"
    set -- $line
    case $2,$3 in (-,*|*,-) ;; (*) case {{ only }},$pm,${4-} in (security,apt,) ;; (*) ! is_chosen "$1" || names="$names $1" ;; esac ;; esac
    IFS=$n
  done
  IFS=" $t$n"
}
