"""Uploads without Xet: LFS in one request and in parts, content that is verified, and a Hub without Xet."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import requests
from huggingface_hub import HfApi

from r2_hf_assets_tests.contract.conftest import RunPython
from r2_hf_sandbox import HubServer, start_hub

UPLOAD = """
import sys
from huggingface_hub import CommitOperationAdd, HfApi
api = HfApi()
api.create_repo(sys.argv[1], repo_type="dataset", exist_ok=True)
adds = [CommitOperationAdd(path.rpartition("/")[2], path) for path in sys.argv[2:]]
print(api.create_commit(sys.argv[1], adds, commit_message="lfs", repo_type="dataset").oid)
"""


def _files(folder: Path, **sizes: int) -> dict[str, bytes]:
    contents = {f"{name}.parquet": os.urandom(size) for name, size in sizes.items()}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return contents


def _batch(hub: HubServer, repo: str, content: bytes, **extra: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "operation": "upload",
        "transfers": ["basic", "multipart"],
        "objects": [{"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}],
        **extra,
    }
    response = requests.post(
        f"{hub.endpoint}/datasets/{repo}.git/info/lfs/objects/batch",
        json=body,
        headers={"Authorization": f"Bearer {hub.token}"},
        timeout=10,
    )
    response.raise_for_status()
    return response.json()


@pytest.mark.parametrize("xet", [True, False])
def test_files_are_uploaded_whole_or_in_parts_and_once(tmp_path: Path, run_python: RunPython, xet: bool) -> None:
    contents = _files(tmp_path, small=20_000, large=250_001)
    paths = [str(tmp_path / name) for name in contents]
    with start_hub(tmp_path / "hub", xet=xet, lfs_part_bytes=100_000) as hub:
        variables = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": hub.token, "HF_HUB_DISABLE_XET": "1"}
        first = run_python(UPLOAD, "sandbox/lfs", *paths, **variables).stdout.strip()
        methods = [request["method"] for request in hub.requests() if request["path"].startswith("/_lfs/")]
        assert sorted(methods) == ["POST", "PUT", "PUT", "PUT", "PUT"]  # the small file, three parts, their completion
        api = HfApi(endpoint=hub.endpoint, token=hub.token)
        for name, content in contents.items():
            local = api.hf_hub_download("sandbox/lfs", name, repo_type="dataset", cache_dir=tmp_path / "cache")
            assert Path(local).read_bytes() == content
        mark = hub.mark()
        assert run_python(UPLOAD, "sandbox/lfs", *paths, **variables).stdout.strip() == first
        assert not [request for request in hub.requests(mark) if request["path"].startswith("/_lfs/")]


def test_a_hub_without_xet_has_no_xet_routes(tmp_path: Path) -> None:
    with start_hub(tmp_path, xet=False) as hub:
        HfApi(endpoint=hub.endpoint, token=hub.token).create_repo("sandbox/plain", repo_type="dataset")
        headers = {"Authorization": f"Bearer {hub.token}"}
        url = f"{hub.endpoint}/api/datasets/sandbox/plain"
        assert requests.get(f"{url}/xet-write-token/main", headers=headers, timeout=10).status_code == 404
        assert requests.get(url, headers=headers, timeout=10).json()["xetEnabled"] is False
        assert _batch(hub, "sandbox/plain", b"x", transfers=["basic", "multipart", "xet"])["transfer"] == "basic"


def test_the_batch_chooses_xet_for_clients_that_list_it(hub: HubServer, repo: str) -> None:
    """As huggingface_hub 0.x does; 2.x does not."""
    assert _batch(hub, repo, b"x", transfers=["basic", "multipart", "xet"])["transfer"] == "xet"


def test_content_with_another_hash_or_signature_is_refused(hub: HubServer, repo: str) -> None:
    content = os.urandom(1_000)
    (batch_object,) = _batch(hub, repo, content)["objects"]
    href = batch_object["actions"]["upload"]["href"]
    assert requests.put(href, data=content[:-1], timeout=10).status_code == 400
    assert requests.put(href.replace("sig=", "sig=0"), data=content, timeout=10).status_code == 403
    assert "actions" in _batch(hub, repo, content)["objects"][0]
    assert requests.put(href, data=content, timeout=10).status_code == 200
    assert "actions" not in _batch(hub, repo, content)["objects"][0]
