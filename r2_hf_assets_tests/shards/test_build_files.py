"""The files of build_chunk: byte-identical for any number of workers, parts and row groups within limits."""

import hashlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from r2_hf_assets_tests.support.build_samples import MemoryBuild, build_in_memory, chunk_of, put_episode
from r2_hf_assets_tests.support.store_gets import MemoryBucket

EPISODES = [f"en/{n:02d}" for n in range(6)]


@pytest.fixture(scope="module")
def bucket() -> MemoryBucket:
    """Six episodes of 20 segments of 5 kB, two of them with holes."""
    store = MemoryBucket()
    for number, episode in enumerate(EPISODES):
        put_episode(store, episode, 20, size=5000, without=[3, 4] if number % 3 == 0 else [])
    return store


def build(bucket, **options) -> MemoryBuild:
    return build_in_memory(chunk_of(*EPISODES), bucket, **options)


def test_the_same_input_gives_the_same_bytes_with_any_workers(bucket):
    changes = {"max_bytes": 200_000, "rowgroup_bytes": 30_000}
    builds = [build(bucket, workers=n, **changes) for n in (1, 2, 7, 64)]
    assert len(builds[0].parts) > 2
    for other in builds[1:]:
        assert other.record == builds[0].record
        assert other.parts == builds[0].parts
        assert other.index == builds[0].index
    assert len(builds[0].rejects()) == 4


def test_the_record_describes_the_files(bucket):
    built = build(bucket, max_bytes=200_000, rowgroup_bytes=30_000)
    record = built.record
    assert [file.path for file in record.files] == [
        f"data/en/chunk-00007-part-{n:02d}.parquet" for n in range(len(record.files))
    ]
    for file, data in zip(record.files, built.parts, strict=True):
        assert (file.size, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert file.rows == pq.read_metadata(pa.BufferReader(data)).num_rows
    assert sum(file.rows for file in record.files) == record.tally.rows == 116
    assert record.bytes == sum(map(len, built.parts))
    data = built.index
    assert record.index is not None
    assert (record.index.path, record.index.rows) == ("metadata/en/chunk-00007.parquet", 120)
    assert pq.read_metadata(pa.BufferReader(data)).num_rows == 120
    assert (record.index.size, record.index.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert record.all_files == (*record.files, record.index)
    assert record.sha256s == {file.sha256 for file in record.all_files}


def test_a_chunk_that_fits_is_one_file_without_a_part_number(bucket):
    built = build(bucket)
    assert [file.path for file in built.record.files] == ["data/en/chunk-00007.parquet"]
    assert built.files()[0].num_row_groups == 1


@pytest.mark.parametrize(("max_bytes", "rowgroup_bytes"), [(200_000, 30_000), (150_000, 10**6), (300_000, 300_000)])
def test_parts_and_row_groups_stay_within_their_limits(bucket, max_bytes, rowgroup_bytes):
    built = build(bucket, max_bytes=max_bytes, rowgroup_bytes=rowgroup_bytes)
    assert len(built.parts) > 1
    for data in built.parts:
        assert len(data) <= max_bytes
        metadata = pq.read_metadata(pa.BufferReader(data))
        for group in range(metadata.num_row_groups):
            [sound] = [c for c in map(metadata.row_group(group).column, range(3)) if c.path_in_schema == "audio.bytes"]
            assert sound.total_uncompressed_size <= rowgroup_bytes


def test_rows_larger_than_both_limits_are_files_of_their_own(bucket):
    built = build(bucket, max_bytes=4000, rowgroup_bytes=1000)
    assert [file.rows for file in built.record.files] == [1] * 116
    assert built.record.files[115].path == "data/en/chunk-00007-part-115.parquet"
    assert len(built.parts) == 116


def test_progress_is_called_after_each_row_group(bucket):
    rows: list[int] = []
    built = build(bucket, rowgroup_bytes=30_000, progress=lambda tally: rows.append(tally.rows))
    assert len(rows) == built.files()[0].num_row_groups > 10
    assert rows == sorted(rows) and rows[-1] == 116
