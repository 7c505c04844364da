"""Many chunks in one process: each a run of its own, the next one built while one is committed."""

import threading
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetMaterialization, DagsterInstance
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from r2_hf_assets.assets.launch import COMMIT, due_chunks, run_chunks
from r2_hf_assets.errors import ShardError
from r2_hf_assets.shards import ahead
from r2_hf_assets_tests.world import World, materializations


@pytest.fixture
def planned(in_process: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("EPISODES_PER_CHUNK", "1")
    in_process.upload(episodes={"en": 3}, awkward=False, expect=False, segments=(3, 3), seconds=(0.3, 0.4))
    assert in_process.scan() is None
    return in_process


@pytest.fixture
def built_by(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """Which thread built which chunk, in order."""
    real, seen = ahead.build_chunk, []

    def watched(chunk: Any, *arguments: Any, **options: Any) -> Any:
        seen.append((chunk.number, threading.current_thread().name))
        return real(chunk, *arguments, **options)

    monkeypatch.setattr(ahead, "build_chunk", watched)
    return seen


def test_the_next_chunk_is_built_ahead_and_each_is_one_commit(planned: World, built_by: list[tuple[int, str]]) -> None:
    assert [run.error for run in planned.build_due()] == [None, None, None]
    assert built_by == [(0, "MainThread"), (1, "build-ahead"), (2, "build-ahead")]
    assert len(planned.commits()) == 3
    assert planned.table().num_rows == 9
    assert len(materializations(planned, "parquet_shards")) == 3
    assert planned.due() == []
    assert _left_in_building(planned) == []


def test_a_build_that_fails_ahead_fails_its_own_run_and_no_other(
    planned: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ahead.build_chunk

    def fails(chunk: Any, *arguments: Any, **options: Any) -> Any:
        if chunk.number == 1:
            raise ShardError("no luck with this one")
        return real(chunk, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(ahead, "build_chunk", fails)
        assert [run.error for run in planned.build_due()] == [None, "no luck with this one", None]
    assert planned.due() == ["en|chunk_0001"]
    assert [run.error for run in planned.build_due()] == [None]
    assert planned.table().num_rows == 9
    assert _left_in_building(planned) == []


def test_a_range_leaves_out_what_somebody_else_has_committed_meanwhile(
    planned: World, monkeypatch: pytest.MonkeyPatch, built_by: list[tuple[int, str]]
) -> None:
    monkeypatch.setenv("CHUNKS_PER_COMMIT", "3")
    with DagsterInstance.get() as instance:
        chunks = due_chunks(instance)
        tags = {DATA_VERSION_TAG: chunks[1].digest}
        instance.report_runless_asset_event(AssetMaterialization(COMMIT, partition="en|chunk_0001", tags=tags))
        done = list(run_chunks(instance, chunks, only_due=True))
    assert [(one.key, bool(one.run_id), one.error) for one in done] == [
        ("en|chunk_0001", False, None),
        ("en|chunk_0000", True, None),
        ("en|chunk_0002", True, None),
    ]
    assert sorted(number for number, _ in built_by) == [0, 2]
    assert len({one.run_id for one in done}) == 3, "a run of a range takes no cell in between"


def _left_in_building(world: World) -> list[Path]:
    return [path for path in world.folder.rglob(".building/*")]
