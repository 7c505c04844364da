"""Squash, list and delete on the local Hub: what is kept stays readable, and what is deleted is gone."""

import hashlib
from pathlib import Path

import pytest

from r2_hf_assets.errors import AccessError, R2HfError
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.storage import delete_lfs_files, lfs_files, squash_history
from r2_hf_assets_tests.hub.conftest import Body, client, commit_files
from r2_hf_assets_tests.hub.uploads import upload_chunk
from r2_hf_assets_tests.support.world import World


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_squash_leaves_one_commit(world: World, repo: HubClient, body: Body) -> None:
    old = commit_files(world, {"data/a.parquet": body(5_000)})
    before = repo.list_files("data", old)
    repo.create_tag("v1", old, "")
    commit_files(world, {"note.txt": b"words"})
    squash_history(repo, "Release 2")
    (commit,) = repo.commits("main")
    assert (commit.title, commit.oid) == ("Release 2", repo.head())
    assert repo.list_files("data", commit.oid) == before and repo.read("note.txt", commit.oid) == b"words"
    assert len(repo.commits("v1")) == 2


def test_old_content_is_deleted_and_new_content_stays(
    world: World, repo: HubClient, body: Body, tmp_path: Path
) -> None:
    old, new = body(5_000), body(6_000)
    commit_files(world, {"data/a.parquet": old})
    commit_files(world, {"data/a.parquet": new})
    pending = upload_chunk(repo, tmp_path, body(7_000)).files[0]
    stored = {(sha256, file.size, file.filename) for sha256, file in lfs_files(repo).items()}
    assert stored == {
        (_sha256(old), 5_000, "data/a.parquet"),
        (_sha256(new), 6_000, "data/a.parquet"),
        (pending.sha256, pending.size, ""),
    }
    squash_history(repo, "Release 2")
    head = repo.head()
    doomed = [file for sha256, file in lfs_files(repo).items() if sha256 != _sha256(new)]
    delete_lfs_files(repo, doomed)
    delete_lfs_files(repo, doomed)
    assert list(lfs_files(repo)) == [_sha256(new)]
    assert repo.head() == head and repo.read("data/a.parquet", head or "") == new
    delete_lfs_files(repo, [])


def test_a_lost_response_repeats_the_deletion(world: World, repo: HubClient, body: Body) -> None:
    commit_files(world, {"data/a.parquet": body(5_000)})
    files = lfs_files(repo).values()
    world.sandbox.hub.inject({"path_regex": "/lfs-files/batch$", "status": 504, "after": True})
    repo.call_with_retry("free the storage of", lambda: delete_lfs_files(repo, files))
    assert lfs_files(repo) == {}


def test_a_token_without_the_right_changes_nothing(world: World, repo: HubClient, body: Body) -> None:
    commit_files(world, {"data/a.parquet": body(5_000)})
    files, head = lfs_files(repo), repo.head()
    reader = client(world, world.sandbox.hub.read_token)
    calls = (
        lambda: squash_history(reader, "Release 2"),
        lambda: delete_lfs_files(reader, files.values()),
        lambda: lfs_files(reader),
    )
    for call in calls:
        with pytest.raises(AccessError, match="the token lacks a right; use one with write access"):
            reader.call_with_retry("free the storage of", call)
    assert repo.head() == head and lfs_files(repo) == files


@pytest.mark.parametrize(("file_oid", "oid"), [("cd" * 32, "ab"), ("ab" * 20, "cd" * 32)])
def test_a_stored_file_is_known_by_its_sha256(world: World, repo: HubClient, file_oid: str, oid: str) -> None:
    entry = {"fileOid": file_oid, "oid": oid, "size": 1, "pushedAt": "2026-01-01T00:00:00.000Z", "xetHash": "ef" * 32}
    world.sandbox.hub.inject({"path_regex": "/lfs-files$", "status": 200, "body": [entry]})
    (file,) = lfs_files(repo).items()
    assert (file[0], file[1].filename) == ("cd" * 32, "")


def test_a_stored_file_without_a_sha256_is_an_error(world: World, repo: HubClient) -> None:
    entry = {"fileOid": "ab", "oid": "ab", "size": 1, "pushedAt": "2026-01-01T00:00:00.000Z", "filename": "a.parquet"}
    world.sandbox.hub.inject({"path_regex": "/lfs-files$", "status": 200, "body": [entry]})
    with pytest.raises(R2HfError, match=r"lists a\.parquet in .* without a SHA-256; nothing is deleted"):
        lfs_files(repo)
