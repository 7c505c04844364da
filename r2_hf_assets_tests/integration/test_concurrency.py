"""Concurrent runs: two scans, two runs of one partition, eight commits, each at the same moment."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from huggingface_hub.errors import RepositoryNotFoundError

from r2_hf_assets.hub.build import build_on_hub
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.commit import CommitRecord, commit_chunk, prepare_repo
from r2_hf_assets.hub.ownership import Claim
from r2_hf_assets.plan.chunks import ChunkManifest
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.settings import load, load_for_scan
from r2_hf_assets.shards.record import BuildRecord
from r2_hf_assets_tests.integration.commands import BOTH, MATERIALIZE, PATIENCE_S, command, go, log
from r2_hf_assets_tests.support.world import World, materializations
from r2_hf_sandbox.s3.faults import FOR_EVER, S3Fault, S3Faults

SMALL = {"segments": (2, 3), "seconds": (0.3, 0.4)}


def test_two_scans_plan_every_episode_once(in_process: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """They cut chunks of different sizes, and PUTs of the plan are slow, so that the scans race."""
    world = in_process
    world.upload(episodes={"en": 12, "de": 7}, segments=(1, 1), seconds=(0.2, 0.3), expect=False)
    # Makes the tables of the new home: of two commands that make them at once one fails.
    assert materializations(world, "work_plan") == []
    with S3Faults(world.sandbox.s3.endpoint_url) as proxy:
        proxy.inject(S3Fault("/plan/", "delay", method="PUT", delay_s=0.3, times=FOR_EVER))
        world.env |= {"R2_ENDPOINT_URL": proxy.endpoint_url, "STATE_URL": f"s3://{world.bucket}/plan"}
        scan = (*MATERIALIZE, "work_plan")
        with command(world, *scan) as one, command(world, *scan, EPISODES_PER_CHUNK="4") as two:
            go([one, two])
            assert [one.wait(PATIENCE_S), two.wait(PATIENCE_S)] == [0, 0], log(world)
    monkeypatch.setenv("STATE_URL", world.env["STATE_URL"])
    settings = load_for_scan()
    plan = open_plan(settings.plan, settings.r2)
    chunks = list(plan.read_many([chunk.name for chunk in plan.planned()]))
    planned = Counter(episode for chunk in chunks for episode in chunk.episodes)
    assert set(planned.values()) == {1} and len(planned) == 19
    assert sorted(world.due()) == sorted(f"{chunk.language}|chunk_{chunk.number:04d}" for chunk in chunks)
    # A chunk that both cut alike is counted by both: it looks like an own PUT whose response was lost.
    assert sum(scan["episodes_newly_planned"] for scan in materializations(world, "work_plan")) >= 19


def test_two_runs_of_one_partition_make_one_commit(in_process: World) -> None:
    """The Hub is slow, so that the second commit is requested while the first is in flight."""
    world = in_process
    summary = world.upload(episodes={"en": 2}, **SMALL)
    assert world.scan() is None
    slow = {"method": "POST", "path_regex": f"{world.repo_id}/commit/", "delay_s": 2.0, "times": 2}
    world.sandbox.hub.inject(slow)
    key = "en|chunk_0000"
    with command(world, *BOTH, key) as one, command(world, *BOTH, key) as two:
        go([one, two])
        assert [one.wait(PATIENCE_S), two.wait(PATIENCE_S)] == [0, 0], log(world)
    world.sandbox.hub.clear_faults()
    assert len(world.commits()) == 1
    assert world.row_keys() == sorted(row.key for row in summary.rows)
    committed = [commit["committed"] for commit in materializations(world, "hub_commit", key)]
    assert sorted(committed) == [False, True]
    home = world.folder / "dagster_home" / "r2_hf_assets"
    assert [path.name for path in home.rglob("*.parquet")] == [], "nothing is staged"


def test_eight_commits_at_once_lose_nothing(in_process: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight clients and eight chunks, to a repo that does not exist yet."""
    world = in_process
    monkeypatch.setenv("EPISODES_PER_CHUNK", "1")
    summary = world.upload(episodes={"en": 5, "de": 3}, **SMALL)
    assert world.scan() is None
    with pytest.raises(RepositoryNotFoundError):
        world.head()
    settings = load()
    hub = settings.hub
    plan, r2, repo = open_plan(settings.plan, settings.r2), settings.r2, HubClient(hub)
    chunks = list(plan.read_many([chunk.name for chunk in plan.planned()]))
    together = threading.Barrier(len(chunks))
    claim = Claim(plan.ensure_id(), lambda _: {}, lambda *_: True)

    def check(_: ChunkManifest) -> None:
        together.wait(60)
        prepare_repo(HubClient(hub), claim)

    def commit(record: BuildRecord) -> CommitRecord:
        client = HubClient(hub)
        together.wait(60)
        return commit_chunk(client, record, claim)

    with ThreadPoolExecutor(len(chunks)) as pool:
        list(pool.map(check, chunks))
        records = [build_on_hub(chunk, r2, repo, settings.shards, plan_id=claim.plan_id).record for chunk in chunks]
        done = list(pool.map(commit, records))
    assert len(records) == 8 and len(world.commits()) == 8
    assert len({commit.oid for commit in done}) == 8 and all(commit.committed for commit in done)
    assert world.row_keys() == sorted(row.key for row in summary.rows)
