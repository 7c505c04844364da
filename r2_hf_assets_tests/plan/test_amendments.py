"""The log of amendments: exclusive numbers, a cache that may be damaged, digests, and what a scan does with it."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import obstore
import pytest
from obstore.store import MemoryStore

from r2_hf_assets.errors import PlanError
from r2_hf_assets.plan.amendments import (
    REFRESH,
    REMOVE,
    Amendment,
    Target,
    amended_digest,
    as_json,
    decode,
    removals_of,
)
from r2_hf_assets.plan.scan import amend_planned
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets_tests.support.build_samples import NO_WAIT, PREFIX, chunk_of

NOW = datetime(2026, 11, 29, 6, 0, tzinfo=UTC)
EN0 = ("en", 0)
A, B = Target("en/a", EN0), Target("en/b", EN0)


@pytest.fixture
def plan() -> PlanStore:
    store = PlanStore(MemoryStore(), "podcasts", PREFIX, NO_WAIT)
    store.check_identity()
    for number, episodes in enumerate((("en/a", "en/b"), ("en/c",))):
        assert store.create(chunk_of(*episodes, number=number))
    return store


def put(plan: PlanStore, path: str, data: bytes) -> None:
    obstore.put(plan.store, path, data)


def entry(*targets: Target, number: int = 0, kind: str = REMOVE, reason: str = "r") -> Amendment:
    return Amendment(number, kind, targets, reason, NOW.isoformat())


def test_the_log_keeps_every_entry_in_order(plan: PlanStore) -> None:
    assert plan.amendments() == []
    first = plan.amend(REMOVE, [A, Target("en/z")], "takedown", NOW)
    second = plan.amend(REFRESH, [Target("en/c", ("en", 1))], "changed", NOW + timedelta(days=1))
    assert (first.number, second.number) == (0, 1)
    assert plan.amendments() == [first, second]


def test_concurrent_entries_get_different_numbers(plan: PlanStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: plan.amend(REMOVE, [Target(f"en/{n}")], "r", NOW), range(24)))
    assert sorted(one.number for one in made) == list(range(24))
    assert sorted(target.episode for one in plan.amendments() for target in one.targets) == sorted(
        f"en/{n}" for n in range(24)
    )


@pytest.mark.parametrize("cache", [b"", b"no JSON", b"{}", b'[{"version": 9}]', b"[null]", b"3"])
def test_a_damaged_or_lost_cache_loses_nothing(plan: PlanStore, cache: bytes) -> None:
    log = [plan.amend(REMOVE, [A], "r", NOW), plan.amend(REMOVE, [B], "r", NOW)]
    put(plan, "plan/amendments.json", cache)
    assert plan.amendments() == log
    assert plan.amend(REMOVE, [Target("en/c", ("en", 1))], "r", NOW).number == 2


def test_a_cache_that_lags_behind_is_completed(plan: PlanStore) -> None:
    plan.amend(REMOVE, [A], "r", NOW)
    behind = bytes(obstore.get(plan.store, "plan/amendments.json").bytes())
    plan.amend(REMOVE, [B], "r", NOW)
    put(plan, "plan/amendments.json", behind)
    assert [one.targets for one in plan.amendments()] == [(A,), (B,)]


@pytest.mark.parametrize(
    "raw",
    [
        b"[]",
        b"{}",
        b"x",
        {"version": 2},
        {"n": 1},
        {"kind": "delete"},
        {"targets": [{}]},
        {"targets": None},
    ],
)
def test_a_damaged_entry_is_one_line(plan: PlanStore, raw: bytes | dict[str, Any]) -> None:
    damaged = raw if isinstance(raw, bytes) else json.dumps(as_json(entry(A)) | raw).encode()
    put(plan, "plan/amendment_0000.json", damaged)
    with pytest.raises(PlanError, match=r"amendment.0{0,3}0?.*is damaged.*backup") as error:
        plan.amendments()
    assert "\n" not in str(error.value)


def test_json_round_trip() -> None:
    one = entry(A, Target("en/é\udcff", None, segment=3), Target("en/x", ("de", 12), speaker="S:1"), number=7)
    assert decode(json.loads(json.dumps(as_json(one))), 7) == one


def test_an_amendment_changes_the_digest_of_the_chunks_that_it_names(plan: PlanStore) -> None:
    before = plan.planned()
    plan.amend(REMOVE, [A], "r", NOW)
    after = plan.planned()
    assert [old.digest != new.digest for old, new in zip(before, after, strict=True)] == [True, False]
    found = plan.find(*EN0)
    assert found is not None and found.ref == after[0], "the chunk to build has the digest that is due"
    manifest = plan.read(*EN0)
    assert manifest is not None and manifest.ref == before[0], "a manifest never changes"
    assert plan.write_index() == after
    assert json.loads(bytes(obstore.get(plan.store, "plan/index.json").bytes()))[0][2] == before[0].digest


def test_the_digest_covers_kind_targets_and_time_alone() -> None:
    digest = amended_digest("0" * 32, EN0, [entry(A, B)])
    assert len(digest) == 32 and digest != "0" * 32
    assert amended_digest("0" * 32, EN0, [entry(B, A, number=5, reason="other")]) == digest
    assert amended_digest("0" * 32, EN0, [entry(A, B, Target("en/c", ("en", 1)))]) == digest
    assert amended_digest("0" * 32, ("en", 1), [entry(A)]) == "0" * 32
    others = [
        [entry(A)],
        [entry(A, B, kind=REFRESH)],
        [Amendment(0, REMOVE, (A, B), "r", "2026-11-30")],
        [entry(A), entry(B)],
        [entry(A, B), entry(A, B)],
        [entry(A, Target("en/b", EN0, segment=0))],
    ]
    assert len({amended_digest("0" * 32, EN0, log) for log in others} | {digest}) == len(others) + 1


def test_removals() -> None:
    removals = removals_of(
        [
            entry(A, Target("en/b", EN0, segment=2), Target("en/c", speaker="S1")),
            entry(Target("en/d", EN0), kind=REFRESH),
        ]
    )
    assert [removals.has_episode(f"en/{name}") for name in "abcd"] == [True, False, False, False]
    assert removals.has_segment("en/b", 2, None) and not removals.has_segment("en/b", 1, "S1")
    assert removals.has_segment("en/c", 9, "S1") and not removals.has_segment("en/c", 9, None)
    assert removals.covers(Target("en/a", segment=1)) and removals.covers(Target("en/a", speaker="S"))
    assert removals.covers(Target("en/b", segment=2)) and not removals.covers(Target("en/b"))
    assert not removals.covers(Target("en/b", speaker="S1")) and not removals.covers(Target("en/c", segment=2))


def test_an_unplanned_target_is_left_out_of_builds_and_makes_no_chunk_due(plan: PlanStore) -> None:
    before = plan.planned()
    plan.amend(REMOVE, [Target("en/c")], "r", NOW)
    assert plan.planned() == before
    found = plan.find("en", 1)
    assert found is not None and found.removals.has_episode("en/c")
    assert found.digest == before[1].digest
    other = plan.find(*EN0)
    assert other is not None and other.amendments == ()


def test_episodes_planned_while_they_were_removed_make_their_chunk_due(plan: PlanStore) -> None:
    known = plan.amendments()
    plan.amend(REMOVE, [Target("en/c", segment=1), Target("en/y")], "r", NOW)
    plan.amend(REFRESH, [A], "r", NOW)
    chunks: list[Any] = [plan.read("en", 1)]
    targets = amend_planned(plan, known, chunks, NOW)
    assert targets == [Target("en/c", ("en", 1), segment=1)]
    assert plan.amendments()[-1].targets == tuple(targets)
    assert amend_planned(plan, plan.amendments(), chunks, NOW) == [], "they were known before"
