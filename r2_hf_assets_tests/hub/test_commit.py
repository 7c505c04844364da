"""commit_chunk: afterwards the Hub holds exactly this chunk's shards, by one commit or none; nothing else changed."""

from contextlib import contextmanager
from dataclasses import replace

import pytest

from r2_hf_assets.errors import ShardError
from r2_hf_assets.hub.client import RemoteFile
from r2_hf_assets.hub.commit import CommitRecord, commit_chunk
from r2_hf_assets.hub.ownership import OWNER_PATH
from r2_hf_assets_tests.build_samples import NO_WAIT
from r2_hf_assets_tests.hub.fake_repo import FakeRepo, Shards, remote

ONE = "data/en/chunk-00007.parquet"


def part(number: int) -> str:
    return f"data/en/chunk-00007-part-{number:02d}.parquet"


@pytest.fixture
def shards(tmp_path) -> Shards:
    return Shards(tmp_path)


def commit(repo: FakeRepo, shards: Shards, record) -> CommitRecord:
    return commit_chunk(repo, record, shards.opener(record), repo.claim(), retry=NO_WAIT)


def test_a_first_commit_makes_the_repo(shards):
    repo = FakeRepo(exists=False)
    done = commit(repo, shards, shards.record(b"rows"))
    assert done == CommitRecord("oid-1", "https://hub/datasets/me/speech/commit/oid-1", True, (ONE,), ())
    assert repo.data == {ONE: remote(ONE, b"rows")}
    assert repo.calls["create_repo"] == 1


def test_a_repo_that_is_there_is_not_made(shards):
    repo = FakeRepo([remote("README.md", b"card")])
    assert commit(repo, shards, shards.record(b"rows")).committed
    assert repo.calls["create_repo"] == 0 and set(repo.now) == {"README.md", OWNER_PATH, ONE}


def test_the_same_again_is_no_commit(shards):
    repo, record = FakeRepo(), shards.record(b"part 0", b"part 1")
    first = commit(repo, shards, record)
    calls = repo.calls.copy()
    again = commit(repo, shards, record)
    assert again == CommitRecord(first.oid, first.url, False, (), ())
    assert len(repo.revisions) == 2
    assert (repo.calls - calls).keys() == {"head", "files"}
    assert shards.opened == [file.name for file in record.files]


def test_the_record_of_no_commit_is_the_head(shards):
    repo, record = FakeRepo(), shards.record(b"rows")
    commit(repo, shards, record)
    repo.put(remote("README.md", b"card"))
    assert commit(repo, shards, record).oid == repo.head() == "oid-2"


def test_only_what_differs_is_uploaded(shards):
    repo = FakeRepo([remote(part(0), b"same"), remote(part(1), b"old")])
    done = commit(repo, shards, shards.record(b"same", b"new", b"more"))
    assert done.added == (part(1), part(2)) and done.removed == ()
    assert repo.uploaded == [part(1), part(2)]
    assert shards.opened == ["chunk-00007-part-01.parquet", "chunk-00007-part-02.parquet"]
    assert repo.data == {part(n): remote(part(n), data) for n, data in enumerate([b"same", b"new", b"more"])}


@pytest.mark.parametrize("changes", [{"sha256": "0" * 64}, {"size": 5}])
def test_a_file_that_differs_in_any_way_is_replaced(shards, changes):
    repo = FakeRepo([replace(remote(ONE, b"rows"), **changes)])
    assert commit(repo, shards, shards.record(b"rows")).added == (ONE,)
    assert repo.data == {ONE: remote(ONE, b"rows")}


@pytest.mark.parametrize("there", [1, 2, 31, 32, 33, 40, 64, 65, 100])
@pytest.mark.parametrize("parts", [1, 2])
def test_stale_parts_are_removed(shards, there, parts):
    stale = [remote(part(number), b"old") for number in range(there)]
    repo = FakeRepo(stale)
    record = shards.record(*[b"new %d" % number for number in range(parts)])
    done = commit(repo, shards, record)
    assert set(repo.data) == ({ONE} if parts == 1 else {part(0), part(1)})
    assert set(done.removed) == {file.path for file in stale} - set(repo.data)
    assert len(repo.revisions) == 2, "adding and removing is one commit"


def test_a_single_file_that_became_parts_is_removed(shards):
    repo = FakeRepo([remote(ONE, b"all in one")])
    assert commit(repo, shards, shards.record(b"a", b"b")).removed == (ONE,)
    assert set(repo.data) == {part(0), part(1)}


