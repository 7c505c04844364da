"""The ledger check on files, schemas and records: other than the plan and the dataset say, and each is found."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from r2_hf_assets.shards import verify as module
from r2_hf_assets.shards.schema import SCHEMA
from r2_hf_assets_tests.shards.damaged_build import ROWS, Built, build


@pytest.fixture
def built(tmp_path: Path) -> Built:
    return build(tmp_path)


@pytest.mark.parametrize(
    "metadata",
    [None, {"huggingface": "{}"}, {**SCHEMA.metadata, b"more": b"1"}],
)
def test_other_schema_metadata_is_found(built, metadata):
    built.write(built.rows(), SCHEMA.with_metadata(metadata))
    assert built.kinds() == {"features": 1}


@pytest.mark.parametrize(
    "schema",
    [
        pa.schema([SCHEMA.field(i) for i in (1, 0, 2, 3, 4, 5)], SCHEMA.metadata),
        pa.schema(list(SCHEMA)[:-1], SCHEMA.metadata),
        SCHEMA.set(4, pa.field("dnsmos", pa.float64())),
        SCHEMA.set(0, pa.field("audio", pa.struct(list(SCHEMA.field("audio").type)[::-1]))),
        SCHEMA.append(pa.field("more", pa.string())),
    ],
    ids=["order", "column-gone", "type", "struct-order", "column-more"],
)
def test_other_columns_are_found(built, schema):
    built.write(built.rows(), schema)
    assert built.kinds() == {"schema": 1}


@pytest.mark.parametrize("kept", [0, 3, 1000, -1])
def test_a_file_cut_short_is_found(built, kept):
    built.shards[0].write_bytes(built.shards[0].read_bytes()[:kept])
    assert built.kinds() == {"file_unreadable": 1}


def test_a_file_that_is_gone_is_found(built):
    built.shards[-1].unlink()
    assert built.kinds() == {"file_unreadable": 1}


def test_a_page_that_can_not_be_read_is_found(built):
    data = bytearray(built.shards[0].read_bytes())
    data[4:40] = bytes(36)
    built.shards[0].write_bytes(data)
    assert built.kinds() == {"file_unreadable": 1}


def test_other_sizes_and_rows_than_recorded_are_found(built):
    first, *rest = built.record.files
    for changed in (replace(first, rows=first.rows + 1), replace(first, size=first.size - 1)):
        damaged = replace(built, record=replace(built.record, files=(changed, *rest)))
        assert damaged.kinds() == {"file_changed": 1}


def test_a_file_fewer_than_recorded_is_found(built):
    built.shards.pop()
    assert built.kinds()["file_names"] == 1


def test_wrong_names_are_found(built):
    first, *rest = built.record.files
    built.record = replace(built.record, files=(replace(first, name="chunk-00008-part-00.parquet"), *rest))
    assert built.kinds() == {"file_names": 1}


@pytest.mark.parametrize("change", [{"number": 8}, {"language": "de"}, {"digest": "0" * 32}])
def test_the_record_of_another_chunk_is_found(built, change):
    built.record = replace(built.record, **change)
    assert built.kinds() == {"record_of_another_chunk": 1}


@pytest.mark.parametrize(
    "counter", ["episodes", "episodes_with_rows", "episodes_rejected", "entries", "rows", "segments_rejected"]
)
def test_counters_that_differ_from_the_files_are_found(built, counter):
    tally = built.record.tally
    built.record = replace(built.record, tally=replace(tally, **{counter: getattr(tally, counter) + 1}))
    assert built.kinds() == {"record_differs": 1}


def test_what_is_all_wrong_is_told_in_few_words(built):
    built.write([])
    verdict = built.check()
    assert verdict.numbers["problems_by_kind"]["episode_lost"] == 3
    assert len(verdict.summary) < 1000 and "\n" not in verdict.summary
    assert all(len(examples) <= 5 for examples in verdict.numbers["examples"].values())


def test_a_large_file_is_read_a_slice_at_a_time(built, monkeypatch):
    monkeypatch.setattr(module, "_BATCH_BYTES", 10_000)
    sizes: list[int] = []
    read = module._read_rows

    def watched(rows: pa.RecordBatch, audit: module._Audit) -> None:
        sizes.append(len(rows))
        read(rows, audit)

    monkeypatch.setattr(module, "_read_rows", watched)
    assert built.check().passed
    assert sum(sizes) == ROWS and max(sizes) <= 2
