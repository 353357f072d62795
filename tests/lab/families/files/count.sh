#!/bin/sh
# usage: count.sh FOLDER OUT
set -eu
n=0
for f in "$1"/*; do [ -f "$f" ] && n=$((n + 1)); done
printf 'files=%s\n' "$n" >"$2"
echo "counted $n"
