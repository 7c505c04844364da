"""The ledger check on parts and tallies that differ from the tables of the writer."""

from dataclasses import replace

import pyarrow as pa
import pytest

from r2_hf_assets.shards.schema import SCHEMA


def test_a_lost_part_is_reported(built):
    built.set_parts(built.parts[:-1])
    assert built.kinds() == {"rows_not_written": 1}


def test_unwritten_rows_are_reported(built):
    rows = built.rows()
    built.write(rows[:-1])
    built.tables.append(pa.Table.from_pylist(rows[-1:], SCHEMA))
    assert built.kinds() == {"rows_not_written": 1}


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
    verdict = built.check()
    assert verdict.numbers["problems_by_kind"]["episode_lost"] == 3
    assert len(verdict.summary) < 1000 and "\n" not in verdict.summary
    assert all(len(examples) <= 5 for examples in verdict.numbers["examples"].values())
