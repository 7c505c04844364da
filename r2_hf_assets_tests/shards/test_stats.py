"""Stats: bins, speakers by episode, broken time stamps outside the sums, and addition of chunks."""

import json
import math
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import pytest

from r2_hf_assets.shards.observe import MAX_DURATION_S
from r2_hf_assets.shards.stats import DNSMOS_EDGES, DURATION_EDGES_S, Stats
from r2_hf_assets_tests.shards import quality_samples
from r2_hf_assets_tests.shards.quality_samples import Row, observed


def row(episode: str = "ep", index: int = 0, **changes: Any) -> Row:
    return quality_samples.row(index, episode=episode, **changes)


def counted(*groups: list[Row]) -> Stats:
    return observed(*groups).stats()


def bins(edges: tuple[float, ...], counts: tuple[int, ...]) -> dict[tuple[float, float], int]:
    """Return the counts of bins that are not empty by (lower, upper) edge, rounded."""
    pairs = pairwise([-math.inf, *edges, math.inf])
    return {(round(a, 3), round(b, 3)): n for (a, b), n in zip(pairs, counts, strict=True) if n}


def test_rows_and_hours_are_counted():
    stats = counted([row(index=0), row(index=1, duration_seconds=2.25)], [row("b")])
    assert (stats.rows, stats.episodes, stats.audio_seconds) == (3, 2, 5.25)
    assert bins(DURATION_EDGES_S, stats.duration_s) == {(1, 2): 2, (2, 3): 1}


@pytest.mark.parametrize(
    ("value", "bin_edges"),
    [(3.3, (3.3, 3.4)), (3.29, (3.2, 3.3)), (1.0, (1.0, 1.1)), (0.99, (-math.inf, 1.0)), (5.0, (5.0, math.inf))],
)
def test_a_score_on_an_edge_is_above_it_although_the_column_is_float32(value, bin_edges):
    assert bins(DNSMOS_EDGES, counted([row(dnsmos=value)]).dnsmos) == {bin_edges: 1}


def test_speakers_are_counted_once_an_episode_across_row_groups():
    first = [row("a", 0), row("a", 1, speaker_id="SPEAKER_01"), row("a", 2, speaker_id=None)]
    second = [row("a", 3), row("b", 0), row("b", 1)]
    assert counted(first, second).speakers == 3
    assert counted(first).speakers == 2


def test_null_values_are_in_no_bin():
    stats = counted([row(duration_seconds=None, dnsmos=None, text=None), row(index=1)])
    assert (stats.rows, sum(stats.duration_s), sum(stats.dnsmos), stats.audio_seconds) == (2, 1, 1, 1.5)


def test_a_broken_time_stamp_is_in_its_bin_and_in_no_sum():
    stats = counted([row(duration_seconds=1e9), row(index=1, duration_seconds=MAX_DURATION_S)])
    assert bins(DURATION_EDGES_S, stats.duration_s) == {(600.0, math.inf): 2}
    assert stats.audio_seconds == 3600.0


def test_no_rows_give_empty_stats():
    assert counted() == Stats()
    assert counted([]) == Stats()


def test_chunks_add_up():
    left, right = [row("a", 0), row("a", 1)], [row("b", 0, duration_seconds=40.0, dnsmos=None)]
    assert counted(left) + counted(right) == counted(left, right)


STATS = counted([row(), row("b", dnsmos=None)])


def test_json_round_trip_with_one_line_an_attribute():
    raw = json.loads(json.dumps(STATS.as_json()))
    assert Stats.from_json(raw) == STATS
    removed = ["removed_segments", "removed_episodes"]
    assert list(raw) == ["rows", "episodes", "audio_seconds", "speakers", "duration_s", "dnsmos", *removed]
    assert raw["duration_s"].startswith("0 2 0 ") and len(json.dumps(raw, indent=2).splitlines()) == 10


def test_stats_of_an_earlier_release_are_read():
    old = {**asdict(STATS), "languages": {"en": 3.0}, "rejects": {"audio_missing": 1}}
    assert isinstance(json.loads(json.dumps(old))["dnsmos"], list)
    assert Stats.from_json(json.loads(json.dumps(old))) == STATS


@pytest.mark.parametrize(
    "change", [{"dnsmos": "1 2"}, {"dnsmos": [1, 2]}, {"duration_s": []}, {"duration_s": None}, {"duration_s": "a b"}]
)
def test_another_number_of_bins_is_an_error(change):
    with pytest.raises((TypeError, ValueError)):
        Stats.from_json(Stats().as_json() | change)


def test_removals_are_summed_and_a_record_without_them_has_none():
    removed = Stats(removed_segments=2, removed_episodes=1)
    assert removed + removed == Stats(removed_segments=4, removed_episodes=2)
    raw = removed.as_json()
    assert Stats.from_json(raw) == removed
    del raw["removed_segments"], raw["removed_episodes"]
    assert Stats.from_json(raw) == Stats()
