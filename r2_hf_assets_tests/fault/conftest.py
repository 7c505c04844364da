"""Fixtures for injected errors: the S3 proxy, a world behind it, a Hub, and retries of a second or two."""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from r2_hf_assets import retry
from r2_hf_assets.bucket import client, curl, pages, transfers
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.retry import Retry
from r2_hf_assets.settings import BucketSettings
from r2_hf_assets_tests.fault.hub_case import PART_BYTES, HubCase
from r2_hf_assets_tests.support.world import World
from r2_hf_sandbox.hub.server import HubServer, start_hub
from r2_hf_sandbox.s3.faults import S3Faults
from r2_hf_sandbox.sandbox import Sandbox

TRIES = 7
INNER_TRIES = 2  # of object_store, within each attempt of the product
READ_TIMEOUT_S = 0.3


@pytest.fixture(autouse=True)
def short_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the retries of the product and its libraries, but shorten them to a second or two."""
    milliseconds = {"init_backoff": timedelta(milliseconds=1), "max_backoff": timedelta(milliseconds=5), "base": 2}
    inner = {"max_retries": INNER_TRIES - 1, "retry_timeout": timedelta(seconds=20), "backoff": milliseconds}
    monkeypatch.setattr(client, "OBSTORE_RETRIES", inner)
    for module in (client, curl):
        monkeypatch.setattr(module, "CONNECT_TIMEOUT_S", 2)
    for module in (client, transfers):
        monkeypatch.setattr(module, "READ_TIMEOUT_S", READ_TIMEOUT_S)
    short = Retry(attempts=TRIES, base=0.005, cap=0.02, quota_limit=0.1)
    monkeypatch.setattr(pages, "FIRST_REQUEST", short)
    monkeypatch.setattr(retry, "DEFAULT", short)
    monkeypatch.setattr(retry, "COMMIT_RETRY", short)
    from huggingface_hub.utils import _http, _xet

    # http_backoff makes 6 attempts with waits of 1 to 8 s in between.
    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=lambda seconds: time.sleep(seconds / 1000)))
    # hf_xet reads these when its session is created.
    monkeypatch.setenv("HF_XET_CLIENT_RETRY_MAX_ATTEMPTS", "2")
    monkeypatch.setenv("HF_XET_CLIENT_RETRY_BASE_DELAY", "5ms")
    monkeypatch.setattr(_xet, "_GLOBAL_XET_HOLDER", _xet.XetSessionHolder())


@pytest.fixture
def proxy(sandbox: Sandbox) -> Iterator[S3Faults]:
    """A fault proxy in front of the sandbox's S3 server."""
    with S3Faults(sandbox.s3.endpoint_url) as running:
        yield running


@pytest.fixture
def faulty(in_process: World, proxy: S3Faults, monkeypatch: pytest.MonkeyPatch) -> World:
    """The world, with the proxy between the product and the bucket, but not between the test and the bucket."""
    monkeypatch.setenv("R2_ENDPOINT_URL", proxy.endpoint_url)
    return in_process


@pytest.fixture
def r2(world: World, proxy: S3Faults) -> BucketSettings:
    """The world's bucket, through the proxy."""
    s3 = world.sandbox.s3
    return BucketSettings(proxy.endpoint_url, s3.access_key, s3.secret_key, world.bucket, workers=8)


@pytest.fixture
def store(r2: BucketSettings) -> Bucket:
    """The product's client of the bucket, through the proxy."""
    return Bucket(r2)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """A Hub for several cases, each with its own repo."""
    with start_hub(tmp_path_factory.mktemp("hub"), lfs_part_bytes=PART_BYTES) as running:
        yield running


@pytest.fixture
def case(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[HubCase]:
    """A chunk to commit, over LFS when the parameter `route` begins with "LFS"."""
    from huggingface_hub import constants

    name = request.node.callspec.params.get("route", "Xet") if hasattr(request.node, "callspec") else "Xet"
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", name.startswith("LFS"))
    yield HubCase.make(hub, tmp_path)
    hub.clear_faults()
