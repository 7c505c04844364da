"""check_finished, on files as the script writes them: what it lost is counted exactly, what is wrong is named."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from obstore.store import MemoryStore

from r2_hf_assets.reconcile.finished import Finished, check_finished, recoverable
from r2_hf_assets.shards.schema import SCHEMA
from r2_hf_assets_tests.build_samples import PREFIX, chunk_of, put_episode
from r2_hf_assets_tests.reconcile.local_files import as_on_hub
from r2_hf_assets_tests.reconcile.test_prove import source

CHUNK = chunk_of("en/a", "en-US/b", "en/c", "en/d")


@pytest.fixture
def bucket() -> MemoryStore:
    """Three segments of `a` can be had, three of four of `b`; the metadata of `c` is no JSON, `d` has a bad entry."""
    store = MemoryStore()
    put_episode(store, "en/a", 3)
    put_episode(store, "en-US/b", 4, without=[2])
    put_episode(store, "en/c", metadata=b"nonsense")
    put_episode(store, "en/d", [{"text": "first"}, None, {"text": "third"}])
    return store


def of(episode: str, *segments: int) -> list[str]:
    return [f"{PREFIX}{episode}/{episode.rpartition('/')[2]}_{segment:06d}.mp3" for segment in segments]


A, B, D = of("en/a", 0, 1, 2), of("en-US/b", 0, 1, 3), of("en/d", 0, 2)


def check(bucket: MemoryStore, folder: Path, *parts: Sequence[str | None], schema: pa.Schema | None = None) -> Finished:
    """What is found of files with these rows, which are named by audio.path."""
    paths = []
    for number, keys in enumerate(parts):
        rows: list[dict[str, Any]] = [{"audio": {"path": key, "bytes": b"mp3"}, "dnsmos": 0} for key in keys]
        table = pa.Table.from_pylist(rows, schema or SCHEMA.remove_metadata())
        paths.append(folder / f"{number}.parquet")
        pq.write_table(table, paths[-1])
    files, reader = as_on_hub(*paths)
    by_path = {file.path: file for file in files}
    return check_finished(CHUNK, by_path, reader, source(bucket))


@pytest.mark.parametrize(
    ("keys", "incomplete"),
    [
        ([*A, *B, *D], None),
        ([*D, *B, *A], None),
        ([*D[::-1], *A[1:], *B, A[0]], None),
        (A, "5 of 9 segments (2 episodes)"),
        ([*D, *B], "3 of 9 segments (1 episodes)"),
        ([*B, *A], "2 of 9 segments (1 episodes)"),
    ],
)
@pytest.mark.parametrize("names_only", [False, True])
def test_what_the_script_lost_is_counted_in_any_order(
    bucket: MemoryStore, tmp_path: Path, keys: list[str], incomplete: str | None, names_only: bool
) -> None:
    written = [key.rpartition("/")[2] for key in keys] if names_only else keys
    found = check(bucket, tmp_path, written)
    assert (found.problem, found.segments, found.incomplete, found.more) == (None, 9, incomplete, 0)
    recovered = recoverable(found)
    assert (recovered.chunk.digest, recovered.rows) == (CHUNK.digest, len(keys))


def test_files_are_named_as_ours_wherever_they_lie(bucket: MemoryStore, tmp_path: Path) -> None:
    found = check(bucket, tmp_path, [*D, *B], A)
    assert [(file.name, file.rows) for file in found.shards] == [
        ("chunk-00007-part-00.parquet", 5),
        ("chunk-00007-part-01.parquet", 3),
    ]
    assert [(file.path, file.sha256) for file in found.there] == [
        (f"data/en/{file.name}", file.sha256) for file in found.shards
    ]


def test_rows_that_the_metadata_names_no_more(bucket: MemoryStore, tmp_path: Path) -> None:
    """The bad entry of `d`, and `c`, whose metadata was sound when the script read it."""
    found = check(bucket, tmp_path, [*A, *of("en/c", 0, 1), *B, *of("en/d", 0, 1, 2)])
    assert (found.problem, found.incomplete, found.more, found.rows) == (None, None, 3, 11)


def test_a_file_name_that_two_folders_have(tmp_path: Path) -> None:
    store = MemoryStore()
    put_episode(store, "en/x", 2)
    put_episode(store, "en-US/x", 2)
    chunk = chunk_of("en/x", "en-US/x")
    names = ["x_000000.mp3", "x_000001.mp3"]
    for keys, lost in ((names, 2), (names * 2, 0)):
        path = tmp_path / "file"
        pq.write_table(pa.Table.from_pylist([{"audio": {"path": key}} for key in keys], SCHEMA.remove_metadata()), path)
        files, reader = as_on_hub(path)
        found = check_finished(chunk, {files[0].path: files[0]}, reader, source(store))
        assert (found.problem, found.lost) == (None, lost)


@pytest.mark.parametrize(
    ("keys", "problem", "stranger"),
    [
        ([], "no row in it", None),
        ([*A, A[1]], f"its row {A[1]} is there more than once", None),
        ([*of("en/d", 1, 1), *D], f"its row {of('en/d', 1)[0]} is there more than once", None),
        ([*A, *of("en/e", 0)], "its row processed/en/e/e_000000.mp3 is of no episode of this chunk", of("en/e", 0)[0]),
        ([*A, *of("de/a", 0)], "its row processed/de/a/a_000000.mp3 is of no episode of this chunk", of("de/a", 0)[0]),
        ([*A, "e_000000.mp3"], "its row e_000000.mp3 is of no episode of this chunk", "e_000000.mp3"),
        ([*A, None], "its row None is of no episode of this chunk", "None"),
        ([*A, "noise"], "its row noise is of no episode of this chunk", "noise"),
    ],
)
def test_rows_that_do_not_belong_there(
    bucket: MemoryStore, tmp_path: Path, keys: list[str | None], problem: str, stranger: str | None
) -> None:
    found = check(bucket, tmp_path, keys)
    assert (found.problem, found.stranger) == (problem, stranger)
    # What a build may replace.
    (there,) = found.there
    assert (there.path, there.size) == ("data/en/chunk-00007.parquet", (tmp_path / "0.parquet").stat().st_size)


def test_files_that_are_not_the_datasets(bucket: MemoryStore, tmp_path: Path) -> None:
    other = pa.schema([SCHEMA.field("audio"), pa.field("dnsmos", pa.int64())])
    assert "other columns than the dataset's: audio: struct" in str(check(bucket, tmp_path, A, schema=other).problem)
    (tmp_path / "broken").write_bytes(b"PAR1 and no more")
    files, reader = as_on_hub(tmp_path / "broken")
    found = check_finished(CHUNK, {files[0].path: files[0]}, reader, source(bucket))
    assert "no sound Parquet" in str(found.problem)
    assert check_finished(CHUNK, {}, reader, source(bucket)).problem == "no file on the Hub"
    parts, reader = as_on_hub(tmp_path / "0.parquet", tmp_path / "0.parquet")
    found = check_finished(CHUNK, {parts[1].path: parts[1]}, reader, source(bucket))
    assert "its parts are not 00 to the last" in str(found.problem)
    assert found.there == (parts[1],)


def test_audio_that_came_later_counts_as_lost(bucket: MemoryStore, tmp_path: Path) -> None:
    obstore.put(bucket, of("en-US/b", 2)[0], b"mp3")
    assert check(bucket, tmp_path, [*A, *B, *D]).incomplete == "1 of 9 segments (1 episodes)"
