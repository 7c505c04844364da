"""Fixtures of the sensor tests."""

from collections.abc import Iterator

import pytest
from dagster import DagsterInstance

from r2_hf_assets.plan.chunks import ChunkManifest
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.settings import load
from r2_hf_assets_tests.sensors.ticks import KEYS, PlannedTicks
from r2_hf_assets_tests.support.build_samples import PREFIX


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    """An instance without ticks."""
    with DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch, tmp_path, instance: DagsterInstance) -> PlannedTicks:
    """Four planned chunks without partitions. Bucket and Hub are not used."""
    values = {
        "R2_ENDPOINT_URL": "http://127.0.0.1:9",
        "R2_ACCESS_KEY_ID": "a",
        "R2_SECRET_ACCESS_KEY": "b",
        "R2_BUCKET": "podcasts",
        "HF_REPO_ID": "me/speech",
        "HF_TOKEN": "t",
        "STATE_URL": str(tmp_path / "state"),
        "LANGUAGES": "",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings = load()
    plan = open_plan(settings.plan, settings.r2)
    plan.check_identity()
    ticks = PlannedTicks(instance)
    for key in KEYS:
        language, number = key.split("|")[0], int(key[-4:])
        chunk = ChunkManifest(language, number, PREFIX, (f"{language}/{number}",))
        assert plan.create(chunk)
        ticks.digests[key] = chunk.digest
    return ticks
