"""Arrow's allocator: jemalloc whichever module is imported first, unless the user sets another."""

import os
import subprocess
import sys

import pyarrow as pa
import pytest

from r2_hf_assets_tests.support.world import ROOT

POOL = "ARROW_DEFAULT_MEMORY_POOL"


def backend(module: str, **env: str) -> str:
    """Return the backend of Arrow's default pool in a process that imports `module`."""
    code = f"import {module}, pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    inherited = {name: value for name, value in os.environ.items() if name != POOL}
    process = subprocess.run(
        [sys.executable, "-c", code], env={**inherited, "PYTHONPATH": str(ROOT), **env}, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


@pytest.mark.skipif(
    sys.platform != "linux" or "jemalloc" not in pa.supported_memory_backends(), reason="Arrow has no jemalloc here"
)
@pytest.mark.parametrize("module", ["r2_hf_assets.definitions", "r2_hf_assets.shards.audit"])
def test_arrow_uses_jemalloc(module: str) -> None:
    assert backend(module) == "jemalloc"


def test_the_users_allocator_is_used() -> None:
    assert backend("r2_hf_assets.shards.audit", **{POOL: "system"}) == "system"
