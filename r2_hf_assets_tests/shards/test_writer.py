"""PartWriter: parts within the limit, streamed in order, byte-identical for the same rows."""

import hashlib
import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from r2_hf_assets.bucket.segments import Segment
from r2_hf_assets.errors import ShardError
from r2_hf_assets.shards import writer as module
from r2_hf_assets.shards.rowgroup import RowGroup
from r2_hf_assets.shards.writer import Content, Part, PartWriter
from r2_hf_assets_tests.support.build_samples import MemoryPart, MemoryUpload, audio, segment

Row = tuple[Segment, bytes]


@dataclass
class RecordedUpload(MemoryUpload):
    """An upload that records its steps (sizes of writes, "begin", "finish") and the files that were opened."""

    steps: list[int | str] = field(default_factory=list)
    opened: list["RecordedPart"] = field(default_factory=list)

    def begin(self) -> "RecordedPart":
        self.steps.append("begin")
        self.opened.append(RecordedPart(self))
        return self.opened[-1]

    def written(self) -> list[int]:
        return [step for step in self.steps if isinstance(step, int)]


@dataclass
class RecordedPart(MemoryPart):
    upload: RecordedUpload

    def write(self, data: bytes) -> None:
        super().write(data)
        self.upload.steps.append(len(data))

    def finish(self) -> Content:
        self.upload.steps.append("finish")
        return super().finish()


def rows(count: int, size: int) -> list[Row]:
    return [(segment(index), audio("ep", index, size)) for index in range(count)]


def tables(rows: Iterable[Row], group_bytes: int) -> Iterable[tuple[pa.Table, int]]:
    """Yield row groups with their sizes, cut as by build_chunk."""
    group = RowGroup(group_bytes)
    for row, body in rows:
        if not group.has_room(row, len(body)):
            yield group.to_table(), group.size
            group.clear()
        group.add(row, [body])
    if len(group):
        yield group.to_table(), group.size


def write(upload: MemoryUpload, rows: Iterable[Row], max_bytes: int, group_bytes: int) -> list[Part]:
    with PartWriter(upload, max_bytes) as writer:
        for table, size in tables(rows, group_bytes):
            writer.write(table, size)
    return writer.parts


def written(rows: Iterable[Row], max_bytes: int, group_bytes: int) -> tuple[list[Part], list[bytes]]:
    """Return the writer's parts and the bytes that the upload received."""
    upload = MemoryUpload()
    return write(upload, rows, max_bytes, group_bytes), upload.parts


def read(data: bytes) -> pa.Table:
    return pq.read_table(pa.BufferReader(data))


def test_rows_within_the_limit_are_one_part():
    [part], [data] = written(rows(20, 1000), 10**6, 5000)
    assert part.rows == 20
    assert read(data)["audio"].to_pylist()[7]["bytes"] == audio("ep", 7, 1000)


def test_written_row_groups_are_read_back_unchanged():
    written: list[pa.Table] = []
    upload = MemoryUpload()
    with PartWriter(upload, 200_000) as writer:
        for table, size in tables(rows(100, 5000), 20_000):
            # A copy: the next row group overwrites the buffer.
            written.append(pa.Table.from_pylist(table.to_pylist(), table.schema))
            writer.write(table, size)
    groups = [
        file.read_row_group(index)
        for file in (pq.ParquetFile(pa.BufferReader(part)) for part in upload.parts)
        for index in range(file.num_row_groups)
    ]
    assert len(upload.parts) > 2 and groups == written
    assert [key["path"] for table in written for key in table["audio"].to_pylist()] == [r.key for r, _ in rows(100, 0)]


def test_a_part_is_streamed_while_written_and_finished_before_the_next():
    upload, sent = RecordedUpload(), list[int]()
    with PartWriter(upload, 300_000) as writer:
        for table, size in tables(rows(60, 20_000), 100_000):
            sent.append(sum(upload.written()))
            writer.write(table, size)
    assert len(writer.parts) > 3
    assert [step for step in upload.steps if isinstance(step, str)] == ["begin", "finish"] * len(writer.parts)
    assert len(sent) == 15 and sent[0] == 0
    assert all(after - before >= 80_000 for before, after in pairwise(sent))


def test_small_writes_are_buffered_together():
    upload = RecordedUpload()
    write(upload, rows(2000, 400), 10**8, 10**6)
    assert len(upload.written()) == 3, "the bytes before the page of audio, the page, and the bytes after it"


def test_many_small_writes_are_sent_before_the_end():
    upload = RecordedUpload()
    with PartWriter(upload, 10**8) as writer:
        for table, size in tables(rows(8000, 5), 2000):
            writer.write(table, size)
        sent = upload.written()
    assert min(sent) > 2**15 and len(sent) > 2


