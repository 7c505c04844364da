"""parquet_shards uploads during the build: required settings, files on disk, and KEEP_SHARDS."""

import hashlib
from pathlib import Path

import pytest
from dagster import DagsterInstance

from r2_hf_assets.asset_keys import SHARDS
from r2_hf_assets.cli.in_process import execute
from r2_hf_assets.partitions import partition_key
from r2_hf_assets_tests.support.world import World, materializations

KEY = "en|chunk_0000"


@pytest.fixture
def planned(in_process: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """One planned chunk of several parts."""
    monkeypatch.setenv("PARQUET_MAX_BYTES", "150000")
    monkeypatch.setenv("PARQUET_ROWGROUP_BYTES", "60000")
    in_process.upload(episodes={"en": 3}, awkward=False)
    assert in_process.scan() is None
    return in_process


def parquet_files(world: World) -> dict[str, str]:
    """SHA-256 by path in DAGSTER_HOME."""
    home = world.folder / "dagster_home" / "r2_hf_assets"
    return {str(path.relative_to(home)): sha256(path) for path in home.rglob("*") if path.suffix == ".parquet"}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_build_is_uploaded_but_not_visible_and_leaves_no_file_on_disk(planned: World) -> None:
    with DagsterInstance.get() as instance:
        assert execute(instance, [SHARDS], partition_key("en", 0)).success
    assert planned.files() == []
    assert parquet_files(planned) == {}
    (built,) = materializations(planned, "parquet_shards", KEY)
    names = [file["file"] for file in built["files"]]
    *parts, index = names
    assert len(parts) > 1 and parts == [f"data/en/chunk-00000-part-{n:02d}.parquet" for n in range(len(parts))]
    assert index == built["index"] == "metadata/en/chunk-00000.parquet" and planned.indexes() == []
    assert planned.build(KEY) is None
    assert planned.files() == parts and planned.indexes() == [index]
    assert parquet_files(planned) == {}


def test_keep_shards_keeps_the_files_of_the_latest_build(planned: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEP_SHARDS", "1")
    assert planned.build(KEY) is None
    on_hub = {file["file"]: file["sha256"] for file in materializations(planned, "hub_commit", KEY)[0]["files"]}
    assert len(on_hub) > 1
    kept = {path.replace("data/", "shards/"): sha256 for path, sha256 in on_hub.items() if path.startswith("data/")}
    kept["shards/en/chunk-00000.index.parquet"] = on_hub["metadata/en/chunk-00000.parquet"]
    assert parquet_files(planned) == kept
    monkeypatch.delenv("PARQUET_MAX_BYTES")
    assert planned.build(KEY) is None
    assert planned.files() == ["data/en/chunk-00000.parquet"]
    kept_names = ["shards/en/chunk-00000.index.parquet", "shards/en/chunk-00000.parquet"]
    assert sorted(parquet_files(planned)) == kept_names, "the earlier build's parts are deleted"


def test_a_build_requires_the_hub_settings(planned: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    error = planned.build(KEY)
    assert error is not None and error.startswith("settings: not set: HF_TOKEN ")
