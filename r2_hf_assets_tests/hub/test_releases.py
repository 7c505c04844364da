"""HubClient's tags, refs and history on the local Hub."""

import pytest
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import RevisionNotFoundError

from r2_hf_assets.errors import AccessError
from r2_hf_assets.hub.client import HubClient, Ref, TagTaken
from r2_hf_assets_tests.hub.conftest import client, commit_files
from r2_hf_assets_tests.support.world import World


@pytest.fixture
def oids(world: World) -> list[str]:
    """Two commits after the initial one."""
    return [commit_files(world, {name: name.encode()}) for name in ("a.txt", "b.txt")]


def test_a_tag_names_a_revision_and_stays_there(world: World, repo: HubClient, oids: list[str]) -> None:
    repo.create_tag("v1", oids[0], "The first release")
    repo.create_tag("v1", oids[0], "The first release")
    with pytest.raises(TagTaken) as taken:
        repo.create_tag("v1", oids[1], "Another one")
    assert str(taken.value) == f"tag v1 of {world.repo_id} is commit {oids[0]}, not {oids[1]}"
    assert repo.refs() == (Ref("branch", "main", oids[1]), Ref("tag", "v1", oids[0]))
    with pytest.raises(RevisionNotFoundError):
        repo.create_tag("v2", "ab" * 20, "No such commit")


def test_a_tag_is_created_once_after_a_lost_response(world: World, repo: HubClient, oids: list[str]) -> None:
    world.sandbox.hub.inject({"method": "POST", "path_regex": "/tag/", "status": 504, "after": True})
    mark = world.sandbox.hub.mark()
    repo.call_with_retry("tag", lambda: repo.create_tag("v1", oids[1], "The first release"))
    assert [request["status"] for request in world.sandbox.hub.requests(mark)] == [504, 409, 200]
    assert repo.refs() == (Ref("branch", "main", oids[1]), Ref("tag", "v1", oids[1]))


def test_refs_have_the_pull_requests(world: World, repo: HubClient, oids: list[str]) -> None:
    add = [CommitOperationAdd("c.txt", b"c")]
    opened = world.api().create_commit(world.repo_id, add, commit_message="c", repo_type="dataset", create_pr=True)
    assert repo.refs() == (Ref("branch", "main", oids[1]), Ref("pull_request", "1", opened.oid))


def test_the_history_of_a_revision(world: World, repo: HubClient, oids: list[str]) -> None:
    newest, older, initial = repo.commits("main")
    assert [newest.oid, older.oid] == oids[::-1] and initial.title == "initial commit"
    assert newest.date >= older.date >= initial.date
    repo.create_tag("v1", oids[0], "")
    assert repo.commits("v1") == repo.commits(oids[0]) == [older, initial]


def test_a_token_without_the_right_creates_no_tag(world: World, repo: HubClient, oids: list[str]) -> None:
    reader = client(world, world.sandbox.hub.read_token)
    with pytest.raises(AccessError, match="the token lacks a right"):
        reader.call_with_retry("tag", lambda: reader.create_tag("v1", oids[0], ""))
    assert reader.refs() == (Ref("branch", "main", oids[1]),)
