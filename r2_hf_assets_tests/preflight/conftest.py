"""What these tests look at: the bucket of a world, and an endpoint that is silent."""

import socket
from collections.abc import Iterator

import pytest

from r2_hf_assets.preflight import bucket, hub
from r2_hf_assets.settings import BucketSettings, load
from r2_hf_assets_tests.support.world import World


@pytest.fixture
def r2(world: World) -> BucketSettings:
    settings = load(world.env).r2
    assert settings is not None
    return settings


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An endpoint that takes connections and never answers; requests time out soon."""
    for module in (bucket, hub):
        monkeypatch.setattr(module, "PATIENCE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
