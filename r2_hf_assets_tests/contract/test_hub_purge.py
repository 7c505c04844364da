"""Deletion of LFS and Xet content for good, through huggingface_hub's public API and the real hf_xet.

`_stored` searches every file in the Hub's folder for pieces of content. hf_xet stores noise as it is, so a piece that
is found is content that was kept.
"""

import hashlib
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RevisionNotFoundError
from huggingface_hub.hf_api import LFSFileInfo

from r2_hf_assets_tests.contract.conftest import RunPython
from r2_hf_assets_tests.contract.test_hub_lfs import UPLOAD, _batch
from r2_hf_assets_tests.contract.test_hub_xet import Uploader
from r2_hf_sandbox import HubServer, start_hub

PIECE_BYTES = 64


def _noise(size: int) -> bytes:
    return os.urandom(size)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _stored(hub: HubServer, content: bytes) -> int:
    """Return how many of a hundred pieces of `content` are anywhere in the Hub's folder."""
    step = len(content) // 100
    pieces = {content[at : at + PIECE_BYTES] for at in range(0, len(content) - PIECE_BYTES, step)}
    files = [path.read_bytes() for path in hub.folder.rglob("*") if path.is_file()]
    return sum(any(piece in file for file in files) for piece in pieces)


def _list(api: HfApi, repo: str) -> dict[str, LFSFileInfo]:
    return {file.file_oid: file for file in api.list_lfs_files(repo, repo_type="dataset")}


def _purge(api: HfApi, repo: str, *contents: bytes, rewrite_history: bool = True) -> None:
    files = _list(api, repo)
    doomed = [files[_sha256(content)] for content in contents]
    api.permanently_delete_lfs_files(repo, doomed, rewrite_history=rewrite_history, repo_type="dataset")


def _commit(api: HfApi, repo: str, files: dict[str, bytes], **options: object) -> str:
    adds = [CommitOperationAdd(path, content) for path, content in files.items()]
    return api.create_commit(repo, adds, commit_message="files", repo_type="dataset", **options).oid  # type: ignore[call-overload]


def _status(hub: HubServer, repo: str, path: str, revision: str = "main") -> int:
    url = f"{hub.endpoint}/datasets/{repo}/resolve/{revision}/{path}"
    return requests.get(url, headers={"Authorization": f"Bearer {hub.token}"}, timeout=30).status_code


def _commit_pointer(hub: HubServer, repo: str, content: bytes) -> requests.Response:
    value = f'{{"path": "again.parquet", "algo": "sha256", "oid": "{_sha256(content)}", "size": {len(content)}}}'
    return requests.post(
        f"{hub.endpoint}/api/datasets/{repo}/commit/main",
        data=f'{{"key": "header", "value": {{"summary": "again"}}}}\n{{"key": "lfsFile", "value": {value}}}\n',
        headers={"Authorization": f"Bearer {hub.token}"},
        timeout=30,
    )


