#!/bin/sh
# Resolve the pinned constraints anew for every Python we support (needs uv on the PATH):
#     make constraints
# No download address is written, and torch's CUDA companions are left out: whoever installs
# torch from a CPU wheel does not need them.
set -eu
cd "$(dirname "$0")/.."
for version in 3.11 3.12 3.13; do
    uv pip compile --quiet pyproject.toml --extra dev --python-version "$version" \
        --no-header --no-annotate --index-strategy unsafe-best-match "$@" |
        sed -e 's/^\(torch==[0-9.]*\)+cpu$/\1/' |
        grep -v -E '^(nvidia-|cuda-|triton==)' >"constraints/py$version.txt"
done
