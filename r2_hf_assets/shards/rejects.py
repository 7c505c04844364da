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
        self._rows = 0
        self._sink = pa.BufferOutputStream()
        self._writer = pq.ParquetWriter(self._sink, REJECT_SCHEMA, compression="zstd")

    def add(self, reject: Reject) -> None:
        self._waiting.append(reject)
        self._rows += 1
        if len(self._waiting) >= _BATCH:
            self._flush()

    def finish(self, name: str) -> tuple[ShardFile, bytes] | None:
        """The ledger under its name, and its content; None when nothing was rejected."""
        self._flush()
        self._writer.close()
        if not self._rows:
            return None
        content = self._sink.getvalue().to_pybytes()
        return ShardFile(name, self._rows, len(content), hashlib.sha256(content).hexdigest()), content

    def _flush(self) -> None:
        if self._waiting:
            arrays = [strings(column) for column in zip(*map(astuple, self._waiting), strict=True)]
            self._writer.write_table(pa.Table.from_arrays(arrays, schema=REJECT_SCHEMA))
            self._waiting.clear()
