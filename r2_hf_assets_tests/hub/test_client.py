"""HubClient's look at the head: what it asks for, and which refusals it does not take for "no such repo"."""

import pytest
from huggingface_hub import CommitOperationAdd

from r2_hf_assets.errors import AccessError
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.commit import ask
from r2_hf_assets.hub.inventory import take_inventory
from r2_hf_assets.settings import HubSettings
from r2_hf_assets_tests.world import World


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
    world.sandbox.hub.faults(refusal)
    client = HubClient(settings)
    with pytest.raises(AccessError, match=advice):
        ask(client, "look at", client.head)
    with pytest.raises(AccessError, match=advice):
        take_inventory(settings)
    assert take_inventory(settings).revision == head


def test_a_404_is_a_repo_that_is_not_there(settings: HubSettings) -> None:
    assert HubClient(settings).head() is None
    assert take_inventory(settings).revision is None
