#!/usr/bin/env bash
# Sets up .venv from a lock file: `scripts/setup.sh runtime` or `scripts/setup.sh dev`.
#
# - Every package is checked against its hash. The project itself is installed editable, without dependencies.
# - Nothing is done when the lock has not changed since (stamps are in .venv). dev holds all of runtime.
# - Plain pip took 67 s on two cores, uv takes a tenth of it. So pip brings uv into .tieout/setup, and uv the rest.
# - uv does not read pip's settings: an index, a certificate or a wheel folder set for pip is handed on below.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
kind=${1:?runtime or dev}
setup=.tieout/setup

say() { printf 'tieout: %s\n' "$*" >&2; }

check_python() {
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        say "Python 3.11 or newer is needed, and $python is $("$python" --version 2>/dev/null || echo not there); name another one: make PYTHON=python3.12 ..."
        exit 2
    fi
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        say "$python has no venv module; on Debian and Ubuntu: apt-get install python3-venv"
        exit 2
    fi
}

lock_of() { [ "$1" = dev ] && echo requirements-dev.lock || echo requirements.lock; }

stamp_text() { cat requirements-setup.lock "$(lock_of "$1")" pyproject.toml | cksum; }

is_current() { [ -x .venv/bin/tieout ] && [ -x "$setup/bin/uv" ] && [ "$(cat ".venv/stamp-$1" 2>/dev/null)" = "$(stamp_text "$1")" ]; }

# The value of a setting of pip, from its files or environment; empty where there is none.
pip_setting() { sed -n "s/^[^.]*\.$1='\(.*\)'\$/\1/p" <<<"$pip_settings" | tail -1; }

hand_on() { # variable, value: what was set for uv itself wins
    if [ -z "${!1:-}" ] && [ -n "$2" ]; then export "$1=$2"; fi
}

hand_on_pip_settings() {
    pip_settings=$(PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip config list 2>/dev/null | sed 's/^:env:\./env./' || true)
    hand_on SSL_CERT_FILE "$(pip_setting cert)"
    hand_on UV_DEFAULT_INDEX "$(pip_setting index-url)"
    hand_on UV_INDEX "$(pip_setting extra-index-url)"
    hand_on UV_NO_INDEX "$(pip_setting no-index)"
    hand_on UV_INSECURE_HOST "$(pip_setting trusted-host)"
    hand_on UV_HTTP_TIMEOUT "$(pip_setting default-timeout)"
    hand_on ALL_PROXY "$(pip_setting proxy)"
    local wheels
    wheels=$(pip_setting find-links)
    if [ -d "$wheels" ] || [[ $wheels == *://* ]]; then hand_on UV_FIND_LINKS "$wheels"; fi
}

bring_uv() {
    if cmp -s requirements-setup.lock "$setup/stamp"; then return; fi
    say "bringing uv"
    .venv/bin/python -m pip install --quiet --require-hashes --no-deps --upgrade --target "$setup" -r requirements-setup.lock
    cp requirements-setup.lock "$setup/stamp"
}

check_python
if is_current "$kind" || is_current dev; then exit 0; fi
[ -x .venv/bin/python ] || "$python" -m venv .venv
mkdir -p "$setup"
hand_on_pip_settings
bring_uv
say "installing $(lock_of "$kind")"
rm -f .venv/stamp-*
uv=("$setup/bin/uv" pip)
"${uv[@]}" sync --quiet --python .venv/bin/python --require-hashes "$(lock_of "$kind")"
"${uv[@]}" install --quiet --python .venv/bin/python --no-deps --build-constraints requirements-setup.lock --editable .
stamp_text "$kind" >".venv/stamp-$kind"
