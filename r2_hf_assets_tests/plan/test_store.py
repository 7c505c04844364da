"""PlanStore on a folder and in memory: exclusive, immutable, bound to one bucket, and damage is an error."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import LocalStore, MemoryStore

from r2_hf_assets.errors import PlanError, RetriesExhausted
from r2_hf_assets.plan import files
from r2_hf_assets.plan.chunks import ChunkManifest, ChunkRef, encode
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets_tests.support.build_samples import NO_WAIT, PREFIX, Flaky, chunk_of, use_obstore

ZERO = chunk_of("en/a", "en/b", number=0)
ONE = chunk_of("en/c", number=1)
OTHER = chunk_of("en/z", number=1)


@pytest.fixture(params=["folder", "memory"])
def plan(request, tmp_path: Path) -> PlanStore:
    store: Any = LocalStore(tmp_path / "state", mkdir=True) if request.param == "folder" else MemoryStore()
    return PlanStore(store, "podcasts", PREFIX, NO_WAIT)


def put(plan: PlanStore, path: str, data: bytes) -> None:
    obstore.put(plan.store, path, data)


def raw(plan: PlanStore, path: str) -> bytes:
    return bytes(obstore.get(plan.store, path).bytes())


def refs(*chunks: ChunkManifest) -> list[ChunkRef]:
    return [chunk.ref for chunk in chunks]


def test_an_empty_plan(plan):
    assert (plan.numbers(), plan.planned(), plan.read("en", 0)) == ({}, [], None)


def test_created_chunks_are_read(plan):
    assert plan.create(ZERO) and plan.create(ONE)
    assert plan.read("en", 1) == ONE
    assert plan.numbers() == {"en": [0, 1]}
    assert list(plan.read_many([("en", 1), ("en", 0)])) == [ONE, ZERO]
    assert raw(plan, "plan/en/chunk_0000.json") == encode(ZERO)


def test_create_is_exclusive_and_never_overwrites(plan):
    assert plan.create(ONE) is True
    assert plan.create(OTHER) is False
    assert plan.read("en", 1) == ONE


def test_creating_the_same_chunk_again_counts_as_created(plan):
    assert [plan.create(ONE), plan.create(ONE)] == [True, True]


def test_a_lost_response_after_the_write_counts_as_created(monkeypatch):
    plan = PlanStore(MemoryStore(), "podcasts", PREFIX, NO_WAIT)

    class LostResponse(Flaky):
        def __call__(self, store, path=None, *rest, **options):
            obstore.put(store, path, *rest, **options)
            return super().__call__(store, path, *rest, **options)

    use_obstore(monkeypatch, files, put=LostResponse(lambda *_, **__: None, times=1))
    assert plan.create(ONE) is True
    assert plan.create(OTHER) is False
    assert plan.read("en", 1) == ONE


def test_transient_errors_are_retried_until_the_retries_are_exhausted(monkeypatch):
    plan = PlanStore(MemoryStore(), "podcasts", PREFIX, NO_WAIT)
    use_obstore(monkeypatch, files, put=Flaky(obstore.put, 4), get=Flaky(obstore.get, 4), list=Flaky(obstore.list, 4))
    assert plan.create(ZERO)
    assert plan.write_index() == refs(ZERO)
    use_obstore(monkeypatch, files, get=Flaky(obstore.get, 5))
    with pytest.raises(RetriesExhausted, match=r"reading plan/en/chunk_0000\.json"):
        plan.read("en", 0)


def test_chunks_are_stored_by_language_and_number(plan):
    german = chunk_of("de/a", language="de", number=0)
    large = chunk_of("en/x", number=10_000)
    for chunk in (ZERO, german, large):
        plan.create(chunk)
    assert plan.read("de", 0) == german
    assert plan.read("en", 10_000) == large
    assert plan.read("en", 7) is None


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_number_is_an_error(plan, missing):
    for number in range(3):
        plan.create(chunk_of(f"en/{number}", number=number))
    obstore.delete(plan.store, f"plan/en/chunk_000{missing}.json")
    with pytest.raises(PlanError, match=rf"chunk_000{missing}\.json is missing"):
        plan.numbers()


def test_a_stale_listing_is_no_missing_number(plan, monkeypatch):
    for chunk in (ZERO, ONE):
        plan.create(chunk)
    use_obstore(monkeypatch, files, list=lambda store, prefix: [[{"path": "plan/en/chunk_0001.json"}]])
    assert plan.numbers() == {"en": [0, 1]}


def test_other_files_are_no_chunks(plan):
    plan.create(ZERO)
    for path in (
        "plan/en/chunk_0005.json.bak",
        "plan/en/notes.txt",
        "plan/chunk_0003.json",
        "other/en/chunk_0004.json",
    ):
        put(plan, path, b"x")
    assert plan.numbers() == {"en": [0]}


def test_a_changed_manifest_is_an_error_that_names_it(plan):
    plan.create(ZERO)
    changed = json.loads(encode(ZERO)) | {"episodes": ["en/a"]}
    put(plan, "plan/en/chunk_0000.json", json.dumps(changed).encode())
    for read in (lambda: plan.read("en", 0), lambda: list(plan.read_many([("en", 0)])), plan.planned):
        with pytest.raises(PlanError, match=r"plan/en/chunk_0000\.json"):
            read()


@pytest.mark.parametrize("changes", [{"chunk": 5}, {"language": "de"}])
def test_a_renamed_manifest_is_an_error(plan, changes):
    """A copied or renamed file has a valid digest, but is not this chunk."""
    plan.create(ZERO)
    put(plan, "plan/en/chunk_0001.json", json.dumps(json.loads(encode(ONE)) | changes).encode())
    with pytest.raises(PlanError, match=r"plan/en/chunk_0001\.json"):
        plan.planned()


def test_a_chunk_deleted_while_reading_is_an_error(plan):
    plan.create(ZERO)
    with pytest.raises(PlanError, match="vanished"):
        list(plan.read_many([("en", 0), ("en", 1)]))


def test_the_plan_is_bound_to_its_bucket_and_prefix(plan):
    plan.check_identity()
    plan.check_identity()
    for bucket, prefix, problem in (
        ("other", PREFIX, "R2_BUCKET=other, and STATE_URL holds the plan of podcasts: correct R2_BUCKET"),
        (
            "podcasts",
            "raw/",
            f"PROCESSED_PREFIX=raw/, and STATE_URL holds the plan of {PREFIX}: correct PROCESSED_PREFIX",
        ),
    ):
        with pytest.raises(PlanError, match=f"^plan: {problem} in .env; another dataset needs its own STATE_URL"):
            PlanStore(plan.store, bucket, prefix, NO_WAIT).check_identity()
    plan.check_identity()


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"null", b"[1]"])
def test_a_damaged_identity_is_a_plan_error(plan, data):
    put(plan, "plan/identity.json", data)
    with pytest.raises(PlanError):
        plan.check_identity()


@pytest.mark.parametrize("data", [b"", b"{", b'{"since": "yesterday"}', b'{"since": 5}', b"[]"])
def test_a_damaged_wait_is_a_plan_error(plan, data):
    put(plan, "plan/en/waiting.json", data)
    with pytest.raises(PlanError, match=r"plan/en/waiting\.json"):
        plan.waiting_since("en")


def test_a_plan_has_one_id_and_an_empty_store_has_none(plan):
    with pytest.raises(PlanError, match="STATE_URL holds none"):
        plan.ensure_id()
    assert plan.find_id() is None
    plan.check_identity()
    plan_id = plan.ensure_id()
    assert (len(plan_id), plan.ensure_id(), plan.find_id()) == (32, plan_id, plan_id)


def test_the_index_lists_chunks_in_plan_order(plan):
    german = chunk_of("de/a", language="de", number=0)
    for chunk in (ZERO, german, ONE):
        plan.create(chunk)
    assert plan.planned() == plan.write_index() == plan.planned() == refs(german, ZERO, ONE)


def test_with_a_current_index_no_manifest_is_read(plan, monkeypatch):
    for chunk in (ZERO, ONE):
        plan.create(chunk)
    plan.write_index()
    counting = Flaky(obstore.get, times=0)
    use_obstore(monkeypatch, files, get=counting)
    assert plan.planned() == refs(ZERO, ONE)
    amendments = ("plan/amendments.json", "plan/amendment_0000.json")
    assert counting.calls == dict.fromkeys(("plan/index.json", *amendments), 1)


def test_a_stale_index_is_completed_from_the_manifests(plan):
    plan.create(ZERO)
    plan.write_index()
    plan.create(ONE)
    assert plan.planned() == refs(ZERO, ONE)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff\xfe", b"null", b"5", b'["en"]', b"[[1]]", b'[["en", 0, "d", 1, 2]]', b'[[["en"], 0, "d", 1]]'],
)
def test_a_damaged_index_is_rebuilt(plan, data):
    for chunk in (ZERO, ONE):
        plan.create(chunk)
    put(plan, "plan/index.json", data)
    assert plan.planned() == plan.write_index() == refs(ZERO, ONE)


def test_index_entries_without_a_manifest_are_ignored(plan):
    plan.create(ZERO)
    put(plan, "plan/index.json", json.dumps([["en", 0, ZERO.digest, 2], ["en", 1, ONE.digest, 1]]).encode())
    assert plan.planned() == refs(ZERO)


def test_the_start_of_a_wait_is_stored_by_language(plan):
    since = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    assert plan.waiting_since("en") is None
    plan.set_waiting("en", since)
    plan.set_waiting("de", since + timedelta(hours=1))
    assert (plan.waiting_since("en"), plan.waiting_since("de")) == (since, since + timedelta(hours=1))
    plan.set_waiting("en", None)
    assert plan.waiting_since("en") is None
    assert plan.numbers() == {}


def test_clearing_an_absent_wait_writes_nothing(plan):
    plan.set_waiting("en", None)
    assert [item for batch in obstore.list(plan.store) for item in batch] == []
