"""BuildStore in a folder and on S3: a chunk with a record is built, and a record keeps the hashes of earlier builds."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import obstore
import pytest

from r2_hf_assets.errors import RetriesExhausted
from r2_hf_assets.plan import files as module
from r2_hf_assets.settings import BucketSettings, PlanSettings
from r2_hf_assets.shards.builds import BuildStore, open_builds
from r2_hf_assets.shards.record import BuildRecord, ShardFile, Tally
from r2_hf_assets.verdict import Severity, Verdict
from r2_hf_assets_tests.support.build_samples import NO_WAIT, Flaky, use_obstore

RECORD, LEDGER = "en/chunk-00007.json", "en/chunk-00007.rejects.parquet"
NAME = ("en", 7)
DATASET = "https://hub/datasets/me/speech"
REJECTS = b"the ledger's content"


def without_waits(builds: BuildStore) -> BuildStore:
    return replace(builds, files=replace(builds.files, retry=NO_WAIT))


@pytest.fixture
def local(tmp_path: Path) -> BuildStore:
    return without_waits(open_builds(PlanSettings(str(tmp_path / "state")), None))


@pytest.fixture(params=["local", "s3"])
def builds(request: pytest.FixtureRequest) -> BuildStore:
    if request.param == "local":
        return request.getfixturevalue("local")
    world = request.getfixturevalue("world")
    s3 = world.sandbox.s3
    r2 = BucketSettings(s3.endpoint_url, s3.access_key, s3.secret_key, world.bucket)
    return without_waits(open_builds(PlanSettings(f"s3://{world.bucket}/state"), r2))


def built(*parts: str, rejects: bool = True, **changes: Any) -> BuildRecord:
    """Return a record of parts with these SHA-256."""
    files = tuple(ShardFile(f"chunk-00007-part-{n:02d}.parquet", 5, 100, sha) for n, sha in enumerate(parts))
    ledger = ShardFile("chunk-00007.rejects.parquet", 1, len(REJECTS), "r") if rejects else None
    record = BuildRecord("en", 7, "digest", files, ledger, Tally(rows=5 * len(parts)))
    return replace(
        record, **{"verdicts": {"ledger": Verdict(True, Severity.ERROR, "sound")}, "dataset": DATASET, **changes}
    )


def write(builds: BuildStore, record: BuildRecord) -> None:
    builds.write(record, REJECTS if record.rejects else None)


def names(builds: BuildStore) -> list[str]:
    return sorted(item["path"] for batch in obstore.list(builds.files.store) for item in batch)


def test_a_written_record_is_found_with_its_ledger(builds):
    record = built("a", "b")
    write(builds, record)
    assert names(builds) == [RECORD, LEDGER]
    assert builds.find(*NAME, "digest", DATASET) == record
    assert bytes(obstore.get(builds.files.store, LEDGER).bytes()) == REJECTS
    assert builds.ledger_uri(record) == f"{builds.uri}/{LEDGER}"


def test_an_unbuilt_chunk_has_no_record(builds):
    assert builds.find(*NAME, "digest", DATASET) is None
    write(builds, built("a"))
    assert [builds.find(*name, "digest", DATASET) for name in (("en", 8), ("de", 7), ("en", 70))] == [None] * 3


def test_local_paths_of_record_and_ledger(local, tmp_path):
    write(local, built("a"))
    assert (tmp_path / "state" / "builds" / RECORD).exists()
    assert local.ledger_uri(built("a")) == str(tmp_path / "state" / "builds" / LEDGER)
    assert local.ledger_uri(built("a", rejects=False)) is None


def spied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record writes and deletions in order."""
    steps: list[str] = []

    def record_step(name: str) -> Callable[..., Any]:
        def call(store: Any, path: str, *rest: Any) -> Any:
            steps.append(f"{name} {path}")
            return getattr(obstore, name)(store, path, *rest)

        return call

    use_obstore(monkeypatch, module, put=record_step("put"), delete=record_step("delete"))
    return steps


def test_the_record_is_written_last(builds, monkeypatch):
    steps = spied(monkeypatch)
    write(builds, built("a"))
    assert steps == [f"put {LEDGER}", f"put {RECORD}"]
    steps.clear()
    write(builds, built("a", rejects=False))
    assert steps == [f"delete {LEDGER}", f"put {RECORD}"]


@pytest.mark.parametrize("builds", ["s3"], indirect=True)
def test_a_chunk_whose_record_is_not_written_is_not_built(builds, monkeypatch):
    with monkeypatch.context() as patch:
        use_obstore(patch, module, put=Flaky(obstore.put, 99, match=".json"))
        with pytest.raises(RetriesExhausted):
            write(builds, built("a"))
    assert builds.find(*NAME, "digest", DATASET) is None
    write(builds, built("a"))
    assert builds.find(*NAME, "digest", DATASET) == built("a")


