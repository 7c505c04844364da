"""The rejects ledger: a Parquet file with one row for everything that became no row, and why.

Rows are written in batches, so a chunk in which everything is bad costs no more memory than a good one.
"""

import hashlib
from dataclasses import astuple
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from r2_hf_assets.bucket.segments import Reject
from r2_hf_assets.shards.columns import strings
from r2_hf_assets.shards.record import ShardFile
from r2_hf_assets.shards.schema import REJECT_SCHEMA

_BATCH = 10_000


class RejectLedger:
    """Collects rejects into `path`; no file when there are none. A context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[Reject] = []
        self._writer: pq.ParquetWriter | None = None
        self._rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush()
        if self._writer is not None:
            self._writer.close()

    def add(self, reject: Reject) -> None:
        self._waiting.append(reject)
        if len(self._waiting) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, REJECT_SCHEMA, compression="zstd")
        columns = zip(*map(astuple, self._waiting), strict=True)
        arrays = [strings([_storable(value) for value in column]) for column in columns]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=REJECT_SCHEMA))
        self._rows += len(self._waiting)
        self._waiting.clear()

    def file(self, name: str) -> ShardFile | None:
        """The finished ledger under its published name; None when nothing was rejected."""
        if not self._rows:
            return None
        with self._path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        return ShardFile(name, self._rows, self._path.stat().st_size, digest)


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
