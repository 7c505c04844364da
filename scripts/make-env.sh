#!/bin/sh
# Creates the virtual environment in $1 from requirements.lock, with hashes, and installs the project into it.
# --no-deps: the lock is complete. Needs Python 3.11 or later; Debian and Ubuntu package venv separately.
set -eu
venv=$1
python=${PYTHON:-python3}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
    echo "make: Python 3.11 or later is needed; set PYTHON=/path/to/python3.11" >&2
    exit 1
}
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    echo "make: installing python$version-venv" >&2
    run=$([ "$(id -u)" = 0 ] || echo sudo)
    $run apt-get update -q >&2
    $run apt-get install -q -y "python$version-venv" >&2
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
echo "make: installing the environment into $venv" >&2
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
# As pip does with what it copies: else the first call of a command takes half a second more.
"$venv/bin/python" -m compileall -q r2_hf_assets r2_hf_sandbox
