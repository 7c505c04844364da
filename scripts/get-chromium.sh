#!/bin/sh
# Installs the distribution's chromium for the UI tests, unless it is installed. Fails with one line without apt-get, and
# for a user who is not root and has no sudo without a password.
set -u
if command -v chromium >/dev/null; then exit 0; fi
fail() { echo "make: no chromium ($1); the tests of the UI in a browser are skipped" >&2; exit 1; }

command -v apt-get >/dev/null || fail "and no apt-get to install it with"
as_root=
if [ "$(id -u)" != 0 ]; then
    as_root="sudo -n"
    $as_root true 2>/dev/null || fail "root can install it: apt-get install chromium"
fi
echo "make: installing chromium" >&2
export DEBIAN_FRONTEND=noninteractive
apt="$as_root apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
{ $apt update && $apt install --no-install-recommends chromium; } >"$log" 2>&1 || { tail -n 5 "$log" >&2; fail "apt-get could not install it"; }
