"""Amendments with errors of the state store, damaged files and concurrent calls: each is in the log once."""

import json
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import obstore
import pytest
from obstore.store import MemoryStore

from r2_hf_assets.amend.remove import remove
from r2_hf_assets.bucket import client, transfers
from r2_hf_assets.bucket.client import open_store
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.errors import PlanError, RetriesExhausted
from r2_hf_assets.plan.amendments import REMOVE, Target
from r2_hf_assets.plan.chunks import Name
from r2_hf_assets.plan.scan import ScanRules, scan
from r2_hf_assets.plan.store import PlanStore, open_plan
from r2_hf_assets.settings import load
from r2_hf_assets_tests.support.build_samples import NO_WAIT, PREFIX, chunk_of, put_folders
from r2_hf_assets_tests.support.world import World
from r2_hf_sandbox.s3.faults import FOR_EVER, S3Fault

NOW = datetime(2026, 11, 29, tzinfo=UTC)
ENTRY, CACHE = "/state/plan/amendment_0000", r"/state/plan/amendments\.json"
SLOW_S = 2.0  # longer than a scan of four episodes, or a removal
LOST: dict[str, dict[str, Any]] = {"reset": {"kind": "reset"}, "503": {"status": 503, "code": "SlowDown"}}


def target(name: str) -> Target:
    return Target(f"en/{name}", ("en", 0))


@pytest.fixture
def plan(world: World, r2: Any) -> PlanStore:
    """A plan of one chunk on S3, through the proxy."""
    plan = PlanStore(open_store(f"s3://{world.bucket}/state", r2), r2.name, PREFIX)
    plan.check_identity()
    plan.create(chunk_of("en/a", "en/b", number=0))
    return plan


def episodes(plan: PlanStore) -> list[str]:
    log = plan.amendments()
    assert [entry.number for entry in log] == [*range(len(log))]
    return [one.episode for entry in log for one in entry.targets]


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("response", LOST)
@pytest.mark.parametrize("path", [ENTRY, CACHE], ids=["entry", "cache"])
def test_an_amendment_whose_response_was_lost_is_there_once(plan, proxy, path, response, times):
    proxy.inject(S3Fault(path, method="PUT", after=True, times=times, **LOST[response]))
    assert plan.amend(REMOVE, [target("a")], "private", NOW).number == 0
    assert episodes(plan) == ["en/a"]
    assert plan.amend(REMOVE, [target("b")], "private", NOW).number == 1
    assert episodes(plan) == ["en/a", "en/b"]


@pytest.mark.parametrize("path", [ENTRY, CACHE], ids=["entry", "cache"])
def test_a_store_that_fails_after_the_entry_is_stored(plan, proxy, path):
    """The error is one line, the entry counts, and the next one has the next number."""
    proxy.inject(S3Fault(path, "reset", method="PUT", after=path == ENTRY, times=FOR_EVER))
    with pytest.raises(RetriesExhausted) as caught:
        plan.amend(REMOVE, [target("a")], "private", NOW)
    assert "\n" not in str(caught.value) and caught.value.transient
    proxy.clear()
    before = chunk_of("en/a", "en/b", number=0).digest
    assert episodes(plan) == ["en/a"]
    assert plan.planned()[0].digest == plan.find("en", 0).digest != before
    assert plan.amend(REMOVE, [target("b")], "private", NOW).number == 1
    assert episodes(plan) == ["en/a", "en/b"]


def test_a_store_that_fails_before_the_entry_is_stored(plan, proxy):
    proxy.inject(S3Fault(ENTRY, method="PUT", times=FOR_EVER, **LOST["503"]))
    with pytest.raises(RetriesExhausted, match="HTTP 503 SlowDown"):
        plan.amend(REMOVE, [target("a")], "private", NOW)
    proxy.clear()
    assert episodes(plan) == []


def test_amendments_at_once_have_different_numbers(plan):
    names = "abcdefgh"
    start = threading.Barrier(len(names))

    def amend(name: str) -> int:
        start.wait(20)
        return plan.amend(REMOVE, [target(name)], "private", NOW).number

    with ThreadPoolExecutor(len(names)) as pool:
        numbers = list(pool.map(amend, names))
    assert sorted(numbers) == [*range(len(names))]
    assert episodes(plan) == [f"en/{names[numbers.index(n)]}" for n in range(len(names))]
    obstore.delete(plan.store, "plan/amendments.json")
    assert sorted(episodes(plan)) == [f"en/{name}" for name in names], "each has a file of its own"


@pytest.fixture
def local() -> PlanStore:
    """A plan in memory, with two amendments."""
    plan = PlanStore(MemoryStore(), "podcasts", PREFIX, NO_WAIT)
    plan.check_identity()
    plan.create(chunk_of("en/a", "en/b", number=0))
    for name in "ab":
        plan.amend(REMOVE, [target(name)], "private", NOW)
    return plan


