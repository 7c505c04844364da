"""Tags, pull request refs and super-squash through huggingface_hub's public API."""

import os
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError
from huggingface_hub.hf_api import GitRefs

from r2_hf_sandbox import HubServer, start_hub


def _commit(api: HfApi, repo: str, path: str, content: bytes, **options: object) -> str:
    """Commit a file, or open a pull request with it, and return the oid."""
    add = CommitOperationAdd(path, content)
    return api.create_commit(repo, [add], commit_message=path, repo_type="dataset", **options).oid  # type: ignore[call-overload]


def _paths(api: HfApi, repo: str, revision: str = "main") -> list[str]:
    return api.list_repo_files(repo, repo_type="dataset", revision=revision)


def _titles(api: HfApi, repo: str, revision: str = "main") -> list[str]:
    return [commit.title for commit in api.list_repo_commits(repo, repo_type="dataset", revision=revision)]


@pytest.fixture
def tagged(api: HfApi, repo: str) -> str:
    """The commit of a.txt, tagged v1, below the one of b.txt."""
    oid = _commit(api, repo, "a.txt", b"a")
    api.create_tag(repo, tag="v1", tag_message="The first", revision=oid, repo_type="dataset")
    _commit(api, repo, "b.txt", b"b")
    return oid


@pytest.fixture
def pull_request(api: HfApi, repo: str) -> str:
    """The commit of a pull request that adds a file in a folder."""
    return _commit(api, repo, "pr/c.parquet", os.urandom(10_000), create_pr=True)


def test_a_tag_is_a_revision_of_every_route(api: HfApi, repo: str, tagged: str, tmp_path: Path) -> None:
    _commit(api, repo, "a.txt", b"changed")
    for revision in ("v1", "refs/tags/v1", tagged):
        assert api.dataset_info(repo, revision=revision).sha == tagged
        assert _titles(api, repo, revision) == ["a.txt", "initial commit"]
        assert _paths(api, repo, revision) == [".gitattributes", "a.txt"]
        (entry,) = api.get_paths_info(repo, ["a.txt", "b.txt"], revision=revision, repo_type="dataset", expand=True)
        assert entry.last_commit is not None and entry.last_commit.oid == tagged
        options = {"repo_type": "dataset", "revision": revision, "cache_dir": tmp_path / revision}
        assert Path(api.hf_hub_download(repo, "a.txt", **options)).read_bytes() == b"a"  # type: ignore[call-overload]


def test_tags_are_listed_and_deleted(api: HfApi, repo: str, tagged: str) -> None:
    api.create_tag(repo, tag="newest", repo_type="dataset")
    refs = api.list_repo_refs(repo, repo_type="dataset")
    head = api.dataset_info(repo).sha
    assert [(tag.name, tag.ref, tag.target_commit) for tag in refs.tags] == [
        ("newest", "refs/tags/newest", head),
        ("v1", "refs/tags/v1", tagged),
    ]
    assert [branch.target_commit for branch in refs.branches] == [head] and refs.pull_requests is None
    api.delete_tag(repo, tag="v1", repo_type="dataset")
    assert [tag.name for tag in api.list_repo_refs(repo, repo_type="dataset").tags] == ["newest"]
    for call in (lambda: api.dataset_info(repo, revision="v1"), lambda: _delete(api, repo, "v1")):
        with pytest.raises(RevisionNotFoundError):
            call()


def _delete(api: HfApi, repo: str, tag: str) -> None:
    api.delete_tag(repo, tag=tag, repo_type="dataset")


def test_an_existing_tag_is_409_and_stays(api: HfApi, repo: str, tagged: str) -> None:
    with pytest.raises(HfHubHTTPError) as refused:
        api.create_tag(repo, tag="v1", repo_type="dataset")
    assert refused.value.response.status_code == 409
    api.create_tag(repo, tag="v1", repo_type="dataset", exist_ok=True)
    assert api.dataset_info(repo, revision="v1").sha == tagged


def test_a_tag_needs_a_revision_and_a_right(api: HfApi, hub: HubServer, repo: str) -> None:
    with pytest.raises(RevisionNotFoundError):
        api.create_tag(repo, tag="v1", revision="ab" * 20, repo_type="dataset")
    reader = HfApi(endpoint=hub.endpoint, token=hub.read_token)
    for call in (
        lambda: reader.create_tag(repo, tag="v1", repo_type="dataset"),
        lambda: reader.delete_tag(repo, tag="v1", repo_type="dataset"),
        lambda: reader.super_squash_history(repo, repo_type="dataset"),
    ):
        with pytest.raises(HfHubHTTPError) as refused:
            call()
        assert refused.value.response.status_code == 403
    assert api.list_repo_refs(repo, repo_type="dataset").tags == []


