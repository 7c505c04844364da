"""The code of docs/reading.md, run against the sandbox: exactly the rows that it names, from what is needed.

torch takes 0.5 to 6 GB, so what needs it runs in a reader's environment of its own, made by `make readers`.
"""

import hashlib
import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from dagster import DagsterInstance

from r2_hf_assets.cli.in_process import refresh_card
from r2_hf_assets_tests.support.world import World

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/reading.md").read_text(), re.M | re.S)
DUCKDB, POLARS, READ, STREAM, FILTERS, DECODE, TORCH, NEMO, LHOTSE = BLOCKS
READERS = ROOT / ".readers/bin/python"
FOOTER_BYTES = 64 * 1024  # what pyarrow reads of a file's end
CUTS = """
print(json.dumps({
    "cuts": [[cut.supervisions[0].text, cut.duration] for cut in CutSet.from_file("cuts.jsonl.gz")],
    "streamed": len(list(streamed)),
}))
"""
Group = tuple[str, int]  # path in the repo, row group
END = """
# Arrow's threads can still use a Python file when the interpreter ends, which aborts the process.
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
STREAMED = """
import json
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


@pytest.fixture
def committed(in_process: World, monkeypatch: pytest.MonkeyPatch) -> tuple[World, list[Any]]:
    """Chunks of several row groups, and the rows that the document chooses."""
    monkeypatch.setenv("PARQUET_ROWGROUP_BYTES", "150000")
    summary = in_process.upload(episodes={"en": 4, "de": 1}, segments=(12, 12), seconds=(2.0, 12.0), awkward=True)
    in_process.scan()
    in_process.build_due()
    with DagsterInstance.get() as instance:
        assert refresh_card(instance) is None
    chosen = [row for row in summary.rows if row.folder == "en" and row.duration and 5 <= row.duration <= 15]
    return in_process, sorted([row.key, row.sha256, row.text] for row in chosen if row.dnsmos and row.dnsmos > 3.4)


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


def test_exactly_the_chosen_rows_are_read_and_only_their_row_groups(committed: tuple[World, list[Any]]) -> None:
    world, expected = committed
    groups, needed = row_groups(world, {key for key, *_ in expected})
    assert 0 < len(expected) < 48 and len(needed) < len([name for name, _ in groups if "/en/" in name])
    for choose in ((DUCKDB,), (DUCKDB, POLARS)):
        mark = world.sandbox.hub.mark()
        *printed, reported = run(world, *choose, READ, CHOSEN, END)
        assert sorted(json.loads(reported)) == expected
        shown = {tuple(line.split()[:2]) for line in printed}
        assert {(key, str(len(world.object(key)))) for key, *_ in expected} <= shown
        fetched = ranges(world, mark)
        assert {
            group for group, place in groups.items() if any(overlap(place, one) for one in fetched[group[0]])
        } == needed


@pytest.mark.timeout(480)
def test_a_language_is_streamed_decoded_and_written_for_nemo(committed: tuple[World, list[Any]]) -> None:
    world, expected = committed
    keys = [key for key, *_ in expected]
    rows = [row for row in world.table().to_pylist() if "/en/" in row["audio"]["path"]]
    *_, reported = run(world, DUCKDB, READ, STREAM, FILTERS, DECODE, STREAMED, NEMO, END)
    found = json.loads(reported)
    groups, _ = row_groups(world, set())
    assert found["files"] == len({name for name, _ in groups if "/en/" in name})
    assert found["row_groups"] == len([name for name, _ in groups if "/en/" in name]) > found["files"]
    everything = sorted(row["audio"]["path"] for row in rows)
    assert sorted(found["in_order"]) == sorted(found["shuffled"]) == everything
    assert found["in_order"] != found["shuffled"]
    assert all(found["nodes"]) and sorted(key for node in found["nodes"] for key in node) == everything
    assert found["columns"] == ["text", "duration_seconds"]
    assert found["hours"] == pytest.approx(sum(row["duration_seconds"] or 0 for row in rows) / 3600)
    assert found["best"] == keys
    assert all(length == pytest.approx(duration, abs=0.1) for duration, length in found["decoded"])
    manifest = [json.loads(line) for line in (world.folder / "manifest.json").read_text().splitlines()]
    assert sorted(Path(entry["audio_filepath"]).name for entry in manifest) == sorted(Path(key).name for key in keys)
    audio = [(world.folder / entry["audio_filepath"]).read_bytes() for entry in manifest]
    assert sorted(hashlib.sha256(data).hexdigest() for data in audio) == sorted(sha256 for _, sha256, _ in expected)
    assert all(5 <= entry["duration"] <= 15 and isinstance(entry["text"], str) for entry in manifest)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not READERS.exists(), reason="torch and Lhotse are not installed: make readers")
def test_a_data_loader_and_lhotse_read_all_rows(committed: tuple[World, list[Any]]) -> None:
    world, expected = committed
    rows = [row for row in world.table().to_pylist() if "/en/" in row["audio"]["path"]]
    batches = run(world, TORCH, python=str(READERS))
    assert sum(int(line.split()[-1]) for line in batches) == len(rows)
    *_, reported = run(world, DUCKDB, READ, STREAM, NEMO, LHOTSE, CUTS, END, python=str(READERS))
    found = json.loads(reported)
    assert sorted(text for text, _ in found["cuts"]) == sorted(text or "" for *_, text in expected)
    assert all(5 <= seconds <= 15 for _, seconds in found["cuts"])
    assert found["streamed"] == len(rows)


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
