"""The ledger check: it passes what build_chunk builds, and finds every row and reject that is not the plan's."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from r2_hf_assets.shards.build import build_chunk
from r2_hf_assets.shards.verify import check_ledger
from r2_hf_assets_tests.build_samples import NO_WAIT, PREFIX, chunk_of, limits, put_episode
from r2_hf_assets_tests.shards.damaged_build import ROWS, Built, Lines, build, key, row

ROW_AND_REJECT = {"segment_twice": 1, "episode_with_rows_and_rejected": 1}


@pytest.fixture
def built(tmp_path: Path) -> Built:
    return build(tmp_path)


def test_a_sound_build_passes_with_its_numbers(built):
    verdict = built.check()
    assert verdict.passed, verdict.summary
    assert verdict.summary == "5 episodes = 3 with rows + 2 rejected; 29 entries = 25 rows + 4 rejected"
    assert len(built.shards) > 1
    assert verdict.numbers == {
        "episodes_planned": 5,
        "episodes_with_rows": 3,
        "episodes_rejected": 2,
        "entries": 29,
        "rows": ROWS,
        "segments_rejected": 4,
        "audio_bytes": ROWS * 5000,
        "files": len(built.shards),
        "bytes": built.record.bytes,
    }


def test_the_damaged_record_of_these_tests_is_sound_without_damage(built):
    built.write(built.rows())
    built.write_rejects(built.reject_lines())
    tally = built.record.tally
    built.count_again()
    assert built.record.tally == replace(tally, audio_seconds=0.0)
    assert built.check().passed


def test_a_chunk_without_rows_and_one_without_rejects_pass(tmp_path):
    for name, episodes in (("none", []), ("all", ["en/a"])):
        bucket, chunk = MemoryStore(), chunk_of("en/a")
        for episode in episodes:
            put_episode(bucket, episode, 3)
        folder = tmp_path / name
        folder.mkdir()
        made = build_chunk(chunk, bucket, folder, limits(tmp_path), workers=2, retry=NO_WAIT)
        assert check_ledger(chunk, made.record, [part.path for part in made.parts], made.rejects_path).passed


def without(rows: Lines, *at: int) -> Lines:
    return [row for index, row in enumerate(rows) if index not in at]


def renamed(rows: Lines, at: int, key: str | None) -> Lines:
    return [{**row, "audio": {**row["audio"], "path": key}} if i == at else row for i, row in enumerate(rows)]


def silent(rows: Lines, at: int, body: bytes | None) -> Lines:
    return [{**row, "audio": {**row["audio"], "bytes": body}} if i == at else row for i, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("damage", "kinds"),
    [
        (lambda rows: without(rows, 4), {"segment_lost": 1}),
        (lambda rows: without(rows, 0, 1, 2), {"segment_lost": 3}),
        (lambda rows: without(rows, *range(15, 25)), {"episode_lost": 1}),
        (lambda rows: [*rows[:5], rows[4], *rows[5:]], {"row_twice": 1}),
        (lambda rows: [*rows, rows[0]], {"row_twice": 1}),
        (lambda rows: [rows[1], rows[0], *rows[2:]], {"row_out_of_order": 1}),
        (lambda rows: [*rows[9:15], *rows[:9], *rows[15:]], {"row_out_of_order": 9}),
        (lambda rows: renamed(rows, 24, key("en/b", 10)), {"segment_lost": 1}),
        (lambda rows: renamed(rows, 24, key("en/b", 10**6)), {"segment_number_too_high": 1}),
        (lambda rows: renamed(rows, 24, key("en/c", 9)), {"row_not_planned": 1}),
        (lambda rows: renamed(rows, 24, key("en/b", 9).removeprefix(PREFIX)), {"row_not_planned": 1}),
        (lambda rows: renamed(rows, 24, f"{PREFIX}en/b/b_9.mp3"), {"row_not_planned": 1}),
        (lambda rows: renamed(rows, 24, f"{PREFIX}en/b/a_000009.mp3"), {"row_not_planned": 1}),
        (lambda rows: renamed(rows, 24, key("en/b", 9).replace("mp3", "wav")), {"row_not_planned": 1}),
        (lambda rows: renamed(rows, 24, f"{PREFIX}en/b/b_{'9' * 5000}.mp3"), {"row_not_planned": 1}),
        (lambda rows: renamed(rows, 24, "b_000009.mp3"), {"row_not_planned": 1}),
        (lambda rows: silent(rows, 7, b""), {"audio_empty": 1}),
        (lambda rows: silent(rows, 7, None), {"audio_empty": 1}),
        (lambda rows: [*rows[:15], row("en/lost", 0), *rows[15:]], ROW_AND_REJECT),
        (lambda rows: [*rows[:15], row("en/lost", 2), *rows[15:]], {"episode_with_rows_and_rejected": 1}),
    ],
)
def test_rows_that_are_not_the_plans_are_found(built, damage: Callable[[Lines], Lines], kinds):
    built.write(damage(built.rows()))
    built.count_again()
    found = built.kinds()
    found.pop("record_differs", None)  # rows that the plan does not know count for no episode
    assert found == kinds


def test_a_row_without_a_key_is_found(built):
    built.write(renamed(built.rows(), 24, None))
    assert built.kinds()["row_not_planned"] == 1


def test_a_last_row_that_left_no_trace_is_found_by_the_tally(built):
    built.write(built.rows()[:-1])
    assert built.kinds() == {"record_differs": 3}
    assert any("entries: the record says 29, the files 28" in line for line in _examples(built, "record_differs"))


def _examples(built: Built, kind: str) -> list[str]:
    return built.check().numbers["examples"][kind]


def line(**changes: str) -> dict[str, str]:
    return {"level": "segment", "episode": "en/b", "key": key("en/b", 10), "reason": "audio_missing", "detail": ""} | (
        changes
    )


def test_the_ledger_of_these_tests(built):
    found = [(made["level"], made["episode"], made["reason"]) for made in built.reject_lines()]
    assert found == [
        ("segment", "en/a", "audio_missing"),
        ("segment", "en-US/a", "entry_not_an_object"),
        ("episode", "en/none", "no_segments"),
        ("segment", "en/lost", "audio_missing"),
        ("segment", "en/lost", "audio_missing"),
        ("episode", "en/lost", "no_usable_segment"),
    ]


@pytest.mark.parametrize(
    ("damage", "kinds"),
    [
        (lambda lines: lines[1:], {"segment_lost": 1}),
        (lambda lines: without(lines, 2), {"episode_lost": 1}),
        (lambda lines: without(lines, 5), {"episode_lost": 1}),
        (lambda lines: [*lines, lines[2]], {"episode_rejected_twice": 1}),
        (lambda lines: [*lines, lines[0]], {"segment_twice": 1}),
        (lambda lines: [*lines, line(key=key("en/b", 9))], {"segment_twice": 1}),
        (lambda lines: [*lines, line(key=key("en/b", 11))], {"segment_lost": 1}),
        (lambda lines: [*lines, line(episode="en/a")], {"reject_not_planned": 1}),
        (lambda lines: [*lines, line(episode="en/c", key=key("en/c", 0))], {"reject_not_planned": 1}),
        (lambda lines: [*lines, line(reason="")], {"reject_not_planned": 1}),
        (lambda lines: [*lines, line(level="row")], {"reject_not_planned": 1}),
        (
            lambda lines: [*lines, line(level="episode", key=f"{PREFIX}en/b/all_segments.json")],
            {"episode_with_rows_and_rejected": 1},
        ),
    ],
)
def test_rejects_that_are_not_the_plans_are_found(built, damage: Callable[[Lines], Lines], kinds):
    built.write_rejects(damage(built.reject_lines()))
    built.count_again()
    found = built.kinds()
    found.pop("record_differs", None)  # what is no reject of the plan is counted nowhere
    assert found == kinds


def test_a_ledger_that_is_gone_or_not_recorded_is_found(built):
    lost = replace(built, rejects=None)
    assert lost.kinds()["rejects_ledger"] == 1
    unrecorded = replace(built, record=replace(built.record, rejects=None))
    assert unrecorded.kinds()["rejects_ledger"] == 1


def test_a_ledger_that_was_changed_is_found(built):
    kept = built.record
    built.write_rejects([{**made, "detail": "rewritten"} for made in built.reject_lines()])
    built.record = kept
    assert set(built.kinds()) == {"file_changed"}
