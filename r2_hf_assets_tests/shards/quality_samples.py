"""Tables and observers for the tests of figures and quality checks."""

import random
from functools import lru_cache
from typing import Any

import pyarrow as pa

from r2_hf_assets.shards.observe import Observer
from r2_hf_assets.shards.schema import SCHEMA
from r2_hf_sandbox.samples.audio import make_voices, splice

Row = dict[str, Any]


def row(index: int = 0, *, episode: str = "ep", body: bytes | None = None, **changes: Any) -> Row:
    """Return a valid row; its body is unique bytes in place of audio."""
    key = f"processed/en/{episode}/{episode}_{index:06d}.mp3"
    data = random.Random(key).randbytes(300) if body is None else body
    usual = {"text": "words", "speaker_id": "SPEAKER_00", "duration_seconds": 1.5, "dnsmos": 3.25, "language": "en"}
    return {"audio": {"path": key, "bytes": data}} | usual | changes


def table(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def observed(*groups: list[Row]) -> Observer:
    observer = Observer()
    for rows in groups:
        observer.add(table(rows))
    return observer


@lru_cache
def mp3(seconds: float = 2.0) -> tuple[bytes, float]:
    """Return a real MP3 and its length in seconds."""
    return splice(make_voices(1), 0, seconds, "quality", random.Random(1))
