"""Several chunks in one process, each with a run and a commit of its own."""

from typing import Any

import pytest
from dagster import AssetMaterialization, DagsterInstance
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from r2_hf_assets.asset_keys import COMMIT
from r2_hf_assets.cli.in_process import due_chunks, run_chunks
from r2_hf_assets.errors import ShardError
from r2_hf_assets.hub import build as build_module
from r2_hf_assets.shards.build import build_chunk
from r2_hf_assets.shards.record import Tally
from r2_hf_assets_tests.support.world import World, materializations


@pytest.fixture
def planned(in_process: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("EPISODES_PER_CHUNK", "1")
    in_process.upload(episodes={"en": 3}, awkward=False, expect=False, segments=(3, 3), seconds=(0.3, 0.4))
    assert in_process.scan() is None
    return in_process


def test_each_chunk_is_one_commit_and_each_build_is_passed_to_the_watcher(planned: World) -> None:
    rows: list[int] = []

    def watch(tally: Tally) -> None:
        rows.append(tally.rows)

    with DagsterInstance.get() as instance:
        chunks = due_chunks(instance)
        assert [run.error for run in run_chunks(instance, chunks, watch=watch)] == [None, None, None]
    assert rows == [3, 3, 3]
    assert len(planned.commits()) == 3
    assert planned.table().num_rows == 9
    assert len(materializations(planned, "parquet_shards")) == 3
    assert planned.due() == []


def test_a_failed_build_fails_its_own_run_only(planned: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(chunk: Any, *arguments: Any, **options: Any) -> Any:
        if chunk.number == 1:
            raise ShardError("this chunk fails")
        return build_chunk(chunk, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(build_module, "build_chunk", fails)
        assert [run.error for run in planned.build_due()] == [None, "this chunk fails", None]
    assert planned.due() == ["en|chunk_0001"]
    assert [run.error for run in planned.build_due()] == [None]
    assert planned.table().num_rows == 9


def test_a_chunk_committed_meanwhile_is_skipped(planned: World) -> None:
    with DagsterInstance.get() as instance:
        chunks = due_chunks(instance)
        tags = {DATA_VERSION_TAG: chunks[1].digest}
        instance.report_runless_asset_event(AssetMaterialization(COMMIT, partition="en|chunk_0001", tags=tags))
        results = list(run_chunks(instance, chunks, only_due=True))
    assert [(run.key, bool(run.run_id), run.error) for run in results] == [
        ("en|chunk_0000", True, None),
        ("en|chunk_0001", False, None),
        ("en|chunk_0002", True, None),
    ]
    assert len(materializations(planned, "parquet_shards")) == 2