def test_parts_have_the_rows_size_and_hash_of_their_files():
    parts, files = written(rows(60, 5000), 200_000, 20_000)
    for part, data in zip(parts, files, strict=True):
        assert (part.size, part.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert part.rows == pq.read_metadata(pa.BufferReader(data)).num_rows


def test_the_same_rows_give_the_same_bytes():
    _, first = written(rows(60, 5000), 200_000, 20_000)
    _, second = written(rows(60, 5000), 200_000, 20_000)
    assert first == second
    _, other = written(rows(59, 5000), 200_000, 20_000)
    assert other[-1] != first[-1]


def han(count: int, size: int, letters: int) -> list[Row]:
    """Return rows whose text has three bytes a letter and hardly compresses."""
    draw = random.Random(5)
    return [
        (segment(index, text="".join(chr(draw.randrange(0x4E00, 0x9FFF)) for _ in range(letters))), body)
        for index, (_, body) in enumerate(rows(count, size))
    ]


@pytest.mark.parametrize(
    ("input_rows", "max_bytes", "group_bytes"),
    [
        (rows(400, 5000), 1 << 20, 1 << 20),
        (rows(400, 5000), 1 << 20, 1 << 16),
        (rows(3000, 400), 1 << 19, 1 << 12),
        (rows(4000, 50), 1 << 18, 1 << 9),
        (han(1000, 300, 600), 1 << 20, 1 << 20),
        (han(1000, 300, 600), 1 << 20, 1 << 17),
        (rows(100, 5000), 100_000, 10_000),
        (rows(20, 5000), 20_000, 20_000),
    ],
    ids=["one-group", "usual", "small-groups", "tiny-groups", "han-one-group", "han", "small-part", "smaller-part"],
)
def test_no_part_is_larger_than_the_limit(input_rows, max_bytes, group_bytes):
    parts, _ = written(input_rows, max_bytes, module.group_limit(group_bytes, max_bytes))
    assert [part.size for part in parts if part.size > max_bytes] == []
    assert sum(part.rows for part in parts) == len(input_rows)
    assert len(parts) > 1


def test_parts_use_most_of_the_limit():
    parts, _ = written(rows(1000, 5000), 1 << 20, 1 << 16)
    assert all(part.size > 0.8 * (1 << 20) for part in parts[:-1])


def test_a_row_larger_than_the_limit_is_a_part_of_its_own():
    input_rows = [*rows(3, 1000), (segment(3), audio("ep", 3, 300_000)), *rows(6, 1000)[4:]]
    parts, _ = written(input_rows, 100_000, 50_000)
    assert [part.rows for part in parts] == [3, 1, 2]
    assert parts[1].size > 300_000


def test_no_rows_give_no_part():
    upload = RecordedUpload()
    assert write(upload, [], 10**6, 10**5) == []
    assert upload.steps == []


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("count", "size", "group_bytes", "finished"),
    [(20, 50_000, 200_000, 1), (8000, 5, 2000, 0)],
    ids=["second-part", "large-footer"],
)
def test_an_exception_finishes_no_part_and_writes_no_footer(count, size, group_bytes, finished):
    upload = RecordedUpload()
    with pytest.raises(KeyError), PartWriter(upload, 10**6) as writer:
        for table, table_size in tables(rows(count, size), group_bytes):
            writer.write(table, table_size)
        sent = sum(upload.written())
        raise KeyError
    assert len(writer.parts) == len(upload.parts) == upload.steps.count("finish") == finished
    del writer
    assert sum(upload.written()) == sent
    with pytest.raises(pa.ArrowInvalid):
        read(bytes(upload.opened[-1].data))


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("fail_at", [1, 100_000, 20 * 50_000], ids=["first", "middle", "end"])
def test_a_broken_upload_raises_its_own_error(fail_at):
    upload = RecordedUpload(fail_at=fail_at)
    with pytest.raises(ConnectionError, match="the transfer broke off"):
        write(upload, rows(20, 50_000), 10**7, 200_000)
    assert upload.parts == [] and "finish" not in upload.steps


class ShortUpload(MemoryUpload):
    """Reports each file one byte too small."""

    def begin(self) -> "ShortPart":
        return ShortPart(self)


class ShortPart(MemoryPart):
    def finish(self) -> Content:
        content = super().finish()
        return replace(content, size=content.size - 1)


def test_a_received_size_that_differs_is_an_error():
    with pytest.raises(ShardError, match=r"(\d+) bytes of a part were written, \d+ arrived"):
        write(ShortUpload(), rows(5, 1000), 10**6, 10**6)
