"""Commits through huggingface_hub's public API: what the local Hub accepts, refuses and stores."""

import base64
import hashlib
import json
import os
import signal
from pathlib import Path

import pytest
import requests
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import BadRequestError, EntryNotFoundError, HfHubHTTPError, RevisionNotFoundError

from r2_hf_assets_tests.contract.conftest import RunPython
from r2_hf_sandbox import HubServer, start_hub

CARD = b"---\nlicense: mit\n---\n# Podcasts\n"


def _add(path: str, content: bytes) -> CommitOperationAdd:
    return CommitOperationAdd(path_in_repo=path, path_or_fileobj=content)


def _paths(api: HfApi, repo: str) -> list[str]:
    return api.list_repo_files(repo, repo_type="dataset")


def _send(hub: HubServer, repo: str, *lines: dict[str, object]) -> requests.Response:
    """Post to the commit route without the client's checks."""
    header = {"key": "header", "value": {"summary": "by hand"}}
    return requests.post(
        f"{hub.endpoint}/api/datasets/{repo}/commit/main",
        data="\n".join(json.dumps(line) for line in (header, *lines)),
        headers={"Authorization": f"Bearer {hub.token}"},
        timeout=30,
    )


def test_a_repo_is_created_and_deleted(api: HfApi) -> None:
    url = api.create_repo("sandbox/new", repo_type="dataset", private=True)
    assert url.repo_id == "sandbox/new"
    assert api.create_repo("sandbox/new", repo_type="dataset", exist_ok=True) == url
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo("sandbox/new", repo_type="dataset")
    assert api.dataset_info("sandbox/new").private
    api.delete_repo("sandbox/new", repo_type="dataset")
    assert not api.repo_exists("sandbox/new", repo_type="dataset")


def test_a_commit_is_visible_in_every_listing(api: HfApi, repo: str, hub: HubServer) -> None:
    body = os.urandom(50_000)
    commit = api.create_commit(
        repo,
        [_add("data/en/chunk-00000.parquet", body), _add("README.md", CARD)],
        commit_message="chunk 0",
        commit_description="two\nlines",
        repo_type="dataset",
    )
    assert commit.commit_url == f"{hub.endpoint}/datasets/{repo}/commit/{commit.oid}"
    newest, first = api.list_repo_commits(repo, repo_type="dataset")
    assert (newest.commit_id, newest.title, newest.message) == (commit.oid, "chunk 0", "two\nlines")
    assert first.title == "initial commit"
    assert api.list_repo_refs(repo, repo_type="dataset").branches[0].target_commit == commit.oid
    info = api.dataset_info(repo, files_metadata=True)
    assert (info.sha, info.card_data.license) == (commit.oid, "mit")
    shard = next(file for file in info.siblings if file.rfilename.endswith(".parquet"))
    assert (shard.size, shard.lfs.sha256) == (50_000, hashlib.sha256(body).hexdigest())
    expanded = api.get_paths_info(
        repo, ["data/en/chunk-00000.parquet", "data", "absent"], expand=True, repo_type="dataset"
    )
    assert [entry.path for entry in expanded] == ["data/en/chunk-00000.parquet", "data"]
    assert expanded[0].last_commit.oid == commit.oid
    old = api.list_repo_files(repo, repo_type="dataset", revision=first.commit_id)
    assert old == [".gitattributes"]


def test_the_same_content_again_makes_no_commit(api: HfApi, repo: str, hub: HubServer) -> None:
    operations = {"data/a.parquet": os.urandom(20_000), "README.md": CARD}
    first = api.create_commit(
        repo, [_add(*item) for item in operations.items()], commit_message="1", repo_type="dataset"
    )
    mark = hub.mark()
    again = api.create_commit(
        repo, [_add(*item) for item in operations.items()], commit_message="2", repo_type="dataset"
    )
    assert again.oid == first.oid
    assert not [request for request in hub.requests(mark) if "/commit/" in request["path"]]


def test_a_posted_unchanged_file_makes_an_empty_commit(hub: HubServer, api: HfApi, repo: str) -> None:
    value = {"path": "a.txt", "content": "a"}
    first, second = (_send(hub, repo, {"key": "file", "value": value}).json()["commitOid"] for _ in range(2))
    assert first != second == api.dataset_info(repo).sha
    (file,) = api.get_paths_info(repo, ["a.txt"], expand=True, repo_type="dataset")
    assert file.last_commit.oid == first


def test_a_stale_parent_is_412_and_changes_nothing(api: HfApi, repo: str) -> None:
    parent = api.dataset_info(repo).sha
    head = api.create_commit(repo, [_add("a.txt", b"a")], commit_message="a", repo_type="dataset").oid
    with pytest.raises(HfHubHTTPError) as refused:
        api.create_commit(repo, [_add("b.txt", b"b")], commit_message="b", repo_type="dataset", parent_commit=parent)
    assert refused.value.response.status_code == 412
    assert api.dataset_info(repo).sha == head
    assert "b.txt" not in _paths(api, repo)


