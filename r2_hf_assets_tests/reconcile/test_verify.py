"""verify_chunk on real builds in a real store: complete chunks pass, and each problem is reported."""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from r2_hf_assets.errors import ShardError
from r2_hf_assets.plan.amendments import REFRESH, REMOVE, Amendment, Target
from r2_hf_assets.plan.chunks import ChunkManifest
from r2_hf_assets.reconcile.report import Recovered
from r2_hf_assets.reconcile.verify import Content, recover, verify_chunk
from r2_hf_assets.shards.schema import SCHEMA
from r2_hf_assets.shards.source import Source
from r2_hf_assets_tests.reconcile.local_files import as_on_hub
from r2_hf_assets_tests.support.build_samples import NO_WAIT, PREFIX, audio, build_in_memory, chunk_of, put_episode
from r2_hf_assets_tests.support.store_gets import MemoryBucket

CHUNK = chunk_of("en/a", "en-US/b", "en/c")
SETTLED = timedelta(minutes=15)


@pytest.fixture
def bucket() -> MemoryBucket:
    """Ten entries, some without usable audio, one no object; and an episode whose metadata is no JSON."""
    store = MemoryBucket()
    put_episode(store, "en/a", 4, without=[2])
    put_episode(store, "en-US/b", metadata=b"nonsense")
    put_episode(store, "en/c", [{"text": "first"}, None, *({"text": str(n)} for n in range(4))], without=[5])
    obstore.put(store, f"{PREFIX}en/c/c_000005.mp3", b"")  # empty: no row either
    return store


def parts(bucket: MemoryBucket, tmp_path: Path, **changes: Any) -> list[Path]:
    """Build the chunk; return its parts. Its index is `index` in the same folder."""
    built = build_in_memory(CHUNK, bucket, **changes)
    paths = [tmp_path / f"part-{number}" for number in range(len(built.parts))]
    for path, data in zip(paths, built.parts, strict=True):
        path.write_bytes(data)
    (tmp_path / "index").write_bytes(built.index)
    return paths


def source(bucket: MemoryBucket, settle: timedelta = timedelta(0)) -> Source:
    return Source(bucket, settle, NO_WAIT)


def check(bucket: MemoryBucket, *paths: Path, chunk: ChunkManifest = CHUNK) -> Content:
    files, reader = as_on_hub(*paths)
    return verify_chunk(chunk, files, reader, source(bucket))


def change(path: Path, edit: Callable[[pa.Table], pa.Table]) -> Path:
    """Write the file with edited rows; return the new path."""
    changed = path.with_name("changed")
    pq.write_table(edit(pq.read_table(path)), changed)
    return changed


def rows(*order: int) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.take(pa.array(order, pa.int64()))


def test_a_complete_build_passes_in_one_file_and_in_parts(bucket: MemoryBucket, tmp_path: Path) -> None:
    (whole,) = parts(bucket, tmp_path)
    content = check(bucket, whole)
    assert (content.problem, content.segments, content.lost, content.summary) == (None, 9, (), "7 rows")
    assert [(file.path, file.rows) for file in content.files] == [("data/en/chunk-00007.parquet", 7)]
    split = parts(bucket, tmp_path, max_bytes=450, rowgroup_bytes=300)
    assert len(split) > 2
    files, reader = as_on_hub(*split)
    backwards = dict(reversed(files.items()))
    content = verify_chunk(CHUNK, backwards, reader, source(bucket))
    assert (content.summary, [file.sha256 for file in content.files]) == ("7 rows", [f.sha256 for f in files.values()])
    *begin, before_last, last = files
    gap = verify_chunk(CHUNK, {path: files[path] for path in (*begin, last)}, reader, source(bucket))
    short = verify_chunk(CHUNK, {path: files[path] for path in (*begin, before_last)}, reader, source(bucket))
    assert gap.problem is not None and gap.problem.startswith("its parts are not 00 to the last: ")
    assert short.problem is None and short.lost
    assert len(gap.files) == len(short.files) == len(split) - 1, "they may be replaced"
    assert verify_chunk(CHUNK, {}, reader, source(bucket)).problem == "no file on the Hub"


C = "processed/en/c/c_00000"


@pytest.mark.parametrize(
    ("order", "summary"),
    [
        ((0, 1, 2, 3, 4, 5), f"lacks 1 of 9 segments, the first is {C}4.mp3"),
        ((1, 2, 3, 4, 5, 6), "lacks 1 of 9 segments, the first is processed/en/a/a_000000.mp3"),
        ((6, 1, 0, 2, 5, 4, 3), "7 rows"),  # in any order: the script wrote episodes as they completed
        ((0, 1, 2, 3, 3, 4, 5, 6), f"its row {C}0.mp3 occurs more than once"),
        ((), "no row in it"),
    ],
)
def test_lost_or_duplicate_rows(bucket: MemoryBucket, tmp_path: Path, order: tuple[int, ...], summary: str) -> None:
    (whole,) = parts(bucket, tmp_path)
    assert check(bucket, change(whole, rows(*order))).summary == summary


@pytest.mark.parametrize("key", ["processed/en/d/d_000000.mp3", "processed/de/a/a_000000.mp3", "a_000000.mp3", None])
def test_rows_of_another_chunk_are_foreign(bucket: MemoryBucket, tmp_path: Path, key: str | None) -> None:
    file, keys = tmp_path / "file", ["processed/en/a/a_000000.mp3", key]
    pq.write_table(pa.Table.from_pylist([{"audio": {"path": k, "bytes": b"mp3"}} for k in keys], SCHEMA), file)
    content = check(bucket, file)
    assert (content.problem, content.foreign) == (f"its row {key} is of no episode of this chunk", True)
    assert content.files == (), "they may not be replaced"


