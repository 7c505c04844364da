"""The code of docs/reading.md, run block by block against the sandbox: exactly the chosen rows, from what is needed."""

import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from r2_hf_assets_tests.support.world import World

BLOCKS = re.findall(r"^```python\n(.*?)^```$", (Path(__file__).parents[1] / "docs/reading.md").read_text(), re.M | re.S)
FOOTER_BYTES = 64 * 1024  # what pyarrow reads of a file's end
Group = tuple[str, int]  # path in the repo, row group
REPORT = """
import hashlib, json, os, sys
rows = [row for table in read_rows(chosen) for row in table.to_pylist()]
digests = [hashlib.sha256(row["audio"]["bytes"]).hexdigest() for row in rows]
print(json.dumps([[row["audio"]["path"], digest, row["text"]] for row, digest in zip(rows, digests)]))
# Arrow's threads can still use a Python file when the interpreter ends, which aborts the process.
sys.stdout.flush()
os._exit(0)
"""


@pytest.fixture
def committed(in_process: World, monkeypatch: pytest.MonkeyPatch) -> tuple[World, list[Any]]:
    """Chunks of several row groups, and the rows that the document chooses."""
    monkeypatch.setenv("PARQUET_ROWGROUP_BYTES", "150000")
    summary = in_process.upload(episodes={"en": 4, "de": 1}, segments=(12, 12), seconds=(2.0, 12.0), awkward=True)
    in_process.scan()
    in_process.build_due()
    chosen = [row for row in summary.rows if row.folder == "en" and row.duration and 5 <= row.duration <= 15]
    return in_process, sorted([row.key, row.sha256, row.text] for row in chosen if row.dnsmos and row.dnsmos > 3.4)


def run(world: World, *blocks: str) -> subprocess.CompletedProcess[str]:
    code = "\n".join([*blocks, REPORT]).replace("owner/name", world.repo_id)
    env = world.command_env(**{name: world.env[name] for name in ("HF_ENDPOINT", "HF_TOKEN", "HF_HOME")})
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_exactly_the_chosen_rows_are_read_and_only_their_row_groups(committed: tuple[World, list[Any]]) -> None:
    world, expected = committed
    duckdb, polars, read = BLOCKS
    groups, needed = row_groups(world, {key for key, *_ in expected})
    assert 0 < len(expected) < 48 and len(needed) < len([name for name, _ in groups if "/en/" in name])
    for choose in ((duckdb,), (duckdb, polars)):
        mark = world.sandbox.hub.mark()
        *printed, reported = run(world, *choose, read).stdout.splitlines()
        assert sorted(json.loads(reported)) == expected
        shown = {tuple(line.split()[:2]) for line in printed}
        assert {(key, str(len(world.object(key)))) for key, *_ in expected} <= shown
        fetched = ranges(world, mark)
        assert {
            group for group, place in groups.items() if any(overlap(place, one) for one in fetched[group[0]])
        } == needed


def row_groups(world: World, keys: set[str]) -> tuple[dict[Group, tuple[int, int]], set[Group]]:
    """Return the first and last byte of every row group, and the row groups that the index names for these keys."""
    places: dict[Group, tuple[int, int]] = {}
    needed: set[Group] = set()
    with world.dataset_folder() as folder:
        for path in folder.glob("data/*/*.parquet"):
            metadata = pq.read_metadata(path)
            for number in range(metadata.num_row_groups):
                group = metadata.row_group(number)
                columns = [group.column(index) for index in range(group.num_columns)]
                start = min(column.dictionary_page_offset or column.data_page_offset for column in columns)
                end = start + sum(column.total_compressed_size for column in columns)
                places[path.relative_to(folder).as_posix(), number] = (start, end - 1)
        for path in folder.glob("metadata/*/*.parquet"):
            rows = pq.read_table(path, columns=["key", "file", "row_group", "reject_reason"]).to_pylist()
            needed |= {
                (row["file"], row["row_group"]) for row in rows if row["key"] in keys and not row["reject_reason"]
            }
    return places, needed


def ranges(world: World, mark: int) -> dict[str, list[tuple[int, int]]]:
    """Return the ranges of data files that were requested since `mark`, without the reads of footers."""
    fetched: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for request in world.sandbox.hub.requests(mark):
        if request["method"] != "GET" or "/resolve/" not in request["path"]:
            continue
        revision, _, path = request["path"].partition("/resolve/")[2].partition("/")
        assert revision == world.head()
        if path.startswith("data/"):
            first, last = map(int, request["headers"]["range"].removeprefix("bytes=").split("-"))
            if last - first != FOOTER_BYTES - 1:
                fetched[path].append((first, last))
    assert all("/en/" in path for path in fetched)
    return fetched


def overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]
