"""PartWriter: parts within the limit, hashed as they are written, the same bytes every time, nothing after an error."""

import hashlib
import random
import resource
from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from r2_hf_assets.bucket.segments import Segment
from r2_hf_assets.errors import ShardError
from r2_hf_assets.shards import writer as module
from r2_hf_assets.shards.rowgroup import RowGroup
from r2_hf_assets.shards.writer import Part, PartWriter
from r2_hf_assets_tests.build_samples import audio, segment

Row = tuple[Segment, bytes]


def rows(count: int, size: int) -> list[Row]:
    return [(segment(index), audio("ep", index, size)) for index in range(count)]


def write(folder: Path, given: Iterable[Row], max_bytes: int, group_bytes: int) -> list[Part]:
    """What build_chunk does with its rows."""
    folder.mkdir(exist_ok=True)
    group = RowGroup(group_bytes)
    with PartWriter(folder, max_bytes) as writer:
        for row, body in given:
            if not group.has_room(row, len(body)):
                writer.write(group.to_table(), group.size)
                group.clear()
            group.add(row, [body])
        if len(group):
            writer.write(group.to_table(), group.size)
    return writer.parts


def keys(parts: list[Part]) -> list[str]:
    return [row["path"] for part in parts for row in pq.read_table(part.path)["audio"].to_pylist()]


def test_one_part_holds_what_fits(tmp_path):
    [part] = write(tmp_path, rows(20, 1000), 10**6, 5000)
    assert (part.path, part.rows) == (tmp_path / "part-00", 20)
    assert pq.read_table(part.path)["audio"].to_pylist()[7]["bytes"] == audio("ep", 7, 1000)
    assert pq.ParquetFile(part.path).num_row_groups > 1


def test_more_becomes_parts_that_keep_the_order(tmp_path):
    parts = write(tmp_path, rows(100, 5000), 200_000, 20_000)
    assert [part.path.name for part in parts] == [f"part-{index:02d}" for index in range(len(parts))]
    assert len(parts) > 2 and sum(part.rows for part in parts) == 100
    assert keys(parts) == [row.key for row, _ in rows(100, 0)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [part.path.name for part in parts]


def test_size_and_hash_are_the_files(tmp_path):
    for part in write(tmp_path, rows(60, 5000), 200_000, 20_000):
        data = part.path.read_bytes()
        assert (part.size, part.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_the_same_rows_give_the_same_bytes(tmp_path):
    first = write(tmp_path / "a", rows(60, 5000), 200_000, 20_000)
    second = write(tmp_path / "b", rows(60, 5000), 200_000, 20_000)
    assert [part.path.read_bytes() for part in first] == [part.path.read_bytes() for part in second]
    other = write(tmp_path / "c", rows(59, 5000), 200_000, 20_000)
    assert other[-1].sha256 != first[-1].sha256


def han(count: int, size: int, letters: int) -> list[Row]:
    """Rows with a text of three bytes a letter that can not be compressed much."""
    draw = random.Random(5)
    made = rows(count, size)
    return [
        (segment(index, text="".join(chr(draw.randrange(0x4E00, 0x9FFF)) for _ in range(letters))), body)
        for index, (_, body) in enumerate(made)
    ]


@pytest.mark.parametrize(
    ("given", "max_bytes", "group_bytes"),
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
def test_no_part_is_larger_than_the_limit(tmp_path, given, max_bytes, group_bytes):
    parts = write(tmp_path, given, max_bytes, module.group_limit(group_bytes, max_bytes))
    assert [part.size for part in parts if part.size > max_bytes] == []
    assert sum(part.rows for part in parts) == len(given)
    assert len(parts) > 1


def test_parts_are_not_cut_much_smaller_than_they_may_be(tmp_path):
    parts = write(tmp_path, rows(1000, 5000), 1 << 20, 1 << 16)
    assert all(part.size > 0.8 * (1 << 20) for part in parts[:-1])


def test_a_row_larger_than_the_limit_is_a_part_of_its_own(tmp_path):
    given = [*rows(3, 1000), (segment(3), audio("ep", 3, 300_000)), *rows(6, 1000)[4:]]
    parts = write(tmp_path, given, 100_000, 50_000)
    assert [part.rows for part in parts] == [3, 1, 2]
    assert parts[1].size > 300_000


def test_no_rows_give_no_file(tmp_path):
    assert write(tmp_path, [], 10**6, 10**5) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_leaving_by_an_exception_finishes_nothing(tmp_path):
    group = RowGroup(10**6)
    for row, body in rows(5, 1000):
        group.add(row, [body])
    with pytest.raises(KeyError), PartWriter(tmp_path, 10**6) as writer:
        writer.write(group.to_table(), group.size)
        raise KeyError
    assert writer.parts == []
    del writer
    for path in tmp_path.iterdir():
        with pytest.raises(Exception, match="Parquet"):
            pq.read_metadata(path)


def test_a_file_that_is_there_already_is_never_written_over(tmp_path):
    (tmp_path / "part-00").write_bytes(b"somebody's")
    with pytest.raises(FileExistsError):
        write(tmp_path, rows(5, 1000), 10**6, 10**6)
    assert (tmp_path / "part-00").read_bytes() == b"somebody's"


@pytest.mark.parametrize("kept", [0, 100, -1])
def test_a_disk_that_lost_bytes_is_found_out(tmp_path, monkeypatch, kept):
    close = module.TailHash.close

    def lossy(hashed: module.TailHash) -> None:
        close(hashed)
        (tmp_path / "part-00").write_bytes((tmp_path / "part-00").read_bytes()[:kept])

    monkeypatch.setattr(module.TailHash, "close", lossy)
    with pytest.raises(ShardError, match=r"part-00: 5 rows in \d+ bytes were written, the disk holds no footer in"):
        write(tmp_path, rows(5, 1000), 10**6, 10**6)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_disk_that_is_full_is_the_error_that_is_seen(tmp_path):
    group = RowGroup(10**6)
    group.add(segment(), [bytes(1000)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.raises(OSError, match="File too large"), PartWriter(tmp_path, 10**6) as writer:
        writer.write(group.to_table(), group.size)
        # The kernel refuses to let the file grow, as it does when the disk is full.
        resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "part-00").stat().st_size, hard))
        try:
            writer.write(group.to_table(), group.size)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert writer.parts == []
    del writer
