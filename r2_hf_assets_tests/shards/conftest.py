"""Fixtures of this folder."""

import gc
from collections.abc import Iterator

import pytest

from r2_hf_assets_tests.shards.damaged_build import Built, build, rebuild
from r2_hf_assets_tests.support.build_samples import MemoryBuild


@pytest.fixture(scope="session")
def intact() -> MemoryBuild:
    return build()


@pytest.fixture
def built(intact: MemoryBuild) -> Built:
    return rebuild(intact)


@pytest.fixture
def without_collector() -> Iterator[None]:
    """Disable the garbage collector, so that reference cycles stay."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
