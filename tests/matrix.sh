#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: sh tests/matrix.sh [--folder FOLDER] [--clang] [suite...]     suites: trixie testing
#
# Runs both commands of the README on other releases of Debian, each in a chroot of its own that
# debootstrap fills, on a copy of this checkout; then the warnings of both compilers in the headers,
# and the tests of tokens and executors with each compiler and each Boost of that release. --clang
# runs all tests with clang as well. By hand, not in CI: as root, 45 minutes for each suite. The
# mirror is the one that this machine's apt uses.
#
# What it needs is in a temporary folder, gone at the end; --folder keeps chroots for the next run.
set -u

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
folder=
clang=
suites=
while [ $# -gt 0 ]; do
    case $1 in
    --folder)
        folder=$2
        shift
        ;;
    --clang) clang=yes ;;
    -*) echo "matrix.sh: unknown option $1" >&2; exit 2 ;;
    *) suites="$suites $1" ;;
    esac
    shift
done
: "${suites:=trixie testing}"

[ "$(id -u)" -eq 0 ] || { echo "matrix.sh: chroot needs root" >&2; exit 2; }
command -v debootstrap >/dev/null || { echo "matrix.sh: install debootstrap" >&2; exit 2; }
# shellcheck disable=SC2016 # apt's own $(SITE)
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Label: Debian' | head -n 1)
[ -n "$mirror" ] || { echo "matrix.sh: apt knows no mirror of Debian here" >&2; exit 2; }

keep=$folder
: "${folder:=$(mktemp -d)}"
mkdir -p "$folder"
report=$folder/report.txt
: >"$report"

# A folder that something is mounted in must not be removed.
clean_up() {
    for suite in $suites; do
        ! mountpoint -q "$folder/$suite/proc" || umount "$folder/$suite/proc" || keep=mounted
    done
    [ -n "$keep" ] || rm -rf --one-file-system "$folder"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

note() { echo "$*" | tee -a "$report"; }

# inside <suite> <command>: in the copy of the checkout, with nothing of this shell but the proxy.
inside() {
    chroot "$folder/$1" /usr/bin/env -i HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        PATH=/usr/sbin:/usr/bin:/sbin:/bin ${http_proxy:+"http_proxy=$http_proxy"} \
        sh -c "cd /root/sluice && $2"
}

make_chroot() {
    chroot=$folder/$1
    if [ ! -f "$chroot/made" ]; then
        debootstrap --variant=minbase "$1" "$chroot" "$mirror" >"$chroot.debootstrap.log" 2>&1 ||
            { tail -n 5 "$chroot.debootstrap.log"; return 1; }
        touch "$chroot/made"
    fi
    cp -L /etc/resolv.conf /etc/hosts "$chroot/etc/"
    # What this machine's apt knows of the way to its mirror: a proxy, or that its dates are old.
    apt-config dump | grep -E '^Acquire::(https?::|Check-)' >"$chroot/etc/apt/apt.conf.d/99matrix"
    mountpoint -q "$chroot/proc" || mount -t proc proc "$chroot/proc" ||
        note "$1: /proc cannot be mounted; going on without it"
    rm -rf "$chroot/root/sluice"
    mkdir -p "$chroot/root/sluice"
    # What git knows, and git's own folder: some rules ask git.
    (cd "$root" && { git ls-files; echo .git; } | tar -c -T -) |
        tar -x --no-same-owner -C "$chroot/root/sluice"
    chroot "$chroot" sh -c 'apt-get -qq update && apt-get -qq install -y git' >/dev/null 2>&1
}

versions() {
    inside "$1" '
        of() { dpkg-query -W -f="\${Version}" "$1" 2>/dev/null || echo none; }
        g++ --version | head -n 1
        echo "Boost $(of libboost-dev), Catch2 $(of libcatch2-dev)," \
            "nlohmann_json $(of nlohmann-json3-dev), $(cmake --version | head -n 1)"'
}

# step <suite> <name> <command>: one line in the report, and what was not done by it.
step() {
    log=$folder/$1.$(echo "$2" | tr -c 'a-z0-9+\n' _).log
    start=$(date +%s)
    result=passed
    inside "$1" "$3" </dev/null >"$log" 2>&1 || { result=FAILED; failed=1; }
    note "$1: $2: $result in $(($(date +%s) - start)) s: $(grep -E 'tests passed|^All tests' "$log" |
        tail -n 1)"
    grep -E '\*\*\*(Skipped|Failed)|could not install|is left out|cannot be checked|error:|Error ' \
        "$log" | sort -u | head -n 20 | sed 's/^/    /' | tee -a "$report"
}

tokens() {
    for package in $(inside "$1" 'apt-cache pkgnames libboost |
        grep -E "^libboost[0-9.]+-dev$" | sort -V'); do
        inside "$1" "sh tests/boost_headers.sh $package build/$package" >/dev/null
        for compiler in g++ "$2"; do
            step "$1" "tokens, $compiler, $package" \
                "sh tests/tokens.sh $compiler build/$package/usr/include"
        done
    done
}

failed=0
for suite in $suites; do
    make_chroot "$suite" || { note "$suite: no chroot"; failed=1; continue; }
    step "$suite" "sh examples/run.sh" "sh examples/run.sh"
    step "$suite" "sh tests/run.sh" "sh tests/run.sh"
    newest=$(inside "$suite" "sh cmake/install-debian.sh --clang")
    if [ -n "$clang" ]; then
        step "$suite" "sh tests/run.sh --compiler $newest" "sh tests/run.sh --compiler $newest"
    fi
    inside "$suite" "CXX=$newest sh cmake/install-debian.sh build"
    versions "$suite" | sed 's/^/    /' | tee -a "$report"
    inside "$suite" "$newest --version | head -n 1" | sed 's/^/    /' | tee -a "$report"
    step "$suite" "sh tests/warnings.sh" "sh tests/warnings.sh g++ $newest"
    tokens "$suite" "$newest"
done
echo
cat "$report"
exit $failed
