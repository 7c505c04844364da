"""Fixtures of the preflight tests: a world's bucket, and a silent endpoint."""

import socket
from collections.abc import Iterator

import pytest

from r2_hf_assets.preflight import Finding, bucket, hub
from r2_hf_assets.settings import BucketSettings, load
from r2_hf_assets_tests.support.world import World


def levels(findings: list[Finding]) -> dict[str, str]:
    return {finding.name: finding.level for finding in findings}


@pytest.fixture
def r2(world: World) -> BucketSettings:
    settings = load(world.env).r2
    assert settings is not None
    return settings


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An endpoint that accepts connections and never responds; requests time out soon."""
    for module in (bucket, hub):
        monkeypatch.setattr(module, "PATIENCE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