def test_a_pointer_to_absent_content_is_refused(hub: HubServer, api: HfApi, repo: str) -> None:
    value = {"path": "data/a.parquet", "algo": "sha256", "oid": "ab" * 32, "size": 10}
    response = _send(hub, repo, {"key": "lfsFile", "value": value})
    assert response.status_code == 400
    assert "LFS pointer" in response.json()["error"]
    assert _paths(api, repo) == [".gitattributes"]


def test_a_pointer_with_the_wrong_size_is_refused(hub: HubServer, api: HfApi, repo: str) -> None:
    body = os.urandom(1_000)
    api.create_commit(repo, [_add("a.parquet", body)], commit_message="a", repo_type="dataset")
    value = {"path": "b.parquet", "algo": "sha256", "oid": hashlib.sha256(body).hexdigest(), "size": 999}
    assert _send(hub, repo, {"key": "lfsFile", "value": value}).status_code == 400
    assert _send(hub, repo, {"key": "lfsFile", "value": {**value, "size": 1_000}}).status_code == 200


@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        ("a.txt", b"\0binary", "binary"),
        ("a.txt", b"x" * (10 * 1024 * 1024 + 1), "larger than 10 MiB"),
        ("../a.txt", b"x", "invalid path"),
        ("a/.git/config", b"x", "invalid path"),
        (".gitattributes/below", b"x", "a file and a folder"),
        ("README.md", b"---\nlicense: [\n---\n", "Invalid metadata"),
    ],
)
def test_an_invalid_regular_file_is_refused(hub: HubServer, repo: str, path: str, content: bytes, reason: str) -> None:
    value = {"path": path, "content": base64.b64encode(content).decode(), "encoding": "base64"}
    response = _send(hub, repo, {"key": "file", "value": value})
    assert response.status_code == 400
    assert reason in response.json()["error"]


def test_files_and_folders_are_deleted(api: HfApi, repo: str) -> None:
    paths = ["data/de/a.txt", "data/de/b.txt", "data/en/c.txt"]
    api.create_commit(repo, [_add(path, path.encode()) for path in paths], commit_message="add", repo_type="dataset")
    api.create_commit(
        repo,
        [CommitOperationDelete("data/en/c.txt"), CommitOperationDelete("data/de/", is_folder=True)],
        commit_message="delete",
        repo_type="dataset",
    )
    assert _paths(api, repo) == [".gitattributes"]
    with pytest.raises(EntryNotFoundError, match="doesn't exist"):
        api.create_commit(repo, [CommitOperationDelete("data/en/c.txt")], commit_message="again", repo_type="dataset")


def test_an_invalid_card_is_refused_before_the_upload(api: HfApi, repo: str) -> None:
    with pytest.raises((ValueError, BadRequestError)):
        api.create_commit(repo, [_add("README.md", b"---\nlicense: [\n---\n")], commit_message="x", repo_type="dataset")


def test_an_unknown_revision_is_not_found(api: HfApi, repo: str) -> None:
    with pytest.raises(RevisionNotFoundError):
        api.dataset_info(repo, revision="no-such-branch")


def test_a_killed_hub_restarts_with_every_acknowledged_commit(tmp_path: Path) -> None:
    body = os.urandom(30_000)
    with start_hub(tmp_path) as hub:
        api = HfApi(endpoint=hub.endpoint, token=hub.token)
        api.create_repo("sandbox/kept", repo_type="dataset")
        commit = api.create_commit(
            "sandbox/kept", [_add("a.parquet", body), _add("a.txt", b"a")], commit_message="a", repo_type="dataset"
        )
        os.kill(hub.process.pid, signal.SIGKILL)
    port = int(hub.endpoint.rpartition(":")[2])
    with start_hub(tmp_path, port=port) as hub:
        api = HfApi(endpoint=hub.endpoint, token=hub.token)
        assert api.dataset_info("sandbox/kept").sha == commit.oid
        local = api.hf_hub_download("sandbox/kept", "a.parquet", repo_type="dataset", cache_dir=tmp_path / "cache")
        assert Path(local).read_bytes() == body


def test_processes_commit_concurrently(hub: HubServer, api: HfApi, repo: str, run_python: RunPython) -> None:
    """Each process uploads over Xet, which hf_xet's own local store does not allow."""
    code = (
        "import os, subprocess, sys\n"
        "one = '''\n"
        "import os, sys\n"
        "from huggingface_hub import CommitOperationAdd, HfApi\n"
        "add = CommitOperationAdd(sys.argv[2] + '.parquet', os.urandom(300_000))\n"
        "HfApi().create_commit(sys.argv[1], [add], commit_message='x', repo_type='dataset')\n"
        "'''\n"
        "running = [subprocess.Popen([sys.executable, '-c', one, sys.argv[1], name]) for name in 'abc']\n"
        "sys.exit(sum(process.wait() for process in running))"
    )
    run_python(code, repo, HF_ENDPOINT=hub.endpoint, HF_TOKEN=hub.token)
    assert _paths(api, repo) == [".gitattributes", "a.parquet", "b.parquet", "c.parquet"]
