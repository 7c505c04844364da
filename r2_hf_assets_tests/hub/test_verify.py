"""The commit check: the Hub's SHA-256 and size at the recorded commit are ours, and nothing stale is left."""

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


@pytest.fixture
def record() -> BuildRecord:
    return built(b"part 0", b"part 01")


def there(**changes: object) -> dict[str, RemoteFile]:
    """What the Hub should hold, with the second file changed."""
    return {ONE: remote(ONE, b"part 0"), TWO: replace(remote(TWO, b"part 01"), **changes)}  # type: ignore[arg-type]


def check(record: BuildRecord, files: dict[str, RemoteFile]) -> Verdict:
    return check_on_hub(FakeRepo([replace(file, path=path) for path, file in files.items()]), record, "oid-0")


def test_what_was_committed_passes_with_its_numbers(record):
    repo = FakeRepo([remote("data/en/chunk-00008.parquet", b"another chunk")])
    done = commit_chunk(repo, record, repo.claim())
    verdict = check_on_hub(repo, record, done.oid)
    assert verdict.passed
    assert verdict.numbers == {"files": 2, "files_on_hub": 2, "bytes": 13, "bytes_on_hub": 13}


def test_it_looks_at_the_recorded_commit_and_not_at_the_head(record):
    repo = FakeRepo()
    done = commit_chunk(repo, record, repo.claim())
    repo.put(remote(ONE, b"somebody's"))
    assert check_on_hub(repo, record, done.oid).passed
    assert not check_on_hub(repo, record, "oid-0").passed


def test_a_chunk_without_files_passes_where_nothing_is():
    record = built()
    assert check(record, {}).passed
    assert check(record, there()).numbers["problems_by_kind"] == {"stale": 2}


@pytest.mark.parametrize(
    ("files", "kinds"),
    [
        ({}, {"absent": 2}),
        ({ONE: there()[ONE]}, {"absent": 1}),
        (there(sha256="0" * 64), {"other_sha256": 1}),
        (there(sha256=None), {"not_in_lfs": 1}),
        (there() | {TWO.replace("01", "02"): remote(TWO, b"old")}, {"stale": 1}),
        (there() | {"data/en/chunk-00007.parquet": remote(TWO, b"old")}, {"stale": 1}),
    ],
    ids=["nothing", "one-absent", "sha256", "no-lfs", "stale-part", "stale-single"],
)
def test_what_differs_is_found(record, files, kinds):
    verdict = check(record, files)
    assert not verdict.passed and verdict.severity is Severity.ERROR
    assert verdict.numbers["problems_by_kind"] == kinds


def test_passing_trouble_is_retried_and_then_given_up(record):
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
