#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: sh tests/bench/instructions.sh [--write] [--profile <name>] [<built program>]
#
# Counts the instructions of one operation of each kind with callgrind and compares them with
# instructions.json beside this file. Fails when one has grown by more than 5 %. The counts of one
# compiler repeat exactly; with another compiler than the baseline's they are printed, not judged.
#   --write           makes the counts the new baseline
#   --profile <name>  prints which functions an operation spends its instructions in
# Without a program it builds one under build/bench. Assertions are off: this is what a bot pays.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
baseline=$here/instructions.json
compiler=${CXX:-g++}
write=
profile=
program=
while [ $# -gt 0 ]; do
    case $1 in
    --write) write=yes ;;
    --profile)
        [ $# -ge 2 ] || { echo "--profile needs the name of an operation" >&2; exit 2; }
        profile=$2
        shift
        ;;
    -*) echo "unknown option $1" >&2; exit 2 ;;
    *) program=$1 ;;
    esac
    shift
done
command -v valgrind >/dev/null || { echo "instructions.sh needs valgrind" >&2; exit 2; }

if [ -z "$program" ]; then
    sh "$here/build.sh" "$root/build/bench" instructions >&2
    program=$root/build/bench/tests/instructions
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ -n "$profile" ]; then
    valgrind --tool=callgrind --callgrind-out-file="$work/out" \
        --toggle-collect="measured_$profile" "$program" "$profile" >"$work/operations" 2>/dev/null
    operations=$(cut -d' ' -f2 "$work/operations")
    for inclusive in no yes; do
        echo "instructions per operation, $profile, inclusive: $inclusive"
        callgrind_annotate --inclusive="$inclusive" --threshold=100 "$work/out" 2>/dev/null |
            awk -v operations="$operations" -v inclusive="$inclusive" '
                $1 !~ /^[0-9,]+$/ || !/:/ || shown == 25 { next }
                /:measured_/ { below = 1 }
                inclusive == "yes" && !below { next } # who called it
                {
                    count = $1; gsub(",", "", count)
                    sub(/^ *[0-9,]+ +\([^)]*\) +/, ""); sub(/^[^ ]*\?\?\?:/, ""); sub(/ \[[^]]*\]$/, "")
                    gsub(/\(anonymous namespace\)::/, ""); sub(/\(.*/, "")
                    printf "%8.1f  %s\n", count / operations, $0; ++shown
                }'
    done
    exit
fi

valgrind --tool=callgrind --callgrind-out-file="$work/out" "$program" >"$work/operations" \
    2>"$work/messages" || { cat "$work/messages" >&2; exit 1; }
callgrind_annotate --inclusive=yes --threshold=100 "$work/out" >"$work/profile" 2>/dev/null

# "<name> <instructions per operation>" per line
awk '
    NR == FNR { operations[$1] = $2; order[++n] = $1; next }
    match($0, /:measured_[a-z_]+/) {
        name = substr($0, RSTART + 10, RLENGTH - 10)
        count = $1; gsub(",", "", count)
        if (name in operations && !(name in total)) total[name] = count
    }
    END {
        for (i = 1; i <= n; ++i) {
            if (!(order[i] in total)) { print "no count of " order[i] > "/dev/stderr"; exit 1 }
            printf "%s %.1f\n", order[i], total[order[i]] / operations[order[i]]
        }
    }' "$work/operations" "$work/profile" >"$work/counts"

built_by=$("$compiler" --version | head -n 1)
if [ -n "${SLUICE_BENCH_JSON:-}" ] || [ -n "$write" ]; then
    awk -v compiler="$built_by" '
        BEGIN { printf "{\n    \"compiler\": \"%s\",\n    \"instructions\": {", compiler }
        { printf "%s\n        \"%s\": %s", (NR > 1 ? "," : ""), $1, $2 }
        END { print "\n    }\n}" }' "$work/counts" >"$work/json"
    [ -z "${SLUICE_BENCH_JSON:-}" ] || cp "$work/json" "$SLUICE_BENCH_JSON"
    [ -z "$write" ] || cat "$work/json" >"$baseline"
fi

[ -f "$baseline" ] || { cat "$work/counts"; echo "no baseline: run with --write" >&2; exit 1; }
comparable=no
if grep -qF "\"compiler\": \"$built_by\"" "$baseline"; then comparable=yes; fi

awk -v comparable="$comparable" '
    BEGIN {
        target["try_acquire"] = 400; target["acquire"] = 700
        printf "%-24s %12s %10s %9s %8s\n", "instructions of one", "now", "baseline", "change", "target"
    }
    NR == FNR {
        if (match($0, /"[a-z_]+": [0-9.]+/)) {
            split(substr($0, RSTART, RLENGTH), part, /[": ]+/); was[part[2]] = part[3]
        }
        next
    }
    {
        seen[$1]; change = "-"; mark = ""
        if ($1 in was) {
            change = sprintf("%+.1f %%", ($2 / was[$1] - 1) * 100)
            if (comparable == "yes" && $2 > was[$1] * 1.05) { mark = "  grown by more than 5 %"; grown = 1 }
        }
        printf "%-24s %12.1f %10s %9s %8s%s\n", $1, $2, (($1 in was) ? was[$1] : "-"), change, \
            (($1 in target) ? "<= " target[$1] : ""), mark
    }
    END {
        for (name in was) if (!(name in seen)) { print name ": in the baseline only"; grown = 1 }
        if (comparable != "yes") print "another compiler than the baseline: not judged"
        exit grown
    }' "$baseline" "$work/counts"
