"""Concurrent scans: in every interleaving each episode is planned exactly once."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from obstore.store import LocalStore

from r2_hf_assets.languages import LANGUAGES
from r2_hf_assets.plan.chunks import ChunkManifest
from r2_hf_assets.plan.scan import ScanReport, ScanRules, scan
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets_tests.support.build_samples import NO_WAIT, PREFIX, put_folders
from r2_hf_assets_tests.support.store_gets import MemoryBucket

EPISODES = [f"{folder}/{n:03d}" for folder in ("en", "en-US", "eng") for n in range(19)]


def bucket_of(*episodes: str) -> MemoryBucket:
    store = MemoryBucket()
    put_folders(store, *episodes)
    return store


@pytest.fixture
def state(tmp_path) -> LocalStore:
    return LocalStore(tmp_path, mkdir=True)


def run_scan(bucket: MemoryBucket, state: LocalStore, size: int = 5) -> ScanReport:
    """Scan with a new PlanStore, like another process."""
    plan = PlanStore(state, "podcasts", PREFIX, NO_WAIT)
    return scan(bucket, plan, ScanRules(frozenset(LANGUAGES), size))


def planned(state: LocalStore) -> Counter[str]:
    plan = PlanStore(state, "podcasts", PREFIX, NO_WAIT)
    chunks = plan.read_many(chunk.name for chunk in plan.planned())
    return Counter(episode for chunk in chunks for episode in chunk.episodes)


@pytest.mark.parametrize("sizes", [(5, 5, 5, 5), (5, 3, 7, 100), (1, 1, 1, 1)])
def test_scans_in_threads_plan_every_episode_once(state, sizes):
    buckets = [bucket_of(*EPISODES), bucket_of(*EPISODES[::2]), bucket_of(*EPISODES[7:]), bucket_of(*EPISODES)]
    start = threading.Barrier(len(sizes))

    def run(bucket: MemoryBucket, size: int) -> ScanReport:
        start.wait(20)
        return run_scan(bucket, state, size)

    with ThreadPoolExecutor(len(sizes)) as pool:
        reports = list(pool.map(run, buckets, sizes))
    assert planned(state) == Counter(EPISODES)
    for report in reports:
        assert report.seen["en"] == report.already_planned["en"] + report.newly_planned["en"]
    assert run_scan(buckets[0], state).new_chunks == []


@pytest.fixture
def interleave(monkeypatch):
    """Runs `other` once, right before the `at`-th create of the scan under test."""

    def at_create(at: int, other) -> None:
        create = PlanStore.create
        calls = iter(range(10**6))

        def wrapped(plan: PlanStore, chunk: ChunkManifest) -> bool:
            if next(calls) == at:
                monkeypatch.setattr(PlanStore, "create", create)
                other()
            return create(plan, chunk)

        monkeypatch.setattr(PlanStore, "create", wrapped)

    return at_create


@pytest.mark.parametrize("at", [0, 1, 2, 5, 11])
@pytest.mark.parametrize("size", [3, 5, 8])
def test_a_complete_scan_right_before_a_create(state, interleave, at, size):
    """The other scan lists two more episodes and has another chunk size."""
    interleave(at, lambda: run_scan(bucket_of(*EPISODES, "en/000-new", "eng/zzz"), state, size))
    run_scan(bucket_of(*EPISODES), state, 5)
    assert planned(state) == Counter([*EPISODES, "en/000-new", "eng/zzz"])


def test_the_losing_scan_continues_behind_the_winner(state, interleave):
    interleave(0, lambda: run_scan(bucket_of("en/b", "en/d"), state, 2))
    report = run_scan(bucket_of("en/a", "en/b", "en/c", "en/d"), state, 3)
    plan = PlanStore(state, "podcasts", PREFIX, NO_WAIT)
    assert [chunk.episodes for chunk in plan.read_many([("en", 0), ("en", 1)])] == [("en/b", "en/d"), ("en/a", "en/c")]
    assert report.newly_planned == {"en": 2} and report.already_planned == {"en": 2}
    assert [chunk.number for chunk in report.new_chunks] == [1]


def test_a_scan_that_loses_every_chunk_plans_nothing(state, interleave):
    interleave(0, lambda: run_scan(bucket_of(*EPISODES, "eng/zzz"), state, 7))
    report = run_scan(bucket_of(*EPISODES), state, 5)
    assert (report.new_chunks, report.already_planned) == ([], {"en": len(EPISODES)})
    assert len(report.planned) == 9


def test_a_scan_that_loses_many_numbers_in_a_row_completes(state, monkeypatch):
    """Before every create of one scan another one creates the same number."""
    create = PlanStore.create
    rival = iter(EPISODES[::-1])

    def wrapped(plan: PlanStore, chunk: ChunkManifest) -> bool:
        if (episode := next(rival)) not in planned(state):
            assert create(plan, ChunkManifest("en", chunk.number, PREFIX, (episode,)))
        return create(plan, chunk)

    monkeypatch.setattr(PlanStore, "create", wrapped)
    run_scan(bucket_of(*EPISODES), state, 5)
    assert planned(state) == Counter(EPISODES)
