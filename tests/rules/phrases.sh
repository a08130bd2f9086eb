#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: phrases.sh <source folder>
#
# Phrases that turn a sentence into a riddle and are not to come back. For now only documents (*.md)
# are asked; headers and tests follow as their comments are rewritten. The names of test cases are
# quoted in documents, so what stands between backticks is left out.
set -u
cd "$1" || exit 2

status=0
for document in $(find . -name '*.md' ! -path './build*' ! -path './.git/*'); do
    # Blank out quotations, keep the numbers of the lines.
    sed 's/`[^`]*`//g' "$document" | grep -niE \
        -e '\b(nobody|somebody|whoever)\b' \
        -e '\bfor ever\b' \
        -e '\bfor all one can know\b' \
        -e '\bwho(ever)? believes\b' \
        -e '\bwhatever it may (be|end)?\b' \
        -e '\bhangs? on an answer\b' \
        -e '\bwill hear more\b' \
        -e '\bgoes on as one of\b' | sed "s|^|$document:|" | grep . && status=1
done
[ $status -eq 0 ] || echo "say it plainly: see .github/CONTRIBUTING.md"
exit $status
