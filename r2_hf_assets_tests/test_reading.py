"""The code of docs/reading.md, run against the sandbox: exactly the rows that it names, from what is needed.

torch takes 0.5 to 6 GB, so what needs it runs in a reader's environment of its own, made by `make readers`.
"""

import hashlib
import json
import re
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from dagster import DagsterInstance

from r2_hf_assets.cli.in_process import refresh_card
from r2_hf_assets_tests.support.world import World
from r2_hf_sandbox.sandbox import Sandbox

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("reading")]

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/reading.md").read_text(), re.M | re.S)
DUCKDB, POLARS, READ, STREAM, FILTERS, DECODE, TORCH, NEMO, LHOTSE = BLOCKS
READERS = ROOT / ".readers/bin/python"
FOOTER_BYTES = 64 * 1024  # what pyarrow reads of a file's end
Group = tuple[str, int]  # path in the repo, row group
# Arrow's threads can still use a Python file when the interpreter ends, which aborts the process.
END = """
import os, sys
sys.stdout.flush()
os._exit(0)
"""
CHOSEN = """
import hashlib, json
rows = [row for table in read_rows(chosen) for row in table.to_pylist()]
digests = [hashlib.sha256(row["audio"]["bytes"]).hexdigest() for row in rows]
print(json.dumps([[row["audio"]["path"], digest, row["text"]] for row, digest in zip(rows, digests)]))
"""
# Marks in the Hub's log what was requested so far.
MARK = """
HfApi().whoami()
"""
STREAMED = """
from datasets.distributed import split_dataset_by_node

nodes = [split_dataset_by_node(shuffled, rank, 3, strategy="shards") for rank in range(3)]
print(json.dumps({
    "files": english.num_shards,
    "row_groups": shuffled.num_shards,
    "in_order": [row["audio"]["path"] for row in english],
    "shuffled": [row["audio"]["path"] for row in shuffled],
    "nodes": [[row["audio"]["path"] for row in node] for node in nodes],
    "columns": list(texts.features),
    "hours": hours,
    "best": sorted(row["audio"]["path"] for row in best),
    "decoded": [[row["duration_seconds"], len(decode(row)["samples"]) / decode(row)["rate"]] for row in best],
}))
"""
CUTS = """
print(json.dumps({
    "cuts": [[cut.supervisions[0].text, cut.duration] for cut in CutSet.from_file("cuts.jsonl.gz")],
    "streamed": len(list(streamed)),
}))
"""


@dataclass(frozen=True)
class Read:
    """A dataset, and what a reader must get: the English rows, the chosen ones by key, and their row groups."""

    world: World
    rows: list[dict[str, Any]]
    chosen: list[list[Any]]
    groups: dict[Group, tuple[int, int]]
    needed: set[Group]


