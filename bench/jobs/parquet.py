"""Writing rows as Parquet, with our writer or with ParquetWriter's defaults: `parquet ours|defaults SHARD...`.

The rows are read before the clock starts, and the bytes are discarded.
"""

import sys
import time
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq

from bench.jobs import report
from bench.jobs.build import Discard
from r2_hf_assets.settings import load_partial
from r2_hf_assets.shards.schema import SCHEMA
from r2_hf_assets.shards.writer import PartWriter


def ours(groups: list[pa.Table]) -> int:
    with PartWriter(Discard(), load_partial().shards.max_bytes) as writer:
        for group in groups:
            writer.write(group, group.nbytes)
    return sum(part.size for part in writer.parts)


def defaults(groups: list[pa.Table]) -> int:
    sink = Discard()
    with pq.ParquetWriter(pa.PythonFile(sink, "w"), SCHEMA) as writer:
        for group in groups:
            writer.write_table(group)
    return sink.size


def main() -> None:
    variants: dict[str, Callable[[list[pa.Table]], int]] = {"ours": ours, "defaults": defaults}
    groups = []
    for path in sys.argv[2:]:
        with pq.ParquetFile(path) as file:
            groups += [file.read_row_group(number).combine_chunks() for number in range(file.num_row_groups)]
    started, cpu = time.monotonic(), time.process_time()
    size = variants[sys.argv[1]](groups)
    report(seconds=time.monotonic() - started, cpu=time.process_time() - cpu, bytes=size)


if __name__ == "__main__":
    main()
