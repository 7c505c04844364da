"""A reader of the dataset: `datasets`, streaming over the Hub, and the files that it reads.

    reader write FILES FILE_MB ROWGROUP_BYTES BATCH_ROWS   writes files with the product's options and uploads them
    reader first|shuffle COUNTS                            until the first row
    reader rows COUNTS ROWS                                so many rows
    reader text COUNTS                                     one column of all rows

COUNTS is the byte count file of the line to the Hub. The clock starts after the imports, before load_dataset. Audio is
not decoded. The process exits without waiting for the threads that prefetch.
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import pyarrow.parquet as pq
from huggingface_hub import HfApi

from bench.jobs import report
from bench.jobs.finished import row_groups
from bench.line import received
from r2_hf_assets.shards.schema import SCHEMA, WRITER_OPTIONS

_AUDIO_BYTES = (30_000, 126_000)
_SHUFFLE_ROWS = 100


def write(files: int, file_mb: int, rowgroup_bytes: int, batch_rows: int) -> int:
    """Write and upload the files, and return their rows."""
    folder, total = Path("data"), 0
    folder.mkdir()
    options = WRITER_OPTIONS | {"write_batch_size": batch_rows}
    for number in range(files):
        with pq.ParquetWriter(folder / f"chunk-{number:05d}.parquet", SCHEMA, **options) as writer:
            for table in row_groups(_rows(number, file_mb * 1_000_000), rowgroup_bytes):
                writer.write_table(table, row_group_size=table.num_rows)
                total += table.num_rows
    api, repo = HfApi(endpoint=os.environ["HF_ENDPOINT"], token=os.environ["HF_TOKEN"]), os.environ["HF_REPO_ID"]
    api.create_repo(repo, repo_type="dataset")
    api.upload_folder(repo_id=repo, repo_type="dataset", folder_path=folder, path_in_repo="data/en")
    return total


def _rows(number: int, size: int) -> Iterator[tuple[str, bytes]]:
    draw = np.random.default_rng(number)
    while size > 0:
        body = draw.bytes(int(draw.integers(*_AUDIO_BYTES)))
        size -= len(body)
        yield f"processed/en/episode_{number:05d}/episode_{number:05d}_{size:09d}.mp3", body


def read(what: str, counts: Path, rows: int) -> NoReturn:
    """Report rows, seconds and bytes, and exit."""
    from datasets import load_dataset

    started, before, count = time.monotonic(), received(counts), 0
    columns = {"columns": ["text"]} if what == "text" else {}
    dataset = load_dataset(os.environ["HF_REPO_ID"], split="train", streaming=True, **columns).decode(False)
    if what == "shuffle":
        dataset = dataset.shuffle(seed=1, buffer_size=_SHUFFLE_ROWS)
    limit = {"first": 1, "shuffle": 1, "rows": rows}.get(what, sys.maxsize)
    reading = iter(dataset)  # referenced until the process exits: when it is closed, `datasets` sleeps and reads on
    for _ in reading:
        count += 1
        if count == limit:
            break
    report(rows=count, seconds=time.monotonic() - started, bytes=received(counts) - before)
    sys.stdout.flush()
    os._exit(0)


def main(arguments: Sequence[str]) -> None:
    what, *rest = arguments
    if what == "write":
        report(rows=write(*map(int, rest)))
    else:
        read(what, Path(rest[0]), int(rest[1]) if rest[1:] else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
