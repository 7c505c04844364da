"""Parquet files for the baselines: `finished KEYS FOLDER FILES` writes the objects of a file of keys.

They hold the same audio as the product's, in its schema and with its writer's options. None of its code writes them, so
a baseline does not change with the product.
"""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import obstore
import pyarrow as pa
import pyarrow.parquet as pq

from bench.jobs import report
from r2_hf_assets.bucket.client import object_store
from r2_hf_assets.settings import load_for_scan
from r2_hf_assets.shards.schema import SCHEMA, WRITER_OPTIONS

_BATCH = 128
_TEXT = "A transcript of a dozen words, which is about as much as a segment of that length has."


def make_table(rows: list[tuple[str, bytes]]) -> pa.Table:
    """Return a table of keys and their audio, with generated values in the other columns."""
    count = len(rows)
    columns: dict[str, list[Any]] = {
        "audio": [{"path": key, "bytes": body} for key, body in rows],
        "text": [f"{_TEXT} {key}" for key, _ in rows],
        "speaker_id": [f"SPEAKER_{number % 3:02d}" for number in range(count)],
        "duration_seconds": [len(body) / 6000 for _, body in rows],
        "dnsmos": [3.0 + number % 10 / 10 for number in range(count)],
        "language": ["en"] * count,
    }
    return pa.table(columns, schema=SCHEMA)


def row_groups(rows: Iterator[tuple[str, bytes]], limit: int) -> Iterator[pa.Table]:
    """Yield tables of up to `limit` bytes of audio."""
    group: list[tuple[str, bytes]] = []
    size = 0
    for key, body in rows:
        if group and size + len(body) > limit:
            yield make_table(group)
            group, size = [], 0
        group.append((key, body))
        size += len(body)
    if group:
        yield make_table(group)


def _fetch(store: Any, keys: list[str]) -> Iterator[tuple[str, bytes]]:
    with ThreadPoolExecutor(16) as pool:
        for start in range(0, len(keys), _BATCH):
            batch = keys[start : start + _BATCH]
            yield from zip(batch, pool.map(lambda key: bytes(obstore.get(store, key).bytes()), batch), strict=True)


def main() -> None:
    settings = load_for_scan()
    keys = [key for key in Path(sys.argv[1]).read_text().split("\n") if key.endswith(".mp3")]
    folder, files = Path(sys.argv[2]), int(sys.argv[3])
    folder.mkdir(parents=True)
    store = object_store(settings.r2)
    for number in range(files):
        part = keys[len(keys) * number // files : len(keys) * (number + 1) // files]
        with pq.ParquetWriter(folder / f"chunk-{number:05d}.parquet", SCHEMA, **WRITER_OPTIONS) as writer:
            for table in row_groups(_fetch(store, part), settings.shards.rowgroup_bytes):
                writer.write_table(table, row_group_size=table.num_rows)
    report(rows=len(keys))


if __name__ == "__main__":
    main()
