"""commit_chunks: several chunks by one commit, each with its own record; one that is lost stops none of the others."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from r2_hf_assets.errors import ShardError
from r2_hf_assets.hub.commit import CommitRecord, commit_chunks
from r2_hf_assets.shards.record import BuildRecord, ShardFile
from r2_hf_assets_tests.build_samples import NO_WAIT
from r2_hf_assets_tests.hub.fake_repo import FakeRepo, Shards, remote


@pytest.fixture
def shards(tmp_path: Path) -> Shards:
    return Shards(tmp_path)


def path(record: BuildRecord) -> str:
    return f"data/{record.language}/chunk-{record.number:05d}.parquet"


def commit(repo: FakeRepo, shards: Shards, records: list[BuildRecord], lost: tuple[int, ...] = ()) -> list:
    @contextmanager
    def open_files(record: BuildRecord, files: tuple[ShardFile, ...]) -> Iterator[dict[str, Path]]:
        if record.number in lost:
            raise ShardError(f"chunk {record.number} is not there")
        with shards.opener(record)(files) as paths:
            yield paths

    return commit_chunks(repo, records, open_files, repo.claim(), retry=NO_WAIT)


def three(shards: Shards) -> list[BuildRecord]:
    return [
        shards.record(b"a", number=1),
        shards.record(b"b", b"c", number=2),
        shards.record(b"d", number=1, language="de"),
    ]


def test_several_chunks_are_one_commit_and_each_has_its_own_record(shards: Shards) -> None:
    repo, records = FakeRepo([remote("data/en/chunk-00001-part-00.parquet", b"old")]), three(shards)
    first, second, third = commit(repo, shards, records)
    assert len(repo.revisions) == 2 and repo.calls["commit"] == 1
    assert {done.oid for done in (first, second, third)} == {repo.head()}
    assert first.added == (path(records[0]),) and first.removed == ("data/en/chunk-00001-part-00.parquet",)
    assert second.added == ("data/en/chunk-00002-part-00.parquet", "data/en/chunk-00002-part-01.parquet")
    assert (third.added, third.removed) == ((path(records[2]),), ())
    assert set(repo.data) == {*first.added, *second.added, *third.added}


def test_the_same_again_is_no_commit(shards: Shards) -> None:
    repo, records = FakeRepo(), three(shards)
    commit(repo, shards, records)
    assert [done.committed for done in commit(repo, shards, records)] == [False, False, False]
    assert len(repo.revisions) == 2 and repo.calls["upload"] == 3


def test_only_those_that_differ_are_committed(shards: Shards) -> None:
    records = three(shards)
    repo = FakeRepo([remote(path(records[0]), b"a")])
    first, second, third = commit(repo, shards, records)
    assert first == CommitRecord("oid-0", repo.commit_url("oid-0"), False, (), ())
    assert second.committed and third.committed and path(records[0]) not in repo.uploaded


def test_one_that_is_lost_or_changed_is_left_out_and_the_others_are_committed(shards: Shards) -> None:
    repo, records = FakeRepo(), [*three(shards), shards.record(b"e", number=9)]
    (shards.folder / "de-chunk-00001.parquet").write_bytes(b"changed")
    first, second, third, fourth = commit(repo, shards, records, lost=(2,))
    assert isinstance(second, ShardError) and "not there" in str(second)
    assert isinstance(third, ShardError) and "changed" in str(third)
    assert first.committed and fourth.committed and len(repo.revisions) == 2
    assert set(repo.data) == {path(records[0]), path(records[3])}


def test_one_that_a_run_beside_this_one_committed_and_removed_is_found(shards: Shards) -> None:
    """The head moved with it: the others are compared anew, and go in on top of it."""
    repo, records = FakeRepo(), three(shards)[::2]
    repo.before("upload", lambda: repo.put(remote(path(records[1]), b"d")))

    @contextmanager
    def open_files(record: BuildRecord, files: tuple[ShardFile, ...]) -> Iterator[dict[str, Path]]:
        if record.language == "de":
            raise ShardError("removed")
        with shards.opener(record)(files) as paths:
            yield paths

    first, second = commit_chunks(repo, records, open_files, repo.claim(), retry=NO_WAIT)
    assert isinstance(first, CommitRecord) and first.committed
    assert isinstance(second, CommitRecord) and not second.committed
    assert repo.calls["commit"] == 2 and repo.uploaded == [path(records[0])], "refused once, and sent once"


def test_one_that_a_run_beside_this_one_removed_during_the_upload_is_found(shards: Shards) -> None:
    repo, records = FakeRepo(), three(shards)[:2]

    def committed_and_removed() -> None:
        repo.put(remote(path(records[0]), b"a"))
        (shards.folder / "en-chunk-00001.parquet").unlink()

    repo.before("upload", committed_and_removed)
    first, second = commit(repo, shards, records)
    assert isinstance(first, CommitRecord) and not first.committed
    assert isinstance(second, CommitRecord) and second.committed
    assert path(records[0]) in repo.now and len(repo.revisions) == 3


def test_a_lost_answer_is_looked_for_and_made_once(shards: Shards) -> None:
    repo, records = FakeRepo(), three(shards)
    repo.fail("commit", 504, after=True)
    done = commit(repo, shards, records)
    assert [found.committed for found in done] == [False, False, False] and len(repo.revisions) == 2
    assert {found.oid for found in done} == {"oid-1"}


def test_a_hundred_chunks_are_compared_in_a_few_requests(shards: Shards) -> None:
    records = [shards.record(b"%d" % number, number=number) for number in range(100)]
    # One of them left a hundred parts behind: it alone is asked for again.
    stale = [remote(f"data/en/chunk-00050-part-{number:02d}.parquet", b"old") for number in range(100)]
    repo = FakeRepo(stale)
    done = commit(repo, shards, records)
    assert all(found.committed for found in done) and len(repo.revisions) == 2
    assert set(done[50].removed) == {file.path for file in stale}
    assert repo.calls["files"] == 8 + 3 + 2
    assert len(repo.data) == 100


def test_the_message_names_a_few_and_describes_all(shards: Shards, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    real = FakeRepo.commit

    def listen(
        self: FakeRepo, uploads: list, deleted: list, parent: str, message: str, contents: dict[str, bytes]
    ) -> tuple[str, str]:
        said.append(message)
        return real(self, uploads, deleted, parent, message, contents)

    monkeypatch.setattr(FakeRepo, "commit", listen)
    commit(FakeRepo(), shards, [*three(shards), shards.record(b"e", number=3), shards.record(b"f", number=4)])
    title, empty, *lines = said[0].splitlines()
    assert title == "Add en chunk-00001, en chunk-00002, de chunk-00001 and 2 more (6 segments)"
    assert empty == "" and lines[1] == "en chunk-00002 (2 segments)" and len(lines) == 5