ROOT = {"version": 1, "n": 0, "kind": "remove", "targets": [], "reason": "", "at": "2026"}
TARGETS: list[Any] = [["x"], [7], 7, [{}]]
DAMAGED_CACHES = [b"", b"{", b"null", b"7", b"\xff", b"[7]", b'{"n": 0}', b'["x"]', b'[{"version": 1}]', b"[" * 100_000]
DAMAGED_CACHES += [json.dumps([ROOT | {"targets": value}]).encode() for value in TARGETS]


@pytest.mark.parametrize("data", DAMAGED_CACHES, ids=lambda data: data[:40].decode("latin-1"))
def test_a_damaged_cache_is_read_from_the_entries(local, data):
    digest = local.find("en", 0).digest
    obstore.put(local.store, "plan/amendments.json", data)
    assert episodes(local) == ["en/a", "en/b"]
    assert local.find("en", 0).digest == local.planned()[0].digest == digest
    assert local.amend(REMOVE, [target("c")], "private", NOW).number == 2
    assert len(json.loads(bytes(obstore.get(local.store, "plan/amendments.json").bytes()))) == 3


DAMAGED = [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b"{}"]
TARGETS += [[{"episode": "en/a", "chunk": value}] for value in (["en"], ["en", "x"], 7)]
CHANGES: list[dict[str, Any]] = [{"n": 1}, {"version": 2}, {"kind": "other"}, *({"targets": one} for one in TARGETS)]
DAMAGED += [json.dumps(ROOT | changes).encode() for changes in CHANGES]


@pytest.mark.parametrize("data", DAMAGED, ids=lambda data: data[:70].decode("latin-1"))
def test_a_damaged_amendment_is_one_line(local, data):
    obstore.put(local.store, "plan/amendment_0000.json", data)
    obstore.delete(local.store, "plan/amendments.json")
    for read in (local.amendments, local.planned, lambda: local.find("en", 0)):
        with pytest.raises(PlanError, match=r"amendment.0+(\.json)? is damaged") as caught:
            read()
        assert "\n" not in str(caught.value)


SLOW = {"amendment": ENTRY, "chunk": "/state/plan/en/chunk_0000", "cache": CACHE, "folder": "list-type=2.*processed"}


@pytest.mark.parametrize("slow", SLOW)
def test_a_removal_during_a_scan_leaves_no_build_with_the_episode_planned(faulty, proxy, monkeypatch, slow):
    """The episode is not planned when both begin, and one of their requests is slow. A build reads the plan meanwhile.

    Whichever wins: a build that has the episode is of a digest that is not planned any more, so its commit is refused.
    """
    put_folders(faulty.store(), *(f"en/{number}" for number in range(4)))
    monkeypatch.setenv("STATE_URL", f"s3://{faulty.bucket}/state")
    settings = load()
    plan = open_plan(settings.plan, settings.r2)
    plan.check_identity()
    plan.ensure_id()
    for module in (client, transfers):
        monkeypatch.setattr(module, "READ_TIMEOUT_S", 4 * SLOW_S)
    method = "GET" if slow == "folder" else "PUT"
    proxy.inject(S3Fault(SLOW[slow], "delay", method=method, delay_s=SLOW_S))
    builds: set[tuple[Name, str]] = set()
    ended = threading.Event()

    def build() -> None:
        while not ended.wait(0.01):
            for number in range(2):
                chunk = plan.find("en", number)
                if chunk and "en/1" in chunk.episodes and not chunk.removals.has_episode("en/1"):
                    builds.add((chunk.name, chunk.digest))

    rules = ScanRules(frozenset({"en"}), episodes_per_chunk=2)
    calls: list[Callable[[], Any]] = [
        lambda: remove(settings, ["en/1"], "private"),
        lambda: scan(Bucket(settings.r2), plan, rules),
    ]
    first, second = calls if slow in ("amendment", "cache") else reversed(calls)
    with ThreadPoolExecutor(3) as pool:
        building = pool.submit(build)
        begun = pool.submit(first)
        while not begun.done() and not any(
            sent == method and re.search(SLOW[slow], path) for sent, path in proxy.requests
        ):
            time.sleep(0.01)
        errors = [future.exception() for future in (begun, pool.submit(second))]
        ended.set()
        building.result()
    assert errors == [None, None]
    assert bool(builds) or slow != "amendment", "it was built before it was removed"
    for name, digest in builds:
        found = plan.find(*name)
        assert found is not None and found.digest != digest
    for ref in plan.planned():
        chunk = plan.find(*ref.name)
        assert chunk is not None and chunk.ref == ref
        assert "en/1" not in chunk.episodes or chunk.removals.has_episode("en/1")
    assert scan(Bucket(settings.r2), plan, rules).new_chunks == []
