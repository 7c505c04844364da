"""Schema and encodings of the files, and the metadata with which `datasets` plays the audio."""

import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets.table import table_cast

from r2_hf_assets.shards.rowgroup import RowGroup
from r2_hf_assets.shards.writer import PartWriter
from r2_hf_assets_tests.support.build_samples import MemoryUpload, audio, segment

COLUMNS = "audio.path audio.bytes text speaker_id duration_seconds dnsmos language".split()


@pytest.fixture(scope="module")
def shard() -> pq.ParquetFile:
    """Two row groups of 30 rows."""
    upload = MemoryUpload()
    with PartWriter(upload, 10**8) as writer:
        for first in (0, 30):
            group = RowGroup(10**6)
            for index in range(first, first + 30):
                group.add(segment(index), [audio("ep", index, 5000)])
            writer.write(group.to_table(), group.size)
    return pq.ParquetFile(pa.BufferReader(upload.parts[0]))


def test_columns_names_types_and_order(shard):
    struct = pa.struct([pa.field("path", pa.string()), pa.field("bytes", pa.binary())])
    expected = [
        ("audio", struct),
        ("text", pa.string()),
        ("speaker_id", pa.string()),
        ("duration_seconds", pa.float32()),
        ("dnsmos", pa.float32()),
        ("language", pa.string()),
    ]
    assert [(field.name, field.type) for field in shard.schema_arrow] == expected
    assert all(field.nullable for field in shard.schema_arrow)


FEATURES = datasets.Features(
    {
        "audio": datasets.Audio(),
        "text": datasets.Value("string"),
        "speaker_id": datasets.Value("string"),
        "duration_seconds": datasets.Value("float32"),
        "dnsmos": datasets.Value("float32"),
        "language": datasets.Value("string"),
    }
)


def test_the_metadata_is_what_datasets_writes_for_these_features(shard):
    metadata = json.loads(shard.schema_arrow.metadata[b"huggingface"])
    assert metadata == json.loads(FEATURES.arrow_schema.metadata[b"huggingface"])
    assert datasets.Features.from_dict(metadata["info"]["features"]) == FEATURES


def test_datasets_casts_the_files_to_these_features(shard):
    """As in load_dataset with the features of a dataset card."""
    cast = table_cast(shard.read(), FEATURES.arrow_schema)
    row = cast["audio"][3].as_py()
    assert row == {"bytes": audio("ep", 3, 5000), "path": "processed/en/ep/ep_000003.mp3"}


def columns(shard: pq.ParquetFile):
    for group in range(shard.num_row_groups):
        for index in range(shard.metadata.num_columns):
            column = shard.metadata.row_group(group).column(index)
            yield column.path_in_schema, column


def test_audio_is_stored_plain(shard):
    audio_columns = [column for path, column in columns(shard) if path == "audio.bytes"]
    assert len(audio_columns) == 2
    for column in audio_columns:
        assert column.compression == "UNCOMPRESSED"
        assert not column.has_dictionary_page and "RLE_DICTIONARY" not in column.encodings
        assert column.statistics is None
        assert column.total_uncompressed_size >= 30 * 5000


def test_the_other_columns_are_zstd(shard):
    assert {path: column.compression for path, column in columns(shard) if path != "audio.bytes"} == dict.fromkeys(
        [path for path in COLUMNS if path != "audio.bytes"], "ZSTD"
    )


def test_repeated_columns_have_a_dictionary_and_filtered_ones_statistics(shard):
    assert {path for path, column in columns(shard) if column.has_dictionary_page} == {"speaker_id", "language"}
    with_statistics = {path for path, column in columns(shard) if column.statistics is not None}
    assert with_statistics == {"speaker_id", "duration_seconds", "dnsmos", "language"}


def test_every_column_has_a_page_index(shard):
    assert [path for path, column in columns(shard) if not column.has_offset_index] == []
    assert {path for path, column in columns(shard) if column.has_column_index} >= {"dnsmos", "language"}


def test_row_groups_keep_their_rows(shard):
    assert [shard.metadata.row_group(group).num_rows for group in range(shard.num_row_groups)] == [30, 30]
    assert shard.metadata.num_rows == 60
