"""Fixtures of the plan tests."""

import pytest
from obstore.store import LocalStore

from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets_tests.support.build_samples import NO_WAIT, PREFIX
from r2_hf_assets_tests.support.store_gets import MemoryBucket


@pytest.fixture
def bucket() -> MemoryBucket:
    return MemoryBucket()


@pytest.fixture
def plan(tmp_path) -> PlanStore:
    return PlanStore(LocalStore(tmp_path / "state", mkdir=True), "podcasts", PREFIX, NO_WAIT)
