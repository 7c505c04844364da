"""Authorization on the local Hub, and the exceptions that huggingface_hub raises."""

import pytest
import requests
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from r2_hf_sandbox import HubServer


def _commit(api: HfApi, repo: str) -> None:
    api.create_commit(repo, [CommitOperationAdd("a.txt", b"a")], commit_message="a", repo_type="dataset")


def test_a_write_without_a_token_is_refused(hub: HubServer, repo: str) -> None:
    with pytest.raises(HfHubHTTPError) as refused:
        _commit(HfApi(endpoint=hub.endpoint, token=False), repo)
    assert refused.value.response.status_code == 401


def test_a_wrong_token_is_refused(hub: HubServer, repo: str) -> None:
    with pytest.raises(HfHubHTTPError, match="Invalid credentials") as refused:
        _commit(HfApi(endpoint=hub.endpoint, token="hf_wrong"), repo)
    assert refused.value.response.status_code == 401


def test_a_read_token_reads_and_does_not_write(hub: HubServer, repo: str) -> None:
    reader = HfApi(endpoint=hub.endpoint, token=hub.read_token)
    assert reader.dataset_info(repo).id == repo
    with pytest.raises(HfHubHTTPError) as refused:
        _commit(reader, repo)
    assert refused.value.response.status_code == 403


def test_a_private_repository_is_hidden(hub: HubServer, api: HfApi) -> None:
    api.create_repo("sandbox/hidden", repo_type="dataset", private=True)
    assert api.dataset_info("sandbox/hidden").private
    with pytest.raises(RepositoryNotFoundError):
        HfApi(endpoint=hub.endpoint, token=False).dataset_info("sandbox/hidden")
    assert requests.get(f"{hub.endpoint}/datasets/sandbox/hidden", timeout=10).status_code == 404


def test_an_absent_repository_is_404(hub: HubServer, api: HfApi) -> None:
    with pytest.raises(RepositoryNotFoundError):
        _commit(api, "sandbox/nowhere")
    response = requests.get(
        f"{hub.endpoint}/api/datasets/sandbox/nowhere", headers={"Authorization": f"Bearer {hub.token}"}, timeout=10
    )
    assert (response.status_code, response.headers["X-Error-Code"]) == (404, "RepoNotFound")


def test_the_content_store_accepts_only_its_own_token(hub: HubServer, repo: str) -> None:
    read = requests.get(f"{hub.endpoint}/api/datasets/{repo}/xet-read-token/main", timeout=10).json()
    write_url = f"{hub.endpoint}/api/datasets/{repo}/xet-write-token/main"
    assert requests.get(write_url, timeout=10).status_code == 401
    url = f"{read['casUrl']}/v1/xorbs/default/{'ab' * 32}"
    for token in (hub.token, read["accessToken"], read["accessToken"].replace("xet.read", "xet.write")):
        response = requests.post(url, data=b"", headers={"Authorization": f"Bearer {token}"}, timeout=10)
        assert response.status_code == 401


def test_whoami_returns_the_role_of_the_token(hub: HubServer, api: HfApi) -> None:
    assert api.whoami()["auth"]["accessToken"]["role"] == "write"
    assert HfApi(endpoint=hub.endpoint, token=hub.read_token).whoami()["auth"]["accessToken"]["role"] == "read"
