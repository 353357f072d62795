umask 022
mkdir -p /srv/families/tool/spool
printf 'made by %s\n' "${1:-nobody}" >/srv/families/tool/spool/made
