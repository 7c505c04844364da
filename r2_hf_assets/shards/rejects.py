"""The rejects ledger: a Parquet file with one row for each rejected episode or segment, and the reason."""

import hashlib
from collections.abc import Sequence
from dataclasses import astuple

import pyarrow as pa
import pyarrow.parquet as pq

from r2_hf_assets.bucket.segments import Reject
from r2_hf_assets.shards.record import ShardFile
from r2_hf_assets.shards.schema import REJECT_SCHEMA, strings


def rejects_file(name: str, rejects: Sequence[Reject]) -> tuple[ShardFile, bytes] | tuple[None, None]:
    """Return the ledger's file entry and its content."""
    if not rejects:
        return None, None
    sink = pa.BufferOutputStream()
    arrays = [strings(column) for column in zip(*map(astuple, rejects), strict=True)]
    pq.write_table(pa.Table.from_arrays(arrays, schema=REJECT_SCHEMA), sink, compression="zstd")
    content = sink.getvalue().to_pybytes()
    return ShardFile(name, len(rejects), len(content), hashlib.sha256(content).hexdigest()), content
