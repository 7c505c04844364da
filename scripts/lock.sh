#!/bin/sh
# Writes the lock files from pyproject.toml: hashes, every platform, no index host. $1: the environment's bin folder.
set -eu
compile="$1/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url"
$compile --custom-compile-command "make lock" --upgrade --extra sandbox --extra slack --group dev pyproject.toml -o requirements.lock
$compile --custom-compile-command "make lock" --upgrade r2_hf_assets_tests/contract/hub036.in -o r2_hf_assets_tests/contract/hub036.lock
$compile --custom-compile-command "make lock" --upgrade --extra cluster -c requirements.lock pyproject.toml -o deploy/celery/requirements.lock
