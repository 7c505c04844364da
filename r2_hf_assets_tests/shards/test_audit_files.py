"""The ledger check on parts, an index and tallies that differ from the tables of the writer."""

from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa
import pytest

from r2_hf_assets.shards.schema import SCHEMA
from r2_hf_assets_tests.shards.damaged_build import Lines


def test_a_lost_part_is_reported(built):
    built.set_parts(built.parts[:-1])
    assert built.kinds() == {"rows_not_written": 1, "index_differs": 1}


def test_unwritten_rows_are_reported(built):
    rows = built.rows()
    built.write(rows[:-1])
    built.tables.append(pa.Table.from_pylist(rows[-1:], SCHEMA))
    assert built.kinds() == {"rows_not_written": 1, "index_differs": 1}


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: lines[1:],
        lambda lines: lines[:-1],
        lambda lines: [],
        lambda lines: [*lines, lines[-1]],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: lines[::-1],
        lambda lines: [{**lines[0], "key": lines[1]["key"]}, *lines[1:]],
        lambda lines: [{**lines[0], "key": None}, *lines[1:]],
        lambda lines: [{**lines[0], "file": lines[-1]["file"]}, *lines[1:]],
        lambda lines: [{**lines[0], "file": "data/en/chunk-00007.parquet"}, *lines[1:]],
        lambda lines: [{**lines[0], "file": lines[0]["file"].replace("/en/", "/de/")}, *lines[1:]],
        lambda lines: [{**lines[0], "file": None}, *lines[1:]],
        lambda lines: [*lines[:-1], {**lines[-1], "row": lines[-1]["row"] + 1}],
        lambda lines: [*lines[:-1], {**lines[-1], "row_group": lines[-1]["row_group"] + 1}],
        lambda lines: [{**lines[0], "row": None}, *lines[1:]],
        lambda lines: [{**lines[0], "segment": lines[0]["segment"] + 1}, *lines[1:]],
        lambda lines: [{**lines[0], "episode": lines[-1]["episode"]}, *lines[1:]],
    ],
    ids=[
        *("the first row lost", "the last row lost", "all rows lost", "a row twice"),
        *("two rows swapped", "backwards", "another row's key", "no key"),
        *("another part", "a name of another number of parts", "another language", "no file"),
        *("another row", "another row group", "no row", "another segment", "another episode"),
    ],
)
def test_an_index_that_differs_from_the_parts_is_reported(built, damage: Callable[[Lines], Lines]):
    assert built.check().passed
    built.write_index([*damage(built.row_lines()), *built.reject_lines()])
    assert built.kinds().keys() == {"index_differs"}


def test_a_row_that_the_index_marks_as_a_reject_is_reported(built):
    first, *rest = built.row_lines()
    built.write_index([{**first, "file": None, "reject_reason": "audio_missing"}, *rest, *built.reject_lines()])
    kinds = built.kinds()
    assert (kinds.pop("index_differs") >= 2, kinds) == (True, {"segment_twice": 1, "record_differs": 1})


def test_a_reject_with_a_file_is_reported(built):
    first, *rest = built.reject_lines()
    built.write_index([*built.row_lines(), {**first, "file": built.record.files[0].path}, *rest])
    kinds = built.kinds()
    assert (kinds["reject_not_planned"], kinds["segment_lost"]) == (1, 1)


COUNTERS = [
    *("episodes", "episodes_with_rows", "episodes_rejected", "entries"),
    *("rows", "segments_rejected", "audio_bytes"),
]


@pytest.mark.parametrize("counter", COUNTERS)
def test_a_wrong_tally_is_reported(built, counter):
    tally = built.record.tally
    built.record = replace(built.record, tally=replace(tally, **{counter: getattr(tally, counter) + 1}))
    assert built.kinds() == {"record_differs": 1}


def test_a_wrong_count_of_a_reason_is_reported(built):
    tally = built.record.tally
    built.record = replace(built.record, tally=replace(tally, rejects={**tally.rejects, "no_segments": 2}))
    assert built.kinds() == {"record_differs": 1}


def test_the_summary_of_many_findings_is_short(built):
    built.write([])
    built.write_index([])
    verdict = built.check()
    assert verdict.numbers["problems_by_kind"]["segment_lost"] == 29
    assert len(verdict.summary) < 1000 and "\n" not in verdict.summary
    assert all(len(examples) <= 5 for examples in verdict.numbers["examples"].values())
