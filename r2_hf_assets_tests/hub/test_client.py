"""HubClient's own requests: the head, and which refusals are not "no such repo"; the commit; the way to Xet."""

import json
import time
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, constants
from huggingface_hub.errors import HfHubHTTPError

from r2_hf_assets.errors import AccessError
from r2_hf_assets.hub.client import HubClient, RemoteFile
from r2_hf_assets.hub.errors import classify, status_of
from r2_hf_assets.hub.reads import take_inventory
from r2_hf_assets.retry import TransientError
from r2_hf_assets.settings import HubSettings
from r2_hf_assets_tests.hub.conftest import Body
from r2_hf_assets_tests.hub.uploads import upload_chunk
from r2_hf_assets_tests.support.world import World


@pytest.fixture
def settings(world: World) -> HubSettings:
    hub = world.sandbox.hub
    return HubSettings(world.repo_id, hub.token, hub.endpoint)


@pytest.fixture
def head(world: World) -> str:
    """The head of a repo with a hundred files."""
    world.api().create_repo(world.repo_id, repo_type="dataset")
    operations = [CommitOperationAdd(f"data/en/{number:04d}.txt", b"x") for number in range(100)]
    return world.api().create_commit(world.repo_id, operations, commit_message="x", repo_type="dataset").oid


def test_the_head_is_asked_for_alone(world: World, settings: HubSettings, head: str) -> None:
    import requests

    mark = world.sandbox.hub.mark()
    assert HubClient(settings).head() == head
    (request,) = world.sandbox.hub.requests(since=mark)
    assert (request["path"], request["query"]) == (f"/api/datasets/{world.repo_id}/revision/main", "expand=sha")
    url = f"{settings.endpoint}{request['path']}?{request['query']}"
    answer = requests.get(url, headers={"Authorization": f"Bearer {settings.token}"}, timeout=10)
    assert answer.json()["sha"] == head and len(answer.content) < 200


# What the Hub says of a token that expired, and of a gated repo; the library makes RepositoryNotFoundError of both.
NOT_FOR_YOU = [
    (401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "User Access Token has expired"}, "set HF_TOKEN"),
    (401, {"X-Error-Message": "Invalid username or password."}, "set HF_TOKEN"),
    (403, {"X-Error-Code": "GatedRepo"}, "write access"),
]


@pytest.mark.parametrize(("status", "headers", "advice"), NOT_FOR_YOU)
def test_a_refusal_is_not_a_repo_that_is_not_there(
    world: World, settings: HubSettings, head: str, status: int, headers: dict[str, str], advice: str
) -> None:
    refusal = {"path_regex": "/revision/main$", "status": status, "headers": headers, "times": 2}
    world.sandbox.hub.inject(refusal)
    client = HubClient(settings)
    with pytest.raises(AccessError, match=advice):
        client.call_with_retry("look at", client.head)
    with pytest.raises(AccessError, match=advice):
        take_inventory(client)
    assert take_inventory(client).revision == head


def test_a_404_is_a_repo_that_is_not_there(settings: HubSettings) -> None:
    client = HubClient(settings)
    assert client.head() is None
    assert take_inventory(client).revision is None


def test_a_commit_names_adds_and_deletes_on_top_of_its_parent_and_nothing_else(
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
    there = repo.files(["data/a", "data/b", *small], head)
    assert {path: file.sha256 for path, file in there.items()} == {"data/b": second.sha256, **dict.fromkeys(small)}
    assert {path: repo.read(path, head) for path in small} == small
    made = world.api().list_repo_commits(world.repo_id, repo_type="dataset")
    assert [(commit.title, commit.message) for commit in made[:2]] == [("Add b", ""), ("Add a", "")]


@pytest.mark.parametrize("body", [{"another": "answer"}, "[1]", "<html>"])
def test_an_answer_that_lacks_its_fields_may_pass(world: World, repo: HubClient, body: object) -> None:
    world.sandbox.hub.inject({"path_regex": "/(xet-write-token|commit)/", "times": 2, "status": 200, "body": body})
    calls = (repo.xet, lambda: repo.commit([], [], repo.head() or "", "Add a", {"note.txt": b"words"}))
    for call in calls:
        with pytest.raises(json.JSONDecodeError) as unreadable:
            call()
        assert classify(unreadable.value) == TransientError("the Hub's answer can't be read")


def test_where_content_goes_over_xet(world: World, repo: HubClient, monkeypatch: pytest.MonkeyPatch) -> None:
    access = repo.xet()
    assert access is not None and access.expires > time.time() and access.token
    assert access.endpoint.startswith(f"{repo.endpoint}/_cas/")
    assert access.refresh_url == f"{repo.endpoint}/api/datasets/{repo.repo_id}/xet-write-token/main"
    world.sandbox.hub.inject({"path_regex": "/xet-write-token/", "status": 404})
    assert repo.xet() is None, "a Hub without Xet"
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    mark = world.sandbox.hub.mark()
    assert HubClient(HubSettings(repo.repo_id, world.sandbox.hub.token, repo.endpoint)).xet() is None
    assert world.sandbox.hub.requests(mark) == []
