"""The ledger check on parts, footers and records: other than what the writer was given, and each is found."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from r2_hf_assets.shards.schema import SCHEMA, WRITER_OPTIONS
from r2_hf_assets_tests.build_samples import MemoryBuild
from r2_hf_assets_tests.shards.damaged_build import Built, Lines, build, built_again, footer_of


@pytest.fixture(scope="module")
def sound() -> MemoryBuild:
    return build()


@pytest.fixture
def built(sound: MemoryBuild) -> Built:
    return built_again(sound)


def footer(*groups: Lines, schema: pa.Schema = SCHEMA) -> bytes:
    """That of a file of these row groups, as pyarrow writes it."""

    def write(sink: pa.BufferOutputStream) -> None:
        options = WRITER_OPTIONS if schema.equals(SCHEMA) else {"compression": "none"}
        with pq.ParquetWriter(sink, schema, **options) as writer:
            for rows in groups:
                writer.write_table(pa.Table.from_pylist(rows, schema))

    return footer_of(write)


def groups_of(built: Built) -> list[Lines]:
    """The row groups of the first part."""
    return [table.to_pylist() for table in built.given[: len(built.parts[0].groups)]]


def test_the_footer_of_these_tests_is_the_parts_own_without_damage(built):
    assert [len(part.groups) for part in built.parts] == [3, 3, 3]
    assert footer(*groups_of(built)) == built.parts[0].footer
    built.end_with(footer(*groups_of(built)))
    assert built.check().passed


def with_body(row: dict, body: bytes) -> dict:
    return {**row, "audio": {**row["audio"], "bytes": body}}


FOOTERS: dict[str, Callable[..., Sequence[Lines]]] = {
    "a row fewer": lambda first, *groups: [first[:-1], *groups],
    "a row more": lambda first, *groups: [[*first, first[-1]], *groups],
    "a row group fewer": lambda *groups: groups[:-1],
    "a row group more": lambda *groups: [*groups, groups[-1]],
    "row groups joined": lambda first, second, *groups: [[*first, *second], *groups],
    "a row group cut": lambda first, *groups: [first[:1], first[1:], *groups],
    "other offsets": lambda first, *groups: [[with_body(first[0], bytes(4999)), *first[1:]], *groups],
    "a last row group of another size": lambda *groups: [
        *groups[:-1],
        [*groups[-1][:-1], with_body(groups[-1][-1], bytes(5001))],
    ],
}


@pytest.mark.parametrize("damage", FOOTERS.values(), ids=FOOTERS)
def test_a_footer_that_names_other_rows_or_places_is_found(built, damage):
    built.end_with(footer(*damage(*groups_of(built))))
    assert set(built.kinds()) == {"row_groups"}


def test_the_footer_of_another_part_is_found(built):
    built.end_with(built.parts[0].footer, at=2)
    assert set(built.kinds()) == {"row_groups"}


def test_a_column_that_does_not_begin_where_the_one_before_ended_is_found(built):
    part = built.parts[0]
    place = pq.read_metadata(pa.BufferReader(part.footer)).row_group(1).column(1).data_page_offset
    assert varint(place) in part.footer
    built.end_with(part.footer.replace(varint(place), varint(place + 1)))
    assert built.kinds() == {"row_groups": 1}


def test_a_footer_that_counts_other_rows_than_its_row_groups_is_found(built):
    part = built.parts[0]
    total, group_list = b"\x16" + varint(part.rows), b"\x19\x3c"  # a field of 64 bits, and the list of three structs
    assert part.footer.count(total + group_list) == 1
    built.end_with(part.footer.replace(total + group_list, b"\x16" + varint(part.rows + 1) + group_list))
    assert built.kinds() == {"row_groups": 1}


def varint(number: int) -> bytes:
    """A number in Thrift's compact protocol, in which footers are written."""
    number, data = 2 * number, bytearray()
    while number > 127:
        data.append(number % 128 + 128)
        number //= 128
    return bytes([*data, number])


def test_bytes_between_row_groups_and_footer_are_found(built):
    part = built.parts[0]
    built.keep([replace(part, size=part.size + 1), *built.parts[1:]])
    assert built.kinds() == {"row_groups": 1}


@pytest.mark.parametrize("metadata", [None, {"huggingface": "{}"}, {**SCHEMA.metadata, b"more": b"1"}])
def test_other_schema_metadata_is_found(built, metadata):
    built.end_with(footer(*groups_of(built), schema=SCHEMA.with_metadata(metadata)))
    assert built.kinds() == {"features": 1}


@pytest.mark.parametrize(
    "schema",
    [
        pa.schema([SCHEMA.field(i) for i in (1, 0, 2, 3, 4, 5)], SCHEMA.metadata),
        pa.schema(list(SCHEMA)[:-1], SCHEMA.metadata),
        SCHEMA.set(4, pa.field("dnsmos", pa.float64())),
        SCHEMA.set(0, pa.field("audio", pa.struct(list(SCHEMA.field("audio").type)[::-1]))),
        SCHEMA.append(pa.field("more", pa.string())),
    ],
    ids=["order", "column-gone", "type", "struct-order", "column-more"],
)
def test_other_columns_are_found(built, schema):
    built.end_with(footer(*groups_of(built), schema=schema))
    assert built.kinds()["schema"] == 1


@pytest.mark.parametrize("kept", [0, 3, 8, 1000, -1, -8])
def test_a_footer_cut_short_is_found(built, kept):
    built.end_with(built.parts[0].footer[:kept])
    assert built.kinds() == {"footer_unreadable": 1}


def test_a_footer_that_is_no_footer_is_found(built):
    size = len(built.parts[0].footer)
    built.end_with(random.Random(1).randbytes(size - 8) + built.parts[0].footer[-8:])
    assert built.kinds() == {"footer_unreadable": 1}


def test_a_part_that_is_lost_is_found(built):
    built.keep(built.parts[:-1])
    assert built.kinds() == {"rows_not_written": 1}


def test_rows_that_were_given_and_not_written_are_found(built):
    rows = built.rows()
    built.write(rows[:-1])
    built.given.append(pa.Table.from_pylist(rows[-1:], SCHEMA))
    assert built.kinds() == {"rows_not_written": 1}


COUNTERS = [
    *("episodes", "episodes_with_rows", "episodes_rejected", "entries"),
    *("rows", "segments_rejected", "audio_bytes"),
]


@pytest.mark.parametrize("counter", COUNTERS)
def test_a_tally_that_lies_is_found(built, counter):
    tally = built.record.tally
    built.record = replace(built.record, tally=replace(tally, **{counter: getattr(tally, counter) + 1}))
    assert built.kinds() == {"record_differs": 1}


def test_a_tally_that_lies_about_reasons_is_found(built):
    tally = built.record.tally
    built.record = replace(built.record, tally=replace(tally, rejects={**tally.rejects, "no_segments": 2}))
    assert built.kinds() == {"record_differs": 1}


def test_what_is_all_wrong_is_told_in_few_words(built):
    built.write([])
    verdict = built.check()
    assert verdict.numbers["problems_by_kind"]["episode_lost"] == 3
    assert len(verdict.summary) < 1000 and "\n" not in verdict.summary
    assert all(len(examples) <= 5 for examples in verdict.numbers["examples"].values())
