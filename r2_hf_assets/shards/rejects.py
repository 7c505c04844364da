"""The rejects ledger: a Parquet file with one row for everything that became no row, and why.

It is made in memory, in batches: even a chunk in which everything is bad gives a few megabytes.
"""

import hashlib
from dataclasses import astuple

import pyarrow as pa
import pyarrow.parquet as pq

from r2_hf_assets.bucket.segments import Reject
from r2_hf_assets.shards.record import ShardFile
from r2_hf_assets.shards.schema import REJECT_SCHEMA, strings

_BATCH = 10_000


class RejectLedger:
    """Collects rejects; `finish` gives the file."""

    def __init__(self) -> None:
        self._waiting: list[Reject] = []
        self._sink = pa.BufferOutputStream()
        self._writer: pq.ParquetWriter | None = None
        self._rows = 0

    def add(self, reject: Reject) -> None:
        self._waiting.append(reject)
        if len(self._waiting) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._sink, REJECT_SCHEMA, compression="zstd")
        columns = zip(*map(astuple, self._waiting), strict=True)
        arrays = [strings([_storable(value) for value in column]) for column in columns]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=REJECT_SCHEMA))
        self._rows += len(self._waiting)
        self._waiting.clear()

    def finish(self, name: str) -> tuple[ShardFile, bytes] | None:
        """The ledger under its name, and its content; None when nothing was rejected."""
        self._flush()
        if self._writer is None:
            return None
        self._writer.close()
        content = self._sink.getvalue().to_pybytes()
        return ShardFile(name, self._rows, len(content), hashlib.sha256(content).hexdigest()), content


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
