"""The plan check: a valid plan passes with its numbers, and each rule fails on its damage."""

import json
from datetime import UTC, datetime
from typing import Any

import obstore
import pytest
from obstore.store import MemoryStore

from r2_hf_assets.errors import RetriesExhausted
from r2_hf_assets.plan import files as plan_files
from r2_hf_assets.plan.amendments import REMOVE, Target
from r2_hf_assets.plan.check import check_plan
from r2_hf_assets.plan.chunks import ChunkManifest, encode
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.verdict import Severity
from r2_hf_assets_tests.support.build_samples import NO_WAIT, PREFIX, Flaky, chunk_of, use_obstore


@pytest.fixture
def plan() -> PlanStore:
    plan = PlanStore(MemoryStore(), "podcasts", PREFIX, NO_WAIT)
    plan.create(chunk_of("en/a", "en/b", "en-US/a", number=0))
    plan.create(chunk_of("en/c", number=1))
    plan.create(chunk_of("deu/a", language="de", number=0))
    plan.write_index()
    return plan


def overwrite(plan: PlanStore, path: str, data: bytes) -> None:
    obstore.put(plan.store, path, data)


def kinds(plan: PlanStore) -> dict[str, int]:
    verdict = check_plan(plan)
    assert not verdict.passed and verdict.severity is Severity.ERROR
    return verdict.numbers["problems_by_kind"]


def test_a_valid_plan_passes_with_its_numbers(plan):
    verdict = check_plan(plan)
    assert verdict.passed
    assert verdict.summary == "5 episodes in 3 chunks of 2 languages, each planned once"
    assert verdict.numbers == {
        "episodes": 5,
        "chunks": 3,
        "languages": 2,
        "episodes_by_language": {"de": 1, "en": 4},
        "chunks_by_language": {"de": 1, "en": 2},
        "languages_that_fit": "LANGUAGES=de,en",
        "unknown_folders": 0,
        "episodes_in_unknown_folders": 0,
        "episodes_by_unknown_folder": {},
    }


def test_an_empty_plan_passes():
    verdict = check_plan(PlanStore(MemoryStore(), "podcasts", PREFIX, NO_WAIT))
    assert verdict.passed and verdict.numbers["episodes"] == 0


def test_an_amended_chunk_does_not_differ_from_the_index(plan):
    plan.amend(REMOVE, [Target("en/a", ("en", 0))], "reason", datetime.now(UTC))
    assert check_plan(plan).passed


def test_a_damaged_amendment_is_reported(plan):
    overwrite(plan, "plan/amendment_0000.json", b'{"version": 1}')
    assert kinds(plan) == {"plan_damaged": 1}


def test_unknown_folders_are_a_warning(plan):
    plan.create(chunk_of("junk/a", "junk/b", "123/a", "unknown/a", language="unknown", number=0))
    verdict = check_plan(plan)
    assert not verdict.passed and verdict.severity is Severity.WARN
    assert "2 folders without a known language: junk (2 episodes), 123 (1 episode)" in verdict.summary
    assert verdict.numbers["episodes_by_unknown_folder"] == {"junk": 2, "123": 1}
    assert verdict.numbers["episodes_in_unknown_folders"] == 3
    assert verdict.numbers["languages_that_fit"] == "LANGUAGES=de,en,unknown"


def test_a_folder_named_unknown_is_no_warning(plan):
    plan.create(chunk_of("unknown/a", language="unknown", number=0))
    assert check_plan(plan).passed


def test_an_error_takes_precedence_over_a_warning(plan):
    plan.create(chunk_of("junk/a", "junk/a", language="unknown", number=0))
    assert kinds(plan) == {"episode_planned_twice": 1}


@pytest.mark.parametrize(
    ("added", "problems"),
    [
        (chunk_of("en/d", "en/b", number=2), {"episode_planned_twice": 1}),
        (chunk_of("en/d", "en/d", "en/a", number=2), {"episode_planned_twice": 2}),
        (chunk_of("en-US/b", language="de", number=1), {"folder_in_two_languages": 1}),
        (chunk_of("en", number=2), {"episode_misnamed": 1}),
        (chunk_of("en/a/b", number=2), {"episode_misnamed": 1}),
        (chunk_of("en/", number=2), {"episode_misnamed": 1}),
        (ChunkManifest("en", 2, "other/", ("en/d",)), {"other_prefix": 1}),
    ],
)
def test_invalid_chunks_are_reported(plan, added: ChunkManifest, problems: dict[str, int]):
    plan.create(added)
    assert kinds(plan) == problems


def manifest(**changes: Any) -> bytes:
    return json.dumps({**json.loads(encode(chunk_of("en/c", number=1))), **changes}).encode()


@pytest.mark.parametrize(
    "data",
    [b"", b"{", manifest(digest="0" * 32), manifest(episodes=["en/z"]), manifest(episodes=[]), manifest(chunk=7)],
    ids=["empty", "cut", "digest", "member", "no-members", "number"],
)
def test_a_damaged_manifest_is_reported_and_other_languages_are_counted(plan, data):
    overwrite(plan, "plan/en/chunk_0001.json", data)
    assert kinds(plan) == {"plan_damaged": 1}
    verdict = check_plan(plan)
    assert "plan/en/chunk_0001.json" in verdict.summary or "en chunk 1:" in verdict.summary
    assert verdict.numbers["episodes_by_language"]["de"] == 1


def test_a_missing_number_is_reported(plan):
    plan.create(chunk_of("en/f", number=3))
    assert kinds(plan) == {"plan_damaged": 1}
    assert "chunk_0002.json is missing" in check_plan(plan).summary


@pytest.mark.parametrize("column", [2, 3], ids=["digest", "episodes"])
def test_an_index_that_differs_is_reported(plan, column):
    rows = [[*chunk.name, chunk.digest, chunk.episodes] for chunk in plan.planned()]
    rows[0][column] = "0" * 32 if column == 2 else 99
    overwrite(plan, "plan/index.json", json.dumps(rows).encode())
    assert kinds(plan) == {"index_differs": 1}


def test_manifests_are_read_once(plan, monkeypatch):
    reads = Flaky(obstore.get, 0)
    use_obstore(monkeypatch, plan_files, get=reads)
    check_plan(plan)
    manifests = {path: count for path, count in reads.calls.items() if "/chunk_" in path}
    assert manifests == dict.fromkeys(
        ["plan/de/chunk_0000.json", "plan/en/chunk_0000.json", "plan/en/chunk_0001.json"], 1
    )


def test_an_unreadable_store_is_an_error(plan, monkeypatch):
    use_obstore(monkeypatch, plan_files, get=Flaky(obstore.get, 99, match="chunk_0001"))
    with pytest.raises(RetriesExhausted):
        check_plan(plan)
