"""Which allocator Arrow takes: whatever is imported first, and unless the user has chosen."""

import os
import subprocess
import sys

import pyarrow as pa
import pytest

from r2_hf_assets_tests.support.world import ROOT

POOL = "ARROW_DEFAULT_MEMORY_POOL"


def backend(module: str, **env: str) -> str:
    """The backend of Arrow's default pool in a process that imports `module`."""
    code = f"import {module}, pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    kept = {name: value for name, value in os.environ.items() if name != POOL}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**kept, "PYTHONPATH": str(ROOT), **env}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(
    sys.platform != "linux" or "jemalloc" not in pa.supported_memory_backends(), reason="Arrow has no jemalloc here"
)
@pytest.mark.parametrize("module", ["r2_hf_assets.definitions", "r2_hf_assets.shards.audit"])
def test_arrow_takes_jemalloc(module: str) -> None:
    assert backend(module) == "jemalloc"


def test_the_users_choice_stands() -> None:
    assert backend("r2_hf_assets.shards.audit", **{POOL: "system"}) == "system"
