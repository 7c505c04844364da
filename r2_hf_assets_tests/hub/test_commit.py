"""commit_chunk makes the chunk's files on the Hub those of the record by at most one commit, and changes no others."""

from dataclasses import replace

import pytest

from r2_hf_assets.errors import DamagedShard
from r2_hf_assets.hub.client import RemoteFile
from r2_hf_assets.hub.commit import CommitRecord, commit_chunk
from r2_hf_assets.hub.ownership import OWNER_PATH
from r2_hf_assets.shards.record import BuildRecord
from r2_hf_assets_tests.hub.fake_repo import FakeRepo, built, remote

ONE, INDEX = "data/en/chunk-00007.parquet", "metadata/en/chunk-00007.parquet"


def part(number: int) -> str:
    return f"data/en/chunk-00007-part-{number:02d}.parquet"


def commit(repo: FakeRepo, record: BuildRecord) -> CommitRecord:
    return commit_chunk(repo, record, repo.claim())


def test_the_first_commit_creates_the_repo():
    repo = FakeRepo(exists=False)
    done = commit(repo, built(b"rows"))
    assert done == CommitRecord("oid-1", "https://hub/datasets/me/speech/commit/oid-1", True, (ONE,), ())
    assert repo.data == {ONE: remote(ONE, b"rows")}
    assert repo.calls["create_repo"] == 1


def test_an_existing_repo_is_not_created():
    repo = FakeRepo([remote("README.md", b"card")])
    assert commit(repo, built(b"rows")).committed
    assert repo.calls["create_repo"] == 0 and set(repo.now) == {"README.md", OWNER_PATH, ONE}


def test_committing_the_same_chunk_again_makes_no_commit():
    repo, record = FakeRepo(), built(b"part 0", b"part 1")
    first = commit(repo, record)
    calls = repo.calls.copy()
    again = commit(repo, record)
    assert again == CommitRecord(first.oid, first.url, False, (), ())
    assert len(repo.revisions) == 2
    assert (repo.calls - calls).keys() == {"head", "read", "files"}


def test_without_a_commit_the_record_has_the_head():
    repo, record = FakeRepo(), built(b"rows")
    commit(repo, record)
    repo.put(remote("README.md", b"card"))
    assert commit(repo, record).oid == repo.head() == "oid-2"


def test_only_differing_files_are_committed():
    repo = FakeRepo([remote(part(0), b"same"), remote(part(1), b"old")])
    done = commit(repo, built(b"same", b"new", b"more"))
    assert done.added == (part(1), part(2)) and done.removed == ()
    assert repo.pointers == [part(1), part(2)]
    assert repo.data == {part(n): remote(part(n), data) for n, data in enumerate([b"same", b"new", b"more"])}


@pytest.mark.parametrize("changes", [{"sha256": "0" * 64}, {"size": 5}])
def test_a_file_with_another_hash_or_size_is_replaced(changes):
    repo = FakeRepo([replace(remote(ONE, b"rows"), **changes)])
    assert commit(repo, built(b"rows")).added == (ONE,)
    assert repo.data == {ONE: remote(ONE, b"rows")}


@pytest.mark.parametrize("existing", [1, 2, 31, 32, 33, 40, 64, 65, 100])
@pytest.mark.parametrize("parts", [1, 2])
def test_stale_parts_are_removed(existing, parts):
    stale = [remote(part(number), b"old") for number in range(existing)]
    repo = FakeRepo(stale)
    record = built(*[b"new %d" % number for number in range(parts)])
    done = commit(repo, record)
    assert set(repo.data) == ({ONE} if parts == 1 else {part(0), part(1)})
    assert set(done.removed) == {file.path for file in stale} - set(repo.data)
    assert len(repo.revisions) == 2, "adding and removing is one commit"


def test_a_single_file_is_removed_when_the_chunk_has_parts():
    repo = FakeRepo([remote(ONE, b"all in one")])
    assert commit(repo, built(b"a", b"b")).removed == (ONE,)
    assert set(repo.data) == {part(0), part(1)}


def test_stale_parts_alone_are_removed_by_a_commit_without_pointers():
    repo = FakeRepo([remote(ONE, b"rows"), remote(part(0), b"old"), remote(part(1), b"old")])
    done = commit(repo, built(b"rows"))
    assert (done.committed, done.added, done.removed) == (True, (), (part(0), part(1)))
    assert repo.pointers == [] and set(repo.data) == {ONE}