@pytest.fixture(params=["Xet", "LFS"])
def own_hub(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A Hub of the test's own, whose folder has no other content, with and without Xet."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", request.param == "LFS")
    with start_hub(tmp_path / "hub", xet=request.param == "Xet", lfs_part_bytes=400_000) as server:
        yield server


@pytest.fixture
def own_api(own_hub: HubServer) -> HfApi:
    api = HfApi(endpoint=own_hub.endpoint, token=own_hub.token)
    api.create_repo("sandbox/own", repo_type="dataset")
    return api


REPO = "sandbox/own"


def test_a_deleted_file_is_gone_and_one_that_shares_content_is_intact(
    own_hub: HubServer, own_api: HfApi, tmp_path: Path
) -> None:
    """Both start with the same megabyte, which is deduplicated over Xet."""
    shared, first, second = _noise(1_000_000), _noise(600_000), _noise(500_000)
    _commit(own_api, REPO, {"a.parquet": shared + first})
    _commit(own_api, REPO, {"b.parquet": shared + second})
    for path in ("a.parquet", "b.parquet"):
        assert _status(own_hub, REPO, path) == 200, "a plain read stores a Xet file whole"
    assert _stored(own_hub, first) >= 99 and _stored(own_hub, second) >= 99
    _purge(own_api, REPO, shared + first)
    # Over Xet the chunk at the end of the shared megabyte has bytes of both, and is another one in each file.
    assert (_stored(own_hub, first), _stored(own_hub, second)) == (0, 100)
    assert _status(own_hub, REPO, "a.parquet") == 404
    assert list(_list(own_api, REPO)) == [_sha256(shared + second)]
    options = {"repo_type": "dataset", "cache_dir": tmp_path / "cache"}
    local = own_api.hf_hub_download(REPO, "b.parquet", **options)  # type: ignore[call-overload]
    assert Path(local).read_bytes() == shared + second
    with pytest.raises(EntryNotFoundError):
        own_api.hf_hub_download(REPO, "a.parquet", **options)  # type: ignore[call-overload]
    _purge(own_api, REPO, shared + second)
    assert (_stored(own_hub, shared), _stored(own_hub, second)) == (0, 0)


def test_deleted_content_counts_as_never_uploaded(own_hub: HubServer, own_api: HfApi) -> None:
    content = _noise(300_000)
    _commit(own_api, REPO, {"a.parquet": content})
    assert "actions" not in _batch(own_hub, REPO, content)["objects"][0]
    _purge(own_api, REPO, content)
    assert "actions" in _batch(own_hub, REPO, content)["objects"][0]
    refused = _commit_pointer(own_hub, REPO, content)
    assert refused.status_code == 400 and "LFS pointer pointed to a file that does not exist" in refused.text


def test_deleted_content_can_be_uploaded_again(own_hub: HubServer, own_api: HfApi, run_python: RunPython) -> None:
    """From another process: hf_xet's cache of this one names the deleted chunks."""
    shared, content = _noise(500_000), _noise(500_000)
    _commit(own_api, REPO, {"a.parquet": shared + content, "b.parquet": shared})
    _purge(own_api, REPO, shared + content)
    path = own_hub.folder.parent / "a.parquet"
    path.write_bytes(shared + content)
    variables = {"HF_HUB_DISABLE_XET": "1"} if constants.HF_HUB_DISABLE_XET else {}
    run_python(UPLOAD, REPO, str(path), HF_ENDPOINT=own_hub.endpoint, HF_TOKEN=own_hub.token, **variables)
    response = requests.get(f"{own_hub.endpoint}/datasets/{REPO}/resolve/main/a.parquet", timeout=30)
    assert response.content == shared + content


def test_a_deletion_survives_a_restart(own_hub: HubServer, own_api: HfApi) -> None:
    shared, first, second = (_noise(300_000) for _ in range(3))
    _commit(own_api, REPO, {"a.parquet": shared + first, "b.parquet": shared + second})
    _purge(own_api, REPO, shared + first)
    own_hub.stop()
    config = (own_hub.folder / "hub.json").read_text()
    with start_hub(own_hub.folder, xet='"xet": true' in config) as hub:
        api = HfApi(endpoint=hub.endpoint, token=hub.token)
        assert list(_list(api, REPO)) == [_sha256(shared + second)]
        response = requests.get(f"{hub.endpoint}/datasets/{REPO}/resolve/main/b.parquet", timeout=30)
        assert response.content == shared + second
        assert _status(hub, REPO, "a.parquet") == 404 and _stored(hub, first) == 0


def test_the_list_has_every_object_of_the_storage(api: HfApi, hub: HubServer, repo: str) -> None:
    old, new, removed, proposed, uploaded, small = (_noise(20_000 + n) for n in range(6))
    _commit(api, repo, {"data/a.parquet": old, "gone.parquet": removed, "note.txt": b"not LFS"})
    _commit(api, repo, {"data/a.parquet": new})
    api.create_commit(repo, [CommitOperationDelete("gone.parquet")], commit_message="x", repo_type="dataset")
    _commit(api, repo, {"pr.parquet": proposed}, create_pr=True)
    api.preupload_lfs_files(repo, [CommitOperationAdd("never.parquet", small)], repo_type="dataset")
    href = _batch(hub, repo, uploaded)["objects"][0]["actions"]["upload"]["href"]
    assert requests.put(href, data=uploaded, timeout=10).status_code == 200
    api.super_squash_history(repo, repo_type="dataset")
    # huggingface_hub can't list an object without a filename, as one that no commit names has on the real Hub.
    url, headers = f"{hub.endpoint}/api/datasets/{repo}/lfs-files", {"Authorization": f"Bearer {hub.token}"}
    listed = {file["fileOid"]: file for file in requests.get(url, headers=headers, timeout=10).json()}
    assert {sha256: (file["size"], file.get("filename"), file.get("ref")) for sha256, file in listed.items()} == {
        _sha256(old): (len(old), "data/a.parquet", "main"),
        _sha256(new): (len(new), "data/a.parquet", "main"),
        _sha256(removed): (len(removed), "gone.parquet", "main"),
        _sha256(proposed): (len(proposed), "pr.parquet", "refs/pr/1"),
        _sha256(small): (len(small), None, None),
        _sha256(uploaded): (len(uploaded), None, None),
    }
    pages: list[list[str]] = []
    next_url: str | None = f"{url}?limit=4"
    while next_url:
        response = requests.get(next_url, headers=headers, timeout=10)
        pages.append([file["fileOid"] for file in response.json()])
        next_url = response.links.get("next", {}).get("url")
    assert [len(page) for page in pages] == [4, 2] and {*pages[0], *pages[1]} == set(listed)


def test_a_rewritten_history_has_no_pointer_to_deleted_content(api: HfApi, hub: HubServer, repo: str) -> None:
    old, new = _noise(20_000), _noise(20_001)
    first = api.dataset_info(repo).sha
    tagged = _commit(api, repo, {"a.parquet": old, "note.txt": b"1"})
    api.create_tag(repo, tag="v1", repo_type="dataset")
    last = _commit(api, repo, {"a.parquet": new})
    _commit(api, repo, {"b.parquet": old}, create_pr=True)
    _purge(api, repo, old)
    paths = {
        revision: api.list_repo_files(repo, repo_type="dataset", revision=revision)
        for revision in ("main", "v1", "refs/pr/1")
    }
    assert paths["v1"] == [".gitattributes", "note.txt"]
    assert paths["main"] == paths["refs/pr/1"] == [".gitattributes", "a.parquet", "note.txt"]
    history = [commit.commit_id for commit in api.list_repo_commits(repo, repo_type="dataset")]
    assert len(history) == 3 and history[2] == first and not {tagged, last} & set(history)
    assert api.list_repo_refs(repo, repo_type="dataset").tags[0].target_commit == history[1]
    for oid in (tagged, last):
        with pytest.raises(RevisionNotFoundError):
            api.dataset_info(repo, revision=oid)
    _commit(api, repo, {"c.txt": b"c"}, parent_commit=history[0])


def test_without_a_rewrite_the_pointers_stay(api: HfApi, hub: HubServer, repo: str) -> None:
    content = _noise(20_000)
    head = _commit(api, repo, {"a.parquet": content})
    _purge(api, repo, content, rewrite_history=False)
    assert api.dataset_info(repo).sha == head
    assert api.list_repo_files(repo, repo_type="dataset") == [".gitattributes", "a.parquet"]
    assert _status(hub, repo, "a.parquet") == 404


def test_content_of_another_repo_stays(api: HfApi, hub: HubServer, repo: str, run_python: RunPython) -> None:
    content = _noise(200_000)
    other = f"{repo}-other"
    api.create_repo(other, repo_type="dataset")
    _commit(api, repo, {"a.parquet": content})
    assert _commit_pointer(hub, other, content).status_code == 400, "it was not pushed to this one"
    _commit(api, other, {"a.parquet": content})
    _purge(api, repo, content)
    assert _status(hub, repo, "a.parquet") == 404 and _commit_pointer(hub, repo, content).status_code == 400
    response = requests.get(f"{hub.endpoint}/datasets/{other}/resolve/main/a.parquet", timeout=30)
    assert response.content == content


def test_dropped_chunks_are_not_returned_by_deduplication(
    hub: HubServer, api: HfApi, repo: str, run_python: RunPython, tmp_path: Path
) -> None:
    upload = Uploader(hub, repo, run_python, tmp_path)
    rng = random.Random(11)
    shared, first, second = (rng.randbytes(size) for size in (3_000_000, 2_000_000, 1_000_000))
    upload(shared + first)
    kept = upload(shared + second)
    assert kept.known >= 2_500_000
    deleted = LFSFileInfo(
        fileOid=_sha256(shared + first), filename="", oid="", pushedAt="2026-01-01T00:00:00.000Z", size=0
    )
    api.permanently_delete_lfs_files(repo, [deleted], repo_type="dataset")
    assert upload.read(kept) == shared + second
    assert _stored(hub, first) == 0
    again = upload(shared + first)
    assert again.new >= len(first), "deleted chunks are uploaded again"
    assert upload.read(again) == shared + first
    assert upload.read(kept) == shared + second


@pytest.mark.parametrize("call", ["list", "delete"])
def test_the_storage_needs_the_right_to_write(api: HfApi, hub: HubServer, repo: str, call: str) -> None:
    content = _noise(20_000)
    _commit(api, repo, {"a.parquet": content})
    files = list(_list(api, repo).values())
    reader = HfApi(endpoint=hub.endpoint, token=hub.read_token)
    calls: dict[str, Callable[[], object]] = {
        "list": lambda: _list(reader, repo),
        "delete": lambda: reader.permanently_delete_lfs_files(repo, files, repo_type="dataset"),
    }
    with pytest.raises(HfHubHTTPError) as refused:
        calls[call]()
    assert refused.value.response.status_code == 403
    assert _status(hub, repo, "a.parquet") == 200


def test_a_deletion_is_repeated_after_a_lost_response(api: HfApi, hub: HubServer, repo: str) -> None:
    content = _noise(20_000)
    _commit(api, repo, {"a.parquet": content})
    files = list(_list(api, repo).values())
    hub.inject({"method": "POST", "path_regex": "/lfs-files/batch$", "status": 504, "after": True})
    with pytest.raises(HfHubHTTPError, match="504"):
        api.permanently_delete_lfs_files(repo, files, repo_type="dataset")
    assert _list(api, repo) == {}
    api.permanently_delete_lfs_files(repo, files, repo_type="dataset")
    assert _status(hub, repo, "a.parquet") == 404
