"""Clients of a test's own repo, content that no other test uploads, and retries without waits."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd

from r2_hf_assets import retry
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.retry import Retry
from r2_hf_assets.settings import HubSettings
from r2_hf_assets_tests.support.build_samples import NO_WAIT
from r2_hf_assets_tests.support.world import World

Body = Callable[[int], bytes]


def client(world: World, token: str = "", retry: Retry | None = None) -> HubClient:
    hub = world.sandbox.hub
    return HubClient(HubSettings(world.repo_id, token or hub.token, hub.endpoint), retry=retry)


def commit_files(world: World, files: dict[str, bytes]) -> str:
    """Commit files to the world's repo, which is created if missing; return the commit's oid."""
    world.api().create_repo(world.repo_id, repo_type="dataset", exist_ok=True)
    operations = [CommitOperationAdd(path, data) for path, data in files.items()]
    return world.api().create_commit(world.repo_id, operations, commit_message="files", repo_type="dataset").oid


def registered(world: World, mark: int) -> bool:
    """Return whether a shard, which registers files, arrived at the content store since `mark`."""
    return any(request["path"].endswith("/v1/shards") for request in world.sandbox.hub.requests(mark))


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "COMMIT_RETRY", NO_WAIT)


@pytest.fixture
def repo(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubClient:
    """A client of an existing empty repo, with an empty hf_xet cache."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf_home"))
    repo = client(world)
    repo.create_repo()
    return repo


@pytest.fixture
def body(world: World) -> Body:
    """Return a function that generates a new file of the given size at each call."""
    rng = random.Random(world.bucket)
    return lambda size: rng.randbytes(size)
