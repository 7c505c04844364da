"""The ledger check: it passes what build_chunk builds, and reports every wrong row and reject."""

from collections.abc import Callable
from typing import Any

import pytest

from r2_hf_assets.shards.audit import Audit
from r2_hf_assets_tests.shards.damaged_build import CHUNK, ROWS, Lines, key, row
from r2_hf_assets_tests.support.build_samples import PREFIX, build_in_memory, chunk_of, put_episode
from r2_hf_assets_tests.support.store_gets import MemoryBucket

# A row of another key also loses the row that it replaced.
FOREIGN_ROW = {"row_not_planned": 1, "segment_lost": 1}


def test_a_sound_build_passes_with_its_numbers(intact):
    verdict = intact.record.verdicts["ledger"]
    assert verdict.passed, verdict.summary
    assert verdict.summary == "5 episodes = 3 with rows + 2 rejected; 29 entries = 25 rows + 4 rejected"
    assert len(intact.parts) > 1
    assert verdict.numbers == {
        "episodes_planned": 5,
        "episodes_with_rows": 3,
        "episodes_rejected": 2,
        "entries": 29,
        "rows": ROWS,
        "segments_rejected": 4,
        "audio_bytes": ROWS * 5000,
        "files": len(intact.parts),
        "bytes": intact.record.bytes,
    }


def test_a_rebuilt_chunk_passes_without_damage(intact, built):
    assert built.record == intact.record, "byte-identical files"
    built.write(built.rows())
    built.count_again()
    assert built.record.tally == intact.record.tally
    verdict = built.check()
    assert (verdict.passed, verdict.numbers) == (True, intact.record.verdicts["ledger"].numbers)


@pytest.mark.parametrize(("episodes", "rows"), [([], 0), (["en/a"], 3)], ids=["no rows", "no rejects"])
def test_a_chunk_without_rows_and_one_without_rejects_pass(episodes, rows):
    bucket = MemoryBucket()
    for episode in episodes:
        put_episode(bucket, episode, 3)
    made = build_in_memory(chunk_of("en/a"), bucket)
    assert made.record.verdicts["ledger"].numbers["rows"] == rows


def test_key_of_returns_the_key_of_each_row(built):
    keys = [row["audio"]["path"] for row in built.rows()]
    audit = built.audit()
    assert [audit.key_of(row) for row in range(ROWS)] == keys
    with pytest.raises(IndexError):
        audit.key_of(ROWS)
    with pytest.raises(IndexError):
        Audit(CHUNK).key_of(0)


def without(rows: Lines, *at: int) -> Lines:
    return [row for index, row in enumerate(rows) if index not in at]


def renamed(rows: Lines, at: int, key: str) -> Lines:
    return [{**row, "audio": {**row["audio"], "path": key}} if i == at else row for i, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("damage", "kinds"),
    [
        (lambda rows: without(rows, 4), {"segment_lost": 1}),
        (lambda rows: without(rows, 0, 1, 2), {"segment_lost": 3}),
        (lambda rows: rows[:-1], {"segment_lost": 1}),  # only the metadata has the last entry
        (lambda rows: without(rows, *range(15, 25)), {"segment_lost": 10}),
        (lambda rows: [*rows[:5], rows[4], *rows[5:]], {"segment_twice": 1}),
        (lambda rows: [*rows, rows[0]], {"segment_twice": 1}),
        (lambda rows: [rows[1], rows[0], *rows[2:]], {"row_out_of_order": 1}),
        (lambda rows: [*rows[:15], row("en/none", 0), *rows[15:]], {"row_not_planned": 1}),
        (lambda rows: [*rows[9:15], *rows[:9], *rows[15:]], {"row_out_of_order": 9}),
        (lambda rows: renamed(rows, 24, key("en/b", 10)), FOREIGN_ROW),
        (lambda rows: renamed(rows, 24, key("en/b", 10**6)), FOREIGN_ROW),
        (lambda rows: renamed(rows, 24, key("en/c", 9)), FOREIGN_ROW),
        (lambda rows: renamed(rows, 24, key("en/b", 9).removeprefix(PREFIX)), FOREIGN_ROW),
        (lambda rows: renamed(rows, 24, f"{PREFIX}en/b/b_9.mp3"), FOREIGN_ROW),
        (lambda rows: renamed(rows, 24, f"{PREFIX}en/b/a_000009.mp3"), FOREIGN_ROW),
        (lambda rows: renamed(rows, 24, key("en/b", 9).replace("mp3", "wav")), FOREIGN_ROW),
        (lambda rows: renamed(rows, 24, "b_000009.mp3"), FOREIGN_ROW),
        (lambda rows: [*rows[:15], row("en/lost", 0), *rows[15:]], {"segment_twice": 1}),
        (lambda rows: [*rows[:15], row("en/lost", 2), *rows[15:]], {"row_not_planned": 1}),
    ],
)
def test_wrong_rows_are_reported(built, damage: Callable[[Lines], Lines], kinds):
    built.write(damage(built.rows()))
    built.count_again()
    reported = built.kinds()
    for other in ("record_differs", "index_differs"):  # unplanned rows count for no episode
        reported.pop(other, None)
    assert reported == kinds


