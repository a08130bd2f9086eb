#!/bin/sh
# SPDX-License-Identifier: MIT
#
# apt: `-o DPkg::Lock::Timeout=N` is how a script waits for another apt that is at work. Given to
# `apt-get update` and to `apt-get install` while a lock that each of them needs is held for five
# seconds, all in a folder of its own.
#
# A good guess: both wait until the lock is free, and succeed.
#
# Seen (apt 2.6.1 of Debian 12, 3.0.4 of Debian 13): install waits; update fails at once, because the
# option is for dpkg's locks only, and there is none for the lock of apt's lists.
#
# Needs: apt, python3. Exits with 1 when something else is seen.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial" "$folder/dpkg"
: >"$folder/dpkg/status"
: >"$folder/sources.list"
options="-o Dir::State::Lists=$folder/lists -o Dir::Cache=$folder/cache -o APT::Sandbox::User=root
    -o Dir::State::status=$folder/dpkg/status -o Dir::Etc::SourceList=$folder/sources.list
    -o Dir::Etc::SourceParts=/dev/null -o Dir::State::extended_states=$folder/states"

# hold <file>: locks it as apt does, says so, and lets go after five seconds.
hold() {
    rm -f "$folder/held"
    python3 - "$1" "$folder/held" <<'HOLD' &
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.lockf(file, fcntl.LOCK_EX)
open(sys.argv[2], "w").close()
time.sleep(5)
HOLD
    until [ -e "$folder/held" ]; do sleep 0.1; done
}

# see <lock> <command>
see() {
    hold "$folder/$1"
    # shellcheck disable=SC2086 # a list of words
    if LC_ALL=C apt-get -q -y $options -o DPkg::Lock::Timeout=60 "$2" >"$folder/output" 2>&1; then
        echo "$2 while $1 is held: waits and succeeds"
    else
        echo "$2 while $1 is held: $(grep -o 'Could not get lock' "$folder/output" | head -n 1)"
    fi | tee -a "$folder/seen"
    wait
}

cat >"$folder/expected" <<'EXPECTED'
install while dpkg/lock-frontend is held: waits and succeeds
update while lists/lock is held: Could not get lock
EXPECTED

apt-get --version | head -n 1
see dpkg/lock-frontend install
see lists/lock update
diff "$folder/expected" "$folder/seen"