def test_a_pull_request_is_a_ref_beside_main(api: HfApi, repo: str, tmp_path: Path) -> None:
    head = api.dataset_info(repo).sha
    content = os.urandom(10_000)
    opened = api.create_commit(
        repo,
        [CommitOperationAdd("pr/c.parquet", content)],
        commit_message="c",
        repo_type="dataset",
        create_pr=True,
    )
    assert (opened.pr_revision, opened.pr_num) == ("refs/pr/1", 1)
    second = _commit(api, repo, "d.txt", b"d", revision="refs/pr/1")
    other = _commit(api, repo, "e.txt", b"e", create_pr=True, parent_commit=head)
    listed = api.list_repo_refs(repo, repo_type="dataset", include_pull_requests=True).pull_requests
    assert [(pr.name, pr.ref, pr.target_commit) for pr in listed or []] == [
        ("1", "refs/pr/1", second),
        ("2", "refs/pr/2", other),
    ]
    assert api.dataset_info(repo).sha == head and _paths(api, repo) == [".gitattributes"]
    for revision in ("refs/pr/1", second):
        assert api.dataset_info(repo, revision=revision).sha == second
        assert _paths(api, repo, revision) == [".gitattributes", "d.txt", "pr/c.parquet"]
        assert _titles(api, repo, revision) == ["d.txt", "c", "initial commit"]
        inside = api.list_repo_tree(repo, "pr", revision=revision, repo_type="dataset")
        assert [entry.path for entry in inside] == ["pr/c.parquet"]
        options = {"repo_type": "dataset", "revision": revision, "cache_dir": tmp_path / revision}
        assert Path(api.hf_hub_download(repo, "pr/c.parquet", **options)).read_bytes() == content  # type: ignore[call-overload]
    with pytest.raises(RevisionNotFoundError):
        api.dataset_info(repo, revision="refs/pr/3")


def test_a_squash_keeps_the_tree_and_loses_the_history(api: HfApi, repo: str) -> None:
    old = [_commit(api, repo, name, os.urandom(2_000)) for name in ("a.parquet", "b.parquet")]
    before = api.get_paths_info(repo, ["a.parquet", "b.parquet", ".gitattributes"], repo_type="dataset")
    api.super_squash_history(repo, repo_type="dataset", commit_message="Release 1\n\nAll of it")
    (commit,) = api.list_repo_commits(repo, repo_type="dataset")
    assert (commit.title, commit.message, commit.commit_id) == ("Release 1", "All of it", api.dataset_info(repo).sha)
    paths = ["a.parquet", "b.parquet", ".gitattributes"]
    assert api.get_paths_info(repo, paths, repo_type="dataset") == before
    for oid in old:
        with pytest.raises(RevisionNotFoundError):
            api.dataset_info(repo, revision=oid)
        with pytest.raises(RevisionNotFoundError):
            _paths(api, repo, oid)
    last = _commit(api, repo, "c.txt", b"c", parent_commit=commit.commit_id)
    assert _titles(api, repo, last) == ["c.txt", "Release 1"]


def test_tags_and_pull_requests_hold_commits_from_before_a_squash(
    api: HfApi, repo: str, tagged: str, pull_request: str
) -> None:
    head = api.list_repo_commits(repo, repo_type="dataset")[0].commit_id
    api.super_squash_history(repo, repo_type="dataset")
    assert _titles(api, repo) == ["Super-squash branch 'main' using huggingface_hub"]
    assert _titles(api, repo, "v1") == ["a.txt", "initial commit"]
    assert _titles(api, repo, head) == ["b.txt", "a.txt", "initial commit"], "below the pull request"
    api.create_tag(repo, tag="old", revision=head, repo_type="dataset")
    assert _paths(api, repo, "old") == [".gitattributes", "a.txt", "b.txt"]


def test_a_commit_is_lost_with_the_last_tag_that_holds_it(api: HfApi, repo: str, tagged: str) -> None:
    api.super_squash_history(repo, repo_type="dataset")
    assert api.dataset_info(repo, revision=tagged).sha == tagged
    _delete(api, repo, "v1")
    with pytest.raises(RevisionNotFoundError):
        api.dataset_info(repo, revision=tagged)


def test_refs_survive_a_restart(tmp_path: Path) -> None:
    repo = "sandbox/kept"
    seen: list[tuple[GitRefs, list[list[str]]]] = []
    for _ in range(2):
        with start_hub(tmp_path) as hub:
            api = HfApi(endpoint=hub.endpoint, token=hub.token)
            if not seen:
                api.create_repo(repo, repo_type="dataset")
                _commit(api, repo, "a.txt", b"a")
                api.create_tag(repo, tag="v1", repo_type="dataset")
                _commit(api, repo, "b.txt", b"b", create_pr=True)
                api.super_squash_history(repo, repo_type="dataset")
            refs = api.list_repo_refs(repo, repo_type="dataset", include_pull_requests=True)
            seen.append((refs, [_titles(api, repo, revision) for revision in ("main", "v1", "refs/pr/1")]))
    assert seen[0] == seen[1]


def test_faults_apply_to_the_routes_of_releases(api: HfApi, hub: HubServer, repo: str) -> None:
    hub.inject({"method": "POST", "path_regex": "/(tag|super-squash)/main$", "status": 503, "after": True, "times": 2})
    for call in (
        lambda: api.create_tag(repo, tag="v1", repo_type="dataset"),
        lambda: api.super_squash_history(repo, repo_type="dataset", commit_message="one"),
    ):
        with pytest.raises(HfHubHTTPError, match="503"):
            call()
    assert _titles(api, repo) == ["one"] and _titles(api, repo, "v1") == ["initial commit"]
