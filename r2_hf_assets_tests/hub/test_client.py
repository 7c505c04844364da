"""HubClient's requests: the head, refusals that are not an absent repo, the commit, and access to Xet."""

import json
import time
from pathlib import Path

import pytest
import requests
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError

from r2_hf_assets.errors import AccessError
from r2_hf_assets.hub.client import HubClient, RemoteFile
from r2_hf_assets.hub.errors import classify, status_of
from r2_hf_assets.hub.reads import take_inventory
from r2_hf_assets.retry import TransientError
from r2_hf_assets_tests.hub.conftest import Body, client, commit_files
from r2_hf_assets_tests.hub.uploads import upload_chunk
from r2_hf_assets_tests.support.world import World


@pytest.fixture
def head(world: World) -> str:
    """The head of a repo with a hundred files."""
    return commit_files(world, {f"data/en/{number:04d}.txt": b"x" for number in range(100)})


def test_the_head_takes_one_small_request(world: World, head: str) -> None:
    hub = world.sandbox.hub
    mark = hub.mark()
    assert client(world).head() == head
    (request,) = hub.requests(since=mark)
    assert (request["path"], request["query"]) == (f"/api/datasets/{world.repo_id}/revision/main", "expand=sha")
    url = f"{hub.endpoint}{request['path']}?{request['query']}"
    response = requests.get(url, headers={"Authorization": f"Bearer {hub.token}"}, timeout=10)
    assert response.json()["sha"] == head and len(response.content) < 200


# Responses for an expired token and a gated repo, for which the library raises RepositoryNotFoundError.
REFUSALS = [
    (401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "User Access Token has expired"}, "set HF_TOKEN"),
    (401, {"X-Error-Message": "Invalid username or password."}, "set HF_TOKEN"),
    (403, {"X-Error-Code": "GatedRepo"}, "write access"),
]


@pytest.mark.parametrize(("status", "headers", "advice"), REFUSALS)
def test_a_refusal_is_not_an_absent_repo(
    world: World, head: str, status: int, headers: dict[str, str], advice: str
) -> None:
    refusal = {"path_regex": "/revision/main$", "status": status, "headers": headers, "times": 2}
    world.sandbox.hub.inject(refusal)
    repo = client(world)
    with pytest.raises(AccessError, match=advice):
        repo.call_with_retry("read", repo.head)
    with pytest.raises(AccessError, match=advice):
        take_inventory(repo)
    assert take_inventory(repo).revision == head


def test_a_404_is_an_absent_repo(world: World) -> None:
    assert client(world).head() is None
    assert take_inventory(client(world)).revision is None


def test_a_commit_adds_and_deletes_only_on_top_of_its_parent(
    world: World, repo: HubClient, tmp_path: Path, body: Body
) -> None:
    first, second = (upload_chunk(repo, tmp_path, body(5_000)).files[0] for _ in range(2))
    parent = repo.head() or ""
    oid, url = repo.commit([RemoteFile("data/a", first.size, first.sha256)], [], parent, "Add a")
    assert (oid, url) == (repo.head(), repo.commit_url(oid))
    with pytest.raises(HfHubHTTPError) as refused:
        repo.commit([RemoteFile("data/b", second.size, second.sha256)], [], parent, "Add b")
    assert status_of(refused.value) == 412 and repo.head() == oid
    small = {"note.txt": b"words", "empty.txt": b""}
    repo.commit([RemoteFile("data/b", second.size, second.sha256)], ["data/a"], oid, "Add b", small)
    head = repo.head() or ""
    files = repo.files(["data/a", "data/b", *small], head)
    assert {path: file.sha256 for path, file in files.items()} == {"data/b": second.sha256, **dict.fromkeys(small)}
    assert {path: repo.read(path, head) for path in small} == small
    commits = world.api().list_repo_commits(world.repo_id, repo_type="dataset")
    assert [(commit.title, commit.message) for commit in commits[:2]] == [("Add b", ""), ("Add a", "")]


@pytest.mark.parametrize("body", [{"other": "field"}, "[1]", "<html>"])
def test_a_response_without_its_fields_is_a_transient_error(world: World, repo: HubClient, body: object) -> None:
    world.sandbox.hub.inject({"path_regex": "/(xet-write-token|commit)/", "times": 2, "status": 200, "body": body})
    calls = (repo.xet, lambda: repo.commit([], [], repo.head() or "", "Add a", {"note.txt": b"words"}))
    for call in calls:
        with pytest.raises(json.JSONDecodeError) as unreadable:
            call()
        assert classify(unreadable.value) == TransientError("the Hub's response can't be read")


def test_access_to_xet(world: World, repo: HubClient, monkeypatch: pytest.MonkeyPatch) -> None:
    access = repo.xet()
    assert access is not None and access.expires > time.time() and access.token
    assert access.endpoint.startswith(f"{repo.endpoint}/_cas/")
    assert access.refresh_url == f"{repo.endpoint}/api/datasets/{repo.repo_id}/xet-write-token/main"
    world.sandbox.hub.inject({"path_regex": "/xet-write-token/", "status": 404})
    assert repo.xet() is None, "a Hub without Xet"
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    mark = world.sandbox.hub.mark()
    assert client(world).xet() is None
    assert world.sandbox.hub.requests(mark) == []
