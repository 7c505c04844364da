"""The commit check: the files at the recorded commit have the record's SHA-256, and no part is stale."""

from dataclasses import replace

import pytest

from r2_hf_assets.errors import AccessError, RetriesExhausted
from r2_hf_assets.hub.client import RemoteFile
from r2_hf_assets.hub.commit import commit_chunk
from r2_hf_assets.hub.reads import check_on_hub
from r2_hf_assets.shards.record import BuildRecord
from r2_hf_assets.verdict import Severity, Verdict
from r2_hf_assets_tests.hub.fake_repo import FakeRepo, built, remote

ONE, TWO = "data/en/chunk-00007-part-00.parquet", "data/en/chunk-00007-part-01.parquet"
INDEX = "metadata/en/chunk-00007.parquet"


@pytest.fixture
def record() -> BuildRecord:
    return built(b"part 0", b"part 01", index=b"index")


def on_hub(**changes: object) -> dict[str, RemoteFile]:
    """Return the expected files, with these changes to the second one."""
    changed = replace(remote(TWO, b"part 01"), **changes)  # type: ignore[arg-type]
    return {ONE: remote(ONE, b"part 0"), TWO: changed, INDEX: remote(INDEX, b"index")}


def check(record: BuildRecord, files: dict[str, RemoteFile]) -> Verdict:
    return check_on_hub(FakeRepo([replace(file, path=path) for path, file in files.items()]), record, "oid-0")


def test_a_committed_chunk_passes_with_its_numbers(record):
    repo = FakeRepo([remote("data/en/chunk-00008.parquet", b"another chunk")])
    done = commit_chunk(repo, record, repo.claim())
    verdict = check_on_hub(repo, record, done.oid)
    assert verdict.passed
    assert verdict.numbers == {"files": 3, "files_on_hub": 3, "bytes": 18, "bytes_on_hub": 18}
    assert verdict.summary == "3 files, 18 bytes: SHA-256 as built"


def test_the_recorded_commit_is_checked_and_not_the_head(record):
    repo = FakeRepo()
    done = commit_chunk(repo, record, repo.claim())
    repo.put(remote(ONE, b"other"))
    assert check_on_hub(repo, record, done.oid).passed
    assert not check_on_hub(repo, record, "oid-0").passed


def test_a_chunk_without_files_passes_when_the_hub_has_none():
    record = built()
    assert check(record, {}).passed
    assert check(record, on_hub()).numbers["problems_by_kind"] == {"stale": 3}


@pytest.mark.parametrize(
    ("files", "kinds"),
    [
        ({}, {"absent": 3}),
        ({ONE: on_hub()[ONE], INDEX: on_hub()[INDEX]}, {"absent": 1}),
        ({ONE: on_hub()[ONE], TWO: on_hub()[TWO]}, {"absent": 1}),
        (on_hub() | {INDEX: remote(INDEX, b"other")}, {"other_sha256": 1}),
        (on_hub(sha256="0" * 64), {"other_sha256": 1}),
        (on_hub(sha256=None), {"not_in_lfs": 1}),
        (on_hub() | {TWO.replace("01", "02"): remote(TWO, b"old")}, {"stale": 1}),
        (on_hub() | {"data/en/chunk-00007.parquet": remote(TWO, b"old")}, {"stale": 1}),
    ],
    ids=["nothing", "one-absent", "no-index", "other-index", "sha256", "no-lfs", "stale-part", "stale-single"],
)
def test_a_difference_fails_the_check(record, files, kinds):
    verdict = check(record, files)
    assert not verdict.passed and verdict.severity is Severity.ERROR
    assert verdict.numbers["problems_by_kind"] == kinds


def test_transient_errors_are_retried_until_exhausted(record):
    repo = FakeRepo()
    done = commit_chunk(repo, record, repo.claim())
    repo.fail("files", 500, 429, 504)
    assert check_on_hub(repo, record, done.oid).passed
    repo.fail("files", *[503] * 5)
    with pytest.raises(RetriesExhausted):
        check_on_hub(repo, record, done.oid)


def test_a_refusal_is_explained(record):
    repo = FakeRepo()
    done = commit_chunk(repo, record, repo.claim())
    repo.fail("files", 401)
    with pytest.raises(AccessError, match="HF_TOKEN"):
        check_on_hub(repo, record, done.oid)
