"""Writing rows as Parquet, with our writer or with ParquetWriter's defaults: `parquet ours|defaults SHARD...`.

The rows are read before the clock starts. Ours does more: it hashes the file and reads the footer back.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench.jobs import say
from r2_hf_assets.settings import load
from r2_hf_assets.shards.schema import SCHEMA
from r2_hf_assets.shards.writer import PartWriter


def ours(groups: list[pa.Table], folder: Path) -> None:
    with PartWriter(folder, load(needs=[]).shards.max_bytes) as writer:
        for group in groups:
            writer.write(group, group.nbytes)


def defaults(groups: list[pa.Table], folder: Path) -> None:
    with pq.ParquetWriter(folder / "part-00", SCHEMA) as writer:
        for group in groups:
            writer.write_table(group)


def main() -> None:
    ways: dict[str, Callable[[list[pa.Table], Path], None]] = {"ours": ours, "defaults": defaults}
    groups = []
    for path in sys.argv[2:]:
        with pq.ParquetFile(path) as file:
            groups += [file.read_row_group(number).combine_chunks() for number in range(file.num_row_groups)]
    folder = Path("parquet")
    folder.mkdir()
    started, cpu = time.monotonic(), time.process_time()
    ways[sys.argv[1]](groups, folder)
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    say(seconds=seconds, cpu=cpu, bytes=sum(path.stat().st_size for path in folder.iterdir()))


if __name__ == "__main__":
    main()
