"""The rows of a chunk's index: one for each entry, with the place of its audio."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from xxhash import xxh3_64_intdigest

from r2_hf_assets.shards import index as module
from r2_hf_assets.shards.index import INDEX_SCHEMA
from r2_hf_assets_tests.shards.damaged_build import CHUNK
from r2_hf_assets_tests.support.build_samples import (
    PREFIX,
    MemoryBuild,
    build_in_memory,
    chunk_of,
    entry,
    put_episode,
)
from r2_hf_assets_tests.support.store_gets import MemoryBucket

# Of a reject, what only a row has.
OF_ROWS = ("audio_bytes", "audio_hash", "file", "row_group", "row")


# Rows.


def test_the_columns_are_those_of_the_schema(intact):
    with pq.ParquetFile(pa.BufferReader(intact.index)) as index:
        assert index.schema_arrow.remove_metadata().equals(INDEX_SCHEMA)


def test_rows_and_rejects_are_in_plan_order(intact):
    lines = [(line["episode"], line["segment"], line["reject_reason"]) for line in intact.index_rows()]
    assert lines == [
        *(("en/a", number, "audio_missing" if number == 3 else None) for number in range(10)),
        *(("en-US/a", number, "entry_not_an_object" if number == 6 else None) for number in range(7)),
        ("en/none", None, "no_segments"),
        ("en/lost", 0, "audio_missing"),
        ("en/lost", 1, "audio_missing"),
        *(("en/b", number, None) for number in range(10)),
    ]
    keys = [line["key"] for line in intact.index_rows() if line["reject_reason"] is None]
    assert keys == [row["audio"]["path"] for row in intact.rows()]
    assert [line["key"] for line in intact.index_rows()] == [
        CHUNK.metadata_key(episode) if number is None else CHUNK.audio_key(episode, number)
        for episode, number, _ in lines
    ]


def test_a_row_has_the_values_of_its_entry_and_audio():
    bucket = MemoryBucket()
    put_episode(bucket, "en/a", [entry(0, language="deu", dnsmos=2.5, start=0.1, end=1e6)])
    built = build_in_memory(chunk_of("en/a"), bucket)
    [row], [line] = built.rows(), built.index_rows()
    body = row.pop("audio")["bytes"]
    assert {name: line[name] for name in row} == row
    assert (line["start"], line["end"], line["language"]) == (0.1, 1e6, "de")
    assert (line["audio_bytes"], line["audio_hash"]) == (len(body), xxh3_64_intdigest(body))
    assert (line["file"], line["row_group"], line["row"]) == ("data/en/chunk-00007.parquet", 0, 0)
    assert (line["reject_reason"], line["reject_detail"]) == (None, None)


def test_a_reject_keeps_what_is_known_of_its_entry(intact):
    line = intact.index_rows()[3]
    assert line == dict.fromkeys(OF_ROWS) | {
        "episode": "en/a",
        "segment": 3,
        "key": CHUNK.audio_key("en/a", 3),
        "language": "en",
        "speaker_id": "SPEAKER_01",
        "text": "words of segment 3",
        "start": 3.0,
        "end": 4.5,
        "duration_seconds": 1.5,
        "dnsmos": 3.25,
        "reject_reason": "audio_missing",
        "reject_detail": line["reject_detail"],
    }


def test_an_entry_that_is_no_object_has_only_its_place(intact):
    line = intact.index_rows()[16]
    known = {"episode": "en-US/a", "segment": 6, "key": CHUNK.audio_key("en-US/a", 6)}
    reason = {"reject_reason": "entry_not_an_object", "reject_detail": "a JSON str"}
    assert line == dict.fromkeys(INDEX_SCHEMA.names) | known | reason


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        (None, "metadata_missing"),
        (b"[]", "no_segments"),
        (b" ", "metadata_empty"),
        (b"<html>", "metadata_not_json"),
        (b"{}", "metadata_not_a_list"),
    ],
)
def test_an_episode_without_entries_has_one_row_without_a_segment(metadata, reason):
    bucket = MemoryBucket()
    if metadata is not None:
        put_episode(bucket, "en/none", 0, metadata=metadata)
    put_episode(bucket, "en/a", 1)
    first, second = build_in_memory(chunk_of("en/none", "en/a"), bucket).index_rows()
    known = {"episode": "en/none", "key": f"{PREFIX}en/none/all_segments.json", "reject_reason": reason}
    assert first == dict.fromkeys(INDEX_SCHEMA.names) | known | {"reject_detail": first["reject_detail"]}
    assert (second["episode"], second["segment"], second["reject_reason"]) == ("en/a", 0, None)


def test_the_header_is_not_needed_to_read_the_rows(intact, tmp_path):
    """A reader of Parquet that ignores the metadata gets the same rows."""
    path = tmp_path / "index.parquet"
    path.write_bytes(intact.index)
    assert pq.read_table(path).to_pylist() == intact.index_rows()
    assert asdict(intact.record)["index"]["rows"] == len(intact.index_rows())


# Places.


def check_places(built: MemoryBuild) -> None:
    """Read the audio of each row of the index from its place."""
    files = {recorded.path: file for recorded, file in zip(built.record.files, built.files(), strict=True)}
    places = []
    for line in built.index_rows():
        if line["reject_reason"] is not None:
            assert [line[name] for name in OF_ROWS] == [None] * len(OF_ROWS)
            continue
        audio = files[line["file"]].read_row_group(line["row_group"])["audio"][line["row"]].as_py()
        assert audio["path"] == line["key"]
        assert (len(audio["bytes"]), xxh3_64_intdigest(audio["bytes"])) == (line["audio_bytes"], line["audio_hash"])
        places.append((line["file"], line["row_group"], line["row"]))
    assert len(set(places)) == len(places) == built.record.tally.rows


@pytest.mark.parametrize(
    ("limits", "parts", "groups"),
    [
        ({}, 1, 1),
        ({"rowgroup_bytes": 20_000}, 1, 9),
        ({"rowgroup_bytes": 20_000, "max_bytes": 80_000}, 9, 9),
        ({"rowgroup_bytes": 20_000, "max_bytes": 110_000}, 4, 9),
        ({"rowgroup_bytes": 1, "max_bytes": 1}, 25, 25),
    ],
    ids=["one row group", "one part", "parts of one row group", "parts of several row groups", "a part each"],
)
def test_the_audio_of_each_row_is_at_its_place(limits: dict[str, Any], parts: int, groups: int) -> None:
    bucket = MemoryBucket()
    put_episode(bucket, "en/a", 10, size=5000, without=[0, 3, 9])  # a reject first, within, and last
    put_episode(bucket, "en/none", [])
    put_episode(bucket, "en/b", 18, size=5000)
    built = build_in_memory(chunk_of("en/a", "en/none", "en/b", "en/gone"), bucket, **limits)
    check_places(built)
    assert len(built.parts) == parts
    assert sum(file.num_row_groups for file in built.files()) == groups
    assert len(built.index_rows()) == 25 + 3 + 2


def test_places_are_right_in_an_index_of_many_row_groups(monkeypatch):
    """Rows are written before the number of parts is known, once there is a second part."""
    monkeypatch.setattr(module, "_ROWS_PER_GROUP", 4)
    bucket = MemoryBucket()
    put_episode(bucket, "en/a", 40, size=5000, without=[7, 39])
    several: dict[str, Any] = {"max_bytes": 80_000}
    for changes in ({}, several):
        built = build_in_memory(chunk_of("en/a"), bucket, rowgroup_bytes=20_000, **changes)
        check_places(built)
        assert pq.read_metadata(pa.BufferReader(built.index)).num_row_groups >= 10
        assert [line["segment"] for line in built.index_rows()] == list(range(40))


# Bytes.


def build(changes: Callable[[MemoryBucket], object] = lambda bucket: None, **options: Any) -> MemoryBuild:
    bucket = MemoryBucket()
    put_episode(bucket, "en/a", 20, size=5000, without=[3])
    put_episode(bucket, "en/b", 20, size=5000)
    changes(bucket)
    return build_in_memory(chunk_of("en/a", "en/none", "en/b"), bucket, rowgroup_bytes=20_000, **options)


@pytest.mark.parametrize("limits", [{}, {"max_bytes": 80_000}], ids=["one part", "parts"])
def test_the_same_input_gives_the_same_index(limits):
    first = build(workers=1, **limits)
    for workers in (2, 16):
        again = build(workers=workers, **limits)
        assert (again.index, again.record) == (first.index, first.record)


@pytest.mark.parametrize(
    "change",
    [
        lambda bucket: obstore.put(bucket, f"{PREFIX}en/b/b_000019.mp3", b"other audio"),
        lambda bucket: put_episode(bucket, "en/none", []),
        lambda bucket: put_episode(bucket, "en/b", [*map(entry, range(19)), entry(19, start=0.0)], size=5000),
    ],
    ids=["audio", "metadata of an episode without entries", "a time that is in no part"],
)
def test_other_input_gives_another_index(change):
    assert build(change).index != build().index
