"""The rejects ledger: one row a reject, in order."""

import hashlib

import pyarrow as pa
import pyarrow.parquet as pq

from r2_hf_assets.bucket.segments import Reject
from r2_hf_assets.shards.build import encode_ledger
from r2_hf_assets.shards.record import ShardFile
from r2_hf_assets.shards.schema import REJECT_SCHEMA

NAME = "chunk-00007.rejects.parquet"
SEGMENT = Reject("segment", "en/a", "processed/en/a/a_000001.mp3", "audio_missing")
EPISODE = Reject("episode", "en/b", "processed/en/b/all_segments.json", "metadata_not_json", "9 bytes: é 世")


def finished(*rejects: Reject) -> tuple[ShardFile, bytes]:
    file, content = encode_ledger(NAME, rejects)
    assert file is not None and content is not None
    return file, content


def read(content: bytes) -> pq.ParquetFile:
    return pq.ParquetFile(pa.BufferReader(content))


def test_rejects_are_rows_in_order():
    _, content = finished(SEGMENT, EPISODE)
    table = read(content).read()
    assert table.schema.equals(REJECT_SCHEMA)
    assert table.to_pylist() == [
        {"level": r.level, "episode": r.episode, "key": r.key, "reason": r.reason, "detail": r.detail}
        for r in (SEGMENT, EPISODE)
    ]


def test_the_file_entry_has_name_rows_size_and_hash():
    file, content = finished(SEGMENT, EPISODE, SEGMENT)
    assert file == ShardFile(NAME, 3, len(content), hashlib.sha256(content).hexdigest())


def test_no_rejects_give_no_file():
    assert encode_ledger(NAME, []) == (None, None)


def test_the_same_rejects_give_the_same_bytes():
    assert finished(SEGMENT, EPISODE) == finished(SEGMENT, EPISODE)
