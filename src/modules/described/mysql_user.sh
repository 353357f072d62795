# shellcheck shell=sh
# mysql_user: what its question and its change share.

client=mysql
! command -v mariadb >/dev/null 2>&1 || client=mariadb

# login PROGRAM OPTION...: runs a client of the server, with the stdin that is there. A password, which only the question and the
# change know, travels through a pipe, behind the files that the client would read without us.
secret=''
login_options() {
  for _file in {{ config_file if config_file is not none else ["/etc/my.cnf", "/etc/mysql/my.cnf", home ~ "/.my.cnf"] }}; do
    [ ! -r "$_file" ] || printf '!include %s\n' "$_file"
  done
  printf '[client]\npassword=%s\n' "$secret"
}
login() {
  _program=$1
  shift
{% set place = ["--user=" ~ login_user] if login_user is not none else [] %}
{% set place = place + (["--socket=" ~ login_unix_socket, "--protocol=socket"] if login_unix_socket is not none else []) %}
{% set place = place + (["--host=" ~ login_host] if login_host is not none else []) %}
{% set place = place + (["--port=" ~ login_port] if login_port is not none else []) %}
{% set place = place + (["--protocol=tcp"] if login_port is not none and login_unix_socket is none else []) %}
  if [ "$secret" ]; then
    { login_options | MYSQL_TEST_LOGIN_FILE=/dev/null/none "$_program" --defaults-file=/dev/fd/5 {{ place }} "$@" 5<&0 <&6 6<&-; } 6<&0
  else
    "$_program" {{ ["--defaults-file=" ~ config_file] if config_file is not none }} {{ place }} "$@"
  fi
}

# sql STATEMENT...: rows and remarks of the client. In these literals only the quote is special, whatever the server's mode is.
sql() {
  printf '%s;\n' "SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES' /*!80000 , information_schema_stats_expiry = 0 */" "$@" |
    login "$client" --connect-timeout=10 --batch --raw --skip-column-names --default-character-set=utf8mb4 2>&1
}

# why TEXT: sets _why to the error in it, with what would help.
why() {
  _why=$1
  case $1 in *ERROR*) _why="ERROR${1#*ERROR}" ;; esac
  _why=${_why%%"$n"*}
  case $_why in
    'ERROR 1045'* | 'ERROR 1698'*) _why="the database server does not let this login in; \`login_user\`, \`login_password\` or \`config_file\` would say another one ($_why)" ;;
    'ERROR 20'[01]*) _why="the database server cannot be reached; is it running, and are \`login_unix_socket\`, \`login_host\` and \`login_port\` right? ($_why)" ;;
    'ERROR 1044'* | 'ERROR 114'[23]* | 'ERROR 1227'*) _why="this login may not do that; it needs the privileges of an administrator ($_why)" ;;
  esac
}

# ask STATEMENT...: sets rows, or ends the probe.
ask() {
  rows=$(sql "$@") && return
  why "$rows"
  refuse "$_why"
}

# change SENTENCE STATEMENT...: or it fails with that sentence.
change() {
  _sentence=$1
  shift
  rows=$(sql "$@") && return
  why "$rows"
  fail "$_sentence: $_why"
}

