"""The build record: JSON round trip, and damaged records."""

import json
from dataclasses import asdict, replace

import pytest

from r2_hf_assets.errors import ShardError
from r2_hf_assets.shards.record import BuildRecord, ShardFile, Tally, decode, encode
from r2_hf_assets.shards.stats import Stats

TALLY = Tally(
    episodes=3,
    episodes_with_rows=2,
    episodes_rejected=1,
    entries=10,
    rows=8,
    segments_rejected=2,
    rejects={"audio_missing": 2, "metadata_empty": 1},
    repaired_texts=1,
    audio_bytes=12345,
)
RECORD = BuildRecord(
    language="en",
    number=7,
    digest="d" * 32,
    files=(ShardFile("d/a-part-00.parquet", 5, 100, "a" * 64), ShardFile("d/a-part-01.parquet", 3, 50, "b" * 64)),
    index=ShardFile("m/a.parquet", 11, 20, "c" * 64),
    tally=TALLY,
    stats=Stats(rows=8, episodes=2, audio_seconds=67.0, speakers=3),
)


@pytest.mark.parametrize(
    "record",
    [RECORD, replace(RECORD, index=None), replace(RECORD, files=(), tally=Tally()), replace(RECORD, stats=Stats())],
)
def test_a_record_survives_the_round_trip(record):
    assert decode(encode(record)) == record
    assert encode(decode(encode(record))) == encode(record)


def test_a_record_of_an_earlier_release_is_read():
    stats = {**asdict(RECORD.stats), "languages": {"en": 67.0}, "rejects": {"audio_missing": 2}}
    assert decode(raw(stats=stats)) == RECORD


def test_bytes_are_the_sum_of_its_shards_without_the_index():
    assert RECORD.bytes == 150


def test_files_to_commit_are_the_shards_and_the_index():
    assert [file.path for file in RECORD.all_files] == ["d/a-part-00.parquet", "d/a-part-01.parquet", "m/a.parquet"]
    assert replace(RECORD, index=None).all_files == RECORD.files
    assert replace(RECORD, earlier=("e",)).sha256s == {"a" * 64, "b" * 64, "c" * 64, "e"}


def test_an_index_has_a_row_for_each_row_and_reject():
    assert TALLY.index_rows == 8 + 3
    assert (Tally(rows=4).index_rows, Tally().index_rows) == (4, 0)


def raw(**changes) -> bytes:
    return json.dumps(json.loads(encode(RECORD)) | changes).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        encode(RECORD)[:-2],
        raw(files=None),
        raw(files=[{"path": "a"}]),
        raw(files=[1]),
        raw(index=[1]),
        raw(index={"name": "a"}),
        raw(version=3),
        raw(tally=None),
        raw(tally={"unknown": 1}),
        raw(unknown=1),
        raw(version="two"),
        raw(version=99),
        raw(stats={"unknown": 1}),
        raw(stats={**Stats().as_json(), "dnsmos": "1 2"}),
    ],
)
def test_a_damaged_record_is_a_shard_error(data):
    with pytest.raises(ShardError, match="build the chunk again") as caught:
        decode(data)
    assert "\n" not in str(caught.value)


def test_hours_leave_out_broken_time_stamps():
    assert RECORD.stats.hours == 67.0 / 3600
