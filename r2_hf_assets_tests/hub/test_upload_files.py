"""Uploads over LFS: one scratch file at a time, and kept files."""

import fcntl
import hashlib
import os
import time
from pathlib import Path

import pytest
from huggingface_hub import constants

from r2_hf_assets import activity
from r2_hf_assets.errors import AccessError, DiskError, DiskFull, ShardError
from r2_hf_assets.hub import upload_files as module
from r2_hf_assets.hub.build import open_upload
from r2_hf_assets.hub.client import HubClient, RemoteFile
from r2_hf_assets.hub.commit import commit_chunk
from r2_hf_assets.hub.reads import check_on_hub
from r2_hf_assets.settings import HubSettings
from r2_hf_assets_tests.hub.conftest import Body, client
from r2_hf_assets_tests.hub.fake_repo import FakeRepo
from r2_hf_assets_tests.hub.uploads import CLAIM, send, upload_chunk
from r2_hf_assets_tests.support.build_samples import limits
from r2_hf_assets_tests.support.world import World
from r2_hf_sandbox.hub.server import start_hub


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*"))


@pytest.fixture
def lfs(world: World, repo: HubClient, monkeypatch: pytest.MonkeyPatch) -> HubClient:
    """A client with HF_HUB_DISABLE_XET=1."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    return client(world)


def routes(world: World, mark: int) -> set[str]:
    """Return the routes that carried content since `mark`."""
    paths = [request["path"] for request in world.sandbox.hub.requests(mark)]
    prefixes = {"/_cas/": "Xet", "/_lfs/": "LFS"}
    return {route for prefix, route in prefixes.items() if any(path.startswith(prefix) for path in paths)}


def test_a_part_is_a_scratch_file_until_it_is_uploaded(
    world: World, lfs: HubClient, tmp_path: Path, body: Body
) -> None:
    parts, contents, mark = [body(300_000), body(200_000)], list[tuple[int, str]](), world.sandbox.hub.mark()
    with open_upload(lfs, limits(tmp_path), "en", 7) as upload:
        for data in parts:
            part = upload.begin()
            part.write(data)
            (scratch,) = (tmp_path / "scratch").iterdir()
            assert scratch.name.startswith("en-chunk-00007-") and len(list(scratch.glob("part-*"))) == 1
            content = part.finish()
            contents.append((content.size, content.sha256))
            assert list(scratch.glob("part-*")) == []
    assert names(tmp_path / "scratch") == []
    assert contents == [(len(data), hashlib.sha256(data).hexdigest()) for data in parts]
    assert routes(world, mark) == {"LFS"} and world.files() == []


def test_an_upload_to_a_hub_without_xet_uses_lfs(tmp_path: Path, body: Body) -> None:
    with start_hub(tmp_path / "hub", xet=False) as hub:
        repo = HubClient(HubSettings(f"{hub.user}/speech", hub.token, hub.endpoint))
        repo.create_repo()
        record = upload_chunk(repo, tmp_path, body(100_000))
        done = commit_chunk(repo, record, CLAIM)
        assert done.committed and check_on_hub(repo, record, done.oid).passed
    assert names(tmp_path / "scratch") == []


def test_stored_content_is_not_sent_again(world: World, lfs: HubClient, tmp_path: Path, body: Body) -> None:
    data = body(300_000)
    first = upload_chunk(lfs, tmp_path, data)
    mark = world.sandbox.hub.mark()
    assert upload_chunk(lfs, tmp_path, data) == first
    assert routes(world, mark) == set()


def test_each_block_of_a_file_counts_as_progress(
    lfs: HubClient, tmp_path: Path, body: Body, monkeypatch: pytest.MonkeyPatch
) -> None:
    advanced = list[None]()
    monkeypatch.setattr(activity, "advance", lambda *_: advanced.append(None))
    upload_chunk(lfs, tmp_path, body(3_000_000))
    assert len(advanced) >= 3_000_000 // 65_536


# Kept files.


def test_kept_files_replace_those_of_an_earlier_build(
    world: World, repo: HubClient, tmp_path: Path, body: Body
) -> None:
    kept, mark = tmp_path / "kept" / "en", world.sandbox.hub.mark()
    upload_chunk(repo, tmp_path, body(2_000), body(3_000), index=body(100), keep=True)
    upload_chunk(repo, tmp_path, body(4_000), index=body(100), number=70, keep=True)
    other = ["chunk-00070.index.parquet", "chunk-00070.parquet"]
    parts = ["chunk-00007-part-00.parquet", "chunk-00007-part-01.parquet"]
    assert names(kept) == [*parts, "chunk-00007.index.parquet", *other]
    assert routes(world, mark) == {"LFS"}, "kept parts are files"
    data, index = body(5_000), body(100)
    upload_chunk(repo, tmp_path, data, index=index, keep=True)
    assert names(kept) == ["chunk-00007.index.parquet", "chunk-00007.parquet", *other]
    assert (kept / "chunk-00007.parquet").read_bytes() == data
    assert (kept / "chunk-00007.index.parquet").read_bytes() == index
    upload_chunk(repo, tmp_path, index=body(100), keep=True)
    assert names(kept) == ["chunk-00007.index.parquet", *other] and names(tmp_path / "scratch") == []


@pytest.mark.parametrize("keep", [False, True])
def test_a_failed_upload_leaves_no_scratch_file_and_keeps_the_earlier_builds_files(
    repo: HubClient, lfs: HubClient, tmp_path: Path, body: Body, keep: bool
) -> None:
    before = body(2_000)
    upload_chunk(repo, tmp_path, before, index=body(100), keep=True)
    with pytest.raises(KeyboardInterrupt), open_upload(lfs, limits(tmp_path, keep=keep), "en", 7) as upload:
        send(upload, body(3_000))
        upload.begin().write(body(1_000))
        raise KeyboardInterrupt
    assert names(tmp_path / "scratch") == []
    assert (tmp_path / "kept" / "en" / "chunk-00007.parquet").read_bytes() == before


# Orphaned scratch files.


def test_an_orphaned_file_is_removed_and_an_active_uploads_stays(lfs: HubClient, tmp_path: Path, body: Body) -> None:
    scratch, hour_ago = tmp_path / "scratch", time.time() - 3600
    with open_upload(lfs, limits(tmp_path), "en", 8) as upload:
        part = upload.begin()
        (active,) = names(scratch)
        os.utime(scratch / active, (hour_ago, hour_ago))
        for name, age in {"orphan": hour_ago, "young": time.time()}.items():
            (scratch / name).write_bytes(b"PAR1")
            os.utime(scratch / name, (age, age))
        with (scratch / "locked").open("wb") as locked:
            fcntl.flock(locked, fcntl.LOCK_EX)
            os.utime(scratch / "locked", (hour_ago, hour_ago))
            upload_chunk(lfs, tmp_path, body(2_000))
        assert names(scratch) == sorted([active, "locked", "young"])
        part.write(b"PAR1")
        part.finish()


def test_parts_to_be_kept_are_not_removed_by_another_upload(
    repo: HubClient, lfs: HubClient, tmp_path: Path, body: Body
) -> None:
    scratch, hour_ago = tmp_path / "scratch", time.time() - 3600
    with open_upload(repo, limits(tmp_path, keep=True), "en", 7) as upload:
        send(upload, body(2_000))
        (part,) = names(scratch)
        os.utime(scratch / part, (hour_ago, hour_ago))
        upload_chunk(lfs, tmp_path, body(2_000), number=8)
        assert names(scratch) == [part]
        send(upload, body(100))
    assert names(tmp_path / "kept" / "en") == ["chunk-00007.index.parquet", "chunk-00007.parquet"]


# Errors.


def test_the_advice_for_a_repo_that_keeps_parquet_out_of_lfs_works(
    world: World, lfs: HubClient, tmp_path: Path
) -> None:
    def gitattributes(line: str) -> None:
        world.api().upload_file(
            path_or_fileobj=line.encode(), path_in_repo=".gitattributes", repo_id=lfs.repo_id, repo_type="dataset"
        )

    gitattributes("*.mp3 filter=lfs\n")
    text = b"PAR1 without a binary byte"
    with pytest.raises(ShardError, match="keeps Parquet files out of LFS; add") as refused:
        lfs.call_with_retry("upload to", lambda: upload_chunk(lfs, tmp_path, text))
    message = str(refused.value)
    assert "\n" not in message and not refused.value.transient and names(tmp_path / "scratch") == []
    advice = message.split("`")[1]
    gitattributes(advice + "\n")
    record = upload_chunk(lfs, tmp_path, text)
    assert check_on_hub(lfs, record, commit_chunk(lfs, record, CLAIM).oid).passed
    path = "data/en/chunk-00007.parquet"
    verdict = check_on_hub(FakeRepo([RemoteFile(path, len(text), None)]), record, "oid-0")
    assert verdict.summary.split("`")[1] == advice, "the commit check has the same advice"


def test_an_unusable_scratch_folder_is_one_line(lfs: HubClient, tmp_path: Path) -> None:
    (tmp_path / "scratch").write_text("a file")
    with pytest.raises(DiskError, match="a file is in place of a folder") as refused:
        upload_chunk(lfs, tmp_path, b"PAR1")
    assert str(tmp_path / "scratch") in str(refused.value)


def test_a_full_disk_is_one_line_and_leaves_no_file(lfs: HubClient, tmp_path: Path) -> None:
    with (
        Path("/dev/full").open("wb", buffering=0) as full,
        pytest.raises(DiskFull, match="scratch: no space is left"),
        open_upload(lfs, limits(tmp_path), "en", 7) as upload,
    ):
        part = upload.begin()
        assert isinstance(part, module._FilePart)
        part.file = full
        part.write(b"PAR1")
    assert names(tmp_path / "scratch") == []


def test_a_refusal_leaves_no_file(world: World, lfs: HubClient, tmp_path: Path, body: Body) -> None:
    world.sandbox.hub.inject({"path_regex": "/info/lfs/objects/batch$", "status": 403, "times": 1})
    with pytest.raises(AccessError, match="write access"):
        lfs.call_with_retry("upload to", lambda: upload_chunk(lfs, tmp_path, body(2_000)))
    assert names(tmp_path / "scratch") == []