# native_hash SHA1: sets _hash to what mysql_native_password keeps of a password.
native_hash() {
  _hex=$1 _bytes=''
  while [ "$_hex" ]; do
    _byte=$((0x${_hex%"${_hex#??}"}))
    _hex=${_hex#??}
    _bytes="$_bytes\\0$((_byte / 64))$((_byte / 8 % 8))$((_byte % 8))"
  done
  _hash=$(printf '%b' "$_bytes" | sha1sum | tr a-f A-F)
  _hash="*${_hash%% *}"
}

# privileges_of (stdin): the account, whether it has all, the mode, what is asked for, and what SHOW GRANTS says; prints what is there, what is
# needed, and the statements there and back.
privileges_of() {
awk '
# Splits at a mark that stands outside of backticks and brackets.
function cut(text, mark, parts, i, c, quoted, depth, count) {
  count = 1; parts[1] = ""
  for (i = 1; i <= length(text); i++) {
    c = substr(text, i, 1)
    if (c == "`") quoted = !quoted
    else if (c == "(" && !quoted) depth++
    else if (c == ")" && !quoted) depth--
    if (c == mark && !quoted && !depth) parts[++count] = ""
    else parts[count] = parts[count] c
  }
  return count
}
function trim(text) { gsub(/^[ \t]+|[ \t]+$/, "", text); return text }
function plain(name) {
  if (name ~ /^`.*`$/) { name = substr(name, 2, length(name) - 2); gsub(/``/, "`", name) }
  return name
}
function quoted(name) { gsub(/`/, "``", name); return "`" name "`" }
function shown(name) { return name ~ /^[0-9A-Za-z_$%\\-]+$/ ? name : quoted(name) }
function join(list, count, i, j, x, text) {
  for (i = 2; i <= count; i++) {
    x = list[i]
    for (j = i - 1; j > 0 && list[j] > x; j--) list[j + 1] = list[j]
    list[j + 1] = x
  }
  for (i = 1; i <= count; i++) text = text (i > 1 ? "," : "") list[i]
  return text
}
# Notes a target, and returns how it is shown.
function target(text, parts, kind, key) {
  text = trim(text); kind = ""
  if (match(toupper(text), /^(TABLE|FUNCTION|PROCEDURE|PACKAGE BODY|PACKAGE) /)) {
    kind = toupper(substr(text, 1, RLENGTH)); text = trim(substr(text, RLENGTH + 1))
    if (kind == "TABLE ") kind = ""
    else text = tolower(text)
  }
  if (cut(text, ".", parts) != 2 || parts[1] == "" || parts[2] == "") return ""
  key = kind (parts[1] == "*" ? "*" : shown(plain(parts[1]))) "." (parts[2] == "*" ? "*" : shown(plain(parts[2])))
  place[key] = kind (parts[1] == "*" ? "*" : quoted(plain(parts[1]))) "." (parts[2] == "*" ? "*" : quoted(plain(parts[2])))
  if (!(key in seen)) { seen[key] = 1; keys[++all] = key }
  return key
}
# Adds privileges to the set of a target, those of columns one by one.
function take(set, key, text, parts, count, i, p, at, names, many, j) {
  count = cut(text, ",", parts)
  for (i = 1; i <= count; i++) {
    p = trim(parts[i]); many = 1; names[1] = ""
    if ((at = index(p, "(")) && p ~ /\)$/) {
      many = cut(substr(p, at + 1, length(p) - at - 1), ",", names)
      for (j = 1; j <= many; j++) names[j] = " (" plain(trim(names[j])) ")"
      p = trim(substr(p, 1, at - 1))
    }
    p = toupper(p); gsub(/[ \t]+/, " ", p)
    if (p in other) p = other[p]
    if (p == "USAGE") continue
    if (p !~ /^[A-Z][A-Z_ ]*$/) return trim(parts[i]) == "" ? "nothing" : trim(parts[i])
    for (j = 1; j <= many; j++) put(set, key, p names[j])
  }
  return ""
}
function put(set, key, p) {
  if ((set, key, p) in has) return
  has[set, key, p] = 1; item[set, key, ++size[set, key]] = p
}
function covers(key, p) { return (("G", key, p) in has) || (p != "GRANT" && ("G", key, "ALL") in has) }
function words(set, key, without, list, count, i) {
  count = 0
  for (i = 1; i <= size[set, key]; i++) if (!((without, key, item[set, key, i]) in has)) list[++count] = item[set, key, i]
  return join(list, count)
}
function spelled(text, parts, count, i, at, line) {
  count = cut(text, ",", parts); line = ""
  for (i = 1; i <= count; i++) {
    if (at = index(parts[i], "(")) parts[i] = substr(parts[i], 1, at) quoted(substr(parts[i], at + 1, length(parts[i]) - at - 1)) ")"
    if (parts[i] != "GRANT") line = line (line == "" ? "" : ", ") (parts[i] == "ALL" ? "ALL PRIVILEGES" : parts[i])
  }
  return line
}
# Prints the statements that lead from one set to another: first what is added, so that nothing is missing in between.
function way(mark, from, to, i, key, add, less, grant) {
  for (i = 1; i <= all; i++) {
    key = keys[i]; add = words(to, key, from); less = words(from, key, to)
    if (((from, key, "ALL") in has) && less ~ /(^|,)ALL(,|$)/) { print mark "REVOKE ALL PRIVILEGES ON " place[key] " FROM " account; add = words(to, key, "") ; less = less ~ /(^|,)GRANT(,|$)/ ? "GRANT" : "" }
    else if ((to, key, "ALL") in has) less = less ~ /(^|,)GRANT(,|$)/ ? "GRANT" : ""
    grant = add ~ /(^|,)GRANT(,|$)/ ? " WITH GRANT OPTION" : ""
    if (add != "") { add = spelled(add); print mark "GRANT " (add == "" ? "USAGE" : add) " ON " place[key] " TO " account grant }
    if (less ~ /(^|,)GRANT(,|$)/) print mark "REVOKE GRANT OPTION ON " place[key] " FROM " account
    if ((less = spelled(less)) != "") print mark "REVOKE " less " ON " place[key] " FROM " account
  }
}
function show(mark, set, i, text) {
  for (i = 1; i <= all; i++) if ((text = words(set, keys[i], "")) != "") print mark keys[i] ": " text
}
function wants(text, parts, count, key, wrong, i, rest) {
  count = cut(text, ":", parts); rest = parts[1]
  for (i = 2; i < count; i++) rest = rest ":" parts[i]
  if (count < 2 || (key = target(rest)) == "") { bad = "`priv` cannot be read at `" trim(text) "`; it is written as `database.table:PRIVILEGE,PRIVILEGE`"; return }
  if ((wrong = take("W", key, parts[count])) != "") bad = "`priv` names `" wrong "` for " key ", which is no privilege"
}
BEGIN {
  other["ALL PRIVILEGES"] = "ALL"; other["GRANT OPTION"] = other["WITH GRANT OPTION"] = "GRANT"
  other["BINLOG MONITOR"] = "REPLICATION CLIENT"; other["REPLICATION REPLICA"] = "REPLICATION SLAVE"
  other["REPLICATION REPLICA ADMIN"] = "REPLICATION SLAVE ADMIN"; other["DELETE VERSIONING ROWS"] = "DELETE HISTORY"
  other["REPLICA MONITOR"] = other["SHOW REPLICA STATUS"] = "SLAVE MONITOR"
}
NR == 1 { account = $0; next }
NR == 2 { everything = $0; next }
NR == 3 { mode = $0; next }
/^T/ { count = cut(substr($0, 2), "/", lines); for (k = 1; k <= count; k++) if (trim(lines[k]) != "") wants(lines[k]); next }
/^L/ { wants(substr($0, 2)); next }
/^GRANT / {
  # The words ON and TO outside of backticks.
  line = substr($0, 7); on = to = 0; q = d = 0
  for (k = 1; k <= length(line) && !to; k++) {
    c = substr(line, k, 1)
    if (c == "`") q = !q
    else if (c == "(" && !q) d++
    else if (c == ")" && !q) d--
    else if (c == " " && !q && !d) { if (!on && substr(line, k, 4) == " ON ") on = k; else if (substr(line, k, 4) == " TO ") to = k }
  }
  if (!on || !to || line ~ /^PROXY /) next
  key = target(substr(line, on + 4, to - on - 4))
  take("G", key, substr(line, 1, on - 1) (substr(line, to) ~ / WITH (.* )?GRANT OPTION/ ? ",GRANT" : ""))
}
END {
  if (bad != "") { print "E" bad; exit }
  if (everything && !(("G", "*.*", "ALL") in has)) {
    grant = ("G", "*.*", "GRANT") in has
    for (k = 1; k <= size["G", "*.*"]; k++) delete has["G", "*.*", item["G", "*.*", k]]
    size["G", "*.*"] = 0; put("G", "*.*", "ALL"); if (grant) put("G", "*.*", "GRANT")
  }
  for (k = 1; k <= all; k++) {
    key = keys[k]
    if (("W", key, "ALL") in has) {
      grant = ("W", key, "GRANT") in has
      for (i = 1; i <= size["W", key]; i++) delete has["W", key, item["W", key, i]]
      size["W", key] = 0; put("W", key, "ALL"); if (grant) put("W", key, "GRANT")
    }
    # What is there of what is asked for: other privileges are not looked at.
    for (i = 1; i <= size["W", key]; i++) {
      p = item["W", key, i]
      if (covers(key, p)) put("I", key, p)
      else if (mode == "subtract" && p == "ALL") for (j = 1; j <= size["G", key]; j++) if (item["G", key, j] != "GRANT") put("I", key, item["G", key, j])
    }
  }
  join(keys, all)
  from = mode == "set" ? "G" : "I"; to = mode == "subtract" ? "none" : "W"
  show("P", from); show("N", to); way("S", from, to); way("U", to, from)
}
'
}
