"""Reads of committed files: over Xet, over plain HTTP, by huggingface_hub, HfFileSystem and datasets."""

import io
import json
import os
import time
from pathlib import Path

import hf_xet
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from huggingface_hub import CommitOperationAdd, HfApi, HfFileSystem

from r2_hf_assets_tests.contract.conftest import RunPython
from r2_hf_sandbox import HubServer

SHARD = "data/en/chunk-00000.parquet"


@pytest.fixture
def shard(api: HfApi, repo: str) -> bytes:
    """A committed Parquet file of several Xet chunks."""
    rows = 3_000
    table = pa.table({"text": [f"row {n}" for n in range(rows)], "bytes": [os.urandom(300) for _ in range(rows)]})
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=1_000)
    content = file.getvalue()
    api.create_commit(repo, [CommitOperationAdd(SHARD, content)], commit_message="shard", repo_type="dataset")
    return content


def test_a_download_uses_xet(api: HfApi, hub: HubServer, repo: str, shard: bytes, tmp_path: Path) -> None:
    mark = hub.mark()
    local = api.hf_hub_download(repo, SHARD, repo_type="dataset", cache_dir=tmp_path)
    assert Path(local).read_bytes() == shard
    requested = hub.requests(mark)
    assert any("/_cas/" in request["path"] for request in requested)
    assert not any(request["method"] == "GET" and "/resolve/" in request["path"] for request in requested)


@pytest.mark.parametrize(
    ("start", "end"), [(0, 1), (70_000, 70_001), (65_536, 131_072), (1, 899_999), (500_000, 900_000)]
)
def test_any_range_is_read_over_xet(api: HfApi, hub: HubServer, repo: str, shard: bytes, start: int, end: int) -> None:
    (entry,) = api.get_paths_info(repo, [SHARD], repo_type="dataset")
    token = requests.get(f"{hub.endpoint}/api/datasets/{repo}/xet-read-token/main", timeout=10).json()
    group = hf_xet.XetSession().new_download_stream_group(
        endpoint=token["casUrl"], token=token["accessToken"], token_expiry_unix_secs=int(time.time()) + 600
    )
    info = hf_xet.XetFileInfo(entry.xet_hash, entry.size)
    assert b"".join(group.download_stream(info, start=start, end=end)) == shard[start:end]


def test_plain_requests_return_ranges_and_headers(hub: HubServer, repo: str, shard: bytes) -> None:
    url = f"{hub.endpoint}/datasets/{repo}/resolve/main/{SHARD}"
    head = requests.head(url, timeout=10)
    assert head.headers["Content-Length"] == head.headers["X-Linked-Size"] == str(len(shard))
    assert len(head.headers["X-Repo-Commit"]) == 40
    part = requests.get(url, headers={"Range": "bytes=1000-1999"}, timeout=10)
    assert (part.status_code, part.content) == (206, shard[1000:2000])
    assert requests.get(url, timeout=10).content == shard
    past_end = requests.get(url, headers={"Range": f"bytes={len(shard)}-"}, timeout=10)
    assert past_end.status_code == 416
    absent = requests.get(url + "x", timeout=10)
    assert (absent.status_code, absent.headers["X-Error-Code"]) == (404, "EntryNotFound")


def test_the_file_system_reads_a_row_group(hub: HubServer, repo: str, shard: bytes) -> None:
    files = HfFileSystem(endpoint=hub.endpoint, token=hub.token, skip_instance_cache=True)
    assert files.info(f"datasets/{repo}/{SHARD}")["size"] == len(shard)
    with files.open(f"datasets/{repo}/{SHARD}") as file:
        assert pq.ParquetFile(file).read_row_group(1)["text"][0].as_py() == "row 1000"


def test_datasets_loads_and_streams(hub: HubServer, repo: str, shard: bytes, run_python: RunPython) -> None:
    code = (
        "import datasets, os, sys\n"
        "whole = datasets.load_dataset(sys.argv[1], split='train')\n"
        "stream = datasets.load_dataset(sys.argv[1], split='train', streaming=True)\n"
        "print(whole.num_rows, next(iter(stream))['text'], flush=True)\n"
        # Arrow's reading threads can still hold a Python file when the interpreter ends, and then the process aborts.
        "os._exit(0)"
    )
    done = run_python(code, repo, HF_ENDPOINT=hub.endpoint, HF_TOKEN=hub.token)
    assert done.stdout.strip() == "3000 row 0"


def test_the_tree_is_listed_in_pages(api: HfApi, hub: HubServer, repo: str) -> None:
    paths = [f"data/{number:02d}.txt" for number in range(7)]
    adds = [CommitOperationAdd(path, path.encode()) for path in paths]
    api.create_commit(repo, adds, commit_message="many", repo_type="dataset")
    url: str | None = f"{hub.endpoint}/api/datasets/{repo}/tree/main/data?limit=3"
    pages: list[list[str]] = []
    while url:
        response = requests.get(url, timeout=10)
        pages.append([entry["path"] for entry in response.json()])
        url = response.links.get("next", {}).get("url")
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [path for page in pages for path in page] == paths
    missing = requests.get(f"{hub.endpoint}/api/datasets/{repo}/tree/main/nowhere", timeout=10)
    assert missing.headers["X-Error-Code"] == "EntryNotFound"


def test_the_client_lists_more_files_than_a_page(api: HfApi, hub: HubServer, repo: str) -> None:
    lines = [{"key": "header", "value": {"summary": "many"}}]
    lines += [{"key": "file", "value": {"path": f"d/{n:04d}", "content": "x"}} for n in range(1_100)]
    requests.post(
        f"{hub.endpoint}/api/datasets/{repo}/commit/main",
        data="\n".join(map(json.dumps, lines)),
        headers={"Authorization": f"Bearer {hub.token}"},
        timeout=60,
    ).raise_for_status()
    mark = hub.mark()
    assert len(api.list_repo_files(repo, repo_type="dataset")) == 1_101
    assert len([request for request in hub.requests(mark) if "/tree/" in request["path"]]) == 2


def test_html_pages_escape_names_and_messages(api: HfApi, hub: HubServer, repo: str) -> None:
    commit = api.create_commit(
        repo, [CommitOperationAdd("<b>.txt", b"x")], commit_message="<script>alert(1)</script>", repo_type="dataset"
    )
    for path in (f"/datasets/{repo}", f"/datasets/{repo}/commit/{commit.oid}"):
        page = requests.get(hub.endpoint + path, timeout=10)
        assert page.status_code == 200
        assert "<script>" not in page.text
        assert "<b>" not in page.text
    assert "&lt;script&gt;" in requests.get(commit.commit_url, timeout=10).text
