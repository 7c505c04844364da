"""Stats: every row is in its bin, speakers count within their episode, bad values spoil no sum, chunks add up."""

import json
import math
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest

from r2_hf_assets.shards.schema import SCHEMA
from r2_hf_assets.shards.stats import DNSMOS_EDGES, DURATION_EDGES_S, MAX_DURATION_S, Counting, Stats


def row(episode: str = "ep", index: int = 0, **changes: Any) -> dict[str, Any]:
    usual = {"text": "words", "speaker_id": "SPEAKER_00", "duration_seconds": 1.5, "dnsmos": 3.25, "language": "en"}
    return {"audio": {"path": f"processed/en/{episode}/{episode}_{index:06d}.mp3", "bytes": b"x"}} | usual | changes


def counted(*groups: list[dict[str, Any]], **rejects: int) -> Stats:
    counting = Counting()
    for rows in groups:
        counting.take(pa.Table.from_pylist(rows, schema=SCHEMA))
    return counting.stats(rejects)


def bins(edges: tuple[float, ...], counts: tuple[int, ...]) -> dict[tuple[float, float], int]:
    """What is in the bins that are not empty, by (from, below), rounded."""
    pairs = pairwise([-math.inf, *edges, math.inf])
    return {(round(a, 3), round(b, 3)): n for (a, b), n in zip(pairs, counts, strict=True) if n}


def test_rows_hours_and_rejects_are_counted():
    found = counted([row(index=0), row(index=1, duration_seconds=2.25)], [row("b")], audio_missing=3)
    assert (found.rows, found.episodes, found.audio_seconds) == (3, 2, 5.25)
    assert (found.languages, found.rejects) == ({"en": 5.25}, {"audio_missing": 3})
    assert bins(DURATION_EDGES_S, found.duration_s) == {(1, 2): 2, (2, 3): 1}


@pytest.mark.parametrize(
    ("value", "where"),
    [(3.3, (3.3, 3.4)), (3.29, (3.2, 3.3)), (1.0, (1.0, 1.1)), (0.99, (-math.inf, 1.0)), (5.0, (5.0, math.inf))],
)
def test_a_score_on_an_edge_is_above_it_although_the_column_is_float32(value, where):
    assert bins(DNSMOS_EDGES, counted([row(dnsmos=value)]).dnsmos) == {where: 1}


def test_a_speaker_is_one_within_an_episode_also_across_row_groups():
    first = [row("a", 0), row("a", 1, speaker_id="SPEAKER_01"), row("a", 2, speaker_id=None)]
    second = [row("a", 3), row("b", 0), row("b", 1)]
    assert counted(first, second).speakers == 3
    assert counted(first).speakers == 2


def test_the_longest_speakers_are_named():
    counting = Counting()
    rows = [row(f"e{n}", 0, duration_seconds=float(n + 1), speaker_id=f"S{n}") for n in range(20)]
    counting.take(pa.Table.from_pylist(rows, schema=SCHEMA))
    stats = counting.stats({})
    assert stats.speakers == 20
    assert [(s.episode.rpartition("/")[2], s.speaker_id, s.seconds) for s in counting.speakers_top[:2]] == [
        ("e19", "S19", 20.0),
        ("e18", "S18", 19.0),
    ]
    assert len(counting.speakers_top) < 10


@pytest.mark.parametrize("bad", [None, math.nan, math.inf, -math.inf])
def test_a_value_that_is_none_is_in_no_bin(bad):
    found = counted([row(duration_seconds=bad, dnsmos=bad, text=None), row(index=1)])
    assert (found.rows, sum(found.duration_s), sum(found.dnsmos), found.audio_seconds) == (2, 1, 1, 1.5)


def test_a_broken_time_stamp_is_in_its_bin_and_in_no_sum():
    found = counted([row(duration_seconds=1e9), row(index=1, duration_seconds=MAX_DURATION_S)])
    assert bins(DURATION_EDGES_S, found.duration_s) == {(600.0, math.inf): 2}
    assert (found.audio_seconds, found.languages) == (3600.0, {"en": 3600.0})


def test_nothing_gives_nothing():
    assert counted() == Stats()
    assert counted([]) == Stats()


def test_chunks_add_up():
    left, right = [row("a", 0), row("a", 1)], [row("b", 0, language="de", duration_seconds=40.0, dnsmos=None)]
    assert counted(left, audio_missing=1) + counted(right, audio_missing=2, audio_empty=1) == counted(
        left, right, audio_missing=3, audio_empty=1
    )


def test_it_survives_json():
    stats = counted([row(), row("b", language="de", dnsmos=None)], audio_missing=1)
    assert Stats.from_json(json.loads(json.dumps(stats.as_json()))) == stats
    assert list(stats.as_json()) == [
        *("rows", "episodes", "audio_seconds", "speakers"),
        *("duration_s", "dnsmos", "languages", "rejects"),
    ]


@pytest.mark.parametrize("change", [{"dnsmos": [1, 2]}, {"duration_s": []}, {"unheard_of": 1}, {"duration_s": None}])
def test_other_bins_are_not_read_as_these(change):
    with pytest.raises((TypeError, ValueError)):
        Stats.from_json(Stats().as_json() | change)