def test_a_record_keeps_the_hashes_of_earlier_builds(builds):
    write(builds, built("a", "b"))
    write(builds, built("c"))
    assert builds.find(*NAME, "digest", DATASET) == built("c", earlier=("a", "b"))
    write(builds, built("b", "d"))
    assert builds.find(*NAME, "digest", DATASET) == built("b", "d", earlier=("a", "c"))
    assert builds.built_sha256([NAME, ("en", 8)]) == {NAME: {"a", "b", "c", "d"}}


def test_a_repeated_build_gives_the_same_record(builds):
    write(builds, built("a", "b"))
    write(builds, built("a", "b"))
    assert builds.find(*NAME, "digest", DATASET) == built("a", "b")


def test_an_invalidated_build_is_not_built_but_keeps_its_hashes(builds):
    write(builds, built("a"))
    write(builds, built("b"))
    invalidate(builds)
    assert builds.find(*NAME, "digest", DATASET) is None
    assert builds.readable_records([NAME]) == {}
    assert builds.built_sha256([NAME]) == {NAME: {"a", "b"}}
    write(builds, built("c"))
    assert builds.find(*NAME, "digest", DATASET) == built("c", earlier=("a", "b"))


def test_a_build_for_another_dataset_is_not_found(builds):
    write(builds, built("a", dataset="https://hub/datasets/me/other"))
    assert builds.find(*NAME, "digest", DATASET) is None
    assert builds.built_sha256([NAME]) == {NAME: {"a"}}


def test_a_later_build_is_not_invalidated(builds):
    write(builds, built("a"))
    lost = builds.find(*NAME, "digest", DATASET)
    write(builds, built("b"))
    builds.invalidate(lost)
    assert builds.find(*NAME, "digest", DATASET) == built("b", earlier=("a",))


def do_nothing(builds: BuildStore) -> None:
    """Leave the earlier build as it is."""


def invalidate(builds: BuildStore) -> None:
    record = builds.find(*NAME, "digest", DATASET)
    assert record is not None
    builds.invalidate(record)


def damage(builds: BuildStore) -> None:
    obstore.put(builds.files.store, RECORD, b"{")


@pytest.mark.parametrize("between", [do_nothing, invalidate, damage])
def test_a_build_without_rejects_deletes_the_old_ledger(builds, between):
    write(builds, built("a"))
    between(builds)
    write(builds, built("b", rejects=False))
    assert names(builds) == [RECORD]
    write(builds, built("b", rejects=False))
    assert names(builds) == [RECORD]


def test_a_chunk_without_rows_has_a_record(builds):
    write(builds, built())
    assert builds.find(*NAME, "digest", DATASET) == built() and names(builds) == [RECORD, LEDGER]


def test_files_of_other_chunks_stay_unchanged(builds):
    for number in (6, 70, 700_007):
        write(builds, built("a", number=number, rejects=False))
    write(builds, built("a", language="de", rejects=False))
    before = set(names(builds))
    write(builds, built("b"))
    write(builds, built("c", rejects=False))
    assert set(names(builds)) == before | {RECORD}
    numbers = [6, 7, 8, 70, 700_007]
    assert sorted(builds.readable_records([("en", number) for number in numbers])) == [
        ("en", number) for number in numbers if number != 8
    ]


def test_a_damaged_record_is_replaced_by_the_next_build(builds):
    write(builds, built("a"))
    damage(builds)
    assert builds.find(*NAME, "digest", DATASET) is None
    assert builds.readable_records([NAME]) == builds.built_sha256([NAME]) == {}
    write(builds, built("a"))
    assert builds.find(*NAME, "digest", DATASET) == built("a")


def test_a_build_of_another_digest_is_not_found(builds):
    write(builds, built("a"))
    assert builds.find(*NAME, "another", DATASET) is None


@pytest.mark.parametrize("builds", ["s3"], indirect=True)
def test_transient_errors_are_retried_and_then_raised(builds, monkeypatch):
    use_obstore(
        monkeypatch, module, get=Flaky(obstore.get, 4), put=Flaky(obstore.put, 4), delete=Flaky(obstore.delete, 4)
    )
    write(builds, built("a"))
    write(builds, built("b", rejects=False))
    assert builds.find(*NAME, "digest", DATASET) == built("b", rejects=False, earlier=("a",))
    assert names(builds) == [RECORD]
    use_obstore(monkeypatch, module, get=Flaky(obstore.get, 5))
    with pytest.raises(RetriesExhausted):
        builds.find(*NAME, "digest", DATASET)
