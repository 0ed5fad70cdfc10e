# What the scripts share: how they speak, where the binary is, and HTTP without other programs.
# Sourced by them from the repository's root; not a command.
# shellcheck shell=bash

terminal_style() { # CODE: nothing where the output is no terminal
    if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then printf '\e[%sm' "$1"; fi
}

# A heading.
title() {
    printf '\n%s%s%s\n' "$(terminal_style 1)" "$*" "$(terminal_style 0)"
}

say() {
    printf '%s\n' "$*"
}

# A claim that was checked and holds.
hold() {
    printf '%s✓%s %s\n' "$(terminal_style 32)" "$(terminal_style 0)" "$*"
}

# A claim that was checked and does not hold.
fail() {
    printf '%s✗ %s%s\n' "$(terminal_style 31)" "$*" "$(terminal_style 0)"
}

# Ends the script: what is wrong, where, what to do.
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# A wrong use of the script.
misuse() {
    printf '%s: %s; see %s --help\n' "${0##*/}" "$*" "$0" >&2
    exit 2
}

# Prints a command as it could be typed.
show() {
    local word line=''
    for word in "$@"; do
        if [[ $word =~ ^[A-Za-z0-9_./:,=@%+-]+$ ]]; then line+=" $word"; else line+=" '$word'"; fi
    done
    printf '%s$%s%s\n' "$(terminal_style 2)" "$line" "$(terminal_style 0)"
}

# Prints a command and runs it.
run() {
    show "$@"
    "$@"
}

# The header of a script as its help.
help() {
    sed -n '2,/^[^#]/ { /^# \{0,1\}/ { s///; p; }; }' "$0"
}

# The program that the scripts run: QUIPU_BIN, else the release build.
quipu_binary() {
    printf '%s\n' "${QUIPU_BIN:-.build/release/quipu}"
}

# Whether a source is newer than the last release build. A build that changed nothing leaves the
# binary as old as it was, so scripts/build leaves a mark of its own.
build_is_stale() {
    local binary=.build/release/quipu mark=.build/release/built-by-scripts
    [ -x "$binary" ] || return 0
    [ "$mark" -nt "$binary" ] || mark=$binary
    [ -n "$(find Sources Package.swift Package.resolved -newer "$mark" -print -quit 2>/dev/null)" ]
}

# Builds where that is needed. With QUIPU_BIN that program is used as it is.
ensure_built() {
    if [ -n "${QUIPU_BIN:-}" ]; then
        [ -x "$QUIPU_BIN" ] || die "QUIPU_BIN=$QUIPU_BIN is no program; unset it to build one"
        return
    fi
    if build_is_stale; then scripts/build; fi
}

# The programs in scripts/*.d are Python; those of scripts/chaos.d are also used by the others.
ensure_python() {
    command -v python3 >/dev/null ||
        die "no python3 here; run scripts/install, or apt-get install python3"
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "$(python3 --version) is too old; put 3.11 or later into PATH"
    export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$PWD/scripts/chaos.d
}

# http METHOD HOST:PORT TARGET [FILE [HEADER…]]: the status on the first line, the body behind it;
# the status is 000 where nobody answers in time (HTTP_TIMEOUT seconds). No curl: a fresh machine
# has none.
http() {
    local method=$1 address=$2 target=$3 file=${4:-} host=${2%:*} port=${2##*:} length=0
    shift $(($# < 4 ? $# : 4))
    host=${host#[}
    host=${host%]}
    [ -z "$file" ] || length=$(wc -c <"$file")
    (
        set +e +o pipefail
        if ! exec 3<>"/dev/tcp/$host/$port"; then
            printf '000\n'
            exit 0
        fi
        {
            printf '%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n' \
                "$method" "$target" "$address"
            printf 'Content-Length: %s\r\n' "$length"
            if [ $# -gt 0 ]; then printf '%s\r\n' "$@"; fi
            printf '\r\n'
            if [ -n "$file" ]; then cat "$file"; fi
        } >&3
        timeout "${HTTP_TIMEOUT:-10}" cat <&3 | http_answer
        exit 0
    ) 2>/dev/null
}

# The status and the body of an answer that comes with Content-Length.
http_answer() {
    LC_ALL=C awk '
        NR == 1 { print ($1 ~ /^HTTP/ ? $2 : "000"); next }
        body { print; next }
        /^\r?$/ { body = 1 }
        END { if (NR == 0) print "000" }'
}

# http_body TARGET ADDRESS: the body of a GET that must succeed; fails with the problem otherwise.
http_body() {
    local answer
    answer=$(http GET "$2" "$1")
    if [ "${answer%%$'\n'*}" != 200 ]; then
        printf 'GET http://%s%s: %s\n' "$2" "$1" "$answer" >&2
        return 1
    fi
    printf '%s\n' "${answer#*$'\n'}"
}

# json_number NAME: the first number under this name in the JSON on standard input.
json_number() {
    LC_ALL=C awk -v name="\"$1\": ?" '
        !found && match($0, name "-?[0-9][0-9.]*") {
            found = substr($0, RSTART, RLENGTH)
            sub(name, "", found)
            print found
        }'
}

# rows_of: the rows of a GET /v1/top answer on standard input, a line "key<tab>count" each, keys as
# JSON writes them.
rows_of() {
    sed 's/{"rank"/\n&/g' |
        sed -nE 's/^\{"rank": ?[0-9]+, ?"key": ?"(([^"\\]|\\.)*)", ?"count": ?([0-9]+).*/\1\t\3/p'
}

# How many keys a node ranks at once.
readonly top_max=10000

# The exact ranking of all keys of a type in a range such as "&from=…&to=…", as rows_of prints it.
# An error is no number: it is asked again, a few times.
ask_top() { # ADDRESS LEVEL TYPE RANGE
    local attempt answer target
    target="/v1/top/$(percent_encoded "$3")?k=$top_max&consistency=$2$4"
    for attempt in 1 2 3; do
        if answer=$(http_body "$target" "$1"); then
            rows_of <<<"$answer"
            return
        fi
        sleep "$attempt"
    done
    return 1
}

# Bytes of a text as one component of a path.
percent_encoded() {
    local LC_ALL=C text=$1 i letter
    for ((i = 0; i < ${#text}; i++)); do
        letter=${text:i:1}
        case $letter in
        [A-Za-z0-9._~-]) printf '%s' "$letter" ;;
        *) printf '%%%02X' "$(($(printf '%d' "'$letter") & 255))" ;;
        esac
    done
}

# 1234567 as 1,234,567.
grouped() {
    printf '%s\n' "$1" | sed -E ':a; s/^([0-9]+)([0-9]{3})/\1,\2/; ta'
}

# Microseconds of the wall clock, for stretches of time.
microseconds() {
    local now=${EPOCHREALTIME/[.,]/}
    printf '%s\n' "$now"
}
