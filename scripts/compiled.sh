#!/usr/bin/env bash
# Installs tieout into .tieout/compiled with its hot path compiled (setup.py says what); needs a C compiler and `make setup-dev`.
#
# To run it: PYTHONSAFEPATH=1 PYTHONPATH=.tieout/compiled .venv/bin/python -m tieout ...
# It lies beside the sources, so that what is edited is never shadowed by what was compiled before. Nothing is done where no
# source has changed since.
set -euo pipefail
cd "$(dirname "$0")/.."

target=.tieout/compiled
stamp=$(find setup.py pyproject.toml tieout.py canonical sources matching streams sinks dashboard company \
    -type f -not -path '*/__pycache__/*' -print0 | sort -z | xargs -0 cksum | cksum)
if [ "$(cat "$target/stamp" 2>/dev/null)" = "$stamp" ]; then exit 0; fi

if ! command -v cc >/dev/null; then
    echo "tieout: compiling takes a C compiler and Python's headers; on Debian and Ubuntu: apt-get install gcc libc6-dev python3-dev" >&2
    exit 2
fi
echo "tieout: compiling the hot path" >&2
rm -rf "$target" build  # what an earlier build left there would be installed too
PATH="$PWD/.venv/bin:$PATH" TIEOUT_COMPILED=1 .venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps \
    --no-build-isolation --target "$target" .
echo "$stamp" >"$target/stamp"
