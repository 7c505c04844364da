"""Whose turn it is: plan order, limits, backoff, the end, and the brake."""

from typing import Any

import pytest

from r2_hf_assets.plan.chunks import ChunkRef
from r2_hf_assets.plan.dispatch import (
    BAD_SERIES,
    AttemptHistory,
    OpenCircuit,
    RunOutcome,
    Selection,
    repeated_failure,
    select_runs,
)
from r2_hf_assets.retry import RUN_ATTEMPTS, RUN_FIRST_WAIT_S

NOW = 1_000_000.0
CHUNKS = [ChunkRef("de", 0, "d0", 3), *(ChunkRef("en", number, f"e{number}", 3) for number in range(6))]


def turn(**changes: Any) -> Selection:
    usual: dict[str, Any] = {
        "due": CHUNKS,
        "busy": (),
        "tried": {},
        "running": 0,
        "in_flight": 100,
        "per_tick": 100,
        "braked": None,
        "now": NOW,
    }
    return select_runs(**{**usual, **changes})


def asked(made: Selection) -> list[tuple[str, int, int]]:
    return [(chunk.language, chunk.number, attempt) for chunk, attempt in made.asks]


def test_everything_in_plan_order_when_there_is_room() -> None:
    assert asked(turn()) == [("de", 0, 1), *(("en", number, 1) for number in range(6))]
    assert turn(due=[]).asks == []


@pytest.mark.parametrize(
    ("limits", "count"),
    [
        ({"per_tick": 2}, 2),
        ({"in_flight": 3}, 3),
        ({"in_flight": 8, "running": 5}, 3),
        ({"in_flight": 8, "running": 8}, 0),
        ({"in_flight": 8, "running": 50}, 0),
        ({"in_flight": 8, "running": 5, "per_tick": 2}, 2),
    ],
)
def test_limits(limits: dict[str, int], count: int) -> None:
    assert asked(turn(**limits)) == asked(turn())[:count]


def test_a_chunk_in_hand_is_left_to_whoever_has_it() -> None:
    made = turn(busy={("en", 0), ("fr", 9)}, per_tick=2)
    assert asked(made) == [("de", 0, 1), ("en", 1, 1)] and made.busy == 1


@pytest.mark.parametrize(
    ("attempts", "wait"),
    [
        (0, RUN_FIRST_WAIT_S),  # failed in a run that somebody else asked for
        (1, RUN_FIRST_WAIT_S),
        (2, 4 * RUN_FIRST_WAIT_S),
        (3, 16 * RUN_FIRST_WAIT_S),
        (4, 64 * RUN_FIRST_WAIT_S),
    ],
)
def test_what_failed_waits_ever_longer(attempts: int, wait: float) -> None:
    known = {("en", 0): AttemptHistory(attempts, NOW)}
    early = turn(tried=known, now=NOW + wait - 1)
    assert ("en", 0) not in [name[:2] for name in asked(early)]
    assert early.waits == [1.0]
    late = turn(tried=known, now=NOW + wait)
    assert ("en", 0, attempts + 1) in asked(late) and late.waits == []


def test_after_the_last_attempt_it_is_named_and_left_for_ever() -> None:
    made = turn(tried={("en", 0): AttemptHistory(RUN_ATTEMPTS, 0.0)})
    assert made.given_up == [("en", 0)] and len(made.asks) == 6


def test_what_a_person_terminated_is_left_to_people() -> None:
    made = turn(tried={("en", 0): AttemptHistory(1, 0.0, terminated=True)})
    assert made.terminated == [("en", 0)] and len(made.asks) == 6


def test_chunks_that_wait_take_no_room_from_others() -> None:
    known = {("de", 0): AttemptHistory(1, NOW), ("en", 0): AttemptHistory(RUN_ATTEMPTS, NOW)}
    assert asked(turn(tried=known, per_tick=1)) == [("en", 1, 1)]


def test_with_the_brake_on_one_at_a_time_is_tried() -> None:
    assert turn(open_circuit=OpenCircuit("because", NOW)).asks == []
    long_ago = OpenCircuit("because", NOW - RUN_FIRST_WAIT_S)
    assert turn(open_circuit=long_ago, running=1).asks == []
    assert asked(turn(open_circuit=long_ago)) == [("de", 0, 1)]


@pytest.mark.parametrize(
    ("newest_first", "why"),
    [
        ("", None),
        ("f" * (BAD_SERIES - 1), None),
        ("f" * BAD_SERIES, "the last 8 runs failed"),
        ("f" * (BAD_SERIES - 1) + "s", None),
        ("s" + "f" * BAD_SERIES, None),
        ("!", "the last failure is of a kind that every run would meet"),
        ("f!", "the last failure is of a kind that every run would meet"),
        ("s!", None),
        ("fs!", None),
    ],
)
def test_the_brake(newest_first: str, why: str | None) -> None:
    ends = {"s": RunOutcome.SUCCESS, "f": RunOutcome.FAILURE, "!": RunOutcome.SYSTEMIC_FAILURE}
    assert repeated_failure(ends[letter] for letter in newest_first) == why
