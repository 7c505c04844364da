"""The files that build_chunk makes: the same bytes however they are fetched; parts and row groups within limits."""

import hashlib

import pyarrow.parquet as pq
import pytest
from obstore.store import MemoryStore

from r2_hf_assets.shards.build import Build, build_chunk
from r2_hf_assets.shards.record import Tally
from r2_hf_assets_tests.build_samples import NO_WAIT, chunk_of, limits, put_episode

EPISODES = [f"en/{n:02d}" for n in range(6)]


@pytest.fixture(scope="module")
def bucket() -> MemoryStore:
    """Six episodes of 20 segments of 5 kB, two of them with holes."""
    store = MemoryStore()
    for number, episode in enumerate(EPISODES):
        put_episode(store, episode, 20, size=5000, without=[3, 4] if number % 3 == 0 else [])
    return store


def build(bucket, folder, *, workers: int = 8, progress=None, **changes) -> Build:
    folder.mkdir()
    settings = limits(folder, **changes)
    chunk = chunk_of(*EPISODES)
    return build_chunk(chunk, bucket, folder, settings, workers=workers, retry=NO_WAIT, progress=progress)


def test_the_same_input_gives_the_same_bytes_whatever_the_workers(bucket, tmp_path):
    changes = {"max_bytes": 200_000, "rowgroup_bytes": 30_000}
    builds = [build(bucket, tmp_path / str(n), workers=n, **changes) for n in (1, 2, 7, 64)]
    assert len(builds[0].parts) > 2
    for other in builds[1:]:
        assert other.record == builds[0].record
        assert [part.path.read_bytes() for part in other.parts] == [part.path.read_bytes() for part in builds[0].parts]
        assert other.rejects_path.read_bytes() == builds[0].rejects_path.read_bytes()  # type: ignore[union-attr]


def test_the_record_says_what_the_files_are(bucket, tmp_path):
    built = build(bucket, tmp_path / "b", max_bytes=200_000, rowgroup_bytes=30_000)
    record = built.record
    assert [file.name for file in record.files] == [
        f"chunk-00007-part-{n:02d}.parquet" for n in range(len(record.files))
    ]
    for file, part in zip(record.files, built.parts, strict=True):
        data = part.path.read_bytes()
        assert (file.size, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert file.rows == pq.read_metadata(part.path).num_rows
    assert sum(file.rows for file in record.files) == record.tally.rows == 116
    assert record.bytes == sum(part.path.stat().st_size for part in built.parts)
    assert record.rejects is not None and built.rejects_path is not None
    data = built.rejects_path.read_bytes()
    assert (record.rejects.name, record.rejects.rows) == ("chunk-00007.rejects.parquet", 4)
    assert (record.rejects.size, record.rejects.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_a_chunk_that_fits_is_one_file_without_a_part_number(bucket, tmp_path):
    built = build(bucket, tmp_path / "b")
    assert [file.name for file in built.record.files] == ["chunk-00007.parquet"]
    assert pq.ParquetFile(built.parts[0].path).num_row_groups == 1


@pytest.mark.parametrize(("max_bytes", "rowgroup_bytes"), [(200_000, 30_000), (150_000, 10**6), (300_000, 300_000)])
def test_parts_and_row_groups_stay_within_their_limits(bucket, tmp_path, max_bytes, rowgroup_bytes):
    built = build(bucket, tmp_path / "b", max_bytes=max_bytes, rowgroup_bytes=rowgroup_bytes)
    assert len(built.parts) > 1
    for part in built.parts:
        assert part.size <= max_bytes
        metadata = pq.read_metadata(part.path)
        for group in range(metadata.num_row_groups):
            [sound] = [c for c in map(metadata.row_group(group).column, range(3)) if c.path_in_schema == "audio.bytes"]
            assert sound.total_uncompressed_size <= rowgroup_bytes


def test_rows_larger_than_both_limits_are_files_of_their_own(bucket, tmp_path):
    built = build(bucket, tmp_path / "b", max_bytes=4000, rowgroup_bytes=1000)
    assert [part.rows for part in built.parts] == [1] * 116
    assert built.record.files[115].name == "chunk-00007-part-115.parquet"
    assert built.parts[115].path.exists()


def test_progress_is_told_after_each_row_group(bucket, tmp_path):
    seen: list[tuple[int, bool]] = []
    built = build(
        bucket,
        tmp_path / "b",
        rowgroup_bytes=30_000,
        progress=lambda tally: seen.append((tally.rows, isinstance(tally, Tally))),
    )
    assert len(seen) == pq.ParquetFile(built.parts[0].path).num_row_groups > 10
    assert seen == sorted(seen) and seen[-1] == (116, True)
