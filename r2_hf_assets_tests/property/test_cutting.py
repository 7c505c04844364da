"""A chunk's row groups and parts, for any sizes and any limits: every row once, in order, within the limits.

`build_chunk` builds it from a bucket in memory; missing or empty audio is a reject in the index.
"""

import hashlib
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from r2_hf_assets.bucket.segments import Segment
from r2_hf_assets.shards.names import index_path, part_name, path_in_repo, shard_names
from r2_hf_assets.shards.rowgroup import row_size
from r2_hf_assets.shards.writer import group_limit
from r2_hf_assets_tests.support.build_samples import MemoryBuild, audio, build_in_memory, chunk_of, put_episode, segment
from r2_hf_assets_tests.support.store_gets import MemoryBucket

MISSING = None
# Sizes of audio in bytes: mostly small, a few larger than any limit.
sizes = st.one_of(st.integers(0, 60), st.integers(0, 4000), st.sampled_from([MISSING, 0, 150_000, 300_000]))
episodes = st.lists(st.lists(sizes, max_size=12), min_size=1, max_size=4)
bytes_limits = st.one_of(st.integers(1, 5_000), st.integers(60_000, 500_000))


def build(given_: list[list[int | None]], max_bytes: int, rowgroup_bytes: int) -> MemoryBuild:
    store, names = MemoryBucket(), [f"en/e{number}" for number in range(len(given_))]
    for name, sizes_ in zip(names, given_, strict=True):
        put_episode(store, name, len(sizes_), without=range(len(sizes_)))
        for index, size in enumerate(sizes_):
            if size is not MISSING:
                store.put(key(name, index), audio(name, index, size))
    return build_in_memory(chunk_of(*names), store, workers=4, max_bytes=max_bytes, rowgroup_bytes=rowgroup_bytes)


def key(episode: str, index: int) -> str:
    return f"processed/{episode}/{episode.removeprefix('en/')}_{index:06d}.mp3"


def rows_of(given_: list[list[int | None]]) -> list[tuple[Segment, bytes]]:
    """Return the expected rows with their audio, in order."""
    return [
        (segment(index, key=key(f"en/e{number}", index)), audio(f"en/e{number}", index, size))
        for number, sizes_ in enumerate(given_)
        for index, size in enumerate(sizes_)
        if size
    ]


@given(episodes, bytes_limits, bytes_limits)
def test_every_row_is_in_one_part_in_order_and_within_the_limits(given_, max_bytes, rowgroup_bytes):
    built = build(given_, max_bytes, rowgroup_bytes)
    rows = rows_of(given_)
    counted = {row.key: row_size(row, len(body)) for row, body in rows}
    limit = group_limit(rowgroup_bytes, max_bytes)
    written: list[tuple[str, bytes]] = []
    groups: list[list[int]] = []
    for data, file in zip(built.parts, built.files(), strict=True):
        part_groups = []
        for number in range(file.num_row_groups):
            read = [(item["path"], item["bytes"]) for item in file.read_row_group(number)["audio"].to_pylist()]
            written += read
            part_groups.append([counted[path] for path, _ in read])
        assert len(data) <= max_bytes or len(part_groups) == 1
        assert len(data) <= max_bytes or max_bytes < 2**17 or sum(part_groups[0]) > limit
        groups += part_groups
    assert written == [(row.key, body) for row, body in rows]
    assert all(sum(group) <= limit or len(group) == 1 for group in groups)
    for group, following in pairwise(groups):
        assert sum(group) + following[0] > limit, "a row group ended before it was full"
    record = built.record
    assert [file.path for file in record.files] == [path_in_repo("en", n) for n in shard_names(7, len(built.parts))]
    assert [(file.rows, file.size, file.sha256) for file in record.files] == [
        (file.metadata.num_rows, len(data), hashlib.sha256(data).hexdigest())
        for data, file in zip(built.parts, built.files(), strict=True)
    ]
    assert record.tally.rows == len(rows)
    check_index(built, rows)


def check_index(built: MemoryBuild, rows: list[tuple[Segment, bytes]]) -> None:
    """Each row of the index names the place of its audio, in order; the others are rejects without one."""
    files = {recorded.path: file for recorded, file in zip(built.record.files, built.files(), strict=True)}
    lines = [line for line in built.index_rows() if line["reject_reason"] is None]
    for line, (row, body) in zip(lines, rows, strict=True):
        there = files[line["file"]].read_row_group(line["row_group"])["audio"][line["row"]].as_py()
        assert there == {"path": row.key, "bytes": body} and line["key"] == row.key
        assert (line["audio_bytes"], line["audio_hash"]) == (len(body), xxh3_64_intdigest(body))
    for line in built.rejects():
        assert [line[name] for name in ("file", "row_group", "row", "audio_bytes", "audio_hash")] == [None] * 5
    assert built.record.index is not None
    assert built.record.index.rows == len(lines) + len(built.rejects()) == built.record.tally.index_rows


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=2, unique=True), st.integers(0, 200), st.integers(0, 200))
def test_part_names_are_contiguous_and_differ_from_another_chunks(numbers, one, other):
    first, second = (set(shard_names(number, parts)) for number, parts in zip(numbers, (one, other), strict=True))
    assert len(first) == one and not first & second
    if one > 1:
        assert shard_names(numbers[0], one) == [part_name(numbers[0], part) for part in range(one)]
        assert not first & set(shard_names(numbers[0], 1)), "the name of a single file is no part name"
    assert index_path("en", numbers[0]) not in {path_in_repo("en", name) for name in first}