def test_rows_that_the_bucket_no_longer_names_are_accepted(bucket: MemoryBucket, tmp_path: Path) -> None:
    """The metadata of an episode was damaged after the file was written."""
    (whole,) = parts(bucket, tmp_path)
    put_episode(bucket, "en/a", metadata=b"nonsense")
    assert check(bucket, whole).summary == "7 rows"


def test_other_columns_and_damaged_files_are_reported(bucket: MemoryBucket, tmp_path: Path) -> None:
    (whole,) = parts(bucket, tmp_path)
    assert check(bucket, change(whole, lambda table: table.replace_schema_metadata(None))).problem is None
    fewer = check(bucket, change(whole, lambda table: table.drop_columns(["dnsmos"])))
    assert "other columns than the dataset's" in fewer.summary
    broken = tmp_path / "broken"
    broken.write_bytes(b"PAR1 and no more")
    assert "not a valid Parquet" in check(bucket, broken).summary


def test_audio_uploaded_after_the_build_is_lost(bucket: MemoryBucket, tmp_path: Path) -> None:
    (whole,) = parts(bucket, tmp_path)
    obstore.put(bucket, f"{PREFIX}en/a/a_000002.mp3", audio("en/a", 2))
    assert check(bucket, whole).lost == (f"{PREFIX}en/a/a_000002.mp3",)


def test_an_episode_still_uploading_is_a_problem(bucket: MemoryBucket, tmp_path: Path) -> None:
    (whole,) = parts(bucket, tmp_path)
    files, reader = as_on_hub(whole)
    assert verify_chunk(CHUNK, files, reader, source(bucket, SETTLED)).problem == "en/a is still uploading"


INDEX = "metadata/en/chunk-00007.parquet"


def recovered(*paths: Path, index: Path, chunk: ChunkManifest = CHUNK) -> Recovered | str:
    files, reader = as_on_hub(*paths, index=index)
    return recover(chunk.ref, reader.header(files[INDEX]), list(files.values()))


@pytest.mark.parametrize("limits", [{}, {"max_bytes": 450, "rowgroup_bytes": 300}], ids=["one part", "parts"])
def test_a_chunk_is_recovered_by_its_index_alone(bucket: MemoryBucket, tmp_path: Path, limits: dict[str, Any]) -> None:
    paths = parts(bucket, tmp_path, **limits)
    found = recovered(*paths, index=tmp_path / "index")
    assert isinstance(found, Recovered)
    *shards, index = found.files
    assert (index.path, index.rows, sum(file.rows for file in shards), found.rows) == (INDEX, 7 + 3 + 1, 7, 7)
    assert [file.sha256 for file in found.files] == [
        hashlib.sha256(path.read_bytes()).hexdigest() for path in (*paths, tmp_path / "index")
    ]
    assert found.stats is not None and found.stats.rows == 7


def test_a_chunk_without_rows_is_recovered(tmp_path: Path) -> None:
    store, chunk = MemoryBucket(), chunk_of("en/a")
    put_episode(store, "en/a", 2, without=[0, 1])
    path = tmp_path / "index"
    path.write_bytes(build_in_memory(chunk, store).index)
    found = recovered(index=path, chunk=chunk)
    assert isinstance(found, Recovered) and [file.path for file in found.files] == [INDEX]


def test_other_files_and_other_chunks_are_not_recovered(bucket: MemoryBucket, tmp_path: Path) -> None:
    (whole,), other = parts(bucket, tmp_path), tmp_path / "other"
    other.mkdir()
    several = parts(bucket, other, max_bytes=450, rowgroup_bytes=300)
    not_named = "its files are not those that its index names"
    assert recovered(whole, index=other / "index") == not_named
    assert recovered(*several[:-1], index=other / "index") == not_named
    assert recovered(change(whole, rows(0, 1)), index=tmp_path / "index") == not_named
    amended = CHUNK.amended([Amendment(0, REFRESH, (Target("en/a", CHUNK.name),), "", "2026-11-29")])
    assert "other members or amendments" in str(recovered(whole, index=tmp_path / "index", chunk=amended))


@pytest.mark.parametrize("content", [None, b"", b"PAR1 and no more", b"PAR1" * 40_000], ids=str)
def test_a_damaged_index_is_one_line(bucket: MemoryBucket, tmp_path: Path, content: bytes | None) -> None:
    (whole,) = parts(bucket, tmp_path)
    damaged = tmp_path / "damaged"
    damaged.write_bytes(whole.read_bytes() if content is None else content)
    with pytest.raises(ShardError, match=f"^{INDEX}: ") as error:
        recovered(whole, index=damaged)
    assert "\n" not in str(error.value)


def test_rows_of_what_was_removed_are_a_problem(bucket: MemoryBucket, tmp_path: Path) -> None:
    (whole,) = parts(bucket, tmp_path)
    for target, key in (
        (Target("en/a", CHUNK.name), "en/a/a_000000.mp3"),
        (Target("en/a", CHUNK.name, segment=3), "en/a/a_000003.mp3"),
        (Target("en/a", CHUNK.name, speaker="SPEAKER_01"), "en/a/a_000001.mp3"),
    ):
        chunk = CHUNK.amended([Amendment(0, REMOVE, (target,), "", "2026-11-29")])
        content = check(bucket, whole, chunk=chunk)
        assert content.problem == f"its row {PREFIX}{key} is removed from the dataset"
        assert content.files, "they may be replaced"