def test_a_chunk_of_many_parts_is_committed_once():
    repo, record = FakeRepo(), built(*[b"%d" % number for number in range(120)])
    assert len(commit(repo, record).added) == 120
    assert not commit(repo, record).committed


def test_parts_and_index_are_one_commit():
    repo = FakeRepo()
    done = commit(repo, built(b"a", b"b", index=b"index"))
    assert done.added == (part(0), part(1), INDEX) and len(repo.revisions) == 2
    assert repo.data == {part(0): remote(part(0), b"a"), part(1): remote(part(1), b"b"), INDEX: remote(INDEX, b"index")}
    assert not commit(repo, built(b"a", b"b", index=b"index")).committed


def test_an_index_that_differs_is_replaced_alone():
    repo = FakeRepo()
    commit(repo, built(b"rows", index=b"index"))
    assert commit(repo, built(b"rows", index=b"other")).added == (INDEX,)
    assert repo.data == {ONE: remote(ONE, b"rows"), INDEX: remote(INDEX, b"other")}


def test_a_chunk_without_an_index_is_committed_again_with_one():
    repo = FakeRepo([remote(ONE, b"rows")])
    assert commit(repo, built(b"rows", index=b"index")).added == (INDEX,)


def test_a_chunk_without_rows_is_a_commit_of_its_index():
    repo = FakeRepo([remote("README.md", b"card")])
    done = commit(repo, built(index=b"index"))
    assert (done.committed, done.added, done.removed) == (True, (INDEX,), ())
    assert not commit(repo, built(index=b"index")).committed


def test_the_parts_of_a_chunk_without_rows_are_removed():
    repo = FakeRepo([remote(ONE, b"old"), remote(INDEX, b"old")])
    done = commit(repo, built(index=b"index"))
    assert (done.added, done.removed) == ((INDEX,), (ONE,))
    assert repo.data == {INDEX: remote(INDEX, b"index")}


def test_a_record_without_files_makes_no_commit_and_removes_what_is_there():
    repo = FakeRepo([remote("README.md", b"card")])
    assert commit(repo, built()) == CommitRecord("oid-0", repo.commit_url("oid-0"), False, (), ())
    repo = FakeRepo([remote(ONE, b"old"), remote(INDEX, b"old")])
    assert commit(repo, built()).removed == (ONE, INDEX)
    assert repo.data == {}


def test_other_files_do_not_change():
    others = [
        RemoteFile("README.md", 10, None),
        RemoteFile(".gitattributes", 10, None),
        *(
            remote(path, b"other")
            for path in (
                "data/en/chunk-00006.parquet",
                "data/en/chunk-00070.parquet",
                "data/en/chunk-00077-part-00.parquet",
                "data/de/chunk-00007.parquet",
                "data/de/chunk-00007-part-01.parquet",
                "data/en/chunk-00007.parquet.bak",
                "metadata/en/chunk-00070.parquet",
                "metadata/de/chunk-00007.parquet",
                "chunk-00007.parquet",
            )
        ),
    ]
    repo = FakeRepo([*others, remote(part(0), b"old"), remote(part(3), b"old")])
    commit(repo, built(b"rows", index=b"index"))
    unchanged = {file.path: file for file in others if file.path != "README.md"}
    assert repo.data == unchanged | {ONE: remote(ONE, b"rows"), INDEX: remote(INDEX, b"index")}
    assert repo.now["README.md"] == others[0]


def test_a_commit_of_absent_content_fails_in_one_line_without_a_retry():
    repo, record = FakeRepo([remote(part(0), b"old")]), built(b"rows")
    repo.lose(record)
    with pytest.raises(DamagedShard) as refused:
        commit(repo, record)
    message = str(refused.value)
    assert message.startswith("the Hub refuses the commit of en chunk-00007: ") and "run again to rebuild it" in message
    assert "\n" not in message and not refused.value.transient and refused.value.__suppress_context__
    assert (repo.calls["commit"], len(repo.revisions)) == (1, 1)


def test_absent_content_of_an_up_to_date_head_is_not_an_error():
    repo, record = FakeRepo(), built(b"rows")
    commit(repo, record)
    repo.lose(record)
    assert not commit(repo, record).committed


def test_the_commit_message_names_the_chunk(monkeypatch):
    messages: list[str] = []
    real = FakeRepo.commit

    def recorded(self, files, deleted, parent, message, contents):
        messages.append(message)
        return real(self, files, deleted, parent, message, contents)

    monkeypatch.setattr(FakeRepo, "commit", recorded)
    commit(FakeRepo(), built(b"rows", language="de"))
    assert messages == ["Add de chunk-00007 (1 segment)"]
