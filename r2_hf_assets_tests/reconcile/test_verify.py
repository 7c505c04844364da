"""verify_chunk, on real builds in a real store: what is whole passes, and whatever is not is named."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from obstore.store import MemoryStore

from r2_hf_assets.hub.client import RemoteFile
from r2_hf_assets.plan.chunks import Chunk
from r2_hf_assets.reconcile.report import Due, Recovered
from r2_hf_assets.reconcile.verify import verify_chunk
from r2_hf_assets.shards.source import Source
from r2_hf_assets_tests.build_samples import (
    NO_WAIT,
    PREFIX,
    audio,
    build_in_memory,
    chunk_of,
    put_episode,
)
from r2_hf_assets_tests.reconcile.local_files import LocalReader, as_on_hub

CHUNK = chunk_of("en/a", "en-US/b", "en/c")
SETTLED = timedelta(minutes=15)


@pytest.fixture
def bucket() -> MemoryStore:
    """Ten segments; one has no audio, one is no object, and one episode's metadata is no JSON."""
    store = MemoryStore()
    put_episode(store, "en/a", 4, without=[2])
    put_episode(store, "en-US/b", metadata=b"nonsense")
    put_episode(store, "en/c", [{"text": "first"}, None, *({"text": str(n)} for n in range(4))], without=[5])
    obstore.put(store, f"{PREFIX}en/c/c_000005.mp3", b"")  # empty: no row either
    return store


def parts(bucket: MemoryStore, tmp_path: Path, **changes: Any) -> list[Path]:
    """The files of a build."""
    built = build_in_memory(CHUNK, bucket, **changes)
    paths = [tmp_path / f"part-{number}" for number in range(len(built.parts))]
    for path, data in zip(paths, built.parts, strict=True):
        path.write_bytes(data)
    return paths


def source(bucket: MemoryStore, settle: timedelta = timedelta(0)) -> Source:
    return Source(bucket, settle, NO_WAIT)


def fault(bucket: MemoryStore, *paths: Path, chunk: Chunk = CHUNK) -> str:
    """Why these files are not the chunk."""
    return due(bucket, *as_on_hub(*paths), chunk=chunk).why


def due(bucket: MemoryStore, files: Sequence[RemoteFile], reader: LocalReader, chunk: Chunk = CHUNK) -> Due:
    found = verify_chunk(chunk, files, reader, source(bucket))
    assert isinstance(found, Due) and found.name == ("en", 7)
    return found


def change(path: Path, edit: Callable[[pa.Table], pa.Table]) -> Path:
    """The same file with other rows."""
    changed = path.with_name("changed")
    pq.write_table(edit(pq.read_table(path)), changed)
    return changed


def rows(*order: int) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.take(pa.array(order, pa.int64()))


def test_a_build_proves_itself_in_one_file_and_in_parts(bucket: MemoryStore, tmp_path: Path) -> None:
    (whole,) = parts(bucket, tmp_path)
    files, reader = as_on_hub(whole)
    found = verify_chunk(CHUNK, files, reader, source(bucket))
    assert isinstance(found, Recovered)
    assert (found.chunk.digest, found.chunk.episodes) == (CHUNK.digest, 3)
    assert [(file.name, file.rows, file.sha256) for file in found.files] == [
        ("chunk-00007.parquet", 7, files[0].sha256),
    ]
    split = parts(bucket, tmp_path, max_bytes=450, rowgroup_bytes=300)
    assert len(split) > 2
    files, reader = as_on_hub(*split)
    assert isinstance(verify_chunk(CHUNK, files[::-1], reader, source(bucket)), Recovered)
    gap, short = due(bucket, files[:-2] + files[-1:], reader), due(bucket, files[:-1], reader)
    assert "parts are not 00 to the last" in gap.why and "in no file" in short.why
    assert (len(gap.files), len(short.files)) == (len(files) - 1, len(files) - 1), "they may be replaced"


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ((0, 1, 2, 3, 4, 5), "1 segments are in the bucket and in no file, the first is processed/en/c/c_000004.mp3"),
        ((1, 2, 3, 4, 5, 6), "the first is processed/en/a/a_000000.mp3"),
        ((0, 1, 2, 3, 3, 4, 5, 6), "row processed/en/c/c_000000.mp3 is no segment"),
        ((1, 0, 2, 3, 4, 5, 6), "row processed/en/a/a_000000.mp3 is no segment"),
        ((), "7 segments are in the bucket"),
    ],
)
def test_rows_lost_double_or_out_of_order(
    bucket: MemoryStore, tmp_path: Path, order: tuple[int, ...], reason: str
) -> None:
    (whole,) = parts(bucket, tmp_path)
    assert reason in fault(bucket, change(whole, rows(*order)))


def test_rows_of_another_chunk(bucket: MemoryStore, tmp_path: Path) -> None:
    (whole,) = parts(bucket, tmp_path)
    fewer = chunk_of("en/a", "en-US/b")
    foreign = due(bucket, *as_on_hub(whole), chunk=fewer)
    assert "row processed/en/c/c_000000.mp3 is no segment of this chunk" in foreign.why
    assert foreign.files == (), "they may not be replaced"


def test_another_schema_or_no_parquet(bucket: MemoryStore, tmp_path: Path) -> None:
    (whole,) = parts(bucket, tmp_path)
    featureless = change(whole, lambda table: table.replace_schema_metadata(None))
    assert "its schema is not the one that this project writes" in fault(bucket, featureless)
    assert "schema" in fault(bucket, change(whole, lambda table: table.drop_columns(["dnsmos"])))
    broken = tmp_path / "broken"
    broken.write_bytes(b"PAR1 and no more")
    assert "no sound Parquet" in fault(bucket, broken)


def test_audio_that_came_later_is_missing_now(bucket: MemoryStore, tmp_path: Path) -> None:
    (whole,) = parts(bucket, tmp_path)
    obstore.put(bucket, f"{PREFIX}en/a/a_000002.mp3", audio("en/a", 2))
    assert "1 segments are in the bucket and in no file" in fault(bucket, whole)


def test_an_upload_that_may_go_on_proves_nothing(bucket: MemoryStore, tmp_path: Path) -> None:
    (whole,) = parts(bucket, tmp_path)
    files, reader = as_on_hub(whole)
    young = verify_chunk(CHUNK, files, reader, source(bucket, SETTLED))
    assert isinstance(young, Due) and young.why == "en/a is still uploading"