def test_stale_parts_alone_are_a_commit_that_uploads_nothing(shards):
    repo = FakeRepo([remote(ONE, b"rows"), remote(part(0), b"old"), remote(part(1), b"old")])
    done = commit(repo, shards, shards.record(b"rows"))
    assert (done.committed, done.added, done.removed) == (True, (), (part(0), part(1)))
    assert repo.uploaded == [] and set(repo.data) == {ONE}


def test_a_chunk_of_many_parts(shards):
    repo, record = FakeRepo(), shards.record(*[b"%d" % number for number in range(120)])
    assert len(commit(repo, shards, record).added) == 120
    assert not commit(repo, shards, record).committed


def test_a_chunk_of_no_rows_is_no_commit(shards):
    repo = FakeRepo([remote("README.md", b"card")])
    assert commit(repo, shards, shards.record()) == CommitRecord("oid-0", repo.commit_url("oid-0"), False, (), ())


def test_a_chunk_that_lost_its_rows_is_removed(shards):
    repo = FakeRepo([remote(ONE, b"old")])
    assert commit(repo, shards, shards.record()).removed == (ONE,)
    assert repo.data == {}


def test_nobody_elses_files_are_touched(shards):
    others = [
        RemoteFile("README.md", 10, None),
        RemoteFile(".gitattributes", 10, None),
        *(
            remote(path, b"theirs")
            for path in (
                "data/en/chunk-00006.parquet",
                "data/en/chunk-00070.parquet",
                "data/en/chunk-00077-part-00.parquet",
                "data/de/chunk-00007.parquet",
                "data/de/chunk-00007-part-01.parquet",
                "data/en/chunk-00007.parquet.bak",
                "chunk-00007.parquet",
            )
        ),
    ]
    repo = FakeRepo([*others, remote(part(0), b"old"), remote(part(3), b"old")])
    commit(repo, shards, shards.record(b"rows"))
    kept = {file.path: file for file in others if file.path != "README.md"}
    assert repo.data == kept | {ONE: remote(ONE, b"rows")}
    assert repo.now["README.md"] == others[0]


def test_a_shard_that_changed_since_it_was_built_is_not_committed(shards):
    repo, record = FakeRepo(), shards.record(b"rows")
    shards.record(b"other rows")
    with pytest.raises(ShardError, match="changed since it was built"):
        commit(repo, shards, record)
    assert len(repo.revisions) == 1 and repo.calls["upload"] == 1


def test_a_shard_that_is_not_there_is_not_committed(shards):
    def absent(files):
        raise ShardError("not there")

    repo = FakeRepo()
    with pytest.raises(ShardError, match="not there"):
        commit_chunk(repo, shards.record(b"rows"), absent, repo.claim(), retry=NO_WAIT)
    assert (len(repo.revisions), repo.calls["upload"], repo.calls["commit"]) == (1, 0, 0)


def test_a_shard_that_a_run_beside_this_one_committed_and_removed_is_looked_for_again(shards):
    repo, record = FakeRepo(), shards.record(b"rows")

    def removed_meanwhile(files):
        repo.put(remote(ONE, b"rows"))
        raise ShardError("not there")

    done = commit_chunk(repo, record, removed_meanwhile, repo.claim(), retry=NO_WAIT)
    assert done == CommitRecord("oid-1", "https://hub/datasets/me/speech/commit/oid-1", False, (), ())
    assert repo.calls["upload"] == 0


def test_files_stay_open_until_the_commit_is_made_and_no_longer(shards, monkeypatch):
    """What the Hub takes outside LFS is read only when it is committed."""
    repo, record, open_now = FakeRepo(), shards.record(b"rows"), []
    opener, real = shards.opener(record), repo.commit

    @contextmanager
    def watched(files):
        with opener(files) as paths:
            open_now.append(True)
            try:
                yield paths
            finally:
                open_now.clear()

    def commit_with_them_open(*arguments):
        assert open_now
        return real(*arguments)

    monkeypatch.setattr(repo, "commit", commit_with_them_open)
    assert commit_chunk(repo, record, watched, repo.claim(), retry=NO_WAIT).committed
    assert not open_now


def test_a_message_names_the_chunk(shards, monkeypatch):
    said: list[str] = []
    real = FakeRepo.commit

    def listen(self, uploads, deleted, parent, message, contents):
        said.append(message)
        return real(self, uploads, deleted, parent, message, contents)

    monkeypatch.setattr(FakeRepo, "commit", listen)
    commit(FakeRepo(), shards, shards.record(b"rows", language="de"))
    assert said == ["Add de chunk-00007 (1 segments)"]