def test_a_repeated_row_in_place_of_another_is_reported(built):
    rows = built.rows()
    rows[4] = rows[5]
    built.write(rows)
    built.count_again()
    assert built.kinds() == {"segment_twice": 1, "segment_lost": 1}


def line(**changes: Any) -> dict[str, Any]:
    defaults = {"episode": "en/b", "segment": 10, "key": key("en/b", 10), "reject_reason": "audio_missing"}
    return defaults | changes


def test_the_rebuilt_chunk_has_these_rejects(built):
    assert [(line["episode"], line["segment"], line["reject_reason"]) for line in built.reject_lines()] == [
        ("en/a", 3, "audio_missing"),
        ("en-US/a", 6, "entry_not_an_object"),
        ("en/none", None, "no_segments"),
        ("en/lost", 0, "audio_missing"),
        ("en/lost", 1, "audio_missing"),
    ]


@pytest.mark.parametrize(
    ("damage", "kinds"),
    [
        (lambda lines: lines[1:], {"segment_lost": 1}),
        (lambda lines: without(lines, 2), {"episode_lost": 1}),
        (lambda lines: lines[:3], {"segment_lost": 2}),
        (lambda lines: [], {"segment_lost": 4, "episode_lost": 1}),
        (lambda lines: [*lines, lines[2]], {"episode_twice": 1}),
        (lambda lines: [*lines, lines[0]], {"segment_twice": 1}),
        (lambda lines: [*lines, line(segment=9, key=key("en/b", 9))], {"segment_twice": 1}),
        (lambda lines: [*lines, line()], {"reject_not_planned": 1}),
        (lambda lines: [*lines[:3], *lines[4:]], {"segment_lost": 1}),
        (lambda lines: [*lines, line(episode="en/c", segment=0, key=key("en/c", 0))], {"reject_not_planned": 1}),
        (
            lambda lines: [*lines, line(segment=None, key=f"{PREFIX}en/b/all_segments.json")],
            {"episode_twice": 1},
        ),
        (
            lambda lines: [*lines, line(segment=None, key=f"{PREFIX}en/a/all_segments.json")],
            {"reject_not_planned": 1},
        ),
        (
            lambda lines: [*lines, line(segment=None, episode="en/c", key=f"{PREFIX}en/c/all_segments.json")],
            {"reject_not_planned": 1},
        ),
    ],
)
def test_wrong_rejects_are_reported(built, damage: Callable[[Lines], Lines], kinds):
    built.write_rejects(damage(built.reject_lines()))
    built.count_again()
    reported = built.kinds()
    reported.pop("record_differs", None)  # unplanned rejects are not counted
    assert reported == kinds
