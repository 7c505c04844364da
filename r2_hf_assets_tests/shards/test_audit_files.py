"""The ledger check on parts and records: other than what the writer was given, and each is found."""

from dataclasses import replace

import pyarrow as pa
import pytest

from r2_hf_assets.shards.schema import SCHEMA
from r2_hf_assets_tests.shards.damaged_build import Built, build, built_again
from r2_hf_assets_tests.support.build_samples import MemoryBuild


@pytest.fixture(scope="module")
def sound() -> MemoryBuild:
    return build()


@pytest.fixture
def built(sound: MemoryBuild) -> Built:
    return built_again(sound)


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
