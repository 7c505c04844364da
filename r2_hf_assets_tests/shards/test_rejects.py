"""The rejects ledger: one row for everything that became no row, in order, in bounded memory."""

import hashlib

import pyarrow.parquet as pq
import pytest

from r2_hf_assets.bucket.segments import Reject
from r2_hf_assets.shards import rejects as module
from r2_hf_assets.shards.rejects import RejectLedger

SEGMENT = Reject("segment", "en/a", "processed/en/a/a_000001.mp3", "audio_missing")
EPISODE = Reject("episode", "en/b", "processed/en/b/all_segments.json", "metadata_not_json", "9 bytes; odd: é 世")


def test_rejects_are_rows_in_order(tmp_path):
    with RejectLedger(tmp_path / "rejects") as ledger:
        ledger.add(SEGMENT)
        ledger.add(EPISODE)
    assert pq.read_table(tmp_path / "rejects").to_pylist() == [
        {"level": r.level, "episode": r.episode, "key": r.key, "reason": r.reason, "detail": r.detail}
        for r in (SEGMENT, EPISODE)
    ]


def test_the_file_under_its_published_name(tmp_path):
    with RejectLedger(tmp_path / "rejects") as ledger:
        ledger.add(SEGMENT)
    data = (tmp_path / "rejects").read_bytes()
    file = ledger.file("chunk-00007.rejects.parquet")
    assert file is not None
    assert (file.name, file.rows, file.size) == ("chunk-00007.rejects.parquet", 1, len(data))
    assert file.sha256 == hashlib.sha256(data).hexdigest()


def test_no_rejects_give_no_file(tmp_path):
    with RejectLedger(tmp_path / "rejects") as ledger:
        pass
    assert ledger.file("x") is None and list(tmp_path.iterdir()) == []


def test_many_rejects_are_written_in_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_BATCH", 10)
    with RejectLedger(tmp_path / "rejects") as ledger:
        for number in range(25):
            ledger.add(Reject("segment", "en/a", f"k{number}", "audio_empty"))
            assert len(ledger._waiting) < 10
    read = pq.ParquetFile(tmp_path / "rejects")
    assert [read.metadata.row_group(n).num_rows for n in range(read.num_row_groups)] == [10, 10, 5]
    assert read.read()["key"].to_pylist() == [f"k{number}" for number in range(25)]


def test_a_detail_that_utf8_can_not_hold_is_written_all_the_same(tmp_path):
    with RejectLedger(tmp_path / "rejects") as ledger:
        ledger.add(Reject("segment", "en/a", "k", "odd", "half \ud800 a letter"))
    assert pq.read_table(tmp_path / "rejects")["detail"].to_pylist() == ["half ? a letter"]


def test_the_same_rejects_give_the_same_bytes(tmp_path):
    for name in "ab":
        with RejectLedger(tmp_path / name) as ledger:
            ledger.add(SEGMENT)
            ledger.add(EPISODE)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_leaving_by_an_exception_is_no_ledger(tmp_path):
    with pytest.raises(KeyError), RejectLedger(tmp_path / "rejects") as ledger:
        ledger.add(SEGMENT)
        raise KeyError
    assert ledger.file("x") is None