@pytest.fixture(scope="module")
def data(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Read:
    """Chunks of several row groups, committed once for all tests."""
    world = World.make(sandbox, tmp_path_factory.mktemp("reading"), "reading")
    summary = world.upload(episodes={"en": 4, "de": 1}, segments=(6, 6), seconds=(3.0, 9.0), awkward=True)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (world.env | {"PARQUET_ROWGROUP_BYTES": "100000"}).items():
            patch.setenv(name, value)
        assert world.scan() is None
        world.build_due()
        with DagsterInstance.get() as instance:
            assert refresh_card(instance) is None
    rows = [row for row in world.table().to_pylist() if "/en/" in row["audio"]["path"]]
    lengths = [row for row in summary.rows if row.folder == "en" and row.duration and 5 <= row.duration <= 15]
    chosen = sorted([row.key, row.sha256, row.text] for row in lengths if row.dnsmos and row.dnsmos > 3.4)
    groups, needed = row_groups(world, {str(key) for key, *_ in chosen})
    assert 0 < len(chosen) < len(rows) and len(needed) < len(groups)
    return Read(world, rows, chosen, groups, needed)


def run(world: World, *blocks: str, python: str = sys.executable) -> list[str]:
    """Run the code as a file, since processes of a DataLoader import it; return the lines that it prints."""
    file = world.folder / "reader.py"
    file.write_text("\n".join(blocks).replace("owner/name", world.repo_id))
    env = world.command_env(**{name: world.env[name] for name in ("HF_ENDPOINT", "HF_TOKEN", "HF_HOME")})
    done = subprocess.run(
        [python, str(file)], cwd=world.folder, env=env, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.timeout(480)
def test_exactly_the_rows_of_the_document_are_read(data: Read) -> None:
    world, chosen = data.world, data.chosen
    mark = world.sandbox.hub.mark()
    printed = run(world, DUCKDB, READ, CHOSEN, POLARS, READ, CHOSEN, MARK, STREAM, FILTERS, DECODE, STREAMED, NEMO, END)
    by_duckdb, by_polars, streamed = (json.loads(line) for line in printed if line.startswith(("[[", '{"')))
    assert sorted(by_duckdb) == sorted(by_polars) == chosen
    shown = {tuple(line.split()[:2]) for line in printed}
    assert {(key, str(len(world.object(key)))) for key, *_ in chosen} <= shown
    fetched = ranges(world, mark)
    assert {
        group for group, place in data.groups.items() if any(overlap(place, one) for one in fetched[group[0]])
    } == data.needed
    check_streamed(streamed, data)
    manifest = [json.loads(line) for line in (world.folder / "manifest.json").read_text().splitlines()]
    assert sorted(Path(one["audio_filepath"]).name for one in manifest) == [Path(key).name for key, *_ in chosen]
    audio = [(world.folder / entry["audio_filepath"]).read_bytes() for entry in manifest]
    assert sorted(hashlib.sha256(one).hexdigest() for one in audio) == sorted(sha256 for _, sha256, _ in chosen)
    assert all(5 <= entry["duration"] <= 15 and isinstance(entry["text"], str) for entry in manifest)


def check_streamed(found: dict[str, Any], data: Read) -> None:
    """Assert that every English row is streamed once, by three nodes too, and that filters and audio are right."""
    everything = sorted(row["audio"]["path"] for row in data.rows)
    places = [name for name, _ in data.groups if "/en/" in name]
    assert found["files"] == len(set(places)) < found["row_groups"] == len(places)
    assert sorted(found["in_order"]) == sorted(found["shuffled"]) == everything
    assert found["in_order"] != found["shuffled"]
    assert all(found["nodes"]) and sorted(key for node in found["nodes"] for key in node) == everything
    assert found["columns"] == ["text", "duration_seconds"]
    assert found["hours"] == pytest.approx(sum(row["duration_seconds"] or 0 for row in data.rows) / 3600)
    assert found["best"] == [key for key, *_ in data.chosen]
    assert all(length == pytest.approx(duration, abs=0.1) for duration, length in found["decoded"])


@pytest.mark.timeout(480)
@pytest.mark.skipif(not READERS.exists(), reason="torch and Lhotse are not installed: make readers")
def test_a_data_loader_and_lhotse_read_all_rows(data: Read) -> None:
    batches = run(data.world, TORCH, python=str(READERS))
    assert sum(int(line.split()[-1]) for line in batches) == len(data.rows)
    *_, reported = run(data.world, DUCKDB, READ, STREAM, NEMO, LHOTSE, CUTS, END, python=str(READERS))
    found = json.loads(reported)
    assert sorted(text for text, _ in found["cuts"]) == sorted(text or "" for *_, text in data.chosen)
    assert all(5 <= seconds <= 15 for _, seconds in found["cuts"])
    assert found["streamed"] == len(data.rows)


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


def ranges(world: World, since: int) -> dict[str, list[tuple[int, int]]]:
    """Return the ranges of data files that were requested from `since` to MARK, without the reads of footers."""
    requests = [one for one in world.sandbox.hub.requests(since) if one["method"] == "GET"]
    fetched: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for request in takewhile(lambda one: "whoami" not in one["path"], requests):
        if "/resolve/" not in request["path"]:
            continue
        revision, _, path = request["path"].partition("/resolve/")[2].partition("/")
        assert revision == world.head()
        if path.startswith("data/"):
            first, last = map(int, request["headers"]["range"].removeprefix("bytes=").split("-"))
            if last - first != FOOTER_BYTES - 1:
                fetched[path].append((first, last))
    assert fetched and all("/en/" in path for path in fetched)
    return fetched


def overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]
