"""A chunk built straight into the Hub's content store: again when its transfer breaks off, never when it is wrong."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from r2_hf_assets.errors import RetriesExhausted, StillUploading
from r2_hf_assets.hub.build import CheckFailed, build_on_hub
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.commit import commit_chunk
from r2_hf_assets.hub.ownership import Claim
from r2_hf_assets.plan.chunks import ChunkManifest
from r2_hf_assets.retry import STREAM_RETRY
from r2_hf_assets.settings import BucketSettings
from r2_hf_assets.shards.build import LEDGER, Build
from r2_hf_assets.shards.rowgroup import RowGroup
from r2_hf_assets_tests.support.build_samples import audio, chunk_of, limits, put_episode
from r2_hf_assets_tests.support.world import World

SIZE = 20_000


@pytest.fixture
def chunk(world: World) -> ChunkManifest:
    """Two episodes of this test's own: what another test has uploaded is not sent again."""
    return chunk_of(f"en/a-{world.bucket}", f"en/b-{world.bucket}")


Line = tuple[BucketSettings, HubClient]


@pytest.fixture
def line(world: World, repo: HubClient, chunk: ChunkManifest) -> Line:
    """Three segments in each episode, and a repo that is there and empty."""
    for episode in chunk.episodes:
        put_episode(world.store(), episode, size=SIZE)
    s3 = world.sandbox.s3
    return BucketSettings(s3.endpoint_url, s3.access_key, s3.secret_key, world.bucket, workers=4), repo


@pytest.fixture(autouse=True)
def brief_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """hf_xet's own tries within each of ours."""
    monkeypatch.setenv("HF_XET_CLIENT_RETRY_MAX_ATTEMPTS", "2")
    monkeypatch.setenv("HF_XET_CLIENT_RETRY_BASE_DELAY", "5ms")


def build(chunk: ChunkManifest, line: Line, folder: Path, said: list[str], **changes: Any) -> Build:
    settings = limits(folder, max_bytes=100_000, rowgroup_bytes=30_000, **changes)
    line[1].log = said.append
    return build_on_hub(chunk, *line, settings)


def registered(world: World, mark: int) -> int:
    """How often a shard, which makes files of what was sent, was taken in since then."""
    asked = world.sandbox.hub.requests(mark)
    return sum(request["path"].endswith("/v1/shards") and request["status"] == 200 for request in asked)


def test_what_was_built_is_committed_without_a_local_file(
    world: World, chunk: ChunkManifest, line: Line, tmp_path: Path
) -> None:
    said: list[str] = []
    made = build(chunk, line, tmp_path, said)
    assert len(made.record.files) > 1 and said == []
    assert made.record.verdicts[LEDGER].passed and len(made.record.verdicts) > 1
    assert world.files() == [] and not (tmp_path / "scratch").exists()
    assert commit_chunk(line[1], made.record, Claim("0" * 32, lambda _: {})).committed
    rows = world.table().to_pylist()
    assert [row["audio"]["bytes"] for row in rows] == [audio(e, n, SIZE) for e in chunk.episodes for n in range(3)]


@pytest.mark.parametrize("route", ["/v1/xorbs/", "/v1/shards$"])
def test_a_transfer_that_breaks_off_is_made_again_with_the_same_result(
    world: World, chunk: ChunkManifest, line: Line, tmp_path: Path, route: str
) -> None:
    said: list[str] = []
    world.sandbox.hub.inject({"path_regex": route, "status": 503, "times": 4})
    made = build(chunk, line, tmp_path, said)
    assert said and all(text.startswith(f"upload to {world.repo_id}: the transfer broke off") for text in said)
    again = build(chunk, line, tmp_path, said)
    assert made.record == replace(again.record, verdicts=made.record.verdicts)


def test_a_transfer_that_breaks_off_for_ever_is_given_up(
    world: World, chunk: ChunkManifest, line: Line, tmp_path: Path
) -> None:
    world.sandbox.hub.inject({"path_regex": "/v1/xorbs/", "drop": True, "times": 1000})
    with pytest.raises(RetriesExhausted, match=f"^upload to {world.repo_id}: .* after {STREAM_RETRY.attempts} tries"):
        build(chunk, line, tmp_path, [])
    world.sandbox.hub.clear_faults()


def test_a_build_that_fails_its_ledger_check_registers_nothing_and_is_not_made_again(
    world: World, chunk: ChunkManifest, line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = RowGroup.to_table
    monkeypatch.setattr(RowGroup, "to_table", lambda self: real(self).slice(1))
    said: list[str] = []
    mark = world.sandbox.hub.mark()
    with pytest.raises(CheckFailed, match=r"^the ledger check failed: .*; not recorded$") as failed:
        build(chunk, line, tmp_path, said)
    assert not failed.value.transient and not failed.value.verdicts[LEDGER].passed
    assert said == [] and registered(world, mark) == 0


def test_an_episode_that_is_still_uploading_ends_the_upload(
    world: World, chunk: ChunkManifest, line: Line, tmp_path: Path
) -> None:
    put_episode(world.store(), chunk.episodes[1], 4, size=SIZE, without=[3])
    mark, said = world.sandbox.hub.mark(), list[str]()
    with pytest.raises(StillUploading):
        build(chunk, line, tmp_path, said, settle_minutes=15.0)
    assert said == [] and registered(world, mark) == 0
