"""A client with a repo of its own, content that no other test uploads, and retries without waits."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from r2_hf_assets import retry
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.settings import HubSettings
from r2_hf_assets_tests.support.build_samples import NO_WAIT
from r2_hf_assets_tests.support.world import World

Body = Callable[[int], bytes]


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "COMMIT_RETRY", NO_WAIT)


@pytest.fixture
def repo(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubClient:
    """A client of an existing empty repo, with an empty hf_xet cache."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf_home"))
    client = HubClient(HubSettings(world.repo_id, world.sandbox.hub.token, world.sandbox.hub.endpoint))
    client.create_repo()
    return client


@pytest.fixture
def body(world: World) -> Body:
    """Return a function that generates a new file of the given size at each call."""
    rng = random.Random(world.bucket)
    return lambda size: rng.randbytes(size)
