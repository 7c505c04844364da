"""BuildStore in a folder and on S3: a chunk with a record is built, and a record keeps the hashes of earlier builds."""

import json
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

RECORD = "en/chunk-00007.json"
NAME = ("en", 7)
DATASET = "https://hub/datasets/me/speech"


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


def built(*parts: str, index: str | None = "i", **changes: Any) -> BuildRecord:
    """Return a record of parts and an index with these SHA-256."""
    files = tuple(ShardFile(f"data/en/chunk-00007-part-{n:02d}.parquet", 5, 100, sha) for n, sha in enumerate(parts))
    file = ShardFile("metadata/en/chunk-00007.parquet", 5 * len(parts), 50, index) if index else None
    record = BuildRecord("en", 7, "digest", files, file, Tally(rows=5 * len(parts)))
    return replace(
        record, **{"verdicts": {"ledger": Verdict(True, Severity.ERROR, "sound")}, "dataset": DATASET, **changes}
    )


def names(builds: BuildStore) -> list[str]:
    return sorted(item["path"] for batch in obstore.list(builds.files.store) for item in batch)


def test_a_written_record_is_found_and_is_the_only_file(builds):
    record = built("a", "b")
    builds.write(record)
    assert names(builds) == [RECORD]
    assert builds.find(*NAME, "digest", DATASET) == record


def test_an_unbuilt_chunk_has_no_record(builds):
    assert builds.find(*NAME, "digest", DATASET) is None
    builds.write(built("a"))
    assert [builds.find(*name, "digest", DATASET) for name in (("en", 8), ("de", 7), ("en", 70))] == [None] * 3


def test_local_path_of_a_record(local, tmp_path):
    local.write(built("a"))
    assert (tmp_path / "state" / "builds" / RECORD).exists()


@pytest.mark.parametrize("builds", ["s3"], indirect=True)
def test_a_chunk_whose_record_is_not_written_is_not_built(builds, monkeypatch):
    with monkeypatch.context() as patch:
        use_obstore(patch, module, put=Flaky(obstore.put, 99, match=".json"))
        with pytest.raises(RetriesExhausted):
            builds.write(built("a"))
    assert builds.find(*NAME, "digest", DATASET) is None
    builds.write(built("a"))
    assert builds.find(*NAME, "digest", DATASET) == built("a")


def test_a_record_keeps_the_hashes_of_earlier_builds(builds):
    builds.write(built("a", "b"))
    builds.write(built("c"))
    assert builds.find(*NAME, "digest", DATASET) == built("c", earlier=("a", "b"))
    builds.write(built("b", "d"))
    assert builds.find(*NAME, "digest", DATASET) == built("b", "d", earlier=("a", "c"))
    assert builds.built_sha256([NAME, ("en", 8)]) == {NAME: {"a", "b", "c", "d", "i"}}


def test_a_record_keeps_the_hashes_of_earlier_indexes(builds):
    builds.write(built("a", index="i"))
    builds.write(built("a", index="j"))
    assert builds.find(*NAME, "digest", DATASET) == built("a", index="j", earlier=("i",))
    builds.write(built(index="k"))
    assert builds.built_sha256([NAME]) == {NAME: {"a", "i", "j", "k"}}


def test_a_record_of_an_earlier_version_counts_as_unbuilt_and_keeps_its_hashes(builds):
    old = {"version": 3, "files": [{"name": "chunk-00007.parquet", "sha256": "a"}], "earlier": ["b"]}
    builds.files.overwrite(RECORD, json.dumps(old).encode())
    assert builds.find(*NAME, "digest", DATASET) is None
    assert builds.built_sha256([NAME]) == {NAME: frozenset("ab")}
    builds.write(built("c"))
    assert builds.built_sha256([NAME]) == {NAME: frozenset("abci")}


def test_a_repeated_build_gives_the_same_record(builds):
    builds.write(built("a", "b"))
    builds.write(built("a", "b"))
    assert builds.find(*NAME, "digest", DATASET) == built("a", "b")


def test_an_invalidated_build_is_not_built_but_keeps_its_hashes(builds):
    builds.write(built("a"))
    builds.write(built("b"))
    invalidate(builds)
    assert builds.find(*NAME, "digest", DATASET) is None
    assert builds.readable_records([NAME]) == {}
    assert builds.built_sha256([NAME]) == {NAME: {"a", "b", "i"}}
    builds.write(built("c"))
    assert builds.find(*NAME, "digest", DATASET) == built("c", earlier=("a", "b"))


def test_a_build_for_another_dataset_is_not_found(builds):
    builds.write(built("a", dataset="https://hub/datasets/me/other"))
    assert builds.find(*NAME, "digest", DATASET) is None
    assert builds.built_sha256([NAME]) == {NAME: {"a", "i"}}


def test_a_later_build_is_not_invalidated(builds):
    builds.write(built("a"))
    lost = builds.find(*NAME, "digest", DATASET)
    builds.write(built("b"))
    builds.invalidate(lost)
    assert builds.find(*NAME, "digest", DATASET) == built("b", earlier=("a",))


def invalidate(builds: BuildStore) -> None:
    record = builds.find(*NAME, "digest", DATASET)
    assert record is not None
    builds.invalidate(record)


def damage(builds: BuildStore) -> None:
    obstore.put(builds.files.store, RECORD, b"{")


def test_a_chunk_without_rows_has_a_record(builds):
    builds.write(built())
    assert builds.find(*NAME, "digest", DATASET) == built() and names(builds) == [RECORD]


def test_files_of_other_chunks_stay_unchanged(builds):
    for number in (6, 70, 700_007):
        builds.write(built("a", number=number))
    builds.write(built("a", language="de"))
    before = set(names(builds))
    builds.write(built("b"))
    builds.write(built("c"))
    assert set(names(builds)) == before | {RECORD}
    numbers = [6, 7, 8, 70, 700_007]
    assert sorted(builds.readable_records([("en", number) for number in numbers])) == [
        ("en", number) for number in numbers if number != 8
    ]


def test_a_damaged_record_is_replaced_by_the_next_build(builds):
    builds.write(built("a"))
    damage(builds)
    assert builds.find(*NAME, "digest", DATASET) is None
    assert builds.readable_records([NAME]) == builds.built_sha256([NAME]) == {}
    builds.write(built("a"))
    assert builds.find(*NAME, "digest", DATASET) == built("a")


def test_a_build_of_another_digest_is_not_found(builds):
    builds.write(built("a"))
    assert builds.find(*NAME, "another", DATASET) is None


@pytest.mark.parametrize("builds", ["s3"], indirect=True)
def test_transient_errors_are_retried_and_then_raised(builds, monkeypatch):
    use_obstore(monkeypatch, module, get=Flaky(obstore.get, 4), put=Flaky(obstore.put, 4))
    builds.write(built("a"))
    builds.write(built("b"))
    assert builds.find(*NAME, "digest", DATASET) == built("b", earlier=("a",))
    assert names(builds) == [RECORD]
    use_obstore(monkeypatch, module, get=Flaky(obstore.get, 5))
    with pytest.raises(RetriesExhausted):
        builds.find(*NAME, "digest", DATASET)
