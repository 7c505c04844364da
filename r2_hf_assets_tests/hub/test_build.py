"""A chunk built into the Hub's content store: once more after a failed transfer, never after a failed check."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from r2_hf_assets.errors import RetriesExhausted, StillUploading
from r2_hf_assets.hub.build import CheckFailed, build_on_hub
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.commit import commit_chunk
from r2_hf_assets.plan.chunks import ChunkManifest
from r2_hf_assets.retry import STREAM_RETRY
from r2_hf_assets.settings import BucketSettings
from r2_hf_assets.shards.build import LEDGER, Build
from r2_hf_assets.shards.writer import PartWriter
from r2_hf_assets_tests.hub.conftest import registered
from r2_hf_assets_tests.hub.uploads import CLAIM
from r2_hf_assets_tests.support.build_samples import PLAN_ID, audio, chunk_of, limits, put_episode
from r2_hf_assets_tests.support.world import World

SIZE = 20_000


@pytest.fixture
def chunk(world: World) -> ChunkManifest:
    """Two episodes that no other test uploads: stored content is not sent again."""
    return chunk_of(f"en/a-{world.bucket}", f"en/b-{world.bucket}")


Source = tuple[BucketSettings, HubClient]


@pytest.fixture
def source(world: World, repo: HubClient, chunk: ChunkManifest) -> Source:
    """A bucket with three segments in each episode, and an empty repo."""
    for episode in chunk.episodes:
        put_episode(world.store(), episode, size=SIZE)
    s3 = world.sandbox.s3
    return BucketSettings(s3.endpoint_url, s3.access_key, s3.secret_key, world.bucket, workers=4), repo


@pytest.fixture(autouse=True)
def short_xet_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_XET_CLIENT_RETRY_MAX_ATTEMPTS", "2")
    monkeypatch.setenv("HF_XET_CLIENT_RETRY_BASE_DELAY", "5ms")


def build(chunk: ChunkManifest, source: Source, folder: Path, log: list[str], **changes: Any) -> Build:
    settings = limits(folder, max_bytes=100_000, rowgroup_bytes=30_000, **changes)
    source[1].log = log.append
    return build_on_hub(chunk, *source, settings, plan_id=PLAN_ID)


def test_a_built_chunk_is_committed_without_a_local_file(
    world: World, chunk: ChunkManifest, source: Source, tmp_path: Path
) -> None:
    log: list[str] = []
    built = build(chunk, source, tmp_path, log)
    assert len(built.record.files) > 1 and log == []
    assert built.record.verdicts[LEDGER].passed and len(built.record.verdicts) > 1
    assert world.files() == [] and not (tmp_path / "scratch").exists()
    assert commit_chunk(source[1], built.record, CLAIM).committed
    rows = world.table().to_pylist()
    assert [row["audio"]["bytes"] for row in rows] == [audio(e, n, SIZE) for e in chunk.episodes for n in range(3)]
    index = world.index_rows()
    assert [line["key"] for line in index] == [row["audio"]["path"] for row in rows]
    assert [*dict.fromkeys(line["file"] for line in index)] == world.files()


@pytest.mark.parametrize("route", ["/v1/xorbs/", "/v1/shards$"])
def test_after_a_failed_transfer_a_second_build_has_the_same_result(
    world: World, chunk: ChunkManifest, source: Source, tmp_path: Path, route: str
) -> None:
    log: list[str] = []
    world.sandbox.hub.inject({"path_regex": route, "status": 503, "times": 4})
    built = build(chunk, source, tmp_path, log)
    assert log and all(text.startswith(f"upload to {world.repo_id}: the transfer failed") for text in log)
    again = build(chunk, source, tmp_path, log)
    assert built.record == replace(again.record, verdicts=built.record.verdicts)


def test_a_transfer_that_always_fails_exhausts_the_retries(
    world: World, chunk: ChunkManifest, source: Source, tmp_path: Path
) -> None:
    world.sandbox.hub.inject({"path_regex": "/v1/xorbs/", "drop": True, "times": 1000})
    with pytest.raises(
        RetriesExhausted, match=f"^upload to {world.repo_id}: .* after {STREAM_RETRY.attempts} attempts"
    ):
        build(chunk, source, tmp_path, [])


def test_a_failed_ledger_check_registers_nothing_and_is_not_retried(
    world: World, chunk: ChunkManifest, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = PartWriter.write
    monkeypatch.setattr(PartWriter, "write", lambda self, table, size: real(self, table.slice(1), size))
    log: list[str] = []
    mark = world.sandbox.hub.mark()
    with pytest.raises(CheckFailed, match=r"^the ledger check failed: .*; not recorded$") as failed:
        build(chunk, source, tmp_path, log)
    assert not failed.value.transient and not failed.value.verdicts[LEDGER].passed
    assert log == [] and not registered(world, mark)


def test_an_episode_that_is_still_uploading_aborts_the_upload(
    world: World, chunk: ChunkManifest, source: Source, tmp_path: Path
) -> None:
    put_episode(world.store(), chunk.episodes[1], 4, size=SIZE, without=[3])
    mark, log = world.sandbox.hub.mark(), list[str]()
    with pytest.raises(StillUploading):
        build(chunk, source, tmp_path, log, settle_minutes=15.0)
    assert log == [] and not registered(world, mark)
