"""RowGroup: rows become a table unchanged, in one buffer that is reused."""

import pyarrow as pa
import pytest

from r2_hf_assets.shards.rowgroup import RowGroup, row_size
from r2_hf_assets.shards.schema import SCHEMA
from r2_hf_assets_tests.support.build_samples import audio, segment


def filled(group: RowGroup, *sizes: int) -> list[bytes]:
    """Add one row a size, and return the bodies."""
    bodies = [audio("row", index, size) for index, size in enumerate(sizes)]
    for index, body in enumerate(bodies):
        group.add(segment(index), [body])
    return bodies


def bodies_of(table: pa.Table) -> list[bytes]:
    return [row["bytes"] for row in table["audio"].to_pylist()]


def test_a_table_has_the_added_rows():
    group = RowGroup(10_000)
    bodies = filled(group, 10, 0, 3000, 1)
    table = group.to_table()
    table.validate(full=True)
    assert table.schema.equals(SCHEMA, check_metadata=True)
    assert bodies_of(table) == bodies
    assert table["audio"].to_pylist()[2]["path"] == "processed/en/ep/ep_000002.mp3"
    assert table["text"].to_pylist()[3] == "words of segment 3"
    assert len(group) == 4


def test_none_is_null_and_an_empty_string_is_not():
    group = RowGroup(1000)
    group.add(segment(0, text=None, speaker_id=None, duration=None, dnsmos=None), [b"a"])
    group.add(segment(1, text="", speaker_id="", duration=0.0, dnsmos=0.0), [b"b"])
    table = group.to_table().drop_columns(["audio"])
    null = {"text": None, "speaker_id": None, "duration_seconds": None, "dnsmos": None, "language": "en"}
    empty = {"text": "", "speaker_id": "", "duration_seconds": 0.0, "dnsmos": 0.0, "language": "en"}
    assert table.to_pylist() == [null, empty]


def test_numbers_are_float32():
    group = RowGroup(1000)
    group.add(segment(dnsmos=0.1, duration=1e-3), [b"a"])
    row = group.to_table().select(["dnsmos", "duration_seconds"]).to_pylist()[0]
    assert row == {"dnsmos": pytest.approx(0.1, rel=1e-7), "duration_seconds": pytest.approx(1e-3, rel=1e-7)}
    assert row["dnsmos"] != 0.1


def test_pieces_are_joined_to_one_body():
    group = RowGroup(1000)
    group.add(segment(0), [b"ab", b"", b"c"])
    group.add(segment(1), [])
    group.add(segment(2), [b"d"])
    assert [row["audio"]["bytes"] for row in group.to_table().to_pylist()] == [b"abc", b"", b"d"]


def test_the_buffer_is_reused():
    group = RowGroup(5000)
    filled(group, 1000, 1000)
    buffer = group._audio
    group.to_table()
    group.clear()
    assert (len(group), group.size) == (0, 0)
    bodies = filled(group, 700, 20)
    assert group._audio is buffer
    assert bodies_of(group.to_table()) == bodies


def test_a_row_above_the_limit_is_its_own_group_and_its_buffer_is_freed():
    group = RowGroup(1000)
    assert group.has_room(segment(), 50_000)
    bodies = filled(group, 50_000)
    assert not group.has_room(segment(1), 1)
    assert bodies_of(group.to_table()) == bodies
    group.clear()
    assert len(group._audio) == 0
    group.add(segment(), [b"x"])
    assert bodies_of(group.to_table()) == [b"x"]


def test_has_room_up_to_the_limit():
    row = segment()
    group = RowGroup(2 * row_size(row, 100))
    group.add(row, [bytes(100)])
    assert group.has_room(row, 100)
    assert not group.has_room(row, 101)


def test_row_size_includes_the_bytes_of_strings():
    row = segment(key="k" * 10, text="世界", speaker_id="é")
    assert row_size(row, 100) == 100 + 10 + 6 + 2
    assert row_size(segment(key="k", text=None, speaker_id=None), 5) == 6


def test_an_empty_group_is_an_empty_table():
    table = RowGroup(100).to_table()
    assert (table.num_rows, table.schema.equals(SCHEMA)) == (0, True)
